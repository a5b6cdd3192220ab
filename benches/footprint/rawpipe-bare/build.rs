//! Sets linker flags that omit start files, libraries, the build id and unused sections. The flags also set a
//! fixed address, which avoids relocations, and order the sections as in `layout.ld`.
fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where");
    for flag in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none,--gc-sections",
        &format!("-Wl,-T,{folder}/layout.ld"),
    ] {
        println!("cargo::rustc-link-arg-bins={flag}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=layout.ld");
}
