//! What the controllers were tuned to, and the search that found it, on seeds that the suite does not use.

use super::figures::WINDOWS;
use super::run::run;
use super::{BaseControllerKind, BaseTrackingConfig, MppiConfig, Quantity};
use crate::base::{BaseControllerConfig, Drive, TrackerConfig};
use crate::error::Result;
use crate::evaluation::tracking::{Purpose, in_parallel};

/// What can be tuned; the gains of everyone are the parameter file's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BaseTuning {
    /// In place of the parameter file's gains, in a search.
    pub tracker: Option<TrackerConfig>,
    pub integral: Integral,
    pub mppi: MppiConfig,
}

/// Of the rival with integral action.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Integral {
    /// 1/s.
    pub rate: f64,
    /// m s.
    pub clamp: f64,
}

impl BaseTuning {
    /// Found for bases with this drive by `learned_control evaluate tracking --config FILE --tune` with their file of config/.
    pub fn of(drive: Drive) -> Self {
        let usual = MppiConfig::default();
        let (integral, mppi) = match drive {
            Drive::Differential => (Integral { rate: 0.1, clamp: 0.2 }, usual),
            Drive::Ackermann => {
                (Integral { rate: 0.2, clamp: 0.2 }, MppiConfig { temperature: 0.5, effort: 0.03, ..usual })
            }
            Drive::Omnidirectional => {
                (Integral { rate: 0.7, clamp: 0.05 }, MppiConfig { place: 60.0, effort: 0.003, ..usual })
            }
        };
        Self { tracker: None, integral, mppi }
    }
}

/// One setting that was tried.
#[derive(Clone, Debug)]
pub struct BaseTried {
    pub controller: BaseControllerKind,
    pub setting: String,
    /// Geometric means over scenarios and seeds of the cross-track error [m] and the heading error [rad], in the window of
    /// getting onto the path and in the one that is judged.
    pub errors: [[f64; 2]; 2],
}

impl BaseTried {
    /// The geometric mean of all.
    pub fn score(&self) -> f64 {
        self.errors.iter().flatten().product::<f64>().powf(0.25)
    }
}

pub fn tune_base(
    config: &BaseTrackingConfig,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<Vec<BaseTried>> {
    let settings: Vec<_> = config
        .controllers
        .iter()
        .flat_map(|controller| {
            let tried = candidates(*controller, &config.controller);
            tried.into_iter().map(move |(setting, tuning)| (*controller, setting, tuning))
        })
        .collect();
    in_parallel(config.threads, &settings, progress, |(controller, setting, tuning)| {
        let (mut logarithms, mut count) = ([[0.0; 2]; 2], 0.0);
        for scenario in &config.scenarios {
            for seed in 0..config.seeds {
                let course = scenario.course(Purpose::Tuning, seed, &config.controller)?;
                let outcome = run(config, *controller, tuning, &course)?;
                for (sums, window) in logarithms.iter_mut().zip(WINDOWS) {
                    for (sum, quantity) in sums.iter_mut().zip(Quantity::ALL) {
                        let rms = window.rms(outcome.squares(quantity), &[0.0]);
                        *sum += rms.unwrap_or(f64::INFINITY).ln();
                    }
                }
                count += 1.0;
            }
        }
        let errors = logarithms.map(|sums| sums.map(|sum| f64::exp(sum / count)));
        Ok(BaseTried { controller: *controller, setting: setting.clone(), errors })
    })
}

fn candidates(controller: BaseControllerKind, config: &BaseControllerConfig) -> Vec<(String, BaseTuning)> {
    let (mut out, usual) = (Vec::new(), BaseTuning::of(config.drive));
    match controller {
        BaseControllerKind::Baseline => {
            for along in [0.5, 1.0, 1.5] {
                for rate in [0.5, 0.625, 0.75, 0.875, 1.0, 1.25] {
                    let tracker = scaled(config, along, rate);
                    let TrackerConfig { k_x, k_y, k_theta, .. } = tracker;
                    let setting = format!("k_x {k_x}, k_y {k_y}, k_theta {k_theta}");
                    out.push((setting, BaseTuning { tracker: Some(tracker), ..usual }));
                }
            }
        }
        BaseControllerKind::Integral => {
            for rate in [0.1, 0.2, 0.4, 0.7] {
                for clamp in [0.05, 0.2] {
                    let integral = Integral { rate, clamp };
                    let setting = format!("integral {rate} 1/s, clamp {clamp} m s");
                    out.push((setting, BaseTuning { integral, ..usual }));
                }
            }
        }
        BaseControllerKind::Mppi => {
            for temperature in [0.2, 0.5, 1.0] {
                for place in [30.0, 60.0] {
                    for effort in [0.003, 0.01, 0.03] {
                        let mppi = MppiConfig { temperature, place, effort, ..usual.mppi };
                        let setting = format!("temperature {temperature}, place {place}, effort {effort}");
                        out.push((setting, BaseTuning { mppi, ..usual }));
                    }
                }
            }
        }
        BaseControllerKind::Learner
        | BaseControllerKind::LearnerTrackingError
        | BaseControllerKind::LearnerComposite
        | BaseControllerKind::Head
        | BaseControllerKind::Learned
        | BaseControllerKind::Oracle => {}
    }
    out
}

/// The gains of the parameter file times `along` on the place of the reference and times `rate` in how fast the base comes back
/// to the path.
fn scaled(config: &BaseControllerConfig, along: f64, rate: f64) -> TrackerConfig {
    let gains = TrackerConfig { integral: 0.0, ..config.tracker };
    let TrackerConfig { k_x, k_y, k_theta, .. } = gains;
    match config.drive {
        // each error decays by itself
        Drive::Omnidirectional => {
            TrackerConfig { k_x: along * k_x, k_y: along * k_y, k_theta: rate * k_theta, ..gains }
        }
        // K_y is the square of a rate, K_θ twice one
        Drive::Differential | Drive::Ackermann => {
            TrackerConfig { k_x: along * k_x, k_y: rate * rate * k_y, k_theta: rate * k_theta, ..gains }
        }
    }
}
