//! A linear model of few weights whose outcomes come one by one: Bayesian regression that notices when what it has learned
//! is no longer so.

use crate::controller::belief::Belief;
use crate::robot::first_non_finite;
use crate::vector::dot;

/// Errors count for the usual one up to so many of it.
const LARGEST_ERROR: f64 = 3.0;
/// Time over which the usual error is averaged, s.
const USUAL_TIME: f64 = 3.0;
/// What is assumed of it at first, in roots of the least, and how many seconds that counts.
const FIRST_ERROR: f64 = 100.0;
const FIRST: f64 = 0.05;
/// Time over which a sign of change is averaged, s, and its threshold in variances.
const CHANGE_TIME: f64 = 0.06;
const CHANGE: f64 = 12.0;
/// Time over which errors are compared with those of former beliefs, s, and the ratio at which one is taken up again.
const RECENT_TIME: f64 = 0.03;
const FITS: f64 = 0.1;
/// Time over which it is seen what the belief explains at this moment, s.
const LATEST_TIME: f64 = 0.01;
/// Errors of former beliefs count up to so many times what fits, so that it soon shows when one fits again.
const FITTING: f64 = 4.0;
/// Beliefs kept, and the time that one must have lasted, s.
const FORMER: usize = 2;
const WORTH_KEEPING: f64 = 1.0;
/// Surprise at which former beliefs are looked at, and how far beyond the usual one their errors may be.
const DOUBTED: f64 = 3.0;
const AS_EVER: f64 = 4.0;
/// Errors teach up to so many standard deviations.
const KNOCK: f64 = 5.0;
/// Share of the prior that a change brings back.
pub const WIDENING: f64 = 0.3;
/// No second change within this time, s.
const SETTLING: f64 = 0.15;
/// Time over which it is seen whether the learned part explains more than none, s.
const EVIDENCE_TIME: f64 = 2.0;
/// Share of the prior that comes back while nothing is learned, from one start to the next.
const STALE: f64 = 0.01;
/// Rounding of a variance to single precision.
const ROUNDED: f64 = 1e-6;
/// How much less a sample tells of a joint at rest.
const STICTION_PENALTY: f64 = 100.0;

/// See the module. Outcomes are those of one joint, or of one axis of a base.
#[derive(Clone, Debug)]
pub struct Regression {
    weights: Vec<f64>,
    belief: Belief,
    /// Mean square of the error, and the least that is taken for it.
    usual: f64,
    least: f64,
    /// Time over which it was averaged, s.
    learned: f64,
    /// Mean of the squared error over its variance, of late.
    surprise: f64,
    /// Time since the last change, s.
    settled: f64,
    /// Mean squared error of late.
    recent: f64,
    /// Mean squares of the last moment of the error, and of the outcome.
    latest: [f64; 2],
    /// What was believed before the last changes, to be taken up again at once when it fits again: a payload that is set
    /// down, a push that ends (Narendra and Balakrishnan, *Adaptive control using multiple models*, 1997).
    former: [Former; FORMER],
    /// Mean squares of what the feedforward leaves unexplained, of what is left of it by what is learned without a
    /// network, and with one.
    evidence: [f64; 3],
    changes: u64,
    /// Whether the last change was to something new.
    is_lost: bool,
}

#[derive(Clone, Debug)]
struct Former {
    weights: Vec<f64>,
    belief: Belief,
    usual: f64,
    recent: f64,
}

/// What can be kept of a regression, to go on with it another day.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    pub weights: Vec<f64>,
    /// Symmetric, [row][column].
    pub covariance: Vec<f64>,
    /// Mean square of the error.
    pub usual: f64,
    /// As those of [`Regression::unexplained`], squared.
    pub evidence: [f64; 3],
}

impl Learned {
    /// Whether it can be what was believed: within the prior, of errors that are squares.
    pub fn is_belief(&self) -> bool {
        let size = self.weights.len();
        let variances = self.covariance.iter().step_by(size + 1);
        let is_variance = |variance: &f64| *variance > 0.0;
        let squares = [self.usual].into_iter().chain(self.evidence);
        self.covariance.len() == size * size
            && variances.into_iter().all(is_variance)
            && self.covariance.iter().all(|value| value.abs() <= 1.0 + ROUNDED)
            && squares.into_iter().all(|square| square.is_finite() && square >= 0.0)
            && first_non_finite(&self.weights).is_none()
    }
}

/// What one outcome told.
#[derive(Clone, Copy, Debug)]
pub struct Lesson {
    /// Whether it was a sign that what was learned is no longer so.
    pub changed: bool,
    /// The outcome less what was believed.
    pub error: f64,
    /// Variance of the outcome, beside that of the belief.
    pub noise: f64,
}

/// How outcomes are taken.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Since the last outcome, s.
    pub dt: f64,
    /// Outcomes that tell one thing.
    pub repeated: f64,
    /// Time in which what was learned is forgotten, s.
    pub memory: f64,
}

/// Moves `mean` towards `value`; the first value is the first mean.
fn average(mean: &mut f64, value: f64, share: f64) {
    *mean = if mean.is_finite() { *mean + share.min(1.0) * (value - *mean) } else { value };
}

impl Regression {
    /// Of `size` weights with a prior of N(0, 1) each; errors below the root of `least` are none.
    pub fn new(size: usize, least: f64) -> Self {
        let usual = FIRST_ERROR * FIRST_ERROR * least;
        let former = || Former {
            weights: vec![0.0; size],
            belief: Belief::new(size.max(1)),
            usual,
            recent: f64::INFINITY,
        };
        Self {
            weights: vec![0.0; size],
            belief: Belief::new(size.max(1)),
            usual,
            least,
            learned: FIRST,
            surprise: 1.0,
            recent: f64::INFINITY,
            latest: [0.0; 2],
            former: std::array::from_fn(|_| former()),
            settled: 0.0,
            evidence: [0.0; 3],
            changes: 0,
            is_lost: false,
        }
    }

    /// Becomes as `other`, of the same size.
    pub fn copy_from(&mut self, other: &Self) {
        let Self { weights, belief, former, .. } = self;
        weights.copy_from_slice(&other.weights);
        belief.copy_from(&other.belief);
        for (former, other) in former.iter_mut().zip(&other.former) {
            former.copy_from(&other.weights, &other.belief, other.usual, other.recent);
        }
        (self.usual, self.least, self.learned) = (other.usual, other.least, other.learned);
        (self.surprise, self.settled, self.recent) = (other.surprise, other.settled, other.recent);
        (self.latest, self.evidence) = (other.latest, other.evidence);
        (self.changes, self.is_lost) = (other.changes, other.is_lost);
    }

    /// Learns that `x` came with `outcome`, and how much of the time since the last one the robot rested; none when that
    /// is not finite.
    pub fn learn(&mut self, x: &[f64], outcome: f64, rests: f64, pace: Pace) -> Option<Lesson> {
        let error = self.error(x, outcome);
        if !error.is_finite() {
            return None;
        }
        let changed = self.notice(x, outcome, error, rests, pace.dt);
        self.usual = self.usual.max(self.least);
        self.belief.forget(pace.dt / pace.memory);
        let variance = self.belief.project(x);
        let noise = self.usual * pace.repeated * (1.0 + STICTION_PENALTY * rests.clamp(0.0, 1.0));
        let lesson = self.bounded(error, variance);
        self.belief.learn(&mut self.weights, lesson, noise + variance);
        self.belief.narrow(noise + variance);
        if first_non_finite(&self.weights).is_some() {
            self.weights.fill(0.0);
            self.belief.reset();
        }
        Some(Lesson { changed, error, noise })
    }

    /// What is worth keeping.
    pub fn learned(&self) -> Learned {
        Learned {
            weights: self.weights.clone(),
            covariance: self.belief.covariance().to_vec(),
            usual: self.usual,
            // nothing was seen yet where it is not finite
            evidence: self.evidence.map(|square| if square.is_finite() { square } else { 0.0 }),
        }
    }

    /// Goes on with what was `learned`, a little less sure of it, for the robot may have changed in between. One of another
    /// size is left alone.
    pub fn restore(&mut self, learned: &Learned) {
        if learned.weights.len() != self.weights.len() || !learned.is_belief() {
            return;
        }
        self.weights.copy_from_slice(&learned.weights);
        self.belief.set_covariance(&learned.covariance);
        self.belief.forget(STALE);
        self.usual = learned.usual.max(self.least);
        self.learned = USUAL_TIME;
        self.evidence = learned.evidence;
        (self.recent, self.latest) = (f64::INFINITY, [0.0; 2]);
        self.begin(false);
    }

    /// Looks whether `outcome` is what was to be expected, and learns nothing; what was believed before and fits again is
    /// taken up.
    pub fn watch(&mut self, x: &[f64], outcome: f64, rests: f64, pace: Pace) {
        self.look(x, outcome, self.error(x, outcome), rests, pace.dt);
        if self.settled > SETTLING {
            self.go_back();
        }
    }

    /// The outcome less what is believed.
    pub fn error(&self, x: &[f64], outcome: f64) -> f64 {
        outcome - dot(&self.weights, x)
    }

    /// The square of an error over its variance.
    fn surprising(&self, x: &[f64], error: f64, rests: f64) -> f64 {
        let penalty = 1.0 + STICTION_PENALTY * rests.clamp(0.0, 1.0);
        error * error / (penalty * (self.usual + self.belief.variance(x)))
    }

    /// What is far beyond the usual is no noise, but it may be a knock.
    pub fn bounded(&self, error: f64, variance: f64) -> f64 {
        let largest = KNOCK * (self.usual + variance).sqrt();
        error.clamp(-largest, largest)
    }

    /// Root mean squares of the three kinds of error of late.
    pub fn unexplained(&self) -> [f64; 3] {
        self.evidence.map(|square| square.max(0.0).sqrt())
    }

    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether errors of late are far beyond what is usual.
    pub fn is_surprised(&self) -> bool {
        self.surprise > DOUBTED
    }

    /// Whether what is believed has been learned since a change to something new.
    fn is_new(&self) -> bool {
        self.is_lost && !self.is_settled()
    }

    /// Whether there was no change of late.
    pub fn is_settled(&self) -> bool {
        self.settled > WORTH_KEEPING
    }

    /// The variance of a prediction for `x`.
    #[cfg(test)]
    pub fn variance(&self, x: &[f64]) -> f64 {
        self.belief.variance(x)
    }

    #[cfg(test)]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Averages what tells whether the robot is what it is believed to be, or was before.
    fn look(&mut self, x: &[f64], outcome: f64, error: f64, rests: f64, dt: f64) {
        self.settled += dt;
        let square = error * error;
        let surprising = self.surprising(x, error, rests);
        average(&mut self.surprise, surprising, dt / CHANGE_TIME);
        average(&mut self.recent, square, dt / RECENT_TIME);
        for (mean, value) in self.latest.iter_mut().zip([error, outcome]) {
            average(mean, value * value, dt / LATEST_TIME);
        }
        for former in &mut self.former {
            let error = outcome - dot(&former.weights, x);
            let largest = FITTING * AS_EVER * former.usual;
            average(&mut former.recent, (error * error).min(largest), dt / RECENT_TIME);
        }
    }

    /// Looks at an error for a sign that the robot is no longer what it was, widens what is believed if so, or goes back
    /// to an earlier belief that fits again; averages the usual error. True for a change.
    fn notice(&mut self, x: &[f64], outcome: f64, error: f64, rests: f64, dt: f64) -> bool {
        self.look(x, outcome, error, rests, dt);
        if self.settled <= SETTLING || self.go_back() {
            return false;
        }
        if self.surprise > CHANGE {
            self.change();
            return true;
        }
        if rests < 0.1 {
            self.learned += dt;
            let bounded = (error * error).min(LARGEST_ERROR * LARGEST_ERROR * self.usual);
            self.usual += dt / self.learned.min(USUAL_TIME) * (bounded - self.usual);
        }
        false
    }

    fn change(&mut self) {
        self.keep();
        self.belief.forget(WIDENING);
        self.begin(true);
        self.changes += 1;
    }

    /// Goes back to what was believed before a change if that explains the last outcomes as well as ever: much better
    /// than the present belief, or nearly as well as one that is still new.
    fn go_back(&mut self) -> bool {
        let is_new = self.is_new();
        if !(is_new || self.is_surprised()) {
            return false;
        }
        let (factor, usual) = (if is_new { 2.0 } else { FITS }, self.usual);
        let fits = |f: &Former| f.recent < factor * self.recent && f.recent < AS_EVER * f.usual.min(usual);
        let Some(index) = self.former.iter().position(fits) else { return false };
        // the present belief takes the place of the one that is taken up
        if self.is_settled() {
            self.former[index].swap_with(&mut self.weights, &mut self.belief, &mut self.recent);
        } else {
            self.former[index].copy_to(&mut self.weights, &mut self.belief, &mut self.recent);
        }
        self.usual = usual.min(self.former[index].usual);
        self.begin(false);
        true
    }

    fn begin(&mut self, is_lost: bool) {
        (self.surprise, self.settled, self.is_lost) = (1.0, 0.0, is_lost);
    }

    /// Keeps the present belief in the place of the oldest, if it was settled.
    fn keep(&mut self) {
        if self.is_settled() {
            self.former.rotate_right(1);
            self.former[0].copy_from(&self.weights, &self.belief, self.usual, self.recent);
        }
    }

    /// The correction for the motion `x`, as far as it is to be trusted: by what it is beside its own uncertainty,
    /// m²/(m² + σ²), and by [`Self::trust`].
    pub fn correction(&self, x: &[f64]) -> f64 {
        let mean = dot(&self.weights, x);
        let square = mean * mean;
        if square > 0.0 { self.trust() * mean * square / (square + self.belief.variance(x)) } else { 0.0 }
    }

    /// About a change, what is believed counts by what it explains at this moment: all from a half on. So a push that
    /// ends leaves no correction behind until it is noticed.
    pub fn trust(&self) -> f64 {
        if !(self.is_surprised() || self.is_new()) {
            return 1.0;
        }
        let [error, outcome] = self.latest;
        (2.0 * (1.0 - error / outcome.max(self.usual))).clamp(0.0, 1.0)
    }

    /// Averages the squares of the three kinds of `unexplained` command.
    pub fn weigh(&mut self, unexplained: [f64; 3], dt: f64) {
        for (mean, value) in self.evidence.iter_mut().zip(unexplained) {
            average(mean, value * value, dt / EVIDENCE_TIME);
        }
    }

    /// The shares that have earned their place by what they explain of what is left without them. What is linear and has
    /// few weights: all from a half on. A network, which can learn by heart: all from a fifth on, none below a tenth.
    pub fn shares(&self) -> [f64; 2] {
        let [feedforward, rigid_body, network] = self.evidence;
        let explained = |before: f64, after: f64| 1.0 - after / before.max(self.least);
        let of_network = explained(rigid_body, network);
        [2.0 * explained(feedforward, rigid_body), 10.0 * (of_network - 0.1)]
            .map(|share| share.clamp(0.0, 1.0))
    }
}

impl Former {
    fn copy_from(&mut self, weights: &[f64], belief: &Belief, usual: f64, recent: f64) {
        self.weights.copy_from_slice(weights);
        self.belief.copy_from(belief);
        (self.usual, self.recent) = (usual, recent);
    }

    fn copy_to(&self, weights: &mut [f64], belief: &mut Belief, recent: &mut f64) {
        weights.copy_from_slice(&self.weights);
        belief.copy_from(&self.belief);
        *recent = self.recent;
    }

    fn swap_with(&mut self, weights: &mut Vec<f64>, belief: &mut Belief, recent: &mut f64) {
        std::mem::swap(&mut self.weights, weights);
        std::mem::swap(&mut self.belief, belief);
        std::mem::swap(&mut self.recent, recent);
    }
}
