//! Robot, control loop and learner in one process and one thread, faster than real time and bit for bit repeatable:
//! for tests, for training data and for evaluation without ROS.

use crate::command::Command;
use crate::control_loop::{ControlLoop, ControllerConfig, LearnedNetwork};
use crate::controller::ResidualModel;
use crate::error::{Error, Result};
use crate::learner::{Learner, LearnerConfig, Sample};
use crate::robot::Robot;
use crate::sim::{Arm, ArmConfig, Plant, Scenario};
use crate::state::State;
use std::time::Duration;

/// A simulated robot under control, with a learner if there is a config for one.
pub struct ClosedLoop<P = Arm> {
    pub plant: P,
    pub control: ControlLoop,
    learner: Option<PacedLearner>,
    command: Command,
    period: Duration,
    ticks: u64,
}

/// What one tick left behind.
pub struct Tick<'a> {
    /// Seconds since the beginning.
    pub time: f64,
    /// As measured, with noise.
    pub measured: &'a State,
    /// As it really was.
    pub actual: &'a State,
    pub command: &'a Command,
    pub control: &'a ControlLoop,
}

/// A learner beside a control loop, of an arm or of a base, at its configured pace in simulated time.
pub struct PacedLearner {
    learner: Learner,
    robot: Robot,
    ticks: u64,
    ticks_per_step: u64,
    steps_per_tick: u64,
    ticks_per_update: u64,
}

impl ClosedLoop<Arm> {
    /// An arm in `scenario` from the start.
    pub fn new(
        urdf: &str,
        arm: ArmConfig,
        scenario: Scenario,
        controller: ControllerConfig,
        learner: Option<LearnerConfig>,
    ) -> Result<Self> {
        let mut arm = Arm::new(urdf, arm)?;
        arm.set_scenario(scenario)?;
        Self::with_plant(urdf, arm, controller, learner)
    }
}

impl<P: Plant> ClosedLoop<P> {
    /// The robot of `urdf`, as `plant` simulates it; with a learner the controller accepts its weights.
    pub fn with_plant(
        urdf: &str,
        plant: P,
        controller: ControllerConfig,
        learner: Option<LearnerConfig>,
    ) -> Result<Self> {
        if !controller.joints.is_empty() {
            let found = format!("{:?}", controller.joints);
            return Err(Error::mismatch("controller.joints", found, "none: all joints are simulated"));
        }
        let (rate, command_interface) = (controller.update_rate, controller.command_interface);
        let learner = learner.map(|config| LearnerConfig { command_interface, ..config });
        let controller =
            ControllerConfig { learning: learner.is_some(), accept_weights: learner.is_some(), ..controller };
        let control = ControlLoop::load(controller, urdf)?;
        let learner = learner.map(|config| PacedLearner::new(config, control.robot(), rate)).transpose()?;
        Ok(Self {
            plant,
            command: Command::zeros(command_interface, control.robot().degrees_of_freedom()),
            control,
            learner,
            period: Duration::from_secs_f64(1.0 / rate),
            ticks: 0,
        })
    }

    /// Runs for `seconds`, showing each tick to `observe`.
    pub fn run(&mut self, seconds: f64, mut observe: impl FnMut(Tick)) -> Result<()> {
        let ticks = (seconds / self.period.as_secs_f64()).round() as u64;
        for _ in 0..ticks {
            self.tick()?;
            let (control, command) = (&self.control, &self.command);
            let (measured, actual) = (self.plant.state(), self.plant.true_state());
            let time = self.ticks as f64 * self.period.as_secs_f64();
            observe(Tick { time, measured, actual, command, control });
            self.plant.step(&self.command, self.period)?;
        }
        Ok(())
    }

    /// Lets so many ticks be missed: the plant goes on with the last command.
    pub fn pause(&mut self, ticks: u64) -> Result<()> {
        self.ticks += ticks;
        (0..ticks).try_for_each(|_| self.plant.step(&self.command, self.period))
    }

    /// Root mean square over joints and time of the true tracking error in each of the next `seconds` [rad or m].
    pub fn rms_by_second(&mut self, seconds: usize) -> Result<Vec<f64>> {
        let joints = self.control.robot().degrees_of_freedom() as f64;
        let mut out = Vec::with_capacity(seconds);
        for _ in 0..seconds {
            let (mut sum, mut ticks) = (0.0, 0.0);
            self.run(1.0, |tick| {
                let reference = &tick.control.reference().position;
                sum += reference.iter().zip(&tick.actual.position).map(|(r, q)| (r - q).powi(2)).sum::<f64>();
                ticks += 1.0;
            })?;
            out.push(f64::sqrt(sum / (ticks * joints)));
        }
        Ok(out)
    }

    fn tick(&mut self) -> Result<()> {
        let state = self.plant.state();
        self.control.hear_learner(state.stamp);
        drop(self.control.tick(state.stamp, Some(state), &mut self.command));
        self.ticks += 1;
        let Some(paced) = &mut self.learner else { return Ok(()) };
        let sample = self.control.sample().filter(|_| self.control.teaches()).cloned();
        paced.tick(sample, self.control.network())
    }
}

impl PacedLearner {
    /// Beside a loop of `robot` that ticks `rate` times a second.
    pub fn new(config: LearnerConfig, robot: &Robot, rate: f64) -> Result<Self> {
        let ticks_per = |events_per_second: f64| ((rate / events_per_second).round() as u64).max(1);
        Ok(Self {
            ticks: 0,
            ticks_per_step: ticks_per(config.steps_per_second),
            steps_per_tick: ((config.steps_per_second / rate).round() as u64).max(1),
            ticks_per_update: ticks_per(config.updates_per_second),
            learner: Learner::new(config, robot)?,
            robot: robot.clone(),
        })
    }

    /// After a tick of the loop: learns from its `sample`, if it may be learned from, and hands `network` new weights when they
    /// are due and wanted.
    pub fn tick(&mut self, sample: Option<Sample>, network: &mut LearnedNetwork) -> Result<()> {
        self.ticks += 1;
        sample.into_iter().for_each(|sample| self.learner.observe(sample));
        if self.ticks.is_multiple_of(self.ticks_per_step) {
            (0..self.steps_per_tick).try_for_each(|_| self.learner.step())?;
        }
        if self.ticks.is_multiple_of(self.ticks_per_update)
            && network.wants_model()
            && let Some(weights) = self.learner.update()?
        {
            let model = ResidualModel::from_bytes(&weights.bytes, "learner", &self.robot)?;
            network.accept(Box::new(model));
        }
        Ok(())
    }
}
