# SPDX-License-Identifier: Apache-2.0
"""One router, clients of an independent AMQP library."""

import pytest
from client import Gone
from proton import Delivery, Message


@pytest.fixture
def router(routers):
    return routers("R", mode="standalone")


def test_a_message_reaches_its_consumer_and_is_accepted(router):
    receiver = router.receiver("a")
    sent = router.sender("a").post(Message(body="hello"))
    assert receiver.take() == "hello"
    assert sent.outcome() == Delivery.ACCEPTED


@pytest.mark.parametrize("settle, state", [
    (lambda got: got.accept(), Delivery.ACCEPTED),
    (lambda got: got.reject(), Delivery.REJECTED),
    (lambda got: got.release(), Delivery.RELEASED),
    (lambda got: got.modify(), Delivery.MODIFIED),
])
def test_the_outcome_is_the_consumers(router, settle, state):
    receiver = router.receiver("a", credit=1)
    sent = router.sender("a").post(Message(body=1))
    settle(receiver.get())
    assert sent.outcome() == state


@pytest.mark.parametrize("address, each", [("work", 10), ("mc/news", 20)])
def test_balanced_shares_and_multicast_copies(router, address, each):
    receivers = [router.receiver(address, credit=20) for _ in range(2)]
    sent = router.sender(address).post_all([Message(body=i) for i in range(20)])
    got = [[r.get() for _ in range(each)] for r in receivers]
    assert {message.body for both in got for message in both} == set(range(20))
    for both in got:
        for message in both:
            message.accept()
    assert [s.outcome() for s in sent] == [Delivery.ACCEPTED] * 20


def test_without_a_consumer_there_is_no_credit_and_one_brings_it(router):
    sender = router.sender("nobody")
    sender.connection.barrier()
    assert sender.credit == 0
    sent = sender.post(Message(body="now"))
    receiver = router.receiver("nobody", credit=1)
    assert receiver.take() == "now"
    assert sent.outcome() == Delivery.ACCEPTED


def test_an_anonymous_sender_names_the_address_in_each_message(router):
    receiver = router.receiver("x")
    sender = router.sender(None)
    sent = sender.post(Message(address="x", body="to x"))
    assert receiver.take() == "to x"
    assert sent.outcome() == Delivery.ACCEPTED
    assert sender.send(Message(address="nowhere", body=1)) == Delivery.RELEASED
    lost = sender.post(Message(body="no address at all"))
    assert lost.outcome() == Delivery.REJECTED
    assert lost.condition == "amqp:precondition-failed"


def test_requests_are_answered_over_a_dynamic_address(router):
    service = router.connect()
    requests, replies = service.receiver("service"), service.sender(None)
    c = router.connect()
    receiver = c.receiver(None)
    assert receiver.address.startswith("amqp:/_topo/0/R/temp.")
    c.sender("service").post(Message(id="1", body="hi", reply_to=receiver.address))
    request = requests.get().accept().message
    replies.post(Message(address=request.reply_to, body=request.body.upper(),
                         correlation_id=request.id))
    reply = receiver.get().accept().message
    assert (reply.body, reply.correlation_id) == ("HI", "1")


@pytest.mark.parametrize("size", [0, 1, 16000, 16384, 70000, 1000000, 20000000])
@pytest.mark.parametrize("settled", [False, True], ids=["unsettled", "settled"])
def test_any_size_arrives_whole(router, size, settled):
    receiver = router.receiver("big", credit=1)
    body = (bytes(i * 7 % 251 for i in range(1000)) * (size // 1000 + 1))[:size]
    router.sender("big", settled=settled).post(Message(body=body))
    assert receiver.take(60) == body


def test_an_unavailable_address_refuses_links(router):
    c = router.connect()
    for attach in (c.sender, c.receiver):
        with pytest.raises(Gone) as e:
            attach("none/here")
        assert e.value.condition == "amqp:not-found"


def test_order_is_kept_over_many_messages(router):
    receiver = router.receiver("ordered", credit=100)
    router.sender("ordered").post_all([Message(body=i) for i in range(2000)])
    assert receiver.take_all(2000) == list(range(2000))


def test_a_consumer_that_dies_gives_back_what_it_did_not_see(router):
    receiver = router.receiver("fragile", credit=1)
    sent = router.sender("fragile").post(Message(body=1))
    receiver.get()
    receiver.connection.drop()
    assert sent.outcome() == Delivery.MODIFIED
