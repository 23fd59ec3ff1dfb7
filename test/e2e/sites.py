# SPDX-License-Identifier: Apache-2.0
"""Sites on this host for tests: a namespace each, driven by the command line as people do."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from harness import ROOT

SKUPPER = os.environ.get("SKUPPER", str(pathlib.Path(
    os.environ.get("SKROUTERD", ROOT / "build" / "skrouterd")).parent / "skupper"))
PATIENCE = 60


class Failed(Exception):
    """A command ended with another status than was expected."""


class Sites:
    """A data home with namespaces in it. Each has an address of its own, so that services of the
    same port do not meet: 127.x.y.z, different for each test that runs at the same time."""

    def __init__(self, directory):
        self.home = pathlib.Path(directory) / "home"
        self.environment = dict(os.environ, SKUPPER_OUTPUT_PATH=str(self.home),
                                SKUPPER_PLATFORM="linux")
        self.environment.pop("KUBECONFIG", None)
        self.count = 0

    def host(self):
        self.count += 1
        return "127.%d.%d.%d" % (64 + os.getpid() // 250 % 60, 1 + os.getpid() % 250, self.count)

    def run(self, *words, status=0, stdin=None):
        """Runs skupper; what it prints on standard output."""
        done = subprocess.run([SKUPPER, *words], capture_output=True, text=True, input=stdin,
                              env=self.environment, timeout=120)
        if done.returncode != status:
            raise Failed("skupper %s: status %d\n%s%s" % (" ".join(words), done.returncode,
                                                          done.stdout, done.stderr))
        return done.stdout

    def site(self, name, *flags, start=True):
        """A new site in a namespace of its own, started."""
        site = Site(self, name, self.host())
        site.run("site", "create", name, "--service-host", site.host, *flags)
        if start:
            site.run("system", "start")
        return site

    def close(self):
        subprocess.run([SKUPPER, "system", "uninstall", "--force"], env=self.environment,
                       stdout=subprocess.DEVNULL, timeout=120)


class Site:
    def __init__(self, sites, name, host):
        self.sites, self.name, self.host = sites, name, host
        self.root = sites.home / "namespaces" / name

    def run(self, *words, **more):
        return self.sites.run("-n", self.name, *words, **more)

    def link_to(self, other, **more):
        """By a token, issued there and redeemed here."""
        token = self.sites.home.parent / ("%s-%s.yaml" % (other.name, self.name))
        other.run("token", "issue", str(token))
        self.run("token", "redeem", str(token), **more)

    def apply(self, text, **more):
        return self.run("system", "apply", "-f", "-", stdin=text, **more)

    def resource(self, kind, name):
        """With its status, as the agent tells it; None: it tells none."""
        path = self.root / "runtime" / "resources" / ("%s-%s.yaml" % (kind, name))
        if not path.exists():
            return None
        words = {"Site": "site", "Link": "link", "Listener": "listener", "Connector": "connector"}
        if kind not in words:
            raise ValueError(kind)
        text = self.run(words[kind], "status", *([] if kind == "Site" else [name]), "-o", "json")
        return json.loads(text)

    def condition(self, kind, name, condition):
        """(status, message) of a condition, or None."""
        resource = self.resource(kind, name) or {}
        for one in resource.get("status", {}).get("conditions", []):
            if one["type"] == condition:
                return one["status"], one["message"]
        return None

    def pid(self, which):
        """Of the "agent" or the "router"."""
        path = self.root / "internal" / "pids" / which
        return int(until("its number is written", lambda: path.read_text().strip()))

    def kill(self, which, number=signal.SIGKILL):
        """Returns when it has ended: its lock is free then."""
        pid = self.pid(which)
        os.kill(pid, number)
        until("it has ended", lambda: has_ended(pid))

    def log(self, which):
        path = self.root / "internal" / (which + ".log")
        return path.read_text() if path.exists() else ""


def has_ended(pid):
    """Gone, or waiting for somebody to take notice."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until(what, question, seconds=PATIENCE):
    """Asks until the answer is true; the answer."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def connects(host, port):
    try:
        socket.create_connection((host, port), timeout=2).close()
        return True
    except OSError:
        return False


def talk(host, port, line):
    """One line there, one line back; None: nobody answers."""
    try:
        with socket.create_connection((host, port), timeout=5) as s:
            s.sendall(line.encode() + b"\n")
            return s.makefile().readline().rstrip("\n") or None
    except OSError:
        return None
