//! Notices that a loop rings: swings of a signal about its mean that do not decay (Hägglund, *A control-loop performance
//! monitor*, Control Engineering Practice 3, 1995, which counts them likewise).

/// Time over which the mean is taken, s.
const MEAN: f64 = 0.05;
/// A swing to one side that lasts longer than this [s] is none of a ringing loop.
const LONGEST: f64 = 0.1;
/// Share of the last but one swing, to the same side, that a swing keeps when nothing dampens it.
const KEPT: f64 = 0.9;
/// Swings in a row that are no chance.
const SWINGS: u32 = 6;

/// One signal. See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ringing {
    mean: f64,
    /// Peaks of the present swing and of the two before, with their signs.
    peaks: [f64; 3],
    /// Of the present swing, s.
    elapsed: f64,
    swings: u32,
}

impl Ringing {
    /// Takes the `value` that the signal has `dt` [s] after the last. True once when it rings: swings of more than `least`
    /// go on.
    pub fn observe(&mut self, value: f64, dt: f64, least: f64) -> bool {
        self.mean += (1.0 - (-dt / MEAN).exp()) * (value - self.mean);
        let swing = value - self.mean;
        self.elapsed += dt;
        let [present, last, before] = self.peaks;
        if swing * present >= 0.0 {
            self.peaks[0] = if swing.abs() > present.abs() { swing } else { present };
            return false;
        }
        let goes_on = self.elapsed <= LONGEST
            && present.abs() > least
            && last.abs() > least
            && present.abs() > KEPT * before.abs();
        self.swings = if goes_on { self.swings + 1 } else { 0 };
        self.peaks = [swing, present, last];
        self.elapsed = 0.0;
        let rings = self.swings >= SWINGS;
        if rings || !swing.is_finite() {
            *self = Self { mean: value, ..Self::default() };
        }
        rings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::Distribution;
    use std::f64::consts::TAU;

    const DT: f64 = 0.002;

    /// Seconds until it is said to ring, of `signal` by time [s].
    fn rings_after(signal: impl Fn(f64) -> f64) -> Option<f64> {
        let mut ringing = Ringing::default();
        (0..5000).map(|k| f64::from(k) * DT).find(|time| ringing.observe(signal(*time), DT, 0.1))
    }

    #[test]
    fn what_swings_on_rings_and_what_decays_or_is_slow_does_not() {
        for frequency in [8.0, 20.0, 50.0] {
            let found = rings_after(|time| 3.0 * time + (TAU * frequency * time).sin()).unwrap();
            assert!(found < 8.0 / frequency, "{frequency} Hz: {found} s");
        }
        let grows = rings_after(|time| 1e-3 * (5.0 * time).exp() * (TAU * 20.0 * time).sin());
        assert!(grows.is_some_and(|time| time < 2.0), "{grows:?}");
        assert_eq!(rings_after(|time| (-4.0 * time).exp() * (TAU * 20.0 * time).sin()), None);
        assert_eq!(rings_after(|time| 0.05 * (TAU * 20.0 * time).sin()), None, "too small");
        assert_eq!(rings_after(|time| (TAU * 2.0 * time).sin()), None, "a motion");
        assert_eq!(rings_after(|time| (3.0 * time).fract().round()), None, "pushes");
        assert_eq!(rings_after(|_| f64::NAN), None);
    }

    #[test]
    fn noise_does_not_ring() {
        let mut random = rand_pcg::Pcg64::seed_from_u64(1);
        let noise = rand_distr::Normal::new(0.0, 0.025).unwrap();
        let mut ringing = Ringing::default();
        let rung = (0..500_000).filter(|_| ringing.observe(noise.sample(&mut random), DT, 0.1)).count();
        assert_eq!(rung, 0, "at four standard deviations, 1000 s");
    }
}
