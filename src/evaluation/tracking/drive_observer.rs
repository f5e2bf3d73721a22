//! A disturbance observer on drives that take velocities (Ohnishi, *A new servo method in mechatronics*, Trans. JSEE 1987;
//! Ohnishi, Shibata and Murakami, *Motion control for advanced mechatronics*, IEEE/ASME T-Mech 1996), the classical remedy
//! against inner loops that are not as anybody was told.
//!
//! The drive is taken for 1/(τ s + 1) and what it does besides for a disturbance d of its command, found through
//! Q(s) = ω/(s + ω): d̂ = Q (v + τ v') − Q u, without a derivative, for Q s = ω (1 − Q). Joint by joint:
//!
//! > u = v_r + τ a_r + p (q_r − q) − d̂

use crate::reference::ReferencePoint;
use crate::state::State;
use serde::Serialize;

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct DriveObserverConfig {
    /// 1/s.
    pub p: f64,
    /// ω, rad/s.
    pub bandwidth: f64,
    /// τ of the nominal drive, s.
    pub lag: f64,
}

pub struct DriveObserver {
    config: DriveObserverConfig,
    /// Q v, Q u [joint].
    velocity: Vec<f64>,
    sent: Vec<f64>,
    started: bool,
}

impl DriveObserver {
    pub fn new(config: DriveObserverConfig, joints: usize) -> Self {
        Self { config, velocity: vec![0.0; joints], sent: vec![0.0; joints], started: false }
    }

    /// Writes the velocities to command, rad/s or m/s, into `out`, which holds those that were sent last: the feedback on
    /// `reference`, the feedforward for the one `ahead`, at which the command will act. `dt` [s] since the last time.
    pub fn command(
        &mut self,
        state: &State,
        [reference, ahead]: [&ReferencePoint; 2],
        dt: f64,
        out: &mut [f64],
    ) {
        let DriveObserverConfig { p, bandwidth, lag } = self.config;
        let share = if self.started { 1.0 - (-bandwidth * dt).exp() } else { 1.0 };
        self.started = true;
        for (joint, out) in out.iter_mut().enumerate() {
            let measured = state.velocity[joint];
            self.velocity[joint] += share * (measured - self.velocity[joint]);
            self.sent[joint] += share * (*out - self.sent[joint]);
            let inverse = self.velocity[joint] + lag * bandwidth * (measured - self.velocity[joint]);
            let disturbance = inverse - self.sent[joint];
            *out = ahead.velocity[joint]
                + lag * ahead.acceleration[joint]
                + p * (reference.position[joint] - state.position[joint])
                - disturbance;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DT: f64 = 0.002;

    /// Velocity after two seconds of a drive of that gain and of lag 0.03 s which is told to move at 1 rad/s.
    fn velocity(gain: f64, bandwidth: f64) -> f64 {
        let config = DriveObserverConfig { p: 0.0, bandwidth, lag: 0.03 };
        let mut observer = DriveObserver::new(config, 1);
        let mut state = State::zeros(1);
        let reference = ReferencePoint { position: vec![0.0], velocity: vec![1.0], acceleration: vec![0.0] };
        let mut command = [0.0];
        for _ in 0..1000 {
            observer.command(&state, [&reference; 2], DT, &mut command);
            state.velocity[0] += (1.0 - f64::exp(-DT / 0.03)) * (gain * command[0] - state.velocity[0]);
        }
        state.velocity[0]
    }

    #[test]
    fn a_wrong_gain_is_made_up_for() {
        assert!((velocity(0.8, 0.0) - 0.8).abs() < 1e-6, "without an observer it is not");
        assert!((velocity(0.8, 20.0) - 1.0).abs() < 1e-6);
        assert!((velocity(1.2, 20.0) - 1.0).abs() < 1e-6);
    }
}
