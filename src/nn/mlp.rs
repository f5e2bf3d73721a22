//! The multi-layer perceptron: its definition in Candle, for training, and a frozen copy for the tick.
//!
//! y = W_L tanh(… tanh(W_1 x + b_1) …) + b_L

use crate::error::{Error, Result};
use crate::nn::dense::{Activation, dense};
use crate::nn::kernel::Path;
use crate::nn::kernel::dense::{Dense, Network};
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Linear, VarBuilder, linear};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Sizes of the layers; hidden layers have tanh units, the output layer is linear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    pub inputs: usize,
    pub hidden: Vec<usize>,
    pub outputs: usize,
}

impl MlpConfig {
    /// (inputs, outputs) of each layer, first to last.
    fn layers(&self) -> impl Iterator<Item = (usize, usize)> {
        let from = std::iter::once(self.inputs).chain(self.hidden.iter().copied());
        from.zip(self.hidden.iter().copied().chain(std::iter::once(self.outputs)))
    }

    /// Variables to be trained, by name: weights and biases uniform in ±1/√inputs, the output layer zero, so that the
    /// untrained network gives zero. Drawn in the order of the layers: a seed always means the same network.
    pub fn initial_variables(&self, seed: u64, dtype: DType) -> Result<BTreeMap<String, Var>> {
        let mut random = Pcg64::seed_from_u64(seed);
        let mut variables = BTreeMap::new();
        for (index, (inputs, outputs)) in self.layers().enumerate() {
            let bound = if index < self.hidden.len() { 1.0 / (inputs as f64).sqrt() } else { 0.0 };
            for (name, shape) in [("weight", vec![outputs, inputs]), ("bias", vec![outputs])] {
                let count = shape.iter().product();
                let values: Vec<f64> = (0..count).map(|_| bound * random.random_range(-1.0..1.0)).collect();
                let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?;
                variables.insert(format!("layers.{index}.{name}"), Var::from_tensor(&tensor)?);
            }
        }
        Ok(variables)
    }
}

/// The network in Candle.
#[derive(Clone, Debug)]
pub struct Mlp {
    hidden: Vec<Linear>,
    head: Linear,
}

impl Mlp {
    /// Builds or loads the network: `vb` either initialises its variables `layers.<i>.{weight,bias}` or reads them.
    pub fn new(config: &MlpConfig, vb: VarBuilder) -> Result<Self> {
        let mut layers = config
            .layers()
            .enumerate()
            .map(|(index, (inputs, outputs))| linear(inputs, outputs, vb.pp(format!("layers.{index}"))))
            .collect::<candle_core::Result<Vec<_>>>()?;
        let head = layers.remove(config.hidden.len());
        Ok(Self { hidden: layers, head })
    }

    /// The network over variables that an optimizer moves; it follows them.
    pub fn over(config: &MlpConfig, variables: &BTreeMap<String, Var>, dtype: DType) -> Result<Self> {
        let tensors = variables.iter().map(|(name, variable)| (name.clone(), variable.as_tensor().clone()));
        Self::new(config, VarBuilder::from_tensors(tensors.collect(), dtype, &Device::Cpu))
    }

    /// `[batch, input]` to `[batch, output]`.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        Ok(dense(&self.features(xs)?, self.head.weight(), bias_of(&self.head)?, Activation::Identity)?)
    }

    /// The output layer.
    pub fn head(&self) -> &Linear {
        &self.head
    }

    /// What the output layer sees: `[batch, input]` to `[batch, units of the last hidden layer]`.
    pub fn features(&self, xs: &Tensor) -> Result<Tensor> {
        let mut xs = xs.clone();
        for layer in &self.hidden {
            xs = dense(&xs, layer.weight(), bias_of(layer)?, Activation::Tanh)?;
        }
        Ok(xs)
    }
}

fn bias_of(layer: &Linear) -> Result<&Tensor> {
    layer.bias().ok_or_else(|| Error::mismatch("bias of a layer", "none", "one an output"))
}

/// A frozen copy for the tick: weights packed once, buffers made once, no allocation in `forward`.
#[derive(Clone, Debug)]
pub struct FrozenMlp {
    network: Network,
}

impl FrozenMlp {
    /// From the tensors `layers.<i>.{weight [output, input], bias [output]}`; shapes are checked against `config`.
    pub fn from_tensors(config: &MlpConfig, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        Self::packed(config, tensors, Path::best())
    }

    /// As [`Self::from_tensors`], with vectors of a given kind.
    pub fn packed(config: &MlpConfig, tensors: &BTreeMap<String, Tensor>, path: Path) -> Result<Self> {
        let layers = config.layers().enumerate().map(|(index, (inputs, outputs))| {
            let weight = values(tensors, &format!("layers.{index}.weight"), &[outputs, inputs])?;
            let bias = values(tensors, &format!("layers.{index}.bias"), &[outputs])?;
            Ok(Dense::new(path, inputs, &weight, &bias))
        });
        Ok(Self { network: Network::new(path, layers.collect::<Result<_>>()?) })
    }

    /// Refuses weights with which a sum could overflow for inputs up to ±`largest_input`; with all others the output
    /// is finite.
    pub fn check_sums(&self, largest_input: f32) -> Result<()> {
        for (index, layer) in self.network.layers().iter().enumerate() {
            // Above the first layer the inputs are tanh's.
            let input = if index == 0 { f64::from(largest_input) } else { 1.0 };
            check_sum(&format!("layers.{index}"), layer.largest_sum(input))?;
        }
        Ok(())
    }

    /// Evaluates the network; the result stays valid until the next call.
    pub fn forward(&mut self, input: &[f32]) -> &[f32] {
        self.network.forward(input)
    }

    /// What the output layer saw in the last [`Self::forward`]: the units of the last hidden layer, or none.
    pub fn features(&self) -> &[f32] {
        match self.network.layers().len() {
            0 | 1 => &[],
            layers => self.network.output(layers - 2),
        }
    }
}

/// Refuses a layer of which a sum of f32 may become as large as `sum`, when that may overflow.
pub fn check_sum(layer: &str, sum: f64) -> Result<()> {
    // Half of what there is, for rounding on the way.
    let largest = 0.5 * f64::from(f32::MAX);
    if sum > largest {
        let what = format!("largest sum of weights times inputs in {layer}");
        return Err(Error::mismatch(what, format!("{sum:.3e}"), format!("at most {largest:.3e}")));
    }
    Ok(())
}

/// The values of tensor `name`, checked to be f32 of `shape`.
pub fn values(tensors: &BTreeMap<String, Tensor>, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let tensor = tensors
        .get(name)
        .ok_or_else(|| Error::mismatch(format!("tensor {name}"), "none", format!("shape {shape:?}")))?;
    if tensor.dims() != shape || tensor.dtype() != DType::F32 {
        let found = format!("{:?} {:?}", tensor.dtype(), tensor.dims());
        return Err(Error::mismatch(format!("tensor {name}"), found, format!("F32 {shape:?}")));
    }
    Ok(tensor.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUTS: [[f32; 3]; 2] = [[0.5, -1.0, 2.0], [-0.3, 0.1, 0.7]];

    fn config() -> MlpConfig {
        MlpConfig { inputs: 3, hidden: vec![4, 4], outputs: 2 }
    }

    /// The k-th parameter tensor (weight, bias, weight, ...) holds sin(1 + k), sin(2 + k), ...
    fn variables(dtype: DType) -> BTreeMap<String, Var> {
        let shapes: [(&str, &[usize]); 6] = [
            ("layers.0.weight", &[4, 3]),
            ("layers.0.bias", &[4]),
            ("layers.1.weight", &[4, 4]),
            ("layers.1.bias", &[4]),
            ("layers.2.weight", &[2, 4]),
            ("layers.2.bias", &[2]),
        ];
        let tensors = shapes.iter().enumerate().map(|(k, (name, shape))| {
            let count = shape.iter().product::<usize>();
            let values: Vec<f64> = (1..=count).map(|index| ((index + k) as f64).sin()).collect();
            let tensor = Tensor::from_vec(values, *shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            ((*name).to_owned(), Var::from_tensor(&tensor).unwrap())
        });
        tensors.collect()
    }

    fn tensors(variables: &BTreeMap<String, Var>) -> BTreeMap<String, Tensor> {
        variables.iter().map(|(name, variable)| (name.clone(), variable.as_tensor().clone())).collect()
    }

    fn network(variables: &BTreeMap<String, Var>, dtype: DType) -> Mlp {
        let tensors = tensors(variables).into_iter().collect();
        Mlp::new(&config(), VarBuilder::from_tensors(tensors, dtype, &Device::Cpu)).unwrap()
    }

    /// Mean square of the outputs for `INPUTS`, a number that depends on every parameter.
    fn loss(variables: &BTreeMap<String, Var>, dtype: DType) -> Tensor {
        let xs = Tensor::new(&INPUTS, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        network(variables, dtype).forward(&xs).unwrap().sqr().unwrap().mean_all().unwrap()
    }

    // PyTorch 2.15:
    //
    // import torch
    // net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4), torch.nn.Tanh(),
    //                           torch.nn.Linear(4, 2))
    // with torch.no_grad():
    //     for k, parameter in enumerate(net.parameters()):
    //         values = torch.sin(torch.arange(parameter.numel(), dtype=torch.float64) + 1.0 + k)
    //         parameter.copy_(values.float().reshape(parameter.shape))
    // output = net(torch.tensor([[0.5, -1.0, 2.0], [-0.3, 0.1, 0.7]]))
    // loss = (output**2).mean()
    // loss.backward()
    // print(output.tolist(), loss.item(), [p.grad.flatten().tolist()[:2] for p in net.parameters()])
    const OUTPUTS: [[f32; 2]; 2] = [[0.130_561_53, 1.166_091_2], [0.086_877_644, 1.202_339_6]];
    const LOSS: f32 = 0.707_495_87;
    const GRADIENTS: [(&str, [f32; 2]); 6] = [
        ("layers.0.weight", [-0.026_675_584, 0.095_368_36]),
        ("layers.0.bias", [-0.187_806_19, -0.880_940_9]),
        ("layers.1.weight", [0.249_568_16, 0.044_395_745]),
        ("layers.1.bias", [0.383_438_38, -0.656_675]),
        ("layers.2.weight", [-0.002_167_408, -0.017_391_823]),
        ("layers.2.bias", [0.108_719_59, 1.184_215_4]),
    ];

    #[track_caller]
    fn assert_close(found: &[f32], expected: &[f32]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn candle_and_the_frozen_copy_give_the_outputs_of_pytorch() {
        let variables = variables(DType::F32);
        let xs = Tensor::new(&INPUTS, &Device::Cpu).unwrap();
        let outputs: Vec<Vec<f32>> = network(&variables, DType::F32).forward(&xs).unwrap().to_vec2().unwrap();
        let mut frozen = FrozenMlp::from_tensors(&config(), &tensors(&variables)).unwrap();
        for row in 0..2 {
            assert_close(&outputs[row], &OUTPUTS[row]);
            assert_close(frozen.forward(&INPUTS[row]), &OUTPUTS[row]);
        }
    }

    #[test]
    fn the_gradients_are_pytorchs() {
        let variables = variables(DType::F32);
        let loss = loss(&variables, DType::F32);
        assert_close(&[loss.to_scalar().unwrap()], &[LOSS]);
        let gradients = loss.backward().unwrap();
        for (name, expected) in GRADIENTS {
            let gradient = gradients.get(&variables[name]).unwrap().flatten_all().unwrap();
            assert_close(&gradient.to_vec1::<f32>().unwrap()[..2], &expected);
        }
    }

    #[test]
    fn the_gradients_are_those_of_finite_differences() {
        const STEP: f64 = 1e-6;
        let variables = variables(DType::F64);
        let gradients = loss(&variables, DType::F64).backward().unwrap();
        for (name, variable) in &variables {
            let gradient: Vec<f64> =
                gradients.get(variable).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let values: Vec<f64> = variable.flatten_all().unwrap().to_vec1().unwrap();
            let loss_with = |index: usize, change: f64| {
                let mut changed = values.clone();
                changed[index] += change;
                variable.set(&Tensor::from_vec(changed, variable.shape(), &Device::Cpu).unwrap()).unwrap();
                loss(&variables, DType::F64).to_scalar::<f64>().unwrap()
            };
            for (index, gradient) in gradient.iter().enumerate() {
                let difference = (loss_with(index, STEP) - loss_with(index, -STEP)) / (2.0 * STEP);
                assert!((gradient - difference).abs() < 1e-8, "{name}[{index}]: {gradient}, {difference}");
            }
            loss_with(0, 0.0);
        }
    }

    #[test]
    fn the_frozen_copy_is_candles_network_at_full_size() {
        let config = MlpConfig { inputs: 28, hidden: vec![128, 128], outputs: 7 };
        let variables = candle_nn::VarMap::new();
        let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
        let network = Mlp::new(&config, vb).unwrap();
        let tensors: BTreeMap<String, Tensor> = variables
            .data()
            .lock()
            .unwrap()
            .iter()
            .map(|(name, variable)| (name.clone(), variable.as_tensor().clone()))
            .collect();
        let mut frozen = FrozenMlp::from_tensors(&config, &tensors).unwrap();
        for k in 0..100 {
            let input: Vec<f32> = (0..28).map(|index| (1.7 * index as f32 + k as f32).sin()).collect();
            let xs = Tensor::new(&input[..], &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            let expected: Vec<f32> = network.forward(&xs).unwrap().get(0).unwrap().to_vec1().unwrap();
            for (found, expected) in frozen.forward(&input).iter().zip(expected) {
                assert!((found - expected).abs() < 2e-6, "{found} is not {expected}");
            }
        }
    }

    #[test]
    fn every_path_is_candles_network_at_odd_sizes() {
        for (seed, sizes) in [[1, 5, 3, 2], [17, 63, 199, 7], [111, 31, 97, 129]].into_iter().enumerate() {
            let config = MlpConfig { inputs: sizes[0], hidden: sizes[1..3].to_vec(), outputs: sizes[3] };
            let mut tensors = tensors(&config.initial_variables(seed as u64, DType::F32).unwrap());
            let waves = |scale: f32, shape: (usize, usize)| {
                let values: Vec<f32> =
                    (0..shape.0 * shape.1).map(|k| scale * (1.7 * k as f32).sin()).collect();
                Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
            };
            let head = waves(0.2, (sizes[3], sizes[2]));
            tensors.insert("layers.2.weight".into(), head);
            let vb =
                VarBuilder::from_tensors(tensors.clone().into_iter().collect(), DType::F32, &Device::Cpu);
            let xs = waves(2.0, (1, sizes[0]));
            let expected: Vec<f32> =
                Mlp::new(&config, vb).unwrap().forward(&xs).unwrap().get(0).unwrap().to_vec1().unwrap();
            let scale = expected.iter().fold(0.0, |scale: f32, value| scale.max(value.abs()));
            for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
                let mut frozen = FrozenMlp::packed(&config, &tensors, path).unwrap();
                let found = frozen.forward(&xs.get(0).unwrap().to_vec1::<f32>().unwrap()).to_vec();
                for (found, expected) in found.iter().zip(&expected) {
                    // sums of up to 199 terms of single precision, in another order
                    let error = (found - expected).abs() / scale;
                    assert!(error < 5e-6, "{path:?} {sizes:?}: {found} is not {expected}");
                }
            }
        }
    }

    #[test]
    fn tensors_of_another_shape_are_refused_by_name() {
        let mut tensors = tensors(&variables(DType::F32));
        tensors.insert("layers.1.bias".into(), Tensor::zeros(5, DType::F32, &Device::Cpu).unwrap());
        let text = FrozenMlp::from_tensors(&config(), &tensors).unwrap_err().to_string();
        assert!(text.contains("layers.1.bias") && text.contains("[5]") && text.contains("[4]"), "{text}");
        tensors.remove("layers.0.weight");
        assert!(
            FrozenMlp::from_tensors(&config(), &tensors).unwrap_err().to_string().contains("layers.0.weight")
        );
    }

    #[test]
    fn weights_that_may_overflow_are_refused_by_layer() {
        let tensors = |scale: f32, layer: usize| {
            let mut tensors = tensors(&variables(DType::F32));
            let name = format!("layers.{layer}.weight");
            let scaled = (&tensors[&name] * f64::from(scale)).unwrap();
            tensors.insert(name, scaled);
            FrozenMlp::from_tensors(&config(), &tensors).unwrap()
        };
        for layer in 0..3 {
            let error = tensors(2e38, layer).check_sums(10.0).unwrap_err().to_string();
            assert!(error.contains(&format!("layers.{layer}")), "{error}");
        }
        // Up to the bound it is finite, beyond it need not be.
        let mut network = tensors(5e36, 0);
        network.check_sums(10.0).unwrap();
        let at = |input: f32| [input, -input, input];
        assert!(network.forward(&at(10.0)).iter().all(|value| value.is_finite()));
        assert!(network.forward(&at(1e6)).iter().any(|value| value.is_nan()));
    }
}
