//! The simulated arm against our own rigid-body dynamics, and every setting of a scenario by its effect.
#![cfg(feature = "sim")]

use learned_control::command::{Command, Mode};
use learned_control::reference::{MultiSine, MultiSineConfig, Reference, ReferencePoint};
use learned_control::robot::{Dynamics, Robot};
use learned_control::sim::{Arm, ArmConfig, Integrator, Plant, Scenario};
use learned_control::state::State;
use nalgebra::{DMatrix, Vector3};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::time::Duration;

const ARMATURE: f64 = 0.05;
const READY: [f64; 7] = [0.0, 0.4, 0.0, -1.4, 0.0, 1.0, 0.0];
const MS: Duration = Duration::from_millis(1);

fn urdf() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/urdf/arm.urdf")).unwrap()
}

fn arm() -> Arm {
    Arm::new(&urdf(), ArmConfig { initial_position: READY.to_vec(), ..Default::default() }).unwrap()
}

fn dynamics() -> Dynamics {
    let mut dynamics = Dynamics::from_urdf(&urdf()).unwrap();
    dynamics.set_rotor_inertia(&[ARMATURE; 7]).unwrap();
    dynamics
}

fn effort(values: &[f64]) -> Command {
    Command { values: values.to_vec(), ..Command::zeros(Mode::Effort, values.len()) }
}

/// Position and velocity well within the limits, acceleration up to 10 rad/s².
fn random_motion(random: &mut Pcg64, robot: &Robot) -> [Vec<f64>; 3] {
    let mut draw = |low: f64, high: f64| random.random_range(low..high);
    let q = robot.limits.position.iter().map(|(lower, upper)| draw(0.95 * lower, 0.95 * upper)).collect();
    let v = robot.limits.velocity.iter().map(|limit| draw(-limit, *limit)).collect();
    [q, v, (0..robot.degrees_of_freedom()).map(|_| draw(-10.0, 10.0)).collect()]
}

fn greatest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The acceleration over the next millisecond, from the arm at rest in `READY`.
fn acceleration(arm: &mut Arm, command: &Command) -> Vec<f64> {
    arm.put(&READY, &[0.0; 7]);
    arm.step(command, MS).unwrap();
    arm.true_state().velocity.iter().map(|v| v / 1e-3).collect()
}

/// A scenario without what hides small accelerations.
fn frictionless() -> Scenario {
    Scenario { friction_scale: 0.0, damping_scale: 0.0, ..Default::default() }
}

#[test]
fn our_dynamics_agree_with_mujoco() {
    let (mut arm, mut ours) = (arm(), dynamics());
    arm.set_scenario(frictionless()).unwrap();
    let robot = arm.robot().clone();
    let mut random = Pcg64::seed_from_u64(7);
    let [mut expected, mut found] = [vec![0.0; 7], vec![0.0; 7]];
    let [mut expected_mass, mut found_mass] = [(); 2].map(|()| DMatrix::zeros(7, 7));
    let [mut bias, mut mass, mut inverse] = [0.0_f64; 3];
    for _ in 0..1000 {
        let [q, v, a] = random_motion(&mut random, &robot);
        arm.put(&q, &v);
        arm.bias_force(&mut expected);
        ours.inverse_dynamics(&q, &v, &[0.0; 7], &mut found);
        bias = bias.max(greatest_difference(&expected, &found));
        arm.mass_matrix(&mut expected_mass).unwrap();
        ours.mass_matrix(&q, &mut found_mass);
        mass = mass.max((&expected_mass - &found_mass).amax());
        // Links that touch in a random posture would add contact forces: the equation of motion without them.
        ours.inverse_dynamics(&q, &v, &a, &mut found);
        let inertial = &expected_mass * nalgebra::DVector::from_row_slice(&a);
        let sum: Vec<f64> =
            expected.iter().zip(inertial.iter()).map(|(bias, inertial)| bias + inertial).collect();
        inverse = inverse.max(greatest_difference(&sum, &found));
    }
    println!(
        "greatest difference: bias {bias:.1e} Nm, mass matrix {mass:.1e} kg m2, inverse {inverse:.1e} Nm"
    );
    assert!(bias < 1e-6 && mass < 1e-6 && inverse < 1e-6);
}

#[test]
fn mj_inverse_agrees_where_nothing_touches() {
    let (mut arm, mut ours) = (arm(), dynamics());
    arm.set_scenario(frictionless()).unwrap();
    let mut random = Pcg64::seed_from_u64(3);
    let [mut expected, mut found] = [vec![0.0; 7], vec![0.0; 7]];
    for _ in 0..200 {
        let mut near = |centre: &[f64], reach: f64| -> Vec<f64> {
            centre.iter().map(|c| c + random.random_range(-reach..reach)).collect()
        };
        let (q, v, a) = (near(&READY, 0.4), near(&[0.0; 7], 1.5), near(&[0.0; 7], 8.0));
        arm.put(&q, &v);
        arm.inverse_dynamics(&a, &mut expected).unwrap();
        ours.inverse_dynamics(&q, &v, &a, &mut found);
        assert!(greatest_difference(&expected, &found) < 1e-6, "{expected:?} {found:?}");
    }
}

#[test]
fn a_payload_changes_gravity_but_not_the_posture() {
    let (mut arm, mut ours) = (arm(), dynamics());
    let before = arm.true_state().clone();
    arm.set_scenario(Scenario { payload: 1.5, ..Default::default() }).unwrap();
    ours.add_point_mass("tool0", 1.5, Vector3::zeros()).unwrap();
    let [mut expected, mut found] = [vec![0.0; 7], vec![0.0; 7]];
    ours.gravity(&READY, &mut expected);
    arm.bias_force(&mut found);
    assert_eq!(arm.true_state(), &before);
    assert!(greatest_difference(&expected, &found) < 1e-6, "{expected:?} {found:?}");
    let [mut expected, mut found] = [(); 2].map(|()| DMatrix::zeros(7, 7));
    ours.mass_matrix(&READY, &mut expected);
    arm.mass_matrix(&mut found).unwrap();
    assert!((expected - found).amax() < 1e-6);
    // And while it moves: no jump of the state, back to nominal without a trace.
    arm.step(&effort(&[5.0; 7]), 50 * MS).unwrap();
    let moving = arm.true_state().clone();
    arm.set_scenario(Scenario::default()).unwrap();
    assert_eq!(arm.true_state(), &moving);
    arm.put(&READY, &[0.0; 7]);
    let mut nominal = vec![0.0; 7];
    dynamics().gravity(&READY, &mut nominal);
    let mut found = vec![0.0; 7];
    arm.bias_force(&mut found);
    assert!(greatest_difference(&nominal, &found) < 1e-6);
}

#[test]
fn friction_holds_what_it_can_and_damping_slows() {
    let mut arm = arm();
    let mut gravity = vec![0.0; 7];
    dynamics().gravity(&READY, &mut gravity);
    let mut pushed = gravity.clone();
    pushed[0] += 2.0;
    // 1 Nm of friction does not hold 2 Nm, three times as much does, but for the creep of MuJoCo's soft constraint.
    let mut velocity_after = |friction_scale, time| {
        arm.set_scenario(Scenario { friction_scale, ..Default::default() }).unwrap();
        arm.put(&READY, &[0.0; 7]);
        arm.step(&effort(&pushed), time).unwrap();
        arm.true_state().velocity[0]
    };
    assert!(velocity_after(1.0, 200 * MS) > 0.1);
    assert!(velocity_after(3.0, 200 * MS) < 0.03 && velocity_after(3.0, 1000 * MS) < 0.03);
    let mut decay = |damping_scale| {
        arm.set_scenario(Scenario { friction_scale: 0.0, damping_scale, ..Default::default() }).unwrap();
        arm.put(&READY, &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        arm.step(&effort(&gravity), 100 * MS).unwrap();
        1.0 - arm.true_state().velocity[0]
    };
    let (once, thrice) = (decay(1.0) - decay(0.0), decay(3.0) - decay(0.0));
    assert!(once > 0.01 && thrice > 2.0 * once, "{once} {thrice}");
}

#[test]
fn gains_scale_and_effort_limits_hold() {
    let mut arm = arm();
    arm.set_scenario(frictionless()).unwrap();
    let nominal = acceleration(&mut arm, &effort(&[10.0; 7]));
    let limits = effort(&arm.robot().limits.effort);
    let at_limit = acceleration(&mut arm, &limits);
    let beyond = acceleration(&mut arm, &effort(&[1e6; 7]));
    assert_eq!(at_limit, beyond);
    arm.set_scenario(Scenario { gain: vec![0.5; 7], ..frictionless() }).unwrap();
    let halved = acceleration(&mut arm, &effort(&[20.0; 7]));
    assert!(greatest_difference(&nominal, &halved) < 1e-9, "{nominal:?} {halved:?}");
    arm.set_scenario(Scenario { gain: vec![3.0; 7], ..frictionless() }).unwrap();
    let amplified = acceleration(&mut arm, &limits);
    assert_eq!(at_limit, amplified);
}

#[test]
fn a_delay_is_exact() {
    let motion = |delay: Duration, lead: u32| {
        let mut arm = arm();
        arm.set_scenario(Scenario { delay, ..frictionless() }).unwrap();
        arm.step(&effort(&[0.0; 7]), MS * 20).unwrap();
        for step in 0..40 {
            let value = if step >= lead { 8.0 } else { 0.0 };
            arm.step(&effort(&[value; 7]), MS).unwrap();
        }
        arm.true_state().clone()
    };
    assert_eq!(motion(Duration::from_millis(10), 5), motion(Duration::ZERO, 15));
}

#[test]
fn a_wrench_acts_at_the_tool_in_the_world_frame() {
    // Upwards with the weight of the payload: as if there were none.
    let (mut arm, mut gravity) = (arm(), vec![0.0; 7]);
    dynamics().gravity(&READY, &mut gravity);
    arm.set_scenario(frictionless()).unwrap();
    let free = acceleration(&mut arm, &effort(&gravity));
    let payload = Scenario { payload: 2.0, ..frictionless() };
    arm.set_scenario(payload.clone()).unwrap();
    let loaded = acceleration(&mut arm, &effort(&gravity));
    arm.set_scenario(Scenario { wrench: [0.0, 0.0, 2.0 * 9.81, 0.0, 0.0, 0.0], ..payload }).unwrap();
    let carried = acceleration(&mut arm, &effort(&gravity));
    assert!(greatest_difference(&free, &[0.0; 7]) < 1e-6, "{free:?}");
    assert!(greatest_difference(&loaded, &[0.0; 7]) > 1.0, "{loaded:?}");
    assert!(greatest_difference(&carried, &[0.0; 7]) < 1e-6, "{carried:?}");
}

#[test]
fn inverse_dynamics_counts_wrench_friction_gains_of_mass_and_payload() {
    // A step under the efforts that it gives changes the velocity as asked, whatever acts on the arm.
    let scenario = Scenario {
        payload: 1.5,
        friction_scale: 3.0,
        damping_scale: 2.0,
        mass_scale: vec![0.8, 1.2, 0.9, 1.1, 1.2, 0.85, 1.15],
        wrench: [20.0, -15.0, 10.0, 0.5, -0.3, 0.2],
        ..Default::default()
    };
    let config = ArmConfig {
        initial_position: READY.to_vec(),
        integrator: Integrator::RungeKutta,
        ..Default::default()
    };
    let mut arm = Arm::new(&urdf(), config).unwrap();
    arm.set_scenario(scenario).unwrap();
    let mut random = Pcg64::seed_from_u64(11);
    for _ in 0..20 {
        let v: Vec<f64> = (0..7).map(|_| random.random_range(0.2..0.6)).collect();
        let wanted: Vec<f64> = (0..7).map(|_| random.random_range(-2.0..2.0)).collect();
        arm.put(&READY, &v);
        let mut efforts = vec![0.0; 7];
        arm.inverse_dynamics(&wanted, &mut efforts).unwrap();
        arm.step(&effort(&efforts), MS).unwrap();
        let found: Vec<f64> =
            arm.true_state().velocity.iter().zip(&v).map(|(after, v)| (after - v) / 1e-3).collect();
        assert!(greatest_difference(&found, &wanted) < 0.05, "{found:?} {wanted:?}");
    }
}

#[test]
fn links_have_the_mass_that_the_scenario_gives_them() {
    let (mut arm, mut ours) = (arm(), dynamics());
    let mut links = DMatrix::zeros(7, 7);
    ours.link_efforts(&READY, &[0.0; 7], &[0.0; 7], &mut links);
    let mut expected = vec![0.0; 7];
    ours.gravity(&READY, &mut expected);
    let mut before = vec![0.0; 7];
    arm.bias_force(&mut before);
    let heavier = Scenario { mass_scale: vec![1.0, 1.0, 1.0, 1.5, 1.0, 1.0, 1.0], ..Default::default() };
    arm.set_scenario(heavier).unwrap();
    let mut after = vec![0.0; 7];
    arm.bias_force(&mut after);
    for joint in 0..7 {
        assert!(
            (after[joint] - before[joint] - 0.5 * links[(joint, 3)]).abs() < 1e-6,
            "{before:?} {after:?}"
        );
    }
}

#[test]
fn noise_has_the_given_spread_and_leaves_the_motion_alone() {
    let (mut noisy, mut quiet) = (arm(), arm());
    let scenario = Scenario { position_noise: 1e-3, velocity_noise: 1e-2, ..Default::default() };
    noisy.set_scenario(scenario).unwrap();
    let mut squares = [0.0; 2];
    for _ in 0..2000 {
        noisy.step(&effort(&[1.0; 7]), MS).unwrap();
        quiet.step(&effort(&[1.0; 7]), MS).unwrap();
        assert_eq!(noisy.true_state(), quiet.true_state());
        assert_eq!(quiet.true_state(), quiet.state());
        for joint in 0..7 {
            squares[0] +=
                (noisy.state().position[joint] - noisy.true_state().position[joint]).powi(2) / 14_000.0;
            squares[1] +=
                (noisy.state().velocity[joint] - noisy.true_state().velocity[joint]).powi(2) / 14_000.0;
        }
    }
    assert!((squares[0].sqrt() / 1e-3 - 1.0).abs() < 0.03, "{}", squares[0].sqrt());
    assert!((squares[1].sqrt() / 1e-2 - 1.0).abs() < 0.03, "{}", squares[1].sqrt());
}

/// All measurements of two seconds with a change of the scenario half way.
fn recording(arm: &mut Arm) -> Vec<f64> {
    let noise = Scenario { position_noise: 1e-4, velocity_noise: 1e-3, ..Default::default() };
    arm.set_scenario(noise.clone()).unwrap();
    let mut values = Vec::new();
    for step in 0..1000 {
        if step == 500 {
            arm.set_scenario(Scenario { payload: 2.0, friction_scale: 2.0, ..noise.clone() }).unwrap();
        }
        let push = 10.0 * (f64::from(step) * 0.01).sin();
        arm.step(&effort(&[push; 7]), 2 * MS).unwrap();
        values.extend(arm.state().position.iter().chain(&arm.state().velocity));
    }
    values
}

#[test]
fn the_same_seed_and_commands_give_the_same_motion_bit_for_bit() {
    let mut arm_once = arm();
    let once = recording(&mut arm_once);
    assert_eq!(once, recording(&mut arm()));
    arm_once.reset();
    assert_eq!(arm_once.state().stamp.0, 0);
    assert_eq!(once, recording(&mut arm_once));
    let other = ArmConfig { seed: 2, initial_position: READY.to_vec(), ..Default::default() };
    assert_ne!(once, recording(&mut Arm::new(&urdf(), other).unwrap()));
}

#[test]
fn time_goes_on_exactly() {
    let mut arm = arm();
    for _ in 0..1000 {
        arm.step(&effort(&[0.0; 7]), 2 * MS).unwrap();
    }
    assert_eq!(arm.state().stamp.0, 2_000_000_000);
}

#[test]
fn faults_are_named() {
    let mut arm = arm();
    let refusal = |result: learned_control::Result<()>| result.unwrap_err().to_string();
    let mut values = vec![0.0; 7];
    values[2] = f64::NAN;
    assert!(refusal(arm.step(&effort(&values), MS)).contains("joint3"));
    assert!(refusal(arm.step(&effort(&[0.0; 6]), MS)).contains("found 6"));
    assert!(refusal(arm.step(&Command::zeros(Mode::Position, 7), MS)).contains("Position"));
    assert!(refusal(arm.step(&effort(&[0.0; 7]), Duration::from_micros(1500))).contains("multiples of 1ms"));
    assert!(refusal(arm.step(&effort(&[0.0; 7]), Duration::ZERO)).contains("multiples"));
    assert!(refusal(arm.set_scenario(Scenario { payload: -1.0, ..Default::default() })).contains("payload"));
    let no_tool = ArmConfig { tool: "hand".into(), ..Default::default() };
    assert!(Arm::new(&urdf(), no_tool).unwrap_err().to_string().contains("hand"));
    assert!(Arm::new("<robot name='r'/>", ArmConfig::default()).is_err());
}

#[test]
fn a_motion_that_diverges_is_an_error_and_a_reset_recovers() {
    let mut arm = arm();
    arm.set_scenario(Scenario { wrench: [1e15; 6], ..Default::default() }).unwrap();
    let result = (0..1000).try_for_each(|_| arm.step(&effort(&[0.0; 7]), MS));
    let error = result.unwrap_err().to_string();
    assert!(error.contains("diverged"), "{error}");
    assert!(!std::path::Path::new("MUJOCO_LOG.TXT").exists());
    arm.set_scenario(Scenario::default()).unwrap();
    arm.reset();
    arm.step(&effort(&[0.0; 7]), MS).unwrap();
    assert!(greatest_difference(&arm.true_state().position, &READY) < 1e-3);
}

#[test]
fn the_two_integrators_agree() {
    let mut final_positions = Vec::new();
    for integrator in [Integrator::ImplicitFast, Integrator::RungeKutta] {
        let config = ArmConfig { integrator, initial_position: READY.to_vec(), ..Default::default() };
        let mut arm = Arm::new(&urdf(), config).unwrap();
        let mut gravity = vec![0.0; 7];
        dynamics().gravity(&READY, &mut gravity);
        gravity.iter_mut().for_each(|value| *value += 3.0);
        arm.step(&effort(&gravity), 200 * MS).unwrap();
        final_positions.push(arm.true_state().position.clone());
    }
    assert!(greatest_difference(&final_positions[0], &final_positions[1]) < 5e-3, "{final_positions:?}");
}

/// Root mean square of the tracking error of PD with inverse dynamics and friction of the nominal model, rad.
fn tracking_error(scenario: Scenario) -> f64 {
    let (mut arm, mut ours) = (arm(), dynamics());
    arm.set_scenario(Scenario { position_noise: 1e-5, velocity_noise: 1e-3, ..scenario }).unwrap();
    let motion = MultiSine::new(arm.robot(), &READY, &MultiSineConfig::default()).unwrap();
    let (mut point, mut friction, mut command) = (ReferencePoint::zeros(7), [0.0; 7], effort(&[0.0; 7]));
    let mut squares = 0.0;
    for step in 0..6000 {
        let state = arm.state();
        motion.sample(f64::from(step) * 2e-3, &mut point);
        ours.inverse_dynamics(&point.position, &point.velocity, &point.acceleration, &mut command.values);
        ours.friction(&point.velocity, &mut friction);
        for joint in 0..7 {
            let stiffness = [600.0, 600.0, 400.0, 400.0, 150.0, 150.0, 80.0][joint];
            let damping = [40.0, 40.0, 25.0, 25.0, 8.0, 8.0, 5.0][joint];
            let error = point.position[joint] - state.position[joint];
            let error_velocity = point.velocity[joint] - state.velocity[joint];
            command.values[joint] += friction[joint] + stiffness * error + damping * error_velocity;
            squares += if step < 1000 { 0.0 } else { error * error / 35_000.0 };
        }
        arm.step(&command, 2 * MS).unwrap();
    }
    squares.sqrt()
}

#[test]
fn the_nominal_model_tracks_the_nominal_arm_and_misses_a_payload() {
    let nominal = tracking_error(Scenario::default());
    let loaded = tracking_error(Scenario { payload: 1.5, ..Default::default() });
    println!("tracking error: nominal {:.3} mrad, payload 1.5 kg {:.3} mrad", nominal * 1e3, loaded * 1e3);
    assert!(nominal < 0.5e-3, "{nominal}");
    assert!(loaded > 10.0 * nominal, "{loaded}");
}

/// Greatest speed, as a share of the limit, and greatest excess over a position limit, rad, in half a minute of full
/// efforts in random directions.
fn wild_motion(mut guard: impl FnMut(&mut Arm, &mut [f64])) -> [f64; 2] {
    let mut arm = arm();
    let limits = arm.robot().limits.clone();
    let mut random = Pcg64::seed_from_u64(5);
    let (mut wild, mut command) = (limits.effort.clone(), effort(&[0.0; 7]));
    let [mut speed, mut outside] = [0.0_f64; 2];
    for step in 0..15_000 {
        if step % 250 == 0 {
            wild.iter_mut()
                .zip(&limits.effort)
                .for_each(|(w, limit)| *w = limit * random.random_range(-1.5..1.5));
        }
        command.values.copy_from_slice(&wild);
        guard(&mut arm, &mut command.values);
        arm.step(&command, 2 * MS).unwrap();
        for joint in 0..7 {
            let (q, (lower, upper)) = (arm.state().position[joint], limits.position[joint]);
            speed = speed.max(arm.state().velocity[joint].abs() / limits.velocity[joint]);
            outside = outside.max(lower - q).max(q - upper);
        }
    }
    [speed, outside]
}

/// Full effort accelerates a folded arm by more than its velocity limit within one tick of 2 ms, which no guard that
/// knows only position and velocity can prevent; but it keeps the excess to that.
#[test]
fn the_effort_guard_tames_a_controller_gone_wild() {
    let [free_speed, free_outside] = wild_motion(|_, _| ());
    let (mut dynamics, mut hold) = (dynamics(), vec![0.0; 7]);
    let [speed, outside] = wild_motion(|arm, values| {
        let State { position, velocity, .. } = arm.state();
        dynamics.gravity(position, &mut hold);
        arm.robot().limits.limit_effort(position, velocity, &hold, values);
    });
    println!(
        "free: speed {free_speed:.1} of the limit, {free_outside:.3} rad outside; guarded: {speed:.1}, {outside:.3}"
    );
    assert!(speed < 2.5 && outside < 0.03, "{speed} {outside}");
    assert!(free_speed > 5.0 && free_outside > 0.1, "{free_speed} {free_outside}");
}

#[test]
fn meshes_and_an_overlapping_base_do_no_harm() {
    let mesh = r#"<visual><geometry><mesh filename="package://x/y.dae"/></geometry></visual>
        <collision><geometry><mesh filename="package://x/y.stl"/></geometry></collision>"#;
    let xml = urdf()
        .replace(r#"<link name="tool0"/>"#, &format!(r#"<link name="tool0">{mesh}</link>"#))
        .replace(r#"<cylinder radius="0.085" length="0.14"/>"#, r#"<cylinder radius="0.085" length="0.3"/>"#);
    let config = ArmConfig { initial_position: READY.to_vec(), ..Default::default() };
    let mut overlapping = Arm::new(&xml, config).unwrap();
    let mut nominal = arm();
    for plant in [&mut overlapping, &mut nominal] {
        plant.step(&effort(&[1.0; 7]), 100 * MS).unwrap();
    }
    assert_eq!(overlapping.true_state(), nominal.true_state());
}

/// `cargo test --release --features sim --test mujoco -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn steps_per_second() {
    for integrator in [Integrator::ImplicitFast, Integrator::RungeKutta] {
        let config = ArmConfig { integrator, initial_position: READY.to_vec(), ..Default::default() };
        let (mut arm, mut ours) = (Arm::new(&urdf(), config).unwrap(), dynamics());
        let mut command = effort(&[0.0; 7]);
        let begin = std::time::Instant::now();
        for _ in 0..20_000 {
            let state = arm.state();
            ours.gravity(&state.position, &mut command.values);
            for (joint, value) in command.values.iter_mut().enumerate() {
                *value += 50.0 * (READY[joint] - state.position[joint]) - 5.0 * state.velocity[joint];
            }
            arm.step(&command, MS).unwrap();
        }
        println!("{integrator:?}: {:.0} steps/s with PD and gravity", 2e4 / begin.elapsed().as_secs_f64());
    }
    let (mut ours, mut out, mut mass) = (dynamics(), [0.0; 7], DMatrix::zeros(7, 7));
    let begin = std::time::Instant::now();
    for _ in 0..100_000 {
        ours.inverse_dynamics(&READY, &[0.5; 7], &[1.0; 7], &mut out);
    }
    println!("inverse dynamics {:.2} us", begin.elapsed().as_secs_f64() * 10.0);
    let begin = std::time::Instant::now();
    for _ in 0..10_000 {
        ours.mass_matrix(&READY, &mut mass);
    }
    println!("mass matrix {:.2} us", begin.elapsed().as_secs_f64() * 100.0);
}
