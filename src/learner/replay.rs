//! The past that batches are drawn from: a ring of the recent, and a reservoir that stands for all before it.

use crate::state::Stamp;
use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use std::collections::VecDeque;

/// What one moment tells. Features are those of [`crate::controller::features`]; efforts are in units of the network's
/// output. All are means over the same window, so that one fits the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    pub stamp: Stamp,
    /// Features of the motion that was achieved.
    pub achieved: Vec<f32>,
    /// Features of the reference.
    pub reference: Vec<f32>,
    /// Effort that was applied beyond the feedforward: what the achieved motion took.
    pub applied: Vec<f32>,
    /// The residual that was part of it.
    pub residual: Vec<f32>,
    /// What the feedback gave when the command had acted.
    pub feedback: Vec<f32>,
}

impl Example {
    /// A number may be finite as a measurement and yet too large for the network's f32.
    pub fn is_finite(&self) -> bool {
        let vectors = [&self.achieved, &self.reference, &self.applied, &self.residual, &self.feedback];
        vectors.into_iter().flatten().all(|value| value.is_finite())
    }
}

/// Items that leave the ring of recent ones enter a reservoir, a uniform sample of all that ever left it (algorithm R,
/// Vitter 1985). So a robot that rests, or repeats itself, forgets no more of the rest than its share.
#[derive(Clone, Debug)]
pub struct Replay<T> {
    recent: VecDeque<T>,
    recent_capacity: usize,
    /// Mean age of a recent item that is drawn, in items.
    mean_age: f64,
    reservoir: Vec<T>,
    reservoir_capacity: usize,
    /// How many items the reservoir stands for.
    offered: u64,
}

impl<T> Replay<T> {
    pub fn new(recent_capacity: usize, mean_age: f64, reservoir_capacity: usize) -> Self {
        Self {
            recent: VecDeque::with_capacity(recent_capacity),
            recent_capacity: recent_capacity.max(1),
            mean_age,
            reservoir: Vec::with_capacity(reservoir_capacity),
            reservoir_capacity,
            offered: 0,
        }
    }

    /// From now on for so many items.
    pub fn resize(&mut self, recent_capacity: usize, mean_age: f64, reservoir_capacity: usize) {
        self.recent_capacity = recent_capacity.max(1);
        self.mean_age = mean_age;
        self.reservoir_capacity = reservoir_capacity;
    }

    pub fn len(&self) -> usize {
        self.recent.len() + self.reservoir.len()
    }

    pub fn push(&mut self, item: T, rng: &mut Pcg64Mcg) {
        while self.recent.len() >= self.recent_capacity {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.keep(oldest, rng);
        }
        self.recent.push_back(item);
    }

    fn keep(&mut self, item: T, rng: &mut Pcg64Mcg) {
        self.offered += 1;
        if self.reservoir.len() < self.reservoir_capacity {
            self.reservoir.push(item);
        } else {
            let place = rng.random_range(0..self.offered) as usize;
            if let Some(kept) = self.reservoir.get_mut(place) {
                *kept = item;
            }
        }
    }

    /// Forgets the reservoir, and all but the newest `count` of the recent.
    pub fn forget_all_but(&mut self, count: usize) {
        self.reservoir.clear();
        self.offered = 0;
        let surplus = self.recent.len().saturating_sub(count);
        self.recent.drain(..surplus);
    }

    /// Draws one item; `None` when there is none.
    ///
    /// A share `representative` of the draws is uniform over the reservoir, as far as it is filled; the others are
    /// exponentially distributed in age.
    pub fn draw(&self, representative: f64, rng: &mut Pcg64Mcg) -> Option<&T> {
        let filled = self.reservoir.len() as f64 / self.reservoir_capacity.max(1) as f64;
        if rng.random::<f64>() < representative * filled {
            return self.reservoir.get(rng.random_range(0..self.reservoir.len()));
        }
        let newest = self.recent.len().checked_sub(1)?;
        let age = -self.mean_age * (1.0 - rng.random::<f64>()).ln();
        // Ages beyond the ring are wrapped onto it, or the oldest item would be drawn far too often.
        self.recent.get(newest - age as usize % self.recent.len())
    }

    /// The newest `count` items, oldest first.
    pub fn newest(&self, count: usize) -> impl Iterator<Item = &T> {
        self.recent.range(self.recent.len().saturating_sub(count)..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn filled(capacity: usize, mean_age: f64, reservoir: usize, items: i64) -> (Replay<i64>, Pcg64Mcg) {
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let mut replay = Replay::new(capacity, mean_age, reservoir);
        (0..items).for_each(|item| replay.push(item, &mut rng));
        (replay, rng)
    }

    #[test]
    fn the_ring_hands_the_oldest_to_the_reservoir() {
        let (replay, _) = filled(3, 1.0, 10, 5);
        assert_eq!(replay.newest(10).copied().collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!((replay.reservoir.as_slice(), replay.len()), (&[0, 1][..], 5));
    }

    #[test]
    fn draws_have_the_asked_mean_age() {
        let (replay, mut rng) = filled(10_000, 200.0, 100, 10_000);
        let ages = (0..20_000).map(|_| 9_999 - replay.draw(0.5, &mut rng).unwrap());
        let mean = ages.sum::<i64>() as f64 / 20_000.0;
        assert!((mean - 200.0).abs() < 10.0, "mean age {mean}");
    }

    #[test]
    fn the_reservoir_stands_for_all_that_left_the_ring() {
        let (replay, mut rng) = filled(100, 10.0, 1000, 50_100);
        let kept = &replay.reservoir;
        let mean = kept.iter().sum::<i64>() as f64 / kept.len() as f64;
        // The mean of 1000 uniform draws is within 3 standard errors of 25000.
        assert!(kept.len() == 1000 && (mean - 25_000.0).abs() < 3.0 * 50_000.0 / (12.0f64 * 1000.0).sqrt());
        let old = (0..10_000).filter(|_| *replay.draw(0.3, &mut rng).unwrap() < 50_000).count();
        assert!((2_800..3_200).contains(&old), "{old} of 10000 from the reservoir");
    }

    #[test]
    fn a_smaller_ring_keeps_the_newest_and_hands_on_the_rest() {
        let (mut replay, mut rng) = filled(10, 5.0, 100, 10);
        replay.resize(4, 2.0, 100);
        replay.push(10, &mut rng);
        assert_eq!(replay.newest(9).copied().collect::<Vec<_>>(), [7, 8, 9, 10]);
        assert_eq!(replay.reservoir, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn forgetting_keeps_the_newest() {
        let (mut replay, mut rng) = filled(10, 5.0, 10, 30);
        replay.forget_all_but(4);
        assert_eq!((replay.newest(9).copied().collect::<Vec<_>>(), replay.len()), (vec![26, 27, 28, 29], 4));
        assert!((0..100).all(|_| *replay.draw(1.0, &mut rng).unwrap() >= 26));
        assert!(Replay::<i64>::new(3, 1.0, 3).draw(0.5, &mut rng).is_none());
    }
}
