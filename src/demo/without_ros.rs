//! The arms of the demo once more without ROS, in one thread: the same plant, noise, reference, settings and events. What
//! differs in the figures is what topics, clocks and threads cost.

use crate::closed_loop::ClosedLoop;
use crate::command::Command;
use crate::config;
use crate::control_loop::ControllerConfig;
use crate::demo::DemoArgs;
use crate::demo::monitor::Arm;
use crate::demo::stack::overrides;
use crate::demo::track::Track;
use crate::error::{Error, Result};
use crate::learner::LearnerConfig;
use crate::ros::simulator::SimulatorConfig;
use crate::sim::{Plant, SimulatedRobot};
use crate::state::{Stamp, State};
use crate::vector::root_mean_square;
use std::time::Duration;

/// What happened to an arm and when, on the clock of its simulator; the moments are those of the live run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Events {
    /// Stamp of the measurement of the controller's first tick.
    pub started: Stamp,
    /// When the simulator heard a command and let the arm go.
    pub let_go: Stamp,
    /// Stamp from which on errors count.
    pub counted: Stamp,
    /// When the payload appeared.
    pub loaded: Stamp,
}

/// A run without ROS.
pub struct Replica {
    pub track: Track,
    /// When the payload appeared, in the track's time [s].
    pub change: f64,
}

/// Runs `arm` as the nodes did; gives its tracking error for `seconds` from `events.counted` on.
pub fn run(args: &DemoArgs, arm: Arm, events: Events, seconds: f64) -> Result<Replica> {
    let urdf = std::fs::read_to_string(&args.urdf).map_err(Error::io(&args.urdf))?;
    let simulator: SimulatorConfig = settings(args, arm, "simulator")?;
    // A predictor would only slow the reference down, and only when it foresees errors a hundred times as large.
    let controller =
        ControllerConfig { prediction: false, ..settings::<ControllerConfig>(args, arm, "controller")? };
    let learner = match controller.learning {
        true => Some(settings::<LearnerConfig>(args, arm, "learner")?),
        false => None,
    };
    let (timestep, rate) = (simulator.arm.timestep, controller.update_rate);
    let loaded = crate::sim::Scenario { payload: args.payload, ..simulator.scenario.clone() };
    let SimulatorConfig { command_interface, arm, drives, scenario, .. } = simulator;
    let robot = SimulatedRobot::new(&urdf, command_interface, arm, drives, scenario)?;
    let plant = SteppedRobot::new(robot, timestep, events);
    let mut run = ClosedLoop::with_plant(&urdf, plant, controller, learner)?;
    let mut track = Track::default();
    let lasts = |from: Stamp, to: Stamp| (to.since(from).max(0.0) * rate).round() / rate;
    let before = lasts(events.started, events.loaded);
    let after = (events.counted.since(events.started) + seconds - before).max(0.0);
    for part in [before, after] {
        run.run(part, |tick| {
            let Some(sample) = tick.control.sample().filter(|sample| sample.stamp >= events.counted) else {
                return;
            };
            let errors = sample.reference_position.iter().zip(&sample.position);
            track.add(sample.stamp, root_mean_square(errors.map(|(reference, q)| reference - q)));
        })?;
        run.plant.robot.set_scenario(&loaded)?;
    }
    Ok(Replica { track, change: events.loaded.since(events.counted) })
}

/// What the `node` of an `arm` is given.
fn settings<T: serde::de::DeserializeOwned>(args: &DemoArgs, arm: Arm, node: &str) -> Result<T> {
    config::read_file_with(&args.config, node, &overrides(args, arm, node))
}

/// A robot as the simulator's node steps it: held until the first command is heard, and measured after each step of the
/// simulation, so that the noise is the same.
struct SteppedRobot {
    robot: SimulatedRobot,
    timestep: Duration,
    let_go: Stamp,
    measured: State,
    truth: State,
}

impl SteppedRobot {
    fn new(robot: SimulatedRobot, timestep: f64, events: Events) -> Self {
        let mut stepped = Self {
            measured: robot.state().clone(),
            truth: robot.true_state().clone(),
            timestep: Duration::from_secs_f64(timestep),
            let_go: events.let_go,
            robot,
        };
        stepped.set_stamp(events.started);
        stepped
    }

    fn set_stamp(&mut self, stamp: Stamp) {
        self.measured.stamp = stamp;
        self.truth.stamp = stamp;
    }
}

impl Plant for SteppedRobot {
    fn state(&self) -> &State {
        &self.measured
    }

    fn true_state(&self) -> &State {
        &self.truth
    }

    fn step(&mut self, command: &Command, dt: Duration) -> Result<()> {
        let mut stamp = self.measured.stamp;
        let end = stamp + dt;
        while stamp < end {
            if stamp >= self.let_go {
                self.robot.step(command, self.timestep)?;
            }
            stamp = stamp + self.timestep;
        }
        self.measured.copy_from(self.robot.state());
        self.truth.copy_from(self.robot.true_state());
        self.set_stamp(stamp);
        Ok(())
    }
}
