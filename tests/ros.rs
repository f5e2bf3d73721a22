//! The nodes as processes over DDS, as `ros2 launch` starts them, watched by a node of rclpy.
//!
//! Nothing here asserts how fast something happens: waits poll, with generous deadlines.

#![cfg(all(feature = "ros", feature = "sim"))]

mod common;
#[path = "ros/world.rs"]
mod world;

use common::{JOINTS, weights};
use learned_control::robot::{Dynamics, Robot};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::Instant;
use world::{World, root, wait};

const JOINT_STATE: &str = "sensor_msgs/msg/JointState";
const ARRAY: &str = "std_msgs/msg/Float64MultiArray";
const TRAJECTORY: &str = "trajectory_msgs/msg/JointTrajectory";
const BYTES: &str = "std_msgs/msg/UInt8MultiArray";
const COMMANDS: &str = "/effort_controller/commands";
const SAMPLES: &str = "/controller/learning_sample";
const CENTRE: [f64; JOINTS] = [0.0, 0.4, 0.0, -1.4, 0.0, 1.0, 0.0];
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

fn start_controller(world: &mut World, more: &str) {
    world.start("controller", &format!("{} {SIM_TIME} {more}", file()));
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
    let far = found.iter().zip(expected).any(|(found, expected)| !((found - expected).abs() <= tolerance));
    assert!(found.len() == expected.len() && !far, "{found:?} is not {expected:?} within {tolerance}");
}

// --- ending -------------------------------------------------------------------------------------------------------

#[test]
fn sigint_and_sigterm_end_every_node_with_success() {
    for (index, signal) in [Signal::SIGINT, Signal::SIGTERM].into_iter().enumerate() {
        let mut world = arm(10 + index as u32, "-p learning:=true");
        world.start("predictor", &format!("{} {SIM_TIME}", file()));
        world.start("learner", &format!("{} {SIM_TIME}", file()));
        world.line("predictor", 0, &["predicts"]);
        world.line("learner", 0, &["learns for"]);
        world.record(COMMANDS, ARRAY);
        world.subscribe("/joint_states", JOINT_STATE);
        world.next(COMMANDS);
        // The controller first, so that its last word can be compared with where the robot is.
        for name in ["controller", "predictor", "learner", "simulator"] {
            let start = Instant::now();
            world.signal(name, signal);
            let status = world.end_of(name);
            println!("{signal}: {name} ended {status} after {:?}", start.elapsed());
            assert!(status.success(), "{name}: {status}");
            if name == "controller" {
                let last = wait("the last command", || world.take(COMMANDS).pop());
                assert_last_command(&mut world, &numbers(&last["data"]));
            }
        }
    }
}

/// It must carry the robot's weight: the robot hardly moves in the time that it takes to end.
fn assert_last_command(world: &mut World, command: &[f64]) {
    let limits = description().0.limits.effort;
    assert!(command.iter().zip(&limits).all(|(effort, limit)| effort.abs() <= *limit), "{command:?}");
    let state = world.next("/joint_states");
    let weight = gravity(&numbers(&state["position"]));
    assert_near(command, &weight, 8.0);
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
