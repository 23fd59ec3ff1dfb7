# SPDX-License-Identifier: Apache-2.0
"""TCP services with very many connections, at once and one after the other."""

import resource
import threading
import time

import pytest
from crowd import Crowd
from harness import SANITIZED, Management, free_port, inter_router, link_to
from services import (Server, connector, descriptors, echo, exchange, idle_descriptors, listener,
                      wait)
from soak import GROWTH_KIB, growth, soak
from soak import Server as Answering

# More than a process may have, where that is usual: whoever does not fit in waits.
CROWD = 2000 if SANITIZED else 20000
# Who finds the queue of a busy machine full calls again after 1, 3, 7, 15, 31 and 63 seconds.
PATIENCE = 100
# What a crowd leaves more than the one before it. How many of the first are there at one time is a
# matter of how busy the machine is; what is lost with each is lost with every one.
KIB_MAX, CROWDS_MAX = 4096, 4


@pytest.fixture
def crowds():
    made = []

    def make(*words):
        made.append(Crowd(*words))
        return made[-1]

    yield make
    for c in made:
        c.end()


class Latency:
    """Of exchanges over a service, one after the other, as long as this lasts."""

    def __init__(self, port):
        self.port, self.times, self.error = port, [], None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            while not self.stop.is_set():
                began = time.monotonic()
                exchange(self.port, b"still served")
                self.times.append(time.monotonic() - began)
        except Exception as e:
            self.error = e

    def end(self):
        self.stop.set()
        self.thread.join()
        assert self.error is None, self.error
        return 1000 * sorted(self.times)[len(self.times) * 99 // 100]


def test_twenty_thousand_come_and_go_at_once(routers, crowds, record_property):
    servers = [crowds("serve") for _ in range(2)]
    quick, port, other, link = Server(echo), free_port(), free_port(), free_port()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    a = routers("A", files=files, entities=[inter_router(link), listener(port, "crowd")])
    b = routers("B", files=files, entities=[
        link_to(link), listener(other), connector(quick.port),
        *[connector(s.port(), "crowd") for s in servers]])
    made = [a, b]
    exchange(other)
    a.log.wait("listening name=l-crowd")
    m = Management(a)
    idle = idle_descriptors(made)
    kib, grown = [], [KIB_MAX]
    while max(grown) >= KIB_MAX:
        assert len(kib) < CROWDS_MAX, kib
        latency = Latency(other)
        halves = [crowds("come", port, CROWD // 2) for _ in range(2)]
        for half in halves:
            half.says.wait("all are there", PATIENCE)
        for half in halves:
            half.go()
        for half in halves:
            half.says.wait("all are gone")
        wait(lambda: [descriptors(r) for r in made] == idle)
        record_property("ms, 99 of 100 exchanges beside the crowd", round(latency.end(), 1))
        kib.append([r.resident_kib() for r in made])
        for half in halves:
            half.end()
        if len(kib) > 1:
            grown = [after - before for before, after in zip(*kib[-2:])]
    (row,) = m.query("tcpListener")
    assert row["connectionsOpened"] == row["connectionsClosed"] > CROWD
    assert (row["operStatus"], m.query("tcpConnection")) == ("up", [])
    m.close()
    record_property("KiB after each crowd", kib)


def test_short_connections_leave_memory_flat(routers, record_property):
    """`make soak` does it a million times."""
    if SANITIZED:
        pytest.skip("a sanitizer's memory says nothing of ours")
    server, port, link = Answering(), free_port(), free_port()
    made = [routers("A", entities=[inter_router(link), listener(port)]),
            routers("B", entities=[link_to(link), connector(server.port)])]
    made[0].log.wait("listening name=l-echo")
    try:
        rows = soak(made, port, 10000, seconds=2)
    finally:
        server.close()
    record_property("connections, KiB more", "%d, %d" % (rows[-1][0], growth(rows)))
    assert growth(rows) <= GROWTH_KIB, rows
