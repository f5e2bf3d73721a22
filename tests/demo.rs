//! The main job end to end: `learned_control demo` with all its processes over DDS, judged by the figures it writes.

#![cfg(all(feature = "ros", feature = "sim"))]

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Runs a shorter demo on a ROS domain of its own; gives what it printed and demo.json.
fn run_demo(output: &Path) -> (String, Value) {
    let domain = 1 + std::process::id() % 100;
    let demo = Command::new(env!("CARGO_BIN_EXE_learned_control"))
        .args(["demo", "--seconds", "40", "--output"])
        .arg(output)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("ROS_DOMAIN_ID", domain.to_string())
        .env("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        .output()
        .expect("the demo starts");
    let (text, errors) = (String::from_utf8_lossy(&demo.stdout), String::from_utf8_lossy(&demo.stderr));
    assert!(demo.status.success(), "{}\n{text}\n{errors}", demo.status);
    let json = std::fs::read_to_string(output.join("demo.json")).expect("demo.json");
    (text.into_owned(), serde_json::from_str(&json).expect("valid JSON"))
}

fn figure(json: &Value, path: &str) -> f64 {
    json.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} is no number in {json:#}"))
}

#[test]
fn the_tracking_error_at_least_halves_before_and_after_the_payload() {
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo");
    let (text, json) = run_demo(&output);

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
    let page = std::fs::read_to_string(output.join("demo.html")).expect("demo.html");
    assert!(page.contains("<svg") && !page.contains("src=\"http"), "the page holds its plots itself");
}
