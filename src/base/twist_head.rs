//! What a base makes of the twists that it is sent, learned in the tick: a correction of the twist that is wanted.
//!
//! In hindsight the twist that was sent is the right one for the motion that came of it. It is taken for linear in that
//! motion, now and for a while after: both axes' velocities there are wheels of another radius than described, a track of
//! another width, motors that lag and commands that act late, whatever mixture of them (an inverse model with a finite
//! impulse response; Widrow and Walach, *Adaptive inverse control*, 1996). The same taps of the reference, which is known
//! ahead, give the twist to send. Sent and achieved twists pass the same low-pass before, so that noise averages out.

use super::correction::{TwistCorrection, WantedTwist};
use super::description::possible;
use super::twist::Twist;
use super::twist_model::{TwistFormat, TwistModel};
use crate::controller::ResidualModel;
use crate::controller::features::{FEATURES_PER_JOINT, write_features};
use crate::controller::head::{Cadence, HeadConfig, LowPass};
use crate::controller::regression::{Lesson, Pace, Regression};
use crate::delay_line::DelayLine;
use crate::error::{Error, Result};
use crate::robot::first_non_finite;
use crate::state::State;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TwistHeadConfig {
    /// Learn in the tick.
    pub enabled: bool,
    /// Corner of the low-pass on twists, Hz.
    pub bandwidth: f64,
    /// How far ahead the motion counts, s: longer than motors lag and twists act late.
    pub preview: f64,
    /// Time in which what was learned without a sign of change is forgotten, s.
    pub memory: f64,
}

impl Default for TwistHeadConfig {
    fn default() -> Self {
        Self { enabled: false, bandwidth: 3.0, preview: 0.4, memory: 1000.0 }
    }
}

impl TwistHeadConfig {
    pub fn check(&self, update_rate: f64) -> Result<()> {
        let Self { bandwidth, memory, .. } = *self;
        HeadConfig { bandwidth, memory, ..HeadConfig::default() }.validate(update_rate)?;
        if !(0.0..=LONGEST_PREVIEW).contains(&self.preview) {
            let expected = format!("0 to {LONGEST_PREVIEW} s");
            return Err(Error::mismatch("head.preview", self.preview, expected));
        }
        Ok(())
    }
}

const LONGEST_PREVIEW: f64 = 2.0;
/// Taps after the first.
const TAPS: usize = 6;
/// Least usual error, as a share of an axis' greatest velocity.
const LEAST_ERROR: f64 = 1e-3;
/// Bandwidth for which the times of [`Regression`] are, Hz.
const USUAL_BANDWIDTH: f64 = 8.0;
/// How far a base is taken to be from its description, as standard deviations: shares of the velocity, and of what it
/// changes by until a tap; of the greatest velocity lost in friction or a dead band; and an offset.
const GAIN: f64 = 0.2;
const CHANGE: f64 = 1.0;
const OTHER_CHANGE: f64 = 0.2;
const FRICTION: f64 = 0.02;
const OFFSET: f64 = 0.005;
/// Shares of the greatest velocity below which friction changes its sign smoothly, and an axis rests.
const DIRECTION: f64 = 0.05;
const REST: f64 = 0.01;
/// Time in which trust comes back after a surprise, s.
const TRUST_TIME: f64 = 1.0;
/// Time over which it is seen what the belief explains while the base surprises, s.
const LATEST_TIME: f64 = 0.3;
/// What surprises for longer is no slip but another base, s; a base that slips now and then does not for this share of
/// the time.
const PATIENCE: f64 = 3.0;
const SELDOM: f64 = 0.1;
/// Then the candidates are believed if they leave at most this share of the mean square that the belief leaves, over this
/// time, s.
const BETTER: f64 = 0.5;
const COMPARED_TIME: f64 = 3.0;

/// See the module. Axes that the base cannot move along are left out.
pub struct TwistHead {
    config: TwistHeadConfig,
    format: TwistFormat,
    rate: f64,
    /// Greatest velocity of each axis; 0: there is none.
    scale: Twist,
    axes: [Regression; 3],
    /// What would be believed had the base become another when it first surprised: learned meanwhile, so that it is at hand
    /// as soon as it is clear that the base does not slip.
    candidates: [Regression; 3],
    filter: LowPass,
    raw: [f64; 7],
    /// Sent twist, achieved twist, share of rest.
    filtered: [f64; 7],
    /// Filtered, the newest first.
    history: DelayLine,
    /// Ticks from tap to tap.
    stride: usize,
    regressors: [f64; REGRESSORS],
    /// Inputs of the network.
    features: Vec<f32>,
    /// Of the last correction, without the network's part.
    known: Twist,
    last: Twist,
    has_last: bool,
    cadence: Cadence,
    /// Time since anything disturbed the twists, s.
    undisturbed: f64,
    /// Share of what is known that is used: while the base does what cannot be, as one does that slips, by what is explained.
    trust: f64,
    /// Mean squares of error and outcome of late, over the axes.
    latest: [f64; 2],
    /// How long it has been doing so, and [`SELDOM`] so much less for the time that it has not, s.
    surprised: f64,
    /// Mean squares of the errors of belief and candidates since it began, over the axes.
    compared: [f64; 2],
    frozen: bool,
    /// Of the last model, and of the one that it began with.
    revision: u64,
    parent: Option<u64>,
}

/// Of an axis: its own taps, the other axes' taps, directions, offset.
pub const REGRESSORS: usize = 3 * (TAPS + 1) + 3 + 1;

impl TwistHead {
    /// For a base as `format` says. An axis whose greatest velocity is 0 it does not have.
    pub fn new(config: TwistHeadConfig, format: TwistFormat) -> Self {
        let rate = format.rate;
        let stride = ((config.preview / TAPS as f64 * rate).round() as usize).max(1);
        Self {
            axes: std::array::from_fn(|_| Regression::new(REGRESSORS, LEAST_ERROR * LEAST_ERROR)),
            candidates: std::array::from_fn(|_| Regression::new(REGRESSORS, LEAST_ERROR * LEAST_ERROR)),
            filter: LowPass::new(config.bandwidth, rate, 7),
            raw: [0.0; 7],
            filtered: [0.0; 7],
            history: DelayLine::new(7, stride * TAPS + 1),
            stride,
            regressors: [0.0; REGRESSORS],
            features: vec![0.0; 3 * FEATURES_PER_JOINT],
            known: [0.0; 3],
            last: [0.0; 3],
            has_last: false,
            cadence: Cadence::new(rate),
            undisturbed: 0.0,
            trust: 1.0,
            latest: [0.0; 2],
            surprised: 0.0,
            compared: [0.0; 2],
            frozen: false,
            revision: 0,
            parent: None,
            scale: format.meaning.greatest,
            format,
            config,
            rate,
        }
    }

    /// The shares that the correction of each axis has earned without a network, and the network's, 0 to 1.
    pub fn shares(&self) -> [[f64; 2]; 3] {
        [0, 1, 2].map(|axis| self.axes[axis].shares())
    }

    /// How often the base was noticed to be no longer what it was.
    pub fn changes(&self) -> u64 {
        self.axes.iter().map(Regression::changes).sum()
    }

    fn interrupt(&mut self) {
        self.has_last = false;
        self.undisturbed = 0.0;
        self.filter.reset();
        self.history.clear();
    }

    /// Takes the candidates for what is believed, if the base has surprised for long enough and they say better what it does.
    fn doubt(&mut self, surprised: bool, dt: f64) {
        if !surprised {
            self.surprised = (self.surprised - SELDOM * dt).max(0.0);
            return;
        }
        if self.surprised == 0.0 {
            let both = self.candidates.iter_mut().zip(&self.axes);
            both.for_each(|(candidate, axis)| candidate.copy_from(axis));
            self.compared = [0.0; 2];
        }
        self.surprised += dt;
        let [believed, tried] = self.compared;
        if self.surprised > PATIENCE && tried < BETTER * believed {
            std::mem::swap(&mut self.axes, &mut self.candidates);
            self.surprised = 0.0;
        }
    }

    /// The share of the outcomes of late that what is believed explains: all from a half on.
    fn explained(&self) -> f64 {
        let [error, outcome] = self.latest;
        (2.0 * (1.0 - error / outcome.max(LEAST_ERROR * LEAST_ERROR))).clamp(0.0, 1.0)
    }

    /// Learns from what is in the history, or only looks at it.
    fn learn(&mut self, dt: f64, only_look: bool, mut network: Option<&mut ResidualModel>) {
        let age = self.stride * TAPS;
        let [Some(first), Some(before), Some(after)] =
            [age, age + 1, age - 1].map(|age| self.history.ago(age))
        else {
            return;
        };
        let (mut sent, mut velocity) = ([0.0; 3], [0.0; 3]);
        sent.copy_from_slice(&first[..3]);
        velocity.copy_from_slice(&first[3..6]);
        let acceleration = [3, 4, 5].map(|of| 0.5 * self.rate * (after[of] - before[of]));
        let rests = first[6];
        let pace = Pace {
            dt: dt * self.config.bandwidth / USUAL_BANDWIDTH,
            repeated: (self.rate / (2.0 * self.config.bandwidth)).max(1.0),
            memory: self.config.memory,
        };
        let (mut of_network, mut shared, mut totals) = ([0.0; 3], 0.0, [f64::INFINITY; 3]);
        if let Some(network) = network.as_mut().filter(|_| !only_look) {
            let [velocity, acceleration] =
                [velocity, acceleration].map(|twist| possible(&self.scale, &twist));
            write_features(&[0.0; 3], &velocity, &acceleration, &mut self.features);
            network.evaluate(&self.features, &mut of_network);
            network.forget(pace.dt / pace.memory);
            shared = network.project();
        }
        let (mut squares, mut compared) = ([0.0; 2], [0.0; 2]);
        let doubts = self.surprised > 0.0 && !self.frozen;
        for axis in 0..3 {
            let scale = self.scale[axis];
            if scale == 0.0 {
                continue;
            }
            let (history, stride) = (&self.history, self.stride);
            let tap =
                |k: usize, of: usize| history.ago(stride * (TAPS - k)).map_or(0.0, |twists| twists[3 + of]);
            write_regressors(axis, &self.scale, tap, &mut self.regressors);
            let outcome = (sent[axis] - velocity[axis]) / self.scale[axis];
            let regression = &mut self.axes[axis];
            let error = regression.error(&self.regressors, outcome);
            squares[0] += error * error;
            squares[1] += outcome * outcome;
            if doubts {
                let candidate = &mut self.candidates[axis];
                if let Some(lesson) = candidate.learn(&self.regressors, outcome, rests, pace) {
                    candidate.weigh([outcome, lesson.error, lesson.error], pace.dt);
                    compared[0] += error * error;
                    compared[1] += lesson.error * lesson.error;
                }
            }
            if only_look {
                regression.watch(&self.regressors, outcome, rests, pace);
                continue;
            }
            let Some(Lesson { error, noise, .. }) = regression.learn(&self.regressors, outcome, rests, pace)
            else {
                continue;
            };
            let mut left = error;
            // the network learns what that cannot say
            if let Some(network) = &mut network
                && of_network[axis].is_finite()
            {
                left -= of_network[axis] / scale;
                let variance = network.variance_of(axis, shared) / scale.powi(2);
                totals[axis] = (noise + variance) * scale.powi(2);
                network.learn(axis, regression.bounded(left, variance) * scale, totals[axis]);
            }
            regression.weigh([outcome, error, left], pace.dt);
        }
        let average = |means: &mut [f64; 2], values: [f64; 2], time: f64| {
            let share = (dt / time).min(1.0);
            means.iter_mut().zip(values).for_each(|(mean, value)| *mean += share * (value - *mean));
        };
        average(&mut self.latest, squares, LATEST_TIME);
        average(&mut self.compared, compared, COMPARED_TIME);
        if let Some(network) = network.filter(|_| !only_look) {
            network.narrow(&totals);
        }
    }
}

/// Writes the regressors of `axis` for the velocities `tap(k, axis)`, each scaled to a prior of N(0, 1) on its weight.
fn write_regressors(
    axis: usize,
    scale: &Twist,
    tap: impl Fn(usize, usize) -> f64,
    out: &mut [f64; REGRESSORS],
) {
    let share = |k: usize, of: usize| if scale[of] > 0.0 { tap(k, of) / scale[of] } else { 0.0 };
    let mut terms = out.iter_mut();
    let mut put = |value: f64| {
        if let Some(term) = terms.next() {
            *term = value;
        }
    };
    for of in 0..3 {
        let now = share(0, of);
        let change = if of == axis { CHANGE } else { OTHER_CHANGE };
        put(GAIN * now);
        for k in 1..=TAPS {
            put(change * (share(k, of) - now));
        }
        put(FRICTION * (now / DIRECTION).tanh());
    }
    put(OFFSET);
}

impl TwistCorrection for TwistHead {
    fn observe(
        &mut self,
        achieved: &State,
        sent: &Twist,
        dt: f64,
        undisturbed: bool,
        network: Option<&mut ResidualModel>,
    ) {
        let mut velocity = [0.0; 3];
        if achieved.velocity.len() != 3 {
            return self.interrupt();
        }
        velocity.copy_from_slice(&achieved.velocity);
        let last = std::mem::replace(&mut self.last, velocity);
        if !std::mem::replace(&mut self.has_last, true) || !self.cadence.is_kept(dt) {
            self.interrupt();
            self.has_last = true;
            return;
        }
        let mut rests = 1.0;
        for axis in 0..3 {
            // the twist acted between the two measurements
            let mean = 0.5 * (velocity[axis] + last[axis]);
            self.raw[axis] = sent[axis];
            self.raw[3 + axis] = mean;
            if mean.abs() > REST * self.scale[axis] {
                rests = 0.0;
            }
        }
        self.raw[6] = rests;
        self.filter.apply(&self.raw, &mut self.filtered);
        if first_non_finite(&self.filtered).is_some() {
            return self.interrupt();
        }
        self.history.push(&self.filtered);
        self.undisturbed = if undisturbed { self.undisturbed + dt } else { 0.0 };
        if self.learns() {
            let surprised = self.axes.iter().any(Regression::is_surprised);
            let most = if surprised { self.explained() } else { 1.0 };
            self.trust = (self.trust + dt / TRUST_TIME).min(most);
            if !self.frozen {
                self.doubt(surprised, dt);
            }
            self.learn(dt, self.frozen || surprised, network);
        }
    }

    fn correct(&mut self, wanted: &dyn Fn(f64) -> WantedTwist, out: &mut Twist) {
        let step = self.stride as f64 / self.rate;
        // a twist acts for a period from now on
        let taps: [Twist; TAPS + 1] =
            std::array::from_fn(|k| wanted(0.5 / self.rate + k as f64 * step).velocity);
        *out = possible(&self.scale, out);
        for (axis, out) in out.iter_mut().enumerate().filter(|(axis, _)| self.scale[*axis] > 0.0) {
            write_regressors(axis, &self.scale, |k, of| taps[k][of], &mut self.regressors);
            let [share, of_network] = self.axes[axis].shares();
            self.known[axis] = self.scale[axis] * self.axes[axis].correction(&self.regressors);
            *out = self.trust * (share * self.known[axis] + of_network * *out);
        }
    }

    fn known(&self) -> Twist {
        self.known
    }

    fn is_settled(&self) -> bool {
        let mut axes = self.axes.iter().zip(&self.scale).filter(|(_, scale)| **scale > 0.0);
        self.trust >= 1.0 && axes.all(|(axis, _)| axis.is_settled())
    }

    /// Nothing disturbed the measurements for as long as it looks back.
    fn learns(&self) -> bool {
        let looked_back = (self.stride * TAPS) as f64 / self.rate + 0.5 / self.config.bandwidth;
        self.undisturbed > looked_back
    }

    fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen;
    }

    fn model(&mut self) -> Option<Result<TwistModel>> {
        self.revision += 1;
        let axes = [0, 1, 2].map(|axis| self.axes[axis].learned());
        Some(TwistModel::new(&self.format, axes, self.revision, self.parent))
    }

    fn restore(&mut self, model: &TwistModel) {
        for (axis, learned) in self.axes.iter_mut().zip(&model.axes) {
            axis.restore(learned);
        }
        (self.trust, self.surprised) = (1.0, 0.0);
        (self.revision, self.parent) = (model.card.revision, Some(model.card.revision));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BaseControllerConfig, BaseDescription, Drive};
    use crate::controller::regression::Learned;
    use crate::nn::checkpoint::{Card, ModelKind, Tensors};
    use crate::nn::mlp::MlpConfig;
    use crate::state::Stamp;
    use candle_core::{Device, Tensor};

    const RATE: f64 = 50.0;
    const LAG: f64 = 0.2;

    fn format() -> TwistFormat {
        let mut config = BaseControllerConfig { update_rate: RATE, ..Default::default() };
        (config.limits.max_velocity[0], config.limits.max_velocity[2]) = (0.8, 2.5);
        TwistFormat::of(&config)
    }

    /// A base whose left wheel is smaller than its driver believes, with motors that lag.
    struct Bad {
        head: TwistHead,
        lag: f64,
        wanted: fn(f64) -> WantedTwist,
        velocity: Twist,
        ticks: u64,
    }

    impl Bad {
        fn new() -> Self {
            let config = TwistHeadConfig { enabled: true, ..Default::default() };
            let head = TwistHead::new(config, format());
            Self { head, lag: LAG, wanted: Self::wanted, velocity: [0.0; 3], ticks: 0 }
        }

        fn wanted(time: f64) -> WantedTwist {
            let velocity = [0.4 + 0.1 * (0.7 * time).sin(), 0.0, 0.8 * (1.1 * time).sin()];
            WantedTwist { velocity, ..Default::default() }
        }

        /// Straight ahead for two seconds, then a bend for two.
        fn bends(time: f64) -> WantedTwist {
            let bend = (time.rem_euclid(4.0) - 2.0).max(0.0);
            let side = if time.rem_euclid(8.0) < 4.0 { 1.0 } else { -1.0 };
            let turn = side * (0.5 * std::f64::consts::PI * bend).sin().powi(2);
            WantedTwist { velocity: [0.4, 0.0, turn], ..Default::default() }
        }

        /// Drives for `seconds`; root mean square of what the turn lacks, rad/s. `grip` is what of a twist arrives.
        fn drive(&mut self, seconds: f64, learn: bool, grip: f64) -> f64 {
            let ticks = (seconds * RATE) as u64;
            let mut sum = 0.0;
            for _ in 0..ticks {
                let now = self.ticks as f64 / RATE;
                let state = State {
                    stamp: Stamp((now * 1e9) as i64),
                    position: vec![0.0; 3],
                    velocity: self.velocity.to_vec(),
                };
                let mut correction = [0.0; 3];
                self.head.correct(&|ahead| (self.wanted)(now + ahead), &mut correction);
                let wanted = (self.wanted)(now).velocity;
                let share = if learn { 1.0 } else { 0.0 };
                let sent = [0, 1, 2].map(|axis| wanted[axis] + share * correction[axis]);
                sum += (wanted[2] - self.velocity[2]).powi(2);
                let (left, right) = (0.9 * (sent[0] - 0.2 * sent[2]), sent[0] + 0.2 * sent[2]);
                let target = [0.5 * (left + right), 0.0, (right - left) / 0.4].map(|target| grip * target);
                let approach = 1.0 - (-1.0 / (RATE * self.lag)).exp();
                self.velocity = [0, 1, 2]
                    .map(|axis| self.velocity[axis] + approach * (target[axis] - self.velocity[axis]));
                let achieved = State { velocity: self.velocity.to_vec(), ..state };
                self.head.observe(&achieved, &sent, 1.0 / RATE, true, None);
                self.ticks += 1;
            }
            (sum / ticks as f64).sqrt()
        }
    }

    #[test]
    fn wheels_and_lag_are_learned_within_seconds() {
        let plain = Bad::new().drive(20.0, false, 1.0);
        let mut base = Bad::new();
        base.drive(10.0, true, 1.0);
        let learned = base.drive(10.0, true, 1.0);
        assert!(learned < 0.2 * plain, "{learned} of {plain} rad/s");
        assert!(base.head.learns() && base.head.shares()[2][0] > 0.9);
    }

    /// A network whose units bend at speeds of turning from 0.2 to 1.4 rad/s, with no output yet.
    fn network() -> ResidualModel {
        let robot =
            BaseDescription { drive: Drive::Differential, greatest: format().meaning.greatest }.robot();
        let (inputs, units) = (3 * FEATURES_PER_JOINT, 8);
        let tensor =
            |values: Vec<f32>, shape: &[usize]| Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        // the velocities are the second three features
        let of_turn = |entry: usize| if entry % inputs == 5 { 4.0 } else { 0.0 };
        let bend = |unit: usize| {
            4.0 * (0.2 + 0.4 * (unit / 2) as f32) * if unit.is_multiple_of(2) { 1.0 } else { -1.0 }
        };
        let scale = robot.output_scale().into_iter().map(|scale| scale as f32).collect();
        let tensors = Tensors::from([
            ("layers.0.weight".into(), tensor((0..units * inputs).map(of_turn).collect(), &[units, inputs])),
            ("layers.0.bias".into(), tensor((0..units).map(bend).collect(), &[units])),
            ("layers.1.weight".into(), tensor(vec![0.0; 3 * units], &[3, units])),
            ("layers.1.bias".into(), tensor(vec![0.0; 3], &[3])),
            ("output_scale".into(), tensor(scale, &[3])),
        ]);
        let config = MlpConfig { inputs, hidden: vec![units], outputs: 3 };
        let card = Card::new(ModelKind::Controller, &robot, 1.0 / RATE, &config).unwrap();
        ResidualModel::from_checkpoint(card, &tensors, "test", &robot).unwrap()
    }

    #[test]
    fn the_last_layer_of_a_network_learns_what_is_not_linear_and_earns_its_share() {
        // loses speed in turns to either side
        let achieved = |time: f64| [0.4, 0.0, 0.8 * (1.1 * time).sin()];
        let sent = |time: f64| {
            let [x, _, turn] = achieved(time);
            [x + 0.15 * turn * turn, 0.0, turn]
        };
        let left = |mut network: Option<ResidualModel>| {
            let mut head = TwistHead::new(TwistHeadConfig::default(), format());
            let (mut sum, mut features) = (0.0, vec![0.0; 3 * FEATURES_PER_JOINT]);
            for tick in 0..4000 {
                let now = f64::from(tick) / RATE;
                let state = State { velocity: achieved(now).to_vec(), ..State::zeros(3) };
                // a twist acts for a period
                head.observe(&state, &sent(now - 0.5 / RATE), 1.0 / RATE, true, network.as_mut());
                let acting = now + 0.5 / RATE;
                let mut out = [0.0; 3];
                if let Some(network) = &mut network {
                    let acceleration = [0.0, 0.0, 0.88 * (1.1 * acting).cos()];
                    write_features(&[0.0; 3], &achieved(acting), &acceleration, &mut features);
                    network.evaluate(&features, &mut out);
                }
                let wanted =
                    |ahead: f64| WantedTwist { velocity: achieved(now + ahead), acceleration: [0.0; 3] };
                head.correct(&wanted, &mut out);
                if tick >= 3000 {
                    sum += (achieved(acting)[0] + out[0] - sent(acting)[0]).powi(2);
                }
            }
            (f64::sqrt(sum / 1000.0), head.shares()[0][1])
        };
        let ((with, share), (without, none)) = (left(Some(network())), left(None));
        assert!(with < 0.5 * without && share > 0.5 && none == 0.0, "{with} {without} m/s, {share}");
    }

    #[test]
    fn a_slip_is_not_learned_and_what_was_known_is_used_again() {
        let mut base = Bad::new();
        base.drive(20.0, true, 1.0);
        let before = base.drive(10.0, true, 1.0);
        base.drive(2.0, true, 0.3);
        assert!(base.head.trust < 0.05, "the correction is off while it slips: {}", base.head.trust);
        base.drive(3.0, true, 1.0);
        let after = base.drive(10.0, true, 1.0);
        assert!(after < 1.5 * before, "{after} {before}");
    }

    #[test]
    fn a_base_that_has_become_another_is_learned_though_it_shows_in_bends_alone() {
        let bending = || Bad { wanted: Bad::bends, ..Bad::new() };
        let mut base = bending();
        base.drive(40.0, true, 1.0);
        base.lag = 3.0 * LAG;
        base.drive(12.0, true, 1.0);
        let learned = base.drive(16.0, true, 1.0);
        let mut plain = Bad { lag: 3.0 * LAG, ..bending() };
        plain.drive(4.0, false, 1.0);
        let plain = plain.drive(16.0, false, 1.0);
        assert!(learned < 0.25 * plain, "{learned} of {plain} rad/s");
    }

    #[test]
    fn what_was_learned_is_kept_and_known_again_at_once() {
        let mut base = Bad::new();
        base.drive(20.0, true, 1.0);
        let model = base.head.model().unwrap().unwrap();
        assert_eq!((model.card.revision, model.card.parent), (1, None));
        let bytes = model.to_bytes().unwrap();
        assert_eq!(bytes, TwistModel::from_bytes(&bytes, "file", &format()).unwrap().to_bytes().unwrap());
        let first_seconds = |model: Option<&TwistModel>| {
            let mut base = Bad::new();
            model.into_iter().for_each(|model| base.head.restore(model));
            base.drive(1.0, true, 1.0);
            base.drive(2.0, true, 1.0)
        };
        let model = TwistModel::from_bytes(&bytes, "file", &format()).unwrap();
        let (with, without) = (first_seconds(Some(&model)), first_seconds(None));
        assert!(with < 0.2 * without, "{with} {without}");
        base.head.restore(&model);
        let next = base.head.model().unwrap().unwrap().card;
        assert_eq!((next.revision, next.parent), (2, Some(1)));
    }

    #[test]
    fn a_model_of_another_base_is_refused() {
        let bytes = Bad::new().head.model().unwrap().unwrap().to_bytes().unwrap();
        let refusal = |format: TwistFormat| {
            TwistModel::from_bytes(&bytes, "file", &format).map(drop).unwrap_err().to_string()
        };
        assert!(refusal(TwistFormat { rate: 20.0, ..format() }).contains("sampling time"));
        let mut other = format();
        other.meaning.drive = Drive::Ackermann;
        assert!(refusal(other).contains("Ackermann"));
        let mut other = format();
        other.meaning.greatest[2] = 1.0;
        assert!(refusal(other).contains("greatest"));
        assert!(TwistModel::from_bytes(&bytes[..100], "file", &format()).is_err());
        let mut broken = TwistModel::from_bytes(&bytes, "file", &format()).unwrap();
        broken.axes[2].covariance[0] = -1.0;
        let bytes = broken.to_bytes().unwrap();
        let error = TwistModel::from_bytes(&bytes, "file", &format()).map(drop).unwrap_err().to_string();
        assert!(error.contains("theta"), "{error}");
    }

    #[test]
    fn a_frozen_head_uses_what_it_knows_and_learns_nothing() {
        let mut base = Bad::new();
        base.drive(20.0, true, 1.0);
        base.head.freeze(true);
        let before = base.head.model().unwrap().unwrap().axes;
        let frozen = base.drive(10.0, true, 1.0);
        let weights = |axes: [Learned; 3]| axes.map(|axis| axis.weights);
        assert_eq!(weights(base.head.model().unwrap().unwrap().axes), weights(before));
        assert!(frozen < 0.3 * Bad::new().drive(10.0, false, 1.0), "{frozen}");
    }

    #[test]
    fn nonsense_teaches_nothing_and_settings_are_checked() {
        let mut base = Bad::new();
        base.drive(10.0, true, 1.0);
        let broken = State { velocity: vec![f64::NAN; 3], ..State::zeros(3) };
        base.head.observe(&broken, &[0.1; 3], 1.0 / RATE, true, None);
        assert!(!base.head.learns());
        let mut out = [0.0; 3];
        base.head.correct(&|ahead| Bad::wanted(ahead), &mut out);
        assert!(out.iter().all(|value| value.is_finite()));
        let refused = |config: TwistHeadConfig| config.check(RATE).is_err();
        assert!(refused(TwistHeadConfig { bandwidth: 20.0, ..Default::default() }));
        assert!(refused(TwistHeadConfig { preview: 3.0, ..Default::default() }));
        assert!(refused(TwistHeadConfig { memory: f64::NAN, ..Default::default() }));
        assert!(!refused(TwistHeadConfig::default()));
    }
}
