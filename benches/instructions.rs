//! Instructions of a step of each network, counted by callgrind (`valgrind` must be installed), so that a regression shows
//! on a noisy computer, too: `cargo bench --bench instructions`. Valgrind knows no AVX-512: the figures are those of AVX2.
//!
//! The program runs itself twice with callgrind, with some steps and with more, and gives the difference a step.

use candle_core::{DType, Device, Tensor};
use learned_control::nn::adamw::AdamW;
use learned_control::nn::loss::mean_squared_error;
use learned_control::nn::lstm::{Lstm, LstmConfig};
use learned_control::nn::mlp::{FrozenMlp, Mlp, MlpConfig};
use std::error::Error;
use std::hint::black_box;
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Name, and the numbers of steps.
const TASKS: [(&str, [u64; 2]); 6] = [
    ("lstm32", [10, 1010]),
    ("lstm64", [10, 1010]),
    ("lstm128", [10, 1010]),
    ("mlp", [10, 1010]),
    ("lstm64_training", [2, 12]),
    ("mlp_training", [2, 52]),
];

fn lstm(hidden: usize, steps: u64) -> Result<()> {
    let config = LstmConfig { inputs: 21, hidden, layers: 2, outputs: 280 };
    let lstm = Lstm::over(config, &config.initial_variables(1, DType::F32)?, DType::F32)?;
    let (mut network, input, mut output) = (lstm.freeze(1)?, [0.1; 21], [0.0; 280]);
    for _ in 0..steps {
        network.step(0, black_box(&input), &mut output);
        black_box(&mut output);
    }
    Ok(())
}

fn lstm_training(steps: u64) -> Result<()> {
    let config = LstmConfig { inputs: 21, hidden: 64, layers: 2, outputs: 280 };
    let variables = config.initial_variables(1, DType::F32)?;
    let mut optimizer = AdamW::new(variables.values().cloned().collect(), 0.0, 1.0);
    let xs = Tensor::randn(0f32, 1f32, (16, 32, 21), &Device::Cpu)?;
    let targets = Tensor::randn(0f32, 1f32, (32, 16, 280), &Device::Cpu)?;
    for _ in 0..steps {
        let lstm = Lstm::over(config, &variables, DType::F32)?;
        let (hidden, _) = lstm.forward(&xs, &lstm.zero_state(16)?)?;
        optimizer.step(&mean_squared_error(&lstm.read_out(&hidden)?, &targets)?, 1e-3)?;
    }
    Ok(())
}

fn mlp_config() -> MlpConfig {
    MlpConfig { inputs: 42, hidden: vec![128, 128], outputs: 7 }
}

fn mlp(steps: u64) -> Result<()> {
    let variables = mlp_config().initial_variables(1, DType::F32)?;
    let tensors = variables.iter().map(|(name, variable)| (name.clone(), variable.as_detached_tensor()));
    let (mut network, input) = (FrozenMlp::from_tensors(&mlp_config(), &tensors.collect())?, [0.1; 42]);
    for _ in 0..steps {
        black_box(network.forward(black_box(&input)));
    }
    Ok(())
}

fn mlp_training(steps: u64) -> Result<()> {
    let variables = mlp_config().initial_variables(1, DType::F32)?;
    let network = Mlp::over(&mlp_config(), &variables, DType::F32)?;
    let mut optimizer = AdamW::new(variables.values().cloned().collect(), 0.0, 1.0);
    let xs = Tensor::randn(0f32, 1f32, (64, 42), &Device::Cpu)?;
    let targets = Tensor::randn(0f32, 1f32, (64, 7), &Device::Cpu)?;
    for _ in 0..steps {
        optimizer.step(&mean_squared_error(&network.forward(&xs)?, &targets)?, 1e-3)?;
    }
    Ok(())
}

fn run(task: &str, steps: u64) -> Result<()> {
    match task {
        "lstm32" => lstm(32, steps),
        "lstm64" => lstm(64, steps),
        "lstm128" => lstm(128, steps),
        "mlp" => mlp(steps),
        "lstm64_training" => lstm_training(steps),
        "mlp_training" => mlp_training(steps),
        other => Err(format!("task '{other}' is none of {TASKS:?}").into()),
    }
}

/// Instructions of a run of this program with so many steps.
fn count(task: &str, steps: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([task, &steps.to_string()])
        .env("CANDLE_NUM_THREADS", "1")
        .env("RAYON_NUM_THREADS", "1")
        .output()
        .map_err(|error| format!("valgrind cannot be run ({error}); install it"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected :"));
    let (_, number) = collected.ok_or_else(|| format!("valgrind counted nothing:\n{text}"))?;
    Ok(number.trim().parse()?)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [task, steps] = &arguments[..] {
        return run(task, steps.parse()?);
    }
    println!("{:20} {:>14}", "", "instructions");
    for (task, [few, many]) in TASKS {
        let instructions = count(task, many)?.saturating_sub(count(task, few)?) / (many - few);
        println!("{task:20} {instructions:14}");
    }
    Ok(())
}
