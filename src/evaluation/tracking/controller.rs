//! Who is compared. All share the feedback gains of the parameter file; they differ in what they add to it.

use crate::command::Mode;
use crate::control_loop::ControllerConfig;
use crate::controller::{Feedforward, Gains, HeadConfig, ObserverConfig};
use crate::evaluation::tracking::course::ScenarioKind;
use crate::evaluation::tracking::tuning::Tuning;
use crate::learner::{LearnerConfig, Rule};
use crate::robot::Robot;
use clap::ValueEnum;
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ControllerKind {
    PdGravity,
    PidGravity,
    ComputedTorque,
    DisturbanceObserver,
    SlotineLi,
    Learner,
    LearnerTrackingError,
    LearnerDistal,
    LearnerComposite,
    Head,
    Learned,
    Full,
    Oracle,
}

impl ControllerKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::PdGravity => "pd_gravity",
            Self::PidGravity => "pid_gravity",
            Self::ComputedTorque => "computed_torque",
            Self::DisturbanceObserver => "disturbance_observer",
            Self::SlotineLi => "slotine_li",
            Self::Learner => "learner",
            Self::LearnerTrackingError => "learner_tracking_error",
            Self::LearnerDistal => "learner_distal",
            Self::LearnerComposite => "learner_composite",
            Self::Head => "head",
            Self::Learned => "learned",
            Self::Full => "full",
            Self::Oracle => "oracle",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Self::PdGravity => "PD with the description's gravity",
            Self::PidGravity => "PID with the description's gravity",
            Self::ComputedTorque => {
                "PD with the description's inverse dynamics and friction at the reference"
            }
            Self::DisturbanceObserver => {
                "computed torque with a generalized-momentum disturbance observer; with drives that take velocities, \
                 the feedforward and one of first-order drives"
            }
            Self::SlotineLi => "adaptive control of Slotine and Li (1987)",
            Self::Learner => {
                "PD + gravity, backprop alone, from random weights, by the rule of the parameter file"
            }
            Self::LearnerTrackingError => "the same by the rule tracking_error",
            Self::LearnerDistal => "the same by the rule distal",
            Self::LearnerComposite => "the same by the rule composite",
            Self::Head => "PD + gravity, the head in the tick alone",
            Self::Learned => "PD + gravity, head and backprop",
            Self::Full => "what the disturbance observer's controller has, head and backprop",
            Self::Oracle => "computed torque with the plant itself, as it is at each time",
        }
    }

    /// The rivals whose figures it must not exceed in any second: what it is built on.
    pub fn stands_on(self) -> &'static [Self] {
        match self {
            Self::Full => &[Self::ComputedTorque, Self::DisturbanceObserver],
            _ if self.is_ours() => &[Self::PdGravity],
            _ => &[],
        }
    }

    /// Whether it learns by the parts of this program.
    pub fn is_ours(self) -> bool {
        self.rule().is_some() || matches!(self, Self::Head | Self::Learned | Self::Full)
    }

    /// Whether backprop runs beside it, `None` in it for the rule of the parameter file.
    fn rule(self) -> Option<Option<Rule>> {
        match self {
            Self::Learner | Self::Learned | Self::Full => Some(None),
            Self::LearnerTrackingError => Some(Some(Rule::TrackingError)),
            Self::LearnerDistal => Some(Some(Rule::Distal)),
            Self::LearnerComposite => Some(Some(Rule::Composite)),
            _ => None,
        }
    }

    /// Whether it takes part: rules beside that of the parameter file only where the slow learner is judged.
    pub fn takes_part_in(self, scenario: ScenarioKind) -> bool {
        match self.rule() {
            Some(Some(_)) => scenario.judges_slow_learners(),
            _ => self.takes(scenario.command_interface()),
        }
    }

    /// Whether it makes sense with such commands.
    fn takes(self, interface: Mode) -> bool {
        match self {
            Self::ComputedTorque | Self::SlotineLi => interface == Mode::Effort,
            Self::DisturbanceObserver | Self::Full => interface != Mode::Position,
            _ => true,
        }
    }

    /// Whether backprop is all that it learns by.
    pub fn is_slow_learner(self) -> bool {
        self.rule().is_some() && !matches!(self, Self::Learned | Self::Full)
    }

    /// Settings of the control loop, from those of the parameter file. The rivals without a control loop of their own
    /// take the gains from it.
    pub fn configure(
        self,
        base: &ControllerConfig,
        robot: &Robot,
        interface: Mode,
        tuning: &Tuning,
    ) -> ControllerConfig {
        let mut config = ControllerConfig {
            feedforward: Feedforward::Gravity,
            observer: ObserverConfig::default(),
            head: HeadConfig { enabled: false, ..base.head },
            learning: false,
            prediction: false,
            ..base.clone()
        };
        if !self.is_ours() {
            config.model_file.clear();
        }
        if matches!(self, Self::ComputedTorque | Self::DisturbanceObserver | Self::Full) {
            config.feedforward = Feedforward::InverseDynamics;
        }
        config.command_interface = interface;
        config.head.bandwidth = tuning.head_bandwidth;
        config.head.enabled = matches!(self, Self::Head | Self::Learned | Self::Full);
        let of_drives = tuning.drive_observer;
        match self {
            Self::DisturbanceObserver | Self::Full if interface == Mode::Velocity => {
                config.drive_lag = of_drives.lag;
                config.observer = ObserverConfig {
                    bandwidth: of_drives.bandwidth,
                    noise_gate: self == Self::Full && base.observer.noise_gate,
                    ..ObserverConfig::default()
                };
            }
            Self::DisturbanceObserver => config.observer = tuning.observer,
            Self::Full => {
                config.observer = ObserverConfig {
                    noise_gate: base.observer.noise_gate,
                    fast_bandwidth: tuning.fast_bandwidth,
                    ..tuning.observer
                }
            }
            _ => {}
        }
        for (joint, gains) in &mut config.gains {
            if interface != Mode::Effort {
                *gains = match self {
                    Self::PidGravity => tuning.integral_drives,
                    _ if config.observer.bandwidth > 0.0 => Gains { p: of_drives.p, ..Gains::default() },
                    _ => tuning.drives,
                };
                continue;
            }
            (gains.i, gains.i_clamp) = (0.0, 0.0);
            gains.d *= tuning.feedback;
            gains.p *= tuning.feedback * tuning.feedback;
            let limit = robot.index_of(joint).map_or(0.0, |index| robot.limits.effort[index]);
            if self == Self::PidGravity {
                (gains.i, gains.i_clamp) = (tuning.integral_rate * gains.p, tuning.integral_share * limit);
            }
        }
        config
    }

    /// Settings of the learner beside it, if there is one.
    pub fn learner(self, base: &LearnerConfig, seed: u64) -> Option<LearnerConfig> {
        let rule = self.rule()?.unwrap_or(base.rule);
        Some(LearnerConfig { rule, seed, ..base.clone() })
    }
}
