//! Between ROS messages and the core's types.

use crate::error::Result;
use crate::learner::Sample;
use crate::reference::{self, MissingJoints, ReferencePoint, SplineTrajectory};
use crate::robot::Robot;
use crate::state::{Stamp, State};
use crate::trajectory::{Horizon, Trajectory};
use crate::vector::root_mean_square;
use r2r::builtin_interfaces::msg::{Duration as RosDuration, Time};
use r2r::std_msgs::msg::{Float64MultiArray, MultiArrayDimension};
use r2r::trajectory_msgs::msg::{JointTrajectory, JointTrajectoryPoint};
use std::fmt::{Display, Write};
use std::time::Duration;

pub fn stamp_to_time(stamp: Stamp) -> Time {
    Time { sec: stamp.0.div_euclid(1_000_000_000) as i32, nanosec: stamp.0.rem_euclid(1_000_000_000) as u32 }
}

pub fn time_to_stamp(time: &Time) -> Stamp {
    Stamp(i64::from(time.sec) * 1_000_000_000 + i64::from(time.nanosec))
}

pub fn duration_to_message(duration: Duration) -> RosDuration {
    RosDuration { sec: duration.as_secs() as i32, nanosec: duration.subsec_nanos() }
}

pub fn message_to_seconds(duration: &RosDuration) -> f64 {
    f64::from(duration.sec) + f64::from(duration.nanosec) * 1e-9
}

/// The predicted motion as a message: positions and velocities, time_from_start counted from the measurement.
pub fn fill_prediction(prediction: &Trajectory, message: &mut JointTrajectory) {
    message.header.stamp = stamp_to_time(prediction.stamp);
    message.points.resize_with(prediction.states.len(), Default::default);
    for (index, (point, state)) in message.points.iter_mut().zip(&prediction.states).enumerate() {
        point.positions.clone_from(&state.position);
        point.velocities.clone_from(&state.velocity);
        point.time_from_start = duration_to_message(prediction.horizon.time_from_start(index + 1));
    }
}

/// A prediction for `joints`; `None` when it is of other joints, misshapen, or not finite.
pub fn message_to_prediction(message: &JointTrajectory, joints: &[String]) -> Option<Trajectory> {
    let columns: Option<Vec<usize>> =
        joints.iter().map(|joint| message.joint_names.iter().position(|name| name == joint)).collect();
    let columns = columns?;
    let dt = message_to_seconds(&message.points.first()?.time_from_start);
    let horizon = Horizon { steps: message.points.len(), dt: Duration::try_from_secs_f64(dt).ok()? };
    let mut prediction = Trajectory::new(horizon, joints.len());
    prediction.stamp = time_to_stamp(&message.header.stamp);
    for (state, point) in prediction.states.iter_mut().zip(&message.points) {
        for (joint, &column) in columns.iter().enumerate() {
            state.position[joint] = point.positions.get(column).copied().filter(|value| value.is_finite())?;
            state.velocity[joint] = point.velocities.get(column).copied().unwrap_or(0.0);
        }
    }
    Some(prediction)
}

/// A trajectory for `robot` that starts from `start`; joints that it does not name are an error.
pub fn message_to_trajectory(
    message: &JointTrajectory,
    robot: &Robot,
    start: &ReferencePoint,
) -> Result<SplineTrajectory> {
    let points = message_to_points(message);
    let trajectory = reference::JointTrajectory { joints: message.joint_names.clone(), points };
    SplineTrajectory::new(robot, &trajectory, start, MissingJoints::Refuse)
}

/// The way points of a trajectory, in the order of its joints.
pub fn message_to_points(message: &JointTrajectory) -> Vec<reference::JointTrajectoryPoint> {
    let point = |point: &JointTrajectoryPoint| reference::JointTrajectoryPoint {
        time_from_start: message_to_seconds(&point.time_from_start),
        positions: point.positions.clone(),
        velocities: point.velocities.clone(),
        accelerations: point.accelerations.clone(),
    };
    message.points.iter().map(point).collect()
}

/// A table of equally long rows as a message; `labels` name rows and columns.
pub fn fill_table<'a>(labels: [&str; 2], rows: impl Iterator<Item = &'a [f64]>) -> Float64MultiArray {
    let mut message = Float64MultiArray::default();
    let mut count = 0;
    for row in rows {
        message.data.extend_from_slice(row);
        count += 1;
    }
    let total = message.data.len() as u32;
    let columns = total.checked_div(count).unwrap_or(0);
    let dimension = |label: &str, size, stride| MultiArrayDimension { label: label.into(), size, stride };
    message.layout.dim = vec![dimension(labels[0], count, total), dimension(labels[1], columns, columns)];
    message
}

/// The verdicts under which a sample may be learned from, as they stand in `header.frame_id`.
const UNDISTURBED: [&str; 2] = ["tracking", "baseline"];

/// A learning sample as a JointTrajectory, which every ROS 2 tool can show: its points are the measurement (effort:
/// as sent), the reference (effort: the baseline's feedforward) and the tracking error (effort: the feedback).
/// `header.frame_id` is the verdict of the tick.
pub fn fill_sample(sample: &Sample, verdict: &dyn Display, message: &mut JointTrajectory) {
    message.header.stamp = stamp_to_time(sample.stamp);
    message.header.frame_id.clear();
    // a string takes all that is written
    let _ = write!(message.header.frame_id, "{verdict}");
    message.points.resize_with(3, Default::default);
    let [measured, reference, error] = &mut message.points[..] else { return };
    measured.positions.clone_from(&sample.position);
    measured.velocities.clone_from(&sample.velocity);
    measured.effort.clone_from(&sample.effort);
    reference.positions.clone_from(&sample.reference_position);
    reference.velocities.clone_from(&sample.reference_velocity);
    reference.accelerations.clone_from(&sample.reference_acceleration);
    reference.effort.clone_from(&sample.feedforward_effort);
    subtract(&sample.reference_position, &sample.position, &mut error.positions);
    subtract(&sample.reference_velocity, &sample.velocity, &mut error.velocities);
    error.effort.clone_from(&sample.feedback_effort);
}

fn subtract(from: &[f64], value: &[f64], out: &mut Vec<f64>) {
    out.clear();
    out.extend(from.iter().zip(value).map(|(from, value)| from - value));
}

/// The sample in a message, when it may be learned from and belongs to `joints` in their order.
pub fn message_to_sample(message: JointTrajectory, joints: &[String]) -> Option<Sample> {
    if !UNDISTURBED.contains(&message.header.frame_id.as_str()) || message.joint_names != joints {
        return None;
    }
    let stamp = time_to_stamp(&message.header.stamp);
    let [measured, reference, error] = <[JointTrajectoryPoint; 3]>::try_from(message.points).ok()?;
    let sample = Sample {
        stamp,
        position: measured.positions,
        velocity: measured.velocities,
        effort: measured.effort,
        reference_position: reference.positions,
        reference_velocity: reference.velocities,
        reference_acceleration: reference.accelerations,
        feedforward_effort: reference.effort,
        feedback_effort: error.effort,
    };
    sample.has_size(joints.len()).then_some(sample)
}

/// Root mean square over joints of the tracking error in a learning sample, with the stamp.
pub fn sample_error(message: &JointTrajectory) -> Option<(Stamp, f64)> {
    let errors = &message.points.get(2)?.positions;
    let rms = root_mean_square(errors.iter().copied());
    (!errors.is_empty()).then(|| (time_to_stamp(&message.header.stamp), rms))
}

/// A joint state message without efforts.
pub fn fill_joint_state(state: &State, message: &mut r2r::sensor_msgs::msg::JointState) {
    message.header.stamp = stamp_to_time(state.stamp);
    message.position.clone_from(&state.position);
    message.velocity.clone_from(&state.velocity);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_survive_the_way_through_a_message() {
        for nanoseconds in [0, 1, 1_500_000_000, -1, -1_500_000_000] {
            assert_eq!(time_to_stamp(&stamp_to_time(Stamp(nanoseconds))), Stamp(nanoseconds));
        }
    }

    #[test]
    fn only_undisturbed_samples_of_our_joints_are_learned_from() {
        let joints = vec!["a".to_owned(), "b".to_owned()];
        let mut message = JointTrajectory { joint_names: joints.clone(), ..Default::default() };
        let mut sample = Sample::zeros(2);
        sample.effort = vec![1.0, 2.0];
        fill_sample(&sample, &"tracking", &mut message);
        assert_eq!(message_to_sample(message.clone(), &joints), Some(sample.clone()));
        assert_eq!(message_to_sample(message.clone(), &joints[..1]), None);
        fill_sample(&sample, &"limited", &mut message);
        assert_eq!(message_to_sample(message, &joints), None);
    }

    #[test]
    fn predictions_are_matched_by_name_and_must_be_finite() {
        let point = |positions: Vec<f64>, milliseconds| JointTrajectoryPoint {
            positions,
            time_from_start: duration_to_message(Duration::from_millis(milliseconds)),
            ..Default::default()
        };
        let mut message = JointTrajectory {
            joint_names: vec!["b".into(), "a".into()],
            points: vec![point(vec![2.0, 1.0], 10), point(vec![4.0, 3.0], 20)],
            ..Default::default()
        };
        let joints = vec!["a".to_owned(), "b".to_owned()];
        let prediction = message_to_prediction(&message, &joints).expect("complete");
        assert_eq!(prediction.horizon, Horizon { steps: 2, dt: Duration::from_millis(10) });
        assert_eq!(prediction.states[1].position, [3.0, 4.0]);
        message.points[0].positions[0] = f64::NAN;
        assert!(message_to_prediction(&message, &joints).is_none());
    }
}
