# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 for servers on asyncio: requests in, answers out, keep-alive, chunked bodies both ways."""

import asyncio
import gzip
import json
import urllib.parse

HEAD_MAX = 64 * 1024
BODY_MAX = 3 * 1024 * 1024
PHRASES = {200: "OK", 201: "Created", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized",
           403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict",
           410: "Gone", 413: "Payload Too Large", 415: "Unsupported Media Type",
           422: "Unprocessable Entity", 429: "Too Many Requests", 500: "Internal Server Error",
           503: "Service Unavailable", 504: "Gateway Timeout"}


class Malformed(Exception):
    pass


class TooLarge(Exception):
    pass


class Request:
    __slots__ = ("method", "path", "query", "headers", "body", "peer", "keep")

    def __init__(self, method, target, headers, body, peer, keep):
        path, _, query = target.partition("?")
        self.method = method
        self.path = urllib.parse.unquote(path)
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.headers = headers  # names in lower case
        self.body = body
        self.peer = peer        # what the client's certificate says, or {}
        self.keep = keep        # the client wants to go on

    def flag(self, name):
        return self.query.get(name, "").lower() in ("1", "true")


class Response:
    def __init__(self, code, body=b"", content_type="application/json", headers=None):
        self.code = code
        self.body = body if isinstance(body, bytes) else json.dumps(
            body, separators=(",", ":"), ensure_ascii=False).encode()
        self.content_type = content_type
        self.headers = headers or {}


async def _pass_by(reader, size):
    """Reads what is too large to keep, so that the client hears why instead of a broken pipe."""
    while size > 0 and (got := await reader.read(min(size, 1 << 16))):
        size -= len(got)
    raise TooLarge()


async def _read_body(reader, writer, headers):
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while True:
            size = int((await reader.readline()).split(b";")[0], 16)
            if len(body) + size > BODY_MAX:
                raise TooLarge()
            body += await reader.readexactly(size)
            await reader.readline()
            if size == 0:
                return body
    size = int(headers.get("content-length") or 0)
    if size < 0:
        raise Malformed()
    if size > BODY_MAX:
        await _pass_by(reader, size)
    return await reader.readexactly(size) if size else b""


async def read_request(reader, writer, peer):
    """The next request; None when the client has left."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        raise Malformed() from None
    try:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
        headers = {}
        for line in lines:
            if line:
                name, value = line.split(":", 1)
                headers[name.strip().lower()] = value.strip()
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        body = await _read_body(reader, writer, headers)
    except ValueError:
        raise Malformed() from None
    return Request(method, target, headers, body, peer, keep)


def _head(code, headers):
    lines = ["HTTP/1.1 %d %s" % (code, PHRASES.get(code, "Unknown"))]
    lines += ["%s: %s" % item for item in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def write_response(writer, request, response, keep):
    headers = {"Content-Type": response.content_type, **response.headers}
    body = response.body
    # As the real server does: what is large is compressed for who can read it.
    if len(body) > 128 * 1024 and request and "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, 1)
        headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(len(body))
    if not keep:
        headers["Connection"] = "close"
    if request and request.method == "HEAD":
        body = b""
    writer.write(_head(response.code, headers) + body)


def start_stream(writer, keep=True):
    headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    if not keep:
        headers["Connection"] = "close"
    writer.write(_head(200, headers))


def write_chunk(writer, data):
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


def end_stream(writer):
    writer.write(b"0\r\n\r\n")


def write_half(writer, response):
    """An answer that breaks off."""
    head = _head(response.code, {"Content-Type": response.content_type,
                                 "Content-Length": str(len(response.body))})
    writer.write(head + response.body[:len(response.body) // 2])
