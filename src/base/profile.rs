//! When to be where on a path that only says where: as fast as limits of speed, turning and acceleration allow, at rest
//! at the end. Forward and backward pass over the arc length (Bobrow, Dubowsky, Gibson: Time-optimal control of robotic
//! manipulators along specified paths, 1985, for limits that do not depend on each other).

use super::limits::TwistLimits;
use serde::{Deserialize, Serialize};

/// Distance between the points of a profile, m, and how many there are at most.
const STEP: f64 = 0.02;
const MOST: usize = 20_000;
/// Where a corner would stop the base, it goes on at this speed, m/s.
const SLOWEST: f64 = 0.02;

/// How fast a path without stamps is driven; the limits of the twist hold beside it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpeedLimits {
    /// m/s.
    pub speed: f64,
    /// Across the path, in curves, m/s².
    pub lateral_acceleration: f64,
    /// Share of all limits that the reference may use; the rest is left to feedback and correction.
    pub share: f64,
    /// What is shorter than some times this is smoothed away, m: noise, steps of a grid, corners. 0: through every pose.
    pub smoothing: f64,
    /// A base that cannot move sideways drives backward where most of the poses look back.
    pub allow_reversing: bool,
    /// A differential base that looks further aside from where the path begins, rad, turns on the spot first.
    pub rotate_to_heading_min_angle: f64,
}

impl Default for SpeedLimits {
    fn default() -> Self {
        Self {
            speed: 0.4,
            lateral_acceleration: 0.5,
            share: 0.7,
            smoothing: 0.1,
            allow_reversing: false,
            rotate_to_heading_min_angle: 0.785,
        }
    }
}

/// What a path is like at one place.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Parameter of the curve here.
    pub parameter: f64,
    /// From the beginning, m.
    pub arc: f64,
    /// Change of the direction of the path over its length, 1/m.
    pub curvature: f64,
    /// Change of the heading of the base over the length, rad/m.
    pub turn: f64,
}

/// Where one is at some time.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub parameter: f64,
    /// m/s and m/s², along the path.
    pub speed: f64,
    pub acceleration: f64,
}

#[derive(Clone, Debug)]
struct Node {
    place: Place,
    speed: f64,
    time: f64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct SpeedProfile {
    nodes: Vec<Node>,
}

impl SpeedProfile {
    /// How many places a path of `length` [m] is looked at.
    pub fn places(length: f64) -> usize {
        ((length / STEP).ceil() as usize).clamp(8, MOST) + 1
    }

    /// `places` in order, at least three; the first is passed at up to `speed` [m/s], the last is for rest. `along` is the
    /// axis of `limits` whose velocity the path takes: the greatest speed and acceleration in its direction.
    pub fn new(
        places: &[Place],
        limits: &TwistLimits,
        speeds: &SpeedLimits,
        speed: f64,
        backward: bool,
    ) -> Self {
        let share = speeds.share;
        let [along, turn] = [limits.speed(0), limits.speed(2)];
        let along = if backward { -limits.min_velocity[0] } else { along };
        let cap = |i: usize| {
            let (place, bend) = (&places[i], bend(places, i));
            let by = |limit: f64, amount: f64| if amount > 1e-9 { limit / amount } else { f64::INFINITY };
            let angular = 0.5 * share * limits.max_accel[2];
            (speeds.speed.min(share * along))
                .min(by(share * turn, place.turn.abs()))
                .min(by(speeds.lateral_acceleration, place.curvature.abs()).sqrt())
                .min(by(angular, bend.abs()).sqrt())
                .max(SLOWEST)
        };
        let last = places.len() - 1;
        let mut speeds_at: Vec<f64> = (0..=last).map(cap).collect();
        (speeds_at[0], speeds_at[last]) = (speed.clamp(0.0, speeds_at[0]), 0.0);
        let step = |i: usize| places[i + 1].arc - places[i].arc;
        // of the share left for them by what the curve takes
        let available = |i: usize, linear: f64| {
            let angular = 0.5 * share * limits.max_accel[2];
            (share * linear).min(angular / places[i].turn.abs().max(1e-9))
        };
        for i in 0..last {
            let reached = (speeds_at[i].powi(2) + 2.0 * available(i, limits.max_accel[0]) * step(i)).sqrt();
            speeds_at[i + 1] = speeds_at[i + 1].min(reached);
        }
        for i in (0..last).rev() {
            let from =
                (speeds_at[i + 1].powi(2) + 2.0 * available(i + 1, -limits.max_decel[0]) * step(i)).sqrt();
            speeds_at[i] = speeds_at[i].min(from);
        }
        let mut time = 0.0;
        let nodes = (0..=last).map(|i| {
            if i > 0 {
                time += 2.0 * step(i - 1) / (speeds_at[i] + speeds_at[i - 1]).max(1e-6);
            }
            Node { place: places[i], speed: speeds_at[i], time }
        });
        Self { nodes: nodes.collect() }
    }

    /// s.
    pub fn duration(&self) -> f64 {
        self.nodes.last().map_or(0.0, |node| node.time)
    }

    /// Before the beginning, and after the end, at rest there.
    pub fn at(&self, time: f64) -> Moment {
        let at_rest = |node: &Node| Moment { parameter: node.place.parameter, speed: 0.0, acceleration: 0.0 };
        let (Some(first), Some(last)) = (self.nodes.first(), self.nodes.last()) else {
            return Moment { parameter: 0.0, speed: 0.0, acceleration: 0.0 };
        };
        if time < 0.0 {
            return at_rest(first);
        }
        if time >= last.time {
            return at_rest(last);
        }
        let i = self.nodes.partition_point(|node| node.time <= time).max(1) - 1;
        let (from, to) = (&self.nodes[i], &self.nodes[i + 1]);
        let (elapsed, step) = (time - from.time, to.place.arc - from.place.arc);
        let acceleration = (to.speed.powi(2) - from.speed.powi(2)) / (2.0 * step);
        let travelled = from.speed * elapsed + 0.5 * acceleration * elapsed * elapsed;
        let share = (travelled / step).clamp(0.0, 1.0);
        Moment {
            parameter: from.place.parameter + share * (to.place.parameter - from.place.parameter),
            speed: from.speed + acceleration * elapsed,
            acceleration,
        }
    }
}

/// How fast the turn changes along the path, rad/m².
fn bend(places: &[Place], i: usize) -> f64 {
    let (before, after) = (i.saturating_sub(1), (i + 1).min(places.len() - 1));
    (places[after].turn - places[before].turn) / (places[after].arc - places[before].arc).max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn straight(length: f64, turn: f64) -> Vec<Place> {
        let n = SpeedProfile::places(length);
        let place = |i: usize| {
            let arc = length * i as f64 / (n - 1) as f64;
            Place { parameter: arc, arc, curvature: turn, turn }
        };
        (0..n).map(place).collect()
    }

    #[test]
    fn a_line_is_driven_in_a_trapezoid() {
        let speeds = SpeedLimits { speed: 0.4, share: 1.0, ..Default::default() };
        let limits =
            TwistLimits { max_accel: [0.5, 0.0, 3.0], max_decel: [-1.0, 0.0, -3.0], ..Default::default() };
        let profile = SpeedProfile::new(&straight(2.0, 0.0), &limits, &speeds, 0.0, false);
        // up in 0.8 s and 0.16 m, down in 0.4 s and 0.08 m, the other 1.76 m at 0.4 m/s
        assert!((profile.duration() - 5.6).abs() < 0.02, "{}", profile.duration());
        assert!(
            (profile.at(0.4).speed - 0.2).abs() < 0.01 && (profile.at(0.4).parameter - 0.04).abs() < 0.002
        );
        assert_eq!(profile.at(3.0).speed, 0.4);
        assert!(
            (profile.at(5.4).speed - 0.2).abs() < 0.01 && (profile.at(5.4).acceleration + 1.0).abs() < 0.01
        );
        assert_eq!((profile.at(-1.0).speed, profile.at(9.0).speed), (0.0, 0.0));
        assert_eq!(profile.at(9.0).parameter, 2.0);
    }

    #[test]
    fn curves_are_slow_and_a_moving_base_does_not_stop_first() {
        let limits = TwistLimits::default();
        let tight = SpeedProfile::new(&straight(2.0, 4.0), &limits, &SpeedLimits::default(), 0.0, false);
        let middle = tight.at(0.5 * tight.duration()).speed;
        assert!(middle <= (0.5 / 4.0_f64).sqrt() + 1e-9 && middle * 4.0 <= 0.7 * 2.5 + 1e-9, "{middle}");
        let moving = SpeedProfile::new(&straight(2.0, 0.0), &limits, &SpeedLimits::default(), 0.3, false);
        assert!((moving.at(0.0).speed - 0.3).abs() < 1e-9);
    }
}
