//! Rigid-body dynamics of a fixed-base tree of links from its URDF: the recursive Newton-Euler algorithm (Featherstone,
//! *Rigid Body Dynamics Algorithms*, 2008, Table 5.1; here with 3-vectors about each link's own origin, as in Craig,
//! *Introduction to Robotics*, section 6.5).
//!
//! > τ = M(q) q̈ + C(q, q̇) q̇ + g(q)
//!
//! SI units. Links that hang on fixed joints, or on joints that are not driven, are lumped into the body that carries
//! them. Friction is kept apart. All buffers are made at construction.

mod body;
mod regressor;

pub use regressor::LOAD_PARAMETERS;

use crate::error::{Error, Result};
use crate::robot::{Robot, urdf};
use body::{Body, Motion};
use nalgebra::{DMatrix, Isometry3, Matrix3, Point3, Translation3, Unit, UnitQuaternion, Vector3};
use std::collections::HashMap;

/// Coulomb friction passes through zero as tanh(v / 0.01 rad/s).
const FRICTION_VELOCITY: f64 = 0.01;
/// Step of the central difference in [`Dynamics::momentum_bias`], s.
const DIFFERENCE_STEP: f64 = 1e-4;

/// Inverse dynamics of the joints of one robot, in its order.
#[derive(Clone, Debug)]
pub struct Dynamics {
    /// Parents come before their children; `Body::joint` is the place in the robot's order.
    bodies: Vec<Body>,
    /// Which body carries a link (`None`: the base), and the pose of the link in it.
    links: HashMap<String, Carrier>,
    gravity: Vector3<f64>,
    friction: Vec<f64>,
    damping: Vec<f64>,
    /// Of the motor, seen at the joint, kg m² (or kg).
    rotor_inertia: Vec<f64>,
    /// Of drives that take velocities, s.
    drive_lag: f64,
    scratch: Scratch,
}

#[derive(Clone, Debug)]
struct Scratch {
    zeros: Vec<f64>,
    unit: Vec<f64>,
    effort: Vec<f64>,
    position: Vec<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Carrier {
    body: Option<usize>,
    pose: Isometry3<f64>,
}

impl Dynamics {
    /// For all joints that [`Robot::from_urdf`] finds, in its order; gravity is 9.81 m/s² along -z of the root link.
    pub fn from_urdf(xml: &str) -> Result<Self> {
        Self::for_robot(xml, &Robot::from_urdf(xml)?)
    }

    /// For the joints of `robot`, in its order; every other joint of the URDF rests at zero.
    pub fn for_robot(xml: &str, robot: &Robot) -> Result<Self> {
        let description = urdf::parse(xml)?;
        let n = robot.degrees_of_freedom();
        let mut dynamics = Self {
            bodies: Vec::with_capacity(n),
            links: HashMap::from([(
                root(&description)?,
                Carrier { body: None, pose: Isometry3::identity() },
            )]),
            gravity: Vector3::new(0.0, 0.0, -9.81),
            friction: robot.friction.clone(),
            damping: robot.damping.clone(),
            rotor_inertia: vec![0.0; n],
            drive_lag: 0.0,
            scratch: Scratch {
                zeros: vec![0.0; n],
                unit: vec![0.0; n],
                effort: vec![0.0; n],
                position: vec![0.0; n],
            },
        };
        dynamics.attach_joints(&description, robot)?;
        for link in &description.links {
            dynamics.attach_inertia(link)?;
        }
        dynamics.check_masses(robot)?;
        Ok(dynamics)
    }

    pub fn degrees_of_freedom(&self) -> usize {
        self.bodies.len()
    }

    /// Gravity in the frame of the root link, m/s²: for a robot that hangs from a wall or a ceiling.
    pub fn set_gravity(&mut self, gravity: Vector3<f64>) {
        self.gravity = gravity;
    }

    /// Inertia of the motors seen at the joints, kg m² (kg for a slide); a URDF has no word for it. Only the part that
    /// resists acceleration is modelled (Featherstone 2008, section 9.6).
    pub fn set_rotor_inertia(&mut self, inertia: &[f64]) -> Result<()> {
        if inertia.len() != self.bodies.len() {
            return Err(Error::mismatch(
                "rotor_inertia",
                format!("{} numbers", inertia.len()),
                format!("{}, one for each joint that is controlled, in their order", self.bodies.len()),
            ));
        }
        self.rotor_inertia.copy_from_slice(inertia);
        Ok(())
    }

    pub fn rotor_inertia(&self) -> &[f64] {
        &self.rotor_inertia
    }

    /// Time constant with which drives that take velocities are known to follow, s.
    pub fn set_drive_lag(&mut self, lag: f64) {
        self.drive_lag = lag;
    }

    pub fn drive_lag(&self) -> f64 {
        self.drive_lag
    }

    /// Writes the velocities v + τ a to command for a motion, as far as the drives' lag τ is known, [joint].
    pub fn drive_command(&self, velocity: &[f64], acceleration: &[f64], out: &mut [f64]) {
        for ((out, velocity), acceleration) in out.iter_mut().zip(velocity).zip(acceleration) {
            *out = velocity + self.drive_lag * acceleration;
        }
    }

    /// Adds a point mass, kg, that is fixed to `link` at `position`, m in the link's frame.
    pub fn add_point_mass(&mut self, link: &str, mass: f64, position: Vector3<f64>) -> Result<()> {
        let carrier = *self.links.get(link).ok_or_else(|| Error::Urdf {
            robot: "?".into(),
            problem: format!("it has no link '{link}' to carry a point mass"),
        })?;
        if let Some(body) = carrier.body {
            self.bodies[body].add_inertia(
                mass,
                (carrier.pose * Point3::from(position)).coords,
                Matrix3::zeros(),
            );
        }
        Ok(())
    }

    /// The efforts τ that cause acceleration `a` at position `q` and velocity `v`, without friction.
    pub fn inverse_dynamics(&mut self, q: &[f64], v: &[f64], a: &[f64], out: &mut [f64]) {
        self.newton_euler(-self.gravity, q, v, a, out);
    }

    /// g(q): the efforts that hold the robot at rest.
    pub fn gravity(&mut self, q: &[f64], out: &mut [f64]) {
        let zeros = std::mem::take(&mut self.scratch.zeros);
        self.newton_euler(-self.gravity, q, &zeros, &zeros, out);
        self.scratch.zeros = zeros;
    }

    /// Efforts that friction takes at velocity `v`: c·tanh(v/ε) + d·v with the URDF's Coulomb friction c and damping d.
    pub fn friction(&self, v: &[f64], out: &mut [f64]) {
        for i in 0..out.len() {
            out[i] = self.friction[i] * (v[i] / FRICTION_VELOCITY).tanh() + self.damping[i] * v[i];
        }
    }

    /// M(q), column by column: the efforts for a unit acceleration of one joint (Featherstone 2008, section 6.1).
    pub fn mass_matrix(&mut self, q: &[f64], out: &mut DMatrix<f64>) {
        let mut unit = std::mem::take(&mut self.scratch.unit);
        let mut effort = std::mem::take(&mut self.scratch.effort);
        for column in 0..self.bodies.len() {
            unit[column] = 1.0;
            self.momentum(q, &unit, &mut effort);
            unit[column] = 0.0;
            out.column_mut(column).copy_from_slice(&effort);
        }
        (self.scratch.unit, self.scratch.effort) = (unit, effort);
    }

    /// The generalized momentum p = M(q) v.
    pub fn momentum(&mut self, q: &[f64], v: &[f64], out: &mut [f64]) {
        let zeros = std::mem::take(&mut self.scratch.zeros);
        self.newton_euler(Vector3::zeros(), q, &zeros, v, out);
        self.scratch.zeros = zeros;
    }

    /// C(q, v)ᵀ v - g(q), which with ṗ = τ + Cᵀ v - g makes the generalized-momentum disturbance observer (De Luca,
    /// Albu-Schäffer, Haddadin, Hirzinger, IROS 2006). Cᵀ v = Ṁ v - C v, with Ṁ v from a central difference along v.
    pub fn momentum_bias(&mut self, q: &[f64], v: &[f64], out: &mut [f64]) {
        let mut moved = std::mem::take(&mut self.scratch.position);
        let mut effort = std::mem::take(&mut self.scratch.effort);
        let zeros = std::mem::take(&mut self.scratch.zeros);
        self.newton_euler(-self.gravity, q, v, &zeros, out);
        self.scratch.zeros = zeros;
        out.iter_mut().for_each(|value| *value = -*value);
        for step in [DIFFERENCE_STEP, -DIFFERENCE_STEP] {
            for i in 0..q.len() {
                moved[i] = q[i] + step * v[i];
            }
            self.momentum(&moved, v, &mut effort);
            for i in 0..q.len() {
                out[i] += effort[i] / (2.0 * step);
            }
        }
        (self.scratch.position, self.scratch.effort) = (moved, effort);
    }

    /// Table 5.1 of Featherstone 2008: velocities and accelerations from the base outwards, forces back inwards.
    fn newton_euler(
        &mut self,
        base_acceleration: Vector3<f64>,
        q: &[f64],
        v: &[f64],
        a: &[f64],
        out: &mut [f64],
    ) {
        self.move_bodies(base_acceleration, q, v, a);
        for i in (0..self.bodies.len()).rev() {
            let (before, rest) = self.bodies.split_at_mut(i);
            let body = &rest[0];
            out[body.joint] = body.effort() + self.rotor_inertia[body.joint] * a[body.joint];
            if let Some(parent) = body.parent {
                body.push(&mut before[parent].motion);
            }
        }
    }

    /// The way outwards: what every body does, and the force and moment that this takes.
    fn move_bodies(&mut self, base_acceleration: Vector3<f64>, q: &[f64], v: &[f64], a: &[f64]) {
        let base = Motion { acceleration: base_acceleration, ..Motion::default() };
        for i in 0..self.bodies.len() {
            let (before, rest) = self.bodies.split_at_mut(i);
            let body = &mut rest[0];
            let parent = body.parent.map_or(&base, |parent| &before[parent].motion);
            body.move_with(parent, q[body.joint], v[body.joint], a[body.joint]);
        }
    }

    /// Walks from the root outwards over every joint: a driven one starts a body, any other prolongs the one it is on.
    fn attach_joints(&mut self, description: &urdf_rs::Robot, robot: &Robot) -> Result<()> {
        let mut waiting: Vec<&urdf_rs::Joint> = description.joints.iter().collect();
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut later = Vec::new();
            for joint in waiting {
                match self.links.get(&joint.parent.link).copied() {
                    Some(parent) => self.attach_joint(joint, parent, robot)?,
                    None => later.push(joint),
                }
            }
            if later.len() == before {
                return Err(urdf::problem(
                    later[0],
                    format!("no path from the root to '{}'", later[0].parent.link),
                ));
            }
            waiting = later;
        }
        Ok(())
    }

    fn attach_joint(&mut self, joint: &urdf_rs::Joint, parent: Carrier, robot: &Robot) -> Result<()> {
        let origin = parent.pose * isometry(&joint.origin);
        let driven = match robot.index_of(&joint.name) {
            Some(index) => urdf::kind_of(joint)?.zip(Some(index)),
            None => None,
        };
        let carrier = match driven {
            None => Carrier { body: parent.body, pose: origin },
            Some((kind, index)) => {
                let axis = Unit::try_new(Vector3::from(*joint.axis.xyz), 1e-9);
                let axis = axis.ok_or_else(|| urdf::problem(joint, "its <axis> is zero".into()))?;
                self.bodies.push(Body::new(index, parent.body, kind, axis, origin));
                Carrier { body: Some(self.bodies.len() - 1), pose: Isometry3::identity() }
            }
        };
        if self.links.insert(joint.child.link.clone(), carrier).is_some() {
            return Err(urdf::problem(joint, format!("link '{}' already has a parent", joint.child.link)));
        }
        Ok(())
    }

    fn attach_inertia(&mut self, link: &urdf_rs::Link) -> Result<()> {
        let Some(Carrier { body: Some(body), pose }) = self.links.get(&link.name).copied() else {
            return Ok(());
        };
        let centre = pose * isometry(&link.inertial.origin);
        let i = &link.inertial.inertia;
        let tensor = Matrix3::new(i.ixx, i.ixy, i.ixz, i.ixy, i.iyy, i.iyz, i.ixz, i.iyz, i.izz);
        let rotation = centre.rotation.to_rotation_matrix();
        let tensor = rotation * tensor * rotation.transpose();
        let mass = link.inertial.mass.value;
        if !(mass >= 0.0
            && mass.is_finite()
            && tensor.iter().chain(centre.translation.vector.iter()).all(|x| x.is_finite()))
        {
            return Err(Error::Urdf {
                robot: "?".into(),
                problem: format!(
                    "<inertial> of link '{}' is not finite or its mass {mass} is negative",
                    link.name
                ),
            });
        }
        self.bodies[body].add_inertia(mass, centre.translation.vector, tensor);
        Ok(())
    }

    fn check_masses(&self, robot: &Robot) -> Result<()> {
        match self.bodies.iter().find(|body| body.mass <= 0.0) {
            None => Ok(()),
            Some(body) => Err(Error::Joint {
                joint: robot.joints[body.joint].clone(),
                problem: "the link that it moves has no mass, which is needed whatever is commanded; give it an <inertial>".into(),
            }),
        }
    }
}

/// The one link that is nobody's child.
fn root(description: &urdf_rs::Robot) -> Result<String> {
    let is_child = |link: &str| description.joints.iter().any(|joint| joint.child.link == link);
    let mut roots = description.links.iter().map(|link| &link.name).filter(|name| !is_child(name));
    match (roots.next(), roots.next()) {
        (Some(root), None) => Ok(root.clone()),
        (first, second) => Err(Error::Urdf {
            robot: description.name.clone(),
            problem: format!("it needs exactly one root link, found {first:?} and {second:?}"),
        }),
    }
}

/// URDF: roll, pitch, yaw about fixed axes, in this order.
fn isometry(pose: &urdf_rs::Pose) -> Isometry3<f64> {
    let [roll, pitch, yaw] = *pose.rpy;
    Isometry3::from_parts(
        Translation3::from(Vector3::from(*pose.xyz)),
        UnitQuaternion::from_euler_angles(roll, pitch, yaw),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use proptest::prelude::*;

    const G: f64 = 9.81;

    /// A point mass of 2 kg, 0.5 m out along x, that turns about y: positive q lowers it.
    const PENDULUM: &str = r#"<robot name="pendulum"><link name="base"/>
        <link name="rod"><inertial><origin xyz="0.5 0 0"/><mass value="2"/>
          <inertia ixx="0" ixy="0" ixz="0" iyy="0.1" iyz="0" izz="0"/></inertial></link>
        <joint name="swing" type="continuous"><parent link="base"/><child link="rod"/><axis xyz="0 2 0"/>
          <limit effort="50" velocity="5"/><dynamics damping="0.5" friction="0.3"/></joint></robot>"#;

    /// Four joints, skew axes, turned origins, a slide in between, products of inertia, a lumped tool.
    pub const TREE: &str = r#"<robot name="tree"><link name="base"/>
        <link name="a"><inertial><origin xyz="0.1 -0.02 0.2" rpy="0.3 0.1 -0.7"/><mass value="3"/>
          <inertia ixx="0.05" ixy="0.004" ixz="-0.003" iyy="0.06" iyz="0.002" izz="0.04"/></inertial></link>
        <link name="b"><inertial><origin xyz="0 0.1 0.05"/><mass value="2"/>
          <inertia ixx="0.02" ixy="0" ixz="0" iyy="0.03" iyz="0.001" izz="0.02"/></inertial></link>
        <link name="c"><inertial><origin xyz="0.05 0 0.1" rpy="0 0.4 0"/><mass value="1"/>
          <inertia ixx="0.01" ixy="0.001" ixz="0" iyy="0.012" iyz="0" izz="0.008"/></inertial></link>
        <link name="tool"><inertial><origin xyz="0 0 0.1"/><mass value="0.5"/>
          <inertia ixx="0.001" ixy="0" ixz="0" iyy="0.002" iyz="0" izz="0.001"/></inertial></link>
        <link name="branch"><inertial><origin xyz="0.2 0 0"/><mass value="0.7"/>
          <inertia ixx="0.001" ixy="0" ixz="0" iyy="0.003" iyz="0" izz="0.003"/></inertial></link>
        <joint name="wrist" type="revolute"><origin xyz="0.1 0 0.3" rpy="-0.3 0.8 0.2"/><parent link="b"/>
          <child link="c"/><axis xyz="0 1 0"/><limit lower="-3" upper="3" effort="20" velocity="3"/></joint>
        <joint name="turn" type="revolute"><origin xyz="0 0 0.2" rpy="0.2 -0.1 1.0"/><parent link="base"/>
          <child link="a"/><axis xyz="1 1 2"/><limit lower="-3" upper="3" effort="90" velocity="2"/></joint>
        <joint name="slide" type="prismatic"><origin xyz="0.2 0.1 0.1" rpy="0.5 0 0.3"/><parent link="a"/>
          <child link="b"/><axis xyz="1 0 1"/><limit lower="-1" upper="1" effort="90" velocity="1"/></joint>
        <joint name="mount" type="fixed"><origin xyz="0.02 0 0.2" rpy="0 0.5 0.1"/><parent link="c"/>
          <child link="tool"/></joint>
        <joint name="side" type="continuous"><origin xyz="0 0.2 0"/><parent link="a"/><child link="branch"/>
          <axis xyz="0 0 1"/><limit effort="9" velocity="2"/></joint></robot>"#;

    fn energy(dynamics: &mut Dynamics, q: &[f64], v: &[f64]) -> f64 {
        let mut momentum = vec![0.0; q.len()];
        dynamics.momentum(q, v, &mut momentum);
        0.5 * momentum.iter().zip(v).map(|(p, v)| p * v).sum::<f64>()
    }

    #[test]
    fn a_pendulum_is_the_textbook_one() {
        let mut dynamics = Dynamics::from_urdf(PENDULUM).unwrap();
        let mut effort = [0.0];
        dynamics.gravity(&[0.3], &mut effort);
        assert_relative_eq!(effort[0], -2.0 * G * 0.5 * 0.3_f64.cos(), epsilon = 1e-12);
        let inertia = 0.1 + 2.0 * 0.5 * 0.5;
        dynamics.inverse_dynamics(&[std::f64::consts::FRAC_PI_2], &[3.0], &[4.0], &mut effort);
        assert_relative_eq!(effort[0], inertia * 4.0, epsilon = 1e-12);
        let mut mass = DMatrix::zeros(1, 1);
        dynamics.mass_matrix(&[1.0], &mut mass);
        assert_relative_eq!(mass[(0, 0)], inertia, epsilon = 1e-12);
    }

    #[test]
    fn friction_is_coulomb_and_viscous() {
        let dynamics = Dynamics::from_urdf(PENDULUM).unwrap();
        let mut effort = [0.0];
        dynamics.friction(&[-2.0], &mut effort);
        assert_relative_eq!(effort[0], -0.3 - 1.0, epsilon = 1e-12);
        dynamics.friction(&[0.0], &mut effort);
        assert_eq!(effort[0], 0.0);
    }

    #[test]
    fn a_point_mass_and_gravity_can_be_changed() {
        let mut dynamics = Dynamics::from_urdf(PENDULUM).unwrap();
        dynamics.add_point_mass("rod", 1.0, Vector3::new(1.0, 0.0, 0.0)).unwrap();
        dynamics.add_point_mass("base", 9.0, Vector3::x()).unwrap();
        let mut effort = [0.0];
        dynamics.gravity(&[0.0], &mut effort);
        assert_relative_eq!(effort[0], -2.0 * G, epsilon = 1e-12);
        dynamics.set_gravity(Vector3::zeros());
        dynamics.gravity(&[0.0], &mut effort);
        assert_eq!(effort[0], 0.0);
        dynamics.set_rotor_inertia(&[0.25]).unwrap();
        dynamics.inverse_dynamics(&[0.0], &[0.0], &[2.0], &mut effort);
        assert_relative_eq!(effort[0], 2.0 * (0.25 + 0.6 + 1.0), epsilon = 1e-12);
        assert!(dynamics.set_rotor_inertia(&[]).is_err());
        assert!(dynamics.add_point_mass("hand", 1.0, Vector3::zeros()).is_err());
    }

    #[test]
    fn chosen_joints_come_in_the_chosen_order() {
        let robot = Robot::from_urdf(TREE).unwrap();
        assert_eq!(robot.joints, ["wrist", "turn", "slide", "side"]);
        let (mut all, mut gravity_all) = (Dynamics::from_urdf(TREE).unwrap(), [0.0; 4]);
        all.gravity(&[0.4, 0.7, 0.0, 0.0], &mut gravity_all);
        let robot = robot.select(&["turn".into(), "wrist".into()]).unwrap();
        let (mut some, mut gravity_some) = (Dynamics::for_robot(TREE, &robot).unwrap(), [0.0; 2]);
        some.gravity(&[0.7, 0.4], &mut gravity_some);
        assert_relative_eq!(gravity_some[0], gravity_all[1], epsilon = 1e-12);
        assert_relative_eq!(gravity_some[1], gravity_all[0], epsilon = 1e-12);
    }

    #[test]
    fn faulty_descriptions_are_refused_by_name() {
        let massless = PENDULUM.replace(r#"<mass value="2"/>"#, r#"<mass value="0"/>"#);
        assert!(Dynamics::from_urdf(&massless).unwrap_err().to_string().contains("swing"));
        let axis = PENDULUM.replace("0 2 0", "0 0 0");
        assert!(Dynamics::from_urdf(&axis).unwrap_err().to_string().contains("axis"));
        let two_roots = PENDULUM.replace("</robot>", r#"<link name="lost"/></robot>"#);
        assert!(Dynamics::from_urdf(&two_roots).unwrap_err().to_string().contains("root"));
    }

    pub fn posture() -> impl Strategy<Value = [f64; 4]> {
        prop::array::uniform4(-1.0..1.0_f64)
    }

    proptest! {
        #[test]
        fn the_mass_matrix_is_symmetric_and_gives_the_kinetic_energy(q in posture(), v in posture()) {
            let mut dynamics = Dynamics::from_urdf(TREE).unwrap();
            let mut mass = DMatrix::zeros(4, 4);
            dynamics.mass_matrix(&q, &mut mass);
            prop_assert!((&mass - mass.transpose()).norm() < 1e-12);
            prop_assert!(mass.clone().cholesky().is_some());
            let velocity = nalgebra::DVector::from_row_slice(&v);
            let expected = 0.5 * (velocity.transpose() * &mass * &velocity)[(0, 0)];
            prop_assert!((energy(&mut dynamics, &q, &v) - expected).abs() < 1e-12);
        }

        /// Power: without gravity, v·τ is the rate of the kinetic energy along the motion.
        #[test]
        fn the_efforts_do_the_work(q in posture(), v in posture(), a in posture()) {
            let mut dynamics = Dynamics::from_urdf(TREE).unwrap();
            dynamics.set_gravity(Vector3::zeros());
            let mut effort = [0.0; 4];
            dynamics.inverse_dynamics(&q, &v, &a, &mut effort);
            let power: f64 = effort.iter().zip(&v).map(|(effort, v)| effort * v).sum();
            let h = 1e-5;
            let mut energy_at = |t: f64| {
                let moved: [f64; 4] = std::array::from_fn(|i| q[i] + v[i] * t + 0.5 * a[i] * t * t);
                let speed: [f64; 4] = std::array::from_fn(|i| v[i] + a[i] * t);
                energy(&mut dynamics, &moved, &speed)
            };
            let rate = (energy_at(h) - energy_at(-h)) / (2.0 * h);
            prop_assert!((power - rate).abs() < 1e-7, "{} {}", power, rate);
        }

        /// Cᵀ v is the gradient of the kinetic energy with respect to the position (Lagrange).
        #[test]
        fn the_momentum_bias_is_the_gradient_of_the_lagrangian(q in posture(), v in posture()) {
            let mut dynamics = Dynamics::from_urdf(TREE).unwrap();
            let (mut bias, mut gravity) = ([0.0; 4], [0.0; 4]);
            dynamics.momentum_bias(&q, &v, &mut bias);
            dynamics.gravity(&q, &mut gravity);
            for i in 0..4 {
                let h = 1e-5;
                let mut energy_at = |t: f64| {
                    let mut moved = q;
                    moved[i] += t;
                    energy(&mut dynamics, &moved, &v)
                };
                let gradient = (energy_at(h) - energy_at(-h)) / (2.0 * h);
                prop_assert!((bias[i] + gravity[i] - gradient).abs() < 1e-6);
            }
        }
    }
}
