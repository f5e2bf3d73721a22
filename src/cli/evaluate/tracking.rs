//! `learned_control evaluate tracking`: the suite of scenarios on the simulated arm, or on the simulated base where the
//! parameter file is that of a base.

mod base;

use crate::config;
use crate::control_loop::ControllerConfig;
use crate::evaluation::tracking::{
    ControllerKind, ScenarioKind, TrackingConfig, page, tracking_report, tune,
};
use crate::learner::LearnerConfig;
use crate::report::{Page, Table};
use crate::sim::ArmConfig;
use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Args, Debug)]
pub struct TrackingArgs {
    /// Parameter file: with controller and learner of an arm, whose reference, a multi_sine, says about which posture it
    /// moves; or with the base_controller of a base
    #[arg(long, value_name = "FILE", default_value = "config/arm.yaml")]
    config: PathBuf,
    /// Robot description [default: urdf/arm.urdf or urdf/base.urdf]
    #[arg(long, value_name = "FILE")]
    urdf: Option<PathBuf>,
    /// Link that carries payload and pushes
    #[arg(long, default_value = "tool0")]
    tool: String,
    /// A controller's model that the learned controllers start with [default: none]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Seeds, each with a reference and noise of its own
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// Scenarios, those of the robot [default: all]
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<String>,
    /// Controllers, those for the robot [default: all]
    #[arg(long, value_delimiter = ',')]
    controller: Vec<String>,
    /// End runs after so long, s; windows that do not fit are left out
    #[arg(long)]
    longest: Option<f64>,
    /// Commands act so many milliseconds later, and nobody knows; of arms
    #[arg(long, default_value_t = 0)]
    late: u64,
    /// Threads [default: one a core]
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// End with code 1 if a statement fails
    #[arg(long)]
    check: bool,
    /// Instead, try settings of the rivals, on seeds that the suite does not use
    #[arg(long)]
    tune: bool,
    /// Where the figures are written [default: target/report/tracking.json or tracking_base.json]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where a page with plots is written [default: target/report/tracking.html or tracking_base.html]
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub fn run(args: &TrackingArgs) -> Result<ExitCode> {
    if config::has_section(&args.config, base::NODE)? {
        anyhow::ensure!(args.late == 0, "--late is for arms; bases have the scenario delay");
        return base::run(args);
    }
    let config = configuration(args)?;
    let bar = ProgressBar::new(0);
    let progress = shown_on(&bar);
    if args.tune {
        let mut tried = tune(&config, progress)?;
        bar.finish_and_clear();
        tried.sort_by(|a, b| {
            (a.controller, a.condition, a.error)
                .partial_cmp(&(b.controller, b.condition, b.error))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let mut table = Table::new("Tried", ["controller", "condition", "error [mrad]", "setting"]);
        for tried in &tried {
            let condition = format!("{:?}", tried.condition).to_lowercase();
            let error = format!("{:.4}", 1e3 * tried.error);
            table.row([tried.controller.name(), &condition, &error, &tried.setting]);
        }
        println!("{table}");
        return Ok(ExitCode::SUCCESS);
    }
    let start = Instant::now();
    let report = tracking_report(&config, progress)?;
    bar.finish_and_clear();
    println!("{report}");
    let elapsed = start.elapsed().as_secs_f64();
    println!(
        "{:.0} s simulated in {elapsed:.0} s, {:.1} times real time on {} threads",
        report.simulated,
        report.simulated / elapsed,
        config.threads
    );
    args.write(&report.json(), &page(&report), "tracking")?;
    Ok(args.verdict(report.statements().iter().all(|statement| statement.pass)))
}

impl TrackingArgs {
    fn description(&self, default: &str) -> Result<String> {
        let path = self.urdf.clone().unwrap_or_else(|| default.into());
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    fn threads(&self) -> NonZeroUsize {
        self.jobs.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
    }

    /// With --check a failure where not all statements `hold`.
    fn verdict(&self, hold: bool) -> ExitCode {
        if self.check && !hold { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    /// Writes figures and page, where nothing else was said to `name` in target/report.
    fn write(&self, json: &serde_json::Value, page: &Page, name: &str) -> Result<()> {
        let or_default = |given: &Option<PathBuf>, ending: &str| {
            given.clone().unwrap_or_else(|| format!("target/report/{name}.{ending}").into())
        };
        let paths = [or_default(&self.json, "json"), or_default(&self.html, "html")];
        for folder in paths.iter().filter_map(|path| path.parent()) {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        crate::files::replace(&paths[0], serde_json::to_string_pretty(json)?.as_bytes())?;
        page.write(&paths[1])?;
        println!("{} and {}", paths[0].display(), paths[1].display());
        Ok(())
    }
}

/// Shows on `bar` how many runs of how many are done.
fn shown_on(bar: &ProgressBar) -> impl Fn(usize, usize) + Sync + '_ {
    |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    }
}

/// The values that were named, or all when none was.
fn chosen<T: ValueEnum>(given: &[String], what: &str) -> Result<Vec<T>> {
    if given.is_empty() {
        return Ok(T::value_variants().to_vec());
    }
    let parse = |name: &String| {
        T::from_str(name, false).map_err(|_| {
            let known = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
            let known: Vec<String> = known.map(|value| value.get_name().to_owned()).collect();
            anyhow!("--{what} {name}: this robot has none such; expected {}", known.join(", "))
        })
    };
    given.iter().map(parse).collect()
}

fn configuration(args: &TrackingArgs) -> Result<TrackingConfig> {
    let urdf = args.description("urdf/arm.urdf")?;
    let mut controller: ControllerConfig = config::read_file(&args.config, "controller")?;
    controller.model_file = args.model.as_ref().map_or(String::new(), |path| path.display().to_string());
    let learner: LearnerConfig = config::read_file(&args.config, "learner")?;
    Ok(TrackingConfig {
        urdf,
        arm: ArmConfig { tool: args.tool.clone(), ..Default::default() },
        controller,
        learner,
        scenarios: chosen::<ScenarioKind>(&args.scenario, "scenario")?,
        controllers: chosen::<ControllerKind>(&args.controller, "controller")?,
        seeds: args.seeds,
        longest: args.longest,
        late: Duration::from_millis(args.late),
        threads: args.threads(),
    })
}
