//! What the live nodes give on the messages of a recording is what `learned_control replay` gives, bit for bit.

use crate::common::{arm, data_folder, predictor_told, weights_for};
use crate::world::{World, root, wait};
use crate::{ARRAY, COMMANDS, JOINT_STATE, TRAJECTORY, gravity, numbers};
use learned_control::dataset::mcap_writer::McapWriter;
use learned_control::dataset::messages::{
    self, Float64MultiArray, Odometry, PoseStamped, Twist, TwistStamped,
};
use learned_control::dataset::rosbag::Bag;
use learned_control::nn::checkpoint;
use learned_control::predictor::commands::{CommandConfig, Quantity};
use learned_control::replay::{Message, Source};
use learned_control::robot::Robot;
use learned_control::state::Stamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const PREDICTIONS: &str = "/predictor/predicted_trajectory";
const PREDICTED_PATH: &str = "/base_predictor/predicted_path";

/// A robot with its models and settings as files, for the nodes and for the replay alike.
struct Files {
    urdf: PathBuf,
    config: PathBuf,
}

/// What the predictor listens to, if it is told commands.
const TOLD: &str = "/told";

/// The arm under other names of its joints; ticks at `rate` [Hz] on joint states alone. With `told` the predictor knows
/// commanded velocities.
fn files(folder: &Path, joint: &str, rate: f64, told: bool) -> Files {
    let renamed = |path: &str| {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        (1..=7).fold(text, |text, k| {
            let (from, to) = (format!("joint{k}"), format!("{joint}{k}"));
            text.replace(&format!("\"{from}\""), &format!("\"{to}\""))
                .replace(&format!("{from}:"), &format!("{to}:"))
        })
    };
    let path = |name: &str| folder.join(name);
    let description = renamed("urdf/arm.urdf");
    let robot = Robot::from_urdf(&description).unwrap();
    std::fs::write(path("robot.urdf"), &description).unwrap();
    std::fs::write(path("controller.safetensors"), weights_for(&robot, 0.3)).unwrap();
    let commands = told.then(|| CommandConfig::new(&robot.joints, vec![Quantity::Velocity]));
    let (card, tensors) = predictor_told(&robot, 1.0 / rate, commands);
    checkpoint::save(&path("predictor.safetensors"), &card, &tensors).unwrap();
    let mut settings: serde_yaml::Value = serde_yaml::from_str(&renamed("config/arm.yaml")).unwrap();
    let file = |name: &str| path(name).display().to_string();
    let controller = &mut settings["controller"]["ros__parameters"];
    controller["update_rate"] = rate.into();
    controller["tick"] = "joint_states".into();
    controller["model_file"] = file("controller.safetensors").into();
    controller["prediction"] = false.into();
    controller["constraints"]["trajectory"] = 0.0.into();
    // However busy the computer is, the clock shall not come into it.
    controller["joint_states_timeout"] = 5.0.into();
    let predictor = &mut settings["predictor"]["ros__parameters"];
    predictor["model_file"] = file("predictor.safetensors").into();
    predictor["publish_rate"] = 1e6.into(); // every prediction
    if told {
        predictor["command_topic"] = TOLD.into();
        predictor["command_kind"] = "velocity".into();
    }
    let settings = serde_yaml::to_string(&settings).unwrap();
    std::fs::write(path("settings.yaml"), settings).unwrap();
    Files { urdf: path("robot.urdf"), config: path("settings.yaml") }
}

/// Runs the command line on a recording; gives the tables of commands and predictions, and their bytes.
fn replay(files: &Files, recording: &Path, out: &Path) -> [Vec<u8>; 2] {
    let output = Command::new(env!("CARGO_BIN_EXE_learned_control"))
        .arg("replay")
        .arg(recording)
        .args([
            Path::new("--config"),
            &files.config,
            Path::new("--urdf"),
            &files.urdf,
            Path::new("--out"),
            out,
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", String::from_utf8_lossy(&output.stdout));
    [out.to_path_buf(), out.with_extension("predictions.csv")].map(|path| std::fs::read(path).unwrap())
}

/// The rows of a table without its header.
fn rows(table: &[u8]) -> Vec<Vec<String>> {
    let text = std::str::from_utf8(table).unwrap();
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Of a message, ns.
fn stamp(message: &Value) -> i64 {
    let stamp = &message["header"]["stamp"];
    stamp["sec"].as_i64().unwrap() * 1_000_000_000 + stamp["nanosec"].as_i64().unwrap()
}

fn parsed(cells: &[String]) -> Vec<u64> {
    cells.iter().map(|cell| cell.parse::<f64>().unwrap().to_bits()).collect()
}

fn joint_state(message: &Message) -> Value {
    let finite = |values: &[f64]| -> Vec<Value> {
        values
            .iter()
            .map(|value| if value.is_finite() { json!(value) } else { json!(value.to_string()) })
            .collect()
    };
    json!({
        "header": {"stamp": {"sec": message.stamp.0 / 1_000_000_000, "nanosec": message.stamp.0 % 1_000_000_000}},
        "name": message.names,
        "position": finite(&message.positions),
        "velocity": finite(&message.velocities),
    })
}

/// Runs the live nodes on `messages`, each sent when the one before has been answered, and each after what is `told` before
/// it: commands and predictions.
fn live(
    world: &mut World,
    files: &Files,
    messages: &[Message],
    told: Option<&[Option<Vec<f64>>]>,
) -> (Vec<Value>, Vec<Value>) {
    let arguments = format!("--params-file {} -p urdf:={}", files.config.display(), files.urdf.display());
    for (node, ready) in [("controller", "once for each message"), ("predictor", "predicts")] {
        world.start(node, &arguments);
        world.line(node, 0, &[ready]);
    }
    world.record_reliably(COMMANDS, ARRAY);
    world.record_reliably(PREDICTIONS, TRAJECTORY);
    world.advertise("/joint_states", JOINT_STATE);
    wait("both subscribers of /joint_states", || {
        (world.ask(json!({"do": "matched", "topic": "/joint_states"})) == 2).then_some(())
    });
    // Whoever has found us we have still to find.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let messages: Vec<Value> = messages.iter().map(joint_state).collect();
    let answers = [COMMANDS, PREDICTIONS];
    let mut request =
        json!({"do": "in_step", "topic": "/joint_states", "messages": messages, "answers": answers});
    if let Some(told) = told {
        world.advertise(TOLD, ARRAY);
        let message = |values: &Option<Vec<f64>>| values.as_ref().map(|values| json!({"data": values}));
        request["before"] = json!({"topic": TOLD, "messages": told.iter().map(message).collect::<Vec<_>>()});
    }
    world.ask(request);
    (world.take(COMMANDS), world.take(PREDICTIONS))
}

/// Compares every command and every predicted state.
fn assert_equal(world: &mut World, files: &Files, recording: &Path, told: Option<&[Option<Vec<f64>>]>) {
    let folder = world.folder().to_path_buf();
    let tables = replay(files, recording, &folder.join("one.csv"));
    assert!(replay(files, recording, &folder.join("two.csv")) == tables, "two runs differ");
    let [commands, predictions] = tables.map(|table| rows(&table));

    let messages = Source::new(recording).messages().unwrap().map(|message| message.unwrap().unwrap());
    // Those without a stamp have no answer.
    let sent: Vec<Message> = messages.filter(|message| message.stamp != Stamp(0)).collect();
    let (live_commands, live_predictions) = live(world, files, &sent, told);
    assert_eq!((live_commands.len(), commands.len()), (sent.len(), sent.len()));
    for (index, (live, row)) in live_commands.iter().zip(&commands).enumerate() {
        assert_eq!(bits(&numbers(&live["data"])), parsed(&row[1..8]), "command {index}");
    }
    let share = |row: &Vec<String>| row[9].parse::<f64>().unwrap();
    assert!(commands.last().map(share) == Some(1.0), "the learned part had no share: {:?}", commands.last());

    let mut by_stamp: BTreeMap<i64, Vec<&Vec<String>>> = BTreeMap::new();
    predictions.iter().for_each(|row| by_stamp.entry(row[0].parse().unwrap()).or_default().push(row));
    assert_eq!((live_predictions.len(), by_stamp.len()), (sent.len(), sent.len()));
    for live in &live_predictions {
        let stamp = stamp(live);
        let points = live["points"].as_array().unwrap();
        assert_eq!(points.len(), by_stamp[&stamp].len());
        for (point, row) in points.iter().zip(&by_stamp[&stamp]) {
            assert_eq!(bits(&numbers(&point["positions"])), parsed(&row[2..9]), "at {stamp}");
            assert_eq!(bits(&numbers(&point["velocities"])), parsed(&row[9..16]), "at {stamp}");
        }
    }
}

/// The arm's motion at 100 Hz as a bag, with the velocities that it was told before each; most of the time there is nothing
/// new.
fn recording_with_commands(folder: &Path) -> (PathBuf, Vec<Option<Vec<f64>>>) {
    let bag = folder.join("told");
    let mut writer = McapWriter::create(&bag).unwrap();
    let names = arm().0.joints;
    let mut told = Vec::new();
    for tick in 1..=300 {
        let stamp = Stamp(1_000_000_000 + tick * 10_000_000);
        let state = crate::common::state_at(stamp, 0.0);
        let ahead = crate::common::state_at(Stamp(stamp.0 + 100_000_000), 0.0);
        let command = (tick % 10 == 3 && !(100..200).contains(&tick)).then_some(ahead.velocity);
        if let Some(data) = &command {
            let message = Float64MultiArray { data: data.clone(), ..Default::default() };
            writer.write(TOLD, Stamp(stamp.0 - 1_000_000), &message).unwrap();
        }
        let header = messages::Header { stamp: stamp.into(), ..Default::default() };
        let (position, velocity) = (state.position, state.velocity);
        let message =
            messages::JointState { header, name: names.clone(), position, velocity, ..Default::default() };
        writer.write("/joint_states", stamp, &message).unwrap();
        told.push(command);
    }
    writer.finish().unwrap();
    (bag, told)
}

/// The arm's motion at 100 Hz, as a table whose numbers have all their digits.
fn recording(folder: &Path) -> PathBuf {
    let mut text = String::from("t_s");
    (1..=7).for_each(|k| text.push_str(&format!(",joint{k}_pos,joint{k}_vel")));
    for tick in 1..=500 {
        let stamp = Stamp(1_000_000_000 + tick * 10_000_000);
        let state = crate::common::state_at(stamp, 0.0);
        text.push_str(&format!("\n{}", stamp.seconds()));
        state.position.iter().zip(&state.velocity).for_each(|(q, v)| text.push_str(&format!(",{q},{v}")));
    }
    let path = folder.join("motion.csv");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_replay_is_what_the_live_nodes_do_bit_for_bit() {
    let mut world = World::new(97);
    let folder = world.folder().to_path_buf();
    let files = files(&folder, "joint", 100.0, false);
    assert_equal(&mut world, &files, &recording(&folder), None);

    // When the messages end, the robot is held all the same; when they go on, so does the controller.
    let before = world.log("controller").len();
    world.line("controller", 0, &["WARN", "holding", "the newest joint states are 5."]);
    let held = numbers(&world.next(COMMANDS)["data"]);
    let last = crate::common::state_at(Stamp(6_000_000_000), 0.0);
    crate::assert_near(&held, &gravity(&last.position), 1e-6);
    let names = arm().0.joints;
    let stamp = Stamp(20_000_000_000);
    let (positions, velocities) = (last.position, last.velocity);
    let message = Message { stamp, names, positions, velocities, ..Default::default() };
    world.publish("/joint_states", joint_state(&message));
    world.line("controller", before, &["INFO", "tracking"]);
}

#[test]
fn a_recorded_panda_is_replayed_as_the_live_nodes_take_it() {
    let Some(folder) = data_folder() else { return };
    let bag = folder.join("bags_unisa/panda_exciting_trajectory.db3");
    let mut world = World::new(98);
    let files = files(world.folder(), "fer_joint", 30.0, false);
    assert_equal(&mut world, &files, &bag, None);
}

#[test]
fn a_replay_with_commands_is_what_the_live_nodes_do_bit_for_bit() {
    let mut world = World::new(91);
    let folder = world.folder().to_path_buf();
    let (bag, told) = recording_with_commands(&folder);
    let files = files(&folder, "joint", 100.0, true);
    assert_equal(&mut world, &files, &bag, Some(&told));
    world.line("predictor", 0, &["listens to commands of velocity", TOLD]);
    world.line("predictor", 0, &["no command on /told within 0.5 s"]);

    let predictions = || std::fs::read(folder.join("one.predictions.csv")).unwrap();
    let (known, settings) = (predictions(), std::fs::read_to_string(&files.config).unwrap());
    std::fs::write(&files.config, settings.replace(TOLD, "''")).unwrap();
    replay(&files, &bag, &folder.join("one.csv"));
    assert!(predictions() != known, "the commands changed nothing");
}

/// A pose of a path, to the bit.
fn pose(stamped: &PoseStamped) -> Value {
    let PoseStamped { header, pose: messages::Pose { position, orientation } } = stamped;
    json!({
        "stamp": [header.stamp.sec, header.stamp.nanosec],
        "frame": header.frame_id,
        "pose": bits(&[position.x, position.y, orientation.z, orientation.w]),
    })
}

/// The start of what a TurtleBot's odometry said; message by message, as it was recorded.
fn turtlebot(count: usize) -> Option<Vec<Odometry>> {
    let bag = Bag::open(&data_folder()?.join("bags_evo/nav2_turtlebot.mcap")).unwrap();
    let messages = bag.messages(Some("/odom")).take(count);
    Some(messages.map(|message| messages::decode(&message.unwrap().cdr).unwrap()).collect())
}

fn of_odometry(Odometry { header, pose, twist, .. }: &Odometry) -> Value {
    json!({
        "header": {"stamp": {"sec": header.stamp.sec, "nanosec": header.stamp.nanosec}, "frame_id": header.frame_id},
        "pose": {"pose": pose.pose},
        "twist": {"twist": twist.twist},
    })
}

/// Replays `bag` in `folder`, which has base.yaml.
fn replay_base(folder: &Path, bag: &str, out: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_learned_control"))
        .args(["replay", bag, "--config", "base.yaml", "--out", out])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_replayed_base_is_what_the_live_predictor_says_bit_for_bit() {
    let Some(odometry) = turtlebot(500) else { return };
    let mut world = World::new(96);
    let folder = world.folder().to_path_buf();
    let path = |name: &str| folder.join(name);

    let mut writer = McapWriter::create(&path("drive")).unwrap();
    odometry.iter().for_each(|message| writer.write("/odom", message.header.stamp.into(), message).unwrap());
    writer.finish().unwrap();
    std::fs::write(
        path("base.yaml"),
        "base_predictor:\n  ros__parameters: {publish_rate: 1.0e+6, dt: 0.03, steps: 40}\n",
    )
    .unwrap();
    replay_base(&folder, "drive", "replayed");
    let replayed = Bag::open(&path("replayed")).unwrap();
    let replayed: Vec<messages::Path> = replayed
        .messages(Some(PREDICTED_PATH))
        .map(|message| messages::decode(&message.unwrap().cdr).unwrap())
        .collect();

    world.start("base_predictor", &format!("--params-file {}", path("base.yaml").display()));
    world.line("base_predictor", 0, &["predicts a base"]);
    world.record_reliably(PREDICTED_PATH, "nav_msgs/msg/Path");
    world.advertise("/odom", "nav_msgs/msg/Odometry");
    std::thread::sleep(std::time::Duration::from_secs(1));
    let sent: Vec<Value> = odometry.iter().map(of_odometry).collect();
    world.ask(json!({"do": "in_step", "topic": "/odom", "messages": sent, "answers": [PREDICTED_PATH]}));
    let live: Vec<messages::Path> =
        world.take(PREDICTED_PATH).into_iter().map(|path| serde_json::from_value(path).unwrap()).collect();
    assert_eq!((live.len(), replayed.len()), (500, 500));
    for (index, (live, replayed)) in live.iter().zip(&replayed).enumerate() {
        assert_eq!(live.header, replayed.header, "{index}");
        let [live, replayed] =
            [live, replayed].map(|path| path.poses.iter().map(pose).collect::<Vec<Value>>());
        assert_eq!((&live, live.len()), (&replayed, 40), "{index}");
    }
    let moved = |path: &messages::Path| {
        let [first, last] = [&path.poses[0], &path.poses[39]].map(|stamped| stamped.pose.position);
        (last.x - first.x).hypot(last.y - first.y)
    };
    assert!(live.iter().map(moved).fold(0.0, f64::max) > 0.3, "it did not drive");
}

/// Before this odometry a path takes the place of twists.
const PATH: usize = 500;

/// What a base is asked before odometry `index`: to drive as it was recorded, and more and less.
fn asked(index: usize, odometry: &Odometry) -> Option<Twist> {
    let share = if index < 250 { 1.3 } else { 0.8 };
    let Twist { linear, angular } = odometry.twist.twist;
    let linear = messages::Vector3 { x: 0.1 + share * linear.x, ..Default::default() };
    let angular = messages::Vector3 { z: 0.1 + share * angular.z, ..Default::default() };
    (index % 5 == 2 && index < PATH).then_some(Twist { linear, angular })
}

/// Twenty metres straight ahead from where the base is.
fn straight(odometry: &Odometry) -> messages::Path {
    let messages::Pose { position, orientation } = odometry.pose.pose;
    let (sin, cos) = orientation.yaw().sin_cos();
    let pose = |i: i32| {
        let way = f64::from(i);
        let position =
            messages::Vector3 { x: position.x + way * cos, y: position.y + way * sin, ..Default::default() };
        PoseStamped { pose: messages::Pose { position, orientation }, ..Default::default() }
    };
    messages::Path { header: odometry.header.clone(), poses: (0..=20).map(pose).collect() }
}

#[test]
fn a_replayed_base_is_what_the_live_controller_sends_bit_for_bit() {
    let Some(odometry) = turtlebot(600) else { return };
    let mut world = World::new(79);
    let folder = world.folder().to_path_buf();
    let path = |name: &str| folder.join(name);
    std::fs::write(
        path("base.yaml"),
        "base_controller:\n  ros__parameters: {tick: odometry, update_rate: 20.0, odom_timeout: 5.0, head: {enabled: true}, \
         limits: {max_velocity: [1.0, 0.0, 2.0], min_velocity: [-1.0, 0.0, -2.0]}}\n",
    )
    .unwrap();

    let twists: Vec<Option<Twist>> =
        odometry.iter().enumerate().map(|(index, odometry)| asked(index, odometry)).collect();
    let mut writer = McapWriter::create(&path("drive")).unwrap();
    let way = straight(&odometry[PATH]);
    for (index, (odometry, twist)) in odometry.iter().zip(&twists).enumerate() {
        let (header, stamp) = (odometry.header.clone(), odometry.header.stamp.into());
        if index == PATH {
            writer.write("/base_controller/reference_path", stamp, &way).unwrap();
        }
        if let Some(twist) = *twist {
            writer.write("/cmd_vel_in", stamp, &TwistStamped { header, twist }).unwrap();
        }
        writer.write("/odom", stamp, odometry).unwrap();
    }
    writer.finish().unwrap();
    replay_base(&folder, "drive", "one.csv");
    replay_base(&folder, "drive", "two.csv");
    let table = |name: &str| std::fs::read(path(name)).unwrap();
    assert!(table("one.csv") == table("two.csv"), "two runs differ");
    let replayed = rows(&table("one.csv"));

    world.start("base_controller", &format!("--params-file {}", path("base.yaml").display()));
    world.line("base_controller", 0, &["controls base_link in odom once for each message of odometry"]);
    world.record_reliably("/cmd_vel", "geometry_msgs/msg/TwistStamped");
    world.advertise("/odom", "nav_msgs/msg/Odometry");
    world.advertise("/cmd_vel_in", "geometry_msgs/msg/TwistStamped");
    world.advertise("/base_controller/reference_path", "nav_msgs/msg/Path");
    std::thread::sleep(std::time::Duration::from_secs(1));
    let sent: Vec<Value> = odometry.iter().map(of_odometry).collect();
    let twist = |twist: &Option<Twist>| twist.map(|twist| json!({"twist": twist}));
    let before: Vec<Option<Value>> = twists.iter().map(twist).collect();
    // to what came before anything was asked there is no answer
    let silent = before.iter().position(Option::is_some).unwrap();
    for message in &sent[..silent] {
        world.publish("/odom", message.clone());
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let in_step = |world: &mut World, messages: std::ops::Range<usize>| {
        let before = json!({"topic": "/cmd_vel_in", "messages": before[messages.clone()]});
        let mut request =
            json!({"do": "in_step", "topic": "/odom", "answers": ["/cmd_vel"], "before": before});
        request["messages"] = json!(sent[messages]);
        world.ask(request);
    };
    in_step(&mut world, silent..PATH);
    world.publish(
        "/base_controller/reference_path",
        json!({"header": {"frame_id": "odom"}, "poses": way.poses}),
    );
    world.line("base_controller", 0, &["follows a path of"]);
    in_step(&mut world, PATH..sent.len());
    let live = world.take("/cmd_vel");
    assert_eq!((live.len(), replayed.len()), (sent.len() - silent, sent.len() - silent));
    for (index, (live, row)) in live.iter().zip(&replayed).enumerate() {
        let twist = &live["twist"];
        let values = [&twist["linear"]["x"], &twist["linear"]["y"], &twist["angular"]["z"]];
        let values = values.map(|value| value.as_f64().unwrap());
        assert_eq!(bits(&values), parsed(&row[1..4]), "twist {index}");
        assert_eq!(stamp(live).to_string(), row[0], "twist {index}");
    }
    // the last that was asked, and what the controller made of it: more, and not by its limits
    let rows = (0..).map(|index: usize| index.checked_sub(silent).and_then(|index| replayed.get(index)));
    let (asked, row) = twists.iter().zip(rows).filter_map(|(asked, row)| asked.zip(row)).last().unwrap();
    let added = |column: usize, asked: f64| (row[column].parse::<f64>().unwrap() - asked).abs() > 0.01;
    let has_added = added(1, asked.linear.x) || added(3, asked.angular.z);
    assert!(row[5] == "1" && has_added, "nothing was added to {asked:?}: {row:?}");
}
