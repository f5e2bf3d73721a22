//! Recursive least squares for several times ahead at once: the outcome of a prediction is known only when its time
//! has come, and is then learned with the gain that its regressors had.

use crate::vector::dot;

/// A wrong outcome (a glitch of a sensor, a knock) pulls no more than one of so many usual errors.
const CLIP: f64 = 5.0;
/// No motion is that many spreads away.
pub const MAX_PREDICTION: f64 = 1e12;
/// The usual error is taken as no less than this share of the spread: a robot at rest must not take the start of the
/// next motion for a glitch.
const LEAST_USUAL: f64 = 0.1;
/// Outcomes over which the usual error is averaged.
const USUAL_OVER: f64 = 200.0;

/// What the regression starts from: the solution of a ridge regression, and how sure it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Seed {
    pub regressors: usize,
    pub outputs: usize,
    /// [knot][output][regressor]
    pub weights: Vec<f64>,
    /// Lower Cholesky factor of the information XᵀX + λ·I, [regressor][regressor].
    pub factor: Vec<f64>,
}

/// y_k(t) = w_k · x(t) for each step k of `knots`, with w_k from recursive least squares with exponential forgetting
/// (Ljung, System Identification, 2nd ed., 11.2) and a bound on the covariance's trace: at the bound nothing is
/// forgotten, so that a robot at rest does not wind it up.
#[derive(Clone, Debug)]
pub struct RecursiveLeastSquares {
    seed: Seed,
    /// Steps ahead, rising.
    knots: Vec<usize>,
    forgetting: f64,
    weights: Vec<f64>,
    covariance: Vec<f64>,
    seed_covariance: Vec<f64>,
    trace_limit: f64,
    /// Mean square of the error, [knot][output].
    usual: Vec<f64>,
    /// [slot][regressors | gain], a ring as long as the last knot.
    past: Vec<f64>,
    slot: usize,
}

impl RecursiveLeastSquares {
    /// `memory`: samples that count; `penalty`: the information that there is without any sample. None if the
    /// seed's factor has no inverse.
    pub fn new(seed: Seed, knots: &[usize], memory: f64, penalty: f64) -> Option<Self> {
        let size = seed.regressors;
        let factor = nalgebra::DMatrix::from_row_slice(size, size, &seed.factor);
        let inverse = factor.solve_lower_triangular(&nalgebra::DMatrix::identity(size, size))?;
        let covariance = inverse.tr_mul(&inverse);
        let finite = covariance.iter().chain(&seed.weights).all(|value| value.is_finite());
        let expected = knots.len() * seed.outputs * size;
        if !finite || seed.weights.len() != expected {
            return None;
        }
        let covariance = covariance.as_slice().to_vec(); // symmetric
        let slots = knots.last().copied().unwrap_or(0) + 1;
        Some(Self {
            knots: knots.to_vec(),
            forgetting: 1.0 - 1.0 / memory.max(2.0),
            weights: seed.weights.clone(),
            seed_covariance: covariance.clone(),
            covariance,
            trace_limit: size as f64 / penalty,
            usual: vec![1.0; knots.len() * seed.outputs],
            past: vec![0.0; slots * 2 * size],
            slot: 0,
            seed,
        })
    }

    /// Back to the seed.
    pub fn reset(&mut self) {
        self.weights.copy_from_slice(&self.seed.weights);
        self.covariance.copy_from_slice(&self.seed_covariance);
        self.usual.fill(1.0);
        self.past.fill(0.0);
    }

    /// Learns the outcomes `targets` [knot][output] of the predictions made each knot's steps ago, as far as there
    /// are `history` samples, then takes in `regressors`. Nothing is learned of regressors that came with `adapt`
    /// false.
    pub fn observe(&mut self, regressors: &[f64], targets: &[f64], history: usize, adapt: bool) {
        for knot in 0..self.knots.len() {
            if self.knots[knot] <= history {
                self.learn(knot, targets);
            }
        }
        let size = self.seed.regressors;
        self.slot = (self.slot + 1) % (self.past.len() / (2 * size));
        let (present, gain) = self.past[self.slot * 2 * size..][..2 * size].split_at_mut(size);
        present.copy_from_slice(regressors);
        gain.fill(0.0);
        if adapt && !update(&mut self.covariance, present, gain, self.forgetting, self.trace_limit) {
            gain.fill(0.0);
            self.covariance.copy_from_slice(&self.seed_covariance);
        }
    }

    fn learn(&mut self, knot: usize, targets: &[f64]) {
        let (size, outputs) = (self.seed.regressors, self.seed.outputs);
        let slots = self.past.len() / (2 * size);
        let slot = (self.slot + 1 + slots - self.knots[knot]) % slots;
        let (regressors, gain) = self.past[slot * 2 * size..][..2 * size].split_at(size);
        let of_knot = knot * outputs..(knot + 1) * outputs;
        let weights = self.weights[of_knot.start * size..of_knot.end * size].chunks_exact_mut(size);
        for ((weights, usual), target) in weights.zip(&mut self.usual[of_knot.clone()]).zip(&targets[of_knot])
        {
            let limit = CLIP * usual.sqrt().max(LEAST_USUAL);
            let error = target - dot(weights, regressors);
            if !error.is_finite() {
                continue;
            }
            let error = error.clamp(-limit, limit);
            *usual += (error * error - *usual) / USUAL_OVER;
            weights.iter_mut().zip(gain).for_each(|(weight, gain)| *weight += gain * error);
        }
    }

    /// Fills `out` [knot][output] from the newest regressors. Should rounding have ruined the weights, it begins anew
    /// from the seed and gives zero.
    pub fn predict(&mut self, out: &mut [f64]) {
        self.apply(&self.weights, out);
        if out.iter().any(|value| value.abs() > MAX_PREDICTION || value.is_nan()) {
            self.reset();
            out.fill(0.0);
        }
    }

    /// Fills `out` [knot][output] from the newest regressors by the weights of the seed.
    pub fn predict_as_trained(&self, out: &mut [f64]) {
        self.apply(&self.seed.weights, out);
        let is_sound = |value: &f64| value.abs() <= MAX_PREDICTION;
        out.iter_mut().filter(|value| !is_sound(value)).for_each(|value| *value = 0.0);
    }

    fn apply(&self, weights: &[f64], out: &mut [f64]) {
        let size = self.seed.regressors;
        let regressors = &self.past[self.slot * 2 * size..][..size];
        for (out, weights) in out.iter_mut().zip(weights.chunks_exact(size)) {
            *out = dot(weights, regressors);
        }
    }
}

/// P ← (P - P·x·xᵀ·P / d) / λ with d = λ + xᵀ·P·x, and the gain P·x / d; false where rounding has left no covariance.
fn update(covariance: &mut [f64], regressors: &[f64], gain: &mut [f64], forgetting: f64, limit: f64) -> bool {
    let size = regressors.len();
    for (gain, row) in gain.iter_mut().zip(covariance.chunks_exact(size)) {
        *gain = dot(row, regressors);
    }
    let trace: f64 = covariance.iter().step_by(size + 1).sum();
    let forgetting = if trace < limit { forgetting } else { 1.0 };
    let innovation = dot(gain, regressors);
    let denominator = forgetting + innovation;
    if !(innovation >= 0.0 && denominator.is_finite()) {
        return false;
    }
    for (row, left) in covariance.chunks_exact_mut(size).zip(&*gain) {
        for (value, right) in row.iter_mut().zip(&*gain) {
            *value = (*value - left * right / denominator) / forgetting;
        }
    }
    gain.iter_mut().for_each(|gain| *gain /= denominator);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No weights, information `penalty`.
    fn blank(regressors: usize, outputs: usize, knots: &[usize], memory: f64) -> RecursiveLeastSquares {
        let penalty = 1e-2f64;
        let mut factor = vec![0.0; regressors * regressors];
        factor.iter_mut().step_by(regressors + 1).for_each(|value| *value = penalty.sqrt());
        let weights = vec![0.0; knots.len() * outputs * regressors];
        let seed = Seed { regressors, outputs, weights, factor };
        RecursiveLeastSquares::new(seed, knots, memory, penalty).unwrap()
    }

    fn regressors(time: usize) -> [f64; 2] {
        let time = time as f64;
        [(0.7 * time).sin(), (0.31 * time).cos()]
    }

    /// Runs with the targets that the weights [knot][output][regressor] give.
    fn run(estimate: &mut RecursiveLeastSquares, truth: &[f64], times: std::ops::Range<usize>) {
        let knots = estimate.knots.clone();
        for time in times {
            let targets: Vec<f64> = (0..truth.len() / 2)
                .map(|output| {
                    let knot = output / (truth.len() / 2 / knots.len());
                    dot(&truth[2 * output..][..2], &regressors(time.saturating_sub(knots[knot])))
                })
                .collect();
            estimate.observe(&regressors(time), &targets, time, true);
        }
    }

    #[test]
    fn it_finds_the_weights_of_every_time_ahead() {
        let truth = [1.0, 2.0, -1.0, 0.5, 3.0, 0.0, 0.1, -4.0];
        let mut estimate = blank(2, 2, &[1, 4], 1e6);
        run(&mut estimate, &truth, 0..400);
        estimate.weights.iter().zip(truth).for_each(|(found, truth)| assert!((found - truth).abs() < 1e-2));
        let mut out = [0.0; 4];
        estimate.predict(&mut out);
        assert!((out[3] - dot(&truth[6..], &regressors(399))).abs() < 1e-2);
        estimate.reset();
        estimate.predict(&mut out);
        assert_eq!(out, [0.0; 4]);
    }

    #[test]
    fn a_change_is_learned_and_a_glitch_is_not() {
        let mut estimate = blank(2, 1, &[3], 100.0);
        run(&mut estimate, &[1.0, 1.0], 0..2000);
        let before = estimate.weights.clone();
        estimate.observe(&regressors(2000), &[1e6], 2000, true);
        estimate.weights.iter().zip(&before).for_each(|(now, then)| assert!((now - then).abs() < 0.05));
        run(&mut estimate, &[-1.0, 2.0], 2001..4000);
        estimate.weights.iter().zip([-1.0, 2.0]).for_each(|(w, truth)| assert!((w - truth).abs() < 1e-2));
    }

    #[test]
    fn rest_does_not_wind_it_up_and_nonsense_does_not_break_it() {
        let mut estimate = blank(2, 1, &[1], 50.0);
        run(&mut estimate, &[1.0, 1.0], 0..200);
        for _ in 0..100_000 {
            estimate.observe(&[0.0, 0.0], &[0.0], 200, true);
        }
        assert!(estimate.covariance.iter().step_by(3).sum::<f64>() <= 1.1 * estimate.trace_limit);
        for value in [1e200, f64::NAN, f64::INFINITY, 1.0, 1.0] {
            estimate.observe(&[value, -value], &[value], 200, true);
        }
        run(&mut estimate, &[2.0, 1.0], 201..1000);
        estimate.weights.iter().zip([2.0, 1.0]).for_each(|(w, truth)| assert!((w - truth).abs() < 1e-2));
    }
}
