//! The neural networks: Candle defines and trains them, a frozen copy, packed for the processor, runs them, one file keeps them.
pub mod activation;
pub mod card;
pub mod checkpoint;
pub mod kernel;
pub mod lstm;
pub mod mlp;
pub mod normalizer;
pub mod variables;
