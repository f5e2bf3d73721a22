//! `learned_control inspect`: what a model file says of itself and what is in it, or what is read of a recording.

mod recording;

use super::ReadingArgs;
use crate::base::TwistModel;
use crate::controller::ResidualModel;
use crate::dataset::{Recording, is_recording};
use crate::error::{Error, Result};
use crate::files::sha256;
use crate::nn::checkpoint::{self, Card, ModelKind, Tensors};
use crate::predictor::{LstmPredictor, PredictorConfig, PredictorModel};
use crate::report::Table;
use crate::robot::Robot;
use clap::Args;
use recording::RecordingInspection;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct InspectArgs {
    /// Model file, or a recording: .csv, .tsv, .txt, also with .gz, .db3, .mcap or a bag's folder
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A model file that has passed all the checks that can be made without its robot.
#[derive(Debug, Serialize)]
pub struct Inspection {
    file: PathBuf,
    bytes: usize,
    sha256: String,
    card: Card,
    /// Numbers in all tensors.
    parameters: usize,
    tensors: Vec<TensorSummary>,
}

#[derive(Debug, Serialize)]
struct TensorSummary {
    name: String,
    shape: Vec<usize>,
    parameters: usize,
    least: f32,
    greatest: f32,
    root_mean_square: f64,
}

pub fn run(args: &InspectArgs) -> anyhow::Result<()> {
    if is_recording(&args.file) {
        let ReadingArgs { joints, commands, .. } = &args.reading;
        let recording = Recording::read(&args.file, &args.reading.selection(joints.clone(), commands))?;
        return print(&RecordingInspection::of(&recording), args.json);
    }
    print(&Inspection::read(&args.file)?, args.json)
}

fn print(inspection: &(impl Serialize + fmt::Display), as_json: bool) -> anyhow::Result<()> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(inspection)?);
    } else {
        print!("{inspection}");
    }
    Ok(())
}

impl Inspection {
    pub fn read(path: &Path) -> Result<Self> {
        let origin = path.display().to_string();
        let bytes = checkpoint::read_file(path)?;
        let (card, tensors) = checkpoint::from_bytes(&bytes, &origin)?;
        let summaries = summarize(&tensors)?;
        check(&card, tensors, &origin)?;
        Ok(Self {
            file: path.to_path_buf(),
            bytes: bytes.len(),
            sha256: sha256(&bytes),
            card,
            parameters: summaries.iter().map(|tensor| tensor.parameters).sum(),
            tensors: summaries,
        })
    }
}

/// Refuses what no node would take, whatever its robot.
fn check(card: &Card, tensors: Tensors, origin: &str) -> Result<()> {
    match card.kind {
        ModelKind::Predictor => {
            LstmPredictor::new(&PredictorModel::from_checkpoint(card, tensors, origin)?).map(drop)
        }
        ModelKind::Controller => {
            let robot = Robot { space: card.space, ..Robot::of_joints(&card.joints) };
            ResidualModel::from_checkpoint(card.clone(), &tensors, origin, &robot).map(drop)
        }
        ModelKind::BaseController => TwistModel::from_tensors(card.clone(), &tensors, origin).map(drop),
    }
}

fn summarize(tensors: &Tensors) -> Result<Vec<TensorSummary>> {
    let mut summaries = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let values: Vec<f32> = tensor.flatten_all()?.to_vec1().map_err(Error::from)?;
        let squares: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
        summaries.push(TensorSummary {
            name: name.clone(),
            shape: tensor.dims().to_vec(),
            parameters: values.len(),
            least: values.iter().copied().fold(f32::INFINITY, f32::min),
            greatest: values.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            root_mean_square: (squares / values.len() as f64).sqrt(),
        });
    }
    Ok(summaries)
}

impl fmt::Display for Inspection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sections =
            [self.facts(), joints(&self.card), evaluation(&self.card), data(&self.card), self.tensors()];
        let filled = sections.iter().filter(|section| !section.rows.is_empty());
        for (index, section) in filled.enumerate() {
            write!(out, "{}{section}", if index > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl Inspection {
    fn facts(&self) -> Table {
        let card = &self.card;
        let revision = match card.parent {
            Some(parent) => format!("{}, trained from {parent}", card.revision),
            None => card.revision.to_string(),
        };
        let space = serde_json::to_value(card.space).unwrap_or_default();
        let mut table = Table::new(self.file.display().to_string(), [] as [&str; 0]);
        table
            .row(["kind", &card.kind.to_string()])
            .row(["size", &format!("{} bytes, {} parameters", self.bytes, self.parameters)])
            .row(["SHA-256", &self.sha256])
            .row(["written by", &format!("{}, card format {}", card.written_by, card.format)])
            .row(["space", space.as_str().unwrap_or_default()])
            .row(["dt", &format!("{} s", card.dt)])
            .row(["robot description", card.urdf_sha256.as_deref().unwrap_or("not known")])
            .row(["network", &card.network.to_string()])
            .row(["revision", &revision])
            .row(["seed", &card.seed.to_string()])
            .row(["note", &card.note]);
        if card.kind == ModelKind::Predictor {
            table.row(["told", &told(card)]);
        }
        table
    }

    fn tensors(&self) -> Table {
        let header = ["tensor", "shape", "parameters", "least", "greatest", "rms"];
        let mut table = Table::new("", header);
        for tensor in &self.tensors {
            table.row([
                tensor.name.clone(),
                tensor.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x "),
                tensor.parameters.to_string(),
                format!("{:.3e}", tensor.least),
                format!("{:.3e}", tensor.greatest),
                format!("{:.3e}", tensor.root_mean_square),
            ]);
        }
        table
    }
}

/// The commands that a predictor knows.
fn told(card: &Card) -> String {
    let config = card.network::<PredictorConfig>("its card").ok().and_then(|config| config.commands);
    config.map_or("no commands".into(), |commands| format!("{commands}, for {} s", commands.age_limit))
}

fn joints(card: &Card) -> Table {
    let mut table = Table::new("", ["joint", "unit", "positions in training", "velocities in training"]);
    let range = |(least, greatest): (f64, f64), unit: &str| format!("{least:.4} to {greatest:.4} {unit}");
    for (index, (joint, unit)) in card.joints.iter().zip(&card.units).enumerate() {
        let unit = unit.to_string();
        let ranges = card.ranges.get(index).map_or(["not known".into(), "not known".into()], |seen| {
            [range(seen.position, ""), range(seen.velocity, "1/s")]
        });
        let [position, velocity] = ranges;
        table.row([joint, &unit, position.trim_end(), velocity.trim_end()]);
    }
    table
}

fn evaluation(card: &Card) -> Table {
    let mut table = Table::new("", ["evaluation", "figure"]);
    for (name, value) in &card.evaluation {
        table.row([name.clone(), value.to_string()]);
    }
    table
}

fn data(card: &Card) -> Table {
    let mut table = Table::new("", ["trained on", "SHA-256"]);
    for file in &card.data {
        table.row([&file.name, &file.sha256]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::checkpoint::{DataFile, JointRange};
    use crate::predictor::PredictorConfig;
    use candle_core::{Device, Tensor};
    use std::collections::BTreeMap;

    fn predictor() -> (Card, Tensors) {
        let joints = ["slide".to_owned(), "turn".to_owned()];
        let config = PredictorConfig { steps: 3, hidden: 4, blocks: vec![1], ..Default::default() };
        let model = PredictorModel::untrained(&joints, 0.01, config, &[1.0, 2.0]).unwrap();
        let evaluation = BTreeMap::from([("rmse_500ms".into(), 0.25)]);
        let (mut card, tensors) = model.to_checkpoint(evaluation, "for a test").unwrap();
        card.ranges = vec![JointRange { position: (-1.0, 0.5), velocity: (0.0, 2.0) }; 2];
        card.data = vec![DataFile { name: "motion.csv".into(), sha256: sha256(b"motion") }];
        (card, tensors)
    }

    fn inspect(card: &Card, tensors: &Tensors) -> (tempfile::TempDir, Result<Inspection>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        checkpoint::save(&path, card, tensors).unwrap();
        let inspection = Inspection::read(&path);
        (folder, inspection)
    }

    #[test]
    fn a_predictor_is_shown_with_all_that_its_card_says() {
        let (card, tensors) = predictor();
        let (_folder, inspection) = inspect(&card, &tensors);
        let inspection = inspection.unwrap();
        let text = inspection.to_string();
        for line in [
            "kind               predictor",
            "dt                 0.01 s",
            "robot description  not known",
            "note               for a test",
            "slide  rad or m      -1.0000 to 0.5000    0.0000 to 2.0000 1/s",
            "rmse_500ms    0.25",
            "lstm.weight_ih_l0  16 x 3          48  -4.",
        ] {
            assert!(text.contains(line), "no '{line}' in\n{text}");
        }
        assert!(text.contains(&format!("motion.csv  {}", sha256(b"motion"))), "{text}");
        let written = checkpoint::to_bytes(&card, &tensors).unwrap();
        assert!(text.contains(&sha256(&written)) && text.contains(&format!("{} bytes", written.len())));

        let json: serde_json::Value = serde_json::to_value(&inspection).unwrap();
        assert_eq!(json["card"]["evaluation"]["rmse_500ms"], 0.25);
        assert_eq!(json["sha256"], sha256(&written));
        let count: usize = tensors.values().map(|tensor| tensor.elem_count()).sum();
        assert_eq!(json["parameters"], count);
        assert_eq!(json["tensors"].as_array().unwrap().len(), tensors.len());
    }

    #[test]
    fn a_controller_is_shown_too() {
        let robot = Robot::of_joints(&["a".into()]);
        let network = crate::nn::mlp::MlpConfig { inputs: 4, hidden: vec![], outputs: 1 };
        let mut card = Card::new(ModelKind::Controller, &robot, 0.002, &network).unwrap();
        (card.revision, card.parent) = (3, Some(2));
        let tensor =
            |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        let mut tensors = Tensors::from([
            ("layers.0.weight".into(), tensor(&[0.0, 0.0, 3.0, -4.0], &[1, 4])),
            ("layers.0.bias".into(), tensor(&[0.0], &[1])),
            ("output_scale".into(), tensor(&[2.0], &[1])),
        ]);
        let text = inspect(&card, &tensors).1.unwrap().to_string();
        assert!(text.contains("revision           3, trained from 2"), "{text}");
        let line = "layers.0.weight  1 x 4           4  -4.000e0   3.000e0  2.500e0";
        assert!(text.contains(line), "{text}");

        tensors.remove("layers.0.bias");
        let error = inspect(&card, &tensors).1.unwrap_err().to_string();
        assert_eq!(error, "tensor layers.0.bias: found none, expected shape [1]");
    }

    #[test]
    fn a_damaged_file_is_refused_with_the_reason() {
        let (card, tensors) = predictor();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let bytes = checkpoint::to_bytes(&card, &tensors).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let error = Inspection::read(&path).unwrap_err().to_string();
        assert!(error.contains("model.safetensors") && error.contains("damaged"), "{error}");
    }
}
