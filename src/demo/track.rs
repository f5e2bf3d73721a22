//! The tracking error of one arm over its own simulated time.

use crate::state::Stamp;
use crate::vector::root_mean_square;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Default)]
pub struct Track {
    start: Option<Stamp>,
    /// (seconds since the start, rms over joints [rad])
    errors: Vec<(f64, f64)>,
    heard: Option<Instant>,
}

impl Track {
    /// Stamp of the first error.
    pub fn start(&self) -> Option<Stamp> {
        self.start
    }

    /// Seconds since the arm began to move; 0 before.
    pub fn time(&self) -> f64 {
        self.errors.last().map_or(0.0, |(time, _)| *time)
    }

    pub fn silence(&self) -> Duration {
        self.heard.map_or(Duration::ZERO, |heard| heard.elapsed())
    }

    /// Root mean square over joints and time in [from, to) seconds, rad.
    pub fn rms(&self, from: f64, to: f64) -> f64 {
        root_mean_square(self.between(from, to).iter().map(|(_, error)| *error))
    }

    /// The longest time between two errors in [from, to) seconds, s.
    pub fn longest_gap(&self, from: f64, to: f64) -> f64 {
        self.between(from, to).windows(2).map(|pair| pair[1].0 - pair[0].0).fold(0.0, f64::max)
    }

    /// Errors a second over the last `period` seconds.
    pub fn rate(&self, period: f64) -> f64 {
        self.between(self.time() - period, f64::INFINITY).len() as f64 / period
    }

    /// Those in [from, to) seconds.
    fn between(&self, from: f64, to: f64) -> &[(f64, f64)] {
        let [begin, end] = [from, to].map(|bound| self.errors.partition_point(|(time, _)| *time < bound));
        &self.errors[begin..end.max(begin)]
    }

    /// Takes the error of the measurement of `stamp`, rms over joints [rad]; what is not newer than the last one is left out.
    pub fn add(&mut self, stamp: Stamp, error: f64) {
        let time = stamp.since(*self.start.get_or_insert(stamp));
        if self.errors.last().is_none_or(|(last, _)| time > *last) {
            self.errors.push((time, error));
        }
    }

    /// As [`Track::add`], of an arm that one listens to.
    pub fn hear(&mut self, stamp: Stamp, error: f64) {
        self.add(stamp, error);
        self.heard = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_averaged_and_gaps_found_within_a_window() {
        let mut track = Track::default();
        for (milliseconds, error) in [(10, 1.0), (12, 3.0), (11, 9.0), (20, 5.0), (22, 7.0)] {
            track.add(Stamp(milliseconds * 1_000_000), error);
        }
        assert!((track.time() - 0.012).abs() < 1e-12, "from the first error on; what comes late is left out");
        assert_eq!(track.rms(0.0, 0.005), f64::sqrt(5.0));
        assert!((track.longest_gap(0.0, 0.02) - 0.008).abs() < 1e-12);
        assert!((track.longest_gap(0.005, 0.02) - 0.002).abs() < 1e-12);
        assert_eq!(track.longest_gap(0.0, 0.001), 0.0);
    }
}
