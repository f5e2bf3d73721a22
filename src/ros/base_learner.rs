//! The learner node of a mobile base: the arm's, told by the controller what the base is.

use crate::base::BaseDescription;
use crate::error::Result;
use crate::learner::LearnerConfig;
use crate::ros::learner::learn;
use crate::ros::shell::Shell;

/// Where the controller says what the base is.
const DESCRIPTION: &str = "base_controller/description";

/// Runs the node until SIGINT or SIGTERM.
pub fn run() -> Result<()> {
    let mut shell = Shell::<LearnerConfig>::new("base_learner")?;
    let Some(text) = shell.wait_for_text(DESCRIPTION)? else { return Ok(()) };
    let robot = BaseDescription::from_text(&text, DESCRIPTION)?.robot();
    // a base takes velocities on its three axes, whatever the parameters say
    let config =
        LearnerConfig { joints: Vec::new(), command_interface: robot.command_interface, ..shell.config() };
    learn(shell, config, &robot, "base_controller/learning_sample")
}
