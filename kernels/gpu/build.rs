//! Has the shaders written that `src/shaders.rs` includes.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = env::var_os("OUT_DIR").expect("cargo names the folder for what a build makes");
    let path = Path::new(&folder).join("shaders.rs");
    fs::write(&path, codegen::wgsl::rust())
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
