//! Ridge auto-regression: the linear predictor that a network has to be measured against. Fitted at once, offline.

use crate::error::{Error, Result};
use crate::state::State;
use nalgebra::{DMatrix, DVector};

/// Samples that the regression looks back on.
pub const WINDOW: usize = 20;
/// Penalty on the weights of standardised inputs.
const PENALTY: f64 = 1.0;

/// Whose past a joint's future is regressed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    AllJoints,
    OwnJoint,
}

/// Predicts q(t + k) - q(t) from q(t - i) - q(t) and v(t - i), i < 20.
pub struct Ridge {
    inputs: Inputs,
    regressions: Vec<Regression>,
}

/// Inputs of the joints in `joints`, outputs of the same (one joint) or of all.
struct Regression {
    joints: Vec<usize>,
    mean: DVector<f64>,
    scale: DVector<f64>,
    offset: DVector<f64>,
    /// [input, output]
    weights: DMatrix<f64>,
}

impl Ridge {
    /// Fits to `episodes` [episode][time] for the step `k`.
    pub fn fit(episodes: &[&[State]], k: usize, inputs: Inputs) -> Result<Self> {
        let joints =
            episodes.first().and_then(|states| states.first()).map_or(0, |state| state.position.len());
        let groups: Vec<Vec<usize>> = match inputs {
            Inputs::AllJoints => vec![(0..joints).collect()],
            Inputs::OwnJoint => (0..joints).map(|joint| vec![joint]).collect(),
        };
        let regressions = groups.into_iter().map(|joints| Regression::fit(episodes, k, joints));
        Ok(Self { inputs, regressions: regressions.collect::<Result<_>>()? })
    }

    /// Fills `increments` [joint] with the predicted q(t + k) - q(t) at `time` ≥ 19.
    pub fn predict(&self, states: &[State], time: usize, increments: &mut [f64]) {
        for regression in &self.regressions {
            let mut row = regression.inputs(states, time);
            row -= &regression.mean;
            row.component_div_assign(&regression.scale);
            let outputs = regression.weights.tr_mul(&row) + &regression.offset;
            debug_assert!(self.inputs == Inputs::OwnJoint || outputs.len() == increments.len());
            for (joint, output) in regression.joints.iter().zip(outputs.iter()) {
                increments[*joint] = *output;
            }
        }
    }
}

impl Regression {
    fn fit(episodes: &[&[State]], k: usize, joints: Vec<usize>) -> Result<Self> {
        let count = joints.len() * (2 * WINDOW - 1);
        let none = DVector::zeros(0);
        let mut fitted = Self {
            mean: DVector::zeros(count),
            scale: DVector::repeat(count, 1.0),
            offset: none,
            weights: DMatrix::zeros(count, joints.len()),
            joints,
        };
        let instants: Vec<(&[State], usize)> = episodes
            .iter()
            .flat_map(|states| (WINDOW - 1..states.len().saturating_sub(k)).map(|time| (*states, time)))
            .collect();
        if instants.len() < 2 * WINDOW {
            return Err(Error::mismatch("samples to fit a ridge regression to", instants.len(), 2 * WINDOW));
        }
        let mut rows = DMatrix::zeros(instants.len(), count);
        let mut targets = DMatrix::zeros(instants.len(), fitted.joints.len());
        for (index, (states, time)) in instants.iter().enumerate() {
            rows.row_mut(index).tr_copy_from(&fitted.inputs(states, *time));
            for (column, joint) in fitted.joints.iter().enumerate() {
                targets[(index, column)] = states[time + k].position[*joint] - states[*time].position[*joint];
            }
        }
        fitted.mean = rows.row_mean().transpose();
        fitted.scale = rows.row_variance().map(|variance| variance.sqrt().max(1e-12)).transpose();
        fitted.offset = targets.row_mean().transpose();
        for (index, mut column) in rows.column_iter_mut().enumerate() {
            column.add_scalar_mut(-fitted.mean[index]);
            column /= fitted.scale[index];
        }
        for (index, mut column) in targets.column_iter_mut().enumerate() {
            column.add_scalar_mut(-fitted.offset[index]);
        }
        // (XᵀX + λ)·W = XᵀY
        let transposed = rows.transpose(); // nalgebra blocks this product, not tr_mul
        let normal = &transposed * &rows + DMatrix::identity(count, count) * PENALTY;
        let solved = normal.cholesky().map(|factor| factor.solve(&(&transposed * &targets)));
        fitted.weights =
            solved.ok_or_else(|| Error::mismatch("ridge regression", "a singular matrix", "data"))?;
        Ok(fitted)
    }

    fn inputs(&self, states: &[State], time: usize) -> DVector<f64> {
        let now = &states[time];
        let past = &states[time + 1 - WINDOW..=time];
        let values = self.joints.iter().flat_map(|&joint| {
            let moved =
                past[..WINDOW - 1].iter().map(move |state| state.position[joint] - now.position[joint]);
            moved.chain(past.iter().map(move |state| state.velocity[joint]))
        });
        DVector::from_iterator(self.joints.len() * (2 * WINDOW - 1), values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;

    #[test]
    fn it_continues_sines_almost_exactly() {
        let state = |step: usize| {
            let time = step as f64 * 0.02;
            let position = vec![time.sin(), (1.7 * time).cos()];
            State { stamp: Stamp(0), position, velocity: vec![time.cos(), -1.7 * (1.7 * time).sin()] }
        };
        let states: Vec<State> = (0..2000).map(state).collect();
        for inputs in [Inputs::AllJoints, Inputs::OwnJoint] {
            let ridge = Ridge::fit(&[&states[..1500]], 10, inputs).unwrap();
            let mut increments = [0.0; 2];
            ridge.predict(&states, 1800, &mut increments);
            for (joint, increment) in increments.iter().enumerate() {
                let expected = states[1810].position[joint] - states[1800].position[joint];
                assert!((increment - expected).abs() < 2e-3, "{increment} {expected}");
            }
        }
        assert!(Ridge::fit(&[&states[..40]], 10, Inputs::OwnJoint).is_err());
        assert!(Ridge::fit(&[], 10, Inputs::AllJoints).is_err());
    }
}
