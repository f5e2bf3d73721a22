//! The messages of a rosbag2 recording (<https://github.com/ros2/rosbag2>) as they lie in its files, undecoded,
//! whichever storage they are in. They are read in pieces, so that a recording may be larger than the memory.

mod compression;
pub mod losses;
mod mcap;
pub mod metadata;
mod sqlite;

use super::{check_contents, check_kind, data};
use crate::error::{Error, Result};
use crate::state::Stamp;
pub(super) use compression::first_bytes;
use losses::Losses;
use metadata::Metadata;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempPath;

/// A recording of one file or of several, checked and ready to be read.
#[derive(Clone, Debug)]
pub struct Bag {
    path: PathBuf,
    files: Vec<Arc<File>>,
    topics: Vec<Topic>,
    losses: Losses,
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

/// A topic of one file.
#[derive(Clone, Debug)]
pub(crate) struct TopicCount {
    name: Arc<str>,
    type_name: Arc<str>,
    /// `cdr`, or one that cannot be read.
    encoding: Arc<str>,
    messages: usize,
}

#[derive(Debug)]
struct File {
    contents: Contents,
    /// Where it was unpacked to; removed when it is no longer used.
    _unpacked: Option<TempPath>,
}

#[derive(Debug)]
enum Contents {
    Sqlite(sqlite::File),
    Mcap(mcap::File),
}

enum Reader {
    Sqlite(sqlite::Reader),
    Mcap(mcap::Reader),
}

impl Bag {
    /// `path` is a file of either storage or the folder of a recording.
    pub fn open(path: &Path) -> Result<Self> {
        check_kind(path)?;
        let mut losses = Losses::default();
        let (paths, metadata) = match path.is_dir() {
            true => files_of_folder(path, &mut losses)?,
            false => (vec![path.to_path_buf()], None),
        };
        let mut files = Vec::new();
        let mut refused = None;
        for file in &paths {
            match File::open(file, &mut losses) {
                Ok(file) => files.push(Arc::new(file)),
                Err(error) if paths.len() > 1 => {
                    losses.add("file not readable", error.to_string());
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let (true, Some(error)) = (files.is_empty(), refused) {
            return Err(error);
        }
        files.iter().for_each(|file| losses.extend(file.losses()));
        files.sort_by_key(|file| file.start());
        let topics = merge_topics(path, &files, &mut losses)?;
        let messages: usize = topics.iter().map(|topic| topic.messages).sum();
        match metadata.filter(|metadata| metadata.message_count > 0) {
            _ if messages == 0 && losses.is_empty() => return Err(data(path, "the bag has no messages")),
            _ if messages == 0 => return Err(data(path, format!("the bag has no messages; {losses}"))),
            Some(metadata) if metadata.message_count != messages as u64 => {
                let detail =
                    format!("metadata.yaml counts {}, {messages} were found", metadata.message_count);
                losses.add("number of messages differs", detail);
            }
            _ => (),
        }
        Ok(Self { path: path.to_path_buf(), files, topics, losses })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// What was found missing or damaged when it was opened; [`Messages::losses`] has what the reading finds.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The messages of one topic, or of all, in the order of logging.
    pub fn messages(&self, topic: Option<&str>) -> Messages {
        Messages {
            waiting: self.files.iter().rev().cloned().collect(),
            topic: topic.map(str::to_owned),
            open: Vec::new(),
            losses: Losses::default(),
        }
    }
}

/// Owned messages, read piece by piece; after an error it ends. Damage is no error: what is whole is read.
pub struct Messages {
    /// The earliest is the last.
    waiting: Vec<Arc<File>>,
    topic: Option<String>,
    open: Vec<Open>,
    losses: Losses,
}

/// A file that is being read, with its next message.
struct Open {
    reader: Reader,
    head: RawMessage,
    _file: Arc<File>,
}

impl Iterator for Messages {
    type Item = Result<RawMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.next_message();
        if message.is_err() {
            self.waiting.clear();
            self.open.clear();
        }
        message.transpose()
    }
}

impl Messages {
    /// What could not be read so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    fn next_message(&mut self) -> Result<Option<RawMessage>> {
        loop {
            let earliest = self.open.iter().enumerate().map(|(index, open)| (open.head.stamp, index)).min();
            let is_due = |file: &Arc<File>| earliest.is_none_or(|(stamp, _)| file.start() <= stamp);
            if self.waiting.last().is_some_and(is_due) {
                self.open_next()?;
                continue;
            }
            let Some((_, index)) = earliest else { return Ok(None) };
            let open = &mut self.open[index];
            let next = open.reader.next(&mut self.losses)?;
            return Ok(Some(match next {
                Some(next) => std::mem::replace(&mut open.head, next),
                None => {
                    let open = self.open.remove(index);
                    self.losses.extend(open.reader.losses());
                    open.head
                }
            }));
        }
    }

    fn open_next(&mut self) -> Result<()> {
        let Some(file) = self.waiting.pop() else { return Ok(()) };
        let mut reader = match &file.contents {
            Contents::Sqlite(file) => Reader::Sqlite(file.reader(self.topic.as_deref())?),
            Contents::Mcap(file) => Reader::Mcap(file.reader(self.topic.as_deref())?),
        };
        match reader.next(&mut self.losses)? {
            Some(head) => self.open.push(Open { reader, head, _file: file }),
            None => self.losses.extend(reader.losses()),
        }
        Ok(())
    }
}

impl Reader {
    fn next(&mut self, losses: &mut Losses) -> Result<Option<RawMessage>> {
        loop {
            let next = match self {
                Self::Sqlite(reader) => reader.next()?,
                Self::Mcap(reader) => reader.next()?,
            };
            let Some(message) = next else { return Ok(None) };
            let RawMessage { topic, type_name, stamp, cdr } = message;
            match compression::unpack_message(cdr) {
                Ok(cdr) => return Ok(Some(RawMessage { topic, type_name, stamp, cdr })),
                Err(error) => losses.add("compressed message not readable", format!("of {topic}: {error}")),
            }
        }
    }

    fn losses(&self) -> &Losses {
        match self {
            Self::Sqlite(reader) => reader.losses(),
            Self::Mcap(reader) => reader.losses(),
        }
    }
}

impl File {
    fn open(path: &Path, losses: &mut Losses) -> Result<Self> {
        if !path.is_file() {
            return Err(data(path, "there is no such file"));
        }
        check_contents(path)?;
        if !compression::first_bytes(path)?.starts_with(&compression::ZSTD_MAGIC) {
            return Ok(Self { contents: Contents::open(path, path)?, _unpacked: None });
        }
        let (unpacked, problem) = compression::unpack_file(path)?;
        if let Some(problem) = problem {
            losses.add("compressed file damaged", format!("{}: {problem}", path.display()));
        }
        let unpacked = unpacked.into_temp_path();
        Ok(Self { contents: Contents::open(&unpacked, path)?, _unpacked: Some(unpacked) })
    }

    fn start(&self) -> Stamp {
        match &self.contents {
            Contents::Sqlite(file) => file.start(),
            Contents::Mcap(file) => file.start(),
        }
    }

    fn topics(&self) -> Vec<TopicCount> {
        match &self.contents {
            Contents::Sqlite(file) => file.topics(),
            Contents::Mcap(file) => file.topics(),
        }
    }

    fn losses(&self) -> &Losses {
        match &self.contents {
            Contents::Sqlite(file) => file.losses(),
            Contents::Mcap(file) => file.losses(),
        }
    }
}

impl Contents {
    /// By its first bytes; by the name if these are damaged.
    fn open(path: &Path, named: &Path) -> Result<Self> {
        let first = compression::first_bytes(path)?;
        let name = named.to_string_lossy().to_lowercase();
        match () {
            () if first.is_empty() => Err(data(named, "the file is empty: nothing was recorded")),
            () if first.starts_with(::mcap::MAGIC) => Ok(Self::Mcap(mcap::File::open(path)?)),
            () if first.starts_with(b"SQLite format 3\0") => Ok(Self::Sqlite(sqlite::File::open(path)?)),
            () if name.contains(".mcap") => Ok(Self::Mcap(mcap::File::open(path)?)),
            () => Ok(Self::Sqlite(sqlite::File::open(path)?)),
        }
    }
}

/// Over all files; what is not serialized as CDR is refused if there is nothing else, else left out.
fn merge_topics(path: &Path, files: &[Arc<File>], losses: &mut Losses) -> Result<Vec<Topic>> {
    let all: Vec<TopicCount> = files.iter().flat_map(|file| file.topics()).collect();
    let has_readable = all.iter().any(|topic| &*topic.encoding == "cdr");
    let mut topics: BTreeMap<(Arc<str>, Arc<str>), usize> = BTreeMap::new();
    for topic in all {
        if &*topic.encoding != "cdr" {
            let problem =
                format!("topic {} is serialized as '{}', expected 'cdr'", topic.name, topic.encoding);
            if !has_readable {
                return Err(data(path, problem));
            }
            losses.add("topic not readable", problem);
            continue;
        }
        *topics.entry((topic.name, topic.type_name)).or_default() += topic.messages;
    }
    let topic = |((name, type_name), messages)| Topic { name, type_name, messages };
    Ok(topics.into_iter().map(topic).collect())
}

/// The files of a recording's folder: those that metadata.yaml names if all of them are there, else all there are.
fn files_of_folder(folder: &Path, losses: &mut Losses) -> Result<(Vec<PathBuf>, Option<Metadata>)> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
    let mut present: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    present.retain(|path| path.is_file() && is_storage(path));
    present.sort();
    let metadata = match Metadata::read(folder)? {
        Some(Ok(metadata)) => Some(metadata),
        Some(Err(problem)) => {
            losses.add("metadata.yaml not used", problem);
            None
        }
        None => None,
    };
    if present.is_empty() {
        let of = metadata.map(|metadata| format!(" of storage '{}'", metadata.storage_identifier));
        let bags = bags_within(folder);
        let advice = match bags.is_empty() {
            true => String::new(),
            false => format!(", but in folders of it: name these one by one ({})", bags.join(", ")),
        };
        let problem = format!("no .db3 or .mcap file{} is in the folder{advice}", of.unwrap_or_default());
        return Err(data(folder, problem));
    }
    let Some(metadata) = metadata else { return Ok((present, None)) };
    // version 2 has the folder's name before the file's
    let names = metadata.relative_file_paths.iter().filter_map(|path| Path::new(path).file_name()?.to_str());
    let (mut named, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        let is_it = |path: &&PathBuf| {
            path.file_name().and_then(|file| file.to_str()).map(unpacked_name) == Some(unpacked_name(name))
        };
        match present.iter().find(is_it) {
            Some(path) => named.push(path.clone()),
            None => missing.push(name),
        }
    }
    if missing.is_empty() && !named.is_empty() {
        let others = present.iter().filter(|path| !named.contains(path));
        let others: Vec<String> = others.map(|path| path.display().to_string()).collect();
        if !others.is_empty() {
            let detail = format!("not read; name them by themselves to read them: {}", others.join(", "));
            losses.add("file that metadata.yaml does not name", detail);
        }
        return Ok((named, Some(metadata)));
    }
    if !missing.is_empty() {
        let detail = format!("{}; read instead: all {} in the folder", missing.join(", "), present.len());
        losses.add("file named by metadata.yaml missing", detail);
    }
    Ok((present, Some(metadata)))
}

/// The files that are read of a recording at `path`, a file or a folder.
pub(crate) fn files_read(path: &Path) -> Result<Vec<PathBuf>> {
    match path.is_dir() {
        true => files_of_folder(path, &mut Losses::default()).map(|(files, _)| files),
        false => Ok(vec![path.to_path_buf()]),
    }
}

/// The folders in this one that are bags, by name.
fn bags_within(folder: &Path) -> Vec<String> {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_bag =
        |folder: &Path| entries(folder).any(|entry| is_storage(&entry.path()) && entry.path().is_file());
    let bags = entries(folder).filter(|entry| entry.path().is_dir() && is_bag(&entry.path()));
    let mut names: Vec<String> = bags.map(|bag| bag.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Whether a file is named as one of either storage.
pub(crate) fn is_storage(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    let name = unpacked_name(&name);
    name.ends_with(".db3") || name.ends_with(".mcap")
}

/// A name without the ending of a compressed file.
fn unpacked_name(name: &str) -> &str {
    name.strip_suffix(".zstd").or_else(|| name.strip_suffix(".zst")).unwrap_or(name)
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::data_folder;

    fn storage_files(folder: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => files.extend(storage_files(&path)),
                false => files.extend(is_storage(&path).then_some(path)),
            }
        }
        files.sort();
        files
    }

    #[test]
    fn every_recorded_file_is_read_or_refused_with_a_reason() {
        let Some(folder) = data_folder() else { return };
        let files = storage_files(&folder);
        assert!(files.len() >= 36, "{} files", files.len());
        for file in files {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            let bag = match (name.as_str(), Bag::open(&file)) {
                ("wrong_rmw_test_0.db3" | "wrong_rmw_test_0.mcap", Err(error)) => {
                    assert!(error.to_string().contains("serialized as 'wrong_format', expected 'cdr'"));
                    continue;
                }
                ("empty_bag_0.db3", Err(error)) => {
                    assert!(error.to_string().ends_with("the bag has no messages"));
                    continue;
                }
                (_, bag) => bag.unwrap(),
            };
            let mut reading = bag.messages(None);
            let messages: Vec<RawMessage> = reading.by_ref().map(|message| message.unwrap()).collect();
            assert!(bag.losses().is_empty() && reading.losses().is_empty(), "{name}: {}", bag.losses());
            let counted: usize = bag.topics().iter().map(|topic| topic.messages).sum();
            assert_eq!(messages.len(), counted, "{name}");
            assert!(messages.windows(2).all(|pair| pair[0].stamp <= pair[1].stamp), "{name}");
            for topic in bag.topics() {
                let of_topic: Vec<_> =
                    messages.iter().filter(|message| message.topic == topic.name).collect();
                let alone = bag.messages(Some(&topic.name)).map(|message| message.unwrap());
                assert!(alone.eq(of_topic.into_iter().cloned()), "{name} {}", topic.name);
            }
        }
    }

    #[test]
    fn every_recorded_folder_has_the_messages_that_its_metadata_counts() {
        let Some(folder) = data_folder() else { return };
        let mut folders: Vec<PathBuf> =
            storage_files(&folder).iter().map(|file| file.parent().unwrap().into()).collect();
        folders.dedup();
        let mut with_count = 0;
        for folder in folders.iter().filter(|folder| folder.join(metadata::FILE_NAME).is_file()) {
            let name = folder.display();
            let Ok(bag) = Bag::open(folder) else {
                assert!(folder.ends_with("wrong_rmw_test") || folder.ends_with("empty_bag"), "{name}");
                continue;
            };
            let counted = Metadata::read(folder).unwrap().unwrap().unwrap().message_count;
            assert!(bag.losses().is_empty(), "{name}: {}", bag.losses());
            assert_eq!(bag.messages(None).count() as u64, counted, "{name}");
            with_count += 1;
        }
        assert!(with_count >= 17, "{with_count} folders");
    }

    /// The log stamps and the header's differ: they were written one after the other, the rest is the same.
    #[test]
    fn both_storages_hold_the_same_messages() {
        let Some(folder) = data_folder() else { return };
        let read = |name: &str| -> Vec<RawMessage> {
            let bag = Bag::open(&folder.join("bags_alltypes").join(name)).unwrap();
            bag.messages(None).map(|message| message.unwrap()).collect()
        };
        let (mcap, sqlite) = (read("test_bag_mcap"), read("test_bag_sqlite3"));
        assert_eq!((mcap.len(), sqlite.len()), (188, 188));
        let offset = mcap[0].stamp.0 - sqlite[0].stamp.0;
        for (mcap, sqlite) in mcap.iter().zip(&sqlite) {
            assert_eq!((&mcap.topic, &mcap.type_name), (&sqlite.topic, &sqlite.type_name));
            assert_eq!(
                (mcap.stamp.0 - sqlite.stamp.0, mcap.cdr.len()),
                (offset, sqlite.cdr.len()),
                "{}",
                mcap.topic
            );
            let differing = mcap.cdr.iter().zip(&sqlite.cdr).filter(|(mcap, sqlite)| mcap != sqlite).count();
            assert!(differing <= 12, "{}: {differing} bytes", mcap.topic);
        }
    }

    const STRING: &str = "std_msgs/msg/String";

    /// A database with messages at these times of logging, whose data are their times.
    fn write_database(path: &Path, stamps: impl IntoIterator<Item = i64>) -> rusqlite::Connection {
        let database = rusqlite::Connection::open(path).unwrap();
        let schema =
            "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT);
            CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB);
            CREATE INDEX timestamp_idx ON messages (timestamp ASC);
            INSERT INTO topics VALUES (1, '/a', 'std_msgs/msg/String', 'cdr');";
        database.execute_batch(schema).unwrap();
        for stamp in stamps {
            let sql = "INSERT INTO messages(topic_id, timestamp, data) VALUES (1, ?1, ?2)";
            database.execute(sql, rusqlite::params![stamp, stamp.to_le_bytes()]).unwrap();
        }
        database
    }

    fn stamps(bag: &Bag) -> Vec<i64> {
        let message = |message: Result<RawMessage>| message.unwrap();
        let check = |message: RawMessage| {
            assert_eq!((&*message.type_name, &message.cdr[..]), (STRING, &message.stamp.0.to_le_bytes()[..]));
            message.stamp.0
        };
        bag.messages(None).map(message).map(check).collect()
    }

    fn names(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            entries.map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect();
        files.sort();
        files
    }

    #[test]
    fn what_is_only_in_the_write_ahead_log_is_read_and_nothing_is_changed() {
        let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = folder.path().join("bag_0.db3");
        let database = write_database(&path, []);
        database.pragma_update(None, "journal_mode", "WAL").unwrap();
        database.execute("INSERT INTO messages VALUES (7, 1, 5, ?1)", [5_i64.to_le_bytes()]).unwrap();
        // as a recorder that was killed leaves them
        for name in ["bag_0.db3", "bag_0.db3-wal"] {
            std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
        }
        let before = names(copy.path());
        assert_eq!(before.len(), 2);
        assert_eq!(stamps(&Bag::open(copy.path()).unwrap()), [5]);
        assert!(names(copy.path()) == before);
    }

    #[test]
    fn files_that_overlap_are_read_in_the_order_of_logging() {
        let folder = tempfile::tempdir().unwrap();
        write_database(&folder.path().join("bag_10.db3"), [4, 6, 9]);
        write_database(&folder.path().join("bag_9.db3"), [8, 5, 1]);
        write_database(&folder.path().join("bag_2.db3"), [20, 21]);
        assert_eq!(stamps(&Bag::open(folder.path()).unwrap()), [1, 4, 5, 6, 8, 9, 20, 21]);
    }

    #[test]
    fn a_missing_file_is_said_and_the_others_are_read() {
        let folder = tempfile::tempdir().unwrap();
        write_database(&folder.path().join("renamed_0.db3"), [1, 2]);
        let metadata = |names: &str| {
            let text = format!(
                "rosbag2_bagfile_information:\n  version: 4\n  storage_identifier: sqlite3\n  \
                 message_count: 3\n  relative_file_paths: {names}\n"
            );
            std::fs::write(folder.path().join(metadata::FILE_NAME), text).unwrap();
            let bag = Bag::open(folder.path()).unwrap();
            assert_eq!(stamps(&bag), [1, 2]);
            bag.losses().to_string()
        };
        let lost = metadata("[bag_0.db3]");
        assert!(
            lost.contains("metadata.yaml missing: bag_0.db3; read instead: all 1 in the folder"),
            "{lost}"
        );
        assert!(lost.contains("metadata.yaml counts 3, 2 were found"), "{lost}");
        assert!(metadata("[").contains("metadata.yaml not used"));
        // only what it names, if all of that is there
        write_database(&folder.path().join("other_0.db3"), [3]);
        assert!(!metadata("[old_name/renamed_0.db3]").contains("missing"));
    }

    #[test]
    fn compressed_files_and_messages_are_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, packed) = (folder.path().join("plain"), folder.path().join("bag_0.db3.zstd"));
        let database = write_database(&plain, [1, 2]);
        let message = zstd::encode_all(&3_i64.to_le_bytes()[..], 1).unwrap();
        database.execute("INSERT INTO messages VALUES (9, 1, 3, ?1)", [message]).unwrap();
        drop(database);
        let bytes = zstd::encode_all(&std::fs::read(&plain).unwrap()[..], 1).unwrap();
        std::fs::write(&packed, &bytes).unwrap();
        let bag = Bag::open(&packed).unwrap();
        assert_eq!(stamps(&bag), [1, 2, 3]);
        assert!(bag.losses().is_empty());
        std::fs::write(&packed, &bytes[..bytes.len() - 9]).unwrap();
        let error = Bag::open(&packed).map(|bag| bag.losses().to_string()).map_err(|error| error.to_string());
        assert!(error.as_ref().is_ok_and(|lost| lost.contains("compressed file damaged")) || error.is_err());
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
        assert!(refused(&path).contains("the file is empty: nothing was recorded"));
        assert!(
            refused(tempfile::tempdir().unwrap().path()).contains("no .db3 or .mcap file is in the folder")
        );
        let path = folder.path().join("text.mcap");
        std::fs::write(&path, "not a recording at all, only text").unwrap();
        assert!(refused(&path).contains("does not begin as an MCAP file does"));
    }
}
