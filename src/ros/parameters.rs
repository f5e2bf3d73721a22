//! Parameters of a node as a typed, validated config: one tree for files, command line and `ros2 param set`.

use crate::config;
use crate::error::{Error, Result};
use r2r::indexmap::IndexMap;
use r2r::{Parameter, ParameterValue, RosParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_yaml::Value;

/// A config that can be checked beyond its types.
pub trait Validate {
    /// Parameters, or groups of them, that take effect when they are set at run time. Setting others is refused.
    const LIVE: &'static [&'static str];

    fn validate(&self) -> Result<()>;
}

/// The parameters of one node, always valid as a `T`.
pub struct Parameters<T> {
    node: String,
    tree: Value,
    config: T,
}

impl<T: Validate + Serialize + DeserializeOwned> Parameters<T> {
    /// From what rcl was given by files and command line; everything else has its default.
    pub fn new(node: &str, overrides: &IndexMap<String, Parameter>) -> Result<Self> {
        let mut tree = Value::Mapping(Default::default());
        for (key, parameter) in overrides {
            config::insert(&mut tree, key, to_yaml(&parameter.value));
        }
        let config = Self::check(node, tree)?;
        let tree = serde_yaml::to_value(&config).map_err(|error| Error::Ros(error.to_string()))?;
        Ok(Self { node: node.into(), tree, config })
    }

    pub fn config(&self) -> &T {
        &self.config
    }

    fn check(node: &str, tree: Value) -> Result<T> {
        let source = format!("parameters of node '{node}'");
        let config: T = config::read(tree, &source, node)?;
        config.validate().map_err(|error| match error {
            Error::Mismatch { what, found, expected } => Error::Config {
                file: source,
                key: format!("{node}.{what}"),
                problem: format!("found {found}, expected {expected}"),
            },
            other => other,
        })?;
        Ok(config)
    }

    /// The config as it would be with `name` set to `value`.
    fn with(&self, name: &str, value: &ParameterValue) -> std::result::Result<T, String> {
        let known = config::leaves(&self.tree).iter().any(|(key, _)| key == name);
        if !known {
            return Err(format!("node '{}' has no parameter '{name}'", self.node));
        }
        let is_in = |group: &&str| {
            name == *group || name.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'))
        };
        if !T::LIVE.iter().any(is_in) {
            let live = T::LIVE.join(", ");
            return Err(format!(
                "it is read at the start only; set it there and restart (at run time: {live})"
            ));
        }
        let mut tree = self.tree.clone();
        config::insert(&mut tree, name, to_yaml(value));
        Self::check(&self.node, tree).map_err(|error| error.to_string())
    }
}

impl<T: Validate + Serialize + DeserializeOwned> RosParams for Parameters<T> {
    fn register_parameters(
        &mut self,
        _prefix: &str,
        _parameter: Option<Parameter>,
        parameters: &mut IndexMap<String, Parameter>,
    ) -> r2r::Result<()> {
        for (key, value) in config::leaves(&self.tree) {
            parameters.insert(key, Parameter::new(from_yaml(&value)));
        }
        Ok(())
    }

    fn get_parameter(&mut self, name: &str) -> r2r::Result<ParameterValue> {
        let leaf = config::leaves(&self.tree).into_iter().find(|(key, _)| key == name);
        leaf.map(|(_, value)| from_yaml(&value))
            .ok_or_else(|| r2r::Error::InvalidParameterName { name: name.to_owned() })
    }

    fn set_parameter(&mut self, name: &str, value: &ParameterValue) -> r2r::Result<()> {
        self.config = self.with(name, value).map_err(|reason| refused(name, reason))?;
        self.tree = serde_yaml::to_value(&self.config).map_err(|error| refused(name, error.to_string()))?;
        Ok(())
    }

    fn check_parameter(&self, name: &str, value: &ParameterValue) -> r2r::Result<()> {
        self.with(name, value).map(drop).map_err(|reason| refused(name, reason))
    }
}

fn refused(name: &str, reason: String) -> r2r::Error {
    // The only error of r2r's that carries a text of ours.
    r2r::Error::ParameterValueConv { name: name.into(), msg: reason }
}

fn to_yaml(value: &ParameterValue) -> Value {
    fn list<T: Clone + Into<Value>>(values: &[T]) -> Value {
        Value::Sequence(values.iter().cloned().map(Into::into).collect())
    }
    match value {
        ParameterValue::NotSet => Value::Null,
        ParameterValue::Bool(value) => (*value).into(),
        ParameterValue::Integer(value) => (*value).into(),
        ParameterValue::Double(value) => (*value).into(),
        ParameterValue::String(value) => value.as_str().into(),
        ParameterValue::BoolArray(values) => list(values),
        ParameterValue::ByteArray(values) => list(values),
        ParameterValue::IntegerArray(values) => list(values),
        ParameterValue::DoubleArray(values) => list(values),
        ParameterValue::StringArray(values) => list(values),
    }
}

fn from_yaml(value: &Value) -> ParameterValue {
    match value {
        Value::Null | Value::Mapping(_) | Value::Tagged(_) => ParameterValue::NotSet,
        Value::Bool(value) => ParameterValue::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => ParameterValue::Integer(integer),
            None => ParameterValue::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => ParameterValue::String(text.clone()),
        Value::Sequence(values) => list_from_yaml(values),
    }
}

fn list_from_yaml(values: &[Value]) -> ParameterValue {
    if values.iter().all(Value::is_i64) && !values.is_empty() {
        ParameterValue::IntegerArray(values.iter().filter_map(Value::as_i64).collect())
    } else if values.iter().all(Value::is_string) {
        let texts = values.iter().filter_map(Value::as_str).map(str::to_owned);
        ParameterValue::StringArray(texts.collect())
    } else if values.iter().all(Value::is_bool) {
        ParameterValue::BoolArray(values.iter().filter_map(Value::as_bool).collect())
    } else {
        ParameterValue::DoubleArray(values.iter().filter_map(Value::as_f64).collect())
    }
}
