//! Labelled instants of recorded motion: in hindsight, the effort that was applied less the feedforward is what the
//! network should have given for the motion that was achieved (the rule `inverse_model` of [`crate::learner`]).

use crate::controller::Feedforward;
use crate::controller::features::{FEATURES_PER_JOINT, write_features};
use crate::dataset::effort::EffortEpisode;
use crate::error::{Error, Result};
use crate::robot::{Dynamics, Robot};
use nalgebra::DMatrix;

/// Half the window over which efforts are averaged and velocities differenced, s, as the learner's; at least one sample.
const HALF_WINDOW: f64 = 0.010;

/// One episode, instant by instant.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// s
    pub dt: f64,
    /// [instant, feature]
    pub features: DMatrix<f32>,
    /// [instant, joint], in tenths of the effort limit.
    pub labels: DMatrix<f32>,
    /// Instants on either side whose measurements are in those of an instant.
    pub reach: usize,
}

impl Labelled {
    pub fn instants(&self) -> usize {
        self.features.nrows()
    }
}

/// Labels for a controller with `feedforward`, whose model is `dynamics`.
pub fn label(
    episode: &EffortEpisode,
    robot: &Robot,
    dynamics: &mut Dynamics,
    feedforward: Feedforward,
) -> Result<Labelled> {
    let joints = robot.degrees_of_freedom();
    let reach = ((HALF_WINDOW / episode.dt - 0.01).ceil() as usize).max(1);
    if episode.states.len() <= 2 * reach || episode.states[0].position.len() != joints {
        let found = format!(
            "{} samples of {} joints",
            episode.states.len(),
            episode.efforts.first().map_or(0, Vec::len)
        );
        return Err(Error::mismatch("episode", found, format!("more than {} of {joints} joints", 2 * reach)));
    }
    let scale = robot.output_scale();
    if let Some((joint, scale)) = robot.joints.iter().zip(&scale).find(|(_, scale)| !scale.is_finite()) {
        let problem =
            format!("its effort limit is {}; the output of the network is scaled by it", 10.0 * scale);
        return Err(Error::Joint { joint: joint.clone(), problem });
    }
    let instants = episode.states.len() - 2 * reach;
    let mut features = DMatrix::zeros(instants, FEATURES_PER_JOINT * joints);
    let mut labels = DMatrix::zeros(instants, joints);
    let (mut row, mut acceleration) = (vec![0.0; FEATURES_PER_JOINT * joints], vec![0.0; joints]);
    let (mut effort, mut friction) = (vec![0.0; joints], vec![0.0; joints]);
    for instant in 0..instants {
        let window = instant..=instant + 2 * reach;
        let (before, state, after) = (
            &episode.states[instant],
            &episode.states[instant + reach],
            &episode.states[instant + 2 * reach],
        );
        let span = 2.0 * reach as f64 * episode.dt;
        for (joint, acceleration) in acceleration.iter_mut().enumerate() {
            *acceleration = (after.velocity[joint] - before.velocity[joint]) / span;
        }
        write_features(&state.position, &state.velocity, &acceleration, &mut row);
        features.row_mut(instant).copy_from_slice(&row);
        match feedforward {
            Feedforward::None => effort.fill(0.0),
            Feedforward::Gravity => dynamics.gravity(&state.position, &mut effort),
            Feedforward::InverseDynamics => {
                dynamics.inverse_dynamics(&state.position, &state.velocity, &acceleration, &mut effort);
                dynamics.friction(&state.velocity, &mut friction);
                effort.iter_mut().zip(&friction).for_each(|(effort, friction)| *effort += friction);
            }
        }
        for joint in 0..joints {
            let applied: f64 = window.clone().map(|time| episode.efforts[time][joint]).sum();
            let mean = applied / (2 * reach + 1) as f64;
            labels[(instant, joint)] = ((mean - effort[joint]) / scale[joint]) as f32;
        }
    }
    if let Some(value) = features.iter().chain(&labels).find(|value| !value.is_finite()) {
        return Err(Error::NotFinite { what: "a labelled instant".into(), value: f64::from(*value) });
    }
    Ok(Labelled { dt: episode.dt, features, labels, reach })
}
