//! What computes the command: the baseline, which needs no learning, and the residual, which is learned.
//!
//! u = limit(u_baseline + α · clip(u_residual, ±r_max)); [`crate::control_loop`] puts the two together.

pub mod baseline;
mod belief;
pub mod features;
pub mod head;
pub mod observer;
pub mod regression;
pub mod residual;
mod ringing;
pub mod velocity_lag;

pub use baseline::{Baseline, BaselineConfig, Feedforward, Gains};
pub use head::{Head, HeadConfig, HeadReport};
pub use observer::{DisturbanceObserver, ObserverConfig};
pub use residual::{Residual, ResidualModel};
pub use velocity_lag::VelocityLag;
