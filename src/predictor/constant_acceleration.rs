//! The robot goes on as it accelerates: where it has just begun to speed up or brake, this is hard to beat.

use crate::state::{Space, State};

/// Samples over which the constant acceleration is taken.
pub const ACCELERATION_OVER: usize = 5;

/// Fills `local` with the displacement after `time` [s] when the mean acceleration from `before` to `now` lasts.
pub fn constant_acceleration(space: Space, before: &State, now: &State, time: f64, local: &mut [f64]) {
    let elapsed = now.stamp.since(before.stamp);
    if elapsed <= 0.0 {
        return space.displacement(&now.velocity, time, local);
    }
    // the mean velocity of the time ahead
    for ((mean, now), before) in local.iter_mut().zip(&now.velocity).zip(&before.velocity) {
        *mean = now + 0.5 * time * (now - before) / elapsed;
    }
    let mut mean = [0.0; 3];
    match space {
        Space::Joints => local.iter_mut().for_each(|value| *value *= time),
        Space::PlanarBase => {
            mean.iter_mut().zip(&*local).for_each(|(mean, value)| *mean = *value);
            space.displacement(&mean, time, local);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;

    #[test]
    fn acceleration_lasts() {
        let at = |seconds: f64| State {
            stamp: Stamp::from_seconds(seconds),
            position: vec![seconds * seconds],
            velocity: vec![2.0 * seconds],
        };
        let mut local = [0.0];
        constant_acceleration(Space::Joints, &at(0.5), &at(1.0), 0.5, &mut local);
        assert!((local[0] - 1.25).abs() < 1e-12);
        constant_acceleration(Space::Joints, &at(1.0), &at(1.0), 0.5, &mut local);
        assert_eq!(local, [1.0], "without a time between them: constant velocity");
        // a base that starts to turn ends on an arc of the mean rate
        let base = |rate: f64, time: f64| State {
            stamp: Stamp::from_seconds(time),
            position: vec![0.0; 3],
            velocity: vec![1.0, 0.0, rate],
        };
        let mut local = [0.0; 3];
        constant_acceleration(Space::PlanarBase, &base(0.0, 0.0), &base(0.1, 1.0), 1.0, &mut local);
        assert!((local[2] - 0.15).abs() < 1e-12 && local[1] > 0.07);
    }
}
