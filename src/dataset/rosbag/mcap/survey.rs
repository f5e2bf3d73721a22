//! What is where in an MCAP file: by its index if that is whole, else by reading the file front to back.

use super::records::{
    Channel, Chunk, ChunkIndex, FOOTER, Footer, HEAD, LARGEST_CHUNK, Message, Schema, Statistics, record_at,
    unpack,
};
use crate::dataset::rosbag::losses::Losses;
use mcap::records::op;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

/// Messages that lie outside of chunks are read in stretches of about so many bytes.
const STRETCH: u64 = 1 << 20;
/// Bytes searched at a time for the next chunk after damage.
const SEARCHED: usize = 1 << 20;

/// The plan of a file.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    pub spans: Vec<Span>,
    pub channels: BTreeMap<u16, Topic>,
    /// Names of types by schema; a summary may have them after the channels.
    schemas: BTreeMap<u16, Arc<str>>,
    /// Messages by channel.
    pub messages: BTreeMap<u16, u64>,
    pub losses: Losses,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: Arc<str>,
    schema: u16,
    pub encoding: Arc<str>,
}

/// A part of the file that is read as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Log time of the first message, ns.
    pub start: u64,
    pub offset: u64,
    pub length: u64,
    pub kind: Kind,
    /// With messages in it; none if it is not known which.
    pub channels: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Chunk,
    /// The file ends in it.
    CutChunk,
    /// Records outside of chunks.
    Stretch,
}

impl Survey {
    pub fn of(file: &mut Source) -> io::Result<Self> {
        let length = file.length()?;
        match by_index(file, length)? {
            Index::Whole(survey) => Ok(survey),
            Index::None => front_to_back(file, length),
            Index::Damaged => {
                let mut survey = front_to_back(file, length)?;
                if survey.losses.is_empty() {
                    survey.losses.add(
                        "index not used",
                        "it is damaged or incomplete; the file was read front to back",
                    );
                }
                Ok(survey)
            }
        }
    }

    /// Of the messages of a topic, as `sensor_msgs/msg/JointState`; empty if it is not described.
    pub fn type_name(&self, topic: &Topic) -> Arc<str> {
        self.schemas.get(&topic.schema).cloned().unwrap_or_default()
    }

    /// Takes in a schema or a channel; the first of an identifier holds.
    fn learn(&mut self, opcode: u8, contents: &[u8]) {
        if let (op::SCHEMA, Some(schema)) = (opcode, Schema::parse(contents)) {
            self.schemas.entry(schema.id).or_insert_with(|| schema.name.into());
        }
        if let (op::CHANNEL, Some(channel)) = (opcode, Channel::parse(contents)) {
            self.channels.entry(channel.id).or_insert_with(|| Topic {
                name: channel.topic.into(),
                schema: channel.schema,
                encoding: channel.encoding.into(),
            });
        }
    }
}

enum Index {
    Whole(Survey),
    None,
    Damaged,
}

/// A file with a buffer that is kept when it moves a little.
#[derive(Debug)]
pub struct Source {
    file: BufReader<File>,
    position: u64,
}

impl Source {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufReader::with_capacity(1 << 16, File::open(path)?), position: 0 })
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.get_ref().metadata()?.len())
    }

    /// Fills `out` with what there is of `length` bytes at `offset`.
    pub fn read(&mut self, offset: u64, length: u64, out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        self.file.seek_relative(offset.wrapping_sub(self.position) as i64)?;
        self.position = offset;
        self.position += self.file.by_ref().take(length).read_to_end(out)? as u64;
        Ok(())
    }
}

/// From the summary at the end of the file.
fn by_index(file: &mut Source, length: u64) -> io::Result<Index> {
    let mut bytes = Vec::new();
    file.read(length.saturating_sub(FOOTER as u64), FOOTER as u64, &mut bytes)?;
    let Some(footer) = Footer::parse(&bytes) else { return Ok(Index::Damaged) };
    if footer.summary == 0 {
        return Ok(Index::None);
    }
    let end = length - FOOTER as u64;
    if footer.summary > end || end - footer.summary > LARGEST_CHUNK {
        return Ok(Index::Damaged);
    }
    // the checksum is over the summary and the footer up to the checksum
    file.read(footer.summary, end - footer.summary + (HEAD + 16) as u64, &mut bytes)?;
    if footer.crc != 0 && crc32fast::hash(&bytes) != footer.crc {
        return Ok(Index::Damaged);
    }
    bytes.truncate((end - footer.summary) as usize);
    Ok(parse_summary(&bytes, length))
}

fn parse_summary(bytes: &[u8], file_length: u64) -> Index {
    let mut survey = Survey::default();
    let (mut statistics, mut position) = (None, 0);
    while let Some((opcode, place)) = record_at(bytes, position) {
        position = place.end;
        let contents = &bytes[place];
        match opcode {
            op::STATISTICS => statistics = Statistics::parse(contents),
            op::CHUNK_INDEX => {
                let Some(index) = ChunkIndex::parse(contents) else { return Index::Damaged };
                if index.offset.checked_add(index.length).is_none_or(|end| end > file_length) {
                    return Index::Damaged;
                }
                let (start, offset, length) = (index.start, index.offset, index.length);
                survey.spans.push(Span {
                    start,
                    offset,
                    length,
                    kind: Kind::Chunk,
                    channels: index.channels,
                });
            }
            _ => survey.learn(opcode, contents),
        }
    }
    let Some(statistics) = statistics else { return Index::None };
    survey.messages = statistics.messages.into_iter().collect();
    survey.spans.sort_by_key(|span| span.offset);
    let is_apart = survey.spans.windows(2).all(|pair| pair[0].offset + pair[0].length <= pair[1].offset);
    let is_complete = is_apart && position == bytes.len() && survey.spans.len() == statistics.chunks as usize;
    let is_known = survey.messages.keys().all(|channel| survey.channels.contains_key(channel));
    let is_empty = survey.messages.values().all(|count| *count == 0);
    match () {
        () if !is_complete || !is_known => Index::Damaged,
        () if survey.spans.is_empty() && !is_empty => Index::None, // they lie outside of chunks
        () => Index::Whole(survey),
    }
}

/// The state of a reading from front to back.
struct Walk<'a> {
    file: &'a mut Source,
    length: u64,
    position: u64,
    /// Up to here the records were what they should be; where one is not, the search for the next begins here.
    sure: u64,
    survey: Survey,
    /// The stretch that is being gathered.
    stretch: Option<Span>,
    record: Vec<u8>,
    unpacked: Vec<u8>,
}

fn front_to_back(file: &mut Source, length: u64) -> io::Result<Survey> {
    let mut walk = Walk {
        file,
        length,
        position: 0,
        sure: mcap::MAGIC.len() as u64,
        survey: Survey::default(),
        stretch: None,
        record: Vec::new(),
        unpacked: Vec::new(),
    };
    walk.magic()?;
    while walk.step()? {}
    walk.close_stretch();
    let mut survey = walk.survey;
    let unknown = survey.messages.iter().filter(|(channel, _)| !survey.channels.contains_key(channel));
    let unknown: u64 = unknown.map(|(_, count)| count).sum();
    if unknown > 0 {
        survey
            .losses
            .add("channel not described", format!("{unknown} messages; its description was not found"));
    }
    Ok(survey)
}

impl Walk<'_> {
    fn magic(&mut self) -> io::Result<()> {
        self.file.read(0, mcap::MAGIC.len() as u64, &mut self.record)?;
        if self.record != mcap::MAGIC {
            self.survey.losses.add("magic bytes damaged", "the file does not begin as an MCAP file does");
        }
        self.position = mcap::MAGIC.len() as u64;
        Ok(())
    }

    /// Takes in the next record; false at the end of the data.
    fn step(&mut self) -> io::Result<bool> {
        let left = self.length.saturating_sub(self.position);
        self.file.read(self.position, HEAD as u64, &mut self.record)?;
        if left == 0 {
            self.survey.losses.add("end missing", "its writer was interrupted between two records");
            return Ok(false);
        }
        let head: Option<[u8; HEAD]> = self.record.as_slice().try_into().ok();
        let (opcode, length) = match head {
            Some([opcode, length @ ..]) => (opcode, u64::from_le_bytes(length)),
            None => (0, u64::MAX),
        };
        let fits = length <= left.saturating_sub(HEAD as u64);
        match opcode {
            op::DATA_END if length == 4 => return Ok(false),
            op::FOOTER if length == 20 => return Ok(false),
            op::DATA_END | op::FOOTER => return self.damaged("an end that is none"),
            0 | 0x10..0x80 => return self.damaged("a record of no known kind"),
            op::CHUNK if fits && length <= LARGEST_CHUNK => self.chunk(length, Kind::Chunk)?,
            op::CHUNK if !fits => return self.cut_chunk(left),
            _ if !fits => return self.damaged("a record that is longer than the rest of the file"),
            op::SCHEMA | op::CHANNEL | op::MESSAGE if length <= LARGEST_CHUNK => {
                self.outside(opcode, length)?
            }
            0x80.. => {
                self.close_stretch();
                self.survey.losses.add("record of unknown kind", format!("at byte {}", self.position));
            }
            _ => self.close_stretch(),
        }
        self.position += HEAD as u64 + length;
        Ok(true)
    }

    fn outside(&mut self, opcode: u8, length: u64) -> io::Result<()> {
        let wanted = if opcode == op::MESSAGE { length.min(64) } else { length };
        self.file.read(self.position + HEAD as u64, wanted, &mut self.record)?;
        match Message::parse(&self.record).filter(|_| opcode == op::MESSAGE) {
            Some(message) => {
                let (offset, start) = (self.position, message.log_time);
                let span = Span { start, offset, length: 0, kind: Kind::Stretch, channels: Vec::new() };
                let span = self.stretch.get_or_insert(span);
                span.start = span.start.min(message.log_time);
                span.length = self.position + HEAD as u64 + length - span.offset;
                *self.survey.messages.entry(message.channel).or_default() += 1;
                self.sure = self.position + HEAD as u64 + length;
                if span.length > STRETCH {
                    self.close_stretch();
                }
            }
            None => self.survey.learn(opcode, &self.record),
        }
        Ok(())
    }

    fn close_stretch(&mut self) {
        self.survey.spans.extend(self.stretch.take());
    }

    /// Looks into the chunk at the position, whose contents are `length` long.
    fn chunk(&mut self, length: u64, kind: Kind) -> io::Result<()> {
        self.close_stretch();
        self.file.read(self.position + HEAD as u64, length, &mut self.record)?;
        let is_cut = kind == Kind::CutChunk;
        let chunk = Chunk::parse(&self.record).ok_or_else(|| "its head is cut off".to_owned());
        let unpacked = chunk.and_then(|chunk| unpack(&chunk, is_cut, &mut self.unpacked));
        if let Err(problem) = unpacked {
            let detail = format!("{} bytes at byte {}: {problem}", length, self.position);
            self.survey.losses.add("chunk not readable", detail);
            return Ok(());
        }
        let (mut start, mut position, mut count) = (u64::MAX, 0, 0);
        let unpacked = std::mem::take(&mut self.unpacked);
        while let Some((opcode, place)) = record_at(&unpacked, position) {
            position = place.end;
            let contents = &unpacked[place];
            match Message::parse(contents).filter(|_| opcode == op::MESSAGE) {
                Some(message) => {
                    start = start.min(message.log_time);
                    count += 1;
                    *self.survey.messages.entry(message.channel).or_default() += 1;
                }
                None => self.survey.learn(opcode, contents),
            }
        }
        if is_cut {
            let problem = format!(
                "the file ends in the middle of a chunk that begins at byte {}: {count} messages of it were read",
                self.position
            );
            self.survey.losses.add("file cut off", problem);
        } else if position < unpacked.len() {
            let problem = format!("{} bytes of a chunk at byte {}", unpacked.len() - position, self.position);
            self.survey.losses.add("records not readable", problem);
        }
        self.unpacked = unpacked;
        self.sure = self.position + HEAD as u64 + length;
        if count > 0 {
            let (offset, length) = (self.position, HEAD as u64 + length);
            self.survey.spans.push(Span { start, offset, length, kind, channels: Vec::new() });
        }
        Ok(())
    }

    /// A chunk that is longer than the rest of the file: cut off, or its length is damaged.
    fn cut_chunk(&mut self, left: u64) -> io::Result<bool> {
        self.file.read(self.position + HEAD as u64, 64, &mut self.record)?;
        let declared = Chunk::parse(&self.record).map(|chunk| chunk.packed);
        let available = left - HEAD as u64;
        if declared.is_none_or(|packed| packed >= available) && available <= LARGEST_CHUNK {
            self.chunk(available, Kind::CutChunk)?;
            self.position = self.length;
            return Ok(false);
        }
        self.damaged("a chunk that is longer than the rest of the file")
    }

    /// Goes on at the next chunk after the position.
    fn damaged(&mut self, found: &str) -> io::Result<bool> {
        self.close_stretch();
        let next = next_chunk(self.file, self.sure, self.length)?;
        let end = next.unwrap_or(self.length);
        let (lost, at) = (end - self.sure.min(end), self.position);
        let detail = format!("{lost} of {} bytes not read: {found} at byte {at}", self.length);
        self.survey.losses.add("bytes not readable", detail);
        self.position = end;
        self.sure = end + 1; // if there is no chunk there, the search goes on after it
        Ok(next.is_some())
    }
}

/// Where the next record stands that has all the marks of a chunk.
fn next_chunk(file: &mut Source, from: u64, file_length: u64) -> io::Result<Option<u64>> {
    const MARKS: usize = HEAD + 48;
    let mut bytes = Vec::new();
    let mut base = from;
    while base < file_length {
        file.read(base, (SEARCHED + MARKS) as u64, &mut bytes)?;
        for index in 0..bytes.len().min(SEARCHED) {
            let Some(head) = bytes.get(index..index + HEAD).filter(|head| head[0] == op::CHUNK) else {
                continue;
            };
            let length = u64::from_le_bytes(head[1..].try_into().unwrap_or_default());
            let contents = &bytes[index + HEAD..bytes.len().min(index + MARKS)];
            let left = file_length - base - index as u64 - HEAD as u64;
            let is_chunk = |chunk: Chunk<'_>| {
                let head = (contents.len() - chunk.records.len()) as u64;
                ["", "lz4", "zstd"].contains(&chunk.compression)
                    && chunk.start <= chunk.end
                    && chunk.packed.checked_add(head) == Some(length)
            };
            if length <= left && Chunk::parse(contents).is_some_and(is_chunk) {
                return Ok(Some(base + index as u64));
            }
        }
        base += SEARCHED as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(opcode: u8, contents: &[u8]) -> Vec<u8> {
        [&[opcode][..], &(contents.len() as u64).to_le_bytes(), contents].concat()
    }

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
    }

    /// A channel before its schema, and so many indexes of a chunk from byte 8 to 50.
    fn summary(chunks: u32) -> Vec<u8> {
        let channel = [&[1, 0, 9, 0][..], &text("/a"), &text("cdr"), &[0; 4]].concat();
        let schema = [&[9, 0][..], &text("a/msg/A"), &text("ros2msg"), &[0; 4]].concat();
        let counts = [&10_u32.to_le_bytes()[..], &[1, 0], &3_u64.to_le_bytes()].concat();
        let statistics = [&[0; 22][..], &chunks.to_le_bytes(), &[0; 16], &counts].concat();
        let index = [&[0; 16][..], &8_u64.to_le_bytes(), &42_u64.to_le_bytes(), &[0; 4]].concat();
        let indexes = record(op::CHUNK_INDEX, &index).repeat(chunks as usize);
        [
            record(op::CHANNEL, &channel),
            record(op::SCHEMA, &schema),
            record(op::STATISTICS, &statistics),
            indexes,
        ]
        .concat()
    }

    #[test]
    fn a_summary_is_used_whatever_its_order_if_its_chunks_lie_apart() {
        let Index::Whole(survey) = parse_summary(&summary(1), 100) else { panic!("it is whole") };
        assert_eq!(&*survey.type_name(&survey.channels[&1]), "a/msg/A");
        assert_eq!((survey.messages[&1], survey.spans[0].length), (3, 42));
        assert!(matches!(parse_summary(&summary(2), 100), Index::Damaged));
        assert!(matches!(parse_summary(&summary(1), 49), Index::Damaged));
        assert!(matches!(parse_summary(&summary(0), 100), Index::None), "no chunk has the messages");
        let cut = &summary(1)[..summary(1).len() - 1];
        assert!(matches!(parse_summary(cut, 100), Index::Damaged));
    }
}
