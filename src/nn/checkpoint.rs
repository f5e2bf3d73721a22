//! A model as bytes: safetensors (<https://github.com/huggingface/safetensors>) with a [`Card`] in its metadata.
//! A file on disk and the weights sent from learner to controller are the same bytes, read by the same checks.

use crate::error::{Error, Result};
use crate::files;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

/// Tensors by name; all f32 and finite.
pub type Tensors = BTreeMap<String, Tensor>;

/// The card's key in the safetensors metadata.
const CARD_KEY: &str = "learned_control";
/// Far above any network that runs in a control loop; bounds what a hostile file or message makes us read.
const MAX_BYTES: usize = 64 << 20;
const MAX_RANK: usize = 4;
/// Two sampling times are the same when they differ by less than this share.
const DT_TOLERANCE: f64 = 1e-6;

/// What a model was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    Predictor,
    Controller,
}

impl fmt::Display for ModelKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Predictor => "predictor",
            Self::Controller => "controller",
        })
    }
}

/// What has to be known to use the weights rightly, and where they come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    pub kind: ModelKind,
    /// Names in the order of the network's inputs and outputs.
    pub joints: Vec<String>,
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
    /// Figures by name, e.g. `rmse_500ms`.
    pub evaluation: BTreeMap<String, f64>,
    pub note: String,
}

impl Card {
    /// Refuses a model of another kind, for other joints (the order counts), or for another sampling time `dt` [s].
    pub fn check(&self, kind: ModelKind, joints: &[String], dt: Option<f64>) -> Result<()> {
        if self.kind != kind {
            return Err(Error::mismatch("kind of the model", self.kind, kind));
        }
        if self.joints != joints {
            let what = format!("joints of the {kind} model ({})", name_differences(&self.joints, joints));
            return Err(Error::mismatch(what, self.joints.join(", "), joints.join(", ")));
        }
        match dt {
            Some(dt) if (self.dt - dt).abs() > DT_TOLERANCE * dt.abs() => {
                Err(Error::mismatch(format!("sampling time of the {kind} model [s]"), self.dt, dt))
            }
            _ => Ok(()),
        }
    }

    /// The network's configuration in its type.
    pub fn network<Config: serde::de::DeserializeOwned>(&self, origin: &str) -> Result<Config> {
        serde_json::from_value(self.network.clone())
            .map_err(|error| refuse(origin, format!("its network configuration does not fit: {error}")))
    }

    /// JSON has no NaN: a card that could be written but not read again is refused.
    fn validate(&self, origin: &str) -> Result<()> {
        if !(self.dt.is_finite() && self.dt > 0.0) {
            return Err(refuse(origin, format!("dt of its card is {} s, not above zero", self.dt)));
        }
        match self.evaluation.iter().find(|(_, value)| !value.is_finite()) {
            Some((name, value)) => Err(refuse(origin, format!("evaluation '{name}' of its card is {value}"))),
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

fn refuse(origin: &str, problem: impl Into<String>) -> Error {
    Error::Model { origin: origin.into(), problem: problem.into() }
}

/// The same card and tensors always give the same bytes.
pub fn to_bytes(card: &Card, tensors: &Tensors) -> Result<Vec<u8>> {
    let origin = "to be written";
    card.validate(origin)?;
    let text = serde_json::to_string(card).map_err(|error| refuse(origin, error.to_string()))?;
    let mut data = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        data.push((name, tensor.dims(), tensor_bytes(name, tensor)?));
    }
    let mut views = Vec::with_capacity(data.len());
    for (name, shape, bytes) in &data {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes)
            .map_err(|error| refuse(origin, format!("tensor '{name}': {error}")))?;
        views.push((name.as_str(), view));
    }
    let metadata = HashMap::from([(CARD_KEY.to_owned(), text)]);
    let bytes =
        safetensors::serialize(views, Some(metadata)).map_err(|error| refuse(origin, error.to_string()))?;
    check_size(bytes.len() as u64, origin)?;
    Ok(bytes)
}

/// Little-endian f32 of a finite f32 tensor of any shape.
fn tensor_bytes(name: &str, tensor: &Tensor) -> Result<Vec<u8>> {
    if tensor.dtype() != DType::F32 {
        let what = format!("type of tensor '{name}'");
        return Err(Error::mismatch(what, tensor.dtype().as_str(), "f32"));
    }
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(Error::NotFinite { what: format!("tensor '{name}'"), value: f64::from(*value) });
    }
    Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// Reads what [`to_bytes`] wrote; `origin` (a path or a topic) is for the messages. No input makes it panic.
pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<(Card, Tensors)> {
    check_size(bytes.len() as u64, origin)?;
    let refused = |error: safetensors::SafeTensorError| {
        refuse(origin, format!("its {} bytes are damaged or not safetensors: {error}", bytes.len()))
    };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(refused)?;
    let text = metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(CARD_KEY))
        .ok_or_else(|| refuse(origin, format!("it has no card (no '{CARD_KEY}' in its metadata)")))?;
    let card: Card = serde_json::from_str(text)
        .map_err(|error| refuse(origin, format!("its card is not readable: {error}")))?;
    card.validate(origin)?;
    let mut tensors = Tensors::new();
    for (name, view) in SafeTensors::deserialize(bytes).map_err(refused)?.tensors() {
        let tensor = read_tensor(&name, &view, origin)?;
        tensors.insert(name, tensor);
    }
    Ok((card, tensors))
}

fn check_size(bytes: u64, origin: &str) -> Result<()> {
    if bytes > MAX_BYTES as u64 {
        return Err(refuse(origin, format!("it has {bytes} bytes, above the limit of {MAX_BYTES}")));
    }
    Ok(())
}

fn read_tensor(name: &str, view: &TensorView<'_>, origin: &str) -> Result<Tensor> {
    if view.dtype() != Dtype::F32 {
        return Err(refuse(origin, format!("tensor '{name}' is of type {}, expected F32", view.dtype())));
    }
    let shape = view.shape();
    if shape.len() > MAX_RANK || shape.contains(&0) {
        return Err(refuse(origin, format!("tensor '{name}' has the shape {shape:?}")));
    }
    let (words, _) = view.data().as_chunks::<4>();
    let values: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(refuse(origin, format!("tensor '{name}' holds {} at {index}", values[index])));
    }
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// Writes so that a reader sees the old file or the new one, never a part.
pub fn save(path: &Path, card: &Card, tensors: &Tensors) -> Result<()> {
    files::replace(path, &to_bytes(card, tensors)?)
}

pub fn load(path: &Path) -> Result<(Card, Tensors)> {
    let origin = path.display().to_string();
    check_size(std::fs::metadata(path).map_err(Error::io(path))?.len(), &origin)?;
    from_bytes(&std::fs::read(path).map_err(Error::io(path))?, &origin)
}

/// The tensors as Candle's constructors want them.
pub fn var_builder(tensors: &Tensors) -> VarBuilder<'static> {
    let tensors = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn example() -> (Card, Tensors) {
        let card = Card {
            kind: ModelKind::Predictor,
            joints: vec!["shoulder".into(), "elbow".into()],
            dt: 0.01,
            urdf_sha256: None,
            network: json!({"hidden": 3, "scale": 0.1}),
            revision: 7,
            parent: Some(6),
            evaluation: BTreeMap::from([("rmse_500ms".into(), 1.0 / 3.0)]),
            note: "test".into(),
        };
        let tensor =
            |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        let tensors = Tensors::from([
            ("head.weight".into(), tensor(&[1.0, -0.0, f32::MIN_POSITIVE, 0.1, 1e-40, 3e38], &[2, 3])),
            ("head.bias".into(), tensor(&[0.5, -2.0], &[2])),
        ]);
        (card, tensors)
    }

    fn bits(tensors: &Tensors) -> Vec<(String, Vec<usize>, Vec<u32>)> {
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        tensors
            .iter()
            .map(|(name, tensor)| {
                (
                    name.clone(),
                    tensor.dims().to_vec(),
                    values(tensor).iter().map(|value| value.to_bits()).collect(),
                )
            })
            .collect()
    }

    #[test]
    fn what_is_written_is_read_bit_for_bit() {
        let (card, tensors) = example();
        let bytes = to_bytes(&card, &tensors).unwrap();
        let (card_read, tensors_read) = from_bytes(&bytes, "test").unwrap();
        assert_eq!(card_read, card);
        assert_eq!(bits(&tensors_read), bits(&tensors));
        assert_eq!(to_bytes(&card_read, &tensors_read).unwrap(), bytes);
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let (mut card, tensors) = example();
        save(&path, &card, &tensors).unwrap();
        card.revision = 8;
        save(&path, &card, &tensors).unwrap();
        let (card_read, tensors_read) = load(&path).unwrap();
        assert_eq!(card_read.revision, 8);
        assert_eq!(bits(&tensors_read), bits(&tensors));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left");
        assert!(load(&folder.path().join("none")).unwrap_err().to_string().contains("none"));
    }

    #[test]
    fn damaged_bytes_are_refused_without_panic() {
        let (card, tensors) = example();
        let bytes = to_bytes(&card, &tensors).unwrap();
        for length in 0..bytes.len() {
            assert!(from_bytes(&bytes[..length], "test").is_err(), "truncated at {length}");
        }
        for index in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[index] ^= flip;
                let _ = from_bytes(&damaged, "test"); // some are still valid, none may panic
            }
        }
        assert!(from_bytes(&[0xff; 64], "test").is_err());
    }

    #[test]
    fn only_finite_f32_of_sane_shape_is_accepted() {
        let (card, mut tensors) = example();
        let nan = Tensor::new(&[1f32, f32::NAN], &Device::Cpu).unwrap();
        tensors.insert("bad".into(), nan);
        assert!(to_bytes(&card, &tensors).unwrap_err().to_string().contains("tensor 'bad' is not finite"));
        tensors.insert("bad".into(), Tensor::new(&[1f64], &Device::Cpu).unwrap());
        assert!(to_bytes(&card, &tensors).unwrap_err().to_string().contains("found f64, expected f32"));

        let written = |dtype: Dtype, shape: Vec<usize>, data: &[u8], with_card: bool| {
            let view = TensorView::new(dtype, shape, data).unwrap();
            let text = serde_json::to_string(&card).unwrap();
            let metadata = with_card.then(|| HashMap::from([(CARD_KEY.to_owned(), text)]));
            let bytes = safetensors::serialize([("w", view)], metadata).unwrap();
            from_bytes(&bytes, "~/weights").unwrap_err().to_string()
        };
        let nan = f32::NAN.to_le_bytes();
        assert_eq!(written(Dtype::F32, vec![1], &nan, true), "model ~/weights: tensor 'w' holds NaN at 0");
        assert!(written(Dtype::F64, vec![1], &[0; 8], true).contains("'w' is of type F64, expected F32"));
        assert!(written(Dtype::F32, vec![0, usize::MAX], &[], true).contains("shape [0, "));
        assert!(written(Dtype::F32, vec![1], &[0; 4], false).contains("no card"));
    }

    #[test]
    fn cards_that_json_cannot_hold_are_refused() {
        let (mut card, tensors) = example();
        card.evaluation.insert("skill".into(), f64::NAN);
        assert!(to_bytes(&card, &tensors).unwrap_err().to_string().contains("'skill'"));
        card.evaluation.clear();
        card.dt = 0.0;
        assert!(to_bytes(&card, &tensors).unwrap_err().to_string().contains("dt of its card is 0 s"));
    }

    #[test]
    fn a_mismatch_says_what_differs() {
        let (card, _) = example();
        let check = |kind, joints: &[&str], dt| {
            let joints: Vec<String> = joints.iter().map(|&name| name.into()).collect();
            card.check(kind, &joints, dt).map_err(|error| error.to_string())
        };
        assert_eq!(check(ModelKind::Predictor, &["shoulder", "elbow"], Some(0.01)), Ok(()));
        assert_eq!(check(ModelKind::Predictor, &["shoulder", "elbow"], None), Ok(()));
        assert_eq!(
            check(ModelKind::Predictor, &["shoulder", "wrist"], None).unwrap_err(),
            "joints of the predictor model (missing wrist; unknown elbow): found shoulder, elbow, expected shoulder, wrist"
        );
        assert!(
            check(ModelKind::Predictor, &["elbow", "shoulder"], None).unwrap_err().contains("another order")
        );
        assert_eq!(
            check(ModelKind::Predictor, &["shoulder", "elbow"], Some(0.02)).unwrap_err(),
            "sampling time of the predictor model [s]: found 0.01, expected 0.02"
        );
        assert_eq!(
            check(ModelKind::Controller, &[], None).unwrap_err(),
            "kind of the model: found predictor, expected controller"
        );
    }
}
