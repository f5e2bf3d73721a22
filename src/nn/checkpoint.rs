//! A model as bytes: safetensors (<https://github.com/huggingface/safetensors>) with a [`Card`] in its metadata.
//! A file on disk and the weights sent from learner to controller are the same bytes, read by the same checks.

use crate::error::{Error, Result};
use crate::files;
use crate::nn::card::refuse;
pub use crate::nn::card::{Card, DataFile, JointRange, ModelKind};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Tensors by name; all f32 and finite.
pub type Tensors = BTreeMap<String, Tensor>;

/// The card's key in the safetensors metadata.
const CARD_KEY: &str = "learned_control";
/// Far above any network that runs in a control loop. What reading a file allocates is bounded by its size, so these
/// bound what a hostile file or message makes us allocate.
const MAX_BYTES: usize = 64 << 20;
const MAX_HEADER: usize = 1 << 20;
const MAX_TENSORS: usize = 1024;
const MAX_RANK: usize = 4;

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
    check_header(&bytes, origin)?;
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
    check_header(bytes, origin)?;
    let refused = |error: safetensors::SafeTensorError| {
        refuse(origin, format!("its {} bytes are damaged or not safetensors: {error}", bytes.len()))
    };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(refused)?;
    let text = metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(CARD_KEY))
        .ok_or_else(|| refuse(origin, format!("it has no card (no '{CARD_KEY}' in its metadata)")))?;
    let card = Card::read(text, origin)?;
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

/// Refuses what the safetensors library lets pass or would read into memory first: a header that is too long, that
/// names a tensor twice, or that has too many tensors or dimensions.
fn check_header(bytes: &[u8], origin: &str) -> Result<()> {
    let damaged = |problem: String| {
        refuse(origin, format!("its {} bytes are damaged or not safetensors: {problem}", bytes.len()))
    };
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Err(damaged("there is no header".into()));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER as u64 {
        return Err(damaged(format!("a header of {length} bytes, above the limit of {MAX_HEADER}")));
    }
    let Some(header) = rest.get(..length as usize) else {
        return Err(damaged(format!("{} bytes of a header of {length}", rest.len())));
    };
    serde_json::from_slice::<Header>(header).map(drop).map_err(|error| damaged(error.to_string()))
}

/// The header of a safetensors file, read to be checked only.
struct Header;

/// As safetensors writes it; derived, so that each key comes once and no other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // it is enough that it can be read
struct TensorEntry {
    dtype: String,
    shape: Shape,
    data_offsets: (u64, u64),
}

/// At most [`MAX_RANK`] numbers.
struct Shape;

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for Header {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                // Strings by name, else the library refuses them.
                map.next_value::<Metadata>()?;
            } else {
                map.next_value::<TensorEntry>()?;
            }
            if name.contains(char::is_control) {
                return Err(A::Error::custom(format!("{name:?} is no name")));
            }
            if names.len() > MAX_TENSORS {
                return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
            }
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("'{name}' is there twice")));
            }
        }
        Ok(self)
    }
}

/// The entries beside the tensors, each once.
struct Metadata;

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for Metadata {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("metadata by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self, A::Error> {
        let mut names = BTreeSet::new();
        while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("'{name}' is there twice")));
            }
        }
        Ok(self)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_seq(Self)
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a shape of at most {MAX_RANK} numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> std::result::Result<Self, A::Error> {
        let mut rank = 0;
        while sequence.next_element::<u64>()?.is_some() {
            rank += 1;
            if rank > MAX_RANK {
                return Err(A::Error::invalid_length(rank, &self));
            }
        }
        Ok(self)
    }
}

fn read_tensor(name: &str, view: &TensorView<'_>, origin: &str) -> Result<Tensor> {
    if view.dtype() != Dtype::F32 {
        return Err(refuse(origin, format!("tensor '{name}' is of type {}, expected F32", view.dtype())));
    }
    let shape = view.shape();
    if shape.contains(&0) {
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
    from_bytes(&read_file(path)?, &path.display().to_string())
}

/// The bytes of a model file; one that is too large, or no file (a device, a pipe), is refused before it is read.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let origin = path.display().to_string();
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    if !metadata.is_file() {
        return Err(refuse(&origin, "it is not a file"));
    }
    check_size(metadata.len(), &origin)?;
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    let file = File::open(path).map_err(Error::io(path))?;
    // It may have grown meanwhile.
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    check_size(bytes.len() as u64, &origin)?;
    Ok(bytes)
}

/// The tensors as Candle's constructors want them.
pub fn var_builder(tensors: &Tensors) -> VarBuilder<'static> {
    let tensors = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Card, Tensors) {
        let card = crate::nn::card::tests::example();
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
    }

    /// A file with this header, after the length of it, and `data`.
    fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn headers_that_the_library_would_take_are_refused() {
        let card = serde_json::to_string(&serde_json::to_string(&example().0).unwrap()).unwrap();
        let metadata = format!(r#""__metadata__":{{"learned_control":{card}}}"#);
        let entry = |shape: &str| format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[0,4]}}"#);
        let read = |tensors: &str| {
            let bytes = with_header(&format!("{{{metadata},{tensors}}}"), &[0; 4]);
            from_bytes(&bytes, "x").map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(read(&format!(r#""w":{}"#, entry("[1]"))), Ok(()));
        let twice = format!(r#""w":{},"w":{}"#, entry("[1]"), entry("[1, 1]"));
        assert!(read(&twice).unwrap_err().contains("'w' is there twice"));
        let escaped = format!(r#""w":{},"\u0077":{}"#, entry("[1]"), entry("[1]"));
        assert!(read(&escaped).unwrap_err().contains("'w' is there twice"));
        let metadata_twice = format!(r#""w":{},{metadata}"#, entry("[1]"));
        assert!(read(&metadata_twice).unwrap_err().contains("'__metadata__' is there twice"));
        let key_twice = r#""w":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}"#;
        assert!(read(key_twice).unwrap_err().contains("duplicate field `shape`"));
        let dimensions = format!(r#""w":{}"#, entry("[1,1,1,1,1]"));
        assert!(read(&dimensions).unwrap_err().contains("at most 4 numbers"));
        let many: Vec<String> = (0..2000).map(|index| format!(r#""{index}":{}"#, entry("[1]"))).collect();
        assert!(read(&many.join(",")).unwrap_err().contains("more than 1024 tensors"));
        let deep = format!(r#""w":{}{}"#, "[".repeat(9000), "]".repeat(9000));
        assert!(read(&deep).is_err());
        let huge =
            r#""w":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4611686018427387904]}"#;
        assert!(read(huge).is_err());
        let overlap = format!(r#""w":{},"v":{}"#, entry("[1]"), entry("[1]"));
        assert!(read(&overlap).unwrap_err().contains("damaged or not safetensors"));
    }

    #[test]
    fn headers_that_are_too_long_are_refused_by_their_length() {
        let mut bytes = with_header("{}", &[]);
        for (length, reason) in [
            (u64::MAX, "above the limit"),
            (1 << 21, "above the limit"),
            (1000, "2 bytes of a header of 1000"),
        ] {
            bytes[..8].copy_from_slice(&length.to_le_bytes());
            assert!(from_bytes(&bytes, "x").unwrap_err().to_string().contains(reason));
        }
        assert!(from_bytes(&[0; 7], "x").unwrap_err().to_string().contains("no header"));
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let error = load(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(error, "model /dev/zero: it is not a file");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.safetensors");
        File::create(&path).unwrap().set_len(MAX_BYTES as u64 + 1).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("above the limit of 67108864"));
    }
}
