//! Recordings that other tools open: a rosbag2 folder with one MCAP file (profile `ros2`, definitions included,
//! chunks packed by zstd, index and statistics) and metadata.yaml of version 9.

use super::data;
use super::messages::{
    self, Float64MultiArray, JointState, JointTrajectory, Message, Odometry, Twist, TwistStamped, encode,
};
use crate::error::{Error, Result};
use crate::state::Stamp;
use mcap::records::MessageHeader;
use mcap::{McapError, WriteOptions, Writer};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// A message that can be written: with its definition and all that this refers to (`ros2msg`), and the hash of it
/// that ROS 2 compares (REP 2011; here as rosbags 0.11.9 computes it).
pub trait Defined: Message {
    const DEFINITION: &'static str;
    const HASH: &'static str;
}

/// A definition followed by those that it refers to.
macro_rules! definition {
    ($main:literal $(, $name:literal: $text:literal)* $(,)?) => {
        concat!($main $(, "\n", "================================================================================\n",
            "MSG: ", $name, "\n", $text)*)
    };
}

impl Defined for JointState {
    const HASH: &'static str = "RIHS01_a13ee3a330e346c9d87b5aa18d24e11690752bd33a0350f11c5882bc9179260e";
    const DEFINITION: &'static str = definition!(
        "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort",
        "std_msgs/Header": "builtin_interfaces/Time stamp\nstring frame_id",
        "builtin_interfaces/Time": "int32 sec\nuint32 nanosec",
    );
}

impl Defined for Odometry {
    const HASH: &'static str = "RIHS01_3cc97dc7fb7502f8714462c526d369e35b603cfc34d946e3f2eda2766dfec6e0";
    const DEFINITION: &'static str = definition!(
        "std_msgs/Header header\nstring child_frame_id\ngeometry_msgs/PoseWithCovariance pose\n\
         geometry_msgs/TwistWithCovariance twist",
        "std_msgs/Header": "builtin_interfaces/Time stamp\nstring frame_id",
        "builtin_interfaces/Time": "int32 sec\nuint32 nanosec",
        "geometry_msgs/PoseWithCovariance": "geometry_msgs/Pose pose\nfloat64[36] covariance",
        "geometry_msgs/Pose": "geometry_msgs/Point position\ngeometry_msgs/Quaternion orientation",
        "geometry_msgs/Point": "float64 x\nfloat64 y\nfloat64 z",
        "geometry_msgs/Quaternion": "float64 x 0\nfloat64 y 0\nfloat64 z 0\nfloat64 w 1",
        "geometry_msgs/TwistWithCovariance": "geometry_msgs/Twist twist\nfloat64[36] covariance",
        "geometry_msgs/Twist": "geometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular",
        "geometry_msgs/Vector3": "float64 x\nfloat64 y\nfloat64 z",
    );
}

impl Defined for Twist {
    const HASH: &'static str = "RIHS01_9c45bf16fe0983d80e3cfe750d6835843d265a9a6c46bd2e609fcddde6fb8d2a";
    const DEFINITION: &'static str = definition!(
        "geometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular",
        "geometry_msgs/Vector3": "float64 x\nfloat64 y\nfloat64 z",
    );
}

impl Defined for TwistStamped {
    const HASH: &'static str = "RIHS01_5f0fcd4f81d5d06ad9b4c4c63e3ea51b82d6ae4d0558f1d475229b1121db6f64";
    const DEFINITION: &'static str = definition!(
        "std_msgs/Header header\ngeometry_msgs/Twist twist",
        "std_msgs/Header": "builtin_interfaces/Time stamp\nstring frame_id",
        "builtin_interfaces/Time": "int32 sec\nuint32 nanosec",
        "geometry_msgs/Twist": "geometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular",
        "geometry_msgs/Vector3": "float64 x\nfloat64 y\nfloat64 z",
    );
}

impl Defined for messages::Path {
    const HASH: &'static str = "RIHS01_1957a5bb3cee5da65c4e52e52b65a93df227efce4c20f8458b36e73066ca334b";
    const DEFINITION: &'static str = definition!(
        "std_msgs/Header header\ngeometry_msgs/PoseStamped[] poses",
        "std_msgs/Header": "builtin_interfaces/Time stamp\nstring frame_id",
        "builtin_interfaces/Time": "int32 sec\nuint32 nanosec",
        "geometry_msgs/PoseStamped": "std_msgs/Header header\ngeometry_msgs/Pose pose",
        "geometry_msgs/Pose": "geometry_msgs/Point position\ngeometry_msgs/Quaternion orientation",
        "geometry_msgs/Point": "float64 x\nfloat64 y\nfloat64 z",
        "geometry_msgs/Quaternion": "float64 x 0\nfloat64 y 0\nfloat64 z 0\nfloat64 w 1",
    );
}

impl Defined for JointTrajectory {
    const HASH: &'static str = "RIHS01_179b33eba59d676f6d967ac71fe35e7ca2f64b2f3928f4a018cec115e213796e";
    const DEFINITION: &'static str = definition!(
        "std_msgs/Header header\nstring[] joint_names\ntrajectory_msgs/JointTrajectoryPoint[] points",
        "std_msgs/Header": "builtin_interfaces/Time stamp\nstring frame_id",
        "builtin_interfaces/Time": "int32 sec\nuint32 nanosec",
        "trajectory_msgs/JointTrajectoryPoint": "float64[] positions\nfloat64[] velocities\n\
         float64[] accelerations\nfloat64[] effort\nbuiltin_interfaces/Duration time_from_start",
        "builtin_interfaces/Duration": "int32 sec\nuint32 nanosec",
    );
}

impl Defined for Float64MultiArray {
    const HASH: &'static str = "RIHS01_1025ddc6b9552d191f89ef1a8d2f60f3d373e28b283d8891ddcc974e8c55397f";
    const DEFINITION: &'static str = definition!(
        "std_msgs/MultiArrayLayout layout\nfloat64[] data",
        "std_msgs/MultiArrayLayout": "std_msgs/MultiArrayDimension[] dim\nuint32 data_offset",
        "std_msgs/MultiArrayDimension": "string label\nuint32 size\nuint32 stride",
    );
}

/// Writes a recording; dropped before [`McapWriter::finish`], it has no metadata.yaml.
pub struct McapWriter {
    folder: PathBuf,
    file: PathBuf,
    writer: Writer<BufWriter<File>>,
    topics: BTreeMap<String, Topic>,
    /// Of logging, the first and the last.
    stamps: Option<(Stamp, Stamp)>,
}

struct Topic {
    channel: u16,
    type_name: &'static str,
    hash: &'static str,
    messages: u32,
}

impl McapWriter {
    /// Makes `folder`, which must not exist, and in it a file of the same name.
    pub fn create(folder: &Path) -> Result<Self> {
        Self::with_options(folder, WriteOptions::new())
    }

    /// As [`McapWriter::create`], with chunks of another size or packed otherwise.
    pub fn with_options(folder: &Path, options: WriteOptions) -> Result<Self> {
        let Some(name) = folder.file_name() else {
            return Err(data(folder, "expected the name of a new folder"));
        };
        if let Some(parent) = folder.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
        }
        std::fs::create_dir(folder).map_err(Error::io(folder))?;
        let file = folder.join(format!("{}_0.mcap", name.to_string_lossy()));
        let out = BufWriter::new(File::create_new(&file).map_err(Error::io(&file))?);
        // on this thread: the same messages give the same file on every computer
        let options = options.profile("ros2").compression_threads(0);
        let writer = options.create(out).map_err(|error| refused(&file, &error))?;
        Ok(Self { folder: folder.to_path_buf(), file, writer, topics: BTreeMap::new(), stamps: None })
    }

    /// `log` is the time of logging; a topic has one type.
    pub fn write<M: Defined>(&mut self, topic: &str, log: Stamp, message: &M) -> Result<()> {
        let Ok(log_time) = u64::try_from(log.0) else {
            return Err(Error::mismatch(format!("time of logging on {topic}"), log.0, "none before 1970"));
        };
        if !self.topics.contains_key(topic) {
            self.add_topic::<M>(topic)?;
        }
        let Some(entry) = self.topics.get_mut(topic).filter(|entry| entry.type_name == M::TYPE_NAME) else {
            return Err(Error::mismatch(
                format!("type of {topic}"),
                M::TYPE_NAME,
                "the type of its first message",
            ));
        };
        let header = MessageHeader {
            channel_id: entry.channel,
            sequence: entry.messages,
            log_time,
            publish_time: log_time,
        };
        let cdr = encode(message).map_err(|problem| data(&self.file, problem))?;
        self.writer.write_to_known_channel(&header, &cdr).map_err(|error| refused(&self.file, &error))?;
        entry.messages += 1;
        let (first, last) = self.stamps.unwrap_or((log, log));
        self.stamps = Some((first.min(log), last.max(log)));
        Ok(())
    }

    fn add_topic<M: Defined>(&mut self, topic: &str) -> Result<()> {
        let refused = |error: McapError| refused(&self.file, &error);
        let schema =
            self.writer.add_schema(M::TYPE_NAME, "ros2msg", M::DEFINITION.as_bytes()).map_err(refused)?;
        let metadata = [("offered_qos_profiles", ""), ("topic_type_hash", M::HASH)];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let channel = self.writer.add_channel(schema, topic, "cdr", &metadata).map_err(refused)?;
        let entry = Topic { channel, type_name: M::TYPE_NAME, hash: M::HASH, messages: 0 };
        self.topics.insert(topic.to_owned(), entry);
        Ok(())
    }

    /// Completes the file and writes metadata.yaml.
    pub fn finish(mut self) -> Result<()> {
        self.writer.finish().map_err(|error| refused(&self.file, &error))?;
        let metadata = self.metadata();
        let mut file = self.writer.into_inner();
        file.flush().map_err(Error::io(&self.file))?;
        let path = self.folder.join(super::rosbag::metadata::FILE_NAME);
        crate::files::replace(&path, metadata.as_bytes())
    }

    /// In the order and with the words of rosbag2 itself, whose parser asks for all of them.
    fn metadata(&self) -> String {
        let (first, last) = self.stamps.unwrap_or_default();
        let (start, duration) = (first.0, last.0 - first.0);
        let count: u32 = self.topics.values().map(|topic| topic.messages).sum();
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        let name = quoted(&name);
        let mut topics = String::new();
        for (name, topic) in &self.topics {
            let (name, Topic { type_name, hash, messages, .. }) = (quoted(name), topic);
            // a String takes all that is written to it
            let _ = write!(
                topics,
                "\n    - topic_metadata:\n        name: {name}\n        type: {type_name}\n        \
                 serialization_format: cdr\n        offered_qos_profiles:\n          []\n        \
                 type_description_hash: {hash}\n      message_count: {messages}"
            );
        }
        if topics.is_empty() {
            topics = " []".into();
        }
        format!(
            "rosbag2_bagfile_information:\n  version: 9\n  storage_identifier: mcap\n  \
             duration:\n    nanoseconds: {duration}\n  starting_time:\n    nanoseconds_since_epoch: {start}\n  \
             message_count: {count}\n  topics_with_message_count:{topics}\n  \
             compression_format: \"\"\n  compression_mode: \"\"\n  relative_file_paths:\n    - {name}\n  \
             files:\n    - path: {name}\n      starting_time:\n        nanoseconds_since_epoch: {start}\n      \
             duration:\n        nanoseconds: {duration}\n      message_count: {count}\n  \
             custom_data: ~\n  ros_distro: unknown\n"
        )
    }
}

/// A text of YAML in double quotes, which JSON's are.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn refused(file: &Path, error: &McapError) -> Error {
    data(file, format!("writing: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::messages::{
        Header, JointTrajectoryPoint, MultiArrayDimension, Pose, Quaternion, Twist, Vector3, decode,
    };
    use crate::dataset::rosbag::Bag;

    fn header(step: i64) -> Header {
        Header { stamp: Stamp(step * 1_000_000 - 7).into(), frame_id: "odom".into() }
    }

    fn joint_state(step: i64) -> JointState {
        let value = (step as f64 * 0.1).sin();
        JointState {
            header: header(step),
            name: vec!["a".into(), "bc".into()],
            position: vec![value, f64::NAN.copysign(value)],
            velocity: vec![],
            effort: vec![-value, 1.0 / 3.0],
        }
    }

    fn odometry(step: i64) -> Odometry {
        let mut odometry =
            Odometry { header: header(step), child_frame_id: "base".into(), ..Default::default() };
        let position = Vector3 { x: step as f64, y: 0.1, z: -0.0 };
        odometry.pose.pose = Pose { position, orientation: Quaternion::from_yaw(0.3) };
        odometry.twist.twist = Twist { linear: position, angular: position };
        odometry.twist.covariance[5][4] = 1e-300;
        odometry
    }

    /// Every message as bytes, for NaN to be compared too.
    #[test]
    fn what_is_written_is_read_bit_equal() {
        let array = Float64MultiArray { data: vec![f64::MIN_POSITIVE, -0.0], ..Default::default() };
        let mut with_layout = array.clone();
        with_layout.layout.dim.push(MultiArrayDimension { label: "é".into(), size: 2, stride: 2 });
        let point = JointTrajectoryPoint { positions: vec![0.1, 0.2], ..Default::default() };
        let trajectory =
            JointTrajectory { joint_names: vec!["a".into()], points: vec![point; 3], ..Default::default() };
        for compression in [None, Some(mcap::Compression::Lz4), Some(mcap::Compression::Zstd)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("bag");
            let options = WriteOptions::new().compression(compression).chunk_size(Some(2000));
            let mut writer = McapWriter::with_options(&path, options).unwrap();
            let mut sent = Vec::new();
            for step in 0..100 {
                let stamp = Stamp(1_700_000_000_000_000_000 + step);
                writer.write("/joint_states", stamp, &joint_state(step)).unwrap();
                sent.push(encode(&joint_state(step)).unwrap());
                writer.write("/odom", stamp, &odometry(step)).unwrap();
                sent.push(encode(&odometry(step)).unwrap());
                writer.write("/command", stamp, if step % 2 == 0 { &array } else { &with_layout }).unwrap();
                sent.push(encode(if step % 2 == 0 { &array } else { &with_layout }).unwrap());
                writer.write("/odd \"name\": [", stamp, &trajectory).unwrap();
                sent.push(encode(&trajectory).unwrap());
            }
            assert!(
                writer.write("/odom", Stamp(0), &array).unwrap_err().to_string().contains("type of /odom")
            );
            writer.finish().unwrap();
            let bag = Bag::open(&path).unwrap();
            assert!(bag.losses().is_empty(), "{}", bag.losses());
            let read: Vec<Vec<u8>> = bag.messages(None).map(|message| message.unwrap().cdr).collect();
            assert!(read == sent);
            let types: Vec<&str> = bag.topics().iter().map(|topic| &*topic.type_name).collect();
            let [array, state, odometry, trajectory] = [
                Float64MultiArray::TYPE_NAME,
                JointState::TYPE_NAME,
                Odometry::TYPE_NAME,
                JointTrajectory::TYPE_NAME,
            ];
            assert_eq!(types, [array, state, trajectory, odometry]);
            assert!(bag.topics().iter().all(|topic| topic.messages == 100));
            assert_eq!(decode::<Odometry>(&read[1]).unwrap(), super::tests::odometry(0));
        }
    }

    #[test]
    fn what_was_not_finished_is_read_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/bag");
        let mut writer = McapWriter::with_options(&path, WriteOptions::new().chunk_size(Some(1000))).unwrap();
        (0..50).for_each(|step| writer.write("/odom", Stamp(step), &odometry(step)).unwrap());
        assert!(McapWriter::create(&path).is_err());
        assert!(writer.write("/odom", Stamp(-1), &odometry(0)).is_err());
        drop(writer); // without metadata.yaml
        let bag = Bag::open(&path).unwrap();
        assert_eq!(bag.messages(None).count(), 50);
    }
}
