//! The controller's network of `learned_control train`.

use super::{TrainArgs, finish, unless};
use crate::cli::progress::Display;
use crate::command::Mode;
use crate::dataset::Recording;
use crate::error::Error;
use crate::files;
use crate::nn::checkpoint::{self, JointRange};
use crate::robot::{Dynamics, Robot};
use crate::training::controller::{ControllerTrainingConfig, label, resume_controller};
use anyhow::{Context, Result};
use std::sync::atomic::AtomicBool;

const MODEL: &str = "controller.safetensors";
pub const SAVED: &str = "controller.training.safetensors";

/// Why no controller can be trained on these recordings, if so.
pub fn obstacle(args: &TrainArgs, command_interface: Mode, recordings: &[Recording]) -> Option<String> {
    let silent = recordings.iter().find(|recording| recording.efforts.is_none());
    if command_interface != Mode::Effort {
        return Some(format!("command_interface is {command_interface}; it is trained on efforts"));
    }
    match (&args.urdf, silent) {
        (None, _) => Some("it needs a robot description (--urdf)".into()),
        (_, Some(silent)) => Some(format!("{} has no efforts", silent.origin.display())),
        _ => None,
    }
}

/// Trains on the recordings, each at its own interval or at --dt, and writes the model.
pub fn train(
    args: &TrainArgs,
    config: &ControllerTrainingConfig,
    recordings: &[Recording],
    interrupted: &AtomicBool,
) -> Result<()> {
    let path = args.urdf.as_ref().context("no robot description")?;
    let urdf = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let robot = Robot::of_description(&urdf, &recordings[0].joints)?;
    let mut dynamics = Dynamics::for_robot(&urdf, &robot)?;
    if !config.rotor_inertia.is_empty() {
        dynamics.set_rotor_inertia(&config.rotor_inertia)?;
    }
    let dt = args.data.dt.unwrap_or(recordings[0].summary.interval);
    let (mut episodes, mut states) = (Vec::new(), Vec::new());
    for recording in recordings {
        for episode in recording.effort_episodes(dt)? {
            states.extend(episode.states.iter().cloned());
            match label(&episode, &robot, &mut dynamics, config.feedforward) {
                Ok(labelled) => episodes.push(labelled),
                Err(error) => println!("{}: left out: {error}", recording.origin.display()),
            }
        }
    }
    let saved = args.out.join(SAVED);
    let start = args.saved(&saved)?;
    let mut display = Display::new(config.steps);
    let trained = resume_controller(config, &episodes, start.as_deref(), |progress, standing| {
        display.show(progress);
        files::replace(&saved, &standing.to_bytes()?)?;
        Ok(unless(interrupted))
    });
    display.end();
    let (model, report) = trained?;
    let (mut card, tensors) = model.to_checkpoint(&robot, dt)?;
    card.seed = config.seed;
    card.ranges = JointRange::of_states(&states);
    card.data = args.data.hashes()?;
    card.evaluation.insert("held_out_unexplained".into(), report.best_validation);
    card.note = format!("{:?} beside the feedforward {:?}", config.rule, config.feedforward);
    let out = args.out.join(MODEL);
    checkpoint::save(&out, &card, &tensors)?;
    let [trained, held_out] = report.episodes;
    println!(
        "{}: step {} kept, {:.1} % of the effort left unexplained, {trained} episodes, {held_out} validated on",
        out.display(),
        report.best_step,
        100.0 * report.best_validation
    );
    finish(&saved, interrupted)
}
