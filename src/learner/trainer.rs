//! Trains the residual network and decides when its weights may be sent.

use crate::controller::features::FEATURES_PER_JOINT;
use crate::error::{Error, Result};
use crate::learner::labeller::{Examples, Labeller};
use crate::learner::replay::{Example, Replay};
use crate::learner::sample::Sample;
use crate::nn::checkpoint::{Card, JointRange, ModelKind, to_bytes};
use crate::nn::mlp::{Mlp, MlpConfig};
use crate::nn::variables::{gradient_norm, snapshot};
use crate::robot::Robot;
use crate::state::Stamp;
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which error is propagated back; see [`crate::learner::Labeller`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Applied effort as the label of the achieved motion.
    #[default]
    InverseModel,
    /// Feedback effort as the output error at the reference.
    TrackingError,
    /// Half of each batch by either rule.
    Composite,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnerConfig {
    pub rule: Rule,
    /// Units of the hidden layers.
    pub hidden: Vec<usize>,
    pub learning_rate: f64,
    pub batch_size: usize,
    /// Training steps a second, at most.
    pub steps_per_second: f64,
    /// Weights sent a second, at most.
    pub updates_per_second: f64,
    /// How much of the past is kept [s], and the mean age of what is trained on [s].
    pub memory: f64,
    pub mean_age: f64,
    /// Largest norm of a gradient; longer ones are scaled down.
    pub gradient_norm: f64,
    /// Largest change of the output that one update may bring, rms over recent motions, as a share of the
    /// output's scale (a tenth of the joint's effort limit).
    pub output_change: f64,
    pub seed: u64,
}

impl Default for LearnerConfig {
    fn default() -> Self {
        Self {
            rule: Rule::default(),
            hidden: vec![128, 128],
            learning_rate: 2e-3,
            batch_size: 64,
            steps_per_second: 200.0,
            updates_per_second: 5.0,
            memory: 4.0,
            mean_age: 1.0,
            gradient_norm: 1.0,
            output_change: 0.5,
            seed: 1,
        }
    }
}

impl LearnerConfig {
    /// Checks ranges; the error names the key, what was found and what is expected.
    pub fn validate(&self) -> Result<()> {
        let positive = [
            ("learning_rate", self.learning_rate),
            ("steps_per_second", self.steps_per_second),
            ("updates_per_second", self.updates_per_second),
            ("memory", self.memory),
            ("mean_age", self.mean_age),
            ("gradient_norm", self.gradient_norm),
            ("output_change", self.output_change),
            ("batch_size", self.batch_size as f64),
        ];
        for (key, value) in positive {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::mismatch(key, value, "a number above 0"));
            }
        }
        match self.hidden.iter().find(|units| !(1..=LARGEST_LAYER).contains(*units)) {
            Some(units) => {
                Err(Error::mismatch("hidden", units, format!("layers of 1 to {LARGEST_LAYER} units")))
            }
            None => Ok(()),
        }
    }
}

/// More units than this do not fit a control loop.
const LARGEST_LAYER: usize = 1024;

/// Weights to be sent: safetensors with their card.
#[derive(Clone, Debug)]
pub struct Weights {
    pub card: Card,
    pub bytes: Vec<u8>,
}

/// Where the learner stands, for reporting. Losses are mean squares in units of the output's scale.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    pub steps: u64,
    pub examples: usize,
    pub training_loss: f64,
    /// On examples before they were trained on: of the network, and of no network at all.
    pub unseen_loss: f64,
    pub baseline_loss: f64,
}

/// Examples that must have been seen before the first step: half a second at 500 Hz.
const WARM_UP: usize = 250;
/// Recent motions on which the change of the output is measured.
const PROBES: usize = 64;
/// A network must explain unseen examples at least this much better than zero does.
const GATE: f64 = 0.9;
/// Assumed rate of the samples [Hz]; only turns seconds of memory into numbers of examples.
const SAMPLE_RATE: f64 = 500.0;

pub struct Learner {
    config: LearnerConfig,
    robot: Robot,
    /// What was seen so far, for the card.
    ranges: Vec<JointRange>,
    /// Time between the last two samples [s], for the card.
    dt: f64,
    last_stamp: Option<Stamp>,
    output_scale: Vec<f64>,
    network_config: MlpConfig,
    variables: VarMap,
    network: Mlp,
    optimizer: AdamW,
    labeller: Labeller,
    inverse_model: Replay,
    tracking_error: Replay,
    /// Examples not yet trained on: they score the network first.
    unseen: Vec<Example>,
    /// Weights last sent.
    sent: BTreeMap<String, Tensor>,
    revision: u64,
    rng: Pcg64Mcg,
    progress: Progress,
}

impl Learner {
    pub fn new(config: LearnerConfig, robot: &Robot) -> Result<Self> {
        config.validate()?;
        let joints = robot.degrees_of_freedom();
        let network_config =
            MlpConfig { inputs: FEATURES_PER_JOINT * joints, hidden: config.hidden.clone(), outputs: joints };
        let variables = VarMap::new();
        let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
        let network = Mlp::new(&network_config, vb)?;
        let mut rng = Pcg64Mcg::seed_from_u64(config.seed);
        initialise(&variables, &network_config, &mut rng)?;
        let parameters = ParamsAdamW { lr: config.learning_rate, weight_decay: 0.0, ..Default::default() };
        let optimizer = AdamW::new(sorted_variables(&variables), parameters)?;
        let capacity = (config.memory * SAMPLE_RATE) as usize;
        let replay = Replay::new(capacity, config.mean_age * SAMPLE_RATE);
        let sent = snapshot(&named_variables(&variables))?;
        let output_scale = robot.effort_scale();
        Ok(Self {
            labeller: Labeller::new(output_scale.clone()),
            config,
            robot: robot.clone(),
            ranges: Vec::new(),
            dt: 0.0,
            last_stamp: None,
            output_scale,
            network_config,
            variables,
            network,
            optimizer,
            inverse_model: replay.clone(),
            tracking_error: replay,
            unseen: Vec::new(),
            sent,
            revision: 0,
            rng,
            progress: Progress::default(),
        })
    }

    pub fn config(&self) -> &LearnerConfig {
        &self.config
    }

    pub fn progress(&self) -> Progress {
        Progress { examples: self.inverse_model.len(), ..self.progress }
    }

    /// Takes a sample; cheap. Samples that do not fit the robot or are not finite are ignored.
    pub fn observe(&mut self, sample: Sample) {
        if !sample.has_size(self.robot.degrees_of_freedom()) || !sample.is_finite() {
            return;
        }
        JointRange::extend(&mut self.ranges, &sample.position, &sample.velocity);
        let elapsed = self.last_stamp.map_or(0.0, |last| sample.stamp.since(last));
        if elapsed > 0.0 {
            self.dt = elapsed;
        }
        self.last_stamp = Some(sample.stamp);
        // A number may be finite and yet too large for the network's f32.
        if let Some(examples) = self.labeller.push(sample).filter(Examples::are_finite) {
            self.unseen.push(examples.inverse_model.clone());
            self.inverse_model.push(examples.inverse_model);
            self.tracking_error.push(examples.tracking_error);
        }
    }

    /// One step of gradient descent on a batch of the recent past. Does nothing until enough was seen.
    pub fn step(&mut self) -> Result<()> {
        if self.inverse_model.len() < WARM_UP {
            return Ok(());
        }
        self.score_unseen()?;
        let (features, labels) = self.draw_batch()?;
        let loss = mean_squared_error(&self.network.forward(&features)?, &labels)?;
        let mut gradients = loss.backward()?;
        if !clip_gradients(&self.variables, &mut gradients, self.config.gradient_norm)? {
            return Ok(());
        }
        self.optimizer.step(&gradients)?;
        self.progress.steps += 1;
        self.progress.training_loss = smooth(self.progress.training_loss, loss.to_scalar::<f32>()?.into());
        Ok(())
    }

    /// Weights worth sending, if any: finite, better than no network on unseen examples, and not further from those
    /// last sent than the trust region allows; a longer way is gone in part.
    pub fn update(&mut self) -> Result<Option<Weights>> {
        let Progress { unseen_loss, baseline_loss, steps, .. } = self.progress;
        if steps == 0 || !unseen_loss.is_finite() || unseen_loss > GATE * baseline_loss {
            return Ok(None);
        }
        let candidate = self.step_within_trust_region()?;
        let parent = (self.revision > 0).then_some(self.revision);
        self.revision += 1;
        let mut tensors = candidate.clone();
        let scale: Vec<f32> = self.output_scale.iter().map(|&scale| scale as f32).collect();
        tensors.insert("output_scale".into(), Tensor::new(scale, &Device::Cpu)?);
        let card = self.card(parent)?;
        let bytes = to_bytes(&card, &tensors)?;
        self.sent = candidate;
        Ok(Some(Weights { card, bytes }))
    }

    fn card(&self, parent: Option<u64>) -> Result<Card> {
        let Progress { unseen_loss, baseline_loss, steps, .. } = self.progress;
        let evaluation =
            [("unseen_loss", unseen_loss), ("baseline_loss", baseline_loss), ("steps", steps as f64)];
        Ok(Card {
            revision: self.revision,
            parent,
            seed: self.config.seed,
            ranges: self.ranges.clone(),
            evaluation: evaluation.map(|(name, value)| (name.to_owned(), value)).into(),
            note: format!("learned online by the rule {:?}", self.config.rule),
            ..Card::new(ModelKind::Controller, &self.robot, self.dt, &self.network_config)?
        })
    }

    fn score_unseen(&mut self) -> Result<()> {
        if self.unseen.is_empty() {
            return Ok(());
        }
        let (features, labels) = stack(&self.unseen.iter().collect::<Vec<_>>())?;
        let unseen = mean_squared_error(&self.network.forward(&features)?, &labels)?.to_scalar::<f32>()?;
        let baseline = labels.sqr()?.mean_all()?.to_scalar::<f32>()?;
        self.progress.unseen_loss = smooth(self.progress.unseen_loss, unseen.into());
        self.progress.baseline_loss = smooth(self.progress.baseline_loss, baseline.into());
        self.unseen.clear();
        Ok(())
    }

    fn draw_batch(&mut self) -> Result<(Tensor, Tensor)> {
        let size = self.config.batch_size;
        let by_inverse_model = match self.config.rule {
            Rule::InverseModel => size,
            Rule::TrackingError => 0,
            Rule::Composite => size / 2,
        };
        let Self { inverse_model, tracking_error, rng, .. } = self;
        let batch: Vec<&Example> = (0..size)
            .filter_map(
                |k| if k < by_inverse_model { inverse_model.draw(rng) } else { tracking_error.draw(rng) },
            )
            .collect();
        stack(&batch)
    }

    /// The present weights, or a point between those last sent and the present ones at which the output over recent
    /// motions has changed by no more than the trust region's radius.
    fn step_within_trust_region(&self) -> Result<BTreeMap<String, Tensor>> {
        let probes: Vec<&Example> = self.tracking_error.newest(WARM_UP).step_by(WARM_UP / PROBES).collect();
        let (features, _) = stack(&probes)?;
        let before = self.outputs(&self.sent, &features)?;
        let goal = snapshot(&named_variables(&self.variables))?;
        let mut share = 1.0;
        loop {
            let candidate = interpolate(&self.sent, &goal, share)?;
            let change = mean_squared_error(&self.outputs(&candidate, &features)?, &before)?;
            let change = f64::from(change.to_scalar::<f32>()?).sqrt();
            if change <= self.config.output_change || share < 1e-3 {
                return Ok(candidate);
            }
            // The output is nearly linear in a short step; a margin makes one or two rounds enough.
            share *= 0.9 * self.config.output_change / change;
        }
    }

    fn outputs(&self, weights: &BTreeMap<String, Tensor>, features: &Tensor) -> Result<Tensor> {
        let tensors = weights.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        Mlp::new(&self.network_config, vb)?.forward(features)
    }
}

/// Weights uniform in ±1/√inputs, the output layer zero: the untrained residual is zero. Drawn in order of
/// the variables' names, so that a seed always means the same network.
fn initialise(variables: &VarMap, config: &MlpConfig, rng: &mut Pcg64Mcg) -> Result<()> {
    use rand::RngExt;
    let last = format!("layers.{}.", config.hidden.len());
    for (name, variable) in named_variables(variables) {
        let shape = variable.shape().clone();
        let bound = match (name.starts_with(&last), shape.dims()) {
            (false, [_, inputs]) => 1.0 / (*inputs as f32).sqrt(),
            _ => 0.0,
        };
        let values: Vec<f32> =
            (0..shape.elem_count()).map(|_| bound * (2.0 * rng.random::<f32>() - 1.0)).collect();
        variable.set(&Tensor::from_vec(values, shape, &Device::Cpu)?)?;
    }
    Ok(())
}

fn named_variables(variables: &VarMap) -> BTreeMap<String, candle_core::Var> {
    let variables = variables.data().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    variables.iter().map(|(name, variable)| (name.clone(), variable.clone())).collect()
}

fn sorted_variables(variables: &VarMap) -> Vec<candle_core::Var> {
    named_variables(variables).into_values().collect()
}

fn interpolate(
    from: &BTreeMap<String, Tensor>,
    to: &BTreeMap<String, Tensor>,
    share: f64,
) -> Result<BTreeMap<String, Tensor>> {
    from.iter()
        .zip(to.values())
        .map(|((name, from), to)| Ok((name.clone(), (from + ((to - from)? * share)?)?)))
        .collect()
}

/// `[batch, feature]` and `[batch, joint]`.
fn stack(examples: &[&Example]) -> Result<(Tensor, Tensor)> {
    let rows = examples.len();
    let features: Vec<f32> = examples.iter().flat_map(|example| example.features.iter().copied()).collect();
    let labels: Vec<f32> = examples.iter().flat_map(|example| example.label.iter().copied()).collect();
    let (inputs, outputs) = (features.len() / rows.max(1), labels.len() / rows.max(1));
    Ok((
        Tensor::from_vec(features, (rows, inputs), &Device::Cpu)?,
        Tensor::from_vec(labels, (rows, outputs), &Device::Cpu)?,
    ))
}

fn mean_squared_error(outputs: &Tensor, labels: &Tensor) -> Result<Tensor> {
    Ok((outputs - labels)?.sqr()?.mean_all()?)
}

/// Scales all gradients by one factor so that their common norm is at most `largest`; false when they have overflowed
/// and are of no use.
fn clip_gradients(variables: &VarMap, gradients: &mut GradStore, largest: f64) -> Result<bool> {
    let variables = sorted_variables(variables);
    let norm = gradient_norm(&variables, gradients)?;
    if norm <= largest || !norm.is_finite() {
        return Ok(norm.is_finite());
    }
    for variable in &variables {
        if let Some(gradient) = gradients.remove(variable) {
            gradients.insert(variable, (gradient * (largest / norm))?);
        }
    }
    Ok(true)
}

/// Exponential average over about twenty values; starts anew after an overflow.
fn smooth(average: f64, value: f64) -> f64 {
    if average == 0.0 || !average.is_finite() { value } else { average + 0.05 * (value - average) }
}

#[cfg(test)]
mod tests;
