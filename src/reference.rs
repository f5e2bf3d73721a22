//! What the robot shall do: a motion as a function of time since it began.

pub mod multi_sine;
pub mod point_to_point;
pub mod spline;

pub use multi_sine::{MultiSine, MultiSineConfig};
pub use point_to_point::{PointToPoint, PointToPointConfig};
pub use spline::{JointTrajectory, JointTrajectoryPoint, MissingJoints, SplineTrajectory};

/// The wanted motion at one time, in the robot's order: q_r [rad or m], v_r [rad/s or m/s], a_r [rad/s² or m/s²].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReferencePoint {
    pub position: Vec<f64>,
    pub velocity: Vec<f64>,
    pub acceleration: Vec<f64>,
}

impl ReferencePoint {
    pub fn zeros(degrees_of_freedom: usize) -> Self {
        Self::at_rest(&vec![0.0; degrees_of_freedom])
    }

    pub fn at_rest(position: &[f64]) -> Self {
        let zeros = vec![0.0; position.len()];
        Self { position: position.to_vec(), velocity: zeros.clone(), acceleration: zeros }
    }

    /// Copies `other` into `self` without allocating (both have the same size).
    pub fn copy_from(&mut self, other: &Self) {
        self.position.copy_from_slice(&other.position);
        self.velocity.copy_from_slice(&other.velocity);
        self.acceleration.copy_from_slice(&other.acceleration);
    }
}

/// A motion at one time, with the derivative of its acceleration, rad/s³ or m/s³.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MotionPoint {
    pub point: ReferencePoint,
    pub jerk: Vec<f64>,
}

impl MotionPoint {
    pub fn zeros(degrees_of_freedom: usize) -> Self {
        Self { point: ReferencePoint::zeros(degrees_of_freedom), jerk: vec![0.0; degrees_of_freedom] }
    }
}

/// A motion that can be asked for any time.
pub trait Reference {
    /// Fills `out` with the motion `time` seconds after its beginning; before it, the motion rests where it begins.
    /// Allocates nothing.
    fn sample(&self, time: f64, out: &mut ReferencePoint);

    /// Seconds until the motion comes to rest for good; infinite when it never does.
    fn duration(&self) -> f64;
}
