//! How the cells of a table are set apart: by commas, semicolons, tabs or blanks, with names in the first row, in a comment above
//! it, or without.

use std::io::{self, Cursor, Read};

/// Of the first rows no more is looked at, bytes.
const LOOKED_AT: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Separator {
    /// One byte; with one other than a comma, decimals may have a comma.
    Byte(u8),
    /// One blank or several.
    Blanks,
}

const SEPARATORS: [Separator; 4] =
    [Separator::Byte(b','), Separator::Byte(b';'), Separator::Byte(b'\t'), Separator::Blanks];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    separator: Separator,
    /// Whether the first row is not of the data.
    pub has_header: bool,
    /// What lines that are no rows begin with.
    pub comment: u8,
    /// Whether it is text of two bytes a letter, by its byte order mark.
    pub is_utf_16: bool,
}

/// Lines that begin with one of these are no rows, as other tools write them above a table.
const COMMENTS: [&[u8]; 3] = [b"#", b"%", b"//"];

/// What spreadsheets write above a table, before the separator.
const DIRECTIVE: &[u8] = b"sep=";

/// What is known of a table before it is read.
pub struct Head {
    pub layout: Layout,
    /// Of the columns; none where they have no names, or numbers from 0 for such.
    pub names: Option<Vec<String>>,
}

impl Layout {
    /// Looks at the first two rows; gives the whole table from the first on, whose cells are set apart by [`Self::delimiter`].
    pub fn find(mut reader: impl Read) -> (Head, impl Read) {
        let (mut head, mut chunk, mut failed, mut is_whole) = (Vec::new(), [0; 4096], None, false);
        while !is_whole && rows(&head, false).count() < 2 && head.len() < LOOKED_AT {
            match reader.read(&mut chunk) {
                Ok(0) => is_whole = true,
                Ok(count) => head.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    failed = Some(error);
                    is_whole = true;
                }
            }
        }
        let mut found = rows(&head, is_whole);
        let text =
            |row: Option<(usize, &[u8])>| row.map(|(_, row)| String::from_utf8_lossy(row).into_owned());
        let start = found.next();
        let begin = start.map_or(head.len(), |(begin, _)| begin);
        let first = text(start).unwrap_or_default();
        let second = text(found.next());
        let above = &head[..begin];
        let told = above.strip_prefix(DIRECTIVE).and_then(|rest| rest.first());
        let separator =
            told.map_or_else(|| separator(&first, second.as_deref()), |byte| Separator::Byte(*byte));
        let cells = separator.cells(&first);
        let has_names = !separator.is_data(&cells);
        let above_it = names_above(above, separator, cells.len()).filter(|_| !has_names);
        let is_counted = above_it.is_none() && is_counted(&cells);
        let layout = Self {
            separator,
            has_header: has_names || is_counted,
            comment: comment(above).unwrap_or(b'#'),
            is_utf_16: [b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| head.starts_with(*mark)),
        };
        let names = match (has_names, is_counted) {
            (_, true) => None,
            (true, false) => Some(cells.iter().map(|cell| cell.to_string()).collect()),
            (false, false) => above_it,
        };
        drop(found);
        head.drain(..begin);
        let is_blanks = separator == Separator::Blanks;
        let whole = Resumed { head: Cursor::new(head), failed, rest: reader };
        let reader =
            Squeezed { reader: whole, is_blanks, is_pending: false, is_begun: false, is_quoted: false };
        (Head { layout, names }, reader)
    }

    pub fn delimiter(&self) -> u8 {
        match self.separator {
            Separator::Byte(byte) => byte,
            Separator::Blanks => b'\t',
        }
    }

    pub fn number(&self, cell: &[u8]) -> Option<f64> {
        self.separator.number(std::str::from_utf8(cell).ok()?)
    }
}

/// The one that makes as many cells of both rows, and of these most numbers in the second; of a row alone the one that makes numbers of
/// all its cells, or that is there.
fn separator(first: &str, second: Option<&str>) -> Separator {
    let count = |separator: Separator, row: &str| separator.cells(row).len();
    let makes_cells = |separator: &Separator, second: &str| {
        let cells = count(*separator, first);
        cells > 1 && cells == count(*separator, second)
    };
    let numbers = |separator: Separator, row: &str| {
        separator.cells(row).iter().filter(|cell| separator.number(cell).is_some()).count()
    };
    let by_both = second.and_then(|second| {
        let candidates = SEPARATORS.into_iter().rev().filter(|separator| makes_cells(separator, second));
        candidates.max_by_key(|separator| numbers(*separator, second))
    });
    let by_numbers = || {
        let is_it = |separator: &Separator| {
            let cells = count(*separator, first);
            cells > 1 && numbers(*separator, first) == cells
        };
        SEPARATORS.into_iter().find(is_it)
    };
    let is_there = |separator: &Separator| count(*separator, first) > 1;
    let by_one = || {
        let most = SEPARATORS[..3].iter().rev().filter(|separator| is_there(separator));
        most.max_by_key(|separator| count(**separator, first)).copied()
    };
    by_both
        .or_else(by_numbers)
        .or_else(by_one)
        .or_else(|| Some(Separator::Blanks).filter(is_there))
        .unwrap_or(SEPARATORS[0])
}

impl Separator {
    /// Without quotes around them, nor an empty one at the end.
    fn cells<'a>(&self, row: &'a str) -> Vec<&'a str> {
        let mut is_quoted = false;
        let is_end = |letter: char| {
            is_quoted ^= letter == '"';
            !is_quoted
                && match self {
                    Self::Byte(byte) => letter == *byte as char,
                    Self::Blanks => letter.is_whitespace(),
                }
        };
        let cells = row.trim_matches(['\r', '\n', '\u{feff}']).split(is_end).map(unquoted);
        let mut cells: Vec<&str> = match self {
            Self::Byte(_) => cells.collect(),
            Self::Blanks => cells.filter(|cell| !cell.is_empty()).collect(),
        };
        cells.pop_if(|last| last.is_empty());
        cells
    }

    fn number(&self, cell: &str) -> Option<f64> {
        let has_decimal_comma = *self != Self::Byte(b',');
        match cell.parse() {
            Err(_) if has_decimal_comma && !cell.contains('.') => cell.replacen(',', ".", 1).parse().ok(),
            number => number.ok(),
        }
    }

    /// Whether these are no names of columns: every cell is a number or empty, and one is a number; or, with words among them as
    /// `ros2 topic echo --csv` writes, the first and most are.
    fn is_data(&self, cells: &[&str]) -> bool {
        let is_number = |cell: &&&str| self.number(cell).is_some();
        let numbers = cells.iter().filter(is_number).count();
        let words = cells.iter().filter(|cell| !cell.is_empty()).count() - numbers;
        numbers > 0 && (words == 0 || cells.first().is_some_and(|first| is_number(&first)) && numbers > words)
    }
}

fn unquoted(cell: &str) -> &str {
    let cell = cell.trim();
    cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"')).unwrap_or(cell)
}

/// Whether the cells, but for an empty first one, are 0, 1, 2, ...: numbers in place of names.
fn is_counted(cells: &[&str]) -> bool {
    let cells = if cells.first().is_some_and(|first| first.is_empty()) { &cells[1..] } else { cells };
    cells.len() > 2 && cells.iter().enumerate().all(|(index, cell)| *cell == index.to_string())
}

/// The names of so many columns in the last line before the first row, if it has them.
fn names_above(above: &[u8], separator: Separator, columns: usize) -> Option<Vec<String>> {
    let text = String::from_utf8_lossy(above);
    let line = text.trim_end().lines().next_back()?.trim_start_matches(['\u{feff}', '#', '%', '/', ' ']);
    let any: Vec<&str> = line.split([',', ';', '\t', ' ']).filter(|cell| !cell.is_empty()).collect();
    let names = [any, separator.cells(line)].into_iter().find(|names| names.len() == columns)?;
    let is_name = |name: &&str| !name.is_empty() && separator.number(name).is_none();
    names.iter().all(is_name).then(|| names.iter().map(|name| name.to_string()).collect())
}

/// The lines that are neither empty nor a comment, once their end is there, with where they begin.
fn rows(head: &[u8], is_whole: bool) -> impl Iterator<Item = (usize, &[u8])> {
    let mut end = 0;
    let lines = head.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        end += line.len();
        (end - line.len(), line)
    });
    lines.filter(move |(_, line)| (is_whole || line.ends_with(b"\n")) && is_row(line))
}

fn is_row(line: &[u8]) -> bool {
    let is_comment = COMMENTS.iter().chain([&DIRECTIVE]).any(|comment| line.starts_with(comment));
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

/// Makes one tab of the blanks between two cells.
struct Squeezed<R> {
    reader: R,
    is_blanks: bool,
    /// Whether blanks came after a cell, and whether there was a cell in this line.
    is_pending: bool,
    is_begun: bool,
    is_quoted: bool,
}

impl<R: Read> Read for Squeezed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_blanks || buffer.len() < 2 {
            return self.reader.read(buffer);
        }
        loop {
            // a tab may still be owed from before: so one more may be written than is read
            let count = self.reader.read(&mut buffer[1..])?;
            let mut written = 0;
            for index in 1..=count {
                let byte = buffer[index];
                match byte {
                    b' ' | b'\t' if !self.is_quoted => {
                        self.is_pending = self.is_begun;
                        continue;
                    }
                    b'\n' | b'\r' => {
                        (self.is_pending, self.is_begun, self.is_quoted) = (false, false, false);
                    }
                    _ => {
                        if std::mem::take(&mut self.is_pending) {
                            buffer[written] = b'\t';
                            written += 1;
                        }
                        self.is_quoted ^= byte == b'"';
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

    fn read(text: &str, at_once: usize) -> (Head, String) {
        let (head, mut reader) = Layout::find(text.as_bytes());
        let (mut out, mut buffer) = (Vec::new(), vec![0; at_once]);
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => return (head, String::from_utf8(out).unwrap()),
                count => out.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn blanks_are_squeezed_however_they_are_read() {
        let text = "\n# a b\n  t  \"q 1\"\tq2 \r\n0 1  2\n\n   \n3 4 5";
        for at_once in [2, 3, 5, 100] {
            let (head, read) = read(text, at_once);
            assert_eq!(read, "t\t\"q 1\"\tq2\r\n0\t1\t2\n\n\n3\t4\t5");
            assert!(head.layout.has_header && head.layout.delimiter() == b'\t');
            assert_eq!(head.names.unwrap(), ["t", "q 1", "q2"]);
        }
    }

    #[test]
    fn the_separator_is_the_one_that_makes_cells() {
        const BLANKS: u8 = b'\t';
        for (text, delimiter, columns) in [
            ("t_s,a pos,b pos", b',', Some(3)),
            ("\u{feff}0.1, 2,,-3e-5", b',', None),
            ("t;a,x;b", b';', Some(3)),
            ("0,1;2,5;3,5;4,5", b';', None),
            ("a,b,c;d", b',', Some(3)),
            ("0.1\t2", b'\t', None),
            ("time", b',', Some(1)),
            ("", b',', Some(0)),
            ("Time (s)\tElbow Pos\n0.1\t2\n", b'\t', Some(2)),
            ("t  q1\tq2\n0 1\t 2\n", BLANKS, Some(3)),
            ("t, q1, q2\n0, 1, 2\n", b',', Some(3)),
            ("t q1 q2\n0,5 1,5 2,5\n", BLANKS, Some(3)),
            ("0,5 1,5 2,5\n1,5 2,5 3,5\n", BLANKS, None),
            ("\"Time, s\",q1\n0,1\n", b',', Some(2)),
            ("\"t\" \"q 1\"\n0 1\n", BLANKS, Some(2)),
            ("sep=;\r\nt;q1\r\n0;1\r\n", b';', Some(2)),
            ("t,q1,q2,\n0,1,2\n", b',', Some(3)),
            ("stamp,q1\n2026-05-01 12:00:00,1\n", b',', Some(2)),
            ("1700000000,0,base,0.5,1.5\n1700000000,1,base,0.5,1.5\n", b',', None),
            (",0,1,2\n0,0.5,1,2\n", b',', None),
        ] {
            let (head, _) = read(text, 100);
            assert_eq!(
                (head.layout.delimiter(), head.names.map(|names| names.len())),
                (delimiter, columns),
                "{text:?}"
            );
        }
    }

    #[test]
    fn names_in_a_comment_are_those_of_the_columns() {
        let names = |text: &str| read(text, 100).0.names;
        let expected = Some(["t", "q1", "q2"].map(String::from).to_vec());
        for text in ["# t,q1,q2\n0,1,2\n", "% t, q1, q2\n0 1 2\n", "# of a robot\n#t\tq1\tq2\n0\t1\t2\n"] {
            assert_eq!(names(text), expected, "{text:?}");
        }
        for other in ["# of a robot arm\n0,1,2\n", "# 0,1,2\n0,1,2\n", "0,1,2\n"] {
            assert_eq!(names(other), None, "{other:?}");
        }
        // a row of numbers in place of names is none of data
        let (head, text) = read("0,1,2\n0.5,1,2\n", 100);
        assert!(head.layout.has_header && head.names.is_none() && text.starts_with("0,1,2"));
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
