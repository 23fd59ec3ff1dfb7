# SPDX-License-Identifier: Apache-2.0
"""No connection fails while one of the two routers of a site with `ha` is deleted, or both are
replaced by an upgrade: neither of the clients who come in there, nor of those whose servers are there
and who come in at another site. Real pods, as in test_pods.py.

What cannot be done by way of an API server is that a process dies without a farewell: SKUPPER_KILL
names a program that does it, called with the kubeconfig, the namespace, the pod and the container."""

import os
import subprocess

import pytest

import control
from callers import Crowd, way_in
from control import kind
from pods import wait
from test_pods import Place, SECONDS

GROUPS = "skupper-router", "skupper-router-2"
ROUTERS = "skupper.io/component=router"
KILL = os.environ.get("SKUPPER_KILL")


@pytest.fixture(scope="module", params=["interior", "edge"])
def west_and_east(clusters, request):
    """A site with two routers, another linked to it, and a service in each that the other one uses."""
    cluster = clusters("a")
    if not cluster.is_real:
        pytest.skip("the stand-in runs no pods; KUBECONFIG_A names a cluster that does")
    control.prepare(cluster)
    west, east = Place(cluster, "west"), Place(cluster, "east")
    west.create("sites", "Site", "west", ha=True, linkAccess="local")
    east.create("sites", "Site", "east", edge=request.param == "edge")
    for place, site in ((west, "west"), (east, "east")):
        place.await_condition("sites", site, "Ready")
    east.redeem("west", west.grant("for-east"))
    wait(lambda: len(links_of(east)) == len(GROUPS), "a link to each router")
    for link in links_of(east):
        east.await_condition("links", link, "Ready")
    for here, there, name in ((west, east, "in-west"), (east, west, "in-east")):
        here.workload(name, 2)
        here.create("connectors", "Connector", name, routingKey=name, selector="app=" + name,
                    port=8080)
        there.create("listeners", "Listener", name, routingKey=name, host=name, port=8080)
    for here, name in ((west, "in-east"), (east, "in-west")):
        here.await_answer(name, 8080)
    for group in GROUPS:
        await_replaced(west, group)
    return west, east


def links_of(place):
    return [o["metadata"]["name"] for o in place.admin.list(kind("links"), place.ns)["items"]]


@pytest.fixture(params=["by-the-two-routers", "to-a-server-behind-the-two-routers"])
def crowd(west_and_east, request):
    west, east = west_and_east
    place, name = (west, "in-east") if request.param.startswith("by") else (east, "in-west")
    return Crowd(way_in(place, name))


def await_replaced(place, name, generation=0):
    """All pods of a Deployment are of its present kind and ready, and no other is left."""
    def is_so(o):
        status = o["status"]
        return (status.get("observedGeneration", 0) >= max(generation, o["metadata"]["generation"])
                and status.get("replicas") == status.get("readyReplicas")
                == status.get("updatedReplicas") == o["spec"]["replicas"]
                and not status.get("unavailableReplicas"))
    place.admin.await_object("deployments", name, place.ns, is_so, SECONDS)


def pods_of(place, group):
    return {name for name in place.pods(ROUTERS) if name.rsplit("-", 2)[0] == group}


def check(crowd, place, what):
    print("%s: %s" % (what, crowd.figures()))
    told = "\n".join([crowd.figures()] + crowd.new.failures + crowd.lasting.failures)
    assert not crowd.new.failures and not crowd.lasting.failures, told


@pytest.mark.parametrize("group", GROUPS)
def test_no_connection_fails_while_one_of_two_routers_is_deleted(west_and_east, crowd, group):
    west, _ = west_and_east
    [pod] = pods_of(west, group)
    with crowd:
        west.admin.delete("pods", pod, west.ns)
        west.admin.await_gone("pods", pod, west.ns, SECONDS)
        await_replaced(west, group)
    assert pods_of(west, group) != {pod}
    check(crowd, west, "%s is deleted" % group)


def test_no_connection_fails_while_both_routers_are_replaced_by_an_upgrade(west_and_east, crowd):
    west, _ = west_and_east
    old = set(west.pods(ROUTERS))
    before = {g: west.admin.get("deployments", g, west.ns)["metadata"]["generation"]
              for g in GROUPS}
    with crowd:
        change_controller(west)
        for group in GROUPS:
            west.admin.await_object(
                "deployments", group, west.ns,
                lambda o, g=group: o["metadata"]["generation"] > before[g], SECONDS)
            await_replaced(west, group)
        for pod in old:
            west.admin.await_gone("pods", pod, west.ns, SECONDS)
    assert not old & set(west.pods(ROUTERS))
    check(crowd, west, "both are replaced")


def change_controller(place):
    """Another setting, with which pods of routers are not as they are."""
    deployment = place.admin.get("deployments", "skupper-controller", place.ns)
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    name = "SKUPPER_ROUTER_IMAGE_PULL_POLICY"
    was = next((v["value"] for v in container["env"] if v["name"] == name), "IfNotPresent")
    container["env"] = [v for v in container["env"] if v["name"] != name] + [
        {"name": name, "value": "Never" if was == "IfNotPresent" else "IfNotPresent"}]
    place.admin.update("deployments", deployment, place.ns)


def test_no_connection_fails_while_the_controller_is_replaced(west_and_east, crowd):
    west, _ = west_and_east
    routers = set(west.pods(ROUTERS))
    [controller] = west.pods("app.kubernetes.io/name=skupper-controller")
    with crowd:
        west.admin.patch("deployments", "skupper-controller", {"spec": {"template": {"metadata": {
            "annotations": {"tests/replaced": controller}}}}}, west.ns)
        await_replaced(west, "skupper-controller")
        west.admin.await_gone("pods", controller, west.ns, SECONDS)
        # The new one is at work.
        west.create("listeners", "Listener", controller, routingKey="n", host=controller, port=1)
        west.await_condition("listeners", controller, "Configured")
    west.admin.delete(kind("listeners"), controller, west.ns)
    assert set(west.pods(ROUTERS)) == routers
    check(crowd, west, "the controller is replaced")


def restarts(pod):
    """Of the router in it; none while it does not run."""
    [router] = [c for c in pod["status"]["containerStatuses"] if c["name"] == "router"]
    return router["restartCount"] if router["ready"] else -1


@pytest.mark.skipif(not KILL, reason="SKUPPER_KILL names no program that kills a container")
def test_who_comes_to_another_site_does_not_notice_that_one_of_two_routers_dies(west_and_east):
    """What was open by that router is lost: of each caller one at most. (Who comes in by it is refused
    until the cluster has noticed; that is the cluster's.)"""
    west, east = west_and_east
    [pod] = pods_of(west, GROUPS[0])
    before = restarts(west.admin.get("pods", pod, west.ns))
    with Crowd(way_in(east, "in-west")) as inside, Crowd(way_in(west, "in-east")) as at_its_door:
        subprocess.run([KILL, west.cluster.kubeconfig, west.ns, pod, "router"], check=True)
        west.admin.await_object("pods", pod, west.ns, lambda o: restarts(o) > before, SECONDS)
    print("a router dies: elsewhere %s; at its own door %s" % (inside.figures(),
                                                               at_its_door.figures()))
    print("\n".join(at_its_door.new.failures))
    assert len(inside.new.failures) <= len(inside.new.threads), inside.new.failures
