#!/bin/bash
# .ci/cross.sh - build and test the crate with the oldest supported compiler, on this and other architectures.
#
#   .ci/cross.sh setup [ARCH...]   download and unpack missing packages
#   .ci/cross.sh test [ARCH...]    set up, then run cargo test for each architecture, under qemu-user if this
#                                  machine cannot run its programs
#   .ci/cross.sh check [ARCH...]   set up, then compile the tests, and the documentation without warnings
#   .ci/cross.sh env ARCH          print the exports for using cargo directly, for example with
#                                  eval "$(.ci/cross.sh env s390x)"
#   .ci/cross.sh refuses           check that a target without a backend fails with an error that names the
#                                  feature
#   .ci/cross.sh sve               check that the aarch64 backend builds for a machine with SVE
#
# ARCH is one of the first words of TABLE in .ci/debian.sh, which also describes the settings. The default is
# DEFAULT. Programs for i686 run without an emulator if this machine's kernel supports them.
#
# Debian 12 has rustc 1.85 in the package rustc-web, and a std of the same build for every architecture. The
# build must be the same, because a std works only with the compiler that built it. Debian 13 also has rustc
# 1.85 with a std for every architecture, including riscv64.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/debian.sh"

DEFAULT="x86_64 aarch64 riscv64 s390x armv7 i686 powerpc64le"

compiler() { # SUITE DEB...: unpacks rustc, and std for these architectures
  local from=$1 web= version series pkgs more
  [ "$from" != bookworm ] || web=-web
  # Keep the version of an unpacked compiler, because packages that are added later must come from the same
  # build.
  if [ ! -s "$ROOT/version-$from" ]; then
    suite "$from"
    version=$(apt-cache madison "rustc$web" | awk 'NR == 1 { print $3 }')
    [ -n "$version" ] || die "no rustc$web in this machine's Debian"
    echo "$version" > "$ROOT/version-$from"
  fi
  version=$(cat "$ROOT/version-$from")
  series=$(grep -oE '^[0-9]+\.[0-9]+' <<<"$version")
  mapfile -t pkgs < <(printf "libstd-rust$web-dev:%s=$version\n" amd64 "${@:2}" | sort -u)
  pkgs+=("rustc$web:amd64=$version")
  if [ -n "$(missing "rust-$from" "${pkgs[@]}")" ]; then
    suite "$from"
    more=$(needed "libstd-rust$web-$series=$version")
    mapfile -t -O ${#pkgs[@]} pkgs <<<"$more"
    unpack "rust-$from" "${pkgs[@]}"
  fi
  wrapper "rustc-$from" "rust-$from" rustc
  wrapper "rustdoc-$from" "rust-$from" rustdoc
}

setup() { # ARCH...
  local a deb gnu rust qemu features pkgs
  lock
  for a in "$@"; do
    arch "$a"
    compiler "$(release "$deb")" "$deb"
    [ "$qemu" != - ] || continue
    pkgs=("binutils-$gnu" "gcc-12-$gnu" "cpp-12-$gnu" "libgcc-12-dev-$deb-cross" "libgcc-s1-$deb-cross"
      "libc6-$deb-cross" "libc6-dev-$deb-cross" "linux-libc-dev-$deb-cross")
    if [ -n "$(missing gcc "${pkgs[@]}" && missing qemu qemu-user-static:amd64)" ]; then
      suite bookworm
      unpack gcc "${pkgs[@]}"
      unpack qemu qemu-user-static:amd64
    fi
    # --sysroot is needed because the linker script of libc contains absolute paths
    wrapper "$gnu-gcc" gcc "$gnu-gcc-12" "--sysroot=$ROOT/gcc"
    wrapper "$gnu-ar" gcc "$gnu-ar"
    wrapper "$gnu-strip" gcc "$gnu-strip"
    [ -x "$ROOT/bin/runs-$gnu" ] || # for native programs
      echo 'int main(void) { return 0; }' | "$ROOT/bin/$gnu-gcc" -static -x c - -o "$ROOT/bin/runs-$gnu"
  done
  exec 9>&- # releases the lock
  say "rustc $(cat "$ROOT"/version-* | xargs) for $*"
}

test_one() { # ARCH
  local start=$SECONDS log=$ROOT/test-$1.log status=0 passed failed skipped how deb gnu rust qemu features
  arch "$1"
  how="qemu-user"
  native && how="this kernel, $(uname -r)"
  say "$1: cargo test --target $rust${features:+ --features $features}, on $how"
  # doctests are omitted, because cargo passes options that rustdoc 1.85 does not support
  (
    enter "$1" && # errexit is off here, because the status is checked below
      build_examples &&
      cargo test -j "$JOBS" --target "$rust" ${features:+--features "$features"} --no-fail-fast --lib --tests
  ) 2>&1 | tee "$log" || status=$?
  read -r passed failed skipped < <(totals "$log")
  results+=("result: $1 ($how) | $passed passed, $failed failed, $skipped skipped in $((SECONDS - start)) s")
  [ "$status" = 0 ] && [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

test_all() { # ARCH...
  local a bad=() results=()
  for a in "$@"; do
    test_one "$a" || bad+=("$a")
  done
  printf '%s\n' "${results[@]}"
  [ ${#bad[@]} -eq 0 ] || die "tests failed (or none ran): ${bad[*]}"
}

check_all() { # ARCH...
  local a deb gnu rust qemu features
  for a in "$@"; do
    say "$a: the tests and the documentation compile"
    (
      enter "$a"
      cargo check -j "$JOBS" --target "$rust" ${features:+--features "$features"} --lib --tests
      RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --target "$rust" --features "full${features:+,$features}"
    )
  done
}

refuses() {
  local out=$ROOT/refuses.log
  if (enter s390x && cargo check -j "$JOBS" --lib --target s390x-unknown-linux-gnu) > "$out" 2>&1; then
    die "the crate builds for s390x without c-shim, although no backend exists for it"
  fi
  # The build script prints "error: ". rustc's own notes, which may also name the feature, follow
  # "error[E...]".
  grep '^error: ' "$out" | grep -F 'features = ["c-shim"]' || { cat "$out"; die "the error does not name c-shim"; }
  say "the build for s390x without c-shim fails, and the error names the feature"
}

sve() ( # builds instead of checking, because only the assembler checks the instructions
  enter aarch64
  export CARGO_TARGET_DIR=$ROOT/target-sve RUSTFLAGS="-C target-feature=+sve"
  cargo build -j "$JOBS" --lib --target aarch64-unknown-linux-gnu
  say "aarch64 builds with SVE"
)

cmd=${1:-}
shift || true
case $cmd in
  setup | test | check) # rejects an unknown name before any download or run
    [ $# -gt 0 ] || read -ra list <<<"$DEFAULT"
    [ $# -eq 0 ] || list=("$@")
    for a in "${list[@]}"; do arch "$a"; done
    setup "${list[@]}"
    [ "$cmd" = setup ] || "${cmd}_all" "${list[@]}"
    ;;
  env) arch "${1:?which architecture}"; exports ;;
  refuses | sve) "$cmd" ;;
  *) usage ;;
esac
