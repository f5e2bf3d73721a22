//! A training step against Candle's, and against PyTorch's where it is installed (benches/common/rivals.rs):
//! `cargo bench --bench training [-- ROUNDS]`. See benches/common for how it is measured, and docs/performance.md for
//! figures.
//!
//! `lstm64`: 21-64-64-280, truncated backpropagation through 32 steps, 16 sequences, mean squared error of all
//! outputs, one step of Adam. `mlp`: 42-128-128-7, 64 rows, one step of Adam.

mod common;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Optimizer, ParamsAdamW};
use common::rivals::Rivals;
use common::{Contestant, Result, check_threads, race, report};
use learned_control::nn::adamw::AdamW;
use learned_control::nn::loss::mean_squared_error;
use learned_control::nn::lstm::{Lstm, LstmConfig};
use learned_control::nn::mlp::{Mlp, MlpConfig};
use serde_json::Map;
use std::collections::BTreeMap;

const RATE: f64 = 1e-3;
const LSTM: LstmConfig = LstmConfig { inputs: 21, hidden: 64, layers: 2, outputs: 280 };
const BATCH: usize = 16;
const TIME: usize = 32;
const ROWS: usize = 64;

type Variables = BTreeMap<String, Var>;

fn candles_adam(variables: &Variables) -> Result<candle_nn::AdamW> {
    let params = ParamsAdamW { lr: RATE, weight_decay: 0.0, ..Default::default() };
    Ok(candle_nn::AdamW::new(variables.values().cloned().collect(), params)?)
}

/// Candle's operations as they are used best: the inputs of all steps in one product, few and large operations.
fn candles_lstm_loss(variables: &Variables, xs: &Tensor, targets: &Tensor) -> candle_core::Result<Tensor> {
    let zeros = Tensor::zeros((BATCH, LSTM.hidden), DType::F32, &Device::Cpu)?;
    let mut below = xs.clone();
    for layer in 0..LSTM.layers {
        let parameter = |name: &str| variables[&format!("lstm.{name}_l{layer}")].as_tensor();
        let bias = (parameter("bias_ih") + parameter("bias_hh"))?;
        let of_inputs = below.flatten(0, 1)?.matmul(&parameter("weight_ih").t()?)?.broadcast_add(&bias)?;
        let of_inputs = of_inputs.reshape((TIME, BATCH, 4 * LSTM.hidden))?;
        let weight_hh = parameter("weight_hh").t()?.contiguous()?;
        let (mut hidden, mut cell) = (zeros.clone(), zeros.clone());
        let mut hiddens = Vec::with_capacity(TIME);
        for time in 0..TIME {
            let gates = (of_inputs.get(time)? + hidden.matmul(&weight_hh)?)?;
            let gates = gates.chunk(4, 1)?;
            let [i, f, o] = [0, 1, 3].map(|gate| candle_nn::ops::sigmoid(&gates[gate]));
            cell = ((f? * &cell)? + (i? * gates[2].tanh()?)?)?;
            hidden = (o? * cell.tanh()?)?;
            hiddens.push(hidden.clone());
        }
        below = Tensor::stack(&hiddens, 0)?;
    }
    let head = below.flatten(0, 1)?.matmul(&variables["head.weight"].t()?)?;
    let outputs = head.broadcast_add(variables["head.bias"].as_tensor())?;
    candle_nn::loss::mse(&outputs, &targets.flatten(0, 1)?)
}

fn lstm(rivals: &Rivals) -> Result<Vec<Contestant<'_>>> {
    let random = |shape: (usize, usize, usize)| Tensor::randn(0f32, 1f32, shape, &Device::Cpu);
    let (xs, targets) = (random((BATCH, TIME, LSTM.inputs))?, random((TIME, BATCH, LSTM.outputs))?);
    let ours = LSTM.initial_variables(1, DType::F32)?;
    let optimizer = AdamW::new(ours.values().cloned().collect(), 0.0, f64::INFINITY);
    let (our_xs, our_targets) = (xs.clone(), targets.clone());
    let loss = move |variables: &Variables| -> learned_control::Result<Tensor> {
        let lstm = Lstm::over(LSTM, variables, DType::F32)?;
        let (hidden, _) = lstm.forward(&our_xs, &lstm.zero_state(BATCH)?)?;
        Ok(mean_squared_error(&lstm.read_out(&hidden)?, &our_targets)?)
    };
    let step = move |(variables, optimizer): &mut (Variables, AdamW)| {
        let is_taken = loss(variables).and_then(|loss| optimizer.step(&loss, RATE));
        assert!(is_taken.expect("a step of ours"));
    };
    let mut contestants = vec![Contestant::new("ours", 5, (ours, optimizer), |_| (), step)];
    let candles = LSTM.initial_variables(1, DType::F32)?;
    let optimizer = candles_adam(&candles)?;
    let xs = xs.transpose(0, 1)?.contiguous()?;
    let step = move |(variables, optimizer): &mut (Variables, candle_nn::AdamW)| {
        let loss = candles_lstm_loss(variables, &xs, &targets);
        loss.and_then(|loss| optimizer.backward_step(&loss)).expect("a step of Candle's");
    };
    contestants.push(Contestant::new("candle", 2, (candles, optimizer), |_| (), step));
    contestants.extend(rivals.contestants("lstm_training", LSTM.hidden, 3, None)?);
    Ok(contestants)
}

fn mlp(rivals: &Rivals) -> Result<Vec<Contestant<'_>>> {
    let config = MlpConfig { inputs: 42, hidden: vec![128, 128], outputs: 7 };
    let xs = Tensor::randn(0f32, 1f32, (ROWS, 42), &Device::Cpu)?;
    let targets = Tensor::randn(0f32, 1f32, (ROWS, 7), &Device::Cpu)?;
    let variables = config.initial_variables(1, DType::F32)?;
    let network = Mlp::over(&config, &variables, DType::F32)?;
    let optimizer = AdamW::new(variables.values().cloned().collect(), 0.0, f64::INFINITY);
    let (our_xs, our_targets) = (xs.clone(), targets.clone());
    let step = move |(network, optimizer): &mut (Mlp, AdamW)| {
        let outputs = network.forward(&our_xs).expect("a step of ours");
        let loss = mean_squared_error(&outputs, &our_targets).expect("a step of ours");
        assert!(optimizer.step(&loss, RATE).expect("a step of ours"));
    };
    let mut contestants = vec![Contestant::new("ours", 20, (network, optimizer), |_| (), step)];
    let variables = config.initial_variables(1, DType::F32)?;
    let optimizer = candles_adam(&variables)?;
    let step = move |(variables, optimizer): &mut (Variables, candle_nn::AdamW)| {
        let layer = |xs: &Tensor, index: usize| {
            let parameter = |kind: &str| variables[&format!("layers.{index}.{kind}")].as_tensor();
            xs.matmul(&parameter("weight").t()?)?.broadcast_add(parameter("bias"))
        };
        let outputs = || layer(&layer(&layer(&xs, 0)?.tanh()?, 1)?.tanh()?, 2);
        let loss = outputs().and_then(|outputs| candle_nn::loss::mse(&outputs, &targets));
        loss.and_then(|loss| optimizer.backward_step(&loss)).expect("a step of Candle's");
    };
    contestants.push(Contestant::new("candle", 20, (variables, optimizer), |_| (), step));
    contestants.extend(rivals.contestants("mlp_training", 128, 20, None)?);
    Ok(contestants)
}

fn main() -> Result<()> {
    check_threads()?;
    let rounds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(60);
    let rivals = Rivals::start()?;
    rivals.print_absent("lstm_training", &["pytorch"]);
    let mut figures = Map::new();
    figures.insert("lstm64".into(), race("LSTM 21-64-64-280, a training step", rounds, lstm(&rivals)?)?);
    figures.insert("mlp".into(), race("MLP 42-128-128-7, a training step", rounds, mlp(&rivals)?)?);
    report("training", figures)
}
