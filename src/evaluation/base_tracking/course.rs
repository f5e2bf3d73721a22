//! What a base has to do in a run and what is wrong with it, drawn from the seed.

use crate::base::{BaseControllerConfig, Drive, Pose, ReferencePath};
use crate::error::Result;
use crate::evaluation::tracking::Purpose;
use crate::reference::{Reference, ReferencePoint};
use crate::sim::{BaseScenario, Patch};
use clap::ValueEnum;
use rand::RngExt;
use rand_pcg::Pcg64;
use serde::Serialize;
use std::f64::consts::{FRAC_PI_2, TAU};
use std::time::Duration;

/// How the base departs from its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum BaseScenarioKind {
    Nominal,
    WheelRadius,
    MotorLag,
    Payload,
    Patch,
    Noise,
    Delay,
    Gain,
    Misalignment,
    WheelSwitch,
    LagSwitch,
    PayloadSwitch,
    MisalignmentSwitch,
}

/// The kinds of path, by seed in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseReferenceKind {
    FigureEight,
    RoundedRectangle,
    RandomSpline,
}

/// One run.
#[derive(Clone, Debug)]
pub struct BaseCourse {
    pub reference_kind: BaseReferenceKind,
    pub path: ReferencePath,
    pub scenario: BaseScenario,
    /// When it becomes another, s, and which.
    pub change: Option<(f64, BaseScenario)>,
    /// Where the base is at first, beside the beginning of the path and not along it.
    pub start: Pose,
    /// Of the sensor noise.
    pub seed: u64,
    /// Length of the run, s.
    pub seconds: f64,
}

const SECONDS: f64 = 30.0;
/// When a base becomes another than before, s; the run is so much longer.
const CHANGE: f64 = 15.0;
/// Paths are long enough for this speed, m/s, and larger for a faster base.
const USUAL_SPEED: f64 = 0.5;
/// How much tighter than its path a car can turn at least, for its feedback.
const ROOM: f64 = 1.2;
/// When the middle of the slippery patch is reached the first time, s.
const AT_PATCH: f64 = 12.0;

/// How far from the path [m] and from its direction [rad] a base may begin: gains that are good on the path alone do not
/// get every base onto it.
const ASIDE: f64 = 0.15;
const ASKEW: f64 = 0.7;

/// Apart from the scenario's: m, rad, m/s, rad/s.
const POSITION_NOISE: f64 = 0.002;
const YAW_NOISE: f64 = 0.003;
const VELOCITY_NOISE: f64 = 0.005;
const YAW_RATE_NOISE: f64 = 0.01;

impl BaseScenarioKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nominal => "nominal",
            Self::WheelRadius => "wheel_radius",
            Self::MotorLag => "motor_lag",
            Self::Payload => "payload",
            Self::Patch => "patch",
            Self::Noise => "noise",
            Self::Delay => "delay",
            Self::Gain => "gain",
            Self::Misalignment => "misalignment",
            Self::WheelSwitch => "wheel_switch",
            Self::LagSwitch => "lag_switch",
            Self::PayloadSwitch => "payload_switch",
            Self::MisalignmentSwitch => "misalignment_switch",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Self::Nominal => "the base as it is described",
            Self::WheelRadius => "one wheel, drawn, 10 % larger or smaller",
            Self::MotorLag => "motors three times as slow",
            Self::Payload => "half its mass, 6.8 kg, on top, off the middle",
            Self::Patch => "a slippery patch (friction 0.06) of 1 m across, on the path",
            Self::Noise => "five times the noise of odometry, and its yaw off by 0.03 rad",
            Self::Delay => "twists act 100 ms late",
            Self::Gain => "each axis, and a car's steering, does up to 20 % more or less than it is told",
            Self::Misalignment => "what is taken for straight ahead is 0.05 rad to one side",
            Self::WheelSwitch => "as described, and from 15 s on as wheel_radius",
            Self::LagSwitch => "as described, and from 15 s on as motor_lag",
            Self::PayloadSwitch => "as described, and from 15 s on as payload",
            Self::MisalignmentSwitch => "as described, and from 15 s on as misalignment",
        }
    }

    /// Whether a base with this drive can depart so.
    pub fn is_of(self, drive: Drive) -> bool {
        match self {
            Self::WheelRadius | Self::Payload => drive == Drive::Differential,
            Self::Gain | Self::Misalignment => drive != Drive::Differential,
            Self::Nominal | Self::MotorLag | Self::Patch | Self::Noise | Self::Delay => true,
            Self::WheelSwitch | Self::LagSwitch | Self::PayloadSwitch | Self::MisalignmentSwitch => {
                self.changes_to().is_some_and(|after| after.is_of(drive))
            }
        }
    }

    /// What a base is from [`CHANGE`] on that was as described before.
    fn changes_to(self) -> Option<Self> {
        match self {
            Self::WheelSwitch => Some(Self::WheelRadius),
            Self::LagSwitch => Some(Self::MotorLag),
            Self::PayloadSwitch => Some(Self::Payload),
            Self::MisalignmentSwitch => Some(Self::Misalignment),
            _ => None,
        }
    }

    /// Whether what must be learned is a lasting property of the base.
    pub fn is_learnable(self) -> bool {
        !matches!(self, Self::Nominal | Self::Patch | Self::Noise)
    }

    /// The run of `seed` for a base with the limits of `config`.
    pub fn course(self, purpose: Purpose, seed: u64, config: &BaseControllerConfig) -> Result<BaseCourse> {
        // streams of the generator beside those of the arm's suite
        let stream = match purpose {
            Purpose::Suite => 1_u128 << 66,
            Purpose::Tuning => 1_u128 << 67,
        };
        let mut random = Pcg64::new(u128::from(seed), stream + self as u128);
        let reference_kind = match seed % 3 {
            0 => BaseReferenceKind::FigureEight,
            1 => BaseReferenceKind::RoundedRectangle,
            _ => BaseReferenceKind::RandomSpline,
        };
        let mut poses = reference_kind.poses(&mut random);
        let mut size = (config.path.speed / USUAL_SPEED).max(1.0);
        if config.limits.min_turning_radius > 0.0 {
            let path = ReferencePath::geometric(&poses, config.drive, &config.limits, &config.path, 0.0)?;
            size = size.max(ROOM * config.limits.min_turning_radius * tightest(&path));
        }
        poses.iter_mut().for_each(|pose| (0..2).for_each(|axis| pose[axis] *= size));
        if config.drive == Drive::Omnidirectional {
            look_about(&mut poses);
        }
        let mut speeds = config.path;
        speeds.speed *= random.random_range(0.7..1.0);
        let path = ReferencePath::geometric(&poses, config.drive, &config.limits, &speeds, 0.0)?;
        let noise_seed = random.random();
        let scenario = self.scenario(&mut random, &path);
        let change = self.changes_to().map(|after| (CHANGE, after.scenario(&mut random, &path)));
        let start = [0.0, random.random_range(-ASIDE..ASIDE), random.random_range(-ASKEW..ASKEW)];
        let seconds = (SECONDS + change.as_ref().map_or(0.0, |(from, _)| *from)).min(path.duration());
        Ok(BaseCourse { reference_kind, path, scenario, change, start, seed: noise_seed, seconds })
    }

    fn scenario(self, random: &mut Pcg64, path: &ReferencePath) -> BaseScenario {
        let factor = if self == Self::Noise { 5.0 } else { 1.0 };
        let nominal = BaseScenario {
            position_noise: factor * POSITION_NOISE,
            yaw_noise: factor * YAW_NOISE,
            velocity_noise: factor * VELOCITY_NOISE,
            yaw_rate_noise: factor * YAW_RATE_NOISE,
            ..Default::default()
        };
        let mut side = |amount: f64| if random.random_bool(0.5) { amount } else { -amount };
        match self {
            Self::Nominal
            | Self::WheelSwitch
            | Self::LagSwitch
            | Self::PayloadSwitch
            | Self::MisalignmentSwitch => nominal,
            Self::WheelRadius => {
                let scale = 1.0 + side(0.1);
                let wheel_scale = if side(1.0) > 0.0 { [scale, 1.0] } else { [1.0, scale] };
                BaseScenario { wheel_scale, ..nominal }
            }
            Self::MotorLag => BaseScenario { lag_scale: 3.0, ..nominal },
            Self::Payload => BaseScenario { payload: 6.8, ..nominal },
            Self::Patch => {
                let mut there = ReferencePoint::zeros(3);
                path.sample(AT_PATCH, &mut there);
                let centre = [there.position[0], there.position[1]];
                BaseScenario { patch: Patch { centre, radius: 0.5, friction: 0.06 }, ..nominal }
            }
            Self::Noise => BaseScenario { yaw_bias: side(0.03), ..nominal },
            Self::Delay => BaseScenario { delay: Duration::from_millis(100), ..nominal },
            Self::Gain => BaseScenario { gain: [0; 3].map(|_| random.random_range(0.8..1.2)), ..nominal },
            Self::Misalignment => BaseScenario { misalignment: side(0.05), ..nominal },
        }
    }
}

impl BaseCourse {
    /// From when on time is counted: the change, if there is one, s.
    pub fn origin(&self) -> f64 {
        self.change.as_ref().map_or(0.0, |(from, _)| *from)
    }
}

impl BaseReferenceKind {
    /// More than enough for the longest run, from the origin along x as begins a base that rests there.
    fn poses(self, random: &mut Pcg64) -> Vec<Pose> {
        let length = 24.0_f64;
        match self {
            Self::FigureEight => {
                let [across, along] = [random.random_range(0.6..1.0), random.random_range(1.2..1.8)];
                let laps = (length / (5.0 * along)).ceil();
                let points = (0..=(laps * 60.0) as usize).map(|i| {
                    let angle = TAU * i as f64 / 60.0;
                    [along * angle.sin(), across * (2.0 * angle).sin()]
                });
                from_origin(points)
            }
            Self::RoundedRectangle => {
                let sides = [random.random_range(1.4..2.2), random.random_range(0.8..1.4)];
                let radius = random.random_range(0.35..0.6);
                let turn = if random.random_bool(0.5) { 1.0 } else { -1.0 };
                let lap = 2.0 * (sides[0] + sides[1]) + TAU * radius;
                rounded_rectangle(sides, radius, turn, (length / lap).ceil() as usize)
            }
            Self::RandomSpline => {
                let (mut point, mut heading) = ([0.0, 0.0], 0.0_f64);
                let mut points = vec![point];
                for _ in 0..(length / 0.8) as usize {
                    heading += random.random_range(-0.8..0.8);
                    point = [point[0] + 0.8 * heading.cos(), point[1] + 0.8 * heading.sin()];
                    points.push(point);
                }
                from_origin(points.into_iter())
            }
        }
    }
}

/// The greatest curvature of a path, 1/m.
fn tightest(path: &ReferencePath) -> f64 {
    let mut there = ReferencePoint::zeros(3);
    let ticks = (path.duration() / 0.02) as usize;
    let curvature = |tick: usize| {
        path.sample(0.02 * tick as f64, &mut there);
        (there.velocity[2] / there.velocity[0]).abs()
    };
    // it is at rest at both ends
    (1..ticks).map(curvature).filter(|curvature| curvature.is_finite()).fold(0.0, f64::max)
}

/// Turns the poses by a tenth of a turn to either side of the path, once in 4 m, for a base that need not look where it goes.
fn look_about(poses: &mut [Pose]) {
    let mut arc = 0.0;
    for i in 1..poses.len() {
        let [from, to] = [poses[i - 1], poses[i]];
        arc += (to[0] - from[0]).hypot(to[1] - from[1]);
        poses[i][2] += 0.1 * TAU * (TAU * arc / 4.0).sin();
    }
}

fn rounded_rectangle(sides: [f64; 2], radius: f64, turn: f64, laps: usize) -> Vec<Pose> {
    const STEP: f64 = 0.15;
    let (mut points, mut point, mut heading) = (Vec::new(), [0.0, 0.0], 0.0_f64);
    for side in (0..4 * laps).map(|side| sides[side % 2]) {
        let (straight, curve) = ((side / STEP).round(), (FRAC_PI_2 * radius / STEP).round());
        for _ in 0..straight as usize {
            points.push(point);
            let step = side / straight;
            point = [point[0] + step * heading.cos(), point[1] + step * heading.sin()];
        }
        for _ in 0..curve as usize {
            points.push(point);
            let angle = FRAC_PI_2 / curve;
            let (chord, middle) = (2.0 * radius * (0.5 * angle).sin(), heading + 0.5 * turn * angle);
            point = [point[0] + chord * middle.cos(), point[1] + chord * middle.sin()];
            heading += turn * angle;
        }
    }
    from_origin(points.into_iter())
}

/// The points as poses, turned and moved so that the path begins at the origin along x.
fn from_origin(points: impl Iterator<Item = [f64; 2]>) -> Vec<Pose> {
    let points: Vec<[f64; 2]> = points.collect();
    let (first, second) = (points[0], points[1]);
    let heading = (second[1] - first[1]).atan2(second[0] - first[0]);
    let (sin, cos) = heading.sin_cos();
    let turned = |point: &[f64; 2]| {
        let [x, y] = [point[0] - first[0], point[1] - first[1]];
        [cos * x + sin * y, cos * y - sin * x]
    };
    let turned: Vec<[f64; 2]> = points.iter().map(turned).collect();
    let yaw = |i: usize| {
        let (from, to) = (turned[i.min(turned.len() - 2)], turned[(i + 1).min(turned.len() - 1)]);
        (to[1] - from[1]).atan2(to[0] - from[0])
    };
    (0..turned.len()).map(|i| [turned[i][0], turned[i][1], yaw(i)]).collect()
}
