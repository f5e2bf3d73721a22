//! The same low-pass for many signals: what is linear between them before it is linear after it.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

/// Butterworth of second order, bilinear with prewarping (R. Bristow-Johnson's cookbook formulae).
#[derive(Clone, Debug)]
pub struct LowPass {
    /// b0 (= b1/2 = b2), a1, a2, over a0.
    coefficients: [f64; 3],
    /// Of each signal: the two states of the transposed direct form II.
    states: Vec<[f64; 2]>,
}

impl LowPass {
    /// With its corner at `frequency` Hz for `signals` that are sampled `rate` times a second.
    pub fn new(frequency: f64, rate: f64, signals: usize) -> Self {
        let w = TAU * (frequency / rate).min(0.45);
        let alpha = w.sin() * FRAC_1_SQRT_2;
        let a0 = 1.0 + alpha;
        let coefficients = [0.5 * (1.0 - w.cos()) / a0, -2.0 * w.cos() / a0, (1.0 - alpha) / a0];
        Self { coefficients, states: vec![[0.0; 2]; signals] }
    }

    pub fn reset(&mut self) {
        self.states.fill([0.0; 2]);
    }

    /// Takes `input` [signal] and writes what it gives into `out` [signal].
    pub fn apply(&mut self, input: &[f64], out: &mut [f64]) {
        let [b0, a1, a2] = self.coefficients;
        for ((state, x), y) in self.states.iter_mut().zip(input).zip(out) {
            *y = b0 * x + state[0];
            state[0] = 2.0 * b0 * x - a1 * *y + state[1];
            state[1] = b0 * x - a2 * *y;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_passes_fast_does_not_and_the_corner_is_at_three_decibels() {
        let gain = |frequency: f64| {
            let mut filter = LowPass::new(10.0, 500.0, 1);
            let (mut out, mut peak) = ([0.0], 0.0f64);
            for k in 0..5000 {
                filter.apply(&[(TAU * frequency * f64::from(k) / 500.0).sin()], &mut out);
                if k > 4000 {
                    peak = peak.max(out[0].abs());
                }
            }
            peak
        };
        assert!((gain(0.5) - 1.0).abs() < 1e-3);
        assert!((gain(10.0) - FRAC_1_SQRT_2).abs() < 5e-3);
        assert!(gain(100.0) < 0.02);
    }
}
