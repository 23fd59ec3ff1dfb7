# SPDX-License-Identifier: Apache-2.0
"""Words for writing schemas of custom resources: each makes a piece of OpenAPI as a dict."""

GROUP, VERSION = "skupper.io", "v2alpha1"


def text(description, **more):
    return {"type": "string", "description": description, **more}


def number(description, **more):
    return {"type": "integer", "description": description, **more}


def flag(description):
    return {"type": "boolean", "description": description}


def texts(description, **more):
    return {"type": "array", "description": description, "items": {"type": "string"}, **more}


def record(description, required=(), rules=(), **fields):
    made = {"type": "object", "description": description, "properties": fields}
    if required:
        made["required"] = list(required)
    if rules:
        made["x-kubernetes-validations"] = list(rules)
    return made


def records(description, required=(), **fields):
    item = {"type": "object", "properties": fields}
    if required:
        item["required"] = list(required)
    return {"type": "array", "description": description, "items": item}


def words(description):
    """A map of texts."""
    return {"type": "object", "description": description,
            "additionalProperties": {"type": "string"}}


def numbers(description, **more):
    """A map of numbers."""
    return {"type": "object", "description": description,
            "additionalProperties": {"type": "integer"}, **more}


# The condition of the Kubernetes API (metav1.Condition).
CONDITIONS = {
    "type": "array",
    "description": "What has been reached, one entry each. `kubectl wait --for=condition=TYPE` "
                   "waits for one; the message says what is missing or wrong.",
    "items": {
        "type": "object",
        "required": ["lastTransitionTime", "message", "reason", "status", "type"],
        "properties": {
            "type": {"type": "string", "maxLength": 316, "pattern":
                     r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
                     r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": {"type": "string", "minLength": 1, "maxLength": 1024,
                       "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
            "message": {"type": "string", "maxLength": 32768},
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
        },
    },
}


def column(title, path, kind="string"):
    return {"name": title, "type": kind, "jsonPath": "." + path}


STATUS, MESSAGE = column("Status", "status.status"), column("Message", "status.message")


def definition(kind, plural, short, description, spec, columns, conditions, required=(), **status):
    """A whole CustomResourceDefinition. `conditions` says in words which there are."""
    fields = {
        "status": text("How it is, in one word: `Ready`, `Pending` (something is still to come) "
                       "or `Error` (somebody has to do something)."),
        "message": text("`OK`, or what is missing or wrong."),
        "conditions": {**CONDITIONS, "description": CONDITIONS["description"] + " " + conditions},
        **status}
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": kind + "List"}
    if short:
        names["shortNames"] = list(short)
    schema = {"type": "object", "description": description, "properties": {
        "apiVersion": {"type": "string"}, "kind": {"type": "string"},
        "metadata": {"type": "object"}, "spec": spec,
        "status": {"type": "object", "description": "What the controller says of it.",
                   "properties": fields}}}
    if required:
        schema["required"] = list(required)
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "%s.%s" % (plural, GROUP),
                         "labels": {"app.kubernetes.io/part-of": "skupper"}},
            "spec": {"group": GROUP, "scope": "Namespaced", "names": names,
                     "versions": [{"name": VERSION, "served": True, "storage": True,
                                   "subresources": {"status": {}},
                                   "additionalPrinterColumns": columns,
                                   "schema": {"openAPIV3Schema": schema}}]}}
