//! The whole tick without ROS, 500 times a second: `cargo bench --bench tick [-- SECONDS]`, of each contestant. See
//! benches/common for how it is measured, and docs/performance.md for figures.
//!
//! A tick is what the controller does between taking joint states and publishing the command: read the message's arrays,
//! reference, baseline, network, learning in the head, limits, sample. Between ticks the thread sleeps, so that caches and
//! the processor's clock are as they are on a robot. "and predicted" adds a step of the predictor's network and the whole
//! prediction, which in ROS is another process. Beside a learner, a thread trains without a pause on the same
//! computer.

mod common;
#[path = "common/models.rs"]
mod models;

use common::{Contestant, Result, check_threads, race, report};
use learned_control::command::{Command, Mode};
use learned_control::control_loop::{ControlLoop, ControllerConfig, Verdict};
use learned_control::controller::{HeadConfig, ResidualModel};
use learned_control::learner::{Learner, LearnerConfig, Sample};
use learned_control::measurement::JointStateReader;
use learned_control::predictor::{LstmPredictor, Predictor};
use learned_control::robot::Robot;
use learned_control::state::Stamp;
use learned_control::trajectory::Trajectory;
use serde_json::Map;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const RATE: f64 = 500.0;
/// Ticks of a burst.
const CALLS: usize = 500;

/// The arm, the loop that controls it, and a motion that is measured.
struct Loop {
    control: ControlLoop,
    reader: JointStateReader,
    predictor: LstmPredictor,
    prediction: Trajectory,
    command: Command,
    names: Vec<String>,
    position: Vec<f64>,
    velocity: Vec<f64>,
    ticks: u64,
    due: Instant,
    samples: mpsc::Sender<Sample>,
}

impl Loop {
    fn new(samples: mpsc::Sender<Sample>) -> Result<Self> {
        let description = std::fs::read_to_string(models::urdf())?;
        let robot = Robot::from_urdf(&description)?;
        let mut config: ControllerConfig =
            learned_control::config::read_file(&models::config(), "controller")?;
        config.update_rate = RATE;
        config.head = HeadConfig { enabled: true, ..Default::default() };
        // The motion is not the reference's, and no predictor is waited for.
        config.constraints.trajectory = 0.0;
        config.prediction = false;
        let mut control = ControlLoop::load(config, &description)?;
        let (card, tensors) = models::residual(&robot)?;
        let residual = ResidualModel::from_checkpoint(card, &tensors, "benchmark", &robot)?;
        control.accept_model(Box::new(residual));
        let joints = robot.degrees_of_freedom();
        let predictor = LstmPredictor::new(&models::predictor(&robot)?)?;
        Ok(Self {
            prediction: Trajectory::new(predictor.horizon(), joints),
            predictor,
            reader: JointStateReader::new(&robot),
            command: Command::zeros(Mode::Effort, joints),
            names: robot.joints.clone(),
            position: vec![0.0; joints],
            velocity: vec![0.0; joints],
            ticks: 0,
            due: Instant::now(),
            samples,
            control,
        })
    }

    /// Passes the last sample on, works ahead, and sleeps until the next measurement.
    fn wait(&mut self) {
        if let Some(sample) = self.control.sample() {
            // There is a learner only in some of the contests.
            let _ = self.samples.send(sample.clone());
        }
        self.predictor.prepare();
        self.ticks += 1;
        let seconds = self.ticks as f64 / RATE;
        for (joint, (position, velocity)) in self.position.iter_mut().zip(&mut self.velocity).enumerate() {
            let frequency = 0.5 + 0.3 * joint as f64;
            let (sin, cos) = (frequency * seconds).sin_cos();
            (*position, *velocity) = (0.2 * sin, 0.2 * frequency * cos);
        }
        self.due = (self.due + Duration::from_secs_f64(1.0 / RATE)).max(Instant::now());
        std::thread::sleep(self.due - Instant::now());
    }

    fn tick(&mut self, predict: bool) {
        let stamp = Stamp((self.ticks as f64 * 1e9 / RATE) as i64);
        let state = self.reader.read(stamp, &self.names, &self.position, &self.velocity).expect("sound");
        if predict {
            self.predictor.observe(state);
            self.predictor.predict(&mut self.prediction);
            self.control.hear_prediction(stamp, &self.prediction);
        }
        drop(self.control.tick(stamp, Some(state), &mut self.command));
        self.control.network().prepare(); // after the command in a node, but of the tick
        assert!(matches!(self.control.verdict(), Verdict::Tracking | Verdict::Limited));
    }
}

/// Trains without a pause while it is wanted.
fn train(
    robot: &Robot,
    samples: &mpsc::Receiver<Sample>,
    wanted: &AtomicBool,
    steps: &AtomicU64,
) -> learned_control::Result<()> {
    let mut learner = Learner::new(LearnerConfig::default(), robot)?;
    loop {
        if !wanted.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        loop {
            match samples.try_recv() {
                Ok(sample) => learner.observe(sample),
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
            }
        }
        if wanted.load(Ordering::Acquire) {
            learner.step()?;
            steps.store(learner.progress().steps, Ordering::Release);
        }
    }
}

fn main() -> Result<()> {
    check_threads()?;
    let seconds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(60);
    let (to_learner, samples) = mpsc::channel();
    let control = Rc::new(RefCell::new(Loop::new(to_learner)?));
    let robot = Robot::from_urdf(&std::fs::read_to_string(models::urdf())?)?;
    let (wanted, steps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let learner = {
        let (wanted, steps) = (wanted.clone(), steps.clone());
        std::thread::spawn(move || train(&robot, &samples, &wanted, &steps))
    };
    let contestant = |name: &str, predict: bool, learning: bool| {
        let wanted = wanted.clone();
        Contestant::new(
            name,
            CALLS,
            control.clone(),
            move |control| {
                wanted.store(learning, Ordering::Release);
                control.borrow_mut().wait();
            },
            move |control| control.borrow_mut().tick(predict),
        )
    };
    let contestants = vec![
        contestant("tick", false, false),
        contestant("tick, beside a learner", false, true),
        contestant("tick and prediction", true, false),
        contestant("tick and prediction, beside a learner", true, true),
    ];
    let figures = race("A whole tick at 500 Hz", seconds, contestants)?;
    println!("{} training steps meanwhile", steps.load(Ordering::Acquire));
    drop(control);
    learner.join().map_err(|_| "the learner panicked")??;
    let mut all = Map::new();
    all.insert("500Hz".into(), figures);
    report("tick", all)
}
