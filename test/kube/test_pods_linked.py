# SPDX-License-Identifier: Apache-2.0
"""Two clusters linked by a token, by each way in that needs nothing but Kubernetes; and the node of
one of them is started anew. Real pods, as in test_pods.py.

An API server starts no node anew: SKUPPER_RESTART names a program that ends all that runs on a node,
and starts its kubelet again, called with the kubeconfig and the name of the node."""

import os
import subprocess

import pytest

import control
from control import kind
from pods import wait
from test_pods import Place, SECONDS, left

RESTART = os.environ.get("SKUPPER_RESTART")


def address_of_a_node(cluster):
    return next(a["address"] for n in cluster.admin.list("nodes")["items"]
                for a in n["status"]["addresses"] if a["type"] == "InternalIP")


@pytest.fixture(scope="module", params=["loadbalancer", "nodeport"])
def linked(clusters, request):
    """A site in each cluster, and a service of the one that the other uses."""
    some = [clusters(name) for name in "ab"]
    if not all(one.is_real for one in some):
        pytest.skip("takes two clusters that run pods: KUBECONFIG_A and KUBECONFIG_B")
    for one in some:
        one.define(*control.definitions())
    west = Place(some[0], "west", SKUPPER_ENABLED_ACCESS_TYPES=request.param + ",local",
                 SKUPPER_CLUSTER_HOST=address_of_a_node(some[0]))
    east = Place(some[1], "east")
    west.create("sites", "Site", "west", linkAccess=request.param)
    east.create("sites", "Site", "east")
    for place, site in ((west, "west"), (east, "east")):
        place.await_condition("sites", site, "Ready")
    east.redeem("west", west.grant("for-east"))
    east.await_condition("links", "west", "Ready")
    west.workload("in-west", 1)
    east.workload("in-east", 1)
    for here, there, name in ((west, east, "in-west"), (east, west, "in-east")):
        here.create("connectors", "Connector", name, routingKey=name, selector="app=" + name,
                    port=8080)
        there.create("listeners", "Listener", name, routingKey=name, host=name, port=8080)
    yield west, east
    for place, site in ((west, "west"), (east, "east")):
        place.admin.delete(kind("sites"), site, place.ns)
        wait(lambda p=place: not left(p), lambda p=place: "the end of %s" % left(p))


def test_a_token_leads_from_one_cluster_to_the_other(linked):
    west, east = linked
    west.await_answer("in-east", 8080)
    east.await_answer("in-west", 8080)


def started(place):
    """When each container of the namespace was started: all of them run."""
    pods = place.admin.list("pods", place.ns)["items"]
    states = [c["state"].get("running") for p in pods
              for c in p["status"].get("containerStatuses", [])]
    return {s["startedAt"] for s in states} if states and all(states) else None


@pytest.mark.skipif(not RESTART, reason="SKUPPER_RESTART names no program that restarts a node")
def test_the_sites_are_linked_again_when_a_node_has_been_started_anew(linked):
    """Both ways, and none of what was made for the sites was made anew."""
    west, east = linked
    made = {(what, o["metadata"]["name"]): o["metadata"]["uid"]
            for what in ("deployments", "services", "secrets", "configmaps")
            for o in west.admin.list(what, west.ns)["items"]}
    before = wait(lambda: started(west), "all containers of %s" % west.ns)
    [node] = {p["spec"]["nodeName"] for p in west.admin.list("pods", west.ns)["items"]}
    subprocess.run([RESTART, west.cluster.kubeconfig, node], check=True)
    wait(lambda: (started(west) or before) - before, "new containers")
    for name in ("skupper-router", "skupper-controller", "in-west"):
        west.admin.await_object("deployments", name, west.ns, lambda o: o["status"].get(
            "readyReplicas") == o["spec"]["replicas"], SECONDS)
    west.await_answer("in-east", 8080)
    east.await_answer("in-west", 8080)
    assert made == {(what, o["metadata"]["name"]): o["metadata"]["uid"]
                    for what in ("deployments", "services", "secrets", "configmaps")
                    for o in west.admin.list(what, west.ns)["items"]}
