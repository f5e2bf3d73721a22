//! The learned predictor: constant velocity plus what a streaming LSTM says the motion will add to it.

use super::constant_velocity::extrapolate;
use super::features::Features;
use super::model::PredictorModel;
use super::resampler::Resampler;
use super::{Observation, Predictor, fits};
use crate::error::{Error, Result};
use crate::nn::lstm::FrozenLstm;
use crate::nn::normalizer::Normalizer;
use crate::state::State;
use crate::trajectory::{Horizon, Trajectory};

/// Bounds of the head's log-variance: a standard deviation from 1/55 to 7 of the training spread. Without the lower
/// one the loss of a robot that often stands would know nothing but the standing.
pub const LOG_VARIANCE: (f32, f32) = (-8.0, 4.0);

/// q(t + k·dt) = q(t) + v(t)·k·dt + e_k, with e_k and its variance from the head, scaled by the training spread of
/// step k; velocities are those of that curve. One network step a joint for each dt of measured time.
#[derive(Clone, Debug)]
pub struct LstmPredictor {
    horizon: Horizon,
    resampler: Resampler,
    encoder: Encoder,
    /// [joint][step], rad or m
    spread: Vec<Vec<f64>>,
    /// [increments | log-variances], the head's output for one joint
    head: Vec<f32>,
    /// e_0 = 0, e_1, ..., e_H of one joint, rad or m
    increments: Vec<f64>,
}

/// From sample to the network's state: features, their scales, the network.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    features: Features,
    normalizers: Vec<Normalizer>,
    network: FrozenLstm,
    values: Vec<f64>,
    input: Vec<f32>,
}

impl Encoder {
    pub(crate) fn new(model: &PredictorModel) -> Result<Self> {
        let (joints, count) = (model.joints.len(), model.config.features());
        let normalizers =
            (0..joints).map(|joint| model.features.part(joint * count, count)).collect::<Result<_>>()?;
        Ok(Self {
            features: Features::new(model.dt, &model.config.lags, joints),
            normalizers,
            network: model.lstm()?.freeze(joints)?,
            values: vec![0.0; count],
            input: vec![0.0; count],
        })
    }

    /// Takes in the sample one dt after the one before, or the first of a motion.
    pub(crate) fn advance(&mut self, sample: &State, is_first: bool) {
        if is_first {
            self.network.reset();
            self.features.start(sample);
        } else {
            self.features.advance(sample);
        }
        for (joint, normalizer) in self.normalizers.iter().enumerate() {
            self.features.write(joint, &mut self.values);
            normalizer.normalize(&self.values, &mut self.input);
            self.network.advance(joint, &self.input);
        }
    }

    /// Fills `head` [increments | log-variances], in units of the spread, for one joint.
    pub(crate) fn read_out(&self, joint: usize, head: &mut [f32]) {
        self.network.read_out(joint, head);
        let steps = head.len() / 2;
        for log_variance in &mut head[steps..] {
            *log_variance = log_variance.clamp(LOG_VARIANCE.0, LOG_VARIANCE.1);
        }
    }
}

impl LstmPredictor {
    pub fn new(model: &PredictorModel) -> Result<Self> {
        let (horizon, joints) = (model.horizon(), model.joints.len());
        if horizon.dt.is_zero() {
            return Err(Error::mismatch("dt of the predictor [s]", model.dt, "above zero"));
        }
        let steps = horizon.steps;
        if joints == 0
            || model.spread.len() != joints
            || model.spread.iter().any(|spread| spread.len() != steps)
        {
            let expected = format!("{joints} joints of {steps} steps");
            return Err(Error::mismatch("size of the spread", model.spread.len(), expected));
        }
        Ok(Self {
            horizon,
            resampler: Resampler::new(horizon.dt, joints),
            encoder: Encoder::new(model)?,
            spread: model.spread.clone(),
            head: vec![0.0; 2 * steps],
            increments: vec![0.0; steps + 1],
        })
    }

    /// Adds one joint's increments and spread to the constant-velocity motion in `out`.
    fn correct(&mut self, joint: usize, out: &mut Trajectory) {
        self.encoder.read_out(joint, &mut self.head);
        let (means, log_variances) = self.head.split_at(self.horizon.steps);
        let spread = &self.spread[joint];
        for ((increment, mean), spread) in self.increments[1..].iter_mut().zip(means).zip(spread) {
            *increment = f64::from(*mean) * spread;
        }
        let dt = self.horizon.dt.as_secs_f64();
        for (k, state) in (1..).zip(&mut out.states) {
            state.position[joint] += self.increments[k];
            state.velocity[joint] += slope(&self.increments, k) / dt;
        }
        for ((stddev, log_variance), spread) in out.stddev.iter_mut().zip(log_variances).zip(spread) {
            stddev[joint] = f64::from(0.5 * log_variance).exp() * spread;
        }
    }
}

/// Derivative of `values` (from index 0) at `k` ≥ 1 per step: central differences, at the end of second order.
fn slope(values: &[f64], k: usize) -> f64 {
    match values.get(k + 1) {
        Some(next) => 0.5 * (next - values[k - 1]),
        None if k >= 2 => 0.5 * (3.0 * values[k] - 4.0 * values[k - 1] + values[k - 2]),
        None => values[k] - values[k - 1],
    }
}

impl Predictor for LstmPredictor {
    fn horizon(&self) -> Horizon {
        self.horizon
    }

    fn observe(&mut self, state: &State) -> Observation {
        self.resampler.observe(state, |sample, is_first| self.encoder.advance(sample, is_first))
    }

    fn predict(&mut self, out: &mut Trajectory) -> bool {
        let joints = self.spread.len();
        match self.resampler.newest() {
            Some(newest) if fits(out, self.horizon, joints) => extrapolate(newest, out),
            _ => return false,
        }
        for joint in 0..joints {
            self.correct(joint, out);
        }
        true
    }

    fn reset(&mut self) {
        self.resampler.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictor::{ConstantVelocity, PredictorConfig};
    use crate::state::Stamp;
    use candle_core::{Device, Tensor};

    fn model(head: f32) -> PredictorModel {
        let joints = ["a".to_owned(), "b".to_owned()];
        let config = PredictorConfig { steps: 5, hidden: 8, layers: 2, ..Default::default() };
        let mut model = PredictorModel::untrained(&joints, 0.01, config, &[1.0, 2.0]).unwrap();
        let weight = Tensor::full(head, (10, 8), &Device::Cpu).unwrap();
        model.network.insert("head.weight".into(), weight);
        model
    }

    fn motion(step: i64) -> State {
        let time = step as f64 * 0.01;
        let position = vec![time.sin(), 0.3 * (2.0 * time).cos()];
        State {
            stamp: Stamp(step * 10_000_000),
            position,
            velocity: vec![time.cos(), -0.6 * (2.0 * time).sin()],
        }
    }

    fn predict(predictor: &mut impl Predictor) -> Trajectory {
        let mut out = Trajectory::new(predictor.horizon(), 2);
        assert!(predictor.predict(&mut out));
        out
    }

    #[test]
    fn untrained_it_is_constant_velocity_bit_for_bit() {
        let mut learned = LstmPredictor::new(&model(0.0)).unwrap();
        let mut baseline = ConstantVelocity::new(learned.horizon(), vec![1.0, 2.0]);
        for step in 0..50 {
            learned.observe(&motion(step));
            baseline.observe(&motion(step));
            let (found, expected) = (predict(&mut learned), predict(&mut baseline));
            assert_eq!((found.stamp, &found.states), (expected.stamp, &expected.states));
            let pairs = found.stddev.iter().flatten().zip(expected.stddev.iter().flatten());
            pairs.for_each(|(found, expected)| assert!((found - expected).abs() < 1e-12));
        }
    }

    #[test]
    fn measurements_between_samples_and_duplicates_do_not_step_the_network() {
        let (mut sparse, mut dense) =
            (LstmPredictor::new(&model(0.1)).unwrap(), LstmPredictor::new(&model(0.1)).unwrap());
        for step in 0..30 {
            sparse.observe(&motion(step));
            dense.observe(&motion(step));
            assert_eq!(dense.observe(&motion(step)), Observation::Duplicate);
            let mut between = motion(step);
            between.stamp = Stamp(between.stamp.0 + 4_000_000);
            let mut aside = dense.clone();
            assert_eq!(aside.observe(&between), Observation::Continued { steps: 0 });
        }
        assert_eq!(predict(&mut sparse), predict(&mut dense));
        assert_ne!(predict(&mut sparse).states[4].position, motion(29).position);
    }

    #[test]
    fn after_a_gap_a_jump_back_or_a_reset_it_is_as_new() {
        let fresh = |step: i64| {
            let mut predictor = LstmPredictor::new(&model(0.1)).unwrap();
            (step..step + 3)
                .for_each(|step| assert_ne!(predictor.observe(&motion(step)), Observation::Refused));
            predict(&mut predictor)
        };
        let mut predictor = LstmPredictor::new(&model(0.1)).unwrap();
        (0..20).for_each(|step| assert_ne!(predictor.observe(&motion(step)), Observation::Refused));
        assert_eq!(predictor.observe(&motion(100)), Observation::RestartedAfterGap);
        (101..103).for_each(|step| assert_ne!(predictor.observe(&motion(step)), Observation::Refused));
        assert_eq!(predict(&mut predictor), fresh(100));
        assert_eq!(predictor.observe(&motion(50)), Observation::RestartedBackInTime);
        (51..53).for_each(|step| assert_ne!(predictor.observe(&motion(step)), Observation::Refused));
        assert_eq!(predict(&mut predictor), fresh(50));
        predictor.reset();
        assert!(!predictor.predict(&mut Trajectory::new(predictor.horizon(), 2)));
        (7..10).for_each(|step| assert_ne!(predictor.observe(&motion(step)), Observation::Refused));
        assert_eq!(predict(&mut predictor), fresh(7));
    }

    #[test]
    fn predicted_velocities_are_the_slopes_of_the_positions() {
        assert_eq!([1, 2, 3].map(|k| slope(&[0.0, 1.0, 4.0, 9.0], k)), [2.0, 4.0, 6.0]);
        assert_eq!(slope(&[0.0, 3.0], 1), 3.0);
    }

    #[test]
    fn bad_measurements_change_nothing() {
        let mut predictor = LstmPredictor::new(&model(0.1)).unwrap();
        (0..5).for_each(|step| assert_ne!(predictor.observe(&motion(step)), Observation::Refused));
        let before = predict(&mut predictor);
        let mut bad = motion(5);
        bad.velocity[1] = f64::INFINITY;
        assert_eq!(predictor.observe(&bad), Observation::Refused);
        assert_eq!(predictor.observe(&State::zeros(3)), Observation::Refused);
        assert_eq!(predict(&mut predictor), before);
    }
}
