//! The base controller node; see [`learned_control::ros::base_controller`].

use std::process::ExitCode;

fn main() -> ExitCode {
    learned_control::ros::run_node(learned_control::ros::base_controller::run)
}
