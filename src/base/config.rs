//! The settings of a base's control loop.

use super::limits::TwistLimits;
use super::profile::SpeedLimits;
use super::progress::ProgressConfig;
use super::tracker::{Drive, TrackerConfig};
use super::twist::Twist;
use super::twist_head::TwistHeadConfig;
use crate::control_loop::{Assistance, NetworkSettings};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Settings of the controller of a base.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BaseControllerConfig {
    /// Ticks a second.
    pub update_rate: f64,
    pub tick: BaseTickTrigger,
    pub drive: Drive,
    pub tracker: TrackerConfig,
    /// Of paths without stamps.
    pub path: SpeedLimits,
    pub limits: TwistLimits,
    /// Learns in the tick.
    pub head: TwistHeadConfig,
    /// With `accept_weights`: take a learner's weights, and expect it to be alive.
    pub learning: bool,
    /// Let weights from a learner, or those kept from it, act.
    pub accept_weights: bool,
    /// Time in which new weights take over [s].
    pub fade_time: f64,
    /// Silence of the learner beyond which the controller falls back to the baseline [s].
    pub learner_timeout: f64,
    /// What a head has learned, to start with; empty: none. With a head only.
    pub model_file: String,
    /// A network to start with, as a learner sends them; empty: none.
    pub network_file: String,
    /// Folder in which what was learned is kept, and found again after a restart; empty: it lasts as long as the node.
    pub models_folder: String,
    /// How many of them are kept, 1 or more.
    pub kept_models: usize,
    /// Largest share α of the learned correction, 0 to 1. 0 is the baseline alone.
    pub authority: f64,
    pub assistance: Assistance,
    /// Largest correction of each axis [x m/s, y m/s, theta rad/s].
    pub correction_limit: Twist,
    /// Age of the newest odometry beyond which the base is stopped [s].
    pub odom_timeout: f64,
    /// Age of the newest asked twist beyond which the base is brought to rest [s]; 0 is never.
    pub cmd_vel_timeout: f64,
    /// Age of the newest transform from the frame of a path beyond which the base is stopped [s]; 0 is never.
    pub transform_tolerance: f64,
    pub constraints: BaseConstraints,
    /// Take and send TwistStamped; false: Twist, as Nav2 does by default up to Jazzy, and ros2_control up to Iron.
    pub enable_stamped_cmd_vel: bool,
    /// What is taken, where that is another type than what is sent.
    pub cmd_vel_in_type: TwistType,
    /// Name of the action FollowPath; empty: none. `follow_path` stands in for Nav2's controller_server.
    pub follow_path_action: String,
    /// When a goal of it is given up.
    pub progress_checker: ProgressConfig,
    /// Frames of odometry and paths, and of twists.
    pub odom_frame_id: String,
    pub base_frame_id: String,
}

/// When the controller's node ticks, and what it then takes for the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseTickTrigger {
    /// At the update rate, on the newest odometry, at the time of the node's clock.
    #[default]
    Timer,
    /// Once for each message of odometry, whatever their rate, at the time of its stamp: what comes out depends on the
    /// messages alone. A twist that is asked for is of the newest odometry; before the first there is none.
    Odometry,
}

/// The type of the twists that are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TwistType {
    /// That of those that are sent.
    #[default]
    Same,
    Twist,
    TwistStamped,
}

impl TwistType {
    /// Whether it is TwistStamped, where what is sent is or is not.
    pub fn is_stamped(self, sent: bool) -> bool {
        match self {
            Self::Same => sent,
            Self::Twist => false,
            Self::TwistStamped => true,
        }
    }
}

/// Tolerances of path tracking.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BaseConstraints {
    /// Largest distance to the reference [m] before the correction is switched off; 0 is no limit.
    pub trajectory: f64,
    /// Largest distance to the reference [m] before the path is given up and the base brought to rest; 0 is no limit.
    pub path: f64,
    /// A path without stamps waits for a base that is further behind than this [m], at the latest at twice as much; 0 is
    /// never.
    pub behind: f64,
    /// How near to the end of a path, m and rad, a goal of FollowPath is reached.
    pub xy_goal_tolerance: f64,
    pub yaw_goal_tolerance: f64,
}

impl Default for BaseConstraints {
    fn default() -> Self {
        Self { trajectory: 0.5, path: 2.0, behind: 0.3, xy_goal_tolerance: 0.25, yaw_goal_tolerance: 0.25 }
    }
}

impl Default for BaseControllerConfig {
    fn default() -> Self {
        Self {
            update_rate: 50.0,
            tick: BaseTickTrigger::default(),
            drive: Drive::default(),
            tracker: TrackerConfig::default(),
            path: SpeedLimits::default(),
            limits: TwistLimits::default(),
            head: TwistHeadConfig::default(),
            learning: false,
            accept_weights: false,
            fade_time: 0.2,
            learner_timeout: 2.0,
            model_file: String::new(),
            network_file: String::new(),
            models_folder: String::new(),
            kept_models: 5,
            authority: 1.0,
            assistance: Assistance::default(),
            correction_limit: [0.2, 0.2, 0.6],
            odom_timeout: 0.3,
            cmd_vel_timeout: 0.5,
            transform_tolerance: 1.0,
            constraints: BaseConstraints::default(),
            enable_stamped_cmd_vel: true,
            cmd_vel_in_type: TwistType::default(),
            follow_path_action: "~/follow_path".into(),
            progress_checker: ProgressConfig::default(),
            odom_frame_id: "odom".into(),
            base_frame_id: "base_link".into(),
        }
    }
}

impl BaseControllerConfig {
    /// How it deals with a learner.
    pub fn network(&self) -> NetworkSettings {
        NetworkSettings {
            fade_time: self.fade_time,
            learning: self.learning,
            accept_weights: self.accept_weights,
            learner_timeout: self.learner_timeout,
        }
    }

    /// Names the first setting that makes no sense.
    pub fn check(&self) -> Result<()> {
        self.limits.check()?;
        self.tracker.check()?;
        if self.head.enabled {
            self.head.check(self.update_rate)?;
        }
        if self.kept_models == 0 {
            return Err(Error::mismatch("kept_models", 0, "1 or more"));
        }
        let positive = [
            ("update_rate", self.update_rate),
            ("odom_timeout", self.odom_timeout),
            ("learner_timeout", self.learner_timeout),
            ("path.speed", self.path.speed),
            ("path.lateral_acceleration", self.path.lateral_acceleration),
            ("path.share", self.path.share),
        ];
        if let Some((what, value)) =
            positive.into_iter().find(|(_, value)| !(value.is_finite() && *value > 0.0))
        {
            return Err(Error::mismatch(what, value, "a number above 0"));
        }
        let shares = [("authority", self.authority), ("path.share", self.path.share)];
        if let Some((what, value)) = shares.into_iter().find(|(_, value)| !(0.0..=1.0).contains(value)) {
            return Err(Error::mismatch(what, value, "0 to 1"));
        }
        let [x, y, theta] = self.correction_limit;
        let amounts = [
            ("cmd_vel_timeout", self.cmd_vel_timeout),
            ("transform_tolerance", self.transform_tolerance),
            ("fade_time", self.fade_time),
            ("constraints.trajectory", self.constraints.trajectory),
            ("constraints.path", self.constraints.path),
            ("constraints.behind", self.constraints.behind),
            ("path.smoothing", self.path.smoothing),
            ("path.rotate_to_heading_min_angle", self.path.rotate_to_heading_min_angle),
            ("progress_checker.required_movement_radius", self.progress_checker.required_movement_radius),
            ("progress_checker.required_movement_angle", self.progress_checker.required_movement_angle),
            ("progress_checker.movement_time_allowance", self.progress_checker.movement_time_allowance),
            ("constraints.xy_goal_tolerance", self.constraints.xy_goal_tolerance),
            ("constraints.yaw_goal_tolerance", self.constraints.yaw_goal_tolerance),
            ("correction_limit.x", x),
            ("correction_limit.y", y),
            ("correction_limit.theta", theta),
        ];
        match amounts.into_iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
            Some((what, value)) => Err(Error::mismatch(what, value, "a number, 0 or above")),
            None => Ok(()),
        }
    }
}
