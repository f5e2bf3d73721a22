//! What the operations that we give Candle have in common.

use crate::nn::activation::Real;
use crate::nn::kernel::simd::{Kernel, Path, Simd};
use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// The values of a contiguous operand.
pub fn values<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<T>()?[start..end]),
        None => bail!("an operand of shape {:?} is not contiguous", layout.shape()),
    }
}

/// Calls `work` with the values of `tensors`.
pub fn with_values<T: Real, R, const N: usize>(
    tensors: [&Tensor; N],
    work: impl FnOnce([&[T]; N]) -> R,
) -> Result<R> {
    let tensors = tensors.into_iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
    let locked: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
    let mut slices: [&[T]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&locked) {
        *slice = match &**storage {
            Storage::Cpu(storage) => values(storage, layout)?,
            _ => bail!("an operand of shape {:?} is not in the computer's memory", layout.shape()),
        };
    }
    Ok(work(slices))
}

/// sums [column] += Σ over the rows of `values` [row, column]
pub fn add_columns<T: Real>(values: &[T], sums: &mut [T]) {
    Path::best().run(AddColumns { values, sums });
}

struct AddColumns<'a, T> {
    values: &'a [T],
    sums: &'a mut [T],
}

impl<T: Real> Kernel for AddColumns<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for row in self.values.chunks_exact(self.sums.len().max(1)) {
            self.sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += *value);
        }
    }
}
