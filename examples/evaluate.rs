//! What the predictor is worth on a recording: `cargo run --example evaluate -- [BAG]`.

use learned_control::dataset::{Recording, Selection};
use learned_control::evaluation::prediction::{EvaluationConfig, page, prediction_report};
use std::path::{Path, PathBuf};

fn main() -> anyhow::Result<()> {
    let bag = std::env::args_os().nth(1).map_or("examples/arm.csv.gz".into(), PathBuf::from);
    let recording = Recording::read(&bag, &Selection::default())?;

    let mut config = EvaluationConfig { dt: Some(0.02), ..Default::default() };
    config.training.steps = 200;
    let report = prediction_report(&[recording], &config)?;
    println!("{report}");
    page(&[report])?.write(Path::new("target/prediction.html"))?;
    Ok(())
}
