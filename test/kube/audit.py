# SPDX-License-Identifier: Apache-2.0
"""The record of requests of a real cluster: the audit log of its API server (level Metadata, JSON
lines), in the form in which the stand-in tells its own."""

import datetime
import json
import os
import time
import uuid

METHODS = {"get": "GET", "list": "GET", "watch": "GET", "create": "POST", "update": "PUT",
           "patch": "PATCH"}
SECONDS = 30


class Record:
    def __init__(self, path):
        self.path = path

    def mark(self, admin):
        """A place in it, behind all that has been answered."""
        self._catch_up(admin)
        return os.path.getsize(self.path)

    def since(self, admin, mark):
        self._catch_up(admin)
        return [told for told in map(_told, self._lines(mark)) if told]

    def _lines(self, mark):
        with open(self.path, encoding="utf-8") as file:
            file.seek(mark)
            return [json.loads(line) for line in file if line.endswith("\n")]

    def _catch_up(self, admin):
        """A request is written down a moment after it is answered. So are those of this thread, one
        after another."""
        mark, sign = os.path.getsize(self.path), uuid.uuid4().hex
        end = time.monotonic() + SECONDS
        for _ in range(2):
            admin.request("GET", "/version?" + sign)
        while sum(sign in line["requestURI"] for line in self._lines(mark)) < 2:
            assert time.monotonic() < end, "%s does not grow: is it this cluster's?" % self.path


def _told(line):
    """None for what is told twice: a watch when it begins counts, all else when it has ended."""
    verb, of = line["verb"], line.get("objectRef") or {}
    if line["stage"] != ("ResponseStarted" if verb == "watch" else "ResponseComplete"):
        return None
    return {"verb": verb, "method": METHODS.get(verb, "DELETE"), "path": line["requestURI"],
            "group": of.get("apiGroup", ""), "resource": of.get("resource", ""),
            "sub": of.get("subresource", ""), "namespace": of.get("namespace", ""),
            "name": of.get("name", ""), "user": line["user"]["username"],
            "agent": line.get("userAgent", ""), "code": line["responseStatus"]["code"],
            "time": datetime.datetime.fromisoformat(line["requestReceivedTimestamp"]).timestamp()}
