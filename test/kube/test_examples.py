# SPDX-License-Identifier: Apache-2.0
"""The examples in demo/kubernetes, in both forms: each site's file in a namespace of its own, with
the controller running; what comes of it, and what other sites get of it. What their programs do
with each other is in test_examples_pods.py."""

import json

import pytest

import control
import pods
from control import Controller, Site
from examples import (FOLDER, GIVEN, PLURALS, grant_names, is_hub, notes_of, site_map,
                      sites_of)
from test_annotated import MAP, ROUTER, SLICES, entries
from test_version_1 import Place as PlainPlace

EXAMPLES = sorted(p.name for p in FOLDER.iterdir() if p.is_dir())
HEADLESS = "skupper.io/headless"


def programs(documents):
    """What runs, whatever tells the network of it."""
    return {(d["kind"], d["metadata"]["name"]): d["spec"] for d in documents
            if "spec" in d and not d["apiVersion"].startswith("skupper.io") and
            not (d["kind"] == "Service" and notes_of(d))}


@pytest.mark.parametrize("example", EXAMPLES)
def test_both_forms_run_the_same_programs(example):
    first, second = sites_of(example, "v1"), sites_of(example, "v2")
    assert sorted(first) == sorted(second)
    for site, documents in first.items():
        assert programs(documents) == programs(second[site])
        assert is_hub(documents) == is_hub(second[site])


def run_members(cluster, documents, ns):
    """The pods of StatefulSets, as no kubelet runs them."""
    for workload in (d for d in documents if d["kind"] == "StatefulSet"):
        name, spec = workload["metadata"]["name"], workload["spec"]
        for i in range(spec["replicas"]):
            cluster.run_pod(ns, "%s-%d" % (name, i), spec["template"]["metadata"]["labels"],
                            "10.8.%d.%d" % (len(ns) % 250, i + 1))


def pods_of(place, app):
    return [p for p in place.admin.list("pods", place.ns)["items"]
            if p["metadata"].get("labels", {}).get("app") == app]


def replicas_of(documents, app):
    return sum(d["spec"]["replicas"] for d in documents
               if d["kind"] in ("Deployment", "StatefulSet") and d["metadata"]["name"] == app)


# ------------------------------------------------------------------------------------- by resources


class Place(Site):
    """A site of an example, in its namespace."""

    def __init__(self, cluster, name, documents):
        super().__init__(cluster, has_site=False)
        self.name, self.documents = name, documents

    def of(self, kind_name):
        return [d for d in self.documents if d["kind"] == kind_name]

    def apply(self):
        for document in self.documents:
            self.admin.apply(PLURALS[document["kind"]], document, self.ns)
        run_members(self.cluster, self.documents, self.ns)


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
    app = spec["selector"].removeprefix("app=")
    servers = pods_of(place, app)
    assert len(servers) == replicas_of(place.documents, app) > 0
    config = place.config()
    for pod in servers:
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
    places = [Place(home, *item) for item in sites_of(example, "v2").items()]
    assert len(places) > 1
    assert keys(places, "Listener") == keys(places, "Connector") == set(GIVEN[example])
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
        [hub] = [p for p in places if is_hub(p.documents)]
        hub.await_condition("sites", hub.name, "Resolved", "True")


def test_the_pods_of_a_headless_service_are_known_by_name(home):
    east, west = (Place(home, *item) for item in sites_of("headless", "v2").items())
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
    names = {}
    sites = sites_of("redis", "v2")
    for site, documents in sites.items():
        for workload in (d for d in documents if d["kind"] == "Deployment"):
            words = " ".join(workload["spec"]["template"]["spec"]["containers"][0]["args"]).split()
            [name] = [then for word, then in zip(words, words[1:]) if word.endswith("announce-ip")]
            names[name] = workload["metadata"]["name"]
            assert (name, "app=" + names[name]) in [
                (d["spec"]["routingKey"], d["spec"]["selector"]) for d in documents
                if d["kind"] == "Connector"]
            # Addresses would be others in each site.
            assert names[name] == "redis" or "announce-hostnames yes" in " ".join(words)
    assert len(names) == 2 * len(sites)
    for documents in sites.values():
        assert set(names) <= {d["spec"]["host"] for d in documents if d["kind"] == "Listener"}


# ------------------------------------------------------------------------------------ by annotation


class Member(PlainPlace):
    """A site of an example without definitions, and its router and agent as processes beside it."""

    def __init__(self, cluster, name, documents, folder):
        super().__init__(cluster)
        self.name, self.documents = name, documents
        self.data = site_map(documents)
        self.mode = self.data.get("router-mode", "interior")
        self.home = self.pod = None
        self.folder = folder / name
        self.folder.mkdir()
        self.link = []

    def apply(self):
        for document in self.documents:
            self.admin.apply(PLURALS[document["kind"]], document, self.ns)
        run_members(self.cluster, self.documents, self.ns)

    def start(self, link):
        self.home = pods.Site(self.cluster, self.ns, self.folder, account="agent")
        self.home.id = self.admin.get("configmaps", "skupper-site", self.ns)["metadata"]["uid"]
        self.pod = self.home.make_pod(self.name + "-1", group="beside")
        self.pod.entities[0][1]["mode"] = self.mode
        self.link = link
        self.pod.configure(*link)
        self.pod.start()

    def config(self, obj=None):
        return Site.config(self, obj)

    def await_config(self, until):
        Site.await_config(self, until)

    def serve(self):
        """The router beside gets what the controller wants of connectors."""
        self.pod.configure(*self.link, *([t, a] for (t, _), a in self.config().items()
                                         if t == "tcpConnector"))

    def entries(self, until):
        self.admin.await_object("configmaps", MAP, self.ns, lambda o: until(entries(o)), 120)


def link_of(member, ports):
    """What joins it to the hub, or the hub to all, here on this machine."""
    if is_hub(member.documents):
        return [["listener", {"name": role, "role": role, "host": "127.0.0.1", "port": port}]
                for role, port in ports.items()]
    role = "edge" if member.mode == "edge" else "inter-router"
    return [["connector", {"name": "hub", "role": role, "host": "127.0.0.1",
                           "port": str(ports[role])}]]


@pytest.fixture
def members(standin, tmp_path):
    """Starts the sites of an example, linked."""
    standin.run_deployments()
    standin.run_load_balancers()
    started, controllers = [], []

    def start(example, with_names):
        ports = {role: pods.free_port() for role in ("inter-router", "edge")}
        for name, documents in sites_of(example, "v1").items():
            started.append(Member(standin, name, documents, tmp_path))
        for member in started:
            if with_names:
                grant_names(standin, member.ns, "controller")
            controllers.append(member.controller())
            member.apply()
            member.start(link_of(member, ports))
        return {m.name: m for m in started}

    yield start
    for member in started:
        if member.pod:
            member.pod.stop()
    for controller in controllers:
        controller.close()


def annotated(member, address):
    """The object with the annotation that gives this service there."""
    for d in member.documents:
        notes = notes_of(d)
        if "skupper.io/proxy" in notes and address == notes.get("skupper.io/address",
                                                                d["metadata"]["name"]):
            return d
    raise AssertionError("%s gives no %s" % (member.name, address))


def check_servers(member, address, port):
    """Each pod is a connector of the service."""
    what = annotated(member, address)
    name = what["metadata"]["name"]
    app = (what["spec"]["selector"] if what["kind"] == "Service" else what["spec"]["selector"][
        "matchLabels"])["app"]
    member.await_config(lambda c: len(
        [1 for (t, _), a in c.items() if t == "tcpConnector" and
         a["address"] == "%s:%d" % (address, port)]) == replicas_of(member.documents, app))
    config = member.config()
    for pod in pods_of(member, app):
        ip = pod["status"]["podIP"]
        entity = config["tcpConnector", "connector/service.%s.%d.%s@%s" % (address, port, name, ip)]
        assert (entity["host"], entity["port"]) == (ip, str(port))
    member.entries(lambda e: e.get(address, {}).get("origin") == "annotation")


def check_service(member, address, port):
    """Who is called so is called through the router."""
    service = member.admin.await_object(
        "services", address, member.ns, lambda o: o and o["spec"].get("selector") == ROUTER, 120)
    entity = member.config()["tcpListener", "listener/service.%s.%d" % (address, port)]
    assert entity["address"] == "%s:%d" % (address, port)
    assert [(p["port"], str(p["targetPort"])) for p in service["spec"]["ports"]] == [
        (port, entity["port"])]


def check_members(member, address, port, count):
    """The pods of a headless service of another site, each by its name."""
    for i in range(count):
        service = member.admin.await_object("services", "%s-%d" % (address, i), member.ns, bool,
                                            120)["spec"]
        assert (service["ports"][0]["port"], service["selector"]) == (port, ROUTER)


def check_names(member, address, count):
    """These are names within the Service, as where the pods are."""
    whole = member.admin.await_object("services", address, member.ns, bool, 120)["spec"]
    assert whole["clusterIP"] == "None" and "selector" not in whole
    names = ["%s-%d" % (address, i) for i in range(count)]
    slice_ = member.admin.await_object(
        SLICES, address + "-skupper", member.ns, lambda o: o and sorted(
            e["hostname"] for e in o["endpoints"] or ()) == names, 120)
    for endpoint in slice_["endpoints"]:
        service = member.admin.get("services", endpoint["hostname"], member.ns)["spec"]
        assert [service["clusterIP"]] == endpoint["addresses"]


@pytest.mark.parametrize("example, with_names", [(e, False) for e in EXAMPLES] + [
    ("headless", True)])
def test_an_example_by_annotation_is_shared_by_all_of_its_sites(members, example, with_names):
    sites = members(example, with_names)
    for address, (givers, port) in GIVEN[example].items():
        whole = annotated(sites[givers[0]], address)
        is_headless = HEADLESS in notes_of(whole)
        for giver in givers:
            check_servers(sites[giver], address, port)
        if is_headless:
            sites[givers[0]].serve()  # so that the network is told of them
        for name, member in sites.items():
            if name not in givers:
                member.entries(lambda e: e.get(address, {}).get("origin") in [
                    sites[g].home.id for g in givers])
            if is_headless and name not in givers:
                check_members(member, address, port, whole["spec"]["replicas"])
                if with_names:
                    check_names(member, address, whole["spec"]["replicas"])
            if not is_headless or not (with_names or name in givers):
                check_service(member, address, port)
    for member in sites.values():
        assert set(entries(member.admin.get("configmaps", MAP, member.ns))) == set(GIVEN[example])
