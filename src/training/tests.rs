use super::*;
use crate::predictor::commands::{CommandConfig, Instruction, Quantity, Told};
use crate::predictor::mixture::Experts;
use crate::predictor::{LstmPredictor, Predictor, RealisedError};
use crate::state::{Stamp, State};
use crate::trajectory::Trajectory;
use candle_core::Device;
use std::sync::Arc;

/// Each joint a sum of three sines, as a robot that is excited for identification; no noise.
fn multi_sine(joints: usize, seconds: f64, dt: f64) -> Episode {
    let state = |step: usize| {
        let time = step as f64 * dt;
        let (mut position, mut velocity) = (vec![0.0; joints], vec![0.0; joints]);
        for joint in 0..joints {
            for wave in 1..=3 {
                let frequency = 0.7 * f64::from(wave) + 0.23 * joint as f64;
                let phase = frequency * time + (joint * 3) as f64 + f64::from(wave);
                position[joint] += 0.3 / f64::from(wave) * phase.sin();
                velocity[joint] += 0.3 / f64::from(wave) * frequency * phase.cos();
            }
        }
        State { stamp: Stamp::from_seconds(time), position, velocity }
    };
    Episode::new(dt, (0..(seconds / dt) as usize).map(state).collect())
}

fn names(joints: usize) -> Vec<String> {
    (1..=joints).map(|joint| format!("joint{joint}")).collect()
}

fn small(steps: usize) -> TrainingConfig {
    let predictor = PredictorConfig { steps: 20, hidden: 16, blocks: vec![1, 4], ..Default::default() };
    TrainingConfig { predictor, steps, ..Default::default() }
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let episode = [multi_sine(2, 20.0, 0.02)];
    let train = |seed| {
        let config = TrainingConfig { seed, ..small(60) };
        let (model, report) =
            train_predictor(&config, &names(2), &episode, |_| ControlFlow::Continue(())).unwrap();
        let (card, tensors) = model.to_checkpoint(BTreeMap::new(), "").unwrap();
        (crate::nn::checkpoint::to_bytes(&card, &tensors).unwrap(), report.progress)
    };
    let first = train(3);
    assert!(first == train(3));
    assert_ne!(first.0, train(4).0);
}

#[test]
fn a_resumed_training_gives_the_same_bits() {
    let episode = [multi_sine(2, 20.0, 0.02)];
    let bytes = |model: PredictorModel| {
        let (card, tensors) = model.to_checkpoint(BTreeMap::new(), "").unwrap();
        crate::nn::checkpoint::to_bytes(&card, &tensors).unwrap()
    };
    let proceed = |_: &Progress| ControlFlow::Continue(());
    let (whole, report) = train_predictor(&small(220), &names(2), &episode, proceed).unwrap();
    // interrupted at every validation, each time read back from bytes
    let mut saved: Option<Vec<u8>> = None;
    let (pieces, resumed) = loop {
        let mut stop = ControlFlow::Continue(());
        let mut standing = None;
        let result = resume_predictor(&small(220), &names(2), &episode, saved.as_deref(), |_, now| {
            standing = Some(now.to_bytes()?);
            stop = ControlFlow::Break(());
            Ok(stop)
        });
        let (model, report) = result.unwrap();
        match standing {
            Some(_) => saved = standing,
            None => break (model, report),
        }
    };
    assert_eq!((&resumed.progress, resumed.best_step), (&report.progress, report.best_step));
    assert!(bytes(pieces) == bytes(whole), "a resumed training differs");

    let saved = saved.unwrap();
    let refused = |config: &TrainingConfig, episodes: &[Episode], saved: &[u8]| {
        let go_on = |_: &Progress, _: &Standing| Ok(ControlFlow::Break(()));
        resume_predictor(config, &names(2), episodes, Some(saved), go_on).unwrap_err().to_string()
    };
    let error = refused(&small(230), &episode, &saved);
    assert!(
        error.starts_with("settings of the saved training: found steps 220, expected steps 230; give the")
    );
    let other = [multi_sine(2, 21.0, 0.02)];
    assert!(refused(&small(220), &other, &saved).contains("data of the saved training"));
    for length in (0..saved.len()).step_by(997) {
        assert!(!refused(&small(220), &episode, &saved[..length]).is_empty());
    }
}

#[test]
fn it_learns_to_beat_constant_velocity() {
    let episode = multi_sine(2, 60.0, 0.02);
    let (seen, unseen) = episode.states.split_at(2000);
    let training = [Episode::new(0.02, seen.to_vec())];
    let (model, report) =
        train_predictor(&small(300), &names(2), &training, |_| ControlFlow::Continue(())).unwrap();
    assert!(report.best_validation < 0.3, "{report:?}");
    let mut predictor = LstmPredictor::new(&model).unwrap();
    let mut prediction = Trajectory::new(predictor.horizon(), 2);
    let mut realised = RealisedError::new(predictor.horizon(), 2);
    for state in unseen {
        predictor.observe(state);
        predictor.predict(&mut prediction);
        realised.observe(state);
        realised.remember(state, &prediction);
    }
    for k in [5, 10, 20] {
        let errors = realised.errors(k).unwrap();
        assert!(errors.skill().unwrap() > 0.6, "step {k}: {errors:?}");
        assert!(errors.within[1] > 0.8, "step {k}: {errors:?}");
    }
}

#[test]
fn gaussian_likelihood_by_hand() {
    let outputs = Tensor::new(&[[[1f32, 0.0, 0.0, 2.0]]], &Device::Cpu).unwrap();
    let targets = Tensor::new(&[[[3f32, 1.0]]], &Device::Cpu).unwrap();
    let loss = negative_log_likelihood(&outputs, &targets).unwrap().to_scalar::<f32>().unwrap();
    let expected = 0.5 * (4.0 + (2.0 + (-2f32).exp())) / 2.0;
    assert!((loss - expected).abs() < 1e-6);
}

#[test]
fn a_break_ends_it_and_a_model_is_left() {
    let episode = [multi_sine(1, 20.0, 0.02)];
    let (_, report) = train_predictor(&small(1000), &names(1), &episode, |_| ControlFlow::Break(())).unwrap();
    assert_eq!(report.progress.len(), 1);
    let config = TrainingConfig { seconds: Some(0.2), ..small(100_000) };
    let (_, report) = train_predictor(&config, &names(1), &episode, |_| ControlFlow::Continue(())).unwrap();
    assert!(report.seconds < 5.0 && !report.progress.is_empty());
}

#[test]
fn what_cannot_be_trained_on_is_refused() {
    let refused = |config: &TrainingConfig, episodes: &[Episode]| {
        let result = train_predictor(config, &names(1), episodes, |_| ControlFlow::Continue(()));
        result.unwrap_err().to_string()
    };
    let episode = multi_sine(1, 1.0, 0.02);
    assert!(refused(&small(10), std::slice::from_ref(&episode)).contains("longest episode: found 1.0 s"));
    assert!(refused(&small(10), &[]).contains("no episodes"));
    assert!(refused(&small(10), &[multi_sine(2, 20.0, 0.02)]).contains("joints of an episode"));
    assert!(refused(&small(10), &[episode.clone(), multi_sine(1, 1.0, 0.01)]).contains("dt of an episode"));
    assert!(refused(&small(0), &[episode]).contains("training steps"));
    let mut episode = multi_sine(1, 20.0, 0.02);
    episode.states[7].velocity[0] = f64::NAN;
    assert!(refused(&small(10), &[episode]).contains("not finite"));
}

#[test]
fn rest_and_a_step_train_without_harm() {
    let mut episode = multi_sine(1, 20.0, 0.02);
    for (index, state) in episode.states.iter_mut().enumerate() {
        state.position[0] = if index < 300 { 0.0 } else { 1.0 };
        state.velocity[0] = 0.0;
    }
    let (model, _) =
        train_predictor(&small(60), &names(1), &[episode], |_| ControlFlow::Continue(())).unwrap();
    let (card, tensors) = model.to_checkpoint(BTreeMap::new(), "").unwrap();
    assert!(crate::nn::checkpoint::to_bytes(&card, &tensors).is_ok(), "something is not finite");
}

/// A drive with a dead time of 0.16 s and a lag of 0.1 s, whose velocity is commanded anew every 0.4 s; if it is `silent`,
/// nobody tells of the commands in the last quarter of the time.
fn driven(silent: bool) -> Episode {
    let (dt, lag, dead_steps) = (0.02, 0.1, 8);
    let mut random = Pcg64::seed_from_u64(9);
    let (mut position, mut velocity, mut commands) = (0.0, 0.0, vec![0.0; dead_steps + 1]);
    let (mut states, mut told) = (Vec::new(), Vec::new());
    for step in 0..3000 {
        let stamp = Stamp::from_seconds(dt * step as f64);
        states.push(State { stamp, position: vec![position], velocity: vec![velocity] });
        let before = Stamp::from_seconds(dt * (step as f64 - 1.0).max(0.0));
        let is_told = !silent || step < 2250;
        told.push(
            is_told.then(|| Told::new(before, Arc::new(Instruction::Held(vec![commands[dead_steps]])))),
        );
        let command = commands.remove(0);
        commands.push(if step % 20 == 0 { random.random_range(-1.0..1.0) } else { commands[dead_steps - 1] });
        let start: f64 = velocity;
        velocity = command + (velocity - command) * f64::exp(-dt / lag);
        position += command * dt + (start - velocity) * lag;
    }
    Episode { dt, states, told }
}

/// A model of the first two thirds of a motion that was told.
fn told_model(config: &TrainingConfig) -> PredictorModel {
    let episode = driven(false).part(0..2000);
    train_predictor(config, &names(1), &[episode], |_| ControlFlow::Continue(())).unwrap().0
}

fn untold_config() -> TrainingConfig {
    let mut config = small(50);
    config.predictor.blocks = vec![1, 2, 4, 8, 16];
    config
}

fn told_config() -> TrainingConfig {
    let mut config = untold_config();
    config.predictor.commands = Some(CommandConfig::new(&names(1), vec![Quantity::Velocity]));
    config
}

/// Root mean square error 20 steps ahead over the last third, and all predictions there.
fn run_told(model: &PredictorModel, experts: Experts, episode: &Episode) -> (f64, Vec<Trajectory>) {
    let mut predictor = LstmPredictor::with_experts(model, experts).unwrap();
    let mut out = Trajectory::new(predictor.horizon(), 1);
    let (mut sum, mut predicted) = (0.0, Vec::new());
    for time in 2000..2980 {
        predictor.observe_told(&episode.states[time], episode.told(time));
        predictor.predict(&mut out);
        sum += (out.states[19].position[0] - episode.states[time + 20].position[0]).powi(2);
        predicted.push(out.clone());
    }
    ((sum / predicted.len() as f64).sqrt(), predicted)
}

fn bits(trajectory: &Trajectory) -> Vec<u64> {
    let states = trajectory.states.iter().flat_map(|state| state.position.iter().chain(&state.velocity));
    states.chain(trajectory.stddev.iter().flatten()).map(|value| value.to_bits()).collect()
}

#[test]
fn who_is_told_commands_foresees_what_they_lead_to() {
    let (model, episode) = (told_model(&told_config()), driven(false));
    let (told, _) = run_told(&model, Experts::ALL, &episode);
    let (untold, _) = run_told(&model, Experts::WITHOUT_COMMANDED, &episode);
    assert!(told < 0.75 * untold, "{told} {untold}");
}

#[test]
fn without_a_command_it_is_the_model_without_commands_bit_for_bit() {
    let (told, never_told) = (told_model(&told_config()), told_model(&untold_config()));
    let (told_path, path) = (told.linear.clone().unwrap(), never_told.linear.clone().unwrap());
    assert_eq!(told_path.evidence, path.evidence);
    assert!(told_path.commanded.is_some() && path.commanded.is_none());
    let equal = |found: &[Trajectory], expected: &[Trajectory], range: std::ops::Range<usize>| {
        range.into_iter().all(|index| bits(&found[index]) == bits(&expected[index]))
    };
    let episode = driven(true);
    let (_, expected) = run_told(&never_told, Experts::ALL, &episode);
    let (_, without) = run_told(&told, Experts::WITHOUT_COMMANDED, &episode);
    assert!(equal(&without, &expected, 0..980));
    // while it was told it says something else; once the last command is old it is the same again
    let (_, found) = run_told(&told, Experts::ALL, &episode);
    assert!(!equal(&found, &expected, 200..240));
    assert!(equal(&found, &expected, 276..980));
}

#[test]
fn a_model_that_knows_commands_survives_its_checkpoint_and_checks_them() {
    use crate::nn::checkpoint::{from_bytes, to_bytes};
    let model = told_model(&told_config());
    let (card, tensors) = model.to_checkpoint(BTreeMap::new(), "").unwrap();
    assert_eq!(card.network["commands"]["coordinates"], serde_json::json!(["joint1"]));
    let bytes = to_bytes(&card, &tensors).unwrap();
    let (card, tensors) = from_bytes(&bytes, "x").unwrap();
    let read = PredictorModel::from_checkpoint(&card, tensors.clone(), "x").unwrap();
    assert_eq!(read.linear, model.linear);
    let episode = driven(false);
    let [(_, found), (_, expected)] = [&read, &model].map(|model| run_told(model, Experts::ALL, &episode));
    assert!(found.iter().zip(&expected).all(|(found, expected)| bits(found) == bits(expected)));

    let refused = |card: &crate::nn::checkpoint::Card, tensors: &crate::nn::checkpoint::Tensors| {
        PredictorModel::from_checkpoint(card, tensors.clone(), "x").unwrap_err().to_string()
    };
    let mut other = card.clone();
    other.network["commands"]["coordinates"] = serde_json::json!(["elbow"]);
    assert!(refused(&other, &tensors).contains("coordinates of the commands"));
    other.network["commands"] = serde_json::json!({"quantities": ["velocity"]});
    assert!(refused(&other, &tensors).contains("missing field"));
    let mut less = tensors.clone();
    less.remove("linear.commanded.evidence");
    assert!(refused(&card, &less).contains("'linear.commanded.evidence' is missing"));
    let mut plain = card.clone();
    plain.network.as_object_mut().unwrap().remove("commands");
    assert!(PredictorModel::from_checkpoint(&plain, tensors, "x").is_err(), "tensors that nobody uses");
}
