//! Compiles `csrc/shim.c` when feature `c-shim` asks for it; does nothing otherwise.

fn main() {
    #[cfg(feature = "c-shim")]
    {
        let version = std::env::var("CARGO_PKG_VERSION").expect("cargo sets CARGO_PKG_VERSION");
        // As `sys::symbol!` spells it: two versions of the crate in one program share no symbol.
        let (numbers, _) = version.split_once('-').unwrap_or((&version, ""));
        let prefix = format!("rawpipe_{}_", numbers.replace('.', "_"));
        cc::Build::new()
            .file("csrc/shim.c")
            .std("c11")
            .warnings(true)
            .extra_warnings(true)
            .define("RAWPIPE_PREFIX", prefix.as_str())
            .compile("rawpipe_shim");
        println!("cargo::rerun-if-changed=csrc/shim.c");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
