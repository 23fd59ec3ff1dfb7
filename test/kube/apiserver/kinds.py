# SPDX-License-Identifier: Apache-2.0
"""The kinds that are served: those of the cluster in one table, and those that
CustomResourceDefinitions add while the server runs; and the documents of discovery made of them."""

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


class Kind:
    """One resource: where it is found, what it is called, what it has."""

    def __init__(self, group, version, kind, plural, namespaced=True, short=(), subs=(),
                 singular=None, categories=(), verbs=VERBS):
        self.group = group
        self.version = version
        self.kind = kind
        self.plural = plural
        self.namespaced = namespaced
        self.short = list(short)
        self.subs = tuple(subs)
        self.singular = singular or kind.lower()
        self.categories = list(categories)
        self.verbs = list(verbs)
        self.crd = None  # CustomKind: schema, columns

    @property
    def api_version(self):
        return "%s/%s" % (self.group, self.version) if self.group else self.version

    @property
    def qualified(self):
        """The name in messages: "deployments.apps", "pods"."""
        return "%s.%s" % (self.plural, self.group) if self.group else self.plural

    @property
    def key(self):
        return (self.group, self.plural)


def _core(*args, **more):
    return Kind("", "v1", *args, **more)


def _apps(*args, **more):
    return Kind("apps", "v1", *args, subs=("status", "scale"), categories=["all"], **more)


def _rbac(*args, **more):
    return Kind("rbac.authorization.k8s.io", "v1", *args, **more)


BUILT_IN = [
    _core("Namespace", "namespaces", False, ["ns"], ["status", "finalize"]),
    _core("Node", "nodes", False, ["no"], ["status"]),
    _core("Pod", "pods", True, ["po"], ["status", "portforward"], categories=["all"]),
    _core("Service", "services", True, ["svc"], ["status"], categories=["all"]),
    _core("Endpoints", "endpoints", True, ["ep"], singular="endpoints"),
    _core("Secret", "secrets"),
    _core("ConfigMap", "configmaps", True, ["cm"]),
    _core("ServiceAccount", "serviceaccounts", True, ["sa"], ["token"]),
    _core("Event", "events", True, ["ev"]),
    Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    _apps("Deployment", "deployments", True, ["deploy"]),
    _apps("StatefulSet", "statefulsets", True, ["sts"]),
    _apps("ReplicaSet", "replicasets", True, ["rs"]),
    Kind("apps", "v1", "DaemonSet", "daemonsets", True, ["ds"], ["status"], categories=["all"]),
    _rbac("Role", "roles"),
    _rbac("RoleBinding", "rolebindings"),
    _rbac("ClusterRole", "clusterroles", False),
    _rbac("ClusterRoleBinding", "clusterrolebindings", False),
    Kind("coordination.k8s.io", "v1", "Lease", "leases"),
    Kind("networking.k8s.io", "v1", "Ingress", "ingresses", True, ["ing"], ["status"]),
    Kind("networking.k8s.io", "v1", "IngressClass", "ingressclasses", False),
    Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True, ["netpol"]),
    Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, ["pdb"], ["status"]),
    Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions",
         False, ["crd", "crds"], ["status"], categories=["api-extensions"]),
    Kind("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", False,
         verbs=["create"]),
    Kind("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews",
         False, verbs=["create"]),
    Kind("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", False,
         verbs=["create"]),
    Kind("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", False,
         verbs=["create"]),
]


class Kinds:
    """All kinds by (group, version, plural)."""

    def __init__(self):
        self._by_path = {}
        for kind in BUILT_IN:
            self.add(kind)

    def add(self, kind):
        self._by_path[(kind.group, kind.version, kind.plural)] = kind

    def remove(self, group, plural):
        for path in [p for p in self._by_path if p[0] == group and p[2] == plural]:
            del self._by_path[path]

    def find(self, group, version, plural):
        return self._by_path.get((group, version, plural))

    def of_object(self, api_version, kind):
        """By what stands in an object; None when nobody serves it."""
        group, _, version = ("/" + api_version).rpartition("/")
        group = group.lstrip("/")
        for k in self._by_path.values():
            if k.group == group and k.version == version and k.kind == kind:
                return k
        return None

    def any_version(self, group, plural):
        return next((k for k in self._by_path.values()
                     if k.group == group and k.plural == plural), None)

    def all(self):
        return list(self._by_path.values())

    # ------------------------------------------------------------------------------- discovery

    def groups(self):
        found = {}
        for k in self._by_path.values():
            if k.group and k.version not in found.setdefault(k.group, []):
                found[k.group].append(k.version)
        return found

    def group_document(self, name, versions):
        all_versions = [{"groupVersion": "%s/%s" % (name, v), "version": v} for v in versions]
        return {"name": name, "versions": all_versions, "preferredVersion": all_versions[0]}

    def group_list(self):
        return {"kind": "APIGroupList", "apiVersion": "v1",
                "groups": [self.group_document(g, v) for g, v in self.groups().items()]}

    def resource_list(self, group, version):
        resources = []
        for k in self._by_path.values():
            if (k.group, k.version) != (group, version):
                continue
            one = {"name": k.plural, "singularName": k.singular, "namespaced": k.namespaced,
                   "kind": k.kind, "verbs": k.verbs}
            if k.short:
                one["shortNames"] = k.short
            if k.categories:
                one["categories"] = k.categories
            resources.append(one)
            for sub in k.subs:
                resources.append(_subresource(k, sub))
        full = "%s/%s" % (group, version) if group else version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": full,
                "resources": resources}


def _subresource(k, sub):
    one = {"name": "%s/%s" % (k.plural, sub), "singularName": "", "namespaced": k.namespaced,
           "kind": k.kind, "verbs": ["get", "patch", "update"]}
    if sub == "scale":
        one.update(group="autoscaling", version="v1", kind="Scale")
    if sub == "token":
        one.update(group="authentication.k8s.io", version="v1", kind="TokenRequest",
                   verbs=["create"])
    if sub == "finalize":
        one["verbs"] = ["update"]
    return one
