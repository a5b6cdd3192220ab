#!/usr/bin/env python3
""".ci/repeat.py - find tests that fail occasionally: .ci/repeat.py [PARALLEL] [TIMES] [BINARY...]

First, PARALLEL instances (32) of each test binary run at the same time. They compete for the CPUs, and collide in any
state that they share by mistake. Then each test that forks, signals, starts programs or waits runs TIMES times (200) by
its name, several at a time. A run fails in any of these cases: its status is not 0; it passes fewer tests than are
listed; a process of its process group still exists 20 seconds later; a file remains in its temporary directory. The
output of a failed run is kept in target/repeat.
"""
import concurrent.futures, os, re, shutil, signal, subprocess, sys, time

# The topics whose tests use many processes or much memory even when they run alone.
NOT_AT_ONCE = ("inject::", "outside::", "spawn_differential::", "worlds::")
# The topics whose tests are repeated one at a time.
ALONE = r"^(fork|signals|child|spawn|command|communicate|pipeline|chunk_fork|waiting|timed|select)::"
PATIENCE = ["timeout", "--foreground", "-s", "KILL", "3600"]  # the tests have a shorter limit

os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
parallel, times = map(int, sys.argv[1:3] + ["32", "200"][len(sys.argv[1:3]) :])
stage = os.path.abspath("target/repeat")
shutil.rmtree(stage, ignore_errors=True)

# Copies the binaries, so that no later build replaces them. The copies have cargo's layout, because tests
# search for the examples relative to their binary.
built = subprocess.run(
    ["bash", "-c", "set -o pipefail; source .ci/debian.sh; cargo test --no-run --message-format=json | programs"],
    stdout=subprocess.PIPE, check=True, text=True,
).stdout
binaries = {}
for folder, name, path in map(str.split, built.splitlines()):
    os.makedirs(f"{stage}/debug/{folder}", exist_ok=True)
    copy = shutil.copy(path, f"{stage}/debug/{folder}/")
    if folder == "deps" and name in (sys.argv[3:] or [name]):
        binaries[name] = copy
# Omit cargo's variables, because the tests would otherwise call cargo for each example.
environment = {key: value for key, value in os.environ.items() if not key.startswith("CARGO")}
# Many instances share the processors, so each one runs smaller workloads and has more time.
environment["RAWPIPE_TEST_SLOW"] = "1"


def tests_of(path):
    listed = subprocess.run([path, "--list"], env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout
    return re.findall(r"^(\S+): test$", listed, re.M)


def left_behind(group):
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    os.killpg(group, signal.SIGKILL)
    return True


def wrong(folder, command, expected):
    """Returns the reason why a run has failed, or None."""
    with open(f"{folder}.log", "wb") as output:
        child = subprocess.Popen(PATIENCE + command, env={**environment, "TMPDIR": folder}, stdin=subprocess.DEVNULL,
                                 stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        status = child.wait()
    if left_behind(child.pid):
        return "a process was left behind"
    if status != 0:
        return f"status {status}"
    if os.listdir(folder):
        return f"files were left behind: {os.listdir(folder)}"
    # Use the last match, because a test may print the output of another program.
    text = open(f"{folder}.log", errors="replace").read()
    counts = re.findall(r"^test result: ok\. (\d+) passed; 0 failed; (\d+) ignored", text, re.M)
    return None if counts and sum(map(int, counts[-1])) == expected else f"counted {counts}, not {expected}"


def run(label, command, expected):
    folder = f"{stage}/{label}"
    os.mkdir(folder)
    why = wrong(folder, command, expected)
    shutil.rmtree(folder)
    if why is None:
        os.remove(f"{folder}.log")
    else:
        print(f"FAILED: {label}: {why}", flush=True)
    return why is None


failed = 0


def several(label, at_once, count, command, expected):
    global failed
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        passed = sum(pool.map(lambda n: run(f"{label}.{n}", command, expected), range(count)))
    failed += count - passed
    print(f"{label}: {passed} of {count} passed, {at_once} at a time, {time.monotonic() - start:.0f} s", flush=True)


lists = {name: tests_of(path) for name, path in binaries.items()}
skip = [word for topic in NOT_AT_ONCE for word in ("--skip", topic)]
at_once = sorted(binaries) if parallel else []
for name in at_once:
    expected = sum(not test.startswith(NOT_AT_ONCE) for test in lists[name])
    several(name, parallel, parallel, [binaries[name], *skip], expected)
alone = [(name, test) for name in sorted(binaries) for test in lists[name]
         if times and re.search(ALONE, test)]
for name, test in alone:
    several(f"{name}.{test.replace(':', '_')}", 4 * os.cpu_count(), times, [binaries[name], test, "--exact"], 1)
print(f"result: repeat | {len(at_once)} binaries {parallel} times at once, {len(alone)} tests that fork or signal "
      f"{times} times each, {failed} runs failed")
sys.exit(failed != 0)
