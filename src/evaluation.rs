//! What the learned parts are worth on recordings: trained on one part of the time, tested on another, beside strong
//! baselines in the same run.

pub mod dynamics;
pub mod prediction;
