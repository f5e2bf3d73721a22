//! Paths in other frames than the odometry's, as Nav2 sends them: where that frame lies in theirs is what /tf and /tf_static
//! say. Without tf2_msgs in the build it is not known.

use crate::base::{BaseControllerConfig, BaseLoop, Frames, Purpose};
use crate::error::{Error, Result};
use crate::ros::planar::message_to_path;
use crate::ros::shell::Shell;
use r2r::nav_msgs::msg::Path;

type ControllerShell = Shell<BaseControllerConfig>;

/// Why a path is not followed.
pub enum Refusal {
    /// It is not known where its frame is.
    Frame(Error),
    Path(Error),
}

/// See the module.
pub struct Localization {
    transforms: Transforms,
    /// Of the path that is followed, if it is not the odometry's.
    frame: Option<String>,
}

impl Localization {
    pub fn new(shell: &mut ControllerShell) -> Result<Self> {
        Ok(Self { transforms: Transforms::new(shell)?, frame: None })
    }

    /// Follows the path of a message, which may be a goal of Nav2 that comes when the base `has_arrived` at the one before; says of
    /// what kind it is, and how long it takes.
    pub fn follow(
        &mut self,
        message: &Path,
        is_goal: bool,
        has_arrived: bool,
        control: &mut BaseLoop,
    ) -> std::result::Result<String, Refusal> {
        let config = control.config();
        let (found, odometry) = (&message.header.frame_id, &config.odom_frame_id);
        let frame = (!found.is_empty() && found != odometry).then(|| found.clone());
        if let Some(frame) = &frame
            && self.transforms.frames().find(frame, odometry).is_none()
        {
            let expected = format!(
                "'{odometry}' (parameter odom_frame_id), or one from which /tf leads there{}",
                Transforms::LACK
            );
            return Err(Refusal::Frame(Error::mismatch("frame of the path", format!("'{frame}'"), expected)));
        }
        let arrived_within = has_arrived.then_some(config.constraints.xy_goal_tolerance);
        let purpose = Purpose { sent: *control.sent(), is_goal, arrived_within };
        let (path, begin) = message_to_path(message, config, &purpose).map_err(Refusal::Path)?;
        let kind = if begin.is_some() { "trajectory" } else { "path" };
        let place = frame.as_ref().map_or(String::new(), |frame| format!(" in {frame}"));
        let description = format!("{kind} of {:.3} s{place}", crate::reference::Reference::duration(&path));
        control.follow(path, begin);
        self.frame = frame;
        self.locate(control);
        Ok(description)
    }

    /// Takes what has been said about frames, for the tick.
    pub fn update(&mut self, control: &mut BaseLoop) {
        self.transforms.take();
        self.locate(control);
    }

    fn locate(&self, control: &mut BaseLoop) {
        let Some(frame) = &self.frame else { return };
        let odometry = self.transforms.frames().find(frame, &control.config().odom_frame_id);
        odometry.into_iter().for_each(|odometry| control.locate(odometry));
    }
}

#[cfg(tf2_msgs)]
use heard::Transforms;

#[cfg(tf2_msgs)]
mod heard {
    use super::{ControllerShell, Frames, Result};
    use crate::base::Transform;
    use crate::dataset::messages::Quaternion;
    use crate::ros::convert::time_to_stamp;
    use crate::ros::shell::{Subscription, latched_qos, reliable_qos};
    use crate::state::Stamp;
    use r2r::geometry_msgs::msg::TransformStamped;
    use r2r::tf2_msgs::msg::TFMessage;

    pub struct Transforms {
        changing: Subscription<TFMessage>,
        fixed: Subscription<TFMessage>,
        frames: Frames,
    }

    impl Transforms {
        pub const LACK: &'static str = "";

        pub fn new(shell: &mut ControllerShell) -> Result<Self> {
            Ok(Self {
                changing: shell.subscribe("/tf", reliable_qos(100))?,
                fixed: shell.subscribe("/tf_static", latched_qos().keep_last(100))?,
                frames: Frames::default(),
            })
        }

        pub fn frames(&self) -> &Frames {
            &self.frames
        }

        pub fn take(&mut self) {
            while let Some(message) = self.fixed.take() {
                message.transforms.iter().for_each(|transform| self.place(transform, None));
            }
            while let Some(message) = self.changing.take() {
                for transform in &message.transforms {
                    self.place(transform, Some(time_to_stamp(&transform.header.stamp)));
                }
            }
        }

        /// What is no rotation is not taken.
        fn place(&mut self, message: &TransformStamped, stamp: Option<Stamp>) {
            let (translation, rotation) = (&message.transform.translation, &message.transform.rotation);
            let rotation = Quaternion { x: rotation.x, y: rotation.y, z: rotation.z, w: rotation.w };
            let Some(yaw) = rotation.unit_yaw() else { return };
            let transform = Transform { pose: [translation.x, translation.y, yaw], stamp };
            self.frames.place(&message.header.frame_id, &message.child_frame_id, transform);
        }
    }
}

#[cfg(not(tf2_msgs))]
#[derive(Default)]
struct Transforms(Frames);

#[cfg(not(tf2_msgs))]
impl Transforms {
    const LACK: &'static str = " (this build has no tf2_msgs, and knows none)";

    fn new(_: &mut ControllerShell) -> Result<Self> {
        Ok(Self::default())
    }

    fn frames(&self) -> &Frames {
        &self.0
    }

    fn take(&mut self) {}
}
