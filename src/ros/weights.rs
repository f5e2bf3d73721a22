//! A learner's weights on their way into a controller's node, that of an arm or of a base: checked by the librarian, taken
//! between ticks, kept, and given back.

use crate::control_loop::LearnedNetwork;
use crate::controller::ResidualModel;
use crate::error::Result;
use crate::nn::checkpoint::Card;
use crate::robot::Robot;
use crate::ros::librarian::{Event, Librarian, Requests, Shelf, describe_model, told};
use crate::ros::parameters::Validate;
use crate::ros::shell::{Shell, Subscription, latched_qos, reliable_qos, sensor_qos};
use crate::state::Stamp;
use r2r::Publisher;
use r2r::std_msgs::msg::{Float64MultiArray, String as Text, UInt8MultiArray};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::time::Duration;

/// After weights were given back, a learner's are not taken for this time: its next ones are much like the last.
const PAUSE: Duration = Duration::from_secs(5);

/// See the module.
pub struct WeightExchange {
    /// Name of the learner's node.
    learner: &'static str,
    weights: Subscription<UInt8MultiArray>,
    progress: Subscription<Float64MultiArray>,
    info: Publisher<Text>,
    librarian: Librarian<ResidualModel>,
    /// An earlier model, or none, and why: to be taken when the last one is faded in.
    earlier: Option<(Option<Box<ResidualModel>>, String)>,
    /// Times that the librarian has been asked to go back and has not answered.
    going_back: usize,
    /// No weights of a learner are taken before this.
    paused_until: Option<Stamp>,
}

impl WeightExchange {
    /// Of weights for `robot`, kept on `shelf`; what is in use stands on the topic `info`.
    pub fn new<T>(
        shell: &mut Shell<T>,
        learner: &'static str,
        info: &str,
        shelf: Shelf,
        robot: Robot,
    ) -> Result<Self>
    where
        T: Validate + Serialize + DeserializeOwned + Clone + Send + 'static,
    {
        let check = move |bytes: &[u8], origin: &str| ResidualModel::from_bytes(bytes, origin, &robot);
        Ok(Self {
            learner,
            weights: shell.subscribe(&format!("{learner}/weights"), reliable_qos(1))?,
            progress: shell.subscribe(&format!("{learner}/loss"), sensor_qos())?,
            info: shell.publisher(info, latched_qos())?,
            librarian: Librarian::spawn(shelf, check),
            earlier: None,
            going_back: 0,
            paused_until: None,
        })
    }

    /// Says that the network of `file` is in use.
    pub fn begin_with(&self, card: &Card, file: &str, parameter: &str) -> Result<()> {
        Ok(self.info.publish(&describe_model(card, file, parameter))?)
    }

    pub fn save(&self) {
        self.librarian.save();
    }

    pub fn roll_back(&mut self, why: String) {
        self.going_back += 1;
        self.librarian.roll_back(why);
    }

    /// Whether earlier weights are on their way: what the librarian has as those in use are they, and no others may become them.
    fn is_going_back(&self) -> bool {
        self.going_back > 0 || self.earlier.is_some()
    }

    pub fn free(&self, model: Box<ResidualModel>) {
        self.librarian.free(model);
    }

    /// Keeps the weights in use and ends the librarian.
    pub fn close(&mut self) {
        self.librarian.close();
    }

    /// Between two ticks: hears the learner, passes new weights to the librarian and what comes from it to `network`, and answers
    /// requests to save weights and to go back. Where no earlier ones are kept none are used.
    pub fn exchange<T, N>(
        &mut self,
        now: Stamp,
        network: &mut LearnedNetwork,
        shell: &Shell<T, N>,
        requests: [&mut Requests; 2],
    ) -> Result<()> {
        if self.progress.newest().is_some() {
            network.hear_learner(now);
        }
        if let Some(reason) = network.take_rollback() {
            shell.warn(&format!("weights are given back: {reason}"));
            self.roll_back(reason.to_string());
        }
        let paused =
            self.paused_until.is_some_and(|until| now < until && until.since(now) <= PAUSE.as_secs_f64());
        if let Some(message) = self.weights.newest() {
            network.hear_learner(now);
            if network.wants_model() && !paused && !self.is_going_back() {
                self.librarian.check(message.data);
            }
        }
        let [saving, rolling_back] = requests;
        while let Some(event) = self.librarian.event() {
            if matches!(event, Event::Earlier { .. } | Event::NothingEarlier(_)) {
                self.going_back = self.going_back.saturating_sub(1);
            }
            match event {
                Event::Checked(Ok(model)) if network.wants_model() && !self.is_going_back() => {
                    let origin = format!("{}/weights", self.learner);
                    self.info.publish(&describe_model(&model.card, &origin, "better than the last"))?;
                    network.accept(model);
                    self.librarian.in_use();
                }
                // Others have come in between; the learner soon sends better ones.
                Event::Checked(Ok(model)) => self.librarian.free(model),
                Event::Checked(Err(error)) => shell.warn(&format!("weights refused: {error}")),
                Event::Saved(result) => {
                    let (success, message) = told(result);
                    shell.info(&message);
                    saving.answer(success, &message);
                }
                Event::Earlier { model, origin, why } => {
                    self.paused_until = Some(now + PAUSE);
                    let message = format!("weights of {origin}, revision {}: {why}", model.card.revision);
                    self.info.publish(&describe_model(&model.card, &origin, &why))?;
                    self.earlier = Some((Some(model), message.clone()));
                    rolling_back.answer(true, &message);
                }
                Event::NothingEarlier(why) if network.residual.card().is_some() => {
                    self.paused_until = Some(now + PAUSE);
                    let message = format!("no earlier weights are kept, and none are in use now: {why}");
                    let none = json!({"origin": "no earlier weights are kept", "in_use": "none"});
                    self.info.publish(&Text { data: none.to_string() })?;
                    self.earlier = Some((None, message.clone()));
                    rolling_back.answer(true, &message);
                }
                Event::NothingEarlier(_) => {
                    let message = "no weights of a learner are in use, and no earlier weights are kept";
                    rolling_back.answer(false, message);
                }
                Event::Warning(text) => shell.warn(&text),
            }
        }
        if network.residual.is_settled()
            && let Some((model, why)) = self.earlier.take()
        {
            shell.info(&why);
            match model {
                Some(model) => network.accept(model),
                None => network.dismiss(),
            }
        }
        Ok(())
    }
}
