# SPDX-License-Identifier: Apache-2.0
"""Telemetry of TCP services: each connection with both its ends, and each request on it."""

import http.client
import http.server
import shutil
import socket
import ssl
import subprocess
import threading

import pytest
from certificates import make_authority, make_certificate, profile
from collector import (ADDRESS, APP, CONNECTOR, CONNECTOR_ID, COUNT_L4, COUNT_L7, END,
                       ERROR_CONNECTOR, ERROR_LISTENER, HOST, IDENTITY, LATENCY, LISTENER, METHOD,
                       NAME, OCTETS, OCTETS_REVERSE, ORDINAL, PARENT, PORT, PROCESS_LATENCY,
                       PROTOCOL, PROXY_HOST, PROXY_PORT, REASON, RESULT, SOURCE_HOST, SOURCE_PORT,
                       START, STREAM, TPORT, TRACE, TYPE, Collector)
from harness import (TIMEOUT, Lines, Management, edge_listener, free_port, inter_router, link_to,
                     wait_port)
from services import Server, connect, connector, echo, listener, receive_all, reset

# Routers in a row, from the client to the server; E and F are edge routers, next to an interior one.
LAYOUTS = {"A": "Local", "AB": "0/A", "AMB": "0/A|0/M", "EAB": "0/A", "ABF": "0/A|0/B",
           "EABF": "0/A|0/B"}


def row(routers, layout, first, last, programs={}):
    """Starts them: `first` are entities of the one at the client, `last` of the one at the server."""
    entities = {name: [] for name in layout}
    for here, there in zip(layout, layout[1:]):
        port = free_port()
        at_edge = {here, there} & set("EF")
        accepting, dialling = (here, there) if here not in "EF" else (there, here)
        entities[accepting].append(edge_listener(port) if at_edge else inter_router(port))
        entities[dialling].append(link_to(port, role="edge" if at_edge else "inter-router"))
    entities[layout[0]] += first
    entities[layout[-1]] += last
    return [routers(name, mode="edge" if name in "EF" else "interior", entities=entities[name],
                    program=programs.get(name)) for name in layout]


class Flows(Collector):
    """Hears the flows of the router `name`, and is known to be heard there."""

    def __init__(self, router, name, port):
        super().__init__(router, name, parts=(".flows",))
        s = connect(port)  # told when somebody listens
        self.connection_of(s)
        s.close()

    def connection_of(self, s, claim=lambda r: True):
        """The record of a client's socket."""
        port = str(s.getsockname()[1])
        return self.wait(lambda r: r[TYPE] == TPORT and r.get(SOURCE_PORT) == port and claim(r))

    def end_of(self, s, *attributes):
        return self.connection_of(s, lambda r: END in r)

    def requests_of(self, record, count):
        """Those that have ended, once there are so many, in order."""
        def ended():
            return [r for r in self.all(APP) if r.get(PARENT) == record[IDENTITY] and END in r]

        while len(ended()) < count:
            self.take()
        return sorted(ended(), key=lambda r: int(r[IDENTITY].rpartition(":")[2]))


def seen_by(clients):
    """A server that echoes, and tells by what addresses those of its clients came that say
    something."""
    def serve(s):
        if s.recv(1, socket.MSG_PEEK):
            clients.append(s.getpeername())
            echo(s)
    return Server(serve)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_connection_is_told_with_both_its_ends(routers, layout):
    clients, port = [], free_port()
    server = seen_by(clients)
    made = row(routers, layout, [listener(port)], [connector(server.port)])
    there = Collector(made[-1], layout[-1]).wait(lambda r: r[TYPE] == CONNECTOR)
    flows = Flows(made[-1], layout[0], port)
    here = flows.wait(lambda r: r[TYPE] == LISTENER)
    with connect(port) as s:
        s.sendall(bytes(1000))
        s.shutdown(socket.SHUT_WR)
        assert len(receive_all(s)) == 1000
        mine = s.getsockname()[1]
        record = flows.end_of(s)
    assert record[PARENT] == here[IDENTITY]
    assert (record[SOURCE_HOST], record[SOURCE_PORT]) == ("127.0.0.1", str(mine))
    assert (record[OCTETS], record[OCTETS_REVERSE]) == (1000, 1000)
    assert record[TRACE] == LAYOUTS[layout]
    assert record[CONNECTOR_ID] == there[IDENTITY]
    assert [(record[PROXY_HOST], int(record[PROXY_PORT]))] == clients
    assert 0 < record[PROCESS_LATENCY] <= record[LATENCY] < record[END] - record[START]
    assert not {ERROR_CONNECTOR, ERROR_LISTENER, ORDINAL} & set(record)


def test_a_connection_is_told_while_it_lasts_and_to_collectors_that_come_later(routers):
    server, port = Server(echo), free_port()
    a, _ = row(routers, "AB", [listener(port)], [connector(server.port)])
    with connect(port) as s:
        s.sendall(bytes(1000))
        assert s.recv(1000, socket.MSG_WAITALL) == bytes(1000)
        flows = Flows(a, "A", port)
        record = flows.connection_of(s, lambda r: CONNECTOR_ID in r and PROCESS_LATENCY in r)
        assert (record[OCTETS], record[OCTETS_REVERSE]) == (1000, 1000)
        s.sendall(bytes(2000))
        assert s.recv(2000, socket.MSG_WAITALL) == bytes(2000)
        record = flows.connection_of(s, lambda r: r[OCTETS_REVERSE] == 3000)
        assert record[OCTETS] == 3000 and END not in record


def test_a_refusal_is_told_by_both_ends(routers):
    nobody, port = free_port(), free_port()
    a, _ = row(routers, "AB", [listener(port)], [connector(nobody, healthCheck=False)])
    flows = Flows(a, "A", port)
    with connect(port) as s:
        assert receive_all(s) == b""
        record = flows.end_of(s)
    assert record[ERROR_CONNECTOR] == "connect to 127.0.0.1:%d: Connection refused" % nobody
    assert record[ERROR_LISTENER] == "no server took the connection"
    assert record[TRACE] == "0/A" and CONNECTOR_ID in record and PROXY_HOST not in record


def test_a_server_that_breaks_off_later_is_told(routers):
    heard, port = threading.Event(), free_port()

    def serve(s):
        s.sendall(s.recv(100))
        heard.wait(TIMEOUT)
        reset(s)

    server = Server(serve)
    a, _ = row(routers, "AB", [listener(port)], [connector(server.port)])
    flows = Flows(a, "A", port)
    with connect(port) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        record = flows.connection_of(s, lambda r: PROCESS_LATENCY in r)
        assert ERROR_CONNECTOR not in record
        heard.set()
        with pytest.raises(ConnectionResetError):
            s.recv(1)
        record = flows.end_of(s)
    assert "reset by peer" in record[ERROR_CONNECTOR]
    assert record[ERROR_LISTENER] == "the other end was reset"


def test_the_server_that_took_a_connection_is_told_and_not_those_that_refused(routers):
    server, port = Server(echo), free_port()
    made = row(routers, "AB", [listener(port)],
               [connector(free_port(), healthCheck=False), connector(server.port)])
    there = Collector(made[1], "B").wait(
        lambda r: r[TYPE] == CONNECTOR and r[PORT] == str(server.port))
    flows = Flows(made[0], "A", port)
    management = Management(made[1])
    tried = 0
    while tried < 3:
        with connect(port) as s:
            s.sendall(b"x")
            assert s.recv(1) == b"x"
            s.shutdown(socket.SHUT_WR)
            assert receive_all(s) == b""
            record = flows.end_of(s)
        assert record[CONNECTOR_ID] == there[IDENTITY]
        assert not record.get(ERROR_CONNECTOR)
        tried = min(r["connectionsOpened"] for r in management.query("tcpConnector"))


def test_clients_with_tls_are_told_with_the_ordinal_and_those_that_fail_too(routers, tmp_path):
    make_authority(tmp_path, "ca")
    make_certificate(tmp_path, "ca", "server")
    server, port = Server(echo), free_port()
    a = routers("A", entities=[
        ["sslProfile", {"name": "tls", "ordinal": 3, "oldestValidOrdinal": 0,
                        **profile(tmp_path, "server", "ca")}],
        listener(port, sslProfile="tls"), connector(server.port)])
    flows = Collector(a, "A", parts=(".flows",))
    context = ssl.create_default_context(cafile=tmp_path / "ca.crt")

    def told():
        with context.wrap_socket(connect(port), server_hostname="127.0.0.1") as s:
            s.sendall(b"secret")
            assert s.recv(100) == b"secret"
            mine = str(s.getsockname()[1])
            return flows.wait(lambda r: r[TYPE] == TPORT and r.get(SOURCE_PORT) == mine)

    assert told()[ORDINAL] == 3
    with connect(port) as s:
        s.sendall(b"this is no TLS\r\n\r\n")
        assert receive_all(s)[:1] in (b"\x15", b"")
        mine = str(s.getsockname()[1])
    record = flows.wait(lambda r: r[TYPE] == TPORT and r.get(SOURCE_PORT) == mine and END in r)
    assert "TLS" in record[ERROR_LISTENER]


def test_each_listener_address_has_a_record_of_its_own(routers):
    low, high, port = Server(echo), Server(echo), free_port()
    a = routers("A", entities=[
        ["tcpListener", {"name": "l", "host": "127.0.0.1", "port": port,
                         "multiAddressStrategy": "priority"}],
        ["listenerAddress", {"name": "la", "address": "low", "value": 1, "listener": "l"}],
        ["listenerAddress", {"name": "lb", "address": "high", "value": 2, "listener": "l"}],
        connector(low.port, "low"), connector(high.port, "high")])
    flows = Flows(a, "A", port)
    of_high = flows.wait(lambda r: r[TYPE] == LISTENER and r[ADDRESS] == "high" and r[COUNT_L4] == 1)
    of_low = flows.wait(lambda r: r[TYPE] == LISTENER and r[ADDRESS] == "low")
    assert len(flows.all(LISTENER)) == 2
    for r in of_low, of_high:
        assert (r[NAME], r[HOST], r[PORT], r[PROTOCOL]) == ("l", "127.0.0.1", str(port), "tcp")
        assert r[COUNT_L7] == 0
    assert of_low[COUNT_L4] == 0
    with connect(port) as s:
        assert flows.connection_of(s)[PARENT] == of_high[IDENTITY]
        management = Management(a)
        management.request("DELETE", "io.skupper.router.listenerAddress", name="lb")
        flows.wait(lambda r: r[IDENTITY] == of_high[IDENTITY] and END in r)
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    management.request("DELETE", "io.skupper.router.tcpListener", name="l")
    flows.wait(lambda r: r[IDENTITY] == of_low[IDENTITY] and END in r)
    management.close()


# ------------------------------------------------------------------------------------------ HTTP

class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._answer(404 if self.path == "/none" else 200, b"page" * 25)

    def do_POST(self):
        self._answer(201, self.rfile.read(int(self.headers["Content-Length"]))[:10])

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def pages():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def ask(client, method, path, **kwargs):
    client.request(method, path, **kwargs)
    response = client.getresponse()
    return response.status, len(response.read())


WITH_EDGES = ["AB", "AMB", "EABF"]


@pytest.mark.parametrize("layout", WITH_EDGES)
@pytest.mark.parametrize("observer", ["auto", "http1"])
def test_each_request_on_a_connection_is_told(routers, pages, layout, observer):
    port = free_port()
    made = row(routers, layout, [listener(port, observer=observer)], [connector(pages)])
    flows = Flows(made[-1], layout[0], port)
    client = http.client.HTTPConnection("127.0.0.1", port, TIMEOUT)
    assert ask(client, "GET", "/") == (200, 100)
    assert ask(client, "POST", "/form", body=b"x" * 5000) == (201, 10)
    assert ask(client, "GET", "/none", headers={"X-Forwarded-For": "192.0.2.9, 10.0.0.1"}) == (
        404, 100)
    connection = flows.connection_of(client.sock)
    get, post, none = flows.requests_of(connection, 3)
    client.close()
    for r, wanted in ((get, ("GET", "200", "OK", 0, 100)),
                      (post, ("POST", "201", "Created", 5000, 10)),
                      (none, ("GET", "404", "Not Found", 0, 100))):
        assert (r[METHOD], r[RESULT], r[REASON], r[OCTETS], r[OCTETS_REVERSE]) == wanted
        assert r[PROTOCOL] == "HTTP/1.1" and STREAM not in r
        assert 0 < r[LATENCY] <= r[END] - r[START]
        assert connection[START] <= r[START]
    assert none[SOURCE_HOST] == "192.0.2.9" and SOURCE_HOST not in get
    flows.wait(lambda r: r[TYPE] == LISTENER and r[COUNT_L7] == 3)


def test_a_request_that_is_cut_short_has_what_the_existing_router_tells_of_one(routers):
    server, port = Server(lambda s: s.recv(1000)), free_port()
    a = routers("A", entities=[listener(port), connector(server.port)])
    flows = Flows(a, "A", port)
    with connect(port) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert receive_all(s) == b""
        connection = flows.connection_of(s)
    record, = flows.requests_of(connection, 1)
    assert set(record) == {TYPE, IDENTITY, PARENT, START, END, PROTOCOL, OCTETS, METHOD,
                           OCTETS_REVERSE}
    assert (record[PROTOCOL], record[METHOD], record[OCTETS], record[OCTETS_REVERSE]) == (
        "HTTP/1.1", "GET", 0, 0)


def nghttp(*words):
    """Requests on one connection of HTTP/2: stream, status and size of each."""
    if not shutil.which("nghttp"):
        pytest.skip("nghttp is not installed (script/setup does that)")
    done = subprocess.run(["nghttp", "-n", "-s", *map(str, words)], capture_output=True, text=True,
                          timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    table = done.stdout[done.stdout.index("request path"):].split("\n")[1:]
    rows = [line.split() for line in table if line]
    return sorted((int(r[0]), r[4], int(r[5])) for r in rows)


@pytest.fixture
def nginx(tmp_path):
    """The port where one serves files of 900 octets over HTTP/2 without TLS."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if not program:
        pytest.skip("nginx is not installed (script/setup does that)")
    port = free_port()
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode() * 900)
    (tmp_path / "nginx.conf").write_text("""
        daemon off; pid %(dir)s/pid; error_log stderr; worker_processes 1; user root;
        events { worker_connections 64; }
        http { access_log off; server { listen 127.0.0.1:%(port)d http2; root %(dir)s; } }
    """ % {"dir": tmp_path, "port": port})
    process = subprocess.Popen([program, "-p", tmp_path, "-c", tmp_path / "nginx.conf"], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    Lines(process.stdout)
    wait_port(port)
    yield port
    process.terminate()
    process.wait(TIMEOUT)


@pytest.mark.parametrize("layout", WITH_EDGES)
@pytest.mark.parametrize("observer", ["auto", "http2"])
def test_each_stream_of_http2_is_told(routers, nginx, tmp_path, layout, observer):
    port = free_port()
    made = row(routers, layout, [listener(port, observer=observer)], [connector(nginx)])
    flows = Flows(made[-1], layout[0], port)
    url = "http://127.0.0.1:%d/" % port
    said = nghttp(url + "a", url + "b", url + "none")
    assert [status for _, status, _ in said] == ["200", "200", "404"]
    parent = flows.wait(lambda r: r[TYPE] == APP)[PARENT]
    connection = flows.wait(lambda r: r[TYPE] == TPORT and r[IDENTITY] == parent)
    requests = flows.requests_of(connection, 3)
    assert [(r[STREAM], r[RESULT], r[OCTETS_REVERSE]) for r in requests] == said
    for r in requests:
        assert (r[PROTOCOL], r[METHOD], r[OCTETS]) == ("HTTP/2", "GET", 0)
        assert 0 < r[LATENCY] <= r[END] - r[START]
    (tmp_path / "form").write_bytes(bytes(900))
    (stream, status, size), = nghttp("-d", tmp_path / "form", url + "a")
    post = flows.wait(lambda r: r[TYPE] == APP and r[METHOD] == "POST" and END in r)
    assert (post[STREAM], post[RESULT], post[OCTETS_REVERSE]) == (stream, status, size)
    assert post[OCTETS] == 900
    flows.wait(lambda r: r[TYPE] == LISTENER and r[COUNT_L7] == 4)


def test_what_is_not_http_passes_as_it_is_and_no_request_is_told(routers, pages):
    server, port, other = Server(echo), free_port(), free_port()
    a = routers("A", entities=[listener(port, observer="http1"), connector(server.port),
                               listener(other, "pages"), connector(pages, "pages")])
    flows = Flows(a, "A", port)
    talk = b"\x00\x01 not a request \xff" * 10_000
    with connect(port) as s:
        s.sendall(talk)
        s.shutdown(socket.SHUT_WR)
        assert receive_all(s) == talk
        assert flows.end_of(s)[OCTETS_REVERSE] == len(talk)
    client = http.client.HTTPConnection("127.0.0.1", other, TIMEOUT)
    assert ask(client, "GET", "/") == (200, 100)
    flows.requests_of(flows.connection_of(client.sock), 1)
    client.close()
    assert len(flows.all(APP)) == 1
    a.log.wait("is not looked into")


def test_nothing_is_looked_into_when_told_so_or_while_nobody_listens(routers, pages):
    port, other = free_port(), free_port()
    a = routers("A", entities=[listener(port), connector(pages),
                               listener(other, "unseen", observer="none"),
                               connector(pages, "unseen")])
    connect(port).close()
    early = http.client.HTTPConnection("127.0.0.1", port, TIMEOUT)
    assert ask(early, "GET", "/") == (200, 100)
    flows = Flows(a, "A", port)
    unseen = http.client.HTTPConnection("127.0.0.1", other, TIMEOUT)
    late = http.client.HTTPConnection("127.0.0.1", port, TIMEOUT)
    for client in early, unseen, late:
        assert ask(client, "GET", "/") == (200, 100)
    flows.requests_of(flows.connection_of(late.sock), 1)
    management = Management(a)
    reply = management.request("UPDATE", "io.skupper.router.tcpListener", {"observer": "none"},
                               name="l-echo")
    assert reply.properties["statusCode"] == 200
    management.close()
    later = http.client.HTTPConnection("127.0.0.1", port, TIMEOUT)
    assert ask(later, "GET", "/") == (200, 100)
    assert ask(late, "GET", "/") == (200, 100)  # is looked into already
    flows.requests_of(flows.connection_of(late.sock), 2)
    for client in early, unseen, late, later:
        assert flows.connection_of(client.sock)
        client.close()
    assert len(flows.all(APP)) == 2


# --------------------------------------------------------------------------- the existing router

# An edge router of theirs says nothing of connections at its connector, not to its like either.
@pytest.mark.parametrize("layout,theirs", [
    ("AB", "at the client"), ("AB", "at the server"), ("EA", "at the client"),
    ("EA", "at the server"), ("AF", "at the client")])
def test_records_of_a_connection_with_the_existing_router_at_one_end(
        routers, peer_program, layout, theirs):
    clients, port = [], free_port()
    server = seen_by(clients)
    peer = layout[0 if theirs == "at the client" else -1]
    made = row(routers, layout, [listener(port)], [connector(server.port)], {peer: peer_program})
    there = Collector(made[-1], layout[-1]).wait(lambda r: r[TYPE] == CONNECTOR)
    flows = Flows(made[0], layout[0], port)
    here = flows.wait(lambda r: r[TYPE] == LISTENER)
    with connect(port) as s:
        s.sendall(bytes(1000))
        s.shutdown(socket.SHUT_WR)
        assert len(receive_all(s)) == 1000
        record = flows.end_of(s)
    assert record[PARENT] == here[IDENTITY]
    assert (record[OCTETS], record[OCTETS_REVERSE]) == (1000, 1000)
    assert record[SOURCE_HOST] == "127.0.0.1"
    assert record[TRACE] == ("Local" if layout[0] == "E" else "0/" + layout[0])
    assert record[CONNECTOR_ID] == there[IDENTITY]
    assert [(record[PROXY_HOST], int(record[PROXY_PORT]))] == clients
    assert 0 < record[PROCESS_LATENCY] and 0 < record[LATENCY]
    assert ERROR_CONNECTOR not in record


@pytest.mark.parametrize("theirs", ["at the client", "at the server"])
def test_a_refusal_with_the_existing_router_at_one_end(routers, peer_program, theirs):
    port, nobody = free_port(), free_port()
    peer = "A" if theirs == "at the client" else "B"
    ours = {} if peer == "B" else {"healthCheck": False}
    a, _ = row(routers, "AB", [listener(port)], [connector(nobody, **ours)], {peer: peer_program})
    flows = Flows(a, "A", port)
    with connect(port) as s:
        assert receive_all(s) == b""
        record = flows.end_of(s)
    assert "refused" in record[ERROR_CONNECTOR]
    assert CONNECTOR_ID in record
