//! How well efforts are explained by the motion that they caused: the inverse dynamics τ = f(q, v, a), in hindsight, by a
//! linear model with networks on what it leaves, beside simpler models on the same samples.

mod correction;
mod linear;
mod motion;
mod page;
mod split;

pub use page::page;
pub use split::Split;

use crate::dataset::Recording;
use crate::error::{Error, Result};
use crate::report::Table;
use crate::training::regression::RegressionConfig;
use linear::{Linear, Scaling};
use motion::{Inputs, Motions, SMALLEST, beside, standard_deviation};
use nalgebra::DMatrix;
use serde::Serialize;
use split::{Parts, runs};
use std::fmt;
use std::time::Instant;

/// A joint whose held-out efforts vary less than this share of its largest effort cannot be scored.
const LEAST_VARIATION: f64 = 1e-6;
/// Of the plain ridge regressions, on scaled inputs.
const PENALTY: f64 = 1.0;
/// The linear part is chosen by predicting one half of each recording from the other.
const RUNS: usize = 2;

#[derive(Clone, Debug)]
pub struct DynamicsConfig {
    /// Sampling time, s; the median interval of the first recording if none.
    pub dt: Option<f64>,
    pub split: Split,
    /// One run a seed, of everything that is random.
    pub seeds: Vec<u64>,
    /// Networks in an ensemble.
    pub members: usize,
    pub network: RegressionConfig,
    /// Robot description (URDF), for the baseline that knows the rigid bodies.
    pub urdf: Option<String>,
}

impl Default for DynamicsConfig {
    fn default() -> Self {
        Self {
            dt: None,
            split: Split::Blocks { seconds: 0.5, every: 5 },
            seeds: vec![0, 1, 2],
            members: 5,
            network: RegressionConfig::default(),
            urdf: None,
        }
    }
}

impl DynamicsConfig {
    fn validate(&self) -> Result<()> {
        self.network.validate()?;
        match self.split {
            _ if self.seeds.is_empty() => Err(Error::mismatch("seeds", "none", "at least one")),
            _ if self.members < 2 => {
                Err(Error::mismatch("members of the ensemble", self.members, "2 or more"))
            }
            Split::Blocks { seconds, every } if !(seconds > 0.0 && every > 1) => Err(Error::mismatch(
                "blocks",
                format!("{seconds} s, one of {every}"),
                "above 0 s, one of 2 or more",
            )),
            Split::Last { share } if !(0.05..=0.9).contains(&share) => {
                Err(Error::mismatch("share that is held out", share, "0.05 to 0.9"))
            }
            _ => Ok(()),
        }
    }
}

/// Mean squared error over the variance of the held-out effort: 0 is perfect, 1 is no better than its mean.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    pub seed: Option<u64>,
    /// Over the joints that could be scored.
    pub mean: f64,
    /// [joint]; none where the held-out effort does not vary.
    pub joints: Vec<Option<f64>>,
}

/// One model's scores, a run each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Method {
    pub name: String,
    pub runs: Vec<Score>,
}

impl Method {
    /// Of the runs' means.
    pub fn median(&self) -> f64 {
        let mut means: Vec<f64> = self.runs.iter().map(|run| run.mean).collect();
        means.sort_by(f64::total_cmp);
        means[means.len() / 2]
    }

    pub fn worst(&self) -> f64 {
        self.runs.iter().map(|run| run.mean).fold(f64::NEG_INFINITY, f64::max)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DynamicsReport {
    pub origins: Vec<String>,
    pub joints: Vec<String>,
    /// s
    pub dt: f64,
    pub split: Split,
    /// Samples.
    pub trained_on: usize,
    pub tested_on: usize,
    /// How far the inputs of a sample look ahead, s.
    pub hindsight: f64,
    /// Simplest first; the last is the whole model.
    pub methods: Vec<Method>,
    /// What is not in `methods`, and why.
    pub notes: Vec<String>,
    /// Wall-clock time of all runs, s.
    pub seconds: f64,
}

impl DynamicsReport {
    pub fn method(&self, name: &str) -> Option<&Method> {
        self.methods.iter().find(|method| method.name == name)
    }
}

/// Names in the report.
pub const LINEAR: &str = "linear (q, v, a)";
pub const PHYSICS: &str = "rigid bodies (URDF), friction fitted";
pub const MLP: &str = "MLP 2x128 (q, v, a)";
pub const MLP_SIGN: &str = "MLP 2x128 (q, v, a, sign v)";
pub const HYSTERESIS: &str = "linear with hysteresis";
pub const WHOLE: &str = "linear with hysteresis + MLPs";

/// Trains on one part of `recordings` and scores on the other. All have the same joints, and efforts.
pub fn dynamics_report(recordings: &[Recording], config: &DynamicsConfig) -> Result<DynamicsReport> {
    config.validate()?;
    let start = Instant::now();
    let dt = config.dt.or(recordings.first().map(|first| first.summary.interval)).unwrap_or(0.0);
    let motions = Motions::new(recordings, dt)?;
    let parts = config.split.parts(&motions)?;
    let trial = Trial { motions: &motions, parts: &parts, config };
    trial.check_efforts()?;
    let mut notes = trial.unscored();
    let mut methods = vec![trial.linear()?];
    let rigid_body = config.urdf.as_ref().map(|urdf| motions.rigid_body_efforts(urdf)).transpose()?;
    match &rigid_body {
        Some(efforts) => methods.push(trial.physics(efforts)?),
        None => notes.push(format!("{PHYSICS}: no URDF")),
    }
    methods.push(trial.networks(MLP, Inputs::Motion)?);
    methods.push(trial.networks(MLP_SIGN, Inputs::MotionAndSign)?);
    methods.extend(trial.whole(rigid_body.as_ref())?);
    Ok(DynamicsReport {
        origins: recordings.iter().map(|recording| recording.origin.display().to_string()).collect(),
        joints: motions.joints.clone(),
        dt,
        split: config.split,
        trained_on: parts.training.len(),
        tested_on: parts.testing.len(),
        hindsight: motions.reach as f64 * dt,
        methods,
        notes,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// One split of the data, on which models are tried.
struct Trial<'a> {
    motions: &'a Motions,
    parts: &'a Parts,
    config: &'a DynamicsConfig,
}

impl Trial<'_> {
    fn linear(&self) -> Result<Method> {
        let inputs = self.motions.inputs(Inputs::Motion, &self.parts.training);
        Ok(Method { name: LINEAR.into(), runs: vec![self.score(&self.plain_ridge(&inputs)?, None)] })
    }

    /// Each joint's effort as a sum of that of the rigid bodies, of rotor inertia, of Coulomb and viscous friction
    /// and an offset.
    fn physics(&self, rigid_body: &DMatrix<f64>) -> Result<Method> {
        let inputs = beside(&[rigid_body, &self.motions.inputs(Inputs::MotionAndSign, &self.parts.training)]);
        let joints = self.motions.joints.len();
        let mut predicted = DMatrix::zeros(inputs.nrows(), joints);
        for joint in 0..joints {
            // rigid body, v, a, sign of the joint itself; its position is the URDF's business
            let own = [0, 2, 3, 4].map(|group| group * joints + joint);
            let inputs = inputs.select_columns(&own);
            let scaling = Scaling::fit(&inputs, &self.parts.training);
            let inputs = scaling.apply(&inputs);
            let target = self.motions.effort.select_columns(&[joint]);
            let training = &self.parts.training;
            let fitted =
                Linear::ridge(&inputs.select_rows(training), &target.select_rows(training), PENALTY)?;
            predicted.set_column(joint, &fitted.predict(&inputs).column(0));
        }
        Ok(Method { name: PHYSICS.into(), runs: vec![self.score(&predicted, None)] })
    }

    fn plain_ridge(&self, inputs: &DMatrix<f64>) -> Result<DMatrix<f64>> {
        let training = &self.parts.training;
        let inputs = Scaling::fit(inputs, training).apply(inputs);
        let effort = self.motions.effort.select_rows(training);
        Ok(Linear::ridge(&inputs.select_rows(training), &effort, PENALTY)?.predict(&inputs))
    }

    /// One network of two layers of 128 on `inputs`, the usual black box.
    fn networks(&self, name: &str, inputs: Inputs) -> Result<Method> {
        let training = &self.parts.training;
        let inputs = self.motions.inputs(inputs, training);
        let inputs = Scaling::fit(&inputs, training).apply(&inputs);
        let network = RegressionConfig { hidden: vec![128, 128], ..self.config.network.clone() };
        let run = |seed: &u64| -> Result<Score> {
            let (targets, back) = self.scaled(&self.motions.effort);
            let part = (0, self.config.members);
            let predicted =
                correction::network(self.motions, &inputs, &targets, training, &network, part, *seed)?;
            Ok(self.score(&back(&predicted), Some(*seed)))
        };
        Ok(Method { name: name.into(), runs: self.config.seeds.iter().map(run).collect::<Result<_>>()? })
    }

    /// The linear model with hysteresis, alone and with an ensemble on what it leaves.
    fn whole(&self, rigid_body: Option<&DMatrix<f64>>) -> Result<[Method; 2]> {
        let (linear, whole) = self.predict_whole(rigid_body)?;
        let alone = Method { name: HYSTERESIS.into(), runs: vec![self.score(&linear, None)] };
        let runs = self.config.seeds.iter().zip(&whole);
        let runs = runs.map(|(seed, predicted)| self.score(predicted, Some(*seed))).collect();
        Ok([alone, Method { name: WHOLE.into(), runs }])
    }

    /// Efforts of all rows [row, joint], Nm or N, by the linear model and by the whole one with each seed.
    fn predict_whole(&self, rigid_body: Option<&DMatrix<f64>>) -> Result<(DMatrix<f64>, Vec<DMatrix<f64>>)> {
        let training = &self.parts.training;
        let mut inputs = self.motions.inputs(Inputs::Full, training);
        if let Some(rigid_body) = rigid_body {
            inputs = beside(&[&inputs, rigid_body]);
        }
        let inputs = Scaling::fit(&inputs, training).apply_within_range(&inputs);
        let (targets, back) = self.scaled(&self.motions.effort);
        let runs_of = runs(self.motions, training, RUNS);
        let fitted =
            Linear::grouped(&inputs.select_rows(training), &targets.select_rows(training), &runs_of)?;
        let linear = fitted.predict(&inputs);
        let (residual, back_residual) = self.scaled(&(&targets - &linear));
        let familiarity = correction::familiarity(self.motions, training, self.config.members);
        let mut whole = Vec::new();
        for &seed in &self.config.seeds {
            let members = self.config.members;
            let member = |member: usize| {
                let seed = seed.wrapping_mul(members as u64).wrapping_add(member as u64);
                let (part, network) = ((member, members), &self.config.network);
                let predicted =
                    correction::network(self.motions, &inputs, &residual, training, network, part, seed)?;
                Ok(back_residual(&predicted))
            };
            let predictions = (0..members).map(member).collect::<Result<Vec<_>>>()?;
            let mut added = correction::agreed(&predictions);
            added.row_iter_mut().zip(&familiarity).for_each(|(mut row, share)| row *= *share);
            whole.push(back(&(&linear + added)));
        }
        Ok((back(&linear), whole))
    }

    /// `table` with mean 0 and deviation 1 on the training rows, and the way back.
    fn scaled(&self, table: &DMatrix<f64>) -> (DMatrix<f64>, impl Fn(&DMatrix<f64>) -> DMatrix<f64> + use<>) {
        let scaling = Scaling::fit(table, &self.parts.training);
        (scaling.apply(table), move |scaled: &DMatrix<f64>| scaling.undo(scaled))
    }

    /// Whether the held-out effort of `joint` varies.
    fn is_scored(&self, joint: usize) -> bool {
        let effort = &self.motions.effort;
        let least = SMALLEST.max(LEAST_VARIATION * effort.column(joint).amax());
        standard_deviation(effort, joint, &self.parts.testing) > least
    }

    /// Refuses efforts of which nothing can be explained: many drivers publish zeros for what they do not measure.
    fn check_efforts(&self) -> Result<()> {
        let effort = &self.motions.effort;
        let joints = &self.motions.joints;
        if (0..joints.len()).any(|joint| self.is_scored(joint)) {
            return Ok(());
        }
        let range = |joint: usize| (effort.column(joint).min(), effort.column(joint).max());
        let found = |(joint, name): (usize, &String)| match range(joint) {
            (low, high) if low == high => format!("{name} {low}"),
            (low, high) => format!("{name} {low} to {high}, but none in what is held out"),
        };
        let found: Vec<String> = joints.iter().enumerate().map(found).collect();
        let expected = "one that varies in at least one joint: measured torques or currents";
        Err(Error::mismatch("effort that does not vary", found.join(", "), expected))
    }

    fn unscored(&self) -> Vec<String> {
        let joints = self.motions.joints.iter().enumerate();
        let unscored = joints.filter(|(joint, _)| !self.is_scored(*joint));
        unscored.map(|(_, name)| format!("{name}: its held-out effort does not vary; not scored")).collect()
    }

    /// Of `predicted` [row, joint], Nm or N, on the test rows.
    fn score(&self, predicted: &DMatrix<f64>, seed: Option<u64>) -> Score {
        let testing = &self.parts.testing;
        let of_joint = |joint: usize| {
            let error = |row: &usize| (predicted[(*row, joint)] - self.motions.effort[(*row, joint)]).powi(2);
            let error = testing.iter().map(error).sum::<f64>() / testing.len() as f64;
            let deviation = standard_deviation(&self.motions.effort, joint, testing);
            self.is_scored(joint).then_some(error / deviation.powi(2))
        };
        let joints: Vec<Option<f64>> = (0..self.motions.joints.len()).map(of_joint).collect();
        let scored: Vec<f64> = joints.iter().flatten().copied().collect();
        Score { seed, mean: scored.iter().sum::<f64>() / scored.len().max(1) as f64, joints }
    }
}

impl DynamicsReport {
    /// Normalised errors by model and joint; of several runs the median's.
    pub fn table(&self) -> Table {
        let title = format!("Mean squared error of the effort over its variance, {}", self.split);
        let header = ["model", "mean", "worst seed"].into_iter().map(str::to_owned);
        let mut table = Table::new(title, header.chain(self.joints.iter().cloned()));
        for method in &self.methods {
            let median = method.runs.iter().find(|run| run.mean == method.median());
            let joints = median.map_or(&[][..], |run| &run.joints).iter();
            let figures = joints.map(|figure| figure.map_or("-".into(), |figure| format!("{figure:.3}")));
            let worst = if method.runs.len() > 1 { format!("{:.3}", method.worst()) } else { "-".into() };
            let head = [method.name.clone(), format!("{:.3}", method.median()), worst];
            table.row(head.into_iter().chain(figures));
        }
        table
    }
}

impl fmt::Display for DynamicsReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.origins.join(", "))?;
        write!(formatter, "{}", self.table())?;
        for note in &self.notes {
            writeln!(formatter, "{note}")?;
        }
        let seeds = self.methods.last().map_or(0, |method| method.runs.len());
        write!(
            formatter,
            "{} samples of {:.4} s trained on, {} tested on; {seeds} seeds, joints of the median one; inputs look \
             {:.0} ms ahead; {:.1} s",
            self.trained_on,
            self.dt,
            self.tested_on,
            1e3 * self.hindsight,
            self.seconds
        )
    }
}

#[cfg(test)]
mod tests;
