# SPDX-License-Identifier: Apache-2.0
"""Services by annotation, as version 1 has them: one namespace, and two that share."""

import json

import pytest

import control
import pods
from cluster import NOBODY
from control import Controller, Site
from services import Server, connect, echo

MAP = "skupper-services"
SLICES = "endpointslices.discovery.k8s.io/v1"
PROXY = "skupper.io/proxy"
ROUTER = {"application": "skupper-router", "skupper.io/component": "router"}


@pytest.fixture
def home(cluster):
    control.prepare(cluster)
    return cluster


def workload(name, notes, app=None, port=8080):
    labels = {"app": app or name}
    return {"metadata": {"name": name, "annotations": notes}, "spec": {
        "replicas": 0, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {
            "schedulerName": NOBODY, "containers": [
                {"name": "c", "image": "i", "ports": [{"containerPort": port}]}]}}}}


def entries(obj):
    return {k: json.loads(v) for k, v in ((obj or {}).get("data") or {}).items()}


def await_entries(site, until):
    site.admin.await_object("configmaps", MAP, site.ns, lambda o: until(entries(o)), 120)


def content(service):
    """A Service without what each write changes."""
    meta = {k: v for k, v in service["metadata"].items()
            if k not in ("resourceVersion", "managedFields", "generation")}
    return json.dumps([meta, service["spec"]], sort_keys=True)


def unannotate(site, resource, name):
    site.admin.patch(resource, name, {"metadata": {"annotations": {PROXY: None}}}, site.ns)


@pytest.mark.parametrize("resource", ["deployments", "daemonsets"])
def test_an_annotated_workload_is_exposed_until_the_annotation_goes(home, resource):
    site = Site(home)
    a, ns = site.admin, site.ns
    with Controller(home):
        site.pod("web-1", "web", "10.9.0.1")
        body = workload("web", {PROXY: "tcp", "skupper.io/port": "80:8080"})
        if resource == "daemonsets":
            del body["spec"]["replicas"]
        a.create(resource, body, ns)
        service = a.await_object("services", "web", ns, bool, 120)
        assert service["spec"]["selector"] == ROUTER
        site.await_config(lambda c: ("tcpConnector", "connector/service.web.80.web@10.9.0.1") in c)
        config = site.config()
        listener = config["tcpListener", "listener/service.web.80"]
        assert listener["address"] == "web:80"
        assert service["spec"]["ports"][0]["targetPort"] == int(listener["port"])
        connector = config["tcpConnector", "connector/service.web.80.web@10.9.0.1"]
        assert (connector["address"], connector["port"]) == ("web:80", "8080")
        await_entries(site, lambda e: e == {"web": {
            "address": "web", "protocol": "tcp", "ports": [80], "exposeIngress": "",
            "targets": [{"name": "web", "selector": "app=web", "targetPorts": {"80": 8080}}],
            "origin": "annotation"}})
        unannotate(site, resource, "web")
        a.await_gone("services", "web", ns)
        site.await_config(lambda c: ("tcpListener", "listener/service.web.80") not in c)
        await_entries(site, lambda e: e == {})


def test_a_statefulset_has_the_ports_of_its_service(home):
    site = Site(home)
    with Controller(home):
        site.admin.create("services", {"metadata": {"name": "db"}, "spec": {
            "clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": 5432}]}}, site.ns)
        body = workload("db", {PROXY: "tcp", "skupper.io/address": "database"})
        body["spec"]["serviceName"] = "db"
        site.admin.create("statefulsets", body, site.ns)
        service = site.admin.await_object("services", "database", site.ns, bool, 120)
        assert service["spec"]["ports"][0]["port"] == 5432


def test_a_service_that_is_there_is_adopted_and_given_back_as_it_was(home):
    site = Site(home)
    a, ns = site.admin, site.ns
    made = a.create("services", {"metadata": {"name": "web", "labels": {"k": "old"}}, "spec": {
        "selector": {"app": "web", "tier": "one"}, "ports": [
            {"name": "main", "port": 80, "targetPort": "http", "appProtocol": "http"},
            {"name": "odd", "port": 81, "targetPort": 8081}]}}, ns)
    with Controller(home):
        site.pod("web-1", "web", "10.9.0.1")
        a.patch("services", "web", {"metadata": {"annotations": {
            PROXY: "tcp", "skupper.io/service-labels": "k=new,l=m"}}}, ns)
        now = a.await_object("services", "web", ns,
                             lambda o: o["spec"]["selector"] == ROUTER, 120)
        assert now["metadata"]["labels"] == {"k": "new", "l": "m"}
        assert [p["name"] for p in now["spec"]["ports"]] == ["main", "odd"]
        # Who takes it back without a word to us does not get far.
        a.patch("services", "web", {"spec": {"selector": {"app": "web", "tier": "one"}}}, ns)
        a.await_object("services", "web", ns, lambda o: o["spec"]["selector"] == ROUTER, 120)
        a.patch("services", "web", {"metadata": {"annotations": {
            PROXY: None, "skupper.io/service-labels": None}}}, ns)
        back = a.await_object("services", "web", ns,
                              lambda o: o["spec"]["selector"] != ROUTER, 120)
        assert back["metadata"].pop("annotations", {}) == {}
        assert content(back) == content(made)


def test_with_the_site_goes_what_it_changed(home):
    site = Site(home)
    a, ns = site.admin, site.ns
    made = a.create("services", {"metadata": {"name": "web"}, "spec": {
        "selector": {"app": "web"}, "ports": [{"port": 8080}]}}, ns)
    a.create("deployments", workload("web", {PROXY: "tcp"}), ns)
    a.create("deployments", workload("other", {PROXY: "tcp"}), ns)
    with Controller(home):
        a.await_object("services", "web", ns, lambda o: o["spec"]["selector"] == ROUTER, 120)
        a.await_object("services", "other", ns, bool, 120)
        a.delete(control.kind("sites"), "west", ns)
        back = a.await_object("services", "web", ns,
                              lambda o: o["spec"]["selector"] != ROUTER, 120)
        assert back["metadata"].pop("annotations", {}) == {}
        assert content(back) == content(made)
        a.await_gone("services", "other", ns)
        a.await_gone("configmaps", MAP, ns)


def test_what_cannot_be_exposed_is_told_once_by_an_event(home):
    site = Site(home)
    a, ns = site.admin, site.ns
    with Controller(home) as c:
        a.create("deployments", workload("bad", {PROXY: "sctp"}), ns)
        a.create("deployments", workload("good", {PROXY: "tcp"}), ns)
        a.await_object("services", "good", ns, bool, 120)
        a.create("deployments", workload("more", {PROXY: "tcp"}), ns)
        a.await_object("services", "more", ns, bool, 120)
        c.close()
        told = [e for e in a.list("events", ns)["items"] if e["involvedObject"]["name"] == "bad"]
        assert [(e["reason"], e["message"]) for e in told] == [
            ("NotExposed", 'skupper.io/proxy: "sctp" is not one of tcp, http, http2')]
        assert c.text().count("not exposed") == 1


def test_a_restart_and_a_lost_watch_write_nothing(standin):
    control.prepare(standin)
    site = Site(standin)
    a, ns = site.admin, site.ns
    a.create("services", {"metadata": {"name": "web"}, "spec": {
        "selector": {"app": "web"}, "ports": [{"port": 8080}]}}, ns)
    a.create("deployments", workload("web", {PROXY: "tcp"}), ns)

    def is_settled(name):
        a.create("deployments", workload(name, {PROXY: "tcp"}), ns)
        a.await_object("services", name, ns, bool, 120)
        await_entries(site, lambda e: name in e)

    def writes(since):
        return [(r["verb"], r["path"].split("?")[0].rsplit("/", 1)[-1])
                for r in standin.requests(since, agent="skupper-controller")
                if r["verb"] in ("patch", "delete", "update") and r["resource"] == "services"]

    with Controller(standin, name="again"):
        is_settled("one")
        a.await_object("services", "skupper-router-local", ns)
        a.await_object("services", "web", ns, lambda o: "application" in o["spec"]["selector"])
        mark = standin.mark()
        standin.control("restart", forget=True)
        is_settled("two")
        standin.control("drop_watches")
        is_settled("three")
        assert writes(mark) == []
    with Controller(standin, name="again"):
        is_settled("four")
        assert writes(mark) == []


def test_entries_of_users_are_services_too(home):
    """As `skupper service create` of version 1 writes them."""
    site = Site(home)
    a, ns = site.admin, site.ns
    entry = {"address": "api", "protocol": "tcp", "ports": [80], "exposeIngress": "",
             "targets": [{"name": "web", "selector": "app=web", "targetPorts": {"80": 8080}}]}
    with Controller(home):
        site.pod("web-1", "web", "10.9.0.1")
        a.apply("configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": MAP},
                               "data": {"api": json.dumps(entry)}}, ns)
        a.await_object("services", "api", ns, bool, 120)
        site.await_config(lambda c: ("tcpConnector", "connector/service.api.80.web@10.9.0.1") in c)
        a.create("deployments", workload("more", {PROXY: "tcp"}), ns)
        await_entries(site, lambda e: e.get("api") == entry and "more" in e)
        a.patch("configmaps", MAP, {"data": {"api": None}}, ns)
        a.await_gone("services", "api", ns)
        assert a.get("services", "more", ns)


# --------------------------------------------------------------------------------------- sharing


class Member:
    """A namespace with a Site, its router as a process beside it, and what the controller wants of
    that router's services brought to it, as on one machine not all of its ports can be had."""

    def __init__(self, cluster, folder, name, **spec):
        self.site = Site(cluster, **spec)
        folder = folder / name
        folder.mkdir()
        self.home = pods.Site(cluster, self.site.ns, folder, account="agent")
        self.home.id = self.site.admin.get(control.kind("sites"), "west",
                                           self.site.ns)["metadata"]["uid"]
        self.pod = self.home.make_pod(name + "-1", group="beside")
        self.link = []

    def start(self):
        self.pod.configure(*self.link)
        self.pod.start()

    def serve(self, type_):
        """The router gets what the controller wants of that type, with the listeners here."""
        entities = [[t, {**a, "host": a.get("host", "127.0.0.1")}]
                    for (t, _), a in self.site.config().items() if t == type_]
        self.pod.configure(*self.link, *entities)
        return entities


@pytest.fixture
def members(home, tmp_path):
    """Two that are linked."""
    a, b = Member(home, tmp_path, "a"), Member(home, tmp_path, "b")
    port = pods.free_port()
    a.link = [["listener", {"name": "in", "role": "inter-router", "host": "127.0.0.1",
                            "port": port}]]
    b.link = [["connector", {"name": "out", "role": "inter-router", "host": "127.0.0.1",
                             "port": str(port)}]]
    for one in (a, b):
        one.start()
    yield a, b
    for one in (b, a):
        one.pod.stop()


def test_a_service_appears_in_the_linked_namespace_and_goes_again(home, members):
    a, b = members
    admin = home.admin
    server = Server(echo)
    with Controller(home):
        a.site.pod("web-1", "web", "127.0.0.1")
        admin.create("deployments", workload(
            "web", {PROXY: "tcp", "skupper.io/port": "80:%d" % server.port,
                    "skupper.io/service-labels": "k=v"}), a.site.ns)
        service = admin.await_object("services", "web", b.site.ns, bool, 120)
        assert service["spec"]["selector"] == ROUTER
        assert service["metadata"]["labels"]["k"] == "v"
        await_entries(b.site, lambda e: e == {"web": {
            "address": "web", "protocol": "tcp", "ports": [80], "exposeIngress": "",
            "labels": {"k": "v"}, "targets": [], "origin": a.home.id}})
        # From there its server is reached.
        a.site.await_config(lambda c: any(t == "tcpConnector" for t, _ in c))
        b.site.await_config(lambda c: any(t == "tcpListener" for t, _ in c))
        assert a.serve("tcpConnector") and b.serve("tcpListener")
        with connect(service["spec"]["ports"][0]["targetPort"]) as c:
            c.sendall(b"hello")
            assert c.recv(5) == b"hello"
        # Its own Service of that name is adopted, and free again when it goes.
        unannotate(a.site, "deployments", "web")
        admin.await_gone("services", "web", b.site.ns)
        await_entries(b.site, lambda e: e == {})
    server.close()


def test_a_service_of_the_other_namespace_is_adopted_for_as_long_as_it_is_shared(home, members):
    a, b = members
    admin = home.admin
    made = admin.create("services", {"metadata": {"name": "web"}, "spec": {
        "selector": {"app": "mine"}, "ports": [{"port": 8080, "targetPort": "http"}]}}, b.site.ns)
    with Controller(home):
        admin.create("deployments", workload("web", {PROXY: "tcp"}), a.site.ns)
        admin.await_object("services", "web", b.site.ns,
                           lambda o: o["spec"]["selector"] == ROUTER, 120)
        admin.delete("deployments", "web", a.site.ns)
        back = admin.await_object("services", "web", b.site.ns,
                                  lambda o: o["spec"]["selector"] != ROUTER, 120)
        assert back["metadata"].pop("annotations", {}) == {}
        assert content(back) == content(made)


def test_an_agent_that_starts_anew_takes_nothing_away(home, members):
    a, b = members
    admin = home.admin
    with Controller(home):
        admin.create("deployments", workload("web", {PROXY: "tcp"}), a.site.ns)
        service = admin.await_object("services", "web", b.site.ns, bool, 120)
        b.pod.agent.kill()
        b.pod.agent.wait()
        # What is withdrawn meanwhile goes as soon as somebody hears of it; the rest stays.
        admin.create("deployments", workload("more", {PROXY: "tcp"}), a.site.ns)
        b.pod.start_agent()
        admin.await_object("services", "more", b.site.ns, bool, 120)
        assert admin.get("services", "web", b.site.ns)["metadata"]["uid"] == \
            service["metadata"]["uid"]
        admin.delete("deployments", "web", a.site.ns)
        admin.await_gone("services", "web", b.site.ns)


def test_sharing_can_be_switched_off(home, members):
    a, b = members
    admin = home.admin
    with Controller(home):
        admin.patch(control.kind("sites"), "west", {"metadata": {"annotations": {
            "skupper.io/service-sync": "false"}}}, b.site.ns)
        admin.await_object("configmaps", MAP, b.site.ns, lambda o: bool(o) and o["metadata"][
            "annotations"]["skupper.io/service-sync"] == "false", 120)
        b.pod.agent.log.wait("leads: tells the status")
        admin.create("deployments", workload("web", {PROXY: "tcp"}), a.site.ns)
        admin.create("deployments", workload("own", {PROXY: "tcp"}), b.site.ns)
        admin.await_object("services", "own", b.site.ns, bool, 120)
        admin.patch(control.kind("sites"), "west", {"metadata": {"annotations": {
            "skupper.io/service-sync": None}}}, b.site.ns)
        admin.await_object("services", "web", b.site.ns, bool, 120)
        admin.await_object("services", "own", a.site.ns, bool, 120)


def test_pods_of_a_headless_service_are_reached_by_their_names(home, members):
    a, b = members
    admin = home.admin
    server = Server(echo)
    body = workload("db", {PROXY: "tcp", "skupper.io/headless": "true"})
    body["spec"].update(serviceName="db", replicas=1)
    with Controller(home):
        own = admin.create("services", {"metadata": {"name": "db"}, "spec": {
            "clusterIP": "None", "selector": {"app": "db"},
            "ports": [{"port": server.port}]}}, a.site.ns)
        admin.create("statefulsets", body, a.site.ns)
        if home.is_real:  # or it would be replaced, for want of its revision
            admin.await_object("pods", "db-0", a.site.ns)
        a.site.pod("db-0", "db", "127.0.0.1")
        name = "connector/service.db.%d.db@db-0" % server.port
        a.site.await_config(lambda c: ("tcpConnector", name) in c)
        a.serve("tcpConnector")
        pod = admin.await_object("services", "db-0", b.site.ns, bool, 120)
        port = pod["spec"]["ports"][0]
        assert (port["port"], pod["spec"]["selector"]) == (server.port, ROUTER)
        whole = admin.get("services", "db", b.site.ns)
        assert whole["spec"]["clusterIP"] == "None" and "selector" not in whole["spec"]
        slice_ = admin.await_object(SLICES, "db-skupper", b.site.ns,
                                    lambda o: o and o["endpoints"], 120)
        assert [(e["hostname"], e["addresses"]) for e in slice_["endpoints"]] == [
            ("db-0", [pod["spec"]["clusterIP"]])]
        assert slice_["metadata"]["labels"]["kubernetes.io/service-name"] == "db"
        b.serve("tcpListener")
        with connect(port["targetPort"]) as c:
            c.sendall(b"hello")
            assert c.recv(5) == b"hello"
        assert content(admin.get("services", "db", a.site.ns)) == content(own)
        admin.delete("statefulsets", "db", a.site.ns)
        for resource, name in (("services", "db"), ("services", "db-0"), (SLICES, "db-skupper")):
            admin.await_gone(resource, name, b.site.ns)
    server.close()
