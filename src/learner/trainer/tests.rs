use super::*;
use crate::controller::ResidualModel;
use crate::controller::features::write_features;
use crate::nn::checkpoint::from_bytes;
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
    error_with(network, ticks, 1.0)
}

/// As [`error`], of a robot that lacks `gain` times as much.
fn error_with(network: &mut FrozenMlp, ticks: std::ops::Range<usize>, gain: f64) -> (f64, f64) {
    let (mut squares, mut baseline, mut count) = (0.0, 0.0, 0.0);
    let mut features = vec![0.0; 2 * FEATURES_PER_JOINT];
    for k in ticks {
        let sample = sample(k);
        write_features(&sample.position, &sample.velocity, &sample.reference_acceleration, &mut features);
        let outputs = network.forward(&features);
        for (joint, lacking) in lacking(&sample.position, &sample.velocity).into_iter().enumerate() {
            let lacking = gain * lacking;
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
        teach(&mut learner, 0..6000);
        let weights = learner.update().unwrap().expect("worth sending");
        let (learned, baseline) = error(&mut network(&weights.bytes), 6000..7000);
        assert!(learned < 0.4 * baseline, "{rule:?}: {learned} of {baseline}");
        let scores = learner.progress().scores;
        assert!(scores.candidate < 0.2 * scores.none, "{rule:?}: {scores:?}");
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
fn the_output_changes_no_faster_than_the_trust_region_allows() {
    let allowed = 0.5; // a second
    let mut learner = learner(LearnerConfig { output_change: allowed, ..Default::default() });
    teach(&mut learner, 0..1000);
    let mut before: Option<FrozenMlp> = None;
    let mut sent_at = None;
    let mut updates = 0;
    for round in 0..40 {
        teach(&mut learner, 1000 + 100 * round..1100 + 100 * round);
        let now = learner.newest.unwrap();
        let Some(weights) = learner.update().unwrap() else { continue };
        let mut after = network(&weights.bytes);
        // What the learner measures the change on.
        let probes: Vec<Example> = learner.replay.newest(PROBED).step_by(PROBED / PROBES).cloned().collect();
        let mut squares = 0.0;
        for probe in &probes {
            let now = after.forward(&probe.reference).to_vec();
            let then =
                before.as_mut().map_or(vec![0.0; 2], |network| network.forward(&probe.reference).to_vec());
            squares += now.iter().zip(then).map(|(now, then)| f64::from(now - then).powi(2)).sum::<f64>();
        }
        let change = f64::sqrt(squares / (2 * probes.len()) as f64);
        let elapsed = sent_at.map_or(0.2, |sent| now.since(sent));
        assert!(change <= allowed * elapsed * 1.001, "round {round}: {change} in {elapsed} s");
        (before, sent_at, updates) = (Some(after), Some(now), updates + 1);
    }
    let (learned, baseline) = error(&mut before.unwrap(), 5000..5500);
    assert!(updates > 5 && learned < 0.5 * baseline, "{updates} short steps: {learned} of {baseline}");
}

#[test]
fn rest_does_not_wipe_out_what_was_learned() {
    let config = LearnerConfig { output_change: 100.0, ..Default::default() };
    let mut learner = learner(config);
    teach(&mut learner, 0..4000);
    let mut weights = learner.update().unwrap().expect("worth sending");
    let (before, _) = error(&mut network(&weights.bytes), 4000..5000);
    for k in 4000..19_000 {
        let mut resting = sample(4000);
        resting.stamp = Stamp::from_seconds(k as f64 * 0.002);
        resting.velocity.fill(0.0);
        resting.reference_velocity.fill(0.0);
        resting.reference_acceleration.fill(0.0);
        let lacking = lacking(&resting.position, &resting.velocity);
        resting.effort =
            resting.feedforward_effort.iter().zip(lacking).map(|(known, rest)| known + rest).collect();
        learner.observe(resting);
        if k % 5 == 0 {
            learner.step().unwrap();
        }
        if k % 100 == 0 {
            weights = learner.update().unwrap().unwrap_or(weights);
        }
    }
    let (after, baseline) = error(&mut network(&weights.bytes), 4000..5000);
    assert!(after < 1.5 * before && after < 0.4 * baseline, "{before} before, {after} after 30 s of rest");
}

#[test]
fn a_changed_robot_is_learned_anew() {
    let mut learner = learner(LearnerConfig { output_change: 100.0, ..Default::default() });
    let taught = |learner: &mut Learner, k: usize, gain: f64| {
        let mut sample = sample(k);
        for (effort, known) in sample.effort.iter_mut().zip(&sample.feedforward_effort) {
            *effort = known + gain * (*effort - known);
        }
        learner.observe(sample);
        if k.is_multiple_of(2) {
            learner.step().unwrap();
        }
        if k.is_multiple_of(100) { learner.update().unwrap() } else { None }
    };
    (0..8000).for_each(|k| drop(taught(&mut learner, k, 1.0)));
    assert!(learner.progress().changes == 0, "ordinary motion is no change: {:?}", learner.progress());
    let sent = (8000..13_000).filter_map(|k| taught(&mut learner, k, -1.0)).last().expect("learned anew");
    assert_eq!(learner.progress().changes, 1);
    let (learned, baseline) = error_with(&mut network(&sent.bytes), 13_000..13_500, -1.0);
    assert!(learned < 0.6 * baseline, "{learned} of {baseline}, {:?}", learner.progress());
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
fn a_base_is_not_learned_by_the_rule_that_looks_at_positions() {
    let base = Robot { space: Space::PlanarBase, ..Robot::of_joints(&["x", "y", "yaw"].map(String::from)) };
    let refusal = |rule| match Learner::new(LearnerConfig { rule, ..Default::default() }, &base) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    assert!(refusal(Rule::Distal).contains("distal"));
    assert_eq!(refusal(Rule::InverseModel), "");
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
    assert!(learner.network.average().unwrap().values().all(is_finite));
    let weights = learner.update().unwrap().expect("it has recovered");
    let (learned, baseline) = error(&mut network(&weights.bytes), 6000..6500);
    assert!(learned < 0.5 * baseline, "{learned} of {baseline}");
}

fn is_finite(tensor: &Tensor) -> bool {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().all(|value| value.is_finite())
}
