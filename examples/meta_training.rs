//! What meta-trained features are worth: a robot of another payload, friction and gains moves for two seconds, a linear
//! head is solved on them about the network's own, and the rest of the episode is predicted. Beside it: features trained
//! as a plain inverse model of the same episodes, and random ones.
//!
//!     cargo run --features sim --example meta_training -- EPISODES SEEDS

use learned_control::config;
use learned_control::controller::Feedforward;
use learned_control::robot::{Dynamics, Robot};
use learned_control::sim::ArmConfig;
use learned_control::training::controller::{
    ControllerModel, ControllerTrainingConfig, Labelled, TrainingRule, label, train_controller,
};
use learned_control::training::simulated::{SimulationConfig, simulate};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

/// Ridge penalties, of which each kind of features gets the best on the episodes that its training held out.
const PENALTIES: [f64; 6] = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1e9];
const TEST_EPISODES: u64 = 20;

fn main() -> learned_control::Result<()> {
    let number = |index, default| std::env::args().nth(index).and_then(|n| n.parse().ok()).unwrap_or(default);
    let (episodes, seeds): (u64, u64) = (number(1, 60), number(2, 3));
    let start = Instant::now();
    let simulation = SimulationConfig::default();
    let training = simulated(&simulation, episodes)?;
    let testing = simulated(&SimulationConfig { seed: 1_000_000, ..simulation.clone() }, TEST_EPISODES)?;
    let simulated = (episodes + TEST_EPISODES) as f64 * (simulation.seconds + 2.0);
    let elapsed = start.elapsed().as_secs_f64();
    println!("{simulated:.0} s simulated in {elapsed:.1} s: {:.0} times real time", simulated / elapsed);
    println!(
        "unexplained share of the residual effort on {TEST_EPISODES} unseen episodes: median, mean, worst"
    );
    println!("{:6} {:>19} {:>19} {:>19}", "seed", "random", "inverse model", "meta");
    let held_out = ((training.len() as f64 * 0.15).round() as usize).max(1);
    let validation = &training[training.len() - held_out..];
    for seed in 0..seeds {
        let config = ControllerTrainingConfig { seed, ..Default::default() };
        let train = |rule| -> learned_control::Result<ControllerModel> {
            let start = Instant::now();
            let config = ControllerTrainingConfig { rule, ..config.clone() };
            // the episodes that validate are held out from every rule
            let data = if rule == TrainingRule::Meta {
                &training[..]
            } else {
                &training[..training.len() - held_out]
            };
            let (model, report) = train_controller(&config, data, |_| ControlFlow::Continue(()))?;
            eprintln!(
                "{rule:?}: step {} of {} kept, validation {:.4}, {:.1} s",
                report.best_step,
                report.progress.last().map_or(0, |last| last.step),
                report.best_validation,
                start.elapsed().as_secs_f64()
            );
            Ok(model)
        };
        let (inputs, outputs) = (training[0].features.ncols(), training[0].labels.ncols());
        let models = [
            ControllerModel::untrained(inputs, &config.hidden, outputs, seed)?,
            train(TrainingRule::InverseModel)?,
            train(TrainingRule::Meta)?,
        ];
        let mut row = format!("{seed:6}");
        for model in &models {
            let [median, mean, worst] = score(model, &config, validation, &testing)?;
            row += &format!("   {median:.3} {mean:.3} {worst:.3}");
        }
        println!("{row}");
    }
    Ok(())
}

fn simulated(config: &SimulationConfig, episodes: u64) -> learned_control::Result<Vec<Labelled>> {
    let urdf = include_str!("../urdf/arm.urdf");
    let controller = config::read_file(Path::new("config/arm.yaml"), "controller")?;
    let arm = ArmConfig::default();
    let robot = Robot::from_urdf(urdf)?;
    let mut dynamics = Dynamics::for_robot(urdf, &robot)?;
    let episode = |index| {
        let episode = simulate(urdf, &arm, &controller, config, index)?;
        label(&episode.motion, &robot, &mut dynamics, Feedforward::Gravity)
    };
    (0..episodes).map(episode).collect()
}

/// Median, mean and worst on `testing` with the penalty that is best on `validation`.
fn score(
    model: &ControllerModel,
    config: &ControllerTrainingConfig,
    validation: &[Labelled],
    testing: &[Labelled],
) -> learned_control::Result<[f64; 3]> {
    let shares = |episodes: &[Labelled], penalty: f64| -> learned_control::Result<Vec<f64>> {
        let config = ControllerTrainingConfig { penalty, ..config.clone() };
        episodes.iter().map(|episode| model.unexplained(episode, &config)).collect()
    };
    let mut best = (f64::INFINITY, PENALTIES[0]);
    for penalty in PENALTIES {
        let sum = shares(validation, penalty)?.iter().sum::<f64>();
        if sum < best.0 {
            best = (sum, penalty);
        }
    }
    let mut shares = shares(testing, best.1)?;
    shares.sort_by(f64::total_cmp);
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    Ok([shares[shares.len() / 2], mean, shares[shares.len() - 1]])
}
