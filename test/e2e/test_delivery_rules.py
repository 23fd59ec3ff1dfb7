# SPDX-License-Identifier: Apache-2.0
"""How messages travel: priorities, full speed, what is offered elsewhere, what dies on the way."""

import json
import subprocess

import pytest
from harness import (ROOT, TIMEOUT, Management, edge_line, exchange, line, ring,
                     wait_address)
from proton import Delivery, Message
from raw import RECEIVER, TRANSFER, Raw, message
from services import wait

LOAD = ROOT / "build" / "load"


def load(to, from_, *options):
    """The load generator's figures."""
    run = subprocess.run([str(LOAD), "--to", "127.0.0.1:%d" % to.port, "--from",
                          "127.0.0.1:%d" % from_.port, "--address", "load", "--seconds", "1",
                          *options], capture_output=True, text=True, timeout=TIMEOUT)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("options", [["--presettled"], [], ["--presettled", "--size", "10240"],
                                     ["--presettled", "--pairs", "4"]],
                         ids=["presettled", "unsettled", "presettled 10 KiB", "four pairs"])
@pytest.mark.parametrize("shape", [lambda routers: [routers("A")],
                                   lambda routers: line(routers, "ABC"), edge_line],
                         ids=["one", "a line of three", "edges at both ends"])
def test_nothing_is_dropped_at_full_speed(routers, shape, options):
    made = shape(routers)
    exchange(made[0], made[-1], "warm")
    # Far more than what the credit of a link and of each pair lets go ahead.
    figures = load(made[0], made[-1], "--least", "4000", *options)
    assert figures["sent"] >= 4000
    assert figures["received"] == figures["sent"], figures
    assert figures["gaps"] == 0 and figures["damaged"] == 0, figures


@pytest.mark.parametrize("shape", [lambda routers: [routers("A")],
                                   lambda routers: line(routers, "AB")], ids=["one", "two"])
def test_a_subscriber_that_takes_nothing_for_long_is_passed_by(routers, shape):
    """Until then it holds its senders; what it loses is counted, and it may come back."""
    made = shape(routers)
    fast = made[-1].receiver("mc/x", credit=300, auto=lambda got: None)
    stuck = made[-1].receiver("mc/x", credit=0, refill=False)
    sender = made[0].sender("mc/x").wait_credit(250)
    sender.post_all([Message(body=n) for n in range(1000)], settled=True)
    fast.wait_received(1000)
    management = Management(made[-1])

    def of_stuck():
        [row] = [r for r in management.query("router.link") if r["owningAddr"] == "Mmc/x"
                 and r["linkDir"] == "out" and not r["creditAvailable"]]
        return row

    # What its worker has yet to hear of is still to be counted there.
    wait(lambda: of_stuck()["droppedPresettledCount"] >= 1000)
    row = of_stuck()
    assert row["droppedPresettledCount"] == 1000 and row["undeliveredCount"] == 0, row
    assert row["zeroCreditSeconds"] >= 5
    stuck.flow(1)
    again = 0
    while not stuck.got:  # its credit may come after a message
        sender.post(Message(body="back"), settled=True)
        again += 1
        fast.wait_received(1000 + again)
    assert stuck.take() == "back"


def carried(management):
    """How many messages went out to other routers, by the priority of the link."""
    counts = [0] * 10
    for row in management.query("router.link", ["linkType", "linkDir", "priority",
                                                "deliveryCount"]):
        if row["linkType"] == "inter-router" and row["linkDir"] == "out":
            counts[row["priority"]] += row["deliveryCount"]
    return counts


def test_each_priority_travels_on_its_own_link(routers):
    a, b = line(routers, "AB")
    exchange(a, b, "warm")
    receiver = b.receiver("p", credit=100)
    sender = a.sender("p", again=True)
    sender.wait_credit()
    management = Management(a)
    before = carried(management)
    sent = []
    for p in range(10):
        sent += sender.post_all([Message(body=p, priority=p)] * (p + 1))
    receiver.take_all(55)
    for s in sent:
        s.outcome()
    after = carried(management)
    assert [x - y for x, y in zip(after, before)] == [p + 1 for p in range(10)]


def test_the_priority_of_an_address_comes_first(routers):
    urgent = ["address", {"prefix": "urgent", "distribution": "balanced", "priority": 8}]
    a, b = line(routers, "AB", extra=[urgent])
    receiver = b.receiver("urgent/x")
    sender = a.sender("urgent/x", again=True)
    management = Management(a)
    sender.wait_credit()
    before = carried(management)
    for p in (0, 4, 9):
        sent = sender.post(Message(body=p, priority=p))
        assert receiver.take() == p
        sent.outcome()
    after = carried(management)
    assert after[8] - before[8] == 3


@pytest.mark.parametrize("length", [1, 2])
def test_what_one_consumer_releases_is_offered_to_another_if_its_sender_asks(routers, length):
    made = line(routers, "AB"[:length])
    near, far = made[0].receiver("closest/r"), made[-1].receiver("closest/r")
    sender = made[0].sender("closest/r", capabilities=["qd.resend-released"])
    plain = made[0].sender("closest/r")
    if length > 1:
        wait_address(made[0], "closest/r", 1, 1)
        exchange(made[0], made[1], "warm")
    for _ in range(4):
        sent = sender.post(Message(body="x"))
        near.loop.wait(lambda: near.got or far.got, "a message")
        first, second = (near, far) if near.got else (far, near)
        first.get().release()
        second.get().accept()
        assert sent.outcome() == Delivery.ACCEPTED
    sent = plain.post(Message(body="x"))
    near.loop.wait(lambda: near.got or far.got, "a message")
    (near if near.got else far).get().release()
    assert sent.outcome() == Delivery.RELEASED


def test_a_message_of_a_streaming_link_goes_on_before_it_is_whole(routers):
    made = line(routers, "AB")
    exchange(made[0], made[1], "warm")
    receiver = Raw(made[1].port).client()
    receiver.attach(RECEIVER, "s")
    receiver.flow(0, 10)
    c = made[0].connect()
    sender = c.sender("s", capabilities=["qd.streaming-deliveries"], again=True)
    sender.wait_credit()
    begun = sender.begin(message(b"x" * 100)[:50])
    first = receiver.until(TRANSFER)
    assert first.payload and first.field(5) is True  # more follows
    sender.go_on(begun, message(b"x" * 100)[50:])
    got = first.payload
    while True:
        f = receiver.until(TRANSFER)
        got += f.payload
        if not f.field(5):
            break
    assert got.endswith(b"x" * 100)


def test_an_aborted_message_is_never_seen(routers):
    made = line(routers, "AB")
    exchange(made[0], made[1], "warm")
    receiver = made[1].receiver("s")
    sender = made[0].sender("s")
    sender.wait_credit()
    begun = sender.begin(message(b"y" * 300000)[:200000])
    sender.abort(begun)
    sent = sender.post(Message(body="whole"))
    assert receiver.take() == "whole"
    assert sent.outcome() == Delivery.ACCEPTED


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_no_message_is_lost_when_a_router_on_the_way_dies(routers, how):
    a, b, c, d, e, f = ring(routers, "ABCDEF")
    seen = set()

    def take(got):
        seen.add(got.body)
        got.accept()

    receiver = c.receiver("busy", credit=100, auto=take)
    exchange(a, c, "warm")
    sender = a.sender("busy", again=True)
    first = sender.post_all([Message(body=i) for i in range(200)])
    receiver.wait_received(100)
    getattr(b, how)()
    second = sender.post_all([Message(body=i) for i in range(200, 1000)])
    states = [s.outcome() for s in first + second]
    assert set(states) <= {Delivery.ACCEPTED, Delivery.MODIFIED}
    assert {i for i, s in enumerate(states) if s == Delivery.ACCEPTED} <= seen
    assert states[-1] == Delivery.ACCEPTED


def test_sigterm_ends_it_in_peace_with_clients_at_work(routers):
    router = routers("R")
    receiver = router.receiver("x", credit=1)
    sender = router.sender("x")
    sender.post_all([Message(body=b"x" * 100000) for _ in range(50)])
    receiver.get()
    assert router.stop() == 0
    receiver.connection.wait_over()
    sender.connection.wait_over()


def test_a_silent_neighbour_is_noticed(routers):
    a, b = line(routers, "AB")
    at = len(a.log.lines)
    b.freeze()
    a.log.wait("neighbour B is gone", start=at)
    b.thaw()
    a.wait_reaches("B", start=at)
    exchange(a, b, "again")
