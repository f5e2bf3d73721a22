//! What a base may be told: names and signs are those of Nav2's velocity_smoother, the order of the steps (jerk,
//! acceleration, velocity) that of diff_drive_controller.

use super::twist::Twist;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

const AXES: [&str; 3] = ["x", "y", "theta"];

/// Each list is [x, y, theta]: m/s, m/s, rad/s and their derivatives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TwistLimits {
    /// Not negative.
    pub max_velocity: Twist,
    /// Not positive.
    pub min_velocity: Twist,
    /// By which the speed of an axis may rise; above 0.
    pub max_accel: Twist,
    /// By which it may fall; below 0.
    pub max_decel: Twist,
    /// 0 is no limit. Braking is not slowed down by it.
    pub max_jerk: Twist,
    /// What is smaller is sent as 0.
    pub deadband_velocity: Twist,
    /// Largest speed in any direction, m/s (as in Nav2's DWB), of a base that also moves sideways; 0 is no limit beside those
    /// of the axes.
    pub max_speed_xy: f64,
    /// Of a car, m; 0 is a base that turns on the spot.
    pub min_turning_radius: f64,
}

impl Default for TwistLimits {
    fn default() -> Self {
        Self {
            max_velocity: [0.5, 0.0, 2.5],
            min_velocity: [-0.5, 0.0, -2.5],
            max_accel: [2.5, 0.0, 3.2],
            max_decel: [-2.5, 0.0, -3.2],
            max_jerk: [0.0; 3],
            deadband_velocity: [0.0; 3],
            max_speed_xy: 0.0,
            min_turning_radius: 0.0,
        }
    }
}

impl TwistLimits {
    /// Names the first list that makes no sense.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: &str, axis: usize, value: f64, expected: &str| {
            Err(Error::mismatch(format!("limits.{what}.{}", AXES[axis]), value, expected))
        };
        for axis in 0..3 {
            let not_negative = [
                ("max_velocity", self.max_velocity[axis]),
                ("max_accel", self.max_accel[axis]),
                ("max_jerk", self.max_jerk[axis]),
                ("deadband_velocity", self.deadband_velocity[axis]),
            ];
            for (what, value) in not_negative {
                if !(value.is_finite() && value >= 0.0) {
                    return refuse(what, axis, value, "a number, 0 or above");
                }
            }
            for (what, value) in
                [("min_velocity", self.min_velocity[axis]), ("max_decel", self.max_decel[axis])]
            {
                if !(value.is_finite() && value <= 0.0) {
                    return refuse(what, axis, value, "a number, 0 or below");
                }
            }
            let moves = self.max_velocity[axis] > 0.0 || self.min_velocity[axis] < 0.0;
            if moves && (self.max_accel[axis] == 0.0 || self.max_decel[axis] == 0.0) {
                return refuse("max_accel and max_decel", axis, 0.0, "not 0 on an axis that moves");
            }
        }
        self.check_of_all_axes()
    }

    fn check_of_all_axes(&self) -> Result<()> {
        let amounts = [("max_speed_xy", self.max_speed_xy), ("min_turning_radius", self.min_turning_radius)];
        if let Some((what, value)) =
            amounts.into_iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0))
        {
            return Err(Error::mismatch(format!("limits.{what}"), value, "a number, 0 or above"));
        }
        // a car at its smallest radius turns as much less as it is slower
        let along = self.max_accel[0].max(-self.max_decel[0]);
        let turning = self.max_accel[2].min(-self.max_decel[2]);
        if self.min_turning_radius * turning < along && self.min_turning_radius > 0.0 {
            let expected = format!("{:.3} or more, for what x may brake or gain", along / turning);
            return Err(Error::mismatch("limits.min_turning_radius", self.min_turning_radius, expected));
        }
        Ok(())
    }

    /// Largest speed of an axis in either direction, m/s or rad/s.
    pub fn speed(&self, axis: usize) -> f64 {
        self.max_velocity[axis].max(-self.min_velocity[axis])
    }

    /// Brings `twist` within the velocity limits by one factor for all axes that can move, so that a base keeps to its
    /// arc and is only slower on it; says whether it had to change. What an axis cannot do at all is taken away, and a car turns no
    /// tighter than it can.
    pub fn limit_velocity(&self, twist: &mut Twist) -> bool {
        let before = *twist;
        let mut factor = 1.0_f64;
        for (axis, value) in twist.iter_mut().enumerate() {
            let bound = if *value > 0.0 { self.max_velocity[axis] } else { self.min_velocity[axis] };
            if bound == 0.0 {
                *value = 0.0;
            } else {
                factor = factor.min((bound / *value).abs());
            }
        }
        let speed = twist[0].hypot(twist[1]);
        if self.max_speed_xy > 0.0 && speed > self.max_speed_xy {
            factor = factor.min(self.max_speed_xy / speed);
        }
        if factor < 1.0 {
            for (axis, value) in twist.iter_mut().enumerate() {
                // a rounding error shall not take it over the limit
                *value = (*value * factor).clamp(self.min_velocity[axis], self.max_velocity[axis]);
            }
        }
        self.limit_curvature(twist);
        *twist != before
    }

    fn limit_curvature(&self, twist: &mut Twist) {
        if self.min_turning_radius > 0.0 {
            let most = twist[0].abs() / self.min_turning_radius;
            twist[2] = twist[2].clamp(-most, most);
        }
    }

    /// Brings `twist`, which follows `last` after `dt` [s], within all limits but the dead band; says whether it had to change.
    /// `acceleration` is that of the last step, and becomes that of this one.
    pub fn limit(&self, last: &Twist, acceleration: &mut Twist, dt: f64, twist: &mut Twist) -> bool {
        let mut limited = self.limit_velocity(twist);
        let wanted = *twist;
        for axis in 0..3 {
            twist[axis] = self.reachable(axis, last[axis], acceleration[axis], dt, wanted[axis]);
        }
        if self.max_speed_xy > 0.0 {
            keep_direction(last, &wanted, twist);
        }
        self.limit_curvature(twist);
        for axis in 0..3 {
            limited |= twist[axis] != wanted[axis];
            acceleration[axis] = if dt > 0.0 { (twist[axis] - last[axis]) / dt } else { 0.0 };
        }
        limited
    }

    /// Takes for nothing what is within the dead band. What follows is reached from the twist before: else no twist would
    /// ever leave a dead band that is wider than what one step may gain.
    pub fn leave_out_small(&self, twist: &mut Twist) {
        for (value, deadband) in twist.iter_mut().zip(&self.deadband_velocity) {
            if value.abs() < *deadband {
                *value = 0.0;
            }
        }
        if self.deadband_velocity[0] > 0.0 {
            self.limit_curvature(twist);
        }
    }

    /// The velocity nearest to `wanted` that can follow `last`.
    fn reachable(&self, axis: usize, last: f64, acceleration: f64, dt: f64, wanted: f64) -> f64 {
        // a speed falls towards zero and rises from there, which may both happen in one step
        let (rise, fall) = (self.max_accel[axis] * dt, -self.max_decel[axis] * dt);
        let (mut least, mut greatest) = match last {
            last if last > fall => (last - fall, last + rise),
            last if last < -fall => (last - rise, last + fall),
            last if last >= 0.0 => ((last - fall).max(-rise), last + rise),
            last => (last - rise, (last + fall).min(rise)),
        };
        let jerk = self.max_jerk[axis];
        if jerk > 0.0 && dt > 0.0 {
            let nearest = last + acceleration * dt;
            // only what makes the base faster is held back
            if last >= 0.0 {
                greatest = greatest.min((nearest + jerk * dt * dt).max(0.0)).max(least);
            }
            if last <= 0.0 {
                least = least.max((nearest - jerk * dt * dt).min(0.0)).min(greatest);
            }
        }
        wanted.clamp(least, greatest)
    }
}

/// Takes x and y of `twist` back to the line from `last` to `wanted`, where both speeds are within the circle of the largest.
fn keep_direction(last: &Twist, wanted: &Twist, twist: &mut Twist) {
    let share = (0..2).fold(1.0_f64, |share, axis| match wanted[axis] - last[axis] {
        0.0 => share,
        whole => share.min((twist[axis] - last[axis]) / whole),
    });
    if share < 1.0 {
        (0..2).for_each(|axis| twist[axis] = last[axis] + share.max(0.0) * (wanted[axis] - last[axis]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits() -> TwistLimits {
        TwistLimits { max_accel: [1.0, 0.0, 2.0], max_decel: [-2.0, 0.0, -4.0], ..Default::default() }
    }

    #[test]
    fn a_base_that_is_asked_for_too_much_keeps_to_its_arc() {
        let mut twist = [1.0, 0.3, 1.0];
        assert!(limits().limit_velocity(&mut twist));
        assert_eq!(twist, [0.5, 0.0, 0.5]);
        let mut twist = [0.1, 0.0, -5.0];
        assert!(limits().limit_velocity(&mut twist));
        assert_eq!(twist, [0.05, 0.0, -2.5]);
        assert!(!limits().limit_velocity(&mut twist));
    }

    #[test]
    fn speeds_rise_and_fall_at_their_own_rates() {
        let step = |last: f64, wanted: f64| {
            let mut twist = [wanted, 0.0, 0.0];
            limits().limit(&[last, 0.0, 0.0], &mut [0.0; 3], 0.1, &mut twist);
            twist[0]
        };
        assert!((step(0.0, 0.4) - 0.1).abs() < 1e-12);
        assert!((step(0.4, 0.0) - 0.2).abs() < 1e-12);
        assert!((step(-0.4, 0.0) + 0.2).abs() < 1e-12);
        assert!((step(0.05, -0.4) + 0.1).abs() < 1e-12, "through zero");
    }

    #[test]
    fn jerk_holds_back_what_makes_faster_and_not_the_brakes() {
        let limits = TwistLimits { max_jerk: [2.0, 0.0, 0.0], ..limits() };
        let (mut twist, mut acceleration) = ([0.0; 3], [0.0; 3]);
        let mut steps = Vec::new();
        for _ in 0..4 {
            let last = twist;
            twist = [0.5, 0.0, 0.0];
            assert!(limits.limit(&last, &mut acceleration, 0.1, &mut twist));
            steps.push(twist[0]);
        }
        // 0.2 m/s² more each step: 0.02, 0.06, 0.12, 0.2
        steps.iter().zip([0.02, 0.06, 0.12, 0.2]).for_each(|(a, b)| assert!((a - b).abs() < 1e-12));
        let last = twist;
        twist = [0.0; 3];
        limits.limit(&last, &mut acceleration, 0.1, &mut twist);
        assert!(twist[0].abs() < 1e-12, "{twist:?}");
    }

    #[test]
    fn small_twists_are_sent_as_none() {
        let limits = TwistLimits { deadband_velocity: [0.02, 0.0, 0.1], ..limits() };
        let mut twist = [0.01, 0.0, 0.15];
        limits.leave_out_small(&mut twist);
        assert_eq!(twist, [0.0, 0.0, 0.15]);
    }

    #[test]
    fn senseless_limits_are_named() {
        let refusal = |limits: TwistLimits| limits.check().unwrap_err().to_string();
        assert!(limits().check().is_ok());
        let wrong = TwistLimits { min_velocity: [0.1, 0.0, 0.0], ..limits() };
        assert!(refusal(wrong).contains("min_velocity.x"));
        let wrong = TwistLimits { max_accel: [1.0, 0.0, f64::NAN], ..limits() };
        assert!(refusal(wrong).contains("max_accel.theta"));
        let wrong = TwistLimits { max_decel: [0.0; 3], ..limits() };
        assert!(refusal(wrong).contains("max_decel"));
    }

    fn of_a_car() -> TwistLimits {
        let accel = [1.0, 0.0, 2.0];
        TwistLimits { max_accel: accel, max_decel: accel.map(|a| -a), min_turning_radius: 0.8, ..limits() }
    }

    #[test]
    fn a_car_turns_no_tighter_than_it_can() {
        let mut twist = [0.4, 0.0, -2.0];
        assert!(of_a_car().limit_velocity(&mut twist));
        assert_eq!(twist, [0.4, 0.0, -0.5]);
        let mut twist = [0.0, 0.0, 1.0];
        assert!(of_a_car().limit_velocity(&mut twist));
        assert_eq!(twist, [0.0; 3], "not on the spot");
        let tight = TwistLimits { min_turning_radius: 0.4, ..of_a_car() };
        assert!(tight.check().unwrap_err().to_string().contains("min_turning_radius"));
        assert!(of_a_car().check().is_ok());
    }

    fn of_all_directions() -> TwistLimits {
        TwistLimits {
            max_velocity: [0.5, 0.5, 2.5],
            min_velocity: [-0.5, -0.5, -2.5],
            max_accel: [1.0, 0.5, 2.0],
            max_decel: [-2.0, -0.7, -4.0],
            max_speed_xy: 0.5,
            ..Default::default()
        }
    }

    #[test]
    fn a_base_that_moves_in_all_directions_is_as_fast_in_each() {
        let mut twist = [0.4, 0.3, 1.0];
        assert!(!of_all_directions().limit_velocity(&mut twist));
        let mut twist = [0.6, -0.8, 1.0];
        assert!(of_all_directions().limit_velocity(&mut twist));
        [0.3, -0.4, 0.5].iter().zip(twist).for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{twist:?}"));
    }

    proptest! {
        #[test]
        fn limits_of_a_car_hold_together(
            speed in -0.5..0.5_f64, share in -1.0..1.0_f64, x in -3.0..3.0_f64, w in -9.0..9.0_f64, dt in 0.001..0.2_f64,
        ) {
            let limits = of_a_car();
            let last = [speed, 0.0, share * speed / limits.min_turning_radius];
            let mut twist = [x, 0.0, w];
            limits.limit(&last, &mut [0.0; 3], dt, &mut twist);
            prop_assert!(twist[2].abs() <= twist[0].abs() / limits.min_turning_radius + 1e-12);
            prop_assert!((twist[0] - last[0]).abs() <= dt + 1e-12 && (twist[2] - last[2]).abs() <= 2.0 * dt + 1e-12);
        }

        #[test]
        fn limits_of_a_base_for_all_directions_hold_together(
            last_x in -0.35..0.35_f64, last_y in -0.35..0.35_f64, x in -3.0..3.0_f64, y in -3.0..3.0_f64, dt in 0.001..0.2_f64,
        ) {
            let limits = of_all_directions();
            let mut twist = [x, y, 0.0];
            limits.limit(&[last_x, last_y, 0.0], &mut [0.0; 3], dt, &mut twist);
            prop_assert!(twist[0].hypot(twist[1]) <= 0.5 + 1e-12);
            prop_assert!((twist[0] - last_x).abs() <= 2.0 * dt + 1e-12 && (twist[1] - last_y).abs() <= 0.7 * dt + 1e-12);
        }

        #[test]
        fn limits_hold_and_are_idempotent(
            last in -0.5..0.5_f64, turn in -2.5..2.5_f64, x in -3.0..3.0_f64, w in -9.0..9.0_f64,
            dt in 0.001..0.2_f64, jerk in 0.0..5.0_f64,
        ) {
            let limits = TwistLimits { max_jerk: [jerk, 0.0, jerk], ..limits() };
            let last = [last, 0.0, turn];
            let (mut once, mut acceleration) = ([x, 0.2, w], [0.0; 3]);
            limits.limit(&last, &mut acceleration, dt, &mut once);
            for axis in 0..3 {
                prop_assert!(once[axis] <= limits.max_velocity[axis] + 1e-12);
                prop_assert!(once[axis] >= limits.min_velocity[axis] - 1e-12);
                let most = limits.max_accel[axis].max(-limits.max_decel[axis]) * dt;
                prop_assert!((once[axis] - last[axis]).abs() <= most + 1e-12);
            }
            let mut twice = once;
            limits.limit(&last, &mut [0.0; 3], dt, &mut twice);
            prop_assert!((0..3).all(|axis| (once[axis] - twice[axis]).abs() < 1e-12));
        }
    }
}
