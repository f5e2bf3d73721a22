//! A turn on the spot, before a path that begins elsewhere than the base looks, or after one that ends so.

use super::limits::TwistLimits;
use super::profile::SpeedLimits;

/// A turn is no slower than this, rad/s and rad/s².
const SLOWEST: f64 = 0.01;

/// From rest to rest, with the rate of a trapezoid.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    from: f64,
    by: f64,
    /// Largest rate, rad/s, and how it changes, rad/s².
    rate: f64,
    acceleration: f64,
}

impl Turn {
    /// From yaw `from` by `by` [rad], with the share of the limits that a reference may use.
    pub fn new(from: f64, by: f64, limits: &TwistLimits, speeds: &SpeedLimits) -> Self {
        let rate = speeds.share * limits.max_velocity[2].min(-limits.min_velocity[2]);
        let acceleration = 0.5 * speeds.share * limits.max_accel[2].min(-limits.max_decel[2]);
        let rate = rate.max(SLOWEST);
        Self { from, by, rate, acceleration: acceleration.max(SLOWEST) }
    }

    /// Time with a rising rate, and with the largest, s.
    fn times(&self) -> [f64; 2] {
        let rising = (self.rate / self.acceleration).min((self.by.abs() / self.acceleration).sqrt());
        let rate = self.acceleration * rising;
        [rising, self.by.abs() / rate.max(f64::MIN_POSITIVE) - rising]
    }

    /// s.
    pub fn duration(&self) -> f64 {
        let [rising, steady] = self.times();
        2.0 * rising + steady
    }

    /// Yaw with its derivatives, `time` [s] after its beginning.
    pub fn at(&self, time: f64) -> [f64; 3] {
        let ([rising, steady], side) = (self.times(), self.by.signum());
        let (rate, left) = (self.acceleration * rising, self.duration() - time);
        let [turned, rate, change] = match time {
            time if time < rising => {
                [0.5 * self.acceleration * time * time, self.acceleration * time, self.acceleration]
            }
            time if time < rising + steady => [rate * (time - 0.5 * rising), rate, 0.0],
            _ if left > 0.0 => {
                let missing = 0.5 * self.acceleration * left * left;
                [self.by.abs() - missing, self.acceleration * left, -self.acceleration]
            }
            _ => [self.by.abs(), 0.0, 0.0],
        };
        [self.from + side * turned, side * rate, side * change]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_goes_from_rest_to_rest_and_its_derivatives_are_right() {
        for by in [3.0, -0.1] {
            let turn = Turn::new(0.5, by, &TwistLimits::default(), &SpeedLimits::default());
            let h = 1e-5;
            for i in 1..100 {
                let time = turn.duration() * f64::from(i) / 100.0;
                let [before, now, after] = [time - h, time, time + h].map(|time| turn.at(time));
                assert!(((after[0] - before[0]) / (2.0 * h) - now[1]).abs() < 1e-4, "{by} {time}");
                assert!(now[1].abs() <= 0.7 * 2.5 + 1e-9 && now[1] * by >= 0.0);
            }
            let (begin, end) = (turn.at(0.0), turn.at(turn.duration() + 1.0));
            assert_eq!((begin[0], begin[1]), (0.5, 0.0));
            assert!((end[0] - 0.5 - by).abs() < 1e-12 && end[1] == 0.0);
        }
    }
}
