//! What a base's head has learned, as a model: weights, how far they are believed and how large errors usually are. The same
//! bytes, checks and card as those of networks ([`crate::nn::checkpoint`]).

use super::config::BaseControllerConfig;
use super::tracker::Drive;
use super::twist::{Twist, base_robot};
use super::twist_head::REGRESSORS;
use crate::controller::regression::Learned;
use crate::error::{Error, Result};
use crate::nn::checkpoint::{self, Card, ModelKind, Tensors};
use crate::nn::mlp::values;
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What the weights of a head mean; those of another meaning are refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwistFormat {
    pub meaning: TwistMeaning,
    /// Ticks a second.
    pub rate: f64,
}

/// The part of it that stands in the card as the network's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwistMeaning {
    pub drive: Drive,
    /// Greatest velocity of each axis, by which it is scaled, m/s, m/s, rad/s.
    pub greatest: Twist,
    /// How far ahead the motion counts, s.
    pub preview: f64,
    pub regressors: usize,
}

impl TwistFormat {
    pub fn of(config: &BaseControllerConfig) -> Self {
        let meaning = TwistMeaning {
            drive: config.drive,
            greatest: [0, 1, 2].map(|axis| config.limits.speed(axis)),
            preview: config.head.preview,
            regressors: REGRESSORS,
        };
        Self { meaning, rate: config.update_rate }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct TwistModel {
    pub card: Card,
    /// Of x, y and theta.
    pub axes: [Learned; 3],
}

impl TwistModel {
    /// `parent` is the revision that the head began with.
    pub fn new(format: &TwistFormat, axes: [Learned; 3], revision: u64, parent: Option<u64>) -> Result<Self> {
        let card = Card::new(ModelKind::BaseController, &base_robot(), 1.0 / format.rate, &format.meaning)?;
        Ok(Self { card: Card { revision, parent, ..card }, axes })
    }

    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let tensor = |of: fn(&Learned) -> Vec<f64>, shape: &[usize]| -> Result<Tensor> {
            let values: Vec<f32> = self.axes.iter().flat_map(of).map(|value| value as f32).collect();
            Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
        };
        let tensors = Tensors::from([
            ("weights".into(), tensor(|axis| axis.weights.clone(), &[3, REGRESSORS])?),
            ("covariance".into(), tensor(|axis| axis.covariance.clone(), &[3, REGRESSORS, REGRESSORS])?),
            ("usual".into(), tensor(|axis| vec![axis.usual], &[3])?),
            ("evidence".into(), tensor(|axis| axis.evidence.to_vec(), &[3, 3])?),
        ]);
        checkpoint::to_bytes(&self.card, &tensors)
    }

    /// Reads what [`Self::to_bytes`] wrote; refuses what is of another kind, rate or meaning, misshapen or no belief.
    pub fn from_bytes(bytes: &[u8], origin: &str, format: &TwistFormat) -> Result<Self> {
        let (card, tensors) = checkpoint::from_bytes(bytes, origin)?;
        card.check(ModelKind::BaseController, &base_robot(), Some(1.0 / format.rate))?;
        let meaning: TwistMeaning = card.network(origin)?;
        if meaning != format.meaning {
            let what = format!("meaning of the weights of {origin}");
            return Err(Error::mismatch(what, format!("{meaning:?}"), format!("{:?}", format.meaning)));
        }
        Self::from_tensors(card, &tensors, origin)
    }

    /// As [`Self::from_bytes`], from a file.
    pub fn load(path: &Path, format: &TwistFormat) -> Result<Self> {
        Self::from_bytes(&checkpoint::read_file(path)?, &path.display().to_string(), format)
    }

    /// From what was read, whatever base it is for; `origin` is for the messages.
    pub fn from_tensors(card: Card, tensors: &Tensors, origin: &str) -> Result<Self> {
        let read = |name: &str, shape: &[usize]| -> Result<Vec<f64>> {
            Ok(values(tensors, name, shape)?.into_iter().map(f64::from).collect())
        };
        let weights = read("weights", &[3, REGRESSORS])?;
        let covariance = read("covariance", &[3, REGRESSORS, REGRESSORS])?;
        let (usual, evidence) = (read("usual", &[3])?, read("evidence", &[3, 3])?);
        let axes = std::array::from_fn(|axis| {
            let part = |values: &[f64], size: usize| values[axis * size..(axis + 1) * size].to_vec();
            Learned {
                weights: part(&weights, REGRESSORS),
                covariance: part(&covariance, REGRESSORS * REGRESSORS),
                usual: usual[axis],
                evidence: [0, 1, 2].map(|kind| evidence[3 * axis + kind]),
            }
        });
        if let Some(wrong) = axes.iter().position(|axis: &Learned| !axis.is_belief()) {
            let what = format!("what {origin} believes of {}", ["x", "y", "theta"][wrong]);
            return Err(Error::mismatch(what, "no variances", "variances above 0 and up to 1"));
        }
        Ok(Self { card, axes })
    }
}
