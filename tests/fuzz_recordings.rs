//! Damaged and hostile recordings: whatever the bytes, reading ends, does not panic and allocates no more than what
//! is there; what is whole is read, and nothing is lost without a word.
//!
//! The cases are mutations of the files in tests/corpus/recordings, at a fixed seed. They are made by proptest, which
//! runs on stable Rust, shrinks what fails and keeps it (coverage-guided fuzzers need a nightly compiler, and the
//! structure that they would have to discover is known: [`landmarks`]). `FUZZ_CASES=100000` runs more of them;
//! `cargo test --test fuzz_recordings -- --ignored` writes the corpus anew.

use learned_control::dataset::mcap_writer::McapWriter;
use learned_control::dataset::messages::{
    Float64MultiArray, Header, JointState, JointTrajectory, JointTrajectoryPoint, Odometry, PoseStamped,
    Quaternion, TFMessage, Twist, TwistStamped, decode, encode,
};
use learned_control::dataset::rosbag::{Bag, RawMessage};
use learned_control::dataset::{Recording, Selection};
use learned_control::state::Stamp;
use mcap::{Compression, WriteOptions};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use rusqlite::{Connection, params};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes; the corpus is of a few thousand, a chunk may grow to some ten thousand.
const LARGEST_ALLOCATION: usize = 32 << 20;

struct Watched;
static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

fn assert_small_allocations() {
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(largest < LARGEST_ALLOCATION, "{largest} bytes were allocated at once");
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/recordings")
}

fn kept(name: &str) -> Vec<u8> {
    std::fs::read(corpus().join(name)).unwrap()
}

// --- the corpus ---

fn header(step: i64) -> Header {
    Header { stamp: Stamp(1_000_000_000 + step * 10_000_000).into(), frame_id: "odom".into() }
}

fn joint_state(step: i64) -> JointState {
    let angle = 0.1 * step as f64;
    JointState {
        header: header(step),
        name: vec!["shoulder".into(), "elbow".into()],
        position: vec![angle.sin(), angle.cos()],
        velocity: vec![angle.cos(), -angle.sin()],
        effort: vec![],
    }
}

fn odometry(step: i64) -> Odometry {
    let mut odometry = Odometry { header: header(step), child_frame_id: "base".into(), ..Default::default() };
    odometry.pose.pose.position.x = 0.01 * step as f64;
    odometry.pose.pose.orientation = Quaternion::from_yaw(0.2 * step as f64);
    odometry.twist.twist.linear.x = 1.0;
    odometry
}

fn write_mcap(name: &str, options: WriteOptions) {
    let folder = tempfile::tempdir().unwrap();
    let mut writer =
        McapWriter::with_options(&folder.path().join("bag"), options.chunk_size(Some(900))).unwrap();
    for step in 0..12 {
        let log = Stamp(1_000_000_000 + step * 10_000_000);
        writer.write("/joint_states", log, &joint_state(step)).unwrap();
        if step % 4 == 0 {
            writer.write("/odom", log, &odometry(step)).unwrap();
        }
    }
    writer.finish().unwrap();
    std::fs::copy(folder.path().join("bag/bag_0.mcap"), corpus().join(name)).unwrap();
    std::fs::copy(folder.path().join("bag/metadata.yaml"), corpus().join("metadata.yaml")).unwrap();
}

fn write_sqlite(path: &Path) {
    let _ = std::fs::remove_file(path);
    let database = Connection::open(path).unwrap();
    database
        .execute_batch(
            "PRAGMA page_size = 512;
             CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
             CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
                 serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);
             CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
                 data BLOB NOT NULL);
             CREATE INDEX timestamp_idx ON messages (timestamp ASC);
             INSERT INTO topics VALUES (1, '/joint_states', 'sensor_msgs/msg/JointState', 'cdr', '');
             INSERT INTO topics VALUES (2, '/odom', 'nav_msgs/msg/Odometry', 'cdr', '');",
        )
        .unwrap();
    for step in 0..16 {
        let sql = "INSERT INTO messages(topic_id, timestamp, data) VALUES (?1, ?2, ?3)";
        let log = 1_000_000_000 + step * 10_000_000;
        database.execute(sql, params![1, log, encode(&joint_state(step)).unwrap()]).unwrap();
        if step % 4 == 0 {
            database.execute(sql, params![2, log, encode(&odometry(step)).unwrap()]).unwrap();
        }
    }
}

#[test]
#[ignore = "writes the corpus anew"]
fn write_corpus() {
    let without_checksums = WriteOptions::new()
        .calculate_chunk_crcs(false)
        .calculate_summary_section_crc(false)
        .compression(None);
    write_mcap("zstd.mcap", WriteOptions::new());
    write_mcap("lz4.mcap", WriteOptions::new().compression(Some(Compression::Lz4)));
    write_mcap("without_checksums.mcap", without_checksums.clone());
    write_mcap("without_chunks.mcap", without_checksums.use_chunks(false));
    write_mcap("without_index.mcap", WriteOptions::new().emit_summary_records(false));
    write_sqlite(&corpus().join("bag.db3"));
    let joints: String = (0..40).map(|step| format!("{}.25,{step},{}e-1,\"1\"\n", step, step + 1)).collect();
    let joints = format!("# a table\nt_s,a_pos,a_vel,b_pos\n{joints}");
    std::fs::write(corpus().join("joints.csv"), &joints).unwrap();
    let base: String = (0..40).map(|step| format!("{step},{step},{step},{step}.5,-{step}\n")).collect();
    std::fs::write(corpus().join("base.csv"), format!("t_log_s,t_header_s,x_m,y_m,yaw_rad\n{base}")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut packed, joints.as_bytes()).unwrap();
    std::fs::write(corpus().join("joints.csv.gz"), packed.finish().unwrap()).unwrap();
}

const MCAP: [&str; 5] =
    ["zstd.mcap", "lz4.mcap", "without_checksums.mcap", "without_chunks.mcap", "without_index.mcap"];
const TABLES: [&str; 3] = ["joints.csv", "base.csv", "joints.csv.gz"];

// --- reading ---

struct Outcome {
    /// None if the file was refused.
    messages: Option<Vec<RawMessage>>,
    is_loss_told: bool,
}

/// Reads `bytes` as a file of this name in every way there is.
fn read(folder: &Path, name: &str, bytes: &[u8]) -> Outcome {
    let path = folder.join(name);
    let _ = std::fs::remove_file(&path); // to overwrite would wait for the disk
    std::fs::write(&path, bytes).unwrap();
    for topic in [None, Some("/odom")] {
        let selection = Selection { topic: topic.map(str::to_owned), ..Default::default() };
        if let Ok(recording) = Recording::read(&path, &selection) {
            assert!(recording.states.len() == recording.summary.kept && recording.summary.kept >= 2);
            let _ = recording.episodes(recording.summary.interval.max(0.005));
            assert!(recording.summary.to_string().starts_with("kept"));
            serde_json::to_string(&recording.summary).unwrap();
        }
    }
    let outcome = match Bag::open(&path) {
        Ok(bag) => {
            let mut reading = bag.messages(None);
            let messages: Vec<_> = reading.by_ref().map_while(Result::ok).collect();
            assert!(messages.len() < 10_000, "more than there can be");
            let is_loss_told = !bag.losses().is_empty() || !reading.losses().is_empty();
            Outcome { messages: Some(messages), is_loss_told }
        }
        Err(error) => Outcome { messages: None, is_loss_told: !error.to_string().is_empty() },
    };
    assert_small_allocations();
    outcome
}

/// As found in the whole file.
fn whole(name: &str) -> Vec<RawMessage> {
    let folder = tempfile::tempdir().unwrap();
    let outcome = read(folder.path(), name, &kept(name));
    assert!(!outcome.is_loss_told, "{name} is not whole");
    outcome.messages.unwrap()
}

/// Only messages that were recorded, all of them or with a word about the rest.
fn assert_honest(original: &HashSet<(i64, Vec<u8>)>, outcome: &Outcome, what: &str) {
    let Some(messages) = &outcome.messages else { return };
    for message in messages {
        let key = (message.stamp.0, message.cdr.clone());
        assert!(original.contains(&key), "{what}: a message that was never recorded: {message:?}");
    }
    assert!(messages.len() == original.len() || outcome.is_loss_told, "{what}: lost without a word");
}

fn keys(messages: &[RawMessage]) -> HashSet<(i64, Vec<u8>)> {
    messages.iter().map(|message| (message.stamp.0, message.cdr.clone())).collect()
}

// --- every place ---

#[test]
fn the_corpus_is_read_whole() {
    for name in MCAP {
        assert_eq!(whole(name).len(), 15, "{name}");
    }
    assert_eq!(whole("bag.db3").len(), 20);
    for name in TABLES {
        let recording = Recording::read(&corpus().join(name), &Selection::default()).unwrap();
        assert_eq!(recording.summary.kept, 40, "{name}");
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_read_up_to_there() {
    let folder = tempfile::tempdir().unwrap();
    for name in MCAP.into_iter().chain(["bag.db3"]) {
        let (bytes, original) = (kept(name), keys(&whole(name)));
        let mut most = 0;
        // every byte of the small ones
        for length in (0..bytes.len()).step_by(bytes.len().div_ceil(6000)) {
            let outcome = read(folder.path(), name, &bytes[..length]);
            assert_honest(&original, &outcome, &format!("{name} cut to {length}"));
            most = most.max(outcome.messages.map_or(0, |messages| messages.len()));
        }
        assert!(most > original.len() / 2, "{name}: never more than {most}");
    }
}

/// With checksums a flipped byte never changes a message.
#[test]
fn a_flipped_byte_anywhere_costs_no_more_than_its_chunk() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["zstd.mcap", "lz4.mcap", "without_index.mcap"] {
        let (bytes, original) = (kept(name), keys(&whole(name)));
        for position in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[position] ^= 0xff;
            let outcome = read(folder.path(), name, &flipped);
            assert_honest(&original, &outcome, &format!("{name} flipped at {position}"));
            // without an index the channels are described in the first chunk only
            let is_description = name == "without_index.mcap" && position < first_chunk_end(&bytes);
            let count = outcome.messages.map_or(0, |messages| messages.len());
            assert!(
                is_description || count >= original.len() - 5,
                "{name} flipped at {position}: {count} left"
            );
        }
    }
}

/// sqlite has no checksums: what is damaged within a message is not seen.
#[test]
fn a_damaged_page_costs_no_more_than_its_messages() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, all) = (kept("bag.db3"), whole("bag.db3").len());
    let mut left = Vec::new();
    for page in 1..bytes.len() / 512 {
        let mut bytes = bytes.clone();
        bytes[page * 512..(page + 1) * 512].fill(0xff);
        let outcome = read(folder.path(), "bag.db3", &bytes);
        let Some(messages) = outcome.messages else { continue };
        assert!(messages.len() == all || outcome.is_loss_told, "page {page}: lost without a word");
        left.push(messages.len());
    }
    assert!(left.len() > 10 && left.iter().sum::<usize>() > left.len() * (all - 3), "{left:?} of {all}");
}

fn first_chunk_end(bytes: &[u8]) -> usize {
    let length = |position: usize| u64::from_le_bytes(bytes[position + 1..position + 9].try_into().unwrap());
    let mut position = 8;
    while bytes[position] != 6 {
        position += 9 + length(position) as usize;
    }
    position + 9 + length(position) as usize
}

// --- mutations ---

#[derive(Clone, Debug)]
enum Mutation {
    /// At a landmark, or anywhere.
    Set {
        landmark: Option<prop::sample::Index>,
        at: prop::sample::Index,
        value: Vec<u8>,
    },
    Flip {
        at: prop::sample::Index,
        bit: u8,
    },
    Cut {
        at: prop::sample::Index,
    },
    Remove {
        at: prop::sample::Index,
        length: usize,
    },
    Repeat {
        from: prop::sample::Index,
        length: usize,
        at: prop::sample::Index,
    },
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let index = any::<prop::sample::Index>;
    let number = prop_oneof![
        Just(0_u64),
        Just(1),
        Just(u64::MAX),
        Just(1 << 31),
        Just(1 << 40),
        0..5000_u64,
        any::<u64>()
    ];
    let value = (number, prop_oneof![Just(1_usize), Just(2), Just(4), Just(8)])
        .prop_map(|(number, length)| number.to_le_bytes()[..length].to_vec());
    let mutation = prop_oneof![
        6 => (prop::option::weighted(0.7, index()), index(), value)
            .prop_map(|(landmark, at, value)| Mutation::Set { landmark, at, value }),
        3 => (index(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip { at, bit }),
        1 => index().prop_map(|at| Mutation::Cut { at }),
        1 => (index(), 1..200_usize).prop_map(|(at, length)| Mutation::Remove { at, length }),
        2 => (index(), 1..600_usize, index()).prop_map(|(from, length, at)| Mutation::Repeat { from, length, at }),
    ];
    prop::collection::vec(mutation, 1..5)
}

fn mutate(original: &[u8], landmarks: &[usize], mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for mutation in mutations {
        if bytes.is_empty() {
            break;
        }
        let size = bytes.len();
        match mutation {
            Mutation::Set { landmark, at, value } => {
                let start = landmark.map_or(at.index(size), |index| landmarks[index.index(landmarks.len())]);
                bytes.iter_mut().skip(start).zip(value).for_each(|(byte, value)| *byte = *value);
            }
            Mutation::Flip { at, bit } => bytes[at.index(size)] ^= 1 << bit,
            Mutation::Cut { at } => bytes.truncate(at.index(size)),
            Mutation::Remove { at, length } => {
                let start = at.index(size);
                bytes.drain(start..(start + length).min(size));
            }
            Mutation::Repeat { from, length, at } => {
                let start = from.index(size);
                let part = bytes[start..(start + length).min(size)].to_vec();
                let at = at.index(size);
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

/// Where the lengths, counts and offsets of a file stand.
fn landmarks(name: &str, bytes: &[u8]) -> Vec<usize> {
    match name {
        name if name.ends_with(".mcap") => {
            let mut marks = Vec::new();
            records(bytes, 8, bytes.len(), &mut marks);
            marks
        }
        // header of the file, then of each page and its pointers to cells
        name if name.ends_with(".db3") => (0..100)
            .step_by(2)
            .chain((0..bytes.len()).step_by(512).flat_map(|page| page..page + 40))
            .collect(),
        _ => (0..bytes.len()).step_by(4).collect(),
    }
}

/// The head of each record and every second byte of the first of its contents; also of those in chunks.
fn records(bytes: &[u8], start: usize, end: usize, marks: &mut Vec<usize>) {
    let mut position = start;
    while position + 9 <= end {
        let length = u64::from_le_bytes(bytes[position + 1..position + 9].try_into().unwrap());
        let next = position.saturating_add(9).saturating_add(length as usize);
        if next > end {
            break;
        }
        marks.extend([position, position + 1]);
        marks.extend((position + 9..next.min(position + 60)).step_by(2));
        if bytes[position] == 6 && bytes[position + 9 + 28..position + 9 + 32] == [0; 4] {
            records(bytes, position + 9 + 40, next, marks); // a chunk that is not packed
        }
        position = next;
    }
}

fn run(cases: u32, name: &str, test: impl Fn(&[u8])) {
    let cases = std::env::var("FUZZ_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(3),
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    };
    let bytes = kept(name);
    let landmarks = landmarks(name, &bytes);
    let outcome = TestRunner::new(config).run(&mutations(), |mutations| {
        test(&mutate(&bytes, &landmarks, &mutations));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[test]
fn mutated_mcap_files_are_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in MCAP {
        run(1500, name, |bytes| {
            read(folder.path(), name, bytes);
        });
    }
}

#[test]
fn mutated_databases_are_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    run(2500, "bag.db3", |bytes| {
        read(folder.path(), "bag.db3", bytes);
    });
}

#[test]
fn mutated_tables_are_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in TABLES {
        run(2000, name, |bytes| {
            read(folder.path(), name, bytes);
        });
    }
}

#[test]
fn whatever_metadata_says_the_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bag_0.mcap"), kept("zstd.mcap")).unwrap();
    run(2000, "metadata.yaml", |bytes| {
        let path = folder.path().join("metadata.yaml");
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Bag::open(folder.path()).unwrap().messages(None).count(), 15);
        assert_small_allocations();
    });
}

#[test]
fn mutated_messages_are_decoded_or_refused() {
    let trajectory = JointTrajectory {
        header: header(0),
        joint_names: vec!["a".into(), "b".into()],
        points: vec![JointTrajectoryPoint { positions: vec![1.0; 2], ..Default::default() }; 2],
    };
    let pose = PoseStamped { header: header(0), ..Default::default() };
    let twist = TwistStamped { header: header(0), ..Default::default() };
    let array = Float64MultiArray { data: vec![1.0; 4], ..Default::default() };
    let transforms = TFMessage { transforms: vec![Default::default(); 2] };
    let seeds = [
        encode(&joint_state(1)).unwrap(),
        encode(&odometry(1)).unwrap(),
        encode(&trajectory).unwrap(),
        encode(&pose).unwrap(),
        encode(&twist).unwrap(),
        encode(&Twist::default()).unwrap(),
        encode(&array).unwrap(),
        encode(&transforms).unwrap(),
    ];
    let config =
        Config { cases: 10_000, rng_seed: RngSeed::Fixed(3), failure_persistence: None, ..Config::default() };
    let cases = (any::<prop::sample::Index>(), mutations());
    let outcome = TestRunner::new(config).run(&cases, |(seed, mutations)| {
        let seed = &seeds[seed.index(seeds.len())];
        let landmarks: Vec<usize> = (0..seed.len()).step_by(4).collect();
        let cdr = mutate(seed, &landmarks, &mutations);
        let _ = (decode::<JointState>(&cdr), decode::<Odometry>(&cdr), decode::<JointTrajectory>(&cdr));
        let _ = (decode::<PoseStamped>(&cdr), decode::<Twist>(&cdr), decode::<TwistStamped>(&cdr));
        let _ = (decode::<Float64MultiArray>(&cdr), decode::<TFMessage>(&cdr));
        assert_small_allocations();
        Ok(())
    });
    outcome.unwrap();
}
