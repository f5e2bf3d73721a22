//! Trains an MLP step by step: the best weights on what is held out are kept, the training ends early when nothing
//! better comes, and one that was interrupted goes on as if it had not been.

use super::Progress;
use super::optimizer::ScheduledAdamW;
use super::regression::RegressionConfig;
use super::saved::{Saved, check_data, check_settings};
use crate::error::{Error, Result};
use crate::nn::checkpoint::Tensors;
use crate::nn::mlp::{Mlp, MlpConfig};
use crate::nn::variables::snapshot;
use candle_core::{DType, Device, Tensor, Var};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Steps from one validation to the next.
const VALIDATE_EVERY: usize = 50;
const MAX_GRADIENT_NORM: f64 = 1.0;

/// What a network is trained for.
pub trait Objective {
    /// The loss of a random draw, and a tensor whose gradient is that of the loss.
    fn draw(&self, network: &Mlp, random: &mut Pcg64) -> Result<(f64, Tensor)>;

    /// The error on what is held out.
    fn validate(&self, network: &Mlp) -> Result<f64>;
}

/// By what a saved training is known to be the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub settings: serde_json::Value,
    /// SHA-256 of what is trained on.
    pub data: String,
}

/// A training as it stands.
pub struct Descent {
    variables: BTreeMap<String, Var>,
    optimizer: ScheduledAdamW,
    random: Pcg64,
    step: usize,
    identity: Identity,
    pub best: Tensors,
    /// The step whose weights are `best`; 0 is the untrained network.
    pub best_step: usize,
    pub best_validation: f64,
    pub progress: Vec<Progress>,
}

/// What is not a tensor.
#[derive(Serialize, Deserialize)]
struct Notes {
    identity: Identity,
    step: usize,
    optimizer_steps: i32,
    best_step: usize,
    random: Pcg64,
}

impl Descent {
    /// Trains `network` from where the training was that gave out `saved`, or from the start. `on_progress` is handed the
    /// training as it stands at each validation, to be saved, and may end it by `Break`.
    pub fn run(
        network: &MlpConfig,
        config: &RegressionConfig,
        seed: u64,
        objective: &impl Objective,
        (identity, saved): (Identity, Option<&[u8]>),
        mut on_progress: impl FnMut(&Progress, &Self) -> Result<ControlFlow<()>>,
    ) -> Result<Self> {
        let variables = network.initial_variables(seed, DType::F32)?;
        let mlp = Mlp::over(network, &variables, DType::F32)?;
        let all = variables.values().cloned().collect();
        let mut descent = Self {
            optimizer: ScheduledAdamW::new(all, config.learning_rate, config.weight_decay, MAX_GRADIENT_NORM),
            random: Pcg64::seed_from_u64(seed ^ 0x5eed),
            step: 0,
            identity,
            best: snapshot(&variables)?,
            best_step: 0,
            best_validation: objective.validate(&mlp)?,
            progress: Vec::new(),
            variables,
        };
        if let Some(saved) = saved {
            descent.restore(saved)?;
        }
        let mut sum = 0.0;
        while descent.step < config.steps
            && descent.step - descent.best_step < config.patience * VALIDATE_EVERY
        {
            let (loss, surrogate) = objective.draw(&mlp, &mut descent.random)?;
            descent.optimizer.step(&surrogate, descent.step as f64 / config.steps as f64)?;
            descent.step += 1;
            sum += loss;
            if !descent.step.is_multiple_of(VALIDATE_EVERY) && descent.step != config.steps {
                continue;
            }
            let count = (descent.step - 1) % VALIDATE_EVERY + 1;
            let validation = objective.validate(&mlp)?;
            let progress = Progress { step: descent.step, loss: sum / count as f64, validation };
            sum = 0.0;
            descent.progress.push(progress);
            if validation < descent.best_validation {
                (descent.best_step, descent.best_validation) = (descent.step, validation);
                descent.best = snapshot(&descent.variables)?;
            }
            if on_progress(&progress, &descent)?.is_break() {
                break;
            }
        }
        Ok(descent)
    }

    /// All that is needed to go on.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut saved = Saved::default();
        let optimizer_steps = saved.insert_network(&self.variables, &self.optimizer, &self.best)?;
        saved.insert_progress(&self.progress)?;
        saved.insert("best_validation".into(), Tensor::new(&[self.best_validation], &Device::Cpu)?);
        saved.write(&Notes {
            identity: self.identity.clone(),
            step: self.step,
            optimizer_steps,
            best_step: self.best_step,
            random: self.random.clone(),
        })
    }

    /// Goes on from what [`Self::to_bytes`] gave; refuses a training of other settings or data.
    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let (saved, notes): (Saved, Notes) = Saved::read(bytes)?;
        let (found, expected) = (&notes.identity, &self.identity);
        check_settings(&found.settings, &expected.settings)?;
        check_data(&found.data, &expected.data)?;
        saved.restore_network(&self.variables, &mut self.optimizer, &mut self.best, notes.optimizer_steps)?;
        self.progress = saved.progress()?;
        self.best_validation =
            saved.take("best_validation")?.to_dtype(DType::F64)?.squeeze(0)?.to_scalar()?;
        (self.step, self.best_step, self.random) = (notes.step, notes.best_step, notes.random);
        match self.best_step <= self.step {
            true => Ok(()),
            false => Err(Error::mismatch("best step of the saved training", self.best_step, self.step)),
        }
    }
}
