//! The residual network while it is trained: its variables, their optimizer, and their running average, which is what
//! is sent. The average of the weights along the way is nearer to the optimum than the weights themselves, which batches
//! push to and fro (Polyak and Juditsky 1992).

use crate::error::Result;
use crate::nn::adamw::AdamW;
use crate::nn::checkpoint::Tensors;
use crate::nn::mlp::{Mlp, MlpConfig};
use crate::nn::variables::snapshot;
use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Tensor, Var, bail};
use candle_nn::VarBuilder;
use std::collections::BTreeMap;

pub struct Network {
    pub config: MlpConfig,
    variables: BTreeMap<String, Var>,
    network: Mlp,
    optimizer: AdamW,
    learning_rate: f64,
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
            optimizer: AdamW::new(variables.values().cloned().collect(), 0.0, largest_norm),
            learning_rate,
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
        if !self.optimizer.step(loss, self.learning_rate)? {
            return Ok(false);
        }
        self.steps += 1;
        // At first the average is over all steps so far.
        let share = self.averaging.max(1.0 / self.steps as f64);
        for (name, average) in &self.average {
            if let Some(variable) = self.variables.get(name) {
                average.inplace_op2(variable, &MoveTowards(share as f32))?;
            }
        }
        Ok(true)
    }

    /// The averaged weights as they are now.
    pub fn average(&self) -> Result<Tensors> {
        let copies = self.average.iter().map(|(name, average)| Ok((name.clone(), average.copy()?)));
        copies.collect()
    }

    /// The output of this network with other `weights`, `[batch, feature]` to `[batch, joint]`.
    pub fn output_with(&self, weights: &Tensors, features: &Tensor) -> Result<Tensor> {
        let tensors = weights.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        Mlp::new(&self.config, VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu))?.forward(features)
    }
}

/// a <- a + share · (b - a)
struct MoveTowards(f32);

impl InplaceOp2 for MoveTowards {
    fn name(&self) -> &'static str {
        "move-towards"
    }

    fn cpu_fwd(
        &self,
        s1: &mut CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> candle_core::Result<()> {
        let (Some((from, to)), Some((other, _))) = (l1.contiguous_offsets(), l2.contiguous_offsets()) else {
            bail!("move-towards: not contiguous")
        };
        match (s1, s2) {
            (CpuStorage::F32(values), CpuStorage::F32(goals)) => {
                let pairs = values[from..to].iter_mut().zip(&goals[other..]);
                pairs.for_each(|(value, goal)| *value += self.0 * (goal - *value));
                Ok(())
            }
            _ => bail!("move-towards: only for f32"),
        }
    }
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
    fn the_average_is_of_all_steps_and_a_copy() {
        let config = MlpConfig { inputs: 3, hidden: vec![5], outputs: 2 };
        let mut network = Network::new(config, 1, 0.1, 1.0, 1e6).unwrap();
        let weight = |tensors: &Tensors| tensors["layers.1.weight"].flatten_all().unwrap().to_vec1().unwrap();
        let first: Vec<f32> = weight(&network.average().unwrap());
        let taken = network.average().unwrap();
        let mut sum = vec![0.0; first.len()];
        let features = Tensor::new(&[[0.3f32, -0.2, 0.9]], &Device::Cpu).unwrap();
        for _ in 0..4 {
            let loss =
                (network.forward(&features).unwrap() - 1.0).unwrap().sqr().unwrap().mean_all().unwrap();
            assert!(network.step(&loss).unwrap());
            let now: Vec<f32> = weight(&snapshot(&network.variables).unwrap());
            sum.iter_mut().zip(now).for_each(|(sum, value)| *sum += value);
        }
        let found: Vec<f32> = weight(&network.average().unwrap());
        for (found, sum) in found.iter().zip(&sum) {
            assert!((found - sum / 4.0).abs() < 1e-6, "{found} {sum}");
        }
        assert!(weight(&taken) == first && found != first);
    }

    #[test]
    fn weights_are_interpolated() {
        let tensors =
            |value: f32| Tensors::from([("w".into(), Tensor::new(&[value], &Device::Cpu).unwrap())]);
        let between = interpolate(&tensors(1.0), &tensors(3.0), 0.25).unwrap();
        assert_eq!(between["w"].to_vec1::<f32>().unwrap(), [1.5]);
    }
}
