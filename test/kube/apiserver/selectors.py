# SPDX-License-Identifier: Apache-2.0
"""labelSelector and fieldSelector of a list or a watch."""

import re

from . import errors

_PART = re.compile(r"""\s*(?:
    (?P<not>!)\s*(?P<absent>[\w./-]+)
  | (?P<key>[\w./-]+)\s+(?P<set>in|notin)\s*\((?P<values>[^)]*)\)
  | (?P<key2>[\w./-]+)\s*(?P<op>==|=|!=)\s*(?P<value>[\w.-]*)
  | (?P<present>[\w./-]+)
)\s*(?:,|$)""", re.X)


def labels(text):
    """A predicate over the labels of an object; None when everything is meant."""
    if not text or not text.strip():
        return None
    tests, at = [], 0
    while at < len(text):
        m = _PART.match(text, at)
        if not m or m.end() == at:
            raise errors.bad_request("unable to parse requirement: found '%s'" % text[at:])
        tests.append(_test(m))
        at = m.end()
    return lambda has: all(t(has) for t in tests)


def _test(m):
    if m["absent"]:
        return lambda has, k=m["absent"]: k not in has
    if m["key"]:
        values = {v.strip() for v in m["values"].split(",")}
        if m["set"] == "in":
            return lambda has, k=m["key"]: has.get(k) in values
        return lambda has, k=m["key"]: k not in has or has[k] not in values
    if m["key2"]:
        if m["op"] == "!=":
            return lambda has, k=m["key2"], v=m["value"]: has.get(k) != v
        return lambda has, k=m["key2"], v=m["value"]: has.get(k) == v
    return lambda has, k=m["present"]: k in has


# What may be selected by, beside the name and the namespace.
_FIELDS = {
    ("", "pods"): ("status.phase", "spec.nodeName", "spec.serviceAccountName", "status.podIP",
                   "spec.restartPolicy", "spec.hostNetwork"),
    ("", "secrets"): ("type",),
    ("", "services"): ("spec.clusterIP", "spec.type"),
    ("", "nodes"): ("spec.unschedulable",),
    ("", "namespaces"): ("status.phase",),
    ("", "events"): ("type", "reason", "reportingComponent", "source", "involvedObject.kind",
                     "involvedObject.name", "involvedObject.namespace", "involvedObject.uid",
                     "involvedObject.apiVersion", "involvedObject.resourceVersion",
                     "involvedObject.fieldPath"),
}


def _at(obj, path):
    for step in path.split("."):
        obj = obj.get(step) if isinstance(obj, dict) else None
    return "" if obj is None else str(obj).lower() if isinstance(obj, bool) else str(obj)


def fields(text, kind):
    """A predicate over objects; None when everything is meant."""
    if not text or not text.strip():
        return None
    tests = []
    for part in text.split(","):
        m = re.fullmatch(r"\s*([\w.]+)\s*(==|=|!=)\s*([^\s]*)\s*", part)
        if not m:
            raise errors.bad_request("invalid selector: '%s'; can't understand '%s'"
                                     % (text, part))
        path, op, value = m.groups()
        allowed = ("metadata.name", "metadata.namespace") + _FIELDS.get(kind.key, ())
        if path not in allowed:
            raise errors.bad_request('field label not supported: %s' % path)
        equal = op != "!="
        tests.append(lambda obj, p=path, v=value, e=equal: (_at(obj, p) == v) == e)
    return lambda obj: all(t(obj) for t in tests)


def both(label_text, field_text, kind):
    """One predicate over objects of both selectors; None when everything is meant."""
    of_labels, of_fields = labels(label_text), fields(field_text, kind)
    if not of_labels and not of_fields:
        return None

    def matches(obj):
        if of_labels and not of_labels(obj["metadata"].get("labels") or {}):
            return False
        return not of_fields or of_fields(obj)
    return matches
