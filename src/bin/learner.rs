//! The learner node; see [`learned_control::ros::learner`].

use std::process::ExitCode;

fn main() -> ExitCode {
    learned_control::ros::run_node(learned_control::ros::learner::run)
}
