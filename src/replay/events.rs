//! What comes in during a replay, in its order: the motion, the commands if there are any to listen to, and what a base is
//! asked to do.

use super::{Decoded, Source, decode, of_state};
use crate::base;
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
    /// For the predictor.
    Command(Command),
    /// For the controller of a base.
    Asked(Asked),
}

/// What a base is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// As on cmd_vel_in, in the frame of the base.
    Twist(base::Twist),
    /// As on ~/reference_path.
    Path(messages::Path),
    Undecodable(String),
}

impl Asked {
    const TYPES: [&str; 3] = [Twist::TYPE_NAME, TwistStamped::TYPE_NAME, messages::Path::TYPE_NAME];
    /// The topics of a controller under its usual names.
    const TOPICS: [&str; 2] = ["/cmd_vel_in", "/base_controller/reference_path"];

    fn decode(message: &RawMessage) -> Self {
        let cdr = &message.cdr;
        let asked = match &*message.type_name {
            Twist::TYPE_NAME => messages::decode(cdr).map(|twist| Self::of_twist(&twist)),
            TwistStamped::TYPE_NAME => {
                messages::decode(cdr).map(|message: TwistStamped| Self::of_twist(&message.twist))
            }
            messages::Path::TYPE_NAME => messages::decode(cdr).map(Self::Path),
            other => Err(format!("a base cannot be asked with {other}")),
        };
        asked.unwrap_or_else(Self::Undecodable)
    }

    fn of_twist(Twist { linear, angular }: &Twist) -> Self {
        Self::Twist([linear.x, linear.y, angular.z])
    }
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
    /// The topics on which a base was asked to do something: those `given`, or else those of a controller with its usual names;
    /// none in a table.
    pub fn asked(&self, given: &[String]) -> Result<Vec<String>> {
        if csv::is_table(self.path) {
            return match given.first() {
                Some(_) => {
                    Err(data(self.path, "what a base is asked is on topics of a bag, and this is a table"))
                }
                None => Ok(Vec::new()),
            };
        }
        let bag = Bag::open(self.path)?;
        let suitable: Vec<&str> = bag
            .topics()
            .iter()
            .filter(|topic| Asked::TYPES.contains(&&*topic.type_name))
            .map(|topic| &*topic.name)
            .collect();
        if let Some(missing) = given.iter().find(|given| !suitable.contains(&given.as_str())) {
            let others = match suitable.is_empty() {
                true => ", and no other".to_owned(),
                false => format!(", only {}", suitable.join(", ")),
            };
            let types = Asked::TYPES.join(", ");
            let problem = format!("it has no topic {missing} with {types}{others}");
            return Err(data(self.path, problem));
        }
        if !given.is_empty() {
            return Ok(given.to_vec());
        }
        let usual = Asked::TOPICS.into_iter().filter(|usual| suitable.contains(usual));
        Ok(usual.map(str::to_owned).collect())
    }

    /// The messages, with the commands on a topic of the bag or in columns of the table, each before the motion that came
    /// after it, and with what a base was `asked` on topics of the bag.
    pub fn events(&self, commands: Option<&CommandSelection>, asked: &[String]) -> Result<Events> {
        if csv::is_table(self.path) {
            return match commands {
                Some(_) => Ok(of_table(self.table(commands)?)),
                None => self.motion(),
            };
        }
        if commands.is_none() && asked.is_empty() {
            return self.motion();
        }
        let bag = Bag::open(self.path)?;
        let topic = self.choose_topic(&bag)?.name.clone();
        let of_commands = commands.map(|commands| self.command_topic(&bag, commands)).transpose()?;
        let (stamps, asked) = (self.stamps, asked.to_vec());
        // one topic may be both, what the base was asked and what the predictor is told
        let events = move |message: RawMessage| {
            let name = &*message.topic;
            let command = of_commands.as_deref() == Some(name);
            let is_asked = asked.iter().any(|asked| asked == name);
            let motion = (name == &*topic).then(|| Event::Motion(decode(&message, stamps)));
            let command = command.then(|| Event::Command(Command::decode(&message)));
            let asked = is_asked.then(|| Event::Asked(Asked::decode(&message)));
            [motion, command, asked].into_iter().flatten()
        };
        let events = bag.messages(None).flat_map(move |message| match message {
            Ok(message) => events(message).map(Ok).collect(),
            Err(error) => vec![Err(error)],
        });
        Ok(Box::new(events))
    }

    fn motion(&self) -> Result<Events> {
        Ok(Box::new(self.messages()?.map(|message| message.map(Event::Motion))))
    }

    fn command_topic(&self, bag: &Bag, commands: &CommandSelection) -> Result<String> {
        let CommandSource::Topic(topic) = &commands.source else {
            let problem = "commands of a bag are on a topic; --commands names columns of a table";
            return Err(data(self.path, problem));
        };
        if !bag.topics().iter().any(|found| *found.name == **topic) {
            return Err(data(self.path, format!("it has no topic {topic} with commands")));
        }
        Ok(topic.clone())
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
