//! The offline tools behind `learned_control <verb>`: each module has the arguments of one and a `run`.

pub mod evaluate;
pub mod identify_delay;
pub mod inspect;
mod progress;
pub mod replay;
#[cfg(feature = "sim")]
pub mod simulate;
pub mod train;

use crate::dataset::{CommandSelection, CommandSource, Recording, Selection, rosbag};
use crate::error::Error;
use crate::files::sha256_of_file;
use crate::nn::checkpoint::DataFile;
use crate::predictor::PredictorParameters;
use crate::predictor::commands::{AGE_LIMIT, Quantity};
use anyhow::Result;
use clap::Args;
use std::path::{Path, PathBuf};

/// Which recordings to work on.
#[derive(Args, Debug)]
pub struct DataArgs {
    /// Recordings: .csv, .tsv, .txt, also with .gz (time, <joint>_pos, <joint>_vel or q1.., qd1..), .db3, .mcap or a bag's folder
    #[arg(required_unless_present = "data", value_name = "BAG")]
    recordings: Vec<PathBuf>,
    /// The same, as an option
    #[arg(long, num_args = 1.., value_name = "BAG")]
    data: Vec<PathBuf>,
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// Sampling time, s [default: the median interval of the first recording]
    #[arg(long)]
    pub dt: Option<f64>,
}

/// What to read of a recording.
#[derive(Args, Debug)]
pub struct ReadingArgs {
    /// Topic with JointState, Odometry, PoseStamped, PoseWithCovarianceStamped or transforms (/tf or /tf:odom:base_link) in a bag
    /// [default: one with JointState, else Odometry]
    #[arg(long)]
    pub topic: Option<String>,
    /// Joints and their order [default: those of most messages or of the columns]; x,y,yaw of a table with a base and joints
    #[arg(long, value_delimiter = ',')]
    pub joints: Option<Vec<String>>,
    /// Columns of a table, by name or number: time=COLUMN,JOINT=POSITION:VELOCITY:EFFORT,... or time=,x=,y=,yaw=,vx=,vy=,wz=
    /// of a base, whose yaw may be qz:qw or qx:qy:qz:qw; time=COLUMN:ms (us, ns) of a time that is not in seconds, time=SEC:NANOSEC
    /// of one in two columns
    #[arg(long)]
    pub columns: Option<crate::dataset::csv::Columns>,
    /// Rows a second of a table that has no column of time, Hz
    #[arg(long, value_name = "HZ")]
    rate: Option<f64>,
    #[command(flatten)]
    pub commands: CommandArgs,
}

/// What the robot was told beside its motion.
#[derive(Args, Clone, Debug, Default)]
pub struct CommandArgs {
    /// Topic of commands in a bag (Twist, TwistStamped, AckermannDrive, JointTrajectory, JointState, Float64MultiArray), or
    /// columns of a table: JOINT=POSITION:VELOCITY:ACCELERATION,... (q*=q_ref*:qd_ref*) or vx=,wz= of a base
    #[arg(long, value_name = "TOPIC")]
    pub commands: Option<CommandSource>,
    /// What bare numbers (Float64MultiArray) set [default: as the topic's name says]
    #[arg(long, value_name = "QUANTITY")]
    pub command_quantity: Option<Quantity>,
    /// A command that is older counts no more, s [default: 0.5]
    #[arg(long, value_name = "SECONDS")]
    pub command_age: Option<f64>,
    /// The motion in a table was planned before it began: the future of its commands is known
    #[arg(long, requires = "commands")]
    pub planned: bool,
}

impl CommandArgs {
    fn selection(&self) -> Option<CommandSelection> {
        Some(CommandSelection {
            source: self.commands.clone()?,
            quantity: self.command_quantity,
            planned: self.planned,
            age_limit: self.command_age.unwrap_or(AGE_LIMIT),
        })
    }

    /// Without `--commands` those that the predictor's parameters say the node listens to.
    fn or_of(&self, parameters: &PredictorParameters) -> Self {
        if self.commands.is_some() || parameters.command_topic.is_empty() {
            return self.clone();
        }
        Self {
            commands: Some(CommandSource::Topic(parameters.command_topic.clone())),
            command_quantity: self.command_quantity.or(parameters.command_kind.quantity()),
            command_age: self.command_age.or(Some(parameters.command_age_limit)),
            planned: false,
        }
    }
}

impl ReadingArgs {
    fn selection(&self, joints: Option<Vec<String>>, commands: &CommandArgs) -> Selection {
        let commands = commands.selection();
        let (topic, columns) = (self.topic.clone(), self.columns.clone());
        Selection { topic, joints, columns, rate: self.rate, commands }
    }
}

impl DataArgs {
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.recordings.iter().chain(&self.data)
    }

    fn read(&self) -> Result<Vec<Recording>> {
        self.read_joints(self.reading.joints.clone(), &self.reading.commands)
    }

    /// Reads these joints, or all of them.
    fn read_joints(&self, joints: Option<Vec<String>>, commands: &CommandArgs) -> Result<Vec<Recording>> {
        let mut selection = self.reading.selection(joints, commands);
        let mut recordings: Vec<Recording> = Vec::new();
        for path in self.paths() {
            let mut recording = Recording::read(path, &selection)?;
            // the same joints in another order are those of the same robot
            let first = recordings.first().filter(|first| is_other_order(&first.joints, &recording.joints));
            if let Some(first) = first {
                selection.joints = Some(first.joints.clone());
                recording = Recording::read(path, &selection)?;
                selection.joints = None;
            }
            recordings.push(recording);
        }
        Ok(recordings)
    }

    /// Name and hash of every file, for the card of a model.
    fn hashes(&self) -> Result<Vec<DataFile>> {
        let mut hashes = Vec::new();
        for path in self.paths() {
            for (name, file) in files_of(path)? {
                hashes.push(DataFile { name, sha256: sha256_of_file(&file)? });
            }
        }
        Ok(hashes)
    }
}

/// Whether these are the same names, but not in the same order.
fn is_other_order(names: &[String], others: &[String]) -> bool {
    names != others && names.len() == others.len() && names.iter().all(|name| others.contains(name))
}

/// `error`, which their reading may explain, with what was read of the `recordings`.
fn with_account(error: impl std::fmt::Display, recordings: &[Recording]) -> anyhow::Error {
    let read = |recording: &Recording| format!("\n{}: {}", recording.origin.display(), recording.summary);
    anyhow::anyhow!("{error}{}", recordings.iter().map(read).collect::<String>())
}

/// The file at `path`, or those in the folder of a bag but for storages that are not read, each with its name (in the folder:
/// `folder/name`), sorted.
fn files_of(path: &Path) -> crate::Result<Vec<(String, PathBuf)>> {
    let name = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    if !path.is_dir() {
        return Ok(vec![(name(path), path.to_path_buf())]);
    }
    let (read, mut files) = (rosbag::files_read(path)?, Vec::new());
    for entry in std::fs::read_dir(path).map_err(Error::io(path))? {
        let file = entry.map_err(Error::io(path))?.path();
        if file.is_file() && (!rosbag::is_storage(&file) || read.contains(&file)) {
            files.push((format!("{}/{}", name(path), name(&file)), file));
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bag_is_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let bag = folder.path().join("bag");
        std::fs::create_dir_all(bag.join("more")).unwrap();
        for name in ["metadata.yaml", "bag_0.db3"] {
            std::fs::write(bag.join(name), name).unwrap();
        }
        let names = |path: &Path| -> Vec<String> {
            files_of(path).unwrap().into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(&bag), ["bag/bag_0.db3", "bag/metadata.yaml"]);
        assert_eq!(names(&bag.join("bag_0.db3")), ["bag_0.db3"]);
    }
}
