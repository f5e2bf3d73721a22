//! The best that computed torque can do: the inverse dynamics of the plant itself, as it is at each time, with the same
//! feedback on the same noisy measurements. What it leaves is what noise and sampling leave.

use crate::controller::Gains;
use crate::error::Result;
use crate::reference::ReferencePoint;
use crate::sim::{Arm, ArmConfig, Scenario};
use crate::state::State;

/// A second arm that is put where the reference is and asked what effort that takes: soft friction, payload, wrench,
/// masses and gains as in the plant.
pub struct Oracle {
    twin: Arm,
    gains: Vec<Gains>,
}

impl Oracle {
    pub fn new(urdf: &str, arm: ArmConfig, gains: Vec<Gains>) -> Result<Self> {
        Ok(Self { twin: Arm::new(urdf, arm)?, gains })
    }

    pub fn set_scenario(&mut self, scenario: &Scenario) -> Result<()> {
        self.twin.set_scenario(scenario.clone())
    }

    /// Writes the effort into `out`, Nm or N: the feedback on `reference`, the feedforward for the one `ahead`, at which
    /// the command will act.
    pub fn command(
        &mut self,
        state: &State,
        reference: &ReferencePoint,
        ahead: &ReferencePoint,
        out: &mut [f64],
    ) -> Result<()> {
        self.twin.put(&ahead.position, &ahead.velocity);
        self.twin.inverse_dynamics(&ahead.acceleration, out)?;
        for (joint, gains) in self.gains.iter().enumerate() {
            let position_error = reference.position[joint] - state.position[joint];
            let velocity_error = reference.velocity[joint] - state.velocity[joint];
            let wanted = out[joint] + gains.p * position_error + gains.d * velocity_error;
            out[joint] = wanted / self.twin.scenario().gain.get(joint).copied().unwrap_or(1.0);
        }
        Ok(())
    }
}
