//! `learned_control play`: a recording on real ROS 2 topics, at the speed it was recorded at or another.
//!
//! Messages of a bag are published as the very bytes that were recorded; a table of joint motion (CSV) becomes
//! sensor_msgs/JointState on joint_states.

use crate::dataset::rosbag::{Bag, RawMessage};
use crate::dataset::{Recording, Selection, csv};
use crate::error::{Error, Result};
use crate::ros::convert::fill_joint_state;
use crate::ros::shell::{context, reliable_qos};
use crate::state::Stamp;
use clap::Args;
use r2r::sensor_msgs::msg::JointState;
use r2r::{Node, PublisherUntyped};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many messages the middleware may keep for a slow subscriber.
const DEPTH: usize = 100;

#[derive(Args, Clone, Debug)]
pub struct PlayArgs {
    /// A rosbag2 folder, .mcap or .db3 file, or a table of joint motion (.csv, .csv.gz)
    recording: PathBuf,
    /// Speed, as a multiple of the recorded one
    #[arg(long, default_value_t = 1.0)]
    rate: f64,
    /// Seconds to wait for a first subscriber before playing all the same
    #[arg(long, default_value_t = 3.0)]
    wait: f64,
    /// Topics to play [default: all whose message type this program was built with]
    #[arg(long)]
    topics: Vec<String>,
}

/// Plays the recording; ends early on SIGINT or SIGTERM.
pub fn run(args: &PlayArgs) -> Result<()> {
    for (key, value) in [("--rate", args.rate), ("--wait", args.wait)] {
        if !(value.is_finite() && (value > 0.0 || key == "--wait" && value == 0.0)) {
            return Err(Error::mismatch(key, value, "a number above 0"));
        }
    }
    let stop = crate::interrupt::flag()?;
    let node = Node::create(context()?, "play", "")?;
    let mut player = Player { node, stop, rate: args.rate, start: None, late: Duration::ZERO };
    let is_table = csv::is_table(&args.recording);
    let played = if is_table { player.play_table(args) } else { player.play_bag(args) }?;
    println!("played {played} messages; at most {:.1} ms late", player.late.as_secs_f64() * 1e3);
    // The last messages leave on threads of the middleware.
    std::thread::sleep(Duration::from_millis(200));
    Ok(())
}

struct Player {
    node: Node,
    stop: Arc<AtomicBool>,
    rate: f64,
    /// The first stamp and when it was played.
    start: Option<(Stamp, Instant)>,
    late: Duration,
}

impl Player {
    fn play_bag(&mut self, args: &PlayArgs) -> Result<u64> {
        let bag = Bag::open(&args.recording)?;
        let publishers = self.bag_publishers(&bag, &args.topics)?;
        self.wait_for_subscriber(args.wait, || {
            publishers
                .values()
                .any(|publisher| publisher.get_inter_process_subscription_count().is_ok_and(|n| n > 0))
        });
        let mut played = 0;
        let mut messages = bag.messages(None);
        for message in messages.by_ref() {
            let RawMessage { topic, stamp, cdr, .. } = message?;
            let Some(publisher) = publishers.get(&*topic) else { continue };
            if !self.wait_until(stamp) {
                break;
            }
            publisher.publish_raw(&cdr)?;
            played += 1;
        }
        bag.losses().lines().iter().chain(&messages.losses().lines()).for_each(|line| println!("{line}"));
        Ok(played)
    }

    fn bag_publishers(&mut self, bag: &Bag, wanted: &[String]) -> Result<BTreeMap<String, PublisherUntyped>> {
        if let Some(unknown) =
            wanted.iter().find(|name| bag.topics().iter().all(|topic| *topic.name != ***name))
        {
            let topics: Vec<&str> = bag.topics().iter().map(|topic| &*topic.name).collect();
            return Err(Error::mismatch("--topics", unknown, format!("topics of the recording: {topics:?}")));
        }
        let mut publishers = BTreeMap::new();
        for topic in bag.topics() {
            let is_wanted = wanted.is_empty() || wanted.iter().any(|name| **name == *topic.name);
            if !is_wanted || topic.messages == 0 {
                continue;
            }
            match self.node.create_publisher_untyped(&topic.name, &topic.type_name, reliable_qos(DEPTH)) {
                Ok(publisher) => {
                    println!("{}: {} messages of {}", topic.name, topic.messages, topic.type_name);
                    publishers.insert(topic.name.to_string(), publisher);
                }
                Err(error) => println!("{}: not played: {}: {error}", topic.name, topic.type_name),
            }
        }
        Ok(publishers)
    }

    fn play_table(&mut self, args: &PlayArgs) -> Result<u64> {
        let recording = Recording::read(&args.recording, &Selection::default())?;
        let publisher = self.node.create_publisher::<JointState>("joint_states", reliable_qos(DEPTH))?;
        println!("joint_states: {} messages of {:?}", recording.states.len(), recording.joints);
        self.wait_for_subscriber(args.wait, || {
            publisher.get_inter_process_subscription_count().is_ok_and(|subscribers| subscribers > 0)
        });
        let mut message = JointState { name: recording.joints, ..Default::default() };
        let mut played = 0;
        for state in &recording.states {
            if !self.wait_until(state.stamp) {
                break;
            }
            fill_joint_state(state, &mut message);
            publisher.publish(&message)?;
            played += 1;
        }
        Ok(played)
    }

    fn wait_for_subscriber(&self, seconds: f64, found: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs_f64(seconds);
        while !found() && Instant::now() < deadline && !self.stop.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(10));
        }
        // A subscriber that has been found still has to find us.
        std::thread::sleep(Duration::from_millis(200));
    }

    /// Sleeps until `stamp` is due; false when the program was stopped.
    fn wait_until(&mut self, stamp: Stamp) -> bool {
        let (first, began) = *self.start.get_or_insert((stamp, Instant::now()));
        let due = began + Duration::from_secs_f64(stamp.since(first).max(0.0) / self.rate);
        while !self.stop.load(Ordering::Acquire) {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.late = self.late.max(due.elapsed());
                return true;
            }
            // In slices, so that a signal ends a long pause of the recording.
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
        false
    }
}
