# SPDX-License-Identifier: Apache-2.0
"""Custom resources: what a CustomResourceDefinition says of its kind, and that it is served while the
definition exists."""

import asyncio

from . import apply, schema
from .kinds import Kind

CRDS = ("apiextensions.k8s.io", "customresourcedefinitions")


class CustomKind:
    """Schema and columns of one version."""

    def __init__(self, version):
        self.schema = version["schema"]["openAPIV3Schema"]
        self.columns = version.get("additionalPrinterColumns") or []

    def shape(self, obj, strict):
        """Prunes and fills in defaults; returns warnings of what was unknown."""
        return schema.shape(self.schema, obj, strict)

    def check(self, obj, old, sub):
        return schema.check(self.schema, obj, old)


def kinds_of(crd):
    spec, names = crd["spec"], crd["spec"]["names"]
    for version in spec["versions"]:
        if not version.get("served", True):
            continue
        subs = [s for s in ("status",) if s in (version.get("subresources") or {})]
        kind = Kind(spec["group"], version["name"], names["kind"], names["plural"],
                    spec.get("scope") == "Namespaced", names.get("shortNames") or (), subs,
                    names.get("singular"), names.get("categories") or ())
        kind.crd = CustomKind(version)
        yield kind


class Definitions:
    """Serves the kinds of the definitions that are stored."""

    def __init__(self, objects):
        self.objects = objects
        self.store = objects.store
        self.kinds = objects.kinds
        self.store.listeners.append(self._changed)

    def _changed(self, change):
        if change.resource != CRDS:
            return
        some = (change.new or change.old).obj["spec"]
        group, plural = some["group"], some["names"]["plural"]
        self.kinds.remove(group, plural)
        if change.new is None:
            for entry in self.store.entries((group, plural)):
                self.store.drop((group, plural), entry.namespace, entry.name)
        elif change.new.obj["status"].get("conditions"):
            for kind in kinds_of(change.new.obj):
                self.kinds.add(kind)
        else:
            asyncio.get_running_loop().call_soon(self._establish, change.new)

    def _establish(self, entry):
        """Serves a definition that is new, and says so in its status."""
        if self.store.get(CRDS, "", entry.name) is not entry:
            return
        crd = entry.copy()
        crd["status"] = {
            "acceptedNames": crd["spec"]["names"],
            "storedVersions": [v["name"] for v in crd["spec"]["versions"] if v.get("storage")],
            "conditions": [
                {"type": t, "status": "True", "reason": r, "message": m,
                 "lastTransitionTime": apply.now()}
                for t, r, m in (("NamesAccepted", "NoConflicts", "no conflicts found"),
                                ("Established", "InitialNamesAccepted",
                                 "the initial names have been accepted"))]}
        self.store.put(CRDS, crd)
