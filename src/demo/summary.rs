//! What the demo found: tables, demo.json and demo.html.

use crate::demo::DemoArgs;
use crate::demo::monitor::{Arm, Monitor};
use crate::demo::stack::Stack;
use crate::demo::track::Track;
use crate::demo::without_ros::Replica;
use crate::error::{Error, Result};
use crate::evaluation::tracking::median;
use crate::report::{LineChart, Page, Series, Table};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Length of the windows before and after the change that are compared, s.
const WINDOW: f64 = 10.0;
/// Length of the parts whose ratios are compared, s.
const PART: f64 = 0.1;
/// Horizons in the terminal's table, s.
const SHOWN_HORIZONS: [f64; 5] = [0.05, 0.1, 0.2, 0.3, 0.5];

/// The figures of one run, as they stand in demo.json.
#[derive(Serialize)]
pub struct Summary {
    tracking: Tracking,
    /// The same run without ROS beside it, by window.
    without_ros: WithoutRos,
    prediction: Prediction,
    timing: Timing,
    controller: Stack,
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

#[derive(Serialize)]
struct WithoutRos {
    baseline: Windows,
    learned: Windows,
}

/// Seconds after the start and after the change.
#[derive(Serialize)]
struct Windows {
    start_0_2: Agreement,
    start_2_10: Agreement,
    change_0_1: Agreement,
    change_3_10: Agreement,
}

/// Root mean square tracking error in a window, through the nodes and without ROS.
#[derive(Serialize)]
struct Agreement {
    live_rms_rad: f64,
    without_ros_rms_rad: f64,
    /// Of both, and the median of the ratios of tenths of a second, in which a few moments do not count when the computer
    /// had something else to do.
    ratio: f64,
    median_ratio: f64,
    /// The longest time in which the live controller did not tick, by the stamps of measurements.
    longest_gap_s: f64,
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
    /// Measurements of the learned arm that were answered more than a step of the simulation later.
    late_answers: f64,
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
    /// `replicas` are both arms in the same run without ROS.
    pub fn new(args: &DemoArgs, monitor: &Monitor, replicas: &[Replica; 2]) -> Self {
        let DemoArgs { seed, seconds, payload: payload_kg, controller, .. } = *args;
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
            without_ros: WithoutRos {
                baseline: Windows::new(baseline, &replicas[Arm::Baseline as usize]),
                learned: Windows::new(learned, &replicas[Arm::Learned as usize]),
            },
            prediction: Prediction::new(monitor),
            timing: Timing {
                tick: timing(control, "tick"),
                round_trip: timing("/learned/simulator: simulation", "round_trip"),
                missed_deadlines: monitor.figure(control, "missed_deadlines"),
                ticks: monitor.figure(control, "ticks"),
                late_answers: monitor.figure("/learned/simulator: simulation", "late_answers"),
            },
            controller,
            payload_kg,
            seconds,
            seed,
            revision: revision(),
            curves: Curves::new(seconds, monitor),
        }
    }

    /// The tables for the terminal.
    pub fn tables(&self) -> String {
        let [tracking, without_ros] = [self.tracking_table(), self.without_ros_table()];
        let [prediction, timing] = [self.prediction_table(), self.timing_table()];
        format!("{tracking}\n{without_ros}\n{prediction}\n{timing}")
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

    fn without_ros_table(&self) -> Table {
        let of = |arm: &str| [format!("{arm} [mrad]"), "without ROS".into(), "ratio (of tenths)".into()];
        let header = std::iter::once(String::new()).chain(of("baseline")).chain(of("learned"));
        let WithoutRos { baseline, learned } = &self.without_ros;
        let mut table =
            Table::new("Tracking error through the nodes, and in the same run without ROS", header);
        for ((name, baseline), (_, learned)) in baseline.each().into_iter().zip(learned.each()) {
            let cells = [baseline, learned].into_iter().flat_map(|agreement| {
                let Agreement { live_rms_rad, without_ros_rms_rad, ratio, median_ratio, .. } = agreement;
                let [live, without_ros] =
                    [live_rms_rad, without_ros_rms_rad].map(|rms| format!("{:.3}", 1e3 * rms));
                [live, without_ros, format!("{ratio:.2} ({median_ratio:.2})")]
            });
            table.row(std::iter::once(name.to_owned()).chain(cells));
        }
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
        let Timing { tick, round_trip, missed_deadlines, ticks, late_answers } = &self.timing;
        let mut table = Table::new("Time", ["", "p50 [us]", "p99 [us]"]);
        table
            .row(row("tick, with publishing", tick))
            .row(row("round trip joint_states -> commands", round_trip))
            .row([
                format!(
                    "deadlines missed: {missed_deadlines:.0}, answers late: {late_answers:.0}, of {ticks:.0}"
                ),
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
        .table(self.without_ros_table())
        .figure([prediction], "Where the arm will be, predicted from its past motion.")
        .table(self.prediction_table())
        .table(self.timing_table());
        page
    }
}

impl Windows {
    fn new(live: &Track, replica: &Replica) -> Self {
        let agreement = |from, to| Agreement::new(live, &replica.track, from, to);
        let change = replica.change;
        Self {
            start_0_2: agreement(0.0, 2.0),
            start_2_10: agreement(2.0, 10.0),
            change_0_1: agreement(change, change + 1.0),
            change_3_10: agreement(change + 3.0, change + 10.0),
        }
    }

    /// With their names.
    fn each(&self) -> [(&'static str, &Agreement); 4] {
        [
            ("start, 0 to 2 s", &self.start_0_2),
            ("start, 2 to 10 s", &self.start_2_10),
            ("change, 0 to 1 s", &self.change_0_1),
            ("change, 3 to 10 s", &self.change_3_10),
        ]
    }
}

impl Agreement {
    fn new(live: &Track, without_ros: &Track, from: f64, to: f64) -> Self {
        let ratio = |from, to| live.rms(from, to) / without_ros.rms(from, to);
        let parts = (0..((to - from) / PART).round() as usize).map(|part| from + PART * part as f64);
        // a part without measurements tells nothing
        let ratios: Vec<f64> = parts.map(|from| ratio(from, from + PART)).filter(|r| r.is_finite()).collect();
        Self {
            live_rms_rad: live.rms(from, to),
            without_ros_rms_rad: without_ros.rms(from, to),
            ratio: ratio(from, to),
            median_ratio: median(&ratios).unwrap_or(f64::NAN),
            longest_gap_s: live.longest_gap(from, to),
        }
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
pub fn revision() -> String {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let revision = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let revision = revision.and_then(|bytes| String::from_utf8(bytes).ok());
    revision.map_or_else(|| env!("CARGO_PKG_VERSION").to_owned(), |text| text.trim().to_owned())
}
