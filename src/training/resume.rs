//! An interrupted training of the predictor: weights, moments of the optimizer, random numbers, the streams under way and
//! what was reached.

use super::saved::{Saved, check_data, check_settings};
use super::{Report, Run, Standing, TrainingConfig};
use crate::dataset::Episode;
use crate::error::Result;
use crate::files::hexadecimal;
use crate::nn::checkpoint::Tensors;
use crate::nn::lstm::LstmState;
use crate::predictor::commands::Told;
use crate::training::sequence::Streams;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What is not a tensor.
#[derive(Serialize, Deserialize)]
struct Notes {
    config: TrainingConfig,
    /// SHA-256 of the names of the coordinates and of all samples, with what was told.
    data: String,
    step: usize,
    optimizer_steps: i32,
    best_step: usize,
    random: Pcg64,
    /// The streams and how many of their instants are done.
    streams: Option<(Streams, usize)>,
}

/// SHA-256 of what is trained on.
pub fn fingerprint(joints: &[String], episodes: &[Episode]) -> String {
    let mut hash = Sha256::new();
    joints.iter().for_each(|joint| hash.update(joint.as_bytes()));
    for episode in episodes {
        hash.update(episode.dt.to_le_bytes());
        for state in &episode.states {
            hash.update(state.stamp.0.to_le_bytes());
            let values = state.position.iter().chain(&state.velocity);
            values.for_each(|value| hash.update(value.to_le_bytes()));
        }
        let mut last: Option<&Told> = None;
        for told in &episode.told {
            let is_same = told.as_ref().zip(last).is_some_and(|(told, last)| told.is_same(last));
            hash.update([u8::from(told.is_some()), u8::from(is_same)]);
            if let (Some(told), false) = (told, is_same) {
                hash.update(format!("{told:?}"));
                last = Some(told);
            }
        }
    }
    hexadecimal(hash.finalize().as_slice())
}

pub fn to_bytes(standing: &Standing) -> Result<Vec<u8>> {
    let Standing { run, best, report, data } = standing;
    let mut saved = Saved::default();
    let optimizer_steps = saved.insert_network(&run.variables, &run.optimizer, best)?;
    saved.insert_progress(&report.progress)?;
    if let Some((_, state, _)) = &run.streams {
        for (layer, (hidden, cell)) in state.layers().iter().enumerate() {
            saved.insert(format!("state.{layer}.hidden"), hidden.contiguous()?);
            saved.insert(format!("state.{layer}.cell"), cell.contiguous()?);
        }
    }
    saved.write(&Notes {
        config: run.config.clone(),
        data: (*data).to_owned(),
        step: run.step,
        optimizer_steps,
        best_step: report.best_step,
        random: run.random.clone(),
        streams: run.streams.as_ref().map(|(streams, _, from)| (streams.clone(), *from)),
    })
}

/// Puts `run`, `best` and `report` where the training stood that gave out `saved`; refuses one of other settings or
/// data.
pub fn restore(
    saved: &[u8],
    data: &str,
    run: &mut Run,
    best: &mut Tensors,
    report: &mut Report,
) -> Result<()> {
    let (saved, notes): (Saved, Notes) = Saved::read(saved)?;
    check_settings(&notes.config, run.config)?;
    check_data(&notes.data, data)?;
    saved.restore_network(&run.variables, &mut run.optimizer, best, notes.optimizer_steps)?;
    report.progress = saved.progress()?;
    let reached = report.progress.iter().find(|progress| progress.step == notes.best_step);
    report.best_step = notes.best_step;
    report.best_validation = reached.map_or(f64::INFINITY, |progress| progress.validation);
    (run.step, run.random) = (notes.step, notes.random);
    run.streams = match notes.streams {
        Some((streams, from)) => {
            let layer = |layer: usize| {
                let part = |part: &str| saved.take(&format!("state.{layer}.{part}"));
                Ok((part("hidden")?, part("cell")?))
            };
            let layers = (0..run.config.predictor.layers).map(layer).collect::<Result<_>>()?;
            Some((streams, LstmState::of_layers(layers), from))
        }
        None => None,
    };
    Ok(())
}
