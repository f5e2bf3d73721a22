//! Trains the residual network and decides when its weights may be sent.

use crate::controller::features::FEATURES_PER_JOINT;
use crate::error::{Error, Result};
use crate::learner::config::{LearnerConfig, Rule};
use crate::learner::delay::{DelayEstimate, DelayWatch};
use crate::learner::gate::{ChangeDetector, Gate, Part, Scores, part, stack};
use crate::learner::labeller::Labeller;
use crate::learner::network::{Network, interpolate};
use crate::learner::plant::{Plant, Recorder, Segment};
use crate::learner::replay::{Example, Replay};
use crate::learner::sample::Sample;
use crate::nn::checkpoint::{Card, JointRange, ModelKind, Tensors, to_bytes};
use crate::nn::loss::mean_squared_error;
use crate::nn::mlp::MlpConfig;
use crate::robot::Robot;
use crate::state::{Space, Stamp};
use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

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
    /// Of the newest candidate, the weights in use and no network, on what was held out.
    pub scores: Scores,
    /// How often the robot was found to have changed, and what was learned before was given up.
    pub changes: u64,
    /// From commands to their effect, as the last minutes of motion say; `None` while that cannot be told.
    pub delay: Option<DelayEstimate>,
}

/// Examples that must have been seen before the first step: half a second.
const WARM_UP: usize = 100;
/// Recent motions on which the change of the output is measured, and how many examples they are drawn from.
const PROBES: usize = 64;
const PROBED: usize = 256;
/// Segments a second of motion.
const SEGMENT_RATE: f64 = 20.0;
/// Time of motion for which the reservoir has room [s].
const RESERVOIR: f64 = 20.0;
/// Of the examples in which the reference rests, one in so many is learned from: they tell one thing again and again.
const RESTING: u64 = 25;
/// Reference velocities and accelerations below this are rest, in units of the features.
const REST: f32 = 1e-3;
/// Weights are averaged over this time [s].
const AVERAGED: f64 = 0.5;
/// Examples on which it is noticed that the robot has changed: a quarter of a second.
const NEWEST: usize = 64;
const SEGMENTS_PER_BATCH: usize = 16;
/// A step through the plant costs as much as so many others.
const DISTAL_EVERY: u64 = 2;
/// The plant is learned through when no more than this share of its motion is unforeseen.
const FORESEEN: f64 = 0.3;

pub struct Learner {
    config: LearnerConfig,
    robot: Robot,
    /// What was seen so far, for the card.
    ranges: Vec<JointRange>,
    output_scale: Vec<f64>,
    network: Network,
    plant: Plant,
    labeller: Labeller,
    recorder: Recorder,
    replay: Replay<Example>,
    segments: Replay<Segment>,
    gate: Gate,
    detector: ChangeDetector,
    delay_watch: DelayWatch,
    resting: u64,
    calls: u64,
    newest: Option<Stamp>,
    /// Weights last sent, and when.
    sent: Tensors,
    sent_at: Option<Stamp>,
    revision: u64,
    rng: Pcg64Mcg,
    progress: Progress,
}

impl Learner {
    pub fn new(config: LearnerConfig, robot: &Robot) -> Result<Self> {
        config.validate()?;
        let robot = robot.clone().commanded_by(config.command_interface);
        if robot.space == Space::PlanarBase && config.rule == Rule::Distal {
            let expected =
                "another one for a base: that rule looks at positions, and a base is learned at no place";
            return Err(Error::mismatch("rule", "distal", expected));
        }
        let joints = robot.degrees_of_freedom();
        let mlp =
            MlpConfig { inputs: FEATURES_PER_JOINT * joints, hidden: config.hidden.clone(), outputs: joints };
        let averaged = AVERAGED * config.steps_per_second;
        let network = Network::new(mlp, config.seed, config.learning_rate, config.gradient_norm, averaged)?;
        let output_scale = robot.output_scale();
        let labeller = Labeller::new(output_scale.clone(), config.command_delay, config.feedback_lag);
        let (examples, segments) = (sizes(&config, labeller.rate()), sizes(&config, SEGMENT_RATE));
        Ok(Self {
            labeller,
            recorder: Recorder::new(output_scale.clone()),
            plant: Plant::new(joints, config.seed)?,
            replay: Replay::new(examples.0, examples.1, examples.2),
            segments: Replay::new(segments.0, segments.1, segments.2),
            gate: Gate::new(config.rule),
            detector: ChangeDetector::default(),
            delay_watch: DelayWatch::default(),
            sent: network.average()?,
            sent_at: None,
            rng: Pcg64Mcg::seed_from_u64(config.seed),
            robot,
            ranges: Vec::new(),
            output_scale,
            network,
            config,
            resting: 0,
            calls: 0,
            newest: None,
            revision: 0,
            progress: Progress::default(),
        })
    }

    pub fn config(&self) -> &LearnerConfig {
        &self.config
    }

    pub fn progress(&self) -> Progress {
        Progress { examples: self.replay.len(), ..self.progress }
    }

    /// Takes a sample; cheap. Samples that do not fit the robot or are not finite are ignored.
    pub fn observe(&mut self, sample: Sample) {
        if !sample.has_size(self.robot.degrees_of_freedom()) || !sample.is_finite() {
            return;
        }
        JointRange::extend(&mut self.ranges, &sample.position, &sample.velocity);
        let gap = self.newest.is_none_or(|newest| !(0.0..0.05).contains(&sample.stamp.since(newest)));
        self.newest = Some(sample.stamp);
        if self.config.rule == Rule::Distal
            && let Some(segment) = self.recorder.push(&sample, gap)
        {
            self.segments.push(segment, &mut self.rng);
        }
        // the delay is found in positions, which samples of a base do not tell
        if self.robot.space == Space::Joints {
            self.delay_watch.observe(&sample);
        }
        let Some(example) = self.labeller.push(sample) else { return };
        if self.rests(&example) {
            self.resting += 1;
            if !self.resting.is_multiple_of(RESTING) {
                return;
            }
        }
        match part(example.stamp, self.labeller.span(), self.labeller.dt()) {
            Part::Training => {
                let (recent, mean_age, reservoir) = sizes(&self.config, self.labeller.rate());
                self.replay.resize(recent, mean_age, reservoir);
                self.replay.push(example, &mut self.rng);
            }
            Part::HeldOut => self.gate.push(example),
            Part::Neither => {}
        }
    }

    fn rests(&self, example: &Example) -> bool {
        let joints = self.robot.degrees_of_freedom();
        example.reference[joints..3 * joints].iter().all(|value| value.abs() < REST)
    }

    /// One step of gradient descent on a batch of the past. Does nothing until enough was seen.
    pub fn step(&mut self) -> Result<()> {
        if self.replay.len() < WARM_UP {
            return Ok(());
        }
        self.calls += 1;
        if self.config.rule == Rule::Distal && !self.calls.is_multiple_of(DISTAL_EVERY) {
            return Ok(());
        }
        let loss = match self.config.rule {
            Rule::Distal => match self.distal_loss()? {
                Some(loss) => loss,
                None => return Ok(()),
            },
            _ => self.label_loss()?,
        };
        if self.network.step(&loss)? {
            self.progress.steps += 1;
            let loss = f64::from(loss.to_scalar::<f32>()?);
            self.progress.training_loss = smooth(self.progress.training_loss, loss);
        }
        Ok(())
    }

    fn distal_loss(&mut self) -> Result<Option<Tensor>> {
        let Self { segments, rng, plant, network, config, .. } = self;
        let share = config.representative;
        let batch: Vec<&Segment> =
            (0..SEGMENTS_PER_BATCH).filter_map(|_| segments.draw(share, rng)).collect();
        if batch.len() < SEGMENTS_PER_BATCH {
            return Ok(None);
        }
        plant.train(&batch)?;
        if plant.unexplained > FORESEEN {
            return Ok(None);
        }
        Ok(Some(plant.tracking_loss(&batch, network)?))
    }

    /// Mean squared error of a batch with labels.
    fn label_loss(&mut self) -> Result<Tensor> {
        let size = self.config.batch_size;
        let by_hindsight = match self.config.rule {
            Rule::TrackingError => 0,
            Rule::Composite => size * 3 / 4,
            Rule::InverseModel | Rule::Distal => size,
        };
        let Self { replay, rng, config, .. } = self;
        let examples = (0..size).filter_map(|_| replay.draw(config.representative, rng)).enumerate();
        let (features, labels) = stack(examples.map(|(k, example)| match k < by_hindsight {
            true => (example.achieved.clone(), example.applied.clone()),
            false => (example.reference.clone(), lacking(example)),
        }))?;
        Ok(mean_squared_error(&self.network.forward(&features)?, &labels)?)
    }

    /// Weights worth sending, if any: better on what was held out than those last sent and than no network, and not
    /// further from those last sent than the trust region allows; a longer way is gone in part.
    pub fn update(&mut self) -> Result<Option<Weights>> {
        if self.progress.steps == 0 {
            return Ok(None);
        }
        self.notice_change()?;
        self.progress.delay = self.delay_watch.estimate().or(self.progress.delay);
        let candidate = self.step_within_trust_region()?;
        let Some(scores) = self.gate.score(&self.network, &candidate, &self.sent)? else { return Ok(None) };
        self.progress.scores = scores;
        if !scores.allow() {
            return Ok(None);
        }
        let parent = (self.revision > 0).then_some(self.revision);
        self.revision += 1;
        let mut tensors = candidate.clone();
        let scale: Vec<f32> = self.output_scale.iter().map(|&scale| scale as f32).collect();
        tensors.insert("output_scale".into(), Tensor::new(scale, &Device::Cpu)?);
        let card = self.card(parent)?;
        let bytes = to_bytes(&card, &tensors)?;
        self.sent = candidate;
        self.sent_at = self.newest;
        Ok(Some(Weights { card, bytes }))
    }

    /// Gives up what was seen before the robot changed.
    fn notice_change(&mut self) -> Result<()> {
        if self.revision == 0 || self.replay.len() < NEWEST {
            return Ok(());
        }
        let newest = self.replay.newest(NEWEST).map(|example| (&example.achieved, &example.applied));
        let (features, labels) = stack(newest)?;
        let loss = mean_squared_error(&self.network.output_with(&self.sent, &features)?, &labels)?;
        if self.detector.observe(loss.to_scalar::<f32>()?.into()) {
            self.replay.forget_all_but(2 * NEWEST);
            self.segments.forget_all_but(2);
            self.gate.clear();
            self.progress.changes += 1;
        }
        Ok(())
    }

    fn card(&self, parent: Option<u64>) -> Result<Card> {
        let Progress { scores, steps, .. } = self.progress;
        let evaluation = [
            ("held_out_loss", scores.candidate),
            ("held_out_loss_of_parent", scores.live),
            ("held_out_loss_of_baseline", scores.none),
            ("steps", steps as f64),
        ];
        Ok(Card {
            revision: self.revision,
            parent,
            seed: self.config.seed,
            ranges: self.ranges.clone(),
            evaluation: evaluation.map(|(name, value)| (name.to_owned(), value)).into(),
            note: format!("learned online by the rule {:?}", self.config.rule),
            ..Card::new(ModelKind::Controller, &self.robot, self.labeller.dt(), &self.network.config)?
        })
    }

    /// The present weights, or a point between those last sent and the present ones at which the output over recent
    /// motions has changed by no more than the time since then allows.
    fn step_within_trust_region(&self) -> Result<Tensors> {
        let elapsed = match (self.newest, self.sent_at) {
            (Some(newest), Some(sent)) => newest.since(sent).clamp(0.0, 1.0),
            _ => 1.0 / self.config.updates_per_second,
        };
        let allowed = self.config.output_change * elapsed;
        let probes = self.replay.newest(PROBED).step_by(PROBED / PROBES);
        let (features, _) = stack(probes.map(|probe| (&probe.reference, &probe.applied)))?;
        let before = self.network.output_with(&self.sent, &features)?;
        let goal = self.network.average()?;
        let mut share = 1.0;
        loop {
            let candidate = interpolate(&self.sent, &goal, share)?;
            let change = mean_squared_error(&self.network.output_with(&candidate, &features)?, &before)?;
            let change = f64::from(change.to_scalar::<f32>()?).sqrt();
            if change <= allowed || share < 1e-3 {
                return Ok(candidate);
            }
            // The output is nearly linear in a short step; a margin makes one or two rounds enough.
            share *= 0.9 * allowed / change;
        }
    }
}

/// How many items of a `rate` [1/s] are kept of the recent past, their mean age when they are drawn, and of all before.
fn sizes(config: &LearnerConfig, rate: f64) -> (usize, f64, usize) {
    let count = |seconds: f64| (seconds * rate) as usize;
    (count(config.memory), config.mean_age * rate, count(RESERVOIR))
}

/// What the residual should have been at the reference, as far as the feedback tells.
fn lacking(example: &Example) -> Vec<f32> {
    let both = example.residual.iter().zip(&example.feedback);
    both.map(|(residual, feedback)| residual + feedback).collect()
}

/// Exponential average over about twenty values; starts anew after an overflow.
fn smooth(average: f64, value: f64) -> f64 {
    if average == 0.0 || !average.is_finite() { value } else { average + 0.05 * (value - average) }
}

#[cfg(test)]
mod tests;
