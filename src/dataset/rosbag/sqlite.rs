//! sqlite3 storage of all versions (schema of rosbag2_storage_sqlite3). Nothing is written: no lock, no side file.

use super::losses::Losses;
use super::{RawMessage, TopicCount};
use crate::dataset::data;
use crate::error::Result;
use crate::state::Stamp;
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Messages fetched at a time.
const PAGE: usize = 512;

/// A database that has been looked through.
#[derive(Clone, Debug)]
pub struct File {
    path: PathBuf,
    topics: BTreeMap<i64, TopicCount>,
    start: Stamp,
    order: Order,
    losses: Losses,
}

/// Of the reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Of the time of logging; the database has an index of it.
    Logging,
    /// Of writing: without such an index, and after damage.
    Writing,
}

impl File {
    pub fn open(path: &Path) -> Result<Self> {
        let connection = connect(path)?;
        let mut file = Self {
            path: path.to_path_buf(),
            topics: read_topics(path, &connection)?,
            start: Stamp(0),
            order: Order::Writing,
            losses: Losses::default(),
        };
        if std::fs::metadata(format!("{}-journal", path.display())).is_ok_and(|journal| journal.len() > 0) {
            file.losses.add("rollback journal", "its writer was interrupted; read as it was left");
        }
        if file.count(&connection).is_ok() {
            if has_time_index(&connection) {
                file.order = Order::Logging;
            }
        } else {
            file.count_around_damage(connection)?;
        }
        Ok(file)
    }

    fn count(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "SELECT topic_id, COUNT(*), MIN(timestamp) FROM messages GROUP BY topic_id";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut counts: Vec<(Option<i64>, i64, Option<i64>)> = Vec::new();
        while let Some(row) = rows.next()? {
            counts.push((integer(row, 0), row.get(1)?, integer(row, 2)));
        }
        self.start = Stamp(counts.iter().filter_map(|(_, _, start)| *start).min().unwrap_or(0));
        for (topic, count, _) in counts {
            match topic.and_then(|topic| self.topics.get_mut(&topic)) {
                Some(topic) => topic.messages = usize::try_from(count).unwrap_or(0),
                None => self.losses.add("messages of no topic", format!("{count} messages")),
            }
        }
        Ok(())
    }

    /// Reads all that can be read, to know how much it is.
    fn count_around_damage(&mut self, connection: Connection) -> Result<()> {
        let mut reader = self.reader_on(connection, None);
        let mut start = None;
        let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        while let Some(message) = reader.next()? {
            start = Some(start.map_or(message.stamp, |start: Stamp| start.min(message.stamp)));
            *counts.entry(message.topic).or_default() += 1;
        }
        self.losses.extend(&reader.losses);
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
        Ok(self.reader_on(connect(&self.path)?, topic))
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
        let sql = match self.order {
            Order::Logging => {
                "SELECT m.id, m.timestamp, m.topic_id, m.data FROM messages m \
                 WHERE (m.timestamp, m.id) > (?1, ?2) \
                 AND (?3 IS NULL OR m.topic_id IN (SELECT id FROM topics WHERE name = ?3)) \
                 ORDER BY m.timestamp, m.id LIMIT ?4"
            }
            Order::Writing => {
                "SELECT id, timestamp, topic_id, data FROM messages WHERE id > ?2 AND ?1 < ?1 + 1 AND ?3 IS ?3 \
                 ORDER BY id LIMIT ?4"
            }
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![self.last.0, self.last.1, self.topic, PAGE as i64])?;
        while let Some(row) = rows.next()? {
            let (Some(id), stamp) = (integer(row, 0), integer(row, 1)) else { continue };
            self.last = (stamp.unwrap_or(self.last.0), id);
            let wanted = integer(row, 2).and_then(|topic| self.wanted.get(&topic));
            let (Some((topic, type_name)), Some(stamp)) = (wanted, stamp) else { continue };
            if self.already.is_some_and(|already| (stamp, id) <= already) {
                continue;
            }
            match row.get_ref(3)? {
                ValueRef::Blob(bytes) => self.page.push_back(RawMessage {
                    topic: topic.clone(),
                    type_name: type_name.clone(),
                    stamp: Stamp(stamp),
                    cdr: bytes.to_vec(),
                }),
                _ => self.losses.add("message without data", format!("number {id} of {topic}")),
            }
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
        let after = self.last.1;
        match self.next_readable(after) {
            Some(id) => {
                let from = after.max(0).saturating_add(1);
                let detail = format!("up to {} messages, number {from} to {}: {error}", id - from, id - 1);
                self.losses.add("messages not readable", detail);
                self.last.1 = id - 1;
            }
            None => {
                self.losses
                    .add("messages not readable", format!("all after number {}: {error}", after.max(0)));
                self.is_at_end = true;
            }
        }
    }

    /// The least identifier above `after` from which on rows can be read: searched by doubling steps, then by halves.
    fn next_readable(&self, after: i64) -> Option<i64> {
        let base = after.max(0);
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
        (found != i64::MAX).then_some(found).filter(|id| *id > after)
    }

    /// The first row from `id` on, read whole.
    fn first_from(&self, id: i64) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT id, timestamp, topic_id, data FROM messages WHERE id >= ?1 ORDER BY id LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        row.get_ref(3)?;
        Ok(integer(row, 0))
    }
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
