//! The networks of the benchmarks of the whole loop, for the arm of urdf/arm.urdf: an MLP 28-128-128-7 as of a trained
//! controller, and an LSTM of 2 x 64 units as of a predictor.

use super::Result;
use candle_core::{DType, Device, Tensor};
use learned_control::nn::checkpoint::{Card, ModelKind, Tensors};
use learned_control::nn::mlp::MlpConfig;
use learned_control::predictor::{PredictorConfig, PredictorModel};
use learned_control::robot::Robot;
use std::path::{Path, PathBuf};

pub fn urdf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("urdf/arm.urdf")
}

/// The parameter file of the arm's nodes.
pub fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/arm.yaml")
}

pub fn residual(robot: &Robot) -> Result<(Card, Tensors)> {
    let network = MlpConfig { inputs: 28, hidden: vec![128, 128], outputs: 7 };
    let variables = network.initial_variables(1, DType::F32)?;
    let mut tensors: Tensors =
        variables.into_iter().map(|(name, variable)| (name, variable.as_detached_tensor())).collect();
    // The last layer of an untrained network is zero.
    tensors.insert("layers.2.weight".into(), Tensor::randn(0f32, 0.1, (7, 128), &Device::Cpu)?);
    tensors.insert("output_scale".into(), Tensor::ones(7, DType::F32, &Device::Cpu)?);
    Ok((Card::new(ModelKind::Controller, robot, 0.002, &network)?, tensors))
}

pub fn predictor(robot: &Robot) -> Result<PredictorModel> {
    let config = PredictorConfig { hidden: 64, layers: 2, ..Default::default() };
    Ok(PredictorModel::untrained(&robot.joints, 0.01, config, &[1.0; 7])?)
}
