# SPDX-License-Identifier: Apache-2.0
"""Who set which field: managedFields, and server-side apply, which lives by them.

A set of fields is a Python set of paths. A path is a tuple of steps as they stand in FieldsV1:
"f:spec", "k:{\\"name\\":\\"web\\"}", "v:\\"a\\"". Of an object of a keyed list its own path is in the set as
well ("."), so that the object itself has an owner."""

import json
import time

from . import errors, shapes

_NOT_OWNED = {("f:apiVersion",), ("f:kind",)}
_META_NOT_OWNED = {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
                   "selfLink", "managedFields", "deletionTimestamp", "deletionGracePeriodSeconds"}


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _key_step(item, keys):
    defaults = {"protocol": "TCP"}
    key = {k: item.get(k, defaults.get(k)) for k in keys}
    return "k:" + json.dumps({k: v for k, v in sorted(key.items()) if v is not None},
                             separators=(",", ":"))


def fields_of(obj, root):
    """All fields that an object sets."""
    found = set()
    for name, value in obj.items():
        if name in ("apiVersion", "kind"):
            continue
        if name == "metadata":
            value = {k: v for k, v in value.items() if k not in _META_NOT_OWNED}
            if not value:
                continue
        _collect(value, root.member(name), ("f:" + name,), found)
    return found


def _collect(value, shape, path, found):
    if isinstance(value, dict) and value and not shape.is_atomic:
        for name, inner in value.items():
            _collect(inner, shape.member(name), path + ("f:" + name,), found)
    elif isinstance(value, list) and value and shape.keys and _are_maps(value):
        for item in value:
            at = path + (_key_step(item, shape.keys),)
            found.add(at)
            for name, inner in item.items():
                _collect(inner, shape.item().member(name), at + ("f:" + name,), found)
    elif isinstance(value, list) and value and shape.is_set:
        for item in value:
            found.add(path + ("v:" + json.dumps(item),))
    else:
        found.add(path)


def _are_maps(items):
    return all(isinstance(i, dict) for i in items)


def leaves(obj, root):
    """path -> value of every field."""
    found = {}
    for path in fields_of(obj, root):
        found[path] = look(obj, path, root)
    return found


_MISSING = object()


def look(obj, path, root=None):
    for step in path:
        tag, name = step[:2], step[2:]
        if tag == "f:":
            obj = obj.get(name, _MISSING) if isinstance(obj, dict) else _MISSING
        elif tag == "k:":
            key = json.loads(name)
            obj = next((i for i in obj if _has_key(i, key)), _MISSING) \
                if isinstance(obj, list) else _MISSING
        else:
            value = json.loads(name)
            obj = value if isinstance(obj, list) and value in obj else _MISSING
        if obj is _MISSING:
            return _MISSING
    if path and path[-1][:2] == "k:":
        return True  # the object is there; what is in it has paths of its own
    return obj


def _has_key(item, key):
    return isinstance(item, dict) and all(
        item.get(k, "TCP" if k == "protocol" else None) == v for k, v in key.items())


# ---------------------------------------------------------------------------------- managedFields

def to_fields_v1(paths):
    tree = {}
    for path in sorted(paths):
        at = tree
        for step in path:
            at = at.setdefault(step, {})
        if path[-1][:2] == "k:":
            at["."] = {}
    return tree


def from_fields_v1(tree, path=()):
    found = set()
    for step, inner in tree.items():
        if step == ".":
            found.add(path)
        elif inner:
            found |= from_fields_v1(inner, path + (step,))
        else:
            found.add(path + (step,))
    return found


class Managers:
    """The entries of metadata.managedFields, taken apart."""

    def __init__(self, obj):
        self.entries = []  # [manager, operation, subresource, apiVersion, time, paths]
        for e in (obj.get("metadata") or {}).get("managedFields") or ():
            self.entries.append([e.get("manager", ""), e.get("operation", ""),
                                 e.get("subresource", ""), e.get("apiVersion", ""),
                                 e.get("time", ""), from_fields_v1(e.get("fieldsV1") or {})])

    def find(self, manager, operation, sub):
        return next((e for e in self.entries if e[:3] == [manager, operation, sub]), None)

    def set(self, manager, operation, sub, version, paths):
        entry = self.find(manager, operation, sub)
        if not entry:
            entry = [manager, operation, sub, version, now(), set()]
            self.entries.append(entry)
        if entry[5] != paths or entry[3] != version:
            entry[3:] = [version, now(), paths]

    def without(self, paths, but=None):
        for e in self.entries:
            if e is not but and e[5] & paths:
                e[5] = e[5] - paths

    def store(self, obj):
        listed = []
        for manager, operation, sub, version, when, paths in self.entries:
            if not paths:
                continue
            entry = {"manager": manager, "operation": operation, "apiVersion": version,
                     "time": when, "fieldsType": "FieldsV1", "fieldsV1": to_fields_v1(paths)}
            if sub:
                entry["subresource"] = sub
            listed.append(entry)
        obj["metadata"].pop("managedFields", None)
        if listed:
            obj["metadata"]["managedFields"] = listed


def updated(old, new, root, manager, sub=""):
    """After an ordinary write: what changed belongs to who changed it."""
    managers = Managers(old or new)
    before, after = leaves(old, root) if old else {}, leaves(new, root)
    changed = {p for p, v in after.items() if p not in before or before[p] != v}
    removed = {p for p in before if p not in after}
    managers.without(changed | removed)
    entry = managers.find(manager, "Update", sub)
    if changed:
        managers.set(manager, "Update", sub, new["apiVersion"],
                     (entry[5] if entry else set()) | changed)
    managers.store(new)


def apply(live, config, root, manager, force, sub=""):
    """The object after `config` was applied by `manager`; 409 when somebody else has set other
    values and `force` is not given. `live` None: there is none yet."""
    wanted = fields_of(config, root)
    live = live or {"apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": {}}
    managers = Managers(live)
    mine = managers.find(manager, "Apply", sub)
    foreign = [e for e in managers.entries if e is not mine]
    contested = _contested(live, config, wanted, foreign)
    if contested and not force:
        causes = [(_holder(e), _dotted(p)) for e, p in contested]
        raise errors.apply_conflict(sorted(set(causes)))
    for e, path in contested:
        e[5] = {p for p in e[5] if p != path}
    result = _merged(live, config, root)
    if mine:
        held = wanted.union(*(e[5] for e in foreign))
        held = {path[:n] for path in held for n in range(1, len(path) + 1)}
        # Whole objects of lists first; what told them apart goes with them and never by itself.
        for path in sorted(mine[5] - wanted, key=len):
            if not _is_key(path) and path not in held:
                _take_off(result, path)
    managers.set(manager, "Apply", sub, config["apiVersion"], wanted)
    managers.store(result)
    return result


def _contested(live, config, wanted, foreign):
    found = []
    for e in foreign:
        for path in e[5] & wanted:
            if look(live, path) != look(config, path):
                found.append((e, path))
    return found


def _holder(entry):
    manager, operation, sub, version, when, _ = entry
    told = '"%s"' % manager
    if sub:
        told += ' with subresource "%s"' % sub
    return told + " using %s at %s" % (version, when) if operation == "Update" else told


def _dotted(path):
    told = ""
    for step in path:
        if step[:2] == "f:":
            told += "." + step[2:]
        elif step[:2] == "k:":
            key = json.loads(step[2:])
            told += "[" + ",".join("%s=%s" % (k, json.dumps(v)) for k, v in key.items()) + "]"
        else:
            told += "[=%s]" % step[2:]
    return told


def _merged(live, config, shape):
    if isinstance(config, dict) and isinstance(live, dict) and not shape.is_atomic:
        result = dict(live)
        for name, value in config.items():
            result[name] = _merged(live.get(name), value, shape.member(name))
        return result
    if isinstance(config, list) and isinstance(live, list):
        if shape.keys and _are_maps(live + config):
            return _merged_keyed(live, config, shape)
        if shape.is_set:
            return live + [v for v in config if v not in live]
    return config


def _merged_keyed(live, config, shape):
    result = list(live)
    for item in config:
        key = _key_step(item, shape.keys)
        at = next((i for i, v in enumerate(result) if _key_step(v, shape.keys) == key), None)
        if at is None:
            result.append(item)
        else:
            result[at] = _merged(result[at], item, shape.item())
    return result


def _is_key(path):
    return len(path) > 1 and path[-2][:2] == "k:" and path[-1][2:] in json.loads(path[-2][2:])


def _take_off(obj, path):
    """Removes a field, and the maps that are empty for it."""
    step = path[0]
    if step[:2] == "f:":
        name = step[2:]
        if not isinstance(obj, dict) or name not in obj:
            return
        if len(path) == 1:
            del obj[name]
            return
        inner = obj[name] = _copy(obj[name])
        _take_off(inner, path[1:])
        if inner in ({}, []):
            del obj[name]
    elif isinstance(obj, list) and step[:2] == "k:":
        key = json.loads(step[2:])
        at = next((i for i, v in enumerate(obj) if _has_key(v, key)), None)
        if at is None:
            return
        if len(path) == 1:
            del obj[at]
        else:
            obj[at] = _copy(obj[at])
            _take_off(obj[at], path[1:])
    elif isinstance(obj, list) and step[:2] == "v:":
        value = json.loads(step[2:])
        if value in obj:
            obj.remove(value)


def _copy(value):
    return dict(value) if isinstance(value, dict) else list(value) \
        if isinstance(value, list) else value


def root_of(kind):
    return shapes.CustomShape(kind.crd.schema) if kind.crd else shapes.ROOT
