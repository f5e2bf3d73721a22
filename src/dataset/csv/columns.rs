//! Which columns of a table hold what: as asked for, or found by their names.

use crate::dataset::{BASE, CommandSelection, CommandSource};
use crate::predictor::commands::Quantity;
use crate::state::Space;
use std::str::FromStr;

/// Which columns are to be read as what, by name or by number from 1: `time=t,joint1=q1:qd1:tau1` (position, velocity and
/// effort; the last two may be missing) or, for a base, `time=t,x=x_m,y=y_m,yaw=heading` with `vx`, `vy`, `wz` if there are
/// such; `yaw=qz:qw` or `yaw=qx:qy:qz:qw` is of a quaternion. `time=t:ms` (or `us`, `ns`) is of a time that is not in seconds, and
/// `time=sec:nanosec` of one in two columns; alone it leaves the others to their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns(Vec<(String, Vec<String>)>);

impl Columns {
    /// Whether something is said of the time beside its column.
    pub(super) fn say_unit_of_time(&self) -> bool {
        self.0.iter().any(|(name, columns)| name == "time" && columns.len() > 1)
    }
}

impl FromStr for Columns {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let entry = |entry: &str| {
            let expected =
                || format!("'{entry}' is not of the form name=column or joint=position:velocity:effort");
            let (name, columns) = entry.split_once('=').ok_or_else(expected)?;
            let columns: Vec<String> = columns.split(':').map(|column| column.trim().to_owned()).collect();
            // an orientation may be a quaternion
            let most = if name.trim() == "yaw" { 4 } else { 3 };
            let is_valid = !name.trim().is_empty()
                && columns.len() <= most
                && columns.iter().all(|name| !name.is_empty());
            is_valid.then(|| (name.trim().to_owned(), columns)).ok_or_else(expected)
        };
        text.split(',').map(entry).collect::<std::result::Result<_, _>>().map(Self)
    }
}

/// Which columns hold what, by index.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnMap {
    /// Of the measurement.
    pub time: Time,
    /// Of the logging, s.
    pub log: Option<usize>,
    pub space: Space,
    pub joints: Vec<JointColumns>,
    /// Of a base without a column of its yaw: its orientation's x, y, z, w; without x and y it is upright.
    pub orientation: Option<[Option<usize>; 4]>,
}

/// When a row was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Time {
    /// A column, and how long one of its units is, s.
    Column(usize, f64),
    /// One of whole seconds and one of nanoseconds.
    Stamp(usize, usize),
    /// None: so many rows a second, Hz.
    Rate(f64),
}

/// The columns of one joint, or of one coordinate of a base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JointColumns {
    pub name: String,
    /// rad or m; only a base may have none, whose place is then made of its speed
    pub position: Option<usize>,
    /// rad/s or m/s
    pub velocity: Option<usize>,
    /// Nm or N
    pub effort: Option<usize>,
}

/// Of a time in seconds; one with a unit other than this at its end is in that one.
const TIME_NAMES: [&str; 8] =
    ["t_header_s", "t_s", "time_s", "time", "t", "timestamp", "seconds", "elapsed_time"];
/// Ends of the names of a ROS stamp's two columns, which come one after the other.
const STAMP_NAMES: [(&str, &str); 3] = [("sec", "nanosec"), ("sec", "nsec"), ("secs", "nsecs")];
const TIME_STEMS: [&str; 4] = ["t", "time", "timestamp", "stamp"];
const UNITS: [(&str, f64); 4] = [("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)];
const LOG_NAMES: [&str; 1] = ["t_log_s"];
/// Of the coordinates of a base, position and velocity.
const BASE_NAMES: [(&[&str], &[&str]); 3] = [
    (&["x_m", "x"], &["vx_mps", "vx", "speed_mps"]),
    (&["y_m", "y"], &["vy_mps", "vy"]),
    (
        &["yaw_rad", "yaw", "heading_rad", "heading", "theta_rad", "theta"],
        &["wz_radps", "wz", "yaw_rate_radps"],
    ),
];
const BASE_VELOCITIES: [&str; 3] = ["vx", "vy", "wz"];
/// How the same are called in tables of ROS messages, at the end.
const MESSAGE_NAMES: [(&str, &str); 3] =
    [("position.x", "linear.x"), ("position.y", "linear.y"), ("", "angular.z")];
const QUATERNIONS: [[&str; 4]; 2] =
    [["qx", "qy", "qz", "qw"], ["orientation.x", "orientation.y", "orientation.z", "orientation.w"]];

impl ColumnMap {
    /// Recognises `<joint>_pos`, `<joint>_vel`, `<joint>_eff`; `q1`, `qd1`, `tau1` or `tau_motor1`; and of a base
    /// `x_m`, `y_m`, `yaw_rad`, `vx_mps`, `vy_mps`, `wz_radps`, with or without the units, or the fields of a ROS message; all also
    /// with capitals, and units in brackets.
    pub fn detect(header: &[&str], rate: Option<f64>) -> std::result::Result<Self, String> {
        Self::detect_by(header, rate).or_else(|problem| {
            let plain: Vec<String> = header.iter().map(|column| plain(column)).collect();
            let names: Vec<&str> = plain.iter().map(String::as_str).collect();
            let mut map = Self::detect_by(&names, rate).map_err(|_| problem)?;
            for joint in map.joints.iter_mut().filter(|_| map.space == Space::Joints) {
                // as it is written
                let column = joint.position.map_or("", |column| header[column].trim());
                if let Some(name) =
                    column.get(..joint.name.len()).filter(|name| name.to_lowercase() == joint.name)
                {
                    joint.name = name.to_owned();
                }
            }
            Ok(map)
        })
    }

    fn detect_by(header: &[&str], rate: Option<f64>) -> std::result::Result<Self, String> {
        let columns = || format!("choose with --columns among {}", header.join(", "));
        let time = rate.map(Time::Rate).or_else(|| detect_time(header));
        let time = time.ok_or_else(|| {
            format!(
                "no column of time ({}); {}, or say with --rate how many rows there are a second",
                TIME_NAMES.join(", "),
                columns()
            )
        })?;
        Self::detect_motion(header, time)
    }

    /// As [`Self::detect`], where the time is known.
    fn detect_motion(header: &[&str], time: Time) -> std::result::Result<Self, String> {
        let columns = || format!("choose with --columns among {}", header.join(", "));
        let find =
            |names: &[&str]| names.iter().find_map(|name| header.iter().position(|column| column == name));
        let log = find(&LOG_NAMES);
        let mut joints = detect_joints(header);
        if joints.is_empty() {
            joints = detect_other_joints(header);
        }
        if !joints.is_empty() {
            return Ok(Self { time, log, space: Space::Joints, joints, orientation: None });
        }
        let at_end = |end: &str| header.iter().position(|column| !end.is_empty() && column.ends_with(end));
        let coordinate = |index: usize| {
            let ((position, velocity), (place, twist)) = (BASE_NAMES[index], MESSAGE_NAMES[index]);
            JointColumns {
                name: BASE[index].into(),
                position: find(position).or_else(|| at_end(place)),
                velocity: find(velocity).or_else(|| at_end(twist)),
                effort: None,
            }
        };
        let joints: Vec<JointColumns> = (0..3).map(coordinate).collect();
        let has_no_yaw = joints[2].position.is_none();
        let orientation = QUATERNIONS.iter().map(|names| names.map(at_end));
        let orientation = orientation.filter(|_| has_no_yaw).find(|[_, _, z, w]| z.is_some() && w.is_some());
        let map = Self { time, log, space: Space::PlanarBase, joints, orientation };
        match map.is_whole_base() {
            true => Ok(map),
            false => {
                Err(format!("no columns <joint>_pos or q1, q2, ..., nor x, y, yaw of a base; {}", columns()))
            }
        }
    }

    /// As asked for by name.
    pub(super) fn named(
        header: &[&str],
        asked: &Columns,
        rate: Option<f64>,
    ) -> std::result::Result<Self, String> {
        let find = |name: &String| {
            let index = find_column(header, name);
            index.ok_or_else(|| format!("no column '{name}' among {}", header.join(", ")))
        };
        let of = |name: &str| asked.0.iter().find(|(asked, _)| asked == name).map(|(_, columns)| &columns[0]);
        let index = |name: &str| of(name).map(find).transpose();
        let unit = asked.0.iter().find(|(name, _)| name == "time").and_then(|(_, columns)| columns.get(1));
        let known = |unit: &&String| UNITS.iter().any(|(name, _)| name == unit);
        let rest = unit.filter(|unit| !known(unit)).and_then(|name| find_column(header, name));
        let unit = unit.filter(|_| rest.is_none());
        let unit = unit.map_or(Ok(1.0), |unit| {
            let known = UNITS.iter().find(|(name, _)| name == unit);
            known
                .map(|(_, seconds)| *seconds)
                .ok_or(format!("a time has the unit s, ms, us or ns, not '{unit}'"))
        })?;
        let time = match (index("time")?, rate) {
            (Some(_), Some(_)) => return Err("--rate is for a table without a time; leave out time=".into()),
            (Some(column), None) => match rest {
                Some(rest) => Time::Stamp(column, rest),
                None => Time::Column(column, unit),
            },
            (None, Some(rate)) => Time::Rate(rate),
            (None, None) => return Err("the columns have no time=, and there is no --rate".into()),
        };
        if let [(only, _)] = &asked.0[..]
            && only == "time"
        {
            return Self::detect_motion(header, time);
        }
        let log = index("log")?;
        let is_base = BASE.iter().chain(&BASE_VELOCITIES).any(|name| of(name).is_some());
        if is_base {
            let coordinate = |(name, velocity): (&str, &str)| {
                let (position, velocity) = (index(name)?, index(velocity)?);
                Ok(JointColumns { name: name.into(), position, velocity, effort: None })
            };
            let joints = BASE.into_iter().zip(BASE_VELOCITIES).map(coordinate);
            let mut joints = joints.collect::<std::result::Result<Vec<_>, String>>()?;
            let yaw = asked.0.iter().find(|(name, columns)| name == "yaw" && columns.len() > 1);
            let parts =
                yaw.map(|(_, columns)| columns.iter().map(find).collect::<std::result::Result<Vec<_>, _>>());
            let orientation = match parts.transpose()?.as_deref() {
                None => None,
                Some([z, w]) => Some([None, None, Some(*z), Some(*w)]),
                Some([x, y, z, w]) => Some([Some(*x), Some(*y), Some(*z), Some(*w)]),
                Some(_) => return Err("an orientation is yaw=angle, yaw=qz:qw or yaw=qx:qy:qz:qw".into()),
            };
            if orientation.is_some() {
                joints[2].position = None;
            }
            let map = Self { time, log, space: Space::PlanarBase, joints, orientation };
            let complete = "the columns of a base need yaw= and either x= and y= or vx=";
            return map.is_whole_base().then_some(map).ok_or(complete.into());
        }
        let joint = |(name, columns): &(String, Vec<String>)| {
            let index = |place: usize| columns.get(place).map(find).transpose();
            let (position, velocity, effort) = (index(0)?, index(1)?, index(2)?);
            Ok(JointColumns { name: name.clone(), position, velocity, effort })
        };
        let joints = asked.0.iter().filter(|(name, _)| name != "time" && name != "log").map(joint);
        let joints: Vec<_> = joints.collect::<std::result::Result<_, String>>()?;
        match joints.is_empty() {
            true => Err("the columns name no joint".into()),
            false => Ok(Self { time, log, space: Space::Joints, joints, orientation: None }),
        }
    }

    /// Whether the pose of a base can be had from the columns.
    fn is_whole_base(&self) -> bool {
        let has_place = self.joints[0].position.is_some() && self.joints[1].position.is_some();
        let has_yaw = self.joints[2].position.is_some() || self.orientation.is_some();
        has_yaw && (has_place || self.joints[0].velocity.is_some())
    }

    /// Keeps the joints of `names` in their order.
    pub(super) fn select(self, names: &[String]) -> std::result::Result<Self, String> {
        if self.space == Space::PlanarBase && *names != BASE {
            return Err(format!("there is a base in it, with x, y, yaw; not {}", names.join(", ")));
        }
        let find = |name: &String| {
            let found = self.joints.iter().find(|joint| joint.name == *name).cloned();
            found.ok_or_else(|| format!("no joint '{name}' among {}", self.joint_names().join(", ")))
        };
        let joints = names.iter().map(find).collect::<std::result::Result<_, _>>()?;
        Ok(Self { joints, ..self })
    }

    pub(super) fn joint_names(&self) -> Vec<String> {
        self.joints.iter().map(|joint| joint.name.clone()).collect()
    }
}

fn detect_joints(header: &[&str]) -> Vec<JointColumns> {
    let index = |name: &str| header.iter().position(|column| *column == name);
    let joint = |(position, column): (usize, &&str)| {
        let (name, velocity, efforts) = match (column.strip_suffix("_pos"), numbered_joint(column)) {
            (Some(joint), _) if !joint.is_empty() => {
                (joint, format!("{joint}_vel"), [format!("{joint}_eff"), String::new()])
            }
            (_, Some(number)) => {
                (*column, format!("qd{number}"), [format!("tau{number}"), format!("tau_motor{number}")])
            }
            _ => return None,
        };
        let (velocity, effort) = (index(&velocity), efforts.iter().find_map(|name| index(name)));
        Some(JointColumns { name: name.into(), position: Some(position), velocity, effort })
    };
    header.iter().enumerate().filter_map(joint).collect()
}

/// By the names that other programs give: `actual_q_0` and `actual_qd_0`, `<joint>_position` and `<joint>_velocity`, `joint1`
/// or `joint_1`; only where there are none of [`detect_joints`], for some of these are common words.
fn detect_other_joints(header: &[&str]) -> Vec<JointColumns> {
    let index = |name: String| header.iter().position(|column| *column == name);
    let joint = |(position, column): (usize, &&str)| {
        let (name, velocity, effort) = if let Some(number) = column.strip_prefix("actual_q_") {
            (format!("q{number}"), index(format!("actual_qd_{number}")), None)
        } else if let Some(joint) = column.strip_suffix("_position") {
            (joint.to_owned(), index(format!("{joint}_velocity")), index(format!("{joint}_effort")))
        } else if is_numbered(column.strip_prefix("joint")?.trim_start_matches('_')) {
            let of =
                |endings: [&str; 2]| endings.iter().find_map(|ending| index(format!("{column}_{ending}")));
            (column.to_string(), of(["vel", "velocity"]), of(["eff", "effort"]))
        } else {
            return None;
        };
        (!name.is_empty()).then_some(JointColumns { name, position: Some(position), velocity, effort })
    };
    header.iter().enumerate().filter_map(joint).collect()
}

/// The column of time by its name, with the unit that the name says; that of the logging where there is no other.
fn detect_time(header: &[&str]) -> Option<Time> {
    let find = |name: &str| header.iter().position(|column| *column == name);
    let in_seconds = TIME_NAMES.iter().find_map(|name| find(name)).map(|column| Time::Column(column, 1.0));
    let other = || {
        let names = TIME_STEMS
            .iter()
            .flat_map(|stem| UNITS.map(|(unit, seconds)| (format!("{stem}_{unit}"), seconds)));
        names.into_iter().find_map(|(name, seconds)| Some(Time::Column(find(&name)?, seconds)))
    };
    let stamp = || {
        let at = |name: &str, index: usize| {
            let column = header.get(index).and_then(|column| column.strip_suffix(name))?;
            (column.is_empty() || column.ends_with(['.', '_', '/'])).then_some(index)
        };
        let pair = |index: usize| {
            STAMP_NAMES
                .iter()
                .find_map(|(seconds, rest)| Some(Time::Stamp(at(seconds, index)?, at(rest, index + 1)?)))
        };
        (0..header.len()).find_map(pair)
    };
    in_seconds.or_else(other).or_else(stamp).or_else(|| Some(Time::Column(find(LOG_NAMES[0])?, 1.0)))
}

/// A name without capitals, and without a unit in brackets that is the usual one; one of a time stands behind it.
fn plain(column: &str) -> String {
    let name = column.trim().trim_start_matches(['_', '%']).to_lowercase();
    let parts = name.strip_suffix([')', ']']).and_then(|rest| rest.rsplit_once(['(', '[']));
    match parts.map(|(name, unit)| (name.trim(), unit.trim())) {
        Some((name, "s" | "sec" | "rad" | "m" | "rad/s" | "m/s" | "nm" | "n")) => name.to_owned(),
        Some((name, unit @ ("ms" | "us" | "ns"))) => format!("{name}_{unit}"),
        _ => name,
    }
}

/// A column by its name, or by its number from 1.
fn find_column(header: &[&str], name: &str) -> Option<usize> {
    let by_number = || name.parse::<usize>().ok()?.checked_sub(1).filter(|index| *index < header.len());
    header.iter().position(|column| *column == name).or_else(by_number)
}

fn is_numbered(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The number of `q` with a number, as in `q3`.
fn numbered_joint(column: &str) -> Option<&str> {
    let number = column.strip_prefix('q')?;
    is_numbered(number).then_some(number)
}

/// The columns of commands, by index.
pub(super) struct CommandColumns {
    pub quantities: Vec<Quantity>,
    /// [quantity][coordinate]; a part of a twist that is not commanded is zero.
    pub columns: Vec<Option<usize>>,
}

impl CommandColumns {
    pub fn new(
        header: &[&str],
        asked: &CommandSelection,
        motion: &ColumnMap,
    ) -> std::result::Result<Self, String> {
        let CommandSource::Columns(asked) = &asked.source else {
            return Err("commands of a table are in columns: --commands joint=position:velocity,...".into());
        };
        let find = |name: &String| {
            let index = find_column(header, name);
            index.ok_or_else(|| format!("no column '{name}' with commands among {}", header.join(", ")))
        };
        if motion.space == Space::PlanarBase {
            if let Some((wrong, _)) = asked.iter().find(|(name, _)| !BASE_VELOCITIES.contains(&name.as_str()))
            {
                return Err(format!("a base is commanded by {}, not '{wrong}'", BASE_VELOCITIES.join(", ")));
            }
            let of =
                |name: &str| asked.iter().find(|(asked, _)| asked == name).map(|(_, columns)| &columns[0]);
            let columns = BASE_VELOCITIES.iter().map(|name| of(name).map(find).transpose());
            return Ok(Self {
                quantities: vec![Quantity::Velocity],
                columns: columns.collect::<std::result::Result<_, _>>()?,
            });
        }
        let of_joint = |joint: &String| -> std::result::Result<Vec<Option<usize>>, String> {
            let names = asked.iter().find_map(|(pattern, columns)| {
                let part = match pattern.split_once('*') {
                    Some((before, after)) => joint.strip_prefix(before)?.strip_suffix(after)?,
                    None => (pattern == joint).then_some("")?,
                };
                Some(columns.iter().map(|column| column.replace('*', part)).collect::<Vec<_>>())
            });
            let names = names.ok_or_else(|| format!("--commands has no columns for joint '{joint}'"))?;
            let index = |name: &String| if name.is_empty() { Ok(None) } else { find(name).map(Some) };
            let mut columns: Vec<Option<usize>> =
                names.iter().map(index).collect::<std::result::Result<_, _>>()?;
            columns.resize(3, None);
            Ok(columns)
        };
        let joints = motion.joint_names().iter().map(of_joint).collect::<std::result::Result<Vec<_>, _>>()?;
        let (mut quantities, mut columns) = (Vec::new(), Vec::new());
        for (index, quantity) in
            [Quantity::Position, Quantity::Velocity, Quantity::Acceleration].into_iter().enumerate()
        {
            let of_all: Vec<Option<usize>> = joints.iter().map(|joint| joint[index]).collect();
            match of_all.iter().flatten().count() {
                0 => {}
                count if count == joints.len() => {
                    quantities.push(quantity);
                    columns.extend(of_all);
                }
                count => {
                    return Err(format!("--commands has a {quantity} of {count} joints of {}", joints.len()));
                }
            }
        }
        Ok(Self { quantities, columns })
    }
}
