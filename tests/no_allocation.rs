//! What runs in the control loop's tick must not allocate, nor free: counted, not believed.

mod common;
#[path = "common/counting_allocator.rs"]
mod counting_allocator;

use common::{ABSURD, arm, command, config, overflowing_weights, state_at, weights, weights_for};
use counting_allocator::allocations;
use learned_control::base::{
    BaseControllerConfig, BaseDescription, BaseFault, BaseLoop, BaseVerdict, Drive, ReferencePath,
    TwistCorrection, WantedTwist,
};
use learned_control::control_loop::{ControlLoop, ControllerConfig, Fault, Verdict};
use learned_control::controller::{HeadConfig, ObserverConfig, ResidualModel};
use learned_control::predictor::linear::{LinearPath, knots};
use learned_control::predictor::ridge::{INPUTS, Ridge};
use learned_control::predictor::{LstmPredictor, Predictor, PredictorConfig, PredictorModel, RealisedError};
use learned_control::state::{Stamp, State};
use learned_control::trajectory::Trajectory;

#[test]
fn a_prediction_does_not_allocate() {
    let joints: Vec<String> = (1..=7).map(|joint| format!("joint{joint}")).collect();
    let config = PredictorConfig::default();
    let mut model = PredictorModel::untrained(&joints, 0.01, config, &[1.0; 7]).unwrap();
    let mut linear = LinearPath::blank(&model.config, joints.len(), model.dt);
    let weights = joints.len() * knots(model.config.steps).len() * (INPUTS + 1);
    let limits = vec![[-1.0, 1.0]; joints.len() * INPUTS];
    linear.ridges[0] = Some(Ridge { width: 1, weights: vec![0.01; weights], limits });
    model.linear = Some(linear);
    let mut predictor = LstmPredictor::new(&model).unwrap();
    let mut prediction = Trajectory::new(predictor.horizon(), joints.len());
    let mut realised = RealisedError::new(predictor.horizon(), joints.len());
    let mut state = State::zeros(joints.len());
    let counted = allocations(|| {
        for step in 0..500 {
            // with a pause and a step back, which clear the memory
            let milliseconds = if step < 200 { 7 * step } else { 10 * (step % 100) + 50 * step };
            state.stamp = Stamp(milliseconds * 1_000_000);
            predictor.observe(&state);
            realised.observe(&state);
            assert!(predictor.predict(&mut prediction));
            realised.remember(&state, &prediction);
        }
    });
    assert_eq!(counted, 0);
    assert!(allocations(|| drop(vec![0; 8])) > 0, "the count does not count");
}

/// Ticks of every kind: tracking, fading models in, without learner and predictor, holding for every reason, after a
/// hold, with absurd measurements.
#[test]
fn a_tick_does_not_allocate() {
    for (enabled, bandwidth) in [(false, 0.0), (true, 60.0)] {
        count_ticks(
            HeadConfig { enabled, ..Default::default() },
            ObserverConfig { bandwidth, ..Default::default() },
        );
    }
}

fn count_ticks(head: HeadConfig, observer: ObserverConfig) {
    let (robot, dynamics) = arm();
    let config = ControllerConfig {
        learning: true,
        accept_weights: true,
        prediction: true,
        learner_timeout: 1.0,
        head,
        observer,
        ..config()
    };
    let model = |bytes: &[u8]| Box::new(ResidualModel::from_bytes(bytes, "test", &robot).unwrap());
    let bytes = [weights(1.0), weights(0.5), overflowing_weights(), weights(0.2)];
    let mut models = bytes.map(|bytes| model(&bytes)).into_iter();
    let mut control = ControlLoop::new(config, robot.clone(), dynamics).unwrap();
    let horizon =
        learned_control::trajectory::Horizon { steps: 50, dt: std::time::Duration::from_millis(10) };
    let mut prediction = Trajectory::new(horizon, robot.degrees_of_freedom());
    let mut states: Vec<State> = (0..4000).map(|tick| state_at(Stamp(tick * 2_000_000), 0.0)).collect();
    // for long enough to be believed
    states[800..1000].iter_mut().for_each(|state| state.position.fill(ABSURD));
    states[2100].position[3] += 2.0; // a glitch
    states[3000].position[0] = f64::NAN;
    states[3002].velocity[1] = 1e308;
    let mut out = command();
    let mut retired = Vec::with_capacity(4);
    let (mut seen, mut holds, mut left_out) = ([false; 4], 0, 0);
    let counted = allocations(|| {
        for (tick, state) in states.iter().enumerate() {
            if tick < 2000 && tick % 100 == 0 {
                control.hear_learner(state.stamp);
                prediction.stamp = state.stamp;
                control.hear_prediction(state.stamp, &prediction);
            }
            if tick % 400 == 0
                && control.wants_model()
                && let Some(model) = models.next()
            {
                control.accept_model(model);
            }
            let (now, state) = match tick {
                0..10 => (state.stamp, None),
                2700..2900 => (state.stamp, Some(&states[2600])),
                3100..3110 => (states[3000].stamp, Some(&states[3200])),
                _ => (state.stamp, Some(state)),
            };
            // What is no longer needed is freed elsewhere.
            retired.extend(control.tick(now, state, &mut out));
            control.network().prepare();
            if tick == 950 {
                control.hold(); // there, where the third model overflows
            }
            let verdict = control.verdict();
            seen[0] |= matches!(verdict, Verdict::Tracking | Verdict::Limited);
            seen[1] |= matches!(verdict, Verdict::Baseline(Fault::LearnerLost { .. }));
            seen[2] |= matches!(verdict, Verdict::Baseline(Fault::ResidualNotFinite { .. }));
            seen[3] |= matches!(verdict, Verdict::Holding(Fault::JointStatesStale { .. }));
            holds += usize::from(matches!(verdict, Verdict::Holding(_)));
            left_out += usize::from(control.take_left_out().is_some());
        }
        control.safe_command(&mut out);
    });
    assert_eq!(counted, 0);
    assert_eq!((seen, retired.len()), ([true; 4], 3), "not all kinds of ticks were made");
    assert!(holds > 150 && left_out == 1 + 2 + 2, "{holds}, {left_out}");
}

/// Adds a little; not finite at times.
struct Correction(u32);

impl TwistCorrection for Correction {
    fn observe(&mut self, _: &State, _: &[f64; 3], _: f64, _: bool, _: Option<&mut ResidualModel>) {
        self.0 += 1;
    }

    fn correct(&mut self, wanted: &dyn Fn(f64) -> WantedTwist, out: &mut [f64; 3]) {
        *out = wanted(0.1).velocity.map(|velocity| 0.1 * velocity);
        if self.0 == 200 {
            out[2] = f64::NAN;
        }
    }
}

/// A base with a head and a network that is faded in, learned on and replaced; its learner falls silent.
#[test]
fn a_tick_of_a_base_with_a_network_does_not_allocate() {
    let mut config = BaseControllerConfig {
        learning: true,
        accept_weights: true,
        learner_timeout: 1.0,
        ..Default::default()
    };
    let robot = BaseDescription::of(&config).robot();
    config.head.enabled = true;
    let model = |scale: f32| {
        Box::new(ResidualModel::from_bytes(&weights_for(&robot, scale), "test", &robot).unwrap())
    };
    let mut models = [0.5, 0.2].map(model).into_iter();
    let mut control = BaseLoop::new(config).unwrap();
    let mut state = State::zeros(3);
    let (mut twist, mut retired) = ([0.0; 3], Vec::with_capacity(2));
    let (mut lost, mut taught, mut corrected) = (false, false, false);
    let counted = allocations(|| {
        for tick in 0..2000 {
            let time = 0.02 * f64::from(tick);
            state.stamp = Stamp(i64::from(tick) * 20_000_000);
            state.velocity.iter_mut().zip(&twist).for_each(|(velocity, twist)| *velocity = 0.8 * twist);
            control.ask(state.stamp, [0.3 + 0.1 * time.sin(), 0.0, 0.5 * (1.3 * time).sin()]);
            if tick < 1500 {
                control.network().hear_learner(state.stamp);
            }
            if (tick == 100 || tick == 600)
                && control.network().wants_model()
                && let Some(model) = models.next()
            {
                control.network().accept(model);
            }
            retired.extend(control.tick(state.stamp, Some(&state), &mut twist));
            lost |= matches!(control.verdict(), BaseVerdict::Baseline(BaseFault::LearnerLost { .. }));
            taught |= control.teaches() && control.sample().is_some();
            corrected |= control.authority() == 1.0 && control.correction()[2] != 0.0;
        }
    });
    assert_eq!((counted, retired.len()), (0, 1));
    assert!(lost && taught && corrected, "not all kinds of ticks were made: {lost} {taught} {corrected}");
}

/// Ticks of a base of every kind: along a path to its end, with a correction that breaks, as a block, with stale odometry.
#[test]
fn a_tick_of_a_base_does_not_allocate() {
    let config = BaseControllerConfig::default();
    let poses: Vec<[f64; 3]> =
        (0..40).map(|i| 0.05 * f64::from(i)).map(|x| [x, 0.2 * x.sin(), 0.0]).collect();
    let path =
        ReferencePath::geometric(&poses, Drive::Differential, &config.limits, &config.path, 0.0).unwrap();
    let mut control = BaseLoop::new(config).unwrap();
    control.set_correction(Some(Box::new(Correction(0))));
    let mut state = State::zeros(3);
    let (mut twist, mut seen) = ([0.0; 3], [false; 5]);
    control.follow(path, None);
    let counted = allocations(|| {
        for tick in 0..1000 {
            let now = Stamp(tick * 20_000_000);
            // an ideal base, which falls silent for a while
            if !(800..850).contains(&tick) {
                state.stamp = now;
            }
            let (sin, cos) = state.position[2].sin_cos();
            state.position[0] += 0.02 * twist[0] * cos;
            state.position[1] += 0.02 * twist[0] * sin;
            state.position[2] += 0.02 * twist[2];
            if (500..700).contains(&tick) {
                control.ask(now, [0.1, 0.0, 0.2]);
            }
            control.tick(now, Some(&state), &mut twist);
            let verdict = control.verdict();
            seen[0] |= matches!(verdict, BaseVerdict::Tracking | BaseVerdict::Limited);
            seen[1] |= matches!(verdict, BaseVerdict::Baseline(BaseFault::CorrectionNotFinite { .. }));
            seen[2] |= verdict == BaseVerdict::Idle;
            seen[3] |= matches!(verdict, BaseVerdict::Stopped(BaseFault::AskedStale { .. }));
            seen[4] |= matches!(verdict, BaseVerdict::Stopped(BaseFault::OdometryStale { .. }));
        }
    });
    assert_eq!((counted, seen), (0, [true; 5]));
}
