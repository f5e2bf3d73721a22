//! `learned_control evaluate dynamics`: how well efforts are explained by motion.

use crate::cli::{DataArgs, with_account};
use crate::evaluation::dynamics::{DynamicsConfig, Split, dynamics_report, page};
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct DynamicsArgs {
    #[command(flatten)]
    data: DataArgs,
    /// What is held out: blocks of time, the last share of each recording, each recording in turn
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["blocks"])]
    split: Vec<SplitKind>,
    /// Length of a block, s
    #[arg(long, default_value_t = 0.5)]
    block: f64,
    /// One of so many blocks is held out
    #[arg(long, default_value_t = 5)]
    every: usize,
    /// Share of each recording that is held out
    #[arg(long, default_value_t = 0.3)]
    share: f64,
    /// Seeds, one run each
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1, 2])]
    seeds: Vec<u64>,
    /// Robot description, for the baseline that knows the rigid bodies
    #[arg(long, value_name = "FILE")]
    urdf: Option<PathBuf>,
    /// Also write the figures here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write a page with plots here
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SplitKind {
    Blocks,
    Last,
    Recording,
}

pub fn run(args: &DynamicsArgs) -> Result<()> {
    let recordings = args.data.read()?;
    let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| path.display().to_string());
    let urdf = args.urdf.as_ref().map(read).transpose()?;
    let mut splits = Vec::new();
    for kind in &args.split {
        match kind {
            SplitKind::Blocks => splits.push(Split::Blocks { seconds: args.block, every: args.every }),
            SplitKind::Last => splits.push(Split::Last { share: args.share }),
            SplitKind::Recording => {
                ensure!(recordings.len() > 1, "--split recording needs two or more recordings");
                splits.extend((0..recordings.len()).map(|index| Split::Recording { index }));
            }
        }
    }
    let mut reports = Vec::new();
    for split in splits {
        let config = DynamicsConfig {
            dt: args.data.dt,
            split,
            seeds: args.seeds.clone(),
            urdf: urdf.clone(),
            ..Default::default()
        };
        let report =
            dynamics_report(&recordings, &config).map_err(|error| with_account(error, &recordings))?;
        println!("{report}\n");
        reports.push(report);
    }
    if let Some(path) = &args.json {
        crate::files::replace(path, serde_json::to_string_pretty(&reports)?.as_bytes())?;
    }
    if let Some(path) = &args.html {
        page(&reports).write(path)?;
    }
    Ok(())
}
