# SPDX-License-Identifier: Apache-2.0
"""The command line against a cluster, as people type it."""

import json
import os
import subprocess

from control import SKUPPER


class Cli:
    """Commands for one namespace of one cluster."""

    def __init__(self, cluster, ns, kubeconfig=None, home=None, **environment):
        self.ns, self.cluster = ns, cluster
        self.folder = home or cluster.scratch
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder),
                            "KUBECONFIG": str(kubeconfig or cluster.kubeconfig),
                            "SKUPPER_PLATFORM": "kubernetes", **environment}
        self.environment.update({k: v for k, v in os.environ.items()
                                 if k.endswith("SAN_OPTIONS")})

    def ask(self, *words):
        """What it says and its status."""
        return subprocess.run([SKUPPER, *words, "-n", self.ns], capture_output=True, text=True,
                              env=self.environment, cwd=self.folder, timeout=180)

    def run(self, *words, status=0):
        done = self.ask(*words)
        assert done.returncode == status, "skupper %s: %d\n%s%s" % (
            " ".join(words), done.returncode, done.stdout, done.stderr)
        return done.stdout

    def start(self, *words):
        return subprocess.Popen([SKUPPER, *words, "-n", self.ns], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=self.environment,
                                cwd=self.folder)

    def json(self, *words):
        return json.loads(self.run(*words, "-o", "json"))
