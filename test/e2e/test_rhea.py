# SPDX-License-Identifier: Apache-2.0
"""A second independent client library, rhea for Node.js: its cases are rhea/cases.js."""

import os
import re
import subprocess

import pytest
from harness import ROOT, TIMEOUT, line

CASES = ROOT / "test" / "e2e" / "rhea" / "cases.js"
MODULES = ROOT / "build-rhea" / "node_modules"
NAMES = re.findall(r"^    async (\w+)\(", CASES.read_text(), re.M)


@pytest.fixture(scope="module", params=["one", "a line of three"])
def ends(request, routers_of_module):
    made = line(routers_of_module, "A" if request.param == "one" else "ABC")
    return made[0], made[-1]


@pytest.mark.parametrize("name", NAMES)
def test_rhea(ends, name):
    run = subprocess.run(["node", str(CASES), name, *(str(r.port) for r in ends)],
                         env={**os.environ, "NODE_PATH": str(MODULES)}, capture_output=True,
                         text=True, timeout=TIMEOUT)
    assert run.returncode == 0, run.stdout + run.stderr
