//! MCAP storage: chunks are read one at a time, in the order of their first messages.

mod records;
mod survey;

use super::losses::Losses;
use super::{RawMessage, TopicCount};
use crate::error::{Error, Result};
use crate::state::Stamp;
use ::mcap::records::op;
use records::{Chunk, HEAD, LARGEST_CHUNK, Message, record_at, unpack};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use survey::{Kind, Source, Span, Survey};

/// Chunks whose times overlap are held at once, up to so many bytes; beyond that their order is given up.
const HELD: usize = 256 << 20;

/// A file that has been looked through.
#[derive(Clone, Debug)]
pub struct File {
    path: PathBuf,
    survey: Arc<Survey>,
}

impl File {
    pub fn open(path: &Path) -> Result<Self> {
        let mut survey =
            Source::open(path).and_then(|mut file| Survey::of(&mut file)).map_err(Error::io(path))?;
        survey.spans.sort_by_key(|span| (span.start, span.offset));
        Ok(Self { path: path.to_path_buf(), survey: Arc::new(survey) })
    }

    pub fn topics(&self) -> Vec<TopicCount> {
        let count = |channel: &u16| self.survey.messages.get(channel).copied().unwrap_or(0);
        let topic = |(channel, topic): (&u16, &survey::Topic)| TopicCount {
            name: topic.name.clone(),
            type_name: self.survey.type_name(topic),
            encoding: topic.encoding.clone(),
            messages: count(channel) as usize,
        };
        self.survey.channels.iter().map(topic).collect()
    }

    pub fn start(&self) -> Stamp {
        self.survey.spans.first().map_or(Stamp(0), |span| stamp(span.start))
    }

    pub fn losses(&self) -> &Losses {
        &self.survey.losses
    }

    /// The messages of `topic`, or all, in the order of logging.
    pub fn reader(&self, topic: Option<&str>) -> Result<Reader> {
        let channels = self.survey.channels.iter();
        let wanted = channels.filter(|(_, channel)| topic.is_none_or(|topic| topic == &*channel.name));
        let wanted: BTreeMap<u16, (Arc<str>, Arc<str>)> = wanted
            .filter(|(_, channel)| &*channel.encoding == "cdr")
            .map(|(id, channel)| (*id, (channel.name.clone(), self.survey.type_name(channel))))
            .collect();
        let is_wanted = |span: &&Span| {
            span.channels.is_empty() || span.channels.iter().any(|channel| wanted.contains_key(channel))
        };
        let expected = wanted.keys().filter_map(|channel| self.survey.messages.get(channel)).sum();
        Ok(Reader {
            path: self.path.clone(),
            file: Source::open(&self.path).map_err(Error::io(&self.path))?,
            spans: self.survey.spans.iter().filter(is_wanted).cloned().collect(),
            wanted,
            held: Vec::new(),
            packed: Vec::new(),
            spare: Vec::new(),
            expected,
            found: 0,
            is_crowded: false,
            losses: Losses::default(),
        })
    }
}

fn stamp(nanoseconds: u64) -> Stamp {
    Stamp(i64::try_from(nanoseconds).unwrap_or(i64::MAX))
}

pub struct Reader {
    path: PathBuf,
    file: Source,
    spans: VecDeque<Span>,
    wanted: BTreeMap<u16, (Arc<str>, Arc<str>)>,
    held: Vec<Held>,
    packed: Vec<u8>,
    /// Buffers to be used again.
    spare: Vec<Vec<u8>>,
    expected: u64,
    found: u64,
    is_crowded: bool,
    losses: Losses,
}

/// The messages of a chunk, in the order of their log times.
struct Held {
    /// Of the chunk in the file: messages of one time are in the order of the file.
    offset: u64,
    records: Vec<u8>,
    entries: Vec<Entry>,
    next: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    log_time: u64,
    channel: u16,
    start: usize,
    end: usize,
}

impl Reader {
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    pub fn next(&mut self) -> Result<Option<RawMessage>> {
        loop {
            let held = self.held.iter().enumerate();
            let key = |(index, held): (usize, &Held)| (held.entries[held.next].log_time, held.offset, index);
            let earliest = held.map(key).min();
            let is_due = |span: &Span| earliest.is_none_or(|(log_time, ..)| span.start <= log_time);
            if self.spans.front().is_some_and(is_due) && self.has_room() {
                self.hold_next()?;
                continue;
            }
            let Some((.., index)) = earliest else {
                self.check_count();
                return Ok(None);
            };
            return Ok(Some(self.take(index)));
        }
    }

    fn has_room(&mut self) -> bool {
        let held: usize = self.held.iter().map(|held| held.records.len()).sum();
        let is_free = self.held.is_empty() || held < HELD;
        if !is_free && !std::mem::replace(&mut self.is_crowded, true) {
            self.losses
                .add("order of logging not kept", "too many chunks overlap in time to be held at once");
        }
        is_free
    }

    fn hold_next(&mut self) -> Result<()> {
        let Some(span) = self.spans.pop_front() else { return Ok(()) };
        let mut records = self.spare.pop().unwrap_or_default();
        match self.load(&span, &mut records)? {
            Ok(()) => {
                let entries = self.entries(&records);
                match entries.is_empty() {
                    true => self.spare.push(records),
                    false => self.held.push(Held { offset: span.offset, records, entries, next: 0 }),
                }
            }
            Err(problem) => {
                let detail = format!("{} bytes at byte {}: {problem}", span.length, span.offset);
                self.losses.add("chunk not readable", detail);
                self.spare.push(records);
            }
        }
        Ok(())
    }

    fn load(&mut self, span: &Span, records: &mut Vec<u8>) -> Result<std::result::Result<(), String>> {
        if span.length > LARGEST_CHUNK {
            return Ok(Err(format!("at most {LARGEST_CHUNK} bytes are read at once")));
        }
        let buffer = if span.kind == Kind::Stretch { &mut *records } else { &mut self.packed };
        self.file.read(span.offset, span.length, buffer).map_err(Error::io(&self.path))?;
        if span.kind == Kind::Stretch {
            return Ok(Ok(()));
        }
        let is_cut = span.kind == Kind::CutChunk;
        let contents = match record_at(&self.packed, 0) {
            Some((op::CHUNK, place)) if place.end == self.packed.len() => place,
            None if is_cut => HEAD.min(self.packed.len())..self.packed.len(),
            _ => return Ok(Err("there is no chunk of this length".into())),
        };
        let chunk = Chunk::parse(&self.packed[contents]);
        Ok(chunk.ok_or("its head is damaged".into()).and_then(|chunk| unpack(&chunk, is_cut, records)))
    }

    fn entries(&self, records: &[u8]) -> Vec<Entry> {
        let (mut entries, mut position) = (Vec::new(), 0);
        while let Some((opcode, place)) = record_at(records, position) {
            position = place.end;
            if opcode != op::MESSAGE {
                continue;
            }
            let Some(message) = Message::parse(&records[place.clone()]) else { continue };
            let Message { channel, log_time, head } = message;
            if self.wanted.contains_key(&channel) {
                entries.push(Entry { log_time, channel, start: place.start + head, end: place.end });
            }
        }
        entries.sort_by_key(|entry| entry.log_time); // stable, and quick for what is in order
        entries
    }

    fn take(&mut self, index: usize) -> RawMessage {
        let held = &mut self.held[index];
        let Entry { log_time, channel, start, end } = held.entries[held.next];
        let (topic, type_name) = self.wanted[&channel].clone();
        let message =
            RawMessage { topic, type_name, stamp: stamp(log_time), cdr: held.records[start..end].to_vec() };
        held.next += 1;
        if held.next == held.entries.len() {
            self.spare.push(self.held.swap_remove(index).records);
        }
        self.found += 1;
        message
    }

    fn check_count(&mut self) {
        if self.found != self.expected && self.losses.is_empty() {
            let detail = format!("its statistics count {}, {} were found", self.expected, self.found);
            self.losses.add("number of messages wrong", detail);
        }
    }
}
