//! Whether a predictor predicts, and from what, in words for its diagnostics.

use crate::predictor::Observation;
use crate::predictor::resampler::GAP_STEPS;
use r2r::diagnostic_msgs::msg::DiagnosticStatus;
use std::time::{Duration, Instant};

/// Without a prediction for so long something is wrong.
const SILENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub struct Predicting {
    last: Option<Instant>,
    /// Measurements since the last report, and those that came after a gap.
    observed: u64,
    after_gaps: u64,
}

impl Predicting {
    pub fn observe(&mut self, observation: &Observation) {
        self.observed += 1;
        self.after_gaps += u64::from(matches!(observation, Observation::RestartedAfterGap));
    }

    pub fn predicted(&mut self) {
        self.last = Some(Instant::now());
    }

    /// The level and the message since the last report, of a predictor that steps by `dt` over what comes on `topic`.
    pub fn report(&mut self, topic: &str, dt: Duration) -> (u8, String) {
        let [observed, after_gaps] = [&mut self.observed, &mut self.after_gaps].map(std::mem::take);
        match self.last.map(|last| last.elapsed()) {
            None => (DiagnosticStatus::OK as u8, format!("waiting for {topic}")),
            Some(silence) if silence > SILENCE => {
                let silence = silence.as_secs_f64();
                let message =
                    format!("no prediction for {silence:.0} s: {topic} stays away or cannot be used");
                (DiagnosticStatus::WARN as u8, message)
            }
            Some(_) if observed > 1 && 2 * after_gaps > observed => {
                let message = format!(
                    "{topic} comes more than {GAP_STEPS} dt of {} s apart: constant velocity is all that is predicted; set dt, or train \
                     at the rate of {topic}",
                    dt.as_secs_f64()
                );
                (DiagnosticStatus::WARN as u8, message)
            }
            Some(_) => (DiagnosticStatus::OK as u8, "predicting".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_silence_are_said() {
        let (mut predicting, dt) = (Predicting::default(), Duration::from_millis(10));
        let mut report = |observations: &[Observation]| {
            observations.iter().for_each(|observation| {
                predicting.observe(observation);
                predicting.predicted();
            });
            predicting.report("odom", dt)
        };
        let (ok, warn) = (DiagnosticStatus::OK as u8, DiagnosticStatus::WARN as u8);
        assert_eq!(report(&[]), (ok, "waiting for odom".into()));
        assert_eq!(report(&[Observation::RestartedAfterGap]), (ok, "predicting".into()));
        let (level, message) = report(&[Observation::RestartedAfterGap, Observation::RestartedAfterGap]);
        assert!(level == warn && message.contains("more than 5 dt of 0.01 s apart"), "{message}");
        assert_eq!(report(&[]), (ok, "predicting".into()));
        predicting.last = Instant::now().checked_sub(Duration::from_secs(5));
        let (level, message) = predicting.report("odom", dt);
        assert!(level == warn && message.contains("no prediction for 5 s: odom"), "{message}");
    }
}
