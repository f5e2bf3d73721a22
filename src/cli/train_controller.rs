//! `learned_control train controller`: a controller's model file from recordings with efforts.

use super::DataArgs;
use crate::controller::Feedforward;
use crate::nn::checkpoint::{self, JointRange};
use crate::robot::{Dynamics, Robot};
use crate::training::controller::{ControllerTrainingConfig, TrainingRule, label, train_controller};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use std::ops::ControlFlow;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct ControllerArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Robot description; its joints are those of the recordings
    #[arg(long, value_name = "FILE")]
    urdf: PathBuf,
    /// Model file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What is learned: one robot as it was recorded, or features from which any of many is learned fast
    #[arg(long, value_enum, default_value = "inverse-model")]
    rule: RuleArg,
    /// Feedforward of the controller that will use the model
    #[arg(long, value_enum, default_value = "gravity")]
    feedforward: FeedforwardArg,
    /// Seed of the training
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Steps of the training
    #[arg(long)]
    steps: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RuleArg {
    InverseModel,
    Meta,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FeedforwardArg {
    None,
    Gravity,
    InverseDynamics,
}

pub fn run(args: &ControllerArgs) -> Result<()> {
    let urdf = std::fs::read_to_string(&args.urdf).with_context(|| args.urdf.display().to_string())?;
    let mut config = ControllerTrainingConfig { seed: args.seed, ..Default::default() };
    config.rule = match args.rule {
        RuleArg::InverseModel => TrainingRule::InverseModel,
        RuleArg::Meta => TrainingRule::Meta,
    };
    config.feedforward = match args.feedforward {
        FeedforwardArg::None => Feedforward::None,
        FeedforwardArg::Gravity => Feedforward::Gravity,
        FeedforwardArg::InverseDynamics => Feedforward::InverseDynamics,
    };
    config.steps = args.steps.unwrap_or(config.steps);
    let robot = Robot::from_urdf(&urdf)?;
    let robot = match &args.data.joints {
        Some(joints) => robot.select(joints)?,
        None => robot,
    };
    let mut dynamics = Dynamics::for_robot(&urdf, &robot)?;
    let (mut episodes, mut states) = (Vec::new(), Vec::new());
    let mut dt = args.data.dt;
    for recording in args.data.read_joints(&robot.joints)? {
        println!("{}: {}", recording.origin.display(), recording.summary);
        let dt = *dt.get_or_insert(recording.summary.interval);
        for episode in recording.effort_episodes(dt)? {
            states.extend(episode.states.iter().cloned());
            match label(&episode, &robot, &mut dynamics, config.feedforward) {
                Ok(labelled) => episodes.push(labelled),
                Err(error) => println!("left out: {error}"),
            }
        }
    }
    let (model, report) = train_controller(&config, &episodes, |progress| {
        let (step, loss, validation) = (progress.step, progress.loss, progress.validation);
        println!(
            "step {step:5}  loss {loss:8.4}  {:5.1} % of the effort left unexplained",
            100.0 * validation
        );
        ControlFlow::Continue(())
    })?;
    let (mut card, tensors) = model.to_checkpoint(&robot, dt.unwrap_or_default())?;
    card.seed = config.seed;
    card.ranges = JointRange::of_states(&states);
    card.data = args.data.hashes()?;
    card.evaluation.insert("held_out_unexplained".into(), report.best_validation);
    card.note = format!("{:?} beside the feedforward {:?}", config.rule, config.feedforward);
    checkpoint::save(&args.out, &card, &tensors)?;
    let [trained, held_out] = report.episodes;
    println!(
        "{}: step {} kept, {trained} episodes, {held_out} validated on",
        args.out.display(),
        report.best_step
    );
    Ok(())
}
