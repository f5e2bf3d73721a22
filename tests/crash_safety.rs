//! A model file is whole at any time, whenever its writer is killed.

use candle_core::{Device, Tensor};
use learned_control::nn::checkpoint::{self, Card, ModelKind, Tensors};
use learned_control::robot::Robot;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the child writes; set only for it.
const VARIABLE: &str = "LEARNED_CONTROL_WRITES_TO";
const KILLS: u64 = 100;
/// Every number of a model is its revision, and there are so many of them: a megabyte takes time to write.
const NUMBERS: usize = 1 << 18;

/// Not a test: the process that is killed. Replaces the model over and over.
#[test]
#[ignore = "run by the other test"]
fn writer() {
    let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return };
    let robot = Robot::of_joints(&["joint".into()]);
    for revision in 1.. {
        let card = Card::new(ModelKind::Controller, &robot, 0.002, &()).unwrap();
        let numbers = Tensor::full(revision as f32, NUMBERS, &Device::Cpu).unwrap();
        let tensors = Tensors::from([("numbers".to_owned(), numbers)]);
        checkpoint::save(&path, &Card { revision, ..card }, &tensors).unwrap();
    }
}

fn start(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--ignored"])
        .env(VARIABLE, path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The revision of the model, all of which must be of that revision.
#[track_caller]
fn whole(path: &Path) -> u64 {
    let (card, tensors) = checkpoint::load(path).unwrap();
    let numbers: Vec<f32> = tensors["numbers"].to_vec1().unwrap();
    assert_eq!(numbers.len(), NUMBERS);
    assert!(numbers.iter().all(|number| *number == card.revision as f32), "parts of two models");
    card.revision
}

#[test]
fn a_killed_writer_leaves_the_old_file_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let (mut interrupted, mut revisions) = (0, 0);
    for round in 0..KILLS {
        let _ = std::fs::remove_file(&path);
        let mut child = start(&path);
        let begin = Instant::now();
        while !path.exists() {
            assert!(begin.elapsed() < Duration::from_secs(30), "nothing was written");
            std::thread::sleep(Duration::from_millis(1));
        }
        // While it goes on writing, and at another point of it each time.
        let before = whole(&path);
        std::thread::sleep(Duration::from_micros(211 * round % 10_000));
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        let after = whole(&path);
        assert!(after >= before, "an older model came back");
        revisions += after;
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let other = entry.unwrap().path();
            if other != path {
                interrupted += 1;
                std::fs::remove_file(other).unwrap();
            }
        }
    }
    println!("{KILLS} kills, {interrupted} while a file was being written; {revisions} models");
    assert!(interrupted > KILLS / 20, "only {interrupted} of {KILLS} kills came while it was writing");
}
