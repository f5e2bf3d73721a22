//! Where the robot will be: [`Predictor`] with the constant-velocity baseline and the learned predictor that
//! corrects it: linear auto-regressions that adapt as the robot moves, and an LSTM.

mod adaptive;
mod commanded;
pub mod command_reader;
pub mod commands;
pub mod constant_acceleration;
pub mod constant_velocity;
pub mod features;
mod interpolation;
pub mod linear;
pub mod lstm;
pub mod mixture;
pub mod model;
pub mod parameters;
pub mod recursive;
pub mod resampler;
pub mod ridge;
pub mod skill;

use crate::state::State;
use crate::trajectory::{Horizon, Trajectory};
pub use constant_velocity::ConstantVelocity;
pub use lstm::LstmPredictor;
pub use model::{MAX_STEPS, PredictorConfig, PredictorModel};
pub use parameters::{BasePredictorParameters, PredictorParameters};
pub use skill::RealisedError;

/// Sizes are fixed when a predictor is made; after that neither method allocates.
pub trait Predictor {
    /// How far and how fine it predicts.
    fn horizon(&self) -> Horizon;

    /// Takes in a measurement, in the order of the stamps.
    fn observe(&mut self, state: &State) -> Observation;

    /// Fills `out` with the motion from the newest measurement; `false`, with `out` untouched, before the first
    /// measurement and when `out` was made for another horizon or number of joints.
    fn predict(&mut self, out: &mut Trajectory) -> bool;

    /// Does what can be done for the next measurement before it comes, to be called when the prediction is out. It changes
    /// no result.
    fn prepare(&mut self) {}

    /// Forgets all measurements.
    fn reset(&mut self);
}

/// What a measurement did to a predictor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It is the first.
    Started,
    /// It continues the motion; the network took this many steps (none, when measurements are closer than dt).
    Continued { steps: usize },
    /// It has the stamp of the one before and was ignored.
    Duplicate,
    /// More than five dt after the one before: the network's memory was cleared.
    RestartedAfterGap,
    /// Before the one before (a clock that was set, a simulation begun anew): the network's memory was cleared.
    RestartedBackInTime,
    /// Not finite, or of another number of joints; it was ignored.
    Refused,
}

impl Observation {
    /// Whether it completes a sample, so that the network has seen all up to it: of measurements that come closer than dt the best
    /// to predict from.
    pub fn is_sample(self) -> bool {
        match self {
            Self::Started | Self::RestartedAfterGap | Self::RestartedBackInTime => true,
            Self::Continued { steps } => steps > 0,
            Self::Duplicate | Self::Refused => false,
        }
    }
}

/// Whether `state` can be taken in by a predictor of so many joints.
fn is_valid(state: &State, joints: usize) -> bool {
    let finite = |values: &[f64]| values.len() == joints && values.iter().all(|value| value.is_finite());
    finite(&state.position) && finite(&state.velocity)
}

/// Whether `out` was made for this horizon and number of joints.
fn fits(out: &Trajectory, horizon: Horizon, joints: usize) -> bool {
    let is_size = |values: &Vec<f64>| values.len() == joints;
    out.horizon == horizon
        && out.states.len() == horizon.steps
        && out.stddev.len() == horizon.steps
        && out.states.iter().all(|state| is_size(&state.position) && is_size(&state.velocity))
        && out.stddev.iter().all(is_size)
}
