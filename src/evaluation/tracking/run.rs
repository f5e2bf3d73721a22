//! One controller on one course.

use super::controller::ControllerKind;
use super::course::Course;
use super::oracle::{DriveOracle, Oracle};
use super::slotine_li::SlotineLi;
use super::tuning::Tuning;
use super::{ARMATURE, BIN, TrackingConfig};
use crate::closed_loop::ClosedLoop;
use crate::command::{Command, Mode};
use crate::control_loop::{ControllerConfig, Motion, Verdict};
use crate::controller::Gains;
use crate::error::Result;
use crate::learner::LearnerConfig;
use crate::reference::ReferencePoint;
use crate::robot::{Dynamics, Limits, Robot, first_non_finite};
use crate::sim::{ArmConfig, Plant, Scenario, SimulatedRobot};
use crate::state::State;
use std::time::Duration;

/// What a run left behind.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Mean over joints and time of the squared true tracking error in each `BIN`, rad² (or m²).
    pub squares: Vec<f64>,
    /// Ticks in which the robot was beyond a limit of position or velocity, or was commanded more than its effort.
    pub violations: usize,
    /// Ticks in which the controller had to limit a command.
    pub limited: usize,
    /// Ticks whose command was not finite.
    pub non_finite: usize,
    /// Why the run ended early, if so; `squares` is infinite from there on.
    pub fault: Option<String>,
}

/// Runs `kind` on `course`; a plant that diverges is an outcome, not an error.
pub fn run(
    config: &TrackingConfig,
    kind: ControllerKind,
    tuning: &Tuning,
    course: &Course,
) -> Result<Outcome> {
    let course = &course.delayed(config.late);
    let seconds = config.longest.map_or(course.seconds, |longest| course.seconds.min(longest));
    let mut contender = Contender::new(config, kind, tuning, course)?;
    let mut recorder = Recorder::new(config, seconds)?;
    let tick_at = |time: f64| (time.min(seconds) * config.controller.update_rate).round() as u64;
    let pauses: Vec<_> = course.pauses.iter().map(|pause| pause.map(tick_at)).collect();
    let ends = course.changes.iter().skip(1).map(|(time, _)| *time).chain([course.seconds]);
    for ((begin, scenario), end) in course.changes.iter().zip(ends) {
        if *begin > 0.0 {
            contender.set_scenario(scenario)?;
        }
        if let Err(error) = contender.run_between([*begin, end].map(tick_at), &pauses, &mut recorder) {
            recorder.fail(error.to_string());
            break;
        }
    }
    Ok(recorder.outcome())
}

/// The settings of `kind`, and the robot at the beginning of `course`.
fn set_up(
    config: &TrackingConfig,
    kind: ControllerKind,
    tuning: &Tuning,
    course: &Course,
) -> Result<(ControllerConfig, ArmConfig, SimulatedRobot)> {
    let robot = Robot::from_urdf(&config.urdf)?;
    let armature = vec![ARMATURE; robot.degrees_of_freedom()];
    let base = ControllerConfig {
        reference: course.reference.clone(),
        rotor_inertia: armature.clone(),
        command_delay: course.known_delay,
        ..config.controller.clone()
    };
    let interface = course.scenario.command_interface();
    let controller = kind.configure(&base, &robot, interface, tuning);
    let arm = ArmConfig {
        armature,
        initial_position: config.centre()?.to_vec(),
        seed: course.seed,
        ..config.arm.clone()
    };
    let (drives, scenario) = (course.drives.clone(), course.changes[0].1.clone());
    let plant = SimulatedRobot::new(&config.urdf, interface, arm.clone(), drives, scenario)?;
    Ok((controller, arm, plant))
}

/// The robot under a controller that is a [`crate::control_loop::ControlLoop`].
pub fn closed_loop(
    config: &TrackingConfig,
    kind: ControllerKind,
    tuning: &Tuning,
    course: &Course,
) -> Result<ClosedLoop<SimulatedRobot>> {
    let (controller, _, plant) = set_up(config, kind, tuning, course)?;
    let learner = kind.learner(&config.learner, course.seed);
    let learner = learner.map(|learner| LearnerConfig { command_delay: course.known_delay, ..learner });
    ClosedLoop::with_plant(&config.urdf, plant, controller, learner)
}

/// The arm under a controller of any kind.
enum Contender {
    Loop(Box<ClosedLoop<SimulatedRobot>>),
    Rival(Box<RivalLoop>),
}

impl Contender {
    fn new(config: &TrackingConfig, kind: ControllerKind, tuning: &Tuning, course: &Course) -> Result<Self> {
        if !matches!(kind, ControllerKind::SlotineLi | ControllerKind::Oracle) {
            return Ok(Self::Loop(Box::new(closed_loop(config, kind, tuning, course)?)));
        }
        let (controller, arm, plant) = set_up(config, kind, tuning, course)?;
        let law = Law::new(config, kind, tuning, &controller, arm, course)?;
        let robot = Robot::from_urdf(&config.urdf)?;
        let dynamics = Dynamics::for_robot(&config.urdf, &robot)?;
        Ok(Self::Rival(Box::new(RivalLoop::new(robot, dynamics, plant, law, &controller)?)))
    }

    fn set_scenario(&mut self, scenario: &Scenario) -> Result<()> {
        match self {
            Self::Loop(run) => run.plant.set_scenario(scenario),
            Self::Rival(run) => run.set_scenario(scenario),
        }
    }

    /// From one tick to another, but for the `pauses`.
    fn run_between(
        &mut self,
        [begin, end]: [u64; 2],
        pauses: &[[u64; 2]],
        recorder: &mut Recorder,
    ) -> Result<()> {
        let mut now = begin;
        for [from, to] in pauses.iter().map(|pause| pause.map(|tick| tick.clamp(begin, end))) {
            self.run(from.saturating_sub(now), recorder)?;
            self.pause(to - from, recorder)?;
            now = now.max(to);
        }
        self.run(end - now, recorder)
    }

    /// Errors are those of the ticks: in a pause nobody says where the robot should be.
    fn pause(&mut self, ticks: u64, recorder: &mut Recorder) -> Result<()> {
        match self {
            Self::Loop(run) => run.pause(ticks)?,
            Self::Rival(run) => run.pause(ticks)?,
        }
        (0..ticks).for_each(|_| recorder.count());
        Ok(())
    }

    fn run(&mut self, ticks: u64, recorder: &mut Recorder) -> Result<()> {
        match self {
            Self::Loop(run) => {
                let seconds = ticks as f64 / run.control.config().update_rate;
                run.run(seconds, |tick| {
                    let limited = tick.control.verdict() == Verdict::Limited;
                    recorder.take(&tick.control.reference().position, tick.actual, tick.command, limited);
                })
            }
            Self::Rival(run) => (0..ticks).try_for_each(|_| run.tick(recorder)),
        }
    }
}

/// As [`ClosedLoop`], of the rivals that are no [`crate::control_loop::ControlLoop`].
struct RivalLoop {
    plant: SimulatedRobot,
    robot: Robot,
    dynamics: Dynamics,
    /// What carries the arm's weight, Nm.
    hold: Vec<f64>,
    law: Law,
    motion: Motion,
    reference: ReferencePoint,
    ahead: ReferencePoint,
    command: Command,
    known_delay: f64,
    period: Duration,
    started: bool,
}

enum Law {
    SlotineLi(Box<SlotineLi>),
    Oracle(Box<Oracle>),
    DriveOracle(DriveOracle),
}

impl Law {
    fn new(
        config: &TrackingConfig,
        kind: ControllerKind,
        tuning: &Tuning,
        controller: &ControllerConfig,
        arm: ArmConfig,
        course: &Course,
    ) -> Result<Self> {
        let robot = Robot::from_urdf(&config.urdf)?;
        let gains = robot.joints.iter().map(|joint| controller.gains.get(joint).copied().unwrap_or_default());
        let gains: Vec<Gains> = gains.collect();
        if kind != ControllerKind::Oracle {
            let dynamics = Dynamics::for_robot(&config.urdf, &robot)?;
            let inertia = &controller.rotor_inertia;
            let law = SlotineLi::new(&robot, dynamics, inertia, gains, tuning.adaptation)?;
            return Ok(Self::SlotineLi(Box::new(law)));
        }
        if controller.command_interface != Mode::Effort {
            let drives = course.drives.clone();
            return Ok(Self::DriveOracle(DriveOracle::new(controller.command_interface, drives, gains)));
        }
        let mut oracle = Oracle::new(&config.urdf, arm, gains)?;
        oracle.set_scenario(&course.changes[0].1)?;
        Ok(Self::Oracle(Box::new(oracle)))
    }

    /// Time from a command to its effect, s, as far as it is `known`.
    fn delay(&self, known: f64) -> f64 {
        match self {
            Self::SlotineLi(_) => known,
            Self::Oracle(oracle) => oracle.delay(),
            Self::DriveOracle(oracle) => oracle.delay(),
        }
    }
}

impl RivalLoop {
    fn new(
        robot: Robot,
        dynamics: Dynamics,
        plant: SimulatedRobot,
        law: Law,
        controller: &ControllerConfig,
    ) -> Result<Self> {
        let joints = robot.degrees_of_freedom();
        Ok(Self {
            plant,
            dynamics,
            hold: vec![0.0; joints],
            law,
            motion: Motion::new(&controller.reference, &robot)?,
            reference: ReferencePoint::zeros(joints),
            ahead: ReferencePoint::zeros(joints),
            command: Command::zeros(controller.command_interface, joints),
            known_delay: controller.command_delay,
            period: Duration::from_secs_f64(1.0 / controller.update_rate),
            started: false,
            robot,
        })
    }

    fn set_scenario(&mut self, scenario: &Scenario) -> Result<()> {
        if let Law::Oracle(oracle) = &mut self.law {
            oracle.set_scenario(scenario)?;
        }
        self.plant.set_scenario(scenario)
    }

    fn pause(&mut self, ticks: u64) -> Result<()> {
        self.motion.advance(ticks as f64 * self.period.as_secs_f64());
        (0..ticks).try_for_each(|_| self.plant.step(&self.command, self.period))
    }

    fn tick(&mut self, recorder: &mut Recorder) -> Result<()> {
        let state = self.plant.state();
        let dt = self.period.as_secs_f64();
        match self.started {
            true => self.motion.advance(dt),
            false => self.motion.start(&self.robot, state),
        }
        self.started = true;
        self.motion.sample(1.0, &mut self.reference);
        // the command acts for a period from the end of the delay on
        self.motion.sample_ahead(self.law.delay(self.known_delay) + 0.5 * dt, 1.0, &mut self.ahead);
        let values = &mut self.command.values;
        match &mut self.law {
            Law::SlotineLi(law) => law.command(state, &self.reference, &self.ahead, values),
            Law::Oracle(law) => law.command(state, &self.reference, &self.ahead, values)?,
            Law::DriveOracle(law) => law.command(state, &self.reference, &self.ahead, values),
        }
        self.command.stamp = state.stamp;
        let limits = &self.robot.limits;
        let limited = match self.command.mode {
            Mode::Effort => {
                self.dynamics.gravity(&state.position, &mut self.hold);
                limits.limit_effort(&state.position, &state.velocity, &self.hold, values)
            }
            Mode::Velocity => limits.limit_velocity(&state.position, values),
            Mode::Position => limits.clamp_position(values),
        };
        if let (Law::SlotineLi(law), false) = (&mut self.law, limited) {
            law.adapt(dt);
        }
        recorder.take(&self.reference.position, self.plant.true_state(), &self.command, limited);
        self.plant.step(&self.command, self.period)
    }
}

/// Adds errors up in bins.
struct Recorder {
    limits: Limits,
    robot: Robot,
    difference: Vec<f64>,
    ticks_per_bin: u64,
    bins: usize,
    /// Of the present bin, and its ticks that were not missed.
    sum: f64,
    taken: u64,
    ticks: u64,
    outcome: Outcome,
}

impl Recorder {
    fn new(config: &TrackingConfig, seconds: f64) -> Result<Self> {
        let robot = Robot::from_urdf(&config.urdf)?;
        Ok(Self {
            limits: robot.limits.clone(),
            difference: vec![0.0; robot.degrees_of_freedom()],
            robot,
            ticks_per_bin: (BIN * config.controller.update_rate).round().max(1.0) as u64,
            bins: (seconds / BIN).round() as usize,
            sum: 0.0,
            taken: 0,
            ticks: 0,
            outcome: Outcome::default(),
        })
    }

    fn take(&mut self, reference: &[f64], actual: &State, command: &Command, limited: bool) {
        self.robot.difference(&actual.position, reference, &mut self.difference);
        let joints = self.difference.len() as f64;
        self.sum += self.difference.iter().map(|error| error * error).sum::<f64>() / joints;
        self.taken += 1;
        self.count();
        let beyond =
            |values: &[f64], limits: &[f64]| values.iter().zip(limits).any(|(v, limit)| v.abs() > *limit);
        let violated = self.limits.first_outside(&actual.position).is_some()
            || beyond(&actual.velocity, &self.limits.velocity)
            || match command.mode {
                Mode::Effort => beyond(&command.values, &self.limits.effort),
                Mode::Velocity => beyond(&command.values, &self.limits.velocity),
                Mode::Position => self.limits.first_outside(&command.values).is_some(),
            };
        self.outcome.violations += usize::from(violated);
        self.outcome.limited += usize::from(limited);
        self.outcome.non_finite += usize::from(first_non_finite(&command.values).is_some());
    }

    /// One tick more, missed or not. Bins are longer than pauses.
    fn count(&mut self) {
        self.ticks += 1;
        if self.ticks.is_multiple_of(self.ticks_per_bin) {
            self.outcome.squares.push(self.sum / self.taken as f64);
            (self.sum, self.taken) = (0.0, 0);
        }
    }

    fn fail(&mut self, fault: String) {
        self.outcome.fault = Some(fault);
        self.outcome.squares.resize(self.bins, f64::INFINITY);
    }

    fn outcome(self) -> Outcome {
        self.outcome
    }
}
