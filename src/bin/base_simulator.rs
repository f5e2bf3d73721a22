//! The base simulator node; see [`learned_control::ros::base_simulator`].

use std::process::ExitCode;

fn main() -> ExitCode {
    learned_control::ros::run_node(learned_control::ros::base_simulator::run)
}
