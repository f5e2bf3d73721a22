//! Ridge auto-regression: the linear predictor that a network has to be measured against. Fitted at once, offline.

use crate::error::{Error, Result};
use crate::state::{Space, State};
use nalgebra::{DMatrix, DVector};

/// Samples that the regression looks back on.
pub const WINDOW: usize = 20;
/// Penalty on the weights of standardised inputs.
const PENALTY: f64 = 1.0;
/// Rows of the regression that are made at a time.
const ROWS: usize = 2048;

/// Whose past a coordinate's future is regressed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    All,
    Own,
}

/// Predicts the local displacement from t to t + k from those from t to t - i, 0 < i < 20, and the velocities at
/// t - i; for joints q(t + k) - q(t) from q(t - i) - q(t) and v(t - i).
pub struct Ridge {
    space: Space,
    regressions: Vec<Regression>,
}

/// Inputs of the coordinates in `coordinates`, outputs of the same (one) or of all.
struct Regression {
    coordinates: Vec<usize>,
    mean: DVector<f64>,
    scale: DVector<f64>,
    offset: DVector<f64>,
    /// [input, output]
    weights: DMatrix<f64>,
}

impl Ridge {
    /// Fits to `episodes` [episode][time] for the step `k`.
    pub fn fit(episodes: &[&[State]], space: Space, k: usize, inputs: Inputs) -> Result<Self> {
        let coordinates =
            episodes.first().and_then(|states| states.first()).map_or(0, |state| state.position.len());
        let groups: Vec<Vec<usize>> = match inputs {
            Inputs::All => vec![(0..coordinates).collect()],
            Inputs::Own => (0..coordinates).map(|coordinate| vec![coordinate]).collect(),
        };
        let regressions = groups.into_iter().map(|group| Regression::fit(episodes, space, k, group));
        Ok(Self { space, regressions: regressions.collect::<Result<_>>()? })
    }

    /// Fills `displacement` [coordinate] with the predicted one at `time` ≥ 19.
    pub fn predict(&self, states: &[State], time: usize, displacement: &mut [f64]) {
        for regression in &self.regressions {
            let mut row = regression.inputs(self.space, states, time);
            row -= &regression.mean;
            row.component_div_assign(&regression.scale);
            let outputs = regression.weights.tr_mul(&row) + &regression.offset;
            for (coordinate, output) in regression.coordinates.iter().zip(outputs.iter()) {
                displacement[*coordinate] = *output;
            }
        }
    }
}

impl Regression {
    fn fit(episodes: &[&[State]], space: Space, k: usize, coordinates: Vec<usize>) -> Result<Self> {
        let (inputs, outputs) = (coordinates.len() * (2 * WINDOW - 1), coordinates.len());
        let mut fitted = Self {
            mean: DVector::zeros(inputs),
            scale: DVector::zeros(inputs),
            offset: DVector::zeros(outputs),
            weights: DMatrix::zeros(inputs, outputs),
            coordinates,
        };
        let instants: Vec<(&[State], usize)> = episodes
            .iter()
            .flat_map(|states| (WINDOW - 1..states.len().saturating_sub(k)).map(|time| (*states, time)))
            .collect();
        if instants.len() < 2 * WINDOW {
            return Err(Error::mismatch("samples to fit a ridge regression to", instants.len(), 2 * WINDOW));
        }
        let count = instants.len() as f64;
        for (states, time) in &instants {
            fitted.mean += fitted.inputs(space, states, *time) / count;
            fitted.offset += fitted.target(space, states, *time, k) / count;
        }
        for (states, time) in &instants {
            let centred = fitted.inputs(space, states, *time) - &fitted.mean;
            fitted.scale += centred.component_mul(&centred) / count;
        }
        fitted.scale.apply(|variance| *variance = variance.sqrt().max(1e-12));
        // (XᵀX + λ)·W = XᵀY, a block of rows at a time
        let mut normal = DMatrix::identity(inputs, inputs) * PENALTY;
        let mut product = DMatrix::zeros(inputs, outputs);
        for block in instants.chunks(ROWS) {
            let mut columns = DMatrix::zeros(inputs, block.len());
            let mut targets = DMatrix::zeros(block.len(), outputs);
            for (index, (states, time)) in block.iter().enumerate() {
                let input = fitted.inputs(space, states, *time) - &fitted.mean;
                columns.set_column(index, &input.component_div(&fitted.scale));
                let target = fitted.target(space, states, *time, k) - &fitted.offset;
                targets.set_row(index, &target.transpose());
            }
            normal += &columns * columns.transpose();
            product += &columns * targets;
        }
        let solved = normal.cholesky().map(|factor| factor.solve(&product));
        fitted.weights =
            solved.ok_or_else(|| Error::mismatch("ridge regression", "a singular matrix", "data"))?;
        Ok(fitted)
    }

    fn inputs(&self, space: Space, states: &[State], time: usize) -> DVector<f64> {
        let now = &states[time];
        let past = &states[time + 1 - WINDOW..=time];
        let mut moved = vec![0.0; now.position.len()];
        let mut values = DVector::zeros(self.coordinates.len() * (2 * WINDOW - 1));
        for (sample, state) in past.iter().enumerate() {
            space.difference(&now.position, &state.position, &mut moved);
            for (index, &coordinate) in self.coordinates.iter().enumerate() {
                let values = &mut values.as_mut_slice()[index * (2 * WINDOW - 1)..][..2 * WINDOW - 1];
                if sample < WINDOW - 1 {
                    values[sample] = moved[coordinate];
                }
                values[WINDOW - 1 + sample] = state.velocity[coordinate];
            }
        }
        values
    }

    fn target(&self, space: Space, states: &[State], time: usize, k: usize) -> DVector<f64> {
        let mut moved = vec![0.0; states[time].position.len()];
        space.difference(&states[time].position, &states[time + k].position, &mut moved);
        DVector::from_iterator(self.coordinates.len(), self.coordinates.iter().map(|&index| moved[index]))
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
        for inputs in [Inputs::All, Inputs::Own] {
            let ridge = Ridge::fit(&[&states[..1500]], Space::Joints, 10, inputs).unwrap();
            let mut increments = [0.0; 2];
            ridge.predict(&states, 1800, &mut increments);
            for (joint, increment) in increments.iter().enumerate() {
                let expected = states[1810].position[joint] - states[1800].position[joint];
                assert!((increment - expected).abs() < 2e-3, "{increment} {expected}");
            }
        }
        assert!(Ridge::fit(&[&states[..40]], Space::Joints, 10, Inputs::Own).is_err());
        assert!(Ridge::fit(&[], Space::Joints, 10, Inputs::All).is_err());
    }
}
