//! A base that takes twists [vx m/s, vy m/s, wz rad/s]: on wheels in MuJoCo, or kinematic.

use crate::base::Drive;
use crate::command::{Command, Mode};
use crate::error::{Error, Result};
use crate::robot::first_non_finite;
use crate::sim::base_config::STEP;
use crate::sim::{Base, BaseConfig, BaseScenario, KinematicBase, Plant, whole_steps};
use crate::state::State;
use std::time::Duration;

#[derive(Debug)]
pub enum SimulatedBase {
    Wheels(Box<Base>),
    Kinematic(Box<KinematicBase>),
}

impl SimulatedBase {
    /// The base that `config` says; only one on wheels needs its description.
    pub fn new(urdf: Option<&str>, config: BaseConfig, scenario: BaseScenario) -> Result<Self> {
        let mut base = if config.drive == Drive::Differential {
            let urdf = urdf.ok_or_else(|| {
                Error::mismatch(
                    "parameter 'urdf' of a base on wheels",
                    "nothing",
                    "the path of its URDF file",
                )
            })?;
            Self::Wheels(Box::new(Base::new(urdf, config)?))
        } else {
            Self::Kinematic(Box::new(KinematicBase::new(config)?))
        };
        base.set_scenario(scenario)?;
        Ok(base)
    }

    pub fn config(&self) -> &BaseConfig {
        match self {
            Self::Wheels(base) => base.config(),
            Self::Kinematic(base) => base.config(),
        }
    }

    pub fn scenario(&self) -> &BaseScenario {
        match self {
            Self::Wheels(base) => base.scenario(),
            Self::Kinematic(base) => base.scenario(),
        }
    }

    /// As [`Base::set_scenario`].
    pub fn set_scenario(&mut self, scenario: BaseScenario) -> Result<()> {
        match self {
            Self::Wheels(base) => base.set_scenario(scenario),
            Self::Kinematic(base) => base.set_scenario(scenario),
        }
    }

    /// As [`Base::reset`].
    pub fn reset(&mut self) -> Result<()> {
        match self {
            Self::Wheels(base) => base.reset(),
            Self::Kinematic(base) => {
                base.reset();
                Ok(())
            }
        }
    }
}

impl Plant for SimulatedBase {
    fn state(&self) -> &State {
        match self {
            Self::Wheels(base) => base.state(),
            Self::Kinematic(base) => base.state(),
        }
    }

    fn true_state(&self) -> &State {
        match self {
            Self::Wheels(base) => base.true_state(),
            Self::Kinematic(base) => base.true_state(),
        }
    }

    /// `dt` is a multiple of a millisecond; the twist holds all the while.
    fn step(&mut self, command: &Command, dt: Duration) -> Result<()> {
        check(command)?;
        match self {
            Self::Wheels(base) => base.step(&command.values, whole_steps(dt, STEP)?),
            Self::Kinematic(base) => {
                base.step(&command.values, whole_steps(dt, STEP)?);
                Ok(())
            }
        }
    }
}

fn check(command: &Command) -> Result<()> {
    let what = "twist for the simulated base";
    if command.mode != Mode::Velocity {
        return Err(Error::mismatch(what, format!("{:?}", command.mode), "Velocity"));
    }
    if command.values.len() != 3 {
        return Err(Error::mismatch(what, command.values.len(), "vx, vy and wz"));
    }
    match first_non_finite(&command.values) {
        None => Ok(()),
        Some(axis) => {
            let what = format!("twist of {}", ["x", "y", "theta"][axis]);
            Err(Error::NotFinite { what, value: command.values[axis] })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(drive: Drive) -> SimulatedBase {
        let urdf = include_str!("../../urdf/base.urdf");
        let config = BaseConfig { drive, ..Default::default() };
        SimulatedBase::new(Some(urdf), config, BaseScenario::default()).unwrap()
    }

    #[test]
    fn what_is_no_twist_is_refused() {
        let refusal = |base: &mut SimulatedBase, mode, values: Vec<f64>, dt| {
            base.step(&Command { values, ..Command::zeros(mode, 3) }, dt).unwrap_err().to_string()
        };
        let step = Duration::from_millis(1);
        for drive in [Drive::Differential, Drive::Omnidirectional] {
            let mut base = base(drive);
            assert!(refusal(&mut base, Mode::Effort, vec![0.0; 3], step).contains("Velocity"));
            assert!(refusal(&mut base, Mode::Velocity, vec![0.0; 2], step).contains("vx"));
            assert!(refusal(&mut base, Mode::Velocity, vec![0.0, 0.0, f64::NAN], step).contains("theta"));
            assert!(refusal(&mut base, Mode::Velocity, vec![0.0; 3], step / 2).contains("multiples"));
        }
    }

    #[test]
    fn what_is_wrong_with_a_base_is_named() {
        let refusal = |config: BaseConfig, scenario: BaseScenario| {
            SimulatedBase::new(None, config, scenario).unwrap_err().to_string()
        };
        assert!(refusal(BaseConfig::default(), BaseScenario::default()).contains("URDF"));
        let car = || BaseConfig { drive: Drive::Ackermann, ..Default::default() };
        let mut wrong = car();
        wrong.steering.max_angle = 1.6;
        assert!(refusal(wrong, BaseScenario::default()).contains("steering.max_angle"));
        let wrong = BaseConfig { initial_pose: [0.0, f64::NAN, 0.0], ..car() };
        assert!(refusal(wrong, BaseScenario::default()).contains("initial_pose[1]"));
        let loaded = BaseScenario { payload: 5.0, ..Default::default() };
        assert!(refusal(car(), loaded).contains("scenario.payload"));
        let mut wheels = base(Drive::Differential);
        let askew = BaseScenario { misalignment: 0.1, ..Default::default() };
        assert!(wheels.set_scenario(askew).unwrap_err().to_string().contains("scenario.misalignment"));
    }
}
