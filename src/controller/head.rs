//! The fast part of what is learned, in the tick: the weights of the last, linear layer, by Bayesian regression.
//!
//! In hindsight the command that was given is the right one for the motion that was achieved; a command is an effort, or
//! the velocity or position that a drive is told. Between two
//! measurements that motion has a mean position and velocity, and an acceleration; regressors and effort pass through the
//! same low-pass, so that the noise of velocities averages out and what is linear stays so. Every outcome narrows what is
//! believed of the weights; a change of the robot, seen as an error far beyond the usual one, widens it again.

mod drives;
mod low_pass;
mod rigid_body;

use crate::command::Mode;
use crate::controller::belief::Belief;
use crate::controller::features::{FEATURES_PER_JOINT, write_features};
use crate::controller::residual::ResidualModel;
use crate::error::{Error, Result};
use crate::reference::{MotionPoint, ReferencePoint};
use crate::robot::{Dynamics, Robot, first_non_finite};
use crate::state::State;
use crate::vector::dot;
use drives::Drives;
use low_pass::LowPass;
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
        Self { enabled: false, rigid_body: true, bandwidth: 8.0, memory: 1000.0 }
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
/// Errors count for the usual one up to so many of it.
const LARGEST_ERROR: f64 = 3.0;
/// Time over which the usual error is averaged, s.
const USUAL_TIME: f64 = 3.0;
/// What is assumed of it at first counts as so many seconds.
const FIRST: f64 = 0.05;
/// Time over which a sign of change is averaged, s, and its threshold in variances.
const CHANGE_TIME: f64 = 0.06;
const CHANGE: f64 = 12.0;
/// Time over which errors are compared with those of former beliefs, s, and the ratio at which one is taken up again.
const RECENT_TIME: f64 = 0.03;
const FITS: f64 = 0.1;
/// Beliefs kept, and the time that one must have lasted, s.
const FORMER: usize = 2;
const WORTH_KEEPING: f64 = 1.0;
/// Surprise at which former beliefs are looked at, and how far beyond the usual one their errors may be.
const DOUBTED: f64 = 3.0;
const AS_EVER: f64 = 4.0;
/// Errors teach up to so many standard deviations.
const KNOCK: f64 = 5.0;
/// Share of the prior that a change brings back.
const WIDENING: f64 = 0.3;
/// No second change within this time, s.
const SETTLING: f64 = 0.15;
/// Time over which it is seen whether the learned part explains more than none, s.
const EVIDENCE_TIME: f64 = 2.0;
/// Below this speed friction holds a joint and its command tells nothing, rad/s or m/s.
const STICTION: f64 = 0.01;
/// How much less a sample tells of a joint at rest.
const STICTION_PENALTY: f64 = 100.0;

/// How the learning of one joint stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadReport {
    /// Of what is learned without a network and of the network's, the shares that have earned their place, 0 to 1.
    pub share: f64,
    pub network_share: f64,
    /// Root mean square of late of the command that the baseline's feedforward leaves unexplained, of what is left of it
    /// by what is learned without a network, and with one; Nm or N, or as the drives are commanded.
    pub unexplained: [f64; 3],
    /// How often the robot was noticed to be no longer what it was.
    pub changes: u64,
}

#[derive(Clone, Debug)]
struct Joint {
    weights: Vec<f64>,
    belief: Belief,
    /// Mean square of the error.
    usual: f64,
    /// Time over which it was averaged, s.
    learned: f64,
    /// Mean of the squared error over its variance, of late.
    surprise: f64,
    /// Time since the last change, s.
    settled: f64,
    /// Mean squared error of late.
    recent: f64,
    /// What was believed before the last changes, to be taken up again at once when it fits again: a payload that is set
    /// down, a push that ends (Narendra and Balakrishnan, *Adaptive control using multiple models*, 1997).
    former: [Former; FORMER],
    /// Mean squares of what the feedforward leaves unexplained, of what is left of it by what is learned without a
    /// network, and with one.
    evidence: [f64; 3],
    changes: u64,
    /// Whether the last change was to something new.
    is_lost: bool,
}

#[derive(Clone, Debug)]
struct Former {
    weights: Vec<f64>,
    belief: Belief,
    usual: f64,
    recent: f64,
}

/// What is known of the command that a motion takes, and what of that may be wrong.
#[derive(Clone, Debug)]
enum Model {
    RigidBody(Box<RigidBody>),
    Drives(Drives),
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
    least: Vec<f64>,
    joints: Vec<Joint>,
    filter: LowPass,
    /// Signals before and after the low-pass: [joint][regressor], then for each joint the [`SIGNALS`] others.
    raw: Vec<f64>,
    filtered: Vec<f64>,
    last: State,
    last_acceleration: Vec<f64>,
    has_last: bool,
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
            Mode::Velocity | Mode::Position => Model::Drives(Drives::new(robot)),
        };
        let size = model.size();
        let joint = |limit: &f64| Joint {
            weights: vec![0.0; size],
            belief: Belief::new(size.max(1)),
            usual: (100.0 * LEAST_ERROR * limit).powi(2),
            learned: FIRST,
            surprise: 1.0,
            recent: f64::INFINITY,
            former: std::array::from_fn(|_| Former {
                weights: vec![0.0; size],
                belief: Belief::new(size.max(1)),
                usual: (100.0 * LEAST_ERROR * limit).powi(2),
                recent: f64::INFINITY,
            }),
            settled: 0.0,
            evidence: [0.0; 3],
            changes: 0,
            is_lost: false,
        };
        let signals = n * (size + SIGNALS);
        let zeros = vec![0.0; n];
        Self {
            rate,
            size,
            config: *config,
            joints: limit.iter().map(joint).collect(),
            least: limit.iter().map(|limit| (LEAST_ERROR * limit).powi(2)).collect(),
            filter: LowPass::new(config.bandwidth, rate, signals),
            raw: vec![0.0; signals],
            filtered: vec![0.0; signals],
            last: State::zeros(n),
            last_acceleration: zeros.clone(),
            has_last: false,
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
        let period = 1.0 / self.rate;
        if !self.has_last || !(0.5 * period..=1.5 * period).contains(&dt) {
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
        let feedforward = if let Model::Drives(_) = self.model { &self.described } else { feedforward };
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
        let mut changed = false;
        for (j, joint) in self.joints.iter_mut().enumerate() {
            let x = &regressors[j * size..][..size];
            let signals = &signals[j * SIGNALS..][..SIGNALS];
            let (outcome, unexplained, rests) = (signals[0], signals[1], signals[2]);
            let error = outcome - dot(&joint.weights, x);
            self.totals[j] = f64::INFINITY;
            if !error.is_finite() {
                continue;
            }
            changed |= joint.notice(x, outcome, error, rests, dt);
            joint.usual = joint.usual.max(self.least[j]);
            joint.belief.forget(dt / self.config.memory);
            let variance = joint.belief.project(x);
            let noise = joint.usual * repeated * (1.0 + STICTION_PENALTY * rests.clamp(0.0, 1.0));
            // what is far beyond the usual is no noise, but it may be a knock
            let bounded = |error: f64, variance: f64| {
                let largest = KNOCK * (joint.usual + variance).sqrt();
                error.clamp(-largest, largest)
            };
            joint.belief.learn(&mut joint.weights, bounded(error, variance), noise + variance);
            joint.belief.narrow(noise + variance);
            if first_non_finite(&joint.weights).is_some() {
                joint.weights.fill(0.0);
                joint.belief.reset();
            }
            let mut left = error;
            // the network learns what that cannot say
            if let Some(network) = &mut network
                && self.network[j].is_finite()
            {
                left -= self.network[j];
                let variance = network.variance_of(j, shared);
                self.totals[j] = noise + variance;
                network.learn(j, bounded(left, variance), noise + variance);
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
            let x = &self.regressors[j * self.size..][..self.size];
            let correction = joint.correction(x);
            self.known[j] = self.described[j] + correction;
            self.shares[j] = joint.shares(self.least[j]);
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
        self.joints.iter().all(|joint| joint.settled > WORTH_KEEPING)
    }

    /// How the learning of joint `joint` stands.
    pub fn report(&self, joint: usize) -> HeadReport {
        let j = &self.joints[joint];
        let [feedforward, rigid_body, network] = j.evidence.map(|square| square.max(0.0).sqrt());
        let [share, network_share] = self.shares[joint];
        HeadReport {
            share,
            network_share,
            unexplained: [feedforward, rigid_body, network],
            changes: j.changes,
        }
    }
}

/// Moves `mean` towards `value`; the first value is the first mean.
fn average(mean: &mut f64, value: f64, share: f64) {
    *mean = if mean.is_finite() { *mean + share.min(1.0) * (value - *mean) } else { value };
}

impl Joint {
    /// Looks at an error for a sign that the robot is no longer what it was, widens what is believed if so, or goes back
    /// to an earlier belief that fits again; averages the usual error. True for a change.
    fn notice(&mut self, x: &[f64], outcome: f64, error: f64, rests: f64, dt: f64) -> bool {
        self.settled += dt;
        let square = error * error;
        let penalty = 1.0 + STICTION_PENALTY * rests.clamp(0.0, 1.0);
        let expected = penalty * (self.usual + self.belief.variance(x));
        average(&mut self.surprise, square / expected, dt / CHANGE_TIME);
        average(&mut self.recent, square, dt / RECENT_TIME);
        for former in &mut self.former {
            let error = outcome - dot(&former.weights, x);
            average(&mut former.recent, error * error, dt / RECENT_TIME);
        }
        if self.settled <= SETTLING || self.go_back() {
            return false;
        }
        if self.surprise > CHANGE {
            self.change();
            return true;
        }
        if rests < 0.1 {
            self.learned += dt;
            let bounded = square.min(LARGEST_ERROR * LARGEST_ERROR * self.usual);
            self.usual += dt / self.learned.min(USUAL_TIME) * (bounded - self.usual);
        }
        false
    }

    fn change(&mut self) {
        self.keep();
        self.belief.forget(WIDENING);
        self.begin(true);
        self.changes += 1;
    }

    /// Goes back to what was believed before a change if that explains the last outcomes as well as ever: much better
    /// than the present belief, or nearly as well as one that is still new.
    fn go_back(&mut self) -> bool {
        let is_new = self.is_lost && self.settled < WORTH_KEEPING;
        if !(is_new || self.surprise > DOUBTED) {
            return false;
        }
        let (factor, usual) = (if is_new { 2.0 } else { FITS }, self.usual);
        let fits = |f: &Former| f.recent < factor * self.recent && f.recent < AS_EVER * f.usual.min(usual);
        let Some(index) = self.former.iter().position(fits) else { return false };
        // the present belief takes the place of the one that is taken up
        if self.settled > WORTH_KEEPING {
            self.former[index].swap_with(&mut self.weights, &mut self.belief, &mut self.recent);
        } else {
            self.former[index].copy_to(&mut self.weights, &mut self.belief, &mut self.recent);
        }
        self.usual = usual.min(self.former[index].usual);
        self.begin(false);
        true
    }

    fn begin(&mut self, is_lost: bool) {
        (self.surprise, self.settled, self.is_lost) = (1.0, 0.0, is_lost);
    }

    /// Keeps the present belief in the place of the oldest, if it was settled.
    fn keep(&mut self) {
        if self.settled > WORTH_KEEPING {
            self.former.rotate_right(1);
            self.former[0].copy_from(&self.weights, &self.belief, self.usual, self.recent);
        }
    }

    /// The correction for the motion `x`, as far as it is to be trusted: by what it is beside its own uncertainty,
    /// m²/(m² + σ²).
    fn correction(&self, x: &[f64]) -> f64 {
        let mean = dot(&self.weights, x);
        let square = mean * mean;
        if square > 0.0 { mean * square / (square + self.belief.variance(x)) } else { 0.0 }
    }

    /// Averages the squares of the three kinds of `unexplained` command.
    fn weigh(&mut self, unexplained: [f64; 3], dt: f64) {
        for (mean, value) in self.evidence.iter_mut().zip(unexplained) {
            average(mean, value * value, dt / EVIDENCE_TIME);
        }
    }

    /// The shares that have earned their place by what they explain of what is left without them. What is linear and has
    /// few weights: all from a half on. A network, which can learn by heart: all from a fifth on, none below a tenth.
    fn shares(&self, least: f64) -> [f64; 2] {
        let [feedforward, rigid_body, network] = self.evidence;
        let explained = |before: f64, after: f64| 1.0 - after / before.max(least);
        let of_network = explained(rigid_body, network);
        [2.0 * explained(feedforward, rigid_body), 10.0 * (of_network - 0.1)]
            .map(|share| share.clamp(0.0, 1.0))
    }
}

impl Former {
    fn copy_from(&mut self, weights: &[f64], belief: &Belief, usual: f64, recent: f64) {
        self.weights.copy_from_slice(weights);
        self.belief.copy_from(belief);
        (self.usual, self.recent) = (usual, recent);
    }

    fn copy_to(&self, weights: &mut [f64], belief: &mut Belief, recent: &mut f64) {
        weights.copy_from_slice(&self.weights);
        belief.copy_from(&self.belief);
        *recent = self.recent;
    }

    fn swap_with(&mut self, weights: &mut Vec<f64>, belief: &mut Belief, recent: &mut f64) {
        std::mem::swap(&mut self.weights, weights);
        std::mem::swap(&mut self.belief, belief);
        std::mem::swap(&mut self.recent, recent);
    }
}

#[cfg(test)]
mod tests;
