//! `learned_control evaluate prediction`: errors of the predictor and of its baselines on recordings.

mod dynamics;
#[cfg(feature = "sim")]
mod tracking;

use super::{DataArgs, with_account};
use crate::evaluation::prediction::{EvaluationConfig, page, prediction_report};
use anyhow::Result;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args, Debug)]
pub struct EvaluateArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Train on the first 70 % of each recording, predict the rest, compare with what needs no network
    Prediction(PredictionArgs),
    /// Explain the efforts of recordings by their motion, with time or a recording held out, beside simpler models
    Dynamics(dynamics::DynamicsArgs),
    /// Track references with a simulated arm that changes, with learning and without, beside classical controllers
    #[cfg(feature = "sim")]
    Tracking(tracking::TrackingArgs),
}

#[derive(Args, Debug)]
struct PredictionArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Times ahead, s [default: of 0.05,0.1,0.25,0.5 for joints, 0.2,1,2,5 for a base, those that the recording is long
    /// enough for]
    #[arg(long, value_delimiter = ',')]
    horizons: Vec<f64>,
    /// Seeds, each a training of its own
    #[arg(long, value_delimiter = ',', default_values_t = [0])]
    seeds: Vec<u64>,
    /// Steps of the training
    #[arg(long)]
    steps: Option<usize>,
    /// Train on the first 70 % of the time of all recordings together, in their order
    #[arg(long)]
    together: bool,
    /// Also write the figures here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write a page with plots here
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub fn run(args: &EvaluateArgs) -> Result<ExitCode> {
    match &args.what {
        What::Prediction(args) => prediction(args)?,
        What::Dynamics(args) => dynamics::run(args)?,
        #[cfg(feature = "sim")]
        What::Tracking(args) => return tracking::run(args),
    }
    Ok(ExitCode::SUCCESS)
}

fn prediction(args: &PredictionArgs) -> Result<()> {
    let mut config = EvaluationConfig {
        dt: args.data.dt,
        horizons: args.horizons.clone(),
        seeds: args.seeds.clone(),
        ..Default::default()
    };
    config.training.steps = args.steps.unwrap_or(config.training.steps);
    let mut reports = Vec::new();
    let recordings = args.data.read()?;
    let share = if args.together { recordings.len() } else { 1 };
    for recordings in recordings.chunks(share) {
        let report =
            prediction_report(recordings, &config).map_err(|error| with_account(error, recordings))?;
        println!("{report}\n");
        reports.push(report);
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&reports)?;
        crate::files::replace(path, text.as_bytes())?;
    }
    if let Some(path) = &args.html {
        page(&reports)?.write(path)?;
    }
    Ok(())
}
