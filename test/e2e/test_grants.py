# SPDX-License-Identifier: Apache-2.0
"""Redemption of tokens over real sockets, with Python at the other end (test/grants)."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from certificates import make_authority, make_certificate, openssl
from harness import SKROUTERD, TIMEOUT, Lines, free_port

GRANTS = os.environ.get("GRANTS",
                        str(pathlib.Path(SKROUTERD).parent / "test" / "grants" / "grants"))


def documents(text):
    """The documents of a text in YAML."""
    return [d for d in text.split("---\n") if d.strip()]


def field(document, name):
    """The value of a field that stands in a line of its own."""
    for line in document.splitlines():
        key, _, value = line.strip().partition(": ")
        if key == name:
            return value.strip('"')
    raise AssertionError("no %s in:\n%s" % (name, document))


# ------------------------------------------------------------------------------------ our server


class Server:
    def __init__(self, folder, allowed=1, window="15m", patience_ms=60000, key="ec"):
        self.folder = folder
        self.args = [str(allowed), window, str(patience_ms), key]
        self.port = 0
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [GRANTS, "serve", str(self.folder), str(self.port), *self.args],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.log = Lines(self.process.stdout)
        line = self.log.lines[self.log.wait("listening on ")]
        self.port = int(line.split()[-1])
        token = (self.folder / "token.yaml").read_text()
        self.code = field(token, "code")
        self.path = "/" + field(token, "url").rsplit("/", 1)[1]

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(TIMEOUT)
        return self.process.returncode

    def tls(self, **limits):
        context = ssl.create_default_context(cafile=str(self.folder / "server-ca.crt"))
        for name, value in limits.items():
            setattr(context, name, value)
        return context

    def connect(self):
        plain = socket.create_connection(("127.0.0.1", self.port), TIMEOUT)
        return self.tls().wrap_socket(plain, server_hostname="127.0.0.1")

    def ask(self, path=None, body=None, method="POST", headers=None, source="127.0.0.1"):
        """Status and body of the answer."""
        c = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls(), timeout=TIMEOUT,
                                        source_address=(source, 0))
        with contextlib.closing(c):
            c.request(method, path or self.path, self.code if body is None else body,
                      {"name": "west-token", "subject": "1b9f-site"} if headers is None
                      else headers)
            answer = c.getresponse()
            return answer.status, answer.read().decode()

    def used(self):
        return json.loads((self.folder / "kept" / "the-grant.json").read_text())["redemptions"]


@pytest.fixture
def serve(tmp_path):
    made = []

    def make(**options):
        made.append(Server(tmp_path, **options))
        return made[-1]

    yield make
    for server in made:
        if server.process.poll() is None:
            assert server.end() == 0, "\n".join(server.log.lines)


@pytest.mark.parametrize("key", ["rsa", "ec"])
def test_openssl_accepts_what_was_given_out(serve, tmp_path, key):
    server = serve(key=key)
    status, text = server.ask()
    assert status == 200
    secret, link = documents(text)
    assert field(secret, "kind") == "Secret" and field(secret, "name") == "west-token"
    assert field(secret, "type") == "kubernetes.io/tls"
    assert field(link, "kind") == "Link" and field(link, "tlsCredentials") == "west-token"
    assert 'port: "55671"' in link
    for name in ("ca.crt", "tls.crt", "tls.key"):
        (tmp_path / ("got-" + name)).write_bytes(base64.b64decode(field(secret, name)))
    assert (tmp_path / "got-ca.crt").read_text() == (tmp_path / "site-ca.crt").read_text()
    crt, private = tmp_path / "got-tls.crt", tmp_path / "got-tls.key"
    for purpose in ("sslclient", "sslserver"):
        openssl("verify", "-x509_strict", "-purpose", purpose, "-verify_ip", "203.0.113.7",
                "-CAfile", tmp_path / "got-ca.crt", crt)
    view = subprocess.run(["openssl", "x509", "-in", crt, "-noout", "-text"], check=True,
                          capture_output=True, text=True).stdout
    assert "Subject: CN = 1b9f-site\n" in view
    assert "DNS:203.0.113.7, IP Address:203.0.113.7\n" in view
    assert "TLS Web Server Authentication, TLS Web Client Authentication\n" in view
    of_key = subprocess.run(["openssl", "pkey", "-in", private, "-pubout"], check=True,
                            capture_output=True).stdout
    of_crt = subprocess.run(["openssl", "x509", "-in", crt, "-noout", "-pubkey"], check=True,
                            capture_output=True).stdout
    assert of_key == of_crt
    first = private.read_text().splitlines()[0]
    assert first == "-----BEGIN %s PRIVATE KEY-----" % key.upper()


def test_every_refusal_has_its_status_and_words_and_is_not_counted(serve):
    server = serve()
    refusals = [
        (dict(method="GET", body=""), 405, "Only POST is supported\n"),
        (dict(path="/nobody"), 404, "No such claim\n"),
        (dict(body="wrong"), 403, "Redemption of access token refused\n"),
        (dict(body=""), 403, "Redemption of access token refused\n"),
        (dict(body=server.code + "\n"), 403, "Redemption of access token refused\n"),
        (dict(headers={"name": "../../etc"}), 400, "Request header name or subject not valid\n"),
    ]
    for request, status, words in refusals:
        assert server.ask(**request) == (status, words)
    assert server.used() == 0
    assert server.ask(path="//" + server.path)[0] == 200
    assert server.used() == 1
    assert server.ask() == (404, "No such access granted\n")
    assert server.used() == 1


def test_without_header_fields_the_grant_gives_its_name(serve):
    secret, link = documents(serve().ask(headers={})[1])
    assert field(secret, "name") == field(link, "tlsCredentials") == "the-grant"


def test_expired_and_unknown_cannot_be_told_apart(serve):
    server = serve(allowed=10000, window="1s")
    end = time.monotonic() + TIMEOUT
    while server.ask()[0] == 200:
        assert time.monotonic() < end
    answers = []
    for path in (server.path, "/00000000-0000-4000-8000-000000000000"):
        with server.connect() as s:
            s.sendall(b"POST %s HTTP/1.1\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
                      % path.encode())
            answer = b"".join(iter(lambda s=s: s.recv(4096), b""))
            answers.append(re.subn(rb"\r\nDate: [^\r]*", b"", answer))
    assert answers[0] == answers[1] and b"No such claim" in answers[0][0]


def test_one_use_is_one_use_however_many_ask_at_once(serve):
    server = serve(allowed=3)
    ready, results = threading.Barrier(12), []

    def ask():
        with server.connect() as s:
            ready.wait(TIMEOUT)
            s.sendall(b"POST %s HTTP/1.1\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
                      % (server.path.encode(), len(server.code), server.code.encode()))
            results.append(b"".join(iter(lambda: s.recv(4096), b""))[:12])

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(TIMEOUT)
    assert sorted(results) == 3 * [b"HTTP/1.1 200"] + 9 * [b"HTTP/1.1 404"]
    assert server.used() == 3


def test_replayed_on_one_connection_it_is_counted_each_time(serve):
    server = serve(allowed=2)
    request = (b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s"
               % (server.path.encode(), len(server.code), server.code.encode()))
    got = b""
    with server.connect() as s:
        s.sendall(3 * request)
        while got.count(b"HTTP/1.1 ") < 3:
            data = s.recv(65536)
            assert data
            got += data
    assert got.count(b"HTTP/1.1 200") == 2 and got.count(b"HTTP/1.1 404") == 1
    assert server.used() == 2


def test_a_kill_gives_no_redemption_back(serve):
    server = serve(allowed=2)
    for _ in range(2):
        assert server.ask()[0] == 200
        server.end(signal.SIGKILL)
        server.start()
    assert server.ask() == (404, "No such access granted\n")


def test_what_cannot_be_kept_is_not_given_out(serve):
    server = serve()
    kept = server.folder / "kept"
    kept.rename(server.folder / "away")
    kept.write_text("in the way")
    assert server.ask() == (503, "Internal error\n")
    kept.unlink()
    (server.folder / "away").rename(kept)
    assert server.ask()[0] == 200


def test_what_is_too_large_is_refused_at_once(serve):
    server = serve()
    with server.connect() as s:
        s.sendall(b"POST %s HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" % server.path.encode())
        assert s.recv(4096).startswith(b"HTTP/1.1 413")
    with server.connect() as s:
        s.sendall(b"POST / HTTP/1.1\r\nname: %s\r\n\r\n" % (9000 * b"a"))
        assert s.recv(4096).startswith(b"HTTP/1.1 431")
    assert server.ask(body=1500 * "x")[0] == 413
    assert server.ask()[0] == 200


def test_who_is_slow_is_left(serve):
    server = serve(patience_ms=4000)  # in which a busy machine gets through a handshake
    with server.connect() as s:
        s.sendall(b"POST %s HTTP/1.1\r\nContent-Length: 100\r\n\r\nx" % server.path.encode())
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert s.recv(4096) == b""
    assert server.used() == 0
    assert server.ask()[0] == 200


def test_one_address_has_not_all_the_places(serve):
    server = serve()
    held = [server.connect() for _ in range(16)]
    for s in held:  # the handshake is done on both sides when something was answered
        s.sendall(b"POST /nobody HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert s.recv(4096).startswith(b"HTTP/1.1 4")
    with pytest.raises(OSError):
        server.ask()
    held.pop().close()
    end = time.monotonic() + TIMEOUT
    while True:
        with contextlib.suppress(OSError):
            server.ask()  # its place is free again
            break
        assert time.monotonic() < end
    for s in held:
        s.close()


def test_one_address_cannot_lock_out_others(serve):
    server = serve()
    silent = [socket.create_connection(("127.0.0.1", server.port), TIMEOUT) for _ in range(300)]
    for _ in range(20):
        with contextlib.suppress(OSError):
            server.ask(body="wrong")
    assert server.ask(source="127.0.0.2")[0] == 200
    for s in silent:
        s.close()


def test_only_tls_1_3_is_spoken(serve):
    server = serve()
    old = server.tls(maximum_version=ssl.TLSVersion.TLSv1_2)
    with socket.create_connection(("127.0.0.1", server.port), TIMEOUT) as plain:
        with pytest.raises(OSError):
            old.wrap_socket(plain, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", server.port), TIMEOUT) as plain:
        plain.sendall(b"POST %s HTTP/1.1\r\nContent-Length: 0\r\n\r\n" % server.path.encode())
        with contextlib.suppress(ConnectionError):
            assert not plain.recv(4096).startswith(b"HTTP")


# ------------------------------------------------------------------------------------ our client


class Issuer:
    """An HTTPS server that answers what it is told to, and remembers what it was asked."""

    def __init__(self, folder, answer, certificate="server", maximum=None):
        issuer = self
        self.asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                issuer.asked.append((self.path, self.headers, body))
                answer(self)

            def log_message(self, *args):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / (certificate + ".crt"), folder / (certificate + ".key"))
        if maximum:
            context.maximum_version = maximum
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()


def say(status, body=b"", headers=()):
    def answer(handler):
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
    return answer


GOOD = b"""---
apiVersion: skupper.io/v2alpha1
kind: Link
metadata: {creationTimestamp: null, name: west-token}
spec:
  endpoints:
  - {group: skupper-router, host: 203.0.113.7, name: inter-router, port: "55671"}
  tlsCredentials: west-token
status: {}
---
apiVersion: v1
kind: Secret
metadata: {creationTimestamp: null, name: west-token}
type: kubernetes.io/tls
data: {ca.crt: Q0E=, tls.crt: Q0VSVA==, tls.key: S0VZ}
"""


def two_routers(handler):
    """Answers as a site of version 2 with two routers does."""
    name = handler.headers["name"]
    secret = """---
apiVersion: v1
kind: Secret
metadata: {name: %s}
type: kubernetes.io/tls
data: {ca.crt: Q0E=, tls.crt: Q0VSVA==, tls.key: S0VZ}
""" % name
    link = """---
apiVersion: skupper.io/v2alpha1
kind: Link
metadata: {name: %s-%d}
spec:
  endpoints: [{group: r%d, host: r%d.example, name: inter-router, port: "55671"}]
  tlsCredentials: %s
"""
    say(200, (secret + "".join(link % (name, n, n, n, name) for n in (1, 2))).encode())(handler)


def access_token(folder, issuer, name="t"):
    """The text of one for an issuer with the certificates in that folder."""
    return json.dumps({
        "apiVersion": "skupper.io/v2alpha1", "kind": "AccessToken", "metadata": {"name": name},
        "spec": {"url": "https://127.0.0.1:%d/2f0e" % issuer.port, "code": "c",
                 "ca": (folder / "ca.crt").read_text(encoding="utf-8")}})


@pytest.fixture
def issue(tmp_path):
    made = []
    make_authority(tmp_path, "ca")
    make_certificate(tmp_path, "ca", "server")

    def make(answer, **options):
        made.append(Issuer(tmp_path, answer, **options))
        return made[-1]

    yield make
    for issuer in made:
        issuer.end()


def redeem(folder, url, ca="ca", code="a-code", name="west-token"):
    """What `grants redeem` printed, and whether it succeeded."""
    token = folder / "token.yaml"
    token.write_text(json.dumps({
        "kind": "AccessToken", "metadata": {"name": name},
        "spec": {"url": url, "code": code, "ca": (folder / (ca + ".crt")).read_text(),
                 "linkCost": 3}}))
    return run_redeem(token)


def run_redeem(token):
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run([GRANTS, "redeem", str(token), "1b9f-site"], capture_output=True,
                          text=True, timeout=60, env=environment)
    return done.stdout, done.returncode == 0


def test_a_request_has_the_form_that_others_expect(issue, tmp_path):
    issuer = issue(say(200, GOOD))
    text, ok = redeem(tmp_path, "https://127.0.0.1:%d/2f0e" % issuer.port)
    assert ok, text
    path, headers, body = issuer.asked[0]
    assert path == "/2f0e" and body == b"a-code"
    assert headers["name"] == "west-token" and headers["subject"] == "1b9f-site"
    assert headers["Content-Type"] is None and headers["Expect"] is None
    secret, link = documents(text)
    assert field(secret, "tls.key") == "S0VZ"
    assert field(link, "cost") == "3" and "status" not in link


def test_a_v1_claim_is_redeemed_the_v1_way(issue, tmp_path):
    connection = b"""apiVersion: v1
kind: Secret
metadata:
  name: 4a7d
  labels: {skupper.io/type: connection-token}
  annotations:
    inter-router-host: west.example
    inter-router-port: "443"
    skupper.io/generated-by: 1b9f
data: {ca.crt: Q0E=, tls.crt: Q0VSVA==, tls.key: S0VZ}
"""
    issuer = issue(say(200, connection))
    ca = base64.b64encode((tmp_path / "ca.crt").read_bytes()).decode()
    token = tmp_path / "claim.json"
    token.write_text(json.dumps({
        "kind": "Secret", "data": {"password": base64.b64encode(b"secret").decode(), "ca.crt": ca},
        "metadata": {"name": "4a7d", "labels": {"skupper.io/type": "token-claim"}, "annotations": {
            "skupper.io/url": "https://127.0.0.1:%d/4a7d" % issuer.port}}}))
    text, ok = run_redeem(token)
    assert ok, text
    path, headers, body = issuer.asked[0]
    assert path == "/4a7d?site-version=1.9.6" and body == b"secret"
    assert headers["skupper-site-name"] == "1b9f-site" and headers["subject"] is None
    _, link = documents(text)
    assert field(link, "tlsCredentials") == "4a7d" and "- host: west.example" in link


def test_answers_that_are_none_are_told_in_words(issue, tmp_path):
    answers = [
        (say(200, b"<html>hello</html>"), "the answer:1: there is no Link in it"),
        (say(200, b"\x00\xff\x1b[2J"), "the answer:1: "),
        (say(200), "the answer:1: there is no Link in it"),
        (say(302, b"", [("Location", "https://127.0.0.1:1/")]), "answered 302"),
        (say(503, b"Internal error\n"), "answered 503 Internal error: that is trouble"),
        (say(404, b"No such claim\n"), "answered 404 No such claim: the token is not known"),
        (say(200, 300000 * b"#"), "an answer of more than 256 KiB"),
        (lambda handler: handler.connection.close(), ""),
    ]
    for answer, words in answers:
        issuer = issue(answer)
        text, ok = redeem(tmp_path, "https://127.0.0.1:%d/2f0e" % issuer.port)
        assert not ok and words in text and text.startswith("https://127.0.0.1:"), text
        assert len(issuer.asked) == 1  # and not once more
        assert "\x1b" not in text


def test_who_does_not_answer_is_left_after_ten_seconds(issue, tmp_path):
    over = threading.Event()
    issuer = issue(lambda handler: over.wait(TIMEOUT))
    start = time.monotonic()
    text, ok = redeem(tmp_path, "https://127.0.0.1:%d/2f0e" % issuer.port)
    over.set()
    assert not ok and "no answer within 10 s" in text
    assert time.monotonic() - start >= 10


def test_only_the_right_server_gets_the_code(issue, tmp_path):
    make_authority(tmp_path, "other")
    make_certificate(tmp_path, "other", "foreign")
    make_certificate(tmp_path, "ca", "wrong", address="127.0.0.2")
    make_certificate(tmp_path, "ca", "ended", days=-1)
    servers = [
        (dict(certificate="foreign"), "its certificate is not accepted"),
        (dict(certificate="wrong"), "its certificate is not accepted"),
        (dict(certificate="ended"), "is the clock of this machine right?"),
        (dict(maximum=ssl.TLSVersion.TLSv1_2), ""),
    ]
    for options, words in servers:
        issuer = issue(say(200, GOOD), **options)
        text, ok = redeem(tmp_path, "https://127.0.0.1:%d/2f0e" % issuer.port)
        assert not ok and words in text, text
        assert not issuer.asked


def test_where_nobody_is_is_told(issue, tmp_path):
    text, ok = redeem(tmp_path, "https://127.0.0.1:%d/2f0e" % free_port())
    assert not ok and "is it reachable from here?" in text
    text, ok = redeem(tmp_path, "http://127.0.0.1:1/2f0e")
    assert not ok and "its scheme must be https" in text


def test_a_token_travels_from_our_server_to_our_client(serve, tmp_path):
    server = serve()
    text, ok = run_redeem(tmp_path / "token.yaml")
    assert ok, text
    assert len(documents(text)) == 2 and server.used() == 1
    text, ok = run_redeem(tmp_path / "token.yaml")
    assert not ok and "No such access granted" in text
