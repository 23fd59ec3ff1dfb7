# SPDX-License-Identifier: Apache-2.0
"""The subresource portforward of a pod, over a WebSocket with numbered channels (v4.channel.k8s.io):
two for each port, of data and of trouble, each begun by the server with the port's number.

A pod here is no machine of its own: an annotation standin/port-N of the pod says at which port of
127.0.0.1 its port N really is."""

import asyncio
import base64
import hashlib
import struct

from . import errors

PROTOCOL = "v4.channel.k8s.io"
BINARY, CLOSE, PING, PONG = 2, 8, 9, 10
PIECE = 3000  # octets of a message, so that those of a test are cut


def where(request, pod):
    """The port on this machine; the client is told why there is none."""
    if request.headers.get("upgrade", "").lower() != "websocket":
        raise errors.bad_request("you must specify at least 1 port" if "ports" not in request.query
                                 else "unable to upgrade: missing upgrade headers in request")
    asked = [p.strip() for p in request.headers.get("sec-websocket-protocol", "").split(",")]
    if PROTOCOL not in asked:
        raise errors.bad_request("unable to upgrade: no known subprotocol in %s" % asked)
    if (pod.get("status") or {}).get("phase") != "Running":
        raise errors.bad_request("pod is not running: status=%s" %
                                 (pod.get("status") or {}).get("phase", "Pending"))
    port = request.query.get("ports", "")
    notes = pod["metadata"].get("annotations") or {}
    return int(port), int(notes.get("standin/port-" + port, "0"))


def frame(opcode, data):
    if len(data) < 126:
        return bytes([0x80 | opcode, len(data)]) + data
    return bytes([0x80 | opcode, 126]) + struct.pack(">H", len(data)) + data


async def _read_frame(reader):
    first, second = await reader.readexactly(2)
    size = second & 127
    assert second & 128, "a client masks what it sends"
    if size == 126:
        size = struct.unpack(">H", await reader.readexactly(2))[0]
    elif size == 127:
        size = struct.unpack(">Q", await reader.readexactly(8))[0]
    mask = await reader.readexactly(4)
    data = await reader.readexactly(size)
    return first & 15, bytes(b ^ mask[i % 4] for i, b in enumerate(data))


async def _from_client(reader, pod):
    while True:
        opcode, data = await _read_frame(reader)
        if opcode == CLOSE:
            return
        if opcode == BINARY and data[:1] == b"\0":
            pod.write(data[1:])
            await pod.drain()


async def _from_pod(pod, writer):
    while data := await pod.read(PIECE):
        writer.write(frame(PING, b"there?"))
        writer.write(frame(BINARY, b"\0" + data))
        await writer.drain()


async def serve(reader, writer, request, port, real):
    """Until either end has had enough."""
    key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    writer.write(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n"
                  % (accept, PROTOCOL)).encode())
    for channel in (0, 1):
        writer.write(frame(BINARY, bytes([channel]) + struct.pack("<H", port)))
    try:
        its_reader, its_writer = await asyncio.open_connection("127.0.0.1", real)
    except OSError as e:
        writer.write(frame(BINARY, b"\1an error occurred forwarding %d -> %d: %s"
                           % (port, port, str(e).encode())))
        writer.write(frame(CLOSE, b"\x03\xe8"))
        return
    ends = [asyncio.ensure_future(_from_client(reader, its_writer)),
            asyncio.ensure_future(_from_pod(its_reader, writer))]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in ends:
            one.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        its_writer.close()
    writer.write(frame(CLOSE, b"\x03\xe8"))
