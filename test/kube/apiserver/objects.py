# SPDX-License-Identifier: Apache-2.0
"""What may be done to objects, and what each does: create, update, patch, apply, delete. No network in
here; what cannot be done is an ApiError."""

import json
import random
import uuid

from . import apply, decode, defaults, errors, patch, rbac, rules, services
from .store import Entry

_GENERATION = {"apps", "networking.k8s.io", "policy", "apiextensions.k8s.io"}
# Kinds whose objects are never replaced blindly, as far as they are not custom.
_VERSION_NEEDED = {("coordination.k8s.io", "leases"),
                   ("apiextensions.k8s.io", "customresourcedefinitions")}
_LASTING = ("default", "kube-system", "kube-public")
_KEPT = ("uid", "creationTimestamp", "generation", "deletionTimestamp",
         "deletionGracePeriodSeconds")
PATCHES = {"application/json-patch+json": "json", "application/merge-patch+json": "merge",
           "application/strategic-merge-patch+json": "strategic",
           "application/apply-patch+yaml": "apply"}
FOREGROUND = "foregroundDeletion"


class Writer:
    """Who writes, in whose name, and whether in earnest."""

    def __init__(self, user, manager, dry=False, force=False, strict=""):
        self.user = user
        self.manager = manager
        self.dry = dry
        self.force = force
        self.strict = strict  # fieldValidation
        self.warnings = []


def _suffix():
    return "".join(random.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(5))


class Objects:
    def __init__(self, store, kinds, authority):
        self.store = store
        self.kinds = kinds
        self.authority = authority
        self.addresses = services.Addresses(store)

    def existing(self, kind, namespace, name):
        entry = self.store.get(kind.key, namespace, name)
        if not entry:
            raise errors.not_found(kind, name)
        return entry

    # ------------------------------------------------------------------------------------ create

    def create(self, kind, namespace, obj, who, applied=False):
        decode.read(kind, obj)
        meta = obj["metadata"]
        self._check_place(kind, namespace, obj)
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + _suffix()
        if not meta.get("name"):
            raise errors.invalid(kind, "", [errors.required(
                "metadata.name", "name or generateName is required")])
        self._check_namespace(kind, namespace, meta["name"])
        if self.store.get(kind.key, namespace, meta["name"]):
            raise errors.already_exists(kind, meta["name"])
        if meta.get("resourceVersion"):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        if namespace:
            meta["namespace"] = namespace
        else:
            meta.pop("namespace", None)
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            meta.pop(field, None)
        meta.update(uid=str(uuid.uuid4()), creationTimestamp=apply.now())
        if self._counts(kind):
            meta["generation"] = 1
        if "status" in kind.subs:
            obj.pop("status", None)
            if not kind.crd:
                obj["status"] = {}
        self._shape(kind, obj, None, who)
        if not applied:
            meta.pop("managedFields", None)
            apply.updated(None, obj, apply.root_of(kind), who.manager)
        self._finish(kind, obj, None, who)
        if who.dry:
            return Entry(_ordered(obj), 0)
        return self.store.put(kind.key, _ordered(obj))

    def _check_place(self, kind, namespace, obj):
        if kind.namespaced and obj["metadata"].get("namespace", namespace) != namespace:
            raise errors.bad_request("the namespace of the provided object does not match the "
                                     "namespace sent on the request")

    def _check_namespace(self, kind, namespace, name):
        if not kind.namespaced:
            return
        spaces = self.kinds.find("", "v1", "namespaces")
        entry = self.existing(spaces, "", namespace)
        if entry.obj["metadata"].get("deletionTimestamp"):
            raise errors.terminating(kind, name, namespace)

    @staticmethod
    def _counts(kind):
        return bool(kind.crd) or kind.group in _GENERATION

    def _shape(self, kind, obj, old, who):
        """Fills in defaults, takes off what the kind does not know."""
        if kind.crd:
            who.warnings += kind.crd.shape(obj, who.strict)
        else:
            defaults.fill(kind, obj)

    def _finish(self, kind, obj, old, who, sub=""):
        """What a write has to pass, and what only the server fills in."""
        was = old.obj if old else None
        faults = rules.check(kind, obj, was)
        if kind.crd:
            faults += kind.crd.check(obj, was, sub)
        if faults:
            raise errors.invalid(kind, obj["metadata"]["name"], faults)
        if kind.group == rbac.GROUP:
            self.authority.check_no_escalation(who.user, kind, obj,
                                               obj["metadata"].get("namespace", ""))
        if kind.key == ("", "services") and sub != "status":
            self.addresses.assign(kind, obj, was)

    # ------------------------------------------------------------------------------------ update

    def update(self, kind, namespace, name, obj, who, sub=""):
        decode.read(kind, obj)
        self._check_place(kind, namespace, obj)
        meta = obj["metadata"]
        if meta.get("name", name) != name:
            raise errors.bad_request("the name of the object (%s) does not match the name on the "
                                     "URL (%s)" % (meta["name"], name))
        old = self.existing(kind, namespace, name)
        meta["name"] = name
        version = meta.get("resourceVersion")
        if not version and (kind.crd or kind.key in _VERSION_NEEDED):
            raise errors.invalid(kind, name, [(
                "FieldValueInvalid", "metadata.resourceVersion",
                "Invalid value: 0x0: must be specified for an update")])
        self._check_versions(kind, name, meta, old)
        return self._replace(kind, old, obj, who, sub)

    @staticmethod
    def _check_versions(kind, name, meta, old):
        was = old.obj["metadata"]
        if meta.get("uid") and meta["uid"] != was["uid"]:
            raise errors.conflict(kind, name, "Precondition failed: UID in precondition: %s, UID "
                                  "in object meta: %s" % (meta["uid"], was["uid"]))
        if meta.get("resourceVersion") and meta["resourceVersion"] != was["resourceVersion"]:
            raise errors.conflict(kind, name)

    def _replace(self, kind, old, new, who, sub, applied=False):
        new = self._only_part(kind, old, new, sub)
        meta, was = new["metadata"], old.obj["metadata"]
        managed = meta.pop("managedFields", None) if applied else was.get("managedFields")
        for field in _KEPT:
            meta.pop(field, None)
            if field in was:
                meta[field] = was[field]
        meta["name"], meta["resourceVersion"] = was["name"], was["resourceVersion"]
        if "namespace" in was:
            meta["namespace"] = was["namespace"]
        self._shape(kind, new, old, who)
        if not applied:
            meta.pop("managedFields", None)
            apply.updated(old.obj, new, apply.root_of(kind), who.manager, sub)
        elif managed:
            meta["managedFields"] = managed
        self._finish(kind, new, old, who, sub)
        if self._counts(kind) and _counted(new, kind) != _counted(old.obj, kind):
            meta["generation"] = was.get("generation", 0) + 1
        if _same(old.obj, new):
            return old
        if who.dry:
            return Entry(_ordered(new), old.version)
        if meta.get("deletionTimestamp") and not meta.get("finalizers") and \
                not self._waits(kind, new):
            gone = self.store.drop(kind.key, old.namespace, old.name)
            return Entry(_ordered(new), gone.version)
        return self.store.put(kind.key, _ordered(new))

    @staticmethod
    def _only_part(kind, old, new, sub):
        if sub == "status":
            part = old.copy()
            if new["metadata"].get("managedFields") is not None:
                part["metadata"]["managedFields"] = new["metadata"]["managedFields"]
            part.pop("status", None)
            if "status" in new:
                part["status"] = new["status"]
            return part
        new = json.loads(json.dumps(new))
        if "status" in kind.subs:
            new.pop("status", None)
            if "status" in old.obj:
                new["status"] = old.copy()["status"]
        return new

    def _waits(self, kind, obj):
        """Goes on existing although deleted and free of finalizers: a namespace while anything is
        in it, a pod while its node has not ended it."""
        if kind.key == ("", "namespaces"):
            return True
        return kind.key == ("", "pods") and \
            obj["metadata"].get("deletionGracePeriodSeconds", 0) > 0

    # ------------------------------------------------------------------------------------- patch

    def patch(self, kind, namespace, name, how, body, who, sub=""):
        """Returns the entry, and whether it was created."""
        if how == "apply":
            return self.apply(kind, namespace, name, body, who, sub)
        if how == "strategic" and kind.crd:
            raise errors.unsupported_media([t for t in PATCHES if "strategic" not in t])
        old = self.existing(kind, namespace, name)
        if how == "json":
            new = patch.json_patch(old.copy(), body)
        elif how == "merge":
            new = patch.merge(old.copy(), body)
        else:
            new = patch.strategic(old.copy(), body)
        meta = new.get("metadata")
        if not isinstance(meta, dict) or meta.get("name") != name or \
                any(new.get(field) != old.obj[field] for field in ("kind", "apiVersion")):
            raise errors.invalid(kind, name, [errors.immutable("metadata.name", meta)])
        decode.read(kind, new)
        self._check_versions(kind, name, meta, old)
        return self._replace(kind, old, new, who, sub), False

    def apply(self, kind, namespace, name, config, who, sub=""):
        decode.read(kind, config)
        meta = config["metadata"]
        if "status" in kind.subs:  # each part has a path of its own; the other is passed over
            for field in [f for f in config if f not in ("apiVersion", "kind", "metadata")]:
                if (field == "status") != (sub == "status"):
                    del config[field]
        if meta.get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        if meta.get("name", name) != name:
            raise errors.bad_request("the name of the object (%s) does not match the name on the "
                                     "URL (%s)" % (meta["name"], name))
        self._check_place(kind, namespace, config)
        meta["name"] = name
        old = self.store.get(kind.key, namespace, name)
        root = apply.root_of(kind)
        if not old:
            if meta.get("uid"):
                raise errors.conflict(kind, name, "uid mismatch: the provided object specified "
                                      "uid %s, and no existing object was found" % meta["uid"])
            if sub:
                raise errors.not_found(kind, name)
            self.authority.require(who.user, rbac.Attributes(
                "create", kind.group, kind.plural, "", namespace, name))
            new = apply.apply(None, config, root, who.manager, who.force)
            return self.create(kind, namespace, new, who, applied=True), True
        self._check_versions(kind, name, meta, old)
        live = old.copy()
        new = apply.apply(live, config, root, who.manager, who.force, sub)
        return self._replace(kind, old, new, who, sub, applied=True), False

    # ------------------------------------------------------------------------------------ delete

    def delete(self, kind, namespace, name, options, dry=False):
        """Returns the entry as it is now, or was, and whether it is gone."""
        old = self.existing(kind, namespace, name)
        meta = old.obj["metadata"]
        wanted = options.get("preconditions") or {}
        for field, told in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            if wanted.get(field) and wanted[field] != meta[field]:
                raise errors.conflict(kind, name, "Precondition failed: %s in precondition: %s, %s "
                                      "in object meta: %s"
                                      % (told, wanted[field], told, meta[field]))
        policy = options.get("propagationPolicy")
        if policy is None and options.get("orphanDependents"):
            policy = "Orphan"
        if kind.key == ("", "namespaces") and name in _LASTING:
            raise errors.forbidden(kind, name, "this namespace may not be deleted")
        if policy not in (None, "Background", "Foreground", "Orphan"):
            raise errors.invalid(kind, name, [errors.unsupported(
                "propagationPolicy", policy, ["Background", "Foreground", "Orphan"])])
        if dry:
            return old, False
        return self._delete(kind, old, policy, options.get("gracePeriodSeconds"))

    def _delete(self, kind, old, policy, grace):
        new = old.copy()
        meta = new["metadata"]
        finalizers = list(meta.get("finalizers") or ())
        if policy == "Orphan":
            self._orphan(meta["uid"])
        if policy == "Foreground" and FOREGROUND not in finalizers:
            finalizers.append(FOREGROUND)
        seconds = _grace(kind, new, grace)
        is_space = kind.key == ("", "namespaces")
        if not finalizers and not seconds and not is_space:
            return self.store.drop(kind.key, old.namespace, old.name), True
        if meta.get("deletionTimestamp") and meta.get("finalizers", []) == finalizers and \
                meta.get("deletionGracePeriodSeconds") == seconds:
            return old, False
        meta.setdefault("deletionTimestamp", apply.now())
        meta["deletionGracePeriodSeconds"] = seconds
        if finalizers:
            meta["finalizers"] = finalizers
        if is_space:
            meta.pop("deletionGracePeriodSeconds")
            new.setdefault("status", {})["phase"] = "Terminating"
        if self._counts(kind):
            meta["generation"] = meta.get("generation", 0) + 1
        return self.store.put(kind.key, _ordered(new)), False

    def _orphan(self, uid):
        for resource, entry in self.store.dependents(uid):
            obj = entry.copy()
            meta = obj["metadata"]
            left = [o for o in meta["ownerReferences"] if o.get("uid") != uid]
            meta["ownerReferences"] = left
            if not left:
                del meta["ownerReferences"]
            self.store.put(resource, obj)


def _grace(kind, pod, asked):
    """Seconds that a pod has on its node; other objects have none."""
    if kind.key != ("", "pods") or not pod["spec"].get("nodeName"):
        return 0
    return pod["spec"].get("terminationGracePeriodSeconds", 30) if asked is None else asked


def _counted(obj, kind):
    """The part of an object whose changes its generation counts."""
    return {k: v for k, v in obj.items()
            if k != "metadata" and not (k == "status" and "status" in kind.subs)}


def _plain(obj):
    meta = dict(obj["metadata"])
    managed = [{k: v for k, v in e.items() if k != "time"} for e in meta.pop("managedFields", ())]
    return {**obj, "metadata": meta}, managed


def _same(a, b):
    return _plain(a) == _plain(b)


def _ordered(obj):
    """`kind` and `apiVersion` first: lists of kinds of the cluster leave these out."""
    return {"kind": obj["kind"], "apiVersion": obj["apiVersion"], **obj}
