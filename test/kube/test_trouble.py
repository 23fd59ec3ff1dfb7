# SPDX-License-Identifier: Apache-2.0
"""The controller in trouble: a server that is away, busy or refuses, definitions and rights that are
missing. What is wrong is told with the server's own words, nothing is lost, and it goes on by itself."""

import pytest

import control
import foreign
from control import Controller, Site, kind, one_listener, settled, whole, writes
from pods import wait

ORDERED = "trouble was ordered"


@pytest.fixture
def home(standin):
    control.prepare(standin)
    return standin


def trouble_of(site, plural, name, words, type_="Configured"):
    """Until the condition says so; with the Event that goes with it."""
    def says(obj):
        c = control.condition(obj, type_)
        return bool(c) and c[:2] == ("False", "Error") and words in c[2]
    told = site.admin.await_object(kind(plural), name, site.ns, says, 120)
    message = control.condition(told, type_)[2]
    event_of(site, told, message)
    return message


def event_of(site, obj, words):
    def found():
        return [e for e in site.admin.list("events", site.ns)["items"]
                if e["involvedObject"]["uid"] == obj["metadata"]["uid"] and words in e["message"]]
    return wait(found, "an Event that says: " + words)[0]


# ------------------------------------------------------------------------------------ the server


def test_a_server_in_error_is_told_and_asked_again(home):
    site = Site(home)
    home.control("fault", code=500, match={"verb": "create", "resource": "services",
                                           "namespace": site.ns})
    with Controller(home):
        site.create("listeners", "Listener", "db", routingKey="db", host="back", port=5432)
        assert "services" in trouble_of(site, "listeners", "db", ORDERED)
        home.control("clear")
        site.await_condition("listeners", "db", "Configured", "True")
        assert site.admin.get("services", "back", site.ns)


def test_a_role_that_the_server_has_not_seen_yet_is_no_trouble(home):
    """It answers 404 to a RoleBinding a moment after it made the Role."""
    site = Site(home, has_site=False)
    home.control("fault", code=404, count=1, match={"verb": "create", "resource": "rolebindings",
                                                    "namespace": site.ns})
    with Controller(home):
        site.create("sites", "Site", "west")
        whole(site)
        site.admin.await_object("rolebindings", "skupper-router", site.ns)
        settled(site, "after")
        site.await_condition("sites", "west", "Configured", "True")
        assert not [e["message"] for e in site.admin.list("events", site.ns)["items"]]


def test_a_busy_server_is_asked_when_it_says_and_nothing_is_written_twice(home):
    site = Site(home)
    with Controller(home):
        whole(site)
        settled(site, "before")
        mark = home.mark()
        for verb, resource in (("create", "services"), ("patch", "configmaps"),
                               ("update", "listeners")):
            home.control("fault", code=429, retry_after=1, count=2,
                         match={"verb": verb, "resource": resource, "namespace": site.ns})
        settled(site, "after")
        refused = [r for r in home.requests(mark, agent="skupper-controller") if r["code"] == 429]
        assert len(refused) == 6
        done = writes(site, mark)
        assert {k: n - 2 for k, n in done.items()} == one_listener("after")


def test_a_storm_of_conflicts_ends_where_it_should(home):
    site = Site(home)
    with Controller(home):
        whole(site)
        home.control("fault", code=409, count=3, match={
            "verb": "update", "resource": "listeners", "sub": "status", "namespace": site.ns})
        settled(site, "storm")


def test_conflicts_without_an_end_are_told(home):
    site = Site(home)
    with Controller(home):
        whole(site)
        settled(site, "before")
        home.control("fault", code=409, match={"verb": "patch", "resource": "configmaps",
                                               "namespace": site.ns})
        site.create("listeners", "Listener", "db", routingKey="db", host="back", port=5432)
        trouble_of(site, "sites", "west", ORDERED)
        home.control("clear")
        site.await_condition("sites", "west", "Configured", "True")
        site.await_config(lambda c: ("tcpListener", "listener/db") in c)


# What may not be written, where that is told, and by a condition of which type (an Event alone).
REFUSED = (
    ("create", "configmaps", "", "sites", "west", "Configured"),
    ("create", "serviceaccounts", "", "sites", "west", "Configured"),
    ("create", "roles", "", "sites", "west", "Configured"),
    ("create", "rolebindings", "", "sites", "west", "Configured"),
    ("create", "certificates", "", "sites", "west", "Configured"),
    ("create", "routeraccesses", "", "sites", "west", "Configured"),
    ("create", "securedaccesses", "", "routeraccesses", "skupper-router", "Configured"),
    ("patch", "deployments", "", "sites", "west", "Configured"),
    ("patch", "services", "", "sites", "west", "Configured"),
    ("create", "services", "", "listeners", "db", "Configured"),
    ("create", "secrets", "", "certificates", "skupper-site-ca", "Ready"),
    ("update", "listeners", "status", "listeners", "db", None),
)


@pytest.mark.parametrize("verb, resource, sub, plural, name, type_", REFUSED,
                         ids=["-".join(filter(None, r[:3])) for r in REFUSED])
def test_whatever_may_not_be_written_is_told(home, verb, resource, sub, plural, name, type_):
    site = Site(home, has_site=False)
    home.control("fault", code=403, match={"verb": verb, "resource": resource, "sub": sub,
                                           "namespace": site.ns})
    with Controller(home):
        site.create("listeners", "Listener", "db", routingKey="db", host="back", port=5432)
        site.create("sites", "Site", "west", linkAccess="local")
        words = "cannot %s %s" % ("apply" if verb == "patch" else verb, resource)
        if type_:
            assert trouble_of(site, plural, name, words, type_).startswith(words)
        else:
            assert event_of(site, site.admin.get(kind(plural), name, site.ns),
                            words)["reason"] == "Refused"
        home.control("clear")
        site.await_condition("sites", "west", "Configured", "True")
        site.await_condition("listeners", "db", "Configured", "True")
        if type_:
            site.await_condition(plural, name, type_, "True")


def test_what_may_not_be_deleted_is_told(home):
    site = Site(home)
    home.control("fault", code=403, match={"verb": "delete", "resource": "services",
                                           "namespace": site.ns})
    with Controller(home):
        settled(site, "db")
        service = site.admin.get("services", "db", site.ns)
        site.admin.delete(kind("listeners"), "db", site.ns)
        assert event_of(site, service, "cannot delete services/db")["reason"] == "Refused"
        home.control("clear")
        site.admin.await_gone("services", "db", site.ns)


def test_answers_that_are_lost_lead_to_the_same(home):
    """Nothing is made twice, whether or not the server had done it."""
    site = Site(home)
    with Controller(home):
        whole(site)
        for drop in ("before", "after", "half"):
            for verb, resource in (("create", "services"), ("update", "listeners"),
                                   ("patch", "configmaps")):
                home.control("fault", drop=drop, count=1, match={
                    "verb": verb, "resource": resource, "namespace": site.ns})
            settled(site, drop)
        assert {o["metadata"]["name"] for o in site.admin.list("services", site.ns)["items"]} >= {
            "before", "after", "half"}


def test_a_partition_that_lasts_ends_the_controller_and_the_next_one_goes_on(home):
    site = Site(home)
    with Controller(home, name="cut-off") as c:
        whole(site)
        settled(site, "before")
        home.control("stop")
        assert c.process.wait(60) != 0
        assert "lease lost: another holds it, or it could not be renewed for 10 s" in c.text()
    home.control("start", forget=True)
    mark = home.mark()
    with Controller(home, name="cut-off"):
        settled(site, "after")
        assert writes(site, mark) == one_listener("after")
        assert site.admin.get("services", "before", site.ns)


# ------------------------------------------------------------------------------- rights, definitions


def test_a_watch_without_its_right_is_told_and_deletes_nothing(home):
    site = Site(home)
    a, ns = site.admin, site.ns
    rules = control.rules()
    home.account(control.HOME, "c-watch", cluster_rules=rules)
    config = home.kubeconfig_for(home.token(control.HOME, "c-watch"), control.HOME)
    role_name = control.HOME + "-c-watch"
    with Controller(home, kubeconfig=config):
        settled(site, "before")
        less = [{**r, "resources": [w for w in r["resources"] if w != "listeners"]} for r in rules]
        a.update("clusterroles", {**a.get("clusterroles", role_name), "rules": less})
        home.control("drop_watches")
        west = a.get(kind("sites"), "west", ns)
        assert event_of(site, west, "forbidden")["reason"] == "NotWatched"
        site.create("connectors", "Connector", "c", routingKey="k", host="h", port=1)
        site.await_condition("connectors", "c", "Configured", "True")
        assert a.get("services", "before", ns)
        assert ("tcpListener", "listener/before") in site.config()
        a.update("clusterroles", {**a.get("clusterroles", role_name), "rules": rules})
        settled(site, "after")


READ, MAKE = ["get", "list", "watch"], ["create", "update", "delete"]
# Of installations of the existing product, whose image is exchanged.
EXISTING = [{"apiGroups": [group], "resources": resources, "verbs": verbs}
            for group, resources, verbs in (
                ("", ["nodes"], READ),
                ("", ["configmaps", "pods", "pods/exec", "services", "secrets", "serviceaccounts",
                      "events"], READ + MAKE + ["patch"]),
                ("apps", ["deployments"], READ + MAKE + ["patch"]),
                ("networking.k8s.io", ["ingresses"], READ + MAKE),
                ("coordination.k8s.io", ["leases"], READ + MAKE),
                ("rbac.authorization.k8s.io", ["roles", "rolebindings"], READ + MAKE),
                ("skupper.io", [d["spec"]["names"]["plural"] + sub for d in control.definitions()
                                for sub in ("", "/status")], READ + MAKE))]


def test_the_rights_of_an_existing_installation_are_enough(home):
    home.account(control.HOME, "c-old", cluster_rules=EXISTING)
    config = home.kubeconfig_for(home.token(control.HOME, "c-old"), control.HOME)
    site = Site(home, linkAccess="local")
    with Controller(home, kubeconfig=config) as c:
        whole(site)
        settled(site, "db")
        site.await_condition("sites", "west", "Resolved", "True")
        assert "done without kind=StatefulSet" in c.text()


def definition(kind_name):
    return next(d for d in control.definitions() if d["spec"]["names"]["kind"] == kind_name)


def others(*kinds):
    return [d for d in control.definitions() if d["spec"]["names"]["kind"] not in kinds]


def test_nothing_begins_before_it_is_known_what_there_is(home):
    """What was exposed is not taken for gone while it cannot be seen."""
    site = Site(home)
    a, ns = site.admin, site.ns
    template = {"metadata": {"labels": {"app": "w"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]}}
    a.create("daemonsets", {
        "metadata": {"name": "w", "annotations": {"skupper.io/proxy": "tcp",
                                                  "skupper.io/port": "80"}},
        "spec": {"selector": {"matchLabels": {"app": "w"}}, "template": template}}, ns)
    with Controller(home, name="blind"):
        service = a.await_object("services", "w", ns, bool, 120)
    home.control("fault", code=403, match={"path": "/apis/apps/v1"})
    with Controller(home, name="blind") as c:
        wait(lambda: "not known whether there is api=apps/v1" in c.text(), c.text)
        assert "everything is listed" not in c.text()
        home.control("clear")
        settled(site, "after")
        assert a.get("services", "w", ns)["metadata"]["uid"] == service["metadata"]["uid"]


def test_definitions_that_come_later_are_taken_up(bare):
    with Controller(bare) as c:
        wait(lambda: "there is no definition of kind=Site" in c.text(), c.text)
        bare.define(*control.definitions())
        settled(Site(bare), "now")


def test_a_definition_that_is_missing_is_told_where_it_is_needed(bare):
    bare.define(*others("Certificate"))
    site = Site(bare)
    with Controller(bare):
        assert "certificates.skupper.io" in trouble_of(site, "sites", "west", "certificates")
        bare.define(definition("Certificate"))
        site.await_condition("sites", "west", "Configured", "True")
        whole(site)


def test_apis_that_come_later_are_used(bare):
    bare.define(*control.definitions())
    site = Site(bare, linkAccess="route")
    with Controller(bare, "-enabled-access-types=local,route"):
        site.admin.await_object(kind("securedaccesses"), "skupper-router", site.ns,
                                lambda o: control.condition(o, "Configured") is not None, 120)
        bare.define(*foreign.ROUTE)
        site.admin.await_object("routes.route.openshift.io/v1", "skupper-router-inter-router",
                                site.ns, bool, 120)


def test_without_the_right_to_see_definitions_they_are_asked_for(bare):
    bare.define(*others("Listener"))
    rules = [r for r in control.rules() if "customresourcedefinitions" not in r["resources"]]
    bare.account(control.HOME, "c-defs", cluster_rules=rules)
    config = bare.kubeconfig_for(bare.token(control.HOME, "c-defs"), control.HOME)
    site = Site(bare)
    with Controller(bare, kubeconfig=config) as c:
        whole(site)
        wait(lambda: "what is installed later is looked for" in c.text(), c.text)
        bare.define(definition("Listener"))
        settled(site, "later")
