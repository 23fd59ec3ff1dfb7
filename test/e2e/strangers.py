# SPDX-License-Identifier: Apache-2.0
"""Servers at the end of a link that are no router: they say what a test wants them to."""

import socket
import ssl
import threading


class Server:
    """Accepts on 127.0.0.1 and does `talk` with each connection."""

    def __init__(self, talk):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.talk = talk
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            try:
                self.talk(connection)
            except OSError:
                pass
            connection.close()

    def close(self):
        self.socket.close()


def tls_server(papers, name, answer):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers / (name + ".crt"), papers / (name + ".key"))

    def talk(connection):
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.settimeout(10)
            if tls.recv(100):
                tls.sendall(answer)

    return Server(talk)
