#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TCP services compared: nothing in between, a pair of proxies without any feature (the floor),
haproxy, stunnel, ours, and the existing router.

Two proxies each, TLS 1.3 with client certificates between them, client and server and both proxies
on this machine. All contenders take their turn in every round; each cell is the median of the
rounds with the least and the most. CPU is that of both proxies together. Every byte is checked.

  services.py [--rounds N] [--seconds S] [--only NAME,NAME] [--quick]

PEER_SKROUTERD names the existing router, to be a contender too.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from rig import (BUILD, Program, free_port, make_certificates, print_table, settled, spread,
                 system_calls)

STREAMS = BUILD / "streams"

HAPROXY = """
global
    log /dev/null local0
    nbthread 2
    maxconn 8000
    ssl-default-bind-options ssl-min-ver TLSv1.3
    ssl-default-server-options ssl-min-ver TLSv1.3
defaults
    mode tcp
    timeout connect 5s
    timeout client 10m
    timeout server 10m
frontend in
    bind 127.0.0.1:{listen} {listen_tls}
    default_backend out
backend out
    server s 127.0.0.1:{to} {to_tls}
"""

STUNNEL = """
foreground = yes
pid =
debug = 3
output = /dev/null
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[s]
client = {client}
accept = 127.0.0.1:{listen}
connect = 127.0.0.1:{to}
CAfile = {dir}/ca.crt
cert = {dir}/{name}.pem
verifyChain = yes
sslVersionMin = TLSv1.3
"""


class Contender:
    """A pair of proxies; `entry` is where the client goes."""

    def __init__(self, directory, server_port):
        self.dir = directory
        self.server_port = server_port
        self.entry = free_port()
        self.middle = free_port()
        self.programs = []
        self.ready_seconds = 0

    def launch(self, words, name, **kwargs):
        log = open(self.dir / ("%s-%s.log" % (type(self).__name__, name)), "w")
        self.programs.append(Program(words, log, **kwargs))

    def start(self):
        started = time.monotonic()
        self.begin()
        while not serves(self.entry):
            if time.monotonic() - started > 60:
                raise SystemExit("%s serves nothing after a minute" % type(self).__name__)
        self.ready_seconds = time.monotonic() - started

    def begin(self):
        pass

    def stop(self):
        for p in self.programs:
            p.stop()
        self.programs = []

    def cpu_seconds(self):
        return sum(p.cpu_seconds() for p in self.programs)

    def resident_kib(self):
        return sum(p.resident_kib() for p in self.programs)


class Direct(Contender):
    def begin(self):
        self.entry = self.server_port


class Haproxy(Contender):
    def begin(self):
        tls = "ssl crt {0}/{1}.pem ca-file {0}/ca.crt verify required"
        for name, values in (
                ("east", {"listen": self.middle, "listen_tls": tls.format(self.dir, "east"),
                          "to": self.server_port, "to_tls": ""}),
                ("west", {"listen": self.entry, "listen_tls": "", "to": self.middle,
                          "to_tls": tls.format(self.dir, "west")})):
            path = self.dir / ("haproxy-%s.cfg" % name)
            path.write_text(HAPROXY.format(**values))
            self.launch(["haproxy", "-db", "-f", path], name)


class Stunnel(Contender):
    def begin(self):
        for name, client, listen, to in (("east", "no", self.middle, self.server_port),
                                         ("west", "yes", self.entry, self.middle)):
            path = self.dir / ("stunnel-%s.conf" % name)
            path.write_text(STUNNEL.format(client=client, listen=listen, to=to, dir=self.dir,
                                           name=name))
            self.launch(["stunnel4", path], name)


class Bare(Contender):
    def begin(self):
        for name, port in (("far", self.server_port), ("near", self.entry)):
            self.launch([BUILD / "bare", name, self.dir, self.middle, port], name)


class Routers(Contender):
    program = BUILD / "skrouterd"

    def profile(self, name):
        return ["sslProfile", {"name": "tls", "caCertFile": "%s/ca.crt" % self.dir,
                               "certFile": "%s/%s.crt" % (self.dir, name),
                               "privateKeyFile": "%s/%s.key" % (self.dir, name)}]

    def begin(self):
        # By name: the existing router does not look for an address in a certificate.
        secure = {"role": "inter-router", "host": "localhost", "socketAddressFamily": "IPv4",
                  "port": str(self.middle), "sslProfile": "tls", "saslMechanisms": "EXTERNAL"}
        configurations = {
            "east": [["listener", {"name": "in", "authenticatePeer": True, **secure}],
                     ["tcpConnector", {"name": "c", "address": "bench", "host": "127.0.0.1",
                                       "port": str(self.server_port)}]],
            "west": [["connector", {"name": "out", **secure}],
                     ["tcpListener", {"name": "l", "address": "bench", "host": "127.0.0.1",
                                      "port": str(self.entry)}]]}
        for name, entities in configurations.items():
            path = self.dir / ("%s-%s.json" % (type(self).__name__, name))
            path.write_text(json.dumps([["router", {"id": name, "mode": "interior"}],
                                        self.profile(name), *entities], indent=1))
            self.launch([self.program, "-c", path], name)


class Peer(Routers):
    program = os.environ.get("PEER_SKROUTERD", "")


CONTENDERS = {"direct": Direct, "bare": Bare, "haproxy": Haproxy, "stunnel": Stunnel, "ours": Routers,
              "peer": Peer}


def serves(port):
    """Whether a connection really reaches the server: it answers what it is asked."""
    result = subprocess.run([STREAMS, "ping", "127.0.0.1:%d" % port, "--seconds", "0.01"],
                            capture_output=True, text=True)
    return result.returncode == 0 and json.loads(result.stdout)["lost"] == 0


# name, client's words, what a unit is, figures: (label, function of (result, cpu)).
def per_gb(r, cpu):
    return cpu / (r["bytes"] / 1e9) if r["bytes"] else float("inf")


def per_request_us(r, cpu):
    return cpu / r["operations"] * 1e6 if r["operations"] else float("inf")


def rate(r, cpu):
    return r["operations"] / r["seconds"]


BULK = [("Gbit/s", lambda r, cpu: r["bytes"] * 8 / r["seconds"] / 1e9), ("CPU s/GB", per_gb),
        ("slowest/fastest", lambda r, cpu: r["fairness"])]
REQUESTS = [("per s", rate), ("CPU us each", per_request_us), ("p50 us", lambda r, c: r["p50_us"]),
            ("p99 us", lambda r, c: r["p99_us"])]
WORKLOADS = [
    ("bulk, 1 stream", ["bulk"], BULK),
    ("bulk, 8 streams", ["bulk", "--streams", "8"], BULK),
    ("bulk, 8 streams down", ["bulk", "--streams", "8", "--down"], BULK),
    ("64 B, fixed 1000/s", ["ping", "--streams", "8", "--rate", "1000"], REQUESTS),
    ("64 B, 1 connection", ["ping"], REQUESTS),
    ("64 B, 32 connections", ["ping", "--streams", "32"], REQUESTS),
    ("64 B, 256 connections", ["ping", "--streams", "256"], REQUESTS),
    ("HTTP/1.1 keep-alive, 64", ["http", "--streams", "64"], REQUESTS),
    ("connect+request+close, 32", ["connect", "--streams", "32"], REQUESTS),
]
IDLE = 1000


def client(contender, words, seconds):
    output = subprocess.run([STREAMS, words[0], "127.0.0.1:%d" % contender.entry, *words[1:],
                             "--seconds", str(seconds)], capture_output=True, text=True)
    if output.returncode != 0:
        raise SystemExit("streams %s: %s" % (words, output.stderr))
    return json.loads(output.stdout)


def measure(contender, words, figures, seconds, cells, faults):
    before = contender.cpu_seconds()
    result = client(contender, words, seconds)
    cpu = contender.cpu_seconds() - before
    if result["wrong"] or result["lost"]:
        faults.append("%s %s: %d wrong, %d lost" % (type(contender).__name__, " ".join(words),
                                                    result["wrong"], result["lost"]))
    for label, figure in figures:
        cells.setdefault(label, []).append(figure(result, cpu))


# Some give memory back only after a while.
AT_REST = {"still": 11, "most": 40}


def measure_idle(contender, cells):
    before = settled(contender.resident_kib, **AT_REST)
    cells.setdefault("idle MiB", []).append(before / 1024)
    cells.setdefault("ready ms", []).append(contender.ready_seconds * 1000)
    holder = subprocess.Popen([STREAMS, "idle", "127.0.0.1:%d" % contender.entry, "--streams",
                               str(IDLE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    holder.stdout.readline()
    cells.setdefault("KiB per idle connection", []).append(
        (settled(contender.resident_kib, **AT_REST) - before) / IDLE)
    holder.communicate("")


def measure_calls(contender, cells):
    if not contender.programs or not shutil.which("perf"):
        return
    for label, words, unit in (("calls per GB, 1 stream", ["bulk"], "bytes"),
                               ("calls per request, 32", ["ping", "--streams", "32"], "operations")):
        results = []
        calls = system_calls(contender.programs, lambda: results.append(client(contender, words, 2)))
        if calls is not None and results[0][unit]:
            amount = results[0][unit] / (1e9 if unit == "bytes" else 1)
            cells.setdefault(label, []).append(calls / amount)


def measure_all(chosen, directory, rounds, seconds):
    cells, faults = {}, []
    for turn in range(rounds):
        for name in chosen:
            server_port = free_port()
            server = Program([STREAMS, "serve", server_port], subprocess.DEVNULL)
            server.wait_port(server_port)
            contender = CONTENDERS[name](directory, server_port)
            contender.start()
            sys.stderr.write("round %d of %d: %s\n" % (turn + 1, rounds, name))
            measure_idle(contender, cells.setdefault(("idle", name), {}))
            for title, words, figures in WORKLOADS:
                measure(contender, words, figures, seconds, cells.setdefault((title, name), {}),
                        faults)
            measure_calls(contender, cells.setdefault(("system calls", name), {}))
            contender.stop()
            server.stop()
    return cells, faults


def show(cells, chosen):
    for title in ["idle"] + [w[0] for w in WORKLOADS] + ["system calls"]:
        heads = ["contender"]
        for name in chosen:
            heads += [h for h in cells[title, name] if h not in heads]
        rows = [[name] + [spread(cells[title, name].get(h, [])) for h in heads[1:]]
                for name in chosen]
        print_table(title, heads, rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    chosen = [name for name in CONTENDERS if not options.only or name in options.only.split(",")]
    missing = {"haproxy": not shutil.which("haproxy"), "stunnel": not shutil.which("stunnel4"),
               "peer": not Peer.program}
    for name in [n for n in chosen if missing.get(n)]:
        print("%s is not here and left out" % name)
        chosen.remove(name)
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        make_certificates(directory)
        cells, faults = measure_all(chosen, directory, 1 if options.quick else options.rounds,
                                    0.5 if options.quick else options.seconds)
    show(cells, chosen)
    print("\n" + ("\n".join(faults) if faults else "every byte arrived as it was sent"))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
