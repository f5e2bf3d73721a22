//! `learned_control demo`: two simulated arms side by side on real ROS 2 topics, one on the plain controller and one
//! that learns; half way both pick up a payload.
//!
//! Every part is a process of its own, started as `ros2 launch` would; this module is one more node that listens.

pub mod base;
mod monitor;
mod predictor;
mod processes;
mod stack;
mod summary;
mod track;
mod without_ros;

use crate::error::{Error, Result};
use crate::learner::LearnerConfig;
use crate::nn::checkpoint;
use crate::predictor::PredictorModel;
use crate::state::Stamp;
use crate::{config, robot};
use clap::Args;
use monitor::{Arm, Monitor};
use processes::Processes;
use stack::{Stack, overrides};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use summary::Summary;
use without_ros::{Events, Replica};

/// The two arms; their names are the namespaces of their nodes.
const ARMS: [Arm; 2] = [Arm::Baseline, Arm::Learned];
/// How long all nodes may take to find each other.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Without news from an arm for this long the demo gives up.
const SILENCE: Duration = Duration::from_secs(10);
const DISPLAY_PERIOD: f64 = 2.0; // s

#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Parameter file of all nodes
    #[arg(long, default_value = "config/arm.yaml")]
    config: PathBuf,
    /// Robot description
    #[arg(long, default_value = "urdf/arm.urdf")]
    urdf: PathBuf,
    /// Length of the run in simulated seconds; the payload appears half way
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Payload that appears, in kg
    #[arg(long, default_value_t = 1.5)]
    payload: f64,
    /// What the second arm learns with
    #[arg(long, value_enum, default_value_t = Stack::Learned)]
    controller: Stack,
    /// As fast as the computer can: each measurement waits for its command, so that none comes late on a busy computer
    #[arg(long)]
    lock_step: bool,
    /// Seed of the reference motion, of the sensors' noise and of the networks
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of demo.json, demo.html, the nodes' logs and the predictor's model
    #[arg(long, default_value = "target/report")]
    output: PathBuf,
}

/// Runs the demo and prints its table; an error when a node fails or the run is interrupted.
pub fn run(args: &DemoArgs) -> Result<()> {
    check(args)?;
    std::fs::create_dir_all(&args.output).map_err(Error::io(&args.output))?;
    let interrupted = crate::interrupt::flag()?;
    let model = predictor_model(args)?;
    let learner = if args.controller.has_learner() { ", learner" } else { "" };
    println!(
        "Starting two arms: /baseline (plain controller) and /learned (predictor, controller{learner})."
    );
    let mut monitor = Monitor::new()?;
    let mut processes = start(args, &model)?;
    wait_for_start(&mut monitor, &mut processes, &interrupted)?;
    watch(args, &mut monitor, &mut processes, &interrupted)?;
    processes.stop();
    println!("The same once more without ROS.");
    let replicas = [replica(args, Arm::Baseline, &monitor)?, replica(args, Arm::Learned, &monitor)?];
    let summary = Summary::new(args, &monitor, &replicas);
    println!("\n{}", summary.tables());
    let page = summary.write(&args.output)?;
    println!("Figures: {}\nReport:  {}", args.output.join("demo.json").display(), page.display());
    Ok(())
}

fn check(args: &DemoArgs) -> Result<()> {
    if !(args.seconds >= 20.0 && args.seconds.is_finite()) {
        return Err(Error::mismatch("--seconds", args.seconds, "20 or more: learning takes some seconds"));
    }
    if !(0.0..=5.0).contains(&args.payload) {
        return Err(Error::mismatch("--payload", args.payload, "0 to 5 kg"));
    }
    Ok(())
}

/// The predictor's model for this robot, trained on simulated motion unless an earlier run has left one.
fn predictor_model(args: &DemoArgs) -> Result<PathBuf> {
    let urdf = std::fs::read_to_string(&args.urdf).map_err(Error::io(&args.urdf))?;
    let digest = robot::urdf_sha256(&urdf);
    let path = args.output.join(format!("predictor-{}.safetensors", &digest[..12]));
    // One of an earlier version of this program may have another format.
    let origin = path.display().to_string();
    let kept = checkpoint::load(&path)
        .and_then(|(card, tensors)| PredictorModel::from_checkpoint(&card, tensors, &origin));
    if kept.is_ok() {
        println!("Predictor: {} (delete it to train anew).", path.display());
    } else {
        println!("Predictor: training an LSTM on simulated motion, once for this robot.");
        predictor::train(&urdf, &args.config, &path)?;
    }
    Ok(path)
}

fn start(args: &DemoArgs, model: &Path) -> Result<Processes> {
    // Read here first, so that a mistake in the file is one clear line and not four logs.
    let _: LearnerConfig = config::read_file(&args.config, "learner")?;
    let mut processes = Processes::new(args.output.join("logs"))?;
    for arm in ARMS {
        let common = [
            format!("--params-file {}", args.config.display()),
            format!("-r __ns:=/{arm}"),
            format!("-r /clock:=/{arm}/clock"),
        ];
        let mut node = |name: &str, more: String| {
            let own = overrides(args, arm, name);
            let own = own.iter().map(|(key, value)| format!("-p {key}:={value}")).chain([more]);
            let arguments: Vec<String> = common.iter().cloned().chain(own).collect();
            processes.spawn(&arm.to_string(), name, arguments.iter().flat_map(|argument| argument.split(' ')))
        };
        let simulated_time = "-p use_sim_time:=true";
        node("simulator", format!("-p urdf:={}", args.urdf.display()))?;
        node("controller", simulated_time.to_owned())?;
        if arm == Arm::Learned {
            node("predictor", format!("{simulated_time} -p model_file:={}", model.display()))?;
        }
        if arm == Arm::Learned && args.controller.has_learner() {
            node("learner", simulated_time.to_owned())?;
        }
    }
    Ok(processes)
}

/// An arm in the same run without ROS.
fn replica(args: &DemoArgs, arm: Arm, monitor: &Monitor) -> Result<Replica> {
    let said = |status: &str, key: &str| {
        let seconds = monitor.figure(&format!("/{arm}/{status}"), key);
        let unknown = || Error::Ros(format!("/{arm} has not said its {key} on /diagnostics"));
        seconds.is_finite().then(|| Stamp::from_seconds(seconds)).ok_or_else(unknown)
    };
    let started = said("controller: control", "started_at_s")?;
    let track = monitor.track(arm);
    let counted = track.start().unwrap_or(started);
    let half_way = counted + Duration::from_secs_f64(args.seconds / 2.0);
    let events = Events {
        started,
        counted,
        let_go: said("simulator: simulation", "commanded_at_s")?,
        // a payload of 0 kg is no change
        loaded: said("simulator: simulation", "scenario_changed_at_s").unwrap_or(half_way),
    };
    without_ros::run(args, arm, events, track.time())
}

fn wait_for_start(monitor: &mut Monitor, processes: &mut Processes, interrupted: &AtomicBool) -> Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    while !ARMS.iter().all(|arm| monitor.track(*arm).time() > 0.0) {
        processes.check()?;
        if interrupted.load(Ordering::Acquire) {
            return Err(Error::Ros("interrupted".into()));
        }
        if Instant::now() > deadline {
            let problem =
                format!("the arms do not move {START_TIMEOUT:?} after the start; see {}", processes.logs());
            return Err(Error::Ros(problem));
        }
        monitor.spin(Duration::from_millis(5));
    }
    Ok(())
}

/// Listens until both arms have moved for the whole time; gives each its payload half way.
fn watch(
    args: &DemoArgs,
    monitor: &mut Monitor,
    processes: &mut Processes,
    interrupted: &AtomicBool,
) -> Result<()> {
    let mut shown = 0.0;
    let mut loaded = [false; ARMS.len()];
    while ARMS.iter().any(|arm| monitor.track(*arm).time() < args.seconds) {
        monitor.spin(Duration::from_millis(5));
        processes.check()?;
        if interrupted.load(Ordering::Acquire) {
            return Err(Error::Ros("interrupted".into()));
        }
        for (arm, loaded) in ARMS.iter().zip(&mut loaded) {
            if !*loaded && monitor.track(*arm).time() >= args.seconds / 2.0 {
                monitor.set_payload(*arm, args.payload)?;
                println!("  --  /{arm}: a payload of {} kg appears at the tool", args.payload);
                *loaded = true;
            }
            if monitor.track(*arm).silence() > SILENCE {
                let problem = format!("no news from /{arm} for {SILENCE:?}; see {}", processes.logs());
                return Err(Error::Ros(problem));
            }
        }
        let time = monitor.track(Arm::Learned).time();
        if time >= shown + DISPLAY_PERIOD {
            shown = time;
            println!("{}", monitor.status_line(DISPLAY_PERIOD));
        }
    }
    if let Some(refusal) = monitor.refused_payload() {
        return Err(Error::Ros(format!("the simulator refused the payload: {refusal}")));
    }
    Ok(())
}
