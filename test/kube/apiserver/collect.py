# SPDX-License-Identifier: Apache-2.0
"""What controllers of the cluster do by themselves: delete what has lost its owners, empty namespaces
that end, put into new namespaces what every namespace has. Done a moment after the change that caused
it, as in a real cluster, where nobody may rely on it being done at once."""

import asyncio

from . import errors
from .objects import FOREGROUND, Writer
from .rbac import User

SPACES = ("", "namespaces")
SYSTEM = User("system:kube-controller-manager", ["system:masters"])


class Collector:
    def __init__(self, objects, ca_text=""):
        self.objects = objects
        self.store = objects.store
        self.kinds = objects.kinds
        self.ca_text = ca_text
        self._due = []
        self._scheduled = False
        self.store.listeners.append(self._changed)

    def _changed(self, change):
        self._due.append(change)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self):
        self._scheduled = False
        due, self._due = self._due, []
        for change in due:
            try:
                self._settle(change)
            except errors.ApiError:
                pass  # gone in the meantime
        return

    def _settle(self, change):
        entry = change.new or change.gone
        meta = entry.obj["metadata"]
        if change.new is None:
            self._owner_gone(meta["uid"])
            for owner in meta.get("ownerReferences", ()):
                self._look_at_owner(owner, entry.namespace)
            if entry.namespace:
                self._empty(entry.namespace)
            return
        if change.resource == SPACES:
            if meta.get("deletionTimestamp"):
                self._empty(entry.name)
            elif not change.old:
                self._furnish(entry.name)
        if meta.get("ownerReferences") and (not change.old or change.old.obj["metadata"].get(
                "ownerReferences") != meta["ownerReferences"]):
            self._check_owned(change.resource, entry)
        if FOREGROUND in meta.get("finalizers", ()) and meta.get("deletionTimestamp"):
            self._foreground(change.resource, entry)

    # ------------------------------------------------------------------------------------ owners

    def _owner(self, ref, namespace):
        """The entry that is meant; False when its kind is not known, so nothing is known of it."""
        kind = self.kinds.of_object(ref.get("apiVersion", ""), ref.get("kind", ""))
        if not kind:
            return False
        entry = self.store.get(kind.key, namespace if kind.namespaced else "", ref.get("name", ""))
        return entry if entry and entry.obj["metadata"]["uid"] == ref.get("uid") else None

    def _delete(self, resource, entry, policy="Background"):
        current = self.store.get(resource, entry.namespace, entry.name)
        if current and current.obj["metadata"]["uid"] == entry.obj["metadata"]["uid"]:
            kind = self.kinds.any_version(*resource)
            if kind:
                self.objects.delete(kind, entry.namespace, entry.name,
                                    {"propagationPolicy": policy})

    def _check_owned(self, resource, entry):
        owners = [self._owner(o, entry.namespace)
                  for o in entry.obj["metadata"]["ownerReferences"]]
        if all(o is None for o in owners):
            self._delete(resource, entry)

    def _owner_gone(self, uid):
        for resource, entry in self.store.dependents(uid):
            left = [o for o in entry.obj["metadata"]["ownerReferences"]
                    if self._owner(o, entry.namespace) is not None]
            if not left:
                self._delete(resource, entry)
                continue
            obj = entry.copy()
            obj["metadata"]["ownerReferences"] = left
            self.store.put(resource, obj)

    def _foreground(self, resource, entry):
        blocking = False
        for r, e in self.store.dependents(entry.obj["metadata"]["uid"]):
            if not e.obj["metadata"].get("deletionTimestamp"):
                self._delete(r, e, "Foreground")
            blocking = blocking or any(
                o.get("blockOwnerDeletion") and o["uid"] == entry.obj["metadata"]["uid"]
                for o in e.obj["metadata"]["ownerReferences"]) and bool(
                    self.store.get(r, e.namespace, e.name))
        if not blocking:
            obj = entry.copy()
            obj["metadata"]["finalizers"].remove(FOREGROUND)
            kind = self.kinds.any_version(*resource)
            current = self.store.get(resource, entry.namespace, entry.name)
            if current and kind:
                self.objects.update(kind, entry.namespace, entry.name, obj,
                                    Writer(SYSTEM, "kube-controller-manager"))

    def _look_at_owner(self, ref, namespace):
        owner = self._owner(ref, namespace)
        if owner and FOREGROUND in owner.obj["metadata"].get("finalizers", ()) and \
                owner.obj["metadata"].get("deletionTimestamp"):
            kind = self.kinds.of_object(ref["apiVersion"], ref["kind"])
            self._foreground(kind.key, owner)

    # -------------------------------------------------------------------------------- namespaces

    def _empty(self, name):
        space = self.store.get(SPACES, "", name)
        if not space or not space.obj["metadata"].get("deletionTimestamp"):
            return
        left = [(r, e) for r in self.store.resources() for e in self.store.entries(r, name)]
        for resource, entry in left:
            if not entry.obj["metadata"].get("deletionTimestamp"):
                self._delete(resource, entry)
        if not any(self.store.entries(r, name) for r in self.store.resources()) and \
                not space.obj["metadata"].get("finalizers"):
            self.store.drop(SPACES, "", name)

    def _furnish(self, name):
        who = Writer(SYSTEM, "kube-controller-manager")
        for plural, obj in (("serviceaccounts", {"kind": "ServiceAccount"}),
                            ("configmaps", {"kind": "ConfigMap",
                                            "data": {"ca.crt": self.ca_text}})):
            named = "default" if plural == "serviceaccounts" else "kube-root-ca.crt"
            obj.update(apiVersion="v1", metadata={"name": named})
            self.objects.create(self.kinds.find("", "v1", plural), name, obj, who)
