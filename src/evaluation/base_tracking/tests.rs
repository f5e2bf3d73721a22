//! The suite, on few and short runs.

use super::figures::JUDGED;
use super::*;
use crate::base::Drive;
use crate::reference::Reference;
use crate::sim::BaseScenario;
use clap::ValueEnum;

fn config(controllers: &[BaseControllerKind], scenarios: &[BaseScenarioKind]) -> BaseTrackingConfig {
    config_of(Drive::Differential, controllers, scenarios)
}

/// Of the parameter file for bases with this drive.
fn config_of(
    drive: Drive,
    controllers: &[BaseControllerKind],
    scenarios: &[BaseScenarioKind],
) -> BaseTrackingConfig {
    let file = match drive {
        Drive::Differential => include_str!("../../../config/base.yaml"),
        Drive::Ackermann => include_str!("../../../config/base_ackermann.yaml"),
        Drive::Omnidirectional => include_str!("../../../config/base_omnidirectional.yaml"),
    };
    let controller: BaseControllerConfig =
        crate::config::read_text(file, "config", "base_controller").unwrap();
    controller.check().unwrap();
    let tree: serde_yaml::Value = serde_yaml::from_str(file).unwrap();
    let base = &tree["base_simulator"]["ros__parameters"]["base"];
    let base: BaseConfig = serde_yaml::from_value(base.clone()).unwrap();
    assert_eq!((controller.drive, base.drive), (drive, drive));
    BaseTrackingConfig {
        urdf: Some(include_str!("../../../urdf/base.urdf").into()),
        controller,
        learner: crate::config::read_text(file, "config", "base_learner").unwrap(),
        base,
        scenarios: scenarios.to_vec(),
        controllers: controllers.to_vec(),
        seeds: 2,
        longest: None,
        threads: NonZeroUsize::MIN,
    }
}

#[test]
fn courses_repeat_and_differ_and_last() {
    for drive in [Drive::Differential, Drive::Ackermann, Drive::Omnidirectional] {
        let config = config_of(drive, &[], &[]).controller;
        for kind in BaseScenarioKind::value_variants().iter().filter(|kind| kind.is_of(drive)) {
            for seed in 0..12 {
                let course = kind.course(Purpose::Suite, seed, &config).unwrap();
                course.scenario.check(drive).unwrap();
                let seconds = 30.0 + course.origin();
                assert_eq!(course.seconds, seconds, "{kind:?} {seed}: {}", course.path.duration());
                let again = kind.course(Purpose::Suite, seed, &config).unwrap();
                assert_eq!((course.seed, &course.scenario), (again.seed, &again.scenario));
                let tuning = kind.course(Purpose::Tuning, seed, &config).unwrap();
                assert_ne!(course.seed, tuning.seed);
                let mut start = crate::reference::ReferencePoint::zeros(3);
                course.path.sample(0.0, &mut start);
                assert!(start.position[0].abs() < 1e-9 && start.position[2].abs() < 0.2, "{start:?}");
            }
        }
    }
    let config = config(&[], &[]).controller;
    let wheels: std::collections::BTreeSet<String> = (0..20)
        .map(|seed| BaseScenarioKind::WheelRadius.course(Purpose::Suite, seed, &config).unwrap().scenario)
        .map(|BaseScenario { wheel_scale, .. }| format!("{wheel_scale:?}"))
        .collect();
    assert_eq!(wheels.len(), 4, "{wheels:?}");
}

#[test]
fn the_suite_repeats_and_who_knows_the_base_is_best() {
    use BaseControllerKind::{Baseline, Integral, Oracle};
    let config = config(&[Baseline, Integral, Oracle], &[BaseScenarioKind::WheelRadius]);
    let report = base_tracking_report(&config, |_, _| {}).unwrap();
    let again = base_tracking_report(
        &BaseTrackingConfig { threads: NonZeroUsize::new(2).unwrap(), ..config },
        |_, _| {},
    );
    assert_eq!(report.json(), again.unwrap().json());
    let rms = |kind: BaseControllerKind, seed: u64| {
        let run = report.runs.iter().find(|run| run.controller == kind && run.seed == seed).unwrap();
        assert_eq!((run.outcome.violations, &run.outcome.fault), (0, &None));
        Quantity::ALL.map(|quantity| run.rms(quantity, JUDGED).unwrap())
    };
    for seed in 0..2 {
        let [baseline, oracle] = [rms(Baseline, seed), rms(Oracle, seed)];
        assert!(oracle[0] < 0.35 * baseline[0] && oracle[1] < 0.6 * baseline[1], "{oracle:?} {baseline:?}");
        assert!(rms(Integral, seed)[0] < baseline[0]);
    }
    let json = report.json();
    assert_eq!(json["scenarios"]["wheel_radius"]["controllers"]["oracle"]["cross_track"]["10-30"]["n"], 2);
}

#[test]
fn mppi_gets_a_base_along_its_path() {
    let config =
        BaseTrackingConfig { seeds: 1, ..config(&[BaseControllerKind::Mppi], &[BaseScenarioKind::Nominal]) };
    let report = base_tracking_report(&config, |_, _| {}).unwrap();
    let [cross_track, heading] = Quantity::ALL.map(|quantity| report.runs[0].rms(quantity, JUDGED).unwrap());
    assert!(cross_track < 0.01 && heading < 0.1, "{cross_track} {heading}");
}

#[test]
fn no_path_is_tighter_than_a_car_can_turn() {
    let config = config_of(Drive::Ackermann, &[], &[]).controller;
    for seed in 0..30 {
        let course = BaseScenarioKind::Nominal.course(Purpose::Suite, seed, &config).unwrap();
        let (mut tightest, mut there) = (0.0_f64, crate::reference::ReferencePoint::zeros(3));
        for tick in 10..1500 {
            course.path.sample(0.02 * f64::from(tick), &mut there);
            tightest = tightest.max((there.velocity[2] / there.velocity[0]).abs());
        }
        assert!(tightest * config.limits.min_turning_radius < 1.0, "{seed}: {tightest} 1/m");
    }
}

#[test]
fn cars_and_bases_for_all_directions_are_learned_too() {
    use BaseControllerKind::{Baseline, Head, Oracle};
    for drive in [Drive::Ackermann, Drive::Omnidirectional] {
        let config = config_of(drive, &[Baseline, Head, Oracle], &[BaseScenarioKind::Gain]);
        let report = base_tracking_report(&config, |_, _| {}).unwrap();
        let rms = |kind: BaseControllerKind, seed: u64| {
            let run = report.runs.iter().find(|run| run.controller == kind && run.seed == seed).unwrap();
            assert_eq!((run.outcome.violations, &run.outcome.fault), (0, &None));
            Quantity::ALL.map(|quantity| run.rms(quantity, JUDGED).unwrap())
        };
        for seed in 0..2 {
            let [baseline, head, oracle] = [Baseline, Head, Oracle].map(|kind| rms(kind, seed));
            for quantity in 0..2 {
                assert!(head[quantity] < 0.5 * baseline[quantity], "{drive:?} {head:?} {baseline:?}");
                assert!(oracle[quantity] < 0.5 * baseline[quantity], "{drive:?} {oracle:?} {baseline:?}");
            }
        }
    }
}
