//! The main job end to end: `learned_control demo` with all its processes over DDS, judged by the figures it writes.

#![cfg(all(feature = "ros", feature = "sim"))]

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

/// One demo at a time: two cores cannot run four arms in real time.
static SERIAL: Mutex<()> = Mutex::new(());

/// Runs a shorter demo on a ROS domain of its own; gives what it printed and demo.json.
fn run_demo(output: &Path, more: &[&str]) -> (String, Value) {
    run("demo", output, "demo.json", more)
}

/// Runs the program's command `demo`, which writes `file`.
fn run(demo: &str, output: &Path, file: &str, more: &[&str]) -> (String, Value) {
    let _serial = SERIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let domain = 1 + std::process::id() % 100;
    let demo = Command::new(env!("CARGO_BIN_EXE_learned_control"))
        .args([demo, "--output"])
        .arg(output)
        .args(more)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("ROS_DOMAIN_ID", domain.to_string())
        .env("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
        .env("FASTRTPS_DEFAULT_PROFILES_FILE", "tests/loopback.xml")
        .output()
        .expect("the demo starts");
    let (text, errors) = (String::from_utf8_lossy(&demo.stdout), String::from_utf8_lossy(&demo.stderr));
    assert!(demo.status.success(), "{}\n{text}\n{errors}", demo.status);
    let json = std::fs::read_to_string(output.join(file)).expect(file);
    (text.into_owned(), serde_json::from_str(&json).expect("valid JSON"))
}

fn figure(json: &Value, path: &str) -> f64 {
    json.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} is no number in {json:#}"))
}

#[test]
fn the_tracking_error_at_least_halves_before_and_after_the_payload() {
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo");
    let (text, json) = run_demo(&output, &["--seconds", "40"]);

    for window in ["before", "after"] {
        let baseline = figure(&json, &format!("/tracking/baseline/{window}_rms_rad"));
        let learned = figure(&json, &format!("/tracking/learned/{window}_rms_rad"));
        assert!(baseline > 1e-3, "the baseline's error {baseline} rad is no error to learn from");
        assert!(
            learned <= 0.5 * baseline,
            "{window}: learned {learned} rad, baseline {baseline} rad\n{text}"
        );
    }
    for since in ["start", "change"] {
        let halved = figure(&json, &format!("/tracking/halved_after_s/{since}"));
        assert!(halved <= 15.0, "halved only {halved} s after the {since}\n{text}");
    }
    for horizon in ["0.10", "0.20", "0.50"] {
        let skill = figure(&json, &format!("/prediction/skill_by_horizon/{horizon}"));
        assert!(skill > 0.2, "skill {skill} at {horizon} s\n{text}");
    }
    let first = figure(&json, "/prediction/skill_by_horizon/0.01");
    assert!(first > -0.02, "worse than constant velocity at one step: {first}");
    for part in ["tick", "round_trip"] {
        assert!(figure(&json, &format!("/timing/{part}/p50_us")) > 0.0);
        assert!(figure(&json, &format!("/timing/{part}/p99_us")) > 0.0);
    }
    assert_eq!(figure(&json, "/seed"), 1.0);
    assert!(json["revision"].is_string());
    assert!(text.contains("Tracking error") && text.contains("Prediction error"), "{text}");
    agrees_in_real_time(&json, &text);
    let page = std::fs::read_to_string(output.join("demo.html")).expect("demo.html");
    assert!(page.contains("<svg") && !page.contains("src=\"http"), "the page holds its plots itself");
}

const WINDOWS: [&str; 4] = ["start_0_2", "start_2_10", "change_0_1", "change_3_10"];

/// In real time: the median over tenths of a second of live error over error without ROS, so that moments in which the
/// computer did something else do not count. Of the arm that learns only until the change: how soon it is noticed depends on
/// the noise of single ticks, so that one command that comes 1 ms late may make the second after it three times as good or as
/// bad. In lock step that is compared too.
fn agrees_in_real_time(json: &Value, text: &str) {
    for (arm, window) in ["baseline", "learned"].iter().flat_map(|arm| WINDOWS.map(|window| (arm, window))) {
        if *arm == "learned" && window.starts_with("change") {
            continue;
        }
        let ratio = figure(json, &format!("/without_ros/{arm}/{window}/median_ratio"));
        assert!((ratio - 1.0).abs() <= 0.2, "{arm} {window}: {ratio} of the error without ROS\n{text}");
    }
}

/// Root mean square errors in every window, of both arms, within `tolerance` of those without ROS; in lock step no answer
/// is late, however busy the computer. Both runs have the same noise, so that small errors need no floor.
fn agrees(controller: &str, tolerance: f64) {
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo");
    let more = ["--seconds", "24", "--controller", controller, "--lock-step"];
    let (text, json) = run_demo(&output, &more);
    for (arm, window) in ["baseline", "learned"].iter().flat_map(|arm| WINDOWS.map(|window| (arm, window))) {
        let figure = |name: &str| figure(&json, &format!("/without_ros/{arm}/{window}/{name}"));
        let (live, without_ros) = (figure("live_rms_rad"), figure("without_ros_rms_rad"));
        assert!(
            (live / without_ros - 1.0).abs() <= tolerance,
            "{arm} {window}: {live} rad, without ROS {without_ros} rad\n{text}"
        );
    }
    let settled = figure(&json, "/without_ros/learned/change_3_10/live_rms_rad");
    let baseline = figure(&json, "/without_ros/baseline/change_3_10/live_rms_rad");
    assert!(settled < 0.1 * baseline, "nothing was learned: {settled} rad of {baseline} rad\n{text}");
}

/// Nothing but the head learns, in the tick: what the nodes do is what the core does, but for joint states that may get lost
/// before the first command lets the arm go.
#[test]
fn the_head_leaves_the_same_error_through_the_nodes_as_without_ros() {
    agrees("head", 0.05);
}

/// Backprop runs beside it in a process of its own, at a pace of its own.
#[test]
fn the_whole_stack_leaves_the_same_error_through_the_nodes_as_without_ros() {
    agrees("full", 0.2);
}

#[test]
fn a_base_that_learns_keeps_to_its_path_as_its_wheels_and_motors_change() {
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo-base");
    let more = ["--changes", "wheel_radius,motor_lag"];
    let (text, json) = run("demo-base", &output, "demo_base.json", &more);
    for (index, change) in ["nominal", "wheel_radius", "motor_lag"].into_iter().enumerate() {
        assert_eq!(json["tracking"][index]["change"], change);
        for (quantity, least) in [("cross_track_rms_m", 3e-3), ("heading_rms_rad", 0.01)] {
            let rms = |base: &str| figure(&json, &format!("/tracking/{index}/{base}/{quantity}"));
            let (baseline, learned) = (rms("baseline"), rms("learned"));
            assert!(baseline > least, "{baseline} is no error to learn from\n{text}");
            assert!(learned < 0.6 * baseline, "{change}, {quantity}: {learned} of {baseline}\n{text}");
        }
    }
    let predictions = json["prediction"].as_array().expect("predictions");
    let farthest = predictions.last().expect("one");
    assert!((farthest["horizon_s"].as_f64().unwrap() - 5.0).abs() < 0.01, "{farthest}");
    let of = |name: &str| predictions.iter().map(|ahead| ahead[name].as_f64().unwrap().powi(2)).sum::<f64>();
    assert!(of("rmse_m") < of("constant_twist_rmse_m"), "{text}");
    let page = std::fs::read_to_string(output.join("demo_base.html")).expect("demo_base.html");
    assert!(page.contains("<svg") && text.contains("True distance"), "{text}");
}
