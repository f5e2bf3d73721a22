//! Networks of the benchmarks in libraries for Rust: tract, and ONNX Runtime's C API through `ort`, in the shared library
//! that `ORT_DYLIB_PATH` names. `rivals FOLDER`, called by the benchmarks (benches/common/rivals.rs).
//!
//! It speaks as benches/rivals/rivals.py does: first a JSON list of "rival:task"; then "rival task hidden calls" is answered by
//! the times of so many calls and the allocations of one, and "rival task hidden output" by what the network gives
//! after ten steps from rest. The networks are those that rivals.py has written into FOLDER as ONNX.

mod onnxruntime;
mod tract;

#[path = "../../../tests/common/counting_allocator.rs"]
mod counting_allocator;

use counting_allocator::allocated;
use onnxruntime::{OnnxRuntime, Runtime};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tract::Tract;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Steps before the output that is compared.
const STEPS: usize = 10;

/// An optimised network with its input ready and, of an LSTM, the state that it carries on.
trait Network {
    fn step(&mut self) -> Result<()>;

    /// Of the last step.
    fn output(&self) -> Result<Vec<f32>>;

    /// Whether its allocations are those of Rust's allocator.
    fn is_counted(&self) -> bool;
}

/// `hidden` is the size of an LSTM; an MLP has one size.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Request {
    rival: String,
    task: String,
    hidden: usize,
}

impl Request {
    fn load(&self, folder: &Path, runtime: Option<&Runtime>) -> Result<Box<dyn Network>> {
        let model = match self.task.as_str() {
            "lstm" => folder.join(format!("lstm{}.onnx", self.hidden)),
            task => folder.join(format!("{task}.onnx")),
        };
        match (self.rival.as_str(), runtime) {
            ("tract", _) => Ok(Box::new(Tract::load(&model)?)),
            ("onnxruntime", Some(runtime)) => Ok(Box::new(OnnxRuntime::load(runtime, &model)?)),
            (rival, _) => Err(format!("no rival '{rival}'").into()),
        }
    }
}

/// sin(k) for each input k.
fn input(count: usize) -> Vec<f32> {
    (0..count).map(|k| (k as f32).sin()).collect()
}

/// Times of the calls without that of reading the clock, and the allocations of one. The first calls warm the caches up.
fn burst(network: &mut dyn Network, calls: usize) -> Result<Value> {
    let mut clock: Vec<f64> = (0..101).map(|_| Instant::now().elapsed().as_secs_f64() * 1e6).collect();
    clock.sort_by(f64::total_cmp);
    let (warming, mut times, mut allocations) = (calls / 10 + 1, Vec::with_capacity(calls), 0);
    for call in 0..warming + calls {
        let (before, start) = (allocated(), Instant::now());
        black_box(&mut *network).step()?;
        let time = start.elapsed().as_secs_f64() * 1e6 - clock[50];
        if call >= warming {
            times.push(time);
            allocations += allocated() - before;
        }
    }
    let allocations = network.is_counted().then(|| allocations as f64 / calls as f64);
    Ok(json!({ "times": times, "allocations": allocations }))
}

fn answer(network: &mut dyn Network, question: &str) -> Result<Value> {
    if question == "output" {
        for _ in 0..STEPS {
            network.step()?;
        }
        return Ok(json!(network.output()?));
    }
    burst(network, question.parse()?)
}

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: rivals FOLDER")?);
    let runtime = Runtime::load()?;
    let mut rivals = vec!["tract"];
    rivals.extend(runtime.as_ref().map(|_| "onnxruntime"));
    // Without the models there is nothing to run.
    rivals.retain(|_| folder.join("mlp.onnx").exists());
    let tasks: Vec<String> =
        rivals.iter().flat_map(|rival| ["lstm", "mlp"].map(|task| format!("{rival}:{task}"))).collect();
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", json!(tasks))?;
    let mut networks: HashMap<Request, Box<dyn Network>> = HashMap::new();
    for line in std::io::stdin().lines() {
        let line = line?;
        let [rival, task, hidden, question] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("'{line}' is not \"rival task hidden calls\"").into());
        };
        let request = Request { rival: rival.into(), task: task.into(), hidden: hidden.parse()? };
        if question == "output" || !networks.contains_key(&request) {
            networks.insert(request.clone(), request.load(&folder, runtime.as_ref())?);
        }
        let network = networks.get_mut(&request).ok_or("no network")?;
        writeln!(output, "{}", answer(network.as_mut(), question)?)?;
        output.flush()?;
    }
    Ok(())
}
