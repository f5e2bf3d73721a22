//! What the second arm learns with, and what its nodes and those of the first are told beyond the parameter file.

use crate::demo::DemoArgs;
use crate::demo::monitor::Arm;
use crate::evaluation::tracking::{Condition, Tuning};
use clap::ValueEnum;
use serde::Serialize;

/// Named as the controllers of `evaluate tracking`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Stack {
    /// The head in the tick alone, on the baseline of the parameter file
    Head,
    /// Head and backprop, on the same
    Learned,
    /// Inverse dynamics, observer, head and backprop
    Full,
}

impl Stack {
    /// Whether a learner runs beside the controller.
    pub fn has_learner(self) -> bool {
        self != Self::Head
    }
}

/// Dotted keys and values in YAML, as `-p key:=value` has them, for the `node` of an `arm`.
pub fn overrides(args: &DemoArgs, arm: Arm, node: &str) -> Vec<(&'static str, String)> {
    let learned = arm == Arm::Learned;
    let mut out = match node {
        "simulator" => vec![("arm.seed", args.seed.to_string())],
        "learner" => vec![("seed", args.seed.to_string())],
        "controller" => {
            let learner = learned && args.controller.has_learner();
            vec![
                ("reference.seed", args.seed.to_string()),
                ("learning", learner.to_string()),
                ("accept_weights", learner.to_string()),
                ("head.enabled", learned.to_string()),
                ("prediction", learned.to_string()),
                ("authority", format!("{:.1}", f64::from(learned))),
            ]
        }
        _ => Vec::new(),
    };
    if node == "controller" && learned && args.controller == Stack::Full {
        let Tuning { observer, fast_bandwidth, .. } = Tuning::of(Condition::Usual);
        out.extend([
            ("feedforward", "inverse_dynamics".to_owned()),
            ("observer.bandwidth", format!("{:.1}", observer.bandwidth)),
            ("observer.fast_bandwidth", format!("{fast_bandwidth:.1}")),
        ]);
    }
    if args.lock_step {
        out.extend(in_lock_step(node));
    }
    out
}

/// The simulator waits for an answer to each measurement, and the controller answers each. Simulated time runs ahead of the other
/// nodes, so that their silence tells nothing.
fn in_lock_step(node: &str) -> Vec<(&'static str, String)> {
    let settings: &[(&str, &str)] = match node {
        "simulator" => &[("real_time_factor", "0.0")],
        "controller" => {
            &[("tick", "joint_states"), ("learner_timeout", "1000.0"), ("predictor_timeout", "1000.0")]
        }
        _ => &[],
    };
    settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
}
