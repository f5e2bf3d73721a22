//! AdamW with a bound on the gradient (Loshchilov & Hutter, Decoupled weight decay regularization, 2019, algorithm 2), in
//! one pass over each variable. Candle's own takes a dozen tensors a variable, and keeps its moments to itself, so that a
//! training could not be resumed.

use crate::error::{Error, Result};
use crate::nn::kernel::simd::{Kernel, Path, Simd};
use crate::nn::operation::with_values;
use candle_core::backend::BackendStorage;
use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Tensor, Var, bail};
use std::cell::RefCell;

/// Decay of the means of gradient and of its square; what is added to the root of the latter.
const BETA: (f64, f64) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;

pub struct AdamW {
    /// Of f32.
    variables: Vec<Var>,
    /// Means of gradient and of its square, of all variables one after the other.
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
    weight_decay: f64,
    largest_norm: f64,
}

impl AdamW {
    /// Gradients whose norm over all variables is above `largest_norm` are scaled to it.
    pub fn new(variables: Vec<Var>, weight_decay: f64, largest_norm: f64) -> Self {
        keep_freed_memory();
        let zeros = vec![0.0; variables.iter().map(|variable| variable.elem_count()).sum()];
        Self { variables, first: zeros.clone(), second: zeros, steps: 0, weight_decay, largest_norm }
    }

    /// One step of size `rate` down the gradient of `loss`. A gradient that is not finite is left out; the answer is
    /// whether the step was taken.
    pub fn step(&mut self, loss: &Tensor, rate: f64) -> Result<bool> {
        let gradients = loss.backward()?;
        let norm = self.norm(&gradients)?;
        if !norm.is_finite() {
            return Ok(false);
        }
        self.steps += 1;
        let unbiased = [BETA.0, BETA.1].map(|beta| 1.0 / (1.0 - beta.powi(self.steps)));
        let factors = Factors {
            gradient: if norm > self.largest_norm { (self.largest_norm / norm) as f32 } else { 1.0 },
            kept: (1.0 - rate * self.weight_decay) as f32,
            rate: (rate * unbiased[0]) as f32,
            unbiased: unbiased[1] as f32,
        };
        let (mut first, mut second) = (&mut self.first[..], &mut self.second[..]);
        for variable in &self.variables {
            let ((own_first, rest_first), (own_second, rest_second)) =
                (first.split_at_mut(variable.elem_count()), second.split_at_mut(variable.elem_count()));
            (first, second) = (rest_first, rest_second);
            let Some(gradient) = gradients.get(variable) else { continue };
            with_values([gradient], |[gradient]| {
                let moments = RefCell::new((own_first, own_second));
                variable.inplace_op1(&Step { factors, gradient, moments })
            })??;
        }
        Ok(true)
    }

    /// Euclidean norm of the gradients of all variables together; not finite when one has overflowed.
    fn norm(&self, gradients: &GradStore) -> Result<f64> {
        let mut square = 0.0;
        for gradient in self.variables.iter().filter_map(|variable| gradients.get(variable)) {
            square += with_values([gradient], |[gradient]| Path::best().run(SquareOf(gradient)))?;
        }
        Ok(square.sqrt())
    }

    /// Means of gradient and of its square, in the order of the variables, and the steps so far.
    pub fn state(&self) -> Result<(Vec<[Tensor; 2]>, i32)> {
        let (mut moments, mut from) = (Vec::with_capacity(self.variables.len()), 0);
        for variable in &self.variables {
            let part = from..from + variable.elem_count();
            let tensor = |of: &[f32]| Tensor::from_slice(&of[part.clone()], variable.shape(), &Device::Cpu);
            moments.push([tensor(&self.first)?, tensor(&self.second)?]);
            from = part.end;
        }
        Ok((moments, self.steps))
    }

    /// Goes on from what [`Self::state`] gave.
    pub fn restore(&mut self, moments: &[[Tensor; 2]], steps: i32) -> Result<()> {
        let is_same = |(moments, variable): (&[Tensor; 2], &Var)| {
            moments.iter().all(|moment| moment.dims() == variable.dims())
        };
        if moments.len() != self.variables.len() || !moments.iter().zip(&self.variables).all(is_same) {
            let (found, expected) = (moments.len(), self.variables.len());
            return Err(Error::mismatch(
                "moments of the optimizer",
                found,
                format!("{expected} of the same shapes"),
            ));
        }
        let mut from = 0;
        for [first, second] in moments {
            let part = from..from + first.elem_count();
            with_values([first, second], |[first, second]| {
                self.first[part.clone()].copy_from_slice(first);
                self.second[part.clone()].copy_from_slice(second);
            })?;
            from = part.end;
        }
        self.steps = steps;
        Ok(())
    }
}

/// Tells the allocator by an example that large blocks come and go. The GNU C library hands every freed block back
/// to the kernel until it has seen a larger one be freed, and to get it back, page by page, was a third of the time
/// of a training step. The block is never touched, and a little below the 32 MiB from which it would make no difference.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(31 << 20)));
}

#[derive(Clone, Copy)]
struct Factors {
    gradient: f32,
    /// Share of the weights that their decay leaves.
    kept: f32,
    /// Step size, with the correction of the mean of gradients that began at zero.
    rate: f32,
    /// The same correction of the mean of squares.
    unbiased: f32,
}

/// A step of one variable.
struct Step<'a> {
    factors: Factors,
    gradient: &'a [f32],
    moments: RefCell<(&'a mut [f32], &'a mut [f32])>,
}

impl InplaceOp1 for Step<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let CpuStorage::F32(values) = storage else { bail!("adamw: not for {:?}", storage.dtype()) };
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("adamw: not contiguous") };
        let mut moments = self.moments.borrow_mut();
        let (first, second) = &mut *moments;
        let (values, gradient, factors) = (&mut values[start..end], self.gradient, self.factors);
        Path::best().run(Move { values, gradient, first, second, factors });
        Ok(())
    }
}

struct Move<'a> {
    values: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    factors: Factors,
}

impl Kernel for Move<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        const KEEP: (f32, f32) = (BETA.0 as f32, BETA.1 as f32);
        const TAKE: (f32, f32) = ((1.0 - BETA.0) as f32, (1.0 - BETA.1) as f32);
        let Factors { gradient: scale, kept, rate, unbiased } = self.factors;
        let moments = self.first.iter_mut().zip(self.second);
        for ((value, gradient), (first, second)) in self.values.iter_mut().zip(self.gradient).zip(moments) {
            let gradient = gradient * scale;
            *first = KEEP.0 * *first + TAKE.0 * gradient;
            *second = KEEP.1 * *second + TAKE.1 * (gradient * gradient);
            *value = kept * *value - rate * *first / ((*second * unbiased).sqrt() + EPSILON);
        }
    }
}

struct SquareOf<'a>(&'a [f32]);

impl Kernel for SquareOf<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        let (blocks, rest) = self.0.as_chunks::<32>();
        let mut total = 0.0;
        // Some hundred terms of a sum in f32, the others in f64.
        for blocks in blocks.chunks(16) {
            let mut sums = [0f32; 32];
            for block in blocks {
                sums.iter_mut().zip(block).for_each(|(sum, value)| *sum += value * value);
            }
            total += sums.iter().map(|sum| f64::from(*sum)).sum::<f64>();
        }
        total + rest.iter().map(|value| f64::from(value * value)).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_nn::{Optimizer, ParamsAdamW};

    fn variable(values: &[f32]) -> Var {
        Var::new(values, &Device::Cpu).unwrap()
    }

    /// Σ factor · value, whose gradient are the factors.
    fn linear(variable: &Var, factors: &[f32]) -> Tensor {
        let factors = Tensor::new(factors, &Device::Cpu).unwrap();
        (variable.as_tensor() * factors).unwrap().sum_all().unwrap()
    }

    #[test]
    fn clipping_keeps_the_direction_and_drops_what_overflowed() {
        let clipped = |factors: [f32; 2], largest: f64| {
            let variable = variable(&[1.0, 1.0]);
            let mut optimizer = AdamW::new(vec![variable.clone()], 0.0, largest);
            let is_taken = optimizer.step(&linear(&variable, &factors), 0.1).unwrap();
            let means = optimizer.first.iter().map(|mean| (mean * 100.0).round() / 10.0).collect::<Vec<_>>();
            assert_eq!(variable.to_vec1::<f32>().unwrap() != [1.0, 1.0], is_taken);
            (is_taken, means)
        };
        assert_eq!(clipped([3.0, -4.0], 10.0), (true, vec![3.0, -4.0]));
        assert_eq!(clipped([3.0, -4.0], 1.0), (true, vec![0.6, -0.8]));
        assert!(!clipped([f32::MAX, 1.0], 1.0).0);
        assert!(!clipped([f32::NAN, 1.0], 1.0).0);
    }

    #[test]
    fn the_steps_are_candles() {
        let (ours, candles) = (variable(&[3.0, -2.0, 0.5]), variable(&[3.0, -2.0, 0.5]));
        let mut optimizer = AdamW::new(vec![ours.clone()], 0.01, f64::INFINITY);
        let params = ParamsAdamW { lr: 0.05, weight_decay: 0.01, ..Default::default() };
        let mut candle = candle_nn::AdamW::new(vec![candles.clone()], params).unwrap();
        for step in 0..100 {
            let loss = |variable: &Var| {
                let away = (variable.as_tensor() - f64::from(step % 3)).unwrap();
                away.sqr().unwrap().sum_all().unwrap()
            };
            assert!(optimizer.step(&loss(&ours), 0.05).unwrap());
            candle.backward_step(&loss(&candles)).unwrap();
            let (ours, candles) = (ours.to_vec1::<f32>().unwrap(), candles.to_vec1::<f32>().unwrap());
            for (ours, candles) in ours.iter().zip(&candles) {
                assert!((ours - candles).abs() < 1e-5, "step {step}: {ours} and {candles}");
            }
        }
    }

    #[test]
    fn a_norm_is_of_all_variables() {
        let (long, short) = (variable(&vec![0.5; 1000]), variable(&[1.0]));
        let loss = (linear(&long, &vec![0.5; 1000]) + linear(&short, &[2.0])).unwrap();
        let optimizer = AdamW::new(vec![long, short], 0.0, 1.0);
        let norm = optimizer.norm(&loss.backward().unwrap()).unwrap();
        assert!((norm - 254f64.sqrt()).abs() < 1e-9, "{norm}");
    }

    #[test]
    fn it_goes_on_from_its_state() {
        let (variable, copy) = (variable(&[3.0, -2.0]), variable(&[0.0, 0.0]));
        let mut optimizer = AdamW::new(vec![variable.clone()], 0.0, 1.0);
        let step = |optimizer: &mut AdamW, variable: &Var| {
            optimizer.step(&variable.sqr().unwrap().sum_all().unwrap(), 0.1).unwrap();
            variable.to_vec1::<f32>().unwrap()
        };
        (0..5).for_each(|_| drop(step(&mut optimizer, &variable)));
        copy.set(variable.as_tensor()).unwrap();
        let mut other = AdamW::new(vec![copy.clone()], 0.0, 1.0);
        let (moments, steps) = optimizer.state().unwrap();
        other.restore(&moments, steps).unwrap();
        assert_eq!(step(&mut optimizer, &variable), step(&mut other, &copy));
        assert!(other.restore(&[], 1).unwrap_err().to_string().contains("moments"));
    }
}
