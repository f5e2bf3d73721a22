//! Our nodes as programs, with their models.
#![allow(dead_code)] // each benchmark uses its part

use crate::common::Result;
use crate::contest::Program;
use crate::models;
use learned_control::nn::checkpoint::save;
use learned_control::robot::Robot;
use std::path::{Path, PathBuf};

/// The files that our nodes load.
pub struct Models {
    residual: PathBuf,
    predictor: PathBuf,
}

impl Models {
    pub fn write(robot: &Robot, folder: &Path) -> Result<Self> {
        let [residual, predictor] =
            ["residual", "predictor"].map(|name| folder.join(name).with_extension("safetensors"));
        let (card, tensors) = models::residual(robot)?;
        save(&residual, &card, &tensors)?;
        let (mut card, tensors) = models::predictor(robot)?.to_checkpoint(Default::default(), "")?;
        card.describe(robot)?;
        save(&predictor, &card, &tensors)?;
        Ok(Self { residual, predictor })
    }
}

/// A node of the arm with more arguments.
fn node(executable: &str, arguments: &str) -> Program {
    let (config, urdf) = (models::config(), models::urdf());
    let all =
        format!("--ros-args --params-file {} -p urdf:={} {arguments}", config.display(), urdf.display());
    let arguments = all.split_whitespace().map(str::to_owned).collect();
    Program { path: executable.into(), arguments, packages: None }
}

/// With a command for each message, the head, the network, and neither tolerance nor timeout: the measured motion is not
/// the reference's, and while others have their bursts it shall wait.
pub fn controller(models: &Models, rate: f64, more: &str) -> Program {
    let residual = models.residual.display();
    let arguments = format!(
        "-p update_rate:={rate:.1} -p tick:=joint_states -p head.enabled:=true -p model_file:={residual} \
         -p prediction:=false -p constraints.trajectory:=0.0 -p joint_states_timeout:=1000.0 {more}"
    );
    node(env!("CARGO_BIN_EXE_controller"), &arguments)
}

pub fn predictor(models: &Models) -> Program {
    node(env!("CARGO_BIN_EXE_predictor"), &format!("-p model_file:={}", models.predictor.display()))
}

pub fn learner(more: &str) -> Program {
    node(env!("CARGO_BIN_EXE_learner"), more)
}
