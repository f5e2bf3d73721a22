//! The law that needs no learning: tracking of a moving reference pose.
//!
//! Kanayama, Kimura, Miyazaki, Noguchi: A stable tracking control method for an autonomous mobile robot, ICRA 1990:
//! with the error [e_x, e_y, e_θ] of the pose in the frame of the base,
//!
//! > v = v_r cos e_θ + K_x e_x,  ω = ω_r + v_r (K_y e_y + K_θ sin e_θ)
//!
//! (of a base that turns on the spot with v_r (cos e_θ)⁺: one that looks the other way turns first, and does not drive backward)
//! so that one pair K_y, K_θ gives the same path at every speed. A rotation on the spot has v_r = 0 and would get no
//! feedback, so the heading's gain is K_θ max(|v_r|, 0.1 m/s).
//!
//! A base that can also move sideways needs none of this: its pose is linear in its twist over the floor (Campion, Bastin,
//! d'Andréa-Novel: Structural properties and classification of kinematic and dynamic models of wheeled mobile robots, 1996),
//! so the reference's twist, turned by e_θ into the frame of the base, and K_x e_x, K_y e_y, K_θ sin e_θ make each error
//! decay by itself.

use super::twist::{Pose, Twist, pose_error};
use crate::error::{Error, Result};
use crate::reference::ReferencePoint;
use serde::{Deserialize, Serialize};

/// Speed below which the heading is fed back as at this one, m/s.
const CREEP: f64 = 0.1;

/// How a base can move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drive {
    /// Forward and backward, and turning, also on the spot.
    #[default]
    Differential,
    /// As a car: turning only while it moves.
    Ackermann,
    /// In all directions.
    Omnidirectional,
}

/// Gains of the law.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrackerConfig {
    /// K_x, 1/s.
    pub k_x: f64,
    /// K_y, 1/m² (omnidirectional: 1/s).
    pub k_y: f64,
    /// K_θ, 1/m (omnidirectional: 1/s).
    pub k_theta: f64,
    /// Of the integrals of e_x and e_y beside them, relative to K_x and K_y, 1/s; 0 for none.
    pub integral: f64,
    /// Bound of either integral, m s.
    pub integral_clamp: f64,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        // ω² = K_y, 2 ζ ω = K_θ per metre of path: critically damped over a quarter of a metre
        Self { k_x: 2.0, k_y: 16.0, k_theta: 8.0, integral: 0.0, integral_clamp: 0.5 }
    }
}

impl TrackerConfig {
    pub fn check(&self) -> Result<()> {
        let gains = [
            ("k_x", self.k_x),
            ("k_y", self.k_y),
            ("k_theta", self.k_theta),
            ("integral", self.integral),
            ("integral_clamp", self.integral_clamp),
        ];
        match gains.into_iter().find(|(_, gain)| !(gain.is_finite() && *gain >= 0.0)) {
            Some((what, gain)) => {
                Err(Error::mismatch(format!("tracker.{what}"), gain, "a number, 0 or above"))
            }
            None => Ok(()),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Tracker {
    config: TrackerConfig,
    drive: Drive,
    /// Of e_x and e_y, m s.
    integral: [f64; 2],
    error: Pose,
}

impl Tracker {
    pub fn new(config: TrackerConfig, drive: Drive) -> Self {
        Self { config, drive, integral: [0.0; 2], error: [0.0; 3] }
    }

    pub fn reset(&mut self) {
        self.integral = [0.0; 2];
    }

    /// The error of the last command: what leads from the base to the reference, m, m, rad.
    pub fn error(&self) -> &Pose {
        &self.error
    }

    /// The twist at `pose` for `reference`; integrals grow over `dt` [s] unless `limited`.
    pub fn command(&mut self, pose: &Pose, reference: &ReferencePoint, dt: f64, limited: bool) -> Twist {
        let [Some(x), Some(y), Some(yaw)] = [0, 1, 2].map(|i| reference.position.get(i).copied()) else {
            return [0.0; 3];
        };
        self.error = pose_error(pose, &[x, y, yaw]);
        let mut wanted = [0.0; 3];
        wanted.iter_mut().zip(&reference.velocity).for_each(|(wanted, velocity)| *wanted = *velocity);
        self.integrate(wanted[0], dt, limited);
        match self.drive {
            Drive::Omnidirectional => self.in_all_directions(wanted),
            Drive::Differential | Drive::Ackermann => self.along_the_path(wanted),
        }
    }

    fn integrate(&mut self, speed: f64, dt: f64, limited: bool) {
        if self.config.integral == 0.0 || limited {
            return;
        }
        let across = match self.drive {
            Drive::Omnidirectional => self.error[1],
            // steering acts across the path only as fast as the base moves, and the other way round backward
            Drive::Differential | Drive::Ackermann => self.error[1] * (speed.abs() / CREEP).min(1.0),
        };
        for (integral, error) in self.integral.iter_mut().zip([self.error[0], across]) {
            let bound = self.config.integral_clamp;
            *integral = (*integral + error * dt).clamp(-bound, bound);
        }
    }

    fn along_the_path(&self, [speed, _, turn]: Twist) -> Twist {
        let [ex, ey, etheta] = self.error;
        let TrackerConfig { k_x, k_y, k_theta, integral, .. } = self.config;
        let [along, across] = self.integral.map(|sum| integral * sum);
        let heading = match self.drive {
            Drive::Ackermann => speed.abs(),
            _ => speed.abs().max(CREEP),
        };
        let forward = match self.drive {
            Drive::Ackermann => etheta.cos(), // it turns only while it moves
            _ => etheta.cos().max(0.0),
        };
        [
            speed * forward + k_x * (ex + along),
            0.0,
            turn + speed * k_y * (ey + across) + heading * k_theta * etheta.sin(),
        ]
    }

    fn in_all_directions(&self, [vx, vy, turn]: Twist) -> Twist {
        let [ex, ey, etheta] = self.error;
        let TrackerConfig { k_x, k_y, k_theta, integral, .. } = self.config;
        let [along, across] = self.integral.map(|sum| integral * sum);
        let (sin, cos) = etheta.sin_cos();
        [
            cos * vx - sin * vy + k_x * (ex + along),
            sin * vx + cos * vy + k_y * (ey + across),
            turn + k_theta * sin,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Space;

    fn reference(position: Pose, velocity: Twist) -> ReferencePoint {
        ReferencePoint {
            position: position.to_vec(),
            velocity: velocity.to_vec(),
            acceleration: vec![0.0; 3],
        }
    }

    #[test]
    fn on_the_reference_the_twist_is_the_references() {
        for drive in [Drive::Differential, Drive::Ackermann, Drive::Omnidirectional] {
            let mut tracker = Tracker::new(TrackerConfig::default(), drive);
            let twist =
                tracker.command(&[1.0, 2.0, 0.5], &reference([1.0, 2.0, 0.5], [0.4, 0.0, 0.3]), 0.1, false);
            assert_eq!(twist, [0.4, 0.0, 0.3]);
        }
    }

    #[test]
    fn the_law_is_that_of_the_paper() {
        let mut tracker = Tracker::new(TrackerConfig::default(), Drive::Differential);
        // 0.1 m ahead, 0.2 m to the left, turned by 0.3 rad
        let twist = tracker.command(&[0.0; 3], &reference([0.1, 0.2, 0.3], [0.5, 0.0, 0.1]), 0.1, false);
        let expected = [0.5 * f64::cos(0.3) + 2.0 * 0.1, 0.0, 0.1 + 0.5 * (16.0 * 0.2 + 8.0 * f64::sin(0.3))];
        twist.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{twist:?}"));
    }

    /// How far [m] a perfect base is from a line or a circle after 12 s, when it starts beside it.
    fn left_after(drive: Drive, speed: f64, turn: f64) -> f64 {
        let mut tracker = Tracker::new(TrackerConfig::default(), drive);
        let (mut pose, mut goal) = ([-0.2, 0.3, -0.4], [0.0; 3]);
        for _ in 0..600 {
            let twist = tracker.command(&pose, &reference(goal, [speed, 0.0, turn]), 0.02, false);
            for (pose, twist) in [(&mut pose, twist), (&mut goal, [speed, 0.0, turn])] {
                let (from, mut local) = (*pose, [0.0; 3]);
                Space::PlanarBase.displacement(&twist, 0.02, &mut local);
                Space::PlanarBase.integrate(&from, &local, pose);
            }
        }
        let error = pose_error(&pose, &goal);
        error[0].hypot(error[1]) + error[2].abs()
    }

    #[test]
    fn a_base_beside_its_path_gets_onto_it_forward_and_backward() {
        for drive in [Drive::Differential, Drive::Ackermann, Drive::Omnidirectional] {
            for (speed, turn) in [(0.5, 0.0), (0.4, 0.5), (-0.4, 0.0), (-0.4, 0.3)] {
                let left = left_after(drive, speed, turn);
                assert!(left < 0.01, "{drive:?} {speed} {turn}: {left}");
            }
        }
    }

    #[test]
    fn integrals_take_off_what_a_slow_base_leaves_and_stop_at_limits() {
        let config = TrackerConfig { integral: 1.0, ..Default::default() };
        let lag_of = |config| {
            let mut tracker = Tracker::new(config, Drive::Differential);
            let (mut x, mut goal) = (0.0, 0.0);
            for _ in 0..1000 {
                let twist = tracker.command(
                    &[x, 0.0, 0.0],
                    &reference([goal, 0.0, 0.0], [0.4, 0.0, 0.0]),
                    0.02,
                    false,
                );
                x += 0.9 * twist[0] * 0.02;
                goal += 0.4 * 0.02;
            }
            goal - x
        };
        let (with, without) = (lag_of(config), lag_of(TrackerConfig::default()));
        assert!(with.abs() < 1e-3 && without > 0.02, "{with} {without}");
        let mut tracker = Tracker::new(config, Drive::Differential);
        tracker.command(&[0.0; 3], &reference([1.0, 0.0, 0.0], [0.4, 0.0, 0.0]), 0.1, true);
        assert_eq!(tracker.integral, [0.0; 2]);
        tracker.command(&[0.0; 3], &reference([100.0, 0.0, 0.0], [0.4, 0.0, 0.0]), 0.1, false);
        assert_eq!(tracker.integral[0], 0.5);
    }
}
