//! The mean squared error as one operation with its own gradient.

use crate::nn::activation::Real;
use crate::nn::kernel::simd::{Kernel, Path, Simd};
use crate::nn::operation::{values, with_values};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

/// The mean over all elements of (outputs - targets)², a scalar. Both have the same shape.
pub fn mean_squared_error(outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
    outputs.contiguous()?.apply_op2(&targets.contiguous()?, MeanSquaredError)
}

struct MeanSquaredError;

impl CustomOp2 for MeanSquaredError {
    fn name(&self) -> &'static str {
        "mean-squared-error"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if l1.dims() != l2.dims() {
            bail!("mean-squared-error: outputs {:?}, targets {:?}", l1.shape(), l2.shape());
        }
        let storage = match s1.dtype() {
            DType::F32 => CpuStorage::F32(vec![mean::<f32>(values(s1, l1)?, values(s2, l2)?)]),
            DType::F64 => CpuStorage::F64(vec![mean::<f64>(values(s1, l1)?, values(s2, l2)?)]),
            other => bail!("mean-squared-error: not for {other:?}"),
        };
        Ok((storage, Shape::from(())))
    }

    fn bwd(
        &self,
        outputs: &Tensor,
        targets: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad_outputs = match outputs.dtype() {
            DType::F64 => gradient(outputs, targets, grad.to_scalar::<f64>()?)?,
            _ => gradient(outputs, targets, grad.to_scalar::<f32>()?)?,
        };
        let grad_targets = targets.track_op().then(|| grad_outputs.neg()).transpose()?;
        Ok((Some(grad_outputs), grad_targets))
    }
}

fn mean<T: Real>(outputs: &[T], targets: &[T]) -> T {
    let sum = Path::best().run(SquaredDistance { outputs, targets });
    T::from_f64(sum / outputs.len() as f64)
}

fn gradient<T: Real>(outputs: &Tensor, targets: &Tensor, grad: T) -> Result<Tensor> {
    let factor = grad * T::from_f64(2.0 / outputs.elem_count() as f64);
    let mut gradient = vec![T::ZERO; outputs.elem_count()];
    with_values([outputs, targets], |[outputs, targets]| {
        Path::best().run(Differences { outputs, targets, factor, result: &mut gradient });
    })?;
    Tensor::from_vec(gradient, outputs.shape(), outputs.device())
}

struct SquaredDistance<'a, T> {
    outputs: &'a [T],
    targets: &'a [T],
}

impl<T: Real> Kernel for SquaredDistance<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        let (outputs, targets) = (self.outputs.as_chunks::<32>(), self.targets.as_chunks::<32>());
        let mut sums = [T::ZERO; 32];
        let mut total = 0.0;
        // Some hundred terms of a sum in T, the others in f64.
        for (outputs, targets) in outputs.0.chunks(16).zip(targets.0.chunks(16)) {
            sums.fill(T::ZERO);
            for (outputs, targets) in outputs.iter().zip(targets) {
                for lane in 0..32 {
                    let difference = outputs[lane] - targets[lane];
                    sums[lane] += difference * difference;
                }
            }
            total += sums.iter().map(|sum| sum.to_f64()).sum::<f64>();
        }
        let rest = outputs.1.iter().zip(targets.1).map(|(output, target)| (*output - *target).to_f64());
        total + rest.map(|difference| difference * difference).sum::<f64>()
    }
}

/// (outputs - targets) · factor
struct Differences<'a, T> {
    outputs: &'a [T],
    targets: &'a [T],
    factor: T,
    result: &'a mut [T],
}

impl<T: Real> Kernel for Differences<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { outputs, targets, factor, result } = self;
        let operands = outputs.iter().zip(targets);
        result
            .iter_mut()
            .zip(operands)
            .for_each(|(result, (output, target))| *result = (*output - *target) * factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn value_and_gradient_are_candles() {
        for shape in [(1, 1), (3, 7), (5, 32), (37, 41), (64, 280)] {
            let outputs = Var::randn(0f32, 3f32, shape, &Device::Cpu).unwrap();
            let targets = Var::randn(1f32, 1f32, shape, &Device::Cpu).unwrap();
            let ours = (mean_squared_error(&outputs, &targets).unwrap() * 0.7).unwrap();
            let candles = (outputs.as_tensor() - targets.as_tensor()).unwrap().sqr().unwrap();
            let candles = (candles.mean_all().unwrap() * 0.7).unwrap();
            let value = |loss: &Tensor| loss.to_scalar::<f32>().unwrap();
            assert!((value(&ours) / value(&candles) - 1.0).abs() < 1e-5, "{shape:?}");
            let (ours, candles) = (ours.backward().unwrap(), candles.backward().unwrap());
            for variable in [&outputs, &targets] {
                let (found, expected) = (ours.get(variable).unwrap(), candles.get(variable).unwrap());
                let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                for (found, expected) in values(found).iter().zip(values(expected)) {
                    assert!(
                        (found - expected).abs() <= 1e-5 * expected.abs(),
                        "{shape:?}: {found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        let zeros = |shape: (usize, usize)| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        assert!(mean_squared_error(&zeros((2, 3)), &zeros((3, 2))).is_err());
    }
}
