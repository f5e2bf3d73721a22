//! The simulator node of a mobile base: MuJoCo, or a kinematic base, behind the topics that a real base or Gazebo would have.
//!
//! Publishes odom, ~/ground_truth, /clock, where tf2_msgs was sourced for the build /tf, and of a base on wheels their joint_states and its
//! robot_description; takes cmd_vel. Without a twist for `cmd_vel_timeout` the base stops, as one behind diff_drive_controller does.

use crate::base::Drive;
use crate::command::{Command, Mode};
use crate::error::{Error, Result};
use crate::robot::first_non_finite;
use crate::ros::convert::stamp_to_time;
use crate::ros::parameters::Validate;
use crate::ros::planar::{TwistInput, pose_to_message, twist_to_message};
use crate::ros::shell::{Every, Shell, Subscription, latched_qos, reliable_qos, sensor_qos};
use crate::sim::{BaseConfig, BaseScenario, Plant, SimulatedBase};
use crate::state::{Stamp, State};
use r2r::Publisher;
use r2r::diagnostic_msgs::msg::DiagnosticStatus;
use r2r::nav_msgs::msg::Odometry;
use r2r::rosgraph_msgs::msg::Clock;
use r2r::sensor_msgs::msg::JointState;
use r2r::std_msgs::msg::String as Text;
use r2r::std_srvs::srv::Trigger;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Step of the node, which is that of the simulation.
const STEP: Duration = Duration::from_millis(1);
/// A loop that is later than this does not try to catch up.
const LARGEST_LAG: Duration = Duration::from_millis(50);
/// Variance of what is known to be so in the plane: height, roll and pitch.
const FLAT: f64 = 1e-9;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BaseSimulatorConfig {
    /// Odometry a second of simulated time.
    pub publish_rate: f64,
    /// Simulated seconds a second.
    pub real_time_factor: f64,
    pub base: BaseConfig,
    /// The base as it really is; may be changed at run time.
    pub scenario: BaseScenario,
    /// Age of the newest twist beyond which the base stops [s]; 0 is never.
    pub cmd_vel_timeout: f64,
    /// Take TwistStamped; false: Twist.
    pub enable_stamped_cmd_vel: bool,
    pub odom_frame_id: String,
    pub base_frame_id: String,
}

impl Default for BaseSimulatorConfig {
    fn default() -> Self {
        Self {
            publish_rate: 50.0,
            real_time_factor: 1.0,
            base: BaseConfig::default(),
            scenario: BaseScenario::default(),
            cmd_vel_timeout: 0.5,
            enable_stamped_cmd_vel: true,
            odom_frame_id: "odom".into(),
            base_frame_id: "base_link".into(),
        }
    }
}

impl Validate for BaseSimulatorConfig {
    const LIVE: &'static [&'static str] = &["scenario", "real_time_factor"];

    fn validate(&self) -> Result<()> {
        let positive = [("publish_rate", self.publish_rate), ("real_time_factor", self.real_time_factor)];
        if let Some((what, value)) =
            positive.into_iter().find(|(_, value)| !(value.is_finite() && *value > 0.0))
        {
            return Err(Error::mismatch(what, value, "a number above 0"));
        }
        if !(self.cmd_vel_timeout.is_finite() && self.cmd_vel_timeout >= 0.0) {
            return Err(Error::mismatch("cmd_vel_timeout", self.cmd_vel_timeout, "a number, 0 or above"));
        }
        self.base.check()?;
        self.scenario.check(self.base.drive)
    }
}

/// Runs the node until SIGINT or SIGTERM.
pub fn run() -> Result<()> {
    let mut shell = Shell::<BaseSimulatorConfig>::new("base_simulator")?;
    let config = shell.config();
    // a launch file gives one in any case, and it is of another base than a kinematic one
    let description = match config.base.drive {
        Drive::Differential => shell.urdf_file()?,
        Drive::Ackermann | Drive::Omnidirectional => None,
    };
    let base = SimulatedBase::new(description.as_deref(), config.base.clone(), config.scenario.clone())?;
    if let Some(description) = description {
        let robot_description = shell.publisher::<Text>("robot_description", latched_qos())?;
        robot_description.publish(&Text { data: description })?;
    }
    BaseSimulatorNode::new(shell, config, base)?.run()
}

struct BaseSimulatorNode {
    shell: Shell<BaseSimulatorConfig>,
    config: BaseSimulatorConfig,
    base: SimulatedBase,
    command: Command,
    /// When the newest twist arrived, in simulated time.
    commanded: Option<Duration>,
    twists: TwistInput,
    reset: Subscription<r2r::ServiceRequest<Trigger::Service>>,
    odometry: Publisher<Odometry>,
    /// Where the base is and how it moves, without noise.
    ground_truth: Publisher<Odometry>,
    joint_states: Publisher<JointState>,
    #[cfg(tf2_msgs)]
    transforms: Publisher<r2r::tf2_msgs::msg::TFMessage>,
    clock: Publisher<Clock>,
    /// Simulated time since the start of the node; goes on through resets.
    elapsed: Duration,
    refused: u64,
    lags: u64,
    diagnostics_due: Every,
}

impl BaseSimulatorNode {
    fn new(
        mut shell: Shell<BaseSimulatorConfig>,
        config: BaseSimulatorConfig,
        base: SimulatedBase,
    ) -> Result<Self> {
        shell.info(&match &base {
            SimulatedBase::Wheels(base) => format!("simulates a base on {:?}", base.joints()),
            SimulatedBase::Kinematic(base) => {
                format!("simulates a base with drive {:?}", base.config().drive)
            }
        });
        Ok(Self {
            command: Command::zeros(Mode::Velocity, 3),
            commanded: None,
            twists: TwistInput::new(&mut shell.node, "cmd_vel", config.enable_stamped_cmd_vel)?,
            reset: shell.service("~/reset")?,
            odometry: shell.publisher("odom", reliable_qos(1))?,
            ground_truth: shell.publisher("~/ground_truth", reliable_qos(1))?,
            joint_states: shell.publisher("joint_states", reliable_qos(1))?,
            #[cfg(tf2_msgs)]
            transforms: shell.publisher("/tf", reliable_qos(100))?,
            clock: shell.publisher("/clock", sensor_qos())?,
            elapsed: Duration::ZERO,
            refused: 0,
            lags: 0,
            diagnostics_due: Every::new(1.0),
            shell,
            config,
            base,
        })
    }

    fn run(mut self) -> Result<()> {
        let steps = (1.0 / (self.config.publish_rate * STEP.as_secs_f64())).round().max(1.0) as u32;
        let mut deadline = Instant::now();
        while !self.shell.stopped() {
            self.publish()?;
            for _ in 0..steps {
                deadline = self.wait(deadline);
                self.obey_timeout();
                self.base.step(&self.command, STEP)?;
                self.elapsed += STEP;
            }
            self.serve()?;
        }
        self.shell.info("stopped");
        Ok(())
    }

    fn publish(&mut self) -> Result<()> {
        // A robot's clock goes on when the simulation is reset.
        let stamp = stamp_to_time(Stamp::default() + self.elapsed);
        self.clock.publish(&Clock { clock: stamp.clone() })?;
        self.ground_truth.publish(&self.message(self.base.true_state(), [0.0; 4]))?;
        let BaseScenario { position_noise, yaw_noise, velocity_noise, yaw_rate_noise, .. } =
            *self.base.scenario();
        let noise = [position_noise, yaw_noise, velocity_noise, yaw_rate_noise];
        let odometry = self.message(self.base.state(), noise);
        #[cfg(tf2_msgs)]
        self.transforms.publish(&transform(&odometry))?;
        if let SimulatedBase::Wheels(base) = &self.base {
            let (position, velocity) = base.wheels();
            let mut wheels = JointState {
                name: base.joints().to_vec(),
                position: position.to_vec(),
                velocity: velocity.to_vec(),
                ..Default::default()
            };
            wheels.header.stamp = stamp;
            self.joint_states.publish(&wheels)?;
        }
        self.odometry.publish(&odometry)?;
        Ok(())
    }

    /// `state` with standard deviations of its position, yaw, velocity and yaw rate.
    fn message(&self, state: &State, [position, yaw_deviation, velocity, yaw_rate]: [f64; 4]) -> Odometry {
        let [x, y, yaw] = [0, 1, 2].map(|axis| state.position[axis]);
        let [vx, vy, wz] = [0, 1, 2].map(|axis| state.velocity[axis]);
        let mut message = Odometry::default();
        message.header.stamp = stamp_to_time(Stamp::default() + self.elapsed);
        message.header.frame_id.clone_from(&self.config.odom_frame_id);
        message.child_frame_id.clone_from(&self.config.base_frame_id);
        message.pose.pose = pose_to_message(&[x, y, yaw]);
        message.pose.covariance = diagonal(position, yaw_deviation);
        message.twist.twist = twist_to_message(&[vx, vy, wz]);
        message.twist.covariance = diagonal(velocity, yaw_rate);
        message
    }

    /// Takes twists until the next step is due; returns when that is.
    fn wait(&mut self, deadline: Instant) -> Instant {
        let deadline = deadline + STEP.div_f64(self.config.real_time_factor);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            self.shell.node.spin_once(left);
            self.take_twists();
            if left.is_zero() {
                break;
            }
        }
        let late = deadline.elapsed() > LARGEST_LAG;
        self.lags += u64::from(late);
        if late { Instant::now() } else { deadline }
    }

    fn take_twists(&mut self) {
        let Some(twist) = self.twists.newest() else { return };
        if first_non_finite(&twist).is_none() {
            self.command.values.copy_from_slice(&twist);
            self.commanded = Some(self.elapsed);
            return;
        }
        self.refused += 1;
        if self.refused == 1 {
            self.shell.warn(&format!("twist refused: {twist:?}"));
        }
    }

    fn obey_timeout(&mut self) {
        let timeout = self.config.cmd_vel_timeout;
        let age = self.commanded.map_or(0.0, |commanded| (self.elapsed - commanded).as_secs_f64());
        if timeout > 0.0 && age > timeout {
            self.command.values.fill(0.0);
        }
    }

    fn serve(&mut self) -> Result<()> {
        while let Some(request) = self.reset.take() {
            self.base.reset()?;
            self.command.values.fill(0.0);
            self.shell.info("the base is back at its initial pose");
            self.shell.respond(request, Trigger::Response { success: true, message: "reset".into() });
        }
        if let Some(config) = self.shell.changed_config() {
            self.config.real_time_factor = config.real_time_factor;
            if &config.scenario != self.base.scenario() {
                self.shell.info(&format!("the scenario is now {:?}", config.scenario));
                self.base.set_scenario(config.scenario)?;
            }
        }
        if self.diagnostics_due.is_due() {
            let values = [
                ("simulated_time_s", format!("{:.3}", self.elapsed.as_secs_f64())),
                ("refused_twists", self.refused.to_string()),
                ("lags", self.lags.to_string()),
            ];
            self.shell.diagnose("simulation", DiagnosticStatus::OK as u8, "running", &values);
        }
        Ok(())
    }
}

/// From the odometry's frame to the base.
#[cfg(tf2_msgs)]
fn transform(odometry: &Odometry) -> r2r::tf2_msgs::msg::TFMessage {
    use r2r::geometry_msgs::msg::{Transform, TransformStamped, Vector3};
    let pose = &odometry.pose.pose;
    let transform = TransformStamped {
        header: odometry.header.clone(),
        child_frame_id: odometry.child_frame_id.clone(),
        transform: Transform {
            translation: Vector3 { x: pose.position.x, y: pose.position.y, z: 0.0 },
            rotation: pose.orientation.clone(),
        },
    };
    r2r::tf2_msgs::msg::TFMessage { transforms: vec![transform] }
}

/// Covariance of x, y, z, roll, pitch, yaw, row by row, from the standard deviations in the plane.
fn diagonal(linear: f64, angular: f64) -> Vec<f64> {
    let mut covariance = vec![0.0; 36];
    for (axis, deviation) in [(0, linear), (1, linear), (5, angular)] {
        covariance[7 * axis] = deviation.powi(2).max(FLAT);
    }
    [2, 3, 4].into_iter().for_each(|axis| covariance[7 * axis] = FLAT);
    covariance
}
