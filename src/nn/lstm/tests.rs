use super::*;
use crate::nn::checkpoint::var_builder;
use crate::nn::kernel::Path;
use crate::nn::variables::snapshot;
use candle_core::safetensors::load_buffer;
use candle_nn::rnn::LSTMConfig;
use candle_nn::{Module, RNN};

// tests/fixtures/lstm.safetensors, from PyTorch 2.15 (pip install torch safetensors):
//
// import torch
// from safetensors.torch import save_file
// torch.manual_seed(0)
// lstm = torch.nn.LSTM(5, 6, num_layers=2, batch_first=True)
// head = torch.nn.Linear(6, 3)
// xs = torch.randn(2, 7, 5, requires_grad=True)
// hidden, (h, c) = lstm(xs)
// output = head(hidden)
// loss = (output ** 2).mean()
// loss.backward()
// tensors = {f"lstm.{k}": v for k, v in lstm.named_parameters()} | {f"head.{k}": v for k, v in head.named_parameters()}
// grads = {f"grad.{k}": v.grad for k, v in tensors.items()}
// save_file({k: v.detach().contiguous() for k, v in
//            (tensors | grads | {"xs": xs, "hidden": hidden, "h": h, "c": c, "output": output, "loss": loss}).items()},
//           "lstm.safetensors")
fn fixture() -> Tensors {
    let bytes = include_bytes!("../../../tests/fixtures/lstm.safetensors");
    load_buffer(bytes, &Device::Cpu).unwrap().into_iter().collect()
}

const GOLDEN: LstmConfig = LstmConfig { inputs: 5, hidden: 6, layers: 2, outputs: 3 };

fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_close(name: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.dims(), expected.dims(), "{name}");
    let differences = flat(found).into_iter().zip(flat(expected)).map(|(a, b)| (a - b).abs());
    let maximum = differences.fold(0.0, f64::max);
    assert!(maximum < tolerance, "{name}: maximum difference {maximum:.2e} exceeds {tolerance:.0e}");
}

#[test]
fn the_forward_pass_is_pytorchs() {
    let golden = fixture();
    let lstm = Lstm::new(GOLDEN, &var_builder(&golden)).unwrap();
    let (hidden, state) = lstm.forward(&golden["xs"], &lstm.zero_state(2).unwrap()).unwrap();
    let hidden = hidden.transpose(0, 1).unwrap();
    assert_close("hidden", &hidden, &golden["hidden"], 2e-6);
    assert_close("output", &lstm.read_out(&hidden).unwrap(), &golden["output"], 2e-6);
    for (layer, (hidden, cell)) in state.0.iter().enumerate() {
        assert_close("h", hidden, &golden["h"].get(layer).unwrap(), 2e-6);
        assert_close("c", cell, &golden["c"].get(layer).unwrap(), 2e-6);
    }
}

#[test]
fn a_sequence_in_two_parts_is_the_sequence() {
    let golden = fixture();
    let lstm = Lstm::new(GOLDEN, &var_builder(&golden)).unwrap();
    let xs = &golden["xs"];
    let (first, state) = lstm.forward(&xs.narrow(1, 0, 3).unwrap(), &lstm.zero_state(2).unwrap()).unwrap();
    let (second, _) = lstm.forward(&xs.narrow(1, 3, 4).unwrap(), &state).unwrap();
    let joined = Tensor::cat(&[first, second], 0).unwrap().transpose(0, 1).unwrap();
    assert_close("hidden", &joined, &golden["hidden"], 2e-6);
}

/// The fixture's parameters as variables of `dtype`.
fn variables(golden: &Tensors, dtype: DType) -> BTreeMap<String, Var> {
    let of_network = golden.iter().filter(|(name, _)| name.starts_with("lstm.") || name.starts_with("head."));
    of_network
        .map(|(name, tensor)| (name.clone(), Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap()))
        .collect()
}

fn loss(variables: &BTreeMap<String, Var>, xs: &Tensor) -> Tensor {
    let lstm = Lstm::over(GOLDEN, variables, xs.dtype()).unwrap();
    let (hidden, _) = lstm.forward(xs, &lstm.zero_state(2).unwrap()).unwrap();
    lstm.read_out(&hidden).unwrap().sqr().unwrap().mean_all().unwrap()
}

#[test]
fn the_gradients_are_pytorchs() {
    let golden = fixture();
    let variables = variables(&golden, DType::F32);
    let loss = loss(&variables, &golden["xs"]);
    assert_close("loss", &loss, &golden["loss"], 1e-6);
    let gradients = loss.backward().unwrap();
    for (name, variable) in &variables {
        let gradient = gradients.get(variable).unwrap();
        assert_close(name, gradient, &golden[&format!("grad.{name}")], 2e-6);
    }
}

#[test]
fn the_gradients_are_the_finite_differences() {
    let golden = fixture();
    let variables = variables(&golden, DType::F64);
    let xs = golden["xs"].to_dtype(DType::F64).unwrap();
    let gradients = loss(&variables, &xs).backward().unwrap();
    let step = 1e-5;
    for (name, variable) in &variables {
        let gradient = flat(gradients.get(variable).unwrap());
        let (shape, original) = (variable.shape().clone(), flat(variable));
        for index in 0..original.len() {
            let at = |offset: f64| {
                let mut moved = original.clone();
                moved[index] += offset;
                variable.set(&Tensor::from_vec(moved, &shape, &Device::Cpu).unwrap()).unwrap();
                loss(&variables, &xs).to_scalar::<f64>().unwrap()
            };
            let slope = (at(step) - at(-step)) / (2.0 * step);
            let difference = (slope - gradient[index]).abs();
            assert!(
                difference < 1e-9,
                "{name}[{index}]: {slope} by differences, {} by backward",
                gradient[index]
            );
        }
        variable.set(&Tensor::from_vec(original, shape, &Device::Cpu).unwrap()).unwrap();
    }
}

/// Gradients in f32 beside those of Candle's own LSTM in f64.
#[test]
fn the_gradients_are_candles_at_odd_sizes() {
    for (batch, time, inputs, hidden, layers) in [(1, 1, 1, 1, 1), (3, 7, 5, 33, 2), (16, 20, 21, 65, 2)] {
        let config = LstmConfig { inputs, hidden, layers, outputs: 3 };
        let of_dtype = |dtype| -> BTreeMap<String, Var> {
            let mut variables = config.initial_variables(7, dtype).unwrap();
            let ramp: Vec<f64> = (0..3 * hidden).map(|k| (1.3 * k as f64).sin()).collect();
            let weight = Tensor::from_vec(ramp, (3, hidden), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            variables.insert("head.weight".into(), Var::from_tensor(&weight).unwrap());
            variables
        };
        let wave: Vec<f64> = (0..batch * time * inputs).map(|k| 2.0 * (0.7 * k as f64).sin()).collect();
        let xs = Tensor::from_vec(wave, (batch, time, inputs), &Device::Cpu).unwrap();
        let (ours, theirs) = (of_dtype(DType::F32), of_dtype(DType::F64));
        let lstm = Lstm::over(config, &ours, DType::F32).unwrap();
        let (hidden, _) =
            lstm.forward(&xs.to_dtype(DType::F32).unwrap(), &lstm.zero_state(batch).unwrap()).unwrap();
        let found = lstm.read_out(&hidden).unwrap().sqr().unwrap().mean_all().unwrap().backward().unwrap();
        let gradients = candles_loss(config, &theirs, &xs).backward().unwrap();
        for (name, variable) in &theirs {
            let expected = gradients.get(variable).unwrap();
            let scale = flat(expected).into_iter().fold(0.0, |scale: f64, value| scale.max(value.abs()));
            assert_close(name, found.get(&ours[name]).unwrap(), expected, 1e-4 * scale + f64::MIN_POSITIVE);
        }
    }
}

fn candles_loss(config: LstmConfig, variables: &BTreeMap<String, Var>, xs: &Tensor) -> Tensor {
    let tensors = variables.iter().map(|(name, variable)| (name.clone(), variable.as_tensor().clone()));
    let vb = VarBuilder::from_tensors(tensors.collect(), DType::F64, &Device::Cpu);
    let mut below = xs.clone();
    for layer_idx in 0..config.layers {
        let inputs = below.dim(2).unwrap();
        let layer = LSTMConfig { layer_idx, ..Default::default() };
        let layer = candle_nn::lstm(inputs, config.hidden, layer, vb.pp("lstm")).unwrap();
        below = layer.states_to_tensor(&layer.seq(&below).unwrap()).unwrap();
    }
    let head = candle_nn::linear(config.hidden, config.outputs, vb.pp("head")).unwrap();
    head.forward(&below).unwrap().sqr().unwrap().mean_all().unwrap()
}

#[test]
fn the_frozen_copy_is_candles() {
    let golden = fixture();
    let lstm = Lstm::new(GOLDEN, &var_builder(&golden)).unwrap();
    let mut frozen = lstm.freeze(2).unwrap();
    for _ in 0..2 {
        frozen.reset();
        let mut output = [0.0; 3];
        for time in 0..7 {
            for stream in 0..2 {
                let input = golden["xs"].get(stream).unwrap().get(time).unwrap();
                frozen.step(stream, &input.to_vec1().unwrap(), &mut output);
                let found = Tensor::new(&output, &Device::Cpu).unwrap();
                let expected = golden["output"].get(stream).unwrap().get(time).unwrap();
                assert_close("output", &found, &expected, 1e-5);
            }
        }
    }
}

/// Numbers up to `scale` that are the same each time.
fn waves(scale: f32, shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|k| scale * (1.7 * k as f32).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

#[test]
fn a_long_run_of_the_frozen_copy_stays_with_candle() {
    let config = LstmConfig { inputs: 7, hidden: 33, layers: 2, outputs: 5 };
    let mut variables = config.initial_variables(3, DType::F32).unwrap();
    let weight = waves(1.0, &[5, 33]);
    variables.insert("head.weight".into(), Var::from_tensor(&weight).unwrap());
    let lstm = Lstm::over(config, &variables, DType::F32).unwrap();
    let xs = waves(3.0, &[1, 500, 7]);
    let (hidden, _) = lstm.forward(&xs, &lstm.zero_state(1).unwrap()).unwrap();
    let expected = lstm.read_out(&hidden).unwrap().squeeze(1).unwrap();
    let mut frozen = lstm.freeze(1).unwrap();
    let mut output = vec![0f32; 5];
    for (time, input) in xs.squeeze(0).unwrap().to_vec2::<f32>().unwrap().iter().enumerate() {
        frozen.step(0, input, &mut output);
        let found = Tensor::new(output.as_slice(), &Device::Cpu).unwrap();
        assert_close("output", &found, &expected.get(time).unwrap(), 1e-5);
    }
}

#[test]
fn every_path_is_candles_network_at_odd_sizes() {
    for (inputs, hidden, layers, outputs) in [(1, 3, 1, 2), (21, 63, 2, 111), (7, 129, 3, 33)] {
        let config = LstmConfig { inputs, hidden, layers, outputs };
        let mut variables = config.initial_variables(5, DType::F32).unwrap();
        let weight = waves(1.0, &[outputs, hidden]);
        variables.insert("head.weight".into(), Var::from_tensor(&weight).unwrap());
        let lstm = Lstm::over(config, &variables, DType::F32).unwrap();
        let xs = waves(3.0, &[1, 10, inputs]);
        let (hidden, _) = lstm.forward(&xs, &lstm.zero_state(1).unwrap()).unwrap();
        let expected = lstm.read_out(&hidden).unwrap().squeeze(1).unwrap();
        let scale = flat(&expected).into_iter().fold(0.0, |scale: f64, value| scale.max(value.abs()));
        for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
            let mut frozen = FrozenLstm::packed(&lstm, 1, path).unwrap();
            let mut output = vec![0f32; outputs];
            for (time, input) in xs.squeeze(0).unwrap().to_vec2::<f32>().unwrap().iter().enumerate() {
                frozen.step(0, input, &mut output);
                let found = Tensor::new(output.as_slice(), &Device::Cpu).unwrap();
                assert_close(&format!("{path:?}"), &found, &expected.get(time).unwrap(), 5e-6 * scale);
            }
        }
    }
}

#[test]
fn fresh_parameters_depend_on_the_seed_only_and_output_zero() {
    let values = |seed| {
        let variables = GOLDEN.initial_variables(seed, DType::F32).unwrap();
        let parameters: Vec<f64> = variables.values().flat_map(|variable| flat(variable)).collect();
        (Lstm::over(GOLDEN, &variables, DType::F32).unwrap(), parameters)
    };
    let ((lstm, first), (_, again), (_, other)) = (values(1), values(1), values(2));
    assert!(first == again && first != other);
    let mut output = [1.0; 3];
    lstm.freeze(1).unwrap().step(0, &[3.0; 5], &mut output);
    assert_eq!(output, [0.0; 3]);
}

#[test]
fn sizes_that_make_no_network_and_missing_parameters_are_refused() {
    let refused = |config: LstmConfig| config.validate().unwrap_err().to_string();
    assert_eq!(refused(LstmConfig { hidden: 0, ..GOLDEN }), "LSTM hidden: found 0, expected 1 to 4096");
    assert!(refused(LstmConfig { layers: 99, ..GOLDEN }).contains("layers"));
    let mut golden = fixture();
    assert!(Lstm::new(LstmConfig { hidden: 7, ..GOLDEN }, &var_builder(&golden)).is_err());
    golden.remove("head.bias");
    assert!(Lstm::new(GOLDEN, &var_builder(&golden)).is_err());
}

#[test]
fn parameters_of_other_names_shapes_or_sizes_are_refused() {
    let config = LstmConfig { inputs: 3, hidden: 4, layers: 2, outputs: 2 };
    let sound = snapshot(&config.initial_variables(1, DType::F32).unwrap()).unwrap();
    config.check(&sound, 20.0).unwrap();
    let refused = |name: &str, tensor: Option<Tensor>| {
        let mut parameters = sound.clone();
        match tensor {
            Some(tensor) => parameters.insert(name.into(), tensor),
            None => parameters.remove(name),
        };
        config.check(&parameters, 20.0).unwrap_err().to_string()
    };
    let full = |value: f32, shape: &[usize]| Some(Tensor::full(value, shape, &Device::Cpu).unwrap());
    assert_eq!(refused("head.bias", None), "shape of tensor head.bias: found none, expected [2]");
    assert_eq!(refused("head.bias", full(0.0, &[3])), "shape of tensor head.bias: found [3], expected [2]");
    assert!(refused("tail.bias", full(0.0, &[2])).starts_with("tensor: found tail.bias, expected lstm."));
    for (name, shape, place) in [
        ("lstm.weight_ih_l0", &[16, 3][..], "layer 0"), // 3 inputs of 20, so a tenth of the others is too much
        ("lstm.weight_hh_l1", &[16, 4], "layer 1"),
        ("lstm.bias_ih_l1", &[16], "layer 1"),
        ("head.weight", &[2, 4], "the head"),
    ] {
        let value = if name == "lstm.weight_ih_l0" { 1e37 } else { 2e38 };
        let error = refused(name, full(value, shape));
        assert!(error.contains(&format!("in {place}")), "{error}");
    }
}
