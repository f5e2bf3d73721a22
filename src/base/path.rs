//! Where a base shall be: poses with times are a trajectory, poses without are a path that is driven within limits.

use super::config::BaseControllerConfig;
use super::limits::TwistLimits;
use super::profile::{Place, SpeedLimits, SpeedProfile};
use super::spline::CubicSpline;
use super::tracker::Drive;
use super::turn::Turn;
use super::twist::{Pose, Twist, pose_error};
use crate::dataset::messages::Quaternion;
use crate::error::{Error, Result};
use crate::reference::{Reference, ReferencePoint};
use crate::robot::{first_non_finite, wrap};
use crate::state::Stamp;
use std::f64::consts::{FRAC_PI_2, PI};

/// Poses of a path nearer to each other than this are one, m.
const NEAREST: f64 = 0.01;
/// Places are no further from the origin, m.
const FURTHEST: f64 = 1e8;
/// A path that turns by more than this, rad, between places so far apart, m, turns back on itself.
const CUSP: f64 = 2.6;
const CUSP_SCALE: f64 = 0.1;
/// A last pose that looks elsewhere by less than this needs no turn, rad.
pub(super) const LOOKS: f64 = 0.05;
/// How far a path is looked at in one step of a search, s.
const WINDOW: f64 = 2.0;
/// Time for the feedback to settle at a place, s.
const SETTLING: f64 = 2.0;

/// A motion of a base in the plane: x and y as splines over a parameter, which is the time of a trajectory, and of a path
/// about its length.
#[derive(Clone, Debug)]
pub struct ReferencePath {
    x: CubicSpline,
    y: CubicSpline,
    heading: Heading,
    pace: Pace,
    /// On the spot, at the end.
    turn: Option<Turn>,
    /// What the last pose says beyond where the base then looks, rad.
    heading_left: f64,
}

/// What a path is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Purpose {
    /// The base moves so as it is sent the path.
    pub sent: Twist,
    /// It is a goal of Nav2: stamps that do not increase are none, the last pose says where to look, and one place is enough.
    pub is_goal: bool,
    /// It comes when the base has been to the end of the one before and turns there: from so near [m] the new end is none to drive
    /// to, for what still differs is where the base is believed to be.
    pub arrived_within: Option<f64>,
}

impl Purpose {
    pub const FROM_REST: Self = Self { sent: [0.0; 3], is_goal: false, arrived_within: None };
}

#[derive(Clone, Debug)]
enum Heading {
    /// As the poses say.
    Given(CubicSpline),
    /// Along the curve, `turned` by 0 or π: a base that cannot move sideways. `guide` is the same with less accuracy and
    /// without jumps of 2π.
    Tangent { turned: f64, guide: CubicSpline },
}

#[derive(Clone, Debug)]
enum Pace {
    /// The parameter is the time, from 0 to this, s.
    Stamped(f64),
    Profile(SpeedProfile),
}

/// The place of a path that is nearest to a pose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Projection {
    /// When the path is there, s after its beginning.
    pub time: f64,
    /// The pose seen from there: [along m, cross-track m, heading rad].
    pub error: Pose,
}

impl ReferencePath {
    /// The path of a message, as places [m] and orientations with their stamps, and when it begins if they are a trajectory.
    /// Stamps that are all the same are none, and so are orientations: planners that have none leave them as they are made.
    pub fn of_poses(
        stamped: &[(Stamp, [f64; 2], Quaternion)],
        config: &BaseControllerConfig,
        purpose: &Purpose,
    ) -> Result<(Self, Option<Stamp>)> {
        let pose = |(index, (_, [x, y], orientation)): (usize, &(Stamp, [f64; 2], Quaternion))| {
            let refusal = || {
                let found = format!("{orientation:?}");
                Error::mismatch(format!("orientation of pose {index}"), found, "a quaternion of length 1")
            };
            Ok([*x, *y, orientation.unit_yaw().ok_or_else(refusal)?])
        };
        let poses = stamped.iter().enumerate().map(pose).collect::<Result<Vec<Pose>>>()?;
        let increase = stamped.is_sorted_by(|(a, ..), (b, ..)| a < b);
        match stamped.first() {
            Some((first, ..))
                if stamped.len() > 1
                    && (increase || !purpose.is_goal && stamped.iter().any(|(stamp, ..)| stamp != first)) =>
            {
                let times: Vec<f64> = stamped.iter().map(|(stamp, ..)| stamp.since(*first)).collect();
                Ok((Self::stamped(&times, &poses)?, Some(*first)))
            }
            _ => Ok((Self::unstamped(&poses, config, purpose)?, None)),
        }
    }

    fn unstamped(poses: &[Pose], config: &BaseControllerConfig, purpose: &Purpose) -> Result<Self> {
        let BaseControllerConfig { drive, limits, path: speeds, .. } = config;
        let [Some(first), Some(last)] = [poses.first(), poses.last()] else {
            return Err(Error::mismatch("path: poses", 0, "at least 2, or 1 of a goal"));
        };
        if purpose.is_goal && poses.iter().all(|pose| distance(first, pose) < NEAREST) {
            return Self::place(last, limits, speeds);
        }
        if purpose.arrived_within.is_some_and(|near| distance(first, last) <= near) {
            return Self::place(&[first[0], first[1], last[2]], limits, speeds);
        }
        let [x, y, _] = purpose.sent;
        let is_omnidirectional = *drive == Drive::Omnidirectional;
        let speed = if is_omnidirectional { x.hypot(y) } else { x };
        let mut path = Self::geometric(poses, *drive, limits, speeds, speed)?;
        if !is_omnidirectional && (purpose.is_goal || has_headings(poses)) {
            path.look(last[2], *drive == Drive::Differential, limits, speeds);
        }
        Ok(path)
    }

    /// Rest at `pose` for long enough to turn there.
    fn place(pose: &Pose, limits: &TwistLimits, speeds: &SpeedLimits) -> Result<Self> {
        check(&[*pose, *pose])?;
        let longest = Turn::new(0.0, PI, 0.0, limits, speeds).duration() + SETTLING;
        let rest = |value: f64| CubicSpline::new(&[0.0, longest], &[value, value]);
        Ok(Self {
            x: rest(pose[0]),
            y: rest(pose[1]),
            heading: Heading::Given(rest(pose[2])),
            pace: Pace::Stamped(longest),
            turn: None,
            heading_left: 0.0,
        })
    }

    /// Ends with a look at `yaw` [rad], if the base `turns` on the spot; else says what it then lacks.
    fn look(&mut self, yaw: f64, turns: bool, limits: &TwistLimits, speeds: &SpeedLimits) {
        let [mut pose, mut velocity, mut acceleration] = [[0.0; 3]; 3];
        self.sample_into(self.duration(), &mut pose, &mut velocity, &mut acceleration);
        let by = wrap(yaw - pose[2]);
        if !turns {
            self.heading_left = by;
        } else if by.abs() > LOOKS {
            self.turn = Some(Turn::new(pose[2], by, 0.0, limits, speeds));
        }
    }

    /// What the last pose says beyond where the path ends looking, rad: of a base that does not turn on the spot.
    pub fn heading_left(&self) -> f64 {
        self.heading_left
    }

    /// A trajectory through `poses` at `times` [s], which begin with 0 and increase.
    pub fn stamped(times: &[f64], poses: &[Pose]) -> Result<Self> {
        check(poses)?;
        if times.len() != poses.len() {
            return Err(Error::mismatch("path: stamps", times.len(), poses.len()));
        }
        let increases = times.first() == Some(&0.0) && times.is_sorted_by(|a, b| a < b);
        if !increases || first_non_finite(times).is_some() {
            let found = times
                .iter()
                .zip(times.iter().skip(1))
                .find(|(a, b)| !matches!(a.partial_cmp(b), Some(std::cmp::Ordering::Less)));
            return Err(Error::mismatch(
                "path: stamps",
                format!("{found:?} s"),
                "stamps that increase, or none at all",
            ));
        }
        let column = |axis: usize| poses.iter().map(|pose| pose[axis]).collect::<Vec<_>>();
        let yaw = unwrapped(poses.iter().map(|pose| pose[2]));
        Ok(Self {
            x: CubicSpline::new(times, &column(0)),
            y: CubicSpline::new(times, &column(1)),
            heading: Heading::Given(CubicSpline::new(times, &yaw)),
            pace: Pace::Stamped(times.last().copied().unwrap_or(0.0)),
            turn: None,
            heading_left: 0.0,
        })
    }

    /// A path through `poses`, as fast as limits allow, beginning at up to `speed` [m/s] and ending at rest. A base that
    /// cannot move sideways looks along the path, or, if it may, against it where most of the poses do; it then drives backward.
    pub fn geometric(
        poses: &[Pose],
        drive: Drive,
        limits: &TwistLimits,
        speeds: &SpeedLimits,
        speed: f64,
    ) -> Result<Self> {
        check(poses)?;
        let mut kept: Vec<Pose> = Vec::with_capacity(poses.len());
        for pose in poses {
            if kept.last().is_none_or(|last| distance(last, pose) >= NEAREST) {
                kept.push(*pose);
            }
        }
        if kept.len() < 2 {
            return Err(Error::mismatch("path", "poses that are all at one place", "at least two places"));
        }
        if drive != Drive::Omnidirectional {
            refuse_cusps(&kept)?;
        }
        let knots = running_sum(kept.windows(2).map(|pair| distance(&pair[0], &pair[1])));
        let column = |axis: usize| kept.iter().map(|pose| pose[axis]).collect::<Vec<_>>();
        let [x, y] = [0, 1].map(|axis| CubicSpline::smoothing(&knots, &column(axis), speeds.smoothing));
        let length = knots.last().copied().unwrap_or(0.0);
        let count = SpeedProfile::places(length);
        let parameters: Vec<f64> = (0..count).map(|i| length * i as f64 / (count - 1) as f64).collect();
        let heading = match drive {
            Drive::Omnidirectional => {
                Heading::Given(CubicSpline::new(&knots, &unwrapped(kept.iter().map(|pose| pose[2]))))
            }
            Drive::Differential | Drive::Ackermann => {
                let against = kept
                    .iter()
                    .zip(&knots)
                    .filter(|(pose, knot)| wrap(pose[2] - tangent(&x, &y, **knot)).abs() > FRAC_PI_2);
                let may_turn = speeds.allow_reversing && has_headings(poses);
                let turned = if may_turn && 2 * against.count() > kept.len() { PI } else { 0.0 };
                let guide = unwrapped(parameters.iter().map(|at| wrap(tangent(&x, &y, *at) + turned)));
                Heading::Tangent { turned, guide: CubicSpline::new(&parameters, &guide) }
            }
        };
        let backward = matches!(heading, Heading::Tangent { turned, .. } if turned != 0.0);
        let mut path = Self { x, y, heading, pace: Pace::Stamped(0.0), turn: None, heading_left: 0.0 };
        let places = path.places(&parameters);
        let speed = if backward { -speed } else { speed };
        path.pace = Pace::Profile(SpeedProfile::new(&places, limits, speeds, speed, backward));
        Ok(path)
    }

    /// What the path is like at `parameters`, for its profile.
    fn places(&self, parameters: &[f64]) -> Vec<Place> {
        let mut arc = 0.0;
        let mut last: Option<[f64; 2]> = None;
        let place = |parameter: &f64| {
            let [[x, dx, ddx], [y, dy, ddy]] = [self.x.at(*parameter), self.y.at(*parameter)];
            arc += last.map_or(0.0, |last: [f64; 2]| (x - last[0]).hypot(y - last[1]));
            last = Some([x, y]);
            let rate = dx.hypot(dy).max(1e-9);
            let curvature = (dx * ddy - dy * ddx) / rate.powi(3);
            let turn = match &self.heading {
                Heading::Given(yaw) => yaw.at(*parameter)[1] / rate,
                Heading::Tangent { .. } => curvature,
            };
            Place { parameter: *parameter, arc, curvature, turn }
        };
        parameters.iter().map(place).collect()
    }

    /// Fills pose, twist and its derivative `time` [s] after the beginning; allocates nothing.
    pub fn sample_into(&self, time: f64, pose: &mut Pose, velocity: &mut Twist, acceleration: &mut Twist) {
        if let Some(turn) = &self.turn
            && time > self.pace.duration()
        {
            let [yaw, rate, change] = turn.at(time - self.pace.duration());
            *pose = [self.x.at(f64::INFINITY)[0], self.y.at(f64::INFINITY)[0], yaw];
            (*velocity, *acceleration) = ([0.0, 0.0, rate], [0.0, 0.0, change]);
            return;
        }
        let (parameter, speed, gain) = match &self.pace {
            Pace::Stamped(end) if time <= 0.0 || time >= *end => (time.clamp(0.0, *end), 0.0, 0.0),
            Pace::Stamped(_) => (time, 1.0, 0.0),
            Pace::Profile(profile) => {
                let moment = profile.at(time);
                let rate = self.x.at(moment.parameter)[1].hypot(self.y.at(moment.parameter)[1]).max(1e-9);
                (moment.parameter, moment.speed / rate, self.parameter_acceleration(&moment, rate))
            }
        };
        let [x, y] = [self.x.at(parameter), self.y.at(parameter)];
        let yaw = self.yaw(parameter, x, y);
        // d/dt of a function of the parameter p: f' ṗ, and f″ ṗ² + f' p̈
        let first = |f: [f64; 3]| f[1] * speed;
        let second = |f: [f64; 3]| f[2] * speed * speed + f[1] * gain;
        let (sin, cos) = yaw[0].sin_cos();
        let turn = |x: f64, y: f64| [cos * x + sin * y, cos * y - sin * x];
        let [vx, vy] = turn(first(x), first(y));
        let [ax, ay] = turn(second(x), second(y));
        let wz = first(yaw);
        *pose = [x[0], y[0], yaw[0]];
        *velocity = [vx, vy, wz];
        // of the twist in the frame of the base, which turns
        *acceleration = [ax + wz * vy, ay - wz * vx, second(yaw)];
    }

    /// p̈ for an acceleration along the curve: (a − ṗ² (x' x″ + y' y″) / |r'|) / |r'|.
    fn parameter_acceleration(&self, moment: &super::profile::Moment, rate: f64) -> f64 {
        let [x, y] = [self.x.at(moment.parameter), self.y.at(moment.parameter)];
        let stretch = (x[1] * x[2] + y[1] * y[2]) / rate;
        let speed = moment.speed / rate;
        (moment.acceleration - stretch * speed * speed) / rate
    }

    /// Heading with its derivatives by the parameter.
    fn yaw(&self, parameter: f64, x: [f64; 3], y: [f64; 3]) -> [f64; 3] {
        match &self.heading {
            Heading::Given(spline) => spline.at(parameter),
            Heading::Tangent { turned, guide } => {
                let about = guide.at(parameter);
                let exact = y[1].atan2(x[1]) + turned;
                let square = (x[1] * x[1] + y[1] * y[1]).max(1e-18);
                let rate = (x[1] * y[2] - y[1] * x[2]) / square;
                [about[0] + wrap(exact - about[0]), rate, about[2]]
            }
        }
    }

    /// What is left of its length `time` [s] after its beginning, m.
    pub fn length_after(&self, time: f64) -> f64 {
        const STEPS: usize = 200;
        let (from, end) = (time.clamp(0.0, self.duration()), self.duration());
        let place = |i: usize| {
            let [mut pose, mut velocity, mut acceleration] = [[0.0; 3]; 3];
            let time = from + (end - from) * i as f64 / STEPS as f64;
            self.sample_into(time, &mut pose, &mut velocity, &mut acceleration);
            pose
        };
        (0..STEPS).map(|i| distance(&place(i), &place(i + 1))).sum()
    }

    /// The place nearest to `pose` that comes first, walking along the path from its beginning: a path may cross itself, or
    /// begin behind the base.
    pub fn project_first(&self, pose: &Pose) -> Projection {
        let mut found = self.project(pose, 0.0, WINDOW);
        loop {
            let next = self.project(pose, found.time, WINDOW);
            if next.time < found.time + 0.5 * WINDOW || next.time <= found.time {
                return next;
            }
            found = next;
        }
    }

    /// The place nearest to `pose` within `window` [s] of `near` [s after the beginning].
    pub fn project(&self, pose: &Pose, near: f64, window: f64) -> Projection {
        const STEPS: usize = 64;
        let end = self.duration();
        let (from, to) = ((near - window).clamp(0.0, end), (near + window).clamp(0.0, end));
        let mut scratch = [[0.0; 3]; 3];
        let mut apart = |time: f64| {
            let [place, velocity, acceleration] = &mut scratch;
            self.sample_into(time, place, velocity, acceleration);
            distance(place, pose)
        };
        let step = (to - from) / STEPS as f64;
        let nearest = (0..=STEPS).map(|i| from + step * i as f64);
        let nearest = nearest.map(|time| (apart(time), time)).min_by(|a, b| a.0.total_cmp(&b.0));
        let nearest = nearest.map_or(from, |(_, time)| time);
        let (mut low, mut high) = ((nearest - step).max(from), (nearest + step).min(to));
        for _ in 0..40 {
            let thirds = [low + (high - low) / 3.0, high - (high - low) / 3.0];
            if apart(thirds[0]) < apart(thirds[1]) { high = thirds[1] } else { low = thirds[0] }
        }
        let time = 0.5 * (low + high);
        apart(time);
        Projection { time, error: pose_error(&scratch[0], pose) }
    }
}

impl Reference for ReferencePath {
    fn sample(&self, time: f64, out: &mut ReferencePoint) {
        let (mut pose, mut velocity, mut acceleration) = ([0.0; 3], [0.0; 3], [0.0; 3]);
        self.sample_into(time, &mut pose, &mut velocity, &mut acceleration);
        out.position.copy_from_slice(&pose);
        out.velocity.copy_from_slice(&velocity);
        out.acceleration.copy_from_slice(&acceleration);
    }

    fn duration(&self) -> f64 {
        self.pace.duration() + self.turn.map_or(0.0, |turn| turn.duration())
    }
}

impl Pace {
    fn duration(&self) -> f64 {
        match self {
            Self::Stamped(end) => *end,
            Self::Profile(profile) => profile.duration(),
        }
    }
}

/// Whether orientations say anything: those of a planner that has none are as they were made, but for the goal's.
fn has_headings(poses: &[Pose]) -> bool {
    poses.iter().take(poses.len().saturating_sub(1)).any(|pose| pose[2] != 0.0)
}

/// A base that cannot move sideways would have to change from forward to backward where the path turns back on itself.
fn refuse_cusps(poses: &[Pose]) -> Result<()> {
    let mut sparse: Vec<(usize, Pose)> = Vec::new();
    for (index, pose) in poses.iter().enumerate() {
        if sparse.last().is_none_or(|(_, last)| distance(last, pose) >= CUSP_SCALE) {
            sparse.push((index, *pose));
        }
    }
    let direction = |from: &Pose, to: &Pose| (to[1] - from[1]).atan2(to[0] - from[0]);
    for ((_, before), ((index, at), (_, after))) in
        sparse.iter().zip(sparse.iter().skip(1).zip(sparse.iter().skip(2)))
    {
        let turn = wrap(direction(at, after) - direction(before, at)).abs();
        if turn > CUSP {
            let what = format!("path: turn at place {index} ({:.2} m, {:.2} m)", at[0], at[1]);
            let expected =
                format!("at most {CUSP:.1} rad: send what is to be driven forward and backward apart");
            return Err(Error::mismatch(what, format!("{turn:.2} rad"), expected));
        }
    }
    Ok(())
}

/// Finite, no further from the origin than anything on Earth, so that no length or time overflows, and enough.
fn check(poses: &[Pose]) -> Result<()> {
    if poses.len() < 2 {
        return Err(Error::mismatch("path: poses", poses.len(), "at least 2"));
    }
    let broken = poses.iter().enumerate().find_map(|(i, pose)| Some((i, first_non_finite(pose)?)));
    if let Some((index, axis)) = broken {
        let what = format!("path: {} of pose {index}", ["x", "y", "yaw"][axis]);
        return Err(Error::NotFinite { what, value: poses[index][axis] });
    }
    let far = |pose: &Pose| pose[0].abs().max(pose[1].abs()) > FURTHEST;
    match poses.iter().position(far) {
        Some(index) => {
            let [x, y, _] = poses[index];
            let expected = format!("within {FURTHEST:e} m of the origin");
            Err(Error::mismatch(
                format!("path: place of pose {index}"),
                format!("({x:e}, {y:e}) m"),
                expected,
            ))
        }
        None => Ok(()),
    }
}

fn distance(from: &Pose, to: &Pose) -> f64 {
    (to[0] - from[0]).hypot(to[1] - from[1])
}

fn tangent(x: &CubicSpline, y: &CubicSpline, at: f64) -> f64 {
    y.at(at)[1].atan2(x.at(at)[1])
}

fn running_sum(steps: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sum = 0.0;
    let sums = steps.map(|step| {
        sum += step;
        sum
    });
    [0.0].into_iter().chain(sums).collect()
}

/// Angles without jumps: each within half a turn of the one before.
fn unwrapped(angles: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut last: Option<f64> = None;
    angles
        .map(|angle| {
            let next = last.map_or(angle, |last: f64| last + wrap(angle - last));
            last = Some(next);
            next
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    const RADIUS: f64 = 1.5;

    fn circle(turns: f64, n: usize) -> Vec<Pose> {
        let pose = |i: usize| {
            let angle = turns * TAU * i as f64 / n as f64;
            [RADIUS * angle.sin(), RADIUS * (1.0 - angle.cos()), wrap(angle)]
        };
        (0..=n).map(pose).collect()
    }

    fn geometric(poses: &[Pose]) -> ReferencePath {
        let (limits, speeds) = (TwistLimits::default(), SpeedLimits::default());
        ReferencePath::geometric(poses, Drive::Differential, &limits, &speeds, 0.0).unwrap()
    }

    /// The largest difference between twist and acceleration of a path and what its poses say by differences.
    fn inconsistency(path: &ReferencePath, from: f64, to: f64) -> [f64; 2] {
        let at = |time: f64| {
            let (mut pose, mut velocity, mut acceleration) = ([0.0; 3], [0.0; 3], [0.0; 3]);
            path.sample_into(time, &mut pose, &mut velocity, &mut acceleration);
            (pose, velocity, acceleration)
        };
        let h = 1e-4;
        let mut worst = [0.0_f64; 2];
        for i in 0..400 {
            let time = from + (to - from) * i as f64 / 400.0;
            let (before, now, after) = (at(time - h), at(time), at(time + h));
            let forward = pose_error(&now.0, &after.0);
            let backward = pose_error(&now.0, &before.0);
            for axis in 0..3 {
                let velocity = (forward[axis] - backward[axis]) / (2.0 * h);
                let acceleration = (after.1[axis] - before.1[axis]) / (2.0 * h);
                worst[0] = worst[0].max((velocity - now.1[axis]).abs());
                worst[1] = worst[1].max((acceleration - now.2[axis]).abs());
            }
        }
        worst
    }

    #[test]
    fn a_stamped_circle_is_driven_at_its_own_pace() {
        let n = 100;
        let times: Vec<f64> = (0..=n).map(|i| 0.3 * i as f64).collect();
        let path = ReferencePath::stamped(&times, &circle(2.0, n)).unwrap();
        let mut out = ReferencePoint::zeros(3);
        path.sample(15.0, &mut out);
        let rate = 2.0 * TAU / 30.0;
        assert!((out.velocity[0] - rate * RADIUS).abs() < 1e-3, "{:?}", out.velocity);
        assert!(out.velocity[1].abs() < 1e-3 && (out.velocity[2] - rate).abs() < 1e-6);
        assert!((out.position[2] - TAU).abs() < 1e-6, "unwrapped");
        let [velocity, acceleration] = inconsistency(&path, 1.0, 29.0);
        assert!(velocity < 1e-5 && acceleration < 1e-2, "{velocity} {acceleration}");
        path.sample(31.0, &mut out);
        assert_eq!((path.duration(), out.velocity[0]), (30.0, 0.0));
    }

    #[test]
    fn a_path_without_times_is_driven_within_limits() {
        let path = geometric(&circle(1.0, 40));
        let mut out = ReferencePoint::zeros(3);
        let mut fastest = 0.0_f64;
        for i in 0..=1000 {
            path.sample(path.duration() * i as f64 / 1000.0, &mut out);
            fastest = fastest.max(out.velocity[0]);
            let centre = out.position[0].hypot(out.position[1] - RADIUS);
            assert!((centre - RADIUS).abs() < 3e-3 && out.velocity[1].abs() < 1e-9, "{out:?}");
            assert!(out.velocity[0] >= 0.0 && out.velocity[0] <= 0.35 + 1e-9);
            assert!(out.acceleration[0].abs() <= 2.5 && out.acceleration[2].abs() <= 3.2, "{out:?}");
        }
        assert!(fastest > 0.34, "{fastest}");
        let [velocity, acceleration] = inconsistency(&path, 0.3 * path.duration(), 0.7 * path.duration());
        assert!(velocity < 1e-3 && acceleration < 0.05, "{velocity} {acceleration}");
    }

    #[test]
    fn poses_that_look_back_are_driven_to_backward_by_a_base_that_may() {
        let looking_back: Vec<Pose> = (0..20).map(|i| [-0.1 * i as f64, 0.0, 0.01]).collect();
        let middle = |poses: &[Pose], allow_reversing: bool| {
            let speeds = SpeedLimits { allow_reversing, ..Default::default() };
            let path =
                ReferencePath::geometric(poses, Drive::Differential, &TwistLimits::default(), &speeds, 0.0)
                    .unwrap();
            let mut out = ReferencePoint::zeros(3);
            path.sample(0.5 * path.duration(), &mut out);
            (out.velocity[0], wrap(out.position[2]).abs())
        };
        let backward = middle(&looking_back, true);
        assert!(backward.0 < -0.3 && backward.1 < 1e-9, "{backward:?}");
        // planners that know no orientations leave them as they are made
        let without: Vec<Pose> = looking_back.iter().map(|[x, y, _]| [*x, *y, 0.0]).collect();
        for forward in [middle(&looking_back, false), middle(&without, true)] {
            assert!(forward.0 > 0.3 && (forward.1 - PI).abs() < 1e-9, "{forward:?}");
        }
    }

    fn goal(
        poses: &[Pose],
        stamps: impl Fn(usize) -> f64,
        config: &BaseControllerConfig,
    ) -> Result<(ReferencePath, Option<Stamp>)> {
        let pose = |(i, [x, y, yaw]): (usize, &Pose)| {
            let (z, w) = (0.5 * yaw).sin_cos();
            (Stamp::from_seconds(stamps(i)), [*x, *y], Quaternion { x: 0.0, y: 0.0, z, w })
        };
        let poses: Vec<_> = poses.iter().enumerate().map(pose).collect();
        ReferencePath::of_poses(&poses, config, &Purpose { is_goal: true, ..Purpose::FROM_REST })
    }

    #[test]
    fn a_goal_is_looked_from_as_its_last_pose_says() {
        let config = BaseControllerConfig::default();
        let mut poses: Vec<Pose> = (0..=20).map(|i| [-0.1 * f64::from(i), 0.0, 0.0]).collect();
        poses[20][2] = 1.5;
        let (path, begin) = goal(&poses, |_| 7.0, &config).unwrap();
        assert_eq!(begin, None);
        let [mut pose, mut velocity, mut acceleration] = [[0.0; 3]; 3];
        path.sample_into(path.duration() + 1.0, &mut pose, &mut velocity, &mut acceleration);
        assert!(
            (pose[0] + 2.0).abs() < 1e-9 && wrap(pose[2] - 1.5).abs() < 1e-9 && velocity == [0.0; 3],
            "{pose:?}"
        );
        let [velocity, acceleration] = inconsistency(&path, 0.1, path.duration() - 0.1);
        assert!(velocity < 0.02 && acceleration < 2.5, "{velocity} {acceleration}");
        let turning = path.duration() - 0.3;
        let mut out = ReferencePoint::zeros(3);
        path.sample(turning, &mut out);
        assert!(out.velocity[0] == 0.0 && out.velocity[2].abs() > 0.1, "{out:?}");
        // a car cannot, and says so
        let car = BaseControllerConfig { drive: Drive::Ackermann, ..config.clone() };
        let (path, _) = goal(&poses, |_| 7.0, &car).unwrap();
        assert!((wrap(path.heading_left() - 1.5 + PI)).abs() < 1e-9);
        // one that comes while the base turns at its end is no way to drive, whatever it says of the last centimetres
        let close: Vec<_> = [[1.0, 0.0, 0.0], [1.0, 0.02, 0.0], [1.01, 0.03, 1.5]]
            .map(|[x, y, yaw]| (Stamp::default(), [x, y], Quaternion::from_yaw(yaw)))
            .to_vec();
        for (arrived_within, moves) in [(Some(0.25), false), (Some(0.01), true), (None, true)] {
            let purpose = Purpose { is_goal: true, arrived_within, ..Purpose::FROM_REST };
            let (path, _) = ReferencePath::of_poses(&close, &config, &purpose).unwrap();
            path.sample(path.duration(), &mut out);
            let at = [out.position[0] - 1.0, out.position[1]];
            assert_eq!(at[0].hypot(at[1]) > 1e-9, moves, "{arrived_within:?}: {out:?}");
            assert!(wrap(out.position[2] - 1.5).abs() < 1e-9, "{out:?}");
        }
        // plans that follow on each other have the stamps of each; a single pose is a place to turn at
        assert_eq!(goal(&poses, |i| if i < 9 { 3.0 } else { 4.0 }, &config).unwrap().1, None);
        assert!(goal(&poses, |i| i as f64, &config).unwrap().1.is_some());
        let (place, begin) = goal(&poses[20..], |_| 7.0, &config).unwrap();
        place.sample(0.5 * place.duration(), &mut out);
        assert!(begin.is_none() && out.velocity == [0.0; 3]);
        assert!(out.position.iter().zip(poses[20]).all(|(a, b)| (a - b).abs() < 1e-12), "{out:?}");
        assert!(goal(&[], |_| 7.0, &config).is_err());
    }

    #[test]
    fn rough_paths_are_driven_nearly_as_fast_as_clean_ones() {
        let clean = geometric(&[[0.0; 3], [5.0, 0.0, 0.0]]).duration();
        let jitter = |i: usize| 0.005 * (((i * 7919) % 13) as f64 / 6.0 - 1.0);
        let rough: Vec<Pose> = (0..=100).map(|i| [0.05 * i as f64, jitter(i), 0.0]).collect();
        // steps of 5 cm along the axes and diagonals of a grid, at 20 degrees
        let slope = 20.0_f64.to_radians().tan();
        let grid: Vec<Pose> =
            (0..=94).map(|i| [0.05 * i as f64, 0.05 * (slope * i as f64).round(), 0.0]).collect();
        let corners: Vec<Pose> =
            (0..=100).map(|i| 0.05 * f64::from(i)).map(|s| [s.min(2.5), (s - 2.5).max(0.0), 0.0]).collect();
        for (what, poses, most) in [("rough", rough, 1.2), ("grid", grid, 1.4), ("corners", corners, 1.3)] {
            let duration = geometric(&poses).duration();
            assert!(duration < most * clean, "{what}: {duration} s, clean {clean} s");
        }
    }

    #[test]
    fn a_base_that_is_on_its_way_is_found_there_and_not_where_the_path_comes_by_again() {
        let line = geometric(&[[0.0; 3], [5.0, 0.0, 0.0]]);
        let mut out = ReferencePoint::zeros(3);
        line.sample(line.project_first(&[3.0, 0.1, 0.0]).time, &mut out);
        assert!((out.position[0] - 3.0).abs() < 1e-3, "{out:?}");
        let twice = geometric(&circle(2.0, 80));
        assert!(twice.project_first(&[0.0, 0.01, 0.0]).time < 1.0);
    }

    #[test]
    fn an_omnidirectional_base_looks_where_the_poses_say() {
        let sideways: Vec<Pose> = (0..20).map(|i| [0.0, 0.1 * i as f64, 0.0]).collect();
        let limits = TwistLimits {
            max_velocity: [0.5; 3],
            min_velocity: [-0.5; 3],
            max_accel: [2.0; 3],
            max_decel: [-2.0; 3],
            ..Default::default()
        };
        let path = ReferencePath::geometric(
            &sideways,
            Drive::Omnidirectional,
            &limits,
            &SpeedLimits::default(),
            0.0,
        )
        .unwrap();
        let mut out = ReferencePoint::zeros(3);
        path.sample(0.5 * path.duration(), &mut out);
        assert!(out.velocity[1] > 0.3 && out.velocity[0].abs() < 1e-9 && out.position[2] == 0.0, "{out:?}");
    }

    #[test]
    fn the_projection_finds_the_place_beside_the_path() {
        let path = geometric(&circle(1.0, 40));
        let time = 0.4 * path.duration();
        let mut out = ReferencePoint::zeros(3);
        path.sample(time, &mut out);
        let (sin, cos) = out.position[2].sin_cos();
        let beside = [out.position[0] - 0.1 * sin, out.position[1] + 0.1 * cos, out.position[2] - 0.2];
        let found = path.project(&beside, time + 1.0, 3.0);
        assert!((found.time - time).abs() < 1e-3, "{found:?} {time}");
        assert!(found.error[0].abs() < 1e-3 && (found.error[1] - 0.1).abs() < 1e-6);
        assert!((found.error[2] + 0.2).abs() < 1e-3);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let refusal = |result: Result<ReferencePath>| result.unwrap_err().to_string();
        let poses = circle(1.0, 4);
        assert!(refusal(ReferencePath::stamped(&[0.0], &poses[..1])).contains("at least 2"));
        assert!(refusal(ReferencePath::stamped(&[0.0, 1.0, 1.0, 2.0, 3.0], &poses)).contains("increase"));
        let broken = [[0.0; 3], [1.0, f64::NAN, 0.0]];
        assert!(refusal(ReferencePath::stamped(&[0.0, 1.0], &broken)).contains("y of pose 1"));
        let far = [[0.0; 3], [1.0, 1e155, 0.0]];
        let refused = refusal(ReferencePath::stamped(&[0.0, 1.0], &far));
        assert!(refused.contains("pose 1: found (1e0, 1e155) m, expected within 1e8 m"), "{refused}");
        let limits = TwistLimits::default();
        let nowhere = [[1.0; 3]; 5];
        let result =
            ReferencePath::geometric(&nowhere, Drive::Differential, &limits, &SpeedLimits::default(), 0.0);
        assert!(refusal(result).contains("two places"));
        let back = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.1, 0.0], [1.0, 0.3, 0.0], [0.0, 0.4, 0.0]];
        let result =
            ReferencePath::geometric(&back, Drive::Differential, &limits, &SpeedLimits::default(), 0.0);
        assert!(refusal(result).contains("place 2"));
    }
}
