//! Motion from a table: `.csv`, `.tsv` or `.txt`, these also with `.gz`, one row a measurement.

mod columns;
mod names;

pub use columns::{ColumnMap, Columns, JointColumns, Time};
pub use names::{Column, is_told};

use super::cleaning::assemble;
use super::layout::{Head, Layout};
use super::messages::Quaternion;
use super::rosbag::losses::Losses;
use super::{BASE, Recording, Row, Selection, Summary, commands, data};
use crate::error::{Error, Result};
use crate::state::{Space, Stamp};
use ::csv::ByteRecord;
use columns::CommandColumns;
use flate2::read::MultiGzDecoder;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};
use std::cmp::Ordering;
use std::f64::consts::TAU;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// A line that is longer than this is no row of a table, bytes.
const LONGEST_LINE: usize = 1 << 20;

/// A table whose rows are so far apart, s, may be one whose time is in another unit, and is taken to be if nobody says otherwise.
const LONG_INTERVAL: f64 = 1.0;
const TOO_LONG_INTERVAL: f64 = 5.0;

/// A table is read backwards if its time falls so many times as often as it rises.
const MOST: usize = 10;

/// Of columns that are not read no more are named.
const MOST_NAMES: usize = 12;

/// An angle that changes by so many times its range has returned.
const RETURNS: f64 = 1.5;

/// A time that is later than this is not in seconds, s: that of a [`Stamp`] ends there, in the year 2262.
const LATEST: f64 = 9.22e9;

/// Whether a file is named as a table.
pub fn is_table(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    [".csv", ".tsv", ".txt"].iter().any(|ending| name.ends_with(ending)) && !path.is_dir()
}

pub fn read(path: &Path, selection: &Selection) -> Result<Recording> {
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let is_packed = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    let reader: Box<dyn Read> = if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    read_table(path, reader, selection)
}

/// Rows that are cut off or have another number of cells are counted; damage of the packing ends the table.
fn read_table(path: &Path, reader: impl Read, selection: &Selection) -> Result<Recording> {
    if let Some(rate) = selection.rate.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
        return Err(Error::mismatch("--rate [Hz]", rate, "above zero"));
    }
    let (Head { layout, names }, reader) = Layout::find(ShortLines { reader, line: 0 });
    if layout.is_utf_16 {
        return Err(data(path, "it is in UTF-16; make it UTF-8: iconv -f UTF-16 -t UTF-8"));
    }
    let mut table = ::csv::ReaderBuilder::new()
        .trim(::csv::Trim::All)
        .comment(Some(layout.comment))
        .flexible(true)
        .delimiter(layout.delimiter())
        .has_headers(layout.has_header)
        .from_reader(reader);
    let first = table.byte_headers().map_err(|error| data(path, error.to_string()))?;
    if first.iter().all(<[u8]>::is_empty) {
        return Err(data(path, "the table is empty"));
    }
    let has_names = names.is_some();
    let names = names.unwrap_or_else(|| (1..=first.len()).map(|number| number.to_string()).collect());
    let header: Vec<&str> = names.iter().map(String::as_str).collect();
    let columns = columns(&header, has_names, selection).map_err(|problem| data(path, problem))?;
    let commands = match &selection.commands {
        Some(asked) => {
            Some(CommandColumns::new(&header, asked, &columns).map_err(|problem| data(path, problem))?)
        }
        None => None,
    };
    let mut summary = Summary::default();
    if layout.has_header && !has_names {
        summary.notes.push("the first row, 0, 1, 2 and so on, is taken for numbers of the columns".into());
    }
    let used: Vec<Column> =
        columns.columns().chain(commands.iter().flat_map(CommandColumns::columns)).collect();
    if has_names && selection.columns.is_none() && selection.joints.is_none() {
        summary.notes.extend(note_unread(&header, &used));
    }
    summary.notes.extend(note_units(&header, &used));
    let is_unit_said = selection.columns.as_ref().is_some_and(Columns::say_unit_of_time);
    let mut plan = Plan { header: &header, layout, columns, commands, is_unit_said };
    let mut rows = plan.read_rows(&mut table, &mut summary);
    let Plan { columns, commands, .. } = plan;
    let steps = || rows.windows(2).map(|pair| pair[1].header.cmp(&pair[0].header));
    let count = |wanted: Ordering| steps().filter(|step| *step == wanted).count();
    if count(Ordering::Less) > MOST * count(Ordering::Greater) && rows.len() > MOST {
        rows.reverse();
        summary.notes.push("the times fall; read from the last row to the first".into());
    }
    summary.notes.extend(note_degrees(&columns, &rows));
    let (mut recording, beside) = assemble(path, columns.joint_names(), columns.space, rows, summary)?;
    if let (Time::Column(Column { index, unit: 1.0 }), false) = (columns.time, is_unit_said) {
        check_interval(header[index], &mut recording.summary).map_err(|problem| data(path, problem))?;
    }
    if let (Some(asked), Some(columns)) = (&selection.commands, commands) {
        commands::of_rows(asked, columns.quantities, beside.commands, &mut recording)?;
    }
    Ok(recording)
}

/// What is read of the rows of a table.
struct Plan<'a> {
    header: &'a [&'a str],
    layout: Layout,
    columns: ColumnMap,
    commands: Option<CommandColumns>,
    /// Whether the user has said the unit of the time, or that it is in two columns.
    is_unit_said: bool,
}

impl Plan<'_> {
    /// The rows with a time; what the others lack is counted in `summary`.
    fn read_rows(&mut self, table: &mut ::csv::Reader<impl Read>, summary: &mut Summary) -> Vec<Row> {
        let (mut rows, mut record, width) = (Vec::new(), ByteRecord::new(), self.header.len());
        let mut is_unit_known = self.is_unit_said;
        while next(table, &mut record, &mut summary.losses) {
            summary.read += 1;
            if record.len() == width + 1 && record.get(width).is_some_and(<[u8]>::is_empty) {
                record.truncate(width); // rows that end with the separator
            }
            if record.len() != width {
                summary.undecodable += 1;
                let detail = format!("row {} has {} cells, the header {width}", summary.read, record.len());
                summary.losses.add("row of another length", detail);
                continue;
            }
            let cells = Cells { record: &record, layout: self.layout, row: summary.read - 1 };
            is_unit_known = is_unit_known || self.find_unit(&cells, &mut summary.notes);
            match row(&self.columns, self.commands.as_ref(), &cells) {
                Some(row) => rows.push(row),
                None => {
                    summary.not_finite += 1;
                    summary.losses.add("row without a time", no_time(&self.columns, self.header, &cells));
                }
            }
        }
        rows
    }

    /// Finds the unit of a time since 1970 by its size; says whether there was one to look at.
    fn find_unit(&mut self, cells: &Cells, notes: &mut Vec<String>) -> bool {
        let Time::Column(Column { index, unit }) = &mut self.columns.time else { return true };
        let time = cells.number(*index);
        if let Some((size, name)) = unit_of_date(time).filter(|_| *unit == 1.0) {
            *unit = size;
            notes.push(format!("the time '{}' is in {name} since 1970, by its size", self.header[*index]));
        }
        time.is_finite()
    }
}

/// Those of the motion, as asked for or by their names.
fn columns(
    header: &[&str],
    has_names: bool,
    selection: &Selection,
) -> std::result::Result<ColumnMap, String> {
    let columns = match &selection.columns {
        Some(asked) => ColumnMap::named(header, asked, selection.rate)?,
        None if !has_names => {
            return Err(format!(
                "its {} columns have no names; say which they are: --columns time=1,elbow=2:3 (position, velocity and, third, \
                 effort), of a base time=1,x=2,y=3,yaw=4; without a time leave out time= and say --rate",
                header.len()
            ));
        }
        None => {
            let is_base = selection.joints.as_deref().is_some_and(|names| *names == BASE);
            ColumnMap::detect(header, selection.rate, is_base)?
        }
    };
    match &selection.joints {
        Some(names) => columns.select(names),
        None => Ok(columns),
    }
}

/// The columns that are not `used`.
fn note_unread(header: &[&str], used: &[Column]) -> Option<String> {
    let is_unread =
        |(index, name): &(usize, &&str)| !name.is_empty() && used.iter().all(|column| column.index != *index);
    let unread: Vec<&str> = header.iter().enumerate().filter(is_unread).map(|(_, name)| *name).collect();
    let more = unread.len().saturating_sub(MOST_NAMES);
    let named = unread[..unread.len() - more].join(", ");
    let others = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!unread.is_empty()).then(|| format!("columns that are not read: {named}{others}"))
}

/// The columns of `used` whose names have other units than SI.
fn note_units(header: &[&str], used: &[Column]) -> Option<String> {
    let others = used.iter().filter(|column| column.unit != 1.0);
    let names: Vec<&str> = others.map(|column| header[column.index]).collect();
    (!names.is_empty()).then(|| format!("in the units of their names: {}", names.join(", ")))
}

/// Angles that may be in degrees, for all that their names say: beyond two turns, within one of degrees, and back.
fn note_degrees(columns: &ColumnMap, rows: &[Row]) -> Option<String> {
    let is_angle = |index: &usize| columns.space == Space::Joints || columns.joints[*index].name == BASE[2];
    let range = |index: usize| {
        let values = || rows.iter().map(|row| row.position[index]).filter(|value| value.is_finite());
        let (least, greatest) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
        let way: f64 = values().zip(values().skip(1)).map(|(before, after)| (after - before).abs()).sum();
        let is_one = greatest - least > 2.0 * TAU && least.abs().max(greatest.abs()) <= 360.0;
        (is_one && way > RETURNS * (greatest - least)).then_some((least, greatest))
    };
    let is_said = |column: &Column| column.unit != 1.0;
    let joints = (0..columns.joints.len()).filter(is_angle);
    let named = joints.filter(|index| !columns.joints[*index].position.as_ref().is_some_and(is_said));
    let found: Vec<String> = named
        .filter_map(|index| {
            let (least, greatest) = range(index)?;
            Some(format!("{} ({least:.1} to {greatest:.1})", columns.joints[index].name))
        })
        .collect();
    let advice = "if they are in degrees, say it in the column's name, as in 'elbow [deg]'";
    (!found.is_empty()).then(|| format!("warning: angles of many turns: {}; {advice}", found.join(", ")))
}

/// The unit of a time since 1970 that is too large for seconds: its size in s, and its name.
fn unit_of_date(time: f64) -> Option<(f64, &'static str)> {
    match time {
        1e11..1e13 => Some((1e-3, "milliseconds")),
        1e14..1e16 => Some((1e-6, "microseconds")),
        1e17..9.2e18 => Some((1e-9, "nanoseconds")),
        _ => None,
    }
}

/// What is wrong with the time of a row.
fn no_time(columns: &ColumnMap, header: &[&str], cells: &Cells) -> String {
    let index = match columns.time {
        Time::Column(column) => column.index,
        Time::Stamp(seconds, _) => seconds,
        Time::Rate(_) => 0,
    };
    let (cell, name) = (String::from_utf8_lossy(cells.record.get(index).unwrap_or_default()), header[index]);
    let is_number = cells.number(index).is_finite();
    let advice = if is_number {
        format!("; of another unit: --columns time={name}:ms (us, ns)")
    } else {
        String::new()
    };
    format!(
        "row {}: '{cell}' in column '{name}' is no time in seconds nor a date with a time as 2026-05-01 12:00:00.25{advice}",
        cells.row + 1
    )
}

/// Refuses rows so far apart that the time in the column `name` is hardly in seconds, and warns of some that may not be.
fn check_interval(name: &str, summary: &mut Summary) -> std::result::Result<(), String> {
    let interval = summary.interval;
    let (unit, units) = match interval {
        1e6.. => ("ns", "nanoseconds"),
        1e3.. => ("us", "microseconds"),
        _ => ("ms", "milliseconds"),
    };
    let told =
        format!("rows are {interval} s apart; if the time is in {units}: --columns time={name}:{unit}");
    match interval {
        TOO_LONG_INTERVAL.. => return Err(format!("its {told}, if in seconds: time={name}:s")),
        LONG_INTERVAL.. => summary.notes.push(format!("warning: {told}")),
        _ => {}
    }
    Ok(())
}

/// Reads the next row; false at the end or where the file cannot be read on.
fn next(table: &mut ::csv::Reader<impl Read>, record: &mut ByteRecord, losses: &mut Losses) -> bool {
    table.read_byte_record(record).unwrap_or_else(|error| {
        losses.add(
            "rest of the table not readable",
            format!("after byte {}: {error}", table.position().byte()),
        );
        false
    })
}

/// A row of a table, undecoded.
struct Cells<'a> {
    record: &'a ByteRecord,
    layout: Layout,
    /// How many rows there were before it.
    row: usize,
}

impl Cells<'_> {
    /// NaN where there is none.
    fn number(&self, index: usize) -> f64 {
        self.record.get(index).and_then(|cell| self.layout.number(cell)).unwrap_or(f64::NAN)
    }
}

/// Empty cells and what is no number become NaN, for the cleaning to count; none without a time.
fn row(columns: &ColumnMap, commands: Option<&CommandColumns>, cells: &Cells) -> Option<Row> {
    let cell = |index: usize| cells.number(index);
    let value = |column: Column| cell(column.index) * column.unit;
    let in_range = |time: f64| Some(time).filter(|time| time.abs() <= LATEST).map(Stamp::from_seconds);
    let header = match columns.time {
        Time::Column(column) => {
            let text = || cells.record.get(column.index);
            let time = whole(text(), column.unit).or_else(|| in_range(value(column)));
            time.or_else(|| date_and_time(text()?))
        }
        Time::Stamp(seconds, rest) => in_range(cell(seconds))
            .zip(Some(cell(rest)))
            .filter(|(_, rest)| rest.is_finite())
            .map(|(stamp, rest)| Stamp(stamp.0.saturating_add(rest as i64))),
        Time::Rate(rate) => in_range(cells.row as f64 / rate),
    };
    let all = |of: fn(&JointColumns) -> Option<Column>| -> Option<Vec<f64>> {
        columns.joints.iter().map(|joint| of(joint).map(value)).collect()
    };
    // of a base the missing ones are zero, for the cleaning to complete
    let or_zero = |of: fn(&JointColumns) -> Option<Column>| -> Vec<f64> {
        columns.joints.iter().map(|joint| of(joint).map_or(0.0, value)).collect()
    };
    let velocity = match columns.space {
        Space::Joints => columns.joints.iter().map(|joint| joint.velocity.map_or(f64::NAN, value)).collect(),
        Space::PlanarBase => or_zero(|joint| joint.velocity),
    };
    let mut position = or_zero(|joint| joint.position);
    if let (Some(parts), [.., yaw]) = (columns.orientation, &mut position[..]) {
        let [x, y, z, w] = parts.map(|part| part.map_or(0.0, cell));
        *yaw = Quaternion { x, y, z, w }.unit_yaw().unwrap_or(f64::NAN);
    }
    Some(Row {
        header: header?,
        log: columns.log.and_then(|column| in_range(value(column))),
        position,
        velocity,
        effort: all(|joint| joint.effort).unwrap_or_default(),
        command: commands.map_or(Vec::new(), |commands| {
            commands.columns.iter().map(|column| column.map_or(0.0, value)).collect()
        }),
    })
}

/// A time that is written as a whole number of its `unit` [s], to the nanosecond.
fn whole(cell: Option<&[u8]>, unit: f64) -> Option<Stamp> {
    let count: i64 = std::str::from_utf8(cell?).ok()?.parse().ok()?;
    count.checked_mul((unit * 1e9).round() as i64).map(Stamp)
}

/// A time that is written as in ISO 8601, `2026-05-01 12:00:00.25`, also with `T` between and with an offset, without one UTC; or as a
/// duration, `0 days 00:00:00.25` or `0.25 sec`.
fn date_and_time(cell: &[u8]) -> Option<Stamp> {
    let text = std::str::from_utf8(cell).ok()?;
    let text = &text.replace('/', "-");
    let of_day = || TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok();
    let duration = || {
        let span: Span = text.parse().ok()?;
        Some(span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?.as_nanos())
    };
    let date = text.parse().ok().or_else(of_day).map(Timestamp::as_nanosecond);
    i64::try_from(date.or_else(duration)?).ok().map(Stamp)
}

/// Ends with an error at a line that is too long, so that a small packed file cannot fill the memory.
struct ShortLines<R> {
    reader: R,
    line: usize,
}

impl<R: Read> Read for ShortLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.line = match buffer[..length].iter().rposition(|byte| *byte == b'\n') {
            Some(end) => length - end - 1,
            None => self.line + length,
        };
        match self.line > LONGEST_LINE {
            true => Err(io::Error::other(format!("a line of more than {LONGEST_LINE} bytes"))),
            false => Ok(length),
        }
    }
}

#[cfg(test)]
mod tests;
