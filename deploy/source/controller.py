# SPDX-License-Identifier: Apache-2.0
"""The controller and what it takes to run: for the whole cluster, or for one namespace. Names, labels,
arguments and environment are those that users of the existing product know."""

from .write import Said

NAME = "skupper-controller"
LABELS = {"application": NAME, "app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "skupper"}
RBAC = "rbac.authorization.k8s.io"
READ = ["list", "watch"]
MAKE = ["create", "update", "delete"]
PATCH = ["create", "patch", "delete"]  # of kinds of which the controller does not keep the whole
KINDS = ["sites", "links", "listeners", "multikeylisteners", "connectors", "attachedconnectors",
         "attachedconnectorbindings", "accessgrants", "accesstokens", "routeraccesses",
         "securedaccesses", "certificates"]


def _rule(why, group, resources, verbs):
    return Said({"apiGroups": [group], "resources": resources, "verbs": verbs}, why)


RULES = [
    _rule("What users ask for, wherever they do.", "skupper.io", KINDS, READ),
    _rule("What follows from it: the access of a Site, the Services and certificates of an access, "
          "the Links of a token.", "skupper.io",
          ["routeraccesses", "securedaccesses", "certificates", "links"], MAKE),
    _rule("How it goes is told in the status of each resource.", "skupper.io",
          [k + "/status" for k in KINDS], ["update"]),
    _rule("The configuration of routers is a ConfigMap; sizes, label templates, the state of the "
          "network, and which controller is in charge are read from ConfigMaps; services by "
          "annotation are written to one.", "",
          ["configmaps"], READ + PATCH),
    _rule("Certificates and keys: read where users bring their own, else made, renewed, and taken "
          "away with the service that they were for.", "",
          ["secrets"], READ + ["create", "patch", "delete"]),
    _rule("Pods that Connectors select, and whether the router is ready.", "", ["pods"], READ),
    _rule("Services of Listeners, of accesses, and of the router itself; those that have the name "
          "of a service by annotation lead to the router meanwhile.", "", ["services"],
          READ + PATCH),
    _rule("The identity of the router's pods.", "", ["serviceaccounts"],
          READ + ["create"]),
    _rule("What an administrator should see of what was done.", "", ["events"],
          ["create"]),
    _rule("The routers (by server-side apply, which is a patch).", "apps", ["deployments"],
          READ + PATCH),
    _rule("The names of single pods of headless services elsewhere; without it, these have a Service "
          "of their name alone.", "discovery.k8s.io", ["endpointslices"], READ + MAKE),
    _rule("What is exposed by annotation.", "apps", ["statefulsets", "daemonsets"], READ),
    _rule("The rights of the router's pods.", RBAC, ["roles", "rolebindings"],
          READ + ["create", "update"]),
    _rule("Which of several replicas acts.", "coordination.k8s.io", ["leases"],
          ["get", "create", "update"]),
    _rule("Not used here, but in the Role skupper-router, which nobody can create who lacks a right "
          "in it: the agent beside a router reads one by one,", "", ["pods", "services"], ["get"]),
    _rule("finds out what it is part of,", "apps", ["deployments"], ["get"]),
    _rule("writes the state of the network,", "", ["configmaps"], ["get", "update"]),
    _rule("says in Secrets what the router has taken on (of a site of version 1 the controller reads "
          "a claim that two redeem at once, too),", "", ["secrets"],
          ["get", "update", "delete"]),
    _rule("and elects a leader where there are two.", "coordination.k8s.io", ["leases"],
          ["list", "watch", "delete"]),
    _rule("Access type route.", "route.openshift.io", ["routes"], READ + MAKE),
    _rule("A Route with a host name of one's own is a right by itself.", "route.openshift.io",
          ["routes/custom-host"], ["create"]),
    _rule("Access type ingress-nginx.", "networking.k8s.io", ["ingresses"], READ + MAKE),
    _rule("Access type contour-http-proxy.", "projectcontour.io", ["httpproxies"], READ + MAKE),
    _rule("Access type gateway: a route for each access,", "gateway.networking.k8s.io",
          ["tlsroutes"], READ + MAKE),
    _rule("and one Gateway for all, which stays.", "gateway.networking.k8s.io", ["gateways"],
          READ + ["create", "update"]),
]
# Of a site of version 1, whose option create-network-policy asks for one.
POLICIES = _rule("The network policy of the router's pods, if the site asks for one (the only one "
                 "that is read is that of its name).", "networking.k8s.io", ["networkpolicies"],
                 READ + MAKE)
# Of the whole cluster; a controller of one namespace asks each half minute for what is missing.
DEFINITIONS = _rule("An API that is installed later is noticed at once.", "apiextensions.k8s.io",
                    ["customresourcedefinitions"], READ)


class Values:
    """What differs between installations; a Helm chart has expressions for them."""

    def __init__(self, controller_image, router_image, adaptor_image, cluster_host, access_types,
                 default_access_type, namespace):
        self.controller_image = controller_image
        self.router_image = router_image
        self.adaptor_image = adaptor_image
        self.cluster_host = cluster_host
        self.access_types = access_types
        self.default_access_type = default_access_type
        self.namespace = namespace  # None: wherever it is installed


def _meta(name, namespace, labels=LABELS):
    meta = {"name": name, "labels": dict(labels)}
    if namespace:
        meta["namespace"] = namespace
    return meta


def _environment(values, for_cluster):
    env = []
    if not for_cluster:
        env.append(Said({"name": "WATCH_NAMESPACE", "valueFrom": {
            "fieldRef": {"fieldPath": "metadata.namespace"}}},
            "Only this namespace is looked at."))
    for name, value, why in (
            ("SKUPPER_ROUTER_IMAGE", values.router_image, "The image of the routers."),
            ("SKUPPER_KUBE_ADAPTOR_IMAGE", values.adaptor_image,
             "The image of the agent beside a router."),
            ("SKUPPER_CLUSTER_HOST", values.cluster_host,
             "The name or address of the nodes, which access type nodeport needs."),
            ("SKUPPER_ENABLED_ACCESS_TYPES", values.access_types,
             "The ways in that a Site may choose from."),
            ("SKUPPER_DEFAULT_ACCESS_TYPE", values.default_access_type,
             "The one it gets without choosing; empty: the best there is.")):
        env.append(Said({"name": name, "value": value}, why))
    return env


def _deployment(values, for_cluster, has_definitions=True):
    container = {
        "name": "controller",
        "image": values.controller_image,
        "command": ["/usr/bin/skupper", "controller"],
        "args": ["-enable-grants", "-grant-server-autoconfigure"] if has_definitions else
                ["-without-definitions"],
        "env": _environment(values, for_cluster),
        "ports": [{"name": "metrics", "containerPort": 9000}],
        "livenessProbe": Said({"httpGet": {"path": "/healthz", "port": "metrics"}},
                              "With SKUPPER_METRICS_DISABLE this has to go."),
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/controller"}],
    }
    labels = {**LABELS, "skupper.io/component": "controller"}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": _meta(NAME, values.namespace, labels),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"application": NAME}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": NAME,
                    "enableServiceLinks": Said(False, "Or the Service of the grant server would set "
                                               "SKUPPER_GRANT_SERVER_PORT to an address."),
                    "securityContext": {"runAsNonRoot": True,
                                        "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [container],
                    "volumes": [{"name": "config", "emptyDir": {}}],
                },
            },
        },
    }


def _binding(kind, role_kind, values, scope):
    subject = {"kind": "ServiceAccount", "name": NAME}
    if values.namespace:
        subject["namespace"] = values.namespace
    return {"apiVersion": RBAC + "/v1", "kind": kind, "metadata": _meta(NAME, scope),
            "roleRef": {"apiGroup": RBAC, "kind": role_kind, "name": NAME},
            "subjects": [subject]}


def _account(values):
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta(NAME, values.namespace)}


def for_cluster(values):
    """One controller for all namespaces."""
    role = {"apiVersion": RBAC + "/v1", "kind": "ClusterRole", "metadata": _meta(NAME, None),
            "rules": RULES + [DEFINITIONS]}
    return [_account(values), role, _binding("ClusterRoleBinding", "ClusterRole", values, None),
            _deployment(values, True)]


# What is not in every cluster, and what nobody can give away there who is no administrator.
OPTIONAL = ("skupper.io", "route.openshift.io", "projectcontour.io", "gateway.networking.k8s.io",
            "discovery.k8s.io")


def for_namespace(values, has_definitions=True):
    """A controller for its own namespace, with no right outside of it; without definitions it has no
    rights to our kinds, nor to those of others that a cluster need not have."""
    rules = [r for r in RULES if has_definitions or r.value["apiGroups"][0] not in OPTIONAL]
    if not has_definitions:
        rules.append(POLICIES)
    role = {"apiVersion": RBAC + "/v1", "kind": "Role", "metadata": _meta(NAME, values.namespace),
            "rules": rules}
    chosen = Said({"apiVersion": "v1", "kind": "ConfigMap",
                   "metadata": _meta("skupper", values.namespace), "data": {"controller": NAME}},
                  "Puts this controller in charge of the namespace, also where there is one for the "
                  "whole cluster.")
    return [_account(values), role, _binding("RoleBinding", "Role", values, values.namespace),
            chosen, _deployment(values, False, has_definitions)]


def namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "skupper"}}}
