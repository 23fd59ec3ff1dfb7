# SPDX-License-Identifier: Apache-2.0
"""One router, clients of an independent AMQP library."""

import threading

import pytest
from harness import flush, take
from proton import Delivery, Message
from proton.reactor import AtLeastOnce, AtMostOnce
from proton.utils import LinkDetached, SendException

TIMEOUT = 20


@pytest.fixture
def router(routers):
    return routers("R", mode="standalone")


def test_a_message_reaches_its_consumer_and_is_accepted(router):
    receiver = router.receiver("a")
    got = []
    thread = in_background(lambda: got.extend(send(router, "a", [Message(body="hello")])))
    assert take(receiver) == "hello"
    thread.join(TIMEOUT)
    assert got == [Delivery.ACCEPTED]
    receiver.connection.close()


def in_background(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def send(router, address, messages, options=None):
    """Sends from a connection of its own; returns the outcomes or the exceptions."""
    c = router.connect()
    sender = c.create_sender(address, options=options)
    outcomes = []
    for m in messages:
        try:
            outcomes.append(sender.send(m, timeout=TIMEOUT).remote_state)
        except SendException as e:
            outcomes.append(e.state)
    c.close()
    return outcomes


@pytest.mark.parametrize("settle, state", [
    (lambda r: r.accept(), Delivery.ACCEPTED),
    (lambda r: r.reject(), Delivery.REJECTED),
    (lambda r: r.release(delivered=False), Delivery.RELEASED),
    (lambda r: r.release(delivered=True), Delivery.MODIFIED),
])
def test_the_outcome_is_the_consumers(router, settle, state):
    c = router.connect()
    receiver = c.create_receiver("a", credit=1)
    got = []
    thread = in_background(lambda: got.extend(send(router, "a", [Message(body=1)])))
    receiver.receive(timeout=TIMEOUT)
    settle(receiver)
    flush(c)
    # A released message of a balanced address comes back to its sender, not to us.
    thread.join(TIMEOUT)
    assert got == [state]
    c.close()


def test_balanced_shares_and_multicast_copies(router):
    for address, want in (("work", 10), ("mc/news", 20)):
        receivers = [router.receiver(address, credit=20) for _ in range(2)]
        sender_connection = router.connect()
        sender = sender_connection.create_sender(address, options=AtMostOnce())
        for i in range(10):
            sender.send(Message(body=i))
        bodies = []
        for r in receivers:
            for _ in range(want // 2):
                bodies.append(r.receive(timeout=TIMEOUT).body)
        assert len(bodies) == want
        assert set(bodies) == set(range(10))
        for c in [r.connection for r in receivers] + [sender_connection]:
            c.close()


def test_without_a_consumer_there_is_no_credit_and_one_brings_it(router):
    c = router.connect()
    sender = c.create_sender("nobody")
    assert sender.link.credit == 0
    other = router.connect()
    receiver = other.create_receiver("nobody", credit=1)
    in_background(lambda: take(receiver))
    assert sender.send(Message(body="now"), timeout=TIMEOUT).remote_state == Delivery.ACCEPTED
    other.close()
    c.close()


def test_an_anonymous_sender_names_the_address_in_each_message(router):
    c = router.connect()
    receiver = router.receiver("x")
    sender = c.create_sender(None)
    thread = in_background(lambda: sender.send(Message(address="x", body="to x")))
    assert take(receiver) == "to x"
    thread.join(TIMEOUT)
    with pytest.raises(SendException) as e:
        sender.send(Message(address="nowhere", body=1), timeout=TIMEOUT)
    assert e.value.state == Delivery.RELEASED
    with pytest.raises(SendException) as e:
        sender.send(Message(body="no address at all"), timeout=TIMEOUT)
    assert e.value.state == Delivery.REJECTED
    c.close()


def test_requests_are_answered_over_a_dynamic_address(router):
    service = router.connect()
    requests = service.create_receiver("service")
    replies = service.create_sender(None)

    def serve():
        request = requests.receive(timeout=TIMEOUT)
        requests.accept()
        flush(service)
        replies.send(Message(address=request.reply_to, body=request.body.upper(),
                             correlation_id=request.id))

    in_background(serve)
    c = router.connect()
    receiver = c.create_receiver(None, dynamic=True)
    address = receiver.link.remote_source.address
    assert address.startswith("amqp:/_topo/0/R/temp.")
    c.create_sender("service").send(Message(id="1", body="hi", reply_to=address))
    assert receiver.receive(timeout=TIMEOUT).body == "HI"
    c.close()
    service.close()


@pytest.mark.parametrize("size", [0, 1, 16000, 16384, 70000, 1000000, 20000000])
@pytest.mark.parametrize("options", [AtLeastOnce(), AtMostOnce()], ids=["unsettled", "settled"])
def test_any_size_arrives_whole(router, size, options):
    c = router.connect()
    receiver = c.create_receiver("big", credit=1)
    body = bytes(i * 7 % 251 for i in range(1000)) * (size // 1000 + 1)
    in_background(lambda: send(router, "big", [Message(body=body[:size])], options))
    assert take(receiver, 60) == body[:size]
    c.close()


def test_an_unavailable_address_refuses_links(router):
    c = router.connect()
    with pytest.raises(LinkDetached) as e:
        c.create_sender("none/here")
    assert "amqp:not-found" in str(e.value)
    c.close()


def test_order_is_kept_over_many_messages(router):
    c = router.connect()
    receiver = c.create_receiver("ordered", credit=100)
    in_background(lambda: send(router, "ordered", [Message(body=i) for i in range(2000)]))
    for i in range(2000):
        assert take(receiver) == i
    c.close()


def test_a_consumer_that_dies_gives_back_what_it_did_not_see(router):
    c = router.connect()
    dying = router.connect()
    receiver = dying.create_receiver("fragile", credit=1)
    got = []
    thread = in_background(lambda: got.extend(send(router, "fragile", [Message(body=1)])))
    receiver.receive(timeout=TIMEOUT)
    dying.conn.transport.close_tail()  # gone without a word
    dying.container.stop()
    dying.close()
    thread.join(TIMEOUT)
    assert got == [Delivery.MODIFIED]
    c.close()
