//! The learning rules side by side, in a closed loop in one process: tracking error by second, payload after 20 s.
//!
//!     cargo run --features sim --example learning_rules

use learned_control::closed_loop::ClosedLoop;
use learned_control::config;
use learned_control::control_loop::ControllerConfig;
use learned_control::learner::{LearnerConfig, Rule};
use learned_control::sim::{ArmConfig, Scenario};
use std::path::Path;

const SECONDS: usize = 20;
const PAYLOAD: f64 = 1.5; // kg

fn main() -> learned_control::Result<()> {
    let urdf = include_str!("../urdf/arm.urdf");
    let controller: ControllerConfig = config::read_file(Path::new("config/arm.yaml"), "controller")?;
    let initial_position = vec![0.0, 0.4, 0.0, -1.4, 0.0, 1.0, 0.0]; // rad
    let arm = ArmConfig { initial_position, ..Default::default() };
    let nominal = Scenario { position_noise: 1e-5, velocity_noise: 1e-3, ..Default::default() };
    let loaded = Scenario { payload: PAYLOAD, ..nominal.clone() };
    for rule in [None, Some(Rule::InverseModel), Some(Rule::TrackingError), Some(Rule::Composite)] {
        let learner = rule.map(|rule| LearnerConfig { rule, ..Default::default() });
        let mut run = ClosedLoop::new(urdf, arm.clone(), nominal.clone(), controller.clone(), learner)?;
        let mut rms = run.rms_by_second(SECONDS)?;
        run.arm.set_scenario(loaded.clone())?;
        rms.extend(run.rms_by_second(SECONDS)?);
        let name = rule.map_or("baseline".to_owned(), |rule| format!("{rule:?}"));
        let row: Vec<String> = rms.iter().map(|rms| format!("{:.1}", 1e3 * rms)).collect();
        println!("{name:14} [mrad] {}", row.join(" "));
    }
    Ok(())
}
