# SPDX-License-Identifier: Apache-2.0
"""`skupper link doctor`: each fault on the way is found at its step, with words that help."""

import datetime
import email.utils
import json
import socket
import time

import certificates
import pytest
import sites as s
import yaml
from harness import PEER, Management, Router, free_port, wait_port
from proxy import Proxy
from strangers import Server, tls_server


@pytest.fixture
def home(tmp_path):
    with_sites = s.Sites(tmp_path)
    yield with_sites
    with_sites.close()


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """Certificates of a CA of ours and of a foreign one."""
    folder = tmp_path_factory.mktemp("papers")
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.timezone.utc)
    certificates.make_at(folder, "ours", "ours", now - 3 * day, now + 3 * day)
    certificates.make_authority(folder, "foreign")
    certificates.make_certificate(folder, "ours", "client")
    certificates.make_certificate(folder, "ours", "server")
    certificates.make_certificate(folder, "ours", "elsewhere", "127.0.0.9")
    certificates.make_at(folder, "ours", "ended", now - 2 * day, now - day)
    certificates.make_certificate(folder, "foreign", "stranger")
    return folder


def link_file(folder, papers, host, port, client="client", authority="ours"):
    text = {name: (papers / file).read_text() for name, file in (
        ("ca.crt", authority + ".crt"), ("tls.crt", client + ".crt"), ("tls.key", client + ".key"))}
    documents = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "link-x"},
         "type": "kubernetes.io/tls", "stringData": text},
        {"apiVersion": "skupper.io/v2alpha1", "kind": "Link", "metadata": {"name": "link-x"},
         "spec": {"tlsCredentials": "link-x",
                  "endpoints": [{"name": "inter-router", "host": host, "port": str(port)}]}}]
    path = folder / "link.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return str(path)


def failures(home, *words, timeout="20s"):
    """{step: message} of what failed; the command says so by its status."""
    report = json.loads(home.run("link", "doctor", *words, "--timeout", timeout, "-o", "json",
                                 status=1))
    assert report["result"] == "failed"
    for step in report["steps"]:
        assert step["result"] == "ok" or step["next"], step
    return {step["step"]: step["message"] for step in report["steps"] if step["result"] == "failed"}


def test_a_link_and_a_token_that_are_well(home):
    west = home.site("west", "--enable-link-access")
    east = home.site("east")
    token = str(home.home.parent / "token.yaml")
    west.run("token", "issue", token)
    text = east.run("link", "doctor", "--token", token)
    assert "HTTP answers" in text and text.endswith("All is well.\n"), text
    assert "the clocks here and there differ by" in text
    east.run("token", "redeem", token)  # the doctor has not used it up
    s.until("the link is up", lambda: "OK" in east.run("link", "status"))
    report = json.loads(east.run("link", "doctor", "-o", "json"))
    steps = [step["step"] for step in report["steps"]]
    for step in ("credentials", "name", "route", "port", "tls", "certificate", "expiry", "accepted",
                 "protocol"):
        assert step in steps, (step, steps)
    protocol = next(step for step in report["steps"] if step["step"] == "protocol")
    assert "EXTERNAL" in protocol["message"] and "west" in protocol["message"]
    # The link is the same after it, and the other router knows no more neighbours than before.
    assert "OK" in east.run("link", "status")


def test_a_site_made_anew_refuses_the_old_certificate(home):
    west = home.site("west", "--enable-link-access")
    east = home.site("east")
    east.link_to(west)
    link = json.loads(east.run("link", "status", "-o", "json"))["metadata"]["name"]
    west.run("system", "stop")
    home.site("west", "--enable-link-access")
    found = failures(home, "-n", "east", link)
    assert {"certificate", "accepted"} <= set(found) or "port" in found, found


@pytest.mark.parametrize("host, step, words", [
    ("no-such-host.invalid", "name", "has no address"),
    ("127.0.0.1", "port", "refused"),
])
def test_nowhere_to_go(home, papers, tmp_path, host, step, words):
    found = failures(home, "--token", link_file(tmp_path, papers, host, free_port()))
    assert list(found) == [step] and words in found[step]


def test_a_port_that_is_swallowed(home, papers, tmp_path):
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    waiting = []
    for _ in range(4):  # what the listener has no room for is dropped without a word
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(full.getsockname())
    found = failures(home, "--token",
                     link_file(tmp_path, papers, "127.0.0.1", full.getsockname()[1]),
                     timeout="1s")
    assert list(found) == ["port"] and "no answer" in found["port"]
    for one in [full, *waiting]:
        one.close()


@pytest.mark.parametrize("certificate, step, words", [
    ("stranger", "certificate", "is the CA that is trusted"),
    ("elsewhere", "certificate", "127.0.0.9"),
    ("ended", "expiry", "has ended"),
])
def test_a_certificate_that_is_not_right(home, papers, tmp_path, certificate, step, words):
    server = tls_server(papers, certificate, b"")
    found = failures(home, "--token", link_file(tmp_path, papers, "127.0.0.1", server.port))
    assert step in found and words in found[step], found
    assert not {"certificate", "expiry"} - {step} & set(found), found
    server.close()


def test_our_own_certificate_has_ended(home, papers, tmp_path):
    server = tls_server(papers, "server", b"")
    found = failures(home, "--token",
                     link_file(tmp_path, papers, "127.0.0.1", server.port, client="ended"))
    assert "(ours) has ended" in found["expiry"], found
    server.close()


def test_what_answers_speaks_something_else(home, papers, tmp_path):
    def greet(connection):
        connection.sendall(b"220 mail.example.org\r\n")
        connection.settimeout(10)
        connection.recv(1000)

    plain = Server(greet)
    found = failures(home, "--token", link_file(tmp_path, papers, "127.0.0.1", plain.port))
    assert list(found) == ["tls"] and "not TLS" in found["tls"], found
    plain.close()
    http = tls_server(papers, "server", b"HTTP/1.1 400 Bad Request\r\n\r\n")
    found = failures(home, "--token", link_file(tmp_path, papers, "127.0.0.1", http.port))
    assert list(found) == ["protocol"] and "HTTP/1.1 400" in found["protocol"], found
    http.close()


def test_a_clock_that_is_behind(home, papers, tmp_path):
    """Ours begins in an hour, as it does for a machine whose clock is an hour late."""
    now = datetime.datetime.now(datetime.timezone.utc)
    hour = datetime.timedelta(hours=1)
    certificates.make_at(papers, "ours", "later", now + 3 * hour, now + 24 * hour)
    server = tls_server(papers, "server", b"")
    found = failures(home, "--token",
                     link_file(tmp_path, papers, "127.0.0.1", server.port, client="later"))
    assert "from now: the clock of this machine is behind" in found["clock"], found
    server.close()


@pytest.mark.parametrize("hours, words", [(-2, "behind"), (2, "ahead of")])
def test_the_clock_of_a_server_of_tokens(home, papers, tmp_path, hours, words):
    then = time.time() + 3600 * hours
    server = tls_server(papers, "server", b"HTTP/1.1 404 Not Found\r\nDate: %s\r\n\r\n" % (
        email.utils.formatdate(then, usegmt=True).encode()))
    path = tmp_path / "token.yaml"
    path.write_text(yaml.safe_dump({
        "apiVersion": "skupper.io/v2alpha1", "kind": "AccessToken", "metadata": {"name": "t"},
        "spec": {"url": "https://127.0.0.1:%d/x" % server.port, "code": "secret",
                 "ca": (papers / "ours.crt").read_text()}}))
    found = failures(home, "--token", str(path))
    assert list(found) == ["clock"] and words in found["clock"], found
    server.close()


@pytest.mark.parametrize("program", [None, PEER], ids=["ours", "the existing one"])
def test_a_router_is_asked_and_forgets_it(home, papers, tmp_path, program):
    """On ports for other routers, which an application has no business at."""
    if program == "":
        pytest.skip("PEER_SKROUTERD does not name the existing router")
    ports = {"inter-router": free_port(), "edge": free_port()}
    router = Router(tmp_path, "asked", program=program, entities=[
        ["sslProfile", {"name": "p", **certificates.profile(papers, "server", "ours")}],
        *[["listener", {"name": role, "role": role, "host": "127.0.0.1", "port": port,
                        "sslProfile": "p", "saslMechanisms": "EXTERNAL",
                        "authenticatePeer": True}] for role, port in ports.items()]])
    try:
        for port in ports.values():
            wait_port(port)
            text = home.run("link", "doctor", "--token",
                            link_file(tmp_path, papers, "127.0.0.1", port))
            assert 'router "asked"' in text and "SASL offered: EXTERNAL" in text, text
        management = Management(router)
        s.until("it is gone", lambda: not [
            c for c in management.query("connection") if c["container"] == "skupper-link-doctor"])
        assert [n["id"] for n in management.query("router.node")] == ["asked"]
    finally:
        router.stop()



def proxy_secret(proxy, password):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "out"},
            "type": "kubernetes.io/basic-auth", "stringData": {
                "host": "127.0.0.1", "port": str(proxy.port), "username": "user",
                "password": password}}


def test_a_link_through_a_proxy(home):
    """The site's router goes through it, and so does the doctor, who says what the proxy says."""
    with Proxy(credentials="user:s3cret-W0rd") as proxy:
        west = home.site("west", "--enable-link-access")
        east = home.site("east")
        credentials, link = yaml.safe_load_all(west.run("link", "generate", "--host", "127.0.0.1"))
        link["spec"]["settings"] = {"proxy-configuration": "out"}
        name = link["metadata"]["name"]

        def apply(*documents):
            east.apply(yaml.safe_dump_all(documents))

        def wait_link(words):
            s.until(words, lambda: words in east.run("link", "status", name, "-o", "json"))

        apply(credentials, link)
        wait_link('the Secret \\"out\\" is not there')
        assert list(failures(home, "-n", "east", name)) == ["proxy"]
        apply(proxy_secret(proxy, "wrong-W0rd"))
        wait_link("it refuses the credentials")
        found = failures(home, "-n", "east", name)
        assert list(found) == ["proxy"] and "it refuses the credentials" in found["proxy"]
        apply(proxy_secret(proxy, "s3cret-W0rd"))
        s.until("the link is up", lambda: "OK" in east.run("link", "status"))
        text = east.run("link", "doctor", name)
        assert "the proxy 127.0.0.1 has 1 address" in text and text.endswith("All is well.\n"), text
        assert "it lets us through to 127.0.0.1:" in text

        # What goes with the link: the file that the router reads, which nobody else may.
        password = east.root / "runtime" / "proxies" / "out" / "password.txt"
        assert password.read_text() == "s3cret-W0rd" and password.stat().st_mode & 0o77 == 0
        told = [east.log("agent"), east.log("router"), west.log("router"),
                (east.root / "runtime" / "router" / "skrouterd.json").read_text()]
        assert not [one for one in told if "W0rd" in one]
        del link["spec"]["settings"]
        apply(link)
        s.until("the password is gone", lambda: not password.exists())
        s.until("the link is up again", lambda: "OK" in east.run("link", "status"))
        proxy.close()
        assert "OK" in east.run("link", "status")
