//! An interrupted training as bytes (safetensors): weights, moments of the optimizer, random numbers, the streams under
//! way and what was reached, so that going on gives the same bits as never having stopped.

use super::{Progress, Report, Run, Standing, TrainingConfig};
use crate::dataset::Episode;
use crate::error::{Error, Result};
use crate::files::hexadecimal;
use crate::nn::checkpoint::Tensors;
use crate::nn::lstm::LstmState;
use crate::predictor::commands::Told;
use crate::training::sequence::Streams;
use candle_core::{DType, Device, Tensor};
use rand_pcg::Pcg64;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};

const KEY: &str = "learned_control_training";
const ORIGIN: &str = "saved training";

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

fn refused(problem: impl ToString) -> Error {
    Error::Model { origin: ORIGIN.into(), problem: problem.to_string() }
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
    let mut tensors = BTreeMap::new();
    let (moments, optimizer_steps) = run.optimizer.state()?;
    for ((name, variable), [first, second]) in run.variables.iter().zip(moments) {
        tensors.insert(format!("variable.{name}"), variable.as_tensor().clone());
        tensors.insert(format!("first.{name}"), first.clone());
        tensors.insert(format!("second.{name}"), second.clone());
    }
    for (name, tensor) in best.iter() {
        tensors.insert(format!("best.{name}"), tensor.clone());
    }
    let progress = report.progress.iter().flat_map(|p| [p.step as f64, p.loss, p.validation]);
    let rows = report.progress.len();
    tensors.insert("progress".into(), Tensor::from_iter(progress, &Device::Cpu)?.reshape((rows, 3))?);
    if let Some((_, state, _)) = &run.streams {
        for (layer, (hidden, cell)) in state.layers().iter().enumerate() {
            tensors.insert(format!("state.{layer}.hidden"), hidden.contiguous()?);
            tensors.insert(format!("state.{layer}.cell"), cell.contiguous()?);
        }
    }
    let notes = Notes {
        config: run.config.clone(),
        data: (*data).to_owned(),
        step: run.step,
        optimizer_steps,
        best_step: report.best_step,
        random: run.random.clone(),
        streams: run.streams.as_ref().map(|(streams, _, from)| (streams.clone(), *from)),
    };
    let notes = serde_json::to_string(&notes).map_err(refused)?;
    safetensors::serialize(tensors, Some(HashMap::from([(KEY.to_owned(), notes)]))).map_err(refused)
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
    let (_, metadata) = SafeTensors::read_metadata(saved).map_err(refused)?;
    let notes = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY));
    let notes: Notes = serde_json::from_str(notes.ok_or_else(|| refused("it is none"))?).map_err(refused)?;
    if notes.config != *run.config {
        let found = format!("{:?}", notes.config);
        return Err(Error::mismatch("settings of the saved training", found, format!("{:?}", run.config)));
    }
    if notes.data != data {
        return Err(Error::mismatch("data of the saved training (SHA-256)", notes.data, data));
    }
    let tensors = candle_core::safetensors::load_buffer(saved, &Device::Cpu)?;
    let take = |name: String| {
        tensors.get(&name).cloned().ok_or_else(|| refused(format!("tensor '{name}' is missing")))
    };
    let mut moments = Vec::new();
    for (name, variable) in &run.variables {
        variable.set(&take(format!("variable.{name}"))?)?;
        moments.push([take(format!("first.{name}"))?, take(format!("second.{name}"))?]);
        best.insert(name.clone(), take(format!("best.{name}"))?);
    }
    run.optimizer.restore(&moments, notes.optimizer_steps)?;
    let rows = take("progress".into())?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    report.progress = rows
        .iter()
        .filter_map(|row| match row[..] {
            [step, loss, validation] => Some(Progress { step: step as usize, loss, validation }),
            _ => None,
        })
        .collect();
    let reached = report.progress.iter().find(|progress| progress.step == notes.best_step);
    report.best_step = notes.best_step;
    report.best_validation = reached.map_or(f64::INFINITY, |progress| progress.validation);
    (run.step, run.random) = (notes.step, notes.random);
    run.streams = match notes.streams {
        Some((streams, from)) => {
            let layers = 0..run.config.predictor.layers;
            let layers = layers.map(|layer| {
                Ok((take(format!("state.{layer}.hidden"))?, take(format!("state.{layer}.cell"))?))
            });
            Some((streams, LstmState::of_layers(layers.collect::<Result<_>>()?), from))
        }
        None => None,
    };
    Ok(())
}
