//! How the bases of the demo come to differ from what their driver believes.

use crate::sim::{BaseScenario, Patch};
use clap::ValueEnum;
use r2r::rcl_interfaces::msg::{Parameter, ParameterType, ParameterValue};
use serde::Serialize;

/// Named as the scenarios of `evaluate tracking`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Change {
    /// The base as it is described
    Nominal,
    /// The left wheel 10 % smaller
    WheelRadius,
    /// Motors three times as slow
    MotorLag,
    /// Half its mass on top, off the middle
    Payload,
    /// A slippery patch on the path
    Patch,
}

impl Change {
    pub fn label(self) -> &'static str {
        match self {
            Self::Nominal => "as described",
            Self::WheelRadius => "left wheel 10 % smaller",
            Self::MotorLag => "motors three times as slow",
            Self::Payload => "half its mass on top",
            Self::Patch => "a slippery patch on the path",
        }
    }

    /// What the simulators are told, whatever they were told before.
    pub fn parameters(self) -> Vec<Parameter> {
        let BaseScenario { wheel_scale, lag_scale, payload, patch, .. } = self.scenario();
        let double = |value: f64| ParameterValue {
            type_: ParameterType::PARAMETER_DOUBLE as u8,
            double_value: value,
            ..Default::default()
        };
        let doubles = |values: &[f64]| ParameterValue {
            type_: ParameterType::PARAMETER_DOUBLE_ARRAY as u8,
            double_array_value: values.to_vec(),
            ..Default::default()
        };
        let parameters = [
            ("wheel_scale", doubles(&wheel_scale)),
            ("lag_scale", double(lag_scale)),
            ("payload", double(payload)),
            ("patch.centre", doubles(&patch.centre)),
            ("patch.radius", double(patch.radius)),
            ("patch.friction", double(patch.friction)),
        ];
        parameters.map(|(name, value)| Parameter { name: format!("scenario.{name}"), value }).into()
    }

    fn scenario(self) -> BaseScenario {
        let nominal = BaseScenario::default();
        match self {
            Self::Nominal => nominal,
            Self::WheelRadius => BaseScenario { wheel_scale: [0.9, 1.0], ..nominal },
            Self::MotorLag => BaseScenario { lag_scale: 3.0, ..nominal },
            Self::Payload => BaseScenario { payload: 6.8, ..nominal },
            // where the figures of eight turn
            Self::Patch => {
                let patch = Patch { centre: [1.5, 0.0], radius: 0.5, friction: 0.06 };
                BaseScenario { patch, ..nominal }
            }
        }
    }
}
