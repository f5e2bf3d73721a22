//! One moving body of the recursion, and what it does in either direction.

use crate::robot::JointKind;
use nalgebra::{Isometry3, Matrix3, Rotation3, Unit, Vector3};

/// One moving body with the joint that carries it. Its frame is the joint's.
#[derive(Clone, Debug)]
pub struct Body {
    pub joint: usize,
    pub parent: Option<usize>,
    pub kind: JointKind,
    pub axis: Unit<Vector3<f64>>,
    /// Pose of the joint in the parent body at q = 0.
    pub origin: Isometry3<f64>,
    pub mass: f64,
    /// Mass times centre of mass, kg m.
    pub first_moment: Vector3<f64>,
    /// About the origin of the frame, kg m².
    pub inertia: Matrix3<f64>,
    pub motion: Motion,
}

/// What the recursion computes for a body, in its own frame.
#[derive(Clone, Debug, Default)]
pub struct Motion {
    /// Orientation and place of the body in its parent.
    pub rotation: Rotation3<f64>,
    pub place: Vector3<f64>,
    pub angular_velocity: Vector3<f64>,
    pub angular_acceleration: Vector3<f64>,
    /// Of the origin, with that of the base set to -gravity.
    pub acceleration: Vector3<f64>,
    pub force: Vector3<f64>,
    /// About the origin.
    pub moment: Vector3<f64>,
}

impl Body {
    pub fn new(
        joint: usize,
        parent: Option<usize>,
        kind: JointKind,
        axis: Unit<Vector3<f64>>,
        origin: Isometry3<f64>,
    ) -> Self {
        let (mass, first_moment, inertia) = (0.0, Vector3::zeros(), Matrix3::zeros());
        Self { joint, parent, kind, axis, origin, mass, first_moment, inertia, motion: Motion::default() }
    }

    /// Adds a mass at `centre` with `inertia` about its centre of mass, both in the body's frame.
    pub fn add_inertia(&mut self, mass: f64, centre: Vector3<f64>, inertia: Matrix3<f64>) {
        self.mass += mass;
        self.first_moment += mass * centre;
        // Parallel axes: m (cᵀc 1 - c cᵀ).
        self.inertia += inertia
            + mass * (Matrix3::from_diagonal_element(centre.norm_squared()) - centre * centre.transpose());
    }

    /// The way outwards: from the parent's motion to this body's, and the force and moment that this motion takes.
    pub fn move_with(&mut self, parent: &Motion, q: f64, v: f64, a: f64) {
        let axis = self.axis.into_inner();
        let slides = self.kind == JointKind::Prismatic;
        let turn = if slides { Rotation3::identity() } else { Rotation3::from_axis_angle(&self.axis, q) };
        let slide = if slides { self.origin.rotation * (axis * q) } else { Vector3::zeros() };
        let m = &mut self.motion;
        m.rotation = self.origin.rotation.to_rotation_matrix() * turn;
        m.place = self.origin.translation.vector + slide;

        let (w, place) = (parent.angular_velocity, m.place);
        let carried =
            parent.acceleration + parent.angular_acceleration.cross(&place) + w.cross(&w.cross(&place));
        m.angular_velocity = m.rotation.inverse_transform_vector(&w);
        m.angular_acceleration = m.rotation.inverse_transform_vector(&parent.angular_acceleration);
        m.acceleration = m.rotation.inverse_transform_vector(&carried);
        if slides {
            m.acceleration += axis * a + 2.0 * m.angular_velocity.cross(&(axis * v));
        } else {
            m.angular_acceleration += axis * a + m.angular_velocity.cross(&(axis * v));
            m.angular_velocity += axis * v;
        }

        let (w, dw) = (m.angular_velocity, m.angular_acceleration);
        m.force =
            self.mass * m.acceleration + dw.cross(&self.first_moment) + w.cross(&w.cross(&self.first_moment));
        m.moment =
            self.inertia * dw + w.cross(&(self.inertia * w)) + self.first_moment.cross(&m.acceleration);
    }

    /// The way inwards: what this body asks of its parent.
    pub fn push(&self, parent: &mut Motion) {
        let force = self.motion.rotation * self.motion.force;
        parent.force += force;
        parent.moment += self.motion.rotation * self.motion.moment + self.motion.place.cross(&force);
    }

    /// The share of force or moment that the joint bears along its axis.
    pub fn effort(&self) -> f64 {
        self.along_axis(&self.motion.force, &self.motion.moment)
    }

    /// The share of `force` or `moment`, about the body's origin, that the joint bears along its axis.
    pub fn along_axis(&self, force: &Vector3<f64>, moment: &Vector3<f64>) -> f64 {
        self.axis.dot(if self.kind == JointKind::Prismatic { force } else { moment })
    }
    /// What the joint bears of a unit of force, and of moment, along each axis of a frame that has this orientation and
    /// place in the body's; both act at that place.
    pub fn reach(&self, rotation: &Rotation3<f64>, place: &Vector3<f64>) -> (Vector3<f64>, Vector3<f64>) {
        let along = rotation.inverse_transform_vector(&self.axis);
        match self.kind {
            JointKind::Prismatic => (along, Vector3::zeros()),
            _ => (rotation.inverse_transform_vector(&self.axis.cross(place)), along),
        }
    }
}
