//! The predictor node: joint states in, the motion of the next half second out, with its spread and, as time goes on,
//! how right it was.

use crate::error::Result;
use crate::measurement::{JointStateReader, Rejection};
use crate::nn::checkpoint::Card;
use crate::predictor::{LstmPredictor, Observation, Predictor, PredictorParameters, RealisedError};
use crate::robot::Robot;
use crate::ros::commands::CommandInput;
use crate::ros::convert::{fill_prediction, fill_table, time_to_stamp};
use crate::ros::direct::{DirectSubscription, Waiting};
use crate::ros::parameters::Validate;
use crate::ros::predicting::Predicting;
use crate::ros::shell::{Aside, Every, Shell, reliable_qos, sensor_qos};
use crate::state::Stamp;
use crate::trajectory::{Horizon, Trajectory};
use r2r::Publisher;
use r2r::sensor_msgs::msg::JointState;
use r2r::std_msgs::msg::Float64MultiArray;
use r2r::trajectory_msgs::msg::JointTrajectory;
use std::collections::BTreeSet;
use std::time::Duration;

/// Time between looks at the joint states, as a share of that between predictions, and at most [s].
const PAUSE: f64 = 0.2;
const LONGEST_PAUSE: f64 = 0.004;
/// Joint states that may come meanwhile: those of 20 kHz.
const BACKLOG: usize = 100;

impl Validate for PredictorParameters {
    const LIVE: &'static [&'static str] = &[];

    fn validate(&self) -> Result<()> {
        PredictorParameters::validate(self)
    }
}

/// Runs the node until SIGINT or SIGTERM.
pub fn run() -> Result<()> {
    let mut shell = Shell::<PredictorParameters>::new("predictor")?;
    let parameters = shell.config();
    let robot = if parameters.joints.is_empty() {
        let Some(description) = shell.robot_description()? else { return Ok(()) };
        Robot::from_urdf(&description)?
    } else {
        Robot::of_joints(&parameters.joints)
    };
    let (predictor, card) = parameters.load(&robot)?;
    if let Some(warning) = card.as_ref().and_then(|card| card.other_description(&robot)) {
        shell.warn(&warning);
    }
    let origin = match (parameters.model_file.as_str(), parameters.adapt) {
        ("", true) => "constant velocity and what it learns on the way, for want of a model_file".to_owned(),
        ("", false) => "constant velocity, for want of a model_file".to_owned(),
        (file, true) => format!("the model of {file}, which adapts"),
        (file, false) => format!("the model of {file}"),
    };
    let Horizon { steps, dt } = predictor.horizon();
    shell.info(&format!("predicts {:?} {steps} x {:.3} s ahead by {origin}", robot.joints, dt.as_secs_f64()));
    PredictorNode::new(shell, &robot, predictor, card)?.run()
}

struct PredictorNode {
    shell: Shell<PredictorParameters, Aside>,
    reader: JointStateReader,
    predictor: LstmPredictor,
    prediction: Trajectory,
    realised: RealisedError,
    joint_states: DirectSubscription<JointState>,
    /// Between looks at the joint states. Whoever waits for them to control the robot so has the computer to itself when
    /// they arrive. None where they have no stamps, and the time of arrival counts.
    pause: Option<Duration>,
    /// Of what the robot is told; none without a topic.
    commands: Option<CommandInput>,
    trajectory: Publisher<JointTrajectory>,
    trajectory_message: JointTrajectory,
    stddev: Publisher<Float64MultiArray>,
    realised_error: Publisher<Float64MultiArray>,
    /// Whether there has been a prediction, and whether the last is not yet published.
    predicting: Predicting,
    is_new: bool,
    /// Of the model, if it is of a file.
    card: Option<Card>,
    /// Joints that were or moved as they never did in training, since the last report.
    outside: BTreeSet<usize>,
    said_foreign: bool,
    rejected: u64,
    restarts: u64,
    slow_topics_due: Every,
    publish_due: Every,
}

impl PredictorNode {
    fn new(
        mut shell: Shell<PredictorParameters>,
        robot: &Robot,
        predictor: LstmPredictor,
        card: Option<Card>,
    ) -> Result<Self> {
        let (horizon, joints) = (predictor.horizon(), robot.degrees_of_freedom());
        let parameters = shell.config();
        let commands = CommandInput::new(&mut shell, &parameters, robot, predictor.commands())?;
        Ok(Self {
            commands,
            reader: JointStateReader::new(robot),
            predictor,
            prediction: Trajectory::new(horizon, joints),
            realised: RealisedError::new(horizon, joints),
            joint_states: shell.subscribe_direct(
                "joint_states",
                sensor_qos().keep_last(BACKLOG),
                Waiting::Asleep,
            )?,
            pause: Some(Duration::from_secs_f64((PAUSE / shell.config().publish_rate).min(LONGEST_PAUSE))),
            trajectory: shell.publisher("~/predicted_trajectory", reliable_qos(1))?,
            trajectory_message: JointTrajectory { joint_names: robot.joints.clone(), ..Default::default() },
            stddev: shell.publisher("~/prediction_stddev", reliable_qos(1))?,
            realised_error: shell.publisher("~/realised_error", reliable_qos(1))?,
            predicting: Predicting::default(),
            is_new: false,
            card,
            outside: BTreeSet::new(),
            said_foreign: false,
            rejected: 0,
            restarts: 0,
            slow_topics_due: Every::new(1.0),
            publish_due: Every::new(shell.config().publish_rate),
            shell: shell.spin_aside()?,
        })
    }

    fn run(mut self) -> Result<()> {
        while !self.shell.stopped() {
            match self.pause {
                Some(pause) => std::thread::sleep(pause),
                None => self.joint_states.wait(Duration::from_millis(10))?,
            }
            self.shell.node.check()?;
            self.observe();
            self.publish()?;
            self.predictor.prepare();
            if self.slow_topics_due.is_due() {
                self.report()?;
            }
        }
        self.shell.info("stopped");
        Ok(())
    }

    fn observe(&mut self) {
        for _ in 0..BACKLOG {
            let Some(message) = self.joint_states.take() else { break };
            let mut stamp = time_to_stamp(&message.header.stamp);
            if stamp == Stamp::default() {
                stamp = self.shell.now();
                self.pause = None;
            }
            match self.reader.read(stamp, &message.name, &message.position, &message.velocity) {
                Ok(state) => {
                    let observation = self.predictor.observe(state);
                    self.commands
                        .iter_mut()
                        .for_each(|commands| commands.watch(&self.shell, &self.predictor, state.stamp));
                    self.realised.observe(state);
                    if observation.is_sample() && self.predictor.predict(&mut self.prediction) {
                        self.realised.remember(state, &self.prediction);
                        self.predicting.predicted();
                        self.is_new = true;
                    }
                    self.predicting.observe(&observation);
                    self.outside.extend(self.card.as_ref().and_then(|card| card.first_outside(state)));
                    use Observation::{RestartedAfterGap, RestartedBackInTime};
                    self.restarts +=
                        u64::from(matches!(observation, RestartedAfterGap | RestartedBackInTime));
                }
                Err(rejection) => self.reject(&rejection, &message.name),
            }
        }
        // it counts from the next measurement on: those above may have been there before it
        if let Some(commands) = &mut self.commands {
            commands.hear(&self.shell, self.reader.state(), &mut self.predictor);
        }
    }

    /// Counts a message that could not be used, and says why for the first one.
    fn reject(&mut self, rejection: &Rejection, names: &[String]) {
        let is_foreign = *rejection == Rejection::OtherDevice && self.reader.state().is_none();
        if is_foreign && !self.said_foreign {
            let joints = &self.trajectory_message.joint_names;
            self.shell.warn(&format!("joint states not used: they name {names:?}, none of {joints:?}"));
            self.said_foreign = true;
        }
        if rejection.is_harmless() {
            return;
        }
        self.rejected += 1;
        if self.rejected == 1 {
            self.shell.warn(&format!("joint states not used: {rejection}"));
        }
    }

    /// Publishes the newest prediction at the configured rate.
    fn publish(&mut self) -> Result<()> {
        if self.is_new && self.publish_due.is_due() {
            self.is_new = false;
            fill_prediction(&self.prediction, &mut self.trajectory_message);
            self.trajectory.publish(&self.trajectory_message)?;
            let rows = self.prediction.stddev.iter().map(Vec::as_slice);
            self.stddev.publish(&fill_table(["step", "joint"], rows))?;
        }
        Ok(())
    }

    /// Errors by horizon on ~/realised_error, and a summary on /diagnostics.
    fn report(&mut self) -> Result<()> {
        let errors = (1..=self.prediction.horizon.steps).map_while(|k| self.realised.errors(k));
        let rows: Vec<[f64; 3]> = errors.map(|e| [e.prediction, e.constant_velocity, e.hold]).collect();
        let labels = ["step", "prediction, constant velocity, hold"];
        self.realised_error.publish(&fill_table(labels, rows.iter().map(<[f64; 3]>::as_slice)))?;
        let mut values = vec![
            ("rejected_joint_states", self.rejected.to_string()),
            ("restarts", self.restarts.to_string()),
        ];
        let joints = &self.trajectory_message.joint_names;
        let outside: Vec<&str> = self.outside.iter().map(|joint| joints[*joint].as_str()).collect();
        if let Some(commands) = &self.commands {
            values.extend(commands.diagnostics(&self.predictor));
        }
        values.push(("outside_training", outside.join(" ")));
        self.outside.clear();
        if let Some([prediction, constant_velocity, _]) = rows.last() {
            values.push(("rmse_at_horizon", format!("{prediction:.6}")));
            values.push(("rmse_of_constant_velocity", format!("{constant_velocity:.6}")));
        }
        let (level, message) = self.predicting.report("joint_states", self.prediction.horizon.dt);
        self.shell.diagnose("prediction", level, &message, &values);
        Ok(())
    }
}
