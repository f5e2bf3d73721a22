//! From what a reader found to states that can be used: in order, finite, with positions and velocities.

use super::rosbag::losses::Losses;
use super::{Recording, Row, Summary, contradiction, data};
use crate::base::{mean_yaw, twist_between};
use crate::error::Result;
use crate::measurement::{MOVED, MeasuredVelocities, Turns};
use crate::predictor::resampler::GAP_STEPS;
use crate::state::{Space, Stamp, State};
use std::f64::consts::TAU;
use std::path::Path;

/// Stamps beyond this are those of a clock that counts from 1970, not from the start of something.
const ONE_DAY: Stamp = Stamp(86_400_000_000_000);

/// What is known of each state of a recording beside it.
pub(crate) struct Beside {
    /// When it was logged.
    pub logged: Vec<Option<Stamp>>,
    /// See [`Row::command`].
    pub commands: Vec<Vec<f64>>,
}

/// Cleans `rows` of `names` coordinates; `summary` has what the reader itself counted.
pub(crate) fn assemble(
    path: &Path,
    names: Vec<String>,
    space: Space,
    rows: Vec<Row>,
    mut summary: Summary,
) -> Result<(Recording, Beside)> {
    check_names(path, &names)?;
    let zero_stamps = rows.iter().filter(|row| row.header == Stamp(0)).count();
    summary.log_time = zero_stamps * 2 > rows.len() && rows.iter().all(|row| row.log.is_some());
    let typical = median(rows.iter().map(|row| row.header.0 as f64).filter(|stamp| *stamp != 0.0));
    let is_stray = |before: Option<&Row>, row: &Row, after: Option<&Row>| {
        let is_between = before.zip(after).is_some_and(|(before, after)| after.header >= before.header);
        row.header == Stamp(0) && (is_between || typical > ONE_DAY.0 as f64)
    };
    if !summary.log_time {
        let offsets = rows.iter().filter(|row| row.header != Stamp(0));
        summary.clock_offset = median(offsets.filter_map(|row| Some(row.log?.since(row.header))));
    }
    let has_velocity = |row: &&Row| {
        row.velocity.len() == names.len() && row.velocity.iter().all(|velocity| velocity.is_finite())
    };
    let is_without_velocity = rows.iter().filter(has_velocity).count() * 2 <= rows.len();
    let has_effort = rows.iter().any(|row| row.effort.iter().any(|effort| effort.is_finite()));
    let mut states: Vec<State> = Vec::with_capacity(rows.len());
    let mut efforts = Vec::new();
    let mut made = MadeVelocities::new(space, names.len());
    let mut turns = Turns::new(names.len());
    if space == Space::Joints {
        for row in &rows {
            let measured = row.position.iter().enumerate().take(names.len());
            let finite = measured.filter(|(_, measured)| measured.is_finite());
            finite.for_each(|(joint, measured)| turns.see(joint, *measured));
        }
    }
    let mut unusable = Unusable(vec![true; names.len()]);
    let mut beside = Beside { logged: Vec::new(), commands: Vec::new() };
    let strays: Vec<bool> = (0..rows.len())
        .map(|index| {
            is_stray(index.checked_sub(1).map(|before| &rows[before]), &rows[index], rows.get(index + 1))
        })
        .collect();
    for (row, is_stray) in rows.into_iter().zip(strays) {
        if is_stray && !summary.log_time {
            summary.zero_stamps += 1;
            continue;
        }
        let stamp = if summary.log_time { row.log.unwrap_or(row.header) } else { row.header };
        let follow = |(joint, measured): (usize, &f64)| {
            let last = states.last().map(|last| (last.position[joint], stamp.since(last.stamp)));
            turns.follow(joint, last, *measured)
        };
        let position = match space {
            Space::Joints => row.position.iter().enumerate().map(follow).collect(),
            Space::PlanarBase => row.position.clone(),
        };
        let mut state = State { stamp, position, velocity: row.velocity };
        let found = match space {
            Space::Joints => made.complete(&mut state, states.last()),
            Space::PlanarBase if is_without_velocity => {
                state.velocity = vec![0.0; names.len()];
                Vec::new()
            }
            Space::PlanarBase => Vec::new(),
        };
        unusable.look(&state, &names, &mut summary.losses);
        if summary.admits(&state, states.last(), names.len()) {
            made.count(&state.position, &found);
            for (joint, (measured, position)) in row.position.iter().zip(&state.position).enumerate() {
                turns.learn(joint, *measured, *position);
            }
            states.push(state);
            beside.logged.push(row.log);
            beside.commands.push(row.command);
            if has_effort {
                efforts.push(complete_effort(row.effort, names.len()));
            }
        }
    }
    summary.kept = states.len();
    if states.len() < 2 {
        let advice = if space == Space::Joints { unusable.advice(&names) } else { String::new() };
        return Err(data(path, format!("nothing is left to use of it{advice}: {summary}")));
    }
    summary.time(&states);
    if space == Space::PlanarBase {
        unwrap_yaw(&mut states);
    }
    let jumped = names.iter().zip(&turns.jumps).filter(|(_, jumps)| **jumps > 0);
    let jumped: Vec<String> = jumped.map(|(name, jumps)| format!("{name} ({jumps} times)")).collect();
    if !jumped.is_empty() {
        summary.notes.push(format!("positions that jump by a turn go on without: {}", jumped.join(", ")));
    }
    contradiction::mend(space, &names, &mut states, &mut summary);
    match space {
        Space::Joints => made.note(&states, &names, &mut summary),
        Space::PlanarBase => complete_base(&mut states, &mut summary),
    }
    contradiction::note(space, &names, &states, &mut summary);
    let efforts = has_effort.then_some(efforts);
    let lacks_effort = |effort: &&Vec<f64>| effort.iter().any(|effort| !effort.is_finite());
    match efforts.iter().flatten().filter(lacks_effort).count() {
        0 => {}
        lacking => summary.notes.push(format!("{lacking} of {} efforts lack a joint's", states.len())),
    }
    let origin = path.to_path_buf();
    let recording = Recording { origin, joints: names, space, states, efforts, commands: None, summary };
    Ok((recording, beside))
}

/// Refuses what no model could be given for its names.
fn check_names(path: &Path, names: &[String]) -> Result<()> {
    if names.iter().any(String::is_empty) {
        return Err(data(path, "one of its joints has no name; choose with --joints"));
    }
    match names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
        Some((_, name)) => Err(data(path, format!("joint '{name}' is there twice; choose with --joints"))),
        None => Ok(()),
    }
}

/// Velocities of joints that are made of their positions, as [`JointStateReader`](crate::measurement::JointStateReader) does.
struct MadeVelocities {
    measured: MeasuredVelocities,
    /// [joint], how many were missing, and how many were zero.
    missing: Vec<usize>,
    zeros: Vec<usize>,
}

impl MadeVelocities {
    fn new(space: Space, joints: usize) -> Self {
        Self {
            measured: MeasuredVelocities::new(space, joints),
            missing: vec![0; joints],
            zeros: vec![0; joints],
        }
    }

    /// Makes each velocity of `state` that is not believed of the way from `last`, or zero without one before it; those
    /// that were found.
    fn complete(&self, state: &mut State, last: Option<&State>) -> Vec<f64> {
        let State { stamp, position, velocity } = state;
        velocity.resize(position.len(), f64::NAN);
        let found = velocity.clone();
        let before = last.map(|last| (last, stamp.since(last.stamp))).filter(|(_, time)| *time > 0.0);
        for (joint, velocity) in velocity.iter_mut().enumerate() {
            let made = || before.map_or(0.0, |(last, time)| (position[joint] - last.position[joint]) / time);
            *velocity = self.measured.believed(joint, position[joint], *velocity).unwrap_or_else(made);
        }
        found
    }

    /// Learns from and counts the velocities that were `found` of a state that is kept.
    fn count(&mut self, positions: &[f64], found: &[f64]) {
        for (joint, (position, velocity)) in positions.iter().zip(found).enumerate() {
            self.missing[joint] += usize::from(!velocity.is_finite());
            self.zeros[joint] += usize::from(*velocity == 0.0);
            self.measured.learn(joint, *position, *velocity);
        }
    }

    /// Notes what was missing, and of which joints all velocities were zero though they move.
    fn note(&self, states: &[State], names: &[String], summary: &mut Summary) {
        let (missing, of) = (self.missing.iter().sum::<usize>(), states.len() * names.len());
        if missing == of {
            summary.notes.push("there are no velocities; made by differences of the positions".into());
        } else if missing > 0 {
            let note =
                format!("{missing} of {of} velocities are missing; made by differences of the positions");
            summary.notes.push(note);
        }
        let is_zero = |joint: &usize| {
            self.zeros[*joint] + self.missing[*joint] == states.len()
                && self.zeros[*joint] > 0
                && moves(states, &[*joint])
        };
        let zero: Vec<&str> = (0..names.len()).filter(is_zero).map(|joint| names[joint].as_str()).collect();
        if !zero.is_empty() {
            let zero = zero.join(", ");
            let note = format!("the velocities of {zero} are all zero; made by differences of the positions");
            summary.notes.push(note);
        }
        summary.differentiated = missing > 0 || !zero.is_empty();
    }
}

/// Of each coordinate, whether it never had a position and a velocity that can be used.
struct Unusable(Vec<bool>);

impl Unusable {
    /// Notes in `losses` what is wrong with a state that is not finite.
    fn look(&mut self, state: &State, names: &[String], losses: &mut Losses) {
        let State { position, velocity, .. } = state;
        let values = position.iter().zip(velocity);
        for (is_unusable, (position, velocity)) in self.0.iter_mut().zip(values) {
            *is_unusable &= !(position.is_finite() && velocity.is_finite());
        }
        let mut of_names = names.iter().zip(position.iter().zip(velocity));
        let found =
            of_names.find(|(_, (position, velocity))| !(position.is_finite() && velocity.is_finite()));
        if let Some((name, (position, velocity))) = found {
            let detail = format!("position {position}, velocity {velocity} of '{name}'");
            losses.add("measurement not finite", detail);
        }
    }

    /// What to do about those that never could be used, if others could.
    fn advice(&self, names: &[String]) -> String {
        let of = |is_unusable: bool| {
            let names = names.iter().zip(&self.0).filter(|(_, unusable)| **unusable == is_unusable);
            names.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
        };
        let (unusable, usable) = (of(true), of(false));
        match unusable.is_empty() || usable.is_empty() {
            true => String::new(),
            false => format!(
                ", for {} is never finite; choose the others with --joints {}",
                unusable.join(", "),
                usable.join(",")
            ),
        }
    }
}

/// One effort a joint, NaN where it is missing.
fn complete_effort(mut effort: Vec<f64>, joints: usize) -> Vec<f64> {
    effort.resize(joints, f64::NAN);
    effort
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        _ => *values.select_nth_unstable_by(middle, f64::total_cmp).1,
    }
}

/// By how much the values that `of` picks of the states differ at most.
fn range(states: &[State], of: impl Fn(&State) -> f64) -> f64 {
    let (low, high) = states
        .iter()
        .map(of)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    high - low
}

/// Whether a velocity of `coordinates` is ever other than exactly zero.
fn has_velocity(states: &[State], coordinates: &[usize]) -> bool {
    states.iter().any(|state| coordinates.iter().any(|coordinate| state.velocity[*coordinate] != 0.0))
}

/// Whether one of `coordinates` moves by more than noise in its last digits.
fn moves(states: &[State], coordinates: &[usize]) -> bool {
    coordinates.iter().any(|coordinate| range(states, |state| state.position[*coordinate]) > MOVED)
}

/// Hands on each state with the one before it (none in the future is used, as on a running robot) and the time
/// between them, s. The first state gets the velocity of the second.
fn each_step(states: &mut [State], mut step: impl FnMut(&State, &mut State, f64)) {
    for index in 1..states.len() {
        let (before, after) = states.split_at_mut(index);
        let (before, after) = (&before[index - 1], &mut after[0]);
        let time = after.stamp.since(before.stamp);
        if time > 0.0 {
            step(before, after, time); // else the clock was set back
        }
    }
    if let [first, second, ..] = states {
        first.velocity.copy_from_slice(&second.velocity);
    }
}

const X: usize = 0;
const Y: usize = 1;
const YAW: usize = 2;

/// Makes of pose, whose yaw is unwrapped, and twist the one that is missing out of the other.
fn complete_base(states: &mut [State], summary: &mut Summary) {
    let turns = (moves(states, &[YAW]), has_velocity(states, &[YAW]));
    let drives = (moves(states, &[X, Y]), has_velocity(states, &[X, Y]));
    if turns == (true, false) {
        summary.notes.push("the turn rate is zero or missing; made by differences of the yaw".into());
        summary.differentiated = true;
        each_step(states, |before, after, time| {
            after.velocity[YAW] = twist_between(&before.position, &after.position, time)[YAW];
        });
    }
    if drives == (true, false) {
        summary.notes.push("the speed is zero or missing; made by differences of the position".into());
        summary.differentiated = true;
        each_step(states, |before, after, time| {
            let twist = twist_between(&before.position, &after.position, time);
            after.velocity[..YAW].copy_from_slice(&twist[..YAW]);
        });
    }
    let is_constant = |coordinate: usize| range(states, |state| state.position[coordinate]) == 0.0;
    let is_place_missing = is_constant(X) && is_constant(Y) && drives.1;
    let is_yaw_missing = is_constant(YAW) && turns.1 && (is_place_missing || has_turned(states, summary));
    if is_yaw_missing {
        summary.notes.push("the yaw is always the same; made by integration of the turn rate".into());
        integrate_yaw(states, summary);
    }
    if is_place_missing {
        summary.notes.push("the position is always the same; made by integration of the speed".into());
        integrate(states, summary, |before, after, time| {
            let speed = |coordinate: usize| 0.5 * (before.velocity[coordinate] + after.velocity[coordinate]);
            let (sine, cosine) = mean_yaw(&before.position, &after.position).sin_cos();
            after.position[X] = before.position[X] + (cosine * speed(X) - sine * speed(Y)) * time;
            after.position[Y] = before.position[Y] + (sine * speed(X) + cosine * speed(Y)) * time;
        });
    }
}

/// Whether the way of a base whose yaw is always the same goes with its speed better if the yaw follows the turn rate than if it
/// stays, as it does where the rate is only noise.
fn has_turned(states: &[State], summary: &Summary) -> bool {
    let mut turned = states.to_vec();
    integrate_yaw(&mut turned, &mut summary.clone());
    let missed = |states: &[State]| -> f64 {
        let pairs = states.windows(2).map(|pair| (&pair[0], &pair[1], pair[1].stamp.since(pair[0].stamp)));
        let of = |(before, after, time): (&State, &State, f64)| {
            let twist = twist_between(&before.position, &after.position, time);
            (0..YAW).map(|axis| ((twist[axis] - after.velocity[axis]) * time).powi(2)).sum::<f64>()
        };
        pairs.filter(|(_, _, time)| *time > 0.0).map(of).sum()
    };
    missed(&turned) < missed(states)
}

fn integrate_yaw(states: &mut [State], summary: &mut Summary) {
    integrate(states, summary, |before, after, time| {
        after.position[YAW] =
            before.position[YAW] + 0.5 * (before.velocity[YAW] + after.velocity[YAW]) * time;
    });
}

fn unwrap_yaw(states: &mut [State]) {
    for index in 1..states.len() {
        let before = states[index - 1].position[YAW];
        let turn = states[index].position[YAW] - before;
        states[index].position[YAW] -= TAU * (turn / TAU).round();
    }
}

/// Carries the position on by the trapezoidal rule; over gaps, whose motion is not known, it stays.
fn integrate(states: &mut [State], summary: &mut Summary, step: impl Fn(&State, &mut State, f64)) {
    summary.integrated = true;
    let longest = f64::from(GAP_STEPS) * summary.interval;
    for index in 1..states.len() {
        let (before, after) = states.split_at_mut(index);
        let (before, after) = (&before[index - 1], &mut after[0]);
        let time = after.stamp.since(before.stamp);
        let time = if time > 0.0 && time <= longest { time } else { 0.0 };
        step(before, after, time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARC: f64 = 0.5; // turn rate, rad/s

    /// On a circle of radius 2 m, from its foot, every 0.1 s, over more than a turn.
    fn circle() -> Vec<Row> {
        let row = |step: i64| {
            let yaw = ARC * 0.1 * step as f64;
            let wrapped = yaw.sin().atan2(yaw.cos());
            let stamp = Stamp((step + 1) * 100_000_000);
            let position = vec![2.0 * yaw.sin(), 2.0 - 2.0 * yaw.cos(), wrapped];
            Row {
                header: stamp,
                log: None,
                position,
                velocity: vec![1.0, 0.0, ARC],
                effort: vec![],
                command: vec![],
            }
        };
        (0..200).map(row).collect()
    }

    fn base(rows: Vec<Row>) -> Recording {
        let names = ["x", "y", "yaw"].map(String::from).into();
        assemble(Path::new("x"), names, Space::PlanarBase, rows, Summary::default()).unwrap().0
    }

    fn assert_close(state: &State, expected: &State, tolerance: f64) {
        let values = state.position.iter().chain(&state.velocity);
        let pairs = values.zip(expected.position.iter().chain(&expected.velocity));
        pairs.for_each(|(value, expected)| {
            assert!((value - expected).abs() < tolerance, "{state:?} {expected:?}")
        });
    }

    #[test]
    fn the_yaw_is_unwrapped_and_a_whole_recording_is_left_as_it_is() {
        let recording = base(circle());
        let last = recording.states.last().unwrap();
        assert!((last.position[YAW] - ARC * 19.9).abs() < 1e-9);
        assert_eq!(recording.states[5].velocity, [1.0, 0.0, ARC]);
        assert!(!recording.summary.differentiated && !recording.summary.integrated);
    }

    #[test]
    fn a_missing_twist_is_made_of_the_pose_and_the_other_way_round() {
        let whole = base(circle());
        for velocity in [vec![], vec![0.0; 3], vec![f64::NAN; 3]] {
            let rows = circle().into_iter().map(|row| Row { velocity: velocity.clone(), ..row }).collect();
            let made = base(rows);
            assert!(made.summary.differentiated && !made.summary.integrated);
            made.states.iter().zip(&whole.states).for_each(|(made, whole)| assert_close(made, whole, 2e-4));
        }
        let rows = circle().into_iter().map(|row| Row { position: vec![0.0; 3], ..row }).collect();
        let made = base(rows);
        assert!(made.summary.integrated && !made.summary.differentiated);
        made.states.iter().zip(&whole.states).for_each(|(made, whole)| assert_close(made, whole, 1e-3));
        assert!(made.summary.to_string().contains("made by integration of the speed"));
    }

    #[test]
    fn a_yaw_that_stays_is_missing_only_where_the_way_turns() {
        let without = |noise: f64, rows: Vec<Row>| {
            let row = |(index, mut row): (usize, Row)| {
                row.position[YAW] = 0.0;
                row.velocity[YAW] += noise * (index as f64).sin();
                row
            };
            base(rows.into_iter().enumerate().map(row).collect())
        };
        let turned = without(0.0, circle());
        assert!((turned.states[199].position[YAW] - ARC * 19.9).abs() < 1e-9, "{}", turned.summary);
        let straight = |(step, row): (usize, Row)| Row {
            position: vec![0.1 * step as f64, 0.0, 0.0],
            velocity: vec![1.0, 0.0, 0.002],
            ..row
        };
        let straight = without(0.01, circle().into_iter().enumerate().map(straight).collect());
        assert_eq!(straight.states[199].position[YAW], 0.0);
        assert!(!straight.summary.integrated && !straight.summary.to_string().contains("warning"));
    }

    #[test]
    fn a_standing_base_is_left_standing() {
        let still =
            circle().into_iter().map(|row| Row { position: vec![1.0; 3], velocity: vec![0.0; 3], ..row });
        let recording = base(still.collect());
        assert!(!recording.summary.differentiated && !recording.summary.integrated);
        assert_eq!(recording.states[9].position, [1.0; 3]);
    }

    #[test]
    fn nothing_is_integrated_over_a_gap() {
        let mut rows: Vec<Row> =
            circle().into_iter().map(|row| Row { position: vec![0.0; 3], ..row }).collect();
        rows.iter_mut().for_each(|row| row.velocity = vec![1.0, 0.0, 0.0]);
        rows.iter_mut().skip(100).for_each(|row| row.header.0 += 60_000_000_000);
        let recording = base(rows);
        assert_eq!((recording.summary.gaps, recording.summary.longest_gap), (1, 60.1));
        assert!((recording.states[199].position[X] - 19.8).abs() < 1e-9);
    }

    #[test]
    fn a_few_zero_stamps_are_dropped_and_a_far_clock_is_said() {
        let epoch = 1_700_000_000_000_000_000;
        let mut rows = circle();
        rows.iter_mut().for_each(|row| {
            row.header.0 += epoch;
            row.log = Some(Stamp(row.header.0 + 90_000_000_000));
        });
        rows[0].header = Stamp(0);
        rows[50].header = Stamp(0);
        let summary = base(rows).summary;
        assert_eq!((summary.zero_stamps, summary.clock_set_back, summary.kept), (2, 0, 198));
        assert!(summary.to_string().contains("header stamps is 90.000 s behind that of the logging"));
    }
}
