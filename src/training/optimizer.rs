//! AdamW with a schedule of the step size.

use crate::error::Result;
use crate::nn::adamw::AdamW;
use candle_core::{Tensor, Var};

/// Share of the steps over which the step size rises from zero.
const WARM_UP: f64 = 0.03;

pub struct ScheduledAdamW {
    optimizer: AdamW,
    peak: f64,
}

impl ScheduledAdamW {
    /// `learning_rate` at its peak; gradients whose norm over all variables is above `largest_norm` are scaled to it.
    pub fn new(variables: Vec<Var>, learning_rate: f64, weight_decay: f64, largest_norm: f64) -> Self {
        Self { optimizer: AdamW::new(variables, weight_decay, largest_norm), peak: learning_rate }
    }

    /// As [`AdamW::state`].
    pub fn state(&self) -> Result<(Vec<[Tensor; 2]>, i32)> {
        self.optimizer.state()
    }

    /// As [`AdamW::restore`].
    pub fn restore(&mut self, moments: &[[Tensor; 2]], steps: i32) -> Result<()> {
        self.optimizer.restore(moments, steps)
    }

    /// One step down the gradient of `loss`; `progress` in 0..1 is how much of the training is done. A gradient that
    /// is not finite is left out; the answer is whether the step was taken.
    pub fn step(&mut self, loss: &Tensor, progress: f64) -> Result<bool> {
        self.optimizer.step(loss, self.peak * schedule(progress))
    }
}

/// Rises linearly, then falls as half a cosine to zero (Loshchilov & Hutter 2017).
fn schedule(progress: f64) -> f64 {
    let falling = 0.5 * (1.0 + (std::f64::consts::PI * progress.clamp(0.0, 1.0)).cos());
    falling * (progress / WARM_UP).clamp(0.01, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_schedule_rises_and_falls() {
        assert!(schedule(0.0) < 0.02 && schedule(WARM_UP) > 0.99 && schedule(0.5) > 0.49);
        assert!(schedule(1.0) < 1e-9 && schedule(2.0) < 1e-9);
    }

    #[test]
    fn it_finds_a_minimum_and_leaves_out_what_is_not_finite() {
        let variable = Var::new(&[3f32, -2.0], &Device::Cpu).unwrap();
        let mut optimizer = ScheduledAdamW::new(vec![variable.clone()], 0.1, 0.0, 1.0);
        for step in 0..200 {
            let loss = variable.sqr().unwrap().sum_all().unwrap();
            assert!(optimizer.step(&loss, f64::from(step) / 200.0).unwrap());
        }
        let found = variable.to_vec1::<f32>().unwrap();
        assert!(found.iter().all(|value| value.abs() < 1e-2), "{found:?}");
        let loss = (variable.sum_all().unwrap() * f64::INFINITY).unwrap();
        assert!(!optimizer.step(&loss, 0.5).unwrap());
        assert_eq!(variable.to_vec1::<f32>().unwrap(), found);
    }
}
