//! Which rows are trained on and which are tested on: always contiguous time, never shuffled samples.

use super::motion::Motions;
use crate::error::{Error, Result};
use serde::Serialize;
use std::fmt;

/// A row's time may be a rounding error before that of the block it begins.
const TIME_TOLERANCE: f64 = 1e-6;

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Blocks of so many seconds, of which every so-and-so-many-th is held out: the robot has been nearby.
    Blocks { seconds: f64, every: usize },
    /// The last share of each recording is held out.
    Last { share: f64 },
    /// The recording of this index is held out, all others are trained on.
    Recording { index: usize },
}

impl fmt::Display for Split {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocks { seconds, every } => {
                write!(formatter, "blocks of {seconds} s, one of {every} held out")
            }
            Self::Last { share } => write!(formatter, "last {:.0} % held out", 100.0 * share),
            Self::Recording { index } => write!(formatter, "recording {} held out", index + 1),
        }
    }
}

/// Rows by number.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    pub training: Vec<usize>,
    pub testing: Vec<usize>,
}

impl Split {
    /// A row near a gap or an end, whose slopes are not whole, is in neither part; nor is one beside the test part that
    /// shares samples with it.
    pub fn parts(&self, motions: &Motions) -> Result<Parts> {
        let ends = ends(motions);
        let is_held_out = |row: usize| {
            let place = motions.places[row];
            match self {
                Self::Blocks { seconds, every } => {
                    let block = ((place.time + TIME_TOLERANCE) / seconds).floor() as usize;
                    block % every == every - 1
                }
                Self::Last { share } => place.time >= (1.0 - share) * ends[place.recording],
                Self::Recording { index } => place.recording == *index,
            }
        };
        let held_out: Vec<bool> = (0..motions.places.len()).map(is_held_out).collect();
        let is_near = |row: usize| {
            let near =
                row.saturating_sub(2 * motions.reach)..=(row + 2 * motions.reach).min(held_out.len() - 1);
            near.into_iter()
                .any(|other| held_out[other] && motions.places[other].segment == motions.places[row].segment)
        };
        let whole = || (0..held_out.len()).filter(|row| motions.places[*row].is_whole);
        let parts = Parts {
            training: whole().filter(|row| !is_near(*row)).collect(),
            testing: whole().filter(|row| held_out[*row]).collect(),
        };
        let needed = 10 * motions.joints.len();
        if parts.training.len() < needed || parts.testing.len() < needed {
            let found = format!("{} to train on, {} to test on", parts.training.len(), parts.testing.len());
            return Err(Error::mismatch(format!("samples ({self})"), found, format!("{needed} of each")));
        }
        Ok(parts)
    }
}

/// Time at which each recording ends, s.
fn ends(motions: &Motions) -> Vec<f64> {
    let mut ends = Vec::new();
    for place in &motions.places {
        ends.resize(ends.len().max(place.recording + 1), 0.0f64);
        ends[place.recording] = ends[place.recording].max(place.time);
    }
    ends
}

/// Cuts `rows` of each segment into `count` runs of equal length; gives the run of each row, numbered per segment.
pub fn runs(motions: &Motions, rows: &[usize], count: usize) -> Vec<usize> {
    let mut of = Vec::with_capacity(rows.len());
    for segment in rows.chunk_by(|a, b| motions.places[*a].segment == motions.places[*b].segment) {
        of.extend((0..segment.len()).map(|index| index * count / segment.len()));
    }
    of
}

/// Cuts the time of `rows` into blocks of `seconds` and deals them to `count` in turn; gives the one of each row.
pub fn dealt(motions: &Motions, rows: &[usize], seconds: f64, count: usize) -> Vec<usize> {
    let block = |row: usize| {
        let place = motions.places[row];
        (place.segment, ((place.time + TIME_TOLERANCE) / seconds).floor() as usize)
    };
    let mut of = Vec::with_capacity(rows.len());
    for (index, block) in rows.chunk_by(|a, b| block(*a) == block(*b)).enumerate() {
        of.resize(of.len() + block.len(), index % count);
    }
    of
}
