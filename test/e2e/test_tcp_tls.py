# SPDX-License-Identifier: Apache-2.0
"""TCP services whose clients or servers speak TLS."""

import socket
import ssl

import pytest
from certificates import make_authority, make_certificate, profile
from harness import Management, free_port, inter_router, link_to
from services import (Server, connect, connector, echo, exchange, listener, receive_all, wait)


@pytest.fixture
def certificates(tmp_path):
    make_authority(tmp_path, "ca")
    make_authority(tmp_path, "other")
    for name in ("localhost", "client"):
        make_certificate(tmp_path, "ca", name)
    make_certificate(tmp_path, "other", "stranger")
    return tmp_path


def client_context(folder, certificate=None, alpn=()):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(folder / "ca.crt")
    context.check_hostname = False
    if certificate:
        context.load_cert_chain(folder / (certificate + ".crt"), folder / (certificate + ".key"))
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def server_context(folder, name, alpn=(), demand=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / (name + ".crt"), folder / (name + ".key"))
    if alpn:
        context.set_alpn_protocols(alpn)
    if demand:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.crt")
    return context


def tls_profile(folder, name):
    return ["sslProfile", {"name": "tls", **profile(folder, name, "ca")}]


def secret(s, context, data=b"secret"):
    with context.wrap_socket(s) as t:
        t.sendall(data)
        got = b""
        while len(got) < len(data):
            got += t.recv(65536)
        assert got == data
        return t.selected_alpn_protocol()


@pytest.mark.parametrize("demand", [False, True])
def test_clients_speak_tls_to_a_listener(routers, certificates, demand):
    server, port = Server(echo), free_port()
    routers("A", entities=[tls_profile(certificates, "localhost"),
                           listener(port, sslProfile="tls", authenticatePeer=demand),
                           connector(server.port)])
    known = client_context(certificates, "client")
    secret(connect(port), known)
    secret(connect(port), known, bytes(2_000_000))
    refusals = 0
    for context in (client_context(certificates),
                    client_context(certificates, "stranger")) if demand else ():
        try:
            secret(connect(port), context)
        except (ssl.SSLError, ConnectionError):
            refusals += 1
    assert refusals == (2 if demand else 0)
    if not demand:
        secret(connect(port), client_context(certificates))


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("alpn", ["h2", "http/1.1", None])
def test_what_the_client_and_the_listener_agree_on_is_offered_to_the_server(
        routers, certificates, length, alpn):
    port, link, seen = free_port(), free_port(), []

    def serve(s):
        context = server_context(certificates, "localhost", ["http/1.1", "h2"])
        with context.wrap_socket(s, server_side=True) as t:
            seen.append(t.selected_alpn_protocol())
            t.sendall(t.recv(100))

    server = Server(serve)
    tls = tls_profile(certificates, "localhost")
    ends = [listener(port, sslProfile="tls")], [connector(server.port, sslProfile="tls",
                                                          host="localhost")]
    if length == 1:
        routers("A", entities=[tls, *ends[0], *ends[1]])
    else:
        routers("A", entities=[tls, inter_router(link), *ends[0]])
        routers("B", entities=[tls, link_to(link), *ends[1]])
    context = client_context(certificates, alpn=[alpn] if alpn else ())
    assert secret(connect(port), context) == alpn
    assert seen == [alpn]


def test_a_half_close_passes_through_tls(routers, certificates):
    got = []

    def serve(s):
        with server_context(certificates, "localhost").wrap_socket(s, server_side=True) as t:
            try:
                while data := t.recv(100):
                    got.append(data)
            finally:
                got.append(None)

    server, port = Server(serve), free_port()
    routers("A", entities=[tls_profile(certificates, "localhost"), listener(port),
                           connector(server.port, sslProfile="tls", host="localhost")])
    with connect(port) as s:
        s.sendall(b"last words")
        s.shutdown(socket.SHUT_WR)
        assert receive_all(s) == b""
    wait(lambda: got == [b"last words", None])


def test_a_server_with_the_wrong_name_is_not_spoken_to(routers, certificates):
    context = server_context(certificates, "client")  # a certificate for another name

    def serve(s):
        with context.wrap_socket(s, server_side=True) as t:
            t.sendall(t.recv(100))

    server, port = Server(serve), free_port()
    a = routers("A", entities=[
        tls_profile(certificates, "localhost"), listener(port),
        connector(server.port, sslProfile="tls", host="localhost")])
    with connect(port) as s:
        assert receive_all(s) == b""
    m = Management(a)
    (row,) = m.query("tcpConnector")
    assert row["operStatus"] == "down" and "name" in row["connectionMsg"]
    name = row["name"]
    m.request("DELETE", "io.skupper.router.tcpConnector", name=name)
    m.request("CREATE", "io.skupper.router.tcpConnector",
              {"address": "echo", "host": "localhost", "port": server.port, "sslProfile": "tls",
               "verifyHostname": False}, name=name)
    with connect(port) as s:
        s.sendall(b"trust")
        assert s.recv(100) == b"trust"
    m.close()


def test_the_connector_shows_its_certificate_to_a_server_that_demands_one(routers, certificates):
    seen = []

    def serve(s):
        context = server_context(certificates, "localhost", demand=True)
        with context.wrap_socket(s, server_side=True) as t:
            seen.append(dict(x[0] for x in t.getpeercert()["subject"])["commonName"])
            t.sendall(t.recv(100))

    server, port = Server(serve), free_port()
    routers("A", entities=[
        tls_profile(certificates, "client"), listener(port),
        connector(server.port, sslProfile="tls", host="localhost")])
    with connect(port) as s:
        s.sendall(b"who are you")
        assert s.recv(100) == b"who are you"
    assert seen == ["client"]


def test_a_profile_that_cannot_be_read_is_a_status_until_it_can(routers, certificates):
    server, port = Server(echo), free_port()
    a = routers("A", entities=[listener(port), connector(server.port)])
    m = Management(a)
    m.request("DELETE", "io.skupper.router.tcpListener", name="l-echo")
    m.request("CREATE", "io.skupper.router.tcpListener",
              {"address": "echo", "host": "127.0.0.1", "port": port, "sslProfile": "later"},
              name="l")
    (row,) = m.query("tcpListener")
    assert row["operStatus"] == "down" and "later" in row["connectionMsg"]
    m.request("CREATE", "io.skupper.router.sslProfile", profile(certificates, "localhost", "ca"),
              name="later")
    secret(connect(port), client_context(certificates))
    m.close()


def test_a_renewed_certificate_is_shown_to_new_clients(routers, certificates):
    server, port = Server(echo), free_port()
    a = routers("A", entities=[tls_profile(certificates, "client"),
                               listener(port, sslProfile="tls"), connector(server.port)])

    def name():
        with client_context(certificates).wrap_socket(connect(port)) as t:
            return dict(x[0] for x in t.getpeercert()["subject"])["commonName"]

    assert name() == "client"
    m = Management(a)
    reply = m.request("UPDATE", "io.skupper.router.sslProfile",
                      profile(certificates, "localhost", "ca"), name="tls")
    assert reply.properties["statusCode"] == 200, reply.properties
    assert name() == "localhost"
    m.close()


def test_a_client_that_never_ends_its_handshake_is_let_go(routers, certificates):
    server, port = Server(echo), free_port()
    routers("A", entities=[tls_profile(certificates, "localhost"),
                           listener(port, sslProfile="tls"), connector(server.port)])
    silent = [connect(port) for _ in range(40)]
    secret(connect(port), client_context(certificates))
    assert all(receive_all(s) == b"" for s in silent)
