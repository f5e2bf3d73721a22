//! The arm of `urdf/arm.urdf` as the tests of the core need it: its dynamics, a motion, and weights.
#![allow(dead_code)] // each test file uses its part

use candle_core::{Device, Tensor};
use learned_control::command::{Command, Mode};
use learned_control::config::read_text;
use learned_control::control_loop::ControllerConfig;
use learned_control::nn::checkpoint::{Card, ModelKind, Tensors, to_bytes};
use learned_control::nn::mlp::MlpConfig;
use learned_control::predictor::commands::CommandConfig;
use learned_control::predictor::linear::LinearPath;
use learned_control::predictor::{PredictorConfig, PredictorModel};
use learned_control::robot::{Dynamics, Robot};
use learned_control::state::{Stamp, State};
use std::path::{Path, PathBuf};

/// The folder of recorded data, or a plain word that the test is skipped.
pub fn data_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("LEARNED_CONTROL_DATA")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    if !folder.is_dir() {
        println!("skipped: no data in {}", folder.display());
        return None;
    }
    Some(folder)
}

pub const JOINTS: usize = 7;
pub const URDF: &str = include_str!("../../urdf/arm.urdf");
pub const CENTRE: [f64; JOINTS] = [0.0, 0.4, 0.0, -1.4, 0.0, 1.0, 0.0];

pub fn arm() -> (Robot, Dynamics) {
    let robot = Robot::from_urdf(URDF).unwrap();
    let dynamics = Dynamics::for_robot(URDF, &robot).unwrap();
    (robot, dynamics)
}

/// The controller of `config/arm.yaml`, without its tolerance, for the scripted motion is not the reference's, and
/// without a predictor to wait for.
pub fn config() -> ControllerConfig {
    let text = include_str!("../../config/arm.yaml");
    let mut config: ControllerConfig = read_text(text, "config/arm.yaml", "controller").unwrap();
    config.constraints.trajectory = 0.0;
    config.prediction = false;
    config
}

pub fn command() -> Command {
    Command::zeros(Mode::Effort, JOINTS)
}

/// A smooth motion about the centre, `offset` [rad] beside it.
pub fn state_at(stamp: Stamp, offset: f64) -> State {
    let mut state = State::zeros(JOINTS);
    state.stamp = stamp;
    for (joint, centre) in CENTRE.iter().enumerate() {
        let frequency = 0.5 + 0.3 * joint as f64;
        let (sin, cos) = (frequency * stamp.seconds()).sin_cos();
        state.position[joint] = centre + 0.2 * sin + offset;
        state.velocity[joint] = 0.2 * frequency * cos;
    }
    state
}

/// A residual network with weights and biases up to `scale`.
pub fn weights(scale: f32) -> Vec<u8> {
    weights_for(&arm().0, scale)
}

pub fn weights_for(robot: &Robot, scale: f32) -> Vec<u8> {
    weights_of_layers(robot, scale, scale)
}

/// As [`weights`], with weights that overflow when the reference is at [`ABSURD`]: for no motion of a robot, but finite
/// numbers all the same.
pub fn overflowing_weights() -> Vec<u8> {
    weights_of_layers(&arm().0, 5e33, 1.0)
}

/// Position of a joint, rad.
pub const ABSURD: f64 = 1e6;

fn weights_of_layers(robot: &Robot, first: f32, second: f32) -> Vec<u8> {
    let (hidden, joints) = (16, robot.degrees_of_freedom());
    let output_scale: Vec<f32> = robot.output_scale().into_iter().map(|scale| scale as f32).collect();
    let tensor = |scale: f32, shape: &[usize]| {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|k| scale * (k as f32 + 1.0).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    };
    let tensors = Tensors::from([
        ("layers.0.weight".into(), tensor(first, &[hidden, 4 * joints])),
        ("layers.0.bias".into(), tensor(first, &[hidden])),
        ("layers.1.weight".into(), tensor(second, &[joints, hidden])),
        ("layers.1.bias".into(), tensor(second, &[joints])),
        ("output_scale".into(), Tensor::new(output_scale, &Device::Cpu).unwrap()),
    ]);
    let network = MlpConfig { inputs: 4 * joints, hidden: vec![hidden], outputs: joints };
    let card = Card::new(ModelKind::Controller, robot, 0.002, &network).unwrap();
    to_bytes(&Card { revision: 1, ..card }, &tensors).unwrap()
}

/// A predictor whose network corrects constant velocity, with a linear path that learns from its first sample on.
pub fn predictor_for(robot: &Robot, dt: f64) -> (Card, Tensors) {
    predictor_told(robot, dt, None)
}

/// The same, told `commands`.
pub fn predictor_told(robot: &Robot, dt: f64, commands: Option<CommandConfig>) -> (Card, Tensors) {
    let config = PredictorConfig { steps: 5, hidden: 8, commands, ..Default::default() };
    let mut model = PredictorModel::untrained(&robot.joints, dt, config, &[1.0; JOINTS]).unwrap();
    model.linear = Some(LinearPath::blank(&model.config, JOINTS, dt));
    let (mut card, mut tensors) = model.to_checkpoint(Default::default(), "").unwrap();
    card.describe(robot).unwrap();
    let head: Vec<f32> = (0..80).map(|k| (k as f32 + 1.0).sin()).collect();
    tensors.insert("head.weight".into(), Tensor::from_vec(head, (10, 8), &Device::Cpu).unwrap());
    (card, tensors)
}
