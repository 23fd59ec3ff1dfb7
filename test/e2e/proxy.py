# SPDX-License-Identifier: Apache-2.0
"""A small HTTP proxy that serves CONNECT, as a test wants it to.

    with Proxy() as proxy:
        proxy.names["east.example:55671"] = port   # what it looks up
        ... proxy.port, proxy.wait("CONNECT east.example:55671")
"""

import base64
import contextlib
import socket
import threading

from harness import TIMEOUT

ASKS = b"HTTP/1.1 407 Proxy Authentication Required\r\n" \
       b'Proxy-Authenticate: Basic realm="tests"\r\nContent-Length: 0\r\n\r\n'


def pump(source, sink):
    """Until either end is closed; then both are."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


class Proxy:
    """`credentials`: "user:password", which it wants; `answer`: what it says to everybody instead
    of serving them (b"": nothing at all), and then it `hangs_up` or not."""

    def __init__(self, port=0, credentials=None, answer=None, hangs_up=False):
        self.names, self.requests, self.open = {}, [], []
        self.credentials, self.answer, self.hangs_up = credentials, answer, hangs_up
        self.changed = threading.Condition()
        self.door = socket.create_server(("127.0.0.1", port))
        self.port = self.door.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """It dies, and all that goes through it with it."""
        with contextlib.suppress(OSError):
            self.door.shutdown(socket.SHUT_RDWR)
        self.door.close()
        self.cut()

    def cut(self):
        with self.changed:
            ended, self.open = self.open, []
        for one in ended:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def profile(self, name="out", **attributes):
        return ["proxyProfile", {"name": name, "host": "127.0.0.1", "port": self.port,
                                 **attributes}]

    def wait(self, text, count=1):
        """Until so many requests that hold the text have come."""
        with self.changed:
            assert self.changed.wait_for(
                lambda: sum(text in one for one in self.requests) >= count, TIMEOUT), self.requests

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.door.accept()
                with self.changed:
                    self.open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        head = b""
        with contextlib.suppress(OSError):
            while b"\r\n\r\n" not in head:
                data = client.recv(1)  # no octet of what follows
                if not data:
                    return
                head += data
            text = head.decode()
            with self.changed:
                self.requests.append(text)
                self.changed.notify_all()
            self._respond(client, text)

    def _respond(self, client, text):
        place = text.split()[1]
        code = self.credentials and base64.b64encode(self.credentials.encode()).decode()
        if self.answer is not None:
            client.sendall(self.answer)
            if self.hangs_up:
                client.shutdown(socket.SHUT_RDWR)
        elif code and "\r\nProxy-Authorization: Basic %s\r\n" % code not in text:
            client.sendall(ASKS)
        else:
            self._tunnel(client, place)

    def _tunnel(self, client, place):
        port = self.names.get(place) or int(place.rpartition(":")[2])
        try:
            server = socket.create_connection(("127.0.0.1", port))
        except OSError:
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with self.changed:
            self.open.append(server)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=pump, args=(server, client), daemon=True).start()
        pump(client, server)
