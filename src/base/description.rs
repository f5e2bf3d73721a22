//! What a base is for everything learned: its drive and its greatest velocities. A learner hears it from the controller, as an
//! arm's hears a URDF.

use super::config::BaseControllerConfig;
use super::tracker::Drive;
use super::twist::{Twist, base_robot};
use crate::command::Mode;
use crate::error::{Error, Result};
use crate::robot::{Robot, urdf_sha256};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseDescription {
    pub drive: Drive,
    /// Greatest velocity of each axis, m/s, m/s, rad/s; an axis with 0 it does not have.
    pub greatest: Twist,
}

impl BaseDescription {
    pub fn of(config: &BaseControllerConfig) -> Self {
        Self { drive: config.drive, greatest: [0, 1, 2].map(|axis| config.limits.speed(axis)) }
    }

    /// The base as a robot whose axes take velocities. Models for a base of another description are refused by its hash. Of an
    /// axis that it does not have nothing is learned, and its scale is 1.
    pub fn robot(&self) -> Robot {
        let mut robot = base_robot().commanded_by(Mode::Velocity);
        robot.limits.velocity = self.greatest.map(|speed| if speed > 0.0 { speed } else { 1.0 }).to_vec();
        robot.urdf_sha256 = Some(urdf_sha256(&self.to_text()));
        robot
    }

    /// As JSON.
    pub fn to_text(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// Reads what [`Self::to_text`] wrote; `origin` is for the messages.
    pub fn from_text(text: &str, origin: &str) -> Result<Self> {
        let expected = r#"{"drive": "differential", "greatest": [x, y, theta]}, finite, 0 or above"#;
        let description: Self =
            serde_json::from_str(text).map_err(|error| Error::mismatch(origin, error, expected))?;
        let is_speed = |speed: &f64| speed.is_finite() && *speed >= 0.0;
        match description.greatest.iter().all(is_speed) {
            true => Ok(description),
            false => Err(Error::mismatch(origin, text, expected)),
        }
    }
}

/// `twist` without what a base with these `greatest` velocities cannot do.
pub(super) fn possible(greatest: &Twist, twist: &Twist) -> Twist {
    [0, 1, 2].map(|axis| if greatest[axis] > 0.0 { twist[axis] } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::checkpoint::{Card, ModelKind};

    fn description() -> BaseDescription {
        BaseDescription { drive: Drive::Differential, greatest: [0.8, 0.0, 2.5] }
    }

    #[test]
    fn a_description_survives_the_way_through_a_message() {
        let text = description().to_text();
        assert_eq!(BaseDescription::from_text(&text, "topic").unwrap(), description());
        for wrong in ["", "<robot/>", &text.replace("0.8", "-1.0"), &text.replace("differential", "tracked")]
        {
            let error = BaseDescription::from_text(wrong, "topic").unwrap_err().to_string();
            assert!(error.contains("topic") && error.contains("greatest"), "{error}");
        }
    }

    #[test]
    fn a_network_of_another_base_is_refused() {
        let robot = description().robot();
        let scale = robot.output_scale();
        assert!(scale.iter().zip([0.08, 0.1, 0.25]).all(|(a, b)| (a - b).abs() < 1e-12), "{scale:?}");
        let card = Card::new(ModelKind::Controller, &robot, 0.02, &()).unwrap();
        card.check(ModelKind::Controller, &robot, None).unwrap();
        let slower = BaseDescription { greatest: [0.5, 0.0, 2.5], ..description() };
        let car = BaseDescription { drive: Drive::Ackermann, ..description() };
        for other in [slower.robot(), car.robot(), Robot::of_joints(&robot.joints)] {
            assert!(card.check(ModelKind::Controller, &other, None).is_err());
        }
    }
}
