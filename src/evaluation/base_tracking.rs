//! How well the simulated base follows paths: every controller on the same courses, with the same noise, beside rivals and
//! an oracle. No ROS, faster than real time, the same figures each time.

mod controller;
mod course;
mod figures;
mod mppi;
mod oracle;
mod render;
mod run;
mod statement;
mod tuning;

pub use controller::BaseControllerKind;
pub use course::{BaseCourse, BaseReferenceKind, BaseScenarioKind};
pub use figures::{BaseFigure, BaseRun, Quantity};
pub use mppi::MppiConfig;
pub use render::base_page;
pub use run::BaseOutcome;
pub use statement::BaseStatement;
pub use tuning::{BaseTried, BaseTuning, tune_base};

use super::tracking::{Purpose, in_parallel};
use crate::base::BaseControllerConfig;
use crate::error::Result;
use crate::learner::LearnerConfig;
use crate::sim::BaseConfig;
use std::num::NonZeroUsize;

/// Errors are added up over this time, s.
const BIN: f64 = 0.1;

#[derive(Clone, Debug)]
pub struct BaseTrackingConfig {
    /// Of a base on wheels.
    pub urdf: Option<String>,
    /// Law, limits and rate of every controller.
    pub controller: BaseControllerConfig,
    /// Of the controllers with a network; its seed is that of the course.
    pub learner: LearnerConfig,
    /// The simulated base; pose and seed are those of the course.
    pub base: BaseConfig,
    pub scenarios: Vec<BaseScenarioKind>,
    pub controllers: Vec<BaseControllerKind>,
    pub seeds: u64,
    /// Runs end here [s]; none: when the course does.
    pub longest: Option<f64>,
    pub threads: NonZeroUsize,
}

/// All runs, in the order of scenario, controller and seed.
#[derive(Clone, Debug)]
pub struct BaseTrackingReport {
    pub runs: Vec<BaseRun>,
    /// Simulated time of all, s.
    pub simulated: f64,
}

/// Runs everything, telling `progress` how many runs of how many are done.
pub fn base_tracking_report(
    config: &BaseTrackingConfig,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<BaseTrackingReport> {
    let mut tasks = Vec::new();
    for &scenario in &config.scenarios {
        for &controller in &config.controllers {
            tasks.extend((0..config.seeds).map(|seed| (scenario, controller, seed)));
        }
    }
    let tuning = BaseTuning::of(config.controller.drive);
    let runs = in_parallel(config.threads, &tasks, progress, |&(scenario, controller, seed)| {
        let course = scenario.course(Purpose::Suite, seed, &config.controller)?;
        let outcome = run::run(config, controller, &tuning, &course)?;
        Ok(BaseRun {
            scenario,
            controller,
            seed,
            reference: course.reference_kind,
            origin: course.origin(),
            outcome,
        })
    })?;
    let simulated = runs.iter().map(|run| run.outcome.cross_track.len() as f64 * BIN).sum();
    Ok(BaseTrackingReport { runs, simulated })
}

#[cfg(test)]
mod tests;
