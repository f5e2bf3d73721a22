//! The predictor of `learned_control train`.

use super::{TrainArgs, finish, unless};
use crate::cli::progress::Display;
use crate::dataset::{Episode, Recording};
use crate::error::Error;
use crate::files;
use crate::nn::checkpoint::{self, JointRange};
use crate::robot::Robot;
use crate::training::{TrainingConfig, resume_predictor};
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

const MODEL: &str = "predictor.safetensors";
pub const SAVED: &str = "predictor.training.safetensors";

/// Trains on the recordings, sampled every `dt` [s], and writes the model.
pub fn train(
    args: &TrainArgs,
    config: &TrainingConfig,
    recordings: &[Recording],
    dt: f64,
    interrupted: &AtomicBool,
) -> Result<()> {
    let robot = robot(args, &recordings[0])?;
    let episodes = recordings.iter().map(|recording| recording.episodes(dt));
    let episodes: Vec<Episode> = episodes.collect::<crate::Result<Vec<_>>>()?.into_iter().flatten().collect();
    let (out, saved) = (args.out.join(MODEL), args.out.join(SAVED));
    let start = args.saved(&saved)?;
    let mut display = Display::new(config.steps);
    let trained =
        resume_predictor(config, &robot.joints, &episodes, start.as_deref(), |progress, standing| {
            display.show(progress);
            files::replace(&saved, &standing.to_bytes()?)?;
            Ok(unless(interrupted))
        });
    display.end();
    let (model, report) = trained?;
    let evaluation = BTreeMap::from([("held_out_error".to_owned(), report.best_validation)]);
    let (mut card, tensors) = model.to_checkpoint(evaluation, "trained by learned_control train")?;
    card.describe(&robot)?;
    card.seed = config.seed;
    card.ranges = JointRange::of_states(episodes.iter().flat_map(|episode| &episode.states));
    card.data = args.data.hashes()?;
    checkpoint::save(&out, &card, &tensors)?;
    println!("{}: step {} kept, {:.1} s", out.display(), report.best_step, report.seconds);
    finish(&saved, interrupted)
}

/// The robot of the description, or one of which no more is known than the names in the recordings.
fn robot(args: &TrainArgs, recording: &Recording) -> Result<Robot> {
    Ok(match &args.urdf {
        Some(path) => {
            let urdf = std::fs::read_to_string(path).map_err(Error::io(path))?;
            Robot::from_urdf(&urdf)?.select(&recording.joints)?
        }
        None => Robot { space: recording.space, ..Robot::of_joints(&recording.joints) },
    })
}
