# SPDX-License-Identifier: Apache-2.0
"""Custom resources, and Deployments whose pods run; all of it true of a real server too."""

import uuid

import pytest

import foreign
import kubeapi
from kubeapi import path_of
from test_apiserver import deployment, refusal, service

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}


def definition(group, properties, **schema):
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "boxes." + group},
            "spec": {"group": group, "scope": "Namespaced",
                     "names": {"kind": "Box", "plural": "boxes", "shortNames": ["bx"]},
                     "versions": [{"name": "v1", "served": True, "storage": True,
                                   "subresources": {"status": {}},
                                   "additionalPrinterColumns": [
                                       {"name": "Size", "type": "integer",
                                        "jsonPath": ".spec.size"},
                                       {"name": "Ready", "type": "string", "jsonPath":
                                        '.status.conditions[?(@.type=="Ready")].status'}],
                                   "schema": {"openAPIV3Schema": {
                                       "type": "object", "properties": {
                                           "spec": {"type": "object", "properties": properties,
                                                    **schema},
                                           "status": {"type": "object", "properties": {
                                               "conditions": {"type": "array", "items": {
                                                   "type": "object", "properties": {
                                                       "type": TEXT, "status": TEXT}}}}}}}}}]}}


@pytest.fixture
def boxes(cluster):
    """Defines Box with a schema; returns the resource for the client."""
    def define(properties, **schema):
        group = "t%s.example.com" % uuid.uuid4().hex[:8]
        cluster.define(definition(group, properties, **schema))
        return "boxes.%s/v1" % group
    return define


def box(resource, name="one", **spec):
    return {"apiVersion": resource.partition(".")[2], "kind": "Box", "metadata": {"name": name},
            "spec": spec}


def test_a_definition_is_served(cluster, namespace, boxes):
    resource = boxes({"size": NUMBER})
    group = resource.partition(".")[2]
    while cluster.admin.request("GET", "/apis/" + group).code == 404:
        pass  # a real server lists it a moment after it serves it
    listed = cluster.admin.must("GET", "/apis/" + group)["resources"]
    assert [(r["name"], r["kind"]) for r in listed] == [("boxes", "Box"), ("boxes/status", "Box")]
    assert listed[0]["shortNames"] == ["bx"]
    made = cluster.admin.create(resource, box(resource, size=1), namespace)
    assert made["metadata"]["generation"] == 1
    listed = cluster.admin.list(resource, namespace)
    assert listed["kind"] == "BoxList"
    assert listed["items"] == [made] and listed["items"][0]["kind"] == "Box"


def test_defaults_are_filled_in_and_the_unknown_is_dropped(cluster, namespace, boxes):
    resource = boxes({"size": {**NUMBER, "default": 3},
                      "part": {"type": "object", "default": {}, "properties": {
                          "colour": {**TEXT, "default": "red"}}},
                      "labels": {"type": "object", "additionalProperties": TEXT},
                      "none": TEXT, "null": {**TEXT, "nullable": True},
                      "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}})
    answer = cluster.admin.request("POST", path_of(resource, namespace), box(
        resource, labels={"a": "b", "c": None}, free={"x": 1}, nothing=1, part={"shape": 1},
        size=None, none=None, null=None))
    assert answer.body["spec"] == {"size": 3, "part": {"colour": "red"}, "labels": {"a": "b"},
                                   "free": {"x": 1}, "null": None}
    assert 'unknown field' in answer.headers.get("warning", "")
    strict = cluster.admin.request("POST", path_of(resource, namespace), box(
        resource, "two", nothing=1), fieldValidation="Strict")
    assert strict.code == 400 and 'unknown field "spec.nothing"' in strict.message


@pytest.mark.parametrize("schema,value", [
    (NUMBER, "x"), (NUMBER, 1.5), (TEXT, 1), ({**TEXT, "enum": ["a", "b"]}, "c"),
    ({**TEXT, "pattern": "^a+$"}, "b"), ({**TEXT, "minLength": 2}, "a"),
    ({**TEXT, "maxLength": 2}, "abc"), ({**NUMBER, "minimum": 1}, 0),
    ({**NUMBER, "maximum": 1}, 2), ({"type": "array", "items": TEXT}, [1]),
    ({"type": "array", "items": TEXT, "minItems": 1}, []),
    ({"type": "array", "items": TEXT, "maxItems": 1}, ["a", "b"]),
    ({"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}, ["a", "a"]),
    ({"type": "object", "properties": {"a": TEXT}, "required": ["a"]}, {}),
    ({"type": "boolean"}, "yes"), ({**TEXT, "format": "duration"}, "soon"),
    ({"type": "object", "additionalProperties": NUMBER}, {"a": "b"})])
def test_what_the_schema_forbids_is_refused(cluster, namespace, boxes, schema, value):
    resource = boxes({"size": schema})
    answer = cluster.admin.request("POST", path_of(resource, namespace), box(resource, size=value))
    assert refusal(answer) == (422, "Invalid")
    assert answer.causes[0]["field"].startswith("spec.size")
    assert answer.message.startswith('Box.%s "one" is invalid: spec.size'
                                     % resource.partition(".")[2].partition("/")[0])


def test_exactly_one_of_two(cluster, namespace, boxes):
    resource = boxes({"a": TEXT, "b": TEXT}, oneOf=[{"required": ["a"]}, {"required": ["b"]}])
    codes = [cluster.admin.request("POST", path_of(resource, namespace), box(
        resource, "x%d" % i, **spec)).code for i, spec in enumerate(
            ({"a": "1"}, {"b": "1"}, {"a": "1", "b": "1"}, {}))]
    assert codes == [201, 201, 422, 422]


def test_rules_are_checked(cluster, namespace, boxes):
    rules = [{"rule": "self.least <= self.most", "message": "least is more than most"},
             {"rule": "has(self.least) == has(oldSelf.least)", "message": "least stays"},
             {"rule": "[has(self.least), has(self.name)].filter(x, x == true).size() > 0"}]
    resource = boxes({"least": NUMBER, "most": NUMBER, "name": TEXT}, **{
        "x-kubernetes-validations": rules})
    a, place = cluster.admin, path_of(resource, namespace)
    answer = a.request("POST", place, box(resource, least=3, most=2))
    assert answer.code == 422 and "least is more than most" in answer.message
    a.create(resource, box(resource, least=1, most=2), namespace)
    answer = a.request("PATCH", place + "/one", {"spec": {"least": None, "name": "x"}},
                       kubeapi.MERGE)
    assert answer.code == 422


def test_status_is_apart(cluster, namespace, boxes):
    a, resource = cluster.admin, boxes({"size": NUMBER})
    obj = box(resource, size=1)
    obj["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    made = a.create(resource, obj, namespace)
    assert "status" not in made
    made["status"] = obj["status"]
    made["spec"]["size"] = 5
    after = a.update(resource, made, namespace, "status")
    assert after["status"] == obj["status"] and after["spec"]["size"] == 1
    assert after["metadata"]["generation"] == 1
    after["spec"]["size"] = 2
    after["status"] = {}
    grown = a.update(resource, after, namespace)
    assert grown["status"] == obj["status"] and grown["spec"]["size"] == 2
    assert grown["metadata"]["generation"] == 2


def test_an_update_needs_a_version(cluster, namespace, boxes):
    resource = boxes({"size": NUMBER})
    cluster.admin.create(resource, box(resource, size=1), namespace)
    answer = cluster.admin.request("PUT", path_of(resource, namespace, "one"),
                                   box(resource, size=2))
    assert answer.code == 422 and "must be specified for an update" in answer.message


def test_strategic_patches_are_for_known_kinds(cluster, namespace, boxes):
    resource = boxes({"size": NUMBER})
    cluster.admin.create(resource, box(resource, size=1), namespace)
    answer = cluster.admin.request("PATCH", path_of(resource, namespace, "one"), {},
                                   kubeapi.STRATEGIC)
    assert answer.code == 415


def test_keyed_lists_of_a_schema_are_merged(cluster, namespace, boxes):
    item = {"type": "object", "required": ["name"], "properties": {"name": TEXT, "value": TEXT}}
    resource = boxes({"parts": {"type": "array", "items": item, "x-kubernetes-list-type": "map",
                                "x-kubernetes-list-map-keys": ["name"]},
                      "plain": {"type": "array", "items": TEXT}})
    a = cluster.admin
    a.apply(resource, box(resource, parts=[{"name": "a", "value": "1"}], plain=["x"]), namespace,
            "me")
    both = a.apply(resource, box(resource, parts=[{"name": "b", "value": "2"}]), namespace, "you")
    assert [p["name"] for p in both["spec"]["parts"]] == ["a", "b"]
    answer = a.request("PATCH", path_of(resource, namespace, "one"),
                       box(resource, plain=["y"]), kubeapi.APPLY, fieldManager="you")
    assert answer.code == 409 and answer.causes[0]["field"] == ".spec.plain"


def test_columns_are_shown(cluster, namespace, boxes):
    a, resource = cluster.admin, boxes({"size": NUMBER})
    a.create(resource, box(resource, size=7), namespace)
    a.patch(resource, "one", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            namespace, sub="status")
    table = a.must("GET", path_of(resource, namespace), headers={
        "Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Size", "Ready"]
    assert table["rows"][0]["cells"] == ["one", 7, "True"]


def test_a_definition_takes_its_objects_with_it(cluster, namespace, boxes):
    a, resource = cluster.admin, boxes({"size": NUMBER})
    a.create(resource, box(resource, size=1), namespace)
    start = a.list(resource, namespace)["metadata"]["resourceVersion"]
    name = "boxes." + resource.partition(".")[2].partition("/")[0]
    with a.watch(resource, namespace, resourceVersion=start) as watch:
        a.delete("customresourcedefinitions", name)
        assert watch.next()[0] == "DELETED"
    a.await_gone("customresourcedefinitions", name)
    while a.request("GET", path_of(resource, namespace)).code == 200:
        pass
    assert a.request("GET", path_of(resource, namespace)).code == 404


# ---------------------------------------------------------------------------------- running pods

def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True"
               for c in pod["status"].get("conditions") or ())


def test_pods_of_a_deployment_run(standin, namespace):
    """(A real cluster needs an image that runs for this: its own tests have one.)"""
    a = standin.admin
    standin.run_deployments()
    a.create("deployments", deployment("web", 2), namespace)
    a.await_object("deployments", "web", namespace,
                   lambda o: o["status"].get("readyReplicas") == 2)
    pods = a.list("pods", namespace, labelSelector="app=web")["items"]
    assert len(pods) == 2 and all(is_ready(p) for p in pods)
    assert len({p["status"]["podIP"] for p in pods}) == 2
    # One that is deleted is replaced.
    a.delete("pods", pods[0]["metadata"]["name"], namespace)
    a.await_gone("pods", pods[0]["metadata"]["name"], namespace)
    a.await_object("deployments", "web", namespace,
                   lambda o: o["status"].get("readyReplicas") == 2)
    a.patch("deployments", "web", {"spec": {"replicas": 0}}, namespace)
    a.await_object("deployments", "web", namespace, lambda o: not o["status"].get("replicas"))
    assert a.list("pods", namespace, labelSelector="app=web")["items"] == []


def test_pods_need_not_be_ready(standin, namespace):
    a = standin.admin
    standin.run_deployments(ready=False)
    a.create("deployments", deployment("web"), namespace)
    a.await_object("deployments", "web", namespace, lambda o: o["status"].get("replicas") == 1)
    pod = a.list("pods", namespace, labelSelector="app=web")["items"][0]
    assert pod["status"]["phase"] == "Running" and not is_ready(pod)
    standin.run_deployments()
    a.await_object("pods", pod["metadata"]["name"], namespace, is_ready)
    a.delete("deployments", "web", namespace)
    a.await_gone("pods", pod["metadata"]["name"], namespace)


@pytest.mark.parametrize("definitions", ["GATEWAY", "ROUTE", "CONTOUR"])
def test_kinds_of_other_projects_can_be_had(cluster, namespace, definitions):
    for crd in getattr(foreign, definitions):
        cluster.define(crd)
        spec = crd["spec"]
        resource = "%s.%s/%s" % (spec["names"]["plural"], spec["group"],
                                 spec["versions"][0]["name"])
        made = cluster.admin.create(resource, {
            "apiVersion": resource.partition(".")[2], "kind": spec["names"]["kind"],
            "metadata": {"name": "one"}, "spec": {"anything": [{"goes": 1}]}}, namespace)
        assert made["spec"] == {"anything": [{"goes": 1}]}


def test_load_balancers_get_addresses(standin, namespace):
    a = standin.admin
    standin.run_load_balancers()
    a.create("services", service("web", type="LoadBalancer"), namespace)
    a.await_object("services", "web", namespace,
                   lambda o: o["status"]["loadBalancer"].get("ingress"))
    a.patch("services", "web", {"spec": {"type": "ClusterIP"}}, namespace)
    a.await_object("services", "web", namespace, lambda o: o["spec"]["type"] == "ClusterIP" and
                   not o["status"]["loadBalancer"].get("ingress"))


def test_a_pod_can_be_said_to_run(standin, namespace):
    standin.run_pod(namespace, "p", {"app": "x"}, "10.1.2.3")
    pod = standin.admin.get("pods", "p", namespace)
    assert is_ready(pod) and pod["status"]["podIP"] == "10.1.2.3"
    standin.run_pod(namespace, "p", {"app": "x"}, "10.1.2.3", ready=False)
    assert not is_ready(standin.admin.get("pods", "p", namespace))
    found = standin.admin.list("pods", namespace, fieldSelector="status.phase=Running")
    assert len(found["items"]) == 1


@pytest.mark.parametrize("schema", [
    {}, {"type": "text"}, {"type": "array"}, {"type": "string", "pattern": "("},
    {"type": "object", "properties": {"a": {}}},
    {"type": "object", "x-kubernetes-validations": [{"rule": "self.a =="}]}])
def test_a_definition_with_a_wrong_schema_is_refused(cluster, schema):
    answer = cluster.admin.request("POST", path_of("customresourcedefinitions"),
                                   definition("wrong.example.com", {"size": schema}))
    assert refusal(answer) == (422, "Invalid")
