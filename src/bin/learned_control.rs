//! The command line: everything that is not a node.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about = "Learned control for robots: demo, training, evaluation, playback")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train models on recordings
    Train(learned_control::cli::train::TrainArgs),
    /// Compare a predictor with its baselines on recordings
    Evaluate(learned_control::cli::evaluate::EvaluateArgs),
    /// Find the time from a command to its effect in recordings with efforts
    IdentifyDelay(learned_control::cli::identify_delay::IdentifyDelayArgs),
    /// Print what a model file says of itself and what is in it, or what is read of a recording
    Inspect(learned_control::cli::inspect::InspectArgs),
    /// Run controller and predictor on a recording and write what they would have sent
    Replay(learned_control::cli::replay::ReplayArgs),
    /// Record a simulated arm with random payloads, friction and gains, to train on
    #[cfg(feature = "sim")]
    Simulate(learned_control::cli::simulate::SimulateArgs),
    /// Two simulated arms on ROS 2 topics, one learns; ends with a table and a report
    #[cfg(all(feature = "ros", feature = "sim"))]
    Demo(learned_control::demo::DemoArgs),
    /// Two simulated bases on ROS 2 topics, one learns; ends with a table and a report
    #[cfg(all(feature = "ros", feature = "sim"))]
    DemoBase(learned_control::demo::base::DemoBaseArgs),
    /// Publish a recording on ROS 2 topics
    #[cfg(feature = "ros")]
    Play(learned_control::ros::play::PlayArgs),
}

fn main() -> ExitCode {
    #[cfg(feature = "ros")]
    learned_control::ros::leave_out_shared_memory();
    // What follows --ros-args belongs to ROS.
    let arguments = std::env::args_os().take_while(|argument| argument != "--ros-args");
    match run(Cli::parse_from(arguments).command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("learned_control: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    learned_control::interrupt::end_without_reader()?;
    match command {
        Command::Train(args) => learned_control::cli::train::run(&args)?,
        Command::Evaluate(args) => return learned_control::cli::evaluate::run(&args),
        Command::Replay(args) => learned_control::cli::replay::run(&args)?,
        Command::IdentifyDelay(args) => learned_control::cli::identify_delay::run(&args)?,
        Command::Inspect(args) => learned_control::cli::inspect::run(&args)?,
        #[cfg(feature = "sim")]
        Command::Simulate(args) => learned_control::cli::simulate::run(&args)?,
        #[cfg(all(feature = "ros", feature = "sim"))]
        Command::Demo(args) => learned_control::demo::run(&args)?,
        #[cfg(all(feature = "ros", feature = "sim"))]
        Command::DemoBase(args) => learned_control::demo::base::run(&args)?,
        #[cfg(feature = "ros")]
        Command::Play(args) => learned_control::ros::play::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
