//! A robot whose drives take velocities or positions, as most industrial ones do: what the drive makes of a command is
//! late, slow, a little wrong and nothing at all for small commands. Kinematic, joint by joint; dynamics are the drive's.
//!
//! > v* = g · band(u(t − T)),  τ v' = v* − v,  q' = v
//!
//! with u the commanded velocity, or k (q_command − q) for a commanded position; band(u) is 0 up to the dead band and
//! u ∓ dead band beyond. The same seed and commands give the same motion bit for bit.

use crate::command::{Command, Mode};
use crate::delay_line::DelayLine;
use crate::error::{Error, Result};
use crate::robot::{Robot, first_non_finite};
use crate::sim::{Plant, steps_in, whole_steps};
use crate::state::{Stamp, State};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Step of the simulation.
const STEP: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InnerLoopConfig {
    /// Time constant τ of the velocity, s.
    pub lag: f64,
    /// Time T from a command to its effect, s; rounded to whole milliseconds.
    pub dead_time: f64,
    /// Commanded velocities up to this do nothing, rad/s or m/s.
    pub dead_band: f64,
    /// Velocity over velocity commanded, g, of each joint; empty: 1 for all.
    pub gain: Vec<f64>,
    /// Of the drive's position loop, k, 1/s.
    pub position_gain: f64,
    /// rad or m; empty: zeros. In a file it is that of the arm.
    #[serde(skip)]
    pub initial_position: Vec<f64>,
    /// Standard deviations of the measurements, rad or m and rad/s or m/s.
    pub position_noise: f64,
    pub velocity_noise: f64,
    /// Of the sensor noise.
    pub seed: u64,
}

impl Default for InnerLoopConfig {
    fn default() -> Self {
        Self {
            lag: 0.03,
            dead_time: 0.008,
            dead_band: 0.005,
            gain: Vec::new(),
            position_gain: 20.0,
            initial_position: Vec::new(),
            position_noise: 0.0,
            velocity_noise: 0.0,
            seed: 1,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct InnerLoop {
    robot: Robot,
    config: InnerLoopConfig,
    delay: usize,
    delay_line: DelayLine,
    random: Pcg64,
    truth: State,
    measured: State,
}

impl InnerLoop {
    pub fn new(robot: Robot, config: InnerLoopConfig) -> Result<Self> {
        let joints = robot.degrees_of_freedom();
        let config = checked(config, joints)?;
        let delay = steps_in(Duration::from_secs_f64(config.dead_time), STEP);
        let mut truth = State::zeros(joints);
        truth.position.copy_from_slice(&config.initial_position);
        let mut plant = Self {
            delay_line: DelayLine::new(joints, delay),
            random: Pcg64::seed_from_u64(config.seed),
            measured: State::zeros(joints),
            robot,
            delay,
            truth,
            config,
        };
        plant.measure();
        Ok(plant)
    }

    pub fn robot(&self) -> &Robot {
        &self.robot
    }

    /// Back to the initial position, at rest, at time zero, with the noise from its beginning.
    pub fn reset(&mut self) {
        self.truth.stamp = Stamp::default();
        self.truth.position.copy_from_slice(&self.config.initial_position);
        self.truth.velocity.fill(0.0);
        self.delay_line.clear();
        self.random = Pcg64::seed_from_u64(self.config.seed);
        self.measure();
    }

    /// The drives are as `gain` says from the next step on.
    pub fn set_gain(&mut self, gain: Vec<f64>) -> Result<()> {
        let config = InnerLoopConfig { gain, ..self.config.clone() };
        self.config = checked(config, self.robot.degrees_of_freedom())?;
        Ok(())
    }

    fn advance(&mut self, command: &Command) {
        let step = STEP.as_secs_f64();
        let approach = 1.0 - (-step / self.config.lag).exp();
        let delayed = self.delay_line.exchange(&command.values, self.delay);
        for (joint, value) in delayed.iter().enumerate() {
            let (q, v) = (self.truth.position[joint], self.truth.velocity[joint]);
            let wanted = match command.mode {
                Mode::Position => self.config.position_gain * (value - q),
                _ => *value,
            };
            let beyond = (wanted.abs() - self.config.dead_band).max(0.0) * wanted.signum();
            let limit = self.robot.limits.velocity[joint];
            let target = (self.config.gain[joint] * beyond).clamp(-limit, limit);
            // exact for a target that holds
            let travelled = target * step + (v - target) * approach * self.config.lag;
            self.truth.velocity[joint] = v + approach * (target - v);
            self.truth.position[joint] = q + travelled;
        }
        self.truth.stamp = self.truth.stamp + STEP;
    }

    fn measure(&mut self) {
        self.measured.copy_from(&self.truth);
        for (position, velocity) in self.measured.position.iter_mut().zip(&mut self.measured.velocity) {
            let noise: [f64; 2] =
                [StandardNormal.sample(&mut self.random), StandardNormal.sample(&mut self.random)];
            *position += self.config.position_noise * noise[0];
            *velocity += self.config.velocity_noise * noise[1];
        }
    }

    fn check(&self, command: &Command) -> Result<()> {
        let what = "command to the simulated drives";
        if command.mode == Mode::Effort {
            return Err(Error::mismatch(what, "Effort", "Velocity or Position"));
        }
        if command.values.len() != self.robot.degrees_of_freedom() {
            let expected = format!("{} joints", self.robot.degrees_of_freedom());
            return Err(Error::mismatch(what, command.values.len(), expected));
        }
        match first_non_finite(&command.values) {
            None => Ok(()),
            Some(joint) => Err(Error::NotFinite {
                what: format!("command of joint '{}'", self.robot.joints[joint]),
                value: command.values[joint],
            }),
        }
    }
}

impl Plant for InnerLoop {
    fn state(&self) -> &State {
        &self.measured
    }

    fn true_state(&self) -> &State {
        &self.truth
    }

    /// `dt` is a multiple of a millisecond; the command holds all the while.
    fn step(&mut self, command: &Command, dt: Duration) -> Result<()> {
        self.check(command)?;
        let steps = whole_steps(dt, STEP)?;
        (0..steps).for_each(|_| self.advance(command));
        self.measure();
        Ok(())
    }
}

/// With one entry a joint in every list.
fn checked(mut config: InnerLoopConfig, joints: usize) -> Result<InnerLoopConfig> {
    let lists = [(&mut config.gain, 1.0, "gain"), (&mut config.initial_position, 0.0, "initial_position")];
    for (list, default, what) in lists {
        if list.is_empty() {
            *list = vec![default; joints];
        }
        if list.len() != joints || first_non_finite(list).is_some() {
            let found = format!("{list:?}");
            return Err(Error::mismatch(
                format!("inner loop: {what}"),
                found,
                format!("{joints} finite values"),
            ));
        }
    }
    let positive = [("lag", config.lag), ("position_gain", config.position_gain)];
    if let Some((what, value)) = positive.into_iter().find(|(_, value)| !(value.is_finite() && *value > 0.0))
    {
        return Err(Error::mismatch(format!("inner loop: {what}"), value, "a number above 0"));
    }
    let amounts = [
        ("dead_time", config.dead_time),
        ("dead_band", config.dead_band),
        ("position_noise", config.position_noise),
        ("velocity_noise", config.velocity_noise),
    ];
    match amounts.into_iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
        Some((what, value)) => {
            Err(Error::mismatch(format!("inner loop: {what}"), value, "a number, 0 or above"))
        }
        None if config.dead_time > 1.0 => {
            Err(Error::mismatch("inner loop: dead_time", config.dead_time, "at most 1 s"))
        }
        None => Ok(config),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::robot::Limits;
    use approx::assert_relative_eq;

    fn plant(config: InnerLoopConfig) -> InnerLoop {
        let limits = Limits { position: vec![(-3.0, 3.0); 2], velocity: vec![2.0; 2], effort: vec![1.0; 2] };
        let robot = Robot { limits, ..Robot::of_joints(&["one".into(), "two".into()]) };
        InnerLoop::new(robot, config).unwrap()
    }

    fn command(mode: Mode, values: [f64; 2]) -> Command {
        Command { values: values.to_vec(), ..Command::zeros(mode, 2) }
    }

    #[test]
    fn a_velocity_arrives_late_slowly_and_changed() {
        let config =
            InnerLoopConfig { gain: vec![0.9, 1.0], dead_band: 0.1, dead_time: 0.01, ..Default::default() };
        let mut plant = plant(config);
        let rest = command(Mode::Velocity, [0.0; 2]);
        plant.step(&rest, 20 * STEP).unwrap();
        let push = command(Mode::Velocity, [1.0, 0.1]);
        plant.step(&push, 10 * STEP).unwrap();
        assert_eq!(plant.true_state().velocity, [0.0, 0.0], "within the dead time");
        plant.step(&push, 30 * STEP).unwrap();
        // 0.9 (1 − 0.1) after one time constant, and the way that this takes
        let reached = 0.81 * (1.0 - f64::exp(-1.0));
        assert_relative_eq!(plant.true_state().velocity[0], reached, epsilon = 1e-12);
        assert_relative_eq!(plant.true_state().position[0], 0.81 * 0.03 - 0.03 * reached, epsilon = 1e-12);
        assert_eq!(plant.true_state().velocity[1], 0.0, "within the dead band");
    }

    #[test]
    fn a_position_is_reached_but_for_the_dead_band() {
        let mut plant = plant(InnerLoopConfig { dead_band: 0.02, ..Default::default() });
        plant.step(&command(Mode::Position, [0.5, -0.2]), 3000 * STEP).unwrap();
        for (q, wanted) in plant.true_state().position.iter().zip([0.5, -0.2]) {
            assert!((q - wanted).abs() < 1.01 * 0.02 / 20.0, "{q} {wanted}");
            assert!((q - wanted).abs() > 1e-5, "{q} {wanted}: where there is no dead band nothing is left");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refusal = |config| {
            let robot = Robot::of_joints(&["one".into()]);
            InnerLoop::new(robot, config).unwrap_err().to_string()
        };
        assert!(refusal(InnerLoopConfig { lag: 0.0, ..Default::default() }).contains("lag"));
        assert!(refusal(InnerLoopConfig { gain: vec![1.0; 2], ..Default::default() }).contains("gain"));
        assert!(refusal(InnerLoopConfig { dead_time: 2.0, ..Default::default() }).contains("dead_time"));
        let mut plant = plant(InnerLoopConfig::default());
        assert!(plant.step(&command(Mode::Effort, [0.0; 2]), STEP).is_err());
        let broken = command(Mode::Velocity, [0.0, f64::NAN]);
        assert!(plant.step(&broken, STEP).unwrap_err().to_string().contains("two"));
        assert!(plant.step(&command(Mode::Velocity, [0.0; 2]), STEP / 2).is_err());
    }
}
