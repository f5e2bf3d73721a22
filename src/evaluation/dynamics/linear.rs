//! The linear part: ridge regression in which a joint's own motion costs less than that of the others.

use super::motion::{mean, standard_deviation};
use crate::error::{Error, Result};
use nalgebra::{DMatrix, DVector};
use serde::Serialize;

/// Penalties that are tried, per row: on the inputs of the joint itself, and by how much more on those of the others. A
/// joint's friction and inertia are its own; what others add to its effort has to be earned.
const OWN: [f64; 3] = [1e-3, 1e-2, 1e-1];
const OTHERS: [f64; 3] = [10.0, 100.0, 1000.0];

/// Mean 0, deviation 1 on the training rows.
pub struct Scaling {
    mean: Vec<f64>,
    deviation: Vec<f64>,
    /// Of the training rows, in deviations.
    range: Vec<(f64, f64)>,
}

impl Scaling {
    pub fn fit(table: &DMatrix<f64>, rows: &[usize]) -> Self {
        let columns = 0..table.ncols();
        let mean: Vec<f64> = columns.clone().map(|column| mean(table, column, rows)).collect();
        let deviation: Vec<f64> =
            columns.clone().map(|column| standard_deviation(table, column, rows)).collect();
        let range = columns.map(|column| {
            let scaled = rows.iter().map(|row| (table[(*row, column)] - mean[column]) / deviation[column]);
            scaled.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
        });
        Self { range: range.collect(), mean, deviation }
    }

    pub fn apply(&self, table: &DMatrix<f64>) -> DMatrix<f64> {
        table.map_with_location(|_, column, value| (value - self.mean[column]) / self.deviation[column])
    }

    /// Back from what [`Self::apply`] gave.
    pub fn undo(&self, scaled: &DMatrix<f64>) -> DMatrix<f64> {
        scaled.map_with_location(|_, column, value| value * self.deviation[column] + self.mean[column])
    }

    /// As [`Self::apply`], held within the range of the training rows: nothing is known beyond.
    pub fn apply_within_range(&self, table: &DMatrix<f64>) -> DMatrix<f64> {
        let mut scaled = self.apply(table);
        for (mut column, (low, high)) in scaled.column_iter_mut().zip(&self.range) {
            column.apply(|value| *value = value.clamp(*low, *high));
        }
        scaled
    }
}

/// The penalties that were best on held-out runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Penalty {
    pub own: f64,
    pub others: f64,
}

pub struct Linear {
    /// [input + 1, output]; the last is the offset.
    weights: DMatrix<f64>,
}

/// XᵀX and XᵀY of some rows, X with a column of ones.
struct Normal {
    rows: usize,
    inputs: DMatrix<f64>,
    targets: DMatrix<f64>,
}

impl Linear {
    /// With one penalty for all.
    pub fn ridge(inputs: &DMatrix<f64>, targets: &DMatrix<f64>, penalty: f64) -> Result<Self> {
        let normal = Normal::new(inputs, targets);
        let penalty = Penalty { own: penalty / normal.rows as f64, others: penalty / normal.rows as f64 };
        let columns = (0..targets.ncols()).map(|joint| normal.solve(joint, targets.ncols(), penalty));
        Ok(Self { weights: DMatrix::from_columns(&columns.collect::<Result<Vec<_>>>()?) })
    }

    /// Column modulo joints is the joint of an input. The penalties of each joint are those that are best for runs of
    /// rows that were left out; `run_of` gives the run of each row. Long runs ask for what holds elsewhere, too.
    pub fn grouped(inputs: &DMatrix<f64>, targets: &DMatrix<f64>, run_of: &[usize]) -> Result<Self> {
        let joints = targets.ncols();
        let all = Normal::new(inputs, targets);
        let folds: Vec<_> = (0..=run_of.iter().copied().max().unwrap_or(0))
            .map(|run| {
                let rows: Vec<usize> = (0..run_of.len()).filter(|row| run_of[*row] == run).collect();
                let (inputs, targets) = (inputs.select_rows(&rows), targets.select_rows(&rows));
                let rest = all.without(&Normal::new(&inputs, &targets));
                (inputs, targets, rest)
            })
            .collect();
        let candidates: Vec<Penalty> = OWN
            .iter()
            .flat_map(|own| OTHERS.iter().map(move |others| Penalty { own: *own, others: own * others }))
            .collect();
        let mut columns = Vec::new();
        for joint in 0..joints {
            let mut best = (f64::INFINITY, candidates[0]);
            for penalty in &candidates {
                let mut error = 0.0;
                for (inputs, targets, rest) in &folds {
                    let weights = rest.solve(joint, joints, *penalty)?;
                    let predicted = predict(inputs, &weights);
                    error += (targets.column(joint) - predicted).norm_squared();
                }
                if error < best.0 {
                    best = (error, *penalty);
                }
            }
            columns.push(all.solve(joint, joints, best.1)?);
        }
        Ok(Self { weights: DMatrix::from_columns(&columns) })
    }

    /// [row, output]
    pub fn predict(&self, inputs: &DMatrix<f64>) -> DMatrix<f64> {
        let columns: Vec<DVector<f64>> =
            self.weights.column_iter().map(|weights| predict(inputs, &weights.into_owned())).collect();
        DMatrix::from_columns(&columns)
    }
}

fn predict(inputs: &DMatrix<f64>, weights: &DVector<f64>) -> DVector<f64> {
    let last = weights.len() - 1;
    let mut out = inputs * weights.rows(0, last);
    out.add_scalar_mut(weights[last]);
    out
}

impl Normal {
    fn new(inputs: &DMatrix<f64>, targets: &DMatrix<f64>) -> Self {
        let with_ones = inputs.clone().insert_column(inputs.ncols(), 1.0);
        let transposed = with_ones.transpose(); // nalgebra blocks this product, not tr_mul
        Self { rows: inputs.nrows(), inputs: &transposed * &with_ones, targets: &transposed * targets }
    }

    fn without(&self, part: &Self) -> Self {
        Self {
            rows: self.rows - part.rows,
            inputs: &self.inputs - &part.inputs,
            targets: &self.targets - &part.targets,
        }
    }

    /// (XᵀX + n·Λ)·w = Xᵀy with Λ diagonal; the offset costs nothing.
    fn solve(&self, joint: usize, joints: usize, penalty: Penalty) -> Result<DVector<f64>> {
        let offset = self.inputs.nrows() - 1;
        let mut matrix = self.inputs.clone();
        for column in 0..offset {
            let own = column % joints == joint;
            matrix[(column, column)] += self.rows as f64 * if own { penalty.own } else { penalty.others };
        }
        let solved = matrix.cholesky().map(|factor| factor.solve(&self.targets.column(joint)));
        solved.ok_or_else(|| Error::mismatch("ridge regression", "a singular matrix", "data"))
    }
}
