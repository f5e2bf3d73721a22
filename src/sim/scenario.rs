//! What is different today: the ways in which the simulated robot departs from its description.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A scenario can be changed while the robot moves. The default is the robot exactly as described.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Point mass at the origin of the tool, kg.
    pub payload: f64,
    /// Coulomb friction, times that of the description.
    pub friction_scale: f64,
    /// Viscous friction, times that of the description.
    pub damping_scale: f64,
    /// Mass and inertia of the link that each joint moves, times those of the description; empty: 1 for all.
    pub mass_scale: Vec<f64>,
    /// Effort that arrives at each joint, times the effort commanded; empty: 1 for all.
    pub gain: Vec<f64>,
    /// Time from a command to its effect, s in files; rounded to whole steps of the simulation.
    #[serde(with = "seconds")]
    pub delay: Duration,
    /// Force (N) and torque (Nm) on the tool, both in the world frame.
    pub wrench: [f64; 6],
    /// Standard deviation of the measured positions, rad or m.
    pub position_noise: f64,
    /// Standard deviation of the measured velocities, rad/s or m/s.
    pub velocity_noise: f64,
    /// Time constant of the first-order low-pass through which velocities are measured, noise and all, s.
    pub velocity_lag: f64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            payload: 0.0,
            friction_scale: 1.0,
            damping_scale: 1.0,
            mass_scale: Vec::new(),
            gain: Vec::new(),
            delay: Duration::ZERO,
            wrench: [0.0; 6],
            position_noise: 0.0,
            velocity_noise: 0.0,
            velocity_lag: 0.0,
        }
    }
}

impl Scenario {
    /// The longest delay that can be simulated.
    pub const LONGEST_DELAY: Duration = Duration::from_millis(500);

    /// Refuses what no robot of that many joints could do, naming the setting.
    pub fn check(&self, degrees_of_freedom: usize) -> Result<()> {
        for (what, list) in self.lists() {
            if !list.is_empty() && list.len() != degrees_of_freedom {
                return Err(refusal(what, list.len(), format!("none or {degrees_of_freedom} values")));
            }
        }
        self.check_values()
    }

    /// What has a value for each joint.
    fn lists(&self) -> [(&'static str, &[f64]); 2] {
        [("gain", &self.gain), ("mass_scale", &self.mass_scale)]
    }

    /// Refuses what no robot could do, whatever its joints.
    pub fn check_values(&self) -> Result<()> {
        let amounts = [
            ("payload", self.payload),
            ("friction_scale", self.friction_scale),
            ("damping_scale", self.damping_scale),
            ("position_noise", self.position_noise),
            ("velocity_noise", self.velocity_noise),
            ("velocity_lag", self.velocity_lag),
        ];
        let entries =
            self.lists().into_iter().flat_map(|(what, list)| list.iter().map(move |value| (what, *value)));
        for (what, value) in amounts.into_iter().chain(entries) {
            if !(value.is_finite() && value >= 0.0) {
                return Err(refusal(what, value, "a number that is not negative"));
            }
        }
        if let Some(value) = self.wrench.iter().find(|value| !value.is_finite()) {
            return Err(refusal("wrench", value, "finite numbers"));
        }
        if self.mass_scale.contains(&0.0) {
            return Err(refusal("mass_scale", 0, "numbers above 0"));
        }
        if self.delay > Self::LONGEST_DELAY {
            return Err(refusal(
                "delay",
                format!("{:?}", self.delay),
                format!("at most {:?}", Self::LONGEST_DELAY),
            ));
        }
        Ok(())
    }
}

fn refusal(what: &str, found: impl ToString, expected: impl ToString) -> Error {
    Error::mismatch(format!("scenario: {what}"), found, expected)
}

/// Durations are written as seconds.
pub(super) mod seconds {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use std::time::Duration;

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        duration.as_secs_f64().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_nominal_and_valid() {
        let scenario: Scenario = serde_yaml::from_str("{}").unwrap();
        assert_eq!(scenario, Scenario::default());
        scenario.check(7).unwrap();
        let heavier = Scenario { mass_scale: vec![1.2; 7], ..Default::default() };
        heavier.check_values().and(heavier.check(7)).unwrap();
    }

    #[test]
    fn a_file_gives_the_delay_in_seconds() {
        let scenario: Scenario = serde_yaml::from_str("{payload: 1.5, delay: 0.01}").unwrap();
        assert_eq!((scenario.payload, scenario.delay), (1.5, Duration::from_millis(10)));
        let text = serde_yaml::to_string(&scenario).unwrap();
        assert_eq!(serde_yaml::from_str::<Scenario>(&text).unwrap(), scenario);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        assert!(serde_yaml::from_str::<Scenario>("{paylod: 1}").unwrap_err().to_string().contains("paylod"));
        assert!(serde_yaml::from_str::<Scenario>("{delay: -1}").is_err());
        let cases = [
            (Scenario { payload: -1.0, ..Default::default() }, "payload: found -1"),
            (Scenario { friction_scale: f64::NAN, ..Default::default() }, "friction_scale"),
            (Scenario { gain: vec![1.0; 3], ..Default::default() }, "gain: found 3, expected none or 2"),
            (Scenario { gain: vec![1.0, -1.0], ..Default::default() }, "gain"),
            (
                Scenario { mass_scale: vec![1.0], ..Default::default() },
                "mass_scale: found 1, expected none or 2",
            ),
            (Scenario { mass_scale: vec![1.0, 0.0], ..Default::default() }, "mass_scale"),
            (Scenario { delay: Duration::from_secs(2), ..Default::default() }, "delay: found 2s"),
            (Scenario { wrench: [f64::INFINITY; 6], ..Default::default() }, "wrench"),
        ];
        for (scenario, expected) in cases {
            let error = scenario.check(2).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
