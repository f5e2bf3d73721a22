//! From the messages that command a robot to what a predictor is told.

use super::commands::{CommandConfig, Instruction, Quantity};
use crate::error::{Error, Result};
use crate::reference::{JointTrajectory, MissingJoints, ReferencePoint, SplineTrajectory};
use crate::robot::Robot;
use crate::state::{Stamp, State};

/// Reads messages for the coordinates of its robot, in their order.
#[derive(Clone, Debug)]
pub struct CommandReader {
    robot: Robot,
    config: CommandConfig,
}

impl CommandReader {
    pub fn new(robot: &Robot, config: CommandConfig) -> Self {
        Self { robot: robot.clone(), config }
    }

    pub fn config(&self) -> &CommandConfig {
        &self.config
    }

    /// A joint state, with positions, velocities and efforts in the order of its names. It may name further joints.
    pub fn joint_state(&self, names: &[String], fields: [&[f64]; 3]) -> Result<Instruction> {
        let mut values = Vec::with_capacity(self.config.values());
        for quantity in &self.config.quantities {
            let field = match quantity {
                Quantity::Position => fields[0],
                Quantity::Velocity => fields[1],
                Quantity::Effort => fields[2],
                Quantity::Acceleration => &[],
            };
            for joint in &self.config.coordinates {
                let column = names.iter().position(|name| name == joint);
                let column = column.ok_or_else(|| {
                    Error::mismatch("joints of a command", names.join(", "), format!("'{joint}' too"))
                })?;
                let value = field.get(column).ok_or_else(|| {
                    Error::mismatch("a command", format!("no {quantity} of '{joint}'"), &self.config)
                })?;
                values.push(*value);
            }
        }
        self.values(&values)
    }

    /// Bare numbers, [quantity][coordinate]; of a base its twist [vx, vy, wz], m/s and rad/s.
    pub fn values(&self, values: &[f64]) -> Result<Instruction> {
        if values.len() != self.config.values() {
            return Err(Error::mismatch("numbers of a command", values.len(), self.config.values()));
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(Error::NotFinite { what: "a command".into(), value: *value }),
            None => Ok(Instruction::Held(values.to_vec())),
        }
    }

    /// A plan that begins at `start`, or else when it comes, from where the robot was at its newest measurement `from`.
    pub fn plan(
        &self,
        trajectory: &JointTrajectory,
        start: Option<Stamp>,
        from: Option<&State>,
    ) -> Result<Instruction> {
        let joints = self.robot.degrees_of_freedom();
        let from = match from {
            Some(state) => ReferencePoint {
                position: state.position.clone(),
                velocity: state.velocity.clone(),
                acceleration: vec![0.0; joints],
            },
            None => ReferencePoint::zeros(joints),
        };
        let reference = SplineTrajectory::new(&self.robot, trajectory, &from, MissingJoints::Refuse)?;
        Ok(Instruction::Plan { reference, start: start.filter(|start| *start != Stamp::default()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::JointTrajectoryPoint;

    fn reader(quantities: Vec<Quantity>) -> CommandReader {
        let joints = ["a", "b"].map(String::from);
        CommandReader::new(&Robot::of_joints(&joints), CommandConfig::new(&joints, quantities))
    }

    #[test]
    fn joints_are_matched_by_name() {
        let reader = reader(vec![Quantity::Position, Quantity::Velocity]);
        let names = ["b", "gripper", "a"].map(String::from);
        let read = reader.joint_state(&names, [&[1.0, 9.0, 2.0], &[0.1, 0.9, 0.2], &[]]).unwrap();
        assert_eq!(read, Instruction::Held(vec![2.0, 1.0, 0.2, 0.1]));
        let refused = |names: &[String], fields| reader.joint_state(names, fields).unwrap_err().to_string();
        assert!(refused(&names, [&[1.0, 9.0, 2.0], &[], &[]]).contains("no velocity of 'a'"));
        assert!(refused(&names[..2], [&[1.0, 9.0], &[0.1, 0.9], &[]]).contains("'a' too"));
        assert!(refused(&names, [&[1.0, 9.0, f64::NAN], &[0.0; 3], &[]]).contains("NaN"));
    }

    #[test]
    fn bare_numbers_must_be_as_many_as_the_joints() {
        let reader = reader(vec![Quantity::Effort]);
        assert_eq!(reader.values(&[1.0, 2.0]).unwrap(), Instruction::Held(vec![1.0, 2.0]));
        assert!(reader.values(&[1.0]).is_err() && reader.values(&[1.0, f64::INFINITY]).is_err());
    }

    #[test]
    fn a_trajectory_is_a_plan_and_a_stamp_of_zero_is_none() {
        let reader = CommandReader::new(
            &Robot::of_joints(&["a".to_owned()]),
            CommandConfig::of_plans(&["a".to_owned()]),
        );
        let point = JointTrajectoryPoint { time_from_start: 2.0, positions: vec![3.0], ..Default::default() };
        let trajectory = JointTrajectory { joints: vec!["a".into()], points: vec![point] };
        let state = State { stamp: Stamp(5), position: vec![1.0], velocity: vec![0.0] };
        let plan = reader.plan(&trajectory, Some(Stamp(0)), Some(&state)).unwrap();
        let Instruction::Plan { reference, start: None } = plan else { panic!("{plan:?}") };
        let mut at = ReferencePoint::zeros(1);
        crate::reference::Reference::sample(&reference, 1.0, &mut at);
        assert_eq!(at.position, [2.0]); // half way from where it was
        let other = JointTrajectory { joints: vec!["c".into()], ..trajectory };
        assert!(reader.plan(&other, None, None).is_err());
    }
}
