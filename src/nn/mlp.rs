//! The multi-layer perceptron: its definition in Candle, for training, and a frozen copy for the tick.
//!
//! y = W_L tanh(… tanh(W_1 x + b_1) …) + b_L

use crate::error::{Error, Result};
use crate::nn::activation::Real;
use candle_core::{DType, Tensor};
use candle_nn::{Linear, Module, VarBuilder, linear};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Sizes of the layers; hidden layers have tanh units, the output layer is linear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    pub inputs: usize,
    pub hidden: Vec<usize>,
    pub outputs: usize,
}

impl MlpConfig {
    /// (inputs, outputs) of each layer, first to last.
    fn layers(&self) -> impl Iterator<Item = (usize, usize)> {
        let from = std::iter::once(self.inputs).chain(self.hidden.iter().copied());
        from.zip(self.hidden.iter().copied().chain(std::iter::once(self.outputs)))
    }
}

/// The network in Candle.
#[derive(Clone, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    /// Builds or loads the network: `vb` either initialises its variables `layers.<i>.{weight,bias}` or reads them.
    pub fn new(config: &MlpConfig, vb: VarBuilder) -> Result<Self> {
        let layers = config
            .layers()
            .enumerate()
            .map(|(index, (inputs, outputs))| linear(inputs, outputs, vb.pp(format!("layers.{index}"))))
            .collect::<candle_core::Result<_>>()?;
        Ok(Self { layers })
    }

    /// `[batch, input]` to `[batch, output]`.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let mut xs = xs.clone();
        for (index, layer) in self.layers.iter().enumerate() {
            xs = layer.forward(&xs)?;
            if index + 1 < self.layers.len() {
                xs = xs.tanh()?;
            }
        }
        Ok(xs)
    }
}

/// A frozen copy for the tick: weights stored input by input, buffers made once, no allocation in `forward`.
#[derive(Clone, Debug)]
pub struct FrozenMlp {
    layers: Vec<FrozenLayer>,
}

#[derive(Clone, Debug)]
struct FrozenLayer {
    /// `[input][output]`, so that the inner loop runs over neighbouring outputs.
    weights: Vec<f32>,
    bias: Vec<f32>,
    output: Vec<f32>,
}

impl FrozenMlp {
    /// From the tensors `layers.<i>.{weight [output, input], bias [output]}`; shapes are checked against `config`.
    pub fn from_tensors(config: &MlpConfig, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        let layers = config
            .layers()
            .enumerate()
            .map(|(index, (inputs, outputs))| {
                let weight = values(tensors, &format!("layers.{index}.weight"), &[outputs, inputs])?;
                let bias = values(tensors, &format!("layers.{index}.bias"), &[outputs])?;
                let mut weights = vec![0.0; inputs * outputs];
                for output in 0..outputs {
                    for input in 0..inputs {
                        weights[input * outputs + output] = weight[output * inputs + input];
                    }
                }
                Ok(FrozenLayer { weights, bias, output: vec![0.0; outputs] })
            })
            .collect::<Result<_>>()?;
        Ok(Self { layers })
    }

    /// Evaluates the network; the result stays valid until the next call.
    pub fn forward(&mut self, input: &[f32]) -> &[f32] {
        let last = self.layers.len() - 1;
        for index in 0..=last {
            let (before, rest) = self.layers.split_at_mut(index);
            let layer = &mut rest[0];
            layer.multiply(before.last().map_or(input, |previous| &previous.output));
            if index < last {
                layer.output.iter_mut().for_each(|value| *value = Real::tanh(*value));
            }
        }
        &self.layers[last].output
    }
}

impl FrozenLayer {
    fn multiply(&mut self, input: &[f32]) {
        self.output.copy_from_slice(&self.bias);
        let outputs = self.output.len();
        for (value, column) in input.iter().zip(self.weights.chunks_exact(outputs)) {
            for (sum, weight) in self.output.iter_mut().zip(column) {
                *sum += weight * value;
            }
        }
    }
}

/// The values of tensor `name`, checked to be f32 of `shape`.
pub fn values(tensors: &BTreeMap<String, Tensor>, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let tensor = tensors
        .get(name)
        .ok_or_else(|| Error::mismatch(format!("tensor {name}"), "none", format!("shape {shape:?}")))?;
    if tensor.dims() != shape || tensor.dtype() != DType::F32 {
        let found = format!("{:?} {:?}", tensor.dtype(), tensor.dims());
        return Err(Error::mismatch(format!("tensor {name}"), found, format!("F32 {shape:?}")));
    }
    Ok(tensor.flatten_all()?.to_vec1()?)
}
