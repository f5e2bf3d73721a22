use super::*;
use crate::base::{BaseLoop, BaseVerdict, Twist, base_robot};
use crate::command::{Command, Mode};
use crate::config::read_text;
use crate::control_loop::{ControlLoop, Fault, Verdict};
use crate::dataset::mcap_writer::McapWriter;
use crate::dataset::messages::{Header, Pose, PoseStamped, TwistStamped, Vector3};
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

fn efforts(output: &Output) -> Vec<f64> {
    let Some(Sent::Command(_, command)) = &output.sent else { panic!("no command") };
    command.values.clone()
}

fn verdict(replay: &Replay) -> Verdict {
    let Some(Sent::Command(control, _)) = replay.controller.as_ref().unwrap().sent() else { panic!() };
    control.verdict()
}

/// The bits of every command that `ticks` lead to.
fn run(replay: &mut Replay, ticks: std::ops::Range<i64>) -> Vec<Vec<u64>> {
    let robot = replay.robot().clone();
    let command =
        |output: Output| -> Vec<u64> { efforts(&output).iter().map(|effort| effort.to_bits()).collect() };
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
    let verdict = verdict(&replay);
    assert!(!matches!(verdict.fault(), Some(Fault::LearnerLost { .. } | Fault::PredictorLost { .. })));
}

#[test]
fn a_predictor_speaks_at_its_rate_and_the_controller_hears_it() {
    let parameters = PredictorParameters { publish_rate: 50.0, ..Default::default() };
    let mut replay = Replay::of_controller(config(), Some(&parameters), URDF).unwrap();
    run(&mut replay, 0..1000);
    assert_eq!(replay.counts.predictions, 100);
    let verdict = verdict(&replay);
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
fn a_table_may_begin_at_zero() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("motion.csv");
    std::fs::write(&path, "t_s,a_pos,a_vel\n0,1,2\n0.01,1,2\n").unwrap();
    let stamps: Vec<i64> =
        Source::new(&path).messages().unwrap().map(|message| message.unwrap().unwrap().stamp.0).collect();
    assert_eq!(stamps, [1, 10_000_000], "zero would be no stamp");
}

#[test]
fn tables_hold_every_bit_and_are_there_only_when_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let parameters = PredictorParameters { steps: 2, ..Default::default() };
    let mut replay = Replay::of_controller(config(), Some(&parameters), URDF).unwrap();
    let robot = replay.robot().clone();
    let mut commands = CommandTable::create(&path("commands.csv"), &robot).unwrap();
    let mut predictions = PredictionTable::create(&path("predictions.csv"), &robot.joints).unwrap();
    let mut expected = Vec::new();
    for tick in 0..50 {
        let message = Ok(message(tick, &robot));
        let output = replay.observe(&message).unwrap();
        expected.push(efforts(&output));
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
    for event in source.events(None, &[]).unwrap() {
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
    // 96.7 s with one pause
    assert!((1850..1940).contains(&ahead.len()), "{}", ahead.len());
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
        errors.len() > 1500 && errors[errors.len() / 2] < 0.03,
        "{} {}",
        errors.len(),
        errors[errors.len() / 2]
    );
}

/// A base at 50 Hz that drives a circle, whatever it is told.
fn odometry(tick: i64) -> Message {
    let yaw = 0.4 * tick as f64 * 0.02;
    Message {
        stamp: Stamp(1_700_000_000_000_000_000 + tick * 20_000_000),
        frame: "odom".into(),
        positions: vec![yaw.sin(), 1.0 - yaw.cos(), yaw],
        velocities: vec![0.4, 0.0, 0.4],
        ..Default::default()
    }
}

fn of_base(config: BaseControllerConfig) -> Replay {
    Replay::of_base(config, &BasePredictorParameters::default().parameters()).unwrap()
}

fn twist(output: &Output) -> Option<(Twist, BaseVerdict)> {
    match &output.sent {
        Some(Sent::Twist(control, twist)) => Some((**twist, control.verdict())),
        _ => None,
    }
}

/// A path along the x axis from where the base begins.
fn ahead(frame: &str) -> Asked {
    let pose = |i: i32| PoseStamped {
        pose: Pose {
            position: Vector3 { x: 0.1 * f64::from(i), ..Default::default() },
            ..Default::default()
        },
        ..Default::default()
    };
    let header = Header { frame_id: frame.into(), ..Default::default() };
    Asked::Path(messages::Path { header, poses: (0..10).map(pose).collect() })
}

#[test]
fn a_base_does_what_it_is_asked_and_then_says_nothing() {
    let mut replay = of_base(BaseControllerConfig::default());
    let mut control = BaseLoop::new(BaseControllerConfig::default()).unwrap();
    assert!(replay.take(&Event::Asked(Asked::Twist([1.0, 0.0, 0.0]))).is_none(), "before the first odometry");
    assert_eq!((replay.counts.asked, replay.counts.refused_asked), (1, 1));
    let mut sent = Vec::new();
    for tick in 0..150 {
        let message = odometry(tick);
        if tick == 10 {
            assert!(replay.take(&Event::Asked(Asked::Twist([0.3, 0.0, 0.2]))).is_none());
            control.ask(odometry(9).stamp, [0.3, 0.0, 0.2]);
        }
        let Message { stamp, positions, velocities, .. } = message.clone();
        let state = State { stamp, position: positions, velocity: velocities };
        let mut expected = [0.0; 3];
        drop(control.tick(stamp, Some(&state), &mut expected));
        let event = Event::Motion(Ok(message));
        let twist = replay.take(&event).and_then(|output| twist(&output));
        assert_eq!(twist, control.speaks().then(|| (expected, control.verdict())), "tick {tick}");
        sent.push(twist);
    }
    assert!(sent[..10].iter().all(Option::is_none), "nobody had asked");
    assert!(sent[10..35].iter().all(|sent| sent.is_some_and(|(_, verdict)| verdict.drives())), "{sent:?}");
    // cmd_vel_timeout later it is brought to rest, and zero is sent for a second
    let zeros = sent[35..].iter().flatten().filter(|(twist, _)| *twist == [0.0; 3]);
    assert_eq!((zeros.count(), sent[149]), (50, None));
    let counts = &replay.counts;
    assert!(counts.ticks == counts.holding + 25 && counts.predictions > 25, "{counts:?}");
}

#[test]
fn a_base_follows_a_path_in_the_frame_of_its_odometry_alone() {
    let mut replay = of_base(BaseControllerConfig::default());
    replay.take(&Event::Asked(ahead("map")));
    let reason = replay.counts.reason.clone().unwrap();
    assert!(reason.contains("'map'") && reason.contains("'odom'"), "{reason}");
    let drive = |replay: &mut Replay, from: i64| -> Vec<Twist> {
        let event = |tick| Event::Motion(Ok(odometry(tick)));
        let sent = (from..from + 10).filter_map(|tick| {
            let event = event(tick);
            replay.take(&event).and_then(|output| twist(&output)).map(|(twist, _)| twist)
        });
        sent.collect()
    };
    assert!(drive(&mut replay, 0).is_empty(), "it follows a path of another frame");
    replay.take(&Event::Asked(ahead("odom")));
    let twists = drive(&mut replay, 10);
    assert!(twists.len() == 10 && twists[9][0] > 0.05 && twists[9][2] < 0.0, "{twists:?}");
    replay.take(&Event::Asked(Asked::Path(messages::Path::default())));
    let twists = drive(&mut replay, 20);
    assert!(twists[9][0] < twists[0][0], "an empty path stops it: {twists:?}");
}

#[test]
fn what_a_base_was_asked_is_found_in_its_bag() {
    let folder = tempfile::tempdir().unwrap();
    let bag = folder.path().join("bag");
    let mut writer = McapWriter::create(&bag).unwrap();
    let twist =
        |vx: f64| messages::Twist { linear: Vector3 { x: vx, ..Default::default() }, ..Default::default() };
    for tick in 1..=3 {
        let stamp = Stamp(tick * 1_000_000_000);
        let header = Header { stamp: stamp.into(), ..Default::default() };
        writer.write("/odom", stamp, &Odometry { header: header.clone(), ..Default::default() }).unwrap();
        let twist = twist(0.1 * tick as f64);
        writer.write("/cmd_vel_in", stamp, &TwistStamped { header, twist }).unwrap();
        writer.write("/joystick", stamp, &twist).unwrap();
    }
    writer.finish().unwrap();
    let source = Source { space: Space::PlanarBase, ..Source::new(&bag) };
    assert_eq!(source.asked(&[]).unwrap(), ["/cmd_vel_in"]);
    let given = |topic: &str| source.asked(&[topic.to_owned()]);
    assert_eq!(given("/joystick").unwrap(), ["/joystick"]);
    for wrong in ["/none", "/odom"] {
        let error = given(wrong).unwrap_err().to_string();
        assert!(error.contains(&format!("no topic {wrong} with")) && error.contains("/joystick"), "{error}");
    }
    for topic in ["/cmd_vel_in", "/joystick"] {
        let events = source.events(None, &[topic.to_owned()]).unwrap();
        let asked: Vec<Event> = events.map(|event| event.unwrap()).collect();
        let twists = asked.iter().filter_map(|event| match event {
            Event::Asked(Asked::Twist([vx, ..])) => Some(*vx),
            _ => None,
        });
        assert_eq!((asked.len(), twists.collect::<Vec<_>>()), (6, vec![0.1, 0.2, 0.30000000000000004]));
    }
}

#[test]
fn a_table_without_a_time_is_replayed_at_its_rate_and_one_with_a_base_and_joints_as_what_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("both.csv");
    std::fs::write(&table, "x,y,yaw,q1,note\n1,2,0.1,7,a\n2,2,0.1,8,b\n3,2,0.1,9,c\n").unwrap();
    let of = |space| Source { space, rate: Some(50.0), ..Source::new(&table) };
    let read = |space| -> Vec<Message> {
        of(space).messages().unwrap().map(|message| message.unwrap().unwrap()).collect()
    };
    let (base, joints) = (read(Space::PlanarBase), read(Space::Joints));
    assert_eq!((&base[2].positions[..], &joints[2].positions[..]), (&[3.0, 2.0, 0.1][..], &[9.0][..]));
    assert_eq!(joints[2].stamp, Stamp(40_000_000));
    let account = of(Space::Joints).account().unwrap().unwrap().to_string();
    assert!(account.contains("columns that are not read: x, y, yaw, note"), "{account}");
}
