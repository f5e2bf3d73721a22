//! The equation of motion, split into what each unknown contributes: rigid-body dynamics is linear in the masses, first
//! moments and inertias of the links (Atkeson, An, Hollerbach, *Estimation of inertial parameters of manipulator loads and
//! links*, 1986). Two unknowns of all: how wrong each link is as a whole, and what else the last link carries.

use super::Dynamics;
use super::body::{Body, Motion};
use nalgebra::{DMatrix, Matrix3, Rotation3, Vector3};

/// Mass [kg], first moment [kg m] along x, y, z, inertia [kg m²] xx, yy, zz, xy, xz, yz about the origin of the link's
/// joint, in the frame of that joint.
pub const LOAD_PARAMETERS: usize = 10;

impl Dynamics {
    /// Fills `out` [joint, link] with the efforts that each link takes of [`Dynamics::inverse_dynamics`], without
    /// rotor inertia; links are in the order of the joints that move them. The sum over links is the whole.
    pub fn link_efforts(&mut self, q: &[f64], v: &[f64], a: &[f64], out: &mut DMatrix<f64>) {
        self.move_bodies(-self.gravity, q, v, a);
        out.fill(0.0);
        for body in 0..self.bodies.len() {
            let (link, motion) = (self.bodies[body].joint, &self.bodies[body].motion);
            self.bear(body, motion.force, motion.moment, |joint, effort| out[(joint, link)] = effort);
        }
    }

    /// Fills `out` [joint, parameter] with the efforts for a unit of each of the [`LOAD_PARAMETERS`] of a load on the
    /// link that most joints carry. To be called after [`Dynamics::link_efforts`], for the same motion.
    pub fn load_efforts(&self, out: &mut DMatrix<f64>) {
        out.fill(0.0);
        let Some(last) = self.last_body() else { return };
        let motion = &self.bodies[last].motion;
        let loads: [_; LOAD_PARAMETERS] = std::array::from_fn(|parameter| of_unit_load(motion, parameter));
        // Orientation and place of the link in the body that is at hand, which gives what its joint bears of any force and
        // moment on the link: two dot products.
        let (mut rotation, mut place) = (Rotation3::identity(), Vector3::zeros());
        let mut next = Some(last);
        while let Some(index) = next {
            let body = &self.bodies[index];
            let (of_force, of_moment) = body.reach(&rotation, &place);
            for (parameter, (force, moment)) in loads.iter().enumerate() {
                out[(body.joint, parameter)] = of_force.dot(force) + of_moment.dot(moment);
            }
            place = body.motion.place + body.motion.rotation * place;
            rotation = body.motion.rotation * rotation;
            next = body.parent;
        }
    }

    /// The body that hangs on the most joints.
    fn last_body(&self) -> Option<usize> {
        let depth = |body: usize| std::iter::successors(Some(body), |body| self.bodies[*body].parent).count();
        (0..self.bodies.len()).max_by_key(|body| depth(*body))
    }

    /// Tells `each` what every joint from `body` inwards bears of a force and a moment about that body's origin.
    fn bear(
        &self,
        body: usize,
        mut force: Vector3<f64>,
        mut moment: Vector3<f64>,
        mut each: impl FnMut(usize, f64),
    ) {
        let mut next = Some(body);
        while let Some(index) = next {
            let body: &Body = &self.bodies[index];
            each(body.joint, body.along_axis(&force, &moment));
            force = body.motion.rotation * force;
            moment = body.motion.rotation * moment + body.motion.place.cross(&force);
            next = body.parent;
        }
    }
}

/// Force and moment that a body with one parameter at one and all others at zero takes for `motion`.
fn of_unit_load(motion: &Motion, parameter: usize) -> (Vector3<f64>, Vector3<f64>) {
    let (w, dw, acceleration) = (motion.angular_velocity, motion.angular_acceleration, motion.acceleration);
    match parameter {
        0 => (acceleration, Vector3::zeros()),
        1..=3 => {
            let along = Vector3::ith(parameter - 1, 1.0);
            (dw.cross(&along) + w.cross(&w.cross(&along)), along.cross(&acceleration))
        }
        _ => {
            const PLACES: [(usize, usize); 6] = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)];
            let (row, column) = PLACES[parameter - 4];
            let mut inertia = Matrix3::zeros();
            inertia[(row, column)] = 1.0;
            inertia[(column, row)] = 1.0;
            (Vector3::zeros(), inertia * dw + w.cross(&(inertia * w)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::robot::dynamics::tests::{TREE, posture};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_links_make_up_the_whole(q in posture(), v in posture(), a in posture()) {
            let mut dynamics = Dynamics::from_urdf(TREE).unwrap();
            let (mut whole, mut links) = ([0.0; 4], DMatrix::zeros(4, 4));
            dynamics.inverse_dynamics(&q, &v, &a, &mut whole);
            dynamics.link_efforts(&q, &v, &a, &mut links);
            for (joint, whole) in whole.iter().enumerate() {
                prop_assert!((links.row(joint).sum() - whole).abs() < 1e-12);
            }
            // "side" hangs beside "slide" and "wrist" and bears nothing of theirs
            prop_assert_eq!((links[(3, 0)], links[(3, 2)]), (0.0, 0.0));
        }

        #[test]
        fn a_point_mass_is_a_load(q in posture(), v in posture(), a in posture(), c in posture()) {
            let mut dynamics = Dynamics::from_urdf(TREE).unwrap();
            let (mut load, mut links) = (DMatrix::zeros(4, LOAD_PARAMETERS), DMatrix::zeros(4, 4));
            dynamics.link_efforts(&q, &v, &a, &mut links);
            dynamics.load_efforts(&mut load);
            let (mut without, mut with) = ([0.0; 4], [0.0; 4]);
            dynamics.inverse_dynamics(&q, &v, &a, &mut without);
            let (mass, x, y, z) = (0.3, c[0], c[1], c[2]);
            dynamics.add_point_mass("c", mass, Vector3::new(x, y, z)).unwrap();
            dynamics.inverse_dynamics(&q, &v, &a, &mut with);
            let inertia = [y * y + z * z, x * x + z * z, x * x + y * y, -x * y, -x * z, -y * z];
            let parameters = [1.0, x, y, z].into_iter().chain(inertia);
            for joint in 0..4 {
                let sum: f64 = parameters.clone().zip(load.row(joint).iter()).map(|(p, e)| mass * p * e).sum();
                prop_assert!((with[joint] - without[joint] - sum).abs() < 1e-10);
            }
        }
    }
}
