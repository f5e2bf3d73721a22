//! The LSTM as it runs on the robot: weights packed once, state carried, no allocation in a step.

use super::{Layer, Lstm, LstmConfig};
use crate::error::{Error, Result};
use crate::nn::activation::Real;
use candle_core::{DType, Tensor};

/// A copy of an [`Lstm`]'s weights with the state of a number of independent streams (e.g. one a joint).
#[derive(Clone, Debug)]
pub struct FrozenLstm {
    config: LstmConfig,
    layers: Vec<FrozenLayer>,
    /// [hidden, outputs], one row a hidden unit
    head: Vec<f32>,
    head_bias: Vec<f32>,
    /// [stream, layer, hidden | cell]
    state: Vec<f32>,
    /// Scratch, [4·hidden]
    gates: Vec<f32>,
    streams: usize,
}

#[derive(Clone, Debug)]
struct FrozenLayer {
    /// [in, 4·hidden]: the weights of one input lie together, so that a product is a sum of scaled rows
    weight_ih: Vec<f32>,
    /// [hidden, 4·hidden]
    weight_hh: Vec<f32>,
    bias: Vec<f32>,
}

impl FrozenLstm {
    pub fn new(lstm: &Lstm, streams: usize) -> Result<Self> {
        if streams == 0 {
            return Err(Error::mismatch("streams of the LSTM", streams, "at least 1"));
        }
        let config = lstm.config;
        let bias = lstm.head.bias().map(values).transpose()?;
        Ok(Self {
            config,
            layers: lstm.layers.iter().map(FrozenLayer::new).collect::<Result<_>>()?,
            head: values(&lstm.head.weight().t()?)?,
            head_bias: bias.unwrap_or_else(|| vec![0.0; config.outputs]),
            state: vec![0.0; streams * config.layers * 2 * config.hidden],
            gates: vec![0.0; 4 * config.hidden],
            streams,
        })
    }

    pub fn config(&self) -> LstmConfig {
        self.config
    }

    pub fn streams(&self) -> usize {
        self.streams
    }

    /// Puts every stream at the start of a sequence.
    pub fn reset(&mut self) {
        self.state.fill(0.0);
    }

    /// One step of one stream: `input` [feature] in, `output` [outputs] filled.
    pub fn step(&mut self, stream: usize, input: &[f32], output: &mut [f32]) {
        self.advance(stream, input);
        self.read_out(stream, output);
    }

    /// Takes `input` [feature] into the state of `stream`.
    pub fn advance(&mut self, stream: usize, input: &[f32]) {
        debug_assert!(stream < self.streams && input.len() == self.config.inputs);
        let hidden = self.config.hidden;
        let size = self.layers.len() * 2 * hidden;
        let mut below: &[f32] = input;
        for (layer, state) in self
            .layers
            .iter()
            .zip(self.state[stream * size..(stream + 1) * size].chunks_exact_mut(2 * hidden))
        {
            let (state_hidden, state_cell) = state.split_at_mut(hidden);
            self.gates.copy_from_slice(&layer.bias);
            add_product(&mut self.gates, &layer.weight_ih, below);
            add_product(&mut self.gates, &layer.weight_hh, state_hidden);
            activate(&self.gates, state_hidden, state_cell);
            below = state_hidden;
        }
    }

    /// Fills `output` [outputs] with the head's value for the present state of `stream`.
    pub fn read_out(&self, stream: usize, output: &mut [f32]) {
        debug_assert!(stream < self.streams && output.len() == self.config.outputs);
        let hidden = self.config.hidden;
        let end = (stream + 1) * self.layers.len() * 2 * hidden;
        output.copy_from_slice(&self.head_bias);
        add_product(output, &self.head, &self.state[end - 2 * hidden..end - hidden]);
    }
}

impl FrozenLayer {
    fn new(layer: &Layer) -> Result<Self> {
        Ok(Self {
            weight_ih: values(&layer.weight_ih)?,
            weight_hh: values(&layer.weight_hh)?,
            bias: values(&layer.bias)?,
        })
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// sum [n] += x [m] · weights [m, n], four rows a pass to spare loads and stores of `sum`.
fn add_product(sum: &mut [f32], weights: &[f32], x: &[f32]) {
    let n = sum.len();
    let (fours, rest) = x.as_chunks::<4>();
    let (rows, last_rows) = weights.split_at(fours.len() * 4 * n);
    for (x, rows) in fours.iter().zip(rows.chunks_exact(4 * n)) {
        let (row0, rows) = rows.split_at(n);
        let (row1, rows) = rows.split_at(n);
        let (row2, row3) = rows.split_at(n);
        for ((((sum, w0), w1), w2), w3) in sum.iter_mut().zip(row0).zip(row1).zip(row2).zip(row3) {
            *sum += (w0 * x[0] + w1 * x[1]) + (w2 * x[2] + w3 * x[3]);
        }
    }
    for (x, row) in rest.iter().zip(last_rows.chunks_exact(n)) {
        for (sum, weight) in sum.iter_mut().zip(row) {
            *sum += weight * x;
        }
    }
}

/// c <- σ(f)·c + σ(i)·tanh(g), h <- σ(o)·tanh(c), with `gates` [4·hidden] in the order i, f, g, o.
fn activate(gates: &[f32], state_hidden: &mut [f32], state_cell: &mut [f32]) {
    let hidden = state_hidden.len();
    let (i, gates) = gates.split_at(hidden);
    let (f, gates) = gates.split_at(hidden);
    let (g, o) = gates.split_at(hidden);
    for (((((h, c), i), f), g), o) in state_hidden.iter_mut().zip(state_cell).zip(i).zip(f).zip(g).zip(o) {
        *c = Real::sigmoid(*f) * *c + Real::sigmoid(*i) * Real::tanh(*g);
        *h = Real::sigmoid(*o) * Real::tanh(*c);
    }
}
