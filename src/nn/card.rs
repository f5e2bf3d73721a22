//! The card of a model: what has to be known to use its weights rightly, and where they come from. It travels as JSON
//! in the metadata of the weights, see [`crate::nn::checkpoint`].

use crate::command::Mode;
use crate::error::{Error, Result};
use crate::robot::{Robot, Unit};
use crate::state::{Space, State};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Counts up when cards or tensors change so that an older program would misread them: with 3, what is left of a
/// predictor's errors is kept otherwise.
pub const FORMAT: u32 = 3;
/// What wrote the cards of this program.
const WRITTEN_BY: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
/// Far more than a robot has; with the bound on the file it bounds what a card can make us allocate.
pub const MAX_JOINTS: usize = 256;
/// Two sampling times are the same when they differ by less than this share.
const DT_TOLERANCE: f64 = 1e-6;

/// What a model was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    Predictor,
    Controller,
    /// What the head of a base has learned.
    BaseController,
}

impl fmt::Display for ModelKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Predictor => "predictor",
            Self::Controller => "controller",
            Self::BaseController => "base_controller",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// [`FORMAT`] of the program that wrote it.
    pub format: u32,
    pub kind: ModelKind,
    /// Names in the order of the network's inputs and outputs.
    pub joints: Vec<String>,
    pub space: Space,
    /// What the drives take that a controller's model adds to.
    #[serde(default)]
    pub command_interface: Mode,
    /// One a joint.
    pub units: Vec<Unit>,
    /// Sampling time that the network was trained at, s.
    pub dt: f64,
    /// SHA-256 of the robot description that it was trained for.
    pub urdf_sha256: Option<String>,
    /// The network's own typed configuration.
    pub network: serde_json::Value,
    /// Counts up with each set of weights that a learner publishes.
    pub revision: u64,
    /// The revision that this one was trained from.
    pub parent: Option<u64>,
    pub seed: u64,
    /// What was seen in training, one a joint; empty when it is not known.
    pub ranges: Vec<JointRange>,
    /// The files that it was trained on.
    pub data: Vec<DataFile>,
    /// Figures by name, e.g. `rmse_500ms`.
    pub evaluation: BTreeMap<String, f64>,
    pub note: String,
    /// Program and version.
    pub written_by: String,
}

/// The least and the greatest of what was seen of a joint.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointRange {
    /// rad or m
    pub position: (f64, f64),
    /// rad/s or m/s
    pub velocity: (f64, f64),
}

/// A file by its name, without the path, and its contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFile {
    pub name: String,
    pub sha256: String,
}

impl JointRange {
    /// The ranges of `states`, one a joint; empty without states.
    pub fn of_states<'a>(states: impl IntoIterator<Item = &'a State>) -> Vec<Self> {
        let mut ranges = Vec::new();
        for state in states {
            Self::extend(&mut ranges, &state.position, &state.velocity);
        }
        ranges
    }

    /// Widens `ranges` to what was seen; the first that is seen makes them.
    pub fn extend(ranges: &mut Vec<Self>, position: &[f64], velocity: &[f64]) {
        if ranges.is_empty() {
            let point = |(q, v): (&f64, &f64)| Self { position: (*q, *q), velocity: (*v, *v) };
            ranges.extend(position.iter().zip(velocity).map(point));
        }
        let widen = |range: &mut (f64, f64), value: f64| *range = (range.0.min(value), range.1.max(value));
        for ((range, position), velocity) in ranges.iter_mut().zip(position).zip(velocity) {
            widen(&mut range.position, *position);
            widen(&mut range.velocity, *velocity);
        }
    }

    /// How far a motion is outside, as a share of the range; 0 inside.
    fn excess(&self, position: f64, velocity: f64) -> f64 {
        let excess = |(least, greatest): (f64, f64), value: f64| {
            (least - value).max(value - greatest).max(0.0) / (greatest - least).max(f64::MIN_POSITIVE)
        };
        excess(self.position, position).max(excess(self.velocity, velocity))
    }

    fn contains(&self, position: f64, velocity: f64) -> bool {
        let within = |(least, greatest): (f64, f64), value: f64| least <= value && value <= greatest;
        within(self.position, position) && within(self.velocity, velocity)
    }

    fn is_valid(&self) -> bool {
        let is_range =
            |(least, greatest): (f64, f64)| least.is_finite() && greatest.is_finite() && least <= greatest;
        is_range(self.position) && is_range(self.velocity)
    }
}

/// A motion outside of the ranges seen in training by this share of them is not familiar at all.
const UNFAMILIAR: f64 = 0.25;

impl Card {
    /// 1 for a motion within what was seen in training, falling to 0 at a quarter of the range beyond; 1 if it is not known
    /// what was seen.
    pub fn familiarity(&self, position: &[f64], velocity: &[f64]) -> f64 {
        let motion = position.iter().zip(velocity);
        let excess = self.ranges.iter().zip(motion).map(|(range, (q, v))| range.excess(*q, *v));
        (1.0 - excess.fold(0.0, f64::max) / UNFAMILIAR).max(0.0)
    }

    /// A card for `robot` that says nothing yet of training and evaluation. `network` is the network's configuration.
    pub fn new(kind: ModelKind, robot: &Robot, dt: f64, network: &impl Serialize) -> Result<Self> {
        Ok(Self {
            format: FORMAT,
            kind,
            joints: robot.joints.clone(),
            space: robot.space,
            command_interface: robot.command_interface,
            units: robot.units(),
            dt,
            urdf_sha256: robot.urdf_sha256.clone(),
            network: serde_json::to_value(network)
                .map_err(|error| refuse("to be written", error.to_string()))?,
            revision: 0,
            parent: None,
            seed: 0,
            ranges: Vec::new(),
            data: Vec::new(),
            evaluation: BTreeMap::new(),
            note: String::new(),
            written_by: WRITTEN_BY.into(),
        })
    }

    /// Reads the JSON of a card; `origin` (a path or a topic) is for the messages.
    pub fn read(text: &str, origin: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            /// The cards of the first format did not name it.
            #[serde(default = "first")]
            format: u32,
        }
        fn first() -> u32 {
            1
        }
        let unreadable = |error| refuse(origin, format!("its card is not readable: {error}"));
        let Version { format } = serde_json::from_str(text).map_err(unreadable)?;
        if format != FORMAT {
            let advice = if format < FORMAT { "train it anew" } else { "update this program" };
            return Err(refuse(
                origin,
                format!("its card is of format {format}, expected {FORMAT}; {advice}"),
            ));
        }
        let card: Self = serde_json::from_str(text).map_err(unreadable)?;
        card.validate(origin)?;
        Ok(card)
    }

    /// Takes over what is known of `robot` beyond the names of its joints.
    pub fn describe(&mut self, robot: &Robot) -> Result<()> {
        self.check_joints(robot)?;
        (self.space, self.units) = (robot.space, robot.units());
        self.urdf_sha256.clone_from(&robot.urdf_sha256);
        Ok(())
    }

    /// Refuses a model of another kind, for another robot, or for another sampling time `dt` [s]. The robot is
    /// another when its joints (their order counts), their units or their space differ.
    ///
    /// A controller's model is also refused for drives that take something else, and when both sides know a robot description and the two differ: what it
    /// learned is what the efforts computed from that description lacked. A predictor knows the motion alone and would
    /// be right for a description with other masses or meshes; for it there is [`Self::other_description`] to warn by.
    pub fn check(&self, kind: ModelKind, robot: &Robot, dt: Option<f64>) -> Result<()> {
        self.check_kind(kind)?;
        self.check_joints(robot)?;
        if self.space != robot.space {
            let debug = |space: Space| format!("{space:?}");
            let what = format!("space of the {kind} model");
            return Err(Error::mismatch(what, debug(self.space), debug(robot.space)));
        }
        let units = self.joints.iter().zip(self.units.iter().zip(robot.units()));
        let known = |unit: Unit| unit != Unit::Unknown;
        for (joint, (found, expected)) in units {
            if *found != expected && known(*found) && known(expected) {
                let what = format!("unit of joint '{joint}' of the {kind} model");
                return Err(Error::mismatch(what, found, expected));
            }
        }
        if let Some(dt) = dt
            && (self.dt - dt).abs() > DT_TOLERANCE * dt.abs()
        {
            return Err(Error::mismatch(format!("sampling time of the {kind} model [s]"), self.dt, dt));
        }
        let interfaces = (self.command_interface, robot.command_interface);
        if kind == ModelKind::Controller && interfaces.0 != interfaces.1 {
            return Err(Error::mismatch(
                "command_interface of the controller model",
                interfaces.0,
                interfaces.1,
            ));
        }
        match (kind, self.differing_descriptions(robot)) {
            (ModelKind::Controller, Some((found, expected))) => {
                Err(Error::mismatch("SHA-256 of the controller model's robot description", found, expected))
            }
            _ => Ok(()),
        }
    }

    /// A sentence when the model was trained for another robot description than that of `robot`.
    pub fn other_description(&self, robot: &Robot) -> Option<String> {
        let (found, expected) = self.differing_descriptions(robot)?;
        Some(format!("the model was trained for another robot description: SHA-256 {found}, here {expected}"))
    }

    fn differing_descriptions<'a>(&'a self, robot: &'a Robot) -> Option<(&'a str, &'a str)> {
        let both = (self.urdf_sha256.as_deref()?, robot.urdf_sha256.as_deref()?);
        (both.0 != both.1).then_some(both)
    }

    pub fn check_kind(&self, kind: ModelKind) -> Result<()> {
        if self.kind != kind {
            return Err(Error::mismatch("kind of the model", self.kind, kind));
        }
        Ok(())
    }

    fn check_joints(&self, robot: &Robot) -> Result<()> {
        if self.joints == robot.joints {
            return Ok(());
        }
        let differences = name_differences(&self.joints, &robot.joints);
        let what = format!("joints of the {} model ({differences})", self.kind);
        Err(Error::mismatch(what, self.joints.join(", "), robot.joints.join(", ")))
    }

    /// The first joint that is or moves as it never did in training; none when the ranges are not known.
    pub fn first_outside(&self, state: &State) -> Option<usize> {
        let mut joints = self.ranges.iter().zip(state.position.iter().zip(&state.velocity));
        joints.position(|(range, (position, velocity))| !range.contains(*position, *velocity))
    }

    /// The network's configuration in its type.
    pub fn network<Config: serde::de::DeserializeOwned>(&self, origin: &str) -> Result<Config> {
        Config::deserialize(&self.network)
            .map_err(|error| refuse(origin, format!("its network configuration does not fit: {error}")))
    }

    /// Refuses what contradicts itself, and numbers that JSON could not hold: a card that is written can be read.
    pub(super) fn validate(&self, origin: &str) -> Result<()> {
        if !(self.dt.is_finite() && self.dt > 0.0) {
            return Err(refuse(origin, format!("dt of its card is {} s, not above zero", self.dt)));
        }
        if let Some((name, value)) = self.evaluation.iter().find(|(_, value)| !value.is_finite()) {
            return Err(refuse(origin, format!("evaluation '{name}' of its card is {value}")));
        }
        self.validate_joints(origin)?;
        let hashes = self.data.iter().map(|file| &file.sha256).chain(&self.urdf_sha256);
        for hash in hashes {
            let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            if hash.len() != 64 || !hash.bytes().all(is_digit) {
                return Err(refuse(
                    origin,
                    format!("'{hash}' in its card is no SHA-256 in hexadecimal digits"),
                ));
            }
        }
        Ok(())
    }

    fn validate_joints(&self, origin: &str) -> Result<()> {
        let joints = self.joints.len();
        if joints == 0 || joints > MAX_JOINTS {
            return Err(refuse(origin, format!("its card has {joints} joints, expected 1 to {MAX_JOINTS}")));
        }
        let is_name = |joint: &&String| !joint.is_empty() && !joint.contains(char::is_control);
        if let Some(wrong) = self.joints.iter().find(|joint| !is_name(joint)) {
            return Err(refuse(origin, format!("{wrong:?} in its card is no name of a joint")));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.joints.iter().find(|joint| !seen.insert(*joint)) {
            return Err(refuse(origin, format!("its card has joint '{twice}' twice")));
        }
        if self.units.len() != joints {
            return Err(refuse(
                origin,
                format!("its card has {} units for {joints} joints", self.units.len()),
            ));
        }
        if !self.ranges.is_empty() && self.ranges.len() != joints {
            let found = self.ranges.len();
            return Err(refuse(origin, format!("its card has {found} training ranges for {joints} joints")));
        }
        match self.ranges.iter().position(|range| !range.is_valid()) {
            Some(joint) => {
                let (name, range) = (&self.joints[joint], self.ranges[joint]);
                Err(refuse(origin, format!("the training range of joint '{name}' in its card is {range:?}")))
            }
            None => Ok(()),
        }
    }
}

/// Which names are on one side only; with the same names on both sides, that their order differs.
fn name_differences(found: &[String], expected: &[String]) -> String {
    let only = |these: &[String], those: &[String]| {
        these.iter().filter(|name| !those.contains(name)).cloned().collect::<Vec<_>>().join(", ")
    };
    let (missing, unknown) = (only(expected, found), only(found, expected));
    match (missing.is_empty(), unknown.is_empty()) {
        (true, true) => "same names in another order or number".into(),
        (false, true) => format!("missing {missing}"),
        (true, false) => format!("unknown {unknown}"),
        (false, false) => format!("missing {missing}; unknown {unknown}"),
    }
}

/// What is quoted of a hostile file shall not steer a terminal.
pub(super) fn refuse(origin: &str, problem: impl Into<String>) -> Error {
    let problem = problem.into().replace(char::is_control, " ");
    Error::Model { origin: origin.into(), problem }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::robot::urdf_sha256;
    use serde_json::json;

    fn robot(joints: &[&str]) -> Robot {
        let joints: Vec<String> = joints.iter().map(|&name| name.into()).collect();
        Robot { urdf_sha256: Some(urdf_sha256("a robot")), ..Robot::of_joints(&joints) }
    }

    /// Of a predictor for a robot that has a shoulder and an elbow.
    pub fn example() -> Card {
        let mut card = Card::new(
            ModelKind::Predictor,
            &robot(&["shoulder", "elbow"]),
            0.01,
            &json!({"hidden": 3, "scale": 0.1}),
        )
        .unwrap();
        (card.revision, card.parent) = (7, Some(6));
        card.ranges = vec![JointRange { position: (-1.0, 1.0), velocity: (-0.1, 0.3) }; 2];
        card.data = vec![DataFile { name: "motion.csv".into(), sha256: urdf_sha256("motion") }];
        card.evaluation = BTreeMap::from([("rmse_500ms".into(), 1.0 / 3.0)]);
        card
    }

    fn read(card: &Card, change: impl Fn(&mut serde_json::Value)) -> String {
        let mut value = serde_json::to_value(card).unwrap();
        change(&mut value);
        Card::read(&value.to_string(), "x").unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read() {
        let card = example();
        assert_eq!(Card::read(&serde_json::to_string(&card).unwrap(), "x").unwrap(), card);
        assert_eq!(card.written_by, format!("learned_control {}", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn other_formats_are_refused_with_the_numbers() {
        let card = example();
        let without = read(&card, |value| drop(value.as_object_mut().unwrap().remove("format")));
        assert_eq!(without, format!("model x: its card is of format 1, expected {FORMAT}; train it anew"));
        let newer = read(&card, |value| value["format"] = json!(FORMAT + 1));
        let expected = format!("format {}, expected {FORMAT}; update this program", FORMAT + 1);
        assert!(newer.ends_with(&expected), "{newer}");
        assert!(read(&card, |value| value["format"] = json!(-1)).contains("not readable"));
        assert!(read(&card, |value| value["color"] = json!("red")).contains("unknown field `color`"));
    }

    #[test]
    fn cards_that_contradict_themselves_are_refused() {
        let card = example();
        let cases: [(&str, serde_json::Value, &str); 10] = [
            ("dt", json!(0.0), "dt of its card is 0 s"),
            ("joints", json!([]), "0 joints"),
            ("joints", json!(["a", "a"]), "'a' twice"),
            ("joints", json!(vec!["a"; 300]), "300 joints, expected 1 to 256"),
            ("joints", json!(["a\u{1b}[31m"]), r#""a\u{1b}[31m" in its card is no name"#),
            ("units", json!(["rad"]), "1 units for 2 joints"),
            ("ranges", json!([{"position": [0, 1], "velocity": [0, 1]}]), "1 training ranges for 2"),
            (
                "ranges",
                json!([{"position": [0, 1], "velocity": [0, 1]}, {"position": [1, 0], "velocity": [0, 1]}]),
                "range of joint 'elbow'",
            ),
            ("urdf_sha256", json!("ABC"), "'ABC' in its card is no SHA-256"),
            ("data", json!([{"name": "x", "sha256": "../"}]), "'../' in its card is no SHA-256"),
        ];
        for (key, value, reason) in cases {
            let error = read(&card, |card| card[key] = value.clone());
            assert!(error.contains(reason), "{error}");
        }
        let mut card = card;
        card.evaluation.insert("skill".into(), f64::NAN);
        assert!(card.validate("x").unwrap_err().to_string().contains("'skill' of its card is NaN"));
    }

    #[test]
    fn a_mismatch_says_what_differs() {
        let card = example();
        let check = |joints: &[&str], dt| {
            card.check(ModelKind::Predictor, &robot(joints), dt).map_err(|error| error.to_string())
        };
        assert_eq!(check(&["shoulder", "elbow"], Some(0.01)), Ok(()));
        assert_eq!(check(&["shoulder", "elbow"], None), Ok(()));
        assert_eq!(
            check(&["shoulder", "wrist"], None).unwrap_err(),
            "joints of the predictor model (missing wrist; unknown elbow): found shoulder, elbow, expected shoulder, wrist"
        );
        assert!(check(&["elbow", "shoulder"], None).unwrap_err().contains("another order"));
        assert_eq!(
            check(&["shoulder", "elbow"], Some(0.02)).unwrap_err(),
            "sampling time of the predictor model [s]: found 0.01, expected 0.02"
        );
        assert_eq!(
            card.check(ModelKind::Controller, &robot(&[]), None).unwrap_err().to_string(),
            "kind of the model: found predictor, expected controller"
        );
    }

    #[test]
    fn units_space_and_description_count() {
        let mut card = example();
        let mut robot = robot(&["shoulder", "elbow"]);
        card.units[1] = Unit::M;
        let error = card.check(ModelKind::Predictor, &robot, None).unwrap_err().to_string();
        assert_eq!(error, "unit of joint 'elbow' of the predictor model: found m, expected rad");
        card.units[1] = Unit::Unknown;
        assert!(card.check(ModelKind::Predictor, &robot, None).is_ok());
        card.space = Space::PlanarBase;
        let error = card.check(ModelKind::Predictor, &robot, None).unwrap_err().to_string();
        assert!(error.ends_with("found PlanarBase, expected Joints"), "{error}");

        card.space = Space::Joints;
        assert_eq!(card.other_description(&robot), None);
        robot.urdf_sha256 = Some(urdf_sha256("another robot"));
        assert!(card.check(ModelKind::Predictor, &robot, None).is_ok());
        assert!(card.other_description(&robot).unwrap().contains(&urdf_sha256("a robot")));
        card.kind = ModelKind::Controller;
        let error = card.check(ModelKind::Controller, &robot, None).unwrap_err().to_string();
        assert!(error.contains(&urdf_sha256("a robot")) && error.contains(&urdf_sha256("another robot")));
        robot.urdf_sha256 = None;
        assert!(card.check(ModelKind::Controller, &robot, None).is_ok());
    }

    #[test]
    fn leaving_the_training_range_is_noticed() {
        let mut card = example();
        let state = |position: [f64; 2], velocity: [f64; 2]| State {
            position: position.into(),
            velocity: velocity.into(),
            ..Default::default()
        };
        assert_eq!(card.first_outside(&state([1.0, -1.0], [0.3, 0.0])), None);
        assert_eq!(card.first_outside(&state([1.0, -1.1], [0.3, 0.0])), Some(1));
        assert_eq!(card.first_outside(&state([1.0, 0.0], [0.31, 0.0])), Some(0));
        assert_eq!(card.first_outside(&state([f64::NAN, 0.0], [0.0, 0.0])), Some(0));
        let states = [state([0.0, 1.0], [2.0, 3.0]), state([-1.0, 1.5], [1.0, 4.0])];
        card.ranges = JointRange::of_states(&states);
        let second = JointRange { position: (1.0, 1.5), velocity: (3.0, 4.0) };
        assert_eq!(card.ranges, [JointRange { position: (-1.0, 0.0), velocity: (1.0, 2.0) }, second]);
        assert!(JointRange::of_states([]).is_empty());
    }
}
