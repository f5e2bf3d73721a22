//! The simulated robot: MuJoCo behind [`Plant`], the seam that a real robot's driver would fill.

pub mod scenario;
mod model;
pub mod arm;
pub mod inner_loop;
mod simulated_robot;
pub mod base;
mod base_model;
pub mod base_scenario;

pub use arm::{Arm, ArmConfig, Integrator};
pub use base::{Base, BaseConfig};
pub use base_model::{Drivetrain, Wheels};
pub use base_scenario::{BaseScenario, Patch};
pub use inner_loop::{InnerLoop, InnerLoopConfig};
pub use scenario::Scenario;
pub use simulated_robot::SimulatedRobot;

use crate::command::Command;
use crate::error::Result;
use crate::state::State;
use std::time::Duration;

/// Something that moves when it is commanded and can be measured.
pub trait Plant {
    /// The newest measurement.
    fn state(&self) -> &State;

    /// The state without noise.
    fn true_state(&self) -> &State;

    /// Lets `dt` pass under `command`.
    fn step(&mut self, command: &Command, dt: Duration) -> Result<()>;
}
