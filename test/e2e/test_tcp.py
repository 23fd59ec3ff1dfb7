# SPDX-License-Identifier: Apache-2.0
"""TCP services: plain sockets as clients and servers, through one router and through several."""

import hashlib
import os
import pathlib
import socket
import threading

import pytest
from harness import (SKROUTERD, TIMEOUT, Management, free_port, inter_router, link_to,
                     wait_address)
from services import (Server, connect, connector, descriptors, echo, exchange, idle_descriptors,
                      listener, receive_all, reset, service, wait)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_what_is_sent_comes_back_and_a_half_close_is_one(routers, length):
    _, _, port = service(routers, length)
    exchange(port)
    exchange(port, os.urandom(3_000_000))


@pytest.mark.parametrize("length", [1, 2])
def test_a_listener_that_speaks_the_older_encapsulation_is_understood(routers, length):
    _, _, port = service(routers, length, on_listener={"encapsulation": "legacy"})
    exchange(port)
    exchange(port, os.urandom(3_000_000))


@pytest.mark.parametrize("length", [1, 2])
def test_large_transfers_both_ways_at_once_arrive_whole(routers, length):
    size, sums = 24 << 20, []
    down = os.urandom(1 << 20) * (size >> 20)

    def serve(s):
        writer = threading.Thread(target=s.sendall, args=(down,))
        writer.start()
        sums.append(hashlib.sha256(receive_all(s)).hexdigest())
        writer.join()
        s.shutdown(socket.SHUT_WR)

    _, _, port = service(routers, length, serve)
    up = os.urandom(1 << 20) * (size >> 20)
    with connect(port) as s:
        writer = threading.Thread(target=lambda: (s.sendall(up), s.shutdown(socket.SHUT_WR)))
        writer.start()
        got = receive_all(s)
        writer.join()
    assert hashlib.sha256(got).hexdigest() == hashlib.sha256(down).hexdigest()
    assert sums == [hashlib.sha256(up).hexdigest()]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_server_may_speak_first_and_end_first(routers, length):
    got = []

    def serve(s):
        s.sendall(b"welcome")
        s.shutdown(socket.SHUT_WR)
        got.append(receive_all(s))

    made, server, port = service(routers, length, serve)
    with connect(port) as s:
        assert receive_all(s) == b"welcome"
        s.sendall(b"after your end")
        s.shutdown(socket.SHUT_WR)
        s.recv(1)
    wait(lambda: got or server.faults)
    assert got == [b"after your end"], (server.faults, [r.log.lines[-20:] for r in made])


def meets_reset(s):
    """A reset, and nothing that looks like an end before it, though the two streams may take
    different connections between routers."""
    try:
        while s.recv(100):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        pass
    return False


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_reset_of_the_server_resets_the_client(routers, length):
    def serve(s):
        s.recv(100)
        reset(s)

    _, _, port = service(routers, length, serve)
    with connect(port) as s:
        s.sendall(b"go")
        assert meets_reset(s)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_reset_of_the_client_resets_the_server(routers, length):
    ends = []

    def serve(s):
        s.sendall(b"ready")
        ends.append(meets_reset(s))

    _, _, port = service(routers, length, serve)
    s = connect(port)
    assert s.recv(100) == b"ready"
    reset(s)
    wait(lambda: ends)
    assert ends == [True]


def test_without_a_consumer_there_is_no_socket(routers):
    port = free_port()
    link = free_port()
    a = routers("A", entities=[listener(port), inter_router(link)])
    m = Management(a)
    (row,) = m.query("tcpListener")
    assert row["operStatus"] == "down" and "no consumer" in row["connectionMsg"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    server = Server(echo)
    b = routers("B", entities=[link_to(link), connector(server.port)])
    exchange(port)
    assert m.query("tcpListener")[0]["operStatus"] == "up"
    b.kill()
    a.log.wait("not listening name=l-echo")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    m.close()


@pytest.mark.parametrize("length", [1, 2])
def test_a_server_that_refuses_is_taken_out_until_it_is_back(routers, length):
    made, server, port = service(routers, length)
    exchange(port)
    server.close()
    with connect(port) as s:
        s.settimeout(TIMEOUT)
        assert receive_all(s) == b""
    made[0].log.wait("not listening name=l-echo")
    m = Management(made[-1])
    (row,) = m.query("tcpConnector")
    assert row["operStatus"] == "down" and "refused" in row["connectionMsg"]
    m.close()
    server = Server(echo, server.port)
    exchange(port)


@pytest.mark.parametrize("apart", [False, True])
def test_a_client_is_sent_to_a_server_that_answers(routers, apart):
    dead, alive, port, link = free_port(), Server(echo), free_port(), free_port()
    entities = [listener(port), connector(dead), inter_router(link)]
    if apart:
        a = routers("A", entities=entities)
        routers("B", entities=[link_to(link), connector(alive.port)])
        a.wait_reaches("B")
    else:
        routers("A", entities=entities + [connector(alive.port)])
    for _ in range(6):
        exchange(port)


def test_connections_are_shared_by_those_that_are_open(routers):
    servers = [Server(echo), Server(echo)]
    port = free_port()
    routers("A", entities=[listener(port)] + [connector(s.port) for s in servers])
    held = []
    for _ in range(8):
        s = connect(port)
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        held.append(s)
    assert [s.accepted for s in servers] == [4, 4]
    for s in held:
        s.close()


@pytest.mark.parametrize("length", [1, 2])
def test_a_slow_reader_holds_up_nobody_else_and_not_much_memory(routers, length):
    stop = threading.Event()

    def serve(s):
        if s.recv(1) == b"f":
            block = bytes(1 << 20)
            while not stop.is_set():
                s.sendall(block)
        else:
            echo(s)

    made, _, port = service(routers, length, serve)
    with connect(port) as s:
        s.sendall(b"e")
    before = [r.resident_kib() for r in made]
    slow = []
    for _ in range(4):
        s = connect(port)
        s.sendall(b"f")
        slow.append(s)
    for _ in range(20):
        with connect(port) as s:
            s.sendall(b"e")
            s.sendall(b"quick")
            s.shutdown(socket.SHUT_WR)
            assert receive_all(s) == b"quick"
    assert all(r.resident_kib() - b < 24 * 1024 for r, b in zip(made, before))
    stop.set()
    for s in slow:
        s.close()


def test_a_thousand_short_connections_leave_nothing_behind(routers):
    made, _, port = service(routers, 2)

    def burst(count):
        for _ in range(count):
            exchange(port, b"short")

    burst(300)
    idle, before = idle_descriptors(made), [r.resident_kib() for r in made]
    threads = [threading.Thread(target=burst, args=(250,)) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wait(lambda: [descriptors(r) for r in made] == idle)
    if not is_sanitized():  # which keeps freed memory for a while
        assert all(r.resident_kib() - b < 1024 for r, b in zip(made, before))
    m = Management(made[0])
    (row,) = m.query("tcpListener")
    assert (row["connectionsOpened"], row["connectionsClosed"]) == (1300, 1300)
    assert m.query("tcpConnection") == []
    m.close()


def is_sanitized():
    return b"__asan_init" in pathlib.Path(SKROUTERD).read_bytes()


def test_the_death_of_a_router_ends_its_connections_and_new_ones_go_round(routers):
    server, port = Server(echo), free_port()
    pa, pb = free_port(), free_port()
    a = routers("A", entities=[listener(port), inter_router(pa)])
    b = routers("B", entities=[inter_router(pb), link_to(pa)])
    c = routers("C", entities=[link_to(pb), link_to(pa, cost=10), connector(server.port)])
    for router, other in ((a, "C"), (c, "A")):  # the cheap way round is known at both ends
        m = Management(router)
        wait(lambda: ("router.node/" + other, "B") in
             [(row["identity"], row["nextHop"]) for row in m.query("router.node")])
        m.close()
    s = connect(port)
    s.sendall(b"x")
    assert s.recv(1) == b"x"
    b.kill()
    assert meets_reset(s)  # what it had got was not all
    exchange(port)


@pytest.mark.parametrize("drop", [True, False])
@pytest.mark.parametrize("kind", ["tcpListener", "tcpConnector"])
def test_deleting_a_service_drops_its_connections_or_leaves_them(routers, kind, drop):
    server, port = Server(echo), free_port()
    a = routers("A", entities=[listener(port), connector(server.port)], dropTcpConnections=drop)
    s = connect(port)
    s.sendall(b"x")
    assert s.recv(1) == b"x"
    m = Management(a)
    name = m.query(kind, ["name"])[0]["name"]
    assert m.request("DELETE", "io.skupper.router." + kind, name=name).properties[
        "statusCode"] == 204
    if drop:
        assert meets_reset(s)
    else:
        s.sendall(b"y")
        assert s.recv(1) == b"y"
        assert len(m.query("tcpConnection")) == 2
        s.close()
    wait(lambda: m.query("tcpConnection") == [])
    with pytest.raises(ConnectionRefusedError):
        while True:
            socket.create_connection(("127.0.0.1", port)).close()
    m.close()


def test_services_are_created_by_management(routers):
    a, server, port = routers("A"), Server(echo), free_port()
    m = Management(a)
    for entity in (connector(server.port), listener(port)):
        kind, attributes = entity
        reply = m.request("CREATE", "io.skupper.router." + kind, attributes,
                          name=attributes["name"])
        assert reply.properties["statusCode"] == 201, reply.properties
    exchange(port, b"12345")
    wait(lambda: m.query("tcpListener")[0]["connectionsClosed"] == 1)
    (row,) = m.query("tcpListener")
    assert (row["bytesIn"], row["bytesOut"], row["operStatus"]) == (5, 5, "up")
    (row,) = m.query("tcpConnector")
    assert (row["bytesIn"], row["bytesOut"], row["operStatus"]) == (5, 5, "up")
    m.close()


def test_a_port_in_use_is_a_status_until_it_is_free(routers):
    port, server = free_port(), Server(echo)
    taken = socket.create_server(("127.0.0.1", port))
    a = routers("A", entities=[listener(port), connector(server.port)])
    m = Management(a)
    (row,) = m.query("tcpListener")
    assert row["operStatus"] == "down" and "in use" in row["connectionMsg"]
    taken.close()
    exchange(port)
    assert m.query("tcpListener")[0]["connectionMsg"] == ""
    m.close()


def test_priority_takes_the_highest_address_that_is_there(routers):
    low, high, port = Server(lambda s: s.sendall(b"low")), Server(lambda s: s.sendall(b"high")), \
        free_port()
    a = routers("A", entities=[
        ["tcpListener", {"name": "l", "host": "127.0.0.1", "port": port,
                         "multiAddressStrategy": "priority"}],
        ["listenerAddress", {"name": "la", "address": "low", "value": 1, "listener": "l"}],
        ["listenerAddress", {"name": "lb", "address": "high", "value": 2, "listener": "l"}],
        connector(low.port, "low"), connector(high.port, "high")])
    with connect(port) as s:
        assert receive_all(s) == b"high"
    m = Management(a)
    m.request("DELETE", "io.skupper.router.tcpConnector", name="c-high-%d" % high.port)
    with connect(port) as s:
        assert receive_all(s) == b"low"
    assert {r["name"]: r["connectionsOpened"] for r in m.query("listenerAddress")} == \
        {"la": 1, "lb": 1}
    m.close()


def test_addresses_of_a_listener_come_and_go(routers):
    one, two, port = Server(lambda s: s.sendall(b"1")), Server(lambda s: s.sendall(b"2")), \
        free_port()
    a = routers("A", entities=[
        ["tcpListener", {"name": "l", "host": "127.0.0.1", "port": port,
                         "multiAddressStrategy": "priority"}],
        connector(one.port, "one"), connector(two.port, "two")])
    m = Management(a)

    def says():
        with connect(port) as s:
            return receive_all(s)

    def request(operation, name, **attributes):
        reply = m.request(operation, "io.skupper.router.listenerAddress", attributes or None,
                          name=name)
        assert reply.properties["statusCode"] in (201, 204), reply.properties

    (row,) = m.query("tcpListener")
    assert row["operStatus"] == "down"
    request("CREATE", "la", address="one", value=1, listener="l")
    assert says() == b"1"
    request("CREATE", "lb", address="two", value=2, listener="l")
    assert says() == b"2"
    request("DELETE", "lb")
    assert says() == b"1"
    request("DELETE", "la")
    wait(lambda: m.query("tcpListener")[0]["operStatus"] == "down")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    m.close()


@pytest.mark.parametrize("address", ["closest/x", "balanced", "mc/x"])
def test_connectors_at_two_routers_share_by_the_treatment_of_their_address(routers, address):
    """Of a multicast the first server that answers has the connection."""
    here, there, port, link = Server(echo), Server(echo), free_port(), free_port()
    a = routers("A", entities=[inter_router(link), listener(port, address),
                               connector(here.port, address)])
    b = routers("B", entities=[link_to(link), connector(there.port, address)])
    wait_address(a, address, 1, 1)
    held = []
    for _ in range(8):
        s = connect(port)
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        held.append(s)
    if address.startswith("closest"):
        assert (here.accepted, there.accepted) == (8, 0)
    elif address == "balanced":
        assert here.accepted >= 3 and there.accepted >= 3 and here.accepted + there.accepted == 8
    for s in held:
        s.sendall(b"y")
        assert s.recv(1) == b"y"
        s.shutdown(socket.SHUT_WR)
        assert receive_all(s) == b""
    for r in (a, b):
        m = Management(r)
        wait(lambda: m.query("tcpConnection") == [])
        m.close()


def test_weights_share_the_connections(routers):
    one, two, port = Server(lambda s: s.sendall(b"1")), Server(lambda s: s.sendall(b"2")), \
        free_port()
    routers("A", entities=[
        ["tcpListener", {"name": "l", "host": "127.0.0.1", "port": port,
                         "multiAddressStrategy": "weighted"}],
        ["listenerAddress", {"name": "la", "address": "one", "value": 1, "listener": "l"}],
        ["listenerAddress", {"name": "lb", "address": "two", "value": 3, "listener": "l"}],
        connector(one.port, "one"), connector(two.port, "two")])
    got = []
    for _ in range(400):
        with connect(port) as s:
            got.append(receive_all(s))
    assert 50 <= got.count(b"1") <= 150


@pytest.mark.parametrize("host", ["::1", "localhost"])
def test_services_over_ipv6_and_names(routers, host):
    # A name may have several addresses: the server is at the last one.
    family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[-1]
    server = socket.create_server(address[:2], family=family)
    threading.Thread(target=lambda: echo(server.accept()[0]), daemon=True).start()
    port = free_port()
    routers("A", entities=[listener(port, host=host), connector(
        server.getsockname()[1], host=host)])
    exchange(port, host=host)


def test_a_name_that_does_not_resolve_is_a_status(routers):
    port = free_port()
    a = routers("A", entities=[listener(port), connector(1, host="no.such.host.invalid")])
    with connect(port) as s:
        assert receive_all(s) == b""
    m = Management(a)
    (row,) = m.query("tcpConnector")
    assert row["operStatus"] == "down" and "no.such.host.invalid" in row["connectionMsg"]
    m.close()


@pytest.mark.parametrize("listens,connects", [("A", "E"), ("E", "A"), ("E", "F")])
def test_services_reach_edge_routers_and_back(routers, listens, connects):
    server, port, inter, edge = Server(echo), free_port(), free_port(), free_port()
    entities = {"A": [inter_router(inter), ["listener", {
        "name": "edges", "host": "127.0.0.1", "port": edge, "role": "edge"}]],
        "E": [link_to(edge, role="edge")], "F": [link_to(edge, role="edge")]}
    entities[listens].append(listener(port))
    entities[connects].append(connector(server.port))
    routers("A", entities=entities["A"])
    for name in "EF":
        routers(name, mode="edge", entities=entities[name])
    exchange(port)
    exchange(port, os.urandom(3_000_000))
    held = [connect(port) for _ in range(3)]
    for s in held:
        s.sendall(b"x")
    for s in held:
        assert s.recv(1) == b"x"
        s.close()


@pytest.mark.parametrize("attribute", ["idleTimeoutSeconds", "halfClosedTimeoutSeconds"])
def test_idle_and_half_closed_connections_end_after_their_time(routers, attribute):
    done, port = threading.Event(), free_port()
    server = Server(lambda s: done.wait(TIMEOUT))
    routers("A", entities=[listener(port, **{attribute: 1}), connector(server.port)])
    with connect(port) as s:
        s.sendall(b"x")
        if attribute == "halfClosedTimeoutSeconds":
            s.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError):
            s.recv(1)
    done.set()
