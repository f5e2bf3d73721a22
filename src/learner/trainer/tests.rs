use super::*;
use crate::controller::ResidualModel;
use crate::controller::features::write_features;
use crate::nn::checkpoint::{Tensors, from_bytes};
use crate::nn::mlp::FrozenMlp;
use crate::robot::Robot;

const SCALE: [f64; 2] = [10.0, 5.0];

/// Its effort limits are ten times the scale.
fn robot() -> Robot {
    let mut robot = Robot::of_joints(&["shoulder".into(), "elbow".into()]);
    robot.limits.effort = SCALE.map(|scale| 10.0 * scale).into();
    robot
}

fn learner(config: LearnerConfig) -> Learner {
    Learner::new(LearnerConfig { hidden: vec![32, 32], ..config }, &robot()).unwrap()
}

/// What the robot lacks: a payload's weight, and friction. [Nm] for [rad] and [rad/s].
fn lacking(position: &[f64], velocity: &[f64]) -> [f64; 2] {
    [6.0 * position[0].cos() + 2.0 * (velocity[0] / 0.03).tanh(), 3.0 * (position[0] + position[1]).cos()]
}

/// Tick `k` of a perfectly tracked motion: reference and measurement are the same, the effort is the right one.
fn sample(k: usize) -> Sample {
    let t = k as f64 * 0.002;
    let mut sample = Sample::zeros(2);
    sample.stamp = Stamp::from_seconds(t);
    for (joint, frequency) in [1.3, 2.1].into_iter().enumerate() {
        sample.position[joint] = 0.8 * (frequency * t).sin();
        sample.velocity[joint] = 0.8 * frequency * (frequency * t).cos();
        sample.reference_acceleration[joint] = -frequency * frequency * sample.position[joint];
    }
    sample.reference_position = sample.position.clone();
    sample.reference_velocity = sample.velocity.clone();
    sample.feedforward_effort = vec![1.0, -2.0];
    let lacking = lacking(&sample.position, &sample.velocity);
    sample.effort = sample.feedforward_effort.iter().zip(lacking).map(|(known, rest)| known + rest).collect();
    sample
}

/// Shows the learner ticks, with a training step each 2.5 of them as at 500 Hz and 200 steps a second.
fn teach(learner: &mut Learner, ticks: std::ops::Range<usize>) {
    for k in ticks {
        learner.observe(sample(k));
        if k % 5 == 0 || k % 5 == 2 {
            learner.step().unwrap();
        }
    }
}

fn network(bytes: &[u8]) -> FrozenMlp {
    let (card, tensors) = from_bytes(bytes, "test").unwrap();
    FrozenMlp::from_tensors(&card.network("test").unwrap(), &tensors).unwrap()
}

/// Root mean square of the error [units of the scale] of `network` over ticks, and of no network.
fn error(network: &mut FrozenMlp, ticks: std::ops::Range<usize>) -> (f64, f64) {
    let (mut squares, mut baseline, mut count) = (0.0, 0.0, 0.0);
    let mut features = vec![0.0; 2 * FEATURES_PER_JOINT];
    for k in ticks {
        let sample = sample(k);
        write_features(&sample.position, &sample.velocity, &sample.reference_acceleration, &mut features);
        let outputs = network.forward(&features);
        for (joint, lacking) in lacking(&sample.position, &sample.velocity).into_iter().enumerate() {
            squares += (f64::from(outputs[joint]) - lacking / SCALE[joint]).powi(2);
            baseline += (lacking / SCALE[joint]).powi(2);
            count += 1.0;
        }
    }
    (f64::sqrt(squares / count), f64::sqrt(baseline / count))
}

#[test]
fn each_rule_learns_what_the_robot_lacks() {
    for rule in [Rule::InverseModel, Rule::TrackingError, Rule::Composite] {
        let mut learner = learner(LearnerConfig { rule, output_change: 100.0, ..Default::default() });
        teach(&mut learner, 0..4000);
        let weights = learner.update().unwrap().expect("worth sending");
        let (learned, baseline) = error(&mut network(&weights.bytes), 4000..5000);
        assert!(learned < 0.4 * baseline, "{rule:?}: {learned} of {baseline}");
        let Progress { unseen_loss, baseline_loss, .. } = learner.progress();
        assert!(unseen_loss < 0.2 * baseline_loss, "{rule:?}: {unseen_loss} of {baseline_loss}");
    }
}

#[test]
fn weights_fit_the_controller_and_name_their_parent() {
    let mut learner = learner(LearnerConfig::default());
    teach(&mut learner, 0..1000);
    let first = learner.update().unwrap().unwrap();
    teach(&mut learner, 1000..1100);
    let second = learner.update().unwrap().unwrap();
    assert_eq!((first.card.revision, first.card.parent), (1, None));
    assert_eq!((second.card.revision, second.card.parent), (2, Some(1)));
    assert!((second.card.dt - 0.002).abs() < 1e-9);
    assert_eq!((second.card.seed, second.card.ranges.len()), (learner.config().seed, 2));
    assert!(second.card.ranges[0].position.1 > 0.5);
    assert!(ResidualModel::from_bytes(&second.bytes, "test", &robot()).is_ok());
}

#[test]
fn an_update_changes_the_output_by_no_more_than_the_trust_region() {
    let allowed = 0.1;
    let mut learner = learner(LearnerConfig { output_change: allowed, ..Default::default() });
    teach(&mut learner, 0..1000);
    let mut before: Option<FrozenMlp> = None;
    for round in 0..20 {
        let ticks = 1000 + 100 * round..1100 + 100 * round;
        teach(&mut learner, ticks.clone());
        let mut after = network(&learner.update().unwrap().unwrap().bytes);
        // What the learner measures the change on: every third example of the last 250.
        let probes: Vec<Example> =
            learner.tracking_error.newest(WARM_UP).step_by(WARM_UP / PROBES).cloned().collect();
        let mut squares = 0.0;
        for probe in &probes {
            let now = after.forward(&probe.features).to_vec();
            let then =
                before.as_mut().map_or(vec![0.0; 2], |network| network.forward(&probe.features).to_vec());
            squares += now.iter().zip(then).map(|(now, then)| f64::from(now - then).powi(2)).sum::<f64>();
        }
        let change = f64::sqrt(squares / (2 * probes.len()) as f64);
        assert!(change <= allowed * 1.001, "round {round}: {change}");
        assert!(round > 0 || change > 0.1 * allowed, "the way is used: {change}");
        before = Some(after);
    }
    let (learned, baseline) = error(&mut before.unwrap(), 3000..3500);
    assert!(learned < 0.8 * baseline, "many short steps lead there too: {learned} of {baseline}");
}

#[test]
fn the_same_seed_and_samples_give_the_same_bytes() {
    let taught = |seed| {
        let mut learner = learner(LearnerConfig { seed, ..Default::default() });
        teach(&mut learner, 0..800);
        learner.update().unwrap().unwrap().bytes
    };
    assert!(taught(3) == taught(3));
    assert!(taught(3) != taught(4));
}

#[test]
fn nothing_is_sent_before_there_is_something_to_tell() {
    let mut learner = learner(LearnerConfig::default());
    learner.step().unwrap();
    assert!(learner.update().unwrap().is_none(), "no samples");
    teach(&mut learner, 0..200);
    assert!(learner.update().unwrap().is_none(), "too few samples");
    // A robot that lacks nothing: any network is worse than none.
    for k in 200..1200 {
        let mut sample = sample(k);
        sample.effort.clone_from(&sample.feedforward_effort);
        learner.observe(sample);
        learner.step().unwrap();
    }
    assert!(learner.update().unwrap().is_none(), "{:?}", learner.progress());
}

#[test]
fn absurd_samples_do_not_stop_the_learning() {
    let mut learner = learner(LearnerConfig { memory: 1.0, mean_age: 0.5, ..Default::default() });
    teach(&mut learner, 0..800);
    for (k, absurd) in [(800, f64::NAN), (801, 1e300), (802, 1e37), (803, -1e25)] {
        let mut sample = sample(k);
        sample.effort[0] = absurd;
        learner.observe(sample);
        learner.step().unwrap();
        let _ = learner.update().unwrap(); // none of these may hang or fail
    }
    learner.observe(Sample::zeros(3));
    teach(&mut learner, 804..6000);
    assert!(snapshot(&named_variables(&learner.variables)).unwrap().values().all(is_finite));
    let weights = learner.update().unwrap().expect("it has recovered");
    let (learned, baseline) = error(&mut network(&weights.bytes), 6000..6500);
    assert!(learned < 0.5 * baseline, "{learned} of {baseline}");
}

fn is_finite(tensor: &Tensor) -> bool {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().all(|value| value.is_finite())
}

#[test]
fn clipping_keeps_the_direction_and_drops_what_overflowed() {
    let variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let variable = vb.get_with_hints(2, "w", candle_nn::Init::Const(1.0)).unwrap();
    let clipped = |factors: [f32; 2], largest: f64| {
        let factors = Tensor::new(&factors, &Device::Cpu).unwrap();
        let mut gradients = (&variable * factors).unwrap().sum_all().unwrap().backward().unwrap();
        let usable = clip_gradients(&variables, &mut gradients, largest).unwrap();
        let variable = &sorted_variables(&variables)[0];
        (usable, gradients.get(variable).unwrap().to_vec1::<f32>().unwrap())
    };
    assert_eq!(clipped([3.0, -4.0], 10.0), (true, vec![3.0, -4.0]));
    assert_eq!(clipped([3.0, -4.0], 1.0), (true, vec![0.6, -0.8]));
    assert!(!clipped([f32::MAX, 1.0], 1.0).0);
    assert!(!clipped([f32::NAN, 1.0], 1.0).0);
}

#[test]
fn the_trust_region_interpolates() {
    let tensors = |value: f32| Tensors::from([("w".into(), Tensor::new(&[value], &Device::Cpu).unwrap())]);
    let between = interpolate(&tensors(1.0), &tensors(3.0), 0.25).unwrap();
    assert_eq!(between["w"].to_vec1::<f32>().unwrap(), [1.5]);
}
