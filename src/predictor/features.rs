//! What a predictor is told of each coordinate: increments of the motion, never the place itself, so that what was
//! learned in one place holds in another. Training and running use this one implementation.

use crate::state::{Space, State};

/// Per coordinate, in this order: the velocity; then for each block of past samples the mean acceleration since the
/// block's middle, and by how much the mean velocity that the positions tell of the block is above the measured one.
/// Means over blocks that widen into the past tell of slow and fast motion alike and average noise out. Units of
/// the coordinate per s and s². Of a base also how far its arc at constant velocity leads away from the straight line in a
/// quarter, a half and the whole of the horizon, so that what is linear in the features can take an arc back. Samples
/// before the start count as the first, moving on as it moves.
#[derive(Clone, Debug)]
pub struct Features {
    space: Space,
    /// s
    dt: f64,
    /// Last sample before now of each block, in steps; the blocks lie end to end.
    blocks: Vec<usize>,
    /// Times of the arcs, s; none of joints.
    arcs: Vec<f64>,
    coordinates: usize,
    /// Velocities of the last samples, [slot][coordinate], a ring.
    velocities: Vec<f64>,
    /// Velocities by the step from the sample before, [slot][coordinate], of the same ring.
    rates: Vec<f64>,
    slot: usize,
    position: Vec<f64>,
}

impl Features {
    /// `dt` in s; `blocks` and the horizon `steps` in steps of dt, the former rising.
    pub fn new(space: Space, dt: f64, blocks: &[usize], steps: usize, coordinates: usize) -> Self {
        let arcs = ARCS.iter().map(|share| share * steps as f64 * dt).filter(|_| space == Space::PlanarBase);
        let slots = blocks.last().copied().unwrap_or(0) + 1;
        Self {
            space,
            dt,
            blocks: blocks.to_vec(),
            arcs: arcs.collect(),
            coordinates,
            velocities: vec![0.0; slots * coordinates],
            rates: vec![0.0; slots * coordinates],
            slot: 0,
            position: vec![0.0; coordinates],
        }
    }

    /// Number of features of one coordinate.
    pub fn count(&self) -> usize {
        count(self.space, &self.blocks)
    }

    /// Begins a motion at `sample`.
    pub fn start(&mut self, sample: &State) {
        for ring in [&mut self.velocities, &mut self.rates] {
            ring.chunks_exact_mut(self.coordinates).for_each(|slot| slot.copy_from_slice(&sample.velocity));
        }
        self.position.copy_from_slice(&sample.position);
    }

    /// Takes the sample one dt after the one before.
    pub fn advance(&mut self, sample: &State) {
        self.slot = (self.slot + 1) % self.slots();
        let range = self.slot * self.coordinates..(self.slot + 1) * self.coordinates;
        self.velocities[range.clone()].copy_from_slice(&sample.velocity);
        let rates = &mut self.rates[range];
        self.space.difference(&self.position, &sample.position, rates);
        rates.iter_mut().for_each(|rate| *rate /= self.dt);
        self.position.copy_from_slice(&sample.position);
    }

    /// Fills `out` [count] for one coordinate.
    pub fn write(&self, coordinate: usize, out: &mut [f64]) {
        let velocity = self.velocities[self.index(coordinate, 0)];
        out[0] = velocity;
        let (blocks, arcs) = out[1..].split_at_mut(2 * self.blocks.len());
        let newest = &self.velocities[self.slot * self.coordinates..][..self.coordinates];
        for (out, time) in arcs.iter_mut().zip(&self.arcs) {
            let mut arc = [0.0; 3];
            self.space.displacement(newest, *time, &mut arc);
            *out = arc[coordinate] - velocity * time;
        }
        let mut from = 0;
        for (out, &to) in blocks.chunks_exact_mut(2).zip(&self.blocks) {
            let (mut measured, mut moved) = (0.0, 0.0);
            for lag in from..to {
                measured += self.velocities[self.index(coordinate, lag + 1)];
                moved += self.rates[self.index(coordinate, lag)];
            }
            let samples = (to - from) as f64;
            let middle = 0.5 * (from + to + 1) as f64 * self.dt;
            out[0] = (velocity - measured / samples) / middle;
            out[1] = (moved - measured) / samples;
            from = to;
        }
    }

    fn slots(&self) -> usize {
        self.velocities.len() / self.coordinates
    }

    /// Where the rings have `coordinate` at `lag` steps before the newest sample.
    fn index(&self, coordinate: usize, lag: usize) -> usize {
        (self.slot + self.slots() - lag) % self.slots() * self.coordinates + coordinate
    }
}

/// Shares of the horizon at which arcs are told.
const ARCS: [f64; 3] = [0.25, 0.5, 1.0];

/// Number of features of one coordinate with such blocks.
pub fn count(space: Space, blocks: &[usize]) -> usize {
    let arcs = if space == Space::PlanarBase { ARCS.len() } else { 0 };
    1 + 2 * blocks.len() + arcs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;

    #[test]
    fn accelerations_and_what_positions_tell_by_block() {
        let mut features = Features::new(Space::Joints, 0.1, &[1, 3], 5, 2);
        let mut out = [0.0; 5];
        // joint 1: v = t², at t = 0, 0.1, ...; q = v/2 so that positions disagree with v
        for step in 0..6i32 {
            let v = (0.1 * f64::from(step)).powi(2);
            let sample = State { stamp: Stamp(0), position: vec![7.0, v / 2.0], velocity: vec![1.0, v] };
            if step == 0 {
                features.start(&sample)
            } else {
                features.advance(&sample)
            }
            features.write(0, &mut out);
            assert_eq!((out[0], out[1], out[3]), (1.0, 0.0, 0.0)); // constant velocity
            assert!((out[2] - if step == 0 { 0.0 } else { -1.0 }).abs() < 1e-12); // beside a standing position
        }
        features.write(1, &mut out);
        let expected = [
            0.25,
            (0.25 - 0.16) / 0.1,
            (0.25 - 0.16) / 2.0 / 0.1 - 0.16,
            (0.25 - (0.09 + 0.04) / 2.0) / 0.25,
            (0.16 - 0.04) / 2.0 / 0.2 - (0.09 + 0.04) / 2.0,
        ];
        out.iter().zip(expected).for_each(|(out, expected)| assert!((out - expected).abs() < 1e-12, "{out}"));
    }

    #[test]
    fn before_the_start_it_went_on_as_at_the_first() {
        let mut features = Features::new(Space::Joints, 0.1, &[4], 5, 1);
        let sample = |q, v| State { stamp: Stamp(0), position: vec![q], velocity: vec![v] };
        let mut out = [0.0; 3];
        features.start(&sample(0.0, 2.0));
        features.write(0, &mut out);
        assert_eq!(out, [2.0, 0.0, 0.0]);
        features.advance(&sample(0.2, 3.0));
        features.write(0, &mut out);
        out.iter().zip([3.0, 4.0, 0.0]).for_each(|(out, expected)| assert!((out - expected).abs() < 1e-12));
    }

    #[test]
    fn a_base_that_drives_straight_has_the_same_features_in_every_direction() {
        for yaw in [0.0, 1.0, -2.5f64] {
            let mut features = Features::new(Space::PlanarBase, 0.1, &[2], 20, 3);
            let at = |x: f64| State {
                stamp: Stamp(0),
                position: vec![x * yaw.cos(), x * yaw.sin(), yaw],
                velocity: vec![1.0, 0.0, 0.2],
            };
            features.start(&at(0.0));
            features.advance(&at(0.2));
            features.advance(&at(0.3));
            let mut out = [0.0; 6];
            features.write(0, &mut out);
            assert!((out[2] - 0.5).abs() < 1e-12, "{out:?}"); // 2 m/s, then 1 m/s, beside 1 m/s measured
            features.write(1, &mut out);
            assert!((out[5] - (1.0 - 0.4f64.cos()) / 0.2).abs() < 1e-12, "{out:?}"); // to the side in 2 s
        }
    }
}
