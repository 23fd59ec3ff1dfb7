# SPDX-License-Identifier: Apache-2.0
"""What takes real pods: the installation runs, routers become ready, Services carry bytes. Two
namespaces that enforce the restricted pod security profile, each with a controller of its own.

The image has to be in the nodes, or in a registry they reach: SKUPPER_IMAGE, else the one that
deploy/ names. It is also what is served and what calls, so no other is needed."""

import json
import tarfile

import pytest

import control
import test_deploy
from cli import Cli
from control import IMAGE, kind, resource
from pods import wait

SECONDS = 180
HEALTH = [["router", {"id": "workload", "mode": "standalone"}],
          ["listener", {"name": "health", "host": "0.0.0.0", "port": 8080, "http": True,
                        "healthz": True, "metrics": True, "role": "normal"}]]


class Place:
    """A namespace with an installation in it."""

    def __init__(self, cluster, name, profile="restricted", file="skupper-namespace-scope.yaml",
                 **settings):
        """`settings`: of the controller, as its environment has them."""
        self.cluster, self.admin, self.settings = cluster, cluster.admin, settings
        self.ns = cluster.namespace(name)
        self.admin.patch("namespaces", self.ns, {"metadata": {"labels": {
            "pod-security.kubernetes.io/enforce": profile}}})
        self.install(file)

    def install(self, file):
        objects = test_deploy.documents(file)
        for container in (c for o in objects if o["kind"] == "Deployment"
                          for c in o["spec"]["template"]["spec"]["containers"]):
            container["image"] = IMAGE or container["image"]
            for variable in container["env"]:
                if variable["name"].endswith("_IMAGE") and IMAGE:
                    variable["value"] = IMAGE
                if variable["name"] in self.settings:
                    variable["value"] = self.settings[variable["name"]]
            self.image = container["image"]
        test_deploy.install(self.cluster, objects, self.ns, self.admin)

    def create(self, plural, kind_name, name, **spec):
        return self.admin.create(kind(plural), resource(kind_name, name, **spec), self.ns)

    def await_condition(self, plural, name, type_, status="True"):
        return self.admin.await_object(kind(plural), name, self.ns, control.is_so(type_, status),
                                       SECONDS)

    def grant(self, name, others=1):
        """What each of so many others redeems to be linked to this site."""
        self.create("accessgrants", "AccessGrant", name, redemptionsAllowed=others)
        granted = self.await_condition("accessgrants", name, "Ready")["status"]
        return {k: granted[k] for k in ("url", "code", "ca")}

    def redeem(self, name, granted):
        self.create("accesstokens", "AccessToken", name, **granted)
        self.await_condition("accesstokens", name, "Redeemed")

    def workload(self, name, replicas, **notes):
        """Pods that answer /healthz at 8080."""
        self.admin.create("deployments", {
            "metadata": {"name": name, "annotations": notes}, "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
                    "metadata": {"labels": {"app": name}}, "spec": {
                        "securityContext": {"runAsNonRoot": True,
                                            "seccompProfile": {"type": "RuntimeDefault"}},
                        "containers": [{
                            "name": "main", "image": self.image,
                            "env": [{"name": "QDROUTERD_CONF", "value": json.dumps(HEALTH)}],
                            "ports": [{"containerPort": 8080}],
                            "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080},
                                               "periodSeconds": 1},
                            "securityContext": {"allowPrivilegeEscalation": False,
                                                "capabilities": {"drop": ["ALL"]}}}]}}}}, self.ns)
        self.admin.await_object("deployments", name, self.ns, lambda o: o["status"].get(
            "readyReplicas") == replicas, SECONDS)

    def pods(self, labels):
        return {p["metadata"]["name"]: p for p in self.admin.list(
            "pods", self.ns, labelSelector=labels)["items"]
            if not p["metadata"].get("deletionTimestamp")}

    def answers(self, service, port):
        """Whether a Service answers, asked through the API server."""
        return self.admin.request(
            "GET", "/api/v1/namespaces/%s/services/%s:%s/proxy/healthz" % (
                self.ns, service, port)).code == 200

    def await_answer(self, service, port, is_there=True):
        wait(lambda: self.answers(service, port) == is_there,
             lambda: "an answer of %s:%s in %s" % (service, port, self.ns))


@pytest.fixture(scope="module")
def places(clusters):
    cluster = clusters("a")
    if not cluster.is_real:
        pytest.skip("the stand-in runs no pods; KUBECONFIG_A names a cluster that does")
    control.prepare(cluster)
    west, east = Place(cluster, "west"), Place(cluster, "east")
    west.create("sites", "Site", "west", linkAccess="local")
    east.create("sites", "Site", "east")
    for place in (west, east):
        place.await_condition("sites", place.admin.list(kind("sites"), place.ns)["items"][0][
            "metadata"]["name"], "Ready")
    return west, east


def test_a_service_is_reached_from_the_other_namespace_while_its_pods_come_and_go(places):
    west, east = places
    east.redeem("west", west.grant("for-east"))
    east.await_condition("links", "west", "Ready")
    east.workload("backend", 2)
    east.create("connectors", "Connector", "backend", routingKey="backend",
                selector="app=backend", port=8080)
    west.create("listeners", "Listener", "backend", routingKey="backend", host="backend",
                port=8080)
    west.await_answer("backend", 8080)
    # A pod that dies is out of rotation; what it served meanwhile may have failed.
    gone = sorted(east.pods("app=backend"))[0]
    east.admin.delete("pods", gone, east.ns, gracePeriodSeconds=0)
    east.admin.await_object("deployments", "backend", east.ns,
                            lambda o: o["status"].get("readyReplicas") == 2, SECONDS)
    west.await_answer("backend", 8080)
    # So is a router.
    for pod in west.pods("skupper.io/component=router"):
        west.admin.delete("pods", pod, west.ns)
        west.admin.await_gone("pods", pod, west.ns, SECONDS)
    west.await_answer("backend", 8080)


def test_the_router_in_its_pod_is_asked(places, tmp_path):
    """By way of the API server and the kubelet."""
    west, east = places
    cli = Cli(west.cluster, west.ns, home=tmp_path)
    wait(lambda: cli.ask("trace", "backend").returncode == 0, lambda: cli.ask("trace", "backend"))
    told = json.loads(cli.run("trace", "backend", "-o", "json"))
    assert len(told["path"]) == 2 and told["server"]["name"].startswith("connector/backend")
    assert cli.run("why", "backend").startswith(cli.run("trace", "backend").splitlines()[0])
    cli.run("debug", "dump", "d")
    [file] = tmp_path.glob("d-*.tar.gz")
    with tarfile.open(file) as archive:
        [routers] = [m for m in archive.getmembers() if m.name.endswith("-skstat-g.json")]
        [router] = json.load(archive.extractfile(routers))
    [pod] = west.pods("skupper.io/component=router")
    assert router["id"] == "west-" + pod


def left(place):
    """What there is of a site, beside the installation."""
    return ["%s/%s" % (resource_name, o["metadata"]["name"])
            for resource_name in ("services", "deployments", "configmaps", "secrets", "roles",
                                  "rolebindings", "leases")
            for o in place.admin.list(resource_name, place.ns)["items"]
            if o["metadata"]["name"].startswith(("skupper-router", "skupper-site", "skupper-local",
                                                 "skupper-services", "skupper-network"))
            or (resource_name, o["metadata"]["name"]) == ("services", "api")]


def test_an_annotated_service_appears_and_the_end_of_the_sites_leaves_nothing(places):
    west, east = places
    east.workload("api", 1, **{"skupper.io/proxy": "tcp", "skupper.io/port": "8080"})
    for place in (east, west):
        place.await_answer("api", 8080)
    for place in (east, west):
        for site in place.admin.list(kind("sites"), place.ns)["items"]:
            place.admin.delete(kind("sites"), site["metadata"]["name"], place.ns)
        wait(lambda: not left(place), lambda: "the end of %s" % left(place))
