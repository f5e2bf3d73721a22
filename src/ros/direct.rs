//! A subscription past r2r, for the one topic that a control loop waits for.
//!
//! r2r waits for everything that a node has at once: with ten services and five topics, tens of microseconds between a
//! message's arrival and its being taken, and its subscriptions have no new-message callback. So this one has a wait set
//! of its own, or is watched by a thread that does nothing else, and its message is taken into the same memory each time.
//! rcl's handles of r2r's node cannot be had; hence a node of its own, in a context (and DDS participant) of its own,
//! whose name begins with `_`, as of nodes that tools do not list.
//!
//! All `unsafe` of the nodes is here, but for one variable of the environment ([`super::transport`]). What it rests on everywhere: handles are initialised by rcl before they are used,
//! lie in boxes and so do not move, are used by the thread that owns the [`DirectSubscription`] alone, and are finalised
//! once, when it is dropped, in reverse order.

use crate::error::{Error, Result};
use r2r::{QosProfile, WrappedTypesupport};
use r2r_rcl::*;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

unsafe extern "C" {
    /// Of rcl/remap.h, which r2r_rcl leaves out.
    fn rcl_remap_topic_name(
        local_arguments: *const rcl_arguments_t,
        global_arguments: *const rcl_arguments_t,
        topic_name: *const c_char,
        node_name: *const c_char,
        node_namespace: *const c_char,
        allocator: rcl_allocator_t,
        output_name: *mut *mut c_char,
    ) -> rcl_ret_t;
}

/// Who waits awake dozes when no message has come for this long, and for this long at a time.
const SILENCE: Duration = Duration::from_millis(100);
const DOZE: Duration = Duration::from_millis(1);

/// Whose subscription it is: the names decide which topic is meant, after the remappings of the command line.
pub struct Owner<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
}

/// How the owner waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Asleep.
    Asleep,
    /// Awake, on a flag that the middleware sets: sooner by a change of thread, at the price of a core while messages come.
    Awake,
}

/// Newest messages of a topic, at most as many as its QoS keeps.
pub struct DirectSubscription<M: WrappedTypesupport> {
    context: Box<rcl_context_t>,
    node: Box<rcl_node_t>,
    subscription: Box<rcl_subscription_t>,
    wait_set: Box<rcl_wait_set_t>,
    /// Into which messages are taken.
    message: *mut M::CStruct,
    waiting: Waiting,
    /// Set by the middleware's thread when a message arrives.
    news: Box<AtomicBool>,
    /// When it was last seen set.
    heard: Instant,
}

impl<M: WrappedTypesupport> DirectSubscription<M> {
    /// Subscribes to `topic` as `owner` would.
    pub fn new(owner: &Owner, topic: &str, qos: QosProfile, waiting: Waiting) -> Result<Self> {
        // SAFETY: these only fill structures in.
        let (context, node, subscription, wait_set) = unsafe {
            (
                rcl_get_zero_initialized_context(),
                rcl_get_zero_initialized_node(),
                rcl_get_zero_initialized_subscription(),
                rcl_get_zero_initialized_wait_set(),
            )
        };
        // From here on `drop` cleans up: rcl finalises what is zero without complaint.
        let mut direct = Self {
            context: Box::new(context),
            node: Box::new(node),
            subscription: Box::new(subscription),
            wait_set: Box::new(wait_set),
            message: M::create_msg(),
            waiting,
            news: Box::new(AtomicBool::new(false)),
            heard: Instant::now(),
        };
        direct.create_context()?;
        let topic = direct.resolve(owner, topic)?;
        direct.create_node(owner)?;
        direct.subscribe(&topic, qos)?;
        Ok(direct)
    }

    fn create_context(&mut self) -> Result<()> {
        let arguments = std::env::args().map(c_string).collect::<Result<Vec<CString>>>()?;
        let mut pointers: Vec<*const c_char> = arguments.iter().map(|argument| argument.as_ptr()).collect();
        pointers.push(null());
        // SAFETY: `arguments` outlive the call, which copies them; the options are finalised whatever it returns.
        unsafe {
            let mut options = rcl_get_zero_initialized_init_options();
            check("init options", rcl_init_options_init(&mut options, rcutils_get_default_allocator()))?;
            let count = arguments.len() as c_int;
            let result = rcl_init(count, pointers.as_ptr(), &options, &mut *self.context);
            check("init options", rcl_init_options_fini(&mut options))?;
            check("context", result)
        }
    }

    /// The topic's full name, remapped as the owner's is.
    fn resolve(&self, owner: &Owner, topic: &str) -> Result<CString> {
        let full = match topic.strip_prefix('/') {
            Some(_) => topic.to_owned(),
            None => format!("{}/{topic}", owner.namespace.trim_end_matches('/')),
        };
        let full = c_string(full)?;
        let (name, namespace) = (c_string(owner.name)?, c_string(owner.namespace)?);
        let mut remapped: *mut c_char = null_mut();
        // SAFETY: the strings outlive the call; what it allocates is copied, and freed by the allocator that it used.
        unsafe {
            let allocator = rcutils_get_default_allocator();
            check(
                "remapping",
                rcl_remap_topic_name(
                    null(),
                    &self.context.global_arguments,
                    full.as_ptr(),
                    name.as_ptr(),
                    namespace.as_ptr(),
                    allocator,
                    &mut remapped,
                ),
            )?;
            if remapped.is_null() {
                return Ok(full);
            }
            let name = CStr::from_ptr(remapped).to_owned();
            if let Some(deallocate) = allocator.deallocate {
                deallocate(remapped.cast(), allocator.state);
            }
            Ok(name)
        }
    }

    fn create_node(&mut self, owner: &Owner) -> Result<()> {
        let (name, namespace) = (c_string(format!("_{}_tick", owner.name))?, c_string(owner.namespace)?);
        // SAFETY: the strings outlive the call, which copies them; the context lives as long as the node; the arguments are
        // finalised whatever it returns.
        unsafe {
            let mut options = rcl_node_get_default_options();
            // Names have been remapped already; the log is the owner's.
            options.use_global_arguments = false;
            options.enable_rosout = false;
            let allocator = rcutils_get_default_allocator();
            check("no arguments", rcl_parse_arguments(0, null(), allocator, &mut options.arguments))?;
            let (node, context) = (&mut *self.node, &mut *self.context);
            let result = rcl_node_init(node, name.as_ptr(), namespace.as_ptr(), context, &options);
            let result = check("node", result);
            check("no arguments", rcl_arguments_fini(&mut options.arguments))?;
            result
        }
    }

    fn subscribe(&mut self, topic: &CStr, qos: QosProfile) -> Result<()> {
        // SAFETY: type support is static; `topic` outlives the calls. The callback's data is the flag, which lives in a
        // box until the callback has been taken away.
        unsafe {
            let mut options = rcl_subscription_get_default_options();
            options.qos = qos.into();
            let result = rcl_subscription_init(
                &mut *self.subscription,
                &*self.node,
                M::get_ts(),
                topic.as_ptr(),
                &options,
            );
            check(&format!("subscription of {topic:?}"), result)?;
            match self.waiting {
                Waiting::Asleep => {
                    let allocator = rcutils_get_default_allocator();
                    let context = &mut *self.context;
                    check(
                        "wait set",
                        rcl_wait_set_init(&mut *self.wait_set, 1, 0, 0, 0, 0, 0, context, allocator),
                    )
                }
                Waiting::Awake => {
                    let flag: *const AtomicBool = &*self.news;
                    let result = rcl_subscription_set_on_new_message_callback(
                        &*self.subscription,
                        Some(tell),
                        flag.cast(),
                    );
                    check("new-message callback", result)
                }
            }
        }
    }

    /// Returns when a message has arrived, or after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Result<()> {
        match self.waiting {
            Waiting::Asleep => self.sleep(timeout),
            Waiting::Awake => {
                self.watch(timeout);
                Ok(())
            }
        }
    }

    /// Looks at the flag all the time while messages come, and now and then when they stay away.
    fn watch(&mut self, timeout: Duration) {
        let start = Instant::now();
        loop {
            let now = Instant::now();
            if self.news.swap(false, Ordering::Acquire) {
                self.heard = now;
                return;
            }
            let left = timeout.saturating_sub(now - start);
            if left.is_zero() {
                return;
            }
            if now - self.heard < SILENCE {
                std::hint::spin_loop();
            } else {
                std::thread::sleep(left.min(DOZE));
            }
        }
    }

    fn sleep(&mut self, timeout: Duration) -> Result<()> {
        let timeout = i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX);
        // SAFETY: the wait set has room for the one subscription.
        unsafe {
            check("wait set", rcl_wait_set_clear(&mut *self.wait_set))?;
            check(
                "wait set",
                rcl_wait_set_add_subscription(&mut *self.wait_set, &*self.subscription, null_mut()),
            )?;
            match rcl_wait(&mut *self.wait_set, timeout) {
                result if result == RCL_RET_TIMEOUT as rcl_ret_t => Ok(()),
                result => check("waiting", result),
            }
        }
    }

    /// The next message that has arrived, if any.
    pub fn take(&mut self) -> Option<M> {
        let mut info = rmw_message_info_t::default();
        // SAFETY: `message` was created by the type support of the subscription, and nothing else refers to it.
        unsafe {
            let result = rcl_take(&*self.subscription, self.message.cast(), &mut info, null_mut());
            let is_taken = result == RCL_RET_OK as rcl_ret_t;
            // One flag may stand for several messages.
            self.news.fetch_or(is_taken, Ordering::AcqRel);
            is_taken.then(|| M::from_native(&*self.message))
        }
    }
}

impl<M: WrappedTypesupport> Drop for DirectSubscription<M> {
    fn drop(&mut self) {
        // SAFETY: see the top. What fails here cannot be mended, and the process is about to end.
        unsafe {
            if self.waiting == Waiting::Awake {
                rcl_subscription_set_on_new_message_callback(&*self.subscription, None, null());
            }
            rcl_wait_set_fini(&mut *self.wait_set);
            rcl_subscription_fini(&mut *self.subscription, &mut *self.node);
            rcl_node_fini(&mut *self.node);
            rcl_shutdown(&mut *self.context);
            rcl_context_fini(&mut *self.context);
            rcutils_reset_error();
        }
        M::destroy_msg(self.message);
    }
}

/// Called by a thread of the middleware when messages arrive.
unsafe extern "C" fn tell(flag: *const c_void, _messages: usize) {
    // SAFETY: see `subscribe`; an atomic may be shared.
    unsafe { &*flag.cast::<AtomicBool>() }.store(true, Ordering::Release);
}

fn c_string(text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text).map_err(|error| Error::Ros(format!("name or argument: {error}")))
}

/// An error with rcl's own words for it.
fn check(what: &str, result: rcl_ret_t) -> Result<()> {
    if result == RCL_RET_OK as rcl_ret_t {
        return Ok(());
    }
    // SAFETY: the text is a copy that ends with a zero.
    let text = unsafe {
        let text = rcutils_get_error_string();
        let copy = CStr::from_ptr(text.str_.as_ptr()).to_string_lossy().into_owned();
        rcutils_reset_error();
        copy
    };
    Err(Error::Ros(format!("{what}: {text} (rcl error {result})")))
}
