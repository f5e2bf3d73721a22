//! An action server made of what an action is on the wire: three services and two topics below `<name>/_action`
//! (design.ros2.org/articles/actions.html). r2r's own keeps ended goals, reports cancelled ones as being cancelled, makes
//! spinning return at once when a goal has expired, and answers requests for goals that it does not know from memory that
//! is freed.

use crate::error::Result;
use crate::ros::convert::stamp_to_time;
use crate::ros::parameters::Validate;
use crate::ros::shell::{Answers, Shell, Subscription, latched_qos, reliable_qos};
use crate::state::Stamp;
use r2r::action_msgs::msg::{GoalInfo, GoalStatus, GoalStatusArray};
use r2r::action_msgs::srv::CancelGoal;
use r2r::builtin_interfaces::msg::Time;
use r2r::unique_identifier_msgs::msg::UUID;
use r2r::{Publisher, ServiceRequest, WrappedActionTypeSupport, WrappedServiceTypeSupport};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};

/// How long the result of an ended goal is kept for those who ask, as in Jazzy.
const RESULT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a client calls a goal: 16 bytes, a UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoalId(Vec<u8>);

/// How a goal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Succeeded,
    Aborted,
    Canceled,
}

/// An action server; what it is asked is taken like messages.
pub struct ActionServer<T: WrappedActionTypeSupport> {
    goals: Subscription<ServiceRequest<T::SendGoal>>,
    cancels: Subscription<ServiceRequest<CancelGoal::Service>>,
    results: Subscription<ServiceRequest<T::GetResult>>,
    feedback: Publisher<T::FeedbackMessage>,
    status: Publisher<GoalStatusArray>,
    answers: Answers,
    table: GoalTable<T::Result, ServiceRequest<T::GetResult>>,
}

/// A goal that a client asks for: to be accepted or rejected.
pub struct GoalRequest<T: WrappedActionTypeSupport> {
    pub id: GoalId,
    pub goal: T::Goal,
    request: ServiceRequest<T::SendGoal>,
}

impl<T> ActionServer<T>
where
    T: WrappedActionTypeSupport + 'static,
    <T::SendGoal as WrappedServiceTypeSupport>::Response: Send,
    <T::GetResult as WrappedServiceTypeSupport>::Response: Send,
{
    /// For the action `name`, which may begin with `~`.
    pub fn new<C>(shell: &mut Shell<C>, name: &str) -> Result<Self>
    where
        C: Validate + Serialize + DeserializeOwned + Clone + Send + 'static,
    {
        let at = |part: &str| format!("{name}/_action/{part}");
        Ok(Self {
            goals: shell.service(&at("send_goal"))?,
            cancels: shell.service::<CancelGoal::Service>(&at("cancel_goal"))?,
            results: shell.service(&at("get_result"))?,
            feedback: shell.publisher(&at("feedback"), reliable_qos(10))?,
            status: shell.publisher(&at("status"), latched_qos())?,
            answers: shell.answers(),
            table: GoalTable::default(),
        })
    }

    /// The next goal that is asked for, if any. One by the name of another is rejected.
    pub fn next_goal(&mut self) -> Option<GoalRequest<T>> {
        while let Some(request) = self.goals.take() {
            let (id, goal) = T::destructure_goal_request_msg(request.message.clone());
            let request = GoalRequest { id: GoalId(id.uuid), goal, request };
            if self.table.find(&request.id).is_none() {
                return Some(request);
            }
            self.reject(request);
        }
        None
    }

    /// Promises to pursue it; it is executed from `now` on.
    pub fn accept(&mut self, request: GoalRequest<T>, now: Stamp) -> Result<()> {
        let stamp = stamp_to_time(now);
        self.table.goals.push(Goal {
            info: GoalInfo { goal_id: UUID { uuid: request.id.0 }, stamp: stamp.clone() },
            status: GoalStatus::STATUS_EXECUTING as i8,
            ended: None,
            waiting: Vec::new(),
        });
        self.answers.send(request.request, T::make_goal_response_msg(true, stamp));
        self.publish_status()
    }

    pub fn reject(&mut self, request: GoalRequest<T>) {
        self.answers.send(request.request, T::make_goal_response_msg(false, Time::default()));
    }

    /// Agrees to everything that is to be cancelled, and names it: [`Self::end`] is to follow.
    pub fn cancelled(&mut self) -> Result<Vec<GoalId>> {
        let mut all = Vec::new();
        while let Some(request) = self.cancels.take() {
            let response = self.table.cancel(&request.message.goal_info);
            all.extend(response.goals_canceling.iter().map(|info| GoalId(info.goal_id.uuid.clone())));
            self.answers.send(request, response);
        }
        if !all.is_empty() {
            self.publish_status()?;
        }
        Ok(all)
    }

    pub fn publish_feedback(&self, id: &GoalId, feedback: T::Feedback) -> Result<()> {
        Ok(self.feedback.publish(&T::make_feedback_msg(UUID { uuid: id.0.clone() }, feedback))?)
    }

    /// Ends a goal that was accepted; whoever waits for its result has it.
    pub fn end(&mut self, id: &GoalId, ending: Ending, result: T::Result) -> Result<()> {
        for (request, status, result) in self.table.end(id, ending, result, Instant::now()) {
            self.answers.send(request, T::make_result_response_msg(status, result));
        }
        self.publish_status()
    }

    /// Answers who asks for results, and forgets old ones.
    pub fn serve(&mut self) -> Result<()> {
        while let Some(request) = self.results.take() {
            let id = GoalId(T::destructure_result_request_msg(request.message.clone()).uuid);
            if let Some((request, status, result)) = self.table.ask(&id, request) {
                self.answers.send(request, T::make_result_response_msg(status, result));
            }
        }
        if self.table.forget(Instant::now()) {
            self.publish_status()?;
        }
        Ok(())
    }

    fn publish_status(&self) -> Result<()> {
        let of = |goal: &Goal<_, _>| GoalStatus { goal_info: goal.info.clone(), status: goal.status };
        Ok(self
            .status
            .publish(&GoalStatusArray { status_list: self.table.goals.iter().map(of).collect() })?)
    }
}

/// What became of goals with a result `R`, and who waits for it.
struct GoalTable<R, W> {
    goals: Vec<Goal<R, W>>,
}

struct Goal<R, W> {
    info: GoalInfo,
    status: i8,
    ended: Option<(Instant, R)>,
    waiting: Vec<W>,
}

impl<R, W> Default for GoalTable<R, W> {
    fn default() -> Self {
        Self { goals: Vec::new() }
    }
}

impl<R: Default + Clone, W> GoalTable<R, W> {
    fn find(&mut self, id: &GoalId) -> Option<&mut Goal<R, W>> {
        self.goals.iter_mut().find(|goal| goal.info.goal_id.uuid == id.0)
    }

    /// What a request to cancel `asked` does: a goal by its id, those accepted until a stamp, both, or with neither all.
    fn cancel(&mut self, asked: &GoalInfo) -> CancelGoal::Response {
        let has_id = asked.goal_id.uuid.iter().any(|byte| *byte != 0);
        let nanoseconds = |time: &Time| (time.sec, time.nanosec);
        let has_stamp = nanoseconds(&asked.stamp) != (0, 0);
        let is_meant = |goal: &Goal<R, W>| {
            (has_id && goal.info.goal_id.uuid == asked.goal_id.uuid)
                || (has_stamp && nanoseconds(&goal.info.stamp) <= nanoseconds(&asked.stamp))
                || (!has_id && !has_stamp)
        };
        let mut response = CancelGoal::Response::default();
        let (mut is_known, mut is_over) = (false, false);
        for goal in self.goals.iter_mut().filter(|goal| is_meant(goal)) {
            is_known = true;
            if goal.ended.is_some() {
                is_over = true;
            } else if goal.status == GoalStatus::STATUS_EXECUTING as i8 {
                goal.status = GoalStatus::STATUS_CANCELING as i8;
                response.goals_canceling.push(goal.info.clone());
            }
        }
        type Code = CancelGoal::Response;
        response.return_code = match () {
            () if !response.goals_canceling.is_empty() => Code::ERROR_NONE as i8,
            () if has_id && !is_known => Code::ERROR_UNKNOWN_GOAL_ID as i8,
            () if has_id && is_over => Code::ERROR_GOAL_TERMINATED as i8,
            () => Code::ERROR_NONE as i8,
        };
        response
    }

    /// Gives those who waited for a goal with what they are told.
    fn end(&mut self, id: &GoalId, ending: Ending, result: R, now: Instant) -> Vec<(W, i8, R)> {
        let Some(goal) = self.find(id) else {
            return Vec::new();
        };
        goal.status = match ending {
            Ending::Succeeded => GoalStatus::STATUS_SUCCEEDED as i8,
            Ending::Aborted => GoalStatus::STATUS_ABORTED as i8,
            Ending::Canceled => GoalStatus::STATUS_CANCELED as i8,
        };
        goal.ended = Some((now, result.clone()));
        goal.waiting.drain(..).map(|request| (request, goal.status, result.clone())).collect()
    }

    /// What someone who asks for a result is told now, if anything.
    fn ask(&mut self, id: &GoalId, request: W) -> Option<(W, i8, R)> {
        match self.find(id) {
            None => Some((request, GoalStatus::STATUS_UNKNOWN as i8, R::default())),
            Some(Goal { ended: Some((_, result)), status, .. }) => Some((request, *status, result.clone())),
            Some(goal) => {
                goal.waiting.push(request);
                None
            }
        }
    }

    /// Forgets goals that ended long ago; says whether there were any.
    fn forget(&mut self, now: Instant) -> bool {
        let before = self.goals.len();
        let is_old = |ended: &(Instant, R)| now.duration_since(ended.0) > RESULT_TIMEOUT;
        self.goals.retain(|goal| !goal.ended.as_ref().is_some_and(is_old));
        self.goals.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> GoalId {
        GoalId(vec![byte; 16])
    }

    fn info(byte: u8, sec: i32) -> GoalInfo {
        GoalInfo { goal_id: UUID { uuid: vec![byte; 16] }, stamp: Time { sec, nanosec: 0 } }
    }

    /// Goals 1, 2, … accepted after so many seconds.
    fn table(count: u8) -> GoalTable<&'static str, u32> {
        let goal = |byte| Goal {
            info: info(byte, byte.into()),
            status: GoalStatus::STATUS_EXECUTING as i8,
            ended: None,
            waiting: Vec::new(),
        };
        GoalTable { goals: (1..=count).map(goal).collect() }
    }

    /// The goals that a request cancels, and its return code.
    fn cancelled(table: &mut GoalTable<&'static str, u32>, asked: GoalInfo) -> (Vec<u8>, i8) {
        let response = table.cancel(&asked);
        let ids = response.goals_canceling.iter().map(|info| info.goal_id.uuid[0]).collect();
        (ids, response.return_code)
    }

    #[test]
    fn a_result_is_told_to_all_who_ask_before_and_after() {
        let mut table = table(2);
        assert_eq!(table.ask(&id(1), 7), None);
        assert_eq!(table.ask(&id(1), 8), None);
        assert_eq!(table.ask(&id(9), 9), Some((9, GoalStatus::STATUS_UNKNOWN as i8, "")));
        let succeeded = GoalStatus::STATUS_SUCCEEDED as i8;
        let now = Instant::now();
        let told = table.end(&id(1), Ending::Succeeded, "there", now);
        assert_eq!(told, [(7, succeeded, "there"), (8, succeeded, "there")]);
        assert_eq!(table.ask(&id(1), 10), Some((10, succeeded, "there")));
        assert!(!table.forget(now + RESULT_TIMEOUT));
        assert!(table.forget(now + RESULT_TIMEOUT + Duration::from_millis(1)));
        assert_eq!(table.ask(&id(1), 11), Some((11, GoalStatus::STATUS_UNKNOWN as i8, "")));
        assert_eq!(table.goals.len(), 1, "the one that goes on");
    }

    #[test]
    fn goals_are_cancelled_by_their_id_or_their_time() {
        assert_eq!(cancelled(&mut table(3), info(2, 0)), (vec![2], 0));
        assert_eq!(cancelled(&mut table(3), info(0, 2)), (vec![1, 2], 0));
        assert_eq!(cancelled(&mut table(4), info(3, 1)), (vec![1, 3], 0));
        assert_eq!(cancelled(&mut table(3), info(0, 0)), (vec![1, 2, 3], 0));
        let mut table = table(3);
        assert_eq!(cancelled(&mut table, info(9, 0)), (vec![], 2), "unknown");
        table.end(&id(1), Ending::Aborted, "", Instant::now());
        assert_eq!(cancelled(&mut table, info(1, 0)), (vec![], 3), "over");
        assert_eq!(cancelled(&mut table, info(0, 0)), (vec![2, 3], 0));
        let ended = table.end(&id(2), Ending::Canceled, "", Instant::now());
        assert_eq!((ended.len(), table.goals[1].status), (0, GoalStatus::STATUS_CANCELED as i8));
    }
}
