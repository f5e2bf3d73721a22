//! Lets the programs find the libmujoco that they were linked with, and says which optional message packages there are.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MUJOCO_DYNAMIC_LINK_DIR");
    println!("cargo::rerun-if-env-changed=AMENT_PREFIX_PATH");
    println!("cargo::rustc-check-cfg=cfg(tf2_msgs)");
    let prefixes = env::var("AMENT_PREFIX_PATH").unwrap_or_default();
    if prefixes.split(':').any(|prefix| Path::new(prefix).join("share/tf2_msgs").is_dir()) {
        println!("cargo::rustc-cfg=tf2_msgs");
    }
    if env::var_os("CARGO_FEATURE_SIM").is_some()
        && let Ok(folder) = env::var("MUJOCO_DYNAMIC_LINK_DIR")
    {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
