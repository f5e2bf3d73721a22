//! Robots whose drives take velocities or positions: what is learned of them, and what they are told when something is
//! wrong.
#![cfg(feature = "sim")]

mod common;

use common::{CENTRE, JOINTS, arm, state_at, weights};
use learned_control::closed_loop::ClosedLoop;
use learned_control::command::{Command, Mode};
use learned_control::config::read_text;
use learned_control::control_loop::{ControlLoop, ControllerConfig, Fault, ReferenceConfig, Verdict};
use learned_control::controller::{Gains, HeadConfig, ObserverConfig, ResidualModel};
use learned_control::error::Result;
use learned_control::learner::LearnerConfig;
use learned_control::robot::Robot;
use learned_control::sim::{InnerLoop, InnerLoopConfig};
use learned_control::state::{Stamp, State};

const URDF: &str = include_str!("../urdf/arm.urdf");
const INTERFACES: [Mode; 2] = [Mode::Velocity, Mode::Position];

fn file(interface: Mode) -> &'static str {
    match interface {
        Mode::Velocity => include_str!("../config/arm_velocity.yaml"),
        _ => include_str!("../config/arm_position.yaml"),
    }
}

fn config(interface: Mode) -> ControllerConfig {
    let config: ControllerConfig = read_text(file(interface), "config", "controller").unwrap();
    ControllerConfig { prediction: false, ..config }
}

fn with_head(interface: Mode) -> ControllerConfig {
    ControllerConfig { head: HeadConfig { enabled: true, ..Default::default() }, ..config(interface) }
}

fn robot(drives: InnerLoopConfig) -> InnerLoop {
    let drives = InnerLoopConfig {
        initial_position: CENTRE.to_vec(),
        position_noise: 1e-5,
        velocity_noise: 1e-3,
        ..drives
    };
    InnerLoop::new(Robot::from_urdf(URDF).unwrap(), drives).unwrap()
}

fn bad_drives(seed: u64) -> InnerLoopConfig {
    let gain = vec![0.9, 1.05, 0.95, 1.1, 0.9, 1.0, 1.1];
    InnerLoopConfig { dead_band: 0.01, lag: 0.04, gain, seed, ..Default::default() }
}

/// Tracking error in each second, rad.
fn errors(drives: InnerLoopConfig, controller: ControllerConfig, seconds: usize) -> Vec<f64> {
    let mut run = ClosedLoop::with_plant(URDF, robot(drives), controller, None).unwrap();
    run.rms_by_second(seconds).unwrap()
}

#[test]
fn the_head_learns_what_drives_make_of_their_commands() {
    for interface in INTERFACES {
        let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
        let alone = errors(bad_drives(1), config(interface), 10);
        let learned = errors(bad_drives(1), with_head(interface), 10);
        let ratio = mean(&learned[2..]) / mean(&alone[2..]);
        assert!(ratio < 0.1, "{interface}: {ratio}, {learned:?} of {alone:?}");
        let worse = learned.iter().zip(&alone).find(|(learned, alone)| **learned > 1.05 * **alone + 1e-3);
        assert!(worse.is_none(), "{interface}: {worse:?}");
    }
}

#[test]
fn drives_that_drift_are_followed() {
    let ends = |controller| {
        let plant = robot(bad_drives(1));
        let mut run = ClosedLoop::with_plant(URDF, plant, controller, None).unwrap();
        run.run(5.0, |_| {}).unwrap();
        let drift = (1..=20).map(|second| {
            let gain =
                bad_drives(1).gain.iter().map(|gain| gain * (1.0 - 0.005 * f64::from(second))).collect();
            run.plant.set_gain(gain).unwrap();
            run.rms_by_second(1).unwrap()[0]
        });
        drift.skip(5).sum::<f64>()
    };
    let ratio = ends(with_head(Mode::Velocity)) / ends(config(Mode::Velocity));
    assert!(ratio < 0.05, "{ratio}");
}

#[test]
fn drives_that_are_ideal_are_left_alone() {
    for interface in INTERFACES {
        let ideal = InnerLoopConfig { lag: 1e-4, dead_time: 0.0, dead_band: 0.0, ..Default::default() };
        let alone = errors(ideal.clone(), config(interface), 6);
        let learned = errors(ideal, with_head(interface), 6);
        let worse = learned.iter().zip(&alone).find(|(learned, alone)| **learned > 1.05 * **alone + 1e-4);
        assert!(worse.is_none(), "{interface}: {learned:?} {alone:?}");
    }
}

#[test]
fn backprop_alone_learns_drives_too() {
    for interface in INTERFACES {
        let learner: LearnerConfig = read_text(file(interface), "config", "learner").unwrap();
        let config = config(interface);
        let alone = errors(bad_drives(1), config.clone(), 20)[18];
        let plant = robot(bad_drives(1));
        let mut run = ClosedLoop::with_plant(URDF, plant, config, Some(learner)).unwrap();
        let learned = run.rms_by_second(20).unwrap()[18];
        assert!(learned < 0.6 * alone, "{interface}: {learned} of {alone}");
    }
}

fn control(config: ControllerConfig) -> Result<ControlLoop> {
    let (robot, dynamics) = arm();
    ControlLoop::new(config, robot, dynamics)
}

fn at(tick: i64, offset: f64) -> State {
    state_at(Stamp(10_000_000_000 + tick * 2_000_000), offset)
}

#[test]
fn without_measurements_drives_stand_still() {
    for interface in INTERFACES {
        let mut control = control(with_head(interface)).unwrap();
        let mut out = Command::zeros(interface, JOINTS);
        control.tick(Stamp::default(), None, &mut out);
        assert_eq!(control.verdict(), Verdict::Holding(Fault::NoJointStates));
        assert_eq!(control.can_command(), interface == Mode::Velocity, "nobody knows where the robot is");
        for tick in 0..500 {
            let state = at(tick, 0.0);
            control.tick(state.stamp, Some(&state), &mut out);
            assert_eq!(out.mode, interface);
        }
        assert!(control.can_command() && control.verdict().fault().is_none(), "{}", control.verdict());
        let last = out.values.clone();
        let stale = at(499, 0.0);
        control.tick(stale.stamp + std::time::Duration::from_secs(1), Some(&stale), &mut out);
        assert!(matches!(control.verdict(), Verdict::Holding(Fault::JointStatesStale { .. })));
        let expected = if interface == Mode::Velocity { vec![0.0; JOINTS] } else { last };
        assert_eq!(out.values, expected);
    }
}

/// Of a driver that sends zeros before it knows better.
#[test]
fn no_position_is_commanded_before_it_is_known_where_the_robot_is() {
    let mut control = control(with_head(Mode::Position)).unwrap();
    let mut out = Command::zeros(Mode::Position, JOINTS);
    let zeros = State { stamp: at(-1, 0.0).stamp, ..State::zeros(JOINTS) };
    control.tick(zeros.stamp, Some(&zeros), &mut out);
    assert_eq!(control.verdict(), Verdict::Holding(Fault::StateUnconfirmed));
    for tick in 0..200 {
        let state = at(tick, 0.0);
        control.tick(state.stamp, Some(&state), &mut out);
        if !control.can_command() {
            assert!(matches!(control.verdict(), Verdict::Holding(_)));
            continue;
        }
        assert!((99..=101).contains(&tick), "{tick}");
        for (commanded, position) in out.values.iter().zip(&state.position) {
            assert!((commanded - position).abs() < 0.005, "{commanded} where it is at {position}");
        }
        return;
    }
    panic!("never commanded");
}

/// A drive that lags is not told to be elsewhere after each silence.
#[test]
fn a_silence_does_not_lead_a_drive_away_from_where_it_was_told_to_be() {
    let config = ControllerConfig { reference: ReferenceConfig::Hold, ..with_head(Mode::Position) };
    let mut control = control(config).unwrap();
    let mut out = Command::zeros(Mode::Position, JOINTS);
    let state = |stamp: Stamp, sag: f64| State {
        stamp,
        velocity: vec![0.0; JOINTS],
        position: at(0, 0.0).position.iter().map(|position| position - sag).collect(),
    };
    let mut told: Option<Vec<f64>> = None;
    for tick in 0..5000 {
        // it sags under a load from the first second on; each second it is silent for a fifth of it
        let measured = state(at(tick, 0.0).stamp, if tick < 500 { 0.0 } else { 0.03 });
        let now = measured.stamp;
        let silent = state(at(tick - tick % 500, 0.0).stamp, 0.03);
        let is_silent = tick > 500 && tick % 500 < 100;
        control.tick(now, Some(if is_silent { &silent } else { &measured }), &mut out);
        if tick == 499 {
            told = Some(out.values.clone());
        }
        for (told, value) in told.iter().flatten().zip(&out.values) {
            // what is learned of the load may raise it
            assert!((-0.01..0.05).contains(&(value - told)), "{tick}: {value}, at first {told}");
        }
    }
}

#[test]
fn commands_stay_within_the_limits_whatever_is_measured() {
    let limits = arm().0.limits;
    for interface in INTERFACES {
        let mut control = control(with_head(interface)).unwrap();
        let mut out = Command::zeros(interface, JOINTS);
        let mut last: Option<Vec<f64>> = None;
        let (mut tracked_beyond, mut left_out) = (0, 0);
        for tick in 0..3500 {
            // elsewhere for long enough to be believed
            let wild = if tick % 700 > 300 { 3.0 * f64::from((tick / 700) as u8) - 7.0 } else { 0.0 };
            let state = at(tick, wild);
            control.tick(state.stamp, Some(&state), &mut out);
            // a measurement or two that no motion can be do not count
            let counts = control.take_left_out().is_none();
            left_out += usize::from(!counts);
            for (joint, value) in out.values.iter().enumerate() {
                let speed = limits.velocity[joint];
                if interface == Mode::Velocity {
                    assert!(value.abs() <= speed, "joint {joint}: {value}");
                    let (lower, upper) = limits.position[joint];
                    let inwards = state.position[joint] <= upper || *value <= 0.0;
                    assert!(!counts || inwards && (state.position[joint] >= lower || *value >= 0.0));
                } else if let Some(last) = &last {
                    let step = (value - last[joint]).abs();
                    assert!(step <= 0.002 * speed + 1e-12, "joint {joint} is told to jump by {step}");
                }
            }
            tracked_beyond += usize::from(wild != 0.0 && !matches!(control.verdict(), Verdict::Holding(_)));
            last = Some(out.values.clone());
        }
        assert!(tracked_beyond > 1000 && left_out <= 2 * 9, "{interface}: {tracked_beyond}, {left_out}");
    }
}

#[test]
fn what_is_made_for_efforts_is_refused() {
    let refusal = |config: ControllerConfig| control(config).map(drop).unwrap_err().to_string();
    let velocity = config(Mode::Velocity);
    let gains = velocity.gains.keys().map(|joint| (joint.clone(), Gains { p: 600.0, ..Default::default() }));
    let error = refusal(ControllerConfig { gains: gains.collect(), ..velocity.clone() });
    assert!(error.contains("gains.joint1.p") && error.contains("600"), "{error}");
    let observer = ObserverConfig { bandwidth: 60.0, ..Default::default() };
    let error = refusal(ControllerConfig { observer, ..config(Mode::Position) });
    assert!(error.contains("observer.bandwidth") && error.contains("position"), "{error}");
    let robot = arm().0.commanded_by(Mode::Velocity);
    let error = ResidualModel::from_bytes(&weights(1.0), "test", &robot).map(drop).unwrap_err().to_string();
    assert!(error.contains("command_interface") && error.contains("effort"), "{error}");
}
