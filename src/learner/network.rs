//! The residual network while it is trained: its variables, their optimizer, and their running average, which is what
//! is sent. The average of the weights along the way is nearer to the optimum than the weights themselves, which batches
//! push to and fro (Polyak and Juditsky 1992).

use crate::error::Result;
use crate::nn::checkpoint::Tensors;
use crate::nn::mlp::{Mlp, MlpConfig};
use crate::nn::variables::{gradient_norm, snapshot};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder};
use std::collections::BTreeMap;

pub struct Network {
    pub config: MlpConfig,
    variables: BTreeMap<String, Var>,
    network: Mlp,
    optimizer: ClippedOptimizer,
    average: Tensors,
    /// Share of the average that a step replaces.
    averaging: f64,
    steps: u64,
}

impl Network {
    /// Untrained: it gives zero. The average is over about `averaged_steps`.
    pub fn new(
        config: MlpConfig,
        seed: u64,
        learning_rate: f64,
        largest_norm: f64,
        averaged_steps: f64,
    ) -> Result<Self> {
        let variables = config.initial_variables(seed, DType::F32)?;
        Ok(Self {
            network: Mlp::over(&config, &variables, DType::F32)?,
            optimizer: ClippedOptimizer::new(&variables, learning_rate, largest_norm)?,
            average: snapshot(&variables)?,
            averaging: 1.0 / averaged_steps.max(1.0),
            steps: 0,
            config,
            variables,
        })
    }

    /// `[batch, feature]` to `[batch, joint]`, with gradients.
    pub fn forward(&self, features: &Tensor) -> Result<Tensor> {
        self.network.forward(features)
    }

    /// A step down the gradient of `loss`; false when the gradient has overflowed and nothing was done.
    pub fn step(&mut self, loss: &Tensor) -> Result<bool> {
        if !self.optimizer.step(loss)? {
            return Ok(false);
        }
        self.steps += 1;
        // At first the average is over all steps so far.
        let share = self.averaging.max(1.0 / self.steps as f64);
        for (name, average) in &mut self.average {
            if let Some(variable) = self.variables.get(name) {
                *average = ((&*average * (1.0 - share))? + (variable.as_tensor() * share)?)?.detach();
            }
        }
        Ok(true)
    }

    /// The averaged weights.
    pub fn average(&self) -> &Tensors {
        &self.average
    }

    /// The output of this network with other `weights`, `[batch, feature]` to `[batch, joint]`.
    pub fn output_with(&self, weights: &Tensors, features: &Tensor) -> Result<Tensor> {
        let tensors = weights.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        Mlp::new(&self.config, VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu))?.forward(features)
    }
}

/// AdamW with gradients whose common norm is bounded.
pub struct ClippedOptimizer {
    variables: Vec<Var>,
    optimizer: AdamW,
    largest_norm: f64,
}

impl ClippedOptimizer {
    pub fn new(variables: &BTreeMap<String, Var>, learning_rate: f64, largest_norm: f64) -> Result<Self> {
        let variables: Vec<Var> = variables.values().cloned().collect();
        let parameters = ParamsAdamW { lr: learning_rate, weight_decay: 0.0, ..Default::default() };
        Ok(Self { optimizer: AdamW::new(variables.clone(), parameters)?, variables, largest_norm })
    }

    /// False when the gradient has overflowed and nothing was done.
    pub fn step(&mut self, loss: &Tensor) -> Result<bool> {
        let mut gradients = loss.backward()?;
        if !clip_gradients(&self.variables, &mut gradients, self.largest_norm)? {
            return Ok(false);
        }
        self.optimizer.step(&gradients)?;
        Ok(true)
    }
}

/// Scales all gradients by one factor so that their common norm is at most `largest`; false when they have overflowed
/// and are of no use.
fn clip_gradients(variables: &[Var], gradients: &mut GradStore, largest: f64) -> Result<bool> {
    let norm = gradient_norm(variables, gradients)?;
    if norm <= largest || !norm.is_finite() {
        return Ok(norm.is_finite());
    }
    for variable in variables {
        if let Some(gradient) = gradients.remove(variable) {
            gradients.insert(variable, (gradient * (largest / norm))?);
        }
    }
    Ok(true)
}

/// A point on the way between two sets of weights.
pub fn interpolate(from: &Tensors, to: &Tensors, share: f64) -> Result<Tensors> {
    from.iter()
        .zip(to.values())
        .map(|((name, from), to)| Ok((name.clone(), (from + ((to - from)? * share)?)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_keeps_the_direction_and_drops_what_overflowed() {
        let variable = Var::new(&[1f32, 1.0], &Device::Cpu).unwrap();
        let clipped = |factors: [f32; 2], largest: f64| {
            let factors = Tensor::new(&factors, &Device::Cpu).unwrap();
            let mut gradients =
                (variable.as_tensor() * factors).unwrap().sum_all().unwrap().backward().unwrap();
            let usable = clip_gradients(std::slice::from_ref(&variable), &mut gradients, largest).unwrap();
            (usable, gradients.get(&variable).unwrap().to_vec1::<f32>().unwrap())
        };
        assert_eq!(clipped([3.0, -4.0], 10.0), (true, vec![3.0, -4.0]));
        assert_eq!(clipped([3.0, -4.0], 1.0), (true, vec![0.6, -0.8]));
        assert!(!clipped([f32::MAX, 1.0], 1.0).0);
        assert!(!clipped([f32::NAN, 1.0], 1.0).0);
    }

    #[test]
    fn weights_are_interpolated() {
        let tensors =
            |value: f32| Tensors::from([("w".into(), Tensor::new(&[value], &Device::Cpu).unwrap())]);
        let between = interpolate(&tensors(1.0), &tensors(3.0), 0.25).unwrap();
        assert_eq!(between["w"].to_vec1::<f32>().unwrap(), [1.5]);
    }
}
