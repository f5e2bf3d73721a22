//! The compiled MuJoCo model of a base with two driven wheels on a plane.

use super::model::{check_library, failure, joint_mut, without_meshes};
use crate::error::{Error, Result};
use crate::robot::Robot;
use mujoco_rs::prelude::*;
use mujoco_rs::wrappers::mj_editing::MjtLimited;

/// The body that carries the payload, and where it stands on the base [m].
const PAYLOAD: &str = "learned_control_payload";
const PAYLOAD_PLACE: [f64; 3] = [-0.08, 0.06, 0.25];
/// Mass [kg] of the payload body when the model is compiled; at run time it is the scenario's.
const COMPILED_PAYLOAD: f64 = 1e-6;
/// Rotor inertia seen at a wheel, kg m².
const ARMATURE: f64 = 0.005;
/// Of the servos of the wheels, Nm s/rad.
const SERVO_GAIN: f64 = 2.0;
/// Sliding (the usual), spinning [m] and rolling [m] friction of a wheel.
const WHEEL_FRICTION: [f64; 3] = [1.0, 0.002, 0.0015];

/// What the driver of the base knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wheels {
    /// m.
    pub radius: f64,
    /// Distance between the wheels, m.
    pub track: f64,
}

/// The drives as they are described, of each wheel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drivetrain {
    pub wheels: Wheels,
    /// Of the servo, Nm s/rad.
    pub servo_gain: f64,
    /// Coulomb friction [Nm] and damping [Nm s/rad].
    pub friction: f64,
    pub damping: f64,
    /// Of wheel and rotor, kg m².
    pub inertia: f64,
    /// Of everything, kg.
    pub mass: f64,
    /// Time constant of the motors, s.
    pub lag: f64,
}

#[derive(Clone, Debug)]
pub struct BaseModel {
    pub mujoco: Box<MjModel>,
    /// Place of the free joint in `qpos` and in `qvel`.
    pub free: [usize; 2],
    /// Of the left and the right wheel: place in `qpos` and `qvel`, shape, body, in the robot's order of joints.
    pub wheel_position: [usize; 2],
    pub wheel_velocity: [usize; 2],
    pub wheel_shapes: [usize; 2],
    pub wheel_bodies: [usize; 2],
    pub payload_body: usize,
    pub wheels: Wheels,
    /// Its lag is that of the config, and 0 here.
    pub drivetrain: Drivetrain,
    /// Names of the joints, left and right.
    pub joints: [String; 2],
    /// Largest speed of a wheel, rad/s.
    pub wheel_speed: f64,
}

impl BaseModel {
    pub fn new(xml: &str, timestep: f64) -> Result<Self> {
        check_library()?;
        let robot = Robot::from_urdf(xml)?;
        let description = urdf_rs::read_from_string(xml).map_err(failure)?;
        let [left, right] = left_and_right(&description, &robot)?;
        let wheels = wheels(left, right, &description)?;
        let mut spec = MjSpec::from_xml_string(&without_meshes(xml)).map_err(failure)?;
        spec.compiler_mut().set_fusestatic(false);
        spec.option_mut().timestep = timestep;
        spec.option_mut().integrator = MjtIntegrator::mjINT_IMPLICITFAST as i32;
        // A ball caster gives no friction; the wheels' own counts wherever they touch.
        for shape in spec.geom_iter_mut() {
            shape.set_condim(1);
            shape.set_priority(1);
        }
        for joint in [left, right] {
            let wheel = spec.body_mut(&joint.child.link).ok_or_else(|| lost(&joint.child.link))?;
            for shape in wheel.geom_iter_mut(false) {
                shape.set_condim(6);
                shape.set_priority(2);
                shape.with_friction(WHEEL_FRICTION);
                shape.set_name(&shape_name(&joint.name)).map_err(failure)?;
            }
            joint_mut(&mut spec, &joint.name)?.set_armature(ARMATURE);
            let servo = spec.add_actuator();
            servo.set_to_velocity(SERVO_GAIN);
            servo.set_trntype(MjtTrn::mjTRN_JOINT);
            servo.set_target(&joint.name);
            servo.set_forcelimited(MjtLimited::mjLIMITED_TRUE);
            servo.with_forcerange([-joint.limit.effort, joint.limit.effort]);
        }
        let root = root_of(&description)?;
        let body = spec.body_mut(root).ok_or_else(|| lost(root))?;
        body.add_free_joint();
        let payload = body.add_body().with_name(PAYLOAD).with_pos(PAYLOAD_PLACE);
        payload.set_mass(COMPILED_PAYLOAD);
        payload.with_inertia([COMPILED_PAYLOAD * 1e-6; 3]);
        payload.set_explicitinertial(true);
        let floor = spec.world_body_mut().add_geom();
        floor.with_type(MjtGeomBase::mjGEOM_PLANE).with_size([0.0, 0.0, 1.0]);
        let mujoco = Box::new(spec.compile().map_err(failure)?);
        let names = [left, right].map(|joint| joint.name.clone());
        let speed = left.limit.velocity.min(right.limit.velocity);
        let mass = description.links.iter().map(|link| link.inertial.mass.value).sum();
        let spin = description.links.iter().find(|link| link.name == left.child.link);
        let spin = spin.map_or(0.0, |link| link.inertial.inertia.iyy);
        let drivetrain = Drivetrain {
            wheels,
            servo_gain: SERVO_GAIN,
            friction: robot.friction[0],
            damping: robot.damping[0],
            inertia: spin + ARMATURE,
            mass,
            lag: 0.0,
        };
        Self::locate(mujoco, names, drivetrain, speed)
    }

    fn locate(
        mujoco: Box<MjModel>,
        joints: [String; 2],
        drivetrain: Drivetrain,
        wheel_speed: f64,
    ) -> Result<Self> {
        if mujoco.nv() != 8 {
            let expected = "6 of the base and 2 of wheels; make other joints fixed";
            return Err(Error::mismatch("moving degrees of freedom in the simulator", mujoco.nv(), expected));
        }
        let find = |kind, name: &str| mujoco.name_to_id(kind, name).ok_or_else(|| lost(name));
        let both = |kind, names: [&str; 2]| -> Result<[usize; 2]> {
            Ok([find(kind, names[0])?, find(kind, names[1])?])
        };
        let names = [joints[0].as_str(), joints[1].as_str()];
        let ids = both(MjtObjBase::mjOBJ_JOINT, names)?;
        let shapes = [shape_name(names[0]), shape_name(names[1])];
        let free =
            (0..mujoco.njnt() as usize).find(|id| !ids.contains(id)).ok_or_else(|| lost("free joint"))?;
        Ok(Self {
            free: [mujoco.jnt_qposadr()[free] as usize, mujoco.jnt_dofadr()[free] as usize],
            wheel_position: ids.map(|id| mujoco.jnt_qposadr()[id] as usize),
            wheel_velocity: ids.map(|id| mujoco.jnt_dofadr()[id] as usize),
            wheel_bodies: ids.map(|id| mujoco.jnt_bodyid()[id] as usize),
            wheel_shapes: both(MjtObjBase::mjOBJ_GEOM, [&shapes[0], &shapes[1]])?,
            payload_body: find(MjtObjBase::mjOBJ_BODY, PAYLOAD)?,
            wheels: drivetrain.wheels,
            drivetrain,
            joints,
            wheel_speed,
            mujoco,
        })
    }

    /// Speeds [rad/s] of the left and the right wheel for forward speed `vx` [m/s] and turn `wz` [rad/s], slower along the
    /// same arc where a motor could not follow.
    pub fn wheel_speeds(&self, vx: f64, wz: f64) -> [f64; 2] {
        let Wheels { radius, track } = self.wheels;
        let speeds = [-0.5, 0.5].map(|side| (vx + side * track * wz) / radius);
        let fastest = speeds[0].abs().max(speeds[1].abs());
        let factor = if fastest > self.wheel_speed { self.wheel_speed / fastest } else { 1.0 };
        speeds.map(|speed| factor * speed)
    }
}

fn shape_name(joint: &str) -> String {
    format!("{joint}_tyre")
}

fn lost(what: &str) -> Error {
    Error::Simulator(format!("MuJoCo's URDF importer lost '{what}'"))
}

/// The driven joints: the one at greater y is the left.
fn left_and_right<'a>(description: &'a urdf_rs::Robot, robot: &Robot) -> Result<[&'a urdf_rs::Joint; 2]> {
    let mut driven: Vec<_> =
        description.joints.iter().filter(|joint| robot.joints.contains(&joint.name)).collect();
    driven.sort_by(|a, b| b.origin.xyz.0[1].total_cmp(&a.origin.xyz.0[1]));
    driven.try_into().map_err(|driven: Vec<_>| Error::Urdf {
        robot: robot.name.clone(),
        problem: format!("{} joints move, expected the two wheels of a differential drive", driven.len()),
    })
}

fn wheels(left: &urdf_rs::Joint, right: &urdf_rs::Joint, description: &urdf_rs::Robot) -> Result<Wheels> {
    let problem = |problem: String| Error::Urdf { robot: description.name.clone(), problem };
    let track = left.origin.xyz.0[1] - right.origin.xyz.0[1];
    let name = &left.child.link;
    let link = description.links.iter().find(|link| link.name == *name);
    let radius = link.and_then(|link| {
        link.collision.iter().find_map(|collision| match collision.geometry {
            urdf_rs::Geometry::Cylinder { radius, .. } | urdf_rs::Geometry::Sphere { radius } => Some(radius),
            _ => None,
        })
    });
    match radius {
        Some(radius) if track > 0.0 => Ok(Wheels { radius, track }),
        Some(_) => Err(problem("both wheels are at the same y".into())),
        None => Err(problem(format!("link '{name}' has no <collision> with a cylinder or a sphere"))),
    }
}

fn root_of(description: &urdf_rs::Robot) -> Result<&str> {
    let is_child =
        |link: &&urdf_rs::Link| description.joints.iter().any(|joint| joint.child.link == link.name);
    let root = description.links.iter().find(|link| !is_child(link));
    root.map(|link| link.name.as_str()).ok_or_else(|| lost("root link"))
}
