//! What the demo found: tables, demo.json and demo.html.

use crate::demo::monitor::{Arm, Monitor, Track};
use crate::error::{Error, Result};
use crate::report::{LineChart, Page, Series, Table};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Length of the windows before and after the change that are compared, s.
const WINDOW: f64 = 10.0;
/// Horizons in the terminal's table, s.
const SHOWN_HORIZONS: [f64; 5] = [0.05, 0.1, 0.2, 0.3, 0.5];

/// The figures of one run, as they stand in demo.json.
#[derive(Serialize)]
pub struct Summary {
    tracking: Tracking,
    prediction: Prediction,
    timing: Timing,
    payload_kg: f64,
    seconds: f64,
    seed: u64,
    revision: String,
    #[serde(skip)]
    curves: Curves,
}

#[derive(Serialize)]
struct Tracking {
    baseline: BeforeAfter,
    learned: BeforeAfter,
    /// Seconds after the start and after the change from which on the learned error stays below half of the
    /// baseline's for three seconds; null when it never does.
    halved_after_s: Halved,
}

#[derive(Serialize)]
struct BeforeAfter {
    before_rms_rad: f64,
    after_rms_rad: f64,
}

#[derive(Serialize)]
struct Halved {
    start: Option<f64>,
    change: Option<f64>,
}

/// By horizon in seconds, written with two decimals.
#[derive(Default, Serialize)]
struct Prediction {
    skill_by_horizon: BTreeMap<String, f64>,
    rmse_rad_by_horizon: BTreeMap<String, f64>,
    constant_velocity_rmse_rad_by_horizon: BTreeMap<String, f64>,
}

#[derive(Serialize)]
struct Timing {
    tick: Percentiles,
    round_trip: Percentiles,
    missed_deadlines: f64,
    ticks: f64,
}

#[derive(Serialize)]
struct Percentiles {
    p50_us: f64,
    p99_us: f64,
}

/// For the page: (time [s], error [mrad]) and (horizon [ms], error [mrad]).
struct Curves {
    baseline: Vec<(f64, f64)>,
    learned: Vec<(f64, f64)>,
    lstm: Vec<(f64, f64)>,
    constant_velocity: Vec<(f64, f64)>,
}

impl Summary {
    pub fn new(seed: u64, seconds: f64, payload_kg: f64, monitor: &Monitor) -> Self {
        let (baseline, learned) = (monitor.track(Arm::Baseline), monitor.track(Arm::Learned));
        let change = seconds / 2.0;
        let before_after = |track: &Track| BeforeAfter {
            before_rms_rad: track.rms(change - WINDOW.min(change / 2.0), change),
            after_rms_rad: track.rms(seconds - WINDOW.min(change / 2.0), seconds),
        };
        let timing = |status: &str, what: &str| Percentiles {
            p50_us: monitor.figure(status, &format!("{what}_p50_us")),
            p99_us: monitor.figure(status, &format!("{what}_p99_us")),
        };
        let control = "/learned/controller: control";
        Self {
            tracking: Tracking {
                baseline: before_after(baseline),
                learned: before_after(learned),
                halved_after_s: Halved {
                    start: halved_after(baseline, learned, 0.0, change),
                    change: halved_after(baseline, learned, change, seconds),
                },
            },
            prediction: Prediction::new(monitor),
            timing: Timing {
                tick: timing(control, "tick"),
                round_trip: timing("/learned/simulator: simulation", "round_trip"),
                missed_deadlines: monitor.figure(control, "missed_deadlines"),
                ticks: monitor.figure(control, "ticks"),
            },
            payload_kg,
            seconds,
            seed,
            revision: revision(),
            curves: Curves::new(seconds, monitor),
        }
    }

    /// The tables for the terminal.
    pub fn tables(&self) -> String {
        let [tracking, prediction, timing] =
            [self.tracking_table(), self.prediction_table(), self.timing_table()];
        format!("{tracking}\n{prediction}\n{timing}")
    }

    /// Writes demo.json and demo.html into `folder`; gives the path of the page.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let json = folder.join("demo.json");
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Data { file: json.clone(), problem: error.to_string() })?;
        crate::files::replace(&json, text.as_bytes())?;
        let page = folder.join("demo.html");
        self.page().write(&page)?;
        Ok(std::path::absolute(&page).unwrap_or(page))
    }

    fn tracking_table(&self) -> Table {
        let header = ["", "baseline [mrad]", "learned [mrad]", "ratio", "halved after [s]"];
        let Tracking { baseline, learned, halved_after_s } = &self.tracking;
        let row = |name: &str, baseline: f64, learned: f64, halved: Option<f64>| {
            let halved = halved.map_or("never".to_owned(), |time| format!("{time:.0}"));
            let [b, l] = [baseline, learned].map(|rms| format!("{:.2}", 1e3 * rms));
            [name.to_owned(), b, l, format!("{:.2}", learned / baseline), halved]
        };
        let loaded = format!("with {} kg at the tool", self.payload_kg);
        let mut table = Table::new("Tracking error, rms over joints", header);
        table
            .row(row("as described", baseline.before_rms_rad, learned.before_rms_rad, halved_after_s.start))
            .row(row(&loaded, baseline.after_rms_rad, learned.after_rms_rad, halved_after_s.change));
        table
    }

    fn prediction_table(&self) -> Table {
        let header = ["horizon [ms]", "const. velocity [mrad]", "LSTM [mrad]", "skill"];
        let mut table = Table::new("Prediction error, rms over joints", header);
        for horizon in SHOWN_HORIZONS {
            let key = horizon_key(horizon);
            let Some(skill) = self.prediction.skill_by_horizon.get(&key) else { continue };
            let lstm = self.prediction.rmse_rad_by_horizon[&key];
            let constant_velocity = self.prediction.constant_velocity_rmse_rad_by_horizon[&key];
            let [c, l] = [constant_velocity, lstm].map(|rmse| format!("{:.2}", 1e3 * rmse));
            table.row([format!("{:.0}", 1e3 * horizon), c, l, format!("{skill:.2}")]);
        }
        table
    }

    fn timing_table(&self) -> Table {
        let row = |name: &str, times: &Percentiles| {
            [name.to_owned(), format!("{:.0}", times.p50_us), format!("{:.0}", times.p99_us)]
        };
        let Timing { tick, round_trip, missed_deadlines, ticks } = &self.timing;
        let mut table = Table::new("Time", ["", "p50 [us]", "p99 [us]"]);
        table
            .row(row("tick, with publishing", tick))
            .row(row("round trip joint_states -> commands", round_trip))
            .row([
                format!("deadlines missed: {missed_deadlines:.0} of {ticks:.0}"),
                String::new(),
                String::new(),
            ]);
        table
    }

    fn page(&self) -> Page {
        let Curves { baseline, learned, lstm, constant_velocity } = &self.curves;
        let tracking = LineChart {
            title: "Tracking error".into(),
            x_label: "time [s]".into(),
            y_label: "rms over joints and one second [mrad]".into(),
            series: vec![
                Series::line("baseline", baseline.clone()),
                Series::line("learned", learned.clone()),
            ],
            x_log: false,
            y_log: true,
            marks: vec![(self.seconds / 2.0, format!("payload +{} kg", self.payload_kg))],
        };
        let prediction = LineChart {
            title: "Prediction error".into(),
            x_label: "horizon [ms]".into(),
            y_label: "rms over joints [mrad]".into(),
            series: vec![
                Series::dashed("constant velocity", constant_velocity.clone()),
                Series::line("LSTM", lstm.clone()),
            ],
            ..Default::default()
        };
        let subtitle = format!("seed {}, revision {}", self.seed, self.revision);
        let mut page = Page::new("Learned control: two arms, one learns", &subtitle);
        page.paragraph(
            "Two simulated arms follow the same reference over ROS 2 topics under the same PD controller with gravity \
             feedforward. To the command of one of them a neural network adds what it learns from the arm's own motion.",
        )
        .figure([tracking], "Half way both arms pick up a payload that no model knows of.")
        .table(self.tracking_table())
        .figure([prediction], "Where the arm will be, predicted from its past motion.")
        .table(self.prediction_table())
        .table(self.timing_table());
        page
    }
}

impl Prediction {
    fn new(monitor: &Monitor) -> Self {
        let mut prediction = Self::default();
        for (index, [lstm, constant_velocity, _]) in monitor.errors_by_step().iter().enumerate() {
            let key = horizon_key(monitor.prediction_dt() * (index + 1) as f64);
            prediction.skill_by_horizon.insert(key.clone(), 1.0 - lstm / constant_velocity);
            prediction.rmse_rad_by_horizon.insert(key.clone(), *lstm);
            prediction.constant_velocity_rmse_rad_by_horizon.insert(key, *constant_velocity);
        }
        prediction
    }
}

impl Curves {
    fn new(seconds: f64, monitor: &Monitor) -> Self {
        let by_second = |track: &Track| {
            let middles = (0..(2.0 * seconds) as usize).map(|half| 0.5 * half as f64);
            middles.map(|time| (time + 0.5, 1e3 * track.rms(time, time + 1.0))).collect()
        };
        let by_horizon = |column: usize| {
            let steps = monitor.errors_by_step().iter().enumerate();
            let horizon = |index: usize| 1e3 * monitor.prediction_dt() * (index + 1) as f64;
            steps.map(|(index, row)| (horizon(index), 1e3 * row[column])).collect()
        };
        Self {
            baseline: by_second(monitor.track(Arm::Baseline)),
            learned: by_second(monitor.track(Arm::Learned)),
            lstm: by_horizon(0),
            constant_velocity: by_horizon(1),
        }
    }
}

/// The first second after `from` from which on the learned error is at most half of the baseline's for three seconds.
fn halved_after(baseline: &Track, learned: &Track, from: f64, to: f64) -> Option<f64> {
    let halved = |second: f64| learned.rms(second, second + 1.0) <= 0.5 * baseline.rms(second, second + 1.0);
    let seconds = (0..(to - from - 2.0) as usize).map(|second| second as f64);
    seconds.clone().find(|second| (0..3).all(|ahead| halved(from + second + f64::from(ahead))))
}

fn horizon_key(seconds: f64) -> String {
    format!("{seconds:.2}")
}

/// The source revision that this program was started in, or the version of the package.
fn revision() -> String {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let revision = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let revision = revision.and_then(|bytes| String::from_utf8(bytes).ok());
    revision.map_or_else(|| env!("CARGO_PKG_VERSION").to_owned(), |text| text.trim().to_owned())
}
