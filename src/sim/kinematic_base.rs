//! A base without wheels to look at: a car, or one that moves in all directions. What it is told arrives late, scaled and
//! through lags, and the floor gives no more force than its friction allows; poses are integrated along arcs of SE(2).
//!
//! A car is the kinematic bicycle about its rear axle (Rajamani, *Vehicle Dynamics and Control*, 2.2, without side slip):
//!
//! > ψ' = v tan δ / L
//!
//! Its driver turns a twist (v, ω) into speed v and steering angle δ = atan(L ω / v), as steering_controllers of ros2_control
//! do; below 1 cm/s it holds the angle. Angle and rate of the steering are bounded, and so is the turning radius.
//!
//! Where the floor is slippery, the change of the velocity over the floor, which includes the turn of its direction, stays
//! below μ g: a car that turns too fast there slides on along its tangent.

use super::base_config::{BaseConfig, STEP, Steering};
use super::base_scenario::BaseScenario;
use super::odometer::Odometer;
use crate::base::{Drive, Pose, Twist};
use crate::delay_line::DelayLine;
use crate::error::Result;
use crate::state::{Space, Stamp, State};

const GRAVITY: f64 = 9.81;
/// How far from its middle the base touches the floor, m: what turns it acts there.
const REACH: f64 = 0.3;
/// Speed below which a car's twist says nothing about its steering, m/s.
const STANDSTILL: f64 = 0.01;

/// See the module.
#[derive(Debug)]
pub struct KinematicBase {
    config: BaseConfig,
    scenario: BaseScenario,
    delay_line: DelayLine,
    /// What the motors give: speeds of x, y and theta; of a car speed, nothing, and the steering angle [rad].
    motors: [f64; 3],
    /// Where the driver steers to, rad.
    steered: f64,
    pose: Pose,
    twist: Twist,
    odometer: Odometer,
    truth: State,
}

impl KinematicBase {
    pub fn new(config: BaseConfig) -> Result<Self> {
        config.check()?;
        let longest = super::steps_in(BaseScenario::LONGEST_DELAY, STEP);
        let mut base = Self {
            scenario: BaseScenario::default(),
            delay_line: DelayLine::new(3, longest),
            motors: [0.0; 3],
            steered: 0.0,
            pose: config.initial_pose,
            twist: [0.0; 3],
            odometer: Odometer::new(config.seed),
            truth: State::zeros(3),
            config,
        };
        base.reset();
        Ok(base)
    }

    pub fn config(&self) -> &BaseConfig {
        &self.config
    }

    pub fn scenario(&self) -> &BaseScenario {
        &self.scenario
    }

    /// From the next step on the base is as `scenario` says; it keeps its pose and twist.
    pub fn set_scenario(&mut self, scenario: BaseScenario) -> Result<()> {
        scenario.check(self.config.drive)?;
        self.scenario = scenario;
        Ok(())
    }

    /// Back to the initial pose, at rest, at time zero, with the noise from its beginning. The scenario stays.
    pub fn reset(&mut self) {
        (self.motors, self.steered) = ([0.0; 3], 0.0);
        (self.pose, self.twist) = (self.config.initial_pose, [0.0; 3]);
        self.delay_line.clear();
        self.odometer.reset();
        self.truth.stamp = Stamp::default();
        self.measure();
    }

    pub fn state(&self) -> &State {
        self.odometer.measured()
    }

    pub fn true_state(&self) -> &State {
        &self.truth
    }

    /// Lets `steps` times [`STEP`] pass under `twist`.
    pub fn step(&mut self, twist: &[f64], steps: usize) {
        let delay = super::steps_in(self.scenario.delay, STEP);
        for _ in 0..steps {
            let mut arrived = [0.0; 3];
            arrived.copy_from_slice(self.delay_line.exchange(twist, delay));
            self.drive(&arrived);
            let asked = self.asked();
            self.slide(&asked);
            self.truth.stamp = self.truth.stamp + STEP;
        }
        self.measure();
    }

    /// The motors follow what arrived.
    fn drive(&mut self, arrived: &Twist) {
        let BaseScenario { gain, misalignment, lag_scale, .. } = self.scenario;
        let Steering { wheelbase, lag, max_angle, max_rate } = self.config.steering;
        let approach = |lag: f64| 1.0 - (-STEP.as_secs_f64() / (lag * lag_scale)).exp();
        let drive = approach(self.config.lag);
        self.motors[0] += drive * (gain[0] * arrived[0] - self.motors[0]);
        if self.config.drive != Drive::Ackermann {
            for axis in 1..3 {
                self.motors[axis] += drive * (gain[axis] * arrived[axis] - self.motors[axis]);
            }
            return;
        }
        if arrived[0].abs() > STANDSTILL {
            self.steered = (wheelbase * arrived[2] / arrived[0]).atan();
        }
        let goal = (gain[2] * self.steered + misalignment).clamp(-max_angle, max_angle);
        let most = max_rate * STEP.as_secs_f64();
        self.motors[2] += (approach(lag) * (goal - self.motors[2])).clamp(-most, most);
    }

    /// The twist that the motors ask of the floor.
    fn asked(&self) -> Twist {
        let [x, y, turn] = self.motors;
        if self.config.drive == Drive::Ackermann {
            return [x, 0.0, x * turn.tan() / self.config.steering.wheelbase];
        }
        let mut asked = [x, y, turn];
        Space::PlanarBase.turn(self.scenario.misalignment, &mut asked);
        asked
    }

    /// Moves on by a step, towards the twist that is `asked` as far as the floor's friction goes.
    fn slide(&mut self, asked: &Twist) {
        let dt = STEP.as_secs_f64();
        let patch = &self.scenario.patch;
        let friction = if patch.contains(self.pose[0], self.pose[1]) { patch.friction } else { 1.0 };
        let most = friction * GRAVITY * dt;
        let mut next = self.twist;
        next[2] += (asked[2] - next[2]).clamp(-most / REACH, most / REACH);
        // the velocity over the floor stays what it is while the base turns beneath it
        Space::PlanarBase.turn(-0.5 * (self.twist[2] + next[2]) * dt, &mut next);
        let change = [asked[0] - next[0], asked[1] - next[1]];
        let wanted = change[0].hypot(change[1]);
        let share = if wanted > most { most / wanted } else { 1.0 };
        (0..2).for_each(|axis| next[axis] += share * change[axis]);
        let mean = [0, 1, 2].map(|axis| 0.5 * (self.twist[axis] + next[axis]));
        let (from, mut local) = (self.pose, [0.0; 3]);
        Space::PlanarBase.displacement(&mean, dt, &mut local);
        Space::PlanarBase.integrate(&from, &local, &mut self.pose);
        self.twist = next;
    }

    fn measure(&mut self) {
        self.truth.position.copy_from_slice(&self.pose);
        self.truth.velocity.copy_from_slice(&self.twist);
        self.odometer.measure(&self.truth, &self.scenario);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Patch;
    use std::f64::consts::PI;
    use std::time::Duration;

    fn base(drive: Drive, scenario: BaseScenario) -> KinematicBase {
        let mut base = KinematicBase::new(BaseConfig { drive, ..Default::default() }).unwrap();
        base.set_scenario(scenario).unwrap();
        base
    }

    /// Where a base is and how it moves that is told `twist` for `seconds`.
    fn drive(base: &mut KinematicBase, twist: [f64; 3], seconds: f64) -> State {
        base.step(&twist, (1000.0 * seconds).round() as usize);
        base.true_state().clone()
    }

    #[test]
    fn a_circle_closes_once_the_lags_are_over() {
        for (kind, twist) in [(Drive::Ackermann, [1.0, 0.0, 0.5]), (Drive::Omnidirectional, [0.4, -0.3, 0.5])]
        {
            let mut base = base(kind, BaseScenario::default());
            let begin = drive(&mut base, twist, 5.0);
            begin.velocity.iter().zip(twist).for_each(|(a, b)| assert!((a - b).abs() < 1e-9, "{begin:?}"));
            // 2 π / 0.5 rad/s is 12.566 s, and the last 0.37 ms are beyond the step
            let end = drive(&mut base, twist, 4.0 * PI);
            assert!((end.position[2] - begin.position[2] - 2.0 * PI).abs() < 1e-3);
            (0..2).for_each(|axis| assert!((end.position[axis] - begin.position[axis]).abs() < 1e-3));
        }
    }

    #[test]
    fn motors_lag_exponentially_and_commands_come_late() {
        let scenario =
            BaseScenario { lag_scale: 2.0, delay: Duration::from_millis(50), ..Default::default() };
        let mut base = base(Drive::Omnidirectional, scenario);
        drive(&mut base, [0.0; 3], 0.1);
        assert_eq!(drive(&mut base, [0.0, 0.5, 0.0], 0.05).velocity[1], 0.0);
        let state = drive(&mut base, [0.0, 0.5, 0.0], 0.16);
        // one time constant of 0.16 s after the dead time
        assert!((state.velocity[1] - 0.5 * (1.0 - f64::exp(-1.0))).abs() < 1e-9, "{state:?}");
    }

    #[test]
    fn a_car_turns_no_tighter_and_steers_no_faster_than_it_can() {
        let mut car = base(Drive::Ackermann, BaseScenario::default());
        let Steering { wheelbase, max_angle, max_rate, .. } = car.config().steering;
        assert_eq!(drive(&mut car, [0.0, 0.0, 1.0], 1.0).position, [0.0; 3], "not on the spot");
        let start = drive(&mut car, [0.5, 0.3, 3.0], 0.2);
        let angle = (start.velocity[2] * wheelbase / start.velocity[0]).atan();
        assert!(angle <= 0.2 * max_rate + 1e-9 && angle > 0.19 * max_rate, "{angle}");
        let state = drive(&mut car, [0.5, 0.3, 3.0], 3.0);
        let tightest = max_angle.tan() / wheelbase;
        assert!((state.velocity[2] / state.velocity[0] - tightest).abs() < 1e-3, "{state:?}");
        assert!(state.velocity[1].abs() < 1e-9, "a car does not move sideways: {state:?}");
        // to the same side backward
        let back = drive(&mut car, [-0.5, 0.0, 0.2], 3.0);
        assert!((back.velocity[2] - 0.2).abs() < 1e-6 && back.velocity[0] < 0.0, "{back:?}");
        let held = drive(&mut car, [0.0; 3], 3.0);
        assert!((car.motors[2] - (0.2 * wheelbase / -0.5).atan()).abs() < 1e-6, "{held:?}");
    }

    #[test]
    fn gain_and_misalignment_do_what_they_say() {
        let scenario = BaseScenario { gain: [0.9, 0.8, 1.1], misalignment: 0.05, ..Default::default() };
        let sideways = drive(&mut base(Drive::Omnidirectional, scenario.clone()), [0.0, 0.5, 0.2], 3.0);
        let expected = [-0.4 * f64::sin(0.05), 0.4 * f64::cos(0.05), 0.22];
        sideways.velocity.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-6));
        let straight = drive(&mut base(Drive::Ackermann, scenario), [1.0, 0.0, 0.0], 3.0);
        assert!((straight.velocity[0] - 0.9).abs() < 1e-6);
        assert!((straight.velocity[2] - 0.9 * f64::tan(0.05) / 0.6).abs() < 1e-6, "{straight:?}");
    }

    #[test]
    fn a_car_slides_on_where_the_floor_gives_no_more() {
        let patch = Patch { centre: [0.0; 2], radius: 100.0, friction: 0.05 };
        let mut car = base(Drive::Ackermann, BaseScenario { patch, ..Default::default() });
        drive(&mut car, [1.0, 0.0, 0.0], 5.0);
        let mut before = car.true_state().clone();
        let mut fastest = 0.0_f64;
        for _ in 0..200 {
            let state = drive(&mut car, [1.0, 0.0, 0.8], 0.01);
            let over_floor = |state: &State| {
                let mut velocity = state.velocity.clone();
                Space::PlanarBase.turn(state.position[2], &mut velocity);
                velocity
            };
            let (from, to) = (over_floor(&before), over_floor(&state));
            fastest = fastest.max((to[0] - from[0]).hypot(to[1] - from[1]) / 0.01);
            before = state;
        }
        // 0.8 m/s² asked, and 0.49 m/s² given
        assert!((0.48..0.4906).contains(&fastest), "{fastest}");
        assert!(before.velocity[1] < -0.1, "outward: {before:?}");
        let grip = drive(&mut base(Drive::Ackermann, BaseScenario::default()), [1.0, 0.0, 0.8], 5.0);
        assert!(grip.velocity[1].abs() < 1e-9, "{grip:?}");
    }

    #[test]
    fn motions_repeat_bit_for_bit_after_a_reset() {
        let scenario = BaseScenario { position_noise: 0.01, ..Default::default() };
        let mut once = base(Drive::Ackermann, scenario);
        let run = |base: &mut KinematicBase| {
            drive(base, [0.7, 0.0, 0.3], 2.0);
            base.state().clone()
        };
        let first = run(&mut once);
        once.reset();
        assert_eq!(run(&mut once), first);
        assert_ne!(first.position, once.true_state().position);
    }
}
