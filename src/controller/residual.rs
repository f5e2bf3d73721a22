//! The learned part of the command: an MLP of the reference motion, clipped, and exchanged without a jump.

use crate::controller::belief::Belief;
use crate::controller::features::{FEATURES_PER_JOINT, LARGEST_FEATURE, write_features};
use crate::error::{Error, Result};
use crate::nn::checkpoint::{self, Card, ModelKind, Tensors, from_bytes};
use crate::nn::mlp::{FrozenMlp, MlpConfig, values};
use crate::reference::ReferencePoint;
use crate::robot::Robot;
use crate::vector::dot;
use std::path::Path;

/// A network that has been checked against the robot and is ready for the tick.
#[derive(Clone, Debug)]
pub struct ResidualModel {
    pub card: Card,
    network: FrozenMlp,
    /// Effort per unit of network output, Nm or N.
    output_scale: Vec<f64>,
    last_layer: LastLayer,
}

/// What is learned in the tick of the network's output layer: corrections of its weights, believed with one covariance for
/// all joints, because all see the same units.
#[derive(Clone, Debug)]
pub struct LastLayer {
    belief: Belief,
    /// Variance of an outcome by which it has still to be narrowed.
    untaken: Option<f64>,
    /// [joint][unit], the last one the bias's, in units of the output.
    weights: Vec<f64>,
    /// Units and one, scaled to a prior of N(0, 1) on the weights.
    regressors: Vec<f64>,
}

/// The root mean square of what the corrections may amount to before anything is known, in units of the output.
const CORRECTION: f64 = 0.3;

impl LastLayer {
    fn new(units: usize, joints: usize) -> Self {
        let size = units + 1;
        Self {
            belief: Belief::new(size),
            untaken: None,
            weights: vec![0.0; joints * size],
            regressors: vec![0.0; size],
        }
    }

    /// Narrows what is believed by the last outcome, if that was put off.
    fn settle(&mut self) {
        if let Some(total) = self.untaken.take() {
            self.belief.narrow(total);
        }
    }

    fn look(&mut self, units: &[f32]) {
        let scale = CORRECTION / (self.regressors.len() as f64).sqrt();
        for (regressor, unit) in self.regressors.iter_mut().zip(units.iter().chain([&1.0])) {
            *regressor = scale * f64::from(*unit);
        }
    }
}

impl ResidualModel {
    /// Reads weights (a safetensors file or message). Refuses another robot's, misshapen or non-finite ones, and
    /// those with which the output could overflow for any motion up to 1000 rad/s and 4000 rad/s².
    pub fn from_bytes(bytes: &[u8], origin: &str, robot: &Robot) -> Result<Self> {
        let (card, tensors) = from_bytes(bytes, origin)?;
        Self::from_checkpoint(card, &tensors, origin, robot)
    }

    /// As [`Self::from_bytes`], from a file.
    pub fn load(path: &Path, robot: &Robot) -> Result<Self> {
        let (card, tensors) = checkpoint::load(path)?;
        Self::from_checkpoint(card, &tensors, &path.display().to_string(), robot)
    }

    /// From what [`from_bytes`] read; `origin` is for the messages.
    pub fn from_checkpoint(card: Card, tensors: &Tensors, origin: &str, robot: &Robot) -> Result<Self> {
        card.check(ModelKind::Controller, robot, None)?;
        let config: MlpConfig = card.network(origin)?;
        let joints = robot.degrees_of_freedom();
        if config.inputs != FEATURES_PER_JOINT * joints || config.outputs != joints {
            let expected = format!("{} inputs, {joints} outputs", FEATURES_PER_JOINT * joints);
            return Err(Error::mismatch(format!("network of {origin}"), format!("{config:?}"), expected));
        }
        let network = FrozenMlp::from_tensors(&config, tensors)?;
        network.check_sums(LARGEST_FEATURE)?;
        let output_scale = values(tensors, "output_scale", &[joints])?;
        if let Some(wrong) = output_scale.iter().find(|scale| !(scale.is_normal() && **scale > 0.0)) {
            return Err(Error::mismatch(format!("output_scale of {origin}"), wrong, "numbers above 0"));
        }
        let output_scale = output_scale.into_iter().map(f64::from).collect();
        let last_layer = LastLayer::new(config.hidden.last().copied().unwrap_or(0), joints);
        Ok(Self { card, network, output_scale, last_layer })
    }

    /// Writes the effort for `features` into `out`.
    pub fn evaluate(&mut self, features: &[f32], out: &mut [f64]) {
        let network_output = self.network.forward(features);
        for ((effort, value), scale) in out.iter_mut().zip(network_output).zip(&self.output_scale) {
            *effort = f64::from(*value) * scale;
        }
        let layer = &mut self.last_layer;
        layer.look(self.network.features());
        let corrections = layer.weights.chunks_exact(layer.regressors.len());
        for ((effort, weights), scale) in out.iter_mut().zip(corrections).zip(&self.output_scale) {
            *effort += scale * dot(weights, &layer.regressors);
        }
    }

    /// The variance of joint `joint`'s effort, Nm² or N², of a last layer with variance `shared`.
    pub fn variance_of(&self, joint: usize, shared: f64) -> f64 {
        shared * self.output_scale[joint].powi(2)
    }

    /// The variance that all joints share, of the effort that [`Self::evaluate`] has just written.
    pub fn project(&mut self) -> f64 {
        self.last_layer.settle();
        self.last_layer.belief.project(&self.last_layer.regressors)
    }

    /// Takes what joint `joint` lacked of effort; `total` is the variance of the outcome, as in [`Belief::learn`].
    pub fn learn(&mut self, joint: usize, error: f64, total: f64) {
        let LastLayer { belief, weights, regressors, .. } = &mut self.last_layer;
        let scale = self.output_scale[joint];
        let weights = &mut weights[joint * regressors.len()..][..regressors.len()];
        belief.learn(weights, error / scale, total / scale.powi(2));
    }

    /// Narrows what is believed of all joints; `total` [joint] are the variances of the outcomes, infinite where there was
    /// none. Most of the work is left to [`Self::prepare`], or to whoever asks next.
    pub fn narrow(&mut self, total: &[f64]) {
        let told = total.iter().zip(&self.output_scale).filter(|(total, _)| total.is_finite());
        let (mut sum, mut count) = (0.0, 0.0);
        for (total, scale) in told {
            sum += total / scale.powi(2);
            count += 1.0;
        }
        if count > 0.0 {
            self.last_layer.untaken = Some(sum / count);
        }
    }

    /// Mixes in a share of the prior, as [`Belief::forget`].
    pub fn forget(&mut self, share: f64) {
        self.last_layer.settle();
        self.last_layer.belief.forget(share);
    }

    /// Does what the next outcome needs and the next command does not.
    pub fn prepare(&mut self) {
        self.last_layer.settle();
    }
}

/// The network in use, and the one that is being faded in, or none, for which it is faded out.
#[derive(Debug)]
pub struct Residual {
    /// Largest residual of each joint, Nm or N.
    limit: Vec<f64>,
    /// Time in which a new network takes over [s].
    fade_time: f64,
    current: Option<Box<ResidualModel>>,
    incoming: Option<Box<ResidualModel>>,
    /// Whether the network in use goes without another.
    leaves: bool,
    /// Share of the incoming network, or of none, 0 to 1.
    fade: f64,
    features: Vec<f32>,
    incoming_effort: Vec<f64>,
}

impl Residual {
    pub fn new(limit: Vec<f64>, fade_time: f64) -> Self {
        let joints = limit.len();
        Self {
            limit,
            fade_time,
            current: None,
            incoming: None,
            leaves: false,
            fade: 0.0,
            features: vec![0.0; FEATURES_PER_JOINT * joints],
            incoming_effort: vec![0.0; joints],
        }
    }

    /// Whether a further network can be taken: only when the last one has been faded in, or out.
    pub fn is_settled(&self) -> bool {
        self.incoming.is_none() && !self.leaves
    }

    /// The card of the newest network.
    pub fn card(&self) -> Option<&Card> {
        self.incoming.as_ref().or(self.current.as_ref()).map(|model| &model.card)
    }

    /// Begins to fade `model` in; from no network at all it fades in from zero. Call it when `is_settled`.
    pub fn accept(&mut self, model: Box<ResidualModel>) {
        self.incoming = Some(model);
        self.fade = 0.0;
    }

    /// Begins to fade out the network in use. Call it when `is_settled`.
    pub fn dismiss(&mut self) {
        self.leaves = self.current.is_some();
        self.fade = 0.0;
    }

    /// Advances the fade by `dt` [s]; gives back the network that is no longer needed, to be freed off the tick.
    pub fn advance(&mut self, dt: f64) -> Option<Box<ResidualModel>> {
        if self.is_settled() {
            return None;
        }
        self.fade += if self.fade_time > 0.0 { dt / self.fade_time } else { 1.0 };
        if self.fade < 1.0 {
            return None;
        }
        self.leaves = false;
        std::mem::replace(&mut self.current, self.incoming.take())
    }

    /// The network in use.
    pub fn current(&mut self) -> Option<&mut ResidualModel> {
        self.current.as_deref_mut()
    }

    /// Writes the network's output for `reference`, Nm or N; zero without a network, and less and less the further the
    /// reference is from the motions that the network was trained on.
    pub fn evaluate(&mut self, reference: &ReferencePoint, out: &mut [f64]) {
        let ReferencePoint { position, velocity, acceleration } = reference;
        write_features(position, velocity, acceleration, &mut self.features);
        out.fill(0.0);
        if let Some(model) = &mut self.current {
            model.evaluate(&self.features, out);
            let familiarity = model.card.familiarity(position, velocity);
            let share = if self.leaves { 1.0 - self.fade } else { 1.0 };
            out.iter_mut().for_each(|effort| *effort *= share * familiarity);
        }
        if let Some(model) = &mut self.incoming {
            model.evaluate(&self.features, &mut self.incoming_effort);
            let familiarity = model.card.familiarity(position, velocity);
            for (effort, incoming) in out.iter_mut().zip(&self.incoming_effort) {
                *effort += self.fade * (familiarity * incoming - *effort);
            }
        }
    }

    /// Brings `efforts` within the limits of a residual and says whether that was necessary. An effort that overflowed
    /// becomes NaN: clipping would hide it.
    pub fn clip(&self, efforts: &mut [f64]) -> bool {
        let mut clipped = false;
        for (effort, limit) in efforts.iter_mut().zip(&self.limit) {
            clipped |= effort.abs() > *limit;
            *effort = if effort.is_finite() { effort.clamp(-limit, *limit) } else { f64::NAN };
        }
        clipped
    }
}
