//! How the robot answers to effort, learned: an LSTM from motion and effort to the change of velocity, and through it the
//! gradient of the tracking error (Jordan and Rumelhart, *Forward models: supervised learning with a distal teacher*,
//! Cognitive Science 16, 1992).
//!
//! The recorded motion is taken as it was, and only what other efforts would have changed of it comes from the model: so
//! the error that is propagated back is the one that was measured, and a model that is wrong by a factor leads there at
//! another pace, but not elsewhere.

use crate::controller::features::{FEATURES_PER_JOINT, friction_feature, write_features};
use crate::error::Result;
use crate::learner::network::Network;
use crate::learner::sample::Sample;
use crate::nn::adamw::AdamW;
use crate::nn::loss::mean_squared_error;
use crate::nn::lstm::{Lstm, LstmConfig};
use candle_core::{DType, Device, Tensor, Var};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A step of the model [s], and the steps of a segment.
const STEP: f64 = 0.010;
const SEGMENT: usize = 16;
/// Inputs of the model for each joint: q/2, v, direction of motion, effort beyond the feedforward.
const INPUTS_PER_JOINT: usize = 4;
const HIDDEN: usize = 48;
const LEARNING_RATE: f64 = 3e-3;
/// Joints that are tracked better than this share of the mean error count no more than that.
const LEAST_ERROR: f64 = 0.3;

/// One step of the recorded motion; all are means over it.
#[derive(Clone, Debug)]
pub struct Step {
    /// [q/2, v, direction of motion × joint]
    motion: Vec<f32>,
    /// Beyond the feedforward, in units of the network's output.
    effort: Vec<f32>,
    /// Features of the reference.
    reference: Vec<f32>,
    /// The residual that was applied, in units of the network's output.
    residual: Vec<f32>,
    /// Reference less measurement, [rad or m].
    position_error: Vec<f32>,
    velocity: Vec<f32>,
}

/// Consecutive steps, `SEGMENT` + 1 of them.
pub type Segment = Vec<Arc<Step>>;

/// Gathers samples into steps, and steps into segments, each of which begins in the middle of the last.
#[derive(Clone, Debug)]
pub struct Recorder {
    samples: Vec<Sample>,
    steps: VecDeque<Arc<Step>>,
    output_scale: Vec<f64>,
}

impl Recorder {
    pub fn new(output_scale: Vec<f64>) -> Self {
        Self { samples: Vec::new(), steps: VecDeque::new(), output_scale }
    }

    /// Takes the next sample, `gap` when it does not follow the last; gives a segment whenever one is complete.
    pub fn push(&mut self, sample: &Sample, gap: bool) -> Option<Segment> {
        if gap {
            self.samples.clear();
            self.steps.clear();
        }
        let first = self.samples.first().map_or(sample.stamp, |first| first.stamp);
        if sample.stamp.since(first) > STEP - 1e-6 {
            let step = self.step();
            self.samples.clear();
            self.steps.push_back(Arc::new(step));
        }
        self.samples.push(sample.clone());
        if self.steps.len() <= SEGMENT {
            return None;
        }
        let segment = self.steps.iter().cloned().collect();
        self.steps.drain(..SEGMENT / 2);
        Some(segment)
    }

    fn step(&self) -> Step {
        let joints = self.output_scale.len();
        let count = self.samples.len() as f64;
        let mean = |of: &dyn Fn(&Sample, usize) -> f64| -> Vec<f64> {
            (0..joints)
                .map(|j| self.samples.iter().map(|sample| of(sample, j)).sum::<f64>() / count)
                .collect()
        };
        let scale = &self.output_scale;
        let applied =
            |sample: &Sample, j: usize| (sample.effort[j] - sample.feedforward_effort[j]) / scale[j];
        let velocity = mean(&|sample, j| sample.velocity[j]);
        let motion = [
            mean(&|sample, j| sample.position[j] / 2.0),
            velocity.clone(),
            mean(&|sample, j| friction_feature(sample.velocity[j])),
        ];
        let mut reference = vec![0.0; FEATURES_PER_JOINT * joints];
        write_features(
            &mean(&|sample, j| sample.reference_position[j]),
            &mean(&|sample, j| sample.reference_velocity[j]),
            &mean(&|sample, j| sample.reference_acceleration[j]),
            &mut reference,
        );
        Step {
            motion: narrow(&motion.concat()),
            effort: narrow(&mean(&applied)),
            reference,
            residual: narrow(&mean(&|sample, j| applied(sample, j) - sample.feedback_effort[j] / scale[j])),
            position_error: narrow(&mean(&|sample, j| sample.reference_position[j] - sample.position[j])),
            velocity: narrow(&velocity),
        }
    }
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

/// The model and its training: Δv_k = W [x_0, u_k] + LSTM(x_0, u_0 … u_k), with x_0 the motion at the beginning of a
/// segment and u the efforts.
///
/// It is not told the motion on the way, or it would foresee it from the motion before, smooth as that is, and need no
/// efforts: the gradient by them came out ten times too small in trials.
pub struct Plant {
    joints: usize,
    config: LstmConfig,
    /// Those of the LSTM, and `linear.weight` [joint, input].
    variables: BTreeMap<String, Var>,
    optimizer: AdamW,
    /// Root mean square of a step's change of velocity and of the effort, by joint.
    change_scale: Scale,
    effort_scale: Scale,
    /// Of the last steps: share of the mean square of the change of velocity that was not foreseen.
    pub unexplained: f64,
}

const LINEAR: &str = "linear.weight";

impl Plant {
    pub fn new(joints: usize, seed: u64) -> Result<Self> {
        let config =
            LstmConfig { inputs: INPUTS_PER_JOINT * joints, hidden: HIDDEN, layers: 1, outputs: joints };
        let mut variables = config.initial_variables(seed, DType::F32)?;
        let linear = Tensor::zeros((joints, config.inputs), DType::F32, &Device::Cpu)?;
        variables.insert(LINEAR.into(), Var::from_tensor(&linear)?);
        let optimizer = AdamW::new(variables.values().cloned().collect(), 0.0, 1.0);
        let scale = Scale(vec![0.0; joints]);
        Ok(Self {
            joints,
            config,
            variables,
            optimizer,
            change_scale: scale.clone(),
            effort_scale: scale,
            unexplained: 1.0,
        })
    }

    /// `[segment, step, joint]`: change of velocity from each step to the next, in units of its scale, as foreseen from
    /// the motion at the beginning `[segment, 1, feature]` and the efforts `[segment, step, joint]`.
    fn foresee(&self, motion: &Tensor, effort: &Tensor) -> Result<Tensor> {
        let (segments, steps, _) = effort.dims3()?;
        let effort = effort.broadcast_div(&self.effort_scale.tensor()?)?;
        let motion = motion.broadcast_as((segments, steps, motion.dim(2)?))?;
        let inputs = Tensor::cat(&[&motion, &effort], 2)?;
        let lstm = Lstm::over(self.config, &self.variables, DType::F32)?;
        let (hidden, _) = lstm.forward(&inputs, &lstm.zero_state(segments)?)?;
        let output = lstm.read_out(&hidden)?.transpose(0, 1)?;
        match self.variables.get(LINEAR) {
            Some(weight) => Ok((output + inputs.broadcast_matmul(&weight.t()?)?)?),
            None => Ok(output),
        }
    }

    /// A training step of the model on what happened.
    pub fn train(&mut self, segments: &[&Segment]) -> Result<()> {
        let batch = Batch::new(segments, self.joints)?;
        self.change_scale.adapt(&batch.change)?;
        self.effort_scale.adapt(&batch.effort)?;
        let change = batch.change.broadcast_div(&self.change_scale.tensor()?)?;
        let error = mean_squared_error(&self.foresee(&batch.motion, &batch.effort)?, &change)?;
        if self.optimizer.step(&error, LEARNING_RATE)? {
            let unexplained = f64::from(error.to_scalar::<f32>()?);
            self.unexplained += 0.02 * (unexplained - self.unexplained);
        }
        Ok(())
    }

    /// The tracking error that `residual` instead of the recorded one would have left, mean square over joints and
    /// steps; each joint's in units of its usual error.
    pub fn tracking_loss(&self, segments: &[&Segment], residual: &Network) -> Result<Tensor> {
        let batch = Batch::new(segments, self.joints)?;
        let shape = batch.effort.shape();
        let output = residual.forward(&batch.reference.flatten(0, 1)?)?.reshape(shape)?;
        let effort = (&batch.effort + (output - &batch.residual)?)?;
        let foreseen = self.foresee(&batch.motion, &batch.effort)?.detach();
        let change = (self.foresee(&batch.motion, &effort)? - foreseen)?;
        let change = change.broadcast_mul(&self.change_scale.tensor()?)?;
        // The change in step k shows in the velocity of step k + 1.
        let velocity = change.cumsum(1)?;
        let position = (velocity.cumsum(1)? - (&velocity * 0.5)?)?.affine(STEP, 0.0)?;
        let left = (&batch.position_error - position)?;
        Ok(left.broadcast_div(&usual_error(&batch.position_error)?)?.sqr()?.mean_all()?)
    }
}

/// Root mean square of a quantity, by joint; 0 before the first.
#[derive(Clone, Debug)]
struct Scale(Vec<f32>);

impl Scale {
    /// Follows `values` `[segment, step, joint]`.
    fn adapt(&mut self, values: &Tensor) -> Result<()> {
        let squares: Vec<f32> = values.sqr()?.mean((0, 1))?.to_vec1()?;
        for (scale, square) in self.0.iter_mut().zip(squares) {
            let found = square.sqrt().max(1e-6);
            *scale = if *scale > 0.0 { *scale + 0.01 * (found - *scale) } else { found };
        }
        Ok(())
    }

    fn tensor(&self) -> Result<Tensor> {
        Ok(Tensor::new(&self.0[..], &Device::Cpu)?)
    }
}

/// Root mean square over segments and steps, `[joint]`, of which small ones are raised.
fn usual_error(error: &Tensor) -> Result<Tensor> {
    let square = error.sqr()?.mean((0, 1))?;
    let least = f64::from(square.mean_all()?.to_scalar::<f32>()?) * LEAST_ERROR * LEAST_ERROR + 1e-12;
    Ok(square.maximum(least)?.sqrt()?.detach())
}

/// Segments as tensors, `[segment, step, …]`.
struct Batch {
    /// Of the first step.
    motion: Tensor,
    effort: Tensor,
    reference: Tensor,
    residual: Tensor,
    /// Of the velocity, from each step to the next.
    change: Tensor,
    /// After each step's change.
    position_error: Tensor,
}

impl Batch {
    fn new(segments: &[&Segment], joints: usize) -> Result<Self> {
        let tensor = |width: usize, steps: usize, of: &dyn Fn(&Segment, usize) -> Vec<f32>| {
            let values: Vec<f32> =
                segments.iter().flat_map(|segment| (0..steps).flat_map(|k| of(segment, k))).collect();
            Tensor::from_vec(values, (segments.len(), steps, width), &Device::Cpu)
        };
        let change = |segment: &Segment, k: usize| {
            segment[k + 1]
                .velocity
                .iter()
                .zip(&segment[k].velocity)
                .map(|(after, before)| after - before)
                .collect()
        };
        let motion = (INPUTS_PER_JOINT - 1) * joints;
        Ok(Self {
            motion: tensor(motion, 1, &|segment, k| segment[k].motion.clone())?,
            effort: tensor(joints, SEGMENT, &|segment, k| segment[k].effort.clone())?,
            reference: tensor(FEATURES_PER_JOINT * joints, SEGMENT, &|segment, k| {
                segment[k].reference.clone()
            })?,
            residual: tensor(joints, SEGMENT, &|segment, k| segment[k].residual.clone())?,
            change: tensor(joints, SEGMENT, &change)?,
            position_error: tensor(joints, SEGMENT, &|segment, k| segment[k + 1].position_error.clone())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::mlp::MlpConfig;
    use crate::state::Stamp;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    const MASS: f64 = 2.0;
    const LACKING: f64 = 3.0; // N
    const SCALE: f64 = 10.0; // N

    /// A mass that feedback moves about, against a force that nobody knows.
    fn segments() -> Vec<Segment> {
        let mut recorder = Recorder::new(vec![SCALE]);
        let (mut position, mut velocity) = (0.0, 0.0);
        let mut segments = Vec::new();
        for k in 0..20_000 {
            let t = 0.002 * f64::from(k);
            let reference = 0.3 * (2.0 * t).sin() + 0.2 * (5.0 * t).cos();
            let reference_velocity = 0.6 * (2.0 * t).cos() - (5.0 * t).sin();
            let effort = 200.0 * (reference - position) + 30.0 * (reference_velocity - velocity);
            let mut sample = Sample::zeros(1);
            sample.stamp = Stamp::from_seconds(t);
            (sample.position[0], sample.velocity[0]) = (position, velocity);
            (sample.effort[0], sample.feedback_effort[0]) = (effort, effort);
            sample.reference_position[0] = reference;
            sample.reference_velocity[0] = reference_velocity;
            sample.reference_acceleration[0] = -1.2 * (2.0 * t).sin() - 5.0 * (5.0 * t).cos();
            segments.extend(recorder.push(&sample, false));
            velocity += 0.002 * (effort - LACKING) / MASS;
            position += 0.002 * velocity;
        }
        segments
    }

    #[test]
    fn the_tracking_error_comes_back_through_the_plant() {
        let segments = segments();
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let mut plant = Plant::new(1, 1).unwrap();
        let config = MlpConfig { inputs: FEATURES_PER_JOINT, hidden: vec![16], outputs: 1 };
        let mut network = Network::new(config, 1, 2e-3, 1.0, 1.0).unwrap();
        let mut draw =
            || -> Vec<&Segment> { (0..16).map(|_| &segments[rng.random_range(0..segments.len())]).collect() };
        (0..600).for_each(|_| plant.train(&draw()).unwrap());
        assert!(plant.unexplained < 0.05, "{}", plant.unexplained);
        let batch = Batch::new(&draw(), 1).unwrap();
        let change = (plant.foresee(&batch.motion, &(&batch.effort + 0.1).unwrap()).unwrap()
            - plant.foresee(&batch.motion, &batch.effort).unwrap())
        .unwrap();
        let answer =
            f64::from(change.mean_all().unwrap().to_scalar::<f32>().unwrap() * plant.change_scale.0[0]);
        let expected = 0.1 * SCALE / MASS * STEP;
        assert!((0.5..1.5).contains(&(answer / expected)), "{answer} for a push of {expected}");
        let before = plant.tracking_loss(&draw(), &network).unwrap().to_scalar::<f32>().unwrap();
        for _ in 0..300 {
            let loss = plant.tracking_loss(&draw(), &network).unwrap();
            assert!(network.step(&loss).unwrap());
        }
        let after = plant.tracking_loss(&draw(), &network).unwrap().to_scalar::<f32>().unwrap();
        assert!(after < 0.6 * before, "{after} of {before}");
        // What was lacking on the whole is found: a positive push.
        let output = network.forward(&batch.reference.flatten(0, 1).unwrap()).unwrap();
        let mean = f64::from(output.mean_all().unwrap().to_scalar::<f32>().unwrap());
        assert!(mean > 0.3 * LACKING / SCALE, "{mean}");
    }

    #[test]
    fn a_gap_begins_a_new_segment() {
        let mut recorder = Recorder::new(vec![1.0]);
        let sample = |k: i64| Sample { stamp: Stamp(k * 2_000_000), ..Sample::zeros(1) };
        let whole = (0..100).filter_map(|k| recorder.push(&sample(k), false)).count();
        assert_eq!(whole, 1, "17 steps of 5 samples");
        let after = (100..180).filter_map(|k| recorder.push(&sample(k + 500), k == 100)).count();
        assert_eq!(after, 0, "too few since the gap");
    }
}
