//! A line chart as an SVG string: thin grid, title and legend above the plot, vertical marks at events.
//!
//! Drawn in tenths of a pixel, since the SVG backend of plotters rounds to whole units and steps would show.
//! Figures and text are left to the viewer's fonts; widths of text are estimated.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use super::escape;
use super::layout::{
    BOTTOM_MARGIN, Layout, Mark, PLOT_HEIGHT, RIGHT_MARGIN, SWATCH, TEXT, WIDTH, runs, text_width,
};
use crate::error::{Error, Result};

/// Okabe & Ito, "Color Universal Design" (2008), grey for their black: told apart with any colour vision.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(100, 100, 100),
];
const INK: RGBColor = RGBColor(34, 34, 34);
const GRID: RGBColor = RGBColor(222, 222, 222);
const FINE_GRID: RGBColor = RGBColor(241, 241, 241);
const MARK: RGBColor = RGBColor(110, 110, 110);

const FONT: &str = "Helvetica, Arial, sans-serif";
/// Units of the drawing in a pixel.
const UNIT: f64 = 10.0;
/// Stroke widths, in units. The backend cannot dash; lines of certain widths get their dashes at the end.
const GRID_STROKE: u32 = 10;
const LINE_STROKE: u32 = 18;
const DASHED_STROKE: u32 = 19;
const MARK_STROKE: u32 = 12;
const DASHES: [(u32, &str); 2] = [(DASHED_STROKE, "65 35"), (MARK_STROKE, "40 35")];
/// A series of no more points than these shows them as dots.
const DOTS: usize = 25;

#[derive(Debug, Clone, Default)]
pub struct LineChart {
    pub title: String,
    /// With the unit, as `time [s]`.
    pub x_label: String,
    pub y_label: String,
    pub series: Vec<Series>,
    /// Logarithmic axes, of at most six decades; values that are not positive leave a gap.
    pub x_log: bool,
    pub y_log: bool,
    /// Events: x and a label such as "payload +1.5 kg".
    pub marks: Vec<(f64, String)>,
}

/// Points that are not finite leave a gap in the line; nothing is drawn across missing data.
#[derive(Debug, Clone)]
pub struct Series {
    /// For the legend; a series without a name is not in it.
    pub name: String,
    pub points: Vec<(f64, f64)>,
    pub style: Style,
}

#[derive(Debug, Clone)]
pub enum Style {
    Line,
    Dashed,
    /// A line in a shade that reaches from `lower` to `upper`: one value for each point.
    Band {
        lower: Vec<f64>,
        upper: Vec<f64>,
    },
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;
type Canvas<'b> = DrawingArea<SVGBackend<'b>, Shift>;
type Drawn<T = ()> = std::result::Result<T, DrawingAreaErrorKind<std::io::Error>>;

impl Series {
    pub fn line(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, style: Style::Line }
    }

    pub fn dashed(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, style: Style::Dashed }
    }

    pub fn band(name: impl Into<String>, points: Vec<(f64, f64)>, lower: Vec<f64>, upper: Vec<f64>) -> Self {
        Self { name: name.into(), points, style: Style::Band { lower, upper } }
    }

    /// All y values, edges of the band included, each of which must have its partner.
    pub(super) fn heights(&self) -> Result<Vec<f64>> {
        let (lower, upper): (&[f64], &[f64]) = match &self.style {
            Style::Line | Style::Dashed => (&[], &[]),
            Style::Band { lower, upper } => (lower, upper),
        };
        let expected = if matches!(self.style, Style::Band { .. }) { self.points.len() } else { 0 };
        if lower.len() != expected || upper.len() != expected {
            let found = format!("{} and {}", lower.len(), upper.len());
            return Err(Error::mismatch(format!("edges of the band '{}'", self.name), found, expected));
        }
        Ok(self.points.iter().map(|(_, y)| y).chain(lower).chain(upper).copied().collect())
    }
}

impl LineChart {
    pub fn svg(&self) -> Result<String> {
        let layout = Layout::new(self)?;
        let mut svg = String::new();
        let size = (units(WIDTH) as u32, units(layout.height()) as u32);
        self.draw(&layout, SVGBackend::with_string(&mut svg, size))
            .map_err(|error| Error::Chart { title: self.title.clone(), problem: error.to_string() })?;
        Ok(self.finish(&svg, size))
    }

    /// Our own opening tag for that of plotters (shown in pixels, named, no spikes at sharp turns), and dashes.
    /// (Quotes in labels are escaped, so that only attributes match.)
    fn finish(&self, svg: &str, (width, height): (u32, u32)) -> String {
        let (_, body) = svg.split_once('\n').unwrap_or(("", svg));
        let body = DASHES.iter().fold(body.to_owned(), |body, (stroke, dashes)| {
            let width = format!("stroke-width=\"{stroke}\"");
            body.replace(&width, &format!("{width} stroke-dasharray=\"{dashes}\""))
        });
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\" \
             stroke-linejoin=\"round\">\n{body}",
            f64::from(height) / UNIT,
            escape(&self.title),
        )
    }

    fn draw(&self, layout: &Layout, backend: SVGBackend) -> Drawn {
        let canvas = backend.into_drawing_area();
        canvas.draw_text(&self.title, &bold(text(15.0, INK, HPos::Left)), at(layout.left, 14.0))?;
        self.draw_legend(layout, &canvas)?;
        let mut chart = self.draw_grid(layout, &canvas)?;
        draw_marks(layout, &canvas)?;
        for (series, color) in self.colored().filter(|(series, _)| matches!(series.style, Style::Band { .. }))
        {
            draw_shade(series, color, layout, &mut chart)?;
        }
        for (series, color) in self.colored() {
            draw_line(series, color, layout, &mut chart)?;
        }
        if self.colored().all(|(series, _)| layout.runs(series).is_empty()) {
            let middle = at((layout.left + WIDTH - RIGHT_MARGIN) / 2.0, layout.top + PLOT_HEIGHT / 2.0);
            canvas.draw_text("no data", &text(TEXT, MARK, HPos::Center), middle)?;
        }
        canvas.present()
    }

    fn colored(&self) -> impl Iterator<Item = (&Series, RGBColor)> {
        self.series.iter().enumerate().map(|(index, series)| (series, color(index)))
    }

    fn draw_grid<'a, 'b>(&self, layout: &Layout, canvas: &'a Canvas<'b>) -> Drawn<Chart<'a, 'b>> {
        let mut chart = ChartBuilder::on(canvas)
            .margin_top(units(layout.top))
            .margin_right(units(RIGHT_MARGIN))
            .set_label_area_size(LabelAreaPosition::Left, units(layout.left))
            .set_label_area_size(LabelAreaPosition::Bottom, units(BOTTOM_MARGIN))
            .build_cartesian_2d(layout.x.clone(), layout.y.clone())?;
        chart
            .configure_mesh()
            .bold_line_style(GRID.stroke_width(GRID_STROKE))
            .light_line_style(FINE_GRID.stroke_width(GRID_STROKE))
            .axis_style(INK.stroke_width(GRID_STROKE))
            .set_all_tick_mark_size(units(4.0))
            .label_style(text(TEXT, INK, HPos::Center))
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .draw()?;
        Ok(chart)
    }

    fn draw_legend(&self, layout: &Layout, canvas: &Canvas) -> Drawn {
        for ((series, color), (x, y)) in
            self.colored().filter(|(series, _)| !series.name.is_empty()).zip(&layout.legend)
        {
            let ends = vec![at(*x, *y), at(x + SWATCH, *y)];
            if matches!(series.style, Style::Band { .. }) {
                canvas.draw(&Rectangle::new([at(*x, y - 6.0), at(x + SWATCH, y + 6.0)], shade(color)))?;
            }
            canvas.draw(&PathElement::new(ends, stroke(color, &series.style)))?;
            canvas.draw_text(&series.name, &text(TEXT, INK, HPos::Left), at(x + SWATCH + 6.0, *y))?;
        }
        Ok(())
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range()).map(place, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => self.minor.clone(),
            false => self.ticks.iter().map(|(place, _)| *place).collect(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, place: &f64) -> String {
        self.ticks.iter().find(|(tick, _)| tick == place).map_or_else(String::new, |(_, label)| label.clone())
    }
}

/// Labels stand on white, over the lines that come down from higher rows.
fn draw_marks(layout: &Layout, canvas: &Canvas) -> Drawn {
    for mark in &layout.marks {
        let ends = vec![at(mark.x, mark.label_y + 8.0), at(mark.x, layout.top + PLOT_HEIGHT)];
        canvas.draw(&PathElement::new(ends, MARK.stroke_width(MARK_STROKE)))?;
    }
    for Mark { label, label_x, label_y, .. } in &layout.marks {
        let half = text_width(label, TEXT) / 2.0;
        let corners = [at(label_x - half, label_y - 7.0), at(label_x + half, label_y + 7.0)];
        canvas.draw(&Rectangle::new(corners, WHITE.filled()))?;
        canvas.draw_text(label, &text(TEXT, MARK, HPos::Center), at(*label_x, *label_y))?;
    }
    Ok(())
}

fn draw_line(series: &Series, color: RGBColor, layout: &Layout, chart: &mut Chart) -> Drawn {
    let runs = layout.runs(series);
    let all_dots = runs.iter().map(Vec::len).sum::<usize>() <= DOTS;
    for run in &runs {
        let points = layout.thin(run);
        let dots = if all_dots || run.len() == 1 { points.clone() } else { Vec::new() };
        chart.draw_series(LineSeries::new(points, stroke(color, &series.style)))?;
        chart.draw_series(dots.into_iter().map(|dot| Circle::new(dot, units(3.0), color.filled())))?;
    }
    Ok(())
}

fn draw_shade(series: &Series, color: RGBColor, layout: &Layout, chart: &mut Chart) -> Drawn {
    let Style::Band { lower, upper } = &series.style else { return Ok(()) };
    let edges = series.points.iter().zip(lower).zip(upper).map(|(((x, _), lower), upper)| {
        Some((layout.x.place(*x)?, (layout.y.place_edge(*lower)?, layout.y.place_edge(*upper)?)))
    });
    for run in runs(edges) {
        let lower: Vec<_> = run.iter().map(|(x, (lower, _))| (*x, *lower)).collect();
        let upper: Vec<_> = run.iter().map(|(x, (_, upper))| (*x, *upper)).collect();
        let outline: Vec<_> =
            layout.thin(&lower).into_iter().chain(layout.thin(&upper).into_iter().rev()).collect();
        chart.draw_series(std::iter::once(Polygon::new(outline, shade(color))))?;
    }
    Ok(())
}

fn units(pixels: f64) -> i32 {
    (pixels * UNIT).round() as i32
}

fn at(x: f64, y: f64) -> (i32, i32) {
    (units(x), units(y))
}

/// Darker each time the palette is used up.
fn color(index: usize) -> RGBColor {
    let RGBColor(red, green, blue) = PALETTE[index % PALETTE.len()];
    let [red, green, blue] = [red, green, blue].map(|part| part >> (index / PALETTE.len()).min(7));
    RGBColor(red, green, blue)
}

fn stroke(color: RGBColor, style: &Style) -> ShapeStyle {
    color.stroke_width(if matches!(style, Style::Dashed) { DASHED_STROKE } else { LINE_STROKE })
}

fn shade(color: RGBColor) -> ShapeStyle {
    color.mix(0.18).filled()
}

/// Vertically centred on its point. (plotters divides the size of fonts by 1.24.)
fn text(pixels: f64, color: RGBColor, anchor: HPos) -> TextStyle<'static> {
    let (font, pos) = ((FONT, pixels * UNIT * 1.24).into_font(), Pos::new(anchor, VPos::Center));
    TextStyle { font, color: color.to_backend_color(), pos }
}

fn bold(style: TextStyle) -> TextStyle {
    TextStyle { font: style.font.style(FontStyle::Bold), ..style }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(series: Vec<Series>) -> LineChart {
        LineChart {
            title: "a < b".into(),
            x_label: "time [s]".into(),
            y_label: "error [mrad]".into(),
            series,
            ..Default::default()
        }
    }

    #[test]
    fn hard_input_gives_a_picture() {
        let constant = Series::line("constant", vec![(0.0, 5.0), (1.0, 5.0)]);
        let zero = Series::dashed("zero", vec![(0.0, 0.0), (1.0, 0.0)]);
        let lone = Series::line("one point", vec![(3.0, 3.0)]);
        let wild = Series::line("wild", vec![(f64::MAX, f64::MIN), (f64::MIN, 1e-310), (f64::NAN, 0.0)]);
        let empty = Series::line("empty", Vec::new());
        for (x_log, y_log) in [(false, false), (false, true), (true, false), (true, true)] {
            for series in [&constant, &zero, &lone, &wild, &empty] {
                let svg = LineChart { x_log, y_log, ..chart(vec![series.clone()]) }.svg().unwrap();
                assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
                assert!(!svg.contains("NaN") && !svg.contains("2147483647"), "{svg}");
            }
        }
        assert!(chart(Vec::new()).svg().unwrap().contains("no data"));
        assert!(!chart(vec![lone]).svg().unwrap().contains("no data"));
    }

    #[test]
    fn a_chart_names_its_parts_and_escapes_them() {
        let mut chart = chart(vec![Series::line("x & y", vec![(0.0, 1.0), (60.0, 2.0)])]);
        chart.marks = vec![(30.0, "payload <1.5 kg>".into()), (f64::NAN, "never".into())];
        chart.series.push(Series::dashed("stroke-width=\"19\"", vec![(0.0, 1.0)]));
        let svg = chart.svg().unwrap();
        assert_eq!(svg.matches("stroke-dasharray").count(), 3, "the mark, the line and its legend: {svg}");
        for part in ["a &lt; b", "time [s]", "error [mrad]", "x &amp; y", "payload &lt;1.5 kg&gt;"] {
            assert!(svg.contains(part), "{part}");
        }
        assert!(!svg.contains("never"));
    }

    #[test]
    fn a_band_needs_both_edges_of_each_point() {
        let band = Series::band("spread", vec![(0.0, 1.0), (1.0, 2.0)], vec![0.5, 1.5], vec![2.0]);
        let error = chart(vec![band]).svg().unwrap_err().to_string();
        assert_eq!(error, "edges of the band 'spread': found 2 and 1, expected 2");
    }

    #[test]
    fn many_points_make_a_small_file() {
        let points: Vec<(f64, f64)> =
            (0..100_000).map(|i| (f64::from(i), f64::from((i * 7919) % 1000))).collect();
        for series in [Series::line("noise", points.clone()), Series::dashed("noise", points.clone())] {
            let svg = chart(vec![series]).svg().unwrap();
            assert!(svg.len() < 100_000, "{}", svg.len());
        }
    }
}
