# SPDX-License-Identifier: Apache-2.0
"""The controller with the rights that it is installed with: it lacks none, and uses each."""

import json

import control
import foreign
import test_deploy
from cluster import unused_rights
from control import Controller, Site, kind

ACCESS_TYPES = ["local", "loadbalancer", "nodeport", "route", "ingress-nginx",
                "contour-http-proxy", "gateway"]
FLAGS = ["-enabled-access-types=" + ",".join(ACCESS_TYPES), "--ingress-domain=i.example.org",
         "--http-proxy-domain=p.example.org", "--gateway-class=g",
         "--gateway-domain=g.example.org"]
MADE = {"route": "routes.route.openshift.io/v1", "ingress-nginx": "ingresses",
        "contour-http-proxy": "httpproxies.projectcontour.io/v1",
        "gateway": "tlsroutes.gateway.networking.k8s.io/v1alpha2"}
SLICES = "endpointslices.discovery.k8s.io/v1"
GATEWAYS = "gateways.gateway.networking.k8s.io/v1"
# What is not seen here, and why it is given all the same.
UNSEEN = {
    "create deployments.apps":  # by server-side apply, which asks for it within a patch
        "apply",
    "create routes/custom-host.route.openshift.io":  # asked for within a create, by OpenShift
        "openshift",
    "delete certificates.skupper.io": "goes with its owner, mostly",
    "create links.skupper.io": "tokens", "update links.skupper.io": "tokens",
    "delete links.skupper.io": "tokens",
    **{right: "in the Role of the routers" for right in (
        "get pods", "get services", "get deployments.apps", "get configmaps", "update configmaps",
        "get secrets", "update secrets", "delete secrets", "list leases.coordination.k8s.io",
        "watch leases.coordination.k8s.io", "delete leases.coordination.k8s.io")}}


def change(site, **spec):
    site.admin.patch(kind("sites"), "west", {"spec": spec}, site.ns)


def the_one(admin, resource, namespace):
    """The object of a kind, as soon as there is one."""
    while True:
        listed = admin.list(resource, namespace)
        if listed["items"]:
            return listed["items"][0]
        with admin.watch(resource, namespace, resourceVersion=listed["metadata"][
                "resourceVersion"]) as watch:
            watch.next()


def spoil(site, resource, name, before, until):
    """Changes what the controller made, and waits until it is as it was."""
    site.admin.patch(resource, name, before, site.ns)
    site.admin.await_object(resource, name, site.ns, until)


def goes_every_way_in(site):
    a, ns = site.admin, site.ns
    for access in ACCESS_TYPES[1:] + ["local"]:
        change(site, linkAccess=access)
        a.await_object(kind("securedaccesses"), "skupper-router", ns,
                       lambda o, t=access: o["spec"].get("accessType") == t)
        if access in MADE:
            made = the_one(a, MADE[access], ns)["metadata"]
            label = next(iter(made["labels"]))
            spoil(site, MADE[access], made["name"], {"metadata": {"labels": {label: "spoilt"}}},
                  lambda o, k=label: o["metadata"]["labels"][k] != "spoilt")


def has_one_of_each(site):
    key, pods = {"routingKey": "k"}, {"selector": "app=x", "port": 80}
    for plural, name, spec in (
            ("listeners", "Listener", {**key, "host": "back", "port": 5432}),
            ("connectors", "Connector", {**key, **pods}),
            ("multikeylisteners", "MultiKeyListener", {
                "host": "many", "port": 1, "strategy": {"priority": {"routingKeys": ["a"]}}}),
            ("links", "Link", {"tlsCredentials": "none", "endpoints": [
                {"name": "inter-router", "host": "h", "port": "1"}]}),
            ("attachedconnectors", "AttachedConnector", {"siteNamespace": site.ns, **pods}),
            ("attachedconnectorbindings", "AttachedConnectorBinding", {
                **key, "connectorNamespace": site.ns}),
            ("accessgrants", "AccessGrant", {}),
            ("accesstokens", "AccessToken", {"url": "u", "code": "c", "ca": "a"})):
        site.create(plural, name, "one", **spec)
        site.admin.await_object(kind(plural), "one", site.ns, lambda o: o.get("status"))


def lives_through_everything(site):
    a, ns = site.admin, site.ns
    a.await_object("deployments", "skupper-router", ns)
    change(site, ha=True)
    a.await_object("deployments", "skupper-router-2", ns)
    change(site, ha=False)
    a.await_gone("deployments", "skupper-router-2", ns)
    a.await_object("rolebindings", "skupper-router", ns)
    spoil(site, "roles", "skupper-router", {"rules": []}, lambda o: o.get("rules"))
    spoil(site, "rolebindings", "skupper-router", {"subjects": []}, lambda o: o.get("subjects"))
    goes_every_way_in(site)
    has_one_of_each(site)
    has_pods_with_names_elsewhere(site)
    change(site, linkAccess="none")
    a.await_gone(kind("routeraccesses"), "skupper-router", ns)
    a.delete(kind("listeners"), "one", ns)
    a.await_gone("services", "back", ns)


def has_pods_with_names_elsewhere(site):
    """A headless service of another site, as the agent writes it down, and the network."""
    a, ns = site.admin, site.ns
    far = {"address": "far", "protocol": "tcp", "ports": [80], "targets": [], "origin": "east",
           "headless": {"name": "far", "size": 1}}
    network = {"siteStatus": [{"site": {"identity": "east"}, "routerStatus": [
        {"connectors": [{"address": "far:80.far-0", "destHost": "h"}]}]}]}
    a.create("configmaps", {"metadata": {"name": "skupper-network-status"},
                            "data": {"NetworkStatus": json.dumps(network)}}, ns)
    a.await_object("configmaps", "skupper-services", ns)
    a.patch("configmaps", "skupper-services", {"data": {"far": json.dumps(far)}}, ns)
    a.await_object(SLICES, "far-skupper", ns, lambda o: o and o["endpoints"])
    spoil(site, SLICES, "far-skupper", {"endpoints": []}, lambda o: o["endpoints"])
    a.patch("configmaps", "skupper-services", {"data": {"far": None}}, ns)
    a.await_gone(SLICES, "far-skupper", ns)


def has_a_gateway(admin):
    """The one for all sites, beside the controller, where there is a site as well."""
    home = control.HOME
    admin.create(kind("sites"), control.resource("Site", "home"), home)
    name = the_one(admin, GATEWAYS, home)["metadata"]["name"]
    admin.patch(GATEWAYS, name, {"spec": {"gatewayClassName": "spoilt"}}, home)
    admin.await_object(GATEWAYS, name, home, lambda o: o["spec"]["gatewayClassName"] == "g")
    admin.delete(kind("sites"), "home", home)


def test_the_controller_uses_the_rights_it_has_and_lacks_none(recorded):
    control.prepare(recorded)
    recorded.define(*foreign.GATEWAY, *foreign.ROUTE, *foreign.CONTOUR)
    rules = test_deploy.rules()
    recorded.account(control.HOME, "c", cluster_rules=rules)
    config = recorded.kubeconfig_for(recorded.token(control.HOME, "c"), control.HOME)
    since, user = recorded.mark(), "system:serviceaccount:%s:c" % control.HOME
    with Controller(recorded, *FLAGS, kubeconfig=config, image=None):
        lives_through_everything(Site(recorded, linkAccess="local"))
        has_a_gateway(recorded.admin)
    asked = recorded.requests(since, user=user)
    assert [r for r in asked if r["code"] == 403] == []
    unseen = set(unused_rights(rules, asked))
    assert unseen <= set(UNSEEN), sorted(unseen - set(UNSEEN))
