//! A robot arm that takes efforts, or one whose drives take velocities or positions.

use crate::command::{Command, Mode};
use crate::error::Result;
use crate::robot::Robot;
use crate::sim::{Arm, ArmConfig, InnerLoop, InnerLoopConfig, Plant, Scenario};
use crate::state::State;
use std::time::Duration;

#[derive(Debug)]
pub enum SimulatedRobot {
    Arm(Box<Arm>),
    Drives(Box<InnerLoop>),
}

impl SimulatedRobot {
    /// The robot of `urdf` under the commands that it takes, at the arm's initial position. Drives have their own noise,
    /// gain and delay; a scenario is one of an arm.
    pub fn new(
        urdf: &str,
        interface: Mode,
        arm: ArmConfig,
        drives: InnerLoopConfig,
        scenario: Scenario,
    ) -> Result<Self> {
        if interface == Mode::Effort {
            let mut arm = Arm::new(urdf, arm)?;
            arm.set_scenario(scenario)?;
            return Ok(Self::Arm(Box::new(arm)));
        }
        let drives = InnerLoopConfig { initial_position: arm.initial_position, ..drives };
        Ok(Self::Drives(Box::new(InnerLoop::new(Robot::from_urdf(urdf)?, drives)?)))
    }

    pub fn robot(&self) -> &Robot {
        match self {
            Self::Arm(arm) => arm.robot(),
            Self::Drives(drives) => drives.robot(),
        }
    }

    /// As [`Arm::reset`].
    pub fn reset(&mut self) {
        match self {
            Self::Arm(arm) => arm.reset(),
            Self::Drives(drives) => drives.reset(),
        }
    }

    /// From the next step on an arm is as `scenario` says; drives stay as they are.
    pub fn set_scenario(&mut self, scenario: &Scenario) -> Result<()> {
        match self {
            Self::Arm(arm) => arm.set_scenario(scenario.clone()),
            Self::Drives(_) => Ok(()),
        }
    }
}

impl Plant for SimulatedRobot {
    fn state(&self) -> &State {
        match self {
            Self::Arm(arm) => arm.state(),
            Self::Drives(drives) => drives.state(),
        }
    }

    fn true_state(&self) -> &State {
        match self {
            Self::Arm(arm) => arm.true_state(),
            Self::Drives(drives) => drives.true_state(),
        }
    }

    fn step(&mut self, command: &Command, dt: Duration) -> Result<()> {
        match self {
            Self::Arm(arm) => arm.step(command, dt),
            Self::Drives(drives) => drives.step(command, dt),
        }
    }
}
