# SPDX-License-Identifier: Apache-2.0
"""TCP services between routers of both makes: the existing one at the listener's end and at the
connector's, with interior and edge routers, and with either make on the way.

They run when PEER_SKROUTERD names a program of the existing router. The listener is at the first
router of a layout, the connector at the last one (see mixed.py for how a layout is written).
"""

import hashlib
import os
import socket
import threading

import pytest
from certificates import make_authority, make_certificate, profile
from harness import PEER, TIMEOUT, Management, free_port
from mixed import Network
from services import (Server, connect, connector, echo, exchange, listener, receive_all, reset,
                      wait)
from test_tcp_tls import client_context, secret, server_context

pytestmark = pytest.mark.skipif(
    not PEER, reason="PEER_SKROUTERD does not name a program of the existing router")

LAYOUTS = {
    "ours listens": ("op", "01"),
    "it listens": ("po", "01"),
    "ours listens, it dials": ("op", "10"),
    "it listens, ours between": ("pop", "01 21"),
    "ours listens, it between": ("opo", "01 21"),
    "our edge listens": ("Op", "01"),
    "its edge listens": ("Po", "01"),
    "our edge connects": ("pO", "10"),
    "its edge connects": ("oP", "10"),
    "our edge listens, its edge connects": ("OpoP", "01 12 32"),
    "its edge listens, our edge connects": ("PopO", "01 12 32"),
}
ALL = [(name, "2") for name in LAYOUTS] + [
    (name, "0") for name in ("ours listens", "it listens")]


@pytest.fixture(scope="module", params=ALL, ids=["%s, %s data connections" % p for p in ALL])
def network(request, tmp_path_factory):
    layout, data = request.param
    made = Network(tmp_path_factory.mktemp("network"), *LAYOUTS[layout], data=data)
    yield made
    made.stop()


@pytest.fixture
def own_network(tmp_path):
    """For tests that end routers."""
    made = []

    def make(kinds, links, **kwargs):
        made.append(Network(tmp_path, kinds, links, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.stop()


class Services:
    """Listeners and connectors, made by management and taken away in the end."""

    def __init__(self, network):
        self.network, self.made, self.managements = network, [], {}

    def management(self, node):
        if node not in self.managements:
            self.managements[node] = Management(node)
        return self.managements[node]

    def create(self, node, entity):
        kind, attributes = entity
        reply = self.management(node).request("CREATE", "io.skupper.router." + kind, attributes,
                                              name=attributes["name"])
        assert reply.properties["statusCode"] == 201, reply.properties
        self.made.append((node, kind, attributes["name"]))

    def delete(self, node, kind, name):
        self.made.remove((node, kind, name))
        reply = self.management(node).request("DELETE", "io.skupper.router." + kind, name=name)
        assert reply.properties["statusCode"] == 204, reply.properties

    def connect(self, node, address, server, **attributes):
        entity = connector(server.port, address, **attributes)
        self.create(node, entity)
        return entity[1]["name"]

    def listen(self, node, address, wait_for=1, **attributes):
        """The port, once every interior router knows of a connector."""
        port = free_port()
        self.create(node, listener(port, address, **attributes))
        for n in self.network.running() if wait_for else ():
            n.wait_known([address])
        return port

    def close(self):
        for node, kind, name in reversed(self.made[:]):
            if node.process.poll() is None:
                self.delete(node, kind, name)
        for m in self.managements.values():
            m.close()


@pytest.fixture
def services(network):
    made = Services(network)
    yield made
    made.close()


@pytest.fixture
def address(request):
    return request.node.name.split("[")[0]


def service(services, address, serve=echo, **on_listener):
    """A listener at the first router, a connector at the last; the server and the port."""
    server = Server(serve)
    services.connect(services.network.nodes[-1], address, server)
    return server, services.listen(services.network.nodes[0], address, **on_listener)


def test_what_is_sent_comes_back_and_a_half_close_is_one(services, address):
    _, port = service(services, address)
    exchange(port)
    exchange(port, os.urandom(3_000_000))
    exchange(port, b"")


def test_the_server_may_speak_first_and_end_first(services, address):
    got = []

    def serve(s):
        s.sendall(b"welcome")
        s.shutdown(socket.SHUT_WR)
        got.append(receive_all(s))

    _, port = service(services, address, serve)
    with connect(port) as s:
        assert receive_all(s) == b"welcome"
        s.sendall(b"after your end")
        s.shutdown(socket.SHUT_WR)
        wait(lambda: got == [b"after your end"])


def sum_of(data):
    return hashlib.sha256(data).hexdigest()


def test_large_transfers_both_ways_at_once_arrive_whole(services, address):
    size, sums = 16 << 20, []
    down, up = (os.urandom(1 << 20) * (size >> 20) for _ in range(2))

    def serve(s):
        writer = threading.Thread(target=s.sendall, args=(down,))
        writer.start()
        sums.append(sum_of(receive_all(s)))
        writer.join()
        s.shutdown(socket.SHUT_WR)

    _, port = service(services, address, serve)
    with connect(port) as s:
        writer = threading.Thread(target=lambda: (s.sendall(up), s.shutdown(socket.SHUT_WR)))
        writer.start()
        got = receive_all(s)
        writer.join()
    assert sum_of(got) == sum_of(down)
    assert sums == [sum_of(up)]


def send_until_held(s):
    """As much as is taken, until nothing has been for a while; how much, and its sum."""
    count, summed, block = 0, hashlib.sha256(), os.urandom(1 << 16)
    s.settimeout(2)
    try:
        while count < 64 << 20:
            sent = s.send(block)
            summed.update(block[:sent])
            count += sent
    except TimeoutError:
        pass
    s.settimeout(TIMEOUT)
    s.shutdown(socket.SHUT_WR)
    return count, summed.hexdigest()


@pytest.mark.parametrize("who", ["client", "server"])
def test_who_does_not_read_holds_the_sender_and_nobody_else(services, address, who):
    """A window of 1 MB, and what two sockets hold. When it is read at last, all of it is there."""
    held, go_on, result = threading.Event(), threading.Event(), []

    def hold(s):
        result.append(send_until_held(s))
        held.set()

    def read(s):
        held.wait(TIMEOUT)
        go_on.wait(TIMEOUT)
        result.append(sum_of(receive_all(s)))

    def serve(s):
        kind = s.recv(1)
        if kind == b"e":
            echo(s)
        else:
            (read if who == "server" else hold)(s)

    _, port = service(services, address, serve)
    with connect(port) as s:
        s.sendall(b"s")
        worker = threading.Thread(target=hold if who == "server" else read, args=(s,))
        worker.start()
        assert held.wait(TIMEOUT)
        count, sent = result[0]
        assert 1 << 20 <= count < 32 << 20
        for _ in range(5):
            with connect(port) as other:
                other.sendall(b"e" + b"quick")
                other.shutdown(socket.SHUT_WR)
                assert receive_all(other) == b"quick"
        go_on.set()
        worker.join(TIMEOUT)
        wait(lambda: len(result) == 2)
    assert result[1] == sent


def is_over(s):
    """The other end is gone: how this one hears of it is the business of its router."""
    try:
        while s.recv(1 << 16):
            pass
        while True:
            s.sendall(b"x")
    except TimeoutError:
        return False
    except (ConnectionResetError, BrokenPipeError):
        return True


def test_a_reset_of_the_server_ends_the_client(services, address):
    def serve(s):
        s.recv(100)
        reset(s)

    _, port = service(services, address, serve)
    with connect(port) as s:
        s.sendall(b"go")
        assert is_over(s)


def test_a_reset_of_the_client_ends_the_server(services, address):
    ends = []

    def serve(s):
        s.sendall(b"ready")
        ends.append(is_over(s))

    _, port = service(services, address, serve)
    s = connect(port)
    assert s.recv(100) == b"ready"
    reset(s)
    wait(lambda: ends)
    assert ends == [True]


def test_a_server_that_speaks_first_is_heard_every_time(services, address):
    def serve(s):
        s.sendall(b"ready")
        is_over(s)

    _, port = service(services, address, serve)
    for _ in range(300):
        with connect(port) as s:
            assert s.recv(100) == b"ready"
            reset(s)


def test_a_server_that_refuses_ends_the_client_until_it_is_back(services, address):
    server, port = service(services, address)
    exchange(port)
    server.close()
    with connect(port) as s:
        assert receive_all(s) == b""
    again = Server(echo, server.port)
    wait_serves(port)
    again.close()


def wait_serves(port):
    """Until connections are answered: while routers learn that it is so, they are closed at once,
    or refused."""
    def answers():
        with connect(port) as s:
            try:
                s.sendall(b"x")
                return s.recv(1) == b"x"
            except (ConnectionResetError, BrokenPipeError):
                return False

    wait(answers)


def test_without_a_connector_there_is_no_socket(services, address):
    first, last = services.network.nodes[0], services.network.nodes[-1]
    port = services.listen(first, address, wait_for=0)
    assert is_refused(port)
    server = Server(echo)
    name = services.connect(last, address, server)
    wait_serves(port)
    services.delete(last, "tcpConnector", name)
    wait(lambda: is_refused(port))
    services.connect(last, address, server)
    wait_serves(port)


def is_refused(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        return False
    except ConnectionRefusedError:
        return True


def hold_one(port):
    s = connect(port)
    s.sendall(b"x")
    assert s.recv(1) == b"x"
    return s


@pytest.mark.parametrize("kind", ["tcpListener", "tcpConnector"])
def test_deleting_an_end_ends_its_connections(services, address, kind):
    _, port = service(services, address)
    s = hold_one(port)
    node = services.network.nodes[0 if kind == "tcpListener" else -1]
    name = next(name for n, k, name in services.made if k == kind)
    services.delete(node, kind, name)
    assert is_over(s)


def test_connections_are_closed_at_both_ends_when_all_is_over(services, address):
    ends = []

    def serve(s):
        echo(s)
        ends.append(s.recv(1))

    _, port = service(services, address, serve)
    for _ in range(100):
        exchange(port, b"short")
    wait(lambda: len(ends) == 100)
    for node, kind in ((services.network.nodes[0], "tcpListener"),
                       (services.network.nodes[-1], "tcpConnector")):
        management = services.management(node)

        def is_empty():
            row = next(r for r in management.query(kind) if r["address"] == address)
            # The existing connector counts its own consumer as a connection.
            return row["connectionsOpened"] - row["connectionsClosed"] <= (not node.is_ours)

        wait(is_empty)


def counts(*servers):
    return [s.accepted for s in servers]


def test_connectors_of_one_router_share_the_connections(services, address):
    servers = Server(echo), Server(echo)
    for s in servers:
        services.connect(services.network.nodes[-1], address, s)
    port = services.listen(services.network.nodes[0], address)
    wait_serves(port)
    held = [hold_one(port) for _ in range(8)]
    assert min(counts(*servers)) >= 3
    for s in held:
        s.close()


def test_connectors_at_both_ends_share_the_connections(services):
    """Balanced: by what is open, so neither end has all of them."""
    address, servers = "balanced/tcp", (Server(echo), Server(echo))
    first, last = services.network.nodes[0], services.network.nodes[-1]
    for node, server in ((first, servers[0]), (last, servers[1])):
        services.connect(node, address, server)
    port = services.listen(first, address)
    first.wait_elsewhere(address)
    held = [hold_one(port) for _ in range(12)]
    assert min(counts(*servers)) >= 2
    for s in held:
        s.close()


def test_closest_stays_at_the_listeners_router(services):
    """To an interior router a consumer at one of its edges is as near as one of its own; to an
    existing edge router one behind its interior is, too."""
    address, servers = "closest/tcp", (Server(echo), Server(echo))
    first, last = services.network.nodes[0], services.network.nodes[-1]
    for node, server in ((first, servers[0]), (last, servers[1])):
        services.connect(node, address, server)
    port = services.listen(first, address)
    first.wait_elsewhere(address)
    for _ in range(6):
        exchange(port)
    is_alone = first.is_ours if first.is_edge else last not in services.network.edges_of(first)
    assert counts(*servers) == [6, 0] if is_alone else sum(counts(*servers)) == 6


@pytest.mark.parametrize("strategy", ["priority", "weighted"])
def test_a_listener_with_several_addresses_chooses_one(services, address, strategy):
    first, last = services.network.nodes[0], services.network.nodes[-1]
    low, high = Server(lambda s: s.sendall(b"low")), Server(lambda s: s.sendall(b"high"))
    names = [services.connect(last, address + strategy + a, s)
             for a, s in (("low", low), ("high", high))]
    port, name = free_port(), "l-" + strategy
    services.create(first, ["tcpListener", {"name": name, "host": "127.0.0.1", "port": port,
                                            "multiAddressStrategy": strategy}])
    for a, value in (("low", 1), ("high", 3)):
        services.create(first, ["listenerAddress", {
            "name": "%s-%s" % (name, a), "address": address + strategy + a, "value": value,
            "listener": name}])
    for n in services.network.running():
        n.wait_known([address + strategy + a for a in ("low", "high")])
    wait(lambda: answer(port) == b"high")
    got = [answer(port) for _ in range(10 if strategy == "priority" else 100)]
    if strategy == "priority":
        assert got == [b"high"] * 10
    else:
        assert 5 <= got.count(b"low") <= 60
    services.delete(last, "tcpConnector", names[1])
    wait(lambda: answer(port) == b"low")
    if strategy == "priority":
        wait(lambda: [answer(port) for _ in range(5)] == [b"low"] * 5)


def answer(port):
    with connect(port) as s:
        try:
            return receive_all(s)
        except ConnectionResetError:
            return b""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    make_authority(folder, "ca")
    make_certificate(folder, "ca", "localhost")
    make_certificate(folder, "ca", "client")
    return folder


def with_profile(services, node, certificates, name):
    services.create(node, ["sslProfile", {"name": "tcp-" + name,
                                          **profile(certificates, name, "ca")}])
    return "tcp-" + name


def test_clients_speak_tls_to_the_listener(services, address, certificates):
    tls = with_profile(services, services.network.nodes[0], certificates, "localhost")
    _, port = service(services, address, sslProfile=tls, authenticatePeer=True)
    context = client_context(certificates, "client")
    secret(connect(port), context)
    secret(connect(port), context, bytes(2_000_000))


@pytest.mark.parametrize("alpn", ["h2", "http/1.1", None])
def test_what_the_client_and_the_listener_agree_on_is_offered_to_the_server(
        services, address, certificates, alpn):
    seen = []

    def serve(s):
        context = server_context(certificates, "localhost", ["http/1.1", "h2"])
        with context.wrap_socket(s, server_side=True) as t:
            seen.append(t.selected_alpn_protocol())
            while data := t.recv(65536):
                t.sendall(data)

    first, last = services.network.nodes[0], services.network.nodes[-1]
    server, address = Server(serve), "%s-%s" % (address, alpn)
    tls = [with_profile(services, n, certificates, "localhost") for n in (first, last)]
    services.connect(last, address, server, sslProfile=tls[1], host="localhost")
    port = services.listen(first, address, sslProfile=tls[0])
    context = client_context(certificates, alpn=[alpn] if alpn else ())
    assert secret(connect(port), context, os.urandom(1_000_000)) == alpn
    assert seen == [alpn]


# What ends while connections are open.


KILLED = [("op", "01", 1), ("op", "01", 0), ("po", "01", 1), ("po", "01", 0),
          ("opo", "01 21", 1), ("pop", "01 21", 1), ("opo", "01 21", 2), ("pop", "01 21", 2),
          ("opo", "01 21", 0), ("pop", "01 21", 0),
          ("OpoP", "01 12 32", 1), ("OpoP", "01 12 32", 2), ("OpoP", "01 12 32", 3),
          ("PopO", "01 12 32", 1), ("PopO", "01 12 32", 2), ("PopO", "01 12 32", 3)]


@pytest.mark.parametrize("kinds, links, killed", KILLED)
def test_the_death_of_a_router_ends_its_connections_and_they_come_again(
        own_network, address, kinds, links, killed):
    ends = []

    def serve(s):
        s.sendall(s.recv(1))
        ends.append(is_over(s))

    network, server, port = own_network(kinds, links), Server(serve), free_port()
    first, last, dead = network.nodes[0], network.nodes[-1], network.nodes[killed]
    services = Services(network)
    services.connect(last, address, server)
    services.create(first, listener(port, address))
    for n in network.running():
        n.wait_known([address])
    s = hold_one(port)
    dead.config += [connector(server.port, address)] * (dead is last)
    dead.config += [listener(port, address)] * (dead is first)
    dead.kill()
    if dead is not first:
        assert is_over(s)
    wait(lambda: ends)
    assert ends == [True]
    dead.start()
    wait_serves(port)
