#!/bin/bash
# .ci/release.sh - rehearse a release: package the crate, and use and test the archive as its users will.
#
#   .ci/release.sh
#
# Everything happens in a temporary directory that contains only the unpacked archive, with the newest
# compiler and with Debian's Rust 1.85. Without the C shim, the crate has no dependency, so cargo runs with an
# empty home and without a network. With the C shim, cargo downloads `cc` from the registry.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source .ci/debian.sh

OLD=$ROOT/bin/rustc-bookworm
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

[ -x "$OLD" ] || bash .ci/cross.sh setup x86_64
rm -f target/package/rawpipe-*.crate
cargo package --allow-dirty
archive=$(ls target/package/rawpipe-*.crate)
tar -xzf "$archive" -C "$place"
crate=$(echo "$place"/rawpipe-*)
echo "result: archive | $(find "$crate" -type f | wc -l) files, $(($(wc -c < "$archive") / 1000)) KB"

# The archive must contain the sources of the checkout and both licences.
diff -r src "$crate/src"
cmp LICENSE-MIT "$crate/LICENSE-MIT"
cmp LICENSE-APACHE "$crate/LICENSE-APACHE"

with() { # NEW|OLD COMMAND...: runs the command with this compiler
  if [ "$1" = OLD ]; then
    RUSTC=$OLD RUSTDOC=${OLD/rustc/rustdoc} RAWPIPE_SKIP_187=1 CARGO_TARGET_DIR=$place/old "${@:2}"
  else
    CARGO_TARGET_DIR=$place/new "${@:2}"
  fi
}

bare() { # COMMAND...: runs the command with an empty home of cargo, and without the network if that is possible
  local alone=(unshare --net --map-root-user)
  "${alone[@]}" true 2> /dev/null || alone=()
  CARGO_HOME=$place/home CARGO_NET_OFFLINE=true "${alone[@]}" "$@"
}

use() { # NEW|OLD [FEATURES]: a new program with the README's first example
  local program=$place/$1-program
  rm -rf "$program"
  cargo new --quiet --vcs none --name newcomer "$program"
  awk '/^```/ && inside { exit } inside; /^```rust/ { inside = 1 }' README.md > "$program/src/main.rs"
  cd "$program"
  if [ $# -eq 1 ]; then
    bare cargo add --quiet --path "$crate"
    with "$1" bare cargo run --quiet < /dev/null
    [ "$(bare cargo tree --edges normal,build --prefix none | wc -l)" = 2 ] || die "the program has more packages than two"
  else
    cargo add --quiet --path "$crate" --features "$2"
    with "$1" cargo run --quiet < /dev/null
  fi
  cd "$TOP"
}

for compiler in NEW OLD; do
  version=$(with $compiler bash -c '"${RUSTC:-rustc}" --version' | cut -d ' ' -f 2)
  use $compiler
  use $compiler c-shim
  echo "result: a new program, rustc $version | both backends build and run"
  # An older rustdoc does not support all options of the newest cargo.
  tests=()
  [ $compiler = NEW ] || tests=(--lib --tests)
  for feature in full full,c-shim; do
    (cd "$crate" && with $compiler cargo test --features "$feature" "${tests[@]}") 2>&1 | tee "$place/log"
    read -r passed failed skipped < <(totals "$place/log")
    echo "result: the archive's tests, rustc $version, $feature | $passed passed, $failed failed, $skipped skipped"
  done
done

# docs.rs builds with the settings of the manifest, and with a nightly compiler.
cd "$crate"
export RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS="-D warnings --cfg docsrs" CARGO_TARGET_DIR=$place/new
cargo doc --no-deps --features full
[ -e "$place/new/doc/rawpipe/index.html" ]
unset RUSTC_BOOTSTRAP
cd "$TOP"
echo "result: documentation as on docs.rs | $(find "$place/new/doc/rawpipe" -name '*.html' | wc -l) pages, 0 warnings"

bash .ci/api.sh
echo "result: public interface | equal to the listing: $(wc -l < tests/api/full.txt) lines"
