//! A predicted motion: states at equal steps after now.

use crate::state::{Stamp, State};
use std::time::Duration;

/// How far a prediction reaches: `steps` states, the k-th (from 1) at k·`dt` after the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    pub steps: usize,
    pub dt: Duration,
}

impl Horizon {
    /// Time from the measurement to step `k`, counted from 1.
    pub fn time_from_start(&self, k: usize) -> Duration {
        self.dt * u32::try_from(k).unwrap_or(u32::MAX)
    }
}

/// The predicted motion from the measurement at `stamp`, with the standard deviation of each position.
/// `states[k - 1]` and `stddev[k - 1]` belong to step k; all buffers are made once.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory {
    pub stamp: Stamp,
    pub horizon: Horizon,
    pub states: Vec<State>,
    /// Standard deviation of `position`, [step][degree of freedom], rad or m.
    pub stddev: Vec<Vec<f64>>,
}

impl Trajectory {
    pub fn new(horizon: Horizon, degrees_of_freedom: usize) -> Self {
        Self {
            stamp: Stamp::default(),
            horizon,
            states: vec![State::zeros(degrees_of_freedom); horizon.steps],
            stddev: vec![vec![0.0; degrees_of_freedom]; horizon.steps],
        }
    }

    /// Copies `other` into `self` without allocating (both have the same sizes).
    pub fn copy_from(&mut self, other: &Self) {
        self.stamp = other.stamp;
        self.horizon = other.horizon;
        self.states.iter_mut().zip(&other.states).for_each(|(state, other)| state.copy_from(other));
        self.stddev.iter_mut().zip(&other.stddev).for_each(|(stddev, other)| stddev.copy_from_slice(other));
    }
}
