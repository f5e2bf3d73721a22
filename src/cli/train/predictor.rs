//! The predictor of `learned_control train`.

use super::{TrainArgs, finish, unless};
use crate::cli::progress::Display;
use crate::dataset::{Episode, Recording, gaps_told, larger_dt, larger_dt_told};
use crate::error::Error;
use crate::evaluation::prediction::usual_horizons;
use crate::files;
use crate::nn::checkpoint::{self, JointRange};
use crate::robot::Robot;
use crate::training::{TrainingConfig, longest_horizon, resume_predictor};
use anyhow::{Result, bail};
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
    let episodes = episodes(recordings, dt)?;
    check_length(args, config, recordings, &episodes, dt)?;
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

/// All of them, sampled every `dt` [s].
pub fn episodes(recordings: &[Recording], dt: f64) -> crate::Result<Vec<Episode>> {
    let episodes = recordings.iter().map(|recording| recording.episodes(dt));
    Ok(episodes.collect::<crate::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Refuses a horizon that no recording is long enough for, and says what would do; says so of one that was cut short.
fn check_length(
    args: &TrainArgs,
    config: &TrainingConfig,
    recordings: &[Recording],
    episodes: &[Episode],
    dt: f64,
) -> Result<()> {
    let (steps, most) = (config.predictor.steps, longest_horizon(config.validation, episodes));
    let longest = episodes.iter().map(|episode| episode.states.len()).max().unwrap_or(0) as f64 * dt;
    let gaps = gaps_told(recordings);
    let why = format!("the longest stretch without a gap is {longest:.1} s{gaps}");
    let whole = usual_horizons(recordings[0].space).last().copied().unwrap_or(0.0);
    if steps <= most {
        let is_cut = args.horizon.is_none() && args.config.is_none() && whole > (steps as f64 + 1.0) * dt;
        if is_cut {
            println!(
                "predicts {:.2} s ahead, not {whole} s, for {why}; choose with --horizon",
                steps as f64 * dt
            );
        }
        return Ok(());
    }
    let horizon = steps as f64 * dt;
    let larger = larger_dt(recordings, dt, |dt, episodes| {
        (horizon / dt).round() as usize <= longest_horizon(config.validation, &episodes)
    });
    let larger = larger_dt_told(larger);
    bail!(
        "a horizon of {horizon:.2} s needs more than {:.1} s without a gap, and {why}; choose --horizon up to {:.2} \
         s{larger}",
        horizon / config.validation.min(1.0 - config.validation),
        most as f64 * dt
    )
}

/// The robot of the description, or one of which no more is known than the names in the recordings.
fn robot(args: &TrainArgs, recording: &Recording) -> Result<Robot> {
    Ok(match &args.urdf {
        Some(path) => {
            let urdf = std::fs::read_to_string(path).map_err(Error::io(path))?;
            Robot::of_description(&urdf, &recording.joints)?
        }
        None => Robot { space: recording.space, ..Robot::of_joints(&recording.joints) },
    })
}
