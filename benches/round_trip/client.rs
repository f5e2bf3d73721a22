//! What the parent starts of itself: the client that asks and counts the time, and the barest node of r2r that answers.
#![allow(dead_code)] // each benchmark uses its part

use crate::common::Result;
use futures::{FutureExt, Stream, StreamExt};
use r2r::qos::ReliabilityPolicy;
use r2r::sensor_msgs::msg::JointState;
use r2r::std_msgs::msg::Float64MultiArray;
use r2r::{Context, Node, Publisher, QosProfile};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write, stdin, stdout};
use std::time::{Duration, Instant};

pub const REQUESTS: &str = "joint_states";
pub const ANSWERS: &str = "effort_controller/commands";
/// An answer that has not come after this long is lost.
const LOST: Duration = Duration::from_millis(300);
/// Requests that are answered one after the other before the first burst, and how long that may be waited for.
const WARM_UP: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);

/// One line of the client's input.
#[derive(Serialize, Deserialize)]
pub struct Order {
    /// Requests a second.
    pub rate: f64,
    pub requests: usize,
}

/// One line of its output.
#[derive(Serialize, Deserialize)]
pub struct Outcome {
    /// From before a request was published until its answer was taken, µs.
    pub times: Vec<f64>,
    pub lost: usize,
}

fn best_effort() -> QosProfile {
    QosProfile::default().reliability(ReliabilityPolicy::BestEffort).keep_last(1)
}

fn reliable() -> QosProfile {
    QosProfile::default().keep_last(1)
}

/// Answers each message with as many numbers as it has positions.
pub fn echo() -> Result<()> {
    let mut node = Node::create(Context::create()?, "echo", "")?;
    let mut requests = node.subscribe::<JointState>(REQUESTS, best_effort())?;
    let answers = node.create_publisher::<Float64MultiArray>(ANSWERS, reliable())?;
    let mut answer = Float64MultiArray::default();
    loop {
        node.spin_once(Duration::from_millis(100));
        while let Some(request) = requests.next().now_or_never().flatten() {
            answer.data.clone_from(&request.position);
            answers.publish(&answer)?;
        }
    }
}

/// Asks for a command with joint states.
pub struct Client {
    node: Node,
    requests: Publisher<JointState>,
    answers: Box<dyn Stream<Item = Float64MultiArray> + Unpin>,
    request: JointState,
    sent: i64,
    /// Whether a whole warm-up was answered.
    ready: bool,
}

/// Carries orders out until the input ends.
pub fn client(joints: &[String]) -> Result<()> {
    let mut client = Client::new(joints)?;
    for line in stdin().lock().lines() {
        let Order { rate, requests } = serde_json::from_str(&line?)?;
        client.wait_for_node(rate)?;
        println!("{}", serde_json::to_string(&client.burst(rate, requests)?)?);
        stdout().flush()?;
    }
    Ok(())
}

impl Client {
    pub fn new(joints: &[String]) -> Result<Self> {
        let mut node = Node::create(Context::create()?, "client", "")?;
        let zeros = vec![0.0; joints.len()];
        Ok(Self {
            requests: node.create_publisher::<JointState>(REQUESTS, best_effort())?,
            answers: Box::new(node.subscribe::<Float64MultiArray>(ANSWERS, best_effort())?),
            node,
            request: JointState {
                name: joints.to_vec(),
                position: zeros.clone(),
                velocity: zeros.clone(),
                effort: zeros,
                ..Default::default()
            },
            sent: 0,
            ready: false,
        })
    }

    /// Before the first burst: until a whole warm-up was answered.
    pub fn wait_for_node(&mut self, rate: f64) -> Result<()> {
        let start = Instant::now();
        while !self.ready {
            if start.elapsed() > PATIENCE {
                return Err(format!("the node does not answer within {PATIENCE:?}").into());
            }
            self.ready = self.burst(rate, WARM_UP)?.lost == 0;
        }
        Ok(())
    }

    fn burst(&mut self, rate: f64, requests: usize) -> Result<Outcome> {
        let period = Duration::from_secs_f64(1.0 / rate);
        let mut outcome = Outcome { times: Vec::with_capacity(requests), lost: 0 };
        let mut due = Instant::now() + period;
        for _ in 0..requests {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            match self.ask(rate)?.1 {
                Some(time) => outcome.times.push(time.as_secs_f64() * 1e6),
                None => outcome.lost += 1,
            }
            // After a stall the pace is kept from now on.
            due = (due + period).max(Instant::now());
        }
        Ok(outcome)
    }

    /// When the next measurement was published, and the time until the command came; none when it was lost.
    pub fn ask(&mut self, rate: f64) -> Result<(Instant, Option<Duration>)> {
        self.move_on(rate);
        while self.answers.next().now_or_never().flatten().is_some() {}
        let start = Instant::now();
        self.requests.publish(&self.request)?;
        while let Some(left) = LOST.checked_sub(start.elapsed()) {
            self.node.spin_once(left);
            if self.answers.next().now_or_never().flatten().is_some() {
                return Ok((start, Some(start.elapsed())));
            }
        }
        Ok((start, None))
    }

    /// The next measurement of a smooth motion, so that a node that learns has something to learn from.
    fn move_on(&mut self, rate: f64) {
        self.sent += 1;
        let seconds = self.sent as f64 / rate;
        self.request.header.stamp.sec = seconds as i32;
        self.request.header.stamp.nanosec = (seconds.fract() * 1e9) as u32;
        let joints = self.request.position.iter_mut().zip(&mut self.request.velocity);
        for (joint, (position, velocity)) in joints.enumerate() {
            let frequency = 0.5 + 0.3 * joint as f64;
            let (sin, cos) = (frequency * seconds).sin_cos();
            (*position, *velocity) = (0.2 * sin, 0.2 * frequency * cos);
        }
    }
}
