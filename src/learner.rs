//! Learning the residual from the robot's own motion, by backprop in Candle.
//!
//! The controller sends a [`Sample`] a tick; [`Labeller`] turns samples into labelled examples by the chosen
//! [`Rule`]; [`Replay`] keeps the recent ones; [`Learner`] trains a copy of the network on them and hands out
//! weights when they explain unseen samples better than no network would.

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

pub use config::{LearnerConfig, Rule};
pub use gate::Scores;
pub use sample::Sample;
pub use trainer::{Learner, Progress, Weights};
