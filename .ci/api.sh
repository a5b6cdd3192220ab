#!/bin/bash
# .ci/api.sh - the public interface as a listing, tests/api/*.txt, and that nothing in it changes by accident.
#
#   .ci/api.sh         compare the sources with the listings; each difference is printed, and fails
#   .ci/api.sh write   write the listings down, after a change that is meant: the commit then shows it
#
# The listings are cargo-public-api's, which is installed under target if it is not there, of the JSON that the stable
# rustdoc writes when it is told that it may. Left out is what the compiler derives for every type (tests/unforked/api.rs asserts
# Send and the like), and the methods of a trait below the line that says that it is implemented.
# The C shim must have the same interface as the assembly, and so has no listing of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VERSION=0.52.0 # reads what this year's compilers write

tools=$PWD/target/tools
if [ "$("$tools/bin/cargo-public-api" --version 2> /dev/null || true)" != "cargo-public-api $VERSION" ]; then
  # --debug: a third of the time, and it runs for a second
  CARGO_NET_OFFLINE=false CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet cargo-public-api --version "$VERSION" \
    --locked --debug --root "$tools" --target-dir "$tools/target"
  rm -rf "$tools/target"
fi

listing() { # OPTIONS of cargo
  RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS="--cap-lints allow" CARGO_TARGET_DIR=$PWD/target/api "$tools/bin/cargo-public-api" -ss --color never "$@" |
    awk '/^impl.*StructuralPartialEq for / { next }
         /^impl.* for / { of = $0; sub(/^.* for /, "", of); sub(/ where .*/, "", of); sub(/<.*/, "", of); print; next }
         /^impl/ { of = "" }
         of == "" || !match($0, / fn /) || index(substr($0, RSTART + 4), of) != 1'
}

status=0
compare() { # FILE OTHER NAME
  diff -U0 --label "$1" --label "$3" "$1" "$2" || status=1
}

new=$PWD/target/api/new
mkdir -p "$new"
listing --features full > "$new/full.txt"
listing --no-default-features > "$new/no-default-features.txt"
listing --features full,c-shim > "$new/shim"
for list in full no-default-features; do
  [ "${1:-}" != write ] || cp "$new/$list.txt" "tests/api/$list.txt"
  compare "tests/api/$list.txt" "$new/$list.txt" "the sources"
  echo "result: public interface | $list: $(wc -l < "$new/$list.txt") lines"
done
compare tests/api/full.txt "$new/shim" "the sources with the C shim"
[ "$status" = 0 ] || { echo "error: the public interface is not what tests/api says: .ci/api.sh write, if that is meant" >&2; exit 1; }
