use super::*;
use crate::predictor::{LstmPredictor, Predictor, RealisedError};
use crate::state::{Stamp, State};
use crate::trajectory::Trajectory;
use candle_core::Device;

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
    assert!(refused(&small(230), &episode, &saved).contains("settings of the saved training"));
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
