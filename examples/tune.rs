use learned_control::closed_loop::ClosedLoop;
use learned_control::config;
use learned_control::control_loop::ControllerConfig;
use learned_control::learner::{LearnerConfig, Rule};
use learned_control::sim::{ArmConfig, Scenario};
use std::path::Path;
fn main() -> anyhow::Result<()> {
    let urdf = std::fs::read_to_string("urdf/arm.urdf")?;
    let controller: ControllerConfig = config::read_file(Path::new("config/arm.yaml"), "controller")?;
    let arm = ArmConfig { initial_position: vec![0.0, 0.4, 0.0, -1.4, 0.0, 1.0, 0.0], ..Default::default() };
    let noise = Scenario { position_noise: 1e-5, velocity_noise: 1e-3, ..Default::default() };
    let args: Vec<String> = std::env::args().collect();
    let base: LearnerConfig = args.get(1).map(|a| serde_yaml::from_str(a)).transpose()?.unwrap_or_default();
    let mut all: Vec<Option<LearnerConfig>> = vec![None];
    for rule in [Rule::InverseModel, Rule::TrackingError, Rule::Composite] {
        all.push(Some(LearnerConfig { rule, ..base.clone() }));
    }
    for learner in all {
        let name = learner.as_ref().map_or("baseline".into(), |l| format!("{:?}", l.rule));
        let started = std::time::Instant::now();
        let mut run = ClosedLoop::new(&urdf, arm.clone(), noise.clone(), controller.clone(), learner)?;
        let mut rms = run.rms_by_second(20)?;
        run.arm.set_scenario(Scenario { payload: 1.5, ..noise.clone() })?;
        rms.extend(run.rms_by_second(20)?);
        let text: Vec<String> = rms.iter().map(|r| format!("{:.1}", r * 1e3)).collect();
        println!(
            "{name:14} {} ({:.1} s) verdict {}",
            text.join(" "),
            started.elapsed().as_secs_f64(),
            run.control.verdict()
        );
    }
    Ok(())
}
