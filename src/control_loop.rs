//! One tick from measurement to command: freshness, reference, baseline, residual, authority, limits.
//!
//! u = limit(u_baseline + α · clip(u_residual, ±r_max)); with α = 0 the command is the baseline's, bit for bit. A command is
//! an effort, or the velocity or position that a joint's drive is told, as the `command_interface` says.
//! The tick allocates nothing, waits for nothing, and logs nothing: it returns a [`Verdict`].

mod authority;
mod baseline_error;
mod config;
mod continuity;
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
use crate::reference::{Reference, ReferencePoint, SplineTrajectory};
use crate::robot::{Dynamics, Robot, first_non_finite};
use crate::state::{Stamp, State};
use crate::trajectory::Trajectory;
use baseline_error::BaselineError;
use continuity::{Continuity, Sighting};
use network::Pulse;
use preview::Preview;
use std::path::Path;

/// So far [rad or m] may the robot or a trajectory be from the reference without a step of it.
const START_TOLERANCE: f64 = 0.05;

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
    continuity: Continuity,
    verdict: Verdict,
    /// Whether a limit acted in the last tick, also where the verdict tells of something worse.
    limited: bool,
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
            continuity: Continuity::new(joints, config.update_rate),
            verdict: Verdict::Holding(Fault::NoJointStates),
            limited: false,
            predictor: Pulse::default(),
            config,
            robot,
        })
    }

    /// For the robot of a URDF `description`, with the model that the config names.
    pub fn load(config: ControllerConfig, description: &str) -> Result<Self> {
        let robot = Robot::of_description(description, &config.joints)?;
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
        self.is_undisturbed() && self.head.as_ref().is_none_or(Head::is_settled)
    }

    /// Whether the command of the last tick did what baseline and learned part asked for.
    fn is_undisturbed(&self) -> bool {
        self.verdict.is_undisturbed() && !self.limited
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
        let tolerance = self.config.constraints.trajectory;
        if let Some(last) = self.last.filter(|_| self.config.prediction && tolerance > 0.0) {
            self.governor.expect(prediction, &self.robot, &self.motion, last, tolerance);
        }
    }

    /// The joint that jumped in a measurement that was left out since this was last asked, and how far, rad or m.
    pub fn take_left_out(&mut self) -> Option<(usize, f64)> {
        self.continuity.take_left_out()
    }

    /// The observer's bandwidth at present, rad/s; 0 without one.
    pub fn observer_bandwidth(&self) -> f64 {
        self.observer.as_ref().map_or(0.0, DisturbanceObserver::bandwidth)
    }

    /// The joint at which the observer rang since this was last asked; it has been made slower, or given up.
    pub fn take_ringing(&mut self) -> Option<usize> {
        self.observer.as_mut().and_then(DisturbanceObserver::take_ringing)
    }

    /// Where a trajectory begins that is sent now: with the reference as it moves, in the trajectory's own time.
    pub fn start_of_trajectory(&self) -> ReferencePoint {
        let (mut start, scaling) = (self.reference.clone(), self.governor.scaling());
        start.velocity.iter_mut().for_each(|velocity| *velocity /= scaling);
        start.acceleration.iter_mut().for_each(|acceleration| *acceleration /= scaling * scaling);
        start
    }

    /// Tracks `trajectory`, which begins as [`Self::start_of_trajectory`] says. Refused is one that begins elsewhere, and any while
    /// it is not known where the robot is.
    pub fn follow(&mut self, trajectory: SplineTrajectory) -> Result<()> {
        if let Verdict::Holding(fault) = self.verdict {
            let found = self.verdict.describe(&self.robot.joints);
            let expected = match fault {
                Fault::NoJointStates => "joint states, so that there is a place to start from",
                _ => "a robot that is not held",
            };
            return Err(Error::mismatch("trajectory", found, expected));
        }
        let mut begin = ReferencePoint::zeros(self.robot.degrees_of_freedom());
        trajectory.sample(0.0, &mut begin);
        let ways =
            begin.position.iter().zip(&self.reference.position).map(|(begin, now)| (begin - now).abs());
        if let Some((joint, way)) = ways.enumerate().find(|(_, way)| *way > START_TOLERANCE) {
            let problem = format!(
                "the trajectory begins at once {way:.3} from where the joint is to be now, and at most {START_TOLERANCE} is no step; \
                 give its first point a time_from_start"
            );
            return Err(Error::Joint { joint: self.robot.joints[joint].clone(), problem });
        }
        self.motion.follow(trajectory);
        Ok(())
    }

    /// How far the trajectory is that was sent last, and how long it takes [s, of its own time]; none when something else
    /// is done by now.
    pub fn progress(&self) -> Option<[f64; 2]> {
        self.motion.progress()
    }

    /// Whether there has been a tick since what is tracked now was asked for.
    pub fn has_begun(&self) -> bool {
        self.motion.has_begun()
    }

    /// Stops where the robot is, or where it is to be if it is nearly there, and stays there until a trajectory comes.
    pub fn hold(&mut self) {
        if self.last.is_none() {
            return self.motion.hold_from_the_start();
        }
        self.motion.hold_at(nearly(&self.reference.position, &self.last_state.position));
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
            Ok(Some(state)) => self.track(now, state, out),
            Ok(None) => {
                let trusted = self.continuity.lend_trusted();
                let retired = self.track(now, &trusted, out);
                self.continuity.give_back(trusted);
                retired
            }
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

    /// Whether commands can be sent yet: where the robot is must be known before its weight is carried, and for certain before
    /// it is told a position.
    pub fn can_command(&self) -> bool {
        match self.config.command_interface {
            Mode::Effort => self.last.is_some(),
            Mode::Velocity => true,
            Mode::Position => self.continuity.is_established(),
        }
    }

    /// The state, if it exists, is finite and fresh, and can be of the robot that was measured before; none where the one before it
    /// still counts in its place.
    fn usable<'a>(
        &mut self,
        now: Stamp,
        state: Option<&'a State>,
    ) -> std::result::Result<Option<&'a State>, Fault> {
        let state = state.ok_or(Fault::NoJointStates)?;
        let broken = first_non_finite(&state.position).or_else(|| first_non_finite(&state.velocity));
        if let Some(joint) = broken {
            return Err(Fault::StateNotFinite { joint });
        }
        let timeout = self.config.joint_states_timeout;
        let stale = |stamp: Stamp| {
            let age = now.since(stamp);
            if age > timeout { Err(Fault::JointStatesStale { age, timeout }) } else { Ok(age) }
        };
        let age = stale(state.stamp)?;
        if age < -timeout {
            return Err(Fault::JointStatesAhead { ahead: -age });
        }
        match self.continuity.observe(&self.robot, state) {
            Sighting::Believed => {}
            Sighting::LeftOut => return stale(self.continuity.trusted().stamp).map(|_| None),
            Sighting::Doubted(joint, jump) => return Err(Fault::StateJumped { joint, jump }),
        }
        if self.config.command_interface == Mode::Position && !self.continuity.is_established() {
            self.commanded_position.copy_from_slice(&state.position);
            return Err(Fault::StateUnconfirmed);
        }
        Ok(Some(state))
    }

    fn track(&mut self, now: Stamp, state: &State, out: &mut Command) -> Option<Box<ResidualModel>> {
        let [dt, elapsed] = self.advance(state);
        let lost = self.give_up_if_lost(state);
        let slowed = self.governor.scaling() < 1.0;
        let scaling = self.governor.scaling();
        self.motion.sample(scaling, &mut self.reference);
        // a command acts for a period from its delay on
        let ahead = self.config.command_delay + 0.5 / self.config.update_rate;
        self.preview.look(&self.motion, ahead, scaling);
        self.recall();
        let joints = self.robot.degrees_of_freedom();
        let (acted, explained) = self.acted.split_at(2 * joints);
        let undisturbed = self.is_undisturbed();
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
        let fault = lost.or(self.learned_part_fault(now, state));
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
        self.limited = limited;
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
                if limits.any_near(&state.position, &state.velocity) {
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
        let period = 1.0 / self.config.update_rate;
        let mut dt = elapsed.min(5.0 * period);
        // a robot that had no new command moved on all the same, unless it was held
        elapsed = elapsed.min(self.config.joint_states_timeout.max(dt));
        if self.last.is_none() {
            self.motion.start(&self.robot, state);
            self.commanded_position.copy_from_slice(&state.position);
        } else if let Verdict::Holding(fault) = self.verdict {
            let rest = nearly(&self.reference.position, &state.position);
            self.motion.restart(&self.robot, state, rest);
            // where a drive is that seemed to jump is less certain than what it was told
            if !matches!(fault, Fault::StateJumped { .. })
                && !is_near(&self.commanded_position, &state.position)
            {
                self.commanded_position.copy_from_slice(&state.position);
            }
            self.sent.clear();
            self.baseline.reset();
            self.observer.iter_mut().for_each(DisturbanceObserver::reset);
            self.head.iter_mut().for_each(Head::interrupt);
            self.velocity_lag.iter_mut().for_each(VelocityLag::interrupt);
            self.authority.drop_to_zero();
            self.baseline_error.reset();
            dt = dt.min(period);
            elapsed = dt;
        }
        self.governor.advance(dt);
        self.motion.advance(elapsed * self.governor.scaling());
        self.last = Some(state.stamp);
        self.last_state.copy_from(state);
        [dt, elapsed]
    }

    /// A reference that the robot does not follow is given up, and the robot stays where it is: something holds it, and when that
    /// lets go it must not rush after.
    fn give_up_if_lost(&mut self, state: &State) -> Option<Fault> {
        let tolerance = self.config.constraints.path;
        if tolerance <= 0.0 || self.motion.is_at_rest() {
            return None;
        }
        self.motion.sample(self.governor.scaling(), &mut self.reference);
        let (joint, error) = self.error_above(tolerance, state)?;
        self.motion.hold_at(&state.position);
        // what pushed against the obstacle
        self.baseline.reset();
        self.observer.iter_mut().for_each(DisturbanceObserver::reset);
        self.baseline_error.reset();
        Some(Fault::PathLost { joint, error, tolerance })
    }

    /// The first joint that is further than this from where it should be, and how far, rad or m.
    fn error_above(&self, tolerance: f64, state: &State) -> Option<(usize, f64)> {
        let errors =
            self.reference.position.iter().zip(&state.position).map(|(reference, q)| (reference - q).abs());
        errors.enumerate().find(|(_, error)| *error > tolerance)
    }

    /// Why the learned part must not act, if anything stands against it.
    fn learned_part_fault(&mut self, now: Stamp, state: &State) -> Option<Fault> {
        let (learner, predictor) = (self.network.lost_learner(now), self.predictor.silence(now));
        let is_predictor_lost = self.config.prediction && predictor > self.config.predictor_timeout;
        if is_predictor_lost {
            self.governor.forget();
        }
        if let Some(joint) = first_non_finite(&self.learned) {
            self.learned.fill(0.0);
            self.authority.drop_to_zero();
            return Some(Fault::ResidualNotFinite { joint });
        }
        if let Some(silence) = learner {
            return Some(Fault::LearnerLost { silence });
        }
        if is_predictor_lost {
            return Some(Fault::PredictorLost { silence: predictor });
        }
        self.tolerance_violation(state)
    }

    /// Compares the tracking error with that before the weights in use. What they do not act in is history all the same: of the
    /// first ones it is the baseline's error that they are compared with.
    fn watch_weights(&mut self, authority: f64, dt: f64) {
        self.baseline_error.advance(authority, &self.learned, dt);
        if self.is_undisturbed() {
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
        let (joint, error) = self.error_above(tolerance, state)?;
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

/// Whether no joint is further from where it is wanted than what counts as no step.
fn is_near(wanted: &[f64], measured: &[f64]) -> bool {
    wanted.iter().zip(measured).all(|(wanted, measured)| (wanted - measured).abs() <= START_TOLERANCE)
}

/// Where a robot is wanted, if it is nearly there, else where it is: so one that sags, or a drive that lags, is not led away
/// step by step.
fn nearly<'a>(wanted: &'a [f64], measured: &'a [f64]) -> &'a [f64] {
    if is_near(wanted, measured) { wanted } else { measured }
}
