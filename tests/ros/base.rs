//! The nodes of a mobile base: along a path, between another controller and the base, and when something falls silent.

use crate::world::{World, root, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const TWIST: &str = "geometry_msgs/msg/TwistStamped";
const BARE: &str = "geometry_msgs/msg/Twist";
const PATH: &str = "nav_msgs/msg/Path";
const ODOMETRY: &str = "nav_msgs/msg/Odometry";
const REFERENCE: &str = "/base_controller/reference_path";

/// Simulator and controller, at rest. Measured exactly, so that what is asserted is the controllers' doing.
fn base(index: u32, more: &str) -> World {
    base_of("base.yaml", index, more)
}

/// The same of the base in another file of config/.
fn base_of(config: &str, index: u32, more: &str) -> World {
    base_with(config, index, more, more)
}

/// The same, with more for the simulator and for the controller.
pub fn base_with(config: &str, index: u32, simulator: &str, controller: &str) -> World {
    let mut world = World::new(index);
    let file = format!("--params-file {}", root().join("config").join(config).display());
    let urdf = format!("-p urdf:={}", root().join("urdf/base.urdf").display());
    let exact = "-p scenario.position_noise:=0.0 -p scenario.yaw_noise:=0.0";
    world.start("base_simulator", &format!("{file} {urdf} {exact} {simulator}"));
    world.start("base_controller", &format!("{file} -p use_sim_time:=true {controller}"));
    world.line("base_controller", 0, &["at rest"]);
    world
}

pub fn orientation(yaw: f64) -> Value {
    let (sin, cos) = (0.5 * yaw).sin_cos();
    json!({"z": sin, "w": cos})
}

/// A quarter of a circle of 1 m radius to the left, without stamps.
pub fn quarter(frame: &str) -> Value {
    let pose = |i: u32| {
        let angle = f64::from(i) / 20.0 * std::f64::consts::FRAC_PI_2;
        json!({"pose": {
            "position": {"x": angle.sin(), "y": 1.0 - angle.cos()},
            "orientation": orientation(angle),
        }})
    };
    json!({"header": {"frame_id": frame}, "poses": (0..=20).map(pose).collect::<Vec<_>>()})
}

/// Forward speed and turn of a twist.
pub fn twist(message: &Value) -> [f64; 2] {
    let twist = &message["twist"];
    [&twist["linear"]["x"], &twist["angular"]["z"]].map(|value| value.as_f64().unwrap())
}

/// Waits until the newest twists are zero.
#[track_caller]
pub fn until_zero(world: &mut World) {
    wait("a twist of zero", || (twist(world.take("/cmd_vel").last()?) == [0.0; 2]).then_some(()));
}

#[test]
fn a_base_drives_along_a_path_and_stops_at_its_end() {
    let mut world = base(80, "");
    world.record("/cmd_vel", TWIST);
    world.record("/odom", ODOMETRY);
    world.subscribe("/joint_states", "sensor_msgs/msg/JointState");
    world.advertise(REFERENCE, PATH);
    world.publish(REFERENCE, quarter("map"));
    world.line("base_controller", 0, &["path refused", "'map'", "'odom'"]);
    world.publish(REFERENCE, quarter("odom"));
    world.line("base_controller", 0, &["follows a path"]);
    let first = world.until("/cmd_vel", |message| (twist(message)[0] > 0.2).then(|| message.clone()));
    assert_eq!(first["header"]["frame_id"], "base_link");
    let from = world.log("base_controller").len();
    world.line("base_controller", from, &["at rest"]);
    until_zero(&mut world);
    let odometry = world.next("/odom");
    assert_eq!(
        (&odometry["header"]["frame_id"], &odometry["child_frame_id"]),
        (&json!("odom"), &json!("base_link"))
    );
    assert!(odometry["pose"]["covariance"][0].as_f64().unwrap() > 0.0);
    let position = &odometry["pose"]["pose"]["position"];
    for axis in ["x", "y"] {
        let error = position[axis].as_f64().unwrap() - 1.0;
        assert!(error.abs() < 0.1, "{position}");
    }
    let wheels = world.next("/joint_states");
    assert_eq!(wheels["name"], json!(["left_wheel_joint", "right_wheel_joint"]));
    // the right wheel goes the longer way: 1.18 m against 0.82 m
    let turned = |wheel: usize| wheels["position"][wheel].as_f64().unwrap();
    assert!(turned(1) > 1.3 * turned(0) && turned(0) > 5.0, "{wheels}");
}

#[test]
fn what_another_controller_asks_for_is_passed_on_until_it_falls_silent() {
    let mut world = base(81, "");
    world.record("/cmd_vel", TWIST);
    world.advertise("/cmd_vel_in", TWIST);
    let asked = json!({"twist": {"linear": {"x": 0.3}, "angular": {"z": 0.4}}});
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        world.publish("/cmd_vel_in", asked.clone());
        std::thread::sleep(Duration::from_millis(50));
    }
    let sent: Vec<[f64; 2]> = world.take("/cmd_vel").iter().map(twist).collect();
    assert!(sent.contains(&[0.3, 0.4]), "{sent:?}");
    world.line("base_controller", 0, &["stopped", "cmd_vel_timeout"]);
    until_zero(&mut world);
}

#[test]
fn twists_of_one_type_are_passed_on_as_those_of_the_other() {
    let mut world = base_with("base.yaml", 89, "", "-p cmd_vel_in_type:=twist");
    world.record("/cmd_vel", TWIST);
    world.advertise("/cmd_vel_in", BARE);
    let asked = json!({"linear": {"x": 0.3}, "angular": {"z": 0.4}});
    wait("the twist that was asked for", || {
        world.publish("/cmd_vel_in", asked.clone());
        std::thread::sleep(Duration::from_millis(50));
        world.take("/cmd_vel").iter().any(|message| twist(message) == [0.3, 0.4]).then_some(())
    });
}

#[test]
fn a_base_without_odometry_is_stopped_and_twists_without_stamps_will_do() {
    let mut world = base(82, "-p enable_stamped_cmd_vel:=false");
    world.ask(json!({"do": "subscribe", "topic": "/cmd_vel", "type": BARE, "keep": 5000}));
    world.advertise(REFERENCE, PATH);
    world.publish(REFERENCE, quarter("odom"));
    let moving = |message: &Value| (message["linear"]["x"].as_f64()? > 0.2).then_some(());
    world.until("/cmd_vel", moving);
    world.signal("base_simulator", Signal::SIGKILL);
    world.line("base_controller", 0, &["stopped", "odom_timeout"]);
    wait("a twist of zero", || (world.take("/cmd_vel").last()?["linear"]["x"] == 0.0).then_some(()));
    world.signal("base_controller", Signal::SIGINT);
    assert!(world.end_of("base_controller").success());
}

#[test]
fn a_base_that_is_ended_while_it_moves_is_left_at_rest() {
    let mut world = base(83, "");
    world.record_reliably("/cmd_vel", TWIST);
    world.advertise(REFERENCE, PATH);
    world.publish(REFERENCE, quarter("odom"));
    world.until("/cmd_vel", |message| (twist(message)[0] > 0.2).then_some(()));
    world.signal("base_controller", Signal::SIGTERM);
    assert!(world.end_of("base_controller").success());
    until_zero(&mut world);
    world.signal("base_simulator", Signal::SIGTERM);
    assert!(world.end_of("base_simulator").success());
}

#[test]
fn where_the_base_will_be_is_a_path_with_stamps() {
    let mut world = base(84, "");
    world.start("base_predictor", "-p use_sim_time:=true");
    world.line("base_predictor", 0, &["predicts a base 50 x 0.100 s ahead"]);
    world.subscribe("/base_predictor/predicted_path", PATH);
    world.advertise("/cmd_vel_in", TWIST);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        world.publish("/cmd_vel_in", json!({"twist": {"linear": {"x": 0.3}, "angular": {"z": 0.0}}}));
        std::thread::sleep(Duration::from_millis(50));
    }
    let path = world.next("/base_predictor/predicted_path");
    let poses = path["poses"].as_array().unwrap();
    assert_eq!((poses.len(), &path["header"]["frame_id"]), (50, &json!("odom")));
    let seconds = |header: &Value| {
        header["stamp"]["sec"].as_f64().unwrap() + 1e-9 * header["stamp"]["nanosec"].as_f64().unwrap()
    };
    let ahead = seconds(&poses[9]["header"]) - seconds(&path["header"]);
    assert!((ahead - 1.0).abs() < 1e-6, "{ahead}");
    let x = |pose: &Value| pose["pose"]["position"]["x"].as_f64().unwrap();
    // 0.29 m/s or so for a second, or less where the last message is of the base that slows down again
    let way = x(&poses[9]) - x(&poses[0]);
    assert!((0.15..0.35).contains(&way), "{way}");
}

#[test]
fn a_base_takes_the_weights_of_its_learner_keeps_them_and_misses_it() {
    const NETWORK_INFO: &str = "/base_controller/network_info";
    let folder = tempfile::tempdir().unwrap();
    let learning =
        format!("-p learning:=true -p accept_weights:=true -p models_folder:={}", folder.path().display());
    let mut world = World::new(88);
    let file = format!("--params-file {}", root().join("config/base.yaml").display());
    let urdf = root().join("urdf/base.urdf");
    let wheels = "-p scenario.wheel_scale:=[0.8,1.0]";
    world.start("base_simulator", &format!("{file} -p urdf:={} {wheels}", urdf.display()));
    world.start("base_controller", &format!("{file} -p use_sim_time:=true {learning}"));
    world.line("base_controller", 0, &["at rest"]);
    world.start("base_learner", &format!("{file} -p use_sim_time:=true"));
    world.line("base_learner", 0, &["learns for", "yaw"]);
    world.advertise("/cmd_vel_in", TWIST);
    world.ask(json!({"do": "subscribe", "topic": NETWORK_INFO, "type": "std_msgs/msg/String", "keep": 1, "latched": true}));
    let start = Instant::now();
    let info = loop {
        let time = start.elapsed().as_secs_f64();
        let (x, turn) = (0.3 + 0.1 * (0.7 * time).sin(), 0.8 * (1.1 * time).sin());
        world.publish("/cmd_vel_in", json!({"twist": {"linear": {"x": x}, "angular": {"z": turn}}}));
        if let Some(message) = world.take(NETWORK_INFO).pop() {
            break serde_json::from_str::<Value>(message["data"].as_str().unwrap()).unwrap();
        }
        assert!(time < 60.0, "no weights within a minute: {}", world.log("base_controller"));
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!((&info["origin"], &info["kind"]), (&json!("base_learner/weights"), &json!("controller")));
    assert_eq!((&info["joints"], &info["space"]), (&json!(["x", "y", "yaw"]), &json!("planar_base")));
    let saved = world
        .ask(json!({"do": "call", "service": "/base_controller/save_model", "type": "std_srvs/srv/Trigger"}));
    assert!(saved["message"].as_str().unwrap().contains("base_network_000001"), "{saved}");
    world.signal("base_learner", Signal::SIGKILL);
    let from = world.log("base_controller").len();
    let start = Instant::now();
    while !world.log("base_controller")[from..].contains("no sign of life from the learner") {
        world.publish("/cmd_vel_in", json!({"twist": {"linear": {"x": 0.2}, "angular": {"z": 0.1}}}));
        assert!(start.elapsed() < Duration::from_secs(20), "{}", world.log("base_controller"));
        std::thread::sleep(Duration::from_millis(50));
    }
    world.signal("base_controller", Signal::SIGTERM);
    assert!(world.end_of("base_controller").success());
    // without a learner what is in use is what was kept
    let kept = learning.replace("learning:=true", "learning:=false");
    world.start("base_controller", &format!("{file} -p use_sim_time:=true {kept}"));
    world.line("base_controller", 0, &["weights of", "base_network_0000", "the newest that were kept"]);
}

#[test]
fn a_car_and_a_base_for_all_directions_do_what_is_asked() {
    for (index, config, asked) in
        [(85, "base_ackermann.yaml", [0.5, 0.0, 0.25]), (86, "base_omnidirectional.yaml", [0.2, -0.3, 0.4])]
    {
        let mut world = base_of(config, index, "");
        world.record("/odom", ODOMETRY);
        world.advertise("/cmd_vel_in", TWIST);
        let [x, y, turn] = asked;
        let message = json!({"twist": {"linear": {"x": x, "y": y}, "angular": {"z": turn}}});
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            world.publish("/cmd_vel_in", message.clone());
            std::thread::sleep(Duration::from_millis(50));
        }
        let achieved = |message: &Value| {
            let twist = &message["twist"]["twist"];
            [&twist["linear"]["x"], &twist["linear"]["y"], &twist["angular"]["z"]]
                .map(|value| value.as_f64().unwrap())
        };
        let all: Vec<[f64; 3]> = world.take("/odom").iter().map(achieved).collect();
        let near = |twist: &[f64; 3]| twist.iter().zip(asked).all(|(a, b)| (a - b).abs() < 0.05);
        assert!(all.iter().filter(|twist| near(twist)).count() > 20, "{config}: {:?}", all.last());
    }
}

#[test]
fn what_a_base_has_learned_is_kept_and_found_again_after_a_restart() {
    const MODEL_INFO: &str = "/base_controller/model_info";
    let service = |name: &str, kind: &str, request: Value| {
        let (service, kind) = (format!("/base_controller/{name}"), format!("std_srvs/srv/{kind}"));
        json!({"do": "call", "service": service, "type": kind, "request": request})
    };
    let folder = tempfile::tempdir().unwrap();
    let learning = format!("-p head.enabled:=true -p models_folder:={}", folder.path().display());
    let mut world = base(87, "");
    world.signal("base_controller", Signal::SIGTERM);
    assert!(world.end_of("base_controller").success());
    let file = format!("--params-file {}", root().join("config/base.yaml").display());
    let controller = format!("{file} -p use_sim_time:=true {learning}");
    world.start("base_controller", &controller);
    world.line("base_controller", 0, &["at rest"]);
    let answer = world.ask(service("save_model", "Trigger", json!({})));
    assert_eq!(answer["success"], true, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("base_controller_000001"), "{answer}");
    let frozen = world.ask(service("enable_learning", "SetBool", json!({"data": false})));
    assert!(frozen["message"].as_str().unwrap().contains("frozen"), "{frozen}");
    world.signal("base_controller", Signal::SIGTERM);
    assert!(world.end_of("base_controller").success());

    world.start("base_controller", &controller);
    world.ask(json!({"do": "subscribe", "topic": MODEL_INFO, "type": "std_msgs/msg/String", "keep": 1, "latched": true}));
    let info: Value = serde_json::from_str(world.next(MODEL_INFO)["data"].as_str().unwrap()).unwrap();
    assert!(info["origin"].as_str().unwrap().ends_with("base_controller_000002.safetensors"), "{info}");
    assert_eq!((&info["kind"], &info["revision"]), (&json!("base_controller"), &json!(2)));
    let answer = world.ask(service("rollback_model", "Trigger", json!({})));
    assert!(answer["message"].as_str().unwrap().contains("base_controller_000001"), "{answer}");
}
