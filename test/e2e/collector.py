# SPDX-License-Identifier: Apache-2.0
"""A collector of telemetry: finds routers by their beacons and keeps what they tell."""

import time

from harness import TIMEOUT
from proton import Message

SITE, ROUTER, LINK, LISTENER, CONNECTOR, PROCESS_RECORD, LOG, ROUTER_ACCESS, TPORT, APP = (
    0, 1, 2, 4, 5, 7, 14, 15, 16, 17)
TYPE, IDENTITY, PARENT, START, END, PEER, PROCESS = 0, 1, 2, 3, 4, 6, 7
LOCATION, PLATFORM, NAMESPACE, MODE, SOURCE_HOST, HOST, PROTOCOL, SOURCE_PORT, PORT, ADDRESS = (
    9, 11, 12, 13, 14, 15, 16, 17, 18, 19)
OCTETS, LATENCY, METHOD, RESULT, REASON, NAME, TRACE, COST, COUNT_L4, COUNT_L7 = (
    23, 24, 27, 28, 29, 30, 31, 33, 40, 41)
STREAM, SEVERITY, TEXT, FILE, LINE, COUNT, STATUS, ROLE, DOWN_COUNT, OCTETS_REVERSE = (
    47, 48, 49, 50, 51, 52, 53, 54, 57, 58)
CONNECTOR_ID, PROCESS_LATENCY, PROXY_HOST, PROXY_PORT, ERROR_LISTENER, ERROR_CONNECTOR = (
    60, 61, 62, 63, 64, 65)
ORDINAL, HTTP_PROXY = 66, 67


def beacon_of(source, beacons):
    """The next one of that source."""
    while True:
        message = beacons.get().accept().message
        if message.properties["id"] == source:
            return message


def is_in_turn(beacon, last, records):
    """Five heartbeats go from one beacon in turn to the next. `records`: a receiver of the source's
    own address, which was there soon after the `last` beacon."""
    beats = 0
    while True:
        message = records.get().accept().message
        if message.id > beacon.id:
            return beats >= 4
        beats += message.id > last.id and message.subject == "HEARTBEAT"


ASKED_AGAIN_S = 5  # as existing collectors do at the latest


class Collector:
    """What is known of the source that is the router `name`, by what it has sent.

    `parts`: "" for records, ".flows", ".logs"."""

    def __init__(self, router, name, parts=("",)):
        self.connection = router.connect()
        self.beacons = self.connection.receiver("mc/sfe.all", credit=100)
        self.records, self.messages = {}, []
        while True:
            self.beacon = self.beacons.get().accept().message
            self.source = self.beacon.properties["id"]
            address = self.beacon.properties["address"]
            self.records.clear()
            self.receivers = [self.connection.receiver(address + part, credit=100)
                              for part in dict.fromkeys(("",) + tuple(parts))]
            if self._router()[NAME] == "0/" + name:
                return
            for receiver in self.receivers:
                receiver.close()

    def _router(self):
        """Asked twice, if need be: where the existing router is between, the first time may come
        before the source has heard that somebody listens. By then a heartbeat has shown the way."""
        self.flush()
        try:
            return self.wait(lambda r: r[TYPE] == ROUTER, ASKED_AGAIN_S)
        except (AssertionError, TimeoutError):
            self.flush()
            return self.wait(lambda r: r[TYPE] == ROUTER)

    def flush(self):
        direct = self.beacon.properties["direct"]
        self.connection.sender(direct, settled=True).post(Message(address=direct, subject="FLUSH"))

    def _next(self, timeout):
        self.connection.wait(lambda: any(r.got for r in self.receivers), "news", timeout)
        for receiver in self.receivers:
            if receiver.got:
                return receiver.get().accept().message
        raise AssertionError("nothing")

    def take(self, timeout=TIMEOUT):
        message = self._next(timeout)
        self.messages.append(message)
        for record in message.body if message.subject == "RECORD" else ():
            self.records.setdefault(record[IDENTITY], {}).update(record)
        return message

    def wait(self, claim, timeout=TIMEOUT):
        """The first record of which the claim is true, once there is one."""
        end = time.monotonic() + timeout
        while True:
            for record in self.records.values():
                if claim(record):
                    return record
            left = end - time.monotonic()
            assert left > 0, "not among %r" % self.records
            self.take(left)

    def all(self, kind):
        return [r for r in self.records.values() if r[TYPE] == kind]
