//! Where the parts of a chart are, and which of its points are drawn.

use std::ops::Range;

use super::axis::Axis;
use super::chart::{LineChart, Series};
use crate::error::Result;

/// Pixels.
pub(super) const WIDTH: f64 = 900.0;
pub(super) const PLOT_HEIGHT: f64 = 290.0;
pub(super) const RIGHT_MARGIN: f64 = 24.0;
pub(super) const BOTTOM_MARGIN: f64 = 46.0;
const TITLE_HEIGHT: f64 = 30.0;
const LEGEND_ROW: f64 = 21.0;
const MARK_ROW: f64 = 17.0;
pub(super) const TEXT: f64 = 13.0;
pub(super) const SWATCH: f64 = 26.0;

/// Where things are, in pixels from the top left corner.
pub(super) struct Layout {
    pub x: Axis,
    pub y: Axis,
    /// Left and upper edge of the plot.
    pub left: f64,
    pub top: f64,
    /// Left middle of the entries of the named series.
    pub legend: Vec<(f64, f64)>,
    pub marks: Vec<Mark>,
}

pub(super) struct Mark {
    pub label: String,
    pub x: f64,
    /// Middle of the label.
    pub label_x: f64,
    pub label_y: f64,
}

impl Layout {
    pub fn new(chart: &LineChart) -> Result<Self> {
        let heights = chart.series.iter().map(Series::heights).collect::<Result<Vec<_>>>()?.concat();
        let points = chart.series.iter().flat_map(|series| &series.points);
        let places = points.map(|(x, _)| *x).chain(chart.marks.iter().map(|(x, _)| *x));
        let x = if chart.x_log { Axis::log(places) } else { Axis::tight(places) };
        let y = if chart.y_log { Axis::log(heights) } else { Axis::padded(heights) };
        let widest = y.ticks.iter().map(|(_, label)| text_width(label, TEXT)).fold(0.0, f64::max);
        let left = (widest + 38.0).max(66.0);

        let (legend, bottom) = flow(chart, left);
        let (marks, top) = stack(chart, &x, left, bottom);
        Ok(Self { x, y, left, top, legend, marks })
    }

    pub fn height(&self) -> f64 {
        self.top + PLOT_HEIGHT + BOTTOM_MARGIN
    }

    fn columns(&self) -> f64 {
        WIDTH - RIGHT_MARGIN - self.left
    }

    /// The places of the points, parted where one has none.
    pub fn runs(&self, series: &Series) -> Vec<Vec<(f64, f64)>> {
        let places = series.points.iter().map(|(x, y)| self.x.place(*x).zip(self.y.place(*y)));
        runs(places)
    }

    pub fn thin(&self, run: &[(f64, f64)]) -> Vec<(f64, f64)> {
        decimate(run, self.x.low..self.x.high, self.columns())
    }
}

/// The legend's entries side by side, wrapped at the right margin; and the height used so far.
fn flow(chart: &LineChart, left: f64) -> (Vec<(f64, f64)>, f64) {
    let mut y = if chart.title.is_empty() { 12.0 } else { TITLE_HEIGHT + 8.0 };
    let mut x = left;
    let mut entries = Vec::new();
    for series in chart.series.iter().filter(|series| !series.name.is_empty()) {
        let width = SWATCH + 6.0 + text_width(&series.name, TEXT);
        if x > left && x + width > WIDTH - RIGHT_MARGIN {
            (x, y) = (left, y + LEGEND_ROW);
        }
        entries.push((x, y));
        x += width + 24.0;
    }
    let bottom = if entries.is_empty() { y - 8.0 } else { y + 14.0 };
    (entries, bottom)
}

/// The labels of the marks in as many rows as they need not to touch; and the upper edge of the plot. A mark at no
/// finite x is left out.
fn stack(chart: &LineChart, axis: &Axis, left: f64, bottom: f64) -> (Vec<Mark>, f64) {
    let right = WIDTH - RIGHT_MARGIN;
    let mut rows: Vec<Vec<Range<f64>>> = Vec::new();
    let mut marks = Vec::new();
    for (x, label) in &chart.marks {
        let Some(place) = axis.place(*x) else { continue };
        let x = left + (place - axis.low) / (axis.high - axis.low) * (right - left);
        let half = text_width(label, TEXT) / 2.0;
        let label_x = x.min(right - half).max(left + half);
        let span = label_x - half - 6.0..label_x + half + 6.0;
        let is_free = |row: &Vec<Range<f64>>| {
            row.iter().all(|other| span.end <= other.start || other.end <= span.start)
        };
        let row = rows.iter().position(is_free).unwrap_or(rows.len());
        rows.resize(rows.len().max(row + 1), Vec::new());
        rows[row].push(span);
        marks.push(Mark { label: label.clone(), x, label_x, label_y: -MARK_ROW * row as f64 });
    }
    let top = bottom + MARK_ROW * rows.len() as f64 + 4.0;
    marks.iter_mut().for_each(|mark| mark.label_y += top - 12.0);
    (marks, top)
}

pub(super) fn runs<T>(places: impl Iterator<Item = Option<T>>) -> Vec<Vec<T>> {
    let mut runs = vec![Vec::new()];
    for place in places {
        match (place, runs.last_mut()) {
            (Some(place), Some(run)) => run.push(place),
            _ => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// Of neighbours in the same of `columns` pixel columns keeps the first, the last, the lowest and the highest,
/// in order: the drawing looks the same and holds a few points a pixel. Points need not be sorted.
fn decimate(points: &[(f64, f64)], range: Range<f64>, columns: f64) -> Vec<(f64, f64)> {
    let column = |(x, _): &(f64, f64)| ((x - range.start) / (range.end - range.start) * columns).floor();
    let by_height = |a: &&usize, b: &&usize| points[**a].1.total_cmp(&points[**b].1);
    let mut kept = Vec::new();
    let mut start = 0;
    for group in points.chunk_by(|a, b| column(a) == column(b)) {
        let indices: Vec<usize> = (start..start + group.len()).collect();
        let extremes = [indices.iter().min_by(by_height), indices.iter().max_by(by_height)];
        let mut keep: Vec<usize> =
            [indices.first(), indices.last()].into_iter().chain(extremes).flatten().copied().collect();
        keep.sort_unstable();
        keep.dedup();
        kept.extend(keep.into_iter().map(|index| points[index]));
        start += group.len();
    }
    kept
}

/// Estimate for a sans-serif font, rather too wide than too narrow.
pub(super) fn text_width(text: &str, pixels: f64) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | 't' | 'f' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | '(' | ')' | '['
        | ']' | ' ' => 0.32,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.9,
        'A'..='Z' => 0.7,
        c if c >= '\u{1100}' => 1.0,
        _ => 0.57,
    };
    pixels * text.chars().map(em).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> LineChart {
        LineChart { series: vec![Series::line("a", points)], ..Default::default() }
    }

    #[test]
    fn decimation_keeps_the_extremes_and_the_order() {
        let mut points: Vec<(f64, f64)> =
            (0..100_000).map(|i| (f64::from(i) * 1e-3, (f64::from(i) * 0.01).sin())).collect();
        points[31_415].1 = 9.0;
        points[92_653].1 = -9.0;
        let kept = decimate(&points, 0.0..100.0, 800.0);
        assert!(kept.len() <= 4 * 801, "{}", kept.len());
        assert!(kept.contains(&points[31_415]) && kept.contains(&points[92_653]));
        assert_eq!((kept.first(), kept.last()), (points.first(), points.last()));
        assert!(kept.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn decimation_leaves_few_points_alone() {
        let points = [(0.0, 1.0), (0.5, 3.0), (1.0, 2.0)];
        assert_eq!(decimate(&points, 0.0..1.0, 800.0), points);
        assert_eq!(decimate(&[], 0.0..1.0, 800.0), []);
        // A closed path in the plane comes back to the same column.
        let path = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0)];
        assert_eq!(decimate(&path, 0.0..1.0, 800.0), path);
    }

    #[test]
    fn points_that_are_not_finite_part_the_line() {
        let points =
            vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 2.0), (f64::INFINITY, 2.0), (3.0, 0.0), (4.0, 1.0)];
        let mut chart = chart(points);
        let lengths = |chart: &LineChart| -> Vec<usize> {
            Layout::new(chart).unwrap().runs(&chart.series[0]).iter().map(Vec::len).collect()
        };
        assert_eq!(lengths(&chart), [1, 1, 2]);
        chart.y_log = true;
        assert_eq!(lengths(&chart), [1, 1, 1]);
    }

    #[test]
    fn doubled_values_are_at_equal_distances_on_a_logarithmic_axis() {
        let mut chart = chart([32.0, 64.0, 128.0].map(|x| (x, 1.0)).to_vec());
        chart.marks = [32.0, 64.0, 128.0].map(|x| (x, String::new())).to_vec();
        let distances = |chart: &LineChart| {
            let marks = Layout::new(chart).unwrap().marks;
            (marks[1].x - marks[0].x, marks[2].x - marks[1].x)
        };
        let (first, second) = distances(&chart);
        assert!(second > 1.9 * first);
        chart.x_log = true;
        let (first, second) = distances(&chart);
        assert!((second - first).abs() < 1e-9 && first > 200.0, "{first} {second}");
    }

    #[test]
    fn labels_of_near_marks_stand_in_rows() {
        let mut chart = chart(vec![(0.0, 1.0), (60.0, 2.0)]);
        chart.marks = [30.0, 31.0, 50.0].map(|x| (x, "payload +1.5 kg".to_owned())).to_vec();
        let layout = Layout::new(&chart).unwrap();
        let rows: Vec<f64> = layout.marks.iter().map(|mark| mark.label_y).collect();
        assert_eq!([rows[0] - rows[1], rows[0] - rows[2]], [MARK_ROW, 0.0]);
    }
}
