//! `learned_control train predictor`: a model file from recordings.

use super::DataArgs;
use super::train_controller::{self, ControllerArgs};
use crate::error::Error;
use crate::nn::checkpoint::{self, JointRange};
use crate::robot::Robot;
use crate::training::{TrainingConfig, train_predictor};
use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct TrainArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Train the LSTM trajectory predictor on all of the recordings (the last 15 % of each choose the weights)
    Predictor(PredictorArgs),
    /// Train the controller's network on recordings with efforts
    Controller(ControllerArgs),
}

#[derive(Args, Debug)]
struct PredictorArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Robot description; the model's card then has the units of the joints and a hash to know the robot by
    #[arg(long, value_name = "FILE")]
    urdf: Option<PathBuf>,
    /// Model file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How far to predict, s
    #[arg(long, default_value_t = 0.5)]
    horizon: f64,
    /// Seed of the training
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Steps of the training
    #[arg(long)]
    steps: Option<usize>,
    /// End the training after so many seconds
    #[arg(long)]
    seconds: Option<f64>,
}

pub fn run(args: &TrainArgs) -> Result<()> {
    match &args.what {
        What::Predictor(args) => predictor(args),
        What::Controller(args) => train_controller::run(args),
    }
}

fn predictor(args: &PredictorArgs) -> Result<()> {
    let recordings = args.data.read()?;
    let joints = recordings[0].joints.clone();
    let dt = args.data.dt.unwrap_or(recordings[0].summary.interval);
    let mut episodes = Vec::new();
    for recording in &recordings {
        println!("{}: {}", recording.origin.display(), recording.summary);
        ensure!(
            recording.joints == joints,
            "{} has the joints {}, {} has {}; choose with --joints",
            recording.origin.display(),
            recording.joints.join(", "),
            recordings[0].origin.display(),
            joints.join(", ")
        );
        episodes.extend(recording.episodes(dt)?);
    }
    let robot = match &args.urdf {
        Some(path) => {
            Robot::from_urdf(&std::fs::read_to_string(path).map_err(Error::io(path))?)?.select(&joints)?
        }
        None => Robot { space: recordings[0].space, ..Robot::of_joints(&joints) },
    };
    let mut config = TrainingConfig { seed: args.seed, seconds: args.seconds, ..Default::default() };
    config.steps = args.steps.unwrap_or(config.steps);
    config.predictor.steps = (args.horizon / dt).round() as usize;
    let (model, report) = train_predictor(&config, &joints, &episodes, |progress| {
        let (step, loss, validation) = (progress.step, progress.loss, progress.validation);
        println!(
            "step {step:5}  loss {loss:8.4}  held-out error {validation:.4} of constant velocity's spread"
        );
        ControlFlow::Continue(())
    })?;
    let evaluation = BTreeMap::from([("held_out_error".to_owned(), report.best_validation)]);
    let (mut card, tensors) =
        model.to_checkpoint(evaluation, "trained by learned_control train predictor")?;
    card.describe(&robot)?;
    card.seed = args.seed;
    card.ranges = JointRange::of_states(episodes.iter().flat_map(|episode| &episode.states));
    card.data = args.data.hashes()?;
    checkpoint::save(&args.out, &card, &tensors)?;
    println!("{}: step {} kept, {:.1} s", args.out.display(), report.best_step, report.seconds);
    Ok(())
}
