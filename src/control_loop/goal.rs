//! Whether a trajectory that somebody waits for is kept to and its end reached, with the tolerances of
//! joint_trajectory_controller: those of the goal, where they say nothing those of the configuration.

use super::config::Constraints;
use crate::error::{Error, Result};
use crate::robot::Robot;

/// Largest error of a joint; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tolerance {
    /// rad or m.
    pub position: f64,
    /// rad/s or m/s.
    pub velocity: f64,
}

/// Tolerances of every joint, on the way and at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Tolerances {
    path: Vec<Tolerance>,
    goal: Vec<Tolerance>,
    /// How long after its end the robot may take to get there [s]; 0 is no limit.
    goal_time: f64,
}

/// What a goal says of one joint: 0 is the configured tolerance, a negative number none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AskedTolerance {
    pub joint: String,
    pub tolerance: Tolerance,
}

/// A tolerance that is violated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Violation {
    pub joint: usize,
    /// Whether it is of the velocity.
    pub of_velocity: bool,
    pub error: f64,
    pub tolerance: f64,
}

/// How a trajectory that somebody waits for fares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    Underway,
    Reached,
    PathViolated(Violation),
    GoalMissed(Violation),
}

impl Tolerances {
    /// `goal_time` [s] as a tolerance of a joint: 0 is the configured one.
    pub fn new(
        constraints: &Constraints,
        robot: &Robot,
        path: &[AskedTolerance],
        goal: &[AskedTolerance],
        goal_time: f64,
    ) -> Result<Self> {
        let at_end =
            Tolerance { position: constraints.goal, velocity: constraints.stopped_velocity_tolerance };
        Ok(Self {
            path: of_joints(robot, path, Tolerance::default())?,
            goal: of_joints(robot, goal, at_end)?,
            goal_time: asked(goal_time, constraints.goal_time),
        })
    }

    /// At `time` of a trajectory that takes `duration` [s], with these errors of each joint.
    pub fn judge(&self, time: f64, duration: f64, position: &[f64], velocity: &[f64]) -> Progress {
        if time < duration {
            return violation(&self.path, position, velocity)
                .map_or(Progress::Underway, Progress::PathViolated);
        }
        match violation(&self.goal, position, velocity) {
            None => Progress::Reached,
            Some(missed) if self.goal_time > 0.0 && time - duration > self.goal_time => {
                Progress::GoalMissed(missed)
            }
            Some(_) => Progress::Underway,
        }
    }
}

fn asked(value: f64, configured: f64) -> f64 {
    match value {
        0.0 => configured,
        value => value.max(0.0),
    }
}

fn of_joints(robot: &Robot, list: &[AskedTolerance], configured: Tolerance) -> Result<Vec<Tolerance>> {
    let mut tolerances = vec![configured; robot.degrees_of_freedom()];
    for AskedTolerance { joint, tolerance } in list {
        let Some(index) = robot.index_of(joint) else {
            return Err(Error::mismatch(
                "joint of a tolerance",
                format!("'{joint}'"),
                format!("{:?}", robot.joints),
            ));
        };
        if tolerance.position.is_nan() || tolerance.velocity.is_nan() {
            return Err(Error::mismatch(format!("tolerance of joint '{joint}'"), "NaN", "a number"));
        }
        tolerances[index] = Tolerance {
            position: asked(tolerance.position, configured.position),
            velocity: asked(tolerance.velocity, configured.velocity),
        };
    }
    Ok(tolerances)
}

/// The first tolerance that is violated.
fn violation(tolerances: &[Tolerance], position: &[f64], velocity: &[f64]) -> Option<Violation> {
    tolerances.iter().enumerate().find_map(|(joint, allowed)| {
        let errors = [(false, position[joint], allowed.position), (true, velocity[joint], allowed.velocity)];
        errors.into_iter().find(|(_, error, tolerance)| *tolerance > 0.0 && error.abs() > *tolerance).map(
            |(of_velocity, error, tolerance)| Violation { joint, of_velocity, error: error.abs(), tolerance },
        )
    })
}

impl Violation {
    /// A sentence for whoever waits.
    pub fn describe(&self, joints: &[String]) -> String {
        let Self { joint, of_velocity, error, tolerance } = self;
        let name = joints.get(*joint).map_or("?", String::as_str);
        let what = if *of_velocity { "velocity error" } else { "error" };
        format!("{what} of joint '{name}' is {error:.4}, above its tolerance {tolerance:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn robot() -> Robot {
        Robot::of_joints(&["a".into(), "b".into()])
    }

    fn constraints() -> Constraints {
        Constraints { goal: 0.1, goal_time: 2.0, stopped_velocity_tolerance: 0.5, ..Default::default() }
    }

    fn of(joint: &str, position: f64, velocity: f64) -> AskedTolerance {
        AskedTolerance { joint: joint.into(), tolerance: Tolerance { position, velocity } }
    }

    #[test]
    fn what_is_configured_counts_unless_the_goal_says_otherwise() {
        let end = |goal: &[AskedTolerance], time, errors: [f64; 2]| {
            let tolerances = Tolerances::new(&constraints(), &robot(), &[], goal, 0.0).unwrap();
            tolerances.judge(time, 1.0, &errors, &[0.0; 2])
        };
        assert_eq!(end(&[], 0.9, [9.0; 2]), Progress::Underway, "no tolerance on the way");
        assert_eq!(end(&[], 1.0, [0.1, -0.1]), Progress::Reached);
        assert_eq!(end(&[], 3.0, [0.0, -0.2]), Progress::Underway, "it has two seconds more");
        let missed = Violation { joint: 1, of_velocity: false, error: 0.2, tolerance: 0.1 };
        assert_eq!(end(&[], 3.1, [0.0, -0.2]), Progress::GoalMissed(missed));
        assert_eq!(end(&[of("b", 0.3, 0.0)], 1.0, [0.0, -0.2]), Progress::Reached);
        assert_eq!(end(&[of("b", -1.0, 0.0)], 1.0, [0.0, -9.0]), Progress::Reached);
        assert_eq!(end(&[of("b", 0.0, 0.0)], 1.0, [0.0, -0.2]), Progress::Underway);
    }

    #[test]
    fn the_way_and_the_rest_at_its_end_have_tolerances() {
        let path = [of("a", 0.2, 0.0)];
        let tolerances = Tolerances::new(&constraints(), &robot(), &path, &[], -1.0).unwrap();
        let violated = Violation { joint: 0, of_velocity: false, error: 0.3, tolerance: 0.2 };
        let judge =
            |time, position, velocity| tolerances.judge(time, 1.0, &[position, 9.0], &[velocity, 0.0]);
        assert_eq!(judge(0.5, -0.3, 0.0), Progress::PathViolated(violated));
        assert!(violated.describe(&robot().joints).contains("'a' is 0.3000, above its tolerance 0.2000"));
        let tolerances = Tolerances::new(&constraints(), &robot(), &path, &[], -1.0).unwrap();
        assert_eq!(
            tolerances.judge(100.0, 1.0, &[0.0; 2], &[0.6, 0.0]),
            Progress::Underway,
            "it has for ever"
        );
        assert_eq!(tolerances.judge(100.0, 1.0, &[0.0; 2], &[0.4, 0.0]), Progress::Reached);
    }

    #[test]
    fn tolerances_of_unknown_joints_and_of_nothing_are_refused() {
        let refused =
            |asked| Tolerances::new(&constraints(), &robot(), &[asked], &[], 0.0).unwrap_err().to_string();
        assert!(refused(of("c", 0.1, 0.0)).contains("'c'"));
        assert!(refused(of("a", f64::NAN, 0.0)).contains("'a'"));
    }
}
