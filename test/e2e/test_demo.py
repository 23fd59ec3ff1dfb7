# SPDX-License-Identifier: Apache-2.0
"""The demo says what the README shows, and keeps its time."""

import re
import subprocess
import sys
import time

import pytest
from harness import ROOT

SECONDS = 20


@pytest.fixture(scope="module")
def said():
    """The lines that the demo prints."""
    began = time.monotonic()
    run = subprocess.run([sys.executable, str(ROOT / "demo" / "demo.py")], capture_output=True,
                         text=True, timeout=4 * SECONDS)
    assert run.returncode == 0, run.stdout + run.stderr
    assert time.monotonic() - began < SECONDS
    return [line.strip() for line in run.stdout.splitlines()]


def test_the_demo_shows_the_picture_of_the_readme(said):
    readme = (ROOT / "README.md").read_text()
    picture = re.search(r"```\n(Three sites.*?)```", readme, re.S).group(1)
    for line in picture.splitlines():
        if line.strip() == "…":
            continue
        wanted = ".*".join(re.escape(part) for part in line.strip().split("…"))
        assert any(re.fullmatch(wanted, s) for s in said), (line, said)


def test_the_demo_shares_work_between_both_sites(said):
    a, c = map(int, re.search(r"A did (\d+), C did (\d+)", "\n".join(said)).groups())
    assert a + c == 100 and min(a, c) >= 25
