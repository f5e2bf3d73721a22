//! Whether measurements come at the rate for which the filters of a head are made.

/// One measurement may come after so many periods [least, most]: its stamp has jitter, or the one before was lost.
const EACH: [f64; 2] = [0.4, 2.5];
/// Of many it must not be more, or the filters are others than they are taken for.
const USUAL: [f64; 2] = [0.6, 1.5];
/// The share of one in the mean.
const SHARE: f64 = 0.05;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Cadence {
    rate: f64,
    /// Periods between two measurements, their mean.
    usual: f64,
}

impl Cadence {
    /// Of measurements at this `rate`, Hz.
    pub fn new(rate: f64) -> Self {
        Self { rate, usual: 1.0 }
    }

    /// Takes a measurement `dt` [s] after the last one; says whether it may be filtered with that.
    pub fn is_kept(&mut self, dt: f64) -> bool {
        let periods = dt * self.rate;
        self.usual += SHARE * (periods.clamp(0.0, EACH[1]) - self.usual);
        let is_within = |value: f64, [least, most]: [f64; 2]| (least..=most).contains(&value);
        is_within(periods, EACH) && is_within(self.usual, USUAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(periods: impl Iterator<Item = f64>) -> usize {
        let mut cadence = Cadence::new(500.0);
        periods.filter(|periods| cadence.is_kept(0.002 * periods)).count()
    }

    #[test]
    fn jitter_and_single_losses_are_taken_and_another_rate_is_not() {
        let jitter = |step: usize| 1.0 + 0.3 * ((step * 7919 % 100) as f64 / 50.0 - 1.0);
        assert_eq!(kept((0..1000).map(jitter)), 1000);
        assert_eq!(kept((0..1000).map(|step| if step % 20 == 0 { 2.0 } else { 1.0 })), 1000);
        assert!(kept((0..1000).map(|_| 2.0)) < 20);
        assert!(kept((0..1000).map(|_| 0.5)) < 40);
        assert_eq!(kept([5.0, 0.1, 0.0, -1.0].into_iter()), 0);
    }
}
