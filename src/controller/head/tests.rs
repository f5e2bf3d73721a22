use super::*;
use crate::robot::{Dynamics, Robot};
use crate::state::Stamp;

/// A rod that swings about y; the tests' robot is heavier and has more friction than this says.
const ROD: &str = r#"<robot name="rod"><link name="base"/>
    <link name="rod"><inertial><origin xyz="0.5 0 0"/><mass value="2"/>
      <inertia ixx="0.01" ixy="0" ixz="0" iyy="0.1" iyz="0" izz="0.1"/></inertial></link>
    <joint name="swing" type="revolute"><parent link="base"/><child link="rod"/><axis xyz="0 1 0"/>
      <limit lower="-3" upper="3" effort="50" velocity="5"/><dynamics damping="0.5" friction="0.3"/></joint></robot>"#;
const RATE: f64 = 500.0;

/// What the robot really is, beside what the description says.
#[derive(Clone, Copy)]
struct Truth {
    mass: f64,
    friction: f64,
}

struct Rig {
    head: Head,
    dynamics: Dynamics,
    ticks: i64,
}

impl Rig {
    fn new(config: HeadConfig) -> Self {
        let robot = Robot::from_urdf(ROD).unwrap();
        let dynamics = Dynamics::from_urdf(ROD).unwrap();
        let head = Head::new(&config, &robot, dynamics.clone(), RATE);
        Self { head, dynamics, ticks: 0 }
    }

    fn reference(time: f64) -> ReferencePoint {
        let (mut q, mut v, mut a) = (0.0, 0.0, 0.0);
        for (amplitude, w) in [(0.6, 2.0), (0.3, 3.3)] {
            q += amplitude * f64::sin(w * time);
            v += amplitude * w * f64::cos(w * time);
            a -= amplitude * w * w * f64::sin(w * time);
        }
        ReferencePoint { position: vec![q], velocity: vec![v], acceleration: vec![a] }
    }

    /// The effort that the motion takes of the robot as it is.
    fn needed(&self, truth: Truth, motion: &ReferencePoint) -> f64 {
        let mut loaded = self.dynamics.clone();
        loaded.add_point_mass("rod", truth.mass, nalgebra::Vector3::new(0.8, 0.0, 0.0)).unwrap();
        let mut effort = [0.0];
        loaded.inverse_dynamics(&motion.position, &motion.velocity, &motion.acceleration, &mut effort);
        effort[0] + truth.friction * (motion.velocity[0] / 0.01).tanh() + 0.5 * motion.velocity[0]
    }

    /// Moves along the reference for `seconds` under just the right effort, beside no feedforward; root mean square of
    /// what the head would have lacked, over the last half.
    fn run(&mut self, truth: Truth, seconds: f64) -> f64 {
        let ticks = (seconds * RATE) as i64;
        let (mut sum, mut count) = (0.0, 0.0);
        for k in 0..ticks {
            let time = self.ticks as f64 / RATE;
            let (now, between) = (Self::reference(time), Self::reference(time - 0.5 / RATE));
            let state = State {
                stamp: Stamp((time * 1e9) as i64),
                position: now.position.clone(),
                velocity: now.velocity.clone(),
            };
            let effort = [self.needed(truth, &between)];
            self.head.observe(&state, [&effort, &[0.0]], 1.0 / RATE, true, None);
            let mut learned = [0.0];
            self.head.add_command(
                &MotionPoint { point: now.clone(), jerk: vec![0.0] },
                [&[0.0], &[0.0]],
                &mut learned,
            );
            if k >= ticks / 2 {
                sum += (learned[0] - self.needed(truth, &now)).powi(2);
                count += 1.0;
            }
            self.ticks += 1;
        }
        f64::sqrt(sum / count)
    }
}

const AS_DESCRIBED: Truth = Truth { mass: 0.0, friction: 0.3 };
const LOADED: Truth = Truth { mass: 1.5, friction: 1.5 };

fn config() -> HeadConfig {
    HeadConfig { enabled: true, ..Default::default() }
}

#[test]
fn load_and_friction_are_found_within_seconds() {
    let mut rig = Rig::new(config());
    let described = rig.needed(LOADED, &Rig::reference(1.0)) - rig.needed(AS_DESCRIBED, &Rig::reference(1.0));
    assert!(described.abs() > 5.0, "what has to be found is large: {described} Nm");
    let early = rig.run(LOADED, 2.0);
    let late = rig.run(LOADED, 4.0);
    assert!(early < 0.5 && late < 0.1, "{early} {late} Nm");
}

#[test]
fn a_robot_as_described_is_left_as_described() {
    let mut rig = Rig::new(config());
    assert!(rig.run(AS_DESCRIBED, 3.0) < 0.02);
    assert_eq!(rig.head.report(0).changes, 0);
}

#[test]
fn a_change_is_noticed_and_what_was_known_before_is_taken_up_again() {
    let mut rig = Rig::new(config());
    rig.run(AS_DESCRIBED, 5.0);
    rig.run(LOADED, 0.4);
    assert!(rig.head.report(0).changes > 0);
    assert!(rig.run(LOADED, 4.0) < 0.1);
    // half a second is too short to learn it anew so well
    rig.run(AS_DESCRIBED, 0.4);
    let back = rig.run(AS_DESCRIBED, 0.3);
    assert!(back < 0.05, "{back} Nm");
}

#[test]
fn it_may_pause_and_nonsense_teaches_nothing() {
    let mut rig = Rig::new(config());
    rig.run(LOADED, 4.0);
    let before = rig.head.joints[0].weights().to_vec();
    let state = |k: i64, value: f64| State {
        stamp: Stamp(k * 2_000_000),
        position: vec![value],
        velocity: vec![value],
    };
    for k in 0..50 {
        // a limit acted
        rig.head.observe(&state(k, 0.3), [&[40.0], &[0.0]], 1.0 / RATE, false, None);
        // time jumped
        rig.head.observe(&state(k, 0.3), [&[40.0], &[0.0]], 0.5, true, None);
    }
    assert_eq!(rig.head.joints[0].weights(), before);
    for k in 0..200 {
        rig.head.observe(&state(k, f64::NAN), [&[f64::INFINITY], &[0.0]], 1.0 / RATE, true, None);
    }
    assert_eq!(rig.head.joints[0].weights(), before);
    assert!(!rig.head.learns());
    assert!(rig.run(LOADED, 3.0) < 0.1);
    assert!(rig.head.learns());
}

#[test]
fn what_is_believed_never_exceeds_the_prior_and_stays_a_covariance() {
    let forgetful = HeadConfig { memory: 1.0, ..config() };
    let mut rig = Rig::new(forgetful);
    let fresh = [3.0, 6.0].map(|seconds| rig.run(LOADED, seconds))[1];
    for k in 0..100_000 {
        let state = State { stamp: Stamp(k), position: vec![0.2], velocity: vec![0.0] };
        rig.head.observe(&state, [&[3.0], &[0.0]], 1.0 / RATE, true, None);
    }
    let size = rig.head.size;
    for axis in 0..size {
        let mut unit = vec![0.0; size];
        unit[axis] = 1.0;
        let variance = rig.head.joints[0].variance(&unit);
        assert!((0.0..=1.0 + 1e-9).contains(&variance), "{variance}");
    }
    let after_nonsense = rig.run(LOADED, 6.0);
    assert!(after_nonsense < 1.5 * fresh && fresh < 0.3, "{after_nonsense} after {fresh} Nm");
}
