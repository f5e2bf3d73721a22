//! The ROS 2 shell: the only module that names r2r. One file a node; everything they compute is in the core.
//!
//! Each node is one thread that spins, drains its topics and does its work ([`shell::Shell`]). tokio runs what
//! may wait (parameter services, signals) on a second thread and hands it over through channels. The controller waits for
//! joint states alone ([`direct`]); its node spins on a third.

#[cfg(any(control_msgs, nav2_msgs))]
mod action;
pub mod base_controller;
pub mod base_learner;
pub mod base_predictor;
#[cfg(feature = "sim")]
pub mod base_simulator;
mod commands;
pub(crate) mod convert;
pub mod controller;
mod direct;
mod joint_trajectory;
pub mod learner;
mod librarian;
mod localization;
mod navigation;
mod pace;
mod parameters;
pub(crate) mod planar;
pub mod play;
mod predicting;
pub mod predictor;
mod realtime;
pub(crate) mod shell;
#[cfg(feature = "sim")]
pub mod simulator;
pub mod timing;
mod transport;
mod weights;

use crate::error::Error;
pub use shell::run_node;
pub use transport::leave_out_shared_memory;

impl From<r2r::Error> for Error {
    fn from(error: r2r::Error) -> Self {
        Self::Ros(error.to_string())
    }
}
