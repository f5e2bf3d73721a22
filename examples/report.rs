//! A report of made-up results, to see what `report` draws: `cargo run --example report -- report.html`.

use std::path::PathBuf;

use learned_control::report::{LineChart, Page, Series, Table};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

fn main() -> anyhow::Result<()> {
    let path = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "report.html".to_owned()));
    let table = results();
    print!("{table}");
    let mut page = Page::new("Tracking under an unknown payload", "made-up figures · seed 1");
    page.paragraph("At 30 s the arm picks up 1.5 kg that neither controller is told of.")
        .table(table)
        .heading("Tracking")
        .figure(
            [tracking()],
            "Error of the shoulder. The baseline keeps its new offset; the learner removes it.",
        )
        .heading("Prediction")
        .figure(
            [prediction()],
            "Error on held-out motion; the shade spans the tenth to the ninetieth percentile.",
        )
        .write(&path)?;
    println!("\n{}", path.display());
    Ok(())
}

fn results() -> Table {
    let mut table = Table::new(
        "Root mean square tracking error",
        ["joint", "baseline [mrad]", "learned [mrad]", "change", "verdict"],
    );
    table
        .row(["shoulder_lift", "37.2", "1.1", "−97 %", "better"])
        .row(["elbow", "12.6", "0.9", "−93 %", "better"])
        .row(["wrist_1", "3.1", "2.9", "−6 %", "no difference"])
        .row(["wrist_2", "1.4", "-", "-", "not learned"]);
    table
}

fn tracking() -> LineChart {
    let mut random = Pcg64::seed_from_u64(1);
    let mut curve = |level: &dyn Fn(f64) -> f64| -> Vec<(f64, f64)> {
        let mut ripple = 0.0; // first-order noise, time constant 0.3 s
        let samples = (0..=30_000).map(|i| {
            let time = f64::from(i) * 0.002;
            ripple += -0.002 / 0.3 * ripple + random.random_range(-0.02..0.02);
            (time, level(time) * f64::exp(ripple))
        });
        samples.collect()
    };
    let fading = |from: f64, to: f64, elapsed: f64| to + (from - to) * (-elapsed / 1.5).exp();
    let baseline = curve(&|time| if time < 30.0 { 7.0 } else { 37.0 });
    let learned =
        curve(&|time| if time < 30.0 { fading(7.0, 1.0, time) } else { fading(37.0, 1.1, time - 30.0) });
    LineChart {
        title: "Shoulder tracking error".into(),
        x_label: "time [s]".into(),
        y_label: "tracking error [mrad]".into(),
        series: vec![Series::line("baseline (PD + gravity)", baseline), Series::line("learned", learned)],
        x_log: false,
        y_log: true,
        marks: vec![(0.0, "learning on".into()), (30.0, "payload +1.5 kg".into())],
    }
}

fn prediction() -> LineChart {
    let horizon: Vec<f64> = (1..=50).map(|step| 0.01 * f64::from(step)).collect();
    let curve = |error: &dyn Fn(f64) -> f64| horizon.iter().map(|time| (1e3 * time, error(*time))).collect();
    let lstm = |time: f64| 0.2 + 11.0 * time.powf(1.3);
    let spread = |share: f64| horizon.iter().map(|time| share * lstm(*time)).collect();
    LineChart {
        title: "Prediction error over the horizon".into(),
        x_label: "horizon [ms]".into(),
        y_label: "rmse [mrad]".into(),
        series: vec![
            Series::dashed("constant velocity", curve(&|time| 0.2 + 90.0 * time.powi(2))),
            Series::band("LSTM", curve(&lstm), spread(0.6), spread(1.5)),
        ],
        x_log: false,
        y_log: false,
        marks: Vec::new(),
    }
}
