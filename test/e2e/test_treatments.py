# SPDX-License-Identifier: Apache-2.0
"""What an address does with a message, in every shape of network: one router to six, and edges.

The network of a shape is started once; each test uses addresses of its own.
"""

import itertools

import pytest
from client import accepting
from harness import Management, all_hear, edge_line, line, ring
from proton import Condition, Delivery, Message, symbol

SHAPES = {
    "one": lambda routers: [routers("A")],
    "two": lambda routers: line(routers, "AB"),
    "a line of three": lambda routers: line(routers, "ABC"),
    "a ring of four": lambda routers: ring(routers, "ABCD"),
    "a line of five": lambda routers: line(routers, "ABCDE"),
    "a ring of six": lambda routers: ring(routers, "ABCDEF"),
    "edges at both ends": edge_line,
}
numbers = itertools.count()


class Network:
    def __init__(self, made):
        self.made = made
        self.first, self.last = made[0], made[-1]
        self.far = made[len(made) // 2] if len(made) > 3 else made[-1]


@pytest.fixture(scope="module", params=SHAPES)
def network(request, routers_of_module):
    made = SHAPES[request.param](routers_of_module)
    yield Network(made)
    for r in made:
        assert r.stop() == 0, "\n".join(r.log.lines[-120:])


@pytest.fixture
def name():
    return "name-%d" % next(numbers)


def arrives(sender, receiver, name):
    """Until a message sent here arrives there: the address is known all the way."""
    sent = sender.post(Message(address=name, body="first"))
    assert receiver.take() == "first"
    assert sent.outcome() == Delivery.ACCEPTED


def joined(network, name, **options):
    """A sender at one end and a receiver at the other, which hear of each other."""
    receiver = network.far.receiver(name, **options)
    sender = network.first.sender(name, again=True)
    arrives(sender, receiver, name)
    sender.again = False
    return sender, receiver


def test_a_message_arrives_in_order_and_is_accepted(network, name):
    sender, receiver = joined(network, name, credit=50)
    sent = sender.post_all([Message(body=i) for i in range(200)])
    assert receiver.take_all(200) == list(range(200))
    assert {s.outcome() for s in sent} == {Delivery.ACCEPTED}


def test_what_the_consumer_says_reaches_the_sender_with_all_its_words(network, name):
    sender, receiver = joined(network, name)
    settle = [
        lambda got: got.accept(),
        lambda got: got.reject(Condition("shop:sold-out", "none is left")),
        lambda got: got.release(),
        lambda got: got.modify(failed=True, undeliverable=False),
        lambda got: got.modify(failed=False, undeliverable=True),
    ]
    sent = []
    for work in settle:
        sent.append(sender.post(Message(body="x")))
        work(receiver.get())
        sent[-1].outcome()
    assert [s.state for s in sent] == [Delivery.ACCEPTED, Delivery.REJECTED, Delivery.RELEASED,
                                       Delivery.MODIFIED, Delivery.MODIFIED]
    assert (sent[1].condition, sent[1].description) == ("shop:sold-out", "none is left")
    assert (sent[3].failed, sent[3].undeliverable) == (True, False)
    assert (sent[4].failed, sent[4].undeliverable) == (False, True)


def test_a_message_is_left_as_it_is(network, name):
    sender, receiver = joined(network, name)
    sent = Message(body={"key": [1, 2.5, "x", None]}, id="id-1", user_id=b"me", subject="subject",
                   address=name, reply_to="reply", correlation_id=17, content_type="text/plain",
                   content_encoding="none", group_id="group", group_sequence=3, priority=7,
                   durable=True, ttl=60, properties={"a": 1, "b": "two"},
                   annotations={symbol("x-opt-mine"): "kept"},
                   instructions={symbol("x-deliver"): 1})
    sender.post(sent)
    got = receiver.get().accept().message
    for field in ("body", "id", "user_id", "subject", "address", "reply_to", "correlation_id",
                  "content_type", "content_encoding", "group_id", "group_sequence", "priority",
                  "durable", "ttl", "properties", "annotations", "instructions"):
        assert getattr(got, field) == getattr(sent, field), field


def test_presettled_messages_arrive_all(network, name):
    _, receiver = joined(network, name, credit=100)
    sender = network.first.sender(name, settled=True)
    sender.post_all([Message(body=i) for i in range(1000)])
    assert receiver.take_all(1000) == list(range(1000))


def test_there_is_credit_while_there_is_a_consumer(network, name):
    sender = network.first.sender(name)
    sender.connection.barrier()
    assert sender.credit == 0
    receiver = network.far.receiver(name)
    sender.wait_credit()
    receiver.connection.close()
    sender.wait(lambda: sender.is_drained or sender.credit == 0, "the credit to be taken back")
    receiver = network.far.receiver(name)
    sender.wait_credit()
    sender.again = True
    arrives(sender, receiver, name)


def test_what_waits_for_a_consumer_that_goes_comes_back_released(network, name):
    sender, receiver = joined(network, name, credit=1, refill=False)
    sent = sender.post_all([Message(body=i) for i in range(20)])
    receiver.connection.close()
    assert {s.outcome() for s in sent} == {Delivery.RELEASED}


def test_closest_goes_to_the_consumer_here_and_then_to_the_next(network, name):
    name = "closest/" + name
    if network.first is network.far:
        pytest.skip("one router has no far consumer")
    _, far = joined(network, name)
    near = network.first.receiver(name)
    sender = network.first.sender(name, again=True)
    sent = sender.post_all([Message(body=i) for i in range(10)])
    assert near.take_all(10) == list(range(10))
    assert not far.got
    near.connection.close()
    sent += sender.post_all([Message(body=i) for i in range(10)])
    assert sorted(far.take_all(10)) == list(range(10))
    assert {s.outcome() for s in sent} == {Delivery.ACCEPTED}


def test_balanced_shares_among_all_and_gives_each_message_once(network, name):
    receivers = [r.receiver(name, credit=100) for r in {network.first, network.last}]
    while len(receivers) < 2:
        receivers.append(network.last.receiver(name, credit=100))
    sender = network.first.sender(name, again=True)
    known = set()
    # Messages that are kept make the others' turn come: what finds the near one's credit used up
    # waits, and goes to the far one when it is known.
    while len(known) < 2:
        before = sum(r.received for r in receivers)
        sender.post(Message(body="learn"))
        receivers[0].loop.wait(lambda: sum(r.received for r in receivers) > before, "a message")
        known = {i for i, r in enumerate(receivers) if r.received}
    for r in receivers:
        while r.got:
            r.get().accept()
    sent = sender.post_all([Message(body=i) for i in range(100)])
    receivers[0].loop.wait(lambda: sum(len(r.got) for r in receivers) == 100, "all messages")
    counts = [len(r.got) for r in receivers]
    bodies = sorted(b for r in receivers for b in r.take_all(len(r.got)))
    assert bodies == list(range(100))
    assert min(counts) >= 30, counts
    assert {s.outcome() for s in sent} == {Delivery.ACCEPTED}


def test_multicast_gives_every_consumer_each_message_once(network, name):
    name = "mc/" + name
    receivers = [r.receiver(name, credit=300) for r in network.made]
    receivers.append(network.last.receiver(name, credit=300))
    for where in (network.first, network.far):
        sender = where.sender(name)
        all_hear(sender, receivers)
        sender.post_all([Message(body=i) for i in range(30)], settled=True)
        for r in receivers:
            assert r.take_all(30) == list(range(30))
    for r in receivers:
        r.connection.barrier()
        assert not r.got


def dropped(network):
    """How many pre-settled messages were lost, at each router."""
    managers = [Management(r) for r in network.made]
    counts = [m.query("routerMetrics", ["droppedPresettledDeliveries"])[0] for m in managers]
    for m in managers:
        m.close()
    return [c["droppedPresettledDeliveries"] for c in counts]


def test_a_slow_subscriber_holds_presettled_multicasts_back(network, name):
    name = "mc/" + name
    fast = network.far.receiver(name, credit=300, auto=accepting)
    slow = network.far.receiver(name, credit=1, refill=False)
    arrives(network.first.sender(name, again=True), slow, name)
    senders = [network.first.sender(name) for _ in range(3)]
    lost = dropped(network)
    for i, s in enumerate(senders):
        s.post_all([Message(body=(i, n)) for n in range(500)], settled=True)
    while slow.received < 1 + 1500:
        before = slow.received
        slow.flow(125)
        slow.wait_received(before + 125)
    for i in range(3):
        assert [g.body[1] for g in slow.got if g.body[0] == i] == list(range(500))
    fast.wait_received(1 + 1500)
    assert dropped(network) == lost


def test_an_unsettled_multicast_is_accepted_when_all_have(network, name):
    name = "mc/" + name
    receivers = [r.receiver(name) for r in (network.first, network.far)]
    sender = network.first.sender(name)
    while True:  # until both are known, copies go to those that are
        sent = sender.post(Message(body="x"))
        receivers[0].get().accept()
        receivers[1].loop.wait(lambda: receivers[1].got or sent.state is not None, "an outcome")
        if receivers[1].got:
            break
    receivers[0].connection.barrier()
    sender.connection.barrier()
    assert sent.state is None
    receivers[1].get().reject()
    assert sent.outcome() == Delivery.REJECTED


def test_anonymous_senders_and_requests_over_dynamic_addresses(network, name):
    requests = network.far.receiver(name)
    replies = requests.connection.sender(None, again=True)
    answers = network.first.receiver(None)
    if network.first.config[0][1]["mode"] == "edge":
        assert answers.address.startswith("amqp:/_edge/E/temp.")
    else:
        assert answers.address.startswith("amqp:/_topo/0/A/temp.")
    asks = network.first.sender(None, again=True)
    for i in range(5):
        asks.post(Message(address=name, body="hi %d" % i, reply_to=answers.address, id="q%d" % i))
        question = requests.get().accept().message
        replies.post(Message(address=question.reply_to, body=question.body.upper(),
                             correlation_id=question.id))
        answer = answers.get().accept().message
        assert (answer.body, answer.correlation_id) == ("HI %d" % i, "q%d" % i)


def test_to_nobody_an_anonymous_message_is_released(network, name):
    sender = network.first.sender(None)
    assert sender.send(Message(address=name, body="x")) == Delivery.RELEASED
    sent = sender.post(Message(body="x"))
    assert sent.outcome() == Delivery.REJECTED


def test_a_local_address_stays_in_its_router(network, name):
    local = "_local/" + name
    here = network.first.receiver(local)
    sender = network.first.sender(local)
    sent = sender.post(Message(body="here"))
    assert here.take() == "here" and sent.outcome() == Delivery.ACCEPTED
    if network.last is not network.first:
        away = network.last.sender(local)
        away.connection.barrier()
        assert away.credit == 0


def test_a_topological_address_names_a_router(network, name):
    there = network.far.receiver("_local/" + name)
    prefix = "_edge" if network.far.config[0][1]["mode"] == "edge" else "_topo/0"
    address = "amqp:/%s/%s/%s" % (prefix, network.far.name, name)
    anonymous = network.first.sender(None, again=True)
    anonymous.post(Message(address=address, body="by message"))
    assert there.take() == "by message"
    sender = network.first.sender(address, again=True)
    sender.post(Message(body="by link"))
    assert there.take() == "by link"


def test_an_unavailable_address_refuses_links(network, name):
    from client import Gone
    c = network.first.connect()
    for attach in (c.sender, c.receiver):
        with pytest.raises(Gone) as e:
            attach("none/" + name)
        assert e.value.condition == "amqp:not-found"


def test_a_large_message_arrives_whole_settled_or_not(network, name):
    sender, receiver = joined(network, name, credit=5)
    body = bytes(range(256)) * (12 * 1024)
    for settled in (False, True):
        sent = sender.post(Message(body=body), settled=settled)
        assert receiver.take() == body
        sent.outcome()


def test_a_large_message_is_copied_to_every_subscriber(network, name):
    name = "mc/" + name
    receivers = [r.receiver(name, credit=300, auto=None) for r in network.made]
    sender = network.first.sender(name)
    all_hear(sender, receivers)
    body = bytes(range(256)) * (8 * 1024)
    sent = sender.post(Message(body=body))
    for r in receivers:
        assert r.take() == body
        assert r.aborted == 0
    assert sent.outcome() == Delivery.ACCEPTED
