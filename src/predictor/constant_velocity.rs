//! The baseline: the robot goes on as it goes.

use super::{Observation, Predictor, fits, is_valid};
use crate::state::{Space, State};
use crate::trajectory::{Horizon, Trajectory};

/// q(t + k·dt) = q(t) + v(t)·k·dt, for a base along an arc, with the spread ½·a·(k·dt)² of a robot that accelerates by `a`.
#[derive(Clone, Debug)]
pub struct ConstantVelocity {
    space: Space,
    horizon: Horizon,
    /// Usual acceleration of each coordinate, rad/s² or m/s².
    acceleration: Vec<f64>,
    newest: State,
    started: bool,
}

impl ConstantVelocity {
    /// `acceleration` [coordinate]: root mean square acceleration, rad/s² or m/s²; it sets the spread only.
    pub fn new(space: Space, horizon: Horizon, acceleration: Vec<f64>) -> Self {
        let newest = State::zeros(acceleration.len());
        Self { space, horizon, acceleration, newest, started: false }
    }
}

impl Predictor for ConstantVelocity {
    fn horizon(&self) -> Horizon {
        self.horizon
    }

    fn observe(&mut self, state: &State) -> Observation {
        if !is_valid(state, self.acceleration.len()) {
            return Observation::Refused;
        }
        let observation = match state.stamp.cmp(&self.newest.stamp) {
            _ if !self.started => Observation::Started,
            std::cmp::Ordering::Equal => return Observation::Duplicate,
            std::cmp::Ordering::Less => Observation::RestartedBackInTime,
            std::cmp::Ordering::Greater => Observation::Continued { steps: 0 },
        };
        self.newest.copy_from(state);
        self.started = true;
        observation
    }

    fn predict(&mut self, out: &mut Trajectory) -> bool {
        if !self.started || !fits(out, self.horizon, self.acceleration.len()) {
            return false;
        }
        extrapolate(self.space, &self.newest, out);
        for (k, stddev) in (1..).zip(&mut out.stddev) {
            let time = self.horizon.time_from_start(k).as_secs_f64();
            for (stddev, acceleration) in stddev.iter_mut().zip(&self.acceleration) {
                *stddev = 0.5 * acceleration * time * time;
            }
        }
        true
    }

    fn reset(&mut self) {
        self.started = false;
    }
}

/// Fills stamp and states of `out` with the constant-velocity motion from `newest`; the spread is left.
fn extrapolate(space: Space, newest: &State, out: &mut Trajectory) {
    out.stamp = newest.stamp;
    for (k, state) in (1..).zip(&mut out.states) {
        let ahead = out.horizon.time_from_start(k);
        state.stamp = newest.stamp + ahead;
        // the velocity serves as scratch for the displacement
        space.displacement(&newest.velocity, ahead.as_secs_f64(), &mut state.velocity);
        space.integrate(&newest.position, &state.velocity, &mut state.position);
        state.velocity.copy_from_slice(&newest.velocity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;
    use std::time::Duration;

    #[test]
    fn it_goes_on_as_it_goes() {
        let horizon = Horizon { steps: 2, dt: Duration::from_millis(100) };
        let mut predictor = ConstantVelocity::new(Space::Joints, horizon, vec![2.0, 0.0]);
        let mut out = Trajectory::new(horizon, 2);
        assert!(!predictor.predict(&mut out));
        let stamp = Stamp::from_seconds(5.0);
        let state = State { stamp, position: vec![1.0, 2.0], velocity: vec![0.5, -1.0] };
        assert_eq!(predictor.observe(&state), Observation::Started);
        assert_eq!(predictor.observe(&state), Observation::Duplicate);
        assert!(predictor.predict(&mut out));
        assert_eq!(out.stamp, stamp);
        assert_eq!(out.states[1].stamp, Stamp::from_seconds(5.2));
        assert_eq!(out.states[1].position, [1.1, 1.8]);
        assert_eq!(out.states[1].velocity, [0.5, -1.0]);
        assert_eq!(out.stddev[1], [0.5 * 2.0 * 0.2 * 0.2, 0.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let horizon = Horizon { steps: 2, dt: Duration::from_millis(100) };
        let mut predictor = ConstantVelocity::new(Space::Joints, horizon, vec![1.0]);
        assert_eq!(predictor.observe(&State::zeros(2)), Observation::Refused);
        let nan = State { position: vec![f64::NAN], ..State::zeros(1) };
        assert_eq!(predictor.observe(&nan), Observation::Refused);
        assert_eq!(predictor.observe(&State::zeros(1)), Observation::Started);
        assert!(!predictor.predict(&mut Trajectory::new(horizon, 2)));
        assert!(!predictor.predict(&mut Trajectory::new(Horizon { steps: 3, ..horizon }, 1)));
    }
}
