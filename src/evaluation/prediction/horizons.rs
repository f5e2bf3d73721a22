//! Which times ahead recordings are long enough for, to be trained on and to be tested at.

use super::{EvaluationConfig, Test, split};
use crate::dataset::{Episode, Recording, gaps_told, larger_dt, larger_dt_told};
use crate::error::{Error, Result};
use crate::predictor::ridge::{MIN_INSTANTS, WINDOW};
use crate::state::Space;
use crate::training::longest_horizon;

/// Times ahead that are reported where none are asked for, s.
pub fn usual_horizons(space: Space) -> &'static [f64] {
    match space {
        Space::Joints => &[0.05, 0.1, 0.25, 0.5],
        Space::PlanarBase => &[0.2, 1.0, 2.0, 5.0],
    }
}

/// The times ahead that are reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Horizons {
    /// Each once, in the order in which they were asked for.
    pub steps: Vec<usize>,
    /// Which of the usual ones are not among them and why, in words.
    pub left_out: Option<String>,
}

/// What recordings at equal steps are long enough for.
struct Room<'a> {
    recordings: &'a [Recording],
    config: &'a EvaluationConfig,
    /// s
    dt: f64,
    training: &'a [Episode],
    testing: &'a [Test],
}

/// Those that are asked for, all of them or none; else those of the usual ones that the recordings are long enough for.
pub fn choose(
    recordings: &[Recording],
    config: &EvaluationConfig,
    dt: f64,
    training: &[Episode],
    testing: &[Test],
) -> Result<Horizons> {
    let space = recordings.first().map_or(Space::Joints, |recording| recording.space);
    let steps = horizon_steps(config, space, dt)?;
    let room = Room { recordings, config, dt, training, testing };
    let most = longest(config, training, testing);
    let (usable, left_out): (Vec<usize>, Vec<usize>) = steps.iter().partition(|steps| **steps <= most);
    match (left_out.is_empty(), config.horizons.is_empty() && !usable.is_empty()) {
        (true, _) => Ok(Horizons { steps: usable, left_out: None }),
        (false, true) => Ok(Horizons { left_out: Some(room.explain_left_out(&left_out)), steps: usable }),
        (false, false) => Err(room.refuse(&left_out, most)),
    }
}

/// Each time ahead in steps of dt, at least one; those that are the same after rounding once.
pub fn horizon_steps(config: &EvaluationConfig, space: Space, dt: f64) -> Result<Vec<usize>> {
    let horizons = if config.horizons.is_empty() { usual_horizons(space) } else { &config.horizons };
    match horizons.iter().find(|time| !(**time > 0.0 && time.is_finite())) {
        Some(time) => return Err(Error::mismatch("time ahead [s]", time, "above zero")),
        None if !(dt > 0.0 && dt.is_finite()) => return Err(Error::mismatch("dt [s]", dt, "above zero")),
        None => {}
    }
    let mut steps = Vec::with_capacity(horizons.len());
    for count in horizons.iter().map(|time| in_steps(*time, dt)) {
        if !steps.contains(&count) {
            steps.push(count);
        }
    }
    Ok(steps)
}

fn in_steps(time: f64, dt: f64) -> usize {
    let tolerance = 0.01; // 0.1 s at a median interval of 33.3334 ms is three steps, not four
    ((time / dt - tolerance).ceil() as usize).max(1)
}

/// The most steps ahead that can be trained, that a ridge regression can be fitted to and that can be tested.
fn longest(config: &EvaluationConfig, training: &[Episode], testing: &[Test]) -> usize {
    let tested = testing.iter().map(|test| test.states.len().saturating_sub(test.from + 1)).max();
    let most = longest_horizon(config.training.validation, training).min(tested.unwrap_or(0));
    let instants = |steps: &usize| -> usize {
        training.iter().map(|episode| episode.states.len().saturating_sub(WINDOW - 1 + steps)).sum()
    };
    (1..=most).rev().find(|steps| instants(steps) >= MIN_INSTANTS).unwrap_or(0)
}

impl Room<'_> {
    fn seconds(&self, steps: &[usize]) -> String {
        let times: Vec<String> =
            steps.iter().map(|steps| format!("{} s", rounded(*steps as f64 * self.dt))).collect();
        times.join(", ")
    }

    fn explain_left_out(&self, steps: &[usize]) -> String {
        let larger = self.larger_dt(steps).map_or(String::new(), |dt| format!(", or with --dt {dt}"));
        format!(
            "left out: {} ahead, for {}; choose with --horizons{larger}",
            self.seconds(steps),
            self.lengths()
        )
    }

    fn refuse(&self, steps: &[usize], most: usize) -> Error {
        let expected = match most {
            0 => {
                let shortest = steps.iter().copied().min().unwrap_or(1);
                format!("a recording with a stretch of {:.1} s without a gap at least", self.needed(shortest))
            }
            most => {
                format!("--horizons of up to {:.2} s", (most as f64 * self.dt * 100.0 + 1e-6).floor() / 100.0)
            }
        };
        let larger = larger_dt_told(self.larger_dt(steps));
        let expected = format!("{expected}, for {}{larger}", self.lengths());
        Error::mismatch("time ahead", self.seconds(steps), expected)
    }

    /// How long one stretch has to be for a time so many steps ahead, if there is no other, s.
    fn needed(&self, steps: usize) -> f64 {
        let (share, validation) = (self.config.training_share, self.config.training.validation);
        let trained = (steps + 1) as f64 / (validation * share);
        let fitted = (steps + WINDOW - 1 + MIN_INSTANTS) as f64 / share;
        let tested = (steps + WINDOW) as f64 / (1.0 - share);
        // to the next tenth of a second
        ((trained.max(fitted).max(tested) + 1.0) * self.dt * 10.0).ceil() / 10.0
    }

    /// What there is between the gaps.
    fn lengths(&self) -> String {
        let longest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0) as f64 * self.dt;
        let trained = longest(&mut self.training.iter().map(|episode| episode.states.len()));
        let tested = longest(&mut self.testing.iter().map(Test::length));
        let gaps = gaps_told(self.recordings);
        format!(
            "the longest stretch without a gap is {trained:.1} s of what is trained on and {tested:.1} s of what is \
             tested on{gaps}"
        )
    }

    /// A sampling time whose gaps are so much longer that the recordings are long enough, s.
    fn larger_dt(&self, steps: &[usize]) -> Option<f64> {
        let wanted = steps.iter().copied().max().unwrap_or(1) as f64 * self.dt;
        larger_dt(self.recordings, self.dt, |dt, episodes| {
            let parts = split(episodes, self.config.training_share).ok();
            let most = parts.map_or(0, |(training, testing)| longest(self.config, &training, &testing));
            in_steps(wanted, dt) <= most
        })
    }
}

/// With two digits that count.
fn rounded(time: f64) -> f64 {
    let text = format!("{time:.1e}");
    text.parse().unwrap_or(time)
}
