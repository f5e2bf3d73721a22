//! What ends a program from outside: Ctrl-C and a request to end, as a flag; a reader that has gone.

use crate::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A flag that SIGINT and SIGTERM set from now on, in place of ending the process.
pub fn flag() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, interrupted.clone()).map_err(Error::io("signal handler"))?;
    }
    Ok(interrupted)
}

/// Lets a program whose reader has gone (`learned_control ... | head`) end as others do, by SIGPIPE, where Rust would have
/// it go on until printing panics.
pub fn end_without_reader() -> Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register_conditional_default(signal_hook::consts::SIGPIPE, always)
        .map(drop)
        .map_err(Error::io("signal handler"))
}
