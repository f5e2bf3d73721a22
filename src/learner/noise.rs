//! How noisy the measured velocities are, from their second differences: motion leaves little in these, white noise of
//! variance σ² leaves 6 σ².

/// Time over which it is averaged [s].
const MEMORY: f64 = 1.0;

#[derive(Clone, Debug)]
pub struct VelocityNoise {
    /// The last two velocities of each joint, the older first.
    last: [Vec<f64>; 2],
    seen: usize,
    variance: Vec<f64>,
    /// Time that the average stands for so far [s].
    time: f64,
}

impl VelocityNoise {
    pub fn new(degrees_of_freedom: usize) -> Self {
        let zeros = vec![0.0; degrees_of_freedom];
        Self { last: [zeros.clone(), zeros.clone()], seen: 0, variance: zeros, time: 0.0 }
    }

    /// Starts anew after a gap; what is known of the noise stays.
    pub fn interrupt(&mut self) {
        self.seen = 0;
    }

    /// Takes the next velocity, `dt` [s] after the last.
    pub fn observe(&mut self, velocity: &[f64], dt: f64) {
        if self.seen >= 2 {
            self.time = (self.time + dt).min(MEMORY);
            let share = (dt / self.time).min(1.0);
            for (joint, variance) in self.variance.iter_mut().enumerate() {
                let bend = velocity[joint] - 2.0 * self.last[1][joint] + self.last[0][joint];
                *variance += share * (bend * bend / 6.0 - *variance);
            }
        }
        self.seen += 1;
        self.last.swap(0, 1);
        self.last[1].copy_from_slice(velocity);
    }

    /// The largest variance of any joint [(rad/s)²]; `None` before a tenth of a second was seen.
    pub fn largest_variance(&self) -> Option<f64> {
        (self.time >= 0.1 * MEMORY).then(|| self.variance.iter().copied().fold(0.0, f64::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    use rand_pcg::Pcg64;

    #[test]
    fn motion_is_not_taken_for_noise() {
        for deviation in [1e-3, 1e-2] {
            let mut random = Pcg64::seed_from_u64(1);
            let mut noise = VelocityNoise::new(2);
            assert_eq!(noise.largest_variance(), None);
            for k in 0..2000 {
                let t = 0.002 * f64::from(k);
                let draw: f64 = StandardNormal.sample(&mut random);
                noise.observe(&[(5.0 * t).sin(), (3.0 * t).cos() + deviation * draw], 0.002);
            }
            let found = noise.largest_variance().unwrap().sqrt();
            assert!((found / deviation - 1.0).abs() < 0.1, "{found} of {deviation}");
        }
    }
}
