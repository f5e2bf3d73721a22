//! One controller on one course.

use super::controller::BaseControllerKind;
use super::course::BaseCourse;
use super::figures::Quantity;
use super::mppi::Mppi;
use super::oracle::oracle;
use super::tuning::BaseTuning;
use super::{BIN, BaseTrackingConfig};
use crate::base::{
    BaseControllerConfig, BaseDescription, BaseLoop, BaseVerdict, Drive, ReferencePath, Twist, pose_of,
};
use crate::closed_loop::PacedLearner;
use crate::command::{Command, Mode};
use crate::error::Result;
use crate::learner::LearnerConfig;
use crate::robot::first_non_finite;
use crate::sim::{BaseConfig, BaseScenario, Plant, SimulatedBase};
use crate::state::State;
use std::time::Duration;

/// How far in time the base may be from its reference to be looked for there, s.
const SEARCH: f64 = 2.0;

/// What a run left behind.
#[derive(Clone, Debug, Default)]
pub struct BaseOutcome {
    /// Mean of the squared true distance to the path [m²] and angle to its direction [rad²] in each `BIN`.
    pub cross_track: Vec<f64>,
    pub heading: Vec<f64>,
    /// Ticks whose twist was beyond a limit of velocity or acceleration, or not finite.
    pub violations: usize,
    /// Ticks in which the controller had to limit a twist.
    pub limited: usize,
    /// Why the run ended early, if so; errors are infinite from there on.
    pub fault: Option<String>,
}

impl BaseOutcome {
    pub fn squares(&self, quantity: Quantity) -> &[f64] {
        match quantity {
            Quantity::CrossTrack => &self.cross_track,
            Quantity::Heading => &self.heading,
        }
    }
}

/// Runs `kind` on `course`; a plant that diverges is an outcome, not an error.
pub fn run(
    config: &BaseTrackingConfig,
    kind: BaseControllerKind,
    tuning: &BaseTuning,
    course: &BaseCourse,
) -> Result<BaseOutcome> {
    let seconds = config.longest.map_or(course.seconds, |longest| course.seconds.min(longest));
    let base = BaseConfig { initial_pose: course.start, seed: course.seed, ..config.base.clone() };
    let mut base = SimulatedBase::new(config.urdf.as_deref(), base, course.scenario.clone())?;
    let controller = kind.configure(&config.controller, tuning);
    let period = Duration::from_secs_f64(1.0 / controller.update_rate);
    let mut contender = Contender::new(kind, controller.clone(), tuning, course, &base)?;
    if kind.has_network() {
        let rule = kind.rule().unwrap_or(config.learner.rule);
        let learner = LearnerConfig { rule, seed: course.seed, ..config.learner.clone() };
        contender = contender.with_learner(learner)?;
    }
    let mut command = Command::zeros(Mode::Velocity, 3);
    let mut recorder = Recorder::new(&controller);
    let mut change = course.change.clone();
    for tick in 0..(seconds / period.as_secs_f64()).round() as u64 {
        if let Some((_, scenario)) = change.take_if(|(from, _)| tick as f64 * period.as_secs_f64() >= *from) {
            base.set_scenario(scenario.clone())?;
            if kind == BaseControllerKind::Oracle {
                contender.tell(&base, scenario);
            }
        }
        let mut twist = [0.0; 3];
        let (time, limited) = contender.tick(&base, course, &mut twist)?;
        recorder.take(course, &base, time, &twist, limited);
        command.values.copy_from_slice(&twist);
        if let Err(error) = base.step(&command, period) {
            recorder.fail(error.to_string(), seconds);
            break;
        }
    }
    Ok(recorder.outcome)
}

impl BaseControllerKind {
    fn configure(self, base: &BaseControllerConfig, tuning: &BaseTuning) -> BaseControllerConfig {
        let mut config = base.clone();
        config.tracker = tuning.tracker.unwrap_or(base.tracker);
        config.tracker.integral = 0.0;
        config.head.enabled = false;
        match self {
            Self::Integral => {
                (config.tracker.integral, config.tracker.integral_clamp) =
                    (tuning.integral.rate, tuning.integral.clamp);
            }
            // it is not to be judged by a bound that is there for what may be wrong
            Self::Oracle => config.correction_limit = [1.0, 1.0, 3.0],
            Self::Head | Self::Learned => config.head.enabled = true,
            Self::Baseline
            | Self::Mppi
            | Self::Learner
            | Self::LearnerTrackingError
            | Self::LearnerComposite => {}
        }
        (config.learning, config.accept_weights) = (self.has_network(), self.has_network());
        config
    }
}

/// The base's controller of any kind.
enum Contender {
    Loop(Box<BaseLoop>, Option<Box<PacedLearner>>),
    Mppi(Box<MppiLoop>),
}

impl Contender {
    fn new(
        kind: BaseControllerKind,
        config: BaseControllerConfig,
        tuning: &BaseTuning,
        course: &BaseCourse,
        base: &SimulatedBase,
    ) -> Result<Self> {
        if kind == BaseControllerKind::Mppi {
            let law = Mppi::new(tuning.mppi, config.limits.clone(), base.config().lag, course.seed);
            let (sent, acceleration) = ([0.0; 3], [0.0; 3]);
            return Ok(Self::Mppi(Box::new(MppiLoop { law, config, time: 0.0, sent, acceleration })));
        }
        let mut control = BaseLoop::new(config)?;
        control.follow(course.path.clone(), None);
        let mut contender = Self::Loop(Box::new(control), None);
        if kind == BaseControllerKind::Oracle {
            contender.tell(base, course.scenario.clone());
        }
        Ok(contender)
    }

    /// The same with a learner.
    fn with_learner(self, learner: LearnerConfig) -> Result<Self> {
        let Self::Loop(control, _) = self else { return Ok(self) };
        let robot = BaseDescription::of(control.config()).robot();
        let learner = LearnerConfig { command_interface: robot.command_interface, ..learner };
        let paced = PacedLearner::new(learner, &robot, control.config().update_rate)?;
        Ok(Self::Loop(control, Some(Box::new(paced))))
    }

    /// Tells an oracle that `base` is as `scenario` says.
    fn tell(&mut self, base: &SimulatedBase, scenario: BaseScenario) {
        if let Self::Loop(control, _) = self {
            let period = 1.0 / control.config().update_rate;
            control.set_correction(Some(oracle(base, scenario, period)));
        }
    }

    /// The twist for the newest odometry, the time on the path, and whether a limit acted.
    fn tick(&mut self, base: &SimulatedBase, course: &BaseCourse, twist: &mut Twist) -> Result<(f64, bool)> {
        let state = base.state();
        match self {
            Self::Loop(control, learner) => {
                control.network().hear_learner(state.stamp);
                drop(control.tick(state.stamp, Some(state), twist));
                if let Some(learner) = learner {
                    let sample = control.sample().filter(|_| control.teaches()).cloned();
                    learner.tick(sample, control.network())?;
                }
                let time = control.path().map_or(course.seconds, |(_, time)| time);
                Ok((time, control.verdict() == BaseVerdict::Limited))
            }
            Self::Mppi(rival) => Ok(rival.tick(state, &course.path, twist)),
        }
    }
}

/// What a [`BaseLoop`] does beside its law, for a rival that has another.
struct MppiLoop {
    law: Mppi,
    config: BaseControllerConfig,
    /// On the path, s.
    time: f64,
    sent: Twist,
    acceleration: Twist,
}

impl MppiLoop {
    fn tick(&mut self, state: &State, path: &ReferencePath, twist: &mut Twist) -> (f64, bool) {
        let (time, period) = (self.time, 1.0 / self.config.update_rate);
        *twist = self.law.command(state, path, time, period);
        let limits = &self.config.limits;
        let limited = limits.limit(&self.sent, &mut self.acceleration, period, twist);
        self.sent = *twist;
        limits.leave_out_small(twist);
        self.time += period;
        (time, limited)
    }
}

/// Adds errors up in bins.
struct Recorder {
    config: BaseControllerConfig,
    ticks_per_bin: u64,
    sums: [f64; 2],
    ticks: u64,
    last: Twist,
    outcome: BaseOutcome,
}

impl Recorder {
    fn new(config: &BaseControllerConfig) -> Self {
        Self {
            ticks_per_bin: (BIN * config.update_rate).round().max(1.0) as u64,
            sums: [0.0; 2],
            ticks: 0,
            last: [0.0; 3],
            outcome: BaseOutcome::default(),
            config: config.clone(),
        }
    }

    fn take(&mut self, course: &BaseCourse, base: &SimulatedBase, time: f64, twist: &Twist, limited: bool) {
        if let Some(pose) = pose_of(base.true_state()) {
            let [along, across, heading] = course.path.project(&pose, time, SEARCH).error;
            // a base that looks elsewhere than along its path has both
            let sideways = self.config.drive == Drive::Omnidirectional;
            self.sums[0] += across * across + if sideways { along * along } else { 0.0 };
            self.sums[1] += heading * heading;
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(self.ticks_per_bin) {
            let [cross_track, heading] = self.sums.map(|sum| sum / self.ticks_per_bin as f64);
            self.outcome.cross_track.push(cross_track);
            self.outcome.heading.push(heading);
            self.sums = [0.0; 2];
        }
        self.outcome.limited += usize::from(limited);
        self.outcome.violations += usize::from(self.violates(twist));
        self.last = *twist;
    }

    fn violates(&self, twist: &Twist) -> bool {
        const ROUNDING: f64 = 1e-9;
        let limits = &self.config.limits;
        first_non_finite(twist).is_some()
            || (0..3).any(|axis| {
                let most = limits.max_accel[axis].max(-limits.max_decel[axis]) / self.config.update_rate;
                twist[axis] > limits.max_velocity[axis] + ROUNDING
                    || twist[axis] < limits.min_velocity[axis] - ROUNDING
                    || (twist[axis] - self.last[axis]).abs() > most + ROUNDING
            })
    }

    fn fail(&mut self, fault: String, seconds: f64) {
        let bins = (seconds / BIN).round() as usize;
        self.outcome.fault = Some(fault);
        self.outcome.cross_track.resize(bins, f64::INFINITY);
        self.outcome.heading.resize(bins, f64::INFINITY);
    }
}
