//! The simulator node: MuJoCo behind the topics that a real robot or Gazebo would have.
//!
//! Publishes joint_states, /clock and robot_description, takes effort_controller/commands, or velocities or positions where
//! drives are simulated. Until the first command
//! the arm is held where it is, as Gazebo's ros2_control does. The scenario is a set of parameters that may be
//! changed while it runs.

use crate::command::{Command, Mode};
use crate::error::{Error, Result};
use crate::ros::convert::{fill_joint_state, stamp_to_time};
use crate::ros::parameters::Validate;
use crate::ros::shell::{Every, Shell, Subscription, latched_qos, reliable_qos, sensor_qos};
use crate::ros::timing::Timing;
use crate::sim::{ArmConfig, InnerLoopConfig, Plant, Scenario, SimulatedRobot};
use r2r::Publisher;
use r2r::diagnostic_msgs::msg::DiagnosticStatus;
use r2r::rosgraph_msgs::msg::Clock;
use r2r::sensor_msgs::msg::JointState;
use r2r::std_msgs::msg::{Float64MultiArray, String as Text};
use r2r::std_srvs::srv::Trigger;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// With real_time_factor 0 the simulation waits this long for the answer to each measurement, once there has been one.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(100);
/// A loop that is later than this does not try to catch up.
const LARGEST_LAG: Duration = Duration::from_millis(50);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatorConfig {
    /// Joint states a second of simulated time.
    pub publish_rate: f64,
    /// Simulated seconds a second; 0 is as fast as the controller answers.
    pub real_time_factor: f64,
    /// What the robot takes: efforts, or, with drives of its own, velocities or positions.
    pub command_interface: Mode,
    pub arm: ArmConfig,
    /// Of velocities or positions; the initial position is the arm's.
    pub drives: InnerLoopConfig,
    /// The arm as it really is; may be changed at run time.
    pub scenario: Scenario,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            publish_rate: 500.0,
            real_time_factor: 1.0,
            command_interface: Mode::Effort,
            arm: ArmConfig::default(),
            drives: InnerLoopConfig::default(),
            scenario: Scenario::default(),
        }
    }
}

impl Validate for SimulatorConfig {
    const LIVE: &'static [&'static str] = &["scenario", "real_time_factor"];

    fn validate(&self) -> Result<()> {
        if !(self.publish_rate.is_finite() && self.publish_rate > 0.0) {
            return Err(Error::mismatch("publish_rate", self.publish_rate, "a number above 0"));
        }
        if !(self.real_time_factor.is_finite() && self.real_time_factor >= 0.0) {
            return Err(Error::mismatch("real_time_factor", self.real_time_factor, "a number, 0 or above"));
        }
        // how many joints there are is known with the URDF
        self.scenario.check_values()
    }
}

/// Runs the node until SIGINT or SIGTERM.
pub fn run() -> Result<()> {
    let mut shell = Shell::<SimulatorConfig>::new("simulator")?;
    let description = shell.urdf_file()?.ok_or_else(|| {
        Error::mismatch("parameter 'urdf' of the simulator", "nothing", "the path of the robot's URDF file")
    })?;
    let config = shell.config();
    let SimulatorConfig { command_interface, arm, drives, scenario, .. } = config.clone();
    let robot = SimulatedRobot::new(&description, command_interface, arm, drives, scenario)?;
    let robot_description = shell.publisher::<Text>("robot_description", latched_qos())?;
    robot_description.publish(&Text { data: description })?;
    SimulatorNode::new(shell, config, robot)?.run()
}

struct SimulatorNode {
    shell: Shell<SimulatorConfig>,
    config: SimulatorConfig,
    robot: SimulatedRobot,
    command: Command,
    commands: Subscription<Float64MultiArray>,
    reset: Subscription<r2r::ServiceRequest<Trigger::Service>>,
    joint_states: Publisher<JointState>,
    clock: Publisher<Clock>,
    message: JointState,
    /// Simulated time since the start of the node; goes on through resets.
    elapsed: Duration,
    published: Option<Instant>,
    round_trip: Timing,
    /// Simulated time at which the robot was let go, and at which the scenario was changed last.
    commanded_at: Option<Duration>,
    changed_at: Option<Duration>,
    /// Measurements whose answer was not there for the first step after them.
    late_answers: u64,
    refused_commands: u64,
    lags: u64,
    diagnostics_due: Every,
}

impl SimulatorNode {
    fn new(
        mut shell: Shell<SimulatorConfig>,
        config: SimulatorConfig,
        robot: SimulatedRobot,
    ) -> Result<Self> {
        let joints = robot.robot().joints.clone();
        let interface = config.command_interface;
        shell.info(&format!("simulates {joints:?}, holding until the first command"));
        Ok(Self {
            command: Command::zeros(interface, joints.len()),
            commands: shell.subscribe(&interface.topic(), sensor_qos())?,
            reset: shell.service("~/reset")?,
            joint_states: shell.publisher("joint_states", reliable_qos(1))?,
            clock: shell.publisher("/clock", sensor_qos())?,
            message: JointState { name: joints, ..Default::default() },
            elapsed: Duration::ZERO,
            published: None,
            round_trip: Timing::default(),
            commanded_at: None,
            changed_at: None,
            late_answers: 0,
            refused_commands: 0,
            lags: 0,
            diagnostics_due: Every::new(1.0),
            shell,
            config,
            robot,
        })
    }

    fn run(mut self) -> Result<()> {
        let timestep = Duration::from_secs_f64(self.config.arm.timestep);
        let steps = (1.0 / (self.config.publish_rate * timestep.as_secs_f64())).round().max(1.0) as u32;
        let mut deadline = Instant::now();
        while !self.shell.stopped() {
            self.publish()?;
            for step in 0..steps {
                deadline = self.wait(deadline, timestep)?;
                if self.commanded_at.is_some() {
                    self.late_answers += u64::from(step == 0 && self.published.is_some());
                    self.robot.step(&self.command, timestep)?;
                }
                self.elapsed += timestep;
            }
            self.serve()?;
        }
        self.shell.info("stopped");
        Ok(())
    }

    fn publish(&mut self) -> Result<()> {
        let state = self.robot.state();
        fill_joint_state(state, &mut self.message);
        // A robot's clock goes on when the simulation is reset, and while the arm is held.
        let now = crate::state::Stamp::default() + self.elapsed;
        self.message.header.stamp = stamp_to_time(now);
        self.clock.publish(&Clock { clock: self.message.header.stamp.clone() })?;
        self.joint_states.publish(&self.message)?;
        self.published = Some(Instant::now());
        Ok(())
    }

    /// Takes commands until the next step is due; returns when that is.
    fn wait(&mut self, deadline: Instant, timestep: Duration) -> Result<Instant> {
        let factor = self.config.real_time_factor;
        if factor == 0.0 {
            self.wait_for_answer();
            return Ok(Instant::now());
        }
        let deadline = deadline + timestep.div_f64(factor);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            self.shell.node.spin_once(left);
            self.take_commands();
            if left.is_zero() {
                break;
            }
        }
        let late = deadline.elapsed() > LARGEST_LAG;
        self.lags += u64::from(late);
        Ok(if late { Instant::now() } else { deadline })
    }

    /// As fast as possible: goes on when the measurement has been answered, or is not going to be.
    fn wait_for_answer(&mut self) {
        let timeout = if self.commanded_at.is_some() { ANSWER_TIMEOUT } else { Duration::from_millis(1) };
        let until = Instant::now() + timeout;
        while self.published.is_some() && !self.shell.stopped() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.shell.node.spin_once(left);
            self.take_commands();
        }
    }

    fn take_commands(&mut self) {
        while let Some(message) = self.commands.take() {
            if let Some(published) = self.published.take() {
                self.round_trip.record(published.elapsed());
            }
            let fits = message.data.len() == self.command.values.len();
            if fits && message.data.iter().all(|value| value.is_finite()) {
                self.command.values.copy_from_slice(&message.data);
                self.commanded_at.get_or_insert(self.elapsed);
            } else {
                self.refuse(&message.data);
            }
        }
    }

    fn refuse(&mut self, values: &[f64]) {
        self.refused_commands += 1;
        if self.refused_commands == 1 {
            let joints = self.command.values.len();
            self.shell.warn(&format!("command refused: {values:?}; expected {joints} finite numbers"));
        }
    }

    fn serve(&mut self) -> Result<()> {
        while let Some(request) = self.reset.take() {
            self.robot.reset();
            self.shell.info("the robot is back at its initial position");
            self.shell.respond(request, Trigger::Response { success: true, message: "reset".into() });
        }
        if let Some(config) = self.shell.changed_config() {
            self.change_scenario(config);
        }
        if self.diagnostics_due.is_due() {
            self.diagnose();
        }
        Ok(())
    }

    fn change_scenario(&mut self, config: SimulatorConfig) {
        if config.scenario != self.config.scenario {
            match self.robot.set_scenario(&config.scenario) {
                Ok(()) if self.config.command_interface != Mode::Effort => self
                    .shell
                    .warn("the scenario is one of an arm that takes efforts: drives stay as they are"),
                Ok(()) => {
                    self.changed_at = Some(self.elapsed);
                    self.shell.info(&format!("the scenario is now {:?}", config.scenario));
                }
                Err(error) => self.shell.warn(&format!("scenario refused: {error}")),
            }
        }
        self.config.scenario = config.scenario;
        self.config.real_time_factor = config.real_time_factor;
    }

    fn diagnose(&mut self) {
        let round_trip = self.round_trip.percentiles();
        let time =
            |time: Option<Duration>| time.map_or(String::new(), |time| format!("{:.3}", time.as_secs_f64()));
        let values = [
            ("simulated_time_s", time(Some(self.elapsed))),
            ("commanded_at_s", time(self.commanded_at)),
            ("scenario_changed_at_s", time(self.changed_at)),
            ("late_answers", self.late_answers.to_string()),
            ("round_trip_p50_us", format!("{:.1}", round_trip.p50)),
            ("round_trip_p99_us", format!("{:.1}", round_trip.p99)),
            ("refused_commands", self.refused_commands.to_string()),
            ("lags", self.lags.to_string()),
        ];
        let message = if self.commanded_at.is_some() { "running" } else { "holding until the first command" };
        self.shell.diagnose("simulation", DiagnosticStatus::OK as u8, message, &values);
    }
}
