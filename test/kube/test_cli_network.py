# SPDX-License-Identifier: Apache-2.0
"""Two namespaces made by the command line, with their routers and agents as processes: what the
commands tell of a network that works, and that it does."""

import json

import pytest
import yaml

import control
import pods
from cli import Cli
from control import kind, serving
from services import Server, connect, echo


class Member:
    """A namespace whose router runs beside it, as on one machine not all of its ports can be had."""

    def __init__(self, cluster, name, folder):
        self.cli = Cli(cluster, cluster.namespace(name), home=folder)
        self.ns, self.name, self.folder = self.cli.ns, name, folder / name
        self.admin = cluster.admin

    def start(self, *link):
        self.folder.mkdir()
        home = pods.Site(self.cli.cluster, self.ns, self.folder, account="agent")
        home.id = self.admin.get(kind("sites"), self.name, self.ns)["metadata"]["uid"]
        home.name = self.name
        self.pod, self.link = home.make_pod(self.name + "-1", group="beside"), link
        self.pod.configure(*link)
        self.pod.start()

    def serve(self, type_):
        """The router gets what the controller wants of that type."""
        def wanted(obj):
            return [[t, {**a, "host": a.get("host", "127.0.0.1")}]
                    for t, a in json.loads(obj["data"]["skrouterd.json"]) if t == type_]
        obj = self.admin.await_object("configmaps", "skupper-router", self.ns,
                                      lambda o: bool(wanted(o)), 120)
        self.pod.configure(*self.link, *wanted(obj))

    def await_matched(self, plural, name, field):
        self.admin.await_object(kind(plural), name, self.ns,
                                lambda o: (o.get("status") or {}).get(field), 120)


@pytest.fixture
def members(cluster, tmp_path):
    control.prepare(cluster)
    cluster.run_deployments()
    cluster.run_load_balancers()
    both = Member(cluster, "west", tmp_path), Member(cluster, "east", tmp_path)
    yield both
    for one in both:
        one.pod.stop()


def test_the_main_job(members, tmp_path):
    west, east = members
    server = Server(echo)
    with serving(west.cli.cluster, control.grant_credentials(west.cli.cluster)):
        west.cli.run("site", "create", "west", "--enable-link-access")
        east.cli.run("site", "create", "east")
        west.cli.run("token", "issue", "token.yaml")
        east.cli.run("token", "redeem", "token.yaml")
        link = yaml.safe_load((tmp_path / "token.yaml").read_text())["metadata"]["name"]
        port = pods.free_port()
        west.start(["listener", {"name": "in", "role": "inter-router", "host": "127.0.0.1",
                                 "port": port}])
        east.start(["connector", {"name": link, "role": "inter-router", "host": "127.0.0.1",
                                  "port": str(port)}])
        west.cli.cluster.run_pod(west.ns, "backend-1", {"app": "backend"}, "127.0.0.1")
        west.cli.run("connector", "create", "backend", str(server.port))
        east.cli.run("listener", "create", "backend", "8080")
        west.serve("tcpConnector")
        east.serve("tcpListener")
        service = west.admin.get("services", "backend", east.ns)
        with connect(service["spec"]["ports"][0]["targetPort"]) as c:
            c.sendall(b"hello")
            assert c.recv(5) == b"hello"

        # As scripts of the first version wait.
        said = east.cli.run("link", "status", "--wait", "120")
        assert said.splitlines()[1].split() == [link, "Ready", "1", "OK"]
        east.await_matched("listeners", "backend", "hasMatchingConnector")
        west.await_matched("connectors", "backend", "hasMatchingListener")
        assert east.cli.run("listener", "status").splitlines()[1].split() == [
            "backend", "Ready", "backend", "backend", "8080", "true", "OK"]
        assert west.cli.run("connector", "status").splitlines()[1].split() == [
            "backend", "Ready", "backend", "app=backend", str(server.port), "true", "OK"]
        # Who may wait for ready has it at once.
        assert 'Listener "backend" is updated' in east.cli.run(
            "listener", "update", "backend", "--wait", "ready")
        assert east.cli.run("service", "status") == (
            "Services exposed through Skupper:\n╰─ backend:8080 (tcp)\n")
        said = east.cli.run("network", "status")
        assert said.startswith("Sites:\n") and said.count("[local]") == 1
        assert "link %s to %s (up, cost 1)" % (link, west.name) in said
        assert "offers backend (127.0.0.1:%d)" % server.port in said and "uses backend" in said
        assert "It is connected to 1 other site. It has 1 exposed service." in east.cli.run("status")
    server.close()
