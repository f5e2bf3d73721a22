//! What Nav2 asks of the controller of a base: goals of FollowPath, and a limit of the speed.

use crate::base::{base_with, orientation, quarter, twist, until_zero};
use crate::world::{ABORTED, CANCELED, SUCCEEDED, World, wait};
use serde_json::{Value, json};
use std::f64::consts::FRAC_PI_2;
use std::time::{Duration, Instant};

const TWIST: &str = "geometry_msgs/msg/TwistStamped";

/// Simulator and controller at rest.
fn base(index: u32, controller: &str) -> World {
    base_with("base.yaml", index, "", controller)
}

/// Sends a goal, which is accepted whatever becomes of it.
fn send(world: &mut World, path: Value) -> Value {
    let goal = json!({"path": path, "controller_id": "FollowPath"});
    world.send_goal("/base_controller/follow_path", "nav2_msgs/action/FollowPath", goal).unwrap()
}

fn result(world: &mut World, goal: &Value) -> (u64, i64, String, Vec<Value>) {
    world.result(goal, "error_msg")
}

#[test]
fn a_goal_of_follow_path_is_driven_to_its_end_with_feedback() {
    let mut world = base(75, "");
    world.record("/cmd_vel", TWIST);
    let goal = send(&mut world, quarter("odom"));
    let (status, code, why, feedback) = result(&mut world, &goal);
    assert_eq!((status, code, why.as_str()), (SUCCEEDED, 0, ""));
    until_zero(&mut world);
    let distances: Vec<f64> =
        feedback.iter().map(|feedback| feedback["distance_to_goal"].as_f64().unwrap()).collect();
    assert!(distances.len() > 10 && distances.is_sorted_by(|a, b| a >= b), "{distances:?}");
    assert!((1.2..1.6).contains(&distances[0]) && *distances.last().unwrap() < 0.3, "{distances:?}");
    assert!(feedback.iter().any(|feedback| feedback["speed"].as_f64().unwrap() > 0.2));

    // what cannot be followed is accepted and given up, with what is wrong with it
    let goal = send(&mut world, quarter("somewhere"));
    let (status, code, why, _) = result(&mut world, &goal);
    assert_eq!((status, code), (ABORTED, 102), "{why}");
    assert!(why.contains("'somewhere'"), "{why}");
    let goal = send(&mut world, json!({"header": {"frame_id": "odom"}}));
    let (status, code, why, _) = result(&mut world, &goal);
    assert_eq!((status, code), (ABORTED, 103), "{why}");
}

#[test]
fn a_goal_of_follow_path_ends_when_it_is_cancelled_or_something_else_is_to_be_done() {
    let mut world = base(76, "");
    world.record("/cmd_vel", TWIST);
    let moving = |message: &Value| (twist(message)[0] > 0.2).then_some(());
    let cancelled = send(&mut world, quarter("odom"));
    world.until("/cmd_vel", moving);
    let answer = world.ask(json!({"do": "cancel_goal", "number": cancelled}));
    assert_eq!(answer, json!({"return_code": 0, "goals": 1}));
    assert_eq!(result(&mut world, &cancelled).0, CANCELED);
    until_zero(&mut world);
    let answer = world.ask(json!({"do": "cancel_goal", "number": cancelled}));
    assert_eq!(answer["return_code"], 3, "it is over");

    let replaced = send(&mut world, quarter("odom"));
    world.until("/cmd_vel", moving);
    let stopped = send(&mut world, quarter("odom"));
    let (status, code, why, _) = result(&mut world, &replaced);
    assert_eq!((status, code), (ABORTED, 100));
    assert!(why.contains("something else"), "{why}");
    world.ask(json!({"do": "call", "service": "/base_controller/stop", "type": "std_srvs/srv/Trigger"}));
    let (status, code, why, _) = result(&mut world, &stopped);
    assert_eq!((status, code, why.as_str()), (ABORTED, 100, "stopped, as asked"));
    until_zero(&mut world);

    let lost = send(&mut world, quarter("odom"));
    world.until("/cmd_vel", moving);
    world.signal("base_simulator", nix::sys::signal::Signal::SIGKILL);
    let (status, code, why, _) = result(&mut world, &lost);
    assert_eq!((status, code), (ABORTED, 106));
    assert!(why.contains("odom_timeout"), "{why}");
}

#[test]
fn the_base_goes_no_faster_than_its_speed_limit() {
    let mut world = base(77, "-p progress_checker.movement_time_allowance:=8.0");
    world.record("/cmd_vel", TWIST);
    world.advertise("/speed_limit", "nav2_msgs/msg/SpeedLimit");
    world.publish("/speed_limit", json!({"speed_limit": -1.0}));
    world.line("base_controller", 0, &["WARN", "speed limit refused: -1"]);
    world.publish("/speed_limit", json!({"percentage": true, "speed_limit": 20.0}));
    world.line("base_controller", 0, &["speed is limited to 0.100 m/s"]);
    let goal = send(&mut world, quarter("odom"));
    assert_eq!(result(&mut world, &goal).0, SUCCEEDED);
    let speeds: Vec<f64> = world.take("/cmd_vel").iter().map(|message| twist(message)[0]).collect();
    let fastest = speeds.iter().copied().fold(0.0, f64::max);
    assert!((0.05..=0.1 + 1e-9).contains(&fastest), "{fastest}");

    // at a snail's pace it does not get anywhere, which somebody must know
    world.publish("/speed_limit", json!({"speed_limit": 0.01}));
    world.line("base_controller", 0, &["speed is limited to 0.010 m/s"]);
    let goal = send(&mut world, planned([1.0, 1.0], [1.0, 4.0], FRAC_PI_2));
    let (status, code, why, _) = result(&mut world, &goal);
    assert_eq!((status, code), (ABORTED, 105), "{why}");
    assert!(why.contains("progress_checker"), "{why}");
    until_zero(&mut world);

    world.publish("/speed_limit", json!({"speed_limit": 0.0}));
    world.line("base_controller", 0, &["speed is not limited any more"]);
    world.advertise("/cmd_vel_in", TWIST);
    let asked = json!({"twist": {"linear": {"x": 0.4}}});
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        world.publish("/cmd_vel_in", asked.clone());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(world.take("/cmd_vel").iter().any(|message| twist(message)[0] == 0.4));

    // whoever waits for a goal is told when there is nobody any more who pursues it
    let goal = send(&mut world, planned([1.0, 1.0], [1.0, 4.0], FRAC_PI_2));
    world.signal("base_controller", nix::sys::signal::Signal::SIGINT);
    let (status, _, why, _) = result(&mut world, &goal);
    assert_eq!((status, why.as_str()), (ABORTED, "the controller was ended"));
}

/// What a planner without orientations sends: a straight line, `yaw` of the goal alone.
fn planned(from: [f64; 2], to: [f64; 2], yaw: f64) -> Value {
    let pose = |i: usize| {
        let share = i as f64 / 20.0;
        let place = [0, 1].map(|axis| from[axis] + share * (to[axis] - from[axis]));
        let yaw = if i == 20 { yaw } else { 0.0 };
        json!({"pose": {"position": {"x": place[0], "y": place[1]}, "orientation": orientation(yaw)}})
    };
    json!({"header": {"frame_id": "odom"}, "poses": (0..=20).map(pose).collect::<Vec<_>>()})
}

#[test]
fn plans_without_orientations_are_driven_forward_and_end_looking_as_the_goal_says() {
    let mut world = base(85, "-p progress_checker.movement_time_allowance:=4.0");
    world.record("/cmd_vel", TWIST);
    world.record("/odom", "nav_msgs/msg/Odometry");
    // behind the base; anew once a second, as Nav2's behaviour tree does
    let mut goal = send(&mut world, planned([0.0; 2], [-1.0, 0.0], FRAC_PI_2));
    for _ in 0..2 {
        std::thread::sleep(Duration::from_secs(1));
        let newer = send(&mut world, planned([0.0; 2], [-1.0, 0.0], FRAC_PI_2));
        assert_eq!(result(&mut world, &goal).0, ABORTED, "a newer one is pursued");
        goal = newer;
    }
    let (status, code, why, _) = result(&mut world, &goal);
    assert_eq!((status, code), (SUCCEEDED, 0), "{why}");
    until_zero(&mut world);
    let backward = world.take("/cmd_vel").iter().map(|message| twist(message)[0]).fold(0.0, f64::min);
    assert!(backward > -0.1, "{backward}");
    let pose = world.take("/odom").last().unwrap()["pose"]["pose"].clone();
    let at = |part: &str, axis: &str| pose[part][axis].as_f64().unwrap();
    let yaw = 2.0 * at("orientation", "z").atan2(at("orientation", "w"));
    assert!((at("position", "x") + 1.0).hypot(at("position", "y")) < 0.1, "{pose}");
    assert!((yaw - FRAC_PI_2).abs() < 0.1, "{yaw}");

    // who sends a goal that cannot be pursued has given up the one before
    let given_up = send(&mut world, planned([-1.0, 0.0], [-1.0, 2.0], FRAC_PI_2));
    world.until("/cmd_vel", |message| (twist(message)[0] > 0.2).then_some(()));
    let refused = send(&mut world, quarter("somewhere"));
    assert_eq!(result(&mut world, &refused).0, ABORTED);
    assert_eq!(result(&mut world, &given_up).0, ABORTED);
    until_zero(&mut world);

    // plans that come again and again do not hide that the base gets nowhere
    world.advertise("/speed_limit", "nav2_msgs/msg/SpeedLimit");
    world.publish("/speed_limit", json!({"speed_limit": 0.01}));
    world.line("base_controller", 0, &["speed is limited to 0.010 m/s"]);
    let from = Instant::now();
    let mut goal = send(&mut world, planned([-1.0, 0.5], [-1.0, 3.0], FRAC_PI_2));
    let code = loop {
        std::thread::sleep(Duration::from_millis(700));
        let newer = send(&mut world, planned([-1.0, 0.5], [-1.0, 3.0], FRAC_PI_2));
        let (_, code, ..) = result(&mut world, &goal);
        if code != 100 || from.elapsed() > Duration::from_secs(20) {
            break code;
        }
        goal = newer;
    };
    assert_eq!(code, 105);
}

/// What tf says of where one frame lies in another.
fn transform(parent: &str, child: &str, [x, y, yaw]: [f64; 3], sec: i32) -> Value {
    json!({"transforms": [{
        "header": {"frame_id": parent, "stamp": {"sec": sec}},
        "child_frame_id": child,
        "transform": {"translation": {"x": x, "y": y}, "rotation": orientation(yaw)},
    }]})
}

#[test]
fn a_path_in_the_frame_of_a_map_is_driven_where_tf_says_that_the_map_is() {
    const TF: &str = "tf2_msgs/msg/TFMessage";
    let mut world = base(78, "");
    world.record("/odom", "nav_msgs/msg/Odometry");
    world.subscribe("/tf", TF);
    world.ask(json!({"do": "advertise", "topic": "/tf_static", "type": TF, "latched": true}));
    world.publish("/tf_static", transform("map", "odom", [1.0, 0.0, FRAC_PI_2], 0));
    let odometry = world.next("/tf")["transforms"][0].clone();
    assert_eq!(odometry["header"]["frame_id"], "odom");
    assert_eq!(odometry["child_frame_id"], "base_link");

    // the base begins at (1, 0) of the map and looks along y
    let mut path = quarter("map");
    for (i, stamped) in path["poses"].as_array_mut().unwrap().iter_mut().enumerate() {
        let angle = i as f64 / 20.0 * FRAC_PI_2;
        stamped["pose"] = json!({
            "position": {"x": angle.cos(), "y": angle.sin()},
            "orientation": orientation(angle + FRAC_PI_2),
        });
    }
    let goal = send(&mut world, path.clone());
    assert_eq!(result(&mut world, &goal).0, SUCCEEDED);
    world.line("base_controller", 0, &["follows a path", "in map"]);
    // the odometry may be heard later than the result
    wait("the base at (1, 1) of the odometry", || {
        let position = world.take("/odom").last()?["pose"]["pose"]["position"].clone();
        let is_there = |axis: &str| (position[axis].as_f64().unwrap() - 1.0).abs() < 0.1;
        (is_there("x") && is_there("y")).then_some(())
    });

    // a localization that has ended
    world.advertise("/tf", TF);
    world.publish("/tf", transform("elsewhere", "odom", [0.0; 3], 1));
    path["header"]["frame_id"] = "elsewhere".into();
    wait("a transform to be heard", || {
        let goal = send(&mut world, path.clone());
        let (status, code, why, _) = result(&mut world, &goal);
        assert_eq!((status, code), (ABORTED, 102), "{why}");
        why.contains("transform_tolerance").then_some(())
    });
}
