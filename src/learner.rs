//! Learning the residual from the robot's own motion, by backprop in Candle.
//!
//! The controller sends a [`Sample`] a tick. Samples become examples, of which those of the recent past and a selection
//! of all before are kept. [`Learner`] trains a copy of the network on them by the chosen [`Rule`], and hands out weights
//! that are better on what was held out than those in use and than no network.

mod config;
pub mod delay;
mod gate;
mod labeller;
mod network;
mod noise;
mod plant;
mod replay;
mod sample;
mod trainer;

pub(crate) use config::check_cpus;
pub use config::{LONGEST_DELAY, LearnerConfig, Rule};
pub use gate::Scores;
pub use sample::Sample;
pub use trainer::{Learner, Progress, Weights};
