//! A predictor from a recording: `cargo run --example train -- [BAG] [MODEL]`.

use learned_control::dataset::{Recording, Selection};
use learned_control::nn::checkpoint;
use learned_control::training::{TrainingConfig, train_predictor};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let bag = arguments.next().unwrap_or("examples/arm.csv.gz".into());
    let out = arguments.next().unwrap_or("target/predictor.safetensors".into());

    let recording = Recording::read(&bag, &Selection::default())?;
    println!("{}", recording.summary);
    let episodes = recording.episodes(0.02)?;

    let mut config = TrainingConfig { steps: 200, ..Default::default() };
    config.predictor.set_steps(25); // half a second of 20 ms
    let (model, report) = train_predictor(&config, &recording.joints, &episodes, |progress| {
        println!("step {}: held-out error {:.3}", progress.step, progress.validation);
        ControlFlow::Continue(())
    })?;

    let (card, tensors) = model.to_checkpoint(BTreeMap::new(), "from the example")?;
    checkpoint::save(&out, &card, &tensors)?;
    println!("{}: step {} kept", out.display(), report.best_step);
    Ok(())
}
