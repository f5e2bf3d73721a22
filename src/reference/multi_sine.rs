//! The built-in test motion: every joint follows a sum of sines of its own, which excites dynamics and friction over
//! a band of frequencies and never repeats within minutes (Swevers et al., *Optimal robot excitation and
//! identification*, 1997, with random instead of optimised coefficients).

use crate::error::{Error, Result};
use crate::reference::{Reference, ReferencePoint};
use crate::robot::Robot;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

const SINES: usize = 4;
/// Time constant in which the velocity at the start dies out, s.
pub(super) const STOPPING_TIME: f64 = 0.2;
/// Distance kept from the position limits, rad or m.
pub(super) const MARGIN: f64 = 0.1;
/// Share of the velocity limit that the sines may use.
const VELOCITY_SHARE: f64 = 0.5;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultiSineConfig {
    /// Another seed is another motion of the same kind.
    pub seed: u64,
    /// Posture about which the robot moves, rad or m; empty: the one it starts from.
    pub centre: Vec<f64>,
    /// Greatest distance from the centre, rad or m.
    pub amplitude: f64,
    /// Greatest velocity, rad/s or m/s; at most half the joint's limit is used.
    pub velocity: f64,
    /// Greatest acceleration, rad/s² or m/s².
    pub acceleration: f64,
    /// Band of frequencies [lowest, highest], Hz.
    pub frequencies: [f64; 2],
    /// The motion fades in over this time, s; longer when the start is far from the centre.
    pub blend_time: f64,
}

impl Default for MultiSineConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            centre: Vec::new(),
            amplitude: 0.5,
            velocity: 1.0,
            acceleration: 4.0,
            frequencies: [0.1, 0.8],
            blend_time: 2.0,
        }
    }
}

/// q(t) = (1 - s(t)) (q_start + v_start T (1 - exp(-t/T))) + s(t) (q_centre + Σ A sin(ω t + φ)), with s the quintic
/// from 0 to 1 and T the `STOPPING_TIME`: a robot that moves at the start is brought to rest while the motion fades in.
#[derive(Clone, Debug)]
pub struct MultiSine {
    start: Vec<f64>,
    start_velocity: Vec<f64>,
    centre: Vec<f64>,
    sines: Vec<[Sine; SINES]>,
    /// Bounds on position, velocity and acceleration of each joint's sines.
    greatest: Vec<[f64; 3]>,
    blend_time: f64,
    shortest_blend_time: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sine {
    amplitude: f64,
    /// rad/s.
    frequency: f64,
    phase: f64,
}

impl MultiSine {
    /// A motion of `robot` that begins at rest at `start`.
    pub fn new(robot: &Robot, start: &[f64], config: &MultiSineConfig) -> Result<Self> {
        check(config)?;
        let n = robot.degrees_of_freedom();
        let centre = if config.centre.is_empty() { start.to_vec() } else { config.centre.clone() };
        for (what, found) in [("start of the multi-sine", start.len()), ("its centre", centre.len())] {
            if found != n {
                return Err(Error::mismatch(what, found, format!("{n} joints")));
            }
        }
        let mut motion = Self {
            start: vec![0.0; n],
            start_velocity: vec![0.0; n],
            sines: Vec::with_capacity(n),
            greatest: Vec::with_capacity(n),
            blend_time: config.blend_time,
            shortest_blend_time: config.blend_time,
            centre,
        };
        let mut random = Pcg64::seed_from_u64(config.seed);
        for joint in 0..n {
            let greatest = greatest_motion(robot, joint, motion.centre[joint], config)?;
            motion.sines.push(draw(&mut random, config.frequencies, greatest));
            motion.greatest.push(greatest);
        }
        motion.start_from(robot, start, &vec![0.0; n]);
        Ok(motion)
    }

    /// Lets the motion begin at `start` with `velocity` instead; allocates nothing.
    pub fn start_from(&mut self, robot: &Robot, start: &[f64], velocity: &[f64]) {
        self.start_velocity.copy_from_slice(velocity);
        self.start.copy_from_slice(start);
        self.blend_time = self.shortest_blend_time;
        for (joint, start) in start.iter().enumerate() {
            self.centre[joint] = robot.on_turn_near(joint, *start, self.centre[joint]);
            let needed = self.blend_time_of(robot, joint, self.greatest[joint]);
            self.blend_time = self.blend_time.max(needed);
        }
    }

    /// The time in which the blend keeps its own share of the velocity (what the sines leave of the limit) and of the
    /// acceleration (as much as the sines): a quintic over d in T reaches 1.875 d/T and 5.7735 d/T².
    fn blend_time_of(
        &self,
        robot: &Robot,
        joint: usize,
        [amplitude, velocity, acceleration]: [f64; 3],
    ) -> f64 {
        let distance = (self.start[joint] - self.centre[joint]).abs() + amplitude;
        let velocity = 0.9 * robot.limits.velocity[joint] - velocity;
        (1.875 * distance / velocity).max((5.7735 * distance / acceleration).sqrt())
    }
}

impl Reference for MultiSine {
    fn sample(&self, time: f64, out: &mut ReferencePoint) {
        let time = time.max(0.0);
        let [s, ds, dds] = quintic(time / self.blend_time);
        let (ds, dds) = (ds / self.blend_time, dds / (self.blend_time * self.blend_time));
        let decay = (-time / STOPPING_TIME).exp();
        for joint in 0..self.sines.len() {
            let start_velocity = self.start_velocity[joint];
            let start = self.start[joint] + start_velocity * STOPPING_TIME * (1.0 - decay);
            let [dstart, ddstart] = [start_velocity * decay, -start_velocity / STOPPING_TIME * decay];
            // The way from the start, which itself still moves, to the sines.
            let [mut x, mut dx, mut ddx] = [self.centre[joint] - start, -dstart, -ddstart];
            for sine in &self.sines[joint] {
                let (sin, cos) = (sine.frequency * time + sine.phase).sin_cos();
                x += sine.amplitude * sin;
                dx += sine.amplitude * sine.frequency * cos;
                ddx -= sine.amplitude * sine.frequency * sine.frequency * sin;
            }
            out.position[joint] = start + s * x;
            out.velocity[joint] = dstart + ds * x + s * dx;
            out.acceleration[joint] = ddstart + dds * x + 2.0 * ds * dx + s * ddx;
        }
    }

    fn duration(&self) -> f64 {
        f64::INFINITY
    }
}

fn check(config: &MultiSineConfig) -> Result<()> {
    let [lowest, highest] = config.frequencies;
    let named = [
        ("amplitude", config.amplitude),
        ("velocity", config.velocity),
        ("acceleration", config.acceleration),
        ("lowest frequency", lowest),
        ("width of the band of frequencies", highest - lowest),
        ("blend_time", config.blend_time),
    ];
    match named.iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
        None => Ok(()),
        Some((what, value)) => {
            Err(Error::mismatch(format!("multi-sine: {what}"), value, "a positive number"))
        }
    }
}

/// The bounds on position (about the centre), velocity and acceleration that the sum of the sines shall keep.
fn greatest_motion(robot: &Robot, joint: usize, centre: f64, config: &MultiSineConfig) -> Result<[f64; 3]> {
    let (lower, upper) = robot.limits.position[joint];
    let room = (upper - centre).min(centre - lower) - MARGIN;
    if room.is_nan() || room <= 0.0 {
        return Err(Error::Joint {
            joint: robot.joints[joint].clone(),
            problem: format!(
                "multi-sine: centre {centre} leaves no room between {lower} and {upper} (margin {MARGIN})"
            ),
        });
    }
    let velocity = config.velocity.min(VELOCITY_SHARE * robot.limits.velocity[joint]);
    Ok([config.amplitude.min(room), velocity, config.acceleration])
}

/// One sine in each of `SINES` equal parts of the band, with like velocities, scaled until the sums of their
/// amplitudes, velocities and accelerations keep `greatest` even if all peaks meet.
fn draw(random: &mut Pcg64, [lowest, highest]: [f64; 2], greatest: [f64; 3]) -> [Sine; SINES] {
    let width = (highest - lowest) / SINES as f64;
    let mut sines = [Sine::default(); SINES];
    let mut sums = [0.0; 3];
    for (part, sine) in sines.iter_mut().enumerate() {
        let frequency = TAU * (lowest + width * (part as f64 + random.random_range(0.0..1.0)));
        let amplitude = random.random_range(0.5..1.0) / frequency;
        *sine = Sine { amplitude, frequency, phase: random.random_range(0.0..TAU) };
        for (power, sum) in sums.iter_mut().enumerate() {
            *sum += amplitude * frequency.powi(power as i32);
        }
    }
    let scale = greatest.iter().zip(sums).map(|(greatest, sum)| greatest / sum).fold(f64::INFINITY, f64::min);
    sines.iter_mut().for_each(|sine| sine.amplitude *= scale);
    sines
}

/// 10 x³ - 15 x⁴ + 6 x⁵ with its first and second derivative; constant outside [0, 1].
pub(super) fn quintic(x: f64) -> [f64; 3] {
    if x >= 1.0 {
        return [1.0, 0.0, 0.0];
    }
    [
        x * x * x * (10.0 + x * (6.0 * x - 15.0)),
        x * x * (30.0 + x * (30.0 * x - 60.0)),
        x * (60.0 + x * (120.0 * x - 180.0)),
    ]
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

    fn motion(seed: u64, start: [f64; 3]) -> MultiSine {
        let config = MultiSineConfig { seed, centre: vec![0.4, 0.1, 3.0], ..Default::default() };
        MultiSine::new(&robot(), &start, &config).unwrap()
    }

    #[test]
    fn it_begins_at_rest_at_the_start() {
        let start = [0.0, 0.2, -3.1];
        let mut point = ReferencePoint::zeros(3);
        motion(1, start).sample(0.0, &mut point);
        // on the turn on which it was measured, though the centre is on the other side of half a turn
        let pairs = start.iter().zip(&point.position);
        pairs.for_each(|(start, point)| assert!((start - point).abs() < 1e-12, "{point} {start}"));
        assert_eq!((point.velocity, point.acceleration), (vec![0.0; 3], vec![0.0; 3]));
    }

    #[test]
    fn it_takes_a_moving_robot_on_as_it_moves() {
        let (start, velocity) = ([0.1, 0.2, -3.1], [0.5, -0.3, 0.8]);
        let mut motion = motion(1, [0.0; 3]);
        motion.start_from(&robot(), &start, &velocity);
        let mut point = ReferencePoint::zeros(3);
        motion.sample(0.0, &mut point);
        // on the turn on which it was measured, though the centre is on the other side of half a turn
        let pairs = start.iter().zip(&point.position);
        pairs.for_each(|(start, point)| assert!((start - point).abs() < 1e-12, "{point} {start}"));
        assert_eq!(point.velocity, velocity);
    }

    #[test]
    fn it_uses_a_good_part_of_what_it_may() {
        let motion = motion(1, [0.4, 0.1, 3.0]);
        let mut point = ReferencePoint::zeros(3);
        let (mut velocity, mut distance) = (0.0_f64, 0.0_f64);
        for i in 0..60_000 {
            motion.sample(5.0 + f64::from(i) * 1e-3, &mut point);
            velocity = velocity.max(point.velocity[0].abs());
            distance = distance.max((point.position[0] - 0.4).abs());
        }
        assert!(velocity > 0.4 && velocity <= 1.0, "{velocity}");
        assert!(distance > 0.25 && distance <= 0.5, "{distance}");
    }

    #[test]
    fn a_centre_without_room_and_a_senseless_setting_are_refused() {
        let config = MultiSineConfig { centre: vec![1.95, 0.0, 0.0], ..Default::default() };
        let error = MultiSine::new(&robot(), &[0.0; 3], &config).unwrap_err().to_string();
        assert!(error.contains("one") && error.contains("1.95"), "{error}");
        let config = MultiSineConfig { frequencies: [0.8, 0.1], ..Default::default() };
        let error = MultiSine::new(&robot(), &[0.0; 3], &config).unwrap_err().to_string();
        assert!(error.contains("band"), "{error}");
        assert!(MultiSine::new(&robot(), &[0.0; 2], &MultiSineConfig::default()).is_err());
    }

    proptest! {
        #[test]
        fn derivatives_agree_with_differences(seed in 0..1000_u64, time in 0.01..100.0_f64) {
            let mut motion = motion(seed, [0.0, 0.0, -2.0]);
            motion.start_from(&robot(), &[0.0, 0.1, -2.0], &[0.3, -0.2, 0.5]);
            let h = 1e-5;
            let mut points = [(); 3].map(|()| ReferencePoint::zeros(3));
            for (point, t) in points.iter_mut().zip([time - h, time, time + h]) {
                motion.sample(t, point);
            }
            for i in 0..3 {
                let velocity = (points[2].position[i] - points[0].position[i]) / (2.0 * h);
                let acceleration = (points[2].velocity[i] - points[0].velocity[i]) / (2.0 * h);
                prop_assert!((velocity - points[1].velocity[i]).abs() < 1e-6);
                prop_assert!((acceleration - points[1].acceleration[i]).abs() < 1e-5);
            }
        }

        #[test]
        fn limits_hold(seed in 0..1000_u64, start in -0.2..0.5_f64, time in 0.0..200.0_f64) {
            let motion = motion(seed, [-1.9, start, 0.0]);
            let mut point = ReferencePoint::zeros(3);
            for t in [time, time / 40.0] {
                motion.sample(t, &mut point);
                for (i, (lower, upper)) in LIMITS.iter().enumerate() {
                    prop_assert!(*lower < point.position[i] && point.position[i] < *upper);
                    prop_assert!(point.velocity[i].abs() < robot().limits.velocity[i]);
                }
                if t > motion.blend_time {
                    prop_assert!(point.velocity.iter().all(|v| v.abs() <= 1.0));
                    prop_assert!(point.acceleration.iter().all(|a| a.abs() <= 4.0));
                }
            }
        }
    }
}
