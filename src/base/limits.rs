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
        Ok(())
    }

    /// Largest speed of an axis in either direction, m/s or rad/s.
    pub fn speed(&self, axis: usize) -> f64 {
        self.max_velocity[axis].max(-self.min_velocity[axis])
    }

    /// Brings `twist` within the velocity limits by one factor for all axes that can move, so that a base keeps to its
    /// arc and is only slower on it; says whether it had to change. What an axis cannot do at all is taken away.
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
        if factor < 1.0 {
            for (axis, value) in twist.iter_mut().enumerate() {
                // a rounding error shall not take it over the limit
                *value = (*value * factor).clamp(self.min_velocity[axis], self.max_velocity[axis]);
            }
        }
        *twist != before
    }

    /// Brings `twist`, which follows `last` after `dt` [s], within all limits; says whether it had to change.
    /// `acceleration` is that of the last step, and becomes that of this one.
    pub fn limit(&self, last: &Twist, acceleration: &mut Twist, dt: f64, twist: &mut Twist) -> bool {
        let mut limited = self.limit_velocity(twist);
        for axis in 0..3 {
            let wanted = twist[axis];
            twist[axis] = self.reachable(axis, last[axis], acceleration[axis], dt, wanted);
            limited |= twist[axis] != wanted;
            acceleration[axis] = if dt > 0.0 { (twist[axis] - last[axis]) / dt } else { 0.0 };
            if twist[axis].abs() < self.deadband_velocity[axis] {
                twist[axis] = 0.0;
            }
        }
        limited
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
        limits.limit(&[0.0; 3], &mut [0.0; 3], 0.1, &mut twist);
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

    proptest! {
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
