//! `target/report/bench.html`: what `bench.json` holds, as tables, and what a step costs against the network's size.

use learned_control::report::{LineChart, Page, Series, Table};
use serde_json::{Map, Value};

/// Lines of the chart: names in bench.json, and for the legend.
const LINES: [(&str, &str); 6] = [
    ("ours", "ours"),
    ("ours_sample_to_output", "ours, from sample to output"),
    ("candle", "Candle"),
    ("onnxruntime", "ONNX Runtime"),
    ("tract", "tract"),
    ("pytorch", "PyTorch"),
];
const PARTS: [(&str, &str); 4] = [
    ("inference", "One step of one input"),
    ("training", "One training step"),
    ("tick", "A whole tick"),
    ("round_trip", "From joint states to the command through ROS 2"),
];
/// Of a table: names in bench.json, headers and decimals.
const COLUMNS: [(&str, &str, usize); 8] = [
    ("median", "median", 2),
    ("p99", "p99", 2),
    ("p999", "p99.9", 2),
    ("max", "max", 2),
    ("n", "n", 0),
    ("allocations", "allocations", 0),
    ("cpu_percent", "CPU %", 1),
    ("lost", "lost", 0),
];

/// `all` is what bench.json holds: figures by part, race and contestant.
pub fn page(all: &Map<String, Value>) -> Page {
    let mut page =
        Page::new("Speed", "Times in µs; one thread; contestants of a table took turns within one run");
    for (part, heading) in PARTS {
        let Some(races) = all.get(part).and_then(Value::as_object) else { continue };
        page.heading(heading);
        if part == "inference" {
            page.figure([cost_by_size(races)], COST);
        }
        for (race, contestants) in by_number(races) {
            page.table(table(race, contestants));
        }
    }
    page
}

const COST: &str = "Median time of one step of an LSTM of two layers, 21 inputs and 280 outputs, with the state carried. \
                    From sample to output: what does not depend on the sample is computed before it comes. Dashed: \
                    the time in which the same processor reads the weights once.";

fn cost_by_size(races: &Map<String, Value>) -> LineChart {
    let sizes: Vec<(f64, &Value)> = by_number(races)
        .into_iter()
        .filter_map(|(race, figures)| Some((race.strip_prefix("lstm")?.parse().ok()?, figures)))
        .collect();
    let points = |name: &str| -> Vec<(f64, f64)> {
        let median = |figures: &Value| figures[name]["median"].as_f64();
        sizes.iter().filter_map(|(hidden, figures)| Some((*hidden, median(figures)?))).collect()
    };
    let lines = LINES.map(|(name, label)| Series::line(label, points(name)));
    let read = Series::dashed("reading the weights", points("read"));
    LineChart {
        title: "Cost against size".into(),
        x_label: "hidden units of each layer".into(),
        y_label: "time of a step [µs]".into(),
        series: lines.into_iter().chain([read]).filter(|series| !series.points.is_empty()).collect(),
        x_log: true,
        y_log: true,
        marks: sizes.iter().map(|(hidden, _)| (*hidden, format!("{hidden} units"))).collect(),
    }
}

/// Fastest first. Columns that nobody has a figure for are left out.
fn table(race: &str, contestants: &Value) -> Table {
    let median = |figures: &Value| figures["median"].as_f64().unwrap_or(f64::INFINITY);
    let mut rows: Vec<(&String, &Value)> = contestants.as_object().into_iter().flatten().collect();
    rows.sort_by(|(_, a), (_, b)| median(a).total_cmp(&median(b)));
    let columns = COLUMNS.iter().filter(|(key, ..)| rows.iter().any(|(_, figures)| figures[key].is_number()));
    let ours = contestants.get("ours").map(median);

    let header = columns.clone().map(|(_, label, _)| *label).chain(ours.map(|_| "ours / it"));
    let mut table = Table::new(race, ["contestant"].into_iter().chain(header));
    for (name, figures) in &rows {
        let cell = |(key, _, decimals): &(&str, &str, usize)| {
            figures[key].as_f64().map_or(String::new(), |value| format!("{value:.decimals$}"))
        };
        let ratio = ours.map(|ours| format!("{:.3}", ours / median(figures)));
        table.row([name.to_string()].into_iter().chain(columns.clone().map(cell)).chain(ratio));
    }
    table
}

/// In the order of the numbers in their names: lstm32 before lstm128, 100Hz before 1000Hz.
fn by_number(races: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let mut races: Vec<(&str, &Value)> = races.iter().map(|(name, race)| (name.as_str(), race)).collect();
    races.sort_by_key(|(name, _)| {
        let digits: String = name.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(u64::MAX)
    });
    races
}
