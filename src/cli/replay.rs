//! `learned_control replay`: what controller and predictor would have done on a recording.

use super::CommandArgs;
use crate::base::{BaseControllerConfig, base_robot};
use crate::config;
use crate::control_loop::ControllerConfig;
use crate::dataset::csv;
use crate::error::Error;
use crate::measurement::Rejection;
use crate::nn::checkpoint::{self, Card, ModelKind};
use crate::predictor::PredictorParameters;
use crate::replay::{CommandTable, Output, PredictionTable, RecordingWriter, Replay, Source, Stamps};
use crate::robot::Robot;
use crate::state::Space;
use anyhow::{Context, Result, bail, ensure};
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
    /// Parameter file of the nodes; with one of an arm the controller runs, with one of a base where it is asked something
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
    /// Rows a second of a table that has no column of time, Hz
    #[arg(long, value_name = "HZ")]
    rate: Option<f64>,
    #[command(flatten)]
    commands: CommandArgs,
    /// Topic of a bag on which the controller of a base is asked what to do (Twist, TwistStamped, Path); may be given more than
    /// once [default: those of /cmd_vel_in and /base_controller/reference_path that there are]
    #[arg(long, value_name = "TOPIC")]
    asked: Vec<String>,
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
    let nodes = args.nodes(parameters, space)?;
    let source = Source {
        space: nodes.space,
        topic: args.topic.as_deref(),
        columns: args.columns.as_ref(),
        rate: args.rate,
        stamps: if args.log_time { Stamps::Log } else { Stamps::Header },
        ..Source::new(&args.recording)
    };
    let asked = match nodes.space {
        Space::PlanarBase => source.asked(&args.asked)?,
        Space::Joints => Vec::new(),
    };
    if let Some(account) = source.account()? {
        println!("{}: {account}", args.recording.display());
    }
    let mut replay = args.replay(nodes, &asked)?;
    let mut writer = Writer::create(&args.out, &replay)?;
    for event in source.events(commands.as_ref(), &asked)? {
        if let Some(output) = replay.take(&event?) {
            writer.write(&output)?;
        }
    }
    let counts = &replay.counts;
    if let Some(reason) = counts.reason.as_ref().filter(|_| counts.states == 0) {
        let joints = replay.robot().joints.join(", ");
        let is_stamp = *reason == Rejection::NoStamp.to_string();
        let advice = if is_stamp { "; --log-time takes the time of logging" } else { "" };
        bail!(
            "{}: no message could be used for the joints {joints}: {reason}{advice}",
            args.recording.display()
        );
    }
    writer.finish()?;
    println!("{}: {counts}", args.out.display());
    Ok(())
}

/// What is to be replayed; a controller where there are settings for one.
struct Nodes {
    predictor: PredictorParameters,
    space: Space,
    arm: Option<ControllerConfig>,
    base: Option<BaseControllerConfig>,
    /// Whether one of the models that were given is a controller's.
    of_controller: bool,
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
            writer.commands = Some(CommandTable::create(out, replay.robot())?);
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

    /// The settings of the nodes with the models that were given.
    fn nodes(&self, predictor: PredictorParameters, space: Space) -> Result<Nodes> {
        let mut nodes = Nodes { predictor, space, arm: None, base: None, of_controller: false };
        match (&self.config, space) {
            (Some(path), Space::Joints) => nodes.arm = Some(config::read_file(path, "controller")?),
            (Some(path), Space::PlanarBase) => nodes.base = Some(config::read_file(path, "base_controller")?),
            (None, _) => {}
        }
        let mut seen = Vec::new();
        for path in &self.models {
            let (card, _) = checkpoint::load(path)?;
            let kind = (card.kind, card.space);
            ensure!(!seen.contains(&kind), "--model: two models of a {}", card.kind);
            seen.push(kind);
            self.use_model(path, &card, &mut nodes)?;
            nodes.space = card.space;
            nodes.of_controller |= card.kind != ModelKind::Predictor;
        }
        nodes.predictor.validate()?;
        Ok(nodes)
    }

    fn replay(&self, nodes: Nodes, asked: &[String]) -> Result<Replay> {
        let Nodes { predictor, space, arm, base, of_controller } = nodes;
        if space == Space::PlanarBase {
            // without a model the predictor learns on the way, as its node does
            return match base {
                Some(config) if !asked.is_empty() => Ok(Replay::of_base(config, &predictor)?),
                None if !self.asked.is_empty() => {
                    bail!("--asked: a controller needs its settings: give --config")
                }
                base => {
                    ensure!(!of_controller, "--model: nothing asks the base's controller; give --asked");
                    if base.is_some() {
                        println!("no topic asks the base's controller (--asked): its predictor alone");
                    }
                    Ok(Replay::of_predictor(&predictor, base_robot())?)
                }
            };
        }
        ensure!(self.asked.is_empty(), "--asked is of a base; an arm follows the reference of its settings");
        let has_predictor = !predictor.model_file.is_empty();
        let Some(config) = arm else {
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
    fn use_model(&self, path: &Path, card: &Card, nodes: &mut Nodes) -> Result<()> {
        let file = path.display().to_string();
        let without = || {
            let file = path.display();
            format!("{file} is the model of a controller, which needs its settings: give --config")
        };
        if self.config.is_some() && card.space != nodes.space {
            let of = |space| if space == Space::Joints { "an arm" } else { "a base" };
            bail!("{file} is the model of {}, --config is for {}", of(card.space), of(nodes.space));
        }
        match (card.kind, card.space) {
            (ModelKind::Controller, Space::Joints) => {
                nodes.arm.as_mut().with_context(without)?.model_file = file;
            }
            (ModelKind::Controller, Space::PlanarBase) => {
                nodes.base.as_mut().with_context(without)?.network_file = file;
            }
            (ModelKind::BaseController, _) => nodes.base.as_mut().with_context(without)?.model_file = file,
            (ModelKind::Predictor, _) => {
                nodes.predictor.model_file = file;
                let is_named = nodes.predictor.joints.is_empty() && self.urdf.is_none();
                if card.space == Space::Joints && is_named {
                    nodes.predictor.joints.clone_from(&card.joints);
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
