//! What is believed of the weights of a linear model: a Gaussian that every outcome narrows (Bayesian linear regression,
//! Bishop, *Pattern Recognition and Machine Learning*, 3.3; as a filter, Ljung, *System Identification*, 11.2).
//!
//! The prior is N(0, 1) for each weight: regressors are scaled to that. The covariance is P = Q + (1 − s) P with shares of
//! the prior mixed in, so that it can never exceed the prior, however long nothing is learned (Kulhavý, *Restricted
//! exponential forgetting*, 1987, for the idea).

use crate::vector::dot;

/// Weights and their covariance; all buffers are made at construction.
#[derive(Clone, Debug)]
pub struct Belief {
    size: usize,
    /// Symmetric, [row][column].
    covariance: Vec<f64>,
    /// P·x of the last regressors.
    projection: Vec<f64>,
}

impl Belief {
    pub fn new(size: usize) -> Self {
        let mut belief = Self { size, covariance: vec![0.0; size * size], projection: vec![0.0; size] };
        belief.reset();
        belief
    }

    pub fn copy_from(&mut self, other: &Self) {
        self.covariance.copy_from_slice(&other.covariance);
    }

    /// Symmetric, [row][column].
    pub fn covariance(&self) -> &[f64] {
        &self.covariance
    }

    /// Takes the symmetric part of `covariance`, of the same size.
    pub fn set_covariance(&mut self, covariance: &[f64]) {
        for row in 0..self.size {
            for column in 0..self.size {
                let both = [covariance[row * self.size + column], covariance[column * self.size + row]];
                self.covariance[row * self.size + column] = 0.5 * (both[0] + both[1]);
            }
        }
    }

    /// Back to the prior.
    pub fn reset(&mut self) {
        self.covariance.fill(0.0);
        self.covariance.iter_mut().step_by(self.size + 1).for_each(|value| *value = 1.0);
    }

    /// Mixes in a share, 0 to 1, of the prior.
    pub fn forget(&mut self, share: f64) {
        self.covariance.iter_mut().for_each(|value| *value *= 1.0 - share);
        self.covariance.iter_mut().step_by(self.size + 1).for_each(|value| *value += share);
    }

    /// The variance xᵀ·P·x of a prediction with `regressors`; remembered for [`Self::narrow`] and [`Self::learn`].
    pub fn project(&mut self, regressors: &[f64]) -> f64 {
        for (projection, row) in self.projection.iter_mut().zip(self.covariance.chunks_exact(self.size)) {
            *projection = dot(row, regressors);
        }
        let variance = dot(&self.projection, regressors);
        if variance >= 0.0 && variance.is_finite() {
            return variance;
        }
        // rounding has left no covariance
        self.reset();
        self.projection.copy_from_slice(regressors);
        dot(regressors, regressors)
    }

    /// The variance xᵀ·P·x, and nothing remembered.
    pub fn variance(&self, regressors: &[f64]) -> f64 {
        let rows = self.covariance.chunks_exact(self.size);
        rows.zip(regressors).map(|(row, x)| x * dot(row, regressors)).sum::<f64>().max(0.0)
    }

    /// Takes the error `error` of the prediction that was projected into `weights`; `total` is the variance of the
    /// outcome: of the prediction, of all else that was summed up in it, and of the noise.
    pub fn learn(&self, weights: &mut [f64], error: f64, total: f64) {
        let step = error / total;
        weights.iter_mut().zip(&self.projection).for_each(|(weight, p)| *weight += p * step);
    }

    /// Narrows the covariance by the outcome that was projected, once: P ← P − P·x·xᵀ·P / `total`.
    pub fn narrow(&mut self, total: f64) {
        let root = total.sqrt();
        self.projection.iter_mut().for_each(|projection| *projection /= root); // not one division for each of P
        for (row, left) in self.covariance.chunks_exact_mut(self.size).zip(&self.projection) {
            for (value, right) in row.iter_mut().zip(&self.projection) {
                *value -= left * right;
            }
        }
    }
}
