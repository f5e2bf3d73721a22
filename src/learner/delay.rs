//! The time from a command to its effect, found from motion and efforts.
//!
//! For each candidate delay d the acceleration of every joint is explained, by least squares, by the efforts of all joints
//! d before, by its own velocity and direction of motion, and by its position; the delay that leaves least is the answer.
//! The acceleration is the second derivative of a parabola through the positions within ±h; that is a mean of the true
//! acceleration with the weights (h² − τ²)², so efforts and regressors are averaged with these, too. It is taken from
//! positions because the noise of velocities is in the efforts of their feedback, and would pull the answer to zero. How
//! certain the answer is comes from the spread between parts of the time (the jackknife's idea).

use crate::controller::features::friction_feature;
use crate::error::{Error, Result};
use nalgebra::{DMatrix, DVector};

/// The longest delay looked for, and half the window [s].
pub const LONGEST: f64 = 0.060;
const HALF_WINDOW: f64 = 0.030;
/// Least number of samples in half a window: fewer are no parabola.
const FEWEST: usize = 3;
/// Parts of the time of which each gives an answer of its own.
const PARTS: usize = 8;
/// Rows a part must have, for each regressor.
const ROWS_PER_REGRESSOR: usize = 8;
/// An answer is certain when its standard error is below this [s], and the efforts explain so much of the motion.
const CERTAIN: f64 = 0.002;
const EXPLAINED: f64 = 0.5;

/// What the data say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DelayEstimate {
    /// From the beginning of the interval in which a command was first sent to that of its effect [s].
    pub delay: f64,
    /// Standard error [s].
    pub deviation: f64,
    /// Share of the mean square of the acceleration that the efforts explain, 0 to 1.
    pub explained: f64,
}

impl DelayEstimate {
    /// Why the answer is not to be relied on, if so.
    pub fn doubt(&self) -> Option<String> {
        if self.explained < EXPLAINED {
            let percent = 100.0 * self.explained;
            return Some(format!("the efforts explain only {percent:.0} % of the accelerations"));
        }
        if self.deviation.is_nan() || self.deviation > CERTAIN {
            let milliseconds = 1e3 * self.deviation;
            return Some(format!(
                "parts of the recording disagree by ±{milliseconds:.1} ms: too little changes quickly in it"
            ));
        }
        None
    }
}

/// Motion with efforts at equal steps, without gaps; `[time][joint]`.
#[derive(Clone, Debug, Default)]
pub struct DelayData {
    pub dt: f64,
    pub position: Vec<Vec<f64>>,
    pub velocity: Vec<Vec<f64>>,
    /// Beyond gravity, if that is known.
    pub effort: Vec<Vec<f64>>,
}

/// The delay of the commands in `episodes`, all of the same step and joints. An error says what is missing.
pub fn estimate_delay(episodes: &[DelayData]) -> Result<DelayEstimate> {
    let Some(dt) = episodes.first().map(|episode| episode.dt) else {
        return Err(Error::mismatch("motion to find a delay in", "none", "at least one episode"));
    };
    let candidates = (LONGEST / dt).round() as usize + 1;
    let filtered: Vec<Filtered> =
        episodes.iter().filter_map(|episode| Filtered::new(episode, candidates)).collect();
    let joints = episodes[0].position.first().map_or(0, Vec::len);
    let rows: usize = filtered.iter().map(Filtered::rows).sum();
    let needed = PARTS * ROWS_PER_REGRESSOR * (joints + OWN_REGRESSORS);
    if rows < needed || joints == 0 {
        let seconds = needed as f64 * filtered.first().map_or(dt, |filtered| filtered.stride as f64 * dt);
        let found = format!("{rows} independent moments");
        return Err(Error::mismatch(
            "motion to find a delay in",
            found,
            format!("at least {needed} ({seconds:.0} s)"),
        ));
    }
    let left = |part: Option<usize>| -> Vec<f64> {
        (0..candidates).map(|delay| unexplained(&filtered, joints, delay, part)).collect()
    };
    let all = left(None);
    let found = lowest(&all);
    let parts: Vec<f64> = (0..PARTS).map(|part| lowest(&left(Some(part)))).collect();
    let spread = parts.iter().map(|part| (part - found).powi(2)).sum::<f64>() / (PARTS - 1) as f64;
    let least = all.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(DelayEstimate {
        // The command of a sample acts for one step: on the mean half a step after its beginning.
        delay: ((found - 0.5) * dt).max(0.0),
        deviation: (spread / PARTS as f64).sqrt() * dt,
        explained: 1.0 - least,
    })
}

/// Constant, own velocity, direction of motion, position.
const OWN_REGRESSORS: usize = 4;

/// An episode averaged over windows; rows are so far apart that their windows hardly overlap.
struct Filtered {
    stride: usize,
    /// [row][joint]
    acceleration: Vec<Vec<f64>>,
    /// [row][joint]: velocity, direction of motion, position.
    own: Vec<Vec<[f64; 3]>>,
    /// [candidate][row][joint]
    effort: Vec<Vec<Vec<f64>>>,
}

impl Filtered {
    /// `None` when the episode is too short.
    fn new(data: &DelayData, candidates: usize) -> Option<Self> {
        let half = ((HALF_WINDOW / data.dt).round() as usize).max(FEWEST);
        let (first, end) = (half + candidates, data.position.len().checked_sub(half)?);
        if first >= end {
            return None;
        }
        let offsets = || (0..=2 * half).map(|index| index as f64 - half as f64);
        let reach = (half as f64 + 0.5).powi(2);
        let weights: Vec<f64> = offsets().map(|offset| (reach - offset * offset).powi(2)).collect();
        let total: f64 = weights.iter().sum();
        let weights: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
        let curvature = second_derivative(half, data.dt);
        let mean = |centre: usize, weights: &[f64], value: &dyn Fn(usize) -> f64| -> f64 {
            weights.iter().enumerate().map(|(index, weight)| weight * value(centre + index - half)).sum()
        };
        let joints = data.position[0].len();
        let stride = half.max(1);
        let rows: Vec<usize> = (first..end).step_by(stride).collect();
        let of_rows = |of: &dyn Fn(usize, usize) -> f64| -> Vec<Vec<f64>> {
            rows.iter().map(|row| (0..joints).map(|joint| of(*row, joint)).collect()).collect()
        };
        let own = rows.iter().map(|row| {
            let of_joint = |joint: usize| {
                let velocity = |time: usize| data.velocity[time][joint];
                [
                    mean(*row, &weights, &velocity),
                    mean(*row, &weights, &|time| friction_feature(velocity(time))),
                    mean(*row, &weights, &|time| data.position[time][joint]),
                ]
            };
            (0..joints).map(of_joint).collect()
        });
        Some(Self {
            acceleration: of_rows(&|row, joint| mean(row, &curvature, &|time| data.position[time][joint])),
            own: own.collect(),
            effort: (0..candidates)
                .map(|delay| {
                    of_rows(&|row, joint| mean(row - delay, &weights, &|time| data.effort[time][joint]))
                })
                .collect(),
            stride,
        })
    }

    fn rows(&self) -> usize {
        self.acceleration.len()
    }
}

/// Weights of the samples at −half..=half that give the second derivative of the parabola nearest to them.
fn second_derivative(half: usize, dt: f64) -> Vec<f64> {
    let squares: Vec<f64> = (0..=2 * half).map(|index| ((index as f64 - half as f64) * dt).powi(2)).collect();
    let mean = squares.iter().sum::<f64>() / squares.len() as f64;
    let spread: f64 = squares.iter().map(|square| (square - mean).powi(2)).sum();
    squares.iter().map(|square| 2.0 * (square - mean) / spread).collect()
}

/// Share of the accelerations' mean square about their mean that efforts `delay` steps before leave, mean over the
/// joints; of one of the `PARTS` of the time, or of all.
fn unexplained(episodes: &[Filtered], joints: usize, delay: usize, part: Option<usize>) -> f64 {
    let total: usize = episodes.iter().map(Filtered::rows).sum();
    let inside = |index: usize| part.is_none_or(|part| index * PARTS / total == part);
    let all = episodes.iter().flat_map(|episode| (0..episode.rows()).map(move |row| (episode, row)));
    let rows: Vec<(&Filtered, usize)> =
        all.enumerate().filter(|(index, _)| inside(*index)).map(|(_, row)| row).collect();
    let mut sum = 0.0;
    for joint in 0..joints {
        let regressors = DMatrix::from_fn(rows.len(), joints + OWN_REGRESSORS, |row, column| {
            let (episode, row) = rows[row];
            match column.checked_sub(joints) {
                None => episode.effort[delay][row][column],
                Some(0) => 1.0,
                Some(own) => episode.own[row][joint][own - 1],
            }
        });
        let target = DVector::from_iterator(
            rows.len(),
            rows.iter().map(|(episode, row)| episode.acceleration[*row][joint]),
        );
        sum += share_left(&regressors, &target);
    }
    sum / joints as f64
}

/// Share of the target's variance that a least-squares fit leaves; a target that does not vary is left whole.
fn share_left(regressors: &DMatrix<f64>, target: &DVector<f64>) -> f64 {
    // Columns in units of their own size, with a ridge far below what matters.
    let sizes: Vec<f64> = regressors.column_iter().map(|column| column.norm().max(1e-12)).collect();
    let scaled = DMatrix::from_fn(regressors.nrows(), regressors.ncols(), |row, column| {
        regressors[(row, column)] / sizes[column]
    });
    let normal = scaled.tr_mul(&scaled) + DMatrix::identity(sizes.len(), sizes.len()) * 1e-9;
    let variance = target.add_scalar(-target.mean()).norm_squared();
    match normal.cholesky() {
        Some(normal) if variance > 0.0 => {
            let solution = normal.solve(&scaled.tr_mul(target));
            (target - scaled * solution).norm_squared() / variance
        }
        _ => 1.0,
    }
}

/// Place of the lowest value, between the candidates by a parabola through its neighbours.
fn lowest(values: &[f64]) -> f64 {
    let Some((index, least)) = values.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)) else {
        return 0.0;
    };
    match (index.checked_sub(1).map(|before| values[before]), values.get(index + 1)) {
        (Some(before), Some(after)) => {
            let bend = before - 2.0 * least + after;
            index as f64 + if bend > 0.0 { 0.5 * (before - after) / bend } else { 0.0 }
        }
        _ => index as f64,
    }
}
