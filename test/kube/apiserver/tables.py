# SPDX-License-Identifier: Apache-2.0
"""What `kubectl get` shows: rows of columns, asked for by the Accept header."""

import datetime
import re


def wanted(request):
    first = request.headers.get("accept", "").split(",")[0]
    return "as=Table" in first and "g=meta.k8s.io" in first and "json" in first


def age(stamp):
    try:
        then = datetime.datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ")
    except (TypeError, ValueError):
        return "<unknown>"
    seconds = int((datetime.datetime.utcnow() - then).total_seconds())
    for unit, size, least in (("d", 86400, 2), ("h", 3600, 3), ("m", 60, 2)):
        if seconds >= size * least:
            return "%d%s" % (seconds // size, unit)
    return "%ds" % max(seconds, 0)


_STEP = re.compile(r"""\.([\w-]+)|\['([^']+)'\]|\[(\d+)\]|\[\?\(@\.(\w+)\s*==\s*["'](.*?)["']\)\]""")


def look(obj, path):
    """What a JSONPath of a column names; None when there is nothing."""
    for m in _STEP.finditer(path.replace("\\.", "\0")):
        name, quoted, index, key, value = m.groups()
        name = (name or quoted or "").replace("\0", ".")
        if name:
            obj = obj.get(name) if isinstance(obj, dict) else None
        elif index:
            obj = obj[int(index)] if isinstance(obj, list) and int(index) < len(obj) else None
        else:
            obj = next((i for i in obj or () if i.get(key) == value), None)
        if obj is None:
            return None
    return obj


_NAME = {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}


def _columns(kind):
    """(definition, function of an object)."""
    yield _NAME, lambda o: o["metadata"]["name"]
    if kind.crd:
        for c in kind.crd.columns:
            definition = {"name": c["name"], "type": c["type"], "format": c.get("format", ""),
                          "description": c.get("description", ""),
                          "priority": c.get("priority", 0)}
            if c["type"] == "date":
                definition["type"] = "string"
                yield definition, lambda o, p=c["jsonPath"]: age(look(o, p))
            else:
                yield definition, lambda o, p=c["jsonPath"]: look(o, p)
        if kind.crd.columns:
            return
    yield ({"name": "Age", "type": "string", "format": "", "description": "", "priority": 0},
           lambda o: age(o["metadata"].get("creationTimestamp")))


def table(kind, entries, meta=None):
    columns = list(_columns(kind))
    rows = [{"cells": [cell(e.obj) for _, cell in columns],
             "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                        "metadata": e.obj["metadata"]}} for e in entries]
    return {"kind": "Table", "apiVersion": "meta.k8s.io/v1",
            "metadata": meta or {"resourceVersion": entries[0].obj["metadata"]["resourceVersion"]},
            "columnDefinitions": [d for d, _ in columns], "rows": rows}


def renderer(kind):
    return lambda entry: table(kind, [entry])
