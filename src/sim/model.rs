//! A MuJoCo model out of a URDF string: what the importer leaves out or does differently is put right here.

use crate::error::{Error, Result};
use crate::robot::Robot;
use mujoco_rs::prelude::*;
use mujoco_rs::wrappers::mj_editing::{MjsJoint, MjtLimited};
use std::cell::RefCell;
use std::sync::Once;

/// The library that the bindings were made for; others have other memory layouts.
const MUJOCO_VERSION: &str = "3.17.0";
/// The body that carries the payload.
const PAYLOAD: &str = "learned_control_payload";
/// Mass [kg] of the payload body when the model is compiled; at run time it is the scenario's.
const COMPILED_PAYLOAD: f64 = 1e-6;

/// The compiled model, and where the robot's joints and the payload are in it.
#[derive(Clone, Debug)]
pub struct Model {
    pub mujoco: Box<MjModel>,
    /// Of each joint in the robot's order: place in `qpos`.
    pub position_index: Vec<usize>,
    /// Of each joint in the robot's order: place in `qvel` and all other generalized forces and velocities.
    pub velocity_index: Vec<usize>,
    /// Of each joint in the robot's order: the body that it moves.
    pub body_index: Vec<usize>,
    /// Body of the payload; its centre of mass is the origin of the tool.
    pub payload_body: usize,
}

impl Model {
    /// `tool` names the link that carries the payload; `armature` is the rotor inertia of each joint, kg m².
    pub fn new(xml: &str, robot: &Robot, tool: &str, armature: &[f64], timestep: f64) -> Result<Self> {
        check_library()?;
        let mut spec = MjSpec::from_xml_string(&without_meshes(xml)).map_err(failure)?;
        // Otherwise the tool vanishes into the link that it is fixed to.
        spec.compiler_mut().set_fusestatic(false);
        spec.option_mut().timestep = timestep;
        exclude_base_contacts(&mut spec, xml)?;
        for (joint, armature) in robot.joints.iter().zip(armature) {
            joint_mut(&mut spec, joint)?.set_armature(*armature);
        }
        for (joint, effort) in robot.joints.iter().zip(&robot.limits.effort) {
            add_motor(&mut spec, joint, *effort);
        }
        add_payload(&mut spec, tool)?;
        let mujoco = Box::new(spec.compile().map_err(failure)?);
        Self::locate(mujoco, robot)
    }

    fn locate(mujoco: Box<MjModel>, robot: &Robot) -> Result<Self> {
        let n = robot.degrees_of_freedom();
        if mujoco.nv() as usize != n {
            let expected = format!("the {n} driven joints of robot '{}'; make the others fixed", robot.name);
            return Err(Error::mismatch("moving degrees of freedom in the simulator", mujoco.nv(), expected));
        }
        let joint_id = |name: &String| {
            let id = mujoco.name_to_id(MjtObjBase::mjOBJ_JOINT, name);
            id.ok_or_else(|| Error::Simulator(format!("joint '{name}' got lost")))
        };
        let joints = robot.joints.iter().map(joint_id).collect::<Result<Vec<_>>>()?;
        let payload_body = mujoco.name_to_id(MjtObjBase::mjOBJ_BODY, PAYLOAD);
        Ok(Self {
            position_index: joints.iter().map(|id| mujoco.jnt_qposadr()[*id] as usize).collect(),
            velocity_index: joints.iter().map(|id| mujoco.jnt_dofadr()[*id] as usize).collect(),
            body_index: joints.iter().map(|id| mujoco.jnt_bodyid()[*id] as usize).collect(),
            payload_body: payload_body.ok_or_else(|| Error::Simulator("the payload got lost".into()))?,
            mujoco,
        })
    }
}

pub(super) fn failure(error: impl std::fmt::Display) -> Error {
    Error::Simulator(error.to_string())
}

/// The right library, and its messages kept out of the file MUJOCO_LOG.TXT.
pub(super) fn check_library() -> Result<()> {
    let found = mujoco_rs::mujoco_version();
    if found != MUJOCO_VERSION {
        return Err(Error::mismatch("libmujoco", found, format!("{MUJOCO_VERSION} (run `make setup`)")));
    }
    static HOOK: Once = Once::new();
    // SAFETY: this module is the only way to MuJoCo in this crate, every use of it passes here first, and `Once` holds
    // all others back until the handler is set.
    HOOK.call_once(|| unsafe { set_log_handler(remember) });
    Ok(())
}

thread_local! {
    static LAST_WARNING: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps a warning for the error that will report it. After an error MuJoCo ends the process: the last chance to say why.
fn remember(message: &MjLogMessage) {
    match message.level() {
        MjtLogLevel::mjLOG_ERROR => {
            eprintln!("MuJoCo: {} {}", message.subject(), message.body().unwrap_or(""));
        }
        MjtLogLevel::mjLOG_WARNING => LAST_WARNING.set(message.subject().into()),
        _ => {}
    }
}

/// What MuJoCo last warned of on this thread.
pub(super) fn last_warning() -> String {
    LAST_WARNING.take()
}

/// The first links rest on the base; MuJoCo spares parent and child from contact, but not where the parent is fixed to
/// the world.
fn exclude_base_contacts(spec: &mut MjSpec, xml: &str) -> Result<()> {
    let description = urdf_rs::read_from_string(xml).map_err(failure)?;
    let is_moved = |link: &str| {
        let movable = |joint: &&urdf_rs::Joint| joint.joint_type != urdf_rs::JointType::Fixed;
        description.joints.iter().filter(movable).any(|joint| joint.child.link == link)
    };
    for joint in
        description.joints.iter().filter(|joint| is_moved(&joint.child.link) && !is_moved(&joint.parent.link))
    {
        let (parent, child) = (&joint.parent.link, &joint.child.link);
        if spec.body(parent).is_some() && spec.body(child).is_some() {
            spec.add_exclude().with_bodyname1(parent).with_bodyname2(child);
        }
    }
    Ok(())
}

pub(super) fn joint_mut<'a>(spec: &'a mut MjSpec, joint: &str) -> Result<&'a mut MjsJoint> {
    spec.joint_mut(joint)
        .ok_or_else(|| Error::Simulator(format!("MuJoCo's URDF importer lost joint '{joint}'")))
}

fn add_motor(spec: &mut MjSpec, joint: &str, effort: f64) {
    let motor = spec.add_actuator();
    motor.set_to_motor();
    motor.set_trntype(MjtTrn::mjTRN_JOINT);
    motor.set_target(joint);
    motor.set_ctrllimited(MjtLimited::mjLIMITED_TRUE);
    motor.with_ctrlrange([-effort, effort]);
}

fn add_payload(spec: &mut MjSpec, tool: &str) -> Result<()> {
    let body = spec
        .body_mut(tool)
        .ok_or_else(|| Error::Simulator(format!("no link '{tool}' to carry the payload")))?;
    let payload = body.add_body().with_name(PAYLOAD);
    payload.set_mass(COMPILED_PAYLOAD);
    payload.with_inertia([COMPILED_PAYLOAD * 1e-6; 3]);
    payload.set_explicitinertial(true);
    Ok(())
}

/// Drops all visuals and every collision shape that is a mesh: their files are elsewhere (`package://`), and a
/// simulator without them still has all inertias.
pub(super) fn without_meshes(xml: &str) -> String {
    let no_visuals = without_elements(xml, "visual", |_| true);
    without_elements(&no_visuals, "collision", |element| element.contains("<mesh"))
}

/// `xml` without the elements `name` that `unwanted` picks. The text has been parsed before, so tags match.
fn without_elements(xml: &str, name: &str, unwanted: impl Fn(&str) -> bool) -> String {
    let (open, close) = (format!("<{name}"), format!("</{name}>"));
    let mut out = String::with_capacity(xml.len());
    let mut rest = xml;
    while let Some(begin) = rest.find(&open) {
        let tag_end = rest[begin..].find('>').map_or(rest.len(), |end| begin + end + 1);
        let alone = rest[..tag_end].ends_with("/>");
        let end = match rest[tag_end..].find(&close) {
            Some(end) if !alone => tag_end + end + close.len(),
            _ => tag_end,
        };
        let is_other_name = !rest[begin + open.len()..].starts_with([' ', '>', '/', '\n', '\r', '\t']);
        out.push_str(&rest[..begin]);
        if is_other_name {
            out.push_str(&rest[begin..tag_end]);
            rest = &rest[tag_end..];
            continue;
        }
        if !unwanted(&rest[begin..end]) {
            out.push_str(&rest[begin..end]);
        }
        rest = &rest[end..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meshes_and_visuals_are_dropped_and_nothing_else() {
        let xml = r#"<link name="a"><visual name="x"><geometry><mesh filename="f"/></geometry></visual>
            <visual/><collision><geometry><mesh filename="g"/></geometry></collision><visuals>2</visuals>
            <collision><geometry><box size="1 1 1"/></geometry></collision></link>"#;
        let left = without_meshes(xml);
        assert!(
            !left.contains("mesh") && !left.contains("<visual>") && !left.contains("<visual/>"),
            "{left}"
        );
        assert!(
            left.contains("<visuals>2</visuals>") && left.contains("<box") && left.ends_with("</link>"),
            "{left}"
        );
    }
}
