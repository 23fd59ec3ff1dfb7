# SPDX-License-Identifier: Apache-2.0
"""How long it takes until there is a route, and until there is one again. The times go into the
report (and, with -s, to the terminal); nothing here asserts tight milliseconds, because machines
that run tests are busy. In virtual time test/sim does."""

import signal
import socket
import time

import pytest
from client import accepting
from harness import (PEER, TIMEOUT, Management, exchange, free_port, inter_router, line, link_to,
                     ring)
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


@pytest.mark.parametrize("listens, dials", [(None, None), (PEER, None), (None, PEER)],
                         ids=["ours", "the existing one listens", "the existing one dials"])
def test_a_connector_goes_where_the_router_that_it_lost_has_told(routers, listens, dials):
    if "" in (listens, dials):
        pytest.skip("PEER_SKROUTERD does not name the existing router")
    first, second = free_port(), free_port()
    c = routers("C", program=listens, entities=[inter_router(second)])
    told = inter_router(first)
    told[1]["failoverUrls"] = "amqp://127.0.0.1:%d" % second
    a = routers("A", program=listens, entities=[told])
    b = routers("B", program=dials, entities=[link_to(first)])
    exchange(a, b, "before")
    [row] = Management(b).query("connector")
    assert row["failoverUrls"].endswith("127.0.0.1:%d, amqp://127.0.0.1:%d" % (first, second))
    a.kill()
    exchange(b, c, "after")
    exchange(c, b, "after")


def test_failover_urls_that_are_none_are_refused(routers):
    management = Management(routers("R"))
    for urls in (",", "amqp://", "host:", "amqp://host:1, :5672"):
        reply = management.request("CREATE", "io.skupper.router.listener",
                                   {"host": "127.0.0.1", "port": free_port(), "failoverUrls": urls},
                                   name="bad")
        assert reply.properties["statusCode"] == 400, urls
        assert "failoverUrls" in reply.properties["statusDescription"]


def alternates(connector, *ports):
    connector[1]["alternates"] = ", ".join("127.0.0.1:%d" % port for port in ports)
    return connector


def test_of_several_places_the_first_that_answers_is_taken(routers):
    """Nobody listens at the first, and the second is silent: it takes no more connections."""
    dead, first, second = free_port(), free_port(), free_port()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        a = routers("A", entities=[inter_router(first), inter_router(second)])
        b = routers("B", entities=[alternates(link_to(dead), port, first, second)])
        exchange(a, b, "there")
        assert b.log.find("Connection refused") is not None  # the dead one
        assert b.log.find("in time") is None  # the silent one was still being waited for
        for one in crowd:
            one.close()
    entity = Management(b).query("connector", ["name", "host", "failoverUrls"])[0]
    assert entity["failoverUrls"] == ", ".join(
        "amqp://127.0.0.1:%d" % p for p in (dead, port, first, second))
    peers = [c["host"] for c in Management(b).query("connection", ["host", "role", "dir"])
             if c["role"] == "inter-router"]
    assert peers == ["127.0.0.1:%d" % first]
    # Where both ends live, the order counts.
    c = routers("C", entities=[alternates(link_to(second), first)])
    exchange(a, c, "there too")
    peers = [p["host"] for p in Management(c).query("connection", ["host", "role"])
             if p["role"] == "inter-router"]
    assert peers == ["127.0.0.1:%d" % second]


def test_a_place_that_is_none_is_refused_with_words(routers):
    a = routers("A")
    said = Management(a).request("CREATE", "io.skupper.router.connector",
                                 {"host": "127.0.0.1", "port": "1", "alternates": "x:1,,y"},
                                 name="odd").properties
    assert said["statusCode"] == 400 and "alternates" in said["statusDescription"]
