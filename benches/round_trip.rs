//! From joint states to the command through ROS 2, at 100, 500 and 1000 Hz: our controller and predictor against the
//! barest node of r2r, rclpy, and rclpy with PyTorch where the Python that `PYTHON` names has it.
//! `cargo bench --features ros --bench round_trip [-- SECONDS]`, of each contestant at each rate. See benches/common for
//! how it is measured, and docs/performance.md for figures.
//!
//! A client publishes joint states of seven joints, best effort, one at a time, and waits for the command. Each
//! contestant has a client and a DDS domain of its own (that of ROS_DOMAIN_ID, or 70, and the ones after it), and waits
//! while others have their bursts.

#[path = "round_trip/client.rs"]
mod client;
mod common;
#[path = "round_trip/contest.rs"]
mod contest;
#[path = "common/models.rs"]
mod models;
#[path = "round_trip/ours.rs"]
mod ours;

use client::{Order, Outcome};
use common::{Burst, Contestant, Result, check_threads, race, report};
use contest::{Contest, Program, Transport, first_domain, folder};
use learned_control::robot::Robot;
use ours::{Models, controller, predictor};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Hz
const RATES: [f64; 3] = [100.0, 500.0, 1000.0];
/// What Fast DDS does when nobody tells it otherwise, and our nodes do not, see `src/ros/transport.rs`.
const OVER_SHARED_MEMORY: &str = "r2r echo over shared memory";
/// Length of a burst [s].
const BURST: f64 = 1.0;

fn echo() -> Result<Program> {
    Ok(Program { path: std::env::current_exe()?, arguments: vec!["echo".into()], packages: None })
}

/// A node of benches/rivals/round_trip.py; none where it cannot run.
fn rclpy(kind: &str) -> Result<Option<Program>> {
    let prefix = std::env::var("AMENT_PREFIX_PATH").unwrap_or_default();
    let own = Path::new(prefix.split(':').next().unwrap_or_default()).join("bin/python");
    let path = if own.exists() { own } else { "python3".into() };
    let mut packages = None;
    if kind == "torch" {
        let Some(python) = std::env::var_os("PYTHON") else { return Ok(None) };
        let output = Command::new(python)
            .args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
            .output()?;
        packages = Some(String::from_utf8(output.stdout)?.trim().to_owned());
        if let Ok(more) = std::env::var("PYTHONPATH") {
            packages = packages.map(|packages| format!("{packages}:{more}"));
        }
    }
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/rivals/round_trip.py").display().to_string();
    let mut check = Command::new(&path);
    check.args([&script, kind, "--check"]);
    if let Some(packages) = &packages {
        check.env("PYTHONPATH", packages);
    }
    let runs = check.output()?.status.success();
    Ok(runs.then(|| Program { path, arguments: vec![script, kind.into()], packages }))
}

/// A contest with what was lost in it.
struct Entry {
    name: &'static str,
    contest: Contest,
    lost: usize,
}

impl Entry {
    fn burst(&mut self, rate: f64) -> Result<Burst> {
        let (busy, start) = (self.contest.busy_time()?, Instant::now());
        let outcome: Outcome = self.contest.order(&Order { rate, requests: (BURST * rate) as usize })?;
        let cpu = 100.0 * (self.contest.busy_time()? - busy) / start.elapsed().as_secs_f64();
        self.lost += outcome.lost;
        if outcome.times.is_empty() {
            return Err(format!("{}: no request was answered", self.name).into());
        }
        Ok(Burst { times: outcome.times, cpu: Some(cpu), ..Default::default() })
    }
}

fn measure(rate: f64, seconds: f64, robot: &Robot, models: &Models, folder: &Path) -> Result<Value> {
    let awake = "-p realtime.dedicated_core:=true";
    let mut entries = vec![
        ("ours", vec![controller(models, rate, ""), predictor(models)]),
        ("ours, controller alone", vec![controller(models, rate, "")]),
        ("ours, controller alone, dedicated core", vec![controller(models, rate, awake)]),
        ("r2r echo", vec![echo()?]),
        (OVER_SHARED_MEMORY, vec![echo()?]),
    ];
    for (name, kind) in [("rclpy echo", "echo"), ("rclpy and PyTorch", "torch")] {
        match rclpy(kind)? {
            Some(program) => entries.push((name, vec![program])),
            None => println!("{name}: skipped, not installed"),
        }
    }
    let mut contests = Vec::new();
    for ((name, nodes), domain) in entries.iter().zip(first_domain()..) {
        let log = format!("{}-{rate}", name.replace([' ', ','], "-"));
        let transport = if *name == OVER_SHARED_MEMORY { Transport::SharedMemory } else { Transport::Udp };
        let contest = Contest::start(&log, nodes, domain, transport, folder, &robot.joints)?;
        contests.push(RefCell::new(Entry { name, contest, lost: 0 }));
    }
    // The first bursts find out that all answer.
    for contest in &contests {
        let mut entry = contest.borrow_mut();
        entry.burst(rate).map_err(|error| format!("{}: {error}; see {}", entry.name, folder.display()))?;
        entry.lost = 0;
    }
    let contestants = contests
        .iter()
        .map(|contest| Contestant::by_burst(contest.borrow().name, move || contest.borrow_mut().burst(rate)));
    let title = format!("Joint states to command at {rate} Hz");
    let mut figures = race(&title, (seconds / BURST).ceil() as usize, contestants.collect())?;
    for Entry { name, lost, .. } in contests.into_iter().map(RefCell::into_inner) {
        figures[name]["lost"] = lost.into();
        if lost > 0 {
            println!("{name}: {lost} requests were not answered");
        }
    }
    let log = std::fs::read_to_string(folder.join(format!("ours-{rate}-0.log")))?;
    if !(log.contains("has the model of") && log.contains("tracking")) {
        return Err(format!("the controller did not run as it should:\n{log}").into());
    }
    Ok(figures)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("echo") => return client::echo(),
        Some("client") => return client::client(&arguments[1..]),
        _ => {}
    }
    check_threads()?;
    let seconds = arguments.iter().filter_map(|argument| argument.parse().ok()).next().unwrap_or(20.0);
    let folder = folder("round_trip")?;
    let robot = Robot::from_urdf(&std::fs::read_to_string(models::urdf())?)?;
    let models = Models::write(&robot, &folder)?;
    let mut figures = Map::new();
    for rate in RATES {
        figures.insert(format!("{rate}Hz"), measure(rate, seconds, &robot, &models, &folder)?);
    }
    report("round_trip", figures)
}
