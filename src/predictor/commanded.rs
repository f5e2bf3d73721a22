//! The expert on commands at work: an auto-regression on the coordinate's own past and on what it was told (ARX;
//! Ljung, System Identification, 4.2), adapted as the others are, in a mixture of its own beside them all. While no
//! command is in force it says nothing, and the others are believed as if there were none.

use super::commands::{CommandFeatures, Told};
use super::mixture::{COMMANDED, EXPERTS, EXPERTS_WITH_COMMANDED, Evidence, Experts, LSTM, Made, Mixture};
use super::model::PredictorModel;
use super::recursive::RecursiveLeastSquares;
use crate::error::{Error, Result};
use crate::nn::normalizer::Normalizer;
use crate::state::State;

/// What one sample is to the expert, beside what it was told.
pub(super) struct Sample<'a> {
    pub state: &'a State,
    pub is_first: bool,
    /// Normalized, [coordinate · feature].
    pub features: &'a [f64],
    /// Of the predictions that came due, [knot][coordinate].
    pub outcomes: &'a [f64],
    /// Samples of the motion before it.
    pub history: usize,
    pub adapt: bool,
}

/// All numbers in units of the features' scales and of the training spread. No method allocates.
#[derive(Clone, Debug)]
pub(super) struct Commanded {
    features: CommandFeatures,
    scales: Normalizer,
    knots: usize,
    coordinates: usize,
    /// One for each group of coupled coordinates.
    own: Vec<RecursiveLeastSquares>,
    mixture: Mixture<EXPERTS_WITH_COMMANDED>,
    /// Ring of predictions, [slot][coordinate][knot], and whether a command was in force at each slot.
    made: Vec<Made<EXPERTS_WITH_COMMANDED>>,
    told: Vec<bool>,
    slot: usize,
    /// Scratch: features of the commands [coordinate · feature], as they are and normalized.
    values: Vec<f64>,
    input: Vec<f32>,
    /// Scratch, of one group: its features and those of its commands, outcomes and predictions [knot][output].
    regressors: Vec<f64>,
    targets: Vec<f64>,
    output: Vec<f64>,
}

impl Commanded {
    /// With rings of so many `slots`. None for a model without commands, or where `experts` leaves this one out.
    pub fn new(
        model: &PredictorModel,
        knots: &[usize],
        slots: usize,
        experts: Experts,
    ) -> Result<Option<Self>> {
        let (config, path) = (&model.config, model.linear.as_ref());
        let path = path.and_then(|path| Some((path.memory, path.commanded.as_ref()?)));
        let (Some((memory, path)), Some(commands), true) = (path, &config.commands, experts.commanded) else {
            return Ok(None);
        };
        let coordinates = model.joints.len();
        let features = CommandFeatures::new(commands, model.dt, &config.blocks, config.steps);
        let own = path.own.iter().map(|seed| {
            RecursiveLeastSquares::new(seed.clone(), knots, memory, path.penalty).ok_or_else(|| {
                let problem = "its expert on commands has no covariance".to_owned();
                Error::Model { origin: "predictor".into(), problem }
            })
        });
        let own = own.collect::<Result<Vec<_>>>()?;
        let count = features.count() * coordinates;
        if path.evidence.len() != coordinates * knots.len() || path.scales.features() != count {
            let found = (path.evidence.len(), path.scales.features());
            let expected = format!("{:?}", (coordinates * knots.len(), count));
            let what = "evidence and features of the expert on commands";
            return Err(Error::mismatch(what, format!("{found:?}"), expected));
        }
        let width = coordinates / own.len().max(1);
        Ok(Some(Self {
            values: vec![0.0; count],
            input: vec![0.0; count],
            regressors: vec![0.0; path.own.first().map_or(0, |seed| seed.regressors)],
            targets: vec![0.0; width * knots.len()],
            output: vec![0.0; width * knots.len()],
            features,
            scales: path.scales.clone(),
            knots: knots.len(),
            coordinates,
            own,
            mixture: Mixture::new(path.evidence.clone(), knots, memory, experts),
            made: vec![Made::default(); slots * coordinates * knots.len()],
            told: vec![false; slots],
            slot: 0,
        }))
    }

    /// [coordinate][knot]
    pub fn evidence(&self) -> &[Evidence<EXPERTS_WITH_COMMANDED>] {
        self.mixture.evidence()
    }

    /// Forgets all that was learned since it was made.
    pub fn reset(&mut self) {
        self.own.iter_mut().for_each(RecursiveLeastSquares::reset);
        self.mixture.reset();
        self.told.fill(false);
    }

    /// Whether a command is in force at the newest sample.
    pub fn is_told(&self) -> bool {
        self.told[self.slot]
    }

    /// Takes in the `outcome` at `index` of [coordinate][knot] of the prediction made at `slot`, if a command was in force.
    pub fn add(&mut self, slot: usize, index: usize, outcome: f64) {
        if self.told[slot] {
            self.mixture.add(index, &self.made[slot * self.of_slot() + index], outcome, false);
        }
    }

    /// Takes in a sample at `slot`.
    pub fn observe(&mut self, slot: usize, sample: &Sample, told: Option<&Told>) {
        self.slot = slot;
        self.told[slot] = self.features.observe(sample.state, sample.is_first, told, &mut self.values);
        self.scales.normalize(&self.values, &mut self.input);
        let (of_slot, groups) = (self.of_slot(), self.own.len());
        let width = self.coordinates / groups.max(1);
        let (of_motion, of_commands) = (sample.features.len() / groups, self.input.len() / groups);
        let made = &mut self.made[slot * of_slot..][..of_slot];
        for (group, own) in self.own.iter_mut().enumerate() {
            for (targets, outcomes) in
                self.targets.chunks_exact_mut(width).zip(sample.outcomes.chunks_exact(self.coordinates))
            {
                targets.copy_from_slice(&outcomes[group * width..][..width]);
            }
            let (motion, commands) = self.regressors.split_at_mut(of_motion);
            motion.copy_from_slice(&sample.features[group * of_motion..][..of_motion]);
            let inputs = &self.input[group * of_commands..][..of_commands];
            commands.iter_mut().zip(inputs).for_each(|(command, input)| *command = f64::from(*input));
            let adapt = sample.adapt && self.told[slot];
            own.observe(&self.regressors, &self.targets, sample.history, adapt);
            own.predict(&mut self.output);
            for (index, made) in
                made[group * width * self.knots..].iter_mut().take(width * self.knots).enumerate()
            {
                // from [knot][output] to [coordinate][knot]
                made.experts[COMMANDED] = self.output[index % self.knots * width + index / self.knots];
            }
        }
    }

    /// Makes the whole of what the `others` [coordinate][knot] say and of this expert; `variance` is the LSTM's at an
    /// index of these.
    pub fn combine(&mut self, others: &[Made], variance: impl Fn(usize) -> f64, adapt: bool) {
        if adapt && self.is_told() {
            self.mixture.weigh();
        }
        let of_slot = self.of_slot();
        let made = &mut self.made[self.slot * of_slot..][..of_slot];
        for (index, (made, other)) in made.iter_mut().zip(others).enumerate() {
            made.experts[..EXPERTS].copy_from_slice(&other.experts);
            self.mixture.combine(index, made, variance(index), false);
        }
    }

    /// At `index` of [coordinate][knot]: what all say but the LSTM, how far that is believed, and the correction of the
    /// variance.
    pub fn at(&self, index: usize) -> [f64; 3] {
        let (weights, ratio) = self.mixture.at(index, false);
        let made = &self.made[self.slot * self.of_slot() + index];
        let said = weights.iter().zip(&made.experts).enumerate();
        let linear = said.filter(|(expert, _)| *expert != LSTM).map(|(_, (weight, by))| weight * by);
        [linear.sum(), weights[LSTM], ratio]
    }

    fn of_slot(&self) -> usize {
        self.coordinates * self.knots
    }
}
