//! y = W x + b and y = tanh(W x + b), and networks of such layers.

use super::activation::tanh;
use super::memory::Memory;
use super::simd::{Kernel, Path, Simd};

/// sums + Σ weights [input][W vectors] · input, in U sums each, so that narrow panels do not wait for themselves.
#[inline(always)]
pub(super) fn product<S: Simd, const W: usize, const U: usize>(
    simd: S,
    sums: [S::Vector; W],
    input: &[f32],
    weights: &[f32],
) -> [S::Vector; W] {
    let mut partial = [[simd.splat(0.0); W]; U];
    partial[0] = sums;
    let add = |sums: &mut [S::Vector; W], x: f32, row: &[f32]| {
        let x = simd.splat(x);
        for v in 0..W {
            sums[v] = simd.mul_add(x, simd.load(&row[v * S::LANES..]), sums[v]);
        }
    };
    let row = W * S::LANES;
    let (inputs, blocks) = (input.chunks_exact(U), weights.chunks_exact(U * row));
    let (last_inputs, last_rows) = (inputs.remainder(), weights[inputs.len() * U * row..].chunks_exact(row));
    for (xs, rows) in inputs.zip(blocks) {
        for u in 0..U {
            add(&mut partial[u], xs[u], &rows[u * row..(u + 1) * row]);
        }
    }
    for (x, row) in last_inputs.iter().zip(last_rows) {
        add(&mut partial[0], *x, row);
    }
    let mut sums = partial[0];
    for other in &partial[1..] {
        for v in 0..W {
            sums[v] = simd.add(sums[v], other[v]);
        }
    }
    sums
}

/// As many lanes of `vector` as `out` has room for.
#[inline(always)]
fn store_first<S: Simd>(simd: S, vector: S::Vector, out: &mut [f32]) {
    if out.len() >= S::LANES {
        return simd.store(vector, out);
    }
    let mut lanes = [0.0; 16];
    simd.store(vector, &mut lanes);
    out.copy_from_slice(&lanes[..out.len()]);
}

#[inline(always)]
pub(super) fn load_row<S: Simd, const W: usize>(simd: S, row: &[f32]) -> [S::Vector; W] {
    let mut vectors = [simd.splat(0.0); W];
    for v in 0..W {
        vectors[v] = simd.load(&row[v * S::LANES..]);
    }
    vectors
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    Identity,
    Tanh,
}

/// One layer, packed for `path`.
#[derive(Clone, Debug)]
pub struct Dense {
    path: Path,
    inputs: usize,
    outputs: usize,
    /// For each panel its biases [output of the panel] and weights [input][output of the panel].
    panels: Memory,
}

impl Dense {
    /// From `weight` [output, input], row by row, and `bias` [output].
    ///
    /// # Panics
    /// When the sizes do not fit.
    pub fn new(path: Path, inputs: usize, weight: &[f32], bias: &[f32]) -> Self {
        let path = path.or_portable();
        let (outputs, lanes) = (bias.len(), path.lanes());
        assert_eq!(weight.len(), inputs * outputs, "weights of {inputs} inputs and {outputs} outputs");
        let vectors = outputs.div_ceil(lanes);
        let mut panels = Memory::zeros((inputs + 1) * vectors * lanes);
        let (mut from, mut offset) = (0, 0);
        while from < outputs {
            let width = panel_width((outputs - from).div_ceil(lanes)) * lanes;
            for output in from..outputs.min(from + width) {
                panels[offset + output - from] = bias[output];
                for input in 0..inputs {
                    panels[offset + (input + 1) * width + output - from] = weight[output * inputs + input];
                }
            }
            (from, offset) = (from + width, offset + (inputs + 1) * width);
        }
        Self { path, inputs, outputs, panels }
    }

    /// The largest over the outputs of |bias| + Σ |weight| · `largest_input`: no sum on the way is larger.
    pub fn largest_sum(&self, largest_input: f64) -> f64 {
        let lanes = self.path.lanes();
        let (mut left, mut panels, mut largest) = (self.outputs, &self.panels[..], 0.0);
        while left > 0 {
            let width = panel_width(left.div_ceil(lanes)) * lanes;
            let (panel, rest) = panels.split_at((self.inputs + 1) * width);
            for output in 0..width {
                let terms = panel[output..].iter().step_by(width).map(|term| f64::from(term.abs()));
                let (bias, weights) = (f64::from(panel[output].abs()), terms.skip(1).sum::<f64>());
                largest = f64::max(largest, bias + weights * largest_input);
            }
            (left, panels) = (left.saturating_sub(width), rest);
        }
        largest
    }

    /// `input` [input] to `output` [output].
    ///
    /// # Panics
    /// When the sizes do not fit.
    pub fn forward(&self, input: &[f32], activation: Activation, output: &mut [f32]) {
        self.path.run(Forward { layer: self, input, activation, output });
    }

    #[inline(always)]
    pub(super) fn run<S: Simd>(
        &self,
        simd: S,
        input: &[f32],
        activation: Activation,
        mut output: &mut [f32],
    ) {
        assert!(input.len() == self.inputs && output.len() == self.outputs, "sizes of a layer");
        let mut panels: &[f32] = &self.panels;
        while !output.is_empty() {
            let vectors = panel_width(output.len().div_ceil(S::LANES));
            let (panel, rest) = panels.split_at((self.inputs + 1) * vectors * S::LANES);
            let (here, beyond) = output.split_at_mut(output.len().min(vectors * S::LANES));
            match vectors {
                8 => run_panel::<S, 8, 1>(simd, panel, input, activation, here),
                4 => run_panel::<S, 4, 2>(simd, panel, input, activation, here),
                2 => run_panel::<S, 2, 4>(simd, panel, input, activation, here),
                _ => run_panel::<S, 1, 8>(simd, panel, input, activation, here),
            }
            (panels, output) = (rest, beyond);
        }
    }
}

/// Vectors of the next panel when `left` are to be done.
fn panel_width(left: usize) -> usize {
    match left {
        8.. => 8,
        4..8 => 4,
        2..4 => 2,
        _ => 1,
    }
}

#[inline(always)]
fn run_panel<S: Simd, const W: usize, const U: usize>(
    simd: S,
    panel: &[f32],
    input: &[f32],
    activation: Activation,
    output: &mut [f32],
) {
    let (bias, weights) = panel.split_at(W * S::LANES);
    let sums = product::<S, W, U>(simd, load_row(simd, bias), input, weights);
    for (sum, output) in sums.into_iter().zip(output.chunks_mut(S::LANES)) {
        let value = match activation {
            Activation::Identity => sum,
            Activation::Tanh => tanh(simd, sum),
        };
        store_first(simd, value, output);
    }
}

struct Forward<'a> {
    layer: &'a Dense,
    input: &'a [f32],
    activation: Activation,
    output: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.layer.run(simd, self.input, self.activation, self.output);
    }
}

/// Layers one after the other, all but the last with tanh.
#[derive(Clone, Debug)]
pub struct Network {
    path: Path,
    layers: Vec<Dense>,
    /// Of each layer.
    outputs: Vec<Memory>,
}

impl Network {
    /// Of layers packed for `path`, the outputs of one the inputs of the next.
    ///
    /// # Panics
    /// When one is packed for another.
    pub fn new(path: Path, layers: Vec<Dense>) -> Self {
        let path = path.or_portable();
        assert!(layers.iter().all(|layer| layer.path == path), "layers that are not packed for {path:?}");
        let outputs = layers.iter().map(|layer| Memory::zeros(layer.outputs)).collect();
        Self { path, layers, outputs }
    }

    pub fn layers(&self) -> &[Dense] {
        &self.layers
    }

    /// Evaluates the network; the result stays valid until the next call.
    pub fn forward(&mut self, input: &[f32]) -> &[f32] {
        self.path.run(ForwardAll { layers: &self.layers, outputs: &mut self.outputs, input });
        self.output(self.layers.len().wrapping_sub(1))
    }

    /// What layer `index` gave in the last [`Self::forward`]; nothing when there is no such layer.
    pub fn output(&self, index: usize) -> &[f32] {
        match (self.layers.get(index), self.outputs.get(index)) {
            (Some(layer), Some(output)) => &output[..layer.outputs],
            _ => &[],
        }
    }
}

struct ForwardAll<'a> {
    layers: &'a [Dense],
    outputs: &'a mut [Memory],
    input: &'a [f32],
}

impl Kernel for ForwardAll<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut input = self.input;
        let last = self.layers.len().wrapping_sub(1);
        for (index, (layer, output)) in self.layers.iter().zip(self.outputs).enumerate() {
            let activation = if index == last { Activation::Identity } else { Activation::Tanh };
            let output = &mut output[..layer.outputs];
            layer.run(simd, input, activation, output);
            input = output;
        }
    }
}
