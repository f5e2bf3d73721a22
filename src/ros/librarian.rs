//! A thread that does with weights what a tick has no time for: it turns received bytes into checked models, keeps those
//! that were in use, brings earlier ones back, and frees what is no longer needed.

use crate::error::{Error, Result};
use crate::models::ModelHistory;
use crate::nn::checkpoint::Card;
use crate::ros::shell::Answers;
use r2r::std_msgs::msg::String as Text;
use r2r::std_srvs::srv::Trigger;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Weights larger than this are not looked at.
const LARGEST_WEIGHTS: usize = 16 << 20;
/// Weights that a learner sends are near to the last ones: one in this time is kept.
const KEEP_EVERY: Duration = Duration::from_secs(10);
/// Where weights are kept without a folder.
const IN_MEMORY: &str = "memory (models_folder is not set)";

/// Where models are kept.
pub struct Shelf {
    /// Empty: in memory.
    pub folder: String,
    /// What the files are called.
    pub name: &'static str,
    /// How many are kept.
    pub capacity: usize,
    /// Bring the newest back first.
    pub resume: bool,
}

/// Turns bytes from an origin, a topic or a path, into a model, or refuses them.
type Check<M> = Box<dyn Fn(&[u8], &str) -> Result<M> + Send>;

enum Work<M> {
    Check(Vec<u8>),
    InUse,
    Save,
    Keep(Vec<u8>),
    RollBack(String),
    Free(Box<M>),
}

/// What the thread has done.
pub enum Event<M> {
    Checked(Result<Box<M>>),
    /// The weights in use were saved there.
    Saved(Result<String>),
    Earlier {
        model: Box<M>,
        origin: String,
        why: String,
    },
    /// Earlier weights were wanted, and why.
    NothingEarlier(String),
    Warning(String),
}

/// The node's end.
pub struct Librarian<M> {
    work: Option<mpsc::Sender<Work<M>>>,
    events: mpsc::Receiver<Event<M>>,
    thread: Option<JoinHandle<()>>,
}

impl<M: Send + 'static> Librarian<M> {
    /// Opens the history on `shelf`. Models are what `check` makes of bytes.
    pub fn spawn(shelf: Shelf, check: impl Fn(&[u8], &str) -> Result<M> + Send + 'static) -> Self {
        let (work, inbox) = mpsc::channel();
        let (outbox, events) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let Shelf { folder, name, capacity, resume } = shelf;
            let check: Check<M> = Box::new(check);
            let folder = (!folder.is_empty()).then(|| Path::new(&folder));
            let usable = |bytes: &[u8], origin: &str| check(bytes, origin).map(drop);
            let history = match ModelHistory::open(folder, name, capacity, usable) {
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
            let mut desk = Desk { history, check, checked: None, current: None, kept_at: Instant::now() };
            if resume && let Some(event) = desk.resume() {
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

    fn send(&self, work: Work<M>) {
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

    /// Saves these weights, which were checked when they were made.
    pub fn keep(&self, bytes: Vec<u8>) {
        self.send(Work::Keep(bytes));
    }

    pub fn roll_back(&self, why: String) {
        self.send(Work::RollBack(why));
    }

    pub fn free(&self, model: Box<M>) {
        self.send(Work::Free(model));
    }

    pub fn event(&self) -> Option<Event<M>> {
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

/// Requests of a service that are answered when what they ask for is done.
pub struct Requests {
    answers: Answers,
    open: Vec<Request>,
}

struct Request {
    request: r2r::ServiceRequest<Trigger::Service>,
    /// Answers that are still to come, and those that have.
    awaited: usize,
    success: bool,
    messages: Vec<String>,
}

impl Requests {
    pub fn new(answers: Answers) -> Self {
        Self { answers, open: Vec::new() }
    }

    /// One that is done when `awaited` answers have come, and well done when one of them says so.
    pub fn push(&mut self, request: r2r::ServiceRequest<Trigger::Service>, awaited: usize) {
        self.open.push(Request { request, awaited, success: false, messages: Vec::new() });
    }

    /// An answer to all of them.
    pub fn answer(&mut self, success: bool, message: &str) {
        for request in &mut self.open {
            request.awaited = request.awaited.saturating_sub(1);
            request.success |= success;
            request.messages.push(message.into());
        }
        let is_done = |request: &mut Request| request.awaited == 0;
        for Request { request, success, messages, .. } in self.open.extract_if(.., is_done) {
            self.answers.send(request, Trigger::Response { success, message: messages.join("; ") });
        }
    }
}

/// The thread's end.
struct Desk<M> {
    history: ModelHistory,
    check: Check<M>,
    /// Bytes of the weights that were checked last, and of those in use.
    checked: Option<Vec<u8>>,
    current: Option<Vec<u8>>,
    kept_at: Instant,
}

impl<M> Desk<M> {
    fn serve(&mut self, work: Work<M>) -> Vec<Event<M>> {
        match work {
            Work::Free(model) => drop(model),
            Work::Check(bytes) => {
                let model = self.checked_model(&bytes, "~/weights");
                self.checked = model.is_ok().then_some(bytes);
                return vec![Event::Checked(model)];
            }
            Work::InUse => return self.put_in_use().err().map(warning).into_iter().collect(),
            Work::Save => return vec![Event::Saved(self.save())],
            Work::Keep(bytes) => {
                // what is in use goes on from there
                self.current = None;
                let kept = self.history.keep(bytes, IN_MEMORY).map(|kept| kept.origin.clone());
                return vec![Event::Saved(kept)];
            }
            Work::RollBack(why) => return self.roll_back(why),
        }
        Vec::new()
    }

    fn put_in_use(&mut self) -> Result<()> {
        let Some(new) = self.checked.take() else { return Ok(()) };
        match self.current.replace(new) {
            Some(old) if self.kept_at.elapsed() >= KEEP_EVERY && !self.is_kept(&old) => {
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
        self.history.keep(bytes, IN_MEMORY).map(|kept| kept.origin.clone())
    }

    fn checked_model(&self, bytes: &[u8], origin: &str) -> Result<Box<M>> {
        if bytes.len() > LARGEST_WEIGHTS {
            let found = format!("{} bytes", bytes.len());
            return Err(Error::mismatch("weights", found, format!("at most {LARGEST_WEIGHTS} bytes")));
        }
        (self.check)(bytes, origin).map(Box::new)
    }

    fn resume(&mut self) -> Option<Event<M>> {
        let kept = self.history.newest()?;
        let (bytes, origin) = (kept.bytes.clone(), kept.origin.clone());
        let model = self.checked_model(&bytes, &origin).ok()?;
        self.current = Some(bytes);
        Some(Event::Earlier { model, origin, why: "the newest that were kept".into() })
    }

    fn roll_back(&mut self, why: String) -> Vec<Event<M>> {
        self.kept_at = Instant::now();
        let mut events = Vec::new();
        // what is gone back to stays kept: worse weights may come again
        while let Some(kept) = self.history.newest() {
            let (bytes, origin) = (kept.bytes.clone(), kept.origin.clone());
            // what is in use is not what to go back to
            if self.current.as_ref() != Some(&bytes) {
                match self.checked_model(&bytes, &origin) {
                    Ok(model) => {
                        self.current = Some(bytes);
                        events.push(Event::Earlier { model, origin, why });
                        return events;
                    }
                    Err(error) => events.push(warning(error)),
                }
            }
            events.extend(self.history.roll_back().err().map(warning));
        }
        self.current = None;
        events.push(Event::NothingEarlier(why));
        events
    }

    fn is_kept(&self, bytes: &[u8]) -> bool {
        self.history.newest().is_some_and(|kept| kept.bytes == bytes)
    }

    fn close(&mut self) {
        if let Some(current) = self.current.take().filter(|current| !self.is_kept(current)) {
            // Nobody is left to tell.
            let _ = self.history.keep(current, "learner/weights").map(drop);
        }
    }
}

fn warning<M>(error: Error) -> Event<M> {
    Event::Warning(format!("kept weights: {error}"))
}

/// The card of the weights in use, with where they are from and why they are used.
pub fn describe_model(card: &Card, origin: &str, why: &str) -> Text {
    let mut description = serde_json::to_value(card).unwrap_or_default();
    if let Some(entries) = description.as_object_mut() {
        entries.insert("origin".into(), origin.into());
        entries.insert("in_use".into(), why.into());
    }
    Text { data: serde_json::to_string_pretty(&description).unwrap_or_else(|error| error.to_string()) }
}

/// How saving went, for an answer.
pub fn told(result: Result<String>) -> (bool, String) {
    match result {
        Ok(path) => (true, format!("saved: {path}")),
        Err(error) => (false, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_gone_back_to_is_there_again_after_worse_weights() {
        let check: Check<Vec<u8>> = Box::new(|bytes, _| Ok(bytes.to_vec()));
        let history = ModelHistory::in_memory(5);
        let mut desk = Desk { history, check, checked: None, current: None, kept_at: Instant::now() };
        let take = |desk: &mut Desk<Vec<u8>>, weights: u8| {
            desk.serve(Work::Check(vec![weights]));
            assert!(desk.serve(Work::InUse).is_empty());
        };
        let back = |desk: &mut Desk<Vec<u8>>| match desk.serve(Work::RollBack("worse".into())).pop() {
            Some(Event::Earlier { model, .. }) => Some(model[0]),
            Some(Event::NothingEarlier(_)) => None,
            _ => panic!("neither earlier weights nor none"),
        };
        take(&mut desk, 1);
        assert!(matches!(desk.serve(Work::Save)[..], [Event::Saved(Ok(_))]));
        for worse in 2..20 {
            take(&mut desk, worse);
            assert_eq!(back(&mut desk), Some(1), "{worse}");
        }
        assert_eq!(back(&mut desk), None, "asked again, it goes to those before");
        assert!(desk.current.is_none());
    }
}
