//! Learning on the simulated arm, with references and noise that no setting was chosen on.
#![cfg(feature = "sim")]

mod common;

use learned_control::closed_loop::ClosedLoop;
use learned_control::config;
use learned_control::control_loop::{ControllerConfig, ReferenceConfig};
use learned_control::controller::ResidualModel;
use learned_control::learner::delay::{DelayData, estimate_delay};
use learned_control::learner::{LearnerConfig, Rule};
use learned_control::sim::{ArmConfig, Scenario};
use std::path::Path;
use std::time::Duration;

const URDF: &str = include_str!("../urdf/arm.urdf");

fn closed_loop(scenario: Scenario, seed: u64, learner: Option<LearnerConfig>) -> ClosedLoop {
    with_head(false, scenario, seed, learner)
}

fn with_head(head: bool, scenario: Scenario, seed: u64, learner: Option<LearnerConfig>) -> ClosedLoop {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/arm.yaml"));
    let mut controller: ControllerConfig = config::read_file(path, "controller").unwrap();
    let ReferenceConfig::MultiSine(reference) = &mut controller.reference else { panic!("no multi-sine") };
    reference.seed = seed;
    let arm = ArmConfig { initial_position: reference.centre.clone(), seed, ..Default::default() };
    controller.prediction = false;
    controller.head.enabled = head;
    ClosedLoop::new(URDF, arm, scenario, controller, learner).unwrap()
}

fn noisy(factor: f64) -> Scenario {
    Scenario { position_noise: 1e-5 * factor, velocity_noise: 1e-3 * factor, ..Default::default() }
}

/// Rms tracking error from 15 to 20 s with a learner, as a share of that without [and the latter, rad].
fn left_over(scenario: &Scenario, seed: u64, config: LearnerConfig) -> f64 {
    let error = |learner: Option<LearnerConfig>| {
        let rms = closed_loop(scenario.clone(), seed, learner).rms_by_second(20).unwrap();
        (rms[15..].iter().map(|rms| rms * rms).sum::<f64>() / 5.0).sqrt()
    };
    error(Some(LearnerConfig { seed, ..config })) / error(None)
}

#[test]
fn rules_that_learn_from_labels_leave_a_small_part_of_the_error() {
    let scenario = Scenario { payload: 1.5, ..noisy(1.0) };
    for (seed, rule) in [(7001, Rule::InverseModel), (7002, Rule::TrackingError), (7003, Rule::Composite)] {
        let left = left_over(&scenario, seed, LearnerConfig { rule, ..Default::default() });
        assert!(left < 0.4, "{rule:?} leaves {left:.3} of the error");
    }
}

#[test]
fn the_distal_rule_learns_through_its_model_of_the_plant() {
    let scenario = Scenario { friction_scale: 3.0, damping_scale: 2.0, ..noisy(1.0) };
    let left = left_over(&scenario, 7004, LearnerConfig { rule: Rule::Distal, ..Default::default() });
    assert!(left < 0.7, "{left:.3} of the error is left");
}

#[test]
fn ten_times_the_noise_makes_nothing_worse() {
    for seed in [7005, 7006] {
        let left = left_over(&noisy(10.0), seed, LearnerConfig::default());
        assert!(left < 1.0, "{left:.3} of the error is left");
    }
}

#[test]
fn the_delay_of_the_arm_is_found() {
    for milliseconds in [0, 4, 10] {
        let scenario = Scenario { delay: Duration::from_millis(milliseconds), ..noisy(1.0) };
        let mut run = closed_loop(scenario, 7010 + milliseconds, None);
        let mut data = DelayData { dt: 0.002, ..Default::default() };
        run.run(150.0, |tick| {
            data.position.push(tick.measured.position.clone());
            data.velocity.push(tick.measured.velocity.clone());
            let known = &tick.control.baseline().feedforward;
            let beyond = tick.command.values.iter().zip(known).map(|(effort, known)| effort - known);
            data.effort.push(beyond.collect());
        })
        .unwrap();
        let estimate = estimate_delay(&[data]).unwrap();
        let error = estimate.delay - milliseconds as f64 * 1e-3;
        assert!(error.abs() < 2e-3 && estimate.doubt().is_none(), "{milliseconds} ms: {estimate:?}");
    }
}

/// Feedback on velocities that are 3 ms late pushes the arm off its path, though the torque is right.
#[test]
fn a_filter_on_the_velocities_costs_nothing_once_it_is_known() {
    for seed in [7030, 7031] {
        let error = |velocity_lag: f64| {
            let mut run = with_head(true, Scenario { velocity_lag, ..noisy(1.0) }, seed, None);
            let rms = run.rms_by_second(15).unwrap();
            let lag = run.control.velocity_lag().map(<[f64]>::to_vec);
            ((rms[5..].iter().map(|rms| rms * rms).sum::<f64>() / 10.0).sqrt(), lag)
        };
        let ((prompt, _), (late, found)) = (error(0.0), error(0.003));
        assert!(late < 1.2 * prompt, "{late:.2e} beside {prompt:.2e} rad");
        for lag in found.unwrap() {
            // a low-pass of 3 ms every 2 ms, and half a step of the simulator's Euler method
            assert!((lag - 2.6e-3).abs() < 3e-4, "{lag}");
        }
    }
}

/// Runs for `seconds`; gives why weights should have been given back.
fn rollback_within(run: &mut ClosedLoop, seconds: usize) -> Option<String> {
    (0..2 * seconds).find_map(|_| {
        run.run(0.5, |_| ()).unwrap();
        run.control.network().take_rollback().map(|reason| reason.to_string())
    })
}

#[test]
fn a_payload_is_not_laid_to_the_weights() {
    for seed in [9001, 9002] {
        let mut run = closed_loop(noisy(1.0), seed, Some(LearnerConfig { seed, ..Default::default() }));
        assert_eq!(rollback_within(&mut run, 15), None, "the arm is as it was");
        assert!(run.control.residual().card().is_some(), "there are weights to lay it to");
        run.plant.set_scenario(Scenario { payload: 1.5, ..noisy(1.0) }).unwrap();
        assert_eq!(rollback_within(&mut run, 8), None, "seed {seed}");
    }
}

#[test]
fn weights_that_make_it_worse_are_noticed_even_if_they_are_the_first() {
    let mut run = closed_loop(noisy(1.0), 7020, None);
    assert_eq!(rollback_within(&mut run, 10), None);
    let mut model = ResidualModel::from_bytes(&common::weights(0.3), "test", &common::arm().0).unwrap();
    for (loss, value) in [("held_out_loss", 0.9), ("held_out_loss_of_parent", 1.0)] {
        model.card.evaluation.insert(loss.into(), value);
    }
    run.control.accept_model(Box::new(model));
    assert!(rollback_within(&mut run, 4).is_some());
}

/// With the head a tenth and less of the error is left; what was there is known all the same.
#[test]
fn the_error_of_the_baseline_is_known_while_it_is_improved_on() {
    let scenario = Scenario { payload: 1.5, ..noisy(1.0) };
    let [mut learned, mut baseline] = [true, false].map(|head| with_head(head, scenario.clone(), 7021, None));
    let (mut estimated, mut actual, mut left) = (0.0, 0.0, 0.0);
    for period in 0..30 {
        learned.run(0.5, |_| ()).unwrap();
        baseline.run(0.5, |_| ()).unwrap();
        let ([own, estimate], [of_baseline, unlearned]) =
            (learned.control.tracking_errors(), baseline.control.tracking_errors());
        assert_eq!(of_baseline, unlearned, "nothing learned acts");
        if period >= 4 {
            estimated += estimate * estimate;
            actual += of_baseline * of_baseline;
            left += own * own;
        }
    }
    let share = f64::sqrt(estimated / actual);
    assert!((share - 1.0).abs() < 0.1, "estimated is {share:.3} of the baseline's error");
    assert!(left < 0.01 * actual, "the head has learned");
}
