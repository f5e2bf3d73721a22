//! The predictor against its baselines: trained on the first part of the time, tested on the rest, causally, all at
//! the same instants.

mod errors;
mod horizons;
mod render;

use crate::dataset::{Episode, Recording, Summary, commands};
use crate::error::{Error, Result};
use crate::predictor::commands::{CommandConfig, Told};
use crate::predictor::mixture::Experts;
use crate::predictor::ridge::WINDOW;
use crate::predictor::{LstmPredictor, Predictor, PredictorModel};
use crate::state::{Space, State};
use crate::training::{TrainingConfig, train_predictor};
use crate::trajectory::Trajectory;
use errors::{Bench, Prediction};
use horizons::Horizons;
pub use horizons::usual_horizons;
pub use render::page;
use serde::Serialize;
use std::ops::ControlFlow;

/// Measurements of the training part that the predictor sees before the first that counts.
const WARM_UP: usize = 200;
/// An error of less, rad or m, is none: in a table it is 0.00000, and what noise makes of the last digits says nothing.
const NEGLIGIBLE: f64 = 5e-6;
/// Share of the test time at which the example of a prediction is shown.
const EXAMPLES: [f64; 4] = [0.2, 0.4, 0.6, 0.8];

#[derive(Clone, Debug)]
pub struct EvaluationConfig {
    /// Sampling time, s; the recording's median interval if none.
    pub dt: Option<f64>,
    /// Times ahead at which errors are reported, s; each is taken up to the next step of dt. If none: those of
    /// [`usual_horizons`] that the recordings are long enough for.
    pub horizons: Vec<f64>,
    /// Share of the time that is trained on.
    pub training_share: f64,
    /// Each a training of its own.
    pub seeds: Vec<u64>,
    /// The number of predicted steps and the space in it are set by `horizons` and the recording.
    pub training: TrainingConfig,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            dt: None,
            horizons: vec![],
            training_share: 0.7,
            seeds: vec![0],
            training: TrainingConfig::default(),
        }
    }
}

/// One figure of several trainings that differ in the seed only.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OverSeeds {
    pub median: f64,
    pub worst: f64,
    /// In the order of the seeds.
    pub each: Vec<f64>,
}

impl OverSeeds {
    /// Of errors: the worst is the largest.
    fn of(each: Vec<f64>) -> Self {
        let mut sorted = each.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.as_slice() {
            [] => f64::NAN,
            sorted if sorted.len() % 2 == 1 => sorted[middle],
            sorted => 0.5 * (sorted[middle - 1] + sorted[middle]),
        };
        Self { median, worst: sorted.last().copied().unwrap_or(f64::NAN), each }
    }
}

/// Errors of the methods that are fitted once, and of the learned ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Errors {
    /// The robot stays where it is.
    pub hold: f64,
    /// It goes on as it goes; a base along an arc.
    pub constant_velocity: f64,
    /// Its acceleration over the last five samples lasts.
    pub constant_acceleration: f64,
    /// Ridge auto-regression on the last 20 samples of all coordinates.
    pub ridge: f64,
    /// The same on those of the predicted coordinate only.
    pub ridge_own: f64,
    /// The learned predictor: linear path and LSTM.
    pub learned: OverSeeds,
    /// The same when it is told the commands, where there are some; all others are not.
    pub commanded: Option<OverSeeds>,
    /// The same without the LSTM.
    pub linear: OverSeeds,
    /// The same without the linear path.
    pub lstm: OverSeeds,
}

impl Errors {
    /// The least error of the methods that learn nothing as they go: constant velocity and acceleration, both ridges.
    pub fn best_baseline(&self) -> f64 {
        [self.constant_acceleration, self.ridge, self.ridge_own]
            .into_iter()
            .fold(self.constant_velocity, f64::min)
    }

    /// 1 - error / error of constant velocity, of the median seed.
    pub fn skill(&self) -> f64 {
        1.0 - self.learned.median / self.constant_velocity
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HorizonErrors {
    /// s
    pub time: f64,
    pub step: usize,
    /// Root mean square over positions (joints, or x and y of a base) and test time, rad or m.
    #[serde(flatten)]
    pub rmse: Errors,
    /// Mean over the test time of the Euclidean norm over positions at this time ahead, rad or m.
    pub final_displacement: Errors,
    /// Root mean square error of each coordinate, rad or m.
    pub coordinates: Vec<Errors>,
    /// Share of the learned predictor's errors within one and two of its standard deviations, over all seeds; of a
    /// normal one 0.68 and 0.95.
    pub within: [f64; 2],
    /// Instants counted.
    pub count: usize,
}

/// The mean over all steps up to the longest time ahead of the mean Euclidean norm over positions, rad or m.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AverageDisplacement {
    pub hold: f64,
    pub constant_velocity: f64,
    pub learned: OverSeeds,
}

/// A predicted motion beside what became of it, for a plot; of the first seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// [coordinate][sample] before and after the prediction was made, rad or m; sample `now` is the last that it knew.
    pub truth: Vec<Vec<f64>>,
    pub now: usize,
    /// [coordinate][step]
    pub predicted: Vec<Vec<f64>>,
    pub stddev: Vec<Vec<f64>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PredictionReport {
    /// The recordings.
    pub origin: String,
    pub joints: Vec<String>,
    pub space: Space,
    /// Those that `commanded` was told.
    pub commands: Option<CommandConfig>,
    /// Of each recording.
    pub summaries: Vec<Summary>,
    /// s
    pub dt: f64,
    pub seeds: Vec<u64>,
    pub horizons: Vec<HorizonErrors>,
    pub average_displacement: AverageDisplacement,
    pub examples: Vec<Example>,
    pub training_steps: usize,
    /// The steps whose weights were kept, by seed.
    pub best_steps: Vec<usize>,
    /// Of all trainings.
    pub training_seconds: f64,
    /// Mean time of one measurement and one prediction, s.
    pub seconds_per_prediction: f64,
    /// What is not in the figures, and why.
    pub notes: Vec<String>,
}

impl PredictionReport {
    /// Whether the robot does not move in what is tested on.
    pub fn rests(&self) -> bool {
        self.horizons.iter().all(|row| row.rmse.hold < NEGLIGIBLE)
    }

    /// Where the learned predictor's median seed is more than `tolerance` worse than the best baseline: time ahead
    /// [s] and ratio, infinite where that has no error.
    pub fn failures(&self, tolerance: f64) -> Vec<(f64, f64)> {
        let ratio = |row: &HorizonErrors| match row.rmse.best_baseline() {
            best if best < NEGLIGIBLE => row.rmse.learned.median / 0.0,
            best => row.rmse.learned.median / best,
        };
        let is_error = |row: &&HorizonErrors| row.rmse.learned.median >= NEGLIGIBLE;
        let rows = self.horizons.iter().filter(is_error).map(|row| (row.time, ratio(row)));
        rows.filter(|(_, ratio)| *ratio > 1.0 + tolerance).collect()
    }
}

/// Trains on the first part of the time of all `recordings` in their order, once for each seed, and tests on the rest.
pub fn prediction_report(recordings: &[Recording], config: &EvaluationConfig) -> Result<PredictionReport> {
    let Some(recording) = recordings.first() else {
        return Err(Error::mismatch("recordings", "none", "at least one"));
    };
    let dt = config.dt.unwrap_or(recording.summary.interval);
    horizons::horizon_steps(config, recording.space, dt)?; // a wrong one is no matter of the recording
    let mut episodes = Vec::new();
    for other in recordings {
        if other.joints != recording.joints || other.space != recording.space {
            let what = format!("coordinates of {}", other.origin.display());
            return Err(Error::mismatch(what, other.joints.join(", "), recording.joints.join(", ")));
        }
        episodes.extend(other.episodes(dt)?);
    }
    let (training, testing) = split(episodes, config.training_share)?;
    let Horizons { steps, left_out } = horizons::choose(recordings, config, dt, &training, &testing)?;
    let mut training_config = config.training.clone();
    training_config.predictor.set_steps(steps.iter().copied().max().unwrap_or(1));
    training_config.predictor.space = recording.space;
    training_config.predictor.commands = commands::common(recordings)?;
    if config.seeds.is_empty() {
        return Err(Error::mismatch("seeds", "none", "at least one"));
    }
    let mut bench = Bench::new(recording.space, dt, &steps, &training, &testing)?;
    let (mut best_steps, mut examples) = (Vec::new(), Vec::new());
    let (mut training_steps, mut training_seconds, mut run_seconds) = (0, 0.0, 0.0);
    for seed in &config.seeds {
        bench.begin_seed();
        training_config.seed = *seed;
        let proceed = |_: &_| ControlFlow::Continue(());
        let (model, report) = train_predictor(&training_config, &recording.joints, &training, proceed)?;
        training_steps = report.progress.last().map_or(0, |progress| progress.step);
        training_seconds += report.seconds;
        best_steps.push(report.best_step);
        let without = Experts::WITHOUT_COMMANDED;
        let mut kinds = vec![
            (Prediction::Learned, without),
            (Prediction::Linear, Experts { lstm: false, ..without }),
            (Prediction::Lstm, Experts { linear: false, ..without }),
        ];
        if training_config.predictor.commands.is_some() {
            kinds.push((Prediction::Commanded, Experts::ALL));
        }
        for (kind, experts) in kinds {
            let is_shown = kind == Prediction::Learned && examples.is_empty();
            let seconds = run(&model, experts, &testing, |test, time, predicted| {
                bench.take(kind, test, time, predicted);
                if is_shown && testing[test].is_example(time, predicted.states.len()) {
                    examples.push(testing[test].example(time, predicted));
                }
            })?;
            run_seconds = if kind == Prediction::Learned { seconds } else { run_seconds };
        }
    }
    let (horizons, average_displacement) = bench.finish();
    Ok(PredictionReport {
        origin: origin(recordings),
        joints: recording.joints.clone(),
        space: recording.space,
        commands: training_config.predictor.commands,
        summaries: recordings.iter().map(|recording| recording.summary.clone()).collect(),
        dt,
        seeds: config.seeds.clone(),
        horizons,
        average_displacement,
        examples,
        training_steps,
        best_steps,
        training_seconds,
        seconds_per_prediction: run_seconds,
        notes: left_out.into_iter().collect(),
    })
}

/// The recording, or the first and the last of many.
fn origin(recordings: &[Recording]) -> String {
    let name = |recording: &Recording| recording.origin.display().to_string();
    match recordings {
        [first, .., last] => format!("{} to {} ({} recordings)", name(first), name(last), recordings.len()),
        _ => recordings.iter().map(name).collect(),
    }
}

/// The part of an episode that is tested on, with what came before it.
struct Test {
    states: Vec<State>,
    /// What had been told by each; empty without commands.
    told: Vec<Option<Told>>,
    /// First instant that counts: the first with a whole window of samples in the test part.
    from: usize,
}

impl Test {
    /// Samples that are tested on.
    fn length(&self) -> usize {
        (self.states.len() + WINDOW - 1).saturating_sub(self.from)
    }

    fn is_example(&self, time: usize, steps: usize) -> bool {
        let span = self.states.len().saturating_sub(self.from + steps) as f64;
        span > 0.0 && EXAMPLES.iter().any(|share| time == self.from + (share * span) as usize)
    }

    fn example(&self, time: usize, predicted: &Trajectory) -> Example {
        let steps = predicted.states.len();
        let first = time.saturating_sub(steps);
        let shown = &self.states[first..(time + steps + 1).min(self.states.len())];
        let coordinates = 0..self.states[time].position.len();
        let of = |states: &[State]| -> Vec<Vec<f64>> {
            let column = |coordinate: usize| states.iter().map(|state| state.position[coordinate]).collect();
            coordinates.clone().map(column).collect()
        };
        let stddev = |coordinate: usize| predicted.stddev.iter().map(|stddev| stddev[coordinate]).collect();
        Example {
            truth: of(shown),
            now: time - first,
            predicted: of(&predicted.states),
            stddev: coordinates.clone().map(stddev).collect(),
        }
    }
}

/// Cuts the episodes where `share` of the samples have passed.
fn split(episodes: Vec<Episode>, share: f64) -> Result<(Vec<Episode>, Vec<Test>)> {
    if !(0.1..=0.9).contains(&share) {
        return Err(Error::mismatch("training share", share, "0.1 to 0.9"));
    }
    let total: usize = episodes.iter().map(|episode| episode.states.len()).sum();
    let mut left = (total as f64 * share) as usize;
    let (mut training, mut testing) = (Vec::new(), Vec::new());
    for episode in episodes {
        let length = episode.states.len();
        let cut = left.min(length);
        left -= cut;
        if cut < length {
            let first = cut.saturating_sub(WARM_UP);
            let Episode { states, told, .. } = episode.part(first..length);
            testing.push(Test { states, told, from: cut - first + WINDOW - 1 });
        }
        if cut > 0 {
            training.push(episode.part(0..cut));
        }
    }
    Ok((training, testing))
}

/// Runs as on a robot, measurement by measurement, through all tests in their order, and hands out each prediction
/// with the indices of the test and the instant. What is learned on the way is kept. Gives the mean time of one
/// measurement and one prediction, s.
fn run(
    model: &PredictorModel,
    experts: Experts,
    tests: &[Test],
    mut on_prediction: impl FnMut(usize, usize, &Trajectory),
) -> Result<f64> {
    let mut predictor = LstmPredictor::with_experts(model, experts)?;
    let mut out = Trajectory::new(predictor.horizon(), model.joints.len());
    let (mut seconds, mut count) = (0.0, 0usize);
    for (index, test) in tests.iter().enumerate() {
        for (time, state) in test.states.iter().enumerate() {
            // what came before the test was trained on
            predictor.set_adapting(time + WINDOW > test.from);
            let start = std::time::Instant::now();
            predictor.observe_told(state, test.told.get(time).and_then(Option::as_ref));
            predictor.predict(&mut out);
            seconds += start.elapsed().as_secs_f64();
            count += 1;
            on_prediction(index, time, &out);
        }
    }
    Ok(seconds / count.max(1) as f64)
}

#[cfg(test)]
mod tests;
