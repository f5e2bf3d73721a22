//! The linear head of one episode by ridge regression about a prior head, and how its error on the rest of the episode
//! depends on the features and on the prior. The gradient is that of the exact solution (Bertinetto, Henriques, Torr,
//! Vedaldi, *Meta-learning with differentiable closed-form solvers*, ICLR 2019; with a prior as in Harrison, Sharma,
//! Pavone, *Meta-learning priors for efficient online Bayesian regression*, WAFR 2018).

use crate::error::{Error, Result};
use nalgebra::DMatrix;

/// Some instants of an episode: features Φ [instant, feature], with a column of ones for the bias, and labels Y
/// [instant, output].
#[derive(Clone, Debug)]
pub struct Part {
    pub features: DMatrix<f64>,
    pub labels: DMatrix<f64>,
}

/// W = W₀ + (ΦᵀΦ + n·λ·I)⁻¹ Φᵀ(Y - ΦW₀) over the n instants of `part`, [feature, output], with the inverse's factor.
pub struct Head {
    pub weights: DMatrix<f64>,
    factor: nalgebra::Cholesky<f64, nalgebra::Dyn>,
}

impl Head {
    /// About `prior` W₀; `penalty` λ is per instant.
    pub fn solve(part: &Part, prior: &DMatrix<f64>, penalty: f64) -> Result<Self> {
        let transposed = part.features.transpose(); // nalgebra blocks this product, not tr_mul
        let mut matrix = &transposed * &part.features;
        let ridge = penalty * part.features.nrows() as f64;
        (0..matrix.nrows()).for_each(|index| matrix[(index, index)] += ridge);
        let factor = matrix.cholesky().ok_or_else(|| {
            Error::mismatch("features of an episode", "a singular matrix", "finite features")
        })?;
        let left = &part.labels - &part.features * prior;
        Ok(Self { weights: prior + factor.solve(&(transposed * left)), factor })
    }

    /// Y - ΦW
    pub fn residual(&self, part: &Part) -> DMatrix<f64> {
        &part.labels - &part.features * &self.weights
    }
}

/// The mean square of a query's residual and its gradients.
pub struct Gradients {
    pub loss: f64,
    /// With respect to the features of support and query.
    pub of_support: DMatrix<f64>,
    pub of_query: DMatrix<f64>,
    pub of_prior: DMatrix<f64>,
}

/// For the residual of `query` under the head solved on `support`.
pub fn gradients(support: &Part, query: &Part, prior: &DMatrix<f64>, penalty: f64) -> Result<Gradients> {
    let head = Head::solve(support, prior, penalty)?;
    let error = -head.residual(query);
    let count = error.len() as f64;
    let loss = error.norm_squared() / count;
    // L = |ΦqW - Yq|²/m; dL/dΦq = E Wᵀ with E = 2(ΦqW - Yq)/m
    let error = error * (2.0 / count);
    let of_query = &error * head.weights.transpose();
    // dW = A⁻¹ (dΦᵀ(Y - ΦW) - Φᵀ dΦ W + n·λ·dW₀), so with V = A⁻¹ ΦqᵀE: dL/dΦ = (Y - ΦW) Vᵀ - Φ V Wᵀ
    let adjoint = head.factor.solve(&(query.features.transpose() * &error));
    let of_support = head.residual(support) * adjoint.transpose()
        - (&support.features * &adjoint) * head.weights.transpose();
    let of_prior = adjoint * (penalty * support.features.nrows() as f64);
    Ok(Gradients { loss, of_support, of_query, of_prior })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(instants: usize, phase: f64) -> Part {
        let value = |row: usize, column: usize| {
            let (row, column) = (row as f64, column as f64);
            (1.7 * row + 2.9 * column + 0.6 * row * column + phase).sin()
        };
        Part {
            features: DMatrix::from_fn(instants, 4, value),
            labels: DMatrix::from_fn(instants, 2, |row, column| value(row, column + 7) * value(row, 1)),
        }
    }

    #[test]
    fn a_head_that_is_there_is_found_and_without_data_it_is_the_prior() {
        let mut support = part(30, 0.0);
        let weights = DMatrix::from_fn(4, 2, |row, column| row as f64 - 2.0 * column as f64);
        let prior = DMatrix::from_element(4, 2, 0.5);
        support.labels = &support.features * &weights;
        let head = Head::solve(&support, &prior, 1e-12).unwrap();
        assert!((head.weights.clone() - weights).norm() < 1e-6);
        assert!(head.residual(&support).norm() < 1e-6);
        let distrusted = Head::solve(&support, &prior, 1e12).unwrap();
        assert!((distrusted.weights - &prior).norm() < 1e-6);
        support.features.fill(f64::NAN);
        assert!(Head::solve(&support, &prior, 1e-3).is_err());
    }

    #[test]
    fn the_gradients_are_those_of_finite_differences() {
        const STEP: f64 = 1e-6;
        let given =
            [part(9, 0.3).features, part(5, 1.1).features, part(4, 2.0).features.columns(0, 2).into()];
        let all = |[of_support, of_query, prior]: &[DMatrix<f64>; 3]| {
            let support = Part { features: of_support.clone(), labels: part(9, 0.3).labels };
            let query = Part { features: of_query.clone(), labels: part(5, 1.1).labels };
            gradients(&support, &query, prior, 0.02).unwrap()
        };
        let Gradients { of_support, of_query, of_prior, .. } = all(&given);
        for (which, gradient) in [of_support, of_query, of_prior].iter().enumerate() {
            assert!(gradient.norm() > 1e-3);
            for index in 0..gradient.len() {
                let loss = |change: f64| {
                    let mut changed = given.clone();
                    changed[which][index] += change;
                    all(&changed).loss
                };
                let difference = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
                assert!((difference - gradient[index]).abs() < 1e-8, "{difference} {}", gradient[index]);
            }
        }
    }
}
