# SPDX-License-Identifier: Apache-2.0
"""What the examples in demo/kubernetes say, and what they promise."""

import pathlib

import yaml

from control import kind

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "demo" / "kubernetes"
PLURALS = {"ConfigMap": "configmaps", "Deployment": "deployments", "StatefulSet": "statefulsets",
           "Service": "services", "Site": kind("sites"), "Listener": kind("listeners"),
           "Connector": kind("connectors")}
# The services of each, with the sites that have servers of them, and the port.
GIVEN = {
    "headless": {"web": (["east"], 8080)},
    "hello-world": {"backend": (["east"], 8080)},
    "message-broker": {"broker": (["private"], 5672)},
    "patient-portal": {"database": (["hospital"], 5432), "payment-processor": (["bank"], 8080)},
    "postgresql": {"postgresql": (["on-prem"], 5432)},
    "redis": {"redis-sentinel": (["east", "north", "south"], 26379),
              **{"redis-" + site: ([site], 6379) for site in ("east", "north", "south")},
              **{"sentinel-" + site: ([site], 26379) for site in ("east", "north", "south")}},
}


def sites_of(example, form):
    """Of a form ("v1", "v2"): {site: its objects}."""
    return {path.stem: list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
            for path in sorted((FOLDER / example / form).glob("*.yaml"))}


def notes_of(obj):
    return obj["metadata"].get("annotations") or {}


def site_map(documents):
    """What the ConfigMap of a site of version 1 says."""
    [found] = [d for d in documents if d["metadata"]["name"] == "skupper-site"]
    return found["data"]


def is_hub(documents):
    """Whether the others link to it."""
    for d in documents:
        if d["kind"] == "Site":
            return bool(d.get("spec", {}).get("linkAccess"))
    return site_map(documents).get("ingress") != "none"


def grant_names(cluster, namespace, account):
    """Lets a controller with the rights of version 1 lead names of pods somewhere, which not even an
    administrator of a namespace may: docs/kubernetes.md, "A site without resource definitions"."""
    meta = {"name": "skupper-names"}
    cluster.admin.create("roles", {"metadata": meta, "rules": [
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
         "verbs": ["list", "watch", "create", "update", "delete"]}]}, namespace)
    cluster.admin.create("rolebindings", {
        "metadata": meta, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
                                      "name": "skupper-names"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]},
        namespace)
