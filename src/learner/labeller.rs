//! From the stream of samples to labelled examples.
//!
//! The acceleration is the least-squares slope of the measured velocity over a window of ±h, which is the mean of the
//! accelerations between the samples with the weights (h + dt/2)² − τ² (partial summation). Efforts and features are
//! averaged with those same weights, so that effort and motion are filtered alike and fit each other whatever h is. The
//! slope has the variance 12 dt σ²/(2h)³: the window is chosen from the measured noise σ of the velocities.
//!
//! A command acts from `delay` after its sample on, for the time of one sample: with the motion at time t goes the
//! effort that was commanded at t − delay. What was lacking at t shows in the feedback at t + `feedback_lag`.

use crate::controller::features::{FEATURES_PER_JOINT, friction_feature, write_features};
use crate::learner::noise::VelocityNoise;
use crate::learner::replay::Example;
use crate::learner::sample::Sample;
use std::collections::VecDeque;

/// Half the window, shortest and longest [s].
const HALF_WINDOW: [f64; 2] = [0.010, 0.050];
/// Standard deviation of the acceleration that the window is chosen for [rad/s²].
const ACCELERATION_NOISE: f64 = 0.05;
/// Time from one example to the next [s]; neighbours tell the same.
const INTERVAL: f64 = 0.004;
/// Samples that are so many times further apart than usual do not belong to one motion.
const GAP: f64 = 5.0;

/// Turns samples into examples. Samples must come in order; a gap (pause, fault, clock jump) starts anew.
#[derive(Clone, Debug)]
pub struct Labeller {
    window: VecDeque<Sample>,
    /// Effort per unit of network output, Nm or N.
    output_scale: Vec<f64>,
    /// From a command to its effect [s].
    delay: f64,
    /// From a lack of effort to the feedback that it calls forth [s].
    feedback_lag: f64,
    noise: VelocityNoise,
    half_window: f64,
    /// Usual time between samples [s]; 0 before the second.
    dt: f64,
    /// Since the last example [s].
    elapsed: f64,
}

impl Labeller {
    pub fn new(output_scale: Vec<f64>, delay: f64, feedback_lag: f64) -> Self {
        Self {
            window: VecDeque::new(),
            delay,
            feedback_lag,
            noise: VelocityNoise::new(output_scale.len()),
            half_window: HALF_WINDOW[0],
            dt: 0.0,
            elapsed: INTERVAL,
            output_scale,
        }
    }

    pub fn degrees_of_freedom(&self) -> usize {
        self.output_scale.len()
    }

    /// Usual time between samples [s]; 0 before the second one.
    pub fn dt(&self) -> f64 {
        self.dt
    }

    /// Takes the next sample; gives an example when one is due and its window is full.
    pub fn push(&mut self, sample: Sample) -> Option<Example> {
        if let Some(last) = self.window.back() {
            let elapsed = sample.stamp.since(last.stamp);
            if elapsed == 0.0 {
                return None;
            }
            self.keep_pace(elapsed);
        }
        self.noise.observe(&sample.velocity, self.dt);
        self.window.push_back(sample);
        self.adapt_window();
        while self.spans_more_than_needed() {
            self.window.pop_front();
        }
        if self.elapsed < INTERVAL - 1e-6 {
            return None;
        }
        let example = self.example()?;
        self.elapsed = 0.0;
        Some(example)
    }

    /// Learns how far apart samples usually are, and starts anew where they are not.
    fn keep_pace(&mut self, elapsed: f64) {
        if self.dt > 0.0 && !(0.0..GAP * self.dt).contains(&elapsed) {
            self.window.clear();
            self.noise.interrupt();
            // Were this the usual distance from now on, it must be learned in the end.
            self.dt *= 1.1;
            return;
        }
        self.dt = if self.dt > 0.0 { self.dt + 0.02 * (elapsed - self.dt) } else { elapsed.abs() };
        self.elapsed += elapsed;
    }

    fn adapt_window(&mut self) {
        let Some(variance) = self.noise.largest_variance() else { return };
        let wanted = 0.5 * (12.0 * self.dt * variance / ACCELERATION_NOISE.powi(2)).cbrt();
        let shortest = HALF_WINDOW[0].max(2.0 * self.dt);
        self.half_window = wanted.clamp(shortest, HALF_WINDOW[1].max(shortest));
    }

    /// Examples a second, as long as samples keep coming.
    pub fn rate(&self) -> f64 {
        1.0 / self.dt.max(INTERVAL)
    }

    /// How far back an example reaches [s].
    pub fn span(&self) -> f64 {
        2.0 * self.half_window + self.delay + self.dt + self.feedback_lag
    }

    fn spans_more_than_needed(&self) -> bool {
        let (Some(second), Some(last)) = (self.window.get(1), self.window.back()) else { return false };
        last.stamp.since(second.stamp) >= self.span() - 1e-6
    }

    fn example(&self) -> Option<Example> {
        let (first, last) = (self.window.front()?, self.window.back()?);
        let (span, half) = (last.stamp.since(first.stamp), self.half_window);
        if span < self.span() - 1e-6 || half == 0.0 {
            return None;
        }
        let joints = self.degrees_of_freedom();
        let reach = half + 0.5 * self.dt;
        let weight = |time: f64| (reach * reach - time * time).max(0.0);
        let [mut achieved, mut reference] = [Motion::zeros(joints), Motion::zeros(joints)];
        let [mut applied, mut residual, mut feedback] = [(); 3].map(|()| vec![0.0; joints]);
        let mut slope = Slope::zeros(joints);
        let (mut of_motion, mut of_commands, mut of_feedback) = (0.0, 0.0, 0.0);
        for sample in &self.window {
            let time = sample.stamp.since(last.stamp) + half + self.feedback_lag;
            let late = weight(time - self.feedback_lag);
            add(&mut feedback, late, &sample.feedback_effort);
            of_feedback += late;
            if time.abs() <= half + 1e-6 {
                let weight = weight(time);
                achieved.add(weight, &sample.position, &sample.velocity, None);
                slope.add(time, &sample.velocity);
                of_motion += weight;
            }
            let weight = weight(time + self.delay + 0.5 * self.dt);
            if weight > 0.0 {
                let Sample { reference_position, reference_velocity, reference_acceleration, .. } = sample;
                reference.add(weight, reference_position, reference_velocity, Some(reference_acceleration));
                add(&mut applied, weight, &sample.effort);
                add(&mut applied, -weight, &sample.feedforward_effort);
                add(&mut residual, -weight, &sample.feedback_effort);
                of_commands += weight;
            }
        }
        add(&mut achieved.acceleration, of_motion, &slope.solve());
        add(&mut residual, 1.0, &applied);
        let in_units = |sum: &[f64], weight: f64| -> Vec<f32> {
            sum.iter().zip(&self.output_scale).map(|(sum, scale)| (sum / weight / scale) as f32).collect()
        };
        let example = Example {
            stamp: last.stamp,
            achieved: achieved.features(of_motion),
            reference: reference.features(of_commands),
            applied: in_units(&applied, of_commands),
            residual: in_units(&residual, of_commands),
            feedback: in_units(&feedback, of_feedback),
        };
        example.is_finite().then_some(example)
    }
}

/// The least-squares slope of a series over time.
struct Slope {
    count: f64,
    times: f64,
    squares: f64,
    values: Vec<f64>,
    products: Vec<f64>,
}

impl Slope {
    fn zeros(joints: usize) -> Self {
        Self { count: 0.0, times: 0.0, squares: 0.0, values: vec![0.0; joints], products: vec![0.0; joints] }
    }

    fn add(&mut self, time: f64, values: &[f64]) {
        self.count += 1.0;
        self.times += time;
        self.squares += time * time;
        add(&mut self.values, 1.0, values);
        add(&mut self.products, time, values);
    }

    fn solve(&self) -> Vec<f64> {
        let spread = self.squares - self.times * self.times / self.count;
        let of_joint = |(product, sum): (&f64, &f64)| (product - self.times / self.count * sum) / spread;
        self.products.iter().zip(&self.values).map(of_joint).collect()
    }
}

/// Weighted sums of what features are made of.
struct Motion {
    position: Vec<f64>,
    velocity: Vec<f64>,
    acceleration: Vec<f64>,
    friction: Vec<f64>,
}

impl Motion {
    fn zeros(joints: usize) -> Self {
        let zeros = vec![0.0; joints];
        Self {
            position: zeros.clone(),
            velocity: zeros.clone(),
            acceleration: zeros.clone(),
            friction: zeros,
        }
    }

    fn add(&mut self, weight: f64, position: &[f64], velocity: &[f64], acceleration: Option<&[f64]>) {
        add(&mut self.position, weight, position);
        add(&mut self.velocity, weight, velocity);
        if let Some(acceleration) = acceleration {
            add(&mut self.acceleration, weight, acceleration);
        }
        for (sum, velocity) in self.friction.iter_mut().zip(velocity) {
            *sum += weight * friction_feature(*velocity);
        }
    }

    /// The features of the mean, but for the direction of motion, which is the mean of the feature: friction, which is
    /// nearly linear in it, is averaged in the effort just so.
    fn features(mut self, weight: f64) -> Vec<f32> {
        for sums in [&mut self.position, &mut self.velocity, &mut self.acceleration, &mut self.friction] {
            scale(sums, 1.0 / weight);
        }
        let joints = self.position.len();
        let mut features = vec![0.0; FEATURES_PER_JOINT * joints];
        write_features(&self.position, &self.velocity, &self.acceleration, &mut features);
        let friction = features[(FEATURES_PER_JOINT - 1) * joints..].iter_mut();
        friction.zip(&self.friction).for_each(|(feature, mean)| *feature = *mean as f32);
        features
    }
}

fn add(sums: &mut [f64], weight: f64, values: &[f64]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
}

fn scale(values: &mut [f64], factor: f64) {
    values.iter_mut().for_each(|value| *value *= factor);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;
    use approx::assert_relative_eq;
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    use rand_pcg::Pcg64;

    /// One joint on q = t², so that v = 2t and a = 2; effort 3 + t acts `delay` later; feedforward 1, feedback 1 + 2t.
    fn sample(milliseconds: i64, delay: f64) -> Sample {
        let t = milliseconds as f64 * 1e-3;
        let mut sample = Sample::zeros(1);
        sample.stamp = Stamp(milliseconds * 1_000_000);
        sample.position = vec![t * t];
        sample.velocity = vec![2.0 * t];
        // What acts in the middle of the time of a command is right for that time.
        sample.effort = vec![3.0 + t + delay + 0.001];
        sample.feedforward_effort = vec![1.0];
        sample.feedback_effort = vec![1.0 + 2.0 * t];
        sample.reference_position = vec![0.5];
        sample
    }

    fn examples(labeller: &mut Labeller, milliseconds: std::ops::Range<i64>, delay: f64) -> Vec<Example> {
        milliseconds.step_by(2).filter_map(|k| labeller.push(sample(k, delay))).collect()
    }

    #[test]
    fn effort_and_motion_belong_to_the_same_time() {
        for delay in [0.0, 0.004, 0.010] {
            let mut labeller = Labeller::new(vec![2.0], delay, 0.02);
            let examples = examples(&mut labeller, 0..200, delay);
            let example = &examples[5];
            // The middle of the window: half of it, and the lag of the feedback, before the newest sample.
            let t = example.stamp.seconds() - 0.010 - 0.020;
            assert_relative_eq!(example.achieved[1], 2.0 * t as f32, epsilon = 1e-5);
            assert_relative_eq!(example.achieved[2], 2.0 / 4.0, epsilon = 1e-4);
            assert_relative_eq!(example.applied[0], ((3.0 + t - 1.0) / 2.0) as f32, epsilon = 1e-3);
            assert_relative_eq!(example.feedback[0], ((1.0 + 2.0 * (t + 0.02)) / 2.0) as f32, epsilon = 1e-3);
            assert_relative_eq!(example.reference[0], 0.25);
        }
    }

    #[test]
    fn noise_widens_the_window() {
        let spread = |deviation: f64| {
            let mut random = Pcg64::seed_from_u64(1);
            let mut labeller = Labeller::new(vec![1.0], 0.0, 0.0);
            let mut accelerations = Vec::new();
            for k in 0..2000 {
                let mut sample = sample(2 * k, 0.0);
                let draw: f64 = StandardNormal.sample(&mut random);
                sample.velocity = vec![1.0 + deviation * draw];
                accelerations
                    .extend(labeller.push(sample).map(|example| 4.0 * f64::from(example.achieved[2])));
            }
            let settled = &accelerations[500..];
            (labeller.half_window, (settled.iter().map(|a| a * a).sum::<f64>() / settled.len() as f64).sqrt())
        };
        let (quiet, _) = spread(1e-5);
        let (noisy, acceleration) = spread(1e-2);
        assert_relative_eq!(quiet, HALF_WINDOW[0]);
        assert!(noisy > 0.04 && acceleration < 1.5 * ACCELERATION_NOISE, "±{noisy} s, {acceleration} rad/s²");
    }

    #[test]
    fn a_gap_starts_a_new_window_and_a_duplicate_changes_nothing() {
        let mut labeller = Labeller::new(vec![1.0], 0.0, 0.0);
        assert!(!examples(&mut labeller, 0..40, 0.0).is_empty());
        assert!(examples(&mut labeller, 100..120, 0.0).is_empty(), "ten samples do not span the window");
        assert!(labeller.push(sample(118, 0.0)).is_none(), "a duplicate");
        assert!(!examples(&mut labeller, 120..130, 0.0).is_empty());
    }

    #[test]
    fn slow_robots_are_learned_from_too() {
        let mut labeller = Labeller::new(vec![1.0], 0.0, 0.0);
        let count = (0..100).filter_map(|k| labeller.push(sample(10 * k, 0.0))).count();
        assert!(count > 90, "{count} of 100 samples at 100 Hz");
    }
}
