//! An interrupted training as bytes: a safetensors file with notes, so that going on gives the same bits as never having
//! stopped.

use super::Progress;
use super::optimizer::ScheduledAdamW;
use crate::error::{Error, Result};
use crate::nn::checkpoint::Tensors;
use candle_core::{DType, Device, Tensor, Var};
use safetensors::SafeTensors;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

const KEY: &str = "learned_control_training";
const ORIGIN: &str = "saved training";

/// The tensors by name.
#[derive(Default)]
pub struct Saved(HashMap<String, Tensor>);

pub fn refused(problem: impl ToString) -> Error {
    Error::Model { origin: ORIGIN.into(), problem: problem.to_string() }
}

/// What to do about a training that is not the one that was saved.
const ADVICE: &str = "; give the arguments and recordings that it was begun with, or begin anew";

/// Refuses a training that was saved with other data, by their SHA-256.
pub fn check_data(saved: &str, given: &str) -> Result<()> {
    match saved == given {
        true => Ok(()),
        false => {
            Err(Error::mismatch("data of the saved training (SHA-256)", saved, format!("{given}{ADVICE}")))
        }
    }
}

/// Refuses a training that was saved with other settings, and names those that differ.
pub fn check_settings(saved: &impl Serialize, asked: &impl Serialize) -> Result<()> {
    let [saved, asked] = [serde_json::to_value(saved), serde_json::to_value(asked)];
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    differ("", &saved.map_err(refused)?, &asked.map_err(refused)?, &mut |name, saved, asked| {
        found.push(format!("{name} {saved}"));
        expected.push(format!("{name} {asked}"));
    });
    match found.is_empty() {
        true => Ok(()),
        false => {
            let expected = format!("{}{ADVICE}", expected.join(", "));
            Err(Error::mismatch("settings of the saved training", found.join(", "), expected))
        }
    }
}

/// Tells `say` the name, as `predictor.steps`, and both values of each setting that differs.
fn differ(name: &str, saved: &Value, asked: &Value, say: &mut impl FnMut(&str, &Value, &Value)) {
    match (saved, asked) {
        (Value::Object(saved), Value::Object(asked)) => {
            let names: BTreeSet<&String> = saved.keys().chain(asked.keys()).collect();
            for key in names {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                let of = |settings: &serde_json::Map<String, Value>| {
                    settings.get(key).cloned().unwrap_or_default()
                };
                differ(&name, &of(saved), &of(asked), say);
            }
        }
        _ if saved != asked => say(name, saved, asked),
        _ => (),
    }
}

impl Saved {
    /// The tensors and the notes in `bytes`.
    pub fn read<Notes: DeserializeOwned>(bytes: &[u8]) -> Result<(Self, Notes)> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(refused)?;
        let notes = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY));
        let notes = serde_json::from_str(notes.ok_or_else(|| refused("it is none"))?).map_err(refused)?;
        Ok((Self(candle_core::safetensors::load_buffer(bytes, &Device::Cpu)?), notes))
    }

    pub fn write(self, notes: &impl Serialize) -> Result<Vec<u8>> {
        let notes = serde_json::to_string(notes).map_err(refused)?;
        let tensors: BTreeMap<String, Tensor> = self.0.into_iter().collect();
        safetensors::serialize(tensors, Some(HashMap::from([(KEY.to_owned(), notes)]))).map_err(refused)
    }

    pub fn take(&self, name: &str) -> Result<Tensor> {
        self.0.get(name).cloned().ok_or_else(|| refused(format!("tensor '{name}' is missing")))
    }

    pub fn insert(&mut self, name: String, tensor: Tensor) {
        self.0.insert(name, tensor);
    }

    /// Puts in the parameters, the moments of their optimizer and the best parameters so far; gives the optimizer's steps.
    pub fn insert_network(
        &mut self,
        variables: &BTreeMap<String, Var>,
        optimizer: &ScheduledAdamW,
        best: &Tensors,
    ) -> Result<i32> {
        let (moments, steps) = optimizer.state()?;
        for ((name, variable), [first, second]) in variables.iter().zip(moments) {
            self.insert(format!("variable.{name}"), variable.as_tensor().clone());
            self.insert(format!("first.{name}"), first);
            self.insert(format!("second.{name}"), second);
        }
        best.iter().for_each(|(name, tensor)| self.insert(format!("best.{name}"), tensor.clone()));
        Ok(steps)
    }

    /// Takes out what [`Self::insert_network`] put in.
    pub fn restore_network(
        &self,
        variables: &BTreeMap<String, Var>,
        optimizer: &mut ScheduledAdamW,
        best: &mut Tensors,
        steps: i32,
    ) -> Result<()> {
        let mut moments = Vec::new();
        for (name, variable) in variables {
            variable.set(&self.take(&format!("variable.{name}"))?)?;
            moments.push([self.take(&format!("first.{name}"))?, self.take(&format!("second.{name}"))?]);
            best.insert(name.clone(), self.take(&format!("best.{name}"))?);
        }
        optimizer.restore(&moments, steps)
    }

    pub fn insert_progress(&mut self, progress: &[Progress]) -> Result<()> {
        let values = progress.iter().flat_map(|past| [past.step as f64, past.loss, past.validation]);
        let table = Tensor::from_iter(values, &Device::Cpu)?.reshape((progress.len(), 3))?;
        self.insert("progress".into(), table);
        Ok(())
    }

    /// What [`Self::insert_progress`] put in.
    pub fn progress(&self) -> Result<Vec<Progress>> {
        let rows = self.take("progress")?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        let progress = rows.iter().filter_map(|row| match row[..] {
            [step, loss, validation] => Some(Progress { step: step as usize, loss, validation }),
            _ => None,
        });
        Ok(progress.collect())
    }
}
