//! What the controller tells the learner about one tick.

use crate::state::{Stamp, State};

/// One tick of undisturbed tracking: all vectors have an entry a joint, in the robot's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Stamp of the measurement.
    pub stamp: Stamp,
    /// Measured position [rad or m] and velocity.
    pub position: Vec<f64>,
    pub velocity: Vec<f64>,
    /// Command that was sent, after limits: effort in Nm or N, or velocity or position where the drives take these.
    pub effort: Vec<f64>,
    pub reference_position: Vec<f64>,
    pub reference_velocity: Vec<f64>,
    pub reference_acceleration: Vec<f64>,
    /// What was known of the command that the motion takes, and the feedback of the baseline; the rest is the residual. For
    /// drives that take velocities or positions the known command is that for the measured motion.
    pub feedforward_effort: Vec<f64>,
    pub feedback_effort: Vec<f64>,
}

impl Sample {
    pub fn zeros(degrees_of_freedom: usize) -> Self {
        let zeros = vec![0.0; degrees_of_freedom];
        Self {
            stamp: Stamp::default(),
            position: zeros.clone(),
            velocity: zeros.clone(),
            effort: zeros.clone(),
            reference_position: zeros.clone(),
            reference_velocity: zeros.clone(),
            reference_acceleration: zeros.clone(),
            feedforward_effort: zeros.clone(),
            feedback_effort: zeros,
        }
    }

    /// Copies the measurement without allocating.
    pub fn set_measurement(&mut self, state: &State) {
        self.stamp = state.stamp;
        self.position.copy_from_slice(&state.position);
        self.velocity.copy_from_slice(&state.velocity);
    }

    /// Whether every vector has `degrees_of_freedom` entries.
    pub fn has_size(&self, degrees_of_freedom: usize) -> bool {
        self.vectors().iter().all(|vector| vector.len() == degrees_of_freedom)
    }

    pub fn is_finite(&self) -> bool {
        self.vectors().into_iter().flatten().all(|value| value.is_finite())
    }

    fn vectors(&self) -> [&Vec<f64>; 8] {
        [
            &self.position,
            &self.velocity,
            &self.effort,
            &self.reference_position,
            &self.reference_velocity,
            &self.reference_acceleration,
            &self.feedforward_effort,
            &self.feedback_effort,
        ]
    }
}
