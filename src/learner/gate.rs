//! Whether weights are worth sending: what was never trained on decides.
//!
//! Time is cut into cycles; the last part of each is held out, with a margin so that no window of an example reaches into
//! the other part. Candidate, weights in use and no network at all are scored on the held-out examples, the newer ones
//! weighing more.

use crate::error::Result;
use crate::learner::config::Rule;
use crate::learner::network::Network;
use crate::learner::replay::Example;
use crate::nn::checkpoint::Tensors;
use crate::state::Stamp;
use candle_core::{Device, Tensor};
use std::collections::VecDeque;

/// Length of a cycle [s], and the share of it that is held out. Windows of few samples are long: cycles of less than so many
/// samples are doubled, or little more than the margin would be held out. They do not follow the time between samples any closer,
/// because then all would be cut anew whenever that is found to be another.
const CYCLE: f64 = 1.0;
const HELD_OUT: f64 = 0.25;
const SAMPLES: f64 = 70.0;
/// Held-out examples that are kept, and the time in which their weight falls to a third [s].
const KEPT: usize = 600;
const MEMORY: f64 = 2.0;
/// Fewer decide nothing.
const ENOUGH: usize = 20;
/// A network must leave at most this share of the mean square that no network leaves, and that the present one does.
const BETTER_THAN_NONE: f64 = 0.9;
const BETTER_THAN_LIVE: f64 = 0.97;

/// What an example is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Training,
    HeldOut,
    /// Its window reaches into both.
    Neither,
}

/// The part to which an example belongs of which the window ends at `stamp` and is `span` [s] long, of samples every `dt` [s].
pub fn part(stamp: Stamp, span: f64, dt: f64) -> Part {
    let cycle = CYCLE * (SAMPLES * dt / CYCLE).clamp(1.0, 1e3).log2().ceil().exp2();
    let end = stamp.seconds().rem_euclid(cycle);
    let (start, held_out) = (end - span, (1.0 - HELD_OUT) * cycle);
    match (start >= -1e-9, end <= held_out + 1e-9, start >= held_out - 1e-9) {
        (true, true, _) => Part::Training,
        (_, _, true) => Part::HeldOut,
        _ => Part::Neither,
    }
}

/// Mean squares of the error on held-out examples, in units of the output's scale.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    pub candidate: f64,
    pub live: f64,
    /// Of no network: the mean square of the labels.
    pub none: f64,
}

impl Scores {
    pub fn allow(&self) -> bool {
        // A comparison with NaN is false.
        self.candidate <= BETTER_THAN_NONE * self.none && self.candidate <= BETTER_THAN_LIVE * self.live
    }
}

#[derive(Clone, Debug)]
pub struct Gate {
    rule: Rule,
    held_out: VecDeque<Example>,
}

impl Gate {
    pub fn new(rule: Rule) -> Self {
        Self { rule, held_out: VecDeque::with_capacity(KEPT) }
    }

    pub fn push(&mut self, example: Example) {
        if self.held_out.len() == KEPT {
            self.held_out.pop_front();
        }
        self.held_out.push_back(example);
    }

    /// Forgets what was held out so far.
    pub fn clear(&mut self) {
        self.held_out.clear();
    }

    /// Scores weights; `None` while too little is held out.
    pub fn score(&self, network: &Network, candidate: &Tensors, live: &Tensors) -> Result<Option<Scores>> {
        let Some(newest) = self.held_out.back().filter(|_| self.held_out.len() >= ENOUGH) else {
            return Ok(None);
        };
        let weights: Vec<f32> = self
            .held_out
            .iter()
            .map(|example| (-newest.stamp.since(example.stamp).max(0.0) / MEMORY).exp() as f32)
            .collect();
        let total: f32 = weights.iter().sum();
        let weights = Tensor::new(weights, &Device::Cpu)?.unsqueeze(1)?;
        let (features, labels) = target(self.rule, self.held_out.iter())?;
        let score = |errors: Tensor| -> Result<f64> {
            let joints = errors.dim(1)? as f64;
            let sum = errors.sqr()?.broadcast_mul(&weights)?.sum_all()?.to_scalar::<f32>()?;
            Ok(f64::from(sum / total) / joints)
        };
        Ok(Some(Scores {
            candidate: score((network.output_with(candidate, &features)? - &labels)?)?,
            live: score((network.output_with(live, &features)? - &labels)?)?,
            none: score(labels)?,
        }))
    }
}

/// What a network trained by `rule` should give: features `[example, feature]` and outputs `[example, joint]`. In
/// hindsight the applied effort is right for the achieved motion; by the tracking error it is for the reference.
fn target<'a>(rule: Rule, examples: impl Iterator<Item = &'a Example>) -> Result<(Tensor, Tensor)> {
    let rows = examples.map(|example| match rule {
        Rule::InverseModel | Rule::Composite => (&example.achieved, &example.applied),
        Rule::TrackingError | Rule::Distal => (&example.reference, &example.applied),
    });
    stack(rows)
}

/// `[row, feature]` and `[row, joint]`.
pub fn stack<'a, T: AsRef<[f32]> + 'a, U: AsRef<[f32]> + 'a>(
    rows: impl Iterator<Item = (T, U)>,
) -> Result<(Tensor, Tensor)> {
    let (mut features, mut labels, mut count) = (Vec::new(), Vec::new(), 0usize);
    for (inputs, outputs) in rows {
        features.extend_from_slice(inputs.as_ref());
        labels.extend_from_slice(outputs.as_ref());
        count += 1;
    }
    let (inputs, outputs) = (features.len() / count.max(1), labels.len() / count.max(1));
    Ok((
        Tensor::from_vec(features, (count, inputs), &Device::Cpu)?,
        Tensor::from_vec(labels, (count, outputs), &Device::Cpu)?,
    ))
}

/// Notices that the robot is no longer what was learned: the error of the weights in use on the newest examples is
/// suddenly far above what was usual.
#[derive(Clone, Debug, Default)]
pub struct ChangeDetector {
    /// Usual mean square of the error, and from how many scores it was averaged.
    usual: f64,
    seen: u32,
    above: u32,
}

/// A mean square so many times the usual is no chance, when it comes so many times in a row.
const SUDDEN: f64 = 10.0;
const IN_A_ROW: u32 = 3;
/// Scores from which the usual is known, and that it is averaged over.
const KNOWN: u32 = 15;
const AVERAGED: u32 = 25;

impl ChangeDetector {
    /// Takes the mean square of the error on the newest examples; true when the robot has changed, once.
    pub fn observe(&mut self, loss: f64) -> bool {
        if self.seen >= KNOWN && loss > SUDDEN * self.usual {
            self.above += 1;
            if self.above >= IN_A_ROW {
                *self = Self::default();
                return true;
            }
            return false;
        }
        self.above = 0;
        self.seen = (self.seen + 1).min(AVERAGED);
        self.usual += (loss - self.usual) / f64::from(self.seen);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_window_reaches_into_both_parts() {
        // at 500 Hz; a base's at 50 Hz, of which the windows are longer
        for (span, dt, length) in [(0.05, 0.002, 1.0), (0.16, 0.0201, 2.0)] {
            let mut counts = [0; 3];
            for millisecond in 0..6000 {
                let end = f64::from(millisecond) * 1e-3;
                let overlaps = |from: f64, to: f64| {
                    (-1..7).any(|cycle| {
                        let start = f64::from(cycle) * length;
                        end - span < start + to - 1e-6 && end > start + from + 1e-6
                    })
                };
                let border = 0.75 * length;
                let (training, held_out) = (overlaps(0.0, border), overlaps(border, length));
                let part = part(Stamp::from_seconds(end), span, dt);
                match part {
                    Part::Training => assert!(!held_out, "{end}"),
                    Part::HeldOut => assert!(!training, "{end}"),
                    Part::Neither => {}
                }
                counts[part as usize] += 1;
            }
            assert!(counts[0] > 4000 && counts[1] > 1000 && counts[2] > 200, "{counts:?}");
        }
    }

    #[test]
    fn only_what_is_better_than_both_is_allowed() {
        let scores = |candidate, live, none| Scores { candidate, live, none };
        assert!(scores(0.1, 0.2, 0.3).allow());
        assert!(!scores(0.199, 0.2, 0.3).allow(), "no better than what is in use");
        assert!(!scores(0.1, 0.2, 0.1).allow(), "no better than nothing");
        assert!(!scores(f64::NAN, 0.2, 0.3).allow());
    }

    #[test]
    fn a_change_is_sudden_and_lasts() {
        let mut detector = ChangeDetector::default();
        let observed = |detector: &mut ChangeDetector, losses: &[f64]| -> Vec<bool> {
            losses.iter().map(|loss| detector.observe(*loss)).collect()
        };
        assert!(
            !observed(&mut detector, &[1.0, 0.1].repeat(10)).contains(&true),
            "learning, and its ups and downs"
        );
        assert!(
            !observed(&mut detector, &[10.0, 10.0, 0.5, 10.0, 0.5]).contains(&true),
            "single bad moments"
        );
        assert_eq!(observed(&mut detector, &[10.0; 4]), [false, false, true, false], "once");
    }
}
