//! From odometry that arrives to the [`State`] of a base.

use super::twist::{Pose, Twist, base_robot, twist_between};
use crate::measurement::{JointStateReader, MeasuredVelocities, Rejection};
use crate::robot::{first_non_finite, wrap};
use crate::state::{Space, Stamp, State};

const YAW: usize = 2;

/// Turns odometry into states whose yaw has no jumps. Zeros of a base whose twist nobody measures are differences of its
/// poses, by the rule for joints: speed and turn rate each are believed to be zero until the base has moved without, and
/// again from the first that is not zero.
#[derive(Clone, Debug)]
pub struct OdometryReader {
    reader: JointStateReader,
    coordinates: Vec<String>,
    yaw: Option<f64>,
    /// Of x and y, both with the speed, and of the yaw.
    measured: MeasuredVelocities,
}

impl Default for OdometryReader {
    fn default() -> Self {
        Self::new()
    }
}

impl OdometryReader {
    pub fn new() -> Self {
        let robot = base_robot();
        Self {
            reader: JointStateReader::new(&robot),
            measured: MeasuredVelocities::new(Space::Joints, robot.joints.len()),
            coordinates: robot.joints,
            yaw: None,
        }
    }

    /// The newest accepted state.
    pub fn state(&self) -> Option<&State> {
        self.reader.state()
    }

    /// Takes in a pose, none if its orientation is none, and a twist in the frame of the base.
    pub fn read(&mut self, stamp: Stamp, pose: Option<Pose>, twist: Twist) -> Result<&State, Rejection> {
        let pose = pose.filter(|pose| first_non_finite(pose).is_none());
        let (Some([x, y, yaw]), None) = (pose, first_non_finite(&twist)) else {
            return Err(Rejection::Odometry { pose, twist });
        };
        let yaw = self.yaw.map_or(yaw, |last| last + wrap(yaw - last));
        let pose = [x, y, yaw];
        let believed = self.believed(stamp, &pose, twist);
        let state = self.reader.read(stamp, &self.coordinates, &pose, &believed)?;
        self.yaw = Some(yaw);
        for (coordinate, velocity) in with_speed(&twist).into_iter().enumerate() {
            self.measured.learn(coordinate, pose[coordinate], velocity);
        }
        Ok(state)
    }

    /// The twist, or what the way since the last pose says of the parts that are not believed.
    fn believed(&self, stamp: Stamp, pose: &Pose, twist: Twist) -> Twist {
        let Some(last) = self.reader.state().filter(|last| stamp > last.stamp) else { return twist };
        let velocity = with_speed(&twist);
        let is = |coordinate: usize| {
            self.measured.believed(coordinate, pose[coordinate], velocity[coordinate]).is_some()
        };
        let made = twist_between(&last.position, pose, stamp.since(last.stamp));
        let [vx, vy, _] = if is(0) && is(1) { twist } else { made };
        let [_, _, wz] = if is(YAW) { twist } else { made };
        [vx, vy, wz]
    }
}

/// How fast the base is for each of its coordinates to move: the speed, whatever its direction, and the turn rate.
fn with_speed([vx, vy, wz]: &Twist) -> [f64; 3] {
    let speed = vx.hypot(*vy);
    [speed, speed, *wz]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Stamp {
        Stamp::from_seconds(seconds)
    }

    #[test]
    fn the_yaw_goes_on_beyond_half_a_turn() {
        let mut reader = OdometryReader::new();
        for (second, yaw) in [(1.0, 3.0), (2.0, 3.3), (3.0, 6.2), (4.0, 6.5)] {
            let wrapped = wrap(yaw);
            let state = reader.read(at(second), Some([1.0, 2.0, wrapped]), [0.0, 0.0, 1.0]).unwrap();
            assert!((state.position[2] - yaw).abs() < 1e-9, "{state:?}");
        }
        let again = reader.read(at(4.0), Some([0.0; 3]), [0.0; 3]).unwrap_err();
        assert!(again.is_harmless());
        for (pose, twist) in
            [(None, [0.0; 3]), (Some([0.0, f64::INFINITY, 0.0]), [0.0; 3]), (Some([0.0; 3]), [f64::NAN; 3])]
        {
            let refused = reader.read(at(5.0), pose, twist).unwrap_err().to_string();
            assert!(refused.contains("not finite"), "{refused}");
        }
        assert!((reader.state().unwrap().position[2] - 6.5).abs() < 1e-9);
    }

    #[test]
    fn a_twist_that_nobody_measures_is_the_way_between_poses() {
        // a circle to the left of radius 2 m, facing north at first
        let pose = |time: f64| -> Pose {
            let yaw = 1.5 + 0.5 * time;
            [2.0 * yaw.sin(), -2.0 * yaw.cos(), yaw]
        };
        let mut reader = OdometryReader::new();
        let mut twist = |step: i32, twist: Twist| -> Vec<f64> {
            let time = 0.05 * f64::from(step);
            reader.read(at(1.0 + time), Some(pose(time)), twist).unwrap().velocity.clone()
        };
        assert_eq!(twist(0, [0.0; 3]), [0.0; 3]);
        for step in 1..10 {
            let velocity = twist(step, [0.0; 3]);
            for (velocity, expected) in velocity.iter().zip([1.0, 0.0, 0.5]) {
                assert!((velocity - expected).abs() < 1e-3, "{step}: {velocity:?}");
            }
        }
        // one that measures its speed alone, as some drivers do
        let velocity = twist(10, [0.9, 0.0, 0.0]);
        assert!(velocity[..2] == [0.9, 0.0] && (velocity[2] - 0.5).abs() < 1e-3, "{velocity:?}");
        assert_eq!(twist(11, [0.0, 0.0, 0.4]), [0.0, 0.0, 0.4]);
        assert_eq!(twist(12, [0.0; 3]), [0.0; 3]);
    }

    #[test]
    fn a_base_that_stands_is_believed() {
        let mut reader = OdometryReader::new();
        for step in 0..10 {
            let pose = [1.0 + 1e-5 * f64::from(step), 2.0, 0.3];
            assert_eq!(reader.read(at(f64::from(step)), Some(pose), [0.0; 3]).unwrap().velocity, [0.0; 3]);
        }
    }
}
