//! What is sent to the actuators.

use crate::state::Stamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The quantity that the actuators are commanded in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Joint position, rad or m.
    Position,
    /// Joint velocity, rad/s or m/s.
    Velocity,
    /// Joint torque or force, Nm or N.
    #[default]
    Effort,
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Position => "position",
            Self::Velocity => "velocity",
            Self::Effort => "effort",
        })
    }
}

impl Mode {
    /// The topic of a forward_command_controller, as ros2_control's examples name it.
    pub fn topic(self) -> String {
        format!("{self}_controller/commands")
    }
}

/// One command for all joints, computed from the measurement at `stamp`.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    pub stamp: Stamp,
    pub mode: Mode,
    pub values: Vec<f64>,
}

impl Command {
    pub fn zeros(mode: Mode, degrees_of_freedom: usize) -> Self {
        Self { stamp: Stamp::default(), mode, values: vec![0.0; degrees_of_freedom] }
    }
}
