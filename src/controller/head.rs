//! The fast part of what is learned, in the tick: the weights of the last, linear layer, by Bayesian regression.
//!
//! In hindsight the effort that was applied is the right one for the motion that was achieved. Between two
//! measurements that motion has a mean position and velocity, and an acceleration; regressors and effort pass through the
//! same low-pass, so that the noise of velocities averages out and what is linear stays so. Every outcome narrows what is
//! believed of the weights; a change of the robot, seen as an error far beyond the usual one, widens it again.

mod belief;
mod low_pass;
mod rigid_body;

use crate::error::{Error, Result};
use crate::reference::ReferencePoint;
use crate::robot::{Dynamics, Robot};
use crate::state::State;
use belief::{Belief, dot};
use low_pass::LowPass;
use rigid_body::RigidBody;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeadConfig {
    /// Learn in the tick.
    pub enabled: bool,
    /// Corner of the low-pass on efforts and regressors, Hz.
    pub bandwidth: f64,
    /// Time in which what was learned without a sign of change is forgotten, s.
    pub memory: f64,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self { enabled: false, bandwidth: 8.0, memory: 300.0 }
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

/// Least usual error, as a share of the effort limit.
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
/// Share of the prior that a change brings back.
const WIDENING: f64 = 0.3;
/// No second change within this time, s.
const SETTLING: f64 = 0.15;
/// Time over which it is seen whether the learned part explains more than none, s.
const EVIDENCE_TIME: f64 = 2.0;
/// Below this speed friction holds a joint and its effort tells nothing, rad/s or m/s.
const STICTION: f64 = 0.01;
/// How much less a sample tells of a joint at rest.
const STICTION_PENALTY: f64 = 100.0;

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
    /// Means of (unexplained by the baseline) × (learned), and of (learned)².
    evidence: [f64; 2],
    changes: u64,
    /// Whether the last change was to something new.
    lost: bool,
}

#[derive(Clone, Debug)]
struct Former {
    weights: Vec<f64>,
    belief: Belief,
    usual: f64,
    recent: f64,
}

/// See the module. Efforts in Nm or N.
#[derive(Clone, Debug)]
pub struct Head {
    rate: f64,
    config: HeadConfig,
    robot: RigidBody,
    least: Vec<f64>,
    joints: Vec<Joint>,
    filter: LowPass,
    /// Signals before and after the low-pass: [joint][regressor], then per joint: effort less the described one, effort
    /// less the feedforward, whether the joint rests.
    raw: Vec<f64>,
    filtered: Vec<f64>,
    last: State,
    has_last: bool,
    /// Time since anything disturbed the signals, s.
    undisturbed: f64,
    /// Of the motion in hand.
    position: Vec<f64>,
    velocity: Vec<f64>,
    acceleration: Vec<f64>,
    described: Vec<f64>,
    regressors: Vec<f64>,
}

impl Head {
    pub fn new(config: &HeadConfig, robot: &Robot, dynamics: Dynamics, rate: f64) -> Self {
        let n = robot.degrees_of_freedom();
        let limit = &robot.limits.effort;
        let rigid_body = RigidBody::new(robot, dynamics);
        let size = rigid_body.size();
        let joint = |limit: &f64| Joint {
            weights: vec![0.0; size],
            belief: Belief::new(size),
            usual: (100.0 * LEAST_ERROR * limit).powi(2),
            learned: FIRST,
            surprise: 1.0,
            recent: f64::INFINITY,
            former: std::array::from_fn(|_| Former {
                weights: vec![0.0; size],
                belief: Belief::new(size),
                usual: (100.0 * LEAST_ERROR * limit).powi(2),
                recent: f64::INFINITY,
            }),
            settled: 0.0,
            evidence: [0.0; 2],
            changes: 0,
            lost: false,
        };
        let signals = n * size + 3 * n;
        let zeros = vec![0.0; n];
        Self {
            rate,
            config: *config,
            joints: limit.iter().map(joint).collect(),
            least: limit.iter().map(|limit| (LEAST_ERROR * limit).powi(2)).collect(),
            filter: LowPass::new(config.bandwidth, rate, signals),
            raw: vec![0.0; signals],
            filtered: vec![0.0; signals],
            last: State::zeros(n),
            has_last: false,
            undisturbed: 0.0,
            position: zeros.clone(),
            velocity: zeros.clone(),
            acceleration: zeros.clone(),
            described: zeros,
            regressors: vec![0.0; n * size],
            robot: rigid_body,
        }
    }

    /// Forgets where the robot was, not what was learned: after a hold or a jump of time.
    pub fn interrupt(&mut self) {
        self.has_last = false;
        self.undisturbed = 0.0;
        self.filter.reset();
    }

    /// Learns from the time between the last measurement and `state`, in which `effort` acted, of it `feedforward` the
    /// baseline's; `undisturbed` if nothing limited it.
    pub fn observe(&mut self, state: &State, effort: &[f64], feedforward: &[f64], dt: f64, undisturbed: bool) {
        let n = self.joints.len();
        let period = 1.0 / self.rate;
        if !self.has_last || !(0.5 * period..=1.5 * period).contains(&dt) {
            self.interrupt();
            self.last.copy_from(state);
            self.has_last = true;
            return;
        }
        for joint in 0..n {
            self.position[joint] = 0.5 * (state.position[joint] + self.last.position[joint]);
            self.velocity[joint] = 0.5 * (state.velocity[joint] + self.last.velocity[joint]);
            self.acceleration[joint] = (state.velocity[joint] - self.last.velocity[joint]) / dt;
        }
        self.last.copy_from(state);
        let size = self.robot.size();
        let (regressors, outcomes) = self.raw.split_at_mut(n * size);
        self.robot.write(&self.position, &self.velocity, &self.acceleration, regressors, &mut self.described);
        for joint in 0..n {
            outcomes[3 * joint] = effort[joint] - self.described[joint];
            outcomes[3 * joint + 1] = effort[joint] - feedforward[joint];
            outcomes[3 * joint + 2] = f64::from(self.velocity[joint].abs() < STICTION);
        }
        self.filter.apply(&self.raw, &mut self.filtered);
        self.undisturbed = if undisturbed { self.undisturbed + dt } else { 0.0 };
        // the low-pass has to have forgotten what was before
        if self.undisturbed > 0.5 / self.config.bandwidth {
            self.learn(dt);
        }
    }

    fn learn(&mut self, dt: f64) {
        let n = self.joints.len();
        let size = self.robot.size();
        // samples within the time constant of the low-pass tell one thing
        let repeated = (self.rate / (2.0 * self.config.bandwidth)).max(1.0);
        let (regressors, outcomes) = self.filtered.split_at(n * size);
        for (j, joint) in self.joints.iter_mut().enumerate() {
            let x = &regressors[j * size..][..size];
            let [outcome, unexplained, resting] = outcomes[3 * j..3 * j + 3] else { continue };
            let error = outcome - dot(&joint.weights, x);
            if !error.is_finite() {
                continue;
            }
            joint.belief.forget(dt / self.config.memory);
            let variance = joint.belief.project(x);
            joint.settled += dt;
            let share = dt / CHANGE_TIME;
            let rests = 1.0 + STICTION_PENALTY * resting.clamp(0.0, 1.0);
            joint.surprise += share * (error * error / (rests * (joint.usual + variance)) - joint.surprise);
            average(&mut joint.recent, error * error, dt / RECENT_TIME);
            for former in &mut joint.former {
                let error = outcome - dot(&former.weights, x);
                average(&mut former.recent, error * error, dt / RECENT_TIME);
            }
            if joint.settled > SETTLING && joint.take_up_former() {
                if std::env::var("DBG").is_ok() { eprintln!("{:.3} j{} RESTORED recent {:.4}", self.last.stamp.seconds(), j, joint.recent.sqrt()); }
                continue;
            }
            if joint.surprise > CHANGE && joint.settled > SETTLING {
                if std::env::var("DBG").is_ok() { eprintln!("{:.3} j{} change surprise {:.1} settled {:.2} usual {:.4} err {:.3} var {:.4}", self.last.stamp.seconds(), j, joint.surprise, joint.settled, joint.usual.sqrt(), error, variance.sqrt()); }
                joint.change();
            } else if resting < 0.1 && joint.settled > SETTLING {
                let bounded = (error * error).min(LARGEST_ERROR * LARGEST_ERROR * joint.usual);
                joint.learned += dt;
                joint.usual += dt / joint.learned.min(USUAL_TIME) * (bounded - joint.usual);
                joint.usual = joint.usual.max(self.least[j]);
            }
            let learned = unexplained - error;
            let share = dt / EVIDENCE_TIME;
            joint.evidence[0] += share * (unexplained * learned - joint.evidence[0]);
            joint.evidence[1] += share * (learned * learned - joint.evidence[1]);
            let noise = joint.usual * repeated * rests;
            let total = noise + variance;
            // what is far beyond the usual is no noise, but it may be a knock
            let largest = 5.0 * (joint.usual + variance).sqrt();
            joint.belief.learn(&mut joint.weights, error.clamp(-largest, largest), total);
            joint.belief.narrow(total);
        }
    }

    /// Writes the effort that is learned to be lacking in `feedforward` for the motion of `reference`, [joint].
    pub fn effort(&mut self, reference: &ReferencePoint, feedforward: &[f64], out: &mut [f64]) {
        let ReferencePoint { position, velocity, acceleration } = reference;
        self.robot.write(position, velocity, acceleration, &mut self.regressors, &mut self.described);
        let size = self.robot.size();
        for (j, joint) in self.joints.iter().enumerate() {
            let x = &self.regressors[j * size..][..size];
            out[j] = joint.share(self.least[j]) * (self.described[j] - feedforward[j] + dot(&joint.weights, x));
        }
    }

    /// What is reported of each joint: share, usual error, surprise, changes.
    pub fn report(&self, joint: usize) -> [f64; 4] {
        let j = &self.joints[joint];
        [j.share(self.least[joint]), j.usual.sqrt(), j.surprise, j.changes as f64]
    }
}

/// Moves `mean` towards `value`; the first value is the first mean.
fn average(mean: &mut f64, value: f64, share: f64) {
    *mean = if mean.is_finite() { *mean + share.min(1.0) * (value - *mean) } else { value };
}

impl Joint {
    /// The robot is no longer what it was: widens what is believed, and keeps what was, if it had been settled.
    fn change(&mut self) {
        if self.settled > WORTH_KEEPING {
            self.keep();
        }
        self.belief.forget(WIDENING);
        self.surprise = 1.0;
        self.settled = 0.0;
        self.lost = true;
        self.changes += 1;
    }

    fn keep(&mut self) {
        self.former.rotate_right(1);
        let former = &mut self.former[0];
        former.weights.copy_from_slice(&self.weights);
        former.belief.copy_from(&self.belief);
        former.usual = self.usual;
        former.recent = self.recent;
    }

    /// Goes back to what was believed before a change if that explains the last outcomes much better.
    fn take_up_former(&mut self) -> bool {
        let young = self.settled < WORTH_KEEPING;
        let fits = |former: &Former| {
            former.recent < if young { 2.0 } else { FITS } * self.recent && former.recent < 4.0 * former.usual.min(self.usual)
        };
        if !(self.surprise > 3.0 || young && self.lost) { return false; }
        let Some(index) = self.former.iter().position(fits) else { return false };
        if self.settled > WORTH_KEEPING {
            self.keep();
            let index = (index + 1).min(FORMER - 1);
            return self.restore(index);
        }
        self.restore(index)
    }

    fn restore(&mut self, index: usize) -> bool {
        let former = &self.former[index];
        self.weights.copy_from_slice(&former.weights);
        self.belief.copy_from(&former.belief);
        self.usual = self.usual.min(former.usual);
        self.recent = former.recent;
        self.surprise = 1.0;
        self.settled = 0.0;
        self.lost = false;
        true
    }

    /// The share of the learned effort that has earned its place: the factor on it that explains the most of what the
    /// feedforward left, by least squares.
    fn share(&self, least: f64) -> f64 {
        (self.evidence[0] / (self.evidence[1] + least)).clamp(0.0, 1.0)
    }
}
