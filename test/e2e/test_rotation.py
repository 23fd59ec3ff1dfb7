# SPDX-License-Identifier: Apache-2.0
"""Certificates that are replaced while messages pass: sslProfile.ordinal and oldestValidOrdinal."""

import time

import pytest
from certificates import make_authority, make_certificate, profile
from harness import TIMEOUT, Management, exchange, free_port
from proton import Delivery, Message


@pytest.fixture
def pair(routers, tmp_path):
    make_authority(tmp_path, "ca")
    for name in ("a", "b", "b2"):
        make_certificate(tmp_path, "ca", name)
    port = free_port()
    a = routers("A", entities=[
        ["sslProfile", {"name": "p", **profile(tmp_path, "a", "ca")}],
        ["listener", {"name": "ir", "host": "127.0.0.1", "port": port, "role": "inter-router",
                      "sslProfile": "p", "saslMechanisms": "EXTERNAL", "authenticatePeer": True}]])
    b = routers("B", dataConnectionCount=2, entities=[
        ["sslProfile", {"name": "q", "ordinal": 1, **profile(tmp_path, "b", "ca")}],
        ["connector", {"name": "c", "host": "127.0.0.1", "port": port, "role": "inter-router",
                       "sslProfile": "q"}]])
    a.wait_reaches(b)
    b.wait_reaches(a)
    return a, b, tmp_path


def ordinals(management):
    return sorted(row["groupOrdinal"] for row in management.query("connection")
                  if "inter-router" in row["role"])


def wait_ordinals(router, wanted):
    management, end = Management(router), time.monotonic() + TIMEOUT
    while ordinals(management) != wanted:
        assert time.monotonic() < end, (ordinals(management), wanted)
    management.close()


def update(router, **attributes):
    management = Management(router)
    reply = management.request("UPDATE", "io.skupper.router.sslProfile", attributes, name="q")
    assert reply.properties["statusCode"] == 200, reply.properties
    management.close()


def test_a_newer_certificate_takes_over_and_nothing_is_lost(pair):
    a, b, folder = pair
    wait_ordinals(b, [1, 1, 1])
    got = []
    a.receiver("x", credit=100, auto=lambda m: (got.append(m.body), m.accept()))
    sender = b.sender("x")
    sent = []
    for i in range(300):
        if i == 100:
            update(b, ordinal=2, certFile=str(folder / "b2.crt"),
                   privateKeyFile=str(folder / "b2.key"))
        sent.append(sender.send(Message(body=i)))
    wait_ordinals(b, [2, 2, 2])
    wait_ordinals(a, [2, 2, 2])
    assert sent == [Delivery.ACCEPTED] * 300
    assert sorted(got) == list(range(300))
    assert a.log.find("router B is not reachable") is None
    assert b.log.find("router A is not reachable") is None
    exchange(a, b, "after")


def test_a_connection_below_the_oldest_valid_ordinal_is_closed_at_once(pair):
    a, b, _ = pair
    wait_ordinals(b, [1, 1, 1])
    at = len(b.log.lines)
    update(b, oldestValidOrdinal=2)
    b.log.wait("below oldestValidOrdinal", start=at)
