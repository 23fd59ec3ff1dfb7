# SPDX-License-Identifier: Apache-2.0
"""What is installed in a cluster: the definitions take what users write and refuse what they should,
the plain YAML, the Helm chart and the Kustomize bases are the same thing, and nothing asks for more
than it may."""

import functools
import json
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

import kubeapi
from kubeapi import path_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
API = "skupper.io/v2alpha1"
RESOURCES = {  # kind -> resource of the client
    d["spec"]["names"]["kind"]: "%s.%s" % (d["spec"]["names"]["plural"], API)
    for d in (yaml.safe_load(p.read_text()) for p in (DEPLOY / "crds").glob("*.yaml"))
    if d["kind"] == "CustomResourceDefinition"}


@functools.cache
def texts_of(path):
    """The documents as JSON, for reading YAML takes its time."""
    return [json.dumps(d) for d in yaml.safe_load_all((DEPLOY / path).read_text()) if d]


def documents(path):
    return [json.loads(text) for text in texts_of(path)]


def definitions():
    return [d for d in documents("skupper-cluster-scope.yaml")
            if d["kind"] == "CustomResourceDefinition"]


def key(obj):
    return obj["kind"], obj["metadata"]["name"]


def test_everything_is_as_it_is_generated():
    said = subprocess.run([str(DEPLOY / "generate"), "--check"], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout


# ------------------------------------------------------------------------------- the definitions

@pytest.fixture
def skupper(cluster):
    """A cluster with the definitions."""
    cluster.define(*definitions())
    return cluster


GOOD = """
{kind: Site, spec: {linkAccess: default}}
{kind: Site}
{kind: Site, spec: {ha: true, settings: {size: big, router-logging: 'router:debug'}}}
{kind: Link, spec: {tlsCredentials: to-east, cost: 1, endpoints: [{name: inter-router, host: 203.0.113.7, port: "55671"}, {name: edge, host: h, port: "45671", group: g}]}}
{kind: Listener, spec: {routingKey: backend, host: backend, port: 8080}}
{kind: Listener, spec: {routingKey: b, host: b, port: 1, type: tcp, tlsCredentials: t, observer: http1, exposePodsByName: true, settings: {}}}
{kind: MultiKeyListener, spec: {host: api, port: 8080, strategy: {priority: {routingKeys: [a, b]}}}}
{kind: MultiKeyListener, spec: {host: api, port: 8080, requireClientCert: true, strategy: {weighted: {routingKeys: {a: 2, b: 0}}}}}
{kind: Connector, spec: {routingKey: backend, selector: app=backend, port: 8080}}
{kind: Connector, spec: {routingKey: b, host: db.example, port: 1, tlsCredentials: t, useClientCert: true, verifyHostname: true, includeNotReadyPods: true, exposePodsByName: true}}
{kind: AttachedConnector, spec: {siteNamespace: west, selector: app=x, port: 80, useClientCert: true, includeNotReadyPods: true}}
{kind: AttachedConnectorBinding, spec: {connectorNamespace: apps, routingKey: x, exposePodsByName: true}}
{kind: AccessGrant, spec: {redemptionsAllowed: 1, expirationWindow: 15m}}
{kind: AccessGrant, spec: {expirationWindow: 1h30m0s, code: c, issuer: i}}
{kind: AccessGrant}
{kind: AccessToken, spec: {url: 'https://203.0.113.9:9090/x', code: c, ca: pem, linkCost: 2}}
{kind: RouterAccess, spec: {roles: [{name: inter-router, port: 55671}, {name: edge}], tlsCredentials: t, generateTlsCredentials: true, issuer: i, accessType: nodeport, bindHost: 0.0.0.0, subjectAlternativeNames: [a]}}
{kind: SecuredAccess, spec: {selector: {a: b}, ports: [{name: x, port: 1, targetPort: 2, protocol: TCP}], issuer: i, certificate: c, accessType: local}}
{kind: Certificate, spec: {ca: "", subject: s, signing: true}}
{kind: Certificate, spec: {ca: c, subject: s, hosts: [a], client: true, server: true}}
"""

BAD = """
{kind: Site, spec: {ha: "yes"}}
{kind: Site, spec: {settings: {size: 1}}}
{kind: Link, spec: {tlsCredentials: t}}
{kind: Link, spec: {endpoints: [{name: a, host: b, port: 55671}]}}
{kind: Listener, spec: {routingKey: b, host: b}}
{kind: Listener, spec: {routingKey: b, host: b, port: "8080"}}
{kind: Listener, spec: {routingKey: b, host: b, port: 1, observer: http3}}
{kind: MultiKeyListener}
{kind: MultiKeyListener, spec: {host: a, port: 1, strategy: {}}}
{kind: MultiKeyListener, spec: {host: a, port: 1, strategy: {priority: {routingKeys: []}}}}
{kind: MultiKeyListener, spec: {host: a, port: 1, strategy: {priority: {routingKeys: [a, a]}}}}
{kind: MultiKeyListener, spec: {host: a, port: 1, strategy: {priority: {routingKeys: [a]}, weighted: {routingKeys: {a: 1}}}}}
{kind: Connector, spec: {routingKey: b, port: 1}}
{kind: Connector, spec: {routingKey: b, port: 1, host: h, selector: a=b}}
{kind: Connector, spec: {port: 1, host: h}}
{kind: AttachedConnector, spec: {selector: a=b, port: 80}}
{kind: AttachedConnectorBinding, spec: {routingKey: x}}
{kind: AccessGrant, spec: {expirationWindow: soon}}
{kind: AccessToken, spec: {url: u, code: c}}
{kind: RouterAccess, spec: {roles: [{port: 1}], tlsCredentials: t}}
{kind: RouterAccess, spec: {roles: []}}
{kind: SecuredAccess, spec: {selector: {a: b}}}
{kind: Certificate, spec: {subject: s}}
"""


def resource_of(text):
    obj = yaml.safe_load(text)
    obj.update(apiVersion=API, metadata={"name": "one"})
    return RESOURCES[obj["kind"]], obj


@pytest.mark.parametrize("text", GOOD.strip().split("\n"))
def test_what_users_write_is_taken_as_it_is(skupper, namespace, text):
    resource, obj = resource_of(text)
    made = skupper.admin.create(resource, obj, namespace, fieldValidation="Strict")
    assert made.get("spec") == obj.get("spec"), "something was dropped or added"


@pytest.mark.parametrize("text", BAD.strip().split("\n"))
def test_what_cannot_be_meant_is_refused(skupper, namespace, text):
    resource, obj = resource_of(text)
    answer = skupper.admin.request("POST", path_of(resource, namespace), obj)
    assert (answer.code, answer.reason) == (422, "Invalid")


def test_a_strategy_stays_what_it_is(skupper, namespace):
    resource, obj = resource_of(
        "{kind: MultiKeyListener, spec: {host: a, port: 1, "
        "strategy: {priority: {routingKeys: [a]}}}}")
    a = skupper.admin
    a.create(resource, obj, namespace)
    a.patch(resource, "one", {"spec": {"strategy": {"priority": {"routingKeys": ["b", "c"]}}}},
            namespace)
    answer = a.request("PATCH", path_of(resource, namespace, "one"), {"spec": {"strategy": {
        "priority": None, "weighted": {"routingKeys": {"a": 1}}}}}, kubeapi.MERGE)
    assert answer.code == 422 and "strategy is immutable" in answer.message


CONDITION = {"type": "Ready", "status": "True", "reason": "Ready", "message": "OK",
             "observedGeneration": 1, "lastTransitionTime": "2026-01-31T12:00:00Z"}
STATUS = {
    "Site": {"endpoints": [{"name": "edge", "host": "h", "port": "1", "group": "g"}],
             "sitesInNetwork": 1, "defaultIssuer": "skupper-site-ca",
             "controller": {"name": "a", "namespace": "b", "version": "c"},
             "network": [{"id": "i", "name": "n", "namespace": "s", "platform": "kubernetes",
                          "version": "v", "links": [{"name": "l", "remoteSiteId": "i",
                                                     "remoteSiteName": "n", "operational": True}],
                          "services": [{"routingKey": "k", "connectors": ["a"],
                                        "listeners": ["b"]}]}]},
    "Link": {"remoteSiteId": "i", "remoteSiteName": "n"},
    "Listener": {"hasMatchingConnector": True},
    "MultiKeyListener": {"hasDestination": True,
                         "strategy": {"priority": {"routingKeysReachable": ["a"]}}},
    "Connector": {"hasMatchingListener": True, "selectedPods": [{"name": "p", "ip": "10.0.0.1"}]},
    "AttachedConnector": {"selectedPods": [{"name": "p", "ip": "10.0.0.1"}]},
    "AttachedConnectorBinding": {"hasMatchingListener": False},
    "AccessGrant": {"url": "u", "code": "c", "ca": "a", "redemptions": 1,
                    "expirationTime": "2026-01-31T12:00:00Z"},
    "AccessToken": {"redeemed": True},
    "RouterAccess": {"endpoints": [{"name": "edge", "host": "h", "port": "1", "group": "g"}]},
    "SecuredAccess": {"endpoints": [{"name": "edge", "host": "h", "port": "1"}], "ca": "c"},
    "Certificate": {"expiration": "2026-01-31T12:00:00Z"},
}


@pytest.mark.parametrize("kind", sorted(STATUS))
def test_a_status_is_kept_whole(skupper, namespace, kind):
    a, text = skupper.admin, next(t for t in GOOD.split("\n") if "kind: %s," % kind in t)
    resource, obj = resource_of(text)
    made = a.create(resource, obj, namespace)
    made["status"] = {"status": "Ready", "message": "OK", "conditions": [CONDITION],
                      **STATUS[kind]}
    after = a.update(resource, made, namespace, "status", fieldValidation="Strict")
    assert after["status"] == made["status"]
    assert len(RESOURCES) == len(STATUS) == 12


def test_kubectl_shows_the_columns_people_know(skupper, namespace):
    a = skupper.admin
    resource, obj = resource_of("{kind: Listener, spec: {routingKey: k, host: h, port: 80}}")
    made = a.create(resource, obj, namespace)
    made["status"] = {"status": "Ready", "message": "OK", "hasMatchingConnector": True}
    a.update(resource, made, namespace, "status")
    table = a.must("GET", path_of(resource, namespace), headers={
        "Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    assert [c["name"] for c in table["columnDefinitions"]] == [
        "Name", "Routing Key", "Port", "Host", "Status", "Has Matching Connector", "Message"]
    assert table["rows"][0]["cells"] == ["one", "k", 80, "h", "Ready", True, "OK"]


# ------------------------------------------------------------------------------ the installations

def place(obj, namespace):
    kind = obj["kind"]
    of = {"Namespace": "namespaces", "CustomResourceDefinition": "customresourcedefinitions",
          "ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings",
          "Role": "roles", "RoleBinding": "rolebindings", "ServiceAccount": "serviceaccounts",
          "ConfigMap": "configmaps", "Deployment": "deployments"}[kind]
    everywhere = kind in ("Namespace", "CustomResourceDefinition", "ClusterRole",
                          "ClusterRoleBinding")
    return of, None if everywhere else obj["metadata"].get("namespace", namespace)


def install(cluster, objects, namespace, user=None):
    """As `kubectl apply --server-side -n NAMESPACE`, by somebody else than the administrator of the
    cluster if `user` is given; returns the versions of all objects, or, of
    those whose status others write, the generations."""
    versions = {}
    for obj in objects:
        of, where = place(obj, namespace)
        if where is None and not cluster.admin.find(of, obj["metadata"]["name"]):
            cluster._made.append((of, obj["metadata"]["name"]))
        done = (user or cluster.admin).apply(of, obj, where, force="true")
        meta = done["metadata"]
        versions[key(obj)] = meta.get("generation") or meta["resourceVersion"]
    return versions


@pytest.mark.parametrize("scope", ["cluster", "namespace"])
def test_the_plain_yaml_installs_and_again_changes_nothing(cluster, namespace, scope):
    objects = documents("skupper-%s-scope.yaml" % scope)
    install(cluster, objects, namespace)
    for crd in definitions():  # their status is written once they are served
        cluster.define(crd)
    first = install(cluster, objects, namespace)
    assert install(cluster, objects, namespace) == first
    where = "skupper" if scope == "cluster" else namespace
    assert cluster.admin.get("deployments", "skupper-controller", where)


def test_what_is_for_one_namespace_has_no_right_elsewhere():
    objects = [d for d in documents("skupper-namespace-scope.yaml")
               if d["kind"] != "CustomResourceDefinition"]
    assert sorted(o["kind"] for o in objects) == ["ConfigMap", "Deployment", "Role", "RoleBinding",
                                                  "ServiceAccount"]
    assert not any("namespace" in o["metadata"] for o in objects)
    watched = [e for o in objects if o["kind"] == "Deployment"
               for e in o["spec"]["template"]["spec"]["containers"][0]["env"]
               if e["name"] == "WATCH_NAMESPACE"]
    assert watched[0]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"


def test_without_definitions_there_is_nothing_of_the_cluster(cluster, namespace):
    objects = documents("skupper-version-1.yaml")
    assert sorted(o["kind"] for o in objects) == ["ConfigMap", "Deployment", "Role", "RoleBinding",
                                                  "ServiceAccount"]
    assert not any("namespace" in o["metadata"] for o in objects)
    role = next(o for o in objects if o["kind"] == "Role")
    groups = {g for rule in role["rules"] for g in rule["apiGroups"]}
    assert groups == {"", "apps", "networking.k8s.io", "rbac.authorization.k8s.io",
                      "coordination.k8s.io"}
    install(cluster, objects, namespace)
    first = install(cluster, objects, namespace)
    assert install(cluster, objects, namespace) == first


@pytest.mark.parametrize("file", ["skupper-cluster-scope.yaml", "skupper-namespace-scope.yaml",
                                  "skupper-version-1.yaml"])
def test_the_controller_fits_the_restricted_profile(file):
    """The rules of the pod security standard "restricted", as far as they can be broken here."""
    pod = next(d for d in documents(file)
               if d["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True,
                                      "seccompProfile": {"type": "RuntimeDefault"}}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all(set(v) <= {"name", "emptyDir", "configMap", "secret"} for v in pod["volumes"])
    for container in pod["containers"] + pod.get("initContainers", []):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]}}
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert not any("hostPort" in p for p in container["ports"])


def rules():
    role = next(d for d in documents("skupper-cluster-scope.yaml") if d["kind"] == "ClusterRole")
    return role["rules"]


def test_every_right_is_one_by_one_and_explained():
    text = (DEPLOY / "skupper-cluster-scope.yaml").read_text()
    text = text[text.index("kind: ClusterRole\n"):text.index("kind: ClusterRoleBinding")]
    lines = text[text.index("rules:"):].split("\n")
    heads = [i for i, line in enumerate(lines) if line.startswith("- apiGroups")]
    assert len(heads) == len(rules())
    assert all(lines[i - 1].startswith("# ") for i in heads)
    assert not any("*" in rule[part] for rule in rules() for part in rule)


# Role skupper-router, the rights of the agent beside a router.
ROUTER_ROLE = [
    {"apiGroups": [""], "resources": ["secrets", "pods"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["configmaps"],
     "verbs": ["get", "list", "watch", "create", "update", "delete"]},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["update", "delete"]},
    {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
     "verbs": ["get", "list", "watch", "create", "update", "delete"]}]


def test_the_controller_may_give_routers_their_rights(cluster, namespace):
    controller = cluster.account(namespace, "controller", cluster_rules=rules())
    name = "skupper-router"
    controller.create("roles", {"metadata": {"name": name}, "rules": ROUTER_ROLE}, namespace)
    controller.create("rolebindings", {
        "metadata": {"name": name}, "subjects": [{"kind": "ServiceAccount", "name": name}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}},
        namespace)
    # And no more than these.
    more = {"metadata": {"name": "more"}, "rules": [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
    assert controller.request("POST", path_of("roles", namespace), more).code == 403


# ------------------------------------------------------------------------------ Helm and Kustomize

def render(template, values, version):
    """The part of Helm's templates that ours keep to."""
    release = {"Values": values, "Release": {"Namespace": "skupper"},
               "Chart": {"AppVersion": version}}

    def value(m):
        of, name = m[1].split(".")
        found = release[of][name]
        if m[2] and not found:
            found = m[2].replace("%s", version)
        return json.dumps(found) if m[3] else found

    whole = re.fullmatch(r'(#[^\n]*\n)*\{\{- if eq \.Values\.scope "(\w+)" \}\}\n(.*)\{\{- end \}\}\n',
                         template, re.S)
    if whole[2] != values["scope"]:
        return ""
    text = re.sub(r'\{\{ \.([\w.]+)(?: \| default \(printf "([^"]*)" \.Chart\.AppVersion\))?'
                  r'( \| quote)? \}\}', value, whole[3])
    assert "{{" not in text, "a template that is not understood here: " + text
    return text


@pytest.mark.parametrize("scope", ["cluster", "namespace"])
def test_the_chart_makes_what_the_plain_yaml_says(scope):
    chart = DEPLOY / "helm" / "skupper"
    version = yaml.safe_load((chart / "Chart.yaml").read_text())["appVersion"]
    values = {**yaml.safe_load((chart / "values.yaml").read_text()), "scope": scope}
    made = [d for name in ("cluster", "namespace") for d in yaml.safe_load_all(
        render((chart / "templates" / (name + ".yaml")).read_text(), values, version)) if d]
    plain = [d for d in documents("skupper-%s-scope.yaml" % scope)
             if d["kind"] not in ("CustomResourceDefinition", "Namespace")]
    if scope == "namespace":  # the release says which
        for obj in made:
            assert obj["metadata"].pop("namespace") == "skupper"
            for subject in obj.get("subjects", []):
                assert subject.pop("namespace") == "skupper"
    assert made == plain
    assert sorted(p.name for p in (chart / "crds").iterdir()) == sorted(
        d["spec"]["names"]["plural"] + ".yaml" for d in definitions())
    assert all(yaml.safe_load(p.read_text()) in definitions() for p in (chart / "crds").iterdir())


def test_values_of_the_chart_arrive():
    chart = DEPLOY / "helm" / "skupper"
    values = {**yaml.safe_load((chart / "values.yaml").read_text()), "controllerImage": "c:1",
              "routerImage": "r:1", "kubeAdaptorImage": "a:1", "clusterHost": "host",
              "enabledAccessTypes": "nodeport", "defaultAccessType": "nodeport"}
    text = render((chart / "templates" / "cluster.yaml").read_text(), values, "9")
    container = next(d for d in yaml.safe_load_all(text) if d["kind"] == "Deployment")[
        "spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "c:1"
    assert {e["name"]: e["value"] for e in container["env"]} == {
        "SKUPPER_ROUTER_IMAGE": "r:1", "SKUPPER_KUBE_ADAPTOR_IMAGE": "a:1",
        "SKUPPER_CLUSTER_HOST": "host", "SKUPPER_ENABLED_ACCESS_TYPES": "nodeport",
        "SKUPPER_DEFAULT_ACCESS_TYPE": "nodeport"}


@pytest.mark.parametrize("scope", ["cluster", "namespace"])
def test_kustomize_makes_what_the_plain_yaml_says(scope):
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl, whose kustomize this runs")
    base = DEPLOY / "kustomize" / scope
    text = subprocess.run(["kubectl", "kustomize", str(base)], check=True, capture_output=True,
                          text=True).stdout
    made = {key(d): d for d in yaml.safe_load_all(text)}
    assert made == {key(d): d for d in documents("skupper-%s-scope.yaml" % scope)}


@pytest.mark.parametrize("scope", ["cluster", "namespace"])
def test_a_kustomize_base_holds_the_plain_yaml(scope):
    base = DEPLOY / "kustomize" / scope
    listed = yaml.safe_load((base / "kustomization.yaml").read_text())["resources"]
    assert listed == ["../../crds", "controller.yaml"]
    held = [d for p in sorted((DEPLOY / "crds").glob("*.yaml")) for d in yaml.safe_load_all(
        p.read_text()) if d["kind"] != "Kustomization"]
    names = yaml.safe_load((DEPLOY / "crds" / "kustomization.yaml").read_text())["resources"]
    assert sorted(names) == sorted(p.name for p in (DEPLOY / "crds").glob("*.yaml")
                                   if p.name != "kustomization.yaml")
    held += documents("kustomize/%s/controller.yaml" % scope)
    assert {key(d): d for d in held} == {
        key(d): d for d in documents("skupper-%s-scope.yaml" % scope)}
