//! What a replay gives, as tables (CSV) that are complete or not there. Numbers have the digits that make them the same
//! when they are read again; stamps are whole nanoseconds.

use super::{Output, Sent};
use crate::error::{Error, Result};
use crate::files::Replacement;
use crate::robot::Robot;
use crate::state::{Space, Stamp};
use crate::trajectory::Trajectory;
use csv::Writer;
use std::path::{Path, PathBuf};

/// A row a command: stamp_ns, `<joint>_effort` [Nm or N] of each joint, or of a base vx, vy [m/s] and wz [rad/s], verdict,
/// authority.
pub struct CommandTable(Table);

/// A row a predicted state: stamp_ns of the measurement, step, and of each joint `<joint>_pos` [rad or m],
/// `<joint>_vel` [rad/s or m/s] and `<joint>_stddev` of the position.
pub struct PredictionTable(Table);

struct Table {
    path: PathBuf,
    writer: Writer<Replacement>,
    cells: Vec<String>,
}

impl CommandTable {
    pub fn create(path: &Path, robot: &Robot) -> Result<Self> {
        let mut table = Table::create(path)?;
        table.cells.push("stamp_ns".into());
        match robot.space {
            Space::Joints => table.cells.extend(robot.joints.iter().map(|joint| format!("{joint}_effort"))),
            Space::PlanarBase => table.cells.extend(["vx", "vy", "wz"].map(String::from)),
        }
        table.cells.extend(["verdict".into(), "authority".into()]);
        table.write()?;
        Ok(Self(table))
    }

    /// Writes the command, if there is one.
    pub fn write(&mut self, output: &Output) -> Result<()> {
        let (values, verdict, authority) = match &output.sent {
            None => return Ok(()),
            Some(Sent::Command(control, command)) => {
                (&command.values[..], control.verdict().to_string(), control.authority())
            }
            Some(Sent::Twist(control, twist)) => {
                (&twist[..], control.verdict().to_string(), control.authority())
            }
        };
        self.0.stamp(output.stamp);
        self.0.cells.extend(values.iter().map(f64::to_string));
        self.0.cells.extend([verdict, authority.to_string()]);
        self.0.write()
    }

    pub fn finish(self) -> Result<()> {
        self.0.finish()
    }
}

impl PredictionTable {
    pub fn create(path: &Path, joints: &[String]) -> Result<Self> {
        let mut table = Table::create(path)?;
        table.cells.extend(["stamp_ns".into(), "step".into()]);
        for quantity in ["pos", "vel", "stddev"] {
            table.cells.extend(joints.iter().map(|joint| format!("{joint}_{quantity}")));
        }
        table.write()?;
        Ok(Self(table))
    }

    /// Writes the prediction, if there is one.
    pub fn write(&mut self, output: &Output) -> Result<()> {
        let Some(Trajectory { stamp, states, stddev, .. }) = output.prediction else { return Ok(()) };
        for (step, (state, stddev)) in (1..).zip(states.iter().zip(stddev)) {
            self.0.stamp(*stamp);
            self.0.cells.push(i32::to_string(&step));
            let values = state.position.iter().chain(&state.velocity).chain(stddev);
            self.0.cells.extend(values.map(f64::to_string));
            self.0.write()?;
        }
        Ok(())
    }

    pub fn finish(self) -> Result<()> {
        self.0.finish()
    }
}

impl Table {
    fn create(path: &Path) -> Result<Self> {
        let writer = Writer::from_writer(Replacement::new(path)?);
        Ok(Self { path: path.to_path_buf(), writer, cells: Vec::new() })
    }

    fn stamp(&mut self, stamp: Stamp) {
        self.cells.push(stamp.0.to_string());
    }

    /// Writes the cells as a row, and empties them.
    fn write(&mut self) -> Result<()> {
        let written = self.writer.write_record(&self.cells);
        self.cells.clear();
        written.map_err(|error| Error::io(&self.path)(error.into()))
    }

    fn finish(self) -> Result<()> {
        let Self { path, writer, .. } = self;
        writer.into_inner().map_err(|error| Error::io(&path)(error.into_error()))?.commit()
    }
}
