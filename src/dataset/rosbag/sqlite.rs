//! sqlite3 storage of all versions (schema of rosbag2_storage_sqlite3). Nothing is written: no lock, no side file.

use super::losses::Losses;
use super::{RawMessage, TopicCount};
use crate::dataset::data;
use crate::error::{Error, Result};
use crate::state::Stamp;
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::{NamedTempFile, TempPath};

/// Messages fetched at a time.
const PAGE: usize = 512;

/// A database that has been looked through.
#[derive(Clone, Debug)]
pub struct File {
    path: PathBuf,
    /// In place of a file that is cut off: sqlite takes what is missing of its last page for zeros.
    whole_pages: Option<Arc<TempPath>>,
    topics: BTreeMap<i64, TopicCount>,
    start: Stamp,
    order: Order,
    losses: Losses,
}

/// Of the reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Of the time of logging, by an index of it.
    Logging,
    /// Of writing: where it is that of logging too, which is mostly so and quicker to read; and after damage.
    Writing,
}

impl File {
    pub fn open(path: &Path) -> Result<Self> {
        let mut losses = Losses::default();
        let whole_pages = whole_pages(path, &mut losses)?;
        let connection = connect(whole_pages.as_deref().unwrap_or(path))?;
        let mut file = Self {
            path: path.to_path_buf(),
            whole_pages: whole_pages.map(Arc::new),
            topics: read_topics(path, &connection)?,
            start: Stamp(0),
            order: Order::Writing,
            losses,
        };
        if std::fs::metadata(format!("{}-journal", path.display())).is_ok_and(|journal| journal.len() > 0) {
            file.losses.add("rollback journal", "its writer was interrupted; read as it was left");
        }
        match file.count(&connection) {
            Ok(true) => (),
            Ok(false) if has_time_index(&connection) => file.order = Order::Logging,
            Ok(false) => {
                file.losses.add("order of logging not kept", "the database has no index of the time")
            }
            Err(_) => file.count_around_damage(connection)?,
        }
        Ok(file)
    }

    /// Whether the rows are in the order of logging. Row by row, for sums over a damaged tree, whose branches may be
    /// each other's, need not end.
    fn count(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let mut statement = connection.prepare("SELECT id, timestamp, topic_id FROM messages ORDER BY id")?;
        let mut rows = statement.query([])?;
        let (mut start, mut last, mut is_in_order) = (None, None, true);
        let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
        let mut without_topic = 0;
        while let Some(row) = rows.next()? {
            let (id, stamp) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
            if let Some((last_id, last_stamp)) = last.replace((id, stamp)) {
                if id <= last_id {
                    return Err(out_of_order());
                }
                is_in_order &= stamp >= last_stamp;
            }
            start = Some(start.map_or(stamp, |start: i64| start.min(stamp)));
            match integer(row, 2).filter(|topic| self.topics.contains_key(topic)) {
                Some(topic) => *counts.entry(topic).or_default() += 1,
                None => without_topic += 1,
            }
        }
        self.start = Stamp(start.unwrap_or(0));
        for (id, topic) in &mut self.topics {
            topic.messages = counts.get(id).copied().unwrap_or(0);
        }
        if without_topic > 0 {
            self.losses.add("messages of no topic", without_topic.to_string());
        }
        Ok(is_in_order)
    }

    /// Reads all that can be read, to know how much it is. What cannot is told by who reads it; here only where nothing
    /// can.
    fn count_around_damage(&mut self, connection: Connection) -> Result<()> {
        let mut reader = self.reader_on(connection, None);
        let mut start = None;
        let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        while let Some(message) = reader.next()? {
            start = Some(start.map_or(message.stamp, |start: Stamp| start.min(message.stamp)));
            *counts.entry(message.topic).or_default() += 1;
        }
        if counts.is_empty() {
            self.losses.extend(&reader.losses);
        }
        self.start = start.unwrap_or_default();
        for topic in self.topics.values_mut() {
            topic.messages = counts.get(&topic.name).copied().unwrap_or(0);
        }
        Ok(())
    }

    pub fn topics(&self) -> Vec<TopicCount> {
        self.topics.values().cloned().collect()
    }

    pub fn start(&self) -> Stamp {
        self.start
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The messages of `topic`, or all.
    pub fn reader(&self, topic: Option<&str>) -> Result<Reader> {
        let path = self.whole_pages.as_deref().map_or(self.path.as_path(), |path| path);
        Ok(self.reader_on(connect(path)?, topic))
    }

    fn reader_on(&self, connection: Connection, topic: Option<&str>) -> Reader {
        let topics = self.topics.iter();
        let wanted =
            topics.filter(|(_, of)| &*of.encoding == "cdr" && topic.is_none_or(|topic| topic == &*of.name));
        Reader {
            wanted: wanted.map(|(id, topic)| (*id, (topic.name.clone(), topic.type_name.clone()))).collect(),
            topic: topic.map(str::to_owned),
            connection,
            order: self.order,
            last: (i64::MIN, i64::MIN),
            page: VecDeque::new(),
            losses: Losses::default(),
            is_at_end: false,
            already: None,
        }
    }
}

pub struct Reader {
    connection: Connection,
    wanted: BTreeMap<i64, (Arc<str>, Arc<str>)>,
    topic: Option<String>,
    order: Order,
    /// Stamp and identifier of the last row that was seen.
    last: (i64, i64),
    page: VecDeque<RawMessage>,
    losses: Losses,
    is_at_end: bool,
    /// Up to here the rows were read in the order of logging before damage was met.
    already: Option<(i64, i64)>,
}

impl Reader {
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    pub fn next(&mut self) -> Result<Option<RawMessage>> {
        loop {
            if let Some(message) = self.page.pop_front() {
                return Ok(Some(message));
            }
            if self.is_at_end {
                return Ok(None);
            }
            let before = self.last;
            let outcome = self.fill();
            match outcome {
                Ok(()) if self.last == before => self.is_at_end = true,
                Ok(()) => (),
                Err(error) => self.go_around(&error),
            }
        }
    }

    /// Fetches the rows after the last one, at most a page of them.
    fn fill(&mut self) -> rusqlite::Result<()> {
        // what is not wanted is skipped here, not there, for each row to show that the reading gets on
        let sql = match self.order {
            Order::Logging => {
                "SELECT id, timestamp, topic_id, \
                 CASE WHEN ?3 IS NULL OR topic_id IN (SELECT id FROM topics WHERE name = ?3) THEN data END \
                 FROM messages WHERE (timestamp, id) > (?1, ?2) ORDER BY timestamp, id LIMIT ?4"
            }
            Order::Writing => {
                "SELECT id, timestamp, topic_id, \
                 CASE WHEN ?3 IS NULL OR topic_id IN (SELECT id FROM topics WHERE name = ?3) THEN data END \
                 FROM messages WHERE id > ?2 AND ?1 IS ?1 ORDER BY id LIMIT ?4"
            }
        };
        let Self { connection, wanted, last, page, losses, already, order, .. } = self;
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![last.0, last.1, self.topic, PAGE as i64])?;
        while let Some(row) = rows.next()? {
            let (id, stamp) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
            let gets_on = match order {
                Order::Logging => (stamp, id) > *last,
                Order::Writing => id > last.1,
            };
            if !gets_on {
                return Err(out_of_order());
            }
            *last = (stamp, id);
            if already.is_some_and(|already| (stamp, id) <= already) {
                continue;
            }
            page.extend(message(row, stamp, wanted, losses)?);
        }
        Ok(())
    }

    /// After an error: goes on in the order of writing, at the next row that can be read.
    fn go_around(&mut self, error: &rusqlite::Error) {
        if self.order == Order::Logging {
            self.order = Order::Writing;
            self.already = Some(self.last);
            self.last = (0, i64::MIN);
            self.losses.add("database damaged", format!("{error}; the rest is in the order of writing"));
            return;
        }
        let after = self.last.1.max(0);
        let Some(id) = self.next_readable(after) else {
            self.losses.add("messages not readable", format!("all after number {after}: {error}"));
            self.is_at_end = true;
            return;
        };
        if id > after + 1 {
            let detail = format!("up to {}, from number {} on: {error}", id - after - 1, after + 1);
            self.losses.add("messages not readable", detail);
        }
        // this one alone, for the page that it begins may be damaged further on
        self.last.1 = id;
        if let Err(error) = self.take_one(id) {
            self.losses.add("messages not readable", format!("number {id}: {error}"));
        }
    }

    fn take_one(&mut self, id: i64) -> rusqlite::Result<()> {
        let Self { connection, wanted, page, losses, already, .. } = self;
        let mut statement =
            connection.prepare_cached("SELECT id, timestamp, topic_id, data FROM messages WHERE id = ?1")?;
        let mut rows = statement.query([id])?;
        let Some(row) = rows.next()? else { return Ok(()) };
        let stamp = row.get::<_, i64>(1)?;
        if already.is_none_or(|already| (stamp, id) > already) {
            page.extend(message(row, stamp, wanted, losses)?);
        }
        Ok(())
    }

    /// The least identifier above `after` from which on rows can be read: searched by doubling steps, then by halves.
    fn next_readable(&self, base: i64) -> Option<i64> {
        let mut good = None;
        let (mut bad, mut step) = (0_i64, 1_i64);
        while step < 1 << 40 {
            match self.first_from(base.saturating_add(step)) {
                Ok(Some(id)) => {
                    good = Some((step, id));
                    break;
                }
                Ok(None) => break,
                Err(_) => bad = step,
            }
            step *= 2;
        }
        let (mut low, mut found) = good.unwrap_or((step, i64::MAX));
        while low - bad > 1 {
            let middle = bad + (low - bad) / 2;
            match self.first_from(base.saturating_add(middle)) {
                Ok(Some(id)) => (low, found) = (middle, id),
                Ok(None) => low = middle,
                Err(_) => bad = middle,
            }
        }
        (found != i64::MAX).then_some(found).filter(|id| *id > base)
    }

    /// The first row from `id` on, read whole.
    fn first_from(&self, id: i64) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT id, timestamp, topic_id, data FROM messages WHERE id >= ?1 ORDER BY id LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        row.get_ref(3)?;
        match row.get::<_, i64>(0)? {
            found if found < id => Err(out_of_order()),
            found => Ok(Some(found)),
        }
    }
}

/// A copy of the whole pages of a file that ends in the middle of one.
fn whole_pages(path: &Path, losses: &mut Losses) -> Result<Option<TempPath>> {
    let mut head = [0; 18];
    let mut file = std::fs::File::open(path).map_err(Error::io(path))?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    if file.read_exact(&mut head).is_err() {
        return Ok(None);
    }
    // bytes 16 and 17 of the header (<https://sqlite.org/fileformat.html>); 1 stands for 65536
    let page = match u64::from(u16::from_be_bytes([head[16], head[17]])) {
        1 => 65_536,
        page if page >= 512 && page.is_power_of_two() => page,
        _ => return Ok(None),
    };
    let cut = length % page;
    if cut == 0 {
        return Ok(None);
    }
    let detail =
        format!("the file ends in the middle of a page; its last {cut} of {length} bytes were not read");
    losses.add("file cut off", detail);
    let mut copy = NamedTempFile::new().map_err(Error::io(std::env::temp_dir()))?;
    file.rewind().map_err(Error::io(path))?;
    io::copy(&mut file.take(length - cut), &mut copy).map_err(Error::io(path))?;
    Ok(Some(copy.into_temp_path()))
}

/// Opened as immutable, which needs no lock and works in folders that cannot be written; not so one with a write-ahead
/// log, whose messages would be missed: its index is then kept in memory (an exclusive lock that nobody sees), and
/// the log is not merged at the end.
fn connect(path: &Path) -> Result<Connection> {
    let refused = |error: rusqlite::Error| data(path, format!("sqlite3: {error}"));
    let text = path.to_string_lossy();
    let log = std::fs::metadata(format!("{text}-wal")).map_or(0, |log| log.len());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if log > 0 {
        let connection = Connection::open_with_flags_and_vfs(path, flags, c"unix-none").map_err(refused)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(refused)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(refused)?;
        connection
    } else {
        let uri = format!("file:{}?mode=ro&immutable=1", escaped(&text));
        Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI).map_err(refused)?
    };
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false).map_err(refused)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(refused)?;
    // a file that is shorter than it says is read as far as it goes
    connection.pragma_update(None, "writable_schema", true).map_err(refused)?;
    Ok(connection)
}

fn escaped(path: &str) -> String {
    let escape = |letter| match letter {
        '%' => "%25".into(),
        '?' => "%3f".into(),
        '#' => "%23".into(),
        letter => String::from(letter),
    };
    path.chars().map(escape).collect()
}

/// The message of a row of number, stamp, topic and data; none if it is not wanted or there are no data.
fn message(
    row: &rusqlite::Row<'_>,
    stamp: i64,
    wanted: &BTreeMap<i64, (Arc<str>, Arc<str>)>,
    losses: &mut Losses,
) -> rusqlite::Result<Option<RawMessage>> {
    let topic = integer(row, 2).and_then(|topic| wanted.get(&topic));
    let Some((topic, type_name)) = topic.cloned() else { return Ok(None) };
    let ValueRef::Blob(bytes) = row.get_ref(3)? else {
        losses.add("message without data", format!("one of {topic}"));
        return Ok(None);
    };
    Ok(Some(RawMessage { topic, type_name, stamp: Stamp(stamp), cdr: bytes.to_vec() }))
}

fn out_of_order() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(code, Some("its rows are out of order".into()))
}

/// A number of a row; none if something else is in its place.
fn integer(row: &rusqlite::Row<'_>, column: usize) -> Option<i64> {
    row.get_ref(column).ok()?.as_i64().ok()
}

fn read_topics(path: &Path, connection: &Connection) -> Result<BTreeMap<i64, TopicCount>> {
    let refused = |error: rusqlite::Error| data(path, format!("not a readable rosbag2 database: {error}"));
    let mut statement =
        connection.prepare("SELECT id, name, type, serialization_format FROM topics").map_err(refused)?;
    let mut rows = statement.query([]).map_err(refused)?;
    let mut topics = BTreeMap::new();
    while let Some(row) = rows.next().map_err(refused)? {
        let text = |column| row.get::<_, String>(column).map(Arc::<str>::from);
        let topic = TopicCount {
            name: text(1).map_err(refused)?,
            type_name: text(2).map_err(refused)?,
            encoding: text(3).map_err(refused)?,
            messages: 0,
        };
        topics.insert(row.get(0).map_err(refused)?, topic);
    }
    Ok(topics)
}

/// Whether the messages can be fetched in the order of logging without sorting all of them for each page.
fn has_time_index(connection: &Connection) -> bool {
    let sql = "SELECT COUNT(*) FROM pragma_index_list('messages') AS list, pragma_index_info(list.name) AS info \
               WHERE info.seqno = 0 AND info.name = 'timestamp'";
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).is_ok_and(|count| count > 0)
}
