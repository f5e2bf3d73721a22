//! `learned_control replay`: what controller and predictor would have done on a recording.

use super::CommandArgs;
use crate::base::base_robot;
use crate::config;
use crate::control_loop::ControllerConfig;
use crate::dataset::csv;
use crate::error::Error;
use crate::nn::checkpoint::{self, Card, ModelKind};
use crate::predictor::PredictorParameters;
use crate::replay::{CommandTable, Output, PredictionTable, RecordingWriter, Replay, Source, Stamps};
use crate::robot::Robot;
use crate::state::Space;
use anyhow::{Result, bail, ensure};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// Recording: a bag (folder or file), or a table (.csv, .csv.gz)
    #[arg(value_name = "BAG")]
    recording: PathBuf,
    /// Model of a controller or of a predictor, in place of the `model_file` in the settings; one of each kind at most
    #[arg(long = "model", value_name = "FILE")]
    models: Vec<PathBuf>,
    /// Parameter file of the nodes; with one of an arm the controller runs
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Robot description; the controller needs it
    #[arg(long, value_name = "FILE")]
    urdf: Option<PathBuf>,
    /// Topic with sensor_msgs/msg/JointState, of a base with nav_msgs/msg/Odometry, in a bag [default: the one with most
    /// messages]
    #[arg(long)]
    topic: Option<String>,
    /// Columns of a table, as for training: time=t,x=x_m,y=y_m,yaw=heading of a base [default: by their names]
    #[arg(long, value_name = "NAME=COLUMN,...")]
    columns: Option<csv::Columns>,
    #[command(flatten)]
    commands: CommandArgs,
    /// Take the time of logging for the stamp of a message, where the headers of a bag have none
    #[arg(long)]
    log_time: bool,
    /// What to write: a recording (MCAP, a new folder) with the topics of the nodes, or, with .csv at the end, a table of
    /// commands; a predictor's predictions are then in a second one with .predictions before .csv
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: &ReplayArgs) -> Result<()> {
    let (parameters, space) = args.predictor()?;
    let commands = args.commands.or_of(&parameters).selection();
    let mut replay = args.replay(parameters, space)?;
    let mut writer = Writer::create(&args.out, &replay)?;
    let source = Source {
        space: replay.robot().space,
        topic: args.topic.as_deref(),
        columns: args.columns.as_ref(),
        stamps: if args.log_time { Stamps::Log } else { Stamps::Header },
        ..Source::new(&args.recording)
    };
    for event in source.events(commands.as_ref())? {
        if let Some(output) = replay.take(&event?) {
            writer.write(&output)?;
        }
    }
    let counts = &replay.counts;
    if let Some(reason) = counts.reason.as_ref().filter(|_| counts.states == 0) {
        let joints = replay.robot().joints.join(", ");
        bail!("{}: no message could be used for the joints {joints}: {reason}", args.recording.display());
    }
    writer.finish()?;
    println!("{}: {counts}", args.out.display());
    Ok(())
}

/// A recording, or the tables of what there is.
struct Writer {
    recording: Option<RecordingWriter>,
    commands: Option<CommandTable>,
    predictions: Option<PredictionTable>,
}

impl Writer {
    fn create(out: &Path, replay: &Replay) -> crate::Result<Self> {
        let joints = &replay.robot().joints;
        let mut writer = Self { recording: None, commands: None, predictions: None };
        if out.extension().is_none_or(|extension| extension != "csv") {
            writer.recording = Some(RecordingWriter::create(out, replay.robot())?);
            return Ok(writer);
        }
        if replay.has_controller() {
            writer.commands = Some(CommandTable::create(out, joints)?);
        }
        if replay.has_predictor() {
            writer.predictions =
                Some(PredictionTable::create(&out.with_extension("predictions.csv"), joints)?);
        }
        Ok(writer)
    }

    fn write(&mut self, output: &Output) -> crate::Result<()> {
        self.recording.as_mut().map_or(Ok(()), |recording| recording.write(output))?;
        self.commands.as_mut().map_or(Ok(()), |table| table.write(output))?;
        self.predictions.as_mut().map_or(Ok(()), |table| table.write(output))
    }

    fn finish(self) -> crate::Result<()> {
        self.recording.map_or(Ok(()), RecordingWriter::finish)?;
        self.commands.map_or(Ok(()), CommandTable::finish)?;
        self.predictions.map_or(Ok(()), PredictionTable::finish)
    }
}

impl ReplayArgs {
    /// Its parameters, as far as there is a file with some, and what that is of.
    fn predictor(&self) -> Result<(PredictorParameters, Space)> {
        let none = || Ok((PredictorParameters::default(), Space::Joints));
        Ok(self.config.as_deref().map_or_else(none, PredictorParameters::of_file)?)
    }

    fn replay(&self, mut predictor: PredictorParameters, mut space: Space) -> Result<Replay> {
        let of_arm = self.config.as_deref().filter(|_| space == Space::Joints);
        let mut controller: Option<ControllerConfig> =
            of_arm.map(|path| config::read_file(path, "controller")).transpose()?;
        let mut seen = Vec::new();
        for path in &self.models {
            let (card, _) = checkpoint::load(path)?;
            ensure!(!seen.contains(&card.kind), "--model: two models of a {}", card.kind);
            seen.push(card.kind);
            self.use_model(path, &card, &mut controller, &mut predictor)?;
            space = card.space;
        }
        predictor.validate()?;
        let has_predictor = !predictor.model_file.is_empty();
        if space == Space::PlanarBase {
            // without a model it learns on the way, as its node does
            return Ok(Replay::of_predictor(&predictor, base_robot())?);
        }
        let Some(config) = controller else {
            ensure!(
                has_predictor,
                "nothing to replay: give --config for a controller, or --model of a predictor"
            );
            return Ok(Replay::of_predictor(&predictor, self.robot(&predictor)?)?);
        };
        let Some(urdf) = &self.urdf else { bail!("a controller needs the robot's description: give --urdf") };
        let description = read(urdf)?;
        Ok(Replay::of_controller(config, has_predictor.then_some(&predictor), &description)?)
    }

    /// Puts a model in the place of the one in the settings of its kind.
    fn use_model(
        &self,
        path: &Path,
        card: &Card,
        controller: &mut Option<ControllerConfig>,
        predictor: &mut PredictorParameters,
    ) -> Result<()> {
        let file = path.display().to_string();
        match (card.kind, controller) {
            (ModelKind::Controller, Some(controller)) => controller.model_file = file,
            (ModelKind::Controller, None) => {
                bail!("{file} is the model of a controller, which needs its gains: give --config")
            }
            (ModelKind::BaseController, _) => {
                bail!("{file} is the model of a base's controller: of a base only the predictor is replayed")
            }
            (ModelKind::Predictor, Some(_)) if card.space == Space::PlanarBase => {
                bail!("{file} is the model of a base, --config is for an arm")
            }
            (ModelKind::Predictor, _) => {
                predictor.model_file = file;
                if card.space == Space::Joints && predictor.joints.is_empty() && self.urdf.is_none() {
                    predictor.joints.clone_from(&card.joints);
                }
            }
        }
        Ok(())
    }

    /// For a predictor alone, as its node finds it.
    fn robot(&self, parameters: &PredictorParameters) -> Result<Robot> {
        match &self.urdf {
            Some(urdf) if parameters.joints.is_empty() => Ok(Robot::from_urdf(&read(urdf)?)?),
            _ => Ok(Robot::of_joints(&parameters.joints)),
        }
    }
}

fn read(path: &Path) -> crate::Result<String> {
    std::fs::read_to_string(path).map_err(Error::io(path))
}
