//! What a predictor's node is told beside the motion.

use crate::base::base_robot;
use crate::error::Result;
use crate::predictor::command_reader::CommandReader;
use crate::predictor::commands::{CommandConfig, Instruction};
use crate::predictor::parameters::CommandKind;
use crate::predictor::{LstmPredictor, PredictorParameters};
use crate::reference;
use crate::robot::Robot;
use crate::ros::convert::{message_to_points, time_to_stamp};
use crate::ros::parameters::Validate;
use crate::ros::planar::TwistInput;
use crate::ros::shell::{Shell, Subscription, reliable_qos};
use crate::state::{Stamp, State};
use r2r::sensor_msgs::msg::JointState;
use r2r::std_msgs::msg::Float64MultiArray;
use r2r::trajectory_msgs::msg::JointTrajectory;
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// A subscription to commands, of which the newest counts.
pub struct CommandInput {
    topic: String,
    source: Source,
    reader: CommandReader,
    refused: u64,
    /// Stamp of the last measurement with a command in force, or of the first one.
    told: Option<Stamp>,
    said_silent: bool,
}

enum Source {
    JointState(Subscription<JointState>),
    Plan(Subscription<JointTrajectory>),
    Values(Subscription<Float64MultiArray>),
    Twist(TwistInput),
}

impl CommandInput {
    /// None without a topic, which is said where the model knows `commands`.
    pub fn new<T: Validate + Serialize + DeserializeOwned + Clone + Send + 'static>(
        shell: &mut Shell<T>,
        parameters: &PredictorParameters,
        robot: &Robot,
        commands: Option<&CommandConfig>,
    ) -> Result<Option<Self>> {
        let topic = &parameters.command_topic;
        let Some(config) = known(shell, topic, commands) else { return Ok(None) };
        let source = match parameters.command_kind {
            CommandKind::JointState => Source::JointState(shell.subscribe(topic, reliable_qos(10))?),
            CommandKind::JointTrajectory => Source::Plan(shell.subscribe(topic, reliable_qos(10))?),
            CommandKind::Twist => Source::Twist(TwistInput::new(&mut shell.node, topic, false)?),
            CommandKind::Position | CommandKind::Velocity | CommandKind::Effort => {
                Source::Values(shell.subscribe(topic, reliable_qos(10))?)
            }
        };
        Ok(Some(Self::of(topic, source, CommandReader::new(robot, config))))
    }

    /// Twists of a base, with stamps (which are not looked at) or without.
    pub fn of_base<T: Validate + Serialize + DeserializeOwned + Clone + Send + 'static>(
        shell: &mut Shell<T>,
        topic: &str,
        stamped: bool,
        commands: Option<&CommandConfig>,
    ) -> Result<Option<Self>> {
        let Some(config) = known(shell, topic, commands) else { return Ok(None) };
        let source = Source::Twist(TwistInput::new(&mut shell.node, topic, stamped)?);
        Ok(Some(Self::of(topic, source, CommandReader::new(&base_robot(), config))))
    }

    fn of(topic: &str, source: Source, reader: CommandReader) -> Self {
        Self { topic: topic.to_owned(), source, reader, refused: 0, told: None, said_silent: false }
    }

    /// Hands the newest command, if one has come, to `predictor`; the robot is at `state`.
    pub fn hear<T: Validate + Serialize + DeserializeOwned + Clone, N>(
        &mut self,
        shell: &Shell<T, N>,
        state: Option<&State>,
        predictor: &mut LstmPredictor,
    ) {
        match self.newest(state) {
            None => {}
            Some(Ok(instruction)) => predictor.hear(Arc::new(instruction)),
            Some(Err(error)) => {
                self.refused += 1;
                if self.refused == 1 {
                    shell.warn(&format!("command on {} not used: {error}", self.topic));
                }
            }
        }
    }

    fn newest(&mut self, state: Option<&State>) -> Option<Result<Instruction>> {
        let reader = &self.reader;
        match &mut self.source {
            Source::JointState(input) => input.newest().map(|message| {
                reader.joint_state(&message.name, [&message.position, &message.velocity, &message.effort])
            }),
            Source::Plan(input) => input.newest().map(|message| {
                let (joints, points) = (message.joint_names.clone(), message_to_points(&message));
                let start = time_to_stamp(&message.header.stamp);
                reader.plan(&reference::JointTrajectory { joints, points }, Some(start), state)
            }),
            Source::Values(input) => input.newest().map(|message| reader.values(&message.data)),
            Source::Twist(input) => input.newest().map(|twist| reader.values(&twist)),
        }
    }

    /// Says once when `predictor`, which has just taken in the measurement of `stamp`, has been left without a command for
    /// longer than one counts.
    pub fn watch<T: Validate + Serialize + DeserializeOwned + Clone, N>(
        &mut self,
        shell: &Shell<T, N>,
        predictor: &LstmPredictor,
        stamp: Stamp,
    ) {
        let limit = self.reader.config().age_limit;
        let silence = self.told.map_or(0.0, |told| stamp.since(told));
        if predictor.is_told() || self.told.is_none() || silence < 0.0 {
            self.told = Some(stamp);
        } else if silence > limit && !self.said_silent {
            shell.warn(&format!(
                "no command on {} within {limit} s: predicted without until one comes",
                self.topic
            ));
            self.said_silent = true;
        }
    }

    /// For /diagnostics.
    pub fn diagnostics(&self, predictor: &LstmPredictor) -> [(&'static str, String); 2] {
        [("told", predictor.is_told().to_string()), ("refused_commands", self.refused.to_string())]
    }
}

/// The commands that the model knows, if there is a topic to hear them on.
fn known<T: Validate + Serialize + DeserializeOwned + Clone + Send + 'static>(
    shell: &Shell<T>,
    topic: &str,
    commands: Option<&CommandConfig>,
) -> Option<CommandConfig> {
    let commands = commands?;
    if topic.is_empty() {
        shell.info(&format!("the model knows {commands}; without command_topic it predicts without them"));
        return None;
    }
    shell.info(&format!("listens to {commands} on {topic}"));
    Some(commands.clone())
}
