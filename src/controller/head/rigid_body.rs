//! The part of the effort that a robot's description gets wrong, as a linear model of few weights a joint: the scale of
//! every link (its mass and all that goes with it), a load on the last link, friction, rotor inertia and an offset. A gain
//! that a drive has lost, too, is a scale of all links at its joint. Rigid-body dynamics is linear in them, so they are
//! found from a second of motion, where a network takes minutes; what they cannot say is the network's part
//! (semi-parametric learning: Nguyen-Tuong and Peters, ICRA 2010).

use crate::reference::ReferencePoint;
use crate::robot::dynamics::LOAD_PARAMETERS;
use crate::robot::{Dynamics, Robot};
use nalgebra::DMatrix;

/// Viscous friction, rotor inertia, offset; of each width Coulomb friction, and how much sooner or later than the velocity it
/// changes its sign: as with the bristles of Dahl (1968), or a simulator's soft contacts.
const OWN: usize = 3 + 2 * FRICTION_VELOCITIES.len();
/// Speeds below which Coulomb friction changes its sign smoothly, rad/s or m/s.
const FRICTION_VELOCITIES: [f64; 2] = [0.01, 0.05];
/// How wrong a description is taken to be, as standard deviations: scale of a link; mass, first moments and inertias of a
/// load in kg, kg m, kg m²; the joint's own terms as shares of its effort limit.
const LINK_SCALE: f64 = 0.3;
const LOAD: [f64; LOAD_PARAMETERS] = [1.5, 0.2, 0.2, 0.2, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05];
const FRICTION: f64 = 0.02;
/// By which friction may lead or trail the velocity, s: tanh((v + τ a)/ε) ≈ tanh(v/ε) + τ a/ε (1 − tanh²(v/ε)).
const FRICTION_LEAD: f64 = 0.003;
const DAMPING: f64 = 0.01; // at 1 rad/s
const ROTOR_INERTIA: f64 = 0.002; // at 1 rad/s²
const OFFSET: f64 = 0.01;

/// Regressors of every joint for a motion, each scaled to a prior of N(0, 1) on its weight.
#[derive(Clone, Debug)]
pub struct RigidBody {
    dynamics: Dynamics,
    effort_limit: Vec<f64>,
    links: DMatrix<f64>,
    load: DMatrix<f64>,
    /// Of the last motion, Nm or N.
    pub friction: Vec<f64>,
}

impl RigidBody {
    pub fn new(robot: &Robot, dynamics: Dynamics) -> Self {
        let joints = robot.degrees_of_freedom();
        Self {
            dynamics,
            effort_limit: robot.limits.effort.clone(),
            links: DMatrix::zeros(joints, joints),
            load: DMatrix::zeros(joints, LOAD_PARAMETERS),
            friction: vec![0.0; joints],
        }
    }

    /// Regressors of one joint.
    pub fn size(&self) -> usize {
        self.effort_limit.len() + LOAD_PARAMETERS + OWN
    }

    /// Writes the regressors [joint][regressor] of a motion, and what the description says of its effort, Nm or N.
    pub fn write(&mut self, motion: &ReferencePoint, regressors: &mut [f64], described: &mut [f64]) {
        let ReferencePoint { position: q, velocity: v, acceleration: a } = motion;
        let joints = q.len();
        self.dynamics.link_efforts(q, v, a, &mut self.links);
        self.dynamics.load_efforts(&mut self.load);
        self.dynamics.friction(v, &mut self.friction);
        let size = self.size();
        for (joint, row) in regressors.chunks_exact_mut(size).enumerate() {
            let (of_links, rest) = row.split_at_mut(joints);
            let (of_load, own) = rest.split_at_mut(LOAD_PARAMETERS);
            for (regressor, effort) in of_links.iter_mut().zip(self.links.row(joint).iter()) {
                *regressor = LINK_SCALE * effort;
            }
            for ((regressor, effort), scale) in of_load.iter_mut().zip(self.load.row(joint).iter()).zip(LOAD)
            {
                *regressor = scale * effort;
            }
            let limit = self.effort_limit[joint];
            let (motion, friction) = own.split_at_mut(3);
            motion[0] = DAMPING * limit * v[joint];
            motion[1] = ROTOR_INERTIA * limit * a[joint];
            motion[2] = OFFSET * limit;
            for (terms, width) in friction.chunks_exact_mut(2).zip(FRICTION_VELOCITIES) {
                let sign = (v[joint] / width).tanh();
                terms[0] = FRICTION * limit * sign;
                terms[1] = FRICTION * limit * FRICTION_LEAD * a[joint] / width * (1.0 - sign * sign);
            }
            described[joint] = self.links.row(joint).sum()
                + self.dynamics.rotor_inertia()[joint] * a[joint]
                + self.friction[joint];
        }
    }
}
