//! The LSTM as it runs on the robot: weights packed once, state carried, no allocation in a step.

use super::{Lstm, LstmConfig};
use crate::error::{Error, Result};
use crate::nn::kernel::Path;
use crate::nn::kernel::dense::Dense;
use crate::nn::kernel::lstm::{LayerParameters, Lstm as Packed, Stream};
use candle_core::{DType, Tensor};

/// A copy of an [`Lstm`]'s weights with the state of a number of independent streams (e.g. one a joint).
#[derive(Clone, Debug)]
pub struct FrozenLstm {
    config: LstmConfig,
    network: Packed,
    streams: Vec<Stream>,
}

impl FrozenLstm {
    pub fn new(lstm: &Lstm, streams: usize) -> Result<Self> {
        Self::packed(lstm, streams, Path::best())
    }

    /// As [`Self::new`], with vectors of a given kind.
    pub fn packed(lstm: &Lstm, streams: usize, path: Path) -> Result<Self> {
        if streams == 0 {
            return Err(Error::mismatch("streams of the LSTM", streams, "at least 1"));
        }
        let config = lstm.config;
        let mut layers = Vec::with_capacity(config.layers);
        for layer in &lstm.layers {
            let [weight_ih, weight_hh, bias] = layer.parameters()?;
            layers.push([values(&weight_ih)?, values(&weight_hh)?, values(&bias)?]);
        }
        let layers: Vec<LayerParameters> = layers
            .iter()
            .map(|[weight_ih, weight_hh, bias]| LayerParameters { weight_ih, weight_hh, bias })
            .collect();
        let (weight, bias) = &lstm.head;
        let head = Dense::new(path, config.hidden, &values(weight)?, &values(bias)?);
        let network = Packed::new(path, config.hidden, &layers, head);
        let streams = vec![network.stream(); streams];
        Ok(Self { config, network, streams })
    }

    pub fn config(&self) -> LstmConfig {
        self.config
    }

    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Puts every stream at the start of a sequence.
    pub fn reset(&mut self) {
        self.streams.iter_mut().for_each(Stream::reset);
    }

    /// One step of one stream: `input` [feature] in, `output` [outputs] filled.
    pub fn step(&mut self, stream: usize, input: &[f32], output: &mut [f32]) {
        self.advance(stream, input);
        self.read_out(stream, output);
    }

    /// Takes `input` [feature] into the state of `stream`.
    pub fn advance(&mut self, stream: usize, input: &[f32]) {
        self.network.advance(&mut self.streams[stream], input);
    }

    /// Does what the next step of each stream does not need its input for: half of the work, to be done when nobody
    /// waits. Without it the step does it itself, with the same result.
    pub fn prepare(&mut self) {
        self.streams.iter_mut().for_each(|stream| self.network.prepare(stream));
    }

    /// Fills `output` [outputs] with the head's value for the present state of `stream`.
    pub fn read_out(&self, stream: usize, output: &mut [f32]) {
        self.network.read_out(&self.streams[stream], output);
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}
