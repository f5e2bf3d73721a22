//! Lets the programs find the libmujoco that they were linked with, and says which optional message packages there are.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MUJOCO_DYNAMIC_LINK_DIR");
    println!("cargo::rerun-if-env-changed=AMENT_PREFIX_PATH");
    let prefixes = env::var("AMENT_PREFIX_PATH").unwrap_or_default();
    for package in ["control_msgs", "nav2_msgs", "tf2_msgs"] {
        println!("cargo::rustc-check-cfg=cfg({package})");
        if prefixes.split(':').any(|prefix| Path::new(prefix).join("share").join(package).is_dir()) {
            println!("cargo::rustc-cfg={package}");
        }
    }
    if env::var_os("CARGO_FEATURE_SIM").is_some()
        && let Ok(folder) = env::var("MUJOCO_DYNAMIC_LINK_DIR")
    {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
