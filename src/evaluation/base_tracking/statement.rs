//! What the runs must show, each as a figure found and a bound.

use super::controller::BaseControllerKind as Kind;
use super::course::BaseScenarioKind;
use super::figures::{BaseRun, Grouped, JUDGED, Quantity, figure};
use serde::Serialize;

/// `found` must not be above `bound`; null where a run diverged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BaseStatement {
    pub claim: String,
    pub scenario: BaseScenarioKind,
    pub controller: Kind,
    pub found: f64,
    pub bound: f64,
    pub pass: bool,
}

/// All statements that the controllers and scenarios of `groups` allow.
pub fn statements(groups: &Grouped) -> Vec<BaseStatement> {
    let mut out = Vec::new();
    for ((scenario, controller), runs) in groups {
        let mut state = |claim: String, found: f64, bound: f64| {
            // a figure that is not a number is not below the bound
            let pass = found <= bound;
            out.push(BaseStatement {
                claim,
                scenario: *scenario,
                controller: *controller,
                found,
                bound,
                pass,
            });
        };
        let count = |of: fn(&BaseRun) -> usize| runs.iter().map(|run| of(run)).sum::<usize>() as f64;
        state("ticks beyond a limit".into(), count(|run| run.outcome.violations), 0.0);
        state("runs ended".into(), count(|run| usize::from(run.outcome.fault.is_some())), 0.0);
        if !controller.learns() {
            continue;
        }
        let is_bound = controller.is_challenger() && scenario.is_learnable();
        for quantity in Quantity::ALL {
            for (rival, bound) in [(Kind::Baseline, 0.35), (Kind::Integral, 0.60)] {
                let Some(rivals) = groups.get(&(*scenario, rival)).filter(|_| is_bound) else {
                    continue;
                };
                let of = |runs: &[&BaseRun]| Some(figure(runs, None, quantity, JUDGED)?.median);
                if let (Some(ours), Some(theirs)) = (of(runs), of(rivals)) {
                    let claim = format!(
                        "{}: median over that of {}, {} s",
                        quantity.name(),
                        rival.name(),
                        JUDGED.name()
                    );
                    state(claim, ours / theirs, bound);
                }
            }
            if let Some(baselines) = groups.get(&(*scenario, Kind::Baseline))
                && let Some(worst) = worst_ratio(runs, baselines, quantity)
            {
                let claim = format!("{}: any seed over baseline, {} s", quantity.name(), JUDGED.name());
                state(claim, worst, 1.05);
            }
        }
    }
    out
}

/// Over seeds, the worst of `ours` over that of the rival.
fn worst_ratio(ours: &[&BaseRun], rivals: &[&BaseRun], quantity: Quantity) -> Option<f64> {
    let ratios = ours.iter().filter_map(|run| {
        let rival = rivals.iter().find(|rival| rival.seed == run.seed)?;
        Some(run.rms(quantity, JUDGED)? / rival.rms(quantity, JUDGED)?)
    });
    ratios.max_by(f64::total_cmp)
}
