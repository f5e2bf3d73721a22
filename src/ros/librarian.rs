//! A thread that does with weights what a tick has no time for: it turns received bytes into checked models, keeps those
//! that were in use, brings earlier ones back, and frees what is no longer needed.

use crate::control_loop::ControllerConfig;
use crate::controller::ResidualModel;
use crate::error::{Error, Result};
use crate::models::ModelHistory;
use crate::robot::Robot;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Weights larger than this are not looked at.
const LARGEST_WEIGHTS: usize = 16 << 20;
/// Weights that a learner sends are near to the last ones: one in this time is kept.
const KEEP_EVERY: Duration = Duration::from_secs(10);

enum Work {
    Check(Vec<u8>),
    InUse,
    Save,
    RollBack(String),
    Free(Box<ResidualModel>),
}

/// What the thread has done.
pub enum Event {
    Checked(Result<Box<ResidualModel>>),
    /// The weights in use were saved there.
    Saved(Result<String>),
    Earlier {
        model: Box<ResidualModel>,
        origin: String,
        why: String,
    },
    /// Earlier weights were wanted, and why.
    NothingEarlier(String),
    Warning(String),
}

/// The node's end.
pub struct Librarian {
    work: Option<mpsc::Sender<Work>>,
    events: mpsc::Receiver<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Librarian {
    /// Opens the history that `config` names; with `accept_weights` and no `model_file` its newest weights are brought
    /// back first.
    pub fn spawn(config: &ControllerConfig, robot: Robot) -> Self {
        let (work, inbox) = mpsc::channel();
        let (outbox, events) = mpsc::channel();
        let (folder, capacity) = (config.models_folder.clone(), config.kept_models);
        let resume = config.accept_weights && config.model_file.is_empty();
        let thread = std::thread::spawn(move || {
            let folder = (!folder.is_empty()).then(|| Path::new(&folder));
            let history = match ModelHistory::open(folder, capacity, &robot) {
                Ok((history, problems)) => {
                    problems.into_iter().for_each(|problem| drop(outbox.send(Event::Warning(problem))));
                    history
                }
                Err(error) => {
                    let text = format!("weights are kept in memory only: {error}");
                    let _ = outbox.send(Event::Warning(text));
                    ModelHistory::in_memory(capacity)
                }
            };
            let mut desk = Desk { history, robot, checked: None, current: None, kept_at: Instant::now() };
            if let Some(event) = desk.resume().filter(|_| resume) {
                let _ = outbox.send(event);
            }
            // Ends when the node drops its end of the channel.
            for work in inbox {
                for event in desk.serve(work) {
                    if outbox.send(event).is_err() {
                        return;
                    }
                }
            }
            desk.close();
        });
        Self { work: Some(work), events, thread: Some(thread) }
    }

    fn send(&self, work: Work) {
        // If the thread is gone the learner is soon reported as lost; the baseline needs no weights.
        if let Some(channel) = &self.work {
            let _ = channel.send(work);
        }
    }

    pub fn check(&self, bytes: Vec<u8>) {
        self.send(Work::Check(bytes));
    }

    /// The weights that were checked last are now in use.
    pub fn in_use(&self) {
        self.send(Work::InUse);
    }

    pub fn save(&self) {
        self.send(Work::Save);
    }

    pub fn roll_back(&self, why: String) {
        self.send(Work::RollBack(why));
    }

    pub fn free(&self, model: Box<ResidualModel>) {
        self.send(Work::Free(model));
    }

    pub fn event(&self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Keeps the weights in use and ends the thread.
    pub fn close(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's end.
struct Desk {
    history: ModelHistory,
    robot: Robot,
    /// Bytes of the weights that were checked last, and of those in use.
    checked: Option<Vec<u8>>,
    current: Option<Vec<u8>>,
    kept_at: Instant,
}

impl Desk {
    fn serve(&mut self, work: Work) -> Vec<Event> {
        match work {
            Work::Free(model) => drop(model),
            Work::Check(bytes) => {
                let model = check_weights(&bytes, &self.robot);
                self.checked = model.is_ok().then_some(bytes);
                return vec![Event::Checked(model)];
            }
            Work::InUse => return self.put_in_use().err().map(warning).into_iter().collect(),
            Work::Save => return vec![Event::Saved(self.save())],
            Work::RollBack(why) => return self.roll_back(why),
        }
        Vec::new()
    }

    fn put_in_use(&mut self) -> Result<()> {
        let Some(new) = self.checked.take() else { return Ok(()) };
        match self.current.replace(new) {
            Some(old) if self.kept_at.elapsed() >= KEEP_EVERY => {
                self.kept_at = Instant::now();
                self.history.keep(old, "learner/weights").map(drop)
            }
            _ => Ok(()),
        }
    }

    fn save(&mut self) -> Result<String> {
        let bytes = self.current.clone();
        let bytes =
            bytes.ok_or_else(|| Error::mismatch("weights in use", "none of a learner", "some to save"))?;
        self.history.keep(bytes, "memory (models_folder is not set)").map(|kept| kept.origin.clone())
    }

    fn resume(&mut self) -> Option<Event> {
        let kept = self.history.newest()?;
        let (bytes, origin) = (kept.bytes.clone(), kept.origin.clone());
        let model = check_weights(&bytes, &self.robot).ok()?;
        self.current = Some(bytes);
        Some(Event::Earlier { model, origin, why: "the newest that were kept".into() })
    }

    fn roll_back(&mut self, why: String) -> Vec<Event> {
        self.kept_at = Instant::now();
        let mut events = Vec::new();
        loop {
            match self.history.roll_back() {
                Ok(None) => {
                    self.current = None;
                    events.push(Event::NothingEarlier(why));
                    return events;
                }
                // What is in use is not what to go back to.
                Ok(Some(kept)) if self.current.as_ref() == Some(&kept.bytes) => {}
                Ok(Some(kept)) => match check_weights(&kept.bytes, &self.robot) {
                    Ok(model) => {
                        self.current = Some(kept.bytes);
                        events.push(Event::Earlier { model, origin: kept.origin, why });
                        return events;
                    }
                    Err(error) => events.push(warning(error)),
                },
                Err(error) => events.push(warning(error)),
            }
        }
    }

    fn close(&mut self) {
        let is_kept = self.history.newest().map(|kept| &kept.bytes) == self.current.as_ref();
        if let Some(current) = self.current.take().filter(|_| !is_kept) {
            // Nobody is left to tell.
            let _ = self.history.keep(current, "learner/weights").map(drop);
        }
    }
}

fn warning(error: Error) -> Event {
    Event::Warning(format!("kept weights: {error}"))
}

fn check_weights(bytes: &[u8], robot: &Robot) -> Result<Box<ResidualModel>> {
    if bytes.len() > LARGEST_WEIGHTS {
        let found = format!("{} bytes", bytes.len());
        return Err(Error::mismatch("weights", found, format!("at most {LARGEST_WEIGHTS} bytes")));
    }
    ResidualModel::from_bytes(bytes, "~/weights", robot).map(Box::new)
}
