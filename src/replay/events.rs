//! What comes in during a replay, in its order: the motion, and the commands if there are any to listen to.

use super::{Decoded, Message, Stamps, decode};
use crate::dataset::bag::choose_topic;
use crate::dataset::commands::trajectory;
use crate::dataset::messages::{self, Float64MultiArray, JointState, JointTrajectory, Message as _};
use crate::dataset::rosbag::{Bag, RawMessage};
use crate::dataset::{CommandSelection, CommandSource, Recording, Selection, csv, data};
use crate::error::Result;
use crate::predictor::command_reader::CommandReader;
use crate::predictor::commands::Instruction;
use crate::state::{Stamp, State};
use std::path::Path;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum Event {
    Motion(Decoded),
    Command(Command),
}

/// A command as it came.
#[derive(Clone, Debug)]
pub enum Command {
    JointState(JointState),
    Plan(JointTrajectory),
    Values(Vec<f64>),
    /// Of a table, which was read with its motion.
    Read(Arc<Instruction>),
    Undecodable(String),
}

impl Command {
    fn decode(message: &RawMessage) -> Self {
        let decoded = match &*message.type_name {
            JointState::TYPE_NAME => messages::decode(&message.cdr).map(Self::JointState),
            JointTrajectory::TYPE_NAME => messages::decode(&message.cdr).map(Self::Plan),
            Float64MultiArray::TYPE_NAME => {
                messages::decode(&message.cdr).map(|message: Float64MultiArray| Self::Values(message.data))
            }
            other => Err(format!("{other} commands no joints")),
        };
        decoded.unwrap_or_else(Self::Undecodable)
    }

    /// What it tells, with the robot at `state`; or why it is of no use.
    pub(super) fn read(
        &self,
        reader: &CommandReader,
        state: Option<&State>,
    ) -> std::result::Result<Arc<Instruction>, String> {
        let read = match self {
            Self::JointState(JointState { name, position, velocity, effort, .. }) => {
                reader.joint_state(name, [position, velocity, effort])
            }
            Self::Plan(message) => {
                let start: Stamp = message.header.stamp.into();
                reader.plan(&trajectory(message.clone()), Some(start), state)
            }
            Self::Values(values) => reader.values(values),
            Self::Read(instruction) => return Ok(instruction.clone()),
            Self::Undecodable(problem) => return Err(problem.clone()),
        };
        read.map(Arc::new).map_err(|error| error.to_string())
    }
}

type Events = Box<dyn Iterator<Item = Result<Event>>>;

/// As [`super::messages`], with the commands on a topic of the bag or in columns of the table, each before the motion that came
/// after it.
pub fn events(
    path: &Path,
    topic: Option<&str>,
    stamps: Stamps,
    commands: Option<&CommandSelection>,
) -> Result<Events> {
    let Some(commands) = commands else {
        return Ok(Box::new(super::messages(path, topic, stamps)?.map(|message| message.map(Event::Motion))));
    };
    let mut selection = Selection { topic: topic.map(str::to_owned), ..Default::default() };
    if csv::is_table(path) {
        selection.commands = Some(commands.clone());
        return Ok(of_table(Recording::read(path, &selection)?));
    }
    let CommandSource::Topic(of_commands) = commands.source.clone() else {
        return Err(data(path, "commands of a bag are on a topic; --commands names columns of a table"));
    };
    let bag = Bag::open(path)?;
    let topic = choose_topic(&bag, &selection)?.clone();
    if &*topic.type_name != JointState::TYPE_NAME {
        let problem =
            format!("topic {} has {}, expected {}", topic.name, topic.type_name, JointState::TYPE_NAME);
        return Err(data(path, problem));
    }
    if !bag.topics().iter().any(|topic| *topic.name == *of_commands) {
        return Err(data(path, format!("it has no topic {of_commands} with commands")));
    }
    let event = move |message: RawMessage| match &*message.topic {
        name if *name == *topic.name => Some(Event::Motion(decode(&message, stamps))),
        name if *name == *of_commands => Some(Event::Command(Command::decode(&message))),
        _ => None,
    };
    Ok(Box::new(bag.messages(None).filter_map(move |message| message.map(&event).transpose())))
}

/// The motion of a table, each row after its command, if that is a new one.
fn of_table(recording: Recording) -> Events {
    let Recording { joints, states, commands, .. } = recording;
    let told = commands.map_or(Vec::new(), |commands| commands.told);
    let mut last: Option<Arc<Instruction>> = None;
    let events = states.into_iter().enumerate().flat_map(move |(index, state)| {
        let told = told.get(index).and_then(Option::as_ref).map(|told| told.instruction().clone());
        let is_new =
            told.as_ref().is_some_and(|told| !last.as_ref().is_some_and(|last| Arc::ptr_eq(last, told)));
        last.clone_from(&told);
        let command = told.filter(|_| is_new).map(|told| Event::Command(Command::Read(told)));
        let motion = Event::Motion(Ok(Message {
            stamp: state.stamp,
            names: joints.clone(),
            positions: state.position,
            velocities: state.velocity,
        }));
        command.into_iter().chain([motion]).map(Ok)
    });
    Box::new(events)
}
