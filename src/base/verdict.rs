//! How a tick of a base ended.

use super::twist::Twist;
use std::fmt;

const AXES: [&str; 3] = ["x", "y", "theta"];

/// The outcome of a tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BaseVerdict {
    /// Nothing to do: the base is brought to rest and kept there.
    Idle,
    /// Baseline and correction, undisturbed.
    Tracking,
    /// As `Tracking`, but a limit of the twist or of the correction acted, or the reference waits for the base.
    Limited,
    /// The correction is switched off; the baseline alone is sent.
    Baseline(BaseFault),
    /// The twist is zero at once.
    Stopped(BaseFault),
}

/// What went wrong, with the figures that say how. `axis` counts x, y, theta from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BaseFault {
    NoOdometry,
    OdometryStale { age: f64, timeout: f64 },
    OdometryAhead { ahead: f64 },
    StateNotFinite { axis: usize },
    TransformStale { age: f64, tolerance: f64 },
    AskedNotFinite { asked: Twist },
    AskedStale { age: f64, timeout: f64 },
    TwistNotFinite { axis: usize },
    CorrectionNotFinite { axis: usize },
    LearnerLost { silence: f64 },
    ToleranceViolated { error: f64, tolerance: f64 },
    PathLost { error: f64, tolerance: f64 },
}

impl BaseVerdict {
    /// Whether both are the same but for the figures in them: only a change of kind is worth a log line.
    pub fn same_kind(&self, other: &Self) -> bool {
        use std::mem::discriminant;
        let faults = (self.fault(), other.fault());
        discriminant(self) == discriminant(other)
            && faults.0.as_ref().map(discriminant) == faults.1.as_ref().map(discriminant)
    }

    /// Whether the base is being driven, by the baseline or with what is learned.
    pub fn drives(&self) -> bool {
        matches!(self, Self::Tracking | Self::Limited | Self::Baseline(_))
    }

    /// Whether what was sent is what baseline and correction asked for.
    pub fn is_undisturbed(&self) -> bool {
        matches!(self, Self::Tracking | Self::Baseline(_))
    }

    pub fn fault(&self) -> Option<BaseFault> {
        match self {
            Self::Idle | Self::Tracking | Self::Limited => None,
            Self::Baseline(fault) | Self::Stopped(fault) => Some(*fault),
        }
    }

    /// A sentence for a log.
    pub fn describe(&self) -> String {
        match self {
            Self::Idle => "at rest: no path to follow and no twist asked for".into(),
            Self::Tracking => "tracking".into(),
            Self::Limited => {
                "tracking, limited: a limit of velocity, acceleration, jerk or correction acts, or the path waits for the base".into()
            }
            Self::Baseline(fault) => format!("on the baseline alone: {fault}"),
            Self::Stopped(fault) => format!("stopped: {fault}"),
        }
    }
}

impl fmt::Display for BaseVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Tracking => "tracking",
            Self::Limited => "limited",
            Self::Baseline(_) => "baseline",
            Self::Stopped(_) => "stopped",
        })
    }
}

/// What happened and what to do.
impl fmt::Display for BaseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |axis: usize| AXES.get(axis).copied().unwrap_or("?");
        match *self {
            Self::NoOdometry => {
                write!(f, "no odometry yet: is the base or the simulator running, and odom remapped to it?")
            }
            Self::OdometryStale { age, timeout } => write!(
                f,
                "the newest odometry is {age:.3} s old (odom_timeout {timeout:.3} s): the base fell silent, or its clock is behind"
            ),
            Self::OdometryAhead { ahead } => write!(
                f,
                "odometry is stamped {ahead:.3} s ahead of this node's clock: synchronise the clocks or set use_sim_time"
            ),
            Self::StateNotFinite { axis } => write!(f, "the odometry of {} is not finite", name(axis)),
            Self::TransformStale { age, tolerance } => write!(
                f,
                "where the odometry's frame lies in that of the path was last said {age:.3} s ago (transform_tolerance {tolerance:.3} s; less than 0 is ahead of this node's clock): is the localization running, by the same clock?"
            ),
            Self::AskedNotFinite { asked } => {
                write!(f, "the twist that was asked for is not finite: {asked:?}")
            }
            Self::AskedStale { age, timeout } => write!(
                f,
                "the last twist was asked for {age:.3} s ago (cmd_vel_timeout {timeout:.3} s): is the controller before this one running, and was the clock set back?"
            ),
            Self::TwistNotFinite { axis } => {
                write!(f, "the twist of {} came out not finite and was not sent", name(axis))
            }
            Self::CorrectionNotFinite { axis } => {
                write!(f, "the learned correction of {} is not finite", name(axis))
            }
            Self::LearnerLost { silence } => write!(
                f,
                "no sign of life from the learner for {silence:.1} s; restart it, or set learning to false"
            ),
            Self::ToleranceViolated { error, tolerance } => {
                write!(
                    f,
                    "the base is {error:.3} m from where it should be, above constraints.trajectory {tolerance:.3} m"
                )
            }
            Self::PathLost { error, tolerance } => write!(
                f,
                "the base is {error:.3} m from where it should be, above constraints.path {tolerance:.3} m, and gives the path up: plan one from where it is"
            ),
        }
    }
}
