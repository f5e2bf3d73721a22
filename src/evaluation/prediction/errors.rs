//! Sums of errors: of the baselines once, of the learned predictors for each seed, at the same instants.

use super::{AverageDisplacement, Errors, HorizonErrors, OverSeeds, Test};
use crate::dataset::Episode;
use crate::error::{Error, Result};
use crate::predictor::constant_acceleration::{ACCELERATION_OVER, constant_acceleration};
use crate::predictor::ridge::{INPUTS, Inputs, Ridge, spread, write_window};
use crate::state::{Space, State};
use crate::trajectory::Trajectory;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    Learned,
    Linear,
    Lstm,
    /// The learned, told the commands.
    Commanded,
}

const FITTED: usize = 5;
const LEARNED: usize = 4;

/// Sums at one time ahead of one method.
#[derive(Clone, Debug)]
struct Sums {
    /// Squares by coordinate.
    squares: Vec<f64>,
    /// Of the norm over positions.
    norm: f64,
    count: usize,
}

impl Sums {
    fn new(coordinates: usize) -> Self {
        Self { squares: vec![0.0; coordinates], norm: 0.0, count: 0 }
    }

    fn add(&mut self, error: &[f64], positions: usize) {
        self.squares.iter_mut().zip(error).for_each(|(sum, error)| *sum += error * error);
        self.norm += norm(&error[..positions]);
        self.count += 1;
    }

    fn mean(&self, sum: f64) -> f64 {
        sum / self.count.max(1) as f64
    }

    fn of_coordinate(&self, coordinate: usize) -> f64 {
        self.mean(self.squares[coordinate]).sqrt()
    }

    fn of_positions(&self, positions: usize) -> f64 {
        self.mean(self.squares[..positions].iter().sum::<f64>() / positions as f64).sqrt()
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// The tests with the errors so far.
pub struct Bench<'a> {
    space: Space,
    /// Coordinates that are places: all joints, x and y of a base.
    positions: usize,
    dt: f64,
    steps: &'a [usize],
    tests: &'a [Test],
    /// [horizon][method]: hold, constant velocity, constant acceleration, ridge, ridge on the own past
    fitted: Vec<[Sums; FITTED]>,
    /// [seed][horizon][kind]
    learned: Vec<Vec<[Sums; LEARNED]>>,
    /// [horizon]: errors of the learned within one and two standard deviations, and how many there were
    within: Vec<([usize; 2], usize)>,
    /// Means over all steps of the norm over positions, summed over instants: hold, constant velocity; by seed.
    average: ([f64; 2], Vec<f64>),
    average_count: usize,
}

impl<'a> Bench<'a> {
    /// Fits the baselines to `training` and runs them over `tests`, `steps` steps ahead.
    pub fn new(
        space: Space,
        dt: f64,
        steps: &'a [usize],
        training: &[Episode],
        tests: &'a [Test],
    ) -> Result<Self> {
        let coordinates = training.first().and_then(|episode| episode.states.first());
        let coordinates = coordinates.map_or(0, |state| state.position.len());
        let sums = || std::array::from_fn(|_| Sums::new(coordinates));
        let mut bench = Self {
            space,
            positions: match space {
                Space::Joints => coordinates,
                Space::PlanarBase => 2,
            },
            dt,
            steps,
            tests,
            fitted: steps.iter().map(|_| sums()).collect(),
            learned: Vec::new(),
            within: vec![([0, 0], 0); steps.len()],
            average: ([0.0; 2], Vec::new()),
            average_count: 0,
        };
        for horizon in 0..steps.len() {
            bench.run_fitted(horizon, training)?;
        }
        bench.run_average();
        Ok(bench)
    }

    fn run_fitted(&mut self, horizon: usize, training: &[Episode]) -> Result<()> {
        let (space, step, lags) = (self.space, self.steps[horizon], spread(0));
        let seen: Vec<&[State]> = training.iter().map(|episode| episode.states.as_slice()).collect();
        let all = Ridge::fit(&seen, space, &lags, &[step], Inputs::All)?;
        let own = Ridge::fit(&seen, space, &lags, &[step], Inputs::Own)?;
        let coordinates = self.fitted[horizon][0].squares.len();
        let time_ahead = step as f64 * self.dt;
        let mut predictions = vec![vec![0.0; coordinates]; FITTED];
        let (mut truth, mut local) = (vec![0.0; coordinates], vec![0.0; coordinates]);
        let mut window = vec![0.0; coordinates * INPUTS];
        for test in self.tests {
            for time in test.from..test.states.len().saturating_sub(step) {
                let (now, then) = (&test.states[time], &test.states[time + step]);
                space.difference(&now.position, &then.position, &mut truth);
                let [_, velocity, acceleration, by_all, by_own] = predictions.as_mut_slice() else { break };
                space.displacement(&now.velocity, time_ahead, velocity);
                let before = &test.states[time - ACCELERATION_OVER];
                constant_acceleration(space, before, now, time_ahead, acceleration);
                write_window(space, |lag| &test.states[time - lag], &mut window, &mut local);
                // what it never saw in training it does not carry on
                all.limit(&mut window);
                all.predict(&window, by_all);
                own.predict(&window, by_own);
                for (sums, predicted) in self.fitted[horizon].iter_mut().zip(&predictions) {
                    let error: Vec<f64> = truth.iter().zip(predicted).map(|(t, p)| t - p).collect();
                    sums.add(&error, self.positions);
                }
            }
        }
        match self.fitted[horizon][0].count {
            0 => {
                Err(Error::mismatch("time to test on", "too little", format!("more than {time_ahead:.2} s")))
            }
            _ => Ok(()),
        }
    }

    /// Hold and constant velocity at all steps.
    fn run_average(&mut self) {
        let last = self.steps.iter().copied().max().unwrap_or(1);
        let coordinates = self.fitted[0][0].squares.len();
        let (mut truth, mut expected) = (vec![0.0; coordinates], vec![0.0; coordinates]);
        for test in self.tests {
            for time in test.from..test.states.len().saturating_sub(last) {
                let now = &test.states[time];
                for step in 1..=last {
                    self.space.difference(&now.position, &test.states[time + step].position, &mut truth);
                    self.space.displacement(&now.velocity, step as f64 * self.dt, &mut expected);
                    self.average.0[0] += norm(&truth[..self.positions]) / last as f64;
                    expected.iter_mut().zip(&truth).for_each(|(expected, truth)| *expected -= truth);
                    self.average.0[1] += norm(&expected[..self.positions]) / last as f64;
                }
                self.average_count += 1;
            }
        }
    }

    /// Takes in a prediction of one kind, made at instant `time` of a test, of the present seed.
    pub fn take(&mut self, kind: Prediction, test: usize, time: usize, predicted: &Trajectory) {
        let Test { states, from, .. } = &self.tests[test];
        if time < *from {
            return;
        }
        let now = &states[time];
        let coordinates = now.position.len();
        let (mut truth, mut local) = (vec![0.0; coordinates], vec![0.0; coordinates]);
        let mut error_at = |step: usize| {
            self.space.difference(&now.position, &states[time + step].position, &mut truth);
            self.space.difference(&now.position, &predicted.states[step - 1].position, &mut local);
            local.iter_mut().zip(&truth).for_each(|(local, truth)| *local = truth - *local);
            local.clone()
        };
        let Some(seed) = self.learned.last_mut() else { return };
        for (horizon, &step) in self.steps.iter().enumerate() {
            if time + step >= states.len() {
                continue;
            }
            let error = error_at(step);
            seed[horizon][kind as usize].add(&error, self.positions);
            if kind == Prediction::Learned {
                let (within, count) = &mut self.within[horizon];
                for (error, stddev) in error.iter().zip(&predicted.stddev[step - 1]) {
                    within[0] += usize::from(error.abs() <= *stddev);
                    within[1] += usize::from(error.abs() <= 2.0 * stddev);
                    *count += 1;
                }
            }
        }
        let last = self.steps.iter().copied().max().unwrap_or(1);
        if kind == Prediction::Learned && time + last < states.len() {
            let sum: f64 = (1..=last).map(|step| norm(&error_at(step)[..self.positions])).sum();
            self.average.1.last_mut().into_iter().for_each(|average| *average += sum / last as f64);
        }
    }

    /// What follows is of the next seed.
    pub fn begin_seed(&mut self) {
        let coordinates = self.fitted[0][0].squares.len();
        let sums = || std::array::from_fn(|_| Sums::new(coordinates));
        self.learned.push(self.steps.iter().map(|_| sums()).collect());
        self.average.1.push(0.0);
    }

    pub fn finish(&self) -> (Vec<HorizonErrors>, AverageDisplacement) {
        let coordinates = self.fitted[0][0].squares.len();
        let row = |horizon: usize| {
            let (within, count) = self.within[horizon];
            HorizonErrors {
                time: self.steps[horizon] as f64 * self.dt,
                step: self.steps[horizon],
                rmse: self.errors(horizon, |sums| sums.of_positions(self.positions)),
                final_displacement: self.errors(horizon, |sums| sums.mean(sums.norm)),
                coordinates: (0..coordinates)
                    .map(|coordinate| self.errors(horizon, |sums| sums.of_coordinate(coordinate)))
                    .collect(),
                within: within.map(|within| within as f64 / count.max(1) as f64),
                count: self.fitted[horizon][0].count,
            }
        };
        let mean = |sum: &f64| sum / self.average_count.max(1) as f64;
        let average = AverageDisplacement {
            hold: mean(&self.average.0[0]),
            constant_velocity: mean(&self.average.0[1]),
            learned: OverSeeds::of(self.average.1.iter().map(mean).collect()),
        };
        ((0..self.steps.len()).map(row).collect(), average)
    }

    /// Whether there was any prediction that was told commands.
    fn is_commanded(&self) -> bool {
        self.learned.iter().flatten().any(|sums| sums[Prediction::Commanded as usize].count > 0)
    }

    fn errors(&self, horizon: usize, figure: impl Fn(&Sums) -> f64) -> Errors {
        let [hold, constant_velocity, constant_acceleration, ridge, ridge_own] =
            self.fitted[horizon].each_ref().map(&figure);
        let learned = |kind: Prediction| {
            OverSeeds::of(self.learned.iter().map(|seed| figure(&seed[horizon][kind as usize])).collect())
        };
        Errors {
            hold,
            constant_velocity,
            constant_acceleration,
            ridge,
            ridge_own,
            learned: learned(Prediction::Learned),
            commanded: Some(learned(Prediction::Commanded)).filter(|_| self.is_commanded()),
            linear: learned(Prediction::Linear),
            lstm: learned(Prediction::Lstm),
        }
    }
}
