//! Plain regression by an MLP: rows of inputs to rows of targets, early stopping on rows that are held out.

use super::Progress;
use super::descent::{Descent, Identity, Objective};
use crate::error::{Error, Result};
use crate::nn::checkpoint::Tensors;
use crate::nn::loss::mean_squared_error;
use crate::nn::mlp::{Mlp, MlpConfig};
use candle_core::{Device, Tensor};
use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

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
    let begin = (Identity::default(), None);
    let (network, descent) =
        descend(config, rows, training, held_out, seed, begin, |progress, _| Ok(on_progress(progress)))?;
    let Descent { best, best_step, best_validation, .. } = descent;
    Ok(Regression { network, tensors: best, best_step, best_validation })
}

/// As [`fit`], from where a training stood, see [`Descent::run`]; gives the training at its end.
pub fn descend(
    config: &RegressionConfig,
    rows: &Rows,
    training: &[u32],
    held_out: &[u32],
    seed: u64,
    resume: (Identity, Option<&[u8]>),
    on_progress: impl FnMut(&Progress, &Descent) -> Result<ControlFlow<()>>,
) -> Result<(MlpConfig, Descent)> {
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
    let objective =
        Batches { rows, training, batch_size: config.batch_size, held_out: rows.select(held_out)? };
    let descent = Descent::run(&network, config, seed, &objective, resume, on_progress)?;
    Ok((network, descent))
}

/// Random rows to train on, and those that are held out.
struct Batches<'a> {
    rows: &'a Rows,
    training: &'a [u32],
    batch_size: usize,
    held_out: Rows,
}

impl Objective for Batches<'_> {
    fn draw(&self, network: &Mlp, random: &mut Pcg64) -> Result<(f64, Tensor)> {
        let row = |_| self.training[random.random_range(0..self.training.len())];
        let batch: Vec<u32> = (0..self.batch_size).map(row).collect();
        let loss = self.rows.select(&batch)?.loss(network)?;
        Ok((f64::from(loss.to_scalar::<f32>()?), loss))
    }

    fn validate(&self, network: &Mlp) -> Result<f64> {
        Ok(f64::from(self.held_out.loss(network)?.to_scalar::<f32>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

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
