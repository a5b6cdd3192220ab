#!/bin/bash
# .ci/matrix.sh - run the full matrix, which takes hours: all checks that .ci/run omits or runs on a small
# scale.
#
#   .ci/matrix.sh [PART...]   run these parts (default: all, in the order of PARTS), then print the report.
#                             PART:ARGUMENT runs a piece of a part: kernels:s390x:6.1, sanitize:thread, fuzz:message
#   .ci/matrix.sh report      print the results of the last run of each part, as the table of docs/TESTING.md
#   .ci/matrix.sh write       write that table into docs/TESTING.md
#   .ci/matrix.sh read        take the results of the current commit from docs/TESTING.md, to continue elsewhere
#
# If a part fails, the other parts still run. The output of a part is written to target/matrix/PART.log. Lines that
# begin with "result: " contain figures that the run has counted. The last line names the commit: the last one that
# changes more than docs/TESTING.md. Pieces have separate logs, so several of them can run at the same time, or one after
# another over several days.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source .ci/debian.sh

OUT=target/matrix
PAGE=docs/TESTING.md
PARTS="release native copying userland cross kernels inject outside differential peers attack sanitize model loom fuzz repeat soak"

# ---------------------------------------------------------------- parts without a separate script

both() { # [NAME=VALUE...] cargo test ARGS: on both backends
  env "$@" --features ""
  env "$@" --features c-shim
}

# The parts that run the whole suite report the totals, not the figures of single tests.
of_tests() { sed '/ skipped in [0-9]* s$/!s/^result: /of a test: /'; }

native() { # runs the suite on this machine with the newest compiler, on both backends
  local feature passed failed
  for feature in "" c-shim; do
    cargo test --features "$feature" 2>&1 | tee "$OUT/suite-native.log" | of_tests
    read -r passed failed _ < <(totals "$OUT/suite-native.log")
    echo "result: x86_64, this kernel ($(uname -r)), ${feature:-asm} | $passed passed with the documentation's examples, $failed failed"
  done
  {
    both cargo test --release --lib --tests
    .ci/run ordinary_user
    .ci/run ordinary_user --features c-shim
  } | of_tests
}

release() { bash .ci/release.sh; }

copying() { # runs the suite as on a kernel that copies where Linux hands over pages, on both backends
  local feature way passed failed skipped status=0
  cargo test --manifest-path tests/copying/Cargo.toml --target-dir target/copying
  cargo build --release --manifest-path tests/copying/Cargo.toml --target-dir target/copying
  for feature in "" c-shim; do
    cargo test --no-run --message-format=json --features "$feature" | programs > "$OUT/built"
    for way in pages writes; do
      each_copying "$way" 2>&1 | tee "$OUT/suite-copying.log" | of_tests || status=1
      read -r passed failed skipped < <(totals "$OUT/suite-copying.log")
      echo "result: a kernel that copies, as $way, ${feature:-asm} | $passed passed, $failed failed, $skipped skipped"
    done
  done
  return $status
}

each_copying() { # WAY: runs each built test binary under tests/copying; fails after the last if one has failed
  local folder name file status=0
  while read -r folder name file; do
    [ "$folder" = deps ] || continue
    printf '\nas %s: %s\n' "$1" "$name"
    target/copying/release/copying --as "$1" -- "$file" < /dev/null || status=1
  done < "$OUT/built"
  return $status
}

userland() { bash .ci/native.sh | of_tests; }
cross() { bash .ci/cross.sh test "$@" | of_tests; }
kernels() { bash .ci/kernels.sh test "$@"; }
sanitize() { bash .ci/sanitize.sh "$@"; }
fuzz() { bash .ci/fuzz.sh 1800 "$@"; }
repeat() { python3 .ci/repeat.py; }
peers() { python3 tests/peers/run.py "$@"; }

# The ordinary suite injects only some faults, covers some kinds of descriptor, and runs the rest for seconds.
inject() { both RAWPIPE_INJECT=full cargo test --release --test faults inject::; }
outside() { both RAWPIPE_OUTSIDE=full cargo test --test forked outside::; }
differential() { both RAWPIPE_DIFFERENTIAL=60000 cargo test --release --test forked spawn_differential::; }
attack() { both RAWPIPE_ATTACK_SECONDS=80 cargo test --test forked spawn_attack::; }

model() { # runs ten million operations; each million has a separate seed, which a failure prints
  local million='RAWPIPE_MODEL_SEED=$((RANDOM << 15 | RANDOM)) RAWPIPE_MODEL_OPERATIONS=1000000 cargo test --quiet --release --test unforked model:: -- --nocapture'
  cargo test --release --test unforked --no-run
  seq 10 | xargs -P "$JOBS" -I '{}' bash -c "$million" 2>&1 | tee "$OUT/operations.log"
  # counts the operations that the processes report, not the requested ones
  awk '/^model: [0-9]+ operations, seed [0-9]+$/ { all += $2; seeds += !seen[$5]++ }
       END { printf "result: model | %d operations, %d seeds, 0 differences\n", all, seeds; exit all != 10000000 }' "$OUT/operations.log"
}

loom() { # checks the ring in more orders than .ci/run: none of the intact models has a limit below 5 preemptions
  local passed failed way=(cargo test --release --manifest-path tests/loom/Cargo.toml --target-dir target/loom)
  { "${way[@]}" && LOOM_MAX_PREEMPTIONS=5 "${way[@]}" intact; } 2>&1 | tee "$OUT/suite-loom.log"
  read -r passed failed _ < <(totals "$OUT/suite-loom.log")
  echo "result: loom | $passed runs of a model passed, $failed failed"
}

soak() { # runs everything together, then at each system limit; ordinary users have those of pages and processes
  local soak=(cargo test --release --test soak) limit
  RAWPIPE_SOAK_SECONDS=3600 "${soak[@]}" soak_everything_at_once
  for limit in descriptors_emfile memory_enomem pipe_pages_eperm processes_eagain; do
    RAWPIPE_SOAK_SECONDS=120 "${soak[@]}" "soak_at_the_limit_of_$limit"
  done
}

# ---------------------------------------------------------------- running the parts

report() {
  local name logs
  printf '| part | what | figures |\n|---|---|---|\n'
  for name in $PARTS; do
    mapfile -t logs < <(find "$OUT" -name "$name.log" -o -name "$name:*.log" | sort)
    [ ${#logs[@]} -gt 0 ] || echo "| $name | not run | |"
    # Some scripts print a result twice.
    [ ${#logs[@]} = 0 ] || sed -n -E "s/^(result|ended): (.*)/| $name | \2 |/p" "${logs[@]}" | awk '!seen[$0]++'
  done
}

commit() {
  local changed
  changed=$(git status --porcelain -- . ":!$PAGE")
  echo "$(git log -1 --format=%h -- . ":!$PAGE")${changed:+-dirty}"
}

on_page() { sed -n '/^<!-- the matrix -->$/,/^<!-- the end of the matrix -->$/s/^| \(.*\) |$/\1/p' "$PAGE" | tail -n +2; } # without the titles

restore() { # COMMIT: writes a log for each piece on the page that ran on this commit, unless a newer log exists
  on_page | awk -F ' [|] ' -v commit="commit $1" -v out="$OUT" '
    NF == 3 && $3 ~ /, commit [0-9a-f]+(-dirty)?$/ {
      log_file = out "/" $2 ".log"
      if (substr($3, length($3) - length(commit) + 1) == commit && (getline line < log_file) < 0)
        print rows "ended: " $2 " | " $3 > log_file
      close(log_file)
      rows = ""
      next
    }
    NF == 3 { rows = rows "result: " $2 " | " $3 "\n" }'
}

run() { # PART...
  local name start status failed= commit
  for name in "$@"; do
    start=$SECONDS commit=$(commit)
    printf '== %s, %s\n' "$name" "$(date -u +%H:%M)"
    status=passed
    # Start the part in a new session without a terminal.
    setsid --wait bash "$0" part "$name" > "$OUT/$name.log" 2>&1 < /dev/null || status=FAILED
    [ "$(commit)" = "$commit" ] || status="FAILED, the sources have changed"
    [ "$status" = passed ] || failed+=" $name"
    echo "ended: $name | $status, $((SECONDS - start)) s, $(date -u +%Y-%m-%d), commit $commit" >> "$OUT/$name.log"
    grep -E '^(result|ended): ' "$OUT/$name.log"
  done
  report
  [ -z "$failed" ] || { echo "FAILED:$failed; see $OUT" >&2; exit 1; }
}

mkdir -p "$OUT"
case ${1:-} in
  report) report ;;
  write) # replaces the text between two comments in the page
    report > "$OUT/report.md"
    sed -i -e '/^<!-- the matrix -->$/,/^<!-- the end of the matrix -->$/{//!d}' \
      -e "/^<!-- the matrix -->\$/r $OUT/report.md" "$PAGE"
    ;;
  read) restore "$(commit)" ;;
  part) IFS=: read -r name argument <<< "$2" && "$name" ${argument:+"$argument"} ;;
  *)
    read -ra chosen <<< "$PARTS"
    [ $# -eq 0 ] || chosen=("$@")
    for name in "${chosen[@]}"; do
      [[ " $PARTS " == *" ${name%%:*} "* ]] || usage
    done
    run "${chosen[@]}"
    ;;
esac
