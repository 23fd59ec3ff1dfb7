# SPDX-License-Identifier: Apache-2.0
"""Telemetry: a collector of an independent AMQP library finds routers and hears their records."""

import socket
import time

import pytest
from certificates import make_authority, make_certificate, profile
from collector import (ADDRESS, CONNECTOR, COST, COUNT, COUNT_L4, DOWN_COUNT, END, FILE, HOST,
                       HTTP_PROXY, IDENTITY, LINE, LINK, LISTENER, LOCATION, LOG, MODE, NAME,
                       NAMESPACE, OCTETS, OCTETS_REVERSE, ORDINAL, PARENT, PEER, PLATFORM, PORT,
                       PROCESS, PROTOCOL, REASON, ROLE, ROUTER, ROUTER_ACCESS, SEVERITY, SITE,
                       START, STATUS, TEXT, TYPE, Collector, beacon_of, is_in_turn)
from harness import Management, free_port, inter_router, link_to


def test_a_beacon_and_heartbeats_tell_of_a_router(routers):
    router = routers("A")
    c = Collector(router, "A")
    assert c.beacon.subject == "BEACON"
    assert c.beacon.properties == {"v": 1, "sourceType": "ROUTER", "id": c.source,
                                   "address": "mc/sfe." + c.source, "direct": "sfe." + c.source}
    while c.take().subject != "HEARTBEAT":
        pass
    beat = c.messages[-1].properties
    assert beat["id"] == c.source and beat["v"] == 1
    assert abs(beat["now"] / 1e6 - time.time()) < 60
    second = c.beacons.get().accept().message
    assert second.properties == c.beacon.properties


@pytest.mark.parametrize("role", ["inter-router", "edge"])
def test_who_joins_hears_a_beacon_of_the_others_and_they_hear_one_out_of_turn(routers, role):
    port = free_port()
    mode = "edge" if role == "edge" else "interior"
    a = routers("A", entities=[["listener", {"name": "in", "host": "127.0.0.1", "port": port,
                                             "role": role}]])
    b = routers("B", mode=mode)
    of_a, of_b = Collector(a, "A"), Collector(b, "B")
    _, connector = link_to(port, role=role)
    management = Management(b)
    management.request("CREATE", "io.skupper.router.connector", connector, name=connector["name"])
    management.close()
    for here, there in (of_a, of_b), (of_b, of_a):
        beacon = beacon_of(there.source, here.beacons)
        assert not is_in_turn(beacon, there.beacon, there.receivers[0])


def test_who_joins_as_an_edge_hears_beacons_out_of_turn_of_those_beyond_its_interior(routers):
    """Its interior router has listeners of its own, so that to the others nothing changes."""
    interior, port = free_port(), free_port()
    a = routers("A", entities=[inter_router(interior), ["listener", {
        "name": "edges", "host": "127.0.0.1", "port": port, "role": "edge"}]])
    b = routers("B", entities=[link_to(interior)])
    e = routers("E", mode="edge")
    beacons = e.connect().receiver("mc/sfe.all", credit=100)
    b.wait_reaches(a)
    of_a, of_b = Collector(a, "A"), Collector(b, "B")
    beacon_of(of_b.source, of_a.beacons)
    beacon_of(of_a.source, of_b.beacons)
    last = beacon_of(of_b.source, of_b.beacons)
    _, connector = link_to(port, role="edge")
    management = Management(e)
    management.request("CREATE", "io.skupper.router.connector", connector, name=connector["name"])
    management.close()
    assert not is_in_turn(beacon_of(of_b.source, beacons), last, of_b.receivers[0])


def test_a_flush_brings_the_whole_tree(routers):
    port = free_port()
    router = routers("A", entities=[
        inter_router(port),
        ["site", {"name": "west", "location": "shed", "platform": "linux", "namespace": "ns"}]])
    c = Collector(router, "A")
    me = c.wait(lambda r: r[TYPE] == ROUTER)
    assert me[IDENTITY] == c.source and me[MODE] == "interior"
    site = c.wait(lambda r: r[TYPE] == SITE)
    assert (site[NAME], site[LOCATION], site[PLATFORM], site[NAMESPACE]) == ("west", "shed", "linux", "ns")
    assert me[PARENT] == site[IDENTITY]
    access = c.wait(lambda r: r[TYPE] == ROUTER_ACCESS)
    assert (access[NAME], access[ROLE], access[COUNT]) == ("ir-%d" % port, "inter-router", 0)
    assert access[PARENT] == me[IDENTITY]
    assert abs(access[START] / 1e6 - time.time()) < 60


def test_a_link_is_told_with_both_ends_up_and_down(routers):
    port = free_port()
    a = routers("A", entities=[inter_router(port)])
    b = routers("B", entities=[link_to(port, cost=7)])
    b.wait_reaches(a)
    of_a, of_b = Collector(a, "A"), Collector(b, "B")
    access = of_a.wait(lambda r: r[TYPE] == ROUTER_ACCESS and r[COUNT] == 1)
    link = of_b.wait(lambda r: r[TYPE] == LINK and r.get(STATUS) == "up")
    assert link[PEER] == access[IDENTITY]
    assert (link[NAME], link[ROLE], link[COST]) == ("to-%d" % port, "inter-router", 7)
    assert (link[PROTOCOL], link[HOST], link[PORT]) == ("amqp", "127.0.0.1", str(port))
    assert link[HTTP_PROXY] == "no" and ORDINAL not in link
    of_b.wait(lambda r: r[TYPE] == LINK and r[OCTETS] > 0 and r[OCTETS_REVERSE] > 0)
    a.kill()
    down = of_b.wait(lambda r: r[TYPE] == LINK and r[STATUS] == "down" and r[DOWN_COUNT] == 1)
    assert down[REASON]


def test_the_ordinal_of_a_certificate_is_told_and_a_newer_one_too(routers, tmp_path):
    make_authority(tmp_path, "ca")
    make_certificate(tmp_path, "ca", "router")
    port = free_port()
    tls = ["sslProfile", {"name": "tls", "ordinal": 1, **profile(tmp_path, "router", "ca")}]
    secured = inter_router(port)
    secured[1].update(sslProfile="tls", saslMechanisms="EXTERNAL")
    linked = link_to(port)
    linked[1].update(sslProfile="tls")
    a, b = routers("A", entities=[tls, secured]), routers("B", entities=[tls, linked])
    b.wait_reaches(a)
    of_a, of_b = Collector(a, "A"), Collector(b, "B")
    of_a.wait(lambda r: r[TYPE] == ROUTER_ACCESS and r.get(ORDINAL) == 1)
    link = of_b.wait(lambda r: r[TYPE] == LINK and r.get(ORDINAL) == 1)
    assert link[PROTOCOL] == "amqps"
    for router, collector, kind in (a, of_a, ROUTER_ACCESS), (b, of_b, LINK):
        management = Management(router)
        reply = management.request("UPDATE", "io.skupper.router.sslProfile", {"ordinal": 2},
                                   name="tls")
        assert reply.properties["statusCode"] == 200
        management.close()
        collector.wait(lambda r, kind=kind: r[TYPE] == kind and r[ORDINAL] == 2)


def test_what_is_deleted_ends(routers):
    port = free_port()
    router = routers("A", entities=[inter_router(port)])
    c = Collector(router, "A")
    access = c.wait(lambda r: r[TYPE] == ROUTER_ACCESS)
    assert END not in access
    management = Management(router)
    management.request("DELETE", "io.skupper.router.listener", name="ir-%d" % port)
    c.wait(lambda r: r[TYPE] == ROUTER_ACCESS and r.get(END, 0) >= r[START])
    management.close()
    c.records.clear()
    c.flush()
    c.wait(lambda r: r[TYPE] == ROUTER)
    assert not c.all(ROUTER_ACCESS)


def test_a_collector_hears_routers_across_the_network(routers):
    ports = free_port(), free_port()
    edge_listener = ["listener", {"name": "ed", "host": "127.0.0.1", "port": ports[1],
                                  "role": "edge"}]
    a = routers("A", entities=[inter_router(ports[0])])
    b = routers("B", entities=[link_to(ports[0]), edge_listener])
    routers("E", mode="edge", entities=[link_to(ports[1], role="edge")])
    b.wait_reaches(a)
    for name, mode in (("B", "interior"), ("E", "edge")):
        assert Collector(a, name).wait(lambda r: r[TYPE] == ROUTER)[MODE] == mode


def test_an_edge_router_is_heard_at_itself_and_beyond(routers):
    port = free_port()
    a = routers("A", entities=[["listener", {"name": "ed", "host": "127.0.0.1", "port": port,
                                             "role": "edge"}]])
    e = routers("E", mode="edge", entities=[link_to(port, role="edge")])
    here = Collector(e, "E")
    assert here.wait(lambda r: r[TYPE] == LINK and r.get(STATUS) == "up")[ROLE] == "edge"
    there = Collector(a, "E")
    assert there.wait(lambda r: r[TYPE] == ROUTER)[MODE] == "edge"
    here.records.clear()
    here.flush()
    here.wait(lambda r: r[TYPE] == LINK)


def test_warnings_of_the_log_are_told(routers):
    router = routers("A", entities=[link_to(free_port())])  # nobody is there
    c = Collector(router, "A", parts=[".logs"])
    record = c.wait(lambda r: r[TYPE] == LOG and "tries again" in r[TEXT])
    assert record[TEXT].startswith("LOG_CONN_MGR: connector to-")
    assert record[SEVERITY] == 2 and record[END] == record[START]
    assert record[FILE] == "src/node/peer.c" and record[LINE] > 0
    assert record[PARENT] == c.source


def test_services_are_told_with_their_connections(routers):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, target = free_port(), server.getsockname()[1]
        router = routers("A", entities=[
            ["tcpConnector", {"name": "out", "host": "127.0.0.1", "port": target,
                              "address": "echo", "processId": "pod-7"}],
            ["tcpListener", {"name": "in", "host": "127.0.0.1", "port": port,
                             "address": "echo"}]])
        c = Collector(router, "A")
        out = c.wait(lambda r: r[TYPE] == CONNECTOR)
        assert (out[NAME], out[ADDRESS], out[PORT], out[PROCESS]) == (
            "out", "echo", str(target), "pod-7")
        router.log.wait("listening name=in")
        socket.create_connection(("127.0.0.1", port)).close()
        listener = c.wait(lambda r: r[TYPE] == LISTENER and r[COUNT_L4] == 1)
        assert (listener[NAME], listener[HOST], listener[PORT], listener[PROTOCOL]) == (
            "in", "127.0.0.1", str(port), "tcp")
        assert listener[PARENT] == c.source


def test_a_pod_names_its_source_and_its_site(routers, monkeypatch):
    monkeypatch.setenv("HOSTNAME", "skupper-router-5d-x2v4q")
    monkeypatch.setenv("SKUPPER_SITE_ID", "5e07-1")
    c = Collector(routers("A"), "A")
    assert c.source == "x2v4q:0"
    assert c.wait(lambda r: r[TYPE] == ROUTER)[PARENT] == "5e07-1"
