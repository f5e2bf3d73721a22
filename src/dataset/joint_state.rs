//! Rows of joints from `sensor_msgs/msg/JointState`, matched by name whatever their order in a message.

use super::bag::read_topic;
use super::messages::JointState;
use super::rosbag::{Bag, Topic};
use super::{Row, Selection, Summary, data};
use crate::error::Result;
use crate::state::Stamp;
use std::collections::{BTreeMap, BTreeSet};

/// A message whose names are kept once for all that have the same.
struct Measured {
    header: Stamp,
    log: Stamp,
    /// Index among the lists of names.
    names: usize,
    position: Vec<f64>,
    velocity: Vec<f64>,
    effort: Vec<f64>,
}

/// Of this part of the messages that the most frequent joints have, other joints count as the robot's too.
const OFTEN: f64 = 0.1;
/// The same for joints together with some of those.
const OFTEN_TOGETHER: f64 = 0.5;

/// The joints and their rows: those asked for, or those of [`main_joints`].
pub(super) fn read(
    bag: &Bag,
    topic: &Topic,
    selection: &Selection,
    summary: &mut Summary,
) -> Result<(Vec<String>, Vec<Row>)> {
    let mut lists: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    let measured = read_topic(bag, topic, summary, |message: JointState, log| {
        let count = lists.len();
        let names = *lists.entry(message.name).or_insert(count);
        let JointState { header, position, velocity, effort, .. } = message;
        Measured { header: header.stamp.into(), log, names, position, velocity, effort }
    })?;
    let mut names = vec![Vec::new(); lists.len()];
    lists.into_iter().for_each(|(list, index)| names[index] = list);
    let uses = uses(&names, &measured);
    let joints = selection.joints.clone().unwrap_or_else(|| main_joints(&uses));
    if joints.is_empty() || names.iter().all(Vec::is_empty) {
        let others: String = summary.notes.iter().map(|note| format!("; {note}")).collect();
        return Err(data(bag.path(), format!("the messages of {} name no joints{others}", topic.name)));
    }
    let indices: Vec<Option<Vec<usize>>> = names.iter().map(|names| indices_of(&joints, names)).collect();
    let complete = indices.iter().flatten().next().cloned();
    if complete.is_none() {
        let found: BTreeSet<&str> = names.iter().flatten().map(String::as_str).collect();
        let found: Vec<&str> = found.into_iter().collect();
        let spread = match joints.iter().all(|joint| found.contains(&&**joint)) {
            true => ", not together; joint_state_publisher with a source_list makes one message of them",
            false => "",
        };
        let problem = format!(
            "no message of {} has all of {}; there are {}{spread}",
            topic.name,
            joints.join(", "),
            found.join(", ")
        );
        return Err(data(bag.path(), problem));
    }
    if selection.joints.is_none() {
        note_left_out(topic, &joints, &uses, summary);
    }
    let mut rows = Vec::with_capacity(measured.len());
    for message in measured {
        summary.reordered +=
            usize::from(indices[message.names].is_some() && indices[message.names] != complete);
        match indices[message.names].as_ref().and_then(|indices| row(&message, indices)) {
            Some(row) => rows.push(row),
            None => {
                summary.incomplete += 1;
                let detail = format!(
                    "one names {} and has {} positions",
                    names[message.names].join(", "),
                    message.position.len()
                );
                summary.losses.add("message without all joints", detail);
            }
        }
    }
    Ok((joints, rows))
}

/// How many messages have each set of joints, and in which order the first of them has it.
type Uses<'a> = BTreeMap<BTreeSet<&'a str>, (usize, &'a [String])>;

fn uses<'a>(names: &'a [Vec<String>], measured: &[Measured]) -> Uses<'a> {
    let mut counts = vec![0; names.len()];
    measured.iter().for_each(|message| counts[message.names] += 1);
    let mut uses = Uses::new();
    for (list, count) in names.iter().zip(counts) {
        uses.entry(list.iter().map(String::as_str).collect()).or_insert((0, list)).0 += count;
    }
    uses
}

/// The largest set of joints that messages often have, as of an arm beside its gripper; the more frequent one of two.
fn main_joints(uses: &Uses) -> Vec<String> {
    let by_frequency = uses.iter().rev().max_by_key(|(set, (count, _))| (*count, set.len()));
    let Some((frequent, (most, _))) = by_frequency else { return Vec::new() };
    let is_often = |set: &BTreeSet<&str>, count: usize| {
        let part = if set.is_disjoint(frequent) { OFTEN } else { OFTEN_TOGETHER };
        count as f64 > part * *most as f64
    };
    let often = uses.iter().filter(|(set, (count, _))| *set == frequent || is_often(set, *count));
    let main = often.rev().max_by_key(|(set, (count, _))| (set.len(), *count));
    main.map(|(_, (_, list))| list.to_vec()).unwrap_or_default()
}

/// Notes the joints of other messages than those that have `joints`.
fn note_left_out(topic: &Topic, joints: &[String], uses: &Uses, summary: &mut Summary) {
    let others: Vec<String> = uses
        .values()
        .filter(|(_, list)| list.iter().any(|joint| !joints.contains(joint)))
        .map(|(count, list)| format!("{} ({count} messages)", list.join(", ")))
        .collect();
    if !others.is_empty() {
        summary.notes.push(format!(
            "warning: other messages of {} have {}; choose with --joints",
            topic.name,
            others.join("; ")
        ));
    }
}

fn indices_of(joints: &[String], names: &[String]) -> Option<Vec<usize>> {
    joints.iter().map(|joint| names.iter().position(|name| name == joint)).collect()
}

/// `None` without a position for every joint.
fn row(message: &Measured, indices: &[usize]) -> Option<Row> {
    let values =
        |all: &[f64]| indices.iter().map(|index| all.get(*index).copied()).collect::<Option<Vec<f64>>>();
    let or_none =
        |all: &[f64]| indices.iter().map(|index| all.get(*index).copied().unwrap_or(f64::NAN)).collect();
    Some(Row {
        header: message.header,
        log: Some(message.log),
        position: values(&message.position)?,
        velocity: or_none(&message.velocity),
        effort: or_none(&message.effort),
        command: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Recording;
    use crate::dataset::messages::{Header, Time, decode, encode};
    use crate::dataset::tests::data_folder;
    use crate::measurement::JointStateReader;
    use crate::robot::Robot;
    use crate::state::State;
    use crate::vector::root_mean_square;
    use rusqlite::{Connection, params};

    fn bytes(seconds: i32, names: &[&str], position: &[f64], velocity: &[f64]) -> Vec<u8> {
        let message = JointState {
            header: Header { stamp: Time { sec: seconds, nanosec: 0 }, frame_id: "base".into() },
            name: names.iter().map(|name| name.to_string()).collect(),
            position: position.into(),
            velocity: velocity.into(),
            effort: vec![],
        };
        encode(&message).unwrap()
    }

    fn bag(messages: &[(i64, Vec<u8>)]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bag.db3");
        let database = Connection::open(&path).unwrap();
        database
            .execute_batch(
                "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT);
                 CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB);
                 INSERT INTO topics VALUES (4, '/joint_states', 'sensor_msgs/msg/JointState', 'cdr');
                 INSERT INTO topics VALUES (5, '/chatter', 'std_msgs/msg/String', 'cdr');",
            )
            .unwrap();
        for (stamp, cdr) in messages {
            let sql = "INSERT INTO messages(topic_id, timestamp, data) VALUES (4, ?1, ?2)";
            database.execute(sql, params![stamp, cdr]).unwrap();
        }
        (folder, path)
    }

    #[test]
    fn joints_are_matched_by_name_whatever_their_order() {
        let (_folder, path) = bag(&[
            (1, bytes(1, &["a", "b"], &[1.0, 2.0], &[0.1, 0.2])),
            (2, bytes(2, &["b", "a"], &[4.0, 3.0], &[0.4, 0.3])),
            (3, bytes(3, &["b", "x", "a"], &[5.0, 9.0, 6.0], &[0.5, 0.9, 0.6])),
            (4, bytes(4, &["b"], &[4.0], &[0.4])),
            (5, vec![0, 1, 0, 0, 7]),
        ]);
        let recording = Recording::read(&path, &Selection::default()).unwrap();
        assert_eq!(recording.joints, ["a", "b"]);
        assert_eq!(recording.states[1].position, [3.0, 4.0]);
        assert_eq!(recording.states[2].velocity, [0.6, 0.5]);
        let summary = &recording.summary;
        assert_eq!((summary.read, summary.kept, summary.incomplete, summary.undecodable), (5, 3, 1, 1));
        assert_eq!(summary.reordered, 2);
        assert!(summary.to_string().contains("one names b and has 1 positions"), "{summary}");
        let asked = |topic: &str, joints: &[&str]| Selection {
            topic: Some(topic.into()),
            joints: Some(joints.iter().map(|joint| joint.to_string()).collect()),
            ..Default::default()
        };
        let recording = Recording::read(&path, &asked("/joint_states", &["b"])).unwrap();
        assert_eq!(recording.states[3].position, [4.0]);
        let refused = |selection| Recording::read(&path, &selection).unwrap_err().to_string();
        assert!(refused(asked("/joint_states", &["c"])).contains("has all of c; there are a, b, x"));
        assert!(refused(asked("/chatter", &[])).contains("only /chatter (std_msgs/msg/String)"));
        let (_folder, path) = bag(&[(1, bytes(1, &[], &[1.0], &[])), (2, bytes(2, &[], &[1.0], &[]))]);
        let error = Recording::read(&path, &asked("/joint_states", &["a"])).unwrap_err().to_string();
        assert!(error.ends_with("the messages of /joint_states name no joints"), "{error}");
    }

    #[test]
    fn the_joints_are_those_of_most_messages_not_of_the_first() {
        let gripper = |step: i64| (step, bytes(step as i32, &["finger"], &[0.0], &[0.0]));
        let arm = |step: i64| (step, bytes(step as i32, &["a", "b"], &[step as f64, 2.0], &[1.0, 0.0]));
        let (_folder, path) = bag(&[gripper(1), arm(2), arm(3), gripper(4), arm(5)]);
        let recording = Recording::read(&path, &Selection::default()).unwrap();
        assert_eq!((recording.joints.len(), recording.summary.kept, recording.summary.incomplete), (2, 3, 2));
        let told = "other messages of /joint_states have finger (2 messages); choose with --joints";
        assert!(recording.summary.to_string().contains(told), "{}", recording.summary);

        // also beside a gripper that is measured more often, but not by a single larger message
        let often: Vec<(i64, Vec<u8>)> = (4..20).map(gripper).collect();
        let whole = (20, bytes(20, &["a", "b", "finger"], &[1.0, 2.0, 0.0], &[]));
        let (_folder, path) = bag(&[&[arm(1), arm(2), arm(3)], &often[..], &[whole]].concat());
        let recording = Recording::read(&path, &Selection::default()).unwrap();
        assert_eq!((&recording.joints[..], recording.summary.kept), (&["a".into(), "b".into()][..], 4));
        let asked = ["a", "x", "finger"].map(String::from);
        let selection = |joints: &[String]| Selection { joints: Some(joints.into()), ..Default::default() };
        let error = Recording::read(&path, &selection(&asked)).map(drop).unwrap_err().to_string();
        assert!(error.contains("has all of a, x, finger; there are a, b, finger"), "{error}");
        let (_folder, path) = bag(&[arm(1), gripper(2), arm(3)]);
        let asked = ["a", "finger"].map(String::from);
        let error = Recording::read(&path, &selection(&asked)).map(drop).unwrap_err().to_string();
        assert!(error.contains("there are a, b, finger, not together"), "{error}");
    }

    #[test]
    fn without_velocities_and_stamps_they_are_made() {
        let message = |position| bytes(0, &["a"], &[position], &[]);
        let (_folder, path) = bag(&[(100_000_000, message(1.0)), (200_000_000, message(2.0))]);
        let recording = Recording::read(&path, &Selection::default()).unwrap();
        assert!(recording.summary.log_time && recording.summary.differentiated);
        assert!((recording.states[1].velocity[0] - 10.0).abs() < 1e-9);
        let (_folder, path) = bag(&[(1, vec![1, 2]), (2, vec![])]);
        let error = Recording::read(&path, &Selection::default()).unwrap_err().to_string();
        assert!(
            error.contains("can be decoded; message not decodable (2 times), the first: 2 bytes"),
            "{error}"
        );
    }

    /// What the nodes make of the messages.
    fn states_of_the_nodes(joints: &[&str], messages: &[(i64, Vec<u8>)]) -> Vec<State> {
        let joints: Vec<String> = joints.iter().map(|joint| joint.to_string()).collect();
        let mut reader = JointStateReader::new(&Robot::of_joints(&joints));
        let mut read = |(_, cdr): &(i64, Vec<u8>)| {
            let JointState { header, name, position, velocity, .. } = decode(cdr).unwrap();
            reader.read(header.stamp.into(), &name, &position, &velocity).ok().cloned()
        };
        messages.iter().filter_map(&mut read).collect()
    }

    #[test]
    fn velocities_of_a_recording_are_those_of_the_nodes() {
        let own = ["a", "b"];
        // both rest, b moves while its velocity is zero, a has one and stops; some are missing or of no use
        let messages = [
            (own, [1.0, 2.0], vec![0.0, 0.0]),
            (own, [1.0, 2.0], vec![0.0, 0.0]),
            (own, [1.0, 2.5], vec![0.0, 0.0]),
            (own, [1.5, 3.5], vec![]),
            (own, [f64::NAN, 3.5], vec![7.0, 7.0]),
            (["b", "a"], [3.75, 2.0], vec![0.0, 0.5]),
            (own, [2.0, 4.0], vec![0.0, f64::NAN]),
            (own, [2.25, 4.0], vec![0.0]),
            (own, [2.25, 4.5], vec![0.0, 0.0]),
            (own, [2.25, 4.5], vec![0.0, 0.125]),
            (own, [2.25, 4.75], vec![0.0, 0.0]),
        ];
        let mut messages: Vec<(i64, Vec<u8>)> = (1..)
            .zip(&messages)
            .map(|(step, (names, position, velocity))| (step, bytes(step as i32, names, position, velocity)))
            .collect();
        messages.push((12, bytes(11, &own, &[9.0, 9.0], &[9.0, 9.0])));
        messages.push((13, bytes(3, &own, &[1.0, 1.0], &[])));
        messages.push((14, bytes(4, &own, &[1.0, 1.5], &[0.0, 0.0])));
        let (_folder, path) = bag(&messages);
        let recording = Recording::read(&path, &Selection::default()).unwrap();
        let expected = states_of_the_nodes(&own, &messages);
        assert_eq!((expected.len(), &expected[2].velocity[..]), (12, &[0.0, 0.5][..]));
        assert_eq!(recording.states, expected);
    }

    #[test]
    fn a_recorded_robot_without_velocities_is_read_as_by_the_nodes() {
        let Some(folder) = data_folder() else { return };
        let path = folder.join("bags_unisa/panda_exciting_trajectory.db3");
        let recorded = Recording::read(&path, &Selection::default()).unwrap();
        let joints: Vec<&str> = recorded.joints.iter().map(String::as_str).collect();
        let messages: Vec<(i64, Vec<u8>)> = recorded
            .states
            .iter()
            .map(|State { stamp, position, .. }| {
                let message = JointState {
                    header: Header { stamp: (*stamp).into(), frame_id: String::new() },
                    name: recorded.joints.clone(),
                    position: position.clone(),
                    velocity: vec![0.0; position.len()],
                    effort: vec![],
                };
                (stamp.0, encode(&message).unwrap())
            })
            .collect();
        let (_folder, path) = bag(&messages);
        let recording = Recording::read(&path, &Selection::default()).unwrap();
        assert!(recording.summary.differentiated && recording.summary.to_string().contains("are all zero"));
        assert_eq!(recording.states, states_of_the_nodes(&joints, &messages));
        let speed = |states: &[State]| root_mean_square(states.iter().map(|state| state.velocity[0]));
        let ratio = speed(&recording.states) / speed(&recorded.states);
        assert!((ratio - 1.0).abs() < 0.1, "{ratio}");
    }

    #[test]
    fn the_recorded_bag_equals_its_table() {
        let Some(folder) = data_folder() else { return };
        let read = |name: &str| Recording::read(&folder.join(name), &Selection::default()).unwrap();
        let (bag, table) =
            (read("bags_unisa/panda_exciting_trajectory.db3"), read("bags_unisa/panda.csv.gz"));
        assert_eq!((bag.joints.len(), bag.states.len()), (7, 727));
        assert_eq!(bag.joints, table.joints);
        for (bag, table) in bag.states.iter().zip(&table.states) {
            assert!((bag.stamp.since(table.stamp)).abs() < 1e-5);
            let pairs =
                bag.position.iter().zip(&table.position).chain(bag.velocity.iter().zip(&table.velocity));
            pairs.for_each(|(bag, table)| assert!((bag - table).abs() < 1e-5));
        }
        for storage in ["bags_alltypes/test_bag_sqlite3", "bags_alltypes/test_bag_mcap"] {
            assert_eq!(read(storage).joints, ["joint1", "joint2", "joint3"]);
        }
    }
}
