#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""echo.py PORT NAME: answers each line on all addresses with its own name and the line.
echo.py ask HOST PORT LINE: sends a line there and prints what comes back.
echo.py hold HOST PORT: the same for each line of standard input, over one connection."""

import socket
import socketserver
import sys


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(sys.argv[2].encode() + b" " + line)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True


def talk(lines):
    with socket.create_connection((sys.argv[2], int(sys.argv[3])), timeout=10) as s:
        file = s.makefile("rw")
        for line in lines:
            s.settimeout(60 if sys.argv[1] == "hold" else 5)
            file.write(line.rstrip("\n") + "\n")
            file.flush()
            answer = file.readline()
            if not answer:
                sys.exit("nobody answers")
            print(answer, end="", flush=True)


if sys.argv[1] == "ask":
    talk([sys.argv[4]])
elif sys.argv[1] == "hold":
    talk(sys.stdin)
else:
    Server(("", int(sys.argv[1])), Handler).serve_forever()
