//! What an LSTM predictor is made of: configuration, weights, scales; to and from a checkpoint.

use crate::error::{Error, Result};
use crate::nn::checkpoint::{Card, ModelKind, Tensors, var_builder};
use crate::nn::lstm::{Lstm, LstmConfig};
use crate::nn::normalizer::{LIMIT, Normalizer};
use crate::nn::variables::snapshot;
use crate::predictor::commands::CommandConfig;
use crate::predictor::features;
use crate::predictor::linear::{LinearPath, MAX_REGRESSORS, commanded_shape, knots};
use crate::predictor::ridge::{Lags, WINDOW, spread};
use crate::robot::Robot;
use crate::state::Space;
use crate::trajectory::Horizon;
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

const FEATURES_NAME: &str = "features";
const SPREAD_NAME: &str = "spread";
/// Bounds on what a card may ask for.
pub const MAX_STEPS: usize = 1000;
const MAX_LAG: usize = 1000;
/// The blocks of short horizons, in steps. Those of longer ones have the same logarithms in proportion.
const BLOCKS: [usize; 9] = [1, 2, 3, 4, 6, 8, 12, 16, 24];
/// A running predictor remembers about so many numbers until it learns how right it was; 256 joints over 50 steps are
/// three quarters of it.
const MAX_REMEMBERED: usize = 1 << 19;
const DT: RangeInclusive<f64> = 1e-6..=1e3; // s

/// One network serves all joints, each as a stream of its own with its own scales: a joint's motion is mostly its
/// own continuation, and a recording of eight joints so has eight times the examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PredictorConfig {
    /// Predicted steps of dt.
    pub steps: usize,
    /// Units of each layer.
    pub hidden: usize,
    pub layers: usize,
    /// Last step of each block of past samples that the inputs are means over; see [`Self::of_steps`].
    pub blocks: Vec<usize>,
    /// Of the samples that the ridge regressions look at, in steps before the newest; models from before look at the last.
    #[serde(default = "last_samples", skip_serializing_if = "are_last_samples")]
    pub lags: Lags,
    /// What the coordinates are: a network each for joints (one and the same), one for the whole of a base.
    pub space: Space,
    /// What the model is told beside the motion; not written where there is nothing, as in models from before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands: Option<CommandConfig>,
}

fn last_samples() -> Lags {
    spread(0)
}

fn are_last_samples(lags: &Lags) -> bool {
    *lags == last_samples()
}

/// How far back predictions of so many steps ahead are made from.
fn reach(steps: usize) -> usize {
    (steps / 2).min(MAX_LAG)
}

/// Blocks that widen into the past, as many for any horizon.
fn blocks(steps: usize) -> Vec<usize> {
    let last = reach(steps).max(BLOCKS[BLOCKS.len() - 1]) as f64;
    let stretch = last.ln() / (BLOCKS[BLOCKS.len() - 1] as f64).ln();
    BLOCKS.iter().map(|block| (*block as f64).powf(stretch).round() as usize).collect()
}

impl Default for PredictorConfig {
    fn default() -> Self {
        Self::of_steps(50)
    }
}

impl PredictorConfig {
    /// One that predicts so many steps ahead, from what was up to half as far back, or from the last samples if these reach
    /// further: what is further ahead shows in slower motion, at whatever rate it is sampled.
    pub fn of_steps(steps: usize) -> Self {
        let (blocks, lags) = (blocks(steps), spread(reach(steps)));
        Self { steps, hidden: 32, layers: 1, blocks, lags, space: Space::Joints, commands: None }
    }

    /// Predicts so many steps ahead instead; blocks and lags that were chosen otherwise than by [`Self::of_steps`] stay.
    pub fn set_steps(&mut self, steps: usize) {
        if self.blocks == blocks(self.steps) {
            self.blocks = blocks(steps);
        }
        if self.lags == spread(reach(self.steps)) || are_last_samples(&self.lags) {
            self.lags = spread(reach(steps));
        }
        self.steps = steps;
    }

    /// Features of one coordinate at one time.
    pub fn features(&self) -> usize {
        features::count(self.space, &self.blocks)
    }

    /// The network of one stream: of a joint, or of the coordinates of a base together. The head gives, coordinate
    /// by coordinate, the increments of each step, then likewise the log-variances.
    pub fn lstm(&self, coordinates: usize) -> LstmConfig {
        let width = self.space.coupled(coordinates);
        let (inputs, outputs) = (width * self.features(), 2 * width * self.steps);
        LstmConfig { inputs, hidden: self.hidden, layers: self.layers, outputs }
    }

    pub fn validate(&self) -> Result<()> {
        if self.steps == 0 || self.steps > MAX_STEPS {
            return Err(Error::mismatch("steps of the prediction", self.steps, format!("1 to {MAX_STEPS}")));
        }
        let rising = self.blocks.windows(2).all(|pair| pair[0] < pair[1]);
        if !rising || self.blocks.iter().any(|block| !(1..=MAX_LAG).contains(block)) {
            let found = format!("{:?}", self.blocks);
            return Err(Error::mismatch(
                "blocks of the predictor's inputs",
                found,
                format!("rising, 1 to {MAX_LAG}"),
            ));
        }
        if self.lags[0] != 0 || !self.lags.is_sorted_by(|a, b| a < b) || self.lags[WINDOW - 1] > MAX_LAG {
            let (found, expected) = (format!("{:?}", self.lags), format!("rising, 0 to {MAX_LAG}"));
            return Err(Error::mismatch("lags of the predictor's ridge regressions", found, expected));
        }
        self.lstm(1).validate()
    }

    /// Refuses coordinates that the space cannot have.
    pub fn check(&self, coordinates: usize) -> Result<()> {
        self.validate()?;
        if !self.space.allows(coordinates) {
            let expected = format!("those of {:?}", self.space);
            return Err(Error::mismatch("coordinates of the robot", coordinates, expected));
        }
        let regressors = match commanded_shape(self, coordinates) {
            Some([regressors, _]) => regressors,
            None => self.space.coupled(coordinates) * self.features(),
        };
        if regressors > MAX_REGRESSORS {
            let expected = format!("at most {MAX_REGRESSORS}");
            return Err(Error::mismatch("inputs that are predicted by together", regressors, expected));
        }
        let remembered = coordinates.saturating_mul(
            self.steps * (regressors / self.space.coupled(coordinates) + knots(self.steps).len()),
        );
        if remembered > MAX_REMEMBERED {
            let what = "coordinates times steps times inputs and knots";
            return Err(Error::mismatch(what, remembered, format!("at most {MAX_REMEMBERED}")));
        }
        self.lstm(coordinates).validate()
    }
}

/// A trained predictor, or one that equals constant velocity.
#[derive(Clone, Debug)]
pub struct PredictorModel {
    /// Names of the coordinates.
    pub joints: Vec<String>,
    /// s
    pub dt: f64,
    pub config: PredictorConfig,
    /// Scales of the inputs, [coordinate · feature].
    pub features: Normalizer,
    /// Root mean square of the increment over constant velocity in training, [coordinate][step], rad or m.
    pub spread: Vec<Vec<f64>>,
    /// Parameters of the [`Lstm`].
    pub network: Tensors,
    /// Without it the prediction is the LSTM's alone.
    pub linear: Option<LinearPath>,
}

impl PredictorModel {
    /// A model that predicts constant velocity exactly, with the spread of joints that accelerate by `acceleration`
    /// [joint], rad/s² or m/s².
    pub fn untrained(
        joints: &[String],
        dt: f64,
        config: PredictorConfig,
        acceleration: &[f64],
    ) -> Result<Self> {
        config.check(joints.len())?;
        config.commands.as_ref().map_or(Ok(()), |commands| commands.check(joints, config.space))?;
        if acceleration.len() != joints.len() {
            return Err(Error::mismatch("accelerations", acceleration.len(), joints.len()));
        }
        let of_joint = |acceleration: &f64| {
            let spread = |k: usize| 0.5 * acceleration * (k as f64 * dt).powi(2);
            (1..=config.steps).map(spread).collect()
        };
        let features = config.features() * joints.len();
        Ok(Self {
            joints: joints.to_vec(),
            dt,
            features: Normalizer::identity(features),
            spread: acceleration.iter().map(of_joint).collect(),
            network: snapshot(&config.lstm(joints.len()).initial_variables(0, DType::F32)?)?,
            config,
            linear: None,
        })
    }

    pub fn horizon(&self) -> Horizon {
        Horizon { steps: self.config.steps, dt: Duration::try_from_secs_f64(self.dt).unwrap_or_default() }
    }

    /// The network over this model's parameters.
    pub fn lstm(&self) -> Result<Lstm> {
        Lstm::new(self.config.lstm(self.joints.len()), &var_builder(&self.network))
    }

    /// Card and tensors for [`crate::nn::checkpoint::to_bytes`]; of the robot the card knows the names of the joints
    /// and of the training nothing, until the caller adds it.
    pub fn to_checkpoint(&self, evaluation: BTreeMap<String, f64>, note: &str) -> Result<(Card, Tensors)> {
        let robot = Robot { space: self.config.space, ..Robot::of_joints(&self.joints) };
        let card = Card {
            evaluation,
            note: note.into(),
            ..Card::new(ModelKind::Predictor, &robot, self.dt, &self.config)?
        };
        let spread: Vec<f32> = self.spread.iter().flatten().map(|spread| *spread as f32).collect();
        let spread = Tensor::from_vec(spread, (self.joints.len(), self.config.steps), &Device::Cpu)?;
        let mut tensors = self.network.clone();
        tensors.insert(FEATURES_NAME.into(), self.features.to_tensor()?);
        tensors.insert(SPREAD_NAME.into(), spread);
        if let Some(linear) = &self.linear {
            linear.write(knots(self.config.steps).len(), &mut tensors)?;
        }
        Ok((card, tensors))
    }

    /// From what [`crate::nn::checkpoint::from_bytes`] read; `origin` is for the messages.
    pub fn from_checkpoint(card: &Card, mut tensors: Tensors, origin: &str) -> Result<Self> {
        card.check_kind(ModelKind::Predictor)?;
        if !DT.contains(&card.dt) {
            let expected = format!("{} to {}", DT.start(), DT.end());
            return Err(Error::mismatch("dt of the predictor [s]", format!("{:e}", card.dt), expected));
        }
        let config: PredictorConfig = card.network(origin)?;
        config.check(card.joints.len())?;
        config.commands.as_ref().map_or(Ok(()), |commands| commands.check(&card.joints, config.space))?;
        if config.space != card.space {
            let (found, expected) = (format!("{:?}", config.space), format!("{:?}", card.space));
            return Err(Error::mismatch("space of the predictor's network", found, expected));
        }
        let linear = LinearPath::read(&mut tensors, &config, card.joints.len(), origin)?;
        let mut take = |name: &str| {
            let problem = format!("tensor '{name}' is missing");
            tensors.remove(name).ok_or_else(|| Error::Model { origin: origin.into(), problem })
        };
        let (features, spread) = (take(FEATURES_NAME)?, take(SPREAD_NAME)?);
        let joints = card.joints.len();
        if spread.dims() != [joints, config.steps] {
            let expected = format!("[{joints}, {}]", config.steps);
            return Err(Error::mismatch("shape of the spread", format!("{:?}", spread.dims()), expected));
        }
        let spread: Vec<Vec<f64>> = spread.to_dtype(DType::F64)?.to_vec2()?;
        let is_spread = |spread: &&f64| (f64::from(f32::MIN_POSITIVE)..).contains(*spread);
        if let Some(wrong) = spread.iter().flatten().find(|spread| !is_spread(spread)) {
            return Err(Error::mismatch("spread of a prediction", format!("{wrong:e}"), "a number above 0"));
        }
        let features = Normalizer::from_tensor(&features, joints * config.features())?;
        let model = Self {
            joints: card.joints.clone(),
            dt: card.dt,
            config,
            features,
            spread,
            network: tensors,
            linear,
        };
        model.config.lstm(model.joints.len()).check(&model.network, LIMIT)?;
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::checkpoint::{from_bytes, to_bytes};
    use crate::predictor::ridge::{INPUTS, Ridge};

    /// Regressions on the samples of `coordinates` at so many knots.
    fn ridges(coordinates: usize, knots: usize) -> [Ridge; 2] {
        [1, coordinates].map(|width| {
            let weights = (0..coordinates * knots * (width * INPUTS + 1)).map(|index| index as f64).collect();
            Ridge { width, weights, limits: vec![[-1.0, 2.0]; coordinates * INPUTS] }
        })
    }

    #[test]
    fn a_model_survives_its_checkpoint() {
        let joints = ["a".to_owned(), "b".to_owned()];
        let config = PredictorConfig { steps: 3, ..Default::default() };
        let mut model = PredictorModel::untrained(&joints, 0.01, config, &[1.0, 2.0]).unwrap();
        let mut linear = LinearPath::blank(&model.config, 2, model.dt);
        linear.ridges = ridges(2, 3).map(Some);
        model.linear = Some(linear);
        let (card, tensors) = model.to_checkpoint(BTreeMap::new(), "test").unwrap();
        let bytes = to_bytes(&card, &tensors).unwrap();
        let (card, mut tensors) = from_bytes(&bytes, "test").unwrap();
        let read = PredictorModel::from_checkpoint(&card, tensors.clone(), "test").unwrap();
        assert_eq!((&read.joints, read.dt, &read.config), (&model.joints, model.dt, &model.config));
        assert_eq!(read.linear.unwrap().ridges, model.linear.clone().unwrap().ridges);
        let read = PredictorModel::from_checkpoint(&card, tensors.clone(), "test").unwrap();
        let (card_again, tensors_again) = read.to_checkpoint(BTreeMap::new(), "test").unwrap();
        assert_eq!(to_bytes(&card_again, &tensors_again).unwrap(), bytes);

        let mut wrong = tensors.clone();
        wrong.insert("linear.ridge_all.weights".into(), tensors["linear.ridge_own.weights"].clone());
        let error = PredictorModel::from_checkpoint(&card, wrong, "x.safetensors").unwrap_err();
        assert!(error.to_string().contains("shape of 'linear.ridge_all.weights'"), "{error}");

        tensors.remove("spread");
        let error = PredictorModel::from_checkpoint(&card, tensors, "x.safetensors").unwrap_err();
        assert_eq!(error.to_string(), "model x.safetensors: tensor 'spread' is missing");
    }

    #[test]
    fn the_past_is_looked_at_half_as_far_as_what_comes() {
        for (steps, last) in [(1, 24), (50, 25), (125, 62), (500, 250), (MAX_STEPS, MAX_STEPS / 2)] {
            let config = PredictorConfig::of_steps(steps);
            config.validate().unwrap();
            assert_eq!((config.blocks.len(), config.blocks.last()), (BLOCKS.len(), Some(&last)), "{steps}");
            assert_eq!(config.lags[WINDOW - 1], reach(steps).max(WINDOW - 1), "{steps}");
        }
        assert_eq!(PredictorConfig::of_steps(15).blocks, BLOCKS);
        let mut config = PredictorConfig::of_steps(15);
        config.set_steps(500);
        assert_eq!(config, PredictorConfig::of_steps(500));
        (config.blocks, config.lags) = (vec![1, 5], spread(30));
        config.set_steps(125);
        assert_eq!(
            (config.steps, &config.blocks, config.lags),
            (125, &vec![1, 5], spread(30)),
            "chosen otherwise"
        );
        // cards say nothing of the last samples
        let text = |config: &PredictorConfig| serde_json::to_string(config).unwrap();
        let short = PredictorConfig::of_steps(15);
        assert!(!text(&short).contains("lags") && text(&config).contains("lags"));
        for config in [short, config.clone()] {
            assert_eq!(serde_json::from_str::<PredictorConfig>(&text(&config)).unwrap(), config);
        }
        for wrong in [0, MAX_LAG + 1] {
            config.lags[WINDOW - 1] = wrong;
            assert!(config.validate().unwrap_err().to_string().contains("lags"), "{wrong}");
        }
    }

    #[test]
    fn configurations_that_make_no_predictor_are_refused() {
        assert!(PredictorConfig { steps: 0, ..Default::default() }.validate().is_err());
        assert!(PredictorConfig { blocks: vec![2, 1], ..Default::default() }.validate().is_err());
        assert!(serde_json::from_str::<PredictorConfig>(r#"{"hiden": 3}"#).is_err());
    }
}
