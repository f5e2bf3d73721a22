//! The element-wise half of an LSTM step as one operation with its own gradient. Composed of Candle's operations it
//! takes some forty small tensors a step forwards and backwards, which is most of the time of training.

use crate::nn::activation::Real;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

/// (gates [batch, 4·hidden] before activation in PyTorch's order i, f, g, o; cell c [batch, hidden])
/// -> [batch, 2·hidden], the new hidden h beside the new cell c':
///
/// c' = σ(f)·c + σ(i)·tanh(g),  h = σ(o)·tanh(c')   (Hochreiter & Schmidhuber 1997, with Gers' forget gate)
pub struct LstmCell;

impl CustomOp2 for LstmCell {
    fn name(&self) -> &'static str {
        "lstm-cell"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, hidden) = l2.shape().dims2()?;
        if l1.shape().dims2()? != (batch, 4 * hidden) {
            bail!("lstm-cell: gates {:?} do not fit the cell {:?}", l1.shape(), l2.shape());
        }
        let shape = Shape::from((batch, 2 * hidden));
        match s1.dtype() {
            DType::F32 => {
                let out = step(slice::<f32>(s1, l1)?, slice(s2, l2)?, hidden);
                Ok((CpuStorage::F32(out), shape))
            }
            DType::F64 => {
                let out = step(slice::<f64>(s1, l1)?, slice(s2, l2)?, hidden);
                Ok((CpuStorage::F64(out), shape))
            }
            other => bail!("lstm-cell: not for {other:?}"),
        }
    }

    fn bwd(
        &self,
        gates: &Tensor,
        cell: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (grad_gates, grad_cell) = match gates.dtype() {
            DType::F64 => gradient::<f64>(gates, cell, out, grad)?,
            _ => gradient::<f32>(gates, cell, out, grad)?,
        };
        Ok((Some(grad_gates), Some(grad_cell)))
    }
}

fn slice<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<T>()?[start..end]),
        None => bail!("lstm-cell: an input is not contiguous"),
    }
}

fn step<T: Real>(gates: &[T], cell: &[T], hidden: usize) -> Vec<T> {
    let mut out = vec![T::ZERO; 2 * cell.len()];
    let rows = gates.chunks_exact(4 * hidden).zip(cell.chunks_exact(hidden));
    for (out, (gates, cell)) in out.chunks_exact_mut(2 * hidden).zip(rows) {
        let (new_hidden, new_cell) = out.split_at_mut(hidden);
        let [i, f, g, o] = split(gates, hidden);
        for k in 0..hidden {
            let c = f[k].sigmoid() * cell[k] + i[k].sigmoid() * g[k].tanh();
            new_cell[k] = c;
            new_hidden[k] = o[k].sigmoid() * c.tanh();
        }
    }
    out
}

fn split<T>(gates: &[T], hidden: usize) -> [&[T]; 4] {
    let (i, rest) = gates.split_at(hidden);
    let (f, rest) = rest.split_at(hidden);
    let (g, o) = rest.split_at(hidden);
    [i, f, g, o]
}

/// Gradients of `gates` [batch, 4·hidden] and `cell` [batch, hidden] from that of `out` [batch, 2·hidden].
fn gradient<T: Real>(gates: &Tensor, cell: &Tensor, out: &Tensor, grad: &Tensor) -> Result<(Tensor, Tensor)> {
    let (batch, hidden) = cell.dims2()?;
    let values = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<T>();
    let (gates, cells, out, grad) = (values(gates)?, values(cell)?, values(out)?, values(grad)?);
    let mut grad_gates = vec![T::ZERO; gates.len()];
    let mut grad_cell = vec![T::ZERO; cells.len()];
    for row in 0..batch {
        let [i, f, g, o] = split(&gates[4 * hidden * row..4 * hidden * (row + 1)], hidden);
        let old = &cells[hidden * row..hidden * (row + 1)];
        let new = &out[2 * hidden * row + hidden..2 * hidden * (row + 1)];
        let (grad_hidden, grad_new) = grad[2 * hidden * row..2 * hidden * (row + 1)].split_at(hidden);
        let (grad_i, rest) = grad_gates[4 * hidden * row..4 * hidden * (row + 1)].split_at_mut(hidden);
        let (grad_f, rest) = rest.split_at_mut(hidden);
        let (grad_g, grad_o) = rest.split_at_mut(hidden);
        let grad_old = &mut grad_cell[hidden * row..hidden * (row + 1)];
        for k in 0..hidden {
            let (i, f, g, o) = (i[k].sigmoid(), f[k].sigmoid(), g[k].tanh(), o[k].sigmoid());
            let tanh = new[k].tanh();
            // dL/dc' = dL/dc'(direct) + dL/dh · o · (1 - tanh²(c'))
            let total = grad_new[k] + grad_hidden[k] * o * (T::ONE - tanh * tanh);
            grad_i[k] = total * g * i * (T::ONE - i);
            grad_f[k] = total * old[k] * f * (T::ONE - f);
            grad_g[k] = total * i * (T::ONE - g * g);
            grad_o[k] = grad_hidden[k] * tanh * o * (T::ONE - o);
            grad_old[k] = total * f;
        }
    }
    let device = cell.device();
    Ok((
        Tensor::from_vec(grad_gates, (batch, 4 * hidden), device)?,
        Tensor::from_vec(grad_cell, (batch, hidden), device)?,
    ))
}
