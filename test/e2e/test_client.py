# SPDX-License-Identifier: Apache-2.0
"""Routers asked from outside by src/client, over real sockets (test/ask)."""

import json
import os
import pathlib
import socket
import subprocess
import time

import pytest
from certificates import make_authority, make_certificate, profile
from harness import SKROUTERD, TIMEOUT, free_port, inter_router, link_to

ASK = os.environ.get("ASK", str(pathlib.Path(SKROUTERD).parent / "test" / "ask" / "ask"))


class Refused(Exception):
    pass


def ask(through, operation, port=None, **options):
    """The answer, or Refused with what the program said."""
    words = ["%s=%s" % (k, json.dumps(v) if k == "attributes" else v) for k, v in options.items()]
    done = subprocess.run([ASK, "127.0.0.1", str(port or through.port), operation, *words],
                          capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Refused(done.stdout.strip())
    return json.loads(done.stdout)


def ask_when_known(through, *args, **options):
    """Routers hear of each other when they have connected."""
    end = time.monotonic() + TIMEOUT
    while True:
        try:
            return ask(through, *args, **options)
        except Refused as refused:
            assert "cannot be reached from here" in str(refused) and time.monotonic() < end


@pytest.fixture(params=["ours", "existing"])
def program(request):
    """Which router is asked."""
    return None if request.param == "ours" else request.getfixturevalue("peer_program")


def test_every_router_of_a_network_is_asked_through_any(routers, program):
    interior, edge = free_port(), free_port()
    b = routers("B", program=program, entities=[
        inter_router(interior), ["listener", {"name": "edge", "host": "127.0.0.1", "port": edge,
                                              "role": "edge"}]])
    a = routers("A", program=program, entities=[link_to(interior)])
    e = routers("E", mode="edge", program=program, entities=[link_to(edge, role="edge")])
    for through in (a, b):
        for name in "AB":
            assert ask_when_known(through, "READ", type="router", name="router/" + name,
                                  router=name)["id"] == name
    assert ask_when_known(a, "QUERY", type="router", edge="E")[0]["id"] == "E"
    assert ask_when_known(e, "QUERY", type="router", router="A")[0]["id"] == "A"
    assert ask(e, "QUERY", type="router")[0]["id"] == "E"
    assert {n["id"]: n.get("cost") for n in ask(a, "QUERY", type="router.node")}["B"] == 1


def test_what_is_created_can_be_read_and_removed(routers, program):
    router = routers("A", program=program)
    made = ask(router, "CREATE", type="tcpConnector", name="db",
               attributes={"host": "127.0.0.1", "port": "1", "address": "db"})
    assert made["address"] == "db"
    assert ask(router, "READ", type="tcpConnector", name="db")["port"] == "1"
    assert ask(router, "QUERY", type="tcpConnector", attributes=["name", "address"]) == [
        {"name": "db", "address": "db"}]
    ask(router, "DELETE", type="tcpConnector", name="db")
    assert ask(router, "QUERY", type="tcpConnector") == []
    with pytest.raises(Refused):
        ask(router, "READ", type="tcpConnector", name="db")


def test_more_rows_than_a_page(routers, program):
    router = routers("A", program=program, entities=[
        ["address", {"prefix": "p%d" % i}] for i in range(1200)])
    rows = ask(router, "QUERY", type="router.config.address", attributes=["prefix"])
    assert len({r["prefix"] for r in rows}) == len(rows) == 1203


def test_failures_say_what_and_where(routers):
    router = routers("A")
    with pytest.raises(Refused, match="router 'X' cannot be reached from here"):
        ask(router, "QUERY", router="X")
    port = free_port()
    with pytest.raises(Refused, match="connect to 127.0.0.1:%d: Connection refused" % port):
        ask(None, "QUERY", port=port)
    router.freeze()
    with pytest.raises(Refused, match="no router answered within 300 ms"):
        ask(router, "QUERY", ms=300)
    router.thaw()


def test_certificates_are_shown_and_checked(routers, tmp_path):
    make_authority(tmp_path, "ca")
    make_authority(tmp_path, "other")
    for name in ("server", "client"):
        make_certificate(tmp_path, "ca", name)
    make_certificate(tmp_path, "other", "foreign")
    port = free_port()
    router = routers("A", entities=[
        ["sslProfile", {"name": "tls", **profile(tmp_path, "server", "ca")}],
        ["listener", {"name": "secure", "host": "127.0.0.1", "port": port, "sslProfile": "tls",
                      "saslMechanisms": "EXTERNAL", "authenticatePeer": True}]])
    files = lambda name, ca: {"ca": tmp_path / (ca + ".crt"), "cert": tmp_path / (name + ".crt"),
                              "key": tmp_path / (name + ".key")}
    rows = ask(router, "QUERY", port=port, type="connection", **files("client", "ca"))
    assert [r["sasl"] for r in rows if r["container"] == "ask"] == ["EXTERNAL"]
    with pytest.raises(Refused, match="certificate"):
        ask(router, "QUERY", port=port, **files("client", "other"))
    with pytest.raises(Refused):
        ask(router, "QUERY", port=port, **files("foreign", "ca"))


def listener(address, port):
    return ["tcpListener", {"name": "l", "host": "127.0.0.1", "port": str(port), "address": address}]


def connector(address, port):
    return ["tcpConnector", {"name": "c", "host": "127.0.0.1", "port": str(port), "address": address}]


def traced(through, wanted):
    """The trace to "db" once it is as wanted; routers hear of services by and by."""
    end = time.monotonic() + TIMEOUT
    while True:
        trace = ask(through, "TRACE", address="db")
        if wanted(trace) or time.monotonic() > end:
            return trace


@pytest.mark.parametrize("far", ["ours", "existing"])
def test_a_trace_follows_the_way_through_routers_of_both_makes(routers, request, far):
    program = request.getfixturevalue("peer_program") if far == "existing" else None
    middle, edge, servers = free_port(), free_port(), [socket.create_server(("127.0.0.1", 0)) for _ in "ab"]
    ports = [s.getsockname()[1] for s in servers]
    m = routers("M", program=program, entities=[
        inter_router(middle), ["listener", {"name": "edge", "host": "127.0.0.1", "port": edge,
                                            "role": "edge"}]])
    w = routers("W", entities=[link_to(middle, cost=2), listener("db", free_port())])
    routers("E", entities=[link_to(middle, cost=5), connector("db", ports[0])])
    k = routers("K", mode="edge", program=program,
                entities=[link_to(edge, role="edge"), listener("db", free_port())])
    trace = traced(w, lambda t: "server" in t and not t["silent"])
    assert [(h["router"], h.get("cost")) for h in trace["path"]] == [("W", None), ("M", 2), ("E", 7)]
    assert all(0 < h["ms"] < 5000 for h in trace["path"])
    assert trace["path"][1]["link"]["peer"] == "127.0.0.1:%d" % middle
    assert (trace["server"]["router"], trace["server"]["port"]) == ("E", str(ports[0]))
    assert trace["listeners"][0]["name"] == "l" and trace["others"] == trace["silent"] == []
    assert trace["treatment"] == "balanced" and "why" not in trace
    from_edge = traced(k, lambda t: "server" in t)
    assert [h["router"] for h in from_edge["path"]] == ["K", "M", "E"]
    # A server at the edge is nearer.
    made = ask(k, "CREATE", type="tcpConnector", name="near",
               attributes={"host": "127.0.0.1", "port": str(ports[1]), "address": "db"})
    assert made["address"] == "db"
    trace = traced(w, lambda t: len(t["path"]) == 3 and t["path"][2]["router"] == "K")
    assert [h["router"] for h in trace["path"]] == ["W", "M", "K"]
    assert trace["server"]["router"] == "K"
    assert [(o["router"], o["why"][:7]) for o in trace["others"]] == [("E", "farther")]
    for s in servers:
        s.close()


def test_a_trace_says_why_there_is_no_way(routers):
    port, local = free_port(), free_port()
    w = routers("W", entities=[inter_router(port), listener("db", local)])
    e = routers("E", entities=[link_to(port), connector("db", free_port())])
    assert "server" in traced(w, lambda t: "server" in t)  # nobody has tried it yet
    with socket.create_connection(("127.0.0.1", local)) as client:
        assert client.recv(1) == b""
    trace = traced(w, lambda t: t["others"] and "refused" in t["others"][0]["why"])
    assert trace["path"] == [] and "none of which can be reached" in trace["why"]
    assert trace["others"][0]["router"] == "E"
    e.kill()
    trace = traced(w, lambda t: not t["others"])
    assert "has a server for it" in trace["why"]
