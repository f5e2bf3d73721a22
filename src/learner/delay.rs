//! The time from a command to its effect, found from motion and efforts.
//!
//! For each candidate delay d the acceleration of every joint is explained, by least squares, by the efforts of all joints
//! d before, by their velocities and directions of motion, and by its position; the delay that leaves least is the answer.
//! The acceleration is the second derivative of a parabola through the positions within ±h; that is a mean of the true
//! acceleration with the weights (h² − τ²)², so efforts and regressors are averaged with these, too. It is taken from
//! positions because the noise of velocities is in the efforts of their feedback, and would pull the answer to zero. How
//! certain the answer is comes from the spread between parts of the time (the jackknife's idea).

use crate::controller::features::friction_feature;
use crate::error::{Error, Result};
use crate::learner::sample::Sample;
use crate::state::Stamp;
use nalgebra::{DMatrix, DVector};

/// The longest delay looked for, and half the window [s].
pub const LONGEST: f64 = 0.060;
const HALF_WINDOW: f64 = 0.020;
/// Moments in which any joint is slower than the first, or the joint that is explained than the second, are left out
/// [rad/s]: where friction changes its sign no model of it is right, and efforts follow it, which looks like a delay.
const MOVING: f64 = 0.05;
const MOVING_ITSELF: f64 = 0.15;
/// Least number of samples in half a window: fewer are no parabola.
const FEWEST: usize = 3;
/// Parts of the time of which each gives an answer of its own.
const PARTS: usize = 8;
/// Rows of a stretch, for each regressor.
const ROWS_PER_REGRESSOR: usize = 6;
/// An answer is certain when its standard error is below this [s], and the efforts explain so much of the motion.
const CERTAIN: f64 = 0.002;
const EXPLAINED: f64 = 0.5;
/// Delays that differ by less are taken for the same [s].
const DIFFERENT: f64 = 0.003;

/// What the data say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DelayEstimate {
    /// From the sending of a command to the beginning of its effect [s].
    pub delay: f64,
    /// Standard error [s].
    pub deviation: f64,
    /// Share of the mean square of the acceleration that the efforts explain, 0 to 1.
    pub explained: f64,
}

impl DelayEstimate {
    /// Why the answer is not to be relied on, if so.
    pub fn doubt(&self) -> Option<String> {
        if self.explained < EXPLAINED {
            let percent = 100.0 * self.explained;
            return Some(format!("the efforts explain only {percent:.0} % of the accelerations"));
        }
        if self.deviation.is_nan() || self.deviation > CERTAIN {
            let milliseconds = 1e3 * self.deviation;
            return Some(format!(
                "parts of the recording disagree by ±{milliseconds:.1} ms: too little changes quickly in it"
            ));
        }
        None
    }

    /// A sentence for a log when commands act at another time than they are taken to.
    pub fn contradicts(&self, command_delay: f64) -> Option<String> {
        ((self.delay - command_delay).abs() > DIFFERENT).then(|| {
            let [found, set, deviation] = [self.delay, command_delay, self.deviation].map(|time| 1e3 * time);
            format!(
                "commands act {found:.1} ± {deviation:.1} ms after they are given, and command_delay is {set:.1} ms: \
                 set it to {:.4}",
                self.delay
            )
        })
    }
}

/// Motion with efforts at equal steps, without gaps; `[time][joint]`.
#[derive(Clone, Debug, Default)]
pub struct DelayData {
    pub dt: f64,
    pub position: Vec<Vec<f64>>,
    pub velocity: Vec<Vec<f64>>,
    /// Beyond gravity, if that is known.
    pub effort: Vec<Vec<f64>>,
}

/// The delay of the commands in `episodes`, all of the same step and joints. An error says what is missing.
pub fn estimate_delay(episodes: &[DelayData]) -> Result<DelayEstimate> {
    let Some(dt) = episodes.first().map(|episode| episode.dt) else {
        return Err(Error::mismatch("motion to find a delay in", "none", "at least one episode"));
    };
    let candidates = (LONGEST / dt).round() as usize + 1;
    let filtered: Vec<Filtered> =
        episodes.iter().filter_map(|episode| Filtered::new(episode, candidates)).collect();
    let joints = episodes[0].position.first().map_or(0, Vec::len);
    let rows: usize = filtered.iter().map(Filtered::rows).sum();
    let needed = PARTS * ROWS_PER_REGRESSOR * regressors(joints);
    if rows < needed || joints == 0 {
        let seconds = needed as f64 * filtered.first().map_or(dt, |filtered| filtered.stride as f64 * dt);
        let found = format!("{rows} independent moments");
        return Err(Error::mismatch(
            "motion to find a delay in",
            found,
            format!("at least {needed} ({seconds:.0} s)"),
        ));
    }
    let left = |part: Option<usize>| -> Vec<f64> {
        (0..candidates).map(|delay| unexplained(&filtered, joints, delay, part)).collect()
    };
    let all = left(None);
    let found = lowest(&all);
    let parts: Vec<f64> = (0..PARTS).map(|part| lowest(&left(Some(part)))).collect();
    let spread = parts.iter().map(|part| (part - found).powi(2)).sum::<f64>() / (PARTS - 1) as f64;
    let least = all.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(DelayEstimate {
        // The command of a sample acts for one step: on the mean half a step after its beginning.
        delay: ((found - 0.5) * dt).max(0.0),
        deviation: (spread / PARTS as f64).sqrt() * dt,
        explained: 1.0 - least,
    })
}

/// Effort, velocity and direction of motion of each joint, for all are coupled; the joint's own position, and one.
fn regressors(joints: usize) -> usize {
    3 * joints + 2
}

/// An episode averaged over windows; rows are so far apart that their windows hardly overlap.
struct Filtered {
    stride: usize,
    /// [row][joint]
    acceleration: Vec<Vec<f64>>,
    /// [row][joint]: velocity, direction of motion, position.
    motion: Vec<Vec<[f64; 3]>>,
    /// [candidate][row][joint]
    effort: Vec<Vec<Vec<f64>>>,
}

impl Filtered {
    /// `None` when the episode is too short.
    fn new(data: &DelayData, candidates: usize) -> Option<Self> {
        let half = ((HALF_WINDOW / data.dt).round() as usize).max(FEWEST);
        let (first, end) = (half + candidates, data.position.len().checked_sub(half)?);
        if first >= end {
            return None;
        }
        let offsets = || (0..=2 * half).map(|index| index as f64 - half as f64);
        let reach = (half as f64 + 0.5).powi(2);
        let weights: Vec<f64> = offsets().map(|offset| (reach - offset * offset).powi(2)).collect();
        let total: f64 = weights.iter().sum();
        let weights: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
        let curvature = second_derivative(half, data.dt);
        let mean = |centre: usize, weights: &[f64], value: &dyn Fn(usize) -> f64| -> f64 {
            weights.iter().enumerate().map(|(index, weight)| weight * value(centre + index - half)).sum()
        };
        let joints = data.position[0].len();
        let stride = half.max(1);
        let rows: Vec<usize> = (first..end).step_by(stride).collect();
        let of_rows = |of: &dyn Fn(usize, usize) -> f64| -> Vec<Vec<f64>> {
            rows.iter().map(|row| (0..joints).map(|joint| of(*row, joint)).collect()).collect()
        };
        let motion = rows.iter().map(|row| {
            let of_joint = |joint: usize| {
                let velocity = |time: usize| data.velocity[time][joint];
                [
                    mean(*row, &weights, &velocity),
                    mean(*row, &weights, &|time| friction_feature(velocity(time))),
                    mean(*row, &weights, &|time| data.position[time][joint]),
                ]
            };
            (0..joints).map(of_joint).collect()
        });
        Some(Self {
            acceleration: of_rows(&|row, joint| mean(row, &curvature, &|time| data.position[time][joint])),
            motion: motion.collect(),
            effort: (0..candidates)
                .map(|delay| {
                    of_rows(&|row, joint| mean(row - delay, &weights, &|time| data.effort[time][joint]))
                })
                .collect(),
            stride,
        })
    }

    fn rows(&self) -> usize {
        self.acceleration.len()
    }
}

/// Weights of the samples at −half..=half that give the second derivative of the parabola nearest to them.
fn second_derivative(half: usize, dt: f64) -> Vec<f64> {
    let squares: Vec<f64> = (0..=2 * half).map(|index| ((index as f64 - half as f64) * dt).powi(2)).collect();
    let mean = squares.iter().sum::<f64>() / squares.len() as f64;
    let spread: f64 = squares.iter().map(|square| (square - mean).powi(2)).sum();
    squares.iter().map(|square| 2.0 * (square - mean) / spread).collect()
}

/// Share of the accelerations' mean square about their mean that efforts `delay` steps before leave, mean over the
/// joints; of one of the `PARTS` of the time, or of all. Coefficients are found anew for each stretch of a few seconds,
/// because inertia and gravity change with the posture.
fn unexplained(episodes: &[Filtered], joints: usize, delay: usize, part: Option<usize>) -> f64 {
    let total: usize = episodes.iter().map(Filtered::rows).sum();
    let inside = |index: usize| part.is_none_or(|part| index * PARTS / total == part);
    let all = episodes.iter().flat_map(|episode| (0..episode.rows()).map(move |row| (episode, row)));
    let rows: Vec<(&Filtered, usize)> =
        all.enumerate().filter(|(index, _)| inside(*index)).map(|(_, row)| row).collect();
    let columns = regressors(joints);
    let of_joint = |joint: usize| -> f64 {
        let (mut left, mut whole) = (0.0, 0.0);
        let moves = |&&(episode, row): &&(&Filtered, usize)| {
            let motion: &[[f64; 3]] = &episode.motion[row];
            motion.iter().all(|[velocity, ..]| velocity.abs() > MOVING)
                && motion[joint][0].abs() > MOVING_ITSELF
        };
        let rows: Vec<(&Filtered, usize)> = rows.iter().filter(moves).copied().collect();
        for stretch in rows.chunks_exact(ROWS_PER_REGRESSOR * columns) {
            let matrix = DMatrix::from_fn(stretch.len(), columns, |row, column| {
                let (episode, row) = stretch[row];
                let of = column % joints;
                match column / joints {
                    0 => episode.effort[delay][row][of],
                    1 => episode.motion[row][of][0],
                    2 => episode.motion[row][of][1],
                    _ if column == 3 * joints => episode.motion[row][joint][2],
                    _ => 1.0,
                }
            });
            let accelerations = stretch.iter().map(|(episode, row)| episode.acceleration[*row][joint]);
            let target = DVector::from_iterator(stretch.len(), accelerations);
            left += square_left(&matrix, &target);
            whole += target.add_scalar(-target.mean()).norm_squared();
        }
        if whole > 0.0 { left / whole } else { 1.0 }
    };
    (0..joints).map(of_joint).sum::<f64>() / joints as f64
}

/// Sum of the squares that a least-squares fit leaves of `target`.
fn square_left(regressors: &DMatrix<f64>, target: &DVector<f64>) -> f64 {
    // Columns in units of their own size, with a ridge far below what matters.
    let sizes: Vec<f64> = regressors.column_iter().map(|column| column.norm().max(1e-12)).collect();
    let mut scaled = regressors.clone();
    scaled.column_iter_mut().zip(&sizes).for_each(|(mut column, size)| column /= *size);
    let normal = scaled.tr_mul(&scaled) + DMatrix::identity(sizes.len(), sizes.len()) * 1e-9;
    match normal.cholesky() {
        Some(normal) => (target - &scaled * normal.solve(&scaled.tr_mul(target))).norm_squared(),
        None => target.norm_squared(),
    }
}

/// Place of the lowest value, between the candidates by a parabola through its neighbours.
fn lowest(values: &[f64]) -> f64 {
    let Some((index, least)) = values.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)) else {
        return 0.0;
    };
    match (index.checked_sub(1).map(|before| values[before]), values.get(index + 1)) {
        (Some(before), Some(after)) => {
            let bend = before - 2.0 * least + after;
            index as f64 + if bend > 0.0 { 0.5 * (before - after) / bend } else { 0.0 }
        }
        _ => index as f64,
    }
}

/// Watches whether the commands act when they are taken to: gathers motion, and each time there is enough of it gives
/// what it says.
#[derive(Clone, Debug, Default)]
pub struct DelayWatch {
    episodes: Vec<DelayData>,
    gathered: f64,
    last: Option<Stamp>,
    dt: f64,
    /// In all episodes.
    samples: usize,
}

/// Motion that an estimate is made from [s].
const GATHERED: f64 = 150.0;
/// Samples that it may take; of a motion that is too broken up for so many it is gathered anew.
const MOST_SAMPLES: usize = 400_000;

impl DelayWatch {
    /// Takes the next sample, cheaply. A gap, or another step, begins a new episode.
    pub fn observe(&mut self, sample: &Sample) {
        let elapsed = self.last.replace(sample.stamp).map_or(0.0, |last| sample.stamp.since(last));
        if self.gathered >= GATHERED {
            return; // enough, until somebody asks
        }
        if self.samples >= MOST_SAMPLES || self.samples as f64 * self.dt > 2.0 * GATHERED {
            (self.samples, self.gathered) = (0, 0.0);
            self.episodes.clear();
        }
        self.samples += 1;
        let follows = elapsed > 0.0 && !self.episodes.is_empty() && (elapsed - self.dt).abs() < 0.1 * self.dt;
        if !follows {
            if elapsed > 0.0 {
                self.dt = elapsed;
            }
            self.episodes.push(DelayData { dt: self.dt, ..Default::default() });
        } else {
            self.gathered += elapsed;
        }
        let Some(episode) = self.episodes.last_mut() else { return };
        episode.position.push(sample.position.clone());
        episode.velocity.push(sample.velocity.clone());
        let beyond =
            sample.effort.iter().zip(&sample.feedforward_effort).map(|(effort, known)| effort - known);
        episode.effort.push(beyond.collect());
    }

    /// What the gathered motion says, when there is enough; gathering then begins anew. `None`, too, when it is too
    /// broken up or tells too little.
    pub fn estimate(&mut self) -> Option<DelayEstimate> {
        if self.gathered < GATHERED {
            return None;
        }
        (self.samples, self.gathered) = (0, 0.0);
        let mut episodes = std::mem::take(&mut self.episodes);
        let dt = self.dt;
        episodes.retain(|episode| (episode.dt - dt).abs() < 0.1 * dt);
        estimate_delay(&episodes).ok().filter(|estimate| estimate.doubt().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    use rand_pcg::Pcg64;

    /// Two masses with friction, under noisy feedback whose efforts act `delay` later.
    fn motion(delay: f64, excitation: f64, seconds: f64) -> DelayData {
        let mut random = Pcg64::seed_from_u64(1);
        let dt = 0.002;
        let mut noise =
            |deviation: f64| -> f64 { deviation * Distribution::<f64>::sample(&StandardNormal, &mut random) };
        let (mut q, mut v) = ([0.0; 2], [0.0; 2]);
        let mut data = DelayData { dt, ..Default::default() };
        let delayed = (delay / dt).round() as usize;
        for k in 0..(seconds / dt) as usize {
            let t = k as f64 * dt;
            let measured: Vec<f64> = q.iter().map(|q| q + noise(1e-5)).collect();
            let velocity: Vec<f64> = v.iter().map(|v| v + noise(1e-3)).collect();
            let effort = (0..2).map(|joint| {
                let [slow, fast] = [1.1 + 0.3 * joint as f64, 4.3 + joint as f64];
                let reference = excitation * (0.4 * (slow * t).sin() + 0.1 * (fast * t).sin());
                300.0 * (reference - measured[joint]) - 20.0 * velocity[joint]
            });
            data.effort.push(effort.collect());
            data.position.push(measured.clone());
            data.velocity.push(velocity);
            let applied = &data.effort[k.saturating_sub(delayed)];
            for joint in 0..2 {
                let friction = 1.5 * friction_feature(v[joint]) + 0.5 * v[joint];
                let before = v[joint];
                v[joint] += dt * (applied[joint] - friction) / [2.0, 0.7][joint];
                q[joint] += dt * 0.5 * (before + v[joint]);
            }
        }
        data
    }

    #[test]
    fn the_delay_is_found_to_a_millisecond() {
        for delay in [0.0, 0.004, 0.010] {
            let estimate = estimate_delay(&[motion(delay, 1.0, 40.0)]).unwrap();
            assert!(
                (estimate.delay - delay).abs() < 1e-3 && estimate.doubt().is_none(),
                "{delay}: {estimate:?}"
            );
        }
    }

    #[test]
    fn what_tells_nothing_is_not_relied_on() {
        let still = estimate_delay(&[motion(0.004, 0.0, 40.0)]).unwrap();
        assert!(still.doubt().is_some(), "{still:?}");
        let mut unrelated = motion(0.004, 1.0, 40.0);
        unrelated.effort.rotate_left(7777);
        let unrelated = estimate_delay(&[unrelated]).unwrap();
        assert!(unrelated.doubt().is_some(), "{unrelated:?}");
        let error = estimate_delay(&[motion(0.004, 1.0, 2.0)]).unwrap_err().to_string();
        assert!(error.contains("independent moments"), "{error}");
        assert!(estimate_delay(&[]).is_err());
    }

    #[test]
    fn a_watch_that_nobody_asks_or_that_sees_no_even_steps_does_not_grow() {
        for steps in [[2_000_000, 2_000_000], [2_000_000, 3_000_000]] {
            let (mut watch, mut sample) = (DelayWatch::default(), Sample::zeros(1));
            for index in 0..400_000 {
                sample.stamp.0 += steps[index % 2];
                watch.observe(&sample);
                assert!(watch.samples as f64 * watch.dt <= 2.0 * GATHERED + 1.0, "{index}");
            }
            let stored: usize = watch.episodes.iter().map(|episode| episode.position.len()).sum();
            assert_eq!((stored, stored > 50_000), (watch.samples, true));
        }
    }

    #[test]
    fn the_watch_gathers_until_there_is_enough() {
        let data = motion(0.004, 1.0, 155.0);
        let mut watch = DelayWatch::default();
        let mut found = Vec::new();
        for k in 0..data.position.len() {
            let sample = Sample {
                stamp: Stamp(2_000_000 * k as i64),
                position: data.position[k].clone(),
                velocity: data.velocity[k].clone(),
                effort: data.effort[k].clone(),
                ..Sample::zeros(2)
            };
            watch.observe(&sample);
            found.extend(watch.estimate());
        }
        assert!(found.len() == 1 && (found[0].delay - 0.004).abs() < 1e-3, "{found:?}");
    }
}
