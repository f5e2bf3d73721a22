//! A layer's whole way through a sequence as one operation with its own gradient: the products with the inputs of all
//! steps at once, and backwards those of all gradients. Composed of Candle's operations it takes some hundred
//! small tensors a step, which is most of the time of training.

use crate::nn::activation::Real;
use crate::nn::kernel::matrix::Matrix;
use crate::nn::kernel::simd::{Kernel, Path, Simd};
use crate::nn::operation::{add_columns, values, with_values};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, bail};
use std::sync::{Arc, OnceLock};

const GATES: usize = 4;

/// One layer's parameters, in PyTorch's layout.
pub struct Layer {
    /// [4·hidden, in], [4·hidden, hidden] and [4·hidden] (PyTorch's two biases added), one after the other
    parameters: Tensor,
    hidden: usize,
}

impl Layer {
    pub fn new(weight_ih: &Tensor, weight_hh: &Tensor, bias: &Tensor) -> Result<Self> {
        let parts = [weight_ih.flatten_all()?, weight_hh.flatten_all()?, bias.clone()];
        Ok(Self { parameters: Tensor::cat(&parts, 0)?, hidden: weight_hh.dim(1)? })
    }

    /// weight_ih, weight_hh and bias, row by row.
    pub fn parameters(&self) -> Result<[Tensor; 3]> {
        let gates = GATES * self.hidden;
        let of_input = self.parameters.dim(0)? - gates * (self.hidden + 1);
        let part = |from: usize, count: usize| self.parameters.narrow(0, from, count);
        Ok([
            part(0, of_input)?,
            part(of_input, gates * self.hidden)?,
            part(of_input + gates * self.hidden, gates)?,
        ])
    }

    /// xs [time, batch, in], from hidden and cell [batch, hidden] -> hidden of each step [time, batch, hidden], and
    /// hidden and cell after the last. Gradients go into neither state (truncated backpropagation through time).
    pub fn unroll(&self, xs: &Tensor, state: &(Tensor, Tensor)) -> Result<(Tensor, (Tensor, Tensor))> {
        let (time, batch, inputs) = xs.dims3()?;
        let sizes = Sizes { time, batch, inputs, hidden: self.hidden };
        let before = Tensor::stack(&[&state.0, &state.1], 0)?.detach();
        let saved = Arc::new(OnceLock::new());
        let unroll = Unroll { sizes, saved: saved.clone() };
        let hidden = xs.contiguous()?.apply_op3(&self.parameters, &before, unroll)?;
        let Some(Saved { cells, .. }) = saved.get() else { bail!("lstm-unroll: no step was made") };
        let last = (hidden.get(time - 1)?.detach(), cells.get(time - 1)?);
        Ok((hidden, last))
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    time: usize,
    batch: usize,
    inputs: usize,
    hidden: usize,
}

impl Sizes {
    /// weight_ih, weight_hh and bias of a layer's parameters.
    fn split<'a, T>(&self, parameters: &'a [T]) -> [&'a [T]; 3] {
        let gates = GATES * self.hidden;
        let (weight_ih, rest) = parameters.split_at(gates * self.inputs);
        let (weight_hh, bias) = rest.split_at(gates * self.hidden);
        [weight_ih, weight_hh, bias]
    }
}

/// (xs [time, batch, in], parameters, state [hidden | cell, batch, hidden]) -> hidden of each step [time, batch, hidden]
struct Unroll {
    sizes: Sizes,
    saved: Arc<OnceLock<Saved>>,
}

/// What the way back needs of the way forward.
struct Saved {
    /// After activation, [time, batch, 4·hidden].
    gates: Tensor,
    /// [time, batch, hidden]
    cells: Tensor,
}

impl CustomOp3 for Unroll {
    fn name(&self) -> &'static str {
        "lstm-unroll"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Sizes { time, batch, inputs, hidden } = self.sizes;
        if time == 0
            || l2.dims() != [GATES * hidden * (inputs + hidden + 1)]
            || l3.dims() != [2, batch, hidden]
        {
            bail!("lstm-unroll: xs {:?}, parameters {:?}, state {:?}", l1.shape(), l2.shape(), l3.shape());
        }
        let storage = match s1.dtype() {
            DType::F32 => CpuStorage::F32(self.forward(values(s1, l1)?, values(s2, l2)?, values(s3, l3)?)?),
            DType::F64 => CpuStorage::F64(self.forward(values(s1, l1)?, values(s2, l2)?, values(s3, l3)?)?),
            other => bail!("lstm-unroll: not for {other:?}"),
        };
        Ok((storage, (time, batch, hidden).into()))
    }

    fn bwd(
        &self,
        xs: &Tensor,
        parameters: &Tensor,
        state: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        match xs.dtype() {
            DType::F64 => self.backward::<f64>(xs, parameters, state, out, grad),
            _ => self.backward::<f32>(xs, parameters, state, out, grad),
        }
    }
}

impl Unroll {
    fn forward<T: Real>(&self, xs: &[T], parameters: &[T], state: &[T]) -> Result<Vec<T>> {
        let Sizes { time, batch, inputs, hidden } = self.sizes;
        let [weight_ih, weight_hh, bias] = self.sizes.split(parameters);
        let mut gates = bias.repeat(time * batch);
        let weight_ih = Matrix::of_rows(weight_ih, inputs);
        Matrix::of_rows(xs, inputs).multiply_onto(weight_ih.transposed(), &mut gates);
        // The product below is much faster with the gates of a unit side by side.
        let weight_hh = transposed(weight_hh, hidden);
        let weight_hh = Matrix::of_rows(&weight_hh, GATES * hidden);
        let size = batch * hidden;
        let (first_hidden, first_cell) = state.split_at(size);
        let mut out = vec![T::ZERO; time * size];
        let mut cells = vec![T::ZERO; time * size];
        for (t, gates) in gates.chunks_exact_mut(GATES * size).enumerate() {
            let (past, future) = out.split_at_mut(t * size);
            let (past_cells, future_cells) = cells.split_at_mut(t * size);
            let before = past.rchunks_exact(size).next().unwrap_or(first_hidden);
            let old_cell = past_cells.rchunks_exact(size).next().unwrap_or(first_cell);
            Matrix::of_rows(before, hidden).multiply_onto(weight_hh, gates);
            let (cell, state) = (&mut future_cells[..size], &mut future[..size]);
            Path::best().run(Activate { gates, old_cell, cell, state, hidden });
        }
        let saved = Saved {
            gates: Tensor::from_vec(gates, (time, batch, GATES * hidden), &Device::Cpu)?,
            cells: Tensor::from_vec(cells, (time, batch, hidden), &Device::Cpu)?,
        };
        match self.saved.set(saved) {
            Ok(()) => Ok(out),
            Err(_) => bail!("lstm-unroll: forward was called twice"),
        }
    }

    fn backward<T: Real>(
        &self,
        xs: &Tensor,
        parameters: &Tensor,
        state: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(Saved { gates, cells }) = self.saved.get() else { bail!("lstm-unroll: no step was made") };
        let operands = [gates, cells, parameters, state, grad];
        let grad_gates: Vec<T> = with_values(operands, |operands| self.through_time(operands))?;
        let mut grad_parameters = vec![T::ZERO; parameters.elem_count()];
        with_values([xs, state, out], |operands| {
            self.of_parameters(&grad_gates, operands, &mut grad_parameters);
        })?;
        let mut grad_xs = xs.track_op().then(|| vec![T::ZERO; xs.elem_count()]);
        with_values([parameters], |[parameters]| {
            let [weight_ih, ..] = self.sizes.split(parameters);
            let grad_gates = Matrix::of_rows(&grad_gates, GATES * self.sizes.hidden);
            if let Some(grad_xs) = &mut grad_xs {
                grad_gates.multiply_onto(Matrix::of_rows(weight_ih, self.sizes.inputs), grad_xs);
            }
        })?;
        let device = xs.device();
        Ok((
            grad_xs.map(|grad| Tensor::from_vec(grad, xs.shape(), device)).transpose()?,
            Some(Tensor::from_vec(grad_parameters, parameters.shape(), device)?),
            None,
        ))
    }

    /// Gradients of the gates before activation, [time, batch, 4·hidden], from the last step to the first.
    fn through_time<T: Real>(&self, [gates, cells, parameters, state, grad]: [&[T]; 5]) -> Vec<T> {
        let Sizes { time, batch, hidden, .. } = self.sizes;
        let size = batch * hidden;
        let [_, weight_hh, _] = self.sizes.split(parameters);
        let weight_hh = Matrix::of_rows(weight_hh, hidden);
        let mut grad_gates = vec![T::ZERO; gates.len()];
        let (mut grad_hidden, mut grad_cell) = (vec![T::ZERO; size], vec![T::ZERO; size]);
        for t in (0..time).rev() {
            let (now, of_gates) = (t * size..(t + 1) * size, t * GATES * size..(t + 1) * GATES * size);
            let old_cell = if t == 0 { &state[size..] } else { &cells[(t - 1) * size..t * size] };
            let grad_gates = &mut grad_gates[of_gates.clone()];
            Path::best().run(Back {
                gates: &gates[of_gates],
                old_cell,
                cell: &cells[now.clone()],
                grad_out: &grad[now],
                grad_hidden: &grad_hidden,
                grad_cell: &mut grad_cell,
                grad_gates,
                hidden,
            });
            grad_hidden.fill(T::ZERO);
            Matrix::of_rows(grad_gates, GATES * hidden).multiply_onto(weight_hh, &mut grad_hidden);
        }
        grad_gates
    }

    /// Of weight_ih, weight_hh and bias, one after the other.
    fn of_parameters<T: Real>(&self, grad_gates: &[T], [xs, state, out]: [&[T]; 3], grad: &mut [T]) {
        let Sizes { time, batch, inputs, hidden } = self.sizes;
        let columns = GATES * hidden;
        let (grad_weight_ih, rest) = grad.split_at_mut(columns * inputs);
        let (grad_weight_hh, grad_bias) = rest.split_at_mut(columns * hidden);
        let all = Matrix::of_rows(grad_gates, columns).transposed();
        all.multiply_onto(Matrix::of_rows(xs, inputs), grad_weight_ih);
        let (first, later) = grad_gates.split_at(batch * columns);
        let before = Matrix::of_rows(&state[..batch * hidden], hidden);
        Matrix::of_rows(first, columns).transposed().multiply_onto(before, grad_weight_hh);
        let before = Matrix::of_rows(&out[..(time - 1) * batch * hidden], hidden);
        Matrix::of_rows(later, columns).transposed().multiply_onto(before, grad_weight_hh);
        add_columns(grad_gates, grad_bias);
    }
}

/// `values` [row, column] as [column, row].
fn transposed<T: Real>(values: &[T], columns: usize) -> Vec<T> {
    let rows = values.len() / columns.max(1);
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

fn split<T>(gates: &[T], hidden: usize) -> [&[T]; GATES] {
    let (i, rest) = gates.split_at(hidden);
    let (f, rest) = rest.split_at(hidden);
    let (g, o) = rest.split_at(hidden);
    [i, f, g, o]
}

fn split_mut<T>(gates: &mut [T], hidden: usize) -> [&mut [T]; GATES] {
    let (i, rest) = gates.split_at_mut(hidden);
    let (f, rest) = rest.split_at_mut(hidden);
    let (g, o) = rest.split_at_mut(hidden);
    [i, f, g, o]
}

/// Units that are computed together. They are copied out first, for the compiler to see that nothing overlaps.
const BLOCK: usize = 16;

/// The values from `from` on, as many as there are, and zeros.
#[inline(always)]
fn block<T: Real>(values: &[T], from: usize) -> [T; BLOCK] {
    let mut block = [T::ZERO; BLOCK];
    match values[from..].first_chunk() {
        Some(whole) => block = *whole,
        None => block[..values.len() - from].copy_from_slice(&values[from..]),
    }
    block
}

/// The other way.
#[inline(always)]
fn store<T: Real>(values: &mut [T], from: usize, block: &[T; BLOCK]) {
    match values[from..].first_chunk_mut() {
        Some(whole) => *whole = *block,
        None => {
            let count = values.len() - from;
            values[from..].copy_from_slice(&block[..count]);
        }
    }
}

/// c' = σ(f)·c + σ(i)·tanh(g),  h = σ(o)·tanh(c')   (Hochreiter & Schmidhuber 1997, with Gers' forget gate)
///
/// `gates` [batch, i | f | g | o] are left activated.
struct Activate<'a, T> {
    gates: &'a mut [T],
    old_cell: &'a [T],
    cell: &'a mut [T],
    state: &'a mut [T],
    hidden: usize,
}

impl<T: Real> Kernel for Activate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let hidden = self.hidden;
        let rows = self.gates.chunks_exact_mut(GATES * hidden).zip(self.old_cell.chunks_exact(hidden));
        let outs = self.cell.chunks_exact_mut(hidden).zip(self.state.chunks_exact_mut(hidden));
        for ((gates, old_cell), (cell, state)) in rows.zip(outs) {
            let [gate_i, gate_f, gate_g, gate_o] = split_mut(gates, hidden);
            for k in (0..hidden).step_by(BLOCK) {
                let (mut i, mut f) = (block(gate_i, k), block(gate_f, k));
                let (mut g, mut o) = (block(gate_g, k), block(gate_o, k));
                let (mut c, mut h) = (block(old_cell, k), [T::ZERO; BLOCK]);
                for n in 0..BLOCK {
                    (i[n], f[n], g[n], o[n]) = (i[n].sigmoid(), f[n].sigmoid(), g[n].tanh(), o[n].sigmoid());
                    c[n] = f[n] * c[n] + i[n] * g[n];
                    h[n] = o[n] * c[n].tanh();
                }
                store(gate_i, k, &i);
                store(gate_f, k, &f);
                store(gate_g, k, &g);
                store(gate_o, k, &o);
                store(cell, k, &c);
                store(state, k, &h);
            }
        }
    }
}

/// One step back; `gates` are activated, `grad_out` is what comes from above and `grad_hidden` from the step after.
/// `grad_cell` is left that of the step before.
struct Back<'a, T> {
    gates: &'a [T],
    old_cell: &'a [T],
    cell: &'a [T],
    grad_out: &'a [T],
    grad_hidden: &'a [T],
    grad_cell: &'a mut [T],
    grad_gates: &'a mut [T],
    hidden: usize,
}

impl<T: Real> Kernel for Back<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let hidden = self.hidden;
        for row in 0..self.cell.len() / hidden {
            let units = row * hidden..(row + 1) * hidden;
            let gates = GATES * units.start..GATES * units.end;
            let [i, f, g, o] = split(&self.gates[gates.clone()], hidden);
            let [grad_i, grad_f, grad_g, grad_o] = split_mut(&mut self.grad_gates[gates], hidden);
            let (old_cell, cell) = (&self.old_cell[units.clone()], &self.cell[units.clone()]);
            let (grad_out, grad_hidden) = (&self.grad_out[units.clone()], &self.grad_hidden[units.clone()]);
            let grad_cell = &mut self.grad_cell[units];
            for k in (0..hidden).step_by(BLOCK) {
                let [i, f, g, o] = [i, f, g, o].map(|gate| block(gate, k));
                let [old, cell] = [old_cell, cell].map(|cell| block(cell, k));
                let [out, hidden] = [grad_out, grad_hidden].map(|grad| block(grad, k));
                let (mut total, mut grads) = (block(grad_cell, k), [[T::ZERO; BLOCK]; GATES]);
                for n in 0..BLOCK {
                    let (tanh, grad) = (cell[n].tanh(), out[n] + hidden[n]);
                    // dL/dc' = dL/dc'(direct) + dL/dh · o · (1 - tanh²(c'))
                    total[n] += grad * o[n] * (T::ONE - tanh * tanh);
                    grads[0][n] = total[n] * g[n] * i[n] * (T::ONE - i[n]);
                    grads[1][n] = total[n] * old[n] * f[n] * (T::ONE - f[n]);
                    grads[2][n] = total[n] * i[n] * (T::ONE - g[n] * g[n]);
                    grads[3][n] = grad * tanh * o[n] * (T::ONE - o[n]);
                    total[n] *= f[n];
                }
                store(grad_i, k, &grads[0]);
                store(grad_f, k, &grads[1]);
                store(grad_g, k, &grads[2]);
                store(grad_o, k, &grads[3]);
                store(grad_cell, k, &total);
            }
        }
    }
}
