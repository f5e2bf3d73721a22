//! One axis of a chart: its range and its ticks.
//!
//! A value's *place* is the value itself on a linear axis and its decimal logarithm on a logarithmic one. The
//! range is never empty: without values it is 0..1 (0.1..1), and a constant gets room on both sides.

/// Values from here on have no place: the difference of two could overflow.
const LARGEST: f64 = 1e300;
/// Differences below this, absolutely or relative to the values, are none.
const FINEST: f64 = 1e-290;
const FINEST_SHARE: f64 = 1e-9;
/// A logarithmic axis reaches at most so far below its largest value, lest a near-zero sample squeeze the rest.
const MOST_DECADES: f64 = 6.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    Linear,
    Log,
}

#[derive(Debug, Clone)]
pub(super) struct Axis {
    scale: Scale,
    /// Places of the two ends.
    pub low: f64,
    pub high: f64,
    /// Places and labels of the labelled grid lines.
    pub ticks: Vec<(f64, String)>,
    /// Places of the lines between them.
    pub minor: Vec<f64>,
}

impl Axis {
    /// From the smallest value to the largest, as for time.
    pub fn tight(values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = extent(values.into_iter()).map_or((0.0, 1.0), widen);
        Self::linear(low, high, 8.0)
    }

    /// With a little room above and below; from zero when the values are not far from it.
    pub fn padded(values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = extent(values.into_iter()).map_or((0.0, 1.0), widen);
        let pad = 0.05 * (high - low);
        let bottom = if low >= 0.0 && low < 0.5 * high { 0.0 } else { low - pad };
        let top = if high <= 0.0 && high > 0.5 * low { 0.0 } else { high + pad };
        Self::linear(bottom, top, 6.0)
    }

    /// Values that are not positive have no place on it.
    pub fn log(values: impl IntoIterator<Item = f64>) -> Self {
        let logs = values.into_iter().filter(|value| (FINEST..LARGEST).contains(value)).map(f64::log10);
        let (low, high) = extent(logs).unwrap_or((-1.0, 0.0));
        let low = low.max(high - MOST_DECADES);
        let pad = (0.04 * (high - low)).max(0.03);
        Self::decades(low - pad, high + pad)
    }

    fn linear(low: f64, high: f64, count: f64) -> Self {
        let (ticks, step) = nice(low, high, count);
        let largest = low.abs().max(high.abs());
        let ticks = ticks.into_iter().map(|tick| (tick, label(tick, step, largest))).collect();
        Self { scale: Scale::Linear, low, high, ticks, minor: Vec::new() }
    }

    fn decades(low: f64, high: f64) -> Self {
        let multiples =
            |factors: &[i32]| log_ticks(low, high, factors).into_iter().map(|(place, _)| place).collect();
        let (ticks, minor) = match high - low {
            span if span < 1.0 => {
                let top = 10f64.powf(high);
                let (ticks, step) = nice(10f64.powf(low), top, 6.0);
                (ticks.into_iter().map(|tick| (tick.log10(), label(tick, step, top))).collect(), Vec::new())
            }
            span if span < 2.5 => (log_ticks(low, high, &[1, 2, 5]), multiples(&[3, 4, 6, 7, 8, 9])),
            _ => (log_ticks(low, high, &[1]), multiples(&[2, 3, 4, 5, 6, 7, 8, 9])),
        };
        Self { scale: Scale::Log, low, high, ticks, minor }
    }

    /// Where the value is drawn; `None` when it cannot be. What lies below the range is drawn on its edge.
    pub fn place(&self, value: f64) -> Option<f64> {
        let place = match self.scale {
            Scale::Linear => value,
            Scale::Log if value > 0.0 => value.log10(),
            Scale::Log => return None,
        };
        is_plottable(value).then(|| place.clamp(self.low, self.high))
    }

    /// As [`place`](Self::place) for the edge of a band, which may fall off the bottom of a logarithmic axis.
    pub fn place_edge(&self, value: f64) -> Option<f64> {
        match self.scale {
            Scale::Log if value.is_finite() && value <= 0.0 => Some(self.low),
            _ => self.place(value),
        }
    }
}

fn is_plottable(value: f64) -> bool {
    value.is_finite() && value.abs() < LARGEST
}

fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| is_plottable(*value)).fold(None, |extent, value| match extent {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    })
}

/// Room around a constant.
fn widen((low, high): (f64, f64)) -> (f64, f64) {
    let size = low.abs().max(high.abs());
    if high - low > FINEST.max(FINEST_SHARE * size) {
        return (low, high);
    }
    let room = if size < FINEST { 1.0 } else { 0.1 * size };
    (low - room, high + room)
}

/// About `count` round numbers in the range, and the step between them: 1, 2 or 5 times a power of ten.
fn nice(low: f64, high: f64, count: f64) -> (Vec<f64>, f64) {
    let raw = (high - low) / count;
    let power = 10f64.powf(raw.log10().floor());
    let step = power
        * match raw / power {
            ratio if ratio < 1.4 => 1.0,
            ratio if ratio < 3.2 => 2.0,
            ratio if ratio < 7.1 => 5.0,
            _ => 10.0,
        };
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    let ticks = (0..=(last - first) as usize).map(|index| (first + index as f64) * step).collect();
    (ticks, step)
}

/// Just enough digits to tell neighbours apart.
fn label(tick: f64, step: f64, largest: f64) -> String {
    let tick = if tick.abs() < 1e-6 * step { 0.0 } else { tick };
    let (size, finest) = ((largest.log10() + 1e-9).floor(), (step.log10() + 1e-9).floor());
    let text = match (-4.0..7.0).contains(&size) {
        true => format!("{tick:.*}", (-finest).clamp(0.0, 16.0) as usize),
        false if tick == 0.0 => "0".to_owned(),
        false => format!("{tick:.*e}", (size - finest).clamp(0.0, 16.0) as usize),
    };
    text.replace('-', "−")
}

/// Labelled places of `factors` times the powers of ten.
fn log_ticks(low: f64, high: f64, factors: &[i32]) -> Vec<(f64, String)> {
    let plain = low > -4.0 && high < 5.0;
    (low.floor() as i32..=high.ceil() as i32)
        .flat_map(|decade| factors.iter().map(move |factor| (decade, *factor)))
        .map(|(decade, factor)| (f64::from(factor).log10() + f64::from(decade), decade, factor))
        .filter(|(place, ..)| (low..=high).contains(place))
        .map(|(place, decade, factor)| (place, log_label(decade, factor, plain)))
        .collect()
}

fn log_label(decade: i32, factor: i32, plain: bool) -> String {
    match (plain, factor) {
        (true, _) => format!("{:.*}", (-decade).max(0) as usize, f64::from(factor) * 10f64.powi(decade)),
        (false, 1) => format!("10{}", superscript(decade)),
        (false, _) => format!("{factor}·10{}", superscript(decade)),
    }
}

fn superscript(number: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let digit = |c: char| c.to_digit(10).map_or('⁻', |digit| DIGITS[digit as usize]);
    number.to_string().chars().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(&Axis::tight([0.0, 60.0])), ["0", "10", "20", "30", "40", "50", "60"]);
        assert_eq!(labels(&Axis::padded([-0.3, 0.3])), ["−0.3", "−0.2", "−0.1", "0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(&Axis::padded([1.0e-9, 3.0e-9]))[..2], ["0", "5.0e−10"]);
        assert_eq!(labels(&Axis::log([1.0, 37.0])), ["1", "2", "5", "10", "20"]);
        assert_eq!(labels(&Axis::log([4.0, 9.0])), ["4", "5", "6", "7", "8", "9"]);
        assert_eq!(labels(&Axis::log([0.02, 500.0])), ["0.1", "1", "10", "100"]);
        assert_eq!(labels(&Axis::log([1e-7, 1e-3])), ["10⁻⁷", "10⁻⁶", "10⁻⁵", "10⁻⁴", "10⁻³"]);
    }

    #[test]
    fn a_range_starts_at_zero_when_that_is_near() {
        assert_eq!(Axis::padded([1.0, 8.0]).low, 0.0);
        assert!(Axis::padded([7.0, 8.0]).low > 6.0);
    }

    #[test]
    fn without_values_the_range_is_not_empty() {
        for axis in [Axis::tight([]), Axis::padded([f64::NAN]), Axis::log([0.0, -1.0, f64::INFINITY])] {
            assert!(axis.low < axis.high && axis.ticks.len() > 1, "{axis:?}");
        }
    }

    #[test]
    fn a_near_zero_sample_does_not_squeeze_a_log_axis() {
        let axis = Axis::log([1e-200, 1.0]);
        assert!(axis.low > -7.0);
        assert_eq!(axis.place(1e-200), Some(axis.low));
        assert_eq!(axis.place(0.0), None);
        assert_eq!(axis.place_edge(0.0), Some(axis.low));
    }

    proptest! {
        #[test]
        fn any_values_give_a_range_that_holds_them_and_few_distinct_labels(
            values in prop::collection::vec(prop_oneof![prop::num::f64::ANY, -1e3..1e3, 1e9..1.001e9], 1..5)
        ) {
            for axis in [Axis::tight(values.clone()), Axis::padded(values.clone()), Axis::log(values.clone())] {
                prop_assert!(axis.low.is_finite() && axis.high.is_finite() && axis.low < axis.high, "{:?}", axis);
                prop_assert!((1..=14).contains(&axis.ticks.len()), "{:?}", axis);
                let mut labels = labels(&axis);
                labels.dedup();
                prop_assert_eq!(labels.len(), axis.ticks.len(), "{:?}", axis);
                for place in values.iter().filter_map(|value| axis.place(*value)) {
                    prop_assert!((axis.low..=axis.high).contains(&place));
                }
            }
        }
    }
}
