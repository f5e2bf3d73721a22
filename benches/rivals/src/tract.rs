//! tract: its optimised plan and its state are made once. The state that a step gives is the next one's input as it is.

use super::{Network, Result, input};
use std::path::Path;
use tract_onnx::prelude::*;

pub struct Tract {
    plan: TypedSimpleState,
    /// The sample, then the state.
    inputs: TVec<TValue>,
    output: TValue,
}

impl Tract {
    pub fn load(model: &Path) -> Result<Self> {
        let model = tract_onnx::onnx().model_for_path(model)?.into_optimized()?;
        let mut inputs = tvec![];
        for index in 0..model.inputs.len() {
            let shape = model.input_fact(index)?.shape.as_concrete().ok_or("an input of unknown size")?;
            let count = shape.iter().product();
            let values = if index == 0 { input(count) } else { vec![0.0; count] };
            inputs.push(Tensor::from_shape(shape, &values)?.into_tvalue());
        }
        let output = inputs[0].clone();
        Ok(Self { plan: model.into_runnable()?.spawn()?, inputs, output })
    }
}

impl Network for Tract {
    fn step(&mut self) -> Result<()> {
        let sample = self.inputs[0].clone();
        let mut outputs = self.plan.run(std::mem::take(&mut self.inputs))?;
        self.output = std::mem::replace(&mut outputs[0], sample);
        self.inputs = outputs;
        Ok(())
    }

    fn output(&self) -> Result<Vec<f32>> {
        Ok(self.output.to_plain_array_view::<f32>()?.iter().copied().collect())
    }

    fn is_counted(&self) -> bool {
        true
    }
}
