# SPDX-License-Identifier: Apache-2.0
"""Routers are killed while programs talk through them. Times are told in the report."""

import http.client
import subprocess
import threading
import time

from harness import TIMEOUT, free_port, inter_router, link_to, wait_all_reach
from services import connect, connector, listener
from test_tcp_programs import program, programs  # noqa: F401 (a fixture)


class Visitor:
    """Asks for a page again and again, each time on a new connection."""

    def __init__(self, port):
        self.port, self.visits = port, []
        self.is_over = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.is_over:
            began, ok = time.monotonic(), True
            try:
                c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
                c.request("GET", "/")
                ok = len(c.getresponse().read()) == 10240
                c.close()
            except (OSError, http.client.HTTPException):
                ok = False
            with self.changed:
                self.visits.append((began, time.monotonic(), ok))
                self.changed.notify_all()

    def first_good(self, since):
        """When the first visit that was begun after `since` and went well was over."""
        def found():
            return next((end for began, end, ok in self.visits if ok and began >= since), None)

        with self.changed:
            assert self.changed.wait_for(found, TIMEOUT), self.visits[-20:]
            return found()

    def lost(self, since):
        return sum(not ok for began, _, ok in self.visits if began >= since)

    def end(self):
        self.is_over = True
        self.thread.join()


def nginx(programs, tmp_path):
    port = free_port()
    (tmp_path / "index.html").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "nginx.conf").write_text("""
        daemon off; pid %(dir)s/pid; error_log stderr; worker_processes 1; user root;
        events { worker_connections 512; }
        http { access_log off; server { listen 127.0.0.1:%(port)d; root %(dir)s; } }
    """ % {"dir": tmp_path, "port": port})
    programs("nginx", "-p", tmp_path, "-c", tmp_path / "nginx.conf")
    connect(port).close()
    return port


def redis(programs):
    port = free_port()
    programs("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "")
    connect(port).close()
    return port


def test_each_router_is_killed_in_turn_and_programs_go_on(
        routers, programs, tmp_path, record_property):
    """A ring of six: pages are fetched at A from servers at C and at E, and Redis at F is asked at
    A, which concerns nobody else."""
    web, near = nginx(programs, tmp_path), redis(programs)
    pages, asked = free_port(), free_port()
    ports = {name: free_port() for name in "ABCDEF"}
    extra = {"A": [listener(pages, "web"), listener(asked, "near")],
             "C": [connector(web, "web")], "E": [connector(web, "web")],
             "F": [connector(near, "near")]}
    made = {}
    for name, before in zip("ABCDEF", "FABCDE"):
        made[name] = routers(name, entities=[
            inter_router(ports[name]), link_to(ports[before]), *extra.get(name, [])])
    wait_all_reach(list(made.values()))
    a = made["A"]
    for name in ("web", "near"):
        a.log.wait("listening name=l-" + name)
    visitor = Visitor(pages)
    visitor.first_good(0)
    bystander = subprocess.Popen(
        [program("redis-benchmark"), "-p", str(asked), "-c", "20", "-n", "100000000", "-q", "-t",
         "set,get"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for name in "BCDEF":
            since = time.monotonic()
            made[name].kill()
            took = visitor.first_good(since) - since
            record_property("ms until a new connection works after the death of " + name,
                            round(1000 * took, 1))
            assert name == "F" or bystander.poll() is None, "connections beside it were disturbed"
            made[name].start()
            made[name].wait_reaches(*(other for other in "ABCDEF" if other != name))
            record_property("visits in vain around the death of " + name, visitor.lost(since))
            visitor.first_good(time.monotonic())
    finally:
        bystander.kill()
        bystander.wait()
        visitor.end()
