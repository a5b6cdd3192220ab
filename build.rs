//! Chooses the backend: the assembly in `src/sys`, or `csrc/shim.c`, which this script compiles.

/// The architectures with assembly, for 64-bit pointers only: x32 and ilp32 pass arguments differently.
const ASSEMBLY: [&str; 3] = ["x86_64", "aarch64", "riscv64"];

fn main() -> Result<(), ()> {
    choose().map_err(|why| println!("cargo::error={why}"))
}

fn choose() -> Result<(), String> {
    println!("cargo::rustc-check-cfg=cfg(rawpipe_shim)\ncargo::rerun-if-changed=csrc/shim.c");
    if var("CARGO_CFG_TARGET_OS") != "linux" {
        return Err("rawpipe supports Linux only: it calls the kernel directly".to_owned());
    }
    let has_assembly = ASSEMBLY.contains(&&*var("CARGO_CFG_TARGET_ARCH"));
    if has_assembly && var("CARGO_CFG_TARGET_POINTER_WIDTH") == "64" && !cfg!(feature = "c-shim") {
        return Ok(());
    }
    // The prefix contains the version, so that two versions of the crate in one program share no symbol.
    let version = var("CARGO_PKG_VERSION").replace(|it: char| !it.is_alphanumeric(), "_");
    let prefix = format!("RAWPIPE_PREFIX=rawpipe_{version}_");
    println!("cargo::rustc-cfg=rawpipe_shim\ncargo::rustc-env={prefix}");
    compile(&format!("-D{prefix}"))
        .map_err(|why| format!("{} needs csrc/shim.c compiled: {why}", var("TARGET")))
}

/// Compiles the shim with the crate `cc`, which finds a compiler and its flags for any target.
#[cfg(feature = "c-shim")]
fn compile(prefix: &str) -> Result<(), String> {
    let mut cc = cc::Build::new();
    cc.file("csrc/shim.c").flag(prefix).std("c11").warnings(true).extra_warnings(true);
    let name = var("TARGET").replace('-', "_");
    let hint = format!("Install a C compiler for that target, or set CC_{name} to one");
    cc.try_compile("rawpipe_shim").map_err(|error| format!("{error}. {hint}"))
}

/// Compiles the shim without a crate, using the machine's own compiler, whose default flags suit this
/// machine.
#[cfg(not(feature = "c-shim"))]
fn compile(prefix: &str) -> Result<(), String> {
    const COMMANDS: &str = r#"set -ex; cc=${CC:-cc} ar=${AR:-ar}
        case $TARGET in i?86-*) cc="$cc -m32" ;; esac # as rustc links, on an x86_64 machine too
        $cc -std=c11 -O2 -fPIC -fdata-sections "$1" -c csrc/shim.c -o "$OUT_DIR/shim.o"
        $ar crs "$OUT_DIR/librawpipe_shim.a" "$OUT_DIR/shim.o""#;
    const NATIVE: &str = "install a C compiler and the C library's headers (Debian: gcc and \
        libc6-dev, Alpine: gcc, musl-dev and linux-headers), or set CC to a compiler";
    const CROSS: &str = "to build for another machine, write in Cargo.toml `rawpipe = \
        { version = \"0.1\", features = [\"c-shim\"] }`";
    if var("HOST") != var("TARGET") {
        return Err(CROSS.to_owned());
    }
    println!("cargo::rerun-if-env-changed=CC\ncargo::rerun-if-env-changed=AR");
    println!("cargo::rustc-link-lib=static=rawpipe_shim");
    println!("cargo::rustc-link-search=native={}", var("OUT_DIR"));
    let status = std::process::Command::new("sh").args(["-c", COMMANDS, "sh", prefix]).status();
    if status.is_ok_and(|it| it.success()) { Ok(()) } else { Err(NATIVE.to_owned()) }
}

fn var(name: &str) -> String {
    std::env::var(name).expect("cargo sets it")
}
