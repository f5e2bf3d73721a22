//! Plain regression by an MLP: rows of inputs to rows of targets, early stopping on rows that are held out.

use super::Progress;
use super::optimizer::ScheduledAdamW;
use crate::error::{Error, Result};
use crate::nn::checkpoint::Tensors;
use crate::nn::loss::mean_squared_error;
use crate::nn::mlp::{Mlp, MlpConfig};
use crate::nn::variables::snapshot;
use candle_core::{DType, Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Steps from one validation to the next.
const VALIDATE_EVERY: usize = 50;
const MAX_GRADIENT_NORM: f64 = 1.0;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegressionConfig {
    /// Units of the hidden layers.
    pub hidden: Vec<usize>,
    /// Steps of the optimizer.
    pub steps: usize,
    pub batch_size: usize,
    pub learning_rate: f64,
    pub weight_decay: f64,
    /// Validations without improvement after which the training ends.
    pub patience: usize,
}

impl Default for RegressionConfig {
    fn default() -> Self {
        Self {
            hidden: vec![64, 64],
            steps: 2000,
            batch_size: 64,
            learning_rate: 1e-3,
            weight_decay: 1e-2,
            patience: 20,
        }
    }
}

impl RegressionConfig {
    /// Checks ranges; the error names the key, what was found and what is expected.
    pub fn validate(&self) -> Result<()> {
        if let Some(units) = self.hidden.iter().find(|units| !(1..=1024).contains(*units)) {
            return Err(Error::mismatch("hidden", units, "layers of 1 to 1024 units"));
        }
        let checks = [
            ("steps", self.steps as f64, self.steps > 0, "above 0"),
            ("batch_size", self.batch_size as f64, self.batch_size > 0, "above 0"),
            ("learning_rate", self.learning_rate, self.learning_rate > 0.0, "above 0"),
            ("weight_decay", self.weight_decay, self.weight_decay >= 0.0, "0 or above"),
            ("patience", self.patience as f64, self.patience > 0, "above 0"),
        ];
        match checks.into_iter().find(|(_, value, is_right, _)| !is_right || !value.is_finite()) {
            Some((key, value, _, expected)) => Err(Error::mismatch(key, value, expected)),
            None => Ok(()),
        }
    }
}

/// Rows to learn from: `inputs` [row, input] and `targets` [row, output], f32.
#[derive(Clone, Debug)]
pub struct Rows {
    pub inputs: Tensor,
    pub targets: Tensor,
}

impl Rows {
    pub fn select(&self, rows: &[u32]) -> Result<Self> {
        let rows = Tensor::new(rows, &Device::Cpu)?;
        Ok(Self {
            inputs: self.inputs.index_select(&rows, 0)?,
            targets: self.targets.index_select(&rows, 0)?,
        })
    }

    fn loss(&self, network: &Mlp) -> Result<Tensor> {
        Ok(mean_squared_error(&network.forward(&self.inputs)?, &self.targets)?)
    }
}

/// A trained network and how it came about.
pub struct Regression {
    pub network: MlpConfig,
    pub tensors: Tensors,
    /// The step whose weights were kept; 0 is the untrained network, which gives zero.
    pub best_step: usize,
    /// Mean squared error on the held-out rows.
    pub best_validation: f64,
}

impl Regression {
    /// [row, input] to [row, output].
    pub fn predict(&self, inputs: &Tensor) -> Result<Tensor> {
        Mlp::new(&self.network, crate::nn::checkpoint::var_builder(&self.tensors))?.forward(inputs)
    }
}

/// Trains on the rows `training` and keeps the weights that were best on `held_out`. The same seed gives the same
/// weights. `on_progress` may end the training early by `Break`.
pub fn fit(
    config: &RegressionConfig,
    rows: &Rows,
    training: &[u32],
    held_out: &[u32],
    seed: u64,
    mut on_progress: impl FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Regression> {
    config.validate()?;
    if training.is_empty() || held_out.is_empty() {
        let found = format!("{} to train on, {} held out", training.len(), held_out.len());
        return Err(Error::mismatch("rows", found, "some of each"));
    }
    let network = MlpConfig {
        inputs: rows.inputs.dim(1)?,
        hidden: config.hidden.clone(),
        outputs: rows.targets.dim(1)?,
    };
    let variables = network.initial_variables(seed, DType::F32)?;
    let mlp = Mlp::over(&network, &variables, DType::F32)?;
    let all = variables.values().cloned().collect();
    let mut optimizer =
        ScheduledAdamW::new(all, config.learning_rate, config.weight_decay, MAX_GRADIENT_NORM);
    let mut random = Pcg64::seed_from_u64(seed ^ 0x5eed);
    let held_out = rows.select(held_out)?;
    let mut best = Regression {
        tensors: snapshot(&variables)?,
        best_step: 0,
        best_validation: f64::from(held_out.loss(&mlp)?.to_scalar::<f32>()?),
        network,
    };
    let (mut sum, mut batch) = (0.0, vec![0u32; config.batch_size]);
    for step in 1..=config.steps {
        batch.iter_mut().for_each(|row| *row = training[random.random_range(0..training.len())]);
        let loss = rows.select(&batch)?.loss(&mlp)?;
        optimizer.step(&loss, (step - 1) as f64 / config.steps as f64)?;
        sum += f64::from(loss.to_scalar::<f32>()?);
        if step % VALIDATE_EVERY != 0 && step != config.steps {
            continue;
        }
        let count = if step % VALIDATE_EVERY == 0 { VALIDATE_EVERY } else { step % VALIDATE_EVERY };
        let validation = f64::from(held_out.loss(&mlp)?.to_scalar::<f32>()?);
        let progress = Progress { step, loss: sum / count as f64, validation };
        sum = 0.0;
        if validation < best.best_validation {
            (best.best_step, best.best_validation) = (step, validation);
            best.tensors = snapshot(&variables)?;
        }
        let is_stale = step - best.best_step >= config.patience * VALIDATE_EVERY;
        if on_progress(&progress).is_break() || is_stale {
            break;
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// y = x₁·x₂, which no linear map explains.
    fn product() -> Rows {
        let mut random = Pcg64::seed_from_u64(3);
        let inputs: Vec<f32> = (0..2000).map(|_| random.random_range(-1.0..1.0)).collect();
        let targets: Vec<f32> = inputs.chunks(2).map(|pair| pair[0] * pair[1]).collect();
        Rows {
            inputs: Tensor::from_vec(inputs, (1000, 2), &Device::Cpu).unwrap(),
            targets: Tensor::from_vec(targets, (1000, 1), &Device::Cpu).unwrap(),
        }
    }

    fn train(seed: u64, config: &RegressionConfig) -> Regression {
        let rows = product();
        let (training, held_out): (Vec<u32>, Vec<u32>) = (0..1000).partition(|row| *row < 800);
        fit(config, &rows, &training, &held_out, seed, |_| ControlFlow::Continue(())).unwrap()
    }

    #[test]
    fn a_product_is_learned_and_a_seed_means_one_network() {
        let config = RegressionConfig { steps: 600, ..Default::default() };
        let fitted = train(1, &config);
        // the variance of the product of two uniform numbers in ±1 is 1/9
        assert!(fitted.best_validation < 0.02 / 9.0, "{}", fitted.best_validation);
        let weights = |fitted: &Regression| -> Vec<f32> {
            fitted.tensors["layers.1.weight"].flatten_all().unwrap().to_vec1().unwrap()
        };
        assert_eq!(weights(&fitted), weights(&train(1, &config)));
        assert_ne!(weights(&fitted), weights(&train(2, &config)));
    }

    #[test]
    fn noise_is_not_learned() {
        let mut random = Pcg64::seed_from_u64(5);
        let noise: Vec<f32> = (0..1000).map(|_| random.random_range(-1.0..1.0)).collect();
        let rows = Rows { targets: Tensor::from_vec(noise, (1000, 1), &Device::Cpu).unwrap(), ..product() };
        let (training, held_out): (Vec<u32>, Vec<u32>) = (0..1000).partition(|row| *row < 500);
        let proceed = |_: &_| ControlFlow::Continue(());
        let fitted = fit(&RegressionConfig::default(), &rows, &training, &held_out, 0, proceed).unwrap();
        let zero = f64::from(
            rows.select(&held_out)
                .unwrap()
                .targets
                .sqr()
                .unwrap()
                .mean_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap(),
        );
        assert!(fitted.best_validation <= zero && fitted.best_step < 500, "{}", fitted.best_step);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let config = RegressionConfig { learning_rate: f64::NAN, ..Default::default() };
        assert!(config.validate().unwrap_err().to_string().contains("learning_rate"));
        let proceed = |_: &_| ControlFlow::Continue(());
        assert!(fit(&RegressionConfig::default(), &product(), &[], &[1], 0, proceed).is_err());
    }
}
