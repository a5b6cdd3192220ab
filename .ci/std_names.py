#!/usr/bin/env python3
"""Checks the guide's page From std (docs/from_std.md) against the names in std.

  .ci/std_names.py         compare the page with .ci/std_names.txt, and that with the compiler's std
  .ci/std_names.py write   write .ci/std_names.txt from the compiler's std

The names are read from the pages that rustdoc writes for a crate that re-exports these modules. They are the stable
items, their methods and fields, and the traits that they implement, except the commonly derived ones. The check fails
in any of these cases: a name of the list has no row; a row has a name that is not in the list; a difference has no
explanation; a link leads to an item that is not in tests/api/full.txt. Names that exist only in the compiler's std are
printed, because the compiler may be newer than the list.
"""

import os, re, subprocess, sys, tempfile, urllib.parse

MODULES = {
    "std::process": "#[doc(inline)] pub use std::process as std_process;",
    "std::os::unix::process": "#[doc(inline)] pub use std::os::unix::process as std_os_unix_process;",
    "std::os::linux::process": "#[doc(inline)] pub use std::os::linux::process as std_os_linux_process;",
    "std::os::fd": "#[doc(inline)] pub use std::os::fd as std_os_fd;",
    "std::io": "pub mod std_io { #[doc(inline)] pub use std::io::{pipe, PipeReader, PipeWriter}; }",
}
DERIVED = "Clone Copy Debug Display Drop Eq Error Hash Ord PartialEq PartialOrd StructuralPartialEq".split()
LIST, PAGE, API = ".ci/std_names.txt", "docs/from_std.md", "tests/api/full.txt"
UNSTABLE = "nightly-only experimental API"


def members(item, page):
    """Returns the item of one of rustdoc's pages, and the item's members."""
    head, *parts = re.split(r'<section id="(?=impl-|method\.|tymethod\.|associated)', page.split('id="synthetic-impl')[0])
    if UNSTABLE in head.split("<h2 id=")[0]:
        return
    yield item
    yield from (f"{item}::{name}" for name in re.findall(r'id="(?:structfield|variant)\.(\w+)"', head))
    inherent = True
    for part in parts:
        name = urllib.parse.unquote(part.split('"')[0])
        trait = re.match(r"impl-(.*)-for-&?(\w+)", name)
        if name.startswith("impl-"):
            inherent = trait is None
        if UNSTABLE in part:
            continue
        if trait and trait[2] == item and trait[1] not in DERIVED and not trait[1].endswith("Ext"):
            yield f"{item}: {trait[1]}"
        elif inherent and not name.startswith("impl-"):
            yield f"{item}::{name.split('.')[1]}"


def compiler():
    """Returns the version of the compiler, and the names of its std."""
    version = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    names = []
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/lib.rs", "w") as source:
            source.write("\n".join(MODULES.values()))
        subprocess.run(["rustdoc", "--edition", "2024", "--crate-name", "names", "-o", folder, source.name], check=True)
        for module in MODULES:
            pages = f"{folder}/names/{module.replace('::', '_')}"
            for file in sorted(os.listdir(pages)):
                if file.count(".") == 2:  # struct.Command.html
                    names += [f"{module}::{name}" for name in members(file.split(".")[1], open(f"{pages}/{file}").read())]
    return version, list(dict.fromkeys(names))


def rows():
    """Returns the page's rows: the names in the first cell with their module, and the other cells."""
    module = None
    for line in open(PAGE):
        heading = re.match(r"# `(std::\S+)`", line)
        module = heading[1] if heading else None if line.startswith("# ") else module
        if module and line.startswith("| `"):
            first, *others = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            yield [f"{module}::{name}" for name in re.findall(r"`([^`]+)`", first)], others


def problems(listed):
    api = re.sub(r"(?<!core::ops)<[^<>()]*>", "", open(API).read())
    named = set()
    for names, cells in rows():
        yield from (f"not in std: {name}" for name in names if name not in listed)
        yield from (f"two rows: {name}" for name in names if name in named)
        named.update(names)
        if len(cells) != 2 or not re.match(r"same\b|renamed\b|(differs|absent): \S+ \S+ \S+", cells[1]):
            yield f"the last cell must be same, renamed, differs: HOW or absent: WHY: {names[0]}"
        elif ("crate::" in cells[0]) == cells[1].startswith("absent"):
            yield f"one of ours, or absent: {names[0]}"
    yield from (f"no row: {name}" for name in listed if name not in named)
    for link in sorted(set(re.findall(r"\((?:mod@)?crate::([\w:]+)", open(PAGE).read()))):
        if not re.search(rf"\brawpipe::{link}\b(?!::<)", api):
            yield f"not one of ours: {link}"


version, names = compiler()
if sys.argv[1:] == ["write"]:
    with open(LIST, "w") as file:
        file.write("\n".join([f"Rust {version}", *names]) + "\n")
listed_version, *listed = open(LIST).read().splitlines()
numbers = lambda text: [int(part) for part in re.findall(r"\d+", text)[:3]]
newer, found = [name for name in names if name not in listed], list(problems(listed))
if numbers(version) <= numbers(listed_version):
    found += [f"not in {LIST}: {name}" for name in newer]
if numbers(version) >= numbers(listed_version):
    found += [f"not in this compiler's std: {name}" for name in listed if name not in names]
print("".join(f"without a row, in Rust {version}: {name}\n" for name in newer), end="")
print(f"result: names of std | {len(listed)} in {PAGE}, {len(newer)} newer")
sys.exit("\n".join(found) or None)
