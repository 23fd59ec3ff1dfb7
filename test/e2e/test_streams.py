# SPDX-License-Identifier: Apache-2.0
"""A message of a gibibyte to a receiver that is slow: it streams, and the routers hold little.

Over several routers an eighth of it shows the same."""

import os
import select
import struct
import zlib

import pytest
from harness import SANITIZED, edge_line, line
from proton import Described, uint, ulong
from raw import DISPOSITION, FLOW, RECEIVER, SENDER, TRANSFER, Raw, frame, performative

GIB = 1 << (24 if SANITIZED else 30)  # there it takes too long
PIECE = os.urandom(16000)
MORE = frame(performative(TRANSFER, uint(0), None, None, None, None, True) + PIECE)
EMPTY_FRAME = b"\x00\x00\x00\x08\x02\x00\x00\x00"
BURST = 32  # frames sent at once


class Source:
    """Sends one message of `total` octets as the router's window allows."""

    def __init__(self, router, address, total):
        self.raw = Raw(router.port).client()
        self.left, self.crc, self.sent, self.room = total, 0, 0, self.raw.begun.field(2)
        self.raw.attach(SENDER, address)
        self.raw.until(FLOW)

    def _count(self, piece, frames=1):
        for _ in range(frames):
            self.crc = zlib.crc32(piece, self.crc)
        self.left -= len(piece) * frames
        self.sent += frames
        self.room -= frames

    def send(self):
        """As much as may be sent now, up to a burst; False: nothing."""
        if self.left == 0 or self.room == 0:
            return False
        if self.sent == 0:
            # The data section's length is its first octets: the message is one such section.
            head = b"\x00\x53\x75\xb0" + struct.pack(">I", self.left)
            self.raw.put(TRANSFER, uint(0), uint(0), b"t", uint(0), False, True,
                         payload=head + PIECE)
            self._count(PIECE)
            return True
        frames = min(self.room, BURST, (self.left - 1) // len(PIECE))
        if frames > 0:
            self.raw.send(MORE * frames)
            self._count(PIECE, frames)
            return True
        last = PIECE[:self.left]
        self.raw.put(TRANSFER, uint(0), None, None, None, None, False, payload=last)
        self._count(last)
        return True

    def heard(self):
        f = self.raw.until(FLOW, DISPOSITION)
        if f.code == FLOW and f.field(0) is not None:
            self.room = f.field(0) + f.field(1) - self.sent
        return f


class Sink:
    """Takes one message, a bite at a time."""

    def __init__(self, router, address):
        self.raw = Raw(router.port, receive_buffer=65536).client()
        self.raw.attach(RECEIVER, address)
        self.raw.flow(0, 1)
        self.count, self.crc, self.is_whole, self.skip = 0, 0, False, None
        self.rest, self.bites = b"", 0
        self.room = memoryview(bytearray(512 * 1024))

    def bite(self):
        self.bites += 1
        if self.bites % 64 == 0:
            self.raw.send(EMPTY_FRAME)  # it is slow, not dead
        rest = len(self.rest)
        self.room[:rest] = self.rest
        count = self.raw.socket.recv_into(self.room[rest:])
        assert count, "the receiver's connection ended"
        data, at = self.room[:rest + count], 0
        while len(data) - at >= 8:
            size = struct.unpack_from(">I", data, at)[0]
            if len(data) - at < size:
                break
            self._frame(data[at:at + size])
            at += size
        self.rest = bytes(data[at:])

    def _frame(self, data):
        if data[8:11] != b"\x00\x53\x14":
            return
        width = 1 + data[12] if data[11] == 0xc0 else 4 + int.from_bytes(data[12:16], "big")
        fields, payload = bytes(data[11:12 + width]), data[12 + width:]
        if self.skip is None:
            self.skip = bytes(payload[:64]).index(b"\x00\x53\x75\xb0") + 8
            payload = payload[self.skip:]
        self.count += len(payload)
        self.crc = zlib.crc32(payload, self.crc)
        more = fields.endswith(b"\x41") and fields[2 if fields[0] == 0xc0 else 8] >= 6
        self.is_whole = not more


SHAPES = {
    "one": (lambda routers: [routers("A", mode="standalone")], GIB),
    "a line of three": (lambda routers: line(routers, "ABC"), GIB // 8),
    "edges at both ends": (edge_line, GIB // 8),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_gibibyte_streams_to_a_slow_receiver_in_little_memory(routers, shape):
    make, total = SHAPES[shape]
    made = make(routers)
    before = [r.resident_kib() for r in made]
    most = stream(made, total)
    grown = [m - b for m, b in zip(most, before)]
    assert max(grown) <= 4096, grown


def stream(made, total):
    """Returns the most that each router held meanwhile, in KiB. The receiver takes a bite only
    when the sender may not send."""
    sink = Sink(made[-1], "stream")
    sink.raw.begin(channel=1)
    source = Source(made[0], "stream", total)
    most, rounds = [0] * len(made), 0
    while not sink.is_whole:
        rounds += 1
        if rounds % 64 == 0:
            most = [max(m, r.resident_kib()) for m, r in zip(most, made)]
        ready, _, _ = select.select([source.raw.socket], [], [], 0)
        if ready or source.raw.buffer:
            source.heard()
        elif not source.send():
            ready, _, _ = select.select([source.raw.socket, sink.raw.socket], [], [], 30)
            assert ready, "nothing moves: %d of %d octets" % (sink.count, total)
            if sink.raw.socket in ready:
                sink.bite()
    assert (sink.count, sink.crc) == (total, source.crc)
    sink.raw.put(DISPOSITION, RECEIVER, uint(0), None, True, accepted())
    while source.heard().code != DISPOSITION:
        continue
    source.raw.close()
    sink.raw.close()
    return most


def accepted():
    return Described(ulong(0x24), [])
