//! From the joint states that arrive to the [`State`] that the core works on.
//!
//! Joints are matched by name. Messages may hold further joints, any order, no velocities, or nonsense; each is
//! either turned into a state or rejected with the joint and the value that made it unusable.
//!
//! A velocity that is missing is the way since the last position over the time between, and so is a zero of a joint that
//! moves, if nobody measures it, see [`MeasuredVelocities`]. Recordings are read by the same rule, so that a model is
//! trained on what it runs on.

use crate::robot::Robot;
use crate::state::{Space, Stamp, State};
use std::f64::consts::TAU;
use std::fmt;

/// Why a message was not used. The state stays what it was and ages until the control loop calls it stale.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// None of the robot's joints is in the message: it belongs to another device. Not a fault.
    OtherDevice,
    MissingJoint {
        joint: String,
    },
    TooFewPositions {
        names: usize,
        positions: usize,
    },
    NonFinitePosition {
        joint: String,
        value: f64,
    },
    /// Of a base: [x, y, yaw], none without an orientation, and [vx, vy, wz].
    Odometry {
        pose: Option<[f64; 3]>,
        twist: [f64; 3],
    },
    /// Zero, where the stamp has to be the time.
    NoStamp,
    /// The same stamp as the newest state.
    Duplicate {
        stamp: Stamp,
    },
    /// Older than the newest state.
    Late {
        behind: f64,
    },
}

impl Rejection {
    /// A message that repeats, or comes from another device, is normal on a network.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::OtherDevice | Self::Duplicate { .. })
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherDevice => write!(f, "no joint of this robot in the message"),
            Self::NoStamp => write!(f, "no stamp (zero), which would be the time of the tick"),
            Self::MissingJoint { joint } => {
                write!(
                    f,
                    "joint '{joint}' is missing: all joints of the robot must come in one message, or `joints` name those that are controlled"
                )
            }
            Self::TooFewPositions { names, positions } => {
                write!(f, "{names} names but {positions} positions")
            }
            Self::NonFinitePosition { joint, value } => {
                write!(f, "position of joint '{joint}' is {value}")
            }
            Self::Odometry { pose: None, twist } => {
                write!(
                    f,
                    "the pose is not finite or its quaternion is not of length 1; the twist is {twist:?}"
                )
            }
            Self::Odometry { pose: Some(pose), twist } => {
                write!(f, "the twist is not finite: {twist:?} at {pose:?}")
            }
            Self::Duplicate { stamp } => write!(f, "stamp {:.6} s came twice", stamp.seconds()),
            Self::Late { behind } => {
                write!(
                    f,
                    "stamp is {behind:.6} s behind the newest one: out of order, or the clock went back"
                )
            }
        }
    }
}

/// A message further behind the newest one than this [s] means that the clock was set back (a simulator reset),
/// not that the network reordered it: measuring starts anew.
const CLOCK_RESET: f64 = 1.0;

/// What a joint or a base has to move, rad or m, for its velocity not to be zero all the time.
pub(crate) const MOVED: f64 = 1e-3;

/// Which velocities are measurements. Drivers that do not measure velocities publish zeros for them, and so do those that
/// do while the robot rests. So the zeros of a joint are believed until it has moved by more than [`MOVED`] without
/// having had another velocity, and again from the first other velocity on.
#[derive(Clone, Debug)]
pub(crate) struct MeasuredVelocities {
    /// [joint], whether it has had one other than zero.
    is_measured: Vec<bool>,
    /// [joint], least and greatest position.
    range: Vec<(f64, f64)>,
}

impl MeasuredVelocities {
    /// Of a base, whose velocities are in another frame than its positions, zeros are always believed.
    pub fn new(space: Space, joints: usize) -> Self {
        Self {
            is_measured: vec![space == Space::PlanarBase; joints],
            range: vec![(f64::INFINITY, f64::NEG_INFINITY); joints],
        }
    }

    /// What is believed of a `velocity` that was found with a `position`; NaN stands for none.
    pub fn believed(&self, joint: usize, position: f64, velocity: f64) -> Option<f64> {
        let is_measured = self.is_measured.get(joint).is_some_and(|is_measured| *is_measured);
        let (low, high) = self.range.get(joint).copied().unwrap_or((position, position));
        let is_zero_believed = is_measured || high.max(position) - low.min(position) <= MOVED;
        (velocity.is_finite() && (velocity != 0.0 || is_zero_believed)).then_some(velocity)
    }

    /// Learns from what was found in a message that was used.
    pub fn learn(&mut self, joint: usize, position: f64, velocity: f64) {
        let (low, high) = self.range[joint];
        self.range[joint] = (low.min(position), high.max(position));
        self.is_measured[joint] |= velocity.is_finite() && velocity != 0.0;
    }
}

/// A joint that is measured within a turn jumps by one where that ends. So does no joint by itself: one that got from one measurement
/// to the next by nearly a turn, within so long [s] and this much of it [rad], is taken to have gone on the short way.
const TURN_WITHIN: f64 = 0.5;
const TURN_LEFT: f64 = 1.0;

/// Takes jumps by whole turns out of the positions of joints of which it is not known whether they have an end. What is measured
/// within some turns never spans more than they do: steps of joints that do are no jumps (of degrees, of a gripper in per cent).
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    /// [joint], what has to be added to what is measured, rad.
    offset: Vec<f64>,
    /// [joint], least and greatest of what is measured.
    range: Vec<(f64, f64)>,
    /// [joint], how often it jumped.
    pub jumps: Vec<usize>,
}

impl Turns {
    pub fn new(joints: usize) -> Self {
        let nothing = (f64::INFINITY, f64::NEG_INFINITY);
        Self { offset: vec![0.0; joints], range: vec![nothing; joints], jumps: vec![0; joints] }
    }

    /// Takes note of what is `measured` of a joint, at any time.
    pub fn see(&mut self, joint: usize, measured: f64) {
        let (low, high) = &mut self.range[joint];
        (*low, *high) = (low.min(measured), high.max(measured));
    }

    /// What was `measured` of a joint, without its jumps, so far as it is known where it had been and how long before, s.
    pub fn follow(&self, joint: usize, last: Option<(f64, f64)>, measured: f64) -> f64 {
        let position = measured + self.offset[joint];
        let is_soon = |elapsed: f64| elapsed > 0.0 && elapsed <= TURN_WITHIN;
        let way = last.filter(|(_, elapsed)| is_soon(*elapsed)).map_or(0.0, |(last, _)| position - last);
        let turns = (way / TAU).round() * TAU;
        let (low, high) = self.range[joint];
        let is_within = high.max(measured) - low.min(measured) <= turns.abs() + TURN_LEFT;
        if (way - turns).abs() <= TURN_LEFT && is_within { position - turns } else { position }
    }

    /// What was `measured` is used as that `position`.
    pub fn learn(&mut self, joint: usize, measured: f64, position: f64) {
        self.see(joint, measured);
        let offset = ((position - measured) / TAU).round() * TAU;
        self.jumps[joint] += usize::from(offset != self.offset[joint]);
        self.offset[joint] = offset;
    }
}

/// Turns joint state messages into states, in the robot's joint order, without allocating once the order is known. The position of
/// a continuous joint goes on beyond a turn, where drivers that report it within ±π let it jump.
#[derive(Clone, Debug)]
pub struct JointStateReader {
    robot: Robot,
    /// Where each of our joints stands in the message last seen.
    order: Vec<usize>,
    state: State,
    scratch: State,
    /// Way from the last position to the new one.
    increment: Vec<f64>,
    measured: MeasuredVelocities,
    turns: Turns,
    started: bool,
}

impl JointStateReader {
    pub fn new(robot: &Robot) -> Self {
        let n = robot.degrees_of_freedom();
        Self {
            robot: robot.clone(),
            order: Vec::with_capacity(n),
            state: State::zeros(n),
            scratch: State::zeros(n),
            increment: vec![0.0; n],
            measured: MeasuredVelocities::new(robot.space, n),
            turns: Turns::new(n),
            started: false,
        }
    }

    /// The newest accepted state.
    pub fn state(&self) -> Option<&State> {
        self.started.then_some(&self.state)
    }

    /// Reads one message. `velocities` may be empty, shorter than `names`, hold NaN, or zeros though nobody measures them:
    /// such a velocity is the difference of the last two positions over their stamps, and zero in the first message.
    pub fn read(
        &mut self,
        stamp: Stamp,
        names: &[String],
        positions: &[f64],
        velocities: &[f64],
    ) -> Result<&State, Rejection> {
        self.find_joints(names)?;
        if positions.len() < names.len() {
            return Err(Rejection::TooFewPositions { names: names.len(), positions: positions.len() });
        }
        let elapsed = self.check_stamp(stamp)?;
        self.scratch.stamp = stamp;
        let is_undescribed = self.robot.urdf_sha256.is_none() && self.robot.space == Space::Joints;
        for (joint, &index) in self.order.iter().enumerate() {
            let position = positions[index];
            if !position.is_finite() {
                let joint = self.robot.joints[joint].clone();
                return Err(Rejection::NonFinitePosition { joint, value: position });
            }
            let last = self.state.position[joint];
            self.scratch.position[joint] = match (self.started, is_undescribed) {
                (false, _) => position,
                (true, false) => self.robot.on_turn_near(joint, last, position),
                (true, true) => self.turns.follow(joint, elapsed.map(|elapsed| (last, elapsed)), position),
            };
        }
        self.robot.difference(&self.state.position, &self.scratch.position, &mut self.increment);
        for (joint, &index) in self.order.iter().enumerate() {
            let velocity = velocities.get(index).copied().unwrap_or(f64::NAN);
            let position = self.scratch.position[joint];
            self.scratch.velocity[joint] = match (self.measured.believed(joint, position, velocity), elapsed)
            {
                (Some(velocity), _) => velocity,
                (None, Some(elapsed)) => self.increment[joint] / elapsed,
                (None, None) => 0.0,
            };
            self.measured.learn(joint, position, velocity);
            self.turns.learn(joint, positions[index], position);
        }
        std::mem::swap(&mut self.state, &mut self.scratch);
        self.started = true;
        Ok(&self.state)
    }

    /// Time since the newest state [s], or `None` when this message is the first one, or the first after the clock
    /// was set back.
    fn check_stamp(&self, stamp: Stamp) -> Result<Option<f64>, Rejection> {
        if !self.started {
            return Ok(None);
        }
        match stamp.since(self.state.stamp) {
            elapsed if elapsed > 0.0 => Ok(Some(elapsed)),
            0.0 => Err(Rejection::Duplicate { stamp }),
            elapsed if elapsed > -CLOCK_RESET => Err(Rejection::Late { behind: -elapsed }),
            _ => Ok(None),
        }
    }

    fn find_joints(&mut self, names: &[String]) -> Result<(), Rejection> {
        let known = self.order.len() == self.robot.joints.len()
            && self
                .order
                .iter()
                .zip(&self.robot.joints)
                .all(|(&index, joint)| names.get(index) == Some(joint));
        if known {
            return Ok(());
        }
        self.order.clear();
        if !self.robot.joints.iter().any(|joint| names.contains(joint)) {
            return Err(Rejection::OtherDevice);
        }
        for joint in &self.robot.joints {
            match names.iter().position(|name| name == joint) {
                Some(index) => self.order.push(index),
                None => return Err(Rejection::MissingJoint { joint: joint.clone() }),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn reader() -> JointStateReader {
        JointStateReader::new(&Robot::of_joints(&names(&["shoulder", "elbow"])))
    }

    fn at(milliseconds: i64) -> Stamp {
        Stamp(milliseconds * 1_000_000)
    }

    #[test]
    fn joints_are_matched_by_name_in_any_order_and_company() {
        let mut reader = reader();
        let own = names(&["shoulder", "elbow"]);
        let state = reader.read(at(0), &own, &[1.0, 2.0], &[3.0, 4.0]).unwrap().clone();
        assert_eq!((state.position, state.velocity), (vec![1.0, 2.0], vec![3.0, 4.0]));
        let other = names(&["finger", "elbow", "wheel", "shoulder"]);
        let state = reader.read(at(1), &other, &[9.0, 2.0, 9.0, 1.0], &[9.0, 4.0, 9.0, 3.0]).unwrap();
        assert_eq!((&state.position[..], &state.velocity[..]), (&[1.0, 2.0][..], &[3.0, 4.0][..]));
        let state = reader.read(at(2), &own, &[5.0, 6.0], &[7.0, 8.0]).unwrap();
        assert_eq!((&state.position[..], &state.velocity[..]), (&[5.0, 6.0][..], &[7.0, 8.0][..]));
    }

    #[test]
    fn a_velocity_that_is_missing_is_the_difference_of_positions() {
        let mut reader = reader();
        let own = names(&["shoulder", "elbow"]);
        assert_eq!(reader.read(at(0), &own, &[1.0, 2.0], &[]).unwrap().velocity, [0.0, 0.0]);
        let velocity = &reader.read(at(10), &own, &[1.1, 1.9], &[]).unwrap().velocity;
        assert!((velocity[0] - 10.0).abs() < 1e-9 && (velocity[1] + 10.0).abs() < 1e-9, "{velocity:?}");
        let velocity = &reader.read(at(20), &own, &[1.1, 2.0], &[0.5]).unwrap().velocity;
        assert!(velocity[0] == 0.5 && (velocity[1] - 10.0).abs() < 1e-9, "too short: {velocity:?}");
        let velocity = &reader.read(at(30), &own, &[1.2, 2.0], &[f64::NAN, 0.5]).unwrap().velocity;
        assert!((velocity[0] - 10.0).abs() < 1e-9 && velocity[1] == 0.5, "NaN: {velocity:?}");
    }

    #[test]
    fn zeros_of_a_joint_that_moves_are_not_believed_unless_it_has_had_another_velocity() {
        let mut reader = reader();
        let own = names(&["shoulder", "elbow"]);
        let mut velocity = |time, positions: [f64; 2], velocities: [f64; 2]| {
            reader.read(at(time), &own, &positions, &velocities).unwrap().velocity.clone()
        };
        assert_eq!(velocity(0, [1.0, 2.0], [0.0; 2]), [0.0, 0.0]);
        assert_eq!(velocity(10, [1.0005, 2.0], [0.0; 2]), [0.0, 0.0], "noise of a joint at rest");
        let moving = velocity(20, [1.0, 2.1], [0.0, -0.0]);
        assert!(moving[0] == 0.0 && (moving[1] - 10.0).abs() < 1e-9, "{moving:?}");
        assert_eq!(velocity(30, [1.1, 2.1], [9.0, 0.0]), [9.0, 0.0]);
        let moving = velocity(40, [1.2, 2.2], [0.0; 2]);
        assert!(moving[0] == 0.0 && (moving[1] - 10.0).abs() < 1e-9, "{moving:?}");
        assert_eq!(velocity(50, [1.2, 2.3], [0.0, 8.0]), [0.0, 8.0]);
        assert_eq!(velocity(60, [1.2, 2.4], [0.0; 2]), [0.0; 2]);
    }

    #[test]
    fn a_base_that_does_not_move_sideways_has_no_velocity_sideways() {
        let coordinates = names(&["x", "y", "yaw"]);
        let base = Robot { space: Space::PlanarBase, ..Robot::of_joints(&coordinates) };
        let mut reader = JointStateReader::new(&base);
        reader.read(at(0), &coordinates, &[0.0, 0.0, 1.5], &[1.0, 0.0, 0.0]).unwrap();
        let state = reader.read(at(10), &coordinates, &[0.0, 0.01, 1.5], &[1.0, 0.0, 0.0]).unwrap();
        assert_eq!(state.velocity, [1.0, 0.0, 0.0]);
    }

    #[test]
    fn what_cannot_be_used_says_why_and_changes_nothing() {
        let mut reader = reader();
        assert!(reader.state().is_none());
        let own = names(&["shoulder", "elbow"]);
        reader.read(at(100), &own, &[1.0, 2.0], &[0.0, 0.0]).unwrap();
        let before = reader.state().unwrap().clone();
        let mut rejected = |stamp, names: &[String], positions: &[f64]| {
            let rejection = reader.read(stamp, names, positions, &[0.0; 2]).unwrap_err();
            assert_eq!(reader.state(), Some(&before));
            (rejection.to_string(), rejection.is_harmless())
        };
        let (text, _) = rejected(at(110), &own, &[1.0, f64::NAN]);
        assert!(text.contains("'elbow'") && text.contains("NaN"), "{text}");
        assert!(rejected(at(110), &own, &[f64::INFINITY, 0.0]).0.contains("'shoulder'"));
        assert!(rejected(at(110), &own, &[1.0]).0.contains("2 names but 1 positions"));
        assert!(rejected(at(110), &names(&["shoulder"]), &[1.0]).0.contains("'elbow' is missing"));
        assert!(rejected(at(110), &names(&["wheel"]), &[1.0]).1, "another device is no fault");
        assert!(rejected(at(110), &[], &[]).1);
        assert!(rejected(at(100), &own, &[5.0, 5.0]).1, "a duplicate is no fault");
        let (text, harmless) = rejected(at(90), &own, &[5.0, 5.0]);
        assert!(text.contains("0.010000 s behind") && !harmless, "{text}");
    }

    #[test]
    fn after_a_clock_that_was_set_back_measuring_starts_anew() {
        let mut reader = reader();
        let own = names(&["shoulder", "elbow"]);
        reader.read(at(100_000), &own, &[1.0, 2.0], &[]).unwrap();
        assert!(reader.read(at(10), &own, &[f64::NAN, 2.0], &[]).is_err());
        assert_eq!(reader.state().map(|state| state.stamp), Some(at(100_000)), "nothing better came yet");
        let state = reader.read(at(20), &own, &[3.0, 2.0], &[]).unwrap();
        assert_eq!((state.stamp, &state.velocity[..]), (at(20), &[0.0, 0.0][..]));
        let velocity = &reader.read(at(30), &own, &[3.1, 2.0], &[]).unwrap().velocity;
        assert!((velocity[0] - 10.0).abs() < 1e-9, "{velocity:?}");
    }

    #[test]
    fn without_a_description_jumps_by_a_turn_are_taken_out_and_others_are_not() {
        let mut reader = reader();
        let own = names(&["shoulder", "elbow"]);
        let mut position = |milliseconds, shoulder: f64| {
            reader.read(at(milliseconds), &own, &[shoulder, 0.0], &[]).unwrap().position[0]
        };
        assert_eq!(position(0, 3.1), 3.1);
        assert!((position(10, -3.1) - (TAU - 3.1)).abs() < 1e-12);
        assert!((position(20, -3.0) - (TAU - 3.0)).abs() < 1e-12);
        assert!((position(5000, -2.0) - (TAU - 2.0)).abs() < 1e-12, "also after a gap");
        assert!((position(5010, 2.0) - (TAU + 2.0)).abs() < 1e-12, "four radians are no turn");
        assert!((position(5020, -2.0) - (TAU - 2.0)).abs() < 1e-12);
    }

    #[test]
    fn a_continuous_joint_that_wraps_goes_on_beyond_its_turn_without_a_spike_in_its_velocity() {
        let mut robot = Robot::of_joints(&names(&["wheel"]));
        robot.kinds = vec![crate::robot::JointKind::Continuous];
        robot.urdf_sha256 = Some("a description".into());
        let mut reader = JointStateReader::new(&robot);
        reader.read(at(0), &names(&["wheel"]), &[3.13], &[]).unwrap();
        let state = reader.read(at(10), &names(&["wheel"]), &[-3.13], &[]).unwrap();
        let (position, velocity) = (state.position[0], state.velocity[0]);
        assert!((velocity - (std::f64::consts::TAU - 6.26) / 0.01).abs() < 1e-9, "{velocity}");
        assert!((position - (std::f64::consts::TAU - 3.13)).abs() < 1e-12, "{position}");
    }
}
