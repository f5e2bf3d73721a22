//! Listens to both arms: tracking errors, predictions, diagnostics.

use crate::demo::track::Track;
use crate::error::Result;
use crate::ros::convert::sample_error;
use crate::ros::shell::{Subscription, drained, reliable_qos};
use futures::FutureExt;
use futures::future::BoxFuture;
use r2r::diagnostic_msgs::msg::DiagnosticArray;
use r2r::rcl_interfaces::msg::{Parameter, ParameterType, ParameterValue};
use r2r::rcl_interfaces::srv::SetParameters;
use r2r::std_msgs::msg::Float64MultiArray;
use r2r::trajectory_msgs::msg::JointTrajectory;
use r2r::{Client, Node, QosProfile};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// One of the two robots of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    Baseline,
    Learned,
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baseline => "baseline",
            Self::Learned => "learned",
        })
    }
}

/// What a status on /diagnostics said last, by its keys.
type Values = BTreeMap<String, String>;

pub struct Monitor {
    node: Node,
    samples: [Subscription<JointTrajectory>; 2],
    tracks: [Track; 2],
    realised_error: Subscription<Float64MultiArray>,
    predicted: Subscription<JointTrajectory>,
    /// [step][prediction, constant velocity, hold], rad, over the whole run.
    errors_by_step: Vec<[f64; 3]>,
    prediction_dt: f64,
    diagnostics: Subscription<DiagnosticArray>,
    statuses: BTreeMap<String, Values>,
    clients: [Client<SetParameters::Service>; 2],
    requests: Vec<BoxFuture<'static, r2r::Result<SetParameters::Response>>>,
    refusal: Option<String>,
}

impl Monitor {
    pub fn new() -> Result<Self> {
        let mut node = Node::create(r2r::Context::create()?, "demo", "")?;
        let samples = |node: &mut Node, arm: Arm| {
            drained(node.subscribe(&format!("/{arm}/controller/learning_sample"), reliable_qos(10)))
        };
        let client = |node: &mut Node, arm: Arm| {
            node.create_client(&format!("/{arm}/simulator/set_parameters"), QosProfile::services_default())
        };
        Ok(Self {
            samples: [samples(&mut node, Arm::Baseline)?, samples(&mut node, Arm::Learned)?],
            tracks: Default::default(),
            realised_error: drained(node.subscribe("/learned/predictor/realised_error", reliable_qos(1)))?,
            predicted: drained(node.subscribe("/learned/predictor/predicted_trajectory", reliable_qos(1)))?,
            errors_by_step: Vec::new(),
            prediction_dt: 0.0,
            diagnostics: drained(node.subscribe("/diagnostics", reliable_qos(10)))?,
            statuses: BTreeMap::new(),
            clients: [client(&mut node, Arm::Baseline)?, client(&mut node, Arm::Learned)?],
            requests: Vec::new(),
            refusal: None,
            node,
        })
    }

    pub fn track(&self, arm: Arm) -> &Track {
        &self.tracks[arm as usize]
    }

    /// Errors of the predictions by step, over the whole run: of the LSTM, of constant velocity, of holding, rad.
    pub fn errors_by_step(&self) -> &[[f64; 3]] {
        &self.errors_by_step
    }

    /// Step of the prediction [s]; 0 before the first one came.
    pub fn prediction_dt(&self) -> f64 {
        self.prediction_dt
    }

    /// A figure that a node reports on /diagnostics; NaN before it did.
    pub fn figure(&self, status: &str, key: &str) -> f64 {
        let text = self.statuses.get(status).and_then(|values| values.get(key));
        text.and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
    }

    /// What a simulator answered when it refused a payload.
    pub fn refused_payload(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Takes in what comes within `timeout`.
    pub fn spin(&mut self, timeout: Duration) {
        self.node.spin_once(timeout);
        for (samples, track) in self.samples.iter_mut().zip(&mut self.tracks) {
            while let Some(message) = samples.take() {
                if let Some((stamp, error)) = sample_error(&message) {
                    track.hear(stamp, error);
                }
            }
        }
        if let Some(message) = self.realised_error.newest() {
            self.errors_by_step = message.data.chunks_exact(3).map(|row| [row[0], row[1], row[2]]).collect();
        }
        if let Some(message) = self.predicted.newest()
            && let Some(first) = message.points.first()
        {
            self.prediction_dt = crate::ros::convert::message_to_seconds(&first.time_from_start);
        }
        while let Some(message) = self.diagnostics.take() {
            for status in message.status {
                let values = status.values.into_iter().map(|pair| (pair.key, pair.value));
                self.statuses.insert(status.name, values.collect());
            }
        }
        self.poll_requests();
    }

    /// Asks the simulator of `arm` to put `payload` [kg] at the tool.
    pub fn set_payload(&mut self, arm: Arm, payload: f64) -> Result<()> {
        let value = ParameterValue {
            type_: ParameterType::PARAMETER_DOUBLE as u8,
            double_value: payload,
            ..Default::default()
        };
        let parameters = vec![Parameter { name: "scenario.payload".into(), value }];
        let request = SetParameters::Request { parameters };
        self.requests.push(self.clients[arm as usize].request(&request)?.boxed());
        Ok(())
    }

    fn poll_requests(&mut self) {
        let refusal = &mut self.refusal;
        self.requests.retain_mut(|request| match request.now_or_never() {
            None => true,
            Some(Ok(response)) => {
                let refused = response.results.into_iter().find(|result| !result.successful);
                if let Some(refused) = refused {
                    *refusal = Some(refused.reason);
                }
                false
            }
            Some(Err(error)) => {
                *refusal = Some(error.to_string());
                false
            }
        });
    }

    /// One line for the terminal on the last `period` seconds.
    pub fn status_line(&self, period: f64) -> String {
        let rms = |arm: Arm| {
            let track = self.track(arm);
            1e3 * track.rms(track.time() - period, track.time() + 1e-9)
        };
        let (baseline, learned) = (rms(Arm::Baseline), rms(Arm::Learned));
        let time = self.track(Arm::Learned).time();
        let percent = 100.0 * learned / baseline;
        let middle = self.errors_by_step.len() / 2;
        let prediction =
            self.errors_by_step.get(middle).map_or(String::new(), |[lstm, constant_velocity, _]| {
                let ahead = 1e3 * self.prediction_dt * (middle + 1) as f64;
                format!(
                    "{ahead:.0} ms ahead: {:.1} mrad (const. velocity {:.1})",
                    1e3 * lstm,
                    1e3 * constant_velocity
                )
            });
        let control = "/learned/controller: control";
        let rate = self.track(Arm::Learned).rate(period);
        let missed = self.figure(control, "missed_deadlines");
        format!(
            "{time:4.0} s  tracking error: baseline {baseline:6.2} mrad, learned {learned:6.2} mrad ({percent:3.0} %)  \
             prediction {prediction}  loop {rate:.0} Hz, {missed:.0} deadlines missed"
        )
    }
}
