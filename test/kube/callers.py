# SPDX-License-Identifier: Apache-2.0
"""Clients of a service outside of the cluster, who note each connection that fails. They come in by
a load balancer or a port of a node, so that the cluster itself spreads them over the routers."""

import http.client
import threading
import time

import pytest

SECONDS = 60
NEW_MIN = 300    # connections that have to be seen
PAUSE = 0.03     # between the connections of one caller
ASKED = 20       # requests on a connection that lasts,
LASTING = 0.5    # with this pause between them
TIMEOUT = 10     # of a connection, and of an answer


def ask(connection):
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise OSError("answered %d: %r" % (answer.status, body))


class Callers:
    """So many threads; each makes connections one after another, and asks on each as often as is
    said."""

    def __init__(self, address, threads, requests, pause):
        self.address, self.requests, self.pause = address, requests, pause
        self.made, self.failures = 0, []
        self.lock, self.end = threading.Lock(), threading.Event()
        self.began = time.monotonic()
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def call(self):
        connection = http.client.HTTPConnection(*self.address, timeout=TIMEOUT)
        try:
            connection.connect()
            connection.auto_open = 0  # one connection: what ends too early is not made anew
            for i in range(self.requests):
                ask(connection)
                if self.requests > 1 and self.end.wait(self.pause):
                    return
        finally:
            connection.close()

    def run(self):
        while not self.end.is_set():
            at, failure = time.monotonic(), None
            try:
                self.call()
            except (OSError, http.client.HTTPException) as e:
                failure = e
            with self.lock:
                self.made += 1
                if failure:
                    self.failures.append("%.1f s, after %.1f s: %r" % (
                        at - self.began, time.monotonic() - at, failure))
            self.end.wait(PAUSE)

    def stop(self):
        self.end.set()
        for thread in self.threads:
            thread.join()


class Crowd:
    """New connections and lasting ones to an address, for as long as the block runs, and until there
    were enough for a statement."""

    def __init__(self, address):
        self.address = address

    def __enter__(self):
        self.new = Callers(self.address, 2, 1, 0)
        self.lasting = Callers(self.address, 6, ASKED, LASTING)
        return self

    def __exit__(self, kind_of_error, *_):
        while not kind_of_error and self.new.made < NEW_MIN:
            self.new.end.wait(0.1)
        for callers in (self.new, self.lasting):
            callers.stop()

    def figures(self):
        return ", ".join("%d of %d %s connections failed" % (len(c.failures), c.made, kind)
                         for kind, c in (("new", self.new), ("lasting", self.lasting)))


def _answers(address):
    try:
        connection = http.client.HTTPConnection(*address, timeout=3)
        ask(connection)
        connection.close()
        return True
    except (OSError, http.client.HTTPException):
        return False


def way_in(place, name, seconds=SECONDS):
    """Where the Service `name`, which leads to routers, is reached from here: (host, port)."""
    admin, outside = place.admin, name + "-outside"
    if not admin.find("services", outside, place.ns):
        spec = admin.get("services", name, place.ns)["spec"]
        admin.create("services", {"metadata": {"name": outside}, "spec": {
            "type": "LoadBalancer", "selector": spec["selector"], "ports": [
                {k: p[k] for k in ("name", "port", "targetPort", "protocol") if k in p}
                for p in spec["ports"]]}}, place.ns)
    nodes = [a["address"] for n in admin.list("nodes")["items"]
             for a in n["status"]["addresses"] if a["type"] in ("ExternalIP", "InternalIP")]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        service = admin.get("services", outside, place.ns)
        port = service["spec"]["ports"][0]
        balanced = [i.get("ip") or i.get("hostname") for i in (
            service["status"].get("loadBalancer") or {}).get("ingress") or ()]
        for address in ([(host, port["port"]) for host in balanced] +
                        [(host, port["nodePort"]) for host in nodes]):
            if _answers(address):
                return address
        threading.Event().wait(0.5)
    pytest.skip("neither a load balancer nor a node of this cluster is reached from here")
