//! What comes in during a replay, in its order: the motion, and the commands if there are any to listen to.

use super::{Decoded, Source, decode, of_state};
use crate::dataset::commands::trajectory;
use crate::dataset::messages::{
    self, AckermannDrive, AckermannDriveStamped, Float64MultiArray, JointState, JointTrajectory,
    Message as _, Twist, TwistStamped,
};
use crate::dataset::rosbag::{Bag, RawMessage};
use crate::dataset::{CommandSelection, CommandSource, Recording, csv, data};
use crate::error::Result;
use crate::predictor::command_reader::CommandReader;
use crate::predictor::commands::Instruction;
use crate::state::{Stamp, State};
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
        let cdr = &message.cdr;
        let decoded = match &*message.type_name {
            JointState::TYPE_NAME => messages::decode(cdr).map(Self::JointState),
            JointTrajectory::TYPE_NAME => messages::decode(cdr).map(Self::Plan),
            Float64MultiArray::TYPE_NAME => {
                messages::decode(cdr).map(|message: Float64MultiArray| Self::Values(message.data))
            }
            Twist::TYPE_NAME => messages::decode(cdr).map(|twist: Twist| Self::Values(twist.planar())),
            TwistStamped::TYPE_NAME => {
                messages::decode(cdr).map(|message: TwistStamped| Self::Values(message.twist.planar()))
            }
            AckermannDrive::TYPE_NAME => {
                messages::decode(cdr).map(|drive: AckermannDrive| Self::Values(drive.twist()))
            }
            AckermannDriveStamped::TYPE_NAME => messages::decode(cdr)
                .map(|message: AckermannDriveStamped| Self::Values(message.drive.twist())),
            other => Err(format!("{other} is no command")),
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

impl Source<'_> {
    /// The messages, with the commands on a topic of the bag or in columns of the table, each before the motion that came
    /// after it.
    pub fn events(&self, commands: Option<&CommandSelection>) -> Result<Events> {
        let Some(commands) = commands else {
            return Ok(Box::new(self.messages()?.map(|message| message.map(Event::Motion))));
        };
        if csv::is_table(self.path) {
            return Ok(of_table(self.table(Some(commands))?));
        }
        let CommandSource::Topic(of_commands) = commands.source.clone() else {
            let problem = "commands of a bag are on a topic; --commands names columns of a table";
            return Err(data(self.path, problem));
        };
        let bag = Bag::open(self.path)?;
        let topic = self.choose_topic(&bag)?.name.clone();
        if !bag.topics().iter().any(|topic| *topic.name == *of_commands) {
            return Err(data(self.path, format!("it has no topic {of_commands} with commands")));
        }
        let stamps = self.stamps;
        let event = move |message: RawMessage| match &*message.topic {
            name if *name == *topic => Some(Event::Motion(decode(&message, stamps))),
            name if *name == *of_commands => Some(Event::Command(Command::decode(&message))),
            _ => None,
        };
        Ok(Box::new(bag.messages(None).filter_map(move |message| message.map(&event).transpose())))
    }
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
        let motion = Event::Motion(Ok(of_state(&joints, state)));
        command.into_iter().chain([motion]).map(Ok)
    });
    Box::new(events)
}
