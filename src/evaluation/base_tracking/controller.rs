//! The controllers that are compared.

use crate::learner::Rule;
use clap::ValueEnum;
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum BaseControllerKind {
    Baseline,
    Integral,
    Mppi,
    Learner,
    LearnerTrackingError,
    LearnerComposite,
    Head,
    Learned,
    Oracle,
}

impl BaseControllerKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Integral => "integral",
            Self::Mppi => "mppi",
            Self::Learner => "learner",
            Self::LearnerTrackingError => "learner_tracking_error",
            Self::LearnerComposite => "learner_composite",
            Self::Head => "head",
            Self::Learned => "learned",
            Self::Oracle => "oracle",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Self::Baseline => "the law of Kanayama et al. 1990 with the gains of the parameter file",
            Self::Integral => "the same with integrals of the errors along and across the path",
            Self::Mppi => {
                "model predictive path integral control about the reference, with the nominal model of the base"
            }
            Self::Learner => {
                "the baseline, and a network by backprop alone, from random weights, by the rule of the parameter file"
            }
            Self::LearnerTrackingError => "the same by the rule tracking_error",
            Self::LearnerComposite => "the same by the rule composite",
            Self::Head => "the baseline, and what the head learns in the tick",
            Self::Learned => "the baseline, head and backprop",
            Self::Oracle => {
                "the baseline, and the inverse of the base as it is: wheels, servos, lag, payload, delay; not the patch"
            }
        }
    }

    /// Those that have to meet what learning has to meet.
    pub fn is_challenger(self) -> bool {
        matches!(self, Self::Head | Self::Learned | Self::Oracle)
    }

    /// Those that must never be worse than the baseline.
    pub fn learns(self) -> bool {
        self.is_challenger() || self.has_network()
    }

    pub fn has_network(self) -> bool {
        self.rule().is_some() || matches!(self, Self::Learner | Self::Learned)
    }

    /// The rule that backprop goes by, if not by that of the parameter file.
    pub fn rule(self) -> Option<Rule> {
        match self {
            Self::LearnerTrackingError => Some(Rule::TrackingError),
            Self::LearnerComposite => Some(Rule::Composite),
            _ => None,
        }
    }
}
