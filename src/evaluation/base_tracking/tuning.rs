//! What the controllers were tuned to, and the search that found it, on seeds that the suite does not use.

use super::figures::WINDOWS;
use super::run::run;
use super::{BaseControllerKind, BaseTrackingConfig, MppiConfig, Quantity};
use crate::base::TrackerConfig;
use crate::error::Result;
use crate::evaluation::tracking::{Purpose, in_parallel};

/// What can be tuned; the gains of everyone are the parameter file's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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

impl Default for Integral {
    /// Found by `learned_control evaluate tracking --config config/base.yaml --tune`.
    fn default() -> Self {
        Self { rate: 0.1, clamp: 0.2 }
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
            let tried = candidates(*controller, config.controller.tracker);
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

fn candidates(controller: BaseControllerKind, gains: TrackerConfig) -> Vec<(String, BaseTuning)> {
    let mut out = Vec::new();
    match controller {
        BaseControllerKind::Baseline => {
            for k_x in [1.0, 2.0, 3.0] {
                for rate in [2.0, 2.5, 3.0, 3.5, 4.0, 5.0] {
                    // critically damped: K_y = rate², K_θ = 2 rate
                    let tracker =
                        TrackerConfig { k_x, k_y: rate * rate, k_theta: 2.0 * rate, integral: 0.0, ..gains };
                    let setting = format!("k_x {k_x}, k_y {}, k_theta {}", rate * rate, 2.0 * rate);
                    out.push((setting, BaseTuning { tracker: Some(tracker), ..Default::default() }));
                }
            }
        }
        BaseControllerKind::Integral => {
            for rate in [0.1, 0.2, 0.4, 0.7] {
                for clamp in [0.05, 0.2] {
                    let integral = Integral { rate, clamp };
                    let setting = format!("integral {rate} 1/s, clamp {clamp} m s");
                    out.push((setting, BaseTuning { integral, ..Default::default() }));
                }
            }
        }
        BaseControllerKind::Mppi => {
            let usual = MppiConfig::default();
            for temperature in [0.2, 0.5, 1.0] {
                for place in [30.0, 60.0] {
                    for effort in [0.003, 0.01, 0.03] {
                        let mppi = MppiConfig { temperature, place, effort, ..usual };
                        let setting = format!("temperature {temperature}, place {place}, effort {effort}");
                        out.push((setting, BaseTuning { mppi, ..Default::default() }));
                    }
                }
            }
        }
        BaseControllerKind::Head | BaseControllerKind::Oracle => {}
    }
    out
}
