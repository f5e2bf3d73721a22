//! What the runs must show, each as a figure found and a bound.

use super::controller::ControllerKind as Kind;
use super::course::ScenarioKind;
use super::figures::{Figure, Grouped, Window, figure, worst_second};
use crate::command::Mode;
use serde::Serialize;

/// `found` must not be above `bound`; null where a run diverged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statement {
    pub claim: String,
    pub scenario: ScenarioKind,
    pub controller: Kind,
    pub found: f64,
    pub bound: f64,
    pub pass: bool,
}

impl Statement {
    fn new(
        claim: impl Into<String>,
        scenario: ScenarioKind,
        controller: Kind,
        found: f64,
        bound: f64,
    ) -> Self {
        // a figure that is not a number is not below the bound
        Self { claim: claim.into(), scenario, controller, found, bound, pass: found <= bound }
    }
}

/// Without learning.
const FIXED: [Kind; 5] =
    [Kind::PdGravity, Kind::PidGravity, Kind::ComputedTorque, Kind::DisturbanceObserver, Kind::SlotineLi];

/// All statements that the controllers and scenarios of `groups` allow.
pub fn statements(groups: &Grouped) -> Vec<Statement> {
    let mut scenarios: Vec<ScenarioKind> = groups.keys().map(|(scenario, _)| *scenario).collect();
    scenarios.dedup();
    let mut out = Vec::new();
    for scenario in scenarios {
        let of = Of { groups, scenario };
        of.ratios(&mut out);
        of.no_help_no_harm(&mut out);
        of.every_second(&mut out);
        of.limits(&mut out);
    }
    out
}

/// One scenario's figures.
struct Of<'a> {
    groups: &'a Grouped<'a>,
    scenario: ScenarioKind,
}

impl Of<'_> {
    fn figure(&self, controller: Kind, window: Window) -> Option<Figure> {
        figure(self.groups.get(&(self.scenario, controller))?.iter().copied(), window)
    }

    /// The median of `controller` over that of `rival` is at most `bound`.
    fn ratio(&self, out: &mut Vec<Statement>, controller: Kind, rival: Kind, window: Window, bound: f64) {
        let figures = self.figure(controller, window).zip(self.figure(rival, window));
        if let Some((ours, theirs)) = figures {
            let claim = format!("median over that of {}, {} s", rival.name(), window.name());
            out.push(Statement::new(claim, self.scenario, controller, ours.median / theirs.median, bound));
        }
    }

    fn ratios(&self, out: &mut Vec<Statement>) {
        let judged = Window::judged(self.scenario);
        if self.scenario.is_learnable() {
            self.ratio(out, Kind::Learned, Kind::PdGravity, judged, 0.10);
            self.ratio(out, Kind::Learned, Kind::PidGravity, judged, 0.15);
            self.ratio(out, Kind::Full, Kind::DisturbanceObserver, judged, 0.5);
            if self.scenario.changes() {
                self.ratio(out, Kind::Full, Kind::DisturbanceObserver, Window::FIRST, 0.5);
            }
            self.ratio(out, Kind::Full, Kind::Oracle, judged, 1.5);
            self.ratio(out, Kind::Full, Kind::SlotineLi, judged, 1.0);
        }
        if self.scenario.command_interface() != Mode::Effort {
            self.ratio(out, Kind::Head, Kind::PdGravity, judged, 0.40);
            self.ratio(out, Kind::Learned, Kind::PdGravity, judged, 0.40);
            self.ratio(out, Kind::Learned, Kind::PidGravity, judged, 0.40);
            self.ratio(out, Kind::Full, Kind::PdGravity, judged, 0.40);
            self.ratio(out, Kind::Full, Kind::DisturbanceObserver, judged, 1.0);
            self.ratio(out, Kind::Full, Kind::DisturbanceObserver, Window::FIRST, 1.0);
        }
        if self.scenario == ScenarioKind::FilteredVelocity {
            self.ratio(out, Kind::Full, Kind::DisturbanceObserver, judged, 0.5);
        }
        if self.scenario == ScenarioKind::Nominal {
            self.ratio(out, Kind::Full, Kind::ComputedTorque, judged, 1.10);
        }
        if self.scenario.judges_slow_learners() {
            let learners = self.groups.keys().filter(|(scenario, _)| *scenario == self.scenario);
            for (_, learner) in learners.filter(|(_, controller)| controller.is_slow_learner()) {
                self.ratio(out, *learner, Kind::PdGravity, Window::LATE, 0.40);
            }
        }
    }

    /// Where learning cannot help it must not harm.
    fn no_help_no_harm(&self, out: &mut Vec<Statement>) {
        let is_missing_ticks = self.scenario == ScenarioKind::MissedTicks;
        if !(self.scenario.is_noisy() || self.scenario.is_delayed() || is_missing_ticks) {
            return;
        }
        let window = Window::judged(self.scenario);
        let rivals: Vec<Figure> = FIXED.iter().filter_map(|rival| self.figure(*rival, window)).collect();
        let Some(ours) = self.figure(Kind::Full, window) else { return };
        if rivals.is_empty() {
            return;
        }
        let mut compare = |name: &str, of: fn(&Figure) -> f64| {
            let best = rivals.iter().map(of).fold(f64::INFINITY, f64::min);
            let claim = format!("{name} over the best without learning, {} s", window.name());
            out.push(Statement::new(claim, self.scenario, Kind::Full, of(&ours) / best, 1.05));
        };
        compare("median", |figure| figure.median);
        compare("worst", |figure| figure.worst);
    }

    fn every_second(&self, out: &mut Vec<Statement>) {
        for ((scenario, controller), runs) in self.groups {
            if *scenario != self.scenario {
                continue;
            }
            for rival in controller.stands_on() {
                let Some(rivals) = self.groups.get(&(self.scenario, *rival)) else { continue };
                if let Some(worst) = worst_second(runs, rivals) {
                    let claim = format!("worst second over {} + 5 % and + 1 mrad", rival.name());
                    out.push(Statement::new(claim, self.scenario, *controller, worst.excess, 1.0));
                }
            }
        }
    }

    fn limits(&self, out: &mut Vec<Statement>) {
        for ((scenario, controller), runs) in self.groups {
            if *scenario == self.scenario && controller.is_ours() {
                let count = |of: fn(&&super::Run) -> usize| runs.iter().map(of).sum::<usize>() as f64;
                let violations = count(|run| run.outcome.violations);
                let broken = count(|run| run.outcome.non_finite + usize::from(run.outcome.fault.is_some()));
                out.push(Statement::new("ticks beyond a limit", self.scenario, *controller, violations, 0.0));
                out.push(Statement::new(
                    "commands not finite, runs ended",
                    self.scenario,
                    *controller,
                    broken,
                    0.0,
                ));
            }
        }
    }
}
