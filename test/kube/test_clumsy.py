# SPDX-License-Identifier: Apache-2.0
"""Resources as they are written in haste or in malice: each is told once, and nothing else suffers."""

import pytest

import control
from control import Controller, Site, kind, settled, whole
from kubeapi import path_of
from pods import wait

LONG = "long-" * 50 + "end"  # as long as a name may be
RENEWALS = 3


@pytest.fixture
def home(cluster):
    control.prepare(cluster)
    return cluster


def events_of(site, kind_name, name):
    return [e for e in site.admin.list("events", site.ns)["items"]
            if e["involvedObject"]["kind"] == kind_name and e["involvedObject"]["name"] == name]


def while_renewed(cluster):
    """What the controller asks for while it renews its lease some times."""
    start = cluster.mark()

    def asked(resource):
        return [r for r in cluster.requests(start, agent="skupper-controller")
                if r["resource"] == resource]
    wait(lambda: len(asked("leases")) >= RENEWALS, "the lease to be renewed")
    return asked


def test_what_the_server_refuses_is_tried_again_ever_more_rarely(standin):
    control.prepare(standin)
    site = Site(standin)
    with Controller(standin):
        whole(site)
        settled(site, "good")
        site.create("listeners", "Listener", "dots", routingKey="k", host="a.b", port=80)
        told = site.admin.await_object(
            kind("listeners"), "dots", site.ns,
            lambda o: "DNS-1035" in str(control.condition(o, "Configured")), 120)
        assert control.condition(told, "Configured")[1] == "Error"
        asked = while_renewed(standin)
        assert len(asked("services")) <= 5  # after 0.5 s, 1 s, 2 s, …
        assert not asked("configmaps")
        assert not asked("listeners")
        assert len(events_of(site, "Listener", "dots")) == 1
        assert site.admin.get("services", "good", site.ns)
        # Set right, it is done at once.
        site.admin.patch(kind("listeners"), "dots", {"spec": {"host": "ab"}}, site.ns)
        site.await_condition("listeners", "dots", "Configured", "True")


def test_an_event_tells_of_a_resource_however_long_its_name_is(home):
    site = Site(home)
    with Controller(home):
        assert len(LONG) == 253
        site.create("connectors", "Connector", LONG, routingKey="k", selector="app=none", port=80)
        site.await_condition("connectors", LONG, "Configured", "False", "No matches for selector")
        wait(lambda: events_of(site, "Connector", LONG), "the event")
        assert [e["message"] for e in events_of(site, "Connector", LONG)] == [
            "No matches for selector"]


def test_a_second_site_waits_for_the_end_of_the_first(home):
    site = Site(home)
    with Controller(home):
        whole(site)
        site.create("sites", "Site", "alps")  # of the same second perhaps, and before it by name
        site.await_condition("sites", "alps", "Configured", "False",
                             "An active site already exists in the namespace (west)")
        settled(site, "one")
        site.await_condition("sites", "west", "Configured", "True")
        site.admin.delete(kind("sites"), "west", site.ns)
        site.await_condition("sites", "alps", "Configured", "True")
        settled(site, "two")
        uid = site.admin.get(kind("sites"), "alps", site.ns)["metadata"]["uid"]
        assert [o["uid"] for o in site.admin.get(
            "configmaps", "skupper-router", site.ns)["metadata"]["ownerReferences"]] == [uid]


def test_nothing_is_made_for_a_namespace_that_is_gone(standin):
    """Keys take their time: those of these Sites are still being made when they go."""
    control.prepare(standin)
    admin = standin.admin
    with Controller(standin):
        site = Site(standin)
        settled(site, "good")
        going = [Site(standin) for _ in range(10)]
        for one in going:
            admin.await_object(kind("certificates"), "skupper-local-ca", one.ns)
        for one in going:
            admin.request("DELETE", path_of("namespaces", None, one.ns))
        for one in going:
            admin.await_gone("namespaces", one.ns)
        settled(site, "after")
        start = standin.mark()
        last = Site(standin)  # whose keys are made after those that were waited for
        whole(last)
        assert not [r["path"] for r in standin.requests(start, agent="skupper-controller")
                    if r["code"] == 404]


def test_two_listeners_want_one_place(home):
    site = Site(home)
    with Controller(home):
        settled(site, "good")
        site.create("listeners", "Listener", "first", routingKey="a", host="same", port=80)
        site.await_condition("listeners", "first", "Configured", "True")
        site.create("listeners", "Listener", "second", routingKey="b", host="same", port=80)
        site.create("listeners", "Listener", "other", routingKey="b", host="same", port=81)
        site.await_condition("listeners", "other", "Configured", "True")
        told = site.admin.await_object(kind("listeners"), "second", site.ns,
                                       control.is_so("Configured", "False"), 120)
        assert control.condition(told, "Configured")[2] == (
            "Listener first with host same and port 80 already exists in namespace")
        assert sorted(p["port"] for p in
                      site.admin.get("services", "same", site.ns)["spec"]["ports"]) == [80, 81]
