//! What the learned predictor is worth on a recording: trained on the first part of the time, tested on the rest,
//! causally, beside baselines for the same instants.

pub mod dynamics;
pub mod ridge;

use crate::dataset::{Episode, Recording, Summary};
use crate::error::{Error, Result};
use crate::predictor::{LstmPredictor, Predictor, PredictorModel};
use crate::state::State;
use crate::training::{TrainingConfig, train_predictor};
use crate::trajectory::Trajectory;
use ridge::{Inputs, Ridge, WINDOW};
use serde::Serialize;
use std::fmt;
use std::ops::ControlFlow;

/// Measurements of the training part that the predictor sees before the first that counts.
const WARM_UP: usize = 200;

#[derive(Clone, Debug)]
pub struct EvaluationConfig {
    /// Sampling time, s; the recording's median interval if none.
    pub dt: Option<f64>,
    /// Times ahead at which errors are reported, s; each is taken up to the next step of dt.
    pub horizons: Vec<f64>,
    /// Share of the time that is trained on.
    pub training_share: f64,
    /// The number of predicted steps in it is set by `horizons`.
    pub training: TrainingConfig,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            dt: None,
            horizons: vec![0.05, 0.1, 0.25, 0.5],
            training_share: 0.7,
            training: TrainingConfig::default(),
        }
    }
}

/// Root mean square errors over joints and test time at one time ahead, rad or m.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HorizonErrors {
    /// s
    pub time: f64,
    pub step: usize,
    pub hold: f64,
    pub constant_velocity: f64,
    /// Ridge auto-regression on the last 20 samples of all joints.
    pub ridge: f64,
    /// The same on those of the predicted joint only.
    pub ridge_own: f64,
    pub lstm: f64,
    /// Share of the LSTM's errors within one and two of its standard deviations; of a normal one 0.68 and 0.95.
    pub within: [f64; 2],
    /// Errors counted: instants times joints.
    pub count: usize,
}

impl HorizonErrors {
    /// 1 - rmse / rmse of constant velocity.
    pub fn skill(&self) -> f64 {
        1.0 - self.lstm / self.constant_velocity
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PredictionReport {
    pub origin: String,
    pub joints: Vec<String>,
    pub summary: Summary,
    /// s
    pub dt: f64,
    pub horizons: Vec<HorizonErrors>,
    pub training_steps: usize,
    /// The step whose weights were kept.
    pub best_step: usize,
    pub training_seconds: f64,
    /// Mean time of one measurement and one prediction, s.
    pub seconds_per_prediction: f64,
}

/// Trains on the first part of `recording`, tests on the rest.
pub fn prediction_report(recording: &Recording, config: &EvaluationConfig) -> Result<PredictionReport> {
    let dt = config.dt.unwrap_or(recording.summary.interval);
    let steps = horizon_steps(config, dt)?;
    let (training, testing) = split(recording.episodes(dt)?, config.training_share)?;
    let mut training_config = config.training.clone();
    training_config.predictor.steps = steps.iter().copied().max().unwrap_or(1);
    let proceed = |_: &_| ControlFlow::Continue(());
    let (model, report) = train_predictor(&training_config, &recording.joints, &training, proceed)?;
    let (lstm, seconds_per_prediction) = LstmRun::over(&model, &testing)?;
    let horizons = steps.iter().map(|step| errors(*step, dt, &training, &testing, &lstm));
    Ok(PredictionReport {
        origin: recording.origin.display().to_string(),
        joints: recording.joints.clone(),
        summary: recording.summary.clone(),
        dt,
        horizons: horizons.collect::<Result<_>>()?,
        training_steps: report.progress.last().map_or(0, |progress| progress.step),
        best_step: report.best_step,
        training_seconds: report.seconds,
        seconds_per_prediction,
    })
}

/// Each time ahead in steps of dt, at least one.
fn horizon_steps(config: &EvaluationConfig, dt: f64) -> Result<Vec<usize>> {
    let tolerance = 0.01; // 0.1 s at a median interval of 33.3334 ms is three steps, not four
    match config.horizons.iter().find(|time| !(**time > 0.0 && time.is_finite())) {
        Some(time) => Err(Error::mismatch("time ahead [s]", time, "above zero")),
        None if config.horizons.is_empty() => Err(Error::mismatch("times ahead", "none", "at least one")),
        None if !(dt > 0.0 && dt.is_finite()) => Err(Error::mismatch("dt [s]", dt, "above zero")),
        None => {
            Ok(config.horizons.iter().map(|time| ((time / dt - tolerance).ceil() as usize).max(1)).collect())
        }
    }
}

/// The part of an episode that is tested on, with what came before it.
struct Test {
    states: Vec<State>,
    /// First instant that counts: the first with a whole window of samples in the test part.
    from: usize,
}

/// Cuts the episodes where `share` of the samples have passed.
fn split(episodes: Vec<Episode>, share: f64) -> Result<(Vec<Episode>, Vec<Test>)> {
    if !(0.1..=0.9).contains(&share) {
        return Err(Error::mismatch("training share", share, "0.1 to 0.9"));
    }
    let total: usize = episodes.iter().map(|episode| episode.states.len()).sum();
    let mut left = (total as f64 * share) as usize;
    let (mut training, mut testing) = (Vec::new(), Vec::new());
    for Episode { dt, mut states } in episodes {
        let cut = left.min(states.len());
        left -= cut;
        if cut < states.len() {
            let first = cut.saturating_sub(WARM_UP);
            testing.push(Test { states: states[first..].to_vec(), from: cut - first + WINDOW - 1 });
        }
        states.truncate(cut);
        if !states.is_empty() {
            training.push(Episode { dt, states });
        }
    }
    Ok((training, testing))
}

/// The predictions of the LSTM at all instants of the tests.
struct LstmRun {
    /// [test][instant]
    predictions: Vec<Vec<Trajectory>>,
}

impl LstmRun {
    /// Runs as on a robot: measurement by measurement. Gives also the mean time of one, s.
    fn over(model: &PredictorModel, tests: &[Test]) -> Result<(Self, f64)> {
        let mut predictor = LstmPredictor::new(model)?;
        let mut out = Trajectory::new(predictor.horizon(), model.joints.len());
        let mut predictions = Vec::new();
        let (mut seconds, mut count) = (0.0, 0usize);
        for test in tests {
            predictor.reset();
            let mut of_test = Vec::with_capacity(test.states.len());
            for state in &test.states {
                let start = std::time::Instant::now();
                predictor.observe(state);
                predictor.predict(&mut out);
                seconds += start.elapsed().as_secs_f64();
                of_test.push(out.clone());
            }
            count += test.states.len();
            predictions.push(of_test);
        }
        Ok((Self { predictions }, seconds / count.max(1) as f64))
    }
}

/// Errors of all methods `step` steps ahead, at the same instants.
fn errors(
    step: usize,
    dt: f64,
    training: &[Episode],
    tests: &[Test],
    lstm: &LstmRun,
) -> Result<HorizonErrors> {
    let seen: Vec<&[State]> = training.iter().map(|episode| episode.states.as_slice()).collect();
    let (all, own) =
        (Ridge::fit(&seen, step, Inputs::AllJoints)?, Ridge::fit(&seen, step, Inputs::OwnJoint)?);
    let joints = seen[0][0].position.len();
    let (mut by_all, mut by_own) = (vec![0.0; joints], vec![0.0; joints]);
    let mut squares = [0.0; 5];
    let (mut within, mut count) = ([0usize; 2], 0usize);
    for (test, predictions) in tests.iter().zip(&lstm.predictions) {
        let usable = test.states.len().saturating_sub(step);
        for (time, predicted) in predictions.iter().enumerate().take(usable).skip(test.from) {
            let (now, then) = (&test.states[time], &test.states[time + step]);
            all.predict(&test.states, time, &mut by_all);
            own.predict(&test.states, time, &mut by_own);
            for joint in 0..joints {
                let moved = then.position[joint] - now.position[joint];
                let error = then.position[joint] - predicted.states[step - 1].position[joint];
                let constant_velocity = now.velocity[joint] * step as f64 * dt;
                let errors =
                    [moved, moved - constant_velocity, moved - by_all[joint], moved - by_own[joint], error];
                squares.iter_mut().zip(errors).for_each(|(square, error)| *square += error * error);
                let stddev = predicted.stddev[step - 1][joint];
                within[0] += usize::from(error.abs() <= stddev);
                within[1] += usize::from(error.abs() <= 2.0 * stddev);
                count += 1;
            }
        }
    }
    if count == 0 {
        let expected = format!("more than {:.2} s", step as f64 * dt);
        return Err(Error::mismatch("time to test on", "too little", expected));
    }
    let [hold, constant_velocity, ridge, ridge_own, lstm] =
        squares.map(|square| (square / count as f64).sqrt());
    let within = within.map(|within| within as f64 / count as f64);
    let time = step as f64 * dt;
    Ok(HorizonErrors { time, step, hold, constant_velocity, ridge, ridge_own, lstm, within, count })
}

impl fmt::Display for PredictionReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}: {}", self.origin, self.summary)?;
        writeln!(formatter, "joints: {}", self.joints.join(", "))?;
        writeln!(
            formatter,
            "root mean square error over joints and test time, rad or m; skill is of the LSTM over"
        )?;
        writeln!(
            formatter,
            "constant velocity; 1σ and 2σ are the shares of its errors within (0.68, 0.95 if normal)"
        )?;
        let head = ["ahead", "hold", "const. vel.", "ridge", "ridge, own", "LSTM", "skill", "1σ", "2σ"];
        let [ahead, hold, cv, ridge, own, lstm, skill, one, two] = head;
        writeln!(
            formatter,
            "{ahead:>8} {hold:>9} {cv:>11} {ridge:>9} {own:>10} {lstm:>9} {skill:>6} {one:>5} {two:>5}"
        )?;
        for row in &self.horizons {
            writeln!(
                formatter,
                "{:>5.0} ms {:>9.5} {:>11.5} {:>9.5} {:>10.5} {:>9.5} {:>6.2} {:>5.2} {:>5.2}",
                1e3 * row.time,
                row.hold,
                row.constant_velocity,
                row.ridge,
                row.ridge_own,
                row.lstm,
                row.skill(),
                row.within[0],
                row.within[1]
            )?;
        }
        write!(
            formatter,
            "trained {} steps (kept {}) in {:.1} s; {:.0} µs a measurement and prediction",
            self.training_steps,
            self.best_step,
            self.training_seconds,
            1e6 * self.seconds_per_prediction
        )
    }
}

#[cfg(test)]
mod tests;
