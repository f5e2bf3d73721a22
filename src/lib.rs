//! Learned control: a robot that tracks its reference better by learning from its own motion.
//!
//! ```text
//! joint_states ─┬────────────► predictor ──► ~/predicted_trajectory ─┐  (LSTM: where the robot will be)
//!               │                                                    ▼
//! reference ────┴──────────────────────────► controller ──► commands    (baseline + authority × MLP)
//!                                                ▲   │
//!                                      ~/weights │   ▼ ~/learning_sample
//!                                              learner        (backprop from tracking error)
//! ```
//!
//! Modules in dependency order; each imports only from those above it. Down to `closed_loop` nothing reads a
//! clock, an environment variable or a topic: time is an argument, randomness is seeded. The only file that is read or
//! written there is a model's, by `nn::checkpoint`.

pub mod error;
pub mod files;
pub mod vector;

pub mod state;
pub mod trajectory;
pub mod command;
mod delay_line;
pub mod robot;
pub mod measurement;
pub mod reference;

pub mod nn;
pub mod predictor;
pub mod controller;
pub mod learner;
pub mod control_loop;
pub mod base;

#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "sim")]
pub mod closed_loop;

pub mod models;
pub mod dataset;
pub mod training;
pub mod report;
pub mod evaluation;
pub mod config;
pub mod interrupt;
pub mod replay;
pub mod cli;
#[cfg(feature = "ros")]
pub mod ros;
#[cfg(all(feature = "ros", feature = "sim"))]
pub mod demo;

pub use error::{Error, Result};
