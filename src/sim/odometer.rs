//! What a simulated base knows of its own motion: the true pose and twist with noise, as of a base that is localised.

use super::base_scenario::BaseScenario;
use crate::state::State;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

#[derive(Debug)]
pub struct Odometer {
    seed: u64,
    random: Pcg64,
    measured: State,
}

impl Odometer {
    pub fn new(seed: u64) -> Self {
        Self { seed, random: Pcg64::seed_from_u64(seed), measured: State::zeros(3) }
    }

    /// The noise begins anew.
    pub fn reset(&mut self) {
        self.random = Pcg64::seed_from_u64(self.seed);
    }

    /// The newest measurement.
    pub fn measured(&self) -> &State {
        &self.measured
    }

    /// Measures `truth` as well as `scenario` allows.
    pub fn measure(&mut self, truth: &State, scenario: &BaseScenario) {
        self.measured.copy_from(truth);
        let BaseScenario { position_noise, yaw_noise, velocity_noise, yaw_rate_noise, .. } = *scenario;
        let spread =
            [position_noise, position_noise, yaw_noise, velocity_noise, velocity_noise, yaw_rate_noise];
        let values = self.measured.position.iter_mut().chain(&mut self.measured.velocity);
        for (value, spread) in values.zip(spread) {
            let noise: f64 = StandardNormal.sample(&mut self.random);
            *value += spread * noise;
        }
        self.measured.position[2] += scenario.yaw_bias;
    }
}
