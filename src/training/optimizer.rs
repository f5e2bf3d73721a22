//! AdamW with a bound on the gradient and a schedule of the step size. Candle's own keeps its moments to itself, so that
//! a training could not be resumed; this one does the same steps and gives them out.

use crate::error::{Error, Result};
use crate::nn::variables::gradient_norm;
use candle_core::{Tensor, Var};

/// Share of the steps over which the step size rises from zero.
const WARM_UP: f64 = 0.03;
/// Decay of the means of gradient and of its square; what is added to the root of the latter.
const BETA: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

/// Loshchilov & Hutter, Decoupled weight decay regularization, 2019, algorithm 2.
pub struct ClippedAdamW {
    variables: Vec<Var>,
    moments: Vec<[Tensor; 2]>,
    steps: i32,
    peak: f64,
    weight_decay: f64,
    max_norm: f64,
}

impl ClippedAdamW {
    /// `learning_rate` at its peak; gradients whose norm over all variables is above `max_norm` are scaled to it.
    pub fn new(variables: Vec<Var>, learning_rate: f64, weight_decay: f64, max_norm: f64) -> Result<Self> {
        let zeros = |variable: &Var| Ok([variable.zeros_like()?, variable.zeros_like()?]);
        let moments = variables.iter().map(zeros).collect::<Result<_>>()?;
        Ok(Self { variables, moments, steps: 0, peak: learning_rate, weight_decay, max_norm })
    }

    /// Means of gradient and of its square, in the order of the variables, and the steps so far.
    pub fn state(&self) -> (&[[Tensor; 2]], i32) {
        (&self.moments, self.steps)
    }

    /// Goes on from what [`Self::state`] gave.
    pub fn restore(&mut self, moments: Vec<[Tensor; 2]>, steps: i32) -> Result<()> {
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
        (self.moments, self.steps) = (moments, steps);
        Ok(())
    }

    /// One step down the gradient of `loss`; `progress` in 0..1 is how much of the training is done. A gradient that
    /// is not finite is left out; the answer is whether the step was taken.
    pub fn step(&mut self, loss: &Tensor, progress: f64) -> Result<bool> {
        let gradients = loss.backward()?;
        let norm = gradient_norm(&self.variables, &gradients)?;
        if !norm.is_finite() {
            return Ok(false);
        }
        self.steps += 1;
        let scale = if norm > self.max_norm { self.max_norm / norm } else { 1.0 };
        let rate = self.peak * schedule(progress);
        let unbiased = [BETA.0, BETA.1].map(|beta| 1.0 / (1.0 - beta.powi(self.steps)));
        for (variable, [first, second]) in self.variables.iter().zip(&mut self.moments) {
            let Some(gradient) = gradients.get(variable) else { continue };
            let gradient = (gradient * scale)?.detach();
            *first = ((&*first * BETA.0)? + (&gradient * (1.0 - BETA.0))?)?;
            *second = ((&*second * BETA.1)? + (gradient.sqr()? * (1.0 - BETA.1))?)?;
            let root = ((&*second * unbiased[1])?.sqrt()? + EPSILON)?;
            let direction = ((&*first * unbiased[0])? / root)?;
            let kept = (variable.as_tensor() * (1.0 - rate * self.weight_decay))?;
            variable.set(&(kept - (direction * rate)?)?)?;
        }
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
