//! A [`Robot`] out of a URDF string. What a controller must know and the file does not say is refused, with the joint
//! and the line to add.

use crate::command::Mode;
use crate::error::{Error, Result};
use crate::files::sha256;
use crate::robot::{JointKind, Limits, Robot};
use crate::state::Space;
use urdf_rs::{Joint, JointType};

impl Robot {
    /// The robot of a URDF with these `joints` of it, in their order; all of them where none are named. What the description lacks
    /// of other joints does not matter.
    pub fn of_description(xml: &str, joints: &[String]) -> Result<Self> {
        let urdf = parse(xml)?;
        let mut robot = Self {
            name: urdf.name.clone(),
            joints: Vec::new(),
            space: Space::Joints,
            command_interface: Mode::Effort,
            urdf_sha256: Some(urdf_sha256(xml)),
            kinds: Vec::new(),
            limits: Limits::default(),
            friction: Vec::new(),
            damping: Vec::new(),
            left_out: Vec::new(),
        };
        for joint in &urdf.joints {
            match robot.add(joint) {
                Err(Error::Joint { joint, problem }) if !joints.is_empty() && !joints.contains(&joint) => {
                    robot.left_out.push((joint, problem));
                }
                added => added?,
            }
        }
        if robot.joints.is_empty() {
            let advice = if is_xacro(xml) { XACRO } else { "" };
            return Err(Error::Urdf {
                robot: urdf.name,
                problem: format!("it has no movable joint{advice}"),
            });
        }
        if joints.is_empty() { Ok(robot) } else { robot.select(joints) }
    }

    /// Reads the movable joints in the order of the file. Joints that mimic another are left out, with the reason.
    pub fn from_urdf(xml: &str) -> Result<Self> {
        Self::of_description(xml, &[])
    }

    fn add(&mut self, joint: &Joint) -> Result<()> {
        let Some(kind) = kind_of(joint)? else { return Ok(()) };
        if self.index_of(&joint.name).is_some() {
            return Err(problem(joint, "the name is used twice".into()));
        }
        if let Some(mimic) = &joint.mimic {
            self.left_out.push((joint.name.clone(), format!("it mimics '{}'", mimic.joint)));
            return Ok(());
        }
        let dynamics = joint.dynamics.clone().unwrap_or_default();
        let position = position_limits(joint, kind)?;
        let velocity = positive_limit(joint, "velocity", joint.limit.velocity)?;
        let effort = positive_limit(joint, "effort", joint.limit.effort)?;
        let friction = dynamics_value(joint, "friction", dynamics.friction)?;
        let damping = dynamics_value(joint, "damping", dynamics.damping)?;
        self.joints.push(joint.name.clone());
        self.kinds.push(kind);
        self.limits.position.push(position);
        self.limits.velocity.push(velocity);
        self.limits.effort.push(effort);
        self.friction.push(friction);
        self.damping.push(damping);
        Ok(())
    }
}

const XACRO: &str = "; it is xacro: make it URDF with `xacro FILE > robot.urdf`";

fn is_xacro(xml: &str) -> bool {
    xml.contains("<xacro:")
}

/// SHA-256 of the description as 64 hexadecimal digits: the robot a model was trained for.
pub fn urdf_sha256(xml: &str) -> String {
    sha256(xml.as_bytes())
}

pub(super) fn parse(xml: &str) -> Result<urdf_rs::Robot> {
    urdf_rs::read_from_string(xml).map_err(|error| Error::Urdf {
        robot: "?".into(),
        problem: format!(
            "{error} (a <limit> needs velocity and effort, an <inertial> needs mass and inertia){}",
            if is_xacro(xml) { XACRO } else { "" }
        ),
    })
}

/// `None` for a fixed joint.
pub(super) fn kind_of(joint: &Joint) -> Result<Option<JointKind>> {
    match joint.joint_type {
        JointType::Fixed => Ok(None),
        JointType::Revolute => Ok(Some(JointKind::Revolute)),
        JointType::Continuous => Ok(Some(JointKind::Continuous)),
        JointType::Prismatic => Ok(Some(JointKind::Prismatic)),
        JointType::Floating | JointType::Planar | JointType::Spherical => Err(problem(
            joint,
            "only fixed, revolute, continuous and prismatic joints are supported; make it fixed".into(),
        )),
    }
}

fn position_limits(joint: &Joint, kind: JointKind) -> Result<(f64, f64)> {
    if kind == JointKind::Continuous {
        return Ok((f64::NEG_INFINITY, f64::INFINITY));
    }
    let (lower, upper) = (joint.limit.lower, joint.limit.upper);
    if lower.is_finite() && upper.is_finite() && lower < upper {
        return Ok((lower, upper));
    }
    Err(problem(
        joint,
        format!(
            "position limits from {lower} to {upper}; add <limit lower=\"..\" upper=\"..\" effort=\"..\" \
             velocity=\"..\"/> with lower < upper, or make the joint continuous"
        ),
    ))
}

fn positive_limit(joint: &Joint, what: &str, value: f64) -> Result<f64> {
    if value.is_finite() && value > 0.0 {
        return Ok(value);
    }
    Err(problem(joint, format!("{what} limit {value}; give <limit> a positive {what}=\"..\"")))
}

fn dynamics_value(joint: &Joint, what: &str, value: f64) -> Result<f64> {
    if value.is_finite() && value >= 0.0 {
        return Ok(value);
    }
    Err(problem(joint, format!("{what} {value} in <dynamics>; it must be finite and not negative")))
}

pub(super) fn problem(joint: &Joint, problem: String) -> Error {
    Error::Joint { joint: joint.name.clone(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A robot of one joint between two links; `kind`, `attributes` (the limit) and `more` are put into the joint.
    fn urdf(kind: &str, limit: &str, more: &str) -> String {
        format!(
            r#"<robot name="r"><link name="base"/><link name="arm"/>
            <joint name="elbow" type="{kind}"><parent link="base"/><child link="arm"/><axis xyz="0 0 1"/>
            {limit}{more}</joint></robot>"#
        )
    }

    const LIMIT: &str = r#"<limit lower="-1" upper="2" effort="30" velocity="1.5"/>"#;

    fn refusal(xml: &str) -> String {
        Robot::from_urdf(xml).unwrap_err().to_string()
    }

    #[test]
    fn a_joint_is_read_with_limits_and_friction() {
        let xml = urdf("revolute", LIMIT, r#"<dynamics damping="0.5" friction="0.2"/>"#);
        let robot = Robot::from_urdf(&xml).unwrap();
        assert_eq!((robot.name.as_str(), robot.degrees_of_freedom()), ("r", 1));
        assert_eq!(robot.index_of("elbow"), Some(0));
        assert_eq!(robot.kinds, [JointKind::Revolute]);
        assert_eq!(robot.limits.position, [(-1.0, 2.0)]);
        assert_eq!((robot.limits.velocity[0], robot.limits.effort[0]), (1.5, 30.0));
        assert_eq!((robot.friction[0], robot.damping[0]), (0.2, 0.5));
    }

    #[test]
    fn a_continuous_joint_has_no_position_limits() {
        let robot = Robot::from_urdf(&urdf("continuous", r#"<limit effort="3" velocity="2"/>"#, "")).unwrap();
        assert_eq!(robot.limits.position, [(f64::NEG_INFINITY, f64::INFINITY)]);
    }

    #[test]
    fn missing_or_senseless_limits_are_refused_with_what_to_add() {
        let missing = refusal(&urdf("revolute", "", ""));
        assert!(missing.contains("elbow") && missing.contains("<limit lower"), "{missing}");
        let swapped = refusal(&urdf("revolute", &LIMIT.replace("-1", "3"), ""));
        assert!(swapped.contains("from 3 to 2"), "{swapped}");
        let infinite = refusal(&urdf("prismatic", &LIMIT.replace("-1", "-inf"), ""));
        assert!(infinite.contains("-inf"), "{infinite}");
        let weak = refusal(&urdf("revolute", &LIMIT.replace("30", "0"), ""));
        assert!(weak.contains("elbow") && weak.contains("effort"), "{weak}");
        let slow = refusal(&urdf("continuous", r#"<limit effort="3" velocity="nan"/>"#, ""));
        assert!(slow.contains("velocity limit NaN"), "{slow}");
        let forgotten = refusal(&urdf("continuous", r#"<limit effort="3"/>"#, ""));
        assert!(forgotten.contains("velocity"), "{forgotten}");
        let sticky = refusal(&urdf("revolute", LIMIT, r#"<dynamics damping="-1"/>"#));
        assert!(sticky.contains("damping -1"), "{sticky}");
    }

    #[test]
    fn unsupported_joints_are_refused_by_name() {
        let floating = refusal(&urdf("floating", "", ""));
        assert!(floating.contains("elbow") && floating.contains("fixed"), "{floating}");
        let fixed = refusal(&urdf("fixed", "", ""));
        assert!(fixed.contains("no movable joint"), "{fixed}");
    }

    #[test]
    fn what_is_lacking_of_joints_that_are_not_chosen_does_not_matter() {
        let more = r#"<link name="wheel"/><joint name="wheel_joint" type="continuous"><parent link="arm"/><child link="wheel"/>
            <axis xyz="0 0 1"/></joint><link name="ball"/><joint name="free" type="floating"><parent link="wheel"/>
            <child link="ball"/></joint></robot>"#;
        let heavy = r#"<link name="arm"><inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/>
            </inertial></link>"#;
        let xml =
            urdf("revolute", LIMIT, "").replace("</robot>", more).replace(r#"<link name="arm"/>"#, heavy);
        assert!(refusal(&xml).contains("wheel_joint"));
        let robot = Robot::of_description(&xml, &["elbow".into()]).unwrap();
        assert_eq!(robot.joints, ["elbow"]);
        let left_out: Vec<&str> = robot.left_out.iter().map(|(joint, _)| joint.as_str()).collect();
        assert_eq!(left_out, ["wheel_joint", "free"]);
        assert_eq!(crate::robot::Dynamics::for_robot(&xml, &robot).unwrap().degrees_of_freedom(), 1);
        let chosen = Robot::of_description(&xml, &["wheel_joint".into()]).unwrap_err().to_string();
        assert!(chosen.contains("velocity limit 0"), "{chosen}");
    }

    #[test]
    fn xacro_is_called_by_its_name() {
        let xml =
            urdf("fixed", "", "").replace("<robot", r#"<robot xmlns:xacro="http://www.ros.org/wiki/xacro""#);
        let macros = xml.replace("</robot>", r#"<xacro:arm prefix="left_"/></robot>"#);
        assert!(refusal(&macros).contains("xacro FILE > robot.urdf"), "{}", refusal(&macros));
    }

    #[test]
    fn a_mimic_joint_is_left_out_with_the_reason() {
        let xml = urdf("revolute", LIMIT, "").replace(
            "</robot>",
            &format!(
                r#"<link name="finger"/><joint name="follower" type="revolute"><parent link="arm"/>
                <child link="finger"/>{LIMIT}<mimic joint="elbow"/></joint></robot>"#
            ),
        );
        let robot = Robot::from_urdf(&xml).unwrap();
        assert_eq!(robot.joints, ["elbow"]);
        assert_eq!(robot.left_out, [("follower".into(), "it mimics 'elbow'".into())]);
    }

    #[test]
    fn the_hash_is_the_well_known_one() {
        // printf abc | sha256sum
        assert_eq!(urdf_sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn broken_xml_is_an_error() {
        assert!(Robot::from_urdf("<robot").is_err());
        assert!(Robot::from_urdf("").is_err());
    }
}
