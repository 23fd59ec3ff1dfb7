# SPDX-License-Identifier: Apache-2.0
"""The contenders of the benchmark: routers alone and in pairs, and the load for them."""

import contextlib
import json
import os
import subprocess

from rig import BUILD, Program, free_port

TIMEOUT = 60


class Refused(Exception):
    """A router did not do what the load asked for."""


class Process(Program):
    """One running router."""

    def __init__(self, program, directory, name, entities=(), with_tls=True):
        self.port = free_port()
        config = [["router", {"id": name, "mode": "interior"}],
                  ["listener", {"host": "127.0.0.1", "port": self.port}],
                  ["address", {"prefix": "mc", "distribution": "multicast"}]]
        if with_tls:
            config.append(["sslProfile", {"name": "tls", "caCertFile": str(directory / "ca.crt"),
                                          "certFile": str(directory / "west.crt"),
                                          "privateKeyFile": str(directory / "west.key")}])
        path = directory / (name + ".json")
        path.write_text(json.dumps(config + list(entities)))
        self.log = directory / (name + ".log")
        with open(self.log, "w") as log:
            super().__init__([program, "-c", path], log)

    def wait_accepting(self):
        """Seconds from the start until a client is accepted."""
        return self.wait_port(self.port, TIMEOUT, lambda: self.log.read_text()[-2000:])

    def forget_peak(self):
        for pid in self.pids():
            with open("/proc/%d/clear_refs" % pid, "w") as f:
                f.write("5")

    def peak_kib(self):
        return self.status_kib("VmHWM")


class Contender:
    """A router program, alone and as a pair over mutual TLS."""

    def __init__(self, name, program, directory, is_ours):
        self.name, self.program, self.is_ours = name, program, is_ours
        self.directory = directory / name.replace(" ", "-")
        self.directory.mkdir()
        for file in ("ca.crt", "west.crt", "west.key"):
            (self.directory / file).write_bytes((directory / file).read_bytes())
        self.solo, self.pair = None, []
        self.faults, self.refused, self.load_share = [], [], []

    def start(self):
        port = free_port()
        listener = ["listener", {"name": "link", "host": "127.0.0.1", "port": port,
                                 "role": "inter-router", "sslProfile": "tls",
                                 "saslMechanisms": "EXTERNAL", "authenticatePeer": True}]
        connector = ["connector", {"name": "link", "host": "localhost", "port": port,
                                   "role": "inter-router", "sslProfile": "tls",
                                   "saslMechanisms": "EXTERNAL", "socketAddressFamily": "IPv4"}]
        self.solo = Process(self.program, self.directory, "solo")
        self.pair = [Process(self.program, self.directory, "left", [listener])]
        self.pair[0].wait_accepting()
        self.pair.append(Process(self.program, self.directory, "right", [connector]))
        self.solo.wait_accepting()
        self.pair[1].wait_accepting()

    def stop(self):
        for process in [self.solo] + self.pair:
            if process:
                process.stop()

    @contextlib.contextmanager
    def fresh(self, with_tls):
        process = Process(self.program, self.directory, "fresh", with_tls=with_tls)
        try:
            yield process, process.wait_accepting()
        finally:
            process.stop()

    def processes(self, routers):
        return [self.solo] if routers == 1 else self.pair

    def load(self, routers, *options):
        processes = self.processes(routers)
        pids = ",".join(str(pid) for p in processes for pid in p.pids())
        done = subprocess.run([str(BUILD / "load"), "--to", "127.0.0.1:%d" % processes[0].port,
                               "--from", "127.0.0.1:%d" % processes[-1].port, "--pids", pids,
                               *options], capture_output=True, text=True, timeout=180)
        if done.returncode != 0:
            raise Refused("%s: %s %s" % (self.name, done.stderr.strip(), " ".join(options)))
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def idle_connections(self, process, count):
        load = subprocess.Popen([str(BUILD / "load"), "--to", "127.0.0.1:%d" % process.port,
                                 "--idle", str(count)], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)
        line = load.stdout.readline()
        if json.loads(line or "{}").get("idle") != count:
            raise SystemExit("%s did not take %d connections" % (self.name, count))
        yield
        load.stdin.close()
        load.wait(TIMEOUT)


def contenders(directory, ours_only):
    found = [Contender("ours", str(BUILD / "skrouterd"), directory, True)]
    peer = os.environ.get("PEER_SKROUTERD")
    if peer and not ours_only:
        found.append(Contender("existing router", peer, directory, False))
    return found
