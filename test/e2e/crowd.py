# SPDX-License-Identifier: Apache-2.0
"""Many sockets in a process of its own, because a process may have only so many.

crowd.py serve            takes whoever comes until they end; says its port
crowd.py come PORT COUNT  opens so many at once, says "all are there"; a line drops them at once
"""

import resource
import selectors
import socket
import subprocess
import sys

from harness import Lines

RESET = b"\1\0\0\0\0\0\0\0"


def serve():
    door = socket.create_server(("127.0.0.1", 0), backlog=4096)
    door.setblocking(False)
    guests = selectors.DefaultSelector()
    guests.register(door, selectors.EVENT_READ)
    print(door.getsockname()[1], flush=True)
    while True:
        for key, _ in guests.select():
            try:
                if key.fileobj is not door:
                    if not key.fileobj.recv(4096):
                        raise ConnectionResetError
                    continue
                for _ in range(256):
                    s, _ = door.accept()
                    s.setblocking(False)
                    guests.register(s, selectors.EVENT_READ)
            except BlockingIOError:
                pass
            except ConnectionResetError:
                guests.unregister(key.fileobj)
                key.fileobj.close()


def come(port, count):
    waiting = selectors.DefaultSelector()
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", port))
        waiting.register(s, selectors.EVENT_WRITE)
    while waiting.get_map():
        for key, _ in waiting.select():
            error = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise SystemExit("connect: error %d" % error)
            waiting.unregister(key.fileobj)
    print("all are there", flush=True)
    sys.stdin.readline()
    for i, s in enumerate(sockets):
        if i % 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        s.close()
    print("all are gone", flush=True)


class Crowd:
    def __init__(self, *words):
        self.process = subprocess.Popen([sys.executable, __file__, *map(str, words)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.says = Lines(self.process.stdout)

    def port(self):
        self.says.wait("")
        return int(self.says.lines[0])

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if sys.argv[1] == "serve":
        serve()
    else:
        come(int(sys.argv[2]), int(sys.argv[3]))
