//! What was kept of a recording and what was not, and why.

use super::rosbag::losses::Losses;
use crate::predictor::resampler::GAP_STEPS;
use crate::state::State;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// A step back in time by more than this is a clock set anew (a simulation restarted): a new motion. Less is a
/// message out of order.
const CLOCK_SET_BACK: Duration = Duration::from_secs(1);
/// The clocks of the header and of the logging are said to differ if they do by more than this, s.
const CLOCKS_DIFFER: f64 = 1.0;

/// Measurements come in bursts if their mean interval, without the longest ones, is so many times the median.
const BURST: f64 = 5.0;
/// Of so many intervals one may be a pause.
const ONE_PAUSE_IN: usize = 20;

/// So many gaps of at most so many intervals are better bridged by a larger sampling time than left to cut up the motion.
const MANY_GAPS: usize = 10;
const SHORT_GAP: f64 = 20.0;

/// Shown as one line of counts, and a line for everything that is out of the ordinary.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The topic that was read and its type; empty for a table.
    pub topic: String,
    pub type_name: String,
    /// Messages or rows of the selected topic or table.
    pub read: usize,
    pub kept: usize,
    /// Dropped: a value was NaN, infinite or empty.
    pub not_finite: usize,
    /// Dropped: not all joints were in it, as when several nodes publish on one topic.
    pub incomplete: usize,
    /// Dropped: could not be decoded.
    pub undecodable: usize,
    /// Dropped: the stamp was zero, those of the others were not.
    pub zero_stamps: usize,
    /// Dropped: the stamp of the one before.
    pub duplicates: usize,
    /// Those of them that have other positions than the one before.
    pub stalled_stamps: usize,
    /// Dropped: earlier than the one before.
    pub out_of_order: usize,
    /// Kept: more than a second earlier than the one before, taken as the start of another motion.
    pub clock_set_back: usize,
    /// Kept: the joints were in another order than in the first; they were matched by name.
    pub reordered: usize,
    /// Pauses of more than five times the median interval; they split episodes.
    pub gaps: usize,
    /// s
    pub longest_gap: f64,
    /// Velocities that no motion of the positions has; they were made by differences of the positions.
    pub impossible_velocities: usize,
    /// The first of them, in words.
    pub first_impossible: String,
    /// Velocities were missing; they were made by differences of the positions.
    pub differentiated: bool,
    /// Some or all positions were missing; they were made by integration of the velocities.
    pub integrated: bool,
    /// Most header stamps were zero; the time of logging was used.
    pub log_time: bool,
    /// Median of the time of logging less the header's, s; 0 where one of them is missing.
    pub clock_offset: f64,
    /// From the first to the last, without steps back, s.
    pub duration: f64,
    /// Median time between measurements, s; the mean of those that come in bursts.
    pub interval: f64,
    /// The median of those that come in bursts, s; 0 of others.
    pub burst: f64,
    /// What was made of the recording beyond what is in it, in words.
    pub notes: Vec<String>,
    /// What of the file could not be read.
    pub losses: Losses,
}

impl Summary {
    /// Whether `state` is kept after `last`; counts it if not.
    pub(super) fn admits(&mut self, state: &State, last: Option<&State>, coordinates: usize) -> bool {
        let finite = state.position.iter().chain(&state.velocity).all(|value| value.is_finite());
        let counter = if state.position.len() != coordinates || state.velocity.len() != coordinates {
            &mut self.incomplete
        } else if !finite {
            &mut self.not_finite
        } else {
            match last {
                Some(last) if state.stamp == last.stamp => {
                    self.stalled_stamps += usize::from(state.position != last.position);
                    &mut self.duplicates
                }
                Some(last) if state.stamp < last.stamp && state.stamp + CLOCK_SET_BACK >= last.stamp => {
                    &mut self.out_of_order
                }
                Some(last) if state.stamp < last.stamp => {
                    self.clock_set_back += 1;
                    return true;
                }
                _ => return true,
            }
        };
        *counter += 1;
        false
    }

    /// Counts a velocity that was replaced; `detail` says which.
    pub(super) fn count_impossible(&mut self, detail: impl Fn() -> String) {
        if self.impossible_velocities == 0 {
            self.first_impossible = detail();
        }
        self.impossible_velocities += 1;
    }

    /// Fills in what the stamps of `states` say.
    pub(super) fn time(&mut self, states: &[State]) {
        let intervals = states.windows(2).map(|pair| pair[1].stamp.since(pair[0].stamp));
        let mut intervals: Vec<f64> = intervals.filter(|time| *time > 0.0).collect();
        self.duration = intervals.iter().sum();
        intervals.sort_by(f64::total_cmp);
        self.interval = intervals.get(intervals.len() / 2).copied().unwrap_or(0.0);
        let pauses = MANY_GAPS.max(intervals.len() / ONE_PAUSE_IN);
        // pauses are left out of the mean
        let usual = intervals.get(intervals.len().saturating_sub(pauses)).copied().unwrap_or(0.0);
        let usual = &intervals[..intervals.partition_point(|time| *time <= f64::from(GAP_STEPS) * usual)];
        let mean = usual.iter().sum::<f64>() / usual.len().max(1) as f64;
        if mean > BURST * self.interval {
            (self.burst, self.interval) = (self.interval, mean);
        }
        let is_gap = |time: &&f64| **time > f64::from(GAP_STEPS) * self.interval;
        self.gaps = intervals.iter().rev().take_while(is_gap).count();
        self.longest_gap = if self.gaps > 0 { intervals.last().copied().unwrap_or(0.0) } else { 0.0 };
    }

    /// The sampling time [s] at which there are no gaps, where they are many and short, as of dropouts.
    fn bridging_dt(&self) -> Option<f64> {
        let is_cut_up = self.gaps >= MANY_GAPS && self.longest_gap <= SHORT_GAP * self.interval;
        let rounded = format!("{:.1e}", 1.05 * self.longest_gap / f64::from(GAP_STEPS)); // not down
        rounded.parse().ok().filter(|_| is_cut_up)
    }

    /// What the stamps have against being times of measurements.
    fn stamps_told(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let is_table = self.topic.is_empty();
        if 2 * self.stalled_stamps > self.read {
            let advice = match is_table {
                true if self.duration > 0.0 => {
                    format!("--rate {:.0}, in place of the time, takes all", self.read as f64 / self.duration)
                }
                true => "--rate, in place of the time, takes all".into(),
                false => "the nodes leave them out too".into(),
            };
            lines.push(format!(
                "warning: {} have the stamp of the one before and other positions: it is too coarse; {advice}",
                self.stalled_stamps
            ));
        }
        if self.burst > 0.0 {
            let advice = match is_table {
                true => {
                    format!("; --rate {:.0}, in place of the time, spaces them evenly", 1.0 / self.interval)
                }
                false => String::new(),
            };
            lines.push(format!(
                "warning: they come in bursts, half of them within {:.2e} s of the one before, though on average every {:.4} s: the \
                 stamps are not of the measurement{advice}",
                self.burst, self.interval
            ));
        }
        lines
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.gaps > 0 {
            let bridge =
                self.bridging_dt().map_or(String::new(), |dt| format!(", and --dt {dt} bridges them"));
            lines.push(format!(
                "{} gaps, the longest of {:.3} s; they split episodes{bridge}",
                self.gaps, self.longest_gap
            ));
        }
        lines.extend(self.stamps_told());
        if self.log_time {
            lines.push("most header stamps are zero; the time of logging was used".into());
        } else if self.clock_offset.abs() > CLOCKS_DIFFER {
            let (offset, which) =
                (self.clock_offset.abs(), if self.clock_offset > 0.0 { "behind" } else { "ahead of" });
            lines
                .push(format!("the clock of the header stamps is {offset:.3} s {which} that of the logging"));
        }
        if self.reordered > 0 {
            lines.push(format!("{} messages with another order of the joints", self.reordered));
        }
        if self.impossible_velocities > 0 {
            lines.push(format!(
                "{} velocities are beyond any motion of the positions, the first: {}; made by differences of the positions",
                self.impossible_velocities, self.first_impossible
            ));
        }
        lines.extend(self.notes.iter().cloned());
        lines.extend(self.losses.lines());
        lines
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "kept {} of {}", self.kept, self.read)?;
        if !self.topic.is_empty() {
            write!(formatter, " of {} ({})", self.topic, self.type_name)?;
        }
        let counts = [
            (self.not_finite, "not finite"),
            (self.incomplete, "incomplete"),
            (self.undecodable, "not decodable"),
            (self.zero_stamps, "with a zero stamp"),
            (self.duplicates, "duplicates"),
            (self.out_of_order, "out of order"),
            (self.clock_set_back, "times the clock set back"),
        ];
        for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
            write!(formatter, ", {count} {what}")?;
        }
        if self.duration > 0.0 {
            write!(formatter, "; {:.1} s every {:.4} s", self.duration, self.interval)?;
        }
        self.lines().iter().try_for_each(|line| write!(formatter, "\n  - {line}"))
    }
}
