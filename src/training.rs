//! Trains the predictor offline: episodes in, a [`PredictorModel`] and a [`Report`] out. The same seed and data
//! give the same weights, unless a limit of time cuts the training short.

pub mod controller;
pub mod descent;
mod linear;
mod optimizer;
pub mod regression;
mod resume;
mod saved;
#[cfg(feature = "sim")]
pub mod simulated;
mod sequence;
mod validation;

use crate::dataset::Episode;
use crate::error::{Error, Result};
use crate::nn::checkpoint::Tensors;
use crate::nn::lstm::{Lstm, LstmState};
use crate::nn::normalizer::Normalizer;
use crate::nn::variables::snapshot;
use crate::predictor::lstm::LOG_VARIANCE;
use crate::predictor::{PredictorConfig, PredictorModel};
use candle_core::{DType, Device, Tensor, Var};
use optimizer::ScheduledAdamW;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use sequence::{Batches, Sequence, Streams};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use validation::HeldOut;

/// Rows of a batch: stretches times streams of the network. Few rows and many steps learned most in a given time.
const ROWS: usize = 32;
/// Steps back in time that gradients go.
const CHUNK: usize = 50;
/// Chunks that a stream runs on with its state before new streams are drawn.
const CHUNKS: usize = 8;
/// The loss is taken at every so many instants; neighbours differ little and the head is half the work.
const LOSS_STRIDE: usize = 5;
/// Steps from one validation to the next.
const VALIDATE_EVERY: usize = 50;
const WEIGHT_DECAY: f64 = 1e-4;
const MAX_GRADIENT_NORM: f64 = 1.0;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    pub predictor: PredictorConfig,
    pub seed: u64,
    /// Steps of the optimizer.
    pub steps: usize,
    /// Ends the training after so many seconds, if before `steps`; the schedule of step sizes follows.
    pub seconds: Option<f64>,
    pub learning_rate: f64,
    /// Share of each episode, its last part, that is held out to choose the best weights.
    pub validation: f64,
    /// Validations without improvement after which the training ends.
    pub patience: usize,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            predictor: PredictorConfig::default(),
            seed: 0,
            steps: 1600,
            seconds: None,
            learning_rate: 1e-2,
            validation: 0.15,
            patience: 16,
        }
    }
}

impl TrainingConfig {
    pub fn validate(&self) -> Result<()> {
        self.predictor.validate()?;
        let checks = [
            ("training steps", self.steps as f64, self.steps > 0, "above zero"),
            ("learning rate", self.learning_rate, self.learning_rate > 0.0, "above zero"),
            ("validation share", self.validation, (0.01..=0.5).contains(&self.validation), "0.01 to 0.5"),
            (
                "training seconds",
                self.seconds.unwrap_or(1.0),
                self.seconds.is_none_or(|s| s > 0.0),
                "above zero",
            ),
        ];
        match checks.into_iter().find(|(_, value, is_right, _)| !is_right || !value.is_finite()) {
            Some((what, value, _, expected)) => Err(Error::mismatch(what, value, expected)),
            None => Ok(()),
        }
    }
}

/// How far the training is; handed out at each validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Progress {
    pub step: usize,
    /// Mean loss since the last validation.
    pub loss: f64,
    /// Error on what is held out. Of a predictor the root mean square in units of the spread: 1 is about constant
    /// velocity; of a controller the share of the labels' mean square that is left: 1 is no network.
    pub validation: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub progress: Vec<Progress>,
    /// The step whose weights were kept.
    pub best_step: usize,
    pub best_validation: f64,
    /// Wall-clock time, s.
    pub seconds: f64,
}

/// Trains on episodes of one dt of a robot with `joints`. `on_progress` may end the training early by `Break`; the
/// best weights so far are kept.
pub fn train_predictor(
    config: &TrainingConfig,
    joints: &[String],
    episodes: &[Episode],
    mut on_progress: impl FnMut(&Progress) -> ControlFlow<()>,
) -> Result<(PredictorModel, Report)> {
    resume_predictor(config, joints, episodes, None, |progress, _| Ok(on_progress(progress)))
}

/// As [`train_predictor`], from where a training with the same settings and data stood when it gave out `saved`; the
/// result is the same to the bit as that of one that was never interrupted. `on_progress` is handed the training as
/// it stands, to be saved.
pub fn resume_predictor(
    config: &TrainingConfig,
    joints: &[String],
    episodes: &[Episode],
    saved: Option<&[u8]>,
    mut on_progress: impl FnMut(&Progress, &Standing) -> Result<ControlFlow<()>>,
) -> Result<(PredictorModel, Report)> {
    config.validate()?;
    let start = Instant::now();
    let (mut model, parts) = prepare(config, joints, episodes)?;
    let spread = model.spread.clone();
    let batches = Batches::new(&parts.training, &model, &spread)?;
    let mut run = Run::new(config, joints.len(), batches.rows())?;
    let mut report = Report { progress: vec![], best_step: 0, best_validation: f64::INFINITY, seconds: 0.0 };
    let mut best = model.network.clone();
    let data = resume::fingerprint(joints, episodes);
    if let Some(saved) = saved {
        resume::restore(saved, &data, &mut run, &mut best, &mut report)?;
    }
    while !is_stale(&report, config.patience)
        && let Some(progress) = run.advance(&batches, start)?
    {
        model.network = snapshot(&run.variables)?;
        let validation = validation::score(&model, &parts.held_out)?.root_mean_square();
        let progress = Progress { validation, ..progress };
        report.progress.push(progress);
        if validation < report.best_validation {
            (report.best_step, report.best_validation) = (progress.step, validation);
            best.clone_from(&model.network);
        }
        let standing = Standing { run: &run, best: &best, report: &report, data: &data };
        if on_progress(&progress, &standing)?.is_break() {
            break;
        }
    }
    model.network = best;
    validation::make_honest(&mut model, &parts.held_out)?;
    linear::fit(&mut model, &parts.training, &parts.held_out, &parts.all)?;
    report.seconds = start.elapsed().as_secs_f64();
    Ok((model, report))
}

/// Whether so many validations have brought nothing better.
fn is_stale(report: &Report, patience: usize) -> bool {
    report.progress.iter().rev().take_while(|past| past.step > report.best_step).count() >= patience
}

/// A training as it stands.
pub struct Standing<'a> {
    run: &'a Run<'a>,
    best: &'a Tensors,
    report: &'a Report,
    /// Of the episodes.
    data: &'a str,
}

impl Standing<'_> {
    /// All that [`resume_predictor`] needs to go on.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        resume::to_bytes(self)
    }
}

/// The episodes split in time.
struct Parts {
    training: Vec<Sequence>,
    held_out: Vec<HeldOut>,
    all: Vec<Sequence>,
}

/// Splits off the last part of each episode, fits the scales to the rest.
fn prepare(
    config: &TrainingConfig,
    joints: &[String],
    episodes: &[Episode],
) -> Result<(PredictorModel, Parts)> {
    let dt = check(joints, episodes)?;
    let (steps, features) = (config.predictor.steps, config.predictor.features());
    let mut model =
        PredictorModel::untrained(joints, dt, config.predictor.clone(), &vec![0.0; joints.len()])?;
    let (mut sequences, mut held_out, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for episode in episodes {
        let split = first_held_out(episode.states.len(), config.validation);
        let training = episode.part(0..split);
        sequences.push(Sequence::new(&training, &config.predictor));
        all.push(Sequence::new(episode, &config.predictor));
        if episode.states.len() > split + steps {
            held_out.push(HeldOut::new(episode, &model, split));
        }
    }
    sequences.retain(|sequence| sequence.usable(steps) > 0);
    if sequences.is_empty() || held_out.is_empty() {
        let longest = episodes.iter().map(|episode| episode.states.len()).max().unwrap_or(0) as f64 * dt;
        let needed = steps as f64 * dt / config.validation.min(1.0 - config.validation);
        let expected = format!("more than {needed:.1} s for a horizon of {:.2} s", steps as f64 * dt);
        return Err(Error::mismatch("longest episode", format!("{longest:.1} s"), expected));
    }
    model.features = sequence::fit_normalizer(&sequences, joints.len(), features)?;
    model.spread = sequence::fit_spread(&sequences, joints.len(), steps);
    // as a checkpoint keeps it, so that a model that was read again is the same to the bit
    model.features = Normalizer::from_tensor(&model.features.to_tensor()?, model.features.features())?;
    model.spread.iter_mut().flatten().for_each(|spread| *spread = f64::from(*spread as f32));
    Ok((model, Parts { training: sequences, held_out, all }))
}

/// The most steps ahead that can be learned from `episodes` and be scored on the last part of each, `validation` of it.
pub fn longest_horizon(validation: f64, episodes: &[Episode]) -> usize {
    let lengths = || episodes.iter().map(|episode| episode.states.len());
    let trained = lengths().map(|length| first_held_out(length, validation)).max().unwrap_or(0);
    let held_out = lengths().map(|length| length - first_held_out(length, validation)).max().unwrap_or(0);
    trained.min(held_out).saturating_sub(1)
}

/// Where the part of an episode begins that the weights are chosen by.
fn first_held_out(length: usize, validation: f64) -> usize {
    (length as f64 * (1.0 - validation)) as usize
}

/// The one dt of all episodes; their states must be those of `joints` and finite.
fn check(joints: &[String], episodes: &[Episode]) -> Result<f64> {
    let Some(first) = episodes.first().filter(|_| !joints.is_empty()) else {
        return Err(Error::mismatch("data to train on", "no joints or no episodes", "at least one of each"));
    };
    for episode in episodes {
        if (episode.dt - first.dt).abs() > 1e-9 * first.dt {
            return Err(Error::mismatch("dt of an episode [s]", episode.dt, first.dt));
        }
        for state in &episode.states {
            if state.position.len() != joints.len() || state.velocity.len() != joints.len() {
                return Err(Error::mismatch("joints of an episode", state.position.len(), joints.len()));
            }
            if let Some(value) = state.position.iter().chain(&state.velocity).find(|value| !value.is_finite())
            {
                return Err(Error::NotFinite { what: "a state of an episode".into(), value: *value });
            }
        }
    }
    Ok(first.dt)
}

/// The training as it stands: parameters, optimizer, the streams under way.
struct Run<'a> {
    config: &'a TrainingConfig,
    variables: BTreeMap<String, Var>,
    optimizer: ScheduledAdamW,
    random: Pcg64,
    coordinates: usize,
    /// Streams of the network in each stretch.
    rows: usize,
    step: usize,
    /// Streams, their state, and how many of their instants are done.
    streams: Option<(Streams, LstmState, usize)>,
}

impl<'a> Run<'a> {
    fn new(config: &'a TrainingConfig, coordinates: usize, rows: usize) -> Result<Self> {
        let variables = config.predictor.lstm(coordinates).initial_variables(config.seed, DType::F32)?;
        let all = variables.values().cloned().collect();
        Ok(Self {
            config,
            optimizer: ScheduledAdamW::new(all, config.learning_rate, WEIGHT_DECAY, MAX_GRADIENT_NORM),
            variables,
            random: Pcg64::seed_from_u64(config.seed ^ 0x5eed),
            coordinates,
            rows,
            step: 0,
            streams: None,
        })
    }

    /// Trains on to the next validation; none when steps or time are used up.
    fn advance(&mut self, batches: &Batches, start: Instant) -> Result<Option<Progress>> {
        let (mut sum, mut count) = (0.0, 0);
        while count < VALIDATE_EVERY {
            let done = self.done(start.elapsed());
            if done >= 1.0 {
                break;
            }
            sum += self.update(batches, done)?;
            self.step += 1;
            count += 1;
        }
        let loss = sum / f64::max(f64::from(count as u32), 1.0);
        Ok((count > 0).then_some(Progress { step: self.step, loss, validation: f64::NAN }))
    }

    /// Share of the training that is done: of its steps or of its time, whichever is more.
    fn done(&self, elapsed: Duration) -> f64 {
        let of_steps = self.step as f64 / self.config.steps as f64;
        self.config.seconds.map_or(of_steps, |seconds| of_steps.max(elapsed.as_secs_f64() / seconds))
    }

    /// One step of the optimizer on the next chunk of the streams (truncated backpropagation through time).
    fn update(&mut self, batches: &Batches, done: f64) -> Result<f64> {
        let lstm = Lstm::over(self.config.predictor.lstm(self.coordinates), &self.variables, DType::F32)?;
        let (streams, state, from) = match self.streams.take() {
            Some((streams, state, from)) if from < streams.time => (streams, state, from),
            _ => {
                let count = (ROWS / self.rows).max(1);
                let streams = batches.draw(count, CHUNK * CHUNKS, &mut self.random);
                (streams, lstm.zero_state(count * self.rows)?, 0)
            }
        };
        let to = (from + CHUNK).min(streams.time);
        let (hidden, state) = lstm.forward(&batches.inputs(&streams, from, to)?, &state)?;
        let stride = LOSS_STRIDE.min(to - from);
        let instants: Vec<usize> = (self.random.random_range(0..stride)..to - from).step_by(stride).collect();
        let chosen: Vec<u32> = instants.iter().map(|instant| *instant as u32).collect();
        let chosen = Tensor::new(chosen, &Device::Cpu)?;
        let outputs = lstm.read_out(&hidden.index_select(&chosen, 0)?)?.transpose(0, 1)?;
        let instants: Vec<usize> = instants.iter().map(|instant| from + instant).collect();
        let loss = negative_log_likelihood(&outputs, &batches.targets(&streams, &instants)?)?;
        self.optimizer.step(&loss, done)?;
        self.streams = Some((streams, state, to));
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }
}

/// Mean over all of ½·(s + (y - m)²·exp(-s)), the Gaussian's up to a constant, with `outputs`
/// [row, instant, 2·step] = [m | s] and `targets` y [row, instant, step].
fn negative_log_likelihood(outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let (_, _, steps) = targets.dims3()?;
    let mean = outputs.narrow(2, 0, steps)?;
    let log_variance = outputs.narrow(2, steps, steps)?.clamp(LOG_VARIANCE.0, LOG_VARIANCE.1)?;
    let squares = ((targets - mean)?.sqr()? * log_variance.neg()?.exp()?)?;
    Ok(((log_variance + squares)?.mean_all()? * 0.5)?)
}

#[cfg(test)]
mod tests;
