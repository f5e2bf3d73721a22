//! The controller node: joint states in, commands out, a tick for each fresh measurement.
//!
//! A tick follows the arrival of joint states, at most `update_rate` times a second, or, with `tick: joint_states`, once
//! for each message; when none arrive, ticks go on by the clock so that the loop notices and holds. The thread that ticks
//! waits for joint states alone; all else arrives on the thread that spins the node and is looked at after a tick. Weights
//! are checked on a third.

use crate::command::{Command, Mode};
use crate::control_loop::{ControlLoop, ControllerConfig, TickTrigger, Verdict};
use crate::controller::{Head, HeadReport};
use crate::error::Result;
use crate::measurement::{JointStateReader, Rejection};
use crate::reference::Reference;
use crate::ros::convert::{fill_sample, message_to_prediction, message_to_trajectory, time_to_stamp};
use crate::ros::direct::{DirectSubscription, Waiting};
use crate::ros::joint_trajectory::JointTrajectoryInterface;
use crate::ros::librarian::{Requests, Shelf};
use crate::ros::pace::{MISSED, Pace};
use crate::ros::parameters::Validate;
use crate::ros::realtime::{keep_to_cpus, take_priority};
use crate::ros::shell::{Aside, Every, Shell, Subscription, reliable_qos, sensor_qos, with_reliability};
use crate::ros::timing::Timing;
use crate::ros::transport;
use crate::ros::weights::WeightExchange;
use crate::state::Stamp;
use r2r::diagnostic_msgs::msg::DiagnosticStatus;
use r2r::sensor_msgs::msg::JointState;
use r2r::std_msgs::msg::{Float64, Float64MultiArray};
use r2r::std_srvs::srv::{SetBool, Trigger};
use r2r::trajectory_msgs::msg::JointTrajectory;
use r2r::{Publisher, QosProfile};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// A robot that is to end is braked for so long at most, until all joints are slower than this share of their limits.
const LONGEST_BRAKING: Duration = Duration::from_secs(1);
const AT_REST: f64 = 0.01;

impl Validate for ControllerConfig {
    const LIVE: &'static [&'static str] = &["assistance", "authority", "learning"];

    fn validate(&self) -> Result<()> {
        ControllerConfig::validate(self)
    }
}

/// Runs the node until SIGINT or SIGTERM.
pub fn run() -> Result<()> {
    let mut shell = Shell::<ControllerConfig>::new("controller")?;
    let Some(description) = shell.robot_description()? else { return Ok(()) };
    let control = ControlLoop::load(shell.config(), &description)?;
    ControllerNode::new(shell, control)?.run()
}

struct ControllerNode {
    shell: Shell<ControllerConfig, Aside>,
    joint_states: DirectSubscription<JointState>,
    control: ControlLoop,
    reader: JointStateReader,
    inputs: Inputs,
    trajectories: JointTrajectoryInterface,
    outputs: Outputs,
    weights: WeightExchange,
    /// Asked for on ~/save_model and ~/rollback_model, to be answered when it is done.
    saving: Requests,
    rolling_back: Requests,
    command: Command,
    /// The parameter `learning` as last set.
    learning_parameter: bool,
    pace: Pace,
    /// Stamp of the joint states of the first tick.
    started: Option<Stamp>,
    said: Option<Verdict>,
    rejected: Option<Rejection>,
    rejections: u64,
    tick_time: Timing,
    missed_deadlines: u64,
    ticks: u64,
    /// Of the robot, noticed by the head at each joint.
    changes: Vec<u64>,
    diagnostics_due: Every,
    slow_topics_due: Every,
}

struct Inputs {
    joint_trajectory: Subscription<JointTrajectory>,
    prediction: Subscription<JointTrajectory>,
    hold: Subscription<r2r::ServiceRequest<Trigger::Service>>,
    save_model: Subscription<r2r::ServiceRequest<Trigger::Service>>,
    rollback_model: Subscription<r2r::ServiceRequest<Trigger::Service>>,
    enable_learning: Subscription<r2r::ServiceRequest<SetBool::Service>>,
}

struct Outputs {
    commands: Publisher<Float64MultiArray>,
    sample: Publisher<JointTrajectory>,
    authority: Publisher<Float64>,
    command_message: Float64MultiArray,
    sample_message: JointTrajectory,
}

impl ControllerNode {
    fn new(mut shell: Shell<ControllerConfig>, control: ControlLoop) -> Result<Self> {
        let (config, robot) = (control.config(), control.robot());
        let robot_joints = robot.degrees_of_freedom();
        let inputs = Inputs {
            joint_trajectory: shell.subscribe("~/joint_trajectory", reliable_qos(1))?,
            prediction: shell.subscribe("predictor/predicted_trajectory", sensor_qos())?,
            hold: shell.service("~/hold")?,
            save_model: shell.service("~/save_model")?,
            rollback_model: shell.service("~/rollback_model")?,
            enable_learning: shell.service("~/enable_learning")?,
        };
        let trajectories = JointTrajectoryInterface::new(&mut shell, &robot.joints)?;
        let outputs = Outputs {
            commands: shell.publisher(
                &config.command_interface.topic(),
                with_reliability(reliable_qos(1), config.qos.commands),
            )?,
            sample: shell.publisher("~/learning_sample", reliable_qos(10))?,
            authority: shell.publisher("~/authority", reliable_qos(1))?,
            command_message: Float64MultiArray::default(),
            sample_message: JointTrajectory { joint_names: robot.joints.clone(), ..Default::default() },
        };
        let weights =
            WeightExchange::new(&mut shell, "learner", "~/model_info", shelf(config), robot.clone())?;
        let ticks = match config.tick {
            TickTrigger::Timer => format!("at {} Hz", config.update_rate),
            TickTrigger::JointStates => "once for each message of joint states".into(),
        };
        shell.info(&format!("controls {:?} {ticks}", robot.joints));
        transport::warning().into_iter().for_each(|warning| shell.warn(warning));
        if let Some(card) = control.residual().card() {
            shell.info(&format!("has the model of {}, revision {}", config.model_file, card.revision));
            weights.begin_with(card, &config.model_file, "model_file")?;
        }
        let by_message = config.tick == TickTrigger::JointStates;
        let pace = Pace::new(by_message, config.update_rate, config.joint_states_timeout);
        let shell = shell.spin_aside()?;
        // What takes the priority and the CPUs over are the threads that are started afterwards: those of the middleware
        // that bring joint states shall have the priority, but not wait for a CPU that this thread may keep busy.
        let mut refused = take_priority(&config.realtime);
        let waiting = if config.realtime.dedicated_core { Waiting::Awake } else { Waiting::Asleep };
        let joint_states = shell.subscribe_direct("joint_states", joint_states_qos(config), waiting)?;
        refused.extend(keep_to_cpus("realtime.cpus", &config.realtime.cpus));
        refused.iter().for_each(|refusal| shell.warn(refusal));
        Ok(Self {
            joint_states,
            reader: JointStateReader::new(robot),
            weights,
            saving: Requests::new(shell.answers()),
            rolling_back: Requests::new(shell.answers()),
            command: Command::zeros(Mode::Effort, robot.degrees_of_freedom()),
            learning_parameter: config.learning,
            control,
            shell,
            inputs,
            trajectories,
            outputs,
            pace,
            started: None,
            said: None,
            rejected: None,
            rejections: 0,
            tick_time: Timing::default(),
            missed_deadlines: 0,
            ticks: 0,
            changes: vec![0; robot_joints],
            diagnostics_due: Every::new(1.0),
            slow_topics_due: Every::new(50.0),
        })
    }

    fn run(mut self) -> Result<()> {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.drive().and_then(|()| self.come_to_rest())));
        // whatever happened
        self.control.safe_command(&mut self.command);
        self.publish_command()?;
        self.trajectories.give_up("the controller was ended")?;
        self.weights.close();
        self.shell.info(match self.command.mode {
            _ if !self.control.can_command() => {
                "stopped; no command was sent, for it was never known where the robot is"
            }
            Mode::Effort => "stopped; the last command carries the robot's weight where it was",
            Mode::Velocity => "stopped; the last command is to stand still",
            Mode::Position => "stopped; the last command is to stay at the last position",
        });
        // The command leaves on a thread of the middleware: give it the time before the node is gone.
        std::thread::sleep(Duration::from_millis(50));
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn drive(&mut self) -> Result<()> {
        while !self.shell.stopped() {
            self.joint_states.wait(self.pace.time_to_next_tick())?;
            self.read_joint_states()?;
            if self.pace.is_due(self.newest()) {
                self.tick(self.now())?;
            }
            self.read_slow_inputs()?;
            self.report();
            self.shell.node.check()?;
        }
        Ok(())
    }

    /// Brings a robot that moves to rest before its control ends: a last command does not brake it.
    fn come_to_rest(&mut self) -> Result<()> {
        self.control.hold();
        let begun = Instant::now();
        while self.moves() && begun.elapsed() < LONGEST_BRAKING {
            self.joint_states.wait(self.pace.time_to_next_tick())?;
            self.read_joint_states()?;
            if self.pace.is_due(self.newest()) {
                self.tick(self.now())?;
            }
        }
        Ok(())
    }

    fn moves(&self) -> bool {
        let Some(state) = self.reader.state() else { return false };
        let limits = &self.control.robot().limits.velocity;
        let is_tracked = !matches!(self.control.verdict(), Verdict::Holding(_));
        is_tracked && state.velocity.iter().zip(limits).any(|(v, limit)| v.abs() > AT_REST * limit)
    }

    /// Reads what has come, up to the first message that makes a tick, so that the slow inputs are not kept waiting.
    fn read_joint_states(&mut self) -> Result<()> {
        while let Some(message) = self.joint_states.take() {
            let mut stamp = time_to_stamp(&message.header.stamp);
            if stamp == Stamp::default() {
                if self.pace.is_by_message() {
                    self.reject(Rejection::NoStamp);
                    continue;
                }
                stamp = self.shell.now();
            }
            let read = self.reader.read(stamp, &message.name, &message.position, &message.velocity).map(drop);
            match read {
                Ok(()) => {
                    self.pace.arrives();
                    self.rejected = None;
                    if self.pace.is_by_message() {
                        return self.tick(stamp);
                    }
                }
                Err(Rejection::OtherDevice) if self.reader.state().is_none() => {
                    self.say_foreign(&message.name)
                }
                Err(rejection) => self.reject(rejection),
            }
        }
        Ok(())
    }

    /// Before the first state, joint states of nothing but other joints are probably those of the wrong robot.
    fn say_foreign(&mut self, names: &[String]) {
        if self.rejected.is_none() {
            let joints = &self.control.robot().joints;
            self.shell.warn(&format!("joint states not used: they name {names:?}, none of {joints:?}"));
            self.rejected = Some(Rejection::OtherDevice);
        }
    }

    /// Counts a rejected message; says why when the reason is a new one.
    fn reject(&mut self, rejection: Rejection) {
        if rejection.is_harmless() {
            return;
        }
        self.rejections += 1;
        let said = self.rejected.as_ref().map(std::mem::discriminant);
        if said != Some(std::mem::discriminant(&rejection)) {
            self.shell.warn(&format!("joint states not used: {rejection}"));
            self.rejected = Some(rejection);
        }
    }

    /// Stamp of the newest joint states.
    fn newest(&self) -> Option<Stamp> {
        self.reader.state().map(|state| state.stamp)
    }

    fn now(&self) -> Stamp {
        self.pace.now(self.newest(), || self.shell.now())
    }

    fn tick(&mut self, now: Stamp) -> Result<()> {
        let started = Instant::now();
        let retired = self.control.tick(now, self.reader.state(), &mut self.command);
        if self.control.verdict() != Verdict::Holding(crate::control_loop::Fault::NoJointStates) {
            self.publish_command()?;
        }
        self.tick_time.record(started.elapsed());
        self.control.network().prepare();
        let newest = self.newest();
        let (elapsed, is_new) = self.pace.ticked(started, newest);
        // whoever sends the joint states sets the pace when each is answered
        let is_late = elapsed.is_some_and(|elapsed| elapsed > MISSED * self.pace.period() * 1.05);
        self.missed_deadlines += u64::from(is_late && !self.pace.is_by_message());
        self.ticks += 1;
        if is_new {
            self.publish_sample()?;
        }
        self.started = self.started.or(newest);
        if let Some(model) = retired {
            self.weights.free(model);
        }
        Ok(())
    }

    fn publish_command(&mut self) -> Result<()> {
        if !self.control.can_command() {
            return Ok(());
        }
        self.outputs.command_message.data.clone_from(&self.command.values);
        Ok(self.outputs.commands.publish(&self.outputs.command_message)?)
    }

    fn publish_sample(&mut self) -> Result<()> {
        if let Some(sample) = self.control.sample() {
            let verdict = self.control.verdict();
            let is_new = verdict.is_undisturbed() && !self.control.teaches();
            let verdict: &dyn Display = if is_new { &"adapting" } else { &verdict };
            fill_sample(sample, verdict, &mut self.outputs.sample_message);
            self.outputs.sample.publish(&self.outputs.sample_message)?;
        }
        Ok(())
    }

    /// Everything that may wait until the command is out.
    fn read_slow_inputs(&mut self) -> Result<()> {
        let now = self.now();
        if let Some(message) = self.inputs.prediction.newest() {
            match message_to_prediction(&message, &self.control.robot().joints) {
                Some(prediction) => self.control.hear_prediction(now, &prediction),
                None => self.shell.warn("prediction not used: other joints, or not finite"),
            }
        }
        if let Some(message) = self.inputs.joint_trajectory.newest() {
            self.follow(&message)?;
        }
        self.trajectories.serve(now, &mut self.control, self.reader.state(), &self.shell)?;
        if let Some(config) = self.shell.changed_config() {
            self.control.set_authority(config.authority, config.assistance);
            // Only its own change counts: the service ~/enable_learning may have spoken since.
            if config.learning != self.learning_parameter {
                self.learning_parameter = config.learning;
                self.control.set_learning(config.learning);
            }
        }
        self.serve()?;
        self.exchange_weights(now)
    }

    fn follow(&mut self, message: &JointTrajectory) -> Result<()> {
        let start = self.control.start_of_trajectory();
        let accepted = if message.points.is_empty() {
            self.control.hold();
            Ok("empty trajectory: holding here".to_owned())
        } else {
            message_to_trajectory(message, self.control.robot(), &start).and_then(|trajectory| {
                let text = format!("follows a trajectory of {:.3} s", trajectory.duration());
                self.control.follow(trajectory).map(|()| text)
            })
        };
        match accepted {
            Ok(text) => {
                self.shell.info(&text);
                self.trajectories.give_up("a trajectory came on ~/joint_trajectory")?;
            }
            Err(error) => self.shell.warn(&format!("trajectory refused: {error}")),
        }
        Ok(())
    }

    fn serve(&mut self) -> Result<()> {
        while let Some(request) = self.inputs.hold.take() {
            self.control.hold();
            self.trajectories.give_up("holds, as asked on ~/hold")?;
            self.shell.info("holds here, as asked on ~/hold");
            self.shell.respond(request, Trigger::Response { success: true, message: "holding".into() });
        }
        while let Some(request) = self.inputs.save_model.take() {
            self.saving.push(request, 1);
            self.weights.save();
        }
        while let Some(request) = self.inputs.rollback_model.take() {
            self.rolling_back.push(request, 1);
            self.weights.roll_back("as asked on ~/rollback_model".into());
        }
        while let Some(request) = self.inputs.enable_learning.take() {
            let enabled = request.message.data;
            self.control.set_learning(enabled);
            self.control.freeze_head(!enabled);
            let message: &str = if enabled { "learning" } else { "everything that was learned is frozen" };
            self.shell.info(message);
            self.shell.respond(request, SetBool::Response { success: true, message: message.into() });
        }
        Ok(())
    }

    /// Passes new weights to the loop, and answers what was asked for on services.
    fn exchange_weights(&mut self, now: Stamp) -> Result<()> {
        let requests = [&mut self.saving, &mut self.rolling_back];
        self.weights.exchange(now, self.control.network(), &self.shell, requests)
    }

    fn report(&mut self) {
        let verdict = self.control.verdict();
        // Limits come and go with every move; only the other changes are worth a line.
        let verdict = if verdict == Verdict::Limited { Verdict::Tracking } else { verdict };
        if !self.said.is_some_and(|said| said.same_kind(&verdict)) {
            let text = verdict.describe(&self.control.robot().joints);
            match verdict {
                Verdict::Tracking | Verdict::Limited => self.shell.info(&text),
                Verdict::Baseline(_) | Verdict::Holding(_) => self.shell.warn(&text),
            }
            self.said = Some(verdict);
        }
        if self.slow_topics_due.is_due() {
            // Advisory, and repeated fifty times a second.
            let _ = self.outputs.authority.publish(&Float64 { data: self.control.authority() });
            let _ = self.trajectories.publish_state(&self.control, self.reader.state(), &self.command);
        }
        if self.diagnostics_due.is_due() {
            self.diagnose();
        }
    }

    fn diagnose(&mut self) {
        let verdict = self.control.verdict();
        let level = match verdict {
            Verdict::Tracking | Verdict::Limited => DiagnosticStatus::OK as u8,
            Verdict::Baseline(_) => DiagnosticStatus::WARN as u8,
            Verdict::Holding(_) => DiagnosticStatus::ERROR as u8,
        };
        let tick = self.tick_time.percentiles();
        let revision = self.control.residual().card().map_or(0, |card| card.revision);
        let outside = match (self.control.residual().card(), self.reader.state()) {
            (Some(card), Some(state)) => card.first_outside(state),
            _ => None,
        };
        let outside = outside.map_or(String::new(), |joint| self.control.robot().joints[joint].clone());
        let head = self.head_reports();
        let of_head = |value: fn(&HeadReport) -> f64| {
            head.iter().map(|report| format!("{:.3}", value(report))).collect::<Vec<_>>().join(" ")
        };
        let late = self.control.velocity_lag().unwrap_or_default();
        let late: Vec<String> = late.iter().map(|lag| format!("{:.2}", 1e3 * lag)).collect();
        let [tracking_error, baseline_error] = self.control.tracking_errors();
        let started = self.started.map_or(String::new(), |stamp| format!("{:.3}", stamp.seconds()));
        let values = [
            ("head_learns", self.control.head().is_some_and(Head::learns).to_string()),
            ("head_share", of_head(|report| report.share)),
            ("network_share", of_head(|report| report.network_share)),
            ("unexplained_by_feedforward", of_head(|report| report.unexplained[0])),
            ("unexplained_by_head", of_head(|report| report.unexplained[1])),
            ("unexplained_by_network", of_head(|report| report.unexplained[2])),
            ("velocity_lag_ms", late.join(" ")),
            ("tracking_error", format!("{tracking_error:.6}")),
            ("baseline_error", format!("{baseline_error:.6}")),
            ("observer_bandwidth", format!("{:.1}", self.control.observer_bandwidth())),
            ("authority", format!("{:.3}", self.control.authority())),
            ("speed_scaling", format!("{:.3}", self.control.speed_scaling())),
            ("model_revision", revision.to_string()),
            ("outside_training", outside),
            ("started_at_s", started),
            ("ticks", self.ticks.to_string()),
            ("missed_deadlines", self.missed_deadlines.to_string()),
            ("rejected_joint_states", self.rejections.to_string()),
            ("tick_p50_us", format!("{:.1}", tick.p50)),
            ("tick_p99_us", format!("{:.1}", tick.p99)),
            ("tick_max_us", format!("{:.1}", tick.max)),
        ];
        let message = verdict.describe(&self.control.robot().joints);
        self.shell.diagnose("control", level, &message, &values);
        self.tell_changes(&head);
        self.tell_ringing();
        self.tell_left_out();
    }

    fn tell_left_out(&mut self) {
        let Some((joint, jump)) = self.control.take_left_out() else { return };
        self.shell.warn(&format!(
            "joint states with {} {jump:.3} away from where it was are left out, for no motion can be so fast: a glitch of its sensor, \
             or a second publisher of joint_states? If there are more, the robot is held",
            self.control.robot().joints[joint]
        ));
    }

    fn tell_ringing(&mut self) {
        let Some(joint) = self.control.take_ringing() else { return };
        let (joint, left) = (&self.control.robot().joints[joint], self.control.observer_bandwidth());
        self.shell.warn(&format!(
            "the observer rang at {joint} and is made slower, {left:.1} rad/s now (0: given up): commands act later than \
             command_delay says, or observer.bandwidth is too high for this robot; see `learned_control identify-delay`"
        ));
    }

    /// How the learning in the tick stands, one a joint; none without it.
    fn head_reports(&self) -> Vec<HeadReport> {
        let joints = 0..self.control.robot().degrees_of_freedom();
        self.control.head().map_or(Vec::new(), |head| joints.map(|joint| head.report(joint)).collect())
    }

    /// Says at which joints the robot was noticed to have changed since the last time.
    fn tell_changes(&mut self, head: &[HeadReport]) {
        let changes: Vec<u64> = head.iter().map(|report| report.changes).collect();
        let joints = self.control.robot().joints.iter().zip(changes.iter().zip(&self.changes));
        let changed: Vec<&str> =
            joints.filter(|(_, (now, before))| now > before).map(|(joint, _)| joint.as_str()).collect();
        if !changed.is_empty() {
            self.shell
                .info(&format!("the robot has changed (load, friction, drive?) at {}", changed.join(", ")));
        }
        self.changes = changes;
    }
}

/// Where each message counts, many may wait; and else some, for other devices may send theirs on the same topic.
fn joint_states_qos(config: &ControllerConfig) -> QosProfile {
    let depth = match config.tick {
        TickTrigger::Timer => 5,
        TickTrigger::JointStates => 100,
    };
    with_reliability(sensor_qos().keep_last(depth), config.qos.joint_states)
}

/// Where a learner's weights are kept; with `accept_weights` and no `model_file` the newest are brought back first, and without it
/// none are known, for none must act.
fn shelf(config: &ControllerConfig) -> Shelf {
    Shelf {
        folder: if config.accept_weights { config.models_folder.clone() } else { String::new() },
        name: "controller",
        capacity: config.kept_models,
        resume: config.accept_weights && config.model_file.is_empty(),
    }
}
