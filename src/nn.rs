//! The neural networks: Candle defines and trains them, a frozen copy, packed for the processor, runs them, one file keeps them.
pub mod activation;
pub mod adamw;
pub mod card;
pub mod checkpoint;
pub mod dense;
pub mod kernel;
pub mod loss;
pub mod lstm;
pub mod mlp;
pub mod normalizer;
mod operation;
pub mod variables;
