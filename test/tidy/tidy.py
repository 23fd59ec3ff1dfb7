#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps the structure and the style: who may include whom, sizes, formatting, words.

tidy.py          what is quick
tidy.py --deep   clang-tidy and cppcheck as well (needs a build directory)
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Folder -> folders whose door it may enter. Everybody may use base.
MAY_INCLUDE = {
    "base": [], "amqp": [], "http": [], "libcurl": [], "net": [], "pki": [], "site": [],
    "mgmt": ["amqp"], "flow": ["amqp"],
    "router": ["amqp", "mgmt"],
    "tcp": ["amqp", "router"],
    "web": ["http", "net"],
    "client": ["amqp", "net"],
    "node": ["amqp", "flow", "http", "mgmt", "net", "router", "tcp", "web"],
    "kube": ["libcurl", "net", "pki", "site"],
    "drive": ["amqp", "client", "flow", "net", "site"],
    "host": ["amqp", "client", "drive", "flow", "http", "libcurl", "net", "pki", "site",
             "web"],
    "controller": ["host", "kube", "net", "pki", "site", "web"],
    "cli": ["amqp", "client", "controller", "flow", "host", "kube", "net", "pki", "site"],
    "pod": ["client", "drive", "flow", "host", "kube", "net", "site", "web"],
    "cmd": ["cli", "node", "pod"],
}
FILE_LINES_MAX = 900
FUNCTION_LINES_MAX = 70
# Tables, whose length is not complexity.
LONG_FUNCTIONS = {}
FORBIDDEN = re.compile(r"/work/|/tmp/bash|\bTODO\b|\bFIXME\b|\bXXX\b")


def sources():
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT,
                           capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / f for f in files if f and (ROOT / f).is_file()]


def check_includes(path, text):
    folder = path.relative_to(ROOT / "src").parts[0]
    for line in re.findall(r'^#include "([^"]+)"', text, re.M):
        target, _, name = line.partition("/")
        if target in (folder, "base") or not name:
            continue
        if target not in MAY_INCLUDE.get(folder, []):
            yield "includes %s: %s may not use %s" % (line, folder, target)
        elif name != target + ".h":
            yield "includes %s: the door of %s is %s/%s.h" % (line, target, target, target)


def check_functions(path, lines):
    start = None
    for i, line in enumerate(lines):
        if line == "{":
            start = i
        elif line == "}" and start is not None:
            name = re.findall(r"(\w+)\(", " ".join(lines[max(0, start - 3):start]))
            if i - start > FUNCTION_LINES_MAX and (name or [""])[-1] not in LONG_FUNCTIONS:
                yield "%d: a function of %d lines" % (start + 1, i - start)
            start = None


def check_file(path):
    text = path.read_text(errors="replace")
    lines = text.split("\n")
    if len(lines) > FILE_LINES_MAX:
        yield "%d lines" % len(lines)
    if "SPDX-License-Identifier" not in "\n".join(lines[:4]):
        yield "no SPDX line"
    if path.suffix == ".h" and "#pragma once" not in text:
        yield "no #pragma once"
    for i, line in enumerate(lines):
        if FORBIDDEN.search(line) and path != pathlib.Path(__file__).resolve():
            yield "%d: a word that does not belong here: %s" % (i + 1, line.strip())
    if path.suffix in (".c", ".h") and (ROOT / "src") in path.parents:
        yield from check_includes(path, text)
    if path.suffix == ".c":
        yield from check_functions(path, lines)


def check_format(files):
    result = subprocess.run(["clang-format", "--dry-run", "-Werror", *map(str, files)],
                            capture_output=True, text=True)
    for line in result.stderr.split("\n"):
        if "error:" in line:
            yield line


def clang_tidy(path):
    result = subprocess.run(["clang-tidy", "-p", str(ROOT / "build"), "--quiet",
                             "--extra-arg=-Wno-unknown-warning-option", str(path)],
                            capture_output=True, text=True)
    return [line for line in result.stdout.split("\n")
            if "error:" in line or "warning:" in line]


def deep(files):
    files = [f for f in files if f.suffix == ".c" and (ROOT / "src") in f.parents
             and not f.stem.endswith("_test")]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for i, lines in enumerate(pool.map(clang_tidy, files)):
            if sys.stderr.isatty():
                print("\rclang-tidy: %d of %d files" % (i + 1, len(files)), end="\n" if
                      i + 1 == len(files) else "", file=sys.stderr)
            yield from lines
    result = subprocess.run(["cppcheck", "--quiet", "--std=c11", "--enable=warning,portability",
                             "--inline-suppr", "--library=test/tidy/jansson.cfg",
                             "--error-exitcode=1", "-Isrc", "-Ibuild/src", *map(str, files)],
                            cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        yield result.stderr


def main():
    faults = []
    checked = [f for f in sources()
               if f.suffix in (".c", ".h", ".py") or f.name in ("Makefile", "meson.build")]
    for f in checked:
        faults += ["%s: %s" % (f.relative_to(ROOT), fault) for fault in check_file(f)]
    c_files = [f for f in checked if f.suffix in (".c", ".h")]
    faults += check_format(c_files)
    if "--deep" in sys.argv:
        faults += deep(c_files)
    print("\n".join(faults) if faults else "%d files in order" % len(checked))
    sys.exit(1 if faults else 0)


main()
