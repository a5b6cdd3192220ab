#!/bin/bash
# .ci/api.sh - list the public interface in tests/api/*.txt, and check that it does not change
# unintentionally.
#
#   .ci/api.sh         compare the sources with the listings; print each difference, and fail if any exists
#   .ci/api.sh write   update the listings after an intended change
#
# cargo-public-api writes the listings. It is installed under target if it is missing. It reads the JSON of
# the stable rustdoc, which requires RUSTC_BOOTSTRAP. The listings omit the methods of implemented traits, and
# the traits that the compiler derives for every type (tests/unforked/api.rs asserts Send and others). The C
# shim must have the same interface as the assembly, so it needs no separate listing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VERSION=0.52.0 # this version reads the format of current compilers

tools=$PWD/target/tools
if [ "$("$tools/bin/cargo-public-api" --version 2> /dev/null || true)" != "cargo-public-api $VERSION" ]; then
  # --debug compiles in a third of the time, and the tool runs for only a second
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
[ "$status" = 0 ] || { echo "error: the public interface differs from tests/api; if that is intended, run .ci/api.sh write" >&2; exit 1; }
