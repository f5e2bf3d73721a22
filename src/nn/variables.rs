//! What every training does with its variables, whatever network they are of.

use crate::error::Result;
use crate::nn::checkpoint::Tensors;
use candle_core::Var;
use candle_core::backprop::GradStore;
use std::collections::BTreeMap;

/// The values of `variables` as they are now.
pub fn snapshot(variables: &BTreeMap<String, Var>) -> Result<Tensors> {
    let copied =
        variables.iter().map(|(name, variable)| Ok((name.clone(), variable.as_tensor().copy()?.detach())));
    copied.collect()
}

/// Euclidean norm of the gradients of all `variables` together; not finite when one has overflowed.
pub fn gradient_norm(variables: &[Var], gradients: &GradStore) -> Result<f64> {
    let mut square = 0.0;
    for gradient in variables.iter().filter_map(|variable| gradients.get(variable)) {
        square += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    Ok(square.sqrt())
}
