//! The seam through which something learned corrects the twist of a base.

use super::twist::Twist;
use super::twist_model::TwistModel;
use crate::controller::ResidualModel;
use crate::error::Result;
use crate::state::State;

/// How the base shall move at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WantedTwist {
    pub velocity: Twist,
    /// Its derivative, m/s² and rad/s².
    pub acceleration: Twist,
}

/// Something that knows how the base answers twists. It allocates nothing and waits for nothing.
pub trait TwistCorrection: Send {
    /// What `sent` led to within `dt` [s]: `achieved` is the newest measurement. Limits have acted on `sent` already. Not to be
    /// learned from when nothing was asked for, the base is held up, a fault acted or time is missing: then `undisturbed` is
    /// false. `network` is what else adds to the twist.
    fn observe(
        &mut self,
        achieved: &State,
        sent: &Twist,
        dt: f64,
        undisturbed: bool,
        network: Option<&mut ResidualModel>,
    );

    /// Makes of a network's twist in `out`, 0 without one, what has to be added to the wanted twist so that the base achieves it.
    /// `wanted` gives the one of any number of seconds ahead; an asking controller's twist is taken to stay what it is.
    fn correct(&mut self, wanted: &dyn Fn(f64) -> WantedTwist, out: &mut Twist);

    /// What was known of the last correction without a network; a network has to learn the rest.
    fn known(&self) -> Twist {
        [0.0; 3]
    }

    /// Whether it knows the base: what it is still finding out a network must not learn.
    fn is_settled(&self) -> bool {
        true
    }

    /// Whether it learns at the moment, or could: odometry comes as often as it is computed, and nothing disturbs the base.
    fn learns(&self) -> bool {
        false
    }

    /// Keeps what is learned as it is, or goes on learning.
    fn freeze(&mut self, _frozen: bool) {}

    /// What was learned, to be kept; none of what knows without learning. May allocate.
    fn model(&mut self) -> Option<Result<TwistModel>> {
        None
    }

    /// Goes on with what was learned before; it must have been checked for this base.
    fn restore(&mut self, _model: &TwistModel) {}
}
