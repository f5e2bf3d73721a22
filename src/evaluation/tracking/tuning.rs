//! What the rivals were tuned to, for each level of sensor noise, and the search that found it.

use super::controller::ControllerKind;
use super::course::{Purpose, ScenarioKind};
use super::delay::measured_delays;
use super::figures::Window;
use super::run::run;
use super::slotine_li::Adaptation;
use super::{TrackingConfig, in_parallel};
use crate::controller::{Gains, ObserverConfig};
use crate::error::Result;
use clap::ValueEnum;
use serde::Serialize;
use std::time::Duration;

/// What a tuning is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    Usual,
    /// Ten times the sensor noise.
    Noisy,
    /// Commands act late, by a time that is known, or that is not.
    Delayed,
    DelayUnknown,
    /// Drives that take velocities, or positions.
    Velocity,
    Position,
}

impl Condition {
    fn is_delayed(self) -> bool {
        matches!(self, Self::Delayed | Self::DelayUnknown)
    }

    fn is_tuned_on(self, scenario: ScenarioKind) -> bool {
        scenario.condition() == self && (self != Self::Usual || scenario.is_learnable())
    }
}

/// What the rivals can be tuned in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tuning {
    /// Of everyone: share of the parameter file's gains d; p is multiplied by its square.
    pub feedback: f64,
    /// Integral over proportional gain, 1/s, and the largest integral as a share of the effort limit.
    pub integral_rate: f64,
    pub integral_share: f64,
    pub observer: ObserverConfig,
    pub adaptation: Adaptation,
    /// Of `full` alone: of the observer's second estimate, rad/s.
    pub fast_bandwidth: f64,
    /// Of everyone with a head, Hz.
    pub head_bandwidth: f64,
    /// Gains of everyone where velocities or positions are commanded, and of the rival with an integral.
    pub drives: Gains,
    pub integral_drives: Gains,
    /// With a disturbance observer where velocities are commanded: p, the observer's bandwidth and the nominal drive's lag.
    pub drive_observer: DriveObserver,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct DriveObserver {
    /// 1/s.
    pub p: f64,
    /// rad/s.
    pub bandwidth: f64,
    /// s.
    pub lag: f64,
}

impl Tuning {
    /// Found by `learned_control evaluate tracking --tune`; see docs/evaluation.md.
    pub fn of(condition: Condition) -> Self {
        let observer =
            |bandwidth| ObserverConfig { bandwidth, noise_gate: false, ..ObserverConfig::default() };
        let usual = Self {
            feedback: 1.0,
            integral_rate: 12.0,
            integral_share: 0.06,
            observer: observer(60.0),
            adaptation: Adaptation { rigid_body: 30.0, friction: 1e3, leak: 0.1 },
            fast_bandwidth: 200.0,
            head_bandwidth: 8.0,
            drives: Gains::default(),
            integral_drives: Gains::default(),
            drive_observer: DriveObserver::default(),
        };
        match condition {
            Condition::Usual => usual,
            Condition::Noisy => Self {
                adaptation: Adaptation { rigid_body: 10.0, friction: 1e3, leak: 0.0 },
                fast_bandwidth: 0.0,
                head_bandwidth: 4.0,
                ..usual
            },
            Condition::Delayed => Self {
                observer: ObserverConfig { noise_gate: true, ..observer(20.0) },
                ..Self::of(Condition::DelayUnknown)
            },
            Condition::DelayUnknown => Self {
                feedback: 0.5,
                integral_rate: 10.0,
                integral_share: 0.03,
                observer: observer(5.0),
                adaptation: Adaptation { rigid_body: 3.0, friction: 1e2, leak: 0.1 },
                fast_bandwidth: 0.0,
                ..usual
            },
            Condition::Velocity => Self {
                drives: with(40.0, 0.0),
                integral_drives: with(40.0, 256.0),
                drive_observer: DriveObserver { p: 48.0, bandwidth: 130.0, lag: 0.03 },
                ..usual
            },
            Condition::Position => Self { integral_drives: with(0.9, 24.0), ..usual },
        }
    }
}

/// Gains of a drive: p, and i with an integral that is hardly clamped.
fn with(p: f64, i: f64) -> Gains {
    Gains { p, i, i_clamp: 1.0, ..Gains::default() }
}

/// One setting that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    pub controller: ControllerKind,
    pub condition: Condition,
    pub setting: String,
    /// Geometric mean over scenarios and seeds of the rms error in the judged window, rad (or m).
    pub error: f64,
}

/// Tries every setting of the rivals on the scenarios that they shall be good at, with seeds of their own. Each course is
/// run as it is and with commands that act a tick late: what has no margin is of no use on a robot.
pub fn tune(config: &TrackingConfig, progress: impl Fn(usize, usize) + Sync) -> Result<Vec<Tried>> {
    let centre = config.centre()?;
    let known_delay = measured_delays(config)?;
    let tick = Duration::from_secs_f64(1.0 / config.controller.update_rate);
    let mut settings = Vec::new();
    for &condition in Condition::value_variants() {
        if !config.scenarios.iter().any(|kind| condition.is_tuned_on(*kind)) {
            continue;
        }
        for &controller in &config.controllers {
            let tried = candidates(controller, condition);
            settings
                .extend(tried.into_iter().map(|(setting, tuning)| (controller, condition, setting, tuning)));
        }
    }
    in_parallel(config.threads, &settings, progress, |(controller, condition, setting, tuning)| {
        let scenarios = config.scenarios.iter().filter(|kind| condition.is_tuned_on(**kind));
        let (mut sum, mut count) = (0.0, 0.0);
        for (scenario, seed) in scenarios.flat_map(|kind| (0..config.seeds).map(move |seed| (*kind, seed))) {
            let mut course = scenario.course(Purpose::Tuning, seed, centre);
            course.known_delay = known_delay(scenario);
            for course in [&course, &course.delayed(tick)] {
                let outcome = run(config, *controller, tuning, course)?;
                let rms = Window::judged(scenario).rms(&outcome.squares, &course.origins);
                sum += rms.unwrap_or(f64::INFINITY).ln();
                count += 1.0;
            }
        }
        let error = f64::exp(sum / count);
        Ok(Tried { controller: *controller, condition: *condition, setting: setting.clone(), error })
    })
}

/// What is tried of one controller; of PD and computed torque the feedback, which is everyone's.
fn candidates(controller: ControllerKind, condition: Condition) -> Vec<(String, Tuning)> {
    let now = Tuning::of(condition);
    let mut out = Vec::new();
    match controller {
        ControllerKind::PdGravity | ControllerKind::ComputedTorque if condition.is_delayed() => {
            for feedback in [0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 1.0] {
                out.push((format!("feedback {feedback}"), Tuning { feedback, ..now }));
            }
        }
        ControllerKind::PdGravity if condition == Condition::Velocity => {
            for p in [8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0, 36.0, 40.0, 44.0, 48.0] {
                out.push((format!("p {p}"), Tuning { drives: with(p, 0.0), ..now }));
            }
        }
        ControllerKind::PidGravity if matches!(condition, Condition::Velocity | Condition::Position) => {
            let proportional: &[f64] = match condition {
                Condition::Velocity => &[8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0, 36.0, 40.0, 44.0],
                _ => &[0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9],
            };
            for &p in proportional {
                for i in [4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0, 64.0, 128.0, 256.0] {
                    let setting = format!("p {p}, i {i}");
                    out.push((setting, Tuning { integral_drives: with(p, i), ..now }));
                }
            }
        }
        ControllerKind::PidGravity => {
            for integral_rate in [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0] {
                for integral_share in [0.03, 0.06, 0.1, 0.3] {
                    let setting = format!("integral_rate {integral_rate}, integral_share {integral_share}");
                    out.push((setting, Tuning { integral_rate, integral_share, ..now }));
                }
            }
        }
        ControllerKind::DisturbanceObserver if condition == Condition::Velocity => {
            for p in [10.0, 20.0, 30.0, 36.0, 40.0, 44.0, 48.0] {
                for bandwidth in [10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 130.0] {
                    for lag in [0.0, 0.015, 0.03, 0.045, 0.06] {
                        let drive_observer = DriveObserver { p, bandwidth, lag };
                        let setting = format!("p {p}, bandwidth {bandwidth}, lag {lag}");
                        out.push((setting, Tuning { drive_observer, ..now }));
                    }
                }
            }
        }
        ControllerKind::DisturbanceObserver => {
            for bandwidth in [5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 45.0, 60.0, 80.0, 100.0, 130.0, 160.0, 250.0]
            {
                for noise_gate in [false, true] {
                    let observer = ObserverConfig { bandwidth, noise_gate, ..now.observer };
                    let setting = format!("bandwidth {bandwidth}, noise_gate {noise_gate}");
                    out.push((setting, Tuning { observer, ..now }));
                }
            }
        }
        ControllerKind::SlotineLi => {
            for rigid_body in [0.3, 1.0, 3.0, 10.0, 30.0, 100.0] {
                for friction in [1e2, 1e3, 1e4, 1e5] {
                    for leak in [0.0, 0.1] {
                        let adaptation = Adaptation { rigid_body, friction, leak };
                        let setting = format!("rigid_body {rigid_body}, friction {friction}, leak {leak}");
                        out.push((setting, Tuning { adaptation, ..now }));
                    }
                }
            }
        }
        ControllerKind::Full if condition == Condition::Usual => {
            for fast_bandwidth in [0.0, 100.0, 150.0, 200.0, 250.0] {
                out.push((format!("fast_bandwidth {fast_bandwidth}"), Tuning { fast_bandwidth, ..now }));
            }
        }
        _ => {}
    }
    out
}
