//! What is known of one base: where it was, how far from its path, and where it was predicted to be.

use crate::base::{Pose, ReferencePath, Twist, pose_error};
use crate::demo::track::Track;
use crate::state::{Space, Stamp};
use crate::vector::root_mean_square;

/// How far in time the base may be from where it was last found on the path, s.
const SEARCH: f64 = 1.0;

/// Where a base was, by its simulator.
pub struct Record {
    path: ReferencePath,
    /// Where on the path the base was last, s.
    near: f64,
    poses: Vec<(Stamp, Pose)>,
    /// m and rad.
    pub cross_track: Track,
    pub heading: Track,
}

impl Record {
    pub fn new(path: ReferencePath) -> Self {
        let (cross_track, heading) = Default::default();
        Self { path, near: 0.0, poses: Vec::new(), cross_track, heading }
    }

    /// Seconds since the path was sent.
    pub fn time(&self) -> f64 {
        self.cross_track.time()
    }

    /// Metres from where it was first.
    pub fn way(&self) -> f64 {
        let ends = self.poses.first().zip(self.poses.last());
        ends.map_or(0.0, |((_, first), (_, last))| distance(first, last))
    }

    pub fn see(&mut self, stamp: Stamp, pose: Pose) {
        if self.poses.last().is_some_and(|(last, _)| *last >= stamp) {
            return;
        }
        let found = self.path.project(&pose, self.near, SEARCH);
        self.near = found.time;
        self.cross_track.hear(stamp, found.error[1]);
        self.heading.hear(stamp, found.error[2]);
        self.poses.push((stamp, pose));
    }

    /// Where the base was at `stamp`, between two measurements on the straight line; `None` before the first and after the last.
    fn position(&self, stamp: Stamp) -> Option<[f64; 2]> {
        let next = self.poses.partition_point(|(other, _)| *other < stamp);
        let (to_stamp, to) = self.poses.get(next)?;
        if *to_stamp == stamp {
            return Some([to[0], to[1]]);
        }
        let (from_stamp, from) = &self.poses[next.checked_sub(1)?];
        let share = stamp.since(*from_stamp) / to_stamp.since(*from_stamp);
        Some([0, 1].map(|axis| from[axis] + share * (to[axis] - from[axis])))
    }
}

/// Where a base was said to be, and what was measured of it then.
pub struct Prediction {
    pub stamp: Stamp,
    pub pose: Pose,
    pub twist: Twist,
    /// With their times.
    pub predicted: Vec<(Stamp, Pose)>,
}

/// How far, root mean square over `predictions` that have come true, the base was from where it was predicted `step` steps
/// ahead, and from where its twist at that time would have led it; with the mean time ahead. [s, m, m].
pub fn prediction_error(record: &Record, predictions: &[Prediction], step: usize) -> Option<[f64; 3]> {
    let mut errors: [Vec<f64>; 3] = Default::default();
    for prediction in predictions {
        let Some((stamp, predicted)) = prediction.predicted.get(step) else { continue };
        let Some([x, y]) = record.position(*stamp) else { continue };
        let ahead = stamp.since(prediction.stamp);
        let constant_twist = led_by(&prediction.twist, &prediction.pose, ahead);
        let truth = [x, y, 0.0];
        let found = [ahead, distance(predicted, &truth), distance(&constant_twist, &truth)];
        errors.iter_mut().zip(found).for_each(|(errors, found)| errors.push(found));
    }
    (!errors[0].is_empty()).then(|| errors.each_ref().map(|errors| root_mean_square(errors.iter().copied())))
}

/// Where `twist` leads from `pose` in `time` [s].
fn led_by(twist: &Twist, pose: &Pose, time: f64) -> Pose {
    let (mut local, mut led) = ([0.0; 3], [0.0; 3]);
    Space::PlanarBase.displacement(twist, time, &mut local);
    Space::PlanarBase.integrate(pose, &local, &mut led);
    led
}

fn distance(from: &Pose, to: &Pose) -> f64 {
    let [along, across, _] = pose_error(from, to);
    along.hypot(across)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;

    /// A metre a second along x; the path lies 0.1 m to its left.
    fn record() -> Record {
        let path = ReferencePath::stamped(&[0.0, 10.0], &[[0.0, 0.1, 0.0], [10.0, 0.1, 0.0]]).unwrap();
        let mut record = Record::new(path);
        for tick in 0..200 {
            let time = 0.02 * f64::from(tick);
            record.see(Stamp::from_seconds(3.0 + time), [time, 0.0, 0.0]);
        }
        record
    }

    #[test]
    fn distances_to_the_path_are_those_of_each_time_once() {
        let mut record = record();
        record.see(Stamp::from_seconds(3.0), [0.0, 7.0, 0.0]);
        assert!((record.time() - 3.98).abs() < 1e-9 && (record.way() - 3.98).abs() < 1e-9);
        assert!(
            (record.cross_track.rms(0.0, 4.0) - 0.1).abs() < 1e-9,
            "{}",
            record.cross_track.rms(0.0, 4.0)
        );
        assert!(record.heading.rms(0.0, 4.0) < 1e-9);
    }

    #[test]
    fn predictions_are_compared_with_what_came() {
        let record = record();
        let at = Stamp::from_seconds;
        // the twist says half of the speed; said is a place 0.3 m beside the right one, 1.01 s ahead, and one that never comes
        let prediction = Prediction {
            stamp: at(4.0),
            pose: [1.0, 0.0, 0.0],
            twist: [0.5, 0.0, 0.0],
            predicted: vec![(at(5.01), [2.01, 0.3, 0.0]), (at(9.0), [6.0, 0.0, 0.0])],
        };
        let [ahead, predicted, constant_twist] = prediction_error(&record, &[prediction], 0).unwrap();
        assert!((ahead - 1.01).abs() < 1e-6 && (predicted - 0.3).abs() < 1e-6, "{ahead} {predicted}");
        assert!((constant_twist - 0.505).abs() < 1e-6, "{constant_twist}");
        let late = Prediction {
            stamp: at(4.0),
            pose: [0.0; 3],
            twist: [0.0; 3],
            predicted: vec![(at(9.0), [0.0; 3])],
        };
        assert_eq!(prediction_error(&record, &[late], 0), None);
    }
}
