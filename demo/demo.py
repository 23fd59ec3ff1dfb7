#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Three sites, three routers, one network: messages by address instead of by host.

Run by `make demo`. Everything happens on 127.0.0.1 in a temporary directory, and ends by itself.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from proton import Message
from proton.utils import BlockingConnection

ROOT = pathlib.Path(__file__).resolve().parents[1]
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
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
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
        return BlockingConnection("amqp://127.0.0.1:%d" % self.port, timeout=TIMEOUT,
                                  allowed_mechs="ANONYMOUS")


class Subscriber:
    def __init__(self, site, address):
        self.site = site
        self.connection = site.connect()
        self.receiver = self.connection.create_receiver(address, credit=100)

    def take(self, timeout=TIMEOUT):
        message = self.receiver.receive(timeout=timeout)
        self.receiver.accept()
        self.connection.wait(lambda: self.connection.conn.transport.pending() <= 0)
        return message.body

    def close(self):
        self.connection.close()


def send(site, address, bodies):
    connection = site.connect()
    sender = connection.create_sender(address)
    for body in bodies:
        sender.send(Message(body=body), timeout=TIMEOUT)
    connection.close()


def in_background(work, *args):
    thread = threading.Thread(target=work, args=args, daemon=True)
    thread.start()
    return thread


def remote_subscribers(site, address):
    """How many other routers have consumers for the address, as this router knows it."""
    connection = site.connect()
    receiver = connection.create_receiver(None, dynamic=True)
    connection.create_sender("$management").send(Message(
        reply_to=receiver.link.remote_source.address, correlation_id=1,
        properties={"operation": "QUERY", "type": "org.amqp.management",
                    "entityType": "io.skupper.router.router.address"},
        body={"attributeNames": ["key", "remoteCount"]}))
    rows = dict(receiver.receive(timeout=TIMEOUT).body["results"])
    connection.close()
    return rows.get("M" + address, 0)


def multicast(a, b, c):
    title("Multicast: everybody who subscribed gets a copy")
    subscribers = [Subscriber(s, "news/today") for s in (a, c)]
    while remote_subscribers(b, "news/today") < 2:
        pass
    say("applications at A and C subscribe to the address news/today")
    say("an application at B sends 'the line is open' to news/today; it knows no host")
    thread = in_background(send, b, "news/today", ["the line is open"])
    for s in subscribers:
        say("   %s received: %s" % (s.site.name, s.take()))
    thread.join(TIMEOUT)
    for s in subscribers:
        s.close()


def balanced(a, b, c):
    title("Balanced: each message goes to one consumer, the work is shared")
    workers = [Subscriber(s, "orders") for s in (a, c)]
    while remote_subscribers(b, "orders") < 2:
        pass
    counts = {s.site.name: 0 for s in workers}
    done = threading.Event()

    def work(worker):
        while not done.is_set():
            try:
                worker.take(timeout=0.2)
                counts[worker.site.name] += 1
            except Exception:
                continue

    threads = [in_background(work, w) for w in workers]
    senders = [in_background(send, b, "orders", range(25)) for _ in range(4)]
    for t in senders:
        t.join(TIMEOUT)
    done.set()
    for t in threads:
        t.join(TIMEOUT)
    say("an application at B sends 100 orders; workers at A and C take them:")
    say("   A did %d, C did %d" % (counts["A"], counts["C"]))
    for w in workers:
        w.close()


def closest(a, b, c):
    title("Closest: the consumer that is cheapest to reach")
    near, far = Subscriber(b, "nearby/printer"), Subscriber(a, "nearby/printer")
    say("there is a printer at A and one at B; an application at B prints")
    thread = in_background(send, b, "nearby/printer", ["a page"])
    say("   the one at B printed: %s" % near.take())
    thread.join(TIMEOUT)
    near.close()
    while remote_subscribers(b, "nearby/printer") < 1:
        pass
    say("the printer at B is switched off; the application prints again, changing nothing")
    thread = in_background(send, b, "nearby/printer", ["another page"])
    say("   the one at A printed: %s" % far.take())
    thread.join(TIMEOUT)
    far.close()


def failure(a, b, c):
    title("A router dies: traffic finds the other way")
    receiver = Subscriber(c, "meter")
    while remote_subscribers(a, "meter") < 1:
        pass
    say("A sends readings to an application at C. The direct line is dear (cost 10),")
    say("so they travel A - B - C (cost 2)")
    thread = in_background(send, a, "meter", ["reading 1"])
    say("   C received: %s" % receiver.take())
    thread.join(TIMEOUT)
    say("the router at B is killed (kill -9)")
    began = time.monotonic()
    b.process.send_signal(signal.SIGKILL)
    b.process.wait(TIMEOUT)
    a.wait("neighbour B is gone")
    thread = in_background(send, a, "meter", ["reading 2"])
    body = receiver.take()
    say("   C received: %s, over the direct line, %.0f ms after B died" %
        (body, 1000 * (time.monotonic() - began)))
    thread.join(TIMEOUT)
    receiver.close()


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
            site.process.terminate()
        for site in sites:
            site.process.wait(TIMEOUT)
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
