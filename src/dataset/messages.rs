//! The ROS messages that recordings of motion are made of, field by field as in their definitions
//! (<https://github.com/ros2/common_interfaces>, geometry2), and their encoding as plain CDR (DDSI-RTPS 2.3, 10.2).

use crate::state::Stamp;
use byteorder::{BigEndian, LittleEndian};
use serde::{Deserialize, Serialize};

/// A message with the name of its type, as `sensor_msgs/msg/JointState`.
pub trait Message: Serialize + for<'a> Deserialize<'a> {
    const TYPE_NAME: &'static str;
}

/// Decodes plain CDR of either byte order: the second byte of the four before the data says which.
pub fn decode<'a, M: Deserialize<'a>>(cdr: &'a [u8]) -> Result<M, String> {
    let Some((encapsulation, body)) = cdr.split_at_checked(4) else {
        return Err(format!("{} bytes are too few for a message", cdr.len()));
    };
    let decoded = match encapsulation[1] {
        0x00 => cdr_encoding::from_bytes::<M, BigEndian>(body),
        0x01 => cdr_encoding::from_bytes::<M, LittleEndian>(body),
        other => return Err(format!("its encapsulation {other:#04x} is not plain CDR")),
    };
    decoded.map(|(message, _)| message).map_err(|error| error.to_string())
}

/// Encodes as little-endian CDR with its encapsulation header.
pub fn encode(message: &impl Message) -> Result<Vec<u8>, String> {
    let body = cdr_encoding::to_vec::<_, LittleEndian>(message).map_err(|error| error.to_string())?;
    Ok([&[0, 1, 0, 0], body.as_slice()].concat())
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    pub sec: i32,
    pub nanosec: u32,
}

impl From<Time> for Stamp {
    fn from(time: Time) -> Self {
        Self(i64::from(time.sec) * 1_000_000_000 + i64::from(time.nanosec))
    }
}

impl From<Stamp> for Time {
    /// Of what seconds of 32 bits can say; beyond it the first or last second.
    fn from(stamp: Stamp) -> Self {
        let seconds = stamp.0.div_euclid(1_000_000_000).clamp(i32::MIN.into(), i32::MAX.into());
        Self { sec: seconds as i32, nanosec: stamp.0.rem_euclid(1_000_000_000) as u32 }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub stamp: Time,
    pub frame_id: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JointState {
    pub header: Header,
    pub name: Vec<String>,
    /// rad or m
    pub position: Vec<f64>,
    /// rad/s or m/s
    pub velocity: Vec<f64>,
    /// Nm or N
    pub effort: Vec<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vector3 {
    pub x: f64,
    pub y: f64,
    pub z: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quaternion {
    pub x: f64,
    pub y: f64,
    pub z: f64,
    pub w: f64,
}

impl Default for Quaternion {
    fn default() -> Self {
        Self::from_yaw(0.0)
    }
}

impl Quaternion {
    /// The turn by `yaw` [rad] about z.
    pub fn from_yaw(yaw: f64) -> Self {
        Self { x: 0.0, y: 0.0, z: (0.5 * yaw).sin(), w: (0.5 * yaw).cos() }
    }

    /// Sine and cosine of the turn about z, times the square of the length.
    fn heading(&self) -> (f64, f64) {
        let Self { x, y, z, w } = *self;
        (2.0 * (w * z + x * y), w * w + x * x - y * y - z * z)
    }

    /// The turn about z [rad], the last of the three of a turn about x, then y, then z (REP 103); of any length but
    /// zero, whose yaw is NaN.
    pub fn yaw(&self) -> f64 {
        let (sine, cosine) = self.heading();
        if sine == 0.0 && cosine == 0.0 { f64::NAN } else { sine.atan2(cosine) }
    }

    /// The yaw as the nodes take it: none of what is no orientation, for it is not finite or far from length 1.
    pub fn unit_yaw(&self) -> Option<f64> {
        let Self { x, y, z, w } = *self;
        let length = (x * x + y * y + z * z + w * w).sqrt();
        let (sine, cosine) = self.heading();
        ((length - 1.0).abs() < 0.1).then(|| sine.atan2(cosine))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pose {
    /// m
    pub position: Vector3,
    pub orientation: Quaternion,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoseStamped {
    pub header: Header,
    pub pose: Pose,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Path {
    pub header: Header,
    pub poses: Vec<PoseStamped>,
}

/// m/s and rad/s
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Twist {
    pub linear: Vector3,
    pub angular: Vector3,
}

impl Twist {
    /// [vx, vy, wz], m/s and rad/s.
    pub fn planar(&self) -> Vec<f64> {
        vec![self.linear.x, self.linear.y, self.angular.z]
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TwistStamped {
    pub header: Header,
    pub twist: Twist,
}

/// Of a vehicle whose front wheels steer (ackermann_msgs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AckermannDrive {
    /// rad
    pub steering_angle: f32,
    /// rad/s
    pub steering_angle_velocity: f32,
    /// m/s
    pub speed: f32,
    /// m/s²
    pub acceleration: f32,
    /// m/s³
    pub jerk: f32,
}

impl AckermannDrive {
    /// [vx, vy, wz] of the single-track model with a wheel base of 1 m, for the message does not say how long it is;
    /// m/s and rad/s.
    pub fn twist(&self) -> Vec<f64> {
        let speed = f64::from(self.speed);
        vec![speed, 0.0, speed * f64::from(self.steering_angle).tan()]
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AckermannDriveStamped {
    pub header: Header,
    pub drive: AckermannDrive,
}

/// Of x, y, z and the turns about them, [row, column].
pub type Covariance = [[f64; 6]; 6];

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoseWithCovariance {
    pub pose: Pose,
    pub covariance: Covariance,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TwistWithCovariance {
    pub twist: Twist,
    pub covariance: Covariance,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoseWithCovarianceStamped {
    pub header: Header,
    pub pose: PoseWithCovariance,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Odometry {
    pub header: Header,
    pub child_frame_id: String,
    /// In the frame of the header.
    pub pose: PoseWithCovariance,
    /// In the child frame.
    pub twist: TwistWithCovariance,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duration {
    pub sec: i32,
    pub nanosec: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JointTrajectoryPoint {
    pub positions: Vec<f64>,
    pub velocities: Vec<f64>,
    pub accelerations: Vec<f64>,
    pub effort: Vec<f64>,
    pub time_from_start: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JointTrajectory {
    pub header: Header,
    pub joint_names: Vec<String>,
    pub points: Vec<JointTrajectoryPoint>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultiArrayDimension {
    pub label: String,
    pub size: u32,
    pub stride: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultiArrayLayout {
    pub dim: Vec<MultiArrayDimension>,
    pub data_offset: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Float64MultiArray {
    pub layout: MultiArrayLayout,
    pub data: Vec<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transform {
    pub translation: Vector3,
    pub rotation: Quaternion,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TransformStamped {
    pub header: Header,
    pub child_frame_id: String,
    pub transform: Transform,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TFMessage {
    pub transforms: Vec<TransformStamped>,
}

impl Message for JointState {
    const TYPE_NAME: &'static str = "sensor_msgs/msg/JointState";
}

impl Message for Odometry {
    const TYPE_NAME: &'static str = "nav_msgs/msg/Odometry";
}

impl Message for Path {
    const TYPE_NAME: &'static str = "nav_msgs/msg/Path";
}

impl Message for JointTrajectory {
    const TYPE_NAME: &'static str = "trajectory_msgs/msg/JointTrajectory";
}

impl Message for PoseStamped {
    const TYPE_NAME: &'static str = "geometry_msgs/msg/PoseStamped";
}

impl Message for PoseWithCovarianceStamped {
    const TYPE_NAME: &'static str = "geometry_msgs/msg/PoseWithCovarianceStamped";
}

impl Message for Twist {
    const TYPE_NAME: &'static str = "geometry_msgs/msg/Twist";
}

impl Message for TwistStamped {
    const TYPE_NAME: &'static str = "geometry_msgs/msg/TwistStamped";
}

impl Message for AckermannDrive {
    const TYPE_NAME: &'static str = "ackermann_msgs/msg/AckermannDrive";
}

impl Message for AckermannDriveStamped {
    const TYPE_NAME: &'static str = "ackermann_msgs/msg/AckermannDriveStamped";
}

impl Message for Float64MultiArray {
    const TYPE_NAME: &'static str = "std_msgs/msg/Float64MultiArray";
}

impl Message for TransformStamped {
    const TYPE_NAME: &'static str = "geometry_msgs/msg/TransformStamped";
}

impl Message for TFMessage {
    const TYPE_NAME: &'static str = "tf2_msgs/msg/TFMessage";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::rosbag::{Bag, RawMessage};
    use crate::dataset::tests::data_folder;
    use std::f64::consts::{FRAC_PI_2, PI};
    use std::fmt::Debug;

    fn vector(x: f64, y: f64, z: f64) -> Vector3 {
        Vector3 { x, y, z }
    }

    /// Both messages of a type in a storage of the recording of all types.
    fn recorded(bag: &Bag, type_name: &str) -> Vec<RawMessage> {
        let messages = bag.messages(None).map(|message| message.unwrap());
        messages.filter(|message| &*message.type_name == type_name).collect()
    }

    /// Decodes alike from both storages, but for `stamp`, which they were given at different times, and is encoded
    /// again to the very bytes.
    fn check<M: Message + Debug + PartialEq>(expected: M, set_stamp: impl Fn(&mut M)) {
        let Some(folder) = data_folder() else { return };
        for storage in ["test_bag_mcap", "test_bag_sqlite3"] {
            let bag = Bag::open(&folder.join("bags_alltypes").join(storage)).unwrap();
            let messages = recorded(&bag, M::TYPE_NAME);
            assert_eq!(messages.len(), 2, "{} in {storage}", M::TYPE_NAME);
            for message in messages {
                let mut decoded: M = decode(&message.cdr).unwrap();
                let encoded = encode(&decoded).unwrap();
                let padding = message.cdr.len() - encoded.len();
                assert!(message.cdr.starts_with(&encoded) && padding < 4, "{} in {storage}", M::TYPE_NAME);
                set_stamp(&mut decoded);
                assert_eq!(decoded, expected, "in {storage}");
            }
        }
    }

    fn header() -> Header {
        Header { stamp: Time::default(), frame_id: "test_frame".into() }
    }

    #[test]
    fn every_type_is_decoded_alike_from_both_storages() {
        let pose = Pose { position: vector(1.0, 2.0, 0.0), orientation: Quaternion::from_yaw(0.0) };
        let twist = Twist { linear: vector(1.0, 0.0, 0.0), angular: vector(0.0, 0.0, 0.1) };
        let joint_state = JointState {
            header: header(),
            name: ["joint1", "joint2", "joint3"].map(String::from).into(),
            position: vec![0.1, 0.2, 0.3],
            velocity: vec![0.01, 0.02, 0.03],
            effort: vec![1.0, 2.0, 3.0],
        };
        check(joint_state, |message| message.header.stamp = Time::default());
        let odometry = Odometry {
            header: header(),
            child_frame_id: "base_link".into(),
            pose: PoseWithCovariance { pose, covariance: [[0.1; 6]; 6] },
            twist: TwistWithCovariance { twist, covariance: [[0.01; 6]; 6] },
        };
        check(odometry, |message| message.header.stamp = Time::default());
        let array = Float64MultiArray {
            layout: MultiArrayLayout {
                dim: vec![MultiArrayDimension { label: "x".into(), size: 3, stride: 3 }],
                data_offset: 0,
            },
            data: vec![1.11, 2.22, 3.33],
        };
        check(array, |_| ());
        let pose = Pose { position: vector(1.0, 2.0, 3.0), ..pose };
        check(PoseStamped { header: header(), pose }, |message| message.header.stamp = Time::default());
        let twist = Twist { linear: vector(1.0, 0.0, 0.0), angular: vector(0.0, 0.0, 0.5) };
        check(twist, |_| ());
        check(TwistStamped { header: header(), twist }, |message| message.header.stamp = Time::default());
        let transform = TransformStamped {
            header: header(),
            child_frame_id: "child_frame".into(),
            transform: Transform { translation: vector(1.0, 2.0, 3.0), rotation: Quaternion::from_yaw(0.0) },
        };
        check(TFMessage { transforms: vec![transform] }, |message| {
            message.transforms[0].header.stamp = Time::default();
        });
    }

    /// As rosbags 0.11.9 for Python serializes it: `get_typestore(Stores.ROS2_HUMBLE).serialize_cdr(message, ...)`.
    #[test]
    fn a_trajectory_is_encoded_as_elsewhere() {
        let golden = "00010000010000000200000002000000620000000200000003000000\
            6a310000070000006a6f696e743200000200000002000000000000000000f03f\
            000000000000004001000000000000000000000000000840000000000100000000000000000010c0\
            050000000600000002000000000000000000000000001c4000000000000020400000000000000000000000000900000000000000";
        let golden: Vec<u8> = (0..golden.len() / 2)
            .map(|index| u8::from_str_radix(&golden[2 * index..2 * index + 2], 16).unwrap())
            .collect();
        let first = JointTrajectoryPoint {
            positions: vec![1.0, 2.0],
            velocities: vec![3.0],
            accelerations: vec![],
            effort: vec![-4.0],
            time_from_start: Duration { sec: 5, nanosec: 6 },
        };
        let second = JointTrajectoryPoint {
            positions: vec![7.0, 8.0],
            time_from_start: Duration { sec: 9, nanosec: 0 },
            ..Default::default()
        };
        let trajectory = JointTrajectory {
            header: Header { stamp: Time { sec: 1, nanosec: 2 }, frame_id: "b".into() },
            joint_names: vec!["j1".into(), "joint2".into()],
            points: vec![first, second],
        };
        assert_eq!(decode::<JointTrajectory>(&golden).unwrap(), trajectory);
        assert_eq!(encode(&trajectory).unwrap(), golden);
    }

    #[test]
    fn stamps_are_the_same_there_and_back() {
        for nanoseconds in [0, 1, -1, -999_999_995, 1_700_000_000_123_456_789] {
            assert_eq!(Stamp::from(Time::from(Stamp(nanoseconds))), Stamp(nanoseconds));
        }
        assert_eq!(Time::from(Stamp(i64::MAX)).sec, i32::MAX);
    }

    #[test]
    fn yaw_is_the_turn_about_z() {
        for yaw in [0.0, 1.0, FRAC_PI_2, -3.0, PI] {
            let Quaternion { x, y, z, w } = Quaternion::from_yaw(yaw);
            let longer = Quaternion { x: 2.0 * x, y: 2.0 * y, z: 2.0 * z, w: 2.0 * w };
            assert!((longer.yaw() - yaw).abs() < 1e-12);
        }
        // a turn by 0.3 about y leaves it as it is: q = q_z(1.0) q_y(0.3)
        let (z, y) = (Quaternion::from_yaw(1.0), (0.15_f64.sin(), 0.15_f64.cos()));
        let both = Quaternion { x: -z.z * y.0, y: z.w * y.0, z: z.z * y.1, w: z.w * y.1 };
        assert!((both.yaw() - 1.0).abs() < 1e-12);
        assert!(Quaternion { x: 0.0, y: 0.0, z: 0.0, w: 0.0 }.yaw().is_nan());
    }

    #[test]
    fn an_orientation_is_a_quaternion_of_length_one() {
        assert!((Quaternion::from_yaw(1.0).unit_yaw().unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(Quaternion { x: 0.0, y: 0.0, z: 0.0, w: 0.0 }.unit_yaw(), None);
        assert_eq!(Quaternion { x: 0.0, y: 0.0, z: f64::NAN, w: 1.0 }.unit_yaw(), None);
    }

    #[test]
    fn both_byte_orders_are_decoded_and_damage_is_no_panic() {
        let sent = JointState {
            header: Header { stamp: Time { sec: -1, nanosec: 5 }, frame_id: "base".into() },
            name: vec!["a".into(), "bcd".into()],
            position: vec![1.0, 2.0],
            ..Default::default()
        };
        let big = cdr_encoding::to_vec::<_, BigEndian>(&sent).unwrap();
        for cdr in [encode(&sent).unwrap(), [vec![0, 0, 0, 0], big].concat()] {
            assert_eq!(decode::<JointState>(&cdr).unwrap(), sent);
            for length in 0..cdr.len() {
                assert!(decode::<JointState>(&cdr[..length]).is_err());
            }
        }
        assert!(decode::<JointState>(&[0, 3, 0, 0, 0]).unwrap_err().contains("0x03"));
    }
}
