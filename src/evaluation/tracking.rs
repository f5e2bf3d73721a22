//! How well the simulated arm tracks, with learning and without: every controller on the same courses, with the same noise,
//! beside classical rivals and an oracle. No ROS, faster than real time, the same figures each time.

mod controller;
mod course;
mod delay;
mod figures;
mod oracle;
mod render;
mod run;
mod slotine_li;
mod statement;
mod tuning;

pub use controller::ControllerKind;
pub use course::{Course, Purpose, ReferenceKind, ScenarioKind};
pub use figures::{Figure, Run, Window, WorstSecond, median};
pub use render::page;
pub use run::Outcome;
pub use slotine_li::Adaptation;
pub use statement::Statement;
pub use tuning::{Condition, Tried, Tuning, tune};

use crate::control_loop::{ControllerConfig, ReferenceConfig};
use crate::error::{Error, Result};
use crate::learner::LearnerConfig;
use crate::sim::ArmConfig;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Errors are added up over this time, s.
const BIN: f64 = 0.1;
/// Rotor inertia of plant and models, kg m².
const ARMATURE: f64 = 0.05;

#[derive(Clone, Debug)]
pub struct TrackingConfig {
    /// Of the robot and of every controller's model.
    pub urdf: String,
    pub arm: ArmConfig,
    /// Gains, head and limits; its reference, a multi_sine, gives the posture about which the arm moves.
    pub controller: ControllerConfig,
    pub learner: LearnerConfig,
    pub scenarios: Vec<ScenarioKind>,
    pub controllers: Vec<ControllerKind>,
    pub seeds: u64,
    /// Runs end here [s]; none: when the course does.
    pub longest: Option<f64>,
    /// Commands act so much later than in the scenarios, and nobody knows.
    pub late: Duration,
    pub threads: NonZeroUsize,
}

impl TrackingConfig {
    /// The posture about which the arm moves, rad or m.
    pub fn centre(&self) -> Result<&[f64]> {
        match &self.controller.reference {
            ReferenceConfig::MultiSine(reference) => Ok(&reference.centre),
            other => Err(Error::mismatch("controller.reference.kind", format!("{other:?}"), "multi_sine")),
        }
    }
}

/// All runs, in the order of scenario, controller and seed.
#[derive(Clone, Debug)]
pub struct TrackingReport {
    pub runs: Vec<Run>,
    /// Simulated time of all, s.
    pub simulated: f64,
}

/// Runs everything, telling `progress` how many runs of how many are done.
pub fn tracking_report(
    config: &TrackingConfig,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<TrackingReport> {
    let centre = config.centre()?;
    let known_delay = delay::measured_delays(config)?;
    let mut tasks = Vec::new();
    for &scenario in &config.scenarios {
        for &controller in config.controllers.iter().filter(|kind| kind.takes_part_in(scenario)) {
            for seed in 0..config.seeds {
                tasks.push((scenario, controller, seed));
            }
        }
    }
    let runs = in_parallel(config.threads, &tasks, progress, |&(scenario, controller, seed)| {
        let mut course = scenario.course(Purpose::Suite, seed, centre);
        course.known_delay = known_delay(scenario);
        let tuning = Tuning::of(scenario.condition());
        let outcome = run::run(config, controller, &tuning, &course)?;
        Ok(Run {
            scenario,
            controller,
            seed,
            reference: course.reference_kind,
            origins: course.origins,
            outcome,
        })
    })?;
    let simulated = runs.iter().map(|run| run.outcome.squares.len() as f64 * BIN).sum();
    Ok(TrackingReport { runs, simulated })
}

/// The results of `work` on each task, in the order of the tasks, whatever thread did which; the first error ends all.
pub(super) fn in_parallel<Task: Sync, Out: Send>(
    threads: NonZeroUsize,
    tasks: &[Task],
    progress: impl Fn(usize, usize) + Sync,
    work: impl Fn(&Task) -> Result<Out> + Sync,
) -> Result<Vec<Out>> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let results = Mutex::new(Vec::with_capacity(tasks.len()));
    let lock = || results.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(task) = tasks.get(index) else { return };
                    let result = work(task);
                    failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    let mut results = lock();
                    results.push((index, result));
                    progress(results.len(), tasks.len());
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests;
