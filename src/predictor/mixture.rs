//! How far each expert is believed: for each coordinate and time ahead, the weights that would have predicted best so
//! far, and how far what they make of the experts has been right lately. An expert that has earned nothing counts
//! nothing, and with no expert the prediction is constant velocity.

use nalgebra::{SMatrix, SVector};

/// What constant velocity is corrected by, in this order: linear auto-regression on the coordinate's own past (of a base:
/// on that of all three) and on the past of all coordinates, both adapting; the same two as they were trained; ridge
/// regression on the last samples of the coordinate itself and of all, as they were trained; constant acceleration; the
/// LSTM.
pub const EXPERTS: usize = 8;
pub const ADAPTING: [usize; 2] = [0, 1];
pub const TRAINED: [usize; 2] = [2, 3];
pub const RIDGES: [usize; 2] = [4, 5];
pub const ACCELERATION: usize = 6;
pub const LSTM: usize = 7;
/// In a model that is told commands there is one more after these, in a mixture of its own: so what is predicted without
/// a command is what a model without commands predicts.
pub const COMMANDED: usize = 8;
pub const EXPERTS_WITH_COMMANDED: usize = 9;

type Vector<const N: usize> = SVector<f64, N>;
type Matrix<const N: usize> = SMatrix<f64, N, N>;

/// Which experts may take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experts {
    pub linear: bool,
    pub lstm: bool,
    pub commanded: bool,
}

impl Experts {
    pub const ALL: Self = Self { linear: true, lstm: true, commanded: true };
    /// As if there were no commands.
    pub const WITHOUT_COMMANDED: Self = Self { commanded: false, ..Self::ALL };

    fn has(self, expert: usize) -> bool {
        match expert {
            LSTM => self.lstm,
            COMMANDED => self.commanded,
            _ => self.linear,
        }
    }
}

/// Doubt of all experts, and of one coordinate's weights against those of all, in samples per step ahead whose
/// square is the error that is left. Predictions k steps ahead overlap in k - 1 steps, so that k of them tell about as
/// much as one; and all weights together are of the order of one, so that each is doubted as often as there are experts.
const fn doubt(experts: usize) -> f64 {
    experts as f64
}
/// The error that is left is taken as that of constant velocity in training for so many samples a step ahead.
const FIRST_STEPS: f64 = 1.0;
/// An outcome that is further off than so many usual errors (a knock, an emergency stop, a glitch) pulls no more than
/// one so far off.
const CLIP: f64 = 5.0;
/// Sweeps over the weights: to find the first ones, and with each sample, going on from those before.
const FIRST_SWEEPS: usize = 200;
const SWEEPS: usize = 4;
/// Bounds of the correction of the variance.
const RATIO: (f64, f64) = (1e-3, 1e3);
/// A squared error counts for no more than so many variances.
const MAX_DEVIATION: f64 = 25.0;
/// Samples after which the correction of the variance rests on what was seen.
const FIRST_SAMPLES: f64 = 20.0;
/// Samples per step ahead that count lately: how large errors are, and whether the robot does something new, changes
/// sooner than how far each expert is to be believed.
const LATELY: f64 = 20.0;

/// Standard errors by which a share may be too small by chance before the longer times ahead follow it: the least of
/// many that are uncertain is smaller than any of them deserves.
const CHANCE: f64 = 0.5;

/// Sums over the outcomes of one coordinate and knot: Σ p·pᵀ and Σ p·y of the experts' predictions p and the
/// outcome y, Σ (y - w·p)² of the weights w as they were, how many there were, and how far the variance has to be
/// corrected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence<const N: usize = EXPERTS> {
    pub products: Matrix<N>,
    pub outcome: Vector<N>,
    pub error: f64,
    pub count: f64,
    /// Mean of error² / predicted variance.
    pub ratio: f64,
}

impl<const N: usize> Default for Evidence<N> {
    fn default() -> Self {
        Self { products: Matrix::zeros(), outcome: Vector::zeros(), error: 0.0, count: 0.0, ratio: 1.0 }
    }
}

impl<const N: usize> Evidence<N> {
    /// Numbers in [`Self::to_values`].
    pub const SIZE: usize = N * N + N + 3;

    pub fn to_values(self) -> Vec<f64> {
        let rest = [self.error, self.count, self.ratio];
        [self.products.as_slice(), self.outcome.as_slice(), &rest].concat()
    }

    /// From what [`Self::to_values`] gave.
    pub fn from_values(values: &[f64]) -> Self {
        let (products, rest) = values.split_at(N * N);
        let (outcome, rest) = rest.split_at(N);
        Self {
            products: Matrix::from_column_slice(products),
            outcome: Vector::from_column_slice(outcome),
            error: rest[0].max(0.0),
            count: rest[1].max(0.0),
            ratio: rest[2].clamp(RATIO.0, RATIO.1),
        }
    }

    /// Mean square of the error that is left, `steps` ahead.
    fn left(&self, steps: usize) -> f64 {
        let first = FIRST_STEPS * steps as f64;
        (self.error + first) / (self.count + first)
    }

    fn add(&mut self, made: &Made<N>, outcome: f64, steps: usize, memory: f64) {
        let keep = 1.0 - 1.0 / memory;
        let experts = Vector::<N>::from_column_slice(&made.experts);
        let square = (outcome - made.whole).powi(2);
        let surprise = (outcome - made.weighed).powi(2);
        let share = (CLIP * CLIP * self.left(steps) / surprise.max(f64::MIN_POSITIVE)).min(1.0);
        self.products = self.products * keep + experts * experts.transpose() * share;
        self.outcome = self.outcome * keep + experts * (outcome * share);
        self.error = self.error * keep + square;
        self.count = self.count * keep + 1.0;
        let deviation = square / made.variance.max(f64::MIN_POSITIVE);
        let deviation = deviation.min(MAX_DEVIATION * self.ratio);
        let over = self.count.min(LATELY * steps as f64) + FIRST_SAMPLES;
        self.ratio += (deviation - self.ratio) / over;
        self.ratio = self.ratio.clamp(RATIO.0, RATIO.1);
    }
}

/// A prediction of one coordinate at one knot.
#[derive(Clone, Copy, Debug)]
pub struct Made<const N: usize = EXPERTS> {
    pub experts: [f64; N],
    /// What the weights made of the experts.
    pub weighed: f64,
    /// The same as far as it was believed at the moment.
    pub whole: f64,
    pub variance: f64,
}

impl<const N: usize> Default for Made<N> {
    fn default() -> Self {
        Self { experts: [0.0; N], weighed: 0.0, whole: 0.0, variance: 0.0 }
    }
}

/// How far what the weights make of the experts has been right lately, of one coordinate and knot.
#[derive(Clone, Copy, Debug)]
struct Trust {
    /// Σ p·y and Σ p² of what was predicted, p, and the outcome y; lately.
    agreement: f64,
    square: f64,
    /// The share of p that is believed: the one that would have been best lately, drawn to all of it, and hardly more than
    /// that of any shorter time ahead.
    share: f64,
}

impl Trust {
    const FULL: Self = Self { agreement: 0.0, square: 0.0, share: 1.0 };

    fn add(&mut self, predicted: f64, outcome: f64, steps: usize) {
        let keep = 1.0 - 1.0 / (LATELY * steps as f64);
        self.agreement = self.agreement * keep + predicted * outcome;
        self.square = self.square * keep + predicted * predicted;
    }

    /// Finds the share, at most `limit`; gives the limit of the longer times ahead. `noise` is the mean square of the error
    /// that is left, times the outcomes that tell as much as one.
    fn limit(&mut self, noise: f64, doubt: f64, limit: f64) -> f64 {
        let known = self.square + doubt * noise;
        let best = (self.agreement + doubt * noise) / known;
        let at_most = best + CHANCE * (noise / known).sqrt();
        if !at_most.is_finite() {
            self.share = limit;
            return limit;
        }
        self.share = best.clamp(0.0, limit);
        at_most.clamp(0.0, limit)
    }
}

/// The evidence so far and the weights that follow from it.
#[derive(Clone, Debug)]
pub struct Mixture<const N: usize = EXPERTS> {
    experts: Experts,
    knots: Vec<usize>,
    memory: f64,
    seed: Vec<Evidence<N>>,
    /// [coordinate][knot]
    evidence: Vec<Evidence<N>>,
    /// Of all coordinates, [knot].
    common: Vec<Vector<N>>,
    /// [coordinate][knot]
    weights: Vec<Vector<N>>,
    /// [coordinate][knot]
    trust: Vec<Trust>,
}

impl<const N: usize> Mixture<N> {
    /// `evidence` [coordinate][knot] to start from; `memory`: samples that count.
    pub fn new(evidence: Vec<Evidence<N>>, knots: &[usize], memory: f64, experts: Experts) -> Self {
        let mut mixture = Self {
            experts,
            knots: knots.to_vec(),
            memory: memory.max(2.0),
            seed: evidence.clone(),
            common: vec![Vector::zeros(); knots.len()],
            weights: vec![Vector::zeros(); evidence.len()],
            trust: vec![Trust::FULL; evidence.len()],
            evidence,
        };
        mixture.sweep(FIRST_SWEEPS);
        mixture
    }

    pub fn reset(&mut self) {
        self.evidence.copy_from_slice(&self.seed);
        self.common.iter_mut().chain(&mut self.weights).for_each(|weights| weights.fill(0.0));
        self.trust.fill(Trust::FULL);
        self.sweep(FIRST_SWEEPS);
    }

    pub fn evidence(&self) -> &[Evidence<N>] {
        &self.evidence
    }

    /// Weights, as far as they are believed at the moment, and correction of the variance at `index` of
    /// [coordinate][knot].
    pub fn at(&self, index: usize) -> ([f64; N], f64) {
        ((self.weights[index] * self.trust[index].share).into(), self.evidence[index].ratio)
    }

    /// Makes the whole at `index` of [coordinate][knot] of what the experts say and of the LSTM's variance.
    pub fn combine(&self, index: usize, made: &mut Made<N>, variance: f64) {
        made.weighed = self.weights[index].dot(&Vector::from_column_slice(&made.experts));
        made.whole = made.weighed * self.trust[index].share;
        made.variance = variance * self.evidence[index].ratio;
    }

    /// Takes in the outcome of a prediction at `index` of [coordinate][knot].
    pub fn add(&mut self, index: usize, made: &Made<N>, outcome: f64) {
        let values = made.experts.iter().chain([&outcome, &made.weighed, &made.variance]);
        if values.into_iter().all(|value| value.is_finite()) {
            let steps = self.knots[index % self.knots.len()];
            self.trust[index].add(made.weighed, outcome, steps);
            self.evidence[index].add(made, outcome, steps, self.memory);
        }
    }

    /// Finds the weights anew: least squares over all coordinates, each in units of the error that is left of it, drawn
    /// to zero; then for each coordinate, drawn to those of all. No weight is negative (Breiman, Stacked regressions,
    /// Machine Learning 24, 1996): experts that say nearly the same are not played off against each other, which would
    /// be wrong by far as soon as they differ. Then finds how far what they make of the experts is believed at the
    /// moment: when the robot stops or darts off as never before, the shorter times ahead tell at once, and what has
    /// been wrong over those is not believed over the longer ones.
    pub fn weigh(&mut self) {
        self.sweep(SWEEPS);
        let knots = self.knots.len();
        for (evidence, trust) in self.evidence.chunks(knots).zip(self.trust.chunks_mut(knots)) {
            let mut limit = 1.0;
            for ((evidence, trust), steps) in evidence.iter().zip(trust).zip(&self.knots) {
                limit = trust.limit(*steps as f64 * evidence.left(*steps), doubt(N), limit);
            }
        }
    }

    fn sweep(&mut self, sweeps: usize) {
        for (knot, steps) in self.knots.iter().enumerate() {
            let doubt = doubt(N) * *steps as f64;
            let (mut products, mut outcome) = (Matrix::zeros(), Vector::zeros());
            for evidence in self.evidence[knot..].iter().step_by(self.knots.len()) {
                let left = evidence.left(*steps);
                products += evidence.products / left;
                outcome += evidence.outcome / left;
            }
            let common = &mut self.common[knot];
            let problem = Problem { products: &products, outcome: &outcome, doubt, centre: &Vector::zeros() };
            problem.improve(self.experts, sweeps, common);
            let of_knot = self.evidence[knot..].iter().step_by(self.knots.len());
            for (evidence, weights) in of_knot.zip(self.weights[knot..].iter_mut().step_by(self.knots.len()))
            {
                let Evidence { products, outcome, .. } = evidence;
                let doubt = doubt * evidence.left(*steps);
                Problem { products, outcome, doubt, centre: common }.improve(self.experts, sweeps, weights);
            }
        }
    }
}

/// The least wᵀ·A·w / 2 - b·w + d·|w - c|² / 2 over w ≥ 0.
struct Problem<'a, const N: usize> {
    products: &'a Matrix<N>,
    outcome: &'a Vector<N>,
    doubt: f64,
    centre: &'a Vector<N>,
}

impl<const N: usize> Problem<'_, N> {
    /// Moves `weights` towards the solution, one after the other (coordinate descent); those of experts that do not take
    /// part stay as they are.
    fn improve(&self, experts: Experts, sweeps: usize, weights: &mut Vector<N>) {
        let Self { products, outcome, doubt, centre } = self;
        for _ in 0..sweeps {
            for expert in (0..N).filter(|expert| experts.has(*expert)) {
                let own = products[(expert, expert)];
                let others = products.column(expert).dot(weights) - own * weights[expert];
                let slope = outcome[expert] + doubt * centre[expert] - others;
                let weight = slope / (own + doubt);
                weights[expert] = if weight.is_finite() { weight.max(0.0) } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixture(experts: Experts) -> Mixture {
        Mixture::new(vec![Evidence::default(); 2], &[4], 1e4, experts)
    }

    /// What two of the experts say; the others say nothing.
    fn said(time: usize) -> [f64; EXPERTS] {
        let time = time as f64;
        let mut experts = [0.0; EXPERTS];
        (experts[0], experts[LSTM]) = ((0.7 * time).sin(), (0.17 * time).sin());
        experts
    }

    fn step(mixture: &mut Mixture, experts: [f64; EXPERTS], outcomes: [f64; 2]) -> [f64; 2] {
        let mut made = [Made { experts, ..Default::default() }; 2];
        for (index, (made, outcome)) in made.iter_mut().zip(outcomes).enumerate() {
            mixture.combine(index, made, 1.0);
            mixture.add(index, made, outcome);
        }
        mixture.weigh();
        made.map(|made| made.weighed)
    }

    /// Coordinate 0 follows the first expert, coordinate 1 the mean of first and last.
    fn run(mixture: &mut Mixture, samples: usize) {
        for experts in (0..samples).map(said) {
            step(mixture, experts, [experts[0], 0.5 * (experts[0] + experts[LSTM])]);
        }
    }

    #[test]
    fn what_was_earned_is_believed() {
        let mut all = mixture(Experts::ALL);
        assert_eq!(all.at(0), ([0.0; EXPERTS], 1.0));
        run(&mut all, 2000);
        for (index, [own, lstm]) in [[1.0, 0.0], [0.5, 0.5]].into_iter().enumerate() {
            let (weights, _) = all.at(index);
            assert!((weights[0] - own).abs() < 0.01 && (weights[LSTM] - lstm).abs() < 0.01, "{weights:?}");
        }
        assert!(all.at(0).1 < 0.1 && all.at(1).1 < 0.1, "the variance did not follow");
        all.reset();
        assert_eq!(all.at(0), ([0.0; EXPERTS], 1.0));
    }

    #[test]
    fn who_may_not_take_part_counts_nothing() {
        let mut linear = mixture(Experts { lstm: false, ..Experts::ALL });
        run(&mut linear, 2000);
        let (weights, _) = linear.at(1);
        assert!((weights[0] - 0.5).abs() < 0.05 && weights[LSTM] == 0.0, "{weights:?}");
        let mut lstm = mixture(Experts { linear: false, ..Experts::ALL });
        run(&mut lstm, 2000);
        assert!(lstm.at(0).0[0] == 0.0 && lstm.at(1).0[LSTM] > 0.4);
    }

    #[test]
    fn a_single_coordinate_is_drawn_to_all_at_first() {
        let (mut both, mut alone) = (mixture(Experts::ALL), mixture(Experts::ALL));
        for experts in (0..6).map(said) {
            step(&mut both, experts, [experts[0], 0.5 * experts[0]]);
            step(&mut alone, experts, [f64::NAN, 0.5 * experts[0]]);
        }
        let (both, alone) = (both.at(1).0[0], alone.at(1).0[0]);
        assert!(both > alone + 0.05, "{both} {alone}");
    }

    #[test]
    fn who_makes_it_worse_than_constant_velocity_counts_nothing() {
        let mut all = mixture(Experts::ALL);
        run(&mut all, 200);
        for experts in (200..2000).map(said) {
            step(&mut all, experts, [-0.3 * experts[0]; 2]);
        }
        for index in 0..2 {
            let (weights, _) = all.at(index);
            assert!(weights[0] == 0.0 && weights[LSTM] < 0.1, "it would go the wrong way: {weights:?}");
        }
    }

    #[test]
    fn doubt_is_in_proportion_to_the_error_that_is_left() {
        // the same motion, once in units in which it is a hundred times as large
        let weight = |size: f64| {
            let mut all = mixture(Experts::ALL);
            for (time, experts) in (0..400).map(|time| (time, said(time).map(|value| size * value))) {
                let noise = size * 3.0 * (1.3 * time as f64).sin();
                step(&mut all, experts, [0.5 * experts[0] + noise; 2]);
            }
            all.at(0).0[0]
        };
        let (small, large) = (weight(1.0), weight(100.0));
        assert!((small - large).abs() < 0.02 && (0.3..0.6).contains(&large), "{small} {large}");
    }

    #[test]
    fn two_who_say_nearly_the_same_are_not_played_off_against_each_other() {
        let twins = |time: usize, apart: f64| {
            let mut experts = said(time);
            experts[1] = experts[0] + apart * (2.3 * time as f64).sin();
            experts
        };
        let mut all = mixture(Experts::ALL);
        for experts in (0..400).map(|time| twins(time, 0.01)) {
            step(&mut all, experts, [experts[0]; 2]);
        }
        // an emergency stop, which both foresee wrongly and not quite alike
        for time in 400..410 {
            step(&mut all, twins(time, 0.2).map(|value| 20.0 * value), [-20.0; 2]);
        }
        for time in 410..500 {
            let experts = twins(time, 0.2);
            let [weighed, _] = step(&mut all, experts, [experts[0]; 2]);
            assert!((weighed - experts[0]).abs() < 0.4, "{weighed} {experts:?} {:?}", all.at(0));
        }
    }

    #[test]
    fn what_is_wrong_over_a_short_time_is_not_believed_over_a_longer_one() {
        let mut all = Mixture::new(vec![Evidence::default(); 2], &[1, 50], 1e4, Experts::ALL);
        let mut one = |time: usize, outcomes: [Option<f64>; 2]| {
            let mut made = [Made { experts: said(time), ..Default::default() }; 2];
            for (index, (made, outcome)) in made.iter_mut().zip(outcomes).enumerate() {
                all.combine(index, made, 1.0);
                outcome.iter().for_each(|outcome| all.add(index, made, *outcome));
            }
            all.weigh();
            all.trust[1].share
        };
        let follows = |time: usize| [Some(said(time)[0]); 2];
        let before = (0..2000).map(|time| one(time, follows(time))).last();
        assert!(before.is_some_and(|share| share > 0.95), "{before:?}");
        // the robot stands still, and what becomes of the predictions 50 steps ahead is not known yet
        let stopped = (2000..2040).map(|time| one(time, [Some(0.0), None])).last();
        assert!(stopped.is_some_and(|share| share < 0.2), "{stopped:?}");
        let again = (2040..2400).map(|time| one(time, follows(time))).last();
        assert!(again.is_some_and(|share| share > 0.95), "{again:?}");
    }

    #[test]
    fn nonsense_changes_nothing_and_numbers_survive() {
        let mut all = mixture(Experts::ALL);
        run(&mut all, 50);
        let before = all.evidence().to_vec();
        all.add(0, &Made { weighed: f64::NAN, ..Default::default() }, 1.0);
        assert_eq!(all.evidence(), before);
        assert_eq!(Evidence::from_values(&before[0].to_values()), before[0]);
    }
}
