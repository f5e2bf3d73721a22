//! A step of the frozen networks against Candle's, and against ONNX Runtime, tract and PyTorch where they are installed
//! (benches/common/rivals.rs): `cargo bench --bench inference [-- ROUNDS]`. See benches/common for how it is measured,
//! and docs/performance.md for figures.
//!
//! LSTM: two layers, 21 inputs, 280 outputs, one step with the state carried. MLP: 42-128-128-7, tanh. One input at a
//! time, f32. "read" is the time in which all weights can be read from the cache they fit in: a bound for each of them.

mod common;

use candle_core::{DType, Device, Tensor, Var};
use common::rivals::{Rivals, write_weights};
use common::{Contestant, Result, check_threads, race, report};
use learned_control::nn::kernel::Path;
use learned_control::nn::kernel::simd::{Kernel, Simd};
use learned_control::nn::lstm::{FrozenLstm, Lstm, LstmConfig};
use learned_control::nn::mlp::{FrozenMlp, MlpConfig};
use serde_json::Map;
use std::collections::BTreeMap;
use std::hint::black_box;

const INPUTS: usize = 21;
const OUTPUTS: usize = 280;
/// Calls of a burst.
const CALLS: usize = 50;
const HIDDEN: [usize; 4] = [32, 64, 128, 256];
const RIVALS: [&str; 4] = ["onnxruntime", "tract", "onnxruntime_python", "pytorch"];

type Parameters = BTreeMap<String, Tensor>;

/// Sums the values up, eight vectors at a time, which is as fast as they can be read.
struct Read<'a>(&'a [f32]);

impl Kernel for Read<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let mut sums = [simd.splat(0.0); 8];
        for block in self.0.chunks_exact(8 * S::LANES) {
            for (sum, vector) in sums.iter_mut().zip(block.chunks_exact(S::LANES)) {
                *sum = simd.add(*sum, simd.load(vector));
            }
        }
        let mut lanes = [0.0; 16];
        let sum = sums.into_iter().fold(simd.splat(0.0), |total, sum| simd.add(total, sum));
        simd.store(sum, &mut lanes);
        lanes.iter().sum()
    }
}

/// A contestant that reads `count` f32s, in whole cache lines.
fn reader(count: usize) -> Contestant<'static> {
    let memory = vec![0.5f32; count + 16];
    let offset = memory.as_ptr().align_offset(64);
    let read = move |memory: &mut Vec<f32>| {
        black_box(Path::best().run(Read(black_box(&memory[offset..offset + count]))));
    };
    Contestant::new("read", CALLS, memory, |_| (), read)
}

/// Candle, as it is used best: weights transposed once, no gradients, few and large operations.
struct CandleLstm {
    /// weight_ih [in, 4·hidden], weight_hh [hidden, 4·hidden], bias [4·hidden]
    layers: Vec<[Tensor; 3]>,
    /// weight [hidden, outputs], bias [outputs]
    head: (Tensor, Tensor),
    state: Vec<(Tensor, Tensor)>,
    input: Tensor,
}

impl CandleLstm {
    fn new(config: LstmConfig, parameters: &Parameters, input: &[f32]) -> Result<Self> {
        let transposed = |name: String| -> Result<Tensor> { Ok(parameters[&name].t()?.contiguous()?) };
        let layer = |layer: usize| -> Result<[Tensor; 3]> {
            let bias = |kind: &str| &parameters[&format!("lstm.bias_{kind}_l{layer}")];
            let weight = |kind: &str| transposed(format!("lstm.weight_{kind}_l{layer}"));
            Ok([weight("ih")?, weight("hh")?, (bias("ih") + bias("hh"))?])
        };
        let zeros = Tensor::zeros((1, config.hidden), DType::F32, &Device::Cpu)?;
        Ok(Self {
            layers: (0..config.layers).map(layer).collect::<Result<_>>()?,
            head: (transposed("head.weight".into())?, parameters["head.bias"].clone()),
            state: vec![(zeros.clone(), zeros); config.layers],
            input: Tensor::new(input, &Device::Cpu)?.unsqueeze(0)?,
        })
    }

    fn step(&mut self) -> Result<Tensor> {
        let mut below = self.input.clone();
        for ([weight_ih, weight_hh, bias], (hidden, cell)) in self.layers.iter().zip(&mut self.state) {
            let gates = (below.matmul(weight_ih)? + hidden.matmul(weight_hh)?)?.broadcast_add(bias)?;
            let units = cell.dim(1)?;
            let kept = candle_nn::ops::sigmoid(&gates.narrow(1, 0, 2 * units)?)?;
            let (i, f) = (kept.narrow(1, 0, units)?, kept.narrow(1, units, units)?);
            let g = gates.narrow(1, 2 * units, units)?.tanh()?;
            let o = candle_nn::ops::sigmoid(&gates.narrow(1, 3 * units, units)?)?;
            *cell = ((f * &*cell)? + (i * g)?)?;
            *hidden = (o * cell.tanh()?)?;
            below = hidden.clone();
        }
        Ok(below.matmul(&self.head.0)?.broadcast_add(&self.head.1)?)
    }
}

fn name(path: Path) -> String {
    format!("ours_{path:?}").to_lowercase()
}

/// The kinds of vectors that the processor has, but the one that is used.
fn other_paths() -> impl Iterator<Item = Path> {
    Path::ALL.into_iter().filter(|path| path.is_available() && *path != Path::best())
}

fn lstm_config(hidden: usize) -> LstmConfig {
    LstmConfig { inputs: INPUTS, hidden, layers: 2, outputs: OUTPUTS }
}

fn mlp_config() -> MlpConfig {
    MlpConfig { inputs: 42, hidden: vec![128, 128], outputs: 7 }
}

fn values(variables: BTreeMap<String, Var>) -> Parameters {
    variables.into_iter().map(|(name, variable)| (name, variable.as_detached_tensor())).collect()
}

fn lstm_parameters(hidden: usize) -> Result<Parameters> {
    let mut parameters = values(lstm_config(hidden).initial_variables(1, DType::F32)?);
    let head = Tensor::rand(-0.1f32, 0.1, (OUTPUTS, hidden), &Device::Cpu)?;
    parameters.insert("head.weight".into(), head);
    Ok(parameters)
}

fn mlp_parameters() -> Result<Parameters> {
    Ok(values(mlp_config().initial_variables(1, DType::F32)?))
}

/// sin(k) for each input k.
fn input(count: usize) -> Vec<f32> {
    (0..count).map(|k| (k as f32).sin()).collect()
}

fn lstm<'a>(hidden: usize, parameters: &Parameters, rivals: &'a Rivals) -> Result<Vec<Contestant<'a>>> {
    let (config, input) = (lstm_config(hidden), input(INPUTS));
    let variables: BTreeMap<String, Var> = parameters
        .iter()
        .map(|(name, tensor)| Ok((name.clone(), Var::from_tensor(tensor)?)))
        .collect::<Result<_>>()?;
    let lstm = Lstm::over(config, &variables, DType::F32)?;
    let ours = |name: &str, path: Path, prepare: fn(&mut FrozenLstm)| -> Result<Contestant<'a>> {
        let network = (FrozenLstm::packed(&lstm, 1, path)?, vec![0.0; OUTPUTS]);
        let input = input.clone();
        Ok(Contestant::new(
            name,
            CALLS,
            network,
            move |(network, _)| prepare(network),
            move |(network, output)| {
                network.step(0, black_box(&input), output);
                black_box(output);
            },
        ))
    };
    let mut contestants = vec![ours("ours", Path::best(), |_| ())?];
    contestants.push(ours("ours_sample_to_output", Path::best(), FrozenLstm::prepare)?);
    contestants.push(reader(4 * hidden * (INPUTS + 3 * hidden) + OUTPUTS * hidden));
    for path in other_paths() {
        contestants.push(ours(&name(path), path, |_| ())?);
    }
    let candle = CandleLstm::new(config, parameters, &input)?;
    let step = |network: &mut CandleLstm| drop(black_box(network.step().expect("a step of Candle's")));
    contestants.push(Contestant::new("candle", CALLS, candle, |_| (), step));
    let (mut network, mut output) = (FrozenLstm::new(&lstm, 1)?, vec![0.0; OUTPUTS]);
    (0..10).for_each(|_| network.step(0, &input, &mut output));
    contestants.extend(rivals.contestants("lstm", hidden, CALLS, Some(&output))?);
    Ok(contestants)
}

fn mlp<'a>(parameters: &Parameters, rivals: &'a Rivals) -> Result<Vec<Contestant<'a>>> {
    let (config, input) = (mlp_config(), input(42));
    let ours = |name: &str, path: Path| -> Result<Contestant<'static>> {
        let input = input.clone();
        let network = FrozenMlp::packed(&config, parameters, path)?;
        Ok(Contestant::new(
            name,
            CALLS,
            network,
            |_| (),
            move |network| {
                black_box(network.forward(black_box(&input)));
            },
        ))
    };
    let mut contestants = vec![ours("ours", Path::best())?, reader(42 * 128 + 128 * 128 + 128 * 7 + 256 + 7)];
    for path in other_paths() {
        contestants.push(ours(&name(path), path)?);
    }
    let layer = |index: usize| -> Result<(Tensor, Tensor)> {
        let weight = parameters[&format!("layers.{index}.weight")].t()?.contiguous()?;
        Ok((weight, parameters[&format!("layers.{index}.bias")].clone()))
    };
    let layers = [layer(0)?, layer(1)?, layer(2)?];
    let xs = Tensor::new(&input[..], &Device::Cpu)?.unsqueeze(0)?;
    let forward = move |layers: &mut [(Tensor, Tensor); 3]| {
        let affine = |xs: &Tensor, layer: usize| xs.matmul(&layers[layer].0)?.broadcast_add(&layers[layer].1);
        let output = || affine(&affine(&affine(&xs, 0)?.tanh()?, 1)?.tanh()?, 2);
        drop(black_box(output().expect("a step of Candle's")));
    };
    contestants.push(Contestant::new("candle", CALLS, layers, |_| (), forward));
    let output = FrozenMlp::packed(&config, parameters, Path::best())?.forward(&input).to_vec();
    contestants.extend(rivals.contestants("mlp", 128, CALLS, Some(&output))?);
    Ok(contestants)
}

fn main() -> Result<()> {
    check_threads()?;
    let rounds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(200);
    let networks = HIDDEN.map(|hidden| Ok((hidden, lstm_parameters(hidden)?)));
    let networks = networks.into_iter().collect::<Result<Vec<(usize, Parameters)>>>()?;
    for (hidden, parameters) in &networks {
        write_weights(&format!("lstm{hidden}"), parameters)?;
    }
    let mlp_parameters = mlp_parameters()?;
    write_weights("mlp", &mlp_parameters)?;
    let rivals = Rivals::start()?;
    rivals.print_absent("lstm", &RIVALS);
    println!("one step of one input; vectors: {:?}", Path::best());
    let mut figures = Map::new();
    for (hidden, parameters) in &networks {
        let title = format!("LSTM {INPUTS}-{hidden}-{hidden}-{OUTPUTS}");
        let contestants = lstm(*hidden, parameters, &rivals)?;
        figures.insert(format!("lstm{hidden}"), race(&title, rounds, contestants)?);
    }
    figures.insert("mlp".into(), race("MLP 42-128-128-7", rounds, mlp(&mlp_parameters, &rivals)?)?);
    report("inference", figures)
}
