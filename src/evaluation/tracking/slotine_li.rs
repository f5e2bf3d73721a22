//! Adaptive control of manipulators (Slotine and Li, *On the adaptive control of robot manipulators*, IJRR 1987), the
//! classical way to learn while tracking.
//!
//! With e = q_r − q, s = ė + Λ e, v_s = v_r + Λ e and a_s = a_r + Λ ė:
//!
//! > τ = Y(q, v, v_s, a_s) θ̂ + K s,  θ̂' = Γ Yᵀ s − σ (θ̂ − θ₀)
//!
//! θ: a factor on each link's inertial parameters, the ten parameters of a load on the last link, and Coulomb and viscous
//! friction of each joint; θ₀ is the description. The leak σ keeps noise from driving θ̂ away (Ioannou and Kokotović
//! 1984). C(q, v) v_s is that of the Christoffel symbols, from the quadratic C(q, v) v by polarisation:
//! C(q, x) y = C(q, (x+y)/2) (x+y)/2 − C(q, (x−y)/2) (x−y)/2.

use crate::controller::Gains;
use crate::error::Result;
use crate::reference::ReferencePoint;
use crate::robot::dynamics::LOAD_PARAMETERS;
use crate::robot::{Dynamics, Robot};
use crate::state::State;
use nalgebra::{DMatrix, Vector3};
use serde::Serialize;

/// A unit of each parameter of the load: kg, kg m, kg m².
const LOAD_SCALE: [f64; LOAD_PARAMETERS] = [1.0, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01];
/// Coulomb friction passes through zero as tanh(v_r / 0.01 rad/s), as in [`Dynamics::friction`].
const FRICTION_VELOCITY: f64 = 0.01;
const GRAVITY: f64 = 9.81;

/// How fast is adapted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Adaptation {
    /// Γ over the squared unit of a parameter: of masses and loads, and of friction.
    pub rigid_body: f64,
    pub friction: f64,
    /// σ, 1/s.
    pub leak: f64,
}

/// See the module.
pub struct SlotineLi {
    dynamics: Dynamics,
    rotor_inertia: Vec<f64>,
    gains: Vec<Gains>,
    adaptation: Adaptation,
    /// θ₀, and a unit of each parameter.
    nominal: Vec<f64>,
    unit: Vec<f64>,
    parameters: Vec<f64>,
    /// Y [joint, parameter]
    regressor: DMatrix<f64>,
    links: DMatrix<f64>,
    load: DMatrix<f64>,
    /// s, v_s, a_s, and half the sum and half the difference of v and v_s.
    sliding: Vec<f64>,
    velocity: Vec<f64>,
    acceleration: Vec<f64>,
    half_sum: Vec<f64>,
    half_difference: Vec<f64>,
    zeros: Vec<f64>,
}

impl SlotineLi {
    /// K and Λ are such that the feedback is that of `gains`: K = d, Λ = p/d.
    pub fn new(
        robot: &Robot,
        mut dynamics: Dynamics,
        rotor_inertia: &[f64],
        gains: Vec<Gains>,
        adaptation: Adaptation,
    ) -> Result<Self> {
        let joints = robot.degrees_of_freedom();
        dynamics.set_rotor_inertia(rotor_inertia)?;
        let or_one = |value: &f64| if *value > 0.0 { *value } else { 1.0 };
        let friction = || robot.friction.iter().chain(&robot.damping);
        let rigid = vec![1.0; joints].into_iter().chain([0.0; LOAD_PARAMETERS]);
        let nominal: Vec<f64> = rigid.chain(friction().copied()).collect();
        let rigid = vec![1.0; joints].into_iter().chain(LOAD_SCALE);
        let unit = rigid.chain(friction().map(or_one)).collect();
        let zeros = vec![0.0; joints];
        Ok(Self {
            dynamics,
            rotor_inertia: rotor_inertia.to_vec(),
            gains,
            adaptation,
            parameters: nominal.clone(),
            regressor: DMatrix::zeros(joints, nominal.len()),
            nominal,
            unit,
            links: DMatrix::zeros(joints, joints),
            load: DMatrix::zeros(joints, LOAD_PARAMETERS),
            sliding: zeros.clone(),
            velocity: zeros.clone(),
            acceleration: zeros.clone(),
            half_sum: zeros.clone(),
            half_difference: zeros.clone(),
            zeros,
        })
    }

    /// Writes the effort into `out`, Nm or N: the errors are those of `state` from `reference`, the motion is that of the
    /// reference `ahead`, at which the command will act.
    pub fn command(
        &mut self,
        state: &State,
        reference: &ReferencePoint,
        ahead: &ReferencePoint,
        out: &mut [f64],
    ) {
        for (joint, gains) in self.gains.iter().enumerate() {
            let stiffness = gains.p / gains.d;
            let error = reference.position[joint] - state.position[joint];
            let error_velocity = reference.velocity[joint] - state.velocity[joint];
            self.sliding[joint] = error_velocity + stiffness * error;
            self.velocity[joint] = ahead.velocity[joint] + stiffness * error;
            self.acceleration[joint] = ahead.acceleration[joint] + stiffness * error_velocity;
            self.half_sum[joint] = 0.5 * (state.velocity[joint] + self.velocity[joint]);
            self.half_difference[joint] = 0.5 * (state.velocity[joint] - self.velocity[joint]);
        }
        self.fill_regressor(&state.position, &ahead.velocity);
        for (joint, effort) in out.iter_mut().enumerate() {
            let row = self.regressor.row(joint);
            let modelled: f64 = row.iter().zip(&self.parameters).map(|(y, parameter)| y * parameter).sum();
            let inertia = self.rotor_inertia[joint] * self.acceleration[joint];
            *effort = modelled + inertia + self.gains[joint].d * self.sliding[joint];
        }
    }

    /// Adapts by what the last command left, over `dt` [s].
    pub fn adapt(&mut self, dt: f64) {
        let rigid_body = self.links.ncols() + LOAD_PARAMETERS;
        for index in 0..self.parameters.len() {
            let rate = if index < rigid_body { self.adaptation.rigid_body } else { self.adaptation.friction };
            let gradient: f64 =
                self.regressor.column(index).iter().zip(&self.sliding).map(|(y, s)| y * s).sum();
            let departure = self.parameters[index] - self.nominal[index];
            let change = rate * self.unit[index].powi(2) * gradient - self.adaptation.leak * departure;
            self.parameters[index] += dt * change;
        }
    }

    fn fill_regressor(&mut self, position: &[f64], reference_velocity: &[f64]) {
        let joints = self.links.ncols();
        self.dynamics.link_efforts(position, &self.half_sum, &self.acceleration, &mut self.links);
        self.dynamics.load_efforts(&mut self.load);
        self.regressor.columns_mut(0, joints).copy_from(&self.links);
        self.regressor.columns_mut(joints, LOAD_PARAMETERS).copy_from(&self.load);
        self.dynamics.set_gravity(Vector3::zeros());
        self.dynamics.link_efforts(position, &self.half_difference, &self.zeros, &mut self.links);
        self.dynamics.load_efforts(&mut self.load);
        self.dynamics.set_gravity(Vector3::new(0.0, 0.0, -GRAVITY));
        let mut rigid = self.regressor.columns_mut(0, joints);
        rigid -= &self.links;
        let mut load = self.regressor.columns_mut(joints, LOAD_PARAMETERS);
        load -= &self.load;
        let friction = joints + LOAD_PARAMETERS;
        for (joint, velocity) in reference_velocity.iter().enumerate() {
            self.regressor[(joint, friction + joint)] = (velocity / FRICTION_VELOCITY).tanh();
            self.regressor[(joint, friction + joints + joint)] = self.velocity[joint];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::control_loop::ControllerConfig;
    use approx::assert_relative_eq;

    const URDF: &str = include_str!("../../../urdf/arm.urdf");
    const Q: [f64; 7] = [0.3, 0.4, -0.2, -1.4, 0.5, 1.0, 0.1];
    const V: [f64; 7] = [0.5, -0.4, 0.8, 0.3, -0.6, 0.7, -0.2];

    fn control() -> (Robot, Dynamics, SlotineLi) {
        let text = include_str!("../../../config/arm.yaml");
        let config: ControllerConfig = config::read_text(text, "config/arm.yaml", "controller").unwrap();
        let robot = Robot::from_urdf(URDF).unwrap();
        let mut dynamics = Dynamics::for_robot(URDF, &robot).unwrap();
        let gains = robot.joints.iter().map(|joint| config.gains[joint]).collect();
        let adaptation = Adaptation { rigid_body: 1.0, friction: 1.0, leak: 0.0 };
        let law = SlotineLi::new(&robot, dynamics.clone(), &[0.05; 7], gains, adaptation).unwrap();
        dynamics.set_rotor_inertia(&[0.05; 7]).unwrap();
        (robot, dynamics, law)
    }

    fn moving(velocity: [f64; 7]) -> (State, ReferencePoint) {
        let state = State { position: Q.to_vec(), velocity: V.to_vec(), ..State::zeros(7) };
        let reference = ReferencePoint {
            position: Q.to_vec(),
            velocity: velocity.to_vec(),
            acceleration: vec![1.0, -2.0, 0.5, 3.0, -1.0, 2.0, 0.3],
        };
        (state, reference)
    }

    #[test]
    fn on_the_reference_it_is_the_inverse_dynamics_of_the_description() {
        let (_, mut dynamics, mut law) = control();
        let (state, reference) = moving(V);
        let [mut found, mut expected, mut friction] = [[0.0; 7]; 3];
        law.command(&state, &reference, &reference, &mut found);
        dynamics.inverse_dynamics(&Q, &V, &reference.acceleration, &mut expected);
        dynamics.friction(&V, &mut friction);
        for joint in 0..7 {
            assert_relative_eq!(found[joint], expected[joint] + friction[joint], epsilon = 1e-10);
        }
    }

    /// The property that the proof of stability needs: M' − 2C is skew, so xᵀ(M' x/2 − C x) = 0 for every x.
    #[test]
    fn the_coriolis_matrix_is_that_of_the_christoffel_symbols() {
        let (_, mut dynamics, mut law) = control();
        let other = [0.2, 0.9, -0.3, 0.1, 0.4, -0.8, 0.6];
        let (mut state, reference) = moving(other);
        state.position = Q.to_vec();
        let mut reference_at_rest = reference.clone();
        reference_at_rest.acceleration = vec![0.0; 7];
        law.command(&state, &reference_at_rest, &reference_at_rest, &mut [0.0; 7]);
        // with e = 0: v_s = other, a_s = Λ (other − v)
        let a: Vec<f64> = law.acceleration.clone();
        let rigid: Vec<f64> = (0..7).map(|joint| law.regressor.row(joint).columns(0, 7).sum()).collect();
        let [mut still, mut ahead, mut behind] = [[0.0; 7]; 3];
        dynamics.set_rotor_inertia(&[0.0; 7]).unwrap();
        dynamics.inverse_dynamics(&Q, &[0.0; 7], &a, &mut still);
        let step = 1e-5;
        let moved = |step: f64| -> Vec<f64> { Q.iter().zip(V).map(|(q, v)| q + step * v).collect() };
        dynamics.momentum(&moved(step), &other, &mut ahead);
        dynamics.momentum(&moved(-step), &other, &mut behind);
        let skew: f64 = (0..7)
            .map(|joint| {
                let coriolis = rigid[joint] - still[joint];
                other[joint] * (0.5 * (ahead[joint] - behind[joint]) / (2.0 * step) - coriolis)
            })
            .sum();
        assert!(skew.abs() < 1e-7, "{skew}");
    }
}
