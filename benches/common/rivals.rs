//! Other libraries that the benchmarks run beside ours, each in a program of its own: those for Python, run by the Python
//! that `PYTHON` names (benches/rivals/rivals.py), and those for Rust, by the program that `RIVALS` names
//! (benches/rivals/src). A line of a program's input asks for a burst. `make bench-rivals` installs and builds all.

use super::{Burst, Contestant, Result};
use candle_core::Tensor;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What they may differ from ours, in the outputs after ten steps.
const TOLERANCE: f32 = 1e-5;

pub struct Rivals(Vec<RefCell<Program>>);

struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// "rival:task" of those that are installed.
    tasks: Vec<String>,
}

/// Where weights of ours lie for the rivals, and the models that are made of them.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/rivals/models")
}

/// Leaves the weights of a network to the rivals that start from then on; `name` is "lstm64" or "mlp".
pub fn write_weights(name: &str, parameters: &BTreeMap<String, Tensor>) -> Result<()> {
    std::fs::create_dir_all(folder())?;
    // A model of other weights is none of this network.
    let _ = std::fs::remove_file(folder().join(format!("{name}.onnx")));
    let parameters: HashMap<&str, Tensor> =
        parameters.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
    Ok(candle_core::safetensors::save(&parameters, folder().join(format!("{name}.safetensors")))?)
}

impl Rivals {
    /// Those whose environment variables are set.
    pub fn start() -> Result<Self> {
        let mut programs = Vec::new();
        // The one for Python first: it makes the models that the other one reads.
        if let Some(python) = std::env::var_os("PYTHON") {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/rivals/rivals.py");
            programs.push(RefCell::new(Program::start(&python, &[script.as_os_str()])?));
        }
        if let Some(program) = std::env::var_os("RIVALS") {
            programs.push(RefCell::new(Program::start(&program, &[])?));
        }
        Ok(Self(programs))
    }

    /// Says which of `expected` cannot do a task.
    pub fn print_absent(&self, task: &str, expected: &[&str]) {
        let here: Vec<String> = self.0.iter().flat_map(|program| program.borrow().of_task(task)).collect();
        for name in expected.iter().filter(|name| !here.iter().any(|rival| rival == *name)) {
            println!("{name}: skipped, not installed (`make bench-rivals` does)");
        }
    }

    /// Contestants for those that know the task; `hidden` is the size of an LSTM. Where ours is given, they must give
    /// the same after ten steps from rest with the inputs sin(k).
    pub fn contestants(
        &self,
        task: &'static str,
        hidden: usize,
        calls: usize,
        ours: Option<&[f32]>,
    ) -> Result<Vec<Contestant<'_>>> {
        let mut contestants = Vec::new();
        for program in &self.0 {
            let of_task = program.borrow().of_task(task);
            for rival in of_task {
                if let Some(ours) = ours {
                    check(&rival, &program.borrow_mut().output(&rival, task, hidden)?, ours)?;
                }
                let name = rival.clone();
                let burst = move || program.borrow_mut().burst(&rival, task, hidden, calls);
                contestants.push(Contestant::by_burst(&name, burst));
            }
        }
        Ok(contestants)
    }
}

impl Program {
    fn start(program: &OsStr, arguments: &[&OsStr]) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).arg(folder()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut program = Self { child, input, output, tasks: Vec::new() };
        program.tasks = program.answer("the list of its rivals")?;
        Ok(program)
    }

    fn of_task(&self, task: &str) -> Vec<String> {
        let rival = |entry: &String| Some(entry.strip_suffix(&format!(":{task}"))?.to_owned());
        self.tasks.iter().filter_map(rival).collect()
    }

    fn ask<T: DeserializeOwned>(&mut self, question: &str) -> Result<T> {
        writeln!(self.input, "{question}")?;
        self.answer(question)
    }

    fn answer<T: DeserializeOwned>(&mut self, question: &str) -> Result<T> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(format!("asked for {question}, a program of rivals has ended").into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    fn burst(&mut self, rival: &str, task: &str, hidden: usize, calls: usize) -> Result<Burst> {
        self.ask(&format!("{rival} {task} {hidden} {calls}"))
    }

    fn output(&mut self, rival: &str, task: &str, hidden: usize) -> Result<Vec<f32>> {
        self.ask(&format!("{rival} {task} {hidden} output"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn check(rival: &str, theirs: &[f32], ours: &[f32]) -> Result<()> {
    let differences = theirs.iter().zip(ours).map(|(theirs, ours)| (theirs - ours).abs());
    // A NaN counts as the largest.
    let worst = differences.max_by(f32::total_cmp).unwrap_or(f32::NAN);
    if theirs.len() == ours.len() && worst <= TOLERANCE {
        return Ok(());
    }
    let (found, expected) = (theirs.len(), ours.len());
    Err(format!("{rival}: {found} outputs, up to {worst} from ours; expected {expected} within {TOLERANCE}")
        .into())
}
