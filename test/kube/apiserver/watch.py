# SPDX-License-Identifier: Apache-2.0
"""Watches: what changed, told to who asked, in order, each change once.

The bytes of a change are made once for all watches without a selector. A change by which an object
enters or leaves the selection of a watch is told as ADDED or DELETED there."""

import asyncio

from .store import encode

WAITING_MAX = 50000  # events; who lets more wait is let go, as by the real server


class Watch:
    def __init__(self, kind, namespace, matches, start, bookmarks, render=None):
        self.kind = kind
        self.namespace = namespace
        self.matches = matches
        self.start = start          # changes up to here are known
        self.bookmarks = bookmarks
        self.render = render        # of the object of an event, for tables
        self.seconds = 0            # how long it lasts; 0: what waits is told, and no more
        self.waiting = []
        self.some = asyncio.Event()
        self.ended = False
        self.broken = False         # ended without saying so

    def end(self, broken=False):
        self.ended = True
        self.broken = broken
        self.some.set()

    def _told(self, entry):
        return bool(entry) and (self.namespace is None or entry.namespace == self.namespace) and \
            (not self.matches or self.matches(entry.obj))

    def event(self, what, entry):
        raw = entry.raw if not self.render else encode(self.render(entry))
        return b'{"type":"%s","object":%s}\n' % (what, raw)

    def begin_with(self, entry):
        """One of the objects that are there as the watch begins."""
        if self._told(entry):
            self._push(self.event(b"ADDED", entry))

    def offer(self, change):
        if change.version <= self.start or self.ended:
            return
        before, after = self._told(change.old), self._told(change.new)
        if after:
            self._push(self.event(b"MODIFIED" if before else b"ADDED", change.new))
        elif before:
            # Left the selection, or is gone: its last state here, at the version of the change.
            gone = change.gone or change.left()
            self._push(self.event(b"DELETED", gone))

    def _push(self, data):
        self.waiting.append(data)
        self.some.set()
        if len(self.waiting) > WAITING_MAX:
            self.end(broken=True)

    def push_bookmark(self, version, initial_end=False):
        if not self.bookmarks and not initial_end:
            return
        meta = {"resourceVersion": str(version), "creationTimestamp": None}
        if initial_end:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        self._push(encode({"type": "BOOKMARK", "object": {
            "kind": self.kind.kind, "apiVersion": self.kind.api_version,
            "metadata": meta}}) + b"\n")

    def push_error(self, error):
        self._push(encode({"type": "ERROR", "object": error.status()}) + b"\n")
        self.ended = True

    def take(self):
        taken, self.waiting = self.waiting, []
        self.some.clear()
        if self.ended:
            self.some.set()
        return taken


class Watches:
    def __init__(self, store):
        self.store = store
        self._of = {}  # resource -> set of Watch
        store.listeners.append(self._changed)

    def add(self, watch):
        self._of.setdefault(watch.kind.key, set()).add(watch)

    def remove(self, watch):
        self._of.get(watch.kind.key, set()).discard(watch)

    def _changed(self, change):
        for watch in self._of.get(change.resource, ()):
            watch.offer(change)

    def all(self):
        return [w for of in self._of.values() for w in of]
