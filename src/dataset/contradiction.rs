//! Velocities that cannot be those of the positions beside them.

use super::Summary;
use crate::base::twist_between;
use crate::measurement::MOVED;
use crate::predictor::resampler::GAP_STEPS;
use crate::state::{Space, State};

/// A velocity of more than so many times the fastest that the positions ever change is no measurement. Encoders that are
/// noisy or coarse make the positions change faster than the robot, not slower; wheels that slip turn as fast as those that
/// drive. So what is true is far below.
const IMPOSSIBLE: f64 = 100.0;
/// Nor is it if it is as far beyond so large a share of the velocities: a glitch is rare, another unit is not.
const USUAL: f64 = 0.99;

/// Over so long the positions' change is compared with the velocities, s, and over so many samples at least: noise of the
/// positions is then small beside it.
const COMPARED_OVER: f64 = 0.2;
const COMPARED_SAMPLES: f64 = 10.0;
/// So many comparisons at least tell a contradiction.
const COMPARISONS: usize = 10;
/// Velocities go with the positions at this correlation; if by another factor than one to this, they contradict them.
const CORRELATED: f64 = 0.9;
const FACTOR: f64 = 2.0;

const BASE_VELOCITIES: [&str; 3] = ["vx", "vy", "wz"];

/// Coordinates whose velocities are of one kind: a joint, the speed of a base, its turn rate.
fn kinds(space: Space, coordinates: usize) -> Vec<Vec<usize>> {
    match space {
        Space::Joints => (0..coordinates).map(|joint| vec![joint]).collect(),
        Space::PlanarBase => vec![vec![0, 1], vec![2]],
    }
}

/// Fills `rate` with the velocity that leads from `before` to `after` in `time` [s].
fn rate(space: Space, before: &State, after: &State, time: f64, rate: &mut [f64]) {
    match space {
        Space::Joints => {
            let pairs = before.position.iter().zip(&after.position);
            rate.iter_mut().zip(pairs).for_each(|(rate, (from, to))| *rate = (to - from) / time);
        }
        Space::PlanarBase => rate.copy_from_slice(&twist_between(&before.position, &after.position, time)),
    }
}

fn norm(velocity: &[f64], kind: &[usize]) -> f64 {
    kind.iter().map(|coordinate| velocity[*coordinate].powi(2)).sum::<f64>().sqrt()
}

/// Makes velocities that no motion has of the positions; counts them. A kind whose positions stay says nothing of its
/// velocities.
pub fn mend(space: Space, names: &[String], states: &mut [State], summary: &mut Summary) {
    let mut made = vec![0.0; names.len()];
    for kind in kinds(space, names.len()) {
        let Some(limit) = limit(space, &kind, states) else { continue };
        for index in 0..states.len() {
            let found = norm(&states[index].velocity, &kind);
            if found <= limit {
                continue;
            }
            // the way since the one before, or, of the first, to the one after
            let steps = [(index.wrapping_sub(1), index), (index, index + 1)];
            let step = steps.into_iter().find_map(|(from, to)| {
                let (from, to) = (states.get(from)?, states.get(to)?);
                let time = to.stamp.since(from.stamp);
                (time > 0.0).then_some((from, to, time))
            });
            made.fill(0.0);
            if let Some((from, to, time)) = step {
                rate(space, from, to, time, &mut made);
            }
            kind.iter().for_each(|coordinate| states[index].velocity[*coordinate] = made[*coordinate]);
            summary.count_impossible(|| format!("{found:.6} of {}", label(space, names, &kind)));
        }
    }
}

fn label(space: Space, names: &[String], kind: &[usize]) -> String {
    let name = |coordinate: &usize| match space {
        Space::Joints => names[*coordinate].as_str(),
        Space::PlanarBase => BASE_VELOCITIES[*coordinate],
    };
    kind.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// The velocity of a kind that no motion has; none where the positions cannot tell.
fn limit(space: Space, kind: &[usize], states: &[State]) -> Option<f64> {
    let range = |coordinate: &usize| {
        let values = states.iter().map(|state| state.position[*coordinate]);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    if !kind.iter().map(range).any(|(low, high)| high - low > MOVED) {
        return None;
    }
    let mut between = vec![0.0; states.first()?.position.len()];
    let mut fastest = 0.0f64;
    for pair in states.windows(2) {
        let time = pair[1].stamp.since(pair[0].stamp);
        if time > 0.0 {
            rate(space, &pair[0], &pair[1], time, &mut between);
            fastest = fastest.max(norm(&between, kind));
        }
    }
    let mut found: Vec<f64> = states.iter().map(|state| norm(&state.velocity, kind)).collect();
    let usual = (USUAL * (found.len() - 1) as f64) as usize;
    let usual = *found.select_nth_unstable_by(usual, f64::total_cmp).1;
    let limit = IMPOSSIBLE * fastest.max(usual);
    (limit > 0.0).then_some(limit)
}

/// Sums over comparisons: of the products of the change of a position with what its velocity says, and of their squares.
#[derive(Clone, Copy, Default)]
struct Sums {
    product: f64,
    changed: f64,
    said: f64,
}

/// Notes the twist of a base that is in the frame of its poses: it misses the motion in the base's own frame by more than twice of
/// what it does in that one.
fn note_frame(states: &[State], summary: &mut Summary) {
    let longest = f64::from(GAP_STEPS) * summary.interval;
    let over = COMPARED_OVER.max(COMPARED_SAMPLES * summary.interval) * (1.0 - 1e-6);
    let (mut missed, mut way, mut comparisons) = ([0.0; 2], 0.0, 0usize);
    let mut from = 0;
    for to in 1..states.len() {
        if states[to].stamp.since(states[to - 1].stamp) > longest {
            from = to;
        }
        let time = states[to].stamp.since(states[from].stamp);
        if time < over {
            continue;
        }
        let (before, after) = (&states[from], &states[to]);
        let middle = &states[from + (to - from) / 2].velocity;
        let own = twist_between(&before.position, &after.position, time);
        let outer = [0, 1].map(|axis| (after.position[axis] - before.position[axis]) / time);
        for (missed, moved) in missed.iter_mut().zip([[own[0], own[1]], outer]) {
            *missed += (0..2).map(|axis| (moved[axis] - middle[axis]).powi(2)).sum::<f64>();
        }
        way += outer[0].hypot(outer[1]) * time;
        comparisons += 1;
        from = to;
    }
    let [own, outer] = missed;
    if comparisons >= COMPARISONS && way > MOVED && outer < own / (FACTOR * FACTOR) {
        summary.notes.push(
            "warning: the twist goes with the frame of the poses, not with that of the base (child_frame_id), where a driver has to \
             give it"
                .into(),
        );
    }
}

/// Notes velocities that go with the positions, but by another factor than one: they are in another unit.
pub fn note(space: Space, names: &[String], states: &[State], summary: &mut Summary) {
    if space == Space::PlanarBase {
        note_frame(states, summary);
    }
    let longest = f64::from(GAP_STEPS) * summary.interval;
    let over = COMPARED_OVER.max(COMPARED_SAMPLES * summary.interval) * (1.0 - 1e-6);
    let coordinates = names.len();
    let mut sums = vec![Sums::default(); coordinates];
    let (mut changed, mut said, mut passed) = (vec![0.0; coordinates], vec![0.0; coordinates], 0.0);
    let (mut between, mut comparisons) = (vec![0.0; coordinates], 0usize);
    for pair in states.windows(2) {
        let time = pair[1].stamp.since(pair[0].stamp);
        if time > 0.0 && time <= longest {
            rate(space, &pair[0], &pair[1], time, &mut between);
            for coordinate in 0..coordinates {
                changed[coordinate] += between[coordinate] * time;
                said[coordinate] +=
                    0.5 * (pair[0].velocity[coordinate] + pair[1].velocity[coordinate]) * time;
            }
            passed += time;
            if passed < over {
                continue;
            }
            comparisons += 1;
            for (sums, (changed, said)) in sums.iter_mut().zip(changed.iter().zip(&said)) {
                sums.product += changed * said;
                sums.changed += changed * changed;
                sums.said += said * said;
            }
        }
        changed.fill(0.0);
        said.fill(0.0);
        passed = 0.0;
    }
    let factor = |sums: &Sums| {
        let is_correlated = sums.product.abs() > CORRELATED * (sums.changed * sums.said).sqrt();
        let factor = sums.product / sums.changed;
        let moves = (sums.changed / comparisons as f64).sqrt() > MOVED;
        let is_other = !(1.0 / FACTOR..=FACTOR).contains(&factor);
        (comparisons >= COMPARISONS && moves && is_correlated && is_other).then_some(factor)
    };
    let found = sums.iter().enumerate().filter_map(|(coordinate, sums)| Some((coordinate, factor(sums)?)));
    let found: Vec<String> = found
        .map(|(coordinate, factor)| format!("{} {factor:.3}", label(space, names, &[coordinate])))
        .collect();
    if !found.is_empty() {
        summary.notes.push(format!(
            "warning: velocities are not the change of their positions, but a multiple of it ({}): in another unit, or \
             of the other sign",
            found.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_twist_in_the_frame_of_the_poses_is_told() {
        // once round a circle of radius 0.5 m
        for (in_the_base, turn) in [(true, 0.4), (false, 0.4), (true, 0.0), (false, 0.0)] {
            let base = recording(Space::PlanarBase, &["x", "y", "yaw"], |time| {
                let yaw = turn * time;
                let (sin, cos) = f64::sin_cos(yaw);
                let position = match turn {
                    0.0 => vec![0.2 * time, 0.0, 0.0],
                    turn => vec![0.2 / turn * sin, 0.2 / turn * (1.0 - cos), yaw],
                };
                let twist = if in_the_base { [0.2, 0.0] } else { [0.2 * cos, 0.2 * sin] };
                (position, vec![twist[0], twist[1], turn])
            });
            let is_told = base.summary.to_string().contains("goes with the frame of the poses");
            assert_eq!(is_told, !in_the_base && turn != 0.0, "{}", base.summary);
        }
    }

    use crate::dataset::cleaning::assemble;
    use crate::dataset::{Recording, Row};
    use crate::state::Stamp;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;
    use std::path::Path;

    /// At 50 Hz for 20 s; `of` gives position and velocity at a time [s].
    fn recording(space: Space, names: &[&str], of: impl FnMut(f64) -> (Vec<f64>, Vec<f64>)) -> Recording {
        let mut of = of;
        let row = |step: i64| {
            let (position, velocity) = of(0.02 * step as f64);
            let header = Stamp((step + 1) * 20_000_000);
            Row { header, log: None, position, velocity, effort: vec![], command: vec![] }
        };
        let rows = (0..1000).map(row).collect();
        let names = names.iter().map(|name| name.to_string()).collect();
        assemble(Path::new("x"), names, space, rows, Summary::default()).unwrap().0
    }

    /// A base on a circle.
    fn driving(time: f64) -> (Vec<f64>, Vec<f64>) {
        let yaw = 0.5 * time;
        (vec![0.4 * yaw.sin(), 0.4 - 0.4 * yaw.cos(), yaw], vec![0.2, 0.0, 0.5])
    }

    #[test]
    fn a_twist_that_no_base_has_is_made_of_the_poses_and_counted() {
        let glitches = [0.0, 3.0];
        let recording = recording(Space::PlanarBase, &["x", "y", "yaw"], |time| match driving(time) {
            (pose, _) if glitches.contains(&time) => (pose, vec![1975.3849, 0.0, -609.7309]),
            sample => sample,
        });
        for state in &recording.states {
            let expected = [0.2, 0.0, 0.5];
            let pairs = state.velocity.iter().zip(expected);
            pairs.for_each(|(found, expected)| assert!((found - expected).abs() < 1e-3, "{state:?}"));
        }
        let summary = recording.summary;
        assert_eq!(summary.impossible_velocities, 4);
        let said = "4 velocities are beyond any motion of the positions, the first: 1975.384900 of vx, vy; made by differences";
        assert!(summary.to_string().contains(said), "{summary}");
        assert!(!summary.differentiated);
    }

    #[test]
    fn true_velocities_are_left_however_bad_they_are() {
        let mut random = Pcg64::seed_from_u64(1);
        let mut noise = |size: f64| size * (2.0 * random.random::<f64>() - 1.0);
        // coarse encoders, a noisy tachometer
        let coarse = recording(Space::Joints, &["a"], |time| {
            ((vec![((0.5 * time).sin() / 0.01).round() * 0.01]), vec![0.5 * (0.5 * time).cos() + noise(3.0)])
        });
        // it creeps for most of the time and is hit once
        let hit = recording(Space::Joints, &["a"], |time| match time {
            10.0 => (vec![0.1], vec![4.0]),
            time => (vec![if time > 10.0 { 0.1 } else { 0.0 } + 1e-4 * time], vec![1e-4]),
        });
        // it drives, and then its wheels turn on the spot
        let slipping = recording(Space::PlanarBase, &["x", "y", "yaw"], |time| match driving(time) {
            sample if time < 10.0 => sample,
            _ => (driving(10.0).0, vec![1.0, 0.0, 2.0]),
        });
        // it stands, and its wheels turn now and then
        let stuck = recording(Space::PlanarBase, &["x", "y", "yaw"], |time| {
            (vec![0.0; 3], vec![if time == 5.0 { 1.0 } else { 0.0 }, 0.0, 0.0])
        });
        // all in mm/s
        let other_unit = recording(Space::Joints, &["a"], |time| (vec![time.sin()], vec![1e3 * time.cos()]));
        for recording in [coarse, hit, slipping, stuck, other_unit] {
            assert_eq!(recording.summary.impossible_velocities, 0, "{}", recording.summary);
        }
    }

    #[test]
    fn velocities_in_another_unit_are_noted_with_the_factor() {
        let mut random = Pcg64::seed_from_u64(1);
        let mut noise = |size: f64| size * (2.0 * random.random::<f64>() - 1.0);
        let names = ["left", "right", "arm"];
        // wheels of 33 mm in m/s
        let wheels = recording(Space::Joints, &names, |time| {
            let (q, v) = (3.0 * time.sin() + 5.0 * time, 3.0 * time.cos() + 5.0);
            (vec![q + noise(1e-3), -q, time.sin()], vec![0.033 * v, 0.033 * v, time.cos() + noise(0.2)])
        });
        let said = "warning: velocities are not the change of their positions, but a multiple of it (left 0.033, right -0.033)";
        assert!(wheels.summary.to_string().contains(said), "{}", wheels.summary);
        let base = recording(Space::PlanarBase, &["x", "y", "yaw"], driving);
        assert!(base.summary.notes.is_empty(), "{}", base.summary);
        // a slow recording, velocities of the middle of the steps, which slip by a third
        let slipping = recording(Space::PlanarBase, &["x", "y", "yaw"], |time| {
            let (pose, twist) = driving(time);
            (pose, twist.iter().map(|value| 1.3 * value).collect())
        });
        assert!(slipping.summary.notes.is_empty(), "{}", slipping.summary);
    }
}
