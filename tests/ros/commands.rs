//! A predictor that is told what the robot is told.

use crate::world::{World, root};
use crate::{ARRAY, JOINT_STATE, TRAJECTORY, numbers};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

/// Trains a predictor of one joint that follows commanded velocities with a lag of 0.1 s; each holds for a second, and none
/// tells the next.
fn train(folder: &Path) {
    let (mut table, mut position, mut velocity) = ("t_s,a_pos,a_vel,a_told\n".to_owned(), 0.0f64, 0.0f64);
    for step in 0..6000u32 {
        let told = f64::from((step / 100u32).wrapping_mul(2_654_435_769) >> 16 & 0xff) / 127.5 - 1.0;
        writeln!(table, "{},{position},{velocity},{told}", f64::from(step) * 0.01).unwrap();
        velocity += (told - velocity) * (1.0 - (-0.1f64).exp());
        position += 0.01 * velocity;
    }
    let file = folder.join("told.csv");
    std::fs::write(&file, table).unwrap();
    let trained = Command::new(env!("CARGO_BIN_EXE_learned_control"))
        .args(["train", "--only", "predictor", "--dt", "0.02", "--horizon", "0.3", "--steps", "20"])
        .args(["--commands", "a=:a_told", "--out"])
        .args([folder, &file])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
}

/// Keeps the joint at rest while it is told to move at each of `told` [rad/s], if to anything; gives what is predicted last for
/// the end of the horizon [rad].
fn foreseen(world: &mut World, told: Option<f64>) -> f64 {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        if let Some(told) = told {
            world.publish("/told", json!({"data": [told]}));
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let stamp = json!({"sec": now.as_secs(), "nanosec": now.subsec_nanos()});
        let state = json!({"header": {"stamp": stamp}, "name": ["a"], "position": [0.0], "velocity": [0.0]});
        world.publish("/joint_states", state);
        std::thread::sleep(Duration::from_millis(5));
    }
    let predictions: Vec<Value> = world.take("/predictor/predicted_trajectory");
    numbers(&predictions.last().unwrap()["points"].as_array().unwrap().last().unwrap()["positions"])[0]
}

#[test]
fn a_robot_that_is_told_to_move_is_predicted_to_move_until_commands_stay_away() {
    let mut world = World::new(90);
    train(world.folder());
    let model = world.folder().join("predictor.safetensors");
    world.record("/predictor/predicted_trajectory", TRAJECTORY);
    world.record("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray");
    let told = "-p command_topic:=/told -p command_kind:=velocity -p adapt:=false";
    world.start("predictor", &format!("-p joints:=[a] -p model_file:={} {told}", model.display()));
    world.line("predictor", 0, &["listens to commands of velocity of a on /told"]);
    world.advertise("/joint_states", JOINT_STATE);
    world.advertise("/told", ARRAY);
    let moving = foreseen(&mut world, Some(1.0));
    assert_eq!(world.diagnostics("/predictor")["told"], "true");
    let resting = foreseen(&mut world, Some(0.0));
    // within 0.3 s with a lag of 0.1 s: 0.2 rad at 1 rad/s
    assert!((0.1..0.3).contains(&(moving - resting)), "{moving} {resting}");
    world.publish("/told", json!({"data": [1.0, 2.0]}));
    world.line("predictor", 0, &["command on /told not used", "found 2, expected 1"]);
    let silent = foreseen(&mut world, None);
    world.line("predictor", 0, &["no command on /told within 0.5 s"]);
    assert!(silent.abs() < 0.05, "{silent}");
}
