//! metadata.yaml of a recording's folder, of all versions: a hint at the files, never needed.

use crate::error::{Error, Result};
use serde::Deserialize;
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub const FILE_NAME: &str = "metadata.yaml";
/// Far beyond any real one.
const LARGEST: u64 = 16 << 20;

/// The part of it that matters here; its version decides what else is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Metadata {
    pub storage_identifier: String,
    pub relative_file_paths: Vec<String>,
    pub message_count: u64,
}

#[derive(Deserialize)]
struct Document {
    rosbag2_bagfile_information: Metadata,
}

impl Metadata {
    /// `None` if there is none; what is wrong with it if it cannot be used.
    pub fn read(folder: &Path) -> Result<Option<std::result::Result<Self, String>>> {
        let path = folder.join(FILE_NAME);
        if !path.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(Error::io(&path))?;
        file.take(LARGEST).read_to_end(&mut bytes).map_err(Error::io(&path))?;
        Ok(Some(Self::parse(&bytes)))
    }

    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let document: Document = serde_yaml::from_slice(bytes).map_err(|error| error.to_string())?;
        Ok(document.rosbag2_bagfile_information)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_metadata_is_named() {
        let text = b"rosbag2_bagfile_information:\n  version: 2\n  relative_file_paths: [a/b.db3]\n";
        assert_eq!(Metadata::parse(text).unwrap().relative_file_paths, ["a/b.db3"]);
        assert!(Metadata::parse(b"other: 1").unwrap_err().contains("rosbag2_bagfile_information"));
        assert!(Metadata::parse(b"\xff\x00 [").is_err());
    }
}
