//! What the predictor node is told, and the model that comes of it.

use super::linear::LinearPath;
use super::{LstmPredictor, PredictorConfig, PredictorModel};
use crate::error::{Error, Result};
use crate::nn::checkpoint::{self, Card, ModelKind};
use crate::robot::Robot;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Usual acceleration of an arm's joints, which sets the spread of a prediction without a model, rad/s².
const USUAL_ACCELERATION: f64 = 1.0;

/// Parameters of the node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PredictorParameters {
    /// Joints to predict; empty: all movable ones of the robot description.
    pub joints: Vec<String>,
    /// A model from `learned_control train`; empty: constant velocity and, with `adapt`, what is learned on the way.
    pub model_file: String,
    /// Let the linear path and the belief in each expert follow the robot's motion.
    pub adapt: bool,
    /// Step of the prediction [s]. With a model file it is the model's.
    pub dt: f64,
    /// Steps of the prediction. With a model file they are the model's.
    pub steps: usize,
    /// Predictions a second.
    pub publish_rate: f64,
}

impl Default for PredictorParameters {
    fn default() -> Self {
        Self {
            joints: Vec::new(),
            model_file: String::new(),
            adapt: true,
            dt: 0.01,
            steps: 50,
            publish_rate: 50.0,
        }
    }
}

impl PredictorParameters {
    /// Checks ranges; the error names the key, what was found and what is expected.
    pub fn validate(&self) -> Result<()> {
        for (key, value) in [("dt", self.dt), ("publish_rate", self.publish_rate)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::mismatch(key, value, "a number above 0"));
            }
        }
        PredictorConfig { steps: self.steps, ..Default::default() }.validate()
    }

    /// The predictor of the model file, checked against `robot`, with the file's card; or else one that is constant
    /// velocity until it has learned something.
    pub fn load(&self, robot: &Robot) -> Result<(LstmPredictor, Option<Card>)> {
        let (model, card) = self.model(robot)?;
        let mut predictor = LstmPredictor::new(&model)?;
        predictor.set_adapting(self.adapt);
        Ok((predictor, card))
    }

    fn model(&self, robot: &Robot) -> Result<(PredictorModel, Option<Card>)> {
        if self.model_file.is_empty() {
            let config = PredictorConfig { steps: self.steps, space: robot.space, ..Default::default() };
            let acceleration = vec![USUAL_ACCELERATION; robot.degrees_of_freedom()];
            let mut model = PredictorModel::untrained(&robot.joints, self.dt, config, &acceleration)?;
            model.linear = Some(LinearPath::blank(&model.config, robot.degrees_of_freedom(), self.dt));
            return Ok((model, None));
        }
        let (card, tensors) = checkpoint::load(Path::new(&self.model_file))?;
        card.check(ModelKind::Predictor, robot, None)?;
        let model = PredictorModel::from_checkpoint(&card, tensors, &self.model_file)?;
        Ok((model, Some(card)))
    }
}
