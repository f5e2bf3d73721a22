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

    /// Near `values` at `knots`, as [`Self::new`], with the least of
    ///
    /// > ∫ (values − spline)² dp + length⁴ ∫ spline″² dp
    ///
    /// and the first and last value exactly: what is shorter than some times `length`, in units of the knots, is smoothed away
    /// (Reinsch, Smoothing by spline functions, 1967; Green and Silverman, Nonparametric Regression and Generalized Linear
    /// Models, 1994, 2.3). With a `length` of 0 it passes through the values.
    pub fn smoothing(knots: &[f64], values: &[f64], length: f64) -> Self {
        let inner = knots.len().saturating_sub(2);
        if inner == 0 || length <= 0.0 {
            return Self::new(knots, values);
        }
        let step = |i: usize| knots[i + 1] - knots[i];
        let weight = length.powi(4);
        // doubt of each value: none at the ends
        let doubt = |i: usize| match i {
            0 => 0.0,
            i if i == inner + 1 => 0.0,
            i => 2.0 * weight / (step(i - 1) + step(i)),
        };
        // of the curvature at inner knot i: its column of Q
        let column = |i: usize| [1.0 / step(i), -1.0 / step(i) - 1.0 / step(i + 1), 1.0 / step(i + 1)];
        // (R + length⁴ Qᵀ W⁻¹ Q) γ = Qᵀ values by L D Lᵀ with two bands below the diagonal
        let product = |i: usize, ahead: usize| -> f64 {
            let (left, right) = (column(i), column(i + ahead));
            (ahead..3).map(|row| left[row] * doubt(i + row) * right[row - ahead]).sum()
        };
        let (mut pivots, mut lower) = (vec![0.0; inner], vec![[0.0; 2]; inner]);
        let mut bends = vec![0.0; inner];
        for i in 0..inner {
            let diagonal = (step(i) + step(i + 1)) / 3.0 + product(i, 0);
            let before =
                |back: usize| i.checked_sub(back).map_or([0.0; 3], |j| [pivots[j], lower[j][0], lower[j][1]]);
            let ([d1, l11, l12], [d2, _, l22]) = (before(1), before(2));
            pivots[i] = diagonal - d1 * l11 * l11 - d2 * l22 * l22;
            if i + 1 < inner {
                lower[i][0] = (step(i + 1) / 6.0 + product(i, 1) - d1 * l11 * l12) / pivots[i];
            }
            if i + 2 < inner {
                lower[i][1] = product(i, 2) / pivots[i];
            }
            let [before, at, after] = column(i);
            bends[i] = before * values[i] + at * values[i + 1] + after * values[i + 2];
            for back in 1..=2.min(i) {
                bends[i] -= lower[i - back][back - 1] * bends[i - back];
            }
        }
        for i in (0..inner).rev() {
            bends[i] /= pivots[i];
            for ahead in 1..=2.min(inner - 1 - i) {
                bends[i] -= lower[i][ahead - 1] * bends[i + ahead];
            }
        }
        let mut smooth = values.to_vec();
        for (i, bend) in bends.iter().enumerate() {
            for (row, share) in column(i).into_iter().enumerate() {
                smooth[i + row] -= doubt(i + row) * share * bend;
            }
        }
        Self::new(knots, &smooth)
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
    fn smoothing_takes_noise_away_and_leaves_curves() {
        let knots: Vec<f64> = (0..=200).map(|i| 0.05 * f64::from(i) + 0.01 * f64::from(i % 3)).collect();
        let noise = |i: usize| 0.01 * (((i * 7919) % 13) as f64 / 6.0 - 1.0);
        // waves of 3 m
        let clean = |t: f64| (2.0 * t).sin();
        let values: Vec<f64> = knots.iter().enumerate().map(|(i, t)| clean(*t) + noise(i)).collect();
        let (rough, smooth) =
            (CubicSpline::new(&knots, &values), CubicSpline::smoothing(&knots, &values, 0.1));
        let worst = |spline: &CubicSpline, order: usize| {
            let of = |t: f64| [clean(t), 2.0 * (2.0 * t).cos(), -4.0 * clean(t)][order];
            let times = (10..190).map(|i| 0.05 * f64::from(i));
            times.map(|t| (spline.at(t)[order] - of(t)).abs()).fold(0.0, f64::max)
        };
        assert!(
            worst(&smooth, 0) < 0.01 && worst(&smooth, 2) < 1.0,
            "{} {}",
            worst(&smooth, 0),
            worst(&smooth, 2)
        );
        assert!(worst(&rough, 2) > 20.0, "{}", worst(&rough, 2));
        let (first, last) = (knots[0], knots[200]);
        assert!(
            (smooth.at(first)[0] - values[0]).abs() < 1e-12
                && (smooth.at(last)[0] - values[200]).abs() < 1e-12
        );
        assert_eq!(CubicSpline::smoothing(&knots, &values, 0.0).at(3.3), rough.at(3.3));
        // a long length leaves the line between the ends
        let line = CubicSpline::smoothing(&[0.0, 1.0, 3.0, 4.0], &[0.0, 5.0, -2.0, 8.0], 1e3);
        assert!((line.at(1.0)[0] - 2.0).abs() < 1e-3 && (line.at(3.0)[0] - 6.0).abs() < 1e-3);
        let short = CubicSpline::smoothing(&[0.0, 1.0], &[1.0, 2.0], 0.1);
        assert!((short.at(0.5)[0] - 1.5).abs() < 1e-12);
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
