//! Episodes as the trainer wants them: inputs computed once, targets on demand, batches of streams that run on.

use crate::dataset::Episode;
use crate::error::Result;
use crate::nn::normalizer::Normalizer;
use crate::predictor::PredictorConfig;
use crate::predictor::features::Features;
use candle_core::{Device, Tensor};
use rand::RngExt;
use rand_pcg::Pcg64;

/// A joint that never moved has this spread, rad or m.
const MIN_SPREAD: f64 = 1e-6;

/// One episode; everything by joint, because each joint is a stream of its own.
pub struct Sequence {
    pub time: usize,
    /// [joint][time · feature], at first in physical units
    inputs: Vec<Vec<f64>>,
    /// [joint][time]
    positions: Vec<Vec<f64>>,
    velocities: Vec<Vec<f64>>,
    dt: f64,
}

impl Sequence {
    pub fn new(episode: &Episode, config: &PredictorConfig) -> Self {
        let joints = episode.states.first().map_or(0, |state| state.position.len());
        let count = config.features();
        let mut features = Features::new(episode.dt, &config.lags, joints);
        let mut inputs = vec![Vec::with_capacity(episode.states.len() * count); joints];
        for (time, state) in episode.states.iter().enumerate() {
            if time == 0 {
                features.start(state)
            } else {
                features.advance(state)
            }
            for (joint, inputs) in inputs.iter_mut().enumerate() {
                inputs.resize((time + 1) * count, 0.0);
                features.write(joint, &mut inputs[time * count..]);
            }
        }
        let column = |joint: usize, of: fn(&crate::state::State) -> &[f64]| {
            episode.states.iter().map(|state| of(state)[joint]).collect()
        };
        Self {
            time: episode.states.len(),
            inputs,
            positions: (0..joints).map(|joint| column(joint, |state| &state.position)).collect(),
            velocities: (0..joints).map(|joint| column(joint, |state| &state.velocity)).collect(),
            dt: episode.dt,
        }
    }

    /// q(t + k) - q(t) - v(t)·k·dt: what the motion adds to constant velocity over `k` steps, rad or m.
    pub fn increment(&self, joint: usize, time: usize, k: usize) -> f64 {
        let (position, velocity) = (&self.positions[joint], self.velocities[joint][time]);
        position[time + k] - position[time] - velocity * k as f64 * self.dt
    }

    /// Instants whose whole horizon lies within the sequence.
    pub fn usable(&self, steps: usize) -> usize {
        self.time.saturating_sub(steps)
    }
}

/// Scales of the inputs, [joint · feature], from all sequences.
pub fn fit_normalizer(sequences: &[Sequence], joints: usize, features: usize) -> Result<Normalizer> {
    let mut scale = Vec::with_capacity(joints * features);
    for joint in 0..joints {
        let samples = sequences.iter().flat_map(|sequence| sequence.inputs[joint].chunks_exact(features));
        scale.extend_from_slice(Normalizer::of_spread(features, samples)?.scale());
    }
    Normalizer::new(vec![0.0; joints * features], scale)
}

/// Root mean square of the increments, [joint][step].
pub fn fit_spread(sequences: &[Sequence], joints: usize, steps: usize) -> Vec<Vec<f64>> {
    let spread = |joint: usize, k: usize| {
        let instants = sequences.iter().flat_map(|s| (0..s.usable(steps)).map(move |time| (s, time)));
        let (sum, count) = instants.fold((0.0, 0usize), |(sum, count), (sequence, time)| {
            (sum + sequence.increment(joint, time, k).powi(2), count + 1)
        });
        (sum / count.max(1) as f64).sqrt().max(MIN_SPREAD)
    };
    (0..joints).map(|joint| (1..=steps).map(|k| spread(joint, k)).collect()).collect()
}

/// The sequences in the network's units, from which batches are drawn.
pub struct Batches<'a> {
    sequences: &'a [Sequence],
    /// [sequence][joint][time · feature], normalized
    inputs: Vec<Vec<Vec<f32>>>,
    spread: &'a [Vec<f64>],
    features: usize,
    steps: usize,
}

/// Several stretches of equal length, each with all joints: the rows of a batch.
pub struct Streams {
    /// (sequence, first instant)
    starts: Vec<(usize, usize)>,
    pub time: usize,
}

impl<'a> Batches<'a> {
    pub fn new(sequences: &'a [Sequence], normalizer: &Normalizer, spread: &'a [Vec<f64>]) -> Result<Self> {
        let (joints, steps) = (spread.len(), spread.first().map_or(0, Vec::len));
        let features = normalizer.features() / joints.max(1);
        let of_joint: Vec<Normalizer> =
            (0..joints).map(|joint| normalizer.part(joint * features, features)).collect::<Result<_>>()?;
        let normalize = |sequence: &Sequence| {
            let joints = sequence.inputs.iter().zip(&of_joint);
            joints
                .map(|(values, normalizer)| {
                    let mut normalized = vec![0.0; values.len()];
                    let rows = values.chunks_exact(features).zip(normalized.chunks_exact_mut(features));
                    rows.for_each(|(values, normalized)| normalizer.normalize(values, normalized));
                    normalized
                })
                .collect()
        };
        Ok(Self { sequences, inputs: sequences.iter().map(normalize).collect(), spread, features, steps })
    }

    /// Draws `count` stretches of at most `time` instants; longer sequences are drawn from more often.
    pub fn draw(&self, count: usize, time: usize, random: &mut Pcg64) -> Streams {
        let usable: Vec<usize> = self.sequences.iter().map(|sequence| sequence.usable(self.steps)).collect();
        let first = choose(&usable, random);
        let time = time.min(usable[first]).max(1);
        let long_enough: Vec<usize> =
            usable.iter().map(|&usable| if usable >= time { usable } else { 0 }).collect();
        let starts = (0..count).map(|_| {
            let sequence = choose(&long_enough, random);
            (sequence, random.random_range(0..=usable[sequence] - time))
        });
        Streams { starts: starts.collect(), time }
    }

    /// Inputs [stream · joint, time, feature] of the instants `from..to` of the streams.
    pub fn inputs(&self, streams: &Streams, from: usize, to: usize) -> Result<Tensor> {
        let mut values = Vec::new();
        for (sequence, start) in &streams.starts {
            for joint in &self.inputs[*sequence] {
                values
                    .extend_from_slice(&joint[(start + from) * self.features..(start + to) * self.features]);
            }
        }
        let rows = streams.starts.len() * self.spread.len();
        Ok(Tensor::from_vec(values, (rows, to - from, self.features), &Device::Cpu)?)
    }

    /// Increments in units of the spread, [stream · joint, instant, step], at the given instants of the streams.
    pub fn targets(&self, streams: &Streams, instants: &[usize]) -> Result<Tensor> {
        let mut values = Vec::new();
        for (sequence, start) in &streams.starts {
            for (joint, spread) in self.spread.iter().enumerate() {
                for instant in instants {
                    let increment = |k| self.sequences[*sequence].increment(joint, start + instant, k);
                    values.extend((1..).zip(spread).map(|(k, spread)| (increment(k) / spread) as f32));
                }
            }
        }
        let rows = streams.starts.len() * self.spread.len();
        Ok(Tensor::from_vec(values, (rows, instants.len(), self.steps), &Device::Cpu)?)
    }
}

/// An index with probability in proportion to its weight; the first if all are zero.
fn choose(weights: &[usize], random: &mut Pcg64) -> usize {
    let mut draw = random.random_range(0..weights.iter().sum::<usize>().max(1));
    weights.iter().position(|weight| draw.checked_sub(*weight).map(|rest| draw = rest).is_none()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Stamp, State};
    use rand::SeedableRng;

    /// Joint 0 at t², joint 1 at rest.
    fn episode(length: usize) -> Episode {
        let state = |time: usize| {
            let t = time as f64;
            State { stamp: Stamp(time as i64), position: vec![t * t, 1.0], velocity: vec![2.0 * t, 0.0] }
        };
        Episode { dt: 1.0, states: (0..length).map(state).collect() }
    }

    #[test]
    fn batches_hold_what_their_streams_say() {
        let config = PredictorConfig { steps: 3, lags: vec![1], ..Default::default() };
        let sequences = [Sequence::new(&episode(30), &config), Sequence::new(&episode(8), &config)];
        let normalizer = fit_normalizer(&sequences, 2, 3).unwrap();
        let spread = fit_spread(&sequences, 2, 3);
        spread[0].iter().zip([1.0, 4.0, 9.0]).for_each(|(spread, k)| assert!((spread - k).abs() < 1e-9));
        assert_eq!(spread[1], [MIN_SPREAD; 3]);
        let batches = Batches::new(&sequences, &normalizer, &spread).unwrap();
        let mut random = Pcg64::seed_from_u64(1);
        for _ in 0..20 {
            let streams = batches.draw(4, 10, &mut random);
            assert!(streams.time == 10 || streams.time == 5, "{}", streams.time);
            let inputs = batches.inputs(&streams, 1, 4).unwrap().to_vec3::<f32>().unwrap();
            assert_eq!((inputs.len(), inputs[0].len(), inputs[0][0].len()), (8, 3, 3));
            for (row, (_, start)) in streams.starts.iter().enumerate() {
                let velocity = f64::from(inputs[2 * row][2][0]) * normalizer.scale()[0];
                assert!((velocity - 2.0 * (start + 3) as f64).abs() < 1e-4);
                assert_eq!(inputs[2 * row + 1], [[0.0; 3]; 3]);
            }
            let targets = batches.targets(&streams, &[0, 2]).unwrap().to_vec3::<f32>().unwrap();
            assert_eq!((targets.len(), targets[1][0].as_slice()), (8, [0.0; 3].as_slice()));
            targets[0][1].iter().for_each(|target| assert!((target - 1.0).abs() < 1e-4));
        }
    }
}
