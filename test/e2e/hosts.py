# SPDX-License-Identifier: Apache-2.0
"""Hosts for tests: a network namespace each, behind one router in the middle that translates and
filters addresses as the Internet does.

    public host  198.51.100.6 ---+          +--- 10.0.0.10  private host
                                 +- middle -+
    public host  198.51.100.18 --+          +--- 10.0.0.14  private host

Private hosts reach public ones, with the middle's address; nobody reaches a private host."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest
import sites

RULES = """
table ip nat {
    chain out { type nat hook postrouting priority 100; ip saddr 10.0.0.0/8 masquerade; }
}
table ip filter {
    chain through {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        ip daddr 198.51.100.0/24 accept
        reject
    }
}
"""


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=30)


def needs():
    """Skips the test where network namespaces cannot be made."""
    for tool in ("ip", "nft"):
        if not shutil.which(tool):
            pytest.skip("network namespaces need the program %s" % tool)
    name = "sk-try-%d" % os.getpid()
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode == 0:
        made = subprocess.run(["ip", "netns", "exec", name, "nft", "list", "tables"],
                              capture_output=True, text=True)
        ip("netns", "del", name)
    if made.returncode != 0:
        pytest.skip("network namespaces are not permitted here: " + made.stderr.strip())


class Net:
    """The middle with its hosts."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.name = "sk%d-mid" % os.getpid()
        self.hosts = []
        ip("netns", "add", self.name)
        self.inside("sysctl", "-qw", "net.ipv4.ip_forward=1")
        subprocess.run(["ip", "netns", "exec", self.name, "nft", "-f", "-"], input=RULES,
                       check=True, text=True, timeout=30)

    def inside(self, *words):
        subprocess.run(["ip", "netns", "exec", self.name, *words], check=True,
                       capture_output=True, text=True, timeout=30)

    def host(self, name, is_public=False):
        """With an address and a way to the middle; nothing runs on it yet."""
        number = len(self.hosts) + 1
        first = "198.51.100.%d" if is_public else "10.0.0.%d"
        address, gateway, bits = first % (number * 4 + 2), first % (number * 4 + 1), 30
        host = Host(self, name, number, address)
        ip("netns", "add", host.netns)
        self.hosts.append(host)
        ip("link", "add", host.cable, "netns", self.name, "type", "veth", "peer", "name", "eth0",
           "netns", host.netns)
        self.inside("ip", "addr", "add", "%s/%d" % (gateway, bits), "dev", host.cable)
        self.inside("ip", "link", "set", host.cable, "up")
        for words in (("link", "set", "lo", "up"), ("link", "set", "eth0", "up"),
                      ("addr", "add", "%s/%d" % (address, bits), "dev", "eth0"),
                      ("route", "add", "default", "via", gateway)):
            ip("-n", host.netns, *words)
        return host

    def close(self):
        for host in self.hosts:
            host.kill()
            subprocess.run(["ip", "netns", "del", host.netns], capture_output=True)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)


class Host(sites.Site):
    """A site in the namespace "default" of a host of its own."""

    def __init__(self, net, name, number, address):
        self.net, self.address = net, address
        self.netns = "sk%d-%d" % (os.getpid(), number)
        self.cable = "c%d" % number
        home = sites.Sites(net.directory / name)
        super().__init__(home, name, "127.0.0.1")
        self.root = home.home / "namespaces" / "default"

    def command(self, *words):
        return ["ip", "netns", "exec", self.netns, *map(str, words)]

    def popen(self, *words, **more):
        """Starts a program there."""
        more = dict({"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}, **more)
        return subprocess.Popen(self.command(*words), env=self.sites.environment, **more)

    def shell(self, *words, timeout=30):
        """Runs a program there; (status, what it printed)."""
        done = subprocess.run(self.command(*words), env=self.sites.environment, timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout

    def run(self, *words, status=0, stdin=None):
        done = subprocess.run(self.command(sites.SKUPPER, *words), capture_output=True, text=True,
                              input=stdin, env=self.sites.environment, timeout=120)
        if done.returncode != status:
            raise sites.Failed("%s$ skupper %s: status %d\n%s%s" % (
                self.name, " ".join(map(str, words)), done.returncode, done.stdout, done.stderr))
        return done.stdout

    def carry(self, other, file):
        """The token of this host, copied to the other; where it is there."""
        there = other.net.directory / other.name / pathlib.Path(file).name
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, there)
        return str(there)

    def path(self, name):
        place = self.net.directory / self.name
        place.mkdir(parents=True, exist_ok=True)
        return str(place / name)

    def plug(self, is_in):
        """The cable to the middle."""
        self.net.inside("ip", "link", "set", self.cable, "up" if is_in else "down")

    def pids(self):
        done = subprocess.run(["ip", "netns", "pids", self.netns], capture_output=True, text=True)
        return [int(word) for word in done.stdout.split()]

    def kill(self):
        """The host loses its power."""
        deadline = time.monotonic() + 10
        while self.pids() and time.monotonic() < deadline:
            for pid in self.pids():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def link_up(self):
        links = json.loads(self.run("link", "status", "-o", "json") or "null")
        return bool(links) and any(
            c["type"] == "Operational" and c["status"] == "True"
            for c in links.get("status", {}).get("conditions", []))
