# SPDX-License-Identifier: Apache-2.0
"""The second door, for tests: trouble on request and the record of requests. Plain HTTP on a port of
this machine: POST /NAME with the arguments as a JSON object; the answer is JSON.

  fault {…}                     orders trouble (faults.py says what there is)
  held                          how many requests are held: {count}
  clear                         takes all trouble back
  log {since}                   the requests so far, as [{verb, group, resource, …, code,
                        connection: a number}], from the
                                `count` of an earlier answer on
  restart {forget}              cuts all connections and serves again; with `forget` every version
                                from before is too old (410)
  stop, start                   the same in two steps: in between connections are refused
  drop_watches {clean}          ends all watches, by cutting their connections or (clean) in good order
  forget_history                410 for every version so far
  watches                       those there are: [{group, resource, namespace}]
  bookmark                      sends bookmarks now to all watches that take them
  token {user, groups, seconds} a token for a user; revoke {token} ends it
  simulate {…}                  a cluster with machines: see simulate.py"""

import asyncio
import json

from . import http1
from .http1 import Response


class Control:
    def __init__(self, server, faults, simulation):
        self.server = server
        self.faults = faults
        self.simulation = simulation
        self.store = server.api.store
        self.port = 0

    async def start(self):
        listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        try:
            while True:
                request = await http1.read_request(reader, writer, {})
                if request is None:
                    break
                http1.write_response(writer, request, await self._act(request), True)
                await writer.drain()
        except (ConnectionError, http1.Malformed):
            pass
        writer.close()

    async def _act(self, request):
        act = getattr(self, "do_" + request.path.strip("/"), None)
        if not act:
            return Response(404, {"error": "no such thing to do: " + request.path})
        try:
            answer = act(**(json.loads(request.body) if request.body else {}))
            if asyncio.iscoroutine(answer):
                answer = await answer
        except (TypeError, ValueError) as error:
            return Response(400, {"error": str(error)})
        return Response(200, answer if answer is not None else {})

    def do_fault(self, **spec):
        self.faults.add(spec)

    def do_held(self):
        return {"count": sum(fault.held for fault in self.faults.active)}

    def do_clear(self):
        self.faults.clear()

    def do_log(self, since=0):
        return {"requests": self.faults.since(since), "count": self.faults.total}

    async def do_stop(self):
        await self.server.stop()

    async def do_start(self, forget=False):
        if forget:
            self.store.forget_history()
        await self.server.start()

    async def do_restart(self, forget=False):
        await self.do_stop()
        await self.do_start(forget)

    def do_drop_watches(self, clean=False):
        for watch in self.server.watches.all():
            watch.end(broken=not clean)

    def do_forget_history(self):
        self.store.forget_history()

    def do_bookmark(self):
        for watch in self.server.watches.all():
            watch.push_bookmark(self.store.version)

    def do_watches(self):
        return {"watches": [{"group": w.kind.group, "resource": w.kind.plural,
                             "namespace": w.namespace or ""} for w in self.server.watches.all()]}

    def do_token(self, user, groups=(), seconds=None):
        return {"token": self.server.authority.issue(user, groups, seconds)}

    def do_revoke(self, token):
        self.server.authority.tokens.pop(token, None)

    def do_simulate(self, **wanted):
        self.simulation.configure(**wanted)
