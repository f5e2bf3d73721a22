//! How a tick ended. A fault is a state with a defined safe action, not an error.

use std::fmt;

/// The outcome of a tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Baseline and residual, undisturbed.
    Tracking,
    /// As `Tracking`, but a limit of effort, position or velocity, the residual's limit, or the governor acted.
    Limited,
    /// The learned part is switched off; the baseline alone tracks the reference.
    Baseline(Fault),
    /// The reference is abandoned and the robot's weight carried where it is.
    Holding(Fault),
}

/// What went wrong, with the figures that say how. `joint` counts from 0 in the robot's order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    NoJointStates,
    JointStatesStale { age: f64, timeout: f64 },
    JointStatesAhead { ahead: f64 },
    StateNotFinite { joint: usize },
    StateJumped { joint: usize, jump: f64 },
    StateUnconfirmed,
    CommandNotFinite { joint: usize },
    ResidualNotFinite { joint: usize },
    LearnerLost { silence: f64 },
    PredictorLost { silence: f64 },
    ToleranceViolated { joint: usize, error: f64, tolerance: f64 },
    PathLost { joint: usize, error: f64, tolerance: f64 },
}

impl Verdict {
    /// Whether both are the same but for the figures in them: only a change of kind is worth a log line.
    pub fn same_kind(&self, other: &Self) -> bool {
        use std::mem::discriminant;
        let faults = (self.fault(), other.fault());
        discriminant(self) == discriminant(other)
            && faults.0.as_ref().map(discriminant) == faults.1.as_ref().map(discriminant)
    }

    /// Whether the tick may be learned from: the command did what baseline and residual asked for.
    pub fn is_undisturbed(&self) -> bool {
        matches!(self, Self::Tracking | Self::Baseline(_))
    }

    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Tracking | Self::Limited => None,
            Self::Baseline(fault) | Self::Holding(fault) => Some(*fault),
        }
    }

    /// A sentence for a log, with the joint's name in place of its number.
    pub fn describe(&self, joints: &[String]) -> String {
        match self {
            Self::Tracking => "tracking".into(),
            Self::Limited => {
                "tracking, limited: a limit of effort, velocity, position or residual acts, or the reference is slowed down".into()
            }
            Self::Baseline(fault) => format!("on the baseline alone: {}", fault.describe(joints)),
            Self::Holding(fault) => format!("holding: {}", fault.describe(joints)),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tracking => "tracking",
            Self::Limited => "limited",
            Self::Baseline(_) => "baseline",
            Self::Holding(_) => "holding",
        })
    }
}

impl Fault {
    /// What happened and what to do.
    pub fn describe(&self, joints: &[String]) -> String {
        let name = |joint: usize| joints.get(joint).map_or("?", String::as_str);
        match *self {
            Self::NoJointStates => {
                "no joint states yet: is the robot or the simulator running, and joint_states remapped to it?"
                    .into()
            }
            Self::JointStatesStale { age, timeout } => format!(
                "the newest joint states are {age:.3} s old (timeout {timeout:.3} s): the robot fell silent, or its \
                 clock is behind"
            ),
            Self::JointStatesAhead { ahead } => format!(
                "joint states are stamped {ahead:.3} s ahead of this node's clock: synchronise the clocks or set \
                 use_sim_time"
            ),
            Self::StateNotFinite { joint } => format!("the state of joint '{}' is not finite", name(joint)),
            Self::StateJumped { joint, jump } => format!(
                "joint '{}' was measured {jump:.3} away from where it was, which no motion can be: is there a second publisher of \
                 joint_states, or was the robot or its simulation started again?",
                name(joint)
            ),
            Self::StateUnconfirmed => {
                "joint states have not yet come for long enough to say where the robot is: no position is commanded before".into()
            }
            Self::CommandNotFinite { joint } => {
                format!("the command of joint '{}' came out not finite and was not sent", name(joint))
            }
            Self::ResidualNotFinite { joint } => {
                format!(
                    "the learned effort of joint '{}' is not finite: its weights are unusable",
                    name(joint)
                )
            }
            Self::LearnerLost { silence } => {
                format!(
                    "no sign of life from the learner for {silence:.1} s; restart it, or set learning to false"
                )
            }
            Self::PredictorLost { silence } => {
                format!("no prediction for {silence:.1} s; restart the predictor, or set prediction to false")
            }
            Self::ToleranceViolated { joint, error, tolerance } => format!(
                "tracking error of joint '{}' is {error:.4}, above constraints.trajectory {tolerance:.4}",
                name(joint)
            ),
            Self::PathLost { joint, error, tolerance } => format!(
                "joint '{}' is {error:.4} from where it should be, above constraints.path {tolerance:.4}: something holds the robot, or \
                 it is too weak; the motion is given up, and it stays here",
                name(joint)
            ),
        }
    }
}
