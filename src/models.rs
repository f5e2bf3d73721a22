//! The weights that were in use before: the last N, in memory and, where a folder is given, in files that survive a
//! restart. A file is written beside its name and moved there when it is complete; a damaged one is left alone and told
//! of.

use crate::error::{Error, Result};
use crate::files;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".safetensors";

/// Weights as bytes, with the place they can be found again.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Counts up, across restarts.
    pub number: u64,
    /// A topic, or the path of a file.
    pub origin: String,
    pub bytes: Vec<u8>,
}

/// See the module. The newest is the one to go back to.
#[derive(Debug)]
pub struct ModelHistory {
    folder: Option<PathBuf>,
    /// The files are `<name>_<number>.safetensors`.
    name: String,
    capacity: usize,
    kept: VecDeque<Kept>,
    next: u64,
}

impl ModelHistory {
    /// With `folder`, reads what was kept there under `name` and passes `check` (bytes, path); the second value tells of the
    /// files that could not be used and why. Keeps at most `capacity` of them, 1 at least.
    pub fn open(
        folder: Option<&Path>,
        name: &str,
        capacity: usize,
        check: impl Fn(&[u8], &str) -> Result<()>,
    ) -> Result<(Self, Vec<String>)> {
        let mut history = Self {
            folder: folder.map(Path::to_path_buf),
            name: name.into(),
            capacity: capacity.max(1),
            kept: VecDeque::new(),
            next: 1,
        };
        let mut problems = Vec::new();
        let Some(folder) = folder else { return Ok((history, problems)) };
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        for (number, path) in numbered_files(folder, name)? {
            history.next = history.next.max(number + 1);
            match read_usable(&path, &check) {
                Ok(bytes) => {
                    history.kept.push_back(Kept { number, origin: path.display().to_string(), bytes });
                }
                Err(error) => problems.push(format!("kept weights not used: {error}")),
            }
        }
        let surplus = history.kept.len().saturating_sub(history.capacity);
        history.kept.drain(..surplus);
        Ok((history, problems))
    }

    /// Of weights that last as long as the program.
    pub fn in_memory(capacity: usize) -> Self {
        Self { folder: None, name: String::new(), capacity: capacity.max(1), kept: VecDeque::new(), next: 1 }
    }

    pub fn len(&self) -> usize {
        self.kept.len()
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The newest that is kept.
    pub fn newest(&self) -> Option<&Kept> {
        self.kept.back()
    }

    /// Keeps `bytes`, which came from `origin`; the oldest of too many goes, its file, too. On an error of the file
    /// system they are kept in memory all the same.
    pub fn keep(&mut self, bytes: Vec<u8>, origin: &str) -> Result<&Kept> {
        let number = self.next;
        self.next += 1;
        let path = self.path(number);
        let origin = path.as_ref().map_or(origin.to_owned(), |path| path.display().to_string());
        let written = path.map_or(Ok(()), |path| files::replace(&path, &bytes));
        self.kept.push_back(Kept { number, origin, bytes });
        let mut removed = Ok(());
        while self.kept.len() > self.capacity {
            // on a full disk the older ones stay
            if let Some(oldest) = self.kept.pop_front().filter(|_| written.is_ok()) {
                removed = self.remove(oldest.number).and(removed);
            }
        }
        written.and(removed)?;
        self.kept.back().ok_or_else(|| Error::mismatch("kept weights", "none", "the ones just kept"))
    }

    /// Gives back the newest that is kept and forgets it, so that the next time it is the one before.
    pub fn roll_back(&mut self) -> Result<Option<Kept>> {
        match self.kept.pop_back() {
            Some(kept) => {
                self.remove(kept.number)?;
                Ok(Some(kept))
            }
            None => Ok(None),
        }
    }

    fn path(&self, number: u64) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(format!("{}_{number:06}{SUFFIX}", self.name)))
    }

    fn remove(&self, number: u64) -> Result<()> {
        match self.path(number) {
            Some(path) if path.exists() => std::fs::remove_file(&path).map_err(Error::io(path)),
            _ => Ok(()),
        }
    }
}

/// The files of a history in the order of their numbers; all else in the folder is none of its business.
fn numbered_files(folder: &Path, name: &str) -> Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        let number = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('_'));
        let number = number.and_then(|rest| rest.strip_suffix(SUFFIX));
        if let Some(Ok(number)) = number.map(str::parse) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}

fn read_usable(path: &Path, check: impl Fn(&[u8], &str) -> Result<()>) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    check(&bytes, &path.display().to_string())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::ResidualModel;
    use crate::learner::{Learner, LearnerConfig, Sample};
    use crate::robot::Robot;
    use crate::state::Stamp;

    fn open(folder: Option<&Path>, capacity: usize, robot: &Robot) -> Result<(ModelHistory, Vec<String>)> {
        let check = |bytes: &[u8], origin: &str| ResidualModel::from_bytes(bytes, origin, robot).map(drop);
        ModelHistory::open(folder, "controller", capacity, check)
    }

    fn robot() -> Robot {
        let mut robot = Robot::of_joints(&["elbow".into()]);
        robot.limits.effort = vec![100.0];
        robot
    }

    /// Weights that the controller takes.
    fn weights() -> Vec<u8> {
        let config = LearnerConfig { hidden: vec![4], ..Default::default() };
        let mut learner = Learner::new(config, &robot()).unwrap();
        for k in 0..3000 {
            let t = 0.002 * k as f64;
            let mut sample = Sample::zeros(1);
            sample.stamp = Stamp::from_seconds(t);
            (sample.position[0], sample.velocity[0]) = (t.sin(), t.cos());
            (sample.reference_position[0], sample.reference_velocity[0]) = (t.sin(), t.cos());
            sample.effort[0] = 5.0;
            learner.observe(sample);
            learner.step().unwrap();
        }
        learner.update().unwrap().unwrap().bytes
    }

    #[test]
    fn the_last_ones_survive_a_restart_and_are_given_back_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let (robot, bytes) = (robot(), weights());
        let open = || open(Some(folder.path()), 3, &robot).unwrap();
        let (mut history, problems) = open();
        assert!(history.is_empty() && problems.is_empty());
        for number in 1..=5 {
            assert_eq!(history.keep(bytes.clone(), "~/weights").unwrap().number, number);
        }
        let (mut history, problems) = open();
        assert!(problems.is_empty() && history.len() == 3, "{problems:?}");
        assert_eq!(history.newest().unwrap().number, 5);
        let numbers: Vec<u64> =
            std::iter::from_fn(|| history.roll_back().unwrap()).map(|kept| kept.number).collect();
        assert_eq!(numbers, [5, 4, 3]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(history.keep(bytes, "~/weights").unwrap().number, 6, "numbers are not used twice");
    }

    #[test]
    fn a_damaged_file_is_told_of_and_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let (robot, bytes) = (robot(), weights());
        let (mut history, _) = open(Some(folder.path()), 3, &robot).unwrap();
        history.keep(bytes.clone(), "~/weights").unwrap();
        std::fs::write(folder.path().join("controller_000002.safetensors"), &bytes[..bytes.len() / 2])
            .unwrap();
        std::fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        let (mut history, problems) = open(Some(folder.path()), 3, &robot).unwrap();
        assert!(problems.len() == 1 && problems[0].contains("controller_000002"), "{problems:?}");
        assert_eq!((history.len(), history.newest().unwrap().bytes.len()), (1, bytes.len()));
        assert_eq!(
            history.keep(bytes, "~/weights").unwrap().number,
            3,
            "the damaged file is not written over"
        );
        let other = Robot::of_joints(&["knee".into()]);
        let (history, problems) = open(Some(folder.path()), 3, &other).unwrap();
        assert!(history.is_empty() && problems.len() == 3, "another robot's: {problems:?}");
    }

    #[test]
    fn without_a_folder_it_lasts_as_long_as_the_program() {
        let (mut history, _) = open(None, 2, &robot()).unwrap();
        for value in 0..3u8 {
            history.keep(vec![value], "~/weights").unwrap();
        }
        assert_eq!(history.roll_back().unwrap().unwrap().bytes, [2]);
        assert_eq!(history.roll_back().unwrap().unwrap().bytes, [1]);
        assert_eq!(history.roll_back().unwrap(), None);
    }
}
