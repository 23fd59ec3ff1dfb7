# SPDX-License-Identifier: Apache-2.0
"""What every cluster begins with."""

from .collect import SYSTEM
from .objects import Writer
from .rbac import GROUP

_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_CORE = ["configmaps", "endpoints", "events", "pods", "secrets", "serviceaccounts", "services",
         "serviceaccounts/token"]
_OTHER = [("apps", ["daemonsets", "deployments", "replicasets", "statefulsets",
                    "deployments/scale", "statefulsets/scale", "replicasets/scale"]),
          ("networking.k8s.io", ["ingresses", "networkpolicies"]),
          ("coordination.k8s.io", ["leases"]), ("discovery.k8s.io", ["endpointslices"]),
          ("policy", ["poddisruptionbudgets"])]


def _rules(verbs, core=_CORE):
    return [{"apiGroups": [""], "resources": core, "verbs": verbs}] + [
        {"apiGroups": [g], "resources": r, "verbs": verbs} for g, r in _OTHER]


def _roles():
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                  {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    view = _rules(_READ, [r for r in _CORE if r != "secrets"])
    edit = _rules(_READ + _WRITE)
    return {"cluster-admin": everything, "view": view, "edit": edit,
            "admin": edit + [{"apiGroups": [GROUP], "resources": ["roles", "rolebindings"],
                              "verbs": _READ + _WRITE}],
            "system:basic-user": [
                {"apiGroups": ["authorization.k8s.io", "authentication.k8s.io"],
                 "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews",
                               "selfsubjectreviews"], "verbs": ["create"]}]}


def boot(objects):
    who = Writer(SYSTEM, "kube-apiserver")

    def make(group, version, plural, namespace, obj):
        kind = objects.kinds.find(group, version, plural)
        obj = {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
        objects.create(kind, namespace, obj, who)

    for name in ("kube-system", "kube-public", "kube-node-lease", "default"):
        make("", "v1", "namespaces", "", {"metadata": {"name": name}})
    for name, rules in _roles().items():
        make(GROUP, "v1", "clusterroles", "", {"metadata": {"name": name}, "rules": rules})
    for role, group in (("cluster-admin", "system:masters"),
                        ("system:basic-user", "system:authenticated")):
        make(GROUP, "v1", "clusterrolebindings", "", {
            "metadata": {"name": role},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "Group", "name": group}]})
    make("", "v1", "services", "default", {
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver",
                                                      "provider": "kubernetes"}},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": 6443}]}})
