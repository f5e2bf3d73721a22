//! Which columns of a table hold what: as asked for, or found by their names.

use super::names::{Column, JointColumn, Kind, Name, unit};
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
    pub log: Option<Column>,
    pub space: Space,
    pub joints: Vec<JointColumns>,
    /// Of a base without a column of its yaw: its orientation's x, y, z, w; without x and y it is upright.
    pub orientation: Option<[Option<usize>; 4]>,
}

/// When a row was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Time {
    /// A column, with its unit in s.
    Column(Column),
    /// One of whole seconds and one of nanoseconds.
    Stamp(usize, usize),
    /// None: so many rows a second, Hz.
    Rate(f64),
}

/// The columns of one joint, or of one coordinate of a base.
#[derive(Clone, Debug, PartialEq)]
pub struct JointColumns {
    pub name: String,
    /// rad or m; only a base may have none, whose place is then made of its speed
    pub position: Option<Column>,
    /// rad/s or m/s
    pub velocity: Option<Column>,
    /// Nm or N
    pub effort: Option<Column>,
}

impl JointColumns {
    fn columns(&self) -> impl Iterator<Item = Column> {
        [self.position, self.velocity, self.effort].into_iter().flatten()
    }
}

/// Also with a unit of time at the end, which it is then in.
const TIME_NAMES: [&str; 9] =
    ["t_header_s", "t_s", "time_s", "time", "t", "timestamp", "seconds", "elapsed_time", "stamp"];
/// Ends of the names of a ROS stamp's two columns, which come one after the other.
const STAMP_NAMES: [(&str, &str); 3] = [("sec", "nanosec"), ("sec", "nsec"), ("secs", "nsecs")];
const LOG_NAMES: [&str; 1] = ["t_log_s"];
/// Of the coordinates of a base, position and velocity.
const BASE_NAMES: [(&[&str], &[&str]); 3] = [
    (&["x", "x_pos", "pos_x", "tx"], &["vx", "x_vel", "vel_x", "speed", "v"]),
    (&["y", "y_pos", "pos_y", "ty"], &["vy", "y_vel", "vel_y"]),
    (&["yaw", "heading", "theta"], &["wz", "yaw_rate", "yawrate", "omega"]),
];
const BASE_VELOCITIES: [&str; 3] = ["vx", "vy", "wz"];
/// How the same are called in tables of ROS messages, at the end.
const MESSAGE_NAMES: [(&str, &str); 3] =
    [("position.x", "linear.x"), ("position.y", "linear.y"), ("", "angular.z")];
const QUATERNIONS: [[&str; 4]; 2] =
    [["qx", "qy", "qz", "qw"], ["orientation.x", "orientation.y", "orientation.z", "orientation.w"]];

impl ColumnMap {
    /// Recognises the columns of joints (see [`Name::of_joint`]); or of a base `x`, `y`, `yaw`, `vx`, `vy`, `wz` or the fields of a
    /// ROS message; all also with capitals and with units. Of both the joints unless `is_base`. Commands are not read.
    pub fn detect(header: &[&str], rate: Option<f64>, is_base: bool) -> std::result::Result<Self, String> {
        let time = rate.map(Time::Rate).or_else(|| detect_time(header));
        let time = time.ok_or_else(|| {
            format!(
                "no column of time ({}); choose with --columns among {}, by name or number, as in time=1, or say with --rate how many rows there are a second",
                TIME_NAMES.join(", "),
                header.join(", ")
            )
        })?;
        Self::detect_motion(header, time, is_base)
    }

    /// As [`Self::detect`], where the time is known.
    fn detect_motion(header: &[&str], time: Time, is_base: bool) -> std::result::Result<Self, String> {
        let names = names(header);
        let is_stamp = matches!(time, Time::Stamp(..));
        let log = find(&names, &LOG_NAMES, Kind::Time)
            .or_else(|| find(&names, &TIME_NAMES, Kind::Time).filter(|_| is_stamp));
        let (cartesian, joints): (Vec<JointColumn>, Vec<JointColumn>) =
            names.iter().filter_map(Name::of_joint).partition(|found| found.is_cartesian);
        let of_joints = |joints| Self { time, log, space: Space::Joints, joints, orientation: None };
        let of_arm = together(&joints);
        if !of_arm.is_empty() && !is_base {
            return Ok(of_joints(of_arm));
        }
        let at_end = |end: &str, kind: Kind| {
            names.iter().filter(|_| !end.is_empty()).find_map(|name| name.ending(end, kind))
        };
        let coordinate = |index: usize| {
            let ((position, velocity), (place, twist)) = (BASE_NAMES[index], MESSAGE_NAMES[index]);
            let of =
                |names_of: &[&str], end, kind| find(&names, names_of, kind).or_else(|| at_end(end, kind));
            JointColumns {
                name: BASE[index].into(),
                position: of(position, place, Kind::Position),
                velocity: of(velocity, twist, Kind::Velocity),
                effort: None,
            }
        };
        let joints: Vec<JointColumns> = (0..3).map(coordinate).collect();
        let has_no_yaw = joints[2].position.is_none();
        let part = |name: &str| Some(at_end(name, Kind::Position)?.index);
        let orientation = QUATERNIONS.iter().map(|names| names.map(part));
        let orientation = orientation.filter(|_| has_no_yaw).find(|[_, _, z, w]| z.is_some() && w.is_some());
        let map = Self { time, log, space: Space::PlanarBase, joints, orientation };
        let others = together(&cartesian);
        match (map.is_whole_base(), others.is_empty()) {
            (true, _) => Ok(map),
            (false, _) if !of_arm.is_empty() => {
                let joints: Vec<&str> = of_arm.iter().map(|joint| joint.name.as_str()).collect();
                Err(format!("it has the motion of {}, not x, y, yaw of a base", joints.join(", ")))
            }
            (false, false) => Ok(of_joints(others)),
            (false, true) => Err(format!(
                "no columns <joint>_pos or q1, q2, ..., nor x, y, yaw of a base; choose with --columns among {}",
                header.join(", ")
            )),
        }
    }

    /// The columns that are read, but for those of commands.
    pub(super) fn columns(&self) -> impl Iterator<Item = Column> {
        let index = |index| Column { index, unit: 1.0 };
        let time = match self.time {
            Time::Column(column) => [Some(column), None],
            Time::Stamp(seconds, rest) => [seconds, rest].map(index).map(Some),
            Time::Rate(_) => [None, None],
        };
        let orientation = self.orientation.into_iter().flatten().flatten();
        let others = time.into_iter().flatten().chain(self.log).chain(orientation.map(index));
        others.chain(self.joints.iter().flat_map(JointColumns::columns))
    }

    /// As asked for by name.
    pub(super) fn named(
        header: &[&str],
        asked: &Columns,
        rate: Option<f64>,
    ) -> std::result::Result<Self, String> {
        let find = |name: &String, kind: Kind| {
            let column = find_column(header, name, kind);
            column.ok_or_else(|| format!("no column '{name}' among {}", header.join(", ")))
        };
        let of = |name: &str| asked.0.iter().find(|(asked, _)| asked == name).map(|(_, columns)| &columns[0]);
        let column = |name: &str, kind: Kind| of(name).map(|name| find(name, kind)).transpose();
        let said = asked.0.iter().find(|(name, _)| name == "time").and_then(|(_, columns)| columns.get(1));
        // a second column, or a unit
        let rest = said.filter(|said| unit(Kind::Time, said).is_none());
        let rest = rest.map(|rest| {
            let column = find_column(header, rest, Kind::Time).map(|column| column.index);
            column.ok_or_else(|| format!("a time has the unit s, ms, us or ns, not '{rest}'"))
        });
        let rest = rest.transpose()?;
        let time = match (column("time", Kind::Time)?, rate) {
            (Some(_), Some(_)) => return Err("--rate is for a table without a time; leave out time=".into()),
            (Some(column), None) => match rest {
                Some(rest) => Time::Stamp(column.index, rest),
                None => {
                    let said = said.and_then(|said| unit(Kind::Time, said));
                    Time::Column(Column { unit: said.unwrap_or(column.unit), ..column })
                }
            },
            (None, Some(rate)) => Time::Rate(rate),
            (None, None) => return Err("the columns have no time=, and there is no --rate".into()),
        };
        if let [(only, _)] = &asked.0[..]
            && only == "time"
        {
            return Self::detect_motion(header, time, false);
        }
        let log = column("log", Kind::Time)?;
        let is_base = BASE.iter().chain(&BASE_VELOCITIES).any(|name| of(name).is_some());
        if is_base {
            let coordinate = |(name, velocity): (&str, &str)| {
                let (position, velocity) = (column(name, Kind::Position)?, column(velocity, Kind::Velocity)?);
                Ok(JointColumns { name: name.into(), position, velocity, effort: None })
            };
            let joints = BASE.into_iter().zip(BASE_VELOCITIES).map(coordinate);
            let mut joints = joints.collect::<std::result::Result<Vec<_>, String>>()?;
            let yaw = asked.0.iter().find(|(name, columns)| name == "yaw" && columns.len() > 1);
            let part = |name: &String| Ok(find(name, Kind::Position)?.index);
            let parts = yaw.map(|(_, columns)| {
                columns.iter().map(part).collect::<std::result::Result<Vec<_>, String>>()
            });
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
            let column = |place: usize, kind| columns.get(place).map(|name| find(name, kind)).transpose();
            Ok(JointColumns {
                name: name.clone(),
                position: column(0, Kind::Position)?,
                velocity: column(1, Kind::Velocity)?,
                effort: column(2, Kind::Effort)?,
            })
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

fn names<'a>(header: &[&'a str]) -> Vec<Name<'a>> {
    header.iter().enumerate().map(|(index, written)| Name::new(index, written)).collect()
}

/// The first column that is called by the first of `called` by which there is one.
fn find(names: &[Name], called: &[&str], kind: Kind) -> Option<Column> {
    called.iter().find_map(|called| names.iter().find_map(|name| name.called(called, kind)))
}

/// The joints of which there is a position, in the order of their columns, each with the first of its columns.
fn together(found: &[JointColumn]) -> Vec<JointColumns> {
    let is_same = |found: &JointColumn, other: &JointColumn| found.joint.eq_ignore_ascii_case(&other.joint);
    let of = |joint: &JointColumn, kind: Kind| {
        let columns = || found.iter().filter(|other| other.kind == kind && is_same(joint, other));
        columns().find(|other| !other.is_implicit).or_else(|| columns().next()).map(|found| found.column)
    };
    let is_position = |found: &&JointColumn| of(found, Kind::Position) == Some(found.column);
    let joint = |position: &JointColumn| JointColumns {
        name: position.joint.clone(),
        position: Some(position.column),
        velocity: of(position, Kind::Velocity),
        effort: of(position, Kind::Effort),
    };
    found.iter().filter(is_position).map(joint).collect()
}

/// A ROS stamp, else the column of time by its name, else that of the logging.
fn detect_time(header: &[&str]) -> Option<Time> {
    let names = names(header);
    let stamp = || {
        let at = |name: &str, index: usize| {
            let column = header.get(index).and_then(|column| column.trim().strip_suffix(name))?;
            (column.is_empty() || column.ends_with(['.', '_', '/'])).then_some(index)
        };
        let pair = |index: usize| {
            STAMP_NAMES
                .iter()
                .find_map(|(seconds, rest)| Some(Time::Stamp(at(seconds, index)?, at(rest, index + 1)?)))
        };
        (0..header.len()).find_map(pair)
    };
    let log = || find(&names, &LOG_NAMES, Kind::Time).map(Time::Column);
    let time = || find(&names, &TIME_NAMES, Kind::Time).map(Time::Column);
    stamp().or_else(time).or_else(log)
}

/// A column by its name, or by its number from 1; in the unit that its name says.
fn find_column(header: &[&str], name: &str, kind: Kind) -> Option<Column> {
    let by_number = || name.parse::<usize>().ok()?.checked_sub(1).filter(|index| *index < header.len());
    let index = header.iter().position(|column| *column == name).or_else(by_number)?;
    Some(Column { index, unit: Name::new(index, header[index]).unit(kind) })
}

/// The columns of commands, by index.
pub(super) struct CommandColumns {
    pub quantities: Vec<Quantity>,
    /// [quantity][coordinate]; a part of a twist that is not commanded is zero.
    pub columns: Vec<Option<Column>>,
}

impl CommandColumns {
    pub fn columns(&self) -> impl Iterator<Item = Column> {
        self.columns.iter().copied().flatten()
    }

    pub fn new(
        header: &[&str],
        asked: &CommandSelection,
        motion: &ColumnMap,
    ) -> std::result::Result<Self, String> {
        let CommandSource::Columns(asked) = &asked.source else {
            return Err("commands of a table are in columns: --commands joint=position:velocity,...".into());
        };
        let find = |name: &String, kind: Kind| {
            let column = find_column(header, name, kind);
            column.ok_or_else(|| format!("no column '{name}' with commands among {}", header.join(", ")))
        };
        if motion.space == Space::PlanarBase {
            if let Some((wrong, _)) = asked.iter().find(|(name, _)| !BASE_VELOCITIES.contains(&name.as_str()))
            {
                return Err(format!("a base is commanded by {}, not '{wrong}'", BASE_VELOCITIES.join(", ")));
            }
            let of =
                |name: &str| asked.iter().find(|(asked, _)| asked == name).map(|(_, columns)| &columns[0]);
            let columns = BASE_VELOCITIES
                .iter()
                .map(|name| of(name).map(|name| find(name, Kind::Velocity)).transpose());
            return Ok(Self {
                quantities: vec![Quantity::Velocity],
                columns: columns.collect::<std::result::Result<_, _>>()?,
            });
        }
        let of_joint = |joint: &String| -> std::result::Result<Vec<Option<Column>>, String> {
            let names = asked.iter().find_map(|(pattern, columns)| {
                let part = match pattern.split_once('*') {
                    Some((before, after)) => joint.strip_prefix(before)?.strip_suffix(after)?,
                    None => (pattern == joint).then_some("")?,
                };
                Some(columns.iter().map(|column| column.replace('*', part)).collect::<Vec<_>>())
            });
            let names = names.ok_or_else(|| format!("--commands has no columns for joint '{joint}'"))?;
            let kinds = [Kind::Position, Kind::Velocity, Kind::Acceleration];
            let column = |(name, kind): (&String, Kind)| match name.is_empty() {
                true => Ok(None),
                false => find(name, kind).map(Some),
            };
            let mut columns: Vec<Option<Column>> =
                names.iter().zip(kinds).map(column).collect::<std::result::Result<_, _>>()?;
            columns.resize(3, None);
            Ok(columns)
        };
        let joints = motion.joint_names().iter().map(of_joint).collect::<std::result::Result<Vec<_>, _>>()?;
        let (mut quantities, mut columns) = (Vec::new(), Vec::new());
        for (index, quantity) in
            [Quantity::Position, Quantity::Velocity, Quantity::Acceleration].into_iter().enumerate()
        {
            let of_all: Vec<Option<Column>> = joints.iter().map(|joint| joint[index]).collect();
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
