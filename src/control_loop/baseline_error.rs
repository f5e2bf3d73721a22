//! The tracking error that the baseline alone would have: the one there is, and what the learned part takes off it.
//!
//! Without the learned command u the feedback would have to make it. The deviation δ that calls it forth obeys the baseline's
//! own law, d δ̇ + p δ + i ∫δ = u (of drives that take velocities δ̇ + p δ + i ∫δ = u, of those that take positions (1 + p) δ +
//! i ∫δ = u), less what an observer would have found of u by itself. The robot's inertia is left out: it matters beyond the
//! bandwidth of the feedback only.

use crate::command::Mode;
use crate::controller::Gains;

#[derive(Clone, Debug)]
pub struct BaselineError {
    joints: Vec<Joint>,
    /// Of the disturbance observer, rad/s; 0 without one.
    observer: f64,
}

#[derive(Clone, Copy, Debug)]
struct Joint {
    /// Command for a deviation, for its rate, and for its integral.
    p: f64,
    d: f64,
    i: f64,
    i_clamp: f64,
    integral: f64,
    observed: f64,
    deviation: f64,
}

impl BaselineError {
    /// The observer has another bandwidth, rad/s.
    pub fn set_observer(&mut self, bandwidth: f64) {
        self.observer = bandwidth;
    }

    /// For feedback with `gains`, one a joint, and an observer of that bandwidth, rad/s. A joint without p is taken to have the
    /// error that it has.
    pub fn new(mode: Mode, gains: &[Gains], observer: f64) -> Self {
        let joint = |gains: &Gains| {
            let Gains { p, i, d, i_clamp } = *gains;
            let (p, d) = match mode {
                Mode::Effort => (p, d),
                Mode::Velocity => (p, 1.0 + d),
                Mode::Position => (1.0 + p, d),
            };
            Joint { p, d, i, i_clamp, integral: 0.0, observed: 0.0, deviation: 0.0 }
        };
        Self { joints: gains.iter().map(joint).collect(), observer }
    }

    /// Nothing learned has acted of late.
    pub fn reset(&mut self) {
        for joint in &mut self.joints {
            (joint.integral, joint.observed, joint.deviation) = (0.0, 0.0, 0.0);
        }
    }

    /// The learned part has added `share` of `learned` [joint] to the command for `dt` [s].
    pub fn advance(&mut self, share: f64, learned: &[f64], dt: f64) {
        let found = 1.0 - (-self.observer * dt).exp();
        for (joint, learned) in self.joints.iter_mut().zip(learned).filter(|(joint, _)| joint.p > 0.0) {
            joint.observed += found * (share * learned - joint.observed);
            let lacking = share * learned - joint.observed - joint.integral;
            let approached = if joint.d > 0.0 { 1.0 - (-joint.p / joint.d * dt).exp() } else { 1.0 };
            joint.deviation += approached * (lacking / joint.p - joint.deviation);
            let integral = joint.integral + joint.i * joint.deviation * dt;
            joint.integral = integral.clamp(-joint.i_clamp, joint.i_clamp);
        }
    }

    /// Mean squares over joints of the error `reference` − `position`, and of the baseline's, rad² or m².
    pub fn squares(&self, reference: &[f64], position: &[f64]) -> [f64; 2] {
        let (mut own, mut of_baseline) = (0.0, 0.0);
        for ((reference, position), joint) in reference.iter().zip(position).zip(&self.joints) {
            let error = reference - position;
            own += error * error;
            of_baseline += (error + joint.deviation).powi(2);
        }
        [own, of_baseline].map(|sum| sum / self.joints.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DT: f64 = 0.002;

    fn after(mode: Mode, gains: Gains, observer: f64, seconds: f64) -> f64 {
        let mut error = BaselineError::new(mode, &[gains], observer);
        (0..(seconds / DT) as usize).for_each(|_| error.advance(0.5, &[12.0], DT));
        error.squares(&[1.0], &[1.0])[1].sqrt()
    }

    #[test]
    fn the_deviation_is_that_for_which_the_feedback_asks_the_learned_command() {
        let gains = Gains { p: 600.0, d: 30.0, ..Gains::default() };
        assert!((after(Mode::Effort, gains, 0.0, 2.0) - 0.01).abs() < 1e-9);
        let lag = after(Mode::Effort, gains, 0.0, 0.05) / 0.01;
        assert!((lag - (1.0 - f64::exp(-1.0))).abs() < 1e-3, "{lag} after d/p");
        assert!((after(Mode::Velocity, Gains { p: 10.0, ..gains }, 0.0, 60.0) - 0.6).abs() < 1e-6);
        assert_eq!(after(Mode::Position, Gains::default(), 0.0, 1.0), 6.0);
        assert_eq!(after(Mode::Effort, Gains::default(), 0.0, 1.0), 0.0, "no feedback, no deviation");
    }

    #[test]
    fn an_integral_or_an_observer_would_have_found_it() {
        let gains = Gains { p: 600.0, i: 6000.0, d: 30.0, i_clamp: 10.0 };
        assert!(after(Mode::Effort, gains, 0.0, 3.0) < 1e-6);
        let clamped = after(Mode::Effort, Gains { i_clamp: 3.0, ..gains }, 0.0, 3.0);
        assert!((clamped - 0.005).abs() < 1e-9, "the clamp leaves half: {clamped}");
        assert!(after(Mode::Effort, Gains { i: 0.0, ..gains }, 60.0, 1.0) < 1e-6);
    }

    #[test]
    fn the_learned_part_takes_its_deviation_off_the_error() {
        let mut error = BaselineError::new(Mode::Position, &[Gains::default(); 2], 0.0);
        error.advance(1.0, &[0.2, -0.1], DT);
        let [own, of_baseline] = error.squares(&[1.0, 1.0], &[0.9, 1.0]);
        assert!((own - 0.005).abs() < 1e-12);
        assert!((of_baseline - 0.5 * (0.09 + 0.01)).abs() < 1e-12);
        error.reset();
        assert_eq!(error.squares(&[1.0, 1.0], &[0.9, 1.0])[0], error.squares(&[1.0, 1.0], &[0.9, 1.0])[1]);
    }
}
