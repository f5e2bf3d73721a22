//! What the name of a column says: of which joint or coordinate it is, what was measured, and in which unit.

/// What a column may hold of a motion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Time,
    Position,
    Velocity,
    Acceleration,
    Effort,
}

/// A column by its index, and how large one of its units is: in s, rad or m, these by s or s², Nm or N.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Column {
    pub index: usize,
    pub unit: f64,
}

/// One joint's column by its name.
#[derive(Clone, Debug, PartialEq)]
pub struct JointColumn {
    pub kind: Kind,
    pub column: Column,
    /// The joint, as it is written.
    pub joint: String,
    /// Without a word for what it holds, as in `joint1`: a position if no other column of the joint is.
    pub is_implicit: bool,
    /// Of a place or a direction in space, as in `x_pos`: a joint if there are no others, nor a base.
    pub is_cartesian: bool,
}

const DEGREE: f64 = std::f64::consts::PI / 180.0;
const UNITS: [(Kind, f64, &[&str]); 17] = [
    (Kind::Time, 1.0, &["s", "sec", "secs", "second", "seconds"]),
    (Kind::Time, 1e-3, &["ms", "msec", "millis", "milliseconds"]),
    (Kind::Time, 1e-6, &["us", "µs", "usec", "microseconds"]),
    (Kind::Time, 1e-9, &["ns", "nsec", "nanosec", "nanoseconds"]),
    (Kind::Position, 1.0, &["rad", "radian", "radians", "m"]),
    (Kind::Position, DEGREE, &["deg", "degree", "degrees", "°"]),
    (Kind::Position, 1e-2, &["cm"]),
    (Kind::Position, 1e-3, &["mm"]),
    (Kind::Velocity, 1.0, &["rad/s", "rad_s", "rad_per_s", "radps", "rps", "m/s", "m_s", "m_per_s", "mps"]),
    (Kind::Velocity, DEGREE, &["deg/s", "deg_s", "deg_per_s", "degps", "°/s"]),
    (Kind::Velocity, 1e-2, &["cm/s", "cm_s"]),
    (Kind::Velocity, 1e-3, &["mm/s", "mm_s"]),
    (Kind::Velocity, 6.0 * DEGREE, &["rpm"]),
    (Kind::Acceleration, 1.0, &["rad/s^2", "rad/s2", "rad_s2", "m/s^2", "m/s2", "m_s2"]),
    (Kind::Acceleration, DEGREE, &["deg/s^2", "deg/s2", "deg_s2"]),
    (Kind::Effort, 1.0, &["nm", "n*m", "n·m", "n"]),
    (Kind::Effort, 1e-3, &["mnm"]),
];
const QUANTITIES: [(Kind, &[&str]); 3] = [
    (Kind::Position, &["pos", "position", "positions", "q", "qpos"]),
    (Kind::Velocity, &["vel", "velocity", "velocities", "qd", "dq", "qdot", "qvel"]),
    (Kind::Effort, &["eff", "effort", "efforts", "tau", "torque", "torques"]),
];
/// What a robot is told, not what it does.
const TOLD: [&str; 14] = [
    "desired",
    "des",
    "command",
    "commands",
    "cmd",
    "commanded",
    "target",
    "reference",
    "ref",
    "goal",
    "setpoint",
    "expected",
    "planned",
    "error",
];
const CARTESIAN: [&str; 16] =
    ["x", "y", "z", "w", "qx", "qy", "qz", "qw", "rx", "ry", "rz", "roll", "pitch", "yaw", "tcp", "pose"];
/// Words beside the number of a joint that do not say which it is.
const GENERIC: [&str; 13] = [
    "actual", "measured", "meas", "act", "field", "state", "states", "joint", "joints", "robot", "data",
    "msg", "motor",
];

/// Before the name of a joint, no part of it.
const MEASURED: [&str; 2] = ["actual_", "measured_"];

/// Whether a name of a topic or of a column is of what a robot is told, and not of what it does.
pub fn is_told(name: &str) -> bool {
    words(&name.to_lowercase()).any(|word| TOLD.contains(&word))
}

/// The known unit of this name, in SI.
pub fn unit(kind: Kind, name: &str) -> Option<f64> {
    UNITS.iter().find(|(of, _, names)| *of == kind && names.contains(&name)).map(|(_, unit, _)| *unit)
}

fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// A column's name, taken apart.
pub struct Name<'a> {
    index: usize,
    /// As it is written, but for what is around it, with its unit and without.
    whole: &'a str,
    stem: &'a str,
    unit: Option<&'a str>,
    is_told: bool,
}

impl<'a> Name<'a> {
    pub fn new(index: usize, written: &'a str) -> Self {
        let whole = written.trim().trim_start_matches(['_', '%', '/']).trim();
        let (stem, unit) = in_brackets(whole)
            .or_else(|| at_end(whole))
            .map_or((whole, None), |(stem, unit)| (stem, Some(unit)));
        Self { index, whole, stem, unit, is_told: is_told(written) }
    }

    /// The column, if it is of what the robot does, and called this, without capitals, or this with a unit of this kind.
    pub fn called(&self, name: &str, kind: Kind) -> Option<Column> {
        self.matching(kind, |found| found == name)
    }

    /// As [`Self::called`], where the name's end is this, as in `pose.pose.position.x` or `/odom/pose/pose/position/x`.
    pub fn ending(&self, end: &str, kind: Kind) -> Option<Column> {
        self.matching(kind, |found| {
            let before = found.len().checked_sub(end.len());
            before.is_some_and(|before| found.replace('/', ".").get(before..) == Some(end))
        })
    }

    fn matching(&self, kind: Kind, is_it: impl Fn(&str) -> bool) -> Option<Column> {
        let column = |unit| Column { index: self.index, unit };
        match is_it(&self.whole.to_ascii_lowercase()) {
            _ if self.is_told => None,
            true => Some(column(1.0)),
            false => {
                let unit = unit(kind, &self.unit?.to_ascii_lowercase())?;
                is_it(&self.stem.to_ascii_lowercase()).then(|| column(unit))
            }
        }
    }

    /// How large one of the units is that the name says of this kind; 1 where it says none.
    pub fn unit(&self, kind: Kind) -> f64 {
        self.unit.and_then(|name| unit(kind, &name.to_ascii_lowercase())).unwrap_or(1.0)
    }

    /// What the column holds of a joint: called `<joint>_pos`, `_vel` or `_eff`, or longer words for these, also after
    /// another sign than `_`; `q1`, `qd1` or `dq1`, `tau1`, `actual_q_1`, `position[1]`; or `joint1`.
    pub fn of_joint(&self) -> Option<JointColumn> {
        let with_unit = || {
            let found = self.in_joint(self.stem)?;
            let unit = unit(found.kind, &self.unit?.to_ascii_lowercase())?;
            Some(JointColumn { column: Column { unit, ..found.column }, ..found })
        };
        self.in_joint(self.whole).or_else(with_unit)
    }

    fn in_joint(&self, name: &str) -> Option<JointColumn> {
        if self.is_told {
            return None;
        }
        let (kind, joint, is_implicit) =
            suffixed(name).map(|(kind, joint)| (kind, joint, false)).or_else(|| numbered(name))?;
        let is_cartesian = words(&joint.to_ascii_lowercase()).any(|word| CARTESIAN.contains(&word));
        let column = Column { index: self.index, unit: 1.0 };
        Some(JointColumn { kind, column, joint, is_implicit, is_cartesian })
    }
}

/// Name and unit, as in `elbow [deg]`.
fn in_brackets(name: &str) -> Option<(&str, &str)> {
    let (stem, unit) = name.strip_suffix([')', ']'])?.rsplit_once(['(', '['])?;
    Some((stem.trim(), unit.trim()))
}

/// As in `elbow_deg`: the longest unit that the name ends with.
fn at_end(name: &str) -> Option<(&str, &str)> {
    let lower = name.to_ascii_lowercase();
    let units = UNITS.iter().flat_map(|(_, _, names)| names.iter());
    let ends = units.filter(|unit| lower.strip_suffix(**unit).is_some_and(|stem| stem.ends_with('_')));
    let unit = ends.max_by_key(|unit| unit.len())?;
    let stem = name.len() - unit.len();
    Some((&name[..stem - 1], &name[stem..]))
}

fn quantity(word: &str) -> Option<Kind> {
    QUANTITIES.iter().find(|(_, words)| words.contains(&word)).map(|(kind, _)| *kind)
}

/// As in `elbow_pos` or `/joint_states/elbow/position`.
fn suffixed(name: &str) -> Option<(Kind, String)> {
    let end = name.rfind(|letter: char| !letter.is_alphanumeric())?;
    let kind = quantity(
        &name[end..].trim_start_matches(|letter: char| !letter.is_alphanumeric()).to_ascii_lowercase(),
    )?;
    let separator = name[end..].chars().next().filter(|sign| ['/', '.'].contains(sign));
    let joint = separator.map_or(&name[..end], |sign| name[..end].rsplit(sign).next().unwrap_or_default());
    let joint = joint.trim_matches(|letter: char| !letter.is_alphanumeric());
    let lower = joint.to_ascii_lowercase();
    let measured = MEASURED.iter().find_map(|word| lower.strip_prefix(word)).filter(|rest| !rest.is_empty());
    let joint = measured.map_or(joint, |rest| &joint[joint.len() - rest.len()..]);
    (!joint.is_empty()).then(|| (kind, joint.to_owned()))
}

/// As in `q1`, `actual_q_1`, `position[1]`, or, without a quantity, `joint1`; also at the end of a path.
fn numbered(name: &str) -> Option<(Kind, String, bool)> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let lower = name.to_ascii_lowercase();
    let lower = lower.trim_end_matches([']', ')']);
    let rest = lower.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let number = &lower[rest.len()..];
    let mut before: Vec<&str> = words(rest).collect();
    before.pop_if(|word| *word == "motor");
    let last = before.pop().filter(|_| !number.is_empty())?;
    if !before.iter().all(|word| GENERIC.contains(word)) {
        return None;
    }
    match quantity(last) {
        // as it is written, if that is all of it
        Some(kind) if name.len() == 1 + number.len() => Some((kind, name.to_owned(), false)),
        Some(kind) => Some((kind, format!("q{number}"), false)),
        None if last == "joint" => {
            let start = rest.rfind("joint")?;
            Some((Kind::Position, name[start..].to_owned(), true))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joint_is_known_by_what_many_tools_call_its_columns() {
        let found = |name: &str| {
            let found = Name::new(0, name).of_joint()?;
            Some((found.kind, found.joint, found.column.unit))
        };
        let joint = |kind, joint: &str, unit| Some((kind, joint.to_owned(), unit));
        for (name, expected) in [
            ("elbow_pos", joint(Kind::Position, "elbow", 1.0)),
            ("Elbow_Vel (rad/s)", joint(Kind::Velocity, "Elbow", 1.0)),
            ("left wheel_effort", joint(Kind::Effort, "left wheel", 1.0)),
            ("/joint_states/elbow/position", joint(Kind::Position, "elbow", 1.0)),
            ("joint_states.elbow_joint.velocity", joint(Kind::Velocity, "elbow_joint", 1.0)),
            ("elbow_pos_deg", joint(Kind::Position, "elbow", DEGREE)),
            ("elbow_vel_rad_s", joint(Kind::Velocity, "elbow", 1.0)),
            ("q1_pos", joint(Kind::Position, "q1", 1.0)),
            ("q3", joint(Kind::Position, "q3", 1.0)),
            ("Q3", joint(Kind::Position, "Q3", 1.0)),
            ("q_3 [deg]", joint(Kind::Position, "q3", DEGREE)),
            ("dq[0]", joint(Kind::Velocity, "q0", 1.0)),
            ("tau_motor2", joint(Kind::Effort, "q2", 1.0)),
            ("actual_qd_5", joint(Kind::Velocity, "q5", 1.0)),
            ("field.position0", joint(Kind::Position, "q0", 1.0)),
            ("/panda/joint_states/velocity[6]", joint(Kind::Velocity, "q6", 1.0)),
            ("joint_2", joint(Kind::Position, "joint_2", 1.0)),
            ("joint2_velocity", joint(Kind::Velocity, "joint2", 1.0)),
        ] {
            assert_eq!(found(name), expected, "{name}");
        }
        for other in [
            "time",
            "q",
            "pos",
            "qx",
            "q_ref1",
            "target_q_0",
            "elbow_cmd_pos",
            "q1_stddev",
            "joint",
            "joint_x",
            "actual_TCP_pose_0",
            "robot_mode",
            "temperature1",
            "elbow_pos_ms",
            "",
            "_",
            "°",
        ] {
            assert_eq!(found(other), None, "{other}");
        }
        assert!(Name::new(0, "ee_x_pos").of_joint().unwrap().is_cartesian);
    }

    #[test]
    fn names_with_units_are_those_without() {
        let called = |written: &str, name: &str, kind| Name::new(0, written).called(name, kind);
        let unit = |unit| Some(Column { index: 0, unit });
        assert_eq!(called("Time (ms)", "time", Kind::Time), unit(1e-3));
        assert_eq!(called("__time", "time", Kind::Time), unit(1.0));
        assert_eq!(called("heading_deg", "heading", Kind::Position), unit(DEGREE));
        assert_eq!(called("heading_ms", "heading", Kind::Position), None);
        assert_eq!(called("cmd_vel.linear.x", "x", Kind::Velocity), None);
        let end = Name::new(0, "/odom/pose/pose/position/x").ending("position.x", Kind::Position);
        assert_eq!(end, unit(1.0));
        assert!((super::unit(Kind::Velocity, "rpm").unwrap() * 60.0 - std::f64::consts::TAU).abs() < 1e-12);
    }
}
