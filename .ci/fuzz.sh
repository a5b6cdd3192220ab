#!/bin/bash
# .ci/fuzz.sh - run the fuzz targets: bash .ci/fuzz.sh [SECONDS] [TARGET...]
#
# Runs every target, or the named targets, for SECONDS (default 600) each, with the corpus in fuzz/corpus.
# Fails at the first finding and prints the path of the input. New inputs stay under target; `cargo fuzz cmin`
# reduces them for fuzz/corpus.
#
# Needs a nightly toolchain of rustup and a C++ compiler. cargo-fuzz is installed under target if it is missing.
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

# cargo-fuzz passes the toolchain to cargo only through the environment.
export RUSTUP_TOOLCHAIN=nightly
triple=$(rustc -vV | sed -n 's/^host: //p')
for target in "${targets[@]}"; do
  "$tool" fuzz build --fuzz-dir fuzz --target-dir "$work" --target "$triple" "$target"
done

# The targets create files in this directory. A child that runs as another user must be able to read its
# program.
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
chmod 755 "$TMPDIR"

for target in "${targets[@]}"; do
  program=$work/$triple/release/$target corpus=fuzz/corpus/$target new=$work/corpus/$target
  artifacts=$work/artifacts/$target log=$work/$target.log status=0 start=$SECONDS
  mkdir -p "$new" "$artifacts" "$corpus"
  rm -f "$artifacts"/* # deletes inputs of earlier runs
  # The fuzzer writes new inputs to the first directory.
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
