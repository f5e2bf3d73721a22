//! The recent past, from which batches are drawn.

use crate::state::Stamp;
use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use std::collections::VecDeque;

/// One labelled example: features of a motion, and the residual effort that belongs to it, in units of the
/// network's output.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    pub stamp: Stamp,
    pub features: Vec<f32>,
    pub label: Vec<f32>,
}

impl Example {
    pub fn is_finite(&self) -> bool {
        self.features.iter().chain(&self.label).all(|value| value.is_finite())
    }
}

/// A ring of examples. Draws prefer recent ones, so that a changed robot is learned anew at once while
/// the longer past keeps the network from forgetting.
#[derive(Clone, Debug)]
pub struct Replay {
    examples: VecDeque<Example>,
    capacity: usize,
    /// Mean age of a drawn example, in examples.
    mean_age: f64,
}

impl Replay {
    pub fn new(capacity: usize, mean_age: f64) -> Self {
        Self { examples: VecDeque::with_capacity(capacity), capacity, mean_age }
    }

    pub fn len(&self) -> usize {
        self.examples.len()
    }

    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// Adds an example; the oldest leaves when the ring is full.
    pub fn push(&mut self, example: Example) {
        if self.examples.len() == self.capacity {
            self.examples.pop_front();
        }
        self.examples.push_back(example);
    }

    /// Draws one example, exponentially distributed in age; `None` when there is none.
    pub fn draw(&self, rng: &mut Pcg64Mcg) -> Option<&Example> {
        let newest = self.examples.len().checked_sub(1)?;
        let uniform: f64 = rng.random();
        let age = -self.mean_age * (1.0 - uniform).ln();
        // Ages beyond the ring are wrapped onto it, or the oldest example would be drawn far too often.
        let age = age as usize % self.examples.len();
        self.examples.get(newest - age)
    }

    /// The newest `count` examples, oldest first.
    pub fn newest(&self, count: usize) -> impl Iterator<Item = &Example> {
        self.examples.range(self.examples.len().saturating_sub(count)..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn example(index: i64) -> Example {
        Example { stamp: Stamp(index), features: vec![], label: vec![] }
    }

    #[test]
    fn the_ring_forgets_the_oldest() {
        let mut replay = Replay::new(3, 1.0);
        (0..5).for_each(|index| replay.push(example(index)));
        let stamps: Vec<i64> = replay.newest(10).map(|example| example.stamp.0).collect();
        assert_eq!(stamps, [2, 3, 4]);
    }

    #[test]
    fn draws_have_the_asked_mean_age() {
        let mut replay = Replay::new(10_000, 200.0);
        (0..10_000).for_each(|index| replay.push(example(index)));
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let ages = (0..20_000).map(|_| 9_999 - replay.draw(&mut rng).expect("not empty").stamp.0);
        let mean = ages.sum::<i64>() as f64 / 20_000.0;
        assert!((mean - 200.0).abs() < 10.0, "mean age {mean}");
    }

    #[test]
    fn an_empty_ring_has_nothing_to_draw() {
        assert!(Replay::new(3, 1.0).draw(&mut Pcg64Mcg::seed_from_u64(1)).is_none());
    }
}
