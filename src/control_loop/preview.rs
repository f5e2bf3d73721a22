//! The reference at the time in which a command will act.

use crate::control_loop::Motion;
use crate::reference::{MotionPoint, ReferencePoint};

/// The jerk is that between so long before and so long after, s; accelerations may jump.
const JERK_TIME: f64 = 0.005;

/// See the module; sized when it is built.
pub struct Preview {
    pub motion: MotionPoint,
    needs_jerk: bool,
    before: ReferencePoint,
    after: ReferencePoint,
}

impl Preview {
    pub fn new(degrees_of_freedom: usize, needs_jerk: bool) -> Self {
        let zeros = ReferencePoint::zeros(degrees_of_freedom);
        let motion = MotionPoint::zeros(degrees_of_freedom);
        Self { motion, needs_jerk, before: zeros.clone(), after: zeros }
    }

    /// Looks `ahead` seconds ahead on a reference whose clock runs `scaling` times as fast.
    pub fn look(&mut self, reference: &Motion, ahead: f64, scaling: f64) {
        reference.sample_ahead(ahead, scaling, &mut self.motion.point);
        if !self.needs_jerk {
            return;
        }
        reference.sample_ahead(ahead - JERK_TIME, scaling, &mut self.before);
        reference.sample_ahead(ahead + JERK_TIME, scaling, &mut self.after);
        let accelerations = self.before.acceleration.iter().zip(&self.after.acceleration);
        for (jerk, (before, after)) in self.motion.jerk.iter_mut().zip(accelerations) {
            *jerk = (after - before) / (2.0 * JERK_TIME);
        }
    }
}
