//! `learned_control identify-delay`: the time from a command to its effect, from a recording with efforts.

use crate::cli::DataArgs;
use crate::learner::delay::{DelayData, DelayEstimate, estimate_delay};
use crate::robot::{Dynamics, Robot};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct IdentifyDelayArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Robot description: with it, gravity is taken out of the efforts first
    #[arg(long, value_name = "FILE")]
    urdf: Option<PathBuf>,
}

pub fn run(args: &IdentifyDelayArgs) -> Result<()> {
    if args.data.reading.commands.commands.is_some() {
        bail!(
            "--commands is for predictions; the delay is found from the efforts of the recording, which have to be those that were \
             commanded: a JointState, or columns <joint>_eff, with them"
        );
    }
    let mut doubts = Vec::new();
    for recording in args.data.read()? {
        let dt = args.data.dt.unwrap_or(recording.summary.interval);
        let mut episodes = Vec::new();
        for episode in recording.effort_episodes(dt)? {
            let split = episode.states.into_iter().map(|state| (state.position, state.velocity));
            let (position, velocity) = split.unzip();
            episodes.push(DelayData { dt, position, velocity, effort: episode.efforts });
        }
        if let Some(path) = &args.urdf {
            let urdf = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let robot = Robot::of_description(&urdf, &recording.joints)?;
            subtract_gravity(&mut episodes, Dynamics::for_robot(&urdf, &robot)?);
        }
        let origin = recording.origin.display();
        println!("{origin}: {}", recording.summary);
        let estimate = estimate_delay(&episodes).with_context(|| origin.to_string())?;
        println!("{origin}: {}", describe(&estimate));
        match estimate.doubt() {
            Some(doubt) => doubts.push(format!("{origin}: {doubt}")),
            None => {
                for node in ["controller", "learner"] {
                    println!("  {node}: {{ros__parameters: {{command_delay: {:.4}}}}}", estimate.delay);
                }
            }
        }
    }
    if !doubts.is_empty() {
        bail!("the delay cannot be told from this:\n  {}", doubts.join("\n  "));
    }
    Ok(())
}

fn subtract_gravity(episodes: &mut [DelayData], mut dynamics: Dynamics) {
    for episode in episodes {
        for (position, effort) in episode.position.iter().zip(&mut episode.effort) {
            let mut gravity = vec![0.0; effort.len()];
            dynamics.gravity(position, &mut gravity);
            effort.iter_mut().zip(gravity).for_each(|(effort, gravity)| *effort -= gravity);
        }
    }
}

fn describe(estimate: &DelayEstimate) -> String {
    let DelayEstimate { delay, deviation, explained } = estimate;
    format!(
        "delay {:.1} ms ± {:.1} ms; the efforts explain {:.0} % of the accelerations",
        1e3 * delay,
        1e3 * deviation,
        100.0 * explained
    )
}
