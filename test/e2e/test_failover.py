# SPDX-License-Identifier: Apache-2.0
"""How long it takes until there is a route, and until there is one again. The times go into the
report (and, with -s, to the terminal); nothing here asserts tight milliseconds, because machines
that run tests are busy. In virtual time test/sim does."""

import signal
import time

import pytest
from client import accepting
from harness import TIMEOUT, exchange, free_port, inter_router, line, link_to, ring
from proton import Delivery, Message

LONG = 10  # seconds; the routers need fractions of one


def told(record_property, what, since):
    took = time.monotonic() - since
    record_property(what.replace(" ", "_") + "_ms", round(1000 * took))
    print("%s: %.0f ms" % (what, 1000 * took))
    return took


def test_first_route_over_a_line_of_five_from_cold(routers, record_property):
    ports = [free_port() for _ in range(5)]
    made = [routers(name, start=False,
                    entities=[inter_router(ports[i])] + ([link_to(ports[i - 1])] if i else []))
            for i, name in enumerate("ABCDE")]
    for r in made:
        r.start()
    since = time.monotonic()
    made[0].wait_reaches(made[4])
    made[4].wait_reaches(made[0])
    assert told(record_property, "line of five after the last start", since) < LONG
    exchange(made[0], made[4], "first")


def send_until_accepted(sender, body):
    """What comes back released (the next router does not know the address yet) or modified (it was
    under way when a link was lost) is tried again, as an application would."""
    since = time.monotonic()
    while sender.send(Message(body=body)) != Delivery.ACCEPTED:
        assert time.monotonic() < since + TIMEOUT


def test_traffic_goes_on_when_a_router_on_its_way_is_killed(routers, record_property):
    made = ring(routers, "ABCDEF")
    a, b, c = made[:3]
    exchange(a, c, "before")
    c.receiver("x", credit=1000, auto=accepting)
    sender = a.sender("x")
    send_until_accepted(sender, "before")
    since = time.monotonic()
    b.kill()
    send_until_accepted(sender, "again")
    assert told(record_property, "ring of six after kill -9", since) < LONG


@pytest.mark.parametrize("name", ["B", "C"])
def test_a_router_that_falls_silent_is_given_up(routers, name, record_property):
    made = dict(zip("ABC", line(routers, "ABC")))
    a, silent = made["A"], made[name]
    at = len(a.log.lines)
    since = time.monotonic()
    silent.process.send_signal(signal.SIGSTOP)
    try:
        a.log.wait("router C is not reachable any more", start=at, timeout=LONG)
        told(record_property, "silent router %s noticed" % name, since)
    finally:
        silent.process.send_signal(signal.SIGCONT)
    at = a.log.wait("router C is not reachable any more", start=at)
    a.wait_reaches("C", start=at)
