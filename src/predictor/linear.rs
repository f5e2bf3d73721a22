//! The linear path of the predictor as a model keeps it: auto-regressions seeded offline, and the evidence of the
//! held-out time on how far to believe them and the LSTM.

use super::commands;
use super::mixture::{EXPERTS, EXPERTS_WITH_COMMANDED, Evidence};
use super::model::PredictorConfig;
use super::recursive::Seed;
use super::ridge::{INPUTS, Inputs, Ridge};
use crate::error::{Error, Result};
use crate::nn::checkpoint::Tensors;
use crate::nn::normalizer::Normalizer;
use candle_core::{DType, Device, Tensor};

/// With more regressors than this there is no regression on all coordinates: its covariance would cost too much.
pub const MAX_REGRESSORS: usize = 320;

/// With more coordinates than this there is no ridge regression on all of them: it would cost too much.
const MAX_RIDGE: usize = 32;

/// Penalty on the weights of the regressions on own and on all coordinates, in units of one sample whose regressors
/// are all at their scale: hardly any for the few weights of the first, some for the many of the second.
const PENALTIES: [f64; 2] = [0.01, 1.0];
/// Time that counts when the linear path adapts, s, but no fewer samples than these.
const MEMORY: f64 = 60.0;
const MIN_MEMORY: f64 = 2000.0;
const SETTINGS: &str = "linear.settings";
const EVIDENCE: &str = "linear.evidence";
const OWN: &str = "linear.own";
const ALL: &str = "linear.all";
const COMMANDED: &str = "linear.commanded";
const RIDGES: [(&str, Inputs); 2] = [("linear.ridge_own", Inputs::Own), ("linear.ridge_all", Inputs::All)];

/// All in units of the model's features and spread.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearPath {
    /// Samples that count when it adapts.
    pub memory: f64,
    /// Penalty on the weights: of `own`, of `all`.
    pub penalties: [f64; 2],
    /// One regression for each group of coupled coordinates.
    pub own: Vec<Seed>,
    /// One on all coordinates, where there is more than one group and not too many of them.
    pub all: Option<Seed>,
    /// Of each coordinate's own samples, and of those of all; none where there was too little to fit them to.
    pub ridges: [Option<Ridge>; 2],
    /// [coordinate][knot]
    pub evidence: Vec<Evidence>,
    /// Of a model that is told commands.
    pub commanded: Option<CommandedPath>,
}

/// The expert on commands: auto-regressions on a group's own past and on what it was told.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandedPath {
    /// Scales of the features of the commands, [coordinate · feature].
    pub scales: Normalizer,
    /// Penalty on the weights.
    pub penalty: f64,
    /// One regression for each group of coupled coordinates; the regressors are those of `LinearPath::own`, then the
    /// features of the group's commands.
    pub own: Vec<Seed>,
    /// Of all experts and this one, from the time that a command was in force, [coordinate][knot].
    pub evidence: Vec<Evidence<EXPERTS_WITH_COMMANDED>>,
}

/// Steps at which the linear path is computed; between them it is interpolated. Each a third more than the one before, but
/// no more than a tenth of the horizon: a gait swings within it.
pub fn knots(steps: usize) -> Vec<usize> {
    let widest = steps.div_ceil(10);
    let next = |knot: &usize| Some(knot + knot.div_ceil(3).min(widest)).filter(|next| *next < steps);
    let mut knots: Vec<usize> = std::iter::successors(Some(1).filter(|first| *first < steps), next).collect();
    knots.push(steps);
    knots
}

/// Regressors and outputs of the regressions: of each on a group's own past, and of the one on all, if there is one.
pub fn shapes(config: &PredictorConfig, coordinates: usize) -> ([usize; 2], Option<[usize; 2]>) {
    let features = config.features();
    let width = config.space.coupled(coordinates);
    let has_all = width < coordinates && coordinates * features <= MAX_REGRESSORS;
    ([width * features, width], has_all.then_some([coordinates * features, coordinates]))
}

/// Regressors and outputs of the regressions on own past and commands; none without commands.
pub fn commanded_shape(config: &PredictorConfig, coordinates: usize) -> Option<[usize; 2]> {
    let ([regressors, width], _) = shapes(config, coordinates);
    let count = commands::count(config.commands.as_ref()?, &config.blocks, config.steps);
    Some([regressors + width * count, width])
}

/// Penalties on the regression of a group of coupled coordinates and on that of all. Of a base it is one sample for each
/// step of the horizon: its horizons are long, and outcomes that overlap in all but one step tell of one thing only.
pub fn penalties(config: &PredictorConfig, coordinates: usize) -> [f64; 2] {
    let [single, many] = PENALTIES;
    [if config.space.coupled(coordinates) > 1 { config.steps as f64 } else { single }, many]
}

/// Of the ridge regressions those that there are for so many coordinates.
pub fn ridges(coordinates: usize) -> [Option<Inputs>; 2] {
    [Some(Inputs::Own), (2..=MAX_RIDGE).contains(&coordinates).then_some(Inputs::All)]
}

/// Samples that count when the linear path adapts, with one every `dt` [s].
pub fn memory(dt: f64) -> f64 {
    (MEMORY / dt).max(MIN_MEMORY)
}

impl LinearPath {
    /// One that knows nothing yet and believes no one: it learns from its first sample on.
    pub fn blank(config: &PredictorConfig, coordinates: usize, dt: f64) -> Self {
        let knots = knots(config.steps).len();
        let seed = |[regressors, outputs]: [usize; 2], penalty: f64| {
            let mut factor = vec![0.0; regressors * regressors];
            factor.iter_mut().step_by(regressors + 1).for_each(|value| *value = penalty.sqrt());
            Seed { regressors, outputs, weights: vec![0.0; knots * outputs * regressors], factor }
        };
        let commanded = commanded_shape(config, coordinates).map(|shape| CommandedPath {
            scales: Normalizer::identity(coordinates * (shape[0] / shape[1] - config.features())),
            penalty: penalties(config, coordinates)[0],
            own: vec![seed(shape, penalties(config, coordinates)[0]); coordinates / shape[1].max(1)],
            evidence: vec![Evidence::default(); coordinates * knots],
        });
        let (own, all) = shapes(config, coordinates);
        let penalties = penalties(config, coordinates);
        Self {
            memory: memory(dt),
            penalties,
            own: vec![seed(own, penalties[0]); coordinates / own[1].max(1)],
            all: all.map(|shape| seed(shape, penalties[1])),
            ridges: [None, None],
            evidence: vec![Evidence::default(); coordinates * knots],
            commanded,
        }
    }

    /// Adds its tensors to a checkpoint's.
    pub fn write(&self, knots: usize, tensors: &mut Tensors) -> Result<()> {
        let mut insert = |name: String, values: Vec<f64>, shape: &[usize]| -> Result<()> {
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            tensors.insert(name, Tensor::from_vec(values, shape, &Device::Cpu)?);
            Ok(())
        };
        let settings = vec![self.memory, self.penalties[0], self.penalties[1]];
        insert(SETTINGS.into(), settings, &[3])?;
        let evidence = self.evidence.iter().flat_map(|evidence| evidence.to_values()).collect();
        let coordinates = self.evidence.len() / knots.max(1);
        insert(EVIDENCE.into(), evidence, &[coordinates, knots, Evidence::<EXPERTS>::SIZE])?;
        let mut seeds = vec![(OWN, self.own.as_slice()), (ALL, self.all.as_slice())];
        if let Some(CommandedPath { scales, penalty, own, evidence }) = &self.commanded {
            insert(format!("{COMMANDED}.penalty"), vec![*penalty], &[1])?;
            insert(format!("{COMMANDED}.scales"), scales.scale().to_vec(), &[scales.features()])?;
            let evidence = evidence.iter().flat_map(|evidence| evidence.to_values()).collect();
            let shape = [coordinates, knots, Evidence::<EXPERTS_WITH_COMMANDED>::SIZE];
            insert(format!("{COMMANDED}.evidence"), evidence, &shape)?;
            seeds.push((COMMANDED, own.as_slice()));
        }
        for (name, seeds) in seeds {
            let Some(Seed { regressors, outputs, .. }) = seeds.first() else { continue };
            let weights = seeds.iter().flat_map(|seed| seed.weights.iter().copied()).collect();
            insert(format!("{name}.weights"), weights, &[seeds.len(), knots, *outputs, *regressors])?;
            let factors = seeds.iter().flat_map(|seed| seed.factor.iter().copied()).collect();
            insert(format!("{name}.factor"), factors, &[seeds.len(), *regressors, *regressors])?;
        }
        for ((name, _), ridge) in RIDGES.iter().zip(&self.ridges) {
            let Some(Ridge { width, weights, limits }) = ridge else { continue };
            let row = width * INPUTS + 1;
            let groups = weights.len() / (knots * width * row).max(1);
            insert(format!("{name}.weights"), weights.clone(), &[groups, knots, *width, row])?;
            insert(format!("{name}.limits"), limits.as_flattened().to_vec(), &[limits.len(), 2])?;
        }
        Ok(())
    }

    /// Takes its tensors out of a checkpoint's; none where there is no linear path.
    pub fn read(
        tensors: &mut Tensors,
        config: &PredictorConfig,
        coordinates: usize,
        origin: &str,
    ) -> Result<Option<Self>> {
        if !tensors.contains_key(SETTINGS) {
            return Ok(None);
        }
        let has_ridge = RIDGES.map(|(name, _)| tensors.contains_key(&format!("{name}.weights")));
        let mut take = |name: &str, shape: &[usize]| -> Result<Vec<f64>> {
            let problem = format!("tensor '{name}' is missing");
            let tensor =
                tensors.remove(name).ok_or_else(|| Error::Model { origin: origin.into(), problem })?;
            if tensor.dims() != shape {
                let found = format!("{:?}", tensor.dims());
                return Err(Error::mismatch(format!("shape of '{name}'"), found, format!("{shape:?}")));
            }
            Ok(tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
        };
        let knots = knots(config.steps).len();
        let settings = take(SETTINGS, &[3])?;
        if let Some(value) = settings.iter().find(|value| **value <= 0.0) {
            return Err(Error::mismatch(format!("'{SETTINGS}'"), value, "numbers above 0"));
        }
        let evidence = take(EVIDENCE, &[coordinates, knots, Evidence::<EXPERTS>::SIZE])?;
        let mut ridges = [None, None];
        for (index, (name, inputs)) in RIDGES.into_iter().enumerate().filter(|(index, _)| has_ridge[*index]) {
            let width = inputs.width(coordinates);
            let shape = [coordinates / width, knots, width, width * INPUTS + 1];
            let weights = take(&format!("{name}.weights"), &shape)?;
            let limits = take(&format!("{name}.limits"), &[coordinates * INPUTS, 2])?;
            ridges[index] = Some(Ridge { width, weights, limits: limits.as_chunks().0.to_vec() });
        }
        let (own, all) = shapes(config, coordinates);
        let mut seeds = |name: &str, count: usize, [regressors, outputs]: [usize; 2]| -> Result<Vec<Seed>> {
            let weights = take(&format!("{name}.weights"), &[count, knots, outputs, regressors])?;
            let factors = take(&format!("{name}.factor"), &[count, regressors, regressors])?;
            let weights = weights.chunks_exact(knots * outputs * regressors);
            let pairs = weights.zip(factors.chunks_exact(regressors * regressors));
            let seed = |(weights, factor): (&[f64], &[f64])| Seed {
                regressors,
                outputs,
                weights: weights.to_vec(),
                factor: factor.to_vec(),
            };
            Ok(pairs.map(seed).collect())
        };
        let own = seeds(OWN, coordinates / own[1], own)?;
        let all = all.map(|shape| seeds(ALL, 1, shape)).transpose()?.and_then(|mut seeds| seeds.pop());
        let evidence = evidence.chunks_exact(Evidence::<EXPERTS>::SIZE).map(Evidence::from_values).collect();
        let commanded = match commanded_shape(config, coordinates) {
            Some(shape) => {
                let own = seeds(COMMANDED, coordinates / shape[1], shape)?;
                Some(CommandedPath::read(&mut take, own, config, coordinates)?)
            }
            None => None,
        };
        Ok(Some(Self {
            memory: settings[0],
            penalties: [settings[1], settings[2]],
            own,
            all,
            ridges,
            evidence,
            commanded,
        }))
    }
}

impl CommandedPath {
    /// `take` gives a tensor by its name, of a shape.
    fn read(
        mut take: impl FnMut(&str, &[usize]) -> Result<Vec<f64>>,
        own: Vec<Seed>,
        config: &PredictorConfig,
        coordinates: usize,
    ) -> Result<Self> {
        let features = own.first().map_or(0, |seed| seed.regressors / seed.outputs) - config.features();
        let (penalty, scales) = (format!("{COMMANDED}.penalty"), format!("{COMMANDED}.scales"));
        let values = take(&scales, &[coordinates * features])?;
        let penalties = take(&penalty, &[1])?;
        let numbers = values.iter().map(|value| (&scales, value));
        let mut numbers = numbers.chain(penalties.iter().map(|value| (&penalty, value)));
        if let Some((name, value)) = numbers.find(|(_, value)| !(value.is_finite() && **value > 0.0)) {
            return Err(Error::mismatch(format!("'{name}'"), value, "numbers above 0"));
        }
        let shape = [coordinates, knots(config.steps).len(), Evidence::<EXPERTS_WITH_COMMANDED>::SIZE];
        let evidence = take(&format!("{COMMANDED}.evidence"), &shape)?;
        let evidence = evidence.chunks_exact(Evidence::<EXPERTS_WITH_COMMANDED>::SIZE);
        Ok(Self {
            scales: Normalizer::new(vec![0.0; values.len()], values)?,
            penalty: penalties[0],
            own,
            evidence: evidence.map(Evidence::from_values).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knots_widen_and_end_at_the_horizon() {
        assert_eq!(knots(1), [1]);
        assert_eq!(knots(4), [1, 2, 3, 4]);
        assert_eq!(knots(50), [1, 2, 3, 4, 6, 8, 11, 15, 20, 25, 30, 35, 40, 45, 50]);
    }
}
