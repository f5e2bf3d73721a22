//! A generalized-momentum disturbance observer: what pushes the robot that its model does not know (De Luca,
//! Albu-Schäffer, Haddadin, Hirzinger, *Collision detection and safe reaction with the DLR-III lightweight manipulator
//! arm*, IROS 2006; Haddadin, De Luca, Albu-Schäffer, *Robot collisions: a survey*, IEEE T-RO 2017).
//!
//! ṗ = τ + C(q, v)ᵀ v − g(q) − τ_f + d with p = M(q) v. Between two measurements the change of p less what the model
//! explains of it is the impulse of the disturbance; a first-order low-pass of the given bandwidth makes d̂ of it. No
//! acceleration is measured.
//!
//! Where drives take velocities it is the observer of Ohnishi (*A new servo method in mechatronics*, Trans. JSEE 1987): the drive
//! is taken for τ v' = u − v + d with the lag τ that is known, which is the same with p = τ v and the bias −v.
//!
//! An estimate that does not stand out of the noise of the velocities is not fed back: the variance of that noise is
//! measured on the way, and the estimate counts by 1 − σ²/d̂² (mean squares of the last half second), as a Wiener filter
//! would have it; what it does not count is left to an estimate ten times as slow, which hears what is ten times as quiet, on the
//! same terms. So the observer costs nothing where there is nothing to observe, and meets a push at once.
//!
//! A loop with an observer has less of a margin: where commands act later than is known it rings. That is noticed, and the
//! observer made slower until it does not.

use crate::command::Mode;
use crate::controller::ringing::Ringing;
use crate::error::{Error, Result};
use crate::robot::{Dynamics, Robot};
use crate::state::State;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObserverConfig {
    /// Of the estimate, rad/s; 0: no observer. Lower it with noisy velocities.
    pub bandwidth: f64,
    /// Of a second estimate that takes over while it stands out of the noise, rad/s; 0: none.
    pub fast_bandwidth: f64,
    /// Feed back only what stands out of the noise.
    pub noise_gate: bool,
    /// Largest disturbance that is compensated, as a share of a joint's limit of effort or velocity, 0 to 1.
    pub limit: f64,
}

impl Default for ObserverConfig {
    fn default() -> Self {
        Self { bandwidth: 0.0, fast_bandwidth: 0.0, noise_gate: true, limit: 0.5 }
    }
}

impl ObserverConfig {
    pub fn validate(&self, update_rate: f64) -> Result<()> {
        // beyond it the estimate would overshoot within a tick
        let highest = 0.5 * update_rate;
        if !(0.0..=highest).contains(&self.bandwidth) {
            let expected = format!("a number from 0 to half the update rate, {highest} rad/s");
            return Err(Error::mismatch("observer.bandwidth", self.bandwidth, expected));
        }
        let in_range = |value: f64| (self.bandwidth..=highest).contains(&value);
        if self.fast_bandwidth != 0.0 && !in_range(self.fast_bandwidth) {
            let expected = format!("0, or from observer.bandwidth to {highest} rad/s");
            return Err(Error::mismatch("observer.fast_bandwidth", self.fast_bandwidth, expected));
        }
        if !(0.0..=1.0).contains(&self.limit) {
            return Err(Error::mismatch("observer.limit", self.limit, "a number from 0 to 1"));
        }
        Ok(())
    }
}

/// Time over which the noise is measured, and time over which the estimate is compared with it, s.
const NOISE_TIME: f64 = 1.0;
const SIGNIFICANCE_TIME: f64 = 0.5;
/// Mean square, in variances of the noise, at which the estimate begins to count.
const SIGNIFICANT: f64 = 1.0;
/// Share of the bandwidth that the slow estimate has.
const SLOW: f64 = 0.1;
/// A single square of so many variances counts at once.
const OBVIOUS: f64 = 16.0;
/// Swings of an estimate below this share of its limit are let be.
const AUDIBLE: f64 = 0.02;
/// An observer that rings halves its bandwidth, and is given up below this share of the one it was given.
const LEAST_SHARE: f64 = 0.1;
/// Time in which what rang may die away before more is taken back, s.
const DYING: f64 = 0.5;
/// Over a longer time between measurements than this [s] and the usual, the motion is not known, and nothing is said of
/// what acted.
const LONGEST: f64 = 0.05;

/// A low-pass on the disturbance, and its mean square of late.
#[derive(Clone, Copy, Debug, Default)]
struct Estimate {
    value: f64,
    square: f64,
}

impl Estimate {
    /// Moves by `share` towards `disturbance`.
    fn advance(&mut self, disturbance: f64, share: f64) {
        self.value += share * (disturbance - self.value);
    }

    fn average(&mut self, dt: f64) {
        self.square += dt / SIGNIFICANCE_TIME * (self.value * self.value - self.square);
    }

    /// How far it counts beside `noise` of that variance, 0 to 1.
    fn significance(&mut self, noise: f64) -> f64 {
        let square = self.value * self.value;
        if square > OBVIOUS * noise {
            self.square = self.square.max(square);
        }
        (1.0 - SIGNIFICANT * noise / self.square.max(f64::MIN_POSITIVE)).max(0.0)
    }
}

/// What is known of one joint, in units of the command.
#[derive(Clone, Copy, Debug, Default)]
struct Joint {
    estimate: Estimate,
    fast: f64,
    slow: Estimate,
    /// Disturbance that the last step alone would tell, less the estimate.
    last_innovation: f64,
    ringing: Ringing,
    /// Minus the mean product of two successive innovations: the variance of the momentum's noise over dt².
    noise: f64,
}

/// See the module. Vectors are in the robot's order, in units of the command.
#[derive(Clone, Debug)]
pub struct DisturbanceObserver {
    /// As it was given, and as it is.
    given: f64,
    bandwidth: f64,
    fast_bandwidth: f64,
    noise_gate: bool,
    limit: Vec<f64>,
    joints: Vec<Joint>,
    dynamics: Dynamics,
    is_of_drives: bool,
    /// M(q) v and Cᵀ v − g of the last measurement; of drives τ v and −v.
    momentum: Vec<f64>,
    bias: Vec<f64>,
    has_last: bool,
    /// Between the last two measurements, s.
    last_dt: f64,
    new_momentum: Vec<f64>,
    new_bias: Vec<f64>,
    estimate: Vec<f64>,
    /// The joint that rang last, to be asked for.
    rang: Option<usize>,
    /// Since then, s.
    quiet: f64,
}

impl DisturbanceObserver {
    /// For efforts or velocities, as [`Robot::command_interface`] says; none if the bandwidth is zero.
    pub fn new(config: &ObserverConfig, robot: &Robot, dynamics: Dynamics) -> Option<Self> {
        if config.bandwidth <= 0.0 {
            return None;
        }
        let is_of_drives = robot.command_interface == Mode::Velocity;
        let limits = if is_of_drives { &robot.limits.velocity } else { &robot.limits.effort };
        let zeros = vec![0.0; robot.degrees_of_freedom()];
        Some(Self {
            given: config.bandwidth,
            bandwidth: config.bandwidth,
            fast_bandwidth: config.fast_bandwidth,
            noise_gate: config.noise_gate,
            joints: vec![Joint::default(); robot.degrees_of_freedom()],
            is_of_drives,
            limit: limits.iter().map(|limit| config.limit * limit).collect(),
            dynamics,
            momentum: zeros.clone(),
            bias: zeros.clone(),
            has_last: false,
            last_dt: 0.0,
            new_momentum: zeros.clone(),
            new_bias: zeros.clone(),
            estimate: zeros,
            rang: None,
            quiet: DYING,
        })
    }

    /// Forgets the disturbance, and where the robot was.
    pub fn reset(&mut self) {
        self.estimate.fill(0.0);
        self.joints.fill(Joint::default());
        self.has_last = false;
    }

    /// Takes the measurement `dt` [s] after the last one; in between, `explained` acted: what was commanded, less what friction
    /// and the learned residual are known to take.
    pub fn observe(&mut self, state: &State, explained: &[f64], dt: f64) {
        if self.bandwidth <= 0.0 {
            return;
        }
        self.take(state);
        if self.has_last && 0.0 < dt && dt <= LONGEST.max(1.5 * self.last_dt) {
            let in_pace = dt < 1.5 * self.last_dt;
            let [share, fast] =
                [self.bandwidth, self.fast_bandwidth].map(|bandwidth| 1.0 - (-bandwidth * dt).exp());
            let mut rings = None;
            for (index, joint) in self.joints.iter_mut().enumerate() {
                let change = (self.new_momentum[index] - self.momentum[index]) / dt;
                let bias = 0.5 * (self.new_bias[index] + self.bias[index]);
                joint.observe(change - bias - explained[index], [share, fast], dt, in_pace);
                self.estimate[index] = joint.bounded(self.limit[index], self.noise_gate.then_some(share));
                let least = (OBVIOUS * joint.noise_of(share)).sqrt().max(AUDIBLE * self.limit[index]);
                if joint.ringing.observe(self.estimate[index], dt, least) {
                    rings = Some(index);
                }
            }
            self.quiet += dt;
            if rings.is_some() && self.quiet > DYING {
                self.quiet = 0.0;
                self.back_off();
                self.rang = rings;
            }
        }
        std::mem::swap(&mut self.momentum, &mut self.new_momentum);
        std::mem::swap(&mut self.bias, &mut self.new_bias);
        (self.has_last, self.last_dt) = (true, dt);
    }

    /// What rings is taken back, and stays so: the second estimate first, then the bandwidth by halves.
    fn back_off(&mut self) {
        if self.fast_bandwidth > 0.0 {
            self.fast_bandwidth = 0.0;
        } else {
            self.bandwidth *= 0.5;
        }
        if self.bandwidth < LEAST_SHARE * self.given {
            self.bandwidth = 0.0;
            self.reset();
        }
    }

    /// The joint that rang since this was last asked.
    pub fn take_ringing(&mut self) -> Option<usize> {
        self.rang.take()
    }

    /// Of the estimate at present, rad/s; 0 when it was given up.
    pub fn bandwidth(&self) -> f64 {
        self.bandwidth
    }

    fn take(&mut self, State { position, velocity, .. }: &State) {
        if self.is_of_drives {
            let terms = self.new_momentum.iter_mut().zip(&mut self.new_bias).zip(velocity);
            terms.for_each(|((p, bias), v)| (*p, *bias) = (self.dynamics.drive_lag() * v, -v));
        } else {
            self.dynamics.momentum(position, velocity, &mut self.new_momentum);
            self.dynamics.momentum_bias(position, velocity, &mut self.new_bias);
        }
    }

    /// The disturbance d̂ that pushes the robot along each joint, [joint].
    pub fn disturbance(&self) -> &[f64] {
        &self.estimate
    }
}

impl Joint {
    /// Takes the `disturbance` that the last `dt` [s] alone would tell; the low-passes move by `share` and `fast`. The noise
    /// is measured `in_pace`.
    fn observe(&mut self, disturbance: f64, [share, fast]: [f64; 2], dt: f64, in_pace: bool) {
        let innovation = disturbance - self.estimate.value;
        self.estimate.advance(disturbance, share);
        self.slow.advance(disturbance, SLOW * share);
        // noise of a momentum comes twice, with opposite signs; a disturbance does not
        if in_pace {
            self.noise += dt / NOISE_TIME * (-innovation * self.last_innovation - self.noise);
        }
        self.last_innovation = innovation;
        if fast > 0.0 {
            self.fast += fast * (disturbance - self.fast);
            let difference = self.fast - self.estimate.value;
            if difference * difference > OBVIOUS * self.noise_of(fast) {
                self.estimate.value = self.fast;
            }
        }
        self.estimate.average(dt);
        self.slow.average(dt);
    }

    /// The variance that the noise of the velocities leaves in a low-pass that moves by `share`: that of differences of
    /// white noise.
    fn noise_of(&self, share: f64) -> f64 {
        self.noise.max(0.0) * share * share * (1.0 + share / (2.0 - share))
    }

    /// The estimate within ±`limit`, through the gate where the `share` of the low-pass is given. One that is not finite
    /// begins anew.
    fn bounded(&mut self, limit: f64, gate: Option<f64>) -> f64 {
        let Self { estimate, slow, noise, .. } = self;
        if ![estimate.value, estimate.square, slow.square, *noise].iter().all(|value| value.is_finite()) {
            *self = Self::default();
        }
        let noise = gate.map(|share| [share, SLOW * share].map(|share| self.noise_of(share)));
        let Self { estimate, slow, .. } = self;
        for estimate in [&mut *estimate, &mut *slow] {
            estimate.value = estimate.value.clamp(-limit, limit);
        }
        let Some([noise, slow_noise]) = noise else { return estimate.value };
        let counts = estimate.significance(noise);
        counts * estimate.value + (1.0 - counts) * slow.significance(slow_noise) * slow.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;

    /// 2 kg that slide without friction.
    const SLIDE: &str = r#"<robot name="slide"><link name="base"/>
        <link name="cart"><inertial><mass value="2"/><inertia ixx="1" ixy="0" ixz="0" iyy="1" iyz="0" izz="1"/></inertial></link>
        <joint name="rail" type="prismatic"><parent link="base"/><child link="cart"/><axis xyz="1 0 0"/>
          <limit lower="-9" upper="9" effort="10" velocity="9"/></joint></robot>"#;

    fn observer(bandwidth: f64) -> DisturbanceObserver {
        let robot = Robot::from_urdf(SLIDE).unwrap();
        let config = ObserverConfig { bandwidth, noise_gate: false, ..Default::default() };
        DisturbanceObserver::new(&config, &robot, Dynamics::from_urdf(SLIDE).unwrap()).unwrap()
    }

    /// Moves under `effort` and a disturbance for so many milliseconds.
    fn run(observer: &mut DisturbanceObserver, effort: f64, disturbance: f64, milliseconds: i64) -> f64 {
        let dt = 1e-3;
        for k in 0..=milliseconds {
            let velocity = (effort + disturbance) / 2.0 * k as f64 * dt;
            let state = State { stamp: Stamp(k * 1_000_000), position: vec![0.0], velocity: vec![velocity] };
            observer.observe(&state, &[effort], if k == 0 { 0.0 } else { dt });
        }
        observer.disturbance()[0]
    }

    #[test]
    fn a_constant_push_is_found_with_the_time_constant_of_the_bandwidth() {
        let found = run(&mut observer(50.0), 3.0, 1.5, 20);
        assert!((found - 1.5 * (1.0 - f64::exp(-1.0))).abs() < 1e-9, "{found}");
        assert!((run(&mut observer(50.0), 3.0, 1.5, 400) - 1.5).abs() < 1e-6);
        assert!(run(&mut observer(50.0), 3.0, 0.0, 100).abs() < 1e-9);
    }

    #[test]
    fn missed_measurements_make_no_disturbance() {
        let mut observer = observer(50.0);
        let mut time = 0.0;
        let mut observe = |dt: f64| {
            time += dt;
            let state = State { velocity: vec![(3.0 + 1.5) / 2.0 * time], ..State::zeros(1) };
            observer.observe(&state, &[3.0], dt);
            observer.disturbance()[0]
        };
        assert!((0..400).map(|_| observe(1e-3)).all(f64::is_finite));
        for gap in [0.002, 0.010, 0.040, 0.5, 0.001] {
            let found = observe(gap);
            assert!((found - 1.5).abs() < 1e-6, "{found} after {gap} s");
        }
    }

    #[test]
    fn it_is_bounded_and_can_forget() {
        let mut observer = observer(50.0);
        assert_eq!(run(&mut observer, 0.0, -80.0, 400), -5.0);
        observer.observe(&State { velocity: vec![f64::NAN], ..State::zeros(1) }, &[0.0], 1e-3);
        assert!(observer.disturbance()[0].is_finite());
        observer.reset();
        assert_eq!(observer.disturbance(), [0.0]);
    }

    #[test]
    fn noise_is_not_fed_back_and_a_push_is_met_at_once() {
        use rand::SeedableRng;
        use rand_distr::Distribution;
        let robot = Robot::from_urdf(SLIDE).unwrap();
        let run = |noise_gate: bool| {
            let config = ObserverConfig { bandwidth: 50.0, noise_gate, ..Default::default() };
            let dynamics = Dynamics::from_urdf(SLIDE).unwrap();
            let mut observer = DisturbanceObserver::new(&config, &robot, dynamics).unwrap();
            let mut random = rand_pcg::Pcg64::seed_from_u64(1);
            let noise = rand_distr::Normal::new(0.0, 1e-2).unwrap();
            let (mut velocity, mut quiet, mut pushed) = (0.0, 0.0, 0.0);
            for k in 0..6100 {
                let push = if k < 6000 { 0.0 } else { 4.0 };
                velocity += 1e-3 * push / 2.0;
                let state = State {
                    stamp: Stamp(k * 1_000_000),
                    position: vec![0.0],
                    velocity: vec![velocity + noise.sample(&mut random)],
                };
                observer.observe(&state, &[0.0], 1e-3);
                let found = observer.disturbance()[0];
                if (3000..6000).contains(&k) {
                    quiet += found * found / 3000.0;
                }
                pushed = found;
            }
            [f64::sqrt(quiet), pushed]
        };
        let ([quiet, pushed], [gated_quiet, gated_pushed]) = (run(false), run(true));
        assert!(gated_quiet < 0.4 * quiet, "{gated_quiet} {quiet}");
        assert!((pushed - gated_pushed).abs() < 1.0 && gated_pushed > 2.5, "{gated_pushed} {pushed}");
    }

    #[test]
    fn a_drive_with_a_wrong_gain_is_made_up_for() {
        const LAG: f64 = 0.03;
        let robot = Robot::from_urdf(SLIDE).unwrap().commanded_by(Mode::Velocity);
        let mut dynamics = Dynamics::from_urdf(SLIDE).unwrap();
        dynamics.set_drive_lag(LAG);
        let config = ObserverConfig { bandwidth: 20.0, ..Default::default() };
        for gain in [0.8, 1.0, 1.2] {
            let mut observer = DisturbanceObserver::new(&config, &robot, dynamics.clone()).unwrap();
            let (mut state, mut command, mut largest) = (State::zeros(1), 0.0, 0.0_f64);
            for _ in 0..2000 {
                observer.observe(&state, &[command], 1e-3);
                largest = largest.max(observer.disturbance()[0].abs());
                command = 1.0 - observer.disturbance()[0];
                state.velocity[0] += (1.0 - f64::exp(-1e-3 / LAG)) * (gain * command - state.velocity[0]);
            }
            assert!((state.velocity[0] - 1.0).abs() < 1e-6, "gain {gain}: {} m/s", state.velocity[0]);
            assert!(
                gain != 1.0 || largest < 0.02,
                "a drive that is as it is known is let alone: {largest} m/s"
            );
        }
    }

    /// Mean square of the last second's velocity error of a cart with feedback, whose commands act `late` milliseconds late, and the
    /// bandwidth that is left.
    fn track(late: usize) -> (f64, f64) {
        let mut observer = observer(120.0);
        let (mut state, mut error) = (State::zeros(1), 0.0);
        let mut commands = std::collections::VecDeque::from(vec![0.0; late + 1]);
        for k in 0..6000 {
            let reference = (2.0 * f64::from(k) * 1e-3).sin();
            observer.observe(&state, &[*commands.back().unwrap()], 1e-3);
            let command = 200.0 * (reference - state.velocity[0]) - observer.disturbance()[0];
            commands.push_back(command.clamp(-50.0, 50.0));
            let push = if k > 500 { 3.0 } else { 0.0 };
            state.velocity[0] += 1e-3 * (commands.pop_front().unwrap() + push) / 2.0;
            error += if k >= 5000 { (reference - state.velocity[0]).powi(2) / 1000.0 } else { 0.0 };
        }
        (error, observer.bandwidth())
    }

    #[test]
    fn an_observer_that_rings_is_made_slower_until_it_does_not() {
        for late in 0..=10 {
            let (error, bandwidth) = track(late);
            assert!(error < 1e-4, "{late} ms late: {error}");
            assert_eq!(bandwidth == 120.0, late < 5, "{late} ms late: {bandwidth} rad/s");
        }
        let (_, given_up) = track(11);
        assert_eq!(given_up, 0.0, "where the feedback alone hardly bears it");
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let refused = |bandwidth, limit| {
            ObserverConfig { bandwidth, limit, ..Default::default() }.validate(500.0).is_err()
        };
        assert!(refused(-1.0, 0.5) && refused(251.0, 0.5) && refused(f64::NAN, 0.5) && refused(60.0, 1.5));
        assert!(!refused(60.0, 0.5));
        let robot = Robot::from_urdf(SLIDE).unwrap();
        let dynamics = Dynamics::from_urdf(SLIDE).unwrap();
        assert!(DisturbanceObserver::new(&ObserverConfig::default(), &robot, dynamics).is_none());
    }
}
