//! The controller in a replay: that of an arm, or that of a base with what it is asked to do.

use super::Counts;
use super::events::Asked;
use crate::base::{BaseControllerConfig, BaseLoop, BaseVerdict, Purpose, ReferencePath, Twist, base_robot};
use crate::command::{Command, Mode};
use crate::control_loop::{ControlLoop, ControllerConfig, Verdict};
use crate::dataset::messages::{self, Pose};
use crate::error::{Error, Result};
use crate::robot::Robot;
use crate::state::{Stamp, State};
use crate::trajectory::Trajectory;

/// What a controller sends, with the loop that made it.
pub enum Sent<'a> {
    Command(&'a ControlLoop, &'a Command),
    Twist(&'a BaseLoop, &'a Twist),
}

pub(super) enum Controller {
    Arm(Box<ControlLoop>, Command),
    Base(Box<BaseLoop>, Twist),
}

impl Controller {
    /// There is no learner in a replay, and a predictor only if one `is_predicted`.
    pub fn of_arm(config: ControllerConfig, is_predicted: bool, description: &str) -> Result<Self> {
        let prediction = config.prediction && is_predicted;
        let config = ControllerConfig { learning: false, prediction, ..config };
        let control = ControlLoop::load(config, description)?;
        let command = Command::zeros(Mode::Effort, control.robot().degrees_of_freedom());
        Ok(Self::Arm(Box::new(control), command))
    }

    pub fn of_base(config: BaseControllerConfig) -> Result<Self> {
        let (control, _) = BaseLoop::load(BaseControllerConfig { learning: false, ..config })?;
        Ok(Self::Base(Box::new(control), [0.0; 3]))
    }

    pub fn robot(&self) -> Robot {
        match self {
            Self::Arm(control, _) => control.robot().clone(),
            Self::Base(..) => base_robot(),
        }
    }

    /// One tick at the time of the state. With weights that are frozen the model that is no longer needed is freed here.
    pub fn tick(&mut self, state: &State, counts: &mut Counts) {
        let (is_sent, on_baseline, is_held) = match self {
            Self::Arm(control, command) => {
                drop(control.tick(state.stamp, Some(state), command));
                let verdict = control.verdict();
                (true, matches!(verdict, Verdict::Baseline(_)), matches!(verdict, Verdict::Holding(_)))
            }
            Self::Base(control, twist) => {
                drop(control.tick(state.stamp, Some(state), twist));
                let (speaks, verdict) = (control.speaks(), control.verdict());
                (
                    speaks,
                    matches!(verdict, BaseVerdict::Baseline(_)),
                    matches!(verdict, BaseVerdict::Stopped(_)),
                )
            }
        };
        counts.ticks += usize::from(is_sent);
        counts.baseline += usize::from(is_sent && on_baseline);
        counts.holding += usize::from(is_sent && is_held);
    }

    /// Has the base do what it is asked, from the `newest` odometry on; says why if it does not.
    pub fn ask(&mut self, asked: &Asked, newest: Option<Stamp>) -> std::result::Result<(), String> {
        let Self::Base(control, _) = self else { return Ok(()) };
        match asked {
            Asked::Twist(twist) => {
                let newest = newest.ok_or("it came before the first odometry")?;
                control.ask(newest, *twist);
                Ok(())
            }
            Asked::Path(path) => follow(control, path).map_err(|error| error.to_string()),
            Asked::Undecodable(problem) => Err(problem.clone()),
        }
    }

    pub fn hear_prediction(&mut self, stamp: Stamp, prediction: &Trajectory) {
        if let Self::Arm(control, _) = self {
            control.hear_prediction(stamp, prediction);
        }
    }

    /// What the last tick sends, if anything.
    pub fn sent(&self) -> Option<Sent<'_>> {
        match self {
            Self::Arm(control, command) => control.can_command().then_some(Sent::Command(control, command)),
            Self::Base(control, twist) => control.speaks().then_some(Sent::Twist(control, twist)),
        }
    }
}

/// As a node without tf: an empty path stops the base, and one in another frame than the odometry's is refused.
fn follow(control: &mut BaseLoop, path: &messages::Path) -> Result<()> {
    let (frame, config) = (&path.header.frame_id, control.config());
    if path.poses.is_empty() {
        control.stop();
        return Ok(());
    }
    if !frame.is_empty() && *frame != config.odom_frame_id {
        let expected = format!("'{}' (odom_frame_id); tf is not replayed", config.odom_frame_id);
        return Err(Error::mismatch("frame of the path", format!("'{frame}'"), expected));
    }
    let pose = |stamped: &messages::PoseStamped| {
        let Pose { position, orientation } = stamped.pose;
        (stamped.header.stamp.into(), [position.x, position.y], orientation)
    };
    let poses: Vec<_> = path.poses.iter().map(pose).collect();
    let purpose = Purpose { sent: *control.sent(), ..Purpose::FROM_REST };
    let (path, begin) = ReferencePath::of_poses(&poses, config, &purpose)?;
    control.follow(path, begin);
    Ok(())
}
