//! A learner's network in a control loop: taken between ticks, watched, given back, and not used without its learner.

use super::rollback::{RollbackMonitor, RollbackReason};
use crate::controller::{Residual, ResidualModel};
use crate::state::Stamp;

/// How a loop deals with a learner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkSettings {
    /// Time in which new weights take over, s.
    pub fade_time: f64,
    /// Take a learner's weights, and expect it to be alive; both only where this is permitted.
    pub learning: bool,
    pub accept_weights: bool,
    /// Silence of the learner beyond which the baseline acts alone, s.
    pub learner_timeout: f64,
}

/// See the module. Of an arm and of a base alike.
pub struct LearnedNetwork {
    pub residual: Residual,
    settings: NetworkSettings,
    learner: Pulse,
    rollback: RollbackMonitor,
    rollback_reason: Option<RollbackReason>,
}

impl LearnedNetwork {
    /// None yet; `limit` is the largest output of each joint, as it is commanded.
    pub fn new(limit: Vec<f64>, settings: NetworkSettings) -> Self {
        Self {
            residual: Residual::new(limit, settings.fade_time),
            settings,
            learner: Pulse::default(),
            rollback: RollbackMonitor::default(),
            rollback_reason: None,
        }
    }

    /// Accepts weights from now on, if that is permitted, and expects the learner to be alive, or freezes those in use. `last` is
    /// the stamp of the last tick.
    pub fn set_learning(&mut self, enabled: bool, last: Option<Stamp>) {
        if enabled && !self.settings.learning {
            // The learner has its timeout to show up.
            self.learner = Pulse(last);
        }
        self.settings.learning = enabled;
    }

    /// Whether new weights can be taken now.
    pub fn wants_model(&self) -> bool {
        self.expects_learner() && self.residual.is_settled()
    }

    fn expects_learner(&self) -> bool {
        self.settings.learning && self.settings.accept_weights
    }

    /// Takes new weights, to be called when `wants_model`; they fade in over the next ticks.
    pub fn accept(&mut self, model: Box<ResidualModel>) {
        let losses = ["held_out_loss", "held_out_loss_of_parent"].map(|loss| model.card.evaluation.get(loss));
        let [Some(loss), Some(of_parent)] = losses else { return self.residual.accept(model) };
        self.rollback.swapped(loss / of_parent);
        self.residual.accept(model);
    }

    /// Fades out the network in use, to be called when it is settled.
    pub fn dismiss(&mut self) {
        self.rollback.reset();
        self.residual.dismiss();
    }

    /// Does what the next tick needs and the command of the last one did not: to be called when that is out. A tick that
    /// finds it undone does it itself, with the same result.
    pub fn prepare(&mut self) {
        self.residual.current().into_iter().for_each(ResidualModel::prepare);
    }

    /// A sign of life from the learner at `now`.
    pub fn hear_learner(&mut self, now: Stamp) {
        self.learner.hear(now);
    }

    /// How long a learner that is expected has been silent, s, when that is too long. To be asked every tick.
    pub fn lost_learner(&mut self, now: Stamp) -> Option<f64> {
        let silence = self.learner.silence(now);
        (self.expects_learner() && silence > self.settings.learner_timeout).then_some(silence)
    }

    /// Compares the mean square of the error of a tick, and of the one that the baseline alone would have, with those before
    /// the weights in use.
    pub fn watch(&mut self, squares: [f64; 2], dt: f64) {
        self.rollback_reason = self.rollback.observe(squares, dt).or(self.rollback_reason);
    }

    /// The error of the last moments, and the one that the baseline alone would have, rms in the unit of what is watched.
    pub fn errors(&self) -> [f64; 2] {
        self.rollback.present()
    }

    /// Why the weights in use should be given back, once, if the error since they came says so.
    pub fn take_rollback(&mut self) -> Option<RollbackReason> {
        self.rollback_reason.take()
    }
}

/// When something was heard of last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pulse(Option<Stamp>);

impl Pulse {
    pub fn hear(&mut self, now: Stamp) {
        self.0 = Some(now);
    }

    /// The time since then, s. Silence counts from the first call on: before it the clock may not have been heard either. A
    /// clock that was set back makes earlier signs of life lie in the future; they count as of now.
    pub fn silence(&mut self, now: Stamp) -> f64 {
        let heard = self.0.map_or(now, |heard| heard.min(now));
        self.0 = Some(heard);
        now.since(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_the_first_question_and_survives_a_clock_that_is_set_back() {
        let seconds = Stamp::from_seconds;
        let mut pulse = Pulse::default();
        assert_eq!(pulse.silence(seconds(100.0)), 0.0);
        assert_eq!(pulse.silence(seconds(101.5)), 1.5);
        pulse.hear(seconds(102.0));
        assert_eq!(pulse.silence(seconds(103.0)), 1.0);
        assert_eq!(pulse.silence(seconds(50.0)), 0.0);
        assert_eq!(pulse.silence(seconds(51.0)), 1.0);
    }

    #[test]
    fn a_learner_is_missed_only_where_it_is_expected() {
        let settings =
            NetworkSettings { fade_time: 0.0, learning: false, accept_weights: true, learner_timeout: 2.0 };
        let mut network = LearnedNetwork::new(vec![1.0], settings);
        let seconds = Stamp::from_seconds;
        assert_eq!(network.lost_learner(seconds(0.0)), None);
        assert_eq!((network.lost_learner(seconds(9.0)), network.wants_model()), (None, false));
        network.set_learning(true, Some(seconds(9.0)));
        assert!(network.wants_model());
        assert_eq!(network.lost_learner(seconds(11.0)), None, "it has its timeout to show up");
        assert_eq!(network.lost_learner(seconds(11.5)), Some(2.5));

        // nothing of one whose weights are not taken acts
        let mut network =
            LearnedNetwork::new(vec![1.0], NetworkSettings { accept_weights: false, ..settings });
        network.set_learning(true, Some(seconds(0.0)));
        assert_eq!((network.lost_learner(seconds(9.0)), network.wants_model()), (None, false));
    }
}
