use super::*;
use crate::controller::features::FEATURES_PER_JOINT;
use crate::dataset::effort::EffortEpisode;
use crate::robot::Dynamics;
use crate::state::{Stamp, State};
use rand::SeedableRng;

/// A point mass of 2 kg, 0.5 m out, that turns about y; the effort limit makes one unit of output 5 Nm.
const URDF: &str = r#"<robot name="pendulum"><link name="base"/>
    <link name="rod"><inertial><origin xyz="0.5 0 0"/><mass value="2"/>
      <inertia ixx="0" ixy="0" ixz="0" iyy="0.1" iyz="0" izz="0"/></inertial></link>
    <joint name="swing" type="continuous"><parent link="base"/><child link="rod"/><axis xyz="0 1 0"/>
      <limit effort="50" velocity="5"/><dynamics damping="0.5" friction="0.3"/></joint></robot>"#;

/// q of an irregular swing, and its derivatives, at `time` [s].
fn motion(time: f64, phase: f64) -> [f64; 3] {
    let mut sums = [0.0; 3];
    for (amplitude, frequency) in [(0.5, 2.1), (0.3, 5.3), (0.1, 11.0)] {
        let angle = frequency * time + phase * frequency;
        sums[0] += amplitude * angle.sin();
        sums[1] += amplitude * frequency * angle.cos();
        sums[2] -= amplitude * frequency * frequency * angle.sin();
    }
    sums
}

/// 8 s at 200 Hz of the pendulum with `extra` inertia [kg m²] and Coulomb friction [Nm].
fn episode(phase: f64, extra: f64, friction: f64) -> EffortEpisode {
    let dt = 0.005;
    let (mut states, mut efforts) = (Vec::new(), Vec::new());
    for step in 0..1600 {
        let time = dt * step as f64;
        let [q, v, a] = motion(time, phase);
        states.push(State { stamp: Stamp::from_seconds(time), position: vec![q], velocity: vec![v] });
        efforts.push(vec![(0.6 + extra) * a - 9.81 * q.cos() + friction * (v / 0.1).tanh()]);
    }
    EffortEpisode { dt, states, efforts }
}

fn labelled(episode: &EffortEpisode, feedforward: Feedforward) -> Labelled {
    let robot = Robot::from_urdf(URDF).unwrap();
    label(episode, &robot, &mut Dynamics::for_robot(URDF, &robot).unwrap(), feedforward).unwrap()
}

/// Episodes that differ in inertia and friction.
fn many(first: usize, count: usize) -> Vec<Labelled> {
    let one = |index: usize| {
        let x = index as f64;
        let episode = episode(0.37 * x, 0.3 + 0.3 * (2.3 * x).sin(), 1.5 + 1.5 * (1.1 * x).cos());
        labelled(&episode, Feedforward::Gravity)
    };
    (first..first + count).map(one).collect()
}

fn proceed(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn quick(rule: TrainingRule) -> ControllerTrainingConfig {
    ControllerTrainingConfig { rule, hidden: vec![32, 16], steps: 400, ..Default::default() }
}

#[test]
fn labels_are_what_was_applied_beyond_the_feedforward() {
    let episode = episode(0.2, 0.0, 0.0);
    let gravity = labelled(&episode, Feedforward::Gravity);
    assert_eq!((gravity.reach, gravity.instants()), (2, 1596));
    assert_eq!(gravity.features.ncols(), FEATURES_PER_JOINT);
    for instant in [0, 700, 1595] {
        let [q, v, a] = motion(0.005 * (instant + 2) as f64, 0.2);
        let features = gravity.features.row(instant);
        let expected = [q / 2.0, v, a / 4.0, (v / 0.03).tanh()];
        for (found, expected) in features.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 0.01, "{found} {expected}");
        }
        // inertia 2 kg · 0.25 m² + 0.1 kg m², in units of 5 Nm
        assert!((f64::from(gravity.labels[(instant, 0)]) - 0.6 * a / 5.0).abs() < 0.01);
    }
    let dynamics = labelled(&episode, Feedforward::InverseDynamics);
    let friction = |instant: usize| {
        let v = motion(0.005 * (instant + 2) as f64, 0.2)[1];
        -(0.3 * (v / 0.01).tanh() + 0.5 * v) / 5.0
    };
    assert!(
        (0..1596).all(|instant| (f64::from(dynamics.labels[(instant, 0)]) - friction(instant)).abs() < 0.02)
    );
}

#[test]
fn an_episode_that_does_not_fit_is_refused() {
    let robot = Robot::from_urdf(URDF).unwrap();
    let mut dynamics = Dynamics::for_robot(URDF, &robot).unwrap();
    let mut short = episode(0.0, 0.0, 0.0);
    short.states.truncate(4);
    let error = label(&short, &robot, &mut dynamics, Feedforward::None).unwrap_err().to_string();
    assert!(error.contains("4 samples of 1 joints"), "{error}");
    let mut unlimited = robot.clone();
    unlimited.limits.effort[0] = f64::INFINITY;
    let error = label(&episode(0.0, 0.0, 0.0), &unlimited, &mut dynamics, Feedforward::None).unwrap_err();
    assert!(error.to_string().contains("joint 'swing': its effort limit is inf"), "{error}");
    let mut broken = episode(0.0, 0.0, 0.0);
    broken.efforts[7][0] = f64::NAN;
    assert!(label(&broken, &robot, &mut dynamics, Feedforward::None).is_err());
}

#[test]
fn an_inverse_model_is_learned_and_loaded_by_the_controller() {
    let episodes = [labelled(&episode(0.0, 0.3, 1.0), Feedforward::Gravity)];
    let (model, report) = train_controller(&quick(TrainingRule::InverseModel), &episodes, proceed).unwrap();
    assert!(report.best_validation < 0.05, "{report:?}");

    let robot = Robot::from_urdf(URDF).unwrap();
    let (card, tensors) = model.to_checkpoint(&robot, 0.005).unwrap();
    let bytes = crate::nn::checkpoint::to_bytes(&card, &tensors).unwrap();
    let loaded = crate::controller::ResidualModel::from_bytes(&bytes, "test", &robot).unwrap();
    let mut residual = crate::controller::Residual::new(vec![1e3], 0.0);
    residual.accept(Box::new(loaded));
    residual.advance(0.002);
    let (mut squares, mut errors) = (0.0, 0.0);
    for step in 0..800 {
        let [q, v, a] = motion(0.01 * f64::from(step), 0.0);
        let reference =
            crate::reference::ReferencePoint { position: vec![q], velocity: vec![v], acceleration: vec![a] };
        let mut effort = [0.0];
        residual.evaluate(&reference, &mut effort);
        let expected = 0.9 * a + (v / 0.1).tanh();
        squares += expected * expected;
        errors += (effort[0] - expected).powi(2);
    }
    assert!(errors < 0.05 * squares, "the effort in Nm: {errors} of {squares}");
}

#[test]
fn the_gradient_of_a_step_is_that_of_the_loss() {
    const STEP: f32 = 2e-3;
    let episodes = many(0, 4);
    let config = ControllerTrainingConfig { penalty: 1e-2, ..quick(TrainingRule::Meta) };
    let fresh = |name: &str, index: usize, change: f32| {
        let meta = Meta::new(&config, &episodes).unwrap();
        let variables = meta.network.initial_variables(config.seed, DType::F32).unwrap();
        let variable = &variables[name];
        let mut values: Vec<f32> = variable.flatten_all().unwrap().to_vec1().unwrap();
        values[index] += change;
        variable.set(&Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap()).unwrap();
        let mlp = Mlp::over(&meta.network, &variables, DType::F32).unwrap();
        let (loss, surrogate) = meta.draw(&mlp, &mut Pcg64::seed_from_u64(1)).unwrap();
        let gradients = surrogate.backward().unwrap();
        let gradient = gradients.get(variable).unwrap().flatten_all().unwrap();
        (loss, f64::from(gradient.to_vec1::<f32>().unwrap()[index]))
    };
    for (name, index) in [("layers.0.weight", 2), ("layers.0.bias", 5), ("layers.1.weight", 100)] {
        let (_, gradient) = fresh(name, index, 0.0);
        let difference = fresh(name, index, STEP).0 - fresh(name, index, -STEP).0;
        let difference = difference / (2.0 * f64::from(STEP));
        let tolerance = 0.02 * gradient.abs() + 1e-5;
        assert!((gradient - difference).abs() < tolerance, "{name}[{index}]: {gradient} {difference}");
    }
}

#[test]
fn meta_trained_features_find_the_head_of_an_unseen_robot() {
    let (training, unseen) = (many(0, 16), many(100, 8));
    let config = ControllerTrainingConfig { steps: 600, ..quick(TrainingRule::Meta) };
    let mean = |model: &ControllerModel| {
        let shares = unseen.iter().map(|episode| model.unexplained(episode, &config).unwrap());
        shares.sum::<f64>() / unseen.len() as f64
    };
    let (meta, report) = train_controller(&config, &training, proceed).unwrap();
    assert!(report.best_step > 0 && report.episodes == [14, 2], "{report:?}");
    let random = ControllerModel::untrained(FEATURES_PER_JOINT, &config.hidden, 1, 0).unwrap();
    let (plain, _) = train_controller(&quick(TrainingRule::InverseModel), &training, proceed).unwrap();
    let [meta_share, random, plain] = [&meta, &random, &plain].map(mean);
    println!("meta {meta_share:.5}, random {random:.5}, inverse model {plain:.5}");
    assert!(meta_share < 0.5 * random && meta_share < plain, "{meta_share} {random} {plain}");

    let (again, _) = train_controller(&config, &training, proceed).unwrap();
    for (name, tensor) in &meta.tensors {
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(tensor), values(&again.tensors[name]), "{name}");
    }
}

#[test]
fn a_break_keeps_the_best_so_far() {
    let episodes = many(0, 5);
    for rule in [TrainingRule::InverseModel, TrainingRule::Meta] {
        let (model, report) = train_controller(&quick(rule), &episodes, |_| ControlFlow::Break(())).unwrap();
        assert_eq!(report.progress.len(), 1, "{rule:?}");
        assert!(model.tensors.contains_key("layers.2.weight"));
    }
}

#[test]
fn too_little_and_settings_out_of_range_are_refused() {
    let refused = |config: &ControllerTrainingConfig, episodes: &[Labelled]| {
        train_controller(config, episodes, proceed).unwrap_err().to_string()
    };
    let episodes = many(0, 3);
    assert!(refused(&quick(TrainingRule::Meta), &[]).contains("episodes to train on"));
    assert!(refused(&quick(TrainingRule::Meta), &episodes[..2]).contains("expected at least 3"));
    let long = ControllerTrainingConfig { support: 5.0, ..quick(TrainingRule::Meta) };
    assert!(refused(&long, &episodes).contains("found 7.98 s, expected at least 10 s"));
    let config = ControllerTrainingConfig { penalty: f64::NAN, ..Default::default() };
    assert!(refused(&config, &episodes).contains("penalty"));
    let config = ControllerTrainingConfig { hidden: vec![], ..Default::default() };
    assert!(refused(&config, &episodes).contains("hidden"));
    assert!(serde_yaml::from_str::<ControllerTrainingConfig>("rule: meta\nsteps: 5").is_ok());
    assert!(serde_yaml::from_str::<ControllerTrainingConfig>("step: 5").is_err());
}

#[test]
fn a_resumed_training_gives_the_same_bits() {
    let episodes = many(0, 5);
    for rule in [TrainingRule::InverseModel, TrainingRule::Meta] {
        let config = ControllerTrainingConfig { steps: 130, ..quick(rule) };
        let (whole, report) = train_controller(&config, &episodes, proceed).unwrap();
        // interrupted at every validation, each time read back from bytes
        let mut saved: Option<Vec<u8>> = None;
        let (pieces, resumed) = loop {
            let mut standing = None;
            let result = resume_controller(&config, &episodes, saved.as_deref(), |_, now| {
                standing = Some(now.to_bytes()?);
                Ok(ControlFlow::Break(()))
            });
            match standing {
                Some(_) => saved = standing,
                None => break result.unwrap(),
            }
        };
        assert_eq!(report.progress.len(), 3);
        assert_eq!(resumed, report, "{rule:?}");
        let values = |model: &ControllerModel| -> Vec<Vec<u32>> {
            let bits = |tensor: &Tensor| -> Vec<u32> {
                let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
                values.iter().map(|value| value.to_bits()).collect()
            };
            model.tensors.values().map(bits).collect()
        };
        assert_eq!(values(&pieces), values(&whole), "{rule:?}");

        let saved = saved.unwrap();
        let refused = |config: &ControllerTrainingConfig, episodes: &[Labelled], saved: &[u8]| {
            let stop = |_: &Progress, _: &Descent| Ok(ControlFlow::Break(()));
            resume_controller(config, episodes, Some(saved), stop).unwrap_err().to_string()
        };
        let other = ControllerTrainingConfig { seed: 7, ..config.clone() };
        assert!(refused(&other, &episodes, &saved).contains("settings of the saved training"));
        assert!(refused(&config, &many(1, 5), &saved).contains("data of the saved training"));
        for length in (0..saved.len()).step_by(997) {
            assert!(!refused(&config, &episodes, &saved[..length]).is_empty());
        }
    }
}
