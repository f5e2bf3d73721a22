//! Whether a measurement can be of the robot that was measured before: no joint gets further than its velocity allows.
//!
//! What cannot be is a glitch of a sensor, a driver that sends zeros before it knows better, a second publisher of joint states, or a
//! simulation that was set back. None of it may be answered with feedback. A measurement or two now and then are left out. More are
//! believed only when what came later has agreed with them for a while, and so two publishers never are.

use crate::robot::Robot;
use crate::state::{Stamp, State};

/// Times the velocity limit, and beyond the way that it allows, rad or m: an encoder is not exact, and a robot can be pushed.
const HASTE: f64 = 2.0;
const MARGIN: f64 = 0.1;
/// How long measurements must agree after one that did not, s.
const AGREED: f64 = 0.2;
/// So many measurements in a row are left out, and so many in all, of which one a second is forgotten.
const IN_A_ROW: u32 = 2;
const IN_ALL: f64 = 3.0;

/// What a measurement is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sighting {
    Believed,
    /// To be taken as not received: the [`Continuity::trusted`] one still counts.
    LeftOut,
    /// Not to be believed, nor anything before it: this joint jumped, so far [rad or m].
    Doubted(usize, f64),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Continuity {
    /// s
    period: f64,
    /// The newest measurement, and the newest that was believed.
    last: State,
    trusted: State,
    seen: bool,
    /// Since when measurements have agreed.
    agreed: Stamp,
    /// Whether they have ever done so for long enough, and whether one has jumped since they last did.
    established: bool,
    doubted: bool,
    /// Left out in a row and in all.
    in_a_row: u32,
    in_all: f64,
    way: Vec<f64>,
    /// The last jump: which joint, and how far, rad or m.
    jump: (usize, f64),
    /// Whether one was left out since that was last asked.
    has_left_out: bool,
}

impl Continuity {
    /// Of measurements at this `rate`, Hz.
    pub fn new(joints: usize, rate: f64) -> Self {
        Self {
            period: 1.0 / rate,
            last: State::zeros(joints),
            trusted: State::zeros(joints),
            seen: false,
            agreed: Stamp::default(),
            established: false,
            doubted: false,
            in_a_row: 0,
            in_all: 0.0,
            way: vec![0.0; joints],
            jump: (0, 0.0),
            has_left_out: false,
        }
    }

    /// Takes the newest measurement; one that was taken before is worth what it was.
    pub fn observe(&mut self, robot: &Robot, state: &State) -> Sighting {
        let is_new = !self.seen || state.stamp != self.last.stamp;
        if !self.seen {
            (self.agreed, self.seen) = (state.stamp, true);
        } else if is_new {
            self.compare(robot, state);
        }
        if is_new {
            self.last.copy_from(state);
        }
        if state.stamp.since(self.agreed) >= AGREED && self.in_a_row == 0 {
            (self.established, self.doubted) = (true, false);
        }
        match self.doubted {
            true => Sighting::Doubted(self.jump.0, self.jump.1),
            false if self.in_a_row > 0 => Sighting::LeftOut,
            false => {
                self.trusted.copy_from(state);
                Sighting::Believed
            }
        }
    }

    fn compare(&mut self, robot: &Robot, state: &State) {
        let is_sure = self.established && !self.doubted;
        let before = if is_sure { &self.trusted } else { &self.last };
        let elapsed = state.stamp.since(before.stamp).max(self.period);
        robot.difference(&before.position, &state.position, &mut self.way);
        let ways = self.way.iter().zip(&robot.limits.velocity);
        let jump = ways.map(|(way, limit)| way.abs() - HASTE * limit * elapsed - MARGIN);
        match jump.enumerate().find(|(_, beyond)| *beyond > 0.0) {
            Some((joint, _)) => {
                self.jump = (joint, self.way[joint].abs());
                self.agreed = state.stamp;
                (self.in_a_row, self.in_all) = (self.in_a_row + 1, self.in_all + 1.0);
                let is_rare = is_sure && self.in_a_row <= IN_A_ROW && self.in_all <= IN_ALL;
                self.has_left_out |= is_rare;
                if !is_rare {
                    (self.doubted, self.in_a_row, self.in_all) = (true, 0, 0.0);
                }
            }
            None => {
                // a clock that was set back lets it begin anew, and so does silence, which agrees with nothing
                self.agreed = if elapsed > 0.5 * AGREED { state.stamp } else { self.agreed.min(state.stamp) };
                (self.in_a_row, self.in_all) = (0, (self.in_all - elapsed).max(0.0));
            }
        }
    }

    /// Whether measurements have agreed for a while, at some time.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// The newest measurement that was believed.
    pub fn trusted(&self) -> &State {
        &self.trusted
    }

    /// The same, to be given back before the next measurement.
    pub fn lend_trusted(&mut self) -> State {
        std::mem::take(&mut self.trusted)
    }

    pub fn give_back(&mut self, trusted: State) {
        self.trusted = trusted;
    }

    /// The joint that jumped in a measurement that was left out since this was last asked, and how far, rad or m.
    pub fn take_left_out(&mut self) -> Option<(usize, f64)> {
        std::mem::take(&mut self.has_left_out).then_some(self.jump)
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

    use Sighting::{Believed, Doubted, LeftOut};

    #[test]
    fn a_robot_that_moves_is_believed_also_when_messages_are_lost() {
        let (mut continuity, robot) = (Continuity::new(2, 500.0), robot());
        for tick in (0..100).chain(300..400) {
            assert!(!continuity.is_established() || tick > 300);
            assert_eq!(continuity.observe(&robot, &state(tick, 2.0 * 0.002 * tick as f64)), Believed);
        }
    }

    #[test]
    fn a_jump_is_believed_when_what_follows_agrees() {
        let (mut continuity, robot) = (Continuity::new(2, 500.0), robot());
        assert_eq!(continuity.observe(&robot, &state(0, 0.0)), Believed);
        for tick in 1..101 {
            assert_eq!(continuity.observe(&robot, &state(tick, 0.9)), Doubted(1, 0.9), "{tick}");
        }
        assert_eq!(continuity.observe(&robot, &state(101, 0.9)), Believed);
        for tick in 102..104 {
            assert_eq!(continuity.observe(&robot, &state(tick, 0.0)), LeftOut, "{tick}");
        }
        assert_eq!(continuity.observe(&robot, &state(104, 0.0)), Doubted(1, 0.9));
        // silence is no agreement
        assert_eq!(continuity.observe(&robot, &state(164, 0.0)), Doubted(1, 0.9));
        for tick in 165..264 {
            assert_eq!(continuity.observe(&robot, &state(tick, 0.0)), Doubted(1, 0.9), "{tick}");
        }
        assert_eq!(continuity.observe(&robot, &state(264, 0.0)), Believed);
        for tick in 265..400 {
            continuity.observe(&robot, &state(tick, 0.9));
        }
        // the clock of a simulation that starts again
        for tick in 0..2 {
            assert_eq!(continuity.observe(&robot, &state(tick, 0.0)), LeftOut);
        }
        assert_eq!(continuity.observe(&robot, &state(2, 0.0)), Doubted(1, 0.9));
        assert_eq!(continuity.observe(&robot, &state(52, 0.0)), Doubted(1, 0.9));
        assert_eq!(continuity.observe(&robot, &state(102, 0.0)), Believed);
    }

    #[test]
    fn a_glitch_now_and_then_is_left_out_and_said() {
        let (mut continuity, robot) = (Continuity::new(2, 500.0), robot());
        for tick in 0..10_000 {
            let is_glitch = tick > 200 && tick % 1200 < 2;
            let seen = continuity.observe(&robot, &state(tick, if is_glitch { -3.0 } else { 0.5 }));
            let seen_again = continuity.observe(&robot, &state(tick, if is_glitch { -3.0 } else { 0.5 }));
            assert_eq!([seen, seen_again], [if is_glitch { LeftOut } else { Believed }; 2], "{tick}");
            assert_eq!(continuity.trusted().position[1], 0.5);
            assert_eq!(continuity.take_left_out(), is_glitch.then_some((1, 3.5)));
        }
    }

    #[test]
    fn two_robots_in_turn_are_never_believed_for_long() {
        for every in [1, 2, 3, 50, 200] {
            let (mut continuity, robot) = (Continuity::new(2, 500.0), robot());
            let mut held = 0;
            for tick in 0..10_000 {
                // the other one begins later, and publishes less often
                let is_other = tick > 500 && tick % (every + 1) == 0;
                let seen = continuity.observe(&robot, &state(tick, if is_other { 0.0 } else { 0.5 }));
                assert!(tick > 500 || seen == Believed);
                held += usize::from(matches!(seen, Doubted(..)));
            }
            assert_eq!(held > 9_000, every < 100, "{every}: {held}");
        }
    }
}
