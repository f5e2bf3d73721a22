//! How the cells of a table are set apart: by commas, semicolons, tabs or blanks, with names in the first row or without.

use std::io::{self, Cursor, Read};

/// Of the first row no more is looked at, bytes.
const LOOKED_AT: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Separator {
    /// One byte; with one other than a comma, decimals may have a comma.
    Byte(u8),
    /// One blank or several.
    Blanks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    separator: Separator,
    /// Whether the first row names the columns; it does not if all its cells are numbers.
    pub has_header: bool,
    /// What lines that are no rows begin with.
    pub comment: u8,
    /// Whether it is text of two bytes a letter, by its byte order mark.
    pub is_utf_16: bool,
}

/// Lines that begin with one of these are no rows, as other tools write them above a table.
const COMMENTS: [&[u8]; 3] = [b"#", b"%", b"//"];

impl Layout {
    /// Looks at the first row; gives the whole table, whose cells are set apart by [`Self::delimiter`].
    pub fn find(mut reader: impl Read) -> (Self, impl Read) {
        let (mut head, mut chunk, mut failed) = (Vec::new(), [0; 4096], None);
        while first_row(&head).is_none() && head.len() < LOOKED_AT {
            match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => head.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let row = first_row(&head).unwrap_or_else(|| last_line(&head));
        let layout = Self {
            comment: comment(&head).unwrap_or(b'#'),
            is_utf_16: [b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| head.starts_with(*mark)),
            ..Self::of_row(&String::from_utf8_lossy(row))
        };
        let is_blanks = layout.separator == Separator::Blanks;
        let whole = Resumed { head: Cursor::new(head), failed, rest: reader };
        (layout, Squeezed { reader: whole, is_blanks, is_pending: false, is_begun: false })
    }

    fn new(separator: Separator) -> Self {
        Self { separator, has_header: true, comment: b'#', is_utf_16: false }
    }

    fn of_row(row: &str) -> Self {
        let row = row.trim_start_matches('\u{feff}').trim();
        let separator = Self::separator(row);
        let layout = Self::new(separator);
        Self { has_header: !layout.are_numbers(row), ..layout }
    }

    fn separator(row: &str) -> Separator {
        let count = |separator: char| row.matches(separator).count();
        let is_it = |separator: &char| {
            let of = Self::new(Separator::Byte(*separator as u8));
            count(*separator) > 0 && (count(*separator) >= count(',') || of.are_numbers(row))
        };
        match [';', '\t'].iter().find(|separator| is_it(separator)) {
            // tabs beside blanks only align
            Some('\t') if count(',') == 0 && row.contains(' ') && !row.contains('"') => Separator::Blanks,
            Some(separator) => Separator::Byte(*separator as u8),
            None if count(',') == 0 && row.contains(' ') && !row.contains('"') => Separator::Blanks,
            None => Separator::Byte(b','),
        }
    }

    /// Whether every cell is a number, or empty, and one is a number.
    fn are_numbers(&self, row: &str) -> bool {
        let cells: Vec<&str> = match self.separator {
            Separator::Byte(byte) => row.split(byte as char).map(str::trim).collect(),
            Separator::Blanks => row.split_whitespace().collect(),
        };
        let is_number = |cell: &&str| self.number(cell.as_bytes()).is_some();
        cells.iter().all(|cell| cell.is_empty() || is_number(cell)) && cells.iter().any(is_number)
    }

    pub fn delimiter(&self) -> u8 {
        match self.separator {
            Separator::Byte(byte) => byte,
            Separator::Blanks => b',',
        }
    }

    pub fn number(&self, cell: &[u8]) -> Option<f64> {
        let text = std::str::from_utf8(cell).ok()?;
        let has_decimal_comma = !matches!(self.separator, Separator::Byte(b','));
        match text.parse() {
            Err(_) if has_decimal_comma && !text.contains('.') => text.replacen(',', ".", 1).parse().ok(),
            number => number.ok(),
        }
    }
}

/// The first line that is neither empty nor a comment, once its end is there.
fn first_row(head: &[u8]) -> Option<&[u8]> {
    let lines = head.split_inclusive(|byte| *byte == b'\n');
    lines.into_iter().filter(|line| line.ends_with(b"\n")).find(|line| is_row(line))
}

fn last_line(head: &[u8]) -> &[u8] {
    head.split(|byte| *byte == b'\n').next_back().filter(|line| is_row(line)).unwrap_or_default()
}

fn is_row(line: &[u8]) -> bool {
    let is_comment = COMMENTS.iter().any(|comment| line.starts_with(comment));
    !is_comment && line.iter().any(|byte| !byte.is_ascii_whitespace())
}

/// What the first comment begins with.
fn comment(head: &[u8]) -> Option<u8> {
    let mut lines = head.split(|byte| *byte == b'\n');
    lines.find_map(|line| COMMENTS.iter().find(|comment| line.starts_with(comment)).map(|comment| comment[0]))
}

/// What was read ahead, then how that ended or the rest.
struct Resumed<R> {
    head: Cursor<Vec<u8>>,
    failed: Option<io::Error>,
    rest: R,
}

impl<R: Read> Read for Resumed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.head.read(buffer)?, self.failed.take()) {
            (0, Some(error)) => Err(error),
            (0, None) => self.rest.read(buffer),
            (count, failed) => {
                self.failed = failed;
                Ok(count)
            }
        }
    }
}

/// Makes one comma of the blanks between two cells.
struct Squeezed<R> {
    reader: R,
    is_blanks: bool,
    /// Whether blanks came after a cell, and whether there was a cell in this line.
    is_pending: bool,
    is_begun: bool,
}

impl<R: Read> Read for Squeezed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_blanks || buffer.len() < 2 {
            return self.reader.read(buffer);
        }
        loop {
            // a comma may still be owed from before: so one more may be written than is read
            let count = self.reader.read(&mut buffer[1..])?;
            let mut written = 0;
            for index in 1..=count {
                let byte = buffer[index];
                match byte {
                    b' ' | b'\t' => {
                        self.is_pending = self.is_begun;
                        continue;
                    }
                    b'\n' | b'\r' => (self.is_pending, self.is_begun) = (false, false),
                    _ => {
                        if std::mem::take(&mut self.is_pending) {
                            buffer[written] = b',';
                            written += 1;
                        }
                        self.is_begun = true;
                    }
                }
                buffer[written] = byte;
                written += 1;
            }
            if written > 0 || count == 0 {
                return Ok(written);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, at_once: usize) -> (Layout, String) {
        let (layout, mut reader) = Layout::find(text.as_bytes());
        let (mut out, mut buffer) = (Vec::new(), vec![0; at_once]);
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => return (layout, String::from_utf8(out).unwrap()),
                count => out.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn blanks_are_squeezed_however_they_are_read() {
        let text = "\n# a b\n  t  q1\tq2 \r\n0 1  2\n\n   \n3 4 5";
        for at_once in [2, 3, 5, 100] {
            let (layout, read) = read(text, at_once);
            assert_eq!(read, "\n#,a,b\nt,q1,q2\r\n0,1,2\n\n\n3,4,5");
            assert!(layout.has_header && layout.delimiter() == b',');
        }
    }

    #[test]
    fn the_separator_is_the_one_that_makes_cells() {
        let found = |row: &str| {
            let layout = Layout::of_row(row);
            (layout.separator, layout.has_header)
        };
        assert_eq!(found("t_s,a pos,b pos"), (Separator::Byte(b','), true));
        assert_eq!(found("\u{feff}0.1, 2,,-3e-5"), (Separator::Byte(b','), false));
        assert_eq!(found("t;a,x;b"), (Separator::Byte(b';'), true));
        assert_eq!(found("0,1;2,5;3,5;4,5"), (Separator::Byte(b';'), false));
        assert_eq!(found("a,b,c;d"), (Separator::Byte(b','), true));
        assert_eq!(found("0.1\t2"), (Separator::Byte(b'\t'), false));
        assert_eq!(found("time"), (Separator::Byte(b','), true));
        assert_eq!(found(""), (Separator::Byte(b','), true));
    }

    #[test]
    fn a_table_that_cannot_be_read_on_says_so_after_what_could() {
        struct Broken(usize);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1 => (&b"t,a"[..]).read(buffer),
                    _ => Err(io::Error::other("broken")),
                }
            }
        }
        let (_, mut reader) = Layout::find(Broken(0));
        let mut buffer = [0; 10];
        assert_eq!(reader.read(&mut buffer).unwrap(), 3);
        assert_eq!(reader.read(&mut buffer).unwrap_err().to_string(), "broken");
    }
}
