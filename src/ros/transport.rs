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

/// What a controller is to say when it starts: that the discovery range brings shared memory all the same.
pub fn warning() -> Option<&'static str> {
    let set = |name: &str| env::var(name).unwrap_or_default();
    let [range, only, middleware] =
        ["ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "RMW_IMPLEMENTATION"].map(set);
    comes_by_range(&range, &only, &middleware).then_some(
        "in the discovery range LOCALHOST messages go through Fast DDS's shared memory: whoever publishes may stand still \
         for a third of a second when others join or are killed; see docs/deployment.md, Real time",
    )
}

/// From the variables of the environment, empty where they are not set.
fn comes_by_range(range: &str, only: &str, middleware: &str) -> bool {
    let is_localhost = range.eq_ignore_ascii_case("LOCALHOST") || only == "1";
    is_localhost && (middleware.is_empty() || middleware.contains("fastrtps"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_comes_with_the_range_of_one_computer() {
        assert!(comes_by_range("LOCALHOST", "", "") && comes_by_range("", "1", "rmw_fastrtps_cpp"));
        for [range, only, middleware] in
            [["", "", ""], ["SUBNET", "0", ""], ["LOCALHOST", "", "rmw_cyclonedds_cpp"]]
        {
            assert!(!comes_by_range(range, only, middleware), "{range} {only} {middleware}");
        }
    }
}
