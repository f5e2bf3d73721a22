//! Measurements at whatever stamps they have, made into samples at equal steps.

use super::{Observation, is_valid};
use crate::state::{Stamp, State};
use std::time::Duration;

/// A pause of more than this many dt is a gap: what lies in it is not interpolated.
pub const GAP_STEPS: u32 = 5;

/// A measurement completes a sample that is later by so much of the time since the last one, or of dt: what comes later is not
/// foretold from two measurements, whose noise that would make larger.
const EARLY: f64 = 0.1;
/// Measurements that come about as often as samples draw the grid to them by this share of their distance from it.
const DRAWN: f64 = 0.05;
/// What is about as often: from this part of dt to this many.
const AS_OFTEN: (f64, f64) = (0.5, 1.5);

/// Linear interpolation by measurement stamp onto a grid that starts at the first measurement. Of a running robot the grid follows
/// them, and a sample is completed by a measurement that comes just before it, so that it is not held back until the next; of a
/// recording it stays as it is.
#[derive(Clone, Debug)]
pub struct Resampler {
    dt: Duration,
    newest: State,
    sample: State,
    next: Stamp,
    started: bool,
    is_live: bool,
}

impl Resampler {
    /// Of a recording.
    pub fn recorded(dt: Duration, joints: usize) -> Self {
        Self { is_live: false, ..Self::new(dt, joints) }
    }

    /// Of a robot that runs.
    pub fn new(dt: Duration, joints: usize) -> Self {
        let dt = dt.max(Duration::from_nanos(1));
        Self {
            dt,
            newest: State::zeros(joints),
            sample: State::zeros(joints),
            next: Stamp(0),
            started: false,
            is_live: true,
        }
    }

    /// The newest measurement, once there is one.
    pub fn newest(&self) -> Option<&State> {
        self.started.then_some(&self.newest)
    }

    /// Takes in a measurement and hands each sample that it completes to `on_sample`, with `true` for the first one
    /// of a continuous motion.
    pub fn observe(&mut self, state: &State, mut on_sample: impl FnMut(&State, bool)) -> Observation {
        if !is_valid(state, self.newest.position.len()) {
            return Observation::Refused;
        }
        let restart = match self.restart(state.stamp) {
            Some(Observation::Duplicate) => return Observation::Duplicate,
            restart => restart,
        };
        let mut steps = 0;
        match restart {
            Some(_) => {
                on_sample(state, true);
                self.next = state.stamp + self.dt;
                self.started = true;
            }
            None => {
                let interval = state.stamp.since(self.newest.stamp);
                let dt = self.dt.as_secs_f64();
                let early = if self.is_live { EARLY * interval.min(dt) } else { 0.0 };
                let latest = state.stamp + Duration::from_secs_f64(early);
                // about GAP_STEPS times at most; the bound is for stamps at the end of time, where `next` saturates
                while self.next <= latest && steps <= GAP_STEPS as usize {
                    interpolate(&self.newest, state, self.next, &mut self.sample);
                    on_sample(&self.sample, false);
                    self.next = self.next + self.dt;
                    steps += 1;
                }
                if self.is_live && steps == 1 && (AS_OFTEN.0 * dt..AS_OFTEN.1 * dt).contains(&interval) {
                    let off = state.stamp.0.saturating_sub(self.sample.stamp.0) as f64;
                    self.next.0 = self.next.0.saturating_add((DRAWN * off) as i64);
                }
            }
        }
        self.newest.copy_from(state);
        restart.unwrap_or(Observation::Continued { steps })
    }

    pub fn reset(&mut self) {
        self.started = false;
    }

    /// How a measurement with this stamp breaks the motion, if it does.
    fn restart(&self, stamp: Stamp) -> Option<Observation> {
        let newest = self.newest.stamp;
        match stamp {
            _ if !self.started => Some(Observation::Started),
            stamp if stamp == newest => Some(Observation::Duplicate),
            stamp if stamp < newest => Some(Observation::RestartedBackInTime),
            stamp if stamp > newest + self.dt * GAP_STEPS => Some(Observation::RestartedAfterGap),
            _ => None,
        }
    }
}

/// Fills `out` with the state at `stamp` on the straight line from `before` to `after`, or a little beyond it, with the velocity
/// of `after`.
pub fn interpolate(before: &State, after: &State, stamp: Stamp, out: &mut State) {
    let share = (stamp.since(before.stamp) / after.stamp.since(before.stamp)).clamp(0.0, 1.0 + EARLY);
    let mix = |out: &mut [f64], before: &[f64], after: &[f64], share: f64| {
        for ((out, before), after) in out.iter_mut().zip(before).zip(after) {
            *out = if share == 1.0 { *after } else { before + share * (after - before) };
        }
    };
    out.stamp = stamp;
    mix(&mut out.position, &before.position, &after.position, share);
    mix(&mut out.velocity, &before.velocity, &after.velocity, share.min(1.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> State {
        let time = milliseconds as f64 * 1e-3;
        State { stamp: Stamp(milliseconds * 1_000_000), position: vec![2.0 * time], velocity: vec![2.0] }
    }

    fn samples(milliseconds: &[i64]) -> (Vec<i64>, Vec<Observation>) {
        let mut resampler = Resampler::new(Duration::from_millis(10), 1);
        let (mut stamps, mut observations) = (Vec::new(), Vec::new());
        for stamp in milliseconds {
            observations.push(resampler.observe(&at(*stamp), |sample, _| {
                assert!((sample.position[0] - 2.0 * sample.stamp.seconds()).abs() < 1e-12);
                stamps.push(sample.stamp.0 / 1_000_000);
            }));
        }
        (stamps, observations)
    }

    #[test]
    fn irregular_stamps_become_regular() {
        let (stamps, observations) = samples(&[3, 6, 25, 33, 33, 72]);
        assert_eq!(stamps, [3, 13, 23, 33, 43, 53, 63, 73]);
        use Observation::{Continued, Duplicate, Started};
        let steps = |steps| Continued { steps };
        assert_eq!(observations, [Started, steps(0), steps(2), steps(1), Duplicate, steps(4)]);
    }

    /// Measurements at about the rate of the samples, of which some are a little early.
    #[test]
    fn each_measurement_completes_its_sample_and_none_waits_for_the_next() {
        for (interval, jitter) in [(10.0, 0.0), (10.0, 1e-6), (10.0, 0.5), (10.03, 0.3), (9.97, 0.3)] {
            let mut resampler = Resampler::new(Duration::from_millis(10), 1);
            let mut off = Vec::new();
            for step in 0..20_000 {
                let early = jitter * f64::sin(3.0 * f64::from(step));
                let time = 1e-3 * (interval * f64::from(step) - early);
                let state = State {
                    stamp: Stamp::from_seconds(10.0 + time),
                    position: vec![time],
                    velocity: vec![1.0],
                };
                let mut count = 0;
                let observation = resampler.observe(&state, |sample, _| {
                    count += 1;
                    assert!((sample.position[0] - sample.stamp.seconds() + 10.0).abs() < 1e-6);
                    off.push(1e3 * state.stamp.since(sample.stamp).abs());
                });
                assert!(
                    observation.is_sample() && count == 1,
                    "{interval} {jitter}: {step}, {observation:?}"
                );
            }
            let largest = off.into_iter().fold(0.0, f64::max);
            assert!(largest < 1.3 * jitter + 0.7, "{interval} {jitter}: {largest} ms");
        }
    }

    #[test]
    fn of_faster_measurements_the_next_completes_a_sample() {
        let (stamps, observations) = samples(&[0, 3, 6, 9, 12, 15, 18, 21]);
        assert_eq!(stamps, [0, 10, 20]);
        let taken: Vec<bool> = observations.into_iter().map(Observation::is_sample).collect();
        assert_eq!(taken, [true, false, false, false, true, false, false, true]);
    }

    #[test]
    fn the_grid_of_a_recording_stays_as_it_is() {
        let mut resampler = Resampler::recorded(Duration::from_millis(10), 1);
        let mut stamps = Vec::new();
        for stamp in [0, 11, 21, 32, 39, 50] {
            resampler.observe(&at(stamp), |sample, _| stamps.push(sample.stamp.0 / 1_000_000));
        }
        assert_eq!(stamps, [0, 10, 20, 30, 40, 50]);
    }

    #[test]
    fn faster_measurements_are_thinned() {
        let stamps: Vec<i64> = (0..=40).collect();
        assert_eq!(samples(&stamps).0, [0, 10, 20, 30, 40]);
    }

    #[test]
    fn gaps_and_steps_back_start_anew() {
        let (stamps, observations) = samples(&[0, 10, 60, 111, 5]);
        assert_eq!(observations[2], Observation::Continued { steps: 5 });
        assert_eq!(observations[3..], [Observation::RestartedAfterGap, Observation::RestartedBackInTime]);
        assert_eq!(stamps, [0, 10, 20, 30, 40, 50, 60, 111, 5]);
    }

    #[test]
    fn far_stamps_do_not_overflow() {
        let mut resampler = Resampler::new(Duration::from_millis(10), 1);
        for stamp in [i64::MIN, i64::MAX, i64::MAX, i64::MIN, i64::MAX - 1, i64::MAX] {
            resampler.observe(&State { stamp: Stamp(stamp), ..at(0) }, |_, _| ());
        }
    }
}
