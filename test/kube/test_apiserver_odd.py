# SPDX-License-Identifier: Apache-2.0
"""Whatever is written to the stand-in, it answers, and never that it is at fault itself."""

import copy
import json
import random

import pytest

import kubeapi
from kubeapi import path_of
from test_apiserver_custom import definition
from test_apiserver import config_map, deployment, refusal, service

SEEDS = {  # resource -> objects that are good, to begin with
    "configmaps": config_map("x", a="1"), "services": service("x", type="NodePort"),
    "deployments": deployment("x", 0),
    "secrets": {"metadata": {"name": "x"}, "stringData": {"a": "b"}},
    "pods": {"metadata": {"name": "x"}, "spec": {"containers": [
        {"name": "a", "image": "registry.invalid/a:1", "env": [
            {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
         "ports": [{"containerPort": 1}], "volumeMounts": [{"name": "v", "mountPath": "/v"}],
         "livenessProbe": {"httpGet": {"port": 1}}}], "volumes": [{"name": "v", "emptyDir": {}}],
        "initContainers": []}},
    "roles": {"metadata": {"name": "x"}, "rules": [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["a"]}]},
    "rolebindings": {"metadata": {"name": "x"}, "subjects": [{"kind": "User", "name": "u"}],
                     "roleRef": {"kind": "Role", "name": "x",
                                 "apiGroup": "rbac.authorization.k8s.io"}},
    "leases": {"metadata": {"name": "x"}, "spec": {"leaseDurationSeconds": 1}},
    "ingresses": {"metadata": {"name": "x"}, "spec": {"rules": [{"http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": {"service": {
            "name": "a", "port": {"number": 1}}}}]}}]}},
    "events": {"metadata": {"name": "x"}, "involvedObject": {}, "message": "m"},
    "serviceaccounts": {"metadata": {"name": "x", "annotations": {"a": "b"}, "labels": {"c": "d"},
                                     "finalizers": [], "ownerReferences": [
        {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}]}},
}
ODD = [None, 0, -1, 1.5, True, "", "x", "ä" * 3, [], {}, [None], [[]], [{}], {"": None},
       {"a": {"b": []}}, 2 ** 70, "\ud800", "\0"]


def places(value, at=()):
    """Every place within a value."""
    yield at
    for key in (value if isinstance(value, dict) else
                range(len(value)) if isinstance(value, list) else ()):
        yield from places(value[key], at + (key,))


def spoilt(dice, obj):
    obj = json.loads(json.dumps(obj))
    for _ in range(dice.choice((1, 1, 2))):
        at = dice.choice([p for p in places(obj) if p])
        part = obj
        for key in at[:-1]:
            part = part[key]
        part[at[-1]] = copy.deepcopy(dice.choice(ODD))
    return obj


@pytest.mark.parametrize("resource", sorted(SEEDS))
def test_odd_bodies_are_answered(standin, namespace, resource):
    write_odd_bodies(standin, namespace, resource, SEEDS[resource])


def test_odd_custom_resources_are_answered(standin, namespace):
    part = {"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string", "pattern": "^x", "maxLength": 3}, "size": {"type": "integer"}}}
    crd = definition("odd.example.com", {
        "size": {"type": "integer", "minimum": 0, "default": 1},
        "text": {"type": "string", "enum": ["x", ""], "nullable": True},
        "parts": {"type": "array", "items": part, "x-kubernetes-list-type": "map",
                  "x-kubernetes-list-map-keys": ["name"], "maxItems": 2},
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}}},
        oneOf=[{"required": ["size"]}, {"required": ["text"]}], **{"x-kubernetes-validations": [
            {"rule": "!has(self.parts) || self.parts.all(p, p.size > 0)"},
            {"rule": "has(self.size) == has(oldSelf.size)"}]})
    standin.define(crd)
    write_odd_bodies(standin, namespace, "boxes.odd.example.com/v1", {
        "metadata": {"name": "x", "labels": {"a": "b"}}, "kind": "Box",
        "apiVersion": "odd.example.com/v1", "status": {"conditions": []},
        "spec": {"size": 1, "parts": [{"name": "x", "size": 1}], "set": ["a"], "map": {"a": 1}}})
    odd = {"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", **crd}
    for _ in range(60):
        body = spoilt(random, odd)
        answer = standin.admin.request("POST", path_of("customresourcedefinitions"), body)
        assert answer.code < 500, body
        name = (body.get("metadata") or {}).get("name") if answer.code == 201 else None
        if name:
            standin.admin.delete("customresourcedefinitions", name)


def write_odd_bodies(standin, namespace, resource, good):
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    a, place = standin.admin, path_of(resource, namespace)
    one = place + "/x"
    for i in range(25):
        for content in (kubeapi.APPLY, kubeapi.MERGE, kubeapi.STRATEGIC, None, "PUT"):
            body, more = spoilt(dice, good), {}
            method = "PATCH" if content and content != "PUT" else content or "POST"
            if content == kubeapi.APPLY:
                more = {"fieldManager": "odd", "force": "true"}
            text = json.dumps(body)
            answer = a.request(method, place if method == "POST" else one, text,
                               content if method == "PATCH" else kubeapi.JSON, **more)
            assert answer.code < 500, "seed %d: %s %s %s: %s" % (seed, method, content, text,
                                                                 answer.message)
        a.request("GET", place)
        a.request("DELETE", one, {"gracePeriodSeconds": 0})
        if i % 2:
            a.request("POST", place, good)


# What asks for no change.
NOTHING = [(kubeapi.JSON_PATCH, "[]"), (kubeapi.JSON_PATCH, "null"), (kubeapi.STRATEGIC, "null")]


@pytest.mark.parametrize("text", [
    "[]", "1", "null", '"x"', "{", "", '{"metadata": []}', '{"metadata": {"name": NaN}}',
    '{"metadata": {"name": "\\ud800"}}', "[" * 5000, '{"a":' * 5000])
@pytest.mark.parametrize("method,content", [
    ("POST", kubeapi.JSON), ("PUT", kubeapi.JSON), ("PATCH", kubeapi.MERGE),
    ("PATCH", kubeapi.JSON_PATCH), ("PATCH", kubeapi.STRATEGIC), ("PATCH", kubeapi.APPLY)])
def test_what_is_no_object_is_a_bad_request(cluster, namespace, text, method, content):
    place = path_of("configmaps", namespace, None if method == "POST" else "kube-root-ca.crt")
    more = {"fieldManager": "x"} if content == kubeapi.APPLY else {}
    answer = cluster.admin.request(method, place, text, content, **more)
    assert answer.code in (400, 422) or (content, text) in NOTHING


LENIENT = [{"op": "replace", "path": "", "value": 1}, {"op": "remove", "path": "/kind"}]


@pytest.mark.parametrize("operations", [
    [{}], [1], [{"op": "add"}], [{"op": "add", "path": "x", "value": 1}],
    [{"op": "replace", "path": "", "value": 1}], [{"op": "remove", "path": "/nothing"}],
    [{"op": "move", "path": "/data", "from": 1}], [{"op": "add", "path": "/data/a/b", "value": 1}],
    [{"op": "remove", "path": "/metadata"}], [{"op": "remove", "path": "/kind"}]])
def test_odd_json_patches_are_refused(cluster, namespace, operations):
    if cluster.is_real and operations[0] in LENIENT:
        pytest.skip("a real server makes something of it")
    answer = cluster.admin.request("PATCH", path_of("configmaps", namespace, "kube-root-ca.crt"),
                                   operations, kubeapi.JSON_PATCH)
    assert answer.code in (400, 422)


def test_lasting_namespaces_stay(cluster):
    assert refusal(cluster.admin.request("DELETE", "/api/v1/namespaces/default")) == (
        403, "Forbidden")


@pytest.mark.parametrize("query", [
    {"limit": "x"}, {"resourceVersion": "x"}, {"continue": "x"}, {"continue": "e30="},
    {"watch": "1", "resourceVersion": "x"}, {"watch": "1", "timeoutSeconds": "x"},
    {"labelSelector": "a in ("}, {"labelSelector": "=="}, {"fieldSelector": "x"},
    {"resourceVersionMatch": "Exact"}])
def test_odd_questions_are_refused(cluster, namespace, query):
    answer = cluster.admin.request("GET", path_of("configmaps", namespace), **query)
    # Of a version that is no number a real one says that the fault is within.
    assert answer.code in (400, 422) or (
        cluster.is_real and (answer.code, query.get("resourceVersion")) == (500, "x"))


def test_odd_trouble_cannot_be_ordered(standin):
    for spec in ({"codes": 500}, {"match": {"verbs": "get"}}):
        with pytest.raises(AssertionError, match="no such trouble"):
            standin.control("fault", **spec)
