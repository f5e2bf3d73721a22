//! What the network is told of each joint: increments of the motion, never the angle itself, so that what was
//! learned in one place holds in another. Training and running use this one implementation.

use crate::state::State;

/// Per joint, in this order: velocity; velocity by differences of position less the measured one; mean acceleration
/// over each of `lags` steps. Units of the joint per s and s². Steps before the start count as standing at the
/// first sample.
#[derive(Clone, Debug)]
pub struct Features {
    /// s
    dt: f64,
    lags: Vec<usize>,
    joints: usize,
    /// Velocities of the last samples, [slot][joint], a ring.
    velocities: Vec<f64>,
    slot: usize,
    position: Vec<f64>,
    /// Velocity by differences at the newest sample, [joint].
    differenced: Vec<f64>,
}

impl Features {
    /// `dt` in s, `lags` in steps of dt.
    pub fn new(dt: f64, lags: &[usize], joints: usize) -> Self {
        let slots = lags.iter().max().copied().unwrap_or(0) + 1;
        Self {
            dt,
            lags: lags.to_vec(),
            joints,
            velocities: vec![0.0; slots * joints],
            slot: 0,
            position: vec![0.0; joints],
            differenced: vec![0.0; joints],
        }
    }

    /// Number of features of one joint.
    pub fn count(&self) -> usize {
        2 + self.lags.len()
    }

    /// Begins a motion at `sample`.
    pub fn start(&mut self, sample: &State) {
        self.velocities.chunks_exact_mut(self.joints).for_each(|slot| slot.copy_from_slice(&sample.velocity));
        self.position.copy_from_slice(&sample.position);
        self.differenced.copy_from_slice(&sample.velocity);
    }

    /// Takes the sample one dt after the one before.
    pub fn advance(&mut self, sample: &State) {
        self.slot = (self.slot + 1) % self.slots();
        self.velocities[self.slot * self.joints..][..self.joints].copy_from_slice(&sample.velocity);
        for ((differenced, before), now) in
            self.differenced.iter_mut().zip(&mut self.position).zip(&sample.position)
        {
            *differenced = (now - *before) / self.dt;
            *before = *now;
        }
    }

    /// Fills `out` [count] for one joint.
    pub fn write(&self, joint: usize, out: &mut [f64]) {
        let velocity = self.velocity(joint, 0);
        out[0] = velocity;
        out[1] = self.differenced[joint] - velocity;
        for (out, lag) in out[2..].iter_mut().zip(&self.lags) {
            *out = (velocity - self.velocity(joint, *lag)) / (*lag as f64 * self.dt);
        }
    }

    fn slots(&self) -> usize {
        self.velocities.len() / self.joints
    }

    /// Velocity of `joint` at `lag` steps before the newest sample.
    fn velocity(&self, joint: usize, lag: usize) -> f64 {
        let slot = (self.slot + self.slots() - lag) % self.slots();
        self.velocities[slot * self.joints + joint]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;

    #[test]
    fn velocities_and_accelerations_over_the_lags() {
        let mut features = Features::new(0.1, &[1, 3], 2);
        let mut out = [0.0; 4];
        // joint 1: v = t², at t = 0, 0.1, ...; q = v/2 so that differences disagree with v
        for step in 0..6i32 {
            let v = (0.1 * f64::from(step)).powi(2);
            let sample = State { stamp: Stamp(0), position: vec![7.0, v / 2.0], velocity: vec![1.0, v] };
            if step == 0 {
                features.start(&sample)
            } else {
                features.advance(&sample)
            }
            features.write(0, &mut out);
            let moved = if step == 0 { 0.0 } else { -1.0 };
            assert_eq!(out, [1.0, moved, 0.0, 0.0]); // constant velocity beside a standing position
        }
        features.write(1, &mut out);
        let expected = [0.25, (0.25 - 0.16) / 2.0 / 0.1 - 0.25, (0.25 - 0.16) / 0.1, (0.25 - 0.04) / 0.3];
        out.iter().zip(expected).for_each(|(out, expected)| assert!((out - expected).abs() < 1e-12));
    }

    #[test]
    fn before_the_start_the_velocity_was_the_first() {
        let mut features = Features::new(0.1, &[4], 1);
        let sample = |v| State { stamp: Stamp(0), position: vec![0.0], velocity: vec![v] };
        let mut out = [0.0; 3];
        features.start(&sample(2.0));
        features.write(0, &mut out);
        assert_eq!(out, [2.0, 0.0, 0.0]);
        features.advance(&sample(3.0));
        features.write(0, &mut out);
        assert_eq!(out[2], 1.0 / 0.4);
    }
}
