//! From the joint states that arrive to the [`State`] that the core works on.
//!
//! Joints are matched by name. Messages may hold further joints, any order, no velocities, or nonsense; each is
//! either turned into a state or rejected with the joint and the value that made it unusable.

use crate::robot::Robot;
use crate::state::{Stamp, State};
use std::fmt;

/// Why a message was not used. The state stays what it was and ages until the control loop calls it stale.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// None of the robot's joints is in the message: it belongs to another device. Not a fault.
    OtherDevice,
    MissingJoint {
        joint: String,
    },
    TooFewPositions {
        names: usize,
        positions: usize,
    },
    NonFinitePosition {
        joint: String,
        value: f64,
    },
    /// Zero, where the stamp has to be the time.
    NoStamp,
    /// The same stamp as the newest state.
    Duplicate {
        stamp: Stamp,
    },
    /// Older than the newest state.
    Late {
        behind: f64,
    },
}

impl Rejection {
    /// A message that repeats, or comes from another device, is normal on a network.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::OtherDevice | Self::Duplicate { .. })
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherDevice => write!(f, "no joint of this robot in the message"),
            Self::NoStamp => write!(f, "no stamp (zero), which would be the time of the tick"),
            Self::MissingJoint { joint } => {
                write!(f, "joint '{joint}' is missing: all joints of the robot must come in one message")
            }
            Self::TooFewPositions { names, positions } => {
                write!(f, "{names} names but {positions} positions")
            }
            Self::NonFinitePosition { joint, value } => {
                write!(f, "position of joint '{joint}' is {value}")
            }
            Self::Duplicate { stamp } => write!(f, "stamp {:.6} s came twice", stamp.seconds()),
            Self::Late { behind } => {
                write!(
                    f,
                    "stamp is {behind:.6} s behind the newest one: out of order, or the clock went back"
                )
            }
        }
    }
}

/// A message further behind the newest one than this [s] means that the clock was set back (a simulator reset),
/// not that the network reordered it: measuring starts anew.
const CLOCK_RESET: f64 = 1.0;

/// Turns joint state messages into states, in the robot's joint order, without allocating once the order is known.
#[derive(Clone, Debug)]
pub struct JointStateReader {
    robot: Robot,
    /// Where each of our joints stands in the message last seen.
    order: Vec<usize>,
    state: State,
    scratch: State,
    /// Way from the last position to the new one.
    increment: Vec<f64>,
    started: bool,
}

impl JointStateReader {
    pub fn new(robot: &Robot) -> Self {
        let n = robot.degrees_of_freedom();
        Self {
            robot: robot.clone(),
            order: Vec::with_capacity(n),
            state: State::zeros(n),
            scratch: State::zeros(n),
            increment: vec![0.0; n],
            started: false,
        }
    }

    /// The newest accepted state.
    pub fn state(&self) -> Option<&State> {
        self.started.then_some(&self.state)
    }

    /// Reads one message. `velocities` may be empty, shorter than `names`, or hold NaN: such a velocity is the
    /// difference of the last two positions over their stamps.
    pub fn read(
        &mut self,
        stamp: Stamp,
        names: &[String],
        positions: &[f64],
        velocities: &[f64],
    ) -> Result<&State, Rejection> {
        self.find_joints(names)?;
        if positions.len() < names.len() {
            return Err(Rejection::TooFewPositions { names: names.len(), positions: positions.len() });
        }
        let elapsed = self.check_stamp(stamp)?;
        self.scratch.stamp = stamp;
        for (joint, &index) in self.order.iter().enumerate() {
            let position = positions[index];
            if !position.is_finite() {
                let joint = self.robot.joints[joint].clone();
                return Err(Rejection::NonFinitePosition { joint, value: position });
            }
            self.scratch.position[joint] = position;
        }
        self.robot.difference(&self.state.position, &self.scratch.position, &mut self.increment);
        for (joint, &index) in self.order.iter().enumerate() {
            self.scratch.velocity[joint] = match (velocities.get(index), elapsed) {
                (Some(velocity), _) if velocity.is_finite() => *velocity,
                (_, Some(elapsed)) => self.increment[joint] / elapsed,
                (_, None) => 0.0,
            };
        }
        std::mem::swap(&mut self.state, &mut self.scratch);
        self.started = true;
        Ok(&self.state)
    }

    /// Time since the newest state [s], or `None` when this message is the first one, or the first after the clock
    /// was set back.
    fn check_stamp(&self, stamp: Stamp) -> Result<Option<f64>, Rejection> {
        if !self.started {
            return Ok(None);
        }
        match stamp.since(self.state.stamp) {
            elapsed if elapsed > 0.0 => Ok(Some(elapsed)),
            0.0 => Err(Rejection::Duplicate { stamp }),
            elapsed if elapsed > -CLOCK_RESET => Err(Rejection::Late { behind: -elapsed }),
            _ => Ok(None),
        }
    }

    fn find_joints(&mut self, names: &[String]) -> Result<(), Rejection> {
        let known = self.order.len() == self.robot.joints.len()
            && self
                .order
                .iter()
                .zip(&self.robot.joints)
                .all(|(&index, joint)| names.get(index) == Some(joint));
        if known {
            return Ok(());
        }
        self.order.clear();
        if !self.robot.joints.iter().any(|joint| names.contains(joint)) {
            return Err(Rejection::OtherDevice);
        }
        for joint in &self.robot.joints {
            match names.iter().position(|name| name == joint) {
                Some(index) => self.order.push(index),
                None => return Err(Rejection::MissingJoint { joint: joint.clone() }),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn reader() -> JointStateReader {
        JointStateReader::new(&Robot::of_joints(&names(&["shoulder", "elbow"])))
    }

    fn at(milliseconds: i64) -> Stamp {
        Stamp(milliseconds * 1_000_000)
    }

    #[test]
    fn joints_are_matched_by_name_in_any_order_and_company() {
        let mut reader = reader();
        let own = names(&["shoulder", "elbow"]);
        let state = reader.read(at(0), &own, &[1.0, 2.0], &[3.0, 4.0]).unwrap().clone();
        assert_eq!((state.position, state.velocity), (vec![1.0, 2.0], vec![3.0, 4.0]));
        let other = names(&["finger", "elbow", "wheel", "shoulder"]);
        let state = reader.read(at(1), &other, &[9.0, 2.0, 9.0, 1.0], &[9.0, 4.0, 9.0, 3.0]).unwrap();
        assert_eq!((&state.position[..], &state.velocity[..]), (&[1.0, 2.0][..], &[3.0, 4.0][..]));
        let state = reader.read(at(2), &own, &[5.0, 6.0], &[7.0, 8.0]).unwrap();
        assert_eq!((&state.position[..], &state.velocity[..]), (&[5.0, 6.0][..], &[7.0, 8.0][..]));
    }

    #[test]
    fn a_velocity_that_is_missing_is_the_difference_of_positions() {
        let mut reader = reader();
        let own = names(&["shoulder", "elbow"]);
        assert_eq!(reader.read(at(0), &own, &[1.0, 2.0], &[]).unwrap().velocity, [0.0, 0.0]);
        let velocity = &reader.read(at(10), &own, &[1.1, 1.9], &[]).unwrap().velocity;
        assert!((velocity[0] - 10.0).abs() < 1e-9 && (velocity[1] + 10.0).abs() < 1e-9, "{velocity:?}");
        let velocity = &reader.read(at(20), &own, &[1.1, 2.0], &[0.5]).unwrap().velocity;
        assert!(velocity[0] == 0.5 && (velocity[1] - 10.0).abs() < 1e-9, "too short: {velocity:?}");
        let velocity = &reader.read(at(30), &own, &[1.2, 2.0], &[f64::NAN, 0.5]).unwrap().velocity;
        assert!((velocity[0] - 10.0).abs() < 1e-9 && velocity[1] == 0.5, "NaN: {velocity:?}");
    }

    #[test]
    fn what_cannot_be_used_says_why_and_changes_nothing() {
        let mut reader = reader();
        assert!(reader.state().is_none());
        let own = names(&["shoulder", "elbow"]);
        reader.read(at(100), &own, &[1.0, 2.0], &[0.0, 0.0]).unwrap();
        let before = reader.state().unwrap().clone();
        let mut rejected = |stamp, names: &[String], positions: &[f64]| {
            let rejection = reader.read(stamp, names, positions, &[0.0; 2]).unwrap_err();
            assert_eq!(reader.state(), Some(&before));
            (rejection.to_string(), rejection.is_harmless())
        };
        let (text, _) = rejected(at(110), &own, &[1.0, f64::NAN]);
        assert!(text.contains("'elbow'") && text.contains("NaN"), "{text}");
        assert!(rejected(at(110), &own, &[f64::INFINITY, 0.0]).0.contains("'shoulder'"));
        assert!(rejected(at(110), &own, &[1.0]).0.contains("2 names but 1 positions"));
        assert!(rejected(at(110), &names(&["shoulder"]), &[1.0]).0.contains("'elbow' is missing"));
        assert!(rejected(at(110), &names(&["wheel"]), &[1.0]).1, "another device is no fault");
        assert!(rejected(at(110), &[], &[]).1);
        assert!(rejected(at(100), &own, &[5.0, 5.0]).1, "a duplicate is no fault");
        let (text, harmless) = rejected(at(90), &own, &[5.0, 5.0]);
        assert!(text.contains("0.010000 s behind") && !harmless, "{text}");
    }

    #[test]
    fn after_a_clock_that_was_set_back_measuring_starts_anew() {
        let mut reader = reader();
        let own = names(&["shoulder", "elbow"]);
        reader.read(at(100_000), &own, &[1.0, 2.0], &[]).unwrap();
        assert!(reader.read(at(10), &own, &[f64::NAN, 2.0], &[]).is_err());
        assert_eq!(reader.state().map(|state| state.stamp), Some(at(100_000)), "nothing better came yet");
        let state = reader.read(at(20), &own, &[3.0, 2.0], &[]).unwrap();
        assert_eq!((state.stamp, &state.velocity[..]), (at(20), &[0.0, 0.0][..]));
        let velocity = &reader.read(at(30), &own, &[3.1, 2.0], &[]).unwrap().velocity;
        assert!((velocity[0] - 10.0).abs() < 1e-9, "{velocity:?}");
    }

    #[test]
    fn a_continuous_joint_that_wraps_has_no_spike_in_its_velocity() {
        let mut robot = Robot::of_joints(&names(&["wheel"]));
        robot.kinds = vec![crate::robot::JointKind::Continuous];
        let mut reader = JointStateReader::new(&robot);
        reader.read(at(0), &names(&["wheel"]), &[3.13], &[]).unwrap();
        let velocity = reader.read(at(10), &names(&["wheel"]), &[-3.13], &[]).unwrap().velocity[0];
        assert!((velocity - (std::f64::consts::TAU - 6.26) / 0.01).abs() < 1e-9, "{velocity}");
    }
}
