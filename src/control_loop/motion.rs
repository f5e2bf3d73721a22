//! What the robot should do now: hold, follow the built-in test motion, or follow a trajectory that was sent.

use crate::error::{Error, Result};
use crate::reference::{
    MultiSine, MultiSineConfig, PointToPoint, PointToPointConfig, Reference, ReferencePoint, SplineTrajectory,
};
use crate::robot::Robot;
use crate::state::State;
use serde::{Deserialize, Serialize};

/// The reference that is tracked until a trajectory arrives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ReferenceConfig {
    /// Stay where the robot is at the start.
    #[default]
    Hold,
    /// A seeded sum of sines on every joint, to learn and to measure on.
    MultiSine(MultiSineConfig),
    /// From one random posture to the next, with rests.
    PointToPoint(PointToPointConfig),
}

/// The motion of a [`ReferenceConfig`] that is more than holding.
enum BuiltIn {
    MultiSine(MultiSine),
    PointToPoint(PointToPoint),
}

impl BuiltIn {
    fn start_from(&mut self, robot: &Robot, start: &[f64], velocity: &[f64]) {
        match self {
            Self::MultiSine(motion) => motion.start_from(robot, start, velocity),
            Self::PointToPoint(motion) => motion.start_from(robot, start, velocity),
        }
    }

    fn sample(&self, time: f64, out: &mut ReferencePoint) {
        match self {
            Self::MultiSine(motion) => motion.sample(time, out),
            Self::PointToPoint(motion) => motion.sample(time, out),
        }
    }
}

/// The reference and its own clock, which the governor may slow down.
pub struct Motion {
    built_in: Option<BuiltIn>,
    /// The posture to rest in.
    hold: ReferencePoint,
    source: Source,
    /// The last trajectory that was given up, so that a tick need not free it.
    given_up: Option<SplineTrajectory>,
    /// Time since the source began [s].
    time: f64,
    /// Whether a tick has been made since.
    begun: bool,
}

enum Source {
    Hold,
    BuiltIn,
    Trajectory(SplineTrajectory),
}

impl Motion {
    pub fn new(config: &ReferenceConfig, robot: &Robot) -> Result<Self> {
        let built_in = match config {
            ReferenceConfig::Hold => None,
            ReferenceConfig::MultiSine(config) if config.centre.is_empty() => {
                let expected = format!("a posture of the joints {:?}", robot.joints);
                return Err(Error::mismatch("controller.reference.centre", "nothing", expected));
            }
            ReferenceConfig::MultiSine(config) => {
                Some(BuiltIn::MultiSine(MultiSine::new(robot, &config.centre, config)?))
            }
            ReferenceConfig::PointToPoint(config) => {
                Some(BuiltIn::PointToPoint(PointToPoint::new(robot, config)?))
            }
        };
        let hold = ReferencePoint::zeros(robot.degrees_of_freedom());
        Ok(Self { built_in, hold, source: Source::Hold, given_up: None, time: 0.0, begun: false })
    }

    /// Begins where the robot is and as it moves: the built-in motion if there is one, or else holding.
    pub fn start(&mut self, robot: &Robot, state: &State) {
        match &mut self.built_in {
            Some(built_in) => {
                built_in.start_from(robot, &state.position, &state.velocity);
                self.begin(Source::BuiltIn);
            }
            None => self.hold_at(&state.position),
        }
    }

    /// Begins anew after a fault: the built-in motion from `state`; a trajectory is given up and the robot held,
    /// because whoever sent it must decide what comes next, and held at `rest`.
    pub fn restart(&mut self, robot: &Robot, state: &State, rest: &[f64]) {
        match self.source {
            Source::BuiltIn => self.start(robot, state),
            Source::Hold | Source::Trajectory(_) => self.hold_at(rest),
        }
    }

    /// Rests at `position`; allocates and frees nothing, for it is called in the tick.
    pub fn hold_at(&mut self, position: &[f64]) {
        self.hold.position.copy_from_slice(position);
        self.begin(Source::Hold);
    }

    /// Has the robot rest where it will be found, in place of the built-in motion.
    pub fn hold_from_the_start(&mut self) {
        self.built_in = None;
    }

    pub fn follow(&mut self, trajectory: SplineTrajectory) {
        self.given_up = None;
        self.begin(Source::Trajectory(trajectory));
    }

    fn begin(&mut self, source: Source) {
        if let Source::Trajectory(trajectory) = std::mem::replace(&mut self.source, source) {
            self.given_up = Some(trajectory);
        }
        (self.time, self.begun) = (0.0, false);
    }

    /// How far a trajectory is that was sent, and how long it takes [s, of its own time].
    pub fn progress(&self) -> Option<[f64; 2]> {
        match &self.source {
            Source::Trajectory(trajectory) => Some([self.time, trajectory.duration()]),
            Source::Hold | Source::BuiltIn => None,
        }
    }

    /// Whether the robot is to stay where it is.
    pub fn is_at_rest(&self) -> bool {
        matches!(self.source, Source::Hold)
    }

    /// Whether there has been a tick since it began.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Lets `dt` [s] of the reference's own time pass.
    pub fn advance(&mut self, dt: f64) {
        self.time += dt;
        self.begun = true;
    }

    /// Writes the present reference; at a clock that runs `scaling` times as fast, velocities are that much smaller.
    pub fn sample(&self, scaling: f64, out: &mut ReferencePoint) {
        self.sample_ahead(0.0, scaling, out);
    }

    /// As [`Self::sample`], for `ahead` seconds from now.
    pub fn sample_ahead(&self, ahead: f64, scaling: f64, out: &mut ReferencePoint) {
        let time = (self.time + scaling * ahead).max(0.0);
        match (&self.source, &self.built_in) {
            (Source::Hold, _) => out.copy_from(&self.hold),
            (Source::BuiltIn, Some(built_in)) => built_in.sample(time, out),
            (Source::BuiltIn, None) => {}
            (Source::Trajectory(trajectory), _) => trajectory.sample(time, out),
        }
        if scaling != 1.0 {
            out.velocity.iter_mut().for_each(|velocity| *velocity *= scaling);
            out.acceleration.iter_mut().for_each(|acceleration| *acceleration *= scaling * scaling);
        }
    }
}
