#!/bin/bash
# .ci/native.sh - build and test the crate on an architecture without assembly: a full i386 userland on this
# kernel.
#
#   .ci/native.sh [COMMAND...]   run the command in the crate's directory there (default: the check below)
#
# The check first verifies that a build without a C compiler fails with an error that names the missing
# package. It then runs a plain `cargo test` with the installed C compiler, as a user does on an architecture
# without assembly.
#
# Debian 13's packages are unpacked into a directory instead of being installed (.ci/debian.sh). This
# directory is the root of a new mount namespace, which only root can create. `cargo vendor` provides the
# packages of Cargo.lock, as on a machine without a network.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/debian.sh"

MACHINE=$ROOT/native

userland() { # unpacks the userland if it is missing, and vendors cargo's packages
  local debs=$ROOT/native-debs deb
  lock
  if [ ! -e "$MACHINE/unpacked" ]; then
    suite trixie
    say "unpack an i386 userland with rustc, cargo and gcc"
    rm -rf "$MACHINE" "$debs"
    mkdir -p "$MACHINE"/{proc,sys,dev,crate,root,.cargo,usr/{bin,sbin,lib}} "$debs/partial"
    ln -s usr/{bin,sbin,lib} "$MACHINE/"
    retry apt-get -qq -o APT::Architecture=i386 -o "Dir::Cache::archives=$debs" --download-only --no-install-recommends \
      install rustc-web cargo-web gcc libc6-dev bash coreutils mount
    for deb in "$debs"/*.deb; do dpkg-deb -x "$deb" "$MACHINE"; done
    ln -s gcc "$MACHINE/usr/bin/cc" # an installation would have created this link
    ln -sf bash "$MACHINE/usr/bin/sh"
    printf '%s\n' root:x:0:0::/root:/bin/sh nobody:x:65534:65534::/:/bin/sh > "$MACHINE/etc/passwd"
    rm -rf "$debs"
    touch "$MACHINE/unpacked"
  fi
  rm -rf "$MACHINE/vendor"
  cargo vendor -q --locked --versioned-dirs --manifest-path "$TOP/Cargo.toml" "$MACHINE/vendor" > /dev/null
  printf '[source.%s]\n%s\n' crates-io 'replace-with = "vendored"' vendored 'directory = "/vendor"' \
    > "$MACHINE/.cargo/config.toml"
  exec 9>&- # releases the lock
}

inside() { # COMMAND...: runs the command in the userland; when it ends, everything is unmounted
  # shellcheck disable=SC2016 # the inner shell's variables
  setarch i686 unshare --mount --fork sh -ec '
    mount --bind "$1" "$1"
    cd "$1"
    mount --bind "$2" crate
    mount -t tmpfs tmpfs tmp
    for dir in proc sys dev; do mount --rbind /$dir $dir; done
    pivot_root . . # chroot is unsuitable, because a process in a chroot may not create namespaces
    umount -l .
    cd /crate
    shift 2
    exec /usr/bin/env -i PATH=/usr/bin:/usr/sbin HOME=/root LANG=C.UTF-8 CARGO_TERM_COLOR=never CARGO_NET_OFFLINE=true \
      CARGO_TARGET_DIR=/target CARGO_BUILD_JOBS="$JOBS" CARGO_PROFILE_DEV_DEBUG=0 "$@"' sh "$MACHINE" "$TOP" "$@"
}

refuses() { # checks that the error without a C compiler names the tried commands, and the packages that provide one
  local out=$ROOT/native-refuses.log word
  if inside env CC=/bin/false CARGO_TARGET_DIR=/tmp/target cargo build > "$out" 2>&1; then
    die "the crate builds for i686 without a C compiler"
  fi
  for word in CC gcc libc6-dev; do
    grep '^error: ' "$out" | grep -qF "$word" || { cat "$out"; die "the error does not name $word"; }
  done
  say "without a C compiler the build fails, and the error names what is missing"
}

check() {
  local log=$ROOT/native.log start=$SECONDS status=0 passed failed skipped
  refuses
  inside cargo test --no-fail-fast 2>&1 | tee "$log" || status=$?
  read -r passed failed skipped < <(totals "$log")
  echo "result: native i686 ($(inside rustc --version)), cargo test | $passed passed, $failed failed, $skipped skipped in $((SECONDS - start)) s"
  [ "$status" = 0 ] && [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

[ "$(id -u)" = 0 ] || die "needs root, to mount"
export JOBS
userland
if [ $# -gt 0 ]; then inside "$@"; else check; fi
