//! Rows of a base from tf2: from the transform of one frame in another (REP 105) among those on a topic.

use super::bag::{pose_row, read_topic};
use super::messages::{Message, Pose, TransformStamped};
use super::rosbag::{Bag, Topic};
use super::{Row, Summary, data};
use crate::error::Result;
use std::collections::BTreeMap;

/// The frames of a base and where it is, as they are usually named.
const BASES: [&str; 2] = ["base_footprint", "base_link"];
const FIXED: &str = "odom";

/// The transforms of a topic by its name, as `/tf` or with the frames that are meant: `/tf:odom:base_link`.
pub(super) fn name_and_frames(topic: &str) -> (&str, Option<(&str, &str)>) {
    match topic.split_once(':') {
        Some((name, frames)) => (name, frames.split_once(':').or(Some((frames, "")))),
        None => (topic, None),
    }
}

/// The rows of one pair of frames: of those in the name that was `asked` for, or of the usual ones, or of the only ones.
pub(super) fn read<M: Message>(
    bag: &Bag,
    topic: &Topic,
    asked: Option<&str>,
    summary: &mut Summary,
    transforms_of: impl Fn(M) -> Vec<TransformStamped>,
) -> Result<Vec<Row>> {
    let mut pairs: BTreeMap<(String, String), Vec<Row>> = BTreeMap::new();
    read_topic(bag, topic, summary, |message: M, log| {
        for TransformStamped { header, child_frame_id, transform } in transforms_of(message) {
            let frame = |name: &str| name.trim_start_matches('/').to_owned();
            let pose = Pose { position: transform.translation, orientation: transform.rotation };
            let pair = (frame(&header.frame_id), frame(&child_frame_id));
            pairs.entry(pair).or_default().push(pose_row(&header, &pose, log));
        }
    })?;
    let found: Vec<String> = pairs
        .iter()
        .map(|((parent, child), rows)| format!("{}:{parent}:{child} ({} transforms)", topic.name, rows.len()))
        .collect();
    let is = |pair: &(String, String), (parent, child): (&str, &str)| pair.0 == parent && pair.1 == child;
    let usual = BASES.iter().find_map(|base| pairs.keys().find(|pair| is(pair, (FIXED, base))));
    let chosen = match asked.and_then(|asked| name_and_frames(asked).1) {
        Some(frames) => pairs.keys().find(|pair| is(pair, frames)),
        None => usual.or(pairs.keys().next().filter(|_| pairs.len() == 1)),
    };
    let Some(chosen) = chosen.cloned() else {
        let problem =
            format!("say which transform of {} is meant: --topic {}", topic.name, found.join(", or "));
        return Err(data(bag.path(), problem));
    };
    let rows = pairs.remove(&chosen).unwrap_or_default();
    summary.read = rows.len() + summary.undecodable;
    summary.notes.push(format!("{} in {}, of {}", chosen.1, chosen.0, found.join(", ")));
    Ok(rows)
}
