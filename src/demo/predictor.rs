//! Trains the demo's predictor on motion that the simulator makes faster than real time.

use crate::closed_loop::ClosedLoop;
use crate::config;
use crate::control_loop::{ControllerConfig, ReferenceConfig};
use crate::dataset::Episode;
use crate::error::{Error, Result};
use crate::nn::checkpoint::{self, JointRange};
use crate::predictor::PredictorParameters;
use crate::robot::Robot;
use crate::ros::simulator::SimulatorConfig;
use crate::state::State;
use crate::training::{TrainingConfig, train_predictor};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

/// Episodes of this length [s], each with a reference of its own; the seeds lie far from those that a user would
/// give the demo, whose reference the predictor must not have seen.
const EPISODES: u64 = 12;
const SECONDS: f64 = 30.0;
const FIRST_SEED: u64 = 1_000_000;

/// Simulates, trains, and writes the model for the robot of `urdf` to `path`.
pub fn train(urdf: &str, config: &Path, path: &Path) -> Result<()> {
    let parameters: PredictorParameters = config::read_file(config, "predictor")?;
    let episodes = (0..EPISODES)
        .map(|index| simulate(urdf, config, FIRST_SEED + index, parameters.dt))
        .collect::<Result<Vec<_>>>()?;
    let mut training = TrainingConfig::default();
    training.predictor.set_steps(parameters.steps);
    let robot = Robot::from_urdf(urdf)?;
    let steps = training.steps;
    let (model, report) = train_predictor(&training, &robot.joints, &episodes, |progress| {
        println!(
            "  step {:4} of {steps}: loss {:6.3}, error on held-out time {:3.0} % of constant velocity's",
            progress.step,
            progress.loss,
            100.0 * progress.validation
        );
        ControlFlow::Continue(())
    })?;
    println!("  trained in {:.0} s, kept step {}", report.seconds, report.best_step);
    let figures = BTreeMap::from([("validation".to_owned(), report.best_validation)]);
    let note = format!("trained on {EPISODES} simulated episodes of {SECONDS} s");
    let (mut card, tensors) = model.to_checkpoint(figures, &note)?;
    card.describe(&robot)?;
    card.seed = training.seed;
    card.ranges = JointRange::of_states(episodes.iter().flat_map(|episode| &episode.states));
    checkpoint::save(path, &card, &tensors)
}

/// The measured motion of the arm under the plain controller, sampled every `dt` [s].
fn simulate(urdf: &str, config: &Path, seed: u64, dt: f64) -> Result<Episode> {
    let mut simulator: SimulatorConfig = config::read_file(config, "simulator")?;
    let mut controller: ControllerConfig = config::read_file(config, "controller")?;
    let ReferenceConfig::MultiSine(reference) = &mut controller.reference else {
        let key = "controller.reference.kind".to_owned();
        let problem = "the demo needs multi_sine".to_owned();
        return Err(Error::Config { file: config.display().to_string(), key, problem });
    };
    reference.seed = seed;
    simulator.arm.seed = seed;
    let stride = (dt * controller.update_rate).round().max(1.0) as u64;
    let dt = stride as f64 / controller.update_rate;
    let mut run = ClosedLoop::new(urdf, simulator.arm, simulator.scenario, controller, None)?;
    let (mut states, mut ticks): (Vec<State>, u64) = (Vec::new(), 0);
    run.run(SECONDS, |tick| {
        if ticks.is_multiple_of(stride) {
            states.push(tick.measured.clone());
        }
        ticks += 1;
    })?;
    Ok(Episode::new(dt, states))
}
