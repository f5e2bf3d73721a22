//! Where the robot will be, measurement by measurement: `cargo run --example predict -- [BAG] [MODEL]` after `train`.

use learned_control::dataset::{Recording, Selection};
use learned_control::nn::checkpoint;
use learned_control::predictor::{LstmPredictor, Predictor, PredictorModel};
use learned_control::trajectory::Trajectory;
use std::path::PathBuf;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let bag = arguments.next().unwrap_or("examples/arm.csv.gz".into());
    let file = arguments.next().unwrap_or("target/predictor.safetensors".into());

    let (card, tensors) = checkpoint::load(&file)?;
    let model = PredictorModel::from_checkpoint(&card, tensors, &file.display().to_string())?;
    let selection = Selection { joints: Some(card.joints.clone()), ..Default::default() };
    let recording = Recording::read(&bag, &selection)?;

    let mut predictor = LstmPredictor::new(&model)?;
    let mut predicted = Trajectory::new(predictor.horizon(), card.joints.len());
    for (index, state) in recording.states.iter().enumerate() {
        predictor.observe(state); // does not allocate, nor does predict
        if predictor.predict(&mut predicted) && index % 200 == 0 {
            let (Some(last), Some(stddev)) = (predicted.states.last(), predicted.stddev.last()) else {
                break;
            };
            println!(
                "{:7.2} s: {} is at {:6.3}, in {:.2} s at {:6.3} ± {:.3}",
                state.stamp.since(recording.states[0].stamp),
                card.joints[0],
                state.position[0],
                last.stamp.since(state.stamp),
                last.position[0],
                stddev[0]
            );
        }
    }
    Ok(())
}
