//! Recorded motion: read from files, cleaned with account, cut into episodes at equal steps.
//!
//! Files are read in pieces, so they may be larger than the memory; a [`Recording`] holds no more than the states of
//! one topic or table.

pub(crate) mod bag;
pub(crate) mod cleaning;
pub mod commands;
mod contradiction;
pub mod csv;
pub mod effort;
mod joint_state;
mod layout;
pub mod mcap_writer;
pub mod messages;
pub mod rosbag;
mod summary;
mod transform;

pub use commands::{CommandSelection, CommandSource, Commands};
pub use summary::Summary;

use crate::error::{Error, Result};
use crate::predictor::commands::Told;
use crate::predictor::resampler::Resampler;
use crate::state::{Space, Stamp, State};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The coordinates of a base.
pub const BASE: [&str; 3] = ["x", "y", "yaw"];

/// What to read of a file.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The topic in a bag, with JointState, Odometry, PoseStamped, PoseWithCovarianceStamped, TransformStamped or TFMessage, of which
    /// `/tf:odom:base_link` says what in what. If none is given: one with JointState, else one with Odometry; among several the one
    /// with most messages.
    pub topic: Option<String>,
    /// Joints and their order; if none are given, those of most messages or of the columns.
    pub joints: Option<Vec<String>>,
    /// The columns of a table; if none are given, they are known by their names.
    pub columns: Option<csv::Columns>,
    /// Of a table without a column of time: rows a second, Hz.
    pub rate: Option<f64>,
    /// The commands to read beside the motion; if none are given, none are read.
    pub commands: Option<CommandSelection>,
}

/// The motion of named joints as it was measured, in the order of the stamps.
#[derive(Clone, Debug)]
pub struct Recording {
    pub origin: PathBuf,
    /// Names of the coordinates: of the joints, or x, y, yaw of a base.
    pub joints: Vec<String>,
    pub space: Space,
    pub states: Vec<State>,
    /// [measurement][joint] as recorded, mostly Nm or N; NaN where one is missing. None if there are no efforts.
    pub efforts: Option<Vec<Vec<f64>>>,
    /// What the robot was told, if that was asked for.
    pub commands: Option<Commands>,
    pub summary: Summary,
}

/// Samples at equal steps, with no gap between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// s
    pub dt: f64,
    pub states: Vec<State>,
    /// What had been told by each sample; empty where no commands were read.
    pub told: Vec<Option<Told>>,
}

impl Episode {
    /// Without commands.
    pub fn new(dt: f64, states: Vec<State>) -> Self {
        Self { dt, states, told: Vec::new() }
    }

    /// Its samples from `range`, with their commands.
    pub fn part(&self, range: std::ops::Range<usize>) -> Self {
        let told = if self.told.is_empty() { Vec::new() } else { self.told[range.clone()].to_vec() };
        Self { dt: self.dt, states: self.states[range].to_vec(), told }
    }

    /// What had been told by the sample at `time`.
    pub fn told(&self, time: usize) -> Option<&Told> {
        self.told.get(time).and_then(Option::as_ref)
    }
}

/// One measurement as a reader found it, before any cleaning.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub header: Stamp,
    pub log: Option<Stamp>,
    /// [joint], rad or m
    pub position: Vec<f64>,
    /// [joint], rad/s or m/s; empty if there were none
    pub velocity: Vec<f64>,
    /// [joint], Nm or N; empty if there were none
    pub effort: Vec<f64>,
    /// What was told at that time, [quantity][joint]; empty if there was nothing
    pub command: Vec<f64>,
}

/// Whether `path` is named as a table or a bag, or is a folder.
pub fn is_recording(path: &Path) -> bool {
    csv::is_table(path) || rosbag::is_storage(path) || path.is_dir()
}

impl Recording {
    /// Reads a `.csv`, a `.csv.gz`, a `.db3`, a `.mcap` (these also with `.zstd`) or the folder of a rosbag2
    /// recording.
    pub fn read(path: &Path, selection: &Selection) -> Result<Self> {
        check_kind(path)?;
        let refused = |option: &str, of: &str, instead: &str| {
            Err(data(path, format!("{option} is for {of}, and this is {instead}; leave it out")))
        };
        match (csv::is_table(path), rosbag::is_storage(path) || path.is_dir()) {
            (true, _) if selection.topic.is_some() => refused("--topic", "a bag", "a table"),
            (true, _) => csv::read(path, selection),
            (_, true) if selection.rate.is_some() => refused("--rate", "a table", "a bag"),
            (_, true) if selection.columns.is_some() => refused("--columns", "a table", "a bag"),
            (_, true) => bag::read(path, selection),
            _ => Err(data(
                path,
                "its kind is not known; expected .csv, .tsv, .txt (also with .gz), .db3, .mcap or the folder of a bag",
            )),
        }
    }

    /// Cuts at gaps of more than five `dt` [s] and resamples by linear interpolation, as a running predictor
    /// does. Motions of fewer than two samples are left out.
    pub fn episodes(&self, dt: f64) -> Result<Vec<Episode>> {
        let step = Duration::try_from_secs_f64(dt).ok().filter(|step| !step.is_zero());
        let Some(step) = step else {
            return Err(Error::mismatch("dt [s]", dt, "above zero"));
        };
        let mut resampler = Resampler::recorded(step, self.joints.len());
        let mut episodes: Vec<Episode> = Vec::new();
        for (index, state) in self.states.iter().enumerate() {
            let told = self.commands.as_ref().map(|commands| commands.told[index].clone());
            resampler.observe(state, |sample, is_first| {
                if is_first {
                    episodes.push(Episode::new(dt, Vec::new()));
                }
                if let Some(episode) = episodes.last_mut() {
                    episode.states.push(sample.clone());
                    episode.told.extend(told.clone());
                }
            });
        }
        episodes.retain(|episode| episode.states.len() >= 2);
        if episodes.is_empty() {
            let interval = self.summary.interval;
            let problem = format!(
                "no two measurements are within 5 dt of {dt} s; their median interval is {interval} s"
            );
            return Err(data(&self.origin, problem));
        }
        Ok(episodes)
    }
}

/// How many gaps there are, in brackets; nothing without one.
pub(crate) fn gaps_told(recordings: &[Recording]) -> String {
    match recordings.iter().map(|recording| recording.summary.gaps).sum() {
        0_usize => String::new(),
        gaps => format!(" ({gaps} gaps)"),
    }
}

/// How much longer than the sampling time one is tried that bridges more gaps.
const LONGER: [f64; 5] = [2.0, 3.0, 5.0, 7.0, 10.0];

/// A sampling time [s] larger than `dt` at which the recordings, less cut up by gaps, are enough: the first that
/// `is_enough` finds so of itself and of their episodes. None where there are no gaps.
pub(crate) fn larger_dt(
    recordings: &[Recording],
    dt: f64,
    is_enough: impl Fn(f64, Vec<Episode>) -> bool,
) -> Option<f64> {
    let has_gaps = recordings.iter().any(|recording| recording.summary.gaps > 0);
    let rounded = LONGER.iter().filter_map(|factor| format!("{:.1e}", factor * dt).parse().ok());
    let is_enough = |dt: &f64| {
        let episodes = recordings.iter().map(|recording| recording.episodes(*dt));
        let episodes = episodes.collect::<Result<Vec<_>>>();
        episodes.is_ok_and(|episodes| is_enough(*dt, episodes.into_iter().flatten().collect()))
    };
    rounded.filter(|_| has_gaps).find(is_enough)
}

/// What to say of it at the end of an error.
pub(crate) fn larger_dt_told(larger: Option<f64>) -> String {
    larger.map_or(String::new(), |dt| format!("; --dt {dt} would do, for it bridges gaps"))
}

/// Refuses what is neither a file nor a folder: a pipe would be waited for without end.
pub(crate) fn check_kind(path: &Path) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(metadata) if metadata.is_file() => check_contents(path),
        Ok(_) => Err(data(path, "it is a pipe or a device; a recording is a file or a folder")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(data(path, "there is no such file"))
        }
        Err(error) => Err(Error::io(path)(error)),
    }
}

/// Refuses a file that stands for a recording or has to be converted to one, by its first bytes.
pub(crate) fn check_contents(path: &Path) -> Result<()> {
    let known = [
        ("version https", "it is a pointer of Git LFS, not the file: get that with git lfs pull"),
        ("#ROSBAG V", "it is a bag of ROS 1; convert it: rosbags-convert --src FILE.bag --dst FOLDER"),
    ];
    let first = rosbag::first_bytes(path)?;
    match known.iter().find(|(start, _)| first.starts_with(start.as_bytes())) {
        Some((_, problem)) => Err(data(path, *problem)),
        None => Ok(()),
    }
}

pub(crate) fn data(path: &Path, problem: impl Into<String>) -> Error {
    Error::Data { file: path.to_path_buf(), problem: problem.into() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The folder of recorded data, or a plain word that the test is skipped.
    pub fn data_folder() -> Option<PathBuf> {
        let folder = std::env::var_os("LEARNED_CONTROL_DATA")
            .map(PathBuf::from)
            .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
        if !folder.is_dir() {
            println!("skipped: no data in {}", folder.display());
            return None;
        }
        Some(folder)
    }

    fn row(milliseconds: i64, position: f64) -> Row {
        let stamp = Stamp(milliseconds * 1_000_000);
        Row {
            header: stamp,
            log: Some(Stamp(stamp.0 + 5)),
            position: vec![position],
            velocity: vec![1.0],
            effort: vec![],
            command: vec![],
        }
    }

    fn assemble(rows: Vec<Row>) -> Result<Recording> {
        let read = rows.len();
        let joints = vec!["a".into()];
        cleaning::assemble(
            Path::new("x"),
            joints,
            Space::Joints,
            rows,
            Summary { read, ..Default::default() },
        )
        .map(|(recording, _)| recording)
    }

    #[test]
    fn what_is_dropped_is_counted() {
        let mut rows =
            vec![row(0, 0.0), row(10, 0.1), row(10, 0.1), row(5, 0.2), row(20, f64::NAN), row(30, 0.3)];
        rows.push(Row { position: vec![], ..row(40, 0.0) });
        rows.push(row(5000, 1.0));
        rows.push(row(0, 0.0));
        let recording = assemble(rows).unwrap();
        let summary = recording.summary;
        assert_eq!((summary.read, summary.kept), (9, 5));
        assert_eq!((summary.duplicates, summary.out_of_order, summary.not_finite), (1, 1, 1));
        assert_eq!((summary.incomplete, summary.clock_set_back), (1, 1));
        assert!(!summary.log_time && !summary.differentiated);
        assert!(summary.to_string().starts_with("kept 5 of 9, 1 not finite, 1 incomplete, 1 duplicates"));
    }

    #[test]
    fn zero_stamps_are_replaced_by_the_time_of_logging() {
        let rows =
            (1..4).map(|step| Row { header: Stamp(0), log: Some(Stamp(step)), ..row(0, 0.0) }).collect();
        let recording = assemble(rows).unwrap();
        assert!(recording.summary.log_time);
        assert_eq!(recording.states[2].stamp, Stamp(3));
        // a clock that starts at zero is no reason for it
        assert!(!assemble(vec![row(0, 0.0), row(10, 0.0), row(20, 0.0)]).unwrap().summary.log_time);
    }

    #[test]
    fn missing_velocities_are_differences_of_the_past() {
        let rows = (0..3).map(|step| Row { velocity: vec![], ..row(100 * step, 0.1 * (step * step) as f64) });
        let recording = assemble(rows.collect()).unwrap();
        assert!(recording.summary.differentiated);
        let velocities: Vec<f64> = recording.states.iter().map(|state| state.velocity[0]).collect();
        velocities.iter().zip([0.0, 1.0, 3.0]).for_each(|(v, expected)| assert!((v - expected).abs() < 1e-9));
    }

    #[test]
    fn velocities_that_are_missing_now_and_then_are_made_as_the_nodes_make_them() {
        let mut rows: Vec<Row> = (0..5).map(|step| row(100 * step, 0.1 * (step * step) as f64)).collect();
        (rows[0].velocity, rows[2].velocity, rows[3].velocity) = (vec![], vec![f64::NAN], vec![]);
        let recording = assemble(rows).unwrap();
        let velocities: Vec<f64> = recording.states.iter().map(|state| state.velocity[0]).collect();
        velocities
            .iter()
            .zip([0.0, 1.0, 3.0, 5.0, 1.0])
            .for_each(|(v, expected)| assert!((v - expected).abs() < 1e-9, "{velocities:?}"));
        let summary = recording.summary;
        assert_eq!((summary.kept, summary.incomplete, summary.not_finite), (5, 0, 0));
        assert!(
            summary.differentiated && summary.to_string().contains("3 of 5 velocities are missing"),
            "{summary}"
        );
    }

    #[test]
    fn joints_that_no_model_can_have_are_refused() {
        let refused = |names: [&str; 2], position: [f64; 2]| {
            let row =
                |step: i64| Row { position: position.into(), velocity: vec![0.0; 2], ..row(10 * step, 0.0) };
            let names = names.map(String::from).into();
            let rows = (0..3).map(row).collect();
            let read = cleaning::assemble(Path::new("x"), names, Space::Joints, rows, Summary::default());
            read.map(drop).unwrap_err().to_string()
        };
        let error = refused(["a", "wheel"], [1.0, f64::NAN]);
        assert!(error.contains("wheel is never finite; choose the others with --joints a: "), "{error}");
        assert!(error.contains("(3 times), the first: position NaN, velocity 0 of 'wheel'"), "{error}");
        assert_eq!(refused(["a", "a"], [1.0; 2]), "x: joint 'a' is there twice; choose with --joints");
        assert!(refused(["a", ""], [1.0; 2]).contains("has no name"));
    }

    #[test]
    fn gaps_split_episodes() {
        let times = (0..10).chain(100..110).chain([500]);
        let recording = assemble(times.map(|step| row(10 * step, step as f64)).collect()).unwrap();
        let episodes = recording.episodes(0.005).unwrap();
        let lengths: Vec<usize> = episodes.iter().map(|episode| episode.states.len()).collect();
        assert_eq!(lengths, [19, 19]);
        assert_eq!(episodes[1].states[1].position, [100.5]);
        assert!(recording.episodes(1e-4).unwrap_err().to_string().contains("median interval is 0.01 s"));
        assert!(recording.episodes(0.0).is_err() && recording.episodes(f64::NAN).is_err());
    }

    #[test]
    fn many_short_gaps_are_bridged_by_the_sampling_time_that_is_named() {
        // 100 Hz of which every half second a tenth of one is missing
        let rows =
            (0..1000).filter(|step| step % 50 >= 10 || *step < 10).map(|step| row(10 * step, step as f64));
        let recording = assemble(rows.collect()).unwrap();
        let summary = &recording.summary;
        let said = "19 gaps, the longest of 0.110 s; they split episodes, and --dt 0.023 bridges them";
        assert!(summary.to_string().contains(said), "{summary}");
        assert_eq!(
            (recording.episodes(0.01).unwrap().len(), recording.episodes(0.023).unwrap().len()),
            (20, 1)
        );
    }

    #[test]
    fn too_little_is_refused_with_the_account() {
        let error = assemble(vec![row(0, f64::NAN), row(1, 0.0)]).unwrap_err().to_string();
        let expected = "x: nothing is left to use of it: kept 1 of 2, 1 not finite\n  - measurement not finite: position NaN, \
                        velocity 1 of 'a'";
        assert_eq!(error, expected);
        assert!(Recording::read(Path::new("/none.csv"), &Selection::default()).is_err());
        let error = Recording::read(Path::new("/none.bag"), &Selection::default()).unwrap_err().to_string();
        assert_eq!(error, "/none.bag: there is no such file");
        let error = Recording::read(Path::new("/dev/null"), &Selection::default()).unwrap_err().to_string();
        assert_eq!(error, "/dev/null: it is a pipe or a device; a recording is a file or a folder");
    }

    #[test]
    fn what_is_asked_of_a_table_is_not_asked_of_a_bag() {
        let folder = tempfile::tempdir().unwrap();
        let (table, bag) = (folder.path().join("x.csv"), folder.path().join("x.mcap"));
        std::fs::write(&table, "t_s,a_pos\n0,1\n1,2\n").unwrap();
        std::fs::write(&bag, "").unwrap();
        let refused = |path: &Path, selection| Recording::read(path, &selection).unwrap_err().to_string();
        let of_topic = Selection { topic: Some("/joint_states".into()), ..Default::default() };
        let of_columns = Selection { columns: "time=t_s,a=a_pos".parse().ok(), ..Default::default() };
        assert!(
            refused(&table, of_topic).ends_with("--topic is for a bag, and this is a table; leave it out")
        );
        assert!(refused(&bag, of_columns.clone()).ends_with("this is a bag; leave it out"));
        assert!(Recording::read(&table, &of_columns).is_ok());
    }

    #[test]
    fn what_is_no_recording_yet_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
        let refused = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            Recording::read(&path, &Selection::default()).unwrap_err().to_string()
        };
        for name in ["x.csv", "x.mcap", "bags/one/x.db3"] {
            let error = refused(name, pointer);
            assert!(
                error.ends_with("it is a pointer of Git LFS, not the file: get that with git lfs pull"),
                "{error}"
            );
        }
        let error = refused("x.bag", "#ROSBAG V2.0\n...");
        assert!(error.contains("a bag of ROS 1; convert it: rosbags-convert --src"), "{error}");
        let read =
            |path: &str| Recording::read(&folder.path().join(path), &Selection::default()).unwrap_err();
        assert!(read("bags/one").to_string().contains("one/x.db3: it is a pointer"), "{}", read("bags/one"));
        let error = read("bags").to_string();
        assert!(
            error.ends_with("is in the folder, but in folders of it: name these one by one (one)"),
            "{error}"
        );
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["x.csv", "x.csv.gz", "x.mcap", "x.db3", "x"] {
            let pipe = folder.path().join(name);
            let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
            assert!(made.success());
            let error = Recording::read(&pipe, &Selection::default()).unwrap_err().to_string();
            assert!(error.contains("it is a pipe or a device"), "{error}");
            let error = rosbag::Bag::open(&pipe).map(drop).unwrap_err().to_string();
            assert!(error.contains("it is a pipe or a device"), "{error}");
        }
    }
}
