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
    /// A message that repeats or follows out of order is normal on a network and worth counting, not warning.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::OtherDevice | Self::Duplicate { .. })
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherDevice => write!(f, "no joint of this robot in the message"),
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

    /// Time since the newest state [s], or `None` when this message is the first one.
    fn check_stamp(&mut self, stamp: Stamp) -> Result<Option<f64>, Rejection> {
        if !self.started {
            return Ok(None);
        }
        match stamp.since(self.state.stamp) {
            elapsed if elapsed > 0.0 => Ok(Some(elapsed)),
            0.0 => Err(Rejection::Duplicate { stamp }),
            elapsed if elapsed > -CLOCK_RESET => Err(Rejection::Late { behind: -elapsed }),
            _ => {
                self.started = false;
                Ok(None)
            }
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
