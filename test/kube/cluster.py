# SPDX-License-Identifier: Apache-2.0
"""A cluster as tests see it: a kubeconfig and a client of the administrator. It is the stand-in server,
or a real cluster when KUBECONFIG_A (B, C for a second and third) names one; the tests are the same.

What only the stand-in can do (trouble on request) is `cluster.standin`, None of a real one. The record
of requests is the stand-in's, or the audit log that KUBEAUDIT_A names."""

import collections
import json
import pathlib
import uuid

import yaml

import kubeapi
from audit import Record

# The scheduler of pods whose status a test tells: no node takes them, nobody else writes it.
NOBODY = "tests"
DEFINITIONS = "customresourcedefinitions"
# ConfigMaps that every namespace has, by the cluster; the second one in OpenShift.
PUBLISHED = "kube-root-ca.crt", "openshift-service-ca.crt"


class Cluster:
    def __init__(self, name, kubeconfig, scratch, standin=None, audit=None):
        self.name = name
        self.kubeconfig = str(kubeconfig)
        self.scratch = scratch
        self.standin = standin
        self.record = Record(audit) if audit else None
        self.admin = kubeapi.Client(self.kubeconfig, scratch)
        # A new namespace is given them, each a moment later.
        self._published = [n for n in PUBLISHED if self.admin.find("configmaps", n, "default")]
        # To delete at the end, of a real cluster: namespaces, (resource, name) of the whole cluster.
        self._namespaces, self._made = [], []

    @property
    def is_real(self):
        return self.standin is None

    # -------------------------------------------------------------------------------- things made

    def namespace(self, prefix="t"):
        """A fresh namespace; returns its name."""
        name = "%s-%s" % (prefix, uuid.uuid4().hex[:8])
        self.admin.create("namespaces", {"metadata": {"name": name}})
        self._namespaces.append(name)
        self.admin.await_object("serviceaccounts", "default", name)
        for published in self._published:
            self.admin.await_object("configmaps", published, name)
        return name

    def make_global(self, resource, obj):
        """An object of the whole cluster, gone again after the test."""
        made = self.admin.create(resource, obj)
        self._made.append((resource, obj["metadata"]["name"]))
        return made

    def define(self, *crds):
        """Custom resource definitions, until they are served."""
        for crd in crds:
            name = crd["metadata"]["name"]
            if not self.admin.find(DEFINITIONS, name):
                self.make_global(DEFINITIONS, crd)
        for crd in crds:
            self.admin.await_object(DEFINITIONS, crd["metadata"]["name"], until=_is_established)
            spec = crd["spec"]
            while self.admin.request("GET", "/apis/%s/%s/%s" % (
                    spec["group"], spec["versions"][0]["name"],
                    spec["names"]["plural"])).code == 404:
                pass  # a real server serves it a moment after it says so

    def undefine(self):
        """The definitions that tests have made here are gone."""
        for made in [m for m in self._made if m[0] == DEFINITIONS]:
            self.admin.request("DELETE", kubeapi.path_of(DEFINITIONS, None, made[1]))
            self.admin.await_gone(*made, timeout=120)
            self._made.remove(made)

    def account(self, namespace, name, rules=(), cluster_rules=()):
        """A client with a ServiceAccount's token, which may do what the rules say: in the
        namespace, in the whole cluster."""
        self.admin.create("serviceaccounts", {"metadata": {"name": name}}, namespace)
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        if rules:
            self.admin.create("roles", {"metadata": {"name": name}, "rules": list(rules)},
                              namespace)
            self.admin.create("rolebindings", _binding("RoleBinding", "Role", name, subject),
                              namespace)
        if cluster_rules:
            full = "%s-%s" % (namespace, name)
            self.make_global("clusterroles", {"metadata": {"name": full},
                                              "rules": list(cluster_rules)})
            self.make_global("clusterrolebindings", _binding(
                "ClusterRoleBinding", "ClusterRole", full, subject))
        user = self.admin.as_token(self.token(namespace, name))
        for where, given in ((namespace, rules), (None, cluster_rules)):
            for rule in given:
                while not _may(user, where, rule):
                    pass  # a real server hears of roles by a watch, a moment later
        return user

    def token(self, namespace, account):
        answer = self.admin.must(
            "POST", kubeapi.path_of("serviceaccounts", namespace, account, "token"),
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
             "spec": {"expirationSeconds": 3600}})
        return answer["status"]["token"]

    def kubeconfig_for(self, token, namespace="default"):
        """A file like the administrator's, for another user."""
        config = yaml.safe_load(pathlib.Path(self.kubeconfig).read_text())
        config["users"] = [{"name": u["name"], "user": {"token": token}}
                           for u in config["users"]]
        for c in config["contexts"]:
            c["context"]["namespace"] = namespace
        path = self.scratch / ("kubeconfig-" + uuid.uuid4().hex[:8])
        path.write_text(json.dumps(config))
        path.chmod(0o600)
        return str(path)

    def drop_namespaces(self):
        for name in reversed(self._namespaces):
            self.admin.request("DELETE", kubeapi.path_of("namespaces", None, name))
        self._namespaces.clear()

    def clean_up(self):
        self.drop_namespaces()
        for resource, name in reversed(self._made):
            self.admin.request("DELETE", kubeapi.path_of(resource, None, name))
        # Whoever comes next may want one of that name: what is on its way out would be in theirs.
        for resource, name in self._made if self.is_real else ():
            self.admin.await_gone(resource, name, timeout=120)
        self._made.clear()

    # ------------------------------------------ what the stand-in can do, or a cluster with a record

    def control(self, what, **arguments):
        return self.standin.control(what, **arguments)

    @property
    def is_recorded(self):
        return not self.is_real or self.record is not None

    def mark(self):
        """A place in the record of requests, for `requests`."""
        if self.is_real:
            return self.record.mark(self.admin)
        return self.control("log", since=1 << 60)["count"]

    def requests(self, since=0, user=None, agent=None):
        """What was asked since a mark, by one user or one program."""
        recorded = (self.record.since(self.admin, since) if self.is_real else
                    self.control("log", since=since)["requests"])
        return [r for r in recorded
                if (user is None or r.get("user") == user)
                and (agent is None or r["agent"].startswith(agent))]

    def counts(self, since=0, **whose):
        """{"list pods": 2, …} of the same."""
        return collections.Counter(
            " ".join(w for w in (r["verb"] or r["method"], r["resource"] or r["path"],
                                 r.get("sub", "")) if w)
            for r in self.requests(since, **whose))

    def run_deployments(self, ready=True):
        """From now on pods of Deployments run. (In a real cluster they do anyway.)"""
        if self.standin:
            self.control("simulate", deployments=True, ready=ready)

    def run_load_balancers(self):
        """From now on Services of type LoadBalancer get addresses. (As in a cloud.)"""
        if self.standin:
            self.control("simulate", load_balancers=True)

    def run_pod(self, namespace, name, labels, ip, ready=True):
        """A pod that runs at an address, or is changed so, as far as anybody is told."""
        if not self.admin.find("pods", name, namespace):
            self.admin.create("pods", {
                "metadata": {"name": name, "labels": labels}, "spec": {
                    "schedulerName": NOBODY, "containers": [
                        {"name": "main", "image": "registry.invalid/app:1"}]}}, namespace)
        return self.admin.patch("pods", name, {"status": {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False",
                            "lastTransitionTime": "2026-01-31T12:00:00Z"}]}}, namespace,
            sub="status")


def unused_rights(rules, requests):
    """What the rules of a Role allow that no request of the record needed: ["list pods", …]."""
    used = {(r["verb"], r["group"], "/".join(w for w in (r["resource"], r["sub"]) if w))
            for r in requests if r["verb"]}
    return sorted("%s %s" % (verb, ".".join(w for w in (resource, group) if w))
                  for rule in rules for group in rule["apiGroups"] for resource in
                  rule["resources"] for verb in rule["verbs"]
                  if (verb, group, resource) not in used)


def _may(user, namespace, rule):
    asked = {"verb": rule["verbs"][0], "group": rule["apiGroups"][0],
             "resource": rule["resources"][0].partition("/")[0],
             "subresource": rule["resources"][0].partition("/")[2],
             "name": (rule.get("resourceNames") or [""])[0]}
    if namespace:
        asked["namespace"] = namespace
    return user.create("selfsubjectaccessreviews", {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked}})["status"]["allowed"]


def _is_established(crd):
    return crd and any(c["type"] == "Established" and c["status"] == "True"
                       for c in (crd.get("status") or {}).get("conditions") or ())


def _binding(kind, role_kind, name, subject):
    return {"kind": kind, "apiVersion": "rbac.authorization.k8s.io/v1",
            "metadata": {"name": name}, "subjects": [subject],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": name}}
