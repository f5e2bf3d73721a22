//! A list of way points as a motion, with the semantics of joint_trajectory_controller (ros2_controllers,
//! `joint_trajectory_controller/trajectory.cpp`): straight lines between bare positions, cubics where both ends also
//! give velocities, quintics where both also give accelerations. The motion starts from where the robot is and holds
//! the last point.

use crate::error::{Error, Result};
use crate::reference::{Reference, ReferencePoint};
use crate::robot::{Robot, first_non_finite};

/// Way points may lie this far outside the position limits, for planners that round; rad or m.
const LIMIT_TOLERANCE: f64 = 1e-3;
/// The last way point shall be at rest, up to this, rad/s or m/s.
const REST: f64 = 1e-6;

/// The contents of a trajectory_msgs/JointTrajectory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JointTrajectory {
    pub joints: Vec<String>,
    pub points: Vec<JointTrajectoryPoint>,
}

/// One way point, in the order of [`JointTrajectory::joints`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JointTrajectoryPoint {
    /// Seconds after the start of the trajectory.
    pub time_from_start: f64,
    /// rad or m.
    pub positions: Vec<f64>,
    /// rad/s or m/s; may be empty.
    pub velocities: Vec<f64>,
    /// rad/s² or m/s²; may be empty, and without velocities it is not looked at.
    pub accelerations: Vec<f64>,
}

/// What becomes of joints that a trajectory does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingJoints {
    /// The trajectory is refused (`allow_partial_joints_goal: false`).
    Refuse,
    /// They stay where they are.
    Hold,
}

/// Way points in the robot's order, with the polynomials between them.
#[derive(Clone, Debug, PartialEq)]
pub struct SplineTrajectory {
    /// Begin of every segment, then the end of the last: seconds, strictly increasing.
    times: Vec<f64>,
    /// [segment][joint]: c₀ .. c₅ of Σ cₖ tᵏ, with t from the begin of the segment.
    segments: Vec<Vec<[f64; 6]>>,
    /// Where the motion ends, at rest.
    last: ReferencePoint,
}

/// What is known of one joint at one way point.
#[derive(Clone, Copy, Debug)]
struct Knot {
    position: f64,
    velocity: Option<f64>,
    acceleration: Option<f64>,
}

impl SplineTrajectory {
    /// `start` is the motion at time 0: what the robot did, or was asked to do, when the trajectory arrived.
    pub fn new(
        robot: &Robot,
        trajectory: &JointTrajectory,
        start: &ReferencePoint,
        missing: MissingJoints,
    ) -> Result<Self> {
        let columns = columns(robot, trajectory, missing)?;
        check_points(robot, trajectory)?;
        let turns = turns(robot, trajectory, start, &columns);
        let mut times = Vec::with_capacity(trajectory.points.len() + 1);
        let mut knots = Vec::with_capacity(trajectory.points.len() + 1);
        if trajectory.points[0].time_from_start > 0.0 {
            times.push(0.0);
            knots.push(start_knots(start, &columns));
        }
        for point in &trajectory.points {
            times.push(point.time_from_start);
            knots.push(
                columns
                    .iter()
                    .enumerate()
                    .map(|(i, column)| knot(point, *column, start.position[i], turns[i]))
                    .collect(),
            );
        }
        let segments =
            times.windows(2).zip(knots.windows(2)).map(|(t, k)| segment(t[1] - t[0], &k[0], &k[1])).collect();
        let end: Vec<f64> = knots[knots.len() - 1].iter().map(|knot| knot.position).collect();
        Ok(Self { times, segments, last: ReferencePoint::at_rest(&end) })
    }
}

impl Reference for SplineTrajectory {
    fn sample(&self, time: f64, out: &mut ReferencePoint) {
        if time >= self.duration() || self.segments.is_empty() {
            return out.copy_from(&self.last);
        }
        let index = self.times.partition_point(|begin| *begin <= time).saturating_sub(1);
        let t = (time - self.times[index]).max(0.0);
        for (joint, c) in self.segments[index].iter().enumerate() {
            out.position[joint] = c[0] + t * (c[1] + t * (c[2] + t * (c[3] + t * (c[4] + t * c[5]))));
            out.velocity[joint] =
                c[1] + t * (2.0 * c[2] + t * (3.0 * c[3] + t * (4.0 * c[4] + t * 5.0 * c[5])));
            out.acceleration[joint] = 2.0 * c[2] + t * (6.0 * c[3] + t * (12.0 * c[4] + t * 20.0 * c[5]));
        }
    }

    fn duration(&self) -> f64 {
        self.times.last().copied().unwrap_or(0.0)
    }
}

/// For every joint of the robot its column in the trajectory.
fn columns(
    robot: &Robot,
    trajectory: &JointTrajectory,
    missing: MissingJoints,
) -> Result<Vec<Option<usize>>> {
    for (column, joint) in trajectory.joints.iter().enumerate() {
        if robot.index_of(joint).is_none() {
            return Err(problem(
                joint,
                format!("the robot has no such joint; it has {}", robot.joints.join(", ")),
            ));
        }
        if trajectory.joints[..column].contains(joint) {
            return Err(problem(joint, "named twice".into()));
        }
    }
    let columns: Vec<_> =
        robot.joints.iter().map(|joint| trajectory.joints.iter().position(|name| name == joint)).collect();
    match columns.iter().position(Option::is_none) {
        Some(joint) if missing == MissingJoints::Refuse => {
            Err(problem(&robot.joints[joint], "not named, and partial trajectories are not allowed".into()))
        }
        _ => Ok(columns),
    }
}

fn check_points(robot: &Robot, trajectory: &JointTrajectory) -> Result<()> {
    let mut before = None;
    for (index, point) in trajectory.points.iter().enumerate() {
        let time = point.time_from_start;
        if !(time.is_finite() && time >= 0.0) || before.is_some_and(|before| time <= before) {
            let found = format!("{time} s after {:?} s", before.unwrap_or(0.0));
            return Err(Error::mismatch(
                format!("trajectory: time_from_start of point {index}"),
                found,
                "finite, not negative and strictly increasing times",
            ));
        }
        before = Some(time);
        check_point(robot, &trajectory.joints, index, point)?;
    }
    let Some(last) = trajectory.points.last() else {
        return Err(Error::mismatch("trajectory", "no points", "at least one"));
    };
    match last.velocities.iter().position(|velocity| velocity.abs() > REST) {
        None => Ok(()),
        Some(joint) => Err(problem(
            &trajectory.joints[joint],
            format!("ends with velocity {}, not at rest", last.velocities[joint]),
        )),
    }
}

fn check_point(robot: &Robot, joints: &[String], index: usize, point: &JointTrajectoryPoint) -> Result<()> {
    let fields = [
        ("positions", &point.positions),
        ("velocities", &point.velocities),
        ("accelerations", &point.accelerations),
    ];
    for (what, values) in fields {
        let may_lack = what != "positions" && values.is_empty();
        if values.len() != joints.len() && !may_lack {
            let found = format!("{} {what}", values.len());
            return Err(Error::mismatch(
                format!("trajectory: point {index}"),
                found,
                format!("{} joints", joints.len()),
            ));
        }
        if let Some(joint) = first_non_finite(values) {
            return Err(problem(&joints[joint], format!("{what} of point {index} hold {}", values[joint])));
        }
    }
    for (joint, position) in joints.iter().zip(&point.positions) {
        let limits = robot.index_of(joint).map(|i| robot.limits.position[i]);
        if let Some((lower, upper)) = limits
            && !(lower - LIMIT_TOLERANCE..=upper + LIMIT_TOLERANCE).contains(position)
        {
            return Err(problem(
                joint,
                format!("position {position} of point {index} is outside {lower} .. {upper}"),
            ));
        }
    }
    Ok(())
}

fn problem(joint: &str, problem: String) -> Error {
    Error::Joint { joint: joint.into(), problem: format!("trajectory: {problem}") }
}

/// What has to be added to the way points of each joint, whole turns of a continuous one, so that it moves from where it is and
/// not a turn away.
fn turns(
    robot: &Robot,
    trajectory: &JointTrajectory,
    start: &ReferencePoint,
    columns: &[Option<usize>],
) -> Vec<f64> {
    let turn = |(joint, column): (usize, &Option<usize>)| {
        let first = column.map(|column| trajectory.points[0].positions[column]);
        first.map_or(0.0, |first| robot.on_turn_near(joint, start.position[joint], first) - first)
    };
    columns.iter().enumerate().map(turn).collect()
}

/// The motion at time 0.
fn start_knots(start: &ReferencePoint, columns: &[Option<usize>]) -> Vec<Knot> {
    (0..columns.len())
        .map(|i| {
            let (velocity, acceleration) = match columns[i] {
                None => (0.0, 0.0),
                Some(_) => (start.velocity[i], start.acceleration[i]),
            };
            Knot { position: start.position[i], velocity: Some(velocity), acceleration: Some(acceleration) }
        })
        .collect()
}

/// A joint without a column stays at `held`; the others are where the point says, `turn` [rad] away.
fn knot(point: &JointTrajectoryPoint, column: Option<usize>, held: f64, turn: f64) -> Knot {
    match column {
        None => Knot { position: held, velocity: Some(0.0), acceleration: Some(0.0) },
        Some(column) => Knot {
            position: point.positions[column] + turn,
            velocity: point.velocities.get(column).copied(),
            acceleration: point.accelerations.get(column).copied(),
        },
    }
}

fn segment(duration: f64, from: &[Knot], to: &[Knot]) -> Vec<[f64; 6]> {
    from.iter().zip(to).map(|(from, to)| polynomial(duration, *from, *to)).collect()
}

/// The polynomial of least degree through what both ends give.
fn polynomial(t: f64, from: Knot, to: Knot) -> [f64; 6] {
    let (x, d) = (from.position, to.position - from.position);
    let (Some(v), Some(w)) = (from.velocity, to.velocity) else { return [x, d / t, 0.0, 0.0, 0.0, 0.0] };
    let (t2, t3) = (t * t, t * t * t);
    let (Some(a), Some(b)) = (from.acceleration, to.acceleration) else {
        return [x, v, (3.0 * d - (2.0 * v + w) * t) / t2, (-2.0 * d + (v + w) * t) / t3, 0.0, 0.0];
    };
    [
        x,
        v,
        0.5 * a,
        (20.0 * d - (8.0 * w + 12.0 * v) * t - (3.0 * a - b) * t2) / (2.0 * t3),
        (-30.0 * d + (14.0 * w + 16.0 * v) * t + (3.0 * a - 2.0 * b) * t2) / (2.0 * t3 * t),
        (12.0 * d - 6.0 * (w + v) * t - (a - b) * t2) / (2.0 * t3 * t2),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::robot::{JointKind, Limits};
    use approx::assert_relative_eq;
    use proptest::prelude::*;

    fn robot() -> Robot {
        Robot {
            kinds: vec![JointKind::Revolute, JointKind::Continuous],
            limits: Limits {
                position: vec![(-2.0, 2.0), (f64::NEG_INFINITY, f64::INFINITY)],
                velocity: vec![2.0; 2],
                effort: vec![1.0; 2],
            },
            ..Robot::of_joints(&["one".into(), "two".into()])
        }
    }

    fn point(
        time: f64,
        positions: &[f64],
        velocities: &[f64],
        accelerations: &[f64],
    ) -> JointTrajectoryPoint {
        JointTrajectoryPoint {
            time_from_start: time,
            positions: positions.to_vec(),
            velocities: velocities.to_vec(),
            accelerations: accelerations.to_vec(),
        }
    }

    fn trajectory(joints: &[&str], points: Vec<JointTrajectoryPoint>) -> JointTrajectory {
        JointTrajectory { joints: joints.iter().map(|name| (*name).into()).collect(), points }
    }

    fn spline(trajectory: &JointTrajectory, start: &ReferencePoint) -> Result<SplineTrajectory> {
        SplineTrajectory::new(&robot(), trajectory, start, MissingJoints::Refuse)
    }

    fn at(spline: &SplineTrajectory, time: f64) -> ReferencePoint {
        let mut out = ReferencePoint::zeros(2);
        spline.sample(time, &mut out);
        out
    }

    #[test]
    fn bare_positions_make_straight_lines_from_the_start_and_hold_the_end() {
        let points = vec![point(1.0, &[0.5, 1.0], &[], &[]), point(3.0, &[1.5, 0.0], &[], &[])];
        let spline = spline(&trajectory(&["two", "one"], points), &ReferencePoint::zeros(2)).unwrap();
        assert_eq!(at(&spline, -1.0).position, [0.0, 0.0]);
        assert_eq!(at(&spline, 0.5).position, [0.5, 0.25]);
        assert_eq!(at(&spline, 2.0).position, [0.5, 1.0]);
        assert_eq!(at(&spline, 2.0).velocity, [-0.5, 0.5]);
        assert_eq!(at(&spline, 9.0), ReferencePoint::at_rest(&[0.0, 1.5]));
        assert_eq!(spline.duration(), 3.0);
    }

    #[test]
    fn velocities_make_cubics() {
        let points = vec![point(2.0, &[1.0, 0.0], &[0.0, 0.0], &[])];
        let spline = spline(&trajectory(&["one", "two"], points), &ReferencePoint::zeros(2)).unwrap();
        // 3 (t/T)² - 2 (t/T)³, half way: velocity 1.5 / T, acceleration 0.
        let middle = at(&spline, 1.0);
        assert_relative_eq!(middle.position[0], 0.5, epsilon = 1e-12);
        assert_relative_eq!(middle.velocity[0], 0.75, epsilon = 1e-12);
        assert_relative_eq!(middle.acceleration[0], 0.0, epsilon = 1e-12);
        assert_relative_eq!(at(&spline, 0.0).acceleration[0], 6.0 / 4.0, epsilon = 1e-12);
    }

    #[test]
    fn accelerations_make_quintics() {
        let points = vec![point(2.0, &[1.0, 0.0], &[0.0; 2], &[0.0; 2])];
        let spline = spline(&trajectory(&["one", "two"], points), &ReferencePoint::zeros(2)).unwrap();
        assert_relative_eq!(at(&spline, 1.0).velocity[0], 1.875 / 2.0, epsilon = 1e-12);
        assert_relative_eq!(at(&spline, 0.0).acceleration[0], 0.0, epsilon = 1e-12);
    }

    #[test]
    fn a_continuous_joint_goes_the_short_way() {
        let start = ReferencePoint::at_rest(&[0.0, 3.0]);
        let points = vec![point(1.0, &[0.0, -3.0], &[], &[])];
        let spline = spline(&trajectory(&["one", "two"], points), &start).unwrap();
        assert_relative_eq!(at(&spline, 0.5).velocity[1], std::f64::consts::TAU - 6.0, epsilon = 1e-12);
        assert_eq!(at(&spline, 0.0).position[1], 3.0, "on the turn on which it is");
        assert_relative_eq!(at(&spline, 1.0).position[1], std::f64::consts::TAU - 3.0, epsilon = 1e-12);
        // of a joint that is in its second turn
        let start = ReferencePoint::at_rest(&[0.0, 7.0]);
        let points = vec![point(0.0, &[0.0, 0.717], &[], &[]), point(1.0, &[0.0, 0.817], &[], &[])];
        let spline = self::spline(&trajectory(&["one", "two"], points), &start).unwrap();
        assert_relative_eq!(at(&spline, 0.0).position[1], 0.717 + std::f64::consts::TAU, epsilon = 1e-12);
        assert_relative_eq!(at(&spline, 1.0).position[1], 0.817 + std::f64::consts::TAU, epsilon = 1e-12);
    }

    #[test]
    fn a_point_at_time_zero_replaces_the_start() {
        let points = vec![point(0.0, &[0.5, 0.0], &[], &[])];
        let spline = spline(&trajectory(&["one", "two"], points), &ReferencePoint::zeros(2)).unwrap();
        assert_eq!(at(&spline, 0.0).position, [0.5, 0.0]);
        assert_eq!(spline.duration(), 0.0);
    }

    #[test]
    fn joints_that_are_not_named_hold_where_that_is_allowed() {
        let start = ReferencePoint { velocity: vec![0.1, 0.1], ..ReferencePoint::at_rest(&[0.3, 0.7]) };
        let partial = trajectory(&["one"], vec![point(1.0, &[1.0], &[0.0], &[])]);
        let error = spline(&partial, &start).unwrap_err().to_string();
        assert!(error.contains("two") && error.contains("partial"), "{error}");
        let spline = SplineTrajectory::new(&robot(), &partial, &start, MissingJoints::Hold).unwrap();
        for time in [0.0, 0.4, 2.0] {
            assert_eq!((at(&spline, time).position[1], at(&spline, time).velocity[1]), (0.7, 0.0));
        }
        assert_eq!(at(&spline, 0.0).velocity[0], 0.1);
    }

    #[test]
    fn faults_are_refused_with_point_and_joint() {
        let refusal = |joints: &[&str], points: Vec<JointTrajectoryPoint>| {
            spline(&trajectory(joints, points), &ReferencePoint::zeros(2)).unwrap_err().to_string()
        };
        let both = ["one", "two"];
        let cases = [
            (refusal(&both, vec![]), "no points"),
            (refusal(&["one", "knee"], vec![point(1.0, &[0.0; 2], &[], &[])]), "knee"),
            (refusal(&["one", "one"], vec![point(1.0, &[0.0; 2], &[], &[])]), "twice"),
            (refusal(&both, vec![point(1.0, &[0.0], &[], &[])]), "point 0: found 1 positions"),
            (refusal(&both, vec![point(1.0, &[0.0; 2], &[0.0; 3], &[])]), "3 velocities"),
            (refusal(&both, vec![point(1.0, &[0.0, f64::NAN], &[], &[])]), "'two'"),
            (refusal(&both, vec![point(1.0, &[2.5, 0.0], &[], &[])]), "outside -2 .. 2"),
            (
                refusal(&both, vec![point(1.0, &[0.0; 2], &[], &[]), point(1.0, &[0.0; 2], &[], &[])]),
                "point 1",
            ),
            (refusal(&both, vec![point(-1.0, &[0.0; 2], &[], &[])]), "point 0"),
            (
                refusal(&both, vec![point(1.0, &[0.0; 2], &[0.0, 0.5], &[])]),
                "'two': trajectory: ends with velocity",
            ),
        ];
        for (error, expected) in cases {
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        /// Both polynomials meet what both ends give, and the derivatives belong together.
        #[test]
        fn ends_are_met(
            t in 0.1..5.0_f64, x in prop::array::uniform6(-2.0..2.0_f64), with_acceleration in any::<bool>(),
        ) {
            let [p, v, a, q, w, b] = x;
            let given = |value| with_acceleration.then_some(value);
            let c = polynomial(
                t,
                Knot { position: p, velocity: Some(v), acceleration: given(a) },
                Knot { position: q, velocity: Some(w), acceleration: given(b) },
            );
            let end: f64 = (0..6).map(|k| c[k as usize] * t.powi(k)).sum();
            let end_velocity: f64 = (1..6).map(|k| f64::from(k) * c[k as usize] * t.powi(k - 1)).sum();
            prop_assert!((c[0] - p).abs() < 1e-9 && (end - q).abs() < 1e-9);
            prop_assert!((c[1] - v).abs() < 1e-9 && (end_velocity - w).abs() < 1e-7);
            if with_acceleration {
                let end_acceleration: f64 =
                    (2..6).map(|k| f64::from(k * (k - 1)) * c[k as usize] * t.powi(k - 2)).sum();
                prop_assert!((2.0 * c[2] - a).abs() < 1e-9 && (end_acceleration - b).abs() < 1e-6);
            }
        }
    }
}
