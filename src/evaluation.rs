//! What the learned parts are worth on recordings: trained on one part of the time, tested on another, beside strong
//! baselines in the same run; and what learning while tracking is worth on the simulated arm and the simulated base, beside
//! strong controllers.

pub mod dynamics;
pub mod prediction;
#[cfg(feature = "sim")]
pub mod tracking;
#[cfg(feature = "sim")]
pub mod base_tracking;
