//! The nodes as processes over DDS, as `ros2 launch` starts them, watched by a node of rclpy.
//!
//! Nothing here asserts how fast something happens: waits poll, with generous deadlines.

#![cfg(all(feature = "ros", feature = "sim"))]

#[path = "ros/base.rs"]
mod base;
mod common;
#[path = "ros/commands.rs"]
mod commands;
#[path = "ros/navigation.rs"]
mod navigation;
#[path = "ros/realtime.rs"]
mod realtime;
#[path = "ros/replay.rs"]
mod replay;
#[path = "ros/trajectory.rs"]
mod trajectory;
#[path = "ros/world.rs"]
mod world;

use common::{CENTRE, JOINTS, data_folder, weights};
use learned_control::closed_loop::ClosedLoop;
use learned_control::command::{Command, Mode};
use learned_control::config::read_text;
use learned_control::control_loop::{ControlLoop, ControllerConfig, ReferenceConfig};
use learned_control::measurement::JointStateReader;
use learned_control::robot::{Dynamics, Robot};
use learned_control::ros::simulator::SimulatorConfig;
use learned_control::state::Stamp;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime};
use world::{World, root, wait};

const JOINT_STATE: &str = "sensor_msgs/msg/JointState";
const ARRAY: &str = "std_msgs/msg/Float64MultiArray";
const TRAJECTORY: &str = "trajectory_msgs/msg/JointTrajectory";
const BYTES: &str = "std_msgs/msg/UInt8MultiArray";
const COMMANDS: &str = "/effort_controller/commands";
const SAMPLES: &str = "/controller/learning_sample";
const SIM_TIME: &str = "-p use_sim_time:=true";

/// `--params-file` of the arm.
fn file() -> String {
    format!("--params-file {}", root().join("config/arm.yaml").display())
}

fn urdf() -> String {
    format!("-p urdf:={}", root().join("urdf/arm.urdf").display())
}

fn start_simulator(world: &mut World, more: &str) {
    world.start("simulator", &format!("{} {} {more}", file(), urdf()));
}

/// Expects no predictor unless `more` says so.
fn start_controller(world: &mut World, more: &str) {
    world.start("controller", &format!("{} {SIM_TIME} -p prediction:=false {more}", file()));
}

/// Simulator and controller, tracking.
fn arm(index: u32, controller: &str) -> World {
    let mut world = World::new(index);
    start_simulator(&mut world, "");
    start_controller(&mut world, controller);
    world.line("controller", 0, &["tracking"]);
    world
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect()
}

fn description() -> (Robot, Dynamics) {
    common::arm()
}

/// The effort that carries the weight at `position` [Nm].
fn gravity(position: &[f64]) -> Vec<f64> {
    let mut effort = vec![0.0; JOINTS];
    description().1.gravity(position, &mut effort);
    effort
}

#[track_caller]
fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
    // All near, rather than none far: NaN is near nothing.
    let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= tolerance);
    assert!(found.len() == expected.len() && near, "{found:?} is not {expected:?} within {tolerance}");
}

// --- ending -------------------------------------------------------------------------------------------------------

#[test]
fn sigint_and_sigterm_end_every_node_with_success() {
    for (index, signal) in [Signal::SIGINT, Signal::SIGTERM].into_iter().enumerate() {
        let mut world = arm(10 + index as u32, "-p learning:=true -p accept_weights:=true");
        world.start("predictor", &format!("{} {SIM_TIME}", file()));
        world.start("learner", &format!("{} {SIM_TIME}", file()));
        world.line("predictor", 0, &["predicts"]);
        world.line("learner", 0, &["learns for"]);
        world.record(COMMANDS, ARRAY);
        world.record("/joint_states", JOINT_STATE);
        world.next("/joint_states");
        world.next(COMMANDS);
        // The controller first, so that its last word can be compared with where the robot was.
        for name in ["controller", "predictor", "learner", "simulator"] {
            let start = Instant::now();
            world.signal(name, signal);
            let status = world.end_of(name);
            println!("{signal}: {name} ended {status} after {:?}", start.elapsed());
            assert!(status.success(), "{name}: {status}");
            assert!(start.elapsed() < Duration::from_secs(5), "{name}");
            if name == "controller" {
                let last = wait("the last command", || world.take(COMMANDS).pop());
                assert_last_command(&mut world, &numbers(&last["data"]));
            }
        }
    }
}

#[test]
fn drives_that_take_velocities_or_positions_are_learned_and_stand_still_at_the_end() {
    for (index, interface) in ["velocity", "position"].into_iter().enumerate() {
        let mut world = World::new(14 + index as u32);
        let file = format!("--params-file {}", root().join(format!("config/arm_{interface}.yaml")).display());
        let commands = format!("/{interface}_controller/commands");
        world.start("simulator", &format!("{file} {}", urdf()));
        world.start(
            "controller",
            &format!("{file} {SIM_TIME} -p prediction:=false -p authority:=0.0 -p head.enabled:=true"),
        );
        world.line("controller", 0, &["tracking"]);
        world.record(SAMPLES, TRAJECTORY);
        let alone = world.tracking_error(SAMPLES, 4.0);
        world.set_parameter("/controller", "authority", json!(1.0));
        world.tracking_error(SAMPLES, 3.0);
        let learned = world.tracking_error(SAMPLES, 4.0);
        println!("{interface}: {alone} rad alone, {learned} rad with the head");
        assert!(learned < 0.4 * alone, "{interface}: {learned} of {alone}");
        world.record(&commands, ARRAY);
        world.next(&commands);
        world.signal("controller", Signal::SIGTERM);
        assert!(world.end_of("controller").success());
        let last = wait("the last command", || world.take(&commands).pop());
        if interface == "velocity" {
            assert_near(&numbers(&last["data"]), &[0.0; JOINTS], 0.0);
        }
        world.subscribe("/joint_states", JOINT_STATE);
        wait("the robot at rest", || {
            let velocity = numbers(&world.next("/joint_states")["velocity"]);
            velocity.iter().all(|velocity| velocity.abs() < 0.01).then_some(())
        });
    }
}

/// It must carry the robot's weight in a position that the robot had of late: the moving robot goes on a little.
fn assert_last_command(world: &mut World, command: &[f64]) {
    let limits = description().0.limits.effort;
    assert!(command.iter().zip(&limits).all(|(effort, limit)| effort.abs() <= *limit), "{command:?}");
    let states = world.take("/joint_states");
    let weights = states.iter().map(|state| gravity(&numbers(&state["position"])));
    let furthest = |weight: Vec<f64>| {
        command.iter().zip(weight).map(|(effort, weight)| (effort - weight).abs()).fold(0.0, f64::max)
    };
    let nearest = weights.map(furthest).fold(f64::INFINITY, f64::min);
    assert!(
        nearest < 1.0,
        "{command:?} is no nearer than {nearest} Nm to a weight in {} positions",
        states.len()
    );
}

#[test]
fn a_node_that_waits_for_the_robot_ends_too() {
    let mut world = World::new(12);
    for name in ["controller", "predictor", "learner"] {
        world.start(name, &file());
        world.line(name, 0, &["waiting for the topic robot_description"]);
        world.signal(name, Signal::SIGINT);
        assert!(world.end_of(name).success());
    }
}

// --- faults -------------------------------------------------------------------------------------------------------

const AUTHORITY: &str = "/controller/authority";

/// Waits until the share of the learned part is as `wanted`.
#[track_caller]
fn wait_for_authority(world: &mut World, wanted: impl Fn(f64) -> bool) {
    world.until(AUTHORITY, |message| wanted(message["data"].as_f64()?).then_some(()));
}

/// Waits until the arm follows its reference closely for half a second.
#[track_caller]
fn assert_tracks(world: &mut World) {
    wait("a small tracking error", || (world.tracking_error(SAMPLES, 0.5) < 0.1).then_some(()));
}

#[test]
fn a_learner_that_is_killed_or_sends_nonsense_costs_the_learned_part_only() {
    let mut world = arm(20, "-p learning:=true -p accept_weights:=true");
    world.subscribe(AUTHORITY, "std_msgs/msg/Float64");
    world.record(SAMPLES, TRAJECTORY);
    world.record("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray");
    let learner = format!("{} {SIM_TIME}", file());
    world.start("learner", &learner);
    wait_for_authority(&mut world, |share| share > 0.5);

    assert_nonsense_is_refused(&mut world);

    let before = world.log("controller").len();
    world.signal("learner", Signal::SIGKILL);
    world.line(
        "controller",
        before,
        &["WARN", "on the baseline alone", "no sign of life from the learner for 2."],
    );
    wait_for_authority(&mut world, |share| share == 0.0);
    assert_tracks(&mut world);
    wait("diagnostics that say so", || {
        let message = world.diagnostics("/controller")["message"].clone();
        message.as_str()?.contains("no sign of life from the learner").then_some(())
    });

    let before = world.log("controller").len();
    world.start("learner", &learner);
    world.line("controller", before, &["tracking"]);
    wait_for_authority(&mut world, |share| share > 0.5);
    assert_tracks(&mut world);
}

fn assert_nonsense_is_refused(world: &mut World) {
    let good = weights(0.0);
    let mut not_a_number = good.clone();
    let end = not_a_number.len() - 4;
    not_a_number[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    let mut of_another_robot = good.clone();
    let place = good.windows(6).position(|bytes| bytes == b"joint7").unwrap();
    of_another_robot[place..place + 6].copy_from_slice(b"finger");
    world.advertise("/learner/weights", BYTES);
    for (bytes, reason) in [
        (b"garbage".to_vec(), ["damaged or not safetensors", "7 bytes"]),
        (not_a_number, ["holds NaN", "output_scale"]),
        (of_another_robot, ["missing joint7", "unknown finger"]),
    ] {
        let before = world.log("controller").len();
        wait("weights that are refused", || {
            // Now and then: while other weights fade in, or newer ones come, these are not looked at.
            world.publish("/learner/weights", json!({"data": bytes}));
            std::thread::sleep(Duration::from_millis(30));
            let log = world.log("controller");
            let mut lines = log[before..].lines().filter(|line| line.contains("weights refused"));
            lines.any(|line| reason.iter().all(|part| line.contains(part))).then_some(())
        });
    }
    let revision = |world: &mut World| -> u64 {
        world.diagnostics("/controller")["model_revision"].as_str().unwrap().parse().unwrap()
    };
    let before = revision(world);
    wait("newer weights", || (revision(world) > before + 1).then_some(()));
}

#[test]
fn a_killed_predictor_costs_the_learned_part_only() {
    let mut world = arm(21, "-p prediction:=true");
    let predictor = format!("{} {SIM_TIME}", file());
    world.record(SAMPLES, TRAJECTORY);
    world.start("predictor", &predictor);
    for _ in 0..2 {
        let before = world.log("controller").len();
        wait("an arm that is not on the baseline", || {
            let log = world.log("controller");
            let last =
                log.lines().rfind(|line| line.contains("tracking") || line.contains("baseline alone"))?;
            last.contains("tracking").then_some(())
        });
        world.take(SAMPLES);
        world.line("predictor", 0, &["predicts"]);
        world.signal("predictor", Signal::SIGKILL);
        world.line("controller", before, &["WARN", "on the baseline alone", "no prediction for"]);
        assert_tracks(&mut world);
        let before = world.log("controller").len();
        world.start("predictor", &predictor);
        world.line("controller", before, &["tracking"]);
    }
}

#[test]
fn a_robot_that_falls_silent_is_held_and_goes_on() {
    let mut world = arm(22, "");
    world.subscribe("/joint_states", JOINT_STATE);
    world.record(COMMANDS, ARRAY);
    world.record(SAMPLES, TRAJECTORY);
    let before = world.log("controller").len();
    let known = world.next("/joint_states");
    world.signal("simulator", Signal::SIGSTOP);
    world.line("controller", before, &["WARN", "holding", "joint states are", "s old", "fell silent"]);
    let state = world.take("/joint_states").pop().unwrap_or(known);
    assert_near(&numbers(&world.next(COMMANDS)["data"]), &gravity(&numbers(&state["position"])), 1.0);
    world.signal("simulator", Signal::SIGCONT);
    world.line("controller", before, &["tracking"]);
    assert_tracks(&mut world);
}

// --- joint states of a foreign robot ------------------------------------------------------------------------------

/// A controller that holds the arm, and what it must command for the messages that it is sent.
struct Foreign {
    world: World,
    reader: JointStateReader,
    control: ControlLoop,
    stamp: Stamp,
}

impl Foreign {
    fn new(index: u32) -> Self {
        let mut world = World::new(index);
        // Without a simulator there is no /clock, and without a stream of messages each must stay fresh.
        let alone = "-p reference.kind:=hold -p joint_states_timeout:=300.0";
        world.start("controller", &format!("{} {} {alone}", file(), urdf()));
        world.record(COMMANDS, ARRAY);
        world.record("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray");
        world.advertise("/joint_states", JOINT_STATE);
        let (robot, dynamics) = description();
        let config = ControllerConfig {
            reference: ReferenceConfig::Hold,
            joint_states_timeout: 300.0,
            ..common::config()
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Self {
            world,
            reader: JointStateReader::new(&robot),
            control: ControlLoop::new(config, robot, dynamics).unwrap(),
            stamp: Stamp(now.as_nanos() as i64),
        }
    }

    fn send(&mut self, joints: &[&str], position: &[f64], velocity: &[f64]) {
        let stamp = json!({"sec": self.stamp.0 / 1_000_000_000, "nanosec": self.stamp.0 % 1_000_000_000});
        let position: Vec<Value> =
            position.iter().map(|q| if q.is_finite() { json!(q) } else { json!(q.to_string()) }).collect();
        let message =
            json!({"header": {"stamp": stamp}, "name": joints, "position": position, "velocity": velocity});
        self.world.publish("/joint_states", message);
    }

    /// Sends a message and waits for the command that belongs to it: that of the control loop in this process.
    #[track_caller]
    fn command_for(&mut self, joints: &[&str], position: &[f64], velocity: &[f64]) -> Vec<f64> {
        self.stamp = self.stamp + Duration::from_millis(10);
        self.send(joints, position, velocity);
        let names: Vec<String> = joints.iter().map(|&joint| joint.into()).collect();
        let state = self.reader.read(self.stamp, &names, position, velocity).unwrap();
        let mut expected = Command::zeros(Mode::Effort, JOINTS);
        drop(self.control.tick(self.stamp, Some(state), &mut expected));
        wait(&format!("the command {:?}", expected.values), || {
            let commands = self.world.take(COMMANDS);
            let limits = &self.control.robot().limits.effort;
            for command in &commands {
                let values = numbers(&command["data"]);
                let within = values.iter().zip(limits).all(|(effort, limit)| effort.abs() <= *limit);
                assert!(within && values.len() == JOINTS, "{values:?}");
            }
            commands
                .iter()
                .map(|command| numbers(&command["data"]))
                .find(|command| *command == expected.values)
        })
    }

    /// Waits until `count` messages have been rejected; the command must not have changed meanwhile.
    #[track_caller]
    fn assert_rejected(&mut self, count: u32, command: &[f64]) {
        self.world.take("/diagnostics");
        wait(&format!("{count} rejected messages"), || {
            let rejected = self.world.diagnostics("/controller")["rejected_joint_states"].clone();
            (rejected == json!(count.to_string())).then_some(())
        });
        for message in self.world.take(COMMANDS) {
            assert_eq!(numbers(&message["data"]), command);
        }
    }
}

#[test]
fn joint_states_of_any_order_and_company_give_the_same_command() {
    let mut robot = Foreign::new(30);
    let joints = ["joint1", "joint2", "joint3", "joint4", "joint5", "joint6", "joint7"];
    let start = CENTRE.map(|q| q + 0.01);
    let there = CENTRE.map(|q| q + 0.02);
    let velocity = [0.1, -0.1, 0.05, 0.04, 0.02, -0.03, 0.01];
    robot.command_for(&joints, &start, &velocity);
    let ordered = robot.command_for(&joints, &there, &velocity);

    // Wheels and fingers between the joints, in another order; no efforts were sent at all so far.
    let mixed =
        ["wheel", "joint7", "joint3", "joint1", "finger", "joint2", "joint6", "joint5", "joint4", "camera"];
    let mix = |values: &[f64]| -> Vec<f64> {
        let of =
            |name: &&str| joints.iter().position(|joint| joint == name).map_or(123.0, |joint| values[joint]);
        mixed.iter().map(of).collect()
    };
    assert_eq!(robot.command_for(&mixed, &mix(&there), &mix(&velocity)), ordered);
    // A message of another device alone changes nothing and is no fault.
    robot.stamp = robot.stamp + Duration::from_millis(10);
    robot.send(&["wheel", "finger"], &[1.0, 2.0], &[]);

    // Without velocities they are differences: moved by 0.001 rad in 10 ms, and then at rest.
    let moved = there.map(|q| q + 0.001);
    let moving = robot.command_for(&joints, &moved, &[]);
    let resting = robot.command_for(&mixed, &mix(&moved), &[]);
    assert!(moving != resting);
    assert_eq!(robot.command_for(&joints, &moved, &[0.0; JOINTS]), resting);

    let mut broken = there;
    broken[3] = f64::NAN;
    robot.stamp = robot.stamp + Duration::from_millis(10);
    robot.send(&joints, &broken, &velocity);
    robot.world.line("controller", 0, &["WARN", "joint states not used", "'joint4'", "NaN"]);
    robot.assert_rejected(1, &resting);
    let command = robot.command_for(&joints, &there, &velocity);

    // The same stamp again, with another content, and then one from the past.
    robot.send(&joints, &start, &velocity);
    robot.stamp = robot.stamp - Duration::from_millis(500);
    robot.send(&joints, &start, &velocity);
    robot.world.line("controller", 0, &["WARN", "joint states not used", "0.500000 s behind"]);
    robot.assert_rejected(2, &command);
    robot.stamp = robot.stamp + Duration::from_millis(500);

    robot.send(&joints[..6], &there[..6], &[]);
    robot.world.line("controller", 0, &["WARN", "joint states not used", "'joint7' is missing"]);
    robot.assert_rejected(3, &command);
    robot.command_for(&joints, &start, &velocity);
}

// --- what people do with a robot ----------------------------------------------------------------------------------

#[test]
fn rclpy_reads_predictions_and_commands_and_sends_trajectories() {
    let mut world = arm(40, "");
    world.start("predictor", &format!("{} {SIM_TIME} -p steps:=20 -p dt:=0.025", file()));
    let (robot, _) = description();
    world.record("/joint_states", JOINT_STATE);
    world.record("/predictor/predicted_trajectory", TRAJECTORY);
    world.record(COMMANDS, ARRAY);
    let stamp = |message: &Value| {
        let stamp = &message["header"]["stamp"];
        (stamp["sec"].as_i64().unwrap(), stamp["nanosec"].as_i64().unwrap())
    };
    let (mut measured, mut matched) = (std::collections::HashSet::new(), 0);
    wait("predictions from joint states", || {
        let predictions = world.take("/predictor/predicted_trajectory");
        std::thread::sleep(Duration::from_millis(200));
        measured.extend(world.take("/joint_states").iter().map(stamp));
        for prediction in &predictions {
            assert_eq!(prediction["joint_names"], json!(robot.joints));
            let points = prediction["points"].as_array().unwrap();
            assert_eq!(points.len(), 20);
            for (k, point) in points.iter().enumerate() {
                let time = &point["time_from_start"];
                let nanoseconds =
                    time["sec"].as_i64().unwrap() * 1_000_000_000 + time["nanosec"].as_i64().unwrap();
                assert_eq!(nanoseconds, (k as i64 + 1) * 25_000_000);
                let (position, velocity) = (numbers(&point["positions"]), numbers(&point["velocities"]));
                assert!(position.len() == JOINTS && velocity.len() == JOINTS);
                assert!(position.iter().chain(&velocity).all(|value| value.is_finite()));
            }
            matched += usize::from(measured.contains(&stamp(prediction)));
        }
        (matched >= 10).then_some(())
    });
    let command = numbers(&world.next(COMMANDS)["data"]);
    assert!(command.len() == JOINTS && command.iter().all(|effort| effort.is_finite()));

    world.ask(json!({"do": "subscribe", "topic": "/rosout", "type": "rcl_interfaces/msg/Log", "keep": 1000, "latched": true}));
    world.advertise("/controller/joint_trajectory", TRAJECTORY);
    assert_the_arm_arrives(&mut world, &robot);
    assert_wrong_trajectories_are_refused(&mut world, &robot);
}

fn way(joints: &[String], points: &[(f64, &[f64])]) -> Value {
    let points: Vec<Value> = points
        .iter()
        .map(|(time, positions)| {
            let time = json!({"sec": *time as i64, "nanosec": (time.fract() * 1e9) as i64});
            json!({"positions": positions, "time_from_start": time})
        })
        .collect();
    json!({"joint_names": joints, "points": points})
}

/// Waits for a line of the controller on /rosout, where 20 is info and 30 a warning.
#[track_caller]
fn wait_for_log(world: &mut World, level: u8, parts: &[&str]) {
    world.until("/rosout", |log| {
        let text = log["msg"].as_str()?;
        let fits = log["name"] == "controller" && log["level"] == level;
        (fits && parts.iter().all(|part| text.contains(part))).then_some(())
    });
}

fn assert_the_arm_arrives(world: &mut World, robot: &Robot) {
    let goal = [0.3, 0.6, -0.2, -1.2, 0.2, 0.8, -0.3];
    // In reverse order, for the names count.
    let joints: Vec<String> = robot.joints.iter().rev().cloned().collect();
    let reversed = |q: [f64; JOINTS]| -> Vec<f64> { q.into_iter().rev().collect() };
    let (middle, end) = (reversed(goal.map(|q| 0.5 * q)), reversed(goal));
    let message = way(&joints, &[(1.5, &middle), (2.5, &end)]);
    world.publish("/controller/joint_trajectory", message);
    wait_for_log(world, 20, &["follows a trajectory of 2.500 s"]);
    world.until("/joint_states", |state| {
        let position = numbers(&state["position"]);
        let arrived = position.iter().zip(&goal).all(|(q, goal)| (q - goal).abs() < 0.03);
        arrived.then_some(())
    });
}

fn assert_wrong_trajectories_are_refused(world: &mut World, robot: &Robot) {
    let mut joints = robot.joints.clone();
    let rest = [0.0; JOINTS];
    let backwards = way(&joints, &[(2.0, &rest), (1.0, &rest)]);
    let outside = way(&joints, &[(2.0, &[9.0; JOINTS])]);
    joints[6] = "finger".into();
    let unknown = way(&joints, &[(2.0, &rest)]);
    for (message, reason) in [(unknown, "finger"), (backwards, "time"), (outside, "joint1")] {
        world.publish("/controller/joint_trajectory", message);
        wait_for_log(world, 30, &["trajectory refused", reason]);
    }
    world.publish("/controller/joint_trajectory", json!({"joint_names": [], "points": []}));
    wait_for_log(world, 20, &["holding here"]);
    let answer = json!({"do": "call", "service": "/controller/hold", "type": "std_srvs/srv/Trigger"});
    assert_eq!(world.ask(answer)["success"], true);
}

#[test]
fn names_can_be_changed_as_for_any_node() {
    let mut world = World::new(50);
    let left = "-r __ns:=/left -r joint_states:=measured";
    let file = robot_file(&world);
    start_simulator(&mut world, &format!("{left} -r __node:=robot --params-file {file}"));
    start_controller(&mut world, &format!("{left} -p update_rate:=250.0"));
    world.start("predictor", &format!("{} {SIM_TIME} {left}", self::file()));
    world.line("controller", 0, &["tracking"]);
    world.subscribe("/left/measured", JOINT_STATE);
    world.subscribe("/left/effort_controller/commands", ARRAY);
    world.subscribe("/left/predictor/predicted_trajectory", TRAJECTORY);
    for topic in
        ["/left/measured", "/left/effort_controller/commands", "/left/predictor/predicted_trajectory"]
    {
        world.next(topic);
    }
    wait("the nodes under their names", || {
        let nodes = world.ask(json!({"do": "nodes"}));
        let nodes: Vec<&str> = nodes.as_array()?.iter().filter_map(Value::as_str).collect();
        let expected = ["/left/robot", "/left/controller", "/left/predictor"];
        expected.iter().all(|node| nodes.contains(node)).then_some(())
    });
    // From the command line, from the file by the node's name, and from the file by the node's new name.
    assert_eq!(world.get_parameter("/left/controller", "update_rate"), 250.0);
    assert_eq!(world.get_parameter("/left/controller", "gains.joint7.p"), 50.0);
    assert_eq!(world.get_parameter("/left/robot", "scenario.payload"), 0.25);
}

/// A parameter file for a simulator that is called `robot`.
fn robot_file(world: &World) -> String {
    let path = world.folder().join("robot.yaml");
    std::fs::write(&path, "robot:\n  ros__parameters:\n    scenario: {payload: 0.25}\n").unwrap();
    path.display().to_string()
}

#[test]
fn bad_parameters_end_a_node_with_one_line_that_says_what_is_wrong() {
    let mut world = World::new(51);
    let cases = [
        (
            "controller",
            "gains: {joint1: {p: high, d: 1.0}}",
            vec!["controller.gains.joint1.p", "\"high\"", "f64"],
        ),
        ("controller", "authority: 1.5", vec!["authority", "found 1.5", "expected a number from 0 to 1"]),
        ("controller", "authorty: 0.5", vec!["authorty", "expected", "authority"]),
        ("controller", "realtime: {priority: 100}", vec!["realtime.priority", "found 100", "0 to 99"]),
        ("controller", "realtime: {cpus: [1024]}", vec!["realtime.cpus", "found 1024", "below 1024"]),
        ("controller", "qos: {commands: often}", vec!["controller.qos.commands", "often", "best_effort"]),
        ("learner", "niceness: 20", vec!["niceness", "found 20", "0 to 19"]),
        ("learner", "rule: guess", vec!["learner.rule", "guess", "inverse_model"]),
        ("learner", "hidden: [0]", vec!["hidden", "found 0", "1 to 1024"]),
        ("predictor", "dt: -1.0", vec!["dt", "found -1", "above 0"]),
        ("simulator", "scenario: {payload: -1.0}", vec!["payload", "found -1", "not negative"]),
        ("simulator", "real_time_factor: fast", vec!["real_time_factor", "\"fast\"", "f64"]),
    ];
    for (index, (node, setting, parts)) in cases.iter().enumerate() {
        let path = world.folder().join(format!("bad-{index}.yaml"));
        std::fs::write(&path, format!("{node}:\n  ros__parameters:\n    {setting}\n")).unwrap();
        world.start(node, &format!("{} --params-file {}", urdf(), path.display()));
        let status = world.end_of(node);
        let log = world.log(node);
        assert!(!status.success(), "{setting}: {log}");
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains(&format!("'{node}'")) && parts.iter().all(|part| log.contains(part)), "{log}");
    }
    // what rcl itself cannot read
    let path = world.folder().join("mixed.yaml");
    std::fs::write(&path, "controller: {ros__parameters: {reference: {centre: [0.0, 1]}}}\n").unwrap();
    world.start("controller", &format!("{} --params-file {}", urdf(), path.display()));
    let (status, log) = (world.end_of("controller"), world.log("controller"));
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(["mixed.yaml", "same type", "write 0.0, not 0"].iter().all(|part| log.contains(part)), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn parameters_can_be_listed_read_and_set() {
    let mut world = arm(52, "-p reference.kind:=hold");
    let names = world.ask(json!({"do": "parameters", "node": "/controller"}));
    for name in
        ["authority", "update_rate", "gains.joint1.p", "feedforward", "constraints.trajectory", "learning"]
    {
        assert!(names.as_array().unwrap().contains(&json!(name)), "{name} is not in {names}");
    }
    assert_eq!(world.get_parameter("/controller", "feedforward"), "gravity");
    assert_eq!(world.get_parameter("/controller", "authority"), 1.0);
    let answer = world.set_parameter("/controller", "authority", json!(1.5));
    assert_eq!(answer["successful"], false);
    let reason = answer["reason"].as_str().unwrap();
    assert!(["authority", "1.5", "0 to 1"].iter().all(|part| reason.contains(part)), "{reason}");
    assert_eq!(world.get_parameter("/controller", "authority"), 1.0);
    assert_eq!(world.set_parameter("/controller", "authority", json!(0.5))["successful"], true);
    assert_eq!(world.get_parameter("/controller", "authority"), 0.5);
    assert_eq!(world.set_parameter("/controller", "autority", json!(0.5))["successful"], false);
    assert_eq!(world.set_parameter("/controller", "authority", json!("half"))["successful"], false);
    assert_eq!(world.set_parameter("/simulator", "scenario.payload", json!(-1.0))["successful"], false);

    // The weight of 1.5 kg at the tool must be carried, by the feedback where the model does not know of it.
    world.subscribe(COMMANDS, ARRAY);
    let empty = numbers(&world.next(COMMANDS)["data"]);
    assert_eq!(world.set_parameter("/simulator", "scenario.payload", json!(1.5))["successful"], true);
    let (_, mut dynamics) = description();
    dynamics.add_point_mass("tool0", 1.5, Default::default()).unwrap();
    let mut expected = vec![0.0; JOINTS];
    dynamics.gravity(&CENTRE, &mut expected);
    let added: Vec<f64> =
        expected.iter().zip(gravity(&CENTRE)).map(|(with, without)| with - without).collect();
    wait("the payload's weight in the command", || {
        let loaded = numbers(&world.next(COMMANDS)["data"]);
        let share = |joint: usize| (loaded[joint] - empty[joint]) / added[joint];
        // Friction carries a part.
        ((0.5..1.5).contains(&share(1)) && (0.5..1.5).contains(&share(3))).then_some(())
    });
}

// --- how well it tracks -------------------------------------------------------------------------------------------

/// The tracking error [rad] that simulator and control loop have in one process, over seconds 2 to 10.
fn error_without_ros() -> f64 {
    let text = std::fs::read_to_string(root().join("config/arm.yaml")).unwrap();
    let controller: ControllerConfig = read_text(&text, "config/arm.yaml", "controller").unwrap();
    let simulator: SimulatorConfig = read_text(&text, "config/arm.yaml", "simulator").unwrap();
    let urdf = std::fs::read_to_string(root().join("urdf/arm.urdf")).unwrap();
    let mut closed_loop =
        ClosedLoop::new(&urdf, simulator.arm, simulator.scenario, controller, None).unwrap();
    let squares: f64 = closed_loop.rms_by_second(10).unwrap()[2..].iter().map(|rms| rms * rms).sum();
    f64::sqrt(squares / 8.0)
}

#[test]
fn as_fast_as_the_controller_answers_it_tracks_as_in_real_time() {
    let expected = error_without_ros();
    for (index, factor) in ["1.0", "0.0"].into_iter().enumerate() {
        let mut world = World::new(70 + index as u32);
        start_simulator(&mut world, &format!("-p real_time_factor:={factor}"));
        start_controller(&mut world, "");
        world.record(SAMPLES, TRAJECTORY);
        world.line("controller", 0, &["tracking"]);
        world.tracking_error(SAMPLES, 2.0);
        let found = world.tracking_error(SAMPLES, 8.0);
        println!("factor {factor}: {:.2} mrad, without ROS {:.2}", 1e3 * found, 1e3 * expected);
        // Another part of the same endless motion, so not the very same number.
        assert!((0.7..1.4).contains(&(found / expected)), "{found} rad, without ROS {expected} rad");
        // Before the first joint states it may hold; once it tracks it must go on.
        let log = world.log("controller");
        let held =
            log.lines().skip_while(|line| !line.contains("tracking")).find(|line| line.contains("holding"));
        assert_eq!(held, None);
    }
}

/// Figures that stand in the newest diagnostics: late ticks, training steps, lags of the simulation.
fn figures(world: &mut World) -> [u64; 3] {
    world.take("/diagnostics");
    [("/controller", "missed_deadlines"), ("/learner", "steps"), ("/simulator", "lags")]
        .map(|(node, key)| world.diagnostics(node)[key].as_str().unwrap().parse().unwrap())
}

/// The tracking error over ten seconds [rad]; prints what an unusual one can be explained by.
fn explained_error(world: &mut World) -> f64 {
    let before = figures(world);
    let by_second: Vec<f64> = (0..10).map(|_| world.tracking_error(SAMPLES, 1.0)).collect();
    let after = figures(world);
    let [late, steps, lags]: [u64; 3] = std::array::from_fn(|k| after[k] - before[k]);
    let error = f64::sqrt(by_second.iter().map(|error| error * error).sum::<f64>() / 10.0);
    let by_second: Vec<String> = by_second.iter().map(|error| format!("{:.2}", 1e3 * error)).collect();
    println!("{:.2} mrad, by second {}", 1e3 * error, by_second.join(" "));
    println!("  meanwhile {late} late ticks, {steps} training steps, {lags} lags of the simulation");
    error
}

#[test]
fn learning_halves_the_tracking_error_with_and_without_a_payload() {
    let mut world = arm(60, "-p learning:=true -p accept_weights:=true -p authority:=0.0");
    world.start("learner", &format!("{} {SIM_TIME}", file()));
    world.record(SAMPLES, TRAJECTORY);
    world.record("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray");
    world.subscribe(AUTHORITY, "std_msgs/msg/Float64");
    for payload in [0.0, 1.5] {
        println!("payload {payload} kg: baseline, then learned");
        world.set_parameter("/simulator", "scenario.payload", json!(payload));
        // The learner learns from the baseline's motion, while that is measured.
        world.set_parameter("/controller", "authority", json!(0.0));
        wait_for_authority(&mut world, |share| share == 0.0);
        world.tracking_error(SAMPLES, 2.0);
        let baseline = explained_error(&mut world);
        world.set_parameter("/controller", "authority", json!(1.0));
        wait_for_authority(&mut world, |share| share == 1.0);
        let learned = explained_error(&mut world);
        assert!(learned <= 0.5 * baseline, "payload {payload}: {learned} rad, baseline {baseline} rad");
    }
}

#[test]
fn weights_are_kept_found_again_after_a_restart_and_given_back() {
    const MODEL_INFO: &str = "/controller/model_info";
    let mut world = World::new(61);
    let models = world.folder().join("models");
    let learning =
        format!("-p learning:=true -p accept_weights:=true -p models_folder:={}", models.display());
    start_simulator(&mut world, "");
    start_controller(&mut world, &learning);
    world.line("controller", 0, &["tracking"]);
    let service = |name: &str| json!({"do": "call", "service": format!("/controller/{name}"), "type": "std_srvs/srv/Trigger"});
    let answer = world.ask(service("save_model"));
    assert_eq!(answer["success"], false, "there is nothing to save yet: {answer}");

    world.start("learner", &format!("{} {SIM_TIME}", file()));
    world.ask(json!({"do": "subscribe", "topic": MODEL_INFO, "type": "std_msgs/msg/String", "keep": 1, "latched": true}));
    let info =
        |message: &Value| -> Value { serde_json::from_str(message["data"].as_str().unwrap()).unwrap() };
    let first = info(&world.next(MODEL_INFO));
    assert_eq!(first["origin"], "learner/weights");
    let answer = world.ask(service("save_model"));
    assert_eq!(answer["success"], true, "{answer}");
    let kept = || std::fs::read_dir(&models).map(Iterator::count).unwrap_or(0);
    assert!(kept() > 0, "nothing in {}", models.display());

    // Without the learner what is in use is what was kept.
    for name in ["learner", "controller"] {
        world.signal(name, Signal::SIGTERM);
        assert!(world.end_of(name).success());
    }
    start_controller(&mut world, &learning.replace("learning:=true", "learning:=false"));
    let again = world.until(MODEL_INFO, |message| {
        let info = info(message);
        (info["origin"] != "learner/weights").then_some(info)
    });
    assert_eq!(again["joints"], first["joints"]);
    assert!(again["revision"].as_u64() >= first["revision"].as_u64(), "{again}");

    // back to those before as long as there are some, and then to none
    let mut answer = world.ask(service("rollback_model"));
    for _ in 0..5 {
        assert_eq!(answer["success"], true, "{answer}");
        if answer["message"].as_str().unwrap().contains("none are in use now") {
            break;
        }
        answer = world.ask(service("rollback_model"));
    }
    world.until(MODEL_INFO, |message| (info(message)["in_use"] == "none").then_some(()));
    let start = Instant::now();
    let answer = loop {
        // until they are faded out it is still they that are given back
        let answer = world.ask(service("rollback_model"));
        if answer["success"] == false {
            break answer;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{answer}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(
        answer["message"].as_str().unwrap().starts_with("no weights of a learner are in use"),
        "{answer}"
    );
}

// --- recordings ---------------------------------------------------------------------------------------------------

/// Plays a recording of a real robot to a predictor without a model, which learns as it goes; gives what
/// `play` printed, the predictions, and the root mean square error at the horizon of 15 steps [rad or m].
fn predict_recording(
    index: u32,
    recording: &str,
    joints: &str,
    dt: f64,
) -> Option<(String, Vec<Value>, f64)> {
    let folder = data_folder()?;
    let mut world = World::new(index);
    world.record("/predictor/predicted_trajectory", TRAJECTORY);
    world.subscribe("/predictor/realised_error", ARRAY);
    world.start("predictor", &format!("-p joints:=[{joints}] -p dt:={dt} -p steps:=15"));
    world.line("predictor", 0, &["predicts"]);
    let printed = world.play(&folder.join(recording), 4.0);
    let predictions = world.take("/predictor/predicted_trajectory");
    let table = numbers(&world.next("/predictor/realised_error")["data"]);
    let [prediction, constant_velocity, _] = table[table.len() - 3..] else { panic!("{table:?}") };
    assert!(prediction < constant_velocity, "it learned nothing on the way: {table:?}");
    Some((printed, predictions, prediction))
}

#[test]
fn a_recorded_panda_is_played_and_predicted() {
    let joints: Vec<String> = (1..=7).map(|joint| format!("fer_joint{joint}")).collect();
    let bag = "bags_unisa/panda_exciting_trajectory.db3";
    let Some((printed, predictions, error)) = predict_recording(31, bag, &joints.join(","), 1.0 / 30.0)
    else {
        return;
    };
    assert!(printed.contains("played 727 messages"), "{printed}");
    assert!(predictions.len() > 50, "{} predictions in 6 s", predictions.len());
    for prediction in &predictions {
        assert_eq!(prediction["joint_names"], json!(joints));
        assert_eq!(prediction["points"].as_array().unwrap().len(), 15);
        for point in prediction["points"].as_array().unwrap() {
            assert!(numbers(&point["positions"]).iter().all(|position| position.is_finite()));
        }
    }
    // Constant velocity at 500 ms over the last 30 % of this bag: 0.0678 rad; over all of it about as much. From
    // nothing the linear path learns in its 24 s to do better.
    assert!((0.01..0.05).contains(&error), "{error}");
}

#[test]
fn a_recorded_tiago_is_played_and_predicted() {
    let joints = "torso_lift,arm_1,arm_2,arm_3,arm_4,arm_5,arm_6,arm_7";
    let table = "tiago_arm_100hz/tiago.csv.gz";
    let Some((printed, predictions, error)) = predict_recording(32, table, joints, 0.01) else { return };
    assert!(printed.contains("played 8022 messages"), "{printed}");
    assert!(predictions.len() > 200, "{} predictions in 20 s", predictions.len());
    // At 150 ms, between the 0.0017 of 100 ms and the 0.0053 of 250 ms.
    assert!((0.001..0.006).contains(&error), "{error}");
}
