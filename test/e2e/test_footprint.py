# SPDX-License-Identifier: Apache-2.0
"""What a router needs when it does nothing. Memory is asserted; times are told in the report."""

import contextlib
import socket
import subprocess
import threading
import time

import pytest
from harness import (SANITIZED, SKROUTERD, Management, exchange, free_port, inter_router, line,
                     link_to, ring)
from proton import Delivery, Message
from raw import Raw
from services import Server, connect, connector, listener, wait

pytestmark = pytest.mark.skipif(SANITIZED, reason="sanitizers need memory of their own")
IDLE_KIB, CONNECTION_KIB = 6 * 1024, 16
CONNECTIONS, TCP_CONNECTIONS = 400, 4000


def test_an_idle_router_holds_six_mib(routers, record_property):
    for mode in ("standalone", "interior", "edge"):
        router = routers("R-" + mode, mode=mode)
        router.sender("x").connection.close()
        resident = router.resident_kib()
        record_property("idle %s KiB" % mode, resident)
        assert resident <= IDLE_KIB, (mode, resident)


def test_an_idle_connection_holds_sixteen_kib(routers, record_property):
    router = routers("R")
    warm = [Raw(router.port).client() for _ in range(20)]
    before = router.resident_kib()
    peers = [Raw(router.port).client() for _ in range(CONNECTIONS)]
    held = (router.resident_kib() - before) / CONNECTIONS
    record_property("KiB for each idle connection", round(held, 1))
    assert held <= CONNECTION_KIB, held
    for peer in warm + peers:
        peer.close()


def test_memory_comes_back_when_work_is_done(routers, record_property):
    router = routers("R")

    def work():
        receiver = router.receiver("w", credit=100)
        sender = router.sender("w")
        sender.post_all([Message(body=b"x" * 10000) for _ in range(500)])
        receiver.take_all(500)
        links = [receiver.connection.receiver("many/%d" % i) for i in range(200)]
        links[-1].connection.close()
        sender.connection.close()

    for _ in range(2):
        work()
    before = router.resident_kib()
    for _ in range(3):
        work()
    grown = router.resident_kib() - before
    record_property("KiB more after the same work again", grown)
    assert grown <= 1024, grown
    rows = Management(router).query("router.address", ["key"])
    assert not [r for r in rows if r["key"].startswith("Mmany")]


class Holder(Server):
    """Keeps its connections and says nothing."""

    def __init__(self):
        self.held = []
        super().__init__(None)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.held.append(self.socket.accept()[0])

    def let_go(self):
        while self.held:
            self.held.pop().close()


def resident_at_rest(made):
    """KiB of all of them, once it is no more than they shall need, or what it is after a while."""
    end = time.monotonic() + 30
    while True:
        resident = sum(router.resident_kib() for router in made)
        if resident <= len(made) * IDLE_KIB or time.monotonic() > end:
            return resident
        threading.Event().wait(0.1)


def test_memory_comes_back_when_four_thousand_connections_are_gone(routers, record_property):
    server, port, link = Holder(), free_port(), free_port()
    made = [routers("A", entities=[inter_router(link), listener(port)]),
            routers("B", entities=[link_to(link), connector(server.port)])]

    def load(count):
        clients = [connect(port) for _ in range(count)]
        try:
            wait(lambda: len(server.held) == count)
            return sum(router.resident_kib() for router in made)
        finally:
            for s in clients:
                s.close()
            server.let_go()

    load(1)
    before = resident_at_rest(made)
    loaded = load(TCP_CONNECTIONS)
    after = resident_at_rest(made)
    record_property("KiB of both before, with and after %d connections" % TCP_CONNECTIONS,
                    (before, loaded, after))
    assert before <= 2 * IDLE_KIB and after <= 2 * IDLE_KIB, (before, loaded, after)
    server.close()


def accepting_after(tmp_path):
    """Seconds from the start of a process until its port is open."""
    port = free_port()
    path = tmp_path / "start.json"
    path.write_text('[["router", {"id": "R", "mode": "interior"}],'
                    ' ["listener", {"host": "127.0.0.1", "port": %d}]]' % port)
    began = time.monotonic()
    process = subprocess.Popen([SKROUTERD, "-c", str(path)], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    for line_ in process.stdout:
        if "is running" in line_:
            break
    took = time.monotonic() - began
    socket.create_connection(("127.0.0.1", port), 5).close()
    process.terminate()
    process.communicate(timeout=10)
    return took


def test_times_of_start_and_routes_are_told(routers, tmp_path, record_property):
    record_property("ms to accepting", round(1000 * min(accepting_after(tmp_path)
                                                         for _ in range(5)), 1))
    began = time.monotonic()
    made = line(routers, "ABCDE")
    exchange(made[0], made[-1], "first")
    record_property("ms to a first message over a line of five", round(
        1000 * (time.monotonic() - began)))
    for r in made:
        r.stop()


def test_the_time_without_traffic_after_a_kill_is_told(routers, record_property):
    a, b, c, d, e, f = ring(routers, "ABCDEF")
    exchange(a, c, "warm")
    receiver = c.receiver("k", credit=1000)
    sender = a.sender("k", again=True)
    sender.post(Message(body="before"))
    assert receiver.take() == "before"
    b.kill()
    began = time.monotonic()
    sent = sender.post(Message(body="after"))
    receiver.loop.wait(lambda: receiver.got or sent.state == Delivery.MODIFIED, "an outcome")
    if not receiver.got:  # it was on the way when the router died
        sender.post(Message(body="after"))
    assert receiver.take() == "after"
    record_property("ms until traffic goes round a killed router", round(
        1000 * (time.monotonic() - began), 1))
