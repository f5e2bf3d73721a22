//! Scores a model on time that it was not trained on, with the code that runs on the robot, and uses the score to
//! make the model honest: gains no larger than they earned, spreads as wide as the errors.

use super::sequence::Sequence;
use crate::dataset::Episode;
use crate::error::Result;
use crate::nn::checkpoint::Tensors;
use crate::predictor::PredictorModel;
use crate::predictor::lstm::Encoder;
use candle_core::Tensor;

/// The head is read at every so many steps: neighbours differ little.
const STRIDE: usize = 3;
/// Steps before the held-out part that fill the network's memory.
const WARM_UP: usize = 200;
const MAX_CORRECTION: f64 = 4.0;

/// The last part of an episode.
pub struct HeldOut {
    episode: Episode,
    sequence: Sequence,
    /// First instant that counts.
    from: usize,
}

/// Mean squares over joints and instants for each step, in units of the spread.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// Of the error of the prediction.
    error: Vec<f64>,
    /// Of the error in units of the predicted standard deviation.
    deviation: Vec<f64>,
    /// Mean of increment · prediction, and of prediction².
    product: Vec<f64>,
    prediction: Vec<f64>,
}

impl HeldOut {
    /// The part of `episode` from instant `from` on.
    pub fn new(episode: &Episode, model: &PredictorModel, from: usize) -> Self {
        let warm_up = from.min(WARM_UP);
        let states = episode.states[from - warm_up..].to_vec();
        let episode = Episode { dt: episode.dt, states };
        Self { sequence: Sequence::new(&episode, &model.config), episode, from: warm_up }
    }
}

/// Runs `model` over all held-out parts.
pub fn score(model: &PredictorModel, parts: &[HeldOut]) -> Result<Score> {
    let steps = model.config.steps;
    let zeros = vec![0.0; steps];
    let mut score =
        Score { error: zeros.clone(), deviation: zeros.clone(), product: zeros.clone(), prediction: zeros };
    let (mut head, mut count) = (vec![0f32; 2 * steps], 0.0);
    let mut encoder = Encoder::new(model)?;
    for part in parts {
        for (time, state) in part.episode.states.iter().enumerate().take(part.sequence.usable(steps)) {
            encoder.advance(state, time == 0);
            if time < part.from || (time - part.from) % STRIDE != 0 {
                continue;
            }
            for (joint, spread) in model.spread.iter().enumerate() {
                encoder.read_out(joint, &mut head);
                let increments = (1..).zip(spread).map(|(k, s)| part.sequence.increment(joint, time, k) / s);
                score.add(&head, increments);
                count += 1.0;
            }
        }
    }
    for sums in [&mut score.error, &mut score.deviation, &mut score.product, &mut score.prediction] {
        sums.iter_mut().for_each(|sum| *sum /= f64::max(count, 1.0));
    }
    Ok(score)
}

impl Score {
    fn add(&mut self, head: &[f32], increments: impl Iterator<Item = f64>) {
        let (means, log_variances) = head.split_at(head.len() / 2);
        for (k, increment) in increments.enumerate() {
            let mean = f64::from(means[k]);
            let error = (increment - mean).powi(2);
            self.error[k] += error;
            self.deviation[k] += error / f64::from(log_variances[k]).exp();
            self.product[k] += increment * mean;
            self.prediction[k] += mean * mean;
        }
    }

    /// Root mean square error over all steps, in units of the spread: 1 is constant velocity on the training data.
    pub fn root_mean_square(&self) -> f64 {
        (self.error.iter().sum::<f64>() / self.error.len().max(1) as f64).sqrt()
    }

    /// Gain in 0..1 of each step with which the held-out error would have been least.
    fn gains(&self) -> Vec<f64> {
        let gain = |(product, prediction): (&f64, &f64)| match *prediction > 0.0 {
            true => (product / prediction).clamp(0.0, 1.0),
            false => 0.0,
        };
        self.product.iter().zip(&self.prediction).map(gain).collect()
    }
}

/// Lowers each step's increments to what they earned on the held-out time (to nothing, where they are worse than
/// constant velocity), then widens or narrows its standard deviation to the errors that are left. Both go into the
/// head's weights, so that the network stays one.
pub fn make_honest(model: &mut PredictorModel, parts: &[HeldOut]) -> Result<()> {
    let gains = score(model, parts)?.gains();
    let ones = vec![1.0; gains.len()];
    scale_head(&mut model.network, &[gains, ones].concat(), &vec![0.0; 2 * model.config.steps])?;
    let bound = 2.0 * MAX_CORRECTION.ln();
    let widen = |deviation: &f64| deviation.max(1e-9).ln().clamp(-bound, bound);
    let deviations = score(model, parts)?.deviation.iter().map(widen).collect::<Vec<_>>();
    let steps = model.config.steps;
    scale_head(&mut model.network, &vec![1.0; 2 * steps], &[vec![0.0; steps], deviations].concat())
}

/// Each output of the head times `factors` [output] plus `offsets` [output].
fn scale_head(network: &mut Tensors, factors: &[f64], offsets: &[f64]) -> Result<()> {
    for (name, tensor) in network.iter_mut().filter(|(name, _)| name.starts_with("head.")) {
        let column = |values: &[f64]| -> Result<Tensor> {
            let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
            Ok(Tensor::from_vec(values, factors.len(), tensor.device())?)
        };
        *tensor = match name.as_str() {
            "head.weight" => tensor.broadcast_mul(&column(factors)?.unsqueeze(1)?)?,
            _ => ((&*tensor * column(factors)?)? + column(offsets)?)?,
        };
    }
    Ok(())
}
