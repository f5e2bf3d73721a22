//! The geometry of a robot's coordinates: the one place that knows a joint from a base in the plane.

use serde::{Deserialize, Serialize};

/// What the coordinates of a robot's states mean. A *local* displacement is seen from where it starts: for joints it
/// is the difference, for a base it is [forward m, left m, turn rad] in the frame of the base at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// One joint a coordinate, rad or m; velocities are the derivatives of the positions.
    #[default]
    Joints,
    /// A base in the plane: position [x, y, yaw] in its odometry frame [m, m, rad, yaw unwrapped], velocity
    /// [vx, vy, wz] in the frame of the base [m/s, m/s, rad/s] (REP 105).
    PlanarBase,
}

impl Space {
    /// Coordinates that depend on each other and are predicted together: all of a base, each joint by itself.
    pub fn coupled(self, coordinates: usize) -> usize {
        match self {
            Self::Joints => 1,
            Self::PlanarBase => coordinates,
        }
    }

    /// Whether a robot can have so many coordinates.
    pub fn allows(self, coordinates: usize) -> bool {
        match self {
            Self::Joints => coordinates > 0,
            Self::PlanarBase => coordinates == 3,
        }
    }

    /// Fills `local` with the displacement after `time` [s] at constant `velocity`: of a base, along an arc.
    pub fn displacement(self, velocity: &[f64], time: f64, local: &mut [f64]) {
        for (local, velocity) in local.iter_mut().zip(velocity) {
            *local = velocity * time;
        }
        if let (Self::PlanarBase, [vx, vy, wz], [x, y, _]) = (self, velocity, local) {
            let (along, across) = arc(wz * time);
            *x = (vx * along - vy * across) * time;
            *y = (vx * across + vy * along) * time;
        }
    }

    /// Fills `local` with the displacement that leads from position `from` to position `to`.
    pub fn difference(self, from: &[f64], to: &[f64], local: &mut [f64]) {
        for ((local, from), to) in local.iter_mut().zip(from).zip(to) {
            *local = to - from;
        }
        if let (Self::PlanarBase, [_, _, yaw], [x, y, _]) = (self, from, local) {
            (*x, *y) = rotate(-yaw, *x, *y);
        }
    }

    /// Fills `to` with the position that the displacement `local` leads to from position `from`.
    pub fn integrate(self, from: &[f64], local: &[f64], to: &mut [f64]) {
        for ((to, from), local) in to.iter_mut().zip(from).zip(local) {
            *to = from + local;
        }
        if let (Self::PlanarBase, [from_x, from_y, yaw], [x, y, _], [to_x, to_y, _]) = (self, from, local, to)
        {
            let (along_x, along_y) = rotate(*yaw, *x, *y);
            (*to_x, *to_y) = (from_x + along_x, from_y + along_y);
        }
    }

    /// Turns a velocity [vx, vy, ..] of a base by `angle` [rad]; that of joints stays.
    pub fn turn(self, angle: f64, velocity: &mut [f64]) {
        if let (Self::PlanarBase, [vx, vy, _]) = (self, velocity) {
            (*vx, *vy) = rotate(angle, *vx, *vy);
        }
    }
}

fn rotate(angle: f64, x: f64, y: f64) -> (f64, f64) {
    let (sin, cos) = angle.sin_cos();
    (cos * x - sin * y, sin * x + cos * y)
}

/// sin(φ)/φ and (1 - cos φ)/φ: how far an arc that turns by φ leads along and across its first direction, per length.
fn arc(angle: f64) -> (f64, f64) {
    if angle.abs() < 1e-6 {
        return (1.0, 0.5 * angle);
    }
    (angle.sin() / angle, (1.0 - angle.cos()) / angle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::{FRAC_PI_2, PI};

    #[test]
    fn a_base_drives_arcs() {
        let mut local = [0.0; 3];
        // a quarter of a circle of radius 2 m to the left
        Space::PlanarBase.displacement(&[PI, 0.0, FRAC_PI_2], 1.0, &mut local);
        local
            .iter()
            .zip([2.0, 2.0, FRAC_PI_2])
            .for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{local:?}"));
        // from (1, 1), looking along y
        let mut to = [0.0; 3];
        Space::PlanarBase.integrate(&[1.0, 1.0, FRAC_PI_2], &local, &mut to);
        to.iter().zip([-1.0, 3.0, PI]).for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{to:?}"));
        let mut back = [0.0; 3];
        Space::PlanarBase.difference(&[1.0, 1.0, FRAC_PI_2], &to, &mut back);
        back.iter().zip(local).for_each(|(a, b)| assert!((a - b).abs() < 1e-12));
        // almost straight: no jump where the series takes over
        for rate in [0.99e-6, 1.01e-6] {
            Space::PlanarBase.displacement(&[1.0, 0.2, rate], 1.0, &mut local);
            assert!((local[0] - 1.0).abs() < 1e-6 && (local[1] - 0.2 - 0.5 * rate).abs() < 1e-9);
        }
    }

    #[test]
    fn joints_add() {
        let mut out = [0.0; 2];
        Space::Joints.displacement(&[1.0, -2.0], 0.5, &mut out);
        assert_eq!(out, [0.5, -1.0]);
        Space::Joints.difference(&[1.0, 2.0], &[3.0, 1.0], &mut out);
        assert_eq!(out, [2.0, -1.0]);
        let mut velocity = [1.0, 2.0];
        Space::Joints.turn(1.0, &mut velocity);
        assert_eq!(velocity, [1.0, 2.0]);
        assert_eq!((Space::Joints.coupled(3), Space::PlanarBase.coupled(3)), (1, 3));
    }
}
