//! An LSTM that takes one input at a time, with a linear head (Hochreiter & Schmidhuber 1997, with Gers' forget gate):
//!
//! ```text
//! [i f g o] = W_ih x + (W_hh h + b),  c <- σ(f)·c + σ(i)·tanh(g),  h <- σ(o)·tanh(c)
//! ```
//!
//! The bracket, the larger half of the work, does not depend on the input: [`Lstm::prepare`] computes it ahead of time.

use super::activation::{sigmoid, tanh};
use super::dense::{Activation, Dense, load_row, product};
use super::memory::Memory;
use super::simd::{Kernel, Path, Simd};

const GATES: usize = 4;

/// The parameters of one layer, in PyTorch's layout and order of the gates (i, f, g, o), row by row.
#[derive(Clone, Copy, Debug)]
pub struct LayerParameters<'a> {
    /// [4·hidden, in]
    pub weight_ih: &'a [f32],
    /// [4·hidden, hidden]
    pub weight_hh: &'a [f32],
    /// [4·hidden], PyTorch's two biases added
    pub bias: &'a [f32],
}

/// The weights, packed for `path`. A panel holds the four gates of two vectors of units (of one, where one is left), so
/// that gates are activated without having been stored.
#[derive(Clone, Debug)]
pub struct Lstm {
    path: Path,
    hidden: usize,
    layers: Vec<Layer>,
    head: Dense,
}

#[derive(Clone, Debug)]
struct Layer {
    inputs: usize,
    /// For each panel its biases [gate of the panel] and weights [hidden][gate of the panel].
    recurrent: Memory,
    /// For each panel its weights [in][gate of the panel].
    input: Memory,
}

/// Where a sequence stands.
#[derive(Clone, Debug)]
pub struct Stream {
    layers: Vec<LayerState>,
    prepared: bool,
}

#[derive(Clone, Debug)]
struct LayerState {
    /// [hidden, rounded up to vectors]
    hidden: Memory,
    cell: Memory,
    /// W_hh h + b, [panel][gate of the panel]
    gates: Memory,
}

impl Lstm {
    /// Of layers with `hidden` units each and a head.
    ///
    /// # Panics
    /// When the sizes do not fit.
    pub fn new(path: Path, hidden: usize, layers: &[LayerParameters], head: Dense) -> Self {
        let path = path.or_portable();
        let layers = layers.iter().map(|layer| Layer::new(path.lanes(), hidden, layer)).collect();
        Self { path, hidden, layers, head }
    }

    /// A sequence at its start.
    pub fn stream(&self) -> Stream {
        let size = self.hidden.next_multiple_of(self.path.lanes());
        let zeros = Memory::zeros;
        let state = LayerState { hidden: zeros(size), cell: zeros(size), gates: zeros(GATES * size) };
        Stream { layers: vec![state; self.layers.len()], prepared: false }
    }

    /// Takes `input` [in] into `stream`, which is one of this network. After [`Self::prepare`] the work is less by half and
    /// the result the same.
    ///
    /// # Panics
    /// When the sizes do not fit.
    pub fn advance(&self, stream: &mut Stream, input: &[f32]) {
        self.prepare(stream);
        self.path.run(Advance { lstm: self, stream, input });
    }

    /// Does what the next step does not need its input for. Nothing when that was done.
    pub fn prepare(&self, stream: &mut Stream) {
        if !stream.prepared {
            self.path.run(Prepare { lstm: self, stream });
        }
    }

    /// Fills `output` [output] with the head's value where `stream` stands.
    pub fn read_out(&self, stream: &Stream, output: &mut [f32]) {
        if let Some(last) = stream.layers.last() {
            self.head.forward(&last.hidden[..self.hidden], Activation::Identity, output);
        }
    }
}

impl Layer {
    fn new(lanes: usize, hidden: usize, parameters: &LayerParameters) -> Self {
        let LayerParameters { weight_ih, weight_hh, bias } = parameters;
        assert!(
            bias.len() == GATES * hidden && weight_hh.len() == bias.len() * hidden,
            "sizes of an LSTM's layer"
        );
        let inputs = weight_ih.len() / bias.len();
        let size = GATES * hidden.next_multiple_of(lanes);
        let (mut recurrent, mut input) = (Memory::zeros(size * (hidden + 1)), Memory::zeros(size * inputs));
        let mut from = 0;
        while from < hidden {
            let units = panel_units(hidden - from, lanes);
            let width = GATES * units;
            // where the panel begins, in gates
            let begin = GATES * from;
            for unit in from..hidden.min(from + units) {
                for gate in 0..GATES {
                    let (row, vector) = (gate * hidden + unit, (unit - from) / lanes * GATES + gate);
                    let column = vector * lanes + (unit - from) % lanes;
                    recurrent[begin * (hidden + 1) + column] = bias[row];
                    for k in 0..hidden {
                        recurrent[begin * (hidden + 1) + (k + 1) * width + column] =
                            weight_hh[row * hidden + k];
                    }
                    for k in 0..inputs {
                        input[begin * inputs + k * width + column] = weight_ih[row * inputs + k];
                    }
                }
            }
            from += units;
        }
        Self { inputs, recurrent, input }
    }
}

/// Units of the next panel when `left` are to be done.
fn panel_units(left: usize, lanes: usize) -> usize {
    if left > lanes { 2 * lanes } else { lanes }
}

impl Stream {
    /// Back to the start of a sequence.
    pub fn reset(&mut self) {
        for LayerState { hidden, cell, .. } in &mut self.layers {
            hidden.fill(0.0);
            cell.fill(0.0);
        }
        self.prepared = false;
    }
}

struct Prepare<'a> {
    lstm: &'a Lstm,
    stream: &'a mut Stream,
}

impl Kernel for Prepare<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let hidden = self.lstm.hidden;
        for (layer, LayerState { hidden: state, gates, .. }) in
            self.lstm.layers.iter().zip(&mut self.stream.layers)
        {
            let (mut weights, mut gates): (&[f32], &mut [f32]) = (&layer.recurrent, gates);
            let mut left = hidden;
            while left > 0 {
                let width = GATES * panel_units(left, S::LANES);
                let (panel, other_weights) = weights.split_at(width * (hidden + 1));
                let (sums, other_gates) = gates.split_at_mut(width);
                if width == 2 * GATES * S::LANES {
                    prepare_panel::<S, 8, 1>(simd, panel, &state[..hidden], sums);
                } else {
                    prepare_panel::<S, 4, 2>(simd, panel, &state[..hidden], sums);
                }
                (weights, gates) = (other_weights, other_gates);
                left = left.saturating_sub(width / GATES);
            }
        }
        self.stream.prepared = true;
    }
}

#[inline(always)]
fn prepare_panel<S: Simd, const W: usize, const U: usize>(
    simd: S,
    panel: &[f32],
    hidden: &[f32],
    gates: &mut [f32],
) {
    let (bias, weights) = panel.split_at(W * S::LANES);
    let sums = product::<S, W, U>(simd, load_row(simd, bias), hidden, weights);
    for (sum, gates) in sums.into_iter().zip(gates.chunks_exact_mut(S::LANES)) {
        simd.store(sum, gates);
    }
}

struct Advance<'a> {
    lstm: &'a Lstm,
    stream: &'a mut Stream,
    input: &'a [f32],
}

impl Kernel for Advance<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let hidden = self.lstm.hidden;
        let mut below = self.input;
        for (layer, LayerState { hidden: state, cell, gates }) in
            self.lstm.layers.iter().zip(&mut self.stream.layers)
        {
            assert!(below.len() == layer.inputs, "inputs of an LSTM's layer");
            let (mut weights, mut gates): (&[f32], &[f32]) = (&layer.input, gates);
            let mut units = 0;
            while units < hidden {
                let step = panel_units(hidden - units, S::LANES);
                let (panel, other_weights) = weights.split_at(GATES * step * layer.inputs);
                let (prepared, other_gates) = gates.split_at(GATES * step);
                let (state, cell) = (&mut state[units..units + step], &mut cell[units..units + step]);
                if step == 2 * S::LANES {
                    advance_panel::<S, 8, 1>(simd, panel, below, prepared, state, cell);
                } else {
                    advance_panel::<S, 4, 2>(simd, panel, below, prepared, state, cell);
                }
                (weights, gates) = (other_weights, other_gates);
                units += step;
            }
            below = &state[..hidden];
        }
        self.stream.prepared = false;
    }
}

#[inline(always)]
fn advance_panel<S: Simd, const W: usize, const U: usize>(
    simd: S,
    panel: &[f32],
    input: &[f32],
    prepared: &[f32],
    hidden: &mut [f32],
    cell: &mut [f32],
) {
    let sums = product::<S, W, U>(simd, load_row(simd, prepared), input, panel);
    let units = hidden.chunks_exact_mut(S::LANES).zip(cell.chunks_exact_mut(S::LANES));
    for (gates, (hidden, cell)) in sums.chunks_exact(GATES).zip(units) {
        let (i, f, g, o) = (gates[0], gates[1], gates[2], gates[3]);
        let kept = simd.mul(sigmoid(simd, f), simd.load(cell));
        let c = simd.mul_add(sigmoid(simd, i), tanh(simd, g), kept);
        simd.store(c, cell);
        simd.store(simd.mul(sigmoid(simd, o), tanh(simd, c)), hidden);
    }
}
