//! The controller node; see [`learned_control::ros::controller`].

use std::process::ExitCode;

fn main() -> ExitCode {
    learned_control::ros::run_node(learned_control::ros::controller::run)
}
