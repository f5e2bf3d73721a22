//! Slows the reference down before a large tracking error happens.
//!
//! The predicted motion is compared with the reference over the next `LOOK_AHEAD`. Where the foreseen error is above
//! the tolerance, the reference's clock runs slower by that ratio until the foreseen error is back.

use crate::control_loop::Motion;
use crate::reference::ReferencePoint;
use crate::robot::Robot;
use crate::state::Stamp;
use crate::trajectory::Trajectory;

/// The reference is never slower than this share of its speed: it comes to a stop only on a fault.
const SLOWEST: f64 = 0.1;
/// Change of the share a second: fast to slow down, slow to recover.
const FALL: f64 = 4.0; // 1/s
const RISE: f64 = 0.5; // 1/s
/// How far ahead predictions are believed [s]: further on, their own errors may be taken for tracking errors.
const LOOK_AHEAD: f64 = 0.2;
/// Steps that are compared: enough to see the motion, few enough for a tick.
const COMPARED_STEPS: usize = 5;

#[derive(Clone, Debug)]
pub struct Governor {
    scaling: f64,
    target: f64,
    reference: ReferencePoint,
    error: Vec<f64>,
}

impl Governor {
    pub fn new(degrees_of_freedom: usize) -> Self {
        let error = vec![0.0; degrees_of_freedom];
        Self { scaling: 1.0, target: 1.0, reference: ReferencePoint::zeros(degrees_of_freedom), error }
    }

    /// The speed of the reference as a share of what was asked, `SLOWEST` to 1.
    pub fn scaling(&self) -> f64 {
        self.scaling
    }

    /// Takes a new prediction of `robot`. `last` is the stamp to which `motion`'s present time belongs.
    pub fn expect(
        &mut self,
        prediction: &Trajectory,
        robot: &Robot,
        motion: &Motion,
        last: Stamp,
        tolerance: f64,
    ) {
        let within = (LOOK_AHEAD / prediction.horizon.dt.as_secs_f64()).round() as usize;
        let steps = prediction.states.len().min(within.max(1));
        let stride = steps.div_ceil(COMPARED_STEPS).max(1);
        let mut largest: f64 = 0.0;
        for (index, state) in prediction.states[..steps].iter().enumerate().skip(stride - 1).step_by(stride) {
            let ahead = prediction.stamp + prediction.horizon.time_from_start(index + 1);
            let ahead = ahead.since(last) * self.scaling;
            motion.sample_ahead(ahead, 1.0, &mut self.reference);
            robot.difference(&state.position, &self.reference.position, &mut self.error);
            largest = self.error.iter().fold(largest, |largest, error| largest.max(error.abs()));
        }
        self.target = if largest > tolerance { (tolerance / largest).max(SLOWEST) } else { 1.0 };
    }

    /// Forgets what was foreseen, for a predictor that fell silent.
    pub fn forget(&mut self) {
        self.target = 1.0;
    }

    /// Moves the scaling towards what the last prediction asked for. `dt` in seconds.
    pub fn advance(&mut self, dt: f64) {
        self.scaling = if self.target < self.scaling {
            (self.scaling - FALL * dt).max(self.target)
        } else {
            (self.scaling + RISE * dt).min(self.target)
        };
    }
}
