//! `learned_control train`: models from recordings of a robot.

mod controller;
mod predictor;

use super::DataArgs;
use crate::command::Mode;
use crate::config;
use crate::control_loop::ControllerConfig;
use crate::dataset::{self, Recording};
use crate::error::Error;
use crate::evaluation::prediction::usual_horizons;
use crate::interrupt;
use crate::predictor::{MAX_STEPS, PredictorParameters};
use crate::state::Space;
use crate::training::controller::{ControllerTrainingConfig, TrainingRule};
use crate::training::{TrainingConfig, longest_horizon};
use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Train a predictor on recordings and, where they have efforts and there is a robot description, a controller's network.
///
/// The last 15 % of each recording choose the weights. Ctrl-C keeps the best so far; --resume goes on with an interrupted
/// training as if nothing had happened.
#[derive(Args, Debug)]
pub struct TrainArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Parameter file of the nodes: joints, dt, steps and command_topic of `predictor`, settings under `training`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Robot description; a model's card then has the units of the joints and a hash to know the robot by
    #[arg(long, value_name = "FILE")]
    urdf: Option<PathBuf>,
    /// Folder to write predictor.safetensors and controller.safetensors into
    #[arg(long, value_name = "FOLDER", default_value = "models")]
    out: PathBuf,
    /// Train only this
    #[arg(long, value_enum)]
    only: Option<Model>,
    /// What the controller learns: one robot as it was recorded, or features from which any of many is learned fast
    #[arg(long, value_enum)]
    rule: Option<Rule>,
    /// How far to predict, s [default: dt times steps of the parameter file, else 0.5, of a base 5, or as much of it as the
    /// recordings are long enough for]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Model {
    Predictor,
    Controller,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rule {
    InverseModel,
    Meta,
}

/// Settings of the offline training, under `training` in a parameter file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingSettings {
    pub predictor: TrainingConfig,
    /// Its feedforward and rotor inertia are those of the parameter file's `controller`.
    pub controller: ControllerTrainingConfig,
}

pub fn run(args: &TrainArgs) -> Result<()> {
    let mut settings = TrainingSettings::default();
    let (mut parameters, mut space, mut command_interface) = (None, None, Mode::Effort);
    if let Some(path) = &args.config {
        settings = config::read_file(path, "training")?;
        let controller: ControllerConfig = config::read_file(path, "controller")?;
        settings.controller.feedforward = controller.known_feedforward();
        settings.controller.rotor_inertia = controller.rotor_inertia;
        command_interface = controller.command_interface;
        let (of_nodes, of) = PredictorParameters::of_file(path)?;
        let names_robot = of == Space::PlanarBase
            || config::has_section(path, "predictor")?
            || config::has_section(path, "controller")?;
        (parameters, space) = (Some(of_nodes), names_robot.then_some(of));
    }
    let named = parameters.as_ref().map(|parameters| parameters.joints.clone());
    let joints = args.data.reading.joints.clone().or(named.filter(|names| !names.is_empty()));
    let told = &args.data.reading.commands;
    let commands = parameters.as_ref().map_or_else(|| told.clone(), |parameters| told.or_of(parameters));
    let recordings = args.data.read_joints(joints, &commands)?;
    for recording in &recordings {
        println!("{}: {}", recording.origin.display(), recording.summary);
        ensure!(
            recording.joints == recordings[0].joints && recording.space == recordings[0].space,
            "{} has the joints {}, {} has {}; choose with --joints",
            recording.origin.display(),
            recording.joints.join(", "),
            recordings[0].origin.display(),
            recordings[0].joints.join(", ")
        );
    }
    if let Some(expected) = space.filter(|space| *space != recordings[0].space) {
        let what = |space| if space == Space::Joints { "joints" } else { "a base" };
        bail!(
            "--config {} is for {}, and the recordings are of {}: {}",
            args.config.as_deref().unwrap_or(Path::new("")).display(),
            what(expected),
            what(recordings[0].space),
            recordings[0].joints.join(", ")
        );
    }
    let dt = args.data.dt.or(parameters.as_ref().map(|parameters| parameters.dt));
    let dt = dt.unwrap_or(recordings[0].summary.interval);
    settings.choose(args, parameters.as_ref(), &recordings, dt)?;
    settings.predictor.predictor.commands = dataset::commands::common(&recordings)?;
    std::fs::create_dir_all(&args.out).map_err(Error::io(&args.out))?;
    let interrupted = interrupt::flag()?;
    if args.trains_predictor()? {
        predictor::train(args, &settings.predictor, &recordings, dt, &interrupted)?;
    }
    if args.only == Some(Model::Predictor) || interrupted.load(Ordering::Relaxed) {
        return Ok(());
    }
    match controller::obstacle(args, command_interface, &recordings) {
        None => controller::train(args, &settings.controller, &recordings, &interrupted),
        Some(obstacle) if args.only.is_some() => bail!("no controller can be trained: {obstacle}"),
        Some(obstacle) => {
            println!("no controller is trained: {obstacle}");
            Ok(())
        }
    }
}

impl TrainArgs {
    /// Whether the predictor is to be trained; with --resume only if its training was interrupted, or nothing was yet.
    fn trains_predictor(&self) -> Result<bool> {
        if self.only == Some(Model::Controller) {
            return Ok(false);
        }
        let is_saved = |name: &str| self.out.join(name).is_file();
        let is_controller_under_way = self.only.is_none() && is_saved(controller::SAVED);
        ensure!(
            !self.resume || is_saved(predictor::SAVED) || is_controller_under_way,
            "--resume: no training was interrupted in {}",
            self.out.display()
        );
        Ok(!self.resume || is_saved(predictor::SAVED))
    }

    /// Where the training of one model stood, if it is to be resumed and was interrupted.
    fn saved(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        if self.resume && self.only == Some(Model::Controller) && !path.is_file() {
            bail!("--resume: there is no {}", path.display());
        }
        let is_there = self.resume && path.is_file();
        Ok(is_there.then(|| std::fs::read(path).map_err(Error::io(path))).transpose()?)
    }
}

/// Says how to go on with a training that was interrupted; of one that was not nothing is left but the model.
fn finish(saved: &Path, interrupted: &AtomicBool) -> Result<()> {
    if interrupted.load(Ordering::Relaxed) {
        println!("interrupted; go on with --resume ({})", saved.display());
        return Ok(());
    }
    Ok(std::fs::remove_file(saved).map_err(Error::io(saved))?)
}

impl TrainingSettings {
    /// Settles what the arguments, the parameters of the predictor and the recordings say; `dt` [s] is the predictor's.
    fn choose(
        &mut self,
        args: &TrainArgs,
        parameters: Option<&PredictorParameters>,
        recordings: &[Recording],
        dt: f64,
    ) -> Result<()> {
        let Self { predictor, controller } = self;
        predictor.seed = args.seed.unwrap_or(predictor.seed);
        predictor.steps = args.steps.unwrap_or(predictor.steps);
        predictor.seconds = args.seconds.or(predictor.seconds);
        controller.seed = args.seed.unwrap_or(controller.seed);
        controller.steps = args.steps.unwrap_or(controller.steps);
        controller.rule = match args.rule {
            Some(Rule::InverseModel) => TrainingRule::InverseModel,
            Some(Rule::Meta) => TrainingRule::Meta,
            None => controller.rule,
        };
        let horizon = args.horizon.or(parameters.map(|parameters| parameters.dt * parameters.steps as f64));
        let horizon = horizon.unwrap_or_else(|| usual_horizon(recordings, dt, predictor.validation));
        let steps = (horizon / dt).round();
        ensure!(
            dt.is_nan() || dt <= 0.0 || (1.0..=MAX_STEPS as f64).contains(&steps), // a wrong dt is refused later
            "a horizon of {horizon} s is {steps} steps of {dt} s, expected 1 to {MAX_STEPS}; choose --horizon or --dt (all times \
             are in seconds)"
        );
        predictor.predictor.set_steps(steps as usize);
        predictor.predictor.space = recordings[0].space;
        Ok(())
    }
}

/// The longest of the usual times ahead that the recordings are long enough for, s; the longest of all where none is, for
/// the training to refuse.
fn usual_horizon(recordings: &[Recording], dt: f64, validation: f64) -> f64 {
    let usual = usual_horizons(recordings[0].space);
    let whole = usual.last().copied().unwrap_or(dt);
    let Ok(episodes) = predictor::episodes(recordings, dt) else { return whole };
    let most = longest_horizon(validation, &episodes);
    let is_possible = |horizon: &&f64| (1..=most).contains(&((**horizon / dt).round() as usize));
    usual.iter().rev().find(is_possible).copied().unwrap_or(whole)
}

/// Ends a training at its next validation once there was an interrupt.
fn unless(interrupted: &AtomicBool) -> ControlFlow<()> {
    match interrupted.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}
