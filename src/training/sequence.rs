//! Episodes as the trainer wants them: inputs computed once, targets on demand, batches of streams that run on.

use crate::dataset::Episode;
use crate::error::Result;
use crate::nn::normalizer::Normalizer;
use crate::predictor::commands::{CommandFeatures, Told};
use crate::predictor::features::Features;
use crate::predictor::{PredictorConfig, PredictorModel};
use crate::state::{Space, State};
use candle_core::{Device, Tensor};
use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

/// A coordinate that never moved has this spread, rad or m.
const MIN_SPREAD: f64 = 1e-6;

/// One episode with the inputs and outcomes of each coordinate.
pub struct Sequence {
    /// [coordinate][time · feature], in physical units
    inputs: Vec<Vec<f64>>,
    /// Of the commands, [coordinate][time · feature], in physical units; none of a model without.
    commanded: Option<Vec<Vec<f64>>>,
    episode: Episode,
    /// Whether a command is in force at each time; empty without.
    told: Vec<bool>,
    space: Space,
}

impl Sequence {
    pub fn new(episode: &Episode, config: &PredictorConfig) -> Self {
        let coordinates = episode.states.first().map_or(0, |state| state.position.len());
        let count = config.features();
        let mut features = Features::new(config.space, episode.dt, &config.blocks, config.steps, coordinates);
        let mut inputs = vec![vec![0.0; episode.states.len() * count]; coordinates];
        for (time, state) in episode.states.iter().enumerate() {
            if time == 0 {
                features.start(state)
            } else {
                features.advance(state)
            }
            for (coordinate, inputs) in inputs.iter_mut().enumerate() {
                features.write(coordinate, &mut inputs[time * count..(time + 1) * count]);
            }
        }
        let mut sequence =
            Self { inputs, commanded: None, told: Vec::new(), episode: episode.clone(), space: config.space };
        sequence.take_commands(config);
        sequence
    }

    fn take_commands(&mut self, config: &PredictorConfig) {
        let Some(commands) = &config.commands else { return };
        let Episode { dt, states, .. } = &self.episode;
        let mut features = CommandFeatures::new(commands, *dt, &config.blocks, config.steps);
        let (count, coordinates) = (features.count(), self.inputs.len());
        let mut values = vec![0.0; count * coordinates];
        let mut commanded = vec![Vec::with_capacity(states.len() * count); coordinates];
        for (time, state) in states.iter().enumerate() {
            let told = features.observe(state, time == 0, self.episode.told(time), &mut values);
            self.told.push(told);
            let pairs = commanded.iter_mut().zip(values.chunks_exact(count));
            pairs.for_each(|(commanded, values)| commanded.extend_from_slice(values));
        }
        self.commanded = Some(commanded);
    }

    /// What had been told by `time`.
    pub fn told(&self, time: usize) -> Option<&Told> {
        self.episode.told(time)
    }

    /// Whether a command is in force at `time`.
    pub fn is_told(&self, time: usize) -> bool {
        self.told.get(time).copied().unwrap_or(false)
    }

    /// Fills `out` [coordinate] with what the motion of the `k` steps after `time` adds to constant velocity: a
    /// local displacement, rad or m.
    pub fn increment(&self, time: usize, k: usize, scratch: &mut [f64], out: &mut [f64]) {
        let (now, then) = (&self.states()[time], &self.states()[time + k]);
        self.space.displacement(&now.velocity, k as f64 * self.episode.dt, scratch);
        self.space.difference(&now.position, &then.position, out);
        out.iter_mut().zip(scratch).for_each(|(out, expected)| *out -= *expected);
    }

    pub fn states(&self) -> &[State] {
        &self.episode.states
    }

    /// Number of samples.
    pub fn time(&self) -> usize {
        self.states().len()
    }

    /// Inputs in the network's units, those of `width` coordinates side by side, [stream][time · feature].
    pub fn normalized(&self, normalizer: &Normalizer, width: usize) -> Result<Vec<Vec<f32>>> {
        side_by_side(&self.inputs, normalizer, width)
    }

    /// Features of the commands likewise, in units of `scales`; empty of a model without.
    pub fn normalized_commands(&self, scales: &Normalizer, width: usize) -> Result<Vec<Vec<f32>>> {
        self.commanded.as_ref().map_or(Ok(Vec::new()), |commanded| side_by_side(commanded, scales, width))
    }

    /// Instants whose whole horizon lies within the sequence.
    pub fn usable(&self, steps: usize) -> usize {
        self.time().saturating_sub(steps)
    }
}

/// `inputs` [coordinate][time · feature], normalized, those of `width` coordinates side by side.
fn side_by_side(inputs: &[Vec<f64>], normalizer: &Normalizer, width: usize) -> Result<Vec<Vec<f32>>> {
    let count = normalizer.features() / inputs.len().max(1);
    let time = inputs.first().map_or(0, |inputs| inputs.len() / count);
    let mut streams = vec![vec![0f32; time * width * count]; inputs.len() / width];
    for (coordinate, inputs) in inputs.iter().enumerate() {
        let normalizer = normalizer.part(coordinate * count, count)?;
        let rows = streams[coordinate / width].chunks_exact_mut(width * count);
        for (row, values) in rows.zip(inputs.chunks_exact(count)) {
            normalizer.normalize(values, &mut row[coordinate % width * count..][..count]);
        }
    }
    Ok(streams)
}

/// Scales of the features of the commands, [coordinate · feature], from the time that one was in force.
pub fn fit_command_scales(sequences: &[Sequence], coordinates: usize, features: usize) -> Result<Normalizer> {
    let mut scale = Vec::with_capacity(coordinates * features);
    for coordinate in 0..coordinates {
        let samples = sequences.iter().flat_map(|sequence| {
            let rows = sequence.commanded.iter().flat_map(|all| all[coordinate].chunks_exact(features));
            rows.zip(&sequence.told).filter(|(_, told)| **told).map(|(row, _)| row)
        });
        scale.extend_from_slice(Normalizer::of_spread(features, samples)?.scale());
    }
    Normalizer::new(vec![0.0; coordinates * features], scale)
}

/// Scales of the inputs, [coordinate · feature], from all sequences.
pub fn fit_normalizer(sequences: &[Sequence], joints: usize, features: usize) -> Result<Normalizer> {
    let mut scale = Vec::with_capacity(joints * features);
    for joint in 0..joints {
        let samples = sequences.iter().flat_map(|sequence| sequence.inputs[joint].chunks_exact(features));
        scale.extend_from_slice(Normalizer::of_spread(features, samples)?.scale());
    }
    Normalizer::new(vec![0.0; joints * features], scale)
}

/// Root mean square of the increments, [coordinate][step].
pub fn fit_spread(sequences: &[Sequence], coordinates: usize, steps: usize) -> Vec<Vec<f64>> {
    let mut sums = vec![vec![0.0; steps]; coordinates];
    let (mut scratch, mut increment) = (vec![0.0; coordinates], vec![0.0; coordinates]);
    let mut count = 0usize;
    for sequence in sequences {
        for time in 0..sequence.usable(steps) {
            for k in 1..=steps {
                sequence.increment(time, k, &mut scratch, &mut increment);
                sums.iter_mut().zip(&increment).for_each(|(sums, value)| sums[k - 1] += value * value);
            }
            count += 1;
        }
    }
    let root = |sum: &mut f64| *sum = (*sum / count.max(1) as f64).sqrt().max(MIN_SPREAD);
    sums.iter_mut().flatten().for_each(root);
    sums
}

/// The sequences in the network's units, from which batches are drawn.
pub struct Batches<'a> {
    sequences: &'a [Sequence],
    /// [sequence][stream][time · input], normalized
    inputs: Vec<Vec<Vec<f32>>>,
    spread: &'a [Vec<f64>],
    space: Space,
    /// Coordinates of a stream.
    width: usize,
    /// Inputs of a stream.
    features: usize,
    steps: usize,
}

/// Several stretches of equal length, each with all coordinates: the rows of a batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Streams {
    /// (sequence, first instant)
    pub starts: Vec<(usize, usize)>,
    /// Whether each is seen in a mirror; none are of joints.
    mirrored: Vec<bool>,
    pub time: usize,
}

impl<'a> Batches<'a> {
    pub fn new(sequences: &'a [Sequence], model: &PredictorModel, spread: &'a [Vec<f64>]) -> Result<Self> {
        let width = model.config.space.coupled(spread.len());
        let inputs = sequences.iter().map(|sequence| sequence.normalized(&model.features, width));
        Ok(Self {
            sequences,
            inputs: inputs.collect::<Result<_>>()?,
            spread,
            space: model.config.space,
            width,
            features: width * model.config.features(),
            steps: model.config.steps,
        })
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
        let starts = starts.collect();
        let mirrored = match self.space {
            Space::Joints => vec![false; count],
            Space::PlanarBase => (0..count).map(|_| random.random()).collect(),
        };
        Streams { starts, mirrored, time }
    }

    /// Streams of the network in each stretch.
    pub fn rows(&self) -> usize {
        self.spread.len() / self.width
    }

    /// Inputs [stretch · stream, time, feature] of the instants `from..to` of the stretches.
    pub fn inputs(&self, streams: &Streams, from: usize, to: usize) -> Result<Tensor> {
        let mut values = Vec::new();
        let of_coordinate = self.features / self.width;
        for ((sequence, start), mirrored) in streams.starts.iter().zip(&streams.mirrored) {
            for stream in &self.inputs[*sequence] {
                let row = values.len();
                values
                    .extend_from_slice(&stream[(start + from) * self.features..(start + to) * self.features]);
                if *mirrored {
                    for (index, value) in values[row..].iter_mut().enumerate() {
                        *value *= mirror(index % self.features / of_coordinate);
                    }
                }
            }
        }
        let rows = streams.starts.len() * self.rows();
        Ok(Tensor::from_vec(values, (rows, to - from, self.features), &Device::Cpu)?)
    }

    /// Increments in units of the spread, [stretch · stream, instant, coordinate · step], at the given instants of
    /// the stretches.
    pub fn targets(&self, streams: &Streams, instants: &[usize]) -> Result<Tensor> {
        let coordinates = self.spread.len();
        let (mut scratch, mut increment) = (vec![0.0; coordinates], vec![0.0; coordinates]);
        let of_stream = self.width * self.steps;
        let mut values = vec![0f32; streams.starts.len() * self.rows() * instants.len() * of_stream];
        for (stretch, (sequence, start)) in streams.starts.iter().enumerate() {
            for (index, instant) in instants.iter().enumerate() {
                for step in 0..self.steps {
                    let sequence = &self.sequences[*sequence];
                    sequence.increment(start + instant, step + 1, &mut scratch, &mut increment);
                    for (coordinate, increment) in increment.iter().enumerate() {
                        let row = stretch * self.rows() + coordinate / self.width;
                        let column = coordinate % self.width * self.steps + step;
                        let sign = if streams.mirrored[stretch] { mirror(coordinate) } else { 1.0 };
                        values[(row * instants.len() + index) * of_stream + column] =
                            sign * (increment / self.spread[coordinate][step]) as f32;
                    }
                }
            }
        }
        let rows = streams.starts.len() * self.rows();
        Ok(Tensor::from_vec(values, (rows, instants.len(), of_stream), &Device::Cpu)?)
    }
}

/// Sign of a base's coordinate in a mirror: what is left is right. A base knows no difference, and so has twice the
/// examples.
fn mirror(coordinate: usize) -> f32 {
    if coordinate == 0 { 1.0 } else { -1.0 }
}

/// An index with probability in proportion to its weight; the first if all are zero.
fn choose(weights: &[usize], random: &mut Pcg64) -> usize {
    let mut draw = random.random_range(0..weights.iter().sum::<usize>().max(1));
    weights.iter().position(|weight| draw.checked_sub(*weight).map(|rest| draw = rest).is_none()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;
    use rand::SeedableRng;

    /// Joint 0 at t², joint 1 at rest.
    fn episode(length: usize) -> Episode {
        let state = |time: usize| {
            let t = time as f64;
            State { stamp: Stamp(time as i64), position: vec![t * t, 1.0], velocity: vec![2.0 * t, 0.0] }
        };
        Episode::new(1.0, (0..length).map(state).collect())
    }

    #[test]
    fn batches_hold_what_their_streams_say() {
        let config = PredictorConfig { steps: 3, blocks: vec![1], ..Default::default() };
        let sequences = [Sequence::new(&episode(30), &config), Sequence::new(&episode(8), &config)];
        let normalizer = fit_normalizer(&sequences, 2, 3).unwrap();
        let spread = fit_spread(&sequences, 2, 3);
        spread[0].iter().zip([1.0, 4.0, 9.0]).for_each(|(spread, k)| assert!((spread - k).abs() < 1e-9));
        assert_eq!(spread[1], [MIN_SPREAD; 3]);
        let joints = ["a".to_owned(), "b".to_owned()];
        let mut model = PredictorModel::untrained(&joints, 1.0, config, &[1.0; 2]).unwrap();
        model.features = normalizer.clone();
        let batches = Batches::new(&sequences, &model, &spread).unwrap();
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

    #[test]
    fn a_base_is_seen_in_a_mirror_too() {
        let config =
            PredictorConfig { steps: 3, blocks: vec![1], space: Space::PlanarBase, ..Default::default() };
        let state = |time: usize| {
            let t = time as f64;
            State {
                stamp: Stamp(time as i64),
                position: vec![t, 0.0, 0.1 * t],
                velocity: vec![1.0, 0.2, 0.3],
            }
        };
        let episode = Episode::new(1.0, (0..30).map(state).collect());
        let sequences = [Sequence::new(&episode, &config)];
        let names = ["x", "y", "yaw"].map(str::to_owned);
        let model = PredictorModel::untrained(&names, 1.0, config, &[1.0; 3]).unwrap();
        let spread = vec![vec![1.0; 3]; 3];
        let batches = Batches::new(&sequences, &model, &spread).unwrap();
        let streams = batches.draw(20, 5, &mut Pcg64::seed_from_u64(1));
        let inputs = batches.inputs(&streams, 0, 2).unwrap().to_vec3::<f32>().unwrap();
        let targets = batches.targets(&streams, &[0]).unwrap().to_vec3::<f32>().unwrap();
        for (row, mirrored) in streams.mirrored.iter().enumerate() {
            let sign = if *mirrored { -1.0 } else { 1.0 };
            let [vx, .., wz, _, _, _, _, _] = inputs[row][1][..] else { panic!("{inputs:?}") };
            assert_eq!((vx, inputs[row][1][6], wz), (1.0, sign * 0.2, sign * 0.3));
            // turned by 0.1 each step beside 0.3 at the rate measured
            assert!((targets[row][0][6] + sign * 0.2).abs() < 1e-6, "{targets:?}");
        }
        let count = streams.mirrored.iter().filter(|mirrored| **mirrored).count();
        assert!((1..20).contains(&count));
    }
}
