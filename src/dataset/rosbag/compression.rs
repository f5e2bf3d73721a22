//! The two compressions of rosbag2: of whole files (`.db3.zstd`, `.mcap.zstd`) and of single messages.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// The first bytes of what zstd has compressed; no CDR begins so.
pub const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A message that is larger than this is not unpacked.
const LARGEST_MESSAGE: u64 = 1 << 28;

/// The first bytes of a file.
pub fn first_bytes(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::io(path))?;
    file.take(16).read_to_end(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

/// Unpacks a file into a temporary one; with it comes what was wrong if it could not be unpacked to its end.
pub fn unpack_file(path: &Path) -> Result<(NamedTempFile, Option<String>)> {
    let mut unpacked = NamedTempFile::new().map_err(Error::io(std::env::temp_dir()))?;
    let packed = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let mut decoder = zstd::Decoder::with_buffer(packed).map_err(Error::io(path))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return Ok((unpacked, None)),
            Ok(length) => {
                let place = unpacked.path().to_path_buf();
                unpacked.write_all(&buffer[..length]).map_err(Error::io(place))?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Ok((unpacked, Some(error.to_string()))),
        }
    }
}

/// The bytes of a message that may be compressed.
pub fn unpack_message(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    if !bytes.starts_with(&ZSTD_MAGIC) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    zstd::Decoder::with_buffer(&bytes[..])?.take(LARGEST_MESSAGE).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}
