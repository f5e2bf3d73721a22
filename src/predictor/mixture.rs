//! How far each expert is believed: for each coordinate and time ahead, the weights that would have predicted best so
//! far. An expert that has earned nothing counts nothing, and with no expert the prediction is constant velocity.

use nalgebra::{Matrix3, Vector3};

/// What constant velocity is corrected by, in this order: linear auto-regression on the coordinate's own past (of a base:
/// on that of all three), on the past of all coordinates, and the LSTM.
pub const EXPERTS: usize = 3;
const LSTM: usize = 2;

/// Which experts may take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experts {
    pub linear: bool,
    pub lstm: bool,
}

impl Experts {
    pub const ALL: Self = Self { linear: true, lstm: true };

    fn has(self, expert: usize) -> bool {
        if expert == LSTM { self.lstm } else { self.linear }
    }
}

/// Doubt of all experts, and of one coordinate's weights against those of all, in samples per step ahead:
/// predictions k steps ahead overlap in k - 1 steps, so that k of them tell about as much as one.
const DOUBT: f64 = 0.1;
const DOUBT_OF_ONE: f64 = 1.0;
/// Mean square error of the whole over that of constant velocity, over all coordinates, below which it is trusted fully,
/// and from which on not at all; until something is known it is taken as equal for so many samples a step ahead.
const TRUSTED: (f64, f64) = (1.0, 1.1);
const DISTRUST: f64 = 1.0;
/// Bounds of the correction of the variance.
const RATIO: (f64, f64) = (1e-3, 1e3);
/// A squared error counts for no more than so many variances.
const MAX_DEVIATION: f64 = 25.0;
/// Samples after which the correction of the variance rests on what was seen.
const FIRST_SAMPLES: f64 = 20.0;

/// Sums over the outcomes of one coordinate and knot: Σ p·pᵀ and Σ p·y of the experts' predictions p and the
/// outcome y, Σ y² beside Σ (y - w·p)² of the weights w as they were, how many there were, and how far the variance has
/// to be corrected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    pub products: Matrix3<f64>,
    pub outcome: Vector3<f64>,
    pub square: f64,
    pub error: f64,
    pub count: f64,
    /// Mean of error² / predicted variance.
    pub ratio: f64,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            products: Matrix3::zeros(),
            outcome: Vector3::zeros(),
            square: 0.0,
            error: 0.0,
            count: 0.0,
            ratio: 1.0,
        }
    }
}

impl Evidence {
    /// Numbers in [`Self::to_array`].
    pub const SIZE: usize = 16;

    pub fn to_array(self) -> [f64; Self::SIZE] {
        let mut values = [0.0; Self::SIZE];
        values[..9].copy_from_slice(self.products.as_slice());
        values[9..12].copy_from_slice(self.outcome.as_slice());
        values[12..].copy_from_slice(&[self.square, self.error, self.count, self.ratio]);
        values
    }

    pub fn from_array(values: [f64; Self::SIZE]) -> Self {
        Self {
            products: Matrix3::from_column_slice(&values[..9]),
            outcome: Vector3::from_column_slice(&values[9..12]),
            square: values[12].max(0.0),
            error: values[13].max(0.0),
            count: values[14].max(0.0),
            ratio: values[15].clamp(RATIO.0, RATIO.1),
        }
    }

    fn add(&mut self, made: &Made, outcome: f64, memory: f64) {
        let keep = 1.0 - 1.0 / memory;
        let experts = Vector3::from_column_slice(&made.experts);
        self.products = self.products * keep + experts * experts.transpose();
        self.outcome = self.outcome * keep + experts * outcome;
        self.square = self.square * keep + outcome * outcome;
        self.error = self.error * keep + (outcome - made.untrusted).powi(2);
        self.count = self.count * keep + 1.0;
        let deviation = (outcome - made.whole).powi(2) / made.variance.max(f64::MIN_POSITIVE);
        let deviation = deviation.min(MAX_DEVIATION * self.ratio);
        self.ratio += (deviation - self.ratio) / (self.count + FIRST_SAMPLES);
        self.ratio = self.ratio.clamp(RATIO.0, RATIO.1);
    }
}

/// A prediction of one coordinate at one knot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Made {
    pub experts: [f64; EXPERTS],
    /// What the weights made of the experts, and what was given out: that times the trust.
    pub untrusted: f64,
    pub whole: f64,
    pub variance: f64,
}

/// The evidence so far and the weights that follow from it.
#[derive(Clone, Debug)]
pub struct Mixture {
    experts: Experts,
    knots: Vec<usize>,
    memory: f64,
    seed: Vec<Evidence>,
    /// [coordinate][knot]
    evidence: Vec<Evidence>,
    /// [coordinate][knot]
    weights: Vec<Vector3<f64>>,
    /// Share of the whole that is given out, 0 to 1, [knot].
    trust: Vec<f64>,
}

impl Mixture {
    /// `evidence` [coordinate][knot] to start from; `memory`: samples that count.
    pub fn new(evidence: Vec<Evidence>, knots: &[usize], memory: f64, experts: Experts) -> Self {
        let weights = vec![Vector3::zeros(); evidence.len()];
        let seed = evidence.clone();
        let mut mixture = Self {
            experts,
            knots: knots.to_vec(),
            memory: memory.max(2.0),
            seed,
            evidence,
            weights,
            trust: vec![0.0; knots.len()],
        };
        mixture.weigh();
        mixture
    }

    pub fn reset(&mut self) {
        self.evidence.copy_from_slice(&self.seed);
        self.weigh();
    }

    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// Weights, trust included, and correction of the variance at `index` of [coordinate][knot].
    pub fn at(&self, index: usize) -> ([f64; EXPERTS], f64) {
        let trust = self.trust[index % self.knots.len()];
        ((self.weights[index] * trust).into(), self.evidence[index].ratio)
    }

    /// Makes the whole at `index` of [coordinate][knot] of what the experts say and of the LSTM's variance.
    pub fn combine(&self, index: usize, made: &mut Made, variance: f64) {
        made.untrusted = self.weights[index].dot(&Vector3::from_column_slice(&made.experts));
        made.whole = self.trust[index % self.knots.len()] * made.untrusted;
        made.variance = variance * self.evidence[index].ratio;
    }

    /// Takes in the outcome of a prediction at `index` of [coordinate][knot].
    pub fn add(&mut self, index: usize, made: &Made, outcome: f64) {
        let values = made.experts.iter().chain([&outcome, &made.untrusted, &made.variance]);
        if values.into_iter().all(|value| value.is_finite()) {
            self.evidence[index].add(made, outcome, self.memory);
        }
    }

    /// Finds the weights anew: least squares over all coordinates, drawn to zero, then for each coordinate, drawn
    /// to those of all. Then how far the whole is to be trusted, from what its weights were worth when they were used.
    pub fn weigh(&mut self) {
        for (knot, steps) in self.knots.iter().enumerate() {
            let of_knot = || (knot..self.evidence.len()).step_by(self.knots.len());
            let doubt = DOUBT * *steps as f64;
            let (mut products, mut outcome) = (Matrix3::zeros(), Vector3::zeros());
            let (mut error, mut square) = (DISTRUST * *steps as f64, DISTRUST * *steps as f64);
            for index in of_knot() {
                error += self.evidence[index].error;
                square += self.evidence[index].square;
                let (of_one, outcome_of_one) = self.believed(index);
                products += of_one;
                outcome += outcome_of_one;
            }
            self.trust[knot] = ((TRUSTED.1 - error / square) / (TRUSTED.1 - TRUSTED.0)).clamp(0.0, 1.0);
            let common = solve(products, doubt, outcome);
            let doubt = DOUBT_OF_ONE * *steps as f64;
            for index in of_knot() {
                let (products, outcome) = self.believed(index);
                self.weights[index] = solve(products, doubt, outcome + common * doubt);
            }
        }
    }

    /// The evidence on those experts that take part.
    fn believed(&self, index: usize) -> (Matrix3<f64>, Vector3<f64>) {
        let Evidence { mut products, mut outcome, .. } = self.evidence[index];
        for expert in (0..EXPERTS).filter(|expert| !self.experts.has(*expert)) {
            products.row_mut(expert).fill(0.0);
            products.column_mut(expert).fill(0.0);
            outcome[expert] = 0.0;
        }
        (products, outcome)
    }
}

/// (A + d·I)⁻¹·b, or zero where rounding has left no such thing.
fn solve(mut products: Matrix3<f64>, doubt: f64, outcome: Vector3<f64>) -> Vector3<f64> {
    products += Matrix3::identity() * doubt;
    let solved = products.cholesky().map(|factor| factor.solve(&outcome));
    solved.filter(|weights| weights.iter().all(|weight| weight.is_finite())).unwrap_or_else(Vector3::zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixture(experts: Experts) -> Mixture {
        Mixture::new(vec![Evidence::default(); 2], &[4], 1e4, experts)
    }

    /// Coordinate 0 follows the first expert, coordinate 1 the mean of first and last.
    fn run(mixture: &mut Mixture, samples: usize) {
        for time in 0..samples {
            let time = time as f64;
            let experts = [(0.7 * time).sin(), (0.31 * time).cos(), (0.17 * time).sin()];
            for (index, outcome) in [experts[0], 0.5 * (experts[0] + experts[2])].into_iter().enumerate() {
                let mut made = Made { experts, ..Default::default() };
                mixture.combine(index, &mut made, 1.0);
                mixture.add(index, &made, outcome);
            }
            mixture.weigh();
        }
    }

    #[test]
    fn what_was_earned_is_believed() {
        let mut all = mixture(Experts::ALL);
        assert_eq!(all.at(0), ([0.0; 3], 1.0));
        run(&mut all, 2000);
        for (index, expected) in [[1.0, 0.0, 0.0], [0.5, 0.0, 0.5]].into_iter().enumerate() {
            let (weights, _) = all.at(index);
            weights.iter().zip(expected).for_each(|(w, e)| assert!((w - e).abs() < 0.01, "{weights:?}"));
        }
        assert!(all.at(0).1 < 0.1 && all.at(1).1 < 0.1, "the variance did not follow");
        all.reset();
        assert_eq!(all.at(0), ([0.0; 3], 1.0));
    }

    #[test]
    fn who_may_not_take_part_counts_nothing() {
        let mut linear = mixture(Experts { lstm: false, linear: true });
        run(&mut linear, 2000);
        let (weights, _) = linear.at(1);
        assert!((weights[0] - 0.5).abs() < 0.05 && weights[2] == 0.0, "{weights:?}");
        let mut lstm = mixture(Experts { lstm: true, linear: false });
        run(&mut lstm, 2000);
        assert!(lstm.at(0).0[0] == 0.0 && lstm.at(1).0[2] > 0.4);
    }

    #[test]
    fn a_single_coordinate_is_drawn_to_all_at_first() {
        let mut all = mixture(Experts::ALL);
        run(&mut all, 6);
        assert!(all.weights[1][0] > 0.3, "{:?}", all.weights);
    }

    #[test]
    fn nonsense_changes_nothing_and_numbers_survive() {
        let mut all = mixture(Experts::ALL);
        run(&mut all, 50);
        let before = all.evidence().to_vec();
        all.add(0, &Made { untrusted: f64::NAN, ..Default::default() }, 1.0);
        assert_eq!(all.evidence(), before);
        assert_eq!(Evidence::from_array(before[0].to_array()), before[0]);
    }

    #[test]
    fn what_made_it_worse_is_not_given_out() {
        let trust = |error: f64, count: f64| {
            let mut evidence = Evidence { square: count, error: error * count, count, ..Default::default() };
            evidence.products = Matrix3::identity() * count;
            evidence.outcome = Vector3::repeat(0.3 * count);
            let all = Mixture::new(vec![evidence; 2], &[4], 1e4, Experts::ALL);
            assert_eq!(all.at(0).0 == [0.0; 3], all.trust[0] == 0.0);
            all.trust[0]
        };
        assert_eq!([trust(0.5, 100.0), trust(1.0, 100.0), trust(1.2, 100.0)], [1.0, 1.0, 0.0]);
        assert!((trust(1.05, 1e6) - 0.5).abs() < 1e-3);
        assert!(trust(2.0, 0.1) > 0.5, "a single outcome says little");
    }
}
