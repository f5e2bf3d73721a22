//! From a recording to a model, to what is known of it, to what it would have done: the command line as a user calls it.

mod common;

use common::{JOINTS, arm, state_at, weights};
use learned_control::dataset::messages::{Float64MultiArray, JointTrajectory, decode};
use learned_control::dataset::rosbag::Bag;
use learned_control::files::sha256_of_file;
use learned_control::state::Stamp;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Calls `learned_control` with the words of `line`, in `folder`; what it printed, or what it printed as an error.
fn call(folder: &Path, line: &str) -> Result<String, String> {
    let program = env!("CARGO_BIN_EXE_learned_control");
    let output = Command::new(program).args(line.split_whitespace()).current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// A folder with 20 s of the arm's motion at 100 Hz, its description and its settings.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from("t_s");
    (1..=JOINTS).for_each(|k| write!(table, ",joint{k}_pos,joint{k}_vel").unwrap());
    for tick in 1..=2000 {
        let state = state_at(Stamp(tick * 10_000_000), 0.0);
        write!(table, "\n{}", state.stamp.seconds()).unwrap();
        state.position.iter().zip(&state.velocity).for_each(|(q, v)| write!(table, ",{q},{v}").unwrap());
    }
    std::fs::write(folder.path().join("motion.csv"), table).unwrap();
    std::fs::write(folder.path().join("controller.safetensors"), weights(0.3)).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["urdf/arm.urdf", "config/arm.yaml"] {
        let from: PathBuf = root.join(file);
        std::fs::copy(&from, folder.path().join(from.file_name().unwrap())).unwrap();
    }
    folder
}

#[test]
fn it_ends_quietly_when_nobody_reads() {
    let folder = folder();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let program = Command::new(env!("CARGO_BIN_EXE_learned_control"))
        .args(["inspect", "controller.safetensors", "--json"])
        .current_dir(folder.path())
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&program.stderr), "", "{:?}", program.status);
    assert!(!program.status.success());
}

#[test]
fn what_cannot_be_done_is_said_with_what_to_do() {
    let folder = folder();
    let refused = |line: &str| call(folder.path(), line).unwrap_err();
    let error = refused("train motion.csv --horizon 0.001");
    assert!(error.contains("is 0 steps of 0.01 s, expected 1 to 1000; choose --horizon or --dt"), "{error}");
    let error = refused("train motion.csv --config none.yaml");
    assert_eq!(error.matches("No such file").count(), 1, "{error}");
    std::fs::write(folder.path().join("empty.mcap"), "").unwrap();
    assert!(refused("train empty.mcap").contains("empty.mcap: the file is empty"));

    let mut table = String::from("t_s,x,y,yaw");
    for tick in 0..200 {
        let yaw = 0.05 * f64::from(tick);
        write!(table, "\n{},{},{},{yaw}", 0.1 * f64::from(tick), yaw.sin(), 1.0 - yaw.cos()).unwrap();
    }
    std::fs::write(folder.path().join("base.csv"), table).unwrap();
    let printed = call(folder.path(), "train base.csv --only predictor --steps 1 --out base").unwrap();
    let said = "predicts 2.00 s ahead, not 5 s, for the longest stretch without a gap is 20.0 s; choose with --horizon";
    assert!(printed.contains(said), "{printed}");
    let error = refused("train base.csv --horizon 5");
    assert!(
        error.contains("needs more than 33.3 s without a gap")
            && error.contains("choose --horizon up to 2.90 s"),
        "{error}"
    );
    let error = refused("evaluate prediction base.csv --horizons 1,5");
    assert!(error.contains("time ahead: found 5 s, expected --horizons of up to 2.00 s"), "{error}");
    assert!(
        error.contains("base.csv: kept 200 of 200; 19.9 s every 0.1000 s"),
        "what was read explains it: {error}"
    );
    let error = refused("evaluate prediction base.csv --topic /odom --rate 10");
    assert!(error.contains("--topic is for a bag"), "{error}");
}

#[test]
fn the_predictor_of_a_base_is_trained_and_replayed() {
    let folder = folder();
    let folder = folder.path();
    let mut table = String::from("time,east,north,heading");
    for tick in 0..300 {
        let yaw = 0.05 * f64::from(tick);
        write!(table, "\n{},{},{},{yaw}", 1.0 + 0.1 * f64::from(tick), yaw.sin(), 1.0 - yaw.cos()).unwrap();
    }
    std::fs::write(folder.join("base.csv"), table).unwrap();
    let columns = "--columns time=time,x=east,y=north,yaw=heading";
    call(folder, &format!("train base.csv {columns} --horizon 1 --steps 1 --out base")).unwrap();
    let replay = format!("replay base.csv {columns} --model base/predictor.safetensors");
    for out in ["one", "two"] {
        let printed = call(folder, &format!("{replay} --out {out}.csv")).unwrap();
        assert!(printed.contains("300 messages") && printed.contains("predictions"), "{printed}");
    }
    let [one, two] = ["one", "two"]
        .map(|name| std::fs::read_to_string(folder.join(format!("{name}.predictions.csv"))).unwrap());
    assert!(one == two && !folder.join("one.csv").exists());
    assert!(one.starts_with("stamp_ns,step,x_pos,y_pos,yaw_pos,x_vel"), "{}", one.lines().next().unwrap());
    // a circle that never ends: ten steps ahead it is half a radian further
    let last: Vec<f64> = one.lines().last().unwrap().split(',').map(|cell| cell.parse().unwrap()).collect();
    let yaw: f64 = 0.05 * 299.0 + 0.5;
    for (found, expected) in last[2..5].iter().zip([yaw.sin(), 1.0 - yaw.cos(), yaw]) {
        assert!((found - expected).abs() < 0.01, "{last:?}");
    }

    call(folder, &format!("{replay} --out bag")).unwrap();
    let bag = Bag::open(&folder.join("bag")).unwrap();
    let topics: Vec<&str> = bag.topics().iter().map(|topic| &*topic.name).collect();
    assert_eq!(topics, ["/base_predictor/predicted_path", "/base_predictor/prediction_stddev"]);
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/config/base.yaml");
    call(folder, &format!("replay base.csv {columns} --config {config} --out plain.csv")).unwrap();
    let error = call(folder, "replay motion.csv --model base/predictor.safetensors --out x.csv");
    assert!(error.unwrap_err().contains("the motion of joint1"));
    let error = call(folder, &format!("{replay} --config arm.yaml --urdf arm.urdf --out x.csv")).unwrap_err();
    assert!(error.contains("is the model of a base, --config is for an arm"), "{error}");
}

#[test]
fn a_model_is_trained_inspected_and_replayed() {
    let folder = folder();
    let folder = folder.path();
    let training =
        "train motion.csv --only predictor --urdf arm.urdf --steps 2 --seed 5 --horizon 0.1 --out models";
    call(folder, training).unwrap();
    let inspected: Value =
        serde_json::from_str(&call(folder, "inspect models/predictor.safetensors --json").unwrap()).unwrap();
    let card = &inspected["card"];
    assert_eq!(
        (&card["seed"], &card["dt"], &card["units"]),
        (&json!(5), &json!(0.01), &json!(vec!["rad"; JOINTS]))
    );
    let hash = sha256_of_file(&folder.join("motion.csv")).unwrap();
    assert_eq!(card["data"], json!([{"name": "motion.csv", "sha256": hash}]));
    assert_eq!(card["urdf_sha256"], json!(arm().0.urdf_sha256));
    let ranges = card["ranges"].as_array().unwrap();
    assert_eq!(ranges.len(), JOINTS);
    let [least, greatest] = [0, 1].map(|end| ranges[0]["position"][end].as_f64().unwrap());
    assert!((-0.2..-0.15).contains(&least) && (0.15..0.2).contains(&greatest), "{ranges:?}");
    assert_eq!(
        inspected["sha256"],
        json!(sha256_of_file(&folder.join("models/predictor.safetensors")).unwrap())
    );
    assert!(call(folder, "inspect models/predictor.safetensors").unwrap().contains("motion.csv"));
    let read: Value = serde_json::from_str(&call(folder, "inspect motion.csv --json").unwrap()).unwrap();
    assert_eq!((&read["summary"]["kept"], read["joints"].as_array().unwrap().len()), (&json!(2000), JOINTS));
    assert_eq!(read["joints"][0]["name"], card["joints"][0]);
    let text = call(folder, "inspect motion.csv --joints joint2").unwrap();
    assert!(text.contains("kept 2000") && text.contains("joint2") && !text.contains("joint1"), "{text}");

    let replay = "replay motion.csv --model models/predictor.safetensors --model controller.safetensors --config arm.yaml --urdf arm.urdf";
    let tables = ["one", "two"].map(|name| {
        let printed = call(folder, &format!("{replay} --out {name}.csv")).unwrap();
        assert!(printed.contains("2000 messages, 2000 commands"), "{printed}");
        [format!("{name}.csv"), format!("{name}.predictions.csv")]
            .map(|file| std::fs::read(folder.join(file)).unwrap())
    });
    assert!(tables[0] == tables[1], "two runs differ");
    let [commands, predictions] = tables[0].each_ref().map(|table| String::from_utf8_lossy(table));
    assert_eq!(commands.lines().count(), 2001);
    assert!(predictions.starts_with("stamp_ns,step,joint1_pos,"), "{}", predictions.lines().next().unwrap());

    // As a recording it is the same numbers, under the topics of the nodes.
    call(folder, &format!("{replay} --out bag")).unwrap();
    let bag = Bag::open(&folder.join("bag")).unwrap();
    let messages = |topic| bag.messages(Some(topic)).map(|message| message.unwrap());
    let rows = commands.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    for (message, row) in messages("/effort_controller/commands").zip(rows) {
        let Float64MultiArray { data, .. } = decode(&message.cdr).unwrap();
        let expected: Vec<f64> = row[1..=JOINTS].iter().map(|cell| cell.parse().unwrap()).collect();
        assert_eq!((data, message.stamp.0), (expected, row[0].parse().unwrap()));
    }
    assert_eq!(messages("/effort_controller/commands").count(), 2000);
    let mut rows = predictions.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    for message in messages("/predictor/predicted_trajectory") {
        let JointTrajectory { points, .. } = decode(&message.cdr).unwrap();
        for (point, row) in points.iter().zip(rows.by_ref()) {
            let expected: Vec<f64> =
                row[2..2 + 2 * JOINTS].iter().map(|cell| cell.parse().unwrap()).collect();
            assert_eq!([point.positions.as_slice(), &point.velocities].concat(), expected);
        }
    }
    assert!(rows.next().is_none(), "predictions that are not in the recording");
    assert!(call(folder, &format!("{replay} --out bag")).unwrap_err().contains("bag: it exists"));

    // The residual counts: without it the commands are others.
    call(folder, "replay motion.csv --config arm.yaml --urdf arm.urdf --out plain.csv").unwrap();
    assert!(std::fs::read(folder.join("plain.csv")).unwrap() != tables[0][0]);
    assert!(!folder.join("plain.predictions.csv").exists());
}

#[test]
fn a_predictor_that_is_told_commands_is_trained_inspected_and_replayed() {
    let folder = folder();
    let folder = folder.path();
    let mut table = String::from("t_s");
    (1..=JOINTS).for_each(|k| write!(table, ",joint{k}_pos,joint{k}_vel,joint{k}_ref").unwrap());
    for tick in 1..=2000 {
        let state = state_at(Stamp(tick * 10_000_000), 0.0);
        write!(table, "\n{}", state.stamp.seconds()).unwrap();
        let joints = state.position.iter().zip(&state.velocity);
        joints.for_each(|(q, v)| write!(table, ",{q},{v},{}", q + 0.1 * v).unwrap());
    }
    std::fs::write(folder.join("told.csv"), table).unwrap();
    let training = "train told.csv --only predictor --steps 2 --seed 5 --horizon 0.1 --out";
    let printed = call(folder, &format!("{training} told --commands joint*=joint*_ref")).unwrap();
    assert!(printed.contains("commands of position: kept 2000 of 2000 rows"), "{printed}");
    call(folder, &format!("{training} plain")).unwrap();
    let inspected = call(folder, "inspect told/predictor.safetensors").unwrap();
    assert!(inspected.contains("commands of position of joint1, joint2"), "{inspected}");
    assert!(call(folder, "inspect plain/predictor.safetensors").unwrap().contains("no commands"));

    let replay = |model: &str, out: &str, more: &str| {
        let line = format!("replay told.csv --model {model}/predictor.safetensors --out {out}.csv {more}");
        let printed = call(folder, &line).unwrap();
        (printed, std::fs::read(folder.join(format!("{out}.predictions.csv"))).unwrap())
    };
    let commands = "--commands joint*=joint*_ref";
    let [(printed, one), (_, two)] = ["one", "two"].map(|out| replay("told", out, commands));
    assert!(printed.contains("2000 messages with commands"), "{printed}");
    assert!(printed.contains("predictions while one was in force"), "{printed}");
    assert!(one == two, "two runs differ");
    let (printed, untold) = replay("told", "untold", "");
    assert!(!printed.contains("commands") && untold != one, "{printed}");
    assert!(
        untold == replay("plain", "plain", "").1,
        "without a command it is not the model without commands"
    );
}

#[test]
fn what_cannot_be_done_is_said() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(folder.join("base.yaml"), "base_controller: {ros__parameters: {tick: odometry}}\n")
        .unwrap();
    std::fs::write(folder.join("told.yaml"), "predictor: {ros__parameters: {command_topic: /cmd}}\n")
        .unwrap();
    let cases = [
        ("inspect arm.yaml", "model arm.yaml: its"),
        ("replay motion.csv --out x", "nothing to replay: give --config"),
        ("replay motion.csv --config arm.yaml --out x.csv", "give --urdf"),
        (
            "replay motion.csv --model controller.safetensors --out x.csv",
            "which needs its settings: give --config",
        ),
        (
            "replay motion.csv --model controller.safetensors --model controller.safetensors --config arm.yaml --out x.csv",
            "two models of a controller",
        ),
        (
            "replay motion.csv --config arm.yaml --urdf arm.urdf --asked /cmd --out x.csv",
            "--asked is of a base",
        ),
        (
            "replay motion.csv --config base.yaml --asked /cmd --out x.csv",
            "topics of a bag, and this is a table",
        ),
        (
            "replay motion.csv --model controller.safetensors --config base.yaml --out x.csv",
            "--config is for a base",
        ),
        ("train motion.csv --joints joint9 --out x", "joint9"),
        ("train motion.csv --resume --out x", "no training was interrupted in x"),
        ("train motion.csv --only controller --resume --urdf arm.urdf --out x", "no efforts"),
        ("train motion.csv --commands joint*=joint*_ref --out x", "no column 'joint1_ref' with commands"),
        ("train motion.csv --commands /cmd --out x", "commands of a table are in columns"),
        ("train motion.csv --config told.yaml --out x", "commands of a table are in columns"),
        (
            "train motion.csv --config base.yaml --out x",
            "is for a base, and the recordings are of joints: joint1",
        ),
    ];
    for (line, reason) in cases {
        let error = call(folder, line).unwrap_err();
        assert!(error.contains(reason), "{line}: {error}");
    }
    // Another robot: joints that the recording does not have.
    let urdf = std::fs::read_to_string(folder.join("arm.urdf")).unwrap().replace("\"joint7\"", "\"wrist\"");
    std::fs::write(folder.join("other.urdf"), urdf).unwrap();
    let config = std::fs::read_to_string(folder.join("arm.yaml")).unwrap().replace("joint7:", "wrist:");
    std::fs::write(folder.join("other.yaml"), config).unwrap();
    let error =
        call(folder, "replay motion.csv --config other.yaml --urdf other.urdf --out x.csv").unwrap_err();
    assert!(
        error.contains("no message could be used") && error.contains("joint 'wrist' is missing"),
        "{error}"
    );
    let line =
        "replay motion.csv --model controller.safetensors --config other.yaml --urdf other.urdf --out x.csv";
    let error = call(folder, line).unwrap_err();
    assert!(error.contains("missing wrist; unknown joint7"), "{error}");
    assert!(!folder.join("x.csv").exists(), "a table of what failed");
}

#[cfg(feature = "sim")]
#[test]
fn the_tracking_suite_writes_its_figures_and_checks_them() {
    let folder = folder();
    let line = "evaluate tracking --config arm.yaml --urdf arm.urdf --seeds 1 --longest 2 --scenario payload \
                --json out/tracking.json --html out/tracking.html --controller";
    let printed = call(folder.path(), &format!("{line} pd_gravity,oracle --check")).unwrap();
    assert!(printed.contains("1.5 kg at the tool") && printed.contains("pd_gravity"), "{printed}");
    let text = std::fs::read_to_string(folder.path().join("out/tracking.json")).unwrap();
    let figures: Value = serde_json::from_str(&text).unwrap();
    let controllers = &figures["scenarios"]["payload"]["controllers"];
    assert!(controllers["pd_gravity"]["0-2"]["ratio_to_oracle"].as_f64().unwrap() > 10.0, "{text}");
    let page = std::fs::read_to_string(folder.path().join("out/tracking.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("oracle"));
    let refused = call(folder.path(), &format!("{line} pid")).unwrap_err();
    assert!(refused.contains("pid_gravity"), "{refused}");
}
