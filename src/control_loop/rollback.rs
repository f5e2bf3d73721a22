//! Whether weights that were taken have to be given back: the tracking error after a swap against the one before.
//!
//! Errors are compared as mean squares of the last moments and of the time before the swap. Where the error that the
//! baseline would have is known, both are in units of it: then a harder motion is not taken for worse weights.

use std::fmt;

/// Time constants of the error before a swap and of the present one [s].
const BEFORE: f64 = 10.0;
const PRESENT: f64 = 0.3;
/// History that must be there before anything is decided [s].
const KNOWN: f64 = 2.0;
/// How long after a swap the error may be laid to it, and how long it must be too large [s].
const WATCHED: f64 = 5.0;
const LASTING: f64 = 1.0;
/// Times the expected error, when the baseline's is known and when not: then the motion itself makes it vary.
const FACTOR_KNOWN: f64 = 1.5;
const FACTOR_UNKNOWN: f64 = 3.0;
/// Gains beyond this are not counted on: what the gate foresees is of other motions.
const LEAST_SHARE: f64 = 0.5;

/// Why weights are given back; errors are root mean squares in rad or m, or in units of the baseline's.
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
            "{elapsed:.1} s after new weights the tracking error is {error:.4}, expected were {expected:.4}"
        )
    }
}

/// To be asked every tick; allocates nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct RollbackMonitor {
    /// Mean squares.
    before: f64,
    present: f64,
    known: f64,
    swap: Option<Swap>,
}

#[derive(Clone, Copy, Debug)]
struct Swap {
    /// Mean square of the error that is expected.
    expected: f64,
    elapsed: f64,
    too_large: f64,
}

impl RollbackMonitor {
    /// New weights are in use, of which the gate foresaw that this `share` of the mean square of the error is left.
    /// While the error is already too large a further swap does not excuse it.
    pub fn swapped(&mut self, share: f64) {
        let is_suspicious = self.swap.is_some_and(|swap| swap.too_large > 0.0);
        if self.known >= KNOWN && !is_suspicious {
            let share = if share.is_finite() { share.clamp(LEAST_SHARE, 1.0) } else { 1.0 };
            self.swap = Some(Swap { expected: share * self.before, elapsed: 0.0, too_large: 0.0 });
        }
    }

    /// Forgets everything, for another motion or after a fault.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Takes the tracking error [rad or m, root mean square over joints] of a tick `dt` [s] after the last, and the
    /// one that the baseline would have, if known; gives the reason when the weights have to go, once.
    pub fn observe(&mut self, error: f64, baseline: Option<f64>, dt: f64) -> Option<RollbackReason> {
        if !(error.is_finite() && dt > 0.0) {
            return None;
        }
        let known = baseline.filter(|baseline| baseline.is_normal());
        let square = (error / known.unwrap_or(1.0)).powi(2);
        self.known += dt;
        self.present += (dt / PRESENT.min(self.known)).min(1.0) * (square - self.present);
        let factor = if known.is_some() { FACTOR_KNOWN } else { FACTOR_UNKNOWN };
        if let Some(swap) = &mut self.swap {
            swap.elapsed += dt;
            let is_too_large = self.present > factor * factor * swap.expected;
            swap.too_large = if is_too_large { swap.too_large + dt } else { 0.0 };
            if swap.too_large >= LASTING {
                let Swap { expected, elapsed, .. } = *swap;
                let reason =
                    RollbackReason { error: self.present.sqrt(), expected: expected.sqrt(), elapsed };
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
        self.before += (dt / BEFORE.min(self.known)).min(1.0) * (square - self.before);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DT: f64 = 0.002;

    /// Shows an error for some seconds; gives the reason, if one came, and when.
    fn show(
        monitor: &mut RollbackMonitor,
        seconds: f64,
        error: f64,
        baseline: Option<f64>,
    ) -> Option<(f64, RollbackReason)> {
        let ticks = (seconds / DT) as usize;
        (1..=ticks).find_map(|k| monitor.observe(error, baseline, DT).map(|reason| (k as f64 * DT, reason)))
    }

    #[test]
    fn weights_that_make_it_worse_go_back_in_little_more_than_a_second() {
        for baseline in [None, Some(2e-3)] {
            let mut monitor = RollbackMonitor::default();
            assert_eq!(show(&mut monitor, 5.0, 1e-3, baseline), None);
            monitor.swapped(0.8);
            let (time, reason) = show(&mut monitor, 5.0, 4e-3, baseline).expect("four times the error");
            assert!((LASTING..1.5).contains(&time), "{time} s");
            assert!(reason.error > 3.0 * reason.expected, "{reason}");
            assert_eq!(show(&mut monitor, 5.0, 4e-3, baseline), None, "once");
        }
    }

    #[test]
    fn a_harder_motion_is_no_reason() {
        let mut monitor = RollbackMonitor::default();
        assert_eq!(show(&mut monitor, 5.0, 1e-3, Some(3e-3)), None);
        monitor.swapped(1.0);
        assert_eq!(
            show(&mut monitor, 5.5, 5e-3, Some(15e-3)),
            None,
            "the baseline's error has grown as much"
        );
        assert!(show(&mut monitor, 4.0, 5e-3, Some(3e-3)).is_none(), "too long after the swap");
    }

    #[test]
    fn a_short_error_is_no_reason_and_a_further_swap_no_excuse() {
        let mut monitor = RollbackMonitor::default();
        show(&mut monitor, 5.0, 1e-3, None);
        monitor.swapped(1.0);
        assert_eq!(show(&mut monitor, 0.3, 4e-3, None), None);
        assert_eq!(show(&mut monitor, 1.5, 1e-3, None), None);
        monitor.swapped(1.0);
        let reasons = (0..10).filter_map(|_| {
            let reason = show(&mut monitor, 0.2, 10e-3, None);
            monitor.swapped(1.0);
            reason
        });
        assert_eq!(reasons.count(), 1);
    }

    #[test]
    fn nothing_is_decided_without_a_history() {
        let mut monitor = RollbackMonitor::default();
        monitor.swapped(1.0);
        assert_eq!(show(&mut monitor, 1.0, 1e-3, None), None);
        assert_eq!(show(&mut monitor, 8.0, 9e-3, None), None);
        assert_eq!(monitor.observe(f64::NAN, None, DT), None);
    }
}
