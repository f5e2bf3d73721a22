//! What drives that take velocities or positions make of a command, as a linear model of few weights a joint: what they
//! amplify or lose, how far they lag behind, and what is lost in friction or a dead band.
//!
//! A drive that follows v* = g · band(u(t − T)) with τ v' = v* − v asks for
//!
//! > u(t) = v/g + (τ/g) a at t + T, and the dead band on top, with the sign of u;
//!
//! a position loop of gain k on top of it for q + u/k. A second lag, and a dead time that is not known, show as weights of
//! acceleration and jerk. All but the dead band is taken from the motion; the dead band lies where the command changes its
//! sign, which is before the motion does. In hindsight that is the command that was given, ahead of time the one that the
//! other terms make of the reference, so that nothing that is measured is fed back.

use crate::command::Mode;
use crate::reference::MotionPoint;
use crate::robot::{Dynamics, Limits, Robot};

/// Velocity, acceleration, jerk, what is lost by direction, offset, dead band.
const TERMS: usize = 6;
/// Speed below which what is lost changes its sign smoothly, rad/s or m/s.
const DIRECTION_VELOCITY: f64 = 0.05;
/// The same for the dead band, as a share of the velocity limit.
const SIGN: f64 = 1e-3;
/// How far a drive is taken to be from an ideal one, as standard deviations: a share of the velocity, a lag in s, a lag
/// of second order in s², and shares of the velocity limit.
const GAIN: f64 = 0.3;
const LAG: f64 = 0.1;
const SECOND_LAG: f64 = 0.005;
const DEAD_BAND: f64 = 0.01;
const OFFSET: f64 = 0.01;

/// Regressors of every joint for a motion, each scaled to a prior of N(0, 1) on its weight.
#[derive(Clone, Debug)]
pub struct Drives {
    mode: Mode,
    velocity_limit: Vec<f64>,
    /// Knows the lag.
    dynamics: Dynamics,
}

impl Drives {
    /// Of drives that take velocities and are known to follow with the lag of `dynamics`, or that take positions.
    pub fn new(robot: &Robot, dynamics: Dynamics) -> Self {
        Self { mode: robot.command_interface, velocity_limit: robot.limits.velocity.clone(), dynamics }
    }

    /// Regressors of one joint.
    pub fn size(&self) -> usize {
        TERMS
    }

    /// Writes the regressors [joint][regressor] of a motion but for the dead band's, which is zero, and the command of a
    /// drive that is as it is known, rad/s (m/s) or rad (m).
    pub fn write(&self, motion: &MotionPoint, regressors: &mut [f64], described: &mut [f64]) {
        let point = &motion.point;
        // what a velocity is short of shows in a position after the time that the position loop takes
        let time = if self.mode == Mode::Position {
            described.copy_from_slice(&point.position);
            Limits::POSITION_LOOP
        } else {
            self.dynamics.drive_command(&point.velocity, &point.acceleration, described);
            1.0
        };
        // the lag behind a position is that of the loop itself
        let gain = if self.mode == Mode::Position { 1.0 } else { GAIN };
        for (joint, terms) in regressors.chunks_exact_mut(TERMS).enumerate() {
            let (v, limit) = (point.velocity[joint], self.velocity_limit[joint]);
            let (a, jerk) = (point.acceleration[joint], motion.jerk[joint]);
            let lost = DEAD_BAND * limit * (v / DIRECTION_VELOCITY).tanh();
            let values = [gain * v, LAG * a, SECOND_LAG * jerk, lost, OFFSET * limit, 0.0];
            terms.iter_mut().zip(values).for_each(|(term, value)| *term = time * value);
        }
    }

    /// Writes the dead band's regressor among the `terms` of one joint, whose drive is told `command` where an ideal one
    /// would be told `described`.
    pub fn write_dead_band(&self, joint: usize, command: f64, described: f64, terms: &mut [f64]) {
        let limit = self.velocity_limit[joint];
        let (asked, time) = match self.mode {
            Mode::Position => (command - described, Limits::POSITION_LOOP),
            _ => (command, 1.0),
        };
        if let Some(last) = terms.last_mut() {
            *last = time * DEAD_BAND * limit * (asked / (time * SIGN * limit)).tanh();
        }
    }
}
