//! The base predictor node; see [`learned_control::ros::base_predictor`].

use std::process::ExitCode;

fn main() -> ExitCode {
    learned_control::ros::run_node(learned_control::ros::base_predictor::run)
}
