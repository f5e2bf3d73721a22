//! The records of an MCAP file (<https://mcap.dev/spec>), parsed out of bytes that may be damaged: a length that
//! is too long gives `None` and allocates nothing. All numbers are little-endian.

use mcap::records::op;
use std::ops::Range;

/// Opcode (1 byte) and length (8 bytes) before each record.
pub const HEAD: usize = 9;
/// Head, contents and closing magic bytes of the last record.
pub const FOOTER: usize = HEAD + 20 + mcap::MAGIC.len();
/// A chunk that is larger than this, packed or not, is not read.
pub const LARGEST_CHUNK: u64 = 1 << 30;

/// Opcode and place of the contents of the record at `position`; none where it is cut off.
pub fn record_at(bytes: &[u8], position: usize) -> Option<(u8, Range<usize>)> {
    let mut fields = Fields(bytes.get(position..)?);
    let opcode = fields.u8()?;
    let length = usize::try_from(fields.u64()?).ok()?;
    let start = position + HEAD;
    let end = start.checked_add(length).filter(|end| *end <= bytes.len())?;
    Some((opcode, start..end))
}

/// Fields in succession.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()?;
        std::str::from_utf8(self.bytes(length as usize)?).ok()
    }

    /// A map of channels to numbers.
    fn by_channel(&mut self) -> Option<Vec<(u16, u64)>> {
        let length = self.u32()?;
        let mut entries = Fields(self.bytes(length as usize)?);
        let mut map = Vec::new();
        while !entries.0.is_empty() {
            map.push((entries.u16()?, entries.u64()?));
        }
        Some(map)
    }
}

#[derive(Debug, PartialEq)]
pub struct Schema<'a> {
    pub id: u16,
    pub name: &'a str,
}

#[derive(Debug, PartialEq)]
pub struct Channel<'a> {
    pub id: u16,
    /// 0: none
    pub schema: u16,
    pub topic: &'a str,
    pub encoding: &'a str,
}

/// A chunk's head and its records, packed as they are in the file.
#[derive(Debug, PartialEq)]
pub struct Chunk<'a> {
    /// Log times of the first and last message, ns.
    pub start: u64,
    pub end: u64,
    pub unpacked: u64,
    /// Of the unpacked records; 0: none
    pub crc: u32,
    pub compression: &'a str,
    pub packed: u64,
    pub records: &'a [u8],
}

#[derive(Debug, PartialEq)]
pub struct Message {
    pub channel: u16,
    /// ns
    pub log_time: u64,
    /// Length of what stands before the data.
    pub head: usize,
}

#[derive(Debug, PartialEq)]
pub struct ChunkIndex {
    pub start: u64,
    pub end: u64,
    /// Of the chunk's record, from its opcode on.
    pub offset: u64,
    pub length: u64,
    /// With messages in the chunk; none if it is not known which.
    pub channels: Vec<u16>,
}

#[derive(Debug, PartialEq)]
pub struct Statistics {
    pub chunks: u32,
    pub start: u64,
    /// Messages by channel.
    pub messages: Vec<(u16, u64)>,
}

#[derive(Debug, PartialEq)]
pub struct Footer {
    /// 0: there is no summary
    pub summary: u64,
    /// 0: none
    pub crc: u32,
}

impl<'a> Schema<'a> {
    pub fn parse(contents: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(contents);
        Some(Self { id: fields.u16()?, name: fields.text()? })
    }
}

impl<'a> Channel<'a> {
    pub fn parse(contents: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(contents);
        let (id, schema) = (fields.u16()?, fields.u16()?);
        Some(Self { id, schema, topic: fields.text()?, encoding: fields.text()? })
    }
}

impl<'a> Chunk<'a> {
    /// Also of the beginning of a chunk that is cut off, whose `records` are then shorter than `packed`.
    pub fn parse(contents: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(contents);
        let (start, end, unpacked) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (crc, compression, packed) = (fields.u32()?, fields.text()?, fields.u64()?);
        Some(Self { start, end, unpacked, crc, compression, packed, records: fields.0 })
    }
}

impl Message {
    pub fn parse(contents: &[u8]) -> Option<Self> {
        let mut fields = Fields(contents);
        let (channel, _sequence, log_time) = (fields.u16()?, fields.u32()?, fields.u64()?);
        let _publish_time = fields.u64()?;
        Some(Self { channel, log_time, head: contents.len() - fields.0.len() })
    }
}

impl ChunkIndex {
    pub fn parse(contents: &[u8]) -> Option<Self> {
        let mut fields = Fields(contents);
        let (start, end, offset, length) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
        let channels = fields.by_channel()?.into_iter().map(|(channel, _)| channel).collect();
        Some(Self { start, end, offset, length, channels })
    }
}

impl Statistics {
    pub fn parse(contents: &[u8]) -> Option<Self> {
        let mut fields = Fields(contents);
        let (_messages, _schemas, _channels) = (fields.u64()?, fields.u16()?, fields.u32()?);
        let (_attachments, _metadata, chunks) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (start, _end) = (fields.u64()?, fields.u64()?);
        Some(Self { chunks, start, messages: fields.by_channel()? })
    }
}

impl Footer {
    /// Of the last bytes of a file; `None` if these do not end as they should.
    pub fn parse(last: &[u8]) -> Option<Self> {
        let (opcode, contents) = record_at(last, 0)?;
        let mut fields = Fields(&last[contents.clone()]);
        let (summary, _offsets, crc) = (fields.u64()?, fields.u64()?, fields.u32()?);
        (opcode == op::FOOTER && last[contents.end..] == *mcap::MAGIC).then_some(Self { summary, crc })
    }
}

/// Unpacks the records of `chunk` into `out`, up to where they end if the chunk `is_cut`.
pub fn unpack(chunk: &Chunk<'_>, is_cut: bool, out: &mut Vec<u8>) -> Result<(), String> {
    use std::io::Read;
    out.clear();
    if chunk.unpacked > LARGEST_CHUNK {
        return Err(format!(
            "it says it has {} bytes unpacked; at most {LARGEST_CHUNK} are read",
            chunk.unpacked
        ));
    }
    if !is_cut && chunk.packed != chunk.records.len() as u64 {
        return Err(format!("it says it has {} bytes packed, not {}", chunk.packed, chunk.records.len()));
    }
    let limit = chunk.unpacked + 1;
    let unpacked = match chunk.compression {
        "" => chunk.records.take(limit).read_to_end(out),
        "zstd" => {
            zstd::Decoder::with_buffer(chunk.records).and_then(|from| from.take(limit).read_to_end(out))
        }
        "lz4" => lz4::Decoder::new(chunk.records).and_then(|from| from.take(limit).read_to_end(out)),
        other => return Err(format!("its compression '{other}' is not known; zstd and lz4 are")),
    };
    match unpacked {
        _ if is_cut => Ok(()),
        Err(error) => Err(format!("{}: {error}", chunk.compression)),
        Ok(_) if out.len() as u64 != chunk.unpacked => {
            Err(format!("it does not have the {} bytes that it says", chunk.unpacked))
        }
        Ok(_) if chunk.crc != 0 && crc32fast::hash(out) != chunk.crc => Err("its checksum is wrong".into()),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_beyond_the_end_are_no_record() {
        let mut bytes = vec![op::HEADER, 2, 0, 0, 0, 0, 0, 0, 0, 7, 8];
        assert_eq!(record_at(&bytes, 0), Some((op::HEADER, 9..11)));
        assert_eq!(record_at(&bytes, 11), None);
        assert_eq!(record_at(&bytes[..10], 0), None);
        bytes[1..9].fill(0xff);
        assert_eq!(record_at(&bytes, 0), None);
    }

    #[test]
    fn a_hostile_length_inside_a_record_is_refused() {
        let channel = [&[1, 0, 2, 0, 1, 0, 0, 0][..], b"a", &[3, 0, 0, 0], b"cdr"].concat();
        let parsed = Channel { id: 1, schema: 2, topic: "a", encoding: "cdr" };
        assert_eq!(Channel::parse(&channel), Some(parsed));
        for length in 0..channel.len() {
            assert_eq!(Channel::parse(&channel[..length]), None);
        }
        let mut hostile = channel.clone();
        hostile[4..8].fill(0xff);
        assert_eq!(Channel::parse(&hostile), None);
    }

    #[test]
    fn chunks_are_unpacked_and_checked() {
        let records: Vec<u8> = (0..200_000_u32).map(|index| (index / 100) as u8).collect();
        let mut lz4 = lz4::EncoderBuilder::new().build(Vec::new()).unwrap();
        std::io::Write::write_all(&mut lz4, &records).unwrap();
        let (lz4, ended) = lz4.finish();
        ended.unwrap();
        let packings =
            [("", records.clone()), ("lz4", lz4), ("zstd", zstd::encode_all(&records[..], 1).unwrap())];
        let mut out = Vec::new();
        for (compression, packed) in &packings {
            let chunk = |records, crc| Chunk {
                start: 0,
                end: 0,
                unpacked: 200_000,
                crc,
                compression,
                packed: packed.len() as u64,
                records,
            };
            let crc = crc32fast::hash(&records);
            unpack(&chunk(packed, crc), false, &mut out).unwrap();
            assert_eq!(out, records);
            assert!(unpack(&chunk(packed, crc ^ 1), false, &mut out).unwrap_err().contains("checksum"));
            let half = &packed[..packed.len() / 2];
            assert!(unpack(&chunk(half, crc), false, &mut out).unwrap_err().contains("packed"));
            unpack(&chunk(half, crc), true, &mut out).unwrap();
            assert!(records.starts_with(&out));
            let hostile = Chunk { unpacked: u64::MAX, ..chunk(packed, crc) };
            assert!(unpack(&hostile, false, &mut out).unwrap_err().contains("at most"));
        }
    }
}
