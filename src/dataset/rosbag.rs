//! The messages of a rosbag2 recording as they lie in its files, undecoded. Storage: sqlite3, of all versions since
//! Eloquent (<https://github.com/ros2/rosbag2>, schema of rosbag2_storage_sqlite3). Another storage (MCAP) becomes
//! a second kind of [`Messages`] behind the same [`Bag`].

use super::data;
use crate::error::{Error, Result};
use crate::state::Stamp;
use rusqlite::{Connection, OpenFlags, params};
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Messages fetched at a time.
const PAGE: usize = 512;
const METADATA: &str = "metadata.yaml";

/// A recording of one file or of several in succession, checked and ready to be read.
#[derive(Clone, Debug)]
pub struct Bag {
    path: PathBuf,
    files: Vec<PathBuf>,
    topics: Vec<Topic>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: Arc<str>,
    /// As `sensor_msgs/msg/JointState`.
    pub type_name: Arc<str>,
    pub messages: usize,
}

/// One message, undecoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    pub topic: Arc<str>,
    pub type_name: Arc<str>,
    /// When it was logged.
    pub stamp: Stamp,
    /// With its encapsulation header, as a publisher of serialized messages takes it.
    pub cdr: Vec<u8>,
}

impl Bag {
    /// `path` is a `.db3` file or the folder of a recording.
    pub fn open(path: &Path) -> Result<Self> {
        let files = if path.is_dir() { files_of_folder(path)? } else { vec![path.to_path_buf()] };
        check_metadata(path, &files)?;
        let mut topics = BTreeMap::new();
        for file in &files {
            for (name, type_name, messages) in read_topics(file)? {
                topics.entry((name, type_name)).and_modify(|count| *count += messages).or_insert(messages);
            }
        }
        if topics.values().sum::<usize>() == 0 {
            return Err(data(path, "the bag has no messages"));
        }
        let topic = |((name, type_name), messages): ((String, String), usize)| Topic {
            name: name.into(),
            type_name: type_name.into(),
            messages,
        };
        Ok(Self { path: path.to_path_buf(), files, topics: topics.into_iter().map(topic).collect() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// The messages of one topic, or of all, in the order of logging.
    pub fn messages(&self, topic: Option<&str>) -> Messages {
        Messages {
            files: self.files.iter().cloned().collect(),
            topic: topic.map(str::to_owned),
            current: None,
            page: VecDeque::new(),
        }
    }
}

/// Owned messages, read page by page; after an error it ends.
pub struct Messages {
    files: VecDeque<PathBuf>,
    topic: Option<String>,
    current: Option<Reader>,
    page: VecDeque<RawMessage>,
}

struct Reader {
    path: PathBuf,
    connection: Connection,
    topics: BTreeMap<i64, (Arc<str>, Arc<str>)>,
    /// Stamp and row of the last message of the last page.
    last: (i64, i64),
}

impl Iterator for Messages {
    type Item = Result<RawMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(message) = self.page.pop_front() {
                return Some(Ok(message));
            }
            if self.current.is_none() {
                match Reader::open(self.files.pop_front()?) {
                    Ok(reader) => self.current = Some(reader),
                    Err(error) => return self.end(error),
                }
            }
            match self.current.as_mut()?.page(self.topic.as_deref()) {
                Ok(page) if page.is_empty() => self.current = None,
                Ok(page) => self.page = page,
                Err(error) => return self.end(error),
            }
        }
    }
}

impl Messages {
    fn end(&mut self, error: Error) -> Option<Result<RawMessage>> {
        self.files.clear();
        self.current = None;
        Some(Err(error))
    }
}

impl Reader {
    fn open(path: PathBuf) -> Result<Self> {
        let connection = connect(&path)?;
        let topics = query(&path, &connection, "SELECT id, name, type FROM topics", |row| {
            let (id, name, type_name): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((id, (name.into(), type_name.into())))
        })?;
        Ok(Self { path, connection, topics: topics.into_iter().collect(), last: (i64::MIN, i64::MIN) })
    }

    fn page(&mut self, topic: Option<&str>) -> Result<VecDeque<RawMessage>> {
        let refused = |error: rusqlite::Error| data(&self.path, format!("sqlite3: {error}"));
        let sql = "SELECT m.timestamp, m.id, m.topic_id, m.data FROM messages m \
                   JOIN topics t ON t.id = m.topic_id \
                   WHERE (m.timestamp, m.id) > (?1, ?2) AND (?3 IS NULL OR t.name = ?3) \
                   ORDER BY m.timestamp, m.id LIMIT ?4";
        let mut statement = self.connection.prepare_cached(sql).map_err(refused)?;
        let mut rows =
            statement.query(params![self.last.0, self.last.1, topic, PAGE as i64]).map_err(refused)?;
        let mut page = VecDeque::new();
        while let Some(row) = rows.next().map_err(refused)? {
            self.last = (row.get(0).map_err(refused)?, row.get(1).map_err(refused)?);
            let id: i64 = row.get(2).map_err(refused)?;
            let Some((topic, type_name)) = self.topics.get(&id).cloned() else { continue };
            let cdr = row.get(3).map_err(refused)?;
            page.push_back(RawMessage { topic, type_name, stamp: Stamp(self.last.0), cdr });
        }
        Ok(page)
    }
}

/// Reads only. A file that nobody is writing is opened as immutable, which leaves no lock and works in folders that
/// cannot be written; not so one with a write-ahead log, whose messages would be missed.
fn connect(path: &Path) -> Result<Connection> {
    if !path.is_file() {
        return Err(data(path, "there is no such file"));
    }
    let text = path.to_string_lossy();
    let log = std::fs::metadata(format!("{text}-wal")).map_or(0, |log| log.len());
    let escaped: String = text
        .chars()
        .map(|letter| match letter {
            '%' => "%25".into(),
            '?' => "%3f".into(),
            '#' => "%23".into(),
            letter => letter.to_string(),
        })
        .collect();
    let uri = format!("file:{escaped}?mode=ro{}", if log > 0 { "" } else { "&immutable=1" });
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri, flags).map_err(|error| data(path, format!("sqlite3: {error}")))
}

fn query<T>(
    path: &Path,
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let refused = |error: rusqlite::Error| data(path, format!("not a readable rosbag2 database: {error}"));
    let mut statement = connection.prepare(sql).map_err(refused)?;
    let rows = statement.query_map([], read).map_err(refused)?;
    rows.collect::<rusqlite::Result<_>>().map_err(refused)
}

/// Name, type and number of messages; any serialization but CDR is refused.
fn read_topics(path: &Path) -> Result<Vec<(String, String, usize)>> {
    let connection = connect(path)?;
    let sql = "SELECT name, type, serialization_format, (SELECT COUNT(*) FROM messages WHERE topic_id = topics.id) \
               FROM topics";
    let topics: Vec<(String, String, String, i64)> =
        query(path, &connection, sql, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    topics
        .into_iter()
        .map(|(name, type_name, format, messages)| {
            check_format(path, &name, &format)?;
            Ok((name, type_name, usize::try_from(messages).unwrap_or(0)))
        })
        .collect()
}

fn check_format(path: &Path, topic: &str, format: &str) -> Result<()> {
    match format {
        "cdr" => Ok(()),
        other => Err(data(path, format!("topic {topic} is serialized as '{other}', expected 'cdr'"))),
    }
}

/// The part of metadata.yaml that matters here; its version decides what else is in it.
#[derive(Deserialize)]
struct Metadata {
    rosbag2_bagfile_information: Information,
}

#[derive(Deserialize)]
struct Information {
    #[serde(default)]
    storage_identifier: String,
    #[serde(default)]
    relative_file_paths: Vec<String>,
    #[serde(default)]
    compression_mode: String,
    #[serde(default)]
    topics_with_message_count: Vec<TopicInformation>,
}

#[derive(Deserialize)]
struct TopicInformation {
    topic_metadata: TopicMetadata,
}

#[derive(Deserialize)]
struct TopicMetadata {
    name: String,
    serialization_format: String,
}

fn read_metadata(folder: &Path) -> Result<Option<Information>> {
    let path = folder.join(METADATA);
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    let metadata: Metadata = serde_yaml::from_str(&text).map_err(|error| data(&path, error.to_string()))?;
    Ok(Some(metadata.rosbag2_bagfile_information))
}

/// The database files of a recording's folder, in succession.
fn files_of_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    if let Some(information) = read_metadata(folder)? {
        // version 2 has the folder's name before the file's
        let names = information.relative_file_paths.iter().filter_map(|path| Path::new(path).file_name());
        let files: Vec<PathBuf> = names.map(|name| folder.join(name)).collect();
        return match (information.storage_identifier.as_str(), files.is_empty()) {
            ("sqlite3", false) => Ok(files),
            ("sqlite3", true) => Err(data(folder, "metadata.yaml names no files")),
            (other, _) => Err(data(folder, format!("its storage is '{other}'; only sqlite3 can be read"))),
        };
    }
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "db3"));
    files.sort();
    if files.is_empty() {
        return Err(data(folder, "there is no metadata.yaml and no .db3 file in the folder"));
    }
    Ok(files)
}

/// What metadata.yaml says against reading `files`, if there is one beside them.
fn check_metadata(path: &Path, files: &[PathBuf]) -> Result<()> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
    let Some(information) = read_metadata(folder)? else { return Ok(()) };
    let is_of_these = |name: &String| {
        let name = Path::new(name).file_name();
        files.iter().any(|file| file.file_name() == name)
    };
    if !information.relative_file_paths.iter().any(is_of_these) {
        return Ok(()); // it belongs to other files
    }
    match information.compression_mode.to_lowercase().as_str() {
        "" | "none" => (),
        mode => {
            return Err(data(
                path,
                format!("it is compressed by {mode}; decompress it with ros2 bag convert"),
            ));
        }
    }
    let topics = information.topics_with_message_count.iter().map(|topic| &topic.topic_metadata);
    topics.into_iter().try_for_each(|topic| check_format(path, &topic.name, &topic.serialization_format))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::data_folder;

    #[test]
    fn every_recorded_database_is_read_or_refused_with_a_reason() {
        let Some(folder) = data_folder() else { return };
        let mut files = Vec::new();
        let mut folders = vec![folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "db3") {
                    files.push(path);
                }
            }
        }
        assert!(files.len() >= 18, "{} files", files.len());
        for file in files {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            let bag = match (name.as_str(), Bag::open(&file)) {
                ("wrong_rmw_test_0.db3", Err(error)) => {
                    assert!(error.to_string().contains("serialized as 'wrong_format', expected 'cdr'"));
                    continue;
                }
                ("empty_bag_0.db3", Err(error)) => {
                    assert!(error.to_string().ends_with("the bag has no messages"));
                    continue;
                }
                (_, bag) => bag.unwrap(),
            };
            let messages: Vec<RawMessage> = bag.messages(None).map(|message| message.unwrap()).collect();
            assert_eq!(
                messages.len(),
                bag.topics().iter().map(|topic| topic.messages).sum::<usize>(),
                "{name}"
            );
            assert!(messages.windows(2).all(|pair| pair[0].stamp <= pair[1].stamp), "{name}");
            let topic = &bag.topics()[0];
            let of_topic = bag.messages(Some(&topic.name)).map(|message| message.unwrap());
            assert_eq!(
                of_topic.filter(|message| message.type_name == topic.type_name).count(),
                topic.messages
            );
        }
    }

    #[test]
    fn a_split_recording_is_read_in_succession() {
        let Some(folder) = data_folder() else { return };
        let bag =
            Bag::open(&folder.join("bags_rosbag2_tests/rosbag2_py/test/resources/sqlite3/wbag")).unwrap();
        assert_eq!(bag.messages(None).count(), 6074);
        let bag = Bag::open(&folder.join("bag_foxy_v2/rosbag2_test")).unwrap();
        assert_eq!(bag.messages(Some("/imu")).count(), 1565);
        let error = Bag::open(&folder.join("bags_alltypes/test_bag_mcap")).unwrap_err().to_string();
        assert!(error.ends_with("its storage is 'mcap'; only sqlite3 can be read"));
    }

    #[test]
    fn what_is_no_bag_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd #name?.db3");
        let refused = |path: &Path| Bag::open(path).unwrap_err().to_string();
        assert!(refused(&path).ends_with("there is no such file"));
        std::fs::write(&path, "not a database at all, only text").unwrap();
        assert!(refused(&path).contains("not a readable rosbag2 database"));
        std::fs::write(&path, "").unwrap();
        assert!(refused(&path).contains("no such table"));
        assert!(refused(tempfile::tempdir().unwrap().path()).contains("no .db3 file in the folder"));
    }
}
