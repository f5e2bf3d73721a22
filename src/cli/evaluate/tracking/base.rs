//! The suite on the simulated base.

use super::{TrackingArgs, chosen, shown_on};
use crate::base::{BaseControllerConfig, Drive};
use crate::config;
use crate::evaluation::base_tracking::{
    BaseControllerKind, BaseScenarioKind, BaseTrackingConfig, base_page, base_tracking_report, tune_base,
};
use crate::report::Table;
use crate::sim::BaseConfig;
use anyhow::{Result, ensure};
use indicatif::ProgressBar;
use serde::Deserialize;
use std::process::ExitCode;
use std::time::Instant;

/// The section of the parameter file that says that the robot is a base.
pub const NODE: &str = "base_controller";

pub fn run(args: &TrackingArgs) -> Result<ExitCode> {
    let config = configuration(args)?;
    let bar = ProgressBar::new(0);
    let progress = shown_on(&bar);
    if args.tune {
        let mut tried = tune_base(&config, progress)?;
        bar.finish_and_clear();
        tried.sort_by(|a, b| a.controller.cmp(&b.controller).then(a.score().total_cmp(&b.score())));
        let header = [
            "controller",
            "cross-track 0-10 s [mm]",
            "heading [mrad]",
            "cross-track 10-30 s [mm]",
            "heading [mrad]",
            "setting",
        ];
        let mut table = Table::new("Tried", header);
        for tried in &tried {
            let errors = tried.errors.iter().flatten().map(|error| format!("{:.2}", 1e3 * error));
            let cells = [tried.controller.name().to_owned()].into_iter().chain(errors);
            table.row(cells.chain([tried.setting.clone()]));
        }
        println!("{table}");
        return Ok(ExitCode::SUCCESS);
    }
    let start = Instant::now();
    let report = base_tracking_report(&config, progress)?;
    bar.finish_and_clear();
    println!("{report}");
    let elapsed = start.elapsed().as_secs_f64();
    println!("{:.0} s simulated in {elapsed:.0} s on {} threads", report.simulated, config.threads);
    args.write(&report.json(), &base_page(&report), "tracking_base")?;
    Ok(args.verdict(report.statements().iter().all(|statement| statement.pass)))
}

/// What the suite takes of the simulator's section.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SimulatorSection {
    base: BaseConfig,
}

fn configuration(args: &TrackingArgs) -> Result<BaseTrackingConfig> {
    let controller: BaseControllerConfig = config::read_file(&args.config, NODE)?;
    controller.check()?;
    let SimulatorSection { base } = config::read_file(&args.config, "base_simulator")?;
    let file = args.config.display();
    ensure!(
        controller.drive == base.drive,
        "{file}: {NODE}.drive is {:?} and base_simulator.base.drive is {:?}; expected the same",
        controller.drive,
        base.drive
    );
    let on_wheels = base.drive == Drive::Differential;
    let mut scenarios = chosen::<BaseScenarioKind>(&args.scenario, "scenario")?;
    if args.scenario.is_empty() {
        scenarios.retain(|scenario| scenario.is_of(base.drive));
    }
    Ok(BaseTrackingConfig {
        urdf: on_wheels.then(|| args.description("urdf/base.urdf")).transpose()?,
        controller,
        learner: config::read_file(&args.config, "base_learner")?,
        base,
        scenarios,
        controllers: chosen::<BaseControllerKind>(&args.controller, "controller")?,
        seeds: args.seeds,
        longest: args.longest,
        threads: args.threads(),
    })
}
