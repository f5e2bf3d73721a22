//! Durations of something that happens often: median, tail and misses over the recent past.

/// The newest this many durations count.
const WINDOW: usize = 4096;

/// A ring of durations [µs]; recording does not allocate.
#[derive(Clone, Debug)]
pub struct Timing {
    ring: Vec<f32>,
    next: usize,
    sorted: Vec<f32>,
}

/// Percentiles [µs].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Percentiles {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { ring: Vec::with_capacity(WINDOW), next: 0, sorted: Vec::with_capacity(WINDOW) }
    }
}

impl Timing {
    pub fn record(&mut self, duration: std::time::Duration) {
        let microseconds = duration.as_secs_f32() * 1e6;
        if self.ring.len() < WINDOW {
            self.ring.push(microseconds);
        } else {
            self.ring[self.next] = microseconds;
        }
        self.next = (self.next + 1) % WINDOW;
    }

    pub fn percentiles(&mut self) -> Percentiles {
        self.sorted.clear();
        self.sorted.extend_from_slice(&self.ring);
        self.sorted.sort_unstable_by(f32::total_cmp);
        let Some(last) = self.sorted.len().checked_sub(1) else { return Percentiles::default() };
        let at = |share: f64| f64::from(self.sorted[(share * last as f64).round() as usize]);
        Percentiles { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn percentiles_of_a_ramp() {
        let mut timing = Timing::default();
        (0..=100).for_each(|k| timing.record(Duration::from_micros(k)));
        let Percentiles { p50, p99, max } = timing.percentiles();
        assert_eq!((p50.round(), p99.round(), max.round()), (50.0, 99.0, 100.0));
    }
}
