//! The report as text, as JSON and as a page with plots.

use super::controller::BaseControllerKind;
use super::course::BaseScenarioKind;
use super::figures::{BaseRun, Grouped, Quantity, WINDOWS, figure, grouped};
use super::statement::{BaseStatement, statements};
use super::{BIN, BaseTrackingReport};
use crate::evaluation::table_of_statements;
use crate::evaluation::tracking::median;
use crate::report::{LineChart, Page, Series, Table};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt;

impl BaseTrackingReport {
    pub fn statements(&self) -> Vec<BaseStatement> {
        statements(&grouped(&self.runs))
    }

    /// `scenarios.<scenario>.controllers.<controller>.<quantity>.<window>`: median, worst [m or rad], worst_seed,
    /// ratio_to_oracle, n. Beside them limits of each scenario, and the statements.
    pub fn json(&self) -> Value {
        let groups = grouped(&self.runs);
        let mut scenarios = Map::new();
        for scenario in scenarios_of(&groups) {
            let (mut controllers, mut safety) = (Map::new(), Map::new());
            for (controller, runs) in controllers_of(&groups, scenario) {
                let quantities = Quantity::ALL.into_iter().map(|quantity| {
                    let windows = WINDOWS.into_iter().filter_map(|window| {
                        let figure = figure(runs, oracle_of(&groups, scenario), quantity, window)?;
                        Some((window.name(), json!(figure)))
                    });
                    (quantity.name().to_owned(), Value::Object(windows.collect()))
                });
                controllers.insert(controller.name().into(), Value::Object(quantities.collect()));
                safety.insert(controller.name().into(), safety_of(runs));
            }
            let entry = json!({
                "description": scenario.description(),
                "controllers": controllers,
                "safety": safety,
            });
            scenarios.insert(scenario.name().into(), entry);
        }
        json!({ "scenarios": scenarios, "statements": statements(&groups) })
    }

    fn table(groups: &Grouped, scenario: BaseScenarioKind) -> Table {
        let columns = || Quantity::ALL.into_iter().flat_map(|q| WINDOWS.into_iter().map(move |w| (q, w)));
        let header = ["controller".to_owned()].into_iter().chain(columns().flat_map(|(quantity, window)| {
            [
                format!("{} {} s [{}]", quantity.name(), window.name(), quantity.unit()),
                "worst (seed)".into(),
                "/ oracle".into(),
            ]
        }));
        let title = format!("{}: {} (rms error: median over seeds)", scenario.name(), scenario.description());
        let mut table = Table::new(title, header);
        for (controller, runs) in controllers_of(groups, scenario) {
            let cells = columns().flat_map(|(quantity, window)| {
                let Some(figure) = figure(runs, oracle_of(groups, scenario), quantity, window) else {
                    return [String::new(), String::new(), String::new()];
                };
                let ratio = figure.ratio_to_oracle.map_or(String::new(), |ratio| format!("{ratio:.2}"));
                let worst = format!("{:.1} ({})", 1e3 * figure.worst, figure.worst_seed);
                [format!("{:.1}", 1e3 * figure.median), worst, ratio]
            });
            table.row([controller.name().to_owned()].into_iter().chain(cells));
        }
        table
    }
}

impl fmt::Display for BaseTrackingReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = grouped(&self.runs);
        for scenario in scenarios_of(&groups) {
            writeln!(out, "{}", Self::table(&groups, scenario))?;
        }
        for run in &self.runs {
            if let Some(fault) = &run.outcome.fault {
                writeln!(
                    out,
                    "{} {} seed {}: {fault}",
                    run.scenario.name(),
                    run.controller.name(),
                    run.seed
                )?;
            }
        }
        write!(out, "{}", statement_table(&statements(&groups)))
    }
}

/// Everything on one page.
pub fn base_page(report: &BaseTrackingReport) -> Page {
    let groups = grouped(&report.runs);
    let mut page = Page::new(
        "Tracking of a base",
        "root mean square of the true distance to the path and of the angle to its direction, simulated base",
    );
    page.paragraph(
        "Every controller on the same paths with the same noise; medians over seeds, whose paths are figures of eight, \
         rounded rectangles and random splines by turns.",
    );
    for controller in groups.keys().map(|(_, controller)| *controller).collect::<BTreeSet<_>>() {
        page.paragraph(format!("{}: {}", controller.name(), controller.description()));
    }
    page.heading("What must be shown").table(statement_table(&statements(&groups)));
    for scenario in scenarios_of(&groups) {
        page.heading(scenario.name()).table(BaseTrackingReport::table(&groups, scenario));
        let charts = Quantity::ALL.map(|quantity| over_time(&groups, scenario, quantity));
        page.figure(charts, "Median over seeds of the error in each second.");
    }
    page
}

fn statement_table(statements: &[BaseStatement]) -> Table {
    table_of_statements(statements.iter().map(|statement| {
        let BaseStatement { claim, scenario, controller, found, bound, pass } = statement;
        ([scenario.name(), controller.name(), claim.as_str()], [*found, *bound], *pass)
    }))
}

fn over_time(groups: &Grouped, scenario: BaseScenarioKind, quantity: Quantity) -> LineChart {
    const BINS: usize = 10;
    let curve = |controller: BaseControllerKind, runs: &[&BaseRun]| {
        let chunks = runs.iter().map(|run| run.outcome.squares(quantity).len() / BINS).min().unwrap_or(0);
        let points = (0..chunks).filter_map(|chunk| {
            let rms = |run: &&BaseRun| {
                let squares = &run.outcome.squares(quantity)[chunk * BINS..(chunk + 1) * BINS];
                1e3 * (squares.iter().sum::<f64>() / BINS as f64).sqrt()
            };
            let values: Vec<f64> = runs.iter().map(rms).collect();
            Some((((chunk + 1) * BINS) as f64 * BIN, median(&values)?))
        });
        Series::line(controller.name(), points.collect())
    };
    LineChart {
        title: scenario.description().into(),
        x_label: "time [s]".into(),
        y_label: format!("rms {} error [{}]", quantity.name().replace('_', "-"), quantity.unit()),
        series: controllers_of(groups, scenario).map(|(controller, runs)| curve(controller, runs)).collect(),
        x_log: false,
        y_log: true,
        marks: Vec::new(),
    }
}

fn scenarios_of(groups: &Grouped) -> BTreeSet<BaseScenarioKind> {
    groups.keys().map(|(scenario, _)| *scenario).collect()
}

fn controllers_of<'a>(
    groups: &'a Grouped<'a>,
    scenario: BaseScenarioKind,
) -> impl Iterator<Item = (BaseControllerKind, &'a [&'a BaseRun])> {
    let of = groups.iter().filter(move |((of, _), _)| *of == scenario);
    of.map(|((_, controller), runs)| (*controller, runs.as_slice()))
}

fn oracle_of<'a>(groups: &'a Grouped<'a>, scenario: BaseScenarioKind) -> Option<&'a [&'a BaseRun]> {
    groups.get(&(scenario, BaseControllerKind::Oracle)).map(Vec::as_slice)
}

fn safety_of(runs: &[&BaseRun]) -> Value {
    let sum = |of: fn(&BaseRun) -> usize| runs.iter().map(|run| of(run)).sum::<usize>();
    json!({
        "ticks_beyond_a_limit": sum(|run| run.outcome.violations),
        "ticks_limited": sum(|run| run.outcome.limited),
        "runs_ended": sum(|run| usize::from(run.outcome.fault.is_some())),
    })
}
