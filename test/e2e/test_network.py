# SPDX-License-Identifier: Apache-2.0
"""Several routers: every treatment over the network, and what happens when a part of it dies."""

import threading

import pytest
from harness import free_port, inter_router, link_to, take
from proton import Delivery, Message
from proton.reactor import AtMostOnce

TIMEOUT = 20


def line(routers, names, **kwargs):
    """Routers in a row, each with a link to the one before it."""
    made, port = [], None
    for name in names:
        entities = [] if port is None else [link_to(port)]
        port = free_port()
        made.append(routers(name, entities=entities + [inter_router(port)], **kwargs))
    for r in made:
        r.wait_reaches(*[o for o in made if o is not r])
    return made


def in_background(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def exchange(sender_at, receiver_at, address, count=5):
    """Messages from one router to another, accepted."""
    c = receiver_at.connect()
    receiver = c.create_receiver(address, credit=count)
    s = sender_at.connect()
    sender = s.create_sender(address)
    states = []
    thread = in_background(
        lambda: states.extend(sender.send(Message(body=i), timeout=TIMEOUT).remote_state
                              for i in range(count)))
    for i in range(count):
        assert take(receiver) == i
    thread.join(TIMEOUT)
    assert states == [Delivery.ACCEPTED] * count
    s.close()
    c.close()


@pytest.mark.parametrize("length", [2, 3, 6])
def test_messages_cross_a_line_both_ways(routers, length):
    made = line(routers, "ABCDEF"[:length])
    exchange(made[0], made[-1], "right")
    exchange(made[-1], made[0], "left")


def test_multicast_reaches_every_subscriber_once(routers):
    a, b, c = line(routers, "ABC")
    connections = [r.connect() for r in (a, b, c)]
    receivers = [k.create_receiver("mc/news", credit=10) for k in connections]
    s = b.connect()
    sender = s.create_sender("mc/news")
    # The first may go before the others are known here; from then on each gets each.
    seen = [set(), set(), set()]
    first = 0
    while not all(seen):
        in_background(lambda: sender.send(Message(body=("warm", first)), timeout=TIMEOUT))
        for i, r in enumerate(receivers):
            try:
                seen[i].add(tuple(take(r, 0.5)))
            except Exception:
                pass
        first += 1
    in_background(lambda: sender.send(Message(body="last"), timeout=TIMEOUT))
    for r in receivers:
        while True:
            if take(r) == "last":
                break
    for k in connections + [s]:
        k.close()


def test_closest_prefers_the_consumer_here(routers):
    a, b = line(routers, "AB")
    near, far = a.connect(), b.connect()
    near_receiver = near.create_receiver("closest/x", credit=10)
    far.create_receiver("closest/x", credit=10)
    s = a.connect()
    sender = s.create_sender("closest/x", options=AtMostOnce())
    for i in range(10):
        sender.send(Message(body=i))
    for i in range(10):
        assert near_receiver.receive(timeout=TIMEOUT).body == i
    for k in (near, far, s):
        k.close()


def test_a_large_message_streams_across(routers):
    a, b, c = line(routers, "ABC")
    k = c.connect()
    receiver = k.create_receiver("big", credit=1)
    body = b"0123456789abcdef" * (5 * 1024 * 64)
    s = a.connect()
    sender = s.create_sender("big")
    thread = in_background(lambda: sender.send(Message(body=body), timeout=60))
    assert take(receiver, 60) == body
    thread.join(TIMEOUT)
    s.close()
    k.close()


def ring(routers, names):
    ports = {n: free_port() for n in names}
    made = {}
    for i, n in enumerate(names):
        before = names[i - 1]
        entities = [inter_router(ports[n])]
        if i > 0:
            entities.append(link_to(ports[before]))
        if i == len(names) - 1:
            entities.append(link_to(ports[names[0]]))
        made[n] = routers(n, entities=entities)
    for r in made.values():
        r.wait_reaches(*[o for o in made.values() if o is not r])
    return [made[n] for n in names]


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
