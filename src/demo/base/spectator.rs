//! Listens to both bases, sends them their path, changes them.

use super::change::Change;
use super::record::{Prediction, Record};
use crate::base::{Pose, ReferencePath, Twist};
use crate::error::{Error, Result};
use crate::ros::convert::time_to_stamp;
use crate::ros::planar::{message_to_pose, message_to_twist};
use crate::ros::shell::{Subscription, drained, reliable_qos};
use crate::state::Stamp;
use futures::FutureExt;
use futures::future::BoxFuture;
use r2r::nav_msgs::msg::{Odometry, Path};
use r2r::rcl_interfaces::srv::SetParameters;
use r2r::{Client, Node, Publisher, QosProfile};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Measurements that a prediction may be of.
const KEPT: usize = 100;

/// One of the two robots of the demo; its name is the namespace of its nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    Baseline,
    Learned,
}

impl Base {
    pub const BOTH: [Self; 2] = [Self::Baseline, Self::Learned];
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baseline => "baseline",
            Self::Learned => "learned",
        })
    }
}

pub struct Spectator {
    node: Node,
    bases: [Listener; 2],
    predicted: Subscription<Path>,
    predictions: Vec<Prediction>,
    requests: Vec<BoxFuture<'static, r2r::Result<SetParameters::Response>>>,
}

struct Listener {
    ground_truth: Subscription<Odometry>,
    odometry: Subscription<Odometry>,
    measured: VecDeque<(Stamp, Pose, Twist)>,
    paths: Publisher<Path>,
    parameters: Client<SetParameters::Service>,
    record: Record,
}

impl Spectator {
    pub fn new(path: &ReferencePath) -> Result<Self> {
        let mut node = Node::create(r2r::Context::create()?, "demo", "")?;
        let bases = [
            Listener::new(&mut node, Base::Baseline, path.clone())?,
            Listener::new(&mut node, Base::Learned, path.clone())?,
        ];
        let predicted = drained(node.subscribe("/learned/base_predictor/predicted_path", reliable_qos(10)))?;
        Ok(Self { node, bases, predicted, predictions: Vec::new(), requests: Vec::new() })
    }

    pub fn record(&self, base: Base) -> &Record {
        &self.bases[base as usize].record
    }

    pub fn predictions(&self) -> &[Prediction] {
        &self.predictions
    }

    /// Whether the controller of `base` is there and its simulator was heard.
    pub fn is_up(&self, base: Base) -> Result<bool> {
        let listener = &self.bases[base as usize];
        Ok(listener.paths.get_inter_process_subscription_count()? > 0 && listener.record.time() > 0.0)
    }

    /// Sends `base` its path and begins its record anew.
    pub fn send(&mut self, base: Base, message: &Path, path: &ReferencePath) -> Result<()> {
        let listener = &mut self.bases[base as usize];
        listener.record = Record::new(path.clone());
        Ok(listener.paths.publish(message)?)
    }

    /// Asks the simulator of `base` to be as `change` says.
    pub fn change(&mut self, base: Base, change: Change) -> Result<()> {
        let request = SetParameters::Request { parameters: change.parameters() };
        self.requests.push(self.bases[base as usize].parameters.request(&request)?.boxed());
        Ok(())
    }

    /// Takes in what comes within `timeout`; an error when a simulator refused a change.
    pub fn spin(&mut self, timeout: Duration) -> Result<()> {
        self.node.spin_once(timeout);
        self.bases.iter_mut().for_each(Listener::listen);
        while let Some(message) = self.predicted.take() {
            self.predictions.extend(self.bases[Base::Learned as usize].prediction(&message));
        }
        let mut refusal = None;
        self.requests.retain_mut(|request| match request.now_or_never() {
            None => true,
            Some(Ok(answer)) => {
                let refused = answer.results.into_iter().find(|result| !result.successful);
                refusal = refused.map(|refused| refused.reason).or(refusal.take());
                false
            }
            Some(Err(error)) => {
                refusal = Some(error.to_string());
                false
            }
        });
        match refusal {
            Some(reason) => Err(Error::Ros(format!("the simulator refused the change: {reason}"))),
            None => Ok(()),
        }
    }
}

impl Listener {
    fn new(node: &mut Node, base: Base, path: ReferencePath) -> Result<Self> {
        let of = |name: &str| format!("/{base}/{name}");
        Ok(Self {
            ground_truth: drained(node.subscribe(&of("base_simulator/ground_truth"), reliable_qos(100)))?,
            odometry: drained(node.subscribe(&of("odom"), reliable_qos(100)))?,
            measured: VecDeque::with_capacity(KEPT),
            paths: node.create_publisher(&of("base_controller/reference_path"), reliable_qos(1))?,
            parameters: node
                .create_client(&of("base_simulator/set_parameters"), QosProfile::services_default())?,
            record: Record::new(path),
        })
    }

    fn listen(&mut self) {
        while let Some(message) = self.ground_truth.take() {
            if let Some(pose) = message_to_pose(&message.pose.pose) {
                self.record.see(time_to_stamp(&message.header.stamp), pose);
            }
        }
        while let Some(message) = self.odometry.take() {
            if let Some(pose) = message_to_pose(&message.pose.pose) {
                self.measured.truncate(KEPT - 1);
                let twist = message_to_twist(&message.twist.twist);
                self.measured.push_front((time_to_stamp(&message.header.stamp), pose, twist));
            }
        }
    }

    /// `None` of what was predicted from a measurement that was not heard.
    fn prediction(&self, message: &Path) -> Option<Prediction> {
        let begin = time_to_stamp(&message.header.stamp);
        let (stamp, pose, twist) = *self.measured.iter().find(|(stamp, ..)| *stamp == begin)?;
        let predicted = message.poses.iter().filter_map(|stamped| {
            Some((time_to_stamp(&stamped.header.stamp), message_to_pose(&stamped.pose)?))
        });
        Some(Prediction { stamp, pose, twist, predicted: predicted.collect() })
    }
}
