//! What all nodes share: creation, parameters, clock, log, diagnostics, signals and the drained subscriptions.

use crate::control_loop::Reliability;
use crate::error::{Error, Result};
use crate::ros::convert::stamp_to_time;
use crate::ros::direct::{DirectSubscription, Owner, Waiting};
use crate::ros::parameters::{Parameters, Validate};
use crate::ros::transport::leave_out_shared_memory;
use crate::state::Stamp;
use futures::{FutureExt, Stream, StreamExt};
use r2r::diagnostic_msgs::msg::{DiagnosticArray, DiagnosticStatus, KeyValue};
use r2r::qos::{DurabilityPolicy, ReliabilityPolicy};
use r2r::rcl_interfaces::msg::Log;
use r2r::{Clock, Node, Publisher, QosProfile, WrappedTypesupport};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Newest first matters more than every one: a late sample is worth nothing.
pub fn sensor_qos() -> QosProfile {
    QosProfile::default().reliability(ReliabilityPolicy::BestEffort).keep_last(1)
}

/// For what must arrive but not linger.
pub fn reliable_qos(depth: usize) -> QosProfile {
    QosProfile::default().keep_last(depth)
}

/// For what a late subscriber must still learn: the robot description, the model in use.
pub fn latched_qos() -> QosProfile {
    QosProfile::default().durability(DurabilityPolicy::TransientLocal).keep_last(1)
}

/// The same, with the reliability that is set.
pub fn with_reliability(qos: QosProfile, reliability: Reliability) -> QosProfile {
    qos.reliability(match reliability {
        Reliability::BestEffort => ReliabilityPolicy::BestEffort,
        Reliability::Reliable => ReliabilityPolicy::Reliable,
    })
}

/// A subscription that is emptied after each spin: r2r holds ten messages and drops the newest beyond that.
pub struct Subscription<T>(Box<dyn Stream<Item = T> + Unpin>);

impl<T> Subscription<T> {
    /// The next message that has arrived, if any.
    pub fn take(&mut self) -> Option<T> {
        self.0.next().now_or_never().flatten()
    }

    /// The newest message that has arrived, if any; older ones are dropped.
    pub fn newest(&mut self) -> Option<T> {
        std::iter::from_fn(|| self.take()).last()
    }
}

/// A new subscription of r2r's, to be drained.
pub fn drained<M: 'static>(
    stream: r2r::Result<impl Stream<Item = M> + Unpin + 'static>,
) -> Result<Subscription<M>> {
    Ok(Subscription(Box::new(stream?)))
}

/// A node with its parameters as a `T`; `N` is the node where its owner spins it, or an [`Aside`].
pub struct Shell<T, N = Node> {
    pub node: N,
    /// Name of the logger and of the node in diagnostics: without and with its namespace.
    name: String,
    full_name: String,
    parameters: Arc<Mutex<Parameters<T>>>,
    parameters_changed: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    clock: Arc<Mutex<Clock>>,
    rosout: Publisher<Log>,
    diagnostics: Publisher<DiagnosticArray>,
    /// Runs parameter services and signal handling; dropped last.
    runtime: tokio::runtime::Runtime,
}

/// A node that spins on a thread of its own, which ends with it.
pub struct Aside {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Aside {
    fn new(mut node: Node) -> Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let end = ended.clone();
        let spin = move || {
            while !end.load(Ordering::Acquire) {
                node.spin_once(Duration::from_millis(20));
            }
        };
        let thread = std::thread::Builder::new().name("node".into()).spawn(spin);
        Ok(Self {
            ended,
            thread: Some(thread.map_err(|error| Error::Ros(format!("node's thread: {error}")))?),
        })
    }

    /// An error if it spins no more.
    pub fn check(&self) -> Result<()> {
        match &self.thread {
            Some(thread) if thread.is_finished() => Err(Error::Ros("the node's thread panicked".into())),
            _ => Ok(()),
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // If it panicked, that has been printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl<T: Validate + Serialize + DeserializeOwned + Clone + Send + 'static> Shell<T> {
    /// Creates the node under `name` (remappable), reads its parameters and begins to serve them.
    pub fn new(name: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("services")
            .enable_all()
            .build()
            .map_err(|error| Error::Ros(format!("tokio: {error}")))?;
        let stop = Arc::new(AtomicBool::new(false));
        watch_signals(&runtime, stop.clone())?;
        let mut node = Node::create(context()?, name, "")?;
        let name = node.name()?;
        let parameters = {
            let overrides = node.params.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            Arc::new(Mutex::new(Parameters::new(&name, &overrides)?))
        };
        let (handler, changes) = node.make_derived_parameter_handler(parameters.clone())?;
        let parameters_changed = Arc::new(AtomicBool::new(false));
        let changed = parameters_changed.clone();
        runtime.spawn(handler);
        runtime.spawn(changes.for_each(move |_| {
            changed.store(true, Ordering::Release);
            std::future::ready(())
        }));
        let rosout_qos = QosProfile { lifespan: Duration::from_secs(10), ..latched_qos().keep_last(1000) };
        Ok(Self {
            rosout: node.create_publisher("/rosout", rosout_qos)?,
            diagnostics: node.create_publisher("/diagnostics", reliable_qos(10))?,
            clock: node.get_ros_clock(),
            full_name: node.fully_qualified_name()?,
            node,
            name,
            parameters,
            parameters_changed,
            stop,
            runtime,
        })
    }

    pub fn subscribe<M: WrappedTypesupport + 'static>(
        &mut self,
        topic: &str,
        qos: QosProfile,
    ) -> Result<Subscription<M>> {
        drained(self.node.subscribe(topic, qos))
    }

    pub fn publisher<M: WrappedTypesupport>(&mut self, topic: &str, qos: QosProfile) -> Result<Publisher<M>> {
        Ok(self.node.create_publisher(topic, qos)?)
    }

    /// A service whose requests are taken like messages.
    pub fn service<S: r2r::WrappedServiceTypeSupport + 'static>(
        &mut self,
        name: &str,
    ) -> Result<Subscription<r2r::ServiceRequest<S>>> {
        drained(self.node.create_service::<S>(name, QosProfile::services_default()))
    }

    /// The robot description: the file that the parameter `urdf` names, if any.
    pub fn urdf_file(&self) -> Result<Option<String>> {
        let path = self.node.get_parameter::<Option<String>>("urdf")?.filter(|path| !path.is_empty());
        let named = |path: &String| format!("{path} (parameter 'urdf' of node '{}')", self.name);
        path.map(|path| std::fs::read_to_string(&path).map_err(Error::io(named(&path)))).transpose()
    }

    /// The robot description from the parameter `urdf`, or else from the latched topic robot_description, which is
    /// waited for. `None` when the node was stopped first.
    pub fn robot_description(&mut self) -> Result<Option<String>> {
        if let Some(description) = self.urdf_file()? {
            return Ok(Some(description));
        }
        self.wait_for_text("robot_description")
    }

    /// What a latched topic says. `None` when the node was stopped first.
    pub fn wait_for_text(&mut self, topic: &str) -> Result<Option<String>> {
        let mut text: Subscription<r2r::std_msgs::msg::String> = self.subscribe(topic, latched_qos())?;
        self.info(&format!("waiting for the topic {topic}"));
        while !self.stopped() {
            self.node.spin_once(Duration::from_millis(20));
            if let Some(message) = text.newest() {
                return Ok(Some(message.data));
            }
        }
        Ok(None)
    }

    /// Lets the node spin on a thread of its own: what its subscriptions and services receive is there to be drained, and
    /// its owner waits for something else.
    pub fn spin_aside(self) -> Result<Shell<T, Aside>> {
        Ok(Shell {
            node: Aside::new(self.node)?,
            name: self.name,
            full_name: self.full_name,
            parameters: self.parameters,
            parameters_changed: self.parameters_changed,
            stop: self.stop,
            clock: self.clock,
            rosout: self.rosout,
            diagnostics: self.diagnostics,
            runtime: self.runtime,
        })
    }
}

impl<T: Validate + Serialize + DeserializeOwned + Clone, N> Shell<T, N> {
    /// The parameters as they are now.
    pub fn config(&self) -> T {
        self.parameters.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).config().clone()
    }

    /// The parameters, if they have been set since the last call.
    pub fn changed_config(&self) -> Option<T> {
        self.parameters_changed.swap(false, Ordering::Acquire).then(|| self.config())
    }
}

impl<T, N> Shell<T, N> {
    /// Whether SIGINT or SIGTERM has come.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Shared with threads that must end with the node.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// See [`Answers`].
    pub fn answers(&self) -> Answers {
        Answers(self.runtime.handle().clone())
    }

    /// Answers a request on a service.
    pub fn respond<S>(&self, request: r2r::ServiceRequest<S>, response: S::Response)
    where
        S: r2r::WrappedServiceTypeSupport + 'static,
        S::Response: Send,
    {
        self.answers().send(request, response);
    }

    /// ROS time: the system's, or the simulator's with use_sim_time.
    pub fn now(&self) -> Stamp {
        let mut clock = self.clock.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let now = clock.get_now().unwrap_or_default();
        Stamp(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX))
    }

    /// A subscription that its owner waits for by itself, whether the node spins or not.
    pub fn subscribe_direct<M: WrappedTypesupport>(
        &self,
        topic: &str,
        qos: QosProfile,
        waiting: Waiting,
    ) -> Result<DirectSubscription<M>> {
        let namespace = self.full_name.strip_suffix(&self.name).unwrap_or_default();
        let namespace = if namespace.len() > 1 { namespace.trim_end_matches('/') } else { "/" };
        let owner = Owner { name: &self.name, namespace };
        DirectSubscription::new(&owner, topic, qos, waiting)
    }

    pub fn info(&self, text: &str) {
        r2r::log_info!(&self.name, "{text}");
        self.publish_log(Log::INFO as u8, text);
    }

    pub fn warn(&self, text: &str) {
        r2r::log_warn!(&self.name, "{text}");
        self.publish_log(Log::WARN as u8, text);
    }

    /// r2r does not publish /rosout by itself.
    fn publish_log(&self, level: u8, text: &str) {
        let log = Log {
            stamp: stamp_to_time(self.now()),
            level,
            name: self.name.clone(),
            msg: text.into(),
            ..Default::default()
        };
        // A log line that cannot be published has still been printed.
        let _ = self.rosout.publish(&log);
    }

    /// Publishes one status on /diagnostics.
    pub fn diagnose(&self, task: &str, level: u8, message: &str, values: &[(&str, String)]) {
        let values = values.iter().map(|(key, value)| KeyValue { key: (*key).into(), value: value.clone() });
        let status = DiagnosticStatus {
            level,
            name: format!("{}: {task}", self.full_name),
            message: message.into(),
            hardware_id: String::new(),
            values: values.collect(),
        };
        let mut array = DiagnosticArray { status: vec![status], ..Default::default() };
        array.header.stamp = stamp_to_time(self.now());
        // Diagnostics are advisory: the next one comes in a second.
        let _ = self.diagnostics.publish(&array);
    }
}

/// Sends the answers of services from the thread of what may wait: for a client that it has not found yet the middleware
/// waits up to 100 ms, and then gives up. A client that gets no answer is no reason to end a node.
#[derive(Clone)]
pub struct Answers(tokio::runtime::Handle);

impl Answers {
    pub fn send<S>(&self, request: r2r::ServiceRequest<S>, response: S::Response)
    where
        S: r2r::WrappedServiceTypeSupport + 'static,
        S::Response: Send,
    {
        self.0.spawn(async move {
            if let Err(error) = request.respond(response) {
                r2r::log_warn!("services", "an answer could not be sent, for its client is gone: {error}");
            }
        });
    }
}

fn watch_signals(runtime: &tokio::runtime::Runtime, stop: Arc<AtomicBool>) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| Error::Ros(format!("signal handler: {error}"));
    let _guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    runtime.spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        stop.store(true, Ordering::Release);
    });
    Ok(())
}

/// The `main` of every node: runs it, prints an error as one line, and says with the exit code how it ended.
pub fn run_node(node: impl FnOnce() -> Result<()>) -> ExitCode {
    leave_out_shared_memory();
    match node() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Of the arguments of the process. r2r panics where these or a parameter file cannot be understood.
pub fn context() -> Result<r2r::Context> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let made = std::panic::catch_unwind(r2r::Context::create);
    std::panic::set_hook(hook);
    let panicked = match made {
        Ok(context) => return Ok(context?),
        Err(panicked) => panicked,
    };
    let said = panicked.downcast_ref::<String>().map(String::as_str);
    let said =
        said.or(panicked.downcast_ref::<&str>().copied()).unwrap_or("the arguments are not understood");
    let advice = if said.contains("same type") { "; in a list of numbers write 0.0, not 0" } else { "" };
    Err(Error::Ros(format!("{}{advice}", said.trim())))
}

/// A throttle on wall time, for what is published slower than the loop runs.
pub struct Every {
    period: Duration,
    last: Option<std::time::Instant>,
}

impl Every {
    pub fn new(rate: f64) -> Self {
        Self { period: Duration::from_secs_f64(1.0 / rate), last: None }
    }

    /// True at most once a period.
    pub fn is_due(&mut self) -> bool {
        let now = std::time::Instant::now();
        let due = self.last.is_none_or(|last| now.duration_since(last) >= self.period);
        if due {
            self.last = Some(now);
        }
        due
    }
}
