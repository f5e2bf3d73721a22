//! What a robot was told, beside what it did: commands that hold until the next one, or a plan whose future is known.
//!
//! A command counts from the newest measurement that there was when it came. No clock is needed for that, and nothing is
//! known before it was there: commands often have no stamp, and where they have one it is often another computer's.

use super::linear::knots;
use crate::error::{Error, Result};
use crate::reference::{Reference, ReferencePoint, SplineTrajectory};
use crate::state::{Space, Stamp, State};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A command that is older counts no more, s.
pub const AGE_LIMIT: f64 = 0.5;
/// The start of a plan that is further from its arrival is of another clock, s.
const SAME_CLOCK: f64 = 60.0;

/// What a command sets, of each coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// rad or m
    Position,
    /// rad/s or m/s; of a base in its own frame
    Velocity,
    /// rad/s² or m/s²
    Acceleration,
    /// Nm or N, or whatever the drives take
    Effort,
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Position => "position",
            Self::Velocity => "velocity",
            Self::Acceleration => "acceleration",
            Self::Effort => "effort",
        })
    }
}

impl FromStr for Quantity {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let all = [Self::Position, Self::Velocity, Self::Acceleration, Self::Effort];
        let found = all.into_iter().find(|quantity| quantity.to_string() == text);
        found.ok_or_else(|| format!("'{text}' is none of position, velocity, acceleration, effort"))
    }
}

/// The commands that a model knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandConfig {
    /// Names of the commanded coordinates: all of the model's, in its order.
    pub coordinates: Vec<String>,
    /// What is set of each, in the order of [`Quantity`].
    pub quantities: Vec<Quantity>,
    /// Whether they are plans, whose future is known; they set position and velocity.
    pub planned: bool,
    /// A command that is older counts no more, nor does a plan so long after its end, s.
    pub age_limit: f64,
}

impl CommandConfig {
    pub fn new(coordinates: &[String], quantities: Vec<Quantity>) -> Self {
        Self { coordinates: coordinates.to_vec(), quantities, planned: false, age_limit: AGE_LIMIT }
    }

    pub fn of_plans(coordinates: &[String]) -> Self {
        let quantities = vec![Quantity::Position, Quantity::Velocity];
        Self { planned: true, ..Self::new(coordinates, quantities) }
    }

    /// Refuses what contradicts itself, and commands of other coordinates than those of a model.
    pub fn check(&self, coordinates: &[String], space: Space) -> Result<()> {
        if self.coordinates != coordinates {
            let (found, expected) = (self.coordinates.join(", "), coordinates.join(", "));
            return Err(Error::mismatch("coordinates of the commands", found, expected));
        }
        let rising = self.quantities.windows(2).all(|pair| pair[0] < pair[1]);
        let fits = match (self.planned, space) {
            (true, Space::Joints) => self.quantities == [Quantity::Position, Quantity::Velocity],
            (true, Space::PlanarBase) => false,
            (false, Space::PlanarBase) => self.quantities == [Quantity::Velocity],
            (false, Space::Joints) => !self.quantities.is_empty() && rising,
        };
        if !fits {
            let expected =
                "plans of position and velocity, or different quantities in their order; of a base velocity";
            return Err(Error::mismatch("commands of the model", self, expected));
        }
        if !(self.age_limit > 0.0 && self.age_limit.is_finite()) {
            return Err(Error::mismatch("age_limit of commands [s]", self.age_limit, "above 0"));
        }
        Ok(())
    }

    /// Refuses commands that are not of the kind of `model`.
    pub fn check_same(&self, model: &Self) -> Result<()> {
        let is_same = self.coordinates == model.coordinates
            && self.quantities == model.quantities
            && self.planned == model.planned;
        if is_same { Ok(()) } else { Err(Error::mismatch("commands", self, model)) }
    }

    /// Numbers in a command that holds.
    pub fn values(&self) -> usize {
        self.quantities.len() * self.coordinates.len()
    }

    /// Features of one coordinate, with `blocks` of the past and `knots` of the future.
    fn features(&self, blocks: usize, knots: usize) -> usize {
        self.quantities.len() * (1 + blocks) + if self.planned { knots } else { 0 }
    }
}

impl fmt::Display for CommandConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quantities: Vec<String> = self.quantities.iter().map(Quantity::to_string).collect();
        let kind = if self.planned { "plans" } else { "commands" };
        write!(formatter, "{kind} of {} of {}", quantities.join(" and "), self.coordinates.join(", "))
    }
}

/// What is in a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Instruction {
    /// To be held until the next, [quantity][coordinate].
    Held(Vec<f64>),
    /// From `start` on by the clock of the measurements; from its arrival if there is none.
    Plan { reference: SplineTrajectory, start: Option<Stamp> },
}

/// An instruction, and the stamp of the newest measurement when it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    since: Stamp,
    /// Of a plan, when it begins.
    begin: Stamp,
    instruction: Arc<Instruction>,
}

impl Told {
    pub fn new(since: Stamp, instruction: Arc<Instruction>) -> Self {
        let begin = match &*instruction {
            Instruction::Plan { start: Some(start), .. } if start.since(since).abs() < SAME_CLOCK => *start,
            _ => since,
        };
        Self { since, begin, instruction }
    }

    pub fn instruction(&self) -> &Arc<Instruction> {
        &self.instruction
    }

    /// Whether `other` is the same message, told at the same time.
    pub fn is_same(&self, other: &Self) -> bool {
        self.since == other.since && Arc::ptr_eq(&self.instruction, &other.instruction)
    }

    /// Whether it counts at `stamp`.
    pub fn is_in_force(&self, stamp: Stamp, config: &CommandConfig) -> bool {
        let from = match &*self.instruction {
            Instruction::Held(values) if !config.planned && values.len() == config.values() => self.since,
            Instruction::Plan { reference, .. } if config.planned => {
                return stamp >= self.since
                    && stamp.since(self.begin) <= reference.duration() + config.age_limit;
            }
            _ => return false,
        };
        stamp >= from && stamp.since(from) <= config.age_limit
    }
}

/// What the expert on commands is told of each coordinate. By how much the command is above what is measured, which
/// a drive makes up for after its lag; how the command was, as means over blocks that widen into the past, above
/// what it is now; and of a plan what its future adds to constant velocity. Training and running use this one
/// implementation.
#[derive(Clone, Debug)]
pub struct CommandFeatures {
    config: CommandConfig,
    /// s
    dt: f64,
    /// Steps at which the future of a plan is told.
    knots: Vec<usize>,
    /// Last sample before now of each block, in steps; the blocks lie end to end.
    blocks: Vec<usize>,
    /// Commands of the last samples, [slot][quantity][coordinate], a ring.
    past: Vec<f64>,
    slot: usize,
    /// Whether the ring is of a command that was in force at the sample before.
    running: bool,
    now: ReferencePoint,
    then: ReferencePoint,
}

impl CommandFeatures {
    /// `dt` in s; `blocks` of the motion's features and the horizon `steps` in steps of dt.
    pub fn new(config: &CommandConfig, dt: f64, blocks: &[usize], steps: usize) -> Self {
        let blocks = blocks_of(blocks);
        let slots = blocks.last().copied().unwrap_or(0) + 1;
        let point = ReferencePoint::zeros(config.coordinates.len());
        Self {
            dt,
            knots: knots(steps),
            past: vec![0.0; slots * config.values()],
            blocks,
            slot: 0,
            running: false,
            now: point.clone(),
            then: point,
            config: config.clone(),
        }
    }

    /// Features of one coordinate.
    pub fn count(&self) -> usize {
        self.config.features(self.blocks.len(), self.knots.len())
    }

    /// Takes the sample one dt after the one before, or the first of a motion, with what was told by then; fills `out`
    /// [coordinate][feature]. False, with zeros, if no command is in force.
    pub fn observe(&mut self, sample: &State, is_first: bool, told: Option<&Told>, out: &mut [f64]) -> bool {
        self.running &= !is_first;
        let told = told.filter(|told| told.is_in_force(sample.stamp, &self.config));
        let Some(told) = told else {
            self.running = false;
            out.fill(0.0);
            return false;
        };
        self.remember(sample.stamp, told);
        let (count, coordinates) = (self.count(), self.config.coordinates.len());
        for (coordinate, out) in out.chunks_exact_mut(count).enumerate() {
            let of_quantities = out.chunks_exact_mut(1 + self.blocks.len());
            for (index, (out, quantity)) in of_quantities.zip(&self.config.quantities).enumerate() {
                let at = |lag: usize| {
                    let slots = self.past.len() / self.config.values();
                    let slot = (self.slot + slots - lag) % slots;
                    self.past[slot * self.config.values() + index * coordinates + coordinate]
                };
                let measured = match quantity {
                    Quantity::Position => sample.position[coordinate],
                    Quantity::Velocity => sample.velocity[coordinate],
                    Quantity::Acceleration | Quantity::Effort => 0.0,
                };
                let now = at(0);
                out[0] = now - measured;
                let mut from = 0;
                for (out, &to) in out[1..].iter_mut().zip(&self.blocks) {
                    let sum: f64 = (from..to).map(|lag| at(lag + 1)).sum();
                    *out = sum / (to - from) as f64 - now;
                    from = to;
                }
            }
        }
        self.look_ahead(sample, told, out);
        true
    }

    /// Puts what is commanded at `stamp` into the ring; at first it is all of its past.
    fn remember(&mut self, stamp: Stamp, told: &Told) {
        let size = self.config.values();
        self.slot = (self.slot + 1) % (self.past.len() / size);
        let present = &mut self.past[self.slot * size..][..size];
        match &*told.instruction {
            Instruction::Held(values) => present.copy_from_slice(values),
            Instruction::Plan { reference, .. } => {
                reference.sample(stamp.since(told.begin), &mut self.now);
                let (positions, velocities) = present.split_at_mut(self.config.coordinates.len());
                positions.copy_from_slice(&self.now.position);
                velocities.copy_from_slice(&self.now.velocity);
            }
        }
        if !self.running {
            let range = self.slot * size..(self.slot + 1) * size;
            for first in (0..self.past.len()).step_by(size) {
                self.past.copy_within(range.clone(), first);
            }
            self.running = true;
        }
    }

    /// Fills the last features of each coordinate with what the plan adds to constant velocity.
    fn look_ahead(&mut self, sample: &State, told: &Told, out: &mut [f64]) {
        let Instruction::Plan { reference, .. } = &*told.instruction else { return };
        let count = self.count();
        let elapsed = sample.stamp.since(told.begin);
        let first = count - self.knots.len();
        for (index, steps) in self.knots.iter().enumerate() {
            let ahead = *steps as f64 * self.dt;
            reference.sample(elapsed + ahead, &mut self.then);
            for (coordinate, out) in out.chunks_exact_mut(count).enumerate() {
                let planned = self.then.position[coordinate] - self.now.position[coordinate];
                out[first + index] = planned - sample.velocity[coordinate] * ahead;
            }
        }
    }
}

/// Features of one coordinate whose motion is told by `blocks` and predicted so many `steps` ahead.
pub fn count(config: &CommandConfig, blocks: &[usize], steps: usize) -> usize {
    config.features(blocks_of(blocks).len(), knots(steps).len())
}

/// Powers of two, as far back as the motion is told.
fn blocks_of(blocks: &[usize]) -> Vec<usize> {
    let last = blocks.last().copied().unwrap_or(0);
    (0..).map(|power| 1usize << power).take_while(|block| *block <= last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{JointTrajectory, JointTrajectoryPoint, MissingJoints};
    use crate::robot::Robot;

    const DT: f64 = 0.1;

    fn names() -> [String; 1] {
        ["a".to_owned()]
    }

    fn at(step: i64, position: f64, velocity: f64) -> State {
        State { stamp: Stamp(step * 100_000_000), position: vec![position], velocity: vec![velocity] }
    }

    fn held(step: i64, value: f64) -> Told {
        Told::new(Stamp(step * 100_000_000), Arc::new(Instruction::Held(vec![value])))
    }

    #[test]
    fn features_are_those_computed_by_hand() {
        let config = CommandConfig::new(&names(), vec![Quantity::Velocity]);
        let mut features = CommandFeatures::new(&config, DT, &[1, 2, 3, 4], 5);
        assert_eq!((features.count(), count(&config, &[1, 2, 3, 4], 5)), (4, 4)); // now, and blocks to 1, 2 and 4
        let mut out = [9.0; 4];
        assert!(!features.observe(&at(0, 0.0, 0.5), true, None, &mut out));
        assert_eq!(out, [0.0; 4]);
        // of a new command nothing was before
        assert!(features.observe(&at(1, 0.0, 0.5), false, Some(&held(0, 2.0)), &mut out));
        assert_eq!(out, [1.5, 0.0, 0.0, 0.0]);
        assert!(features.observe(&at(2, 0.0, 1.0), false, Some(&held(1, 3.0)), &mut out));
        assert_eq!(out, [2.0, -1.0, -1.0, -1.0]);
        assert!(features.observe(&at(3, 0.0, 1.0), false, Some(&held(1, 3.0)), &mut out));
        assert_eq!(out, [2.0, 0.0, -1.0, -1.0]);
        // the first sample of another motion has no past
        assert!(features.observe(&at(4, 0.0, 1.0), true, Some(&held(3, 1.0)), &mut out));
        assert_eq!(out, [0.0; 4]);
    }

    #[test]
    fn a_command_counts_from_its_arrival_until_it_is_old() {
        let config = CommandConfig::new(&names(), vec![Quantity::Velocity]);
        let told = held(10, 1.0);
        let counts = |milliseconds: i64| told.is_in_force(Stamp(milliseconds * 1_000_000), &config);
        assert_eq!([999, 1000, 1500, 1501].map(counts), [false, true, true, false]);
        let positions = CommandConfig::new(&names(), vec![Quantity::Position, Quantity::Velocity]);
        assert!(!told.is_in_force(Stamp(1_000_000_000), &positions), "it has one number, not two");
        assert!(!told.is_in_force(Stamp(1_000_000_000), &CommandConfig::of_plans(&names())), "it is no plan");
    }

    /// From rest at 0 to rest at 3 in 2 s, with straight lines.
    fn plan(start: Option<Stamp>) -> Arc<Instruction> {
        let point = |time_from_start, position| JointTrajectoryPoint {
            time_from_start,
            positions: vec![position],
            ..Default::default()
        };
        let trajectory =
            JointTrajectory { joints: names().to_vec(), points: vec![point(0.0, 0.0), point(2.0, 3.0)] };
        let robot = Robot::of_joints(&names());
        let start_point = ReferencePoint::zeros(1);
        let reference =
            SplineTrajectory::new(&robot, &trajectory, &start_point, MissingJoints::Refuse).unwrap();
        Arc::new(Instruction::Plan { reference, start })
    }

    #[test]
    fn the_future_of_a_plan_is_told_and_no_other() {
        let config = CommandConfig::of_plans(&names());
        let mut features = CommandFeatures::new(&config, DT, &[], 4);
        assert_eq!(features.count(), 6); // position, velocity, and 1, 2, 3 and 4 steps ahead
        let mut out = [0.0; 6];
        let told = Told::new(Stamp(0), plan(None));
        assert!(features.observe(&at(10, 1.0, 1.0), true, Some(&told), &mut out));
        let expected = [0.5, 0.5, 0.05, 0.1, 0.15, 0.2];
        out.iter()
            .zip(expected)
            .for_each(|(found, expected)| assert!((found - expected).abs() < 1e-9, "{out:?}"));
        // half a second after its end it counts no more; nor does another kind of command for such a model
        assert!(features.observe(&at(25, 3.0, 0.0), false, Some(&told), &mut out));
        assert_eq!(out, [0.0; 6]);
        assert!(!features.observe(&at(26, 3.0, 0.0), false, Some(&told), &mut out));
        assert!(!features.observe(&at(26, 3.0, 0.0), false, Some(&held(26, 1.0)), &mut out));
    }

    #[test]
    fn a_start_by_another_clock_is_none() {
        let begin = |start| Told::new(Stamp(7), plan(start)).begin;
        assert_eq!(begin(None), Stamp(7));
        assert_eq!(begin(Some(Stamp(2_000_000_007))), Stamp(2_000_000_007));
        assert_eq!(begin(Some(Stamp(5_700_748_000_000_000))), Stamp(7)); // 66 days later
    }

    #[test]
    fn configurations_that_make_no_sense_are_refused() {
        let config = CommandConfig::new(&names(), vec![Quantity::Velocity]);
        assert!(config.check(&names(), Space::Joints).is_ok());
        let error = config.check(&["b".to_owned()], Space::Joints).unwrap_err().to_string();
        assert!(error.contains("coordinates of the commands") && error.contains('b'), "{error}");
        let twice = CommandConfig { quantities: vec![Quantity::Velocity; 2], ..config.clone() };
        let none = CommandConfig { quantities: vec![], ..config.clone() };
        let forever = CommandConfig { age_limit: f64::INFINITY, ..config.clone() };
        for wrong in [twice, none, forever] {
            assert!(wrong.check(&names(), Space::Joints).is_err(), "{wrong:?}");
        }
        let base = ["x", "y", "yaw"].map(String::from);
        assert!(CommandConfig::of_plans(&base).check(&base, Space::PlanarBase).is_err());
        let error = CommandConfig::of_plans(&names()).check_same(&config).unwrap_err().to_string();
        assert!(error.contains("plans of position and velocity of a"), "{error}");
    }
}
