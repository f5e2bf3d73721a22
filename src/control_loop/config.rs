//! The settings of a control loop.

use crate::command::Mode;
use crate::control_loop::{NetworkSettings, ReferenceConfig};
use crate::controller::{Feedforward, Gains, HeadConfig, ObserverConfig};
use crate::error::{Error, Result};
use crate::learner::{LONGEST_DELAY, check_cpus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Settings of the controller. Names follow joint_trajectory_controller where it has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControllerConfig {
    /// Ticks a second.
    pub update_rate: f64,
    /// Joints that are controlled, in the order of the commands; empty: all of the robot's description. The others are taken to rest
    /// at zero.
    pub joints: Vec<String>,
    /// What the joints' drives take.
    pub command_interface: Mode,
    /// Time from a command to its effect, s: learned are commands for the motion so much later.
    pub command_delay: f64,
    /// Of efforts; a velocity's or position's is the reference's.
    pub feedforward: Feedforward,
    /// Inertia of the motors seen at the joints [kg m², or kg], in the robot's order; empty: none.
    pub rotor_inertia: Vec<f64>,
    /// Time constant with which drives that take velocities follow, s, as far as it is known.
    pub drive_lag: f64,
    /// Compensates at once what the model does not explain.
    pub observer: ObserverConfig,
    /// Learns in the tick.
    pub head: HeadConfig,
    /// One entry for each joint of the robot.
    pub gains: BTreeMap<String, Gains>,
    /// What is tracked until a trajectory arrives on ~/joint_trajectory.
    pub reference: ReferenceConfig,
    /// With `accept_weights`: take a learner's weights, and expect it to be alive.
    pub learning: bool,
    /// Let weights from a learner, or those kept from it, act.
    pub accept_weights: bool,
    /// Folder in which weights that were in use are kept across restarts; empty: none.
    pub models_folder: String,
    /// How many of them are kept, to go back to.
    pub kept_models: usize,
    /// Expect a predictor to be alive, and slow the reference down when it foresees a large tracking error.
    pub prediction: bool,
    /// Largest share α of the learned residual, 0 to 1. 0 is the baseline alone.
    pub authority: f64,
    pub assistance: Assistance,
    /// Largest residual as a share of a joint's limit of effort or velocity, or, of positions, of the way at that velocity
    /// in 0.2 s; 0 to 1.
    pub residual_limit: f64,
    /// Time in which new weights take over [s].
    pub fade_time: f64,
    /// Age of the newest joint states beyond which the controller holds [s].
    pub joint_states_timeout: f64,
    /// Silence of learner and predictor beyond which the controller falls back to the baseline [s].
    pub learner_timeout: f64,
    pub predictor_timeout: f64,
    pub constraints: Constraints,
    pub tick: TickTrigger,
    pub qos: QosConfig,
    pub realtime: RealTimeConfig,
    /// A controller's model to start with; empty: none.
    pub model_file: String,
}

/// When the controller node ticks, and what it then takes for the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TickTrigger {
    /// At the update rate, on the newest joint states, at the time of the node's clock.
    #[default]
    Timer,
    /// Once for each message of joint states, whatever their rate, at the time of its stamp: what comes out depends on
    /// the messages alone.
    JointStates,
}

/// What the middleware does when a message gets lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reliability {
    /// Nothing: the next one is newer.
    BestEffort,
    /// It is sent again.
    Reliable,
}

/// Reliability of the two topics of the loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QosConfig {
    pub joint_states: Reliability,
    /// Reliable ones are understood by subscribers of both kinds.
    pub commands: Reliability,
}

impl Default for QosConfig {
    fn default() -> Self {
        Self { joint_states: Reliability::BestEffort, commands: Reliability::Reliable }
    }
}

/// What the node asks of the operating system for the thread that ticks; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RealTimeConfig {
    /// Of SCHED_FIFO, 1 to 99, for the thread that ticks and those of the middleware that bring it joint states; 0: none.
    pub priority: u8,
    /// CPUs of the thread that ticks; empty: any.
    pub cpus: Vec<usize>,
    /// Keep all memory of the process from being swapped out or reclaimed.
    pub lock_memory: bool,
    /// Wait for joint states awake: sooner, at the price of a core.
    pub dedicated_core: bool,
}

impl RealTimeConfig {
    fn validate(&self) -> Result<()> {
        if self.priority > 99 {
            return Err(Error::mismatch("realtime.priority", self.priority, "0 to 99"));
        }
        check_cpus("realtime.cpus", &self.cpus)
    }
}

/// How much of the authority is used: the way up for a new robot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assistance {
    /// None: everything is learned, computed and reported, and the command is the baseline's.
    Shadow,
    /// Half.
    Assist,
    #[default]
    Full,
}

impl Assistance {
    /// The part of the authority that is used.
    pub fn share(self) -> f64 {
        match self {
            Self::Shadow => 0.0,
            Self::Assist => 0.5,
            Self::Full => 1.0,
        }
    }
}

/// Tolerances of tracking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Constraints {
    /// Largest tracking error of any joint [rad or m] before the learned part is switched off; 0 is no limit.
    pub trajectory: f64,
    /// Largest tracking error of any joint [rad or m] before a trajectory or the built-in motion is given up and the robot stays where
    /// it is; 0 is no limit.
    pub path: f64,
    /// Error of a joint [rad or m] at which a goal of FollowJointTrajectory is reached, unless it says otherwise; 0 is any.
    pub goal: f64,
    /// How long after its time it may be reached [s]; 0 is no limit.
    pub goal_time: f64,
    /// Error of a joint's velocity [rad/s or m/s] at which it is reached; 0 is any.
    pub stopped_velocity_tolerance: f64,
}

impl Default for Constraints {
    fn default() -> Self {
        Self { trajectory: 0.0, path: 0.5, goal: 0.0, goal_time: 0.0, stopped_velocity_tolerance: 0.0 }
    }
}

impl Default for ControllerConfig {
    fn default() -> Self {
        Self {
            update_rate: 500.0,
            joints: Vec::new(),
            command_interface: Mode::Effort,
            command_delay: 0.0,
            feedforward: Feedforward::Gravity,
            rotor_inertia: Vec::new(),
            drive_lag: 0.0,
            observer: ObserverConfig::default(),
            head: HeadConfig::default(),
            gains: BTreeMap::new(),
            reference: ReferenceConfig::default(),
            learning: false,
            accept_weights: false,
            models_folder: String::new(),
            kept_models: 5,
            prediction: false,
            authority: 1.0,
            assistance: Assistance::default(),
            residual_limit: 0.5,
            fade_time: 0.2,
            joint_states_timeout: 0.1,
            learner_timeout: 2.0,
            predictor_timeout: 0.5,
            constraints: Constraints::default(),
            tick: TickTrigger::default(),
            qos: QosConfig::default(),
            realtime: RealTimeConfig::default(),
            model_file: String::new(),
        }
    }
}

impl ControllerConfig {
    /// What a network need not learn: the feedforward, or, where the head corrects it, all that the description says.
    pub fn known_feedforward(&self) -> Feedforward {
        if self.head.enabled && self.head.rigid_body && self.command_interface == Mode::Effort {
            Feedforward::InverseDynamics
        } else {
            self.feedforward
        }
    }

    /// How it deals with a learner.
    pub fn network(&self) -> NetworkSettings {
        NetworkSettings {
            fade_time: self.fade_time,
            learning: self.learning,
            accept_weights: self.accept_weights,
            learner_timeout: self.learner_timeout,
        }
    }

    /// Checks ranges; the error names the key, what was found and what is expected.
    pub fn validate(&self) -> Result<()> {
        let positive = [
            ("update_rate", self.update_rate),
            ("joint_states_timeout", self.joint_states_timeout),
            ("learner_timeout", self.learner_timeout),
            ("predictor_timeout", self.predictor_timeout),
        ];
        for (key, value) in positive {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::mismatch(key, value, "a number above 0"));
            }
        }
        for (key, value) in [("authority", self.authority), ("residual_limit", self.residual_limit)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::mismatch(key, value, "a number from 0 to 1"));
            }
        }
        for (key, value) in [
            ("fade_time", self.fade_time),
            ("drive_lag", self.drive_lag),
            ("constraints.trajectory", self.constraints.trajectory),
            ("constraints.path", self.constraints.path),
            ("constraints.goal", self.constraints.goal),
            ("constraints.goal_time", self.constraints.goal_time),
            ("constraints.stopped_velocity_tolerance", self.constraints.stopped_velocity_tolerance),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::mismatch(key, value, "a number, 0 or above"));
            }
        }
        if !(0.0..=LONGEST_DELAY).contains(&self.command_delay) {
            return Err(Error::mismatch(
                "command_delay",
                self.command_delay,
                format!("0 to {LONGEST_DELAY} s"),
            ));
        }
        if self.kept_models == 0 {
            return Err(Error::mismatch("kept_models", 0, "1 or more"));
        }
        if let Some(value) = self.rotor_inertia.iter().find(|value| !(value.is_finite() && **value >= 0.0)) {
            return Err(Error::mismatch("rotor_inertia", value, "numbers, 0 or above"));
        }
        self.realtime.validate()?;
        self.observer.validate(self.update_rate)?;
        if self.observer.bandwidth > 0.0 && self.command_interface == Mode::Position {
            let expected =
                "0: the observer is one of efforts or velocities, and command_interface is position";
            return Err(Error::mismatch("observer.bandwidth", self.observer.bandwidth, expected));
        }
        if self.head.enabled { self.head.validate(self.update_rate) } else { Ok(()) }
    }
}
