# SPDX-License-Identifier: Apache-2.0
"""Connections of clients: TLS, requests one after another, answers, watches, and the trouble that was
ordered for them."""

import asyncio
import socket
import ssl
import sys
import traceback

from . import api, errors, forward, http1
from .http1 import Response
from .watch import Watch

BOOKMARK_SECONDS = 60


def tls_context(folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder + "/server.crt", folder + "/server.key")
    context.load_verify_locations(folder + "/ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def _peer_of(writer):
    """The user a client certificate stands for: CN is the name, each O a group."""
    subject = [pair for part in (writer.get_extra_info("peercert") or {}).get("subject", ())
               for pair in part]
    name = next((v for k, v in subject if k == "commonName"), None)
    if name is None:
        return {}
    return {"name": name, "groups": [v for k, v in subject if k == "organizationName"]}


class Server:
    def __init__(self, api_, authority, watches, faults, tls):
        self.api = api_
        self.authority = authority
        self.watches = watches
        self.faults = faults
        self.tls = tls
        # Bound all the time, so that nobody is given the port while nobody listens there.
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))
        self.port = self._kept.getsockname()[1]
        self._listening = None
        self._writers = {}  # the number of each connection
        self._served = 0

    # ------------------------------------------------------------------------------ on and off

    async def start(self):
        self._listening = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self.tls, limit=http1.HEAD_MAX,
            reuse_address=True, backlog=512)

    async def stop(self):
        """As when the process is killed: nobody listens, every connection is cut."""
        if self._listening:
            self._listening.close()
            self._listening = None
        self.drop_connections()
        await asyncio.sleep(0)

    def drop_connections(self):
        for watch in self.watches.all():
            watch.end(broken=True)
        for writer in list(self._writers):
            writer.transport.abort()

    # ------------------------------------------------------------------------------ one client

    async def _serve(self, reader, writer):
        self._served += 1
        self._writers[writer] = self._served
        try:
            await self._serve_all(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, TimeoutError):
            pass  # the client's affair
        finally:
            del self._writers[writer]
            writer.transport.abort() if writer.is_closing() else writer.close()

    async def _serve_all(self, reader, writer):
        peer = _peer_of(writer)
        while True:
            try:
                request = await http1.read_request(reader, writer, peer)
            except http1.Malformed:
                http1.write_response(writer, None, Response(400, b"400 Bad Request", "text/plain"),
                                     False)
                return
            except http1.TooLarge:
                error = errors.too_large_body(http1.BODY_MAX)
                http1.write_response(writer, None, Response(error.code, error.status()), False)
                return
            if request is None or not await self._answer(reader, writer, request):
                await writer.drain()
                return
            await writer.drain()

    async def _answer(self, reader, writer, request):
        """Answers one request; false when the connection ends with it."""
        record = {"method": request.method, "path": request.path, "verb": "", "resource": "",
                  "agent": request.headers.get("user-agent", ""),
                  "connection": self._writers[writer]}
        try:
            user, target, verb = self._understand(request, record)
        except errors.ApiError as error:
            return self._send(writer, request, _told(error), record)
        except errors.PageNotFound:
            return self._send(writer, request, _page_not_found(), record)
        fault = self.faults.take(record)
        if fault:
            if fault.delay:
                await asyncio.sleep(fault.delay)
            if fault.hold is True:
                await fault.keep_waiting()
            if fault.hang or fault.drop == "before":
                self.faults.record(code=0, **record)
                if fault.hang:
                    await reader.read(1)  # until the client gives up
                writer.transport.abort()
                return False
            if fault.code:
                return self._send(writer, request, _ordered_trouble(fault), record, fault)
        answer = self._act(request, user, target, verb)
        if isinstance(answer, api.Forward):
            self.faults.record(code=101, **record)
            await forward.serve(reader, writer, request, answer.port, answer.real)
            return False
        if isinstance(answer, Watch):
            self.faults.record(code=200, **record)
            return await self._stream(reader, writer, request, answer)
        if fault and fault.drop:
            self.faults.record(code=answer.code, **record)
            if fault.drop == "half":
                http1.write_half(writer, answer)
                await writer.drain()
            writer.transport.abort()
            return False
        if fault and fault.hold == "after":
            await fault.keep_waiting()
        return self._send(writer, request, answer, record, fault)

    def _understand(self, request, record):
        user = self.authority.who(request)
        record["user"] = user.name
        target = api.target_of(request.path)
        if not target:
            return user, None, ""
        verb = api.verb_of(request, target)
        record.update(verb=verb, group=target.group, resource=target.plural, sub=target.sub,
                      namespace=target.namespace, name=target.name)
        return user, target, verb

    def _act(self, request, user, target, verb):
        try:
            if not target:
                return self.api.plain(request, user)
            return self.api.answer(request, user, target, verb)
        except errors.ApiError as error:
            return _told(error)
        except errors.PageNotFound:
            return _page_not_found()
        except Exception:  # a mistake of this server; said where a test shows it
            traceback.print_exc(file=sys.stderr)
            return _told(errors.internal("the stand-in server is at fault: see its output"))

    def _send(self, writer, request, response, record, fault=None):
        self.faults.record(code=response.code, **record)
        keep = request.keep and not (fault and fault.close)
        http1.write_response(writer, request, response, keep)
        return keep

    # --------------------------------------------------------------------------------- watches

    async def _stream(self, reader, writer, request, watch):
        http1.start_stream(writer, request.keep)
        left = asyncio.ensure_future(reader.read(1))
        try:
            await self._tell(writer, watch, left)
        finally:
            self.watches.remove(watch)
            watch.end()
            idle = not left.done()
            left.cancel()
            await asyncio.gather(left, return_exceptions=True)
        if watch.broken or not idle:
            writer.transport.abort()
            return False
        http1.end_stream(writer)
        return request.keep

    async def _tell(self, writer, watch, left):
        loop = asyncio.get_running_loop()
        until = loop.time() + watch.seconds
        bookmark = loop.time() + BOOKMARK_SECONDS
        while True:
            told = watch.take()
            if told:
                http1.write_chunk(writer, b"".join(told))
                await writer.drain()
            now = loop.time()
            if watch.ended and not watch.waiting or now >= until or left.done():
                return
            if now >= bookmark:
                watch.push_bookmark(self.api.store.version)
                bookmark = now + BOOKMARK_SECONDS
                continue
            some = asyncio.ensure_future(watch.some.wait())
            await asyncio.wait({some, left}, timeout=max(0, min(until, bookmark) - now),
                               return_when=asyncio.FIRST_COMPLETED)
            some.cancel()


def _told(error):
    return Response(error.code, error.status(), headers=error.headers)


def _page_not_found():
    return Response(404, b"404 page not found\n", "text/plain; charset=utf-8")


def _ordered_trouble(fault):
    if fault.code == 429:
        return _told(errors.too_many_requests(
            1 if fault.retry_after is None else fault.retry_after))
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    reason = fault.reason or {500: "InternalError", 503: "ServiceUnavailable", 403: "Forbidden",
                              401: "Unauthorized", 409: "Conflict", 410: "Expired",
                              504: "Timeout"}.get(fault.code, "")
    return _told(errors.ApiError(fault.code, reason, fault.message or "trouble was ordered",
                                 None, headers))

