//! The simulated robot: MuJoCo behind [`Plant`], the seam that a real robot's driver would fill.

pub mod scenario;
mod model;
pub mod arm;
pub mod inner_loop;
mod simulated_robot;
mod base_config;
pub mod base_scenario;
mod odometer;
mod base_model;
pub mod base;
pub mod kinematic_base;
mod simulated_base;

pub use arm::{Arm, ArmConfig, Integrator};
pub use base::Base;
pub use base_config::{BaseConfig, Steering};
pub use base_model::{Drivetrain, Wheels};
pub use base_scenario::{BaseScenario, Patch};
pub use inner_loop::{InnerLoop, InnerLoopConfig};
pub use kinematic_base::KinematicBase;
pub use scenario::Scenario;
pub use simulated_base::SimulatedBase;
pub use simulated_robot::SimulatedRobot;

use crate::command::Command;
use crate::error::{Error, Result};
use crate::state::State;
use std::time::Duration;

/// How many steps of `step` `duration` lasts, rounded.
fn steps_in(duration: Duration, step: Duration) -> usize {
    (duration.as_secs_f64() / step.as_secs_f64()).round() as usize
}

/// As [`steps_in`]; refuses what is no multiple.
fn whole_steps(duration: Duration, step: Duration) -> Result<usize> {
    let steps = steps_in(duration, step);
    if duration.is_zero() || step * steps as u32 != duration {
        return Err(Error::mismatch(
            "step of the plant",
            format!("{duration:?}"),
            format!("multiples of {step:?}"),
        ));
    }
    Ok(steps)
}

/// Something that moves when it is commanded and can be measured.
pub trait Plant {
    /// The newest measurement.
    fn state(&self) -> &State;

    /// The state without noise.
    fn true_state(&self) -> &State;

    /// Lets `dt` pass under `command`.
    fn step(&mut self, command: &Command, dt: Duration) -> Result<()>;
}
