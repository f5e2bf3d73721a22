//! The linear path of the predictor as a model keeps it: auto-regressions seeded offline, and the evidence of the
//! held-out time on how far to believe them and the LSTM.

use super::mixture::Evidence;
use super::model::PredictorConfig;
use super::recursive::Seed;
use super::ridge::{INPUTS, Inputs, Ridge};
use crate::error::{Error, Result};
use crate::nn::checkpoint::Tensors;
use candle_core::{DType, Device, Tensor};

/// With more regressors than this there is no regression on all coordinates: its covariance would cost too much.
pub const MAX_REGRESSORS: usize = 320;

/// With more coordinates than this there is no ridge regression on all of them: it would cost too much.
const MAX_RIDGE: usize = 16;

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
}

/// Steps at which the linear path is computed; between them it is interpolated. Each about 1.4 times the one before.
pub fn knots(steps: usize) -> Vec<usize> {
    let mut knots: Vec<usize> = [1, 2, 3].into_iter().filter(|knot| *knot < steps).collect();
    let mut power = 4;
    while power < steps {
        knots.extend([power, power + power / 2].into_iter().filter(|knot| *knot < steps));
        power *= 2;
    }
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
        let (own, all) = shapes(config, coordinates);
        let penalties = penalties(config, coordinates);
        Self {
            memory: memory(dt),
            penalties,
            own: vec![seed(own, penalties[0]); coordinates / own[1].max(1)],
            all: all.map(|shape| seed(shape, penalties[1])),
            ridges: [None, None],
            evidence: vec![Evidence::default(); coordinates * knots],
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
        let evidence = self.evidence.iter().flat_map(|evidence| evidence.to_array()).collect();
        insert(EVIDENCE.into(), evidence, &[self.evidence.len() / knots.max(1), knots, Evidence::SIZE])?;
        for (name, seeds) in [(OWN, self.own.as_slice()), (ALL, self.all.as_slice())] {
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
        let evidence = take(EVIDENCE, &[coordinates, knots, Evidence::SIZE])?;
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
        let (evidence, _) = evidence.as_chunks::<{ Evidence::SIZE }>();
        let evidence = evidence.iter().map(|values| Evidence::from_array(*values)).collect();
        Ok(Some(Self {
            memory: settings[0],
            penalties: [settings[1], settings[2]],
            own,
            all,
            ridges,
            evidence,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knots_widen_and_end_at_the_horizon() {
        assert_eq!(knots(1), [1]);
        assert_eq!(knots(4), [1, 2, 3, 4]);
        assert_eq!(knots(50), [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 50]);
    }
}
