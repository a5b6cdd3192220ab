#!/bin/bash
# .ci/kernels.sh - run the test suite on real Linux kernels of other series and architectures, in full
# emulation.
#
#   .ci/kernels.sh setup [ARCH:SERIES...]  download and unpack missing packages
#   .ci/kernels.sh test [ARCH:SERIES...]   set up, then build and run every test binary on each of these
#                                          kernels
#
# ARCH is one of the first words of TABLE in .ci/debian.sh, which also describes the settings; SERIES is one
# of KERNELS below. The default is DEFAULT. For i686, the kernel is x86_64 and the programs are i686. One more
# setting is KERNEL_TESTS, the test binaries to run (default: all).
#
# qemu-user, which .ci/cross.sh uses, implements system calls itself and does not run Linux. This script boots
# an unchanged Debian kernel. The emulated machine has no disk. Its initramfs holds .ci/init.sh as the first
# process, the tests with their examples in cargo's layout, and busybox for the ordinary programs that tests
# use. No /dev/kvm is needed, so a kernel of any architecture runs on any machine.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/debian.sh"

DEFAULT="x86_64:5.10 x86_64:6.1 x86_64:6.12 x86_64:newest aarch64:5.10 aarch64:6.1 aarch64:6.12 aarch64:newest
 s390x:6.1 s390x:newest armv7:6.1 i686:6.1 i686:newest powerpc64le:6.1 powerpc64le:newest riscv64:6.12"
# The tests that also run as user 65534, because the kernel's limits apply to that user. Each entry is a test
# binary and a filter for its tests.
ORDINARY="forked=fork:: forked=spawn:: unforked=pipe::"
LIMIT=3600 # the maximum run time of a kernel, in seconds

# SERIES  Debian's suite; the newest kernel's version changes
KERNELS='
5.10      bullseye
6.1       bookworm
6.12      trixie
newest    sid
'

# Debian  package that depends on the kernel  console   qemu-system-... and its machine
# x86_64: with a newer CPU than Haswell, or with "max", kernels of 6.12 crash early on qemu 7.2.
# ppc64el: the default machine requires mitigations that emulation without KVM does not support.
MACHINES='
amd64     linux-image-cloud-amd64   ttyS0     x86_64 -M q35 -cpu Haswell
arm64     linux-image-cloud-arm64   ttyAMA0   aarch64 -M virt -cpu cortex-a57
armhf     linux-image-armmp         ttyAMA0   arm -M virt -cpu cortex-a15
s390x     linux-image-s390x         ttysclp0  s390x -M s390-ccw-virtio
riscv64   linux-image-riscv64       ttyS0     riscv64 -M virt
ppc64el   linux-image-powerpc64le   hvc0      ppc64 -M pseries,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off -cpu power9
'

kernel() { # ARCH:SERIES: sets deb gnu rust qemu features, board, series from meta console machine image
  [[ $1 == *:* ]] || die "'$1' is not ARCH:SERIES"
  arch "${1%%:*}"
  series=${1#*:}
  # "board" is the kernel's architecture, which for i686 differs from that of the programs
  board=$deb
  [ "$deb" != i386 ] || board=amd64
  from=$(awk -v s="$series" '$1 == s { print $2 }' <<<"$KERNELS")
  [ -n "$from" ] || die "unknown series '$series'"
  read -r _ meta console machine < <(grep "^$board " <<<"$MACHINES")
  image=$ROOT/kernel-$board-$series/image
}

# Runs a program of the emulator's packages with their own loader and libraries.
unpacked() { # PROGRAM ARGS
  local system=$ROOT/system program=$1
  shift
  QEMU_MODULE_DIR=$system/usr/lib/$LIB/qemu exec "$system/usr/lib64/ld-linux-x86-64.so.2" \
    --library-path "$system/usr/lib/$LIB" "$system/usr/bin/$program" "$@"
}

# ---------------------------------------------------------------- setup

# Unpacks the emulator with all its dependencies, including the C library, to be independent of this machine.
emulator() {
  local programs=(qemu-system-x86 qemu-system-arm qemu-system-misc qemu-system-ppc cpio) pkgs names
  [ -n "$(missing system "${programs[@]}")" ] || return 0
  suite trixie # with bookworm's, kernels of 6.12 crash in one boot of eight
  names=$(needed "${programs[@]}")
  mapfile -t pkgs <<<"$names"
  unpack system "${pkgs[@]}"
}

setup() { # ARCH:SERIES...
  local k archs pkg deb gnu rust qemu features board series from meta console machine image
  mapfile -t archs < <(printf '%s\n' "${@%%:*}" | awk '!seen[$0]++')
  bash "$TOP/.ci/cross.sh" setup "${archs[@]}"
  lock
  emulator
  for k in "$@"; do
    kernel "$k"
    if [ -n "$(missing "busybox-$deb" "busybox-static:$deb")" ]; then
      suite "$(release "$deb")"
      unpack "busybox-$deb" "busybox-static:$deb"
    fi
    if [ ! -e "$image" ]; then
      suite "$from"
      pkg=$(apt-cache depends "$meta:$board" | awk '/Depends: linux-image/ { print $2; exit }')
      [ -n "$pkg" ] || die "no $meta for $board in $from"
      pkg=${pkg%%:*}:$board
      # Debian's packages of Linux 7 have the image in a package of another name.
      ! apt-cache show "${pkg/image/binary}" > /dev/null 2>&1 || pkg=${pkg/image/binary}
      UNPACK='*/vmlinu*' unpack "kernel-$board-$series" "$pkg" # unpacks only the kernel
      find "$ROOT/kernel-$board-$series" -name 'vmlinu*' -exec mv {} "$image" \;
    fi
  done
  exec 9>&- # releases the lock
}

# ---------------------------------------------------------------- the initramfs

build() { # ARCH: prints "FOLDER PATH" for every program in the initramfs; cargo's own output is on standard error
  # errexit is off here, because the caller checks the status of a kernel's test
  (
    enter "$1"
    build_examples --message-format=json > "$ROOT/built-$1.json" &&
      cargo test -j "$JOBS" --target "$rust" ${features:+--features "$features"} --lib --tests --no-run \
        --message-format=json >> "$ROOT/built-$1.json"
  ) || return 1
  programs < "$ROOT/built-$1.json" | awk -v wanted=" ${KERNEL_TESTS:-} " \
    '$1 == "examples" || wanted ~ /^ *$/ || index(wanted, " " $2 " ") { print $1, $3 }'
}

initramfs() { # ARCH OUT: sets runs to the number of runs of a test binary
  local stage=$2.d cc=gcc strip=strip kind file name
  if [ "$qemu" != - ]; then
    cc=$ROOT/bin/$gnu-gcc strip=$ROOT/bin/$gnu-strip
  fi
  rm -rf "$stage"
  mkdir -p "$stage"/{bin,debug/deps,debug/examples}
  build "$1" > "$ROOT/built-$1" || return 1
  while read -r kind file; do
    name=$(basename "$file")
    "$strip" -o "$stage/debug/$kind/$name" "$file"
  done < "$ROOT/built-$1"
  cp "$TOP/.ci/init.sh" "$stage/init"
  chmod +x "$stage/init"
  "$cc" -O2 -Wall -Wextra -static -x c - -o "$stage/bin/as" << 'E' || return 1
#define _GNU_SOURCE
#include <grp.h>
#include <stdlib.h>
#include <unistd.h>

int main(int count, char **words) /* USER PROGRAM ARGS: no tool of busybox changes the groups as well */
{
	unsigned user = count > 2 ? (unsigned)atoi(words[1]) : 0;

	return setgroups(0, NULL) || setresgid(user, user, user) || setresuid(user, user, user) || execv(words[2], words + 2);
}
E
  # a test copies this program, and busybox does not run under an unknown name
  echo 'int main(void) { return 0; }' | "$cc" -O2 -static -x c - -o "$stage/bin/true"
  find "$ROOT/busybox-$deb" -path "*/bin/busybox" -exec cp {} "$stage/bin/" \; # the path is in /usr since Debian 13
  for name in sh cat echo head printf seq sort; do ln -s busybox "$stage/bin/$name"; done
  find "$stage/debug/deps" -type f -printf '0 /debug/deps/%f\n' | sort > "$stage/plan"
  for name in $ORDINARY; do
    find "$stage/debug/deps" -type f -name "${name%=*}-*" -printf "65534 /debug/deps/%f ${name#*=}\\n"
  done >> "$stage/plan"
  runs=$(wc -l < "$stage/plan")
  [ "$runs" -gt 0 ] || die "no test was built"
  # Compression would cost more, because an emulated processor unpacks more slowly than it copies.
  (cd "$stage" && find . | unpacked cpio --quiet -o -H newc -R 0:0) > "$2" || return 1
  rm -rf "$stage"
}

# ---------------------------------------------------------------- a run

boot() { # IMAGE INITRAMFS LOG: runs until the first process ends, the machine stops, or the limit is reached
  local system=$ROOT/system pid start=$SECONDS words
  read -ra words <<<"$machine"
  : > "$3" # empties the log, because the first check must not read the log of an earlier run
  # The console is the output, and the machine has no other devices.
  unpacked "qemu-system-${words[0]}" "${words[@]:1}" \
    -L "$system/usr/share/qemu" -L "$system/usr/share/seabios" \
    -m 2048 -smp 2 -nodefaults -nographic -serial stdio -no-reboot -net none \
    -kernel "$1" -initrd "$2" -append "console=$console loglevel=2 panic=-1 oops=panic rdinit=/init" \
    < /dev/null >> "$3" 2>&1 &
  pid=$!
  while kill -0 "$pid" 2> /dev/null && [ $((SECONDS - start)) -lt "$LIMIT" ] && ! grep -aq '^KERNEL DONE' "$3"; do
    sleep 1
  done
  kill "$pid" 2> /dev/null || true
  wait "$pid" || true
}

# Removes control sequences: a PC's firmware clears the screen, and the console ends lines as a terminal does.
plain() { sed -e 's/\x1b\[[0-9;?=]*[A-Za-z]//g; s/\x1bc//g; s/\r//g' "$1"; }

died() { grep -aqE 'Kernel panic|Oops|BUG: ' "$1"; }

test_one() { # ARCH:SERIES
  local start log=$ROOT/kernel-${1/:/-}.log archive=$ROOT/initramfs-${1/:/-} try release passed failed skipped runs good
  local deb gnu rust qemu features board series from meta console machine image
  kernel "$1"
  say "$1: building"
  initramfs "${1%%:*}" "$archive" || return 1
  for try in 1 2 3; do
    say "$1: $runs runs of a test binary"
    start=$SECONDS
    boot "$image" "$archive" "$log"
    grep -aq '^KERNEL DONE' "$log" && break
    # A crash of the emulated kernel counts as a failure only if it occurs in every attempt. A hang always
    # counts.
    died "$log" || break
    say "$1: try $try of 3, the kernel died: $(grep -aEm 1 'Kernel panic|Oops|BUG: ' "$log")"
  done
  rm -f "$archive"
  plain "$log" > "$log.plain" && mv "$log.plain" "$log"
  read -r passed failed skipped < <(totals "$log")
  release=$(awk '/^KERNEL release/ { print $3; exit }' "$log")
  good=$(grep -ac '^KERNEL status 0 ' "$log" || true)
  grep -aE '^KERNEL (release|has|status)|SKIPPED [a-z0-9_]+: ' "$log" || true
  results+=("result: $1 ${release:-did not boot} | $passed passed, $failed failed, $skipped skipped in $((SECONDS - start)) s")
  say "$1: $good of $runs runs of a test binary are good, on ${release:-no kernel}"
  if [ "$good" != "$runs" ] || [ "$failed" != 0 ] || [ "$passed" = 0 ] || ! grep -aq '^KERNEL DONE' "$log"; then
    tail -n 400 "$log"
    return 1
  fi
}

test_all() { # ARCH:SERIES...
  local k bad=() results=()
  for k in "$@"; do
    test_one "$k" || bad+=("$k")
  done
  printf '%s\n' "${results[@]}"
  [ ${#bad[@]} -eq 0 ] || die "tests failed (or did not run) on: ${bad[*]}"
}

cmd=${1:-}
shift || true
case $cmd in
  setup | test) # rejects an unknown name before any download or run
    [ $# -gt 0 ] || read -ra list <<<"$DEFAULT"
    [ $# -eq 0 ] || list=("$@")
    for k in "${list[@]}"; do kernel "$k"; done
    setup "${list[@]}"
    [ "$cmd" = setup ] || test_all "${list[@]}"
    ;;
  *) usage ;;
esac
