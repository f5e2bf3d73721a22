//! Trains the controller's network offline, from motion with efforts.
//!
//! By the rule `inverse_model` it learns one robot as it was recorded. By `meta` it is trained over many episodes, each of
//! another payload, friction or gain: in each a linear head is solved on one part, about the output layer as its prior,
//! the loss is that of the rest, and the gradient goes through the solution. So the hidden layers become features from
//! which a head is found within seconds, and the output layer the head to start from. The same seed and episodes give the
//! same weights.

pub mod head;
pub mod labels;

pub use labels::{Labelled, label};

use super::descent::{Descent, Identity, Objective};
use super::regression::{self, RegressionConfig, Rows};
use super::saved;
use crate::controller::Feedforward;
use crate::error::{Error, Result};
use crate::files::hexadecimal;
use crate::nn::checkpoint::{Card, ModelKind, Tensors, var_builder};
use crate::nn::mlp::{Mlp, MlpConfig};
use crate::nn::variables::snapshot;
use crate::robot::Robot;
use candle_core::{DType, Device, Tensor};
use head::{Head, Part, gradients};
use nalgebra::DMatrix;
use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ops::ControlFlow;

pub use super::Progress;

/// Instants of a part that a step looks at, at most; neighbours differ little.
const INSTANTS: usize = 250;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingRule {
    /// One robot as it was recorded.
    #[default]
    InverseModel,
    /// Features from which the head of each episode is found fast.
    Meta,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControllerTrainingConfig {
    pub rule: TrainingRule,
    /// Of the controller that will use the weights.
    pub feedforward: Feedforward,
    /// The same, kg m² or kg; empty: none.
    pub rotor_inertia: Vec<f64>,
    pub seed: u64,
    /// Units of the hidden layers; those of the last are the head's features.
    pub hidden: Vec<usize>,
    /// Steps of the optimizer.
    pub steps: usize,
    pub learning_rate: f64,
    pub weight_decay: f64,
    /// What is held out to choose the best weights: by `inverse_model` the last share of each episode, by `meta` that
    /// share of the episodes.
    pub validation: f64,
    /// Validations without improvement after which the training ends.
    pub patience: usize,
    /// Beginning of an episode from which its head is solved, s.
    pub support: f64,
    /// Ridge penalty of the head, per instant.
    pub penalty: f64,
    /// Episodes of one step.
    pub batch_size: usize,
}

impl Default for ControllerTrainingConfig {
    fn default() -> Self {
        Self {
            rule: TrainingRule::default(),
            feedforward: Feedforward::default(),
            rotor_inertia: Vec::new(),
            seed: 0,
            hidden: vec![128, 64],
            steps: 3000,
            learning_rate: 2e-3,
            weight_decay: 1e-4,
            validation: 0.15,
            patience: 20,
            support: 2.0,
            penalty: 1e-2,
            batch_size: 4,
        }
    }
}

impl ControllerTrainingConfig {
    /// Checks ranges; the error names the key, what was found and what is expected.
    pub fn validate(&self) -> Result<()> {
        self.regression().validate()?;
        if self.hidden.is_empty() {
            return Err(Error::mismatch("hidden", "no layers", "at least one"));
        }
        let checks = [
            ("validation", self.validation, (0.01..=0.5).contains(&self.validation), "0.01 to 0.5"),
            ("support", self.support, self.support > 0.0, "above 0 s"),
            ("penalty", self.penalty, self.penalty > 0.0, "above 0"),
            ("batch_size", self.batch_size as f64, self.batch_size > 0, "above 0"),
        ];
        match checks.into_iter().find(|(_, value, is_right, _)| !is_right || !value.is_finite()) {
            Some((key, value, _, expected)) => Err(Error::mismatch(key, value, expected)),
            None => Ok(()),
        }
    }

    fn regression(&self) -> RegressionConfig {
        RegressionConfig {
            hidden: self.hidden.clone(),
            steps: self.steps,
            batch_size: 64,
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            patience: self.patience,
        }
    }
}

/// A trained network; outputs are in tenths of the effort limit.
#[derive(Clone, Debug)]
pub struct ControllerModel {
    pub network: MlpConfig,
    pub tensors: Tensors,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub progress: Vec<Progress>,
    /// The step whose weights were kept.
    pub best_step: usize,
    /// Share of the labels' mean square that is left on what was held out: 1 is no network at all.
    pub best_validation: f64,
    /// Episodes trained on and held out.
    pub episodes: [usize; 2],
}

/// Trains on `episodes` of one robot. `on_progress` may end the training early by `Break`; the best weights so far
/// are kept.
pub fn train_controller(
    config: &ControllerTrainingConfig,
    episodes: &[Labelled],
    mut on_progress: impl FnMut(&Progress) -> ControlFlow<()>,
) -> Result<(ControllerModel, Report)> {
    resume_controller(config, episodes, None, |progress, _| Ok(on_progress(progress)))
}

/// As [`train_controller`], from where a training with the same settings and data stood when it gave out `saved`; the
/// result is the same to the bit as that of one that was never interrupted. `on_progress` is handed the training as
/// it stands, to be saved.
pub fn resume_controller(
    config: &ControllerTrainingConfig,
    episodes: &[Labelled],
    saved: Option<&[u8]>,
    on_progress: impl FnMut(&Progress, &Descent) -> Result<ControlFlow<()>>,
) -> Result<(ControllerModel, Report)> {
    config.validate()?;
    let Some(first) = episodes.first() else {
        return Err(Error::mismatch("episodes to train on", 0, "at least one"));
    };
    if let Some(other) = episodes.iter().find(|other| other.features.ncols() != first.features.ncols()) {
        return Err(Error::mismatch(
            "features of an episode",
            other.features.ncols(),
            first.features.ncols(),
        ));
    }
    let resume = (
        Identity {
            settings: serde_json::to_value(config).map_err(saved::refused)?,
            data: fingerprint(episodes),
        },
        saved,
    );
    match config.rule {
        TrainingRule::InverseModel => inverse_model(config, episodes, resume, on_progress),
        TrainingRule::Meta => Meta::new(config, episodes)?.train(resume, on_progress),
    }
}

/// SHA-256 of what is trained on.
fn fingerprint(episodes: &[Labelled]) -> String {
    let mut hash = Sha256::new();
    for episode in episodes {
        hash.update(episode.dt.to_le_bytes());
        hash.update(episode.reach.to_le_bytes());
        for table in [&episode.features, &episode.labels] {
            hash.update(table.ncols().to_le_bytes());
            table.iter().for_each(|value| hash.update(value.to_le_bytes()));
        }
    }
    hexadecimal(hash.finalize().as_slice())
}

/// Plain regression on the instants of all episodes; the last share of each is held out.
fn inverse_model(
    config: &ControllerTrainingConfig,
    episodes: &[Labelled],
    resume: (Identity, Option<&[u8]>),
    mut on_progress: impl FnMut(&Progress, &Descent) -> Result<ControlFlow<()>>,
) -> Result<(ControllerModel, Report)> {
    let scale = label_scale(episodes);
    let (mut training, mut held_out, mut count) = (Vec::new(), Vec::new(), 0u32);
    for episode in episodes {
        let instants = episode.instants();
        let split = (instants as f64 * (1.0 - config.validation)) as usize;
        training.extend(count..count + split as u32);
        // an instant that shares measurements with the training part is in neither
        held_out.extend((count as usize + split + 2 * episode.reach) as u32..count + instants as u32);
        count += instants as u32;
    }
    let features: Vec<&DMatrix<f32>> = episodes.iter().map(|episode| &episode.features).collect();
    let labels: Vec<DMatrix<f32>> = episodes.iter().map(|episode| scaled(&episode.labels, &scale)).collect();
    let rows = Rows { inputs: stack(&features)?, targets: stack(&labels.iter().collect::<Vec<_>>())? };
    let unit = f64::from(rows.select(&held_out)?.targets.sqr()?.mean_all()?.to_scalar::<f32>()?);
    let relative = |step: &Progress| Progress { validation: step.validation / unit, ..*step };
    let regression = config.regression();
    let (network, descent) = regression::descend(
        &regression,
        &rows,
        &training,
        &held_out,
        config.seed,
        resume,
        |step, descent| on_progress(&relative(step), descent),
    )?;
    let Descent { mut best, best_step, best_validation, progress, .. } = descent;
    scale_head(&mut best, config.hidden.len(), &scale)?;
    let report = Report {
        progress: progress.iter().map(relative).collect(),
        best_step,
        best_validation: best_validation / unit,
        episodes: [episodes.len(), episodes.len()],
    };
    Ok((ControllerModel { network, tensors: best }, report))
}

/// The training over episodes.
struct Meta<'a> {
    config: &'a ControllerTrainingConfig,
    /// Labels over their root mean square.
    training: Vec<Labelled>,
    held_out: Vec<Labelled>,
    /// [joint], root mean square of the labels trained on.
    scale: Vec<f64>,
    network: MlpConfig,
}

impl<'a> Meta<'a> {
    /// Holds out the last episodes, at least one.
    fn new(config: &'a ControllerTrainingConfig, episodes: &[Labelled]) -> Result<Self> {
        let held_out = ((episodes.len() as f64 * config.validation).round() as usize).max(1);
        if episodes.len() < held_out + 2 {
            return Err(Error::mismatch("episodes to train on", episodes.len(), "at least 3"));
        }
        for episode in episodes {
            if episode.instants() < 2 * support_of(episode, config.support) {
                let seconds = episode.instants() as f64 * episode.dt;
                let expected = format!("at least {} s, twice the support", 2.0 * config.support);
                return Err(Error::mismatch("length of an episode", format!("{seconds:.2} s"), expected));
            }
        }
        let (training, held_out) = episodes.split_at(episodes.len() - held_out);
        let scale = label_scale(training);
        let network = MlpConfig {
            inputs: training[0].features.ncols(),
            hidden: config.hidden.clone(),
            outputs: training[0].labels.ncols(),
        };
        let prepared = |episodes: &[Labelled]| -> Vec<Labelled> {
            let prepare =
                |episode: &Labelled| Labelled { labels: scaled(&episode.labels, &scale), ..episode.clone() };
            episodes.iter().map(prepare).collect()
        };
        Ok(Self { config, training: prepared(training), held_out: prepared(held_out), scale, network })
    }

    fn train(
        self,
        resume: (Identity, Option<&[u8]>),
        on_progress: impl FnMut(&Progress, &Descent) -> Result<ControlFlow<()>>,
    ) -> Result<(ControllerModel, Report)> {
        let (regression, seed) = (self.config.regression(), self.config.seed);
        let descent = Descent::run(&self.network, &regression, seed, &self, resume, on_progress)?;
        let Descent { mut best, best_step, best_validation, progress, .. } = descent;
        scale_head(&mut best, self.config.hidden.len(), &self.scale)?;
        let episodes = [self.training.len(), self.held_out.len()];
        let report = Report { progress, best_step, best_validation, episodes };
        Ok((ControllerModel { network: self.network, tensors: best }, report))
    }
}

impl Objective for Meta<'_> {
    /// The loss of a few episodes, and a tensor whose gradient is that of the loss: Σ Φ·G with the gradients G of the
    /// loss with respect to the features Φ, and the same of the prior head.
    fn draw(&self, mlp: &Mlp, random: &mut Pcg64) -> Result<(f64, Tensor)> {
        let (mut rows, mut labels, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.config.batch_size {
            let episode = &self.training[random.random_range(0..self.training.len())];
            let support = support_of(episode, self.config.support);
            // the support lies anywhere; the query is the rest, less what shares measurements with it
            let first = random.random_range(0..=episode.instants() - support);
            let margin = 2 * episode.reach;
            let stride = support.div_ceil(INSTANTS);
            let offset = random.random_range(0..stride);
            let chosen: Vec<usize> = (first + offset..first + support).step_by(stride).collect();
            let (before, after) =
                (first.saturating_sub(margin), (first + support + margin).min(episode.instants()));
            let rest = before + (episode.instants() - after);
            let query: Vec<usize> = (0..INSTANTS)
                .map(|_| random.random_range(0..rest))
                .map(|instant| if instant < before { instant } else { instant - before + after })
                .collect();
            for instants in [chosen, query] {
                rows.push(episode.features.select_rows(&instants));
                labels.push(episode.labels.select_rows(&instants).map(f64::from));
                lengths.push(instants.len());
            }
        }
        let features = mlp.features(&stack(&rows.iter().collect::<Vec<_>>())?)?;
        let values = matrix(&features)?;
        let mut parts = Vec::new();
        let mut first = 0;
        for (length, labels) in lengths.into_iter().zip(labels) {
            parts.push(Part { features: with_ones(values.rows(first, length).into_owned()), labels });
            first += length;
        }
        let prior = prior(mlp)?;
        let mut of_features = DMatrix::zeros(values.nrows(), values.ncols());
        let mut of_prior = DMatrix::zeros(prior.nrows(), prior.ncols());
        let (mut loss, mut first) = (0.0, 0);
        let share = 1.0 / self.config.batch_size as f64;
        for pair in parts.chunks_exact(2) {
            let of_pair = gradients(&pair[0], &pair[1], &prior, self.config.penalty)?;
            loss += share * of_pair.loss;
            of_prior += share * of_pair.of_prior;
            for of_part in [of_pair.of_support, of_pair.of_query] {
                let of_part = share * of_part.columns(0, values.ncols());
                of_features.rows_mut(first, of_part.nrows()).copy_from(&of_part);
                first += of_part.nrows();
            }
        }
        let tensor = |gradient: DMatrix<f64>| stack(&[&gradient.map(|value| value as f32)]);
        let units = values.ncols();
        let of_bias = tensor(of_prior.rows(units, 1).into())?;
        let of_weight = tensor(of_prior.rows(0, units).transpose())?;
        let head = mlp.head();
        let mut surrogate =
            ((features * tensor(of_features)?)?.sum_all()? + (head.weight() * of_weight)?.sum_all()?)?;
        if let Some(bias) = head.bias() {
            surrogate = (surrogate + (bias * of_bias.squeeze(0)?)?.sum_all()?)?;
        }
        Ok((loss, surrogate))
    }

    fn validate(&self, mlp: &Mlp) -> Result<f64> {
        let mut sum = 0.0;
        for episode in &self.held_out {
            sum += unexplained(mlp, episode, self.config)?;
        }
        Ok(sum / self.held_out.len() as f64)
    }
}

impl ControllerModel {
    /// A network as it is before training: random features.
    pub fn untrained(inputs: usize, hidden: &[usize], outputs: usize, seed: u64) -> Result<Self> {
        let network = MlpConfig { inputs, hidden: hidden.to_vec(), outputs };
        Ok(Self { tensors: snapshot(&network.initial_variables(seed, DType::F32)?)?, network })
    }

    /// Share of the labels' mean square on the rest of `episode` that is left by a head solved on its first
    /// `config.support` seconds, about the model's own: 1 is no network at all. Joints
    /// count by their effort limits.
    pub fn unexplained(&self, episode: &Labelled, config: &ControllerTrainingConfig) -> Result<f64> {
        unexplained(&Mlp::new(&self.network, var_builder(&self.tensors))?, episode, config)
    }

    /// Card and tensors of a file that the controller of `robot` loads; `dt` [s] is that of the episodes.
    pub fn to_checkpoint(&self, robot: &Robot, dt: f64) -> Result<(Card, Tensors)> {
        let mut tensors = self.tensors.clone();
        let scale: Vec<f32> = robot.output_scale().iter().map(|&scale| scale as f32).collect();
        tensors.insert("output_scale".into(), Tensor::new(scale, &Device::Cpu)?);
        Ok((Card::new(ModelKind::Controller, robot, dt, &self.network)?, tensors))
    }
}

/// See [`ControllerModel::unexplained`].
fn unexplained(mlp: &Mlp, episode: &Labelled, config: &ControllerTrainingConfig) -> Result<f64> {
    let support = support_of(episode, config.support);
    let first = part(mlp, episode, &(0..support).collect::<Vec<_>>())?;
    let rest = support + 2 * episode.reach..episode.instants();
    let stride = rest.len().div_ceil(4 * INSTANTS).max(1);
    let rest = part(mlp, episode, &rest.step_by(stride).collect::<Vec<_>>())?;
    let left = Head::solve(&first, &prior(mlp)?, config.penalty)?.residual(&rest);
    Ok(left.norm_squared() / rest.labels.norm_squared().max(f64::MIN_POSITIVE))
}

/// The output layer as a prior head, [feature + 1, output].
fn prior(mlp: &Mlp) -> Result<DMatrix<f64>> {
    let head = mlp.head();
    let weight = matrix(head.weight())?.transpose();
    let mut prior = weight.clone().insert_row(weight.nrows(), 0.0);
    if let Some(bias) = head.bias() {
        prior.set_row(weight.nrows(), &matrix(&bias.unsqueeze(0)?)?.row(0));
    }
    Ok(prior)
}

fn part(mlp: &Mlp, episode: &Labelled, instants: &[usize]) -> Result<Part> {
    let inputs = stack(&[&episode.features.select_rows(instants)])?;
    let labels = episode.labels.select_rows(instants).map(f64::from);
    Ok(Part { features: with_ones(matrix(&mlp.features(&inputs)?)?), labels })
}

/// Instants in `support` [s].
fn support_of(episode: &Labelled, support: f64) -> usize {
    ((support / episode.dt).round() as usize).max(1)
}

/// Whether `name` is of layer `layer`, the output layer.
fn is_head(name: &str, layer: usize) -> bool {
    name.starts_with(&format!("layers.{layer}."))
}

/// Root mean square of each joint's labels.
fn label_scale(episodes: &[Labelled]) -> Vec<f64> {
    let joints = episodes.first().map_or(0, |episode| episode.labels.ncols());
    let count: usize = episodes.iter().map(Labelled::instants).sum();
    let square = |joint: usize| -> f64 {
        episodes.iter().map(|episode| f64::from(episode.labels.column(joint).norm_squared())).sum()
    };
    (0..joints).map(|joint| (square(joint) / count.max(1) as f64).sqrt().max(1e-9)).collect()
}

fn scaled(labels: &DMatrix<f32>, scale: &[f64]) -> DMatrix<f32> {
    labels.map_with_location(|_, joint, label| label / scale[joint] as f32)
}

/// Multiplies each output of layer `layer` by its `scale`.
fn scale_head(tensors: &mut Tensors, layer: usize, scale: &[f64]) -> Result<()> {
    let scale: Vec<f32> = scale.iter().map(|scale| *scale as f32).collect();
    let scale = Tensor::new(scale, &Device::Cpu)?;
    for (name, tensor) in tensors.iter_mut().filter(|(name, _)| is_head(name, layer)) {
        *tensor = match name.ends_with("weight") {
            true => tensor.broadcast_mul(&scale.unsqueeze(1)?)?,
            false => (&*tensor * &scale)?,
        };
    }
    Ok(())
}

/// Tables one below the other, as a tensor [row, column].
fn stack(tables: &[&DMatrix<f32>]) -> Result<Tensor> {
    let columns = tables.first().map_or(0, |table| table.ncols());
    let rows: usize = tables.iter().map(|table| table.nrows()).sum();
    let mut values: Vec<f32> = Vec::with_capacity(rows * columns);
    for table in tables {
        values.extend(table.transpose().iter());
    }
    Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
}

fn matrix(tensor: &Tensor) -> Result<DMatrix<f64>> {
    let (rows, columns) = tensor.dims2()?;
    let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
    Ok(DMatrix::from_row_iterator(rows, columns, values.into_iter().map(f64::from)))
}

fn with_ones(features: DMatrix<f64>) -> DMatrix<f64> {
    let columns = features.ncols();
    features.insert_column(columns, 1.0)
}

#[cfg(test)]
mod tests;
