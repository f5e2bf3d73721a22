//! Time stamps and the measured state of a robot in generalized coordinates.

mod space;

pub use space::Space;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time: nanoseconds since the epoch of whichever clock the robot uses (system or simulated).
/// The core never reads a clock; stamps come in with the measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub i64);

impl Stamp {
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * 1e9).round() as i64)
    }

    pub fn seconds(self) -> f64 {
        self.0 as f64 * 1e-9
    }

    /// Seconds from `earlier` to `self`; negative when `self` is the earlier one.
    pub fn since(self, earlier: Self) -> f64 {
        (self.0.saturating_sub(earlier.0)) as f64 * 1e-9
    }
}

impl Add<Duration> for Stamp {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(duration)))
    }
}

impl Sub<Duration> for Stamp {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanoseconds(duration)))
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// What was measured at `stamp`: position q [rad or m] and velocity v [rad/s or m/s], one entry a degree of freedom,
/// in the robot's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub stamp: Stamp,
    pub position: Vec<f64>,
    pub velocity: Vec<f64>,
}

impl State {
    pub fn zeros(degrees_of_freedom: usize) -> Self {
        Self {
            stamp: Stamp::default(),
            position: vec![0.0; degrees_of_freedom],
            velocity: vec![0.0; degrees_of_freedom],
        }
    }

    /// Copies `other` into `self` without allocating (both have the same size).
    pub fn copy_from(&mut self, other: &Self) {
        self.stamp = other.stamp;
        self.position.copy_from_slice(&other.position);
        self.velocity.copy_from_slice(&other.velocity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_add_and_subtract_in_nanoseconds() {
        let start = Stamp::from_seconds(1.5);
        let later = start + Duration::from_millis(250);
        assert_eq!(later.0, 1_750_000_000);
        assert_eq!(later - Duration::from_millis(250), start);
        assert_eq!(start.since(later), -0.25);
    }

    #[test]
    fn far_stamps_saturate_instead_of_overflowing() {
        let last = Stamp(i64::MAX);
        assert_eq!(last + Duration::from_secs(1), last);
        assert!(last.since(Stamp(i64::MIN)) > 0.0);
    }
}
