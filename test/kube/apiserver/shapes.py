# SPDX-License-Identifier: Apache-2.0
"""How lists and maps merge: which lists are keyed by what, which are sets, what is one value as a
whole. For the kinds of the cluster it is the table below, by the name of the field (what the real API
writes into its types); for custom resources it is their schema."""

# A field by name -> keys of its objects. Where a name means several things, the parent decides.
_KEYED = {
    "containers": ("name",), "initContainers": ("name",), "ephemeralContainers": ("name",),
    "env": ("name",), "volumes": ("name",), "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",), "hostAliases": ("ip",), "conditions": ("type",),
    "ownerReferences": ("uid",), "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "secrets": ("name",),
}
_PORTS = {"containers": ("containerPort", "protocol"), "initContainers": ("containerPort", "protocol"),
          "spec": ("port", "protocol")}
_SETS = {"finalizers"}
_ATOMIC_MAPS = {"matchLabels", "nodeSelector", "fieldRef", "secretKeyRef", "configMapKeyRef",
                "resourceFieldRef", "labelSelector", "items"}


class Shape:
    """A place within an object of a kind of the cluster."""

    def __init__(self, name="", parent=""):
        self.name = name
        self.parent = parent

    def member(self, name):
        return Shape(name, self.name)

    def item(self):
        return Shape(self.name, self.name)

    @property
    def keys(self):
        """Of a list: what tells its objects apart; () when the list is one value."""
        if self.name == "ports":
            return _PORTS.get(self.parent, ())
        return _KEYED.get(self.name, ())

    @property
    def is_set(self):
        return self.name in _SETS

    @property
    def is_atomic(self):
        """Of a map: it is one value."""
        if self.name == "selector":  # of a Service, of a Deployment
            return self.parent == "spec"
        return self.name in _ATOMIC_MAPS


class SchemaShape:
    """A place within a custom resource."""

    def __init__(self, schema):
        self.schema = schema or {}

    def member(self, name):
        inner = self.schema.get("properties", {}).get(name)
        if inner is None:
            inner = self.schema.get("additionalProperties")
        return SchemaShape(inner if isinstance(inner, dict) else {})

    def item(self):
        return SchemaShape(self.schema.get("items"))

    @property
    def keys(self):
        if self.schema.get("x-kubernetes-list-type") == "map":
            return tuple(self.schema.get("x-kubernetes-list-map-keys", ()))
        return ()

    @property
    def is_set(self):
        return self.schema.get("x-kubernetes-list-type") == "set"

    @property
    def is_atomic(self):
        return self.schema.get("x-kubernetes-map-type") == "atomic"


class CustomShape(SchemaShape):
    """A whole custom resource: metadata is that of every object."""

    def member(self, name):
        return Shape("metadata") if name == "metadata" else super().member(name)


ROOT = Shape()
