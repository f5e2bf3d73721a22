//! Whether a base that is on its way gets anywhere: Nav2's PoseProgressChecker, with its names and defaults; turning on the spot
//! is a way, too.

use super::twist::Pose;
use crate::robot::wrap;
use crate::state::Stamp;
use serde::{Deserialize, Serialize};

/// All 0 or above.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProgressConfig {
    /// m.
    pub required_movement_radius: f64,
    /// rad.
    pub required_movement_angle: f64,
    /// s; 0 is for ever.
    pub movement_time_allowance: f64,
}

impl Default for ProgressConfig {
    fn default() -> Self {
        Self { required_movement_radius: 0.5, required_movement_angle: 0.5, movement_time_allowance: 10.0 }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct ProgressChecker {
    config: ProgressConfig,
    /// Where the base was when it had last got anywhere.
    last: Option<(Stamp, Pose)>,
}

impl ProgressChecker {
    pub fn new(config: ProgressConfig) -> Self {
        Self { config, last: None }
    }

    /// Begins anew with the next pose.
    pub fn reset(&mut self) {
        self.last = None;
    }

    /// Whether the base, which is at `pose` now, has got nowhere for too long.
    pub fn is_stuck(&mut self, now: Stamp, pose: &Pose) -> bool {
        let ProgressConfig { required_movement_radius, required_movement_angle, movement_time_allowance } =
            self.config;
        match &self.last {
            Some((since, from))
                if (pose[0] - from[0]).hypot(pose[1] - from[1]) < required_movement_radius
                    && wrap(pose[2] - from[2]).abs() < required_movement_angle
                    && now >= *since =>
            {
                movement_time_allowance > 0.0 && now.since(*since) > movement_time_allowance
            }
            _ => {
                self.last = Some((now, *pose));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_that_gets_nowhere_for_too_long_is_stuck() {
        let mut checker = ProgressChecker::new(ProgressConfig::default());
        let mut stuck = |seconds: f64, x: f64| checker.is_stuck(Stamp::from_seconds(seconds), &[x, 0.0, 0.0]);
        assert!(!stuck(0.0, 0.0) && !stuck(9.0, 0.4));
        assert!(!stuck(10.0, 0.6), "it got somewhere");
        assert!(!stuck(20.0, 0.2));
        assert!(stuck(20.1, 1.0));
        assert!(!stuck(20.2, 1.2));
        assert!(!stuck(1.0, 1.2), "a clock that was set back");
        assert!(!stuck(11.0, 1.2) && stuck(11.1, 1.2));
        checker.reset();
        assert!(!checker.is_stuck(Stamp::from_seconds(50.0), &[1.2, 0.0, 0.0]));
        let turned = [1.2, 0.0, 0.6];
        assert!(!checker.is_stuck(Stamp::from_seconds(61.0), &turned), "it turns");
        assert!(checker.is_stuck(Stamp::from_seconds(71.1), &turned));
        let for_ever = ProgressConfig { movement_time_allowance: 0.0, ..Default::default() };
        let mut checker = ProgressChecker::new(for_ever);
        assert!(!checker.is_stuck(Stamp(0), &[0.0; 3]));
        assert!(!checker.is_stuck(Stamp::from_seconds(1e6), &[0.0; 3]));
    }
}
