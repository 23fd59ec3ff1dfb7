# SPDX-License-Identifier: Apache-2.0
"""Types of fields, for kinds of the cluster. The real server reads bodies into typed structures, so a
number where a text belongs is a body that cannot be read (400), not an object that is wrong (422).
Known here are the fields that a writer gets wrong: texts in maps, numbers, times, base64."""

import base64
import binascii
import re

from . import errors

_MICRO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _text(value):
    return isinstance(value, str)


def _number(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _flag(value):
    return isinstance(value, bool)


def _map(value):
    return isinstance(value, dict)


def _number_or_text(value):
    return _number(value) or _text(value)


def _texts(value):
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _words(value):
    return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())


def _bytes(value):
    try:
        return _words(value) and all(base64.b64decode(v, validate=True) is not None
                                     for v in value.values())
    except binascii.Error:
        return False


def _micro_time(value):
    return isinstance(value, str) and bool(_MICRO.fullmatch(value))


def _time(value):
    return isinstance(value, str) and bool(_TIME.fullmatch(value))


def read(kind, obj):
    """Reads what was written into the form of its kind. Raises for the first field of a wrong type;
    nulls, which are as good as nothing, go: in kinds of the cluster everywhere, in others in
    metadata."""
    _drop(obj["metadata"] if kind.crd else obj)
    fields = dict(_META)
    if not kind.crd:
        fields.update(_FIELDS.get(kind.kind, {}))
    for path, fits in fields.items():
        for value in _values(obj, path.split(".")):
            if not fits(value):
                raise errors.bad_request(
                    '%s in version "%s" cannot be handled as a %s: cannot unmarshal field %s'
                    % (kind.kind, kind.version, kind.kind, path))


def _drop(value):
    if isinstance(value, dict):
        for name in [n for n, v in value.items() if v is None and n != "creationTimestamp"]:
            del value[name]
        for inner in value.values():
            _drop(inner)
    elif isinstance(value, list):
        for inner in value:
            _drop(inner)


_META = {"metadata": _map, "metadata.labels": _words, "metadata.annotations": _words,
         "metadata.finalizers": _texts, "metadata.name": _text, "metadata.namespace": _text,
         "metadata.generateName": _text, "metadata.resourceVersion": _text,
         "metadata.uid": _text, "metadata.ownerReferences[]": _map,
         **{"metadata.ownerReferences[]." + name: fits for name, fits in (
             ("apiVersion", _text), ("kind", _text), ("name", _text), ("uid", _text),
             ("controller", _flag), ("blockOwnerDeletion", _flag))}}
_CONTAINER = {"env[]": _map, "ports[]": _map, "volumeMounts[]": _map, "livenessProbe": _map,
              "readinessProbe": _map, "env[].valueFrom": _map, "env[].valueFrom.fieldRef": _map,
              "livenessProbe.httpGet": _map, "readinessProbe.httpGet": _map,
              "volumeMounts[].name": _text, "ports[].protocol": _text, "name": _text, "image": _text, "command": _texts, "args": _texts,
              "env[].name": _text, "env[].value": _text, "ports[].containerPort": _number,
              "livenessProbe.httpGet.port": _number_or_text,
              "readinessProbe.httpGet.port": _number_or_text}


def _pod(at):
    fields = {at[:-1]: _map, at + "containers[]": _map, at + "initContainers[]": _map,
              at + "volumes[]": _map, at + "volumes[].name": _text, at + "nodeSelector": _words, at + "serviceAccountName": _text,
              at + "terminationGracePeriodSeconds": _number}
    for containers in ("containers[].", "initContainers[]."):
        fields.update({at + containers + name: fits for name, fits in _CONTAINER.items()})
    return fields


_WORKLOAD = {"spec": _map, "spec.replicas": _number, "spec.selector": _map,
             "spec.strategy": _map, "spec.strategy.rollingUpdate": _map, "spec.template": _map,
             "spec.template.metadata": _map, "spec.selector.matchLabels": _words,
             "spec.template.metadata.labels": _words, "spec.template.metadata.annotations": _words,
             **_pod("spec.template.spec.")}
_RULES = {"rules[]": _map, **{
    "rules[]." + name: _texts for name in ("apiGroups", "resources", "verbs", "resourceNames")}}
_BINDING = {"roleRef": _words, "subjects[]": _words}
_FIELDS = {
    "ConfigMap": {"data": _words, "binaryData": _bytes},
    "Secret": {"data": _bytes, "stringData": _words, "type": _text},
    "Service": {"spec": _map, "spec.ports[]": _map, "status": _map, "status.loadBalancer": _map,
                "status.loadBalancer.ingress[]": _map, "spec.ports[].protocol": _text,
                "spec.selector": _words, "spec.type": _text, "spec.clusterIP": _text,
                "spec.publishNotReadyAddresses": _flag, "spec.ports[].port": _number,
                "spec.ports[].nodePort": _number, "spec.ports[].name": _text,
                "spec.ports[].targetPort": _number_or_text},
    "Pod": _pod("spec."),
    "Deployment": _WORKLOAD, "StatefulSet": _WORKLOAD, "ReplicaSet": _WORKLOAD,
    "DaemonSet": _WORKLOAD, "Role": _RULES, "ClusterRole": _RULES,
    "RoleBinding": _BINDING, "ClusterRoleBinding": _BINDING,
    "Namespace": {"spec": _map, "status": _map, "spec.finalizers": _texts},
    "Ingress": {"spec": _map, "spec.rules[]": _map, "spec.rules[].http": _map,
                "spec.rules[].http.paths[]": _map, "status": _map},
    "CustomResourceDefinition": {
        "spec": _map, "spec.names": _map, "spec.versions[]": _map, "spec.group": _text,
        "spec.names.kind": _text, "spec.names.plural": _text, "spec.names.shortNames": _texts,
        "spec.versions[].name": _text, "spec.versions[].schema": _map,
        "spec.versions[].schema.openAPIV3Schema": _map, "spec.versions[].subresources": _map,
        "spec.versions[].additionalPrinterColumns[]": _words},
    "Lease": {"spec": _map, "spec.leaseDurationSeconds": _number, "spec.leaseTransitions": _number,
              "spec.holderIdentity": _text, "spec.acquireTime": _micro_time,
              "spec.renewTime": _micro_time},
    "Event": {"eventTime": _micro_time, "firstTimestamp": _time, "lastTimestamp": _time,
              "count": _number, "involvedObject": _map, "message": _text, "reason": _text,
              "type": _text},
}


_NOTHING = object()  # is of no type


def _values(obj, steps):
    """What stands at a path; "name[]" is every item of a list. Nulls are as good as nothing."""
    if obj is None:
        return
    if not steps:
        yield obj
        return
    name, is_list = steps[0].removesuffix("[]"), steps[0].endswith("[]")
    inner = obj.get(name) if isinstance(obj, dict) else None
    if not is_list:
        yield from _values(inner, steps[1:])
    elif isinstance(inner, list):
        for item in inner:
            yield from _values(_NOTHING if item is None else item, steps[1:])
    elif inner is not None:
        yield _NOTHING
