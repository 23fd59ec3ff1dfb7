# SPDX-License-Identifier: Apache-2.0
"""Plain sockets as clients and servers of TCP services."""

import os
import socket
import threading
import time

from harness import TIMEOUT, Management, free_port, inter_router, link_to


def listener(port, address="echo", **attributes):
    return ["tcpListener", {"name": "l-" + address, "host": "127.0.0.1", "port": port,
                            "address": address, **attributes}]


def connector(port, address="echo", **attributes):
    return ["tcpConnector", {"name": "c-%s-%d" % (address, port), "host": "127.0.0.1",
                             "port": port, "address": address, **attributes}]


class Server:
    """A TCP server: `serve` gets each connection, in a thread of its own. One whose port shall be
    listened at again later has one of free_port(): others may be given to clients meanwhile."""

    def __init__(self, serve, port=None):
        self.serve = serve
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port or 0))
        self.socket.listen(4096)  # a crowd that finds it full calls again only after seconds
        self.port = self.socket.getsockname()[1]
        self.accepted = 0
        self.faults = []  # of its connections
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                s, _ = self.socket.accept()
            except OSError:
                return
            self.accepted += 1
            s.settimeout(TIMEOUT)
            threading.Thread(target=self._run, args=(s,), daemon=True).start()

    def _run(self, s):
        try:
            self.serve(s)
        except OSError as fault:
            self.faults.append(fault)
        finally:
            s.close()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def echo(s):
    while data := s.recv(65536):
        s.sendall(data)
    s.shutdown(socket.SHUT_WR)


def connect(port, host="127.0.0.1"):
    """As soon as something listens there."""
    end = time.monotonic() + TIMEOUT
    while True:
        try:
            s = socket.create_connection((host, port), TIMEOUT)
            s.settimeout(TIMEOUT)
            return s
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            threading.Event().wait(0.01)


def receive_all(s):
    parts = []
    while data := s.recv(1 << 20):
        parts.append(data)
    return b"".join(parts)


def exchange(port, data=b"hello", host="127.0.0.1"):
    with connect(port, host) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        assert receive_all(s) == data


def wait(condition, timeout=TIMEOUT):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        threading.Event().wait(0.01)


def idle_descriptors(made):
    """How many each router holds for good: those of its TCP connections are closed."""
    counts = []
    for router in made:
        management = Management(router)
        wait(lambda: management.query("tcpConnection") == [])
        management.query("router")  # a socket is closed at the end of the turn it was told gone in
        counts.append(descriptors(router) - 1)  # but for the one that asks
        management.close()
    return counts


def descriptors(router):
    return len(os.listdir("/proc/%d/fd" % router.process.pid))


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    s.close()


def service(routers, length, serve=echo, on_listener=None):
    """A listener at the first and a connector at the last of so many routers in a row, which knows
    the way back: before it does, a server may see a connection that ends at once, as the client is
    led to it again then."""
    server, port = Server(serve, free_port()), free_port()
    made, link = [], None
    for i in range(length):
        entities = [] if link is None else [link_to(link)]
        link = free_port()
        entities.append(inter_router(link))
        if i == 0:
            entities.append(listener(port, **on_listener or {}))
        if i == length - 1:
            entities.append(connector(server.port))
        made.append(routers("ABCDEF"[i], entities=entities))
    if length > 1:
        made[-1].wait_reaches(made[0])
    return made, server, port
