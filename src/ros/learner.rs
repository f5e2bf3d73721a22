//! The learner node: learning samples in, weights out. One thread drains the topic, another trains.

use crate::error::Result;
use crate::learner::{Learner, LearnerConfig, Progress, Sample, Weights};
use crate::robot::Robot;
use crate::ros::convert::message_to_sample;
use crate::ros::parameters::Validate;
use crate::ros::realtime::give_way;
use crate::ros::shell::{Every, Shell, Subscription, reliable_qos, sensor_qos};
use r2r::Publisher;
use r2r::diagnostic_msgs::msg::DiagnosticStatus;
use r2r::std_msgs::msg::{Float64MultiArray, MultiArrayDimension, UInt8MultiArray};
use r2r::std_srvs::srv::SetBool;
use r2r::trajectory_msgs::msg::JointTrajectory;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Names of the entries of ~/loss, in their order; they also stand in the message's layout.
const LOSSES: [&str; 5] = ["training_loss", "held_out_loss", "baseline_loss", "steps", "live_loss"];

impl Validate for LearnerConfig {
    const LIVE: &'static [&'static str] = &[];

    fn validate(&self) -> Result<()> {
        LearnerConfig::validate(self)
    }
}

/// Runs the node until SIGINT or SIGTERM.
pub fn run() -> Result<()> {
    let mut shell = Shell::<LearnerConfig>::new("learner")?;
    let Some(description) = shell.robot_description()? else { return Ok(()) };
    let config = shell.config();
    let robot = Robot::of_description(&description, &config.joints)?;
    learn(shell, config, &robot, "controller/learning_sample")
}

/// Learns for `robot` from the samples on a topic until SIGINT or SIGTERM.
pub fn learn(
    mut shell: Shell<LearnerConfig>,
    config: LearnerConfig,
    robot: &Robot,
    topic: &str,
) -> Result<()> {
    let learner = Learner::new(config.clone(), robot)?;
    let mut samples: Subscription<JointTrajectory> = shell.subscribe(topic, reliable_qos(10))?;
    let mut freeze: Subscription<r2r::ServiceRequest<SetBool::Service>> = shell.service("~/freeze")?;
    let frozen = Arc::new(AtomicBool::new(false));
    let trainer = Trainer {
        weights: shell.publisher("~/weights", reliable_qos(1))?,
        loss: shell.publisher("~/loss", sensor_qos())?,
        stop: shell.stop_flag(),
        frozen: frozen.clone(),
        learner,
    };
    shell.info(&format!("learns for {:?} by the rule {:?}", robot.joints, config.rule));
    let (to_trainer, inbox) = mpsc::channel();
    let (to_node, progress) = mpsc::channel();
    let (to_warn, refusals) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        // The node reads them as long as it lives.
        give_way(&config).into_iter().for_each(|refusal| drop(to_warn.send(refusal)));
        drop(to_warn);
        trainer.run(&inbox, &to_node)
    });
    refusals.iter().for_each(|refusal| shell.warn(&refusal));
    let mut newest = Progress::default();
    let mut doubted = None;
    let mut diagnostics_due = Every::new(1.0);
    while !shell.stopped() && !thread.is_finished() {
        shell.node.spin_once(Duration::from_millis(5));
        while let Some(message) = samples.take() {
            if let Some(sample) = message_to_sample(message, &robot.joints) {
                // The thread's end is noticed by the loop's condition.
                let _ = to_trainer.send(sample);
            }
        }
        while let Some(request) = freeze.take() {
            frozen.store(request.message.data, Ordering::Release);
            let message = if request.message.data { "frozen: nothing is learned" } else { "learning" };
            shell.info(message);
            shell.respond(request, SetBool::Response { success: true, message: message.into() });
        }
        newest = progress.try_iter().last().unwrap_or(newest);
        if newest.delay != doubted {
            doubted = newest.delay;
            if let Some(contradiction) =
                newest.delay.and_then(|delay| delay.contradicts(shell.config().command_delay))
            {
                shell.warn(&contradiction);
            }
        }
        if diagnostics_due.is_due() {
            diagnose(&shell, newest, frozen.load(Ordering::Acquire));
        }
    }
    drop(to_trainer);
    match thread.join() {
        Ok(result) => result,
        Err(_) => Err(crate::Error::Ros("the training thread panicked".into())),
    }
}

fn diagnose(shell: &Shell<LearnerConfig>, progress: Progress, frozen: bool) {
    let Progress { steps, examples, training_loss, scores, changes, delay } = progress;
    let values = [
        ("steps", steps.to_string()),
        ("examples", examples.to_string()),
        ("training_loss", format!("{training_loss:.6}")),
        ("held_out_loss", format!("{:.6}", scores.candidate)),
        ("live_loss", format!("{:.6}", scores.live)),
        ("baseline_loss", format!("{:.6}", scores.none)),
        ("changes", changes.to_string()),
        ("measured_delay_ms", delay.map_or(String::new(), |delay| format!("{:.1}", 1e3 * delay.delay))),
    ];
    let message = match (frozen, steps) {
        (true, _) => "frozen",
        (false, 0) => "waiting for undisturbed motion",
        (false, _) => "learning",
    };
    shell.diagnose("learning", DiagnosticStatus::OK as u8, message, &values);
}

/// Owns the learner on its thread.
struct Trainer {
    learner: Learner,
    weights: Publisher<UInt8MultiArray>,
    loss: Publisher<Float64MultiArray>,
    stop: Arc<AtomicBool>,
    frozen: Arc<AtomicBool>,
}

impl Trainer {
    /// Takes samples as they come and makes training steps at the configured pace, until the node ends.
    fn run(mut self, samples: &mpsc::Receiver<Sample>, progress: &mpsc::Sender<Progress>) -> Result<()> {
        let period = Duration::from_secs_f64(1.0 / self.learner.config().steps_per_second);
        let mut update_due = Every::new(self.learner.config().updates_per_second);
        let mut loss_due = Every::new(10.0);
        let mut next_step = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            self.take_samples_until(next_step, samples);
            // After a slow step the pace is kept from now on; missed steps are not made up for.
            next_step = (next_step + period).max(Instant::now());
            if !self.frozen.load(Ordering::Acquire) {
                self.learner.step()?;
                if update_due.is_due()
                    && let Some(weights) = self.learner.update()?
                {
                    self.publish(weights)?;
                }
            }
            if loss_due.is_due() {
                self.loss.publish(&loss_message(self.learner.progress()))?;
                // The node reports it; when it is gone, so is the reason to.
                let _ = progress.send(self.learner.progress());
            }
        }
        Ok(())
    }

    fn take_samples_until(&mut self, deadline: Instant, samples: &mpsc::Receiver<Sample>) {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match samples.recv_timeout(left) {
                Ok(sample) => self.learner.observe(sample),
                Err(_) => return,
            }
            if left.is_zero() {
                // Behind the pace: take what has come, but do not wait for more.
                samples.try_iter().for_each(|sample| self.learner.observe(sample));
                return;
            }
        }
    }

    fn publish(&self, weights: Weights) -> Result<()> {
        let message = UInt8MultiArray { data: weights.bytes, ..Default::default() };
        Ok(self.weights.publish(&message)?)
    }
}

fn loss_message(progress: Progress) -> Float64MultiArray {
    let Progress { steps, training_loss, scores, .. } = progress;
    let mut message = Float64MultiArray {
        data: vec![training_loss, scores.candidate, scores.none, steps as f64, scores.live],
        ..Default::default()
    };
    message.layout.dim =
        LOSSES.map(|label| MultiArrayDimension { label: label.into(), size: 1, stride: 1 }).into();
    message
}
