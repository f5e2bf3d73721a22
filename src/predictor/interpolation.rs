//! From the knots, at which the linear path is computed, to the steps between them: piecewise cubic, with the slope at a
//! knot of the parabola through it and those beside it (Bessel interpolation; de Boor, A Practical Guide to Splines,
//! chapter IV). It meets each knot, and constant acceleration everywhere.

/// Knots that a step between two of them rests on.
pub const NEIGHBOURS: usize = 4;

/// Where a step lies among the knots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Between {
    /// Index of the first of the knots that it rests on.
    pub first: usize,
    /// Which of these is at it or before it, and the share that the one after has of the way between them.
    pub place: usize,
    pub share: f64,
    /// What each of them counts.
    pub weights: [f64; NEIGHBOURS],
}

impl Between {
    fn new(knots: &[usize], step: usize) -> Self {
        let knot = knots.partition_point(|knot| *knot <= step).saturating_sub(1);
        let first = knot.saturating_sub(1).min(knots.len().saturating_sub(NEIGHBOURS));
        let place = knot - first;
        let at = |place: usize| knots[first + place] as f64;
        let mut weights = [0.0; NEIGHBOURS];
        weights[place] = 1.0;
        if knots[knot] == step {
            return Self { first, place, share: 0.0, weights };
        }
        let interval = at(place + 1) - at(place);
        let share = (step as f64 - at(place)) / interval;
        let rest = 1.0 - share;
        weights[place] = (1.0 + 2.0 * share) * rest * rest;
        weights[place + 1] = (3.0 - 2.0 * share) * share * share;
        for (knot, of_slope) in [(place, share * rest * rest), (place + 1, -share * share * rest)] {
            let middle = knot.clamp(1, NEIGHBOURS - 2);
            let slope = slope([middle - 1, middle, middle + 1].map(at), at(knot));
            for (weight, slope) in weights[middle - 1..].iter_mut().zip(slope) {
                *weight += of_slope * interval * slope;
            }
        }
        Self { first, place, share, weights }
    }
}

/// What values at three `times` count in the slope at `time` of the parabola through them.
fn slope(times: [f64; 3], time: f64) -> [f64; 3] {
    std::array::from_fn(|index| {
        let (own, [one, other]) = (times[index], [times[(index + 1) % 3], times[(index + 2) % 3]]);
        (2.0 * time - one - other) / ((own - one) * (own - other))
    })
}

/// For each step up to the last of `knots`, which have no steps between the first three. What is interpolated is in units
/// of `spread` [step], which the weights allow for.
pub fn between(knots: &[usize], spread: &[f64]) -> Vec<Between> {
    let steps = 1..=knots.last().copied().unwrap_or(0);
    let of_step = |step: usize| {
        let mut between = Between::new(knots, step);
        for (weight, knot) in between.weights.iter_mut().zip(&knots[between.first..]) {
            *weight *= spread[knot - 1] / spread[step - 1];
        }
        between
    };
    steps.map(of_step).collect()
}

#[cfg(test)]
mod tests {
    use super::super::linear::knots;
    use super::*;

    /// Greatest error over the steps of the knots' interpolant of `curve`, and of the straight lines between them.
    fn errors(steps: usize, spread: &[f64], curve: impl Fn(f64) -> f64) -> [f64; 2] {
        let knots = knots(steps);
        let value = |knot: usize| curve(knots[knot] as f64) / spread[knots[knot] - 1];
        let mut errors = [0.0_f64; 2];
        for (index, between) in between(&knots, spread).into_iter().enumerate() {
            let Between { first, place, share, weights } = between;
            let used = weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0);
            let cubic: f64 = used.map(|(place, weight)| weight * value(first + place)).sum();
            let [before, after] = [first + place, (first + place + 1).min(knots.len() - 1)];
            assert!((0.0..1.0).contains(&share) && knots[before] <= index + 1);
            if knots[before] == index + 1 {
                assert_eq!((cubic, share), (value(before), 0.0), "step {}", index + 1);
            }
            let linear = value(before) + share * (value(after) - value(before));
            for (error, found) in errors.iter_mut().zip([cubic, linear]) {
                *error = error.max((found * spread[index] - curve(index as f64 + 1.0)).abs());
            }
        }
        errors
    }

    #[test]
    fn it_meets_knots_and_constant_acceleration() {
        for steps in [1, 2, 3, 4, 5, 7, 8, 13, 33, 50, 100] {
            let spread: Vec<f64> = (1..=steps).map(|step| 0.3 + (step as f64).powf(1.3)).collect();
            let [error, _] = errors(steps, &spread, |time| 2.0 - 3.0 * time + 0.5 * time * time);
            assert!(error < 1e-9 * (steps * steps) as f64, "{steps}: {error}");
        }
    }

    #[test]
    fn it_follows_a_swing_far_better_than_straight_lines() {
        // two in 50 steps
        let [cubic, linear] = errors(50, &[1.0; 50], |time| (std::f64::consts::TAU * time / 25.0).sin());
        assert!(cubic < 0.35 * linear && linear > 0.1, "{cubic} {linear}");
    }
}
