//! Learned control: a robot that tracks its reference better by learning from its own motion.
//!
//! Modules in dependency order; each imports only from those above it.
pub mod error;
pub mod state;
pub mod trajectory;
pub mod command;
pub mod robot;
pub mod reference;
#[cfg(feature = "sim")]
pub mod sim;

pub use error::{Error, Result};
