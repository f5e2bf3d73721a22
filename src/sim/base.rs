//! A differential-drive base in MuJoCo on wheels that can slip, driven by twists as by its own driver: wheel speeds from
//! the nominal geometry, motors with a lag, velocity servos of finite stiffness. The same seed, twists and scenarios give
//! the same motion bit for bit.
//!
//! The state is that of [`Space::PlanarBase`]: pose in odom, twist in the frame of the base. Odometry is the true pose
//! with noise, as of a base that is localised; the true state is for scoring.

use super::base_config::{BaseConfig, STEP};
use super::base_model::{BaseModel, Drivetrain};
use super::base_scenario::BaseScenario;
use super::model::{failure, last_warning};
use super::odometer::Odometer;
use crate::base::Drive;
use crate::delay_line::DelayLine;
use crate::error::{Error, Result};
use crate::robot::wrap;
use crate::sim::steps_in;
use crate::state::{Stamp, State};
use mujoco_rs::prelude::*;

/// How long the base is left alone to settle on its wheels.
const SETTLE: u32 = 300;
const FATAL: [MjtWarning; 4] = [
    MjtWarning::mjWARN_BADQPOS,
    MjtWarning::mjWARN_BADQVEL,
    MjtWarning::mjWARN_BADQACC,
    MjtWarning::mjWARN_BADCTRL,
];

/// See the module.
#[derive(Debug)]
pub struct Base {
    config: BaseConfig,
    data: MjData<Box<MjModel>>,
    nominal: BaseModel,
    /// Models with normal floor under both wheels, the left, the right or both on the patch; none while it is in `data`.
    floors: [Option<Box<MjModel>>; 4],
    floor: usize,
    scenario: BaseScenario,
    delay_line: DelayLine,
    /// What the motors turn at, before the servos, rad/s.
    motors: [f64; 2],
    odometer: Odometer,
    truth: State,
}

impl Base {
    pub fn new(urdf_xml: &str, config: BaseConfig) -> Result<Self> {
        config.check()?;
        let nominal = BaseModel::new(urdf_xml, STEP.as_secs_f64())?;
        let longest = steps_in(BaseScenario::LONGEST_DELAY, STEP);
        let mut base = Self {
            data: MjData::new(nominal.mujoco.clone()),
            nominal,
            floors: [None, None, None, None],
            floor: 0,
            scenario: BaseScenario::default(),
            delay_line: DelayLine::new(3, longest),
            motors: [0.0; 2],
            odometer: Odometer::new(config.seed),
            truth: State::zeros(3),
            config,
        };
        base.set_scenario(BaseScenario::default())?;
        base.reset()?;
        Ok(base)
    }

    pub fn config(&self) -> &BaseConfig {
        &self.config
    }

    pub fn state(&self) -> &State {
        self.odometer.measured()
    }

    pub fn true_state(&self) -> &State {
        &self.truth
    }

    /// What a model of the base needs to know of its drives.
    pub fn drivetrain(&self) -> Drivetrain {
        Drivetrain { lag: self.config.lag, ..self.nominal.drivetrain }
    }

    /// Names of the wheels' joints, left and right.
    pub fn joints(&self) -> &[String; 2] {
        &self.nominal.joints
    }

    /// What the encoders of the wheels say: angles [rad] and speeds [rad/s], left and right.
    pub fn wheels(&self) -> ([f64; 2], [f64; 2]) {
        let scale = self.scenario.wheel_scale;
        // the model's wheels turn faster in place of being larger
        let of =
            |values: &[f64], places: [usize; 2]| [values[places[0]] / scale[0], values[places[1]] / scale[1]];
        (of(self.data.qpos(), self.nominal.wheel_position), of(self.data.qvel(), self.nominal.wheel_velocity))
    }

    pub fn scenario(&self) -> &BaseScenario {
        &self.scenario
    }

    /// From the next step on the base is as `scenario` says; it keeps its pose and twist.
    pub fn set_scenario(&mut self, scenario: BaseScenario) -> Result<()> {
        scenario.check(Drive::Differential)?;
        for (variant, floor) in self.floors.iter_mut().enumerate() {
            let mut model = self.nominal.mujoco.clone();
            model.body_mass_mut()[self.nominal.payload_body] = scenario.payload;
            for (wheel, shape) in self.nominal.wheel_shapes.into_iter().enumerate() {
                if variant & (1 << wheel) != 0 {
                    model.geom_friction_mut()[shape][0] = scenario.patch.friction;
                }
            }
            *floor = Some(model);
        }
        self.scenario = scenario;
        // the model in use is of the last scenario
        let Some(model) = self.floors[self.floor].take() else { return Ok(()) };
        self.data.try_swap_model(model).map_err(failure)?;
        Ok(())
    }

    /// Back to the initial pose, at rest, at time zero, with the noise from its beginning. The scenario stays.
    pub fn reset(&mut self) -> Result<()> {
        self.data.reset();
        let [x, y, yaw] = self.config.initial_pose;
        let free = self.nominal.free[0];
        let (sin, cos) = (0.5 * yaw).sin_cos();
        self.data.qpos_mut()[free..free + 7].copy_from_slice(&[x, y, 0.0, cos, 0.0, 0.0, sin]);
        self.delay_line.clear();
        self.motors = [0.0; 2];
        for _ in 0..SETTLE {
            self.data.ctrl_mut().fill(0.0);
            self.data.step();
        }
        self.odometer.reset();
        self.truth.stamp = Stamp::default();
        self.truth.position[2] = yaw;
        self.measure();
        Ok(())
    }

    /// Lets `steps` times [`STEP`] pass under `twist` [vx m/s, vy m/s, wz rad/s].
    pub fn step(&mut self, twist: &[f64], steps: usize) -> Result<()> {
        let delay = steps_in(self.scenario.delay, STEP);
        for _ in 0..steps {
            self.advance(twist, delay)?;
        }
        self.measure();
        Ok(())
    }

    fn advance(&mut self, twist: &[f64], delay: usize) -> Result<()> {
        let delayed = self.delay_line.exchange(twist, delay);
        let wanted = self.nominal.wheel_speeds(delayed[0], delayed[2]);
        let approach = 1.0 - (-STEP.as_secs_f64() / (self.config.lag * self.scenario.lag_scale)).exp();
        for (wheel, (motor, wanted)) in self.motors.iter_mut().zip(wanted).enumerate() {
            *motor += approach * (wanted - *motor);
            // a wheel of another radius goes another way at the same speed
            self.data.ctrl_mut()[wheel] = self.scenario.wheel_scale[wheel] * *motor;
        }
        self.feel_floor()?;
        self.data.step();
        self.truth.stamp = self.truth.stamp + STEP;
        // MuJoCo starts anew, at zero, when something is not finite: that must not pass for a motion.
        if FATAL.iter().any(|warning| self.data.warning()[*warning as usize].number > 0) {
            let time = self.truth.stamp.seconds();
            return Err(Error::Simulator(format!("the motion diverged at {time:.3} s: {}", last_warning())));
        }
        Ok(())
    }

    /// Takes the model whose friction is that of the floor under each wheel.
    fn feel_floor(&mut self) -> Result<()> {
        let mut floor = 0;
        for (wheel, body) in self.nominal.wheel_bodies.into_iter().enumerate() {
            let place = self.data.xpos()[body];
            floor |= usize::from(self.scenario.patch.contains(place[0], place[1])) << wheel;
        }
        if let Some(model) = self.floors[floor].take() {
            self.floors[self.floor] = Some(self.data.try_swap_model(model).map_err(failure)?);
            self.floor = floor;
        }
        Ok(())
    }

    fn measure(&mut self) {
        let [place, speed] = self.nominal.free;
        let (qpos, qvel) = (self.data.qpos(), self.data.qvel());
        let (w, x, y, z) = (qpos[place + 3], qpos[place + 4], qpos[place + 5], qpos[place + 6]);
        let yaw = (2.0 * (w * z + x * y)).atan2(1.0 - 2.0 * (y * y + z * z));
        let (sin, cos) = yaw.sin_cos();
        let (vx, vy) = (qvel[speed], qvel[speed + 1]);
        // the third row of the rotation takes the body's angular velocity to the turn about the vertical
        let vertical = [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)];
        let turn: f64 = vertical.iter().zip(&qvel[speed + 3..speed + 6]).map(|(a, b)| a * b).sum();
        let unwrapped = self.truth.position[2] + wrap(yaw - self.truth.position[2]);
        self.truth.position.copy_from_slice(&[qpos[place], qpos[place + 1], unwrapped]);
        self.truth.velocity.copy_from_slice(&[cos * vx + sin * vy, cos * vy - sin * vx, turn]);
        self.odometer.measure(&self.truth, &self.scenario);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Patch;
    use std::time::Duration;

    fn base(scenario: BaseScenario) -> Base {
        let mut base = Base::new(include_str!("../../urdf/base.urdf"), BaseConfig::default()).unwrap();
        base.set_scenario(scenario).unwrap();
        base
    }

    /// What a base does that is told `twist` for `seconds`.
    fn drive(base: &mut Base, twist: [f64; 3], seconds: f64) -> State {
        for _ in 0..(50.0 * seconds).round() as usize {
            base.step(&twist, 20).unwrap();
        }
        base.true_state().clone()
    }

    #[test]
    fn a_base_drives_as_it_is_told_but_for_its_servos_and_some_slip() {
        let mut straight = base(BaseScenario::default());
        let state = drive(&mut straight, [0.4, 0.0, 0.0], 4.0);
        assert!((0.36..0.4).contains(&state.velocity[0]), "{state:?}");
        assert!(state.position[1].abs() < 0.01 && state.position[2].abs() < 0.01, "{state:?}");
        let ([left, _], [speed, _]) = straight.wheels();
        assert!(
            (left * 0.08 / state.position[0] - 1.0).abs() < 0.01,
            "no slip on a straight: {left} {state:?}"
        );
        assert!((speed * 0.08 - state.velocity[0]).abs() < 0.01);
        let turned = drive(&mut base(BaseScenario::default()), [0.0, 0.0, 1.0], 4.0);
        assert!((0.8..1.0).contains(&turned.velocity[2]), "{turned:?}");
        let braked = drive(&mut straight, [0.0; 3], 1.0);
        assert!(braked.velocity.iter().all(|v| v.abs() < 2e-3), "{braked:?}");
    }

    #[test]
    fn every_departure_does_what_it_says() {
        let of = |scenario: BaseScenario, twist, seconds| drive(&mut base(scenario), twist, seconds);
        let forward = [0.4, 0.0, 0.0];
        let larger = of(BaseScenario { wheel_scale: [1.1, 1.0], ..Default::default() }, forward, 3.0);
        // (1.1 - 1.0) 0.4 / 0.36 to the right
        assert!((larger.velocity[2] + 0.111).abs() < 0.02, "{larger:?}");
        let soon = |scenario| of(scenario, forward, 0.1).velocity[0];
        let nominal = soon(BaseScenario::default());
        let slow = soon(BaseScenario { lag_scale: 3.0, ..Default::default() });
        assert!(slow < 0.6 * nominal, "{slow} {nominal}");
        let late = soon(BaseScenario { delay: Duration::from_millis(100), ..Default::default() });
        assert_eq!(late, nominal, "the first twist is there from the beginning");
        // what stands off the middle turns the base when it starts
        let loaded = of(BaseScenario { payload: 6.8, ..Default::default() }, forward, 3.0);
        assert!(loaded.position[2] < -0.03, "{loaded:?}");
        let patch = Patch { centre: [0.0; 2], radius: 2.0, friction: 0.02 };
        let slippery = of(BaseScenario { patch, ..Default::default() }, forward, 0.3).velocity[0];
        assert!(slippery < 0.5 * of(BaseScenario::default(), forward, 0.3).velocity[0], "{slippery}");
    }

    #[test]
    fn a_late_base_is_late() {
        let mut late = base(BaseScenario { delay: Duration::from_millis(100), ..Default::default() });
        drive(&mut late, [0.0; 3], 0.2);
        assert!(drive(&mut late, [0.4, 0.0, 0.0], 0.1).velocity[0] < 1e-3);
        assert!(drive(&mut late, [0.4, 0.0, 0.0], 0.1).velocity[0] > 0.1);
    }

    #[test]
    fn noise_and_bias_are_in_the_odometry_and_not_in_the_truth() {
        let scenario = BaseScenario { position_noise: 0.01, yaw_bias: 0.1, ..Default::default() };
        let mut noisy = base(scenario);
        let (mut sum, mut count) = (0.0, 0.0);
        for _ in 0..500 {
            drive(&mut noisy, [0.2, 0.0, 0.3], 0.02);
            let (measured, truth) = (noisy.state(), noisy.true_state());
            sum += (measured.position[0] - truth.position[0]).powi(2);
            count += 1.0;
            assert!((measured.position[2] - truth.position[2] - 0.1).abs() < 1e-12);
        }
        assert!((f64::sqrt(sum / count) - 0.01).abs() < 1e-3);
        assert_eq!(noisy.state().velocity, noisy.true_state().velocity);
    }

    #[test]
    fn motions_repeat_bit_for_bit_also_over_a_patch_and_after_a_reset() {
        let patch = Patch { centre: [0.5, 0.1], radius: 0.3, friction: 0.05 };
        let scenario = BaseScenario { patch, position_noise: 0.01, ..Default::default() };
        let mut once = base(scenario.clone());
        let first = drive(&mut once, [0.4, 0.0, 0.5], 3.0);
        assert_eq!(drive(&mut base(scenario), [0.4, 0.0, 0.5], 3.0), first);
        once.reset().unwrap();
        assert_eq!(drive(&mut once, [0.4, 0.0, 0.5], 3.0), first);
    }

    #[test]
    fn what_is_no_base_on_wheels_is_refused() {
        let arm = include_str!("../../urdf/arm.urdf");
        let error = Base::new(arm, BaseConfig::default()).unwrap_err().to_string();
        assert!(error.contains("two wheels"), "{error}");
    }
}
