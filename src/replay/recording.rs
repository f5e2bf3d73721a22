//! What a replay gives, as a recording (MCAP) under the topics and types of the nodes, logged at the stamps.

use super::Output;
use crate::dataset::mcap_writer::McapWriter;
use crate::dataset::messages::{
    Duration, Float64MultiArray, Header, JointTrajectory, JointTrajectoryPoint, MultiArrayDimension,
    MultiArrayLayout,
};
use crate::error::{Error, Result};
use crate::trajectory::Trajectory;
use std::path::{Path, PathBuf};

pub const PREDICTIONS: &str = "/predictor/predicted_trajectory";
pub const STDDEV: &str = "/predictor/prediction_stddev";

/// Makes its folder with the first output.
pub struct RecordingWriter {
    folder: PathBuf,
    joints: Vec<String>,
    writer: Option<McapWriter>,
}

impl RecordingWriter {
    /// The folder must not exist.
    pub fn create(folder: &Path, joints: &[String]) -> Result<Self> {
        if folder.exists() {
            let problem =
                "it exists; a recording is a new folder, and tables have names that end in .csv".into();
            return Err(Error::Data { file: folder.to_path_buf(), problem });
        }
        Ok(Self { folder: folder.to_path_buf(), joints: joints.to_vec(), writer: None })
    }

    pub fn write(&mut self, output: &Output) -> Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.writer.insert(McapWriter::create(&self.folder)?),
        };
        if let Some((_, command)) = output.controller {
            let message = Float64MultiArray { data: command.values.clone(), ..Default::default() };
            writer.write(&format!("/{}", command.mode.topic()), output.stamp, &message)?;
        }
        if let Some(prediction) = output.prediction {
            writer.write(PREDICTIONS, output.stamp, &trajectory(prediction, &self.joints))?;
            writer.write(STDDEV, output.stamp, &table(&prediction.stddev, self.joints.len()))?;
        }
        Ok(())
    }

    pub fn finish(self) -> Result<()> {
        self.writer.map_or(Ok(()), McapWriter::finish)
    }
}

fn trajectory(prediction: &Trajectory, joints: &[String]) -> JointTrajectory {
    let point = |(k, state): (usize, &crate::state::State)| {
        let time = prediction.horizon.time_from_start(k);
        JointTrajectoryPoint {
            positions: state.position.clone(),
            velocities: state.velocity.clone(),
            time_from_start: Duration { sec: time.as_secs() as i32, nanosec: time.subsec_nanos() },
            ..Default::default()
        }
    };
    JointTrajectory {
        header: Header { stamp: prediction.stamp.into(), ..Default::default() },
        joint_names: joints.to_vec(),
        points: (1..).zip(&prediction.states).map(point).collect(),
    }
}

/// Rows [step][joint], with their sizes as ROS has them.
fn table(rows: &[Vec<f64>], columns: usize) -> Float64MultiArray {
    let (rows_count, columns) = (rows.len() as u32, columns as u32);
    let dimension = |label: &str, size, stride| MultiArrayDimension { label: label.into(), size, stride };
    Float64MultiArray {
        layout: MultiArrayLayout {
            dim: vec![
                dimension("step", rows_count, rows_count * columns),
                dimension("joint", columns, columns),
            ],
            data_offset: 0,
        },
        data: rows.concat(),
    }
}
