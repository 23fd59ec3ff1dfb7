# SPDX-License-Identifier: Apache-2.0
"""The contenders of the benchmark: routers alone and in pairs, and the load for them."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build"))
TIMEOUT = 60


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def make_certificates(directory):
    """An authority and one certificate, with which both ends of a link show who they are."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    ca, key, csr, crt, names = (str(directory / n) for n in
                                ("ca.crt", "router.key", "router.csr", "router.crt", "names"))
    pathlib.Path(names).write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("req", "-x509", *curve, "-keyout", str(directory / "ca.key"), "-out", ca,
            "-days", "2", "-subj", "/CN=bench")
    openssl("req", *curve, "-keyout", key, "-out", csr, "-subj", "/CN=localhost")
    openssl("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", str(directory / "ca.key"),
            "-CAcreateserial", "-out", crt, "-days", "2", "-extfile", names)


def group(pid):
    """The process and its children: the program may be started by a script."""
    found = [pid]
    for p in found:
        for children in pathlib.Path("/proc/%d/task" % p).glob("*/children"):
            found += [int(c) for c in children.read_text().split()]
    return found


class Refused(Exception):
    """A router did not do what the load asked for."""


class Process:
    """One running router."""

    def __init__(self, program, directory, name, entities=(), with_tls=True):
        self.port = free_port()
        config = [["router", {"id": name, "mode": "interior"}],
                  ["listener", {"host": "127.0.0.1", "port": self.port}],
                  ["address", {"prefix": "mc", "distribution": "multicast"}]]
        if with_tls:
            config.append(["sslProfile", {"name": "tls", "caCertFile": str(directory / "ca.crt"),
                                          "certFile": str(directory / "router.crt"),
                                          "privateKeyFile": str(directory / "router.key")}])
        path = directory / (name + ".json")
        path.write_text(json.dumps(config + list(entities)))
        self.started = time.monotonic()
        self.log = directory / (name + ".log")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([program, "-c", str(path)], stdout=log, stderr=log,
                                            start_new_session=True)

    def wait_accepting(self):
        """Seconds from the start until a client is accepted."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return time.monotonic() - self.started
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.0005)
        raise SystemExit("a router does not start: %s\n%s" % (" ".join(self.process.args),
                                                             self.log.read_text()[-2000:]))

    def pids(self):
        return group(self.process.pid)

    def _status_kib(self, key):
        total = 0
        for pid in self.pids():
            for line in pathlib.Path("/proc/%d/status" % pid).read_text().splitlines():
                if line.startswith(key + ":"):
                    total += int(line.split()[1])
        return total

    def resident_kib(self):
        return self._status_kib("VmRSS")

    def settled_kib(self):
        """Resident memory once it has stopped changing."""
        last = -1
        for _ in range(20):
            now = self.resident_kib()
            if now == last:
                break
            last = now
            time.sleep(0.25)
        return last

    def forget_peak(self):
        for pid in self.pids():
            pathlib.Path("/proc/%d/clear_refs" % pid).write_text("5")

    def peak_kib(self):
        return self._status_kib("VmHWM")

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Contender:
    """A router program, alone and as a pair over mutual TLS."""

    def __init__(self, name, program, directory, is_ours):
        self.name, self.program, self.is_ours = name, program, is_ours
        self.directory = directory / name.replace(" ", "-")
        self.directory.mkdir()
        for file in ("ca.crt", "router.crt", "router.key"):
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
