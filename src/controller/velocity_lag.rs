//! How late measured velocities are beside measured positions, found from both.
//!
//! Velocities mostly come through a filter, or from differences, and are those of a time τ ago. A robot that tracks exactly then
//! seems to be τ a_r too slow, and the feedback d (v_r − v) pushes it off its path by up to d τ a_r / p, which no model of its
//! dynamics explains: the torque is right, and the error stays. Over a window the measured velocities account for τ Δv less than
//! the way,
//!
//! Δq − ∫ v dt = τ Δv,
//!
//! and τ is the slope of that, by Bayesian regression over windows.

use crate::robot::Robot;
use crate::state::State;

/// Windows are as long as motions take to change their velocity, s.
const WINDOW: f64 = 0.2;
/// Windows before anything is said, and time in which they are forgotten, s.
const FIRST_WINDOWS: f64 = 5.0;
const MEMORY: f64 = 100.0;
/// Standard deviation of a lag of which nothing is known, and the largest that is believed, s.
const USUAL_LAG: f64 = 0.002;
const LARGEST_LAG: f64 = 0.02;
/// A window that is off by more standard deviations counts for so many.
const KNOCK: f64 = 5.0;
/// Time over which a new estimate takes effect, s.
const FADE: f64 = 0.5;

#[derive(Clone, Copy, Debug, Default)]
struct Joint {
    /// The way of the present window less what velocities account for, rad or m, and the velocity before it.
    gap: f64,
    begin: f64,
    /// Mean products of windows: of changes of velocity, of those with gaps, of gaps.
    changes: f64,
    product: f64,
    gaps: f64,
    /// As estimated, s.
    estimate: f64,
}

/// See the module. Vectors are in the robot's order.
#[derive(Clone, Debug)]
pub struct VelocityLag {
    joints: Vec<Joint>,
    /// Effective number of windows, and length of the present one, s.
    windows: f64,
    elapsed: f64,
    last: State,
    has_last: bool,
    way: Vec<f64>,
    lag: Vec<f64>,
    frozen: bool,
}

impl VelocityLag {
    pub fn new(joints: usize) -> Self {
        Self {
            joints: vec![Joint::default(); joints],
            windows: 0.0,
            elapsed: 0.0,
            last: State::zeros(joints),
            has_last: false,
            way: vec![0.0; joints],
            lag: vec![0.0; joints],
            frozen: false,
        }
    }

    /// Forgets where the robot was, not what was learned: after a hold or a jump of time.
    pub fn interrupt(&mut self) {
        self.has_last = false;
    }

    /// Keeps what was found, or goes on looking.
    pub fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen;
        self.interrupt();
    }

    /// Takes the measurement that came `elapsed` after the last one; unless that is the time of a tick, `dt`, the motion in between
    /// is not known. Both in s.
    pub fn observe(&mut self, state: &State, robot: &Robot, [dt, elapsed]: [f64; 2]) {
        if self.frozen {
            return;
        }
        if !self.has_last || elapsed > dt {
            self.last.copy_from(state);
            self.begin(state);
            return;
        }
        if self.elapsed >= WINDOW {
            self.end(state);
            self.begin(state);
            return;
        }
        robot.difference(&self.last.position, &state.position, &mut self.way);
        self.elapsed += dt;
        for (index, joint) in self.joints.iter_mut().enumerate() {
            joint.gap += self.way[index] - 0.5 * dt * (self.last.velocity[index] + state.velocity[index]);
            self.lag[index] += (dt / FADE).min(1.0) * (joint.estimate - self.lag[index]);
        }
        self.last.copy_from(state);
    }

    /// Of each joint, s.
    pub fn lag(&self) -> &[f64] {
        &self.lag
    }

    /// A window lies between two velocities that are no part of it: noise that is in both Δv and ∫v dt would pass for a lag.
    fn begin(&mut self, state: &State) {
        for (joint, velocity) in self.joints.iter_mut().zip(&self.last.velocity) {
            (joint.gap, joint.begin) = (0.0, *velocity);
        }
        self.last.copy_from(state);
        (self.has_last, self.elapsed) = (true, 0.0);
    }

    fn end(&mut self, state: &State) {
        self.windows = (-WINDOW / MEMORY).exp() * self.windows + 1.0;
        for (joint, velocity) in self.joints.iter_mut().zip(&state.velocity) {
            joint.learn(velocity - joint.begin, self.windows);
        }
    }
}

impl Joint {
    /// Takes the window that ends, the last of so many `windows`, in which the velocity changed by `change`.
    fn learn(&mut self, change: f64, windows: f64) {
        // a measurement may be finite and yet overflow, and sums would never forget it
        if !(self.gap * self.gap + change * change).is_finite() {
            return;
        }
        let mut gap = self.gap;
        if windows > FIRST_WINDOWS {
            let [mean, variance] = self.belief(windows - 1.0);
            let expected = mean * change;
            let largest = KNOCK * (self.noise(windows - 1.0) + variance * change * change).sqrt();
            gap = expected + (gap - expected).clamp(-largest, largest);
        }
        for (mean, value) in [
            (&mut self.changes, change * change),
            (&mut self.product, change * gap),
            (&mut self.gaps, gap * gap),
        ] {
            *mean += (value - *mean) / windows;
        }
        if windows >= FIRST_WINDOWS {
            let [mean, variance] = self.belief(windows);
            // as far as it stands out of three standard deviations
            let share = if mean == 0.0 { 0.0 } else { mean * mean / (mean * mean + 9.0 * variance) };
            self.estimate = (share * mean).clamp(-LARGEST_LAG, LARGEST_LAG);
        }
    }

    /// Variance of a window's gap beside what the lag explains, rad² or m².
    fn noise(&self, windows: f64) -> f64 {
        let slope = if self.changes > 0.0 { self.product / self.changes } else { 0.0 };
        (self.gaps - slope * self.product).max(0.0) * windows / (windows - 1.0)
    }

    /// Mean [s] and variance [s²] of the lag after so many windows.
    fn belief(&self, windows: f64) -> [f64; 2] {
        let noise = self.noise(windows);
        let information = windows * self.changes + noise / (USUAL_LAG * USUAL_LAG);
        if information <= 0.0 {
            return [0.0, USUAL_LAG * USUAL_LAG];
        }
        [windows * self.product / information, noise / information]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    use std::f64::consts::TAU;
    use std::ops::Range;

    const DT: f64 = 0.002;
    const TWO: &str = r#"<robot name="two"><link name="base"/><link name="arm"/><link name="hand"/>
        <joint name="turn" type="continuous"><parent link="base"/><child link="arm"/><limit effort="1" velocity="9"/></joint>
        <joint name="bend" type="revolute"><parent link="arm"/><child link="hand"/>
          <limit lower="-9" upper="9" effort="1" velocity="9"/></joint></robot>"#;

    /// Lets `found` see so many `ticks` of a `motion`: by tick and time [s], the positions of both joints and their velocity.
    fn feed(found: &mut VelocityLag, ticks: Range<i32>, mut motion: impl FnMut(i32, f64) -> ([f64; 2], f64)) {
        let robot = Robot::from_urdf(TWO).unwrap();
        let mut state = State::zeros(2);
        for tick in ticks {
            let (position, velocity) = motion(tick, f64::from(tick) * DT);
            state.position.copy_from_slice(&position);
            state.velocity.fill(velocity);
            found.observe(&state, &robot, [DT; 2]);
        }
    }

    /// Lags that are found after `seconds`, of velocities that are `lag` late; `amplitude` and noise in rad (rad/s).
    fn find(lag: f64, amplitude: f64, [of_position, of_velocity]: [f64; 2], seconds: f64) -> Vec<f64> {
        let mut random = rand_pcg::Pcg64::seed_from_u64(7);
        let mut noise = |scale: f64| -> f64 {
            let sample: f64 = StandardNormal.sample(&mut random);
            scale * sample
        };
        let mut found = VelocityLag::new(2);
        feed(&mut found, 0..(seconds / DT) as i32, |_, time| {
            let (angle, late) = (TAU * 0.4 * time, TAU * 0.4 * (time - lag));
            // about π, where a continuous joint wraps
            let position = std::f64::consts::PI + amplitude * angle.sin() + noise(of_position);
            let velocity = TAU * 0.4 * amplitude * late.cos() + noise(of_velocity);
            let wrapped = if position > std::f64::consts::PI { position - TAU } else { position };
            ([wrapped, position], velocity)
        });
        found.lag().to_vec()
    }

    #[test]
    fn finds_half_a_millisecond_within_three_seconds() {
        for found in find(5e-4, 0.5, [1e-5, 1e-3], 3.0) {
            assert!((found - 5e-4).abs() < 1e-4, "{found}");
        }
    }

    #[test]
    fn finds_a_filter_of_milliseconds_and_a_velocity_that_is_ahead() {
        for lag in [8e-3, -3e-3] {
            for found in find(lag, 0.5, [1e-5, 1e-3], 3.0) {
                assert!((found / lag - 1.0).abs() < 0.05, "{found} for {lag}");
            }
        }
    }

    #[test]
    fn finds_nothing_at_rest_or_where_there_is_nothing() {
        for found in find(5e-3, 0.0, [1e-4, 1e-2], 20.0) {
            assert!(found.abs() < 1e-4, "{found}");
        }
        for found in find(0.0, 0.5, [1e-5, 1e-3], 20.0) {
            assert!(found.abs() < 3e-5, "{found}");
        }
    }

    #[test]
    fn a_long_rest_is_no_prejudice() {
        let mut random = rand_pcg::Pcg64::seed_from_u64(3);
        let mut motion = |_, time: f64| {
            let time = (time - 5.0).max(0.0);
            let noise: [f64; 2] = [StandardNormal.sample(&mut random), StandardNormal.sample(&mut random)];
            let position = 0.5 * (1.0 - (2.0 * time).cos()) + 1e-5 * noise[0];
            let velocity = (2.0 * (time - 1e-3).max(0.0)).sin() + 1e-3 * noise[1];
            ([position; 2], velocity)
        };
        let mut found = VelocityLag::new(2);
        for tick in 0..=2500 {
            feed(&mut found, tick..tick + 1, &mut motion);
            assert!(found.lag()[0].abs() < 5e-4, "at rest {:?}", found.lag());
        }
        feed(&mut found, 2501..4000, motion);
        assert!((found.lag()[0] - 1e-3).abs() < 1e-4, "{:?}", found.lag());
    }

    #[test]
    fn a_measurement_that_overflows_is_forgotten() {
        let mut found = VelocityLag::new(2);
        feed(&mut found, 0..3000, |tick, time| {
            let wild = if tick == 700 { 1e300 } else { 0.0 };
            let noise = 1e-5 * f64::from(tick % 3 - 1);
            ([0.5 * (2.0 * time).sin() + noise + wild; 2], (2.0 * (time - 1e-3)).cos() - wild)
        });
        assert!((found.lag()[0] - 1e-3).abs() < 2e-4, "{:?}", found.lag());
    }

    #[test]
    fn a_jump_of_the_encoder_leaves_little() {
        let mut found = VelocityLag::new(2);
        feed(&mut found, 0..5000, |tick, time| {
            let jump = if tick >= 2500 { 0.1 } else { 0.0 };
            let (position, velocity) = (0.5 * time.sin() + jump, 0.5 * (time - 1e-3).cos());
            let noise = 1e-5 * f64::from(tick % 3 - 1);
            ([position + noise; 2], velocity)
        });
        assert!((found.lag()[0] - 1e-3).abs() < 2e-4, "{:?}", found.lag());
    }
}
