# SPDX-License-Identifier: Apache-2.0
"""Malformed bytes at every layer: the end that the specification names for them, one line in the
log with the peer's address, and nothing else in the process affected."""

import struct

import pytest
from proton import Delivery, Message, symbol, uint
from raw import (AMQP, ATTACH, BEGIN, CLOSE, DETACH, DISPOSITION, END, FLOW, INIT, OPEN, OUTCOME,
                 RECEIVER, SASL, SENDER, TRANSFER, Raw, frame, message, performative)


@pytest.fixture
def router(routers):
    return routers("R", mode="standalone", entities=[["log", {"module": "SERVER",
                                                              "enable": "debug+"}]])


@pytest.fixture
def bystander(router):
    """Others that use the router all the while."""
    receiver = router.receiver("bystander")
    return router.sender("bystander"), receiver


@pytest.fixture
def others_go_on(router, bystander):
    yield
    sender, receiver = bystander
    sent = sender.post(Message(body="still here"))
    assert receiver.take() == "still here"
    assert sent.outcome() == Delivery.ACCEPTED


def told(router, peer, words=""):
    """Exactly one warning tells of the peer, before the last thing that happens to it."""
    router.log.wait("connection closed peer=" + peer.name)
    lines = [x for x in router.log.lines if "(warning)" in x and peer.name + " " in x]
    assert len(lines) == 1 and words in lines[0], (lines, words)


def head(size, doff=2, kind=0, channel=0):
    return struct.pack(">IBBH", size, doff, kind, channel)


NOT_AMQP = {
    "http": b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    "tls to a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 40,
    "zeros": bytes(64),
    "an older AMQP": b"AMQP\x01\x01\x00\x09",
    "an unknown protocol id": b"AMQP\x07\x01\x00\x00",
    "a newer version": b"AMQP\x00\x02\x00\x00",
}


@pytest.mark.parametrize("what", NOT_AMQP)
def test_what_is_not_amqp_is_answered_with_the_header_we_speak(router, others_go_on, what):
    peer = Raw(router.port)
    peer.send(NOT_AMQP[what])
    assert peer.exactly(8) in (SASL, AMQP)
    assert peer.ended()
    told(router, peer)


BAD_SASL = {
    "larger than a SASL frame may be": head(4096, kind=1) + bytes(100),
    "smaller than its own head": head(7, kind=1),
    "data that begins past the end": head(16, doff=9, kind=1) + bytes(8),
    "an AMQP frame": frame(performative(OPEN, "me")),
    "no list": frame(b"\x00\x53\x41\x71\x00\x00\x00\x01", kind=1),
    "a list cut short": frame(b"\x00\x53\x41\xc0\x20\x03\xa3\x09ANON", kind=1),
    "an outcome": frame(performative(OUTCOME, None), kind=1),
    "no mechanism": frame(performative(INIT), kind=1),
}


@pytest.mark.parametrize("what", BAD_SASL)
def test_bad_bytes_in_sasl_end_the_connection(router, others_go_on, what):
    peer = Raw(router.port)
    peer.send(SASL, BAD_SASL[what])
    assert peer.exactly(8) == SASL
    assert peer.ended()
    told(router, peer)


def test_an_unknown_mechanism_gets_the_outcome_that_says_so(router, others_go_on):
    peer = Raw(router.port)
    peer.send(SASL, frame(performative(INIT, symbol("PLAIN"), b"\0me\0secret"), kind=1))
    assert peer.exactly(8) == SASL
    assert peer.until(OUTCOME).field(0) == 1
    assert peer.ended()
    told(router, peer, "PLAIN")


# Right after open: the bytes, and the condition of the close that they get.
BAD_FRAMES = {
    "larger than announced": (head(100000) + bytes(64), "amqp:connection:framing-error"),
    "smaller than its own head": (head(4), "amqp:connection:framing-error"),
    "data that begins past the end": (head(16, doff=9) + bytes(8),
                                      "amqp:connection:framing-error"),
    "data that begins within the head": (head(16, doff=1) + bytes(8),
                                         "amqp:connection:framing-error"),
    "a frame of unknown type": (frame(performative(BEGIN), kind=9),
                                "amqp:connection:framing-error"),
    "no performative": (frame(b"\xff" * 40), "amqp:decode-error"),
    "an unknown performative": (frame(performative(0x7f)), "amqp:decode-error"),
    "a begin that is cut short": (frame(b"\x00\x53\x11\xc0\x20\x04\x40\x43"),
                                  "amqp:decode-error"),
    "a begin whose list lies of its count": (frame(b"\x00\x53\x11\xc0\x03\xff\x40\x43"),
                                             "amqp:decode-error"),
    "a begin with a field of the wrong type": (frame(performative(BEGIN, "x", "y", "z", "w")),
                                               "amqp:decode-error"),
    "a begin without its fields": (frame(performative(BEGIN)), "amqp:decode-error"),
    "a second open": (frame(performative(OPEN, "again")), "amqp:not-allowed"),
    "an end without a session": (frame(performative(END), channel=7), "amqp:not-allowed"),
    "an attach without a session": (
        frame(performative(ATTACH, "x", uint(0), False), channel=3), "amqp:not-allowed"),
    "a channel above the highest": (
        frame(performative(BEGIN, None, uint(0), uint(1), uint(1)), channel=0xffff),
        "amqp:connection:framing-error"),
}


@pytest.mark.parametrize("what", BAD_FRAMES)
def test_bad_frames_get_a_close_that_says_what_was_wrong(router, others_go_on, what):
    data, condition = BAD_FRAMES[what]
    peer = Raw(router.port).sasl().open()
    peer.send(data)
    close = peer.until(CLOSE)
    assert close.error()[0] == condition and close.error()[1]
    peer.put(CLOSE)
    assert peer.ended()
    told(router, peer, condition)


def test_a_connection_that_begins_with_another_frame_than_open_is_closed(router, others_go_on):
    peer = Raw(router.port).sasl()
    peer.send(AMQP, frame(performative(BEGIN, None, uint(0), uint(1), uint(1))))
    assert peer.exactly(8) == AMQP
    assert peer.until(CLOSE).error()[0] == "amqp:not-allowed"
    peer.put(CLOSE)
    assert peer.ended()
    told(router, peer, "not-allowed")


def put(code, *fields):
    return frame(performative(code, *fields))


# In a session: the bytes, and the condition of the end that they get.
BAD_IN_SESSION = {
    "a transfer on no link": (put(TRANSFER, uint(9), uint(0), b"t"),
                              "amqp:session:unattached-handle"),
    "a detach of no link": (put(DETACH, uint(9), True), "amqp:session:unattached-handle"),
    "a flow on no link": (put(FLOW, uint(0), uint(9), uint(0), uint(9), uint(9), uint(0), uint(9)),
                          "amqp:session:unattached-handle"),
    "dispositions that run backwards": (put(DISPOSITION, True, uint(9), uint(3), True),
                                        "amqp:invalid-field"),
}


@pytest.mark.parametrize("what", BAD_IN_SESSION)
def test_bad_frames_in_a_session_end_the_session_alone(router, others_go_on, what):
    data, condition = BAD_IN_SESSION[what]
    peer = Raw(router.port).client()
    peer.begin(channel=1)
    peer.send(data)
    end = peer.until(END)
    assert end.error()[0] == condition and end.error()[1]
    peer.put(END)
    peer.attach(RECEIVER, "elsewhere", channel=1)  # the other session lives
    peer.put(CLOSE)
    peer.until(CLOSE)


def test_a_handle_that_is_in_use_ends_the_session(router, others_go_on):
    peer = Raw(router.port).client()
    peer.attach(RECEIVER, "a")
    peer.attach(RECEIVER, "b", name="other", wait=False)
    assert peer.until(END).error()[0] == "amqp:session:handle-in-use"


def test_a_transfer_beyond_the_credit_detaches_the_link_alone(router, others_go_on):
    peer = Raw(router.port).client()
    peer.attach(SENDER, "nobody listens")
    peer.attach(SENDER, "bystander", handle=1)
    peer.until(FLOW)
    peer.transfer(0, 0, message(b"x"))
    detach = peer.until(DETACH)
    assert detach.field(0) == 0
    assert detach.error()[0] == "amqp:link:transfer-limit-exceeded"
    peer.put(DETACH, uint(0), True)
    peer.put(CLOSE)
    peer.until(CLOSE)


BAD_MESSAGES = {
    "no section": b"\x40" * 20,
    "a header that lies of its length": b"\x00\x53\x70\xc0\x20\x01\x41",
    "properties that are no list": b"\x00\x53\x73\xa1\x03abc" + message(b"x"),
    "properties cut short": b"\x00\x53\x73\xd0\x00\x01\x00\x00\x00\x00\x00\x01\x40",
}


@pytest.mark.parametrize("what", BAD_MESSAGES)
def test_a_malformed_message_is_rejected_and_its_link_lives(router, others_go_on, what):
    beside = router.receiver("beside")
    peer = Raw(router.port).client()
    peer.attach(SENDER, None)
    peer.until(FLOW)
    peer.transfer(0, 0, BAD_MESSAGES[what])
    state = peer.until(DISPOSITION).field(4)
    assert int(state.descriptor) == 0x25
    assert str(state.value[0].value[0]) == "amqp:decode-error"
    peer.transfer(0, 1, Message(address="beside", body="by hand").encode())
    assert beside.take() == "by hand"
    assert int(peer.until(DISPOSITION).field(4).descriptor) == 0x24
    peer.put(CLOSE)
    peer.until(CLOSE)


def test_deep_nesting_is_refused_and_does_not_hurt(router, others_go_on):
    peer = Raw(router.port).sasl().open()
    deep = b"\x40"
    for _ in range(3000):
        deep = b"\xc0" + bytes([min(255, len(deep) + 1)]) + b"\x01" + deep if len(deep) < 250 \
            else b"\xd0" + struct.pack(">II", len(deep) + 4, 1) + deep
        if len(deep) > 15000:
            break
    peer.send(frame(b"\x00\x53\x11" + deep))
    assert peer.until(CLOSE).error()[0] == "amqp:decode-error"
    peer.close()


def test_a_map_of_many_entries_in_open_is_refused_or_ignored(router, others_go_on):
    properties = {symbol("key-%d" % i): i for i in range(4000)}
    peer = Raw(router.port).sasl()
    peer.send(AMQP, frame(performative(OPEN, "me", None, None, None, None, None, None, None, None,
                                       properties)))
    assert peer.exactly(8) == AMQP
    assert peer.until(CLOSE).error()[0] in ("amqp:connection:framing-error",
                                            "amqp:decode-error")
    peer.close()


def test_many_bad_peers_are_told_of_in_few_lines(router, others_go_on):
    before = len(router.log.lines)
    for _ in range(500):
        peer = Raw(router.port)
        peer.send(b"nonsense")
        assert peer.ended()
        peer.close()
    last = Raw(router.port).client()
    last.put(CLOSE)
    last.until(CLOSE)
    lines = [x for x in router.log.lines[before:] if "(warning)" in x]
    assert 0 < len(lines) <= 200, len(lines)
