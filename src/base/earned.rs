//! The share that a network has earned where no head weighs it: as far as it has lately been right about what the base loses of
//! the twist that it is sent.

use super::twist::Twist;
use crate::controller::regression::Regression;

/// Least usual error, as a share of an axis' greatest velocity.
const LEAST_ERROR: f64 = 1e-3;

/// See the module. What is weighed is the whole output of the network, whatever share of it has acted, so that one that was wrong
/// comes back when it is right.
pub struct EarnedShares {
    /// Without weights of their own: each weighs the evidence for the network as a head does.
    axes: [Regression; 3],
    greatest: Twist,
}

impl EarnedShares {
    /// For axes with these `greatest` velocities, m/s, m/s, rad/s; 0: the base does not have it.
    pub fn new(greatest: Twist) -> Self {
        Self { axes: std::array::from_fn(|_| Regression::new(0, LEAST_ERROR * LEAST_ERROR)), greatest }
    }

    /// For `dt` [s] the base has `lost` so much of the twist that it was sent, where the network would have added `network`.
    pub fn observe(&mut self, lost: &Twist, network: &Twist, dt: f64) {
        for (axis, evidence) in
            self.axes.iter_mut().enumerate().filter(|(axis, _)| self.greatest[*axis] > 0.0)
        {
            let [before, after] =
                [lost[axis], lost[axis] - network[axis]].map(|error| error / self.greatest[axis]);
            if before.is_finite() && after.is_finite() {
                evidence.weigh([before, before, after], dt);
            }
        }
    }

    /// Of each axis, 0 to 1.
    pub fn shares(&self) -> Twist {
        [0, 1, 2].map(|axis| if self.greatest[axis] > 0.0 { self.axes[axis].shares()[1] } else { 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_is_used_what_is_wrong_is_not_and_what_comes_right_again_is() {
        let mut earned = EarnedShares::new([0.5, 0.0, 2.0]);
        let mut seconds = |seconds: f64, network: Twist| {
            (0..(seconds / 0.02) as usize).for_each(|_| earned.observe(&[0.1, 0.0, -0.2], &network, 0.02));
            earned.shares()
        };
        assert_eq!(seconds(0.1, [0.09, 3.0, 0.2]), [1.0, 0.0, 0.0], "right, not there, of the wrong sign");
        assert_eq!(seconds(1.0, [0.4, 0.0, -0.2]), [0.0, 0.0, 1.0], "far too much, not there, right again");
        assert_eq!(seconds(8.0, [0.1, 0.0, 0.0]), [1.0, 0.0, 0.0], "right again, not there, no help");
    }
}
