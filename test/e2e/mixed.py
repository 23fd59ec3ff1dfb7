# SPDX-License-Identifier: Apache-2.0
"""Networks of which some routers are the existing one and some are ours."""

import itertools
import subprocess
import time

from harness import PEER, SKROUTERD, Management, Router, free_port, inter_router, link_to


def make_certificates(directory):
    """An authority, and one certificate for every router."""
    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, cwd=directory)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.crt", "-days", "1",
            "-subj", "/CN=interop")
    (directory / "san").write_text("subjectAltName=DNS:localhost\n")
    openssl("req", *curve, "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=a router")
    openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", "tls.crt", "-days", "1", "-extfile", "san")
    return ["sslProfile", {"name": "net", "caCertFile": str(directory / "ca.crt"),
                           "certFile": str(directory / "tls.crt"),
                           "privateKeyFile": str(directory / "tls.key")}]


class Node(Router):
    """A router of either make, with a connection to its management."""

    def __init__(self, directory, name, kind, entities, peer=PEER, **attributes):
        self.is_edge = kind.isupper()
        self.is_ours = kind in "oO"
        super().__init__(directory, name, mode="edge" if self.is_edge else "interior",
                         program=SKROUTERD if self.is_ours else peer, entities=entities,
                         **attributes)

    def topological(self, address):
        return ("amqp:/_edge/%s/%s" if self.is_edge else "amqp:/_topo/0/%s/%s") % (
            self.name, address)

    def until(self, type_, is_true, timeout=40):
        """Asks its management again and again, the existing router tells nobody of changes."""
        management = Management(self)
        end = time.monotonic() + timeout
        while not is_true(management.query(type_)):
            assert time.monotonic() < end, (self.name, management.query(type_))
        management.close()

    def wait_routes(self, others):
        """The existing router knows a neighbour before it has computed the way there."""
        wanted = {o.name for o in others if o is not self}
        self.until("router.node", lambda rows: wanted <= {r["id"] for r in rows if r.get("cost")})

    def wait_known(self, addresses):
        """Until it knows where each of them is consumed: whoever it passes a message to may hear of
        the address later than the sender's router, and would release it."""
        keys = {"M" + a for a in addresses}
        self.until("router.address", lambda rows: keys <= {
            r["key"] for r in rows if r["subscriberCount"] or r["remoteCount"]})

    def wait_elsewhere(self, address):
        """Until it knows of consumers beside its own one: an edge router with a sender hears from
        its interior that there are some, and till then keeps everything at home."""
        self.until("router.address", lambda rows: any(
            r["key"] == "M" + address and r["subscriberCount"] + r["remoteCount"] >= 2
            for r in rows))

    def wait_way(self, target, via, ingresses=()):
        """Until it reaches `target` over its neighbour `via` (None: it is one), and passes on what
        entered the network at `ingresses`. The existing router computes routes once a second, and
        until it has, releases what would go the old way."""
        wanted, via = {i.name for i in ingresses}, via and via.name
        self.until("router.node", lambda rows: any(
            r["id"] == target.name and r.get("cost") and r["nextHop"] == via
            and wanted <= set(r["validOrigins"] or ()) for r in rows))

    def wait_address(self, address, subscribers, remotes):
        self.until("router.address", lambda rows: any(
            r["key"] == "M" + address and r["subscriberCount"] == subscribers
            and r["remoteCount"] == remotes for r in rows))


class Network:
    """Routers of the given kinds (o ours, p the existing one; capitals are edge routers). `links`
    says who connects to whom, as "01 12"; `peer` is the program of the
    existing router."""

    def __init__(self, directory, kinds, links, data="2", tls=False, costs=(), peer=PEER):
        names = ["N%d%s" % (i, kind) for i, kind in enumerate(kinds)]
        entities = [[] for _ in kinds]
        self.links, self.costs = [(int(a), int(b)) for a, b in links.split()], costs
        if tls:
            profile = make_certificates(directory)
            for e in entities:
                e.append(profile)
        for (a, b), cost in itertools.zip_longest(self.links, costs, fillvalue=1):
            self._link(entities[a], entities[b], kinds[a].isupper(), tls, cost)
        self.nodes = [Node(directory, name, kind, e, peer, dataConnectionCount=data)
                      for name, kind, e in zip(names, kinds, entities)]
        for node in self.nodes:
            node.network = self
        self.wait_up()

    def _distances(self, without=None):
        """How far it is from each interior router to each other, but for the ways through one."""
        names = [n.name for n in self.interiors() if n.name != without]
        far = {(a, b): 0 if a == b else float("inf") for a in names for b in names}
        for (a, b), cost in itertools.zip_longest(self.links, self.costs, fillvalue=1):
            a, b = self.nodes[a].name, self.nodes[b].name
            if (a, b) in far:
                far[a, b] = far[b, a] = cost
        for via, a, b in itertools.product(names, repeat=3):
            far[a, b] = min(far[a, b], far[a, via] + far[via, b])
        return far

    def _wait_origins(self, node):
        """Until it passes on what has its only shortest way through it. The existing router knows
        its neighbours before it knows who comes to them through it, and till then drops what
        does: without a word if that is an answer of a router's management."""
        far = self._distances()
        through = {pair for pair, d in self._distances(node.name).items() if d > far[pair]}
        node.until("router.node", lambda rows: all(
            o in (r["validOrigins"] or ()) for r in rows for o, a in through if a == r["id"]))

    def _link(self, connecting, listening, is_edge, tls, cost):
        role = "edge" if is_edge else "inter-router"
        port = free_port()
        listener, connector = inter_router(port), link_to(port, cost, role)
        listener[1]["role"] = role
        if tls:
            listener[1].update(sslProfile="net", saslMechanisms="EXTERNAL", authenticatePeer=True,
                               requireSsl=True)
            connector[1].update(sslProfile="net", host="localhost")
        listening.append(listener)
        connecting.append(connector)

    def interiors(self):
        return [n for n in self.nodes if not n.is_edge]

    def edges_of(self, node):
        at = self.nodes.index(node)
        return [self.nodes[a] for a, b in self.links if b == at and self.nodes[a].is_edge]

    def wait_up(self):
        for node in self.interiors():
            node.wait_routes(self.interiors())
            self._wait_origins(node)
            edges = {e.name for e in self.edges_of(node)}
            if edges:
                node.until("connection", lambda rows: edges <= {r["container"] for r in rows})

    def running(self):
        return [n for n in self.interiors() if n.process.poll() is None]

    def pairs(self):
        return list(itertools.permutations(self.nodes, 2))

    def wait_subscribers(self, address):
        """Until every interior router knows that every router has one consumer of it."""
        count = len(self.interiors())
        for node in self.interiors():
            node.wait_address(address, 1 + len(self.edges_of(node)), count - 1)

    def stop(self):
        for node in self.nodes:
            node.stop()
        for node in self.nodes:
            assert not node.is_ours or node.process.returncode in (0, -9), "\n".join(
                node.log.lines[-80:])
