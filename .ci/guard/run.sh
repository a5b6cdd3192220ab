#!/bin/bash
# .ci/guard/run.sh - count the instructions of the hot calls, and check that they are inlined to the trap.
#
#   .ci/guard/run.sh          compare with .ci/guard/expected.txt; fail if a count exceeds it by more than TOLERANCE
#   .ci/guard/run.sh --write  store the counts as the expected ones
#
# Callgrind counts the instructions of .ci/guard/counts.rs. The counts do not depend on other load on the
# machine. They depend on the inlining of the compiler and on the C library, which copies and allocates.
# Therefore a tolerance applies. The shapes are checked in the compiler's assembly for x86_64 and aarch64.
# `read` and `write` must have one trap followed by one comparison and one jump, and no call.
#
# Needs an x86_64 machine. valgrind is unpacked under target if it is missing; .ci/cross.sh provides std for
# aarch64.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../debian.sh"

HERE=$TOP/.ci/guard
TOLERANCE=5 # percent, plus two instructions
TURNS=100 # the same value as in counts.rs
out=$ROOT/guard
mkdir -p "$out"

guard() { # COMMAND ARGS of cargo
  cargo "$1" --quiet --locked --manifest-path "$HERE/Cargo.toml" --target-dir "$out/target" --release "${@:2}"
}

# ---------------------------------------------------------------- shapes

assembly() { # TARGET: prints the name of the file
  guard rustc --lib --target "$1" -- --emit "asm=$out/$1.s" >&2
  echo "$out/$1.s"
}

shape() { # LISTING TRAP CALL: checks the instructions, which TRAP and CALL name
  local name body found
  for name in read write; do
    body=$(sed -n "/^shape_$name:/,/^\.Lfunc_end/p" "$1")
    found="$(of "$2") trap, $(of 'cmp[bwlq]?|cmn|test[bwlq]?|tst') comparison, $(of 'j([^m][a-z]*)|b\.[a-z]+|cbn?z|tbn?z') jump, $(of "$3") calls"
    echo "result: $name in $(basename "$1") | $found, $(of '[a-z][a-z.]*') instructions in all"
    [ "$found" = "1 trap, 1 comparison, 1 jump, 0 calls" ] || die "$name is more than the trap and one comparison: $body"
  done
}

of() { grep -cE "^	($1)([[:space:]]|$)" <<< "$body" || true; }

bash "$TOP/.ci/cross.sh" setup aarch64
shape "$(assembly x86_64-unknown-linux-gnu)" syscall 'call[a-z]?'
# Use the compiler that has this architecture's std.
shape "$(enter aarch64 && assembly aarch64-unknown-linux-gnu)" svc 'blr?'

# ---------------------------------------------------------------- counts

find_valgrind
guard build --bin counts
mapfile -t names < <(sed -n 's/^fn counted_\([a-z0-9]*\)(.*/\1/p' "$HERE/counts.rs")
: > "$out/counts"
for name in "${names[@]}"; do
  # shellcheck disable=SC2086 # the variable holds several words
  $valgrind --tool=callgrind "--toggle-collect=counted_$name" "--callgrind-out-file=$out/$name" \
    "$out/target/release/counts" > "$out/log" 2>&1 || { cat "$out/log"; die "callgrind failed"; }
  awk -v name="$name" -v turns="$TURNS" '$1 == "totals:" { printf "%s %.1f\n", name, $2 / turns }' "$out/$name" >> "$out/counts"
done

[ "${1:-}" != --write ] || cp "$out/counts" "$HERE/expected.txt"
awk -v tolerance="$TOLERANCE" -v names="${#names[@]}" '
  NR == FNR { expected[$1] = $2; next }
  { printf "result: instructions of %s | %s, expected %s\n", $1, $2, expected[$1]
    if (!($1 in expected) || $2 > expected[$1] * (1 + tolerance / 100) + 2) { print "error: " $1 " costs more"; bad = 1 }
    seen++ }
  END { exit bad || !seen || seen != names }' "$HERE/expected.txt" "$out/counts"
