//! The predictor's experts at work: each predicts at the knots, is told the outcome when its time has come, learns
//! from it, and is believed as far as it has earned.

use super::commanded::{self, Commanded};
use super::commands::Told;
use super::constant_acceleration::{ACCELERATION_OVER, constant_acceleration};
use super::interpolation::{Between, NEIGHBOURS, between};
use super::linear::{LinearPath, knots};
use super::mixture::{
    ACCELERATION, ADAPTING, EXPERTS_WITH_COMMANDED, Evidence, Experts, LSTM, Made, Mixture, RIDGES, TRAINED,
};
use super::model::PredictorModel;
use super::recursive::RecursiveLeastSquares;
use super::ridge::{INPUTS, Lags, Ridge, WINDOW, write_window};
use crate::error::{Error, Result};
use crate::nn::normalizer::LIMIT;
use crate::state::{Space, State};

/// A robot rests that has been slower than this share of its usual speed for so many samples.
const SLOW: f64 = 0.05;
const REST: usize = 5;

/// All numbers in units of the features' scales and of the training spread. Sizes are fixed; no method allocates.
#[derive(Clone, Debug)]
pub(crate) struct Adaptive {
    space: Space,
    dt: f64,
    /// Of the horizon.
    steps: usize,
    knots: Vec<usize>,
    /// [coordinate][step]
    between: Vec<Vec<Between>>,
    own: Vec<RecursiveLeastSquares>,
    all: Option<RecursiveLeastSquares>,
    ridges: [Option<Ridge>; 2],
    mixture: Mixture,
    /// Of a model that is told commands.
    commanded: Option<Commanded>,
    /// [coordinate][knot], rad or m
    spread: Vec<f64>,
    /// Ring of samples, as long as the horizon or the ridges' window.
    samples: Vec<State>,
    /// Ring of predictions, [slot][coordinate][knot].
    made: Vec<Made>,
    slot: usize,
    /// Whether the robot rested at each sample of the ring; the square of the speed below which it does, over all coordinates;
    /// and for how many samples it has been as slow.
    rests: Vec<bool>,
    /// Of the samples that the ridge regressions look at.
    lags: Lags,
    slow: f64,
    slow_for: usize,
    /// Samples of the motion before the newest, up to the length of the ring.
    history: usize,
    /// Outcomes, [knot][coordinate].
    outcomes: Vec<f64>,
    /// Scratch: [knot][output] of one regression.
    output: Vec<f64>,
    targets: Vec<f64>,
    /// Scratch: [coordinate][input] of the ridges.
    window: Vec<f64>,
    local: [Vec<f64>; 2],
}

impl Adaptive {
    /// None for a model without a linear path.
    pub fn new(model: &PredictorModel, experts: Experts) -> Result<Option<Self>> {
        let Some(path) = &model.linear else { return Ok(None) };
        let (steps, coordinates) = (model.config.steps, model.joints.len());
        let knots = knots(steps);
        let LinearPath { memory, penalties, own, all, ridges, evidence, .. } = path;
        let regression = |seed: &super::recursive::Seed, penalty: f64| {
            RecursiveLeastSquares::new(seed.clone(), &knots, *memory, penalty).ok_or_else(|| {
                let problem = "its linear path has no covariance".to_owned();
                Error::Model { origin: "predictor".into(), problem }
            })
        };
        let own = own.iter().map(|seed| regression(seed, penalties[0])).collect::<Result<Vec<_>>>()?;
        let all = all.as_ref().map(|seed| regression(seed, penalties[1])).transpose()?;
        if evidence.len() != coordinates * knots.len() {
            return Err(Error::mismatch("evidence", evidence.len(), coordinates * knots.len()));
        }
        let slots = steps.max(model.config.lags[WINDOW - 1]) + 1;
        Ok(Some(Self {
            space: model.config.space,
            dt: model.dt,
            steps,
            between: model.spread.iter().map(|spread| between(&knots, spread)).collect(),
            own,
            all,
            ridges: ridges.clone(),
            mixture: Mixture::new(evidence.clone(), &knots, *memory, experts),
            commanded: Commanded::new(model, &knots, slots, experts)?,
            spread: model
                .spread
                .iter()
                .flat_map(|spread| knots.iter().map(|knot| spread[*knot - 1]))
                .collect(),
            samples: vec![State::zeros(coordinates); slots],
            made: vec![Made::default(); slots * coordinates * knots.len()],
            slot: 0,
            lags: model.config.lags,
            rests: vec![false; slots],
            slow: slow(model),
            slow_for: 0,
            history: 0,
            outcomes: vec![0.0; coordinates * knots.len()],
            output: vec![0.0; coordinates * knots.len()],
            targets: vec![0.0; coordinates * knots.len()],
            window: vec![0.0; coordinates * INPUTS],
            local: [vec![0.0; coordinates], vec![0.0; coordinates]],
            knots,
        }))
    }

    /// [coordinate][knot]
    pub fn evidence(&self) -> &[Evidence] {
        self.mixture.evidence()
    }

    /// The same of the mixture with the expert on commands; none without one.
    pub fn commanded_evidence(&self) -> Option<&[Evidence<EXPERTS_WITH_COMMANDED>]> {
        self.commanded.as_ref().map(Commanded::evidence)
    }

    /// Whether a command is in force at the newest sample.
    pub fn is_told(&self) -> bool {
        self.commanded.as_ref().is_some_and(Commanded::is_told)
    }

    /// Forgets all that was learned since it was made.
    pub fn reset(&mut self) {
        self.own.iter_mut().chain(&mut self.all).for_each(RecursiveLeastSquares::reset);
        self.commanded.iter_mut().for_each(Commanded::reset);
        self.mixture.reset();
        (self.history, self.slow_for) = (0, 0);
    }

    /// Takes in the sample one dt after the one before, or the first of a motion, with its `features` [coordinate ·
    /// feature], what the LSTM says of it, `heads` [coordinate][increments | log-variances], and what was `told` by then.
    /// Learns from it if `adapt`.
    pub fn observe(
        &mut self,
        sample: &State,
        is_first: bool,
        features: &[f64],
        heads: &[f32],
        told: Option<&Told>,
        adapt: bool,
    ) {
        if is_first {
            (self.history, self.slow_for) = (0, 0);
        }
        self.take_outcomes(sample, adapt);
        self.slot = (self.slot + 1) % self.samples.len();
        self.samples[self.slot].copy_from(sample);
        self.rests[self.slot] = self.find_rest();
        self.predict_by_features(features, adapt);
        self.predict_by_samples();
        self.combine_at_knots(heads, adapt);
        if let Some(commanded) = &mut self.commanded {
            let (outcomes, history) = (&self.outcomes, self.history);
            let sample = commanded::Sample { state: sample, is_first, features, outcomes, history, adapt };
            commanded.observe(self.slot, &sample, told);
            let of_slot = outcomes.len();
            let (count, steps) = (self.knots.len(), self.steps);
            let variance = |index: usize| {
                f64::from(heads[index / count * 2 * steps + steps + self.knots[index % count] - 1]).exp()
            };
            commanded.combine(&self.made[self.slot * of_slot..][..of_slot], variance, adapt);
        }
        self.history = (self.history + 1).min(self.samples.len() - 1);
    }

    /// Whether the robot rests at the newest sample: it has been slow for a window, and has not gone far in it, as one that
    /// creeps would.
    fn find_rest(&mut self) -> bool {
        let square = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
        let newest = &self.samples[self.slot];
        self.slow_for = if square(&newest.velocity) <= self.slow { self.slow_for + 1 } else { 0 };
        if self.slow_for < REST || self.history < REST {
            return false;
        }
        let before = &self.samples[self.slot_before(REST)];
        let moved = &mut self.local[0];
        self.space.difference(&before.position, &newest.position, moved);
        square(moved) <= self.slow * (REST as f64 * self.dt).powi(2)
    }

    /// Slot of the sample `steps` before the newest.
    fn slot_before(&self, steps: usize) -> usize {
        let slots = self.samples.len();
        (self.slot + slots - steps) % slots
    }

    /// Learns what became of the predictions for the time of `sample`, which is about to be taken in.
    fn take_outcomes(&mut self, sample: &State, adapt: bool) {
        let coordinates = sample.position.len();
        let of_slot = coordinates * self.knots.len();
        for knot in 0..self.knots.len() {
            let steps = self.knots[knot];
            if steps > self.history {
                break;
            }
            let slot = self.slot_before(steps - 1);
            let then = &self.samples[slot];
            let [moved, expected] = &mut self.local;
            self.space.difference(&then.position, &sample.position, moved);
            self.space.displacement(&then.velocity, steps as f64 * self.dt, expected);
            for coordinate in 0..coordinates {
                let index = coordinate * self.knots.len() + knot;
                let outcome = (moved[coordinate] - expected[coordinate]) / self.spread[index];
                self.outcomes[knot * coordinates + coordinate] = outcome;
                if adapt {
                    let made = &self.made[slot * of_slot + index];
                    self.mixture.add(index, made, outcome, self.rests[slot]);
                    self.commanded.iter_mut().for_each(|commanded| commanded.add(slot, index, outcome));
                }
            }
        }
    }

    /// Fills what the adapting regressions say at the newest sample.
    fn predict_by_features(&mut self, features: &[f64], adapt: bool) {
        let coordinates = self.local[0].len();
        let width = self.space.coupled(coordinates);
        let count = self.knots.len();
        let group_features = features.len() / self.own.len().max(1);
        let made = &mut self.made[self.slot * coordinates * count..][..coordinates * count];
        made.iter_mut().for_each(|made| made.experts = Default::default());
        for (group, own) in self.own.iter_mut().enumerate() {
            let targets = &mut self.targets[..width * count];
            for (target, outcome) in
                targets.chunks_exact_mut(width).zip(self.outcomes.chunks_exact(coordinates))
            {
                target.copy_from_slice(&outcome[group * width..(group + 1) * width]);
            }
            own.observe(&features[group * group_features..][..group_features], targets, self.history, adapt);
            let output = &mut self.output[..width * count];
            let made = &mut made[group * width * count..][..width * count];
            own.predict(output);
            take(output, ADAPTING[0], count, made);
            own.predict_as_trained(output);
            take(output, TRAINED[0], count, made);
        }
        if let Some(all) = &mut self.all {
            all.observe(features, &self.outcomes, self.history, adapt);
            all.predict(&mut self.output);
            take(&self.output, ADAPTING[1], count, made);
            all.predict_as_trained(&mut self.output);
            take(&self.output, TRAINED[1], count, made);
        }
    }

    /// Fills what the ridges and constant acceleration say at the newest sample: nothing as long as the motion is too young
    /// for them.
    fn predict_by_samples(&mut self) {
        let (coordinates, slots) = (self.local[0].len(), self.samples.len());
        if self.history >= self.lags[WINDOW - 1] && self.ridges.iter().any(Option::is_some) {
            let sample = |lag: usize| &self.samples[(self.slot + slots - self.lags[lag]) % slots];
            write_window(self.space, sample, &mut self.window, &mut self.local[0]);
            for (index, expert) in RIDGES.into_iter().enumerate() {
                if let Some(ridge) = &self.ridges[index] {
                    ridge.limit(&mut self.window);
                    ridge.predict(&self.window, &mut self.output);
                    self.take_displacements(expert);
                }
            }
        }
        if self.history >= ACCELERATION_OVER {
            let (now, before) =
                (&self.samples[self.slot], &self.samples[self.slot_before(ACCELERATION_OVER)]);
            for (output, steps) in self.output.chunks_exact_mut(coordinates).zip(&self.knots) {
                constant_acceleration(self.space, before, now, *steps as f64 * self.dt, output);
            }
            self.take_displacements(ACCELERATION);
        }
    }

    /// Takes the displacements in the output, [knot][coordinate], rad or m, for what `expert` predicts: within the bounds
    /// that inputs have, so that a glitch of a velocity is none of the prediction.
    fn take_displacements(&mut self, expert: usize) {
        let (count, coordinates) = (self.knots.len(), self.local[0].len());
        let of_slot = self.outcomes.len();
        let made = &mut self.made[self.slot * of_slot..][..of_slot];
        let velocity = &self.samples[self.slot].velocity;
        for (knot, displacements) in self.output.chunks_exact(coordinates).enumerate() {
            let expected = &mut self.local[0];
            self.space.displacement(velocity, self.knots[knot] as f64 * self.dt, expected);
            for (coordinate, (displacement, expected)) in displacements.iter().zip(expected).enumerate() {
                let index = coordinate * count + knot;
                let predicted = (displacement - *expected) / self.spread[index];
                let predicted = if predicted.is_nan() { 0.0 } else { predicted };
                made[index].experts[expert] = predicted.clamp(-LIMIT, LIMIT);
            }
        }
    }

    fn combine_at_knots(&mut self, heads: &[f32], adapt: bool) {
        if adapt {
            self.mixture.weigh();
        }
        let count = self.knots.len();
        let steps = self.steps;
        let of_slot = self.outcomes.len();
        for (index, made) in self.made[self.slot * of_slot..][..of_slot].iter_mut().enumerate() {
            let head = &heads[index / count * 2 * steps..][..2 * steps];
            let step = self.knots[index % count] - 1;
            made.experts[LSTM] = f64::from(head[step]);
            self.mixture.combine(index, made, f64::from(head[steps + step]).exp(), self.rests[self.slot]);
        }
    }

    /// Fills the increment and its standard deviation at each step, in units of the spread, for one coordinate with
    /// its LSTM's `head` [increments | log-variances].
    pub fn combine(&self, coordinate: usize, head: &[f32], increments: &mut [f64], stddevs: &mut [f64]) {
        let count = self.knots.len();
        let first = coordinate * count;
        let made = &self.made[self.slot * self.outcomes.len() + first..][..count];
        let commanded = self.commanded.as_ref().filter(|commanded| commanded.is_told());
        let at = |knot: usize| {
            if let Some(commanded) = commanded {
                return commanded.at(first + knot);
            }
            let (weights, ratio) = self.mixture.at(first + knot, self.rests[self.slot]);
            let linear = weights[..LSTM].iter().zip(&made[knot].experts).map(|(weight, by)| weight * by);
            [linear.sum(), weights[LSTM], ratio]
        };
        let (means, log_variances) = head.split_at(self.steps);
        let mut around = [[0.0; 3]; NEIGHBOURS];
        let mut first = None;
        for (step, between) in self.between[coordinate].iter().enumerate() {
            if first.replace(between.first) != Some(between.first) {
                around = std::array::from_fn(|place| at((between.first + place).min(count - 1)));
            }
            let [before, after] =
                [between.place, between.place + 1].map(|place| around[place.min(NEIGHBOURS - 1)]);
            let [lstm, ratio] =
                [1, 2].map(|part: usize| before[part] + between.share * (after[part] - before[part]));
            let linear: f64 =
                between.weights.iter().zip(&around).map(|(weight, [linear, ..])| weight * linear).sum();
            increments[step] = linear + lstm * f64::from(means[step]);
            stddevs[step] = (f64::from(log_variances[step]).exp() * ratio).sqrt();
        }
    }
}

/// The square of the speed, over all coordinates, below which a robot rests: a share of what was usual in training. One that
/// knows no training does not rest.
fn slow(model: &PredictorModel) -> f64 {
    let features = model.features.features() / model.joints.len().max(1);
    let scales = model.features.scale();
    let is_known = scales.iter().any(|scale| *scale != 1.0);
    // the first feature of a coordinate is its velocity
    let usual: f64 = scales.iter().step_by(features.max(1)).map(|scale| scale * scale).sum();
    if is_known { SLOW * SLOW * usual } else { -1.0 }
}

/// Takes `output` [knot][coordinate] for what `expert` predicts, with `made` [coordinate][knot] of so many knots.
fn take(output: &[f64], expert: usize, knots: usize, made: &mut [Made]) {
    for (knot, output) in output.chunks_exact(output.len() / knots).enumerate() {
        for (made, output) in made[knot..].iter_mut().step_by(knots).zip(output) {
            made.experts[expert] = *output;
        }
    }
}
