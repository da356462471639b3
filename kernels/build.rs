//! Has the constants and the vector code written that `src` includes.

use std::{env, fs, path::Path};

use codegen::Unit;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(force_portable)");
    let folder = env::var_os("OUT_DIR").expect("cargo names the folder for what a build makes");
    let files = [
        ("initial.rs", codegen::initial_state()),
        ("round.rs", codegen::round_constants()),
        ("layout.rs", codegen::layout()),
        ("rows.rs", codegen::rows()),
        ("avx512.rs", codegen::rust(Unit::Avx512)),
        ("avx2.rs", codegen::rust(Unit::Avx2)),
        ("sha_ni.rs", codegen::sha_ni::rust()),
        ("probe_avx512.rs", codegen::probe::vectors(Unit::Avx512)),
        ("probe_avx2.rs", codegen::probe::vectors(Unit::Avx2)),
        ("probe.rs", codegen::probe::scalars()),
    ];
    for (name, text) in files {
        let path = Path::new(&folder).join(name);
        fs::write(&path, text)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
}
