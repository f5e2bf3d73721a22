//! Controller, predictor and learner for a long time at a high rate: `make soak`, or
//! `cargo bench --features ros --bench soak [-- MINUTES [RATE]]`, by default 10 minutes at 1000 Hz.
//!
//! A tick is missed when its command has not come within a period. For each there must be an explanation: the client that
//! asks was late itself; or a witness, a thread beside it that only sleeps, was not woken in that time either, so that
//! the computer stalled; or the kernel's account says that the thread that ticks, or the client's, was ready meanwhile
//! and waited for a core for as long as the command was late. What is left is ours, or a thread's of the middleware. Memory
//! and page faults of the controller are read after a tenth of the time and at the end. All of it is printed and written
//! to target/report/soak.json.

#[path = "round_trip/client.rs"]
mod client;
mod common;
#[path = "round_trip/contest.rs"]
mod contest;
#[path = "common/models.rs"]
mod models;
#[path = "round_trip/ours.rs"]
mod ours;

use client::Client;
use common::Result;
use contest::{Contest, Transport, first_domain, folder};
use learned_control::robot::Robot;
use ours::{Models, controller, learner, predictor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Part of the time after which nothing new should be allocated.
const SETTLING: f64 = 0.1;
/// A witness sleeps this long at a time; when it is woken later than by this much again, the computer stalled.
const NAP: Duration = Duration::from_micros(300);

/// What a client is told.
#[derive(Serialize, Deserialize)]
struct Order {
    rate: f64,
    seconds: f64,
    /// Process of the controller.
    controller: u32,
}

/// What it saw in that time.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Account {
    requests: usize,
    /// µs
    times: Vec<f64>,
    /// Periods that passed while the client itself was not woken.
    client_late: usize,
    /// Commands later than a period, or never, while a witness saw a stall.
    computer_stalled: usize,
    /// The same while none did, but a thread of the loop was kept waiting for a core.
    kept_waiting: usize,
    /// The rest.
    unexplained: usize,
    /// How late the unexplained ones were, µs; those that never came are as late as was waited.
    unexplained_times: Vec<f64>,
    /// Of all that were late, those that never came.
    lost: usize,
    stalls: usize,
}

impl Account {
    fn add(&mut self, later: Self) {
        self.requests += later.requests;
        self.times.extend(later.times);
        self.client_late += later.client_late;
        self.computer_stalled += later.computer_stalled;
        self.kept_waiting += later.kept_waiting;
        self.unexplained += later.unexplained;
        self.unexplained_times.extend(later.unexplained_times);
        self.lost += later.lost;
        self.stalls += later.stalls;
    }

    fn report(mut self, rate: f64, seconds: f64, before: Memory, after: Memory) -> Value {
        self.times.sort_by(f64::total_cmp);
        self.unexplained_times.sort_by(|a, b| b.total_cmp(a));
        let last = self.times.len().saturating_sub(1) as f64;
        let quantile = |share: f64| self.times.get((last * share).round() as usize);
        json!({
            "rate": rate, "seconds": seconds, "requests": self.requests, "lost": self.lost,
            "time_us": {
                "median": quantile(0.5), "p99": quantile(0.99), "p999": quantile(0.999), "max": quantile(1.0),
            },
            "missed": {
                "client_late": self.client_late, "computer_stalled": self.computer_stalled,
                "kept_waiting": self.kept_waiting, "unexplained": self.unexplained,
                "largest_unexplained_us": self.unexplained_times.iter().take(10).collect::<Vec<_>>(),
            },
            "stalls": self.stalls, "memory_settled": before, "memory_at_end": after,
        })
    }
}

/// Of the controller.
#[derive(Serialize)]
struct Memory {
    rss_kib: u64,
    minor_faults: u64,
    major_faults: u64,
}

impl Memory {
    fn of(contest: &Contest) -> Result<Self> {
        let status = contest.proc("status")?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let stat = contest.proc("stat")?;
        // The name before it may hold anything; fields 10 and 12 of proc(5) are 7 and 9 after it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |index: usize| -> Result<u64> { Ok(fields.get(index).ok_or("a short stat")?.parse()?) };
        Ok(Self {
            rss_kib: rss.trim().trim_end_matches(" kB").parse()?,
            minor_faults: field(7)?,
            major_faults: field(9)?,
        })
    }
}

/// Starts and ends of the computer's stalls, as its witnesses see them.
#[derive(Default)]
struct Stalls(Mutex<Vec<(Instant, Instant)>>);

impl Stalls {
    fn witness(&self, ended: &AtomicBool) {
        while !ended.load(Ordering::Acquire) {
            let start = Instant::now();
            std::thread::sleep(NAP);
            let end = Instant::now();
            if end - start > 2 * NAP + NAP
                && let Ok(mut stalls) = self.0.lock()
            {
                stalls.push((start, end));
            }
        }
    }

    fn overlap(&self, start: Instant, end: Instant) -> bool {
        let stalls = self.0.lock().map(|stalls| stalls.clone()).unwrap_or_default();
        stalls.iter().rev().take_while(|(_, last)| *last >= start).any(|(first, _)| *first <= end)
    }
}

/// How long main threads have been ready and waiting for a core.
struct Waited([File; 2]);

impl Waited {
    fn of(processes: [u32; 2]) -> Result<Self> {
        let [first, second] = processes.map(|process| File::open(format!("/proc/{process}/schedstat")));
        Ok(Self([first?, second?]))
    }

    fn total(&self) -> Result<Duration> {
        let mut total = 0;
        for file in &self.0 {
            let mut text = [0; 96];
            let length = file.read_at(&mut text, 0)?;
            let text = std::str::from_utf8(&text[..length])?;
            total += text.split_whitespace().nth(1).ok_or("a short schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }
}

fn watch(client: &mut Client, order: &Order) -> Result<Account> {
    let period = Duration::from_secs_f64(1.0 / order.rate);
    let (stalls, ended) = (Arc::new(Stalls::default()), Arc::new(AtomicBool::new(false)));
    let cores = std::thread::available_parallelism()?.get();
    let witnesses: Vec<_> = (0..cores)
        .map(|_| {
            let (stalls, ended) = (stalls.clone(), ended.clone());
            std::thread::spawn(move || stalls.witness(&ended))
        })
        .collect();
    let waited = Waited::of([order.controller, std::process::id()])?;
    let mut account = Account::default();
    let begin = Instant::now();
    let mut due = begin + period;
    let mut late = Vec::new();
    while begin.elapsed().as_secs_f64() < order.seconds {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let overslept = Instant::now().saturating_duration_since(due).div_duration_f64(period) as usize;
        account.client_late += overslept;
        account.requests += 1;
        let before = waited.total()?;
        let (start, answer) = client.ask(order.rate)?;
        match answer {
            Some(time) => account.times.push(time.as_secs_f64() * 1e6),
            None => account.lost += 1,
        }
        if answer.is_none_or(|time| time > period) {
            late.push((start, Instant::now(), waited.total()? - before));
        }
        due = (due + period).max(Instant::now());
    }
    // A witness tells of a stall when it is over.
    std::thread::sleep(10 * NAP);
    ended.store(true, Ordering::Release);
    for witness in witnesses {
        witness.join().map_err(|_| "a witness panicked")?;
    }
    for (start, end, waited) in late {
        if stalls.overlap(start, end) {
            account.computer_stalled += 1;
        } else if waited >= (end - start) - period {
            account.kept_waiting += 1;
        } else {
            account.unexplained += 1;
            account.unexplained_times.push((end - start).as_secs_f64() * 1e6);
        }
    }
    account.stalls = stalls.0.lock().map(|stalls| stalls.len()).unwrap_or_default();
    Ok(account)
}

fn run_client(joints: &[String]) -> Result<()> {
    let mut client = Client::new(joints)?;
    for line in std::io::stdin().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        client.wait_for_node(order.rate)?;
        let account = watch(&mut client, &order)?;
        println!("{}", serde_json::to_string(&account)?);
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == "client") {
        return run_client(&arguments[1..]);
    }
    let numbers: Vec<f64> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let seconds = 60.0 * numbers.first().copied().unwrap_or(10.0);
    let rate = numbers.get(1).copied().unwrap_or(1000.0);
    let robot = Robot::from_urdf(&std::fs::read_to_string(models::urdf())?)?;
    let folder = folder("soak")?;
    let models = Models::write(&robot, &folder)?;
    let controller = controller(&models, rate, "-p learning:=true -p accept_weights:=true");
    let nodes = [controller, predictor(&models), learner("-p niceness:=19")];
    let mut contest = Contest::start("soak", &nodes, first_domain(), Transport::Udp, &folder, &robot.joints)?;
    let controller = contest.process();
    println!("{} minutes at {rate} Hz", seconds / 60.0);
    let mut account: Account = contest.order(&Order { rate, seconds: SETTLING * seconds, controller })?;
    let before = Memory::of(&contest)?;
    let later: Account = contest.order(&Order { rate, seconds: (1.0 - SETTLING) * seconds, controller })?;
    let after = Memory::of(&contest)?;
    account.add(later);
    let report = account.report(rate, seconds, before, after);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/report/soak.json");
    std::fs::create_dir_all(path.parent().ok_or("no folder")?)?;
    std::fs::write(&path, serde_json::to_vec_pretty(&report)?)?;
    println!("{}\n{}", serde_json::to_string_pretty(&report)?, path.display());
    Ok(())
}
