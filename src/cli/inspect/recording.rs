//! What is read of a recording: which measurements, of what, how far and how fast it moved.

use crate::dataset::{Recording, Summary};
use crate::nn::checkpoint::JointRange;
use crate::report::Table;
use crate::state::Space;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

#[derive(Debug, Serialize)]
pub struct RecordingInspection {
    file: PathBuf,
    space: Space,
    summary: Summary,
    joints: Vec<JointInspection>,
}

#[derive(Debug, Serialize)]
struct JointInspection {
    name: String,
    /// rad or m, and 1/s of it
    range: JointRange,
    /// Nm or N; none where not one was measured.
    effort: Option<(f64, f64)>,
}

impl RecordingInspection {
    pub fn of(recording: &Recording) -> Self {
        let of_joint = |(joint, name): (usize, &String)| JointInspection {
            name: name.clone(),
            range: JointRange {
                position: range(recording.states.iter().map(|state| state.position[joint])),
                velocity: range(recording.states.iter().map(|state| state.velocity[joint])),
            },
            effort: recording
                .efforts
                .as_ref()
                .map(|efforts| range(efforts.iter().map(|effort| effort[joint])))
                .filter(|(least, greatest)| least <= greatest),
        };
        Self {
            file: recording.origin.clone(),
            space: recording.space,
            summary: recording.summary.clone(),
            joints: recording.joints.iter().enumerate().map(of_joint).collect(),
        }
    }
}

/// The least and the greatest of the `values` that are numbers.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), value| {
        (least.min(value), greatest.max(value))
    })
}

impl fmt::Display for RecordingInspection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}: {}", self.file.display(), self.summary)?;
        let [coordinate, position, velocity] = match self.space {
            Space::Joints => ["joint", "positions [rad or m]", "velocities [1/s]"],
            Space::PlanarBase => {
                ["base", "positions [m, rad], of the frame", "velocities [1/s], of the base"]
            }
        };
        let has_efforts = self.joints.iter().any(|joint| joint.effort.is_some());
        let efforts = has_efforts.then_some("efforts [Nm or N]");
        let mut table = Table::new("", [coordinate, position, velocity].into_iter().chain(efforts));
        let words = |(least, greatest): (f64, f64)| format!("{least:.4} to {greatest:.4}");
        for JointInspection { name, range, effort } in &self.joints {
            let effort = has_efforts.then(|| effort.map_or("none".into(), words));
            let cells = [name.clone(), words(range.position), words(range.velocity)];
            table.row(cells.into_iter().chain(effort));
        }
        write!(out, "{table}")
    }
}
