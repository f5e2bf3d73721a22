//! The learned predictor: constant velocity plus what linear auto-regressions and a streaming LSTM say the motion will
//! add to it, each as far as it has earned.

use super::adaptive::Adaptive;
use super::commands::{CommandConfig, Instruction, Told};
use super::features::Features;
use super::mixture::{EXPERTS_WITH_COMMANDED, Evidence, Experts};
use super::model::PredictorModel;
use super::resampler::Resampler;
use super::{Observation, Predictor, fits};
use crate::error::{Error, Result};
use crate::nn::lstm::FrozenLstm;
use crate::nn::normalizer::Normalizer;
use crate::state::{Space, State};
use crate::trajectory::{Horizon, Trajectory};
use std::sync::Arc;

/// Bounds of the head's log-variance: a standard deviation from 1/55 to 7 of the training spread. Without the lower
/// one the loss of a robot that often stands would know nothing but the standing.
pub const LOG_VARIANCE: (f32, f32) = (-8.0, 4.0);

/// q(t + k·dt) = q(t) ⊕ (v(t)·k·dt + e_k): the local displacement at constant velocity and its correction e_k, scaled
/// by the training spread of step k; velocities are those of that curve. One step of the network a stream and, while
/// it adapts, one of the regressions for each dt of measured time.
#[derive(Clone, Debug)]
pub struct LstmPredictor {
    space: Space,
    horizon: Horizon,
    resampler: Resampler,
    corrector: Corrector,
    /// Of the model.
    commands: Option<CommandConfig>,
    /// What came since the last measurement, and what was told by then.
    heard: Option<Arc<Instruction>>,
    told: Option<Told>,
    /// [coordinate][step], rad or m
    spread: Vec<Vec<f64>>,
    /// e_0 = 0, e_1, ..., e_H, [coordinate][step], rad or m.
    increments: Vec<Vec<f64>>,
    stddevs: Vec<f64>,
    local: Vec<f64>,
    slopes: Vec<f64>,
}

/// All that learns, on samples at equal steps: the network and, in a model with a linear path, what adapts.
#[derive(Clone, Debug)]
pub(crate) struct Corrector {
    encoder: Encoder,
    adaptive: Option<Adaptive>,
    adapt: bool,
}

impl Corrector {
    pub(crate) fn new(model: &PredictorModel, experts: Experts) -> Result<Self> {
        Ok(Self { encoder: Encoder::new(model)?, adaptive: Adaptive::new(model, experts)?, adapt: true })
    }

    pub(crate) fn set_adapting(&mut self, adapt: bool) {
        self.adapt = adapt;
    }

    /// Takes in the sample one dt after the one before, or the first of a motion, with what was told by then.
    pub(crate) fn observe(&mut self, sample: &State, is_first: bool, told: Option<&Told>) {
        self.encoder.advance(sample, is_first);
        if let Some(adaptive) = &mut self.adaptive {
            let Encoder { regressors, heads, .. } = &self.encoder;
            adaptive.observe(sample, is_first, regressors, heads, told, self.adapt);
        }
    }

    /// Forgets all that was learned since it was made.
    fn reset(&mut self) {
        self.adaptive.iter_mut().for_each(Adaptive::reset);
    }

    /// The network's output for one coordinate, [increments | log-variances], in units of the spread.
    pub(crate) fn head(&self, coordinate: usize) -> &[f32] {
        let size = self.encoder.heads.len() / self.encoder.coordinates;
        &self.encoder.heads[coordinate * size..][..size]
    }

    /// What the experts have shown so far, [coordinate][knot]; none for a model without a linear path.
    pub(crate) fn evidence(&self) -> Option<&[Evidence]> {
        self.adaptive.as_ref().map(Adaptive::evidence)
    }

    /// What all experts and the one on commands have shown, [coordinate][knot]; none without one.
    pub(crate) fn commanded_evidence(&self) -> Option<&[Evidence<EXPERTS_WITH_COMMANDED>]> {
        self.adaptive.as_ref().and_then(Adaptive::commanded_evidence)
    }

    /// Fills the increments of one coordinate and their standard deviations, [step], in units of the spread.
    fn correct(&self, coordinate: usize, increments: &mut [f64], stddevs: &mut [f64]) {
        let head = self.head(coordinate);
        let Some(adaptive) = &self.adaptive else {
            let (means, log_variances) = head.split_at(increments.len());
            increments.iter_mut().zip(means).for_each(|(increment, mean)| *increment = f64::from(*mean));
            let pairs = stddevs.iter_mut().zip(log_variances);
            return pairs.for_each(|(stddev, log)| *stddev = f64::from(0.5 * log).exp());
        };
        adaptive.combine(coordinate, head, increments, stddevs);
    }
}

/// From sample to the network's output: features, their scales, the network.
#[derive(Clone, Debug)]
struct Encoder {
    features: Features,
    normalizer: Normalizer,
    network: FrozenLstm,
    coordinates: usize,
    values: Vec<f64>,
    /// Normalized features, [coordinate · feature].
    input: Vec<f32>,
    regressors: Vec<f64>,
    /// One stream's output.
    output: Vec<f32>,
    /// [coordinate][increments | log-variances]
    heads: Vec<f32>,
}

impl Encoder {
    fn new(model: &PredictorModel) -> Result<Self> {
        let (coordinates, config) = (model.joints.len(), &model.config);
        let count = config.features() * coordinates;
        if model.features.features() != count {
            return Err(Error::mismatch("features of the predictor", model.features.features(), count));
        }
        let streams = coordinates / config.space.coupled(coordinates);
        let network = model.lstm()?.freeze(streams)?;
        Ok(Self {
            features: Features::new(config.space, model.dt, &config.blocks, config.steps, coordinates),
            normalizer: model.features.clone(),
            output: vec![0.0; network.config().outputs],
            network,
            coordinates,
            values: vec![0.0; count],
            input: vec![0.0; count],
            regressors: vec![0.0; count],
            heads: vec![0.0; coordinates * 2 * config.steps],
        })
    }

    /// Takes in the sample one dt after the one before, or the first of a motion.
    fn advance(&mut self, sample: &State, is_first: bool) {
        if is_first {
            self.network.reset();
            self.features.start(sample);
        } else {
            self.features.advance(sample);
        }
        let count = self.features.count();
        for (coordinate, values) in self.values.chunks_exact_mut(count).enumerate() {
            self.features.write(coordinate, values);
        }
        self.normalizer.normalize(&self.values, &mut self.input);
        let inputs = self.network.config().inputs;
        for (stream, input) in self.input.chunks_exact(inputs).enumerate() {
            self.network.advance(stream, input);
        }
        let pairs = self.regressors.iter_mut().zip(&self.input);
        pairs.for_each(|(regressor, input)| *regressor = f64::from(*input));
        self.read_out();
    }

    /// Puts the network's output in the order of the coordinates.
    fn read_out(&mut self) {
        let steps = self.heads.len() / (2 * self.coordinates);
        let width = self.output.len() / (2 * steps);
        for (stream, heads) in self.heads.chunks_exact_mut(self.output.len()).enumerate() {
            self.network.read_out(stream, &mut self.output);
            let (means, log_variances) = self.output.split_at(width * steps);
            let coordinates = means.chunks_exact(steps).zip(log_variances.chunks_exact(steps));
            for (head, (means, log_variances)) in heads.chunks_exact_mut(2 * steps).zip(coordinates) {
                head[..steps].copy_from_slice(means);
                for (bounded, value) in head[steps..].iter_mut().zip(log_variances) {
                    *bounded = value.clamp(LOG_VARIANCE.0, LOG_VARIANCE.1);
                }
            }
        }
    }
}

impl LstmPredictor {
    pub fn new(model: &PredictorModel) -> Result<Self> {
        Self::with_experts(model, Experts::ALL)
    }

    /// With only some of the experts, to see what each is worth.
    pub fn with_experts(model: &PredictorModel, experts: Experts) -> Result<Self> {
        let (horizon, coordinates) = (model.horizon(), model.joints.len());
        if horizon.dt.is_zero() {
            return Err(Error::mismatch("dt of the predictor [s]", model.dt, "above zero"));
        }
        model.config.check(coordinates)?;
        let steps = horizon.steps;
        if model.spread.len() != coordinates || model.spread.iter().any(|spread| spread.len() != steps) {
            let expected = format!("{coordinates} coordinates of {steps} steps");
            return Err(Error::mismatch("size of the spread", model.spread.len(), expected));
        }
        Ok(Self {
            space: model.config.space,
            horizon,
            resampler: Resampler::new(horizon.dt, coordinates),
            corrector: Corrector::new(model, experts)?,
            commands: model.config.commands.clone(),
            heard: None,
            told: None,
            spread: model.spread.clone(),
            increments: vec![vec![0.0; steps + 1]; coordinates],
            stddevs: vec![0.0; steps],
            local: vec![0.0; coordinates],
            slopes: vec![0.0; coordinates],
        })
    }

    /// Whether the linear path and the belief in the experts follow what is measured; from the start they do.
    pub fn set_adapting(&mut self, adapt: bool) {
        self.corrector.set_adapting(adapt);
    }

    /// The commands that the model knows; none if it was made without.
    pub fn commands(&self) -> Option<&CommandConfig> {
        self.commands.as_ref()
    }

    /// Takes in what the robot was told after the newest measurement; it counts from the next one on. Of several the last
    /// counts, of a model without commands none.
    pub fn hear(&mut self, instruction: Arc<Instruction>) {
        self.heard = Some(instruction);
    }

    /// As [`Predictor::observe`], with what had been told by then in place of what was heard.
    pub fn observe_told(&mut self, state: &State, told: Option<&Told>) -> Observation {
        let corrector = &mut self.corrector;
        self.resampler.observe(state, |sample, is_first| corrector.observe(sample, is_first, told))
    }

    /// Whether a command is in force, so that the expert on commands has a say.
    pub fn is_told(&self) -> bool {
        self.corrector.adaptive.as_ref().is_some_and(Adaptive::is_told)
    }

    /// Fills the increments of one coordinate and the standard deviations of `out`.
    fn correct(&mut self, coordinate: usize, out: &mut Trajectory) {
        let increments = &mut self.increments[coordinate][1..];
        self.corrector.correct(coordinate, increments, &mut self.stddevs);
        let spreads = self.spread[coordinate].iter();
        for (((increment, stddev), spread), out) in
            increments.iter_mut().zip(&self.stddevs).zip(spreads).zip(&mut out.stddev)
        {
            *increment *= spread;
            out[coordinate] = stddev * spread;
        }
    }

    /// Fills the states of `out` from the increments.
    fn lay_out(&mut self, out: &mut Trajectory) {
        let Some(newest) = self.resampler.newest() else { return };
        let dt = self.horizon.dt.as_secs_f64();
        out.stamp = newest.stamp;
        for (k, state) in (1..).zip(&mut out.states) {
            let ahead = self.horizon.time_from_start(k);
            state.stamp = newest.stamp + ahead;
            self.space.displacement(&newest.velocity, ahead.as_secs_f64(), &mut self.local);
            // turned so far, of which the velocity at constant velocity knows the first part itself
            let (turned, more) = (self.local.last().copied(), self.increments.last().map(|yaw| yaw[k]));
            for (((local, slope), increments), velocity) in
                self.local.iter_mut().zip(&mut self.slopes).zip(&self.increments).zip(&mut state.velocity)
            {
                *local += increments[k];
                *slope = slope_at(increments, k) / dt;
                *velocity = 0.0;
            }
            self.space.integrate(&newest.position, &self.local, &mut state.position);
            state.velocity.copy_from_slice(&newest.velocity);
            if let (Space::PlanarBase, Some(turned), Some(more)) = (self.space, turned, more) {
                self.space.turn(-more, &mut state.velocity);
                self.space.turn(-(turned + more), &mut self.slopes);
            }
            state.velocity.iter_mut().zip(&self.slopes).for_each(|(velocity, slope)| *velocity += slope);
        }
    }
}

/// Derivative of `values` (from index 0) at `k` ≥ 1 per step: central differences, at the end of second order.
fn slope_at(values: &[f64], k: usize) -> f64 {
    match values.get(k + 1) {
        Some(next) => 0.5 * (next - values[k - 1]),
        None if k >= 2 => 0.5 * (3.0 * values[k] - 4.0 * values[k - 1] + values[k - 2]),
        None => values[k] - values[k - 1],
    }
}

impl Predictor for LstmPredictor {
    fn horizon(&self) -> Horizon {
        self.horizon
    }

    fn observe(&mut self, state: &State) -> Observation {
        if let Some(heard) = self.heard.take() {
            let since = self.resampler.newest().map_or(state.stamp, |newest| newest.stamp);
            self.told = Some(Told::new(since, heard));
        }
        let (corrector, told) = (&mut self.corrector, self.told.as_ref());
        self.resampler.observe(state, |sample, is_first| corrector.observe(sample, is_first, told))
    }

    fn predict(&mut self, out: &mut Trajectory) -> bool {
        let coordinates = self.spread.len();
        if self.resampler.newest().is_none() || !fits(out, self.horizon, coordinates) {
            return false;
        }
        for coordinate in 0..coordinates {
            self.correct(coordinate, out);
        }
        self.lay_out(out);
        true
    }

    fn prepare(&mut self) {
        self.corrector.encoder.network.prepare();
    }

    fn reset(&mut self) {
        self.resampler.reset();
        self.corrector.reset();
        (self.heard, self.told) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::data_folder;
    use crate::dataset::{Recording, Selection};
    use crate::predictor::linear::LinearPath;
    use crate::predictor::{ConstantVelocity, PredictorConfig, RealisedError};
    use crate::state::Stamp;
    use candle_core::{Device, Tensor};

    fn model(head: f32) -> PredictorModel {
        let joints = ["a".to_owned(), "b".to_owned()];
        let config = PredictorConfig { steps: 5, hidden: 8, layers: 2, ..Default::default() };
        let mut model = PredictorModel::untrained(&joints, 0.01, config, &[1.0, 2.0]).unwrap();
        let weight = Tensor::full(head, (10, 8), &Device::Cpu).unwrap();
        model.network.insert("head.weight".into(), weight);
        model
    }

    fn motion(step: i64) -> State {
        let time = step as f64 * 0.01;
        let position = vec![time.sin(), 0.3 * (2.0 * time).cos()];
        State {
            stamp: Stamp(step * 10_000_000),
            position,
            velocity: vec![time.cos(), -0.6 * (2.0 * time).sin()],
        }
    }

    fn predict(predictor: &mut impl Predictor) -> Trajectory {
        let mut out = Trajectory::new(predictor.horizon(), 2);
        assert!(predictor.predict(&mut out));
        out
    }

    #[test]
    fn preparing_changes_no_prediction() {
        let (mut plain, mut prepared) =
            (LstmPredictor::new(&model(0.3)).unwrap(), LstmPredictor::new(&model(0.3)).unwrap());
        for step in (0..40).chain(60..100) {
            plain.observe(&motion(step));
            prepared.observe(&motion(step));
            let (expected, found) = (predict(&mut plain), predict(&mut prepared));
            assert_eq!((expected.states, expected.stddev), (found.states, found.stddev), "{step}");
            prepared.prepare();
        }
    }

    #[test]
    fn untrained_it_is_constant_velocity_bit_for_bit() {
        let mut learned = LstmPredictor::new(&model(0.0)).unwrap();
        let mut baseline = ConstantVelocity::new(Space::Joints, learned.horizon(), vec![1.0, 2.0]);
        for step in 0..50 {
            learned.observe(&motion(step));
            baseline.observe(&motion(step));
            let (found, expected) = (predict(&mut learned), predict(&mut baseline));
            assert_eq!((found.stamp, &found.states), (expected.stamp, &expected.states));
            let pairs = found.stddev.iter().flatten().zip(expected.stddev.iter().flatten());
            pairs.for_each(|(found, expected)| assert!((found - expected).abs() < 1e-12));
        }
    }

    #[test]
    fn measurements_between_samples_and_duplicates_do_not_step_the_network() {
        let (mut sparse, mut dense) =
            (LstmPredictor::new(&model(0.1)).unwrap(), LstmPredictor::new(&model(0.1)).unwrap());
        for step in 0..30 {
            sparse.observe(&motion(step));
            dense.observe(&motion(step));
            assert_eq!(dense.observe(&motion(step)), Observation::Duplicate);
            let mut between = motion(step);
            between.stamp = Stamp(between.stamp.0 + 4_000_000);
            let mut aside = dense.clone();
            assert_eq!(aside.observe(&between), Observation::Continued { steps: 0 });
        }
        assert_eq!(predict(&mut sparse), predict(&mut dense));
        assert_ne!(predict(&mut sparse).states[4].position, motion(29).position);
    }

    #[test]
    fn after_a_gap_a_jump_back_or_a_reset_it_is_as_new() {
        let fresh = |step: i64| {
            let mut predictor = LstmPredictor::new(&model(0.1)).unwrap();
            (step..step + 3)
                .for_each(|step| assert_ne!(predictor.observe(&motion(step)), Observation::Refused));
            predict(&mut predictor)
        };
        let mut predictor = LstmPredictor::new(&model(0.1)).unwrap();
        (0..20).for_each(|step| assert_ne!(predictor.observe(&motion(step)), Observation::Refused));
        assert_eq!(predictor.observe(&motion(100)), Observation::RestartedAfterGap);
        (101..103).for_each(|step| assert_ne!(predictor.observe(&motion(step)), Observation::Refused));
        assert_eq!(predict(&mut predictor), fresh(100));
        assert_eq!(predictor.observe(&motion(50)), Observation::RestartedBackInTime);
        (51..53).for_each(|step| assert_ne!(predictor.observe(&motion(step)), Observation::Refused));
        assert_eq!(predict(&mut predictor), fresh(50));
        predictor.reset();
        assert!(!predictor.predict(&mut Trajectory::new(predictor.horizon(), 2)));
        (7..10).for_each(|step| assert_ne!(predictor.observe(&motion(step)), Observation::Refused));
        assert_eq!(predict(&mut predictor), fresh(7));
    }

    #[test]
    fn a_blank_linear_path_learns_the_motion_and_a_reset_forgets_it() {
        let mut model = model(0.0);
        model.linear = Some(LinearPath::blank(&model.config, 2, model.dt));
        let mut predictor = LstmPredictor::new(&model).unwrap();
        let error = |predictor: &mut LstmPredictor, step: i64| {
            predictor.observe(&motion(step));
            let found = predict(predictor).states[4].position.clone();
            let pairs = found.into_iter().zip(motion(step + 5).position);
            pairs.map(|(found, truth)| (found - truth).abs()).fold(0.0, f64::max)
        };
        let first = error(&mut predictor, 0);
        let errors: Vec<f64> = (1..3000).map(|step| error(&mut predictor, step)).collect();
        let largest = |errors: &[f64]| errors.iter().copied().fold(0.0, f64::max);
        let (early, late) = (largest(&errors[..10]), largest(&errors[2000..]));
        assert!(first < 2e-3 && late < 0.1 * early, "{first} {early} {late}");
        let stddev = predict(&mut predictor).stddev[4][0];
        assert!(stddev < 1e-3, "the spread did not follow: {stddev}");
        predictor.reset();
        assert_eq!(error(&mut predictor, 0), first);
        predictor.set_adapting(false);
        (1..500).for_each(|step| assert!(error(&mut predictor, step).is_finite()));
        let cv = LstmPredictor::new(&self::model(0.0)).map(|mut cv| error(&mut cv, 500)).unwrap();
        assert_eq!(error(&mut predictor, 500), cv);
    }

    #[test]
    fn learning_from_nothing_it_beats_constant_velocity_on_real_arms() {
        let Some(folder) = data_folder() else { return };
        for (file, dt, steps) in
            [("tiago_arm_100hz/tiago.csv.gz", 0.01, 50), ("bags_unisa/panda.csv.gz", 1.0 / 30.0, 15)]
        {
            let recording = Recording::read(&folder.join(file), &Selection::default()).unwrap();
            let coordinates = recording.joints.len();
            let config = PredictorConfig { steps, ..Default::default() };
            let mut model =
                PredictorModel::untrained(&recording.joints, dt, config, &vec![1.0; coordinates]).unwrap();
            model.linear = Some(LinearPath::blank(&model.config, coordinates, dt));
            let mut predictor = LstmPredictor::new(&model).unwrap();
            let mut realised = RealisedError::new(predictor.horizon(), coordinates);
            let mut out = Trajectory::new(predictor.horizon(), coordinates);
            for state in &recording.states {
                predictor.observe(state);
                realised.observe(state);
                predictor.predict(&mut out);
                realised.remember(state, &out);
            }
            for step in [1, steps / 5, steps.div_ceil(2), steps] {
                let skill = realised.errors(step).unwrap().skill().unwrap();
                println!("{file}, {step} steps ahead: skill {skill:.3}");
                // learning costs a little where there is hardly anything to gain
                let least = if 2 * step < steps { -0.01 } else { 0.3 };
                assert!(skill > least, "{file}, {step} steps ahead: skill {skill}");
            }
        }
    }

    #[test]
    fn a_base_is_predicted_along_its_arc_in_every_direction() {
        let names = ["x", "y", "yaw"].map(str::to_owned);
        let config = PredictorConfig { steps: 5, hidden: 8, space: Space::PlanarBase, ..Default::default() };
        let mut model = PredictorModel::untrained(&names, 0.1, config, &[1.0; 3]).unwrap();
        let at = |step: i64, offset: f64| {
            let yaw = offset + 0.05 * step as f64;
            State {
                stamp: Stamp(step * 100_000_000),
                position: vec![2.0 * yaw.sin(), -2.0 * yaw.cos(), yaw],
                velocity: vec![1.0, 0.0, 0.5],
            }
        };
        for offset in [0.0, 2.0, -4.0] {
            let mut predictor = LstmPredictor::new(&model).unwrap();
            predictor.observe(&at(0, offset));
            let mut out = Trajectory::new(predictor.horizon(), 3);
            assert!(predictor.predict(&mut out));
            for (state, step) in out.states.iter().zip(1..) {
                let truth = at(step, offset);
                let pairs = state
                    .position
                    .iter()
                    .chain(&state.velocity)
                    .zip(truth.position.iter().chain(&truth.velocity));
                pairs.for_each(|(found, truth)| assert!((found - truth).abs() < 1e-9, "{state:?} {truth:?}"));
            }
        }
        // a correction that turns the base further turns its predicted velocity with it
        let weight = Tensor::full(0.5f32, (30, 8), &Device::Cpu).unwrap();
        model.network.insert("head.weight".into(), weight);
        let mut turned = Vec::new();
        for offset in [0.0, 2.0] {
            let mut predictor = LstmPredictor::new(&model).unwrap();
            (0..5).for_each(|step| assert_ne!(predictor.observe(&at(step, offset)), Observation::Refused));
            let mut out = Trajectory::new(predictor.horizon(), 3);
            assert!(predictor.predict(&mut out));
            let mut local = vec![0.0; 3];
            let now = at(4, offset);
            Space::PlanarBase.difference(&now.position, &out.states[4].position, &mut local);
            turned.push((local, out.states[4].velocity.clone()));
        }
        let pairs = turned[0].0.iter().chain(&turned[0].1).zip(turned[1].0.iter().chain(&turned[1].1));
        pairs.for_each(|(one, other)| assert!((one - other).abs() < 1e-6, "{turned:?}"));
        assert!((turned[0].0[2] - 0.25).abs() > 1e-3);
        assert!(PredictorModel::untrained(&names[..2], 0.1, model.config.clone(), &[1.0; 2]).is_err());
    }

    #[test]
    fn predicted_velocities_are_the_slopes_of_the_positions() {
        assert_eq!([1, 2, 3].map(|k| slope_at(&[0.0, 1.0, 4.0, 9.0], k)), [2.0, 4.0, 6.0]);
        assert_eq!(slope_at(&[0.0, 3.0], 1), 3.0);
    }

    #[test]
    fn bad_measurements_change_nothing() {
        let mut predictor = LstmPredictor::new(&model(0.1)).unwrap();
        (0..5).for_each(|step| assert_ne!(predictor.observe(&motion(step)), Observation::Refused));
        let before = predict(&mut predictor);
        let mut bad = motion(5);
        bad.velocity[1] = f64::INFINITY;
        assert_eq!(predictor.observe(&bad), Observation::Refused);
        assert_eq!(predictor.observe(&State::zeros(3)), Observation::Refused);
        assert_eq!(predict(&mut predictor), before);
    }
}
