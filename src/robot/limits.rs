//! What a joint may do, and the guard that keeps an effort command within it.

use serde::{Deserialize, Serialize};

/// The velocity limit is given up in this time when a joint approaches a position limit: its braking deceleration is
/// the velocity limit divided by it, s.
const BRAKING_TIME: f64 = 0.2;
/// Very near a position limit the allowed speed is this rate times the distance, 1/s.
const APPROACH_RATE: f64 = 20.0;
/// The effort fades to that which holds the robot over this share below the velocity limit.
const FADE: f64 = 0.25;
/// So many times the velocity limit beyond it, all effort brakes.
const BRAKING_SPAN: f64 = 2.0;

/// Limits of every joint, in the robot's order. Position limits of a continuous joint are infinite; velocity and
/// effort limits are positive and finite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// (lower, upper), rad or m.
    pub position: Vec<(f64, f64)>,
    /// rad/s or m/s.
    pub velocity: Vec<f64>,
    /// Nm or N.
    pub effort: Vec<f64>,
}

impl Limits {
    /// The time that a drive's position loop is expected to take at most, s: so far may a commanded position be ahead of
    /// the measured one at the velocity limit.
    pub const POSITION_LOOP: f64 = 0.2;

    /// Brings positions within their limits; says whether any had to change.
    pub fn clamp_position(&self, values: &mut [f64]) -> bool {
        clamp(values, self.position.iter().copied())
    }

    /// Brings velocities within their limits; says whether any had to change.
    pub fn clamp_velocity(&self, values: &mut [f64]) -> bool {
        clamp(values, self.velocity.iter().map(|limit| (-limit, *limit)))
    }

    /// Brings efforts within their limits; says whether any had to change.
    pub fn clamp_effort(&self, values: &mut [f64]) -> bool {
        clamp(values, self.effort.iter().map(|limit| (-limit, *limit)))
    }

    /// The first joint whose position lies outside its limits.
    pub fn first_outside(&self, position: &[f64]) -> Option<usize> {
        let within = |(q, (lower, upper)): (&f64, &(f64, f64))| *lower <= *q && *q <= *upper;
        position.iter().zip(&self.position).position(|joint| !within(joint))
    }

    /// Brings velocities `command` within the velocity limits and within what the distances to the position limits leave of
    /// them, as in [`Self::limit_effort`]; says whether any had to change.
    pub fn limit_velocity(&self, position: &[f64], command: &mut [f64]) -> bool {
        let bounds = position.iter().zip(&self.position).zip(&self.velocity).map(|((q, limits), speed)| {
            let greatest = approach_velocity(limits.1 - q, *speed);
            ((-approach_velocity(q - limits.0, *speed)).min(greatest), greatest)
        });
        clamp(command, bounds)
    }

    /// Brings positions `command` within the position limits, or no further out than the `last` command, and within what the
    /// velocity limits allow to move in `dt` [s] from that; says whether any had to change.
    pub fn limit_position(&self, last: &[f64], dt: f64, command: &mut [f64]) -> bool {
        let bounds = last.iter().zip(&self.position);
        let outside =
            clamp(command, bounds.map(|(last, (lower, upper))| (lower.min(*last), upper.max(*last))));
        let reach =
            last.iter().zip(&self.velocity).map(|(last, speed)| (last - dt * speed, last + dt * speed));
        clamp(command, reach) || outside
    }

    /// Whether a joint is so fast, or so near to the end of its way, that a limit may leave less than all of its effort.
    pub fn any_near(&self, position: &[f64], velocity: &[f64]) -> bool {
        let is_fast = |(v, speed): (&f64, &f64)| v.abs() > (1.0 - FADE) * speed;
        // from here on it can stop, and the full effort is allowed further out
        let margin = |speed: f64| 0.5 * BRAKING_TIME * (1.0 + FADE).powi(2) * speed;
        let is_near = |((q, (lower, upper)), speed): ((&f64, &(f64, f64)), &f64)| {
            !(lower + margin(*speed) < *q && *q < upper - margin(*speed))
        };
        velocity.iter().zip(&self.velocity).any(is_fast)
            || position.iter().zip(&self.position).zip(&self.velocity).any(is_near)
    }

    /// Brings `effort` within the effort limits and within what position and velocity limits leave of them; says
    /// whether any had to change. `hold` is the effort that carries the robot's weight, needed where [`Self::any_near`].
    ///
    /// At the velocity limit no effort but `hold` is allowed in the direction of the motion, and beyond it the guard brakes, gently:
    /// with a gain of more than that of the feedback it would feed an oscillation where efforts act late, full effort one way and
    /// the other.
    ///
    /// The soft limits of ROS (`pr2_controller_manager/safety_limits`, ros2_control `joint_limits`): the distances to
    /// the position limits bound the velocity, the distances to those bounds the effort,
    ///
    /// > τ ∈ [hold - k (v - v_min), hold - k (v - v_max)], clipped to the effort limit,
    ///
    /// with k = effort limit / (0.25 · velocity limit). ROS bounds the velocity by a straight line; here the speed is
    /// that from which the joint can still stop at constant deceleration, v_max = √(2 a d), and only the last bit is a
    /// line. An effort away from a limit is never taken away, and a joint that is too fast is braked. Beyond a limit v_max is 0:
    /// ROS drives the joint back, but a robot that was led there by hand must not move because its controller was started.
    ///
    /// It is as good as one tick: where the full effort changes the velocity by more than the limit in that time, the
    /// limit is overshot by that much and braked in the next.
    pub fn limit_effort(&self, position: &[f64], velocity: &[f64], hold: &[f64], effort: &mut [f64]) -> bool {
        let bounds = (0..self.effort.len()).map(|i| self.effort_bounds(i, position[i], velocity[i], hold[i]));
        clamp(effort, bounds)
    }

    /// The efforts (least, greatest) that joint `i` may receive at position `q` and velocity `v`.
    fn effort_bounds(&self, i: usize, q: f64, v: f64, hold: f64) -> (f64, f64) {
        let (lower, upper) = self.position[i];
        let (speed, effort) = (self.velocity[i], self.effort[i]);
        let bound = |distance: f64, v: f64, hold: f64| {
            let left = ((speed - v) / (FADE * speed)).clamp(0.0, 1.0);
            let of_position = effort / (FADE * speed) * (stopping_velocity(distance, speed) - v);
            let beyond = (v / speed - 1.0).max(0.0);
            (hold + left * (effort - hold) - beyond / BRAKING_SPAN * effort).min(hold + of_position)
        };
        let greatest = bound(upper - q, v, hold).min(effort).max(-effort);
        let least = -bound(q - lower, -v, -hold);
        (least.min(greatest).max(-effort), greatest)
    }
}

/// The greatest velocity towards a limit at `distance` from it; none beyond it.
fn approach_velocity(distance: f64, velocity_limit: f64) -> f64 {
    stopping_velocity(distance, velocity_limit).min(velocity_limit)
}

/// As [`approach_velocity`], with no regard to the velocity limit.
fn stopping_velocity(distance: f64, velocity_limit: f64) -> f64 {
    let (distance, deceleration) = (distance.max(0.0), velocity_limit / BRAKING_TIME);
    (APPROACH_RATE * distance).min((2.0 * deceleration * distance).sqrt())
}

/// A NaN becomes zero: whoever calls has checked for it, but an actuator shall never receive one.
fn clamp(values: &mut [f64], bounds: impl Iterator<Item = (f64, f64)>) -> bool {
    let mut limited = false;
    for (value, (least, greatest)) in values.iter_mut().zip(bounds) {
        let wanted = if value.is_nan() { 0.0 } else { *value };
        let allowed = wanted.min(greatest).max(least);
        limited |= allowed != *value;
        *value = allowed;
    }
    limited
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits() -> Limits {
        Limits { position: vec![(-1.0, 2.0)], velocity: vec![2.0], effort: vec![50.0] }
    }

    fn guarded(q: f64, v: f64, effort: f64) -> f64 {
        let mut efforts = [effort];
        limits().limit_effort(&[q], &[v], &[0.0], &mut efforts);
        efforts[0]
    }

    #[test]
    fn clamping_says_whether_it_limited() {
        let mut values = [60.0];
        assert!(limits().clamp_effort(&mut values));
        assert_eq!(values, [50.0]);
        assert!(!limits().clamp_effort(&mut values));
        let mut values = [-1.5];
        assert!(limits().clamp_position(&mut values) && values == [-1.0]);
        let mut values = [-3.0];
        assert!(limits().clamp_velocity(&mut values) && values == [-2.0]);
        assert_eq!(limits().first_outside(&[2.1]), Some(0));
        assert_eq!(limits().first_outside(&[f64::NAN]), Some(0));
        assert_eq!(limits().first_outside(&[2.0]), None);
    }

    #[test]
    fn in_the_middle_the_full_effort_is_available() {
        assert_eq!(guarded(0.0, 0.0, 49.0), 49.0);
        assert_eq!(guarded(0.0, 1.4, -49.0), -49.0);
        assert_eq!(guarded(0.0, 1.4, 49.0), 49.0);
        assert_eq!(guarded(0.0, 0.0, -70.0), -50.0);
    }

    #[test]
    fn a_joint_that_is_too_fast_is_not_accelerated_further() {
        for (v, braking) in [(2.0, 0.0), (2.4, 5.0), (6.0, 50.0)] {
            assert!((guarded(0.0, v, 30.0) + braking).abs() < 1e-9, "at {v}");
            assert!((guarded(0.0, -v, -30.0) - braking).abs() < 1e-9, "at {v}");
            assert_eq!(guarded(0.0, v, -50.0), -50.0);
        }
        let half = guarded(0.0, 1.75, 50.0);
        assert!((half - 25.0).abs() < 1e-12, "{half}");
        assert!(limits().any_near(&[0.0], &[-1.6]) && !limits().any_near(&[0.0], &[1.4]));
    }

    #[test]
    fn at_the_velocity_limit_the_weight_is_carried() {
        for (v, hold) in [(2.0, 20.0), (2.0, -20.0), (-2.0, 20.0)] {
            let mut effort = [50.0 * v];
            limits().limit_effort(&[0.0], &[v], &[hold], &mut effort);
            assert_eq!(effort[0], hold, "at {v}");
        }
    }

    #[test]
    fn towards_a_position_limit_the_effort_fades_away_from_it_it_does_not() {
        assert_eq!(guarded(2.0, 0.0, 30.0), 0.0);
        assert_eq!(guarded(2.0, 0.0, -30.0), -30.0);
        assert_eq!(guarded(-1.0, 0.0, -30.0), 0.0);
        let near = guarded(1.99, 0.0, 50.0);
        assert!(near > 0.0 && near < 50.0, "{near}");
        // 0.1 rad before the limit the joint could stop from sqrt(2 * 10 * 0.1) = 1.41 rad/s.
        assert!(guarded(1.9, 1.0, 50.0) > 0.0);
        assert!(guarded(1.9, 1.6, 50.0) < 0.0);
    }

    #[test]
    fn at_a_position_limit_the_weight_is_carried_and_beyond_it_nothing_is_driven_back() {
        let mut wanted = [[30.0], [0.0], [-5.0]];
        for (effort, q) in wanted.iter_mut().zip([2.0, 2.05, 2.05]) {
            limits().limit_effort(&[q], &[0.0], &[20.0], effort);
        }
        assert_eq!(wanted, [[20.0], [0.0], [-5.0]]);
        assert_eq!(guarded(2.05, 0.5, 0.0), -50.0, "moving out it is braked");
        assert!(limits().any_near(&[2.05], &[0.0]) && limits().any_near(&[-0.9], &[0.0]));
        for (q, v, allowed) in [(2.05, 1.0, 0.0), (2.05, -1.0, -1.0), (2.05, 0.0, 0.0), (-1.05, -1.0, 0.0)] {
            let mut velocity = [v];
            limits().limit_velocity(&[q], &mut velocity);
            assert_eq!(velocity[0], allowed, "{v} at {q}");
        }
        for (last, command, allowed) in
            [(2.05, 2.05, 2.05), (2.05, 2.08, 2.05), (2.05, 2.03, 2.03), (2.0, 2.05, 2.0)]
        {
            let mut position = [command];
            limits().limit_position(&[last], 0.1, &mut position);
            assert_eq!(position[0], allowed, "{command} from {last}");
        }
    }

    /// Where the guard has no say of the position the weight need not be known.
    #[test]
    fn far_from_all_limits_the_weight_does_not_matter() {
        for step in 0..300 {
            let q = -1.0 + 0.01 * f64::from(step);
            if limits().any_near(&[q], &[1.4]) {
                continue;
            }
            for v in [-1.4, 0.0, 1.4] {
                assert_eq!(
                    limits().effort_bounds(0, q, v, 0.0),
                    limits().effort_bounds(0, q, v, 20.0),
                    "{q} {v}"
                );
            }
        }
    }

    #[test]
    fn a_pushed_double_integrator_stops_at_the_limit() {
        let (inertia, dt) = (1.0, 0.002);
        let (mut q, mut v) = (0.0, 0.0);
        for _ in 0..5000 {
            v += guarded(q, v, 50.0) / inertia * dt;
            q += v * dt;
            assert!(q < 2.0 + 1e-3, "position {q}");
            assert!(v < 2.0 * 1.05, "velocity {v}");
        }
        assert!(q > 1.98);
    }

    #[test]
    fn nan_never_reaches_an_actuator() {
        assert_eq!(guarded(0.0, 0.0, f64::NAN), 0.0);
        assert!(guarded(f64::NAN, f64::NAN, 10.0).abs() <= 50.0);
    }

    proptest! {
        #[test]
        fn the_guard_is_idempotent_and_keeps_the_effort_limit(
            q in -4.0..4.0_f64, v in -10.0..10.0_f64, hold in -60.0..60.0_f64, effort in -200.0..200.0_f64,
        ) {
            let mut once = [effort];
            limits().limit_effort(&[q], &[v], &[hold], &mut once);
            let mut twice = once;
            prop_assert!(!limits().limit_effort(&[q], &[v], &[hold], &mut twice));
            prop_assert_eq!(once, twice);
            prop_assert!(once[0].abs() <= 50.0);
        }

        #[test]
        fn least_never_exceeds_greatest(q in -4.0..4.0_f64, v in -10.0..10.0_f64, hold in -60.0..60.0_f64) {
            let (least, greatest) = limits().effort_bounds(0, q, v, hold);
            prop_assert!(least <= greatest);
        }
    }
}
