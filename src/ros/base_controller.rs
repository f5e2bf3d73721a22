//! The controller node of a mobile base: odometry in, twists out, a tick for each fresh odometry.
//!
//! It follows what comes on ~/reference_path or as a goal of the action FollowPath, or makes the base do what another
//! controller asks for on cmd_vel_in; whichever spoke last. When there is nothing to do any more, zero is sent for a second,
//! and then nothing, so that others may drive.

use crate::base::{
    BaseControllerConfig, BaseDescription, BaseLoop, BaseTickTrigger, BaseVerdict, OdometryReader, Twist,
    TwistFormat, TwistModel,
};
use crate::error::Result;
use crate::measurement::Rejection;
use crate::nn::checkpoint::Card;
use crate::ros::convert::{fill_sample, time_to_stamp};
use crate::ros::librarian::{Event, Librarian, Requests, Shelf, describe_model, told};
use crate::ros::localization::{Localization, Refusal};
use crate::ros::navigation::Navigation;
use crate::ros::pace::Pace;
use crate::ros::parameters::Validate;
use crate::ros::planar::{TwistInput, TwistOutput, read_odometry};
use crate::ros::shell::{Every, Shell, Subscription, latched_qos, reliable_qos, sensor_qos};
use crate::ros::timing::Timing;
use crate::ros::transport;
use crate::ros::weights::WeightExchange;
use crate::state::Stamp;
use r2r::Publisher;
use r2r::diagnostic_msgs::msg::DiagnosticStatus;
use r2r::nav_msgs::msg::{self as nav_msgs, Odometry};
use r2r::std_msgs::msg::{Float64, String as Text};
use r2r::std_srvs::srv::{SetBool, Trigger};
use r2r::trajectory_msgs::msg::JointTrajectory;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

impl Validate for BaseControllerConfig {
    const LIVE: &'static [&'static str] = &["assistance", "authority", "learning"];

    fn validate(&self) -> Result<()> {
        self.check()
    }
}

/// Runs the node until SIGINT or SIGTERM.
pub fn run() -> Result<()> {
    let shell = Shell::<BaseControllerConfig>::new("base_controller")?;
    let (control, card) = BaseLoop::load(shell.config())?;
    BaseControllerNode::new(shell, control, card)?.run()
}

/// Where a learner's weights are kept; with `accept_weights` and no `network_file` the newest are brought back first, and without it
/// none are known, for none must act.
fn network_shelf(config: &BaseControllerConfig) -> Shelf {
    Shelf {
        folder: if config.accept_weights { config.models_folder.clone() } else { String::new() },
        name: "base_network",
        capacity: config.kept_models,
        resume: config.accept_weights && config.network_file.is_empty(),
    }
}

/// Keeps what a head has learned; without a `model_file` the newest is brought back first.
fn librarian(config: &BaseControllerConfig) -> Librarian<TwistModel> {
    let shelf = Shelf {
        folder: if config.head.enabled { config.models_folder.clone() } else { String::new() },
        name: "base_controller",
        capacity: config.kept_models,
        resume: config.model_file.is_empty(),
    };
    let format = TwistFormat::of(config);
    Librarian::spawn(shelf, move |bytes, origin| TwistModel::from_bytes(bytes, origin, &format))
}

struct BaseControllerNode {
    shell: Shell<BaseControllerConfig>,
    control: BaseLoop,
    reader: OdometryReader,
    odometry: Subscription<Odometry>,
    path: Subscription<nav_msgs::Path>,
    asked: TwistInput,
    localization: Localization,
    navigation: Navigation,
    services: Services,
    models: Librarian<TwistModel>,
    weights: WeightExchange,
    /// The parameter `learning` as last set.
    learning_parameter: bool,
    /// Asked for on ~/save_model and ~/rollback_model, to be answered when it is done.
    saving: Requests,
    rolling_back: Requests,
    model_info: Publisher<Text>,
    /// Latched: kept as long as the node.
    _description: Publisher<Text>,
    sample: Publisher<JointTrajectory>,
    sample_message: JointTrajectory,
    twists: TwistOutput,
    authority: Publisher<Float64>,
    twist: Twist,
    pace: Pace,
    said: Option<BaseVerdict>,
    rejections: u64,
    rejection_due: Every,
    late_due: Every,
    /// Whether it was said that odometry has other frames.
    has_other_frames: bool,
    tick_time: Timing,
    diagnostics_due: Every,
}

struct Services {
    stop: Subscription<r2r::ServiceRequest<Trigger::Service>>,
    save_model: Subscription<r2r::ServiceRequest<Trigger::Service>>,
    rollback_model: Subscription<r2r::ServiceRequest<Trigger::Service>>,
    enable_learning: Subscription<r2r::ServiceRequest<SetBool::Service>>,
}

impl BaseControllerNode {
    /// `card` is that of the model of the configuration, if there is one.
    fn new(mut shell: Shell<BaseControllerConfig>, control: BaseLoop, card: Option<Card>) -> Result<Self> {
        let config = control.config();
        let robot = BaseDescription::of(config).robot();
        let stamped = config.enable_stamped_cmd_vel;
        let BaseControllerConfig { update_rate, odom_frame_id, base_frame_id, .. } = config;
        let model_info = shell.publisher("~/model_info", latched_qos())?;
        if let Some(card) = &card {
            shell.info(&format!("has the model of {}, revision {}", config.model_file, card.revision));
            model_info.publish(&describe_model(card, &config.model_file, "model_file"))?;
        }
        let description = shell.publisher("~/description", latched_qos())?;
        description.publish(&Text { data: BaseDescription::of(config).to_text() })?;
        let sample_message = JointTrajectory { joint_names: robot.joints.clone(), ..Default::default() };
        let shelf = network_shelf(config);
        let weights = WeightExchange::new(&mut shell, "base_learner", "~/network_info", shelf, robot)?;
        if let Some(card) = control.card() {
            shell.info(&format!("has the network of {}, revision {}", config.network_file, card.revision));
            weights.begin_with(card, &config.network_file, "network_file")?;
        }
        let ticks = match config.tick {
            BaseTickTrigger::Timer => format!("at {update_rate} Hz"),
            BaseTickTrigger::Odometry => "once for each message of odometry".into(),
        };
        shell.info(&format!("controls {base_frame_id} in {odom_frame_id} {ticks}"));
        transport::warning().into_iter().for_each(|warning| shell.warn(warning));
        let by_message = config.tick == BaseTickTrigger::Odometry;
        Ok(Self {
            reader: OdometryReader::new(),
            odometry: shell.subscribe("odom", sensor_qos())?,
            path: shell.subscribe("~/reference_path", reliable_qos(1))?,
            asked: TwistInput::new(
                &mut shell.node,
                "cmd_vel_in",
                config.cmd_vel_in_type.is_stamped(stamped),
            )?,
            localization: Localization::new(&mut shell)?,
            navigation: Navigation::new(&mut shell)?,
            services: Services {
                stop: shell.service("~/stop")?,
                save_model: shell.service("~/save_model")?,
                rollback_model: shell.service("~/rollback_model")?,
                enable_learning: shell.service("~/enable_learning")?,
            },
            models: librarian(config),
            weights,
            learning_parameter: config.learning,
            saving: Requests::new(shell.answers()),
            rolling_back: Requests::new(shell.answers()),
            model_info,
            _description: description,
            sample: shell.publisher("~/learning_sample", reliable_qos(10))?,
            sample_message,
            twists: TwistOutput::new(&mut shell.node, "cmd_vel", stamped, base_frame_id)?,
            authority: shell.publisher("~/authority", reliable_qos(1))?,
            twist: [0.0; 3],
            pace: Pace::new(by_message, *update_rate, config.odom_timeout),
            said: None,
            rejections: 0,
            rejection_due: Every::new(0.1),
            late_due: Every::new(0.1),
            has_other_frames: false,
            tick_time: Timing::default(),
            diagnostics_due: Every::new(1.0),
            control,
            shell,
        })
    }

    fn run(mut self) -> Result<()> {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.drive()));
        // whatever happened
        self.twists.publish(self.now(), &[0.0; 3])?;
        self.navigation.close()?;
        if !self.control.config().models_folder.is_empty() {
            self.save();
        }
        self.models.close();
        self.weights.close();
        self.shell.info("stopped; the last twist is zero");
        // The twist leaves on a thread of the middleware: give it the time before the node is gone.
        std::thread::sleep(Duration::from_millis(50));
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn drive(&mut self) -> Result<()> {
        while !self.shell.stopped() {
            self.shell.node.spin_once(self.pace.time_to_next_tick());
            self.hear_asked();
            self.read_odometry()?;
            if self.pace.is_due(self.newest()) {
                self.tick(self.now())?;
            }
            self.read_slow_inputs()?;
            self.report();
        }
        Ok(())
    }

    /// Each twist in its order, so that it does not matter how many come between two ticks.
    fn hear_asked(&mut self) {
        while let Some((stamp, twist)) = self.asked.take() {
            if self.is_late(stamp) {
                continue;
            }
            // with ticks by messages there is no time before the first
            if !self.pace.is_by_message() || self.reader.state().is_some() {
                self.control.ask(self.now(), twist);
            }
        }
    }

    /// Whether a twist was asked for longer ago than `cmd_vel_timeout`, and was on its way since. With ticks by messages there is no
    /// clock that could say so.
    fn is_late(&mut self, stamp: Option<Stamp>) -> bool {
        let timeout = self.control.config().cmd_vel_timeout;
        let Some(stamp) = stamp.filter(|_| timeout > 0.0 && !self.pace.is_by_message()) else { return false };
        let age = self.shell.now().since(stamp);
        if age > timeout && self.late_due.is_due() {
            self.shell.warn(&format!(
                "a twist on cmd_vel_in is not obeyed: it is {age:.3} s old (cmd_vel_timeout {timeout:.3} s); the connection was lost, or the clocks differ"
            ));
        }
        age > timeout
    }

    /// Reads what has come, up to the first message that makes a tick, so that nothing else is kept waiting.
    fn read_odometry(&mut self) -> Result<()> {
        while let Some(message) = self.odometry.take() {
            let has_stamp = time_to_stamp(&message.header.stamp) != Stamp::default();
            if self.pace.is_by_message() && !has_stamp {
                self.reject(&Rejection::NoStamp);
                continue;
            }
            self.check_frames(&message);
            match read_odometry(&mut self.reader, &message, self.shell.now()).map(|state| state.stamp) {
                Ok(stamp) => {
                    self.pace.arrives();
                    if self.pace.is_by_message() {
                        return self.tick(stamp);
                    }
                }
                Err(rejection) => self.reject(&rejection),
            }
        }
        Ok(())
    }

    /// Says once that odometry is between other frames than configured; empty ones say nothing.
    fn check_frames(&mut self, message: &Odometry) {
        let BaseControllerConfig { odom_frame_id, base_frame_id, .. } = self.control.config();
        let frames = [(&message.header.frame_id, odom_frame_id), (&message.child_frame_id, base_frame_id)];
        let other = frames.into_iter().find(|(found, expected)| !found.is_empty() && found != expected);
        if let Some((found, expected)) = other
            && !std::mem::replace(&mut self.has_other_frames, true)
        {
            let warning = format!(
                "odometry has the frame '{found}' where '{expected}' is configured (odom_frame_id, base_frame_id); it is taken for it"
            );
            self.shell.warn(&warning);
        }
    }

    fn reject(&mut self, rejection: &Rejection) {
        // one that repeats itself is no news
        if rejection.is_harmless() {
            return;
        }
        self.rejections += 1;
        if self.rejection_due.is_due() {
            self.shell.warn(&format!("odometry not used: {rejection} ({} messages so far)", self.rejections));
        }
    }

    /// Stamp of the newest odometry.
    fn newest(&self) -> Option<Stamp> {
        self.reader.state().map(|state| state.stamp)
    }

    fn now(&self) -> Stamp {
        self.pace.now(self.newest(), || self.shell.now())
    }

    fn tick(&mut self, now: Stamp) -> Result<()> {
        let started = Instant::now();
        let retired = self.control.tick(now, self.reader.state(), &mut self.twist);
        self.tick_time.record(started.elapsed());
        let (_, is_new) = self.pace.ticked(started, self.newest());
        if self.control.speaks() {
            self.twists.publish(now, &self.twist)?;
        }
        self.control.network().prepare();
        if is_new {
            self.publish_sample()?;
        }
        retired.into_iter().for_each(|model| self.weights.free(model));
        Ok(())
    }

    /// Tells the learner of the tick, and under which verdict it was; what may be learned from is called tracking.
    fn publish_sample(&mut self) -> Result<()> {
        let Some(sample) = self.control.sample() else { return Ok(()) };
        let verdict = self.control.verdict();
        let verdict: &dyn Display = match self.control.teaches() {
            true => &"tracking",
            false if verdict.is_undisturbed() => &"adapting",
            false => &verdict,
        };
        fill_sample(sample, verdict, &mut self.sample_message);
        Ok(self.sample.publish(&self.sample_message)?)
    }

    fn read_slow_inputs(&mut self) -> Result<()> {
        if let Some(message) = self.path.newest() {
            self.follow(&message);
        }
        self.localization.update(&mut self.control);
        let (now, state) = (self.now(), self.reader.state());
        self.navigation.serve(now, state, &mut self.control, &mut self.localization, &self.shell)?;
        self.serve()?;
        while let Some(event) = self.models.event() {
            self.hear_librarian(event)?;
        }
        self.exchange_weights()?;
        if let Some(config) = self.shell.changed_config() {
            self.control.set_authority(config.authority, config.assistance);
            // Only its own change counts: the service ~/enable_learning may have spoken since.
            if config.learning != self.learning_parameter {
                self.learning_parameter = config.learning;
                self.control.set_learning(config.learning);
            }
        }
        Ok(())
    }

    /// Passes new weights to the loop, and answers what was asked for on services.
    fn exchange_weights(&mut self) -> Result<()> {
        let (now, requests) = (self.now(), [&mut self.saving, &mut self.rolling_back]);
        self.weights.exchange(now, self.control.network(), &self.shell, requests)
    }

    fn serve(&mut self) -> Result<()> {
        while let Some(request) = self.services.stop.take() {
            self.control.stop();
            self.shell.info("stops, as asked on ~/stop");
            self.shell.respond(request, Trigger::Response { success: true, message: "stopping".into() });
        }
        while let Some(request) = self.services.save_model.take() {
            // the head's part and the network's
            let awaited = 1 + usize::from(self.save());
            self.saving.push(request, awaited);
            self.weights.save();
        }
        while let Some(request) = self.services.rollback_model.take() {
            let why = "as asked on ~/rollback_model";
            let has_network = self.control.card().is_some();
            self.rolling_back.push(request, 1);
            match has_network {
                true => self.weights.roll_back(why.into()),
                false => self.models.roll_back(why.into()),
            }
        }
        while let Some(request) = self.services.enable_learning.take() {
            let enabled = request.message.data;
            self.control.set_learning(enabled);
            self.control.freeze_head(!enabled);
            let message: &str = if enabled { "learning" } else { "everything that was learned is frozen" };
            self.shell.info(message);
            self.shell.respond(request, SetBool::Response { success: true, message: message.into() });
        }
        Ok(())
    }

    /// Has what the head has learned kept; false without a head.
    fn save(&mut self) -> bool {
        let Some(model) = self.control.model() else { return false };
        match model.and_then(|model| model.to_bytes()) {
            Ok(bytes) => self.models.keep(bytes),
            Err(error) => self.shell.warn(&format!("not saved: {error}")),
        }
        true
    }

    fn hear_librarian(&mut self, event: Event<TwistModel>) -> Result<()> {
        match event {
            // nobody sends what a head has learned
            Event::Checked(_) => {}
            Event::Saved(result) => {
                let (success, message) = told(result);
                self.shell.info(&message);
                self.saving.answer(success, &message);
            }
            Event::Earlier { model, origin, why } => {
                let message = format!("weights of {origin}, revision {}: {why}", model.card.revision);
                self.control.restore(&model);
                self.model_info.publish(&describe_model(&model.card, &origin, &why))?;
                self.shell.info(&message);
                self.rolling_back.answer(true, &message);
            }
            Event::NothingEarlier(why) => {
                let message = "nothing earlier is kept: what is learned stays in use";
                self.shell.warn(&format!("{why}; {message}"));
                self.rolling_back.answer(false, message);
            }
            Event::Warning(text) => self.shell.warn(&text),
        }
        Ok(())
    }

    fn follow(&mut self, message: &nav_msgs::Path) {
        if message.poses.is_empty() {
            self.control.stop();
            return self.shell.info("empty path: stops");
        }
        match self.localization.follow(message, false, false, &mut self.control) {
            Ok(description) => self.shell.info(&format!("follows a {description}")),
            Err(Refusal::Frame(error) | Refusal::Path(error)) => {
                self.shell.warn(&format!("path refused: {error}"));
            }
        }
    }

    fn report(&mut self) {
        // Limits come and go with every move; only the other changes are worth a line.
        let verdict = match self.control.verdict() {
            BaseVerdict::Limited => BaseVerdict::Tracking,
            verdict => verdict,
        };
        if !self.said.is_some_and(|said| said.same_kind(&verdict)) {
            match verdict {
                BaseVerdict::Baseline(_) | BaseVerdict::Stopped(_) => self.shell.warn(&verdict.describe()),
                _ => self.shell.info(&verdict.describe()),
            }
            self.said = Some(verdict);
        }
        if self.diagnostics_due.is_due() {
            // Advisory, and repeated every second.
            let _ = self.authority.publish(&Float64 { data: self.control.authority() });
            self.diagnose();
        }
    }

    fn diagnose(&mut self) {
        let verdict = self.control.verdict();
        let level = match verdict {
            BaseVerdict::Idle | BaseVerdict::Tracking | BaseVerdict::Limited => DiagnosticStatus::OK as u8,
            BaseVerdict::Baseline(_) => DiagnosticStatus::WARN as u8,
            BaseVerdict::Stopped(_) => DiagnosticStatus::ERROR as u8,
        };
        let tick = self.tick_time.percentiles();
        let [along, across, heading] = *self.control.error();
        let [twist_error, baseline_twist_error] = self.control.twist_errors();
        let values = [
            ("authority", format!("{:.3}", self.control.authority())),
            ("head_learns", self.control.head_learns().to_string()),
            ("correction", format!("{:.4?}", self.control.correction())),
            ("error_along_m", format!("{along:.4}")),
            ("error_across_m", format!("{across:.4}")),
            ("error_heading_rad", format!("{heading:.4}")),
            ("twist_error", format!("{twist_error:.4}")),
            ("baseline_twist_error", format!("{baseline_twist_error:.4}")),
            ("network_revision", self.control.card().map_or(0, |card| card.revision).to_string()),
            ("rejected_odometry", self.rejections.to_string()),
            ("tick_p50_us", format!("{:.1}", tick.p50)),
            ("tick_p99_us", format!("{:.1}", tick.p99)),
            ("tick_max_us", format!("{:.1}", tick.max)),
        ];
        self.shell.diagnose("control", level, &verdict.describe(), &values);
    }
}
