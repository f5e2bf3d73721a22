//! The ways in which the simulated base departs from its description.

use super::scenario::seconds;
use crate::base::Drive;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A scenario can be changed while the base moves. The default is the base exactly as described, measured exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BaseScenario {
    /// Radius of the left and the right wheel over what the driver takes it to be; of a differential drive.
    pub wheel_scale: [f64; 2],
    /// What arrives of a twist, as a share of each axis; of a car that of the speed, nothing, and of the steering angle. Not of a
    /// differential drive.
    pub gain: [f64; 3],
    /// How far to the left, rad, a base goes that is told to go straight ahead: a car's steering is off by so much, another base
    /// looks elsewhere than it takes to be forward. Not of a differential drive.
    pub misalignment: f64,
    /// Time constant of the motors, times that of the config.
    pub lag_scale: f64,
    /// Mass on the base, kg; it stands behind and left of the middle. Of a differential drive.
    pub payload: f64,
    /// Where the floor is slippery.
    pub patch: Patch,
    /// Time from a twist to its effect, s in files; rounded to whole steps of the simulation.
    #[serde(with = "seconds")]
    pub delay: Duration,
    /// Standard deviation of the measured x and y, m.
    pub position_noise: f64,
    /// Standard deviation of the measured yaw, rad, and what it is always off by.
    pub yaw_noise: f64,
    pub yaw_bias: f64,
    /// Standard deviation of the measured vx and vy, m/s, and of wz, rad/s.
    pub velocity_noise: f64,
    pub yaw_rate_noise: f64,
}

/// A round patch of the floor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Patch {
    /// x and y of its middle, m.
    pub centre: [f64; 2],
    /// m; 0: there is none.
    pub radius: f64,
    /// Coefficient of sliding friction of a wheel on it; elsewhere it is 1.
    pub friction: f64,
}

impl Default for Patch {
    fn default() -> Self {
        Self { centre: [0.0; 2], radius: 0.0, friction: 1.0 }
    }
}

impl Patch {
    pub fn contains(&self, x: f64, y: f64) -> bool {
        (x - self.centre[0]).hypot(y - self.centre[1]) < self.radius
    }
}

impl Default for BaseScenario {
    fn default() -> Self {
        Self {
            wheel_scale: [1.0; 2],
            gain: [1.0; 3],
            misalignment: 0.0,
            lag_scale: 1.0,
            payload: 0.0,
            patch: Patch::default(),
            delay: Duration::ZERO,
            position_noise: 0.0,
            yaw_noise: 0.0,
            yaw_bias: 0.0,
            velocity_noise: 0.0,
            yaw_rate_noise: 0.0,
        }
    }
}

impl BaseScenario {
    /// The longest delay that can be simulated.
    pub const LONGEST_DELAY: Duration = Duration::from_millis(500);

    /// Refuses what no base with this drive could do, naming the setting.
    pub fn check(&self, drive: Drive) -> Result<()> {
        let refuse = |what: &str, found: f64, expected: &str| {
            Err(Error::mismatch(format!("scenario.{what}"), found, expected))
        };
        let usual = Self::default();
        let is_foreign = if drive == Drive::Differential {
            [("gain", self.gain != usual.gain), ("misalignment", self.misalignment != usual.misalignment)]
        } else {
            [
                ("wheel_scale", self.wheel_scale != usual.wheel_scale),
                ("payload", self.payload != usual.payload),
            ]
        };
        if let Some((what, _)) = is_foreign.into_iter().find(|(_, is_foreign)| *is_foreign) {
            let expected = format!("the default: a base with drive {drive:?} has none");
            return Err(Error::mismatch(format!("scenario.{what}"), "another value", expected));
        }
        let [left, right] = self.wheel_scale;
        let [x, y, theta] = self.gain;
        let positive = [
            ("wheel_scale", left),
            ("wheel_scale", right),
            ("gain", x),
            ("gain", y),
            ("gain", theta),
            ("lag_scale", self.lag_scale),
        ];
        if let Some((what, value)) =
            positive.into_iter().find(|(_, value)| !(value.is_finite() && *value > 0.0))
        {
            return refuse(what, value, "a number above 0");
        }
        let amounts = [
            ("payload", self.payload),
            ("patch.radius", self.patch.radius),
            ("patch.friction", self.patch.friction),
            ("position_noise", self.position_noise),
            ("yaw_noise", self.yaw_noise),
            ("velocity_noise", self.velocity_noise),
            ("yaw_rate_noise", self.yaw_rate_noise),
        ];
        if let Some((what, value)) =
            amounts.into_iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0))
        {
            return refuse(what, value, "a number, 0 or above");
        }
        let [x, y] = self.patch.centre;
        let finite = [
            ("patch.centre", x),
            ("patch.centre", y),
            ("yaw_bias", self.yaw_bias),
            ("misalignment", self.misalignment),
        ];
        if let Some((what, value)) = finite.into_iter().find(|(_, value)| !value.is_finite()) {
            return refuse(what, value, "a finite number");
        }
        if self.delay > Self::LONGEST_DELAY {
            let expected = format!("at most {:?}", Self::LONGEST_DELAY);
            return Err(Error::mismatch("scenario.delay", format!("{:?}", self.delay), expected));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_base_could_do_is_refused_by_name() {
        let of = |text: &str, drive| serde_yaml::from_str::<BaseScenario>(text).unwrap().check(drive);
        let refusal = |text: &str| of(text, Drive::Differential).unwrap_err().to_string();
        assert!(BaseScenario::default().check(Drive::Differential).is_ok());
        assert!(refusal("{wheel_scale: [1, 0]}").contains("wheel_scale"));
        assert!(refusal("{payload: -1}").contains("payload"));
        assert!(refusal("{patch: {radius: .nan}}").contains("patch.radius"));
        assert!(refusal("{delay: 2}").contains("delay"));
        assert!(refusal("{misalignment: 0.1}").contains("misalignment"));
        assert!(refusal("{gain: [1, 1, 0.9]}").contains("gain"));
        for drive in [Drive::Ackermann, Drive::Omnidirectional] {
            let refusal = |text: &str| of(text, drive).unwrap_err().to_string();
            assert!(of("{gain: [0.9, 1, 1.2], misalignment: 0.1}", drive).is_ok());
            assert!(refusal("{wheel_scale: [1, 0.9]}").contains("wheel_scale"));
            assert!(refusal("{payload: 1}").contains("payload"));
            assert!(refusal("{gain: [1, -1, 1]}").contains("gain"));
        }
        assert!(serde_yaml::from_str::<BaseScenario>("{payloda: 1}").is_err());
    }
}
