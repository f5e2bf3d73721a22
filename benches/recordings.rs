//! Throughput of reading recordings, against the readers `mcap` and `rosbags` for Python in the same run:
//! `cargo bench --bench recordings [-- ROUNDS]`, with the Python that `PYTHON` names (`pip install mcap rosbags`).
//!
//! A recording of each storage is generated. In each round every reader reads each of them once, ours and theirs in
//! turn, and every message is taken out; where it says "decoded", it is also decoded. The time is that of the reading,
//! without the start of an interpreter. Megabytes are those of the messages, unpacked.

use learned_control::dataset::mcap_writer::McapWriter;
use learned_control::dataset::messages::{Header, JointState, Odometry, decode, encode};
use learned_control::dataset::rosbag::Bag;
use learned_control::state::Stamp;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// JointState messages; of Odometry there are a quarter of it.
const MESSAGES: i64 = 200_000;
const TYPES: [&str; 2] = ["sensor_msgs/msg/JointState", "nav_msgs/msg/Odometry"];

/// One reading of a whole recording.
#[derive(serde::Deserialize)]
struct Reading {
    reader: String,
    seconds: f64,
    messages: u64,
    bytes: u64,
}

fn joint_state(step: i64) -> JointState {
    let values =
        |shift: f64| (0..7).map(|joint| (0.01 * step as f64 + shift + f64::from(joint)).sin()).collect();
    JointState {
        header: Header { stamp: stamp(step).into(), frame_id: "base_link".into() },
        name: (1..8).map(|joint| format!("arm_joint{joint}")).collect(),
        position: values(0.0),
        velocity: values(1.0),
        effort: values(2.0),
    }
}

fn odometry(step: i64) -> Odometry {
    let mut odometry = Odometry { child_frame_id: "base_link".into(), ..Default::default() };
    odometry.header = Header { stamp: stamp(step).into(), frame_id: "odom".into() };
    odometry.pose.pose.position.x = (0.01 * step as f64).sin();
    odometry.twist.twist.linear.x = (0.01 * step as f64).cos();
    odometry
}

fn stamp(step: i64) -> Stamp {
    Stamp(1_700_000_000_000_000_000 + 1_000_000 * step)
}

fn write_mcap(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut writer = McapWriter::create(folder)?;
    for step in 0..MESSAGES {
        writer.write("/joint_states", stamp(step), &joint_state(step))?;
        if step % 4 == 0 {
            writer.write("/odom", stamp(step), &odometry(step))?;
        }
    }
    Ok(writer.finish()?)
}

fn write_sqlite(folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir(folder)?;
    let mut database = Connection::open(folder.join("bag_0.db3"))?;
    database.execute_batch(
        "CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
         INSERT INTO schema VALUES (3, 'humble');
         CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, metadata TEXT NOT NULL);
         CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
             serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);
         CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
             data BLOB NOT NULL);
         CREATE INDEX timestamp_idx ON messages (timestamp ASC);",
    )?;
    let transaction = database.transaction()?;
    for (id, topic, type_name) in [(0, "/joint_states", TYPES[0]), (1, "/odom", TYPES[1])] {
        transaction
            .execute("INSERT INTO topics VALUES (?1, ?2, ?3, 'cdr', '')", params![id, topic, type_name])?;
    }
    for step in 0..MESSAGES {
        let sql = "INSERT INTO messages(topic_id, timestamp, data) VALUES (?1, ?2, ?3)";
        let mut insert = transaction.prepare_cached(sql)?;
        insert.execute(params![0, stamp(step).0, encode(&joint_state(step))?])?;
        if step % 4 == 0 {
            insert.execute(params![1, stamp(step).0, encode(&odometry(step))?])?;
        }
    }
    transaction.commit()?;
    let [joints, bases] = [MESSAGES, MESSAGES / 4];
    let topics = ["/joint_states", "/odom"].into_iter().zip(TYPES).zip([joints, bases]);
    let topics: String = topics
        .map(|((topic, type_name), count)| {
            format!(
                "    - topic_metadata: {{name: {topic}, type: {type_name}, serialization_format: cdr, \
                 offered_qos_profiles: \"\"}}\n      message_count: {count}\n"
            )
        })
        .collect();
    let metadata = format!(
        "rosbag2_bagfile_information:\n  version: 5\n  storage_identifier: sqlite3\n  \
         relative_file_paths: [bag_0.db3]\n  duration: {{nanoseconds: {}}}\n  \
         starting_time: {{nanoseconds_since_epoch: {}}}\n  message_count: {}\n  \
         compression_format: \"\"\n  compression_mode: \"\"\n  topics_with_message_count:\n{topics}  \
         files:\n    - {{path: bag_0.db3, starting_time: {{nanoseconds_since_epoch: {}}}, \
         duration: {{nanoseconds: {}}}, message_count: {}}}\n",
        1_000_000 * (MESSAGES - 1),
        stamp(0).0,
        joints + bases,
        stamp(0).0,
        1_000_000 * (MESSAGES - 1),
        joints + bases,
    );
    Ok(std::fs::write(folder.join("metadata.yaml"), metadata)?)
}

fn read(folder: &Path, is_decoding: bool) -> Result<Reading, Box<dyn Error>> {
    let began = Instant::now();
    let (mut messages, mut bytes) = (0, 0);
    for message in Bag::open(folder)?.messages(None) {
        let message = message?;
        messages += 1;
        bytes += message.cdr.len() as u64;
        if is_decoding && *message.type_name == *TYPES[0] {
            std::hint::black_box(decode::<JointState>(&message.cdr)?);
        } else if is_decoding {
            std::hint::black_box(decode::<Odometry>(&message.cdr)?);
        }
    }
    let reader = if is_decoding { "learned_control, decoded" } else { "learned_control" };
    Ok(Reading { reader: reader.into(), seconds: began.elapsed().as_secs_f64(), messages, bytes })
}

/// Of all readers of Python that read this storage; `None` if there is no such Python.
fn read_in_python(folder: &Path) -> Option<Vec<Reading>> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/bench_recordings.py");
    let output = Command::new(python).arg(script).arg(folder).output().ok()?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    serde_json::from_slice(&output.stdout).ok()
}

fn print(storage: &str, readings: &BTreeMap<String, Vec<Reading>>) {
    println!("\n{storage}: {} messages", MESSAGES + MESSAGES / 4);
    println!("{:28} {:>9} {:>12} {:>17} {:>3}", "reader", "MB/s", "messages/s", "seconds (spread)", "n");
    for (reader, readings) in readings {
        let mut seconds: Vec<f64> = readings.iter().map(|reading| reading.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let (median, first, last) = (seconds[seconds.len() / 2], seconds[0], seconds[seconds.len() - 1]);
        let (megabytes, messages) = (readings[0].bytes as f64 * 1e-6, readings[0].messages as f64);
        let (rate, number) = (megabytes / median, messages / median);
        println!(
            "{reader:28} {rate:9.1} {number:12.0} {median:6.3} ({first:.3}-{last:.3}) {:>3}",
            seconds.len()
        );
    }
    let median = |reader: &str| {
        let mut seconds: Vec<f64> = readings.get(reader)?.iter().map(|reading| reading.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        seconds.get(seconds.len() / 2).copied()
    };
    for (theirs, ours) in [
        ("mcap", "learned_control"),
        ("rosbags", "learned_control"),
        ("rosbags, decoded", "learned_control, decoded"),
    ] {
        if let (Some(their), Some(our)) = (median(theirs), median(ours)) {
            println!("{ours} is {:.1} times as fast as {theirs}", their / our);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let folder = tempfile::tempdir()?;
    let storages = [("mcap", folder.path().join("mcap")), ("sqlite3", folder.path().join("sqlite3"))];
    write_mcap(&storages[0].1)?;
    write_sqlite(&storages[1].1)?;
    for (storage, path) in storages {
        let mut readings: BTreeMap<String, Vec<Reading>> = BTreeMap::new();
        for round in 0..rounds {
            let ours = [read(&path, false)?, read(&path, true)?];
            let theirs = read_in_python(&path).unwrap_or_default();
            if theirs.is_empty() && round == 0 {
                println!("skipped: no Python with mcap and rosbags (set PYTHON)");
            }
            for reading in ours.into_iter().chain(theirs) {
                assert_eq!(reading.messages, (MESSAGES + MESSAGES / 4) as u64, "{}", reading.reader);
                readings.entry(reading.reader.clone()).or_default().push(reading);
            }
        }
        print(storage, &readings);
    }
    Ok(())
}
