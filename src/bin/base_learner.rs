//! The base learner node; see [`learned_control::ros::base_learner`].

use std::process::ExitCode;

fn main() -> ExitCode {
    learned_control::ros::run_node(learned_control::ros::base_learner::run)
}
