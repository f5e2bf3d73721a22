//! A table of results, for the terminal (`Display`) and for a [`Page`](super::Page).

use std::fmt;

use super::escape;

/// Rows may be ragged: missing cells are empty. A column whose cells are figures ("37.2 mrad", "−0.5", "±3 %")
/// is aligned to the right; give its cells equal decimals and the points stand under each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    pub title: String,
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

impl Table {
    pub fn new<Cell: Into<String>>(title: impl Into<String>, header: impl IntoIterator<Item = Cell>) -> Self {
        let header = header.into_iter().map(Into::into).collect();
        Self { title: title.into(), header, rows: Vec::new() }
    }

    pub fn row<Cell: Into<String>>(&mut self, cells: impl IntoIterator<Item = Cell>) -> &mut Self {
        self.rows.push(cells.into_iter().map(Into::into).collect());
        self
    }

    pub(super) fn html(&self) -> String {
        let aligns = self.aligns();
        let row = |cells: &[String], tag: &str| {
            let cells = aligns.iter().enumerate().map(|(column, align)| {
                let class = if *align == Align::Right { " class=\"figure\"" } else { "" };
                format!("<{tag}{class}>{}</{tag}>", escape(cell(cells, column)))
            });
            format!("<tr>{}</tr>\n", cells.collect::<String>())
        };
        let caption = match self.title.as_str() {
            "" => String::new(),
            title => format!("<caption>{}</caption>\n", escape(title)),
        };
        let head = match self.header.as_slice() {
            [] => String::new(),
            header => format!("<thead>\n{}</thead>\n", row(header, "th")),
        };
        let body: String = self.rows.iter().map(|cells| row(cells, "td")).collect();
        format!("<div class=\"table\"><table>\n{caption}{head}<tbody>\n{body}</tbody>\n</table></div>\n")
    }

    fn columns(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0).max(self.header.len())
    }

    fn aligns(&self) -> Vec<Align> {
        let align = |column| {
            let cells = self.rows.iter().map(|row| cell(row, column));
            let mut telling = cells.filter(|cell| !is_blank(cell)).peekable();
            match telling.peek().is_some() && telling.all(is_figure) {
                true => Align::Right,
                false => Align::Left,
            }
        };
        (0..self.columns()).map(align).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<Vec<String>> = std::iter::once(&self.header)
            .chain(&self.rows)
            .map(|cells| (0..self.columns()).map(|column| printable(cell(cells, column))).collect())
            .collect();
        let width =
            |column: usize| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
        let columns: Vec<(usize, Align)> =
            self.aligns().into_iter().enumerate().map(|(column, align)| (width(column), align)).collect();

        if !self.title.is_empty() {
            writeln!(out, "{}", printable(&self.title))?;
        }
        for (index, cells) in lines.iter().enumerate().skip(usize::from(self.header.is_empty())) {
            writeln!(out, "{}", text_line(cells, &columns))?;
            if index == 0 {
                let rule: Vec<String> = columns.iter().map(|(width, _)| "-".repeat(*width)).collect();
                writeln!(out, "{}", rule.join("  "))?;
            }
        }
        Ok(())
    }
}

fn text_line(cells: &[String], columns: &[(usize, Align)]) -> String {
    let cells = cells.iter().zip(columns).map(|(cell, (width, align))| match align {
        Align::Left => format!("{cell:<width$}"),
        Align::Right => format!("{cell:>width$}"),
    });
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

fn cell(cells: &[String], column: usize) -> &str {
    cells.get(column).map_or("", String::as_str)
}

/// One line, and nothing that steers a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Says nothing about its column.
fn is_blank(cell: &str) -> bool {
    matches!(cell.trim(), "" | "-" | "–" | "—" | "n/a" | "NaN" | "inf" | "-inf")
}

fn is_figure(cell: &str) -> bool {
    let signs = ['+', '-', '−', '±', '<', '>', '≤', '≥', '≈', '~', '.', ' '];
    cell.trim_start_matches(signs).starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new("Tracking error", ["joint", "rmse [mrad]", "change", "note"]);
        table
            .row(["shoulder", "37.2", "−81 %", "ok"])
            .row(["elbow θ", "7.0", "-", "2 faults"])
            .row(["wrist"]);
        table
    }

    #[test]
    fn figures_stand_to_the_right_and_words_to_the_left() {
        let expected = "\
Tracking error
joint     rmse [mrad]  change  note
--------  -----------  ------  --------
shoulder         37.2   −81 %  ok
elbow θ           7.0       -  2 faults
wrist
";
        assert_eq!(sample().to_string(), expected);
    }

    #[test]
    fn html_has_the_same_alignment_and_is_escaped() {
        let mut table = sample();
        table.row(["<b>&\"", "1"]);
        let html = table.html();
        assert!(html.contains("<th class=\"figure\">rmse [mrad]</th>"), "{html}");
        assert!(html.contains("<td>&lt;b&gt;&amp;&quot;</td><td class=\"figure\">1</td>"), "{html}");
        assert_eq!(html.matches("<td").count(), 4 * 4);
    }

    #[test]
    fn an_empty_table_is_no_error() {
        assert_eq!(Table::default().to_string(), "");
        assert!(Table::default().html().contains("<tbody>"));
        assert_eq!(Table::new("", ["a", "b"]).to_string(), "a  b\n-  -\n");
    }

    #[test]
    fn cells_beyond_the_header_are_kept() {
        let mut table = Table::new("", ["a"]);
        table.row(["x", "1"]);
        assert_eq!(table.to_string(), "a\n-  -\nx  1\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new("t\u{1b}[31m", [] as [&str; 0]);
        table.row(["a\nb"]);
        assert_eq!(table.to_string(), "t [31m\na b\n");
    }
}
