//! What predictions were worth once the future has come: errors per horizon step beside those of constant velocity
//! and of standing still, for the same instants.

use super::is_valid;
use super::resampler::{GAP_STEPS, interpolate};
use crate::state::{Stamp, State};
use crate::trajectory::{Horizon, Trajectory};

/// Root mean square errors over joints and time at one horizon step, rad or m.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errors {
    pub prediction: f64,
    pub constant_velocity: f64,
    pub hold: f64,
    /// Share of the errors within one and two predicted standard deviations; of a normal distribution 0.68, 0.95.
    pub within: [f64; 2],
    /// Number of errors, joints times instants.
    pub count: u64,
}

impl Errors {
    /// 1 - rmse / rmse of constant velocity: 1 is perfect, 0 no better than constant velocity, below it worse.
    pub fn skill(&self) -> Option<f64> {
        (self.constant_velocity > 0.0).then(|| 1.0 - self.prediction / self.constant_velocity)
    }
}

/// Sums over the instants at which predictions came due. Made once, no allocation after that.
#[derive(Clone, Debug)]
pub struct RealisedError {
    horizon: Horizon,
    joints: usize,
    /// Predictions that are not yet wholly due, at most two a dt.
    ring: Vec<Pending>,
    write: usize,
    newest: State,
    started: bool,
    realised: State,
    sums: Vec<Sums>,
}

#[derive(Clone, Debug)]
struct Pending {
    start: State,
    prediction: Trajectory,
    /// First step that is not yet due, from 1; above the horizon when all are done.
    next: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    prediction: f64,
    constant_velocity: f64,
    hold: f64,
    within: [u64; 2],
    count: u64,
}

impl RealisedError {
    pub fn new(horizon: Horizon, joints: usize) -> Self {
        let done = Pending {
            start: State::zeros(joints),
            prediction: Trajectory::new(horizon, joints),
            next: horizon.steps + 1,
        };
        Self {
            horizon,
            joints,
            ring: vec![done; 2 * (horizon.steps + 1)],
            write: 0,
            newest: State::zeros(joints),
            started: false,
            realised: State::zeros(joints),
            sums: vec![Sums::default(); horizon.steps],
        }
    }

    /// Remembers `prediction`, made from the measurement `start`. Of predictions closer than dt/2 the first counts.
    pub fn remember(&mut self, start: &State, prediction: &Trajectory) {
        let last = &self.ring[(self.write + self.ring.len() - 1) % self.ring.len()];
        // half a step, so that stamps that jitter about dt all count
        let too_soon = last.next <= self.horizon.steps
            && start.stamp < last.start.stamp + self.horizon.dt / 2
            && start.stamp >= last.start.stamp;
        if too_soon || !is_valid(start, self.joints) || !super::fits(prediction, self.horizon, self.joints) {
            return;
        }
        let slot = &mut self.ring[self.write];
        slot.start.copy_from(start);
        slot.prediction.copy_from(prediction);
        slot.next = 1;
        self.write = (self.write + 1) % self.ring.len();
    }

    /// Takes in a measurement: predictions for instants up to it become due. Instants inside a gap are left out,
    /// and a step back in time drops all predictions that are not yet due.
    pub fn observe(&mut self, state: &State) {
        if !is_valid(state, self.joints) || (self.started && state.stamp == self.newest.stamp) {
            return;
        }
        if self.started && state.stamp > self.newest.stamp {
            let is_gap = state.stamp > self.newest.stamp + self.horizon.dt * GAP_STEPS;
            for slot in 0..self.ring.len() {
                self.settle(slot, state, is_gap);
            }
        } else {
            self.ring.iter_mut().for_each(|pending| pending.next = self.horizon.steps + 1);
        }
        self.newest.copy_from(state);
        self.started = true;
    }

    /// Counts the steps of one prediction that are due by `state`.
    fn settle(&mut self, slot: usize, state: &State, is_gap: bool) {
        let pending = &mut self.ring[slot];
        while pending.next <= self.horizon.steps {
            let k = pending.next;
            let due: Stamp = pending.start.stamp + self.horizon.time_from_start(k);
            if due > state.stamp {
                return;
            }
            if !is_gap {
                interpolate(&self.newest, state, due, &mut self.realised);
                let time = self.horizon.time_from_start(k).as_secs_f64();
                self.sums[k - 1].add(pending, &self.realised, time);
            }
            pending.next += 1;
        }
    }

    /// Errors at step `k`, from 1; none before any was due.
    pub fn errors(&self, k: usize) -> Option<Errors> {
        self.sums.get(k.checked_sub(1)?)?.errors()
    }

    /// Forgets the sums and all predictions.
    pub fn reset(&mut self) {
        self.sums.fill(Sums::default());
        self.ring.iter_mut().for_each(|pending| pending.next = self.horizon.steps + 1);
        self.started = false;
    }
}

impl Sums {
    /// Adds the errors at `pending.next`, `time` [s] after its start, where the robot really was at `realised`.
    fn add(&mut self, pending: &Pending, realised: &State, time: f64) {
        let k = pending.next - 1;
        let predicted = &pending.prediction.states[k].position;
        for (joint, position) in realised.position.iter().enumerate() {
            let (start, velocity) = (pending.start.position[joint], pending.start.velocity[joint]);
            let error = (position - predicted[joint]).abs();
            self.prediction += error.powi(2);
            self.constant_velocity += (position - start - velocity * time).powi(2);
            self.hold += (position - start).powi(2);
            let stddev = pending.prediction.stddev[k][joint];
            self.within[0] += u64::from(error <= stddev);
            self.within[1] += u64::from(error <= 2.0 * stddev);
            self.count += 1;
        }
    }

    fn errors(&self) -> Option<Errors> {
        let count = self.count as f64;
        let root_mean = |sum: f64| (sum / count).sqrt();
        (self.count > 0).then(|| Errors {
            prediction: root_mean(self.prediction),
            constant_velocity: root_mean(self.constant_velocity),
            hold: root_mean(self.hold),
            within: self.within.map(|within| within as f64 / count),
            count: self.count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictor::{ConstantVelocity, Predictor};
    use std::time::Duration;

    const HORIZON: Horizon = Horizon { steps: 3, dt: Duration::from_millis(100) };

    /// q = t² at t = 0.1 s · step.
    fn motion(step: i64) -> State {
        let time = 0.1 * step as f64;
        State { stamp: Stamp(step * 100_000_000), position: vec![time * time], velocity: vec![2.0 * time] }
    }

    fn run(steps: impl IntoIterator<Item = i64>) -> RealisedError {
        let mut realised = RealisedError::new(HORIZON, 1);
        let mut predictor = ConstantVelocity::new(crate::state::Space::Joints, HORIZON, vec![1.5]);
        let mut prediction = Trajectory::new(HORIZON, 1);
        for step in steps {
            realised.observe(&motion(step));
            predictor.observe(&motion(step));
            predictor.predict(&mut prediction);
            prediction.states.iter_mut().for_each(|state| state.position[0] += 0.001);
            realised.remember(&motion(step), &prediction);
        }
        realised
    }

    #[test]
    fn errors_are_those_computed_by_hand() {
        let realised = run(0..20);
        for k in 1..=3 {
            let errors = realised.errors(k).unwrap();
            let expected = (0.1 * k as f64).powi(2); // (t + τ)² - t² - 2tτ = τ²
            assert!((errors.constant_velocity - expected).abs() < 1e-12);
            assert!((errors.prediction - (expected - 0.001)).abs() < 1e-12);
            assert!((errors.skill().unwrap() - 0.001 / expected).abs() < 1e-9);
            assert_eq!(errors.within, [0.0, 1.0]); // τ² beside a spread of 0.75 τ²
            assert_eq!(errors.count, 20 - k as u64);
        }
        assert!(realised.errors(0).is_none() && realised.errors(4).is_none());
    }

    #[test]
    fn gaps_are_left_out_and_a_step_back_drops_what_is_pending() {
        assert_eq!(run((0..5).chain(50..55)).errors(1).unwrap().count, 8);
        assert_eq!(run((50..55).chain(0..5)).errors(1).unwrap().count, 8);
        let mut realised = run(0..20);
        realised.reset();
        assert!(realised.errors(1).is_none());
    }

    #[test]
    fn predictions_faster_than_dt_are_thinned_not_lost() {
        let mut realised = RealisedError::new(HORIZON, 1);
        let mut predictor = ConstantVelocity::new(crate::state::Space::Joints, HORIZON, vec![1.0]);
        let mut prediction = Trajectory::new(HORIZON, 1);
        for step in 0..1000 {
            let state = State { stamp: Stamp(step * 10_000_000), position: vec![0.0], velocity: vec![0.0] };
            realised.observe(&state);
            predictor.observe(&state);
            predictor.predict(&mut prediction);
            realised.remember(&state, &prediction);
        }
        let counts = [1, 2, 3].map(|k| realised.errors(k).unwrap().count);
        assert!(counts.iter().all(|count| (90..=200).contains(count)), "{counts:?}");
    }
}
