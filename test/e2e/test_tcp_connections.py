# SPDX-License-Identifier: Apache-2.0
"""What management tells of open connections of TCP services."""

import socket
import threading
import time

import pytest
from harness import TIMEOUT, Management, free_port, inter_router, link_to
from services import (Server, connect, connector, echo, exchange, listener, receive_all, service,
                      wait)


@pytest.fixture
def rows():
    """Asks routers, each on one connection, for the open connections of all of them."""
    asked = {}

    def ask(made):
        for router in made:
            if router not in asked:
                asked[router] = Management(router)
        return [row for r in made for row in asked[r].query("tcpConnection")]

    yield ask
    for management in asked.values():
        management.close()


def both(rows, made):
    near, far = rows(made)
    assert (near["direction"], far["direction"]) == ("in", "out")
    assert near["replyTo"] == far["replyTo"]
    return near, far


def test_both_ends_of_a_connection_tell_the_truth(routers, rows):
    made, server, port = service(routers, 2)
    with connect(port) as s:
        wait(lambda: {r["state"] for r in rows(made)} == {"open"})
        near, far = both(rows, made)
        assert near["host"] == "127.0.0.1:%d" % s.getsockname()[1]
        assert far["host"] == "127.0.0.1:%d" % server.port
        assert (near["service"], far["service"]) == ("l-echo", "c-echo-%d" % server.port)
        assert near["name"] == near["identity"]
        for row in near, far:
            assert row["address"] == "echo"
            assert (row["bytesIn"], row["bytesOut"], row["unacknowledged"], row["unsent"]) == (
                0, 0, 0, 0)
            assert row["lastInSeconds"] is None and row["lastOutSeconds"] is None
            assert row["waitsFor"] == ""
        began = time.monotonic()
        s.sendall(b"hello")
        assert s.recv(5) == b"hello"
        for row in both(rows, made):
            assert (row["bytesIn"], row["bytesOut"], row["unacknowledged"]) == (5, 5, 5)
            assert max(row["lastInSeconds"], row["lastOutSeconds"]) <= time.monotonic() - began
        wait(lambda: all(r["uptimeSeconds"] >= 2 and r["lastInSeconds"] >= 1 and
                         r["lastOutSeconds"] >= 1 for r in rows(made)))
        began = time.monotonic()
        s.sendall(b"hello")
        assert s.recv(5) == b"hello"
        for row in both(rows, made):
            assert max(row["lastInSeconds"], row["lastOutSeconds"]) <= time.monotonic() - began
            assert 2 <= row["uptimeSeconds"] < TIMEOUT
    wait(lambda: rows(made) == [])


def test_each_connection_has_a_row_and_each_pair_a_name(routers, rows):
    made, _, port = service(routers, 2)
    held = [connect(port) for _ in range(20)]
    for s in held:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    told = rows(made)
    assert len(told) == 40 and len({r["replyTo"] for r in told}) == 20
    near = {r["host"]: r["replyTo"] for r in told if r["direction"] == "in"}
    assert near.keys() == {"127.0.0.1:%d" % s.getsockname()[1] for s in held}
    assert set(near.values()) == {r["replyTo"] for r in told if r["direction"] == "out"}
    for s in held:
        s.close()


def test_a_connection_of_which_one_direction_has_ended_is_half_closed(routers, rows):
    done = threading.Event()

    def serve(s):
        while s.recv(100):
            pass
        done.wait(TIMEOUT)
        s.sendall(b"late")

    made, _, port = service(routers, 2, serve)
    with connect(port) as s:
        s.sendall(b"x")
        s.shutdown(socket.SHUT_WR)
        wait(lambda: [r["state"] for r in rows(made)] == ["half-closed"] * 2)
        assert all(r["waitsFor"] == "" for r in both(rows, made))
        done.set()
        assert receive_all(s) == b"late"


def test_what_holds_a_connection_up_is_told(routers, rows):
    done = threading.Event()
    made, _, port = service(routers, 2, lambda s: done.wait(TIMEOUT))
    with connect(port) as s:
        s.setblocking(False)

        def is_full():
            try:
                while True:
                    s.send(bytes(65536))
            except BlockingIOError:
                pass
            seen[:] = both(rows, made)
            return [r["waitsFor"] for r in seen] == [
                "the other end to read", "its own peer to read"]

        def all_have_arrived():
            near, far = seen[:] = both(rows, made)
            return near["bytesIn"] == far["bytesOut"] + far["unsent"]

        seen = []
        wait(is_full)
        wait(all_have_arrived)
        near, far = seen
        assert near["unacknowledged"] >= 1042432
        assert far["unsent"] > 0
    done.set()


def test_a_server_that_does_not_answer_is_waited_for(routers, rows):
    server, port, link = socket.socket(), free_port(), free_port()
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    fill = [socket.socket() for _ in range(3)]
    for s in fill:  # its queue is full, and it accepts nobody
        s.setblocking(False)
        s.connect_ex(server.getsockname())
    made = [routers("A", entities=[inter_router(link), listener(port)]),
            routers("B", entities=[link_to(link), connector(server.getsockname()[1])])]
    with connect(port) as s:
        wait(lambda: len(rows(made)) == 2)
        near, far = both(rows, made)
        assert (near["state"], far["state"]) == ("connecting", "connecting")
        assert near["waitsFor"] == "the other end's answer"
        assert far["waitsFor"] == "its server to answer"
        assert near["host"] == "127.0.0.1:%d" % s.getsockname()[1] and far["host"] == ""
    for s in fill + [server]:
        s.close()


def test_a_connection_outlives_its_deleted_service_when_told_to(routers, rows):
    server, port = Server(echo), free_port()
    a = routers("A", dropTcpConnections=False,
                entities=[listener(port), connector(server.port)])
    with connect(port) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        management = Management(a)
        management.request("DELETE", "io.skupper.router.tcpListener", name="l-echo")
        near = next(r for r in rows([a]) if r["direction"] == "in")
        assert near["service"] is None and near["address"] == "echo"
        s.sendall(b"y")
        assert s.recv(1) == b"y"
        management.close()
    wait(lambda: rows([a]) == [])


def test_out_of_descriptors_what_is_open_is_served_and_those_who_come_wait(routers):
    servers, ports = (Server(echo), Server(echo)), (free_port(), free_port())
    a = routers("A", mode="standalone", files=80, entities=[
        listener(ports[0], "one"), connector(servers[0].port, "one"),
        listener(ports[1], "two"), connector(servers[1].port, "two")])
    kept = [connect(port) for port in ports]

    def serves():
        for s in kept:
            s.sendall(b"x")
            assert s.recv(1) == b"x"

    serves()
    management = Management(a)
    crowd = [connect(ports[0]) for _ in range(100)]
    a.log.wait("accepting pauses tcpListener=l-one why=Too many open files")
    serves()
    row = next(r for r in management.query("tcpListener") if r["name"] == "l-one")
    assert row["operStatus"] == "up"
    assert row["connectionMsg"] == "accepting pauses: Too many open files"
    for s in crowd:
        s.close()
    a.log.wait("accepting goes on tcpListener=l-one")
    serves()
    for port in ports:
        exchange(port)
    wait(lambda: {r["connectionMsg"] for r in management.query("tcpListener")} == {""})
    assert {r["operStatus"] for r in management.query("tcpConnector")} == {"up"}
    management.close()
    for s in kept:
        s.close()
