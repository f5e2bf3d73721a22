//! How far a training is: a bar with rate and time left on a terminal, a line at each validation elsewhere.

use crate::training::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

pub struct Display {
    /// None where there is no terminal.
    bar: Option<ProgressBar>,
    steps: usize,
    start: std::time::Instant,
    /// Step that this run began at.
    first: Option<usize>,
    best: f64,
}

impl Display {
    pub fn new(steps: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {per_sec}  {eta} left  {msg}");
            ProgressBar::new(steps as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, steps, start: std::time::Instant::now(), first: None, best: f64::INFINITY }
    }

    pub fn show(&mut self, progress: &Progress) {
        self.best = self.best.min(progress.validation);
        let figures = format!(
            "loss {:.4}  held-out error {:.4}  best {:.4}",
            progress.loss, progress.validation, self.best
        );
        if let Some(bar) = &self.bar {
            if self.first.is_none() {
                bar.reset_eta();
            }
            self.first.get_or_insert(progress.step);
            bar.set_position(progress.step as u64);
            bar.set_message(figures);
            return;
        }
        let first = *self.first.get_or_insert(progress.step);
        let rate = (progress.step - first) as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
        let left = (self.steps.saturating_sub(progress.step)) as f64 / rate;
        let left = if rate > 0.0 { format!("  {rate:.0} steps/s  {left:.0} s left") } else { String::new() };
        println!("step {:5} of {}  {figures}{left}", progress.step, self.steps);
    }

    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}
