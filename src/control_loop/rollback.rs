//! Whether weights that were taken have to be given back: the tracking error after a swap against the one before.
//!
//! Errors are compared as mean squares of the last moments and of the time before the swap, beside those that the baseline
//! alone would have: when these grow the motion has become harder or the robot another one, and the weights are not to
//! blame. A harder motion lets both errors grow by one factor. A change of the robot adds the same to both at first;
//! counted is what is beyond the usual variation of a motion.

use std::fmt;

/// Time constants of the error before a swap and of the present one [s].
const BEFORE: f64 = 10.0;
const PRESENT: f64 = 0.3;
/// History that must be there before anything is decided [s].
const KNOWN: f64 = 2.0;
/// How long after a swap the error may be laid to it, and how long it must be too large [s].
const WATCHED: f64 = 5.0;
const LASTING: f64 = 1.0;
/// Times the expected error.
const FACTOR: f64 = 2.0;
/// By which the baseline's error varies with the motion.
const VARIATION: f64 = 1.5;
/// Gains beyond this are not counted on: what the gate foresees is of other motions.
const LEAST_SHARE: f64 = 0.5;

/// Why weights are given back; errors are root mean squares in rad or m.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RollbackReason {
    pub error: f64,
    pub expected: f64,
    /// Since the swap [s].
    pub elapsed: f64,
}

impl fmt::Display for RollbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, expected, elapsed } = self;
        write!(
            f,
            "{elapsed:.1} s after new weights the tracking error is {error:.5}, expected were {expected:.5}"
        )
    }
}

/// Mean squares of the tracking error and of that which the baseline alone would have, rad² or m².
type Squares = [f64; 2];

/// To be asked every tick; allocates nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct RollbackMonitor {
    before: Squares,
    present: Squares,
    known: f64,
    swap: Option<Swap>,
}

#[derive(Clone, Copy, Debug)]
struct Swap {
    /// Before it.
    before: Squares,
    /// Of the mean square of the error, foreseen to be left.
    share: f64,
    elapsed: f64,
    too_large: f64,
}

impl Swap {
    /// The error to be expected, rms [rad or m], while the baseline's is that of `present`.
    fn expected(&self, [_, present]: Squares) -> f64 {
        let [error, baseline] = self.before.map(f64::sqrt);
        let present = present.sqrt();
        let harder = if baseline > 0.0 { (present / baseline).max(1.0) } else { 1.0 };
        self.share.sqrt() * error * harder + (present - VARIATION * baseline).max(0.0)
    }
}

impl RollbackMonitor {
    /// New weights are in use, of which the gate foresaw that this `share` of the mean square of the error is left.
    /// While the error is already too large a further swap does not excuse it.
    pub fn swapped(&mut self, share: f64) {
        let is_suspicious = self.swap.is_some_and(|swap| swap.too_large > 0.0);
        if self.known >= KNOWN && !is_suspicious {
            let share = if share.is_finite() { share.clamp(LEAST_SHARE, 1.0) } else { 1.0 };
            self.swap = Some(Swap { before: self.before, share, elapsed: 0.0, too_large: 0.0 });
        }
    }

    /// Forgets everything, for another motion or after a fault.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// The tracking error of the last moments, and the one that the baseline alone would have, rms [rad or m].
    pub fn present(&self) -> [f64; 2] {
        self.present.map(f64::sqrt)
    }

    /// Takes the mean squares of a tick `dt` [s] after the last; gives the reason when the weights have to go, once.
    pub fn observe(&mut self, squares: Squares, dt: f64) -> Option<RollbackReason> {
        if !(squares.iter().all(|square| square.is_finite()) && dt > 0.0) {
            return None;
        }
        self.known += dt;
        approach(&mut self.present, squares, dt / PRESENT.min(self.known));
        if let Some(swap) = &mut self.swap {
            swap.elapsed += dt;
            let (error, expected) = (self.present[0].sqrt(), swap.expected(self.present));
            let is_too_large = error > FACTOR * expected;
            swap.too_large = if is_too_large { swap.too_large + dt } else { 0.0 };
            if swap.too_large >= LASTING {
                let reason = RollbackReason { error, expected, elapsed: swap.elapsed };
                self.reset();
                return Some(reason);
            }
            if is_too_large {
                return None;
            }
            if swap.elapsed > WATCHED {
                self.swap = None;
            }
        }
        approach(&mut self.before, squares, dt / BEFORE.min(self.known));
        None
    }
}

/// Moves means by a share, at most all, of the way to `squares`.
fn approach(means: &mut Squares, squares: Squares, share: f64) {
    means.iter_mut().zip(squares).for_each(|(mean, square)| *mean += share.min(1.0) * (square - *mean));
}

#[cfg(test)]
mod tests {
    use super::*;

    const DT: f64 = 0.002;

    /// Shows errors for some seconds, ours and the baseline's; gives the reason, if one came, and when.
    fn show(monitor: &mut RollbackMonitor, seconds: f64, errors: [f64; 2]) -> Option<(f64, RollbackReason)> {
        let squares = errors.map(|error| error * error);
        let ticks = (seconds / DT) as usize;
        (1..=ticks).find_map(|k| monitor.observe(squares, DT).map(|reason| (k as f64 * DT, reason)))
    }

    #[test]
    fn weights_that_make_it_worse_go_back_in_little_more_than_a_second() {
        let mut monitor = RollbackMonitor::default();
        assert_eq!(show(&mut monitor, 5.0, [1e-3, 3e-3]), None);
        monitor.swapped(0.8);
        let (time, reason) = show(&mut monitor, 5.0, [4e-3, 3e-3]).expect("four times the error");
        assert!((LASTING..1.5).contains(&time), "{time} s");
        assert!(reason.error > 3.0 * reason.expected, "{reason}");
        assert_eq!(show(&mut monitor, 5.0, [4e-3, 3e-3]), None, "once");
    }

    #[test]
    fn a_harder_motion_is_no_reason() {
        let mut monitor = RollbackMonitor::default();
        assert_eq!(show(&mut monitor, 5.0, [1e-3, 3e-3]), None);
        monitor.swapped(1.0);
        assert_eq!(show(&mut monitor, 5.5, [5e-3, 15e-3]), None, "the baseline's error has grown as much");
        assert_eq!(show(&mut monitor, 4.0, [5e-3, 3e-3]), None, "too long after the swap");
        monitor.reset();
        show(&mut monitor, 5.0, [1e-6, 1e-6]);
        monitor.swapped(1.0);
        assert_eq!(show(&mut monitor, 4.0, [1e-3, 3e-3]), None, "it had been at rest");
    }

    #[test]
    fn a_load_that_nobody_has_learned_is_no_reason_and_weights_that_are_worse_beside_it_are() {
        let taught = || {
            let mut monitor = RollbackMonitor::default();
            show(&mut monitor, 5.0, [1e-3, 3e-3]);
            monitor.swapped(1.0);
            monitor
        };
        assert_eq!(show(&mut taught(), 4.0, [5e-3, 7e-3]), None, "4 mrad more for both");
        assert!(show(&mut taught(), 4.0, [12e-3, 7e-3]).is_some());
        assert!(show(&mut taught(), 4.0, [4e-3, 4e-3]).is_some(), "no more than a motion varies");
    }

    #[test]
    fn a_short_error_is_no_reason_and_a_further_swap_no_excuse() {
        let mut monitor = RollbackMonitor::default();
        show(&mut monitor, 5.0, [1e-3, 3e-3]);
        monitor.swapped(1.0);
        assert_eq!(show(&mut monitor, 0.3, [4e-3, 3e-3]), None);
        assert_eq!(show(&mut monitor, 1.5, [1e-3, 3e-3]), None);
        monitor.swapped(1.0);
        let reasons = (0..10).filter_map(|_| {
            let reason = show(&mut monitor, 0.2, [10e-3, 3e-3]);
            monitor.swapped(1.0);
            reason
        });
        assert_eq!(reasons.count(), 1);
    }

    #[test]
    fn nothing_is_decided_without_a_history() {
        let mut monitor = RollbackMonitor::default();
        monitor.swapped(1.0);
        assert_eq!(show(&mut monitor, 1.0, [1e-3, 3e-3]), None);
        assert_eq!(show(&mut monitor, 8.0, [9e-3, 3e-3]), None);
        assert_eq!(monitor.observe([f64::NAN, 0.0], DT), None);
    }
}
