#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Three sites, one network: services by name, wherever they run.

Run by `make demo`. Everything happens on this machine in a temporary directory, and ends by itself.
Each site is a namespace with an address of its own (127.1.0.x) to stand for another place.
"""

import contextlib
import http.client
import http.server
import os
import pathlib
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
SKUPPER = os.environ.get("SKUPPER", str(ROOT / "build" / "skupper"))
TIMEOUT = 10
COLOURS = sys.stdout.isatty() and "NO_COLOR" not in os.environ
SITES = {"public": "a public cloud", "private": "a private cloud", "on-prem": "the office"}
HOSTS = {"public": "127.1.0.1", "private": "127.1.0.2", "on-prem": "127.1.0.3"}
WEB, DB = 8080, 5432


def paint(code, text):
    return "\033[%sm%s\033[0m" % (code, text) if COLOURS else text


def title(text):
    print("\n" + paint("1", text), flush=True)


def say(text):
    print("   " + text, flush=True)


def skupper(site, *words):
    """Runs a command as somebody at that site would; what it prints."""
    if words[0] not in ("network", "service"):
        say(paint("2", "%s$ skupper %s" % (site, " ".join(words))))
    done = subprocess.run([SKUPPER, "-p", "linux", "-n", site, *words], capture_output=True,
                          text=True)
    if done.returncode != 0:
        raise SystemExit("skupper %s failed:\n%s%s" % (" ".join(words), done.stdout, done.stderr))
    return done.stdout


def until(what, question):
    """Asks until the answer is true; the answer."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise SystemExit("gave up after %d s: %s" % (TIMEOUT, what))
        time.sleep(0.01)


class Web(http.server.ThreadingHTTPServer):
    """A web service that says where it runs, and works a moment for each answer."""

    daemon_threads = True
    request_queue_size = 128  # of Python's own 5 a burst of forty would be turned away

    def __init__(self, place):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                time.sleep(0.05)
                body = ("hello from " + place).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Database(socketserver.ThreadingTCPServer):
    """Keeps values by key, line by line: "set k v", "get k"."""

    daemon_threads = allow_reuse_address = True

    def __init__(self):
        values = {}

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    words = line.decode().split()
                    if words[0] == "set":
                        values[words[1]] = words[2]
                    self.wfile.write((values.get(words[1], "") + "\n").encode())

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def get(host, connected=lambda: None):
    """A request to the web service as seen at that address; None: no answer."""
    connection = http.client.HTTPConnection(host, WEB, timeout=5)
    with contextlib.suppress(OSError):
        connection.connect()
    connected()
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except OSError:
        return None


def ask(host, line):
    """A line to the database as seen at that address; None: no answer."""
    try:
        with socket.create_connection((host, DB), timeout=2) as s:
            s.sendall((line + "\n").encode())
            return s.makefile().readline().strip()
    except OSError:
        return None


def begin(directory):
    os.environ["SKUPPER_OUTPUT_PATH"] = str(directory / "sites")
    title("Three sites, each with its own router and certificates, in its own namespace.")
    for site, place in SITES.items():
        say("%s: %s" % (site, place))
    for site in SITES:
        access = ["--enable-link-access"] if site == "public" else []
        skupper(site, "site", "create", site, *access, "--service-host", HOSTS[site])
        skupper(site, "system", "start")


def link(directory):
    title("The public site issues a token; the others redeem it. Links are made outwards only.")
    token = str(directory / "token.yaml")
    skupper("public", "token", "issue", token, "--redemptions-allowed", "2")
    for site in ("private", "on-prem"):
        skupper(site, "token", "redeem", token)


def expose(servers):
    title("A database in the private cloud and a web service in the public one are exposed.")
    servers["db"], servers["web"] = Database(), Web("the public cloud")
    skupper("private", "expose", "host", "localhost:%d" % servers["db"].server_address[1],
            "--address", "db", "--port", str(DB))
    skupper("public", "expose", "host", "localhost:%d" % servers["web"].server_address[1],
            "--address", "web", "--port", str(WEB))


def use():
    title("A client in the office uses both, by name and port, as if they were local.")
    until("the database answers in the office",
          lambda: ask(HOSTS["on-prem"], "set colour blue"))
    say("db:%d  set colour blue; get colour -> %s" % (DB, ask(HOSTS["on-prem"], "get colour")))
    say("web:%d GET / -> %s" % (WEB, until("the web service answers in the office",
                                           lambda: get(HOSTS["on-prem"]))))


def get_many(count):
    """So many requests at a time; how often each place answered."""
    answers, all_connected = [], threading.Barrier(count)

    def request():
        answers.append(get(HOSTS["on-prem"], all_connected.wait))

    asking = [threading.Thread(target=request) for _ in range(count)]
    for t in asking:
        t.start()
    for t in asking:
        t.join()
    return {place: sum(place in (a or "") for a in answers) for place in ("public", "private")}


def add(servers):
    title("A second web service starts in the private cloud, under the same name: they share.")
    servers["web2"] = Web("the private cloud")
    skupper("private", "expose", "host", "localhost:%d" % servers["web2"].server_address[1],
            "--address", "web", "--port", str(WEB))
    until("the second instance answers too", lambda: get_many(20)["private"] > 0)
    counts = get_many(40)
    say("40 requests at a time: %d answered by the public cloud, %d by the private cloud"
        % (counts["public"], counts["private"]))


def show():
    title("skupper network status, at the office:")

    def picture():
        text = skupper("on-prem", "network", "status")
        return text if all(s in text for s in SITES) and text.count("offers web") >= 2 else None

    for line in until("every site is known in the office", picture).splitlines():
        say(line)


def lose(servers):
    title("The web service of the public cloud is killed. The other one takes over.")
    servers["web"].shutdown()
    servers["web"].server_close()
    until("the private cloud answers everything",
          lambda: [get(HOSTS["on-prem"]) for _ in range(3)] == ["hello from the private cloud"] * 3)
    say("web:%d GET / -> hello from the private cloud" % WEB)


def main():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="skupper-demo-"))
    servers = {}
    began = time.monotonic()
    try:
        begin(directory)
        link(directory)
        expose(servers)
        use()
        add(servers)
        show()
        lose(servers)
        title("Done in %.1f s. Next: docs/sites.md, and \"skupper --help\"."
              % (time.monotonic() - began))
    finally:
        subprocess.run([SKUPPER, "-p", "linux", "system", "uninstall", "--force"],
                       stdout=subprocess.DEVNULL)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
