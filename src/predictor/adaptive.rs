//! The predictor's experts at work: each predicts at the knots, is told the outcome when its time has come, learns
//! from it, and is believed as far as it has earned.

use super::linear::{LinearPath, knots};
use super::mixture::{Evidence, Experts, Made, Mixture};
use super::model::PredictorModel;
use super::recursive::RecursiveLeastSquares;
use crate::error::{Error, Result};
use crate::state::{Space, State};

/// All numbers in units of the features' scales and of the training spread. Sizes are fixed; no method allocates.
#[derive(Clone, Debug)]
pub(crate) struct Adaptive {
    space: Space,
    dt: f64,
    knots: Vec<usize>,
    /// For each step, the knot at or before it and the share of the one after.
    between: Vec<(usize, f64)>,
    own: Vec<RecursiveLeastSquares>,
    all: Option<RecursiveLeastSquares>,
    mixture: Mixture,
    /// [coordinate][knot], rad or m
    spread: Vec<f64>,
    /// Ring of samples, as long as the horizon.
    samples: Vec<State>,
    /// Ring of predictions, [slot][coordinate][knot].
    made: Vec<Made>,
    slot: usize,
    /// Samples since the motion began, up to the horizon.
    history: usize,
    /// Outcomes, [knot][coordinate].
    outcomes: Vec<f64>,
    /// Scratch: [knot][output] of one regression.
    output: Vec<f64>,
    targets: Vec<f64>,
    local: [Vec<f64>; 2],
}

impl Adaptive {
    /// None for a model without a linear path.
    pub fn new(model: &PredictorModel, experts: Experts) -> Result<Option<Self>> {
        let Some(path) = &model.linear else { return Ok(None) };
        let (steps, coordinates) = (model.config.steps, model.joints.len());
        let knots = knots(steps);
        let LinearPath { memory, penalties, own, all, evidence } = path;
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
        let between = (1..=steps).map(|step| {
            let knot = knots.partition_point(|knot| *knot <= step) - 1;
            let share = knots
                .get(knot + 1)
                .map_or(0.0, |next| (step - knots[knot]) as f64 / (next - knots[knot]) as f64);
            (knot, share)
        });
        Ok(Some(Self {
            space: model.config.space,
            dt: model.dt,
            between: between.collect(),
            own,
            all,
            mixture: Mixture::new(evidence.clone(), &knots, *memory, experts),
            spread: model
                .spread
                .iter()
                .flat_map(|spread| knots.iter().map(|knot| spread[*knot - 1]))
                .collect(),
            samples: vec![State::zeros(coordinates); steps + 1],
            made: vec![Made::default(); (steps + 1) * coordinates * knots.len()],
            slot: 0,
            history: 0,
            outcomes: vec![0.0; coordinates * knots.len()],
            output: vec![0.0; coordinates * knots.len()],
            targets: vec![0.0; coordinates * knots.len()],
            local: [vec![0.0; coordinates], vec![0.0; coordinates]],
            knots,
        }))
    }

    /// [coordinate][knot]
    pub fn evidence(&self) -> &[Evidence] {
        self.mixture.evidence()
    }

    /// Forgets all that was learned since it was made.
    pub fn reset(&mut self) {
        self.own.iter_mut().chain(&mut self.all).for_each(RecursiveLeastSquares::reset);
        self.mixture.reset();
        self.history = 0;
    }

    /// Takes in the sample one dt after the one before, or the first of a motion, with its `features` [coordinate ·
    /// feature] and what the LSTM says of it, `heads` [coordinate][increments | log-variances]. Learns from it if
    /// `adapt`.
    pub fn observe(&mut self, sample: &State, is_first: bool, features: &[f64], heads: &[f32], adapt: bool) {
        if is_first {
            self.history = 0;
        }
        self.take_outcomes(sample, adapt);
        self.slot = (self.slot + 1) % self.samples.len();
        self.samples[self.slot].copy_from(sample);
        self.predict_experts(features, adapt);
        self.combine_at_knots(heads, adapt);
        self.history = (self.history + 1).min(self.samples.len() - 1);
    }

    /// Slot of the sample `steps` before the one that is about to be taken in.
    fn slot_before(&self, steps: usize) -> usize {
        let slots = self.samples.len();
        (self.slot + 1 + slots - steps) % slots
    }

    fn take_outcomes(&mut self, sample: &State, adapt: bool) {
        let coordinates = sample.position.len();
        let of_slot = coordinates * self.knots.len();
        for knot in 0..self.knots.len() {
            let steps = self.knots[knot];
            if steps > self.history {
                break;
            }
            let slot = self.slot_before(steps);
            let then = &self.samples[slot];
            let [moved, expected] = &mut self.local;
            self.space.difference(&then.position, &sample.position, moved);
            self.space.displacement(&then.velocity, steps as f64 * self.dt, expected);
            for coordinate in 0..coordinates {
                let index = coordinate * self.knots.len() + knot;
                let outcome = (moved[coordinate] - expected[coordinate]) / self.spread[index];
                self.outcomes[knot * coordinates + coordinate] = outcome;
                if adapt {
                    self.mixture.add(index, &self.made[slot * of_slot + index], outcome);
                }
            }
        }
    }

    /// Fills the experts' predictions at the new slot, except the LSTM's.
    fn predict_experts(&mut self, features: &[f64], adapt: bool) {
        let coordinates = self.local[0].len();
        let width = self.space.coupled(coordinates);
        let count = self.knots.len();
        let group_features = features.len() / self.own.len().max(1);
        let made = &mut self.made[self.slot * coordinates * count..][..coordinates * count];
        for (group, own) in self.own.iter_mut().enumerate() {
            let targets = &mut self.targets[..width * count];
            for (target, outcome) in
                targets.chunks_exact_mut(width).zip(self.outcomes.chunks_exact(coordinates))
            {
                target.copy_from_slice(&outcome[group * width..(group + 1) * width]);
            }
            own.observe(&features[group * group_features..][..group_features], targets, self.history, adapt);
            own.predict(&mut self.output[..width * count]);
            for (knot, output) in self.output[..width * count].chunks_exact(width).enumerate() {
                for (coordinate, output) in (group * width..).zip(output) {
                    made[coordinate * count + knot].experts[0] = *output;
                }
            }
        }
        match &mut self.all {
            Some(all) => {
                all.observe(features, &self.outcomes, self.history, adapt);
                all.predict(&mut self.output);
                for (knot, output) in self.output.chunks_exact(coordinates).enumerate() {
                    for (coordinate, output) in output.iter().enumerate() {
                        made[coordinate * count + knot].experts[1] = *output;
                    }
                }
            }
            None => made.iter_mut().for_each(|made| made.experts[1] = 0.0),
        }
    }

    fn combine_at_knots(&mut self, heads: &[f32], adapt: bool) {
        if adapt {
            self.mixture.weigh();
        }
        let count = self.knots.len();
        let steps = self.between.len();
        let of_slot = self.outcomes.len();
        for (index, made) in self.made[self.slot * of_slot..][..of_slot].iter_mut().enumerate() {
            let head = &heads[index / count * 2 * steps..][..2 * steps];
            let step = self.knots[index % count] - 1;
            made.experts[2] = f64::from(head[step]);
            self.mixture.combine(index, made, f64::from(head[steps + step]).exp());
        }
    }

    /// Fills the increment and its standard deviation at each step, in units of the spread, for one coordinate with
    /// its LSTM's `head` [increments | log-variances].
    pub fn combine(&self, coordinate: usize, head: &[f32], increments: &mut [f64], stddevs: &mut [f64]) {
        let count = self.knots.len();
        let first = coordinate * count;
        let made = &self.made[self.slot * self.outcomes.len() + first..][..count];
        let at = |knot: usize| {
            let ([own, all, lstm], ratio) = self.mixture.at(first + knot);
            let [by_own, by_all, _] = made[knot].experts;
            [own * by_own + all * by_all, lstm, ratio]
        };
        let (means, log_variances) = head.split_at(self.between.len());
        for (step, (knot, share)) in self.between.iter().enumerate() {
            let (before, after) = (at(*knot), at((*knot + 1).min(count - 1)));
            let [linear, lstm, ratio] = std::array::from_fn(|i| before[i] + share * (after[i] - before[i]));
            increments[step] = linear + lstm * f64::from(means[step]);
            stddevs[step] = (f64::from(log_variances[step]).exp() * ratio).sqrt();
        }
    }
}
