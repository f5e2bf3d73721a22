//! One tick from odometry to the twist that is sent: freshness, reference, baseline, correction, limits.

mod task;

pub use task::PathEnd;

use super::config::BaseControllerConfig;
use super::correction::TwistCorrection;
use super::description::{BaseDescription, possible};
use super::earned::EarnedShares;
use super::frames::Transform;
use super::path::ReferencePath;
use super::tracker::{Drive, Tracker};
use super::twist::{Pose, Twist, moved, pose_error, pose_of};
use super::twist_head::TwistHead;
use super::twist_model::{TwistFormat, TwistModel};
use super::verdict::{BaseFault, BaseVerdict};
use crate::control_loop::{Assistance, Authority, LearnedNetwork};
use crate::controller::ResidualModel;
use crate::error::Result;
use crate::learner::Sample;
use crate::nn::checkpoint::Card;
use crate::reference::ReferencePoint;
use crate::robot::{first_non_finite, wrap};
use crate::state::{Stamp, State};
use std::path::Path;
use task::{Asked, Following, PaceLimits, Task};

/// Share of a limited speed at which the reference moves; the rest is for feedback.
const HEADROOM: f64 = 0.95;
/// Localizations stamp a transform ahead by as long as they hold it good, as AMCL does by 1 s.
const POSTDATED: f64 = 1.0;
/// How long zero is sent when there is nothing to do any more, s.
const FAREWELL: f64 = 1.0;

/// See the module. The twists go to a base that holds the last one it was sent.
pub struct BaseLoop {
    config: BaseControllerConfig,
    tracker: Tracker,
    correction: Option<Box<dyn TwistCorrection>>,
    network: LearnedNetwork,
    /// Greatest velocity of each axis; 0: there is none.
    greatest: Twist,
    task: Task,
    /// A path that has been driven to its end or given up, kept so that no tick has to free it; and how it ended, until
    /// somebody has asked.
    done: Option<Box<ReferencePath>>,
    path_end: Option<PathEnd>,
    /// m/s.
    speed_limit: f64,
    /// Of the last tick, in the frame of what is followed.
    pose: Pose,
    reference: ReferencePoint,
    /// What is wanted when the twist acts, as the network sees it: at no place.
    motion: ReferencePoint,
    correction_twist: Twist,
    authority: Authority,
    /// What the learned part added to the baseline's twist in the last tick, and what a network alone had to say.
    added: Twist,
    network_twist: Twist,
    earned: EarnedShares,
    sample: Sample,
    teaches: bool,
    sent: Twist,
    /// The same before the dead band, and its derivative.
    ramp: Twist,
    ramp_acceleration: Twist,
    last: Option<Stamp>,
    /// Whether the path waits for the base, which may be held up.
    waits: bool,
    verdict: BaseVerdict,
    /// Since when there has been nothing to do; and whether the last twist is to be sent all the same.
    idle: Option<Stamp>,
    speaks: bool,
}

impl BaseLoop {
    pub fn new(config: BaseControllerConfig) -> Result<Self> {
        config.check()?;
        let head = config.head.enabled.then(|| {
            Box::new(TwistHead::new(config.head, TwistFormat::of(&config))) as Box<dyn TwistCorrection>
        });
        let greatest = BaseDescription::of(&config).greatest;
        Ok(Self {
            tracker: Tracker::new(config.tracker, config.drive),
            correction: head,
            network: LearnedNetwork::new(config.correction_limit.to_vec(), config.network()),
            greatest,
            task: Task::Idle,
            done: None,
            path_end: None,
            speed_limit: f64::INFINITY,
            pose: [0.0; 3],
            reference: ReferencePoint::zeros(3),
            motion: ReferencePoint::zeros(3),
            correction_twist: [0.0; 3],
            added: [0.0; 3],
            network_twist: [0.0; 3],
            earned: EarnedShares::new(greatest),
            sample: Sample::zeros(3),
            teaches: false,
            authority: Authority::new(config.authority * config.assistance.share()),
            sent: [0.0; 3],
            ramp: [0.0; 3],
            ramp_acceleration: [0.0; 3],
            last: None,
            waits: false,
            verdict: BaseVerdict::Stopped(BaseFault::NoOdometry),
            idle: None,
            speaks: false,
            config,
        })
    }

    /// With the network that the config names, and with what its head begins with, whose card it gives.
    pub fn load(config: BaseControllerConfig) -> Result<(Self, Option<Card>)> {
        let mut control = Self::new(config)?;
        let BaseControllerConfig { head, model_file, network_file, .. } = &control.config;
        let load = || TwistModel::load(Path::new(model_file), &TwistFormat::of(&control.config));
        let model = (head.enabled && !model_file.is_empty()).then(load).transpose()?;
        let robot = BaseDescription::of(&control.config).robot();
        let load = || ResidualModel::load(Path::new(network_file), &robot);
        let network = (!network_file.is_empty()).then(load).transpose()?;
        model.iter().for_each(|model| control.restore(model));
        network.into_iter().for_each(|network| control.network.accept(Box::new(network)));
        Ok((control, model.map(|model| model.card)))
    }

    pub fn config(&self) -> &BaseControllerConfig {
        &self.config
    }

    pub fn verdict(&self) -> BaseVerdict {
        self.verdict
    }

    /// Where the base should be, as of the last tick with a path.
    pub fn reference(&self) -> &ReferencePoint {
        &self.reference
    }

    /// What led from the base to the reference in the last tick with a path, m, m, rad, seen from the base.
    pub fn error(&self) -> &Pose {
        self.tracker.error()
    }

    /// The share α of the correction in the last twist.
    pub fn authority(&self) -> f64 {
        self.authority.value()
    }

    /// The correction of the last twist at full share, clipped.
    pub fn correction(&self) -> &Twist {
        &self.correction_twist
    }

    /// The last twist.
    pub fn sent(&self) -> &Twist {
        &self.sent
    }

    /// Whether the last twist is to be sent. Zero is, for a second, when there is nothing to do any more; then nothing, so that
    /// others may drive.
    pub fn speaks(&self) -> bool {
        self.speaks
    }

    /// The path that is being followed, and the time on it [s].
    pub fn path(&self) -> Option<(&ReferencePath, f64)> {
        match &self.task {
            Task::Path(Following { path, time, .. }) => Some((path, *time)),
            Task::Idle | Task::Block(_) => None,
        }
    }

    /// How far the base was from the end of the path that it follows, m and rad, in the last tick.
    pub fn way_left(&self) -> (f64, f64) {
        let Task::Path(Following { path, .. }) = &self.task else { return (0.0, 0.0) };
        let (mut end, [mut velocity, mut acceleration]) = ([0.0; 3], [[0.0; 3]; 2]);
        path.sample_into(f64::INFINITY, &mut end, &mut velocity, &mut acceleration);
        let [x, y, yaw] = pose_error(&self.pose, &end);
        (x.hypot(y), wrap(yaw + path.heading_left()).abs())
    }

    /// How the last path ended, if one has since the last call.
    pub fn take_path_end(&mut self) -> Option<PathEnd> {
        self.path_end.take()
    }

    /// From now on no twist takes the base faster than `speed` [m/s], which is above 0, or infinite for no limit but those
    /// configured. A path without stamps takes longer; a trajectory does not, and may be left behind.
    pub fn limit_speed(&mut self, speed: f64) {
        self.speed_limit = speed;
    }

    /// The learner's network: whether it is wanted, in use, missed or to be given back.
    pub fn network(&mut self) -> &mut LearnedNetwork {
        &mut self.network
    }

    /// What the base has been short of the baseline's twist in the last moments, and what it would have been by the baseline
    /// alone, rms over axes as shares of the greatest velocities.
    pub fn twist_errors(&self) -> [f64; 2] {
        self.network.errors()
    }

    /// The card of the newest network.
    pub fn card(&self) -> Option<&Card> {
        self.network.residual.card()
    }

    /// Accepts weights from now on, if that is permitted, and expects the learner to be alive, or freezes those in use.
    pub fn set_learning(&mut self, enabled: bool) {
        self.network.set_learning(enabled, self.last);
    }

    /// What happened in the last tick, if the base was driven. Its axes are at no place: a correction must not depend on where
    /// the base is.
    pub fn sample(&self) -> Option<&Sample> {
        self.verdict.drives().then_some(&self.sample)
    }

    /// Whether a learner may learn from the last tick: nothing held the base up, and the head, if there is one, knows the base.
    /// A limit need not keep it from that, for what was sent is known.
    pub fn teaches(&self) -> bool {
        self.teaches
    }

    /// What is learned acts through `correction` from the next tick on.
    pub fn set_correction(&mut self, correction: Option<Box<dyn TwistCorrection>>) {
        self.authority.drop_to_zero();
        self.correction = correction;
    }

    /// Whether what learns in the tick does, or could: not with odometry that comes more seldom than the update rate says.
    pub fn head_learns(&self) -> bool {
        self.correction.as_ref().is_some_and(|correction| correction.learns())
    }

    /// Keeps what is learned as it is, or goes on learning.
    pub fn freeze_head(&mut self, frozen: bool) {
        self.correction.iter_mut().for_each(|correction| correction.freeze(frozen));
    }

    /// What was learned, to be kept; none without a head. Not for the tick: it allocates.
    pub fn model(&mut self) -> Option<Result<TwistModel>> {
        self.correction.as_mut().and_then(|correction| correction.model())
    }

    /// Goes on with what was learned before; its part of the twist begins anew at none.
    pub fn restore(&mut self, model: &TwistModel) {
        self.authority.drop_to_zero();
        self.correction.iter_mut().for_each(|correction| correction.restore(model));
    }

    /// Sets the largest authority at run time.
    pub fn set_authority(&mut self, authority: f64, assistance: Assistance) {
        (self.config.authority, self.config.assistance) = (authority.clamp(0.0, 1.0), assistance);
        self.authority.set_ceiling(self.config.authority * assistance.share());
    }

    /// Says where the odometry's frame lies in that of the path that is followed, from the next tick on. It may change as the
    /// base learns where it is; it may not be older than `transform_tolerance`.
    pub fn locate(&mut self, odometry: Transform) {
        if let Task::Path(following) = &mut self.task {
            following.frame = Some(odometry);
        }
    }

    /// Follows `path`: one with stamps from `begin` on, one without from the place that is nearest to where it begins.
    pub fn follow(&mut self, path: ReferencePath, begin: Option<Stamp>) {
        // a new plan for the same motion leaves the integrals what they are
        if self.path().is_none() {
            self.tracker.reset();
        }
        let following = Following::new(path, begin, self.task.turns_at());
        self.replace(Task::Path(following), PathEnd::Replaced);
        // freed here, and not in the tick in which the new one ends
        self.done = None;
    }

    /// Does what another controller asks for at `now`; a path is given up. What is not finite stops the base.
    pub fn ask(&mut self, now: Stamp, twist: Twist) {
        let asked = match &self.task {
            Task::Block(last) => last.then(now, twist),
            _ => Asked::new(now, twist),
        };
        self.replace(Task::Block(asked), PathEnd::Replaced);
    }

    /// Gives up what it does; the base is brought to rest within limits.
    pub fn stop(&mut self) {
        self.replace(Task::Idle, PathEnd::Stopped);
    }

    /// Does `task` instead; a path that was followed ends so.
    fn replace(&mut self, task: Task, end: PathEnd) {
        if let Task::Path(Following { path, .. }) = std::mem::replace(&mut self.task, task) {
            self.done = Some(path);
            self.path_end = Some(end);
        }
    }

    /// Computes the twist for the newest `state` at time `now`. Allocates nothing. Gives back a network that is no longer
    /// needed, so that it is freed elsewhere.
    pub fn tick(&mut self, now: Stamp, state: Option<&State>, out: &mut Twist) -> Option<Box<ResidualModel>> {
        self.teaches = false;
        let mut retired = None;
        match self.usable(now, state) {
            Ok((state, pose)) => retired = self.drive(now, state, &pose, out),
            // where the base is on its path is not known, and how it moves is
            Err(fault @ BaseFault::TransformStale { .. }) => {
                self.give_up(fault, 1.0 / self.config.update_rate, out);
                self.last = state.map(|state| state.stamp);
            }
            Err(fault) => self.halt(fault, out),
        }
        self.sent = *out;
        self.speaks = self.has_say(now);
        retired
    }

    /// See [`Self::speaks`].
    fn has_say(&mut self, now: Stamp) -> bool {
        if self.verdict.drives() || self.sent != [0.0; 3] {
            self.idle = None;
            return true;
        }
        if !self.speaks {
            return false;
        }
        // from the first tick on in which there is nothing to do, so that zero is sent however the clock jumps
        let begun = self.idle.filter(|begun| *begun <= now).unwrap_or(now);
        self.idle = Some(begun);
        now.since(begun) < FAREWELL
    }

    /// The state, if it exists, is finite and fresh, with its pose.
    fn usable<'a>(
        &self,
        now: Stamp,
        state: Option<&'a State>,
    ) -> std::result::Result<(&'a State, Pose), BaseFault> {
        let state = state.ok_or(BaseFault::NoOdometry)?;
        let pose = pose_of(state).filter(|_| state.velocity.len() == 3).ok_or(BaseFault::NoOdometry)?;
        let broken = first_non_finite(&state.position).or_else(|| first_non_finite(&state.velocity));
        if let Some(axis) = broken {
            return Err(BaseFault::StateNotFinite { axis });
        }
        let (age, timeout) = (now.since(state.stamp), self.config.odom_timeout);
        if age > timeout {
            return Err(BaseFault::OdometryStale { age, timeout });
        }
        if age < -timeout {
            return Err(BaseFault::OdometryAhead { ahead: -age });
        }
        Ok((state, self.located(now, pose)?))
    }

    /// The pose of the odometry in the frame of what is followed.
    fn located(&self, now: Stamp, pose: Pose) -> std::result::Result<Pose, BaseFault> {
        let Task::Path(Following { frame: Some(frame), .. }) = &self.task else { return Ok(pose) };
        let (age, tolerance) =
            (frame.stamp.map_or(0.0, |stamp| now.since(stamp)), self.config.transform_tolerance);
        // a localization may say where the base will be, but hardly further ahead than it may be late
        if tolerance > 0.0 && !(-tolerance - POSTDATED..=tolerance).contains(&age) {
            return Err(BaseFault::TransformStale { age, tolerance });
        }
        Ok(moved(&frame.pose, &pose))
    }

    /// Zero at once: nothing is known that a softer stop could be based on. A path is given up, because whoever sent it
    /// must decide what comes next; a twist that is still asked for is sent again when the fault is over.
    fn halt(&mut self, fault: BaseFault, out: &mut Twist) {
        *out = [0.0; 3];
        (self.ramp, self.ramp_acceleration) = ([0.0; 3], [0.0; 3]);
        self.authority.drop_to_zero();
        self.tracker.reset();
        if matches!(self.task, Task::Path(_)) {
            self.replace(Task::Idle, PathEnd::Fault(fault));
        }
        self.last = None;
        self.verdict = BaseVerdict::Stopped(fault);
    }

    fn drive(
        &mut self,
        now: Stamp,
        state: &State,
        pose: &Pose,
        out: &mut Twist,
    ) -> Option<Box<ResidualModel>> {
        self.pose = *pose;
        let period = 1.0 / self.config.update_rate;
        let gap = self.last.map(|last| state.stamp.since(last));
        // the clock was set back, or odometry was away without a tick to notice it
        let is_gap = gap.is_none_or(|gap| !(0.0..=5.0 * period).contains(&gap));
        let dt = gap.unwrap_or(period).clamp(0.0, 5.0 * period);
        // a base that had no new twist moved on with the last one, unless it was stopped
        let elapsed = gap.unwrap_or(period).clamp(0.0, self.config.odom_timeout.max(dt));
        self.last = Some(state.stamp);
        let undisturbed = self.verdict.drives() && !self.waits && !is_gap;
        if let Some(correction) = &mut self.correction {
            // what was sent is known, whether or not a limit had acted on it
            let network = self.network.residual.current();
            correction.observe(state, &self.sent, dt, undisturbed, network);
        }
        if undisturbed {
            let lost = [0, 1, 2].map(|axis| self.sent[axis] - state.velocity[axis]);
            self.watch(lost, dt);
        }
        let retired = self.network.residual.advance(dt);
        self.waits = self.advance(now, state, pose, elapsed);
        match self.baseline(now, pose, dt) {
            Ok(Some(twist)) => self.drive_by(now, state, twist, dt, out),
            Ok(None) => self.rest(BaseVerdict::Idle, dt, out),
            Err(fault @ BaseFault::AskedStale { .. }) => self.rest(BaseVerdict::Stopped(fault), dt, out),
            Err(fault @ BaseFault::PathLost { .. }) => self.give_up(fault, dt, out),
            Err(fault) => self.halt(fault, out),
        }
        self.teaches = self.verdict.drives()
            && !self.waits
            && !is_gap
            && self.correction.as_ref().is_none_or(|correction| correction.is_settled());
        retired
    }

    /// Adds what is learned to the `baseline`, within limits.
    fn drive_by(&mut self, now: Stamp, state: &State, baseline: Twist, dt: f64, out: &mut Twist) {
        *out = baseline;
        let (fault, clipped) = self.correct(now);
        let has_learned = self.correction.is_some() || self.network.residual.card().is_some();
        let authority = self.authority.update(fault.is_none() && has_learned, dt);
        // who asks for rest gets it, and not what was learned of moving
        let is_rest = matches!(&self.task, Task::Block(Asked { twist: [0.0, 0.0, 0.0], .. }));
        let authority = if is_rest { 0.0 } else { authority };
        self.added = self.correction_twist.map(|correction| authority * correction);
        if authority > 0.0 {
            out.iter_mut().zip(&self.added).for_each(|(out, added)| *out += added);
        }
        if let Some(axis) = first_non_finite(out) {
            return self.halt(BaseFault::TwistNotFinite { axis }, out);
        }
        let limited = self.limit(dt, out);
        self.verdict = match fault {
            Some(fault) => BaseVerdict::Baseline(fault),
            None if limited || clipped || self.waits => BaseVerdict::Limited,
            None => BaseVerdict::Tracking,
        };
        self.record(state, &baseline, out);
    }

    /// Moves on along the path; says whether the path waits for the base. At the end of the path there is nothing more
    /// to do.
    fn advance(&mut self, now: Stamp, state: &State, pose: &Pose, dt: f64) -> bool {
        let Task::Path(following) = &mut self.task else { return false };
        let (limits, share) = (&self.config.limits, self.config.path.share);
        let pace = PaceLimits {
            behind: self.config.constraints.behind,
            speed: HEADROOM * self.speed_limit,
            acceleration: share * limits.max_accel[0],
            deceleration: -share * limits.max_decel[0],
        };
        if self.config.drive == Drive::Differential {
            following.turn_first(pose, limits, &self.config.path);
        }
        let waits = following.advance(state.stamp, pose, &pace, dt);
        let (error, _) = following.error(pose);
        // what is sent acts from now on, and the odometry is of some time ago
        let late = now.since(state.stamp).max(0.0);
        if following.is_over(late, &error, self.config.drive) {
            let heading = wrap(error[2] + following.path.heading_left()).abs();
            let end = PathEnd::Over { distance: error[0].hypot(error[1]), heading };
            self.replace(Task::Idle, end);
        }
        waits
    }

    /// The twist without anything learned; none when there is nothing to do.
    fn baseline(
        &mut self,
        now: Stamp,
        pose: &Pose,
        dt: f64,
    ) -> std::result::Result<Option<Twist>, BaseFault> {
        match &self.task {
            Task::Idle => Ok(None),
            Task::Path(following) => {
                following.sample(&mut self.reference);
                let limited = self.verdict == BaseVerdict::Limited;
                let twist = self.tracker.command(pose, &self.reference, dt, limited);
                let (error, tolerance) = (self.distance(), self.config.constraints.path);
                if tolerance > 0.0 && error > tolerance {
                    return Err(BaseFault::PathLost { error, tolerance });
                }
                Ok(Some(twist))
            }
            Task::Block(Asked { twist, at, .. }) => {
                let (age, timeout) = (now.since(*at), self.config.cmd_vel_timeout);
                if first_non_finite(twist).is_some() {
                    return Err(BaseFault::AskedNotFinite { asked: *twist });
                }
                // of the future is one from before the clock was set back
                if timeout > 0.0 && !(-timeout..=timeout).contains(&age) {
                    // nothing was asked for, and nothing is: who asked may have ended
                    let is_rest = *twist == [0.0; 3];
                    return if is_rest { Ok(None) } else { Err(BaseFault::AskedStale { age, timeout }) };
                }
                Ok(Some(*twist))
            }
        }
    }

    /// Fills the correction of what is wanted, clipped; says what stands against it, and whether it was clipped.
    fn correct(&mut self, now: Stamp) -> (Option<BaseFault>, bool) {
        let lost = self.network.lost_learner(now).map(|silence| BaseFault::LearnerLost { silence });
        self.correction_twist = [0.0; 3];
        if self.correction.is_none() && self.network.residual.card().is_none() {
            return (lost, false);
        }
        // a twist acts for a period from now on
        let acting = self.task.wanted(0.5 / self.config.update_rate);
        self.motion.velocity.copy_from_slice(&possible(&self.greatest, &acting.velocity));
        self.motion.acceleration.copy_from_slice(&possible(&self.greatest, &acting.acceleration));
        self.network.residual.evaluate(&self.motion, &mut self.correction_twist);
        self.correction_twist = possible(&self.greatest, &self.correction_twist);
        if let Some(correction) = &mut self.correction {
            let task = &self.task;
            correction.correct(&|ahead| task.wanted(ahead), &mut self.correction_twist);
        }
        let clipped = self.network.residual.clip(&mut self.correction_twist);
        if self.correction.is_none() {
            self.network_twist = self.correction_twist;
            let shares = self.earned.shares();
            self.correction_twist.iter_mut().zip(shares).for_each(|(twist, share)| *twist *= share);
        }
        if let Some(axis) = first_non_finite(&self.correction_twist) {
            self.correction_twist = [0.0; 3];
            self.authority.drop_to_zero();
            return (Some(BaseFault::CorrectionNotFinite { axis }), false);
        }
        (lost.or_else(|| self.tolerance_violation()), clipped)
    }

    /// Takes what the base has `lost` of the twist that it was sent: by the baseline alone it would have been short of so much.
    /// What the learned part had added of it is not missing of the baseline's twist, which is what the law or the asking controller
    /// wants of the base at that moment; of the path's error the feedback hides most, and the rest shows late.
    fn watch(&mut self, lost: Twist, dt: f64) {
        self.earned.observe(&lost, &self.network_twist, dt);
        if !self.verdict.is_undisturbed() {
            return;
        }
        let (mut squares, mut axes) = ([0.0; 2], 0.0);
        for (axis, greatest) in self.greatest.iter().enumerate().filter(|(_, greatest)| **greatest > 0.0) {
            for (sum, error) in squares.iter_mut().zip([lost[axis] - self.added[axis], lost[axis]]) {
                *sum += (error / greatest).powi(2);
            }
            axes += 1.0;
        }
        self.network.watch(squares.map(|sum| sum / f64::max(axes, 1.0)), dt);
    }

    /// What a learner is told of this tick. The known twist is that for the measured motion, as of drives that take velocities.
    fn record(&mut self, state: &State, baseline: &Twist, out: &Twist) {
        let wanted = self.task.wanted(0.0);
        let corrected = self.correction.as_ref().map_or([0.0; 3], |correction| correction.known());
        let achieved = [0, 1, 2].map(|axis| state.velocity[axis]);
        let known = [0, 1, 2].map(|axis| achieved[axis] + corrected[axis]);
        let feedback = [0, 1, 2].map(|axis| baseline[axis] - wanted.velocity[axis]);
        let [achieved, sent, velocity, acceleration, known, feedback] =
            [&achieved, out, &wanted.velocity, &wanted.acceleration, &known, &feedback]
                .map(|twist| possible(&self.greatest, twist));
        self.sample.stamp = state.stamp;
        self.sample.velocity.copy_from_slice(&achieved);
        self.sample.effort.copy_from_slice(&sent);
        self.sample.reference_velocity.copy_from_slice(&velocity);
        self.sample.reference_acceleration.copy_from_slice(&acceleration);
        self.sample.feedforward_effort.copy_from_slice(&known);
        self.sample.feedback_effort.copy_from_slice(&feedback);
    }

    /// How far the base was from the reference, m.
    fn distance(&self) -> f64 {
        let [x, y, _] = self.tracker.error();
        x.hypot(*y)
    }

    /// A violated tolerance counts as mended when the error is below half of it.
    fn tolerance_violation(&self) -> Option<BaseFault> {
        let violated = matches!(self.verdict, BaseVerdict::Baseline(BaseFault::ToleranceViolated { .. }));
        let tolerance = self.config.constraints.trajectory;
        let error = self.distance();
        let is_path = matches!(self.task, Task::Path(_));
        (is_path && tolerance > 0.0 && error > if violated { 0.5 * tolerance } else { tolerance })
            .then_some(BaseFault::ToleranceViolated { error, tolerance })
    }

    /// Gives up a path, and brings the base to rest within limits.
    fn give_up(&mut self, fault: BaseFault, dt: f64, out: &mut Twist) {
        self.replace(Task::Idle, PathEnd::Fault(fault));
        self.rest(BaseVerdict::Stopped(fault), dt, out);
    }

    /// Brings the base to rest within limits.
    fn rest(&mut self, verdict: BaseVerdict, dt: f64, out: &mut Twist) {
        *out = [0.0; 3];
        self.limit(dt, out);
        self.authority.drop_to_zero();
        self.tracker.reset();
        self.verdict = verdict;
    }

    /// Within all limits; the limit of the speed leaves the base on its arc.
    fn limit(&mut self, dt: f64, out: &mut Twist) -> bool {
        let speed = out[0].hypot(out[1]);
        let is_too_fast = speed > self.speed_limit;
        if is_too_fast {
            out.iter_mut().for_each(|twist| *twist *= self.speed_limit / speed);
        }
        let limits = &self.config.limits;
        let limited = limits.limit(&self.ramp, &mut self.ramp_acceleration, dt, out);
        self.ramp = *out;
        limits.leave_out_small(out);
        is_too_fast | limited
    }
}

#[cfg(test)]
mod tests;
