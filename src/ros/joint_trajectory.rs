//! What users of joint_trajectory_controller know: the action FollowJointTrajectory, with its words and codes, and
//! ~/controller_state. Without control_msgs in the build there is neither.

#[cfg(control_msgs)]
pub use present::JointTrajectoryInterface;

#[cfg(not(control_msgs))]
pub use absent::JointTrajectoryInterface;

#[cfg(control_msgs)]
mod present {
    use crate::command::{Command, Mode};
    use crate::control_loop::{
        AskedTolerance, ControlLoop, ControllerConfig, Fault, Progress, Tolerance, Tolerances, Verdict,
    };
    use crate::error::{Error, Result};
    use crate::reference::{Reference, SplineTrajectory};
    use crate::ros::action::{ActionServer, Ending, GoalId};
    use crate::ros::convert::{message_to_seconds, message_to_trajectory, stamp_to_time};
    use crate::ros::shell::{Aside, Every, Shell, reliable_qos};
    use crate::state::{Stamp, State};
    use r2r::Publisher;
    use r2r::control_msgs::action::FollowJointTrajectory::{self, Feedback, Goal};
    use r2r::control_msgs::msg::{JointTolerance, JointTrajectoryControllerState};
    use r2r::trajectory_msgs::msg::JointTrajectoryPoint;

    type Code = FollowJointTrajectory::Result;

    /// Feedback a second: `action_monitor_rate` of joint_trajectory_controller.
    const FEEDBACK_RATE: f64 = 20.0;

    pub struct JointTrajectoryInterface {
        server: ActionServer<FollowJointTrajectory::Action>,
        active: Option<(GoalId, Tolerances)>,
        feedback_due: Every,
        publisher: Publisher<JointTrajectoryControllerState>,
        /// Of the newest measurement.
        state: JointTrajectoryControllerState,
    }

    impl JointTrajectoryInterface {
        pub fn new(shell: &mut Shell<ControllerConfig>, joints: &[String]) -> Result<Self> {
            Ok(Self {
                server: ActionServer::new(shell, "~/follow_joint_trajectory")?,
                active: None,
                feedback_due: Every::new(FEEDBACK_RATE),
                publisher: shell.publisher("~/controller_state", reliable_qos(1))?,
                state: JointTrajectoryControllerState { joint_names: joints.to_vec(), ..Default::default() },
            })
        }

        /// Does what has been asked for, and tells what has become of it.
        pub fn serve(
            &mut self,
            now: Stamp,
            control: &mut ControlLoop,
            state: Option<&State>,
            shell: &Shell<ControllerConfig, Aside>,
        ) -> Result<()> {
            if let Some(state) = state {
                self.watch(state, control, shell)?;
            }
            for id in self.server.cancelled()? {
                if self.active.take_if(|(active, _)| *active == id).is_some() {
                    control.hold();
                    shell.info("holds here, because the goal of FollowJointTrajectory was cancelled");
                }
                self.server.end(&id, Ending::Canceled, Code::default())?;
            }
            while let Some(request) = self.server.next_goal() {
                let begun = read(&request.goal, control).and_then(|(trajectory, tolerances)| {
                    let duration = trajectory.duration();
                    control.follow(trajectory).map(|()| (duration, tolerances))
                });
                match begun {
                    Ok((duration, tolerances)) => {
                        self.give_up("a newer goal came")?;
                        self.active = Some((request.id.clone(), tolerances));
                        self.server.accept(request, now)?;
                        shell.info(&format!(
                            "follows a trajectory of {duration:.3} s, a goal of FollowJointTrajectory"
                        ));
                    }
                    Err(error) => {
                        shell.warn(&format!("goal of FollowJointTrajectory refused: {error}"));
                        self.server.reject(request);
                    }
                }
            }
            self.server.serve()
        }

        /// Ends the active goal, because something else is to be done.
        pub fn give_up(&mut self, why: &str) -> Result<()> {
            self.abort(Code::INVALID_GOAL as i32, why)
        }

        /// Ends the active goal, if there is one, without success.
        fn abort(&mut self, code: i32, why: &str) -> Result<()> {
            let Some((id, _)) = self.active.take() else { return Ok(()) };
            self.server.end(&id, Ending::Aborted, result(code, why))
        }

        /// Ends the active goal if it is reached or missed, or tells how it fares.
        fn watch(
            &mut self,
            state: &State,
            control: &mut ControlLoop,
            shell: &Shell<ControllerConfig, Aside>,
        ) -> Result<()> {
            if self.active.is_none() {
                return Ok(());
            }
            // after a fault the robot is held, and whoever sent the trajectory must decide what comes next
            let (verdict, progress) = (control.verdict(), control.progress());
            let (false, Some([time, duration])) = (matches!(verdict, Verdict::Holding(_)), progress) else {
                let code = match verdict.fault() {
                    Some(Fault::PathLost { .. }) => Code::PATH_TOLERANCE_VIOLATED as i32,
                    _ => Code::INVALID_GOAL as i32,
                };
                return self.abort(code, &verdict.describe(&control.robot().joints));
            };
            // the reference is still that of what was done before
            if !control.has_begun() {
                return Ok(());
            }
            self.measure(state, control);
            let Some((id, tolerances)) = &self.active else { return Ok(()) };
            let error = &self.state.error;
            let progress = tolerances.judge(time, duration, &error.positions, &error.velocities);
            let (code, violation) = match progress {
                Progress::Underway => {
                    if self.feedback_due.is_due() {
                        self.server.publish_feedback(id, self.feedback())?;
                    }
                    return Ok(());
                }
                Progress::Reached => {
                    shell.info("the goal of FollowJointTrajectory is reached");
                    let (id, reached) = (id.clone(), result(Code::SUCCESSFUL as i32, ""));
                    self.active = None;
                    return self.server.end(&id, Ending::Succeeded, reached);
                }
                Progress::PathViolated(violation) => (Code::PATH_TOLERANCE_VIOLATED as i32, violation),
                Progress::GoalMissed(violation) => (Code::GOAL_TOLERANCE_VIOLATED as i32, violation),
            };
            let why = violation.describe(&control.robot().joints);
            control.hold();
            shell.warn(&format!("holds here: {why}, and the goal of FollowJointTrajectory is given up"));
            self.abort(code, &why)
        }

        /// Fills what is known of the newest measurement.
        fn measure(&mut self, state: &State, control: &ControlLoop) {
            let JointTrajectoryControllerState { header, reference, feedback, error, .. } = &mut self.state;
            let wanted = control.reference();
            header.stamp = stamp_to_time(state.stamp);
            reference.positions.clone_from(&wanted.position);
            reference.velocities.clone_from(&wanted.velocity);
            reference.accelerations.clone_from(&wanted.acceleration);
            feedback.positions.clone_from(&state.position);
            feedback.velocities.clone_from(&state.velocity);
            error.positions.resize(state.position.len(), 0.0);
            control.robot().difference(&state.position, &wanted.position, &mut error.positions);
            error.velocities.clear();
            let velocities = wanted.velocity.iter().zip(&state.velocity);
            error.velocities.extend(velocities.map(|(wanted, measured)| wanted - measured));
        }

        fn feedback(&self) -> Feedback {
            Feedback {
                header: self.state.header.clone(),
                joint_names: self.state.joint_names.clone(),
                desired: self.state.reference.clone(),
                actual: self.state.feedback.clone(),
                error: self.state.error.clone(),
                ..Default::default()
            }
        }

        /// Publishes ~/controller_state, with the `command` of the last tick.
        pub fn publish_state(
            &mut self,
            control: &ControlLoop,
            state: Option<&State>,
            command: &Command,
        ) -> Result<()> {
            let Some(state) = state else { return Ok(()) };
            self.measure(state, control);
            let values = command.values.clone();
            self.state.output = match command.mode {
                Mode::Effort => JointTrajectoryPoint { effort: values, ..Default::default() },
                Mode::Velocity => JointTrajectoryPoint { velocities: values, ..Default::default() },
                Mode::Position => JointTrajectoryPoint { positions: values, ..Default::default() },
            };
            self.state.speed_scaling_factor = control.speed_scaling();
            Ok(self.publisher.publish(&self.state)?)
        }
    }

    fn result(code: i32, why: &str) -> FollowJointTrajectory::Result {
        FollowJointTrajectory::Result { error_code: code, error_string: why.into() }
    }

    /// What a goal asks for, from the present reference on.
    fn read(goal: &Goal, control: &ControlLoop) -> Result<(SplineTrajectory, Tolerances)> {
        let multi_dof = &goal.multi_dof_trajectory.joint_names;
        if !multi_dof.is_empty() {
            return Err(Error::mismatch("multi_dof_trajectory", format!("{multi_dof:?}"), "nothing"));
        }
        let robot = control.robot();
        let trajectory = message_to_trajectory(&goal.trajectory, robot, &control.start_of_trajectory())?;
        let [path, end] = [&goal.path_tolerance, &goal.goal_tolerance].map(|list| asked(list));
        let goal_time = message_to_seconds(&goal.goal_time_tolerance);
        let constraints = &control.config().constraints;
        Ok((trajectory, Tolerances::new(constraints, robot, &path, &end, goal_time)?))
    }

    fn asked(list: &[JointTolerance]) -> Vec<AskedTolerance> {
        let of = |asked: &JointTolerance| AskedTolerance {
            joint: asked.name.clone(),
            tolerance: Tolerance { position: asked.position, velocity: asked.velocity },
        };
        list.iter().map(of).collect()
    }
}

#[cfg(not(control_msgs))]
mod absent {
    use crate::command::Command;
    use crate::control_loop::{ControlLoop, ControllerConfig};
    use crate::error::Result;
    use crate::ros::shell::{Aside, Shell};
    use crate::state::{Stamp, State};

    pub struct JointTrajectoryInterface;

    impl JointTrajectoryInterface {
        pub fn new(_: &mut Shell<ControllerConfig>, _: &[String]) -> Result<Self> {
            Ok(Self)
        }

        pub fn serve(
            &mut self,
            _: Stamp,
            _: &mut ControlLoop,
            _: Option<&State>,
            _: &Shell<ControllerConfig, Aside>,
        ) -> Result<()> {
            Ok(())
        }

        pub fn publish_state(&mut self, _: &ControlLoop, _: Option<&State>, _: &Command) -> Result<()> {
            Ok(())
        }

        pub fn give_up(&mut self, _: &str) -> Result<()> {
            Ok(())
        }
    }
}
