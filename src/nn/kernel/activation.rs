//! tanh and the logistic function on whole vectors.

use super::simd::Simd;
use crate::nn::activation::{TANH_DENOMINATOR, TANH_LIMIT, TANH_NUMERATOR};

/// Within 1e-6. Not a number for what is none, nor for ±∞: a sum that overflowed tells nothing, not even its sign, and
/// must not come out as ±1.
#[inline(always)]
pub fn tanh<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let bounded = simd.clamp(x, TANH_LIMIT);
    let square = simd.mul(bounded, bounded);
    let (mut numerator, mut denominator) = (simd.splat(TANH_NUMERATOR[0]), simd.splat(TANH_DENOMINATOR[0]));
    for coefficient in &TANH_NUMERATOR[1..] {
        numerator = simd.mul_add(numerator, square, simd.splat(*coefficient));
    }
    for coefficient in &TANH_DENOMINATOR[1..] {
        denominator = simd.mul_add(denominator, square, simd.splat(*coefficient));
    }
    // 0 · x is nothing, but for what is not finite.
    simd.mul_add(x, simd.splat(0.0), simd.div(simd.mul(bounded, numerator), denominator))
}

/// 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2
#[inline(always)]
pub fn sigmoid<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let half = simd.splat(0.5);
    simd.mul_add(half, tanh(simd, simd.mul(half, x)), half)
}
