//! The report as text, as JSON and as a page with plots.

use super::controller::ControllerKind;
use super::course::ScenarioKind;
use super::figures::{Figure, Grouped, Run, Window, figure, grouped, median, worst_second};
use super::statement::{Statement, statements};
use super::{BIN, TrackingReport};
use crate::evaluation::table_of_statements;
use crate::report::{LineChart, Page, Series, Table};
use serde_json::{Map, Value, json};
use std::fmt;

/// As many curves as can be told apart, where there are more controllers.
const DRAWN: [ControllerKind; 7] = [
    ControllerKind::PdGravity,
    ControllerKind::PidGravity,
    ControllerKind::DisturbanceObserver,
    ControllerKind::SlotineLi,
    ControllerKind::Learned,
    ControllerKind::Full,
    ControllerKind::Oracle,
];

impl TrackingReport {
    pub fn statements(&self) -> Vec<Statement> {
        statements(&grouped(&self.runs))
    }

    /// `scenarios.<scenario>.controllers.<controller>.<window>`: median, worst [rad], ratio_to_oracle, n. Beside them the
    /// worst seconds, limits and references of each scenario, and the statements.
    pub fn json(&self) -> Value {
        let groups = grouped(&self.runs);
        let mut scenarios = Map::new();
        for scenario in scenarios_of(&groups) {
            let (mut controllers, mut worst, mut safety, mut references) =
                (Map::new(), Map::new(), Map::new(), Map::new());
            for (controller, runs) in controllers_of(&groups, scenario) {
                let windows = Window::of(scenario).iter().filter_map(|window| {
                    let figure = with_oracle(&groups, scenario, controller, *window)?;
                    Some((window.name(), json!(figure)))
                });
                controllers.insert(controller.name().into(), Value::Object(windows.collect()));
                safety.insert(controller.name().into(), safety_of(runs));
                references.insert(controller.name().into(), by_reference(runs));
                let rivals: Vec<&Run> = (controller.stands_on().iter())
                    .filter_map(|rival| groups.get(&(scenario, *rival)))
                    .flatten()
                    .copied()
                    .collect();
                if let Some(second) = worst_second(runs, &rivals) {
                    worst.insert(controller.name().into(), json!(second));
                }
            }
            let entry = json!({
                "description": scenario.description(),
                "controllers": controllers,
                "worst_second": worst,
                "safety": safety,
                "references": references,
            });
            scenarios.insert(scenario.name().into(), entry);
        }
        json!({ "scenarios": scenarios, "statements": statements(&groups) })
    }

    fn table(groups: &Grouped, scenario: ScenarioKind) -> Table {
        let windows = Window::of(scenario);
        let header =
            ["controller".to_owned()].into_iter().chain(windows.iter().flat_map(|window| {
                [format!("{} s", window.name()), "worst".to_owned(), "/ oracle".to_owned()]
            }));
        let title =
            format!("{}: {} (rms error, mrad: median over seeds)", scenario.name(), scenario.description());
        let mut table = Table::new(title, header);
        for (controller, _) in controllers_of(groups, scenario) {
            let cells = windows.iter().flat_map(|window| {
                let Some(figure) = with_oracle(groups, scenario, controller, *window) else {
                    return [String::new(), String::new(), String::new()];
                };
                let ratio = figure.ratio_to_oracle.map_or(String::new(), |ratio| format!("{ratio:.2}"));
                [mrad(figure.median), mrad(figure.worst), ratio]
            });
            table.row([controller.name().to_owned()].into_iter().chain(cells));
        }
        table
    }
}

impl fmt::Display for TrackingReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = grouped(&self.runs);
        for scenario in scenarios_of(&groups) {
            writeln!(out, "{}", Self::table(&groups, scenario))?;
        }
        for run in self.runs.iter().filter(|run| run.outcome.fault.is_some()) {
            let fault = run.outcome.fault.as_deref().unwrap_or_default();
            writeln!(out, "{} {} seed {}: {fault}", run.scenario.name(), run.controller.name(), run.seed)?;
        }
        write!(out, "{}", statement_table(&statements(&groups)))
    }
}

/// Everything on one page.
pub fn page(report: &TrackingReport) -> Page {
    let groups = grouped(&report.runs);
    let mut page =
        Page::new("Tracking", "root mean square of the true tracking error over joints, simulated arm");
    page.paragraph(
        "Every controller on the same courses with the same noise; medians over seeds, whose references are a multi-sine, \
         point to point with rests, and fast point to point by turns. Windows are seconds after the start, or after the \
         changes where the robot changes on the way.",
    );
    for controller in
        groups.keys().map(|(_, controller)| *controller).collect::<std::collections::BTreeSet<_>>()
    {
        page.paragraph(format!("{}: {}", controller.name(), controller.description()));
    }
    page.heading("What must be shown").table(statement_table(&statements(&groups)));
    for scenario in scenarios_of(&groups) {
        page.heading(scenario.name()).table(TrackingReport::table(&groups, scenario));
        page.figure([over_time(&groups, scenario)], "Median over seeds of the error in each half second.");
    }
    page
}

fn statement_table(statements: &[Statement]) -> Table {
    table_of_statements(statements.iter().map(|statement| {
        let Statement { claim, scenario, controller, found, bound, pass } = statement;
        ([scenario.name(), controller.name(), claim.as_str()], [*found, *bound], *pass)
    }))
}

fn over_time(groups: &Grouped, scenario: ScenarioKind) -> LineChart {
    const BINS: usize = 5;
    let curve = |controller: ControllerKind, runs: &[&Run]| {
        let chunks = runs.iter().map(|run| run.outcome.squares.len() / BINS).min().unwrap_or(0);
        let points = (0..chunks).filter_map(|chunk| {
            let rms = |run: &&Run| {
                let squares = &run.outcome.squares[chunk * BINS..(chunk + 1) * BINS];
                1e3 * (squares.iter().sum::<f64>() / BINS as f64).sqrt()
            };
            let values: Vec<f64> = runs.iter().map(rms).collect();
            Some((((chunk + 1) * BINS) as f64 * BIN, median(&values)?))
        });
        Series::line(controller.name(), points.collect())
    };
    let all: Vec<_> = controllers_of(groups, scenario).collect();
    let drawn = all.iter().filter(|(controller, _)| all.len() <= DRAWN.len() || DRAWN.contains(controller));
    let marks = all.first().map_or(Vec::new(), |(_, runs)| runs[0].origins.clone());
    LineChart {
        title: scenario.description().into(),
        x_label: "time [s]".into(),
        y_label: "rms tracking error [mrad]".into(),
        series: drawn.map(|(controller, runs)| curve(*controller, runs)).collect(),
        x_log: false,
        y_log: true,
        marks: marks.into_iter().filter(|time| *time > 0.0).map(|time| (time, "change".into())).collect(),
    }
}

fn scenarios_of(groups: &Grouped) -> Vec<ScenarioKind> {
    let mut scenarios: Vec<ScenarioKind> = groups.keys().map(|(scenario, _)| *scenario).collect();
    scenarios.dedup();
    scenarios
}

fn controllers_of<'a>(
    groups: &'a Grouped<'a>,
    scenario: ScenarioKind,
) -> impl Iterator<Item = (ControllerKind, &'a [&'a Run])> {
    groups
        .iter()
        .filter(move |((of, _), _)| *of == scenario)
        .map(|((_, controller), runs)| (*controller, runs.as_slice()))
}

fn with_oracle(
    groups: &Grouped,
    scenario: ScenarioKind,
    controller: ControllerKind,
    window: Window,
) -> Option<Figure> {
    let of = |controller| figure(groups.get(&(scenario, controller))?.iter().copied(), window);
    let ours = of(controller)?;
    let oracle = of(ControllerKind::Oracle);
    Some(Figure { ratio_to_oracle: oracle.map(|oracle| ours.median / oracle.median), ..ours })
}

fn safety_of(runs: &[&Run]) -> Value {
    let sum = |of: fn(&Run) -> usize| runs.iter().map(|run| of(run)).sum::<usize>();
    json!({
        "ticks_beyond_a_limit": sum(|run| run.outcome.violations),
        "ticks_limited": sum(|run| run.outcome.limited),
        "commands_not_finite": sum(|run| run.outcome.non_finite),
        "runs_ended": sum(|run| usize::from(run.outcome.fault.is_some())),
    })
}

/// The median in the window that a scenario is judged in, of each kind of reference.
fn by_reference(runs: &[&Run]) -> Value {
    let mut out = Map::new();
    for kind in
        [super::ReferenceKind::MultiSine, super::ReferenceKind::PointToPoint, super::ReferenceKind::Fast]
    {
        let of_kind: Vec<&Run> = runs.iter().filter(|run| run.reference == kind).copied().collect();
        let Some(first) = of_kind.first() else { continue };
        if let Some(figure) = figure(of_kind.iter().copied(), Window::judged(first.scenario)) {
            let name = json!(kind).as_str().unwrap_or_default().to_owned();
            out.insert(name, json!({ "median": figure.median, "worst": figure.worst, "n": figure.n }));
        }
    }
    Value::Object(out)
}

fn mrad(radians: f64) -> String {
    format!("{:.3}", 1e3 * radians)
}
