# SPDX-License-Identifier: Apache-2.0
"""Messages that are sent on before they have come whole."""

import pytest
from harness import all_hear
from proton import Delivery, Message

BODY = bytes(i * 7 % 251 for i in range(5000)) * 400


@pytest.mark.parametrize("settled", [False, True], ids=["unsettled", "settled"])
@pytest.mark.parametrize("count", [2, 5])
def test_a_large_multicast_message_reaches_every_consumer_whole(routers, settled, count):
    router = routers("R", mode="standalone")
    receivers = [router.receiver("mc/x") for _ in range(count)]
    sender = router.sender("mc/x")
    all_hear(sender, receivers)
    sent = sender.post_all([Message(body=BODY), Message(body="after")] * 3, settled=settled)
    for r in receivers:
        assert r.take_all(6) == [BODY, "after"] * 3
    assert [s.outcome() for s in sent] == [None if settled else Delivery.ACCEPTED] * 6


@pytest.mark.parametrize("address", ["balanced/half", "mc/half"])
def test_half_a_message_is_taken_back_when_its_sender_dies(routers, address):
    router = routers("R", mode="standalone")
    receiver = router.receiver(address)
    sender = router.sender(address).wait_credit()
    sender.connection.loop.call(begin_message, sender.link)
    receiver.wait(lambda: sum(map(len, receiver.parts)) > 100000, "a part")
    sender.connection.drop()
    receiver.wait(lambda: receiver.aborted == 1, "abort")


def begin_message(link):
    """Half a megabyte of a message that is never finished."""
    link.delivery("half")
    link.stream(Message(body=BODY[:500000]).encode())
