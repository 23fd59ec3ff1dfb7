# SPDX-License-Identifier: Apache-2.0
"""The short words of the first version where our kinds are not defined, and without a right to any."""

import json

import pytest

import control
from cli import Cli
from test_cli import defined, deployment
from test_version_1 import Place

# What somebody needs who may do nothing else.
USER = [
    {"apiGroups": [""], "resources": ["configmaps"],
     "verbs": ["get", "create", "patch", "delete"]},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["services"], "verbs": ["get"]},
]


@pytest.fixture
def place(cluster):
    cluster.run_deployments()
    return Place(cluster)


@pytest.fixture
def cli(place, tmp_path):
    place.cluster.account(place.ns, "user", USER)
    token = place.cluster.token(place.ns, "user")
    return Cli(place.cluster, place.ns, place.cluster.kubeconfig_for(token, place.ns), tmp_path)


def test_a_site_is_made_used_and_removed_without_definitions(place, cli):
    a, ns = place.admin, place.ns
    with place.controller():
        said = cli.run("init", "--site-name", "west", "--ingress", "none", "--router-mode", "edge")
        assert said.startswith("Waiting for status...\nSkupper is now installed in namespace '%s'." %
                               ns)
        assert a.get("configmaps", "skupper-site", ns)["data"] == {
            "name": "west", "ingress": "none", "router-mode": "edge"}
        assert 'the site is "west"' in cli.run("init", status=2)
        assert cli.run("site", "status").splitlines()[1].split() == ["west", "Ready", "OK"]
        a.create("deployments", deployment("backend", 8080), ns)
        assert cli.run("expose", "deployment/backend") == "deployment backend exposed as backend\n"
        assert defined(Cli(place.cluster, ns))["backend"]["ports"] == [8080]
        a.await_object("services", "backend", ns, bool, 120)
        assert "backend:8080 (tcp)" in cli.run("service", "status")
        assert 'with site name "west". It is not connected to any other sites. It has 1 exposed ' \
            "service." in cli.run("status")
        said = cli.run("listener", "create", "db", "1", status=1)
        assert "the Skupper CRDs are not installed, so there is no Listener" in said
        cli.run("unexpose", "deployment/backend")
        a.await_gone("services", "backend", ns, 120)
        assert cli.run("delete").endswith("Skupper is now removed from '%s'.\n" % ns)
        a.await_gone("deployments", "skupper-router", ns, 120)
        assert "is not enabled" in cli.run("delete", status=1)


def test_two_such_sites_are_linked(place, tmp_path):
    a, other = place.admin, Place(place.cluster)
    west, east = (Cli(p.cluster, p.ns, home=tmp_path) for p in (place, other))
    with place.controller(), other.controller():
        west.run("init", "--site-name", "west", "--ingress", "none")
        east.run("init", "--site-name", "east")
        said = west.run("token", "create", "token.yaml", "--token-type", "cert")
        assert "(Note: token will only be valid for local cluster)" in said
        assert said.endswith("Token written to token.yaml \n")
        assert (tmp_path / "token.yaml").stat().st_mode & 0o777 == 0o600
        east.run("link", "create", "token.yaml", "--name", "to-west", "--cost", "3")
        notes = a.get("secrets", "to-west", east.ns)["metadata"]["annotations"]
        assert notes["inter-router-host"] == "skupper-router." + west.ns
        assert notes["skupper.io/cost"] == "3"

        def is_linked(o):
            return bool(o) and ["connector", "to-west", "skupper-router." + west.ns, 3] in [
                [t, e.get("name"), e.get("host"), e.get("cost")]
                for t, e in json.loads(o["data"]["skrouterd.json"])]

        a.await_object("configmaps", "skupper-router", east.ns, is_linked, 120)
        uid = a.get("configmaps", "skupper-site", west.ns)["metadata"]["uid"]
        again = east.run("link", "create", "token.yaml", status=2)
        assert 'Already connected to "%s", by the link "to-west".' % uid in again
        again = west.run("link", "create", "token.yaml", status=2)
        assert "Can't create connection to self with token" in again
        shown_and_changed(a, west, east)


def is_told_up(a, east):
    assert east.run("link", "status").splitlines()[1].split() == [
        "to-west", "Pending", "3", "Not", "operational"]
    up = {"siteStatus": [{"site": {"identity": a.get("configmaps", "skupper-site", east.ns)[
        "metadata"]["uid"]}, "routerStatus": [{"links": [{"name": "to-west", "status": "up"}]}]}]}
    a.create("configmaps", {"metadata": {"name": "skupper-network-status"},
                            "data": {"NetworkStatus": json.dumps(up)}}, east.ns)


def shown_and_changed(a, west, east):
    """The link of such a site is its Secret."""
    assert west.run("link", "status") == "There are no link resources in the namespace\n"
    if not east.cluster.is_real:  # where nobody tells of routers
        is_told_up(a, east)
    assert east.run("link", "status", "--wait", "60").splitlines()[1].split() == [
        "to-west", "Ready", "3", "OK"]
    assert east.json("link", "status", "to-west")["spec"]["endpoints"][0] == {
        "name": "inter-router", "host": "skupper-router." + west.ns, "port": "55671"}
    assert 'there is no link "gone"' in east.run("link", "status", "gone", status=2)
    east.run("link", "update", "to-west", "--cost", "7", "--wait", "none")
    assert a.get("secrets", "to-west", east.ns)["metadata"]["annotations"]["skupper.io/cost"] == "7"
    a.patch("secrets", "to-west", {"metadata": {"labels": {
        "internal.skupper.io/disabled": "true"}}}, east.ns)
    assert "disabled by the label" in east.run("link", "status")
    assert east.run("link", "delete", "to-west").endswith('Link "to-west" is deleted\n')
    a.await_gone("secrets", "to-west", east.ns)
    east.run("link", "create", "token.yaml", "--name", "again")
    east.run("delete")
    a.await_gone("secrets", "again", east.ns)


def test_who_may_not_list_secrets_is_told_so(place, cli):
    place.site(name="west")
    assert "secrets is forbidden" in cli.run("link", "status", status=1)


def test_without_a_controller_it_is_said_how_to_install_one(cli):
    said = cli.run("init", "--timeout", "10s", status=1)
    assert "no controller has taken it up" in said and "deploy/skupper-version-1.yaml" in said


def test_such_sites_are_used_where_our_kinds_are_defined_too(place, tmp_path):
    """One that somebody made by its ConfigMap; what is made anew there is a Site."""
    a, other, third = place.admin, Place(place.cluster), place.cluster.namespace("fresh")
    control.prepare(place.cluster)
    west, east = (Cli(p.cluster, p.ns, home=tmp_path) for p in (place, other))
    with place.controller(), other.controller():
        place.site(name="west", ingress="none")
        other.site(name="east", ingress="none")
        for one in (place, other):
            a.await_object("deployments", "skupper-router", one.ns,
                           lambda o: o and o.get("status", {}).get("readyReplicas"), 120)
        assert 'the site is "west"' in west.run("init", status=2)
        west.run("token", "create", "token.yaml", "--token-type", "cert")
        east.run("link", "create", "token.yaml", "--name", "to-west", "--cost", "3")
        shown_and_changed(a, west, east)
        Cli(place.cluster, third).run("site", "create", "north", "--wait", "none")
        assert a.get(control.kind("sites"), "north", third)
