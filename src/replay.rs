//! The controller and the predictor on a recording: the very code of the nodes, with the stamps of the messages as the
//! time, as a controller node runs with `tick: joint_states`, or `odometry`. What comes out depends on the recording, the
//! settings and the models alone.

mod controller;
mod events;
mod recording;
mod table;

pub use controller::Sent;
pub use events::{Asked, Event};
pub use recording::RecordingWriter;
pub use table::{CommandTable, PredictionTable};

use crate::base::{BaseControllerConfig, OdometryReader};
use crate::control_loop::ControllerConfig;
use crate::dataset::bag::choose_topic;
use crate::dataset::messages::{self, JointState, Message as _, Odometry};
use crate::dataset::rosbag::{Bag, RawMessage, Topic};
use crate::dataset::{BASE, CommandSelection, Recording, Selection, Summary, csv};
use crate::error::{Error, Result};
use crate::measurement::{JointStateReader, Rejection};
use crate::nn::checkpoint::Card;
use crate::predictor::command_reader::CommandReader;
use crate::predictor::{LstmPredictor, Predictor, PredictorParameters};
use crate::robot::Robot;
use crate::state::{Space, Stamp, State};
use crate::trajectory::Trajectory;
use controller::Controller;
use std::fmt;
use std::path::Path;

/// Joint states as a node receives them; or of a base its odometry: x, y, yaw (NaN where there is none) and vx, vy, wz.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub stamp: Stamp,
    pub frame: String,
    pub names: Vec<String>,
    pub positions: Vec<f64>,
    pub velocities: Vec<f64>,
}

/// A message, or why it cannot be decoded.
pub type Decoded = std::result::Result<Message, String>;

/// Which time a message of a bag has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamps {
    /// That of its header, as for a node.
    Header,
    /// When it was logged.
    Log,
}

/// What is replayed of a recording.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    pub path: &'a Path,
    /// Whether the motion is that of joints or of a base.
    pub space: Space,
    /// The topic of the motion in a bag, the columns of a table.
    pub topic: Option<&'a str>,
    pub columns: Option<&'a csv::Columns>,
    /// Of a table without a column of time: rows a second, Hz.
    pub rate: Option<f64>,
    pub stamps: Stamps,
}

impl<'a> Source<'a> {
    /// Joint states, on the topic with most of them, with the stamps of their headers.
    pub fn new(path: &'a Path) -> Self {
        Self { path, space: Space::Joints, topic: None, columns: None, rate: None, stamps: Stamps::Header }
    }

    /// The messages in their order, none left out and nothing cleaned; of a table (.csv, .csv.gz) those that
    /// `learned_control play` would publish.
    pub fn messages(&self) -> Result<Box<dyn Iterator<Item = Result<Decoded>>>> {
        if csv::is_table(self.path) {
            let Recording { joints, states, .. } = self.table(None)?;
            let message = move |state| Ok(Ok(of_state(&joints, state)));
            return Ok(Box::new(states.into_iter().map(message)));
        }
        let bag = Bag::open(self.path)?;
        let topic = self.choose_topic(&bag)?.name.clone();
        let stamps = self.stamps;
        let messages = bag.messages(Some(&*topic));
        Ok(Box::new(messages.map(move |message| message.map(|message| decode(&message, stamps)))))
    }

    fn selection(&self, commands: Option<&CommandSelection>) -> Selection {
        let topic = self.topic.map(str::to_owned);
        let (columns, commands) = (self.columns.cloned(), commands.cloned());
        // of a table with joints beside a base
        let is_base = self.space == Space::PlanarBase && csv::is_table(self.path);
        let joints = is_base.then(|| BASE.map(String::from).into());
        Selection { topic, joints, columns, rate: self.rate, commands }
    }

    /// What is read of a table and what is not, for nothing of a bag is left out.
    pub fn account(&self) -> Result<Option<Summary>> {
        csv::is_table(self.path).then(|| Ok(self.table(None)?.summary)).transpose()
    }

    fn choose_topic<'b>(&self, bag: &'b Bag) -> Result<&'b Topic> {
        let expected = match self.space {
            Space::Joints => JointState::TYPE_NAME,
            Space::PlanarBase => Odometry::TYPE_NAME,
        };
        choose_topic(bag, &self.selection(None), &[expected])
    }

    fn table(&self, commands: Option<&CommandSelection>) -> Result<Recording> {
        let mut recording = Recording::read(self.path, &self.selection(commands))?;
        // a message of the stamp zero has none; a table may well begin at zero
        let zeros = recording.states.iter_mut().filter(|state| state.stamp == Stamp(0));
        zeros.for_each(|state| state.stamp = Stamp(1));
        if recording.space != self.space {
            let expected = match self.space {
                Space::Joints => "joints",
                Space::PlanarBase => "x, y, yaw of a base",
            };
            let problem =
                format!("it has the motion of {}, expected {expected}", recording.joints.join(", "));
            return Err(Error::Data { file: self.path.to_path_buf(), problem });
        }
        Ok(recording)
    }
}

fn of_state(names: &[String], state: State) -> Message {
    Message {
        stamp: state.stamp,
        frame: String::new(),
        names: names.to_vec(),
        positions: state.position,
        velocities: state.velocity,
    }
}

fn decode(message: &RawMessage, stamps: Stamps) -> Decoded {
    let mut decoded = if &*message.type_name == Odometry::TYPE_NAME {
        let Odometry { header, pose, twist, .. } = messages::decode(&message.cdr)?;
        let messages::Pose { position, orientation } = pose.pose;
        Message {
            stamp: header.stamp.into(),
            frame: header.frame_id,
            names: BASE.map(String::from).into(),
            positions: vec![position.x, position.y, orientation.unit_yaw().unwrap_or(f64::NAN)],
            velocities: twist.twist.planar(),
        }
    } else {
        let JointState { header, name, position, velocity, .. } = messages::decode(&message.cdr)?;
        let stamp = header.stamp.into();
        Message { stamp, frame: header.frame_id, names: name, positions: position, velocities: velocity }
    };
    if stamps == Stamps::Log {
        decoded.stamp = message.stamp;
    }
    Ok(decoded)
}

/// What the nodes make states with.
enum Reader {
    Joints(JointStateReader),
    Base(OdometryReader),
}

impl Reader {
    fn new(robot: &Robot) -> Self {
        match robot.space {
            Space::Joints => Self::Joints(JointStateReader::new(robot)),
            Space::PlanarBase => Self::Base(OdometryReader::new()),
        }
    }

    fn state(&self) -> Option<&State> {
        match self {
            Self::Joints(reader) => reader.state(),
            Self::Base(reader) => reader.state(),
        }
    }

    fn read(&mut self, message: &Message) -> std::result::Result<&State, Rejection> {
        let Message { stamp, names, positions, velocities, .. } = message;
        match self {
            _ if *stamp == Stamp(0) => Err(Rejection::NoStamp),
            Self::Joints(reader) => reader.read(*stamp, names, positions, velocities),
            Self::Base(reader) => {
                let triple = |values: &[f64]| values.try_into().ok();
                let twist = triple(velocities).unwrap_or([f64::NAN; 3]);
                reader.read(*stamp, triple(positions), twist)
            }
        }
    }
}

/// The nodes of one robot: a controller, a predictor, or both.
pub struct Replay {
    robot: Robot,
    reader: Reader,
    controller: Option<Controller>,
    predictor: Option<Foresight>,
    last: Option<Stamp>,
    pub counts: Counts,
}

struct Foresight {
    predictor: LstmPredictor,
    /// Of a model that knows commands.
    commands: Option<CommandReader>,
    prediction: Trajectory,
    card: Option<Card>,
    /// s
    period: f64,
    /// Stamp of the last prediction that was given out.
    last: Option<Stamp>,
}

/// What became of the messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    pub messages: usize,
    pub undecodable: usize,
    /// Rejected as the nodes would: other devices' and repeated ones among them.
    pub rejected: usize,
    /// Why the last one was not used.
    pub reason: Option<String>,
    /// States that were made of messages.
    pub states: usize,
    /// Ticks that gave a command.
    pub ticks: usize,
    /// Of them on the baseline alone, and holding, or of a base stopped by a fault.
    pub baseline: usize,
    pub holding: usize,
    pub predictions: usize,
    /// Commands that the predictor was told, and those of them that it could not use.
    pub commands: usize,
    pub refused_commands: usize,
    /// Twists and paths that a base was asked for, and those of them that its controller could not use.
    pub asked: usize,
    pub refused_asked: usize,
    /// Predictions while a command was in force.
    pub told: usize,
    /// States outside of what the predictor's training had seen.
    pub outside_training: usize,
    /// Longest time between two states, s.
    pub longest_pause: f64,
}

/// What one message led to.
pub struct Output<'a> {
    pub stamp: Stamp,
    /// Nothing of a base that has nothing to do.
    pub sent: Option<Sent<'a>>,
    pub prediction: Option<&'a Trajectory>,
    /// Of the positions of a base.
    pub frame: &'a str,
}

impl Replay {
    /// A predictor alone, for the joints of `parameters` or else of its model.
    pub fn of_predictor(parameters: &PredictorParameters, robot: Robot) -> Result<Self> {
        let predictor = Foresight::new(parameters, &robot)?;
        Ok(Self::new(robot, None, Some(predictor)))
    }

    /// A controller for the robot of a URDF `description`, with a predictor if there are parameters for one. There is
    /// no learner in a replay: its weights stay as they are.
    pub fn of_controller(
        config: ControllerConfig,
        predictor: Option<&PredictorParameters>,
        description: &str,
    ) -> Result<Self> {
        let controller = Controller::of_arm(config, predictor.is_some(), description)?;
        let robot = controller.robot();
        let predictor = predictor.map(|parameters| Foresight::new(parameters, &robot)).transpose()?;
        Ok(Self::new(robot, Some(controller), predictor))
    }

    /// A controller and a predictor of a base, which does what it is asked ([`Event::Asked`]).
    pub fn of_base(config: BaseControllerConfig, predictor: &PredictorParameters) -> Result<Self> {
        let controller = Controller::of_base(config)?;
        let robot = controller.robot();
        let predictor = Foresight::new(predictor, &robot)?;
        Ok(Self::new(robot, Some(controller), Some(predictor)))
    }

    fn new(robot: Robot, controller: Option<Controller>, predictor: Option<Foresight>) -> Self {
        let reader = Reader::new(&robot);
        Self { robot, reader, controller, predictor, last: None, counts: Counts::default() }
    }

    pub fn robot(&self) -> &Robot {
        &self.robot
    }

    pub fn has_controller(&self) -> bool {
        self.controller.is_some()
    }

    pub fn has_predictor(&self) -> bool {
        self.predictor.is_some()
    }

    /// Takes what came next.
    pub fn take<'a>(&'a mut self, event: &'a Event) -> Option<Output<'a>> {
        match event {
            Event::Motion(message) => self.observe(message),
            Event::Command(command) => {
                self.hear(command);
                None
            }
            Event::Asked(asked) => {
                self.ask(asked);
                None
            }
        }
    }

    /// Takes a command, as the predictor's node would.
    fn hear(&mut self, command: &events::Command) {
        let Some(Foresight { predictor, commands: Some(reader), .. }) = &mut self.predictor else { return };
        self.counts.commands += 1;
        match command.read(reader, self.reader.state()) {
            Ok(instruction) => predictor.hear(instruction),
            Err(reason) => {
                self.counts.refused_commands += 1;
                self.counts.reason = Some(reason);
            }
        }
    }

    /// Asks the controller of a base.
    fn ask(&mut self, asked: &Asked) {
        let Some(controller) = &mut self.controller else { return };
        self.counts.asked += 1;
        if let Err(reason) = controller.ask(asked, self.reader.state().map(|state| state.stamp)) {
            self.counts.refused_asked += 1;
            self.counts.reason = Some(reason);
        }
    }

    /// Takes one message; `None` when the nodes would not use it. A prediction reaches the controller after the tick.
    pub fn observe<'a>(&'a mut self, message: &'a Decoded) -> Option<Output<'a>> {
        self.counts.messages += 1;
        let message = match message {
            Ok(message) => message,
            Err(problem) => {
                self.counts.undecodable += 1;
                self.counts.reason = Some(problem.clone());
                return None;
            }
        };
        let stamp = message.stamp;
        let state = match self.reader.read(message) {
            Ok(state) => state,
            Err(rejection) => {
                self.counts.reject(&rejection);
                return None;
            }
        };
        let pause = self.last.map_or(0.0, |last| stamp.since(last));
        self.counts.longest_pause = self.counts.longest_pause.max(pause);
        self.last = Some(stamp);
        self.counts.states += 1;
        if let Some(controller) = &mut self.controller {
            controller.tick(state, &mut self.counts);
        }
        let mut is_predicted = false;
        if let Some(foresight) = &mut self.predictor {
            let is_sample = foresight.observe(state, &mut self.counts);
            is_predicted = is_sample && foresight.predict(stamp);
            self.counts.predictions += usize::from(is_predicted);
            self.counts.told += usize::from(is_predicted && foresight.predictor.is_told());
            if let (true, Some(controller)) = (is_predicted, &mut self.controller) {
                controller.hear_prediction(stamp, &foresight.prediction);
            }
        }
        Some(Output {
            stamp,
            sent: self.controller.as_ref().and_then(Controller::sent),
            prediction: self
                .predictor
                .as_ref()
                .filter(|_| is_predicted)
                .map(|foresight| &foresight.prediction),
            frame: &message.frame,
        })
    }
}

impl Foresight {
    fn new(parameters: &PredictorParameters, robot: &Robot) -> Result<Self> {
        let (predictor, card) = parameters.load(robot)?;
        Ok(Self {
            prediction: Trajectory::new(predictor.horizon(), robot.degrees_of_freedom()),
            commands: predictor.commands().map(|config| CommandReader::new(robot, config.clone())),
            predictor,
            card,
            period: 1.0 / parameters.publish_rate,
            last: None,
        })
    }

    /// Says whether to predict from it, as the nodes do.
    fn observe(&mut self, state: &State, counts: &mut Counts) -> bool {
        let is_sample = self.predictor.observe(state).is_sample();
        let outside = self.card.as_ref().and_then(|card| card.first_outside(state));
        counts.outside_training += usize::from(outside.is_some());
        is_sample
    }

    /// Predicts at the configured rate, counted by the stamps; says whether it did.
    fn predict(&mut self, stamp: Stamp) -> bool {
        let is_due = self.last.is_none_or(|last| {
            let elapsed = stamp.since(last);
            elapsed >= self.period || elapsed < 0.0
        });
        if !is_due || !self.predictor.predict(&mut self.prediction) {
            return false;
        }
        self.last = Some(stamp);
        true
    }
}

impl Counts {
    fn reject(&mut self, rejection: &Rejection) {
        self.rejected += 1;
        self.reason = Some(rejection.to_string());
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} messages", self.messages)?;
        let counts = [
            (self.undecodable, "not decodable"),
            (self.rejected, "not used"),
            (self.ticks, "commands"),
            (self.baseline, "of them on the baseline alone"),
            (self.holding, "of them holding"),
            (self.predictions, "predictions"),
            (self.commands, "messages with commands"),
            (self.refused_commands, "of them not used"),
            (self.told, "predictions while one was in force"),
            (self.asked, "messages that ask the base"),
            (self.refused_asked, "of them not used"),
            (self.outside_training, "states outside of what the predictor was trained on"),
        ];
        for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
            write!(out, ", {count} {what}")?;
        }
        match &self.reason {
            Some(reason) => write!(out, "; the last that was not used: {reason}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
