//! Commands beside the motion: what the robot had been told at each measurement.
//!
//! Of a bag the order of logging says which command was there before which measurement; the stamps of the headers are not
//! looked at, since they are often zero or of another clock. A row of a table has the command of its own time.

use super::bag::read_topic;
use super::messages::{
    AckermannDrive, AckermannDriveStamped, Float64MultiArray, JointState, JointTrajectory, Message, Twist,
    TwistStamped,
};
use super::rosbag::Bag;
use super::{Recording, Summary, data};
use crate::error::{Error, Result};
use crate::predictor::command_reader::CommandReader;
use crate::predictor::commands::{AGE_LIMIT, CommandConfig, Quantity, Told};
use crate::reference::{self, JointTrajectoryPoint};
use crate::robot::Robot;
use crate::state::{Space, Stamp};
use std::str::FromStr;
use std::sync::Arc;

/// Which commands to read, and what they are.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandSelection {
    pub source: CommandSource,
    /// What bare numbers (Float64MultiArray) set; if none is given, the topic's name says it.
    pub quantity: Option<Quantity>,
    /// Of a table: the motion was planned before it began, so that its future is known.
    pub planned: bool,
    /// See [`CommandConfig::age_limit`].
    pub age_limit: f64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandSource {
    /// Of a bag.
    Topic(String),
    /// Of a table, `joint=position:velocity:acceleration`; of a base `vx=`, `vy=` and `wz=`, of which one may be missing.
    /// A `*` in the joint stands for the same in the columns.
    Columns(Vec<(String, Vec<String>)>),
}

impl FromStr for CommandSource {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if !text.contains('=') {
            return Ok(Self::Topic(text.to_owned()));
        }
        let entry = |entry: &str| {
            let expected = || {
                format!("'{entry}' is neither a topic nor of the form joint=position:velocity:acceleration")
            };
            let (name, columns) = entry.split_once('=').ok_or_else(expected)?;
            let columns: Vec<String> = columns.split(':').map(|column| column.trim().to_owned()).collect();
            let is_valid = columns.len() <= 3 && columns.iter().any(|column| !column.is_empty());
            is_valid.then(|| (name.trim().to_owned(), columns)).ok_or_else(expected)
        };
        text.split(',').map(entry).collect::<std::result::Result<_, _>>().map(Self::Columns)
    }
}

impl CommandSelection {
    pub fn new(source: CommandSource) -> Self {
        Self { source, quantity: None, planned: false, age_limit: AGE_LIMIT }
    }
}

/// What the robot was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Commands {
    pub config: CommandConfig,
    /// At each measurement, once something had been told.
    pub told: Vec<Option<Told>>,
}

impl Commands {
    /// The sentence for the summary of `recording`: what was kept, and how much of the time it was in force.
    fn note(&self, recording: &Recording, kept: &str) -> String {
        let states = recording.states.iter().zip(&self.told);
        let in_force = states
            .filter(|(state, told)| {
                told.as_ref().is_some_and(|told| told.is_in_force(state.stamp, &self.config))
            })
            .count();
        let share = 100.0 * in_force as f64 / recording.states.len().max(1) as f64;
        let kind = if self.config.planned { "plans" } else { "commands" };
        let quantities: Vec<String> = self.config.quantities.iter().map(Quantity::to_string).collect();
        format!(
            "{kind} of {}: {kept}; in force at {share:.0} % of the measurements",
            quantities.join(" and ")
        )
    }
}

/// A message before it is known what all of them set.
enum Content {
    Joints { names: Vec<String>, fields: [Vec<f64>; 3] },
    Values(Vec<f64>),
    Trajectory(reference::JointTrajectory, Stamp),
}

/// Reads the commands of `recording` from a topic of its bag; `logged` is when each of its states was logged.
pub(super) fn read(
    bag: &Bag,
    selection: &CommandSelection,
    recording: &mut Recording,
    logged: &[Option<Stamp>],
) -> Result<()> {
    let CommandSource::Topic(name) = &selection.source else {
        let problem = "commands of a bag are on a topic; --commands names columns of a table";
        return Err(data(bag.path(), problem));
    };
    let mut summary = Summary { topic: name.clone(), ..Default::default() };
    let (entries, mut config) = contents(bag, name, selection, recording, &mut summary)?;
    config.age_limit = selection.age_limit;
    if config.quantities.is_empty() {
        let problem =
            format!("most messages of {name} have no position, velocity or effort of all they name");
        return Err(data(bag.path(), problem));
    }
    if selection.planned && !config.planned {
        let problem = format!(
            "{name} has {}, whose future is not in the messages: leave out --planned",
            summary.type_name
        );
        return Err(data(bag.path(), problem));
    }
    config.check(&recording.joints, recording.space)?;
    let robot = Robot { space: recording.space, ..Robot::of_joints(&recording.joints) };
    let reader = CommandReader::new(&robot, config.clone());
    let mut refused = None;
    let logged: Vec<Stamp> =
        logged.iter().zip(&recording.states).map(|(log, state)| log.unwrap_or(state.stamp)).collect();
    let mut told: Vec<Option<Told>> = vec![None; recording.states.len()];
    for (content, log) in entries {
        let next = logged.partition_point(|state| *state < log);
        let newest = next.checked_sub(1).map(|newest| &recording.states[newest]);
        let instruction = match &content {
            Content::Joints { names, fields: [positions, velocities, efforts] } => {
                reader.joint_state(names, [positions, velocities, efforts])
            }
            Content::Values(values) => reader.values(values),
            Content::Trajectory(trajectory, start) => reader.plan(trajectory, Some(*start), newest),
        };
        match instruction {
            Ok(instruction) => {
                summary.kept += 1;
                let since = newest.unwrap_or(&recording.states[0]).stamp;
                if let Some(slot) = told.get_mut(next) {
                    *slot = Some(Told::new(since, Arc::new(instruction)));
                }
            }
            Err(error) => _ = refused.get_or_insert(error.to_string()),
        }
    }
    let mut last = None;
    for told in &mut told {
        match told {
            Some(told) => last = Some(told.clone()),
            None => told.clone_from(&last),
        }
    }
    let reason = refused.map(|reason| format!(", the first that was not: {reason}")).unwrap_or_default();
    if summary.kept == 0 {
        return Err(data(bag.path(), format!("no command of {name} can be used{reason}")));
    }
    let commands = Commands { config, told };
    let kept = format!("kept {} of {} of {name} ({}){reason}", summary.kept, summary.read, summary.type_name);
    recording.summary.notes.push(commands.note(recording, &kept));
    recording.summary.losses.extend(&summary.losses);
    recording.commands = Some(commands);
    Ok(())
}

/// The commands that all of `recordings` have; none where there are none.
pub fn common(recordings: &[Recording]) -> Result<Option<CommandConfig>> {
    let config = |recording: &Recording| recording.commands.as_ref().map(|commands| commands.config.clone());
    let Some(first) = recordings.first() else { return Ok(None) };
    let expected = config(first);
    if let Some(other) = recordings.iter().find(|other| config(other) != expected) {
        let show =
            |config: Option<CommandConfig>| config.map_or("none".to_owned(), |config| config.to_string());
        let what = format!("commands of {}", other.origin.display());
        return Err(Error::mismatch(what, show(config(other)), show(expected)));
    }
    Ok(expected)
}

type Entries = Vec<(Content, Stamp)>;

/// The messages of the topic with their times of logging, and what they set.
fn contents(
    bag: &Bag,
    name: &str,
    selection: &CommandSelection,
    recording: &Recording,
    summary: &mut Summary,
) -> Result<(Entries, CommandConfig)> {
    let Some(topic) = bag.topics().iter().find(|topic| &*topic.name == name) else {
        let found: Vec<&str> = bag.topics().iter().map(|topic| &*topic.name).collect();
        let problem = format!("it has no topic {name} with commands, only {}", found.join(", "));
        return Err(data(bag.path(), problem));
    };
    summary.type_name = topic.type_name.to_string();
    let joints = &recording.joints;
    let twist = |twist: Twist| Content::Values(twist.planar());
    let of_base = CommandConfig::new(joints, vec![Quantity::Velocity]);
    let read = match (&*topic.type_name, recording.space) {
        (Twist::TYPE_NAME, Space::PlanarBase) => {
            (read_topic(bag, topic, summary, |message: Twist, log| (twist(message), log))?, of_base)
        }
        (TwistStamped::TYPE_NAME, Space::PlanarBase) => {
            (read_topic(bag, topic, summary, |m: TwistStamped, log| (twist(m.twist), log))?, of_base)
        }
        (AckermannDriveStamped::TYPE_NAME, Space::PlanarBase) => {
            let take = |message: AckermannDriveStamped, log| (Content::Values(message.drive.twist()), log);
            (read_topic(bag, topic, summary, take)?, of_base)
        }
        (AckermannDrive::TYPE_NAME, Space::PlanarBase) => {
            let take = |message: AckermannDrive, log| (Content::Values(message.twist()), log);
            (read_topic(bag, topic, summary, take)?, of_base)
        }
        (JointState::TYPE_NAME, Space::Joints) => {
            let entries: Entries = read_topic(bag, topic, summary, |message: JointState, log| {
                let JointState { name, position, velocity, effort, .. } = message;
                (Content::Joints { names: name, fields: [position, velocity, effort] }, log)
            })?;
            let config = CommandConfig::new(joints, quantities(&entries));
            (entries, config)
        }
        (Float64MultiArray::TYPE_NAME, Space::Joints) => {
            let named = [Quantity::Position, Quantity::Velocity, Quantity::Acceleration, Quantity::Effort];
            let named = named.into_iter().find(|quantity| name.contains(&quantity.to_string()));
            let Some(quantity) = selection.quantity.or(named) else {
                let problem = format!(
                    "{name} has bare numbers and its name does not say what they set; give --command-quantity"
                );
                return Err(data(bag.path(), problem));
            };
            let take = |message: Float64MultiArray, log| (Content::Values(message.data), log);
            (read_topic(bag, topic, summary, take)?, CommandConfig::new(joints, vec![quantity]))
        }
        (JointTrajectory::TYPE_NAME, Space::Joints) => {
            let take = |message: JointTrajectory, log| {
                let start = message.header.stamp.into();
                (Content::Trajectory(trajectory(message), start), log)
            };
            (read_topic(bag, topic, summary, take)?, CommandConfig::of_plans(joints))
        }
        (other, space) => {
            let expected = match space {
                Space::Joints => {
                    [JointState::TYPE_NAME, JointTrajectory::TYPE_NAME, Float64MultiArray::TYPE_NAME]
                }
                Space::PlanarBase => {
                    [Twist::TYPE_NAME, TwistStamped::TYPE_NAME, AckermannDriveStamped::TYPE_NAME]
                }
            };
            let problem = format!(
                "topic {name} has {other}, which commands no {}; expected {}",
                what(space),
                expected.join(", ")
            );
            return Err(data(bag.path(), problem));
        }
    };
    Ok(read)
}

fn what(space: Space) -> &'static str {
    match space {
        Space::Joints => "joints",
        Space::PlanarBase => "base",
    }
}

/// What most of the joint states set.
fn quantities(entries: &[(Content, Stamp)]) -> Vec<Quantity> {
    let has = |index: usize| {
        let count = entries.iter().filter(|(content, _)| match content {
            Content::Joints { names, fields } => {
                fields[index].len() == names.len() && fields[index].iter().all(|value| value.is_finite())
            }
            _ => false,
        });
        count.count() * 2 > entries.len()
    };
    let all = [Quantity::Position, Quantity::Velocity, Quantity::Effort];
    all.into_iter().enumerate().filter(|(index, _)| has(*index)).map(|(_, quantity)| quantity).collect()
}

/// In the core's types.
pub fn trajectory(message: JointTrajectory) -> reference::JointTrajectory {
    let point = |point: super::messages::JointTrajectoryPoint| JointTrajectoryPoint {
        time_from_start: f64::from(point.time_from_start.sec)
            + 1e-9 * f64::from(point.time_from_start.nanosec),
        positions: point.positions,
        velocities: point.velocities,
        accelerations: point.accelerations,
    };
    reference::JointTrajectory {
        joints: message.joint_names,
        points: message.points.into_iter().map(point).collect(),
    }
}

/// Takes `rows`, one a state [quantity][coordinate] with NaN where there is none, for the commands of a table.
pub(super) fn of_rows(
    selection: &CommandSelection,
    quantities: Vec<Quantity>,
    rows: Vec<Vec<f64>>,
    recording: &mut Recording,
) -> Result<()> {
    let robot = Robot { space: recording.space, ..Robot::of_joints(&recording.joints) };
    let mut config = CommandConfig::new(&recording.joints, quantities.clone());
    if selection.planned {
        config = CommandConfig::of_plans(&recording.joints);
    }
    config.age_limit = selection.age_limit;
    config.check(&recording.joints, recording.space)?;
    let reader = CommandReader::new(&robot, config.clone());
    let (told, kept) = match selection.planned {
        true => {
            let plan =
                reader.plan(&plan(recording, &quantities, &rows)?, Some(recording.states[0].stamp), None)?;
            let told = Told::new(recording.states[0].stamp, Arc::new(plan));
            (vec![Some(told); rows.len()], rows.len())
        }
        false => {
            // as a node would hear it, between the measurement before and that of its row
            let before = recording.states.iter().take(1).chain(&recording.states);
            let read = before
                .zip(&rows)
                .map(|(state, row)| Some(Told::new(state.stamp, Arc::new(reader.values(row).ok()?))));
            let told: Vec<Option<Told>> = read.collect();
            let kept = told.iter().flatten().count();
            (told, kept)
        }
    };
    if kept == 0 {
        return Err(data(&recording.origin, "no row has a whole command"));
    }
    let commands = Commands { config, told };
    let kept = format!("kept {kept} of {} rows", rows.len());
    recording.summary.notes.push(commands.note(recording, &kept));
    recording.commands = Some(commands);
    Ok(())
}

/// All rows as one trajectory.
fn plan(
    recording: &Recording,
    quantities: &[Quantity],
    rows: &[Vec<f64>],
) -> Result<reference::JointTrajectory> {
    let joints = recording.joints.len();
    let of = |row: &Vec<f64>, quantity: Quantity| -> Vec<f64> {
        let index = quantities.iter().position(|of| *of == quantity);
        index.map(|index| row[index * joints..(index + 1) * joints].to_vec()).unwrap_or_default()
    };
    let start = recording.states[0].stamp;
    let points: Vec<JointTrajectoryPoint> = recording
        .states
        .iter()
        .zip(rows)
        .map(|(state, row)| JointTrajectoryPoint {
            time_from_start: state.stamp.since(start),
            positions: of(row, Quantity::Position),
            velocities: of(row, Quantity::Velocity),
            accelerations: of(row, Quantity::Acceleration),
        })
        .collect();
    if points.iter().any(|point| point.positions.is_empty()) {
        return Err(data(&recording.origin, "a plan needs the commanded positions"));
    }
    Ok(reference::JointTrajectory { joints: recording.joints.clone(), points })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::data_folder;
    use crate::dataset::{Selection, messages};
    use crate::predictor::commands::Instruction;
    use std::path::Path;

    const VEHICLE: &str = "bags_ackermann_gps/bag";
    const TOPIC: &str = "/vehicle_command_ackermann";

    fn asked(source: &str) -> Selection {
        let commands = CommandSelection::new(source.parse().unwrap());
        Selection { commands: Some(commands), ..Default::default() }
    }

    fn refused(path: &Path, selection: &Selection) -> String {
        Recording::read(path, selection).unwrap_err().to_string()
    }

    #[test]
    fn a_measurement_has_the_command_that_was_there_before_it_whatever_the_clocks_say() {
        let Some(folder) = data_folder() else { return };
        let recording = Recording::read(&folder.join(VEHICLE), &asked(TOPIC)).unwrap();
        let commands = recording.commands.as_ref().unwrap();
        assert_eq!(commands.config, CommandConfig::new(&recording.joints, vec![Quantity::Velocity]));
        let note = recording.summary.to_string();
        assert!(
            note.contains("commands of velocity: kept 1034 of 1034 of /vehicle_command_ackermann"),
            "{note}"
        );
        assert!(note.contains("in force at 96 % of the measurements"), "{note}");
        // in the order of the log, as a node hears them
        let bag = Bag::open(&folder.join(VEHICLE)).unwrap();
        let (mut last, mut index) = (None, 0);
        for message in bag.messages(None).map(|message| message.unwrap()) {
            match &*message.topic {
                TOPIC => {
                    let command: AckermannDriveStamped = messages::decode(&message.cdr).unwrap();
                    last = Some((command.drive, recording.states[index.max(1) - 1].stamp));
                }
                "/odometry" => {
                    let told = commands.told[index].as_ref();
                    let expected = last.map(|(drive, since): (AckermannDrive, Stamp)| {
                        let speed = f64::from(drive.speed);
                        let turn = speed * f64::from(drive.steering_angle).tan();
                        Told::new(since, Arc::new(Instruction::Held(vec![speed, 0.0, turn])))
                    });
                    assert_eq!(told, expected.as_ref(), "{index}");
                    index += 1;
                }
                _ => {}
            }
        }
        assert_eq!(index, 2143);
    }

    #[test]
    fn commands_that_are_not_there_are_refused_with_what_is() {
        let Some(folder) = data_folder() else { return };
        let bag = folder.join(VEHICLE);
        assert!(refused(&bag, &asked("/cmd_vel")).contains("no topic /cmd_vel with commands, only /events"));
        let error = refused(&bag, &asked("/gps"));
        assert!(error.contains("has sensor_msgs/msg/NavSatFix, which commands no base; expected"), "{error}");
        assert!(refused(&bag, &asked("q1=a")).contains("commands of a bag are on a topic"));
        let mut planned = asked(TOPIC);
        planned.commands.as_mut().unwrap().planned = true;
        assert!(refused(&bag, &planned).contains("leave out --planned"));
        let mut never = asked(TOPIC);
        never.commands.as_mut().unwrap().age_limit = 0.0;
        assert!(refused(&bag, &never).contains("age_limit of commands"));
        let table = folder.join("kuka_kr300/traj_A.csv.gz");
        assert!(refused(&table, &asked("/cmd")).contains("commands of a table are in columns"));
        assert!(refused(&table, &asked("q*=nothing*")).contains("no column 'nothing1' with commands"));
        assert!(refused(&table, &asked("q1=q_ref1")).contains("no columns for joint 'q2'"));
        assert!("q*=a:b:c:d".parse::<CommandSource>().is_err() && "q1=".parse::<CommandSource>().is_err());
    }

    /// A bag whose arm was commanded by joint states, `effort` on each.
    fn arm(effort: Vec<f64>) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arm");
        let mut writer = crate::dataset::mcap_writer::McapWriter::create(&path).unwrap();
        for step in 1..=10i64 {
            let stamp = Stamp(step * 100_000_000);
            let state = JointState {
                header: messages::Header { stamp: stamp.into(), ..Default::default() },
                name: vec!["a".into(), "b".into()],
                position: vec![0.1 * step as f64, 0.0],
                velocity: vec![1.0, 0.0],
                effort: vec![],
            };
            writer.write("/joint_states", stamp, &state).unwrap();
            let name = if step == 3 { vec!["a".into()] } else { vec!["b".into(), "a".into()] };
            let command = JointState { name, effort: effort.clone(), ..Default::default() };
            writer.write("/command", Stamp(stamp.0 + 50_000_000), &command).unwrap();
        }
        writer.finish().unwrap();
        (folder, path)
    }

    #[test]
    fn joint_states_command_what_most_of_them_have() {
        let (_folder, path) = arm(vec![2.0, 1.0]);
        let mut selection = asked("/command");
        selection.topic = Some("/joint_states".into());
        let recording = Recording::read(&path, &selection).unwrap();
        let commands = recording.commands.as_ref().unwrap();
        assert_eq!(commands.config.quantities, [Quantity::Effort]);
        assert!(commands.told[0].is_none());
        let expected = Told::new(Stamp(100_000_000), Arc::new(Instruction::Held(vec![1.0, 2.0])));
        assert_eq!(commands.told[1].as_ref(), Some(&expected));
        assert_eq!(commands.told[3], commands.told[2], "the third names one joint only");
        let note = recording.summary.to_string();
        assert!(note.contains("kept 9 of 10 of /command") && note.contains("'b' too"), "{note}");
        // what sets nothing is no command
        let (_folder, path) = arm(vec![]);
        assert!(refused(&path, &selection).contains("most messages of /command have no position"));
    }

    #[test]
    fn columns_are_commands_by_a_pattern() {
        let Some(folder) = data_folder() else { return };
        let table = folder.join("kuka_kr300/traj_A.csv.gz");
        let mut selection = asked("q*=q_ref*::qdd_ref*");
        let recording = Recording::read(&table, &selection).unwrap();
        let commands = recording.commands.unwrap();
        assert_eq!(commands.config.quantities, [Quantity::Position, Quantity::Acceleration]);
        let told = commands.told[998].as_ref().unwrap();
        let Instruction::Held(values) = &**told.instruction() else { panic!("{told:?}") };
        assert_eq!((values.len(), values[0], values[6]), (12, 0.588_123_31, -0.218_048_36));
        assert!(recording.summary.to_string().contains("kept 2501 of 2501 rows; in force at 100 %"));
        // with its future known it is one plan for all of the time
        selection.commands.as_mut().unwrap().source = "q*=q_ref*:qd_ref*".parse().unwrap();
        selection.commands.as_mut().unwrap().planned = true;
        let commands = Recording::read(&table, &selection).unwrap().commands.unwrap();
        assert!(commands.config.planned);
        let [first, last] = [0, 2500].map(|row: usize| commands.told[row].as_ref().unwrap());
        assert!(first.is_same(last));
    }

    #[test]
    fn episodes_carry_what_was_told_and_other_commands_do_not_mix() {
        let Some(folder) = data_folder() else { return };
        let read =
            |source: &str| Recording::read(&folder.join("kuka_kr300/traj_A.csv.gz"), &asked(source)).unwrap();
        let (positions, velocities) = (read("q*=q_ref*"), read("q*=:qd_ref*"));
        let episodes = positions.episodes(0.01).unwrap();
        assert_eq!((episodes.len(), episodes[0].states.len()), (1, episodes[0].told.len()));
        let config = &positions.commands.as_ref().unwrap().config;
        let sound = episodes[0].states.iter().enumerate().skip(1);
        let is_told = |(time, state): (usize, &crate::state::State)| {
            episodes[0].told(time).is_some_and(|told| told.is_in_force(state.stamp, config))
        };
        assert!(sound.clone().all(is_told));
        assert_eq!(common(std::slice::from_ref(&positions)).unwrap().as_ref(), Some(config));
        let error = common(&[positions, velocities]).unwrap_err().to_string();
        assert!(
            error.contains("commands of velocity of q1") && error.contains("commands of position"),
            "{error}"
        );
    }
}
