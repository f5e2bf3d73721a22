//! Ridge auto-regression on the last samples, fitted at once: what a learned predictor has to beat, and one of its experts.

use crate::error::{Error, Result};
use crate::nn::normalizer::LIMIT;
use crate::state::{Space, State};
use crate::vector::dot;
use nalgebra::{DMatrix, DVector};

/// Samples that the regression looks at.
pub const WINDOW: usize = 20;
/// Inputs of one coordinate: displacements since all samples but the newest, and the velocities of all.
pub const INPUTS: usize = 2 * WINDOW - 1;
/// Samples that it takes at least to fit one.
pub const MIN_INSTANTS: usize = 2 * WINDOW;
/// Penalty on the weights of standardised inputs.
const PENALTY: f64 = 1.0;
/// Rows of the regression that are made at a time.
const ROWS: usize = 2048;

/// How many steps before the newest each sample is that the regression looks at, rising from 0.
pub type Lags = [usize; WINDOW];

/// Evenly from the newest as far back as `last` steps, or the last samples if that is further.
pub fn spread(last: usize) -> Lags {
    let last = last.max(WINDOW - 1);
    std::array::from_fn(|index| (index * last + (WINDOW - 1) / 2) / (WINDOW - 1))
}

/// Whose past a coordinate's future is regressed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    All,
    Own,
}

impl Inputs {
    /// Of `coordinates`, those that are regressed on together.
    pub fn width(self, coordinates: usize) -> usize {
        match self {
            Self::All => coordinates,
            Self::Own => 1,
        }
    }
}

/// An input that varies by less, rad or m (a second), is one of a joint that stands still: it says nothing.
const STILL: f64 = 1e-6;

/// Predicts the local displacement from t to t + k, for each k of some steps, from those from t to t - i, i > 0, and
/// the velocities at t - i, for each i of 20 lags; for joints q(t + k) - q(t) from q(t - i) - q(t) and v(t - i).
#[derive(Clone, Debug, PartialEq)]
pub struct Ridge {
    /// Coordinates that are regressed on together.
    pub width: usize,
    /// In units of the coordinates, [group][step][coordinate of the group][input.., offset].
    pub weights: Vec<f64>,
    /// What inputs are from and to when they are limited, [coordinate · input]: what other inputs are limited to, too.
    pub limits: Vec<[f64; 2]>,
}

impl Ridge {
    /// Fits to `episodes` [episode][time] for each k of `steps`, from the samples at `lags`.
    pub fn fit(
        episodes: &[&[State]],
        space: Space,
        lags: &Lags,
        steps: &[usize],
        inputs: Inputs,
    ) -> Result<Self> {
        let coordinates =
            episodes.first().and_then(|states| states.first()).map_or(0, |state| state.position.len());
        let instants = instants(episodes, lags, steps);
        if instants.len() < MIN_INSTANTS {
            let what = "samples to fit a ridge regression to";
            return Err(Error::mismatch(what, instants.len(), MIN_INSTANTS));
        }
        let width = inputs.width(coordinates);
        let mut ridge = Self { width, weights: Vec::new(), limits: Vec::new() };
        for first in (0..coordinates).step_by(width.max(1)) {
            Regression { space, lags, steps, first, width }.fit(&instants, &mut ridge)?;
        }
        Ok(ridge)
    }

    /// Limits the inputs in `window`, so that a glitch of one coordinate is not one of all.
    pub fn limit(&self, window: &mut [f64]) {
        window
            .iter_mut()
            .zip(&self.limits)
            .for_each(|(input, [from, to])| *input = input.max(*from).min(*to));
    }

    /// Fills `displacements` [step][coordinate] with those that follow `window`, see [`write_window`].
    pub fn predict(&self, window: &[f64], displacements: &mut [f64]) {
        let coordinates = window.len() / INPUTS;
        let row = self.width * INPUTS + 1;
        let of_group = self.weights.len() / (coordinates / self.width).max(1);
        let groups = self.weights.chunks_exact(of_group).zip(window.chunks_exact(row - 1));
        for (group, (weights, window)) in groups.enumerate() {
            let of_steps = weights.chunks_exact(row * self.width);
            for (weights, displacements) in of_steps.zip(displacements.chunks_exact_mut(coordinates)) {
                let displacements = &mut displacements[group * self.width..];
                for (weights, displacement) in weights.chunks_exact(row).zip(displacements) {
                    *displacement = dot(&weights[..row - 1], window) + weights[row - 1];
                }
            }
        }
    }
}

/// Fills `window` [coordinate][input] with what a regression is told at the newest sample. `sample` gives those that it looks
/// at, the newest first; `local` [coordinate] is scratch.
pub fn write_window<'a>(
    space: Space,
    sample: impl Fn(usize) -> &'a State,
    window: &mut [f64],
    local: &mut [f64],
) {
    let now = sample(0);
    for lag in 0..WINDOW {
        let then = sample(lag);
        space.difference(&now.position, &then.position, local);
        for ((inputs, moved), velocity) in window.chunks_exact_mut(INPUTS).zip(&*local).zip(&then.velocity) {
            inputs[2 * WINDOW - 2 - lag] = *velocity;
            if let Some(lag) = lag.checked_sub(1) {
                inputs[WINDOW - 2 - lag] = *moved;
            }
        }
    }
}

/// An instant of an episode with a whole window before it and all steps after it.
type Instant<'a> = (&'a [State], usize);

/// Those that a regression for `steps` is fitted to.
pub fn instants<'a>(episodes: &[&'a [State]], lags: &Lags, steps: &[usize]) -> Vec<Instant<'a>> {
    let last = steps.iter().copied().max().unwrap_or(0);
    let of = |states: &'a [State]| {
        (lags[WINDOW - 1]..states.len().saturating_sub(last)).map(move |time| (states, time))
    };
    episodes.iter().copied().flat_map(of).collect()
}

/// The regression of `width` coordinates from `first` on.
struct Regression<'a> {
    space: Space,
    lags: &'a Lags,
    steps: &'a [usize],
    first: usize,
    width: usize,
}

impl Regression<'_> {
    /// Adds weights in units of the coordinates, [step][coordinate][input.., offset], and limits to those of `ridge`.
    fn fit(&self, instants: &[Instant], ridge: &mut Ridge) -> Result<()> {
        let (inputs, outputs) = (self.width * INPUTS, self.width * self.steps.len());
        let count = instants.len() as f64;
        let (mut mean, mut offset) = (DVector::zeros(inputs), DVector::zeros(outputs));
        for instant in instants {
            mean += self.inputs(instant) / count;
            offset += self.targets(instant) / count;
        }
        let mut scale = DVector::<f64>::zeros(inputs);
        for instant in instants {
            let centred = self.inputs(instant) - &mean;
            scale += centred.component_mul(&centred) / count;
        }
        scale.apply(|variance| *variance = variance.sqrt().max(STILL));
        // (XᵀX + λ)·W = XᵀY, a block of rows at a time
        let mut normal = DMatrix::identity(inputs, inputs) * PENALTY;
        let mut product = DMatrix::zeros(inputs, outputs);
        for block in instants.chunks(ROWS) {
            let mut columns = DMatrix::zeros(inputs, block.len());
            let mut targets = DMatrix::zeros(block.len(), outputs);
            for (index, instant) in block.iter().enumerate() {
                columns.set_column(index, &(self.inputs(instant) - &mean).component_div(&scale));
                targets.set_row(index, &(self.targets(instant) - &offset).transpose());
            }
            normal += &columns * columns.transpose();
            product += &columns * targets;
        }
        let solved = normal.cholesky().map(|factor| factor.solve(&product));
        let solved =
            solved.ok_or_else(|| Error::mismatch("ridge regression", "a singular matrix", "data"))?;
        for (column, offset) in solved.column_iter().zip(offset.iter()) {
            let column = column.component_div(&scale);
            ridge.weights.extend(column.iter());
            ridge.weights.push(offset - column.dot(&mean));
        }
        let limits =
            mean.iter().zip(&scale).map(|(mean, scale)| [mean - LIMIT * scale, mean + LIMIT * scale]);
        ridge.limits.extend(limits);
        Ok(())
    }

    fn inputs(&self, (states, time): &Instant) -> DVector<f64> {
        let coordinates = states[*time].position.len();
        let (mut window, mut local) = (vec![0.0; coordinates * INPUTS], vec![0.0; coordinates]);
        write_window(self.space, |lag| &states[time - self.lags[lag]], &mut window, &mut local);
        DVector::from_column_slice(&window[self.first * INPUTS..][..self.width * INPUTS])
    }

    fn targets(&self, (states, time): &Instant) -> DVector<f64> {
        let mut moved = vec![0.0; states[*time].position.len()];
        let mut targets = Vec::with_capacity(self.width * self.steps.len());
        for step in self.steps {
            self.space.difference(&states[*time].position, &states[time + step].position, &mut moved);
            targets.extend_from_slice(&moved[self.first..][..self.width]);
        }
        DVector::from_vec(targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;

    #[test]
    fn samples_are_looked_at_evenly_from_the_newest_on() {
        assert_eq!(spread(0), std::array::from_fn(|index| index));
        for last in [19, 25, 250, 1000] {
            let lags = spread(last);
            let gaps: Vec<usize> = lags.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let [least, most] = [gaps.iter().min(), gaps.iter().max()].map(|gap| *gap.unwrap());
            assert!(lags[0] == 0 && lags[WINDOW - 1] == last && least > 0 && most - least <= 1, "{lags:?}");
        }
    }

    #[test]
    fn it_continues_sines_almost_exactly() {
        let state = |step: usize| {
            let time = step as f64 * 0.02;
            let position = vec![time.sin(), (1.7 * time).cos()];
            State { stamp: Stamp(0), position, velocity: vec![time.cos(), -1.7 * (1.7 * time).sin()] }
        };
        let states: Vec<State> = (0..2000).map(state).collect();
        let (mut window, mut local) = (vec![0.0; 2 * INPUTS], vec![0.0; 2]);
        for (lags, inputs) in [(60, Inputs::All), (60, Inputs::Own), (0, Inputs::All), (0, Inputs::Own)] {
            let lags = spread(lags);
            write_window(Space::Joints, |sample| &states[1800 - lags[sample]], &mut window, &mut local);
            let ridge = Ridge::fit(&[&states[..1500]], Space::Joints, &lags, &[3, 10], inputs).unwrap();
            let mut displacements = [0.0; 4];
            ridge.predict(&window, &mut displacements);
            for (index, displacement) in displacements.iter().enumerate() {
                let (step, joint) = ([3, 10][index / 2], index % 2);
                let expected = states[1800 + step].position[joint] - states[1800].position[joint];
                assert!((displacement - expected).abs() < 2e-3, "{displacement} {expected}");
            }
        }
        let fit = |states: &[&[State]], step: usize, inputs: Inputs| {
            Ridge::fit(states, Space::Joints, &spread(0), &[step], inputs)
        };
        let ridge = fit(&[&states[..1500]], 3, Inputs::All).unwrap();
        let (before, of_other) = (window.clone(), INPUTS..2 * INPUTS);
        ridge.limit(&mut window);
        assert_eq!(window, before);
        (window[0], window[1]) = (1e6, f64::NEG_INFINITY);
        ridge.limit(&mut window);
        assert!(window[0] < 20.0 && window[1] > -20.0 && window[of_other.clone()] == before[of_other]);
        assert!(fit(&[&states[..40]], 10, Inputs::Own).is_err());
        assert!(fit(&[], 10, Inputs::All).is_err());
    }

    #[test]
    fn a_window_has_displacements_and_velocities_from_old_to_new() {
        let state = |step: usize| State {
            stamp: Stamp(0),
            position: vec![step as f64, 0.0],
            velocity: vec![10.0 * step as f64, 1.0],
        };
        let states: Vec<State> = (0..30).map(state).collect();
        let (mut window, mut local) = (vec![0.0; 2 * INPUTS], vec![0.0; 2]);
        write_window(Space::Joints, |lag| &states[25 - lag], &mut window, &mut local);
        assert_eq!((window[0], window[WINDOW - 2]), (-19.0, -1.0));
        assert_eq!((window[WINDOW - 1], window[INPUTS - 1]), (60.0, 250.0));
        assert_eq!(window[INPUTS..], [[0.0; WINDOW - 1].as_slice(), &[1.0; WINDOW]].concat());
    }
}
