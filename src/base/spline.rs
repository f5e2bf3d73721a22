//! Natural cubic splines: through points at increasing parameters, twice continuously differentiable, with no curvature
//! at the ends (de Boor, A Practical Guide to Splines, chapter IV).

/// One coordinate of a curve.
#[derive(Clone, Debug)]
pub struct CubicSpline {
    /// Strictly increasing.
    knots: Vec<f64>,
    values: Vec<f64>,
    /// Second derivatives at the knots.
    curvatures: Vec<f64>,
}

impl CubicSpline {
    /// Through `values` at `knots`, which increase strictly; both have the same size, at least two.
    pub fn new(knots: &[f64], values: &[f64]) -> Self {
        let n = knots.len();
        let mut curvatures = vec![0.0; n];
        let mut eliminated = vec![0.0; n];
        // Thomas algorithm for h₋ m₋ + 2 (h₋ + h₊) m + h₊ m₊ = 6 (slope₊ − slope₋)
        for i in 1..n.saturating_sub(1) {
            let (before, after) = (knots[i] - knots[i - 1], knots[i + 1] - knots[i]);
            let slopes = [(values[i] - values[i - 1]) / before, (values[i + 1] - values[i]) / after];
            let pivot = 2.0 * (before + after) - before * eliminated[i - 1];
            eliminated[i] = after / pivot;
            curvatures[i] = (6.0 * (slopes[1] - slopes[0]) - before * curvatures[i - 1]) / pivot;
        }
        for i in (1..n.saturating_sub(1)).rev() {
            curvatures[i] -= eliminated[i] * curvatures[i + 1];
        }
        Self { knots: knots.to_vec(), values: values.to_vec(), curvatures }
    }

    /// [value, first, second derivative] at `parameter`, which is brought between the first and the last knot.
    pub fn at(&self, parameter: f64) -> [f64; 3] {
        let last = self.knots.len() - 1;
        let parameter = parameter.clamp(self.knots[0], self.knots[last]);
        let i = self.knots.partition_point(|knot| *knot <= parameter).clamp(1, last) - 1;
        let step = self.knots[i + 1] - self.knots[i];
        let (a, b) = ((self.knots[i + 1] - parameter) / step, (parameter - self.knots[i]) / step);
        let (m0, m1) = (self.curvatures[i], self.curvatures[i + 1]);
        let bend = |share: f64| share * (share * share - 1.0) * step * step / 6.0;
        let slope = |share: f64| (3.0 * share * share - 1.0) * step / 6.0;
        [
            a * self.values[i] + b * self.values[i + 1] + bend(a) * m0 + bend(b) * m1,
            (self.values[i + 1] - self.values[i]) / step - slope(a) * m0 + slope(b) * m1,
            a * m0 + b * m1,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_a_line() {
        let spline = CubicSpline::new(&[0.0, 1.0, 3.0, 3.5], &[1.0, 3.0, 7.0, 8.0]);
        for (parameter, value) in [(0.0, 1.0), (2.2, 5.4), (3.5, 8.0), (9.0, 8.0)] {
            let [at, slope, bend] = spline.at(parameter);
            assert!((at - value).abs() < 1e-12 && (slope - 2.0).abs() < 1e-12 && bend.abs() < 1e-12);
        }
    }

    #[test]
    fn a_sine_is_followed_to_the_fourth_order_with_its_derivatives() {
        // over whole half waves, where the natural ends are right
        let error = |n: usize| {
            let knots: Vec<f64> = (0..=n).map(|i| i as f64 * std::f64::consts::TAU / n as f64).collect();
            let values: Vec<f64> = knots.iter().map(|t| t.sin()).collect();
            let spline = CubicSpline::new(&knots, &values);
            (0..500).map(|i| i as f64 * 0.0125).fold([0.0_f64; 2], |worst, t| {
                let [value, slope, _] = spline.at(t);
                [worst[0].max((value - t.sin()).abs()), worst[1].max((slope - t.cos()).abs())]
            })
        };
        let (coarse, fine) = (error(20), error(40));
        assert!(coarse[0] < 1e-4 && coarse[0] / fine[0] > 14.0, "{coarse:?} {fine:?}");
        assert!(coarse[1] < 2e-3 && coarse[1] / fine[1] > 7.0, "{coarse:?} {fine:?}");
    }

    #[test]
    fn the_knots_are_passed_without_a_corner() {
        let spline = CubicSpline::new(&[0.0, 0.5, 2.0, 3.0], &[0.0, 1.0, -1.0, 0.5]);
        for (knot, value) in [(0.5, 1.0), (2.0, -1.0)] {
            let (left, right) = (spline.at(knot - 1e-9), spline.at(knot + 1e-9));
            assert!((spline.at(knot)[0] - value).abs() < 1e-12);
            assert!((left[1] - right[1]).abs() < 1e-7 && (left[2] - right[2]).abs() < 1e-7);
        }
    }
}
