//! The gates' nonlinearities, written without branches and calls so that the compiler vectorises loops over them.

use candle_core::WithDType;
use std::ops::{Add, Mul, Sub};

/// tanh(x) is x·p(x²) / q(x²) up to here, and beyond as good as there: the rational minimax approximation of degree 13 over
/// 6 of Eigen (`generic_fast_tanh_float`), within 1e-6. Coefficients from the highest power down.
pub const TANH_LIMIT: f32 = 7.905_311;
pub const TANH_NUMERATOR: [f32; 7] = [
    -2.760_768_5e-16,
    2.000_188e-13,
    -8.604_672e-11,
    5.122_297_2e-8,
    1.485_722_4e-5,
    6.372_619_4e-4,
    4.893_524_7e-3,
];
pub const TANH_DENOMINATOR: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];

/// A float type that a network can be made of: f32 in use, f64 where gradients are checked.
pub trait Real: WithDType + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    const ZERO: Self;
    const ONE: Self;
    fn tanh(self) -> Self;
    /// The logistic function 1 / (1 + exp(-x)).
    fn sigmoid(self) -> Self;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    #[inline(always)]
    fn tanh(self) -> Self {
        let x = self.clamp(-TANH_LIMIT, TANH_LIMIT);
        let square = x * x;
        let horner = |sum: f32, coefficient: &f32| sum * square + coefficient;
        x * TANH_NUMERATOR.iter().fold(0.0, horner) / TANH_DENOMINATOR.iter().fold(0.0, horner)
    }

    #[inline(always)]
    fn sigmoid(self) -> Self {
        0.5 + 0.5 * Real::tanh(0.5 * self)
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    fn tanh(self) -> Self {
        f64::tanh(self)
    }

    fn sigmoid(self) -> Self {
        0.5 + 0.5 * f64::tanh(0.5 * self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_functions_are_within_a_millionth() {
        for step in -20_000..=20_000 {
            let x = step as f32 * 1e-3;
            let (tanh, sigmoid) = (f64::from(x).tanh(), 1.0 / (1.0 + (-f64::from(x)).exp()));
            assert!((f64::from(Real::tanh(x)) - tanh).abs() < 1e-6, "tanh({x})");
            assert!((f64::from(Real::sigmoid(x)) - sigmoid).abs() < 1e-6, "sigmoid({x})");
        }
        assert!(Real::tanh(f32::INFINITY) <= 1.0 && Real::tanh(f32::NAN).is_nan());
    }
}
