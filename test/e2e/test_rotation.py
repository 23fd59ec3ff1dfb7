# SPDX-License-Identifier: Apache-2.0
"""Certificates that are replaced while messages pass: sslProfile.ordinal and oldestValidOrdinal."""

import itertools
import ssl
import time

import pytest
from certificates import make_authority, make_certificate, profile
from harness import PEER, TIMEOUT, Management, exchange, free_port
from proton import Delivery, Message
from raw import Raw


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


def uplinks(management):
    return [(row["tlsOrdinal"], row["container"]) for row in management.query("connection")
            if row["role"] == "edge"]


@pytest.mark.parametrize("interior", [None, PEER], ids=["ours", "existing"])
@pytest.mark.parametrize("workers", [1, 3])
def test_an_edge_changes_to_a_newer_certificate_and_nothing_is_lost(routers, tmp_path, interior,
                                                                    workers):
    if interior == "":
        pytest.skip("PEER_SKROUTERD is not set")
    make_authority(tmp_path, "ca")
    for name in ("a", "b", "b2"):
        make_certificate(tmp_path, "ca", name)
    port = free_port()
    a = routers("A", program=interior, entities=[
        ["sslProfile", {"name": "p", **profile(tmp_path, "a", "ca")}],
        ["listener", {"name": "edges", "host": "127.0.0.1", "port": port, "role": "edge",
                      "sslProfile": "p", "saslMechanisms": "EXTERNAL", "authenticatePeer": True}]])
    e = routers("E", mode="edge", workerThreads=workers, workerFill=1, entities=[
        ["sslProfile", {"name": "q", "ordinal": 1, **profile(tmp_path, "b", "ca")}],
        ["connector", {"name": "c", "host": "127.0.0.1", "port": port, "role": "edge",
                       "sslProfile": "q"}]])
    got = {"up": [], "down": [], "mc/up": [], "mc/down": []}
    senders = {}
    for name, (at, to) in {"up": (e, a), "down": (a, e), "mc/up": (e, a), "mc/down": (a, e)}.items():
        to.receiver(name, credit=100, auto=lambda m, name=name: (got[name].append(m.body),
                                                                 m.accept()))
        senders[name] = at.sender(name).wait_credit()
    management, sent = Management(e), []
    for i in range(300):
        if i == 100:
            update(e, ordinal=2, certFile=str(tmp_path / "b2.crt"),
                   privateKeyFile=str(tmp_path / "b2.key"))
        sent += [s.post(Message(body=i)) for s in senders.values()]
        assert sent[-1].outcome() and sent[-2].outcome()
    end = time.monotonic() + TIMEOUT
    while uplinks(management) != [(2, "A")]:
        assert time.monotonic() < end, uplinks(management)
    # The existing router may hold a message for a link that goes, and says that it has not sent it.
    released = {(name, i // 4) for i, (name, s) in enumerate(zip(itertools.cycle(senders), sent))
                if s.outcome() == Delivery.RELEASED}
    assert not released or interior
    assert all(s.outcome() in (Delivery.ACCEPTED, Delivery.RELEASED) for s in sent)
    for name, bodies in got.items():
        wanted = [i for i in range(300) if (name, i) not in released]
        assert bodies == wanted, (name, set(wanted) - set(bodies), len(bodies) - len(set(bodies)))
    exchange(e, a, "after")
    exchange(a, e, "after")


def test_the_oldest_valid_ordinal_holds_for_the_connections_of_every_worker(routers, tmp_path):
    make_authority(tmp_path, "ca")
    make_certificate(tmp_path, "ca", "one")
    port = free_port()
    router = routers("R", workerThreads=3, workerFill=1, entities=[
        ["sslProfile", {"name": "q", "ordinal": 1, **profile(tmp_path, "one", "ca")}],
        ["listener", {"name": "tls", "host": "127.0.0.1", "port": port, "sslProfile": "q"}]])
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    context.check_hostname = False
    peers = []
    for _ in range(6):
        peer = Raw(port)
        peer.socket = context.wrap_socket(peer.socket)
        peers.append(peer.client())
    kept = router.receiver("x")
    update(router, ordinal=2, oldestValidOrdinal=2)
    for peer in peers:
        assert peer.ended()
    router.sender("x").post(Message(body=1))
    assert kept.take() == 1
