//! Model predictive path integral control (Williams et al., Information theoretic MPC for model-based reinforcement
//! learning, ICRA 2017) with the nominal model: a base whose twist follows the one it is sent with the nominal lag.
//! Sequences of twists are drawn about the best one so far, rolled out, and averaged by exp(-cost / λ). The reference's own
//! twist is the origin, so that doing nothing else is always among what is tried.

use crate::base::{Pose, ReferencePath, Twist, TwistLimits, pose_error};
use crate::state::{Space, State};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MppiConfig {
    pub samples: usize,
    pub steps: usize,
    /// Of the model, s.
    pub dt: f64,
    /// Standard deviation of what is tried of each axis that the base has, m/s, m/s and rad/s.
    pub spread: Twist,
    /// Temperature λ.
    pub temperature: f64,
    /// Of squared errors of place [1/m²] and heading [1/rad²], and of squared departures from the reference's twist
    /// relative to `spread`.
    pub place: f64,
    pub heading: f64,
    pub effort: f64,
}

impl Default for MppiConfig {
    /// Those of a differential drive; see [`super::BaseTuning`].
    fn default() -> Self {
        Self {
            samples: 200,
            steps: 15,
            dt: 0.1,
            spread: [0.08, 0.08, 0.3],
            temperature: 0.2,
            place: 30.0,
            heading: 4.0,
            effort: 0.01,
        }
    }
}

pub struct Mppi {
    config: MppiConfig,
    limits: TwistLimits,
    /// Of the nominal base, s.
    lag: f64,
    random: Pcg64,
    /// Departures from the reference's twist, [step].
    plan: Vec<Twist>,
    tried: Vec<Twist>,
    sum: Vec<Twist>,
    /// Where the reference is and how it moves, [step].
    reference: Vec<(Pose, Twist)>,
    costs: Vec<f64>,
}

impl Mppi {
    pub fn new(config: MppiConfig, limits: TwistLimits, lag: f64, seed: u64) -> Self {
        let steps = config.steps;
        Self {
            limits,
            lag,
            random: Pcg64::seed_from_u64(seed),
            plan: vec![[0.0; 3]; steps],
            tried: vec![[0.0; 3]; steps * config.samples],
            sum: vec![[0.0; 3]; steps],
            reference: vec![Default::default(); steps + 1],
            costs: vec![0.0; config.samples],
            config,
        }
    }

    /// The twist at `state`, `time` [s] after the beginning of `path`; `period` [s] from one tick to the next.
    pub fn command(&mut self, state: &State, path: &ReferencePath, time: f64, period: f64) -> Twist {
        for (step, (pose, velocity)) in self.reference.iter_mut().enumerate() {
            path.sample_into(time + step as f64 * self.config.dt, pose, velocity, &mut [0.0; 3]);
        }
        self.draw();
        let (Ok(pose), Ok(twist)) =
            (Pose::try_from(&state.position[..]), Twist::try_from(&state.velocity[..]))
        else {
            return [0.0; 3];
        };
        for sample in 0..self.config.samples {
            self.costs[sample] = self.cost(pose, twist, sample);
        }
        self.average();
        let wanted = self.reference[0].1;
        let out = [0, 1, 2].map(|axis| wanted[axis] + self.plan[0][axis]);
        self.shift(period);
        out
    }

    fn draw(&mut self) {
        let Self { config, random, plan, tried, limits, .. } = self;
        for (sample, tried) in tried.chunks_exact_mut(config.steps).enumerate() {
            for (tried, plan) in tried.iter_mut().zip(plan.iter()) {
                for axis in (0..3).filter(|axis| limits.speed(*axis) > 0.0) {
                    let noise: f64 = StandardNormal.sample(random);
                    // the first is the plan itself, the second the reference
                    tried[axis] = match sample {
                        0 => plan[axis],
                        1 => 0.0,
                        _ => plan[axis] + config.spread[axis] * noise,
                    };
                }
            }
        }
    }

    fn cost(&self, mut pose: Pose, mut twist: Twist, sample: usize) -> f64 {
        let MppiConfig { steps, dt, spread, place, heading, effort, .. } = self.config;
        let approach = 1.0 - (-dt / self.lag).exp();
        let mut cost = 0.0;
        for step in 0..steps {
            let tried = self.tried[sample * steps + step];
            let wanted = self.reference[step].1;
            let mut sent = [0, 1, 2].map(|axis| wanted[axis] + tried[axis]);
            self.limits.limit_velocity(&mut sent);
            let mut mean = [0.0; 3];
            for axis in 0..3 {
                let lacking = twist[axis] - sent[axis];
                mean[axis] = sent[axis] + lacking * approach * self.lag / dt;
                twist[axis] = sent[axis] + lacking * (1.0 - approach);
            }
            let (from, mut local) = (pose, [0.0; 3]);
            Space::PlanarBase.displacement(&mean, dt, &mut local);
            Space::PlanarBase.integrate(&from, &local, &mut pose);
            let error = pose_error(&pose, &self.reference[step + 1].0);
            cost += place * (error[0].powi(2) + error[1].powi(2)) + heading * error[2].powi(2);
            cost += effort
                * tried.iter().zip(spread).map(|(tried, spread)| (tried / spread).powi(2)).sum::<f64>();
        }
        cost
    }

    fn average(&mut self) {
        let least = self.costs.iter().copied().fold(f64::INFINITY, f64::min);
        self.sum.fill([0.0; 3]);
        let mut total = 0.0;
        for (tried, cost) in self.tried.chunks_exact(self.config.steps).zip(&self.costs) {
            let weight = (-(cost - least) / self.config.temperature).exp();
            total += weight;
            for (sum, tried) in self.sum.iter_mut().zip(tried) {
                (0..3).for_each(|axis| sum[axis] += weight * tried[axis]);
            }
        }
        for (plan, sum) in self.plan.iter_mut().zip(&self.sum) {
            *plan = sum.map(|sum| sum / total);
        }
    }

    /// What was planned comes nearer by `period`.
    fn shift(&mut self, period: f64) {
        let share = (period / self.config.dt).min(1.0);
        for step in 0..self.plan.len() {
            let next = self.plan.get(step + 1).copied().unwrap_or([0.0; 3]);
            (0..3).for_each(|axis| self.plan[step][axis] += share * (next[axis] - self.plan[step][axis]));
        }
    }
}
