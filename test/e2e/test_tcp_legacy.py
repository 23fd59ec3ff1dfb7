# SPDX-License-Identifier: Apache-2.0
"""The encapsulation of routers before 3.0: their listener and their connector played by hand, and
both encapsulations joined by routers of ours."""

import os
import socket
import struct

import pytest
from harness import Management, free_port, inter_router, link_to
from proton import Data, Described, symbol, uint, ulong
from raw import (ATTACH, DISPOSITION, FLOW, RECEIVER, SENDER, TRANSFER, Raw, encode, source,
                 target)
from services import (Server, connect, connector, echo, exchange, listener, receive_all, reset,
                      wait)
from test_tcp import meets_reset

PROPERTIES, APPLICATION_PROPERTIES, DATA, ACCEPTED = 0x73, 0x74, 0x75, 0x24
# Annotations between routers, which say that this is a stream.
STREAM = encode(Described(ulong(0x534b50522d2d5241), [uint(5), None, None, []]))


def section(data, short=False):
    if short:
        return b"\x00\x53\x75\xa0" + bytes([len(data)]) + data
    return b"\x00\x53\x75\xb0" + struct.pack(">I", len(data)) + data


def head(to, reply_to=None, flow=None):
    text = STREAM + encode(Described(ulong(PROPERTIES), [None, None, to, "site/127.0.0.1:1", reply_to]))
    if flow:
        text += encode(Described(ulong(APPLICATION_PROPERTIES), {symbol(":flowid"): flow}))
    return text


def sections(payload):
    """[(code, value)] of a message."""
    found = []
    while payload:
        data = Data()
        used = data.decode(payload)
        data.rewind()
        data.next()
        value = data.get_object()
        found.append((int(value.descriptor), value.value))
        payload = payload[used:]
    return found


class Stream:
    """What comes on a receiving link, without annotations."""

    def __init__(self, raw):
        self.raw, self.bytes, self.is_whole, self.number = raw, b"", False, None

    def more(self):
        f = self.raw.until(TRANSFER)
        if f.field(1) is not None:
            self.number = int(f.field(1))
        self.bytes += f.payload
        self.is_whole = not f.field(5)

    def until(self, is_enough):
        while not is_enough(self.parts()):
            self.more()
        return self.parts()

    def parts(self):
        try:
            return [s for s in sections(self.bytes) if s[0] in (
                PROPERTIES, APPLICATION_PROPERTIES, DATA)]
        except Exception:
            return []  # a section is not whole yet

    def data(self):
        return b"".join(bytes(value) for code, value in self.parts() if code == DATA)

    def accept(self):
        self.raw.put(DISPOSITION, True, uint(self.number), None, True,
                     Described(ulong(ACCEPTED), []))


def dynamic_receiver(raw):
    raw.put(ATTACH, "reply", uint(0), RECEIVER, None, None, source(None, dynamic=True),
            target(None))
    address = raw.until(ATTACH).field(5).value[0]
    raw.flow(0, 1)
    return address


def pair(routers, *at_a, b=()):
    """Their clients may speak as routers do."""
    link, plain = free_port(), {"stripAnnotations": "no"}
    a = routers("A", entities=[inter_router(link), *at_a], listener=plain)
    made = a, routers("B", entities=[link_to(link), *b], listener=plain)
    made[1].wait_reaches("A")
    return made


def test_an_old_listener_reaches_our_connector(routers):
    server = Server(echo)
    a, _ = pair(routers, b=[connector(server.port)])
    rx, tx = Raw(a.port).client(), Raw(a.port).client()
    reply = dynamic_receiver(rx)
    tx.attach(SENDER, "echo")
    tx.until(FLOW)
    tx.put(TRANSFER, uint(0), uint(0), b"t", uint(0), False, True,
           payload=head("echo", reply, "flow:1") + section(b"first ", short=True))
    answer = Stream(rx)
    parts = answer.until(lambda parts: len(parts) > 1)
    properties = parts[0][1]
    assert parts[0][0] == PROPERTIES and properties[2] == reply
    assert len(properties) < 7 or properties[6] is None  # no content-type
    tx.put(TRANSFER, uint(0), None, None, None, None, True, payload=section(b"and "))
    tx.put(TRANSFER, uint(0), None, None, None, None, False, payload=section(b"last"))
    while not answer.is_whole:
        answer.more()
    assert answer.data() == b"first and last"
    answer.accept()
    state = tx.until(DISPOSITION).field(4)
    assert int(state.descriptor) == ACCEPTED
    m = Management(a)
    wait(lambda: m.query("tcpConnection") == [])
    m.close()
    for raw in (rx, tx):
        raw.close()


def test_our_listener_reaches_an_old_connector(routers):
    port = free_port()
    a, b = pair(routers, listener(port, encapsulation="legacy"))
    taker = Raw(b.port).client()
    taker.attach(RECEIVER, "echo")
    taker.flow(0, 5)
    with connect(port) as s:
        offered = Stream(taker)
        parts = dict(offered.until(lambda parts: len(parts) > 1))
        to, _, reply = parts[PROPERTIES][2:5]
        assert to == "echo" and reply
        assert len(parts[PROPERTIES]) < 7 or parts[PROPERTIES][6] is None
        assert ":flowid" in {str(key) for key in parts[APPLICATION_PROPERTIES]}
        giver = Raw(b.port).client()
        giver.attach(SENDER, None)
        giver.until(FLOW)
        giver.put(TRANSFER, uint(0), uint(0), b"t", uint(0), False, True,
                  payload=head(reply) + section(b"welcome"))
        assert s.recv(100) == b"welcome"
        s.sendall(b"hello")
        s.shutdown(socket.SHUT_WR)
        while not offered.is_whole:
            offered.more()
        assert offered.data() == b"hello"
        offered.accept()
        giver.put(TRANSFER, uint(0), None, None, None, None, False, payload=section(b"bye"))
        assert receive_all(s) == b"bye"
        assert int(giver.until(DISPOSITION).field(4).descriptor) == ACCEPTED
    for raw in (taker, giver):
        raw.close()


@pytest.mark.parametrize("old", ["clients", "servers"])
def test_a_connector_that_dials_a_listener_joins_the_two_encapsulations(routers, old):
    """Clients of 1.x sites use services of 2.x sites, or the other way round: what comes in the one
    encapsulation goes on in the other."""
    server, port, joint = Server(echo), free_port(), free_port()
    kinds = ("legacy", "lite") if old == "clients" else ("lite", "legacy")
    pair(routers, listener(port, "front", encapsulation=kinds[0]),
         listener(joint, "back", encapsulation=kinds[1]),
         b=[connector(joint, "front"), connector(server.port, "back")])
    exchange(port)
    exchange(port, os.urandom(3_000_000))
    ends = []

    def serve(s):
        s.sendall(b"ready")
        ends.append(meets_reset(s))

    server.serve = serve
    s = connect(port)
    assert s.recv(100) == b"ready"
    reset(s)
    wait(lambda: ends == [True])
