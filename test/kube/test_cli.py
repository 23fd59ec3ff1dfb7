# SPDX-License-Identifier: Apache-2.0
"""The command line on the platform kubernetes: the main job, with a controller that runs."""

import json

import pytest
import yaml

import control
from cli import Cli
from control import Controller, kind, serving


@pytest.fixture
def home(cluster):
    control.prepare(cluster)
    cluster.run_deployments()
    return cluster


@pytest.fixture
def served(home):
    """A cluster whose controller redeems tokens."""
    with serving(home, control.grant_credentials(home)):
        yield home


def row(table, name):
    """The cells of a row of a table."""
    lines = table.splitlines()
    for line in lines[1:]:
        if line.split()[0] == name:
            return line.split()
    raise AssertionError("%s is not in\n%s" % (name, table))


def test_two_sites_become_one_network(served, tmp_path):
    a = served.admin
    west, east = (Cli(served, served.namespace(n), home=tmp_path) for n in ("west", "east"))
    said = west.run("site", "create", "west", "--enable-link-access", "--link-access-type",
                    "default", "--wait", "configured")
    assert said == 'Waiting for status...\nSite "west" is configured.\n'
    served.run_load_balancers()
    a.await_object(kind("sites"), "west", west.ns, control.is_so("Ready", "True"), 120)
    assert row(west.run("site", "status"), "west")[1] == "Ready"
    assert east.run("site", "create", "east") == 'Waiting for status...\nSite "east" is ready.\n'

    token = tmp_path / "token.yaml"
    said = west.run("token", "issue", str(token))
    assert said.startswith("Waiting for token status ...\n\nGrant \"west-")
    assert "The token expires after 1 use(s) or after 15m0s." in said
    assert token.stat().st_mode & 0o777 == 0o600
    name = yaml.safe_load(token.read_text())["metadata"]["name"]
    said = east.run("token", "redeem", str(token))
    assert said == 'Waiting for token status ...\nToken "%s" has been redeemed.\n' % name
    # It is used up: that is final, so nobody waits for it. The timeout is longer than any test.
    again = yaml.safe_load(token.read_text())
    again["metadata"]["name"] = "again"
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(again))
    done = east.ask("token", "redeem", "again.yaml", "--timeout", "1h")
    assert done.returncode == 1
    assert ('AccessToken "again" will not be redeemed: Controller got failed response: 404 '
            "(Not Found) No such access granted: the token has been redeemed as often as it may "
            "be; have a new one issued") in done.stdout
    link = a.get(kind("links"), name, east.ns)
    assert link["metadata"]["ownerReferences"][0]["kind"] == "Site"
    assert row(east.run("link", "status"), name)[2] == "1"
    assert "Name\t: " + name in east.run("link", "status", name)
    east.run("link", "update", name, "--cost", "5", "--wait", "configured")
    assert a.get(kind("links"), name, east.ns)["spec"] == {**link["spec"], "cost": 5}

    served.run_pod(west.ns, "backend-1", {"app": "backend"}, "10.9.0.1")
    assert west.run("connector", "create", "backend", "8080") == (
        'Waiting for create to complete...\nConnector "backend" is configured.\n')
    assert east.run("listener", "create", "backend", "8080") == (
        'Waiting for create to complete...\nListener "backend" is configured.\n')
    assert a.get(kind("connectors"), "backend", west.ns)["spec"]["selector"] == "app=backend"
    assert a.await_object("services", "backend", east.ns)["spec"]["ports"][0]["port"] == 8080
    assert row(east.run("listener", "status"), "backend")[2:5] == ["backend", "backend", "8080"]
    assert row(west.run("connector", "status"), "backend")[2:4] == ["backend", "app=backend"]
    assert "Routing key:\t\tbackend" in east.run("listener", "status", "backend")
    assert east.json("listener", "status", "backend")["spec"]["port"] == 8080

    assert east.run("listener", "delete", "backend") == (
        'Waiting for deletion to complete...\nListener "backend" deleted\n')
    assert not a.find(kind("listeners"), "backend", east.ns)
    assert east.run("link", "delete", name).endswith('Link "%s" is deleted\n' % name)
    assert east.run("site", "delete", "--all").endswith('Site "east" is deleted\n')
    for plural in ("sites", "links", "accesstokens", "listeners", "certificates"):
        assert not a.list(kind(plural), east.ns)["items"], plural


def test_a_link_travels_as_yaml(served, tmp_path):
    a = served.admin
    served.run_load_balancers()
    west, east = (Cli(served, served.namespace(n), home=tmp_path) for n in ("west", "east"))
    west.run("site", "create", "west", "--enable-link-access")
    said = west.run("link", "generate", "--cost", "7")
    link, secret = yaml.safe_load_all(said)
    endpoints = a.get(kind("sites"), "west", west.ns)["status"]["endpoints"]
    assert link["spec"] == {"tlsCredentials": "link-west", "cost": 7, "endpoints": endpoints}
    assert link["metadata"]["name"] == "link-west-skupper-router"
    assert set(secret["data"]) == {"ca.crt", "tls.crt", "tls.key"}
    # The key is the same when it is asked for again, and goes with the site.
    again = list(yaml.safe_load_all(west.run("link", "generate")))
    assert again[1] == secret and again[0]["spec"]["cost"] == 1
    only = west.run("link", "generate", "--generate-credential=false", "--tls-credentials", "mine",
                    "-o", "json")
    assert '"tlsCredentials": "mine"' in only and "Secret" not in only

    file = tmp_path / "link.yaml"
    file.write_text(said)
    east.run("site", "create", "east")
    east.run("link", "create", str(file), "--name", "to-west")
    a.await_object(kind("links"), "to-west", east.ns, control.is_so("Configured", "True"), 120)
    east.run("link", "delete", "to-west")
    a.await_gone("secrets", "to-west", east.ns)
    west.run("site", "delete", "west")
    a.await_gone("secrets", "link-west", west.ns)


def test_an_update_changes_what_is_named_and_nothing_else(served, tmp_path):
    a = served.admin
    cli = Cli(served, served.namespace(), home=tmp_path)
    a.create(kind("sites"), control.resource("Site", "west", ha=True, settings={"size": "x"}), cli.ns)
    assert cli.run("site", "update", "--enable-link-access", "--wait", "configured").endswith(
        'Site "west" is updated\n')
    assert a.get(kind("sites"), "west", cli.ns)["spec"] == {
        "ha": True, "settings": {"size": "x"}, "linkAccess": "default"}
    cli.run("site", "update", "west", "--enable-ha=false", "--wait", "none")
    assert a.get(kind("sites"), "west", cli.ns)["spec"]["ha"] is False

    a.create(kind("listeners"), control.resource(
        "Listener", "db", host="db", port=1, routingKey="db", observer="http1"), cli.ns)
    cli.run("listener", "update", "db", "--port", "2")
    assert a.get(kind("listeners"), "db", cli.ns)["spec"] == {
        "host": "db", "port": 2, "routingKey": "db", "observer": "http1"}

    a.create(kind("connectors"), control.resource(
        "Connector", "db", selector="app=db", port=1, routingKey="db", useClientCert=True), cli.ns)
    cli.run("connector", "update", "db", "--host", "db.example.org", "--wait", "none")
    spec = a.get(kind("connectors"), "db", cli.ns)["spec"]
    assert spec["host"] == "db.example.org" and "selector" not in spec and spec["useClientCert"]


def test_a_workload_is_its_pods(served, tmp_path):
    a = served.admin
    cli = Cli(served, served.namespace(), home=tmp_path)
    labels = {"app": "db", "tier": "back"}
    a.create("deployments", {"metadata": {"name": "db"}, "spec": {
        "replicas": 0, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [
                {"name": "c", "image": "i", "ports": [{"containerPort": 5432}]}]}}}}, cli.ns)
    cli.run("connector", "create", "db", "5432", "--workload", "Deployment/db", "--wait", "none")
    assert a.get(kind("connectors"), "db", cli.ns)["spec"]["selector"] == "app=db,tier=back"
    assert "there is no service \"none\"" in cli.run(
        "connector", "create", "x", "1", "--workload", "service/none", status=2)


def test_the_first_words_do_too(served, tmp_path):
    a = served.admin
    served.run_load_balancers()
    west, east = (Cli(served, served.namespace(n), home=tmp_path) for n in ("west", "east"))
    said = west.run("init")
    assert said.endswith("Skupper is now installed in namespace '%s'.  Use 'skupper status' to get "
                         "more information.\n" % west.ns)
    assert a.get(kind("sites"), west.ns, west.ns)["spec"]["linkAccess"] == "default"
    east.run("init", "--site-name", "east", "--ingress", "none")
    token = tmp_path / "secret.token"
    assert west.run("token", "create", str(token)).endswith("Token written to %s \n" % token)
    east.run("link", "create", str(token), "--name", "link1", "--cost", "2")
    assert a.get(kind("links"), "link1", east.ns)["spec"]["cost"] == 2

    assert west.run("delete").endswith("Skupper is now removed from '%s'.\n" % west.ns)
    assert not a.list(kind("sites"), west.ns)["items"]
    assert "is not enabled" in west.run("delete", status=1)
    assert "is not enabled" in west.run("status", status=1)
    assert "is not enabled" in west.run("expose", "service", "shop", status=1)


def deployment(name, *ports):
    labels = {"app": name}
    return {"metadata": {"name": name}, "spec": {
        "replicas": 0, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [
                {"name": "c", "image": "i", "ports": [{"containerPort": p} for p in ports]}]}}}}


def defined(cli):
    """What skupper-services says."""
    data = cli.cluster.admin.get("configmaps", "skupper-services", cli.ns).get("data") or {}
    return {k: json.loads(v) for k, v in data.items()}


def test_what_is_exposed_is_defined_for_all_sites(served, tmp_path):
    a = served.admin
    cli = Cli(served, served.namespace(), home=tmp_path)
    cli.run("init", "--ingress", "none")
    a.create("deployments", deployment("backend", 8080, 9090), cli.ns)
    assert cli.run("expose", "deployment/backend") == "deployment backend exposed as backend\n"
    target = {"name": "backend", "namespace": cli.ns, "selector": "app=backend",
              "targetPorts": {"8080": 8080, "9090": 9090}}
    assert defined(cli)["backend"] == {
        "address": "backend", "protocol": "tcp", "ports": [8080, 9090], "exposeIngress": "",
        "targets": [target]}
    a.await_object("services", "backend", cli.ns, bool, 120)
    said = cli.run("service", "status")
    assert "backend:8080 (tcp)\n" in said and "backend:9090 (tcp)\n" in said
    assert "It has 2 exposed services." in cli.run("status")
    # The same once more is the same; another workload is one more target.
    cli.run("expose", "deployment", "backend")
    a.create("deployments", deployment("spare", 8080, 9090), cli.ns)
    cli.run("expose", "deployment", "spare", "--address", "backend")
    assert [t["name"] for t in defined(cli)["backend"]["targets"]] == ["backend", "spare"]
    assert "with another protocol or other ports" in cli.run(
        "expose", "deployment", "spare", "--address", "backend", "--port", "1", status=2)
    assert cli.run("unexpose", "deployment", "spare") == "deployment spare unexposed\n"
    assert defined(cli)["backend"]["targets"] == [target]
    assert "deployment spare is not exposed" in cli.run("unexpose", "deployment", "spare", status=2)
    assert cli.run("unexpose", "deployment/backend", "--address", "backend")
    assert not defined(cli)
    a.await_gone("services", "backend", cli.ns, 120)

    # A Service under its own name is adopted and given back; under another it is spoken to.
    shop = a.create("services", {"metadata": {"name": "shop"}, "spec": {
        "selector": {"app": "shop"}, "ports": [{"port": 80, "targetPort": 8000}]}}, cli.ns)
    cli.run("expose", "service", "shop")
    assert defined(cli)["shop"]["targets"] == [{
        "name": "shop", "namespace": cli.ns, "selector": "app=shop", "targetPorts": {"80": 8000}}]
    a.await_object("services", "shop", cli.ns,
                   lambda o: o["spec"]["selector"] != {"app": "shop"}, 120)
    cli.run("unexpose", "service", "shop")
    given = a.await_object("services", "shop", cli.ns,
                           lambda o: o["spec"]["selector"] == {"app": "shop"}, 120)
    assert given["spec"]["ports"] == shop["spec"]["ports"]
    cli.run("expose", "service", "shop", "--address", "market", "--port", "81", "--target-port", "80")
    assert defined(cli)["market"]["targets"] == [{
        "name": "shop", "namespace": cli.ns, "service": "shop", "targetPorts": {"81": 80}}]
    cli.run("expose", "host", "10.1.2.3", "--address", "db", "--port", "5432", "--protocol", "tcp")
    assert defined(cli)["db"]["targets"][0]["service"] == "10.1.2.3"

    # What an annotation says is the annotation's.
    a.create("deployments", {**deployment("web", 80), "metadata": {
        "name": "web", "annotations": {"skupper.io/proxy": "tcp"}}}, cli.ns)
    a.await_object("configmaps", "skupper-services", cli.ns, lambda o: "web" in o["data"], 120)
    assert "by an annotation" in cli.run("expose", "deployment", "web", status=2)
    assert "kubectl annotate deployment web skupper.io/proxy-" in cli.run(
        "unexpose", "deployment", "web", status=2)
    assert defined(cli)["web"]["origin"] == "annotation"
    for words, told in (
            (("deployment", "backend", "--address", "Back.end"), "address is not valid"),
            (("deployment", "none"), 'there is no deployment "none"'),
            (("pod", "x"), "workload is not valid"),
            (("host", "h", "--address", "h"), "the port is needed"),
            (("host", "not a host", "--port", "1"), "host is not valid")):
        assert told in cli.run("expose", *words, status=2), words
    # With the site all of it goes.
    cli.run("delete")
    a.await_gone("configmaps", "skupper-services", cli.ns, 120)


NETWORK = """{"addresses": [{"name": "db", "connectorCount": 1}],
"siteStatus": [{"site": {"identity": "%s", "name": "west", "namespace": "w", "platform":
"kubernetes", "siteVersion": "2"}, "routerStatus": [{"links": [{"name": "east", "peer": "ra",
"status": "up", "linkCost": 1}]}]}, {"site": {"identity": "x", "name": "east", "namespace": "e",
"platform": "linux", "siteVersion": "2"}, "routerStatus": [{"routerAccess": [{"identity": "ra"}],
"connectors": [{"address": "db", "destHost": "10.0.0.1", "destPort": "5432"}]}]}]}"""


@pytest.fixture
def silent(home):
    """A cluster where no agent tells what it knows of the network."""
    with Controller(home, image=None):
        yield home


def test_the_network_is_told_as_the_cluster_knows_it(silent, tmp_path):
    a = silent.admin
    cli = Cli(silent, silent.namespace(), home=tmp_path)
    assert "is not enabled" in cli.run("network", "status", status=1)
    assert cli.run("service", "status") == "No services defined\n"
    cli.run("site", "create", "west", "--wait", "configured")
    assert "has not heard of the network yet" in cli.run("network", "status", status=1)
    site = a.get(kind("sites"), "west", cli.ns)
    status = {"metadata": {"name": "skupper-network-status"},
              "data": {"NetworkStatus": '{"addresses": [], "siteStatus": []}'}}
    a.create("configmaps", status, cli.ns)
    assert cli.json("network", "status") == {"addresses": [], "siteStatus": []}
    status["data"]["NetworkStatus"] = NETWORK % site["metadata"]["uid"]
    a.patch("configmaps", "skupper-network-status", {"data": status["data"]}, cli.ns)
    said = cli.run("network", "status")
    assert "west w (%s, kubernetes 2) [local]" % site["metadata"]["uid"] in said
    assert "link east to east (up, cost 1)" in said and "offers db (10.0.0.1:5432)" in said
    assert cli.json("network", "status")["siteStatus"][1]["site"]["name"] == "east"
    assert "db:5432 (tcp) offered: at site east; no listener here" in cli.run("service", "status")
