//! Recorded motions with efforts as tables: what a model of the inverse dynamics may see, in hindsight.
//!
//! Velocities and accelerations are slopes of least-squares lines through ±10 ms (at least one sample on either side), so
//! they look into the future by as much: this is for explaining what happened, not for the tick.

use crate::dataset::Recording;
use crate::error::{Error, Result};
use crate::robot::{Dynamics, Robot};
use nalgebra::DMatrix;

/// Half of the window of the slopes, s, as the learner's.
const HALF_WINDOW: f64 = 0.010;
/// Steepness of the smooth sign of the velocity, in root mean squares of the joint's velocity.
const SIGN_VELOCITY: f64 = 0.1;
/// Displacements over which friction builds up, in standard deviations of the joint's position: half a decade each.
const DISPLACEMENTS: [f64; 7] = [3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1];

/// All samples of some recordings, one below the other; tables are [row, joint].
pub struct Motions {
    pub joints: Vec<String>,
    /// s
    pub dt: f64,
    /// Samples on either side that the inputs of a row depend on.
    pub reach: usize,
    pub places: Vec<Place>,
    pub position: DMatrix<f64>,
    pub velocity: DMatrix<f64>,
    pub acceleration: DMatrix<f64>,
    pub effort: DMatrix<f64>,
}

/// Where a row comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub recording: usize,
    /// Counts the parts between gaps, over all recordings.
    pub segment: usize,
    /// Since the beginning of the recording, s.
    pub time: f64,
    /// Whether the whole window of the slopes was recorded.
    pub is_whole: bool,
}

/// What a model is told; each group of columns has one a joint, so that column modulo joints is the joint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// q, v, a
    Motion,
    /// q, v, a, sign(v)
    MotionAndSign,
    /// q, sin q, cos q, v, a, tanh(v/ε), hysteresis
    Full,
}

impl Motions {
    pub fn new(recordings: &[Recording], dt: f64) -> Result<Self> {
        let Some(first) = recordings.first() else {
            return Err(Error::mismatch("recordings", 0, "at least one"));
        };
        let half = ((HALF_WINDOW / dt - 0.01).ceil() as usize).max(1);
        let is_differentiated = recordings.iter().any(|recording| recording.summary.differentiated);
        let (mut places, mut rows) = (Vec::new(), [vec![], vec![], vec![], vec![]]);
        let mut segment = 0;
        for (index, recording) in recordings.iter().enumerate() {
            if recording.joints != first.joints {
                let what = format!("joints of {}", recording.origin.display());
                return Err(Error::mismatch(what, recording.joints.join(", "), first.joints.join(", ")));
            }
            for episode in recording.effort_episodes(dt)? {
                let positions: Vec<&[f64]> =
                    episode.states.iter().map(|state| state.position.as_slice()).collect();
                let velocities: Vec<Vec<f64>> = match is_differentiated {
                    // differences of the past are late by half a step
                    true => slopes(&positions, half, dt),
                    false => episode.states.iter().map(|state| state.velocity.clone()).collect(),
                };
                let velocities: Vec<&[f64]> = velocities.iter().map(Vec::as_slice).collect();
                let reach = if is_differentiated { 2 * half } else { half };
                let count = episode.states.len();
                for (row, acceleration) in slopes(&velocities, half, dt).into_iter().enumerate() {
                    let time = episode.states[row].stamp.since(recording.states[0].stamp);
                    let is_whole = row >= reach && row + reach < count;
                    places.push(Place { recording: index, segment, time, is_whole });
                    rows[0].extend_from_slice(positions[row]);
                    rows[1].extend_from_slice(velocities[row]);
                    rows[2].extend_from_slice(&acceleration);
                    rows[3].extend_from_slice(&episode.efforts[row]);
                }
                segment += 1;
            }
        }
        let table = |values: &Vec<f64>| DMatrix::from_row_slice(places.len(), first.joints.len(), values);
        let [position, velocity, acceleration, effort] = rows.each_ref().map(table);
        let reach = if is_differentiated { 2 * half } else { half };
        let joints = first.joints.clone();
        Ok(Self { joints, dt, reach, places, position, velocity, acceleration, effort })
    }

    /// [row, group × joint]; scales are taken from the rows `training`.
    pub fn inputs(&self, inputs: Inputs, training: &[usize]) -> DMatrix<f64> {
        let (q, v, a) = (&self.position, &self.velocity, &self.acceleration);
        let sign = |v: f64| if v == 0.0 { 0.0 } else { v.signum() };
        match inputs {
            Inputs::Motion => beside(&[q, v, a]),
            Inputs::MotionAndSign => beside(&[q, v, a, &v.map(sign)]),
            Inputs::Full => {
                let spread = |column: usize| standard_deviation(q, column, training);
                let speed = |column: usize| root_mean_square(v, column, training);
                let spread: Vec<f64> = (0..q.ncols()).map(spread).collect();
                let speed: Vec<f64> = (0..q.ncols()).map(speed).collect();
                let smooth_sign =
                    v.map_with_location(|_, joint, v| (v / (SIGN_VELOCITY * speed[joint])).tanh());
                let (sin, cos) = (q.map(f64::sin), q.map(f64::cos));
                let hysteresis = DISPLACEMENTS.map(|share| {
                    let displacement: Vec<f64> = spread.iter().map(|spread| share * spread).collect();
                    self.hysteresis(&displacement)
                });
                let groups: Vec<&DMatrix<f64>> =
                    [q, &sin, &cos, v, a, &smooth_sign].into_iter().chain(&hysteresis).collect();
                beside(&groups)
            }
        }
    }

    /// Friction that builds up over a `displacement` [joint] and remembers the direction (Dahl 1968):
    /// dz = dq/s - z·|dq|/s, exact for a straight way between two samples. Causal; each segment starts at rest.
    fn hysteresis(&self, displacement: &[f64]) -> DMatrix<f64> {
        let mut out = DMatrix::zeros(self.places.len(), self.joints.len());
        for row in 1..self.places.len() {
            if self.places[row].segment != self.places[row - 1].segment {
                continue;
            }
            for (joint, displacement) in displacement.iter().enumerate() {
                let moved = (self.position[(row, joint)] - self.position[(row - 1, joint)]) / displacement;
                let kept = (-moved.abs()).exp();
                out[(row, joint)] = kept * out[(row - 1, joint)] + (1.0 - kept) * moved.signum();
            }
        }
        out
    }

    /// Efforts by the rigid bodies of `urdf`, [row, joint].
    pub fn rigid_body_efforts(&self, urdf: &str) -> Result<DMatrix<f64>> {
        let robot = Robot::of_description(urdf, &self.joints)?;
        let mut dynamics = Dynamics::for_robot(urdf, &robot)?;
        let mut out = DMatrix::zeros(self.places.len(), self.joints.len());
        let mut effort = vec![0.0; self.joints.len()];
        for row in 0..self.places.len() {
            let [q, v, a] = [&self.position, &self.velocity, &self.acceleration]
                .map(|table| table.row(row).iter().copied().collect::<Vec<f64>>());
            dynamics.inverse_dynamics(&q, &v, &a, &mut effort);
            out.row_mut(row).copy_from_slice(&effort);
        }
        Ok(out)
    }
}

/// Tables side by side.
pub fn beside(tables: &[&DMatrix<f64>]) -> DMatrix<f64> {
    let columns: Vec<_> = tables.iter().flat_map(|table| table.column_iter()).collect();
    DMatrix::from_columns(&columns)
}

/// Slopes of the least-squares lines through `values` [time][joint] at ±`half` samples, per second; the ends take the
/// nearest sample for those that are missing.
fn slopes(values: &[&[f64]], half: usize, dt: f64) -> Vec<Vec<f64>> {
    let last = values.len().saturating_sub(1);
    let squares: f64 = 2.0 * (1..=half).map(|k| (k * k) as f64).sum::<f64>();
    let slope = |row: usize| {
        let mut slope = vec![0.0; values[row].len()];
        for k in 1..=half {
            let (after, before) = (values[(row + k).min(last)], values[row.saturating_sub(k)]);
            for ((slope, after), before) in slope.iter_mut().zip(after).zip(before) {
                *slope += k as f64 * (after - before) / (squares * dt);
            }
        }
        slope
    };
    (0..values.len()).map(slope).collect()
}

/// What hardly varies is divided by this instead of by its spread.
pub const SMALLEST: f64 = 1e-9;

fn root_mean_square(table: &DMatrix<f64>, column: usize, rows: &[usize]) -> f64 {
    let sum: f64 = rows.iter().map(|row| table[(*row, column)].powi(2)).sum();
    (sum / rows.len().max(1) as f64).sqrt().max(SMALLEST)
}

pub fn mean(table: &DMatrix<f64>, column: usize, rows: &[usize]) -> f64 {
    rows.iter().map(|row| table[(*row, column)]).sum::<f64>() / rows.len().max(1) as f64
}

pub fn standard_deviation(table: &DMatrix<f64>, column: usize, rows: &[usize]) -> f64 {
    let mean = mean(table, column, rows);
    let sum: f64 = rows.iter().map(|row| (table[(*row, column)] - mean).powi(2)).sum();
    (sum / rows.len().max(1) as f64).sqrt().max(SMALLEST)
}
