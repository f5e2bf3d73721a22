//! The report as text and as a page with plots.

use super::{Example, HorizonErrors, NEGLIGIBLE, PredictionReport};
use crate::error::Result;
use crate::report::{LineChart, Page, Series, Table};
use crate::state::Space;
use std::fmt;

/// Worse than the best baseline by more than this share is called a failure.
const TOLERANCE: f64 = 0.02;
/// Coordinates shown in the plots of examples.
const SHOWN: usize = 3;

/// `error` over that of `other`; none where one of them is nothing, as of a robot at rest.
fn ratio(error: f64, other: f64) -> String {
    match error >= NEGLIGIBLE && other >= NEGLIGIBLE {
        true => format!("{:.3}", error / other),
        false => "-".into(),
    }
}

impl PredictionReport {
    fn unit(&self) -> &'static str {
        match self.space {
            Space::Joints => "rad or m",
            Space::PlanarBase => "m",
        }
    }

    fn title(&self) -> String {
        let unit = self.unit();
        format!("Root mean square error over positions and test time [{unit}], by time ahead")
    }

    fn table(&self) -> Table {
        let mut head = vec![
            "ahead",
            "hold",
            "const. vel.",
            "const. acc.",
            "ridge",
            "ridge, own",
            "linear",
            "LSTM",
            "learned",
            "worst seed",
            "of best",
            "1σ",
            "2σ",
            "n",
        ];
        if self.commands.is_some() {
            head.extend(["told", "worst seed", "told / learned"]);
        }
        let mut table = Table::new(self.title(), head);
        for row in &self.horizons {
            let errors = &row.rmse;
            let figures = [
                errors.hold,
                errors.constant_velocity,
                errors.constant_acceleration,
                errors.ridge,
                errors.ridge_own,
                errors.linear.median,
                errors.lstm.median,
                errors.learned.median,
                errors.learned.worst,
            ];
            let mut cells = vec![format!("{:.0} ms", 1e3 * row.time)];
            cells.extend(figures.map(|figure| format!("{figure:.5}")));
            cells.push(ratio(errors.learned.median, errors.best_baseline()));
            cells.extend(row.within.map(|share| format!("{share:.2}")));
            cells.push(row.count.to_string());
            if let Some(commanded) = &errors.commanded {
                cells.extend([commanded.median, commanded.worst].map(|figure| format!("{figure:.5}")));
                cells.push(ratio(commanded.median, errors.learned.median));
            }
            table.row(cells);
        }
        table
    }

    fn summaries(&self) -> String {
        self.summaries.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    /// Where it fails, in words.
    fn verdict(&self) -> String {
        let failures = self.failures(TOLERANCE);
        if self.rests() {
            let most = self.horizons.iter().map(|row| row.rmse.learned.median).fold(0.0, f64::max);
            let rests = "The robot rests in what is tested on: the figures say nothing of how well its motion is predicted";
            return match most < NEGLIGIBLE {
                true => format!("{rests}."),
                false => format!("{rests}, but that the learned predictor errs by up to {most:.5} at rest."),
            };
        }
        if failures.is_empty() {
            return format!(
                "The learned predictor is nowhere more than {:.0} % worse than the best of constant velocity and acceleration and \
                 both ridges.",
                100.0 * TOLERANCE
            );
        }
        let list: Vec<String> = failures
            .iter()
            .map(|(time, ratio)| match ratio.is_finite() {
                true => format!("{:.0} ms ahead by {:.0} %", 1e3 * time, 100.0 * (ratio - 1.0)),
                false => format!("{:.0} ms ahead, where that has no error", 1e3 * time),
            })
            .collect();
        format!("The learned predictor is worse than the best baseline: {}.", list.join(", "))
    }

    fn remarks(&self) -> String {
        let average = &self.average_displacement;
        format!(
            "Mean displacement error over all steps: hold {:.5}, constant velocity {:.5}, learned {:.5} (worst seed \
             {:.5}). Seeds {:?}, {} training steps (kept {:?}), {:.1} s of training, {:.0} µs a measurement and \
             prediction.",
            average.hold,
            average.constant_velocity,
            average.learned.median,
            average.learned.worst,
            self.seeds,
            self.training_steps,
            self.best_steps,
            self.training_seconds,
            1e6 * self.seconds_per_prediction
        )
    }
}

impl fmt::Display for PredictionReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}: {}", self.origin, self.summaries())?;
        writeln!(formatter, "coordinates: {}", self.joints.join(", "))?;
        writeln!(formatter, "{}", self.table())?;
        self.notes.iter().try_for_each(|note| writeln!(formatter, "{note}"))?;
        writeln!(formatter, "{}", self.verdict())?;
        if let Some(commands) = &self.commands {
            writeln!(
                formatter,
                "told: the learned predictor that is told the {commands}; all others are not."
            )?;
        }
        write!(formatter, "{}", self.remarks())
    }
}

/// All reports on one page.
pub fn page(reports: &[PredictionReport]) -> Result<Page> {
    let subtitle = "trained on the first part of each recording, tested on the rest, causally";
    let mut page = Page::new("Prediction", subtitle);
    page.paragraph(
        "hold: the robot stays; const. vel.: it goes on as it goes; const. acc.: its acceleration lasts; ridge: \
         linear auto-regression on the last 20 samples of all coordinates, fitted offline; own: on those of the \
         predicted coordinate. linear: the learned predictor without its LSTM; LSTM: without its linear path; \
         learned: both. Learned figures are of the median seed. of best: learned over the best of constant velocity and acceleration \
         and the ridges. 1σ, 2σ: share of its errors within one and two of its standard deviations (0.68 and 0.95 of \
         normal ones).",
    );
    for report in reports {
        page.heading(report.origin.clone())
            .paragraph(format!("{}: {}", report.joints.join(", "), report.summaries()))
            .table(report.table())
            .paragraph(report.notes.join(" "))
            .paragraph(report.verdict())
            .paragraph(report.commands.as_ref().map_or(String::new(), |commands| {
                format!("told: the learned predictor that is told the {commands}; all others are not.")
            }))
            .paragraph(report.remarks())
            .figure([by_horizon(report)], "Error by time ahead, relative to constant velocity.")
            .figure([by_coordinate(report)], "Error of each coordinate at the longest time ahead.");
        for example in &report.examples {
            let charts: Vec<LineChart> = (0..report.joints.len().min(SHOWN))
                .map(|coordinate| fan(report, example, coordinate))
                .collect();
            page.figure(charts, "One prediction with two standard deviations, and what became of it.");
        }
    }
    Ok(page)
}

fn by_horizon(report: &PredictionReport) -> LineChart {
    let curve = |name: &str, figure: &dyn Fn(&HorizonErrors) -> f64| {
        let points = report.horizons.iter();
        let points = points.map(|row| (1e3 * row.time, figure(row) / row.rmse.constant_velocity)).collect();
        Series::line(name, points)
    };
    LineChart {
        title: "Error by time ahead".into(),
        x_label: "ahead [ms]".into(),
        y_label: "rmse / rmse of constant velocity".into(),
        series: vec![
            curve("ridge", &|row| row.rmse.ridge),
            curve("ridge, own", &|row| row.rmse.ridge_own),
            curve("linear", &|row| row.rmse.linear.median),
            curve("LSTM", &|row| row.rmse.lstm.median),
            curve("learned", &|row| row.rmse.learned.median),
        ],
        x_log: false,
        y_log: false,
        marks: Vec::new(),
    }
}

fn by_coordinate(report: &PredictionReport) -> LineChart {
    let last = report.horizons.iter().max_by_key(|row| row.step);
    let curve = |name: &str, figure: &dyn Fn(&super::Errors) -> f64| {
        let rows = last.iter().flat_map(|row| &row.coordinates).enumerate();
        Series::line(name, rows.map(|(index, errors)| ((index + 1) as f64, figure(errors))).collect())
    };
    LineChart {
        title: "Error of each coordinate".into(),
        x_label: "coordinate".into(),
        y_label: "rmse [rad or m]".into(),
        series: vec![
            curve("best baseline", &|errors| errors.best_baseline()),
            curve("learned", &|errors| errors.learned.median),
        ],
        x_log: false,
        y_log: true,
        marks: Vec::new(),
    }
}

fn fan(report: &PredictionReport, example: &Example, coordinate: usize) -> LineChart {
    let milliseconds = |sample: usize| 1e3 * (sample as f64 - example.now as f64) * report.dt;
    let truth = example.truth[coordinate].iter().enumerate();
    let predicted: Vec<(f64, f64)> = example.predicted[coordinate]
        .iter()
        .enumerate()
        .map(|(step, value)| (milliseconds(example.now + step + 1), *value))
        .collect();
    let bound = |sign: f64| {
        let pairs = predicted.iter().zip(&example.stddev[coordinate]);
        pairs.map(|((_, value), stddev)| value + sign * 2.0 * stddev).collect::<Vec<f64>>()
    };
    let (lower, upper) = (bound(-1.0), bound(1.0));
    LineChart {
        title: report.joints[coordinate].clone(),
        x_label: "time [ms]".into(),
        y_label: "position".into(),
        series: vec![
            Series::line("measured", truth.map(|(sample, value)| (milliseconds(sample), *value)).collect()),
            Series::band("predicted", predicted, lower, upper),
        ],
        x_log: false,
        y_log: false,
        marks: vec![(0.0, "now".into())],
    }
}
