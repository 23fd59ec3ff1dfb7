# SPDX-License-Identifier: Apache-2.0
"""Several routers: every treatment over the network, and what happens when a part of it dies."""

import pytest
from harness import exchange, line, ring, wait_address
from proton import Message


@pytest.mark.parametrize("length", [2, 3, 6])
def test_messages_cross_a_line_both_ways(routers, length):
    made = line(routers, "ABCDEF"[:length])
    exchange(made[0], made[-1], "right")
    exchange(made[-1], made[0], "left")


def test_multicast_reaches_every_subscriber_once(routers):
    made = line(routers, "ABC")
    receivers = [r.receiver("mc/news", credit=20) for r in made]
    wait_address(made[1], "mc/news", 1, 2)
    made[1].sender("mc/news").post_all([Message(body=i) for i in range(10)])
    for r in receivers:
        assert r.take_all(10) == list(range(10))
        r.connection.barrier()
        assert not r.got


def test_closest_prefers_the_consumer_here(routers):
    a, b = line(routers, "AB")
    near, far = a.receiver("closest/x"), b.receiver("closest/x")
    wait_address(a, "closest/x", 1, 1)
    a.sender("closest/x", settled=True).post_all([Message(body=i) for i in range(10)])
    assert near.take_all(10) == list(range(10))
    assert not far.received


def test_a_large_message_streams_across(routers):
    made = line(routers, "ABC")
    receiver = made[2].receiver("big", credit=1)
    body = b"0123456789abcdef" * (5 * 1024 * 64)
    made[0].sender("big").post(Message(body=body))
    assert receiver.take(60) == body


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_ring_goes_the_other_way_when_a_router_dies(routers, how):
    a, b, c, d = ring(routers, "ABCD")
    exchange(a, c, "over-the-ring")
    at = len(a.log.lines)
    getattr(b, how)()
    a.log.wait("neighbour B is gone", start=at)
    c.log.wait("neighbour B is gone")
    exchange(a, c, "over-the-ring-again")
    exchange(c, a, "back")


def test_a_router_that_comes_back_is_known_again(routers):
    a, b, c = line(routers, "ABC")
    b.kill()
    a.log.wait("router C is not reachable any more")
    at_a, at_c = len(a.log.lines), len(c.log.lines)
    b.start()
    a.wait_reaches("C", start=at_a)
    c.wait_reaches("A", start=at_c)
    exchange(a, c, "after")
