# SPDX-License-Identifier: Apache-2.0
"""A router that others count on: when it is ready for clients, and how it ends."""

import os
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request

import pytest
from harness import (SKROUTERD, TIMEOUT, edge_listener, free_port, inter_router, link_to,
                     wait_address)
from services import Server, connect, connector, echo, exchange, listener, receive_all, wait

ACCEPT = 4  # seconds in which a test says what it has to say to a router that is ending


def drain(seconds=3600, accept=ACCEPT):
    return {"SKUPPER_DRAIN_SECONDS": str(seconds), "SKUPPER_DRAIN_ACCEPT_SECONDS": str(accept)}


def health(port):
    return ["listener", {"name": "health", "host": "127.0.0.1", "port": port, "http": True}]


def readiness(port):
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d/healthz/ready" % port,
                                    timeout=TIMEOUT) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def is_alive(port):
    with urllib.request.urlopen("http://127.0.0.1:%d/healthz" % port, timeout=TIMEOUT) as answer:
        return answer.status == 200


def is_refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), TIMEOUT).close()
    except ConnectionRefusedError:
        return True
    return False


def end(router):
    router.process.send_signal(signal.SIGTERM)
    router.log.wait("ending")


def has_ended(router):
    assert router.process.wait(TIMEOUT) == 0, router.log.lines[-20:]
    router.log.wait("ends connections=")
    return "its time is up" not in router.log.lines[router.log.find("ends connections=")]


# ------------------------------------------------------------------------------------- its end


@pytest.mark.parametrize("ending", ["the client's", "the server's"])
def test_what_is_under_way_comes_to_its_end_and_who_comes_in_time_is_served(routers, ending):
    server, port, link, status = Server(echo), free_port(), free_port(), free_port()
    at_client, at_server = ending == "the client's", ending == "the server's"
    b = routers("B", entities=[inter_router(link), connector(server.port)]
                + [health(status)] * at_server, environment=drain() if at_server else None)
    a = routers("A", entities=[link_to(link), listener(port)] + [health(status)] * at_client,
                environment=drain() if at_client else None)
    router = a if at_client else b
    half = os.urandom(200_000)
    with connect(port) as s:
        s.sendall(half[:1000])
        got = s.recv(1000, socket.MSG_WAITALL)
        wait(lambda: readiness(status)[0] == 200)
        end(router)
        assert readiness(status) == (503, "it is ending\n") and is_alive(status)
        exchange(port)
        router.log.wait("nobody new is accepted")
        if at_client:
            wait(lambda: is_refused(port))
        else:
            exchange(port)  # nobody else would serve it
        writer = threading.Thread(target=lambda: (s.sendall(half[1000:]),
                                                  s.shutdown(socket.SHUT_WR)))
        writer.start()
        got += receive_all(s)
        writer.join()
    assert got == half
    assert has_ended(router)


def test_what_others_serve_too_is_left_to_them(routers):
    link, port, servers = free_port(), free_port(), [Server(echo), Server(echo)]
    a = routers("A", entities=[inter_router(link), listener(port)])
    b = routers("B", entities=[link_to(link), connector(servers[0].port)],
                environment=drain(accept=0))
    routers("C", entities=[link_to(link), connector(servers[1].port)])
    wait_address(a, "echo", remote=2)
    wait_address(b, "echo", subscribers=1, remote=1)
    with connect(port) as s:  # by turns: the first is at one of the two, and there is no third
        with connect(port) as t:
            for c in (s, t):
                c.sendall(b"x")
                assert c.recv(1) == b"x"
            assert [server.accepted for server in servers] == [1, 1]
            end(b)
            wait_address(a, "echo", remote=1)
            for _ in range(4):
                exchange(port)
            assert [server.accepted for server in servers] == [1, 5]
            assert b.process.poll() is None
    assert has_ended(b)


@pytest.mark.parametrize("mode", ["interior", "edge"])
def test_who_dialled_it_is_with_another_before_it_ends(routers, mode):
    """As behind a Service of Kubernetes, another router comes where the connector leads. What passes
    the old one goes on there until its end, what is new does not."""
    link, port, servers = free_port(), free_port(), [Server(echo), Server(echo)]
    is_edge = mode == "edge"
    door = edge_listener(link) if is_edge else inter_router(link)
    ending = routers("A", entities=[door, connector(servers[0].port)],
                     environment=drain(accept=0))
    there = routers("B", mode=mode, entities=[
        link_to(link, role="edge" if is_edge else "inter-router"), listener(port)])
    with connect(port) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        end(ending)
        there.log.wait("dials anew, as router A ends")
        wait(lambda: is_refused(link))
        routers("C", entities=[door, connector(servers[1].port)])
        wait(lambda: exchange(port) or servers[1].accepted)
        wait(lambda: "neighbour A is gone" in "".join(there.log.lines) or is_edge)
        before = servers[0].accepted
        for _ in range(4):
            exchange(port)
        assert servers[0].accepted == before
        s.sendall(b"y")
        assert s.recv(1) == b"y"
        assert ending.process.poll() is None
    assert has_ended(ending)


def test_a_server_at_an_edge_router_is_there_while_that_moves_over(routers):
    """Known at its new interior router before it goes from the one that ends: nobody is refused."""
    middle, link, port, server = free_port(), free_port(), free_port(), Server(echo)
    routers("D", entities=[inter_router(middle), listener(port)])
    ending = routers("A", entities=[edge_listener(link), link_to(middle)],
                     environment=drain(accept=0))
    edge = routers("E", mode="edge", entities=[link_to(link, role="edge"), connector(server.port)])
    wait(lambda: not is_refused(port))
    failures, over = [], threading.Event()

    def call():
        while not over.is_set():
            try:
                exchange(port)
            except (OSError, AssertionError) as e:
                failures.append(repr(e))

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    end(ending)
    wait(lambda: is_refused(link))
    routers("C", entities=[edge_listener(link), link_to(middle)])
    edge.log.wait("container=C")
    ended = has_ended(ending)
    over.set()
    for caller in callers:
        caller.join()
    assert ended and not failures, failures


def test_it_ends_when_nobody_is_there(routers):
    a = routers("A", entities=[inter_router(free_port())], environment=drain(accept=0))
    end(a)
    assert has_ended(a)


def test_its_time_is_bounded(routers):
    server, port = Server(echo), free_port()
    a = routers("A", entities=[listener(port), connector(server.port)],
                environment=drain(seconds=1, accept=1))
    with connect(port) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        end(a)
        assert not has_ended(a)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(routers, second):
    a = routers("A", environment=drain(accept=3600))
    end(a)
    a.process.send_signal(second)
    assert a.process.wait(TIMEOUT) == 0


def test_without_the_setting_it_ends_at_once(routers):
    server, port = Server(echo), free_port()
    a = routers("A", entities=[listener(port), connector(server.port)])
    with connect(port) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        assert a.stop() == 0
    assert a.log.find("ending") is None


@pytest.mark.parametrize("name", ["SKUPPER_DRAIN_SECONDS", "SKUPPER_DRAIN_ACCEPT_SECONDS"])
@pytest.mark.parametrize("text", ["soon", "-1", "1.5", "99999999999999999999"])
def test_a_time_that_is_none_is_told(tmp_path, name, text):
    path = tmp_path / "a.json"
    path.write_text("[]")
    got = subprocess.run([SKROUTERD, "-c", str(path)], env={**os.environ, name: text},
                         capture_output=True, text=True, timeout=TIMEOUT)
    assert (got.returncode, got.stderr) == (
        2, "skrouterd: %s is '%s', which is no number of seconds up to 86400\n" % (name, text))


# ------------------------------------------------------------------------------------ readiness


def test_one_that_dials_nobody_is_ready_at_once(routers):
    status = free_port()
    routers("A", entities=[inter_router(free_port()), health(status)])
    assert readiness(status) == (200, "OK\n")


@pytest.mark.parametrize("mode, role", [("interior", "inter-router"), ("edge", "edge")])
def test_who_is_ready_serves(routers, mode, role):
    """B is known to A when the new router comes; whoever calls as soon as that one is ready is
    served, without a second attempt."""
    server, far, near = Server(echo), free_port(), free_port()
    routers("B", entities=[inter_router(far), connector(server.port)])
    a = routers("A", entities=[link_to(far), ["listener", {
        "name": "in", "host": "127.0.0.1", "port": near, "role": role}]])
    wait_address(a, "echo", remote=1)
    for name in ("R1", "R2", "R3"):
        status, port = free_port(), free_port()
        routers(name, mode=mode, entities=[link_to(near, role=role), listener(port),
                                           health(status)])
        wait(lambda: readiness(status)[0] == 200)
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as s:
            s.settimeout(TIMEOUT)
            s.sendall(b"hello")
            s.shutdown(socket.SHUT_WR)
            assert receive_all(s) == b"hello"


@pytest.mark.parametrize("peer", ["refuses", "says nothing"])
def test_a_peer_that_is_not_there_is_not_waited_for_for_ever(routers, peer):
    status, nobody = free_port(), free_port()
    with socket.socket() as s:
        if peer == "says nothing":
            s.bind(("127.0.0.1", 0))
            s.listen(16)
            nobody = s.getsockname()[1]
        routers("A", entities=[link_to(nobody), health(status)])
        if peer == "says nothing":
            code, words = readiness(status)
            assert (code, words) == (
                503, "connector to-%d has not joined the network yet\n" % nobody)
        wait(lambda: readiness(status)[0] == 200)


def test_one_that_was_ready_stays_so_when_its_link_is_lost(routers):
    link, status = free_port(), free_port()
    b = routers("B", entities=[inter_router(link)])
    a = routers("A", entities=[link_to(link), health(status)])
    wait(lambda: readiness(status)[0] == 200)
    b.kill()
    a.log.wait("neighbour B is gone")
    assert readiness(status)[0] == 200


# ------------------------------------------------------------------------------- both together


class Callers:
    """Call as a Service leads them: one of the ports in turn, each time anew, and never again."""

    def __init__(self, *ports):
        self.ports, self.calls, self.failures = list(ports), 0, []
        self.is_over = False
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True)
                        for i in range(2)]
        for t in self.threads:
            t.start()

    def _run(self, at):
        while not self.is_over:
            at += 1
            ports = self.ports
            port = ports[at % len(ports)]
            try:
                with socket.create_connection(("127.0.0.1", port), TIMEOUT) as s:
                    s.settimeout(TIMEOUT)
                    s.sendall(b"x" * 3000)
                    s.shutdown(socket.SHUT_WR)
                    assert receive_all(s) == b"x" * 3000
            except (OSError, AssertionError) as e:
                self.failures.append((port, repr(e)))
            self.calls += 1

    def more(self, count):
        until = self.calls + count
        wait(lambda: self.calls >= until)

    def end(self):
        self.is_over = True
        for t in self.threads:
            t.join(TIMEOUT)


def test_one_of_two_routers_is_replaced_and_no_call_is_lost(routers):
    """X calls both routers of the site; each of those calls the other. There are callers at the
    site, for X, and at X, for the site."""
    servers = Server(echo), Server(echo)
    links, ports = [free_port() for _ in range(3)], [free_port() for _ in range(3)]
    status, at_x = free_port(), free_port()

    def member(name, number, peers, more=()):
        return routers(name, environment=drain(), entities=[
            inter_router(links[number]), *[link_to(links[p]) for p in peers],
            listener(ports[number], "out"), connector(servers[1].port, "in"), *more])

    first, second = member("R1", 0, [1]), member("R2", 1, [0])
    x = routers("X", entities=[link_to(links[0]), link_to(links[1]), listener(at_x, "in"),
                               connector(servers[0].port, "out")])
    wait_address(x, "in", subscribers=0, remote=2)
    for r in (first, second):
        wait_address(r, "out", remote=1)
    callers, back = Callers(*ports[:2]), Callers(at_x)
    callers.more(50)
    new = member("R1-new", 2, [1], [health(status)])
    wait(lambda: readiness(status)[0] == 200)
    callers.ports = ports[:]
    callers.more(50)
    end(first)  # of which those who lead the callers hear a little later
    callers.more(20)
    callers.ports = ports[1:]
    assert has_ended(first)
    callers.more(50)
    back.more(50)
    for c in (callers, back):
        c.end()
    assert callers.failures == [] and back.failures == []
    assert new.process.poll() is None
