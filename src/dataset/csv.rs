//! Joint motion from a table: `.csv` or `.csv.gz`, one row a measurement, time in seconds.

use super::{Recording, Row, Selection, Summary, data};
use crate::error::{Error, Result};
use crate::state::Stamp;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Which columns hold what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnMap {
    /// Index of the time, s.
    pub time: usize,
    pub joints: Vec<JointColumns>,
}

/// The columns of one joint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JointColumns {
    pub name: String,
    /// Index of the position, rad or m.
    pub position: usize,
    /// Index of the velocity, rad/s or m/s.
    pub velocity: Option<usize>,
    /// Index of the effort, Nm or N.
    pub effort: Option<usize>,
}

const TIME_NAMES: [&str; 4] = ["t_s", "time_s", "time", "t"];

impl ColumnMap {
    /// Recognises `<joint>_pos`, `<joint>_vel`, `<joint>_eff` and `q1`, `qd1`, `tau1` or `tau_motor1`; none else.
    pub fn detect(header: &[&str]) -> std::result::Result<Self, String> {
        let index = |name: &str| header.iter().position(|column| *column == name);
        let time = TIME_NAMES.iter().find_map(|name| index(name));
        let time = time.ok_or_else(|| format!("no column of time ({})", TIME_NAMES.join(", ")))?;
        let joints: Vec<JointColumns> = header
            .iter()
            .enumerate()
            .filter_map(|(position, column)| {
                let (name, velocity, efforts) = match (column.strip_suffix("_pos"), numbered_joint(column)) {
                    (Some(joint), _) if !joint.is_empty() => {
                        (joint, format!("{joint}_vel"), vec![format!("{joint}_eff")])
                    }
                    (_, Some(number)) => {
                        let efforts = vec![format!("tau{number}"), format!("tau_motor{number}")];
                        (*column, format!("qd{number}"), efforts)
                    }
                    _ => return None,
                };
                let effort = efforts.iter().find_map(|name| index(name));
                Some(JointColumns { name: name.into(), position, velocity: index(&velocity), effort })
            })
            .collect();
        match joints.is_empty() {
            true => Err(format!("no columns <joint>_pos or q1, q2, ... among {}", header.join(", "))),
            false => Ok(Self { time, joints }),
        }
    }

    /// Keeps the joints of `names` in their order.
    fn select(self, names: &[String]) -> std::result::Result<Self, String> {
        let find = |name: &String| {
            let found = self.joints.iter().find(|joint| joint.name == *name).cloned();
            found.ok_or_else(|| format!("no joint '{name}' among {}", self.joint_names().join(", ")))
        };
        Ok(Self { time: self.time, joints: names.iter().map(find).collect::<std::result::Result<_, _>>()? })
    }

    fn joint_names(&self) -> Vec<String> {
        self.joints.iter().map(|joint| joint.name.clone()).collect()
    }
}

/// The number of `q` with a number, as in `q3`.
fn numbered_joint(column: &str) -> Option<&str> {
    let number = column.strip_prefix('q')?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
}

pub fn read(path: &Path, selection: &Selection) -> Result<Recording> {
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let is_packed = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    let reader: Box<dyn Read> = if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    read_table(path, reader, selection)
}

fn read_table(path: &Path, reader: impl Read, selection: &Selection) -> Result<Recording> {
    let refused = |error: ::csv::Error| data(path, error.to_string());
    let mut table =
        ::csv::ReaderBuilder::new().trim(::csv::Trim::All).comment(Some(b'#')).from_reader(reader);
    let header = table.headers().map_err(refused)?.clone();
    let columns = ColumnMap::detect(&header.iter().collect::<Vec<_>>());
    let columns = match &selection.joints {
        Some(names) => columns.and_then(|columns| columns.select(names)),
        None => columns,
    };
    let columns = columns.map_err(|problem| data(path, problem))?;
    let mut summary = Summary::default();
    let mut rows = Vec::new();
    let mut record = ::csv::StringRecord::new();
    while table.read_record(&mut record).map_err(refused)? {
        summary.read += 1;
        match row(&columns, &record) {
            Some(row) => rows.push(row),
            None => summary.not_finite += 1,
        }
    }
    Recording::assemble(path, columns.joint_names(), rows, summary)
}

/// Empty cells and what is no number become NaN, for the cleaning to count; none without a time.
fn row(columns: &ColumnMap, record: &::csv::StringRecord) -> Option<Row> {
    let cell = |index: usize| record.get(index).and_then(|cell| cell.parse::<f64>().ok()).unwrap_or(f64::NAN);
    let time = Some(cell(columns.time)).filter(|time| time.is_finite())?;
    let velocity: Option<Vec<f64>> = columns.joints.iter().map(|joint| joint.velocity.map(cell)).collect();
    let effort: Option<Vec<f64>> = columns.joints.iter().map(|joint| joint.effort.map(cell)).collect();
    Some(Row {
        header: Stamp::from_seconds(time),
        log: None,
        position: columns.joints.iter().map(|joint| cell(joint.position)).collect(),
        velocity: velocity.unwrap_or_default(),
        effort: effort.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::data_folder;

    fn read_text(text: &str, joints: Option<&[&str]>) -> Result<Recording> {
        let joints = joints.map(|joints| joints.iter().map(|&joint| joint.into()).collect());
        read_table(Path::new("x.csv"), text.as_bytes(), &Selection { topic: None, joints })
    }

    #[test]
    fn both_conventions_are_recognised() {
        let text = "t_s,b_pos,a_pos,a_vel,b_vel,a_eff\n0,1,2,3,4,5\n0.5,6,7,8,9,10\n1,,7,8,9,10\n";
        let recording = read_text(text, Some(&["a", "b"])).unwrap();
        assert_eq!(recording.joints, ["a", "b"]);
        assert_eq!(recording.states[1].position, [7.0, 6.0]);
        assert_eq!(recording.states[1].velocity, [8.0, 9.0]);
        assert!(recording.efforts.is_none(), "joint b has none");
        assert_eq!(recording.states[1].stamp, Stamp(500_000_000));
        assert_eq!(recording.summary.not_finite, 1);

        let text = "t_s,q1,q2,qd1,qd2,tau2,tau_motor1\n0,1,2,3,4,5,6\n1,1,2,3,4,,8\n";
        let recording = read_text(text, None).unwrap();
        let efforts = recording.efforts.unwrap();
        assert_eq!(efforts[0], [6.0, 5.0]);
        assert!(efforts[1].iter().all(|effort| effort.is_nan()), "one is missing");
        assert_eq!(recording.joints, ["q1", "q2"]);
        assert_eq!(recording.states[0].velocity, [3.0, 4.0]);

        let recording = read_text("time,a_pos\n0,1\n1,3\n", None).unwrap();
        assert!(recording.summary.differentiated);
    }

    #[test]
    fn tables_of_something_else_are_refused() {
        let refused = |text: &str, joints| read_text(text, joints).unwrap_err().to_string();
        assert!(refused("a_pos\n1\n", None).contains("no column of time"));
        assert!(refused("t_s,x\n0,1\n", None).contains("no columns <joint>_pos or q1, q2, ... among t_s, x"));
        assert!(refused("t_s,a_pos\n0,1\n", Some(&["c"])).contains("no joint 'c' among a"));
        assert!(refused("t_s,a_pos\n0,1,2\n", None).contains("record 1"));
        assert!(refused("", None).contains("no column of time"));
    }

    #[test]
    fn the_recorded_tables_are_read() {
        let Some(folder) = data_folder() else { return };
        let expected = [
            ("tiago_arm_100hz/tiago.csv.gz", 8, 8022, 0.01),
            ("bags_unisa/panda.csv.gz", 7, 727, 1.0 / 30.0),
            ("kuka_kr300/traj_A.csv.gz", 6, 2501, 0.004),
        ];
        for (name, joints, kept, interval) in expected {
            let recording = Recording::read(&folder.join(name), &Selection::default()).unwrap();
            assert_eq!((recording.joints.len(), recording.summary.kept), (joints, kept), "{name}");
            assert!((recording.summary.interval - interval).abs() < 0.02 * interval, "{name}");
            assert!(!recording.summary.differentiated);
        }
    }
}
