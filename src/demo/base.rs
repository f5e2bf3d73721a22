//! `learned_control demo-base`: a simulated base on real ROS 2 topics drives figures of eight; half way one of its wheels
//! turns out to be smaller than its driver believes.

use super::processes::Processes;
use crate::base::{BaseControllerConfig, Pose, ReferencePath};
use crate::config;
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::report::Table;
use crate::ros::convert::time_to_stamp;
use crate::ros::planar::{message_to_path, message_to_pose, pose_to_message};
use crate::ros::shell::{Subscription, drained, reliable_qos};
use crate::state::Stamp;
use crate::vector::root_mean_square;
use clap::Args;
use futures::FutureExt;
use r2r::geometry_msgs::msg::PoseStamped;
use r2r::nav_msgs::msg::{Odometry, Path};
use r2r::rcl_interfaces::msg::{Parameter, ParameterType, ParameterValue};
use r2r::rcl_interfaces::srv::SetParameters;
use r2r::{Node, Publisher, QosProfile};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The namespace of the nodes.
const NAMESPACE: &str = "base";
/// Without odometry for this long the demo gives up.
const SILENCE: Duration = Duration::from_secs(30);
const DISPLAY_PERIOD: f64 = 2.0; // s
/// Left out at the beginning and after the change, s: the base gets onto the path.
const SETTLING: f64 = 4.0;
/// How far in time the base may be from where it was last found on the path, s.
const SEARCH: f64 = 1.0;

#[derive(Args, Clone, Debug)]
pub struct DemoBaseArgs {
    /// Parameter file of all nodes
    #[arg(long, default_value = "config/base.yaml")]
    config: PathBuf,
    /// Robot description
    #[arg(long, default_value = "urdf/base.urdf")]
    urdf: PathBuf,
    /// Length of the run in simulated seconds; the wheel changes half way
    #[arg(long, default_value_t = 40.0)]
    seconds: f64,
    /// Radius of the left wheel from then on, over what the driver takes it to be
    #[arg(long, default_value_t = 0.9)]
    wheel: f64,
    /// Learn nothing: the plain law
    #[arg(long)]
    baseline: bool,
    /// Folder of the nodes' logs
    #[arg(long, default_value = "target/report")]
    output: PathBuf,
}

/// Runs the demo and prints its table; an error when a node fails or the run is interrupted.
pub fn run(args: &DemoBaseArgs) -> Result<()> {
    if !(args.seconds >= 10.0 && args.seconds <= 600.0) {
        return Err(Error::mismatch("--seconds", args.seconds, "10 to 600"));
    }
    // Read here first, so that a mistake in the file is one clear line and not a log.
    let controller: BaseControllerConfig = config::read_file(&args.config, "base_controller")?;
    let message = figure_eights(&controller, args.seconds);
    let (path, _) = message_to_path(&message, &controller, 0.0)?;
    let interrupted = crate::interrupt::flag()?;
    println!("Starting a base, which drives figures of eight at up to {} m/s.", controller.path.speed);
    let mut processes = start(args)?;
    let mut spectator = Spectator::new(path)?;
    spectator.send(&message, &mut processes, &interrupted)?;
    watch(args, &mut spectator, &mut processes, &interrupted)?;
    processes.stop();
    println!("\n{}", spectator.table(args));
    Ok(())
}

fn start(args: &DemoBaseArgs) -> Result<Processes> {
    let mut processes = Processes::new(args.output.join("logs"))?;
    let common = format!(
        "--params-file {} -r __ns:=/{NAMESPACE} -r /clock:=/{NAMESPACE}/clock",
        args.config.display()
    );
    let simulator = format!("{common} -p urdf:={}", args.urdf.display());
    processes.spawn(NAMESPACE, "base_simulator", simulator.split(' '))?;
    let controller = format!("{common} -p use_sim_time:=true -p head.enabled:={}", !args.baseline);
    processes.spawn(NAMESPACE, "base_controller", controller.split(' '))?;
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

/// Listens to the base and compares it with the path.
struct Spectator {
    node: Node,
    odometry: Subscription<Odometry>,
    paths: Publisher<Path>,
    parameters: r2r::Client<SetParameters::Service>,
    path: ReferencePath,
    begin: Option<Stamp>,
    /// Where on the path the base was last, s.
    near: f64,
    /// (seconds since the start, distance to the path [m], angle to it [rad])
    errors: Vec<(f64, f64, f64)>,
    heard: Instant,
}

impl Spectator {
    fn new(path: ReferencePath) -> Result<Self> {
        let mut node = Node::create(r2r::Context::create()?, "demo", "")?;
        let of = |name: &str| format!("/{NAMESPACE}/{name}");
        Ok(Self {
            odometry: drained(node.subscribe(&of("odom"), reliable_qos(100)))?,
            paths: node.create_publisher(&of("base_controller/reference_path"), reliable_qos(1))?,
            parameters: node
                .create_client(&of("base_simulator/set_parameters"), QosProfile::services_default())?,
            node,
            path,
            begin: None,
            near: 0.0,
            errors: Vec::new(),
            heard: Instant::now(),
        })
    }

    /// Sends the path until the base moves.
    fn send(&mut self, path: &Path, processes: &mut Processes, interrupted: &AtomicBool) -> Result<()> {
        while self.paths.get_inter_process_subscription_count()? == 0 {
            self.spin(processes, interrupted)?;
        }
        self.errors.clear();
        self.begin = None;
        Ok(self.paths.publish(path)?)
    }

    fn time(&self) -> f64 {
        self.errors.last().map_or(0.0, |(time, ..)| *time)
    }

    fn spin(&mut self, processes: &mut Processes, interrupted: &AtomicBool) -> Result<()> {
        self.node.spin_once(Duration::from_millis(5));
        processes.check()?;
        while let Some(message) = self.odometry.take() {
            self.heard = Instant::now();
            if let Some(pose) = message_to_pose(&message.pose.pose) {
                self.see(time_to_stamp(&message.header.stamp), &pose);
            }
        }
        if interrupted.load(Ordering::Acquire) {
            return Err(Error::Ros("interrupted".into()));
        }
        if self.heard.elapsed() > SILENCE {
            let problem = format!("no odometry for {SILENCE:?}; see {}", processes.logs());
            return Err(Error::Ros(problem));
        }
        Ok(())
    }

    fn see(&mut self, stamp: Stamp, pose: &Pose) {
        let time = stamp.since(*self.begin.get_or_insert(stamp));
        let found = self.path.project(pose, self.near, SEARCH);
        self.near = found.time;
        self.errors.push((time, found.error[1], found.error[2]));
    }

    /// Asks the simulator for another wheel.
    fn set_wheel(&mut self, scale: f64) -> Result<()> {
        let value = ParameterValue {
            type_: ParameterType::PARAMETER_DOUBLE_ARRAY as u8,
            double_array_value: vec![scale, 1.0],
            ..Default::default()
        };
        let request = SetParameters::Request {
            parameters: vec![Parameter { name: "scenario.wheel_scale".into(), value }],
        };
        let mut answer = Box::pin(self.parameters.request(&request)?);
        let deadline = Instant::now() + SILENCE;
        while Instant::now() < deadline {
            self.node.spin_once(Duration::from_millis(5));
            let Some(answer) = (&mut answer).now_or_never() else { continue };
            let answer = answer?;
            return match answer.results.iter().find(|result| !result.successful) {
                Some(refused) => {
                    Err(Error::Ros(format!("the simulator refused the wheel: {}", refused.reason)))
                }
                None => Ok(()),
            };
        }
        Err(Error::Ros("the simulator does not answer".into()))
    }

    /// Root mean squares of distance [m] and angle [rad] in [from, to) seconds.
    fn rms(&self, from: f64, to: f64) -> [f64; 2] {
        let within = |time: f64| from <= time && time < to;
        let errors: Vec<_> = self.errors.iter().filter(|(time, ..)| within(*time)).collect();
        let mean = |of: fn(&(f64, f64, f64)) -> f64| root_mean_square(errors.iter().map(|error| of(error)));
        [mean(|error| error.1), mean(|error| error.2)]
    }

    fn table(&self, args: &DemoBaseArgs) -> Table {
        let half = 0.5 * args.seconds;
        let mut table = Table::new(
            "Distance to the path and angle to it, rms of the odometry",
            ["", "time [s]", "cross-track [mm]", "heading [mrad]"],
        );
        let rows = [
            ("as described", SETTLING, half),
            ("left wheel of another radius", half + SETTLING, args.seconds),
        ];
        for (what, from, to) in rows {
            let [across, heading] = self.rms(from, to).map(|rms| format!("{:.1}", 1e3 * rms));
            table.row([what.to_owned(), format!("{from:.0}-{to:.0}"), across, heading]);
        }
        table
    }
}

/// Listens until the base has driven for the whole time; changes its wheel half way.
fn watch(
    args: &DemoBaseArgs,
    spectator: &mut Spectator,
    processes: &mut Processes,
    interrupted: &AtomicBool,
) -> Result<()> {
    let (mut shown, mut changed) = (0.0, false);
    let end = args.seconds.min(spectator.path.duration());
    while spectator.time() < end {
        spectator.spin(processes, interrupted)?;
        let time = spectator.time();
        if !changed && time >= 0.5 * args.seconds {
            spectator.set_wheel(args.wheel)?;
            println!(
                "  --  the left wheel has {:.2} times the radius that the driver takes it to have",
                args.wheel
            );
            changed = true;
        }
        if time >= shown + DISPLAY_PERIOD {
            shown = time;
            let [across, heading] = spectator.rms(time - DISPLAY_PERIOD, time);
            println!("{time:4.0} s  cross-track {:6.1} mm  heading {:6.1} mrad", 1e3 * across, 1e3 * heading);
        }
    }
    Ok(())
}
