//! What every training does with its variables, whatever network they are of.

use crate::error::Result;
use crate::nn::checkpoint::Tensors;
use candle_core::Var;
use std::collections::BTreeMap;

/// The values of `variables` as they are now.
pub fn snapshot(variables: &BTreeMap<String, Var>) -> Result<Tensors> {
    let copied =
        variables.iter().map(|(name, variable)| Ok((name.clone(), variable.as_tensor().copy()?.detach())));
    copied.collect()
}
