//! From the stream of samples to labelled examples.
//!
//! `inverse_model`: hindsight. The effort that was applied, less the feedforward, is the right residual for the
//! motion that was achieved (position, velocity, acceleration as measured). Efforts are averaged and the
//! acceleration is a difference quotient over the same window of ±`HALF_WINDOW`, so both have the same delay.
//!
//! `tracking_error`: feedback-error learning (Kawato 1987; Gomi and Kawato 1993). The feedback effort, i.e. the
//! gain-weighted tracking error, is what the residual lacked at the *reference* motion: the label is the effort that
//! was applied less the feedforward, and the gradient of its squared error at the residual in use is −feedback.

use crate::controller::features::{FEATURES_PER_JOINT, write_features};
use crate::learner::replay::Example;
use crate::learner::sample::Sample;
use std::collections::VecDeque;

/// Half the window over which efforts are averaged and velocities differenced [s].
const HALF_WINDOW: f64 = 0.010;
/// Samples further apart than this [s] do not belong to one motion.
const GAP: f64 = 0.010;

/// Turns samples into examples. Samples must come in order; a gap (pause, fault, clock jump) starts anew.
#[derive(Clone, Debug)]
pub struct Labeller {
    window: VecDeque<Sample>,
    /// Effort per unit of network output, Nm or N.
    output_scale: Vec<f64>,
}

/// The two examples that one sample gives: of the achieved motion, and of the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    pub inverse_model: Example,
    pub tracking_error: Example,
}

impl Examples {
    pub fn are_finite(&self) -> bool {
        self.inverse_model.is_finite() && self.tracking_error.is_finite()
    }
}

impl Labeller {
    pub fn new(output_scale: Vec<f64>) -> Self {
        Self { window: VecDeque::new(), output_scale }
    }

    pub fn degrees_of_freedom(&self) -> usize {
        self.output_scale.len()
    }

    /// Takes the next sample; gives the examples of the sample in the middle of the window when it is full.
    pub fn push(&mut self, sample: Sample) -> Option<Examples> {
        if let Some(last) = self.window.back() {
            let elapsed = sample.stamp.since(last.stamp);
            if elapsed == 0.0 {
                return None;
            }
            if !(0.0..GAP).contains(&elapsed) {
                self.window.clear();
            }
        }
        self.window.push_back(sample);
        while self.spans_more_than_needed() {
            self.window.pop_front();
        }
        self.examples()
    }

    fn spans_more_than_needed(&self) -> bool {
        let (Some(second), Some(last)) = (self.window.get(1), self.window.back()) else { return false };
        last.stamp.since(second.stamp) >= 2.0 * HALF_WINDOW - 1e-6
    }

    fn examples(&self) -> Option<Examples> {
        let (first, last) = (self.window.front()?, self.window.back()?);
        let span = last.stamp.since(first.stamp);
        if span < 2.0 * HALF_WINDOW - 1e-6 {
            return None;
        }
        let middle = &self.window[self.window.len() / 2];
        let acceleration = difference(&first.velocity, &last.velocity, span);
        let mean_effort = self.mean_residual_effort();
        let inverse_model =
            self.example(middle, [&middle.position, &middle.velocity, &acceleration], &mean_effort);
        let motion = [&middle.reference_position, &middle.reference_velocity, &middle.reference_acceleration];
        let tracking_error = self.example(middle, motion, &mean_effort);
        Some(Examples { inverse_model, tracking_error })
    }

    /// Effort that was applied beyond the feedforward, averaged over the window.
    fn mean_residual_effort(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.degrees_of_freedom()];
        for sample in &self.window {
            for (joint, sum) in mean.iter_mut().enumerate() {
                *sum += sample.effort[joint] - sample.feedforward_effort[joint];
            }
        }
        mean.iter_mut().for_each(|sum| *sum /= self.window.len() as f64);
        mean
    }

    fn example(&self, sample: &Sample, motion: [&Vec<f64>; 3], effort: &[f64]) -> Example {
        let mut features = vec![0.0; FEATURES_PER_JOINT * self.degrees_of_freedom()];
        write_features(motion[0], motion[1], motion[2], &mut features);
        let label = effort.iter().zip(&self.output_scale).map(|(effort, scale)| (effort / scale) as f32);
        Example { stamp: sample.stamp, features, label: label.collect() }
    }
}

fn difference(from: &[f64], to: &[f64], span: f64) -> Vec<f64> {
    from.iter().zip(to).map(|(from, to)| (to - from) / span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;
    use approx::assert_relative_eq;

    /// One joint on q = t², so that v = 2t and a = 2; effort 3 + t, feedforward 1.
    fn sample(milliseconds: i64) -> Sample {
        let t = milliseconds as f64 * 1e-3;
        let mut sample = Sample::zeros(1);
        sample.stamp = Stamp(milliseconds * 1_000_000);
        sample.position = vec![t * t];
        sample.velocity = vec![2.0 * t];
        sample.effort = vec![3.0 + t];
        sample.feedforward_effort = vec![1.0];
        sample.reference_position = vec![0.5];
        sample
    }

    #[test]
    fn labels_and_acceleration_belong_to_the_middle_of_the_window() {
        let mut labeller = Labeller::new(vec![2.0]);
        let examples: Vec<_> = (0..20).filter_map(|k| labeller.push(sample(2 * k))).collect();
        assert_eq!(examples.len(), 10, "the first window spans 20 ms, that is 11 samples");
        let first = &examples[0].inverse_model;
        assert_eq!(first.stamp, Stamp(10_000_000));
        assert_relative_eq!(first.features[2], 2.0 / 4.0, epsilon = 1e-6);
        assert_relative_eq!(first.label[0], (3.0 + 0.010 - 1.0) / 2.0, epsilon = 1e-6);
        assert_relative_eq!(examples[0].tracking_error.features[0], 0.25);
    }

    #[test]
    fn a_gap_starts_a_new_window() {
        let mut labeller = Labeller::new(vec![1.0]);
        (0..11).for_each(|k| drop(labeller.push(sample(2 * k))));
        let after_gap = (100..110).filter_map(|k| labeller.push(sample(2 * k))).count();
        assert_eq!(after_gap, 0, "ten samples do not span the window");
        assert!(labeller.push(sample(220)).is_some());
    }

    #[test]
    fn a_duplicate_changes_nothing() {
        let mut labeller = Labeller::new(vec![1.0]);
        (0..10).for_each(|k| drop(labeller.push(sample(2 * k))));
        assert!(labeller.push(sample(18)).is_none());
        assert!(labeller.push(sample(20)).is_some());
    }
}
