//! Poses and twists of a planar base as plain arrays; their geometry is that of [`Space::PlanarBase`].

use crate::robot::{Robot, wrap};
use crate::state::{Space, State};

/// Where a base is: [x m, y m, yaw rad] in its odometry frame.
pub type Pose = [f64; 3];

/// How a base moves: [vx m/s, vy m/s, wz rad/s] in its own frame (REP 105).
pub type Twist = [f64; 3];

/// A base of which nothing but its odometry is known.
pub fn base_robot() -> Robot {
    let coordinates = ["x", "y", "yaw"].map(String::from);
    Robot { space: Space::PlanarBase, ..Robot::of_joints(&coordinates) }
}

/// The pose of a base; none when the state is not that of one.
pub fn pose_of(state: &State) -> Option<Pose> {
    state.position.as_slice().try_into().ok()
}

/// What leads from `from` to `to`: [forward m, left m, turn rad in (-π, π]], seen from `from`.
pub fn pose_error(from: &Pose, to: &Pose) -> Pose {
    let mut error = [0.0; 3];
    Space::PlanarBase.difference(from, to, &mut error);
    error[2] = wrap(error[2]);
    error
}

/// `pose`, which is seen from `frame`, where that frame is seen from.
pub fn moved(frame: &Pose, pose: &Pose) -> Pose {
    let mut moved = [0.0; 3];
    Space::PlanarBase.integrate(frame, pose, &mut moved);
    moved
}

/// The direction [rad] of the chord of an arc that is driven at a constant turn rate from one pose to another, whose yaws
/// have no jump between them.
pub fn mean_yaw(from: &[f64], to: &[f64]) -> f64 {
    0.5 * (from[2] + to[2])
}

/// The constant twist that leads from one pose to another, whose yaws have no jump between them, in `time` [s], as far as
/// an arc is its chord.
pub fn twist_between(from: &[f64], to: &[f64], time: f64) -> Twist {
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let (sine, cosine) = mean_yaw(from, to).sin_cos();
    [(cosine * dx + sine * dy) / time, (cosine * dy - sine * dx) / time, (to[2] - from[2]) / time]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    #[test]
    fn errors_are_seen_from_the_base_and_turn_the_shorter_way() {
        let error = pose_error(&[1.0, 2.0, 0.5 * PI], &[1.0, 3.0, -PI]);
        assert!((error[0] - 1.0).abs() < 1e-12 && error[1].abs() < 1e-12, "{error:?}");
        assert!((error[2] - 0.5 * PI).abs() < 1e-12, "{error:?}");
        assert_eq!(pose_of(&State::zeros(2)), None);
    }
}
