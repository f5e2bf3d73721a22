//! A node and the client that asks it, as processes in a DDS domain of their own.
#![allow(dead_code)] // each benchmark uses its part

use crate::common::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A program with its arguments.
pub struct Program {
    pub path: PathBuf,
    pub arguments: Vec<String>,
    /// Where Python finds more packages.
    pub packages: Option<String>,
}

/// What carries messages between the processes of a contest.
#[derive(Clone, Copy)]
pub enum Transport {
    /// As our nodes have it; on the loopback.
    Udp,
    /// As nodes have it that nobody has told otherwise.
    SharedMemory,
}

/// Ends its processes with it.
pub struct Contest {
    nodes: Vec<Child>,
    client: Child,
    orders: ChildStdin,
    outcomes: BufReader<ChildStdout>,
}

/// An empty folder for models and logs.
pub fn folder(name: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The first domain that may be used: that of ROS_DOMAIN_ID, or 70.
pub fn first_domain() -> u32 {
    std::env::var("ROS_DOMAIN_ID").ok().and_then(|id| id.parse().ok()).unwrap_or(70)
}

impl Contest {
    /// Starts `nodes` in `domain`; what they print goes to files in `folder`.
    pub fn start(
        name: &str,
        nodes: &[Program],
        domain: u32,
        transport: Transport,
        folder: &Path,
        joints: &[String],
    ) -> Result<Self> {
        let nodes: Result<Vec<Child>> = nodes
            .iter()
            .enumerate()
            .map(|(index, program)| {
                let log = File::create(folder.join(format!("{name}-{index}.log")))?;
                let mut command = Command::new(&program.path);
                command.args(&program.arguments).stdin(Stdio::null());
                command.stdout(log.try_clone()?).stderr(log);
                if let Some(packages) = &program.packages {
                    command.env("PYTHONPATH", packages);
                }
                Ok(transport.carry(&mut command, domain).spawn()?)
            })
            .collect();
        let mut client = Command::new(std::env::current_exe()?);
        client.arg("client").args(joints).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut client = transport.carry(&mut client, domain).spawn()?;
        let orders = client.stdin.take().ok_or("no input")?;
        let outcomes = BufReader::new(client.stdout.take().ok_or("no output")?);
        Ok(Self { nodes: nodes?, client, orders, outcomes })
    }

    /// What the client answers to an order.
    pub fn order<T: DeserializeOwned>(&mut self, order: &impl Serialize) -> Result<T> {
        writeln!(self.orders, "{}", serde_json::to_string(order)?)?;
        let mut line = String::new();
        self.outcomes.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|_| "the client has ended".into())
    }

    /// The process of the first node.
    pub fn process(&self) -> u32 {
        self.nodes[0].id()
    }

    /// A file of its folder in /proc.
    pub fn proc(&self, file: &str) -> Result<String> {
        Ok(std::fs::read_to_string(format!("/proc/{}/{file}", self.process()))?)
    }

    /// Time that the threads of the nodes have computed [s].
    pub fn busy_time(&self) -> Result<f64> {
        let mut total = 0.0;
        for node in &self.nodes {
            for task in std::fs::read_dir(format!("/proc/{}/task", node.id()))? {
                // A thread may end meanwhile.
                let schedule = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
                let nanoseconds = schedule.split(' ').next().and_then(|number| number.parse::<f64>().ok());
                total += nanoseconds.unwrap_or(0.0) * 1e-9;
            }
        }
        Ok(total)
    }
}

impl Drop for Contest {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().chain([&mut self.client]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Transport {
    /// Where the messages of `command` go.
    fn carry(self, command: &mut Command, domain: u32) -> &mut Command {
        command.env("ROS_DOMAIN_ID", domain.to_string());
        match self {
            // this computer alone, by the profiles
            Self::Udp => command.env("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET").env(
                "FASTRTPS_DEFAULT_PROFILES_FILE",
                Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/loopback.xml"),
            ),
            Self::SharedMemory => command.env("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"),
        }
    }
}
