//! Between messages about a base in the plane and the core's types.

use crate::base::{BaseControllerConfig, OdometryReader, Pose, Purpose, ReferencePath, Twist};
use crate::dataset::messages::Quaternion;
use crate::error::Result;
use crate::measurement::Rejection;
use crate::ros::convert::{stamp_to_time, time_to_stamp};
use crate::ros::shell::{Subscription, drained, reliable_qos};
use crate::state::{Stamp, State};
use r2r::geometry_msgs::msg::{self as geometry, TwistStamped};
use r2r::nav_msgs::msg::{Odometry, Path};
use r2r::{Node, Publisher};

/// Hands a message to `reader`; one without a stamp is of `now`.
pub fn read_odometry<'a>(
    reader: &'a mut OdometryReader,
    message: &Odometry,
    now: Stamp,
) -> std::result::Result<&'a State, Rejection> {
    let stamp = match time_to_stamp(&message.header.stamp) {
        stamp if stamp == Stamp::default() => now,
        stamp => stamp,
    };
    let twist = message_to_twist(&message.twist.twist);
    reader.read(stamp, message_to_pose(&message.pose.pose), twist)
}

/// [x, y, yaw] of a pose; what it says of height, roll and pitch is dropped. None when its quaternion is none, see
/// [`Quaternion::unit_yaw`].
pub fn message_to_pose(pose: &geometry::Pose) -> Option<Pose> {
    let geometry::Quaternion { x, y, z, w } = pose.orientation;
    Quaternion { x, y, z, w }.unit_yaw().map(|yaw| [pose.position.x, pose.position.y, yaw])
}

pub fn pose_to_message([x, y, yaw]: &Pose) -> geometry::Pose {
    let (z, w) = (0.5 * yaw).sin_cos();
    geometry::Pose {
        position: geometry::Point { x: *x, y: *y, z: 0.0 },
        orientation: geometry::Quaternion { x: 0.0, y: 0.0, z, w },
    }
}

pub fn message_to_twist(twist: &geometry::Twist) -> Twist {
    [twist.linear.x, twist.linear.y, twist.angular.z]
}

pub fn twist_to_message([vx, vy, wz]: &Twist) -> geometry::Twist {
    geometry::Twist {
        linear: geometry::Vector3 { x: *vx, y: *vy, z: 0.0 },
        angular: geometry::Vector3 { x: 0.0, y: 0.0, z: *wz },
    }
}

/// A path in its frame, and when it begins if its poses have stamps; see [`ReferencePath::of_poses`].
pub fn message_to_path(
    message: &Path,
    config: &BaseControllerConfig,
    purpose: &Purpose,
) -> Result<(ReferencePath, Option<Stamp>)> {
    let stamped = |stamped: &geometry::PoseStamped| {
        let geometry::Pose { position, orientation } = &stamped.pose;
        let geometry::Quaternion { x, y, z, w } = *orientation;
        let stamp = time_to_stamp(&stamped.header.stamp);
        (stamp, [position.x, position.y], Quaternion { x, y, z, w })
    };
    let poses: Vec<_> = message.poses.iter().map(stamped).collect();
    ReferencePath::of_poses(&poses, config, purpose)
}

/// Where twists come from: TwistStamped, or Twist.
pub enum TwistInput {
    Stamped(Subscription<TwistStamped>),
    Bare(Subscription<geometry::Twist>),
}

impl TwistInput {
    pub fn new(node: &mut Node, topic: &str, stamped: bool) -> Result<Self> {
        Ok(match stamped {
            true => Self::Stamped(drained(node.subscribe(topic, reliable_qos(1)))?),
            false => Self::Bare(drained(node.subscribe(topic, reliable_qos(1)))?),
        })
    }

    /// The next twist that has arrived, if any, with its stamp if it has one.
    pub fn take(&mut self) -> Option<(Option<Stamp>, Twist)> {
        match self {
            Self::Stamped(input) => input.take().map(|message| {
                let stamp = time_to_stamp(&message.header.stamp);
                ((stamp != Stamp::default()).then_some(stamp), message_to_twist(&message.twist))
            }),
            Self::Bare(input) => input.take().map(|message| (None, message_to_twist(&message))),
        }
    }

    /// The newest twist that has arrived, if any; older ones are dropped.
    pub fn newest(&mut self) -> Option<Twist> {
        std::iter::from_fn(|| self.take()).last().map(|(_, twist)| twist)
    }
}

/// Where twists go to: TwistStamped, or Twist.
pub enum TwistOutput {
    Stamped(Publisher<TwistStamped>, Box<TwistStamped>),
    Bare(Publisher<geometry::Twist>),
}

impl TwistOutput {
    /// `frame` is that of the twists: the base's.
    pub fn new(node: &mut Node, topic: &str, stamped: bool, frame: &str) -> Result<Self> {
        if !stamped {
            return Ok(Self::Bare(node.create_publisher(topic, reliable_qos(1))?));
        }
        let mut message = Box::new(TwistStamped::default());
        message.header.frame_id = frame.into();
        Ok(Self::Stamped(node.create_publisher(topic, reliable_qos(1))?, message))
    }

    pub fn publish(&mut self, stamp: Stamp, twist: &Twist) -> Result<()> {
        match self {
            Self::Stamped(output, message) => {
                message.header.stamp = stamp_to_time(stamp);
                message.twist = twist_to_message(twist);
                Ok(output.publish(message.as_ref())?)
            }
            Self::Bare(output) => Ok(output.publish(&twist_to_message(twist))?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Reference;

    fn path(stamps: &[f64]) -> Path {
        let pose = |(i, stamp): (usize, &f64)| {
            let mut stamped =
                geometry::PoseStamped { pose: pose_to_message(&[i as f64, 0.0, 0.1]), ..Default::default() };
            stamped.header.stamp = stamp_to_time(Stamp::from_seconds(*stamp));
            stamped
        };
        Path { poses: stamps.iter().enumerate().map(pose).collect(), ..Default::default() }
    }

    fn read(message: &Path) -> Result<(ReferencePath, Option<Stamp>)> {
        message_to_path(message, &BaseControllerConfig::default(), &Purpose::FROM_REST)
    }

    #[test]
    fn poses_survive_the_way_through_a_message() {
        for pose in [[1.0, -2.0, 3.0], [0.0, 0.0, -3.1]] {
            let back = message_to_pose(&pose_to_message(&pose)).unwrap();
            assert!(back.iter().zip(pose).all(|(a, b)| (a - b).abs() < 1e-12), "{back:?}");
        }
        let mut broken = geometry::Pose::default();
        broken.orientation.w = 0.0;
        assert_eq!(message_to_pose(&broken), None, "no quaternion");
        let twist = [0.1, 0.2, -0.3];
        assert_eq!(message_to_twist(&twist_to_message(&twist)), twist);
    }

    #[test]
    fn odometry_without_a_stamp_is_of_now() {
        let mut reader = OdometryReader::new();
        let mut message = Odometry::default();
        message.pose.pose = pose_to_message(&[1.0, 2.0, 0.5]);
        message.twist.twist = twist_to_message(&[0.1, 0.0, 0.2]);
        let state = read_odometry(&mut reader, &message, Stamp(7)).unwrap();
        assert_eq!((state.stamp, &state.velocity[..]), (Stamp(7), &[0.1, 0.0, 0.2][..]));
        assert!((state.position[2] - 0.5).abs() < 1e-12);
        message.header.stamp = stamp_to_time(Stamp::from_seconds(3.0));
        assert_eq!(read_odometry(&mut reader, &message, Stamp(7)).unwrap().stamp, Stamp::from_seconds(3.0));
        message.pose.pose.orientation.w = f64::NAN;
        assert!(read_odometry(&mut reader, &message, Stamp(8)).unwrap_err().to_string().contains("length 1"));
    }

    #[test]
    fn stamps_make_a_trajectory_and_none_a_path() {
        let (trajectory, begin) = read(&path(&[7.0, 8.0, 9.5])).unwrap();
        assert_eq!((trajectory.duration(), begin), (2.5, Some(Stamp::from_seconds(7.0))));
        for stamps in [[0.0; 3], [7.0; 3]] {
            let (within_limits, begin) = read(&path(&stamps)).unwrap();
            assert!(within_limits.duration() > 4.0 && begin.is_none());
        }
    }

    #[test]
    fn paths_that_cannot_be_followed_say_why() {
        let refusal = |message: &Path| read(message).unwrap_err().to_string();
        assert!(refusal(&path(&[1.0, 3.0, 2.0])).contains("increase"));
        let mut turned = path(&[0.0; 3]);
        turned.poses[1].pose.orientation.w = f64::NAN;
        assert!(refusal(&turned).contains("pose 1"));
    }
}
