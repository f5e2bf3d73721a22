//! When a node that controls ticks, and what it then takes for the time.

use crate::state::Stamp;
use std::time::{Duration, Instant};

/// Signals, weights and reports are looked at no less often than this, whether messages come or not [s].
const LONGEST_WAIT: f64 = 0.01;
/// A measurement is one period later than the last from this share of it on: stamps have jitter.
const NEARLY: f64 = 0.7;
/// Without a new measurement a tick is due after this many periods; one that is later has missed its deadline.
pub const MISSED: f64 = 2.0;

/// One period after the last tick if there is a new measurement, and later without one, at the time of the node's clock. Or once
/// for each measurement, at the time of its stamp, and else only when none have come for so long that the robot has to be
/// stopped.
pub struct Pace {
    by_message: bool,
    /// s
    period: f64,
    /// Silence after which the robot is stopped, s.
    timeout: f64,
    /// When the newest measurement arrived, and when the last tick was, by the computer's steady clock.
    arrival: Option<Instant>,
    last_tick: Option<Instant>,
    /// Stamp of the measurement of the last tick.
    last_stamp: Option<Stamp>,
}

impl Pace {
    pub fn new(by_message: bool, rate: f64, timeout: f64) -> Self {
        Self { by_message, period: 1.0 / rate, timeout, arrival: None, last_tick: None, last_stamp: None }
    }

    /// Whether each measurement makes a tick, where it is read.
    pub fn is_by_message(&self) -> bool {
        self.by_message
    }

    pub fn period(&self) -> f64 {
        self.period
    }

    /// A measurement arrives.
    pub fn arrives(&mut self) {
        self.arrival = Some(Instant::now());
    }

    /// Time as the control loop sees it, with the `newest` measurement and the node's `clock`. Where that clock stands
    /// still (a simulator died), the steady one shows that no measurements arrive.
    pub fn now(&self, newest: Option<Stamp>, clock: impl FnOnce() -> Stamp) -> Stamp {
        let (Some(newest), Some(arrival)) = (newest, self.arrival) else { return clock() };
        let now = newest + arrival.elapsed();
        match self.by_message {
            false => now.max(clock()),
            true if self.is_silent() => now,
            true => newest,
        }
    }

    fn is_silent(&self) -> bool {
        self.arrival.is_some_and(|arrival| arrival.elapsed().as_secs_f64() > self.timeout)
    }

    /// How long to wait for messages: until a tick is due without one.
    pub fn time_to_next_tick(&self) -> Duration {
        let Some(last) = self.last_tick else { return Duration::from_millis(2) };
        let mut left = MISSED * self.period - last.elapsed().as_secs_f64();
        if let (true, Some(arrival)) = (self.by_message, self.arrival) {
            left = left.max(self.timeout - arrival.elapsed().as_secs_f64());
        }
        Duration::from_secs_f64(left.clamp(0.0, LONGEST_WAIT))
    }

    /// Whether a tick is due with the `newest` measurement, one that was not made where a message was read.
    pub fn is_due(&self, newest: Option<Stamp>) -> bool {
        let Some(last) = self.last_tick else { return true };
        let is_late = last.elapsed().as_secs_f64() >= MISSED * self.period;
        match (newest, self.last_stamp) {
            (None, _) => is_late,
            (Some(_), None) => true,
            (Some(_), Some(_)) if self.by_message => is_late && self.is_silent(),
            (Some(newest), Some(last)) => {
                let elapsed = newest.since(last);
                elapsed > NEARLY * self.period || elapsed < 0.0 || is_late
            }
        }
    }

    /// A tick was made at `started` with the measurement `newest`; says how long after the last one [s], and whether the
    /// measurement is a new one.
    pub fn ticked(&mut self, started: Instant, newest: Option<Stamp>) -> (Option<f64>, bool) {
        let last = self.last_tick.replace(started);
        let is_new = std::mem::replace(&mut self.last_stamp, newest) != newest;
        (last.map(|last| started.duration_since(last).as_secs_f64()), is_new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Option<Stamp> {
        Some(Stamp::from_seconds(seconds))
    }

    fn wait(seconds: f64) {
        std::thread::sleep(Duration::from_secs_f64(seconds));
    }

    #[test]
    fn by_the_clock_a_tick_is_due_a_period_after_the_last_or_when_nothing_comes() {
        let mut pace = Pace::new(false, 100.0, 0.1);
        assert!(pace.is_due(None), "the first");
        pace.arrives();
        assert_eq!(pace.ticked(Instant::now(), at(1.0)), (None, true));
        assert!(!pace.is_due(at(1.005)) && pace.is_due(at(1.008)) && pace.is_due(at(0.5)));
        assert!(!pace.is_due(at(1.0)));
        wait(0.021);
        assert!(pace.is_due(at(1.0)));
        let (elapsed, is_new) = pace.ticked(Instant::now(), at(1.0));
        assert!(elapsed.unwrap() > 0.02 && !is_new);
        assert!(pace.now(at(1.0), || Stamp::from_seconds(0.5)) > Stamp::from_seconds(1.02));
        assert_eq!(pace.now(at(1.0), || Stamp::from_seconds(9.0)), Stamp::from_seconds(9.0));
    }

    #[test]
    fn by_messages_the_clock_has_no_say_until_they_stay_away() {
        let mut pace = Pace::new(true, 100.0, 0.05);
        pace.arrives();
        pace.ticked(Instant::now(), at(1.0));
        wait(0.025);
        assert!(!pace.is_due(at(1.0)) && !pace.is_due(at(2.0)));
        assert_eq!(pace.now(at(1.0), || Stamp::from_seconds(9.0)), Stamp::from_seconds(1.0));
        wait(0.03);
        assert!(pace.is_due(at(1.0)));
        assert!(pace.now(at(1.0), Stamp::default) > Stamp::from_seconds(1.05));
    }
}
