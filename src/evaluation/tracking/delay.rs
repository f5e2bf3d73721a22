//! The delay of the arm that has one, measured as a user would: from a recording, before anything is compared.

use super::controller::ControllerKind;
use super::course::{Course, Purpose, ScenarioKind};
use super::run::closed_loop;
use super::tuning::Tuning;
use super::{TrackingConfig, in_parallel};
use crate::error::{Error, Result};
use crate::learner::delay::{DelayData, estimate_delay};
use crate::robot::{Dynamics, Robot};

/// Courses that are recorded, each with a motion and noise of its own; those of the fast motions, which tell most.
const RECORDED: usize = 30;

/// The delay that is known in a scenario, s.
pub fn measured_delays(config: &TrackingConfig) -> Result<impl Fn(ScenarioKind) -> f64 + Sync> {
    let measured = match config.scenarios.contains(&ScenarioKind::Delay) {
        true => measured_delay(config, ScenarioKind::Delay)?,
        false => 0.0,
    };
    Ok(move |scenario| if scenario == ScenarioKind::Delay { measured } else { 0.0 })
}

/// What `identify-delay` finds in recordings of PD + gravity on the arm of `scenario`, s.
fn measured_delay(config: &TrackingConfig, scenario: ScenarioKind) -> Result<f64> {
    let centre = config.centre()?;
    let seeds: Vec<u64> = (2..).step_by(3).take(RECORDED).collect();
    let episodes = in_parallel(
        config.threads,
        &seeds,
        |_, _| (),
        |seed| record(config, &scenario.course(Purpose::Tuning, *seed, centre)),
    )?;
    let estimate = estimate_delay(&episodes)?;
    match estimate.doubt() {
        None => Ok(estimate.delay),
        Some(doubt) => {
            Err(Error::mismatch(format!("the delay in scenario {}", scenario.name()), doubt, "certainty"))
        }
    }
}

fn record(config: &TrackingConfig, course: &Course) -> Result<DelayData> {
    let tuning = Tuning::of(course.scenario.condition());
    let mut run = closed_loop(config, ControllerKind::PdGravity, &tuning, course)?;
    let robot = Robot::from_urdf(&config.urdf)?;
    let mut dynamics = Dynamics::for_robot(&config.urdf, &robot)?;
    let mut gravity = vec![0.0; robot.degrees_of_freedom()];
    let mut data = DelayData { dt: 1.0 / config.controller.update_rate, ..Default::default() };
    run.run(course.seconds, |tick| {
        dynamics.gravity(&tick.measured.position, &mut gravity);
        let beyond = tick.command.values.iter().zip(&gravity).map(|(effort, gravity)| effort - gravity);
        data.effort.push(beyond.collect());
        data.position.push(tick.measured.position.clone());
        data.velocity.push(tick.measured.velocity.clone());
    })?;
    Ok(data)
}
