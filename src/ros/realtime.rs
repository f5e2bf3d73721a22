//! What the operating system is asked for: priority, CPUs and memory of a node's threads. What it refuses is said, and the
//! node goes on without.

use crate::control_loop::RealTimeConfig;
use crate::learner::LearnerConfig;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_setaffinity};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

const PRIORITY_ADVICE: &str = "allow it with 'rtprio 99' for the user in /etc/security/limits.conf (log in again; \
                               `ulimit -r` shows it), LimitRTPRIO=99 of a systemd unit, or CAP_SYS_NICE in a container";
const MEMORY_ADVICE: &str = "allow it with 'memlock unlimited' for the user in /etc/security/limits.conf (log in again; \
                             `ulimit -l` shows it), LimitMEMLOCK=infinity of a systemd unit, or CAP_IPC_LOCK in a container";
const CPU_ADVICE: &str =
    "name CPUs that the computer has and that its container or unit may use (`nproc`, `taskset -p $$`)";

/// Gives the calling thread, and those that it starts from now on, the priority of SCHED_FIFO that is set, and keeps the
/// process in memory if that is set. Gives what was refused, with what can be done about it.
pub fn take_priority(config: &RealTimeConfig) -> Vec<String> {
    let mut refused = Vec::new();
    if config.lock_memory
        && let Err(error) = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE)
    {
        refused.push(refusal("realtime.lock_memory", error, MEMORY_ADVICE));
    }
    if config.priority > 0
        && let Err(error) = set_fifo(config.priority)
    {
        refused.push(refusal(&format!("realtime.priority {}", config.priority), error, PRIORITY_ADVICE));
    }
    refused
}

/// Keeps the calling thread, and those that it starts from now on, on the CPUs that are set.
pub fn keep_to_cpus(parameter: &str, cpus: &[usize]) -> Vec<String> {
    if cpus.is_empty() {
        return Vec::new();
    }
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    let result = sched_setaffinity(None, &set);
    result
        .err()
        .map(|error| refusal(&format!("{parameter} {cpus:?}"), error, CPU_ADVICE))
        .into_iter()
        .collect()
}

/// Makes the calling thread, and those that it starts from now on, give way as the learner's settings say.
pub fn give_way(config: &LearnerConfig) -> Vec<String> {
    let mut refused = keep_to_cpus("cpus", &config.cpus);
    if config.niceness > 0
        && let Err(error) = setpriority_process(None, config.niceness.into())
    {
        refused.push(refusal(&format!("niceness {}", config.niceness), error, "ask for 0 to 19"));
    }
    refused
}

fn set_fifo(priority: u8) -> Result<(), String> {
    let value = ThreadPriorityValue::try_from(priority)?;
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), policy).map_err(
        |error| match error {
            thread_priority::Error::OS(code) => std::io::Error::from_raw_os_error(code).to_string(),
            other => other.to_string(),
        },
    )
}

fn refusal(what: &str, error: impl std::fmt::Display, advice: &str) -> String {
    format!("the operating system refuses {what}: {error}; going on without. {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;
    use rustix::thread::sched_getaffinity;
    use thread_priority::thread_schedule_policy;

    /// Each on a thread of its own, which ends with what was set.
    fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(work).join().unwrap()
    }

    #[test]
    fn a_thread_keeps_to_its_cpus_and_gives_way() {
        let allowed = sched_getaffinity(None).unwrap();
        let first = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).unwrap();
        on_a_thread(move || {
            let config = LearnerConfig { niceness: 7, cpus: vec![first], ..Default::default() };
            assert_eq!(give_way(&config), Vec::<String>::new());
            let now = sched_getaffinity(None).unwrap();
            assert!(now.count() == 1 && now.is_set(first));
            assert_eq!(getpriority_process(None).unwrap(), 7);
        });
        assert_eq!(getpriority_process(None).unwrap(), 0, "other threads are not concerned");
        assert_eq!(sched_getaffinity(None).unwrap().count(), allowed.count());
    }

    #[test]
    fn cpus_that_do_not_exist_are_refused_with_advice() {
        let refused = on_a_thread(|| keep_to_cpus("realtime.cpus", &[CpuSet::MAX_CPU - 1]));
        assert_eq!(refused.len(), 1);
        for part in ["realtime.cpus [1023]", "going on without", "nproc"] {
            assert!(refused[0].contains(part), "{part} is not in {}", refused[0]);
        }
    }

    #[test]
    fn a_priority_is_taken_or_refused_with_advice() {
        on_a_thread(|| {
            let refused = take_priority(&RealTimeConfig { priority: 10, ..Default::default() });
            let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
            let has_it = thread_schedule_policy().unwrap() == fifo;
            assert_ne!(has_it, !refused.is_empty());
            assert!(refused.iter().all(|text| text.contains("CAP_SYS_NICE") && text.contains("rtprio")));
        });
    }

    #[test]
    fn nothing_is_asked_for_by_default() {
        assert_eq!(take_priority(&RealTimeConfig::default()), Vec::<String>::new());
        assert_eq!(keep_to_cpus("realtime.cpus", &RealTimeConfig::default().cpus), Vec::<String>::new());
        assert_eq!(give_way(&LearnerConfig::default()), Vec::<String>::new());
        assert_eq!(getpriority_process(None).unwrap(), 0);
    }
}
