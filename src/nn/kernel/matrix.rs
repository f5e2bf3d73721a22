//! Products of matrices, by the crate `gemm`, which Candle uses too.

use crate::nn::activation::Real;
use gemm::Parallelism;

/// A matrix in a slice.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    /// From one row to the next, and from one column to the next.
    strides: (usize, usize),
}

impl<'a, T: Real> Matrix<'a, T> {
    /// All of `values`, row by row.
    pub fn of_rows(values: &'a [T], columns: usize) -> Self {
        let rows = values.len() / columns.max(1);
        Self { values, rows, columns, strides: (columns, 1) }
    }

    pub fn transposed(self) -> Self {
        let strides = (self.strides.1, self.strides.0);
        Self { rows: self.columns, columns: self.rows, strides, ..self }
    }

    fn is_within(&self) -> bool {
        let last =
            self.rows.saturating_sub(1) * self.strides.0 + self.columns.saturating_sub(1) * self.strides.1;
        self.rows * self.columns == 0 || last < self.values.len()
    }

    /// sum [row, column] += self · `rhs`
    ///
    /// # Panics
    /// When the sizes do not fit.
    pub fn multiply_onto(self, rhs: Self, sum: &mut [T]) {
        assert!(
            self.columns == rhs.rows && self.rows * rhs.columns == sum.len(),
            "{} x {} times {} x {} onto {}",
            self.rows,
            self.columns,
            rhs.rows,
            rhs.columns,
            sum.len()
        );
        assert!(self.is_within() && rhs.is_within());
        if sum.is_empty() || self.columns == 0 {
            return;
        }
        let stride = |stride: usize| stride as isize;
        // SAFETY: every element at row · stride + column · stride was checked to be within its slice, and `sum` is
        // borrowed mutably, so that it is none of the others. T is f32 or f64, which gemm knows.
        unsafe {
            gemm::gemm(
                self.rows,
                rhs.columns,
                self.columns,
                sum.as_mut_ptr(),
                1,
                stride(rhs.columns),
                true,
                self.values.as_ptr(),
                stride(self.strides.1),
                stride(self.strides.0),
                rhs.values.as_ptr(),
                stride(rhs.strides.1),
                stride(rhs.strides.0),
                T::ONE,
                T::ONE,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}
