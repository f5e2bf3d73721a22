//! What a base is to do, and how far it has come.

use crate::base::correction::WantedTwist;
use crate::base::frames::Transform;
use crate::base::limits::TwistLimits;
use crate::base::path::{LOOKS, ReferencePath};
use crate::base::profile::SpeedLimits;
use crate::base::tracker::Drive;
use crate::base::turn::Turn;
use crate::base::twist::{Pose, Twist, pose_error};
use crate::base::verdict::BaseFault;
use crate::reference::{Reference, ReferencePoint};
use crate::robot::{first_non_finite, wrap};
use crate::state::Stamp;

/// How long what is asked for is averaged for its derivative, s.
const ASKED_MEMORY: f64 = 0.1;

/// A base that is so far [m, rad] from the end of a path without stamps when its time is over has so long [s] to get there.
const ARRIVED: f64 = 0.05;
const TURNED: f64 = 0.1;
const ARRIVAL: f64 = 2.0;

/// The reference catches up with a base that is so far ahead of it [m], and looks for it so far in time [s].
const AHEAD: f64 = 0.1;
const SEARCH: f64 = 2.0;

/// A base that turns on the spot is waited for beyond this [rad], at the latest at twice as much.
const TURN_BEHIND: f64 = 0.5;

/// Below this [m/s] a path's speed is taken for as much, where a change of speed becomes one of its pace.
const CREEP: f64 = 0.02;

/// What the base is to do.
pub(super) enum Task {
    Idle,
    Path(Following),
    /// Do what another controller asks.
    Block(Asked),
}

impl Task {
    /// How the base shall move `ahead` [s] from now.
    pub fn wanted(&self, ahead: f64) -> WantedTwist {
        let mut wanted = WantedTwist::default();
        match self {
            Self::Idle => {}
            Self::Path(following) => {
                [_, wanted.velocity, wanted.acceleration] = following.reference(ahead);
                following.slow_down(&mut wanted.velocity, &mut wanted.acceleration);
            }
            Self::Block(Asked { twist, acceleration, .. }) => {
                wanted = WantedTwist { velocity: *twist, acceleration: *acceleration };
            }
        }
        wanted
    }

    /// The rate [rad/s] at which the base is to turn on the spot now; none if it is to do something else.
    pub fn turns_at(&self) -> Option<f64> {
        let velocity = self.wanted(0.0).velocity;
        turns(&velocity).then_some(velocity[2])
    }
}

/// A path that is followed.
pub(super) struct Following {
    pub path: Box<ReferencePath>,
    /// Of a trajectory; a path without stamps begins where the base is nearest to it, and may wait.
    begin: Option<Stamp>,
    /// How far the base should be, s after the beginning.
    pub time: f64,
    /// Where the odometry's frame lies in that of the path, if that is another.
    pub frame: Option<Transform>,
    /// The share of its speed at which a path without stamps is driven, because the speed is limited.
    slow: f64,
    /// What comes before the path begins.
    first: Option<Before>,
    /// The rate [rad/s] at which it turned on the spot when this path was given.
    turned_at: Option<f64>,
}

/// A turn on the spot, with the place and how long ago it began, s.
struct Before {
    turn: Turn,
    place: [f64; 2],
    elapsed: f64,
}

/// What bounds the pace of a path without stamps.
pub(super) struct PaceLimits {
    /// See [`crate::base::BaseConstraints::behind`].
    pub behind: f64,
    /// Largest speed of the reference, m/s.
    pub speed: f64,
    /// By which it may rise and fall, m/s².
    pub acceleration: f64,
    pub deceleration: f64,
}

impl Following {
    /// A base that turned on the spot, at `turned_at` [rad/s], goes on with that if it has to turn further.
    pub fn new(path: ReferencePath, begin: Option<Stamp>, turned_at: Option<f64>) -> Self {
        Self { path: Box::new(path), begin, time: 0.0, frame: None, slow: 1.0, first: None, turned_at }
    }

    /// Moves on by `dt` [s] to `stamp`, with the base at `pose`; says whether the path waits for the base.
    pub fn advance(&mut self, stamp: Stamp, pose: &Pose, limits: &PaceLimits, dt: f64) -> bool {
        let (error, velocity) = self.error(pose);
        if let Some(before) = &mut self.first {
            let pace = pace(error[2].abs(), TURN_BEHIND);
            before.elapsed += pace * dt;
            if before.elapsed < before.turn.duration() {
                return pace < 1.0;
            }
            self.first = None;
        }
        match self.begin {
            Some(begin) => {
                self.time = stamp.since(begin);
                false
            }
            None if self.time == 0.0 => {
                self.time = self.path.project_first(pose).time.max(f64::MIN_POSITIVE);
                false
            }
            None => {
                let lead = lead(&error, &velocity);
                if lead > AHEAD {
                    self.time = self.path.project(pose, self.time, SEARCH).time.max(self.time);
                }
                let lag = pace((-lead).max(0.0), limits.behind);
                let pace = if turns(&velocity) { lag.min(pace(error[2].abs(), TURN_BEHIND)) } else { lag };
                self.keep_to(limits, dt);
                self.time += pace * self.slow * dt;
                pace < 1.0
            }
        }
    }

    /// Has the base look first where the path begins, from `pose`, if it looks further aside than `speeds` say.
    pub fn turn_first(&mut self, pose: &Pose, limits: &TwistLimits, speeds: &SpeedLimits) {
        let least = speeds.rotate_to_heading_min_angle;
        if self.begin.is_some() || self.time > 0.0 || self.first.is_some() || least <= 0.0 {
            return;
        }
        let time = self.path.project_first(pose).time;
        let (mut there, mut velocity, mut acceleration) = ([0.0; 3], [0.0; 3], [0.0; 3]);
        self.path.sample_into(time, &mut there, &mut velocity, &mut acceleration);
        let by = wrap(there[2] - pose[2]);
        let rate = self.turned_at.unwrap_or_default();
        let least = if rate * by > 0.0 { least.min(LOOKS) } else { least };
        if by.abs() > least {
            let turn = Turn::new(pose[2], by, rate, limits, speeds);
            self.first = Some(Before { turn, place: [pose[0], pose[1]], elapsed: 0.0 });
        }
    }

    /// Where the base should be `ahead` [s] from now, how that moves and how this changes, at the path's full speed.
    fn reference(&self, ahead: f64) -> [[f64; 3]; 3] {
        if let Some(Before { turn, place: [x, y], elapsed }) = &self.first {
            let [yaw, rate, change] = turn.at(elapsed + ahead);
            return [[*x, *y, yaw], [0.0, 0.0, rate], [0.0, 0.0, change]];
        }
        let [mut pose, mut velocity, mut acceleration] = [[0.0; 3]; 3];
        self.path.sample_into(self.time + self.slow * ahead, &mut pose, &mut velocity, &mut acceleration);
        [pose, velocity, acceleration]
    }

    /// What leads from the base at `pose` to where it should be, in the base's frame, and how that moves, in its own.
    pub fn error(&self, pose: &Pose) -> (Pose, Twist) {
        let [there, velocity, _] = self.reference(0.0);
        (pose_error(pose, &there), velocity)
    }

    /// Brings the pace towards that at which the path's speed is within its limit.
    fn keep_to(&mut self, limits: &PaceLimits, dt: f64) {
        let [_, velocity, _] = self.reference(0.0);
        let speed = velocity[0].hypot(velocity[1]).max(CREEP);
        let [gain, loss] = [limits.acceleration, limits.deceleration].map(|change| change * dt / speed);
        self.slow = (limits.speed / speed).min(1.0).clamp(self.slow - loss, self.slow + gain);
    }

    /// Whether it is over at `late` [s] from now. The base of a path without stamps may have a moment to come up.
    pub fn is_over(&self, late: f64, error: &Pose, drive: Drive) -> bool {
        if self.first.is_some() {
            return false;
        }
        let over = self.time + late - self.path.duration();
        // one that cannot move sideways comes no nearer to the end there
        let away = if drive == Drive::Omnidirectional { error[0].hypot(error[1]) } else { error[0].abs() };
        let is_there = away <= ARRIVED && error[2].abs() <= TURNED;
        let arrives = self.begin.is_none() && over < ARRIVAL && !is_there;
        over >= 0.0 && !arrives
    }

    /// Where the base should be now.
    pub fn sample(&self, out: &mut ReferencePoint) {
        let [pose, velocity, acceleration] = self.reference(0.0);
        out.position.copy_from_slice(&pose);
        out.velocity.copy_from_slice(&velocity);
        out.acceleration.copy_from_slice(&acceleration);
        self.slow_down(&mut out.velocity, &mut out.acceleration);
    }

    fn slow_down(&self, velocity: &mut [f64], acceleration: &mut [f64]) {
        velocity.iter_mut().for_each(|velocity| *velocity *= self.slow);
        acceleration.iter_mut().for_each(|acceleration| *acceleration *= self.slow * self.slow);
    }
}

/// At which share of its speed a path goes on with a base that is `behind` by so much, and waits for beyond a limit.
fn pace(behind: f64, limit: f64) -> f64 {
    if limit > 0.0 { (2.0 - behind / limit).clamp(0.0, 1.0) } else { 1.0 }
}

/// Whether a base with this velocity turns on the spot.
fn turns([x, y, rate]: &Twist) -> bool {
    x.hypot(*y) < CREEP && *rate != 0.0
}

/// How far the base is ahead along the path [m], with such an `error` from a reference that moves with `velocity` in its own
/// frame; of one that stands, along where it looks.
fn lead(error: &Pose, velocity: &Twist) -> f64 {
    let (sin, cos) = error[2].sin_cos();
    // from the base's frame into that of the reference
    let [x, y] = [cos * error[0] + sin * error[1], cos * error[1] - sin * error[0]];
    let speed = velocity[0].hypot(velocity[1]);
    if speed < CREEP { -x.abs() } else { -(x * velocity[0] + y * velocity[1]) / speed }
}

/// A twist that was asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub twist: Twist,
    pub at: Stamp,
    /// Its derivative, averaged.
    acceleration: Twist,
}

impl Asked {
    /// The first one.
    pub fn new(at: Stamp, twist: Twist) -> Self {
        Self { twist, at, acceleration: [0.0; 3] }
    }

    /// What is asked for after this.
    pub fn then(&self, at: Stamp, twist: Twist) -> Self {
        let elapsed = at.since(self.at);
        let share = 1.0 - (-elapsed.max(0.0) / ASKED_MEMORY).exp();
        let mut acceleration = self.acceleration;
        for axis in 0..3 {
            let change = twist[axis] - self.twist[axis];
            if elapsed > 0.0 {
                acceleration[axis] += share * (change / elapsed - acceleration[axis]);
            } else if elapsed == 0.0 {
                // what that comes to when no time passes
                acceleration[axis] += change / ASKED_MEMORY;
            }
        }
        // a twist that was not finite leaves no derivative behind
        let acceleration = if first_non_finite(&acceleration).is_some() { [0.0; 3] } else { acceleration };
        Self { twist, at, acceleration }
    }
}

/// How the following of a path ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PathEnd {
    /// Its time was over, with the base so far from its end, m and rad.
    Over {
        distance: f64,
        heading: f64,
    },
    Fault(BaseFault),
    /// Something else is to be done.
    Replaced,
    /// As asked.
    Stopped,
}
