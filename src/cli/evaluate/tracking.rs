//! `learned_control evaluate tracking`: the suite of scenarios on the simulated arm.

use crate::config;
use crate::control_loop::ControllerConfig;
use crate::evaluation::tracking::{
    ControllerKind, ScenarioKind, TrackingConfig, page, tracking_report, tune,
};
use crate::learner::LearnerConfig;
use crate::report::Table;
use crate::sim::ArmConfig;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Args, Debug)]
pub struct TrackingArgs {
    /// Parameter file with controller and learner; its reference, a multi_sine, says about which posture the arm moves
    #[arg(long, value_name = "FILE", default_value = "config/arm.yaml")]
    config: PathBuf,
    /// Robot description
    #[arg(long, value_name = "FILE", default_value = "urdf/arm.urdf")]
    urdf: PathBuf,
    /// Link that carries payload and pushes
    #[arg(long, default_value = "tool0")]
    tool: String,
    /// A controller's model that the learned controllers start with [default: none]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Seeds, each with a reference and noise of its own
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// Scenarios [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    scenario: Vec<ScenarioKind>,
    /// Controllers [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    controller: Vec<ControllerKind>,
    /// End runs after so long, s; windows that do not fit are left out
    #[arg(long)]
    longest: Option<f64>,
    /// Threads [default: one a core]
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// End with code 1 if a statement fails
    #[arg(long)]
    check: bool,
    /// Instead, try settings of the rivals, on seeds that the suite does not use
    #[arg(long)]
    tune: bool,
    /// Where the figures are written
    #[arg(long, value_name = "FILE", default_value = "target/report/tracking.json")]
    json: PathBuf,
    /// Where a page with plots is written
    #[arg(long, value_name = "FILE", default_value = "target/report/tracking.html")]
    html: PathBuf,
}

pub fn run(args: &TrackingArgs) -> Result<ExitCode> {
    let config = configuration(args)?;
    let bar = ProgressBar::new(0);
    let progress = |done: usize, of: usize| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    };
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
    for path in [&args.json, &args.html] {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
    }
    crate::files::replace(&args.json, serde_json::to_string_pretty(&report.json())?.as_bytes())?;
    page(&report).write(&args.html)?;
    println!("{} and {}", args.json.display(), args.html.display());
    let failed = report.statements().iter().any(|statement| !statement.pass);
    Ok(if args.check && failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn configuration(args: &TrackingArgs) -> Result<TrackingConfig> {
    let urdf = std::fs::read_to_string(&args.urdf).with_context(|| args.urdf.display().to_string())?;
    let mut controller: ControllerConfig = config::read_file(&args.config, "controller")?;
    controller.model_file = args.model.as_ref().map_or(String::new(), |path| path.display().to_string());
    let learner: LearnerConfig = config::read_file(&args.config, "learner")?;
    let all_cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let or_all = |given: &[ScenarioKind]| match given {
        [] => ScenarioKind::value_variants().to_vec(),
        given => given.to_vec(),
    };
    Ok(TrackingConfig {
        urdf,
        arm: ArmConfig { tool: args.tool.clone(), ..Default::default() },
        controller,
        learner,
        scenarios: or_all(&args.scenario),
        controllers: match args.controller.as_slice() {
            [] => ControllerKind::value_variants().to_vec(),
            given => given.to_vec(),
        },
        seeds: args.seeds,
        longest: args.longest,
        threads: args.jobs.unwrap_or(all_cores),
    })
}
