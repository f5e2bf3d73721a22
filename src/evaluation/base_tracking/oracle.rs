//! What a correction could reach that knows the base as it is: the model of the plant, inverted along the reference.

use crate::base::{Drive, Twist, TwistCorrection, WantedTwist};
use crate::controller::ResidualModel;
use crate::sim::{BaseConfig, BaseScenario, Drivetrain, SimulatedBase};
use crate::state::{Space, State};

/// Of the numerical derivative, s.
const STEP: f64 = 0.02;
/// Speed below which a car is not steered, m/s.
const STANDSTILL: f64 = 0.02;
/// Below this speed of a wheel its friction is taken to be proportional, rad/s.
const SLOW: f64 = 0.1;

/// The one for `base` as `scenario` says; ticks come every `period` [s].
pub fn oracle(base: &SimulatedBase, scenario: BaseScenario, period: f64) -> Box<dyn TwistCorrection> {
    let ahead = scenario.delay.as_secs_f64() + 0.5 * period;
    match base {
        SimulatedBase::Wheels(base) => Box::new(OnWheels { drivetrain: base.drivetrain(), scenario, ahead }),
        SimulatedBase::Kinematic(base) => {
            Box::new(Kinematic { config: base.config().clone(), scenario, ahead })
        }
    }
}

/// For each wheel, with the speed ω that the reference asks of it, the servo has to be told c, the motor behind its lag m:
///
/// > c = ω + (τ_c tanh(ω/ε) + d ω + J ω') / k,  m = (c + T c') / s
///
/// with friction τ_c and d, servo gain k, time constant T and scale s of the wheel's radius, and J of wheel, rotor and the
/// half of the base that it moves. The twist in which both wheels turn so is sent as long ahead as it acts late. How much
/// more a turn costs, by the inertia of the base and by scrub, is left to the feedback.
struct OnWheels {
    drivetrain: Drivetrain,
    scenario: BaseScenario,
    /// From a tick to the middle of the time in which its twist acts, s.
    ahead: f64,
}

impl OnWheels {
    /// c of the left and the right wheel, rad/s.
    fn servos(&self, wanted: WantedTwist) -> [f64; 2] {
        let train = &self.drivetrain;
        let wheels = |twist: &Twist| {
            [-0.5, 0.5].map(|side| (twist[0] + side * train.wheels.track * twist[2]) / train.wheels.radius)
        };
        let (speeds, accelerations) = (wheels(&wanted.velocity), wheels(&wanted.acceleration));
        let moved = 0.5 * (train.mass + self.scenario.payload) * train.wheels.radius.powi(2);
        [0, 1].map(|wheel| {
            let (speed, acceleration) = (speeds[wheel], accelerations[wheel]);
            let torque = train.friction * (speed / SLOW).tanh()
                + train.damping * speed
                + (moved + train.inertia) * acceleration;
            speed + torque / train.servo_gain
        })
    }
}

impl TwistCorrection for OnWheels {
    fn observe(&mut self, _: &State, _: &Twist, _: f64, _: bool, _: Option<&mut ResidualModel>) {}

    fn correct(&mut self, wanted: &dyn Fn(f64) -> WantedTwist, out: &mut Twist) {
        let [before, now, after] = [-STEP, 0.0, STEP].map(|step| self.servos(wanted(self.ahead + step)));
        let lag = self.drivetrain.lag * self.scenario.lag_scale;
        let motors = [0, 1].map(|wheel| {
            let slope = (after[wheel] - before[wheel]) / (2.0 * STEP);
            (now[wheel] + lag * slope) / self.scenario.wheel_scale[wheel]
        });
        let wheels = self.drivetrain.wheels;
        let wanted = wanted(0.0).velocity;
        out[0] = 0.5 * wheels.radius * (motors[0] + motors[1]) - wanted[0];
        out[1] = 0.0;
        out[2] = wheels.radius * (motors[1] - motors[0]) / wheels.track - wanted[2];
    }
}

/// Each motor has to be told m = (a + T a') / g for what it shall give, a, with its lag T and gain g, as long ahead as it acts
/// late: the axes' velocities, or a car's speed and steering angle.
struct Kinematic {
    config: BaseConfig,
    scenario: BaseScenario,
    /// As that of [`OnWheels`].
    ahead: f64,
}

impl Kinematic {
    fn is_car(&self) -> bool {
        self.config.drive == Drive::Ackermann
    }

    /// What the motors shall give.
    fn motors(&self, wanted: WantedTwist) -> [f64; 3] {
        let mut velocity = wanted.velocity;
        if self.is_car() {
            let slow = velocity[0].abs() < STANDSTILL;
            let curvature = if slow { 0.0 } else { velocity[2] / velocity[0] };
            return [velocity[0], 0.0, (self.config.steering.wheelbase * curvature).atan()];
        }
        Space::PlanarBase.turn(-self.scenario.misalignment, &mut velocity);
        velocity
    }
}

impl TwistCorrection for Kinematic {
    fn observe(&mut self, _: &State, _: &Twist, _: f64, _: bool, _: Option<&mut ResidualModel>) {}

    fn correct(&mut self, wanted: &dyn Fn(f64) -> WantedTwist, out: &mut Twist) {
        let [before, now, after] = [-STEP, 0.0, STEP].map(|step| self.motors(wanted(self.ahead + step)));
        let BaseScenario { gain, misalignment, lag_scale, .. } = self.scenario;
        let told =
            |axis: usize, lag: f64| now[axis] + lag * lag_scale * (after[axis] - before[axis]) / (2.0 * STEP);
        let sent = if self.is_car() {
            let speed = told(0, self.config.lag) / gain[0];
            let angle = (told(2, self.config.steering.lag) - misalignment) / gain[2];
            [speed, 0.0, speed * angle.tan() / self.config.steering.wheelbase]
        } else {
            [0, 1, 2].map(|axis| told(axis, self.config.lag) / gain[axis])
        };
        let wanted = wanted(0.0).velocity;
        (0..3).for_each(|axis| out[axis] = sent[axis] - wanted[axis]);
    }
}
