//! The best that computed torque can do: the inverse dynamics of the plant itself, as it is at each time, with the same
//! feedback on the same noisy measurements. What it leaves is what noise and sampling leave.

use crate::command::Mode;
use crate::controller::Gains;
use crate::error::Result;
use crate::reference::ReferencePoint;
use crate::sim::{Arm, ArmConfig, InnerLoopConfig, Scenario};
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

    /// Time from a command to its effect, s.
    pub fn delay(&self) -> f64 {
        self.twin.scenario().delay.as_secs_f64()
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

/// The same for drives that take velocities or positions: their exact inverse.
pub struct DriveOracle {
    mode: Mode,
    drives: InnerLoopConfig,
    gains: Vec<Gains>,
}

/// Slower than this a joint is at rest, and no dead band is to be overcome, rad/s or m/s.
const REST: f64 = 1e-6;

impl DriveOracle {
    pub fn new(mode: Mode, drives: InnerLoopConfig, gains: Vec<Gains>) -> Self {
        Self { mode, drives, gains }
    }

    pub fn delay(&self) -> f64 {
        self.drives.dead_time
    }

    /// As [`Oracle::command`]; rad/s (m/s), or rad (m).
    pub fn command(
        &self,
        state: &State,
        reference: &ReferencePoint,
        ahead: &ReferencePoint,
        out: &mut [f64],
    ) {
        for (joint, gains) in self.gains.iter().enumerate() {
            let target = ahead.velocity[joint] + self.drives.lag * ahead.acceleration[joint];
            let dead_band = if target.abs() > REST { self.drives.dead_band * target.signum() } else { 0.0 };
            let wanted = target / self.drives.gain[joint] + dead_band;
            let position_error = reference.position[joint] - state.position[joint];
            let feedback = gains.p * position_error;
            out[joint] = feedback
                + match self.mode {
                    Mode::Position => ahead.position[joint] + wanted / self.drives.position_gain,
                    _ => wanted,
                };
        }
    }
}
