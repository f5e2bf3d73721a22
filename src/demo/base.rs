//! `learned_control demo-base`: two simulated bases side by side on real ROS 2 topics drive the same figures of eight, one
//! on the plain law and one that learns; from time to time both turn out to be other than their driver believes.

mod change;
mod record;
mod spectator;
mod summary;

use super::processes::Processes;
use crate::base::{BaseControllerConfig, Purpose, ReferencePath};
use crate::config;
use crate::error::{Error, Result};
use crate::ros::planar::{message_to_path, pose_to_message};
use change::Change;
use clap::{Args, ValueEnum};
use r2r::geometry_msgs::msg::PoseStamped;
use r2r::nav_msgs::msg::Path;
use serde::Serialize;
use spectator::{Base, Spectator};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use summary::Summary;

/// How long all nodes may take to find each other.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// A base that has not moved this long after its path was sent is sent it again.
const DEPARTURE: Duration = Duration::from_secs(3);
/// What is moving has gone this far, m.
const MOVED: f64 = 0.1;
/// Without news from a base for this long the demo gives up.
const SILENCE: Duration = Duration::from_secs(10);
const DISPLAY_PERIOD: f64 = 2.0; // s

#[derive(Args, Clone, Debug)]
pub struct DemoBaseArgs {
    /// Parameter file of all nodes
    #[arg(long, default_value = "config/base.yaml")]
    config: PathBuf,
    /// Robot description
    #[arg(long, default_value = "urdf/base.urdf")]
    urdf: PathBuf,
    /// Simulated seconds as described, and with each change
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// How the bases change, one after the other
    #[arg(long, value_enum, value_delimiter = ',', default_value = "wheel_radius,motor_lag,payload")]
    changes: Vec<Change>,
    /// What the second base learns with
    #[arg(long, value_enum, default_value_t = BaseStack::Learned)]
    controller: BaseStack,
    /// Seed of the sensors' noise and of the network
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of demo_base.json, demo_base.html and the nodes' logs
    #[arg(long, default_value = "target/report")]
    output: PathBuf,
}

impl DemoBaseArgs {
    fn phases(&self) -> impl Iterator<Item = Change> {
        std::iter::once(Change::Nominal).chain(self.changes.iter().copied())
    }
}

/// Named as the controllers of `evaluate tracking`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
enum BaseStack {
    /// The head in the tick alone
    Head,
    /// Head and backprop
    Learned,
}

/// Runs the demo and prints its tables; an error when a node fails or the run is interrupted.
pub fn run(args: &DemoBaseArgs) -> Result<()> {
    if !(args.seconds >= 10.0 && args.seconds <= 600.0) {
        return Err(Error::mismatch("--seconds", args.seconds, "10 to 600"));
    }
    std::fs::create_dir_all(&args.output).map_err(Error::io(&args.output))?;
    // Read here first, so that a mistake in the file is one clear line and not a log.
    let controller: BaseControllerConfig = config::read_file(&args.config, "base_controller")?;
    let message = figure_eights(&controller, args.seconds * args.phases().count() as f64);
    let (path, _) = message_to_path(&message, &controller, &Purpose::FROM_REST)?;
    let interrupted = crate::interrupt::flag()?;
    let learner = if args.controller == BaseStack::Learned { ", learner" } else { "" };
    println!(
        "Starting two bases: /baseline (plain law) and /learned (predictor, controller{learner}), which drive figures of eight \
         at up to {} m/s.",
        controller.path.speed
    );
    let mut spectator = Spectator::new(&path)?;
    let mut demo = Demo { args, processes: start(args)?, interrupted: &interrupted };
    demo.depart(&mut spectator, &message, &path)?;
    demo.watch(&mut spectator)?;
    demo.processes.stop();
    let summary = Summary::new(args, &spectator);
    println!("\n{}", summary.tables());
    let [figures, page] = summary.write(&args.output)?;
    println!("Figures: {}\nReport:  {}", figures.display(), page.display());
    Ok(())
}

fn start(args: &DemoBaseArgs) -> Result<Processes> {
    let mut processes = Processes::new(args.output.join("logs"))?;
    for base in Base::BOTH {
        let mut node = |name: &str, own: String| {
            let arguments = format!(
                "--params-file {} -r __ns:=/{base} -r /clock:=/{base}/clock {own}",
                args.config.display()
            );
            processes.spawn(&base.to_string(), name, arguments.split(' '))
        };
        let learned = base == Base::Learned;
        let learner = learned && args.controller == BaseStack::Learned;
        let simulated_time = "-p use_sim_time:=true";
        node("base_simulator", format!("-p urdf:={} -p base.seed:={}", args.urdf.display(), args.seed))?;
        node(
            "base_controller",
            format!(
                "{simulated_time} -p head.enabled:={learned} -p learning:={learner} -p accept_weights:={learner}"
            ),
        )?;
        if learned {
            node("base_predictor", simulated_time.to_owned())?;
        }
        if learner {
            node("base_learner", format!("{simulated_time} -p seed:={}", args.seed))?;
        }
    }
    Ok(processes)
}

/// Enough of them for `seconds`, from the origin.
fn figure_eights(controller: &BaseControllerConfig, seconds: f64) -> Path {
    const POINTS: usize = 60;
    // one is longer than 6 m
    let laps = (controller.path.speed * seconds / 6.0).ceil() as usize + 1;
    let pose = |i: usize| {
        let angle = std::f64::consts::TAU * i as f64 / POINTS as f64;
        let yaw = (1.6 * (2.0 * angle).cos()).atan2(1.5 * angle.cos());
        PoseStamped {
            pose: pose_to_message(&[1.5 * angle.sin(), 0.8 * (2.0 * angle).sin(), yaw]),
            ..Default::default()
        }
    };
    let mut path = Path { poses: (0..=laps * POINTS).map(pose).collect(), ..Default::default() };
    path.header.frame_id.clone_from(&controller.odom_frame_id);
    path
}

struct Demo<'a> {
    args: &'a DemoBaseArgs,
    processes: Processes,
    interrupted: &'a AtomicBool,
}

impl Demo<'_> {
    fn spin(&mut self, spectator: &mut Spectator) -> Result<()> {
        spectator.spin(Duration::from_millis(5))?;
        self.processes.check()?;
        match self.interrupted.load(Ordering::Acquire) {
            true => Err(Error::Ros("interrupted".into())),
            false => Ok(()),
        }
    }

    /// Waits for the nodes and sends both bases their path, until they move.
    fn depart(&mut self, spectator: &mut Spectator, message: &Path, path: &ReferencePath) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        let mut sent: [Option<Instant>; 2] = [None; 2];
        while !Base::BOTH
            .iter()
            .all(|base| sent[*base as usize].is_some() && spectator.record(*base).way() > MOVED)
        {
            self.spin(spectator)?;
            for base in Base::BOTH {
                let sent = &mut sent[base as usize];
                let is_due = sent
                    .is_none_or(|sent| sent.elapsed() > DEPARTURE && spectator.record(base).way() < MOVED);
                if is_due && spectator.is_up(base)? {
                    spectator.send(base, message, path)?;
                    *sent = Some(Instant::now());
                }
            }
            if Instant::now() > deadline {
                let problem = format!(
                    "the bases do not move {START_TIMEOUT:?} after the start; see {}",
                    self.processes.logs()
                );
                return Err(Error::Ros(problem));
            }
        }
        Ok(())
    }

    /// Listens until both bases have driven for the whole time; changes each when its time comes.
    fn watch(&mut self, spectator: &mut Spectator) -> Result<()> {
        let phases: Vec<Change> = self.args.phases().collect();
        let end = self.args.seconds * phases.len() as f64;
        let mut phase = [0; 2];
        let mut shown = 0.0;
        while Base::BOTH.iter().any(|base| spectator.record(*base).time() < end) {
            self.spin(spectator)?;
            for (base, phase) in Base::BOTH.into_iter().zip(&mut phase) {
                let due = (spectator.record(base).time() / self.args.seconds) as usize;
                if due > *phase && due < phases.len() {
                    *phase = due;
                    spectator.change(base, phases[due])?;
                    println!("  --  /{base}: {}", phases[due].label());
                }
                if spectator.record(base).cross_track.silence() > SILENCE {
                    let problem =
                        format!("no news from /{base} for {SILENCE:?}; see {}", self.processes.logs());
                    return Err(Error::Ros(problem));
                }
            }
            let time = spectator.record(Base::Learned).time();
            if time >= shown + DISPLAY_PERIOD {
                shown = time;
                println!("{}", status_line(spectator));
            }
        }
        Ok(())
    }
}

/// One line for the terminal on the last seconds.
fn status_line(spectator: &Spectator) -> String {
    let [[across, turned], [learned_across, learned_turned]] = Base::BOTH.map(|base| {
        let record = spectator.record(base);
        let to = record.time() + 1e-9;
        [&record.cross_track, &record.heading].map(|track| 1e3 * track.rms(to - DISPLAY_PERIOD, to))
    });
    format!(
        "{:4.0} s  cross-track: plain law {across:5.1} mm, learned {learned_across:5.1} mm  heading: plain law {turned:5.1} mrad, \
         learned {learned_turned:5.1} mrad",
        spectator.record(Base::Learned).time()
    )
}
