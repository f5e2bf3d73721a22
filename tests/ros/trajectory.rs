//! Goals of FollowJointTrajectory, as MoveIt and others send them to an arm's controller.

use crate::common::CENTRE;
use crate::world::{ABORTED, CANCELED, SUCCEEDED, World};
use crate::{TRAJECTORY, arm, description, numbers, way};
use serde_json::{Value, json};
use std::time::Duration;

/// A motion of all joints to `offset` [rad] beside the centre in `seconds`.
fn motion(offset: f64, seconds: f64) -> Value {
    way(&description().0.joints, &[(seconds, &CENTRE.map(|centre| centre + offset))])
}

fn send(world: &mut World, goal: Value) -> Option<Value> {
    world.send_goal("/controller/follow_joint_trajectory", "control_msgs/action/FollowJointTrajectory", goal)
}

fn result(world: &mut World, goal: &Value) -> (u64, i64, String, Vec<Value>) {
    world.result(goal, "error_string")
}

fn tolerance(joint: &str, position: f64) -> Value {
    json!([{"name": joint, "position": position}])
}

#[test]
fn a_goal_is_reached_within_its_tolerances_with_feedback() {
    let mut world = arm(65, "");
    let goal = json!({"trajectory": motion(0.2, 2.0), "goal_tolerance": tolerance("joint4", 0.05)});
    let goal = send(&mut world, goal).unwrap();
    let (status, code, why, feedback) = result(&mut world, &goal);
    assert_eq!((status, code, why.as_str()), (SUCCEEDED, 0, ""));
    assert!(feedback.len() > 10, "{}", feedback.len());
    let last = feedback.last().unwrap();
    assert_eq!(last["joint_names"], json!(description().0.joints));
    let of = |point: &str| numbers(&last[point]["positions"]);
    let (desired, actual, error) = (of("desired"), of("actual"), of("error"));
    for joint in 0..7 {
        assert!((desired[joint] - CENTRE[joint] - 0.2).abs() < 0.05, "{last}");
        assert!((desired[joint] - actual[joint] - error[joint]).abs() < 1e-9, "{last}");
    }

    // what it does is there to be watched, too
    world.subscribe("/controller/controller_state", "control_msgs/msg/JointTrajectoryControllerState");
    let state = world.next("/controller/controller_state");
    let of = |part: &str, quantity: &str| numbers(&state[part][quantity]);
    crate::assert_near(&of("reference", "positions"), &CENTRE.map(|centre| centre + 0.2), 1e-9);
    crate::assert_near(&of("output", "effort"), &crate::gravity(&of("feedback", "positions")), 5.0);
    assert_eq!((of("error", "velocities").len(), &state["speed_scaling_factor"]), (7, &json!(1.0)));

    let mut wrong = motion(0.0, 1.0);
    wrong["joint_names"][2] = "finger".into();
    assert_eq!(send(&mut world, json!({"trajectory": wrong})), None);
    world.line("controller", 0, &["WARN", "goal of FollowJointTrajectory refused", "finger"]);
    let unknown = json!({"trajectory": motion(0.0, 1.0), "path_tolerance": tolerance("finger", 0.1)});
    assert_eq!(send(&mut world, unknown), None);

    // whoever waits for a goal is told when there is nobody any more who pursues it
    let goal = send(&mut world, json!({"trajectory": motion(0.0, 20.0)})).unwrap();
    // the peer has asked for its result by then
    std::thread::sleep(Duration::from_millis(200));
    world.signal("controller", nix::sys::signal::Signal::SIGINT);
    let (status, _, why, _) = result(&mut world, &goal);
    assert_eq!((status, why.as_str()), (ABORTED, "the controller was ended"));
}

#[test]
fn a_goal_that_is_missed_cancelled_or_replaced_says_so() {
    let mut world = arm(66, "-p constraints.goal_time:=0.3");
    let strict = json!({"trajectory": motion(0.2, 1.0), "path_tolerance": tolerance("joint2", 1e-6)});
    let goal = send(&mut world, strict).unwrap();
    let (status, code, why, _) = result(&mut world, &goal);
    assert_eq!((status, code), (ABORTED, -4), "{why}");
    assert!(why.contains("'joint2'") && why.contains("tolerance 0.0000"), "{why}");
    world.line("controller", 0, &["WARN", "holds here", "'joint2'"]);

    let strict = json!({"trajectory": motion(0.1, 0.5), "goal_tolerance": tolerance("joint4", 1e-7)});
    let goal = send(&mut world, strict).unwrap();
    let (status, code, why, _) = result(&mut world, &goal);
    assert_eq!((status, code), (ABORTED, -5), "{why}");
    assert!(why.contains("'joint4'"), "{why}");

    let goal = send(&mut world, json!({"trajectory": motion(-0.1, 20.0)})).unwrap();
    let answer = world.ask(json!({"do": "cancel_goal", "number": goal}));
    assert_eq!(answer, json!({"return_code": 0, "goals": 1}));
    assert_eq!(result(&mut world, &goal).0, CANCELED);
    world.line("controller", 0, &["holds here", "cancelled"]);

    let replaced = send(&mut world, json!({"trajectory": motion(0.1, 20.0)})).unwrap();
    let newer = send(&mut world, json!({"trajectory": motion(0.2, 20.0)})).unwrap();
    let (status, code, why, _) = result(&mut world, &replaced);
    assert_eq!((status, code, why.as_str()), (ABORTED, -1, "a newer goal came"));
    world.advertise("/controller/joint_trajectory", TRAJECTORY);
    world.publish("/controller/joint_trajectory", motion(0.0, 20.0));
    let (status, _, why, _) = result(&mut world, &newer);
    assert!(status == ABORTED && why.contains("~/joint_trajectory"), "{status} {why}");

    let held = send(&mut world, json!({"trajectory": motion(0.1, 20.0)})).unwrap();
    world.signal("simulator", nix::sys::signal::Signal::SIGKILL);
    let (status, _, why, _) = result(&mut world, &held);
    assert!(status == ABORTED && why.contains("joint states are"), "{status} {why}");
}
