//! Recordings of real robots are read, or refused with a reason; what is written is opened by other tools.

mod common;

use common::data_folder;
use learned_control::dataset::mcap_writer::McapWriter;
use learned_control::dataset::messages::{
    Duration, Float64MultiArray, Header, JointState, JointTrajectory, JointTrajectoryPoint,
    MultiArrayDimension, Odometry,
};
use learned_control::dataset::{Recording, Selection};
use learned_control::state::{Space, Stamp};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files and folders of recordings below `folder`.
fn recordings(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(recordings(&path));
            found.extend(path.join("metadata.yaml").is_file().then_some(path));
        } else if [".db3", ".mcap", ".csv.gz"].iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_recording_of_motion_is_read_and_every_other_refused_with_a_reason() {
    let Some(folder) = data_folder() else { return };
    // part of the path, space, coordinates, states
    let expected = [
        ("bags_ackermann_gps/bag", Space::PlanarBase, 3, 2143),
        ("bags_ackermann_gps/bag/bag_0.db3", Space::PlanarBase, 3, 2143),
        ("bags_ackermann_gps/bag_odometry.csv.gz", Space::PlanarBase, 3, 2143),
        ("bags_alltypes/test_bag_mcap", Space::Joints, 3, 2),
        ("bags_alltypes/test_bag_mcap/test_bag_mcap.mcap", Space::Joints, 3, 2),
        ("bags_alltypes/test_bag_sqlite3", Space::Joints, 3, 2),
        ("bags_alltypes/test_bag_sqlite3/test_bag_sqlite3.db3", Space::Joints, 3, 2),
        ("bags_evo/nav2_turtlebot.mcap", Space::PlanarBase, 3, 2639),
        ("bags_evo/nav2_turtlebot_odom.csv.gz", Space::PlanarBase, 3, 2639),
        ("bags_unisa/panda.csv.gz", Space::Joints, 7, 727),
        ("bags_unisa/panda_exciting_trajectory.db3", Space::Joints, 7, 727),
        ("bags_vicon_mcap/pitch45bag_vicon.csv.gz", Space::PlanarBase, 3, 5191),
        ("kuka_kr300/traj_A.csv.gz", Space::Joints, 6, 2501),
        ("kuka_kr300/traj_B.csv.gz", Space::Joints, 6, 2501),
        ("tiago_arm_100hz/tiago.csv.gz", Space::Joints, 8, 8022),
    ];
    let reasons = [
        "the bag has no messages",
        "serialized as 'wrong_format', expected 'cdr'",
        "it has no topic at all with sensor_msgs/msg/JointState",
        "choose with --columns among",
    ];
    let mut read = Vec::new();
    for path in recordings(&folder) {
        let name = path.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
        match Recording::read(&path, &Selection::default()) {
            Ok(recording) => {
                let summary = &recording.summary;
                assert!(summary.losses.is_empty(), "{name}: {summary}");
                println!("{name}: {summary}");
                read.push((name, recording.space, recording.joints.len(), recording.states.len()));
            }
            Err(error) => {
                let error = error.to_string();
                assert!(reasons.iter().any(|reason| error.contains(reason)), "{error}");
            }
        }
    }
    let read: Vec<_> =
        read.iter().map(|(name, space, joints, states)| (&**name, *space, *joints, *states)).collect();
    assert_eq!(read, expected);
}

#[test]
fn other_tools_open_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bag");
    let options = mcap::WriteOptions::new().chunk_size(Some(20_000));
    let mut writer = McapWriter::with_options(&path, options).unwrap();
    for step in 0..100 {
        let log = Stamp(1_700_000_000_000_000_000 + step);
        let header = Header { stamp: log.into(), frame_id: "frame".into() };
        let value = step as f64;
        let joint_state = JointState {
            header: header.clone(),
            name: vec!["a".into(), "b".into()],
            position: vec![value, 0.1],
            velocity: vec![0.5, -0.5],
            effort: vec![],
        };
        writer.write("/joint_states", log, &joint_state).unwrap();
        let mut odometry =
            Odometry { header: header.clone(), child_frame_id: "base".into(), ..Default::default() };
        odometry.pose.pose.position.x = 0.25 * value;
        odometry.pose.covariance[1][1] = 2.0;
        odometry.twist.twist.angular.z = 0.125;
        writer.write("/odom", log, &odometry).unwrap();
        let mut command = Float64MultiArray { data: vec![value], ..Default::default() };
        command.layout.dim.push(MultiArrayDimension { label: "joint".into(), size: 1, stride: 1 });
        writer.write("/command", log, &command).unwrap();
        let point = |position, nanosec| JointTrajectoryPoint {
            positions: vec![position],
            time_from_start: Duration { sec: 1, nanosec },
            ..Default::default()
        };
        let points = vec![point(2.0, 0), point(3.0, 7)];
        let reference = JointTrajectory { header, joint_names: vec!["a".into()], points };
        writer.write("/reference", log, &reference).unwrap();
    }
    writer.finish().unwrap();
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/open_recording.py");
    let Ok(output) = Command::new(python).arg(script).arg(&path).output() else {
        println!("skipped: no Python");
        return;
    };
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(77) => println!("skipped: {said}"),
        code => assert_eq!((code, said.trim()), (Some(0), "opened")),
    }
}
