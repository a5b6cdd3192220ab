#!/bin/bash
# .ci/sanitize.sh - run the whole suite under tools that check memory accesses.
#
#   .ci/sanitize.sh [TOOL...]   address leak thread memory valgrind; the default is all of them
#
# Settings (environment): BACKENDS, "asm c-shim" or one of them; JOBS, for cargo (default: all cores); TESTS,
# a pattern for the names of test binaries (default: all); LIMIT, the seconds that a test binary may take
# (default 14400). All files are written under target/sanitize.
#
#   address, leak    the installed nightly compiler, with its own std
#   thread, memory   the newest rustc of Debian 12, whose std is also compiled with the sanitizer, and the
#                    sanitizers' libraries of the same LLVM; all are unpacked, not installed
#   valgrind         the installed version, or else Debian's, on the suite without special compiler options
#
# A build for a sanitizer contains the hooks of src/sys/sanitize.rs, which show the sanitizer the system
# calls. The test binary `forked` runs first. Its topic `sanitizer` makes deliberate mistakes, and this script
# fails if a tool does not report each of them.
#
# All processes write their reports to a directory, including those whose standard error is not read. At the
# end, no file of this directory may contain an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
CROSS_ROOT=target/sanitize
source .ci/debian.sh

BACKENDS=${BACKENDS:-asm c-shim}
LIMIT=${LIMIT:-14400}
TARGET=x86_64-unknown-linux-gnu

# The mistakes that each tool must detect. Each of these tests must exist and run.
MISTAKES='
address   read_beyond_the_end_of_a_buffer readv_beyond_the_end_of_a_buffer write_of_freed_memory memory_that_nobody_can_free
leak      memory_that_nobody_can_free
thread    threads_in_no_order write_of_what_another_thread_stores threads_in_the_order_of_two_pipes threads_in_the_order_of_a_pipe threads_in_the_order_of_a_ring threads_in_the_order_of_a_relaxed_ring
memory    byte_beyond_what_read_has_given write_of_uninitialised_memory
valgrind  read_beyond_the_end_of_a_buffer write_of_freed_memory byte_beyond_what_read_has_given write_of_uninitialised_memory memory_that_nobody_can_free
'

# Unpacks the newest rustc of Debian 12 whose sources and LLVM sanitizers exist in the same version.
debian_rustc() {
  local version series llvm number s
  lock
  suite bookworm-security
  if [ ! -e "$ROOT/stamps/rustc" ]; then
    version=$(grep -xFf <(apt-cache madison rust-web-src | awk '{ print $3 }') \
      <(apt-cache madison rustc-web | awk '{ print $3 }') | head -n 1 || true)
    [ -n "$version" ] || die "this mirror has no rustc-web with a rust-web-src of the same version"
    series=$(grep -oE '^[0-9]+\.[0-9]+' <<< "$version")
    llvm=$(apt-cache show "libstd-rust-web-$series=$version" | grep -oE 'libllvm[0-9]+' | sort -u | tail -n 1)
    number=${llvm#libllvm}
    unpack rust "rustc-web=$version" "libstd-rust-web-$series=$version" "libstd-rust-web-dev=$version" "$llvm" \
      "libclang-rt-$number-dev"
    # unpacks only std, because the other sources are 800 MB
    UNPACK="./usr/src/rustc-*/library ./usr/src/rustc-*/Cargo.lock ./usr/lib/rustlib/src" unpack rust "rust-web-src=$version"
    for s in tsan msan; do # rustc looks for these names
      cp "$ROOT/rust/usr/lib/llvm-$number/lib/clang/$number/lib/linux/libclang_rt.$s-x86_64.a" \
        "$ROOT/rust/usr/lib/rustlib/$TARGET/lib/librustc-stable_rt.$s.a"
    done
    touch "$ROOT/stamps/rustc"
  fi
  wrapper rustc rust rustc
  wrapper rustdoc rust rustdoc
  exec 9>&- # releases the lock
}

# Sets `cargo` and exports the variables that the tool needs.
prepare() { # TOOL
  local common valgrind
  # This level is enough for names and lines in reports.
  export CARGO_PROFILE_DEV_DEBUG=line-tables-only CARGO_INCREMENTAL=0
  case $1 in
    address | leak)
      rustc +nightly --version > /dev/null 2>&1 || die "$1 needs a nightly compiler (rustup's)"
      cargo=(cargo +nightly)
      export RUSTFLAGS="-Zsanitizer=$1"
      ;;
    thread | memory)
      debian_rustc
      export RUSTC=$ROOT/bin/rustc RUSTDOC=$ROOT/bin/rustdoc RUSTC_BOOTSTRAP=1
      export RUSTFLAGS="-Zsanitizer=$1 -Cforce-frame-pointers"
      # These tools check every access, including std's, so a run without optimization takes hours.
      export CARGO_PROFILE_DEV_OPT_LEVEL=1
      [ "$1" = thread ] || RUSTFLAGS+=" -Zsanitizer-memory-track-origins"
      build+=(-Zbuild-std)
      ;;
    valgrind)
      find_valgrind
      # The tests prepend this command to each program that they start. At the end of a process,
      # __libc_freeres would wait for the C library's locks. In a child of a process with several threads,
      # such a lock may never be released.
      export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$valgrind -q --error-exitcode=99 --leak-check=full \
--show-leak-kinds=definite --child-silent-after-fork=yes --fair-sched=try --run-libc-freeres=no"
      # Tests compare the standard error of programs, on which Valgrind would also name each call that it does
      # not know. A leak does not change the status, because a child of a fork lacks the other threads, whose
      # memory is then unreachable. The reports of all other processes contain their leaks.
      export VALGRIND_OPTS="--log-file=$reports/report.%p --errors-for-leak-kinds=none"
      pattern='^==[0-9]+== (Invalid|Conditional|Use of|Syscall param|.* definitely lost)'
      serial=(--test-threads=1)
      return
      ;;
    *) die "unknown tool '$1'" ;;
  esac
  RUSTFLAGS+=" --cfg rawpipe_sanitize=\"$1\""
  # A program that is killed by a signal must end with that signal, because tests check this. A report ends a
  # process with status 99.
  common="log_path=$reports/report:exitcode=99:handle_segv=0:handle_sigbus=0"
  common+=":handle_abort=0:handle_sigfpe=0:handle_sigill=0"
  export ASAN_OPTIONS=$common:detect_leaks=1 LSAN_OPTIONS=$common MSAN_OPTIONS=$common
  # A forked child of a multithreaded process may continue. A race ends the process, so that no test passes
  # with a race.
  export TSAN_OPTIONS=$common:halt_on_error=1:die_after_fork=0
}

run() ( # TOOL BACKEND: runs in a subshell, since its exports apply only to this run
  set -e
  local tool=$1 backend=$2 start=$SECONDS reports=$ROOT/reports/$1-$2 log=$ROOT/$1-$2.log
  local name file test status passed skipped found failed=0
  # The other lines of a report are warnings about stacks that a tool does not support.
  local pattern='ERROR: |(WARNING|FATAL): (Thread|Memory)Sanitizer|Sanitizer: CHECK failed'
  local -a build=(--target "$TARGET" -j "$JOBS") cargo=(cargo) serial=() binaries=() wrong=()
  [ "$backend" = asm ] || build+=(--features "$backend")
  rm -rf "$reports"
  mkdir -p "$reports"
  chmod 1777 "$reports" # a test changes its user
  prepare "$tool"
  export CARGO_TARGET_DIR=$ROOT/$tool
  say "$tool, $backend: build"
  # Build the programs that tests start. Otherwise the tests would build them with cargo, but without these
  # options.
  "${cargo[@]}" build --quiet --examples "${build[@]}"
  mapfile -t binaries < <(
    "${cargo[@]}" test --no-run --message-format=json-render-diagnostics "${build[@]}" --lib --tests | programs |
      awk -v pattern="^(forked|${TESTS:-.*})\$" '$1 == "deps" && $2 ~ pattern { print ($2 != "forked"), $2, $3 }' | sort
  )
  # The tests compare file times to determine whether the programs are up to date.
  touch "$CARGO_TARGET_DIR/$TARGET/debug/examples"/*
  [ ${#binaries[@]} -gt 0 ] || die "no test binaries were built"
  say "$tool, $backend: ${#binaries[@]} test binaries, built in $((SECONDS - start)) s"
  start=$SECONDS
  : > "$log"
  unset CARGO # prevents the tests from calling cargo
  while read -r _ name file; do
    printf '\n######## %s\n' "$name" >> "$log"
    status=0
    # shellcheck disable=SC2086 # the variable holds several words
    timeout -k 10 "$LIMIT" ${CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER:-} "$file" "${serial[@]}" >> "$log" 2>&1 < /dev/null || status=$?
    if [ "$status" != 0 ]; then
      failed=$((failed + 1))
      say "$tool, $backend: $name FAILED (exit $status)"
    fi
    [ "$name" = forked ] || continue
    for test in $(awk -v tool="$tool" '$1 == tool { $1 = ""; print }' <<< "$MISTAKES"); do
      grep -qx "test sanitizer::$test \.\.\. ok" "$log" && ! grep -q "^SKIPPED $test:" "$log" ||
        die "$tool does not detect a deliberate mistake: $test failed or was skipped; see $log"
    done
  done < <(printf '%s\n' "${binaries[@]}")
  read -r passed _ skipped < <(totals "$log")
  mapfile -t wrong < <(grep -rlE "$pattern" "$reports" || true)
  found=${#wrong[@]}
  if [ "$failed" != 0 ] || [ "$found" != 0 ]; then
    awk '/FAILED|panicked/ && !/^test result/' "$log"
    [ ${#wrong[@]} = 0 ] || head -n 60 "${wrong[@]}"
    die "$tool, $backend: $failed of ${#binaries[@]} test binaries failed, $found reports; see $log and $reports"
  fi
  printf 'result: %s, %s | %d test binaries, %d passed, %d skipped, %d reports\n' \
    "$tool" "$backend" ${#binaries[@]} "$passed" "$skipped" "$found" >> "$ROOT/results.$$"
  say "$tool, $backend: done in $((SECONDS - start)) s"
)

main() { # TOOL...
  local tool backend status failures=
  [ $# -gt 0 ] || set -- address leak thread memory valgrind
  mkdir -p "$ROOT"
  : > "$ROOT/results.$$"
  for tool in "$@"; do
    for backend in $BACKENDS; do
      # Do not use `||`, because `run` would then continue after a failed command.
      set +e
      run "$tool" "$backend"
      status=$?
      set -e
      [ "$status" = 0 ] || failures+="${failures:+; }$tool, $backend"
    done
  done
  echo
  cat "$ROOT/results.$$"
  rm "$ROOT/results.$$"
  [ -z "$failures" ] || die "failed: $failures"
}

# Keep both commands on one line, so that the shell does not read this file again. The file may change during
# the hours that the run takes.
main "$@"; exit
