//! The work of most arms: from one posture to the next with minimum jerk (Flash and Hogan, *The coordination of arm
//! movements*, 1985), all joints together, with a rest at each. Postures are random.

use crate::error::{Error, Result};
use crate::reference::multi_sine::{MARGIN, STOPPING_TIME, quintic};
use crate::reference::{Reference, ReferencePoint};
use crate::robot::Robot;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

/// Postures until the first comes again.
const POSTURES: usize = 64;
/// Greatest velocity and acceleration of a quintic over a unit of distance in a unit of time.
const PEAK_VELOCITY: f64 = 1.875;
const PEAK_ACCELERATION: f64 = 5.7735;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PointToPointConfig {
    /// Another seed is other postures.
    pub seed: u64,
    /// Posture about which the robot moves, rad or m.
    pub centre: Vec<f64>,
    /// Greatest distance from the centre, rad or m.
    pub amplitude: f64,
    /// Greatest velocity, as a share of each joint's limit.
    pub velocity_share: f64,
    /// Greatest acceleration, rad/s² or m/s².
    pub acceleration: f64,
    /// Shortest and longest rest at a posture, s.
    pub dwell: [f64; 2],
}

impl Default for PointToPointConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            centre: Vec::new(),
            amplitude: 0.5,
            velocity_share: 0.5,
            acceleration: 4.0,
            dwell: [0.3, 1.0],
        }
    }
}

/// One posture, how long the way to it takes and how long the robot stays, s.
#[derive(Clone, Debug)]
struct Visit {
    position: Vec<f64>,
    way: f64,
    dwell: f64,
}

/// See the module. A robot that moves at the start is brought to rest on the way to the first posture.
#[derive(Clone, Debug)]
pub struct PointToPoint {
    config: PointToPointConfig,
    start: Vec<f64>,
    start_velocity: Vec<f64>,
    /// Duration of the way from the start to the first posture, s.
    first_way: f64,
    /// The way to the first of them is the one from the last.
    visits: Vec<Visit>,
    /// When each visit begins to rest, counted from the rest at the first, s; then the whole round.
    arrivals: Vec<f64>,
}

impl PointToPoint {
    /// A motion of `robot` that begins at rest at its centre.
    pub fn new(robot: &Robot, config: &PointToPointConfig) -> Result<Self> {
        check(robot, config)?;
        let n = robot.degrees_of_freedom();
        let mut random = Pcg64::seed_from_u64(config.seed);
        let mut visits: Vec<Visit> = (0..POSTURES)
            .map(|_| {
                let position = (0..n).map(|joint| draw(&mut random, robot, joint, config)).collect();
                let [shortest, longest] = config.dwell;
                let dwell = shortest + (longest - shortest) * random.random::<f64>();
                Visit { position, way: 0.0, dwell }
            })
            .collect();
        for visit in 0..POSTURES {
            let from = &visits[(visit + POSTURES - 1) % POSTURES].position;
            visits[visit].way = way(robot, config, from, &visits[visit].position);
        }
        let mut arrivals = vec![0.0];
        for visit in 0..POSTURES {
            let next = &visits[(visit + 1) % POSTURES];
            arrivals.push(arrivals[visit] + visits[visit].dwell + next.way);
        }
        let start = config.centre.clone();
        let mut motion = Self {
            config: config.clone(),
            start_velocity: vec![0.0; n],
            first_way: way(robot, config, &start, &visits[0].position),
            start,
            visits,
            arrivals,
        };
        motion.start_from(robot, &config.centre, &vec![0.0; n]);
        Ok(motion)
    }

    /// Lets the motion begin at `start` with `velocity` instead; allocates nothing.
    pub fn start_from(&mut self, robot: &Robot, start: &[f64], velocity: &[f64]) {
        self.start_velocity.copy_from_slice(velocity);
        self.start.copy_from_slice(start);
        for (joint, start) in start.iter().enumerate() {
            let centre = &mut self.config.centre[joint];
            let turns = robot.on_turn_near(joint, *start, *centre) - *centre;
            *centre += turns;
            self.visits.iter_mut().for_each(|visit| visit.position[joint] += turns);
        }
        let shortest = 5.0 * STOPPING_TIME;
        self.first_way = way(robot, &self.config, &self.start, &self.visits[0].position).max(shortest);
    }

    /// From the start to the first posture: the start itself comes to rest on the way.
    fn sample_first_way(&self, time: f64, out: &mut ReferencePoint) {
        let [s, ds, dds] = quintic(time / self.first_way);
        let (ds, dds) = (ds / self.first_way, dds / (self.first_way * self.first_way));
        let decay = (-time / STOPPING_TIME).exp();
        for joint in 0..self.start.len() {
            let velocity = self.start_velocity[joint];
            let start = self.start[joint] + velocity * STOPPING_TIME * (1.0 - decay);
            let [dstart, ddstart] = [velocity * decay, -velocity / STOPPING_TIME * decay];
            let left = self.visits[0].position[joint] - start;
            out.position[joint] = start + s * left;
            out.velocity[joint] = (1.0 - s) * dstart + ds * left;
            out.acceleration[joint] = (1.0 - s) * ddstart - 2.0 * ds * dstart + dds * left;
        }
    }
}

impl Reference for PointToPoint {
    fn sample(&self, time: f64, out: &mut ReferencePoint) {
        let time = time.max(0.0);
        if time < self.first_way {
            return self.sample_first_way(time, out);
        }
        let round = self.arrivals[POSTURES];
        let time = (time - self.first_way) % round;
        let last = self.arrivals.partition_point(|arrival| *arrival <= time).saturating_sub(1) % POSTURES;
        let (from, to) = (&self.visits[last], &self.visits[(last + 1) % POSTURES]);
        let begin = self.arrivals[last] + from.dwell;
        let [s, ds, dds] = if time < begin { [0.0; 3] } else { quintic((time - begin) / to.way) };
        for joint in 0..self.start.len() {
            let distance = to.position[joint] - from.position[joint];
            out.position[joint] = from.position[joint] + s * distance;
            out.velocity[joint] = ds / to.way * distance;
            out.acceleration[joint] = dds / (to.way * to.way) * distance;
        }
    }

    fn duration(&self) -> f64 {
        f64::INFINITY
    }
}

/// The time in which every joint keeps its velocity and acceleration, s.
fn way(robot: &Robot, config: &PointToPointConfig, from: &[f64], to: &[f64]) -> f64 {
    let times = from.iter().zip(to).enumerate().map(|(joint, (from, to))| {
        let distance = (to - from).abs();
        let velocity = config.velocity_share * robot.limits.velocity[joint];
        let by_acceleration = (PEAK_ACCELERATION * distance / config.acceleration).sqrt();
        (PEAK_VELOCITY * distance / velocity).max(by_acceleration)
    });
    times.fold(STOPPING_TIME, f64::max)
}

/// A position of `joint`, uniform over what amplitude and limits leave.
fn draw(random: &mut Pcg64, robot: &Robot, joint: usize, config: &PointToPointConfig) -> f64 {
    let (lower, upper) = robot.limits.position[joint];
    let low = (config.centre[joint] - config.amplitude).max(lower + MARGIN);
    let high = (config.centre[joint] + config.amplitude).min(upper - MARGIN);
    low + (high - low) * random.random::<f64>()
}

fn check(robot: &Robot, config: &PointToPointConfig) -> Result<()> {
    let n = robot.degrees_of_freedom();
    if config.centre.len() != n {
        return Err(Error::mismatch("centre of point to point", config.centre.len(), format!("{n} joints")));
    }
    for (joint, (lower, upper)) in robot.limits.position.iter().enumerate() {
        let centre = config.centre[joint];
        if !(lower + MARGIN < centre && centre < upper - MARGIN) {
            let problem = format!(
                "centre of point to point {centre} is less than {MARGIN} from its limits {lower} to {upper}"
            );
            return Err(Error::Joint { joint: robot.joints[joint].clone(), problem });
        }
    }
    let [shortest, longest] = config.dwell;
    let checks = [
        ("amplitude", config.amplitude, config.amplitude > 0.0, "above 0"),
        ("acceleration", config.acceleration, config.acceleration > 0.0, "above 0"),
        (
            "velocity_share",
            config.velocity_share,
            config.velocity_share > 0.0 && config.velocity_share < 1.0,
            "above 0 and below 1",
        ),
        ("dwell", shortest, shortest >= 0.0, "not negative"),
        ("dwell", longest, longest >= shortest, "shortest, then longest"),
    ];
    match checks.into_iter().find(|(_, value, is_right, _)| !is_right || !value.is_finite()) {
        Some((key, value, _, expected)) => {
            Err(Error::mismatch(format!("point to point: {key}"), value, expected))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::robot::{JointKind, Limits};
    use proptest::prelude::*;

    const LIMITS: [(f64, f64); 3] = [(-2.0, 2.0), (-0.3, 0.6), (f64::NEG_INFINITY, f64::INFINITY)];

    fn robot() -> Robot {
        Robot {
            kinds: vec![JointKind::Revolute, JointKind::Revolute, JointKind::Continuous],
            limits: Limits { position: LIMITS.to_vec(), velocity: vec![2.2, 1.0, 2.5], effort: vec![1.0; 3] },
            ..Robot::of_joints(&["one".into(), "two".into(), "three".into()])
        }
    }

    fn motion(seed: u64) -> PointToPoint {
        let config = PointToPointConfig { seed, centre: vec![0.4, 0.1, 3.0], ..Default::default() };
        PointToPoint::new(&robot(), &config).unwrap()
    }

    #[test]
    fn it_moves_and_rests_by_turns() {
        let (motion, mut point) = (motion(1), ReferencePoint::zeros(3));
        let (mut rests, mut fastest, mut was_at_rest) = (0, 0.0_f64, false);
        for millisecond in 0..60_000 {
            motion.sample(f64::from(millisecond) * 1e-3, &mut point);
            let speed = point.velocity.iter().zip(robot().limits.velocity);
            fastest = speed.map(|(v, limit)| v.abs() / limit).fold(fastest, f64::max);
            let at_rest = point.velocity.iter().all(|velocity| *velocity == 0.0);
            rests += usize::from(at_rest && !was_at_rest);
            was_at_rest = at_rest;
        }
        assert!((20..80).contains(&rests), "{rests}");
        assert!(fastest > 0.3 && fastest <= 0.5, "{fastest}");
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let refusal = |config: PointToPointConfig| {
            PointToPoint::new(&robot(), &config).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let config = PointToPointConfig { centre: vec![0.4, 0.1, 3.0], ..Default::default() };
        assert!(refusal(PointToPointConfig::default()).contains("centre"));
        let edge = PointToPointConfig { centre: vec![0.4, 0.55, 3.0], ..config.clone() };
        assert!(refusal(edge).contains("two"));
        assert!(
            refusal(PointToPointConfig { velocity_share: 1.0, ..config.clone() }).contains("velocity_share")
        );
        assert!(refusal(PointToPointConfig { dwell: [1.0, 0.5], ..config }).contains("dwell"));
    }

    proptest! {
        #[test]
        fn it_is_smooth_and_keeps_the_limits(seed in 0..1000_u64, time in 0.0..100.0_f64, turn in -1.0..1.0_f64) {
            let mut motion = motion(seed);
            let (start, velocity) = ([0.4 + 0.2 * turn, 0.1, -3.1], [0.2 * turn, -0.1, 0.3]);
            motion.start_from(&robot(), &start, &velocity);
            let h = 1e-5;
            let mut points = [(); 3].map(|()| ReferencePoint::zeros(3));
            for time in [h, time + h, 300.0 + time] {
                for (point, t) in points.iter_mut().zip([time - h, time, time + h]) {
                    motion.sample(t, point);
                }
                for (joint, (lower, upper)) in LIMITS.into_iter().enumerate() {
                    let difference = |ahead: f64, behind: f64| (ahead - behind) / (2.0 * h);
                    let velocity = difference(points[2].position[joint], points[0].position[joint]);
                    let acceleration = difference(points[2].velocity[joint], points[0].velocity[joint]);
                    prop_assert!((velocity - points[1].velocity[joint]).abs() < 1e-6);
                    prop_assert!((acceleration - points[1].acceleration[joint]).abs() < 2e-2);
                    prop_assert!(lower < points[1].position[joint] && points[1].position[joint] < upper);
                }
            }
            motion.sample(0.0, &mut points[0]);
            let mut offset = [0.0; 3];
            robot().difference(&start, &points[0].position, &mut offset);
            prop_assert!(offset.iter().all(|offset| offset.abs() < 1e-12));
            prop_assert_eq!(&points[0].velocity, &velocity.to_vec());
        }
    }
}
