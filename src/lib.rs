//! Learned control: a robot that tracks its reference better by learning from its own motion.
//!
//! Modules in dependency order; each imports only from those above it.
pub mod error;
pub mod state;
pub mod trajectory;
pub mod command;
pub mod nn;
pub mod predictor;
pub mod dataset;
pub mod training;
pub mod evaluation;
pub mod cli;

pub use error::{Error, Result};
