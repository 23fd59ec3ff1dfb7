# SPDX-License-Identifier: Apache-2.0
"""Connections between routers through an HTTP proxy (proxyProfile)."""

import socket
import time

import pytest
from certificates import make_authority, make_certificate, profile
from harness import TIMEOUT, Management, exchange, free_port, inter_router
from proxy import ASKS, Proxy

SECRET = "s3cret-W0rd"


@pytest.fixture
def proxy():
    with Proxy() as one:
        yield one


def through(proxy, place="far.invalid:55671", **attributes):
    host, _, port = place.rpartition(":")
    return [proxy.profile(**attributes),
            ["connector", {"name": "c", "host": host, "port": port, "role": "inter-router",
                           "proxyProfile": "out"}]]


def far(routers, proxy, place="far.invalid:55671", **kwargs):
    port = free_port()
    proxy.names[place] = port
    return routers("A", entities=[inter_router(port)], **kwargs)


def connector(router):
    management = Management(router)
    [row] = management.query("connector")
    management.close()
    return row


def wait_message(router, text):
    """Until the connector's last error holds the text."""
    end = time.monotonic() + TIMEOUT
    while text not in (connector(router)["connectionMsg"] or ""):
        assert time.monotonic() < end, connector(router)


@pytest.mark.parametrize("password", ["pass:" + SECRET, "file", "env:PROXY_PASSWORD", SECRET])
def test_routers_meet_through_a_proxy_that_knows_the_name(routers, proxy, tmp_path, monkeypatch,
                                                          password):
    """No name server here knows the far host; the link's data connections go that way too."""
    monkeypatch.setenv("PROXY_PASSWORD", SECRET)
    (tmp_path / "password.txt").write_text(SECRET)
    if password == "file":
        password = "file:%s/password.txt" % tmp_path
    proxy.credentials = "user:" + SECRET
    a = far(routers, proxy)
    b = routers("B", dataConnectionCount=2,
                entities=through(proxy, username="user", password=password))
    b.wait_reaches(a)
    a.wait_reaches(b)
    exchange(b, a, "there")
    exchange(a, b, "back")
    proxy.wait("CONNECT far.invalid:55671 HTTP/1.1\r\nHost: far.invalid:55671\r\n", count=3)
    assert connector(b)["connectionStatus"] == "SUCCESS"
    assert not [line for r in (a, b) for line in r.log.lines if SECRET in line]


def test_tls_checks_the_far_end_and_the_proxy_sees_none_of_it(routers, proxy, tmp_path):
    make_authority(tmp_path, "ca")
    make_certificate(tmp_path, "ca", "a")
    make_certificate(tmp_path, "ca", "b")
    port = free_port()
    proxy.names["127.0.0.1:1"] = port
    a = routers("A", entities=[
        ["sslProfile", {"name": "p", **profile(tmp_path, "a", "ca")}],
        ["listener", {"name": "ir", "host": "127.0.0.1", "port": port, "role": "inter-router",
                      "sslProfile": "p", "saslMechanisms": "EXTERNAL", "authenticatePeer": True}]])
    entities = through(proxy, "127.0.0.1:1")
    entities[1][1]["sslProfile"] = "q"
    b = routers("B", entities=[["sslProfile", {"name": "q", **profile(tmp_path, "b", "ca")}],
                               *entities])
    b.wait_reaches(a)
    exchange(b, a, "x")
    # The name in the certificate is the far end's, not the proxy's.
    proxy.names["localhost:1"] = port
    entities = through(proxy, "localhost:1")
    entities[1][1]["sslProfile"] = "q"
    c = routers("C", entities=[["sslProfile", {"name": "q", **profile(tmp_path, "b", "ca")}],
                               *entities])
    wait_message(c, "connect to localhost:1 through proxy 127.0.0.1:%d: TLS" % proxy.port)


LONG = b"HTTP/1.1 200 OK\r\nX: " + 9000 * b"x"


@pytest.mark.parametrize("answer, hangs_up, words", [
    (ASKS, False, "answers 407: it wants credentials: give a username and a password"),
    (b"HTTP/1.1 403 Forbidden\r\n\r\n", False, "answers 403: it does not allow this"),
    (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", True, "answers 502: it cannot reach that host and port"),
    (b"SSH-2.0-OpenSSH\r\n", False, "what answers is no HTTP proxy"),
    (LONG, False, "the proxy's answer is longer than 8192 octets"),
    (b"", False, "the proxy did not answer in time"),
    (b"HTTP/1.1 200", True, "the proxy closed the connection before its answer was whole"),
], ids=["407", "403", "502", "garbage", "too long", "silent", "closed"])
def test_what_a_proxy_refuses_is_told_and_tried_again(routers, proxy, answer, hangs_up, words):
    proxy.answer, proxy.hangs_up = answer, hangs_up
    a = far(routers, proxy)
    b = routers("B", entities=through(proxy))
    wait_message(b, words)
    status = connector(b)
    assert status["connectionStatus"] == "FAILED"
    assert "connect to far.invalid:55671 through proxy 127.0.0.1:%d: " % proxy.port \
        in status["connectionMsg"]
    assert "proxyProfile 'out'" in status["connectionMsg"]
    b.log.wait(words)
    proxy.answer = None
    b.wait_reaches(a)


def test_wrong_credentials_are_corrected_while_it_runs(routers, proxy):
    proxy.credentials = "user:" + SECRET
    a = far(routers, proxy)
    b = routers("B", entities=through(proxy, username="user", password="pass:wrong-W0rd"))
    wait_message(b, "answers 407: it refuses the credentials")
    management = Management(b)
    reply = management.request("UPDATE", "io.skupper.router.proxyProfile",
                               {"password": "pass:" + SECRET}, name="out")
    assert reply.properties["statusCode"] == 200, reply.properties
    b.wait_reaches(a)
    [row] = management.query("proxyProfile")
    assert (row["host"], row["port"], row["username"]) == ("127.0.0.1", str(proxy.port), "user")
    assert SECRET not in str(row)
    for changes, words in [({"username": "a:b"}, "username: a colon"),
                           ({"host": ""}, "host and port are needed")]:
        reply = management.request("UPDATE", "io.skupper.router.proxyProfile", changes, name="out")
        assert reply.properties["statusCode"] == 400
        assert words in reply.properties["statusDescription"]
    management.close()
    assert not [line for line in b.log.lines if SECRET in line or "wrong-W0rd" in line]


def test_a_proxy_that_dies_takes_the_link_along_until_it_is_back(routers):
    proxy = Proxy(free_port())
    a = far(routers, proxy)
    b = routers("B", entities=through(proxy))
    b.wait_reaches(a)
    a.wait_reaches(b)
    at = len(b.log.lines), len(a.log.lines)
    proxy.close()
    wait_message(b, "connect to proxy 127.0.0.1:%d on the way to far.invalid:55671: Connection "
                    "refused; does it run" % proxy.port)
    b.log.wait("router A is not reachable any more", start=at[0])
    with Proxy(proxy.port) as other:
        other.names.update(proxy.names)
        b.wait_reaches(a, start=at[0])
        a.wait_reaches(b, start=at[1])
        exchange(b, a, "after")


def test_other_places_are_reached_through_the_proxy_too(routers, proxy):
    """The far end named first is not there, which takes nothing from the second."""
    a = far(routers, proxy, "second.invalid:2")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy.names["first.invalid:1"] = nobody.getsockname()[1]
        entities = through(proxy, "first.invalid:1")
        entities[1][1]["alternates"] = "second.invalid:2"
        b = routers("B", entities=entities)
        b.wait_reaches(a)
        exchange(b, a, "x")


def test_profiles_come_and_go_by_management(routers, proxy):
    a = far(routers, proxy)
    b = routers("B")
    management = Management(b)

    def create(type_, name, status, **attributes):
        reply = management.request("CREATE", "io.skupper.router." + type_, attributes, name=name)
        assert reply.properties["statusCode"] == status, reply.properties
        return reply.properties["statusDescription"]

    to = {"host": "far.invalid", "port": "55671", "role": "inter-router", "proxyProfile": "out"}
    assert "proxyProfile 'out' does not exist; create it first" in \
        create("connector", "c", 400, **to)
    assert "password: it needs a username" in \
        create("proxyProfile", "out", 400, host="127.0.0.1", port=proxy.port, password="x")
    create("proxyProfile", "out", 201, host="127.0.0.1", port=proxy.port)
    create("connector", "c", 201, **to)
    b.wait_reaches(a)
    reply = management.request("DELETE", "io.skupper.router.proxyProfile", name="out")
    assert reply.properties["statusCode"] == 204
    assert management.query("proxyProfile") == []
    exchange(b, a, "after")  # what uses it keeps it
    management.close()
