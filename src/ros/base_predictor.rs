//! The predictor node of a mobile base: odometry in, where the base will be out, as a path with stamps.

use crate::base::{OdometryReader, base_robot};
use crate::error::{Error, Result};
use crate::predictor::{BasePredictorParameters, LstmPredictor, Predictor};
use crate::ros::commands::CommandInput;
use crate::ros::convert::{fill_table, stamp_to_time};
use crate::ros::parameters::Validate;
use crate::ros::planar::{pose_to_message, read_odometry};
use crate::ros::predicting::Predicting;
use crate::ros::shell::{Every, Shell, Subscription, reliable_qos, sensor_qos};
use crate::trajectory::{Horizon, Trajectory};
use r2r::Publisher;
use r2r::nav_msgs::msg::{Odometry, Path};
use r2r::std_msgs::msg::Float64MultiArray;
use std::time::Duration;

impl Validate for BasePredictorParameters {
    const LIVE: &'static [&'static str] = &[];

    fn validate(&self) -> Result<()> {
        self.parameters().validate()
    }
}

/// Runs the node until SIGINT or SIGTERM.
pub fn run() -> Result<()> {
    let shell = Shell::<BasePredictorParameters>::new("base_predictor")?;
    let (predictor, _) = shell.config().parameters().load(&base_robot())?;
    BasePredictorNode::new(shell, predictor)?.run()
}

struct BasePredictorNode {
    shell: Shell<BasePredictorParameters>,
    reader: OdometryReader,
    predictor: LstmPredictor,
    prediction: Trajectory,
    odometry: Subscription<Odometry>,
    /// Of what the base is told; none without a topic.
    commands: Option<CommandInput>,
    path: Publisher<Path>,
    message: Path,
    stddev: Publisher<Float64MultiArray>,
    /// Whether there has been a prediction, and whether the last is not yet published.
    predicting: Predicting,
    is_new: bool,
    rejected: u64,
    publish_due: Every,
    diagnostics_due: Every,
}

impl BasePredictorNode {
    fn new(mut shell: Shell<BasePredictorParameters>, predictor: LstmPredictor) -> Result<Self> {
        let horizon @ Horizon { steps, dt } = predictor.horizon();
        shell.info(&format!("predicts a base {steps} x {:.3} s ahead", dt.as_secs_f64()));
        let config = shell.config();
        let commands = CommandInput::of_base(
            &mut shell,
            &config.command_topic,
            config.command_stamped,
            predictor.commands(),
        )?;
        Ok(Self {
            commands,
            reader: OdometryReader::new(),
            prediction: Trajectory::new(horizon, 3),
            predictor,
            odometry: shell.subscribe("odom", sensor_qos())?,
            path: shell.publisher("~/predicted_path", reliable_qos(1))?,
            message: Path::default(),
            stddev: shell.publisher("~/prediction_stddev", reliable_qos(1))?,
            predicting: Predicting::default(),
            is_new: false,
            rejected: 0,
            publish_due: Every::new(shell.config().publish_rate),
            diagnostics_due: Every::new(1.0),
            shell,
        })
    }

    fn run(mut self) -> Result<()> {
        while !self.shell.stopped() {
            self.shell.node.spin_once(Duration::from_millis(10));
            self.observe();
            self.publish()?;
            self.predictor.prepare();
            if self.diagnostics_due.is_due() {
                let (level, message) = self.predicting.report("odom", self.prediction.horizon.dt);
                let mut values = vec![("rejected_odometry", self.rejected.to_string())];
                if let Some(commands) = &self.commands {
                    values.extend(commands.diagnostics(&self.predictor));
                }
                self.shell.diagnose("prediction", level, &message, &values);
            }
        }
        self.shell.info("stopped");
        Ok(())
    }

    fn observe(&mut self) {
        while let Some(message) = self.odometry.take() {
            match read_odometry(&mut self.reader, &message, self.shell.now()) {
                Ok(state) => {
                    let observation = self.predictor.observe(state);
                    self.predicting.observe(&observation);
                    if observation.is_sample() && self.predictor.predict(&mut self.prediction) {
                        self.predicting.predicted();
                        self.is_new = true;
                    }
                    self.commands
                        .iter_mut()
                        .for_each(|commands| commands.watch(&self.shell, &self.predictor, state.stamp));
                    self.message.header.frame_id.clone_from(&message.header.frame_id);
                }
                Err(rejection) if rejection.is_harmless() => {}
                Err(rejection) => {
                    self.rejected += 1;
                    if self.rejected == 1 {
                        self.shell.warn(&format!("odometry not used: {rejection}"));
                    }
                }
            }
        }
        // it counts from the next measurement on: those above may have been there before it
        if let Some(commands) = &mut self.commands {
            commands.hear(&self.shell, self.reader.state(), &mut self.predictor);
        }
    }

    fn publish(&mut self) -> Result<()> {
        if !self.is_new || !self.publish_due.is_due() {
            return Ok(());
        }
        self.is_new = false;
        fill_path(&self.prediction, &mut self.message)?;
        self.path.publish(&self.message)?;
        let rows = self.prediction.stddev.iter().map(Vec::as_slice);
        Ok(self.stddev.publish(&fill_table(["step", "x, y, yaw"], rows))?)
    }
}

/// The predicted poses, each with the stamp of its time, in the frame of the message.
fn fill_path(prediction: &Trajectory, message: &mut Path) -> Result<()> {
    message.header.stamp = stamp_to_time(prediction.stamp);
    message.poses.resize_with(prediction.states.len(), Default::default);
    for (index, (stamped, state)) in message.poses.iter_mut().zip(&prediction.states).enumerate() {
        let pose = crate::base::pose_of(state);
        let pose =
            pose.ok_or_else(|| Error::mismatch("predicted state", state.position.len(), "x, y, yaw"))?;
        stamped.header.frame_id.clone_from(&message.header.frame_id);
        stamped.header.stamp =
            stamp_to_time(prediction.stamp + prediction.horizon.time_from_start(index + 1));
        stamped.pose = pose_to_message(&pose);
    }
    Ok(())
}
