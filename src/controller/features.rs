//! What the residual network sees of a motion.
//!
//! In control the motion is the reference's; in learning by the inverse model it is the one that was achieved.
//! Measured positions and velocities are no inputs in control: they would close a second loop through the network.

/// Features of each joint: q/2, v, a/4, tanh(v/0.03); the divisors bring usual motions of an arm to about ±1.
pub const FEATURES_PER_JOINT: usize = 4;

/// Far above the features of any motion: 2000 rad, 1000 rad/s, 4000 rad/s².
pub const LARGEST_FEATURE: f32 = 1000.0;

const POSITION_SCALE: f64 = 2.0; // rad
const VELOCITY_SCALE: f64 = 1.0; // rad/s
const ACCELERATION_SCALE: f64 = 4.0; // rad/s²
/// Below this speed Coulomb friction changes its sign smoothly.
const FRICTION_VELOCITY: f64 = 0.03; // rad/s

/// Writes `[feature × joint]` for position [rad or m], velocity and acceleration.
pub fn write_features(position: &[f64], velocity: &[f64], acceleration: &[f64], out: &mut [f32]) {
    let joints = position.len();
    for joint in 0..joints {
        let v = velocity[joint];
        out[joint] = (position[joint] / POSITION_SCALE) as f32;
        out[joints + joint] = (v / VELOCITY_SCALE) as f32;
        out[2 * joints + joint] = (acceleration[joint] / ACCELERATION_SCALE) as f32;
        out[3 * joints + joint] = friction_feature(v) as f32;
    }
}

/// The direction of motion, -1 to 1.
pub fn friction_feature(velocity: f64) -> f64 {
    (velocity / FRICTION_VELOCITY).tanh()
}
