# SPDX-License-Identifier: Apache-2.0
"""What the cluster remembers: objects, one counter of versions, and the last changes.

An object is stored as the bytes of its JSON, made once and sent to everybody who asks; nobody changes
a stored object in place. A list as of an earlier version is the present one with the changes since
then undone, so pages of a list need no copies."""

import collections
import json

from . import errors

HISTORY_MAX = 20000


def encode(obj):
    return json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode()


class Entry:
    """One object at one version. `obj` is never changed."""

    __slots__ = ("obj", "raw", "version", "namespace", "name")

    def __init__(self, obj, version):
        meta = obj["metadata"]
        meta["resourceVersion"] = str(version)
        self.obj = obj
        self.raw = encode(obj)
        self.version = version
        self.namespace = meta.get("namespace", "")
        self.name = meta["name"]

    def copy(self):
        return json.loads(self.raw)


class Change:
    """One step of the history: `old` and `new` are entries, None where there is none."""

    __slots__ = ("version", "resource", "old", "new", "gone")

    def __init__(self, version, resource, old, new, gone=None):
        self.version = version
        self.resource = resource
        self.old = old
        self.new = new
        self.gone = gone  # of a deletion: the last state, with the version of the deletion

    def left(self):
        """The old state at the version of this change, for who does not see the new one."""
        return Entry(self.old.copy(), self.version)


class Store:
    def __init__(self):
        self.version = 1
        self.oldest = 1  # changes after this version are remembered
        self.history = collections.deque()
        self._objects = collections.defaultdict(dict)  # resource -> (namespace, name) -> Entry
        self._by_owner = collections.defaultdict(set)  # uid -> (resource, namespace, name)
        self.listeners = []  # called with each Change

    # ----------------------------------------------------------------------------------- reading

    def get(self, resource, namespace, name):
        return self._objects[resource].get((namespace, name))

    def entries(self, resource, namespace=None):
        """Of one resource as of now, in no order."""
        if namespace is None:
            return list(self._objects[resource].values())
        return [e for (ns, _), e in self._objects[resource].items() if ns == namespace]

    def resources(self):
        return [r for r, objects in self._objects.items() if objects]

    def dependents(self, uid):
        return [e for r, ns, name in list(self._by_owner.get(uid, ()))
                for e in [(r, self.get(r, ns, name))] if e[1]]

    def as_of(self, resource, version):
        """All entries of a resource, sorted, as they were at a version."""
        if version < self.oldest:
            raise errors.too_old(version, self.oldest)
        objects = self._objects[resource]
        if version < self.version:
            objects = dict(objects)
            for change in reversed(self.history):
                if change.version <= version:
                    break
                if change.resource != resource:
                    continue
                some = change.old or change.new
                if change.old:
                    objects[(some.namespace, some.name)] = change.old
                else:
                    objects.pop((some.namespace, some.name), None)
        return [objects[k] for k in sorted(objects)]

    def since(self, resource, version):
        """The changes after a version."""
        if version < self.oldest:
            raise errors.too_old(version, self.oldest)
        found = []
        for change in reversed(self.history):
            if change.version <= version:
                break
            if change.resource == resource:
                found.append(change)
        found.reverse()
        return found

    # ----------------------------------------------------------------------------------- writing

    def put(self, resource, obj):
        """Stores `obj`, which is the store's from now on; returns its entry."""
        self.version += 1
        new = Entry(obj, self.version)
        objects = self._objects[resource]
        old = objects.get((new.namespace, new.name))
        objects[(new.namespace, new.name)] = new
        self._index(resource, old, new)
        self._remember(Change(self.version, resource, old, new))
        return new

    def drop(self, resource, namespace, name):
        """Deletes; returns the last state, with the version of the deletion."""
        old = self._objects[resource].pop((namespace, name))
        self.version += 1
        self._index(resource, old, None)
        gone = Entry(old.copy(), self.version)
        self._remember(Change(self.version, resource, old, None, gone))
        return gone

    def forget_history(self):
        """What etcd's compaction does, at once: every earlier version is too old."""
        self.version += 1
        self.history.clear()
        self.oldest = self.version

    def _index(self, resource, old, new):
        for entry, add in ((old, False), (new, True)):
            if not entry:
                continue
            for owner in entry.obj["metadata"].get("ownerReferences", ()):
                held = self._by_owner[owner.get("uid")]
                (held.add if add else held.discard)((resource, entry.namespace, entry.name))
                if not held:
                    del self._by_owner[owner.get("uid")]

    def _remember(self, change):
        self.history.append(change)
        if len(self.history) > HISTORY_MAX:
            self.oldest = self.history.popleft().version
        for listener in self.listeners:
            listener(change)
