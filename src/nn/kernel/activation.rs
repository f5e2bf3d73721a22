//! tanh and the logistic function on whole vectors.

use super::simd::Simd;

/// Rational minimax approximation of degree 13 over 6, as in Eigen (`generic_fast_tanh_float`), within 1e-6. Not a number
/// for what is none, nor for ±∞: a sum that overflowed tells nothing, not even its sign, and must not come out as ±1.
#[inline(always)]
pub fn tanh<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    const NUMERATOR: [f32; 7] = [
        -2.760_768_5e-16,
        2.000_188e-13,
        -8.604_672e-11,
        5.122_297_2e-8,
        1.485_722_4e-5,
        6.372_619_4e-4,
        4.893_524_7e-3,
    ];
    const DENOMINATOR: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];
    let input = x;
    let x = simd.clamp(x, 7.905_311);
    let square = simd.mul(x, x);
    let (mut numerator, mut denominator) = (simd.splat(NUMERATOR[0]), simd.splat(DENOMINATOR[0]));
    for coefficient in &NUMERATOR[1..] {
        numerator = simd.mul_add(numerator, square, simd.splat(*coefficient));
    }
    for coefficient in &DENOMINATOR[1..] {
        denominator = simd.mul_add(denominator, square, simd.splat(*coefficient));
    }
    simd.mul_add(input, simd.splat(0.0), simd.div(simd.mul(x, numerator), denominator))
}

/// 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2
#[inline(always)]
pub fn sigmoid<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let half = simd.splat(0.5);
    simd.mul_add(half, tanh(simd, simd.mul(half, x)), half)
}
