//! What the demo found: tables, demo_base.json and demo_base.html.

use super::change::Change;
use super::record::{Record, prediction_error};
use super::spectator::{Base, Spectator};
use super::{BaseStack, DemoBaseArgs};
use crate::demo::summary::revision;
use crate::demo::track::Track;
use crate::error::{Error, Result};
use crate::report::{LineChart, Page, Series, Table};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Steps of the prediction in the terminal's table, by their time ahead, s.
const SHOWN_HORIZONS: [f64; 4] = [0.5, 1.0, 2.0, 5.0];

/// The figures of one run, as they stand in demo_base.json.
#[derive(Serialize)]
pub struct Summary {
    /// Of the second half of the time with each change.
    tracking: Vec<Tracking>,
    /// Of the base that learns, over the whole run.
    prediction: Vec<Ahead>,
    controller: BaseStack,
    /// With each change.
    seconds: f64,
    seed: u64,
    revision: String,
    #[serde(skip)]
    curves: [Vec<(f64, f64)>; 2],
}

#[derive(Serialize)]
struct Tracking {
    change: Change,
    from_s: f64,
    to_s: f64,
    baseline: Errors,
    learned: Errors,
}

/// Root mean squares of the true distance to the path and of the angle to it.
#[derive(Serialize)]
struct Errors {
    cross_track_rms_m: f64,
    heading_rms_rad: f64,
}

/// Root mean square distance between where the base was and where it was to be.
#[derive(Serialize)]
struct Ahead {
    horizon_s: f64,
    rmse_m: f64,
    constant_twist_rmse_m: f64,
}

impl Summary {
    pub fn new(args: &DemoBaseArgs, spectator: &Spectator) -> Self {
        let [baseline, learned] = Base::BOTH.map(|base| spectator.record(base));
        let tracking = args.phases().enumerate().map(|(index, change)| {
            let to_s = args.seconds * (index + 1) as f64;
            let from_s = to_s - 0.5 * args.seconds;
            let errors = |record: &Record| Errors {
                cross_track_rms_m: record.cross_track.rms(from_s, to_s),
                heading_rms_rad: record.heading.rms(from_s, to_s),
            };
            Tracking { change, from_s, to_s, baseline: errors(baseline), learned: errors(learned) }
        });
        let ahead = |step| {
            let [horizon_s, rmse_m, constant_twist_rmse_m] =
                prediction_error(learned, spectator.predictions(), step)?;
            Some(Ahead { horizon_s, rmse_m, constant_twist_rmse_m })
        };
        let end = args.seconds * args.phases().count() as f64;
        let curve = |track: &Track| -> Vec<(f64, f64)> {
            let seconds = (0..end as usize).map(|second| second as f64);
            seconds.map(|from| (from + 0.5, 1e3 * track.rms(from, from + 1.0))).collect()
        };
        Self {
            tracking: tracking.collect(),
            prediction: (0..).map_while(ahead).collect(),
            controller: args.controller,
            seconds: args.seconds,
            seed: args.seed,
            revision: revision(),
            curves: [baseline, learned].map(|record| curve(&record.cross_track)),
        }
    }

    /// The tables for the terminal.
    pub fn tables(&self) -> String {
        format!("{}\n{}", self.tracking_table(), self.prediction_table())
    }

    /// Writes demo_base.json and demo_base.html into `folder`; gives both paths.
    pub fn write(&self, folder: &Path) -> Result<[PathBuf; 2]> {
        let [json, page] = ["demo_base.json", "demo_base.html"].map(|name| folder.join(name));
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Data { file: json.clone(), problem: error.to_string() })?;
        crate::files::replace(&json, text.as_bytes())?;
        self.page().write(&page)?;
        Ok([json, std::path::absolute(&page).unwrap_or(page)])
    }

    fn tracking_table(&self) -> Table {
        let header =
            ["", "time [s]", "cross-track [mm]", "learned", "ratio", "heading [mrad]", "learned", "ratio"];
        let mut table =
            Table::new("True distance to the path and angle to it, rms: plain law and learned", header);
        for Tracking { change, from_s, to_s, baseline, learned } in &self.tracking {
            let cells = |[baseline, learned]: [f64; 2]| {
                let [b, l] = [baseline, learned].map(|rms| format!("{:.1}", 1e3 * rms));
                [b, l, format!("{:.2}", learned / baseline)]
            };
            let cross_track = cells([baseline.cross_track_rms_m, learned.cross_track_rms_m]);
            let heading = cells([baseline.heading_rms_rad, learned.heading_rms_rad]);
            let what = [change.label().to_owned(), format!("{from_s:.0}-{to_s:.0}")];
            table.row(what.into_iter().chain(cross_track).chain(heading));
        }
        table
    }

    fn prediction_table(&self) -> Table {
        let header = ["time ahead [s]", "constant twist [mm]", "predicted [mm]", "ratio"];
        let mut table =
            Table::new("Where the base that learns will be: distance from where it was, rms", header);
        for horizon in SHOWN_HORIZONS {
            let near = |ahead: &&Ahead| (ahead.horizon_s - horizon).abs() < 1e-3;
            let Some(Ahead { rmse_m, constant_twist_rmse_m, .. }) = self.prediction.iter().find(near) else {
                continue;
            };
            let [c, p] = [constant_twist_rmse_m, rmse_m].map(|rmse| format!("{:.0}", 1e3 * rmse));
            table.row([format!("{horizon:.1}"), c, p, format!("{:.2}", rmse_m / constant_twist_rmse_m)]);
        }
        table
    }

    fn page(&self) -> Page {
        let [baseline, learned] = self.curves.clone();
        let tracking = LineChart {
            title: "Distance to the path".into(),
            x_label: "time [s]".into(),
            y_label: "rms over one second [mm]".into(),
            series: vec![Series::line("plain law", baseline), Series::line("learned", learned)],
            x_log: false,
            y_log: true,
            marks: (self.tracking.iter().skip(1))
                .map(|tracking| (2.0 * tracking.from_s - tracking.to_s, tracking.change.label().into()))
                .collect(),
        };
        let by_horizon =
            |of: fn(&Ahead) -> f64| self.prediction.iter().map(|a| (a.horizon_s, 1e3 * of(a))).collect();
        let prediction = LineChart {
            title: "Prediction error".into(),
            x_label: "time ahead [s]".into(),
            y_label: "rms distance [mm]".into(),
            series: vec![
                Series::dashed("constant twist", by_horizon(|ahead| ahead.constant_twist_rmse_m)),
                Series::line("predicted", by_horizon(|ahead| ahead.rmse_m)),
            ],
            ..Default::default()
        };
        let subtitle = format!("seed {}, revision {}", self.seed, self.revision);
        let mut page = Page::new("Learned control: two bases, one learns", &subtitle);
        page.paragraph(
            "Two simulated bases on wheels drive the same figures of eight over ROS 2 topics under the same law. To the \
             twists of one of them is added what it learns from its own motion.",
        )
        .figure([tracking], "At each mark both change in a way that no model knows of; the change before it ends.")
        .table(self.tracking_table())
        .figure([prediction], "Where the base will be, predicted from its past motion and adapted as it moves.")
        .table(self.prediction_table());
        page
    }
}
