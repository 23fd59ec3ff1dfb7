# SPDX-License-Identifier: Apache-2.0
"""A site of version 1: where our kinds are not defined, with the rights that are installed for it."""

import json

import pytest
import yaml

import control
import foreign
import pods
from cluster import unused_rights
from control import Controller
from test_trouble import event_of
from test_annotated import MAP, PROXY, ROUTER, content, entries, workload

POLICIES = "networkpolicies.networking.k8s.io/v1"
FILE = control.ROOT / "deploy" / "skupper-version-1.yaml"
# Given so that the router's pods can be given it, or asked for within another request, or not
# needed where nothing goes wrong.
UNSEEN = {
    "get pods", "get services", "get deployments.apps", "get configmaps", "update configmaps",
    "get secrets", "update secrets", "delete secrets", "list leases.coordination.k8s.io",
    "watch leases.coordination.k8s.io", "delete leases.coordination.k8s.io",
    "create deployments.apps", "delete deployments.apps", "delete configmaps",
    "update roles.rbac.authorization.k8s.io", "update rolebindings.rbac.authorization.k8s.io",
    "create ingresses.networking.k8s.io", "update ingresses.networking.k8s.io",
    "delete ingresses.networking.k8s.io", "create networkpolicies.networking.k8s.io",
    "update networkpolicies.networking.k8s.io", "delete networkpolicies.networking.k8s.io"}


def installed(kind_name):
    return next(d for d in yaml.safe_load_all(FILE.read_text(encoding="utf-8"))
                if d and d["kind"] == kind_name)


def rules():
    return installed("Role")["rules"]


def arguments():
    return installed("Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]


class Place:
    """A namespace with the controller's account and nothing else of ours."""

    def __init__(self, cluster):
        self.cluster, self.admin = cluster, cluster.admin
        self.ns = cluster.namespace("plain")
        cluster.account(self.ns, "controller", rules())
        self.kubeconfig = cluster.kubeconfig_for(cluster.token(self.ns, "controller"), self.ns)
        self.admin.create("configmaps", {"metadata": {"name": "skupper"},
                                         "data": {"controller": "me"}}, self.ns)

    def controller(self, *flags):
        return Controller(self.cluster, "--namespace", self.ns, "--watch-namespace", self.ns,
                          *arguments(), *flags, kubeconfig=self.kubeconfig, name="me")

    def redeeming(self, port=None):
        """A controller that redeems claims on this machine."""
        port = port or control.free_port()
        return self.controller("-claims-base-url=127.0.0.1:%d" % port, "-claims-port=%d" % port)

    def site(self, **data):
        return self.admin.create("configmaps", {"metadata": {"name": "skupper-site"},
                                                "data": data}, self.ns)

    def token(self, name):
        """Asks for one, and waits for it."""
        self.admin.create("secrets", {"metadata": {"name": name, "labels": {
            "skupper.io/type": "connection-token-request"}}}, self.ns)
        return self.admin.await_object("secrets", name, self.ns, lambda o: o["metadata"]["labels"][
            "skupper.io/type"] == "connection-token", 120)

    def gone(self, resource, name):
        self.admin.await_gone(resource, name, self.ns)


@pytest.fixture
def place(cluster):
    return Place(cluster)


def test_annotations_work_without_definitions_and_leave_nothing_behind(recorded, place):
    a, ns = recorded.admin, place.ns
    made = a.create("services", {"metadata": {"name": "web"}, "spec": {
        "selector": {"app": "web"}, "ports": [{"port": 8080}]}}, ns)
    since, user = recorded.mark(), "system:serviceaccount:%s:controller" % ns
    with place.controller():
        a.create("deployments", workload("bad", {PROXY: "sctp"}), ns)
        place.site(name="west", ingress="none")
        a.create("deployments", workload("web", {PROXY: "tcp"}), ns)
        a.create("deployments", workload("api", {PROXY: "tcp"}), ns)
        a.await_object("services", "web", ns, lambda o: o["spec"]["selector"] == ROUTER, 120)
        a.await_object("services", "api", ns, bool, 120)
        for name in ("skupper-site-ca", "skupper-site-server", "skupper-local-server"):
            owner = a.await_object("secrets", name, ns, bool, 120)["metadata"]["ownerReferences"][0]
            assert (owner["kind"], owner["name"]) == ("ConfigMap", "skupper-site")
        a.await_object("deployments", "skupper-router", ns, bool, 120)
        a.await_object("services", "skupper-router", ns, bool, 120)
        a.await_object("configmaps", "skupper-router", ns,
                       lambda o: o and "skupper-site-server" in o["data"]["skrouterd.json"], 120)
        place.token("for-east")
        # An annotation that goes takes with it what it brought.
        a.delete("deployments", "api", ns)
        place.gone("services", "api")
        a.delete("configmaps", "skupper-site", ns)
        for resource, name in (("deployments", "skupper-router"), ("secrets", "skupper-site-ca"),
                               ("services", "skupper-router"), ("roles", "skupper-router")):
            place.gone(resource, name)
        back = a.await_object("services", "web", ns, lambda o: o["spec"]["selector"] != ROUTER, 120)
        assert back["metadata"].pop("annotations", {}) == {}
        assert content(back) == content(made)
    asked = recorded.requests(since, user=user)
    refused = [r for r in asked if r["code"] == 403]
    assert {r["resource"] for r in refused} <= {"customresourcedefinitions", "endpointslices"}
    unseen = set(unused_rights(rules(), asked))
    assert unseen <= UNSEEN, sorted(unseen - UNSEEN)


def test_kinds_of_others_that_may_not_be_seen_are_done_without(cluster, place):
    cluster.define(*foreign.ROUTE)
    with place.controller() as c:
        place.site(ingress="none")
        cluster.admin.await_object("deployments", "skupper-router", place.ns, bool, 120)
        assert "done without kind=Route" in c.text()


def test_a_token_that_is_asked_for_links_another_site(cluster, place):
    a, other = cluster.admin, Place(cluster)
    with place.controller(), other.controller():
        place.site(name="west", ingress="none")
        other.site(name="east", ingress="none")
        token = place.token("for-east")
        notes = token["metadata"]["annotations"]
        assert notes["inter-router-host"] == "skupper-router." + place.ns
        # As `kubectl get secret -o yaml` and `kubectl apply` would carry it.
        a.create("secrets", {"metadata": {"name": "west", "labels": token["metadata"]["labels"],
                                          "annotations": notes}, "data": token["data"]}, other.ns)

        def is_linked(o):
            return ["connector", "west", "skupper-router." + place.ns] in [
                [t, e.get("name"), e.get("host")] for t, e in json.loads(
                    o["data"]["skrouterd.json"])] if o else False

        a.await_object("configmaps", "skupper-router", other.ns, is_linked, 120)
        a.delete("secrets", "west", other.ns)
        a.await_object("configmaps", "skupper-router", other.ns, lambda o: not is_linked(o), 120)


def test_services_are_shared_between_such_sites(cluster, place, tmp_path):
    """Each with its router and agent, as in test_annotated.py."""
    a, other = cluster.admin, Place(cluster)
    port, running = pods.free_port(), []
    with place.controller(), other.controller():
        for one, name, entity in (
                (place, "west", ["listener", {"name": "in", "role": "inter-router",
                                              "host": "127.0.0.1", "port": port}]),
                (other, "east", ["connector", {"name": "out", "role": "inter-router",
                                               "host": "127.0.0.1", "port": str(port)}])):
            uid = one.site(name=name, ingress="none")["metadata"]["uid"]
            folder = tmp_path / name
            folder.mkdir()
            home = pods.Site(cluster, one.ns, folder, account="agent")
            home.id = uid
            pod = home.make_pod(name + "-1", group="beside")
            pod.configure(entity)
            running.append(pod.start())
        a.create("deployments", workload("web", {PROXY: "tcp"}), place.ns)
        a.await_object("services", "web", other.ns, bool, 120)
        assert entries(a.get("configmaps", MAP, other.ns))["web"]["origin"] == running[0].site.id
        a.delete("deployments", "web", place.ns)
        other.gone("services", "web")
    for pod in running:
        pod.stop()


def test_a_network_policy_is_made_as_long_as_the_site_asks_for_one(cluster, place):
    a, ns = cluster.admin, place.ns
    with place.controller():
        place.site(ingress="none", **{"create-network-policy": "true"})
        made = a.await_object(POLICIES, "skupper-router", ns, bool, 120)
        assert made["metadata"]["ownerReferences"][0]["name"] == "skupper-site"
        assert made["spec"]["policyTypes"] == ["Ingress"]
        assert [p["port"] for p in made["spec"]["ingress"][1]["ports"]] == [55671, 45671]
        # What somebody opens is closed.
        a.patch(POLICIES, "skupper-router", {"spec": {"ingress": [{}]}}, ns)
        a.await_object(POLICIES, "skupper-router", ns,
                       lambda o: o["spec"]["ingress"] == made["spec"]["ingress"], 120)
        a.patch("configmaps", "skupper-site", {"data": {"create-network-policy": "false"}}, ns)
        place.gone(POLICIES, "skupper-router")


def test_a_network_policy_that_the_rights_do_not_allow_is_told(cluster, place):
    cluster.admin.patch("roles", "controller", {
        "rules": [r for r in rules() if "networkpolicies" not in r["resources"]]}, place.ns)
    with place.controller():
        made = place.site(ingress="none", **{"create-network-policy": "true"})
        event_of(place, made, "no right to NetworkPolicies")


def test_options_that_are_not_used_are_told_once_as_events(cluster, place):
    """In the log alone where Events are not wanted."""
    def told(ns):
        return sorted(e["message"] for e in cluster.admin.list("events", ns)["items"]
                      if e["reason"] == "NotUsed")

    quiet = Place(cluster)
    with place.controller(), quiet.controller() as other:
        site = place.site(ingress="none", console="true", **{"router-moed": "edge"})
        event_of(place, site, "the option console is not used: there is no console of version 1")
        event_of(place, site, "the option router-moed is not used: it is none of version 1")
        # What comes later is planned after them.
        cluster.admin.patch("configmaps", "skupper-site", {"metadata": {"labels": {"team": "blue"}}},
                            place.ns)
        cluster.admin.await_object("deployments", "skupper-router", place.ns, lambda o: bool(o) and (
            o["spec"]["template"]["metadata"]["labels"].get("team") == "blue"), 120)
        assert len(told(place.ns)) == 2
        quiet.site(ingress="none", console="true", **{"enable-skupper-events": "false"})
        cluster.admin.await_object("deployments", "skupper-router", quiet.ns, bool, 120)
        assert "not used namespace=%s ConfigMap/skupper-site console" % quiet.ns in other.text()
        assert not told(quiet.ns)


def test_definitions_that_others_install_change_nothing(cluster, place):
    control.prepare(cluster)
    with place.controller() as c:
        place.site(name="west", ingress="none")
        cluster.admin.create("deployments", workload("web", {PROXY: "tcp"}), place.ns)
        cluster.admin.await_object("services", "web", place.ns, bool, 120)
        assert "skupper.io/v2alpha1" not in c.text()
