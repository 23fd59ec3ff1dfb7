# SPDX-License-Identifier: Apache-2.0
"""The status of a network as the collector in src/flow makes it (test/ask/watch)."""

import json
import os
import pathlib
import subprocess
import time

import pytest
from harness import SKROUTERD, TIMEOUT, Lines, free_port, inter_router, link_to

WATCH = os.environ.get("WATCH", str(pathlib.Path(SKROUTERD).parent / "test" / "ask" / "watch"))


class Watch:
    def __init__(self, router):
        self.process = subprocess.Popen([WATCH, "127.0.0.1", str(router.port)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines = Lines(self.process.stdout)

    def wait(self, wanted):
        """The first status, of those there are and will be, that is as wanted."""
        at, end = 0, time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            at = self.lines.wait("{", start=at) + 1
            status = json.loads(self.lines.lines[at - 1])
            if wanted(status):
                return status
        raise AssertionError("never as wanted: %s" % status)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(TIMEOUT) == 0


@pytest.fixture
def watch():
    made = []
    yield lambda router: made.append(Watch(router)) or made[-1]
    for w in made:
        w.close()


def listener(name, port):
    return ["tcpListener", {"name": name, "host": "127.0.0.1", "port": str(port), "address": name}]


def connector(name, port):
    return ["tcpConnector", {"name": name, "host": "127.0.0.1", "port": str(port), "address": name}]


def site(name):
    return ["site", {"name": name, "namespace": "ns-" + name, "platform": "linux", "version": "2"}]


def router_of(status, name):
    sites = [s for s in status["siteStatus"] if s["site"].get("name") == name]
    return sites[0]["routerStatus"][0] if sites and sites[0]["routerStatus"] else None


@pytest.mark.parametrize("far", ["ours", "existing"])
def test_the_status_tells_of_all_sites_and_what_they_offer(routers, watch, monkeypatch, request, far):
    program = request.getfixturevalue("peer_program") if far == "existing" else None
    port = free_port()
    monkeypatch.setenv("SKUPPER_SITE_ID", "id-west")
    west = routers("W", entities=[inter_router(port), site("west"), listener("db", free_port())])
    monkeypatch.setenv("SKUPPER_SITE_ID", "id-east")
    routers("E", program=program, entities=[link_to(port), site("east"), connector("db", 5432)])
    w = watch(west)

    def complete(s):
        e = router_of(s, "east")
        return router_of(s, "west") and e and e["links"] and e["links"][0].get("status") == "up" \
            and e["links"][0].get("peer") and e["connectors"] and s["addresses"]

    status = w.wait(complete)
    assert [s["site"]["identity"] for s in status["siteStatus"]] == ["id-east", "id-west"]
    assert status["siteStatus"][0]["site"] == {
        "identity": "id-east", "name": "east", "namespace": "ns-east", "platform": "linux",
        "siteVersion": "2"}
    east, here = router_of(status, "east"), router_of(status, "west")
    assert (east["router"]["name"], east["router"]["mode"]) == ("0/E", "interior")
    assert east["links"][0]["peer"] in [a["identity"] for a in here["routerAccess"]]
    assert east["connectors"] == [{"destHost": "127.0.0.1", "destPort": "5432", "address": "db"}]
    assert here["listeners"][0]["address"] == "db"
    assert status["addresses"] == [{"name": "db", "startTime": 0, "endTime": 0, "protocol": "tcp",
                                    "listenerCount": 1, "connectorCount": 1}]


def test_a_router_that_restarts_is_there_once(routers, watch, monkeypatch):
    port = free_port()
    monkeypatch.setenv("SKUPPER_SITE_ID", "id-west")
    west = routers("W", entities=[inter_router(port), site("west")])
    w = watch(west)
    monkeypatch.setenv("SKUPPER_SITE_ID", "id-east")
    east = routers("E", entities=[link_to(port), site("east"), connector("old", 1)])
    w.wait(lambda s: [a["name"] for a in s["addresses"]] == ["old"])
    east.kill()
    east.config = east.config[:-1] + [connector("new", 1)]
    east.start()
    status = w.wait(lambda s: [a["name"] for a in s["addresses"]] == ["new"])
    assert len(status["siteStatus"]) == 2
    assert len(status["siteStatus"][0]["routerStatus"]) == 1
