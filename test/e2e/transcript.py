# SPDX-License-Identifier: Apache-2.0
"""Transcripts: files of `$ command` lines, each followed by what it printed and, if it is not 0, its
status. What differs from run to run has a name in it. RECORD=1 writes them anew."""

import os
import re
import shlex
import subprocess

SAME = [
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    (r"127(\.\d+){3}", "ADDRESS"),
    (r"\b(5567|4567|909|567)\d\b", "PORT"),
    (r"  +\n", "\n"),
    (r"(?<=\S)   +", "  "),  # columns are as wide as what stands in them
]


def version(skupper):
    return subprocess.run([skupper, "version"], capture_output=True, text=True,
                          check=True).stdout.strip()


def run(skupper, command, environment, folder, names=(), more=()):
    """One command of a transcript. `names`: [(text, what is written instead)]; `more`: words that
    are given and not told."""
    done = subprocess.run(shlex.split(command.replace("skupper", skupper, 1)) + list(more),
                          capture_output=True, text=True, env=environment, timeout=120, cwd=folder)
    text = done.stdout + done.stderr
    for old, new in names:
        text = text.replace(old, new)
    for pattern, name in SAME:
        text = re.sub(pattern, name, text)
    text = text.replace(version(skupper), "VERSION")
    if text and not text.endswith("\n"):
        text += "\n"
    return "$ %s\n%s%s" % (command, text,
                           "" if done.returncode == 0 else "[%d]\n" % done.returncode)


def compare(folder, name, got):
    path = folder / (name + ".txt")
    if os.environ.get("RECORD"):
        path.write_text(got)
    assert got == path.read_text(), "%s: not as recorded; RECORD=1 records it" % path.name
