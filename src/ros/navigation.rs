//! What Nav2 says to a controller: its action FollowPath and its topic speed_limit. Without nav2_msgs in the build there is
//! neither.

#[cfg(nav2_msgs)]
pub use present::Navigation;

#[cfg(not(nav2_msgs))]
pub use absent::Navigation;

#[cfg(nav2_msgs)]
mod present {
    use crate::base::{BaseControllerConfig, BaseFault, BaseLoop, PathEnd, ProgressChecker, pose_of};
    use crate::error::Result;
    use crate::ros::action::{ActionServer, Ending, GoalId};
    use crate::ros::localization::{Localization, Refusal};
    use crate::ros::shell::{Every, Shell, Subscription, reliable_qos};
    use crate::state::{Stamp, State};
    use r2r::nav2_msgs::action::FollowPath;
    use r2r::nav2_msgs::msg::SpeedLimit;
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    type ControllerShell = Shell<BaseControllerConfig>;
    type Code = FollowPath::Result;

    /// Feedback a second.
    const FEEDBACK_RATE: f64 = 10.0;
    /// A base that has no more of its path before it than this [m] only turns.
    const ARRIVED: f64 = 0.05;

    pub struct Navigation {
        limits: Subscription<SpeedLimit>,
        server: Option<ActionServer<FollowPath::Action>>,
        /// The goal that is pursued: the newest.
        active: Option<GoalId>,
        progress: ProgressChecker,
        feedback_due: Every,
    }

    impl Navigation {
        pub fn new(shell: &mut ControllerShell) -> Result<Self> {
            let name = shell.config().follow_path_action;
            let server = (!name.is_empty()).then(|| ActionServer::new(shell, &name)).transpose()?;
            Ok(Self {
                limits: shell.subscribe("speed_limit", reliable_qos(10))?,
                server,
                active: None,
                progress: ProgressChecker::new(shell.config().progress_checker),
                feedback_due: Every::new(FEEDBACK_RATE),
            })
        }

        /// Does what has been asked for, and tells what has become of it, with the base at `state`.
        pub fn serve(
            &mut self,
            now: Stamp,
            state: Option<&State>,
            control: &mut BaseLoop,
            localization: &mut Localization,
            shell: &ControllerShell,
        ) -> Result<()> {
            if let Some(limit) = self.limits.newest() {
                limit_speed(&limit, control, shell);
            }
            let Some(server) = &mut self.server else { return Ok(()) };
            let path_end = control.take_path_end();
            conclude(server, &mut self.active, path_end, control, shell)?;
            let pose = state.and_then(pose_of);
            let progress = &mut self.progress;
            if let Some(id) = self.active.take_if(|_| pose.is_some_and(|pose| progress.is_stuck(now, &pose)))
            {
                let (distance, heading) = control.way_left();
                stop(control);
                if is_near(distance, heading, control) {
                    shell.info("stops, near enough to the goal of FollowPath");
                    server.end(&id, Ending::Succeeded, Code::default())?;
                } else {
                    let why = "the base got nowhere for longer than progress_checker allows";
                    shell.warn(&format!("stops: {why}, and the goal of FollowPath is given up"));
                    let failure = result(Code::FAILED_TO_MAKE_PROGRESS as u16, why);
                    server.end(&id, Ending::Aborted, failure)?;
                }
            }
            for id in server.cancelled()? {
                if self.active.as_ref() == Some(&id) {
                    self.active = None;
                    stop(control);
                    shell.info("stops, because the goal of FollowPath was cancelled");
                }
                server.end(&id, Ending::Canceled, Code::default())?;
            }
            while let Some(request) = server.next_goal() {
                let (id, path) = (request.id.clone(), request.goal.path.clone());
                server.accept(request, now)?;
                // Nav2 plans on while the base turns at its goal
                let has_arrived = self.active.is_some()
                    && control.path().is_some_and(|(path, time)| path.length_after(time) < ARRIVED);
                match localization.follow(&path, true, has_arrived, control) {
                    Ok(description) => {
                        let path_end = control.take_path_end();
                        // a new plan on the way to the same place does not bring the base on
                        if self.active.is_none() {
                            self.progress.reset();
                        }
                        conclude(server, &mut self.active, path_end, control, shell)?;
                        let (distance, heading) = control.way_left();
                        if has_arrived && is_near(distance, heading, control) {
                            stop(control);
                            shell.info("the goal of FollowPath is reached");
                            server.end(&id, Ending::Succeeded, Code::default())?;
                            continue;
                        }
                        self.active = Some(id);
                        shell.info(&format!("follows a {description}, a goal of FollowPath"));
                    }
                    Err(refusal) => {
                        let (code, error) = match refusal {
                            Refusal::Frame(error) => (Code::TF_ERROR as u16, error),
                            Refusal::Path(error) => (Code::INVALID_PATH as u16, error),
                        };
                        let why = format!("path refused: {error}");
                        shell.warn(&why);
                        server.end(&id, Ending::Aborted, result(code, &why))?;
                        // who sent it has given up the goal before, and may drive by himself now
                        if let Some(before) = self.active.take() {
                            let why = format!("a newer goal was refused: {error}");
                            server.end(&before, Ending::Aborted, result(Code::UNKNOWN as u16, &why))?;
                        }
                        stop(control);
                    }
                }
            }
            if let (Some(id), Some((path, time)), true) =
                (&self.active, control.path(), self.feedback_due.is_due())
            {
                let [x, y, _] = control.sent();
                let distance = path.length_after(time);
                let feedback = filled([("distance_to_goal", json!(distance)), ("speed", json!(x.hypot(*y)))]);
                server.publish_feedback(id, feedback)?;
            }
            server.serve()
        }

        /// Ends the active goal, because the node ends.
        pub fn close(&mut self) -> Result<()> {
            let (Some(server), Some(id)) = (&mut self.server, self.active.take()) else { return Ok(()) };
            server.end(&id, Ending::Aborted, result(Code::UNKNOWN as u16, "the controller was ended"))
        }
    }

    /// Tells how the active goal ended, if its path has.
    fn conclude(
        server: &mut ActionServer<FollowPath::Action>,
        active: &mut Option<GoalId>,
        end: Option<PathEnd>,
        control: &BaseLoop,
        shell: &ControllerShell,
    ) -> Result<()> {
        let Some(end) = end else { return Ok(()) };
        let Some(id) = active.take() else { return Ok(()) };
        let (code, why) = match end {
            PathEnd::Over { distance, heading } if is_near(distance, heading, control) => {
                shell.info("the goal of FollowPath is reached");
                return server.end(&id, Ending::Succeeded, Code::default());
            }
            PathEnd::Over { distance, heading } => {
                let constraints = &control.config().constraints;
                let (xy, yaw) = (constraints.xy_goal_tolerance, constraints.yaw_goal_tolerance);
                let why = format!(
                    "the path's time is over, and the base is {distance:.3} m (xy_goal_tolerance {xy:.3} m) and {heading:.3} rad (yaw_goal_tolerance {yaw:.3} rad) from its end"
                );
                (Code::FAILED_TO_MAKE_PROGRESS as u16, why)
            }
            PathEnd::Fault(fault @ BaseFault::TransformStale { .. }) => {
                (Code::TF_ERROR as u16, fault.to_string())
            }
            PathEnd::Fault(fault) => (Code::NO_VALID_CONTROL as u16, fault.to_string()),
            PathEnd::Replaced => (
                Code::UNKNOWN as u16,
                "something else is to be done now: a newer goal, a path or a twist that came".into(),
            ),
            PathEnd::Stopped => (Code::UNKNOWN as u16, "stopped, as asked".into()),
        };
        shell.info(&format!("the goal of FollowPath is given up: {why}"));
        server.end(&id, Ending::Aborted, result(code, &why))
    }

    /// Brings the base to rest. How its path ended is known.
    fn stop(control: &mut BaseLoop) {
        control.stop();
        control.take_path_end();
    }

    /// Whether so far from the end of a path, m and rad, is there.
    fn is_near(distance: f64, heading: f64, control: &BaseLoop) -> bool {
        let constraints = &control.config().constraints;
        distance <= constraints.xy_goal_tolerance && heading <= constraints.yaw_goal_tolerance
    }

    fn result(code: u16, why: &str) -> FollowPath::Result {
        filled([("error_code", json!(code)), ("error_msg", json!(why))])
    }

    /// A message with these fields as far as it has them: they differ from release to release of Nav2.
    fn filled<M: Serialize + DeserializeOwned + Default, const N: usize>(fields: [(&str, Value); N]) -> M {
        let mut message = serde_json::to_value(M::default()).unwrap_or_default();
        for (name, value) in fields {
            if let Some(field) = message.get_mut(name) {
                *field = value;
            }
        }
        serde_json::from_value(message).unwrap_or_default()
    }

    /// 0 is no limit, as in Nav2; a percentage is that of the speed at which paths are driven.
    fn limit_speed(message: &SpeedLimit, control: &mut BaseLoop, shell: &ControllerShell) {
        let SpeedLimit { percentage, speed_limit, .. } = message;
        if !(speed_limit.is_finite() && *speed_limit >= 0.0) {
            return shell.warn(&format!("speed limit refused: {speed_limit}, expected 0 (none) or above"));
        }
        let usual = control.config().path.speed;
        let speed = match (*speed_limit, percentage) {
            (0.0, _) => f64::INFINITY,
            (share, true) => usual * share / 100.0,
            (speed, false) => speed,
        };
        control.limit_speed(speed);
        shell.info(&match speed {
            f64::INFINITY => "speed is not limited any more".into(),
            speed => format!("speed is limited to {speed:.3} m/s"),
        });
    }
}

#[cfg(not(nav2_msgs))]
mod absent {
    use crate::base::{BaseControllerConfig, BaseLoop};
    use crate::error::Result;
    use crate::ros::localization::Localization;
    use crate::ros::shell::Shell;
    use crate::state::{Stamp, State};

    pub struct Navigation;

    impl Navigation {
        pub fn new(_: &mut Shell<BaseControllerConfig>) -> Result<Self> {
            Ok(Self)
        }

        pub fn close(&mut self) -> Result<()> {
            Ok(())
        }

        pub fn serve(
            &mut self,
            _: Stamp,
            _: Option<&State>,
            _: &mut BaseLoop,
            _: &mut Localization,
            _: &Shell<BaseControllerConfig>,
        ) -> Result<()> {
            Ok(())
        }
    }
}
