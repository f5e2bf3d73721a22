//! What carries the messages of a node to the others on its computer.

use std::env;

/// By which Fast DDS is told of its transports, or of a file with profiles that may name some.
const CHOICES: [&str; 3] =
    ["FASTDDS_BUILTIN_TRANSPORTS", "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"];

/// Has Fast DDS leave out shared memory, unless the environment chooses its transports. Before it uses the shared memory of
/// a process that has joined or was killed, it waits up to a third of a second for a sign of life (eProsima/Fast-DDS#6535),
/// and who publishes waits with it: `ros2 topic echo` could keep a command from a robot for so long. The messages here are
/// small, and UDP brings them as well; to containers, too, that do not share memory. In the discovery range LOCALHOST
/// rmw_fastrtps takes shared memory whatever is set here.
///
/// It is the first thing that a program does: with other threads the environment must not change.
pub fn leave_out_shared_memory() {
    if CHOICES.iter().all(|name| env::var_os(name).is_none()) {
        // SAFETY: no other thread has been started, see above.
        unsafe { env::set_var(CHOICES[0], "UDPv4") };
    }
}
