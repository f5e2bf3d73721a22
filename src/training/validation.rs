//! Scores a model on time that it was not trained on, with the code that runs on the robot, and uses the score to
//! make the model honest: gains no larger than they earned, spreads as wide as the errors.

use super::sequence::Sequence;
use crate::dataset::Episode;
use crate::error::Result;
use crate::nn::checkpoint::Tensors;
use crate::predictor::PredictorModel;
use crate::predictor::lstm::Corrector;
use crate::predictor::mixture::{EXPERTS_WITH_COMMANDED, Evidence, Experts};
use candle_core::Tensor;

/// The head is read at every so many steps: neighbours differ little.
const STRIDE: usize = 3;
/// Steps before the held-out part that fill the network's memory.
const WARM_UP: usize = 200;
const MAX_CORRECTION: f64 = 4.0;

/// The last part of an episode.
pub struct HeldOut {
    sequence: Sequence,
    /// First instant that counts.
    from: usize,
}

/// Mean squares over instants for each of a stream's outputs, [coordinate · step], in units of the spread.
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
        let episode = episode.part(from - warm_up..episode.states.len());
        Self { sequence: Sequence::new(&episode, &model.config), from: warm_up }
    }
}

/// Runs the network of `model` over all held-out parts.
pub fn score(model: &PredictorModel, parts: &[HeldOut]) -> Result<Score> {
    let (steps, coordinates) = (model.config.steps, model.joints.len());
    let width = model.config.space.coupled(coordinates);
    let zeros = vec![0.0; width * steps];
    let mut score =
        Score { error: zeros.clone(), deviation: zeros.clone(), product: zeros.clone(), prediction: zeros };
    let mut count = 0usize;
    let mut corrector = Corrector::new(model, Experts::ALL)?;
    let (mut scratch, mut increments) = (vec![0.0; coordinates], vec![0.0; coordinates]);
    for part in parts {
        for (time, state) in part.sequence.states().iter().enumerate().take(part.sequence.usable(steps)) {
            corrector.observe(state, time == 0, part.sequence.told(time));
            if time < part.from || !(time - part.from).is_multiple_of(STRIDE) {
                continue;
            }
            count += 1;
            for step in 0..steps {
                part.sequence.increment(time, step + 1, &mut scratch, &mut increments);
                for (coordinate, increment) in increments.iter().enumerate() {
                    let head = corrector.head(coordinate);
                    let increment = increment / model.spread[coordinate][step];
                    let index = coordinate % width * steps + step;
                    score.add(index, increment, f64::from(head[step]), f64::from(head[steps + step]));
                }
            }
        }
    }
    let count = (count * coordinates / width).max(1) as f64;
    for sums in [&mut score.error, &mut score.deviation, &mut score.product, &mut score.prediction] {
        sums.iter_mut().for_each(|sum| *sum /= count);
    }
    Ok(score)
}

/// What the experts have shown, [coordinate][knot]; with the one on commands, where there is one.
pub struct Shown {
    pub plain: Vec<Evidence>,
    pub commanded: Option<Vec<Evidence<EXPERTS_WITH_COMMANDED>>>,
}

/// Runs all of `model` over the held-out parts as it would run on the robot, and gives what its experts have shown.
pub fn gather_evidence(model: &PredictorModel, parts: &[HeldOut]) -> Result<Shown> {
    let mut corrector = Corrector::new(model, Experts::ALL)?;
    for part in parts {
        for (time, state) in part.sequence.states().iter().enumerate() {
            corrector.set_adapting(time >= part.from); // what comes before it was trained on
            corrector.observe(state, time == 0, part.sequence.told(time));
        }
    }
    Ok(Shown {
        plain: corrector.evidence().map(<[Evidence]>::to_vec).unwrap_or_default(),
        commanded: corrector.commanded_evidence().map(<[_]>::to_vec),
    })
}

impl Score {
    fn add(&mut self, index: usize, increment: f64, mean: f64, log_variance: f64) {
        let error = (increment - mean).powi(2);
        self.error[index] += error;
        self.deviation[index] += error / log_variance.exp();
        self.product[index] += increment * mean;
        self.prediction[index] += mean * mean;
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
    let outputs = gains.len();
    let ones = vec![1.0; outputs];
    scale_head(&mut model.network, &[gains, ones].concat(), &vec![0.0; 2 * outputs])?;
    let bound = 2.0 * MAX_CORRECTION.ln();
    let widen = |deviation: &f64| deviation.max(1e-9).ln().clamp(-bound, bound);
    let deviations = score(model, parts)?.deviation.iter().map(widen).collect::<Vec<_>>();
    scale_head(&mut model.network, &vec![1.0; 2 * outputs], &[vec![0.0; outputs], deviations].concat())
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
