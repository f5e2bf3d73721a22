//! Nodes as processes in a DDS domain of their own, and a peer that watches them. All end with the [`World`].

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Machines stall; what has not happened after this long is not going to.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// One test at a time: two cores cannot run several robots in real time.
static SERIAL: Mutex<()> = Mutex::new(());

// Of action_msgs/msg/GoalStatus.
pub const SUCCEEDED: u64 = 4;
pub const CANCELED: u64 = 5;
pub const ABORTED: u64 = 6;

pub struct World {
    domain: u32,
    folder: PathBuf,
    nodes: Vec<Node>,
    peer: Option<Peer>,
    _serial: MutexGuard<'static, ()>,
}

struct Node {
    name: String,
    log: PathBuf,
    child: Child,
}

struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl World {
    /// `index` is the test's own.
    pub fn new(index: u32) -> Self {
        let serial = SERIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ros-{index}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self { domain: domain(index), folder, nodes: Vec::new(), peer: None, _serial: serial }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a node as `ros2 launch` does; `arguments` are words that follow `--ros-args`.
    pub fn start(&mut self, name: &str, arguments: &str) {
        let log = self.folder.join(format!("{name}-{}.log", self.nodes.len()));
        let file = File::create(&log).unwrap();
        let child = Command::new(executable(name))
            .arg("--ros-args")
            .args(arguments.split_whitespace())
            .envs(self.environment())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        self.nodes.push(Node { name: name.into(), log, child });
    }

    /// Plays a recording to its end, at `rate` times its speed; gives what was printed.
    #[track_caller]
    pub fn play(&self, recording: &Path, rate: f64) -> String {
        let output = Command::new(executable("learned_control"))
            .arg("play")
            .arg(recording)
            .args(["--rate", &rate.to_string()])
            .envs(self.environment())
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
        printed
    }

    fn environment(&self) -> [(&'static str, String); 4] {
        let profiles = root().join("tests/loopback.xml");
        [
            ("ROS_DOMAIN_ID", self.domain.to_string()),
            // this computer alone, by the profiles: with LOCALHOST it would be over shared memory
            ("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET".into()),
            ("FASTRTPS_DEFAULT_PROFILES_FILE", profiles.display().to_string()),
            // A learner shall not take the core that a control loop needs.
            ("RAYON_NUM_THREADS", "1".into()),
        ]
    }

    /// The node that was started last under that name.
    fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.iter_mut().rev().find(|node| node.name == name).unwrap()
    }

    pub fn signal(&mut self, name: &str, signal: Signal) {
        let child = &self.node(name).child;
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    }

    /// Waits for a node to end.
    pub fn end_of(&mut self, name: &str) -> ExitStatus {
        let node = self.node(name);
        wait(&format!("the end of {name}"), || node.child.try_wait().unwrap())
    }

    /// Everything that the node started last under that name has printed.
    pub fn log(&mut self, name: &str) -> String {
        std::fs::read_to_string(&self.node(name).log).unwrap()
    }

    /// Waits until the log of a node has a line with all of `parts`, after its first `from` bytes; gives that line.
    #[track_caller]
    pub fn line(&mut self, name: &str, from: usize, parts: &[&str]) -> String {
        wait(&format!("a line of {name} with {parts:?}"), || {
            let log = self.log(name);
            let found = log[from..].lines().find(|line| parts.iter().all(|part| line.contains(part)));
            found.map(str::to_owned)
        })
    }

    // --- the peer ---

    /// Asks the peer, which is started on first use, see tests/peers/peer.py.
    #[track_caller]
    pub fn ask(&mut self, request: Value) -> Value {
        if self.peer.is_none() {
            self.peer = Some(self.start_peer());
        }
        let peer = self.peer.as_mut().unwrap();
        writeln!(peer.requests, "{request}").unwrap();
        let mut line = String::new();
        peer.answers.read_line(&mut line).unwrap();
        let mut answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("the peer answered {line:?} to {request}"));
        assert!(answer["error"].is_null(), "{}", answer["error"]);
        answer["ok"].take()
    }

    fn start_peer(&self) -> Peer {
        let mut child = Command::new(python())
            .arg(root().join("tests/peers/peer.py"))
            .envs(self.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(self.folder.join("peer.log")).unwrap())
            .spawn()
            .unwrap();
        let requests = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Peer { child, requests, answers }
    }

    pub fn subscribe(&mut self, topic: &str, kind: &str) {
        self.ask(json!({"do": "subscribe", "topic": topic, "type": kind}));
    }

    /// As `subscribe`, but keeps many messages.
    pub fn record(&mut self, topic: &str, kind: &str) {
        self.ask(json!({"do": "subscribe", "topic": topic, "type": kind, "keep": 5000}));
    }

    /// As `record`, without losing any.
    pub fn record_reliably(&mut self, topic: &str, kind: &str) {
        self.ask(json!({"do": "subscribe", "topic": topic, "type": kind, "keep": 5000, "reliable": true}));
    }

    pub fn take(&mut self, topic: &str) -> Vec<Value> {
        let messages = self.ask(json!({"do": "take", "topic": topic}));
        messages.as_array().unwrap().clone()
    }

    /// The next message that comes on a topic.
    #[track_caller]
    pub fn next(&mut self, topic: &str) -> Value {
        self.take(topic);
        wait(&format!("a message on {topic}"), || self.take(topic).pop())
    }

    /// Waits for a message on `topic` for which `wanted` gives something.
    #[track_caller]
    pub fn until<T>(&mut self, topic: &str, mut wanted: impl FnMut(&Value) -> Option<T>) -> T {
        wait(&format!("a certain message on {topic}"), || self.take(topic).iter().find_map(&mut wanted))
    }

    /// The value of `key` in the diagnostics of `node`, and the message, when they come next.
    pub fn diagnostics(&mut self, node: &str) -> Value {
        self.until("/diagnostics", |array| {
            let status = &array["status"][0];
            if !status["name"].as_str()?.starts_with(&format!("{node}:")) {
                return None;
            }
            let values = status["values"].as_array()?.iter();
            let mut all: Value =
                values.map(|pair| (pair["key"].as_str().unwrap(), pair["value"].clone())).collect();
            all["message"] = status["message"].clone();
            Some(all)
        })
    }

    /// Announces messages on `topic` and waits for a subscriber.
    #[track_caller]
    pub fn advertise(&mut self, topic: &str, kind: &str) {
        self.ask(json!({"do": "advertise", "topic": topic, "type": kind}));
        wait(&format!("a subscriber of {topic}"), || {
            (self.ask(json!({"do": "matched", "topic": topic})) != 0).then_some(())
        });
    }

    #[track_caller]
    pub fn publish(&mut self, topic: &str, message: Value) {
        self.ask(json!({"do": "publish", "topic": topic, "message": message}));
    }

    /// Asks an action for a goal; none where it is rejected.
    pub fn send_goal(&mut self, action: &str, kind: &str, goal: Value) -> Option<Value> {
        let number = self.ask(json!({"do": "send_goal", "action": action, "type": kind, "goal": goal}));
        number.is_u64().then_some(number)
    }

    /// How a goal ended: its status, the code of the error, what the field `text` of the result says, and the feedback.
    pub fn result(&mut self, goal: &Value, text: &str) -> (u64, i64, String, Vec<Value>) {
        let answer = self.ask(json!({"do": "result", "number": goal}));
        let result = &answer["result"];
        let why = result[text].as_str().unwrap().to_owned();
        let feedback = answer["feedback"].as_array().unwrap().clone();
        (answer["status"].as_u64().unwrap(), result["error_code"].as_i64().unwrap(), why, feedback)
    }

    /// Root mean square tracking error over `seconds` of the robot's time [rad].
    #[track_caller]
    pub fn tracking_error(&mut self, topic: &str, seconds: f64) -> f64 {
        let error = self.ask(json!({"do": "tracking_error", "topic": topic, "duration": seconds}));
        error["rms"].as_f64().unwrap()
    }

    #[track_caller]
    pub fn get_parameter(&mut self, node: &str, name: &str) -> Value {
        self.ask(json!({"do": "get_parameter", "node": node, "name": name}))
    }

    /// `{"successful": .., "reason": ..}`
    #[track_caller]
    pub fn set_parameter(&mut self, node: &str, name: &str, value: Value) -> Value {
        self.ask(json!({"do": "set_parameter", "node": node, "name": name, "value": value}))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let peer = self.peer.iter_mut().map(|peer| &mut peer.child);
        for child in self.nodes.iter_mut().map(|node| &mut node.child).chain(peer) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let logs = self.nodes.iter().map(|node| node.log.clone());
            for log in logs.chain([self.folder.join("peer.log")]) {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(20).collect();
                eprintln!("--- {}", log.display());
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

/// Polls until there is something.
#[track_caller]
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "no {what} within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A domain from 1 to 101 that other runs on this computer hardly have; some are in use by people.
fn domain(index: u32) -> u32 {
    let wanted = (std::process::id() * 13 + index) % 101 + 1;
    if [41, 77].contains(&wanted) { wanted + 10 } else { wanted }
}

fn executable(name: &str) -> &'static str {
    match name {
        "base_controller" => env!("CARGO_BIN_EXE_base_controller"),
        "base_learner" => env!("CARGO_BIN_EXE_base_learner"),
        "base_predictor" => env!("CARGO_BIN_EXE_base_predictor"),
        "base_simulator" => env!("CARGO_BIN_EXE_base_simulator"),
        "controller" => env!("CARGO_BIN_EXE_controller"),
        "learned_control" => env!("CARGO_BIN_EXE_learned_control"),
        "learner" => env!("CARGO_BIN_EXE_learner"),
        "predictor" => env!("CARGO_BIN_EXE_predictor"),
        "simulator" => env!("CARGO_BIN_EXE_simulator"),
        _ => panic!("no node '{name}'"),
    }
}

/// The Python that has rclpy: the one of scripts/setup.py, or that of the ROS which is sourced.
fn python() -> PathBuf {
    let prefix = std::env::var("AMENT_PREFIX_PATH").unwrap_or_default();
    let own = Path::new(prefix.split(':').next().unwrap_or_default()).join("bin/python");
    let ours = root().join(".deps/ros/bin/python");
    [own, ours].into_iter().find(|python| python.exists()).unwrap_or_else(|| "python3".into())
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
