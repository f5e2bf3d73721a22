//! The tracking error of one arm over its own simulated time.

use crate::state::Stamp;
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
        let begin = self.errors.partition_point(|(time, _)| *time < from);
        let end = self.errors.partition_point(|(time, _)| *time < to);
        let errors = &self.errors[begin..end.max(begin)];
        (errors.iter().map(|(_, error)| error * error).sum::<f64>() / errors.len() as f64).sqrt()
    }

    /// Errors a second over the last `period` seconds.
    pub fn rate(&self, period: f64) -> f64 {
        let begin = self.errors.partition_point(|(time, _)| *time < self.time() - period);
        (self.errors.len() - begin) as f64 / period
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
