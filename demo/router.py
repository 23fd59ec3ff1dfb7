#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Three sites, three routers, one network: messages by address instead of by host.

Run by `make demo`. Everything happens on 127.0.0.1 in a temporary directory, and ends by itself.
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from proton import Message

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test" / "e2e"))
import client  # noqa: E402

SKROUTERD = os.environ.get("SKROUTERD", str(ROOT / "build" / "skrouterd"))
SITES = {"A": "the head office", "B": "a public cloud", "C": "the factory"}
TIMEOUT = 10
COLOURS = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code, text):
    return "\033[%sm%s\033[0m" % (code, text) if COLOURS else text


def title(text):
    print("\n" + paint("1", text), flush=True)


def say(text):
    print("   " + text, flush=True)


def free_port():
    """Below the ports that the system gives to clients, who could take it before a router does."""
    while True:
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", random.randrange(30000, 32768)))
            return s.getsockname()[1]


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def make_certificates(directory):
    """A certificate authority for the network, a key and a certificate for each site."""
    ca_key, ca = str(directory / "ca.key"), str(directory / "ca.crt")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *curve, "-keyout", ca_key, "-out", ca, "-days", "1",
            "-subj", "/CN=demo network")
    for site in SITES:
        key, csr, crt = (str(directory / (site + end)) for end in (".key", ".csr", ".crt"))
        names = directory / (site + ".ext")
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("req", *curve, "-keyout", key, "-out", csr, "-subj", "/CN=site " + site)
        openssl("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial",
                "-out", crt, "-days", "1", "-extfile", str(names))


class Site:
    """One router with its own certificate."""

    def __init__(self, name, directory, link_port, links):
        self.name, self.port = name, free_port()
        profile = {"name": "network", "caCertFile": str(directory / "ca.crt"),
                   "certFile": str(directory / (name + ".crt")),
                   "privateKeyFile": str(directory / (name + ".key"))}
        config = [
            ["router", {"id": name, "mode": "interior"}],
            ["sslProfile", profile],
            ["listener", {"name": "applications", "host": "127.0.0.1", "port": self.port}],
            ["listener", {"name": "links", "host": "127.0.0.1", "port": link_port,
                          "role": "inter-router", "sslProfile": "network",
                          "saslMechanisms": "EXTERNAL", "authenticatePeer": True}],
            ["address", {"prefix": "news", "distribution": "multicast"}],
            ["address", {"prefix": "nearby", "distribution": "closest"}],
        ]
        for peer_port, cost in links:
            config.append(["connector", {"name": "to-%d" % peer_port, "host": "localhost",
                                         "port": peer_port, "role": "inter-router", "cost": cost,
                                         "sslProfile": "network", "socketAddressFamily": "IPv4"}])
        path = directory / (name + ".json")
        path.write_text(json.dumps(config, indent=1))
        self.process = subprocess.Popen([SKROUTERD, "-c", str(path)], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        self.lines, self.changed = [], threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()

    def wait(self, text):
        with self.changed:
            if not self.changed.wait_for(lambda: any(text in x for x in self.lines), TIMEOUT):
                sys.exit("the router of site %s did not say %r:\n%s" %
                         (self.name, text, "".join(self.lines)))

    def connect(self):
        """An application's connection: to the router next to it, and to nothing else."""
        return client.connect("amqp://127.0.0.1:%d" % self.port)

    def subscribe(self, address):
        receiver = self.connect().receiver(address, credit=100)
        receiver.connection.barrier()
        return receiver

    def stop(self):
        self.process.terminate()
        self.process.wait(TIMEOUT)


class Directory:
    """What a router knows of an address, by its management."""

    def __init__(self, site):
        self.connection = site.connect()
        self.answers = self.connection.receiver(None)
        self.questions = self.connection.sender("$management")

    def remote_subscribers(self, address):
        """How many other routers have consumers for it."""
        self.questions.post(Message(
            reply_to=self.answers.address, correlation_id=1,
            properties={"operation": "QUERY", "type": "org.amqp.management",
                        "entityType": "io.skupper.router.router.address"},
            body={"attributeNames": ["key", "remoteCount"]}))
        return dict(self.answers.take()["results"]).get("M" + address, 0)

    def wait(self, address, count):
        """Asks again after each answer until all have heard."""
        end = time.monotonic() + TIMEOUT
        while self.remote_subscribers(address) < count:
            if time.monotonic() > end:
                sys.exit("%s is not known everywhere" % address)
        self.connection.close()


def wait_known(site, address, count):
    Directory(site).wait(address, count)


def send(site, address, bodies):
    sender = site.connect().sender(address, again=True)
    sent = sender.post_all([Message(body=b) for b in bodies])
    return sender, sent


def settled(sender, sent):
    for s in sent:
        s.outcome(TIMEOUT)
    sender.connection.close()


def close(*receivers):
    for r in receivers:
        r.connection.close()


def multicast(a, b, c):
    title("Multicast: everybody who subscribed gets a copy")
    subscribers = {site.name: site.subscribe("news/today") for site in (a, c)}
    wait_known(b, "news/today", 2)
    say("applications at A and C subscribe to the address news/today")
    say("an application at B sends 'the line is open' to news/today; it knows no host")
    on_its_way = send(b, "news/today", ["the line is open"])
    for name, receiver in subscribers.items():
        say("   %s received: %s" % (name, receiver.take()))
    settled(*on_its_way)
    close(*subscribers.values())


def balanced(a, b, c):
    title("Balanced: each message goes to one consumer, the work is shared")
    workers = {site.name: site.connect().receiver("orders", auto=client.accepting)
               for site in (a, c)}
    wait_known(b, "orders", 2)
    say("an application at B sends 100 orders; workers at A and C take them:")
    settled(*send(b, "orders", range(100)))
    say("   A did %d, C did %d" % (workers["A"].received, workers["C"].received))
    close(*workers.values())


def closest(a, b, c):
    title("Closest: the consumer that is cheapest to reach")
    near, far = b.subscribe("nearby/printer"), a.subscribe("nearby/printer")
    wait_known(b, "nearby/printer", 1)
    say("there is a printer at A and one at B; an application at B prints")
    on_its_way = send(b, "nearby/printer", ["a page"])
    say("   the one at B printed: %s" % near.take())
    settled(*on_its_way)
    close(near)
    say("the printer at B is switched off; the application prints again, changing nothing")
    on_its_way = send(b, "nearby/printer", ["another page"])
    say("   the one at A printed: %s" % far.take())
    settled(*on_its_way)
    close(far)


def failure(a, b, c):
    title("A router dies: traffic finds the other way")
    receiver = c.subscribe("meter")
    wait_known(a, "meter", 1)
    say("A sends readings to an application at C. The direct line is dear (cost 10),")
    say("so they travel A - B - C (cost 2)")
    on_its_way = send(a, "meter", ["reading 1"])
    say("   C received: %s" % receiver.take())
    settled(*on_its_way)
    say("the router at B is killed (kill -9)")
    began = time.monotonic()
    b.process.send_signal(signal.SIGKILL)
    b.process.wait(TIMEOUT)
    a.wait("neighbour B is gone")
    on_its_way = send(a, "meter", ["reading 2"])
    body = receiver.take()
    say("   C received: %s, over the direct line, %.0f ms after B died" %
        (body, 1000 * (time.monotonic() - began)))
    settled(*on_its_way)
    close(receiver)


def main():
    began = time.monotonic()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="skupper-demo-"))
    sites = []
    try:
        title("Three sites, each with its own router and certificate")
        for name, what in SITES.items():
            say("%s  %s" % (name, what))
        say("linked by mutual TLS:  A - B and B - C (cost 1), A - C (cost 10)")
        make_certificates(directory)
        ports = {s: free_port() for s in SITES}
        links = {"A": [], "B": [(ports["A"], 1)], "C": [(ports["B"], 1), (ports["A"], 10)]}
        for name in SITES:
            sites.append(Site(name, directory, ports[name], links[name]))
            sites[-1].wait("is running")
        for site in sites:
            for other in SITES:
                if other != site.name:
                    site.wait("router %s is reachable" % other)
        say("all three know each other")
        multicast(*sites)
        balanced(*sites)
        closest(*sites)
        failure(*sites)
        title("Done in %.1f s." % (time.monotonic() - began))
        say("Next: README.md tells how to run a router of your own.")
    finally:
        for site in sites:
            site.stop()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
