//! The control loop without ROS, without a clock and without a simulator: a scripted motion of the arm's joints goes
//! in, commands and verdicts come out.

mod common;

use common::{ABSURD, JOINTS, arm, command, config, overflowing_weights, state_at, weights};
use learned_control::command::{Command, Mode};
use learned_control::control_loop::{
    Assistance, ControlLoop, ControllerConfig, Fault, ReferenceConfig, Verdict,
};
use learned_control::controller::{HeadConfig, ResidualModel};
use learned_control::reference::{JointTrajectory, JointTrajectoryPoint, MissingJoints, SplineTrajectory};
use learned_control::robot::Limits;
use learned_control::state::{Stamp, State};
use learned_control::trajectory::{Horizon, Trajectory};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use std::time::Duration;

const PERIOD: f64 = 0.002;

fn control(config: ControllerConfig) -> ControlLoop {
    let (robot, dynamics) = arm();
    ControlLoop::new(config, robot, dynamics).unwrap()
}

fn model(scale: f32) -> Box<ResidualModel> {
    Box::new(ResidualModel::from_bytes(&weights(scale), "test", &arm().0).unwrap())
}

fn overflowing_model() -> Box<ResidualModel> {
    Box::new(ResidualModel::from_bytes(&overflowing_weights(), "test", &arm().0).unwrap())
}

fn stamp(tick: usize) -> Stamp {
    Stamp::from_seconds(10.0 + tick as f64 * PERIOD)
}

/// Ticks `control` over the measured motion of a robot that follows badly; gives the commands.
fn run(control: &mut ControlLoop, ticks: std::ops::Range<usize>, seed: u64) -> Vec<Vec<f64>> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut out = command();
    ticks
        .map(|tick| {
            let noise: f64 = 0.01 * (random.random::<f64>() - 0.5);
            let state = state_at(stamp(tick), noise);
            drop(control.tick(state.stamp, Some(&state), &mut out));
            out.values.clone()
        })
        .collect()
}

#[track_caller]
fn assert_safe(out: &Command, limits: &Limits) {
    for (value, limit) in out.values.iter().zip(&limits.effort) {
        assert!(value.abs() <= *limit, "{:?}", out.values);
    }
}

/// The effort that carries the weight at `position`.
fn gravity(position: &[f64]) -> Vec<f64> {
    let (robot, mut dynamics) = arm();
    let mut effort = vec![0.0; JOINTS];
    dynamics.gravity(position, &mut effort);
    robot.limits.clamp_effort(&mut effort);
    effort
}

#[test]
fn with_authority_zero_the_command_is_the_baselines_bit_for_bit() {
    let mut plain = control(config());
    let mut learned = control(ControllerConfig { authority: 0.0, ..config() });
    assert!(run(&mut plain, 0..1, 7) == run(&mut learned, 0..1, 7));
    learned.accept_model(model(1.0));
    assert!(run(&mut plain, 1..5000, 7) == run(&mut learned, 1..5000, 7));
    assert!(learned.residual().card().is_some() && learned.authority() == 0.0);

    learned.set_authority(1.0, Assistance::Full);
    assert!(run(&mut plain, 5000..6000, 7) != run(&mut learned, 5000..6000, 7), "the model does nothing");
    assert_eq!(learned.authority(), 1.0);
}

#[test]
fn weights_that_are_dismissed_fade_out_and_leave_the_baseline() {
    let [mut plain, mut learned] = [control(config()), control(config())];
    learned.accept_model(model(1.0));
    let commands = |control: &mut ControlLoop, ticks| run(control, ticks, 7);
    let ends = commands(&mut plain, 0..1000);
    assert!(ends != commands(&mut learned, 0..1000), "the model does nothing");
    learned.network().dismiss();
    assert!(!learned.wants_model() && learned.residual().card().is_some());
    // 0.2 s at 500 Hz
    let fading = commands(&mut plain, 1000..1100).into_iter().zip(commands(&mut learned, 1000..1100));
    let largest = |(plain, learned): (Vec<f64>, Vec<f64>)| {
        plain.iter().zip(&learned).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let left: Vec<f64> = fading.map(largest).collect();
    assert!(left[0] > left[50] && left[50] > left[98] && left[98] > 0.0 && left[99] == 0.0, "{left:?}");
    assert!(learned.residual().card().is_none());
    assert!(commands(&mut plain, 1100..2000) == commands(&mut learned, 1100..2000));
}

#[test]
fn the_same_inputs_give_the_same_commands_twice() {
    let replay = || {
        let mut control =
            control(ControllerConfig { learning: true, accept_weights: true, prediction: true, ..config() });
        let mut commands = run(&mut control, 0..500, 3);
        control.hear_learner(stamp(500));
        control.accept_model(model(1.0));
        control.hear_prediction(stamp(500), &prediction(stamp(499), 0.2));
        commands.extend(run(&mut control, 500..3000, 4));
        (commands, control.verdict())
    };
    assert!(replay() == replay());
}

// --- faults -------------------------------------------------------------------------------------------------------

/// A loop that has tracked for a second.
fn tracking(config: ControllerConfig) -> ControlLoop {
    let mut control = control(config);
    run(&mut control, 0..500, 1);
    assert!(!matches!(control.verdict(), Verdict::Holding(_)), "{:?}", control.verdict());
    control
}

#[track_caller]
fn assert_holds_by_gravity(control: &ControlLoop, out: &Command, position: &[f64], expected: Fault) {
    assert!(control.verdict().same_kind(&Verdict::Holding(expected)), "{:?}", control.verdict());
    assert!(control.sample().is_none(), "a tick that holds is nothing to learn from");
    assert_eq!(out.values, gravity(position));
}

#[test]
fn without_joint_states_nothing_is_commanded() {
    let mut control = control(config());
    let mut out = command();
    out.values.fill(9.0);
    assert!(control.tick(stamp(0), None, &mut out).is_none());
    assert_eq!(control.verdict(), Verdict::Holding(Fault::NoJointStates));
    assert_eq!(out.values, [0.0; JOINTS]);
    assert!(control.follow(trajectory(&control)).unwrap_err().to_string().contains("joint states"));
}

#[test]
fn stale_joint_states_hold_and_fresh_ones_go_on_from_where_the_robot_is() {
    let mut control = tracking(config());
    let mut out = command();
    let last = state_at(stamp(499), 0.0);
    drop(control.tick(last.stamp, Some(&last), &mut out));
    // Up to the timeout the loop goes on, then it carries the weight where the robot was seen last.
    drop(control.tick(last.stamp + Duration::from_millis(100), Some(&last), &mut out));
    assert!(!matches!(control.verdict(), Verdict::Holding(_)));
    drop(control.tick(last.stamp + Duration::from_millis(101), Some(&last), &mut out));
    let stale = Fault::JointStatesStale { age: 0.101, timeout: 0.1 };
    assert_holds_by_gravity(&control, &out, &last.position, stale);
    let text = control.verdict().describe(&control.robot().joints);
    assert!(text.contains("0.101 s old") && text.contains("timeout 0.100 s"), "{text}");

    // Meanwhile the robot has sagged: the reference starts from there, and moves no faster than a joint may.
    let mut state = state_at(stamp(1000), 0.0);
    state.position.iter_mut().for_each(|q| *q -= 0.05);
    let mut before = state.position.clone();
    for tick in 1000..3000 {
        state.stamp = stamp(tick);
        drop(control.tick(state.stamp, Some(&state), &mut out));
        assert!(!matches!(control.verdict(), Verdict::Holding(_)), "{:?}", control.verdict());
        let limits = &control.robot().limits.velocity;
        let reference = &control.reference().position;
        for ((now, before), limit) in reference.iter().zip(&before).zip(limits) {
            assert!((now - before).abs() <= limit * 5.0 * PERIOD, "jump of the reference at tick {tick}");
        }
        before.clone_from(reference);
    }
}

#[test]
fn the_reference_keeps_its_time_when_ticks_are_missed() {
    let [mut steady, mut starved] = [tracking(config()), tracking(config())];
    let mut out = command();
    for tick in 500..600 {
        let state = state_at(stamp(tick), 0.0);
        drop(steady.tick(state.stamp, Some(&state), &mut out));
        // for 34 and for 90 ms it gets no processor, as on a computer with other work
        if !(510..527).contains(&tick) && !(540..585).contains(&tick) {
            drop(starved.tick(state.stamp, Some(&state), &mut out));
            assert!(!matches!(starved.verdict(), Verdict::Holding(_)));
            let references = steady.reference().position.iter().zip(&starved.reference().position);
            for (steady, starved) in references {
                assert!((steady - starved).abs() < 1e-9, "tick {tick}: {steady} {starved}");
            }
        }
    }
}

#[test]
fn a_trajectory_is_given_up_on_a_hold() {
    let mut control = tracking(config());
    control.follow(trajectory(&control)).unwrap();
    run(&mut control, 500..510, 1);
    let mut out = command();
    drop(control.tick(stamp(700), Some(&state_at(stamp(509), 0.0)), &mut out));
    assert!(matches!(control.verdict(), Verdict::Holding(Fault::JointStatesStale { .. })));
    let state = state_at(stamp(700), 0.0);
    drop(control.tick(state.stamp, Some(&state), &mut out));
    assert_eq!(control.reference().position, state.position);
    assert_eq!(control.reference().velocity, [0.0; JOINTS]);
}

#[test]
fn a_trajectory_that_the_robot_cannot_follow_is_given_up_where_it_stands() {
    let mut config = config();
    config.reference = ReferenceConfig::Hold;
    config.constraints.path = 0.2;
    let mut control = control(config);
    let mut out = command();
    let held =
        |tick: usize| State { velocity: vec![0.0; JOINTS], stamp: stamp(tick), ..state_at(stamp(0), 0.0) };
    drop(control.tick(stamp(0), Some(&held(0)), &mut out));
    control.follow(trajectory(&control)).unwrap();
    // 0.3 rad in 2 s
    let lost = (1..1000).find_map(|tick| {
        drop(control.tick(stamp(tick), Some(&held(tick)), &mut out));
        control.verdict().fault().map(|fault| (tick, fault))
    });
    let Some((tick, Fault::PathLost { error, tolerance: 0.2, .. })) = lost else { panic!("{lost:?}") };
    assert!((660..675).contains(&tick) && error < 0.201, "{lost:?}");
    drop(control.tick(stamp(tick + 1), Some(&held(tick + 1)), &mut out));
    assert_eq!((control.verdict().fault(), control.progress()), (None, None));
    assert_eq!(control.reference().position, held(0).position);
}

#[test]
fn some_joints_of_a_description_are_controlled_and_the_others_are_load() {
    let all = arm().0.joints;
    let named = |joints: &[String]| {
        let gains = config().gains.into_iter().filter(|(joint, _)| joints.contains(joint)).collect();
        let joints = joints.to_vec();
        let rotor_inertia = config().rotor_inertia[..joints.len()].to_vec();
        let reference = ReferenceConfig::Hold;
        let config = ControllerConfig { joints, gains, rotor_inertia, reference, ..config() };
        ControlLoop::load(config, common::URDF)
    };
    let mut some = named(&all[..5]).unwrap();
    assert_eq!(some.robot().joints, all[..5]);
    let mut out = Command::zeros(Mode::Effort, 5);
    let mut state = State::zeros(5);
    state.position.copy_from_slice(&state_at(stamp(0), 0.0).position[..5]);
    drop(some.tick(stamp(0), Some(&State { stamp: stamp(0), ..state.clone() }), &mut out));
    let whole = [&state.position[..], &[0.0; 2]].concat();
    let pairs = out.values.iter().zip(gravity(&whole));
    pairs.for_each(|(some, whole)| assert!((some - whole).abs() < 1e-9, "{:?}", out.values));
    let error = named(&["finger".into()]).map(drop).unwrap_err().to_string();
    assert!(error.contains("finger") && error.contains(&all[0]), "{error}");
}

#[test]
fn who_asks_to_hold_before_the_first_joint_states_gets_it() {
    let mut control = control(config());
    control.hold();
    let start = state_at(stamp(0), 0.0);
    drop(control.tick(start.stamp, Some(&start), &mut command()));
    run(&mut control, 1..500, 1);
    assert_eq!(control.reference().position, start.position);
}

#[test]
fn joint_states_that_jump_hold_and_are_believed_when_they_agree() {
    let mut control = tracking(config());
    let beside = |tick: usize| {
        let mut state = state_at(stamp(tick), 0.0);
        state.position[3] += 0.9;
        state
    };
    let mut out = command();
    drop(control.tick(stamp(500), Some(&state_at(stamp(500), 0.0)), &mut out));
    let trusted = state_at(stamp(500), 0.0).position;
    // one or two may be a glitch
    for tick in 501..503 {
        drop(control.tick(stamp(tick), Some(&beside(tick)), &mut out));
        assert!(!matches!(control.verdict(), Verdict::Holding(_)), "{:?}", control.verdict());
        let left_out =
            control.take_left_out().filter(|(joint, jump)| *joint == 3 && (jump - 0.9).abs() < 0.01);
        assert!(out.stamp == stamp(500) && left_out.is_some());
    }
    for tick in 503..603 {
        drop(control.tick(stamp(tick), Some(&beside(tick)), &mut out));
        assert_holds_by_gravity(&control, &out, &trusted, Fault::StateJumped { joint: 3, jump: 0.9 });
        assert!(control.follow(trajectory(&control)).unwrap_err().to_string().contains("second publisher"));
    }
    drop(control.tick(stamp(603), Some(&beside(603)), &mut out));
    assert!(!matches!(control.verdict(), Verdict::Holding(_)), "{:?}", control.verdict());
    assert!((control.reference().position[3] - beside(603).position[3]).abs() < 0.01);
}

#[test]
fn joint_states_from_the_future_hold() {
    let mut control = tracking(config());
    let seen = state_at(stamp(499), 0.0);
    let mut out = command();
    drop(control.tick(stamp(500), Some(&seen), &mut out));
    let ahead = state_at(stamp(600), 0.0);
    drop(control.tick(stamp(500), Some(&ahead), &mut out));
    assert_holds_by_gravity(&control, &out, &seen.position, Fault::JointStatesAhead { ahead: 0.2 });
}

#[test]
fn a_state_that_is_not_finite_holds_at_the_last_one_that_was() {
    for broken in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for (joint, of_velocity) in [(0, false), (6, false), (3, true)] {
            let mut control = tracking(config());
            let seen = state_at(stamp(500), 0.0);
            let mut out = command();
            drop(control.tick(seen.stamp, Some(&seen), &mut out));
            let mut state = state_at(stamp(501), 0.0);
            let values = if of_velocity { &mut state.velocity } else { &mut state.position };
            values[joint] = broken;
            drop(control.tick(state.stamp, Some(&state), &mut out));
            assert_holds_by_gravity(&control, &out, &seen.position, Fault::StateNotFinite { joint });
        }
    }
}

#[test]
fn a_command_that_overflows_is_not_sent() {
    let mut control = tracking(config());
    let mut state = state_at(stamp(500), 0.0);
    state.velocity[2] = -1e308;
    let mut out = command();
    drop(control.tick(state.stamp, Some(&state), &mut out));
    assert_holds_by_gravity(&control, &out, &state.position, Fault::CommandNotFinite { joint: 2 });
    let after = run(&mut control, 501..600, 1);
    assert!(after.iter().flatten().all(|effort| effort.is_finite()));
    assert!(!matches!(control.verdict(), Verdict::Holding(_)));
}

#[test]
fn a_residual_that_overflows_falls_back_to_the_baseline_until_sound_weights_come() {
    let (mut plain, mut control) = (control(config()), control(config()));
    control.accept_model(overflowing_model());
    let commands = |control: &mut ControlLoop| -> Vec<Vec<f64>> {
        control.hold();
        let mut out = command();
        let of_tick = |tick: usize| {
            let mut absurd = state_at(stamp(tick), 0.0);
            absurd.position.fill(ABSURD);
            drop(control.tick(absurd.stamp, Some(&absurd), &mut out));
            out.values.clone()
        };
        (500..900).map(of_tick).collect()
    };
    assert!(commands(&mut control) == commands(&mut plain), "not the baseline alone");
    assert!(
        matches!(control.verdict(), Verdict::Baseline(Fault::ResidualNotFinite { .. })),
        "{:?}",
        control.verdict()
    );
    assert_eq!(control.authority(), 0.0);
    control.accept_model(model(1.0));
    run(&mut control, 900..1600, 1);
    assert!(control.authority() > 0.0 && control.verdict().fault().is_none(), "{:?}", control.verdict());
}

#[test]
fn a_lost_learner_costs_the_learned_part_only_and_comes_back() {
    let mut control = tracking(ControllerConfig { learning: true, accept_weights: true, ..config() });
    control.accept_model(model(1.0));
    control.hear_learner(stamp(499));
    run(&mut control, 500..1400, 1);
    assert!(control.authority() > 0.9);
    // 2 s after tick 499 the timeout is over; a fifth of a second later nothing of the learned part is left.
    run(&mut control, 1400..1500, 1);
    assert_eq!(control.verdict().fault(), None);
    run(&mut control, 1500..1601, 1);
    assert!(
        matches!(control.verdict(), Verdict::Baseline(Fault::LearnerLost { silence }) if silence > 2.0),
        "{:?}",
        control.verdict()
    );
    assert_eq!(control.authority(), 0.0);
    assert!(control.sample().is_some(), "the baseline's motion can be learned from");
    control.hear_learner(stamp(1601));
    run(&mut control, 1601..2200, 1);
    assert!(control.authority() > 0.9 && control.verdict().fault().is_none());
}

#[test]
fn a_learner_that_dies_with_the_simulators_clock_is_missed() {
    let mut control =
        tracking(ControllerConfig { learning: true, accept_weights: true, prediction: true, ..config() });
    control.accept_model(model(1.0));
    control.hear_learner(stamp(499));
    control.hear_prediction(stamp(499), &prediction(stamp(499), 0.0));
    let mut out = command();
    let mut state = state_at(Stamp::from_seconds(0.1), 0.0);
    for tick in 0..2000 {
        state.stamp = Stamp::from_seconds(0.1 + tick as f64 * PERIOD);
        drop(control.tick(state.stamp, Some(&state), &mut out));
    }
    let fault = control.verdict().fault();
    assert!(matches!(fault, Some(Fault::LearnerLost { .. } | Fault::PredictorLost { .. })), "{fault:?}");
}

#[test]
fn silence_counts_from_the_first_joint_states_on() {
    let mut control =
        control(ControllerConfig { learning: true, accept_weights: true, prediction: true, ..config() });
    let mut out = command();
    // Before /clock arrives time stands at zero.
    drop(control.tick(Stamp(0), None, &mut out));
    run(&mut control, 0..100, 1);
    assert_eq!(control.verdict().fault(), None);
}

#[test]
fn a_lost_predictor_costs_the_learned_part_only() {
    let mut control = tracking(ControllerConfig { prediction: true, predictor_timeout: 5.0, ..config() });
    control.accept_model(model(1.0));
    run(&mut control, 500..2400, 1);
    assert!(control.authority() == 1.0);
    run(&mut control, 2400..2700, 1);
    assert!(matches!(control.verdict(), Verdict::Baseline(Fault::PredictorLost { .. })));
    assert_eq!(control.authority(), 0.0);
    control.hear_prediction(stamp(2700), &prediction(stamp(2699), 0.0));
    run(&mut control, 2701..2702, 1);
    assert_eq!(control.verdict().fault(), None);
}

#[test]
fn a_violated_tolerance_counts_as_mended_at_half_of_it() {
    let mut config = config();
    config.constraints.trajectory = 0.4;
    config.reference = ReferenceConfig::Hold;
    let mut control = control(config);
    let mut out = command();
    let (mut tick, mut off) = (0, 0.0);
    // no faster than the arm can move
    let mut off_by = |control: &mut ControlLoop, error: f64| loop {
        off += (error - off).clamp(-0.05, 0.05);
        let mut state = state_at(stamp(0), 0.0);
        state.stamp = stamp(tick);
        state.position[1] += off;
        tick += 1;
        drop(control.tick(state.stamp, Some(&state), &mut out));
        if off == error {
            return control.verdict();
        }
    };
    assert_eq!(off_by(&mut control, 0.0).fault(), None);
    assert_eq!(off_by(&mut control, 0.39).fault(), None);
    let verdict = off_by(&mut control, 0.41);
    assert!(matches!(verdict, Verdict::Baseline(Fault::ToleranceViolated { joint: 1, .. })), "{verdict:?}");
    assert!(matches!(off_by(&mut control, 0.3), Verdict::Baseline(_)), "not yet below half");
    assert_eq!(off_by(&mut control, 0.19).fault(), None);
}

// --- governor, weights, limits ------------------------------------------------------------------------------------

/// A prediction from `stamp` that lies `error` beside every position that the arm can be asked to take.
fn prediction(stamp: Stamp, error: f64) -> Trajectory {
    let horizon = Horizon { steps: 50, dt: Duration::from_millis(10) };
    let mut prediction = Trajectory::new(horizon, JOINTS);
    prediction.stamp = stamp;
    for state in &mut prediction.states {
        state.copy_from(&state_at(stamp, 0.0));
        state.position.iter_mut().for_each(|q| *q += error);
    }
    prediction
}

/// From where the reference is to 0.3 rad beside where the arm begins.
fn trajectory(control: &ControlLoop) -> SplineTrajectory {
    let (robot, _) = arm();
    let goal: Vec<f64> = state_at(stamp(0), 0.0).position.iter().map(|q| q + 0.3).collect();
    let point = JointTrajectoryPoint { time_from_start: 2.0, positions: goal, ..Default::default() };
    let trajectory = JointTrajectory { joints: robot.joints.clone(), points: vec![point] };
    SplineTrajectory::new(&robot, &trajectory, &control.start_of_trajectory(), MissingJoints::Refuse).unwrap()
}

#[test]
fn a_foreseen_error_slows_the_reference_down_until_it_is_gone() {
    let mut config = ControllerConfig { prediction: true, predictor_timeout: 100.0, ..config() };
    config.reference = ReferenceConfig::Hold;
    config.constraints.trajectory = 0.1;
    let mut control = control(config);
    let mut tick = 0;
    let mut after = |foreseen_error: f64, ticks: usize| {
        let mut foreseen = prediction(stamp(tick), 0.0);
        foreseen.states.iter_mut().for_each(|state| {
            state.position = state_at(stamp(0), 0.0).position;
            state.position[4] += foreseen_error;
        });
        control.hear_prediction(stamp(tick), &foreseen);
        let mut out = command();
        for _ in 0..ticks {
            // At rest where the reference holds it.
            let mut state = state_at(stamp(0), 0.0);
            state.velocity.fill(0.0);
            state.stamp = stamp(tick);
            drop(control.tick(state.stamp, Some(&state), &mut out));
            tick += 1;
        }
        (control.speed_scaling(), control.verdict())
    };
    assert_eq!(after(0.0, 100), (1.0, Verdict::Tracking));
    assert_eq!(after(0.09, 100), (1.0, Verdict::Tracking));
    assert_eq!(after(0.2, 100), (0.5, Verdict::Limited));
    assert_eq!(after(1e300, 500), (0.1, Verdict::Limited), "never to a stop");
    assert!(after(0.0, 100).0 < 0.3, "back slowly");
    assert_eq!(after(0.0, 900), (1.0, Verdict::Tracking));
}

#[test]
fn a_reference_that_is_slowed_down_arrives_all_the_same() {
    let mut config = ControllerConfig { prediction: true, predictor_timeout: 100.0, ..config() };
    config.constraints.trajectory = 0.1;
    config.constraints.path = 0.0;
    let mut control = tracking(config);
    control.follow(trajectory(&control)).unwrap();
    control.hear_prediction(stamp(500), &prediction(stamp(500), 10.0));
    run(&mut control, 500..1500, 1);
    assert!(control.speed_scaling() < 0.2);
    let goal: Vec<f64> = state_at(stamp(0), 0.0).position.iter().map(|q| q + 0.3).collect();
    assert!((control.reference().position[0] - goal[0]).abs() > 0.1, "not there in 2 s");
    run(&mut control, 1500..12_000, 1);
    assert_eq!(control.reference().position, goal);
}

#[test]
fn a_tick_is_the_same_whether_the_one_before_prepared_it_or_not() {
    let head = HeadConfig { enabled: true, ..Default::default() };
    let [mut prepared, mut not] = [0, 1].map(|_| {
        let mut control = control(ControllerConfig { head, ..config() });
        run(&mut control, 0..1, 7);
        control.accept_model(model(1.0));
        control
    });
    let mut without = control(ControllerConfig { head, ..config() });
    run(&mut without, 0..1, 7);
    for tick in 1..2000 {
        let commands = [&mut prepared, &mut not, &mut without].map(|control| run(control, tick..tick + 1, 7));
        assert!(commands[0] == commands[1], "tick {tick}");
        if tick % 3 != 0 {
            prepared.network().prepare();
        }
        assert!(tick < 1000 || commands[1] != commands[2], "the network does nothing");
    }
}

#[test]
fn bad_weights_do_not_get_in() {
    let (robot, _) = arm();
    let refused =
        |bytes: &[u8]| ResidualModel::from_bytes(bytes, "~/weights", &robot).unwrap_err().to_string();
    let good = weights(1.0);
    assert!(ResidualModel::from_bytes(&good, "~/weights", &robot).is_ok());
    // The last four bytes are the last value of a tensor.
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bytes = good.clone();
        let end = bytes.len() - 4;
        bytes[end..].copy_from_slice(&broken.to_le_bytes());
        let text = refused(&bytes);
        assert!(text.contains("~/weights") && text.contains(&broken.to_string()), "{text}");
    }
    assert!(refused(b"garbage").contains("damaged or not safetensors"));
    assert!(refused(&[]).contains("0 bytes"));
    assert!(refused(&weights(f32::MAX)).contains("largest sum of weights times inputs in layers.0"));
    let other = robot.select(&robot.joints[..6]).unwrap();
    let text = ResidualModel::from_bytes(&good, "~/weights", &other).unwrap_err().to_string();
    assert!(text.contains("joint7"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever comes in, what goes out is finite and within the limits.
    #[test]
    fn no_command_is_ever_above_the_limits(seed in any::<u64>(), ticks in 20..120_usize) {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let mut control = control(ControllerConfig { learning: true, accept_weights: true, prediction: true, ..config() });
        let limits = control.robot().limits.clone();
        let mut out = command();
        // in half of the cases the positions could be those of a robot, so that it is tracked
        let (is_tame, mut tracked) = (random.random::<bool>(), 0);
        for tick in 0..ticks {
            let mut state = wild_state(&mut random, stamp(tick));
            if is_tame {
                state.position = state_at(stamp(tick), 0.0).position;
            }
            match random.random_range(0..20) {
                0 if control.wants_model() => control.accept_model(model(1.0)),
                1 if control.wants_model() => control.accept_model(overflowing_model()),
                2 => control.hear_learner(state.stamp),
                3 => control.hear_prediction(state.stamp, &prediction(state.stamp, 1.0)),
                4 => state.stamp = stamp(random.random_range(0..10_000)),
                5 => drop(control.follow(trajectory(&control))),
                6 => control.hold(),
                _ => {}
            }
            let present = random.random_range(0..10) > 0;
            drop(control.tick(stamp(tick), present.then_some(&state), &mut out));
            assert_safe(&out, &limits);
            tracked += usize::from(!matches!(control.verdict(), Verdict::Holding(_)));
        }
        prop_assert!(!is_tame || tracked > 0);
        control.safe_command(&mut out);
        assert_safe(&out, &limits);
    }
}

/// Mostly sensible, sometimes far off, sometimes no number at all.
fn wild_state(random: &mut Pcg64Mcg, stamp: Stamp) -> State {
    let mut state = state_at(stamp, 0.1 * (random.random::<f64>() - 0.5));
    for value in state.position.iter_mut().chain(&mut state.velocity) {
        match random.random_range(0..100) {
            0 => *value = f64::NAN,
            1 => *value = f64::INFINITY,
            2 => *value = 1e308 * (random.random::<f64>() - 0.5),
            3..10 => *value += 20.0 * (random.random::<f64>() - 0.5),
            _ => {}
        }
    }
    state
}
