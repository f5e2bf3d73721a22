//! What is known of a simulated base.

use crate::base::Drive;
use crate::error::{Error, Result};
use crate::robot::first_non_finite;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Step of the simulation.
pub(super) const STEP: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BaseConfig {
    /// How it can move. A differential drive stands on wheels in MuJoCo, the others are kinematic.
    pub drive: Drive,
    /// Time constant of the motors, s.
    pub lag: f64,
    /// Of a car.
    pub steering: Steering,
    /// [x m, y m, yaw rad].
    pub initial_pose: [f64; 3],
    /// Of the sensor noise.
    pub seed: u64,
}

impl Default for BaseConfig {
    fn default() -> Self {
        let steering = Steering::default();
        Self { drive: Drive::default(), lag: 0.08, steering, initial_pose: [0.0; 3], seed: 1 }
    }
}

/// The steering of a car as the one wheel in the middle of its front axle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Steering {
    /// Distance between the axles, m.
    pub wheelbase: f64,
    /// Time constant of its motor, s.
    pub lag: f64,
    /// Largest angle, rad, and rate, rad/s.
    pub max_angle: f64,
    pub max_rate: f64,
}

impl Default for Steering {
    fn default() -> Self {
        Self { wheelbase: 0.6, lag: 0.1, max_angle: 0.5, max_rate: 1.5 }
    }
}

impl BaseConfig {
    /// Names the first setting that makes no sense.
    pub fn check(&self) -> Result<()> {
        let Steering { wheelbase, lag, max_angle, max_rate } = self.steering;
        let positive = [
            ("lag", self.lag),
            ("steering.wheelbase", wheelbase),
            ("steering.lag", lag),
            ("steering.max_angle", max_angle),
            ("steering.max_rate", max_rate),
        ];
        if let Some((what, value)) =
            positive.into_iter().find(|(_, value)| !(value.is_finite() && *value > 0.0))
        {
            return Err(Error::mismatch(format!("base: {what}"), value, "a number above 0"));
        }
        if max_angle >= std::f64::consts::FRAC_PI_2 {
            return Err(Error::mismatch("base: steering.max_angle", max_angle, "less than half of π"));
        }
        match first_non_finite(&self.initial_pose) {
            None => Ok(()),
            Some(axis) => {
                let what = format!("base: initial_pose[{axis}]");
                Err(Error::NotFinite { what, value: self.initial_pose[axis] })
            }
        }
    }
}
