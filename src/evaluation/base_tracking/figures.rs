//! From the errors of single runs to figures over seeds.

use super::controller::BaseControllerKind;
use super::course::{BaseReferenceKind, BaseScenarioKind};
use super::run::BaseOutcome;
use crate::evaluation::tracking::{Window, median};
use serde::Serialize;
use std::collections::BTreeMap;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Distance to the path, m.
    CrossTrack,
    /// Angle to its direction, rad.
    Heading,
}

impl Quantity {
    pub const ALL: [Self; 2] = [Self::CrossTrack, Self::Heading];

    pub fn name(self) -> &'static str {
        match self {
            Self::CrossTrack => "cross_track",
            Self::Heading => "heading",
        }
    }

    /// What thousandths of it are called.
    pub fn unit(self) -> &'static str {
        match self {
            Self::CrossTrack => "mm",
            Self::Heading => "mrad",
        }
    }
}

/// The first is that of getting onto the path and of learning; a scenario is judged in the second.
pub const WINDOWS: [Window; 2] = [Window { from: 0, to: 10 }, JUDGED];
pub const JUDGED: Window = Window { from: 10, to: 30 };

/// One run and what it was.
#[derive(Clone, Debug)]
pub struct BaseRun {
    pub scenario: BaseScenarioKind,
    pub controller: BaseControllerKind,
    pub seed: u64,
    pub reference: BaseReferenceKind,
    /// From when on windows count, s.
    pub origin: f64,
    pub outcome: BaseOutcome,
}

impl BaseRun {
    /// Root mean square over a window; none if the run did not last so long.
    pub fn rms(&self, quantity: Quantity, window: Window) -> Option<f64> {
        window.rms(self.outcome.squares(quantity), &[self.origin])
    }
}

/// Over seeds, m or rad; null where a run diverged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BaseFigure {
    pub median: f64,
    pub worst: f64,
    /// The seed of the worst.
    pub worst_seed: u64,
    /// Of the medians; none without an oracle.
    pub ratio_to_oracle: Option<f64>,
    pub n: usize,
}

/// Of `runs`, all of one scenario and controller; `oracle` are the oracle's on the same.
pub fn figure(
    runs: &[&BaseRun],
    oracle: Option<&[&BaseRun]>,
    quantity: Quantity,
    window: Window,
) -> Option<BaseFigure> {
    let of = |runs: &[&BaseRun]| {
        let values: Option<Vec<f64>> = runs.iter().map(|run| run.rms(quantity, window)).collect();
        values.and_then(|values| Some((median(&values)?, values)))
    };
    let (median, values) = of(runs)?;
    let worst = values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let ratio_to_oracle = oracle.and_then(of).map(|(oracle, _)| median / oracle);
    Some(BaseFigure {
        median,
        worst: *worst.1,
        worst_seed: runs[worst.0].seed,
        ratio_to_oracle,
        n: values.len(),
    })
}

/// Runs by scenario and controller.
pub type Grouped<'a> = BTreeMap<(BaseScenarioKind, BaseControllerKind), Vec<&'a BaseRun>>;

pub fn grouped(runs: &[BaseRun]) -> Grouped<'_> {
    let mut groups = Grouped::new();
    for run in runs {
        groups.entry((run.scenario, run.controller)).or_default().push(run);
    }
    groups
}
