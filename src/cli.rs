//! The offline tools behind `learned_control <verb>`: each module has the arguments of one and a `run`.

pub mod evaluate;
pub mod train;

use crate::dataset::{Recording, Selection};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

/// Which recordings to work on.
#[derive(Args, Debug)]
pub struct DataArgs {
    /// Recordings: .csv, .csv.gz (t_s, <joint>_pos, <joint>_vel or q1.., qd1..), .db3, .mcap or a bag's folder
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub data: Vec<PathBuf>,
    /// Topic with JointState, Odometry or PoseStamped in a bag [default: one with JointState, else Odometry]
    #[arg(long)]
    pub topic: Option<String>,
    /// Joints and their order [default: those of the first message or of the columns]
    #[arg(long, value_delimiter = ',')]
    pub joints: Option<Vec<String>>,
    /// Columns of a table: time=COLUMN,JOINT=POSITION:VELOCITY,... or time=,x=,y=,yaw=,vx=,vy=,wz= of a base
    #[arg(long)]
    pub columns: Option<crate::dataset::csv::Columns>,
    /// Sampling time, s [default: the median interval of the first recording]
    #[arg(long)]
    pub dt: Option<f64>,
}

impl DataArgs {
    fn read(&self) -> Result<Vec<Recording>> {
        let selection = Selection {
            topic: self.topic.clone(),
            joints: self.joints.clone(),
            columns: self.columns.clone(),
        };
        Ok(self.data.iter().map(|path| Recording::read(path, &selection)).collect::<crate::Result<_>>()?)
    }
}
