//! A robot arm in MuJoCo, driven by efforts. Gain, delay and noise are modelled here, so that they are exact; friction,
//! payload and wrench are MuJoCo's (its Coulomb friction is a soft constraint: held joints creep at up to some 0.01 rad/s
//! times friction_scale). The same seed, commands and scenarios give the same motion bit for bit.

use crate::command::{Command, Mode};
use crate::delay_line::DelayLine;
use crate::error::{Error, Result};
use crate::robot::{Robot, first_non_finite};
use crate::sim::model::{Model, failure, last_warning};
use crate::sim::{Plant, Scenario, steps_in, whole_steps};
use crate::state::{Stamp, State};
use mujoco_rs::prelude::*;
use nalgebra::DMatrix;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Without rotor inertia the wrist of an arm is too light for any feedback at 1 kHz, kg m².
const ARMATURE: f64 = 0.05;
/// Warnings after which the state is no longer that of the robot.
const FATAL: [MjtWarning; 4] = [
    MjtWarning::mjWARN_BADQPOS,
    MjtWarning::mjWARN_BADQVEL,
    MjtWarning::mjWARN_BADQACC,
    MjtWarning::mjWARN_BADCTRL,
];

/// How MuJoCo gets from one step to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Integrator {
    /// Fast; at 1 ms within 2e-4 rad of the exact motion.
    #[default]
    ImplicitFast,
    /// Runge-Kutta of fourth order: half as fast, within 2e-8 rad.
    RungeKutta,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArmConfig {
    /// Step of the simulation, s.
    pub timestep: f64,
    pub integrator: Integrator,
    /// Rotor inertia seen at each joint, kg m² (kg for a slide); empty: 0.05 for all.
    pub armature: Vec<f64>,
    /// rad or m; empty: zeros.
    pub initial_position: Vec<f64>,
    /// Link that carries payload and wrench.
    pub tool: String,
    /// Of the sensor noise.
    pub seed: u64,
}

impl Default for ArmConfig {
    fn default() -> Self {
        Self {
            timestep: 1e-3,
            integrator: Integrator::default(),
            armature: Vec::new(),
            initial_position: Vec::new(),
            tool: "tool0".into(),
            seed: 1,
        }
    }
}

/// See the module. Joints are in the order of [`Robot::from_urdf`].
#[derive(Debug)]
pub struct Arm {
    robot: Robot,
    data: MjData<Box<MjModel>>,
    /// As described; scenarios are applied to a copy, in `data`.
    nominal: Model,
    scenario: Scenario,
    delay_line: DelayLine,
    timestep: Duration,
    initial_position: Vec<f64>,
    seed: u64,
    random: Pcg64,
    measured: State,
    truth: State,
    /// What the wrench does at the joints, in MuJoCo's order.
    external_effort: Vec<f64>,
}

impl Arm {
    pub fn new(urdf_xml: &str, config: ArmConfig) -> Result<Self> {
        let robot = Robot::from_urdf(urdf_xml)?;
        let n = robot.degrees_of_freedom();
        let timestep = checked_timestep(config.timestep)?;
        let armature = filled(config.armature, ARMATURE, n, "simulator: armature")?;
        let initial_position = filled(config.initial_position, 0.0, n, "simulator: initial_position")?;
        let mut nominal = Model::new(urdf_xml, &robot, &config.tool, &armature, config.timestep)?;
        nominal.mujoco.opt_mut().integrator = match config.integrator {
            Integrator::ImplicitFast => MjtIntegrator::mjINT_IMPLICITFAST,
            Integrator::RungeKutta => MjtIntegrator::mjINT_RK4,
        } as i32;
        let mut arm = Self {
            data: MjData::new(nominal.mujoco.clone()),
            nominal,
            scenario: Scenario::default(),
            delay_line: DelayLine::new(n, steps_in(Scenario::LONGEST_DELAY, timestep)),
            timestep,
            initial_position,
            seed: config.seed,
            random: Pcg64::seed_from_u64(config.seed),
            measured: State::zeros(n),
            truth: State::zeros(n),
            external_effort: vec![0.0; n],
            robot,
        };
        arm.set_scenario(Scenario::default())?;
        arm.reset();
        Ok(arm)
    }

    pub fn robot(&self) -> &Robot {
        &self.robot
    }

    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// From the next step on the robot is as `scenario` says; it keeps its position and velocity.
    pub fn set_scenario(&mut self, scenario: Scenario) -> Result<()> {
        scenario.check(self.robot.degrees_of_freedom())?;
        let payload = self.nominal.payload_body;
        let mut model = self.nominal.mujoco.clone();
        model.body_mass_mut()[payload] = scenario.payload;
        model.body_inertia_mut()[payload] = [0.0; 3];
        for (body, scale) in self.nominal.body_index.iter().zip(&scenario.mass_scale) {
            model.body_mass_mut()[*body] *= scale;
            model.body_inertia_mut()[*body].iter_mut().for_each(|inertia| *inertia *= scale);
        }
        model.dof_damping_mut().iter_mut().for_each(|damping| *damping *= scenario.damping_scale);
        model.dof_frictionloss_mut().iter_mut().for_each(|friction| *friction *= scenario.friction_scale);
        // No `set_const` afterwards: it would move the robot to its zero posture.
        self.data.try_swap_model(model).map_err(failure)?;
        self.data.xfrc_applied_mut()[payload] = scenario.wrench;
        self.scenario = scenario;
        Ok(())
    }

    /// Back to the initial position, at rest, at time zero, with the noise from its beginning. The scenario stays.
    pub fn reset(&mut self) {
        self.data.reset();
        self.data.xfrc_applied_mut()[self.nominal.payload_body] = self.scenario.wrench;
        self.delay_line.clear();
        self.random = Pcg64::seed_from_u64(self.seed);
        self.truth.stamp = Stamp::default();
        let zeros = vec![0.0; self.robot.degrees_of_freedom()];
        self.put(&self.initial_position.clone(), &zeros);
    }

    /// Puts the robot somewhere else, for tests; time goes on.
    pub fn put(&mut self, position: &[f64], velocity: &[f64]) {
        for (index, value) in self.nominal.position_index.iter().zip(position) {
            self.data.qpos_mut()[*index] = *value;
        }
        for (index, value) in self.nominal.velocity_index.iter().zip(velocity) {
            self.data.qvel_mut()[*index] = *value;
        }
        self.measure();
    }

    /// C(q, v) v + g(q) of the robot as it is today, without friction and wrench. Recomputes MuJoCo's intermediate
    /// results: for tests, not in the middle of a run that shall be reproduced.
    pub fn bias_force(&mut self, out: &mut [f64]) {
        self.data.forward();
        for (index, value) in self.nominal.velocity_index.iter().zip(out) {
            *value = self.data.qfrc_bias()[*index];
        }
    }

    /// M(q) with rotor inertia; for tests, as [`Arm::bias_force`].
    pub fn mass_matrix(&mut self, out: &mut DMatrix<f64>) -> Result<()> {
        let n = self.robot.degrees_of_freedom();
        self.data.forward();
        let mut full = vec![0.0; n * n];
        self.data.full_m(&mut full).map_err(failure)?;
        let place = &self.nominal.velocity_index;
        for (row, column) in (0..n).flat_map(|row| (0..n).map(move |column| (row, column))) {
            out[(row, column)] = full[place[row] * n + place[column]];
        }
        Ok(())
    }

    /// Efforts that cause `acceleration` here and now, friction and wrench included (`mj_inverse`); for tests, as
    /// [`Arm::bias_force`], and for a model of the plant that is exact.
    pub fn inverse_dynamics(&mut self, acceleration: &[f64], out: &mut [f64]) -> Result<()> {
        for (index, value) in self.nominal.velocity_index.iter().zip(acceleration) {
            self.data.qacc_mut()[*index] = *value;
        }
        self.data.inverse();
        let payload = self.nominal.payload_body;
        let [fx, fy, fz, tx, ty, tz] = self.scenario.wrench;
        let place = self.data.xipos()[payload];
        self.external_effort.fill(0.0);
        self.data
            .apply_ft(&[fx, fy, fz], &[tx, ty, tz], &place, payload, &mut self.external_effort)
            .map_err(failure)?;
        for (index, value) in self.nominal.velocity_index.iter().zip(out) {
            *value = self.data.qfrc_inverse()[*index] - self.external_effort[*index];
        }
        Ok(())
    }

    fn check(&self, command: &Command) -> Result<()> {
        if command.mode != Mode::Effort {
            return Err(Error::mismatch(
                "command to the simulated arm",
                format!("{:?}", command.mode),
                "Effort",
            ));
        }
        if command.values.len() != self.robot.degrees_of_freedom() {
            let expected = format!("{} joints", self.robot.degrees_of_freedom());
            return Err(Error::mismatch("command to the simulated arm", command.values.len(), expected));
        }
        match first_non_finite(&command.values) {
            None => Ok(()),
            Some(joint) => Err(Error::NotFinite {
                what: format!("effort of joint '{}'", self.robot.joints[joint]),
                value: command.values[joint],
            }),
        }
    }

    /// One step of the simulation. The drive limits what it is told, then delivers it with its gain.
    fn advance(&mut self, values: &[f64], delay: usize) -> Result<()> {
        let delayed = self.delay_line.exchange(values, delay);
        for (joint, control) in self.data.ctrl_mut().iter_mut().enumerate() {
            let limit = self.robot.limits.effort[joint];
            let gain = self.scenario.gain.get(joint).copied().unwrap_or(1.0);
            *control = gain * delayed[joint].clamp(-limit, limit);
        }
        self.data.step();
        self.truth.stamp = self.truth.stamp + self.timestep;
        // MuJoCo starts anew, at zero, when something is not finite: that must not pass for a motion.
        if FATAL.iter().any(|warning| self.data.warning()[*warning as usize].number > 0) {
            let time = self.truth.stamp.seconds();
            return Err(Error::Simulator(format!("the motion diverged at {time:.3} s: {}", last_warning())));
        }
        Ok(())
    }

    fn measure(&mut self) {
        let elapsed = self.truth.stamp.since(self.measured.stamp);
        let lag = self.scenario.velocity_lag;
        let kept = if lag > 0.0 && elapsed > 0.0 { (-elapsed / lag).exp() } else { 0.0 };
        self.measured.stamp = self.truth.stamp;
        for joint in 0..self.robot.degrees_of_freedom() {
            let position = self.data.qpos()[self.nominal.position_index[joint]];
            let velocity = self.data.qvel()[self.nominal.velocity_index[joint]];
            self.truth.position[joint] = position;
            self.truth.velocity[joint] = velocity;
            let noise: [f64; 2] =
                [StandardNormal.sample(&mut self.random), StandardNormal.sample(&mut self.random)];
            self.measured.position[joint] = position + self.scenario.position_noise * noise[0];
            let velocity = velocity + self.scenario.velocity_noise * noise[1];
            self.measured.velocity[joint] = (1.0 - kept) * velocity + kept * self.measured.velocity[joint];
        }
    }
}

impl Plant for Arm {
    fn state(&self) -> &State {
        &self.measured
    }

    fn true_state(&self) -> &State {
        &self.truth
    }

    /// `dt` is a multiple of the simulation's step; the command holds all the while.
    fn step(&mut self, command: &Command, dt: Duration) -> Result<()> {
        self.check(command)?;
        let steps = whole_steps(dt, self.timestep)?;
        let delay = steps_in(self.scenario.delay, self.timestep);
        for _ in 0..steps {
            self.advance(&command.values, delay)?;
        }
        self.measure();
        Ok(())
    }
}

fn checked_timestep(seconds: f64) -> Result<Duration> {
    if seconds.is_finite() && (1e-5..=1e-2).contains(&seconds) {
        return Ok(Duration::from_nanos((seconds * 1e9).round() as u64));
    }
    Err(Error::mismatch("simulator: timestep", seconds, "0.00001 to 0.01 s"))
}

/// One value a joint, `default` where none are given.
fn filled(values: Vec<f64>, default: f64, degrees_of_freedom: usize, what: &str) -> Result<Vec<f64>> {
    if values.is_empty() {
        return Ok(vec![default; degrees_of_freedom]);
    }
    if values.len() != degrees_of_freedom || first_non_finite(&values).is_some() {
        return Err(Error::mismatch(
            what,
            format!("{values:?}"),
            format!("{degrees_of_freedom} finite values"),
        ));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_settings_are_refused() {
        assert!(checked_timestep(0.0).is_err() && checked_timestep(f64::NAN).is_err());
        assert_eq!(checked_timestep(1e-3).unwrap(), Duration::from_millis(1));
        assert!(filled(vec![1.0], 0.0, 2, "x").is_err());
        assert!(serde_yaml::from_str::<ArmConfig>("{timestp: 1}").is_err());
    }
}
