# SPDX-License-Identifier: Apache-2.0
"""TCP services when something is wrong: what is said, that others are served, and that it ends by
itself when the cause goes away."""

import os
import pathlib
import shutil
import socket
import ssl
import threading
import time

import pytest
from certificates import make_authority, make_certificate, profile
from harness import SANITIZED, Management, free_port, inter_router, link_to
from services import (Server, connect, connector, echo, exchange, listener, receive_all, wait)
from test_tcp_tls import client_context, secret, server_context


def status(router, kind, name):
    m = Management(router)
    row = next(r for r in m.query(kind) if r["name"] == name)
    m.close()
    return row["operStatus"], row["connectionMsg"]


def wait_status(router, kind, name, oper, words=""):
    told = []

    def is_told():
        told[:] = status(router, kind, name)
        return told[0] == oper and words in told[1]

    wait(is_told)
    return told[1]


# ------------------------------------------------------------------------------------------ names

@pytest.fixture
def names(tmp_path, monkeypatch):
    """Sets what names mean to the routers that are started from now on, and to those as well."""
    found = [p for p in pathlib.Path("/usr/lib").glob("*/libnss_wrapper.so*")]
    if not found:
        pytest.skip("libnss-wrapper is not installed (script/setup does that)")
    if SANITIZED:
        pytest.skip("a sanitizer must be the first library")
    hosts = tmp_path / "hosts"

    def say(**meaning):
        text = "".join("%s %s\n" % (address, name.replace("_", "-"))
                       for name, addresses in meaning.items() for address in addresses)
        new = tmp_path / "hosts.new"
        new.write_text(text)
        new.replace(hosts)

    say()
    monkeypatch.setenv("LD_PRELOAD", str(found[0]))
    monkeypatch.setenv("NSS_WRAPPER_HOSTS", str(hosts))
    return say


def test_a_listener_s_name_that_does_not_resolve_is_a_status_until_it_does(routers, names):
    port, other, server = free_port(), free_port(), Server(echo)
    a = routers("A", entities=[
        listener(port, "far", host="here-later"), connector(server.port, "far"),
        listener(other), connector(server.port)])
    words = wait_status(a, "tcpListener", "l-far", "down", "cannot be looked up")
    assert "here-later" in words
    exchange(other)
    names(here_later=["127.0.0.1", "127.0.0.2"])
    exchange(port)
    exchange(port, host="127.0.0.2")
    assert status(a, "tcpListener", "l-far") == ("up", "")


def test_a_connector_s_name_that_does_not_resolve_is_a_status_until_it_does(routers, names):
    port, server = free_port(), Server(echo)
    a = routers("A", entities=[listener(port), connector(server.port, host="there-later")])
    with connect(port) as s:
        assert receive_all(s) == b""
    name = "c-echo-%d" % server.port
    words = wait_status(a, "tcpConnector", name, "down", "look up")
    assert "there-later" in words
    names(there_later=["127.0.0.1"])
    exchange(port)
    assert status(a, "tcpConnector", name) == ("up", "")


@pytest.mark.parametrize("addresses", [["127.0.0.2", "127.0.0.3", "127.0.0.1"],
                                       ["127.0.0.2", "::1"], ["::1", "127.0.0.1"]])
def test_all_addresses_of_a_name_are_tried(routers, names, addresses):
    port = free_port()
    family = socket.AF_INET6 if addresses[-1] == "::1" else socket.AF_INET
    server = socket.create_server((addresses[-1], 0), family=family)
    names(many=addresses)
    threading.Thread(target=lambda: echo(server.accept()[0]), daemon=True).start()
    a = routers("A", entities=[listener(port), connector(server.getsockname()[1], host="many")])
    exchange(port)
    assert status(a, "tcpConnector", "c-echo-%d" % server.getsockname()[1]) == ("up", "")


# ----------------------------------------------------------------------------------- certificates

@pytest.fixture
def certificates(tmp_path):
    make_authority(tmp_path, "ca")
    make_authority(tmp_path, "other")
    make_certificate(tmp_path, "ca", "localhost")
    make_certificate(tmp_path, "other", "stranger")
    make_certificate(tmp_path, "ca", "spare")
    return tmp_path


def spoil(path, how):
    """Makes a file missing, or another one's; returns what mends it."""
    good = path.with_suffix(path.suffix + ".good")
    path.rename(good)
    if how == "another":
        shutil.copy(path.parent / ("spare" + path.suffix), path)
    return lambda: good.replace(path)


@pytest.mark.parametrize("file,how,words", [
    ("localhost.crt", "missing", "localhost.crt"), ("localhost.key", "missing", "localhost.key"),
    ("ca.crt", "missing", "ca.crt"), ("localhost.key", "another", "key")])
@pytest.mark.parametrize("kind", ["tcpListener", "tcpConnector"])
def test_files_that_are_missing_or_do_not_fit_are_a_status_until_they_are_mended(
        routers, certificates, kind, file, how, words):
    """The profile was good when it was made."""
    port, good, plain = free_port(), free_port(), Server(echo)

    def serve(s):
        with server_context(certificates, "localhost").wrap_socket(s, server_side=True) as t:
            t.sendall(t.recv(100))

    tls = ["sslProfile", {"name": "tls", **profile(certificates, "localhost", "ca")}]
    server = plain if kind == "tcpListener" else Server(serve)
    bad = {"tcpListener": listener(port, "bad"), "tcpConnector": connector(server.port, "bad")}
    bad[kind][1].update(sslProfile="tls", host="localhost")
    name = bad[kind][1]["name"]
    a = routers("A", entities=[tls, listener(good), connector(plain.port)])
    mend = spoil(certificates / file, how)
    m = Management(a)
    for type_, attributes in bad.values():
        reply = m.request("CREATE", "io.skupper.router." + type_, attributes)
        assert reply.properties["statusCode"] == 201, reply.properties
    m.close()
    text = wait_status(a, kind, name, "down", words)
    assert text.startswith("sslProfile 'tls'"), text
    exchange(good)
    mend()
    if kind == "tcpListener":
        secret(connect(port), client_context(certificates))
    else:
        with connect(port) as s:
            s.sendall(b"mended")
            assert s.recv(100) == b"mended"
    assert status(a, kind, name) == ("up", "")


@pytest.mark.parametrize("mended_by", ["server", "file"])
def test_a_server_of_another_authority_is_a_status_until_it_fits(
        routers, certificates, mended_by):
    shown = {"name": "stranger"}
    used = certificates / "trusted.crt"
    shutil.copy(certificates / "ca.crt", used)

    def serve(s):
        with server_context(certificates, shown["name"]).wrap_socket(s, server_side=True) as t:
            t.sendall(t.recv(100))

    server, port = Server(serve), free_port()
    a = routers("A", entities=[
        ["sslProfile", {"name": "tls", "caCertFile": str(used)}], listener(port),
        connector(server.port, sslProfile="tls", host="localhost", verifyHostname=False)])
    with connect(port) as s:
        assert receive_all(s) == b""
    name = "c-echo-%d" % server.port
    wait_status(a, "tcpConnector", name, "down", "certificate")
    if mended_by == "server":
        shown["name"] = "localhost"
    else:
        shutil.copy(certificates / "other.crt", used)
    with connect(port) as s:
        s.sendall(b"now it fits")
        assert s.recv(100) == b"now it fits"
    assert status(a, "tcpConnector", name) == ("up", "")


def test_no_client_takes_a_server_out_by_the_protocol_it_asks_for(routers, certificates):
    """The server hangs up on who offers h2."""
    context = server_context(certificates, "localhost")

    def serve(s):
        hello = b""
        while len(hello) < 5 or len(hello) < 5 + int.from_bytes(hello[3:5], "big"):
            hello = s.recv(4096, socket.MSG_PEEK)
        if b"\x02h2" in hello:
            return
        with context.wrap_socket(s, server_side=True) as t:
            while data := t.recv(100):
                t.sendall(data)

    server, port = Server(serve), free_port()
    a = routers("A", entities=[
        ["sslProfile", {"name": "tls", **profile(certificates, "localhost", "ca")}],
        listener(port, sslProfile="tls"),
        connector(server.port, sslProfile="tls", host="localhost")])
    for _ in range(5):
        with pytest.raises((ssl.SSLError, OSError, AssertionError)):
            with client_context(certificates, alpn=["h2"]).wrap_socket(connect(port)) as t:
                t.sendall(b"x")
                assert t.recv(1) == b"x"
        secret(connect(port), client_context(certificates))
    assert a.log.find("not listening") is None


# ---------------------------------------------------------------------------------------- servers

class Silent:
    """A server that never accepts, with a queue that is full: nobody is answered."""

    def __init__(self):
        self.port = free_port()
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", self.port))
        self.socket.listen(0)
        self.queue = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", self.port))
            self.queue.append(s)

    def close(self):
        for s in [self.socket, *self.queue]:
            s.close()


@pytest.mark.parametrize("apart", [False, True])
def test_a_server_that_does_not_answer_in_time_is_passed_over(routers, apart):
    silent, server, port, link = Silent(), Server(echo), free_port(), free_port()
    entities = [listener(port), connector(silent.port, connectTimeoutSeconds=1),
                inter_router(link)]
    if apart:
        a = routers("A", entities=entities)
        routers("B", entities=[link_to(link), connector(server.port)])
        a.wait_reaches("B")
    else:
        a = routers("A", entities=entities + [connector(server.port)])
    for _ in range(4):
        exchange(port)
    name = "c-echo-%d" % silent.port
    wait_status(a, "tcpConnector", name, "down", "no answer in time")
    silent.close()
    silent = Server(echo, silent.port)
    wait_status(a, "tcpConnector", name, "up")
    for _ in range(4):
        exchange(port)
    assert silent.accepted > 1  # its probe was one


def test_without_health_checks_a_failure_is_told_until_a_success(routers):
    port, target = free_port(), free_port()
    a = routers("A", entities=[listener(port), connector(target, healthCheck=False)])
    with connect(port) as s:
        assert receive_all(s) == b""
    oper, words = status(a, "tcpConnector", "c-echo-%d" % target)
    assert oper == "up" and "refused" in words
    Server(echo, target)
    exchange(port)
    assert status(a, "tcpConnector", "c-echo-%d" % target) == ("up", "")


def sockets_of(pid):
    """Of a process: (local port, remote port, timer, hundredths of a second until it fires)."""
    inodes = set()
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            inodes.add(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
        except OSError:
            pass
    rows = []
    for line in pathlib.Path("/proc/%d/net/tcp" % pid).read_text().splitlines()[1:]:
        f = line.split()
        if "socket:[%s]" % f[9] in inodes and f[3] == "01":
            timer, when = f[5].split(":")
            rows.append((int(f[1].split(":")[1], 16), int(f[2].split(":")[1], 16), int(timer, 16),
                         int(when, 16)))
    return rows


@pytest.mark.parametrize("seconds", [None, 7, 0])
def test_silent_peers_are_probed_after_the_keep_alive_time(routers, seconds):
    KEEP_ALIVE = 2
    server, port = Server(echo), free_port()
    how = {} if seconds is None else {"keepAliveSeconds": seconds}
    a = routers("A", entities=[listener(port, **how), connector(server.port, **how)])
    began = time.monotonic()
    s = connect(port)
    s.sendall(b"x")
    assert s.recv(1) == b"x"

    def quiet():  # the last byte is acknowledged
        return all(row[2] in (0, KEEP_ALIVE) for row in sockets_of(a.process.pid))

    wait(quiet)
    mine = {local if local == port else remote: (timer, when)
            for local, remote, timer, when in sockets_of(a.process.pid)
            if port == local or remote == server.port}
    assert set(mine) == {port, server.port}
    passed = (time.monotonic() - began) * 100
    for timer, when in mine.values():
        if seconds == 0:
            assert timer == 0
        else:
            limit = (60 if seconds is None else seconds) * 100
            assert timer == KEEP_ALIVE and 0 < when <= limit + 1
            assert when > limit - passed - 100
    s.close()


# ---------------------------------------------------------------------------------------- clients

@pytest.mark.parametrize("at", ["tcpListener", "tcpConnector"])
@pytest.mark.parametrize("way", ["create", "update"])
def test_a_client_that_sends_nothing_is_let_go_and_one_that_sends_a_little_is_not(
        routers, at, way):
    server, port, seconds = Server(echo), free_port(), 4  # a busy machine's pauses are shorter
    limit = {"idleTimeoutSeconds": seconds} if way == "create" else {}
    a = routers("A", entities=[
        listener(port, **(limit if at == "tcpListener" else {})),
        connector(server.port, **(limit if at == "tcpConnector" else {}))])
    silent, slow = connect(port), connect(port)
    for s in (silent, slow):
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    m = Management(a)
    if way == "update":
        name = m.query(at, ["name"])[0]["name"]
        assert m.request("UPDATE", "io.skupper.router." + at, {"idleTimeoutSeconds": seconds},
                         name=name).properties["statusCode"] == 200
    over = threading.Event()

    def hears_it():
        try:
            silent.recv(1)
        except ConnectionResetError:
            over.set()

    threading.Thread(target=hears_it, daemon=True).start()
    while not over.wait(0.3):  # a byte now and then
        slow.sendall(b"y")
        assert slow.recv(1) == b"y"
    for _ in range(5):
        over.clear()
        over.wait(0.3)
        slow.sendall(b"z")
        assert slow.recv(1) == b"z"
    assert len(m.query("tcpConnection")) == 2
    m.close()
    slow.close()


def test_clients_that_never_read_hold_little_and_are_let_go(routers):
    ended = []

    def serve(s):
        block = bytes(1 << 16)
        try:
            while True:
                s.sendall(block)
        except ConnectionResetError:
            ended.append(True)

    server, quick, port, other, link = Server(serve), Server(echo), free_port(), free_port(), \
        free_port()
    a = routers("A", entities=[listener(port, "flood"), listener(other), inter_router(link)])
    b = routers("B", entities=[link_to(link), connector(server.port, "flood"),
                               connector(quick.port)])
    exchange(other)
    before = [r.resident_kib() for r in (a, b)]
    deaf = [connect(port) for _ in range(40)]
    m = Management(a)
    wait(lambda: sum(r["unsent"] > 0 for r in m.query("tcpConnection")) == 40)
    row = next(r for r in m.query("tcpConnection") if r["unsent"] > 0)
    assert row["waitsFor"] == "its own peer to read"
    for _ in range(10):
        exchange(other)
    held = [r.resident_kib() - k for r, k in zip((a, b), before)]
    assert max(held) < 40 * 1400, held  # a window each at most
    reply = m.request("UPDATE", "io.skupper.router.tcpListener", {"idleTimeoutSeconds": 1},
                      name="l-flood")
    assert reply.properties["statusCode"] == 200, reply.properties
    wait(lambda: len(ended) == 40)  # the servers hear it too
    wait(lambda: m.query("tcpConnection") == [])
    m.close()
    for s in deaf:
        with pytest.raises(ConnectionResetError):
            while s.recv(1 << 20):
                pass


# ----------------------------------------------------------------------------- handshakes of TLS

def flight(context, first):
    """A client's TLS over memory: what it says first, and then, given the server's flight, the end
    of its handshake and `first` in one piece."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    t = context.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        t.do_handshake()
    hello = outgoing.read()

    def rest(answer):
        incoming.write(answer)
        try:
            t.do_handshake()
        except ssl.SSLWantReadError:
            return None
        t.write(first)
        return outgoing.read()

    return hello, rest, t, incoming


def test_what_a_client_says_with_the_end_of_its_handshake_reaches_the_server_that_answers(
        routers, certificates):
    """The first server that is asked is dead, and what was said must not go with it."""
    server, port, link = Server(echo), free_port(), free_port()
    dead = free_port()
    routers("A", entities=[
        ["sslProfile", {"name": "tls", **profile(certificates, "localhost", "ca")}],
        listener(port, sslProfile="tls"), connector(dead), inter_router(link)])
    b = routers("B", entities=[link_to(link), connector(server.port)])
    b.wait_reaches("A")
    for size in (5, 6000):
        context = client_context(certificates)
        first = os.urandom(size)
        hello, rest, t, incoming = flight(context, first)
        with connect(port) as s:
            s.sendall(hello)
            while (more := rest(s.recv(65536))) is None:
                pass
            s.sendall(more)
            got = b""
            while len(got) < size:
                incoming.write(s.recv(65536))
                try:
                    while data := t.read(65536):
                        got += data
                except ssl.SSLWantReadError:
                    pass
            assert got == first
