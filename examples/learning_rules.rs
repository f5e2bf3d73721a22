//! The learning rules side by side, in a closed loop in one process: what is left of the baseline's tracking error,
//! rms over joints from 15 to 25 s after the start from random weights. Each seed is another reference, other noise
//! and another network.
//!
//!     cargo run --release --features sim --example learning_rules -- [SEEDS] [RULE ...] [--scenario NAME ...]

use learned_control::closed_loop::ClosedLoop;
use learned_control::config;
use learned_control::control_loop::{ControllerConfig, ReferenceConfig};
use learned_control::learner::{LearnerConfig, Rule};
use learned_control::sim::{ArmConfig, Scenario};
use std::path::Path;

const START: usize = 15; // s
const END: usize = 25; // s
const RULES: [(&str, Rule); 4] = [
    ("inverse_model", Rule::InverseModel),
    ("tracking_error", Rule::TrackingError),
    ("distal", Rule::Distal),
    ("composite", Rule::Composite),
];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seeds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let names = |name: &str| arguments.iter().any(|argument| argument == name);
    let one_rule = RULES.iter().any(|(name, _)| names(name));
    let one_scenario = scenarios().iter().any(|(name, _)| names(name));
    println!(
        "{:12} {:15} {:>8} {:>8} {:>8}   mrad by second",
        "scenario", "rule", "rms/mrad", "median", "worst"
    );
    for (scenario_name, scenario) in scenarios() {
        if one_scenario && !names(scenario_name) {
            continue;
        }
        let baseline: Vec<f64> =
            (0..seeds).map(|seed| Ok(window(&run(&scenario, None, seed)?))).collect::<anyhow::Result<_>>()?;
        print_row(scenario_name, "baseline", &baseline, &baseline, &[]);
        for (rule_name, rule) in RULES {
            if one_rule && !names(rule_name) {
                continue;
            }
            let runs: Vec<Vec<f64>> =
                (0..seeds).map(|seed| run(&scenario, Some(rule), seed)).collect::<anyhow::Result<_>>()?;
            let learned: Vec<f64> = runs.iter().map(|run| window(run)).collect();
            print_row(scenario_name, rule_name, &learned, &baseline, &runs[0]);
        }
    }
    Ok(())
}

fn scenarios() -> Vec<(&'static str, Scenario)> {
    let nominal = Scenario { position_noise: 1e-5, velocity_noise: 1e-3, ..Default::default() };
    let gain = vec![1.0, 0.7, 1.0, 0.7, 1.0, 1.0, 1.0];
    vec![
        ("nominal", nominal.clone()),
        ("payload", Scenario { payload: 1.5, ..nominal.clone() }),
        ("friction", Scenario { friction_scale: 3.0, damping_scale: 2.0, ..nominal.clone() }),
        ("gain", Scenario { gain, ..nominal.clone() }),
        ("noise", Scenario { position_noise: 1e-4, velocity_noise: 1e-2, ..nominal.clone() }),
        ("noise_payload", Scenario { payload: 1.5, position_noise: 1e-4, velocity_noise: 1e-2, ..nominal }),
    ]
}

/// Rms tracking error of each second, rad.
fn run(scenario: &Scenario, rule: Option<Rule>, seed: u64) -> anyhow::Result<Vec<f64>> {
    let urdf = include_str!("../urdf/arm.urdf");
    let mut controller: ControllerConfig = config::read_file(Path::new("config/arm.yaml"), "controller")?;
    let ReferenceConfig::MultiSine(reference) = &mut controller.reference else {
        anyhow::bail!("config/arm.yaml has no multi-sine reference");
    };
    reference.seed = 1000 + seed;
    let initial_position = reference.centre.clone();
    controller.prediction = false;
    let arm = ArmConfig { initial_position, seed: 100 + seed, ..Default::default() };
    let settings = std::env::args().find(|argument| argument.starts_with('{')).unwrap_or("{}".into());
    let settings: LearnerConfig = serde_yaml::from_str(&settings)?;
    let learner = rule.map(|rule| LearnerConfig { rule, seed, ..settings });
    let mut run = ClosedLoop::new(urdf, arm, scenario.clone(), controller, learner)?;
    Ok(run.rms_by_second(END)?)
}

fn window(rms_by_second: &[f64]) -> f64 {
    let squares: f64 = rms_by_second[START..].iter().map(|rms| rms * rms).sum();
    (squares / (END - START) as f64).sqrt()
}

fn print_row(scenario: &str, rule: &str, learned: &[f64], baseline: &[f64], first: &[f64]) {
    let mut ratios: Vec<f64> =
        learned.iter().zip(baseline).map(|(learned, baseline)| learned / baseline).collect();
    ratios.sort_by(f64::total_cmp);
    let mut errors = learned.to_vec();
    errors.sort_by(f64::total_cmp);
    let (middle, last) = (ratios.len() / 2, ratios.len() - 1);
    let course: Vec<String> = first.iter().map(|rms| format!("{:.1}", 1e3 * rms)).collect();
    println!(
        "{scenario:12} {rule:15} {:8.2} {:7.1}% {:7.1}%   {}",
        1e3 * errors[middle],
        100.0 * ratios[middle],
        100.0 * ratios[last],
        course.join(" ")
    );
}
