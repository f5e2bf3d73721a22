//! The motion on a topic of a bag: of joints from JointState, of a base from Odometry, PoseStamped,
//! PoseWithCovarianceStamped or transforms.

use super::cleaning::assemble;
use super::csv::is_told;
use super::messages::{
    Header, JointState, Message, Odometry, Pose, PoseStamped, PoseWithCovarianceStamped, TFMessage,
    TransformStamped, decode,
};
use super::rosbag::{Bag, Topic};
use super::{BASE, Recording, Row, Selection, Summary, commands, data, joint_state, transform};
use crate::error::Result;
use crate::state::{Space, Stamp};
use std::path::Path;

pub fn read(path: &Path, selection: &Selection) -> Result<Recording> {
    let bag = Bag::open(path)?;
    let types: Vec<&str> = [JointState::TYPE_NAME, Odometry::TYPE_NAME].into_iter().chain(POSES).collect();
    let topic = choose_topic(&bag, selection, &types)?;
    let mut summary = Summary {
        topic: topic.name.to_string(),
        type_name: topic.type_name.to_string(),
        losses: bag.losses().clone(),
        notes: if selection.topic.is_none() { others(&bag, topic, &types) } else { Vec::new() },
        ..Default::default()
    };
    let (names, space, rows) = match &*topic.type_name {
        JointState::TYPE_NAME => {
            let (names, rows) = joint_state::read(&bag, topic, selection, &mut summary)?;
            (names, Space::Joints, rows)
        }
        _ => {
            let rows = read_base(&bag, topic, selection, &mut summary)?;
            (base_names(path, selection)?, Space::PlanarBase, rows)
        }
    };
    let (mut recording, beside) = assemble(path, names, space, rows, summary)?;
    if let Some(asked) = &selection.commands {
        commands::read(&bag, asked, &mut recording, &beside.logged)?;
    }
    Ok(recording)
}

fn read_base(bag: &Bag, topic: &Topic, selection: &Selection, summary: &mut Summary) -> Result<Vec<Row>> {
    let asked = selection.topic.as_deref();
    match &*topic.type_name {
        Odometry::TYPE_NAME => read_odometry(bag, topic, summary),
        PoseStamped::TYPE_NAME => {
            read_poses(bag, topic, summary, |PoseStamped { header, pose }| (header, pose))
        }
        PoseWithCovarianceStamped::TYPE_NAME => {
            read_poses(bag, topic, summary, |message: PoseWithCovarianceStamped| {
                (message.header, message.pose.pose)
            })
        }
        TransformStamped::TYPE_NAME => {
            transform::read(bag, topic, asked, summary, |transform: TransformStamped| vec![transform])
        }
        _ => transform::read(bag, topic, asked, summary, |message: TFMessage| message.transforms),
    }
}

/// Of these a topic is read only if it is named: most are goals, single estimates or of other frames, not the motion.
const POSES: [&str; 4] = [
    PoseStamped::TYPE_NAME,
    PoseWithCovarianceStamped::TYPE_NAME,
    TransformStamped::TYPE_NAME,
    TFMessage::TYPE_NAME,
];

/// The topic that was asked for, of one of these types; else one of the first type that there is, poses only if they are
/// asked for; among several the one with most messages.
pub(crate) fn choose_topic<'a>(bag: &'a Bag, selection: &Selection, types: &[&str]) -> Result<&'a Topic> {
    let rank = |topic: &&Topic| match types.iter().position(|name| **name == *topic.type_name) {
        Some(_) if POSES.contains(&&*topic.type_name) && selection.topic.is_none() => 0,
        Some(place) => types.len() - place,
        None => 0,
    };
    let asked = selection.topic.as_deref().map(|name| transform::name_and_frames(name).0);
    let is_asked = |topic: &&Topic| asked.is_none_or(|name| name == &*topic.name);
    let suitable = bag.topics().iter().filter(is_asked).filter(|topic| rank(topic) > 0);
    // the first of several alike
    let worth = |topic: &&Topic| {
        (topic.messages > 0, rank(topic), !is_told(&topic.name), topic.messages, is_usual(&topic.name))
    };
    if let Some(topic) = suitable.rev().max_by_key(worth) {
        return Ok(topic);
    }
    let found = bag.topics().iter().map(|topic| format!("{} ({})", topic.name, topic.type_name));
    let is_pose = |topic: &&Topic| {
        topic.messages > 1 && types.contains(&&*topic.type_name) && POSES.contains(&&*topic.type_name)
    };
    let likely =
        |topic: &&Topic| (!is_told(&topic.name), *topic.type_name != *TFMessage::TYPE_NAME, topic.messages);
    let poses = bag.topics().iter().filter(is_pose).max_by_key(likely);
    let advice =
        poses.map_or(String::new(), |topic| format!("; for a base by its poses: --topic {}", topic.name));
    let named =
        |name: &&str| if POSES.contains(name) { format!("(if named) {name}") } else { name.to_string() };
    let problem = format!(
        "it has no topic {} with {}, only {}{advice}",
        selection.topic.as_deref().unwrap_or("at all"),
        types.iter().map(named).collect::<Vec<_>>().join(", "),
        found.collect::<Vec<_>>().join(", ")
    );
    Err(data(bag.path(), problem))
}

/// Whether a topic is named as drivers usually do.
fn is_usual(name: &str) -> bool {
    ["joint_states", "odom"].contains(&name.rsplit('/').next().unwrap_or_default())
}

/// Which topics could have been read in place of `taken`, in words; a warning where that was a choice among equals.
fn others(bag: &Bag, taken: &Topic, types: &[&str]) -> Vec<String> {
    let is_other = |topic: &&Topic| {
        // nearly every bag has transforms
        let is_motion = types.contains(&&*topic.type_name) && *topic.type_name != *TFMessage::TYPE_NAME;
        topic.name != taken.name && topic.messages > 0 && is_motion
    };
    let (alike, different): (Vec<&Topic>, Vec<&Topic>) =
        bag.topics().iter().filter(is_other).partition(|topic| topic.type_name == taken.type_name);
    let list = |topics: &[&Topic], with_type: bool| {
        let type_name =
            |topic: &Topic| if with_type { format!("{}, ", topic.type_name) } else { String::new() };
        let one =
            |topic: &&Topic| format!("{} ({}{} messages)", topic.name, type_name(topic), topic.messages);
        topics.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let mut notes = Vec::new();
    if !alike.is_empty() {
        let why = match alike.iter().all(|other| other.messages < taken.messages) {
            true => format!("for it has most messages ({})", taken.messages),
            false => format!("by its name ({} messages)", taken.messages),
        };
        notes.push(format!(
            "warning: {} was taken, {why}, not {}; choose with --topic",
            taken.name,
            list(&alike, false)
        ));
    }
    if !different.is_empty() {
        notes.push(format!("not taken: {}; choose with --topic", list(&different, true)));
    }
    notes
}

/// Reads a topic message by message, of which only what `take` makes of it and its time of logging is kept.
pub(super) fn read_topic<M: Message, T>(
    bag: &Bag,
    topic: &Topic,
    summary: &mut Summary,
    mut take: impl FnMut(M, Stamp) -> T,
) -> Result<Vec<T>> {
    let mut taken = Vec::new();
    let mut messages = bag.messages(Some(&topic.name));
    for message in messages.by_ref() {
        let message = message?;
        if message.type_name != topic.type_name {
            continue; // of another publisher, with another type under the same name
        }
        summary.read += 1;
        match decode(&message.cdr) {
            Ok(decoded) => taken.push(take(decoded, message.stamp)),
            Err(problem) => {
                summary.undecodable += 1;
                summary.losses.add("message not decodable", problem);
            }
        }
    }
    summary.losses.extend(messages.losses());
    if taken.is_empty() {
        let problem = format!("no message of {} can be decoded; {}", topic.name, summary.losses);
        return Err(data(bag.path(), problem));
    }
    Ok(taken)
}

fn base_names(path: &Path, selection: &Selection) -> Result<Vec<String>> {
    let names: Vec<String> = BASE.map(String::from).into();
    match &selection.joints {
        Some(asked) if *asked != names => {
            let problem = format!("there is a base in it, with x, y, yaw; not {}", asked.join(", "));
            Err(data(path, problem))
        }
        _ => Ok(names),
    }
}

/// A place, whose twist is not known.
pub(super) fn pose_row(header: &Header, pose: &Pose, log: Stamp) -> Row {
    Row {
        header: header.stamp.into(),
        log: Some(log),
        position: vec![pose.position.x, pose.position.y, pose.orientation.yaw()],
        velocity: Vec::new(),
        effort: Vec::new(),
        command: Vec::new(),
    }
}

fn read_odometry(bag: &Bag, topic: &Topic, summary: &mut Summary) -> Result<Vec<Row>> {
    read_topic(bag, topic, summary, |odometry: Odometry, log| Row {
        velocity: odometry.twist.twist.planar(),
        ..pose_row(&odometry.header, &odometry.pose.pose, log)
    })
}

fn read_poses<M: Message>(
    bag: &Bag,
    topic: &Topic,
    summary: &mut Summary,
    of: impl Fn(M) -> (Header, Pose),
) -> Result<Vec<Row>> {
    read_topic(bag, topic, summary, |message: M, log| {
        let (header, pose) = of(message);
        pose_row(&header, &pose, log)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::messages::{PoseWithCovariance, Quaternion, Time, Vector3, encode};
    use crate::dataset::tests::data_folder;

    fn read_topic_of(name: &str, topic: Option<&str>) -> Option<Recording> {
        let selection = Selection { topic: topic.map(str::to_owned), ..Default::default() };
        Some(Recording::read(&data_folder()?.join(name), &selection).unwrap())
    }

    /// An empty bag with these topics and types, numbered from 1.
    fn database(path: &Path, topics: &[(&str, &str)]) -> rusqlite::Connection {
        let database = rusqlite::Connection::open(path).unwrap();
        let tables = "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT);
                      CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB);";
        database.execute_batch(tables).unwrap();
        for (name, type_name) in topics {
            let sql = "INSERT INTO topics(name, type, serialization_format) VALUES (?1, ?2, 'cdr')";
            database.execute(sql, [name, type_name]).unwrap();
        }
        database
    }

    fn write(database: &rusqlite::Connection, topic: u32, cdr: &[u8]) {
        let sql = "INSERT INTO messages(topic_id, timestamp, data) VALUES (?1, 1, ?2)";
        database.execute(sql, rusqlite::params![topic, cdr]).unwrap();
    }

    #[test]
    fn recorded_odometry_equals_its_table() {
        let Some(bag) = read_topic_of("bags_evo/nav2_turtlebot.mcap", None) else { return };
        let table = read_topic_of("bags_evo/nav2_turtlebot_odom.csv.gz", None).unwrap();
        assert_eq!((bag.space, &bag.joints), (Space::PlanarBase, &table.joints));
        assert_eq!((bag.states.len(), bag.summary.gaps), (table.states.len(), table.summary.gaps));
        assert!((bag.summary.longest_gap - 1.764).abs() < 0.001, "{}", bag.summary);
        assert!(bag.summary.clock_offset > 1.7e9, "{}", bag.summary);
        for (bag, table) in bag.states.iter().zip(&table.states) {
            assert!((bag.stamp.since(table.stamp)).abs() < 1e-5);
            let pairs =
                bag.position.iter().zip(&table.position).chain(bag.velocity.iter().zip(&table.velocity));
            pairs.for_each(|(bag, table)| assert!((bag - table).abs() < 1e-5, "{bag} {table}"));
        }
    }

    #[test]
    fn a_vehicle_without_positions_is_integrated() {
        let Some(bag) = read_topic_of("bags_ackermann_gps/bag", None) else { return };
        let summary = &bag.summary;
        assert_eq!((summary.read, summary.kept), (2143, 2143));
        assert!((summary.clock_offset - 5_700_748.4).abs() < 0.5, "{summary}");
        assert!(summary.integrated && summary.differentiated, "{summary}"); // there is no turn rate either
        let length: f64 = bag
            .states
            .windows(2)
            .map(|pair| {
                let step = |axis: usize| pair[1].position[axis] - pair[0].position[axis];
                step(0).hypot(step(1))
            })
            .sum();
        assert!((length - 42.4).abs() < 0.2, "{length} m"); // the sum of |speed| times interval of its table
        let poses = read_topic_of("bags_ackermann_gps/bag", Some("/vehicle_pose")).unwrap();
        assert!(poses.summary.log_time && poses.summary.differentiated, "{}", poses.summary);
    }

    #[test]
    fn the_topics_that_were_not_taken_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bag.db3");
        let database = database(
            &path,
            &[
                ("/arm", "sensor_msgs/msg/JointState"),
                ("/hand", "sensor_msgs/msg/JointState"),
                ("/odom", "nav_msgs/msg/Odometry"),
                ("/never", "sensor_msgs/msg/JointState"),
            ],
        );
        write(&database, 3, &[0]);
        for (topic, stamp) in [(1, 1), (1, 2), (1, 3), (2, 1)] {
            let message = JointState {
                header: Header { stamp: Time { sec: stamp, nanosec: 0 }, frame_id: String::new() },
                name: vec!["a".into()],
                position: vec![1.0],
                velocity: vec![0.0],
                effort: vec![],
            };
            write(&database, topic, &encode(&message).unwrap());
        }
        let notes = Recording::read(&path, &Selection::default()).unwrap().summary.notes;
        let expected = [
            "warning: /arm was taken, for it has most messages (3), not /hand (1 messages); choose with --topic",
            "not taken: /odom (nav_msgs/msg/Odometry, 1 messages); choose with --topic",
        ];
        assert_eq!(notes, expected);
        let asked = Selection { topic: Some("/arm".into()), ..Default::default() };
        assert!(Recording::read(&path, &asked).unwrap().summary.notes.is_empty());
    }

    #[test]
    fn poses_with_covariance_are_a_base_if_they_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bag.db3");
        let database = database(&path, &[("/amcl_pose", "geometry_msgs/msg/PoseWithCovarianceStamped")]);
        for stamp in 1..4 {
            let place = Vector3 { x: 0.5 * f64::from(stamp), y: 2.0, z: 0.0 };
            let pose = Pose { position: place, orientation: Quaternion::from_yaw(0.0) };
            let message = PoseWithCovarianceStamped {
                header: Header { stamp: Time { sec: stamp, nanosec: 0 }, frame_id: "map".into() },
                pose: PoseWithCovariance { pose, ..Default::default() },
            };
            write(&database, 1, &encode(&message).unwrap());
        }
        let selection = Selection { topic: Some("/amcl_pose".into()), ..Default::default() };
        let recording = Recording::read(&path, &selection).unwrap();
        assert_eq!((recording.space, recording.states.len()), (Space::PlanarBase, 3));
        assert_eq!(
            (&recording.states[2].position[..], recording.states[2].velocity[0]),
            (&[1.5, 2.0, 0.0][..], 0.5)
        );
        let error = Recording::read(&path, &Selection::default()).map(drop).unwrap_err().to_string();
        assert!(error.ends_with("for a base by its poses: --topic /amcl_pose"), "{error}");
    }

    #[test]
    fn transforms_are_a_base_if_they_are_asked_for() {
        let bag = "bags_evo/nav2_turtlebot.mcap";
        let Some(transforms) = read_topic_of(bag, Some("/tf")) else { return };
        let odometry = read_topic_of(bag, None).unwrap();
        assert_eq!(transforms.states.len(), odometry.states.len());
        for (transform, odometry) in transforms.states.iter().zip(&odometry.states) {
            assert_eq!((transform.stamp, &transform.position), (odometry.stamp, &odometry.position));
        }
        let text = transforms.summary.to_string();
        assert!(text.contains("base_link in odom, of /tf:base_link:left_wheel (1862 transforms)"), "{text}");
        let wheel = read_topic_of(bag, Some("/tf:base_link:left_wheel")).unwrap();
        assert_eq!(wheel.summary.kept, 1862);
        for (asked, said) in [
            ("/tf:odom:base", "say which transform of /tf is meant: --topic /tf:base_link:left_wheel"),
            ("/tf:odom", "say which transform of /tf is meant"),
            ("/tf_static", "say which transform of /tf_static is meant"),
            ("/none:odom:base", "it has no topic /none:odom:base with"),
        ] {
            let selection = Selection { topic: Some(asked.into()), ..Default::default() };
            let read = Recording::read(&data_folder().unwrap().join(bag), &selection);
            let error = read.map(drop).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let stamped =
            read_topic_of("bags_alltypes/test_bag_sqlite3", Some("/test/geometry_msgs/transform_stamped"));
        assert_eq!(stamped.unwrap().states[1].position, [1.0, 2.0, 0.0]);
    }

    #[test]
    fn poses_are_a_base_if_they_are_asked_for() {
        let vicon = "bags_vicon_mcap/pitch45bag";
        let Some(recording) = read_topic_of(vicon, Some("/vicon/Group466CF/Group466CF/pose")) else { return };
        assert_eq!(recording.summary.read, 5191);
        assert!(recording.summary.differentiated && recording.summary.kept > 5000, "{}", recording.summary);
        let error = Recording::read(&data_folder().unwrap().join(vicon), &Selection::default());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("no topic at all with sensor_msgs/msg/JointState"), "{error}");
        assert!(
            error.ends_with("; for a base by its poses: --topic /vicon/Group466CF/Group466CF/pose"),
            "{error}"
        );
    }
}
