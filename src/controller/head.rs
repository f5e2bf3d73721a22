//! The fast part of what is learned, in the tick: the weights of the last, linear layer, by Bayesian regression.
//!
//! In hindsight the command that was given is the right one for the motion that was achieved; a command is an effort, or
//! the velocity or position that a drive is told. Between two
//! measurements that motion has a mean position and velocity, and an acceleration; regressors and effort pass through the
//! same low-pass, so that the noise of velocities averages out and what is linear stays so. Every outcome narrows what is
//! believed of the weights; a change of the robot, seen as an error far beyond the usual one, widens it again.

mod cadence;
mod drives;
mod low_pass;
mod rigid_body;

use crate::command::Mode;
use crate::controller::features::{FEATURES_PER_JOINT, write_features};
use crate::controller::regression::{Lesson, Pace, Regression, WIDENING};
use crate::controller::residual::ResidualModel;
use crate::error::{Error, Result};
use crate::reference::{MotionPoint, ReferencePoint};
use crate::robot::{Dynamics, Robot, first_non_finite};
use crate::state::State;
pub use cadence::Cadence;
use drives::Drives;
pub use low_pass::LowPass;
use rigid_body::RigidBody;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeadConfig {
    /// Learn in the tick.
    pub enabled: bool,
    /// Learn what the robot's description gets wrong, or drives that take velocities or positions, beside the last layer
    /// of a network.
    pub rigid_body: bool,
    /// Corner of the low-pass on commands and regressors, Hz.
    pub bandwidth: f64,
    /// Time in which what was learned without a sign of change is forgotten, s.
    pub memory: f64,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self { enabled: false, rigid_body: true, bandwidth: 8.0, memory: 1e4 }
    }
}

impl HeadConfig {
    pub fn validate(&self, update_rate: f64) -> Result<()> {
        let highest = 0.25 * update_rate;
        if !(self.bandwidth > 0.0 && self.bandwidth <= highest) {
            let expected = format!("above 0 and at most a quarter of the update rate, {highest} Hz");
            return Err(Error::mismatch("head.bandwidth", self.bandwidth, expected));
        }
        if !(self.memory.is_finite() && self.memory > 0.0) {
            return Err(Error::mismatch("head.memory", self.memory, "a number above 0"));
        }
        Ok(())
    }
}

/// Least usual error, as a share of [`Robot::command_scale`].
const LEAST_ERROR: f64 = 1e-4;
/// Below this speed friction holds a joint and its command tells nothing, rad/s or m/s.
const STICTION: f64 = 0.01;

/// How the learning of one joint stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadReport {
    /// Of what is learned without a network and of the network's, the shares that have earned their place, 0 to 1; about a
    /// change of the robot the first is that of the moment.
    pub share: f64,
    pub network_share: f64,
    /// Root mean square of late of the command that the baseline's feedforward leaves unexplained, of what is left of it
    /// by what is learned without a network, and with one; Nm or N, or as the drives are commanded.
    pub unexplained: [f64; 3],
    /// How often the robot was noticed to be no longer what it was.
    pub changes: u64,
}

/// What is known of the command that a motion takes, and what of that may be wrong.
#[derive(Clone, Debug)]
enum Model {
    RigidBody(Box<RigidBody>),
    Drives(Box<Drives>),
    /// The baseline's feedforward, and nothing.
    Feedforward,
}

impl Model {
    /// Regressors of one joint.
    fn size(&self) -> usize {
        match self {
            Self::RigidBody(model) => model.size(),
            Self::Drives(model) => model.size(),
            Self::Feedforward => 0,
        }
    }

    /// What of the last command is the description's friction.
    fn friction(&self, joint: usize) -> f64 {
        match self {
            Self::RigidBody(model) => model.friction[joint],
            Self::Drives(_) | Self::Feedforward => 0.0,
        }
    }

    /// Writes the regressors [joint][regressor] of a motion, and the command that is known without them.
    fn write(&mut self, motion: &MotionPoint, feedforward: &[f64], regressors: &mut [f64], out: &mut [f64]) {
        match self {
            Self::RigidBody(model) => model.write(&motion.point, regressors, out),
            Self::Drives(model) => model.write(motion, regressors, out),
            Self::Feedforward => out.copy_from_slice(feedforward),
        }
    }
}

/// See the module. Commands are efforts in Nm or N, velocities in rad/s or m/s, or positions in rad or m.
#[derive(Clone, Debug)]
pub struct Head {
    rate: f64,
    /// Regressors of a joint.
    size: usize,
    config: HeadConfig,
    model: Model,
    joints: Vec<Regression>,
    filter: LowPass,
    /// Signals before and after the low-pass: [joint][regressor], then for each joint the [`SIGNALS`] others.
    raw: Vec<f64>,
    filtered: Vec<f64>,
    last: State,
    last_acceleration: Vec<f64>,
    has_last: bool,
    cadence: Cadence,
    /// Time since anything disturbed the signals, s.
    undisturbed: f64,
    /// The motion in hand.
    motion: MotionPoint,
    described: Vec<f64>,
    regressors: Vec<f64>,
    /// Inputs of the network, its command, and the variances of the outcomes.
    features: Vec<f32>,
    network: Vec<f64>,
    totals: Vec<f64>,
    shares: Vec<[f64; 2]>,
    known: Vec<f64>,
    unmodelled: Vec<f64>,
    frozen: bool,
}

/// Signals of a joint beside its regressors: command less the described one, command less the feedforward, whether it rests,
/// position, velocity, acceleration.
const SIGNALS: usize = 6;

impl Head {
    /// For a robot whose drives take [`Robot::command_interface`]; ticks come `rate` times a second.
    pub fn new(config: &HeadConfig, robot: &Robot, dynamics: Dynamics, rate: f64) -> Self {
        let n = robot.degrees_of_freedom();
        let limit = &robot.command_scale();
        let model = match robot.command_interface {
            _ if !config.rigid_body => Model::Feedforward,
            Mode::Effort => Model::RigidBody(Box::new(RigidBody::new(robot, dynamics))),
            Mode::Velocity | Mode::Position => Model::Drives(Box::new(Drives::new(robot, dynamics))),
        };
        let size = model.size();
        let least = |limit: &f64| (LEAST_ERROR * limit).powi(2);
        let signals = n * (size + SIGNALS);
        let zeros = vec![0.0; n];
        Self {
            rate,
            size,
            config: *config,
            joints: limit.iter().map(|limit| Regression::new(size, least(limit))).collect(),
            filter: LowPass::new(config.bandwidth, rate, signals),
            raw: vec![0.0; signals],
            filtered: vec![0.0; signals],
            last: State::zeros(n),
            last_acceleration: zeros.clone(),
            has_last: false,
            cadence: Cadence::new(rate),
            undisturbed: 0.0,
            motion: MotionPoint::zeros(n),
            described: zeros,
            regressors: vec![0.0; n * size],
            features: vec![0.0; FEATURES_PER_JOINT * n],
            network: vec![0.0; n],
            totals: vec![0.0; n],
            shares: vec![[0.0; 2]; n],
            known: vec![0.0; n],
            unmodelled: vec![0.0; n],
            frozen: false,
            model,
        }
    }

    /// Forgets where the robot was, not what was learned: after a hold or a jump of time.
    pub fn interrupt(&mut self) {
        self.has_last = false;
        self.undisturbed = 0.0;
        self.filter.reset();
    }

    /// Learns from the time between the last measurement and `state`, in which `command` acted, of it `feedforward` the
    /// baseline's; `undisturbed` if nothing limited it. `network` is what else adds to the command.
    pub fn observe(
        &mut self,
        state: &State,
        [command, feedforward]: [&[f64]; 2],
        dt: f64,
        undisturbed: bool,
        network: Option<&mut ResidualModel>,
    ) {
        if !self.has_last || !self.cadence.is_kept(dt) {
            self.interrupt();
            self.last.copy_from(state);
            self.has_last = true;
            return;
        }
        let point = &mut self.motion.point;
        for joint in 0..self.joints.len() {
            point.position[joint] = 0.5 * (state.position[joint] + self.last.position[joint]);
            point.velocity[joint] = 0.5 * (state.velocity[joint] + self.last.velocity[joint]);
            let acceleration = (state.velocity[joint] - self.last.velocity[joint]) / dt;
            self.motion.jerk[joint] = (acceleration - self.last_acceleration[joint]) / dt;
            point.acceleration[joint] = acceleration;
            self.last_acceleration[joint] = acceleration;
        }
        self.last.copy_from(state);
        self.take_signals(command, feedforward);
        // a measurement may be finite and yet overflow, and the low-pass would never forget it
        if first_non_finite(&self.filtered).is_some() {
            self.interrupt();
            return;
        }
        self.undisturbed = if undisturbed { self.undisturbed + dt } else { 0.0 };
        if self.learns() {
            self.learn(dt, network);
        }
    }

    /// Whether it is learning: not frozen, measurements come at the update rate, and the low-pass has forgotten what
    /// disturbed it.
    pub fn learns(&self) -> bool {
        self.undisturbed > 0.5 / self.config.bandwidth && !self.frozen
    }

    fn take_signals(&mut self, command: &[f64], feedforward: &[f64]) {
        let n = self.joints.len();
        let (regressors, signals) = self.raw.split_at_mut(n * self.size);
        self.model.write(&self.motion, feedforward, regressors, &mut self.described);
        // the feedforward of a drive is that of an ideal one for the reference: here it is one for what was achieved
        let feedforward = if let Model::Drives(drives) = &self.model {
            for (joint, terms) in regressors.chunks_exact_mut(self.size).enumerate() {
                drives.write_dead_band(joint, command[joint], self.described[joint], terms);
            }
            &self.described
        } else {
            feedforward
        };
        let point = &self.motion.point;
        for (joint, signals) in signals.chunks_exact_mut(SIGNALS).enumerate() {
            signals.copy_from_slice(&[
                command[joint] - self.described[joint],
                command[joint] - feedforward[joint],
                f64::from(point.velocity[joint].abs() < STICTION),
                point.position[joint],
                point.velocity[joint],
                point.acceleration[joint],
            ]);
        }
        self.filter.apply(&self.raw, &mut self.filtered);
    }

    fn learn(&mut self, dt: f64, mut network: Option<&mut ResidualModel>) {
        let (n, size) = (self.joints.len(), self.size);
        // samples within the time constant of the low-pass tell one thing
        let repeated = (self.rate / (2.0 * self.config.bandwidth)).max(1.0);
        let (regressors, signals) = self.filtered.split_at(n * size);
        let mut shared = 0.0;
        self.network.fill(0.0);
        if let Some(network) = &mut network {
            // a network is not linear in the motion: it sees the smooth one
            let ReferencePoint { position, velocity, acceleration } = &mut self.motion.point;
            for (joint, signals) in signals.chunks_exact(SIGNALS).enumerate() {
                (position[joint], velocity[joint], acceleration[joint]) =
                    (signals[3], signals[4], signals[5]);
            }
            write_features(position, velocity, acceleration, &mut self.features);
            network.evaluate(&self.features, &mut self.network);
            network.forget(dt / self.config.memory);
            shared = network.project();
        }
        let pace = Pace { dt, repeated, memory: self.config.memory };
        let mut changed = false;
        for (j, joint) in self.joints.iter_mut().enumerate() {
            let x = &regressors[j * size..][..size];
            let signals = &signals[j * SIGNALS..][..SIGNALS];
            let (outcome, unexplained, rests) = (signals[0], signals[1], signals[2]);
            self.totals[j] = f64::INFINITY;
            let Some(Lesson { changed: has_changed, error, noise }) = joint.learn(x, outcome, rests, pace)
            else {
                continue;
            };
            changed |= has_changed;
            let mut left = error;
            // the network learns what that cannot say
            if let Some(network) = &mut network
                && self.network[j].is_finite()
            {
                left -= self.network[j];
                let variance = network.variance_of(j, shared);
                self.totals[j] = noise + variance;
                network.learn(j, joint.bounded(left, variance), noise + variance);
            }
            joint.weigh([unexplained, error, left], dt);
        }
        if let Some(network) = network {
            network.narrow(&self.totals);
            if changed && !self.config.rigid_body {
                network.forget(WIDENING);
            }
        }
    }

    /// Makes of the network's `out` [joint] the command that is learned to be lacking in `feedforward` for the motion of
    /// `reference`: what is known without a network, and the network's, each with the share that it has earned.
    /// `reference` is that of the time in which the command will act; of the feedforward `friction` is friction's.
    pub fn add_command(
        &mut self,
        reference: &MotionPoint,
        [feedforward, friction]: [&[f64]; 2],
        out: &mut [f64],
    ) {
        self.model.write(reference, feedforward, &mut self.regressors, &mut self.described);
        for (j, joint) in self.joints.iter().enumerate() {
            let x = &mut self.regressors[j * self.size..][..self.size];
            if let Model::Drives(drives) = &self.model {
                let command = self.described[j] + joint.correction(x);
                drives.write_dead_band(j, command, self.described[j], x);
            }
            let correction = joint.correction(x);
            self.known[j] = self.described[j] + correction;
            self.shares[j] = joint.shares();
            let [share, of_network] = self.shares[j];
            let of_network = of_network * out[j];
            self.unmodelled[j] = share * (correction + self.model.friction(j) - friction[j]) + of_network;
            out[j] = share * (self.known[j] - feedforward[j]) + of_network;
        }
    }

    /// What of the last command that was added meets no rigid-body dynamics of the description, [joint]: corrections,
    /// friction, and the network's part.
    pub fn unmodelled(&self) -> &[f64] {
        &self.unmodelled
    }

    /// The command for the last reference of [`Self::add_command`] that is known without a network, [joint].
    pub fn known(&self) -> &[f64] {
        &self.known
    }

    /// Keeps what is believed as it is, or goes on learning.
    pub fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen;
    }

    /// Whether no joint has changed of late.
    pub fn is_settled(&self) -> bool {
        self.joints.iter().all(Regression::is_settled)
    }

    /// How the learning of joint `joint` stands.
    pub fn report(&self, joint: usize) -> HeadReport {
        let regression = &self.joints[joint];
        let [share, network_share] = self.shares[joint];
        HeadReport {
            share: share * regression.trust(),
            network_share,
            unexplained: regression.unexplained(),
            changes: regression.changes(),
        }
    }
}

#[cfg(test)]
mod tests;
