use super::*;
use crate::base::base_robot;
use crate::config::read_text;
use crate::control_loop::Fault;
use crate::dataset::tests::data_folder;
use crate::predictor::BasePredictorParameters;
use std::path::PathBuf;

const URDF: &str = include_str!("../../urdf/arm.urdf");

fn config() -> ControllerConfig {
    read_text(include_str!("../../config/arm.yaml"), "arm.yaml", "controller").unwrap()
}

/// The arm at 500 Hz, in a slow motion about the centre of its reference.
fn message(tick: i64, robot: &Robot) -> Message {
    let time = tick as f64 * 0.002;
    let centre = [0.0, 0.4, 0.0, -1.4, 0.0, 1.0, 0.0];
    Message {
        stamp: Stamp(1_700_000_000_000_000_000 + tick * 2_000_000),
        names: robot.joints.clone(),
        positions: centre.iter().map(|q| q + 0.1 * time.sin()).collect(),
        velocities: vec![0.1 * time.cos(); 7],
        ..Default::default()
    }
}

/// The bits of every command that `ticks` lead to.
fn run(replay: &mut Replay, ticks: std::ops::Range<i64>) -> Vec<Vec<u64>> {
    let robot = replay.robot().clone();
    let command = |output: Output| -> Vec<u64> {
        output.controller.unwrap().1.values.iter().map(|effort| effort.to_bits()).collect()
    };
    ticks.filter_map(|tick| replay.observe(&Ok(message(tick, &robot))).map(command)).collect()
}

#[test]
fn it_is_the_control_loop_at_the_time_of_the_stamps() {
    let mut replay = Replay::of_controller(config(), None, URDF).unwrap();
    let commands = run(&mut replay, 0..1000);
    let config = ControllerConfig { prediction: false, ..config() };
    let mut control = ControlLoop::load(config, URDF).unwrap();
    let mut out = Command::zeros(Mode::Effort, 7);
    for (tick, command) in commands.iter().enumerate() {
        let Message { stamp, positions, velocities, .. } = message(tick as i64, control.robot());
        let state = State { stamp, position: positions, velocity: velocities };
        drop(control.tick(stamp, Some(&state), &mut out));
        let expected: Vec<u64> = out.values.iter().map(|effort| effort.to_bits()).collect();
        assert_eq!(*command, expected, "tick {tick}");
    }
    assert_eq!((commands.len(), replay.counts.ticks, replay.counts.holding), (1000, 1000, 0));
}

#[test]
fn without_the_nodes_that_it_lacks_the_controller_does_not_wait_for_them() {
    let config = ControllerConfig { learning: true, prediction: true, ..config() };
    let mut replay = Replay::of_controller(config, None, URDF).unwrap();
    run(&mut replay, 0..1500); // longer than both timeouts
    assert_eq!((replay.counts.holding, replay.counts.ticks), (0, 1500));
    let verdict = replay.controller.as_ref().unwrap().control.verdict();
    assert!(!matches!(verdict.fault(), Some(Fault::LearnerLost { .. } | Fault::PredictorLost { .. })));
}

#[test]
fn a_predictor_speaks_at_its_rate_and_the_controller_hears_it() {
    let parameters = PredictorParameters { publish_rate: 50.0, ..Default::default() };
    let mut replay = Replay::of_controller(config(), Some(&parameters), URDF).unwrap();
    run(&mut replay, 0..1000);
    assert_eq!(replay.counts.predictions, 100);
    let verdict = replay.controller.as_ref().unwrap().control.verdict();
    assert!(!matches!(verdict.fault(), Some(Fault::PredictorLost { .. })), "{verdict:?}");
}

#[test]
fn what_a_node_would_not_use_is_counted() {
    let mut replay = Replay::of_controller(config(), None, URDF).unwrap();
    let robot = replay.robot().clone();
    let good = message(0, &robot);
    let other = Message { names: vec!["gripper".into()], ..message(1, &robot) };
    let mut broken = message(2, &robot);
    broken.positions[3] = f64::NAN;
    let without = Message { stamp: Stamp(0), ..good.clone() };
    for message in
        [Ok(without), Ok(good.clone()), Ok(good), Ok(other), Ok(broken), Err("too short".to_owned())]
    {
        replay.observe(&message);
    }
    let counts = &replay.counts;
    assert_eq!((counts.messages, counts.states, counts.rejected, counts.undecodable), (6, 1, 4, 1));
    let text = "6 messages, 1 not decodable, 4 not used, 1 commands; the last that was not used: too short";
    assert_eq!(counts.to_string(), text);
}

#[test]
fn tables_hold_every_bit_and_are_there_only_when_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let parameters = PredictorParameters { steps: 2, ..Default::default() };
    let mut replay = Replay::of_controller(config(), Some(&parameters), URDF).unwrap();
    let joints = replay.robot().joints.clone();
    let mut commands = CommandTable::create(&path("commands.csv"), &joints).unwrap();
    let mut predictions = PredictionTable::create(&path("predictions.csv"), &joints).unwrap();
    let mut expected = Vec::new();
    for tick in 0..50 {
        let robot = replay.robot().clone();
        let message = Ok(message(tick, &robot));
        let output = replay.observe(&message).unwrap();
        expected.push(output.controller.unwrap().1.values.clone());
        commands.write(&output).unwrap();
        predictions.write(&output).unwrap();
    }
    assert!(!path("commands.csv").exists());
    commands.finish().unwrap();
    drop(predictions);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "an incomplete table was left");
    let mut table = ::csv::Reader::from_path(path("commands.csv")).unwrap();
    assert_eq!(table.headers().unwrap().get(7), Some("joint7_effort"));
    for (row, expected) in table.records().zip(&expected) {
        let row = row.unwrap();
        let values: Vec<f64> = (1..8).map(|column| row[column].parse().unwrap()).collect();
        assert_eq!(values, *expected);
    }
}

#[test]
fn the_messages_of_a_bag_are_all_there() {
    let Some(folder) = data_folder() else { return };
    let bag = folder.join("bags_unisa/panda_exciting_trajectory.db3");
    let read: Vec<Message> =
        Source::new(&bag).messages().unwrap().map(|message| message.unwrap().unwrap()).collect();
    assert_eq!((read.len(), read[0].names.len()), (727, 7));
    let table = folder.join("bags_unisa/panda.csv.gz");
    assert_eq!(Source::new(&table).messages().unwrap().count(), 727);
    let refused = |source: Source| source.messages().err().unwrap().to_string();
    let error = refused(Source { topic: Some("/none"), ..Source::new(&bag) });
    assert!(error.contains("no topic /none with sensor_msgs/msg/JointState, only"), "{error}");
    let error = refused(Source { space: Space::PlanarBase, ..Source::new(&bag) });
    assert!(error.contains("no topic at all with nav_msgs/msg/Odometry"), "{error}");
    let error = refused(Source { space: Space::PlanarBase, ..Source::new(&table) });
    assert!(error.contains("it has the motion of fer_joint1"), "{error}");
}

#[test]
fn a_base_is_predicted_from_its_odometry_as_it_was_recorded() {
    let Some(folder) = data_folder() else { return };
    let bag = folder.join("bags_evo/nav2_turtlebot.mcap");
    let parameters = BasePredictorParameters { publish_rate: 1e6, dt: 0.05, steps: 20, ..Default::default() };
    let mut replay = Replay::of_predictor(&parameters.parameters(), base_robot()).unwrap();
    let source = Source { space: Space::PlanarBase, ..Source::new(&bag) };
    // the last prediction of each message, a second ahead, and where the base was then
    let (mut ahead, mut been) = (Vec::new(), Vec::new());
    for event in source.events(None).unwrap() {
        let Event::Motion(message) = event.unwrap() else { panic!("nobody commands") };
        let Message { stamp, positions, .. } = message.clone().unwrap();
        been.push((stamp, [positions[0], positions[1]]));
        if let Some(Output { prediction: Some(prediction), frame, .. }) = replay.observe(&message) {
            assert_eq!((prediction.states.len(), frame), (20, "odom"));
            ahead.push((prediction.stamp, prediction.states[19].position.clone()));
        }
    }
    let counts = &replay.counts;
    assert_eq!((counts.messages, counts.rejected, been.len()), (2639, 0, 2639));
    assert!(ahead.len() > 2500, "{}", ahead.len());
    let mut errors = Vec::new();
    for (stamp, predicted) in &ahead {
        let then = been.partition_point(|(other, _)| other.since(*stamp) < 1.0);
        let Some((other, place)) = been.get(then).filter(|(other, _)| other.since(*stamp) < 1.05) else {
            continue;
        };
        assert!(other > stamp);
        errors.push((predicted[0] - place[0]).hypot(predicted[1] - place[1]));
    }
    errors.sort_by(f64::total_cmp);
    assert!(
        errors.len() > 2000 && errors[errors.len() / 2] < 0.03,
        "{} {}",
        errors.len(),
        errors[errors.len() / 2]
    );
}
