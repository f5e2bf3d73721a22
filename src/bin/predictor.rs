//! The predictor node; see [`learned_control::ros::predictor`].

use std::process::ExitCode;

fn main() -> ExitCode {
    learned_control::ros::run_node(learned_control::ros::predictor::run)
}
