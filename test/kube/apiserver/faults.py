# SPDX-License-Identifier: Apache-2.0
"""Trouble on request, and the record of what was asked.

A fault has a `match` (verb, group, resource, sub, namespace, name, user, path: what is not named
matches all) and does one thing to requests that match:

  code         answered with this status; `retry_after` seconds go into 429 and 503
  delay        answered that many seconds later
  hang         never answered
  hold         answered when trouble is taken back; true: nothing is done before; "after": it is done
  drop         "before": the connection ends unanswered and nothing was done; "after": it was done and
               nobody is told; "half": the answer breaks off in the middle
  close        answered with Connection: close

`skip` lets so many pass first, `count` is for how many it lasts (default: until taken back)."""

import asyncio
import collections
import time

LOG_MAX = 100000


_MATCHES = {"verb", "group", "resource", "sub", "namespace", "name", "user", "path"}
_THINGS = {"match", "code", "message", "reason", "retry_after", "delay", "hang", "hold", "drop", "close",
           "skip", "count"}


class Fault:
    def __init__(self, spec):
        unknown = (set(spec) - _THINGS) | (set(spec.get("match") or {}) - _MATCHES)
        if unknown:
            raise ValueError("no such trouble: " + ", ".join(sorted(unknown)))
        self.match = spec.get("match") or {}
        self.code = spec.get("code")
        self.message = spec.get("message")
        self.reason = spec.get("reason")
        self.retry_after = spec.get("retry_after")
        self.delay = spec.get("delay", 0)
        self.hang = spec.get("hang", False)
        self.hold = spec.get("hold", False)
        self.over = asyncio.Event()
        self.held = 0  # requests that wait for it
        self.drop = spec.get("drop", "")
        self.close = spec.get("close", False)
        self.skip = spec.get("skip", 0)
        self.count = spec.get("count")

    async def keep_waiting(self):
        self.held += 1
        await self.over.wait()

    def fits(self, record):
        return all(record.get(k) == v for k, v in self.match.items())


class Faults:
    def __init__(self):
        self.active = []
        self.log = collections.deque(maxlen=LOG_MAX)
        self.total = 0  # of the records there ever were

    def add(self, spec):
        self.active.append(Fault(spec))

    def clear(self):
        for fault in self.active:
            fault.over.set()
        self.active.clear()

    def take(self, record):
        """The fault for this request, if any; it is counted."""
        for fault in self.active:
            if not fault.fits(record):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if fault.count is not None:
                fault.count -= 1
                if fault.count <= 0:
                    self.active.remove(fault)
            return fault
        return None

    def record(self, **what):
        what["time"] = time.time()
        self.log.append(what)
        self.total += 1

    def since(self, mark):
        """The records from the mark on, as far as they are kept."""
        skipped = max(0, mark - (self.total - len(self.log)))
        return list(self.log)[skipped:]
