use super::*;
use crate::dataset::cleaning::assemble;
use crate::dataset::tests::data_folder;
use crate::dataset::{Row, Selection, Summary};
use crate::state::{Space, Stamp};
use std::path::Path;

/// Quick to train; the figures of the docs are of the default.
fn quick(split: Split) -> DynamicsConfig {
    let network = RegressionConfig { steps: 1000, ..Default::default() };
    DynamicsConfig { split, seeds: vec![0], network, ..Default::default() }
}

const BLOCKS: Split = Split::Blocks { seconds: 0.5, every: 5 };

/// Two joints of 100 Hz for 20 s whose efforts are `effort`(q, v, a) of each; nothing else acts.
fn recording(effort: impl Fn(f64, f64, f64) -> f64) -> Recording {
    let row = |step: usize| {
        let t = 0.01 * step as f64;
        let motion = |w: f64| {
            let (slow, fast) = (w * t, 2.7 * w * t);
            let q = slow.sin() + 0.4 * fast.sin();
            let v = w * (slow.cos() + 0.4 * 2.7 * fast.cos());
            let a = -w * w * (slow.sin() + 0.4 * 2.7 * 2.7 * fast.sin());
            (q, v, a)
        };
        let joints = [motion(1.3), motion(1.9)];
        Row {
            header: Stamp(10_000_000 * step as i64),
            log: None,
            position: joints.iter().map(|(q, ..)| *q).collect(),
            velocity: joints.iter().map(|(_, v, _)| *v).collect(),
            effort: joints.iter().map(|(q, v, a)| effort(*q, *v, *a)).collect(),
            command: vec![],
        }
    };
    let rows = (0..2000).map(row).collect();
    let names = vec!["a".into(), "b".into()];
    assemble(Path::new("x"), names, Space::Joints, rows, Summary::default()).unwrap().0
}

fn mean(report: &DynamicsReport, name: &str) -> f64 {
    report.method(name).unwrap().median()
}

#[test]
fn a_linear_robot_is_explained_by_the_linear_model() {
    let recording = recording(|q, v, a| 3.0 * q + 0.5 * v + 2.0 * a + 7.0);
    let report = dynamics_report(&[recording], &quick(BLOCKS)).unwrap();
    assert!(mean(&report, LINEAR) < 1e-3, "{report}");
    assert!(mean(&report, WHOLE) < 1e-2, "{report}");
    let html = page(&[report]).html().unwrap();
    assert!(html.contains("<svg") && html.contains(WHOLE), "{html}");
}

#[test]
fn friction_is_explained_by_hysteresis_and_noise_by_nothing() {
    let friction = recording(|_, v, a| 2.0 * v.signum() + 0.3 * a);
    let report = dynamics_report(&[friction], &quick(BLOCKS)).unwrap();
    assert!(mean(&report, HYSTERESIS) < 0.2 * mean(&report, LINEAR), "{report}");
    let noise = recording(|q, v, a| (1e6 * (q + 3.0 * v + 7.0 * a)).sin());
    let report = dynamics_report(&[noise], &quick(BLOCKS)).unwrap();
    let whole = mean(&report, WHOLE);
    assert!((0.9..1.3).contains(&whole), "what cannot be known was scored {whole}");
}

#[test]
fn efforts_that_do_not_vary_are_refused() {
    let refused = |effort: f64| {
        let recording = recording(|_, _, _| effort);
        dynamics_report(&[recording], &quick(BLOCKS)).map(drop).unwrap_err().to_string()
    };
    let expected =
        "effort that does not vary: found a 0, b 0, expected one that varies in at least one joint";
    assert!(refused(0.0).starts_with(expected), "{}", refused(0.0));
    assert!(refused(-2.5).contains("found a -2.5, b -2.5, expected"), "{}", refused(-2.5));
}

#[test]
fn training_shares_no_sample_with_the_test() {
    let recording = recording(|q, _, _| q);
    let motions = Motions::new(&[recording.clone(), recording], 0.01).unwrap();
    for split in [BLOCKS, Split::Last { share: 0.3 }, Split::Recording { index: 1 }] {
        let parts = split.parts(&motions).unwrap();
        assert!(parts.training.len() > 1500 && parts.testing.len() > 500, "{split}");
        for testing in &parts.testing {
            let apart = |row: &usize| {
                motions.places[*row].segment != motions.places[*testing].segment
                    || row.abs_diff(*testing) > 2 * motions.reach
            };
            assert!(parts.training.iter().all(apart), "{split}");
        }
    }
    let share = Split::Last { share: 0.3 }.parts(&motions).unwrap();
    assert!(share.testing.iter().all(|row| motions.places[*row].time >= 0.7 * 19.98));
}

/// What is held out may not change what was learned from the rest.
#[test]
fn the_held_out_efforts_are_not_learned_from() {
    let honest = recording(|q, v, a| q + v.signum() + 0.1 * a);
    let mut altered = honest.clone();
    for (state, effort) in honest.states.iter().zip(altered.efforts.as_mut().unwrap()) {
        let block = (state.stamp.seconds() / 0.5 + 1e-6).floor() as usize;
        if block % 5 == 4 {
            effort.iter_mut().for_each(|effort| *effort += 100.0);
        }
    }
    let motions = [honest, altered].map(|recording| Motions::new(&[recording], 0.01).unwrap());
    let config = quick(BLOCKS);
    let predicted = motions.each_ref().map(|motions| {
        let parts = BLOCKS.parts(motions).unwrap();
        let trial = Trial { motions, parts: &parts, config: &config };
        trial.predict_whole(None).unwrap()
    });
    assert_eq!(predicted[0], predicted[1]);
}

#[test]
fn recordings_that_cannot_be_used_are_refused_by_name() {
    let mut without = recording(|q, _, _| q);
    without.efforts = None;
    let error = dynamics_report(&[without], &quick(BLOCKS)).unwrap_err().to_string();
    assert!(error.starts_with("x: it has no efforts"), "{error}");
    let one = recording(|q, _, _| q);
    let mut other = one.clone();
    other.joints[1] = "c".into();
    let error = dynamics_report(&[one.clone(), other], &quick(BLOCKS)).unwrap_err().to_string();
    assert!(error.contains("found a, c, expected a, b"), "{error}");
    assert!(dynamics_report(&[], &quick(BLOCKS)).is_err());
    assert!(dynamics_report(std::slice::from_ref(&one), &quick(Split::Last { share: 0.0 })).is_err());
    assert!(
        dynamics_report(std::slice::from_ref(&one), &quick(Split::Blocks { seconds: 100.0, every: 5 }))
            .is_err()
    );
    assert!(dynamics_report(&[one], &quick(Split::Recording { index: 0 })).is_err());
}

#[test]
fn a_joint_whose_effort_does_not_vary_is_left_out_of_the_mean() {
    let mut recording = recording(|q, _, _| q);
    recording.efforts.as_mut().unwrap().iter_mut().for_each(|effort| effort[1] = 4.2);
    let report = dynamics_report(&[recording], &quick(BLOCKS)).unwrap();
    assert!(report.methods.iter().all(|method| method.runs.iter().all(|run| run.joints[1].is_none())));
    assert!(report.notes[0].starts_with("b: its held-out effort does not vary"), "{:?}", report.notes);
    assert!(mean(&report, LINEAR) < 1e-3);
    serde_json::to_string(&report).unwrap();
}

#[test]
fn the_rigid_bodies_of_a_urdf_explain_a_pendulum() {
    let urdf = r#"<robot name="pendulum"><link name="base"/>
        <link name="rod"><inertial><origin xyz="0.5 0 0"/><mass value="2"/>
          <inertia ixx="0" ixy="0" ixz="0" iyy="0.1" iyz="0" izz="0"/></inertial></link>
        <link name="hub"><inertial><mass value="1"/>
          <inertia ixx="0.2" ixy="0" ixz="0" iyy="0.2" iyz="0" izz="0.2"/></inertial></link>
        <joint name="b" type="continuous"><parent link="base"/><child link="hub"/><axis xyz="0 0 1"/>
          <limit effort="50" velocity="5"/></joint>
        <joint name="a" type="continuous"><parent link="base"/><child link="rod"/><axis xyz="0 1 0"/>
          <limit effort="50" velocity="5"/></joint></robot>"#;
    // m·l²+I = 0.6 kg m², m·g·l = 9.81 Nm, with a rotor and friction that the URDF does not know
    let recording = recording(|q, v, a| 0.6 * a - 9.81 * q.cos() + 0.4 * a + 1.5 * v.signum() + 0.2 * v);
    let config = DynamicsConfig { urdf: Some(urdf.into()), ..quick(BLOCKS) };
    let report = dynamics_report(&[recording], &config).unwrap();
    let physics = &report.method(PHYSICS).unwrap().runs[0];
    assert!(physics.joints[0].unwrap() < 0.02, "{report}");
    assert!(report.notes.is_empty());
}

#[test]
fn the_target_of_the_kuka_is_met() {
    let Some(folder) = data_folder() else { return };
    let read = |name: &str| Recording::read(&folder.join("kuka_kr300").join(name), &Selection::default());
    let recordings = [read("traj_A.csv.gz").unwrap(), read("traj_B.csv.gz").unwrap()];
    let report = dynamics_report(&recordings, &quick(BLOCKS)).unwrap();
    println!("{report}");
    assert!(mean(&report, WHOLE) < 0.08, "{report}");
    assert!(mean(&report, WHOLE) < 0.7 * mean(&report, MLP_SIGN), "{report}");
    // Another trajectory: what networks learned from one must not spoil the linear model on the other.
    let report = dynamics_report(&recordings, &quick(Split::Recording { index: 1 })).unwrap();
    println!("{report}");
    assert!(mean(&report, WHOLE) < 0.6, "{report}");
    assert!(mean(&report, WHOLE) < 1.25 * mean(&report, HYSTERESIS), "{report}");
}
