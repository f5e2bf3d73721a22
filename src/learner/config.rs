//! Settings of the learner.

use crate::command::Mode;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which error is propagated back into the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Hindsight: the effort that was applied is the label of the motion that it achieved.
    #[default]
    InverseModel,
    /// Feedback-error learning (Kawato 1987; Gomi and Kawato 1993): the feedback, which is the gain-weighted tracking
    /// error, is what the residual lacked at the reference.
    TrackingError,
    /// Distal supervised learning (Jordan and Rumelhart 1992): the tracking error of the next tenth of a second,
    /// through an LSTM that has learned how the robot answers to effort.
    Distal,
    /// Hindsight and feedback error in one.
    Composite,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnerConfig {
    /// As of the controller.
    pub joints: Vec<String>,
    /// What the controller commands.
    pub command_interface: Mode,
    pub rule: Rule,
    /// Units of the hidden layers.
    pub hidden: Vec<usize>,
    pub learning_rate: f64,
    pub batch_size: usize,
    /// Training steps a second, at most.
    pub steps_per_second: f64,
    /// Weights sent a second, at most.
    pub updates_per_second: f64,
    /// How much of the recent past is kept [s of motion], and the mean age of what is drawn from it [s].
    pub memory: f64,
    pub mean_age: f64,
    /// Share of what is trained on that is drawn from all of the past alike, 0 to 1.
    pub representative: f64,
    /// Largest norm of a gradient; longer ones are scaled down.
    pub gradient_norm: f64,
    /// Largest change of the output in a second, rms over recent motions, as a share of the output's scale (a tenth
    /// of the joint's effort limit).
    pub output_change: f64,
    /// Time from a command to its effect [s]; `learned_control identify-delay` finds it.
    pub command_delay: f64,
    /// Time from a lack of effort to the feedback that it calls forth [s]: for the rules that learn from feedback; about
    /// 0.7/ω of a feedback loop of natural frequency ω.
    pub feedback_lag: f64,
    pub seed: u64,
    /// How far the training thread gives way to other threads, 0 to 19.
    pub niceness: u8,
    /// CPUs of the training thread; empty: any.
    pub cpus: Vec<usize>,
}

impl Default for LearnerConfig {
    fn default() -> Self {
        Self {
            joints: Vec::new(),
            command_interface: Mode::Effort,
            rule: Rule::default(),
            hidden: vec![128, 128],
            learning_rate: 2e-3,
            batch_size: 64,
            steps_per_second: 200.0,
            updates_per_second: 5.0,
            memory: 10.0,
            mean_age: 2.0,
            representative: 0.3,
            gradient_norm: 1.0,
            output_change: 2.0,
            command_delay: 0.0,
            feedback_lag: 0.04,
            seed: 1,
            niceness: 0,
            cpus: Vec::new(),
        }
    }
}

impl LearnerConfig {
    /// Checks ranges; the error names the key, what was found and what is expected.
    pub fn validate(&self) -> Result<()> {
        let positive = [
            ("learning_rate", self.learning_rate),
            ("steps_per_second", self.steps_per_second),
            ("updates_per_second", self.updates_per_second),
            ("memory", self.memory),
            ("mean_age", self.mean_age),
            ("gradient_norm", self.gradient_norm),
            ("output_change", self.output_change),
            ("batch_size", self.batch_size as f64),
        ];
        for (key, value) in positive {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::mismatch(key, value, "a number above 0"));
            }
        }
        if !(0.0..=1.0).contains(&self.representative) {
            return Err(Error::mismatch("representative", self.representative, "a number from 0 to 1"));
        }
        for (key, value) in [("command_delay", self.command_delay), ("feedback_lag", self.feedback_lag)] {
            if !(0.0..=LONGEST_DELAY).contains(&value) {
                return Err(Error::mismatch(key, value, format!("0 to {LONGEST_DELAY} s")));
            }
        }
        if self.niceness > 19 {
            return Err(Error::mismatch("niceness", self.niceness, "0 to 19"));
        }
        check_cpus("cpus", &self.cpus)?;
        match self.hidden.iter().find(|units| !(1..=LARGEST_LAYER).contains(*units)) {
            Some(units) => {
                Err(Error::mismatch("hidden", units, format!("layers of 1 to {LARGEST_LAYER} units")))
            }
            None => Ok(()),
        }
    }
}

/// As many CPUs as Linux can tell apart.
const MOST_CPUS: usize = 1024;

/// Refuses a number that no CPU can have.
pub(crate) fn check_cpus(key: &str, cpus: &[usize]) -> Result<()> {
    match cpus.iter().find(|cpu| **cpu >= MOST_CPUS) {
        Some(cpu) => Err(Error::mismatch(key, cpu, format!("numbers of CPUs, below {MOST_CPUS}"))),
        None => Ok(()),
    }
}

/// More units than this do not fit a control loop.
const LARGEST_LAYER: usize = 1024;
/// Beyond this a loop is not controlled by feedback [s].
pub const LONGEST_DELAY: f64 = 0.2;
