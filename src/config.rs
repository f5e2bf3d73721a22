//! Settings from ROS 2 parameter files, read with serde_yaml into the modules' own typed structs.
//!
//! The nodes turn the parameters that ROS hands them into the same tree ([`insert`]) and read it with the same
//! [`read`], so that a file, `--params-file`, `-p key:=value` and `ros2 param set` share one validation and one
//! wording of its errors.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};
use std::path::Path;

/// Parameters of the ROS shell that belong to no module: the clock, and the path of the robot description.
const OF_EVERY_NODE: [&str; 2] = ["use_sim_time", "urdf"];

/// Reads the settings of `node` from a parameter file: those under `/**`, overridden by those under the node's name.
pub fn read_file<T: DeserializeOwned>(path: &Path, node: &str) -> Result<T> {
    read_file_with(path, node, &[])
}

/// As [`read_file`], with `overrides` on top: dotted keys and values in YAML, as `-p key:=value` gives them to a node.
pub fn read_file_with<T: DeserializeOwned>(
    path: &Path,
    node: &str,
    overrides: &[(&str, String)],
) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let file = path.display().to_string();
    let mut tree = sections(&text, &file, node)?;
    for (key, value) in overrides {
        let value = serde_yaml::from_str(value).map_err(|error| Error::Config {
            file: file.clone(),
            key: format!("{node}.{key}"),
            problem: error.to_string(),
        })?;
        insert(&mut tree, key, value);
    }
    read(tree, &file, node)
}

/// Whether a parameter file has a section for `node`: which robot it is for.
pub fn has_section(path: &Path, node: &str) -> Result<bool> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let tree: std::result::Result<Value, _> = serde_yaml::from_str(&text);
    // what is wrong with a file is said by whoever reads a section of it
    let has_it =
        |tree: Value| tree.as_mapping().is_some_and(|nodes| nodes.keys().any(|key| is_of(key, node)));
    Ok(tree.is_ok_and(has_it))
}

/// As [`read_file`], from the text of the file.
pub fn read_text<T: DeserializeOwned>(text: &str, file: &str, node: &str) -> Result<T> {
    read(sections(text, file, node)?, file, node)
}

/// Whether this is the key of a section for `node`, in whatever namespace: `controller`, `/controller`, `/left/controller`.
fn is_of(key: &Value, node: &str) -> bool {
    key.as_str().is_some_and(|key| key.rsplit('/').next() == Some(node))
}

/// What the sections of a file say to `node`, as one tree.
fn sections(text: &str, file: &str, node: &str) -> Result<Value> {
    let invalid = |key: &str, problem: String| Error::Config { file: file.into(), key: key.into(), problem };
    let tree: Value = serde_yaml::from_str(text).map_err(|error| invalid("YAML", error.to_string()))?;
    let nodes = tree.as_mapping().ok_or_else(|| invalid("/", "found no mapping from node names".into()))?;
    let mut merged = Value::Mapping(Mapping::new());
    let of_all = nodes.iter().filter(|(key, _)| key.as_str() == Some("/**"));
    for (section, content) in of_all.chain(nodes.iter().filter(|(key, _)| is_of(key, node))) {
        let parameters = content.get("ros__parameters").and_then(Value::as_mapping).ok_or_else(|| {
            invalid(
                section.as_str().unwrap_or(node),
                "found no mapping 'ros__parameters', expected <node>: ros__parameters: ...".into(),
            )
        })?;
        insert_mapping(&mut merged, "", parameters);
    }
    Ok(merged)
}

/// Turns a tree of parameters into `T`; the error names the file (or node), the key, what was found and expected.
pub fn read<T: DeserializeOwned>(mut tree: Value, file: &str, node: &str) -> Result<T> {
    if let Some(mapping) = tree.as_mapping_mut() {
        OF_EVERY_NODE.iter().for_each(|key| drop(mapping.remove(*key)));
    }
    serde_path_to_error::deserialize(tree).map_err(|error| Error::Config {
        file: file.into(),
        key: format!("{node}.{}", error.path()),
        problem: error.inner().to_string(),
    })
}

/// Puts `value` at the dotted `key` of `tree`, making the mappings on the way.
pub fn insert(tree: &mut Value, key: &str, value: Value) {
    let mut place = tree;
    for part in key.split('.') {
        if !place.is_mapping() {
            *place = Value::Mapping(Mapping::new());
        }
        let Value::Mapping(mapping) = place else { return };
        place = mapping.entry(part.into()).or_insert(Value::Null);
    }
    *place = value;
}

/// The leaves of `tree` with their dotted keys, in the tree's order. Lists are leaves.
pub fn leaves(tree: &Value) -> Vec<(String, Value)> {
    fn collect(prefix: &str, value: &Value, out: &mut Vec<(String, Value)>) {
        match value {
            Value::Mapping(mapping) => {
                for (key, value) in mapping {
                    let key = key.as_str().unwrap_or_default();
                    let key = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
                    collect(&key, value, out);
                }
            }
            leaf => out.push((prefix.to_owned(), leaf.clone())),
        }
    }
    let mut out = Vec::new();
    collect("", tree, &mut out);
    out
}

/// Inserts a mapping leaf by leaf, so that later sections override single settings and dotted keys are understood.
fn insert_mapping(tree: &mut Value, prefix: &str, mapping: &Mapping) {
    for (key, value) in leaves(&Value::Mapping(mapping.clone())) {
        insert(tree, &format!("{prefix}{key}"), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::BaseControllerConfig;
    use crate::control_loop::ControllerConfig;
    use crate::learner::LearnerConfig;
    use crate::predictor::{BasePredictorParameters, PredictorParameters};

    fn controller(text: &str) -> Result<ControllerConfig> {
        read_text(text, "arm.yaml", "controller")
    }

    #[test]
    fn sections_are_merged_and_dotted_keys_understood() {
        let text = "/**:\n  ros__parameters:\n    use_sim_time: true\n    authority: 0.1\n\
                    controller:\n  ros__parameters:\n    authority: 0.5\n    gains.joint1.p: 10\n    \
                    gains:\n      joint1: {d: 1.5}\n";
        let config = controller(text).expect("valid");
        assert_eq!(config.authority, 0.5);
        assert_eq!((config.gains["joint1"].p, config.gains["joint1"].d), (10.0, 1.5));
    }

    #[test]
    fn a_section_is_known_by_its_node_in_whatever_namespace() {
        for key in ["controller", "/controller", "/left/controller", "/**/controller"] {
            let text = format!(
                "{key}: {{ros__parameters: {{authority: 0.5}}}}\n/**: {{ros__parameters: {{authority: 0.1}}}}\n"
            );
            assert_eq!(controller(&text).expect("valid").authority, 0.5, "{key}");
        }
        let other = controller("base_controller: {ros__parameters: {authority: 0.5}}").expect("valid");
        assert_eq!(other.authority, ControllerConfig::default().authority);
    }

    #[test]
    fn errors_name_file_key_found_and_expected() {
        let text = "controller:\n  ros__parameters:\n    gains: {joint1: {p: high, d: 1}}\n";
        let error = controller(text).expect_err("p is no number").to_string();
        for part in ["arm.yaml", "controller.gains.joint1.p", "\"high\"", "f64"] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
        let text = "controller:\n  ros__parameters:\n    authorty: 0.5\n";
        let error = controller(text).expect_err("misspelt").to_string();
        for part in ["authorty", "authority"] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
        let error = controller("controller: {authority: 1}").expect_err("no ros__parameters").to_string();
        assert!(error.contains("ros__parameters"), "{error}");
    }

    #[test]
    fn leaves_and_insert_are_inverse() {
        let mut tree = Value::Null;
        insert(&mut tree, "a.b", 1.into());
        insert(&mut tree, "a.c", "x".into());
        let keys: Vec<_> = leaves(&tree).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a.b", "a.c"]);
    }

    #[test]
    fn every_parameter_is_documented() {
        let text = include_str!("../docs/parameters.md");
        let sections: Vec<&str> = text.split("\n## ").collect();
        let documented = |node: &str, config: Value| {
            let section = sections.iter().find(|section| section.starts_with(&format!("{node}\n")));
            let section = section.expect("a section for each node");
            for (key, _) in leaves(&config) {
                assert!(
                    section.contains(&format!("\n| `{key}` |")),
                    "{node}.{key} is not in docs/parameters.md"
                );
            }
        };
        documented("controller", serde_yaml::to_value(ControllerConfig::default()).expect("plain"));
        documented("predictor", serde_yaml::to_value(PredictorParameters::default()).expect("plain"));
        documented("learner", serde_yaml::to_value(LearnerConfig::default()).expect("plain"));
        documented("base_controller", serde_yaml::to_value(BaseControllerConfig::default()).expect("plain"));
        documented(
            "base_predictor",
            serde_yaml::to_value(BasePredictorParameters::default()).expect("plain"),
        );
        #[cfg(all(feature = "ros", feature = "sim"))]
        {
            use crate::ros::base_simulator::BaseSimulatorConfig;
            use crate::ros::simulator::SimulatorConfig;
            documented("simulator", serde_yaml::to_value(SimulatorConfig::default()).expect("plain"));
            documented(
                "base_simulator",
                serde_yaml::to_value(BaseSimulatorConfig::default()).expect("plain"),
            );
        }
    }
}
