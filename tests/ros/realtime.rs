//! What is asked of the operating system, and waiting awake.

use crate::world::World;
use crate::{ARRAY, COMMANDS, JOINTS, SIM_TIME, file, numbers, start_controller, start_simulator};
use nix::sys::signal::Signal;
use serde_json::json;

/// CPU 1023 is on no computer that runs tests; whether a priority is allowed differs, and the node goes on either way.
#[test]
fn a_controller_that_waits_awake_tracks_goes_on_when_refused_and_ends_with_success() {
    let mut world = World::new(80);
    start_simulator(&mut world, "");
    let realtime = "-p realtime.dedicated_core:=true -p realtime.cpus:=[1023] -p qos.commands:=best_effort";
    start_controller(&mut world, realtime);
    let line = world.line("controller", 0, &["refuses realtime.cpus [1023]"]);
    assert!(line.contains("going on without") && line.contains("nproc"), "{line}");
    world.line("controller", 0, &["tracking"]);
    world.subscribe(COMMANDS, ARRAY);
    assert_eq!(numbers(&world.next(COMMANDS)["data"]).len(), JOINTS);
    // The slow inputs are heard on another thread.
    assert_eq!(world.set_parameter("/controller", "authority", json!(0.5))["successful"], true);
    let answer =
        world.ask(json!({"do": "call", "service": "/controller/hold", "type": "std_srvs/srv/Trigger"}));
    assert_eq!(answer["success"], true, "{answer}");
    // Without joint states it dozes, and notices.
    world.signal("simulator", Signal::SIGTERM);
    assert!(world.end_of("simulator").success());
    world.line("controller", 0, &["holding"]);
    world.signal("controller", Signal::SIGTERM);
    assert!(world.end_of("controller").success());
}

#[test]
fn a_learner_that_gives_way_learns() {
    let mut world = World::new(81);
    start_simulator(&mut world, "");
    start_controller(&mut world, "-p learning:=true");
    world.start("learner", &format!("{} {SIM_TIME} -p niceness:=19 -p cpus:=[0]", file()));
    world.record("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray");
    crate::wait("training steps", || {
        let steps: u64 = world.diagnostics("/learner")["steps"].as_str()?.parse().ok()?;
        (steps > 0).then_some(())
    });
    assert!(!world.log("learner").contains("refuses"), "{}", world.log("learner"));
}
