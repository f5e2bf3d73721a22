//! A layer y = W x + b or y = tanh(W x + b) as one operation with its own gradient. Composed of Candle's operations it
//! takes three tensors forwards and a dozen backwards, which for small layers is most of the time of training.

use crate::nn::activation::Real;
use crate::nn::kernel::matrix::Matrix;
use crate::nn::kernel::simd::{Kernel, Path, Simd};
use crate::nn::operation::{add_columns, values, with_values};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

pub use crate::nn::kernel::dense::Activation;

/// xs [..., input], weight [output, input], bias [output] -> [..., output]
pub fn dense(xs: &Tensor, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    xs.contiguous()?.apply_op3(&weight.contiguous()?, bias, Dense { activation })
}

struct Dense {
    activation: Activation,
}

impl CustomOp3 for Dense {
    fn name(&self) -> &'static str {
        "dense"
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
        let mut dims = l1.dims().to_vec();
        let (outputs, inputs) = l2.shape().dims2()?;
        if dims.last() != Some(&inputs) || l3.dims() != [outputs] {
            bail!("dense: inputs {:?}, weight {:?}, bias {:?}", l1.shape(), l2.shape(), l3.shape());
        }
        dims.pop();
        dims.push(outputs);
        let storage = match s1.dtype() {
            DType::F32 => CpuStorage::F32(self.forward(values(s1, l1)?, values(s2, l2)?, values(s3, l3)?)),
            DType::F64 => CpuStorage::F64(self.forward(values(s1, l1)?, values(s2, l2)?, values(s3, l3)?)),
            other => bail!("dense: not for {other:?}"),
        };
        Ok((storage, dims.into()))
    }

    fn bwd(
        &self,
        xs: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        match xs.dtype() {
            DType::F64 => self.backward::<f64>(xs, weight, out, grad),
            _ => self.backward::<f32>(xs, weight, out, grad),
        }
    }
}

impl Dense {
    fn forward<T: Real>(&self, xs: &[T], weight: &[T], bias: &[T]) -> Vec<T> {
        let inputs = weight.len() / bias.len().max(1);
        let mut out = bias.repeat(xs.len() / inputs.max(1));
        Matrix::of_rows(xs, inputs).multiply_onto(Matrix::of_rows(weight, inputs).transposed(), &mut out);
        if self.activation == Activation::Tanh {
            Path::best().run(TanhOfAll(&mut out));
        }
        out
    }

    /// dL/dz = dL/dy · (1 - y²) for y = tanh(z)
    fn backward<T: Real>(
        &self,
        xs: &Tensor,
        weight: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        if self.activation == Activation::Identity {
            return through_product::<T>(xs, weight, grad);
        }
        let mut through_tanh = vec![T::ZERO; out.elem_count()];
        with_values([out, grad], |[out, grad]| {
            Path::best().run(ThroughTanh { out, grad, result: &mut through_tanh });
        })?;
        through_product::<T>(xs, weight, &Tensor::from_vec(through_tanh, out.shape(), out.device())?)
    }
}

/// With z = W x + b: dL/dx = Wᵀ · dL/dz, dL/dW = dL/dz · xᵀ, dL/db = dL/dz, summed over the rows. The first only where
/// somebody wants it.
fn through_product<T: Real>(
    xs: &Tensor,
    weight: &Tensor,
    grad: &Tensor,
) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
    let (outputs, inputs) = weight.dims2()?;
    let (mut grad_weight, mut grad_bias) = (vec![T::ZERO; outputs * inputs], vec![T::ZERO; outputs]);
    let mut grad_xs = xs.track_op().then(|| vec![T::ZERO; xs.elem_count()]);
    with_values([xs, weight, grad], |[xs, weight, grad]| {
        let rows = Matrix::of_rows(grad, outputs);
        add_columns(grad, &mut grad_bias);
        rows.transposed().multiply_onto(Matrix::of_rows(xs, inputs), &mut grad_weight);
        if let Some(grad_xs) = &mut grad_xs {
            rows.multiply_onto(Matrix::of_rows(weight, inputs), grad_xs);
        }
    })?;
    let device = xs.device();
    Ok((
        grad_xs.map(|grad| Tensor::from_vec(grad, xs.shape(), device)).transpose()?,
        Some(Tensor::from_vec(grad_weight, (outputs, inputs), device)?),
        Some(Tensor::from_vec(grad_bias, outputs, device)?),
    ))
}

struct TanhOfAll<'a, T>(&'a mut [T]);

impl<T: Real> Kernel for TanhOfAll<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.0.iter_mut().for_each(|value| *value = value.tanh());
    }
}

struct ThroughTanh<'a, T> {
    out: &'a [T],
    grad: &'a [T],
    result: &'a mut [T],
}

impl<T: Real> Kernel for ThroughTanh<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let operands = self.grad.iter().zip(self.out);
        self.result
            .iter_mut()
            .zip(operands)
            .for_each(|(result, (grad, y))| *result = *grad * (T::ONE - *y * *y));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn value_and_gradients_are_candles_at_odd_sizes() {
        for (rows, inputs, outputs) in [(1, 1, 1), (3, 5, 17), (33, 63, 31), (64, 129, 7)] {
            for activation in [Activation::Identity, Activation::Tanh] {
                let bound = 1.0 / (inputs as f64).sqrt();
                // not at random: where a lone tanh is saturated, 1 - y² has few digits, whoever computes it
                let values = |shape: &[usize], spread: f64| {
                    let count = shape.iter().product::<usize>();
                    let value = |k: usize| (spread * (1.7 * (k + 1) as f64).sin()) as f32;
                    Tensor::from_vec((0..count).map(value).collect(), shape, &Device::Cpu).unwrap()
                };
                let variable = |shape: &[usize], spread| Var::from_tensor(&values(shape, spread)).unwrap();
                let variables = [
                    variable(&[rows, inputs], 1.0),
                    variable(&[outputs, inputs], bound),
                    variable(&[outputs], 0.5),
                ];
                let [xs, weight, bias] = variables.each_ref().map(|variable| variable.as_tensor());
                let factors = values(&[rows, outputs], 1.0);
                let ours = dense(xs, weight, bias, activation).unwrap();
                let mut candles = xs.matmul(&weight.t().unwrap()).unwrap().broadcast_add(bias).unwrap();
                if activation == Activation::Tanh {
                    candles = candles.tanh().unwrap();
                }
                assert_close(&ours, &candles, 1e-6);
                let gradients =
                    |out: &Tensor| (out * &factors).unwrap().sum_all().unwrap().backward().unwrap();
                let (ours, candles) = (gradients(&ours), gradients(&candles));
                for variable in &variables {
                    assert_close(ours.get(variable).unwrap(), candles.get(variable).unwrap(), 1e-5);
                }
            }
        }
    }

    /// To a share of the largest element.
    #[track_caller]
    fn assert_close(found: &Tensor, expected: &Tensor, tolerance: f32) {
        assert_eq!(found.dims(), expected.dims());
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (found, expected) = (values(found), values(expected));
        let scale = expected.iter().fold(0.0, |scale: f32, value| scale.max(value.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= tolerance * scale, "{found}, expected {expected}");
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let refused = |xs: &[usize], weight: &[usize], bias: &[usize]| {
            dense(&zeros(xs), &zeros(weight), &zeros(bias), Activation::Tanh).is_err()
        };
        assert!(!refused(&[2, 2, 3], &[4, 3], &[4]));
        assert!(refused(&[2, 3], &[3, 4], &[3]) && refused(&[2, 3], &[4, 3], &[3]));
    }
}
