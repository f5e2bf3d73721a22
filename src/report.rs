//! Results as one self-contained HTML file: text, tables and charts, nothing from the network, no scripts.
//!
//! ```
//! use learned_control::report::{LineChart, Page, Series, Table};
//!
//! let mut table = Table::new("Tracking error", ["controller", "rmse [mrad]"]);
//! table.row(["baseline", "37.0"]).row(["learned", "1.1"]);
//! println!("{table}");
//!
//! let chart = LineChart {
//!     title: "Shoulder".into(),
//!     x_label: "time [s]".into(),
//!     y_label: "tracking error [mrad]".into(),
//!     series: vec![Series::line("learned", vec![(0.0, 7.0), (60.0, 1.1)])],
//!     x_log: false,
//!     y_log: true,
//!     marks: vec![(30.0, "payload +1.5 kg".into())],
//! };
//! let mut page = Page::new("Demo", "seed 1");
//! page.paragraph("The payload is unknown to both.").table(table).chart(chart);
//! assert!(page.html()?.starts_with("<!doctype html>"));
//! # Ok::<(), learned_control::Error>(())
//! ```

mod axis;
mod layout;
pub mod chart;
pub mod table;

use std::path::Path;

use crate::error::Result;
use crate::files;

pub use chart::{LineChart, Series, Style};
pub use table::Table;

#[derive(Debug, Clone, Default)]
pub struct Page {
    title: String,
    subtitle: String,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone)]
enum Block {
    Heading(String),
    Paragraph(String),
    Table(Table),
    Figure { charts: Vec<LineChart>, caption: String },
}

/// Blocks appear in the order of the calls; all text is plain text.
impl Page {
    pub fn new(title: impl Into<String>, subtitle: impl Into<String>) -> Self {
        Self { title: title.into(), subtitle: subtitle.into(), blocks: Vec::new() }
    }

    pub fn heading(&mut self, text: impl Into<String>) -> &mut Self {
        self.push(Block::Heading(text.into()))
    }

    pub fn paragraph(&mut self, text: impl Into<String>) -> &mut Self {
        self.push(Block::Paragraph(text.into()))
    }

    pub fn table(&mut self, table: Table) -> &mut Self {
        self.push(Block::Table(table))
    }

    pub fn chart(&mut self, chart: LineChart) -> &mut Self {
        self.push(Block::Figure { charts: vec![chart], caption: String::new() })
    }

    /// Charts that belong together, one below the other, over a numbered caption.
    pub fn figure(
        &mut self,
        charts: impl IntoIterator<Item = LineChart>,
        caption: impl Into<String>,
    ) -> &mut Self {
        self.push(Block::Figure { charts: charts.into_iter().collect(), caption: caption.into() })
    }

    fn push(&mut self, block: Block) -> &mut Self {
        self.blocks.push(block);
        self
    }

    pub fn html(&self) -> Result<String> {
        let (title, subtitle) = (escape(&self.title), escape(&self.subtitle));
        let mut body = format!("<h1>{title}</h1>\n");
        if !subtitle.is_empty() {
            body += &format!("<p class=\"subtitle\">{subtitle}</p>\n");
        }
        let mut figures = 0;
        for block in &self.blocks {
            body += &block.html(&mut figures)?;
        }
        Ok(format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n{HEAD}<title>{title}</title>\n</head>\n\
             <body>\n{body}</body>\n</html>\n"
        ))
    }

    /// The file appears whole or not at all.
    pub fn write(&self, path: &Path) -> Result<()> {
        files::replace(path, self.html()?.as_bytes())
    }
}

impl Block {
    fn html(&self, figures: &mut usize) -> Result<String> {
        Ok(match self {
            Self::Heading(text) => format!("<h2>{}</h2>\n", escape(text)),
            Self::Paragraph(text) => format!("<p>{}</p>\n", escape(text)),
            Self::Table(table) => table.html(),
            Self::Figure { charts, caption } => {
                let charts = charts.iter().map(LineChart::svg).collect::<Result<String>>()?;
                format!("<figure>\n{charts}{}</figure>\n", numbered(caption, figures))
            }
        })
    }
}

fn numbered(caption: &str, figures: &mut usize) -> String {
    if caption.is_empty() {
        return String::new();
    }
    *figures += 1;
    format!("<figcaption><b>Figure {figures}.</b> {}</figcaption>\n", escape(caption))
}

/// For element content and for quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            other => escaped.push(other),
        }
    }
    escaped
}

/// The policy makes the browser refuse anything that is not in the file.
const HEAD: &str = r#"<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light">
<style>
body { max-width: 900px; margin: 2.5em auto 4em; padding: 0 20px; background: #fff; color: #222;
       font: 16px/1.5 Helvetica, Arial, sans-serif; }
h1 { font-size: 1.75em; line-height: 1.2; margin: 0; }
h2 { font-size: 1.25em; margin: 2em 0 0.5em; }
p { max-width: 44em; margin: 0.6em 0; white-space: pre-line; }
.subtitle { color: #666; margin: 0.3em 0 1.5em; }
figure { margin: 1.6em 0; }
figure svg { display: block; width: 100%; height: auto; }
figure svg + svg { margin-top: 1em; }
figcaption { max-width: 49em; margin-top: 0.3em; font-size: 0.875em; color: #444; }
.table { overflow-x: auto; margin: 1.6em 0; }
table { border-collapse: collapse; border-top: 1.5px solid #222; border-bottom: 1.5px solid #222;
        font-size: 0.9375em; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: bold; padding-bottom: 0.4em; white-space: nowrap; }
th, td { padding: 0.25em 1.1em; text-align: left; }
th:first-child, td:first-child { padding-left: 0.3em; }
th:last-child, td:last-child { padding-right: 0.3em; }
thead th { border-bottom: 1px solid #222; vertical-align: bottom; }
.figure { text-align: right; white-space: nowrap; }
@page { margin: 18mm; }
@media print {
  body { margin: 0; padding: 0; max-width: none; font-size: 11pt; }
  figure, tr, caption { break-inside: avoid; }
  h2, caption { break-after: avoid; }
}
</style>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<a href='x'>\"&\"</a>"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;&lt;/a&gt;");
        let bad = "<script>alert(1)</script>";
        let series = vec![Series::line(bad, vec![(0.0, 1.0), (1.0, 2.0)])];
        let chart = LineChart {
            title: bad.into(),
            x_label: bad.into(),
            y_label: bad.into(),
            series,
            x_log: false,
            y_log: false,
            marks: vec![(0.5, bad.into())],
        };
        let mut table = Table::new(bad, [bad]);
        table.row([bad]);
        let mut page = Page::new(bad, bad);
        page.heading(bad).paragraph(bad).table(table).chart(chart.clone()).figure([chart], bad);
        assert!(!page.html().unwrap().contains("<script"));
    }

    #[test]
    fn blocks_keep_their_order_and_figures_are_numbered() {
        let mut page = Page::new("Demo", "");
        page.paragraph("first").figure([LineChart::default()], "one").chart(LineChart::default());
        page.figure([LineChart::default(), LineChart::default()], "two").heading("last");
        let html = page.html().unwrap();
        let parts = ["first", "Figure 1.</b> one", "Figure 2.</b> two", "<h2>last"];
        assert!(parts.map(|part| html.find(part).unwrap()).is_sorted());
        assert_eq!(html.matches("<svg").count(), 4);
    }

    #[test]
    fn the_page_stands_alone() {
        let mut page = Page::new("Demo", "");
        page.chart(LineChart::default());
        let html = page.html().unwrap().replace("http://www.w3.org/2000/svg", "");
        for outside in ["http:", "https:", "//", "url(", "@import", "src=", "<link"] {
            assert!(!html.contains(outside), "{outside}");
        }
    }

    #[test]
    fn an_empty_page_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        Page::default().write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), Page::default().html().unwrap());
    }
}
