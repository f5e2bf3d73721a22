//! What the benchmarks share: contestants that take turns, their figures, a table, `target/report/bench.json` and `bench.html`.
//!
//! Every call is timed by itself, and the time of reading the clock is taken off. In each round each contestant makes
//! a burst of calls, so that a disturbance of the computer meets all of them alike.

#![allow(dead_code)] // each benchmark uses its part

#[path = "../../tests/common/counting_allocator.rs"]
mod counting_allocator;
mod page;
pub mod rivals;

use counting_allocator::allocated;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Times of some calls [µs], and, where they are known, the allocations of each and what they took of a core [%].
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Burst {
    pub times: Vec<f64>,
    pub allocations: Option<f64>,
    pub cpu: Option<f64>,
}

pub struct Contestant<'a> {
    name: String,
    burst: Box<dyn FnMut() -> Result<Burst> + 'a>,
    times: Vec<f64>,
    allocations: Option<f64>,
    /// Of each burst.
    cpu: Vec<f64>,
}

impl<'a> Contestant<'a> {
    /// `work` is timed, `between` is what is done before each call without being timed. Bursts are of `calls`. Both
    /// work on `network`.
    pub fn new<T: 'a>(
        name: &str,
        calls: usize,
        mut network: T,
        mut between: impl FnMut(&mut T) + 'a,
        mut work: impl FnMut(&mut T) + 'a,
    ) -> Self {
        let clock = time_of_clock();
        let mut once = move || {
            between(&mut network);
            let (before, start) = (allocated(), Instant::now());
            work(&mut network);
            let time = start.elapsed().as_secs_f64() * 1e6 - clock;
            (time, allocated() - before)
        };
        Self::by_burst(name, move || {
            // The first ones warm the caches up.
            let calls: Vec<(f64, u64)> =
                (0..calls + calls / 10 + 1).map(|_| once()).skip(calls / 10 + 1).collect();
            let allocations = calls.iter().map(|(_, count)| *count as f64).sum::<f64>() / calls.len() as f64;
            let times = calls.into_iter().map(|(time, _)| time).collect();
            Ok(Burst { times, allocations: Some(allocations), cpu: None })
        })
    }

    pub fn by_burst(name: &str, burst: impl FnMut() -> Result<Burst> + 'a) -> Self {
        Self {
            name: name.into(),
            burst: Box::new(burst),
            times: Vec::new(),
            allocations: None,
            cpu: Vec::new(),
        }
    }

    fn figures(&mut self) -> Value {
        self.times.sort_by(f64::total_cmp);
        let quantile = |share: f64| self.times[((self.times.len() - 1) as f64 * share).round() as usize];
        let cpu = (!self.cpu.is_empty()).then(|| self.cpu.iter().sum::<f64>() / self.cpu.len() as f64);
        json!({
            "median": quantile(0.5), "p99": quantile(0.99), "p999": quantile(0.999), "max": quantile(1.0),
            "n": self.times.len(), "allocations": self.allocations, "cpu_percent": cpu,
        })
    }
}

/// Refuses to run with more than one thread: on two, Candle's small operations wait for each other most of the time, and
/// the comparison would be worth nothing.
pub fn check_threads() -> Result<()> {
    for variable in ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"] {
        if std::env::var(variable).as_deref() != Ok("1") {
            return Err(format!("{variable} is not 1; `make bench` sets it").into());
        }
    }
    Ok(())
}

/// Median time of reading the clock twice [µs].
fn time_of_clock() -> f64 {
    let mut times: Vec<f64> = (0..1001).map(|_| Instant::now().elapsed().as_secs_f64() * 1e6).collect();
    times.sort_by(f64::total_cmp);
    times[500]
}

/// Lets the contestants take turns; prints their figures beside the first one's and gives them by name.
pub fn race(title: &str, rounds: usize, mut contestants: Vec<Contestant>) -> Result<Value> {
    for _ in 0..rounds {
        for contestant in &mut contestants {
            let burst = (contestant.burst)()?;
            contestant.times.extend(burst.times);
            contestant.allocations = burst.allocations;
            contestant.cpu.extend(burst.cpu);
        }
    }
    println!("\n{title}, µs");
    println!(
        "{:28} {:>9} {:>9} {:>9} {:>9} {:>7} {:>6} {:>6} {:>9}",
        "", "median", "p99", "p99.9", "max", "n", "allocs", "CPU %", "ours is"
    );
    let (mut all, mut ours) = (Map::new(), None);
    for contestant in &mut contestants {
        let figures = contestant.figures();
        let number = |key: &str| figures[key].as_f64().unwrap_or(f64::NAN);
        let first = *ours.get_or_insert(number("median"));
        println!(
            "{:28} {:9.2} {:9.2} {:9.2} {:9.2} {:7} {:>6} {:>6} {:8.3}×",
            contestant.name,
            number("median"),
            number("p99"),
            number("p999"),
            number("max"),
            figures["n"],
            figures["allocations"].as_f64().map_or("-".into(), |count| count.to_string()),
            figures["cpu_percent"].as_f64().map_or("-".into(), |share| format!("{share:.1}")),
            first / number("median"),
        );
        all.insert(contestant.name.clone(), figures);
    }
    Ok(all.into())
}

/// Puts `figures` into `target/report/bench.json` under `key`, beside what other benchmarks have put there, and writes
/// `bench.html` anew.
pub fn report(key: &str, figures: Map<String, Value>) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/report");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("bench.json");
    let mut all: Map<String, Value> = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(_) => Map::new(),
    };
    all.insert(key.into(), figures.into());
    std::fs::write(&path, serde_json::to_vec_pretty(&all)?)?;
    let html = folder.join("bench.html");
    page::page(&all).write(&html)?;
    println!("\n{}\n{}", path.display(), html.display());
    Ok(())
}
