//! What the predictor node is told, and the model that comes of it.

use super::commands::{AGE_LIMIT, CommandConfig, Quantity};
use super::linear::LinearPath;
use super::{LstmPredictor, PredictorConfig, PredictorModel};
use crate::config;
use crate::error::{Error, Result};
use crate::nn::checkpoint::{self, Card, ModelKind};
use crate::robot::Robot;
use crate::state::Space;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The node that predicts a base.
const BASE_NODE: &str = "base_predictor";
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
    /// Topic of what the robot is told; empty: none is listened to.
    pub command_topic: String,
    /// What comes there.
    pub command_kind: CommandKind,
    /// A command that is older counts no more [s]. With a model file it is the model's.
    pub command_age_limit: f64,
}

/// The messages that command a robot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandKind {
    /// A plan of all joints.
    #[default]
    JointTrajectory,
    /// What a model says of positions, velocities and efforts; without a model positions and velocities.
    JointState,
    /// Bare numbers in the order of the joints.
    Position,
    Velocity,
    Effort,
    /// Of a base, whose node has no other.
    #[serde(skip)]
    Twist,
}

impl CommandKind {
    /// What bare numbers set.
    pub fn quantity(self) -> Option<Quantity> {
        match self {
            Self::Position => Some(Quantity::Position),
            Self::Velocity | Self::Twist => Some(Quantity::Velocity),
            Self::Effort => Some(Quantity::Effort),
            Self::JointTrajectory | Self::JointState => None,
        }
    }

    /// The commands that come so; `model` is asked where the messages do not say what is in them.
    fn config(self, joints: &[String], model: Option<&CommandConfig>) -> CommandConfig {
        let quantities = match (self.quantity(), model) {
            (Some(quantity), _) => vec![quantity],
            (None, _) if self == Self::JointTrajectory => return CommandConfig::of_plans(joints),
            (None, Some(model)) => model.quantities.clone(),
            (None, None) => vec![Quantity::Position, Quantity::Velocity],
        };
        CommandConfig::new(joints, quantities)
    }
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
            command_topic: String::new(),
            command_kind: CommandKind::default(),
            command_age_limit: AGE_LIMIT,
        }
    }
}

/// Parameters of the node of a base: as those of joints, which it does not name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BasePredictorParameters {
    /// A model from `learned_control train` on odometry; empty: constant twist, and with `adapt` what is learned on the way.
    pub model_file: String,
    /// Let what is linear, and the belief in each expert, follow the base's motion.
    pub adapt: bool,
    /// Step of the prediction [s]. With a model file it is the model's.
    pub dt: f64,
    /// Steps of the prediction. With a model file they are the model's.
    pub steps: usize,
    /// Predictions a second.
    pub publish_rate: f64,
    /// Topic of the twists that the base is told; empty: none is listened to.
    pub command_topic: String,
    /// Whether they come as TwistStamped.
    pub command_stamped: bool,
    /// A command that is older counts no more [s]. With a model file it is the model's.
    pub command_age_limit: f64,
}

impl Default for BasePredictorParameters {
    fn default() -> Self {
        Self {
            model_file: String::new(),
            adapt: true,
            dt: 0.1,
            steps: 50,
            publish_rate: 10.0,
            command_topic: String::new(),
            command_stamped: true,
            command_age_limit: AGE_LIMIT,
        }
    }
}

impl BasePredictorParameters {
    /// What they come to, for the coordinates of a base.
    pub fn parameters(&self) -> PredictorParameters {
        let Self { model_file, adapt, dt, steps, publish_rate, .. } = self.clone();
        let joints = Vec::new();
        PredictorParameters {
            joints,
            model_file,
            adapt,
            dt,
            steps,
            publish_rate,
            command_topic: self.command_topic.clone(),
            command_kind: CommandKind::Twist,
            command_age_limit: self.command_age_limit,
        }
    }
}

impl PredictorParameters {
    /// Those of the predictor in a parameter file, and what it predicts: a base, if there is a section for a node of a base.
    pub fn of_file(path: &Path) -> Result<(Self, Space)> {
        if config::has_section(path, BASE_NODE)? || config::has_section(path, "base_controller")? {
            let parameters: BasePredictorParameters = config::read_file(path, BASE_NODE)?;
            return Ok((parameters.parameters(), Space::PlanarBase));
        }
        Ok((config::read_file(path, "predictor")?, Space::Joints))
    }

    /// Checks ranges; the error names the key, what was found and what is expected.
    pub fn validate(&self) -> Result<()> {
        let values = [
            ("dt", self.dt),
            ("publish_rate", self.publish_rate),
            ("command_age_limit", self.command_age_limit),
        ];
        for (key, value) in values {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::mismatch(key, value, "a number above 0"));
            }
        }
        PredictorConfig::of_steps(self.steps).validate()
    }

    /// The predictor of the model file, checked against `robot`, with the file's card; or else one that is constant
    /// velocity until it has learned something.
    pub fn load(&self, robot: &Robot) -> Result<(LstmPredictor, Option<Card>)> {
        let (model, card) = self.model(robot)?;
        let mut predictor = LstmPredictor::new(&model)?;
        predictor.set_adapting(self.adapt);
        Ok((predictor, card))
    }

    /// What comes on the topic; none without one.
    fn commands(&self, robot: &Robot, model: Option<&CommandConfig>) -> Option<CommandConfig> {
        let config = self.command_kind.config(&robot.joints, model);
        let config = CommandConfig { age_limit: self.command_age_limit, ..config };
        (!self.command_topic.is_empty()).then_some(config)
    }

    fn model(&self, robot: &Robot) -> Result<(PredictorModel, Option<Card>)> {
        if self.model_file.is_empty() {
            let commands = self.commands(robot, None);
            let config =
                PredictorConfig { space: robot.space, commands, ..PredictorConfig::of_steps(self.steps) };
            let acceleration = vec![USUAL_ACCELERATION; robot.degrees_of_freedom()];
            let mut model = PredictorModel::untrained(&robot.joints, self.dt, config, &acceleration)?;
            model.linear = Some(LinearPath::blank(&model.config, robot.degrees_of_freedom(), self.dt));
            return Ok((model, None));
        }
        let (card, tensors) = checkpoint::load(Path::new(&self.model_file))?;
        card.check(ModelKind::Predictor, robot, None)?;
        let model = PredictorModel::from_checkpoint(&card, tensors, &self.model_file)?;
        let known = model.config.commands.as_ref();
        match (self.commands(robot, known), known) {
            (Some(told), Some(known)) => told.check_same(known)?,
            (Some(told), None) => {
                let expected =
                    format!("{told} (command_topic); train it with --commands, or empty command_topic");
                return Err(Error::mismatch("commands of the predictor model", "none", expected));
            }
            (None, _) => {}
        }
        Ok((model, Some(card)))
    }
}
