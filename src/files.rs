//! Files that a reader sees old or new, never in part; and what is in files, as a number.

use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Writes `bytes` to `path`, replacing what is there in one step.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = Replacement::new(path)?;
    file.write_all(bytes).map_err(Error::io(path))?;
    file.commit()
}

/// A file that takes the place of another, or of none, when it is complete: temporary file beside it, fsync, rename,
/// fsync of the folder. Dropped before that, it is gone; a process that is killed leaves it as `.partial-...`.
pub struct Replacement {
    path: PathBuf,
    folder: PathBuf,
    file: NamedTempFile,
}

impl Replacement {
    pub fn new(path: &Path) -> Result<Self> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(".partial-")
            .permissions(Permissions::from_mode(0o666)) // less the umask, as for any other file
            .tempfile_in(folder)
            .map_err(Error::io(folder))?;
        Ok(Self { path: path.to_path_buf(), folder: folder.to_path_buf(), file })
    }

    pub fn commit(self) -> Result<()> {
        let Self { path, folder, file } = self;
        file.as_file().sync_all().map_err(Error::io(&path))?;
        file.persist(&path).map_err(|error| Error::io(&path)(error.error))?;
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(Error::io(&folder))
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// SHA-256 of `bytes` as 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(Sha256::digest(bytes).as_slice())
}

/// SHA-256 of a file's contents, which are not held in memory, as 64 hexadecimal digits.
pub fn sha256_of_file(path: &Path) -> Result<String> {
    let mut hasher = Hasher(Sha256::new());
    let mut file = File::open(path).map_err(Error::io(path))?;
    std::io::copy(&mut file, &mut hasher).map_err(Error::io(path))?;
    Ok(hexadecimal(hasher.0.finalize().as_slice()))
}

/// What is written into it is hashed.
struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_old_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        replace(&path, b"old").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_has_the_hash_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // of FIPS 180-2
        assert_eq!((sha256(b"abc").as_str(), sha256_of_file(&path).unwrap().as_str()), (expected, expected));
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = replace(Path::new("/nonexistent/report.html"), b"").unwrap_err().to_string();
        assert!(error.contains("/nonexistent"), "{error}");
    }
}
