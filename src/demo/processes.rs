//! The nodes as child processes: started with ROS arguments, their output in log files, ended together.

use crate::error::{Error, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A node that has not ended this long after SIGINT is killed.
const GRACE: Duration = Duration::from_secs(2);
/// Of a failed node's log this many lines are shown.
const SHOWN_LINES: usize = 8;

pub struct Processes {
    logs: PathBuf,
    children: Vec<Node>,
}

struct Node {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Processes {
    /// Log files go to the folder `logs`, which is made.
    pub fn new(logs: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&logs).map_err(Error::io(&logs))?;
        Ok(Self { logs, children: Vec::new() })
    }

    pub fn logs(&self) -> String {
        self.logs.display().to_string()
    }

    /// Starts the node that lies beside this program. The learner yields to everything else, for it can wait.
    pub fn spawn<'a>(
        &mut self,
        namespace: &str,
        executable: &str,
        arguments: impl Iterator<Item = &'a str>,
    ) -> Result<()> {
        let program = sibling(executable)?;
        let log = self.logs.join(format!("{namespace}-{executable}.log"));
        let file = File::create(&log).map_err(Error::io(&log))?;
        let errors = file.try_clone().map_err(Error::io(&log))?;
        let mut command = if executable.ends_with("learner") {
            let mut nice = Command::new("nice");
            nice.args(["-n", "10"]).arg(&program);
            nice
        } else {
            Command::new(&program)
        };
        let child = command
            .arg("--ros-args")
            .args(arguments)
            .env("RAYON_NUM_THREADS", "1")
            .env("CANDLE_NUM_THREADS", "1")
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .map_err(Error::io(&program))?;
        self.children.push(Node { name: format!("/{namespace}/{executable}"), log, child });
        Ok(())
    }

    /// An error with the end of its log if a node has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        for node in &mut self.children {
            if let Ok(Some(status)) = node.child.try_wait() {
                let problem = format!("{} ended ({status}):\n{}", node.name, last_lines(&node.log));
                return Err(Error::Ros(problem));
            }
        }
        Ok(())
    }

    /// Ends all nodes as Ctrl-C would; those that do not follow are killed.
    pub fn stop(&mut self) {
        for node in &self.children {
            // It may have ended already.
            let _ = kill(Pid::from_raw(node.child.id() as i32), Signal::SIGINT);
        }
        let deadline = Instant::now() + GRACE;
        for mut node in self.children.drain(..) {
            while matches!(node.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = node.child.kill();
            let _ = node.child.wait();
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A program in the folder of this one.
fn sibling(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().map_err(Error::io("this program"))?;
    let program = this.with_file_name(name);
    if program.exists() {
        Ok(program)
    } else {
        Err(Error::mismatch(program.display().to_string(), "no such file", "the node beside this program"))
    }
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}
