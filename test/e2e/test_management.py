# SPDX-License-Identifier: Apache-2.0
"""Management over AMQP: what can be read, made, changed and taken away while a router runs."""

import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
from client import Gone, connect
from certificates import make_authority, make_certificate, profile
from harness import (TIMEOUT, Management, free_port, inter_router, line, link_to,
                     wait_address)
from proton import Delivery, Message, ulong

ORDER = {
    "router.address": "name identity type key distribution inProcess subscriberCount remoteCount "
    "remoteHostRouters deliveriesIngress deliveriesEgress deliveriesTransit deliveriesToContainer "
    "deliveriesFromContainer deliveriesEgressRouteContainer deliveriesIngressRouteContainer "
    "deliveriesEgressInterNetwork deliveriesIngressInterNetwork transitOutstanding "
    "trackedDeliveries priority deliveriesRedirectedToFallback watch",
    "router.link": "name identity type linkName linkType linkDir owningAddr capacity "
    "undeliveredCount unsettledCount deliveryCount connectionId operStatus presettledCount "
    "droppedPresettledCount acceptedCount rejectedCount releasedCount modifiedCount "
    "deliveriesDelayed1Sec deliveriesDelayed10Sec deliveriesStuck openMovedStreams "
    "ingressHistogram priority settleRate creditAvailable zeroCreditSeconds",
    "connection": "name identity host localSocket role protocol dir container sasl "
    "isAuthenticated user isEncrypted sslProto sslCipher properties sslSsf type ssl opened active "
    "adminStatus operStatus uptimeSeconds lastDlvSeconds enableProtocolTrace meshId tlsOrdinal "
    "groupCorrelationId groupOrdinal",
    "router.config.address": "name identity type prefix distribution pattern priority",
    "router.config.autoLink": "name identity type address direction connection containerId "
    "externalAddress linkRef operStatus lastError",
}


@pytest.fixture
def router(routers):
    return routers("R", entities=[["site", {"name": "here", "platform": "linux"}]])


@pytest.fixture
def management(router):
    return Management(router)


def status(reply):
    return reply.properties["statusCode"]


def words(reply):
    return reply.properties["statusDescription"]


def check(reply, code, *said):
    assert status(reply) == code, reply.properties
    for text in said:
        assert text in words(reply), reply.properties
    return reply.body


def wait_for(management, type_, is_it, **where):
    """Asks again after each answer until the entity is as wanted."""
    end = time.monotonic() + TIMEOUT
    while True:
        found = [r for r in management.query(type_)
                 if all(r.get(k) == v for k, v in where.items())]
        if any(is_it(r) for r in found):
            return next(r for r in found if is_it(r))
        assert time.monotonic() < end, (type_, where, found)


# ------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize("type_", ORDER)
def test_all_attributes_come_in_the_order_that_tools_rely_on(management, type_):
    reply = management.request("QUERY", "org.amqp.management",
                               entityType="io.skupper.router." + type_)
    assert check(reply, 200)["attributeNames"] == ORDER[type_].split()


def test_every_type_can_be_asked_for(management):
    types = check(management.request("GET-TYPES", "org.amqp.management"), 200)
    assert len(types) >= 25
    for name in types:
        reply = management.request("QUERY", "org.amqp.management", entityType=name)
        body = check(reply, 200)
        assert body["attributeNames"] == check(management.request(
            "GET-ATTRIBUTES", "org.amqp.management", entityType=name), 200)[name]
        for row in body["results"]:
            assert len(row) <= len(body["attributeNames"])


def test_the_router_tells_what_it_is(router, management):
    body = check(management.request("READ", "io.skupper.router.router", name="router/R"), 200)
    assert body["id"] == "R"
    assert body["mode"] == "interior"
    assert body["identity"] == "router/R"
    assert body["type"] == "io.skupper.router.router"
    assert body["hostName"] == socket.gethostname()
    assert body["helloMaxAgeSeconds"] == 3
    assert body["workerThreads"] >= 1
    assert body["version"]
    assert check(management.request("READ", "site", name="here"), 200)["platform"] == "linux"


def test_totals_count(router, management):
    receiver = router.receiver("counted")
    sender = router.sender("counted")
    sent = sender.post_all([Message(body=i) for i in range(3)])
    assert receiver.take_all(3) == [0, 1, 2]
    # An outcome is counted by the worker of the sender, before it is told to that.
    assert [x.outcome() for x in sent] == [Delivery.ACCEPTED] * 3
    [row] = management.query("routerMetrics")
    assert row["identity"] == "routerMetrics"
    assert row["acceptedDeliveries"] >= 3
    assert row["connectionCount"] >= 3
    assert row["residentMemoryUsage"] > 1000000
    assert row["connectionCounters"]["amqp"] == row["connectionCount"]
    [address] = [a for a in management.query("router.address") if a["key"] == "Mcounted"]
    assert address["deliveriesIngress"] == 3
    assert address["deliveriesEgress"] == 3
    assert address["subscriberCount"] == 1
    assert address["distribution"] == "balanced"
    assert address["remoteHostRouters"] == []
    links = [x for x in management.query("router.link") if x["owningAddr"] == "Mcounted"]
    assert {x["linkDir"]: x["acceptedCount"] for x in links} == {"in": 3, "out": 3}
    assert {x["linkType"] for x in links} == {"endpoint"}


@pytest.mark.parametrize("workers", [1, 3])
def test_links_tell_how_fast_they_are_and_where_messages_come_from(routers, workers):
    a, b = line(routers, "AB", workerThreads=workers, workerFill=1)
    consumer = b.receiver("closest/x", credit=20, refill=False)
    far, near = a.sender("closest/x"), b.sender("closest/x")
    began = time.monotonic()
    for sent in far.wait_credit().post_all([Message(body=0)] * 15):
        consumer.take()
        assert sent.outcome() == Delivery.ACCEPTED
    for n in range(5):
        near.post(Message(body=1), settled=n % 2 == 0)
        consumer.take()
    consumer.connection.barrier()
    management = Management(b)
    index = {n["id"]: n["index"] for n in management.query("router.node", ["id", "index"])}
    links = [x for x in management.query("router.link") if x["owningAddr"] == "Mclosest/x"]
    took = time.monotonic() - began
    [out] = [x for x in links if x["linkDir"] == "out"]
    assert out["ingressHistogram"][index["A"]] == 15
    assert out["ingressHistogram"][index["B"]] == 5
    assert sum(out["ingressHistogram"]) == 20
    assert [x["ingressHistogram"] for x in links if x["linkDir"] == "in"] == [None]
    assert 0 < out["settleRate"] <= 4 or took > 4  # it is that of the last five seconds
    assert out["creditAvailable"] == 0
    assert out["deliveriesDelayed1Sec"] == 0 or took > 1
    assert (out["deliveriesStuck"], out["openMovedStreams"]) == (0, 0)


def test_deliveries_that_wait_are_counted_and_told(routers):
    http = free_port()
    router = routers("R", mode="standalone", entities=[
        ["listener", {"name": "http", "host": "127.0.0.1", "port": http, "http": True}]])
    management = Management(router)

    def until(name, value):
        """Asked again after each answer: a router tells nobody of the time."""
        end = time.monotonic() + TIMEOUT
        while management.query("routerMetrics")[0][name] != value:
            assert time.monotonic() < end, name
            threading.Event().wait(0.2)

    consumer = router.receiver("balanced", credit=2, refill=False)
    sent = router.sender("balanced").post_all([Message(body=n) for n in range(3)])
    held = consumer.get()
    until("deliveriesStuck", 3)
    links = {x["linkDir"]: x for x in management.query("router.link")
             if x["owningAddr"] == "Mbalanced"}
    assert (links["in"]["deliveriesStuck"], links["out"]["deliveriesStuck"]) == (3, 2)
    assert links["out"]["zeroCreditSeconds"] >= 10 and links["in"]["zeroCreditSeconds"] == 0
    assert "qdr_deliveries_stuck_total 3" in get(http, "/metrics")[1]
    assert "qdr_links_blocked_total 1" in get(http, "/metrics")[1]
    held.accept()
    consumer.get().accept()
    consumer.flow(1)
    consumer.get().accept()
    assert [s.outcome() for s in sent] == [Delivery.ACCEPTED] * 3
    [row] = management.query("routerMetrics")
    assert (row["deliveriesStuck"], row["deliveriesDelayed10Sec"]) == (0, 3)
    assert "qdr_deliveries_delayed_10sec_total 3" in get(http, "/metrics")[1]


def test_an_address_tells_what_is_outstanding_through_each_neighbour(routers):
    a, b = line(routers, "AB")
    consumer = b.receiver("balanced")
    wait_address(a, "balanced", remote=1)
    a.sender("balanced").post_all([Message(body=n) for n in range(4)])
    consumer.wait_received(4)
    management = Management(a)
    [row] = [x for x in management.query("router.address") if x["key"] == "Mbalanced"]
    assert sum(row["transitOutstanding"]) == row["trackedDeliveries"] == 4
    assert row["deliveriesFromContainer"] == 0
    [row] = [x for x in management.query("router.address") if x["key"] == "M$management"]
    assert row["transitOutstanding"] is None and row["deliveriesToContainer"] >= 2


def test_a_connection_tells_who_is_there(router, management):
    c = connect(router.url(), virtual_host="somewhere", properties={"app": "test"})
    row = wait_for(management, "connection", lambda r: r["properties"].get("app") == "test")
    assert row["container"] == c.proton.container
    assert row["role"] == "normal"
    assert row["dir"] == "in"
    assert row["sasl"] == "ANONYMOUS"
    assert row["opened"] is True
    assert row["isEncrypted"] is False
    assert row["localSocket"].endswith(":%d" % router.port)
    assert row["adminStatus"] == "enabled"
    body = check(management.request("READ", "io.skupper.router.connection",
                                    identity=row["identity"]), 200)
    assert body["container"] == c.proton.container


def test_offset_and_count_cut_a_part_out(management):
    def names(**properties):
        body = check(management.request("QUERY", "org.amqp.management",
                                        {"attributeNames": ["name"]},
                                        entityType="io.skupper.router.router.config.address",
                                        **properties), 200)
        return [row[0] for row in body["results"]]

    everything = names()
    assert len(everything) == 3
    assert names(offset=1) == everything[1:]
    assert names(count=2) == everything[:2]
    assert names(offset=ulong(1), count=1) == everything[1:2]


def test_what_is_wrong_is_said(management):
    r = management.request
    check(r("QUERY", "org.amqp.management", entityType="io.skupper.router.nothing"), 400)
    check(r("READ", "io.skupper.router.listener", name="nothing"), 404, "nothing")
    check(r("EXPLODE", "io.skupper.router.router"), 501, "EXPLODE")
    check(r("UPDATE", "io.skupper.router.listener", {"cost": 2}, name="amqp"), 501)
    check(r("CREATE", "io.skupper.router.router", {"id": "x"}, name="x"), 501)
    check(r("CREATE", "io.skupper.router.listener", {"hots": "x"}, name="x"), 400, "'host'?")


# ------------------------------------------------------------------------------------------ changing


def test_a_listener_is_made_used_and_taken_away(router, management):
    port = free_port()
    body = check(management.request("CREATE", "io.skupper.router.listener",
                                    {"host": "127.0.0.1", "port": str(port)}, name="extra"), 201)
    assert body["identity"] == "listener/127.0.0.1:%d:extra" % port
    assert body["role"] == "normal"
    c = connect("amqp://127.0.0.1:%d" % port)
    check(management.request("CREATE", "io.skupper.router.listener",
                             {"host": "127.0.0.1", "port": free_port()}, name="extra"), 400,
          "extra", "in use")
    check(management.request("CREATE", "io.skupper.router.listener",
                             {"host": "127.0.0.1", "port": port}, name="second"), 500,
          "second", str(port), "in use")
    check(management.request("DELETE", "io.skupper.router.listener", name="extra"), 204)
    check(management.request("DELETE", "io.skupper.router.listener", name="extra"), 404)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), 5).close()
    c.barrier()  # who was there may stay


def test_an_address_is_configured_at_run_time(router, management):
    check(management.request("CREATE", "io.skupper.router.router.config.address",
                             {"prefix": "late", "distribution": "multicast"}), 201)
    receivers = [router.receiver("late/x") for _ in range(2)]
    router.sender("late/x").post(Message(body="to all"), settled=True)
    assert [r.take() for r in receivers] == ["to all"] * 2
    check(management.request("CREATE", "io.skupper.router.router.config.address",
                             {"prefix": "late"}, name="again"), 400, "prefix", "the same")
    check(management.request("DELETE", "io.skupper.router.router.config.address",
                             identity="router.config.address/late"), 204)


def test_a_connector_tells_how_it_is_and_links_routers(routers):
    port = free_port()
    a = routers("A")
    management = Management(a)
    check(management.request("CREATE", "io.skupper.router.connector",
                             {"host": "127.0.0.1", "port": str(port), "role": "inter-router",
                              "cost": ulong(2)}, name="to-b"), 201)
    row = wait_for(management, "connector", lambda r: r["connectionStatus"] == "FAILED",
                   name="to-b")
    assert "refused" in row["connectionMsg"]
    b = routers("B", entities=[inter_router(port)])
    a.wait_reaches(b)
    wait_for(management, "connector", lambda r: r["connectionStatus"] == "SUCCESS", name="to-b")
    [link] = [c for c in management.query("connection") if c["role"] == "inter-router"]
    assert link["dir"] == "out"
    assert link["container"] == "B"
    node = wait_for(management, "router.node", lambda r: True, id="B")
    assert node["cost"] == 2
    assert node["nextHop"] is None
    assert node["address"] == "amqp:/_topo/0/B"
    assert wait_for(management, "router.node", lambda r: True, id="A")["nextHop"] == "(self)"
    check(management.request("UPDATE", "io.skupper.router.connection", {"adminStatus": "deleted"},
                             identity=link["identity"]), 403, "inter-router")
    start = len(a.log.lines)
    check(management.request("DELETE", "io.skupper.router.connector", name="to-b"), 204)
    a.log.wait("router B is not reachable any more", start=start)


def test_a_role_must_fit_the_mode(routers):
    management = Management(routers("S", mode="standalone"))
    check(management.request("CREATE", "io.skupper.router.listener",
                             {"port": free_port(), "role": "inter-router"}, name="x"), 400,
          "role: inter-router needs a router whose mode is interior")


@pytest.fixture(params=[1, 3], ids=["one-worker", "three-workers"])
def shared(routers, request):
    """With several workers, each connection but the first is another worker's."""
    return routers("R", workerThreads=request.param, workerFill=1)


def test_a_clients_connection_is_closed_by_update(shared):
    router, management = shared, Management(shared)
    c = router.connect()
    other = connect(router.url(), properties={"victim": True})
    row = next(r for r in management.query("connection") if r["properties"].get("victim"))
    check(management.request("UPDATE", "io.skupper.router.connection",
                             {"adminStatus": "removed"}, identity=row["identity"]), 400,
          "adminStatus", "deleted")
    check(management.request("UPDATE", "io.skupper.router.connection",
                             {"adminStatus": "deleted"}, identity=row["identity"]), 200)
    assert other.wait_over() == "amqp:connection:forced"
    c.barrier()
    wait_gone(management, row["identity"])


def wait_gone(management, identity):
    end = time.monotonic() + TIMEOUT
    while any(r["identity"] == identity for r in management.query("connection")):
        assert time.monotonic() < end, identity
    check(management.request("READ", "io.skupper.router.connection", identity=identity), 404)


def test_frames_of_a_connection_are_traced_when_asked(shared):
    router, management = shared, Management(shared)
    c = connect(router.url(), properties={"watched": True})
    row = next(r for r in management.query("connection") if r["properties"].get("watched"))
    assert row["enableProtocolTrace"] is False

    def trace(on):
        return check(management.request("UPDATE", "io.skupper.router.connection",
                                        {"enableProtocolTrace": on},
                                        identity=row["identity"]), 200)

    assert trace(True)["enableProtocolTrace"] is True
    receiver = c.receiver("traced")
    router.log.wait("PROTOCOL (info) connection=%s 0 <- @attach" % row["identity"])
    at = router.log.wait("PROTOCOL (info) connection=%s 0 -> @attach" % row["identity"])
    router.sender("traced").post(Message(body="x"))
    router.log.wait("0 -> @transfer", start=at)
    receiver.take()
    assert trace("false")["enableProtocolTrace"] is False
    start = len(router.log.lines)
    c.barrier()
    c.close()
    router.log.wait("connection", start=start)
    assert not [x for x in router.log.lines[start:] if "@begin" in x]


def test_totals_are_of_all_workers(shared):
    management = Management(shared)
    consumers = [shared.receiver("spread/%d" % i) for i in range(4)]
    senders = [shared.sender("spread/%d" % i) for i in range(4)]
    sent = [x for s in senders for x in s.post_all([Message(body=1)] * 5)]
    for c in consumers:
        assert c.take_all(5) == [1] * 5
    # An outcome is counted by the worker of the sender, before it is told to that.
    assert [x.outcome() for x in sent] == [Delivery.ACCEPTED] * 20
    [row] = management.query("routerMetrics")
    assert row["deliveriesIngress"] >= 20
    assert row["deliveriesEgress"] >= 20
    assert row["acceptedDeliveries"] >= 20
    assert row["connectionCount"] == len(management.query("connection")) == 9
    found = [a for a in management.query("router.address") if a["key"].startswith("Mspread/")]
    assert sorted((a["deliveriesIngress"], a["deliveriesEgress"], a["subscriberCount"])
                  for a in found) == [(5, 5, 1)] * 4
    ids = [r["identity"] for r in management.query("connection")]
    assert len(set(ids)) == 9
    links = [x for x in management.query("router.link") if x["owningAddr"] and
             x["owningAddr"].startswith("Mspread/")]
    assert len(links) == 8
    assert {x["connectionId"] for x in links} <= set(ids)
    assert len({x["identity"] for x in links}) == 8


def test_log_levels_and_files_change_at_run_time(router, management, tmp_path):
    def update(**attributes):
        return management.request("UPDATE", "io.skupper.router.log", attributes,
                                  identity="log/SERVER")

    def said():
        router.connect().close()
        return "(info)" in log.read_text()

    log = tmp_path / "server.log"
    assert check(management.request("READ", "log", name="log/SERVER"), 200)["enable"] == "default"
    body = check(update(enable="info+", outputFile=str(log)), 200)
    assert (body["enable"], body["outputFile"]) == ("info+", str(log))
    assert said()
    log.rename(tmp_path / "old.log")
    router.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + TIMEOUT
    while not log.exists():
        assert time.monotonic() < end
        management.query("logStats", ["name"])
    assert said()
    check(update(enable="error+"), 200)
    before = log.read_text()
    router.connect().close()
    assert log.read_text() == before
    check(update(enable="loud"), 400, "enable", "'loud' is no level")
    check(update(outputFile="/nowhere/x"), 400, "outputFile", "/nowhere/x")
    check(update(module="AGENT"), 400, "module: cannot be changed")
    body = check(update(enable=None, outputFile=None), 200)
    assert body["enable"] == "default"
    assert "outputFile" not in body
    stats = {r["identity"]: r for r in management.query("logStats")}
    assert stats["logStats/SERVER"]["infoCount"] > 0


def test_newest_lines_of_the_log_are_told(router, management):
    router.connect().close()
    lines = check(management.request("GET-LOG", "org.amqp.management", limit=5), 200)
    assert len(lines) == 5
    assert all(len(x) == 6 for x in lines)
    assert {"SERVER"} <= {x[0] for x in lines}
    assert abs(lines[-1][5] - time.time()) < 60


def test_the_network_id_can_be_changed(management):
    check(management.request("UPDATE", "network", {"networkId": "n1"}), 200)
    assert check(management.request("READ", "network"), 200)["networkId"] == "n1"


# ------------------------------------------------------------------------------------- other routers


def ask(connection, address, correlation_id, entity="router"):
    """As existing tools do: one connection, an anonymous sender."""
    receiver = connection.receiver(None)
    connection.sender(None).post(Message(
        address=address, reply_to=receiver.address, correlation_id=correlation_id,
        properties={"operation": "QUERY", "type": "org.amqp.management",
                    "entityType": "io.skupper.router." + entity}, body={"attributeNames": ["id"]}))
    reply = receiver.get().accept().message
    assert reply.correlation_id == correlation_id
    return [row[0] for row in check(reply, 200)["results"]]


@pytest.fixture
def network(routers):
    port, edge_port = free_port(), free_port()
    a = routers("A", entities=[inter_router(port)])
    b = routers("B", entities=[link_to(port), ["listener", {
        "name": "edges", "host": "127.0.0.1", "port": edge_port, "role": "edge"}]])
    a.wait_reaches(b)
    b.wait_reaches(a)
    e = routers("E", mode="edge", entities=[link_to(edge_port, role="edge")])
    wait_for(Management(e), "connection", lambda r: r["opened"], role="edge")
    return a, b, e


def wait_answer(connection, address):
    """Until the address has been learned: before that the request comes back released."""
    end = time.monotonic() + TIMEOUT
    sender = connection.sender(None)
    while sender.send(Message(address=address, body="no request")) not in (1, 2, 36, 37, 38):
        assert time.monotonic() < end, address


@pytest.mark.parametrize("asked", ["amqp:/_topo/0/B/$management", "_topo/0/B/$management",
                                   "$management", "_local/$management"])
def test_management_of_a_neighbour_and_of_oneself(network, asked):
    a, b, _ = network
    c = a.connect()
    assert ask(c, asked, ulong(7)) == ["B" if "_topo" in asked else "A"]
    assert ask(c, asked, "a text") == ["B" if "_topo" in asked else "A"]


def test_management_of_an_edge_router_from_anywhere(network):
    a, b, e = network
    found = [r["container"] for r in Management(b).query("connection")
             if r["role"] == "edge" and r["dir"] == "in"]
    assert found == ["E"]
    for router in (e, b, a):
        management = Management(router, address="amqp:/_edge/E/$management")
        [row] = management.query("router")
        assert (row["id"], row["mode"]) == ("E", "edge")
    assert ask(e.connect(), "amqp:/_topo/0/A/$management", ulong(1)) == ["A"]
    uplinks = [r for r in Management(e).query("connection") if r["role"] == "edge"]
    assert [(r["dir"], r["container"]) for r in uplinks] == [("out", "B")]
    check(Management(e).request("UPDATE", "io.skupper.router.connection",
                                {"adminStatus": "deleted"}, identity=uplinks[0]["identity"]), 403)


def test_all_management_nodes_are_told(network):
    a, _, _ = network
    nodes = check(Management(a).request("GET-MGMT-NODES", "org.amqp.management"), 200)
    assert sorted(nodes) == ["amqp:/_topo/0/A/$management", "amqp:/_topo/0/B/$management"]


# ---------------------------------------------------------------------------------------- profiles


def served_name(port):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as plain:
        with context.wrap_socket(plain) as s:
            der = s.getpeercert(binary_form=True)
    pem = ssl.DER_cert_to_PEM_cert(der)
    return subprocess.run(["openssl", "x509", "-noout", "-subject"], input=pem, text=True,
                          check=True, capture_output=True).stdout.strip()


def test_a_changed_profile_is_used_from_the_next_handshake_on(routers, tmp_path):
    make_authority(tmp_path, "ca")
    for name in ("one", "two"):
        make_certificate(tmp_path, "ca", name)
    port = free_port()
    server = profile(tmp_path, "one", "ca")
    r = routers("R", entities=[["sslProfile", {"name": "p", **server}],
                               ["listener", {"name": "tls", "host": "127.0.0.1", "port": port,
                                             "sslProfile": "p", "requireSsl": True}]])
    management = Management(r)
    assert served_name(port).endswith("one")

    def update(**attributes):
        return management.request("UPDATE", "io.skupper.router.sslProfile", attributes, name="p")

    # One without the other does not fit, and changes nothing.
    check(update(certFile=str(tmp_path / "two.crt"), ordinal=5), 400, "privateKeyFile",
          "mismatch")
    check(update(caCertFile="/nowhere"), 400, "caCertFile /nowhere")
    assert served_name(port).endswith("one")
    body = check(management.request("READ", "sslProfile", name="p"), 200)
    assert (body["ordinal"], body["certFile"]) == (0, server["certFile"])
    body = check(update(ordinal=ulong(5), oldestValidOrdinal="5",
                        **profile(tmp_path, "two", "ca")), 200)
    assert (body["ordinal"], body["oldestValidOrdinal"]) == (5, 5)
    assert served_name(port).endswith("two")
    # The same name with other contents, as a renewed certificate has.
    os.replace(tmp_path / "one.crt", tmp_path / "two.crt")
    os.replace(tmp_path / "one.key", tmp_path / "two.key")
    check(update(ordinal=6), 200)
    assert served_name(port).endswith("one")
    check(management.request("DELETE", "io.skupper.router.sslProfile", name="p"), 204)
    assert served_name(port).endswith("one")


def test_the_ordinal_of_a_connection_is_that_of_its_profile(routers, tmp_path):
    make_authority(tmp_path, "ca")
    for name in ("a", "b"):
        make_certificate(tmp_path, "ca", name)
    port = free_port()
    a = routers("A", entities=[
        ["sslProfile", {"name": "p", "ordinal": 3, **profile(tmp_path, "a", "ca")}],
        ["listener", {"name": "ir", "host": "127.0.0.1", "port": port, "role": "inter-router",
                      "sslProfile": "p", "saslMechanisms": "EXTERNAL", "authenticatePeer": True}]])
    b = routers("B", entities=[
        ["sslProfile", {"name": "q", "ordinal": 4, **profile(tmp_path, "b", "ca")}],
        ["connector", {"name": "c", "host": "127.0.0.1", "port": port, "role": "inter-router",
                       "sslProfile": "q"}]])
    a.wait_reaches(b)
    [row] = [r for r in Management(b).query("connection") if r["role"] == "inter-router"]
    assert (row["tlsOrdinal"], row["isEncrypted"], row["sasl"]) == (4, True, "EXTERNAL")
    assert row["groupOrdinal"] == 4
    [row] = [r for r in Management(a).query("connection") if r["role"] == "inter-router"]
    assert row["tlsOrdinal"] == 3
    assert "CN" in row["user"]
    assert row["sslProto"] == "TLSv1.3"


# ------------------------------------------------------------------------------------------- HTTP


def get(port, path):
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (port, path), timeout=TIMEOUT) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


@pytest.mark.parametrize("healthz, metrics", [(True, True), (True, False), (False, True)])
def test_health_and_metrics_as_configured(routers, healthz, metrics):
    port = free_port()
    routers("R", entities=[["listener", {"name": "http", "host": "127.0.0.1", "port": port,
                                         "http": True, "healthz": healthz, "metrics": metrics}]])
    assert get(port, "/healthz")[0] == (200 if healthz else 404)
    code, text = get(port, "/metrics")
    assert code == (200 if metrics else 404)
    assert ("qdr_connections_total" in text) == metrics
    assert get(port, "/other")[0] == 404


def test_health_over_tls(routers, tmp_path):
    make_authority(tmp_path, "ca")
    make_certificate(tmp_path, "ca", "one")
    port = free_port()
    routers("R", entities=[["sslProfile", {"name": "p", **profile(tmp_path, "one", "ca")}],
                           ["listener", {"name": "http", "host": "127.0.0.1", "port": port,
                                         "http": True, "sslProfile": "p", "requireSsl": True}]])
    context = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    with urllib.request.urlopen("https://127.0.0.1:%d/healthz" % port, timeout=TIMEOUT,
                                context=context) as r:
        assert r.status == 200
    with pytest.raises(OSError):
        get(port, "/healthz")


def test_a_listener_without_http_speaks_none(router):
    with socket.create_connection(("127.0.0.1", router.port), TIMEOUT) as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        s.settimeout(TIMEOUT)
        data = b""
        while True:
            more = s.recv(4096)
            if not more:
                break
            data += more
    assert b"HTTP" not in data
    assert data[:4] in (b"", b"AMQP")


def test_the_schema_is_json(management):
    schema = json.loads(check(management.request("GET-JSON-SCHEMA", "org.amqp.management"), 200))
    assert schema["entityTypes"]["listener"]["attributes"]["cost"]["default"] == 1
    assert check(management.request("GET-SCHEMA", "org.amqp.management"), 200) == schema


def test_a_request_that_is_none_leaves_the_router_alone(router, management):
    sender = router.sender("$management")
    sender.send(Message(body="no reply-to, no properties"))
    sender.send(Message(body=[1, 2, 3], reply_to="amqp:/_topo/0/R/temp.nobody"))
    check(management.request("READ", "router"), 200)
    with pytest.raises(Gone):
        router.sender("none/such")


def test_who_leaves_answers_unread_gets_no_more(router, management):
    c = router.connect()
    answers = c.receiver(None, credit=0, refill=False)
    sent = c.sender("$management").post_all([
        Message(properties={"operation": "GET-SCHEMA", "type": "org.amqp.management"}, body={},
                reply_to=answers.address, correlation_id=i) for i in range(3000)])
    for s in sent:
        s.outcome()
    held = management.query("routerMetrics")[0]["memoryUsage"]
    assert 0 < held < 16 << 20  # 3000 of them are 90 MB
    answers.flow(1000)
    answers.wait_received(256)
    assert [g.message.correlation_id for g in answers.got][:256] == list(range(256))
    # Once they are read there are answers again.
    for g in list(answers.got):
        g.accept()
    c.barrier()
    again = Management(router, connection=c)
    check(again.request("READ", "router"), 200)


def test_ten_thousand_services_are_made_read_and_taken_away(routers):
    def connector(n):
        return {"name": "c%d" % n, "address": "a%d" % n, "host": "127.0.0.1", "port": "1"}

    router = routers("R", entities=[["tcpConnector", connector(n)] for n in range(9990)])
    management = Management(router)

    def ask(operation, n, body=None):
        return management.request(operation, "io.skupper.router.tcpConnector", body,
                                  name="c%d" % n).properties["statusCode"]

    for n in range(9990, 10000):
        assert ask("CREATE", n, connector(n)) == 201
    assert ask("CREATE", 5000, connector(5000)) == 400
    assert ask("READ", 5000) == 200
    assert ask("DELETE", 5000) == 204
    assert ask("READ", 5000) == 404
    assert ask("CREATE", 5000, connector(5000)) == 201
    reply = management.request("QUERY", "org.amqp.management", {"attributeNames": ["name"]},
                               entityType="io.skupper.router.tcpConnector", offset=9995, count=100)
    assert len(reply.body["results"]) == 5
