//! What networks add to a linear model: an ensemble, each member trained without some of the time, trusted as far as
//! the members agree and the posture is a known one. Networks interpolate well; beyond what they have seen the linear
//! model was better alone on every recording tried.

use super::linear::Scaling;
use super::motion::Motions;
use super::split::dealt;
use crate::error::Result;
use crate::training::regression::{Regression, RegressionConfig, Rows, fit};
use candle_core::{Device, Tensor};
use nalgebra::DMatrix;
use std::ops::ControlFlow;

/// Blocks of time that a member does not see but is stopped by, s.
const HELD_OUT: f64 = 0.25;
/// Postures among which the nearest is looked for, at most.
const MOST_NEIGHBOURS: usize = 2000;
/// Share of the held-out rows whose distance is called usual.
const USUAL: f64 = 0.95;

/// Trains one network on `rows` of scaled `inputs` and `targets` and predicts all rows; every `members`-th block of time
/// (the `member`-th of them) tells it when to stop.
pub fn network(
    motions: &Motions,
    inputs: &DMatrix<f64>,
    targets: &DMatrix<f64>,
    rows: &[usize],
    config: &RegressionConfig,
    (member, members): (usize, usize),
    seed: u64,
) -> Result<DMatrix<f64>> {
    let dealt = dealt(motions, rows, HELD_OUT, members);
    let pairs = rows.iter().zip(&dealt);
    let (held_out, training): (Vec<_>, Vec<_>) = pairs.partition(|(_, part)| **part == member);
    let numbers =
        |pairs: Vec<(&usize, &usize)>| pairs.iter().map(|(row, _)| **row as u32).collect::<Vec<u32>>();
    let data = Rows { inputs: tensor(inputs)?, targets: tensor(targets)? };
    let proceed = |_: &_| ControlFlow::Continue(());
    let fitted: Regression = fit(config, &data, &numbers(training), &numbers(held_out), seed, proceed)?;
    let predicted: Vec<Vec<f32>> = fitted.predict(&data.inputs)?.to_vec2()?;
    Ok(DMatrix::from_fn(inputs.nrows(), targets.ncols(), |row, column| f64::from(predicted[row][column])))
}

/// The mean of `predictions` [member][row, joint], each entry times m² / (m² + s²) with mean m and variance s² over the
/// members: where they contradict each other, the correction vanishes.
pub fn agreed(predictions: &[DMatrix<f64>]) -> DMatrix<f64> {
    let (rows, columns) = predictions.first().map_or((0, 0), DMatrix::shape);
    let count = predictions.len() as f64;
    DMatrix::from_fn(rows, columns, |row, column| {
        let values = || predictions.iter().map(|prediction| prediction[(row, column)]);
        let mean = values().sum::<f64>() / count;
        let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let square = mean * mean;
        if square > 0.0 { mean * square / (square + variance) } else { 0.0 }
    })
}

/// How well the posture of each row is known from the rows `training`: 1 where it is no further from them than held-out
/// blocks of time usually are from the rest, less with the square of the distance beyond.
pub fn familiarity(motions: &Motions, training: &[usize], members: usize) -> Vec<f64> {
    let postures = Scaling::fit(&motions.position, training).apply(&motions.position);
    let posture = |row: usize| postures.row(row).iter().copied().collect::<Vec<f64>>();
    let thin = |rows: Vec<usize>| -> Vec<Vec<f64>> {
        let step = rows.len().div_ceil(MOST_NEIGHBOURS).max(1);
        rows.into_iter().step_by(step).map(posture).collect()
    };
    let dealt = dealt(motions, training, HELD_OUT, members);
    let mut usual = Vec::new();
    for member in 0..members {
        let pairs = training.iter().copied().zip(&dealt);
        let (held_out, rest): (Vec<_>, Vec<_>) = pairs.partition(|(_, part)| **part == member);
        let rest = thin(rest.into_iter().map(|(row, _)| row).collect());
        usual.extend(held_out.into_iter().map(|(row, _)| nearest(&posture(row), &rest)));
    }
    usual.sort_by(f64::total_cmp);
    let usual = usual.get((USUAL * usual.len() as f64) as usize).copied().unwrap_or(0.0);
    let known = thin(training.to_vec());
    let share = |row: usize| {
        let distance = nearest(&posture(row), &known);
        if distance > usual { (usual / distance).powi(2) } else { 1.0 }
    };
    (0..postures.nrows()).map(share).collect()
}

/// Euclidean distance to the nearest of `others`.
fn nearest(posture: &[f64], others: &[Vec<f64>]) -> f64 {
    let square = |other: &Vec<f64>| -> f64 { posture.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum() };
    others.iter().map(square).fold(f64::INFINITY, f64::min).sqrt()
}

/// [row, column] as f32.
fn tensor(table: &DMatrix<f64>) -> Result<Tensor> {
    let values: Vec<f32> = table.transpose().iter().map(|value| *value as f32).collect();
    Ok(Tensor::from_vec(values, table.shape(), &Device::Cpu)?)
}
