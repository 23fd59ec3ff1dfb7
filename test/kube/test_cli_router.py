# SPDX-License-Identifier: Apache-2.0
"""Commands that ask the router in its pod, to which the API server leads (pods/portforward)."""

import json
import tarfile

import pytest

import control
from cli import Cli
from control import kind
from pods import free_port, wait
from harness import Router, inter_router, link_to

READ = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
FORWARD = {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]}


@pytest.fixture
def place(standin, namespace, tmp_path):
    """A namespace, and a router of this machine that has a service of another router."""
    control.prepare(standin)
    port = free_port()
    west = Router(tmp_path, "west", entities=[inter_router(port), [
        "tcpListener", {"name": "listener/db", "host": "127.0.0.1", "port": free_port(),
                        "address": "db"}]])
    east = Router(tmp_path, "east", entities=[link_to(port), [
        "tcpConnector", {"name": "connector/db", "host": "127.0.0.1", "port": port,
                         "address": "db"}]])
    west.wait_reaches(east)
    made = Place(standin, namespace, tmp_path, west)
    yield made
    for router in (west, east):
        router.stop()


class Place:
    def __init__(self, cluster, ns, folder, west):
        self.cluster, self.ns, self.folder, self.west = cluster, ns, folder, west
        self.cli = Cli(cluster, ns, home=folder)

    def pod(self, name="skupper-router-1", port=None):
        self.cluster.run_pod(self.ns, name, {"skupper.io/component": "router"}, "127.0.0.1")
        self.cluster.admin.patch("pods", name, {"metadata": {"annotations": {
            "standin/port-5672": str(port or self.west.port)}}}, self.ns)

    def as_user(self, name, rules):
        """The command line of somebody who may do this and nothing else."""
        self.cluster.account(self.ns, name, rules)
        return Cli(self.cluster, self.ns, home=self.folder, kubeconfig=self.cluster.kubeconfig_for(
            self.cluster.token(self.ns, name), self.ns))


def test_a_service_is_traced_from_the_routers_pod(place):
    place.pod()
    # The route to the service is learned a moment after the router.
    wait(lambda: "east" in place.cli.ask("trace", "db").stdout,
         lambda: place.cli.ask("trace", "db"))
    told = json.loads(place.cli.run("trace", "db", "-o", "json"))
    assert [hop["router"] for hop in told["path"]] == ["west", "east"]
    assert told["server"]["name"] == "connector/db"
    assert place.cli.run("why", "db") .startswith(place.cli.run("trace", "db").splitlines()[0])
    place.cli.run("trace", "nobody", status=1)
    # Several questions and long answers in one go, over one connection.
    assert place.as_user("friend", READ + [FORWARD]).run("trace", "db").count("east") >= 1


def test_what_is_in_the_way_to_the_router_is_told(place):
    refused = place.cli.ask("trace", "db")
    assert refused.returncode == 1
    assert "No router of a site runs in the namespace" in refused.stdout + refused.stderr
    place.pod(port=free_port())
    refused = place.cli.ask("trace", "db")
    assert refused.returncode == 1
    assert "The router does not answer: skupper-router-1:5672" in refused.stdout + refused.stderr
    for rules, right in ((READ, "get"), (READ + [{**FORWARD, "verbs": ["get"]}], "create")):
        refused = place.as_user("reader-" + right, rules).ask("trace", "db")
        assert refused.returncode == 1
        words = refused.stdout + refused.stderr
        assert "cannot reach port 5672 of pod skupper-router-1" in words
        assert 'cannot %s resource "pods/portforward"' % right in words
        assert "a Role that allows it must be bound to this user" in words


def test_of_two_routers_the_one_that_answers_is_asked(place):
    place.pod("skupper-router-0", port=free_port())
    place.pod("skupper-router-1")
    wait(lambda: "east" in place.cli.ask("trace", "db").stdout,
         lambda: place.cli.ask("trace", "db"))


def dump(place, cli):
    cli.run("debug", "dump", "d")
    [path] = place.folder.glob("d-*.tar.gz")
    with tarfile.open(path) as archive:
        files = {m.name.lstrip("./"): archive.extractfile(m).read().decode()
                 for m in archive.getmembers() if m.isfile()}
    path.unlink()
    return files


def test_a_dump_has_what_the_router_tells(place):
    place.pod()
    files = dump(place, place.cli)
    [router] = json.loads(files["skstat/west-skstat-g.json"])
    assert router["id"] == "west"
    assert "connector/db" not in files["skstat/west-skstat-tcp-connectors.json"]
    for letter in "clneamp":
        json.loads(files["skstat/west-skstat-%s.json" % letter])
    files = dump(place, place.as_user("reader", READ))
    assert not [name for name in files if name.startswith("skstat/")]
    assert "pods/portforward" in files["errors.txt"]
    assert "site-namespace/resources/Pod-skupper-router-1.yaml" in files


def test_the_doctor_tells_what_the_router_meets_in_its_pod(place, tmp_path):
    gone = free_port()
    with_link = Router(tmp_path, "linked", entities=[
        ["connector", {"name": "out", "host": "127.0.0.1", "port": gone, "role": "inter-router"}]])
    with_link.log.wait("Connection refused")
    place.pod(port=with_link.port)
    place.cluster.admin.create(kind("links"), {
        **control.resource("Link", "out", endpoints=[
            {"name": "inter-router", "host": "127.0.0.1", "port": str(gone)}])}, place.ns)

    def steps(cli):
        return {one["step"]: one for one in json.loads(
            cli.run("link", "doctor", "out", "-o", "json", "--timeout", "5s", status=1))["steps"]}

    told = steps(place.cli)["router"]
    assert told["result"] == "failed" and "NetworkPolicy" in told["next"]
    assert told["message"] == "connect to 127.0.0.1:%d: Connection refused" % gone
    rules = READ + [{"apiGroups": ["skupper.io"], "resources": ["*"], "verbs": ["get", "list"]}]
    told = steps(place.as_user("reader", rules))
    assert told["router"]["result"] == "skipped"
    assert "pods/portforward" in told["router"]["message"]
    assert told["port"]["result"] == "failed"
    with_link.stop()
