//! Whether a measurement can be of the robot that was measured before: no joint gets further than its velocity allows.
//!
//! What cannot be is a driver that sends zeros before it knows better, a second publisher of joint states, or a simulation that was
//! set back. None of it may be answered with feedback. It is believed when what came later has agreed with it for a while.

use crate::robot::Robot;
use crate::state::{Stamp, State};

/// Times the velocity limit, and beyond the way that it allows, rad or m: an encoder is not exact, and a robot can be pushed.
const HASTE: f64 = 2.0;
const MARGIN: f64 = 0.1;
/// How long measurements must agree after one that did not, s.
const AGREED: f64 = 0.2;

/// See the module.
#[derive(Clone, Debug)]
pub struct Continuity {
    /// s
    period: f64,
    /// The newest measurement.
    last: State,
    seen: bool,
    /// Since when measurements have agreed.
    agreed: Stamp,
    /// Whether they have ever done so for long enough, and whether one has jumped since they last did.
    established: bool,
    doubted: bool,
    way: Vec<f64>,
    /// The last jump: which joint, and how far, rad or m.
    jump: (usize, f64),
}

impl Continuity {
    /// Of measurements at this `rate`, Hz.
    pub fn new(joints: usize, rate: f64) -> Self {
        Self {
            period: 1.0 / rate,
            last: State::zeros(joints),
            seen: false,
            agreed: Stamp::default(),
            established: false,
            doubted: false,
            way: vec![0.0; joints],
            jump: (0, 0.0),
        }
    }

    /// Takes the newest measurement; gives the joint that jumped, and how far [rad or m], as long as it is not to be believed.
    pub fn observe(&mut self, robot: &Robot, state: &State) -> Option<(usize, f64)> {
        if !self.seen {
            self.agreed = state.stamp;
        }
        if self.seen && state.stamp != self.last.stamp {
            let elapsed = state.stamp.since(self.last.stamp).max(self.period);
            robot.difference(&self.last.position, &state.position, &mut self.way);
            let ways = self.way.iter().zip(&robot.limits.velocity);
            let jump = ways.map(|(way, limit)| way.abs() - HASTE * limit * elapsed - MARGIN);
            match jump.enumerate().find(|(_, beyond)| *beyond > 0.0) {
                Some((joint, _)) => {
                    self.jump = (joint, self.way[joint].abs());
                    (self.agreed, self.doubted) = (state.stamp, true);
                }
                // a clock that was set back lets it begin anew, and so does silence, which agrees with nothing
                None if elapsed > 0.5 * AGREED => self.agreed = state.stamp,
                None => self.agreed = self.agreed.min(state.stamp),
            }
        }
        self.seen = true;
        self.last.copy_from(state);
        if state.stamp.since(self.agreed) >= AGREED {
            (self.established, self.doubted) = (true, false);
        }
        self.doubted.then_some(self.jump)
    }

    /// Whether measurements have agreed for a while, at some time.
    pub fn is_established(&self) -> bool {
        self.established
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn robot() -> Robot {
        let mut robot = Robot::of_joints(&["a".into(), "b".into()]);
        robot.limits.velocity = vec![2.0; 2];
        robot
    }

    /// At 500 Hz, the tick of that number.
    fn state(tick: usize, b: f64) -> State {
        let mut state = State::zeros(2);
        state.stamp = Stamp::from_seconds(0.002 * tick as f64);
        state.position[1] = b;
        state
    }

    #[test]
    fn a_robot_that_moves_is_believed_also_when_messages_are_lost() {
        let (mut continuity, robot) = (Continuity::new(2, 500.0), robot());
        for tick in (0..100).chain(300..400) {
            assert!(!continuity.is_established() || tick > 300);
            assert_eq!(continuity.observe(&robot, &state(tick, 2.0 * 0.002 * tick as f64)), None);
        }
    }

    #[test]
    fn a_jump_is_believed_when_what_follows_agrees() {
        let (mut continuity, robot) = (Continuity::new(2, 500.0), robot());
        assert_eq!(continuity.observe(&robot, &state(0, 0.0)), None);
        for tick in 1..101 {
            assert_eq!(continuity.observe(&robot, &state(tick, 0.9)), Some((1, 0.9)), "{tick}");
        }
        assert_eq!(continuity.observe(&robot, &state(101, 0.9)), None);
        // silence is no agreement
        continuity.observe(&robot, &state(102, 0.0));
        assert_eq!(continuity.observe(&robot, &state(162, 0.0)), Some((1, 0.9)));
        for tick in 163..262 {
            assert!(continuity.observe(&robot, &state(tick, 0.0)).is_some(), "{tick}");
        }
        assert_eq!(continuity.observe(&robot, &state(262, 0.0)), None);
        for tick in 263..400 {
            continuity.observe(&robot, &state(tick, 0.9));
        }
        // the clock of a simulation that starts again
        assert_eq!(continuity.observe(&robot, &state(0, 0.0)), Some((1, 0.9)));
        assert_eq!(continuity.observe(&robot, &state(50, 0.0)), Some((1, 0.9)));
        assert_eq!(continuity.observe(&robot, &state(100, 0.0)), None);
    }

    #[test]
    fn two_robots_in_turn_are_never_believed() {
        let (mut continuity, robot) = (Continuity::new(2, 500.0), robot());
        continuity.observe(&robot, &state(0, 0.5));
        for tick in 1..2000 {
            // the other one publishes ten times a second
            let b = if tick % 50 == 0 { 0.0 } else { 0.5 };
            let jump = continuity.observe(&robot, &state(tick, b));
            assert_eq!(jump.is_some(), tick >= 50, "{tick}: {jump:?}");
        }
    }
}
