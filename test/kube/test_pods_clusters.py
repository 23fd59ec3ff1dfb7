# SPDX-License-Identifier: Apache-2.0
"""Three clusters with real pods in one network; and an installation that goes, with nothing left."""

import pytest

import control
import test_deploy
from control import kind
from pods import wait
from test_pods import Place, left

PASSING = {"events", "leases"}  # of the cluster itself, or told and forgotten


def everything(admin, namespace):
    """All objects of a namespace, whatever their kind: {(resource, name)}."""
    found = set()
    groups = ["/api/v1"] + ["/apis/" + g["preferredVersion"]["groupVersion"]
                            for g in admin.must("GET", "/apis")["groups"]]
    for group in groups:
        for resource in admin.must("GET", group)["resources"]:
            name = resource["name"]
            if resource["namespaced"] and "list" in resource["verbs"] and name not in PASSING:
                found |= {(name, o["metadata"]["name"]) for o in admin.must(
                    "GET", "%s/namespaces/%s/%s" % (group, namespace, name))["items"]}
    return found


class Passing(Place):
    """One that is to leave nothing."""

    def install(self, file):
        self.before = everything(self.admin, self.ns)
        super().install(file)

    def remove(self):
        """As `kubectl delete -n NAMESPACE -f` of the installation, but for what all namespaces share."""
        for obj in reversed(test_deploy.documents("skupper-namespace-scope.yaml")):
            of, where = test_deploy.place(obj, self.ns)
            if where:
                self.admin.delete(of, obj["metadata"]["name"], where)

    def has_gone(self):
        wait(lambda: everything(self.admin, self.ns) == self.before,
             lambda: everything(self.admin, self.ns) ^ self.before)


@pytest.fixture
def three(clusters):
    some = [clusters(name) for name in "abc"]
    if not all(one.is_real for one in some):
        pytest.skip("takes three clusters that run pods: KUBECONFIG_A, _B and _C")
    for one in some:
        one.define(*control.definitions())
    return [Passing(one, name) for one, name in zip(some, ("hub", "west", "east"))]


def test_a_service_of_one_cluster_is_used_from_two_others_and_all_of_it_goes(three):
    hub, west, east = three
    hub.create("sites", "Site", "hub", linkAccess="loadbalancer")
    for place, site in ((west, "west"), (east, "east")):
        place.create("sites", "Site", site)
    for place, site in ((hub, "hub"), (west, "west"), (east, "east")):
        place.await_condition("sites", site, "Ready")
    granted = hub.grant("all", 2)
    for place in (west, east):
        place.redeem("hub", granted)
        place.await_condition("links", "hub", "Ready")
    west.workload("backend", 1)
    west.create("connectors", "Connector", "backend", routingKey="backend",
                selector="app=backend", port=8080)
    for place in (hub, east):
        place.create("listeners", "Listener", "backend", routingKey="backend", host="backend",
                     port=8080)
        place.await_answer("backend", 8080)
    # What somebody wants of us goes by his hand; with the Site goes what was made for it.
    west.admin.delete("deployments", "backend", west.ns)
    west.admin.delete(kind("connectors"), "backend", west.ns)
    for place, site in ((east, "east"), (west, "west"), (hub, "hub")):
        if place is not west:
            place.admin.delete(kind("listeners"), "backend", place.ns)
        if place is not hub:
            place.admin.delete(kind("accesstokens"), "hub", place.ns)
        place.admin.delete(kind("sites"), site, place.ns)
    hub.admin.delete(kind("accessgrants"), "all", hub.ns)
    for place, site in ((east, "east"), (west, "west"), (hub, "hub")):
        place.admin.await_gone(kind("sites"), site, place.ns)
        wait(lambda p=place: not left(p), lambda p=place: "the end of %s" % left(p))
        place.remove()
        place.has_gone()
