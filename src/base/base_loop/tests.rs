//! The loop of a base, with a base that does what it is told.

use super::*;
use crate::base::WantedTwist;
use crate::base::{BaseFault, Drive, TwistHeadConfig, pose_error};
use crate::learner::{Learner, LearnerConfig};
use crate::nn::checkpoint::{ModelKind, Tensors, to_bytes};
use crate::nn::mlp::MlpConfig;
use crate::reference::Reference;
use crate::state::Space;
use candle_core::{Device, Tensor};
use std::time::Duration;

const PERIOD: Duration = Duration::from_millis(20);

/// A base that does at once `gain` times what it is told.
struct Base {
    state: State,
    gain: f64,
}

impl Base {
    fn new(gain: f64) -> Self {
        Self { state: State::zeros(3), gain }
    }

    fn step(&mut self, twist: &Twist) {
        let mut local = [0.0; 3];
        self.state.velocity = twist.iter().map(|twist| self.gain * twist).collect();
        Space::PlanarBase.displacement(&self.state.velocity.clone(), PERIOD.as_secs_f64(), &mut local);
        let from = self.state.position.clone();
        Space::PlanarBase.integrate(&from, &local, &mut self.state.position);
        self.state.stamp = self.state.stamp + PERIOD;
    }

    fn pose(&self) -> Pose {
        pose_of(&self.state).unwrap()
    }
}

/// Knows the base's gain; counts what it is shown.
struct Inverse {
    gain: f64,
    seen: std::sync::Arc<std::sync::Mutex<Vec<(bool, Twist)>>>,
}

impl TwistCorrection for Inverse {
    fn observe(&mut self, _: &State, sent: &Twist, _: f64, undisturbed: bool, _: Option<&mut ResidualModel>) {
        self.seen.lock().unwrap().push((undisturbed, *sent));
    }

    fn correct(&mut self, wanted: &dyn Fn(f64) -> WantedTwist, out: &mut Twist) {
        let wanted = wanted(0.0);
        for (out, velocity) in out.iter_mut().zip(wanted.velocity) {
            *out = velocity / self.gain - velocity;
        }
    }
}

/// Adds 0.1 m/s to whatever is wanted.
struct Constant;

impl TwistCorrection for Constant {
    fn observe(&mut self, _: &State, _: &Twist, _: f64, _: bool, _: Option<&mut ResidualModel>) {}

    fn correct(&mut self, _: &dyn Fn(f64) -> WantedTwist, out: &mut Twist) {
        out[0] = 0.1;
    }
}

fn inverse(gain: f64) -> Box<Inverse> {
    Box::new(Inverse { gain, seen: Default::default() })
}

fn curve() -> ReferencePath {
    let poses: Vec<Pose> =
        (0..60).map(|i| 0.05 * i as f64).map(|x| [x, 0.3 * (2.0 * x).sin(), 0.0]).collect();
    let config = BaseControllerConfig::default();
    ReferencePath::geometric(&poses, Drive::Differential, &config.limits, &config.path, 0.0).unwrap()
}

fn base_loop(config: BaseControllerConfig) -> BaseLoop {
    BaseLoop::new(config).unwrap()
}

/// Drives the curve from 0.1 m beside its beginning; all twists, and where the base ends, seen from the end of the path.
fn drive_curve(control: &mut BaseLoop, base: &mut Base) -> (Vec<Twist>, Pose) {
    base.state.position = vec![0.0, 0.1, 0.5];
    control.follow(curve(), None);
    let mut twists = Vec::new();
    for _ in 0..1500 {
        let mut twist = [0.0; 3];
        control.tick(base.state.stamp, Some(&base.state), &mut twist);
        base.step(&twist);
        twists.push(twist);
    }
    let mut end = ReferencePoint::zeros(3);
    curve().sample(1e9, &mut end);
    let end: Pose = end.position.try_into().unwrap();
    (twists, pose_error(&end, &base.pose()))
}

#[test]
fn a_path_is_driven_to_its_end_within_limits_and_the_base_then_rests() {
    let mut control = base_loop(BaseControllerConfig::default());
    let (twists, left) = drive_curve(&mut control, &mut Base::new(1.0));
    assert!(left[0].hypot(left[1]) < 0.02 && left[2].abs() < 0.05, "{left:?}");
    assert_eq!(control.verdict(), BaseVerdict::Idle);
    assert_eq!(twists.last(), Some(&[0.0; 3]));
    for pair in twists.windows(2) {
        assert!((pair[1][0] - pair[0][0]).abs() <= 2.5 * 0.02 + 1e-9 && pair[1][0].abs() <= 0.5);
        assert!((pair[1][2] - pair[0][2]).abs() <= 3.2 * 0.02 + 1e-9 && pair[1][2].abs() <= 2.5);
        assert_eq!(pair[1][1], 0.0);
    }
}

#[test]
fn a_base_that_lags_may_come_up_at_the_end_of_a_path() {
    let mut control = base_loop(BaseControllerConfig::default());
    let (_, left) = drive_curve(&mut control, &mut Base::new(0.5));
    assert!(left[0].abs() <= 0.05, "{left:?}");
    assert_eq!(control.verdict(), BaseVerdict::Idle);
}

#[test]
fn no_authority_is_the_baseline_bit_for_bit() {
    let with = |correction: bool, config: BaseControllerConfig| {
        let mut control = base_loop(config);
        if correction {
            control.set_correction(Some(inverse(0.7)));
        }
        drive_curve(&mut control, &mut Base::new(0.7)).0
    };
    let baseline = with(false, BaseControllerConfig::default());
    let none = BaseControllerConfig { authority: 0.0, ..Default::default() };
    let shadow = BaseControllerConfig { assistance: Assistance::Shadow, ..Default::default() };
    assert_eq!(with(true, none), baseline);
    assert_eq!(with(true, shadow), baseline);
    assert_ne!(with(true, BaseControllerConfig::default()), baseline);
}

#[test]
fn a_correction_that_is_right_removes_the_error() {
    let error = |correction: Option<Box<dyn TwistCorrection>>| {
        let mut control = base_loop(BaseControllerConfig::default());
        control.set_correction(correction);
        let mut base = Base::new(0.8);
        let mut start = ReferencePoint::zeros(3);
        curve().sample(0.0, &mut start);
        base.state.position = start.position;
        control.follow(curve(), None);
        let (mut sum, mut count) = (0.0, 0);
        for tick in 0..400 {
            let mut twist = [0.0; 3];
            control.tick(base.state.stamp, Some(&base.state), &mut twist);
            if let (true, Some(_)) = (tick > 150, control.path()) {
                sum += control.error().iter().map(|error| error * error).sum::<f64>();
                count += 1;
            }
            base.step(&twist);
        }
        f64::sqrt(sum / f64::from(count))
    };
    let (with, without) = (error(Some(inverse(0.8))), error(None));
    assert!(with < 0.1 * without && without > 0.02, "{with} {without}");
}

#[test]
fn a_correction_is_clipped_and_one_that_is_not_finite_is_switched_off() {
    let mut control = base_loop(BaseControllerConfig::default());
    control.set_correction(Some(inverse(1e-3)));
    let (twists, _) = drive_curve(&mut control, &mut Base::new(1.0));
    assert!(twists.iter().flatten().all(|value| value.is_finite()));
    let limit = BaseControllerConfig::default().correction_limit;
    assert!(control.correction().iter().zip(limit).all(|(value, limit)| value.abs() <= limit));

    control.set_correction(Some(inverse(0.0)));
    control.follow(curve(), None);
    let base = Base { state: State { stamp: Stamp::from_seconds(100.0), ..State::zeros(3) }, gain: 1.0 };
    let mut twist = [0.0; 3];
    control.tick(base.state.stamp, Some(&base.state), &mut twist);
    control.tick(base.state.stamp, Some(&base.state), &mut twist);
    let verdict = control.verdict();
    assert!(matches!(verdict, BaseVerdict::Baseline(BaseFault::CorrectionNotFinite { .. })), "{verdict:?}");
    assert!(twist.iter().all(|value| value.is_finite()));
}

#[test]
fn what_is_asked_for_is_passed_on_until_nobody_asks_any_more() {
    let mut control = base_loop(BaseControllerConfig::default());
    let mut base = Base::new(1.0);
    let mut twist = [0.0; 3];
    for tick in 0..100 {
        if tick <= 50 {
            control.ask(base.state.stamp, [0.3, 0.0, 0.4]);
        }
        control.tick(base.state.stamp, Some(&base.state), &mut twist);
        base.step(&twist);
        match tick {
            20..=75 => assert_eq!(twist, [0.3, 0.0, 0.4], "{tick}"),
            // 0.5 s after tick 50, and then down within limits: 0.12 s
            85.. => assert_eq!(twist, [0.0; 3], "{tick}"),
            _ => {}
        }
    }
    assert!(matches!(control.verdict(), BaseVerdict::Stopped(BaseFault::AskedStale { .. })));
    control.ask(base.state.stamp, [f64::NAN, 0.0, 0.0]);
    control.tick(base.state.stamp, Some(&base.state), &mut twist);
    assert_eq!(twist, [0.0; 3]);
    assert!(matches!(control.verdict(), BaseVerdict::Stopped(BaseFault::AskedNotFinite { .. })));
    control.ask(base.state.stamp, [0.05, 0.0, 0.0]);
    control.tick(base.state.stamp, Some(&base.state), &mut twist);
    assert_eq!(twist, [0.05, 0.0, 0.0]);
}

#[test]
fn a_wide_dead_band_does_not_hold_the_base() {
    let mut config = BaseControllerConfig::default();
    config.limits.deadband_velocity = [0.06, 0.0, 0.1];
    let mut control = base_loop(config);
    let (twists, left) = drive_curve(&mut control, &mut Base::new(1.0));
    assert!(left[0].hypot(left[1]) < 0.1, "{left:?}");
    assert!(
        twists
            .iter()
            .all(|[x, _, turn]| (*x == 0.0 || x.abs() >= 0.06) && (*turn == 0.0 || turn.abs() >= 0.1))
    );
}

#[test]
fn a_base_that_is_on_its_path_already_goes_on_from_there() {
    let mut control = base_loop(BaseControllerConfig::default());
    let mut base = Base::new(1.0);
    let config = BaseControllerConfig::default();
    let line = |from: f64| {
        let poses = [[from, 0.0, 0.0], [5.0, 0.0, 0.0]];
        ReferencePath::geometric(&poses, Drive::Differential, &config.limits, &config.path, 0.0).unwrap()
    };
    base.state.position = vec![3.0, 0.0, 0.0];
    control.follow(line(0.0), None);
    for tick in 0..500 {
        if tick == 100 {
            // the localization finds that the base is further on
            base.state.position[0] += 0.4;
        }
        let mut twist = [0.0; 3];
        control.tick(base.state.stamp, Some(&base.state), &mut twist);
        base.step(&twist);
        assert!(twist[0] > -0.05, "{tick}: {twist:?}");
    }
    assert!((base.state.position[0] - 5.0).abs() < 0.05, "{:?}", base.state.position);
}

#[test]
fn a_base_that_looks_away_turns_before_it_drives() {
    let mut control = base_loop(BaseControllerConfig::default());
    let mut base = Base::new(1.0);
    base.state.position = vec![0.0, 0.0, 3.0];
    control.follow(curve(), None);
    let (mut worst, mut before) = (0.0_f64, 0.0);
    for tick in 0..1500 {
        // a planner may plan anew while it turns, and it goes on turning
        if tick % 20 == 10 && tick < 200 {
            control.follow(curve(), None);
        }
        let mut twist = [0.0; 3];
        control.tick(base.state.stamp, Some(&base.state), &mut twist);
        base.step(&twist);
        assert!(twist[0] > -0.02, "{tick}: {twist:?}");
        assert!((twist[2] - before).abs() < 0.051, "{tick}: {twist:?} after {before}");
        before = twist[2];
        let place = curve().project_first(&base.pose());
        worst = worst.max(place.error[1].abs());
    }
    let mut end = ReferencePoint::zeros(3);
    curve().sample(1e9, &mut end);
    let end: Pose = end.position.try_into().unwrap();
    let left = pose_error(&end, &base.pose());
    assert!(left[0].hypot(left[1]) < 0.02 && worst < 0.02, "{left:?} {worst}");
}

#[test]
fn a_twist_of_before_the_clock_was_set_back_is_not_obeyed_and_the_end_of_rest_is_no_fault() {
    let mut control = base_loop(BaseControllerConfig::default());
    let mut base = Base::new(1.0);
    base.state.stamp = Stamp::from_seconds(100.0);
    control.ask(base.state.stamp, [0.3, 0.0, 0.0]);
    let mut twist = [0.0; 3];
    control.tick(base.state.stamp, Some(&base.state), &mut twist);
    assert!(twist[0] > 0.0);
    base.state.stamp = Stamp::from_seconds(1.0);
    for _ in 0..50 {
        control.tick(base.state.stamp, Some(&base.state), &mut twist);
        base.step(&twist);
    }
    assert_eq!(twist, [0.0; 3]);
    assert!(matches!(control.verdict(), BaseVerdict::Stopped(BaseFault::AskedStale { .. })));
    control.ask(base.state.stamp, [0.0; 3]);
    for _ in 0..100 {
        control.tick(base.state.stamp, Some(&base.state), &mut twist);
        base.step(&twist);
    }
    assert_eq!(control.verdict(), BaseVerdict::Idle);
}

#[test]
fn every_fault_of_the_odometry_stops_the_base_at_once_and_ends_the_path() {
    let moving = || {
        let mut control = base_loop(BaseControllerConfig::default());
        let mut base = Base::new(1.0);
        control.follow(curve(), None);
        let mut twist = [0.0; 3];
        for _ in 0..60 {
            control.tick(base.state.stamp, Some(&base.state), &mut twist);
            base.step(&twist);
        }
        assert!(twist[0] > 0.1);
        (control, base)
    };
    let faulty = |now: f64, change: fn(&mut State)| {
        let (mut control, mut base) = moving();
        let now = base.state.stamp + Duration::from_secs_f64(now);
        change(&mut base.state);
        let mut twist = [1.0; 3];
        control.tick(now, Some(&base.state), &mut twist);
        assert_eq!(twist, [0.0; 3]);
        assert!(control.path().is_none());
        control.verdict().fault().unwrap()
    };
    assert!(matches!(faulty(0.31, |_| {}), BaseFault::OdometryStale { .. }));
    let ahead = |state: &mut State| state.stamp = state.stamp + Duration::from_secs(1);
    assert!(matches!(faulty(0.0, ahead), BaseFault::OdometryAhead { .. }));
    assert_eq!(faulty(0.0, |state| state.position[1] = f64::NAN), BaseFault::StateNotFinite { axis: 1 });
    assert_eq!(faulty(0.0, |state| state.velocity[2] = f64::INFINITY), BaseFault::StateNotFinite { axis: 2 });
    let (mut control, _) = moving();
    let mut twist = [1.0; 3];
    control.tick(Stamp::default(), None, &mut twist);
    assert_eq!((twist, control.verdict()), ([0.0; 3], BaseVerdict::Stopped(BaseFault::NoOdometry)));
}

#[test]
fn a_path_waits_for_a_base_that_is_held_and_a_trajectory_does_not() {
    let mut control = base_loop(BaseControllerConfig::default());
    control.follow(curve(), None);
    let mut state = State::zeros(3);
    let mut twist = [0.0; 3];
    for _ in 0..1000 {
        control.tick(state.stamp, Some(&state), &mut twist);
        state.stamp = state.stamp + PERIOD;
    }
    let along = control.error()[0];
    assert!((0.3..=0.61).contains(&along), "{along}");
    assert_eq!(control.verdict(), BaseVerdict::Limited);
    let trajectory =
        ReferencePath::stamped(&[0.0, 5.0, 10.0], &[[0.0; 3], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]).unwrap();
    let begin = state.stamp;
    control.follow(trajectory, Some(begin));
    state.stamp = begin + Duration::from_secs(4);
    control.tick(state.stamp, Some(&state), &mut twist);
    assert_eq!(control.path().map(|(_, time)| time), Some(4.0));
    state.stamp = begin + Duration::from_secs(10);
    control.tick(state.stamp, Some(&state), &mut twist);
    assert!(control.path().is_none() && control.verdict() == BaseVerdict::Idle);
}

#[test]
fn a_base_that_is_held_while_it_turns_is_waited_for_and_does_not_drive_backward() {
    let mut control = base_loop(BaseControllerConfig::default());
    let mut base = Base::new(0.0);
    base.state.position = vec![0.0, 0.0, 2.9];
    control.follow(curve(), None);
    for tick in 0..1500 {
        if tick == 300 {
            base.gain = 1.0;
        }
        let mut twist = [0.0; 3];
        control.tick(base.state.stamp, Some(&base.state), &mut twist);
        base.step(&twist);
        assert!(twist[0] > -0.02, "{tick}: {twist:?}");
    }
    assert!(matches!(control.take_path_end(), Some(PathEnd::Over { distance, .. }) if distance < 0.02));
}

#[test]
fn a_path_that_is_too_far_away_is_given_up() {
    let mut control = base_loop(BaseControllerConfig::default());
    let mut base = Base::new(1.0);
    base.state.position = vec![1.0, 5.0, 0.0];
    control.follow(curve(), None);
    let mut twist = [0.0; 3];
    control.tick(base.state.stamp, Some(&base.state), &mut twist);
    assert_eq!(twist, [0.0; 3]);
    let end = control.take_path_end();
    assert!(matches!(end, Some(PathEnd::Fault(BaseFault::PathLost { error, .. })) if error > 4.5), "{end:?}");
    // and one whose time has passed is not taken for done
    let past = ReferencePath::stamped(&[0.0, 1.0], &[[1.0, 4.0, 0.0], [1.0, 6.0, 0.0]]).unwrap();
    base.state.stamp = Stamp::from_seconds(100.0);
    control.follow(past, Some(Stamp::from_seconds(50.0)));
    control.tick(base.state.stamp, Some(&base.state), &mut twist);
    let end = control.take_path_end();
    assert!(matches!(end, Some(PathEnd::Over { distance, .. }) if (distance - 1.0).abs() < 1e-9), "{end:?}");
}

#[test]
fn rest_that_is_asked_for_is_rest_whatever_was_learned() {
    let mut control = base_loop(BaseControllerConfig::default());
    control.set_correction(Some(Box::new(Constant)));
    let base = Base::new(1.0);
    let sent = |control: &mut BaseLoop, asked: Twist| {
        let (mut twist, mut stamp) = ([0.0; 3], base.state.stamp);
        for _ in 0..200 {
            control.ask(stamp, asked);
            control.tick(stamp, Some(&State { stamp, ..base.state.clone() }), &mut twist);
            stamp = stamp + PERIOD;
        }
        twist
    };
    assert!(sent(&mut control, [0.3, 0.0, 0.0])[0] > 0.35);
    assert_eq!(sent(&mut control, [0.0; 3]), [0.0; 3]);
}

#[test]
fn what_was_disturbed_is_shown_as_such() {
    let correction = inverse(1.0);
    let seen = correction.seen.clone();
    let mut control = base_loop(BaseControllerConfig::default());
    control.set_correction(Some(correction));
    let mut base = Base::new(1.0);
    let mut twist = [0.0; 3];
    let mut tick = |control: &mut BaseLoop, base: &mut Base, asked: Twist| {
        control.ask(base.state.stamp, asked);
        control.tick(base.state.stamp, Some(&base.state), &mut twist);
        base.step(&twist);
    };
    // 5 ticks to 0.25 m/s within limits, then a gap
    for _ in 0..20 {
        tick(&mut control, &mut base, [0.25, 0.0, 0.0]);
    }
    base.state.stamp = base.state.stamp + Duration::from_millis(200);
    tick(&mut control, &mut base, [0.25, 0.0, 0.0]);
    let shown = seen.lock().unwrap().clone();
    assert!(!shown[0].0, "nothing was asked for before");
    assert!(shown[2].0 && shown[2].1[0] < 0.2, "what limits have left was sent: {:?}", shown[2]);
    assert!(shown[10].0 && shown[10].1 == [0.25, 0.0, 0.0]);
    assert!(!shown[20].0, "after a gap");
    // a base that is held up, whose path waits
    control.follow(curve(), None);
    for _ in 0..300 {
        base.state.stamp = base.state.stamp + PERIOD;
        control.tick(base.state.stamp, Some(&base.state), &mut [0.0; 3]);
    }
    assert!(!seen.lock().unwrap().last().unwrap().0, "while the path waits");
}

#[test]
fn senseless_settings_are_named() {
    let refusal = |config: BaseControllerConfig| match BaseLoop::new(config) {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    };
    assert!(refusal(BaseControllerConfig { authority: 1.5, ..Default::default() }).contains("authority"));
    assert!(
        refusal(BaseControllerConfig { odom_timeout: 0.0, ..Default::default() }).contains("odom_timeout")
    );
    let config = BaseControllerConfig { correction_limit: [0.1, 0.1, f64::NAN], ..Default::default() };
    assert!(refusal(config).contains("correction_limit.theta"));
    let slow = |enabled: bool| {
        let head = TwistHeadConfig { enabled, ..Default::default() };
        BaseControllerConfig { update_rate: 10.0, head, ..Default::default() }
    };
    assert!(refusal(slow(true)).contains("head.bandwidth"));
    assert!(BaseLoop::new(slow(false)).is_ok(), "a head that is off is not asked");
}

fn learning(authority: f64) -> BaseControllerConfig {
    BaseControllerConfig { learning: true, accept_weights: true, authority, ..Default::default() }
}

fn robot() -> crate::robot::Robot {
    BaseDescription::of(&BaseControllerConfig::default()).robot()
}

/// A network that always gives `twist`, of which the gate foresaw nothing.
fn constant_network(twist: Twist) -> Box<ResidualModel> {
    let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
    let scale = robot().output_scale();
    let bias = [0, 1, 2].map(|axis| (twist[axis] / scale[axis]) as f32);
    let scale = [0, 1, 2].map(|axis| scale[axis] as f32);
    let tensors = Tensors::from([
        ("layers.0.weight".into(), tensor(&[0.0; 24], &[2, 12])),
        ("layers.0.bias".into(), tensor(&[0.0; 2], &[2])),
        ("layers.1.weight".into(), tensor(&[0.0; 6], &[3, 2])),
        ("layers.1.bias".into(), tensor(&bias, &[3])),
        ("output_scale".into(), tensor(&scale, &[3])),
    ]);
    let network = MlpConfig { inputs: 12, hidden: vec![2], outputs: 3 };
    let mut card = Card::new(ModelKind::Controller, &robot(), 0.02, &network).unwrap();
    card.evaluation = ["held_out_loss", "held_out_loss_of_parent"].map(|loss| (loss.to_owned(), 1.0)).into();
    let bytes = to_bytes(&card, &tensors).unwrap();
    Box::new(ResidualModel::from_bytes(&bytes, "test", &robot()).unwrap())
}

/// Ticks for `seconds` beside a learner that is heard, asked for what changes all the time; rms of what the base is short of it,
/// as shares of its greatest velocities.
fn drive_asked(
    control: &mut BaseLoop,
    base: &mut Base,
    seconds: f64,
    mut each: impl FnMut(&mut BaseLoop),
) -> f64 {
    let (mut sum, ticks) = (0.0, (seconds / PERIOD.as_secs_f64()) as usize);
    for _ in 0..ticks {
        let (time, mut twist) = (base.state.stamp.seconds(), [0.0; 3]);
        let asked = [0.25 + 0.1 * (0.7 * time).sin(), 0.0, 0.5 * (1.1 * time).sin()];
        control.ask(base.state.stamp, asked);
        control.network().hear_learner(base.state.stamp);
        drop(control.tick(base.state.stamp, Some(&base.state), &mut twist));
        each(control);
        base.step(&twist);
        for (axis, greatest) in [(0, 0.5), (2, 2.5)] {
            sum += ((asked[axis] - base.state.velocity[axis]) / greatest).powi(2);
        }
    }
    (sum / (2 * ticks) as f64).sqrt()
}

#[test]
fn a_learner_alone_finds_what_the_base_lacks() {
    let plain = drive_asked(&mut base_loop(learning(1.0)), &mut Base::new(0.85), 10.0, |_| {});
    let config = LearnerConfig {
        command_interface: robot().command_interface,
        hidden: vec![16],
        ..Default::default()
    };
    let mut learner = Learner::new(config, &robot()).unwrap();
    let (mut control, mut base, mut ticks) = (base_loop(learning(1.0)), Base::new(0.85), 0);
    let mut each = |control: &mut BaseLoop| {
        if let Some(sample) = control.sample().filter(|_| control.teaches()) {
            assert_eq!(sample.position, [0.0; 3], "a correction must not depend on the place");
            let of_y = [&sample.velocity, &sample.effort, &sample.feedforward_effort].map(|twist| twist[1]);
            assert_eq!(of_y, [0.0; 3], "it cannot move sideways");
            learner.observe(sample.clone());
        }
        (0..4).for_each(|_| learner.step().unwrap());
        ticks += 1;
        if ticks % 10 == 0
            && control.network().wants_model()
            && let Some(weights) = learner.update().unwrap()
        {
            let model = ResidualModel::from_bytes(&weights.bytes, "learner", &robot()).unwrap();
            control.network().accept(Box::new(model));
        }
    };
    drive_asked(&mut control, &mut base, 30.0, &mut each);
    let learned = drive_asked(&mut control, &mut base, 10.0, &mut each);
    assert!(plain > 0.04 && learned < 0.35 * plain, "{learned} of {plain}");
    let [own, of_baseline] = control.network().errors();
    assert!(
        own < 0.5 * of_baseline && (of_baseline / plain - 1.0).abs() < 0.6,
        "{own} {of_baseline} {plain}"
    );
    assert!(control.card().is_some_and(|card| card.revision > 0));
}

#[test]
fn a_network_acts_within_its_limit_and_where_it_is_right_and_not_without_its_learner() {
    let (mut control, mut base) = (base_loop(learning(0.5)), Base::new(0.4));
    drive_asked(&mut control, &mut base, 1.0, |control| assert_eq!(*control.correction(), [0.0; 3]));
    assert_eq!(control.authority(), 0.0, "there is nothing that could act");
    assert!(control.network().wants_model());
    control.network().accept(constant_network([0.4, 5.0, -5.0]));
    assert!(!control.network().wants_model(), "not while one is being faded in");
    let mut last = 0.0;
    drive_asked(&mut control, &mut base, 6.0, |control| {
        let correction = control.correction()[0];
        assert!((correction - last).abs() < 0.1, "no jump: {last} {correction}");
        last = correction;
    });
    assert_eq!(
        (control.authority(), *control.correction()),
        (0.5, [0.2, 0.0, 0.0]),
        "its limit; no way; wrong"
    );
    // the learner falls silent
    let mut twist = [0.0; 3];
    for _ in 0..120 {
        control.ask(base.state.stamp, [0.2, 0.0, 0.1]);
        drop(control.tick(base.state.stamp, Some(&base.state), &mut twist));
        base.step(&twist);
    }
    assert!(matches!(control.verdict(), BaseVerdict::Baseline(BaseFault::LearnerLost { .. })));
    assert_eq!((control.authority(), twist), (0.0, [0.2, 0.0, 0.1]));
    control.set_learning(false);
    control.ask(base.state.stamp, [0.2, 0.0, 0.1]);
    drop(control.tick(base.state.stamp, Some(&base.state), &mut twist));
    assert!(control.verdict().fault().is_none() && control.authority() > 0.0, "frozen, what is known acts");
}

/// Takes a network's twist for right.
struct Trusting;

impl TwistCorrection for Trusting {
    fn observe(&mut self, _: &State, _: &Twist, _: f64, _: bool, _: Option<&mut ResidualModel>) {}

    fn correct(&mut self, _: &dyn Fn(f64) -> WantedTwist, _: &mut Twist) {}
}

#[test]
fn weights_that_make_the_twist_worse_are_given_back_and_good_ones_are_not() {
    let reason = |network: Twist| {
        let (mut control, mut base) = (base_loop(learning(1.0)), Base::new(0.9));
        control.set_correction(Some(Box::new(Trusting)));
        drive_asked(&mut control, &mut base, 5.0, |_| {});
        control.network().accept(constant_network(network));
        let mut reason = None;
        drive_asked(&mut control, &mut base, 4.0, |control| {
            reason = reason.or(control.network().take_rollback());
        });
        reason
    };
    let reason_of_bad = reason([0.15, 0.0, 0.5]).expect("three times the error");
    assert!(reason_of_bad.error > 2.0 * reason_of_bad.expected && reason_of_bad.elapsed < 3.0);
    assert_eq!(reason([0.02, 0.0, 0.0]), None);
}

#[test]
fn a_path_keeps_its_time_when_odometry_is_missed() {
    let mut control = base_loop(BaseControllerConfig::default());
    let mut base = Base::new(1.0);
    control.follow(curve(), None);
    let mut twist = [0.0; 3];
    for _ in 0..100 {
        drop(control.tick(base.state.stamp, Some(&base.state), &mut twist));
        base.step(&twist);
    }
    drop(control.tick(base.state.stamp, Some(&base.state), &mut twist));
    let time = |control: &BaseLoop| control.path().unwrap().1;
    let (before, along) = (time(&control), control.error()[0]);
    // the base drives on for 0.24 s with the last twist; ticks see the odometry that there was
    let (old, sent) = (base.state.clone(), twist);
    for tick in 0..12 {
        if tick % 2 == 1 {
            drop(control.tick(base.state.stamp, Some(&old), &mut twist));
            assert_eq!(time(&control), before);
        }
        base.step(&sent);
    }
    drop(control.tick(base.state.stamp, Some(&base.state), &mut twist));
    let elapsed = time(&control) - before;
    assert!((elapsed - 0.24).abs() < 1e-6, "{elapsed} s");
    assert!((control.error()[0] - along).abs() < 0.02, "{along} {}", control.error()[0]);
}

#[test]
fn a_limit_of_the_speed_makes_a_path_take_longer_and_leaves_it_as_it_is() {
    let mut control = base_loop(BaseControllerConfig::default());
    control.limit_speed(0.15);
    let mut base = Base::new(1.0);
    let fast = drive_curve(&mut base_loop(BaseControllerConfig::default()), &mut Base::new(1.0)).0;
    let (twists, left) = drive_curve(&mut control, &mut base);
    assert!(left[0].hypot(left[1]) < 0.02 && left[2].abs() < 0.05, "{left:?}");
    assert!(twists.iter().all(|twist| twist[0].abs() <= 0.15 + 1e-9));
    let moving = |twists: &[Twist]| twists.iter().filter(|twist| twist[0] != 0.0).count();
    assert!(moving(&twists) as f64 > 1.8 * moving(&fast) as f64, "{} {}", moving(&twists), moving(&fast));

    // halfway the limit comes, and goes: the base is on its way all the time, and nothing jumps
    let mut base = Base::new(1.0);
    base.state.position = vec![0.0, 0.0, 0.5];
    control.limit_speed(f64::INFINITY);
    control.follow(curve(), None);
    let (mut last, mut worst, mut fastest) = ([0.0; 3], 0.0_f64, 0.0_f64);
    for tick in 0..800 {
        match tick {
            100 => control.limit_speed(0.1),
            250 => control.limit_speed(f64::INFINITY),
            _ => {}
        }
        let mut twist = [0.0; 3];
        control.tick(base.state.stamp, Some(&base.state), &mut twist);
        base.step(&twist);
        assert!((twist[0] - last[0]).abs() <= 2.5 * 0.02 + 1e-9);
        assert!(!(140..250).contains(&tick) || (0.05..=0.1 + 1e-9).contains(&twist[0]), "{tick}: {twist:?}");
        if control.path().is_some() && tick > 50 {
            worst = control.error()[0].hypot(control.error()[1]).max(worst);
        }
        if tick > 250 {
            fastest = twist[0].max(fastest);
        }
        last = twist;
    }
    assert!(worst < 0.03, "{worst}");
    assert!(control.path().is_none() && fastest > 0.25, "as fast as before after the limit: {fastest}");
}

#[test]
fn a_twist_that_is_asked_for_keeps_its_arc_below_the_limit_of_the_speed() {
    let mut control = base_loop(BaseControllerConfig::default());
    control.limit_speed(0.2);
    let mut base = Base::new(1.0);
    let mut twist = [0.0; 3];
    for _ in 0..50 {
        control.ask(base.state.stamp, [0.4, 0.0, 0.6]);
        control.tick(base.state.stamp, Some(&base.state), &mut twist);
        base.step(&twist);
    }
    assert!((twist[0] - 0.2).abs() < 1e-9 && (twist[2] - 0.3).abs() < 1e-9, "{twist:?}");
    assert_eq!(control.verdict(), BaseVerdict::Limited);
}

#[test]
fn how_a_path_ended_is_told_once() {
    let mut control = base_loop(BaseControllerConfig::default());
    drive_curve(&mut control, &mut Base::new(1.0));
    let end = control.take_path_end();
    assert!(
        matches!(end, Some(PathEnd::Over { distance, heading }) if distance < 0.1 && heading < 0.1),
        "{end:?}"
    );
    assert_eq!(control.take_path_end(), None);
    control.follow(curve(), None);
    control.follow(curve(), None);
    assert_eq!(control.take_path_end(), Some(PathEnd::Replaced));
    control.stop();
    assert_eq!(control.take_path_end(), Some(PathEnd::Stopped));
    control.follow(curve(), None);
    control.tick(Stamp(5), None, &mut [0.0; 3]);
    assert_eq!(control.take_path_end(), Some(PathEnd::Fault(BaseFault::NoOdometry)));
    control.stop();
    assert_eq!(control.take_path_end(), None, "there was no path");
}

#[test]
fn what_is_left_of_a_path_is_its_length() {
    let path = curve();
    let whole = path.length_after(0.0);
    assert!((3.1..3.3).contains(&whole), "{whole}");
    assert!(path.length_after(0.5 * path.duration()) < 0.6 * whole);
    assert_eq!((path.length_after(1e9), path.length_after(-1.0)), (0.0, whole));
}

#[test]
fn a_path_in_another_frame_is_driven_there_while_it_is_known_where_that_is() {
    // the odometry has drifted: its frame lies elsewhere than the path's, and is found to lie still elsewhere on the way
    let frame =
        |drift: f64, stamp: Stamp| Transform { pose: [2.0 + drift, -1.0, 1.0 + drift], stamp: Some(stamp) };
    let mut control = base_loop(BaseControllerConfig::default());
    let mut base = Base::new(1.0);
    let begin = pose_error(&frame(0.0, Stamp(0)).pose, &[0.0, 0.05, 0.5]);
    base.state.position = begin.to_vec();
    control.follow(curve(), None);
    let mut twist = [0.0; 3];
    for tick in 0..1500 {
        let drift = 1e-4 * f64::from(tick.min(300));
        control.locate(frame(drift, base.state.stamp));
        control.tick(base.state.stamp, Some(&base.state), &mut twist);
        base.step(&twist);
        if control.path().is_none() {
            break;
        }
    }
    let mut end = ReferencePoint::zeros(3);
    curve().sample(1e9, &mut end);
    let there = moved(&frame(0.03, Stamp(0)).pose, &base.pose());
    let left = pose_error(&end.position.try_into().unwrap(), &there);
    assert!(left[0].hypot(left[1]) < 0.06 && left[2].abs() < 0.1, "{left:?}");

    // nobody says any more where the base is
    control.follow(curve(), None);
    let since = base.state.stamp;
    control.locate(Transform { pose: [0.0; 3], stamp: Some(since) });
    let mut before = twist;
    while base.state.stamp.since(since) < 1.5 {
        control.tick(base.state.stamp, Some(&base.state), &mut twist);
        base.step(&twist);
        assert!((twist[0] - before[0]).abs() < 0.051, "{twist:?} after {before:?}");
        before = twist;
    }
    assert_eq!(twist, [0.0; 3]);
    let end = control.take_path_end();
    assert!(
        matches!(end, Some(PathEnd::Fault(BaseFault::TransformStale { age, .. })) if age > 1.0),
        "{end:?}"
    );
    control.follow(curve(), None);
    control.tick(base.state.stamp, Some(&base.state), &mut twist);
    assert!(control.verdict().drives(), "in the frame of the odometry");
    for (ahead, is_believed) in [(1, true), (10, false)] {
        control.follow(curve(), None);
        let stamp = Some(base.state.stamp + Duration::from_secs(ahead));
        control.locate(Transform { pose: [0.0; 3], stamp });
        control.tick(base.state.stamp, Some(&base.state), &mut twist);
        assert_eq!(control.path().is_some(), is_believed, "{ahead} s ahead: {:?}", control.verdict());
    }
}

#[test]
fn zero_is_sent_for_a_second_when_there_is_nothing_to_do_any_more() {
    let mut control = base_loop(BaseControllerConfig { odom_timeout: 5.0, ..Default::default() });
    let tick = |control: &mut BaseLoop, seconds: f64| {
        let (mut base, mut twist) = (Base::new(1.0), [0.0; 3]);
        base.state.stamp = Stamp::from_seconds(seconds);
        control.tick(base.state.stamp, Some(&base.state), &mut twist);
        (control.speaks(), twist)
    };
    assert_eq!(tick(&mut control, 1.0), (false, [0.0; 3]), "others may drive");
    control.ask(Stamp::from_seconds(1.0), [0.01, 0.0, 0.0]);
    assert_eq!(tick(&mut control, 1.02), (true, [0.01, 0.0, 0.0]));
    control.stop();
    assert_eq!(tick(&mut control, 1.04), (true, [0.0; 3]));
    assert!(tick(&mut control, 2.02).0 && !tick(&mut control, 2.06).0 && !tick(&mut control, 1.5).0);

    // zero is sent even if the clock jumps at that moment, and again for a second if it goes back then
    control.ask(Stamp::from_seconds(3.0), [0.01, 0.0, 0.0]);
    assert!(tick(&mut control, 3.02).0);
    control.stop();
    assert_eq!(tick(&mut control, 100.0), (true, [0.0; 3]));
    assert!(tick(&mut control, 50.0).0 && tick(&mut control, 50.9).0 && !tick(&mut control, 51.1).0);
}

#[test]
fn what_is_asked_at_once_counts_as_one_change() {
    let derivative = |asked: &[(f64, f64)]| {
        let mut last = Asked::new(Stamp::from_seconds(1.0), [0.0; 3]);
        for (time, speed) in asked {
            last = last.then(Stamp::from_seconds(*time), [*speed, 0.0, 0.0]);
        }
        Task::Block(last).wanted(0.0).acceleration[0]
    };
    let slope = derivative(&[(1.02, 0.1)]);
    assert!(slope > 0.5, "{slope}");
    let twice = derivative(&[(1.02, 0.05), (1.02, 0.1)]);
    assert!((twice / slope - 1.0).abs() < 0.1, "{twice} {slope}");
    assert_eq!(derivative(&[(0.9, 0.1)]), 0.0, "a clock that goes back is no change");
}
