//! A long short-term memory with a linear head: here as Candle trains it, in [`frozen`] as the robot runs it.
//! Parameters have PyTorch's names and layout (`lstm.weight_ih_l0` [4·hidden, in], gates in the order i, f, g, o;
//! `head.weight` [out, hidden]), so that weights go either way unchanged.

pub mod frozen;
mod unroll;

use crate::error::{Error, Result};
use crate::nn::checkpoint::Tensors;
use crate::nn::dense::{Activation, dense};
use crate::nn::mlp::check_sum;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
pub use frozen::FrozenLstm;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use unroll::Layer;

/// Sizes of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LstmConfig {
    /// Features a time step.
    pub inputs: usize,
    /// Units of each layer.
    pub hidden: usize,
    pub layers: usize,
    /// Outputs of the head.
    pub outputs: usize,
}

/// No layer of ours is near this; it keeps sizes from a damaged card from asking for all memory.
const MAX_SIZE: usize = 4096;
const MAX_LAYERS: usize = 8;

impl LstmConfig {
    pub fn validate(&self) -> Result<()> {
        let sizes = [("inputs", self.inputs), ("hidden", self.hidden), ("outputs", self.outputs)];
        for (name, size) in sizes {
            if size == 0 || size > MAX_SIZE {
                return Err(Error::mismatch(format!("LSTM {name}"), size, format!("1 to {MAX_SIZE}")));
            }
        }
        if self.layers == 0 || self.layers > MAX_LAYERS {
            return Err(Error::mismatch("LSTM layers", self.layers, format!("1 to {MAX_LAYERS}")));
        }
        Ok(())
    }

    /// Name and shape of every parameter.
    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes = Vec::new();
        for layer in 0..self.layers {
            let inputs = if layer == 0 { self.inputs } else { self.hidden };
            shapes.push((format!("lstm.weight_ih_l{layer}"), vec![4 * self.hidden, inputs]));
            shapes.push((format!("lstm.weight_hh_l{layer}"), vec![4 * self.hidden, self.hidden]));
            shapes.push((format!("lstm.bias_ih_l{layer}"), vec![4 * self.hidden]));
            shapes.push((format!("lstm.bias_hh_l{layer}"), vec![4 * self.hidden]));
        }
        shapes.push(("head.weight".into(), vec![self.outputs, self.hidden]));
        shapes.push(("head.bias".into(), vec![self.outputs]));
        shapes
    }

    /// Refuses parameters of other names or shapes than the network's, and those with which a sum could overflow for
    /// inputs up to ±`largest_input`: with all others its output is finite.
    pub fn check(&self, parameters: &Tensors, largest_input: f64) -> Result<()> {
        self.validate()?;
        let shapes = self.shapes();
        for (name, shape) in &shapes {
            let found = parameters.get(name).map(Tensor::dims);
            if found != Some(shape) {
                let found = found.map_or("none".into(), |found| format!("{found:?}"));
                return Err(Error::mismatch(format!("shape of tensor {name}"), found, format!("{shape:?}")));
            }
        }
        if let Some(unknown) = parameters.keys().find(|name| shapes.iter().all(|(known, _)| known != *name)) {
            let known: Vec<&str> = shapes.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::mismatch("tensor", unknown, known.join(", ")));
        }
        for layer in 0..self.layers {
            // Hidden units, and so the inputs of the layers above, are within ±1.
            let input = if layer == 0 { largest_input } else { 1.0 };
            let terms = [
                (format!("lstm.weight_ih_l{layer}"), input),
                (format!("lstm.weight_hh_l{layer}"), 1.0),
                (format!("lstm.bias_ih_l{layer}"), 1.0),
                (format!("lstm.bias_hh_l{layer}"), 1.0),
            ];
            check_sum(&format!("layer {layer} of the LSTM"), largest_sum(parameters, &terms)?)?;
        }
        let head = [("head.weight".into(), 1.0), ("head.bias".into(), 1.0)];
        check_sum("the head of the LSTM", largest_sum(parameters, &head)?)
    }

    /// Fresh parameters: the LSTM's uniform in ±1/√hidden as PyTorch's, the forget gate's bias raised by one
    /// (Jozefowicz et al. 2015), the head's zero, so that an untrained network outputs zero.
    pub fn initial_variables(&self, seed: u64, dtype: DType) -> Result<BTreeMap<String, Var>> {
        self.validate()?;
        let mut random = Pcg64::seed_from_u64(seed);
        let bound = 1.0 / (self.hidden as f64).sqrt();
        let mut variables = BTreeMap::new();
        for (name, shape) in self.shapes() {
            let mut values = vec![0.0; shape.iter().product()];
            if name.starts_with("lstm.") {
                values.iter_mut().for_each(|value| *value = random.random_range(-bound..bound));
            }
            if name.starts_with("lstm.bias_ih") {
                values[self.hidden..2 * self.hidden].iter_mut().for_each(|value| *value += 1.0);
            }
            let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?;
            variables.insert(name, Var::from_tensor(&tensor)?);
        }
        Ok(variables)
    }
}

/// The largest over the outputs of Σ |parameter| · input, with `terms` the names of weights [output, input] or biases
/// [output] and the largest input of each.
fn largest_sum(parameters: &Tensors, terms: &[(String, f64)]) -> Result<f64> {
    let mut sums: Vec<f64> = Vec::new();
    for (name, input) in terms {
        let Some(tensor) = parameters.get(name) else { continue };
        let rows = tensor.dim(0)?;
        let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        sums.resize(rows.max(sums.len()), 0.0);
        for (sum, row) in sums.iter_mut().zip(values.chunks_exact(values.len() / rows.max(1))) {
            *sum += row.iter().map(|value| f64::from(value.abs())).sum::<f64>() * input;
        }
    }
    Ok(sums.into_iter().fold(0.0, f64::max))
}

/// The network as Candle differentiates it.
pub struct Lstm {
    config: LstmConfig,
    layers: Vec<Layer>,
    /// weight [outputs, hidden] and bias [outputs]
    head: (Tensor, Tensor),
}

/// Hidden and cell of each layer, each [batch, hidden].
#[derive(Clone)]
pub struct LstmState(Vec<(Tensor, Tensor)>);

impl LstmState {
    /// Hidden and cell of each layer, [row, hidden].
    pub fn layers(&self) -> &[(Tensor, Tensor)] {
        &self.0
    }

    /// From what [`Self::layers`] gave.
    pub fn of_layers(layers: Vec<(Tensor, Tensor)>) -> Self {
        Self(layers)
    }
}

impl Lstm {
    /// Takes the parameters out of `vb`: variables to be trained, or the tensors of a checkpoint.
    pub fn new(config: LstmConfig, vb: &VarBuilder) -> Result<Self> {
        config.validate()?;
        let (hidden, lstm, head) = (config.hidden, vb.pp("lstm"), vb.pp("head"));
        let mut layers = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let inputs = if layer == 0 { config.inputs } else { hidden };
            let bias_ih = lstm.get(4 * hidden, &format!("bias_ih_l{layer}"))?;
            let bias_hh = lstm.get(4 * hidden, &format!("bias_hh_l{layer}"))?;
            let weight_ih = lstm.get((4 * hidden, inputs), &format!("weight_ih_l{layer}"))?;
            let weight_hh = lstm.get((4 * hidden, hidden), &format!("weight_hh_l{layer}"))?;
            layers.push(Layer::new(&weight_ih, &weight_hh, &(bias_ih + bias_hh)?)?);
        }
        let weight = head.get((config.outputs, hidden), "weight")?;
        let head = (weight, head.get(config.outputs, "bias")?);
        Ok(Self { config, layers, head })
    }

    /// The network over variables that an optimizer moves. To be built anew after each of its steps, because the
    /// sums and transposes above are taken once.
    pub fn over(config: LstmConfig, variables: &BTreeMap<String, Var>, dtype: DType) -> Result<Self> {
        let tensors = variables.iter().map(|(name, variable)| (name.clone(), variable.as_tensor().clone()));
        Self::new(config, &VarBuilder::from_tensors(tensors.collect(), dtype, &Device::Cpu))
    }

    pub fn config(&self) -> LstmConfig {
        self.config
    }

    /// The state at the start of a sequence.
    pub fn zero_state(&self, batch: usize) -> Result<LstmState> {
        let zeros = Tensor::zeros((batch, self.config.hidden), self.head.0.dtype(), &Device::Cpu)?;
        Ok(LstmState(vec![(zeros.clone(), zeros); self.config.layers]))
    }

    /// Runs over `xs` [batch, time, feature] from `state`; gives the last layer's hidden of each step
    /// [time, batch, hidden] and the state after the last step. Gradients go into neither state: what follows does not
    /// propagate them into what went before (truncated backpropagation through time).
    pub fn forward(&self, xs: &Tensor, state: &LstmState) -> Result<(Tensor, LstmState)> {
        let mut below = xs.transpose(0, 1)?;
        let mut after = Vec::with_capacity(self.layers.len());
        for (layer, state) in self.layers.iter().zip(&state.0) {
            let (hidden, last) = layer.unroll(&below, state)?;
            after.push(last);
            below = hidden;
        }
        Ok((below, LstmState(after)))
    }

    /// The head: hidden [..., hidden] -> [..., outputs].
    pub fn read_out(&self, hidden: &Tensor) -> Result<Tensor> {
        Ok(dense(hidden, &self.head.0, &self.head.1, Activation::Identity)?)
    }

    /// A copy of the weights for running `streams` independent sequences without allocation.
    pub fn freeze(&self, streams: usize) -> Result<FrozenLstm> {
        FrozenLstm::new(self, streams)
    }
}

#[cfg(test)]
mod tests;
