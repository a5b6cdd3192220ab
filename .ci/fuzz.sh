#!/bin/bash
# .ci/fuzz.sh - run the fuzz targets: bash .ci/fuzz.sh [SECONDS] [TARGET...]
#
# Every target, or those that are named, for so many seconds (600) each, from the corpus in fuzz/corpus. Fails at the
# first finding and says where the input is that shows it. What is new in the corpus stays under target; `cargo fuzz
# cmin` makes it small enough for fuzz/corpus.
#
# Needs a nightly toolchain of rustup and a C++ compiler; cargo-fuzz is installed under target if it is not there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source .ci/debian.sh

VERSION=0.13.2

seconds=${1:-600}
shift || true
mapfile -t targets < <(cd fuzz/fuzz_targets && ls -d */ | tr -d /)
[ $# = 0 ] || targets=("$@")

work=$PWD/target/fuzz
tool=$work/tools/bin/cargo-fuzz
if [ "$("$tool" --version 2> /dev/null || true)" != "cargo-fuzz $VERSION" ]; then
  cargo install cargo-fuzz --version "$VERSION" --locked --root "$work/tools" --target-dir "$work/tools/target"
  rm -rf "$work/tools/target"
fi

# It passes the name of a toolchain on to cargo only by its environment.
export RUSTUP_TOOLCHAIN=nightly
triple=$(rustc -vV | sed -n 's/^host: //p')
for target in "${targets[@]}"; do
  "$tool" fuzz build --fuzz-dir fuzz --target-dir "$work" --target "$triple" "$target"
done

# The targets make their files there. A child that has become another user has to find its program in it.
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
chmod 755 "$TMPDIR"

for target in "${targets[@]}"; do
  program=$work/$triple/release/$target corpus=fuzz/corpus/$target new=$work/corpus/$target
  artifacts=$work/artifacts/$target log=$work/$target.log status=0 start=$SECONDS
  mkdir -p "$new" "$artifacts" "$corpus"
  rm -f "$artifacts"/* # an input of an earlier run is no finding of this one
  # The first folder is the one that new inputs are written to.
  "$program" "$new" "$corpus" "-artifact_prefix=$artifacts/" "-max_total_time=$seconds" -timeout=120 \
    -max_len=1024 -len_control=0 -print_final_stats=1 > "$log" 2>&1 || status=$?
  found=$(find "$artifacts" -type f -print -quit)
  if [ "$status" != 0 ] || [ -n "$found" ]; then
    grep -v -e '^#' -e NEW_FUNC "$log" | tail -n 80 || true
    die "a finding of $target (exit status $status, the log $log); again: TMPDIR=/tmp $program $found"
  fi
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  [ "${runs:-0}" -gt 0 ] || die "$target executed nothing: see $log"
  echo "result: fuzz $target | $runs executions in $((SECONDS - start)) s, 0 findings"
done
