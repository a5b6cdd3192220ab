# .ci/debian.sh - shared functions, which the other scripts here source.
#
# The file contains the table of architectures. The functions download Debian's packages with a private apt,
# unpack them into one directory, and parse the output of cargo. Packages are downloaded from the mirror of
# this machine's apt, and none is installed. The dpkg database, /usr and rustup stay unchanged, and no
# function needs root.
#
# Settings (environment): CROSS_ROOT, the directory for all files (default target/cross); JOBS, for cargo
# (default: all cores).

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ROOT=$(realpath -m "${CROSS_ROOT:-$TOP/target/cross}")
JOBS=${JOBS:-$(nproc)}
LIB=x86_64-linux-gnu # the directory of shared libraries inside the unpacked packages
export CARGO_TERM_COLOR=never

# ARCH       Debian   GNU triple            Rust target                     qemu     features
TABLE='
x86_64       amd64    x86_64-linux-gnu      x86_64-unknown-linux-gnu        -        -
aarch64      arm64    aarch64-linux-gnu     aarch64-unknown-linux-gnu       aarch64  -
s390x        s390x    s390x-linux-gnu       s390x-unknown-linux-gnu         s390x    c-shim
armv7        armhf    arm-linux-gnueabihf   armv7-unknown-linux-gnueabihf   arm      c-shim
i686         i386     i686-linux-gnu        i686-unknown-linux-gnu          i386     c-shim
powerpc64le  ppc64el  powerpc64le-linux-gnu powerpc64le-unknown-linux-gnu   ppc64le  c-shim
riscv64      riscv64  riscv64-linux-gnu     riscv64gc-unknown-linux-gnu     riscv64  -
'

say() { printf '== %s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

arch() { # ARCH: sets deb gnu rust qemu features, which the caller declares as local
  local line
  line=$(grep "^$1 " <<<"$TABLE") || die "unknown architecture '$1'"
  # shellcheck disable=SC2034 # the caller uses them
  read -r _ deb gnu rust qemu features <<<"$line"
  [ "$features" != - ] || features=
}

release() { # DEB: prints the suite whose rustc has a std for it; both versions are 1.85
  if [ "$1" = riscv64 ]; then echo trixie; else echo bookworm; fi
}

usage() { # prints the comment at the top of the script
  sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
  exit 2
}

# ---------------------------------------------------------------- packages

lock() { # prevents two set-ups from unpacking into one directory at the same time
  mkdir -p "$ROOT/bin" "$ROOT/stamps"
  exec 9> "$ROOT/lock"
  flock 9
}

# Creates a private apt with separate lists and cache for each suite. Foreign architectures then do not need
# dpkg --add-architecture, and other suites need no line in this machine's sources.
suite() { # SUITE: makes apt use this suite from now on; SUITE-security: with its updates
  local d=$ROOT/apt/$1 signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]' mirror
  mirror=$(find /etc/apt -name '*.sources' -o -name '*.list' | sort | xargs cat |
    grep -oE '(^URIs: *|^deb .*)https?://[^ ]*/debian/?( |$)' | grep -oE 'https?://[^ ]*' | head -n 1 || true)
  [ -n "$mirror" ] || die "no Debian mirror in this machine's apt sources"
  mkdir -p "$d"/lists/partial "$d"/cache/archives/partial
  : > "$d/status"
  echo "deb $signed $mirror ${1%-security} main" > "$d/sources.list"
  [[ $1 != *-security ]] || echo "deb ${signed/]/ arch=amd64]} ${mirror%/}-security $1 main" >> "$d/sources.list"
  cat > "$d/apt.conf" <<E
APT::Architecture "amd64";
APT::Architectures { $(awk 'NF { print "\"" $2 "\";" }' <<<"$TABLE" | awk '!seen[$0]++') };
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::Check-Valid-Until "false";
Dir::State "$d";
Dir::State::lists "$d/lists";
Dir::State::status "$d/status";
Dir::Cache "$d/cache";
Dir::Etc::sourcelist "$d/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Debug::NoLocking "1";
E
  export APT_CONFIG=$d/apt.conf
  [ -e "$d/updated" ] || retry update
}

update() { # updates apt's lists; with --error-on=any, because a failed download is otherwise only a warning
  apt-get -qq --error-on=any update && touch "$(dirname "$APT_CONFIG")/updated"
}

# Retries a download with fresh lists, because networks fail and the lists of a kept directory become stale.
retry() { # COMMAND...
  local try
  for try in 1 2 3; do
    if "$@"; then return 0; fi
    say "try $try of 3 failed: $*"
    sleep $((try * 5))
    update || true
  done
  die "a download failed three times (the network, not the crate): $*"
}

missing() { # FOLDER PKG...: prints the packages that have no stamp yet
  local into=$1 p
  shift
  for p in "$@"; do
    [ -e "$ROOT/stamps/$into.$p" ] || echo "$p"
  done
}

unpack() { # FOLDER PKG...: downloads and unpacks missing packages, or only their files in UNPACK; after suite
  local into=$1 p f debs need
  debs=$(dirname "$APT_CONFIG")/debs
  mapfile -t need < <(missing "$@")
  [ ${#need[@]} -gt 0 ] || return 0
  say "unpack into $into: ${need[*]}"
  rm -rf "$debs"
  mkdir -p "$debs" "$ROOT/$into"
  cd "$debs"
  retry apt-get -qq download "${need[@]}"
  for f in *.deb; do dpkg-deb --fsys-tarfile "$f" | tar -x -C "$ROOT/$into" --wildcards ${UNPACK:-}; done
  cd "$TOP"
  for p in "${need[@]}"; do touch "$ROOT/stamps/$into.$p"; done
  rm -rf "$debs"
}

needed() { # PKG...: prints these and all their dependencies, including the C library; after suite
  apt-get --print-uris --no-install-recommends -qq install "$@" | awk '{ sub(/_.*/, "", $2); print $2 } END { exit !NR }' ||
    die "apt does not list the dependencies of: $*"
}

wrapper() { # NAME FOLDER PROGRAM [ARG]: writes a script that runs the program with the unpacked libraries
  local libs=$ROOT/$2/usr/lib/$LIB how
  how="LD_LIBRARY_PATH='$libs'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} exec"
  # the unpacked C library may be newer than the C library of this machine
  [ ! -e "$libs/ld-linux-x86-64.so.2" ] || how="exec '$libs/ld-linux-x86-64.so.2' --library-path '$libs'"
  printf '#!/bin/sh\n%s\n' "$how '$ROOT/$2/usr/bin/$3' ${4:+'$4' }\"\$@\"" > "$ROOT/bin/$1.new"
  chmod +x "$ROOT/bin/$1.new"
  mv "$ROOT/bin/$1.new" "$ROOT/bin/$1" # another process may be running it
}

# Sets valgrind to the command that starts it: the installed version, or else Debian's.
find_valgrind() {
  valgrind=valgrind
  if ! command -v valgrind > /dev/null; then
    lock
    suite bookworm
    unpack valgrind valgrind:amd64
    exec 9>&- # releases the lock
    valgrind="env VALGRIND_LIB=$ROOT/valgrind/usr/libexec/valgrind $ROOT/valgrind/usr/bin/valgrind.bin"
  fi
}

# ---------------------------------------------------------------- cargo for an architecture

exports() { # after arch: prints the lines that make cargo build for it
  local under=${rust//-/_} upper
  upper=${under^^}
  echo "export RUSTC='$ROOT/bin/rustc-$(release "$deb")' RUSTDOC='$ROOT/bin/rustdoc-$(release "$deb")'"
  echo "export CARGO_TARGET_DIR='$ROOT/target'"
  echo "export RAWPIPE_SKIP_187=1" # skips the examples that use std calls newer than this compiler
  echo "unset CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER"
  # Link statically, so that the same programs run under qemu-user and on another kernel without libraries. An
  # x86_64 kernel can then also run the programs for i686. Without debugging information the programs are
  # eight times smaller.
  echo "export RUSTFLAGS='-C target-feature=+crt-static' CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0"
  # Optimize slightly, with all checks enabled, because an emulated processor is slow. Only the benchmarks
  # have dependencies, which are not optimized.
  echo "cargo() { command cargo --config profile.dev.opt-level=1 --config 'profile.dev.package.\"*\".opt-level=0' \"\$@\"; }"
  [ "$qemu" != - ] || return 0
  echo "export CARGO_TARGET_${upper}_LINKER='$ROOT/bin/$gnu-gcc' CC_$under='$ROOT/bin/$gnu-gcc' AR_$under='$ROOT/bin/$gnu-ar'"
  if native; then
    echo "unset CARGO_TARGET_${upper}_RUNNER"
  else
    echo "export CARGO_TARGET_${upper}_RUNNER='$ROOT/qemu/usr/bin/qemu-$qemu-static'"
  fi
}

native() { # after arch: checks whether this machine's kernel runs its programs, as x86_64 usually does for i686
  [ "$qemu" = - ] || { [ "$qemu" = i386 ] && "$ROOT/bin/runs-$gnu" 2> /dev/null; }
}

enter() { # ARCH: makes cargo build for this architecture from now on; for use in a subshell
  arch "$1"
  [ -x "$ROOT/bin/rustc-$(release "$deb")" ] || die "run '.ci/cross.sh setup' first"
  [ "$qemu" = - ] || [ -x "$ROOT/bin/$gnu-gcc" ] || die "run '.ci/cross.sh setup $1' first"
  eval "$(exports)"
  cd "$TOP"
}

# Builds the examples before the tests, except speed, which needs a newer compiler. A test should not start a
# compiler under an emulator, and cannot do so on another kernel.
build_examples() { # ARGS of cargo build; after enter
  local examples
  mapfile -t examples < <(cd examples && ls -- *.rs | sed -n '/^speed/!s/^\(.*\)\.rs$/--example=\1/p')
  cargo build -j "$JOBS" --target "$rust" ${features:+--features "$features"} "${examples[@]}" "$@"
}

# ---------------------------------------------------------------- the output of cargo

programs() { # from cargo's JSON: prints "deps NAME PATH" for each test binary, "examples NAME PATH" for each example
  python3 -c '
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if m.get("executable") and m["target"]["kind"] != ["bench"]:
        if m["target"]["kind"] == ["example"] or m["profile"]["test"]:
            folder = "examples" if m["target"]["kind"] == ["example"] else "deps"
            print(folder, m["target"]["name"], m["executable"])' | sort -u
}

totals() { # LOG: sums "test result: ok. 12 passed; 0 failed; 1 ignored; ..." over all test binaries, and counts the
  # tests that report being skipped in whole or in part
  awk '
    /^test result: / { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i - 1)
                                                   if ($i ~ /^failed/) f += $(i - 1) } }
    match($0, /SKIPPED [a-z0-9_]+: /) { s[substr($0, RSTART, RLENGTH)] }
    END { print p + 0, f + 0, length(s) }' "$1"
}
