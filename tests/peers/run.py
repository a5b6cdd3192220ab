#!/usr/bin/env python3
"""tests/peers/run.py - run the tests of other crates on this crate: tests/peers/run.py [CRATE...]

For each crate, `cargo` downloads the published package. Its library is replaced with the one in this directory that
has the same interface, and uses rawpipe. Its own tests, and the examples of its documentation, are then compiled and
run with that library. Nothing of the package is changed or stored in the repository. Everything is written under
target/peers.

The file not_applicable names the tests that cannot run, each with its reason. The script fails if a test fails, if a
test in that list does not exist, or if the package has a test that was neither run nor listed.
"""
import glob, json, os, re, shutil, signal, subprocess, sys

# The crates, with the name of the library. In command-fds, each test needs a process: some open and close any number,
# others take all descriptors of the process.
CRATES = {"os_pipe": "os_pipe", "command-fds": "command_fds", "shared_child": "shared_child", "duct": "duct"}
ALONE = {"command-fds"}
PATIENCE = 300  # seconds for one run of a test binary
BLOCK = re.compile(r"^#\[cfg\(test\)\]\n(mod \w+ \{\n.*?^\}\n)", re.M | re.S)
FILE = re.compile(r"^#\[cfg\(test\)\]\nmod (\w+);\n", re.M)
COMMENT = re.compile(r"^ *//[/!] ?(.*\n)", re.M)
EXAMPLE = re.compile(r"^```(|rust|no_run)\n(.*?)^```\n", re.M | re.S)
ATTRIBUTE = re.compile(r"^ *#\[test\]$", re.M)

HERE = os.path.dirname(os.path.abspath(__file__))
STAGE = os.path.join(os.path.dirname(os.path.dirname(HERE)), "target/peers")


def stage():
    """Copies the workspace, which is as deep as the original: the paths in its manifests stay valid."""
    for name in next(os.walk(HERE))[1]:
        for part in ("src", "own"):
            shutil.rmtree(f"{STAGE}/{name}/{part}", ignore_errors=True)
    shutil.copytree(HERE, STAGE, ignore=shutil.ignore_patterns("target"), dirs_exist_ok=True)
    os.makedirs(f"{STAGE}/bin", exist_ok=True)
    if not os.path.lexists(f"{STAGE}/bin/python"):
        os.symlink(sys.executable, f"{STAGE}/bin/python")  # an example calls Python by this name
    run = ["cargo", "metadata", "--locked", "--format-version", "1"]
    metadata = json.loads(subprocess.run(run, cwd=STAGE, stdout=subprocess.PIPE, check=True).stdout)
    return {package["name"]: package for package in metadata["packages"] if package["source"]}


def not_applicable(crate):
    """Returns the listed tests as pairs of a file and a name."""
    lines = [line.split(maxsplit=3) for line in open(f"{HERE}/not_applicable") if not line.startswith("#")]
    return [(file, test) for name, file, test, _ in lines if name == crate]


def without(text, test):
    """Returns the text without the function of this name, and whether the function was there."""
    lines = text.splitlines(keepends=True)
    for start, line in enumerate(lines):
        if re.match(rf" *fn {test}\(", line):
            break
    else:
        return text, False
    indent = line[: len(line) - len(line.lstrip())]
    end = lines.index(f"{indent}}}\n", start) + 1
    while lines[start - 1].startswith(f"{indent}#["):
        start -= 1
    return "".join(lines[:start] + lines[end:]), True


def extract(crate, package, to):
    """Writes the modules with tests of each file, without the listed tests. Returns how many tests exist."""
    source = os.path.dirname(package["manifest_path"])
    ours = {"src", "Cargo.toml", "Cargo.lock"}
    # Copies the programs and the data of the tests.
    shutil.copytree(source, to, dirs_exist_ok=True,
                    ignore=lambda folder, names: ours & set(names) if folder == source else ())
    if os.path.isdir(f"{source}/src/bin"):
        shutil.copytree(f"{source}/src/bin", f"{to}/src/bin")
    skipped, count, examples = not_applicable(crate), 0, {}
    for path in glob.glob(f"{source}/src/**/*.rs", recursive=True):
        name = os.path.relpath(path, f"{source}/src")
        text = open(path).read()
        count += len(ATTRIBUTE.findall(text))
        comments = "".join(COMMENT.findall(text))
        examples.update({(name, f"example-{n}"): example for n, example in enumerate(EXAMPLE.findall(comments), 1)})
        for module in FILE.findall(text):
            write(f"{to}/own/{module}.rs", open(f"{source}/src/{module}.rs").read(), skipped, f"{module}.rs")
        blocks = BLOCK.findall(text)
        if blocks:
            write(f"{to}/own/{name}", "".join(blocks), skipped, name)
    for file, test in skipped:
        exists = (file, test) in examples or without(open(f"{source}/src/{file}").read(), test)[1]
        assert exists, f"{crate}: no {test} in {file}"
    with open(f"{to}/own/examples.md", "w") as output:
        # An example imports std's `Command` as the tests do.
        output.writelines(f"# {' '.join(key)}\n\n```{kind}\n# extern crate rawpipe_std as std;\n{text}```\n\n"
                          for key, (kind, text) in examples.items() if key not in skipped)
    return count + len(examples), len(skipped)


def write(path, text, skipped, file):
    for name, test in skipped:
        if name == file:
            text, _ = without(text, test)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as output:
        output.write(text)


def selected(package, backend):
    return ["--locked", "--package", package, *(["--features", "rawpipe/c-shim"] if backend == "c-shim" else [])]


def build(package, backend, folder, environment):
    command = ["cargo", "test", "--lib", "--no-run", "--message-format=json-render-diagnostics",
               *selected(package, backend)]
    built = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, check=True).stdout
    messages = map(json.loads, built.splitlines())
    (path,) = [message["executable"] for message in messages if message.get("executable")]
    return path


def execute(command, folder, environment):
    """Runs the command and prints its output. Returns how many tests passed, and whether all of them did."""
    # Writes to a file, because a grandchild of a test may keep the stream open.
    with open(f"{folder}/log", "w") as output:
        child = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                                 stderr=subprocess.STDOUT, start_new_session=True)
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            print("timed out")
        try:
            os.killpg(child.pid, signal.SIGKILL)  # also the programs that the tests leave behind
        except ProcessLookupError:
            pass
        child.wait()
    text = open(f"{folder}/log").read()
    print(text)
    return len(re.findall(r"^test .* \.\.\. ok$", text, re.M)), child.returncode == 0


def test(crate, package):
    """Tests one crate with both backends, and returns whether all of its tests passed."""
    folder = f"{STAGE}/{CRATES[crate]}"
    count, skipped = extract(crate, package, folder)
    # The tests run `cargo build` in their directory, and look for its programs in target/debug.
    environment = {**os.environ, "CARGO_TARGET_DIR": f"{folder}/target", "PATH": f"{STAGE}/bin:{os.environ['PATH']}"}
    good = True
    for backend in ("asm", "c-shim"):
        binary = build(f"rawpipe-{crate}", backend, folder, environment)
        options = ["--include-ignored"]
        if crate in ALONE:
            listed = subprocess.run([binary, "--list"], stdout=subprocess.PIPE, check=True, text=True).stdout
            runs = [[binary, "--exact", name, *options] for name in re.findall(r"^(\S+): test$", listed, re.M)]
        else:
            runs = [[binary, *options]]
        runs.append(["cargo", "test", "--doc", *selected(f"rawpipe-{crate}", backend)])
        results = [execute(run, folder, environment) for run in runs]
        passed = sum(result[0] for result in results)
        failed = count - skipped - passed
        print(f"result: {crate} {package['version']}'s own tests, {backend} | "
              f"{passed} passed, {skipped} not applicable, {failed} failed", flush=True)
        good &= failed == 0 and all(result[1] for result in results)
    return good


packages = stage()
sys.exit(not all([test(crate, packages[crate]) for crate in sys.argv[1:] or CRATES]))
