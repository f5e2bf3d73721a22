//! `learned_control simulate`: episodes of a simulated arm as recordings to train on.

use crate::config;
use crate::control_loop::ControllerConfig;
use crate::robot::Robot;
use crate::sim::ArmConfig;
use crate::training::simulated::{SimulationConfig, simulate, write};
use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Args, Debug)]
pub struct SimulateArgs {
    /// Parameter file with the controller that moves the arm; its reference is a multi_sine
    #[arg(long, value_name = "FILE", default_value = "config/arm.yaml")]
    config: PathBuf,
    /// Robot description
    #[arg(long, value_name = "FILE", default_value = "urdf/arm.urdf")]
    urdf: PathBuf,
    /// Link that carries the payload
    #[arg(long, default_value = "tool0")]
    tool: String,
    /// Episodes, each with another payload, friction, damping, gains and reference
    #[arg(long, default_value_t = 50)]
    episodes: u64,
    /// Length of each, s
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Another seed gives other episodes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder to write to; each episode becomes a rosbag2 folder (MCAP) in it
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

pub fn run(args: &SimulateArgs) -> Result<()> {
    let urdf = std::fs::read_to_string(&args.urdf).with_context(|| args.urdf.display().to_string())?;
    let controller: ControllerConfig = config::read_file(&args.config, "controller")?;
    let robot = Robot::from_urdf(&urdf)?;
    let arm = ArmConfig { tool: args.tool.clone(), ..Default::default() };
    let simulation = SimulationConfig { seed: args.seed, seconds: args.seconds, ..Default::default() };
    let start = Instant::now();
    let mut simulated = 0.0;
    for index in 0..args.episodes {
        let episode = simulate(&urdf, &arm, &controller, &simulation, index)?;
        let path = args.out.join(format!("episode_{index:04}"));
        write(&path, &robot.joints, &episode.motion)?;
        let scenario = &episode.scenario;
        println!(
            "{}: payload {:.2} kg, friction x {:.2}, damping x {:.2}, gains {:.2?}",
            path.display(),
            scenario.payload,
            scenario.friction_scale,
            scenario.damping_scale,
            scenario.gain
        );
        simulated += args.seconds + episode.reference.blend_time;
    }
    let elapsed = start.elapsed().as_secs_f64();
    println!(
        "{simulated:.0} s simulated and written in {elapsed:.1} s, {:.0} times real time",
        simulated / elapsed
    );
    Ok(())
}
