//! The regressions on own past and commands, fitted to the time that a command was in force.

use super::{ROWS, kept, solve};
use crate::error::Result;
use crate::nn::normalizer::Normalizer;
use crate::predictor::PredictorModel;
use crate::predictor::linear::{CommandedPath, commanded_shape, knots, memory, penalties};
use crate::predictor::mixture::Evidence;
use crate::training::sequence::{Sequence, fit_command_scales};
use nalgebra::DMatrix;

/// None of a model without commands; no evidence.
pub fn path(model: &PredictorModel, sequences: &[Sequence]) -> Result<Option<CommandedPath>> {
    let (config, coordinates) = (&model.config, model.joints.len());
    let Some([regressors, width]) = commanded_shape(config, coordinates) else { return Ok(None) };
    let scales = fit_command_scales(sequences, coordinates, regressors / width - config.features())?;
    let scales = scales.scale().iter().copied().map(kept).collect::<Vec<_>>();
    let scales = Normalizer::new(vec![0.0; scales.len()], scales)?;
    let knots = knots(config.steps);
    let zeros = [DMatrix::zeros(regressors, regressors), DMatrix::zeros(regressors, width * knots.len())];
    let mut sums = vec![zeros; coordinates / width];
    let mut samples = 0usize;
    for sequence in sequences {
        let motion = sequence.normalized(&model.features, width)?;
        let commands = sequence.normalized_commands(&scales, width)?;
        let told: Vec<usize> =
            (0..sequence.usable(config.steps)).filter(|time| sequence.is_told(*time)).collect();
        samples += told.len();
        for times in told.chunks(ROWS) {
            let targets = targets(model, sequence, times, &knots);
            for (group, [square, product]) in sums.iter_mut().enumerate() {
                let inputs = inputs(&motion[group], &commands[group], times, sequence.time());
                *square += &inputs * inputs.transpose();
                *product += inputs * targets.columns(group * width * knots.len(), width * knots.len());
            }
        }
    }
    let share = (memory(model.dt) / samples.max(1) as f64).min(1.0);
    let penalty = penalties(config, coordinates)[0];
    let own = sums.iter().map(|sums| solve(sums, share, penalty, knots.len())).collect::<Result<_>>()?;
    let evidence = vec![Evidence::default(); coordinates * knots.len()];
    Ok(Some(CommandedPath { scales, penalty: kept(penalty), own, evidence }))
}

/// [regressor, time] of one group: its features, then those of its commands.
fn inputs(motion: &[f32], commands: &[f32], times: &[usize], all: usize) -> DMatrix<f64> {
    let (of_motion, of_commands) = (motion.len() / all, commands.len() / all);
    DMatrix::from_fn(of_motion + of_commands, times.len(), |row, column| {
        let time = times[column];
        f64::from(match row.checked_sub(of_motion) {
            Some(row) => commands[time * of_commands + row],
            None => motion[time * of_motion + row],
        })
    })
}

/// Increments in units of the spread, [time, output]; outputs of a group lie together, within it [knot][output].
fn targets(model: &PredictorModel, sequence: &Sequence, times: &[usize], knots: &[usize]) -> DMatrix<f64> {
    let coordinates = model.joints.len();
    let width = model.config.space.coupled(coordinates);
    let mut targets = DMatrix::zeros(times.len(), coordinates * knots.len());
    let (mut scratch, mut increments) = (vec![0.0; coordinates], vec![0.0; coordinates]);
    for (row, time) in times.iter().enumerate() {
        for (knot, step) in knots.iter().enumerate() {
            sequence.increment(*time, *step, &mut scratch, &mut increments);
            for (coordinate, increment) in increments.iter().enumerate() {
                let column = (coordinate / width * knots.len() + knot) * width + coordinate % width;
                targets[(row, column)] = increment / model.spread[coordinate][step - 1];
            }
        }
    }
    targets
}
