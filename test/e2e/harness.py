# SPDX-License-Identifier: Apache-2.0
"""Routers and clients for system tests.

Everything is awaited: a line of a router's log, credit on a sender, a message, the end of a process.
Nothing sleeps.
"""

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time

import client
from proton import Delivery, Message

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKROUTERD = os.environ.get("SKROUTERD", str(ROOT / "build" / "skrouterd"))
# The existing router, for tests that join it; they are skipped, with this reason, without it.
PEER = os.environ.get("PEER_SKROUTERD", "")
# How many workers each router has, with connections spread over all of them; default: as shipped.
WORKERS = int(os.environ.get("E2E_WORKERS", "0"))
# Built with a sanitizer, whose own memory says nothing of ours: no test sees it grow.
SANITIZED = bool(os.environ.get("E2E_SANITIZED"))
TIMEOUT = float(os.environ.get("E2E_TIMEOUT", "60"))


def _ports():
    """Below the ports that the system gives to clients, for a port may be asked for long before
    anybody listens there; tests that run at the same time have ranges of their own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 16
    first, count = 10000 + 1250 * worker, 1250
    at = random.randrange(count)
    while True:
        at = (at + 1) % count
        yield first + at


PORTS = _ports()


def free_port():
    for port in PORTS:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Lines:
    """The lines of a stream, as they come, to wait for."""

    def __init__(self, stream):
        self.lines = []
        self.changed = threading.Condition()
        self.ended = False
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream):
        for line in stream:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def find(self, text, start=0):
        return next((i for i in range(start, len(self.lines)) if text in self.lines[i]), None)

    def wait(self, text, timeout=TIMEOUT, start=0):
        """The index of the first line from `start` on that holds `text`."""
        end = time.monotonic() + timeout
        with self.changed:
            while self.find(text, start) is None:
                left = end - time.monotonic()
                if left <= 0 or self.ended:
                    raise AssertionError("no line with %r in:\n%s" % (text, "\n".join(self.lines)))
                self.changed.wait(left)
            return self.find(text, start)


class Router:
    """One running router. `entities` are added to the configuration as they are, `listener` to
    the attributes of its listener for applications; `files`: descriptors it may have;
    `environment`: what is added to ours."""

    def __init__(self, tmp_path, name, mode="interior", entities=(), program=None, start=True,
                 normal=True, listener=None, files=None, environment=None, **router_attributes):
        self.name = name
        self.program = program or SKROUTERD
        self.port = free_port() if normal else None
        if WORKERS and self.program == SKROUTERD:
            router_attributes = {"workerThreads": WORKERS, "workerFill": 0, **router_attributes}
        self.config = [["router", {"id": name, "mode": mode, **router_attributes}]]
        if normal:
            self.config.append(["listener", {"name": "amqp", "host": "127.0.0.1",
                                             "port": self.port, **(listener or {})}])
        self.config += [["address", {"prefix": "mc", "distribution": "multicast"}],
                        ["address", {"prefix": "closest", "distribution": "closest"}],
                        ["address", {"prefix": "none", "distribution": "unavailable"}]]
        self.config += [list(e) for e in entities]
        self.path = pathlib.Path(tmp_path) / (name + ".json")
        self.files = files
        self.environment = {**os.environ, **(environment or {})}
        self.process = None
        if start:
            self.start()

    def start(self):
        self.path.write_text(json.dumps(self.config, indent=1))
        limit = ["prlimit", "--nofile=%d" % self.files] if self.files else []
        self.process = subprocess.Popen(limit + [self.program, "-c", str(self.path)],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        env=self.environment, text=True)
        self.log = Lines(self.process.stdout)
        if self.program == SKROUTERD:
            self.log.wait("is running")
        else:
            wait_port(self.port)
        return self

    def url(self):
        return "amqp://127.0.0.1:%d" % self.port

    def connect(self, **kwargs):
        return client.connect(self.url(), **kwargs)

    def sender(self, address, **kwargs):
        """A sender on a connection of its own."""
        return self.connect().sender(address, **kwargs)

    def receiver(self, address, credit=10, **kwargs):
        """A receiver on a connection of its own, whose credit the router has."""
        receiver = self.connect().receiver(address, credit=credit, **kwargs)
        receiver.connection.barrier()
        return receiver

    def wait_reaches(self, *others, start=0):
        for other in others:
            name = other if isinstance(other, str) else other.name
            self.log.wait("router %s is reachable" % name, start=start)

    def freeze(self):
        """It stands still, as if its cable were pulled."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait(TIMEOUT)

    def stop(self):
        """Ends it in peace; its exit status must be 0."""
        if self.process and self.process.poll() is None:
            self.thaw()
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(TIMEOUT)
        return self.process.returncode if self.process else None

    def resident_kib(self):
        if SANITIZED:
            return 0
        for line in pathlib.Path("/proc/%d/status" % self.process.pid).read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0


def wait_port(port, timeout=TIMEOUT):
    """Until something listens there (for programs whose log says nothing we know)."""
    end = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            threading.Event().wait(0.02)


def inter_router(port):
    return ["listener", {"name": "ir-%d" % port, "host": "127.0.0.1", "port": port,
                         "role": "inter-router"}]


def link_to(port, cost=1, role="inter-router"):
    return ["connector", {"name": "to-%d" % port, "host": "127.0.0.1", "port": port, "role": role,
                          "cost": cost}]


class Management:
    """Requests to a router's management, one at a time."""

    def __init__(self, router, address="$management", connection=None):
        self.connection = connection or router.connect()
        self.receiver = self.connection.receiver(None)
        self.reply_to = self.receiver.address
        self.sender = self.connection.sender(address)
        self.count = 0

    def request(self, operation, type_, body=None, **properties):
        self.count += 1
        sent = self.sender.post(Message(
            properties={"operation": operation, "type": type_, **properties},
            body={} if body is None else body, reply_to=self.reply_to,
            correlation_id=str(self.count)))
        self.receiver.wait(lambda: self.receiver.got or sent.state in (
            Delivery.REJECTED, Delivery.RELEASED, Delivery.MODIFIED), "an answer")
        assert self.receiver.got, "the request came to nothing: %s" % sent.state
        reply = self.receiver.get().accept().message
        assert reply.correlation_id == str(self.count)
        return reply

    def query(self, type_, attributes=()):
        reply = self.request("QUERY", "org.amqp.management",
                             {"attributeNames": list(attributes)},
                             entityType="io.skupper.router." + type_)
        assert reply.properties["statusCode"] == 200, reply.properties
        names = reply.body["attributeNames"]
        return [dict(zip(names, row)) for row in reply.body["results"]]

    def close(self):
        self.connection.close()


class WatchedAddress:
    """Waits until an address has so many consumers here and in other routers."""

    def __init__(self, router, address):
        self.management, self.key = Management(router), "M" + address

    def counts(self):
        rows = self.management.query("router.address", ["key", "subscriberCount", "remoteCount"])
        return next(((r["subscriberCount"], r["remoteCount"]) for r in rows
                     if r["key"] == self.key), (0, 0))

    def wait(self, subscribers=0, remote=0, timeout=TIMEOUT):
        """The router is asked again after each answer: it tells nobody of such changes."""
        end = time.monotonic() + timeout
        while self.counts() != (subscribers, remote):
            assert time.monotonic() < end, (self.key, self.counts(), (subscribers, remote))

    def close(self):
        self.management.close()


def wait_address(router, address, subscribers=0, remote=0):
    watched = WatchedAddress(router, address)
    watched.wait(subscribers, remote)
    watched.close()


def edge_listener(port):
    return ["listener", {"name": "edge-%d" % port, "host": "127.0.0.1", "port": port,
                         "role": "edge"}]


def edge_line(routers):
    """An edge router at either end of two interior ones: E, A, B, F."""
    for_e, for_f, between = free_port(), free_port(), free_port()
    a = routers("A", entities=[inter_router(between), edge_listener(for_e)])
    b = routers("B", entities=[link_to(between), edge_listener(for_f)])
    e = routers("E", mode="edge", entities=[link_to(for_e, role="edge")])
    f = routers("F", mode="edge", entities=[link_to(for_f, role="edge")])
    wait_all_reach([a, b])
    e.log.wait("connection opened")
    f.log.wait("connection opened")
    return [e, a, b, f]


def wait_all_reach(made):
    for r in made:
        r.wait_reaches(*[o for o in made if o is not r])


def line(routers, names, extra=(), **kwargs):
    """Routers in a row, each with a link to the one before it. `extra`: more entities of each."""
    made, port = [], None
    for name in names:
        entities = list(extra) if port is None else [*extra, link_to(port)]
        port = free_port()
        made.append(routers(name, entities=entities + [inter_router(port)], **kwargs))
    wait_all_reach(made)
    return made


def ring(routers, names, **kwargs):
    ports = {n: free_port() for n in names}
    made = []
    for i, n in enumerate(names):
        entities = [inter_router(ports[n])]
        if i > 0:
            entities.append(link_to(ports[names[i - 1]]))
        if i == len(names) - 1:
            entities.append(link_to(ports[names[0]]))
        made.append(routers(n, entities=entities, **kwargs))
    wait_all_reach(made)
    return made


def all_hear(sender, receivers):
    """Until each has had a copy of a multicast: its address is known all the way, also to a worker
    that has credit for a consumer of its own before it hears of others. Nothing of this is under
    way any more then."""
    heard = set()
    while len(heard) < len(receivers):
        sender.post(Message(body="learn"), settled=True)
        receivers[0].loop.wait(lambda: any(r.got for r in receivers), "a copy")
        for r in receivers:
            while r.got:
                assert r.take() == "learn"
                heard.add(r)
    sender.post(Message(body="learnt"), settled=True)
    for r in receivers:
        while r.take() != "learnt":
            continue


def exchange(sender_at, receiver_at, address, count=5):
    """Messages from one router to another, accepted. From the first that arrives on, while routes
    are being learned, all do, and in order."""
    receiver = receiver_at.receiver(address, credit=count)
    sender = sender_at.sender(address, again=True)
    first = sender.post(Message(body="first"))
    assert receiver.take() == "first"
    assert first.outcome() == Delivery.ACCEPTED
    sent = sender.post_all([Message(body=i) for i in range(count)])
    assert receiver.take_all(count) == list(range(count))
    assert [s.outcome() for s in sent] == [Delivery.ACCEPTED] * count
    sender.connection.close()
    receiver.connection.close()
