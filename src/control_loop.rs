//! One tick from measurement to command: freshness, reference, baseline, residual, authority, limits.
//!
//! u = limit(u_baseline + α · clip(u_residual, ±r_max)); with α = 0 the command is the baseline's, bit for bit. A command is
//! an effort, or the velocity or position that a joint's drive is told, as the `command_interface` says.
//! The tick allocates nothing, waits for nothing, and logs nothing: it returns a [`Verdict`].

mod authority;
mod baseline_error;
mod config;
mod goal;
mod governor;
mod motion;
mod network;
mod preview;
mod rollback;
mod verdict;

pub(crate) use authority::Authority;
pub use config::{
    Assistance, Constraints, ControllerConfig, QosConfig, RealTimeConfig, Reliability, TickTrigger,
};
pub use goal::{AskedTolerance, Progress, Tolerance, Tolerances, Violation};
pub use governor::Governor;
pub use motion::{Motion, ReferenceConfig};
pub use network::{LearnedNetwork, NetworkSettings};
pub use rollback::{RollbackMonitor, RollbackReason};
pub use verdict::{Fault, Verdict};

use crate::command::{Command, Mode};
use crate::controller::{
    Baseline, BaselineConfig, DisturbanceObserver, Head, Residual, ResidualModel, VelocityLag,
};
use crate::delay_line::DelayLine;
use crate::error::{Error, Result};
use crate::learner::Sample;
use crate::reference::{ReferencePoint, SplineTrajectory};
use crate::robot::{Dynamics, Robot, first_non_finite};
use crate::state::{Stamp, State};
use crate::trajectory::Trajectory;
use baseline_error::BaselineError;
use network::Pulse;
use preview::Preview;
use std::path::Path;

/// The control loop of one robot. Everything is sized when it is built.
pub struct ControlLoop {
    config: ControllerConfig,
    robot: Robot,
    baseline: Baseline,
    observer: Option<DisturbanceObserver>,
    head: Option<Head>,
    /// Learned with the head, where efforts are commanded.
    velocity_lag: Option<VelocityLag>,
    network: LearnedNetwork,
    authority: Authority,
    baseline_error: BaselineError,
    governor: Governor,
    motion: Motion,
    reference: ReferencePoint,
    /// The reference when the command will act.
    preview: Preview,
    learned: Vec<f64>,
    /// The command of the baseline, before the residual is added.
    baseline_command: Vec<f64>,
    /// Of the last commands [command | the baseline's feedforward | what the observer's model explains], and of the one that
    /// acted between the last measurements.
    sent: DelayLine,
    sending: Vec<f64>,
    acted: Vec<f64>,
    /// What carries the robot's weight, where the limits ask for it.
    hold: Vec<f64>,
    /// Where a drive that takes positions was last told to be.
    commanded_position: Vec<f64>,
    sample: Sample,
    /// Stamp of the state of the last tick, and the last state that could be used.
    last: Option<Stamp>,
    last_state: State,
    verdict: Verdict,
    predictor: Pulse,
}

impl ControlLoop {
    pub fn new(config: ControllerConfig, robot: Robot, mut dynamics: Dynamics) -> Result<Self> {
        config.validate()?;
        let robot = robot.commanded_by(config.command_interface);
        let joints = robot.degrees_of_freedom();
        if !config.rotor_inertia.is_empty() {
            dynamics.set_rotor_inertia(&config.rotor_inertia)?;
        }
        dynamics.set_drive_lag(config.drive_lag);
        let head = config
            .head
            .enabled
            .then(|| Head::new(&config.head, &robot, dynamics.clone(), config.update_rate));
        let baseline_config = BaselineConfig { feedforward: config.feedforward, gains: config.gains.clone() };
        let limit = robot.command_scale().iter().map(|scale| config.residual_limit * scale).collect();
        let baseline = Baseline::new(&baseline_config, &robot, dynamics.clone())?;
        let longest = (config.command_delay * config.update_rate).ceil() as usize;
        Ok(Self {
            observer: DisturbanceObserver::new(&config.observer, &robot, dynamics),
            velocity_lag: (head.is_some() && config.command_interface == Mode::Effort)
                .then(|| VelocityLag::new(joints)),
            head,
            sent: DelayLine::new(3 * joints, longest),
            sending: vec![0.0; 3 * joints],
            acted: vec![0.0; 3 * joints],
            hold: vec![0.0; joints],
            commanded_position: vec![0.0; joints],
            baseline_error: BaselineError::new(
                config.command_interface,
                baseline.gains(),
                config.observer.bandwidth,
            ),
            baseline,
            network: LearnedNetwork::new(limit, config.network()),
            authority: Authority::new(config.authority * config.assistance.share()),
            governor: Governor::new(joints),
            motion: Motion::new(&config.reference, &robot)?,
            reference: ReferencePoint::zeros(joints),
            preview: Preview::new(joints, config.command_interface != Mode::Effort),
            learned: vec![0.0; joints],
            baseline_command: vec![0.0; joints],
            sample: Sample::zeros(joints),
            last: None,
            last_state: State::zeros(joints),
            verdict: Verdict::Holding(Fault::NoJointStates),
            predictor: Pulse::default(),
            config,
            robot,
        })
    }

    /// For the robot of a URDF `description`, with the model that the config names.
    pub fn load(config: ControllerConfig, description: &str) -> Result<Self> {
        let robot = Robot::from_urdf(description)?;
        let dynamics = Dynamics::for_robot(description, &robot)?;
        let mut control = Self::new(config, robot, dynamics)?;
        if !control.config.model_file.is_empty() {
            let path = Path::new(&control.config.model_file);
            control.accept_model(Box::new(ResidualModel::load(path, &control.robot)?));
        }
        Ok(control)
    }

    pub fn robot(&self) -> &Robot {
        &self.robot
    }

    pub fn config(&self) -> &ControllerConfig {
        &self.config
    }

    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Where the robot should be, as of the last tick.
    pub fn reference(&self) -> &ReferencePoint {
        &self.reference
    }

    pub fn residual(&self) -> &Residual {
        &self.network.residual
    }

    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// How late measured velocities were found to be, of each joint [s]; none is looked for without a head.
    pub fn velocity_lag(&self) -> Option<&[f64]> {
        self.velocity_lag.as_ref().map(VelocityLag::lag)
    }

    pub fn baseline(&self) -> &Baseline {
        &self.baseline
    }

    /// The share α of the residual in the last command.
    pub fn authority(&self) -> f64 {
        self.authority.value()
    }

    /// The factor by which the reference is slowed down, 0 to 1.
    pub fn speed_scaling(&self) -> f64 {
        self.governor.scaling()
    }

    /// Sets the largest authority at run time.
    pub fn set_authority(&mut self, authority: f64, assistance: Assistance) {
        self.authority.set_ceiling(authority * assistance.share());
    }

    /// Stops the learning in the tick, or goes on with it; what was learned stays in use.
    pub fn freeze_head(&mut self, frozen: bool) {
        self.head.iter_mut().for_each(|head| head.freeze(frozen));
        self.velocity_lag.iter_mut().for_each(|lag| lag.freeze(frozen));
    }

    /// The learner's network: whether it is wanted, in use, missed or to be given back.
    pub fn network(&mut self) -> &mut LearnedNetwork {
        &mut self.network
    }

    /// Accepts weights from now on, if that is permitted, and expects the learner to be alive, or freezes those in use.
    pub fn set_learning(&mut self, enabled: bool) {
        self.network.set_learning(enabled, self.last);
    }

    /// What happened in the last tick, unless it held. To be learned from only if the verdict is undisturbed.
    pub fn sample(&self) -> Option<&Sample> {
        (!matches!(self.verdict, Verdict::Holding(_))).then_some(&self.sample)
    }

    /// Whether a learner may learn from the last tick: nothing disturbed it, and the head, if there is one, knows the robot.
    /// What it has not found out yet it soon will, and a network must not learn that.
    pub fn teaches(&self) -> bool {
        self.verdict.is_undisturbed() && self.head.as_ref().is_none_or(Head::is_settled)
    }

    /// Whether new weights can be taken now.
    pub fn wants_model(&self) -> bool {
        self.network.wants_model()
    }

    /// Takes new weights, to be called when `wants_model`; they fade in over the next ticks.
    pub fn accept_model(&mut self, model: Box<ResidualModel>) {
        self.network.accept(model);
    }

    /// The tracking error of the last moments, and the one that the baseline alone would have, rms over joints [rad or m].
    pub fn tracking_errors(&self) -> [f64; 2] {
        self.network.errors()
    }

    /// A sign of life from the learner at `now`.
    pub fn hear_learner(&mut self, now: Stamp) {
        self.network.hear_learner(now);
    }

    /// A prediction that arrived at `now`: a sign of life, and the error to be expected.
    pub fn hear_prediction(&mut self, now: Stamp, prediction: &Trajectory) {
        self.predictor.hear(now);
        if self.config.prediction && self.config.constraints.trajectory > 0.0 {
            self.governor.expect(prediction, &self.motion, self.last, self.config.constraints.trajectory);
        }
    }

    /// The observer's bandwidth at present, rad/s; 0 without one.
    pub fn observer_bandwidth(&self) -> f64 {
        self.observer.as_ref().map_or(0.0, DisturbanceObserver::bandwidth)
    }

    /// The joint at which the observer rang since this was last asked; it has been made slower, or given up.
    pub fn take_ringing(&mut self) -> Option<usize> {
        self.observer.as_mut().and_then(DisturbanceObserver::take_ringing)
    }

    /// Tracks `trajectory` from the present reference on; without a state yet it is refused.
    pub fn follow(&mut self, trajectory: SplineTrajectory) -> Result<()> {
        if self.last.is_none() {
            let problem = "no joint states yet, so there is no place to start from".to_owned();
            return Err(Error::Mismatch {
                what: "trajectory".into(),
                found: problem,
                expected: "joint states".into(),
            });
        }
        self.motion.follow(trajectory);
        Ok(())
    }

    /// How far the trajectory is that was sent last, and how long it takes [s, of its own time]; none when something else
    /// is done by now.
    pub fn progress(&self) -> Option<[f64; 2]> {
        self.motion.progress()
    }

    /// Stops where the robot is and stays there until a trajectory comes.
    pub fn hold(&mut self) {
        self.motion.hold_at(&self.last_state.position);
    }

    /// Computes the command for the newest `state` at time `now`. Gives back a network that is no longer needed, so
    /// that it is freed elsewhere.
    pub fn tick(
        &mut self,
        now: Stamp,
        state: Option<&State>,
        out: &mut Command,
    ) -> Option<Box<ResidualModel>> {
        out.mode = self.config.command_interface;
        match self.usable(now, state) {
            Ok(state) => self.track(now, state, out),
            Err(fault) => {
                self.hold_blindly(fault, out);
                None
            }
        }
    }

    /// The command that is safe with no further tick to follow it: the effort that carries the robot's weight, no velocity,
    /// or the position that was last commanded.
    pub fn safe_command(&mut self, out: &mut Command) {
        out.mode = self.config.command_interface;
        out.stamp = self.last_state.stamp;
        out.values.fill(0.0);
        match out.mode {
            Mode::Effort if self.last.is_some() => {
                self.baseline.gravity(&self.last_state.position, &mut out.values);
                self.robot.limits.clamp_effort(&mut out.values);
            }
            Mode::Position => out.values.copy_from_slice(&self.commanded_position),
            Mode::Effort | Mode::Velocity => {}
        }
    }

    /// Whether commands can be sent yet: where the robot is must be known before it is told a position.
    pub fn can_command(&self) -> bool {
        self.config.command_interface != Mode::Position || self.last.is_some()
    }

    /// The state, if it exists, is finite and fresh.
    fn usable<'a>(&self, now: Stamp, state: Option<&'a State>) -> std::result::Result<&'a State, Fault> {
        let state = state.ok_or(Fault::NoJointStates)?;
        let broken = first_non_finite(&state.position).or_else(|| first_non_finite(&state.velocity));
        if let Some(joint) = broken {
            return Err(Fault::StateNotFinite { joint });
        }
        let age = now.since(state.stamp);
        let timeout = self.config.joint_states_timeout;
        if age > timeout {
            return Err(Fault::JointStatesStale { age, timeout });
        }
        if age < -timeout {
            return Err(Fault::JointStatesAhead { ahead: -age });
        }
        Ok(state)
    }

    fn track(&mut self, now: Stamp, state: &State, out: &mut Command) -> Option<Box<ResidualModel>> {
        let [dt, elapsed] = self.advance(state);
        let slowed = self.governor.scaling() < 1.0;
        let scaling = self.governor.scaling();
        self.motion.sample(scaling, &mut self.reference);
        // a command acts for a period from its delay on
        let ahead = self.config.command_delay + 0.5 / self.config.update_rate;
        self.preview.look(&self.motion, ahead, scaling);
        self.recall();
        let joints = self.robot.degrees_of_freedom();
        let (acted, explained) = self.acted.split_at(2 * joints);
        let undisturbed = self.verdict.is_undisturbed();
        if let Some(head) = &mut self.head {
            let (command, feedforward) = acted.split_at(joints);
            head.observe(state, [command, feedforward], dt, undisturbed, self.network.residual.current());
        }
        if let Some(lag) = &mut self.velocity_lag {
            lag.observe(state, &self.robot, [dt, elapsed]);
        }
        let acting = &self.preview.motion.point;
        self.baseline.command(state, &self.reference, acting, dt, &mut self.baseline_command);
        if let Some(observer) = &mut self.observer {
            observer.observe(state, explained, elapsed);
            self.baseline_error.set_observer(observer.bandwidth());
            for (effort, disturbance) in self.baseline_command.iter_mut().zip(observer.disturbance()) {
                *effort -= disturbance;
            }
        }
        out.stamp = state.stamp;
        out.values.copy_from_slice(&self.baseline_command);
        let retired = self.network.residual.advance(dt);
        self.network.residual.evaluate(&self.preview.motion.point, &mut self.learned);
        if let Some(head) = &mut self.head {
            let known = [&self.baseline.feedforward[..], &self.baseline.friction];
            head.add_command(&self.preview.motion, known, &mut self.learned);
        }
        if let Some(lag) = &self.velocity_lag {
            self.baseline.add_late_feedback(&self.reference, lag.lag(), &mut self.learned);
        }
        let clipped = self.network.residual.clip(&mut self.learned);
        let fault = self.learned_part_fault(now, state);
        let has_learned = self.head.is_some() || self.network.residual.card().is_some();
        let authority = self.authority.update(fault.is_none() && has_learned, dt);
        if authority > 0.0 {
            for (command, residual) in out.values.iter_mut().zip(&self.learned) {
                *command += authority * residual;
            }
        }
        if let Some(joint) = first_non_finite(&out.values) {
            self.hold_blindly(Fault::CommandNotFinite { joint }, out);
            return retired;
        }
        let limited = self.limit(state, dt, &mut out.values);
        self.verdict = match fault {
            Some(fault) => Verdict::Baseline(fault),
            None if limited || clipped || slowed => Verdict::Limited,
            None => Verdict::Tracking,
        };
        self.remember(authority, &out.values);
        self.record(state, out);
        self.watch_weights(authority, dt);
        retired
    }

    /// Brings `command` within what the robot may do; says whether it had to change.
    fn limit(&mut self, state: &State, dt: f64, command: &mut [f64]) -> bool {
        let limits = &self.robot.limits;
        match self.config.command_interface {
            Mode::Effort => {
                if limits.any_fast(&state.velocity) {
                    self.baseline.gravity(&state.position, &mut self.hold);
                }
                limits.limit_effort(&state.position, &state.velocity, &self.hold, command)
            }
            Mode::Velocity => limits.limit_velocity(&state.position, command),
            Mode::Position => {
                let limited = limits.limit_position(&self.commanded_position, dt, command);
                self.commanded_position.copy_from_slice(command);
                limited
            }
        }
    }

    /// Keeps what was sent until it acts.
    fn remember(&mut self, authority: f64, command: &[f64]) {
        let joints = command.len();
        let (sent, explained) = self.sending.split_at_mut(2 * joints);
        sent[..joints].copy_from_slice(command);
        sent[joints..].copy_from_slice(&self.baseline.feedforward);
        // all that is learned of a drive is beyond the one that the observer knows
        let head = self.head.as_ref().filter(|_| self.config.command_interface == Mode::Effort);
        let unmodelled = head.map_or(&self.learned[..], Head::unmodelled);
        for (joint, explained) in explained.iter_mut().enumerate() {
            *explained = command[joint] - self.baseline.friction[joint] - authority * unmodelled[joint];
        }
        self.sent.push(&self.sending);
    }

    /// Takes out what acted between the last measurements: between two commands when the delay is not one of whole ticks.
    fn recall(&mut self) {
        let delay = self.config.command_delay * self.config.update_rate;
        let (ticks, part) = (delay.floor(), delay.fract());
        let [later, earlier] = [ticks, ticks + 1.0].map(|ticks| self.sent.ago(ticks as usize));
        let Some((later, earlier)) = later.zip(earlier) else { return };
        for (acted, (later, earlier)) in self.acted.iter_mut().zip(later.iter().zip(earlier)) {
            *acted = later + part * (earlier - later);
        }
    }

    /// Moves the reference on by the time between the last state and this one; starts it at the first state, and
    /// anew after a hold. Returns that time [s], of five periods at most, and as it is.
    fn advance(&mut self, state: &State) -> [f64; 2] {
        let mut elapsed = self.last.map_or(0.0, |last| state.stamp.since(last).max(0.0));
        let dt = elapsed.min(5.0 / self.config.update_rate);
        // a robot that had no new command moved on all the same, unless it was held
        elapsed = elapsed.min(self.config.joint_states_timeout.max(dt));
        if self.last.is_none() {
            self.motion.start(&self.robot, state);
            self.commanded_position.copy_from_slice(&state.position);
        } else if matches!(self.verdict, Verdict::Holding(_)) {
            self.motion.restart(&self.robot, state);
            self.commanded_position.copy_from_slice(&state.position);
            self.sent.clear();
            self.baseline.reset();
            self.observer.iter_mut().for_each(DisturbanceObserver::reset);
            self.head.iter_mut().for_each(Head::interrupt);
            self.velocity_lag.iter_mut().for_each(VelocityLag::interrupt);
            self.authority.drop_to_zero();
            self.baseline_error.reset();
            elapsed = dt;
        }
        self.governor.advance(dt);
        self.motion.advance(elapsed * self.governor.scaling());
        self.last = Some(state.stamp);
        self.last_state.copy_from(state);
        [dt, elapsed]
    }

    /// Why the learned part must not act, if anything stands against it.
    fn learned_part_fault(&mut self, now: Stamp, state: &State) -> Option<Fault> {
        if let Some(joint) = first_non_finite(&self.learned) {
            self.learned.fill(0.0);
            self.authority.drop_to_zero();
            return Some(Fault::ResidualNotFinite { joint });
        }
        let (learner, predictor) = (self.network.lost_learner(now), self.predictor.silence(now));
        if let Some(silence) = learner {
            return Some(Fault::LearnerLost { silence });
        }
        if self.config.prediction && predictor > self.config.predictor_timeout {
            self.governor.forget();
            return Some(Fault::PredictorLost { silence: predictor });
        }
        self.tolerance_violation(state)
    }

    /// Compares the tracking error with that before the weights in use. What they do not act in is history all the same: of the
    /// first ones it is the baseline's error that they are compared with.
    fn watch_weights(&mut self, authority: f64, dt: f64) {
        self.baseline_error.advance(authority, &self.learned, dt);
        if self.verdict.is_undisturbed() {
            let Sample { reference_position, position, .. } = &self.sample;
            let squares = self.baseline_error.squares(reference_position, position);
            self.network.watch(squares, dt);
        }
    }

    /// A violated tolerance counts as mended when the error is below half of it.
    fn tolerance_violation(&self, state: &State) -> Option<Fault> {
        let violated = matches!(self.verdict, Verdict::Baseline(Fault::ToleranceViolated { .. }));
        let tolerance = self.config.constraints.trajectory * if violated { 0.5 } else { 1.0 };
        if tolerance <= 0.0 {
            return None;
        }
        let errors =
            self.reference.position.iter().zip(&state.position).map(|(reference, q)| (reference - q).abs());
        let (joint, error) = errors.enumerate().find(|(_, error)| *error > tolerance)?;
        Some(Fault::ToleranceViolated { joint, error, tolerance })
    }

    /// Without a state that can be trusted there is no feedback: carry the weight at the last known position, or stand.
    fn hold_blindly(&mut self, fault: Fault, out: &mut Command) {
        self.safe_command(out);
        self.verdict = Verdict::Holding(fault);
    }

    fn record(&mut self, state: &State, out: &Command) {
        self.sample.set_measurement(state);
        self.sample.effort.copy_from_slice(&out.values);
        self.sample.reference_position.copy_from_slice(&self.reference.position);
        self.sample.reference_velocity.copy_from_slice(&self.reference.velocity);
        self.sample.reference_acceleration.copy_from_slice(&self.reference.acceleration);
        // a learner's network has to learn what nothing else knows
        let known = self.head.as_ref().map_or(&self.baseline.feedforward[..], Head::known);
        self.sample.feedforward_effort.copy_from_slice(known);
        // a drive needs no feedback to be wrong: its command is compared with what came of it
        let (achieved, reference) = match self.config.command_interface {
            Mode::Effort => (&[][..], &[][..]),
            Mode::Velocity => (&state.velocity[..], &self.reference.velocity[..]),
            Mode::Position => (&state.position[..], &self.reference.position[..]),
        };
        let errors = achieved.iter().zip(reference).map(|(achieved, reference)| achieved - reference);
        self.sample.feedforward_effort.iter_mut().zip(errors).for_each(|(known, error)| *known += error);
        self.sample.feedback_effort.copy_from_slice(&self.baseline.feedback);
    }
}
