# SPDX-License-Identifier: Apache-2.0
"""The controller: what a namespace's resources become, and how much is written for it."""

import base64
import socket
import time
import uuid

import pytest

import control
from control import (Controller, Site, free_port, kind, one_listener, serving, settled, whole,
                     writes)
from pods import wait


@pytest.fixture
def home(cluster):
    control.prepare(cluster)
    return cluster


def names(admin, resource, ns):
    return {o["metadata"]["name"] for o in admin.list(resource, ns)["items"]}


def test_a_site_becomes_its_objects(home):
    home.run_deployments()
    site = Site(home, linkAccess="local")
    with Controller(home):
        site.await_condition("sites", "west", "Ready", "True")
        a, ns = site.admin, site.ns
        assert {"skupper-router"} <= names(a, "deployments", ns)
        assert {"skupper-router-local", "skupper-router"} <= names(a, "services", ns)
        for name in ("skupper-site-ca", "skupper-local-ca", "skupper-local-server",
                     "skupper-site-server"):
            a.await_object("secrets", name, ns)
        for resource in ("serviceaccounts", "roles", "rolebindings"):
            assert "skupper-router" in names(a, resource, ns)
        assert a.get(kind("sites"), "west", ns)["status"]["endpoints"] == [
            {"name": n, "host": "skupper-router." + ns, "port": p, "group": "skupper-router"}
            for n, p in (("inter-router", "55671"), ("edge", "45671"))]
        # What the Site owns goes with it.
        a.delete(kind("sites"), "west", ns)
        a.await_gone("deployments", "skupper-router", ns)
        a.await_gone("secrets", "skupper-site-server", ns)


def test_a_listener_becomes_a_service_and_a_connector_follows_its_pods(home):
    site = Site(home)
    with Controller(home):
        site.create("listeners", "Listener", "db", routingKey="db", host="back", port=5432)
        site.create("connectors", "Connector", "web", routingKey="web", selector="app=web",
                    port=8080)
        site.pod("web-1", "web", "10.9.0.1")
        site.pod("web-2", "web", "10.9.0.2")
        site.await_config(lambda c: ("tcpConnector", "connector/web@10.9.0.1") in c
                          and ("tcpConnector", "connector/web@10.9.0.2") in c)
        service = site.admin.await_object("services", "back", site.ns)
        listener = site.config()["tcpListener", "listener/db"]
        assert service["spec"]["ports"][0]["port"] == 5432
        assert service["spec"]["ports"][0]["targetPort"] == int(listener["port"])
        site.await_condition("listeners", "db", "Configured", "True")
        site.await_condition("connectors", "web", "Configured", "True")
        # A pod that dies is out of rotation.
        begin = time.monotonic()
        site.pod_status("web-2", "10.9.0.2", ready=False)
        site.await_config(lambda c: ("tcpConnector", "connector/web@10.9.0.2") not in c)
        print("a pod that dies is out of the configuration after %.0f ms" %
              ((time.monotonic() - begin) * 1e3))
        site.admin.delete(kind("listeners"), "db", site.ns)
        site.admin.await_gone("services", "back", site.ns)


def test_objects_that_are_not_ours_are_left_alone(home):
    site = Site(home, has_site=False)
    a, ns = site.admin, site.ns
    mine = a.create("configmaps", {"metadata": {"name": "skupper-router"}, "data": {"my": "own"}},
                    ns)
    a.create("services", {"metadata": {"name": "back"}, "spec": {
        "ports": [{"port": 1}], "selector": {"app": "mine"}}}, ns)
    uid = site.create("sites", "Site", "west")["metadata"]["uid"]
    site.create("listeners", "Listener", "db", routingKey="db", host="back", port=5432)
    with Controller(home):
        site.await_condition("sites", "west", "Configured", "False",
                             'skupper-router is not owned by skupper site "%s"' % uid)
        site.await_condition("listeners", "db", "Configured", "False",
                             "Service back already exists in namespace")
        now = a.get("configmaps", "skupper-router", ns)
        assert now["data"] == mine["data"]
        assert a.get("services", "back", ns)["spec"]["selector"] == {"app": "mine"}
        a.delete("services", "back", ns)
        a.delete("configmaps", "skupper-router", ns)
        site.await_condition("sites", "west", "Configured", "True")
        site.await_condition("listeners", "db", "Configured", "True")


def test_a_link_waits_for_a_secret_that_is_whole(home):
    site = Site(home)
    a, ns = site.admin, site.ns
    link = {"endpoints": [{"name": "inter-router", "host": "192.0.2.1", "port": "55671"}],
            "tlsCredentials": "east"}
    site.create("links", "Link", "east", **link)
    with Controller(home):
        site.await_condition("links", "east", "Configured", "False",
                             'TLS credentials secret "east" not found')
        a.create("secrets", {"metadata": {"name": "east"}, "type": "kubernetes.io/tls", "data": {
            "ca.crt": "eA==", "tls.crt": "eA==", "tls.key": ""}}, ns)
        site.await_condition("links", "east", "Configured", "False",
                             'TLS credentials secret "east" has no tls.key')
        a.patch("secrets", "east", {"data": {"tls.key": "eA=="}}, ns)
        site.await_condition("links", "east", "Configured", "True")
        assert ("connector", "east") in site.config()


def encoded(**texts):
    return {k: base64.b64encode(v.encode()).decode() for k, v in texts.items()}


def test_a_link_goes_through_the_proxy_of_its_secret(home):
    site = Site(home)
    a, ns = site.admin, site.ns
    site.create("links", "Link", "east", settings={"proxy-configuration": "out"}, endpoints=[
        {"name": "inter-router", "host": "192.0.2.1", "port": "55671"}])
    with Controller(home):
        site.await_condition("links", "east", "Configured", "False",
                             'spec.settings.proxy-configuration: the Secret "out" is not there, or '
                             'says nothing of a proxy; it needs the keys host and port')
        assert ("connector", "east") not in site.config()
        a.create("secrets", {"metadata": {"name": "out"}, "type": "kubernetes.io/basic-auth",
                             "data": encoded(host="proxy.example.org", port="3128", username="u",
                                             password="s3cret-W0rd")}, ns)
        site.await_condition("links", "east", "Configured", "True")
        assert site.config()["connector", "east"]["proxyProfile"] == "out"
        assert site.config()["proxyProfile", "out"] == {
            "name": "out", "host": "proxy.example.org", "port": "3128", "username": "u",
            "password": "file:/etc/skupper-router-proxies/out/password.txt"}
        a.patch("secrets", "out", {"data": encoded(port="8080")}, ns)
        site.await_config(lambda c: c["proxyProfile", "out"]["port"] == "8080")
        assert "s3cret-W0rd" not in str(site.config())
        a.delete("secrets", "out", ns)
        site.await_config(lambda c: ("proxyProfile", "out") not in c and
                          ("connector", "east") not in c)


def test_the_api_server_goes_and_comes(standin):
    control.prepare(standin)
    site = Site(standin)
    with Controller(standin, name="steady"):
        whole(site)
        settled(site, "before")
        mark = standin.mark()
        standin.control("restart", forget=True)
        settled(site, "after")
        assert writes(site, mark) == one_listener("after")
        standin.control("drop_watches")
        mark = standin.mark()
        settled(site, "later")
        assert writes(site, mark) == one_listener("later")
        for name in ("before", "after", "later"):
            assert site.admin.get("services", name, site.ns)


def test_rights_that_are_taken_away_are_told_and_what_is_there_stays(home):
    site = Site(home)
    a, ns = site.admin, site.ns
    rules = control.rules()
    client = home.account(control.HOME, "c-rights", cluster_rules=rules)
    token = home.token(control.HOME, "c-rights")
    assert client
    with Controller(home, kubeconfig=home.kubeconfig_for(token, control.HOME)):
        settled(site, "before")
        less = [{**r, "verbs": [v for v in r["verbs"] if v not in ("create", "patch", "update")]}
                if "services" in r["resources"] else r for r in rules]
        role = a.get("clusterroles", control.HOME + "-c-rights")
        a.update("clusterroles", {**role, "rules": less})
        site.create("listeners", "Listener", "refused", routingKey="k", host="refused", port=1)
        told = a.await_object(
            kind("listeners"), "refused", ns,
            lambda o: "forbidden" in str(control.condition(o, "Configured")).lower(), 120)
        assert control.condition(told, "Configured")[1] == "Error"
        assert a.get("services", "before", ns)
        role = a.get("clusterroles", control.HOME + "-c-rights")
        a.update("clusterroles", {**role, "rules": rules})
        site.await_condition("listeners", "refused", "Configured", "True")


def test_of_two_controllers_of_one_name_one_acts(recorded):
    control.prepare(recorded)
    site = Site(recorded)
    with Controller(recorded, name="twin", image=None) as first:
        whole(site)
        settled(site, "one")
        with Controller(recorded, name="twin", image=None) as second:
            mark = recorded.mark()
            settled(site, "two")
            assert writes(site, mark) == one_listener("two")
            first.close()
            settled(site, "three")
            assert "in charge" in second.text()


def test_the_lease_goes_with_the_installation(home):
    name = "c-" + uuid.uuid4().hex[:8]
    home.admin.create("deployments", {"metadata": {"name": name}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "registry.invalid/app:1"}]}}}},
        control.HOME)
    with Controller(home, name=name):
        home.admin.await_object("leases", name, control.HOME, lambda o: o and [
            owner["name"] for owner in o["metadata"].get("ownerReferences", [])] == [name], 120)
    home.admin.delete("deployments", name, control.HOME)
    home.admin.await_gone("leases", name, control.HOME)


def test_who_acts_is_said_by_the_namespace(home):
    site = Site(home)
    site.admin.create("configmaps", {"metadata": {"name": "skupper"},
                                     "data": {"controller": "skupper/somebody-else"}}, site.ns)
    other = Site(home)
    with Controller(home, name="me"):
        settled(other, "mine")
        assert not site.admin.find("configmaps", "skupper-router", site.ns)
        site.admin.patch("configmaps", "skupper", {"data": {"controller": "skupper/me"}}, site.ns)
        settled(site, "now")


@pytest.fixture
def grant_certificate(home):
    return control.grant_credentials(home)


def granted(site, times=1, name="g", **spec):
    """What the status of a grant says once it can be redeemed. `times` 0: the grant does not say
    how often."""
    if times:
        spec["redemptionsAllowed"] = times
    site.create("accessgrants", "AccessGrant", name, **spec)
    return site.admin.await_object(kind("accessgrants"), name, site.ns,
                                   control.is_so("Ready", "True"), 120)["status"]


def test_a_token_becomes_a_link_once(home, grant_certificate):
    issuer, other = Site(home, linkAccess="local"), Site(home)
    a = home.admin
    with serving(home, grant_certificate):
        issuer.await_condition("sites", "west", "Resolved", "True")
        grant = granted(issuer)
        for name in ("t", "late"):
            other.create("accesstokens", "AccessToken", name, url=grant["url"],
                         code=grant["code"], ca=grant["ca"], linkCost=3)
            if name == "t":
                other.await_condition("accesstokens", "t", "Redeemed", "True")
        link = a.get(kind("links"), "t", other.ns)
        assert link["spec"]["cost"] == 3
        assert {e["host"] for e in link["spec"]["endpoints"]} == {"skupper-router." + issuer.ns}
        assert link["metadata"]["ownerReferences"][0]["kind"] == "Site"
        other.await_condition("links", "t", "Configured", "True")
        assert a.get("secrets", "t", other.ns)["type"] == "kubernetes.io/tls"
        # It was good for one.
        told = other.await_condition(
            "accesstokens", "late", "Redeemed", "False",
            "Controller got failed response: 404 (Not Found) No such access granted")
        assert not told["status"]["redeemed"]
        assert not a.find("secrets", "late", other.ns)
        assert a.get(kind("accessgrants"), "g", issuer.ns)["status"]["redemptions"] == 1
        # The token goes, the link stays.
        a.delete(kind("accesstokens"), "t", other.ns)
        settled(other, "after")
        assert a.get(kind("links"), "t", other.ns)


def test_a_token_is_signed_by_whom_the_grant_or_its_site_names(home, grant_certificate):
    """It is good as often as the grant says, and once if that says nothing."""
    issuer, other = Site(home, linkAccess="local", defaultIssuer="ours"), Site(home)
    a = home.admin
    for name in ("ours", "theirs"):
        issuer.create("certificates", "Certificate", name, ca="", subject=name, signing=True)
    with serving(home, grant_certificate):
        issuer.await_condition("sites", "west", "Resolved", "True")
        for signer, times, spec in (("ours", 0, {}), ("theirs", 2, {"issuer": "theirs"})):
            grant = granted(issuer, times, signer, **spec)
            names = ["%s-%d" % (signer, i) for i in range(max(times, 1) + 1)]
            for name in names:
                other.create("accesstokens", "AccessToken", name, url=grant["url"],
                             code=grant["code"], ca=grant["ca"])
                if name == names[-1]:
                    other.await_condition(
                        "accesstokens", name, "Redeemed", "False",
                        "Controller got failed response: 404 (Not Found) No such access granted")
                    continue
                other.await_condition("accesstokens", name, "Redeemed", "True")
                assert (a.get("secrets", name, other.ns)["data"]["ca.crt"] ==
                        a.get("secrets", signer, issuer.ns)["data"]["tls.crt"])


def test_a_token_of_a_site_with_two_routers_becomes_a_link_to_each(standin, grant_certificate):
    """Also when the second cannot be made at first."""
    control.prepare(standin)
    issuer, other = Site(standin, linkAccess="local", ha=True), Site(standin)
    a = standin.admin
    with serving(standin, grant_certificate):
        issuer.await_condition("sites", "west", "Resolved", "True")
        grant = granted(issuer)
        standin.control("fault", code=500, skip=1, count=1, match={
            "verb": "create", "resource": "links", "namespace": other.ns})
        other.create("accesstokens", "AccessToken", "t", url=grant["url"], code=grant["code"],
                     ca=grant["ca"])
        for name, host in ("t-1", "skupper-router."), ("t-2", "skupper-router-2."):
            link = other.await_condition("links", name, "Configured", "True")
            assert link["spec"]["tlsCredentials"] == "t"
            assert {e["host"] for e in link["spec"]["endpoints"]} == {host + issuer.ns}
        other.await_condition("accesstokens", "t", "Redeemed", "True", "OK")
        assert a.get(kind("accessgrants"), "g", issuer.ns)["status"]["redemptions"] == 1


def test_a_token_of_a_site_that_is_gone_says_so(home, grant_certificate):
    issuer, other = Site(home, linkAccess="local"), Site(home)
    a = home.admin
    with serving(home, grant_certificate):
        issuer.await_condition("sites", "west", "Resolved", "True")
        grant = granted(issuer, 2)
        other.create("accesstokens", "AccessToken", "t", url=grant["url"], code=grant["code"],
                     ca=grant["ca"])
        other.await_condition("accesstokens", "t", "Redeemed", "True", "OK")
        a.delete(kind("sites"), "west", other.ns)
        a.await_gone(kind("links"), "t", other.ns)
        gone = "Already redeemed for a deleted site"
        other.await_condition("accesstokens", "t", "Redeemed", "True", gone)
        other.create("sites", "Site", "east")
        settled(other, "new")
        told = other.await_condition("accesstokens", "t", "Redeemed", "True", gone)
        assert told["status"]["status"] == "Error"
        assert a.get(kind("accessgrants"), "g", issuer.ns)["status"]["redemptions"] == 1


def test_a_certificate_of_a_public_authority_has_no_ca(home):
    site = Site(home)
    a, ns = site.admin, site.ns
    a.create("secrets", {"metadata": {"name": "shop"}, "type": "kubernetes.io/tls",
                         "data": {"tls.crt": "eA==", "tls.key": "eA=="}}, ns)
    with Controller(home):
        site.create("listeners", "Listener", "shop", routingKey="shop", host="shop", port=443,
                    tlsCredentials="shop")
        site.create("connectors", "Connector", "shop", routingKey="shop", host="h", port=443,
                    tlsCredentials="shop")
        site.await_condition("listeners", "shop", "Configured", "True")
        site.await_condition("connectors", "shop", "Configured", "True")
        site.await_config(lambda c: {("sslProfile", "shop"), ("sslProfile", "shop-profile")} <=
                          set(c))
        config = site.config()
        assert "caCertFile" not in config["sslProfile", "shop"]
        assert config["sslProfile", "shop"]["certFile"] == "/etc/skupper-router-certs/shop/tls.crt"
        assert set(config["sslProfile", "shop-profile"]) <= {"name", "ordinal"}
        # One that comes later is used.
        a.patch("secrets", "shop", {"data": {"ca.crt": "eA=="}}, ns)
        site.await_config(lambda c: "caCertFile" in c["sslProfile", "shop"])


def test_what_no_router_can_do_is_told(home):
    site = Site(home)
    with Controller(home):
        site.create("listeners", "Listener", "dns", routingKey="dns", host="dns", port=53,
                    type="udp")
        site.await_condition("listeners", "dns", "Configured", "False",
                             'spec.type: "udp" is not supported, only tcp')
        settled(site, "other")
        assert not site.admin.find("services", "dns", site.ns)


def test_a_token_replaces_nothing(home, grant_certificate):
    issuer, other = Site(home, linkAccess="local"), Site(home)
    a = home.admin
    with serving(home, grant_certificate):
        issuer.await_condition("sites", "west", "Resolved", "True")
        grant = granted(issuer)
        a.create("secrets", {"metadata": {"name": "t"}, "data": {"mine": "eA=="}}, other.ns)
        other.create("accesstokens", "AccessToken", "t", url=grant["url"], code=grant["code"],
                     ca=grant["ca"])
        other.await_condition("accesstokens", "t", "Redeemed", "False",
                              'Controller could not create received secret: secrets "t" already '
                              'exists')
        assert a.get("secrets", "t", other.ns)["data"] == {"mine": "eA=="}
        # What was received is not lost.
        a.delete("secrets", "t", other.ns)
        other.await_condition("accesstokens", "t", "Redeemed", "True")
        assert a.get(kind("accessgrants"), "g", issuer.ns)["status"]["redemptions"] == 1


def test_a_port_of_the_server_of_tokens_that_is_taken_is_told_and_waited_for(home,
                                                                            grant_certificate):
    issuer, other = Site(home, linkAccess="local"), Site(home)
    a = home.admin
    with socket.create_server(("0.0.0.0", free_port())) as taken, serving(
            home, grant_certificate, taken.getsockname()[1]) as c:
        issuer.await_condition("sites", "west", "Resolved", "True")
        issuer.create("accessgrants", "AccessGrant", "g", redemptionsAllowed=1)
        told = issuer.await_condition("accessgrants", "g", "Resolved", "False")
        message = control.condition(told, "Resolved")[2]
        assert "port %d" % taken.getsockname()[1] in message and "in use" in message
        settled(issuer, "meanwhile")
        assert c.text().count("tokens cannot be redeemed") == 1
        taken.close()
        grant = a.await_object(kind("accessgrants"), "g", issuer.ns,
                               control.is_so("Ready", "True"), 120)["status"]
        other.create("accesstokens", "AccessToken", "t", url=grant["url"], code=grant["code"],
                     ca=grant["ca"])
        other.await_condition("accesstokens", "t", "Redeemed", "True")


def test_a_redemption_that_is_slow_to_count_holds_up_nothing(standin, grant_certificate):
    control.prepare(standin)
    issuer, other = Site(standin, linkAccess="local"), Site(standin)
    with serving(standin, grant_certificate):
        issuer.await_condition("sites", "west", "Resolved", "True")
        grant = granted(issuer)
        standin.control("fault", hold=True, match={
            "verb": "update", "resource": "accessgrants", "sub": "status",
            "namespace": issuer.ns})
        other.create("accesstokens", "AccessToken", "t", url=grant["url"], code=grant["code"],
                     ca=grant["ca"])
        wait(lambda: standin.control("held")["count"] == 1, "the redemption to be counted")
        settled(issuer, "meanwhile")
        assert standin.control("held")["count"] == 1
        standin.control("clear")
        other.await_condition("accesstokens", "t", "Redeemed", "True")


@pytest.mark.parametrize("verb, resource", [("create", "services"), ("patch", "configmaps")])
def test_nothing_is_said_to_be_configured_before_it_is_written(standin, verb, resource):
    """The Service of a Listener, or the router's configuration, is accepted late."""
    control.prepare(standin)
    site, other = Site(standin), Site(standin)
    with Controller(standin):
        for one in (site, other):  # keys may take their time, and nothing is planned meanwhile
            whole(one)
            settled(one, "before")
        standin.control("fault", hold=True, match={"verb": verb, "resource": resource,
                                                   "namespace": site.ns})
        mark = standin.mark()
        made = site.create("listeners", "Listener", "db", routingKey="db", host="back", port=5432)
        wait(lambda: standin.control("held")["count"] == 1, "the write to be held")
        # Who has seen this has seen the Listener.
        settled(other, "meanwhile")
        assert "status" not in standin.admin.get(kind("listeners"), "db", site.ns), made
        standin.control("clear")
        site.await_condition("listeners", "db", "Configured", "True")
        order = [(r["verb"], r["resource"]) for r in standin.requests(
            mark, agent="skupper-controller") if r["namespace"] == site.ns]
        assert order.index(("update", "listeners")) > max(
            order.index(("create", "services")), order.index(("patch", "configmaps")))


@pytest.fixture
def controller_pod(home):
    """A pod that stands for the controller's own."""
    name = "c-" + uuid.uuid4().hex[:8]
    created = []

    def create():
        made = home.admin.create("replicasets", {
            "metadata": {"name": name}, "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}},
                             "spec": {"containers": [{"name": "c", "image": "i"}]}}}},
            control.HOME)
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name,
                 "uid": made["metadata"]["uid"]}
        home.admin.create("pods", {"metadata": {
            "name": name, "labels": {"app": name, "pod-template-hash": "x"},
            "ownerReferences": [owner]},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}, control.HOME)
        created.append(name)
        return owner

    yield name, create
    for made in created:
        home.admin.delete("replicasets", made, control.HOME)
        home.admin.await_gone(kind("securedaccesses"), "skupper-grant-server", control.HOME)


def test_the_server_of_grants_is_exposed_and_goes_with_its_pod(home, controller_pod):
    if home.is_real:
        pytest.skip("a load balancer of a real cluster leads to pods; this controller is none")
    name, create = controller_pod
    port, a, access = free_port(), home.admin, "skupper-grant-server"
    issuer, other = Site(home, linkAccess="local"), Site(home)
    with Controller(home, "-enable-grants", "-grant-server-autoconfigure",
                    "-grant-server-port=%d" % port, name=name) as c:
        issuer.await_condition("sites", "west", "Resolved", "True")
        assert "HOSTNAME must name it" in c.text()
        owner = create()  # it is looked for again
        made = a.await_object(kind("securedaccesses"), access, control.HOME, bool, 120)
        assert made["spec"]["selector"] == {"app": name}
        assert made["metadata"]["ownerReferences"] == [owner]
        a.await_object("services", access, control.HOME, bool, 120)
        a.patch("services", access, {"status": {"loadBalancer": {"ingress": [
            {"ip": "127.0.0.1"}]}}}, control.HOME, sub="status")
        grant = granted(issuer)
        assert grant["url"].startswith("https://127.0.0.1:%d/" % port)
        other.create("accesstokens", "AccessToken", "t", url=grant["url"], code=grant["code"],
                     ca=grant["ca"])
        other.await_condition("accesstokens", "t", "Redeemed", "True")
        # Who takes it away sees it again.
        a.delete(kind("securedaccesses"), access, control.HOME)
        a.await_object(kind("securedaccesses"), access, control.HOME,
                       lambda o: bool(o) and o["metadata"]["uid"] != made["metadata"]["uid"], 120)


def test_without_the_server_grants_say_so(home):
    site = Site(home)
    with Controller(home):
        site.create("accessgrants", "AccessGrant", "g")
        home.admin.await_object(
            kind("accessgrants"), "g", site.ns,
            lambda o: (o.get("status") or {}).get("message") == "AccessGrants are not enabled", 120)
