//! `sensor_msgs/msg/JointState` from a bag: decoded from CDR, its joints matched by name.

use super::rosbag::{Bag, RawMessage};
use super::{Recording, Row, Selection, Summary, data};
use crate::error::Result;
use crate::state::Stamp;
use byteorder::{BigEndian, LittleEndian};
use serde::Deserialize;
use std::path::Path;

pub const TYPE_NAME: &str = "sensor_msgs/msg/JointState";

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct JointState {
    pub header: Header,
    pub name: Vec<String>,
    pub position: Vec<f64>,
    pub velocity: Vec<f64>,
    pub effort: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Header {
    pub stamp: Time,
    pub frame_id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Time {
    pub sec: i32,
    pub nanosec: u32,
}

impl From<Time> for Stamp {
    fn from(time: Time) -> Self {
        Self(i64::from(time.sec) * 1_000_000_000 + i64::from(time.nanosec))
    }
}

/// Decodes plain CDR of either byte order (DDSI-RTPS 2.3, 10.2: the second byte of the four before the data says).
pub fn decode<'a, Message: Deserialize<'a>>(cdr: &'a [u8]) -> std::result::Result<Message, String> {
    let Some((encapsulation, body)) = cdr.split_at_checked(4) else {
        return Err(format!("{} bytes are too few for a message", cdr.len()));
    };
    let decoded = match encapsulation[1] {
        0x00 => cdr_encoding::from_bytes::<Message, BigEndian>(body),
        0x01 => cdr_encoding::from_bytes::<Message, LittleEndian>(body),
        other => return Err(format!("its encapsulation {other:#04x} is not plain CDR")),
    };
    decoded.map(|(message, _)| message).map_err(|error| error.to_string())
}

/// Reads the joint states of a bag.
pub fn read(path: &Path, selection: &Selection) -> Result<Recording> {
    let bag = Bag::open(path)?;
    let topic = choose_topic(&bag, selection)?;
    let mut joints = selection.joints.clone();
    let mut summary = Summary::default();
    let mut rows = Vec::new();
    let mut reason = None;
    for message in bag.messages(Some(&topic)) {
        let message = message?;
        summary.read += 1;
        let joint_state: JointState = match decode(&message.cdr) {
            Ok(joint_state) => joint_state,
            Err(problem) => {
                summary.undecodable += 1;
                reason.get_or_insert(problem);
                continue;
            }
        };
        let joints = joints.get_or_insert_with(|| joint_state.name.clone());
        match row(&message, joint_state, joints) {
            Some(row) => rows.push(row),
            None => summary.incomplete += 1,
        }
    }
    match (joints, reason) {
        (Some(joints), _) if !joints.is_empty() => Recording::assemble(path, joints, rows, summary),
        (_, Some(reason)) => Err(data(path, format!("no message of {topic} can be decoded: {reason}"))),
        _ => Err(data(path, format!("the messages of {topic} name no joints"))),
    }
}

/// The topic that was asked for, or the only one with joint states; among several the one with most.
pub(crate) fn choose_topic(bag: &Bag, selection: &Selection) -> Result<String> {
    let mut suitable: Vec<_> = bag.topics().iter().filter(|topic| &*topic.type_name == TYPE_NAME).collect();
    suitable.retain(|topic| selection.topic.as_deref().is_none_or(|name| name == &*topic.name));
    match suitable.iter().max_by_key(|topic| topic.messages) {
        Some(topic) => Ok(topic.name.to_string()),
        None => {
            let found: Vec<String> =
                bag.topics().iter().map(|topic| format!("{} ({})", topic.name, topic.type_name)).collect();
            let wanted = selection.topic.as_deref().unwrap_or("at all");
            let problem = format!("it has no topic {wanted} with {TYPE_NAME}, only {}", found.join(", "));
            Err(data(bag.path(), problem))
        }
    }
}

/// The values of `joints` in their order; none if one of them is not in the message.
fn row(message: &RawMessage, joint_state: JointState, joints: &[String]) -> Option<Row> {
    let index = |joint: &String| joint_state.name.iter().position(|name| name == joint);
    let indices: Vec<usize> = joints.iter().map(index).collect::<Option<_>>()?;
    let values =
        |all: &[f64]| indices.iter().map(|index| all.get(*index).copied()).collect::<Option<Vec<f64>>>();
    Some(Row {
        header: joint_state.header.stamp.into(),
        log: Some(message.stamp),
        position: values(&joint_state.position)?,
        velocity: values(&joint_state.velocity).unwrap_or_default(),
        effort: values(&joint_state.effort).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::data_folder;
    use rusqlite::{Connection, params};
    use serde::Serialize;

    #[derive(Serialize)]
    struct Sent<'a>((i32, u32, &'a str), &'a [&'a str], &'a [f64], &'a [f64], &'a [f64]);

    fn bytes(stamp: (i32, u32), names: &[&str], position: &[f64], velocity: &[f64], is_big: bool) -> Vec<u8> {
        let sent = Sent((stamp.0, stamp.1, "base"), names, position, velocity, &[]);
        let body = match is_big {
            true => cdr_encoding::to_vec::<_, BigEndian>(&sent),
            false => cdr_encoding::to_vec::<_, LittleEndian>(&sent),
        };
        [vec![0, u8::from(!is_big), 0, 0], body.unwrap()].concat()
    }

    #[test]
    fn both_byte_orders_are_decoded_and_damage_is_no_panic() {
        for is_big in [false, true] {
            let cdr = bytes((-1, 5), &["a", "bcd"], &[1.0, 2.0], &[], is_big);
            let message: JointState = decode(&cdr).unwrap();
            assert_eq!((message.name, message.position), (vec!["a".into(), "bcd".into()], vec![1.0, 2.0]));
            assert_eq!(Stamp::from(message.header.stamp), Stamp(-999_999_995));
            for length in 0..cdr.len() {
                assert!(decode::<JointState>(&cdr[..length]).is_err());
            }
            for index in 4..cdr.len() {
                let mut damaged = cdr.clone();
                damaged[index] ^= 0xff;
                let _ = decode::<JointState>(&damaged);
            }
        }
        assert!(decode::<JointState>(&[0, 3, 0, 0, 0]).unwrap_err().contains("0x03"));
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
            database
                .execute(
                    "INSERT INTO messages(topic_id, timestamp, data) VALUES (4, ?1, ?2)",
                    params![stamp, cdr],
                )
                .unwrap();
        }
        (folder, path)
    }

    #[test]
    fn joints_are_matched_by_name_whatever_their_order() {
        let (_folder, path) = bag(&[
            (1, bytes((1, 0), &["a", "b"], &[1.0, 2.0], &[0.1, 0.2], false)),
            (2, bytes((2, 0), &["b", "x", "a"], &[4.0, 9.0, 3.0], &[0.4, 0.9, 0.3], true)),
            (3, bytes((3, 0), &["b"], &[4.0], &[0.4], false)),
            (4, vec![0, 1, 0, 0, 7]),
        ]);
        let recording = Recording::read(&path, &Selection::default()).unwrap();
        assert_eq!(recording.states[1].position, [3.0, 4.0]);
        assert_eq!(recording.states[1].velocity, [0.3, 0.4]);
        let summary = &recording.summary;
        assert_eq!((summary.read, summary.kept, summary.incomplete, summary.undecodable), (4, 2, 1, 1));
        let joints = Some(vec!["b".to_owned()]);
        let selection = Selection { topic: Some("/joint_states".into()), joints };
        let recording = Recording::read(&path, &selection).unwrap();
        assert_eq!(recording.states[2].position, [4.0]);
        let selection = Selection { topic: Some("/chatter".into()), joints: None };
        let error = Recording::read(&path, &selection).unwrap_err().to_string();
        assert!(error.contains(
            "no topic /chatter with sensor_msgs/msg/JointState, only /chatter (std_msgs/msg/String)"
        ));
    }

    #[test]
    fn without_velocities_and_stamps_they_are_made() {
        let message = |position| bytes((0, 0), &["a"], &[position], &[], false);
        let (_folder, path) = bag(&[(100_000_000, message(1.0)), (200_000_000, message(2.0))]);
        let recording = Recording::read(&path, &Selection::default()).unwrap();
        assert!(recording.summary.log_time && recording.summary.differentiated);
        assert!((recording.states[1].velocity[0] - 10.0).abs() < 1e-9);
        let (_folder, path) = bag(&[(1, vec![1, 2]), (2, vec![])]);
        assert!(
            Recording::read(&path, &Selection::default()).unwrap_err().to_string().contains("can be decoded")
        );
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
        let all = read("bags_alltypes/test_bag_sqlite3");
        assert_eq!(all.joints, ["joint1", "joint2", "joint3"]);
    }
}
