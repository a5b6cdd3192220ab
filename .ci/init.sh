#!/bin/busybox sh
# .ci/init.sh - the first process of a kernel that .ci/kernels.sh has started. Runs every test binary and
# reports its status.
#
# Output lines begin with "KERNEL ": facts about the kernel, the start, end and status of each binary, and
# "DONE". The output of a test is written to a file, which is printed afterwards; a test has no terminal. A
# binary that takes longer than WATCHDOG seconds is killed. Its remaining processes are also killed, so that
# they do not delay the next binary.
#
# /plan has one line for each run: a user id, the binary's path, and a filter if only some tests run. /bin
# contains the few programs that tests need.
b=/bin/busybox
WATCHDOG=3000

say() { echo "KERNEL $*"; }

# Set up the directories, devices and limits of an ordinary machine. The loopback interface has no address
# until it is up.
for at in proc:/proc sysfs:/sys devtmpfs:/dev devpts:/dev/pts tmpfs:/dev/shm tmpfs:/tmp cgroup2:/sys/fs/cgroup; do
  $b mkdir -p "${at#*:}"
  $b mount -t "${at%:*}" "${at%:*}" "${at#*:}" || say "has no ${at%:*} at ${at#*:}"
done
$b chmod 1777 /dev/shm /tmp
exec < /dev/console > /dev/console 2>&1
$b ln -s /proc/self/fd /dev/fd
$b ip link set lo up || say "has no loopback"
ulimit -Hn 524288
ulimit -Sn 1024
ulimit -l 8192
ulimit -Sc 0
cd /tmp || say "has no /tmp"

echo # firmware and kernel may have left an unfinished line
say "release $($b uname -r) $($b uname -m), $($b nproc) processors"
while read -r user path filter; do
  say "run $user $path $filter"
  start=$($b date +%s)
  as=
  [ "$user" = 0 ] || as="/bin/as $user"
  # Every processor here is emulated and slow.
  $b env -i PATH=/bin HOME=/tmp TMPDIR=/tmp RUST_BACKTRACE=1 RAWPIPE_SKIP_187=1 RAWPIPE_TEST_SLOW=1 \
    $b timeout -s KILL "$WATCHDOG" $b setsid $as "$path" $filter --test-threads=2 < /dev/null > /output 2>&1
  status=$?
  kill -9 -1 # kills every process except this one
  $b cat /output
  say "status $status $user $path $(($($b date +%s) - start)) s"
done < /plan
say DONE
$b sync
$b poweroff -f
