//! From the errors of single runs to figures over seeds.

use super::BIN;
use super::controller::ControllerKind;
use super::course::{ReferenceKind, ScenarioKind};
use super::run::Outcome;
use serde::Serialize;
use std::collections::BTreeMap;

/// Seconds after the start or after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    pub from: u32,
    pub to: u32,
}

impl Window {
    pub const FIRST: Self = Self { from: 0, to: 1 };
    pub const SOON: Self = Self { from: 0, to: 2 };
    pub const SETTLED: Self = Self { from: 2, to: 10 };
    pub const AFTER_CHANGE: Self = Self { from: 3, to: 10 };
    pub const LATE: Self = Self { from: 15, to: 20 };

    /// Those of a scenario.
    pub fn of(kind: ScenarioKind) -> &'static [Self] {
        match kind.changes() {
            true => &[Self::FIRST, Self::SOON, Self::SETTLED, Self::AFTER_CHANGE],
            false => &[Self::FIRST, Self::SOON, Self::SETTLED, Self::LATE],
        }
    }

    /// In which a scenario is judged.
    pub fn judged(kind: ScenarioKind) -> Self {
        if kind.changes() { Self::AFTER_CHANGE } else { Self::SETTLED }
    }

    pub fn name(self) -> String {
        format!("{}-{}", self.from, self.to)
    }

    /// Root mean square over the window after each of `origins` [s] together; none if the run did not last so long.
    pub fn rms(self, squares: &[f64], origins: &[f64]) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0);
        for origin in origins {
            let bin = |seconds: u32| ((origin + f64::from(seconds)) / BIN).round() as usize;
            let window = squares.get(bin(self.from)..bin(self.to))?;
            sum += window.iter().sum::<f64>();
            count += window.len();
        }
        (count > 0).then(|| (sum / count as f64).sqrt())
    }
}

/// One run and what it was.
#[derive(Clone, Debug)]
pub struct Run {
    pub scenario: ScenarioKind,
    pub controller: ControllerKind,
    pub seed: u64,
    pub reference: ReferenceKind,
    pub origins: Vec<f64>,
    pub outcome: Outcome,
}

/// Over seeds, rad (or m); null where a run diverged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    pub median: f64,
    pub worst: f64,
    /// Of the medians; none without an oracle.
    pub ratio_to_oracle: Option<f64>,
    pub n: usize,
}

/// Of `runs`, all of one scenario and controller.
pub fn figure<'a>(runs: impl Iterator<Item = &'a Run>, window: Window) -> Option<Figure> {
    let values: Option<Vec<f64>> = runs.map(|run| window.rms(&run.outcome.squares, &run.origins)).collect();
    let values = values?;
    let worst = values.iter().copied().fold(0.0, f64::max);
    Some(Figure { median: median(&values)?, worst, ratio_to_oracle: None, n: values.len() })
}

/// None of no values; the mean of the middle two of an even number.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(if sorted.len() % 2 == 1 { upper } else { 0.5 * (sorted[sorted.len() / 2 - 1] + upper) })
}

/// The second in which a controller does worst beside the rival that it stands on, in the same run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorstSecond {
    pub rival: ControllerKind,
    pub seed: u64,
    /// When it ends, s.
    pub end: f64,
    /// rad (or m).
    pub rms: f64,
    pub rival_rms: f64,
    /// Above 1 is more than 5 % and more than 1 mrad above the rival.
    pub excess: f64,
}

const SHARE_ABOVE: f64 = 1.05;
const AMOUNT_ABOVE: f64 = 1e-3;

/// Over all windows of one second of the runs of `ours`, each beside the run of a rival with the same seed.
pub fn worst_second(ours: &[&Run], rivals: &[&Run]) -> Option<WorstSecond> {
    let bins = (1.0 / BIN).round() as usize;
    let mut worst: Option<WorstSecond> = None;
    for run in ours {
        for rival in rivals.iter().filter(|rival| rival.seed == run.seed) {
            let seconds = run.outcome.squares.windows(bins).zip(rival.outcome.squares.windows(bins));
            for (begin, (ours, theirs)) in seconds.enumerate() {
                let rms = |squares: &[f64]| (squares.iter().sum::<f64>() / bins as f64).sqrt();
                let (rms, rival_rms) = (rms(ours), rms(theirs));
                let allowed = (SHARE_ABOVE * rival_rms).max(rival_rms + AMOUNT_ABOVE);
                let excess = if rms.is_finite() { rms / allowed } else { f64::INFINITY };
                if worst.as_ref().is_none_or(|worst| excess > worst.excess) {
                    let end = (begin + bins) as f64 * BIN;
                    worst = Some(WorstSecond {
                        rival: rival.controller,
                        seed: run.seed,
                        end,
                        rms,
                        rival_rms,
                        excess,
                    });
                }
            }
        }
    }
    worst
}

/// Runs by scenario and controller.
pub type Grouped<'a> = BTreeMap<(ScenarioKind, ControllerKind), Vec<&'a Run>>;

pub fn grouped(runs: &[Run]) -> Grouped<'_> {
    let mut groups = Grouped::new();
    for run in runs {
        groups.entry((run.scenario, run.controller)).or_default().push(run);
    }
    groups
}
