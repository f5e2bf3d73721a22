//! AdamW with what Candle leaves out: a bound on the gradient and a schedule of the step size.

use crate::error::Result;
use candle_core::{Tensor, Var};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};

/// Share of the steps over which the step size rises from zero.
const WARM_UP: f64 = 0.03;

pub struct ClippedAdamW {
    adam: AdamW,
    variables: Vec<Var>,
    peak: f64,
    max_norm: f64,
}

impl ClippedAdamW {
    /// `learning_rate` at its peak; gradients whose norm over all variables is above `max_norm` are scaled to it.
    pub fn new(variables: Vec<Var>, learning_rate: f64, weight_decay: f64, max_norm: f64) -> Result<Self> {
        let parameters = ParamsAdamW { lr: learning_rate, weight_decay, ..Default::default() };
        let adam = AdamW::new(variables.clone(), parameters)?;
        Ok(Self { adam, variables, peak: learning_rate, max_norm })
    }

    /// One step down the gradient of `loss`; `progress` in 0..1 is how much of the training is done. A gradient that
    /// is not finite is left out; the answer is whether the step was taken.
    pub fn step(&mut self, loss: &Tensor, progress: f64) -> Result<bool> {
        let mut gradients = loss.backward()?;
        let mut square = 0.0;
        for gradient in self.variables.iter().filter_map(|variable| gradients.get(variable)) {
            square += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        let norm = square.sqrt();
        if !norm.is_finite() {
            return Ok(false);
        }
        if norm > self.max_norm {
            for variable in &self.variables {
                if let Some(gradient) = gradients.remove(variable) {
                    gradients.insert(variable, (gradient * (self.max_norm / norm))?);
                }
            }
        }
        self.adam.set_learning_rate(self.peak * schedule(progress));
        self.adam.step(&gradients)?;
        Ok(true)
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
        let mut optimizer = ClippedAdamW::new(vec![variable.clone()], 0.1, 0.0, 1.0).unwrap();
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
