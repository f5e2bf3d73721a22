//! What happens to the arm in a run, drawn from its seed, and when errors are counted.

use crate::command::Mode;
use crate::control_loop::ReferenceConfig;
use crate::evaluation::tracking::tuning::Condition;
use crate::reference::{MultiSineConfig, PointToPointConfig};
use crate::sim::{InnerLoopConfig, Scenario};
use clap::ValueEnum;
use rand::RngExt;
use rand_distr::{Distribution, UnitSphere};
use rand_pcg::Pcg64;
use serde::Serialize;
use std::time::Duration;

/// Which of the disjoint sets of seeds a run is from. Training draws from `Pcg64::new(seed, episode)`; these are other
/// streams of that generator, so that no seed gives the motion or noise of another purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Suite,
    Tuning,
}

/// How the robot departs from its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ScenarioKind {
    Nominal,
    Payload,
    PayloadSwitch,
    Friction,
    GainLoss,
    Delay,
    DelayUnknown,
    MassError,
    Wrench,
    Noise,
    NoisePayload,
    VelocityMode,
    PositionMode,
    MissedTicks,
    FilteredVelocity,
}

/// The kinds of motion, by seed in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceKind {
    MultiSine,
    PointToPoint,
    Fast,
}

/// One run's reference, what changes when, and what counts.
#[derive(Clone, Debug)]
pub struct Course {
    pub scenario: ScenarioKind,
    pub reference_kind: ReferenceKind,
    pub reference: ReferenceConfig,
    /// Of the sensor noise and of a learner's first weights.
    pub seed: u64,
    /// From a command to its effect, as far as anybody has measured it, s.
    pub known_delay: f64,
    /// What takes the commands, where they are velocities or positions.
    pub drives: InnerLoopConfig,
    /// What the robot is from which time [s] on; the first at 0, in order.
    pub changes: Vec<(f64, Scenario)>,
    /// Times [s] between which there is no tick, in order: the last command goes on acting.
    pub pauses: Vec<[f64; 2]>,
    /// Windows are counted from these times, s: the start, or the changes where there are any.
    pub origins: Vec<f64>,
    /// Length of the run, s.
    pub seconds: f64,
}

impl Course {
    /// The same with commands that act later.
    pub fn delayed(&self, delay: Duration) -> Self {
        let mut course = self.clone();
        course.changes.iter_mut().for_each(|(_, scenario)| scenario.delay += delay);
        course.drives.dead_time += delay.as_secs_f64();
        course
    }
}

const PAYLOAD: f64 = 1.5; // kg
const CHANGE: f64 = 15.0; // s
const CHANGE_BACK: f64 = 30.0; // s
/// Observed after the last change, s.
const AFTER: f64 = 10.5;
/// Of runs without a change, s: long enough for what is slow to be learned.
const STEADY: f64 = 20.0;
/// Low-pass on the measured velocities, s.
const FILTER: f64 = 0.003;
const NOISE: [f64; 2] = [1e-5, 1e-3]; // rad, rad/s

impl ScenarioKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nominal => "nominal",
            Self::Payload => "payload",
            Self::PayloadSwitch => "payload_switch",
            Self::Friction => "friction",
            Self::GainLoss => "gain_loss",
            Self::Delay => "delay",
            Self::DelayUnknown => "delay_unknown",
            Self::MassError => "mass_error",
            Self::Wrench => "wrench",
            Self::Noise => "noise",
            Self::NoisePayload => "noise_payload",
            Self::VelocityMode => "velocity_mode",
            Self::PositionMode => "position_mode",
            Self::MissedTicks => "missed_ticks",
            Self::FilteredVelocity => "filtered_velocity",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Self::Nominal => "the arm as it is described",
            Self::Payload => "1.5 kg at the tool from the start",
            Self::PayloadSwitch => "1.5 kg at the tool from 15 s to 30 s",
            Self::Friction => "Coulomb friction x 3, viscous friction x 2",
            Self::GainLoss => "two joints, drawn, deliver 30 % less from 15 s on",
            Self::Delay => "commands act 4 ms late, which has been measured",
            Self::DelayUnknown => "commands act 4 ms late, and nobody has measured it",
            Self::MassError => {
                "the description's masses and inertias are wrong by up to 20 %, each link by its own"
            }
            Self::Wrench => "pushes of 20 to 40 N at the tool for 0.2 to 0.4 s, in all directions",
            Self::Noise => "ten times the sensor noise: 1e-4 rad, 1e-2 rad/s",
            Self::NoisePayload => "ten times the sensor noise and 1.5 kg at the tool",
            Self::VelocityMode => {
                "drives that take velocities, with lag, dead time, dead band and wrong gains"
            }
            Self::PositionMode => "drives that take positions, with the same faults",
            Self::MissedTicks => {
                "1.5 kg at the tool from 15 s to 30 s, and twice a second no tick for 6 to 40 ms"
            }
            Self::FilteredVelocity => "velocities measured through a low-pass of 3 ms, of which nobody knows",
        }
    }

    pub fn is_noisy(self) -> bool {
        matches!(self, Self::Noise | Self::NoisePayload)
    }

    /// What the rivals are tuned for.
    pub fn condition(self) -> Condition {
        match self {
            Self::Delay => Condition::Delayed,
            Self::DelayUnknown => Condition::DelayUnknown,
            Self::VelocityMode => Condition::Velocity,
            Self::PositionMode => Condition::Position,
            _ if self.is_noisy() => Condition::Noisy,
            _ => Condition::Usual,
        }
    }

    /// Whether what must be learned is a lasting property of the robot.
    pub fn is_learnable(self) -> bool {
        matches!(
            self,
            Self::Payload | Self::PayloadSwitch | Self::Friction | Self::GainLoss | Self::MassError
        )
    }

    pub fn is_delayed(self) -> bool {
        matches!(self, Self::Delay | Self::DelayUnknown)
    }

    /// What is commanded.
    pub fn command_interface(self) -> Mode {
        match self {
            Self::VelocityMode => Mode::Velocity,
            Self::PositionMode => Mode::Position,
            _ => Mode::Effort,
        }
    }

    /// Whether backprop alone must have learned it by the end.
    pub fn judges_slow_learners(self) -> bool {
        !self.changes() && (self.is_learnable() || self == Self::Nominal)
    }

    /// Whether the robot changes on the way.
    pub fn changes(self) -> bool {
        matches!(self, Self::PayloadSwitch | Self::GainLoss | Self::MissedTicks)
    }

    /// The run of `seed` about `centre`, rad, one entry a joint.
    pub fn course(self, purpose: Purpose, seed: u64, centre: &[f64]) -> Course {
        let stream = match purpose {
            Purpose::Suite => 1_u128 << 64,
            Purpose::Tuning => 1_u128 << 65,
        };
        let mut random = Pcg64::new(u128::from(seed), stream + self as u128);
        let (reference_kind, reference) = reference(seed, random.random(), centre);
        let noise_seed = random.random();
        let changes = self.scenarios(&mut random, centre.len());
        let drives = drives(&mut random, noise_seed, centre.len());
        let (origins, seconds) = match self {
            Self::PayloadSwitch | Self::MissedTicks => (vec![CHANGE, CHANGE_BACK], CHANGE_BACK + AFTER),
            Self::GainLoss => (vec![CHANGE], CHANGE + AFTER),
            _ => (vec![0.0], STEADY),
        };
        let pauses = if self == Self::MissedTicks { pauses(&mut random, seconds) } else { Vec::new() };
        Course {
            scenario: self,
            reference_kind,
            reference,
            seed: noise_seed,
            known_delay: 0.0,
            drives,
            changes,
            pauses,
            origins,
            seconds,
        }
    }

    fn scenarios(self, random: &mut Pcg64, joints: usize) -> Vec<(f64, Scenario)> {
        let factor = if self.is_noisy() { 10.0 } else { 1.0 };
        let nominal = Scenario {
            position_noise: factor * NOISE[0],
            velocity_noise: factor * NOISE[1],
            ..Default::default()
        };
        let loaded = Scenario { payload: PAYLOAD, ..nominal.clone() };
        match self {
            Self::Nominal | Self::Noise | Self::VelocityMode | Self::PositionMode => vec![(0.0, nominal)],
            Self::Payload | Self::NoisePayload => vec![(0.0, loaded)],
            Self::PayloadSwitch | Self::MissedTicks => {
                vec![(0.0, nominal.clone()), (CHANGE, loaded), (CHANGE_BACK, nominal)]
            }
            Self::Friction => {
                vec![(0.0, Scenario { friction_scale: 3.0, damping_scale: 2.0, ..nominal })]
            }
            Self::GainLoss => {
                let first = random.random_range(0..joints);
                let second = (first + random.random_range(1..joints.max(2))) % joints;
                let gain = (0..joints).map(|joint| if joint == first || joint == second { 0.7 } else { 1.0 });
                let weakened = Scenario { gain: gain.collect(), ..nominal.clone() };
                vec![(0.0, nominal), (CHANGE, weakened)]
            }
            Self::FilteredVelocity => vec![(0.0, Scenario { velocity_lag: FILTER, ..nominal })],
            Self::Delay | Self::DelayUnknown => {
                vec![(0.0, Scenario { delay: Duration::from_millis(4), ..nominal })]
            }
            Self::MassError => {
                let scale = (0..joints).map(|_| 1.0 / random.random_range(0.8..1.2)).collect();
                vec![(0.0, Scenario { mass_scale: scale, ..nominal })]
            }
            Self::Wrench => pushes(random, &nominal),
        }
    }
}

/// Drives of a robot that is well set up, and of one that is not, and all between.
fn drives(random: &mut Pcg64, seed: u64, joints: usize) -> InnerLoopConfig {
    InnerLoopConfig {
        lag: random.random_range(0.015..0.050),
        dead_time: random.random_range(0.002..0.012),
        dead_band: random.random_range(0.002..0.010),
        gain: (0..joints).map(|_| random.random_range(0.85..1.15)).collect(),
        position_gain: random.random_range(10.0..25.0),
        position_noise: NOISE[0],
        velocity_noise: NOISE[1],
        seed,
        ..Default::default()
    }
}

/// One push about every two seconds, never two at once.
fn pushes(random: &mut Pcg64, nominal: &Scenario) -> Vec<(f64, Scenario)> {
    let mut changes = vec![(0.0, nominal.clone())];
    let mut time = random.random_range(2.5..4.0);
    while time < STEADY - 1.0 {
        let [x, y, z]: [f64; 3] = UnitSphere.sample(random);
        let force = random.random_range(20.0..40.0);
        let wrench = [force * x, force * y, force * z, 0.0, 0.0, 0.0];
        changes.push((time, Scenario { wrench, ..nominal.clone() }));
        let duration = random.random_range(0.2..0.4);
        changes.push((time + duration, nominal.clone()));
        time += duration + random.random_range(1.0..3.0);
    }
    changes
}

/// A computer that has other things to do: about two pauses a second.
fn pauses(random: &mut Pcg64, seconds: f64) -> Vec<[f64; 2]> {
    let mut pauses = Vec::new();
    let mut begin = random.random_range(0.2..1.0);
    while begin < seconds {
        let end = begin + random.random_range(0.006..0.040);
        pauses.push([begin, end]);
        begin = end + random.random_range(0.1..0.9);
    }
    pauses
}

fn reference(turn: u64, seed: u64, centre: &[f64]) -> (ReferenceKind, ReferenceConfig) {
    let centre = centre.to_vec();
    match turn % 3 {
        0 => {
            let config = MultiSineConfig { seed, centre, ..Default::default() };
            (ReferenceKind::MultiSine, ReferenceConfig::MultiSine(config))
        }
        1 => {
            let config = PointToPointConfig { seed, centre, ..Default::default() };
            (ReferenceKind::PointToPoint, ReferenceConfig::PointToPoint(config))
        }
        _ => {
            let config = PointToPointConfig {
                seed,
                centre,
                velocity_share: 0.8,
                acceleration: 12.0,
                dwell: [0.1, 0.3],
                ..Default::default()
            };
            (ReferenceKind::Fast, ReferenceConfig::PointToPoint(config))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENTRE: [f64; 7] = [0.0, 0.4, 0.0, -1.4, 0.0, 1.0, 0.0];

    #[test]
    fn runs_repeat_and_differ_by_seed_scenario_and_purpose() {
        let seed = |kind: ScenarioKind, purpose, seed| kind.course(purpose, seed, &CENTRE).seed;
        let drawn = [
            seed(ScenarioKind::Payload, Purpose::Suite, 0),
            seed(ScenarioKind::Payload, Purpose::Suite, 1),
            seed(ScenarioKind::Payload, Purpose::Tuning, 0),
            seed(ScenarioKind::Friction, Purpose::Suite, 0),
        ];
        assert_eq!(drawn[0], seed(ScenarioKind::Payload, Purpose::Suite, 0));
        let distinct: std::collections::BTreeSet<_> = drawn.iter().collect();
        assert_eq!(distinct.len(), 4);
    }

    #[test]
    fn every_scenario_is_one_that_the_arm_accepts() {
        for kind in ScenarioKind::value_variants() {
            for seed in 0..20 {
                let course = kind.course(Purpose::Suite, seed, &CENTRE);
                assert!(course.changes.is_sorted_by(|a, b| a.0 < b.0) && course.changes[0].0 == 0.0);
                assert!(course.changes.iter().all(|(time, _)| *time < course.seconds));
                course.changes.iter().for_each(|(_, scenario)| scenario.check(7).unwrap());
            }
        }
    }

    #[test]
    fn ticks_are_missed_now_and_then() {
        let course = ScenarioKind::MissedTicks.course(Purpose::Suite, 3, &CENTRE);
        assert!((60..120).contains(&course.pauses.len()), "{}", course.pauses.len());
        assert!(course.pauses.as_flattened().is_sorted());
        assert!(course.pauses.iter().all(|[begin, end]| (0.006..0.040).contains(&(end - begin))));
        assert!(ScenarioKind::Payload.course(Purpose::Suite, 3, &CENTRE).pauses.is_empty());
    }

    #[test]
    fn two_joints_weaken_and_pushes_end() {
        let weakened = ScenarioKind::GainLoss.course(Purpose::Suite, 3, &CENTRE);
        let gain = &weakened.changes[1].1.gain;
        assert_eq!(gain.iter().filter(|gain| **gain == 0.7).count(), 2);
        let pushed = ScenarioKind::Wrench.course(Purpose::Suite, 3, &CENTRE).changes;
        assert!(pushed.len() > 8 && pushed.len() % 2 == 1);
        for pair in pushed[1..].chunks(2) {
            let force = pair[0].1.wrench.iter().map(|f| f * f).sum::<f64>().sqrt();
            assert!((20.0..40.0).contains(&force) && pair[1].1.wrench == [0.0; 6]);
            assert!((0.2..0.4).contains(&(pair[1].0 - pair[0].0)));
        }
    }
}
