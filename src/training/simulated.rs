//! Training data from MuJoCo: episodes of an arm under its ordinary controller, each with a payload, friction, damping,
//! gains and a reference of its own, drawn from the seed and the number of the episode alone.

use crate::closed_loop::ClosedLoop;
use crate::control_loop::{ControllerConfig, ReferenceConfig};
use crate::dataset::effort::EffortEpisode;
use crate::dataset::mcap_writer::McapWriter;
use crate::dataset::messages::{Header, JointState};
use crate::error::{Error, Result};
use crate::reference::MultiSineConfig;
use crate::robot::Robot;
use crate::sim::{ArmConfig, Scenario};
use crate::state::Stamp;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is drawn, and between which bounds [low, high].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulationConfig {
    pub seed: u64,
    /// Length of an episode, s of simulated time after the reference has faded in.
    pub seconds: f64,
    /// At the tool, kg.
    pub payload: [f64; 2],
    /// Times that of the description.
    pub friction_scale: [f64; 2],
    pub damping_scale: [f64; 2],
    /// Of each joint: effort that arrives over effort commanded.
    pub gain: [f64; 2],
    /// Greatest velocity of the reference, rad/s or m/s.
    pub velocity: [f64; 2],
    /// Greatest acceleration of the reference, rad/s² or m/s².
    pub acceleration: [f64; 2],
    /// Standard deviations of the measurements, rad or m and rad/s or m/s.
    pub position_noise: f64,
    pub velocity_noise: f64,
}

impl Default for SimulationConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            seconds: 10.0,
            payload: [0.0, 2.0],
            friction_scale: [0.5, 3.0],
            damping_scale: [0.5, 2.0],
            gain: [0.7, 1.0],
            velocity: [0.5, 1.0],
            acceleration: [2.0, 4.0],
            position_noise: 1e-5,
            velocity_noise: 1e-3,
        }
    }
}

/// An episode and what it was drawn to be.
#[derive(Clone, Debug)]
pub struct SimulatedEpisode {
    pub scenario: Scenario,
    pub reference: MultiSineConfig,
    /// As measured, with the efforts that were commanded.
    pub motion: EffortEpisode,
}

impl SimulationConfig {
    pub fn validate(&self) -> Result<()> {
        let bounds = [
            ("payload", self.payload),
            ("friction_scale", self.friction_scale),
            ("damping_scale", self.damping_scale),
            ("gain", self.gain),
            ("velocity", self.velocity),
            ("acceleration", self.acceleration),
            ("position_noise", [self.position_noise; 2]),
            ("velocity_noise", [self.velocity_noise; 2]),
        ];
        for (key, [low, high]) in bounds {
            if !(0.0 <= low && low <= high && high.is_finite()) {
                let found = format!("[{low}, {high}]");
                return Err(Error::mismatch(key, found, "[low, high], not negative"));
            }
        }
        match self.seconds.is_finite() && self.seconds > 0.0 {
            true => Ok(()),
            false => Err(Error::mismatch("seconds", self.seconds, "a number above 0")),
        }
    }

    /// What episode `index` is to be; the greatest motion stays within that of `reference`.
    fn draw(&self, index: u64, joints: usize, reference: &MultiSineConfig) -> (Scenario, MultiSineConfig) {
        let mut random = Pcg64::new(u128::from(self.seed), u128::from(index));
        let mut between = |[low, high]: [f64; 2]| low + (high - low) * random.random::<f64>();
        let scenario = Scenario {
            payload: between(self.payload),
            friction_scale: between(self.friction_scale),
            damping_scale: between(self.damping_scale),
            gain: (0..joints).map(|_| between(self.gain)).collect(),
            position_noise: self.position_noise,
            velocity_noise: self.velocity_noise,
            ..Scenario::default()
        };
        let (velocity, acceleration) = (between(self.velocity), between(self.acceleration));
        let reference =
            MultiSineConfig { seed: random.random(), velocity, acceleration, ..reference.clone() };
        (scenario, reference)
    }
}

/// Simulates episode `index` of the arm in `urdf` under `controller`, without learning or prediction; it starts from the
/// centre of its reference, a multi-sine.
pub fn simulate(
    urdf: &str,
    arm: &ArmConfig,
    controller: &ControllerConfig,
    config: &SimulationConfig,
    index: u64,
) -> Result<SimulatedEpisode> {
    config.validate()?;
    let ReferenceConfig::MultiSine(reference) = &controller.reference else {
        return Err(Error::mismatch("controller.reference.kind", "another motion", "multi_sine"));
    };
    let joints = Robot::from_urdf(urdf)?.degrees_of_freedom();
    let (scenario, reference) = config.draw(index, joints, reference);
    let controller = ControllerConfig {
        reference: ReferenceConfig::MultiSine(reference.clone()),
        learning: false,
        prediction: false,
        ..controller.clone()
    };
    let arm = ArmConfig {
        initial_position: reference.centre.clone(),
        seed: Pcg64::seed_from_u64(reference.seed).random(),
        ..arm.clone()
    };
    let dt = 1.0 / controller.update_rate;
    let mut motion = EffortEpisode { dt, states: Vec::new(), efforts: Vec::new() };
    let mut run = ClosedLoop::new(urdf, arm, scenario.clone(), controller, None)?;
    // the reference fades in first; a robot at rest tells little
    run.run(reference.blend_time, |_| {})?;
    run.run(config.seconds, |tick| {
        motion.states.push(tick.measured.clone());
        motion.efforts.push(tick.command.values.clone());
    })?;
    Ok(SimulatedEpisode { scenario, reference, motion })
}

/// Writes an episode of the joints `joints` as a recording of /joint_states into the new folder `path`; the clock begins
/// at 1 s, because a stamp of zero says that there is none.
pub fn write(path: &Path, joints: &[String], episode: &EffortEpisode) -> Result<()> {
    let mut writer = McapWriter::create(path)?;
    let first = episode.states.first().map_or(Stamp(0), |state| state.stamp);
    for (state, effort) in episode.states.iter().zip(&episode.efforts) {
        let stamp = Stamp(1_000_000_000 + state.stamp.0 - first.0);
        let message = JointState {
            header: Header { stamp: stamp.into(), frame_id: String::new() },
            name: joints.to_vec(),
            position: state.position.clone(),
            velocity: state.velocity.clone(),
            effort: effort.clone(),
        };
        writer.write("/joint_states", stamp, &message)?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::dataset::{Recording, Selection};

    const URDF: &str = include_str!("../../urdf/arm.urdf");

    fn controller() -> ControllerConfig {
        config::read_text(include_str!("../../config/arm.yaml"), "config/arm.yaml", "controller").unwrap()
    }

    #[test]
    fn an_episode_is_the_same_each_time_and_unlike_the_others() {
        let (arm, controller) = (ArmConfig::default(), controller());
        let config = SimulationConfig { seconds: 1.0, ..Default::default() };
        let episode = |seed, index| {
            let config = SimulationConfig { seed, ..config.clone() };
            simulate(URDF, &arm, &controller, &config, index).unwrap()
        };
        let first = episode(0, 3);
        assert_eq!(first.motion, episode(0, 3).motion);
        assert_eq!((first.motion.states.len(), first.motion.dt), (500, 0.002));
        for other in [episode(0, 4), episode(1, 3)] {
            assert_ne!(first.scenario, other.scenario);
            assert_ne!(first.motion.efforts, other.motion.efforts);
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let config = SimulationConfig { seconds: 0.5, ..Default::default() };
        let episode = simulate(URDF, &ArmConfig::default(), &controller(), &config, 0).unwrap().motion;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("episode");
        let robot = Robot::from_urdf(URDF).unwrap();
        write(&path, &robot.joints, &episode).unwrap();
        let recording = Recording::read(&path, &Selection::default()).unwrap();
        assert_eq!(recording.joints, robot.joints);
        let read = recording.effort_episodes(episode.dt).unwrap();
        assert_eq!((read.len(), &read[0].efforts), (1, &episode.efforts));
        for (read, written) in read[0].states.iter().zip(&episode.states) {
            assert_eq!((&read.position, &read.velocity), (&written.position, &written.velocity));
        }
        assert!(write(&path, &robot.joints, &episode).is_err(), "a recording is never overwritten");
    }

    #[test]
    fn draws_stay_within_their_bounds_and_reach_them() {
        let config = SimulationConfig::default();
        let reference = MultiSineConfig::default();
        let scenarios: Vec<Scenario> = (0..500).map(|index| config.draw(index, 7, &reference).0).collect();
        let payloads = || scenarios.iter().map(|scenario| scenario.payload);
        assert!(payloads().all(|payload| (0.0..=2.0).contains(&payload)));
        assert!(payloads().fold(0.0, f64::max) > 1.9 && payloads().fold(2.0, f64::min) < 0.1);
        assert!(scenarios.iter().all(|scenario| scenario.gain.iter().all(|gain| (0.7..=1.0).contains(gain))));
        let config = SimulationConfig { gain: [1.0, 0.5], ..config };
        assert!(config.validate().unwrap_err().to_string().starts_with("gain: found [1, 0.5]"));
    }
}
