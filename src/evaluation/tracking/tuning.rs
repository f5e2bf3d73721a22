//! What the rivals were tuned to, for each level of sensor noise, and the search that found it.

use super::controller::ControllerKind;
use super::course::{Purpose, ScenarioKind};
use super::figures::Window;
use super::run::run;
use super::slotine_li::Adaptation;
use super::{TrackingConfig, in_parallel};
use crate::controller::ObserverConfig;
use crate::error::Result;
use clap::ValueEnum;
use serde::Serialize;

/// What the rivals can be tuned in; their feedback gains are everyone's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tuning {
    /// Integral over proportional gain, 1/s, and the largest integral as a share of the effort limit.
    pub integral_rate: f64,
    pub integral_share: f64,
    pub observer: ObserverConfig,
    pub adaptation: Adaptation,
}

impl Tuning {
    /// Found by `learned_control evaluate tracking --tune`; see docs/evaluation.md.
    pub fn for_noise(noisy: bool) -> Self {
        let observer = |bandwidth| ObserverConfig { bandwidth, ..Default::default() };
        if noisy {
            return Self {
                integral_rate: 8.0,
                integral_share: 0.3,
                observer: observer(30.0),
                adaptation: Adaptation { rigid_body: 1.0, friction: 1.0, leak: 0.0 },
            };
        }
        Self {
            integral_rate: 8.0,
            integral_share: 0.3,
            observer: observer(60.0),
            adaptation: Adaptation { rigid_body: 1.0, friction: 1.0, leak: 0.0 },
        }
    }
}

/// One setting that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    pub controller: ControllerKind,
    pub noisy: bool,
    pub setting: String,
    /// Geometric mean over scenarios and seeds of the rms error in the judged window, rad (or m).
    pub error: f64,
}

/// Tries every setting of the rivals on the scenarios that they shall be good at, with seeds of their own.
pub fn tune(config: &TrackingConfig, progress: impl Fn(usize, usize) + Sync) -> Result<Vec<Tried>> {
    let centre = config.centre()?;
    let mut settings = Vec::new();
    for noisy in [false, true] {
        for controller in
            [ControllerKind::PidGravity, ControllerKind::DisturbanceObserver, ControllerKind::SlotineLi]
        {
            if config.controllers.contains(&controller) {
                let of = candidates(controller, Tuning::for_noise(noisy));
                settings.extend(of.into_iter().map(|(setting, tuning)| (controller, noisy, setting, tuning)));
            }
        }
    }
    in_parallel(config.threads, &settings, progress, |(controller, noisy, setting, tuning)| {
        let scenarios: Vec<ScenarioKind> = match noisy {
            true => vec![ScenarioKind::Noise, ScenarioKind::NoisePayload],
            false => {
                ScenarioKind::value_variants().iter().copied().filter(|kind| kind.is_learnable()).collect()
            }
        };
        let (mut sum, mut count) = (0.0, 0.0);
        for scenario in scenarios {
            for seed in 0..config.seeds {
                let course = scenario.course(Purpose::Tuning, seed, centre);
                let outcome = run(config, *controller, tuning, &course)?;
                let window = Window::judged(scenario);
                let rms = window.rms(&outcome.squares, &course.origins);
                sum += rms.unwrap_or(f64::INFINITY).ln();
                count += 1.0;
            }
        }
        let error = f64::exp(sum / count);
        Ok(Tried { controller: *controller, noisy: *noisy, setting: setting.clone(), error })
    })
}

/// What is tried of one controller.
fn candidates(controller: ControllerKind, now: Tuning) -> Vec<(String, Tuning)> {
    let mut out = Vec::new();
    match controller {
        ControllerKind::PidGravity => {
            for integral_rate in [1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0] {
                for integral_share in [0.1, 0.3] {
                    let setting = format!("integral_rate {integral_rate}, integral_share {integral_share}");
                    out.push((setting, Tuning { integral_rate, integral_share, ..now }));
                }
            }
        }
        ControllerKind::DisturbanceObserver => {
            for bandwidth in [5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 80.0, 100.0, 130.0, 160.0] {
                for noise_gate in [false, true] {
                    let observer = ObserverConfig { bandwidth, noise_gate, ..now.observer };
                    let setting = format!("bandwidth {bandwidth}, noise_gate {noise_gate}");
                    out.push((setting, Tuning { observer, ..now }));
                }
            }
        }
        ControllerKind::SlotineLi => {
            for rigid_body in [0.1, 0.3, 1.0, 3.0, 10.0, 30.0] {
                for friction in [1.0, 10.0, 100.0, 1000.0] {
                    for leak in [0.0, 0.1] {
                        let adaptation = Adaptation { rigid_body, friction, leak };
                        let setting = format!("{adaptation:?}");
                        out.push((setting, Tuning { adaptation, ..now }));
                    }
                }
            }
        }
        _ => {}
    }
    out
}
