//! ONNX Runtime's C API, with everything bound to memory that is made once. Two bindings take turns: what one writes as
//! state, the other one reads.

use super::{Network, Result, input};
use ort::environment::Environment;
use ort::memory::Allocator;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{IoBinding, Session};
use ort::value::Tensor;
use ort::{AsPointer, ortsys};
use std::path::Path;

pub struct Runtime(Environment);

impl Runtime {
    /// None when `ORT_DYLIB_PATH` names no library.
    pub fn load() -> Result<Option<Self>> {
        match std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
            Some(library) => Ok(Some(Self(ort::init_from(Path::new(&library))?.build()?))),
            None => Ok(None),
        }
    }
}

pub struct OnnxRuntime {
    session: Session,
    bindings: [IoBinding; 2],
    output: Tensor<f32>,
}

impl OnnxRuntime {
    pub fn load(runtime: &Runtime, model: &Path) -> Result<Self> {
        let session = Session::builder(&runtime.0)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .commit_from_file(model)?;
        let [sample, states @ ..] = session.inputs() else { return Err("a model without inputs".into()) };
        let [result, next_states @ ..] = session.outputs() else {
            return Err("a model without outputs".into());
        };
        let zeros = |outlet: &ort::value::Outlet| -> Result<Tensor<f32>> {
            let shape = outlet.dtype().tensor_shape().ok_or("not a tensor")?;
            let mut tensor = Tensor::new(&Allocator::default(), shape.clone())?;
            tensor.extract_tensor_mut().1.fill(0.0);
            Ok(tensor)
        };
        let mut xs = zeros(sample)?;
        let values = xs.extract_tensor_mut().1;
        values.copy_from_slice(&input(values.len()));
        let mut output = zeros(result)?;
        let mut bindings = [session.create_binding()?, session.create_binding()?];
        for binding in &mut bindings {
            binding.bind_input(sample.name(), &xs)?;
            binding.bind_output(result.name(), &mut output)?;
        }
        for (state, next) in states.iter().zip(next_states) {
            let mut memory = [zeros(state)?, zeros(state)?];
            for (index, binding) in bindings.iter_mut().enumerate() {
                binding.bind_input(state.name(), &memory[index])?;
                binding.bind_output(next.name(), &mut memory[1 - index])?;
            }
        }
        Ok(Self { session, bindings, output })
    }
}

impl Network for OnnxRuntime {
    fn step(&mut self) -> Result<()> {
        let binding = self.bindings[0].ptr();
        // `Session::run_binding` does the same and then makes a list of the outputs, which takes longer.
        // SAFETY: both pointers are those of live objects, which no other thread has.
        ortsys![unsafe RunWithBinding(self.session.ptr_mut(), std::ptr::null(), binding)?];
        self.bindings.swap(0, 1);
        Ok(())
    }

    fn output(&self) -> Result<Vec<f32>> {
        Ok(self.output.extract_tensor().1.to_vec())
    }

    fn is_counted(&self) -> bool {
        false
    }
}
