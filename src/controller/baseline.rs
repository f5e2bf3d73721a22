//! The plain controller that everything stands on: PID feedback with a feedforward from the robot's description.
//!
//! u = u_feedforward + p (q_r − q) + d (v_r − v) + ∫ i (q_r − q) dt, with the integral clamped to ±i_clamp; u is an effort,
//! or, of drives that take them, a velocity with the feedforward v_r + τ a_r for their lag τ or a position with the feedforward q_r.

use crate::command::Mode;
use crate::error::{Error, Result};
use crate::reference::ReferencePoint;
use crate::robot::{Dynamics, Robot};
use crate::state::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Gains of one joint; names as in joint_trajectory_controller. Units are those of efforts; with velocities commanded p is in
/// 1/s, i in 1/s² and i_clamp in rad/s or m/s, with positions i in 1/s and d in s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gains {
    /// Nm/rad or N/m.
    #[serde(default)]
    pub p: f64,
    /// Nm/(rad·s) or N/(m·s).
    #[serde(default)]
    pub i: f64,
    /// Nm·s/rad or N·s/m.
    #[serde(default)]
    pub d: f64,
    /// Largest effort of the integral part, Nm or N.
    #[serde(default)]
    pub i_clamp: f64,
}

/// What the baseline adds to the feedback where efforts are commanded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feedforward {
    None,
    /// Gravity at the measured position.
    #[default]
    Gravity,
    /// Rigid-body inverse dynamics and friction at the reference.
    InverseDynamics,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineConfig {
    #[serde(default)]
    pub feedforward: Feedforward,
    /// One entry for each joint of the robot.
    pub gains: BTreeMap<String, Gains>,
}

/// Its parts are kept from tick to tick, for reporting and for learning.
#[derive(Clone, Debug)]
pub struct Baseline {
    mode: Mode,
    kind: Feedforward,
    gains: Vec<Gains>,
    dynamics: Dynamics,
    integral: Vec<f64>,
    /// What of the feedforward is friction.
    pub friction: Vec<f64>,
    pub feedback: Vec<f64>,
    pub feedforward: Vec<f64>,
}

impl Baseline {
    /// Checks that every joint of the robot has gains, and no other has; with positions commanded none needs them.
    pub fn new(config: &BaselineConfig, robot: &Robot, dynamics: Dynamics) -> Result<Self> {
        if let Some(unknown) = config.gains.keys().find(|joint| !robot.joints.contains(joint)) {
            return Err(Error::mismatch(
                "controller.gains",
                format!("joint '{unknown}'"),
                format!("the robot's joints {:?}", robot.joints),
            ));
        }
        let gains = robot.joints.iter().map(|joint| joint_gains(config, robot.command_interface, joint));
        let zeros = vec![0.0; robot.degrees_of_freedom()];
        Ok(Self {
            mode: robot.command_interface,
            kind: config.feedforward,
            gains: gains.collect::<Result<_>>()?,
            dynamics,
            integral: zeros.clone(),
            friction: zeros.clone(),
            feedback: zeros.clone(),
            feedforward: zeros,
        })
    }

    /// One entry a joint.
    pub fn gains(&self) -> &[Gains] {
        &self.gains
    }

    /// Forgets the integral.
    pub fn reset(&mut self) {
        self.integral.fill(0.0);
    }

    /// Computes the command into `out`: the feedback for `state` and `reference`, the feedforward for the reference `ahead`,
    /// when the command will act. `dt` [s] since the last tick.
    pub fn command(
        &mut self,
        state: &State,
        reference: &ReferencePoint,
        ahead: &ReferencePoint,
        dt: f64,
        out: &mut [f64],
    ) {
        self.compute_feedforward(state, ahead);
        for (joint, gains) in self.gains.iter().enumerate() {
            let position_error = reference.position[joint] - state.position[joint];
            let velocity_error = reference.velocity[joint] - state.velocity[joint];
            let integral = &mut self.integral[joint];
            *integral = (*integral + gains.i * position_error * dt).clamp(-gains.i_clamp, gains.i_clamp);
            let feedback = gains.p * position_error + gains.d * velocity_error + *integral;
            self.feedback[joint] = feedback;
            out[joint] = self.feedforward[joint] + feedback;
        }
    }

    /// Adds to `out` what the feedback takes for an error of velocities that are measured `lag` [s] late, [joint]: they are to be
    /// those that the `reference` had then.
    pub fn add_late_feedback(&self, reference: &ReferencePoint, lag: &[f64], out: &mut [f64]) {
        for (joint, gains) in self.gains.iter().enumerate() {
            out[joint] -= gains.d * lag[joint] * reference.acceleration[joint];
        }
    }

    /// The effort that holds the robot against gravity at `position`, with no feedback.
    pub fn gravity(&mut self, position: &[f64], out: &mut [f64]) {
        self.dynamics.gravity(position, out);
    }

    fn compute_feedforward(&mut self, state: &State, reference: &ReferencePoint) {
        let out = &mut self.feedforward;
        let ReferencePoint { position, velocity, acceleration } = reference;
        match (self.mode, self.kind) {
            (Mode::Velocity, _) => self.dynamics.drive_command(velocity, acceleration, out),
            (Mode::Position, _) => out.copy_from_slice(position),
            (Mode::Effort, Feedforward::None) => out.fill(0.0),
            (Mode::Effort, Feedforward::Gravity) => self.dynamics.gravity(&state.position, out),
            (Mode::Effort, Feedforward::InverseDynamics) => {
                self.dynamics.inverse_dynamics(position, velocity, acceleration, out);
                self.dynamics.friction(velocity, &mut self.friction);
                out.iter_mut().zip(&self.friction).for_each(|(effort, friction)| *effort += friction);
            }
        }
    }
}

fn joint_gains(config: &BaselineConfig, mode: Mode, joint: &str) -> Result<Gains> {
    let gains = match config.gains.get(joint) {
        Some(gains) => *gains,
        None if mode == Mode::Position => Gains::default(),
        None => {
            let key = format!("controller.gains.{joint}");
            return Err(Error::mismatch(key, "nothing", "p and d (and optionally i, i_clamp)"));
        }
    };
    let Gains { p, i, d, i_clamp } = gains;
    for (name, value) in [("p", p), ("i", i), ("d", d), ("i_clamp", i_clamp)] {
        if !value.is_finite() || value < 0.0 {
            let key = format!("controller.gains.{joint}.{name}");
            return Err(Error::mismatch(key, value, "a finite number, 0 or more"));
        }
    }
    let largest = match mode {
        Mode::Effort => f64::INFINITY,
        Mode::Velocity => LARGEST_VELOCITY_GAIN,
        Mode::Position => LARGEST_POSITION_GAIN,
    };
    if p > largest {
        let expected = format!("at most {largest} where {mode} is commanded: are these gains of efforts?");
        return Err(Error::mismatch(format!("controller.gains.{joint}.p"), p, expected));
    }
    Ok(gains)
}

/// No drive allows more: these are gains of something else. 1/s, and a number.
const LARGEST_VELOCITY_GAIN: f64 = 50.0;
const LARGEST_POSITION_GAIN: f64 = 0.9;
