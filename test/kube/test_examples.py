# SPDX-License-Identifier: Apache-2.0
"""The examples in demo/kubernetes: each site's file in a namespace of its own, with the controller
running; what comes of it, and that what one site asks for another one offers."""

import json

import pytest
import yaml

import control
from control import Controller, Site, kind

FOLDER = control.ROOT / "demo" / "kubernetes"
EXAMPLES = sorted(p.name for p in FOLDER.iterdir() if p.is_dir())
PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "Service": "services",
           "Site": kind("sites"), "Listener": kind("listeners"), "Connector": kind("connectors")}


class Place(Site):
    """A site of an example, in its namespace."""

    def __init__(self, cluster, path):
        super().__init__(cluster, has_site=False)
        self.name = path.stem
        self.documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))

    def of(self, kind_name):
        return [d for d in self.documents if d["kind"] == kind_name]

    def apply(self):
        for document in self.documents:
            self.admin.apply(PLURALS[document["kind"]], document, self.ns)
        for workload in self.of("StatefulSet"):
            name, spec = workload["metadata"]["name"], workload["spec"]
            for i in range(spec["replicas"]):
                self.cluster.run_pod(self.ns, "%s-%d" % (name, i),
                                     spec["template"]["metadata"]["labels"],
                                     "10.8.%d.%d" % (len(self.ns) % 250, i + 1))

    def pods_of(self, connector):
        app = connector["spec"]["selector"].removeprefix("app=")
        return [p for p in self.admin.list("pods", self.ns)["items"]
                if p["metadata"].get("labels", {}).get("app") == app]

    def replicas_of(self, connector):
        app = connector["spec"]["selector"].removeprefix("app=")
        return sum(w["spec"]["replicas"] for k in ("Deployment", "StatefulSet")
                   for w in self.of(k) if w["metadata"]["name"] == app)


def keys(places, kind_name):
    return {d["spec"]["routingKey"] for p in places for d in p.of(kind_name)}


def check_listener(place, listener):
    spec = listener["spec"]
    place.await_condition("listeners", listener["metadata"]["name"], "Configured", "True")
    service = place.admin.await_object("services", spec["host"], place.ns)["spec"]
    entity = place.config()["tcpListener", "listener/" + listener["metadata"]["name"]]
    assert entity["address"] == spec["routingKey"]
    assert [(p["port"], str(p["targetPort"])) for p in service["ports"]] == [
        (spec["port"], entity["port"])]
    assert service["selector"]["skupper.io/component"] == "router"


def check_connector(place, connector):
    name, spec = connector["metadata"]["name"], connector["spec"]
    place.await_condition("connectors", name, "Configured", "True")
    pods = place.pods_of(connector)
    assert len(pods) == place.replicas_of(connector) > 0
    config = place.config()
    for pod in pods:
        ip = pod["status"]["podIP"]
        entity = config["tcpConnector", "connector/%s@%s" % (name, ip)]
        assert (entity["host"], entity["port"]) == (ip, str(spec["port"]))
        assert entity["address"] == spec["routingKey"]


@pytest.fixture
def home(standin):
    control.prepare(standin)
    standin.run_deployments()
    standin.run_load_balancers()
    return standin


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_what_it_says(home, example):
    places = [Place(home, path) for path in sorted((FOLDER / example).glob("*.yaml"))]
    assert len(places) > 1
    assert keys(places, "Listener") == keys(places, "Connector")
    with Controller(home):
        for place in places:
            place.apply()
        for place in places:
            place.await_condition("sites", place.name, "Configured", "True")
            place.await_condition("sites", place.name, "Running", "True")
            for listener in place.of("Listener"):
                check_listener(place, listener)
            for connector in place.of("Connector"):
                check_connector(place, connector)
        # One of them is where the others link to.
        ins = [p for p in places if p.of("Site")[0].get("spec", {}).get("linkAccess")]
        assert len(ins) == 1
        ins[0].await_condition("sites", ins[0].name, "Resolved", "True")


def test_the_pods_of_a_headless_service_are_known_by_name(home):
    east, west = (Place(home, FOLDER / "headless" / (n + ".yaml")) for n in ("east", "west"))
    with Controller(home):
        for place in (east, west):
            place.apply()
            place.await_condition("sites", place.name, "Configured", "True")
        east.await_config(lambda c: all(
            c.get(("tcpConnector", "connector/web@web-%d" % i), {}).get("address") == "web.web-%d" % i
            for i in range(3)))
        # What the router of the other site hears of them.
        status = {"addresses": [], "siteStatus": [{
            "site": {"identity": "e", "name": "east"},
            "routerStatus": [{"router": {"name": "r"}, "links": [], "routerAccess": [],
                              "listeners": [], "connectors": [
                                  {"destHost": "10.0.0.1", "destPort": "8080", "target": "web-%d" % i,
                                   "address": "web.web-%d" % i} for i in range(3)]}]}]}
        west.admin.create("configmaps", {"metadata": {"name": "skupper-network-status"},
                                         "data": {"NetworkStatus": json.dumps(status)}}, west.ns)
        for i in range(3):
            service = west.admin.await_object("services", "web-%d" % i, west.ns, bool, 120)
            assert service["spec"]["ports"][0]["port"] == 8080


def test_servers_of_redis_name_themselves_as_all_sites_know_them():
    documents = {p.stem: list(yaml.safe_load_all(p.read_text(encoding="utf-8")))
                 for p in (FOLDER / "redis").glob("*.yaml")}
    names = {}
    for site, all_of_it in documents.items():
        for workload in (d for d in all_of_it if d["kind"] == "Deployment"):
            words = " ".join(workload["spec"]["template"]["spec"]["containers"][0]["args"]).split()
            [name] = [then for word, then in zip(words, words[1:]) if word.endswith("announce-ip")]
            names[name] = workload["metadata"]["name"]
            assert (name, "app=" + names[name]) in [
                (d["spec"]["routingKey"], d["spec"]["selector"]) for d in all_of_it
                if d["kind"] == "Connector"]
            # Addresses would be others in each site.
            assert names[name] == "redis" or "announce-hostnames yes" in " ".join(words)
    assert len(names) == 2 * len(documents)
    for all_of_it in documents.values():
        assert set(names) <= {d["spec"]["host"] for d in all_of_it if d["kind"] == "Listener"}
