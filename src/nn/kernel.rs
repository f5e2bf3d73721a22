//! Networks as the robot runs them: weights packed once, in the order in which they are read, and products, sums and
//! nonlinearities on the widest vectors that the processor has. A step allocates nothing.
//!
//! y = W x + b of a single input reads each weight once, so the time is that of reading them from the cache. They lie
//! in panels: some vectors of neighbouring outputs, whose sums stay in registers while the inputs go by,
//!
//! ```text
//! panel [input][output of the panel]:   sum[output] += weight[input][output] · x[input]
//! ```
//!
//! The arithmetic is written once over [`simd::Simd`], and compiled for each kind of vectors. Which one a network uses
//! is decided when it is packed, see [`Path::best`]. `unsafe` is here alone: in `simd`, `memory` and
//! `matrix`.
//!
//! Another processor may round otherwise (fused or separate products and sums, another order of them): results are the
//! same to the bit on one kind of processor, and agree within some 1e-7 of the output's scale between kinds.

mod activation;
pub mod dense;
pub mod lstm;
pub mod matrix;
mod memory;
pub mod simd;

pub use simd::Path;

#[cfg(test)]
mod tests;
