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

use candle_core::{DType, Device, Tensor};
use common::{Contestant, Result, check_threads, race, report};
use contest::{Contest, Program};
use learned_control::nn::checkpoint::{Card, ModelKind, Tensors, save};
use learned_control::nn::mlp::MlpConfig;
use learned_control::predictor::{PredictorConfig, PredictorModel};
use learned_control::robot::Robot;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

const RATES: [u32; 3] = [100, 500, 1000];
/// Length of a burst [s].
const BURST: f64 = 1.0;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files that our nodes load.
struct Models {
    residual: PathBuf,
    predictor: PathBuf,
}

impl Models {
    fn write(robot: &Robot, folder: &Path) -> Result<Self> {
        let models = Self {
            residual: folder.join("residual.safetensors"),
            predictor: folder.join("predictor.safetensors"),
        };
        let network = MlpConfig { inputs: 28, hidden: vec![128, 128], outputs: 7 };
        let variables = network.initial_variables(1, DType::F32)?;
        let mut tensors: Tensors =
            variables.into_iter().map(|(name, variable)| (name, variable.as_detached_tensor())).collect();
        // As after training: the last layer of a new network is zero.
        tensors.insert("layers.2.weight".into(), Tensor::randn(0f32, 0.1, (7, 128), &Device::Cpu)?);
        tensors.insert("output_scale".into(), Tensor::ones(7, DType::F32, &Device::Cpu)?);
        save(&models.residual, &Card::new(ModelKind::Controller, robot, 0.002, &network)?, &tensors)?;
        let config = PredictorConfig { hidden: 64, layers: 2, ..Default::default() };
        let model = PredictorModel::untrained(&robot.joints, 0.01, config, &[1.0; 7])?;
        let (mut card, tensors) = model.to_checkpoint(Default::default(), "")?;
        card.describe(robot)?;
        save(&models.predictor, &card, &tensors)?;
        Ok(models)
    }
}

fn ours(executable: &str, arguments: &str) -> Program {
    let shared = format!(
        "--ros-args --params-file {} -p urdf:={} {arguments}",
        root().join("config/arm.yaml").display(),
        root().join("urdf/arm.urdf").display()
    );
    let arguments = shared.split_whitespace().map(str::to_owned).collect();
    Program { path: executable.into(), arguments, packages: None }
}

/// With a command for each message, the head, the network, and neither tolerance nor timeout: while others have their
/// bursts it shall wait, and the measured motion is not the reference's.
fn controller(models: &Models, rate: u32) -> Program {
    let arguments = format!(
        "-p update_rate:={rate}.0 -p tick:=joint_states -p head.enabled:=true -p model_file:={} \
         -p prediction:=false -p constraints.trajectory:=0.0 -p joint_states_timeout:=1000.0",
        models.residual.display()
    );
    ours(env!("CARGO_BIN_EXE_controller"), &arguments)
}

fn predictor(models: &Models) -> Program {
    ours(env!("CARGO_BIN_EXE_predictor"), &format!("-p model_file:={}", models.predictor.display()))
}

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
    let script = root().join("benches/rivals/round_trip.py").display().to_string();
    let mut check = Command::new(&path);
    check.args([&script, kind, "--check"]);
    if let Some(packages) = &packages {
        check.env("PYTHONPATH", packages);
    }
    let runs = check.output()?.status.success();
    Ok(runs.then(|| Program { path, arguments: vec![script, kind.into()], packages }))
}

fn measure(rate: u32, seconds: f64, robot: &Robot, models: &Models, folder: &Path) -> Result<Value> {
    let mut entries = vec![
        ("ours", vec![controller(models, rate), predictor(models)]),
        ("ours, controller alone", vec![controller(models, rate)]),
        ("r2r echo", vec![echo()?]),
    ];
    for (name, kind) in [("rclpy echo", "echo"), ("rclpy and PyTorch", "torch")] {
        match rclpy(kind)? {
            Some(program) => entries.push((name, vec![program])),
            None => println!("{name}: skipped, not installed"),
        }
    }
    let domain = std::env::var("ROS_DOMAIN_ID").ok().and_then(|id| id.parse().ok()).unwrap_or(70);
    let mut contests = Vec::new();
    for ((name, nodes), domain) in entries.iter().zip(domain..) {
        let log = format!("{}-{rate}", name.replace([' ', ','], "-"));
        contests.push((*name, RefCell::new(Contest::start(&log, nodes, domain, folder, &robot.joints)?)));
    }
    let requests = (BURST * f64::from(rate)) as usize;
    // The first burst finds out that all answer.
    for (name, contest) in &contests {
        contest.borrow_mut().burst(f64::from(rate), requests).map_err(|error| format!("{name}: {error}"))?;
    }
    let burst = |contest: &RefCell<Contest>| contest.borrow_mut().burst(f64::from(rate), requests);
    let contestants =
        contests.iter().map(|(name, contest)| Contestant::by_burst(name, move || burst(contest)));
    let title = format!("Joint states to command at {rate} Hz");
    let mut figures = race(&title, (seconds / BURST).ceil() as usize, contestants.collect())?;
    for (name, contest) in &contests {
        let lost = contest.borrow().lost;
        figures[*name]["lost"] = lost.into();
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
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("round_trip");
    std::fs::create_dir_all(&folder)?;
    let robot = Robot::from_urdf(&std::fs::read_to_string(root().join("urdf/arm.urdf"))?)?;
    let models = Models::write(&robot, &folder)?;
    let mut figures = Map::new();
    for rate in RATES {
        figures.insert(format!("{rate}Hz"), measure(rate, seconds, &robot, &models, &folder)?);
    }
    report("round_trip", figures)
}
