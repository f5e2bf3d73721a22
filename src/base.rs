//! A mobile base in the plane under control: from a path, or from the twist that another controller asks for, to the
//! twist that is sent, in one tick.
//!
//! ```text
//! path ──► baseline (Kanayama) ─┐
//!                               ├─► + α · clip(correction) ──► limits ──► cmd_vel
//! cmd_vel_in ───────────────────┘
//! ```
//!
//! What is learned comes in through [`TwistCorrection`] alone; with α = 0, or none, the twist is the baseline's, bit for
//! bit.

mod base_loop;
mod config;
mod correction;
mod description;
mod earned;
mod frames;
mod limits;
mod odometry;
mod path;
mod profile;
mod progress;
mod spline;
mod tracker;
mod turn;
mod twist;
mod twist_head;
mod twist_model;
mod verdict;

pub use base_loop::{BaseLoop, PathEnd};
pub use config::{BaseConstraints, BaseControllerConfig, BaseTickTrigger, TwistType};
pub use correction::{TwistCorrection, WantedTwist};
pub use description::BaseDescription;
pub use frames::{Frames, Transform};
pub use limits::TwistLimits;
pub use odometry::OdometryReader;
pub use path::{Projection, Purpose, ReferencePath};
pub use profile::SpeedLimits;
pub use progress::{ProgressChecker, ProgressConfig};
pub use tracker::{Drive, Tracker, TrackerConfig};
pub use twist::{Pose, Twist, base_robot, mean_yaw, pose_error, pose_of, twist_between};
pub use twist_head::{TwistHead, TwistHeadConfig};
pub use twist_model::{TwistFormat, TwistModel};
pub use verdict::{BaseFault, BaseVerdict};
