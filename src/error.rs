//! The library's one error type. Every variant carries what is needed to mend the cause: where, what was found,
//! what was expected. Run-time faults of the control loop are not errors but [`crate::control_loop::Verdict`]s.

use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    // --- configuration ---
    #[error("{file}: {key}: {problem}")]
    Config {
        /// File (or "parameters of node NAME") that holds the setting.
        file: String,
        /// Dotted path of the key, e.g. `controller.gains.joint1.p`.
        key: String,
        /// What was found and what was expected.
        problem: String,
    },

    // --- robot description ---
    #[error("URDF of robot '{robot}': {problem}")]
    Urdf { robot: String, problem: String },
    #[error("joint '{joint}': {problem}")]
    Joint { joint: String, problem: String },

    // --- data ---
    #[error("{file}: {problem}")]
    Data { file: PathBuf, problem: String },
    #[error("{what}: found {found}, expected {expected}")]
    Mismatch { what: String, found: String, expected: String },
    #[error("{what} is not finite: {value}")]
    NotFinite { what: String, value: f64 },

    // --- model files and weights ---
    #[error("model {origin}: {problem}")]
    Model { origin: String, problem: String },

    // --- libraries ---
    #[error("{path}: {cause}")]
    Io { path: PathBuf, cause: std::io::Error },
    #[error("neural network: {0}")]
    Candle(#[from] candle_core::Error),
    #[error("chart '{title}': {problem}")]
    Chart { title: String, problem: String },
    #[error("simulator: {0}")]
    Simulator(String),
    #[error("ROS: {0}")]
    Ros(String),
}

impl Error {
    /// An I/O error with the path it concerns, for `map_err`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Io { path, cause }
    }

    pub fn mismatch(what: impl Into<String>, found: impl ToString, expected: impl ToString) -> Self {
        Self::Mismatch { what: what.into(), found: found.to_string(), expected: expected.to_string() }
    }
}
