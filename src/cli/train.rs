//! `learned_control train`: models from recordings of a robot.

use super::DataArgs;
use super::progress::Display;
use crate::config;
use crate::dataset::{Episode, Recording};
use crate::error::Error;
use crate::files;
use crate::interrupt;
use crate::nn::checkpoint::{self, JointRange};
use crate::predictor::PredictorParameters;
use crate::robot::Robot;
use crate::training::{TrainingConfig, resume_predictor};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

const PREDICTOR: &str = "predictor.safetensors";
const SAVED: &str = "predictor.training.safetensors";

/// Train a predictor on all of the recordings; the last 15 % of each choose the weights.
///
/// Ctrl-C keeps the best weights so far; --resume goes on as if nothing had happened.
#[derive(Args, Debug)]
pub struct TrainArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Parameter file of the nodes: joints, dt and steps of `predictor`, settings under `training`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Robot description; a model's card then has the units of the joints and a hash to know the robot by
    #[arg(long, value_name = "FILE")]
    urdf: Option<PathBuf>,
    /// Folder to write the models into
    #[arg(long, value_name = "FOLDER", default_value = "models")]
    out: PathBuf,
    /// How far to predict, s [default: dt times steps of the parameter file, else 0.5, of a base 5]
    #[arg(long)]
    horizon: Option<f64>,
    /// Seed of the training
    #[arg(long)]
    seed: Option<u64>,
    /// Steps of the training
    #[arg(long)]
    steps: Option<usize>,
    /// End the training after so many seconds
    #[arg(long)]
    seconds: Option<f64>,
    /// Go on with the training that was interrupted in this folder
    #[arg(long)]
    resume: bool,
}

/// Settings of the offline training, under `training` in a parameter file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingSettings {
    pub predictor: TrainingConfig,
}

pub fn run(args: &TrainArgs) -> Result<()> {
    let (mut settings, parameters) = match &args.config {
        Some(path) => (
            config::read_file::<TrainingSettings>(path, "training")?,
            Some(config::read_file::<PredictorParameters>(path, "predictor")?),
        ),
        None => Default::default(),
    };
    let named = parameters.as_ref().map(|parameters| parameters.joints.clone()).filter(|names| !names.is_empty());
    let joints = args.data.joints.clone().or(named);
    let recordings = args.data.read_joints(joints)?;
    let dt = args.data.dt.or(parameters.as_ref().map(|parameters| parameters.dt));
    let dt = dt.unwrap_or(recordings[0].summary.interval);
    let steps = match (args.horizon, &parameters) {
        (Some(horizon), _) => (horizon / dt).round() as usize,
        (None, Some(parameters)) => parameters.steps,
        (None, None) => {
            let horizon = match recordings[0].space {
                crate::state::Space::Joints => 0.5,
                crate::state::Space::PlanarBase => 5.0,
            };
            (horizon / dt).round() as usize
        }
    };
    let config = &mut settings.predictor;
    config.seed = args.seed.unwrap_or(config.seed);
    config.seconds = args.seconds.or(config.seconds);
    config.steps = args.steps.unwrap_or(config.steps);
    config.predictor.steps = steps;
    config.predictor.space = recordings[0].space;
    std::fs::create_dir_all(&args.out).map_err(Error::io(&args.out))?;
    let robot = robot(args, &recordings[0])?;
    predictor(args, &settings.predictor, &robot, &recordings, dt)
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

fn predictor(
    args: &TrainArgs,
    config: &TrainingConfig,
    robot: &Robot,
    recordings: &[Recording],
    dt: f64,
) -> Result<()> {
    let episodes = episodes(recordings, dt)?;
    let (out, saved) = (args.out.join(PREDICTOR), args.out.join(SAVED));
    let interrupted = interrupt::flag()?;
    let start = match args.resume {
        true => Some(std::fs::read(&saved).map_err(Error::io(&saved)).context("--resume")?),
        false => None,
    };
    let mut display = Display::new(config.steps);
    let trained = resume_predictor(config, &robot.joints, &episodes, start.as_deref(), |progress, standing| {
        display.show(progress);
        files::replace(&saved, &standing.to_bytes()?)?;
        Ok(match interrupted.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    });
    display.end();
    let (model, report) = trained?;
    let evaluation = BTreeMap::from([("held_out_error".to_owned(), report.best_validation)]);
    let (mut card, tensors) = model.to_checkpoint(evaluation, "trained by learned_control train")?;
    card.describe(robot)?;
    card.seed = config.seed;
    card.ranges = JointRange::of_states(episodes.iter().flat_map(|episode| &episode.states));
    card.data = args.data.hashes()?;
    checkpoint::save(&out, &card, &tensors)?;
    println!("{}: step {} kept, {:.1} s", out.display(), report.best_step, report.seconds);
    if interrupted.load(Ordering::Relaxed) {
        println!("interrupted; go on with --resume ({})", saved.display());
    } else {
        forget(&saved)?;
    }
    Ok(())
}

/// The recordings at equal steps, all of the same coordinates.
fn episodes(recordings: &[Recording], dt: f64) -> Result<Vec<Episode>> {
    let mut episodes = Vec::new();
    for recording in recordings {
        println!("{}: {}", recording.origin.display(), recording.summary);
        ensure!(
            recording.joints == recordings[0].joints && recording.space == recordings[0].space,
            "{} has the joints {}, {} has {}; choose with --joints",
            recording.origin.display(),
            recording.joints.join(", "),
            recordings[0].origin.display(),
            recordings[0].joints.join(", ")
        );
        episodes.extend(recording.episodes(dt)?);
    }
    Ok(episodes)
}

fn forget(path: &Path) -> Result<()> {
    Ok(std::fs::remove_file(path).map_err(Error::io(path))?)
}
