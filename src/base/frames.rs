//! Where frames lie in each other, in the plane: what tf says, without height, roll and pitch.

use super::twist::{Pose, moved, pose_error};
use crate::state::Stamp;
use std::collections::HashMap;

/// No chain of frames is longer; one that is goes in a circle.
const LONGEST: usize = 64;

/// A pose of one frame in another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    /// m, m, rad.
    pub pose: Pose,
    /// Of the oldest part that may change; none if no part does.
    pub stamp: Option<Stamp>,
}

impl Transform {
    const NONE: Self = Self { pose: [0.0; 3], stamp: None };

    /// This, and from there `next`.
    fn then(&self, next: &Self) -> Self {
        Self { pose: moved(&self.pose, &next.pose), stamp: self.oldest(next) }
    }

    /// The stamp of the older of both, as far as they may change.
    fn oldest(&self, other: &Self) -> Option<Stamp> {
        [self.stamp, other.stamp].into_iter().flatten().min()
    }
}

/// The newest transform of every frame to its parent.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    parents: HashMap<String, (String, Transform)>,
}

impl Frames {
    /// From now on `child` lies so in `parent`. Older ones than are known are dropped, and what is not finite.
    pub fn place(&mut self, parent: &str, child: &str, transform: Transform) {
        let known = self.parents.get(child).and_then(|(_, known)| known.stamp);
        let is_old = known.zip(transform.stamp).is_some_and(|(known, stamp)| {
            // the clock of a simulation that is started again goes back
            stamp < known && known.since(stamp) < 1.0
        });
        if is_old || !transform.pose.iter().all(|value| value.is_finite()) {
            return;
        }
        match self.parents.get_mut(child) {
            Some((known, newest)) if known == parent => *newest = transform,
            _ => drop(self.parents.insert(child.to_owned(), (parent.to_owned(), transform))),
        }
    }

    /// Where `child` lies in `frame`, if that is known.
    pub fn find(&self, frame: &str, child: &str) -> Option<Transform> {
        let (up, down) = (self.ancestors(child), self.ancestors(frame));
        // where both chains meet
        let (from_child, from_frame) = up.iter().find_map(|(name, of_child)| {
            let (_, of_frame) = down.iter().find(|(other, _)| other == name)?;
            Some((of_child, of_frame))
        })?;
        let pose = pose_error(&from_frame.pose, &from_child.pose);
        Some(Transform { pose, stamp: from_child.oldest(from_frame) })
    }

    /// `frame`, its parent, its parent's parent, …, each with where `frame` lies in it.
    fn ancestors<'a>(&'a self, frame: &'a str) -> Vec<(&'a str, Transform)> {
        let mut chain = vec![(frame, Transform::NONE)];
        while let Some((parent, step)) = chain.last().and_then(|(name, _)| self.parents.get(*name)) {
            if chain.len() > LONGEST {
                break;
            }
            let below = chain.last().map_or(Transform::NONE, |(_, transform)| *transform);
            chain.push((parent, step.then(&below)));
        }
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::FRAC_PI_2;

    fn at(pose: Pose, seconds: f64) -> Transform {
        Transform { pose, stamp: Some(Stamp::from_seconds(seconds)) }
    }

    fn assert_near(found: Option<Transform>, pose: Pose) {
        let found = found.unwrap().pose;
        assert!(pose_error(&pose, &found).iter().all(|error| error.abs() < 1e-12), "{found:?} {pose:?}");
    }

    /// map → odom → base → laser, and map → goal.
    fn tree() -> Frames {
        let mut frames = Frames::default();
        frames.place("map", "odom", at([1.0, 2.0, FRAC_PI_2], 5.0));
        frames.place("odom", "base", at([3.0, 0.0, 0.0], 6.0));
        frames.place("base", "laser", Transform { pose: [0.2, 0.0, 0.0], stamp: None });
        frames.place("map", "goal", Transform { pose: [0.0, 9.0, 0.0], stamp: None });
        frames
    }

    #[test]
    fn frames_are_found_up_down_and_across() {
        let frames = tree();
        assert_near(frames.find("map", "laser"), [1.0, 5.2, FRAC_PI_2]);
        assert_near(frames.find("odom", "map"), [-2.0, 1.0, -FRAC_PI_2]);
        assert_near(frames.find("odom", "goal"), [7.0, 1.0, -FRAC_PI_2]);
        assert_near(frames.find("base", "base"), [0.0; 3]);
        assert_eq!(frames.find("map", "laser").unwrap().stamp, Some(Stamp::from_seconds(5.0)));
        assert_eq!(frames.find("base", "laser").unwrap().stamp, None);
        assert_eq!(frames.find("odom", "elsewhere"), None);
        assert_eq!(frames.find("base", "base").unwrap().stamp, None);
    }

    #[test]
    fn the_newest_counts_and_what_is_no_number_does_not() {
        let mut frames = tree();
        frames.place("map", "odom", at([7.0, 0.0, 0.0], 4.9));
        frames.place("map", "odom", at([f64::NAN, 0.0, 0.0], 8.0));
        assert_near(frames.find("map", "odom"), [1.0, 2.0, FRAC_PI_2]);
        frames.place("map", "odom", at([0.5, 0.0, 0.0], 5.1));
        assert_near(frames.find("map", "odom"), [0.5, 0.0, 0.0]);
        frames.place("map", "odom", at([0.6, 0.0, 0.0], 0.1));
        assert_near(frames.find("map", "odom"), [0.6, 0.0, 0.0]);
    }

    #[test]
    fn frames_in_a_circle_end_somewhere() {
        let mut frames = Frames::default();
        frames.place("a", "b", Transform::NONE);
        frames.place("b", "a", Transform::NONE);
        assert_near(frames.find("a", "b"), [0.0; 3]);
        assert_eq!(frames.find("a", "c"), None);
    }
}
