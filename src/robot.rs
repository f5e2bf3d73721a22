//! The robot: its joints by name, what kind each is, and its limits. Positions q [rad or m] live on a space where a
//! continuous joint wraps; only [`Robot::difference`], [`Robot::integrate`] and [`Robot::on_turn_near`] know that.

pub mod limits;
pub mod urdf;
pub mod dynamics;

pub use dynamics::Dynamics;
pub use limits::Limits;
pub use urdf::urdf_sha256;

use crate::command::Mode;
use crate::error::{Error, Result};
use crate::state::Space;
use serde::{Deserialize, Serialize};
use std::f64::consts::{PI, TAU};
use std::fmt;

/// How a joint moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JointKind {
    /// Turns between two limits, rad.
    Revolute,
    /// Turns without limits: q and q + 2π are the same posture, rad.
    Continuous,
    /// Slides between two limits, m.
    Prismatic,
}

/// What a coordinate is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Rad,
    M,
    /// Nothing but the joint's name is known.
    Unknown,
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Rad => "rad",
            Self::M => "m",
            Self::Unknown => "rad or m",
        })
    }
}

/// Names, kinds, limits and friction of the joints, all in one order: that of the URDF, or that of
/// [`Robot::select`].
#[derive(Clone, Debug, PartialEq)]
pub struct Robot {
    pub name: String,
    pub joints: Vec<String>,
    pub space: Space,
    /// What its drives take; a description does not say, so it is effort until somebody else does.
    pub command_interface: Mode,
    /// SHA-256 of the description; none when nothing but the names of the joints is known.
    pub urdf_sha256: Option<String>,
    pub kinds: Vec<JointKind>,
    pub limits: Limits,
    /// Coulomb friction, Nm or N.
    pub friction: Vec<f64>,
    /// Viscous friction, Nms/rad or Ns/m.
    pub damping: Vec<f64>,
    /// Movable joints of the URDF that are not driven, each with the reason; they are taken to rest at zero.
    pub left_out: Vec<(String, String)>,
}

impl Robot {
    /// A robot of which only the names of the joints are known, for predicting one without its description.
    pub fn of_joints(joints: &[String]) -> Self {
        let n = joints.len();
        let limits = Limits {
            position: vec![(f64::NEG_INFINITY, f64::INFINITY); n],
            velocity: vec![f64::INFINITY; n],
            effort: vec![f64::INFINITY; n],
        };
        Self {
            name: String::new(),
            joints: joints.to_vec(),
            space: Space::Joints,
            command_interface: Mode::Effort,
            urdf_sha256: None,
            kinds: vec![JointKind::Revolute; n],
            limits,
            friction: vec![0.0; n],
            damping: vec![0.0; n],
            left_out: Vec::new(),
        }
    }

    pub fn degrees_of_freedom(&self) -> usize {
        self.joints.len()
    }

    /// The same robot with drives that take `command_interface`.
    pub fn commanded_by(self, command_interface: Mode) -> Self {
        Self { command_interface, ..self }
    }

    /// What a learned command is measured by: the limit of efforts (Nm or N) or of velocities (rad/s or m/s); of
    /// positions the way at the velocity limit in [`Limits::POSITION_LOOP`] (rad or m).
    pub fn command_scale(&self) -> Vec<f64> {
        match self.command_interface {
            Mode::Effort => self.limits.effort.clone(),
            Mode::Velocity => self.limits.velocity.clone(),
            Mode::Position => {
                self.limits.velocity.iter().map(|limit| Limits::POSITION_LOOP * limit).collect()
            }
        }
    }

    /// The command that one unit of a network's output stands for: a tenth of [`Self::command_scale`].
    pub fn output_scale(&self) -> Vec<f64> {
        self.command_scale().iter().map(|scale| 0.1 * scale).collect()
    }

    /// What each coordinate is measured in.
    pub fn units(&self) -> Vec<Unit> {
        let of_kind = |kind: &JointKind| match (kind, &self.urdf_sha256) {
            (_, None) => Unit::Unknown,
            (JointKind::Prismatic, _) => Unit::M,
            (JointKind::Revolute | JointKind::Continuous, _) => Unit::Rad,
        };
        match self.space {
            Space::Joints => self.kinds.iter().map(of_kind).collect(),
            Space::PlanarBase => vec![Unit::M, Unit::M, Unit::Rad],
        }
    }

    pub fn index_of(&self, joint: &str) -> Option<usize> {
        self.joints.iter().position(|name| name == joint)
    }

    /// The increment that leads from `from` to `to`: the shorter way round, in (-π, π], for a continuous joint.
    pub fn difference(&self, from: &[f64], to: &[f64], out: &mut [f64]) {
        for (i, kind) in self.kinds.iter().enumerate() {
            let increment = to[i] - from[i];
            out[i] = if *kind == JointKind::Continuous { wrap(increment) } else { increment };
        }
    }

    /// `position` [rad or m] of a joint on the turn that is nearest to `near`; only a continuous joint has more than one.
    pub fn on_turn_near(&self, joint: usize, near: f64, position: f64) -> f64 {
        match self.kinds[joint] {
            JointKind::Continuous => position + TAU * ((near - position) / TAU).round(),
            JointKind::Revolute | JointKind::Prismatic => position,
        }
    }

    /// The position that `increment` [rad or m] leads to from `position`; a continuous joint stays in (-π, π].
    pub fn integrate(&self, position: &[f64], increment: &[f64], out: &mut [f64]) {
        for (i, kind) in self.kinds.iter().enumerate() {
            let sum = position[i] + increment[i];
            out[i] = if *kind == JointKind::Continuous { wrap(sum) } else { sum };
        }
    }

    /// The same robot with only `joints`, in that order; the others join [`Robot::left_out`].
    pub fn select(&self, joints: &[String]) -> Result<Self> {
        let indices = joints.iter().map(|joint| self.find(joint)).collect::<Result<Vec<_>>>()?;
        let mut selected = Self { joints: Vec::new(), kinds: Vec::new(), ..self.clone() };
        selected.limits = Limits::default();
        selected.friction.clear();
        selected.damping.clear();
        for &i in &indices {
            if selected.index_of(&self.joints[i]).is_some() {
                return Err(Error::Joint { joint: self.joints[i].clone(), problem: "listed twice".into() });
            }
            selected.joints.push(self.joints[i].clone());
            selected.kinds.push(self.kinds[i]);
            selected.limits.position.push(self.limits.position[i]);
            selected.limits.velocity.push(self.limits.velocity[i]);
            selected.limits.effort.push(self.limits.effort[i]);
            selected.friction.push(self.friction[i]);
            selected.damping.push(self.damping[i]);
        }
        let rest = self.joints.iter().filter(|joint| !joints.contains(joint));
        selected.left_out.extend(rest.map(|joint| (joint.clone(), "not among the chosen joints".into())));
        Ok(selected)
    }

    fn find(&self, joint: &str) -> Result<usize> {
        self.index_of(joint).ok_or_else(|| Error::Joint {
            joint: joint.into(),
            problem: format!("robot '{}' has no such joint; it has {}", self.name, self.joints.join(", ")),
        })
    }
}

/// Where the first value stands that is NaN or infinite.
pub fn first_non_finite(values: &[f64]) -> Option<usize> {
    values.iter().position(|value| !value.is_finite())
}

/// `angle` [rad] brought into (-π, π]; an angle that is already there is returned bit for bit.
pub(crate) fn wrap(angle: f64) -> f64 {
    if angle > -PI && angle <= PI {
        return angle;
    }
    let wrapped = angle - TAU * ((angle - PI) / TAU).ceil();
    if wrapped <= -PI { wrapped + TAU } else { wrapped.min(PI) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use proptest::prelude::*;

    pub fn robot(kinds: &[JointKind]) -> Robot {
        let n = kinds.len();
        Robot {
            command_interface: Mode::Effort,
            name: "test".into(),
            joints: (1..=n).map(|i| format!("joint{i}")).collect(),
            space: Space::Joints,
            urdf_sha256: Some(urdf_sha256("test")),
            kinds: kinds.to_vec(),
            limits: Limits {
                position: vec![(-1.0, 1.0); n],
                velocity: vec![2.0; n],
                effort: (1..=n).map(|i| i as f64).collect(),
            },
            friction: vec![0.0; n],
            damping: vec![0.0; n],
            left_out: Vec::new(),
        }
    }

    #[test]
    fn a_continuous_joint_takes_the_shorter_way_round() {
        let robot = robot(&[JointKind::Continuous, JointKind::Revolute]);
        let mut out = [0.0; 2];
        robot.difference(&[3.0, 3.0], &[-3.0, -3.0], &mut out);
        assert_relative_eq!(out[0], TAU - 6.0, epsilon = 1e-12);
        assert_eq!(out[1], -6.0);
        robot.integrate(&[3.0, 3.0], &[0.5, 0.5], &mut out);
        assert_relative_eq!(out[0], 3.5 - TAU, epsilon = 1e-12);
        assert_eq!(out[1], 3.5);
    }

    #[test]
    fn a_continuous_joint_is_found_on_the_turn_that_is_meant() {
        let robot = robot(&[JointKind::Continuous, JointKind::Revolute]);
        assert_relative_eq!(robot.on_turn_near(0, 7.0, 0.7), 0.7 + TAU, epsilon = 1e-12);
        assert_relative_eq!(robot.on_turn_near(0, 3.1, -3.0), TAU - 3.0, epsilon = 1e-12);
        assert_eq!((robot.on_turn_near(0, 1.0, 0.7), robot.on_turn_near(1, 7.0, 0.7)), (0.7, 0.7));
    }

    #[test]
    fn selecting_reorders_and_remembers_the_rest() {
        let robot = robot(&[JointKind::Continuous, JointKind::Revolute, JointKind::Prismatic]);
        let selected = robot.select(&["joint3".into(), "joint1".into()]).unwrap();
        assert_eq!(selected.joints, ["joint3", "joint1"]);
        assert_eq!(selected.kinds, [JointKind::Prismatic, JointKind::Continuous]);
        assert_eq!(selected.limits.effort, [3.0, 1.0]);
        assert_eq!(selected.left_out[0].0, "joint2");
    }

    #[test]
    fn selecting_names_what_is_wrong() {
        let robot = robot(&[JointKind::Revolute]);
        let unknown = robot.select(&["elbow".into()]).unwrap_err().to_string();
        assert!(unknown.contains("elbow") && unknown.contains("joint1"), "{unknown}");
        let twice = robot.select(&["joint1".into(), "joint1".into()]).unwrap_err().to_string();
        assert!(twice.contains("joint1") && twice.contains("twice"), "{twice}");
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_found() {
        assert_eq!(first_non_finite(&[0.0, 1.0]), None);
        assert_eq!(first_non_finite(&[0.0, f64::NAN, f64::INFINITY]), Some(1));
        assert_eq!(first_non_finite(&[f64::NEG_INFINITY]), Some(0));
    }

    proptest! {
        #[test]
        fn wrapping_lands_in_the_half_open_turn(angle in -1e4..1e4_f64) {
            let wrapped = wrap(angle);
            prop_assert!(wrapped > -PI && wrapped <= PI);
            prop_assert!(((wrapped - angle) / TAU - ((wrapped - angle) / TAU).round()).abs() < 1e-9);
            prop_assert_eq!(wrap(wrapped), wrapped);
        }

        #[test]
        fn integrating_the_difference_arrives(from in -PI..PI, to in -PI..PI) {
            for kind in [JointKind::Revolute, JointKind::Continuous, JointKind::Prismatic] {
                let robot = robot(&[kind]);
                let (mut increment, mut arrived) = ([0.0], [0.0]);
                robot.difference(&[from], &[to], &mut increment);
                robot.integrate(&[from], &increment, &mut arrived);
                prop_assert!(wrap(arrived[0] - to).abs() < 1e-12);
            }
        }
    }
}
