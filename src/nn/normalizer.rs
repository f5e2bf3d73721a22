//! Between the world in f64 and the network in f32: one mean and one scale a feature.

use crate::error::{Error, Result};
use candle_core::{Device, Tensor};

/// normalized = (value - mean) / scale
#[derive(Clone, Debug, PartialEq)]
pub struct Normalizer {
    mean: Vec<f64>,
    /// The division as a multiplication; exactly representable scales stay exact.
    scale: Vec<f64>,
}

/// A feature that hardly varies is divided by this instead of by its spread.
const MIN_SCALE: f64 = 1e-9;
/// Beyond so many spreads nothing was learned; the bound keeps an absurd measurement out of the network's memory.
pub const LIMIT: f64 = 20.0;

impl Normalizer {
    /// Scales below 1e-9 are taken as 1e-9, so that a constant feature does not become infinite.
    pub fn new(mean: Vec<f64>, scale: Vec<f64>) -> Result<Self> {
        if mean.len() != scale.len() {
            return Err(Error::mismatch("scales of a normalizer", scale.len(), mean.len()));
        }
        for (what, values) in [("mean of a normalizer", &mean), ("scale of a normalizer", &scale)] {
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(Error::NotFinite { what: what.into(), value: *value });
            }
        }
        let scale = scale.into_iter().map(|scale| scale.abs().max(MIN_SCALE)).collect();
        Ok(Self { mean, scale })
    }

    pub fn identity(features: usize) -> Self {
        Self { mean: vec![0.0; features], scale: vec![1.0; features] }
    }

    /// Mean zero and the root mean square of `samples` [time][feature] as the scale: for motion, whose zero means
    /// rest, so that rest stays zero.
    pub fn of_spread<'a>(features: usize, samples: impl Iterator<Item = &'a [f64]>) -> Result<Self> {
        let (mut squares, mut count) = (vec![0.0; features], 0usize);
        for sample in samples {
            squares.iter_mut().zip(sample).for_each(|(square, value)| *square += value * value);
            count += 1;
        }
        let scale = squares.iter().map(|square| (square / count.max(1) as f64).sqrt()).collect();
        Self::new(vec![0.0; features], scale)
    }

    pub fn features(&self) -> usize {
        self.mean.len()
    }

    /// The normalizer of `count` features from `first` on.
    pub fn part(&self, first: usize, count: usize) -> Result<Self> {
        match (self.mean.get(first..first + count), self.scale.get(first..first + count)) {
            (Some(mean), Some(scale)) => Self::new(mean.to_vec(), scale.to_vec()),
            _ => Err(Error::mismatch("features of a normalizer", self.features(), first + count)),
        }
    }

    pub fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// Fills `normalized` [feature] from `values` [feature], bounded to ±20.
    pub fn normalize(&self, values: &[f64], normalized: &mut [f32]) {
        for (((normalized, value), mean), scale) in
            normalized.iter_mut().zip(values).zip(&self.mean).zip(&self.scale)
        {
            *normalized = ((value - mean) / scale).clamp(-LIMIT, LIMIT) as f32;
        }
    }

    /// Fills `values` [feature] from `normalized` [feature].
    pub fn denormalize(&self, normalized: &[f32], values: &mut [f64]) {
        for (((normalized, value), mean), scale) in
            normalized.iter().zip(values).zip(&self.mean).zip(&self.scale)
        {
            *value = f64::from(*normalized) * scale + mean;
        }
    }

    /// [2, feature]: mean and scale, as a checkpoint keeps them.
    pub fn to_tensor(&self) -> Result<Tensor> {
        let values: Vec<f32> = self.mean.iter().chain(&self.scale).map(|value| *value as f32).collect();
        Ok(Tensor::from_vec(values, (2, self.features()), &Device::Cpu)?)
    }

    /// Reads what [`Self::to_tensor`] gave.
    pub fn from_tensor(tensor: &Tensor, features: usize) -> Result<Self> {
        if tensor.dims() != [2, features] {
            let expected = format!("[2, {features}]");
            return Err(Error::mismatch("shape of a normalizer", format!("{:?}", tensor.dims()), expected));
        }
        let widen = |row: Vec<f32>| row.into_iter().map(f64::from).collect();
        let scale: Vec<f32> = tensor.get(1)?.to_vec1()?;
        // Subnormal ones are no spread of anything measured, and dividing by them overflows.
        match scale.iter().find(|scale| !(scale.is_normal() && **scale > 0.0)) {
            Some(scale) => Err(Error::mismatch("scale of a normalizer", scale, "a number above 0")),
            None => Self::new(widen(tensor.get(0)?.to_vec1()?), widen(scale)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizing_and_back_is_the_identity() {
        let normalizer = Normalizer::new(vec![1.0, -2.0], vec![0.5, 4.0]).unwrap();
        let (mut normalized, mut values) = ([0f32; 2], [0f64; 2]);
        normalizer.normalize(&[2.0, 6.0], &mut normalized);
        assert_eq!(normalized, [2.0, 2.0]);
        normalizer.denormalize(&normalized, &mut values);
        assert_eq!(values, [2.0, 6.0]);
        let read = Normalizer::from_tensor(&normalizer.to_tensor().unwrap(), 2).unwrap();
        assert_eq!(read, normalizer);
    }

    #[test]
    fn the_spread_is_about_zero_and_never_zero() {
        let samples = [[3.0, 0.0], [-4.0, 0.0]];
        let normalizer = Normalizer::of_spread(2, samples.iter().map(|sample| sample.as_slice())).unwrap();
        assert_eq!(normalizer.scale(), [12.5f64.sqrt(), MIN_SCALE]);
        let mut normalized = [1f32; 2];
        normalizer.normalize(&[0.0, 0.0], &mut normalized);
        assert_eq!(normalized, [0.0, 0.0]);
        normalizer.normalize(&[1e300, -1.0], &mut normalized);
        assert_eq!(normalized, [20.0, -20.0]);
    }

    #[test]
    fn what_cannot_scale_is_refused() {
        assert!(Normalizer::new(vec![0.0], vec![f64::NAN]).is_err());
        assert!(Normalizer::new(vec![0.0], vec![]).is_err());
        assert!(Normalizer::from_tensor(&Normalizer::identity(3).to_tensor().unwrap(), 2).is_err());
        for scale in [0.0, -1.0, 1e-40, f32::NAN] {
            let tensor = Tensor::new(&[[0.0, 0.0], [1.0, scale]], &Device::Cpu).unwrap();
            assert!(Normalizer::from_tensor(&tensor, 2).is_err(), "{scale}");
        }
    }
}
