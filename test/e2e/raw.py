# SPDX-License-Identifier: Apache-2.0
"""AMQP by hand on a socket: for what no library would send, and for sending very much of it."""

import os
import socket
import struct

from proton import Data, Described, symbol, ubyte, uint, ulong, ushort

TIMEOUT = float(os.environ.get("E2E_TIMEOUT", "60"))
AMQP, SASL = b"AMQP\x00\x01\x00\x00", b"AMQP\x03\x01\x00\x00"
OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
MECHANISMS, INIT, CHALLENGE, RESPONSE, OUTCOME = range(0x40, 0x45)
SENDER, RECEIVER = False, True
BODY_BINARY = b"\x00\x53\x75\xb0"  # a data section, its length follows in four octets


def encode(value):
    data = Data()
    data.put_object(value)
    return data.encode()


def performative(code, *fields):
    return encode(Described(ulong(code), list(fields)))


def frame(body, channel=0, kind=0):
    return struct.pack(">IBBH", 8 + len(body), 2, kind, channel) + body


def terminus(code, address, dynamic=False):
    return Described(ulong(code), [address, None, None, None, dynamic] if dynamic else [address])


def source(address, dynamic=False):
    return terminus(0x28, address, dynamic)


def target(address):
    return terminus(0x29, address)


class Frame:
    def __init__(self, kind, channel, body):
        self.kind, self.channel, self.code, self.fields, self.payload = kind, channel, None, [], b""
        if body:
            data = Data()
            used = data.decode(body)
            data.rewind()
            data.next()
            value = data.get_object()
            self.code, self.fields = int(value.descriptor), list(value.value)
            self.payload = body[used:]

    def field(self, i):
        return self.fields[i] if i < len(self.fields) else None

    def error(self):
        """The condition and the words of a detach, end or close."""
        for f in self.fields:
            if isinstance(f, Described) and int(f.descriptor) == 0x1d:
                return str(f.value[0]), f.value[1] if len(f.value) > 1 else None
        return None, None


class Raw:
    def __init__(self, port, receive_buffer=None):
        self.socket = socket.socket()
        self.socket.settimeout(TIMEOUT)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self.name = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.buffer = b""

    def send(self, *pieces):
        self.socket.sendall(b"".join(pieces))

    def put(self, code, *fields, channel=0, payload=b"", kind=0):
        self.send(frame(performative(code, *fields) + payload, channel, kind))

    def exactly(self, n):
        """n octets, or fewer when the other side ends."""
        while len(self.buffer) < n:
            try:
                piece = self.socket.recv(262144)
            except ConnectionResetError:
                piece = b""
            if not piece:
                break
            self.buffer += piece
        taken, self.buffer = self.buffer[:n], self.buffer[n:]
        return taken

    def frame(self):
        """The next frame that is not empty; None at the end of the stream."""
        while True:
            head = self.exactly(8)
            if len(head) < 8:
                return None
            size, doff, kind, channel = struct.unpack(">IBBH", head)
            body = self.exactly(size - 8)[4 * doff - 8:]
            if body:
                return Frame(kind, channel, body)

    def until(self, *codes):
        """The next frame of one of these codes."""
        while True:
            f = self.frame()
            assert f is not None, "the stream ended before %s" % [hex(c) for c in codes]
            if f.code in codes:
                return f

    def ended(self):
        """Whether nothing but the end of the stream comes."""
        while self.exactly(65536):
            pass
        return True

    def sasl(self):
        self.send(SASL, frame(performative(INIT, symbol("ANONYMOUS")), kind=1))
        assert self.exactly(8) == SASL
        assert self.until(OUTCOME).field(0) == 0
        return self

    def open(self, name="raw", frame_max=None, idle_ms=None, channel_max=None):
        self.send(AMQP)
        self.put(OPEN, name, None, uint(frame_max) if frame_max else None,
                 ushort(channel_max) if channel_max is not None else None,
                 uint(idle_ms) if idle_ms else None)
        assert self.exactly(8) == AMQP
        self.opened = self.until(OPEN)
        return self

    def begin(self, window=1 << 30, channel=0):
        self.put(BEGIN, None, uint(0), uint(window), uint(window), channel=channel)
        self.begun = self.until(BEGIN)
        return self

    def attach(self, role, address, handle=0, settled=False, name=None, wait=True, channel=0):
        self.put(ATTACH, name or "link-%d" % handle, uint(handle), role,
                 ubyte(1 if settled else 0), ubyte(0), source(address if role else None),
                 target(None if role else address), None, None, uint(0) if not role else None,
                 channel=channel)
        if wait:
            return self.until(ATTACH)
        return self

    def flow(self, handle, credit, next_in=0, window=1 << 30, count=0):
        self.put(FLOW, uint(next_in), uint(window), uint(0), uint(1 << 30), uint(handle),
                 uint(count), uint(credit))

    def transfer(self, handle, number, payload, settled=False, more=False):
        self.put(TRANSFER, uint(handle), uint(number), b"t%d" % number, uint(0), settled, more,
                 payload=payload)

    def client(self):
        """With SASL, open, and one session."""
        return self.sasl().open().begin()

    def close(self):
        self.socket.close()


def message(body):
    return BODY_BINARY + struct.pack(">I", len(body)) + body
