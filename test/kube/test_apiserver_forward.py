# SPDX-License-Identifier: Apache-2.0
"""The subresource portforward over a WebSocket with channels, octet by octet."""

import socket
import struct

import pytest

from kubeapi import TIMEOUT, Client, path_of
from pods import free_port
from services import Server, echo

MASK = b"\x11\x22\x33\x44"
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
           "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
           "Sec-WebSocket-Protocol": "v4.channel.k8s.io"}


class Stream:
    """A WebSocket to a pod, or the answer that refused it."""

    def __init__(self, client, ns, pod, port, **fields):
        address = (client.address.hostname, client.address.port)
        plain = socket.create_connection(address, timeout=TIMEOUT)
        self.socket = client.tls.wrap_socket(plain, server_hostname=address[0])
        headers = {"Host": "%s:%d" % address, **UPGRADE, **fields}
        if client.token:
            headers["Authorization"] = "Bearer " + client.token
        self.socket.sendall(("GET %s?ports=%d HTTP/1.1\r\n%s\r\n" % (
            path_of("pods", ns, pod, "portforward"), port, "".join(
                "%s: %s\r\n" % item for item in headers.items() if item[1]))).encode())
        self.file = self.socket.makefile("rb")
        self.code = int(self.file.readline().split()[1])
        self.headers = {}
        while (line := self.file.readline().decode().strip()):
            name, _, value = line.partition(": ")
            self.headers[name.lower()] = value
        self.body = self.file.read(int(self.headers.get("content-length", 0))).decode()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, opcode, data):
        masked = bytes(b ^ MASK[i % 4] for i, b in enumerate(data))
        self.socket.sendall(bytes([0x80 | opcode, 0x80 | len(data)]) + MASK + masked)

    def take(self):
        """The next message that is no ping: opcode, octets."""
        while True:
            first, size = self.file.read(2)
            if size == 126:
                size = struct.unpack(">H", self.file.read(2))[0]
            data = self.file.read(size)
            if first & 15 != 9:
                return first & 15, data


@pytest.fixture
def pod(standin, namespace):
    def make(port, phase="Running"):
        standin.run_pod(namespace, "p", {"app": "p"}, "127.0.0.1")
        standin.admin.patch("pods", "p", {"metadata": {"annotations": {
            "standin/port-7": str(port)}}}, namespace)
        standin.admin.patch("pods", "p", {"status": {"phase": phase}}, namespace, sub="status")
    return make


def test_octets_go_to_the_port_and_come_back(standin, namespace, pod):
    server = Server(echo)
    pod(server.port)
    stream = Stream(standin.admin, namespace, "p", 7)
    assert stream.code == 101
    assert stream.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert stream.headers["sec-websocket-protocol"] == "v4.channel.k8s.io"
    assert [stream.take(), stream.take()] == [(2, b"\0\7\0"), (2, b"\1\7\0")]
    for text in (b"hello", b"again"):
        stream.send(2, b"\0" + text)
        assert stream.take() == (2, b"\0" + text)
    stream.send(8, b"\x03\xe8")
    assert stream.take() == (8, b"\x03\xe8")
    stream.close()
    server.close()


def test_a_port_at_which_nobody_listens_is_trouble(standin, namespace, pod):
    pod(free_port())
    stream = Stream(standin.admin, namespace, "p", 7)
    assert stream.code == 101
    assert [stream.take()[1][:1] for _ in range(2)] == [b"\0", b"\1"]
    opcode, words = stream.take()
    assert opcode == 2 and words.startswith(b"\1an error occurred forwarding 7 -> 7: ")
    assert stream.take()[0] == 8
    stream.close()


@pytest.mark.parametrize("fields, name, code, words", [
    ({"Upgrade": None}, "p", 400, "missing upgrade headers"),
    ({"Sec-WebSocket-Protocol": "v9.example"}, "p", 400, "no known subprotocol"),
    ({}, "q", 404, 'pods \\"q\\" not found'),
])
def test_what_is_no_such_request_is_refused(standin, namespace, pod, fields, name, code, words):
    pod(free_port())
    stream = Stream(standin.admin, namespace, name, 7, **fields)
    assert stream.code == code and words in stream.body
    stream.close()


def test_a_pod_that_does_not_run_is_told(standin, namespace, pod):
    pod(free_port(), phase="Pending")
    stream = Stream(standin.admin, namespace, "p", 7)
    assert stream.code == 400 and "pod is not running" in stream.body
    stream.close()


@pytest.mark.parametrize("verbs, lacking", [(["get"], "create"), (["create"], "get")])
def test_both_verbs_are_needed(standin, namespace, pod, verbs, lacking):
    pod(free_port())
    standin.account(namespace, "u", [{"apiGroups": [""], "resources": ["pods/portforward"],
                                      "verbs": verbs}])
    user = Client(standin.kubeconfig_for(standin.token(namespace, "u"), namespace),
                  standin.scratch)
    stream = Stream(user, namespace, "p", 7)
    assert stream.code == 403
    assert 'cannot %s resource \\"pods/portforward\\"' % lacking in stream.body
    stream.close()
