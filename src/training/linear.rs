//! Fits the predictor's linear path: ridge regressions on the training time, the belief in each expert from the
//! held-out time, then the regressions once more on all of it.

mod commanded;

use super::sequence::Sequence;
use super::validation::{HeldOut, gather_evidence};
use crate::error::{Error, Result};
use crate::predictor::PredictorModel;
use crate::predictor::linear::{LinearPath, knots, memory, penalties, ridges, shapes};
use crate::predictor::mixture::Evidence;
use crate::predictor::recursive::Seed;
use crate::predictor::ridge::{MIN_INSTANTS, Ridge, instants};
use crate::state::State;
use nalgebra::DMatrix;

/// Rows of the regression that are made at a time.
const ROWS: usize = 2048;

/// Gives `model` a linear path. `training` and `held_out` are the parts of the same episodes, `all` both together.
pub fn fit(
    model: &mut PredictorModel,
    training: &[Sequence],
    held_out: &[HeldOut],
    all: &[Sequence],
) -> Result<()> {
    model.linear = Some(path(model, training)?);
    let shown = gather_evidence(model, held_out)?;
    let mut path = path(model, all)?;
    path.evidence = shown.plain.iter().map(as_kept).collect();
    if let (Some(commanded), Some(evidence)) = (&mut path.commanded, shown.commanded) {
        commanded.evidence = evidence.iter().map(as_kept).collect();
    }
    model.linear = Some(path);
    Ok(())
}

/// The regressions on `sequences`; no evidence.
fn path(model: &PredictorModel, sequences: &[Sequence]) -> Result<LinearPath> {
    let mut path = Sums::over(model, sequences)?.seed(model)?;
    path.commanded = commanded::path(model, sequences)?;
    let episodes: Vec<&[State]> = sequences.iter().map(Sequence::states).collect();
    let (steps, lags) = (knots(model.config.steps), &model.config.lags);
    if instants(&episodes, lags, &steps).len() >= MIN_INSTANTS {
        for (ridge, inputs) in path.ridges.iter_mut().zip(ridges(model.joints.len())) {
            let fit = |inputs| Ridge::fit(&episodes, model.config.space, lags, &steps, inputs);
            *ridge = inputs.map(fit).transpose()?;
            for Ridge { weights, limits, .. } in ridge.iter_mut() {
                let values = weights.iter_mut().chain(limits.as_flattened_mut());
                values.for_each(|value| *value = kept(*value));
            }
        }
    }
    Ok(path)
}

/// As a checkpoint keeps it, so that a model that was read again is the same to the bit.
fn kept(value: f64) -> f64 {
    f64::from(value as f32)
}

fn as_kept<const N: usize>(evidence: &Evidence<N>) -> Evidence<N> {
    Evidence::from_values(&evidence.to_values().into_iter().map(kept).collect::<Vec<_>>())
}

/// The ridge regression of the sums XᵀX and XᵀY, whose information counts by `share`.
fn solve([square, product]: &[DMatrix<f64>; 2], share: f64, penalty: f64, knots: usize) -> Result<Seed> {
    let singular =
        || Error::mismatch("the predictor's linear regression", "a singular matrix", "data that vary");
    let regressors = square.nrows();
    let identity = DMatrix::identity(regressors, regressors) * penalty;
    let weights = (square + &identity).cholesky().ok_or_else(singular)?.solve(product);
    let factor = (square * share + identity).cholesky().ok_or_else(singular)?.unpack();
    Ok(Seed {
        regressors,
        outputs: product.ncols() / knots,
        weights: weights.iter().copied().map(kept).collect(), // by columns: [knot][output][regressor]
        factor: factor.transpose().iter().copied().map(kept).collect(),
    })
}

/// XᵀX and XᵀY of the regressions: one for each group of coupled coordinates, and one for all.
struct Sums {
    own: Vec<[DMatrix<f64>; 2]>,
    all: Option<[DMatrix<f64>; 2]>,
    samples: f64,
    memory: f64,
}

impl Sums {
    fn over(model: &PredictorModel, sequences: &[Sequence]) -> Result<Self> {
        let coordinates = model.joints.len();
        let knots = knots(model.config.steps);
        let ([features, width], all) = shapes(&model.config, coordinates);
        let zeros = |regressors: usize, outputs: usize| {
            [DMatrix::zeros(regressors, regressors), DMatrix::zeros(regressors, outputs * knots.len())]
        };
        let mut sums = Self {
            own: (0..coordinates / width).map(|_| zeros(features, width)).collect(),
            all: all.map(|[regressors, outputs]| zeros(regressors, outputs)),
            samples: 0.0,
            memory: memory(model.dt),
        };
        for sequence in sequences {
            let streams = sequence.normalized(&model.features, width)?;
            let usable = sequence.usable(model.config.steps);
            for from in (0..usable).step_by(ROWS) {
                sums.add(model, &knots, sequence, &streams, from..(from + ROWS).min(usable));
            }
        }
        Ok(sums)
    }

    fn add(
        &mut self,
        model: &PredictorModel,
        knots: &[usize],
        sequence: &Sequence,
        streams: &[Vec<f32>],
        times: std::ops::Range<usize>,
    ) {
        let coordinates = model.joints.len();
        let groups = streams.len();
        let (width, features) = (coordinates / groups, self.own[0][0].nrows());
        // transposed, so that a sample is a column and lies together
        let mut inputs = DMatrix::zeros(groups * features, times.len());
        let mut targets = DMatrix::zeros(coordinates * knots.len(), times.len());
        let (mut scratch, mut increments) = (vec![0.0; coordinates], vec![0.0; coordinates]);
        for (column, time) in times.clone().enumerate() {
            for (group, stream) in streams.iter().enumerate() {
                for (row, value) in stream[time * features..][..features].iter().enumerate() {
                    inputs[(group * features + row, column)] = f64::from(*value);
                }
            }
            for (knot, step) in knots.iter().enumerate() {
                sequence.increment(time, *step, &mut scratch, &mut increments);
                for (coordinate, increment) in increments.iter().enumerate() {
                    let scaled = increment / model.spread[coordinate][step - 1];
                    // outputs of a group lie together, within it [knot][output]
                    let row = (coordinate / width * knots.len() + knot) * width + coordinate % width;
                    targets[(row, column)] = scaled;
                }
            }
        }
        let (inputs_by_time, targets_by_time) = (inputs.transpose(), targets.transpose());
        for (group, [square, product]) in self.own.iter_mut().enumerate() {
            let inputs = inputs.rows(group * features, features);
            *square += inputs * inputs_by_time.columns(group * features, features);
            let outputs = width * knots.len();
            *product += inputs * targets_by_time.columns(group * outputs, outputs);
        }
        if let Some([square, product]) = &mut self.all {
            *square += &inputs * &inputs_by_time;
            let sums = &inputs * &targets_by_time;
            // from [group][knot][output of the group] to [knot][coordinate]
            for coordinate in 0..coordinates {
                for knot in 0..knots.len() {
                    let from = (coordinate / width * knots.len() + knot) * width + coordinate % width;
                    let mut column = product.column_mut(knot * coordinates + coordinate);
                    column += sums.column(from);
                }
            }
        }
        self.samples += times.len() as f64;
    }

    /// The ridge regressions, of which no more samples count than the memory holds; no evidence.
    fn seed(&self, model: &PredictorModel) -> Result<LinearPath> {
        let share = (self.memory / self.samples.max(1.0)).min(1.0);
        let knots = knots(model.config.steps).len();
        let solve = |sums: &[DMatrix<f64>; 2], penalty: f64| solve(sums, share, penalty, knots);
        let penalties = penalties(&model.config, model.joints.len());
        let [own, all] = penalties;
        Ok(LinearPath {
            memory: kept(self.memory),
            penalties: penalties.map(kept),
            own: self.own.iter().map(|sums| solve(sums, own)).collect::<Result<_>>()?,
            all: self.all.as_ref().map(|sums| solve(sums, all)).transpose()?,
            ridges: [None, None],
            evidence: vec![Evidence::default(); model.joints.len() * knots],
            commanded: None,
        })
    }
}
