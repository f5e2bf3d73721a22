//! How far each expert is believed: for each coordinate and time ahead, the weights that would have predicted best so
//! far, and how far what they make of the experts has been right lately. An expert that has earned nothing counts
//! nothing, and with no expert the prediction is constant velocity.

use super::recursive::MAX_PREDICTION;
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
const FIRST_STEPS: f64 = 0.1;
/// Weights that fit what they were made from leave less of it than of what comes: more by a share of their number to that
/// of independent outcomes (Akaike, Fitting autoregressive models for prediction, 1969), but no more than so many times: one
/// that starts from nothing learns too slowly with 10, and is misled at first with 1.
const MAX_INFLATION: f64 = 2.0;
/// An outcome that is further off than so many usual errors (a knock, an emergency stop, a glitch) pulls no more than
/// one so far off.
const CLIP: f64 = 5.0;
/// Knots whose weights are found anew with each sample, in turn; and rounds over all of them to begin with, for the error
/// that is left depends on the weights and they on it.
const AT_ONCE: usize = 4;
const FIRST_ROUNDS: usize = 5;
/// Exchanges that bring nothing before experts are exchanged one at a time, and exchanges in all.
const PATIENCE: usize = 3;
const MAX_EXCHANGES: usize = 64;
/// An expert is given a weight where the slope is lower than such a share of the aim.
const TOLERANCE: f64 = 1e-12;
/// Bounds of the correction of the variance.
const RATIO: (f64, f64) = (1e-3, 1e3);
/// A squared error counts for no more than so many variances.
const MAX_DEVIATION: f64 = 25.0;
/// Samples after which the correction of the variance rests on what was seen.
const FIRST_SAMPLES: f64 = 20.0;
/// Samples per step ahead that count lately: how large errors are, and whether the robot does something new, changes
/// sooner than how far each expert is to be believed.
const LATELY: f64 = 20.0;

/// Doubt that what the weights make of the experts is wrong lately, in samples per step ahead as the other.
const TRUST_DOUBT: f64 = 3.0;
/// Doubt that it is right of a robot at rest, in the same measure.
const REST_DOUBT: f64 = 1.0;
/// What a share lacks is laid to chance up to so many standard errors before the longer times ahead follow it: the least
/// of many that are uncertain is smaller than any of them deserves.
const CHANCE: f64 = 1.25;

/// Sums over the outcomes of one coordinate and knot: Σ p·pᵀ, Σ p·y and Σ y² of the experts' predictions p and the
/// outcome y, how many there were, and how far the variance has to be corrected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence<const N: usize = EXPERTS> {
    pub products: Matrix<N>,
    pub outcome: Vector<N>,
    pub square: f64,
    /// Of the squared errors of the weights as they were, what was beyond the clip and is not in the sums.
    pub clipped: f64,
    pub count: f64,
    /// Mean of error² / predicted variance.
    pub ratio: f64,
}

impl<const N: usize> Default for Evidence<N> {
    fn default() -> Self {
        Self {
            products: Matrix::zeros(),
            outcome: Vector::zeros(),
            square: 0.0,
            clipped: 0.0,
            count: 0.0,
            ratio: 1.0,
        }
    }
}

impl<const N: usize> Evidence<N> {
    /// Numbers in [`Self::to_values`].
    pub const SIZE: usize = N * N + N + 4;

    pub fn to_values(self) -> Vec<f64> {
        let rest = [self.square, self.clipped, self.count, self.ratio];
        [self.products.as_slice(), self.outcome.as_slice(), &rest].concat()
    }

    /// From what [`Self::to_values`] gave.
    pub fn from_values(values: &[f64]) -> Self {
        let (products, rest) = values.split_at(N * N);
        let (outcome, rest) = rest.split_at(N);
        Self {
            products: Matrix::from_column_slice(products),
            outcome: Vector::from_column_slice(outcome),
            square: rest[0].max(0.0),
            clipped: rest[1].max(0.0),
            count: rest[2].max(0.0),
            ratio: rest[3].clamp(RATIO.0, RATIO.1),
        }
    }

    /// Mean square of the error that is left with `weights`, `steps` ahead.
    fn left(&self, weights: &Vector<N>, steps: usize) -> f64 {
        let fitted = (self.products * weights - self.outcome * 2.0).dot(weights);
        let error = (self.square + fitted).max(0.0) + self.clipped;
        let inflation = 1.0 + doubt(N) * steps as f64 / self.count.max(1.0);
        let first = FIRST_STEPS * steps as f64;
        (error * inflation.min(MAX_INFLATION) + first) / (self.count + first)
    }

    fn add(&mut self, made: &Made<N>, outcome: f64, left: f64, steps: usize, memory: f64) {
        let keep = 1.0 - 1.0 / memory;
        let experts = Vector::<N>::from_column_slice(&made.experts);
        let surprise = (outcome - made.weighed).powi(2);
        let share = (CLIP * CLIP * left / surprise.max(f64::MIN_POSITIVE)).min(1.0);
        self.products = self.products * keep + experts * experts.transpose() * share;
        self.outcome = self.outcome * keep + experts * (outcome * share);
        self.square = self.square * keep + outcome * outcome * share;
        self.clipped = self.clipped * keep + surprise * (1.0 - share);
        self.count = self.count * keep + 1.0;
        let deviation = (outcome - made.whole).powi(2) / made.variance.max(f64::MIN_POSITIVE);
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
    /// The share of p that is believed: the one that would have been best lately, drawn to all of it, and no more than that
    /// of any shorter time ahead, as far as that one lacks more than it would by chance.
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
    fn limit(&mut self, noise: f64, limit: f64) -> f64 {
        let known = self.square + TRUST_DOUBT * noise;
        let best = (self.agreement + TRUST_DOUBT * noise) / known;
        let by_chance = CHANCE * CHANCE * noise / known;
        let lacks = 1.0 - best;
        let certain = (1.0 - by_chance / (lacks * lacks)).max(0.0); // as Wiener's filter
        let longer = if lacks > 0.0 { (1.0 - lacks * certain).clamp(0.0, limit) } else { limit };
        self.share = if best.is_finite() { best.clamp(0.0, limit) } else { limit };
        if longer.is_finite() { longer } else { limit }
    }
}

/// The same of a robot at rest. Predictions that were made in motion tell nothing of it: what moves a robot that stands comes from
/// elsewhere than from its motion. So it stays where it is until it has been right to say more.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    /// Σ p·y, Σ p² and Σ y², and how many there were.
    agreement: f64,
    square: f64,
    outcome: f64,
    count: f64,
    /// The share of p that would have been best, drawn to none.
    share: f64,
}

impl Rest {
    /// `memory`: samples that count.
    fn add(&mut self, predicted: f64, outcome: f64, steps: usize, memory: f64) {
        let keep = 1.0 - 1.0 / memory;
        self.agreement = self.agreement * keep + predicted * outcome;
        self.square = self.square * keep + predicted * predicted;
        self.outcome = self.outcome * keep + outcome * outcome;
        self.count = self.count * keep + 1.0;
        let doubt = REST_DOUBT * steps as f64 * self.outcome / self.count;
        let share = self.agreement / (self.square + doubt);
        self.share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
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
    /// Mean square of the error that is left with them, [coordinate][knot].
    left: Vec<f64>,
    /// [coordinate][knot]
    trust: Vec<Trust>,
    /// [coordinate][knot]
    at_rest: Vec<Rest>,
    /// The one whose weights are found next.
    knot: usize,
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
            left: vec![1.0; evidence.len()],
            trust: vec![Trust::FULL; evidence.len()],
            at_rest: vec![Rest::default(); evidence.len()],
            evidence,
            knot: 0,
        };
        mixture.reset();
        mixture
    }

    pub fn reset(&mut self) {
        self.evidence.copy_from_slice(&self.seed);
        self.common.iter_mut().chain(&mut self.weights).for_each(|weights| weights.fill(0.0));
        self.trust.fill(Trust::FULL);
        self.at_rest.fill(Rest::default());
        self.knot = 0;
        (0..self.left.len()).for_each(|index| self.find_left(index));
        for _ in 0..FIRST_ROUNDS {
            (0..self.knots.len()).for_each(|knot| self.find_weights(knot));
        }
    }

    pub fn evidence(&self) -> &[Evidence<N>] {
        &self.evidence
    }

    /// Weights, as far as they are believed of a robot that moves or `rests`, and correction of the variance at `index` of
    /// [coordinate][knot].
    pub fn at(&self, index: usize, rests: bool) -> ([f64; N], f64) {
        ((self.weights[index] * self.share(index, rests)).into(), self.evidence[index].ratio)
    }

    fn share(&self, index: usize, rests: bool) -> f64 {
        if rests { self.at_rest[index].share } else { self.trust[index].share }
    }

    /// Makes the whole at `index` of [coordinate][knot] of what the experts say and of the LSTM's variance, for a robot that
    /// moves or `rests`.
    pub fn combine(&self, index: usize, made: &mut Made<N>, variance: f64, rests: bool) {
        made.weighed = self.weights[index].dot(&Vector::from_column_slice(&made.experts));
        made.whole = made.weighed * self.share(index, rests);
        made.variance = variance * self.evidence[index].ratio;
    }

    /// Takes in the outcome of a prediction at `index` of [coordinate][knot], which was made in motion or at `rest`.
    pub fn add(&mut self, index: usize, made: &Made<N>, outcome: f64, rest: bool) {
        let mut values = made.experts.iter().chain([&outcome, &made.weighed, &made.variance]);
        if values.all(|value| value.abs() < MAX_PREDICTION) {
            let steps = self.knots[index % self.knots.len()];
            if rest {
                self.at_rest[index].add(made.weighed, outcome, steps, self.memory);
            }
            self.trust[index].add(made.weighed, outcome, steps);
            self.evidence[index].add(made, outcome, self.left[index], steps, self.memory);
            self.find_left(index);
        }
    }

    /// Finds the weights of some knots anew: least squares over all coordinates, each in units of the error that is left
    /// of it, drawn to zero; then for each coordinate, drawn to those of all. No weight is negative (Breiman, Stacked
    /// regressions, Machine Learning 24, 1996): experts that say nearly the same are not played off against each other,
    /// which would be wrong by far as soon as they differ. Then finds how far what they make of the experts is believed at the
    /// moment: when the robot stops or darts off as never before, the shorter times ahead tell at once, and what has
    /// been wrong over those is not believed over the longer ones.
    pub fn weigh(&mut self) {
        let knots = self.knots.len();
        for _ in 0..AT_ONCE.min(knots) {
            self.find_weights(self.knot);
            self.knot = (self.knot + 1) % knots;
        }
        for (trust, left) in self.trust.chunks_mut(knots).zip(self.left.chunks(knots)) {
            let mut limit = 1.0;
            for ((trust, left), steps) in trust.iter_mut().zip(left).zip(&self.knots) {
                limit = trust.limit(*steps as f64 * left, limit);
            }
        }
    }

    fn find_weights(&mut self, knot: usize) {
        let (knots, doubt) = (self.knots.len(), doubt(N) * self.knots[knot] as f64);
        let (mut products, mut outcome) = (Matrix::zeros(), Vector::zeros());
        let of_knot = (knot..self.evidence.len()).step_by(knots);
        for index in of_knot.clone() {
            products += self.evidence[index].products / self.left[index];
            outcome += self.evidence[index].outcome / self.left[index];
        }
        let common = &mut self.common[knot];
        Problem { products: &products, outcome: &outcome, doubt, centre: &Vector::zeros() }
            .solve(self.experts, common);
        for index in of_knot {
            let Evidence { products, outcome, .. } = &self.evidence[index];
            let (centre, doubt) = (&self.common[knot], doubt * self.left[index]);
            Problem { products, outcome, doubt, centre }.solve(self.experts, &mut self.weights[index]);
            self.find_left(index);
        }
    }

    fn find_left(&mut self, index: usize) {
        let steps = self.knots[index % self.knots.len()];
        self.left[index] = self.evidence[index].left(&self.weights[index], steps);
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
    /// Finds the solution from the experts that have a weight in `weights`: these solve the equations without the bound;
    /// who would be negative gives its weight up, and who would lower the sum is given one, until nobody is wrong (block
    /// principal pivoting; Júdice and Pires, Computers and Operations Research 21, 1994). Experts say nearly the same, so
    /// that going down one coordinate at a time would hardly move. Those that do not take part stay without a weight.
    fn solve(&self, experts: Experts, weights: &mut Vector<N>) {
        let Self { products, outcome, doubt, centre } = self;
        let square = **products + Matrix::from_diagonal_element(*doubt);
        let aim = *outcome + *centre * *doubt;
        let mut free: [bool; N] = std::array::from_fn(|expert| experts.has(expert) && weights[expert] > 0.0);
        let (mut fewest, mut patience) = (N + 1, PATIENCE);
        for _ in 0..MAX_EXCHANGES {
            let Some(solution) = solve_for(&free, square, aim) else { return };
            let slope = square * solution - aim;
            let wrong: [bool; N] = std::array::from_fn(|expert| match free[expert] {
                true => solution[expert] < 0.0,
                false => experts.has(expert) && slope[expert] < -TOLERANCE * aim[expert].abs(),
            });
            let count = wrong.iter().filter(|wrong| **wrong).count();
            if count == 0 {
                *weights = solution;
                return;
            }
            (fewest, patience) =
                if count < fewest { (count, PATIENCE) } else { (fewest, patience.saturating_sub(1)) };
            let last = wrong.iter().rposition(|wrong| *wrong);
            for expert in (0..N).filter(|expert| wrong[*expert]) {
                free[expert] ^= patience > 0 || Some(expert) == last;
            }
        }
    }
}

/// The x with A·x = b in the rows that are `free` and 0 in the others; none where there is no finite one.
fn solve_for<const N: usize>(
    free: &[bool; N],
    mut square: Matrix<N>,
    mut aim: Vector<N>,
) -> Option<Vector<N>> {
    for row in (0..N).filter(|row| !free[*row]) {
        square.fill_row(row, 0.0);
        square.fill_column(row, 0.0);
        square[(row, row)] = 1.0;
        aim[row] = 0.0;
    }
    square.cholesky()?.solve_mut(&mut aim);
    aim.iter().all(|weight| weight.is_finite()).then_some(aim)
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
            mixture.combine(index, made, 1.0, false);
            mixture.add(index, made, outcome, false);
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
    fn what_is_said_of_a_robot_at_rest_has_to_be_right_there_first() {
        let mut mixture = mixture(Experts::ALL);
        // in motion the first expert is right
        for time in 0..2000 {
            let experts = said(time);
            step(&mut mixture, experts, [experts[0]; 2]);
        }
        let mut at_rest = |outcome: fn(f64) -> f64, samples: usize| {
            let mut whole = [0.0; 2];
            for time in 0..samples {
                let experts = said(time);
                let mut made = Made { experts, ..Default::default() };
                mixture.combine(0, &mut made, 1.0, true);
                whole = [made.whole, experts[0]];
                mixture.add(0, &made, outcome(experts[0]), true);
                mixture.weigh();
            }
            whole
        };
        assert_eq!(at_rest(|_| 0.0, 1)[0], 0.0, "nothing is known of it");
        assert!(at_rest(|_| 0.0, 500)[0].abs() < 1e-9, "it stands");
        let [whole, expert] = at_rest(|said| said, 5000);
        assert!((whole - expert).abs() < 0.2 * expert.abs(), "{whole} {expert}: it was right");
        let mut made = Made { experts: said(3), ..Default::default() };
        mixture.combine(0, &mut made, 1.0, false);
        assert!((made.whole - said(3)[0]).abs() < 0.05, "in motion all is as it was: {made:?}");
    }

    #[test]
    fn what_was_earned_is_believed() {
        let mut all = mixture(Experts::ALL);
        assert_eq!(all.at(0, false), ([0.0; EXPERTS], 1.0));
        run(&mut all, 2000);
        for (index, [own, lstm]) in [[1.0, 0.0], [0.5, 0.5]].into_iter().enumerate() {
            let (weights, _) = all.at(index, false);
            assert!((weights[0] - own).abs() < 0.01 && (weights[LSTM] - lstm).abs() < 0.01, "{weights:?}");
        }
        assert!(all.at(0, false).1 < 0.1 && all.at(1, false).1 < 0.1, "the variance did not follow");
        all.reset();
        assert_eq!(all.at(0, false), ([0.0; EXPERTS], 1.0));
    }

    #[test]
    fn who_may_not_take_part_counts_nothing() {
        let mut linear = mixture(Experts { lstm: false, ..Experts::ALL });
        run(&mut linear, 2000);
        let (weights, _) = linear.at(1, false);
        assert!((weights[0] - 0.5).abs() < 0.05 && weights[LSTM] == 0.0, "{weights:?}");
        let mut lstm = mixture(Experts { linear: false, ..Experts::ALL });
        run(&mut lstm, 2000);
        assert!(lstm.at(0, false).0[0] == 0.0 && lstm.at(1, false).0[LSTM] > 0.4);
    }

    #[test]
    fn a_single_coordinate_is_drawn_to_all_at_first() {
        let (mut both, mut alone) = (mixture(Experts::ALL), mixture(Experts::ALL));
        for experts in (0..4).map(said) {
            step(&mut both, experts, [experts[0], 0.5 * experts[0]]);
            step(&mut alone, experts, [f64::NAN, 0.5 * experts[0]]);
        }
        let (both, alone) = (both.at(1, false).0[0], alone.at(1, false).0[0]);
        assert!(both > 1.2 * alone, "{both} {alone}");
    }

    #[test]
    fn experts_that_say_nearly_the_same_are_told_apart() {
        // all but one are wrong by a twentieth
        let mut all = mixture(Experts::ALL);
        for time in 0..600 {
            let truth = (0.7 * time as f64).sin();
            let mut experts = [truth; EXPERTS];
            for (expert, said) in experts.iter_mut().enumerate().filter(|(expert, _)| *expert != 3) {
                *said += 0.05 * ((1.1 + 0.2 * expert as f64) * time as f64).sin();
            }
            step(&mut all, experts, [truth; 2]);
        }
        assert!(all.at(0, false).0[3] > 0.9, "{:?}", all.at(0, false));
    }

    #[test]
    fn no_other_weights_that_are_not_negative_are_better() {
        let mut random = 1u64;
        let mut uniform = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as f64 / (1u64 << 31) as f64 - 0.5
        };
        for run in 0..200 {
            // of rank 3 to 9, so that most are nearly singular
            let mut products = Matrix::<EXPERTS>::zeros();
            for _ in 0..3 + run % 7 {
                let row = Vector::<EXPERTS>::from_fn(|_, _| uniform());
                products += row * row.transpose() * 100.0;
            }
            let outcome = Vector::<EXPERTS>::from_fn(|_, _| 30.0 * uniform());
            let centre = Vector::<EXPERTS>::from_fn(|_, _| uniform().max(0.0));
            let problem = Problem { products: &products, outcome: &outcome, doubt: 0.01, centre: &centre };
            let mut weights = Vector::zeros();
            problem.solve(Experts::ALL, &mut weights);
            let slope = products * weights - outcome + (weights - centre) * 0.01;
            for (weight, slope) in weights.iter().zip(&slope) {
                assert!(*weight >= 0.0 && *slope > -1e-6, "{run}: {weights} {slope}");
                assert!(*weight == 0.0 || slope.abs() < 1e-6, "{run}: {weights} {slope}");
            }
            let found = weights;
            problem.solve(Experts::ALL, &mut weights);
            assert_eq!(weights, found);
        }
    }

    #[test]
    fn who_makes_it_worse_than_constant_velocity_counts_nothing() {
        let mut all = mixture(Experts::ALL);
        run(&mut all, 200);
        for experts in (200..2000).map(said) {
            step(&mut all, experts, [-0.3 * experts[0]; 2]);
        }
        for index in 0..2 {
            let (weights, _) = all.at(index, false);
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
            all.at(0, false).0[0]
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
            assert!((weighed - experts[0]).abs() < 0.4, "{weighed} {experts:?} {:?}", all.at(0, false));
        }
    }

    #[test]
    fn what_is_wrong_over_a_short_time_is_not_believed_over_a_longer_one() {
        let mut all = Mixture::new(vec![Evidence::default(); 2], &[1, 50], 1e4, Experts::ALL);
        let mut one = |time: usize, outcomes: [Option<f64>; 2]| {
            let mut made = [Made { experts: said(time), ..Default::default() }; 2];
            for (index, (made, outcome)) in made.iter_mut().zip(outcomes).enumerate() {
                all.combine(index, made, 1.0, false);
                outcome.iter().for_each(|outcome| all.add(index, made, *outcome, false));
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
        all.add(0, &Made { weighed: f64::NAN, ..Default::default() }, 1.0, false);
        all.add(0, &Made { variance: 1.0, ..Default::default() }, 1e200, false); // whose square is more than there is
        assert_eq!(all.evidence(), before);
        assert_eq!(Evidence::from_values(&before[0].to_values()), before[0]);
    }
}
