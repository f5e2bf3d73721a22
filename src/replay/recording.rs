//! What a replay gives, as a recording (MCAP) under the topics and types of the nodes, logged at the stamps.

use super::{Output, Sent};
use crate::base::{BaseControllerConfig, pose_of};
use crate::dataset::mcap_writer::McapWriter;
use crate::dataset::messages::{
    self, Duration, Float64MultiArray, Header, JointTrajectory, JointTrajectoryPoint, MultiArrayDimension,
    MultiArrayLayout, Pose, PoseStamped, Quaternion, Twist, TwistStamped, Vector3,
};
use crate::error::{Error, Result};
use crate::robot::Robot;
use crate::state::{Space, Stamp, State};
use crate::trajectory::Trajectory;
use std::path::{Path, PathBuf};

pub const TWISTS: &str = "/cmd_vel";
pub const PREDICTIONS: &str = "/predictor/predicted_trajectory";
pub const STDDEV: &str = "/predictor/prediction_stddev";
pub const PREDICTED_PATH: &str = "/base_predictor/predicted_path";
pub const PATH_STDDEV: &str = "/base_predictor/prediction_stddev";

/// Makes its folder with the first output.
pub struct RecordingWriter {
    folder: PathBuf,
    joints: Vec<String>,
    space: Space,
    writer: Option<McapWriter>,
}

impl RecordingWriter {
    /// The folder must not exist.
    pub fn create(folder: &Path, robot: &Robot) -> Result<Self> {
        if folder.exists() {
            let problem =
                "it exists; a recording is a new folder, and tables have names that end in .csv".into();
            return Err(Error::Data { file: folder.to_path_buf(), problem });
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            joints: robot.joints.clone(),
            space: robot.space,
            writer: None,
        })
    }

    pub fn write(&mut self, output: &Output) -> Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.writer.insert(McapWriter::create(&self.folder)?),
        };
        match &output.sent {
            None => {}
            Some(Sent::Command(_, command)) => {
                let message = Float64MultiArray { data: command.values.clone(), ..Default::default() };
                writer.write(&format!("/{}", command.mode.topic()), output.stamp, &message)?;
            }
            Some(Sent::Twist(control, [vx, vy, wz])) => {
                let linear = Vector3 { x: *vx, y: *vy, z: 0.0 };
                let angular = Vector3 { x: 0.0, y: 0.0, z: *wz };
                let twist = Twist { linear, angular };
                let BaseControllerConfig { enable_stamped_cmd_vel, base_frame_id, .. } = control.config();
                if *enable_stamped_cmd_vel {
                    let header = Header { stamp: output.stamp.into(), frame_id: base_frame_id.clone() };
                    writer.write(TWISTS, output.stamp, &TwistStamped { header, twist })?;
                } else {
                    writer.write(TWISTS, output.stamp, &twist)?;
                }
            }
        }
        if let Some(prediction) = output.prediction {
            let (topic, columns) = match self.space {
                Space::Joints => {
                    writer.write(PREDICTIONS, output.stamp, &trajectory(prediction, &self.joints))?;
                    (STDDEV, "joint")
                }
                Space::PlanarBase => {
                    writer.write(PREDICTED_PATH, output.stamp, &path(prediction, output.frame))?;
                    (PATH_STDDEV, "x, y, yaw")
                }
            };
            let table = table(&prediction.stddev, columns, self.joints.len());
            writer.write(topic, output.stamp, &table)?;
        }
        Ok(())
    }

    pub fn finish(self) -> Result<()> {
        self.writer.map_or(Ok(()), McapWriter::finish)
    }
}

fn trajectory(prediction: &Trajectory, joints: &[String]) -> JointTrajectory {
    let point = |(k, state): (usize, &State)| {
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

/// The predicted poses, each with the stamp of its time.
fn path(prediction: &Trajectory, frame: &str) -> messages::Path {
    let header = |stamp: Stamp| Header { stamp: stamp.into(), frame_id: frame.to_owned() };
    let pose = |(k, state): (usize, &State)| {
        let [x, y, yaw] = pose_of(state)?;
        let pose = Pose { position: Vector3 { x, y, z: 0.0 }, orientation: Quaternion::from_yaw(yaw) };
        let stamp = prediction.stamp + prediction.horizon.time_from_start(k);
        Some(PoseStamped { header: header(stamp), pose })
    };
    let poses = (1..).zip(&prediction.states).filter_map(pose).collect();
    messages::Path { header: header(prediction.stamp), poses }
}

/// Rows [step][coordinate], with their sizes as ROS has them.
fn table(rows: &[Vec<f64>], of: &str, columns: usize) -> Float64MultiArray {
    let (rows_count, columns) = (rows.len() as u32, columns as u32);
    let dimension = |label: &str, size, stride| MultiArrayDimension { label: label.into(), size, stride };
    Float64MultiArray {
        layout: MultiArrayLayout {
            dim: vec![dimension("step", rows_count, rows_count * columns), dimension(of, columns, columns)],
            data_offset: 0,
        },
        data: rows.concat(),
    }
}
