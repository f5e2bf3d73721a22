//! A turn on the spot, before a path that begins elsewhere than the base looks, or after one that ends so.

use super::limits::TwistLimits;
use super::profile::SpeedLimits;

/// A turn is no slower than this, rad/s and rad/s².
const SLOWEST: f64 = 0.01;

/// From a rate to rest, with the rate of a trapezoid.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    from: f64,
    by: f64,
    /// Rate at the beginning, in the direction of the turn, and the largest, rad/s.
    first: f64,
    rate: f64,
    /// How the rate rises and falls, rad/s².
    rise: f64,
    fall: f64,
}

impl Turn {
    /// From yaw `from` by `by` [rad], with the share of the limits that a reference may use, for a base that turns at `rate`
    /// [rad/s]. What is more than it could brake within limits is not taken for a part of the turn.
    pub fn new(from: f64, by: f64, rate: f64, limits: &TwistLimits, speeds: &SpeedLimits) -> Self {
        let greatest = speeds.share * limits.max_velocity[2].min(-limits.min_velocity[2]).max(SLOWEST);
        let acceleration = speeds.share * limits.max_accel[2].min(-limits.max_decel[2]).max(SLOWEST);
        let rise = 0.5 * acceleration;
        let fastest = (2.0 * acceleration * by.abs()).sqrt().min(greatest);
        let first = (rate * by.signum()).clamp(-fastest, fastest);
        // half of the limits, or what it takes to stop in time
        let peak = (rise * by.abs() + 0.5 * first * first).sqrt().min(greatest).max(first);
        let fall = if peak > first { rise } else { rise.max(0.5 * first * first / by.abs()) };
        Self { from, by, first, rate: peak, rise, fall }
    }

    /// How long the rate rises, is the largest, and falls, s.
    fn times(&self) -> [f64; 3] {
        let Self { by, first, rate, rise, fall, .. } = self;
        let (rising, falling) = ((rate - first) / rise, rate / fall);
        let changing = 0.5 * ((rate + first) * rising + rate * falling);
        [rising, (by.abs() - changing).max(0.0) / rate.max(f64::MIN_POSITIVE), falling]
    }

    /// s.
    pub fn duration(&self) -> f64 {
        self.times().iter().sum()
    }

    /// Yaw with its derivatives, `time` [s] after its beginning.
    pub fn at(&self, time: f64) -> [f64; 3] {
        let ([rising, steady, falling], side) = (self.times(), self.by.signum());
        let left = rising + steady + falling - time;
        let [turned, rate, change] = match time {
            time if time < rising => {
                let rate = self.first + self.rise * time;
                [0.5 * (self.first + rate) * time, rate, self.rise]
            }
            _ if left > falling => [self.by.abs() - self.rate * (left - 0.5 * falling), self.rate, 0.0],
            _ if left > 0.0 => [self.by.abs() - 0.5 * self.fall * left * left, self.fall * left, -self.fall],
            _ => [self.by.abs(), 0.0, 0.0],
        };
        [self.from + side * turned, side * rate, side * change]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_at_rest_and_its_derivatives_are_right() {
        let (limits, speeds) = (TwistLimits::default(), SpeedLimits::default());
        let greatest = speeds.share * limits.max_velocity[2];
        for (by, first) in
            [(3.0, 0.0), (-0.1, 0.0), (2.0, 1.0), (-2.0, 0.4), (0.3, 1.2), (0.05, 2.0), (1.0, 9.0)]
        {
            let turn = Turn::new(0.5, by, first, &limits, &speeds);
            let h = 1e-6;
            let within = |time: f64| {
                turn.times()
                    .into_iter()
                    .scan(0.0, |at, part| {
                        *at += part;
                        Some(*at)
                    })
                    .all(|corner| (corner - time).abs() > 2.0 * h)
            };
            for time in (1..100).map(|i| turn.duration() * f64::from(i) / 100.0).filter(|time| within(*time))
            {
                let [before, now, after] = [time - h, time, time + h].map(|time| turn.at(time));
                assert!(((after[0] - before[0]) / (2.0 * h) - now[1]).abs() < 1e-4, "{by} {first} {time}");
                assert!(((after[1] - before[1]) / (2.0 * h) - now[2]).abs() < 1e-4, "{by} {first} {time}");
                assert!(now[1].abs() <= greatest + 1e-9, "{by} {first} {time}: {now:?}");
                assert!(
                    now[2].abs() <= speeds.share * limits.max_accel[2] + 1e-9,
                    "{by} {first} {time}: {now:?}"
                );
            }
            let (begin, end) = (turn.at(0.0), turn.at(turn.duration() + 1.0));
            assert!((begin[0] - 0.5).abs() < 1e-9, "{by} {first}: {begin:?}");
            let may_begin = (2.0 * speeds.share * limits.max_accel[2] * f64::abs(by)).sqrt().min(greatest);
            assert!((begin[1] - first.clamp(-may_begin, may_begin)).abs() < 1e-9, "{by} {first}: {begin:?}");
            assert!((end[0] - 0.5 - by).abs() < 1e-12 && end[1] == 0.0);
        }
    }
}
